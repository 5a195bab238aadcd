"""Fields, assumptions, hardware lots and what falls due: small books whose numbers can be checked by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_book import ASSUMPTIONS, AT, COREWEAVE, HEAD, MARA, borrower, debt, known, pool, quotes

from monitor.model import Quote
from monitor.stress import cashflow, collateral, due
from monitor.stress.assumptions import ADVERSE, Assumptions
from monitor.stress.collateral import sale_value
from monitor.stress.field import Field, Value, choose, first_known, lift
from monitor.stress.state import build_state


def test_every_assumption_of_the_book_has_an_adverse_end_and_a_source():
    """A row whose adverse end is not known to the program, or without why and source, cannot be used honestly."""
    rows = known({"a": borrower("miner")}).assumptions
    assert rows
    for row in rows:
        assert any(row.name == stem or row.name.startswith(f"{stem}_") for stem in ADVERSE), row.name
        assert row.why
        assert row.source
    named = {row.name for row in rows}
    missing = {name for name in ADVERSE if not any(n == name or n.startswith(f"{name}_") for n in named)}
    assert not missing, f"assumptions the program may ask for and {ASSUMPTIONS.name} lacks"


def test_the_narrowest_assumption_wins():
    """Model before kind before all."""
    rows = Assumptions.of(known({"a": borrower("miner")}).assumptions)
    assert rows.get("decay_annual", "miner", "ASIC").middle == 0.45
    assert rows.get("decay_annual", "miner", "S19").middle == 0.25
    assert rows.get("economic_life_months", "miner").middle == 36
    assert rows.get("economic_life_months", "private").middle == 60


def test_unknown_spreads_through_arithmetic_with_its_reasons_and_nothing_else_does():
    """One unknown subject stays unknown with every reason; the others keep their numbers and the oldest date."""
    a = Field.of([Value.exact(1.0, 100.0), Value.unknown("a is missing")])
    b = Field.of([Value.exact(2.0, 50.0), Value.unknown("b is missing")])
    c = a + b
    assert c.known.tolist() == [True, False]
    assert c.reasons == {1: ("a is missing", "b is missing")}
    assert (c.values[0, 0], c.as_of_s[0]) == (3.0, 50.0)
    assert np.isnan(c.values[:, 1]).all()


def test_infinity_against_infinity_is_unknown_with_a_reason():
    """No number is ever NaN and known."""
    infinite = Field.exact([np.inf])
    assert not (infinite - infinite).known[0]
    assert (infinite - infinite).reasons[0]


def test_first_known_takes_the_first_that_knows_and_names_all_when_none_does():
    """A fallback never hides what was missing."""
    a = Field.of([Value.unknown("a"), Value.unknown("a"), Value.exact(1.0)])
    b = Field.of([Value.unknown("b"), Value.exact(2.0), Value.exact(2.0)])
    both = first_known(a, b)
    assert both.values[0].tolist()[1:] == [2.0, 1.0]
    assert both.reasons == {0: ("a", "b")}


@given(st.lists(st.sampled_from([None, 0.0, 1.0, -2.5]), min_size=1, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_group_sums_agree_with_python(parts, data):
    """A group's sum is the sum of its parts, unknown exactly when one part is."""
    index = np.array([data.draw(st.integers(0, 2)) for _ in parts], dtype=np.int64)
    field = Field.of([Value.unknown("gone") if p is None else Value.exact(p) for p in parts])
    summed = field.sum_by(index, 3)
    for group in range(3):
        own = [p for p, g in zip(parts, index, strict=True) if g == group]
        assert summed.known[group] == (None not in own)
        if None not in own:
            assert summed.values[0, group] == pytest.approx(sum(own))


def test_choose_and_lift_keep_the_three_corners():
    """Adverse and favourable ends travel with the middle."""
    wide = Field.of([Value((2.0, 1.0, 3.0))])
    same = choose(np.array([True]), wide, Field.exact([9.0]))
    assert lift(np.multiply, same, 2.0).values[:, 0].tolist() == [4.0, 2.0, 6.0]


