"""What happens when things break: the process dies at every named point, the disk fills, clocks jump, others go silent.

Each test says the state afterwards, that no event is lost, and how it was reported. Processes really die: a forked
child is killed with SIGKILL when its database executes a named statement, or when its channel sends.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import CONFIG, RULE, lay_desk
from fake_telegram import TOKEN, FakeTelegram
from loopback import Loopback
from test_daemon import Notes

from monitor.backups import back_up, put_back
from monitor.config import Found, load_config
from monitor.daemon import Daemon
from monitor.health import POST_LIMIT_S, Health
from monitor.model import DeliveryError, Event, FeedReport, Message, Observation, StoreError
from monitor.picture import Board, picture_of, unwell
from monitor.postman import Postman
from monitor.store import Store
from monitor.store_post import post_of
from monitor.tick import Memory, TickResult, judge, tick
from monitor.world import World, build_world

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)
T1 = T0 + timedelta(minutes=15)
CHEAP = """- alert: CheapCoins
  expr: btc_usd < 60000
  each: market
  severity: critical
  summary: "bitcoin at {btc_usd:usd}"
"""


async def here(work):
    """The writer's work in this thread."""
    return work()


@dataclass
class Wire:
    """A channel at the wire: what it accepted is in a file, which survives the process that sent it."""

    path: Path
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None
    name: str = "console"

    async def send(self, message: Message) -> str:
        """Accept a message."""
        self.before()
        with self.path.open("a") as out:
            out.write(f"{message.id} {message.possibly_repeated} {' '.join(message.event_ids)}\n")
        self.after()
        return "1"

    async def close(self) -> None:
        """Nothing is open."""

    def accepted(self) -> list[list[str]]:
        """(id, repeated, event ids...) of every message, in order."""
        return [line.split(" ") for line in self.path.read_text().splitlines()] if self.path.exists() else []


def evaluate(world: World, memory: Memory, at: datetime, price: float) -> TickResult:
    """One evaluation with two venues that agree on a price."""
    seen = [Observation("btc_usd", price, "usd", at, at, venue) for venue in ("kraken", "coinbase")]
    return judge(world, memory, seen, [FeedReport("kraken", True, "", 1, 0.1, at, (("/price", b"{}"),))], at)


