"""How the post stands, counted over outbox rows: what is on its way, what became of the rest. No ids, no texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from monitor.rows import Row, Tables, utc

ON_ITS_WAY = ("queued", "retry", "sending")
OVER = ("sent", "unknown", "dead", "expired")
_COUNTS = """
    SELECT channel, state, COUNT(*) AS n, SUM(attempts) AS attempts, MIN(waits_since) AS since, MAX(seq) AS newest
    FROM outbox WHERE kind != 'edit' GROUP BY channel, state"""
_EDITS = "SELECT channel, state, COUNT(*) AS n FROM outbox WHERE kind = 'edit' GROUP BY channel, state"


@dataclass(frozen=True)
class Post:
    """All messages of an installation, counted. Channels are named by kind, never by chat.

    ``outcomes``: (channel, sent | unknown | dead | expired) -> messages. ``since``: when the oldest of those on their
    way began to wait; None when none is, or none was asked about yet. ``broken``: channels whose last message was
    refused for good. Edits of messages are counted by themselves, in ``edits``: they tell nothing new, so none of them
    is missed, and a message that cannot be edited says nothing about its channel.
    """

    waiting: Mapping[str, int] = field(default_factory=dict)
    since: datetime | None = None
    outcomes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    edits: Mapping[tuple[str, str], int] = field(default_factory=dict)


def post_of(stores: Sequence[Tables]) -> Post:
    """Count the messages of these databases together; on the thread that owns them.

    >>> post_of([])
    Post(waiting={}, since=None, outcomes={}, attempts={}, broken=(), edits={})
    """
    tables = [store.rows(_COUNTS) for store in stores]
    waiting, attempts, outcomes = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    began = []
    for row in (row for table in tables for row in table):
        attempts[row["channel"]] += row["attempts"]
        if row["state"] in ON_ITS_WAY:
            waiting[row["channel"]] += row["n"]
            began += [utc(row["since"])] if row["since"] else []
        else:
            outcomes[row["channel"], row["state"]] += row["n"]
    edits = Counter[tuple[str, str]]()
    for row in (row for store in stores for row in store.rows(_EDITS)):
        edits[row["channel"], row["state"]] += row["n"]
    broken = _broken(tables)
    return Post(dict(waiting), min(began, default=None), dict(outcomes), dict(attempts), broken, dict(edits))


def _broken(tables: Sequence[Sequence[Row]]) -> tuple[str, ...]:
    """A channel works as soon as one database saw its last message arrive."""
    last: dict[str, list[str]] = {}
    for table in tables:
        over = [row for row in table if row["state"] in OVER]
        for channel in {row["channel"] for row in over}:
            newest = max((row for row in over if row["channel"] == channel), key=lambda row: row["newest"])
            last.setdefault(channel, []).append(newest["state"])
    return tuple(sorted(channel for channel, states in last.items() if set(states) == {"dead"}))
