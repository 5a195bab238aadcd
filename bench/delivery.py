"""From an alert to its delivery on the loopback: delay and messages a second, beside Alertmanager in the same run.

    python bench/delivery.py [--quick] [--without-alertmanager]

Ours: an alert change is decided (routing), written down and committed with its message in SQLite (WAL, synchronous
FULL: it is on the disk), claimed with a second commit, posted to a webhook by the webhook channel, and marked as sent
with a third. Pacing is off. Theirs: Debian's Alertmanager, every alert its own group, no group wait, takes the alert
over HTTP and posts it to the same receiver; it keeps alerts in memory only. The receiver is a process of its own.

  one at a time   delay from the beginning of the change to its arrival, the next change after the answer; the first,
                  which loads libraries and opens connections, is told apart
  a storm         2,000 changes, 100 at once; messages a second until the last arrived, and processor time for each

Delays and rates by the clock say little while others use the machine; processor time says more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

PORT = 19_493
BATCH = 100
DAY = datetime(2026, 11, 1, tzinfo=UTC)


# ---------------------------------------------------------------- the receiver: a process of its own
async def receive() -> None:
    """Take webhooks of both kinds and remember when each alert first arrived; a line on stdin asks for the list."""
    seen: dict[str, float] = {}

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                now = time.monotonic()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                document = json.loads(body)
                for name in document.get("event_ids") or [alert["labels"]["id"] for alert in document["alerts"]]:
                    seen.setdefault(name, now)
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0, limit=1 << 24, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(len(seen) if line == "count\n" else json.dumps(seen), flush=True)
        if line == "take\n":
            seen.clear()


def _length(head: bytes) -> int:
    return next((int(x[15:]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0)


class Receiver:
    """The process and what it has seen."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "--receiver"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/"

    def ask(self, word: str) -> object:
        """``count`` of the alerts that arrived, or ``take`` them all: alert -> moment."""
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    async def all_of(self, n: int, limit_s: float = 120.0) -> dict[str, float]:
        """Everything, once so many have arrived."""
        until = time.monotonic() + limit_s
        while (found := self.ask("count")) < n and time.monotonic() < until:
            await asyncio.sleep(0.02)
        if found < n:
            raise SystemExit(f"only {found} of {n} alerts arrived in {limit_s:g} s")
        return self.ask("take")

    def close(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait(10)


# ---------------------------------------------------------------- ours
class Ours:
    """The daemon's way from a change to its delivery, without the evaluation before it."""

    def __init__(self, folder: Path, url: str, desks: int):
        from monitor.chat.webhook import WebhookChannel
        from monitor.model import Rule
        from monitor.postman import Postman
        from monitor.routes import Route
        from monitor.store import Store

        self.rules = [Rule("Breach", "x > 1", "critical")]
        self.routes = [
            Route(f"desk{i}", "webhook", f"desk{i}", borrowers=tuple(f"b{j}" for j in range(i, 4000, desks)))
            for i in range(desks)
        ]
        self.writer = ThreadPoolExecutor(1)
        self.store = self.writer.submit(Store, folder / f"{desks}.sqlite").result()
        self.postman = Postman(self.on_writer, lambda: datetime.now(UTC), unpaced=("webhook",))
        self.postman.channels["webhook"] = WebhookChannel(url, "a secret of the bench")
        self.world = SimpleNamespace(routes=self.routes)
        self.ticks = 0

    def on_writer(self, work: Callable[[], object]) -> asyncio.Future:
        return asyncio.get_running_loop().run_in_executor(self.writer, work)

    def decide(self, names: Sequence[str]) -> None:
        """Some alerts begin to fire: decide what is said and commit it."""
        from monitor import routing
        from monitor.model import AlertState, Event, Line, Message
        from monitor.store import TickRow

        self.ticks += 1
        now = DAY + timedelta(seconds=self.ticks)
        states = {
            ("Breach", n): AlertState("Breach", n, "firing", active_at=now, fired_at=now, short_id=n) for n in names
        }
        events = [Event(f"{n}", "Breach", n, "critical", "fired", now, "", "ok", "firing", n) for n in names]
        plan = routing.route(events, states, self.routes, self.rules, now)
        messages = [
            Message(
                id=group.id,
                route=group.route.name,
                channel=group.route.channel,
                to=group.route.to,
                kind=group.kind,
                severity=group.severity,
                title=f"CRITICAL {group.events[0].subject}",
                lines=(Line("now", "ltv_economic 0.90 > 0.80"),),
                created_at=now,
                event_ids=tuple(event.id for event in group.events),
            )
            for group in plan.groups
        ]
        self.store.commit_tick(TickRow(now), events=events, decisions=plan.decisions, messages=messages, told=plan.told)

    async def one_by_one(self, n: int, receiver: Receiver) -> list[float]:
        """Delays in seconds."""
        began = {}
        for i in range(n + 1):
            name = f"b{i}"
            began[name] = time.monotonic()
            await self.on_writer(lambda name=name: self.decide([name]))
            await self.postman.deliver(self.world, self.store, datetime.now(UTC))
        return _after_first("canary", [at - began[name] for name, at in (await receiver.all_of(n + 1)).items()])

    async def storm(self, n: int, receiver: Receiver) -> tuple[float, float, float]:
        """Changes committed and delivered a second, while both go on side by side; processor milliseconds for each."""
        began, used, over = time.monotonic(), time.process_time(), asyncio.Event()

        async def sending() -> None:
            while True:
                last = over.is_set()
                done = await self.postman.deliver(self.world, self.store, datetime.now(UTC))
                if last and not done.sent:
                    return

        task = asyncio.create_task(sending())
        for start in range(0, n, BATCH):
            names = [f"b{i}" for i in range(1000 + start, 1000 + start + BATCH)]
            await self.on_writer(lambda names=names: self.decide(names))
        committed = time.monotonic() - began
        over.set()
        await task
        used = time.process_time() - used
        arrived = await receiver.all_of(n)
        return n / committed, n / (max(arrived.values()) - began), used / n * 1e3

    async def close(self) -> None:
        """Put everything away."""
        await self.postman.close()
        await self.on_writer(self.store.close)
        self.writer.shutdown()


def _after_first(name: str, delays: list[float]) -> list[float]:
    """All delays but the first, which is printed."""
    print(f"{name}: the first took {delays[0] * 1e3:.0f} ms")
    return delays[1:]


# ---------------------------------------------------------------- theirs
@contextmanager
def alertmanager(url: str) -> Iterator[int]:
    """Alertmanager on this machine with an empty memory, every alert its own group, no waiting."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "am.yml"
        config.write_text(
            "route: {receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{url}'}}]}}]\n"
        )
        command = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{PORT}", "--cluster.listen-address=", "--log.level=error"]
        with open(f"{folder}/log", "w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A kept connection to it, once it answers."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            break
        await asyncio.sleep(0.05)
    else:
        raise SystemExit("Alertmanager did not start")
    try:
        yield reader, writer
    finally:
        writer.close()


async def post(wire: tuple[asyncio.StreamReader, asyncio.StreamWriter], names: Sequence[str]) -> None:
    """Some alerts begin to fire; returns when Alertmanager has taken them."""
    reader, writer = wire
    alerts = [
        {"labels": {"alertname": "Breach", "id": n}, "annotations": {"now": "ltv_economic 0.90 > 0.80"}} for n in names
    ]
    body = json.dumps(alerts).encode()
    head = f"POST /api/v2/alerts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(f"{head}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(_length(answer))
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise SystemExit(f"Alertmanager answered {answer[:60]!r}")


def used_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def theirs(pid: int, n: int, storm: int, receiver: Receiver) -> tuple[list[float], float, float, float]:
    """Delays one at a time; in the storm alerts taken and delivered a second, processor milliseconds for each."""
    async with connection() as wire:
        await asyncio.sleep(1.0)
        began = {}
        for i in range(n + 1):
            began[f"a{i}"] = time.monotonic()
            await post(wire, [f"a{i}"])
            while receiver.ask("count") <= i:  # as ours: the next one after this one arrived
                await asyncio.sleep(0)
        delays = _after_first("alertmanager", [at - began[k] for k, at in (await receiver.all_of(n + 1)).items()])
        start, used = time.monotonic(), used_s(pid)
        for at in range(0, storm, BATCH):
            await post(wire, [f"s{i}" for i in range(at, at + BATCH)])
        taken = time.monotonic() - start
        arrived = await receiver.all_of(storm)
        spent = (used_s(pid) - used) / storm * 1e3
        return delays, storm / taken, storm / (max(arrived.values()) - start), spent


# ---------------------------------------------------------------- the run
def quantile(delays: Sequence[float], share: float) -> float:
    """Milliseconds."""
    return sorted(delays)[min(len(delays) - 1, int(len(delays) * share))] * 1e3


def disk_ms(folder: Path) -> float:
    """What one small write that is on the disk costs here."""
    spans = []
    with open(folder / "probe", "wb", buffering=0) as file:
        for _ in range(50):
            started = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            spans.append(time.perf_counter() - started)
    return statistics.median(spans) * 1e3


async def run(quick: bool, beside: bool) -> None:
    """Measure and print."""
    n, storm = (100, 500) if quick else (500, 2000)
    receiver = Receiver()
    rows: list[tuple[str, list[float], float, float, float]] = []
    try:
        with tempfile.TemporaryDirectory(prefix="canary-bench-") as folder:
            print(f"one write to this disk, with fsync: {disk_ms(Path(folder)):.2f} ms")
            for desks in (1, 20):
                ours = Ours(Path(folder), receiver.url, desks)
                delays = await ours.one_by_one(n, receiver)
                rows.append(
                    (f"canary, {desks} destination{'s' * (desks > 1)}", delays, *await ours.storm(storm, receiver))
                )
                await ours.close()
        if beside and shutil.which("prometheus-alertmanager"):
            with alertmanager(receiver.url) as pid:
                rows.append(("alertmanager", *await theirs(pid, n, storm, receiver)))
        else:
            print("Alertmanager is left out" + ("" if not beside else ": it is not installed"))
    finally:
        receiver.close()
    loaded = sorted({"pandas", "matplotlib"} & set(sys.modules))
    print(f"{'':<24} {'p50 ms':>8} {'p99 ms':>8} {'taken/s':>9} {'delivered/s':>12} {'cpu ms':>8}")
    for name, delays, taken, delivered, spent in rows:
        print(
            f"{name:<24} {quantile(delays, 0.5):>8.2f} {quantile(delays, 0.99):>8.2f} "
            f"{taken:>9,.0f} {delivered:>12,.0f} {spent:>8.2f}"
        )
    if rows[-1][0] == "alertmanager":
        ratios = [quantile(rows[0][1], share) / quantile(rows[-1][1], share) for share in (0.5, 0.99)]
        print(f"ours to theirs: p50 {ratios[0]:.1f} times, p99 {ratios[1]:.1f} times")
    if loaded:
        raise SystemExit(f"the sender loaded {', '.join(loaded)}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of it")
    parser.add_argument("--without-alertmanager", action="store_true")
    parser.add_argument("--receiver", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    asyncio.run(receive() if options.receiver else run(options.quick, not options.without_alertmanager))


if __name__ == "__main__":
    main()
