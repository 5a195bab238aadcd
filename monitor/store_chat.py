"""What the chat leaves in the database: what buttons stand for, what was changed by whom, which groups moved.

Functions over an open database, on the thread that owns it. Strangers leave nothing here: a bot that anybody can write
to would otherwise fill the database with other people's ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.rows import Row, Tables, iso, utc

#: a button this old is forgotten; older ones than this answer that nothing is known of them
KEPT = timedelta(days=90)


# ---------------------------------------------------------------- what people changed
@dataclass(frozen=True, slots=True)
class Audit:
    """One change made by a person: what, where, and what stood there before. ``undone``: when it was taken back."""

    at: datetime
    who: str
    chat: str
    action: str
    target: str
    before: str = ""
    after: str = ""
    undone: datetime | None = None
    #: given by the database
    number: int = 0


def append_audit(store: Tables, entry: Audit) -> int:
    """Write one change down; its number."""
    columns = (iso(entry.at), entry.who, entry.chat, entry.action, entry.target, entry.before, entry.after)
    with store.transaction():
        store.write(
            'INSERT INTO audit (at, who, chat, action, target, "before", "after") VALUES (?, ?, ?, ?, ?, ?, ?)', columns
        )
        return int(store.rows("SELECT MAX(id) AS id FROM audit")[0]["id"])


def audits(store: Tables, action: str = "", target: str = "", limit: int = 50) -> list[Audit]:
    """The newest changes first: all, or those of one action or one target."""
    sql = "SELECT * FROM audit WHERE (? = '' OR action = ?) AND (? = '' OR target = ?) ORDER BY id DESC LIMIT ?"
    return [_audit_of(row) for row in store.rows(sql, (action, action, target, target, limit))]


def mark_undone(store: Tables, number: int, at: datetime) -> bool:
    """Note that a change was taken back; False when it already was or there is none."""
    with store.transaction():
        return store.write("UPDATE audit SET undone = ? WHERE id = ? AND undone IS NULL", (iso(at), number)) == 1


def _audit_of(row: Row) -> Audit:
    undone = utc(row["undone"]) if row["undone"] else None
    who, chat, action, target, before, after = (
        row[name] for name in ("who", "chat", "action", "target", "before", "after")
    )
    return Audit(utc(row["at"]), who, chat, action, target, before, after, undone, row["id"])


# ---------------------------------------------------------------- what buttons stand for
@dataclass(frozen=True, slots=True)
class Callback:
    """What one inline button does. Telegram knows only ``id``; ``version`` is the state its alerts were in.

    ``user``: the only person it works for, or None. ``used_at``: when it was carried out, by whom, with what outcome.
    """

    id: str
    at: datetime
    until: datetime
    action: str
    target: str
    version: str = ""
    user: int | None = None
    used_at: datetime | None = None
    used_by: str = ""
    outcome: str = ""


def keep_callbacks(store: Tables, callbacks: Sequence[Callback]) -> None:
    """Write down what some buttons do; those nobody can know any more are forgotten."""
    rows = [_callback_row(one) for one in callbacks]
    with store.transaction():
        store.insert("callbacks", rows)
        if callbacks:
            store.write("DELETE FROM callbacks WHERE at < ?", (iso(callbacks[0].at - KEPT),))


def callback(store: Tables, number: str) -> Callback | None:
    """What the button of this id does; None when nobody knows."""
    rows = store.rows("SELECT * FROM callbacks WHERE id = ?", (number,))
    return _callback_of(rows[0]) if rows else None


def use_callback(store: Tables, number: str, at: datetime, by: str) -> bool:
    """Claim the one use of a button; False when somebody was faster."""
    sql = "UPDATE callbacks SET used_at = ?, used_by = ? WHERE id = ? AND used_at IS NULL"
    with store.transaction():
        return store.write(sql, (iso(at), by, number)) == 1


def release_callback(store: Tables, number: str) -> None:
    """Give the one use of a button back: what it does was not done."""
    with store.transaction():
        store.write("UPDATE callbacks SET used_at = NULL, used_by = '' WHERE id = ?", (number,))


def note_outcome(store: Tables, number: str, outcome: str) -> None:
    """Keep what a button led to, for whoever taps it again."""
    with store.transaction():
        store.write("UPDATE callbacks SET outcome = ? WHERE id = ?", (outcome, number))


def _callback_row(one: Callback) -> dict[str, object]:
    return {
        "id": one.id,
        "at": iso(one.at),
        "until": iso(one.until),
        "action": one.action,
        "target": one.target,
        "version": one.version,
        "user": one.user,
    }


def _callback_of(row: Row) -> Callback:
    return Callback(
        row["id"],
        utc(row["at"]),
        utc(row["until"]),
        row["action"],
        row["target"],
        row["version"],
        row["user"],
        utc(row["used_at"]) if row["used_at"] else None,
        row["used_by"],
        row["outcome"],
    )


# ---------------------------------------------------------------- groups that became others
def note_moved(store: Tables, old: str, new: str, at: datetime) -> None:
    """A chat has a new id: Telegram gives one when a group becomes a supergroup."""
    sql = "INSERT OR REPLACE INTO moved_chats (old, new, at) VALUES (?, ?, ?)"
    with store.transaction():
        store.write(sql, (old, new, iso(at)))


def moved_chats(store: Tables) -> dict[str, str]:
    """Old id -> new id of every chat that moved."""
    return {row["old"]: row["new"] for row in store.rows("SELECT old, new FROM moved_chats")}
