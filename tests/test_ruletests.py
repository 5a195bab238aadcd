"""Tests of rules: the clock, the words of values, the mistakes, and what no test decided."""

from __future__ import annotations

import json

import pytest
from desk import lay_desk
from rule_names import NAMES, SCENARIOS

from monitor.cli import run_line
from monitor.model import InputError, Proof, Rule
from monitor.rules import compile_rules
from monitor.ruletests import load_test_text, load_tests, run_all, run_test


def compiled(*rules: Rule):
    return compile_rules(rules, NAMES, SCENARIOS)


LTV = Rule(
    "HighLtv", "ltv_economic > 90%", "warning", "facility", clear="ltv_economic < 80%", for_s=120.0, logic_hash="a"
)


def outcome(text: str, *rules: Rule) -> list[str]:
    """The failures of the tests in a text."""
    return [failure for test in load_test_text(text, compiled(*rules)) for failure in run_test(test).failures]


# ---------------------------------------------------------------- the clock
def test_states_over_time():
    """A wait, its end, unknown, the band between the lines and recovery come in this order."""
    said = """
- test: one life
  rule: HighLtv
  every: 1m
  values: {ltv_economic: 95%*4 null 85% 70%}
  expect: {0m: pending, 1m: pending, 2m: firing, 3m: firing, 4m: nodata, 5m: recovering, 6m: ok}
"""
    assert outcome(said, LTV) == []


def test_a_wrong_expectation_says_where_and_with_what_numbers():
    """A failure names the file, the line, the moment, the subject, both states and the numbers."""
    said = "- test: too soon\n  rule: HighLtv\n  every: 1m\n  values: {ltv_economic: 95%}\n  expect:\n    1m: firing\n"
    failures = outcome(said, LTV)
    assert len(failures) == 1
    assert failures[0].startswith("test.yaml:6: too soon: after 1 min borrower/facility is pending, not firing")
    assert "ltv_economic 0.95" in failures[0]


def test_subjects_are_told_apart():
    """Values and states by subject: one facility fires while another of the same borrower does not."""
    said = """
- test: two pools
  rule: HighLtv
  every: 2m
  values: {ltv_economic: {acme/one: 95%, acme/two: 50% 95%, bolt/one: null}}
  expect: {2m: {acme/one: firing, acme/two: pending, bolt/one: nodata}, 4m: {acme/two: firing}}
"""
    assert outcome(said, LTV) == []


def test_a_borrower_rule_sees_its_worst_facility():
    """A facility number in a rule about borrowers is the worst one, unknown where one is unknown and could be worse."""
    rule = Rule("Thin", "dscr < 1.0", "warning", logic_hash="a")
    said = """
- test: the worst counts
  rule: Thin
  every: 1m
  values: {dscr: {acme/one: 1.2, acme/two: 1.2 0.9 null, bolt/one: 2 null 2}}
  expect: {0m: ok, 1m: {acme: firing, bolt: nodata}, 2m: {acme: nodata, bolt: ok}}
"""
    assert outcome(said, rule) == []


def test_the_past_and_the_age_of_a_number():
    """A span looks back over the test's own past; a value that is not renewed grows older."""
    fall = Rule("Fall", "change(btc_usd, 2h) < -25%", "warning", "market", logic_hash="a")
    old = Rule("Old", "age(debt_usd) > 2d", "warning", logic_hash="a")
    said = """
- test: a fall
  rule: Fall
  every: 1h
  values: {btc_usd: 100k*3 70k _ 70k}
  expect: {1h: nodata, 3h: firing, 4h: firing, 5h: ok}
- {test: it ages, rule: Old, every: 1d, values: {debt_usd: 1bn _ _ _ 1bn}, expect: {2d: ok, 3d: firing, 4d: ok}}
"""
    assert outcome(said, fall, old) == []


def test_a_call_can_be_given():
    """As in a proof, the value of a call may stand instead of the past, the peers or the assumptions behind it."""
    rule = Rule("Box", "high(liquidity_locked_12m) < 1.0", "critical", logic_hash="a")
    values = '{"high(liquidity_locked_12m)": 0.9 1.1}'
    said = f"- {{test: x, rule: Box, every: 1d, values: {values}, expect: {{0d: firing, 1d: ok}}}}"
    assert outcome(said, rule) == []


@pytest.mark.parametrize(
    ("words", "state"),
    [("900bp", "ok"), ("0.95", "pending"), ("unlimited", "pending"), ("-unlimited", "ok"), ("null", "nodata")],
)
def test_values_in_every_notation(words, state):
    """Values are written as in rules: with a unit, bare, unlimited or unknown."""
    assert (
        outcome(f"- {{test: x, rule: HighLtv, values: {{ltv_economic: {words}}}, expect: {{0m: {state}}}}}", LTV) == []
    )


