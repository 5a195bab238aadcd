"""The expression language: what it accepts, what it refuses and where, and that its arrays say what logic says."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_names import AT, NAMES, SCENARIOS, Steps, numbers

from monitor.expression import ExpressionError, compile_expression
from monitor.functions import WORDS
from monitor.model import Column, Quote

DAY = 86400.0
NOW = AT.timestamp()


def truth(text: str, level: str = "borrower", history: dict | None = None, **values: list[float | None]) -> list[int]:
    return compile_expression(text, NAMES, SCENARIOS, level).evaluate(numbers(history, **values)).truth.tolist()


def flaws(text: str, level: str = "borrower") -> list[tuple[str, str]]:
    """(characters pointed at, message) of every flaw."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, NAMES, SCENARIOS, level)
    return [(text[f.offset : f.offset + f.length], f.message) for f in caught.value.flaws]


# ---------------------------------------------------------------- three values
T, F, U = 1, 0, -1
_WRITTEN = {T: "coverage > 1", F: "coverage < 1", U: "runway_months > 1"}


@pytest.mark.parametrize(
    ("a", "b", "conjunction", "disjunction"),
    [
        (T, T, T, T), (T, F, F, T), (T, U, U, T),
        (F, T, F, T), (F, F, F, F), (F, U, F, U),
        (U, T, U, T), (U, F, F, U), (U, U, U, U),
    ],
)  # fmt: skip
def test_and_or_follow_kleene(a, b, conjunction, disjunction):
    """false and unknown is false, true or unknown is true, the rest of unknown is unknown."""
    known = {"coverage": [2, 2, 2], "runway_months": [None] * 3}
    assert truth(f"{_WRITTEN[a]} and {_WRITTEN[b]}", **known)[0] == conjunction
    assert truth(f"{_WRITTEN[a]} or {_WRITTEN[b]}", **known)[0] == disjunction


@pytest.mark.parametrize(("a", "expected"), [(T, F), (F, T), (U, U)])
def test_not_follows_kleene(a, expected):
    """not unknown is unknown."""
    assert truth(f"not {_WRITTEN[a]}", coverage=[2, 2, 2], runway_months=[None] * 3)[0] == expected


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">=", "==", "!="])
def test_any_comparison_with_an_unknown_is_unknown(sign):
    """An unknown is neither above, below, equal to nor different from anything, itself included."""
    assert truth(f"coverage {sign} 1", coverage=[None] * 3) == [U, U, U]
    assert truth(f"coverage {sign} coverage", coverage=[None] * 3) == [U, U, U]
    assert truth(f"coverage {sign} runway_months / 1mo", coverage=[1, 1, 1], runway_months=[None] * 3) == [U, U, U]


def test_equal_is_not_above_and_infinite_is_above_everything():
    """0.8 > 0.8 is false; an unlimited value compares like any number."""
    assert truth("coverage > 0.8", coverage=[0.8, math.inf, -math.inf]) == [F, T, F]


def test_division_by_zero_is_unlimited_and_zero_by_zero_is_unknown():
    """x / 0 takes the sign of x, whichever zero it is; 0 / 0 is unknown and says so."""
    expression = compile_expression("debt_usd / due_12m_usd > 1", NAMES, ())
    found = expression.evaluate(numbers(debt_usd=[5, 0, -5], due_12m_usd=[-0.0, 0, 0]))
    assert found.truth.tolist() == [T, U, F]
    assert dict(found.why) == {1: "debt_usd / due_12m_usd has no value"}


def test_unknown_says_which_name_and_why_and_only_where_it_mattered():
    """A name that could not have changed the answer is not blamed."""
    expression = compile_expression("coverage < 1 and runway_months < 6 or interest_cover < 1", NAMES, ())
    found = expression.evaluate(
        numbers(coverage=[0.5, 2, 2], runway_months=[None, None, 5], interest_cover=[2, None, 0.5])
    )
    assert found.truth.tolist() == [U, U, T]
    assert dict(found.why) == {0: "runway_months: no filing", 1: "interest_cover: no filing"}
    assert list(found.values) == ["coverage", "runway_months", "interest_cover"]
    assert np.isnan(found.values["runway_months"]).tolist() == [True, True, False]


def test_a_metric_that_was_not_computed_is_unknown():
    """A name without a column never reads as fine."""
    found = compile_expression("coverage < 1", NAMES, ()).evaluate(numbers())
    assert found.truth.tolist() == [U, U, U]
    assert found.why[0] == "coverage: was not computed"


