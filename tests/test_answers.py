"""What a year may bring: rows of the cell from the book, chance of default, distance, both ends, the scorecard."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_book import AT, COREWEAVE, borrower, debt, known, pool, quotes

from monitor.metrics import column
from monitor.metrics_base import METRICS, View
from monitor.model import Quote
from monitor.stress.answers import Job, Question, ask, both_ends, chances, sampling_error
from monitor.stress.bridge import MANY, UNNAMED, bridge, fingerprint, take
from monitor.stress.distance import distance, margin_of
from monitor.stress.drivers import run
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE, Field, Value
from monitor.stress.inputs import Factors
from monitor.stress.outlook import RHOS, simulated, under
from monitor.stress.scenario import Move, Scenario
from monitor.stress.scorecard import QUESTIONS, scorecard
from monitor.stress.state import State, build_state


def state_of(texts: dict[str, str], **prices: float) -> State:
    """A state of small borrowers."""
    return build_state(known(texts), quotes(**(prices or {"btc_usd": 60_000.0})))


def miner(
    scale: float = 1.0, cash: float = 40, debt_m: float = 300, btc: float = 500, ebitda: float = 12, interest: float = 5
) -> str:
    """A miner with free coins and a bullet within the year; money in millions times a scale, coins as they are."""
    m = lambda usd: f"{usd * scale:.6f}m"  # noqa: E731
    return borrower(
        "miner",
        f"debt_usd: {m(debt_m)}, debt_current_usd: {m(60)}, cash_unrestricted_usd: {m(cash)}, btc_free: {btc}, "
        f"btc_total: {btc}, btc_lent: 0, btc_pledged: 0, btc_restricted: 0, revenue_quarter_usd: {m(30)}, "
        f"revenue_mining_quarter_usd: {m(30)}, ebitda_adjusted_quarter_usd: {m(ebitda)}, "
        f"interest_quarter_usd: {m(interest)}, "
        f"power_cost_quarter_usd: {m(10)}",
        "debts:\n"
        + debt("bullet", m(60), "high_yield", "coupon: 8%, maturity: 2027-03-31, recourse: full")
        + debt("rest", m(debt_m - 60), "high_yield", "coupon: 8%, maturity: 2031-03-31, recourse: full"),
    )


def host(tenant: str = "coreweave", rent: float = 9) -> str:
    """A host that lives on one tenant."""
    contract = (
        f"contracts: [{{id: lease-{tenant}, counterparty: {tenant}, monthly_revenue_usd: {rent}m, starts: 2025-01-01, "
        "ends: 2040-01-01, as_of: 2026-06-30, published: 2026-08-12, quality: filing, source: Form 10-Q}]"
    )
    return borrower(
        "hpc_host",
        "debt_usd: 400m, debt_current_usd: 0, cash_unrestricted_usd: 20m, revenue_quarter_usd: 30m, "
        "revenue_mining_quarter_usd: 3m, revenue_contracted_quarter_usd: 27m, ebitda_adjusted_quarter_usd: 20m, "
        "interest_quarter_usd: 9m",
        "debts:\n"
        + debt("notes", "400m", "project", "coupon: 9%, maturity: 2031-01-01, amortisation: bullet")
        + "facilities:\n"
        + pool("hall", "notes", "lease_building", "noi_quarter_usd: 20m", contract),
    )


@cache
def desk() -> Question:
    """CoreWeave, a miner and a host, asked once."""
    return ask(state_of({"coreweave": COREWEAVE, "miner": miner(), "host": host()}))


# ---------------------------------------------------------------- rows
def test_a_row_earns_today_what_the_book_says() -> None:
    """At factors of one a month's cash flow is a third of the known quarter, whatever its channels."""
    rows = desk().rows[MIDDLE]
    inputs = rows.inputs
    flow = inputs.mining_usd + inputs.contracted_usd.sum(axis=1) + inputs.spot_usd.sum(axis=1)
    flow = flow - inputs.power_usd - inputs.opex_usd[:, 0]
    for name, quarter in (("coreweave", 1.519e9), ("miner", 12e6), ("host", 20e6)):
        assert flow[rows.row(name)] * 3 == pytest.approx(quarter)


