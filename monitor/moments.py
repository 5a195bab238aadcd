"""A moment as a person writes it. Pure: the present is an argument."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from monitor.model import CanaryError, end_of_day


def moment(text: str, now: datetime) -> datetime:
    """The moment meant by a day (its end, UTC) or a time (UTC unless it names a zone); never in the future.

    >>> today = datetime(2026, 11, 1, tzinfo=UTC)
    >>> moment("2026-08-12", today).isoformat(), moment("2026-08-12T09:30Z", today).isoformat()
    ('2026-08-13T00:00:00+00:00', '2026-08-12T09:30:00+00:00')
    """
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            at = end_of_day(date.fromisoformat(text))
        else:
            at = datetime.fromisoformat(text)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise CanaryError(f"{text[:40]!r} is no day or time; write 2026-08-12 or 2026-08-12T09:30Z") from None
    if at.year < 2009:
        raise CanaryError(f"{text[:40]} is before any price; the first bitcoin dates from 2009")
    if at > now:
        raise CanaryError(f"{text} has not ended yet; the newest moment is {now:%Y-%m-%dT%H:%MZ}")
    return at