# ---------------------------------------------------------------- building
def test_axes_are_the_sorted_ids_and_facilities_know_their_borrower():
    """The order of files and of blocks never changes an axis."""
    two = borrower("miner", "", "facilities:\n" + pool("z", "", "none") + pool("a", "", "none"))
    state = build_state(known({"mm": two, "aa": borrower("miner")}), {})
    assert state.borrowers == ("aa", "mm")
    assert state.facilities == ("mm/a", "mm/z")
    assert state.facility_borrower.tolist() == [1, 1]


def test_a_missing_figure_names_itself_and_the_date():
    """The reason says which field and until when."""
    state = build_state(known({"a": borrower("miner", "debt_usd: 1bn")}), {})
    assert state.facts["cash_unrestricted_usd"].reasons[0] == (
        "cash_unrestricted_usd was never reported (or not before 2026-08-13)",
    )


def test_a_stale_quote_is_unknown_for_its_own_reason():
    """The state repeats what the quote says, never the last value."""
    stale = Quote("btc_usd", "market", float("nan"), "usd", None, None, "", reason="older than 1 h")
    state = build_state(known({"a": borrower("miner")}), {("btc_usd", "market"): stale})
    assert state.market["btc_usd"].reasons[0] == ("btc_usd: older than 1 h",)


def test_a_derived_price_says_so_wherever_it_is_used():
    """What was worked out and not observed is named beside every number."""
    quote = Quote("hashprice_usd_ph_day", "market", 38.0, "usd/ph/day", AT, AT, "derived", quality="derived")
    text = borrower("miner", "hashrate_eh: 10, debt_usd: 1m")
    state = build_state(known({"a": text}), {("hashprice_usd_ph_day", "market"): quote})
    revenue = cashflow.mining(state, 0)
    assert revenue.middle == pytest.approx(10 * 1000 * 38 * 91.3125)
    assert "hashprice_usd_ph_day (derived)" in revenue.used


def test_coins_nobody_reported_are_none_for_a_neocloud_and_unknown_for_a_miner():
    """A miner without a coin figure is not a miner without coins."""
    state = build_state(known({"cloud": borrower("neocloud"), "miner": borrower("miner")}), {})
    assert state.facts["btc_free"].known.tolist() == [True, False]


def test_free_coins_without_the_split_range_from_none_to_all():
    """1,205 coins of which 205 are pledged and nothing else is said: 1,000 in the middle, none at the adverse end."""
    state = build_state(known({"a": borrower("miner", "btc_total: 1205, btc_pledged: 205")}), {})
    assert state.facts["btc_free"].at(0).corners == (1000.0, 0.0, 1000.0)


# ---------------------------------------------------------------- hardware
def test_cost_vintages_lose_the_assumed_decay_a_year():
    """100m two years ago at 25 % (15 to 35 %) is 56.25m (72.25 to 42.25m)."""
    vintage = f"cost_vintages: [{{bought: 2024-08-12, cost_usd: 100m, model_mix: {{H100: 100%}}, {HEAD}}}]"
    text = borrower(
        "neocloud", "", "debts:\n" + debt("x", "50m") + "facilities:\n" + pool("p", "x", "hardware", "", vintage)
    )
    value = collateral.economic(build_state(known({"a": text}), {})).at(0)
    assert value.corners == pytest.approx((56.25e6, 42.25e6, 72.25e6), rel=1e-3)


def test_units_at_an_observed_price_need_no_assumption():
    """1,000 H100 at 18,000 USD are 18m at every corner."""
    units = f"units: [{{model: H100, bought: 2024-01-01, units: 1000, {HEAD}}}]"
    text = borrower(
        "neocloud",
        "",
        "debts:\n" + debt("x", "9m") + "facilities:\n" + pool("p", "x", "hardware", "escrow_usd: 0", units),
    )
    value = collateral.economic(build_state(known({"a": text}), quotes(resale_h100_usd=18_000))).at(0)
    assert value.corners == (18e6, 18e6, 18e6)
    assert value.used == ()


def test_a_pool_nobody_described_is_unknown_and_says_what_would_help():
    """An undisclosed pool does not become worthless."""
    text = borrower("neocloud", "", "debts:\n" + debt("x", "9m") + "facilities:\n" + pool("p", "x", "hardware"))
    value = collateral.economic(build_state(known({"a": text}), {})).at(0)
    assert not value.known
    assert "cost_vintages" in value.reasons[0] or "cost vintages" in value.reasons[0]


