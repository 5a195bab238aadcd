"""Rules: what ships holds its own proofs, matching is honest about the unknown, texts are filled and nothing more."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rule_names import NAMES, SCENARIOS, Steps, numbers

from monitor.model import InputError, Proof, Rule
from monitor.rulefile import load_rule_texts, load_rules, rule_schema
from monitor.rules import SPECS, at_ends, compile_rules, figures, match, render, run_proofs
from monitor.values import NameInfo

SHIPPED = Path(__file__).parents[1] / "rules"
T, F, U = 1, 0, -1


@pytest.fixture(scope="module")
def shipped():
    rules = load_rules(SHIPPED, NAMES, SCENARIOS)
    return compile_rules(rules, NAMES, SCENARIOS)


def one(**fields) -> Rule:
    return Rule(**{"id": "Test", "severity": "warning", **fields})


def compiled(**fields):
    return compile_rules([one(**fields)], NAMES, SCENARIOS)[0]


# ---------------------------------------------------------------- what ships
def test_every_shipped_proof_holds(shipped):
    """Each rule fires where it says it must and stays quiet where it says it must."""
    results = run_proofs(shipped)
    wrong = [f"{r.rule.file}:{r.proof.line} {r.rule.id}: {r.why}" for r in results if not r.ok]
    assert not wrong
    assert len(results) > 60


def test_every_shipped_rule_explains_itself_and_is_proven_both_ways(shipped):
    """Summary, why, what to do, false alarms; a case that fires and one that does not."""
    for rule in (c.rule for c in shipped):
        assert all((rule.summary, rule.why, rule.do, rule.false_alarms)), rule.id
        fires = {proof.fires for proof in rule.proof}
        assert fires == ({True} if rule.id == "Watchdog" else {True, False}), rule.id


def test_no_shipped_rule_fires_or_reads_as_fine_on_nothing(shipped):
    """With every figure unknown, only rules about missing data say anything; the others are unknown, with a reason.

    That a borrower is watched at all is written in its file and always known.
    """
    about_data = {"BlindOnRisk", "PriceUnknown", "HashpriceUnknown", "IndexWithheld", "Watchdog"}
    for found in match(shipped, numbers(watched=[1.0, 1.0, 1.0])):
        assert not found.error
        if found.rule.id in about_data:
            assert set(found.truth.tolist()) == {T}, found.rule.id
        else:
            assert set(found.truth.tolist()) == {U}, found.rule.id
            assert all(found.why[i] for i in range(len(found.subjects)))


def test_shipped_rules_load_with_the_metrics_there_are():
    """Every name in the shipped rules is a metric the program computes, at that level and in that unit."""
    metrics = pytest.importorskip("monitor.metrics")
    rules = load_rules(SHIPPED, metrics.METRICS, SCENARIOS)
    assert all(result.ok for result in run_proofs(compile_rules(rules, metrics.METRICS, SCENARIOS)))


def test_shipped_texts_have_no_hole_that_cannot_be_filled(shipped):
    """Filled from nothing, every placeholder reads "?" and none stays in braces."""
    for c in shipped:
        for text in (c.rule.summary, c.rule.why, c.rule.do):
            assert "{" not in render(c, text, numbers(), 0), c.rule.id


# ---------------------------------------------------------------- matching
def test_matches_come_in_the_order_of_rules_with_their_subjects():
    """One match a rule; truth and cleared per subject of its level."""
    rules = compile_rules(
        [one(expr="btc_usd > 1", each="market"), one(expr="coverage < 1"), one(expr="dscr < 1", each="facility")],
        NAMES,
        (),
    )
    found = match(rules, numbers(btc_usd=[2], coverage=[0.5, 2, None], dscr=[0.5, None, 2]))
    assert [m.subjects for m in found] == [
        ("market",),
        ("alpha", "beta", "gamma"),
        ("alpha/one", "alpha/two", "beta/one"),
    ]
    assert [m.truth.tolist() for m in found] == [[T], [T, F, U], [T, U, F]]
    assert [m.cleared.tolist() for m in found] == [[F], [F, T, U], [F, U, T]]
    assert all(m.truth.dtype == np.int8 for m in found)
    assert match([], numbers()) == []


def test_a_recovery_threshold_is_asked_by_itself():
    """Between the two lines it is neither true nor cleared."""
    rule = compiled(expr="coverage < 1", clear="coverage > 1.2")
    found = match([rule], numbers(coverage=[0.9, 1.1, 1.3]))[0]
    assert (found.truth.tolist(), found.cleared.tolist()) == ([T, F, F], [F, F, T])


def test_one_broken_rule_is_an_error_and_the_others_go_on():
    """A column of the wrong size breaks the rule that names it, and no other."""
    rules = compile_rules([one(expr="coverage < 1"), one(expr="interest_cover < 1")], NAMES, ())
    base = numbers(coverage=[0.5, 2, 3], interest_cover=[0.5, 2, 3])
    short = replace(base.columns["coverage"], values=np.ones(2), known=np.ones(2, bool))
    first, second = match(rules, replace(base, columns={**base.columns, "coverage": short}))
    assert first.error.startswith("ValueError: coverage has")
    assert first.truth.tolist() == [U, U, U]
    assert second.truth.tolist() == [T, F, F]


def test_rules_that_no_longer_fit_the_metrics_are_named():
    """A metric that went away is an input error with the rule's file and line."""
    with pytest.raises(InputError, match=r"my.yaml:7:1: Test: unknown name 'coverage'"):
        compile_rules([one(expr="coverage < 1", file="my.yaml", line=7)], {}, ())