def test_interest_and_dues_add_up_to_the_known_ones() -> None:
    """A year of interest is four quarters; principal within a year is the due metric's, at every corner."""
    state = desk().state
    view = View(state)
    due = METRICS["due_12m_usd"].compute(view)
    for corner in (MIDDLE, ADVERSE, FAVOURABLE):
        rows = desk().rows[corner]
        for b, name in enumerate(state.borrowers):
            r = rows.row(name)
            paid = rows.inputs.principal_usd[r].sum() + rows.inputs.bullet_usd[r].sum()
            assert paid == pytest.approx(due.values[corner, b])
            rate = rows.inputs.fixed_rate[r, 0] * rows.inputs.debt_usd[r, 0]
            assert rate == pytest.approx(view.interest.values[corner, b])


def test_a_dated_note_falls_due_in_its_month_and_may_be_rolled() -> None:
    """The bullet of March 2027 stands in the eighth month from mid-August 2026, not in the schedule."""
    rows = desk().rows[MIDDLE]
    bullet = rows.inputs.bullet_usd[rows.row("miner"), 0]
    assert np.flatnonzero(bullet).tolist() == [7]
    assert bullet[7] == pytest.approx(60e6)


def test_rent_goes_to_its_tenant_and_the_rest_has_no_name() -> None:
    """A reported rent stands under its tenant; contracted revenue without a name is split, none of it lost."""
    rows = desk().rows[MIDDLE]
    by_name = dict(zip(rows.counterparties, rows.inputs.contracted_usd[rows.row("host")], strict=True))
    assert by_name["coreweave"] == pytest.approx(9e6)
    cloud = dict(zip(rows.counterparties, rows.inputs.contracted_usd[rows.row("coreweave")], strict=True))
    assert cloud[UNNAMED] + cloud[MANY] == pytest.approx(2.575e9 * 0.96 / 3)


def test_an_unknown_figure_takes_its_answers_with_it_and_is_named() -> None:
    """Without cash there is no chance of default and no distance, and the missing field is the reason."""
    text = miner().replace("cash_unrestricted_usd: 40.000000m, ", "")
    question = ask(state_of({"miner": text}))
    for field in (chances(question, n_paths=64).pd, distance(question)):
        assert not field.known[0]
        assert "cash_unrestricted_usd was never reported" in field.reasons[0][0]


def test_no_chance_of_default_on_an_assumed_level() -> None:
    """A coin loan whose margin levels nobody published gives a distance with the levels named, but no chance."""
    text = miner().replace("debts:\n", "debts:\n" + debt("line", "15m", "btc_loan", "recourse: full"))
    text += "facilities:\n" + pool("line", "line", "coins", "coins_pledged_btc: 400")
    question = ask(state_of({"miner": text}))
    pd, far = chances(question, n_paths=64).pd, distance(question)
    assert not pd.known[0]
    assert "assumed margin_call_ltv" in pd.reasons[0][0]
    assert far.known[0]
    assert any("margin_call_ltv" in label for label in far.used[0])


def test_a_covenant_on_a_pool_without_its_own_cash_flow_is_not_judged_and_named() -> None:
    """A pool's coverage is never made up: the test is named beside the obligor's chance and not read as passed."""
    terms = "covenants: {dscr_min: 1.2, quality: filing}"
    text = (
        host()
        .replace("noi_quarter_usd: 20m", "escrow_usd: 1m")
        .replace("pool: lease_building", f"{terms}, pool: lease_building")
    )
    found = chances(ask(state_of({"host": text})), n_paths=64)
    assert found.pd.known[0]
    assert "never reported: no coverage test" in found.not_judged[0][0]


def test_a_scenario_comes_in_over_its_months() -> None:
    """A move over a year has a twelfth of its way behind it after a month and stays where it ended."""
    rows = desk().rows[MIDDLE]
    factors = under(rows, desk().state, Scenario("winter", (Move("btc", "by", -0.6, over_months=6.0),)))
    level = factors.btc_usd[:, 0] / 60_000
    assert level[[0, 5, 11]].tolist() == pytest.approx([0.9, 0.4, 0.4])
    assert factors.hashprice[5, 0] == pytest.approx(0.4)


# ---------------------------------------------------------------- chances
def test_the_chance_is_a_range_around_its_middle_and_repeats() -> None:
    """Low, middle and high are in order over all runs; the same question gives the same numbers."""
    first, again = (chances(ask(desk().state), n_paths=512) for _ in range(2))
    values = first.pd.values
    assert (values[FAVOURABLE] <= values[MIDDLE]).all()
    assert (values[MIDDLE] <= values[ADVERSE]).all()
    assert 0 < values[MIDDLE, list(desk().state.borrowers).index("miner")] < 1
    np.testing.assert_array_equal(values, again.pd.values)
    assert first.by_month.sum(axis=0) == pytest.approx(values[MIDDLE])


