"""The memory: one file, whole transactions, messages that are never lost, and a sentence for whatever goes wrong."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.migrations import MIGRATIONS, newest, statements
from monitor.model import (
    AlertState,
    Column,
    Decision,
    Event,
    FeedReport,
    Line,
    Message,
    Numbers,
    Observation,
    OutboxRow,
    Severity,
    StoreError,
)
from monitor.routing import Overlay, Told, Waiting
from monitor.rows import event_of, event_row, state_of, state_row
from monitor.store import MAX_RAW_BODY, Lock, Store, TickRow, restore
from monitor.store_outbox import MAX_QUEUED

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "canary.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


def observation(value: float, minute: int = 0, known: int | None = None, **more: object) -> Observation:
    """A price of Bitcoin observed at a minute, known then or later."""
    at = T0 + minute * MINUTE
    seen = Observation("btc_usd", value, "usd", at, at if known is None else T0 + known * MINUTE, "kraken")
    return replace(seen, **more)  # type: ignore[arg-type]


def event(name: str, severity: Severity = "critical", minute: int = 0) -> Event:
    """An alert that fired."""
    return Event(name, "R", name, severity, "fired", T0 + minute * MINUTE, "it fired", "ok", "firing", name, {"x": 1.5})


def message(name: str, severity: Severity = "critical", to: str = "desk", minute: int = 0) -> Message:
    """A message that says one event of the same name."""
    at = T0 + minute * MINUTE
    lines = (Line("LTV", "132% <b>& rising</b>"),)
    return Message(name, "desk", "console", to, "fired", severity, f"{name} title", lines, at, (name,))


def numbers(at: datetime, **values: float | None) -> Numbers:
    """One borrower metric `debt_usd`; None is unknown."""
    names = tuple(values)
    known = np.array([value is not None for value in values.values()])
    array = np.array([math.nan if value is None else value for value in values.values()])
    reasons = dict.fromkeys(np.flatnonzero(~known).tolist(), "debt_usd is not in the book")
    column = Column("debt_usd", "borrower", "usd", array, known, reasons)
    return Numbers(at, {"market": ("market",), "borrower": names, "facility": ()}, {"debt_usd": column})


def say(store: Store, *messages: Message) -> None:
    """Commit an evaluation that says these messages, with their events and decisions."""
    events = [event(m.id, m.severity) for m in messages]
    decisions = [Decision(m.id, m.route, True, "it fired", m.id) for m in messages]
    store.commit_tick(TickRow(T0), events=events, decisions=decisions, messages=messages)


def send(store: Store, row: OutboxRow, now: datetime = T0) -> OutboxRow:
    """Claim a message: its request is about to leave."""
    claimed = store.claim(row, f"{row.message.id}-{row.attempts + 1}")
    assert claimed is not None
    return claimed


# ---------------------------------------------------------------- the file
def test_the_file_is_for_its_owner_only(store: Store, path: Path) -> None:
    """The database, its journal and its folder give no rights to anybody else; an older wide file is narrowed."""
    store.set_meta("x", "y")
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        assert stat.S_IMODE(name.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    store.close()
    path.chmod(0o644)
    Store(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_journal_survives_power_loss(store: Store) -> None:
    """WAL with synchronous FULL, and a busy timeout."""
    pragma = {name: store.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert pragma == {"journal_mode": "wal", "synchronous": 2}
    assert store.db.execute("PRAGMA busy_timeout").fetchone()[0] == 5000


def test_migrations_are_numbered_and_run_once(store: Store, path: Path) -> None:
    """Numbers go up by one from one; opening again changes nothing."""
    assert [number for number, *_ in MIGRATIONS] == list(range(1, newest() + 1))
    store.set_meta("kept", "yes")
    store.close()
    with Store(path) as again:
        assert again.meta("kept") == "yes"
        assert again.meta("nothing") is None


def test_a_newer_database_is_refused_untouched(path: Path) -> None:
    """A database of a later version is neither read nor written, by writer or reader."""
    Store(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {newest() + 1}")
    for opening in (Store, Store.reader):
        with pytest.raises(StoreError, match="install a newer Canary"):
            opening(path)
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone()[0] == newest() + 1


@pytest.mark.parametrize("content", [b"this is not a database, it is a letter" * 40, None])
def test_another_file_is_refused_untouched(path: Path, content: bytes | None) -> None:
    """Text, or somebody else's database, is refused with a sentence and stays as it was, rights included."""
    path.parent.mkdir()
    if content is None:
        with sqlite3.connect(path) as raw:
            raw.execute("CREATE TABLE theirs (x)")
    else:
        path.write_bytes(content)
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a Canary database"):
        Store(path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (before, 0o644)


def test_a_reader_reads_and_never_writes(store: Store, path: Path) -> None:
    """A reader sees what was committed, in its own thread, while the writer is in a transaction; it cannot write."""
    store.keep([observation(1.0)])
    found: list[object] = []

    def read() -> None:
        with Store.reader(path) as reader:
            found.append(len(reader.observations(T0)))
            with pytest.raises(StoreError, match="cannot be written to"):
                reader.set_meta("x", "y")

    with store.transaction():
        store.insert("meta", [{"name": "a", "value": "b"}])
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert found == [1]
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.reader(path.with_name("absent.sqlite"))


def test_a_second_writer_waits_then_says_so(store: Store, path: Path) -> None:
    """Two writers at once: the later one fails with a sentence, and nothing of it is written."""
    other = Store(path)
    other.db.execute("PRAGMA busy_timeout = 50")
    with store.transaction(), pytest.raises(StoreError, match="another process is writing"):
        other.set_meta("x", "y")
    assert store.meta("x") is None
    other.close()


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    """The lock is held by one process, names it, and is free again after it."""
    lock = tmp_path / "state" / "canary.lock"
    with Lock(lock), pytest.raises(StoreError, match=f"another Canary is writing \\(process {os.getpid()}\\)"):
        Lock(lock).__enter__()
    with Lock(lock):
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_a_full_disk_writes_nothing(store: Store) -> None:
    """No room left: a sentence, nothing of the evaluation is there, and what was is still right."""
    store.commit_tick(TickRow(T0), states={("R", "a"): AlertState("R", "a", "firing")})
    pages = store.db.execute("PRAGMA page_count").fetchone()[0]
    store.db.execute(f"PRAGMA max_page_count = {pages}")
    many = {("R", f"s{i}"): AlertState("R", f"s{i}", "firing", reason="x" * 500) for i in range(500)}
    with pytest.raises(StoreError, match=r"no room left on the disk.*nothing was written"):
        store.commit_tick(TickRow(T0 + MINUTE), states=many, events=[event("e1")])
    store.db.execute("PRAGMA max_page_count = 1000000")
    assert list(store.load_states()) == [("R", "a")]
    assert store.events() == []
    assert store.last_tick() == TickRow(T0)
    store.commit_tick(TickRow(T0 + MINUTE), states=many)
    assert len(store.load_states()) == 500
    assert store.check() == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_rights_is_said(tmp_path: Path) -> None:
    """A folder this user may not write to is named."""
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=str(tmp_path)):
        Store(tmp_path / "state" / "canary.sqlite")


