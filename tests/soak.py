"""A long life in a short time: the real daemon on a virtual clock, its prices and chat from another process.

``python tests/soak.py 10000`` evaluates that often, an hour apart, with real SQLite files, real HTTP over the loopback
and the real Telegram channel, and prints a line for each tenth of the way: memory, database, open files, tasks. Prices
cross a rule's line every day, one source answer in 50 is an error, and so is one message in 40. It ends with 1 when
something grew that should not.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from desk import RULE, lay_desk
from fake_telegram import TOKEN

from monitor.config import Found, load_config
from monitor.daemon import Daemon
from monitor.feeds import discover
from monitor.store import Store

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
STEP = timedelta(hours=1)
#: the part of the way in which caches fill and the retention of the desk begins to bite
WARM_UP = 0.4
#: what may grow after it: memory by its 2 %, a database by the one row a day it keeps for ever
MAX_MEMORY_GROWTH = 0.02
MAX_BYTES_A_DAY = 20_000
RULES = """- alert: CheapCoins
  expr: btc_usd < 60000
  each: market
  severity: critical
  inhibits: [CheapEther]
  summary: "bitcoin at {btc_usd:usd}"
- alert: CheapEther
  expr: eth_usd < 3000
  each: market
  severity: warning
  for: 2h
  summary: "ether at {eth_usd:usd}"
- alert: Falling
  expr: change(btc_usd, 12h) < -5%
  each: market
  severity: info
  summary: "bitcoin fell"
"""
CONFIG = """schedule: {{every: 1h}}
paths: {{state: ./state}}
serve: {{listen: "127.0.0.1:0"}}
retention: {{raw: 1d, hourly: 7d, events: 14d}}
engine: {{paths: 256}}
routes:
  - {{name: desk, channel: telegram, quiet_hours: {{from: "22:00", to: "07:00", tz: Europe/Zurich}}}}