# ---------------------------------------------------------------- the vector against a slow reading of the same tree
_VALUES = (None, 0.0, 1.0, -1.0, 0.5, 2.0, 3.25, math.inf, -math.inf)
_NAMES = ("coverage", "interest_cover", "liquidity_18m")
_literals = st.sampled_from(("0", "1", "0.5", "2", "3.25", "200%", "1.5x"))
_sums = st.recursive(
    st.sampled_from(_NAMES).map(lambda n: ("name", n)) | _literals.map(lambda n: ("literal", n)),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*/"), inner, inner),
        st.tuples(st.sampled_from(("min", "max", "coalesce")), inner, inner),
        st.tuples(st.sampled_from(("abs", "minus")), inner),
    ),
    max_leaves=6,
)
_conditions = st.recursive(
    st.tuples(st.sampled_from(("<", "<=", ">", ">=", "==", "!=")), _sums, _sums) | st.tuples(st.just("known"), _sums),
    lambda inner: st.tuples(st.sampled_from(("and", "or")), inner, inner) | st.tuples(st.just("not"), inner),
    max_leaves=6,
)


def _write(tree) -> str:
    kind, *parts = tree
    if kind in ("name", "literal"):
        return parts[0]
    inner = [_write(part) for part in parts]
    if kind in ("abs", "min", "max", "coalesce", "known"):
        return f"{kind}({', '.join(inner)})"
    if kind in ("minus", "not"):
        return f"({'-' if kind == 'minus' else 'not '}{inner[0]})"
    return f"({inner[0]} {kind} {inner[1]})"


def _number(tree, row) -> float | None:
    """One number of one subject, by the book."""
    kind, *parts = tree
    if kind == "name":
        return row[parts[0]]
    if kind == "literal":
        text = parts[0]
        return float(text[:-1]) / 100 if text.endswith("%") else float(text.rstrip("x"))
    got = [_number(part, row) for part in parts]
    if kind == "coalesce":
        return next((value for value in got if value is not None), None)
    if None in got:
        return None
    a, b = (*got, 0.0)[:2]
    if kind == "/" and b == 0:
        return None if a == 0 else math.copysign(math.inf, a)
    result = {
        "abs": lambda: abs(a), "minus": lambda: -a, "min": lambda: min(got), "max": lambda: max(got),
        "+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b,
    }[kind]()  # fmt: skip
    return None if math.isnan(result) else result


def _condition(tree, row) -> bool | None:
    """One condition of one subject, by the book."""
    kind, *parts = tree
    if kind == "known":
        return _number(parts[0], row) is not None
    if kind == "not":
        inner = _condition(parts[0], row)
        return None if inner is None else not inner
    if kind in ("and", "or"):
        got = [_condition(part, row) for part in parts]
        decisive = kind == "or"
        return decisive if decisive in got else None if None in got else not decisive
    a, b = _number(parts[0], row), _number(parts[1], row)
    if a is None or b is None:
        return None
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b, "!=": a != b}[kind]


@settings(max_examples=200, deadline=None)
@given(_conditions, st.lists(st.tuples(*[st.sampled_from(_VALUES)] * 3), min_size=3, max_size=3))
def test_arrays_say_what_a_slow_scalar_reading_says(tree, rows):
    """Whatever is known, unknown or unlimited, vector and scalar agree, and every unknown has a reason."""
    columns = {name: [row[i] for row in rows] for i, name in enumerate(_NAMES)}
    found = compile_expression(_write(tree), NAMES, ()).evaluate(numbers(**columns))
    slow = [_condition(tree, dict(zip(_NAMES, row, strict=True))) for row in rows]
    assert found.truth.tolist() == [U if answer is None else int(answer) for answer in slow]
    assert all(reason for reason in found.why.values())
    assert sorted(found.why) == [i for i, answer in enumerate(slow) if answer is None]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("not coverage > 1 and coverage < 3", "(not (coverage > 1)) and (coverage < 3)"),
        ("coverage > 1 or coverage < 3 and coverage < 0", "(coverage > 1) or ((coverage < 3) and (coverage < 0))"),
        ("coverage > 1 + 2 * 3", "coverage > (1 + (2 * 3))"),
        ("0.5 < coverage <= 2", "0.5 < coverage and coverage <= 2"),
        ("-coverage - 1 < -2", "((-coverage) - 1) < (-2)"),
        ("coverage\n  > 1\n  and coverage < 3", "coverage > 1 and coverage < 3"),
    ],
)
def test_operators_bind_as_in_python(text, same):
    """Precedence and chains are Python's."""
    for value in (0.2, 0.5, 1.5, 2.0, 2.5, 4.0, 8.0):
        assert truth(text, coverage=[value] * 3) == truth(same, coverage=[value] * 3)