def test_sampling_error_is_apart_and_small() -> None:
    """Independent scrambles differ by little; the error says nothing of the assumptions' range."""
    error = sampling_error(desk(), scrambles=3, n_paths=512)
    assert (error < 0.05).all()
    assert error.max() > 0


@settings(max_examples=4, deadline=None)
@given(st.floats(0.01, 100.0))
def test_scaling_all_money_changes_no_ratio(scale: float) -> None:
    """Ten times the money: the same chance and the same distance."""
    base, other = (ask(state_of({"miner": miner(k, btc=0)}), n_periods=4, dt_years=0.25) for k in (1.0, scale))
    one, two = (chances(q, n_paths=256).pd.values for q in (base, other))
    assert np.abs(one - two).max() <= 1 / 256
    near, far = (distance(q, directions=32).values for q in (base, other))
    np.testing.assert_allclose(near, far, rtol=1e-4)


@settings(max_examples=4, deadline=None)
@given(st.floats(1.0, 3.0))
def test_more_debt_never_lowers_the_chance(times: float) -> None:
    """A larger balance with more interest on the same cash flow is no safer at any corner."""
    few, many = (state_of({"miner": miner(debt_m=300 * k, interest=5 * k)}) for k in (1.0, times))
    one, two = (chances(ask(state), n_paths=256).pd.values for state in (few, many))
    assert (two >= one).all()


# ---------------------------------------------------------------- distance
@pytest.mark.parametrize("name", ["coreweave", "miner", "host"])
def test_the_margin_agrees_with_the_driver(name: str) -> None:
    """The walk of one row under held levels breaks where the numpy driver breaks, and by as much without coins."""
    question = ask(desk().state, n_periods=4, dt_years=0.25)
    rows = question.rows[MIDDLE].cut([question.rows[MIDDLE].row(name)])
    g = np.random.default_rng(3)
    shocks = g.normal(0, 1, (300, 4)) * [0.8, 0.6, 0.4, 0.02]
    ones = np.ones((4, 1))
    shape = 4, len(rows.counterparties), 300
    factors = Factors.build(
        4, 300, n_models=len(rows.models), n_counterparties=shape[1], btc_usd=60_000 * ones * np.exp(shocks[:, 0]),
        hashprice=ones * np.exp(shocks[:, 0]), rent=np.broadcast_to(np.exp(shocks[:, 1]), (4, len(rows.models), 300)),
        contract_loss=np.broadcast_to(np.clip(shocks[:, 2], 0, 1), shape), base_rate=ones * (0.04 + shocks[:, 3]),
        refi_open=0.0,
    )  # fmt: skip
    summary = run(rows.inputs, factors)
    margin = margin_of(rows, 60_000.0, 0.04)(shocks)
    assert 0 < (summary.code[0] > 0).sum() < 300
    np.testing.assert_array_equal(margin <= 0, summary.code[0] > 0)
    if not rows.inputs.coins_free.any():
        size = rows.inputs.debt_usd.sum() + rows.inputs.cash_usd[0]
        assert margin * size == pytest.approx(summary.min_cash[0], rel=1e-9, abs=1e-3)


def test_the_nearest_breach_is_a_breach_and_half_of_it_is_not() -> None:
    """At the shock found the margin is gone; half way there it is not."""
    question = ask(desk().state, n_periods=4, dt_years=0.25)
    far = distance(question)
    b = question.state.borrowers.index("coreweave")
    assert 0 < far.values[MIDDLE, b] < 6
    assert far.values[ADVERSE, b] <= far.values[MIDDLE, b] <= far.values[FAVOURABLE, b]
    assert "contract loss" in far.detail[b]
    assert "sigma" in direction_of(far, b)


def direction_of(field: Field, b: int) -> str:
    """The words without the row's name."""
    return field.detail[b].split(": ", 1)[1]


