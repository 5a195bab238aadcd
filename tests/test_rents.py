"""Raw offers become index observations: matched, said once a day, withheld with a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from monitor.index import offer_series
from monitor.model import Observation
from monitor.rents import INDEX_SERIES, OFFER_SERIES, index_observations
from monitor.series import SERIES

START = datetime(2026, 8, 1, 12, tzinfo=UTC)


def offers(days: int, prices: dict[str, list[float]]) -> list[Observation]:
    """One offer of an H100 per provider and day; a provider whose list is shorter joins late."""
    found = []
    for provider, listed in prices.items():
        subject = offer_series(provider, "H100", "on_demand", "list", "", 1)
        for day, price in enumerate(listed, start=days - len(listed)):
            at = START + timedelta(days=day)
            found.append(Observation("offer_h100_usd", price, "usd/gpu-hour", at, at, provider, subject=subject))
    return found


STEADY = {name: [price] * 10 for name, price in zip("abcde", (2.0, 2.2, 2.4, 2.6, 2.8), strict=True)}


def test_a_newcomer_moves_nothing() -> None:
    """A dear provider that joins on the last day changes the panel, not the index."""
    now = START + timedelta(days=9, hours=6)
    alone, _ = index_observations(offers(10, STEADY), [], now)
    joined, _ = index_observations(offers(10, {**STEADY, "dear": [9.0]}), [], now)
    assert [row.value for row in joined] == pytest.approx([row.value for row in alone])
    assert {row.series for row in joined} == {"rent_h100_on_demand_usd"}
    assert joined[-1].known_at == now


def test_a_day_that_is_over_is_said_once() -> None:
    """What was said of a closed day is not computed or said again; the running day is."""
    now = START + timedelta(days=9, hours=6)
    first, _ = index_observations(offers(10, STEADY), [], now)
    again, _ = index_observations(offers(10, STEADY), first, now + timedelta(minutes=15))
    assert len(first) == 10
    assert [row.observed_at for row in again] == [now + timedelta(minutes=15)]


def test_a_panel_of_two_is_withheld_with_its_reason() -> None:
    """Too few providers give no number and say so."""
    few = {name: STEADY[name] for name in "ab"}
    found, withheld = index_observations(offers(10, few), [], START + timedelta(days=9, hours=6))
    assert found == []
    assert "providers" in withheld["rent_h100_on_demand_usd"]


def test_every_series_is_declared() -> None:
    """Offers and indices have bounds, units and ages like every other price."""
    assert set(OFFER_SERIES) | set(INDEX_SERIES) <= set(SERIES)