def deliver(world: World, memory: Memory, at: datetime, wire: Wire) -> None:
    """One round of delivery."""
    postman = Postman(here, lambda: at)
    postman.channels["console"] = wire
    asyncio.run(postman.deliver(world, memory.live, at))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A desk that saw one live evaluation at T0 and told it."""
    folder = lay_desk(tmp_path_factory.mktemp("desk"))
    (folder / "rules" / "mine.yaml").write_text(RULE + CHEAP)
    world = build_world(load_config(Found(folder / "config.yaml", "test"), {}))
    memory = Memory(folder / "state", T0)
    evaluate(world, memory, T0, 80_000.0)
    deliver(world, memory, T0, Wire(folder / "state" / "wire"))
    assert memory.live.outbox("queued", "sending", "retry") == []
    memory.close()
    return world, folder / "state"


@pytest.fixture
def desk(first: tuple[World, Path], tmp_path: Path) -> tuple[World, Path]:
    """A copy of that desk for one test."""
    shutil.copytree(first[1], tmp_path / "state")
    return first[0], tmp_path / "state"


# ---------------------------------------------------------------- dying
def die() -> None:
    """The end of this process: nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> bool:
    """Run in a child process; whether SIGKILL ended it. A child that got through to its end says so."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def dies_at(store: Store, *statements: str) -> None:
    """Die when the database begins the last of these statements, the earlier ones having been seen in order."""
    left = list(statements)

    def seen(sql: str) -> None:
        if sql.lstrip().startswith(left[0]):
            if len(left) == 1:
                die()
            left.pop(0)

    store.db.conn.set_trace_callback(seen)


def resume(world: World, state: Path, at: datetime, price: float) -> tuple[Wire, Memory]:
    """Start again after a death: open, evaluate, deliver, as the daemon does."""
    memory, wire = Memory(state, at), Wire(state / "wire")
    evaluate(world, memory, at, price)
    deliver(world, memory, at, wire)
    return wire, memory


def nothing_lost(memory: Memory, wire: Wire) -> None:
    """The database is whole, and every event that was to be said was accepted by the wire."""
    assert memory.live.check() == "ok"
    assert memory.live.lost_events() == []
    rows = memory.live.rows("SELECT DISTINCT event_id FROM decisions WHERE send = 1")
    told = {event for line in wire.accepted() for event in line[2:]}
    assert {row["event_id"] for row in rows} <= told
    accepted = [line[0].partition(".")[0] for line in wire.accepted()]
    repeats = len(accepted) - len(set(accepted))
    assert repeats <= len(memory.live.outbox("unknown"))


def fired(store: Store) -> list[Event]:
    """The events of CheapCoins having fired."""
    return [event for event in store.events(rule="CheapCoins") if event.kind == "fired"]


def cheap(memory: Memory, wire: Wire) -> list[list[str]]:
    """What the wire accepted about CheapCoins having fired."""
    (event,) = fired(memory.live)
    return [line for line in wire.accepted() if event.id in line[2:]]


TICK = [
    ("BEGIN IMMEDIATE",),
    ("INSERT INTO observations",),
    ("INSERT INTO raw",),
    ("INSERT OR REPLACE INTO ticks",),
    ("INSERT OR REPLACE INTO feed_reports",),
    ("INSERT OR REPLACE INTO metric_values",),
    ("INSERT OR REPLACE INTO alerts",),
    ("INSERT OR IGNORE INTO events",),
    ("INSERT OR IGNORE INTO decisions",),
    ("INSERT OR IGNORE INTO outbox",),
    ("INSERT OR IGNORE INTO outbox", "COMMIT"),
]


@pytest.mark.parametrize("point", TICK, ids=" then ".join)
def test_death_inside_an_evaluation(desk: tuple[World, Path], point: tuple[str, ...]) -> None:
    """Nothing of the evaluation is there afterwards; the next one decides the same and says it exactly once."""
    world, state = desk

    def work() -> None:
        memory = Memory(state, T1)
        dies_at(memory.live, *point)
        evaluate(world, memory, T1, 50_000.0)

    assert killed(work)
    with Store(state / "canary.sqlite") as store:
        last = store.last_tick()
        assert last is not None
        assert last.eval_at == T0
        assert fired(store) == []
    wire, memory = resume(world, state, T1 + timedelta(minutes=1), 50_000.0)
    assert [line[1] for line in cheap(memory, wire)] == ["False"]
    nothing_lost(memory, wire)
    memory.close()


CLAIM, MARK = "UPDATE outbox SET state = 'sending'", "UPDATE outbox SET state = 'sent'"
DELIVERY = {
    # point: (statements, before sending, after sending, accepted before death, told again as perhaps repeated)
    "before the claim": ((CLAIM,), False, False, 0, False),
    "before the claim is committed": ((CLAIM, "COMMIT"), False, False, 0, False),
    "claimed, before the request leaves": ((), True, False, 0, True),
    "accepted, before it is written down": ((), False, True, 1, True),
    "while it is written down": ((MARK,), False, False, 1, True),
    "before that is committed": ((MARK, "COMMIT"), False, False, 1, True),
}


@pytest.mark.parametrize("name", DELIVERY)
def test_death_inside_a_delivery(desk: tuple[World, Path], name: str) -> None:
    """What was claimed and not known to have arrived is said again and marked; what was not claimed is sent once."""
    world, state = desk
    statements, before, after, arrived, again = DELIVERY[name]
    memory = Memory(state, T1)
    evaluate(world, memory, T1, 50_000.0)
    memory.close()

    def work() -> None:
        memory = Memory(state, T1)
        if statements:
            dies_at(memory.live, *statements)
        idle: Callable[[], object] = lambda: None  # noqa: E731
        deliver(world, memory, T1, Wire(state / "wire", die if before else idle, die if after else idle))

    assert killed(work)
    wire = Wire(state / "wire")
    told_before = len(wire.accepted())
    wire, memory = resume(world, state, T1 + timedelta(minutes=1), 50_000.0)
    told = cheap(memory, wire)
    assert [line[1] for line in told] == ["False"] * arrived + [str(again)]
    assert len(wire.accepted()) == told_before + 1
    errors = [row.error for row in memory.live.outbox("unknown")]
    assert errors == (["the process ended before an answer came"] if again else [])
    nothing_lost(memory, wire)
    memory.close()


def test_death_between_evaluation_and_delivery(desk: tuple[World, Path]) -> None:
    """What was decided waits in the outbox and is sent once by the next start."""
    world, state = desk

    def work() -> None:
        evaluate(world, Memory(state, T1), T1, 50_000.0)
        die()

    assert killed(work)
    wire, memory = resume(world, state, T1 + timedelta(minutes=1), 50_000.0)
    assert [line[1] for line in cheap(memory, wire)] == ["False"]
    nothing_lost(memory, wire)
    memory.close()


# ---------------------------------------------------------------- the database
def refused(world: World, memory: Memory, says: str) -> None:
    """An evaluation fails with these words and leaves nothing of itself."""
    with pytest.raises(StoreError, match=says):
        evaluate(world, memory, T1, 50_000.0)
    last = memory.live.last_tick()
    assert last is not None
    assert last.eval_at == T0
    assert (fired(memory.live), memory.live.outbox("queued")) == ([], [])


def recovers(world: World, memory: Memory, state: Path) -> None:
    """The next evaluation decides what the failed one would have, and says it once."""
    wire = Wire(state / "wire")
    evaluate(world, memory, T1, 50_000.0)
    deliver(world, memory, T1, wire)
    assert len(cheap(memory, wire)) == 1
    nothing_lost(memory, wire)
    memory.close()


def test_a_full_disk(desk: tuple[World, Path]) -> None:
    """However many pages are left, an evaluation is whole or refused in words; with room it goes on."""
    world, state = desk
    memory = Memory(state, T1)
    # small full pages, so that one evaluation needs many new ones
    for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 512", "VACUUM", "PRAGMA journal_mode = WAL"):
        memory.live.db.execute(statement).fetchall()
    pages = memory.live.rows("PRAGMA page_count")[0]["page_count"]
    failures, begun = 0, list[str]()
    memory.live.db.conn.set_trace_callback(begun.append)
    for room in range(60):
        memory.live.rows(f"PRAGMA max_page_count = {pages + room}")
        try:
            evaluate(world, memory, T1, 50_000.0)
        except StoreError as error:
            failures += 1
            assert "no room left on the disk" in str(error)
            assert fired(memory.live) == []
            last = memory.live.last_tick()
            assert last is not None
            assert last.eval_at == T0
        else:
            break
    memory.live.db.conn.set_trace_callback(None)
    memory.live.rows("PRAGMA max_page_count = 1000000")
    assert failures >= 3
    assert sum(sql.startswith("INSERT OR REPLACE INTO ticks") for sql in begun) > 1
    recovers(world, memory, state)


def test_a_locked_database(desk: tuple[World, Path]) -> None:
    """Another process that holds the database too long is named as the reason; afterwards all goes on."""
    world, state = desk
    memory = Memory(state, T1)
    memory.live.rows("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(state / "canary.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused(world, memory, "another process is writing to it")
    other.execute("ROLLBACK")
    other.close()
    recovers(world, memory, state)


def test_a_read_only_database(desk: tuple[World, Path]) -> None:
    """A database that cannot be written is said; nothing is sent that could not be claimed first."""
    world, state = desk
    memory, wire = Memory(state, T1), Wire(state / "wire")
    told_before = len(wire.accepted())
    memory.live.db.execute("PRAGMA query_only = ON")
    refused(world, memory, "cannot be written to")
    memory.live.db.execute("PRAGMA query_only = OFF")
    evaluate(world, memory, T1, 50_000.0)
    memory.live.db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError):
        deliver(world, memory, T1, wire)
    assert len(wire.accepted()) == told_before
    memory.live.db.execute("PRAGMA query_only = OFF")
    deliver(world, memory, T1, wire)
    assert len(cheap(memory, wire)) == 1
    nothing_lost(memory, wire)
    memory.close()


def in_a_child(work: Callable[[], object], before: Callable[[], object]) -> str:
    """What a piece of work says in a child process of fewer rights: ``fine``, or the sentence of its StoreError."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before()
            work()
            os.write(theirs, b"fine")
        except StoreError as error:
            os.write(theirs, str(error).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with os.fdopen(ours, "rb") as said:
        return said.read().decode()


def test_a_file_that_may_not_grow(desk: tuple[World, Path]) -> None:
    """The kernel's own limit on file size (RLIMIT_FSIZE), which binds root too, is said as a full disk would be."""
    world, state = desk

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    said = in_a_child(lambda: evaluate(world, Memory(state, T1), T1, 50_000.0), limit)
    assert said != "fine"
    assert "nothing was written" in said
    recovers(world, Memory(state, T1), state)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs rights to give away")
def test_a_database_of_another_user(desk: tuple[World, Path]) -> None:
    """A user who may not write the file or its folder is told so in words; the owner goes on."""
    world, state = desk
    for folder in (state, *state.parents[:4]):
        folder.chmod(0o755)
    (state / "canary.sqlite").chmod(0o644)

    def drop() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    said = in_a_child(lambda: evaluate(world, Memory(state, T1), T1, 50_000.0), drop)
    assert "cannot be written to" in said or "cannot be opened" in said
    recovers(world, Memory(state, T1), state)


@pytest.mark.parametrize("page", ["a table", "the first page"])
def test_a_corrupt_page(desk: tuple[World, Path], page: str, tmp_path: Path) -> None:
    """A damaged file is refused at the start and never written; a backup put back goes on where it was made."""
    world, state = desk
    back_up(state, tmp_path / "copy.sqlite")
    path = state / "canary.sqlite"
    with Store(path) as store:
        store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        root = store.rows("SELECT rootpage AS n FROM sqlite_master WHERE name = 'events'")[0]["n"]
    size = 4096
    data = bytearray(path.read_bytes())
    at = 100 if page == "the first page" else (root - 1) * size
    data[at : at + 200] = b"\xa5" * 200
    path.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        Memory(state, T1)
    assert path.read_bytes() == bytes(data)
    done = put_back(tmp_path / "copy.sqlite", state)
    assert done.last == T0
    assert done.replaced is not None
    recovers(world, Memory(state, T1), state)


def set_readonly(daemon: Daemon, switch: str) -> None:
    """Let nothing, or everything, be written to the recorded database."""
    daemon.memory.recorded(T0).db.execute(f"PRAGMA query_only = {switch}")


def test_the_daemon_says_a_full_disk_and_sends_what_it_could_not_write_down(tmp_path: Path) -> None:
    """A failed evaluation and a failed round are said and make it unwell; the message in flight is said again."""
    folder, screen = lay_desk(tmp_path), Notes()
    (folder / "config.yaml").write_text(CONFIG + "serve: {enabled: false}\n")
    wire = Wire(folder / "wire")

    async def scenario() -> None:
        daemon = Daemon(lambda: load_config(Found(folder / "config.yaml", "test"), {}), {}, screen, offline=True)
        async with daemon.opened():
            for limit, failures in ((1, 1), (10**9, 0)):
                for store in (daemon.memory.live, await daemon._on_writer(lambda: daemon.memory.recorded(T0))):
                    await daemon._on_writer(lambda s=store, n=limit: s.rows(f"PRAGMA max_page_count = {n}"))
                if failures == 0:  # from here on nothing can be written down after it was sent
                    wire.after = lambda: daemon.writer.submit(set_readonly, daemon, "ON").result()
                    daemon.postman.channels["console"] = wire
                await daemon.evaluate()
                assert daemon.health.failures == failures
            assert "cannot be written to" in daemon.health.delivery_failure
            assert "the last round of delivery failed" in unwell(daemon.board, 0.0, T0)["delivery"]
            wire.after = lambda: None
            await daemon._on_writer(lambda: set_readonly(daemon, "OFF"))
            await daemon.deliver()
            assert daemon.health.delivery_failure == ""
            assert daemon.board.post.waiting == {}
            assert await daemon._on_writer(daemon.memory.recorded(T0).lost_events) == []

    asyncio.run(scenario())
    assert [line[1] for line in wire.accepted()] == ["False", "True"]
    assert any("no room left on the disk" in text for text in screen.said)
    assert len([text for text in screen.said if text.startswith("delivery failed")]) == 1


# ---------------------------------------------------------------- the clock and the world
def test_a_clock_set_back_a_day(desk: tuple[World, Path]) -> None:
    """An evaluation a day earlier raises nothing, ends nothing and repeats nothing; later ones go on."""
    world, state = desk
    memory, wire = Memory(state, T1), Wire(state / "wire")
    evaluate(world, memory, T1, 50_000.0)
    deliver(world, memory, T1, wire)
    for at in (T1 - timedelta(days=1), T1 - timedelta(days=1, minutes=-15), T1 + timedelta(minutes=15)):
        evaluate(world, memory, at, 50_000.0)
        deliver(world, memory, at, wire)
    assert len(cheap(memory, wire)) == 1
    states = memory.live.load_states()
    assert states["CheapCoins", "market"].state == "firing"
    assert states["LowCash", "alpha"].state == "firing"
    nothing_lost(memory, wire)
    memory.close()


def test_a_clock_a_day_ahead(desk: tuple[World, Path]) -> None:
    """A day ahead old prices are unknown and nothing ends or is said twice; set right again, all goes on."""
    world, state = desk
    memory, wire = Memory(state, T1), Wire(state / "wire")
    evaluate(world, memory, T1, 50_000.0)
    deliver(world, memory, T1, wire)
    ahead = T1 + timedelta(days=1)
    judge(world, memory, [], [FeedReport("kraken", False, "no answer", 0, 1.0)], ahead)
    assert memory.live.load_states()["CheapCoins", "market"].state == "nodata"
    deliver(world, memory, ahead, wire)
    for minutes in (15, 30):
        evaluate(world, memory, T1 + timedelta(minutes=minutes), 50_000.0)
        deliver(world, memory, T1 + timedelta(minutes=minutes), wire)
    states = memory.live.load_states()
    assert (states["CheapCoins", "market"].state, states["LowCash", "alpha"].state) == ("firing", "firing")
    told = cheap(memory, wire)  # that it fired, and a day later once that it still stands
    assert len({line[0] for line in told}) == len(told) == 2
    nothing_lost(memory, wire)
    memory.close()


def test_no_network_for_a_week(desk: tuple[World, Path]) -> None:
    """No source and no channel for 168 hours, then both: what stands is told, nothing lost, nothing sent twice."""
    world, state = desk
    memory, wire = Memory(state, T1), Wire(state / "wire")
    before = len(wire.accepted())

    def nobody() -> None:
        raise DeliveryError("no route to host", "retry")

    down = Wire(state / "wire", nobody)
    evaluate(world, memory, T1, 50_000.0)
    deliver(world, memory, T1, down)
    for hour in range(1, 169):
        at = T1 + timedelta(hours=hour)
        judge(world, memory, [], [FeedReport("kraken", False, "no route to host", 0, 1.0)], at)
        deliver(world, memory, at, down)
    assert len(wire.accepted()) == before
    states = memory.live.load_states()
    assert (states["CheapCoins", "market"].state, states["LowCash", "alpha"].state) == ("nodata", "firing")
    assert memory.live.lost_events() == []
    back = T1 + timedelta(days=7, hours=1)
    for minutes in range(0, 24 * 60, 60):
        at = back + timedelta(minutes=minutes)
        evaluate(world, memory, at, 50_000.0)
        deliver(world, memory, at, wire)
    said = wire.accepted()[before:]
    assert said
    assert len({line[0] for line in said}) == len(said)
    assert {line[1] for line in said} == {"False"}
    assert memory.live.outbox("queued", "retry", "sending", "unknown") == []
    assert memory.live.load_states()["CheapCoins", "market"].state == "firing"
    nothing_lost(memory, wire)
    memory.close()


def test_every_source_down(desk: tuple[World, Path], tmp_path: Path) -> None:
    """Old prices count until they are too old, then what needs them is unknown and not ended; the heartbeat stops."""
    world, state = desk
    memory, wire = Memory(state, T1), Wire(state / "wire")
    evaluate(world, memory, T1, 50_000.0)
    deliver(world, memory, T1, wire)
    with Loopback() as server:
        feeds = "".join(f"  {feed.name}: {{enabled: false}}\n" for feed in world.feeds if feed.name != "coinbase")
        folder = lay_desk(tmp_path)
        (folder / "rules" / "mine.yaml").write_text(RULE + CHEAP)
        (folder / "config.yaml").write_text(f"{CONFIG}feeds:\n{feeds}  coinbase: {{base_url: '{server.url}'}}\n")
        silent = build_world(load_config(Found(folder / "config.yaml", "test"), {}))
        results = [asyncio.run(tick(silent, memory, T1 + timedelta(hours=hours), here)) for hours in (0.25, 8)]
    assert all("404" in result.problems[0] for result in results)
    assert [result.recorded for result in results] == [None, None]
    states = [{(s.rule, s.subject): s.state for s in result.states} for result in results]
    assert [found["CheapCoins", "market"] for found in states] == ["firing", "nodata"]
    assert [found["LowCash", "alpha"] for found in states] == ["firing", "firing"]
    at = T1 + timedelta(hours=8)
    board = Board(Health(900, 120, 0.0, tick_ended_s=0.0, evaluations=1))
    from monitor.daemon import seen

    board.picture = picture_of(silent, results[1], seen(silent, results[1]), {})
    assert unwell(board, 1.0, at)["data"] == ["no source answered", "the price of bitcoin is not known"]
    deliver(silent, memory, at, wire)
    nothing_lost(memory, wire)
    memory.close()


def test_telegram_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers: the message waits, delivery becomes unwell; Telegram returns: it arrives once, unmarked."""
    monkeypatch.setenv("CANARY_TEST_TOKEN", TOKEN)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        down = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with FakeTelegram() as server:
            worlds = []
            for url in (down, server.url):
                folder = lay_desk(tmp_path / f"desk{len(worlds)}")
                (folder / "config.yaml").write_text(
                    f"{CONFIG}routes: [{{name: desk, channel: telegram}}]\n"
                    f"chat: {{telegram: {{token_env: CANARY_TEST_TOKEN, chat: 42, base_url: '{url}'}}}}\n"
                )
                worlds.append(build_world(load_config(Found(folder / "config.yaml", "test"), {})))
            memory = Memory(tmp_path / "state", T0)
            evaluate(worlds[0], memory, T0, 80_000.0)
            for world, at in ((worlds[0], T0), (worlds[1], T0 + timedelta(seconds=POST_LIMIT_S + 1))):
                postman = Postman(here, lambda at=at: at)

                async def round_(world: World = world, postman: Postman = postman, at: datetime = at) -> object:
                    done = await postman.deliver(world, memory.live, at)
                    await postman.close()
                    return done

                board = Board(Health(900, 120, 0.0), post=post_of([memory.live]))
                late = unwell(board, 0.0, at)["delivery"]
                done = asyncio.run(round_())
                if world is worlds[0]:
                    assert (late, done.retried, done.sent) == ([], 1, 0)
                    assert "telegram" in done.problems[0]
                    assert TOKEN not in repr(done)
                else:
                    assert len(late) == 1
                    assert (done.retried, done.sent) == (0, 1)
            assert len(server.texts("42")) == 1
            assert "repeated" not in server.texts("42")[0]
    assert memory.live.lost_events() == []
    assert post_of([memory.live]).waiting == {}
    memory.close()


def test_the_table_of_faults_names_tests_there_are() -> None:
    """Every test the document names exists, and every fault tested here is in the document."""
    tests = Path(__file__).parent
    text = (tests.parent / "docs" / "faults.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    there = {
        name for path in tests.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert named - there == set()
    here = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(), re.M))
    assert here - named == {"test_the_table_of_faults_names_tests_there_are"}
    assert f"{len(TICK)} statements" in text
    again = [again for *_, again in DELIVERY.values()]
    assert f"| {sum(again)} of {len(again)}, marked" in text
