"""After a long outage of a chat: one digest of what happened, newest state first, instead of hundreds of old messages.

What stays a message of its own is what still calls for a person: the newest message about a critical alert that still
fires as far as is known. Everything else that waited goes into the digest, of every severity: what is over, what was
repeated meanwhile, warnings and info, notices by their title. Every event of what was taken up is one of the digest's.
An alert is told with its rule, its borrower, since when, and the numbers it was judged by. Pure: messages and events
in, a message out.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitor.model import Event, Line, Message, Severity
from monitor.units import format_age, format_value

#: a destination in which a message waited this long was out of reach
OUTAGE_S = 3600.0
#: fewer old messages than this are sent as they are
FEWEST = 4
#: alerts named in one digest
MOST = 100
#: numbers told of each
NUMBERS = 2
_VERBS = {"fired": "fires", "error": "cannot be evaluated", "error_over": "can be evaluated again"}
_NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Merged:
    """The digest and the ids of the messages it takes the place of."""

    digest: Message
    ids: tuple[str, ...]


def catch_up(waiting: Sequence[Message], events: Mapping[str, Event], since: datetime, now: datetime) -> Merged | None:
    """One digest in the place of the messages that waited for one route, in their order; None when few enough wait.

    ``events``: what is known of the events they name; ``since``: from when the destination was out of reach (UTC).
    """
    newest, last = _newest(waiting, events)
    over = [one for one in waiting if not _stands_alone(one, events, newest, last)]
    if len(over) < FEWEST:
        return None
    ids = tuple(dict.fromkeys(event_id for one in over for event_id in one.event_ids))
    told = [newest[name] for name in dict.fromkeys(events[i].short_id for i in ids if i in events)]
    told.sort(key=lambda event: event.at, reverse=True)
    first = over[0]
    severity: Severity = "info" if all(one.severity == "info" for one in over) else "warning"
    digest = Message(
        id="catchup-" + hashlib.blake2b("\0".join(one.id for one in over).encode(), digest_size=10).hexdigest(),
        route=first.route,
        channel=first.channel,
        to=first.to,
        kind="digest",
        severity=severity,
        title=f"DIGEST of the time out of reach, since {_moment(since)}: {_counts(told) or 'notices only'}",
        lines=(*_lines(told, events, ids), *_notices(over)),
        created_at=now,
        event_ids=ids,
        recorded=first.recorded,
        possibly_repeated=any(one.possibly_repeated for one in over),
    )
    return Merged(digest, tuple(one.id for one in over))


def _newest(waiting: Sequence[Message], events: Mapping[str, Event]) -> tuple[dict[str, Event], dict[str, str]]:
    """By short id: the newest event that waits, and the id of the last message that speaks of the alert."""
    newest: dict[str, Event] = {}
    last: dict[str, str] = {}
    for message in waiting:
        for event in (events[i] for i in message.event_ids if i in events):
            last[event.short_id] = message.id
            if event.short_id not in newest or event.at >= newest[event.short_id].at:
                newest[event.short_id] = event
    return newest, last


def _stands_alone(
    message: Message, events: Mapping[str, Event], newest: Mapping[str, Event], last: Mapping[str, str]
) -> bool:
    if message.severity != "critical":
        return False
    names = {events[i].short_id for i in message.event_ids if i in events}
    fires = any(newest[name].kind == "fired" and last[name] == message.id for name in names)
    return fires or not names


def _counts(told: Sequence[Event]) -> str:
    counts = Counter(_verb(event) for event in told)
    return ", ".join(f"{count} {verb}" for verb, count in counts.items())


def _lines(told: Sequence[Event], events: Mapping[str, Event], ids: Sequence[str]) -> list[Line]:
    turns = Counter(events[i].short_id for i in ids if i in events and events[i].kind == "fired")
    lines = []
    for event in told[:MOST]:
        name = f"{event.rule}{f' #{event.short_id}' if event.short_id else ''}"
        times = f"; it fired {turns[event.short_id]} times" if turns[event.short_id] > 1 else ""
        told_by = f": {numbers}" if (numbers := _numbers(event)) else ""
        text = f"{name}, {event.subject}, {_verb(event)} since {_moment(event.at)}{times}{told_by}"
        lines.append(Line(event.severity, text))
    more = len(told) - MOST
    return [*lines, Line("", f"and {more} more: `canary alerts` lists all")] if more > 0 else lines


def _numbers(event: Event) -> str:
    """The first numbers an event was judged by, in their units; of a failed rule, why it failed.

    >>> at = datetime(2026, 11, 1)
    >>> _numbers(Event("e", "LowCash", "acme", "warning", "fired", at, "", "ok", "firing", "k7",
    ...                {"liquidity_locked_12m": 0.631, "hardware_mark": None}))
    'liquidity_locked_12m 0.63x, hardware_mark ?'
    """
    if event.kind == "error":
        return event.reason
    return ", ".join(f"{name} {_number(name, value)}" for name, value in list(event.values.items())[:NUMBERS])


def _number(name: str, value: float | None) -> str:
    from monitor.metrics import METRICS  # a tenth of a second that nobody else who opens a database has to wait for

    unit = METRICS[name].unit if name in METRICS else ""
    if value is None:
        return "?"
    return format_age(value) if unit == "s" and 0 <= value < math.inf else format_value(value, unit)


def _notices(over: Sequence[Message]) -> list[Line]:
    """Messages about no alert, by their title; those of an earlier digest are taken along."""
    lines = [Line(_NOTICE, one.title) for one in over if not one.event_ids]
    lines += [line for one in over if one.id.startswith("catchup-") for line in one.lines if line.label == _NOTICE]
    return lines[:MOST]


def _verb(event: Event) -> str:
    return _VERBS.get(event.kind, event.kind)


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
