"""Two markets to measure a rental index on: a recorded one, read where it lies, and a simulated one with its truth."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np

from monitor.index import IndexPoint, Offer, OfferKind, RentalMarket, offer_series

RECORDED = Path(__file__).parents[1].parent / "shared" / "data" / "rental_daily.csv"
PREFIX: dict[RentalMarket, str] = {"on_demand": "on-demand ", "spot": "spot "}
START = date(2026, 1, 1)
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def offer(provider: str, day: date, price: float, kind: OfferKind = "ask", market: RentalMarket = "on_demand") -> Offer:
    """One H100 offer of a provider on a day, known the day after."""
    when = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    series = offer_series(provider, "H100", market, kind, "any", 8)
    return Offer(provider, "H100", market, price, when, when + timedelta(days=1), "any", 8, kind, series)


def recorded_offers(model: str, market: RentalMarket) -> list[Offer]:
    """The offers per provider and day of the recorded file; ready-made medians and indices in it are left out."""
    offers = []
    with RECORDED.open(newline="") as lines:
        for row in csv.DictReader(lines):
            if row["gpu_model"] != model or not row["market"].startswith(PREFIX[market]):
                continue
            provider = row["market"].removeprefix(PREFIX[market])
            when = datetime.fromisoformat(row["date"]).replace(tzinfo=UTC)
            kind: OfferKind = "ask" if provider in ("Vast.ai", "SF Compute") else "list"
            series = offer_series(provider, model, market, kind, "any", 1)
            price = float(row["usd_per_gpu_hour"])
            known = when + timedelta(days=1)
            offers.append(Offer(provider, model, market, price, when, known, "any", 1, kind, series))
    return offers


def naive_median(offers: Iterable[Offer]) -> dict[date, float]:
    """The median of whatever was offered on each day: what the index is compared with."""
    by_day = defaultdict(list)
    for one in offers:
        by_day[one.observed_at.date()].append(one.price_usd_per_gpu_hour)
    return {day: median(prices) for day, prices in sorted(by_day.items())}


def moves(values: Sequence[float]) -> np.ndarray:
    """Absolute moves from each known value to the next, as fractions."""
    known = np.array([value for value in values if math.isfinite(value)])
    return np.abs(known[1:] / known[:-1] - 1)


@dataclass(frozen=True)
class Simulated:
    """A market with its truth: the log of the common price level per day."""

    days: tuple[date, ...]
    truth: np.ndarray
    offers: tuple[Offer, ...]


def simulate(seed: int, n_days: int = 150, n_providers: int = 14) -> Simulated:
    """A common level wanders by 1 % a day; providers sit at their own level around it, come, go, skip days and err.

    Each price is level + the provider's own distance (standard deviation 35 %) + noise of 4 %; one in fifty is off by
    a factor between a half and two. A third of the providers change their price only when it is 6 % away from it.
    """
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(0, 0.01, n_days))
    days = tuple(START + timedelta(days=t) for t in range(n_days))
    offers = []
    for p in range(n_providers):
        own, sticky, here = rng.normal(0.9, 0.35), rng.random() < 1 / 3, rng.random() < 0.6
        shown = math.nan
        for t, day in enumerate(days):
            here = (rng.random() > 0.04) if here else (rng.random() < 0.04)
            aim = own + truth[t]
            if not sticky:
                shown = aim + rng.normal(0, 0.04) + (rng.uniform(-0.7, 0.7) if rng.random() < 0.02 else 0.0)
            elif not abs(shown - aim) < 0.06:
                shown = aim
            if here and rng.random() < 0.9:
                offers.append(offer(f"provider {p}", day, math.exp(shown), "list" if sticky else "ask"))
    return Simulated(days, truth, tuple(offers))


def tracking_errors(market: Simulated, points: Sequence[IndexPoint]) -> tuple[float, float]:
    """(index, naive median): standard deviation of the log distance from the truth over the days the index is said."""
    level = {day: market.truth[t] for t, day in enumerate(market.days)}
    naive = naive_median(market.offers)
    said = [point for point in points if not point.withheld]
    ours = np.array([math.log(point.value_usd_per_gpu_hour) - level[point.day] for point in said])
    theirs = np.array([math.log(naive[point.day]) - level[point.day] for point in said])
    return float(ours.std()), float(theirs.std())