# ---------------------------------------------------------------- levels
def test_a_market_number_stands_for_every_subject():
    """BTC is one number for all borrowers."""
    assert truth("btc_usd < 60k and coverage < 1", btc_usd=[50_000], coverage=[0.5, 2, None]) == [T, F, U]


def test_a_facility_number_in_a_borrower_rule_is_its_worst():
    """LTV takes the highest, DSCR the lowest; a borrower without a facility is unknown, not fine."""
    values = {"ltv_economic": [0.5, 0.9, 0.4], "dscr": [2.0, 1.4, 0.7]}
    found = compile_expression("ltv_economic > 80%", NAMES, ()).evaluate(numbers(**values))
    assert found.truth.tolist() == [T, F, U]
    assert found.why[2] == "ltv_economic: there is none below"
    assert truth("dscr < 1", **values) == [F, T, U]


def test_one_unknown_facility_hides_no_known_bad_one_and_makes_nothing_fine():
    """The worst of 0.9 and unknown is above 0.8 for sure, and not below 0.95 for sure."""
    values = {"ltv_economic": [0.9, None, 0.4]}
    assert truth("ltv_economic > 80%", **values) == [T, F, U]
    assert truth("ltv_economic > 95%", **values) == [U, F, U]
    assert truth("ltv_economic < 95%", **values) == [U, T, U]
    assert truth("ltv_economic < 85%", **values) == [F, T, U]
    assert truth("-ltv_economic < -80%", **values) == [T, F, U]
    assert truth("ltv_economic != 85%", **values) == [T, T, U]
    found = compile_expression("ltv_economic > 95%", NAMES, ()).evaluate(numbers(**values))
    assert found.why[0] == "alpha/two: ltv_economic: no filing"


def test_a_borrower_number_in_a_facility_rule_goes_to_its_facilities():
    """Each facility sees its own borrower's number and the reason it is missing."""
    expression = compile_expression("coverage < 1", NAMES, (), "facility")
    found = expression.evaluate(numbers(coverage=[0.5, None, 0.5]))
    assert found.truth.tolist() == [T, T, U]
    assert found.why[2] == "coverage: no filing"


def test_worst_takes_the_difference_before_the_worst():
    """worst(a - b) is the worst gap of one facility; a - b mixes the worst of each."""
    values = {"ltv_economic": [0.9, 0.5, 0.4], "ltv_contractual": [0.85, 0.2, 0.1]}
    assert truth("worst(ltv_economic - ltv_contractual) > 29%", **values)[0] == T
    assert truth("ltv_economic - ltv_contractual > 29%", **values)[0] == F


def test_counting_over_subjects_keeps_what_is_not_known():
    """Two known cases are at least two, whatever the third is; they are not exactly two."""
    values = {"coverage": [0.5, 0.6, None]}
    assert truth("count(coverage < 1) >= 2", "market", **values) == [T]
    assert truth("count(coverage < 1) >= 3", "market", **values) == [U]
    assert truth("count(coverage < 1) > 3", "market", **values) == [F]
    assert truth("any_of(coverage < 1)", "market", **values) == [T]
    assert truth("any_of(coverage < 0.1)", "market", **values) == [U]
    assert truth("all_of(coverage < 1)", "market", **values) == [U]
    assert truth("worst(coverage) < 0.55", "market", **values) == [T]
    expression = compile_expression("count(coverage < 1) >= 3", NAMES, (), "market")
    assert expression.evaluate(numbers(**values)).why[0] == "gamma: coverage: no filing"
    assert expression.own_names == ()


def test_counting_facilities_in_a_borrower_rule_counts_its_own():
    """count, any_of and all_of over facilities are per borrower, in the facilities' rules too."""
    values = {"ltv_economic": [0.9, 0.95, 0.9]}
    assert truth("count(ltv_economic > 85%) == 2", **values) == [T, F, F]
    assert truth("count(ltv_economic > 85%) == 2", "facility", **values) == [T, T, F]
    assert truth("all_of(ltv_economic > 92%)", **values) == [F, F, U]
    assert truth("any_of(ltv_economic > 92%)", **values) == [T, F, F]


