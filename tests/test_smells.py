"""What works and still smells: each smell is found, each good neighbour is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_names import NAMES, SCENARIOS, numbers

from monitor.metrics import METRICS
from monitor.model import Rule
from monitor.rulefile import load_rules
from monitor.rules import compile_rules
from monitor.scenariofile import load_scenarios
from monitor.series import SERIES
from monitor.smells import Smell, find_smells, moving_prices

ROOT = Path(__file__).parents[1]
PRICES = moving_prices(NAMES, set(SERIES))


def smells(expr, each="borrower", known=None, **more) -> list[Smell]:
    """The smells of one rule that has everything else."""
    said = {"do": "look", "for_s": 60.0, **more}
    rule = Rule("R", expr, "warning", each, file="rules/mine.yaml", line=3, **said)
    return find_smells(compile_rules([rule], NAMES, SCENARIOS), known, PRICES)


def kinds(*args, **more) -> list[str]:
    return [smell.kind for smell in smells(*args, **more)]


@pytest.mark.parametrize(
    "expr",
    [
        "debt_usd > 2bn and debt_usd < 1bn",
        "debt_usd > 1bn and debt_usd <= 1bn",
        "1bn > debt_usd and not debt_usd < 2bn",
        "2 < interest_cover < 1",
        "interest_cover == 1 and interest_cover != 1",
        "cds_5y_bp > 500bp and cds_5y_bp < 4%",
        "pledged_share > 120%",
        "coins_free < 0",
        "drop(btc_usd, 7d) > 1.5",
        "change(btc_usd, 7d) < -120%",
        "rank(debt_usd) < 1",
        "known(debt_usd) and not known(debt_usd)",
        "debt_usd > net_debt_usd and net_debt_usd >= debt_usd",
        "tenant_critical and tenant_critical == 0",
        "1 > 2",
        "(debt_usd > 2bn or debt_usd < 0) and (debt_usd > 0 and debt_usd < 1bn)",
    ],
)
def test_what_can_never_be_true_is_found(expr):
    """No number makes these true, whatever words they use."""
    assert kinds(expr) == ["never_fires"]


@pytest.mark.parametrize(
    "expr",
    [
        "debt_usd > 1bn or debt_usd < 2bn",
        "interest_cover >= 1 or interest_cover < 1",
        "pledged_share <= 1",
        "age(debt_usd) >= 0",
        "not (debt_usd > 2bn and debt_usd < 1bn)",
    ],
)
def test_what_is_always_true_is_found(expr):
    """No number makes these false."""
    assert kinds(expr) == ["always_fires"]


@pytest.mark.parametrize(
    "expr",
    [
        "debt_usd > 1bn and debt_usd < 2bn",
        "debt_usd >= 1bn and debt_usd <= 1bn",
        "net_debt_usd < 0",
        "interest_cover < 0",
        "cds_5y_bp > 500bp and cds_5y_bp < 6%",
        "debt_usd > 2bn or debt_usd < 1bn",
        "change(net_debt_usd, 7d) < -120%",
        "known(debt_usd) and not known(net_debt_usd)",
        "high(liquidity_18m) < 1 and liquidity_18m > 1.2",
    ],
)
def test_what_can_be_both_is_left_alone(expr):
    """A rule that some numbers make true and others false does not smell."""
    assert kinds(expr) == []


def test_a_watchdog_is_meant_to_fire_always():
    """A condition that names nothing is what it is on purpose."""
    assert kinds("1 > 0", each="market") == []


def test_recovery_that_cannot_happen_or_changes_nothing():
    """clear must be possible, and must ask for more than that expr is over."""
    assert kinds("debt_usd > 2bn", clear="debt_usd < 1bn and debt_usd > 1bn") == ["never_clears"]
    assert kinds("debt_usd > 2bn", clear="debt_usd < 3bn") == ["idle_clear"]
    assert kinds("debt_usd > 2bn", clear="debt_usd < 1.5bn") == []


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ("cds_5y_bp > 5", "5 bp"),
        ("bond_price < 0.8", "write 80% for 0.8 of par"),
        ("runway_months < 180", "write 180d if days are meant"),
        ("debt_usd > 35", "35 dollars"),
        ("35 < debt_usd", "35 dollars"),
        ("interest_cover < pledged_share", "interest_cover (x) is compared with pledged_share (ratio)"),
        ("coins_free * btc_usd > 5%", "a product of two units"),
    ],
)
def test_units_that_convert_and_mean_something_else(expr, says):
    """What the compiler accepts and a person hardly meant is named with what to write."""
    found = smells(expr)
    assert [smell.kind for smell in found] == ["units"]
    assert says in f"{found[0].message}; {found[0].consequence}"


@pytest.mark.parametrize(
    "expr",
    ["cds_5y_bp > 500", "bond_price < 80", "runway_months < 9", "debt_usd > 35bn", "share_price_usd < 12.5",
     "coins_free * btc_usd > 5m", "debt_usd > 0", "interest_cover < 1.1", "share_price_usd < 90% * conversion_usd"],
)  # fmt: skip
def test_units_as_they_are_meant_do_not_smell(expr):
    """Plain thresholds in the metric's own unit are left alone."""
    assert kinds(expr) == []


