"""Messages on their way: ``queued -> sending -> sent | retry | unknown | dead | expired``, and nothing is ever lost.

``sending`` is committed before the request leaves and ``sent`` only after the channel said yes, so whatever dies in
between leaves a row that says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from monitor.model import Message, OutboxRow
from monitor.routes import EXPIRES_S
from monitor.rows import Tables, iso, message_row, outbox_of, utc

#: per destination; beyond it the oldest messages that are not critical go into the next digest instead
MAX_QUEUED = 200


class OutboxTables(Tables):
    """The part of the store that holds messages."""

    def queue(self, messages: Iterable[Message]) -> int:
        """Put messages into the outbox outside an evaluation (a test, a notice); a known id is not queued again."""
        with self.transaction():
            return self.insert("outbox", map(message_row, messages), "INSERT OR IGNORE")

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
        sql = "SELECT * FROM outbox WHERE state IN ('queued', 'retry', 'sending') ORDER BY rank DESC, seq"
        held: set[tuple[str, str]] = set()
        found = []
        for row in map(outbox_of, self.rows(sql)):
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

    def mark_sent(self, row: OutboxRow, now: datetime, channel_message_id: str = "") -> bool:
        """The channel said yes. False when this attempt is no longer the current one."""
        return self._mark(row, "sent", sent_at=iso(now), channel_message_id=channel_message_id, error="")

    def mark_retry(self, row: OutboxRow, next_at: datetime, error: str) -> bool:
        """The channel could not take it now: try again from ``next_at``."""
        return self._mark(row, "retry", next_at=iso(next_at), error=error)

    def mark_dead(self, row: OutboxRow, error: str) -> bool:
        """The channel will never take it; the caller tells another channel."""
        return self._mark(row, "dead", error=error)

    def mark_unknown(self, row: OutboxRow, now: datetime, error: str) -> bool:
        """The request left and no answer came. The row stays as the record of it; what it said is said again.

        Critical and warning messages are queued again at once, marked possibly repeated; the events of an info message
        go into the next digest.
        """
        with self.transaction():
            if not self._mark(row, "unknown", error=error):
                return False
            self._say_again(row.message, now)
        return True

    def recover_after_restart(self, now: datetime) -> int:
        """Nobody knows what became of messages in flight when the process died; returns how many there were."""
        with self.transaction():
            flying = self.outbox("sending", limit=1_000_000)
            for row in flying:
                self.mark_unknown(row, now, "the process ended before an answer came")
        return len(flying)

    def expire(self, now: datetime) -> list[OutboxRow]:
        """Give up on messages nobody could deliver for too long, or that are too many for one destination.

        A message waits from the first time this is asked about it, by the clock of delivery: recorded evaluations have
        another. What is given up goes into the next digest, so nothing is lost; returns the rows given up.
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
                waiting[to] = waiting.get(to, 0) + 1
                age_s = (now - utc(row["waits_since"])).total_seconds()
                crowded = waiting[to] > MAX_QUEUED and message.severity != "critical"
                if age_s > EXPIRES_S[message.severity] or crowded:
                    self.write("UPDATE outbox SET state = 'expired' WHERE id = ?", (message.id,))
                    self._into_digest(message, now, "its message could not be delivered in time")
                    gone.append(replace(found, state="expired"))
        return gone

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
            return self.write(sql, (state, *columns.values(), row.message.id, row.attempt_id)) == 1

    def _say_again(self, message: Message, now: datetime) -> None:
        if message.severity == "info":
            self._into_digest(message, now, "its message may not have arrived")
            return
        root = message.id.partition(".")[0]
        times = self.rows("SELECT COUNT(*) AS n FROM outbox WHERE repeat_of = ?", (root,))[0]["n"]
        again = replace(message, id=f"{root}.{times + 1}", possibly_repeated=True)
        self.insert("outbox", [message_row(again, repeat_of=root)])

    def _into_digest(self, message: Message, now: datetime, reason: str) -> None:
        sql = """
            INSERT OR REPLACE INTO waiting (event_id, route, since, reason, undelivered)
            SELECT events.id, ?, ?, ?, 1 FROM json_each(?) JOIN events ON events.id = json_each.value"""
        self.write(sql, (message.route, iso(now), reason, json.dumps(message.event_ids)))