def test_an_alarm_is_tried_at_both_ends_of_the_assumptions():
    """True in the middle, false at one end: it does not hold at both."""
    base = numbers(coverage=[0.9, 0.9, None])
    wide = replace(base.columns["coverage"], low=np.array([0.5, 0.8, np.nan]), high=np.array([1.4, 0.95, np.nan]))
    full = replace(base, columns={"coverage": wide})
    low, high = at_ends(compiled(expr="coverage < 1"), full)
    assert (low.tolist(), high.tolist()) == ([T, T, U], [F, T, U])


def test_figures_name_the_facility_they_are_taken_from():
    """The worst facility, by each metric's own worse end; unknown comes with its reason."""
    rule = compiled(expr="ltv_economic > 90% and dscr < 1 and coverage < 1")
    found = figures(rule, numbers(ltv_economic=[0.5, 0.95, 0.4], dscr=[0.7, 1.4, None], coverage=[None, 1, 1]), 0)
    assert [(f.name, f.facility) for f in found] == [
        ("ltv_economic", "alpha/two"),
        ("dscr", "alpha/one"),
        ("coverage", ""),
    ]
    assert found[2].why == "coverage: no filing"


def test_a_thousand_rules_on_a_thousand_subjects_are_quick():
    """Compiling and matching stay far from a second even on a busy machine; answers equal plain numpy's."""
    rng = np.random.default_rng(7)
    table = {f"m{i}": NameInfo("borrower", "x") for i in range(8)}
    base = numbers()
    values = rng.random((8, 1000)) * 2
    known = rng.random((8, 1000)) > 0.1
    columns = {
        f"m{i}": replace(_column(f"m{i}"), values=np.where(known[i], values[i], np.nan), known=known[i])
        for i in range(8)
    }
    full = replace(base, subjects={**base.subjects, "borrower": tuple(f"b{i}" for i in range(1000))}, columns=columns)
    picks = rng.integers(0, 8, (1000, 5))
    rules = [
        one(id=f"R{i}", expr=f"m{a} > 0.{i:03d} and (m{b} < 0.5 or m{c} * m{d} >= m{e} + 0.2)")
        for i, (a, b, c, d, e) in enumerate(picks)
    ]
    began = time.process_time()
    ready = compile_rules(rules, table, ())
    compiled_s = time.process_time() - began
    began = time.process_time()
    found = match(ready, full)
    matched_s = time.process_time() - began
    assert compiled_s < 2.0
    assert matched_s < 0.6
    a, b, c, d, e = picks[500]
    both = known[[a, b, c, d, e]].all(axis=0)
    plain = (values[a] > 0.5) & ((values[b] < 0.5) | (values[c] * values[d] >= values[e] + 0.2))
    assert (found[500].truth[both] == plain[both]).all()


def _column(name: str):
    from monitor.model import Column

    return Column(name, "borrower", "x", np.zeros(0), np.zeros(0, bool))


# ---------------------------------------------------------------- texts
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{ltv_economic:.0%} {ltv_economic:.1%} {ltv_economic}", "95% 95.0% 95.0%"),
        ("{dscr:.2f}x {dscr:.1x} {dscr}", "0.70x 0.7x 0.70x"),
        ("{debt_usd:usd} {debt_usd}", "35.55bn 35.55bn USD"),
        ("{hy_spread_bp:bp} {hy_spread_bp:.2%}", "450 bp 4.50%"),
        ("{days_to_next_due:days} {days_to_next_due:months}", "30 days 1.0 months"),
        ("{distress_filing_age:age}", "4 h"),
        ("{runway_months} {runway_months:.1f}", "unlimited unlimited"),
        ("{bond_price:.1f} {bond_price:.0%}", "93.5 94%"),
        ("{tenant_critical}", "yes"),
        ("{coverage} {coverage:.0%}", "? ?"),
        ("{borrower} {facility} {subject}", "alpha two alpha"),
        ("*bold* <b>_x_</b> [a](b) %s {borrower}", "*bold* <b>_x_</b> [a](b) %s alpha"),
    ],
)
def test_placeholders_are_filled_with_units(text, shown):
    """Known numbers in the asked form, unknown as "?", markup as it stands."""
    filled = numbers(
        ltv_economic=[0.5, 0.95, 0.4], dscr=[0.7, 1.4, 2], debt_usd=[35.551e9, 1, 1], hy_spread_bp=[450],
        days_to_next_due=[30, 1, 1], distress_filing_age=[4 * 3600, 1, 1], runway_months=[float("inf"), 1, 1],
        bond_price=[93.5, 1, 1], tenant_critical=[1, 0, 0], coverage=[None, 1, 1],
    )  # fmt: skip
    assert render(compiled(expr="ltv_economic > 90%"), text, filled, 0) == shown