def test_rank_counts_from_the_highest_and_unknown_holds_no_place():
    """Ties share the better place."""
    assert truth("rank(debt_usd) == 1", debt_usd=[5, 9, None]) == [F, T, U]
    assert truth("rank(-debt_usd) == 1", debt_usd=[5, 9, 5]) == [T, F, T]


# ---------------------------------------------------------------- time
def _past(*steps: tuple[float, float]) -> Steps:
    """One subject; times in days before now."""
    return Steps((tuple((NOW - days * DAY, value) for days, value in steps),))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("change(btc_usd, 7d)", -0.25),
        ("delta(btc_usd, 7d)", -20.0),
        ("at(btc_usd, 7d)", 80.0),
        ("drop(btc_usd, 7d)", 0.4),
        ("rise(btc_usd, 7d)", 0.2),
        ("avg_over(btc_usd, 4d)", (100 * 1 + 50 * 3) / 4),
        ("min_over(btc_usd, 7d)", 50.0),
        ("max_over(btc_usd, 7d)", 100.0),
        ("quantile(btc_usd, 50%, 4d)", 50.0),
        ("quantile(btc_usd, 90%, 4d)", 100.0),
        ("hours_of(btc_usd < 60, 7d)", 72.0),
        ("zscore(btc_usd, 4d)", (60 - 62.5) / math.sqrt((37.5**2 + 3 * 12.5**2) / 4)),
        ("slope(btc_usd, 4d)", 12 * (100 * -1.5 * 1 + 50 * 0.5 * 3) / 4**3),
    ],
)
def test_words_over_time_weigh_by_how_long_a_value_held(call, expected):
    """80 from 20 days ago, 100 from 5 and 3/24 of a thousand rows later still 100, 50 from 3, 60 now."""
    rows = [(3 + i / 1000, 100.0) for i in range(1000, 0, -1)]
    past = _past((20, 80), (5, 100), *rows, (3, 50))
    close = f"-0.000001 < {call} - ({expected:.9f}) < 0.000001"
    assert truth(close, "market", {"btc_usd": past}, btc_usd=[60]) == [T]


def test_a_window_before_the_known_past_is_unknown():
    """Ten days of past answer nothing about thirty."""
    past = {"btc_usd": _past((10, 80))}
    assert truth("change(btc_usd, 7d) < 0", "market", past, btc_usd=[60]) == [T]
    for call in ("change(btc_usd, 30d)", "avg_over(btc_usd, 30d)", "drop(btc_usd, 30d)", "hours_of(btc_usd < 1, 30d)"):
        assert truth(f"{call} > 0", "market", past, btc_usd=[60]) == [U]
    assert truth("avg_over(btc_usd, 241h) > 0", "market", past, btc_usd=[60]) == [U]
    found = compile_expression("change(btc_usd, 30d) < 0", NAMES, (), "market").evaluate(numbers(past, btc_usd=[60]))
    assert found.why[0] == "btc_usd: not known 30d ago"
    assert truth("change(btc_usd, 7d) < 0", "market", None, btc_usd=[60]) == [U]
    assert truth("change(btc_usd, 7d) < 0", "market", past, btc_usd=[None]) == [U]


def test_a_short_gap_in_the_past_is_bridged_and_a_long_one_is_not():
    """An outage of an hour does not blind a week; one of two days does."""
    nan = math.nan
    short = {"btc_usd": _past((30, 80), (3, nan), (2.96, 90))}
    long = {"btc_usd": _past((30, 80), (5, nan), (3, 90))}
    assert truth("max_over(btc_usd, 7d) == 90", "market", short, btc_usd=[60]) == [T]
    assert truth("79.99 < avg_over(btc_usd, 7d) - 10 * 2.96 / 7 < 80.01", "market", short, btc_usd=[60]) == [T]
    assert truth("max_over(btc_usd, 7d) == 90", "market", long, btc_usd=[60]) == [U]


def test_relative_change_from_nothing_is_unknown():
    """A change from zero or from a debt has no percentage."""
    past = {"net_debt_usd": Steps((((0.0, 0.0),), ((0.0, -5.0),), ((0.0, 4.0),)))}
    assert truth("change(net_debt_usd, 7d) > 10%", "borrower", past, net_debt_usd=[5, 5, 5]) == [U, U, T]


