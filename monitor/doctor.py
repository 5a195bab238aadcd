"""``canary doctor``: everything an installation stands on, looked at one by one, each a line with its fix.

It changes nothing. What it cannot look at (offline, no database yet) it says so; only a problem is a finding.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

import httpx

from monitor import feeds
from monitor.asking import DATABASES, holder
from monitor.commands import Reply
from monitor.config import Config, heartbeat_url, input_files, read_secret, secret_places
from monitor.feeds.http import clean, new_http
from monitor.logsafe import protect_logs
from monitor.model import CanaryError, InputError
from monitor.redact import redact
from monitor.shell import Shell
from monitor.store import Store
from monitor.tables import Cell, Head, Table, Tone
from monitor.world import World, build_world

#: less room than this and a busy day may fill the disk
MIN_FREE_BYTES = 200_000_000
#: a clock wrong by more than this makes ages and dates of prices wrong
MAX_SKEW_S = 60.0
#: nothing of this program was written before; an older date is a clock that was never set
BORN = datetime(2026, 1, 1, tzinfo=UTC)
Outcome = Literal["ok", "problem", "skipped"]
TONES: dict[Outcome, Tone] = {"ok": "good", "problem": "critical", "skipped": "dim"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at: what was found, and what to do about a problem."""

    what: str
    outcome: Outcome
    found: str
    fix: str = ""


def examine(shell: Shell) -> Reply:
    """Look at everything; a finding when something is a problem."""
    protect_logs()  # every attempt is part of a line below
    lines = list(_all(shell))
    rows = [
        (Cell(line.what), Cell(line.outcome, TONES[line.outcome]), Cell(line.found), Cell(line.fix)) for line in lines
    ]
    bad = sum(line.outcome == "problem" for line in lines)
    skipped = sum(line.outcome == "skipped" for line in lines)
    title = f"{bad} of {len(lines)} things need a look" if bad else f"{len(lines) - skipped} things are fine"
    title += f", {skipped} could not be looked at" if skipped else ""
    heads = (Head("what"), Head(""), Head("found"), Head("fix"))
    data = {"problems": bad, "lines": [asdict(line) for line in lines]}
    return Reply(data, (Table(title, heads, tuple(rows)),), finding=bad > 0)


def _all(shell: Shell) -> Iterator[Line]:
    yield clock(datetime.now(UTC))
    try:
        config = shell.config()
    except CanaryError as error:
        yield Line("config", "problem", _first(error), "correct it: canary check shows every mistake with its place")
        return
    yield Line("config", "ok", f"{config.found.file} ({config.found.why})")
    world = None
    try:
        world = build_world(config, offline=shell.offline)
    except CanaryError as error:
        yield Line("files", "problem", _first(error), "correct it: canary check shows every mistake with its place")
    else:
        counts = f"{len(world.book.borrowers)} borrowers, {len(world.rules)} rules, {len(world.scenarios)} scenarios"
        yield Line("files", "ok", counts)
    yield from permissions(config)
    yield from secrets(config)
    yield room(config.paths.state)
    yield from databases(config.paths.state)
    yield running(config.paths.state)
    yield page(config)
    if shell.offline:
        yield Line("sources", "skipped", "--offline: nothing was asked")
    elif world is not None:
        yield from sources(world)


def _first(error: CanaryError) -> str:
    if isinstance(error, InputError):
        problem, more = error.problems[0], len(error.problems) - 1
        rest = f" (and {more} more)" if more else ""
        return redact(f"{problem.file}:{problem.line}: {problem.message}{rest}")
    return redact(str(error))


# ---------------------------------------------------------------- this machine
def clock(now: datetime) -> Line:
    """Whether the time of day can be true at all.

    >>> clock(datetime(1970, 1, 2, tzinfo=UTC)).outcome, clock(datetime(2026, 11, 1, tzinfo=UTC)).outcome
    ('problem', 'ok')
    """
    if now < BORN:
        return Line("clock", "problem", f"it says {now:%Y-%m-%d %H:%M} UTC", "set it: timedatectl set-ntp true")
    return Line("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC")