def test_a_price_without_waiting_is_noisy():
    """A price compared with a line fires and ends with every swing, unless something damps it."""
    found = smells("btc_usd < 60k", each="market", for_s=0.0)
    assert [smell.kind for smell in found] == ["noisy"]
    assert "in »btc_usd« < 60k" in str(found[0])
    assert kinds("btc_usd < 60k", each="market", for_s=0.0, clear="btc_usd > 65k") == []
    assert kinds("btc_usd < 60k", each="market", for_s=0.0, keep_firing_for_s=60.0) == []
    assert kinds("not known(btc_usd) or avg_over(btc_usd, 7d) < 60k", each="market", for_s=0.0) == []
    assert kinds("debt_usd > 1bn", for_s=0.0) == []


def test_nobody_knows_it():
    """A metric nobody had a value of is named once with every rule that rests on it; one that is asked about is not."""
    rules = [
        Rule("A", "hy_spread_bp > 500bp", "info", "market", for_s=60.0, do="x"),
        Rule("B", "debt_usd > 1bn and change(hy_spread_bp, 60d) > 10%", "info", for_s=60.0, do="x"),
        Rule("C", "not known(due_outcome) and coalesce(coins_free, coins_total) > 1", "info", for_s=60.0, do="x"),
    ]
    found = find_smells(compile_rules(rules, NAMES, SCENARIOS), {"debt_usd"}, PRICES)
    assert [(smell.rule, smell.kind) for smell in found] == [("A", "unknown_metric")]
    assert "B" in found[0].consequence
    assert find_smells(compile_rules(rules, NAMES, SCENARIOS), None, PRICES) == []


def test_the_mark_is_on_the_name_itself():
    """A name that is the end of a longer one is not mistaken for it."""
    found = smells("margin_call_btc_usd > 1k and btc_usd < 60k", each="facility", for_s=0.0)
    assert "and »btc_usd« < 60k" in str(found[0])


def test_nothing_to_do_is_a_hint():
    """A rule that says neither what to do nor where to read is told so, and is no finding."""
    found = smells("debt_usd > 1bn", do="")
    assert [(smell.kind, smell.finding) for smell in found] == [("no_do", False)]
    assert kinds("debt_usd > 1bn", do="", runbook="https://example.org") == []


def test_a_smell_reads_as_place_mark_and_consequence():
    """The text names the file and line, marks the part, and says what follows."""
    assert str(smells("tenant_share > 30% and cds_5y_bp > 5")[0]).splitlines() == [
        "rules/mine.yaml:3: R: cds_5y_bp is in bp, so 5 is 5 bp",
        "    in tenant_share > 30% and »cds_5y_bp > 5«",
        "    write 5% if percent is meant, or 5bp",
    ]


def test_the_starter_rules_do_not_smell():
    """What comes with Canary passes its own check."""
    scenarios = {scenario.name for scenario in load_scenarios(ROOT / "scenarios")}
    compiled = compile_rules(load_rules(ROOT / "rules", METRICS, scenarios), METRICS, scenarios)
    assert [str(smell) for smell in find_smells(compiled, None, moving_prices(METRICS, set(SERIES)))] == []


def test_too_many_alternatives_say_nothing():
    """A condition too wide to work through is not judged, and costs no time."""
    wide = " and ".join(f"(debt_usd > {i}bn or net_debt_usd > {i}bn)" for i in range(1, 13))
    assert kinds(wide) == []


LINES = st.integers(1, 3).map(lambda line: f"{line}bn")
SIGNS = st.sampled_from(("<", "<=", ">", ">=", "=="))
COMPARISONS = st.tuples(st.sampled_from(("debt_usd", "net_debt_usd")), SIGNS, LINES).map(" ".join)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.tuples(inner, st.sampled_from((" and ", " or ")), inner).map(lambda t: f"({t[0]}){t[1]}({t[2]})")
        | inner.map(lambda text: f"not ({text})")
    ),
    max_leaves=5,
)
GRID = np.array([0.5, 1, 1.5, 2, 2.5, 3, 3.5]) * 1e9


@settings(max_examples=60, deadline=None)
@given(CONDITIONS)
def test_never_and_always_agree_with_trying_every_number(expr):
    """Over two metrics and lines at whole numbers, a grid that holds every case decides; the smell says the same."""
    compiled = compile_rules([Rule("R", expr, "warning", do="x", for_s=60.0)], NAMES, ())[0]
    truths = set()
    for debt in GRID:
        for start in range(0, GRID.size, 3):
            some = [float(value) for value in GRID[start : start + 3]]
            some += [some[-1]] * (3 - len(some))
            said = compiled.expression.evaluate(numbers(debt_usd=[float(debt)] * 3, net_debt_usd=some))
            truths |= set(said.truth.tolist())
    found = {smell.kind for smell in find_smells([compiled])}
    assert ("never_fires" in found) == (truths == {0})
    assert ("always_fires" in found) == (truths == {1})
