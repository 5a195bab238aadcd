"""What the buttons below a message stand for, and whether a tap on one still counts.

Telegram is given an opaque id. The database knows what it does, for whom, until when, and in which state its alerts
were: a button of last week must not silence what fired since.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from monitor.bot.desk import Desk, shown_store
from monitor.bot.nouns import Button
from monitor.marking import edited
from monitor.model import MARKET, Event, Message
from monitor.routes import borrower_of
from monitor.rows import Tables, event_of, iso
from monitor.states import active
from monitor.store_chat import Callback, keep_callbacks, use_callback
from monitor.store_edits import original_of, standings_of
from monitor.tick import Memory

#: the buttons of an alert message work this long
ALERT_LIVES = timedelta(days=7)
#: a message about more alerts than this is a list, not something to tap on
MAX_ALERTS = 6
#: 16 random bytes: nobody guesses one, and 22 characters are far below Telegram's 64
ID_BYTES = 16


class Key(NamedTuple):
    """One button as a channel sends it: its label and its opaque id."""

    label: str
    data: str


Keyboard = tuple[tuple[Key, ...], ...]
Rows = tuple[tuple[Button, ...], ...]


def keyboard(rows: Sequence[Sequence[Button]], now: datetime) -> tuple[Keyboard, list[Callback]]:
    """The keys of some buttons, with new ids, and what is to be kept of them."""
    kept = [
        [
            Callback(secrets.token_urlsafe(ID_BYTES), now, now + b.lives, b.action, b.target, b.version, b.user)
            for b in row
        ]
        for row in rows
    ]
    keys = tuple(
        tuple(Key(b.label, one.id) for b, one in zip(row, made, strict=True))
        for row, made in zip(rows, kept, strict=True)
    )
    return keys, [one for made in kept for one in made]


async def keep(desk: Desk, rows: Sequence[Sequence[Button]], now: datetime) -> Keyboard:
    """The keys of an answer's buttons, kept before they are sent."""
    if not rows:
        return ()
    keys, kept = keyboard(rows, now)
    await desk.write(_keep, kept)
    return keys


def _keep(memory: Memory, kept: Sequence[Callback]) -> None:
    keep_callbacks(memory.live, kept)


# ---------------------------------------------------------------- below an alert message
def for_alerts(desk: Desk, clock: Callable[[], datetime]) -> Callable[[Message], Awaitable[Keyboard]]:
    """What a channel asks for the buttons of a message it is about to send; none for a digest or a notice."""

    async def keys(message: Message) -> Keyboard:
        return await desk.write(_of_message, message, clock())

    return keys


def _of_message(memory: Memory, message: Message, now: datetime) -> Keyboard:
    store = next((one for one in memory.stores() if message.recorded is (one is not memory.live)), memory.live)
    rows = _below_edit(store, message, now) if message.kind == "edit" else _below(store, message)
    keys, kept = keyboard(rows, now)
    if kept:
        keep_callbacks(memory.live, kept)
    return keys


def _below(store: Tables, message: Message) -> Rows:
    return alert_buttons(message, events_of(store, message.event_ids))


def _below_edit(store: Tables, message: Message, now: datetime) -> Rows:
    """What still makes sense below a message whose alerts have moved on: nothing for those that are over."""
    original = original_of(store, edited(message.id))
    if original is None:
        return ()
    standing = [one for one in standings_of(store, original, now) if one.over is None]
    done = {"ack"} if all(one.ack for one in standing) else set[str]()
    done |= {"silence1d", "silence7d"} if all(one.silence for one in standing) else set()
    return alert_buttons(original, [one.event for one in standing], frozenset(done))


def events_of(store: Tables, ids: Sequence[str]) -> list[Event]:
    """Events by their ids, oldest first."""
    marks = ", ".join("?" * len(ids))
    rows = store.rows(f"SELECT * FROM events WHERE id IN ({marks}) ORDER BY at, rowid", ids) if ids else []  # noqa: S608
    return [event_of(row) for row in rows]


