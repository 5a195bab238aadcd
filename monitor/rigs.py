"""What hashprice would suggest that a mining machine costs: a check beside the last quoted price. Pure.

Machines are quoted now and then, hashprice every day. By least squares over the quotes published by a moment,
``log(USD per TH/s) = level of the class + slope * log(hashprice)``, one slope for all classes of efficiency, because no
class has quotes enough for its own. Hashprice is taken on the day a quote is about, as known at the moment. The range
is the 95 % prediction interval of one more quote (Student's t). A line through a few points is no price: nothing but a
report reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from monitor.model import FloatArray, Mark, Quote, StepTable, end_of_day

#: classes of machines by J per TH -> series of their quotes
CLASSES = {
    "below 25": "rig_under_25_usd_th",
    "below 38": "rig_under_38_usd_th",
    "38 to 68": "rig_38_to_68_usd_th",
    "over 68": "rig_over_68_usd_th",
}
#: sales and firm offers and the class they are of; shown, never fitted
DEALS, DEALS_OF = "rig_deal_usd_th", "below 38"
#: fewer quotes than this make no line
FEWEST = 4
COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Suggested:
    """A price per TH/s by hashprice, USD: middle and ends of the range, NaN with a ``reason`` where there is none.

    ``points``: quotes behind it, the newest ``newest_days`` old; ``slope``: percent of price per percent of hashprice;
    ``outside``: hashprice is above or below those of all quotes, so the line is extended.
    """

    usd_th: float
    low: float
    high: float
    points: int
    newest_days: int | None = None
    slope: float = math.nan
    outside: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RigCheck:
    """One class of machines at one moment: its newest quote and its age in days, hashprice in USD per PH/s and day, and
    what that would suggest. ``deal``: the newest sale or firm offer, where the class is that of the deals."""

    at: datetime
    machines: str
    quote: Mark
    age_days: int
    hashprice_usd: float
    suggested: Suggested
    deal: Mark | None


def newest(marks: Sequence[Mark], series: str, at: datetime) -> Mark | None:
    """The mark in force at a moment: of those known by then the latest ``as_of``, and of those the lowest value."""
    known = [m for m in marks if m.series == series and m.known_at is not None and m.known_at <= at]
    return max(known, key=lambda m: (m.as_of, -m.value), default=None)


def suggested(marks: Sequence[Mark], series: str, past: StepTable, now: Quote, at: datetime) -> Suggested:
    """What hashprice ``now`` suggests for a class, by quotes known at ``at``; ``past``: hashprice as known at ``at``.

    >>> from datetime import UTC, date
    >>> from monitor.steps import Steps
    >>> days = [date(2022, month, 1) for month in (1, 2, 3, 4)]
    >>> seen = [end_of_day(day) for day in days]
    >>> quotes = [
    ...     Mark("rig_under_38_usd_th", "market", usd, "usd/th", day, at, "press", "")
    ...     for usd, day, at in zip((100, 50, 24, 26), days, seen)
    ... ]
    >>> past = Steps("usd/ph/day", ([at.timestamp() for at in seen],), ([200.0, 100.0, 50.0, 50.0],))
    >>> now = Quote("hashprice_usd_ph_day", "market", 80.0, "usd/ph/day", seen[3], seen[3], "")
    >>> found = suggested(quotes, "rig_under_38_usd_th", past, now, seen[3])
    >>> round(found.usd_th, 1), round(found.low, 1), round(found.high, 1), found.points, round(found.slope, 2)
    (40.0, 33.0, 48.5, 4, 1.0)
    >>> suggested(quotes, "rig_under_38_usd_th", past, now, seen[2]).reason
    '3 quotes published, 4 needed'
    """
    rows, days = [], []
    for mark in marks:
        if mark.series in CLASSES.values() and mark.known_at is not None and mark.known_at <= at:
            hashprice = float(past.at(end_of_day(mark.as_of).timestamp())[0][0])
            if hashprice > 0 and mark.value > 0:
                rows.append((mark.series, math.log(hashprice), math.log(mark.value)))
                days.append((at - end_of_day(mark.as_of)).days)
    if not now.known:
        found = _none(len(rows), now.reason)
    elif len(rows) < FEWEST:
        found = _none(len(rows), f"{len(rows)} quotes published, {FEWEST} needed")
    else:
        found = _fitted(rows, series, math.log(now.value))
    return replace(found, newest_days=min(days, default=None))


def _none(points: int, reason: str) -> Suggested:
    return Suggested(math.nan, math.nan, math.nan, points, reason=reason)


def _fitted(rows: Sequence[tuple[str, float, float]], series: str, x: float) -> Suggested:
    """The line at ``x``, log hashprice, and its range; unknown where the quotes cannot tell a level or a slope."""
    from scipy.special import stdtrit

    classes = sorted({name for name, _, _ in rows})
    if series not in classes:
        return _none(len(rows), "no quote of this class published")
    table = np.array([[*(float(name == own) for own in classes), lx] for name, lx, _ in rows])
    price = np.array([ly for _, _, ly in rows])
    free = len(rows) - table.shape[1]
    if free < 1 or np.linalg.matrix_rank(table) < table.shape[1]:
        return _none(len(rows), f"{len(rows)} quotes of {len(classes)} classes tell no slope")
    inverse: FloatArray = np.linalg.inv(table.T @ table)
    line = inverse @ table.T @ price
    spread = math.sqrt(float(((price - table @ line) ** 2).sum()) / free)
    here = np.array([*(float(series == own) for own in classes), x])
    reach = float(stdtrit(free, (1 + COVERAGE) / 2)) * spread * math.sqrt(1 + float(here @ inverse @ here))
    middle = float(here @ line)
    seen = table[:, -1]
    low, high = math.exp(middle - reach), math.exp(min(middle + reach, 700.0))
    outside = not float(seen.min()) <= x <= float(seen.max())
    return Suggested(math.exp(middle), low, high, len(rows), slope=float(line[-1]), outside=outside)


def check(marks: Sequence[Mark], past: StepTable, now: Quote, at: datetime) -> tuple[RigCheck, ...]:
    """Every class with a quote known at a moment, in the order of the classes."""
    found = []
    for machines, series in CLASSES.items():
        quote = newest(marks, series, at)
        if quote is not None:
            age = (at - end_of_day(quote.as_of)).days
            said = suggested(marks, series, past, now, at)
            deal = newest(marks, DEALS, at) if machines == DEALS_OF else None
            found.append(RigCheck(at, machines, quote, age, now.value, said, deal))
    return tuple(found)