def test_a_facility_change_in_a_borrower_rule_is_the_worst_facilitys():
    """The change is taken facility by facility, then the worst one counts."""
    past = {"ltv_economic": Steps((((0.0, 0.5),), ((0.0, 0.9),), ((0.0, 0.4),)))}
    assert truth("change(ltv_economic, 7d) > 15%", "borrower", past, ltv_economic=[0.6, 0.9, 0.4]) == [T, F, U]


def test_since_counts_from_the_last_change():
    """With no change on record it is at least as long as the record."""
    past = {"debt_usd": Steps((((NOW - 9 * DAY, 1.0), (NOW - 2 * DAY, 5.0)), ((NOW - 30 * DAY, 7.0),), ()))}
    assert truth("since(debt_usd) < 3d", "borrower", past, debt_usd=[5, 7, 1]) == [T, F, U]
    assert truth("since(debt_usd) > 40d", "borrower", past, debt_usd=[5, 7, 1]) == [F, U, U]


def test_age_comes_from_the_column_or_from_the_price():
    """The oldest input decides; a price tells when it was observed."""
    base = numbers(debt_usd=[1, 1, None], btc_usd=[60_000])
    aged = replace(base.columns["debt_usd"], age_s=np.array([200 * DAY, 10 * DAY, np.nan]))
    quote = Quote(
        "btc_usd", "market", 60_000.0, "usd", AT - timedelta(hours=2), AT, "test", in_doubt="58,000 or 70,000"
    )
    full = replace(base, columns={**base.columns, "debt_usd": aged}, quotes={("btc_usd", "market"): quote})

    def ask(text: str) -> list[int]:
        return compile_expression(text, NAMES, ()).evaluate(full).truth.tolist()

    assert ask("age(debt_usd) > 135d") == [T, F, U]
    assert ask("age(btc_usd) > 1h") == [T, T, T]
    assert ask("age(btc_usd) > 3h") == [F, F, F]
    assert ask("in_doubt(btc_usd)") == [T, T, T]
    assert ask("in_doubt(eth_usd)") == [U, U, U]


def test_known_is_never_unknown():
    """known() of a number and of a condition, and their negations."""
    assert truth("known(coverage)", coverage=[1, None, 1]) == [T, F, T]
    assert truth("not known(coverage)", coverage=[1, None, 1]) == [F, T, F]
    assert truth("known(coverage < 1 and runway_months < 1)", coverage=[2, None, 1]) == [T, F, T]
    assert truth("known(dscr)", dscr=[1, None, 1]) == [F, T, F]


def test_scenarios_and_the_ends_of_assumptions():
    """under() reads the scenario's column; low() and high() the ends, in whatever order they were given."""
    base = numbers(liquidity_locked_12m=[1.2, 1.2, None])
    column = replace(
        base.columns["liquidity_locked_12m"], low=np.array([0.85, 2.0, np.nan]), high=np.array([2.05, 0.9, np.nan])
    )
    crash = Column("coverage", "borrower", "x", np.array([0.4, 1.4, np.nan]), np.array([True, True, False]))
    full = replace(base, columns={"liquidity_locked_12m": column}, scenarios={"crypto_winter": {"coverage": crash}})

    def ask(text: str) -> list[int]:
        return compile_expression(text, NAMES, SCENARIOS).evaluate(full).truth.tolist()

    assert ask("high(liquidity_locked_12m) < 2.01") == [F, T, U]
    assert ask("low(liquidity_locked_12m) < 1") == [T, T, U]
    assert ask('under("crypto_winter", coverage) < 1') == [T, F, U]
    assert ask('under("rental_glut", coverage) < 1') == [U, U, U]


