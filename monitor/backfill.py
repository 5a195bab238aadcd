"""The past into the database: what the sources still tell of it, stretch by stretch, and files a desk has.

A stretch is one call of a source's ``history``. What it gave and the note that this stretch is done are written in one
transaction, so a run that is killed goes on where it stopped and asks for nothing twice. A value of the past was
observed at its moment and known ``lag`` later; because nobody saw it then, ``known_basis`` says ``assumed``. Sources
run side by side, the requests of one after each other with a pause between them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from httpx import AsyncClient

from monitor.feeds import Feed
from monitor.feeds.http import Client, clean, new_http
from monitor.model import FeedError, Observation
from monitor.series import SERIES, fault
from monitor.store import Store

Span = tuple[datetime, datetime]

#: between two requests of one source: far below what any of them allows
PAUSE_S = 0.5
#: time for one stretch; the slowest sources send years in one answer
LIMIT_S = 60.0
#: the newest days are asked for again next time: closes, publications and revisions were still to come
UNSETTLED = timedelta(days=7)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Filled:
    """What one source gave: values, those that were new, the oldest and newest of them, and what went wrong."""

    source: str
    stretches: int = 0
    given: int = 0
    new: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    #: why values were left out -> how many
    left_out: tuple[tuple[str, int], ...] = ()
    #: why it stopped before the end; what came before is kept
    failed: str = ""


# ---------------------------------------------------------------- spans of time
def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time as the fewest spans, in order.

    >>> from datetime import UTC
    >>> day = [datetime(2022, 1, d, tzinfo=UTC) for d in range(1, 9)]
    >>> [(a.day, b.day) for a, b in merged([(day[3], day[5]), (day[0], day[1]), (day[1], day[3])])]
    [(1, 6)]
    """
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif end > start:
            found.append((start, end))
    return found


def missing(wanted: Span, done: Iterable[Span]) -> list[Span]:
    """What of a span is not covered.

    >>> from datetime import UTC
    >>> day = [datetime(2022, 1, d, tzinfo=UTC) for d in range(1, 9)]
    >>> [(a.day, b.day) for a, b in missing((day[0], day[7]), [(day[1], day[2]), (day[5], day[7])])]
    [(1, 2), (3, 6)]
    """
    at, until = wanted
    gaps: list[Span] = []
    for start, end in merged(done):
        if start > at:
            gaps.append((at, min(start, until)))
        at = max(at, end)
    return [(a, b) for a, b in [*gaps, (at, until)] if a < b]


def stretches(spans: Iterable[Span], page: timedelta | None) -> list[Span]:
    """Spans cut into pieces of at most ``page``; whole where the source sets no limit.

    >>> from datetime import UTC
    >>> day = [datetime(2022, 1, d, tzinfo=UTC) for d in range(1, 9)]
    >>> [(a.day, b.day) for a, b in stretches([(day[0], day[7])], timedelta(days=3))]
    [(1, 4), (4, 7), (7, 8)]
    """
    found: list[Span] = []
    for start, end in spans:
        step = page or end - start
        while start < end:
            found.append((start, min(start + step, end)))
            start += step
    return found


# ---------------------------------------------------------------- what was done already
def _key(source: str) -> str:
    return f"backfill {source}"


def done_spans(store: Store, source: str) -> list[Span]:
    """The stretches of a source that are in the database."""
    kept = store.meta(_key(source))
    return [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in json.loads(kept)] if kept else []


def _keep(store: Store, source: str, rows: Sequence[Observation], span: Span) -> int:
    """The values of a stretch and the note that it is done, together; how many were new."""
    with store.transaction():
        new = store.keep(rows)
        spans = merged([*done_spans(store, source), span])
        store.set_meta(_key(source), json.dumps([[a.isoformat(), b.isoformat()] for a, b in spans]))
    return new


# ---------------------------------------------------------------- asking
def has_past(feed: Feed) -> bool:
    """Whether a source can tell its past."""
    return type(feed).history is not Feed.history


async def backfill(
    store: Store,
    feeds: Sequence[Feed],
    since: datetime,
    now: datetime,
    progress: Progress = lambda source, done, of: None,
    pause_s: float = PAUSE_S,
) -> list[Filled]:
    """Ask every source for what is missing between two moments; one line per source, in their order. Never raises for
    a source: one that fails keeps what it gave and is asked again next time."""
    async with new_http() as http:
        return list(await asyncio.gather(*(_fill(store, http, f, (since, now), progress, pause_s) for f in feeds)))


async def _fill(
    store: Store, http: AsyncClient, feed: Feed, wanted: Span, progress: Progress, pause_s: float
) -> Filled:
    now = wanted[1]
    left = stretches(missing(wanted, done_spans(store, feed.name)), feed.page)
    found = Filled(feed.name)
    progress(feed.name, 0, len(left))
    for number, (start, end) in enumerate(left, 1):
        try:
            rows, refused = await _stretch(http, feed, now, start, end)
        except FeedError as error:
            return replace(found, failed=f"{start:%Y-%m-%d} to {end:%Y-%m-%d}: {error}")
        new = _keep(store, feed.name, rows, (start, min(end, now - UNSETTLED)))
        found = _added(found, rows, refused, new)
        progress(feed.name, number, len(left))
        if number < len(left):
            await asyncio.sleep(pause_s)
    return found


async def _stretch(
    http: AsyncClient, feed: Feed, now: datetime, start: datetime, end: datetime
) -> tuple[list[Observation], Counter[str]]:
    """(believable values of one stretch, why others were left out); FeedError when the source failed."""
    try:
        async with asyncio.timeout(LIMIT_S):
            client = Client(http, feed.origins, now, LIMIT_S)
            rows = await feed.history(client, now, start, end)
    except TimeoutError:
        raise FeedError(f"no complete answer within {LIMIT_S:g} s") from None
    except FeedError:
        raise
    except Exception as error:  # a mistake in one source must not stop the others; it is named for what it is
        raise FeedError(f"a fault in the source's own code: {type(error).__name__}: {clean(str(error))}") from error
    refused: Counter[str] = Counter(client.notes)
    good = []
    for row in rows:
        why = fault(row, SERIES[row.series]) if row.series in SERIES else f"no series is called {row.series!r}"
        if why:
            refused[f"{row.series}: not plausible"] += 1
        elif row.observed_at <= end and row.known_at <= now:
            good.append(row)
    return good, refused


def _added(found: Filled, rows: Sequence[Observation], refused: Counter[str], new: int) -> Filled:
    moments = [row.observed_at for row in rows]
    ends = [moment for moment in (found.oldest, found.newest) if moment is not None] + moments
    return replace(
        found,
        stretches=found.stretches + 1,
        given=found.given + len(rows),
        new=found.new + new,
        oldest=min(ends, default=None),
        newest=max(ends, default=None),
        left_out=tuple(sorted((Counter(dict(found.left_out)) + refused).items())),
    )