@pytest.mark.parametrize(
    "text", ["{coverage.real}", "{coverage!r}", "{0}", "{}", "{coverage:>99999999}", "{{coverage}}"]
)
def test_formatting_tricks_print_nothing_of_python(text):
    """Attributes, conversions, positions and widths are not known here."""
    shown = render(compiled(expr="coverage < 1"), text, numbers(coverage=[1, 1, 1]), 0)
    assert len(shown) < 12
    assert "object" not in shown


def test_every_format_shows_every_ordinary_number():
    """No spec of the closed list fails on zero, negative, huge or unlimited."""
    for spec in SPECS:
        for value in (0.0, -1.5, 1e15, float("inf"), float("-inf")):
            name = {"time": "runway_months"}.get(SPECS[spec][0], "pledged_share")
            shown = render(compiled(expr="coverage < 1"), f"{{{name}:{spec}}}", numbers(**{name: [value] * 3}), 0)
            assert shown
            assert "?" not in shown


# ---------------------------------------------------------------- proofs and files
def test_a_proof_without_a_number_has_it_unknown_and_unknown_does_not_fire():
    """Nothing given is not zero; `on_missing: alert` is the one way unknown fires."""
    proof = (Proof({}, False),)
    assert run_proofs([compiled(expr="coverage < 1", proof=proof)])[0].ok
    result = run_proofs([compiled(expr="coverage < 1", proof=proof, on_missing="alert")])[0]
    assert not result.ok
    assert result.truth == U
    assert result.why == "coverage: given as unknown"


def test_for_is_served_in_days():
    """A case of seven days and no less fires a rule that waits for seven."""
    proof = tuple(Proof({"coverage": 0.5, "days": days}, days >= 7) for days in (6.99, 7, 8))
    assert all(r.ok for r in run_proofs([compiled(expr="coverage < 1", for_s=7 * 86400.0, proof=proof)]))


def test_a_proof_that_does_not_hold_is_found():
    """A proof can fail: one that claims the opposite does."""
    assert not run_proofs([compiled(expr="coverage < 1", proof=(Proof({"coverage": 2.0}, True),))])[0].ok


_FILE = """
- alert: First
  expr: >-
    coverage < 1
    and debt_usd > 1.5bn
  clear: coverage > 110%
  for: 15m
  keep_firing_for: 3d
  severity: critical
  downtime: counts
  inhibits: [Second]
  summary: "{borrower}: {coverage:.0%}"
  proof:
    - at: {coverage: 90%, debt_usd: 2bn, days: 1}
      fires: true
- {alert: Second, expr: tenant_critical, severity: info, summary: NO, was: Old}
"""


def test_a_file_becomes_rules_with_every_field():
    """Durations in seconds (a bare m is minutes), units read, line numbers kept."""
    first, second = load_rule_texts({"a.yaml": _FILE}, NAMES, ())
    assert (first.id, first.for_s, first.keep_firing_for_s, first.downtime) == ("First", 900.0, 3 * 86400.0, "counts")
    assert (first.inhibits, first.each, first.on_missing, first.line) == (("Second",), "borrower", "keep", 2)
    assert first.proof == (Proof({"coverage": 0.9, "debt_usd": 2e9, "days": 1.0}, True, 14),)
    assert (second.summary, second.was, second.for_s) == ("NO", "Old", 0.0)


def test_the_logic_hash_follows_what_decides_and_nothing_else():
    """Blanks and texts change nothing; a number, a clear line or a level does."""
    base = load_rule_texts({"a.yaml": _FILE}, NAMES, ())[0].logic_hash
    for old, new, same in [
        ("coverage < 1\n    and", "coverage   <   1 and\n   ", True),
        ("{borrower}: ", "{borrower} ", True),
        ("for: 15m", "for: 20m", True),
        ("< 1\n", "< 2\n", False),
        ("110%", "120%", False),
    ]:
        assert old in _FILE
        assert (load_rule_texts({"a.yaml": _FILE.replace(old, new)}, NAMES, ())[0].logic_hash == base) is same, new


def test_the_schema_knows_every_field_and_is_json():
    """What the loader accepts is what the editor completes."""
    schema = json.loads(json.dumps(rule_schema()))
    fields = schema["items"]["properties"]
    design = "alert expr clear for keep_firing_for severity each on_missing inhibits summary why do false_alarms"
    assert {*design.split(), "runbook", "proof", "route", "was", "downtime", "repeat"} == set(fields)
    assert schema["items"]["additionalProperties"] is False
    assert {"alert", "expr", "severity", "summary"} == set(schema["items"]["required"])


def test_a_past_reaches_a_rule():
    """A rule over time fires from the history given with the numbers."""
    past = {"coins_free": Steps((((0.0, 8497.0),), ((0.0, 100.0),), ()))}
    rule = compiled(expr="change(coins_free, 90d) < -30%")
    assert match([rule], numbers(past, coins_free=[1205, 99, 5]))[0].truth.tolist() == [T, F, U]