# ---------------------------------------------------------------- units
@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("ltv_economic > 90%", {"ltv_economic": [0.91]}, T),
        ("days_to_next_due < 2w", {"days_to_next_due": [13]}, T),
        ("runway_months < 91.3125d", {"runway_months": [2.9]}, T),
        ("hy_spread_bp >= 300bp", {"hy_spread_bp": [300]}, T),
        ("hy_spread_bp > 3%", {"hy_spread_bp": [299]}, F),
        ("hy_spread_bp >= 75bp", {"hy_spread_bp": [75]}, T),
        ("29bp <= hy_spread_bp", {"hy_spread_bp": [29]}, T),
        ("bond_price < 80%", {"bond_price": [79]}, T),
        ("bond_price < 80", {"bond_price": [81]}, F),
        ("debt_usd > 1.5bn", {"debt_usd": [1.6e9]}, T),
        ("debt_usd / 1bn > 1.5", {"debt_usd": [1.6e9]}, T),
        ("debt_usd > 50% * due_12m_usd + 1m", {"debt_usd": [2e6], "due_12m_usd": [1e6]}, T),
        ("hy_spread_bp * debt_usd > 9m", {"hy_spread_bp": [100], "debt_usd": [1e9]}, T),
        ("max(hy_spread_bp, 5%) == 500bp", {"hy_spread_bp": [100]}, T),
        ("hy_spread_bp * 1 > 200% - 1 + 2 * 50%", {"hy_spread_bp": [20_001]}, T),
        ("hy_spread_bp * 1 > 200% - 1 + 2 * 50%", {"hy_spread_bp": [19_999]}, F),
        ("runway_months / days_to_next_due == 2", {"runway_months": [2], "days_to_next_due": [30.4375]}, T),
        ("coverage > max(0, 200%)", {"coverage": [2.1]}, T),
        ("distress_filing_age < 3d", {"distress_filing_age": [2 * DAY]}, T),
    ],
)
def test_numbers_with_units_meet_the_unit_of_the_metric(text, values, expected):
    """The literal is brought to the metric's own unit, exactly."""
    level = "borrower"
    filled = {name: v * (1 if NAMES[name].level == "market" else 3) for name, v in values.items()}
    assert truth(text, level, **filled)[0] == expected


@pytest.mark.parametrize(
    ("text", "pointed", "message"),
    [
        ("debt_usd > 25%", "debt_usd > 25%", "debt_usd is an amount in USD, 25% is a ratio"),
        ("ltv_economic > 1.5bn", "ltv_economic > 1.5bn", "ltv_economic is a ratio, 1.5bn is an amount"),
        ("ltv_economic > 90", "90", "ltv_economic is a fraction, so 90 means 9,000 %"),
        ("age(debt_usd) > 135", "135", "age(debt_usd) is a length of time and 135 has no unit"),
        ("runway_months < 6 + 30d", "6", "30d is a length of time and 6 has no unit"),
        ("runway_months < 15m", "runway_months < 15m", "runway_months is a length of time, 15m is an amount"),
        ("debt_usd + dscr > 1", "debt_usd + dscr", "debt_usd is an amount in USD, dscr is a ratio"),
        (
            "coins_free > debt_usd",
            "coins_free > debt_usd",
            "coins_free is a number of BTC, debt_usd is an amount in USD",
        ),
        ("max(debt_usd, 5%) > 1", "debt_usd, 5%", "debt_usd is an amount in USD, 5% is a ratio"),
    ],
)
def test_units_that_do_not_fit_are_refused(text, pointed, message):
    """A percentage against dollars, a bare 90 against a fraction and a bare 135 against an age are slips."""
    ((where, said),) = flaws(text)
    assert where == pointed
    assert said.startswith(message)


