"""Nouns to database rows and back, and what a table may ask of a store.

No database here: only :mod:`monitor.store` opens one.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np

from monitor.model import (
    AlertState,
    BoolArray,
    Decision,
    Event,
    FeedReport,
    FloatArray,
    Line,
    Message,
    Observation,
    OutboxRow,
)
from monitor.routes import RANK, Overlay, Told, Waiting

Row = dict[str, Any]


class Tables(ABC):
    """What the parts of the store build on; :class:`monitor.store.Store` provides it."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[object]:
        """All of the block or nothing."""

    @abstractmethod
    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """What a query finds."""

    @abstractmethod
    def write(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """One statement inside a transaction; how many rows it touched."""

    @abstractmethod
    def insert(self, table: str, rows: Iterable[Mapping[str, object]], how: str = "INSERT") -> int:
        """Write many rows of one shape; how many went in."""


_STATE_TIMES = ("active_at", "fired_at", "keep_since", "resolved_at", "nodata_since", "seen_at")


def iso(when: datetime) -> str:
    """A moment as text of one width, in UTC, so that text order is time order. Refuses a time without a zone.

    >>> iso(datetime(2026, 8, 12, 9, 30, tzinfo=UTC))
    '2026-08-12T09:30:00.000000Z'
    """
    if when.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored")
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def utc(text: str) -> datetime:
    """The moment written by :func:`iso`.

    >>> utc("2026-08-12T09:30:00.000000Z") == datetime(2026, 8, 12, 9, 30, tzinfo=UTC)
    True
    """
    return datetime.fromisoformat(text)


def tick_id(when: datetime) -> int:
    """The number of an evaluation: its moment in milliseconds, so that numbers are in time order."""
    return math.floor(when.timestamp() * 1000)


def kept(row: Row) -> Row:
    """The row without what no database can hold: halves of characters, as a feed or a book may escape them. An alert
    must not be lost because its words cannot be written.

    >>> kept({"reason": "half\\ud83d a bird", "flaps": 1})
    {'reason': 'half a bird', 'flaps': 1}
    """
    return {
        name: value.encode("utf-8", "ignore").decode() if isinstance(value, str) and not value.isascii() else value
        for name, value in row.items()
    }


def _optional(text: str | None) -> datetime | None:
    return None if text is None else utc(text)


# ---------------------------------------------------------------- alerts and events
def state_row(state: AlertState) -> Row:
    """One alert state as a row."""
    row: Row = {f.name: getattr(state, f.name) for f in fields(state)}
    for name in _STATE_TIMES:
        row[name] = None if row[name] is None else iso(row[name])
    return kept(row)


def state_of(row: Mapping[str, Any]) -> AlertState:
    """The alert state a row holds."""
    return AlertState(**{**row, **{name: _optional(row[name]) for name in _STATE_TIMES}})


def event_row(event: Event) -> Row:
    """One event as a row; its values are JSON, where a number nobody knows is null."""
    row: Row = {f.name: getattr(event, f.name) for f in fields(event)}
    # JSON knows no infinity: an unlimited number is written as the text "Infinity" and read back as one
    known = {k: None if v is None or math.isnan(v) else v for k, v in event.values.items()}
    values = {k: str(v) if v is not None and math.isinf(v) else v for k, v in known.items()}
    return kept({**row, "at": iso(event.at), "values": json.dumps(values, allow_nan=False)})


def event_of(row: Mapping[str, Any]) -> Event:
    """The event a row holds."""
    values = {k: None if v is None else float(v) for k, v in json.loads(row["values"]).items()}
    return Event(**{**row, "at": utc(row["at"]), "values": values})


def overlay_row(overlay: Overlay) -> Row:
    """One person's word over alerts as a row."""
    row: Row = {f.name: getattr(overlay, f.name) for f in fields(overlay)}
    return {**row, "at": iso(overlay.at), "until": None if overlay.until is None else iso(overlay.until)}


def overlay_of(row: Mapping[str, Any]) -> Overlay:
    """The overlay a row holds."""
    plain = {k: v for k, v in row.items() if k != "id"}
    return Overlay(**{**plain, "at": utc(row["at"]), "until": _optional(row["until"])})


def report_row(tick: int, report: FeedReport) -> Row:
    """What one source did, as a row of one evaluation."""
    return {
        "tick": tick,
        "feed": report.feed,
        "ok": int(report.ok),
        "reason": report.reason,
        "observations": report.observations,
        "seconds": report.seconds,
        "newest": None if report.newest is None else iso(report.newest),
    }


def decision_row(tick: int, decision: Decision) -> Row:
    """One decision as a row of one evaluation."""
    return kept(
        {
            "tick": tick,
            "event_id": decision.event_id,
            "route": decision.route,
            "send": int(decision.send),
            "reason": decision.reason,
            "message_id": decision.message_id,
        }
    )


def told_row(told: Told) -> Row:
    """What a route was told, as a row."""
    return {
        "route": told.route,
        "short_id": told.short_id,
        "firing": int(told.firing),
        "at": iso(told.at),
        "kind": told.kind,
    }


def waiting_row(waits: Waiting) -> Row:
    """An event that waits, as a row."""
    return {
        "event_id": waits.event.id,
        "route": waits.route,
        "since": iso(waits.since),
        "reason": waits.reason,
        "undelivered": int(waits.undelivered),
    }


def notice_rows(at: datetime, notices: Mapping[str, object]) -> list[Row]:
    """The numbers messages were written from, as rows."""
    return [{"message_id": k, "at": iso(at), "snapshot": json.dumps(v, allow_nan=False)} for k, v in notices.items()]


# ---------------------------------------------------------------- observations and messages
def observation_row(seen: Observation) -> Row:
    """One observation as a row."""
    row: Row = {f.name: getattr(seen, f.name) for f in fields(seen)}
    return {**row, "observed_at": iso(seen.observed_at), "known_at": iso(seen.known_at), "restated": int(seen.restated)}


def observation_of(row: Mapping[str, Any]) -> Observation:
    """The observation a row holds."""
    plain = {k: v for k, v in row.items() if k != "id"}
    times = {"observed_at": utc(row["observed_at"]), "known_at": utc(row["known_at"])}
    return Observation(**{**plain, **times, "restated": bool(row["restated"])})


def message_row(message: Message, repeat_of: str | None = None) -> Row:
    """One message as a fresh row of the outbox: queued, never tried."""
    return kept(
        {
            "id": message.id,
            "repeat_of": repeat_of,
            "route": message.route,
            "channel": message.channel,
            "destination": message.to,
            "kind": message.kind,
            "severity": message.severity,
            "rank": RANK[message.severity],
            "title": message.title,
            "lines": json.dumps([[line.label, line.text] for line in message.lines], ensure_ascii=False),
            "event_ids": json.dumps(list(message.event_ids)),
            "created_at": iso(message.created_at),
            "recorded": int(message.recorded),
            "possibly_repeated": int(message.possibly_repeated),
            "state": "queued",
            "attempts": 0,
            "attempt_id": "",
            "next_at": None,
            "sent_at": None,
            "channel_message_id": "",
            "error": "",
        }
    )


def outbox_of(row: Mapping[str, Any]) -> OutboxRow:
    """The message on its way a row holds."""
    message = Message(
        id=row["id"],
        route=row["route"],
        channel=row["channel"],
        to=row["destination"],
        kind=row["kind"],
        severity=row["severity"],
        title=row["title"],
        lines=tuple(Line(label, text) for label, text in json.loads(row["lines"])),
        created_at=utc(row["created_at"]),
        event_ids=tuple(json.loads(row["event_ids"])),
        recorded=bool(row["recorded"]),
        possibly_repeated=bool(row["possibly_repeated"]),
    )
    return OutboxRow(
        message=message,
        state=row["state"],
        attempts=row["attempts"],
        attempt_id=row["attempt_id"],
        next_at=_optional(row["next_at"]),
        sent_at=_optional(row["sent_at"]),
        channel_message_id=row["channel_message_id"],
        error=row["error"],
    )


# ---------------------------------------------------------------- metrics
@dataclass(frozen=True)
class Latest:
    """The last stored value of one metric under one scenario, by subject: series number, value, reason."""

    subjects: tuple[str, ...]
    series: tuple[int, ...]
    values: FloatArray
    reasons: tuple[str, ...]


def changed(old: FloatArray, new: FloatArray) -> BoolArray:
    """Where a number changed beyond 1e-9 (relative above 1), became known or became unknown.

    >>> nan = math.nan
    >>> changed(np.array([1.0, 1.0, nan, nan, np.inf]), np.array([1.0 + 1e-12, 1.1, nan, 2.0, np.inf])).tolist()
    [False, True, False, True, False]
    """
    with np.errstate(invalid="ignore"):
        near = np.abs(new - old) <= 1e-9 * np.maximum(1.0, np.abs(old))
    finite = np.isfinite(old) & np.isfinite(new)
    same = np.where(finite, near, (old == new) | (np.isnan(old) & np.isnan(new)))
    moved: BoolArray = ~same
    return moved
