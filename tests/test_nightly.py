"""A large run at night: begun once a day by the clock it is given, in another process, ended when the daemon stops."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import lay_desk
from tapes import random_lines, written

from monitor.config import Found, NightlyConfig, load_config
from monitor.model import CanaryError
from monitor.nightly import Nightly, command, due, run

EVENING = datetime(2026, 11, 1, 20, tzinfo=UTC)
ROOT = Path(__file__).parents[1]
NIGHT = NightlyConfig(tape="tape.csv", map="map.yaml", out="nights", at="02:00", tz="Europe/Zurich", paths=1000)


def test_it_is_due_once_a_night_by_local_time() -> None:
    """From two in Zurich on, once; a clock change or a late look makes it neither twice nor never."""
    begun, last = [], EVENING
    for hours in range(72):
        now = EVENING + timedelta(hours=hours, minutes=7)
        if due(NIGHT, last, now):
            begun.append(now)
            last = now
    assert [f"{at:%d %H}" for at in begun] == ["02 01", "03 01", "04 01"]


def test_a_night_is_run_and_told(tmp_path: Path) -> None:
    """The real command on a small tape, in a process of its own; nothing is due a minute later."""
    pytest.importorskip("pyarrow")
    lay_desk(tmp_path)
    known = (ROOT / "book" / "_assumptions.yaml").read_text("utf-8")
    (tmp_path / "book" / "_assumptions.yaml").write_text(known, "utf-8")
    written(tmp_path, *random_lines(10, 20))
    with (tmp_path / "config.yaml").open("a", encoding="utf-8") as file:
        file.write("nightly: {tape: tape.csv, map: map.yaml, out: nights, paths: 1000}\n")
    config = load_config(Found(tmp_path / "config.yaml", "a test"), {"HOME": str(tmp_path)})
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    nightly = Nightly(EVENING, environ)

    async def night() -> tuple[str, str]:
        at = EVENING + timedelta(hours=8)
        return await nightly.look(config, at), await nightly.look(config, at + timedelta(minutes=1))

    told, again = asyncio.run(night())
    assert "10 obligors, 0 unknown" in told
    assert (tmp_path / "nights" / "2026-11-02" / "result.parquet").exists()
    assert again == ""


def test_a_night_that_fails_says_why(tmp_path: Path) -> None:
    """The command's own words, not an exit code; a missing tape is one of them."""
    lay_desk(tmp_path)
    config = load_config(Found(tmp_path / "config.yaml", "a test"), {"HOME": str(tmp_path)})
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with pytest.raises(CanaryError, match=r"nightly run failed: .*map\.yaml"):
        asyncio.run(run(command(config, NIGHT, EVENING), environ))


def test_a_stop_ends_the_process(tmp_path: Path) -> None:
    """Cancelled, the process is gone before anybody is told that the daemon stopped."""
    mark = tmp_path / "pid"
    code = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    async def stopped() -> int:
        task = asyncio.create_task(run([sys.executable, "-c", code], dict(os.environ)))
        async with asyncio.timeout(30):
            while not mark.exists() or not mark.read_text("utf-8"):
                await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return int(mark.read_text("utf-8"))

    pid = asyncio.run(stopped())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