def room(state: Path) -> Line:
    """Whether the disk of the database has room."""
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / 1e9:.1f} GB free under {there}"
    if free < MIN_FREE_BYTES:
        return Line("disk", "problem", text, "make room; without it evaluations fail and say so")
    return Line("disk", "ok", text)


def permissions(config: Config) -> Iterator[Line]:
    """Whether Canary may write what it must, and others may not what they must not."""
    state = config.paths.state
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        fix = f"give this user the folder, or set paths.state: sudo chown {os.getuid()} {there}"
        yield Line("state folder", "problem", f"{there} cannot be written to", fix)
    elif state.exists() and (open_to := _open_to(state, 0o077)):
        yield Line("state folder", "problem", f"{state} is open to {open_to}", f"chmod 700 {state}")
    else:
        yield Line("state folder", "ok", str(state) if state.exists() else f"{state} (made at the first start)")
    for path in (path for name in DATABASES if (path := state / name).exists()):
        if open_to := _open_to(path, 0o077):
            yield Line("database file", "problem", f"{path} is open to {open_to}", f"chmod 600 {path}")
    loose = [path for path in input_files(config) if _open_to(path, 0o002)]
    if loose:
        fix = f"chmod o-w {loose[0]}" + (f" (and {len(loose) - 1} more)" if len(loose) > 1 else "")
        yield Line("your files", "problem", "anybody on this machine may change the rules or the book", fix)
    else:
        yield Line("your files", "ok", "nobody but their owner and group may change them")


def _open_to(path: Path, mask: int) -> str:
    """Who else has rights the mask forbids: ``others``, ``its group``, both or nobody."""
    mode = path.stat().st_mode & mask
    who = [name for name, bits in (("its group", stat.S_IRWXG), ("others", stat.S_IRWXO)) if mode & bits]
    return " and ".join(who)


def secrets(config: Config) -> Iterator[Line]:
    """Whether every secret the config names is there and only its owner can read it; none is ever shown."""
    base = config.found.file.resolve().parent
    for whose, env, file in secret_places(config):
        if not (env or file):
            continue
        try:
            read_secret(env, file, os.environ, base)
            if whose == "heartbeat url":
                heartbeat_url(config, os.environ, base)
        except CanaryError as error:
            yield Line(whose, "problem", str(error), f"put it into {env or file}")
            continue
        path = base / Path(file).expanduser() if file else None
        if path is not None and (open_to := _open_to(path, 0o077)):
            yield Line(whose, "problem", f"{path} can be read by {open_to}", f"chmod 600 {path}")
        else:
            yield Line(whose, "ok", f"found in {env or file}")


# ---------------------------------------------------------------- the database and the daemon
def databases(state: Path) -> Iterator[Line]:
    """Whether each database is whole, and whether anything decided to be said is neither said nor on its way."""
    found = [state / name for name in DATABASES if (state / name).exists()]
    if not found:
        yield Line("database", "skipped", f"none yet in {state}", "canary tick or canary run makes it")
    for path in found:
        try:
            with Store.reader(path) as store:
                yield from _database(path, store)
        except CanaryError as error:
            fix = "restore a backup: canary restore FILE" if path.name == DATABASES[0] else f"delete {path}"
            yield Line(path.name, "problem", str(error), fix)


def _database(path: Path, store: Store) -> Iterator[Line]:
    whole = store.check()
    if whole != "ok":
        yield Line(path.name, "problem", whole, "restore a backup: canary restore FILE")
        return
    yield Line(path.name, "ok", f"whole, {path.stat().st_size / 1e6:.1f} MB")
    if lost := store.lost_events():
        text = f"{len(lost)} events were to be said and are not on their way"
        yield Line(path.name, "problem", text, "see canary explain; please report it as a fault")
    last = store.last_tick()
    if last is not None and not last.recorded and last.eval_at > datetime.now(UTC):
        text = f"the last evaluation is of {last.eval_at:%Y-%m-%d %H:%M} UTC, in the future"
        yield Line("clock", "problem", text, "the clock was set back or was wrong then; check it: timedatectl")


