"""The daemon: one at a time, alive only for good reasons, stopping cleanly, taking up edits."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from desk import CONFIG, RULE, lay_desk

from monitor.asking import LOCK_FILE, holder, last_overview
from monitor.config import Found, load_config
from monitor.daemon import Daemon, Reloader
from monitor.health import Health, not_alive, sd_notify, watchdog_s
from monitor.model import InputError, Message
from monitor.offline import OfflineError, offline_guard
from monitor.store import Lock, Store


# ---------------------------------------------------------------- one at a time
def test_who_holds_the_lock(tmp_path):
    """The lock names its holder while it is held, and nobody before and after."""
    assert holder(tmp_path) is None
    with Lock(tmp_path / LOCK_FILE):
        assert holder(tmp_path) == f"process {os.getpid()}"
    assert holder(tmp_path) is None
    with Lock(tmp_path / LOCK_FILE):
        pass


# ---------------------------------------------------------------- alive
def test_alive_needs_evaluations_that_end():
    """Two intervals and the time limit without the end of an evaluation are too long; a failed one counts as ended."""
    health = Health(every_s=900, tick_limit_s=120, started_s=1000.0)
    assert not_alive(health, 1000.0 + 1920) == []
    assert len(not_alive(health, 1000.0 + 1921)) == 1
    health.ended(2900.0, failure="no source answered")
    assert not_alive(health, 2900.0 + 1920) == []
    assert (health.failures, health.evaluations, health.last_failure) == (1, 0, "no source answered")
    health.ended(3800.0)
    assert (health.failures, health.evaluations) == (0, 1)


def test_alive_needs_a_writer_that_answers():
    """A writer stuck for longer than an evaluation may take is not alive, however recent the last evaluation."""
    health = Health(every_s=60, tick_limit_s=120, started_s=0.0, tick_ended_s=99.0, writer_asked_s=50.0)
    assert not_alive(health, 100.0) == []
    assert not_alive(health, 171.0) == ["the writer has not answered for 121 s"]


def test_systemd_is_told_over_its_socket(tmp_path):
    """READY=1 arrives at the socket systemd names, by path and by abstract name; nobody listening is no error."""
    for address in (str(tmp_path / "notify"), f"@canary-test-{os.getpid()}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind("\0" + address[1:] if address[0] == "@" else address)
            systemd.settimeout(2)
            assert sd_notify("READY=1\nSTATUS=fine", {"NOTIFY_SOCKET": address})
            assert systemd.recv(100) == b"READY=1\nSTATUS=fine"
    assert not sd_notify("READY=1", {})
    assert not sd_notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert not sd_notify("READY=1", {"NOTIFY_SOCKET": "vsock:2:1234"})


def test_no_watchdog_unless_asked():
    """Only a well-formed request for this very process counts."""
    assert watchdog_s({}) is None
    assert watchdog_s({"WATCHDOG_USEC": "0"}) is None
    assert watchdog_s({"WATCHDOG_USEC": "x"}) is None
    assert watchdog_s({"WATCHDOG_USEC": "2000000"}) == 2.0
    assert watchdog_s({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}) == 2.0


# ---------------------------------------------------------------- offline
class Answer(BaseHTTPRequestHandler):
    """A loopback server that says yes."""

    def do_GET(self):
        """Answer anything."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        """Keep quiet."""


@pytest.fixture
def loopback():
    """The address of a running loopback server."""
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_offline_lets_nothing_out(loopback):
    """Under the guard every way out is refused, with and without a name to look up; this machine stays in reach."""
    with offline_guard():
        assert httpx.get(loopback).status_code == 200
        for url in ("http://192.0.2.1/", "http://example.invalid/", "http://[2001:db8::1]/"):
            with pytest.raises(OfflineError, match="refused to reach"):
                httpx.get(url, timeout=1)

            async def ask(url: str = url) -> None:
                async with httpx.AsyncClient(timeout=1) as client:
                    await client.get(url)

            with pytest.raises((OfflineError, ExceptionGroup)):
                asyncio.run(ask())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link, pytest.raises(OfflineError):
            link.sendto(b"x", ("192.0.2.1", 53))


def test_the_guard_ends():
    """After the guard sockets work as before, and guards nest."""
    with offline_guard():
        with offline_guard():
            pass
        with socket.socket() as link, pytest.raises(OfflineError):
            link.connect(("192.0.2.1", 9))
    # a datagram socket sends nothing by connecting; a machine without any network says so itself
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link, suppress(OSError):
        link.connect(("192.0.2.1", 9))


# ---------------------------------------------------------------- edits
class Notes:
    """A screen that remembers what it was told."""

    def __init__(self):
        self.said: list[str] = []
        self.shown: list[tuple[object, datetime]] = []

    def evaluated(self, world, result, shown, next_at):
        """Remember one evaluation."""
        self.shown.append((shown, next_at))

    def say(self, text, trouble=False):
        """Remember a line."""
        self.said.append(text)


@pytest.fixture
def load(tmp_path):
    """How the config of a small desk is read."""
    lay_desk(tmp_path)
    return lambda: load_config(Found(tmp_path / "config.yaml", "test"), {})


def test_edits_are_taken_up_and_mistakes_change_nothing(tmp_path, load):
    """A good edit rebuilds the world, a broken one keeps the last good one and is told once until it changes."""
    inputs, rules = Reloader(load, offline=True), tmp_path / "rules" / "mine.yaml"
    first = inputs.world
    assert inputs.refresh() == ""
    assert inputs.world is first
    rules.write_text(RULE.replace("50m", "60m"))
    assert inputs.refresh() == ""
    assert inputs.world.rules[0].expr == "cash_unrestricted_usd < 60m"
    good = inputs.world
    rules.write_text(RULE.replace("cash_unrestricted_usd <", "cash_unrestricted_us <"))
    assert "mine.yaml:2:" in inputs.refresh()
    assert inputs.world is good
    assert inputs.refresh() == ""
    (tmp_path / "book" / "stub.yaml").write_text(
        "name: Stub\nkind: neocloud\nstatus: insufficient_data\nmissing: [all]\n"
    )
    assert inputs.refresh() == ""  # the same mistake, told before
    rules.write_text(RULE.replace("critical", "criticl"))
    assert "criticl" in inputs.refresh()
    rules.write_text(RULE)
    assert inputs.refresh() == ""
    assert inputs.world.book.borrower("stub").missing == ("all",)


def test_a_broken_start_is_refused(tmp_path, load):
    """There is no last good world to keep at the start: all mistakes are shown and nothing runs."""
    (tmp_path / "rules" / "mine.yaml").write_text("- alert: A\n")
    with pytest.raises(InputError, match=r"mine\.yaml"):
        Daemon(load, {}, Notes(), offline=True)


def test_evaluations_go_on_through_edits(tmp_path, load):
    """A broken rule is one notice and stops nothing; an edited interval counts once the files are good again."""
    screen = Notes()

    async def scenario() -> None:
        daemon = Daemon(load, {}, screen, offline=True)
        async with daemon.opened():
            await daemon.evaluate()
            (tmp_path / "config.yaml").write_text("schedule: {every: 2h}\npaths: {state: ./state}\n")
            (tmp_path / "rules" / "mine.yaml").write_text(RULE.replace("critical", "criticl"))
            await daemon.evaluate()
            await daemon.evaluate()
            (tmp_path / "rules" / "mine.yaml").write_text(RULE)
            await daemon.evaluate()
            assert daemon.every_s == 7200
            assert daemon.health.evaluations == 4

    asyncio.run(scenario())
    assert len(screen.shown) == 4
    refusals = [text for text in screen.said if "last good files stay in force" in text]
    assert len(refusals) == 1
    assert "mine.yaml:3:" in refusals[0]
    kept = last_overview(tmp_path / "state")
    assert kept is not None
    assert [row.borrower for row in kept.rows] == ["alpha"]
    with Store(tmp_path / "state" / "canary.sqlite") as store:
        notices = [row.message for row in store.outbox() if row.message.kind == "notice"]
    assert len(notices) == 1
    assert "mine.yaml:3:" in "\n".join(line.text for line in notices[0].lines)


def test_a_failed_evaluation_does_not_end_the_watch(tmp_path, load):
    """A database that cannot be written is said; the next evaluation works again."""
    screen = Notes()

    async def scenario() -> None:
        daemon = Daemon(load, {}, screen, offline=True)
        async with daemon.opened():
            live = daemon.memory.live
            await daemon._on_writer(lambda: live.db.execute("PRAGMA query_only = ON"))
            await daemon._on_writer(
                lambda: daemon.memory.recorded(datetime.now().astimezone()).db.execute("PRAGMA query_only = ON")
            )
            await daemon.evaluate()
            assert daemon.health.failures == 1
            for store in daemon.memory.stores():
                await daemon._on_writer(lambda store=store: store.db.execute("PRAGMA query_only = OFF"))
            await daemon.evaluate()
            assert daemon.health.failures == 0

    asyncio.run(scenario())
    assert len(screen.shown) == 1
    assert any("failed" in text for text in screen.said)


def test_a_stop_amid_an_evaluation_is_no_failure(load, monkeypatch, caplog):
    """What is under way may end, and the last word is that it stopped: giving up waiting is not told as a failure."""
    screen = Notes()

    async def scenario() -> None:
        under_way, may_end = asyncio.Event(), asyncio.Event()
        daemon = Daemon(load, {}, screen, offline=True)

        async def slow() -> None:
            under_way.set()
            await may_end.wait()
            screen.say("evaluated")

        monkeypatch.setattr(daemon, "evaluate", slow)
        async with daemon.opened():
            daemon._start()
            await under_way.wait()
            daemon.stop.set()
            asyncio.get_running_loop().call_soon(may_end.set)
            await daemon._drain()
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert not [text for text in screen.said if "failed" in text]
    assert screen.said[-2:] == ["evaluated", "stopped"]
    assert not caplog.records


# ---------------------------------------------------------------- the whole program
def start(desk, *options: str, **environ: str) -> subprocess.Popen[str]:
    """The real program, in a process of its own."""
    code = "from monitor.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "run", "--offline", "--config", str(desk), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )


def test_run_until_told_to_stop(tmp_path):
    """The daemon shows its table and what next, refuses a second one, tells systemd, and ends with 0 on SIGTERM."""
    desk = lay_desk(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        process = start(desk, **environ)
        assert process.stdout is not None
        told = [systemd.recv(500).decode()]
        while "READY=1" not in told[-1]:
            told.append(systemd.recv(500).decode())
        # a first start lives through 30 days and asks for more time after each, and no more once it is ready
        asked = [text.startswith("EXTEND_TIMEOUT_USEC=60000000") for text in told]
        assert sum(asked) >= 30
        assert not asked[-1]
        assert any(text == "WATCHDOG=1" for text in [*told, systemd.recv(500).decode()])
        second = start(desk)
        out, err = second.communicate(timeout=60)
        assert (second.returncode, f"process {process.pid}" in err) == (2, True)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    for text in (
        "RECORDED",
        "Alpha Mining",
        "LowCash",
        "next evaluation",
        "recorded.sqlite",
        "edit a rule",
        "Telegram",
    ):
        assert text in out
    assert out.rstrip().endswith("stopped")


#: the real program, and two ways to make it stick: its event loop, or the thread that writes
STICKY = """
import signal, time
import monitor.daemon, monitor.running
monitor.daemon.TICK_LIMIT_S = 1.0
class Sticky(monitor.daemon.Daemon):
    def __init__(self, *words):
        super().__init__(*words)
        signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))
        signal.signal(signal.SIGUSR2, lambda *_: self.writer.submit(time.sleep, 600))
