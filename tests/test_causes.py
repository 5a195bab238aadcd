"""What caused a change: parts add to the whole, belong to who moved, and are said in one line of a message."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_book import COREWEAVE, MARA, known, quotes
from test_answers import host, miner, state_of

from monitor.context import Context
from monitor.messages import compose
from monitor.metrics import METRICS, View
from monitor.model import Event, FloatArray
from monitor.moved import line, measure_of, tell, words
from monitor.stress.attribution import shapley
from monitor.stress.causes import MOST, REST, Moment, Parts, _parts, axes_of, between, of_scenario
from monitor.stress.field import MIDDLE
from monitor.stress.scenario import FACTORS, Move, Scenario, apply
from monitor.stress.state import State

AT = datetime(2026, 8, 13, tzinfo=UTC)
LOSS = Scenario(
    "all of it",
    (
        Move("btc", "by", -0.5), Move("rent", "by", -0.4), Move("residual", "by", -0.4),
        Move("contract_loss", "to", 0.5, counterparty="largest"), Move("base_rate", "add", 0.02),
        Move("spread", "add", 0.03), Move("refinancing", "to", 0.0), Move("utilisation", "by", -0.1),
    ),
)  # fmt: skip


def of(name: str):
    """A metric with NaN where unknown."""

    def measure(state: State) -> FloatArray:
        field = METRICS[name].compute(View(state))
        return np.where(field.known, field.values, np.nan)

    return measure


def adds_up(parts: Parts) -> None:
    """Where there are parts they are the whole difference."""
    total = sum(parts.parts.values(), np.zeros_like(parts.before))
    change = parts.after[parts.known] - parts.before[parts.known]
    np.testing.assert_allclose(total[parts.known], change, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- under a scenario
@pytest.mark.parametrize("metric", ["liquidity_locked_12m", "coverage", "interest_cover", "ltv_economic"])
def test_parts_of_a_scenario_add_to_its_effect_at_every_corner(metric: str) -> None:
    """Parts at each corner add to the metric under the scenario less the metric now."""
    state = state_of({"coreweave": COREWEAVE, "miner": miner(), "host": host()})
    (parts,) = of_scenario(state, LOSS, [of(metric)])
    np.testing.assert_array_equal(parts.before, of(metric)(state))
    np.testing.assert_array_equal(parts.after, of(metric)(apply(state, LOSS)))
    assert parts.known.any()
    adds_up(parts)


def test_an_axis_has_no_part_in_what_it_cannot_reach() -> None:
    """Bitcoin does nothing to a cloud without coins, contracts nothing to a miner without customers."""
    state = state_of({"coreweave": COREWEAVE, "miner": miner()})
    (parts,) = of_scenario(state, LOSS, [of("liquidity_locked_12m")])
    cloud, mines = (state.borrowers.index(name) for name in ("coreweave", "miner"))
    assert parts.parts["crypto"][MIDDLE, cloud] == 0
    assert parts.parts["contracts"][MIDDLE, cloud] < 0
    assert parts.parts["contracts"][MIDDLE, mines] == 0
    assert parts.parts["crypto"][MIDDLE, mines] < 0


def test_every_factor_belongs_to_an_axis() -> None:
    """No factor a scenario may move is left out of the parts."""
    moves = tuple(Move(name, info.verbs[0], 0.1) for name, info in FACTORS.items())
    named = {factor for factors in axes_of(Scenario("s", moves)).values() for factor in factors}
    assert named == set(FACTORS)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=9), st.floats(-3, 3))
def test_bundling_and_skipping_keep_the_sum(weights: list[float], cross: float) -> None:
    """Idle groups are skipped and small ones bundled, yet parts add to the whole; few groups equal plain Shapley."""
    groups = [f"g{k}" for k in range(len(weights))]

    def value(moved: frozenset[str]) -> FloatArray:
        own = sum(w for g, w in zip(groups, weights, strict=True) if g in moved)
        return np.array([[own + cross * ("g0" in moved) * ("g1" in moved)]] * 3)

    parts = _parts(groups, value)
    adds_up(parts)
    assert parts.known.all()
    if len(groups) <= MOST:
        plain = shapley(groups, value)
        for name in groups:
            np.testing.assert_allclose(parts.parts[name], plain[name], atol=1e-9)
    elif all(weights):
        assert REST in parts.parts


def test_groups_that_only_act_together_are_found() -> None:
    """Two groups that do nothing alone and nothing last still share what they do together."""

    def value(moved: frozenset[str]) -> FloatArray:
        return np.full((3, 1), float(len(moved & {"a", "b", "c"}) >= 2))

    parts = _parts(["a", "b", "c", "d"], value)
    adds_up(parts)
    assert parts.parts["a"][0, 0] == pytest.approx(1 / 3)


def test_an_unlimited_number_has_no_parts() -> None:
    """Cover that becomes unlimited on the way is said to have no parts, not infinite ones."""
    parts = _parts(["a"], lambda moved: np.full((3, 1), np.inf if moved else 1.0))
    assert not parts.known.any()


# ---------------------------------------------------------------- between two moments
def moment(texts: dict[str, str], at: datetime = AT, **series: float) -> Moment:
    return Moment(known(texts, at), quotes(at, **series))


def test_a_fall_of_bitcoin_is_bitcoins() -> None:
    """With only one price moved, all of the change is its."""
    texts = {"mara": MARA}
    parts = between(moment(texts, btc_usd=60_000.0), moment(texts, btc_usd=50_000.0), "mara", of("coverage"))
    adds_up(parts)
    assert parts.parts["bitcoin"][MIDDLE, 0] == pytest.approx(float((parts.after - parts.before)[MIDDLE, 0]))
    assert parts.after[MIDDLE, 0] < parts.before[MIDDLE, 0]


def test_new_figures_and_prices_share_the_change() -> None:
    """More debt lowers coverage, more cash raises it, the price does the rest; together they are the change."""
    old, new = miner(), miner(debt_m=400, cash=60)
    parts = between(
        moment({"miner": old}, btc_usd=60_000.0), moment({"miner": new}, AT + timedelta(days=1), btc_usd=70_000.0),
        "miner", of("liquidity_locked_12m"),
    )  # fmt: skip
    adds_up(parts)
    assert parts.parts["cash"][MIDDLE, 0] > 0
    assert parts.parts["bitcoin"][MIDDLE, 0] > 0


def test_a_borrower_of_one_moment_only_is_refused() -> None:
    """Nobody is compared with nothing."""
    with pytest.raises(ValueError, match="holds no 'mara'"):
        between(moment({"miner": miner()}, btc_usd=1.0), moment({"mara": MARA}, btc_usd=1.0), "mara", of("coverage"))


# ---------------------------------------------------------------- in a message
def event(subject: str) -> Event:
    return Event("e", "Thin", subject, "warning", "fired", AT, "", "pending", "firing", values={"coverage": 1.0})


def test_a_message_says_what_moved_in_one_line() -> None:
    """The line has both values, the day, and parts with signs and units; the message carries it."""
    now = AT + timedelta(days=2)
    moments = {now: moment({"mara": MARA}, now, btc_usd=50_000.0)}
    before = moment({"mara": MARA}, now - timedelta(days=1), btc_usd=60_000.0)
    moments[before.book.at] = before
    (told,) = tell([Context(event("mara"), "MARA")], moments.__getitem__, now)
    assert told.moved.startswith("coverage ")
    assert "since 2026-08-13: bitcoin -" in told.moved
    _, lines = compose("fired", "warning", [told], AT)
    assert [one.text for one in lines if one.label == "moved"] == [told.moved]


def test_a_rule_on_a_price_is_told_by_the_coverage_behind_it() -> None:
    """That bitcoin moved bitcoin is no news; what it did to the borrower is."""
    now = AT + timedelta(days=2)
    before, after = (moment({"mara": MARA}, now, btc_usd=price) for price in (60_000.0, 50_000.0))
    assert line("mara", ["btc_usd", "ltv_economic"], before, after).startswith("ltv_economic ")
    assert line("mara", ["btc_usd"], before, after).startswith("coverage ")


def test_nothing_is_said_where_nothing_moved_or_too_much_is_told() -> None:
    """An unchanged number has no line; a market alert and a long list are left as they are."""
    still = moment({"mara": MARA}, btc_usd=50_000.0)
    assert tell([Context(event("mara"), "MARA")], lambda at: still, AT)[0].moved == ""
    assert tell([Context(event("market"), "market")], lambda at: still, AT)[0].moved == ""
    many = [Context(event("mara"), "MARA")] * 7
    assert tell(many, lambda at: pytest.fail("asked for a moment"), AT) == many


def test_a_number_that_became_known_has_no_parts() -> None:
    """Unknown before is said as unknown, without invented parts."""
    ones = np.ones((3, 1))
    parts = Parts(ones * np.nan, ones, {"cash": ones * np.nan}, ones == 0)
    assert words(METRICS["coverage"], parts, date(2026, 8, 12)) == "coverage ? -> 1.00x since 2026-08-12"


def test_a_facility_number_is_read_at_the_facility() -> None:
    """A facility subject is measured at that facility, a borrower subject at the worst one."""
    state = state_of({"mara": MARA})
    info = METRICS["ltv_economic"]
    own = measure_of(info, "mara/line")(state)
    np.testing.assert_array_equal(own, measure_of(info, "mara")(state))
    assert own.shape == (3, 1)
    nobody = measure_of(info, "miner")(state_of({"miner": miner()}))
    assert np.isnan(nobody).all()
    assert replace(info).worst == "max"