# ---------------------------------------------------------------- what is refused, and where
@pytest.mark.parametrize(
    ("text", "pointed", "message"),
    [
        ("ltv_economc > 1", "ltv_economc", "unknown name 'ltv_economc'"),
        ("chnge(btc_usd, 7d) > 1", "chnge", "unknown word 'chnge'"),
        ("30% < change(btc_usd, 7d) and ltv_economc > 1", "ltv_economc", "unknown name 'ltv_economc'"),
        ("btc_usd(1) > 1", "btc_usd", "btc_usd is a metric, not a word"),
        ("change > 1", "change", "change is a word, it needs its arguments"),
        ("change(btc_usd) > 1", "change(btc_usd)", "change() has 1 argument here"),
        ("change(btc_usd, 25%) > 1", "25%", "'25%' is not a length of time"),
        ("change(btc_usd, eth_usd) > 1", "eth_usd", "eth_usd is not a length of time"),
        ("change(btc_usd + 1, 7d) > 1", "btc_usd + 1", "btc_usd + 1 is not a metric"),
        ("change(btc_usd, 90y) > 1", "90y", "90y is not a span that can be looked back over"),
        ("quantile(btc_usd, 7, 30d) > 1", "7", "7 is not a share between 0 and 1"),
        ("hours_of(btc_usd, 7d) > 1", "btc_usd", "btc_usd is not a metric compared with a number"),
        ("under(crypto_winter, coverage) < 1", "crypto_winter", "crypto_winter is not a scenario"),
        ('under("crypto_wintr", coverage) < 1', '"crypto_wintr"', "unknown scenario 'crypto_wintr'"),
        ('coverage < "one"', '"one"', '"one" is a text'),
        ("coverage", "coverage", "coverage is a number, not a condition"),
        ("coverage > 1 and dscr", "dscr", "dscr is a number, not a condition"),
        ("(coverage > 1) + 1 > 2", "coverage > 1", "coverage > 1 is a condition, a number is needed here"),
        ("known(coverage) > 1", "known(coverage)", "known(coverage) is a condition, a number is needed here"),
        ("count(btc_usd > 1) > 1", "count(btc_usd > 1)", "count(btc_usd > 1) names nothing that there are many of"),
        ("rank(ltv_economic) > 1", "rank(ltv_economic)", "rank(ltv_economic) has one place per facility"),
        ("coverage.real > 1", ".", "nothing has attributes here"),
        ("coverage[0] > 1", "[", "nothing can be picked out with '['"),
        ("coverage ** 2 > 1", "**", "powers are not part of the language"),
        ("9**9**9 > coverage", "**", "powers are not part of the language"),
        ("coverage // 2 > 1", "//", "'//' is not part of the language"),
        ("coverage % 2 > 1", "%", "'%' must stand directly behind its number"),
        ("(x := 1) > 1", ":=", "nothing can be assigned in an expression"),
        ("lambda: 1", "lambda", "'lambda' is not part of the language"),
        ("[c for c in coverage]", "[", "nothing can be picked out with '['"),
        ("coverage if dscr else 1", "if", "'if' is not part of the language"),
        ("coverage is 1", "is", "'is' is not part of the language"),
        ("change(*btc_usd, 7d) > 1", "*", "a value is missing before '*'"),
        ("change(btc_usd, span=7d) > 1", "=", "'=' is not a comparison"),
        ("f'{coverage}' > 1", "'{coverage}'", "a text is plain letters in quotes"),
        ("coverage = 1", "=", "'=' is not a comparison"),
        ("coverage => 1", "=>", "'=>' is not a comparison"),
        ("coverage && dscr > 1", "&&", "'&&' is not part of the language"),
        ("coverage ≥ 1", "≥", "'≥' is not part of the language"),
        ("coverage > 12parsecs", "12parsecs", "unknown unit 'parsecs'"),
        ("coverage > 1e999", "1e999", "'1e999' is too large"),
        ("coverage > 1 dscr < 1", "dscr", "an operator is missing before 'dscr'"),
        ("coverage > 30 d", "d", "an operator is missing before 'd'"),
        ("coverage > 1 AND dscr < 1", "AND", "an operator is missing before 'AND'"),
        ("coverage > ", " ", "a value is missing at the end"),
        ("coverage > > 1", ">", "a value is missing before '>'"),
        ("coverage == not 1", "not", "'not' cannot stand behind '=='"),
        ("(coverage > 1", "(", "this bracket is not closed"),
        ("coverage > 1)", ")", "this bracket closes nothing"),
        ("(coverage, 1) > 1", ",", "a comma stands only between the arguments of a word"),
        ("coverage > 'x", "'", "the quote is not closed"),
        ("coverage\u202e > 1", "\u202e", "hidden character U+202E"),
        ("coverage\x00 > 1", "\x00", "hidden character U+0000"),
        ("cov\u200berage > 1", "\u200b", "hidden character U+200B"),
        ("соverage > 1", "с", "'с' is not part of the language"),
        ("5(coverage) > 1", "(", "an operator is missing before '('"),
        ("(change)(btc_usd, 7d) > 1", "(", "an operator is missing before '('"),
        ("   ", " ", "the expression is empty"),
    ],
)  # fmt: skip
def test_a_mistake_is_pointed_at_and_named(text, pointed, message):
    """Position in the text as written, and a sentence."""
    where, said = flaws(text)[0]
    assert where == pointed
    assert said.startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "().__class__.__bases__[0].__subclasses__()", "coverage.__class__.__init__.__globals__ > 1",
        "__import__('os').system('true') > 1", "open('/etc/hostname') > 1", "eval('1') > 1", "coverage.tofile('x') > 1",
        "getattr(coverage, 'x') > 1", "print(1) > 1", "globals() > 1", "exec('1') > 1", "breakpoint()",
        "__builtins__ > 1",
        "change(btc_usd, 7d).__class__ > 1", "under('../../etc/passwd', coverage) > 1", "f'{coverage!r}' > 1",
        "{coverage: 1} > 1", "`coverage` > 1", "coverage; import os", "coverage > 1 # and more", "coverage @ 1 > 1",
        "await coverage > 1", "(yield coverage) > 1", "~coverage > 1", "coverage | 1", "a\\\nb > 1",
    ],
)  # fmt: skip
def test_nothing_of_python_can_be_reached(text):
    """Whatever the road, it is refused at load."""
    with pytest.raises(ExpressionError):
        compile_expression(text, NAMES, SCENARIOS)