monitor.running.Daemon = Sticky
from monitor.cli import main
main()
"""


def heard(systemd: socket.socket, seconds: float) -> list[str]:
    """What systemd is told within so many seconds."""
    told, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        systemd.settimeout(left)
        with suppress(TimeoutError):
            told.append(systemd.recv(500).decode())
    return told


@pytest.mark.parametrize("stick", [signal.SIGUSR1, signal.SIGUSR2], ids=["the loop", "the writer"])
def test_a_stuck_daemon_is_not_vouched_for(tmp_path, stick):
    """While it works systemd hears WATCHDOG=1 again and again; once the loop or the writer is stuck, never more."""
    desk = lay_desk(tmp_path)
    (desk / "config.yaml").write_text(f"{CONFIG}serve: {{enabled: false}}\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
        command = [sys.executable, "-c", STICKY, "run", "--offline", "--config", str(desk)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
        try:
            while "READY=1" not in systemd.recv(500).decode():
                pass
            assert heard(systemd, 2.0).count("WATCHDOG=1") >= 3
            process.send_signal(stick)
            heard(systemd, 2.5)  # what was on its way, and the time a writer may take
            told = heard(systemd, 2.0)
        finally:
            process.kill()
            process.wait()
    assert "WATCHDOG=1" not in told
    assert bool(told) == (stick == signal.SIGUSR2)  # a loop that turns says why it does not vouch
    assert all("the writer has not answered" in text for text in told)


# ---------------------------------------------------------------- the clock
def test_a_clock_set_back_stops_nothing(load):
    """After a step back by a day the next evaluation and every waiting attempt are due at once, not in a day."""
    screen, now = Notes(), datetime(2026, 11, 2, 12, tzinfo=UTC)

    async def scenario() -> None:
        daemon = Daemon(load, {}, screen, True, lambda: now)
        async with daemon.opened():
            live, later = daemon.memory.live, now + timedelta(minutes=15)
            message = Message("m1", "console", "console", "", "notice", "info", "Hello", (), now)
            await daemon._on_writer(lambda: live.queue([message]))
            row = await daemon._on_writer(lambda: live.claim(live.due(now)[0], "a"))
            await daemon._on_writer(lambda: live.mark_retry(row, later, "no"))
            daemon.scheduler.add_job(daemon.evaluate, "interval", hours=1, id="evaluate", next_run_time=later)
            daemon.scheduler.start(paused=True)
            await daemon._clock_moved(-86_400.0)
            assert daemon.scheduler.get_job("evaluate").next_run_time == now
            assert len(await daemon._on_writer(lambda: live.due(now - timedelta(days=1)))) == 1
            await daemon._clock_moved(+7200.0)
            daemon.scheduler.shutdown(wait=False)

    asyncio.run(scenario())
    assert [text.partition(";")[0] for text in screen.said if "clock" in text] == [
        "the clock went back by 24 h",
        "the clock went forward (or the machine slept) by 2 h",
    ]


def test_a_step_is_noticed_by_the_running_daemon(load, monkeypatch):
    """The watcher compares the time of day with the monotonic clock: a step is news, the passing of time is not."""
    from monitor import daemon as module

    screen, base = Notes(), datetime(2026, 11, 2, 12, tzinfo=UTC)
    steps = iter([0.0, 0.0, -86_400.0, -86_400.0, 0.0])
    began, moved, waits = time.monotonic(), [], []

    def clock() -> datetime:
        return base + timedelta(seconds=next(steps, 0.0) + time.monotonic() - began)

    async def scenario() -> None:
        daemon = Daemon(load, {}, screen, True, clock)

        async def note(moved_s: float) -> None:
            moved.append(round(moved_s))

        async def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 5:
                raise asyncio.CancelledError

        monkeypatch.setattr(daemon, "_clock_moved", note)
        monkeypatch.setattr(module.asyncio, "sleep", wait)
        with suppress(asyncio.CancelledError):
            await daemon._watch_clock()

    asyncio.run(scenario())
    assert moved == [-86_400, 86_400]


# ---------------------------------------------------------------- the log
def test_the_log_is_one_line_an_event(tmp_path):
    """At info the log takes the screen's place: every line is one JSON object, those of an evaluation name it."""
    process = start(lay_desk(tmp_path), CANARY_LOG_LEVEL="info", CANARY_LOG_FORMAT="json")
    assert process.stderr is not None
    lines = []
    while not lines or json.loads(lines[-1])["event"] != "delivered":
        lines.append(process.stderr.readline())
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    said = [json.loads(line) for line in [*lines, *err.splitlines()]]
    assert process.returncode == 0
    assert "next evaluation" not in out
    assert "LowCash" in out  # the console channel still speaks
    evaluated = next(one for one in said if one["event"] == "evaluated")
    assert {"at", "level", "logger", "tick", "firing", "took_s"} <= set(evaluated)
    fired = next(one for one in said if one["event"] == "alert fired")
    assert (fired["rule"], fired["subject"], fired["tick"]) == ("LowCash", "alpha", evaluated["tick"])
    assert said[-1]["event"] == "stopped"
    assert "tick" not in said[-1]


def test_run_for_machines(tmp_path):
    """With --json every line of standard output is one JSON object; Ctrl-C ends it with 0."""
    process = start(lay_desk(tmp_path), "--json")
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    objects = [json.loads(line) for line in [*lines, *out.splitlines()]]
    assert process.returncode == 0
    assert [row["id"] for row in objects[1]["borrowers"]] == ["alpha"]
    assert objects[-1] == {"says": "stopped"}
