"""Edits of delivered messages, queued in the transaction in which their alerts change.

An edit is a row of the outbox like any other: its id is that of the message and a number, ``channel_message_id`` is the
message it changes. It goes to chats that number their messages, as Telegram does; the postman leaves it alone where the
channel cannot edit. Only the newest edit of a message is worth sending.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from monitor.marking import Standing, edit_of
from monitor.model import Event, Message, OutboxRow
from monitor.routes import Overlay, acked, matches_overlay, silenced
from monitor.rows import Row, Tables, event_of, iso, kept, message_row, outbox_of, overlay_of, state_of
from monitor.states import active

#: how long reminders are kept up to date; the message that said first that an alert fires always is
REMINDERS = timedelta(days=2)
ENDS = ("resolved", "dropped")
_ANNOUNCES = ("fired", "reminder")


def refresh_ended(store: Tables, events: Iterable[Event], now: datetime) -> None:
    """Some events were just written: messages about alerts that ended with them say so."""
    _refresh(store, [(event.rule, event.subject, event.at) for event in events if event.kind in ENDS], now)


def refresh_said(store: Tables, overlays: Sequence[Overlay], now: datetime) -> None:
    """Somebody said something over alerts or took it back: messages about those that stand say so."""
    states = map(state_of, store.rows("SELECT * FROM alerts")) if overlays else ()
    meant = [one for one in states if active(one) and any(matches_overlay(said, one) for said in overlays)]
    _refresh(store, [(state.rule, state.subject, now) for state in meant], now)


def refresh_sent(store: Tables, row: OutboxRow, channel_message_id: str, now: datetime) -> None:
    """A message has just arrived: what changed while it was on its way is said at once."""
    if row.message.kind in _ANNOUNCES and channel_message_id.replace(",", "").isdecimal():
        _edit(store, row.message, channel_message_id, now)


def standings_of(store: Tables, message: Message, now: datetime) -> list[Standing]:
    """How the alerts stand that a message said fire, in its order."""
    said = "SELECT * FROM overlays WHERE until IS NULL OR until > ?"
    overlays = [overlay_of(row) for row in store.rows(said, (iso(now),))]
    sql = "SELECT * FROM events WHERE kind = 'fired' AND id IN (SELECT value FROM json_each(?)) ORDER BY at, rowid"
    fired = [event_of(row) for row in store.rows(sql, (json.dumps(message.event_ids),))]
    return [_standing(store, event, overlays, now) for event in fired]


def original_of(store: Tables, name: str) -> Message | None:
    """The message of this id; None when it is gone."""
    rows = store.rows("SELECT * FROM outbox WHERE id = ?", (name,))
    return outbox_of(rows[0]).message if rows else None


def _standing(store: Tables, event: Event, overlays: Sequence[Overlay], now: datetime) -> Standing:
    over = "SELECT * FROM events WHERE rule = ? AND subject = ? AND kind IN ('resolved', 'dropped') AND at > ?"
    ended = store.rows(f"{over} ORDER BY at LIMIT 1", (event.rule, event.subject, iso(event.at)))
    if ended:
        return Standing(event, event_of(ended[0]))
    states = store.rows("SELECT * FROM alerts WHERE rule = ? AND subject = ?", (event.rule, event.subject))
    if not states:
        return Standing(event)
    state = state_of(states[0])
    return Standing(event, None, acked(state, overlays, now), silenced(state, overlays, now))


def _refresh(store: Tables, alerts: Sequence[tuple[str, str, datetime]], now: datetime) -> None:
    """Bring messages about these alerts up to date: (rule, subject, a moment of the episode or its end)."""
    fired = [row for alert in alerts for row in _fired(store, *alert)]
    if not fired:
        return
    sql = """
        SELECT * FROM outbox WHERE state = 'sent' AND created_at >= ?
        AND channel_message_id != '' AND channel_message_id NOT GLOB '*[^0-9,]*'
        AND (kind = 'fired' OR (kind = 'reminder' AND created_at >= ?))
        AND EXISTS (SELECT 1 FROM json_each(event_ids) e WHERE e.value IN (SELECT value FROM json_each(?)))
        ORDER BY seq"""
    ids = json.dumps([row["id"] for row in fired])
    for row in store.rows(sql, (min(row["at"] for row in fired), iso(now - REMINDERS), ids)):
        _edit(store, outbox_of(row).message, row["channel_message_id"], now)


def _fired(store: Tables, rule: str, subject: str, at: datetime) -> list[Row]:
    """The events by which an episode was announced: those since the end of the one before it."""
    sql = """
        SELECT id, at FROM events WHERE rule = ? AND subject = ? AND kind = 'fired' AND at > COALESCE((
            SELECT MAX(at) FROM events WHERE rule = ? AND subject = ? AND kind IN ('resolved', 'dropped') AND at < ?
        ), '')"""
    return store.rows(sql, (rule, subject, rule, subject, iso(at)))


def _edit(store: Tables, message: Message, channel_message_id: str, now: datetime) -> None:
    """Queue what a delivered message should say, unless it says so already or can never be changed."""
    sql = "SELECT id, title, state FROM outbox WHERE id >= ? AND id < ? ORDER BY seq DESC"
    before = store.rows(sql, (f"{message.id}~", f"{message.id}~:"))  # ":" follows the digits
    edit = edit_of(message, standings_of(store, message, now), len(before) + 1, now)
    says = before[0]["title"] if before else message.title
    if kept({"title": edit.title})["title"] == says or any(row["state"] == "dead" for row in before):
        return
    late = "UPDATE outbox SET state = 'expired', error = 'a newer edit' WHERE id = ? AND state IN ('queued', 'retry')"
    for row in before:
        store.write(late, (row["id"],))
    store.insert("outbox", [{**message_row(edit), "channel_message_id": channel_message_id}])
