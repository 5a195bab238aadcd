"""How a delivered message says what became of its alerts: its text once more, with its standing as the first line.

An edit rings no telephone. So it only refreshes or ends what stands there already; whatever somebody should hear of
(a rise in severity, a new episode, a recovery) is a message of its own. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from monitor.markup import clean, title_of
from monitor.model import Event, Line, Message
from monitor.routes import Overlay

#: alerts of one message whose standing is told one by one
MOST = 4
MAX_NAME = 40


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of one alert since a message said that it fires. ``over``: the event that ended the episode."""

    event: Event
    over: Event | None = None
    ack: Overlay | None = None
    silence: Overlay | None = None


def edit_of(message: Message, standings: Sequence[Standing], number: int, now: datetime) -> Message:
    """The edit that makes a delivered message say how its alerts stand; without a mark, what it said at first.

    ``number`` counts the edits of this message from 1. An edit tells no event, so it is never counted as having told
    one; and it comes after whatever waits for its chat.
    """
    mark = mark_of(standings, message.created_at.date())
    lines = (Line("", title_of(message)), *message.lines) if mark else message.lines
    return Message(
        id=f"{message.id}~{number}",
        route=message.route,
        channel=message.channel,
        to=message.to,
        kind="edit",
        severity="info",
        title=mark or message.title,
        lines=lines,
        created_at=now,
        recorded=message.recorded,
        possibly_repeated=message.possibly_repeated and not mark,
    )


def edited(name: str) -> str:
    """The id of the message that an edit is about.

    >>> edited("a1b2.1~3")
    'a1b2.1'
    """
    return name.partition("~")[0]


def mark_of(standings: Sequence[Standing], said_on: date) -> str:
    """How the alerts of a message stand, in a line; empty while they all just fire. Times of another day have a date.

    >>> from datetime import UTC
    >>> fired = Event("e", "LowCash", "acme", "critical", "fired", datetime(2026, 11, 1, 14, tzinfo=UTC), "", "ok",
    ...               "firing", "k7")
    >>> ack = Overlay("ack", datetime(2026, 11, 1, 14, 5, tzinfo=UTC), short_id="k7", by="Ann")
    >>> mark_of([Standing(fired, ack=ack)], date(2026, 11, 1))
    'acknowledged by Ann 14:05 UTC'
    """
    told = [(one.event.short_id, _said(one, said_on)) for one in standings]
    said = {text for _, text in told}
    if len(said) <= 1:
        return said.pop() if said else ""
    marked = [f"#{short_id} {text}" for short_id, text in told if text]
    more = f"; and {len(marked) - MOST} more" if len(marked) > MOST else ""
    return "; ".join(marked[:MOST]) + more


def _said(one: Standing, day: date) -> str:
    if one.over is not None:
        return f"{'resolved' if one.over.kind == 'resolved' else 'no longer watched since'} {_at(one.over.at, day)}"
    said = []
    if one.ack is not None:
        until = f", until {_at(one.ack.until, day)}" if one.ack.until else ""
        said.append(f"acknowledged{_by(one.ack)} {_at(one.ack.at, day)}{until}")
    if one.silence is not None and one.silence.until is not None:
        said.append(f"silenced{_by(one.silence)} until {_at(one.silence.until, day)}")
    return "; ".join(said)


def _by(overlay: Overlay) -> str:
    return f" by {clean(overlay.by, MAX_NAME)}" if overlay.by else ""


def _at(moment: datetime, day: date) -> str:
    return f"{moment:%H:%M} UTC" if moment.date() == day else f"{moment:%Y-%m-%d %H:%M} UTC"
