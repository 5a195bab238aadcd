"""Once a day a large run, in a process of its own and behind everything else, so that no evaluation waits for it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor.config import Config, NightlyConfig
from monitor.model import CanaryError
from monitor.tables import show

#: how far behind the daemon it stands in line for a processor
BEHIND = 15
#: how long it may take to leave when it is asked to
LEAVE_S = 5.0


def due(settings: NightlyConfig, last: datetime | None, now: datetime) -> bool:
    """Whether today's run is to begin: its time of day has passed and it was not begun since. ``last`` is None at the
    start, which begins nothing: a restart at noon is no night.

    >>> from datetime import UTC
    >>> night = NightlyConfig(tape="t.csv", map="m.yaml", out="o", at="02:00")
    >>> noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    >>> [due(night, noon, noon + timedelta(hours=hours)) for hours in (13, 15)], due(night, None, noon)
    ([False, True], False)
    """
    if last is None:
        return False
    hour, minute = map(int, settings.at.split(":"))
    local = now.astimezone(ZoneInfo(settings.tz))
    today = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    moment = today if local >= today else today - timedelta(days=1)
    return last < moment


def command(config: Config, settings: NightlyConfig, day: datetime) -> list[str]:
    """The command line of one night, each night into a folder of its own."""
    base = config.found.file.resolve().parent
    tape, map_, out = (str(base / Path(text).expanduser()) for text in (settings.tape, settings.map, settings.out))
    return [
        sys.executable, "-c", "import sys; from monitor.cli import main; sys.exit(main())", "--config",
        str(config.found.file), "--json", "large", tape, "--map", map_, "--out", f"{out}/{day:%Y-%m-%d}", "--paths",
        str(settings.paths), "--months", str(settings.months), "--memory", settings.memory,
    ]  # fmt: skip


async def run(line: Sequence[str], environ: dict[str, str]) -> str:
    """Run it to its end and say in a sentence what came out. CanaryError with its own words when it failed; cancelled,
    it is ended first."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *line, stdout=pipe, stderr=pipe, stdin=asyncio.subprocess.DEVNULL, env=environ, start_new_session=True
    )
    with suppress(OSError):  # it is over already, or this system does not let us
        os.setpriority(os.PRIO_PROCESS, process.pid, BEHIND)
    try:
        out, said = await process.communicate()
    except asyncio.CancelledError:
        await _end(process)
        raise
    if process.returncode != 0:
        last = " ".join(said.decode("utf-8", "replace").split())[-300:]
        raise CanaryError(f"the nightly run failed: {last or f'exit code {process.returncode}'}")
    return sentence(json.loads(out))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to leave, then make it."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), LEAVE_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def sentence(found: dict[str, object]) -> str:
    """What a night found, for a message.

    >>> sentence({"obligors": 5000, "unknown": 3, "paths": 65536, "months": 12, "debt_judged_usd": 9e9,
    ...           "debt_expected_to_break_usd": 1.2e8, "file": "/data/2026-11-02/result.parquet"})
    'nightly run: of 9.00bn USD judged 120.0m USD is expected to break within 12 months; 5,000 obligors, 3 unknown; /data/2026-11-02/result.parquet'
    """  # noqa: E501 - one sentence
    judged, broken = (
        show(float(str(found[name])), "usd") for name in ("debt_judged_usd", "debt_expected_to_break_usd")
    )
    return (
        f"nightly run: of {judged} USD judged {broken} USD is expected to break within {found['months']} months; "
        f"{int(str(found['obligors'])):,} obligors, {int(str(found['unknown'])):,} unknown; {found['file']}"
    )


class Nightly:
    """When the last run began, and beginning the next one. Asked often; it answers what to tell people, or nothing."""

    def __init__(self, now: datetime, environ: dict[str, str]) -> None:
        self.last, self.environ = now, environ
        self._running: asyncio.Task[str] | None = None

    async def look(self, config: Config, now: datetime) -> str:
        """Run today's if it is due. CanaryError when it failed."""
        settings = config.nightly
        if settings is None or not due(settings, self.last, now):
            return ""
        self.last = now
        self._running = asyncio.create_task(run(command(config, settings, now), self.environ))
        return await self._running

    def stop(self) -> None:
        """End what is running; the parts it finished are kept."""
        if self._running is not None:
            self._running.cancel()
