"""What the command line does with the daemon's parts: one evaluation, and the daemon on a screen."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TextIO, TypeVar

from monitor.asking import DATABASES, LOCK_FILE
from monitor.commands import Reply
from monitor.config import Config
from monitor.daemon import Daemon, Screen, deliver_all, remember, seen
from monitor.logsafe import log_settings, start_log
from monitor.moments import moment
from monitor.overview import Overview, overview_json, overview_table
from monitor.postman import Postman
from monitor.shell import OK, Shell
from monitor.store import Lock
from monitor.tables import print_table, terminal
from monitor.tick import Memory, TickResult, look, tick
from monitor.units import format_age
from monitor.world import World, build_world

T = TypeVar("T")
LOG = logging.getLogger("canary")


# ---------------------------------------------------------------- one evaluation
def run_tick(shell: Shell, at: str | None, dry_run: bool) -> int:
    """Evaluate once and print it: now, without a trace, or at a moment of the past."""
    now = datetime.now(UTC)
    world = build_world(shell.config(), offline=shell.offline)

    def show(shown: Overview) -> int:
        code = shell.show(Reply(overview_json(shown), (overview_table(shown),), finding=shown.firing > 0))
        sys.stdout.flush()
        return code

    if at is not None:
        return show(seen(world, look(world, moment(at, now))))
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="canary-") as folder:
            return asyncio.run(_once(world, Path(folder), now, show, send=False, aside=False))
    with Lock(world.config.paths.state / LOCK_FILE):
        return asyncio.run(_once(world, world.config.paths.state, now, show, send=True, aside=shell.as_json))


async def _here(work: Callable[[], T]) -> T:
    """The writer's work in this very thread: a single evaluation has nothing else to do meanwhile."""
    return work()


async def _once(
    world: World, state: Path, now: datetime, show: Callable[[Overview], int], send: bool, aside: bool
) -> int:
    """Evaluate, show, then deliver what is unsent; ``aside``: the console channel leaves standard output alone."""
    memory = Memory(state, now)
    postman = Postman(_here, lambda: datetime.now(UTC))
    try:
        result = await tick(world, memory, now, _here)
        shown = seen(world, result)
        remember(memory, result, shown)
        code = show(shown)
        with redirect_stdout(sys.stderr) if aside else nullcontext():
            if send:
                await deliver_all(postman, world, memory, now)
    finally:
        await postman.close()
        memory.close()
    return code


# ---------------------------------------------------------------- the daemon on a screen
def run_daemon(shell: Shell) -> int:
    """Run until told to stop; 0 then. Raises StoreError when another process already runs on the same state."""
    # standard output belongs to the screen; with --json the console channel's messages go to standard error
    config = shell.config()
    log = log_settings(config.logging, os.environ)
    start_log(log)
    screen: Screen = JsonScreen(sys.stdout) if shell.as_json else TableScreen(shell)
    if log.level in ("info", "debug") and not shell.as_json:
        screen = LogScreen()
    lock = Lock(config.paths.state / LOCK_FILE)
    with lock, redirect_stdout(sys.stderr) if shell.as_json else nullcontext():
        asyncio.run(Daemon(shell.config, os.environ, screen, shell.offline).run())
    return OK


class TableScreen:
    """The daemon for people: the whole table first and when prices turn live, then a line for each evaluation."""

    def __init__(self, shell: Shell):
        self.shell = shell
        self.recorded: date | None = None
        self.first = True

    def evaluated(self, world: World, result: TickResult, shown: Overview, next_at: datetime) -> None:
        """Show one evaluation."""
        if self.first or bool(self.recorded) != bool(shown.recorded):
            print_table(overview_table(shown), terminal(plain=self.shell.plain))
        if self.first:
            self.say("\n".join(["", *welcome(world.config, result.recorded is not None, next_at)]))
        else:
            price = f"BTC {shown.btc_usd:,.0f}" if shown.btc_usd else "BTC ?"
            mark = f"RECORDED {shown.recorded} " if shown.recorded else ""
            self.say(f"{result.eval_at:%H:%M} UTC {mark}{price}, {shown.firing} firing; next {next_at:%H:%M} UTC")
        self.first, self.recorded = False, shown.recorded

    def say(self, text: str, trouble: bool = False) -> None:
        """One line about the daemon itself."""
        print(text, flush=True)


class LogScreen:
    """The daemon for a journal: what happens is the log itself, one line an event."""

    def evaluated(self, world: World, result: TickResult, shown: Overview, next_at: datetime) -> None:
        """One line for the evaluation, then one for each source in trouble and each alert that changed."""
        facts: dict[str, object] = {"btc_usd": shown.btc_usd, "firing": shown.firing, "messages": len(result.messages)}
        facts |= {"recorded": str(shown.recorded)} if shown.recorded else {}
        facts |= {"took_s": round(result.duration_s, 3), "next": next_at.isoformat(timespec="seconds")}
        LOG.info("evaluated", extra={"facts": facts})
        for problem in result.problems:
            LOG.warning("source: %s", problem)
        for event in result.events:
            named = {"rule": event.rule, "subject": event.subject, "severity": event.severity, "id": event.short_id}
            LOG.info("alert %s", event.kind, extra={"facts": named})

    def say(self, text: str, trouble: bool = False) -> None:
        """One line about the daemon itself."""
        LOG.log(logging.ERROR if trouble else logging.INFO, "%s", text)


class JsonScreen:
    """The daemon for machines: one JSON object a line."""

    def __init__(self, out: TextIO):
        self.out = out

    def evaluated(self, world: World, result: TickResult, shown: Overview, next_at: datetime) -> None:
        """Show one evaluation."""
        print(
            json.dumps({**overview_json(shown), "next_at": next_at.isoformat()}, allow_nan=False),
            file=self.out,
            flush=True,
        )

    def say(self, text: str, trouble: bool = False) -> None:
        """One line about the daemon itself."""
        print(json.dumps({"says": text}), file=self.out, flush=True)


def welcome(config: Config, recorded: bool, next_at: datetime) -> list[str]:
    """What a newcomer wants to know after the first table."""
    every = format_age(config.schedule.every)
    database = config.paths.state / DATABASES[1 if recorded else 0]
    lines = [f"next evaluation  {next_at:%H:%M:%S} UTC, every {every} (schedule.every in {config.found.file.name})"]
    lines.append(f"database         {database}")
    if config.found.starter:
        lines.append("edit a rule      these files are read-only: canary init DIR lays out your own")
    else:
        lines.append(f"edit a rule      {config.paths.rules}/*.yaml, taken up before the next evaluation")
    if not any(route.channel == "telegram" for route in config.routes):
        lines.append(
            "add Telegram     uncomment 'chat' and the route 'desk' in config.yaml and follow what stands there"
        )
    lines.append("stop             Ctrl-C")
    return lines