def running(state: Path) -> Line:
    """Who runs on this state folder; nobody is no problem."""
    who = holder(state)
    return Line("daemon", "ok", f"running ({who})") if who else Line("daemon", "skipped", "not running: canary run")


def page(config: Config) -> Line:
    """Whether the page with health and metrics answers, or could: asked while a daemon runs, else its port is tried."""
    at = config.serve.listen
    host, _, port = at.rpartition(":")
    if not config.serve.enabled or int(port) == 0:
        return Line("page", "skipped", "serve.enabled is false" if int(port) else "its port is chosen at the start")
    if holder(config.paths.state) is None:
        try:
            socket.create_server((host.strip("[]"), int(port)), family=_family(host)).close()
        except OSError as error:
            why = f"{at} cannot be used: {error.strerror or error}"
            return Line("page", "problem", why, "set serve.listen to another port, or serve.enabled to false")
        return Line("page", "ok", f"{at} is free")
    try:
        answer = httpx.get(f"http://{at}/readyz", timeout=3.0, trust_env=False)
    except httpx.HTTPError as error:
        return Line("page", "problem", f"{at} does not answer ({type(error).__name__})", "see the log of the daemon")
    if answer.status_code != 200:
        return Line("page", "problem", clean(f"not ready: {answer.text}", 160), "see the log of the daemon")
    return Line("page", "ok", f"ready at http://{at}/metrics")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if host == "[::1]" else socket.AF_INET


# ---------------------------------------------------------------- the world outside
def sources(world: World) -> Iterator[Line]:
    """What every source answers now, and what time the first of them has; asks each once, keeps nothing."""
    now = datetime.now(UTC)
    _, reports = asyncio.run(feeds.fetch_all(world.feeds, now, 20.0))
    for report in reports:
        if report.ok:
            said = f"{report.observations} values in {report.seconds:.1f} s"
            yield Line(f"source {report.feed}", "ok", clean(f"{said}; {report.reason}", 160) if report.reason else said)
        else:
            fix = f"check the network; to do without: feeds: {{{report.feed}: {{enabled: false}}}}"
            yield Line(f"source {report.feed}", "problem", clean(redact(report.reason), 160), fix)
    asked = next((feed for feed in world.feeds if feed.base_url), None)
    if asked is not None:
        yield skew(asyncio.run(_time_there(asked.base_url)), lambda: datetime.now(UTC))


async def _time_there(url: str) -> datetime | None:
    """The time in the answer of a web server, None when it gave none; whole seconds."""
    try:
        async with new_http() as http:
            answer = await http.head(url, timeout=10.0)
        return parsedate_to_datetime(answer.headers["date"])
    except (httpx.HTTPError, KeyError, ValueError, TypeError):
        return None


def skew(there: datetime | None, now: Callable[[], datetime]) -> Line:
    """Whether our clock agrees with somebody else's.

    >>> noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    >>> skew(noon.replace(minute=5), lambda: noon).found
    'it is 300 s slow'
    """
    if there is None:
        return Line("clock, compared", "skipped", "no source told its time")
    if there.tzinfo is None:
        there = there.replace(tzinfo=UTC)
    off_s = (now() - there).total_seconds()
    if abs(off_s) > MAX_SKEW_S:
        text = f"it is {abs(off_s):.0f} s {'fast' if off_s > 0 else 'slow'}"
        return Line("clock, compared", "problem", text, "set it: timedatectl set-ntp true")
    return Line("clock, compared", "ok", f"within {MAX_SKEW_S:.0f} s of a source's")
