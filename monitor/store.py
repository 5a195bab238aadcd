"""Canary's memory: one SQLite file, and the only code that touches it.

The journal is WAL with ``synchronous=FULL``. Every write goes through :meth:`Store.transaction`, which starts
``BEGIN IMMEDIATE``: a deferred transaction that reads first and writes after another process committed would fail at
once, whatever the busy timeout. One connection belongs to one thread: the writer has one, each reader opens its own by
:meth:`Store.reader`. What goes wrong becomes a StoreError with a sentence, and nothing is half written.

An evaluation is one transaction: its numbers, the new states, events, decisions and messages appear together or not
at all. What it holds of metrics is in :mod:`monitor.store_metrics`, of messages in :mod:`monitor.store_outbox`.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from monitor.migrations import MIGRATIONS, newest, statements
from monitor.model import AlertState, Decision, Event, FeedReport, Message, Numbers, Observation, Severity, StoreError
from monitor.plainsql import sqlite_utils
from monitor.routes import Overlay, Told, Waiting
from monitor.rows import (
    Latest,
    Row,
    decision_row,
    event_of,
    event_row,
    iso,
    message_row,
    notice_rows,
    observation_of,
    observation_row,
    overlay_of,
    overlay_row,
    report_row,
    state_of,
    state_row,
    tick_id,
    told_row,
    utc,
    waiting_row,
)
from monitor.store_edits import refresh_ended, refresh_said
from monitor.store_metrics import MetricTables
from monitor.store_outbox import OutboxTables
from monitor.store_post import OVER, post_of

BUSY_MS = 5000
#: the journal is brought into the database by tidy() after so many rows, by SQLite itself after so many pages of 4 kB
TIDY_AFTER, MOST_PAGES = 300, 4000
JOURNALS = ("-wal", "-shm")
#: raw answers of sources are kept newest first up to this size; a single longer one is cut
MAX_RAW_BYTES = 50_000_000
MAX_RAW_BODY = 2_000_000
_SENTENCES = (
    ("full", "there is no room left on the disk (or the size limit is reached)"),
    ("locked", "another process is writing to it and did not finish in time"),
    ("readonly", "it cannot be written to"),
    ("not a database", "it is not a Canary database"),
    ("malformed", "it is damaged; restore a backup"),
    ("unable to open", "it cannot be opened; does the folder exist and may this user write there?"),
    ("no such table", "it is not a Canary database"),
)


@dataclass(frozen=True, slots=True)
class TickRow:
    """One evaluation: the moment it judged, and the hashes of everything that decided its outcome."""

    eval_at: datetime
    book_hash: str = ""
    rules_hash: str = ""
    assumptions_hash: str = ""
    code_version: str = ""
    seed: int = 0
    duration_s: float | None = None
    recorded: bool = False


class Lock:
    """The right to be the one writer of a database: held as long as the process lives, released even by a crash.

    ``with Lock(path):`` raises StoreError naming the holder when another process has it.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._file: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"{self.path}: the lock cannot be made: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 100, 0).decode(errors="replace").strip() or "an unknown process"
            self._close()
            raise StoreError(f"{self.path}: another Canary is writing ({holder}); stop it first") from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        # the file stays: removing it would let a third process lock another file of the same name
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Store(MetricTables, OutboxTables):
    """The writer. Create it in the thread that will use it; close it, or use ``with``.

    ``committed`` is called after each evaluation that was written. A database of an earlier shape is copied beside
    itself before it is brought up to date, unless ``copy_first`` is False (it is a copy itself).
    """

    def __init__(self, path: Path | str, committed: Callable[[], object] | None = None, copy_first: bool = True):
        self.path, self._committed, self._copy_first = Path(path), committed, copy_first
        self.readonly = False
        self._tidied = 0
        self._states: dict[tuple[str, str], AlertState] | None = None
        self._latest: dict[tuple[str, str], Latest] = {}
        self._waiting_seen: set[tuple[str, str]] = set()
        with self._said():
            self._create_file()
            self.db = self._connect(sqlite3.connect(self.path, timeout=BUSY_MS / 1000))
            try:
                self._prepare()
            except BaseException:
                self.db.close()
                raise

    @classmethod
    def reader(cls, path: Path | str, older: bool = False) -> Store:
        """A read-only view of an existing database, for one thread. It never writes and never migrates.

        ``older``: an earlier shape will do, for whoever only checks or copies it.
        """
        self = cls.__new__(cls)
        self.path, self.readonly = Path(path), True
        self._states, self._latest, self._waiting_seen = None, {}, set()
        with self._said():
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            self.db = self._connect(sqlite3.connect(uri, uri=True, timeout=BUSY_MS / 1000))
            self.db.execute("PRAGMA query_only = ON")
            found = self._version()
            if found != newest() and not (older and 0 < found < newest()):
                self.db.close()
                raise StoreError(
                    f"{path}: its shape is number {found}, this version reads {newest()}; {_advice(found)}"
                )
        return self

    # ------------------------------------------------------------ opening
    def _create_file(self) -> None:
        """The file is made by us, for its owner only; SQLite gives its journal the same rights."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    def _connect(self, connection: sqlite3.Connection) -> sqlite_utils.Database:
        # plugins of sqlite-utils are other people's code in our process
        db = sqlite_utils.Database(connection, execute_plugins=False)
        db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        return db

    def _prepare(self) -> None:
        found = self._version()
        if found > newest():
            raise StoreError(
                f"{self.path}: its shape is number {found}, this version knows {newest()}; {_advice(found)}"
            )
        if found == 0 and self.db.table_names():
            raise StoreError(f"{self.path}: it is not a Canary database")
        if self.path.stat().st_uid == os.getuid():
            self.path.chmod(0o600)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(f"PRAGMA wal_autocheckpoint = {MOST_PAGES}")  # beyond what tidy() leaves
        if found < newest():
            if found and self._copy_first:
                self.backup(self._free_name(found))
            with self.transaction():
                for number, _, sql in MIGRATIONS:
                    if number > self._version():
                        for statement in statements(sql):
                            self.db.execute(statement)
                        self.db.execute(f"PRAGMA user_version = {number:d}")

    def _free_name(self, shape: int) -> Path:
        """Where the copy goes that is made before a new shape: a name that says which shape the copy has."""
        names = (f"{self.path.stem}-shape-{shape}" + (f"-{n}" if n > 1 else "") for n in count(1))
        paths = (self.path.with_name(f"{name}.sqlite") for name in names)
        return next(path for path in paths if not path.exists())

    def _version(self) -> int:
        return int(self.db.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the connection; an unfinished transaction is undone."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn what SQLite and the file system report into a sentence."""
        try:
            yield
        except sqlite3.ProgrammingError:
            # a mistake in this program (a connection used from another thread), not in the database
            raise
        except (sqlite3.Error, OSError) as error:
            text = str(error).lower()
            found = next((said for part, said in _SENTENCES if part in text), str(error))
            raise StoreError(f"{self.path}: {found}; nothing was written") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite_utils.Database]:
        """The one way to write: all of the block or nothing. A block inside a block belongs to the outer one."""
        with self._said():
            if self.db.conn.in_transaction:
                yield self.db
                return
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                # SQLite has already undone it after some errors, a full disk for one
                if self.db.conn.in_transaction:
                    self.db.execute("ROLLBACK")
                # an evaluation inside the block may have been remembered as written
                self._states, self._latest = None, {}
                raise

    def rows(self, sql: str, parameters: Sequence[object] | dict[str, object] = ()) -> list[Row]:
        """What a query finds."""
        with self._said():
            cursor = self.db.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def write(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """One statement inside a transaction; how many rows it touched."""
        self._in_transaction()
        count: int = self.db.execute(sql, parameters).rowcount
        return count

    def _in_transaction(self) -> None:
        if not self.db.conn.in_transaction:
            raise RuntimeError("a write outside Store.transaction() would be committed by itself")

    def insert(self, table: str, rows: Iterable[Mapping[str, object]], how: str = "INSERT") -> int:
        """Write many rows of one shape; returns how many went in."""
        rows = list(rows)
        if not rows:
            return 0
        self._in_transaction()
        names = list(rows[0])
        columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join(f":{name}" for name in names)
        before = self.db.conn.total_changes
        self.db.conn.executemany(f"{how} INTO {table} ({columns}) VALUES ({marks})", rows)
        return self.db.conn.total_changes - before

    # ------------------------------------------------------------ small things
    def retry_now(self) -> int:
        """Let every message that waits for its next attempt be tried at once: its time was told by another clock."""
        with self.transaction():
            return self.write("UPDATE outbox SET next_at = NULL WHERE next_at IS NOT NULL")

    def tidy(self) -> None:
        """Bring the journal into the database once enough was written: while nobody waits for a commit, unlike what
        SQLite does by itself in the middle of one. Nothing becomes less safe: the journal is on the disk already.
        """
        written = self.db.conn.total_changes
        if written - self._tidied >= TIDY_AFTER:
            self._tidied = written
            with self._said():
                self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def meta(self, name: str) -> str | None:
        """A remembered word, or None."""
        rows = self.rows("SELECT value FROM meta WHERE name = ?", (name,))
        return str(rows[0]["value"]) if rows else None

    def set_meta(self, name: str, value: str) -> None:
        """Remember a word."""
        with self.transaction():
            self.insert("meta", [{"name": name, "value": value}], "INSERT OR REPLACE")

    def backup(self, target: Path | str) -> None:
        """Copy the whole database, consistent, to a new file (0600) while others go on writing."""
        target = Path(target)
        if target.exists():
            raise StoreError(f"{target}: there is a file already; name a new one")
        with self._said():
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            copy = sqlite3.connect(target)
            try:
                self.db.conn.backup(copy)
            finally:
                copy.close()

    def check(self) -> str:
        """What SQLite says about the file's integrity; ``ok`` when nothing is wrong."""
        return "; ".join(str(row["integrity_check"]) for row in self.rows("PRAGMA integrity_check(5)"))

    def require_whole(self) -> None:
        """Raise StoreError when the file is damaged: nothing right can be told from a database that is not whole."""
        try:
            found = self.check()
        except StoreError:
            found = "it cannot be read to its end"
        if found != "ok":
            raise StoreError(f"{self.path}: it is damaged ({found[:200]}); nothing was written; see canary doctor")

    # ------------------------------------------------------------ what was seen
    def keep(self, observations: Iterable[Observation]) -> int:
        """Store what is news, and return how much was: a source repeating itself about a moment is not.

        A value that is not finite is refused with nothing written.
        """
        rows = []
        for seen in observations:
            if not math.isfinite(seen.value):
                raise StoreError(
                    f"{seen.series} of {seen.source}: {seen.value} is not a number to keep; nothing was written"
                )
            rows.append(observation_row(seen))
        sql = """
            INSERT INTO observations (series, subject, observed_at, known_at, value, unit, source, known_basis,
                                      restated, quality, note)
            SELECT :series, :subject, :observed_at, :known_at, :value, :unit, :source, :known_basis, :restated,
                   :quality, :note
            WHERE :value IS NOT (SELECT value FROM observations WHERE series = :series AND subject = :subject
                AND observed_at = :observed_at AND source = :source AND known_at <= :known_at
                ORDER BY known_at DESC LIMIT 1)
            ON CONFLICT DO NOTHING"""
        with self.transaction() as db:
            before = db.conn.total_changes
            db.conn.executemany(sql, rows)
            return db.conn.total_changes - before

    def observations(
        self, known_by: datetime, since: datetime | None = None, series: Sequence[str] | None = None
    ) -> list[Observation]:
        """What was known by a moment, observed at or after ``since``, in order of series, subject and both times."""
        sql, values = "SELECT * FROM observations WHERE known_at <= ?", [iso(known_by)]
        if since is not None:
            sql, values = sql + " AND observed_at >= ?", [*values, iso(since)]
        if series is not None:
            sql, values = sql + f" AND series IN ({', '.join('?' * len(series))})", [*values, *series]
        rows = self.rows(sql + " ORDER BY series, subject, observed_at, known_at, source", values)
        return [observation_of(row) for row in rows]

    def thinned_observations(
        self, known_by: datetime, since: datetime, full_since: datetime, series: Sequence[str]
    ) -> list[Observation]:
        """Like ``observations``, but of the days before ``full_since`` only the last of each day and subject."""
        sql = """
            SELECT * FROM observations
            WHERE series IN (SELECT value FROM json_each(:series)) AND known_at <= :known_by AND observed_at >= :full
               OR id IN (SELECT MAX(id) FROM observations
                         WHERE series IN (SELECT value FROM json_each(:series)) AND known_at <= :known_by
                           AND observed_at >= :since AND observed_at < :full
                         GROUP BY series, subject, substr(observed_at, 1, 10))
            ORDER BY series, subject, observed_at, known_at, source"""
        moments = {"known_by": iso(known_by), "since": iso(since), "full": iso(full_since)}
        return [observation_of(row) for row in self.rows(sql, {"series": json.dumps(series), **moments})]

    def has_live_observation(self) -> bool:
        """Whether this database ever saw a live price: decides whether recorded numbers may still stand in."""
        return bool(self.rows("SELECT 1 FROM observations WHERE known_basis = 'live' LIMIT 1"))

    def keep_raw(self, fetched_at: datetime, answers: Iterable[tuple[str, str, bytes]]) -> None:
        """Keep what sources answered in one fetch, so that a number can be traced; the oldest give way.

        ``answers``: (source, address, body). All of them are one write to the disk, and room is made once.
        """
        rows = [
            {"feed": feed, "fetched_at": iso(fetched_at), "what": what, "bytes": len(cut), "body": cut}
            for feed, what, body in answers
            for cut in (body[:MAX_RAW_BODY],)
        ]
        with self.transaction() as db:
            self.insert("raw", rows)
            db.execute(
                "DELETE FROM raw WHERE id <= (SELECT id FROM (SELECT id, SUM(bytes) OVER (ORDER BY id DESC) AS total"
                " FROM raw) WHERE total > ? LIMIT 1)",
                [MAX_RAW_BYTES],
            )

    def raw(self, feed: str, limit: int = 20) -> list[tuple[datetime, str, bytes]]:
        """The newest answers of one source: (when, what was asked, the answer)."""
        rows = self.rows("SELECT * FROM raw WHERE feed = ? ORDER BY id DESC LIMIT ?", (feed, limit))
        return [(utc(row["fetched_at"]), row["what"], row["body"]) for row in rows]

    def raw_at(self, fetched_at: datetime) -> list[tuple[str, str, int]]:
        """What sources answered in one fetch and is still kept: (source, address, bytes)."""
        rows = self.rows("SELECT feed, what, bytes FROM raw WHERE fetched_at = ? ORDER BY id", (iso(fetched_at),))
        return [(row["feed"], row["what"], row["bytes"]) for row in rows]

    # ------------------------------------------------------------ one evaluation
    def commit_tick(
        self,
        tick: TickRow,
        *,
        numbers: Numbers | None = None,
        states: Mapping[tuple[str, str], AlertState] | None = None,
        events: Sequence[Event] = (),
        decisions: Sequence[Decision] = (),
        messages: Sequence[Message] = (),
        waiting: Sequence[Waiting] | None = None,
        told: Sequence[Told] = (),
        feed_reports: Sequence[FeedReport] = (),
        notices: Mapping[str, object] | None = None,
    ) -> None:
        """Write everything one evaluation decided, in one transaction.

        ``states`` are all of them (None: unchanged); ``waiting`` replaces what :meth:`waiting` gave, and leaves alone
        what was added since; ``notices``: message id -> the numbers it was written from. The same evaluation committed
        twice leaves what committing it once leaves.
        """
        number = tick_id(tick.eval_at)
        with self.transaction():
            newest_tick = self.rows("SELECT MAX(id) AS n FROM ticks")[0]["n"]
            # what is remembered are the values of the newest evaluation; an older one is compared with its own past
            onward = newest_tick is None or number > newest_tick
            latest = dict(self._latest) if onward else {}
            row = {**asdict(tick), "id": number, "eval_at": iso(tick.eval_at), "recorded": int(tick.recorded)}
            self.insert("ticks", [row], "INSERT OR REPLACE")
            self.insert("feed_reports", (report_row(number, r) for r in feed_reports), "INSERT OR REPLACE")
            if numbers is not None:
                self.write_numbers(number, numbers, latest)
            if states is not None:
                self._write_states(states)
            self.insert("events", map(event_row, events), "INSERT OR IGNORE")
            self.insert("decisions", (decision_row(number, d) for d in decisions), "INSERT OR IGNORE")
            if waiting is not None:
                self._write_waiting(waiting)
            self.insert("told", map(told_row, told), "INSERT OR REPLACE")
            self._revive(messages)
            self.queue(messages)
            refresh_ended(self, events, tick.eval_at)
            self.insert("notices", notice_rows(tick.eval_at, notices or {}), "INSERT OR REPLACE")
        if self._committed is not None:
            self._committed()
        # only what was committed is remembered
        self._latest = latest if onward else {}
        if states is not None:
            self._states = dict(states)

    def _revive(self, messages: Sequence[Message]) -> None:
        """A digest of the same events has the same id: one that was given up before goes out again."""
        sql = """
            UPDATE outbox SET state = 'queued', title = :title, lines = :lines, created_at = :created_at, attempts = 0,
                   next_at = NULL, waits_since = NULL, error = ''
            WHERE id = :id AND state = 'expired'"""
        for message in messages:
            self.db.execute(sql, {k: v for k, v in message_row(message).items() if f":{k}" in sql})

    def last_tick(self) -> TickRow | None:
        """The newest evaluation."""
        rows = self.rows("SELECT * FROM ticks ORDER BY id DESC LIMIT 1")
        if not rows:
            return None
        row = {k: v for k, v in rows[0].items() if k != "id"}
        return TickRow(**{**row, "eval_at": utc(row["eval_at"]), "recorded": bool(row["recorded"])})

    def first_tick_at(self) -> datetime | None:
        """When the oldest evaluation on record was made: what it found true may have been true before."""
        rows = self.rows("SELECT eval_at FROM ticks ORDER BY id LIMIT 1")
        return utc(rows[0]["eval_at"]) if rows else None

    def feed_reports(self) -> list[FeedReport]:
        """What every source did when it was last asked."""
        rows = self.rows("SELECT *, MAX(tick) FROM feed_reports GROUP BY feed ORDER BY feed")
        return [
            FeedReport(
                feed=row["feed"],
                ok=bool(row["ok"]),
                reason=row["reason"],
                observations=row["observations"],
                seconds=row["seconds"],
                newest=None if row["newest"] is None else utc(row["newest"]),
            )
            for row in rows
        ]

    def thin(
        self,
        now: datetime,
        raw: timedelta = timedelta(days=7),
        hourly: timedelta = timedelta(days=90),
        events: timedelta = timedelta(days=400),
    ) -> int:
        """Give room back, so that a database that runs for years stays small. Returns how many metric rows went.

        All metrics and live prices are kept for ``raw``, one an hour for ``hourly``, then one a day for ever. Reports
        and raw answers of sources are kept for ``hourly``, what happened and what was said of it for ``events``: the
        newest event of each kind of an alert stays, and so does every message on its way.
        """
        quarter, year = now - hourly, now - events
        with self.transaction():
            self._thin_observations(now - raw, quarter, 13)
            self._thin_observations(quarter, None, 10)
            self.write("DELETE FROM feed_reports WHERE tick < ?", (tick_id(quarter),))
            self.write("DELETE FROM raw WHERE fetched_at < ?", (iso(quarter),))
            # single offers are what an index is made of, thousands a day; the index itself is kept
            stale = iso(now - max(hourly, timedelta(days=60)))
            self.write("DELETE FROM observations WHERE series GLOB 'offer_*' AND observed_at < ?", (stale,))
            self._forget(year, max(year, now - timedelta(days=30)))
            gone = self.thin_metrics(now, raw, hourly)
            # an evaluation that changed nothing is told apart from one that never was only while it is recent
            sql = """
                DELETE FROM ticks WHERE id < ? AND id NOT IN (SELECT tick FROM metric_values)
                AND id NOT IN (SELECT tick FROM decisions) AND id NOT IN (SELECT tick FROM feed_reports)"""
            self.write(sql, (tick_id(now - raw),))
        return gone

    def _forget(self, before: datetime, ended: datetime) -> None:
        """What was said before a moment; a decision goes with its message, or the message would look lost.

        What people said over alerts goes once it has ``ended`` so long ago, and what a route heard of alerts long over.
        """
        old = iso(before)
        self.write("DELETE FROM told WHERE firing = 0 AND at < ?", (iso(ended),))
        self.write("DELETE FROM overlays WHERE until IS NOT NULL AND until < ?", (iso(ended),))
        self.write("DELETE FROM decisions WHERE tick < ?", (tick_id(before),))
        over = ", ".join("?" * len(OVER))
        self.write(f"DELETE FROM outbox WHERE created_at < ? AND state IN ({over})", (old, *OVER))  # noqa: S608 (marks)
        self.write("DELETE FROM notices WHERE at < ?", (old,))
        sql = """
            DELETE FROM events WHERE at < ? AND id NOT IN (SELECT event_id FROM waiting) AND EXISTS (
                SELECT 1 FROM events later WHERE later.short_id = events.short_id AND later.kind = events.kind
                AND later.at > events.at)"""
        self.write(sql, (old,))

    def _thin_observations(self, before: datetime, since: datetime | None, prefix: int) -> None:
        """Keep the last live value of each source in each stretch that shares ``prefix`` characters of its time."""
        sql = """
            DELETE FROM observations WHERE known_basis = 'live' AND observed_at < ? AND observed_at >= ? AND EXISTS (
                SELECT 1 FROM observations later WHERE later.series = observations.series
                AND later.subject = observations.subject AND later.source = observations.source
                AND later.observed_at > observations.observed_at
                AND substr(later.observed_at, 1, ?) = substr(observations.observed_at, 1, ?))"""
        self.write(sql, (iso(before), "" if since is None else iso(since), prefix, prefix))

    # ------------------------------------------------------------ alerts
    def load_states(self) -> dict[tuple[str, str], AlertState]:
        """Every alert state, as it was committed."""
        rows = self.rows("SELECT * FROM alerts")
        self._states = {(row["rule"], row["subject"]): state_of(row) for row in rows}
        return dict(self._states)

    def _write_states(self, states: Mapping[tuple[str, str], AlertState]) -> None:
        old = self._states if self._states is not None else self.load_states()
        gone = [(rule, subject) for rule, subject in old if (rule, subject) not in states]
        self.db.conn.executemany("DELETE FROM alerts WHERE rule = ? AND subject = ?", gone)
        fresh = (state for key, state in states.items() if (was := old.get(key)) is not state and was != state)
        self.insert("alerts", map(state_row, fresh), "INSERT OR REPLACE")

    def events(
        self, since: datetime | None = None, rule: str = "", subject: str = "", short_id: str = "", limit: int = 1000
    ) -> list[Event]:
        """Events, newest first; empty names match all."""
        sql = """
            SELECT * FROM events WHERE at >= ? AND (? = '' OR rule = ?) AND (? = '' OR subject = ?)
            AND (? = '' OR short_id = ?) ORDER BY at DESC, rowid DESC LIMIT ?"""
        start = "" if since is None else iso(since)
        rows = self.rows(sql, (start, rule, rule, subject, subject, short_id, short_id, limit))
        return [event_of(row) for row in rows]

    def severities(self) -> dict[str, Severity]:
        """Every rule that ever said something, and how severe its newest event was."""
        return {
            row["rule"]: row["severity"]
            for row in self.rows("SELECT rule, severity, MAX(at) FROM events GROUP BY rule")
        }

    def decisions(self, event_id: str) -> list[Decision]:
        """What was decided about one event, oldest first."""
        rows = self.rows("SELECT * FROM decisions WHERE event_id = ? ORDER BY id", (event_id,))
        return [Decision(r["event_id"], r["route"], bool(r["send"]), r["reason"], r["message_id"]) for r in rows]

    def told(self) -> list[Told]:
        """What every route was last told about every alert."""
        rows = self.rows("SELECT * FROM told ORDER BY route, short_id")
        return [Told(r["route"], r["short_id"], bool(r["firing"]), utc(r["at"]), r["kind"]) for r in rows]

    def waiting(self) -> list[Waiting]:
        """Events that wait to be said, oldest first. The next :meth:`commit_tick` of this store replaces these only."""
        sql = """
            SELECT events.*, waiting.route AS _route, waiting.since AS _since, waiting.reason AS _reason, undelivered
            FROM waiting JOIN events ON events.id = event_id ORDER BY events.at, events.rowid"""
        found = []
        for row in self.rows(sql):
            extra = [row.pop(name) for name in ("_route", "_since", "_reason", "undelivered")]
            found.append(Waiting(event_of(row), extra[0], utc(extra[1]), extra[2], bool(extra[3])))
        self._waiting_seen = {(waits.event.id, waits.route) for waits in found}
        return found

    def _write_waiting(self, waiting: Sequence[Waiting]) -> None:
        kept = {(waits.event.id, waits.route) for waits in waiting}
        over = sorted(self._waiting_seen - kept)
        self.db.conn.executemany("DELETE FROM waiting WHERE event_id = ? AND route = ?", over)
        self.insert("waiting", map(waiting_row, waiting), "INSERT OR REPLACE")

    def overlays(self, now: datetime) -> list[Overlay]:
        """Acknowledgements and silences that have not ended."""
        return [overlay for _, overlay in self.numbered_overlays(now)]

    def numbered_overlays(self, now: datetime) -> list[tuple[int, Overlay]]:
        """The same, each with the number :meth:`end_overlay` takes."""
        rows = self.rows("SELECT * FROM overlays WHERE until IS NULL OR until > ? ORDER BY id", (iso(now),))
        return [(row["id"], overlay_of(row)) for row in rows]

    def end_overlay(self, number: int, now: datetime) -> bool:
        """End what was said under a number; False when it had ended."""
        return self._end_overlays("id = ?", (number,), now) == 1

    def add_overlay(self, overlay: Overlay) -> None:
        """Remember a person's word over alerts. A silence needs an end."""
        if overlay.kind == "silence" and overlay.until is None:
            raise StoreError("a silence needs an end; say until when")
        with self.transaction():
            self.insert("overlays", [overlay_row(overlay)])
            refresh_said(self, [overlay], overlay.at)

    def end_overlays(self, kind: str, now: datetime, short_id: str = "", rule: str = "", subject: str = "") -> int:
        """End what was said with exactly these names; returns how many ended."""
        named = "kind = ? AND short_id = ? AND rule = ? AND subject = ?"
        return self._end_overlays(named, (kind, short_id, rule, subject), now)

    def _end_overlays(self, which: str, values: Sequence[object], now: datetime) -> int:
        live = f"{which} AND (until IS NULL OR until > ?)"
        with self.transaction():
            over = [overlay_of(row) for row in self.rows(f"SELECT * FROM overlays WHERE {live}", (*values, iso(now)))]  # noqa: S608 (own words)
            self.write(f"UPDATE overlays SET until = ? WHERE {live}", (iso(now), *values, iso(now)))  # noqa: S608
            refresh_said(self, over, now)
        return len(over)

    def notice(self, message_id: str) -> object:
        """The numbers a message was written from, or None."""
        rows = self.rows("SELECT snapshot FROM notices WHERE message_id = ?", (message_id,))
        return json.loads(rows[0]["snapshot"]) if rows else None


def restore(source: Path | str, target: Path | str) -> tuple[TickRow | None, int]:
    """Put a backup in the place of a database nobody has open; a backup that is not whole is refused.

    One of an earlier shape is brought up to date on the way. Returns its newest evaluation and how many messages it
    would still send. The caller holds the :class:`Lock` of the target.
    """
    target = Path(target)
    fresh = target.with_name(target.name + ".restoring")
    _drop(fresh)
    try:
        with Store.reader(source, older=True) as backup:
            if (found := backup.check()) != "ok":
                raise StoreError(f"{source}: this backup is damaged ({found}); nothing was restored")
            backup.backup(fresh)
        with Store(fresh, copy_first=False) as store:
            last, unsent = store.last_tick(), sum(post_of([store]).waiting.values())
    except BaseException:
        _drop(fresh)
        raise
    for journal in JOURNALS:
        target.with_name(target.name + journal).unlink(missing_ok=True)
    os.replace(fresh, target)
    return last, unsent


def _drop(path: Path) -> None:
    for end in ("", *JOURNALS):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _advice(found: int) -> str:
    return "install a newer Canary" if found > newest() else "start Canary once as the writer to bring it up to date"