chat: {{telegram: {{token_env: CANARY_SOAK_TOKEN, chat: 42, base_url: "{url}"}}}}
feeds:
{feeds}"""


# ---------------------------------------------------------------- the world outside, in a process of its own
def price(at_s: float, product: str) -> float:
    """A price of a moment: a daily wave across the line of a rule, and a slower one."""
    days = at_s / 86400.0
    wave = 1.0 + 0.06 * math.sin(2 * math.pi * days) + 0.04 * math.sin(2 * math.pi * days / 17.3)
    return round((60_000.0 if product.startswith("BTC") else 3_000.0) * wave, 2)


class _Outside(BaseHTTPRequestHandler):
    """Coinbase and Telegram, as far as they are asked here; every so often they fail."""

    protocol_version = "HTTP/1.1"
    now_s: Any = None
    counts = {"ticker": 0, "send": 0}

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """The last trade, now."""
        self.counts["ticker"] += 1
        at_s = self.now_s.value
        trade = {
            "price": str(price(at_s, self.path.split("/")[2])),
            "time": datetime.fromtimestamp(at_s, UTC).isoformat(),
        }
        self._say(500 if self.counts["ticker"] % 50 == 0 else 200, trade)

    def do_POST(self) -> None:
        """A message is accepted, or now and then not."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.counts["send"] += 1
        if self.counts["send"] % 40 == 0:
            self._say(502, {"ok": False, "error_code": 502, "description": "Bad Gateway"})
        else:
            chat = {"id": 42, "type": "private"}
            result = {"message_id": self.counts["send"], "date": 1793534400, "chat": chat, "text": "x"}
            self._say(200, {"ok": True, "result": result})

    def _say(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the test, not news."""


def _outside(now_s: Any, ready: Any) -> None:
    _Outside.now_s = now_s
    server = _Quiet(("127.0.0.1", 0), _Outside)
    ready.send(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready.recv()  # until the soak is over


@contextmanager
def outside(now_s: Any) -> Iterator[str]:
    """The address of the outside while it lives."""
    spawn = multiprocessing.get_context("fork")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_outside, args=(now_s, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        ours.send("over")
        process.join(5)


# ---------------------------------------------------------------- what is measured
@dataclass(frozen=True)
class Sample:
    """What the process and its databases use after so many evaluations."""

    ticks: int
    rss: int
    database: int
    rows: int
    files: int
    tasks: int
    threads: int

    def __str__(self) -> str:
        return (
            f"{self.ticks:>7} ticks  {self.rss / 2**20:7.1f} MiB  database {self.database / 1e6:6.2f} MB "
            f"{self.rows:>7} rows  {self.files:>3} files  {self.tasks:>3} tasks  {self.threads:>3} threads"
        )


def measure(daemon: Daemon, ticks: int) -> Sample:
    """Look at this process and at the live database."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    path = daemon.memory.live.path
    with Store.reader(path) as store:
        tables = [row["name"] for row in store.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = sum(store.rows(f'SELECT COUNT(*) AS n FROM "{name}"')[0]["n"] for name in tables)
        used = store.rows("SELECT page_count * page_size AS n FROM pragma_page_count, pragma_page_size")[0]["n"]
    files = len(os.listdir("/proc/self/fd"))
    return Sample(ticks, resident, used, rows, files, len(asyncio.all_tasks()), threading.active_count())


def grown(samples: list[Sample]) -> list[str]:
    """What grew after the warm-up that should not, in words."""
    total = samples[-1].ticks
    after = [sample for sample in samples if sample.ticks >= WARM_UP * total]
    first, last = after[0], after[-1]
    days = max((last.ticks - first.ticks) * STEP / timedelta(days=1), 1.0)
    wrong = []
    if last.rss > first.rss * (1 + MAX_MEMORY_GROWTH):
        wrong.append(f"memory grew by {last.rss / first.rss - 1:.1%}")
    if (a_day := (last.database - first.database) / days) > MAX_BYTES_A_DAY:
        wrong.append(f"the database grew by {a_day:.0f} bytes a day")
    for what in ("files", "tasks", "threads"):
        if getattr(last, what) > getattr(first, what):
            wrong.append(f"{what}: {getattr(first, what)} became {getattr(last, what)}")
    return wrong


class Quiet:
    """A screen that counts."""

    def __init__(self) -> None:
        self.evaluations = 0
        self.said: list[str] = []

    def evaluated(self, world: object, result: object, shown: object, next_at: object) -> None:
        """One more."""
        self.evaluations += 1

    def say(self, text: str, trouble: bool = False) -> None:
        """Remember the last few lines."""
        self.said = [*self.said[-20:], text]


def lay(folder: Path, url: str) -> Path:
    """A desk whose only source and only chat are at an address of this machine."""
    lay_desk(folder)
    off = "".join(
        f"  {feed.name}: {{enabled: false}}\n" for feed in discover() if feed.name not in ("coinbase", "file")
    )
    (folder / "config.yaml").write_text(CONFIG.format(url=url, feeds=f"{off}  coinbase: {{base_url: '{url}'}}\n"))
    (folder / "rules" / "mine.yaml").write_text(RULE + RULES)
    return folder / "config.yaml"


async def _live(daemon: Daemon, ticks: int, set_now: Callable[[int], None], samples: list[Sample], tell: bool) -> None:
    async with daemon.opened():
        await daemon._serve()
        daemon.news.clear()
        for done in range(1, ticks + 1):
            set_now(done)
            await daemon.evaluate()
            if done % max(ticks // 10, 1) == 0:
                samples.append(measure(daemon, done))
                if tell:
                    print(samples[-1], flush=True)
        lost = await daemon._on_writer(daemon.memory.live.lost_events)
        assert lost == [], lost


def soak(ticks: int, tell: bool = False) -> tuple[list[Sample], Quiet, Path]:
    """Live through so many hours; what was measured on the way, what was said, and where the database is."""
    os.environ["CANARY_SOAK_TOKEN"] = TOKEN
    logging.disable(logging.WARNING)
    now_s = multiprocessing.Value("d", START.timestamp())
    calls = [0]

    def set_now(done: int) -> None:
        now_s.value, calls[0] = (START + done * STEP).timestamp(), 0

    def clock() -> datetime:
        # time goes on between two messages, so that none has to wait for its turn
        calls[0] += 1
        return datetime.fromtimestamp(now_s.value, UTC) + timedelta(seconds=1.5 * calls[0])

    screen, samples = Quiet(), list[Sample]()
    folder = Path(tempfile.mkdtemp(prefix="canary-soak-"))
    with outside(now_s) as url:
        config = lay(folder, url)
        daemon = Daemon(lambda: load_config(Found(config, "soak"), {}), {}, screen, False, clock)
        # the recorded past is read anew at every evaluation and does not grow: left out, this is three times as fast
        daemon.inputs.world = replace(daemon.inputs.world, recorded=())
        asyncio.run(_live(daemon, ticks, set_now, samples, tell))
    logging.disable(logging.NOTSET)
    return samples, screen, folder


def main(ticks: int) -> int:
    """Run it, print what was measured, and say what is wrong."""
    began = time.monotonic()
    samples, screen, folder = soak(ticks, tell=True)
    took_s = time.monotonic() - began
    with Store.reader(folder / "state" / "canary.sqlite") as store:
        counts = {
            row["state"]: row["n"] for row in store.rows("SELECT state, COUNT(*) AS n FROM outbox GROUP BY state")
        }
        sizes = store.rows("SELECT name, SUM(pgsize) AS n FROM dbstat GROUP BY name ORDER BY n DESC LIMIT 6")
    cpu_s = time.process_time() / ticks
    print(f"{screen.evaluations} evaluations in {took_s:.0f} s, {cpu_s * 1000:.0f} ms of CPU each; outbox {counts}")
    print("largest: " + ", ".join(f"{row['name']} {row['n'] / 1e6:.2f} MB" for row in sizes))
    print("\n".join(screen.said[-3:]))
    shutil.rmtree(folder)
    wrong = grown(samples)
    print("\n".join(wrong) or f"nothing grew after {WARM_UP:.0%} of the way")
    return 1 if wrong or screen.evaluations != ticks else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) > 1 or not re.fullmatch(r"\d{2,7}", (words or ["10000"])[0]):
        sys.exit("usage: soak.py [TICKS]")
    sys.exit(main(int((words or ["10000"])[0])))
