"""Messages on their way: ``queued -> sending -> sent | retry | unknown | dead | expired``, and nothing is ever lost.

``sending`` is committed before the request leaves and ``sent`` only after the channel said yes, so whatever dies in
between leaves a row that says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.catchup import OUTAGE_S, catch_up
from monitor.model import MARKET, Event, Message, OutboxRow
from monitor.routes import EXPIRES_S, backoff_s, borrower_of
from monitor.rows import Row, Tables, event_of, iso, kept, message_row, outbox_of, utc
from monitor.store_edits import refresh_sent

#: per destination; beyond it the oldest messages that are not critical go into the next digest instead
MAX_QUEUED = 200
#: why a message is given up whose events a digest took along
_SAID_IN = "said in "
#: what may be sent, worst first. A repetition keeps the place of the message it repeats: what came after that one must
#: not be read before it. One that a later evaluation made anew, a digest, comes last
_OPEN = """
    SELECT * FROM outbox o WHERE state IN ('queued', 'retry', 'sending')
    ORDER BY rank DESC, COALESCE((SELECT seq FROM outbox root WHERE root.id = o.repeat_of
                                  AND root.created_at = o.created_at), seq), seq"""


@dataclass(frozen=True, slots=True)
class Company:
    """What is known around one message: the message it answers, and the one borrower it is about, if it is one.

    ``reply_to``: the channel's own ids of the message that announced what ends now; empty when there is none.
    ``borrower``: ``market`` where nothing but the market is spoken of. ``first``: this destination was never told
    anything about it before. ``rule``: that of the gravest alert.
    """

    reply_to: str = ""
    borrower: str = ""
    first: bool = False
    rule: str = ""


class OutboxTables(Tables):
    """The part of the store that holds messages."""

    def queue(self, messages: Iterable[Message]) -> int:
        """Put messages into the outbox outside an evaluation (a test, a notice); a known id is not queued again."""
        with self.transaction():
            return self.insert("outbox", map(self._fresh_row, messages), "INSERT OR IGNORE")

    def _fresh_row(self, message: Message) -> Row:
        """A message as a row to be queued. A name that was used already is that of the same events: a message that was
        accepted or is on its way is left alone, but one that did not arrive for sure is said again under a name of its
        own. A digest whose events come back alone into the next one has the same name as before.
        """
        sql = "SELECT state, error FROM outbox WHERE id = ? OR repeat_of = ? ORDER BY seq DESC"
        before = self.rows(sql, (message.id, message.id))
        given_up = before and (
            before[0]["state"] == "unknown"
            or (before[0]["state"] == "expired" and not before[0]["error"].startswith(_SAID_IN))
        )
        if not given_up:
            return message_row(message)
        repeated = message.possibly_repeated or any(row["state"] == "unknown" for row in before)
        again = replace(message, id=f"{message.id}.{len(before)}", possibly_repeated=repeated)
        return message_row(again, repeat_of=message.id)

    def outbox(self, *states: str, limit: int = 1000) -> list[OutboxRow]:
        """Messages in these states (all when none is named), in the order they were made."""
        sql = "SELECT * FROM outbox"
        if states:
            sql += f" WHERE state IN ({', '.join('?' * len(states))})"
        return [outbox_of(row) for row in self.rows(sql + " ORDER BY seq LIMIT ?", (*states, limit))]

    def due(self, now: datetime) -> list[OutboxRow]:
        """What may be sent now, worst first. Within one destination the order is kept: a message that has to wait
        (or is in flight) holds back everything behind it, so nothing overtakes but what is more severe.
        """
        held: set[tuple[str, str]] = set()
        found = []
        for row in map(outbox_of, self.rows(_OPEN)):
            to = (row.message.channel, row.message.to)
            if row.state == "sending" or (row.next_at is not None and row.next_at > now):
                held.add(to)
            elif to not in held:
                found.append(row)
        return found

    def claim(self, row: OutboxRow, attempt_id: str) -> OutboxRow | None:
        """Commit that the request is about to leave; None when the message is no longer to be sent."""
        sql = """
            UPDATE outbox SET state = 'sending', attempts = attempts + 1, attempt_id = ?, next_at = NULL
            WHERE id = ? AND state IN ('queued', 'retry')"""
        with self.transaction():
            if self.write(sql, (attempt_id, row.message.id)) != 1:
                return None
        return replace(row, state="sending", attempts=row.attempts + 1, attempt_id=attempt_id, next_at=None)

    def release(self, row: OutboxRow) -> bool:
        """A claimed message whose request never left is as it was."""
        sql = """
            UPDATE outbox SET state = 'queued', attempts = attempts - 1, attempt_id = ''
            WHERE id = ? AND state = 'sending' AND attempt_id = ?"""
        with self.transaction():
            return self.write(sql, (row.message.id, row.attempt_id)) == 1

    def mark_sent(self, row: OutboxRow, now: datetime, channel_message_id: str = "") -> bool:
        """The channel said yes. False when this attempt is no longer the current one."""
        with self.transaction():
            marked = self._mark(row, "sent", sent_at=iso(now), channel_message_id=channel_message_id, error="")
            if marked:
                refresh_sent(self, row, channel_message_id, now)
        return marked

    def mark_retry(self, row: OutboxRow, next_at: datetime, error: str) -> bool:
        """The channel could not take it now: try again from ``next_at``."""
        return self._mark(row, "retry", next_at=iso(next_at), error=error)

    def mark_dead(self, row: OutboxRow, error: str) -> bool:
        """The channel will never take it; the caller tells another channel."""
        return self._mark(row, "dead", error=error)

    def mark_unknown(self, row: OutboxRow, now: datetime, error: str) -> bool:
        """The request left and no answer came. The row stays as the record of it; what it said is said again.

        Critical and warning messages are queued again in the same place, marked possibly repeated: at once, and with a
        growing wait when that is not answered either. The events of an info message go into the next digest.
        """
        with self.transaction():
            if not self._mark(row, "unknown", error=error):
                return False
            self._say_again(row.message, now)
        return True

    def recover_after_restart(self, now: datetime) -> int:
        """Nobody knows what became of messages in flight when the process died; returns how many there were.

        An edit made twice is as good as one made once, so it is simply made again.
        """
        why = "the process ended before an answer came"
        with self.transaction():
            flying = self.outbox("sending", limit=1_000_000)
            for row in flying:
                if row.message.kind == "edit":
                    self.mark_retry(row, now, why)
                else:
                    self.mark_unknown(row, now, why)
        return sum(row.message.kind != "edit" for row in flying)

    def expire(self, now: datetime) -> list[OutboxRow]:
        """Give up on messages nobody could deliver for too long, or that are too many for one destination.

        A message waits from the first time this is asked about it, by the clock of delivery: recorded evaluations have
        another. What is given up goes into the next digest, so nothing is lost; returns the rows given up. Edits say
        nothing new: they crowd out no message.
        """
        waiting: dict[tuple[str, str], int] = {}
        gone = []
        with self.transaction():
            opened = "UPDATE outbox SET waits_since = ? WHERE state IN ('queued', 'retry') AND waits_since IS NULL"
            self.write(opened, (iso(now),))
            # newest first, so that the oldest are over the limit
            for row in self.rows("SELECT * FROM outbox WHERE state IN ('queued', 'retry') ORDER BY seq DESC"):
                found = outbox_of(row)
                to, message = (found.message.channel, found.message.to), found.message
                waiting[to] = waiting.get(to, 0) + (message.kind != "edit")
                age_s = (now - utc(row["waits_since"])).total_seconds()
                crowded = waiting[to] > MAX_QUEUED and message.severity != "critical"
                if age_s > EXPIRES_S[message.severity] or crowded:
                    self.write("UPDATE outbox SET state = 'expired' WHERE id = ?", (message.id,))
                    self._into_digest(message, now, "its message could not be delivered in time")
                    gone.append(replace(found, state="expired"))
        return gone

    def catch_up(self, now: datetime) -> list[Message]:
        """After a long outage of a destination, put what waited there into one digest; returns the digests.

        What is still urgent stays a message of its own (see :mod:`monitor.catchup`). Decided when the destination may
        be tried again, so that an outage of days makes a few digests, not one a minute.
        """
        waiting: dict[tuple[str, str, str], list[Row]] = {}
        held: set[tuple[str, str]] = set()
        for row in (row for row in self.rows(_OPEN) if row["kind"] != "edit"):
            if row["state"] == "sending" or (row["next_at"] is not None and utc(row["next_at"]) > now):
                held.add((row["channel"], row["destination"]))
            waiting.setdefault((row["route"], row["channel"], row["destination"]), []).append(row)
        made = []
        for (_, *to), rows in waiting.items():
            since = min((utc(row["waits_since"]) for row in rows if row["waits_since"]), default=now)
            if tuple(to) not in held and (now - since).total_seconds() >= OUTAGE_S:
                made += self._merge(rows, since, now)
        return made

    def _merge(self, rows: list[Row], since: datetime, now: datetime) -> list[Message]:
        messages = [outbox_of(row).message for row in sorted(rows, key=lambda row: row["seq"])]
        merged = catch_up(messages, self._events_of(messages), since, now)
        if merged is None:
            return []
        digest, ids = merged.digest, json.dumps(merged.ids)
        tried = max(row["attempts"] for row in rows)
        with self.transaction():
            self.insert("outbox", [{**message_row(digest), "attempts": tried, "waits_since": iso(since)}])
            gone = "UPDATE outbox SET state = 'expired', error = ? WHERE id IN (SELECT value FROM json_each(?))"
            self.write(gone, (f"{_SAID_IN}{digest.id}", ids))
            told = """
                UPDATE decisions SET message_id = ? WHERE send = 1 AND route = ?
                AND event_id IN (SELECT value FROM json_each(?))"""
            self.write(told, (digest.id, digest.route, json.dumps(digest.event_ids)))
        return [digest]

    def company(self, message: Message) -> Company:
        """What is known around a message that is about to be sent."""
        events = self._events_of([message]).values()
        named = {borrower_of(event.subject) for event in events}
        borrowers = named - {MARKET} or named
        borrower = borrowers.pop() if len(borrowers) == 1 else ""
        first = bool(borrower) and message.kind == "fired" and not self._told_of(message, borrower)
        over = [event for event in events if event.kind in ("resolved", "dropped")]
        reply_to = self._announced(message, over[-1]) if message.kind == "resolved" and over else ""
        rule = next((event.rule for event in events if event.severity == message.severity), "")
        return Company(reply_to, borrower, first, rule)

    def _told_of(self, message: Message, borrower: str) -> bool:
        sql = """
            SELECT 1 FROM events e JOIN decisions d ON d.event_id = e.id JOIN outbox o ON o.id = d.message_id
            WHERE (e.subject = ? OR (e.subject >= ? AND e.subject < ?)) AND d.send = 1 AND o.state = 'sent'
            AND o.channel = ? AND o.destination = ? LIMIT 1"""
        below = (f"{borrower}/", f"{borrower}0")  # "0" follows "/": every facility of it
        return bool(self.rows(sql, (borrower, *below, message.channel, message.to)))

    def _announced(self, message: Message, over: Event) -> str:
        """The channel's ids of the newest accepted message that said this alert fires, in the same place."""
        sql = """
            SELECT o.channel_message_id AS ids FROM events e
            JOIN decisions d ON d.event_id = e.id AND d.route = ? AND d.send = 1
            JOIN outbox o ON o.id = d.message_id OR o.repeat_of = d.message_id
            WHERE e.rule = ? AND e.subject = ? AND e.kind = 'fired' AND e.at <= ? AND o.state = 'sent'
            AND o.channel = ? AND o.destination = ? AND o.channel_message_id != ''
            ORDER BY e.at DESC, o.seq DESC LIMIT 1"""
        values = (message.route, over.rule, over.subject, iso(over.at), message.channel, message.to)
        found = self.rows(sql, values)
        return str(found[0]["ids"]) if found else ""

    def _events_of(self, messages: Iterable[Message]) -> dict[str, Event]:
        ids = [event_id for message in messages for event_id in message.event_ids]
        sql = "SELECT * FROM events WHERE id IN (SELECT value FROM json_each(?)) ORDER BY at, rowid"
        return {row["id"]: event_of(row) for row in self.rows(sql, (json.dumps(ids),))}

    def lost_events(self) -> list[str]:
        """Events decided to be said that no accepted message of their route contains and that are not on their way."""
        sql = """
            SELECT DISTINCT d.event_id AS event_id FROM decisions d WHERE d.send = 1 AND NOT EXISTS (
                SELECT 1 FROM outbox o, json_each(o.event_ids) e WHERE o.route = d.route AND e.value = d.event_id
                AND o.state IN ('sent', 'queued', 'retry', 'sending'))
            AND NOT EXISTS (SELECT 1 FROM waiting w WHERE w.event_id = d.event_id AND w.route = d.route)"""
        return [row["event_id"] for row in self.rows(sql)]

    def _mark(self, row: OutboxRow, state: str, **columns: str) -> bool:
        names = ", ".join(f"{name} = ?" for name in ("state", *columns))
        sql = f"UPDATE outbox SET {names} WHERE id = ? AND state = 'sending' AND attempt_id = ?"  # noqa: S608 (own names)
        with self.transaction():
            return self.write(sql, (state, *kept(columns).values(), row.message.id, row.attempt_id)) == 1

    def _say_again(self, message: Message, now: datetime) -> None:
        if message.severity == "info":
            self._into_digest(message, now, "its message may not have arrived")
            return
        root = message.id.partition(".")[0]
        times = self.rows("SELECT COUNT(*) AS n FROM outbox WHERE repeat_of = ?", (root,))[0]["n"]
        again = replace(message, id=f"{root}.{times + 1}", possibly_repeated=True)
        wait = timedelta(seconds=backoff_s(root, times)) if times else timedelta()
        self.insert("outbox", [{**message_row(again, repeat_of=root), "next_at": iso(now + wait) if times else None}])

    def _into_digest(self, message: Message, now: datetime, reason: str) -> None:
        sql = """
            INSERT OR REPLACE INTO waiting (event_id, route, since, reason, undelivered)
            SELECT events.id, ?, ?, ?, 1 FROM json_each(?) JOIN events ON events.id = json_each.value"""
        self.write(sql, (message.route, iso(now), reason, json.dumps(message.event_ids)))
