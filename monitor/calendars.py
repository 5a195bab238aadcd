"""Days on which nothing is published: weekends and the holidays of US bond and stock markets. Pure.

Source of the rules: the recommendations of SIFMA (bonds, and so the days of SOFR) and the calendar of the New York
Stock Exchange. Days of mourning and early closes are not known here; they age a value by a day at most.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal

Calendar = Literal["us_bonds", "us_stocks"]
DAY_S = 86400.0
MONDAY, THURSDAY = 0, 3


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    """The n-th such weekday of a month; the last one for n = -1."""
    if n > 0:
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def easter(year: int) -> date:
    """Easter Sunday (the anonymous Gregorian computus).

    >>> easter(2026).isoformat(), easter(2027).isoformat()
    ('2026-04-05', '2027-03-28')
    """
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    remaining = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * remaining) // 451
    month, day = divmod(h + remaining - 7 * m + 114, 31)
    return date(year, month, day + 1)


def _observed(day: date, saturday_too: bool) -> date | None:
    """A holiday on a Sunday is kept on Monday, one on a Saturday on Friday or not at all."""
    if day.weekday() == 6:
        return day + timedelta(days=1)
    if day.weekday() == 5:
        return day - timedelta(days=1) if saturday_too else None
    return day


@lru_cache(maxsize=256)
def closed_days(calendar: Calendar, year: int) -> frozenset[date]:
    """The weekdays of a year without trading.

    >>> sorted(day.isoformat() for day in closed_days("us_stocks", 2026))[:4]
    ['2026-01-01', '2026-01-19', '2026-02-16', '2026-04-03']
    >>> date(2026, 11, 11) in closed_days("us_bonds", 2026), date(2026, 11, 11) in closed_days("us_stocks", 2026)
    (True, False)
    """
    moving = {
        _nth(year, 1, MONDAY, 3),
        _nth(year, 2, MONDAY, 3),
        easter(year) - timedelta(days=2),
        _nth(year, 5, MONDAY, -1),
        _nth(year, 9, MONDAY, 1),
        _nth(year, 11, THURSDAY, 4),
    }
    # New Year on a Saturday is not moved into the year before
    fixed = {_observed(date(year, 1, 1), False)}
    fixed |= {_observed(date(year, month, day), True) for month, day in ((6, 19), (7, 4), (12, 25))}
    if calendar == "us_bonds":
        moving.add(_nth(year, 10, MONDAY, 2))
        fixed.add(_observed(date(year, 11, 11), False))
    return frozenset(moving | {day for day in fixed if day is not None})


def open_s(calendar: Calendar, start: datetime, end: datetime) -> float:
    """Seconds between two moments on days with trading (whole UTC days); negative when ``end`` comes first.

    >>> friday, tuesday = datetime(2026, 9, 4, 12, tzinfo=UTC), datetime(2026, 9, 8, 12, tzinfo=UTC)
    >>> open_s("us_bonds", friday, tuesday) / DAY_S  # over a weekend and Labor Day
    1.0
    """
    if end < start:
        return -open_s(calendar, end, start)
    closed = 0.0
    for year in range(start.year, end.year + 1):
        for day in closed_days(calendar, year):
            opens = datetime.combine(day, time(), tzinfo=UTC)
            overlap = min(end, opens + timedelta(days=1)) - max(start, opens)
            closed += max(overlap.total_seconds(), 0.0)
    return _weekdays_s(end) - _weekdays_s(start) - closed


def _weekdays_s(moment: datetime) -> float:
    """Seconds of Monday to Friday (UTC) between a fixed Monday and a moment; only differences mean anything."""
    weeks, rest = divmod(moment.timestamp() - 4 * DAY_S, 7 * DAY_S)
    return weeks * 5 * DAY_S + min(rest, 5 * DAY_S)
