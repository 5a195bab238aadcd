"""Raw GPU offers -> rental index observations: what :mod:`monitor.index` says, as series a rule can name. Pure.

An index is never mixed with list prices or with the monthly index: each has its own series.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from monitor.index import WINDOW_DAYS, IndexPoint, Offer, RentalMarket, offer_of, rental_index
from monitor.model import Observation, end_of_day

MODELS = ("a100", "h100", "h200", "b200")
MARKETS: tuple[RentalMarket, ...] = ("on_demand", "spot")
OFFER_SERIES = tuple(f"offer_{model}_usd" for model in MODELS)
INDEX_SERIES = tuple(f"rent_{model}_{market}_usd" for model in MODELS for market in MARKETS)
#: how far back offers and earlier index values are needed
LOOK_BACK = timedelta(days=WINDOW_DAYS + 3)
#: the index of a day that is over is said with all its offers; of older days one offer a day is compared with
OPEN_DAYS = timedelta(days=2)


def index_observations(
    offers: Iterable[Observation], said: Sequence[Observation], now: datetime
) -> tuple[list[Observation], dict[str, str]]:
    """The index of every model and market for the days that have offers and were not said yet.

    ``offers`` and ``said`` (earlier index observations) reach :data:`LOOK_BACK` into the past. Returns the new
    observations and, for a series that is withheld today, why. A day that is over is said once and never revised.

    >>> index_observations([], [], datetime(2026, 8, 14, tzinfo=UTC))
    ([], {})
    """
    found = [offer for offer in map(offer_of, offers) if offer is not None]
    observations: list[Observation] = []
    withheld: dict[str, str] = {}
    for model in MODELS:
        for market in MARKETS:
            mine = [offer for offer in found if (offer.model.lower(), offer.market) == (model, market)]
            if mine:
                series = f"rent_{model}_{market}_usd"
                new, reason = say_index(mine, series, model.upper(), market, said, now)
                observations += new
                if reason:
                    withheld[series] = reason
    return observations, withheld


def say_index(
    offers: Sequence[Offer],
    series: str,
    model: str,
    market: RentalMarket,
    said: Sequence[Observation],
    now: datetime,
    unit: str = "usd/gpu-hour",
    source: str = "matched-model index of raw offers",
) -> tuple[list[Observation], str]:
    """One index as observations of ``series``, for the days not said yet; and why it is withheld today, if it is."""
    days: dict[date, float] = {}
    for row in said:
        day = (row.observed_at - timedelta(microseconds=1)).date()
        if row.series == series and row.observed_at == end_of_day(day):
            days[day] = row.value
    points = rental_index(offers, model, market, now, days)
    new = [_observation(point, series, now, unit, source) for point in points if not point.withheld]
    return new, points[-1].withheld if points else ""


def _observation(point: IndexPoint, series: str, now: datetime, unit: str, source: str) -> Observation:
    close = end_of_day(point.day)
    panel = f"{point.providers} providers, standard error {point.standard_error:.1%}" + (", thin" if point.thin else "")
    return Observation(
        series=series,
        value=point.value_usd_per_gpu_hour,
        unit=unit,
        observed_at=close if close <= now else now.astimezone(UTC),
        known_at=now,
        source=source,
        quality="derived",
        note=panel,
    )
