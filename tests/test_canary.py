"""Who breaks first and matters most, on the book as it was known on 2026-09-21: sanity no assumption may undo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from monitor import feeds, market
from monitor.book import load_book
from monitor.known import as_known
from monitor.model import Book, Borrower, Fact, end_of_day
from monitor.stress import collateral
from monitor.stress.bridge import bridge
from monitor.stress.canary import Canary, canary, weight
from monitor.stress.cascade import Links
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE, Field
from monitor.stress.outlook import levels, simulated
from monitor.stress.sale import holdings
from monitor.stress.state import State, build_state
from monitor.world import recorded_observations

DAY = date(2026, 9, 21)
OWED = {
    *("debt_usd", "debt_current_usd", "interest_quarter_usd", "principal_usd", "accreted_usd", "due_12m_usd"),
    *("undrawn_usd", "commitment_usd"),
}


@cache
def book() -> Book:
    """The book that comes with Canary."""
    return load_book(Path(__file__).parents[1] / "book")


def state_of(whole: Book, day: date = DAY) -> State:
    """What was known at the end of a day, at the recorded prices of that day."""
    specs = feeds.series_specs(tuple(feed for feed in feeds.discover() if isinstance(feed, feeds.Feed)))
    tape = market.Tape(recorded_observations(None), specs)
    at = end_of_day(day)
    return build_state(as_known(whole, at), tape.quotes(at))


@cache
def state() -> State:
    return state_of(book())


@cache
def table() -> Canary:
    return canary(state())


def of(field: Field, name: str, corner: int = MIDDLE) -> float:
    """One borrower's value."""
    b = state().borrowers.index(name)
    assert field.known[b], field.reasons[b]
    return float(field.values[corner, b])


def ranked() -> list[str]:
    """Borrowers with a rank, first to watch first."""
    known = [name for b, name in enumerate(state().borrowers) if table().rank.known[b]]
    return sorted(known, key=lambda name: of(table().rank, name))


def test_damage_sits_with_the_large_hardware_pools() -> None:
    """The largest damage is the largest pledged fleet's, and it goes beyond the borrower's own debt."""
    worst = max(ranked(), key=lambda name: of(table().damage_usd, name))
    own = holdings(state())
    units = np.zeros(len(own.borrowers))
    np.add.at(units, own.owner, own.units.sum(axis=1) * own.pledged)
    assert worst == own.borrowers[int(units.argmax())] == "coreweave"
    assert of(table().damage_usd, worst) > own.debt_usd[own.borrowers.index(worst)] * 1.05


def test_coins_sold_by_miners_barely_move_bitcoin() -> None:
    """All free coins of the largest holder sold at once cost about a percent of the price, in the middle."""
    coins = collateral.worth(state().facts["btc_free"], state().price("btc_usd", len(state().borrowers)), 1.0)
    lost = collateral.impact(state(), coins, "borrowers")
    largest = int(np.nanargmax(np.where(coins.known, coins.values[MIDDLE], np.nan)))
    assert lost.values[MIDDLE, largest] < 0.02


def test_nebius_is_among_the_last_three_of_those_that_can_be_judged() -> None:
    """No secured debt, more cash than a year needs: large and robust scores low."""
    assert "nebius" in ranked()[-3:]


def test_no_score_is_zero_and_no_two_are_tied() -> None:
    """A table tied at zero would rank nothing."""
    scores = [of(table().score_usd, name) for name in ranked()]
    assert len(scores) >= 5
    assert min(scores) > 0
    assert len(set(scores)) == len(scores)


def test_the_rank_has_an_interval_around_it_and_the_range_is_in_order() -> None:
    """Best and worst place over depth, decay, correlation and the ends; the middle lies inside."""
    for name in ranked():
        middle, best, worst = (of(table().rank, name, corner) for corner in (MIDDLE, ADVERSE, FAVOURABLE))
        assert 1 <= best <= middle <= worst <= len(ranked())
        low, high = of(table().damage_usd, name, FAVOURABLE), of(table().damage_usd, name, ADVERSE)
        assert low <= of(table().damage_usd, name) <= high
        assert of(table().cascade_debt_usd, name) <= of(table().damage_usd, name)
    assert any(of(table().rank, name, ADVERSE) < of(table().rank, name, FAVOURABLE) for name in ranked())


def test_who_cannot_be_judged_has_no_rank_and_a_reason() -> None:
    """Private borrowers without figures are unknown by name, not last."""
    for name in ("crusoe", "lambda", "terawulf"):
        b = state().borrowers.index(name)
        assert not table().rank.known[b]
        assert "never reported" in table().rank.reasons[b][0]
    assert any(text.startswith("iren/microsoft") for text in table().left_out)


def test_hosts_lose_when_coreweave_fails() -> None:
    """Core Scientific and Applied Digital lose rent when their tenant falls, and nobody gains by it."""
    rows = bridge(state())
    btc, base = levels(state())
    links = Links(state(), rows, simulated(rows, btc, base, n_paths=32))
    lost = links.rent_lost_usd(state().borrowers.index("coreweave"))
    assert set(lost) == {"applied-digital", "core-scientific"}
    assert min(lost.values()) > 1e6


def test_a_sooner_fall_weighs_more() -> None:
    """The weight halves each year and never vanishes."""
    weights = weight(np.arange(21))
    assert (np.diff(weights) < 0).all()
    assert weights[-1] > 0


def doubled(name: str, times: float = 2.0) -> Book:
    """The book with everything one borrower owes multiplied."""

    def more(facts: Iterable[Fact]) -> tuple[Fact, ...]:
        return tuple(replace(f, value=f.value * times) if f.field in OWED else f for f in facts)  # type: ignore[operator]

    def heavier(one: Borrower) -> Borrower:
        if one.id != name:
            return one
        debts = tuple(
            replace(d, facts=more(d.facts), schedule_usd={k: v * times for k, v in d.schedule_usd.items()})
            for d in one.debts
        )
        dues = tuple(replace(m, principal_usd=m.principal_usd * times) for m in one.maturities)
        return replace(one, facts=more(one.facts), debts=debts, maturities=dues)

    return replace(book(), borrowers=tuple(heavier(one) for one in book().borrowers))


@pytest.mark.parametrize("name", ["coreweave", "nebius", "bitdeer", "applied-digital"])
def test_doubling_a_borrowers_debt_never_improves_its_rank(name: str) -> None:
    """Twice the debt on the same cash: sooner, larger, and no lower in the table."""
    heavier = canary(state_of(doubled(name)))
    b = state().borrowers.index(name)
    assert heavier.earliness.values[MIDDLE, b] >= table().earliness.values[MIDDLE, b]
    assert heavier.rank.values[MIDDLE, b] <= table().rank.values[MIDDLE, b]