def test_a_write_outside_a_transaction_is_a_mistake(store: Store) -> None:
    """A write that would commit by itself is refused; a failed block leaves nothing."""
    with pytest.raises(RuntimeError, match="outside"):
        store.write("DELETE FROM meta")

    def fail() -> None:
        with store.transaction():
            store.insert("meta", [{"name": "a", "value": "b"}])
            store.set_meta("c", "d")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (store.meta("a"), store.meta("c")) == (None, None)


def test_another_threads_connection_is_refused(store: Store) -> None:
    """The writer's connection used from another thread is a mistake of the program and shows as one."""
    caught: list[BaseException] = []

    def use() -> None:
        try:
            store.meta("x")
        except sqlite3.ProgrammingError as error:
            caught.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(caught) == 1


def test_backup_is_a_whole_database(store: Store, tmp_path: Path) -> None:
    """A backup opens as a database of its own, for its owner only, and never overwrites a file."""
    store.keep([observation(1.0)])
    target = tmp_path / "copy.sqlite"
    store.backup(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with Store(target) as copy:
        assert copy.observations(T0) == [observation(1.0)]
        assert copy.check() == "ok"
    with pytest.raises(StoreError, match="a file already"):
        store.backup(target)


def test_restore_puts_a_whole_backup_back(store: Store, path: Path, tmp_path: Path) -> None:
    """A restored database holds what the backup held; a damaged backup changes nothing."""
    store.keep([observation(1.0)])
    copy = tmp_path / "copy.sqlite"
    store.backup(copy)
    store.keep([observation(2.0, 5)])
    store.close()
    torn = tmp_path / "torn.sqlite"
    torn.write_bytes(copy.read_bytes()[:-30_000])
    with pytest.raises(StoreError, match="damaged"):
        restore(torn, path)
    with Store(path) as still:
        assert len(still.observations(T0 + 9 * MINUTE)) == 2
    restore(copy, path)
    with Store(path) as back:
        assert back.observations(T0 + 9 * MINUTE) == [observation(1.0)]


# ---------------------------------------------------------------- what was seen
def test_observations_come_back_as_they_were(store: Store) -> None:
    """Every field survives, only what was known by then and observed since is given, in order."""
    seen = [
        observation(1.0, 0, note="a; note", restated=True, known_basis="assumed", quality="derived"),
        observation(2.0, 5, known=60),
        observation(3.0, 10),
    ]
    assert store.keep(seen) == 3
    assert store.observations(T0 + 60 * MINUTE) == seen
    assert store.observations(T0 + 30 * MINUTE) == [seen[0], seen[2]]
    assert store.observations(T0 + 60 * MINUTE, since=T0 + 5 * MINUTE) == seen[1:]
    assert store.observations(T0 + 60 * MINUTE, series=["eth_usd"]) == []


def test_a_source_repeating_itself_is_not_news(store: Store) -> None:
    """The same value of the same moment is kept once; a restatement, and its taking back, are kept."""
    assert store.keep([observation(1.0, 0, known=k) for k in (0, 1, 2)]) == 1
    assert store.keep([observation(1.5, 0, known=3)]) == 1
    assert store.keep([observation(1.0, 0, known=4), observation(1.0, 0, known=5)]) == 1
    assert [o.value for o in store.observations(T0 + 9 * MINUTE)] == [1.0, 1.5, 1.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_not_kept(store: Store, value: float) -> None:
    """One value that is not finite refuses the whole block, by name."""
    with pytest.raises(StoreError, match="btc_usd of kraken"):
        store.keep([observation(1.0), observation(value, 1)])
    assert store.observations(T0 + 9 * MINUTE) == []


def test_of_older_days_only_the_last_is_read(store: Store) -> None:
    """A year of quarter hours is not needed to compare days: in full from a moment on, before it one a day."""
    at = [T0 - timedelta(days=days, hours=hours) for days in (0, 1, 2, 3) for hours in (0, 1, 2)]
    rows = [replace(observation(10.0 + i), observed_at=when, known_at=when) for i, when in enumerate(at)]
    store.keep(rows[::-1])
    full = T0 - timedelta(days=1, hours=2)
    found = store.thinned_observations(T0, T0 - timedelta(days=30), full, [rows[0].series])
    days = {row.observed_at.date(): row for row in sorted(rows, key=lambda r: r.observed_at) if row.observed_at < full}
    assert set(found) == {*(row for row in rows if row.observed_at >= full), *days.values()}
    assert [row.observed_at for row in found] == sorted(row.observed_at for row in found)
    assert store.thinned_observations(T0, full, full, ["other"]) == []


def test_live_and_recorded(store: Store) -> None:
    """Recorded rows do not count as live."""
    store.keep([observation(1.0, known_basis="assumed")])
    assert not store.has_live_observation()
    store.keep([observation(1.0, 1)])
    assert store.has_live_observation()


def test_raw_answers_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest raw answers are kept up to the limit; a giant one is cut."""
    store.keep_raw(T0, [("vast", "giant", b"x" * (MAX_RAW_BODY + 10))])
    assert len(store.raw("vast")[0][2]) == MAX_RAW_BODY
    monkeypatch.setattr("monitor.store.MAX_RAW_BYTES", 2500)
    for i in range(5):
        store.keep_raw(T0 + i * MINUTE, [("kraken", f"call {i}", b"x" * 1000)])
    assert [what for _, what, _ in store.raw("kraken")] == ["call 4", "call 3"]
    assert store.raw("vast") == []


# ---------------------------------------------------------------- one evaluation
def test_an_evaluation_is_written_whole_and_once(store: Store) -> None:
    """Tick, reports, states, events, decisions, messages, told and waiting appear together; twice leaves the same."""
    tick = TickRow(T0, "b", "r", "a", "1.0", 7, 0.25, True)
    state = AlertState("R", "e1", "firing", active_at=T0, fired_at=T0, short_id="e1")
    waits = Waiting(event("e2", "info"), "desk", T0, "info waits")
    report = FeedReport("kraken", True, "", 3, 0.1, T0)
    for _ in range(2):
        store.commit_tick(
            tick,
            numbers=numbers(T0, acme=1e9),
            states={("R", "e1"): state},
            events=[event("e1"), event("e2", "info")],
            decisions=[Decision("e1", "desk", True, "it fired", "e1"), Decision("e2", "desk", False, "info waits")],
            messages=[message("e1")],
            waiting=[waits],
            told=[Told("desk", "e1", True, T0)],
            feed_reports=[report],
            notices={"e1": {"ltv": 1.32}},
        )
    assert store.last_tick() == tick
    assert store.load_states() == {("R", "e1"): state}
    assert {e.id for e in store.events()} == {"e1", "e2"}
    assert store.decisions("e1") == [Decision("e1", "desk", True, "it fired", "e1")]
    assert [row.message for row in store.outbox()] == [message("e1")]
    assert store.waiting() == [waits]
    assert store.told() == [Told("desk", "e1", True, T0)]
    assert store.feed_reports() == [report]
    assert store.notice("e1") == {"ltv": 1.32}
    assert store.notice("e2") is None
    assert store.rows("SELECT COUNT(*) AS n FROM decisions") == [{"n": 2}]


def test_only_changed_alert_rows_are_written(store: Store) -> None:
    """States that did not change are not written again; those that left are deleted."""
    states = {("R", f"s{i}"): AlertState("R", f"s{i}", "firing") for i in range(50)}
    store.commit_tick(TickRow(T0), states=states)
    before = store.db.conn.total_changes
    after = {**states, ("R", "s1"): AlertState("R", "s1", "recovering")}
    del after[("R", "s2")]
    store.commit_tick(TickRow(T0 + MINUTE), states=after)
    assert store.db.conn.total_changes - before <= 4
    assert store.load_states() == after


def test_waiting_added_in_between_is_not_swept_away(store: Store, path: Path) -> None:
    """An evaluation replaces the waiting it read; what a lost message added since stays."""
    say(store, message("e1", "info"))
    assert store.waiting() == []
    row = send(store, store.due(T0)[0])
    store.mark_unknown(row, T0, "no answer")
    store.commit_tick(TickRow(T0 + MINUTE), waiting=[])
    assert [waits.event.id for waits in store.waiting()] == ["e1"]
    store.commit_tick(TickRow(T0 + 2 * MINUTE), waiting=[])
    assert store.waiting() == []


def test_times_are_text_in_utc(store: Store) -> None:
    """Stored times are ISO text in UTC of one width; a time without a zone is refused."""
    berlin = datetime.fromisoformat("2026-03-02T13:00:00+01:00")
    store.commit_tick(TickRow(berlin))
    assert store.rows("SELECT eval_at FROM ticks") == [{"eval_at": "2026-03-02T12:00:00.000000Z"}]
    with pytest.raises(ValueError, match="without a zone"):
        store.commit_tick(TickRow(datetime(2026, 1, 1)))


moments = st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        AlertState,
        words,
        words,
        st.sampled_from(["ok", "pending", "firing", "recovering", "nodata", "error"]),
        moments,
        moments,
        moments,
        moments,
        st.none() | st.sampled_from(["ok", "pending", "firing"]),
        moments,
        st.floats(0, 1e9),
        moments,
        st.integers(0, 1000),
        words,
        words,
        words,
    )
)
def test_a_state_survives_the_database(state: AlertState) -> None:
    """Every field of a state comes back exactly, whatever it holds."""
    raw = sqlite3.connect(":memory:")
    row = state_row(state)
    raw.execute("CREATE TABLE a (" + ", ".join(f'"{name}"' for name in row) + ")")
    raw.execute(f"INSERT INTO a VALUES ({', '.join('?' * len(row))})", list(row.values()))
    back = dict(zip(row, raw.execute("SELECT * FROM a").fetchone(), strict=True))
    raw.close()
    assert state_of(back) == state


def test_event_values_survive() -> None:
    """Numbers of an event come back: unknown as None, unlimited as infinity."""
    said = replace(event("e"), values={"a": None, "b": math.inf, "c": -math.inf, "d": 1.5}, because="the book changed")
    assert event_of(event_row(said)) == said


def test_events_are_found_by_alert(store: Store) -> None:
    """Events come newest first, by rule, subject, short id and time."""
    store.commit_tick(TickRow(T0), events=[event(f"e{i}", minute=i) for i in range(5)])
    assert [e.id for e in store.events(limit=2)] == ["e4", "e3"]
    assert [e.id for e in store.events(subject="e1")] == ["e1"]
    assert [e.id for e in store.events(since=T0 + 3 * MINUTE, rule="R")] == ["e4", "e3"]
    assert [e.id for e in store.events(short_id="e2")] == ["e2"]


def test_overlays_end(store: Store) -> None:
    """Silences need an end and end; an acknowledgement lasts until it is taken back."""
    with pytest.raises(StoreError, match="needs an end"):
        store.add_overlay(Overlay("silence", T0))
    silence = Overlay("silence", T0, until=T0 + 60 * MINUTE, rule="R", by="ann", note="known")
    ack = Overlay("ack", T0, short_id="abcd")
    store.add_overlay(silence)
    store.add_overlay(ack)
    assert store.overlays(T0) == [silence, ack]
    assert store.overlays(T0 + 60 * MINUTE) == [ack]
    assert store.end_overlays("ack", T0, short_id="abcd") == 1
    assert store.end_overlays("ack", T0 + MINUTE, short_id="abcd") == 0
    assert store.overlays(T0 + 60 * MINUTE) == []


# ---------------------------------------------------------------- metrics
def metric_rows(store: Store) -> list[tuple[str, float | None, str | None]]:
    rows = store.rows("SELECT * FROM metrics ORDER BY eval_at, subject")
    return [(row["subject"], row["value"], row["reason"]) for row in rows]


def test_a_metric_is_a_row_only_when_it_changed(store: Store, path: Path) -> None:
    """Beyond 1e-9, known or not, and why not: a row; anything else none, also after a restart."""
    ticks = [
        {"acme": 1e9, "bolt": None},
        {"acme": 1e9 * (1 + 1e-12), "bolt": None},
        {"acme": 2e9, "bolt": None},
        {"acme": None, "bolt": math.inf},
    ]
    for i, values in enumerate(ticks):
        store.commit_tick(TickRow(T0 + i * MINUTE), numbers=numbers(T0 + i * MINUTE, **values))
    missing = "debt_usd is not in the book"
    expected = [
        *[("acme", 1e9, None), ("bolt", None, missing)],
        ("acme", 2e9, None),
        *[("acme", None, missing), ("bolt", math.inf, None)],
    ]
    assert metric_rows(store) == expected
    with Store(path) as again:
        again.commit_tick(TickRow(T0 + 5 * MINUTE), numbers=numbers(T0, **ticks[-1]))
        assert metric_rows(again) == expected
        # a borrower that leaves becomes unknown, one that comes has its first row
        again.commit_tick(TickRow(T0 + 6 * MINUTE), numbers=numbers(T0, acme=None, core=3.0))
        assert metric_rows(again)[len(expected) :] == [("bolt", None, "no longer in the book"), ("core", 3.0, None)]
        again.commit_tick(TickRow(T0 + 7 * MINUTE), numbers=numbers(T0, acme=None, core=3.0, dune=4.0))
        assert metric_rows(again)[len(expected) + 2 :] == [("dune", 4.0, None)]


def test_a_failed_evaluation_forgets_what_it_would_have_written(store: Store) -> None:
    """Numbers of an evaluation that was not committed are written by the next one."""
    bad = replace(message("e1"), created_at=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="without a zone"):
        store.commit_tick(TickRow(T0), numbers=numbers(T0, acme=1.0), messages=[bad])
    store.commit_tick(TickRow(T0 + MINUTE), numbers=numbers(T0, acme=1.0))
    assert metric_rows(store) == [("acme", 1.0, None)]


def test_an_undone_block_is_not_remembered(store: Store) -> None:
    """Evaluations inside a larger block that is undone are written again by the next one: states and numbers."""
    state = {("R", "a"): AlertState("R", "a", "firing")}

    def fail() -> None:
        with store.transaction():
            store.commit_tick(TickRow(T0), numbers=numbers(T0, acme=1.0), states=state)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    store.commit_tick(TickRow(T0 + MINUTE), numbers=numbers(T0, acme=1.0), states=state)
    assert metric_rows(store) == [("acme", 1.0, None)]
    assert store.load_states() == state


def test_the_past_may_be_lived_through_again(store: Store) -> None:
    """The same evaluations after an edit: each is compared with its own past, so history is that of the last run."""
    for values in ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [1.0, 2.0, 2.0]):
        for i, value in enumerate(values):
            store.commit_tick(TickRow(T0 + i * MINUTE), numbers=numbers(T0, acme=value))
        past = store.metric_history("debt_usd", ["acme"])
        assert past is not None
        assert [past.at((T0 + i * MINUTE).timestamp())[0][0] for i in range(3)] == values


def test_scenarios_are_kept_apart(store: Store) -> None:
    """The same metric under a scenario is a series of its own."""
    now = numbers(T0, acme=1.0)
    stressed = numbers(T0, acme=9.0).columns
    store.commit_tick(TickRow(T0), numbers=replace(now, scenarios={"crypto_winter": stressed}))
    past = store.metric_history("debt_usd", ["acme"], "crypto_winter")
    assert past is not None
    assert past.at(T0.timestamp())[0].tolist() == [9.0]


def test_history_is_a_step_function(store: Store) -> None:
    """A value holds until the next change; unknown stays unknown; nothing is known before the first row."""
    for i, value in enumerate([1.0, None, 3.0]):
        store.commit_tick(TickRow(T0 + 10 * i * MINUTE), numbers=numbers(T0, acme=value))
    past = store.metric_history("debt_usd", ["nobody", "acme"])
    assert past is not None
    assert past.unit == "usd"
    start = T0.timestamp()
    found = [past.at(start + minutes * 60)[0][1] for minutes in (-1, 0, 9, 10, 19, 20, 500)]
    np.testing.assert_array_equal(found, [math.nan, 1.0, 1.0, math.nan, math.nan, 3.0, 3.0])
    assert past.at(start)[1].tolist() == [False, True]
    times, values = past.window(1, start + 300, start + 1200)
    np.testing.assert_array_equal(times - start, [300, 600, 1200])
    np.testing.assert_array_equal(values, [1.0, math.nan, 3.0])
    assert store.metric_history("other", ["acme"]) is None
    recent = store.metric_history("debt_usd", ["acme"], since=T0 + 15 * MINUTE)
    assert recent is not None
    assert [time - start for time in recent.times[0]] == [600, 1200]


def test_thinning_keeps_the_end_of_every_hour_and_day(store: Store) -> None:
    """All of a week, the last of each hour for 90 days, the last of each day before; what a bucket ended with stays."""
    ages = {"new": 2, "hourly": 20, "daily": 200}
    for offset in ages.values():
        for hour in range(3):
            for quarter in range(4):
                at = T0 - timedelta(days=offset) + timedelta(hours=hour, minutes=15 * quarter)
                store.commit_tick(TickRow(at), numbers=numbers(at, acme=float(offset * 100 + hour * 4 + quarter)))
    history = store.metric_history("debt_usd", ["acme"])
    gone = store.thin(T0)
    after = store.metric_history("debt_usd", ["acme"])
    assert history is not None
    assert after is not None
    assert (gone, len(after.times[0])) == (9 + 11, 36 - 20)
    for offset in ages.values():
        last = (T0 - timedelta(days=offset) + timedelta(hours=2, minutes=59)).timestamp()
        assert after.at(last)[0].tolist() == history.at(last)[0].tolist()
    assert store.thin(T0) == 0


def test_thinning_keeps_the_last_price_of_every_hour_and_day(store: Store) -> None:
    """Live prices get coarser with age like metrics do; recorded ones and other sources are not touched."""
    for days in (2, 20, 200):
        for quarter in range(8):
            at = (T0 - timedelta(days=days)).replace(hour=10, minute=0) + timedelta(minutes=15 * quarter)
            for source, basis in (("A", "live"), ("B", "live"), ("C", "assumed")):
                store.keep([Observation("btc_usd", 1000.0 + quarter, "usd", at, at, source, known_basis=basis)])
    store.thin(T0)
    left = [(seen.source, (T0 - seen.observed_at).days, seen.value) for seen in store.observations(T0)]
    assert [value for source, days, value in left if source == "A" and days < 7] == [1000.0 + q for q in range(8)]
    assert [value for source, days, value in left if source == "B" and 7 < days < 90] == [1003.0, 1007.0]
    assert [value for source, days, value in left if source == "A" and days > 90] == [1007.0]
    assert sum(source == "C" for source, _, _ in left) == 24


# ---------------------------------------------------------------- messages
def test_due_is_worst_first_and_keeps_each_destinations_order(store: Store) -> None:
    """Critical before warning before info; within one destination in the order made."""
    say(
        store,
        message("i", "info"),
        message("w1", "warning"),
        message("c", "critical", "other"),
        message("w2", "warning"),
    )
    assert [row.message.id for row in store.due(T0)] == ["c", "w1", "w2", "i"]


def test_a_message_that_waits_holds_back_what_is_behind_it(store: Store) -> None:
    """A retry keeps its place: nothing overtakes but what is more severe; other destinations are not held."""
    say(store, message("w1", "warning"), message("w2", "warning"), message("w3", "warning", "other"))
    row = send(store, store.due(T0)[0])
    assert [r.message.id for r in store.due(T0)] == ["w3"]
    assert store.mark_retry(row, T0 + 5 * MINUTE, "429")
    assert [r.message.id for r in store.due(T0)] == ["w3"]
    store.queue([message("c", "critical")])
    assert [r.message.id for r in store.due(T0)] == ["c", "w3"]
    later = store.due(T0 + 5 * MINUTE)
    assert [(r.message.id, r.attempts) for r in later] == [("c", 0), ("w1", 1), ("w2", 0), ("w3", 0)]


def test_a_message_is_claimed_once(store: Store) -> None:
    """Two claims: one gets it. Answers to another attempt change nothing. Sent is sent."""
    say(store, message("e1"))
    row = store.due(T0)[0]
    claimed = send(store, row)
    assert store.claim(row, "again") is None
    assert not store.mark_sent(replace(claimed, attempt_id="old"), T0)
    assert store.mark_sent(claimed, T0 + MINUTE, "tg-17")
    assert not store.mark_retry(claimed, T0, "late")
    sent = store.outbox("sent")[0]
    assert (sent.channel_message_id, sent.sent_at, sent.attempts) == ("tg-17", T0 + MINUTE, 1)
    assert store.due(T0 + 60 * MINUTE) == []
    assert store.lost_events() == []


def test_unknown_is_said_again_marked(store: Store) -> None:
    """A critical message without an answer stays as unknown and is queued again, marked, each time with a longer wait:
    a destination that never answers must not be asked without end."""
    say(store, message("e1"))
    now, waits = T0, []
    for expected in ("e1", "e1.1", "e1.2", "e1.3"):
        at = now
        while not store.due(at):
            at += timedelta(seconds=1)
        waits.append((at - now).total_seconds())
        row, now = store.due(at)[0], at
        assert (row.message.id, row.message.possibly_repeated) == (expected, expected != "e1")
        assert store.mark_unknown(send(store, row), now, "no answer")
    assert waits[:2] == [0, 0]
    assert 4 <= waits[2] < waits[3]
    assert len(store.outbox("unknown")) == 4
    store.mark_sent(send(store, store.due(now + timedelta(hours=1))[0]), T0)
    assert store.lost_events() == []


def test_a_repetition_keeps_the_place_of_what_it_repeats(store: Store) -> None:
    """What came after a message of unknown outcome is not read before its repetition."""
    say(store, message("e1"), message("e2"), message("e3"))
    store.mark_unknown(send(store, store.due(T0)[0]), T0, "no answer")
    assert [row.message.id for row in store.due(T0)] == ["e1.1", "e2", "e3"]


def test_unknown_info_goes_into_the_next_digest(store: Store) -> None:
    """An info message without an answer is not repeated: its events wait for the digest."""
    say(store, message("e1", "info"))
    store.mark_unknown(send(store, store.due(T0)[0]), T0 + MINUTE, "no answer")
    assert store.due(T0 + 60 * MINUTE) == []
    waits = store.waiting()[0]
    assert (waits.event.id, waits.route, waits.since, waits.undelivered) == ("e1", "desk", T0 + MINUTE, True)
    assert store.lost_events() == []


def test_a_digest_nobody_can_vouch_for_is_said_in_the_next_one(store: Store) -> None:
    """The same events in the next digest make a message of the same name: it is queued all the same, until one arrives,
    and an evaluation committed twice still says it once."""
    digest = replace(message("d", "info"), kind="digest")
    for day, (name, fate) in enumerate((("d", "unknown"), ("d.1", "expired"), ("d.2", "sent"))):
        for _ in range(2):
            say(store, digest)
        (row,) = store.due(T0 + timedelta(days=3 * day))
        assert (row.message.id, row.message.possibly_repeated) == (name, day > 0)
        if fate == "expired":
            store.expire(T0)
            store.expire(T0 + timedelta(days=2))
        elif fate == "unknown":
            store.mark_unknown(send(store, row), T0, "no answer")
        else:
            store.mark_sent(send(store, row), T0)
    say(store, digest)
    assert [(row.message.id, row.state) for row in store.outbox()] == [
        ("d", "unknown"),
        ("d.1", "expired"),
        ("d.2", "sent"),
    ]
    assert store.lost_events() == []


def test_dead_is_counted_as_lost(store: Store) -> None:
    """What a channel will never take is lost on that route until another message holds it: it can be asked for."""
    say(store, message("e1"))
    assert store.mark_dead(send(store, store.due(T0)[0]), "bot was blocked")
    assert store.lost_events() == ["e1"]
    assert store.outbox("dead")[0].error == "bot was blocked"


def test_old_and_crowded_messages_go_into_the_digest(store: Store) -> None:
    """Undelivered for too long, or too many: given up, oldest first, never a critical one for being many; none lost."""
    say(store, message("old", "warning"), message("c"))
    for now in (T0, T0 + timedelta(days=2)):
        assert store.expire(now) == []
    assert [row.message.id for row in store.expire(T0 + timedelta(days=4))] == ["old"]
    say(store, *(message(f"c{i}", "critical", "busy") for i in range(2)))
    say(store, *(message(f"w{i}", "warning", "busy", minute=i) for i in range(MAX_QUEUED + 2)))
    gone = store.expire(T0 + timedelta(hours=5))
    assert sorted(row.message.id for row in gone) == ["w0", "w1"]
    assert {waits.event.id for waits in store.waiting()} == {"old", "w0", "w1"}
    assert store.lost_events() == []


def test_a_message_ages_by_the_clock_of_delivery(store: Store) -> None:
    """A message of an evaluation of long ago (recorded numbers) is not old when it is first to be sent."""
    say(store, message("e1", "info"))
    later = T0 + timedelta(days=400)
    assert store.expire(later) == []
    assert [row.message.id for row in store.due(later)] == ["e1"]
    assert [row.message.id for row in store.expire(later + timedelta(days=2))] == ["e1"]


def test_an_older_database_is_brought_up_to_date(path: Path) -> None:
    """A database of the first version is migrated with what it holds; a reader refuses it until then."""
    path.parent.mkdir()
    with sqlite3.connect(path) as raw:
        for statement in statements(MIGRATIONS[0][2]):
            raw.execute(statement)
        raw.execute("INSERT INTO meta VALUES ('kept', 'yes')")
        raw.execute("PRAGMA user_version = 1")
    with pytest.raises(StoreError, match="start Canary once as the writer"):
        Store.reader(path)
    with Store(path) as store:
        assert store.meta("kept") == "yes"
        say(store, message("e1"))
        assert store.expire(T0) == []


# ---------------------------------------------------------------- crashes
@pytest.mark.parametrize("point", ["queued", "claimed", "answered"])
def test_a_crash_at_any_point_loses_nothing(path: Path, point: str) -> None:
    """Gone before the claim, between claim and mark, or after: the event is said, at most one message twice."""
    store = Store(path)
    say(store, message("e1"), message("i1", "info"))
    arrived: list[str] = []
    for row in store.due(T0):
        if point != "queued":
            claimed = send(store, row)
            arrived.append(row.message.id)
            if point == "answered":
                store.mark_sent(claimed, T0)
    store.close()
    with Store(path) as again:
        flying = again.recover_after_restart(T0 + MINUTE)
        assert flying == {"queued": 0, "claimed": 2, "answered": 0}[point]
        for row in again.due(T0 + MINUTE):
            again.mark_sent(send(again, row), T0 + MINUTE)
            arrived.append(row.message.id)
        assert again.lost_events() == []
        assert again.recover_after_restart(T0 + MINUTE) == 0
        waiting = [waits.event.id for waits in again.waiting()]
    assert {name.partition(".")[0] for name in arrived} | set(waiting) == {"e1", "i1"}
    assert len(arrived) - 2 <= flying
    assert ("i1" in waiting) == (point == "claimed")


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from monitor.model import AlertState, Event
from monitor.store import Store, TickRow
store, at = Store(sys.argv[1]), datetime(2026, 3, 2, 13, tzinfo=UTC)
class Killing(dict):
    def items(self):
        store.db.execute("UPDATE meta SET value = 'half'")
        os.kill(os.getpid(), signal.SIGKILL)
store.commit_tick(TickRow(at), states=Killing())
"""


def test_killed_inside_a_transaction(path: Path) -> None:
    """A process killed while it writes an evaluation leaves the one before it, whole."""
    with Store(path) as store:
        store.set_meta("half", "whole")
        store.commit_tick(TickRow(T0), states={("R", "a"): AlertState("R", "a", "firing")})
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == -signal.SIGKILL
    with Store(path) as store:
        assert store.meta("half") == "whole"
        assert store.last_tick() == TickRow(T0)
        assert list(store.load_states()) == [("R", "a")]
        assert store.check() == "ok"


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["say", "info", "claim", "yes", "retry", "silence", "crash"]), max_size=25))
def test_nothing_is_ever_lost(tmp_path_factory: pytest.TempPathFactory, moves: list[str]) -> None:
    """Whatever happens, every event is delivered, on its way, or waits; only what was unknown is repeated."""
    path = tmp_path_factory.mktemp("outbox") / "c.sqlite"
    store = Store(path)
    made = 0
    flying: list[OutboxRow] = []
    for i, move in enumerate(moves):
        now = T0 + i * MINUTE
        if move in ("say", "info"):
            say(store, message(f"e{made}", "critical" if move == "say" else "info"))
            made += 1
        elif move == "claim":
            flying += [send(store, row) for row in store.due(now)[:1]]
        elif move == "crash":
            store.close()
            store, flying = Store(path), []
            store.recover_after_restart(now)
        elif flying:
            row = flying.pop()
            if move == "yes":
                store.mark_sent(row, now)
            elif move == "retry":
                store.mark_retry(row, now, "busy")
            else:
                store.mark_unknown(row, now, "no answer")
    assert store.lost_events() == []
    sent = [name for row in store.outbox("sent") for name in row.message.event_ids]
    unknown = [name for row in store.outbox("unknown") for name in row.message.event_ids]
    assert all(sent.count(name) <= 1 + unknown.count(name) for name in sent)
    store.close()