def test_an_unknown_pool_does_not_spoil_the_sale_of_the_next_one():
    """Facilities are sold apart: the unknown one stays unknown, the known one keeps its number."""
    vintage = f"cost_vintages: [{{bought: 2026-06-30, cost_usd: 100m, model_mix: {{H100: 100%}}, {HEAD}}}]"
    known_pool = borrower(
        "neocloud", "", "debts:\n" + debt("x", "9m") + "facilities:\n" + pool("p", "x", "hardware", "", vintage)
    )
    unknown = borrower("neocloud", "", "debts:\n" + debt("x", "9m") + "facilities:\n" + pool("p", "x", "hardware"))
    alone = collateral.liquidation(build_state(known({"b": known_pool}), {})).at(0)
    both = collateral.liquidation(build_state(known({"a": unknown, "b": known_pool}), {}))
    assert not both.known[0]
    assert both.at(1).corners == alone.corners


def test_the_sale_follows_the_formula_for_one_price():
    """sum price depth (1 - exp(-units / depth)): 10,000 units at 20,000 USD into a depth of 50,000."""
    sold = sale_value(np.array([200e6]), np.array([1e4]), np.array([5e4]), np.zeros(1))
    assert sold[0] == pytest.approx(20_000 * 5e4 * (1 - np.exp(-0.2)))


lots = st.lists(st.tuples(st.floats(0, 1e9), st.floats(1, 1e5), st.integers(0, 2)), min_size=1, max_size=6)


@given(lots, st.floats(0, 1e9), st.floats(1, 1e5), st.floats(10, 1e6))
@settings(max_examples=150, deadline=None)
def test_more_hardware_never_lowers_the_sale(rows, value, units, depth):
    """Whatever is added to a sale, at whatever price, the proceeds do not fall; and never exceed the mark."""
    worth, count, group = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    before = sale_value(worth, count, np.full(len(rows), depth), group).sum()
    after = sale_value(
        np.append(worth, value), np.append(count, units), np.full(len(rows) + 1, depth), np.append(group, 0.0)
    ).sum()
    assert after >= before * (1 - 1e-9) - 1e-6
    assert before <= worth.sum() * (1 + 1e-9)


# ---------------------------------------------------------------- what falls due
def test_a_filed_table_is_a_range_and_its_middle_counts_by_time():
    """CoreWeave, June 2026: 4.413bn in any case, 7.48bn by time, 10.597bn with all of 2027."""
    value = due.due(build_state(known({"coreweave": COREWEAVE}), {})).at(0)
    assert value.corners == pytest.approx((4.413e9 + 6.184e9 * 181 / 365, 10.597e9, 4.413e9))
    assert "2027" in value.detail


def test_a_table_older_than_the_balance_sheet_counts_only_what_may_still_come():
    """A table of December beside a balance sheet of March: a quarter of the year may be paid, the rest lies ahead."""
    dates = "published: 2026-08-12, quality: filing, source: Form 10-Q"
    text = (
        f"name: A\nkind: neocloud\nfacts: [{{as_of: 2026-03-31, {dates}, values: {{debt_usd: 2bn}}}}]\n"
        f"maturities: [{{as_of: 2025-12-31, {dates}, principal_usd: {{'2026': 1bn, '2027': 400m, thereafter: 1bn}}}}]\n"
    )
    value = due.due(build_state(known({"a": text}), {})).at(0)
    assert value.corners == pytest.approx((1e9 * 275 / 365 + 4e8 * 90 / 365, 1.4e9, 0.0))


def test_eighteen_months_take_the_whole_next_year():
    """From a June balance sheet eighteen months end with the next year, so nothing is left to guess."""
    value = due.due(build_state(known({"coreweave": COREWEAVE}), {}), 18).at(0)
    assert value.corners == pytest.approx((10.597e9,) * 3)


def test_instruments_puts_and_callable_loans_add_up_to_the_filed_current_portion():
    """MARA, June 2026: 48.1m in December, the 150m coin line, 291.6m puttable in June 2027."""
    value = due.due(build_state(known({"mara": MARA}), {})).at(0)
    assert value.corners == pytest.approx((489.7e6, 489.7e6, 489.7e6))


PUT = "debts:\n" + debt(
    "n", "100m", "convertible", "maturity: 2031-06-01, conversion_price_usd: 20, puts: [{on: 2027-06-01}]"
)