@pytest.mark.parametrize(
    "text",
    [
        "coverage > " + "9" * 1_000_000, "(" * 1_000 + "coverage" + ")" * 1_000 + " > 1", "-" * 1_900 + "1 > 0",
        "not " * 480 + "coverage > 1", " and ".join(["coverage > 1"] * 120), "+".join(["1"] * 900) + " > 0",
        "abs(" * 300 + "coverage" + ")" * 300 + " > 1", "1" + "<1" * 800, "\u202e" * 1_500, "((((((((((" * 190,
    ],
)  # fmt: skip
def test_hostile_sizes_are_refused_quickly(text):
    """A million characters, a thousand brackets: refused before the parser sees them."""
    began = time.process_time()
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, NAMES, SCENARIOS)
    assert time.process_time() - began < 10  # against work that explodes: an eager parser takes hours of processor
    assert len(caught.value.flaws) <= 10


def test_the_largest_expression_that_is_allowed_works():
    """200 parts and 20 levels pass and evaluate."""
    wide = " or ".join(["coverage > 1"] * 50)
    assert truth(wide, coverage=[2, 0, None]) == [T, F, U]
    padded = "coverage > 1".ljust(2_000)
    assert truth(padded, coverage=[2, 0, None]) == [T, F, U]
    assert flaws(padded + " ")[0][1] == "an expression has at most 2,000 characters, this one has 2,001"
    deep = "(" * 19 + "coverage" + ")" * 19 + " > 1"
    assert truth(deep, coverage=[2, 0, None]) == [T, F, U]


_pieces = st.sampled_from(
    [*"()+-*/<>=!,.%&|:;[]{}'\"\\ \n\t#@~^`", "and", "or", "not", " ", "if", "coverage", "ltv_economic", "btc_usd", "1",
     "30d", "25%", "1.5bn", "change(", "count(", "under(", "known(", "7d", "**", "lambda", "\u202e", "\x00", "é", "1e9",
     "0x1", "tenant_critical", "worst(", "hours_of(", "coalesce(", ">=", "=="]
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(
    st.text(max_size=60) | st.lists(_pieces, max_size=25).map("".join) | st.lists(_pieces, max_size=15).map(" ".join)
)
def test_any_text_is_an_expression_or_an_error_with_places(text):
    """No text raises anything else, takes long, or points outside itself."""
    began = time.process_time()
    for level in ("market", "borrower", "facility"):
        try:
            found = compile_expression(text, NAMES, SCENARIOS, level).evaluate(numbers(coverage=[1, None, 2]))
        except ExpressionError as error:
            assert error.flaws
            assert all(0 <= f.offset <= len(text) and f.length >= 0 and f.message for f in error.flaws)
        else:
            assert set(found.truth.tolist()) <= {T, F, U}
    assert time.process_time() - began < 10


def test_all_mistakes_are_told_at_once():
    """Three mistakes in one expression are three flaws, from left to right."""
    assert [where for where, _ in flaws("ltv_economc > 1 and chnge(btc_usd, 7d) > 1 and debt_usd > 25%")] == [
        "ltv_economc", "chnge", "debt_usd > 25%",
    ]  # fmt: skip


def test_a_market_rule_needs_one_number_for_all():
    """A borrower metric in a market rule is refused unless something gathers it."""
    ((where, said),) = flaws("debt_usd > 1bn", "market")
    assert (where, said) == ("debt_usd", "debt_usd has one value per borrower, a market rule needs one for all")
    assert truth("worst(debt_usd) > 1bn", "market", debt_usd=[1, 2e9, 3]) == [T]


def test_every_word_says_what_it_is_in_one_line():
    """Each word's first line shows how it is written, and its arguments fit its registration."""
    for word in WORDS.values():
        assert word.doc.startswith(f"{word.name}("), word.name
        assert ">>>" in (word.function.__doc__ or ""), word.name