# ---------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- {test: x, rule: HighLtw, values: {}, expect: {}}", "did you mean 'HighLtv'?"),
        ("- {test: x, rule: HighLtv, values: {ltv_econ: 1}, expect: {0m: ok}}", "the rule does not use 'ltv_econ'"),
        ("- {test: x, rule: HighLtv, values: {ltv_economic: 1 9z}, expect: {0m: ok}}", "unknown unit 'z'"),
        ("- {test: x, rule: HighLtv, values: {ltv_economic: _ 1}, expect: {0m: ok}}", "the first value is missing"),
        ("- {test: x, rule: HighLtv, values: {ltv_economic: ''}, expect: {0m: ok}}", "the first value is missing"),
        ("- {test: x, rule: HighLtv, values: {ltv_economic: {acme: 1}}, expect: {0m: ok}}", "write borrower/facility"),
        ("- {test: x, rule: HighLtv, values: {ltv_economic: 1}, expect: {7m: ok}}", "nothing is evaluated at 7m"),
        ("- {test: x, rule: HighLtv, values: {ltv_economic: 1}, expect: {0m: fires}}", "'fires' is no state"),
        ("- {test: x, rule: HighLtv, values: {ltv_economic: 1}, expect: {0m: {acme: ok}}}", "is not about 'acme'"),
        ("- {test: x, rule: HighLtv, every: 0, values: {ltv_economic: 1}, expect: {0m: ok}}", "a second apart"),
        ("- {test: x, rule: HighLtv, every: 1s, values: {ltv_economic: 1}, expect: {9d: ok}}", "nothing is evaluated"),
        ("- {test: x, rule: HighLtv, value: {ltv_economic: 1}, expect: {0m: ok}}", "did you mean 'values'?"),
        ("test: x", "tests are a list"),
    ],
)  # fmt: skip
def test_mistakes_have_a_place_and_a_remedy(text, says):
    """A test that cannot be read is refused with what to write instead."""
    with pytest.raises(InputError) as error:
        load_test_text(text, compiled(LTV))
    assert says in str(error.value)
    assert "test.yaml:1:" in str(error.value)


def test_mistakes_of_all_files_come_at_once(tmp_path):
    """Two bad files give both mistakes."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("- {test: x, rule: Nope, values: {}, expect: {}}\n")
    with pytest.raises(InputError) as error:
        load_tests(tmp_path, compiled(LTV))
    assert len(error.value.problems) == 2


def test_hostile_sizes_are_bounded():
    """A repeat count beyond the test's length costs nothing."""
    assert outcome("- {test: x, rule: HighLtv, values: {ltv_economic: 1*99999}, expect: {0m: pending}}", LTV) == []


# ---------------------------------------------------------------- coverage
def test_what_no_test_decided():
    """A comparison is put to the test when its opposite would have changed the answer, once each way."""
    rule = Rule(
        "R", "dscr < 1.1 and (ltv_economic > 90% or recourse_share < 50%)", "warning", "facility", logic_hash="a",
        proof=(
            Proof({"dscr": 1.0, "ltv_economic": 0.95, "recourse_share": 0.9}, True),
            Proof({"dscr": 1.2, "ltv_economic": 0.95, "recourse_share": 0.9}, False),
            Proof({"dscr": 1.0, "ltv_economic": 0.5, "recourse_share": 0.9}, False),
        ),
    )  # fmt: skip
    found = run_all(compiled(rule), ())
    assert found.ok
    assert [(one.text, one.seen) for one in found.undecided] == [("recourse_share < 50%", "only when false")]
    said = """
- {test: x, rule: R, values: {dscr: 1, ltv_economic: 50%, recourse_share: 40%}, expect: {0m: firing}}
"""
    assert run_all(compiled(rule), load_test_text(said, compiled(rule))).undecided == ()


def test_unknown_decides_nothing():
    """An unknown answer is no test of the comparisons behind it."""
    rule = Rule("R", "dscr < 1.1", "warning", "facility", proof=(Proof({"dscr": None}, False),))
    assert [one.seen for one in run_all(compiled(rule), ()).undecided] == ["never"]


def test_recovery_is_covered_by_tests_alone():
    """A proof says nothing of clear; a test that recovers does."""
    said = "- {test: x, rule: HighLtv, every: 2m, values: {ltv_economic: 95%*2 70%}, expect: {4m: ok}}"
    found = run_all(compiled(LTV), load_test_text(said, compiled(LTV)))
    assert (found.comparisons, found.undecided) == (2, ())


# ---------------------------------------------------------------- the command
def test_the_command(tmp_path, monkeypatch, capsys):
    """`canary test` runs proofs and the tests beside the rules: 0 when all hold, 1 when one fails, 2 on a mistake."""
    monkeypatch.delenv("CANARY_CONFIG", raising=False)
    monkeypatch.chdir(lay_desk(tmp_path))
    folder = tmp_path / "rules" / "tests"
    folder.mkdir()
    test = "- {test: cash, rule: LowCash, values: {cash_unrestricted_usd: 60m 40m}, expect: {0m: ok, 15m: %s}}\n"
    (folder / "cash.yaml").write_text(test % "firing")
    assert run_line(["test", "--offline"]) == 0
    assert "1 of 1 tests hold; 1 of 1 comparisons decided both ways" in capsys.readouterr().out
    (folder / "cash.yaml").write_text(test % "pending")
    assert run_line(["test", "--offline", "--json"]) == 1
    assert "is firing, not pending" in json.loads(capsys.readouterr().out)["failures"][0]
    assert run_line(["test", "rules/tests/gone.yaml"]) == 2
    assert "cannot be read" in capsys.readouterr().err