def alert_buttons(message: Message, events: Sequence[Event], done: frozenset[str] = frozenset()) -> Rows:
    """Acknowledge, silence, why, chart, stress: for the alerts that stand in a message, all at once.

    A message in which everything is over, a digest and a notice have none. ``done``: actions that were carried out.
    """
    newest = {event.short_id: event for event in events if event.short_id}
    standing = [event for event in newest.values() if event.kind not in ("resolved", "dropped", "pending")]
    if message.kind not in ("fired", "reminder") or not standing or len(standing) > MAX_ALERTS:
        return ()
    ids = " ".join(event.short_id for event in standing)
    versions = " ".join(event.episode or "-" for event in standing)

    def button(label: str, action: str, target: str) -> Button:
        return Button(label, action, target, versions, lives=ALERT_LIVES)

    quieten = (("Ack", "ack"), ("Silence 1 d", "silence1d"), ("Silence 7 d", "silence7d"))
    first = tuple(button(label, action, ids) for label, action in quieten if action not in done)
    whom = list(dict.fromkeys(borrower_of(event.subject) for event in standing))
    about = [button("Why", "why", ids)]
    if len(whom) == 1 and whom != [MARKET]:
        about += [button("Chart", "chart", whom[0]), button("Stress", "stress", whom[0])]
    return (first, tuple(about)) if first else (tuple(about),)


# ---------------------------------------------------------------- a tap
@dataclass(frozen=True)
class Tap:
    """What a tap on a button means now: what to do, or why not."""

    found: Callback | None
    refusal: str = ""


def judged(found: Callback | None, user: int, now: datetime, once: bool) -> Tap:
    """Whether a button works for this person at this moment.

    >>> judged(None, 42, datetime(2026, 11, 1), True).refusal
    'nothing is known of this button any more; /help shows what to type instead'
    """
    if found is None:
        return Tap(None, "nothing is known of this button any more; /help shows what to type instead")
    if found.user is not None and found.user != user:
        return Tap(found, "this button is for the person who asked")
    if once and found.used_at is not None:
        when = f"at {found.used_at:%H:%M} UTC by {found.used_by}"
        if not found.outcome:  # Canary ended in the middle of it, or it is still under way
            return Tap(found, f"tapped already {when}; what came of it is not known here: look with /alerts")
        return Tap(found, f"done already {when}: {found.outcome}")
    if now >= found.until:
        return Tap(found, f"this button is from {found.at:%Y-%m-%d %H:%M} UTC and too old; type the command instead")
    return Tap(found)


def claim(memory: Memory, number: str, now: datetime, by: str) -> bool:
    """Take the one use of a button; False when it was taken; on the writer."""
    return use_callback(memory.live, number, now, by)


@dataclass(frozen=True, slots=True)
class Since:
    """What became of the alerts of a button: those that stand as they did, and the others in words."""

    same: tuple[str, ...]
    changed: tuple[str, ...] = ()


def since(memory: Memory, found: Callback) -> Since:
    """Compare the alerts of a button with what they are now; on the writer."""
    store, same, changed = shown_store(memory), list[str](), list[str]()
    states = {state.short_id: state for state in store.load_states().values() if state.short_id}
    for short_id, episode in zip(found.target.split(), found.version.split(), strict=False):
        state = states.get(short_id)
        last = store.events(short_id=short_id, limit=1)
        if state is None or not active(state):
            over = f" since {last[0].at:%Y-%m-%d %H:%M} UTC" if last and last[0].kind == "resolved" else ""
            changed.append(f"#{short_id} is over{over}")
        elif last and episode not in ("-", last[0].episode):
            fired = f" at {state.fired_at:%Y-%m-%d %H:%M} UTC" if state.fired_at else ""
            changed.append(f"#{short_id} ended and fired again{fired}")
        else:
            same.append(short_id)
    return Since(tuple(same), tuple(changed))


def end_pair(memory: Memory, found: Callback, now: datetime, by: str) -> None:
    """Take away both buttons of a question that was answered; on the writer."""
    sql = "UPDATE callbacks SET used_at = ?, used_by = ? WHERE target = ? AND user = ? AND at = ? AND used_at IS NULL"
    with memory.live.transaction():
        memory.live.write(sql, (iso(now), by, found.target, found.user, iso(found.at)))