def test_a_coin_loan_breaks_at_the_price_its_terms_give() -> None:
    """Without free coins or cash the distance is ln(call price / price) over the volatility, exactly."""
    terms = "recourse: full, covenants: {margin_call_ltv: 70%, cure_ltv: 60%, liquidation_ltv: 80%, quality: filing}"
    facts = "cash_unrestricted_usd: 0, btc_free: 0, btc_total: 500, debt_usd: 15m"
    text = borrower("miner", facts, "debts:\n" + debt("line", "15m", "btc_loan", terms))
    text += "facilities:\n" + pool("line", "line", "coins", "coins_pledged_btc: 500")
    far = distance(ask(state_of({"miner": text}), n_periods=4, dt_years=0.25))
    called_at = 15e6 / 500 / 0.70
    assert far.values[MIDDLE, 0] == pytest.approx(-np.log(called_at / 60_000) / 0.60, rel=1e-4)
    assert direction_of(far, 0).endswith(f"bitcoin {called_at / 60_000 - 1:+.0%}".replace("%", " %"))


def test_what_is_broken_already_has_no_distance() -> None:
    """Cash that cannot meet next quarter's bill is at zero, in words."""
    far = distance(ask(state_of({"miner": miner(cash=1, btc=1, ebitda=1)}), n_periods=4, dt_years=0.25))
    assert far.values[MIDDLE, 0] == 0
    assert direction_of(far, 0) == "broken without any shock"


# ---------------------------------------------------------------- ends, keys, cards
def test_an_alarm_says_whether_it_holds_at_both_ends() -> None:
    """The verdict is over the corners, the truth is the middle's, unknown stays unknown."""
    field = Field.of([Value((2.0, 3.0, 1.5)), Value((2.0, 3.0, 0.5)), Value((0.5, 0.9, 0.1)), Value.unknown("x")])
    truth, verdict = both_ends(field, lambda v: v > 1)
    assert truth.tolist() == [1, 1, 0, -1]
    assert verdict == ("holds at both ends", "not at the favourable end", "no", "unknown")


def test_equal_rows_have_one_key_and_a_changed_figure_another() -> None:
    """Answers are reused for the same content only."""
    inputs = bridge(desk().state).inputs
    assert fingerprint(inputs) == fingerprint(bridge(desk().state).inputs)
    changed = replace(inputs, cash_usd=inputs.cash_usd * 1.0001)
    assert fingerprint(inputs) != fingerprint(changed)
    assert Job(b"a", 1) == Job(b"a", 2)
    assert take(inputs, [0]).cash_usd.shape == (1,)


def test_paths_do_not_depend_on_how_many_are_asked_for() -> None:
    """The first paths of many are the paths of few; a worse corner is another market, the shocks are the same."""
    rows = desk().rows[MIDDLE]
    few, many = (simulated(rows, 60_000.0, 0.04, n_paths=n) for n in (64, 256))
    np.testing.assert_array_equal(few.btc_usd, many.btc_usd[:, :64])
    assert set(RHOS) == {0.0, 0.35, 0.7}


def test_the_scorecard_marks_what_is_known_and_says_what_is_not() -> None:
    """Six marks a pool; a building with a lease beyond its notes passes that test, its tenant's credit is unknown."""
    (card,) = scorecard(state_of({"host": host()}))
    marks = {mark.question: mark for mark in card.marks}
    assert tuple(marks) == QUESTIONS
    assert marks["contracted cash beyond maturity"].answer == "yes"
    assert marks["repaid as it ages"].answer == "no"
    assert marks["creditworthy counterparty"].answer == "unknown"
    assert "coreweave" in marks["creditworthy counterparty"].why
    assert card.passed + card.open < len(QUESTIONS)


def test_a_counterparty_with_a_wide_spread_is_not_creditworthy() -> None:
    """A quoted CDS decides, with the number in the words."""
    at = {"btc_usd": 60_000.0}
    state = build_state(known({"host": host()}), quotes(**at) | {
        ("cds_5y_bp", "coreweave"): Quote("cds_5y_bp", "coreweave", 452.0, "bp", AT, AT, "a desk"),
    })  # fmt: skip
    marks = {mark.question: mark for mark in scorecard(state)[0].marks}
    assert marks["creditworthy counterparty"].answer == "no"
    assert "452 bp" in marks["creditworthy counterparty"].why


def test_metrics_come_from_one_evaluation() -> None:
    """All six metrics of a view are known for the same borrowers, with the age of their oldest figure."""
    import monitor.metrics_stress  # noqa: F401  (registers them)

    view = View(desk().state)
    names = ("pd_12m", "distance_sigma", "first_breach_months", "canary_rank", "canary_damage_usd", "cascade_debt_usd")
    columns = [column(METRICS[name], view) for name in names]
    assert all(item.known.all() for item in columns)
    assert all((item.age_s > 0).all() for item in columns)
    assert (columns[3].values >= 1).all()
    assert date(2026, 6, 30) < AT.date()
