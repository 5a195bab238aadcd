"""Dated values as sources send them -> values in order of time, the doubtful ones left out with a reason. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from monitor.model import FeedError, end_of_day

#: nothing read here is older than bitcoin; a time before it is in another unit
EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
#: a clock that runs ahead of ours by less than this is forgiven
CLOCK_SLACK = timedelta(minutes=5)
Dated = tuple[datetime, float]


def settled(rows: Iterable[Dated], now: datetime) -> tuple[list[Dated], list[str]]:
    """(rows in order of time, why others were left out): none from the future, and of two that differ neither.

    >>> monday, tuesday = datetime(2026, 8, 10, tzinfo=UTC), datetime(2026, 8, 11, tzinfo=UTC)
    >>> rows, why = settled([(tuesday, 2.0), (monday, 1.0), (tuesday, 2.5)], tuesday)
    >>> [value for _, value in rows], why
    ([1.0], ['2026-08-11 00:00Z has two values'])
    """
    by_time: dict[datetime, set[float]] = defaultdict(set)
    for moment, value in rows:
        by_time[moment].add(value)
    kept: list[Dated] = []
    why: list[str] = []
    for moment, values in sorted(by_time.items()):
        if moment > now + CLOCK_SLACK:
            why.append(f"{moment:%Y-%m-%d %H:%M}Z lies in the future")
        elif len(values) > 1:
            why.append(f"{moment:%Y-%m-%d %H:%M}Z has two values")
        else:
            kept.append((min(moment, now), min(values)))
    return kept, why


def newest(rows: Iterable[Dated], now: datetime) -> tuple[Dated, list[str]]:
    """(the newest settled row, why others were left out); FeedError when none is left."""
    kept, why = settled(rows, now)
    if not kept:
        raise FeedError("; ".join(["it holds no value", *why[:3]]))
    return kept[-1], why


def from_epoch(count: float, unit_s: float) -> datetime:
    """The moment ``count`` units of ``unit_s`` seconds after 1970, in UTC; FeedError when it is in another unit.

    >>> from_epoch(1786708800000, 0.001).isoformat()
    '2026-08-14T12:00:00+00:00'
    >>> from_epoch(1786708800, 0.001)
    Traceback (most recent call last):
    ...
    monitor.model.FeedError: 1786708800 is no time in units of 0.001 s
    """
    try:
        moment = datetime.fromtimestamp(count * unit_s, UTC)
    except (ValueError, OverflowError, OSError):
        moment = EARLIEST
    if moment <= EARLIEST:
        raise FeedError(f"{count:.0f} is no time in units of {unit_s:g} s")
    return moment


def close_of(text: object) -> datetime:
    """The end of a day written as 2026-08-13, when its value is observed; FeedError for anything else.

    >>> close_of("2026-08-13").isoformat()
    '2026-08-14T00:00:00+00:00'
    """
    try:
        if not isinstance(text, str) or len(text) != 10:
            raise ValueError
        return end_of_day(date.fromisoformat(text))
    except (ValueError, OverflowError):
        raise FeedError(f"{text!r:.40} is not a day such as 2026-08-13") from None