@pytest.mark.parametrize(("share", "corners"), [(10.0, (100e6,) * 3), (30.0, (0.0,) * 3), (None, (100e6, 100e6, 0.0))])
def test_a_put_counts_below_conversion_only_and_is_a_range_while_the_share_is_unknown(share, corners):
    """Holders put when the share is below conversion; without a share price both may happen."""
    prices = (
        {} if share is None else {("share_price_usd", "a"): Quote("share_price_usd", "a", share, "usd", AT, AT, "x")}
    )
    state = build_state(known({"a": borrower("neocloud", "debt_usd: 100m", PUT)}), prices)
    assert due.due(state).at(0).corners == corners


def test_a_loan_without_a_date_ranges_from_nothing_to_all_of_it():
    """Nobody said when: a fifth in the middle, everything at the adverse end."""
    text = borrower("neocloud", "debt_usd: 100m", "debts:\n" + debt("n", "100m"))
    assert due.due(build_state(known({"a": text}), {})).at(0).corners == pytest.approx((20e6, 100e6, 0.0))


def test_nothing_is_due_without_debt_and_unknown_when_the_instruments_are_missing():
    """Zero debt owes zero; a total without dates owes an unknown amount."""
    texts = {"none": borrower("miner", "debt_usd: 0"), "some": borrower("miner", "debt_usd: 1bn")}
    field = due.due(build_state(known(texts), {}))
    assert field.at(0).corners == (0.0, 0.0, 0.0)
    assert "no maturity table" in field.reasons[1][0]


def test_a_current_portion_two_quarters_older_than_the_total_is_not_used():
    """What was due within a year of June 2025 says nothing about the year from June 2026."""
    old = HEAD.replace("2026-06-30", "2025-06-30").replace("2026-08-12", "2025-08-12")
    text = borrower("miner", "debt_usd: 1bn", "").replace(
        "facts: [", f"facts: [{{{old}, values: {{debt_current_usd: 176m}}}}, "
    )
    assert not due.due(build_state(known({"a": text}), {})).known[0]


# ---------------------------------------------------------------- debt
JULY = "as_of: 2026-07-10, published: 2026-07-10, quality: press, source: Release"
REPAID = debt("bridge", "300m").replace("]}\n", f", {{{JULY}, values: {{principal_usd: 0}}}}]}}\n")
NEW = f"""  - id: new
    name: New
    kind: high_yield
    issued: 2026-07-10
    facts: [{{{JULY}, values: {{principal_usd: 1.59bn}}}}]
"""


def test_total_debt_is_the_filed_total_plus_what_changed_since():
    """5.3bn filed in June, 1.59bn issued in July, 300m repaid with it: 6.59bn, and the message says from what."""
    text = borrower("hpc_host", "debt_usd: 5.3bn", "debts:\n" + REPAID + NEW)
    value = due.debt_total(build_state(known({"a": text}), {})).at(0)
    assert value.middle == pytest.approx(6.59e9)
    assert "new +1.59bn" in value.detail
    assert "bridge -300.0m" in value.detail


def test_a_commitment_whose_drawing_is_unknown_is_the_high_end_only():
    """2.6bn committed after the filing: debt is the filed total, at most 2.6bn more."""
    text = borrower(
        "neocloud", "debt_usd: 35bn", "debts:\n" + NEW.replace("principal_usd: 1.59bn", "commitment_usd: 2.6bn")
    )
    value = due.debt_total(build_state(known({"a": text}), {})).at(0)
    assert value.corners == (35e9, 37.6e9, 35e9)


def test_nothing_published_later_reaches_the_state():
    """The same book a day before its filing knows nothing of it."""
    early = build_state(known({"coreweave": COREWEAVE}, datetime(2026, 8, 12, tzinfo=UTC)), {})
    assert not early.facts["debt_usd"].known[0]
    assert not due.due(early).known[0]


def test_dates_of_a_table_follow_the_balance_sheet():
    """The window starts where the cash beside it stands, not today: waiting a month changes nothing."""
    later = build_state(known({"coreweave": COREWEAVE}, datetime(2026, 9, 13, tzinfo=UTC)), {})
    assert due.due(later).at(0).middle == pytest.approx(4.413e9 + 6.184e9 * 181 / 365)
    assert due.add_months(date(2026, 6, 30), 12) == date(2027, 6, 30)
