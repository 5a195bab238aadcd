"""The page of the last evaluation, or of any moment of the recorded past."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from monitor.asking import DATABASES
from monitor.model import CanaryError
from monitor.moments import moment
from monitor.report.gather import gather
from monitor.report.page import render
from monitor.shell import OK, Shell
from monitor.store import Store
from monitor.tick import looking, newest_close
from monitor.world import World, build_world


def page(world: World, at: datetime | None, now: datetime) -> str:
    """The page. Without ``at`` that of the last evaluation, or, before the first one, of the newest recorded prices."""
    if at is None:
        for name in DATABASES:
            path = world.config.paths.state / name
            if path.exists():
                with closing(Store.reader(path)) as reader:
                    reader.db.execute("BEGIN")  # one snapshot: an evaluation that ends meanwhile changes nothing here
                    if reader.last_tick() is not None:
                        return render(gather(world, reader))
    with looking(world, newest_close(world, now) if at is None else at) as (store, _):
        return render(gather(world, store))


def run_report(shell: Shell, out: str, at: str | None) -> int:
    """Write the page into a file and say where it is."""
    from monitor.commands import Reply
    from monitor.tables import Cell, Table

    now, path = datetime.now(UTC), Path(out).expanduser()
    if path.suffix.lower() not in (".html", ".htm"):
        raise CanaryError(f"the report is HTML: end {out[:80]!r} in .html")
    world = build_world(shell.config(), offline=shell.offline)
    text = page(world, None if at is None else moment(at, now), now)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CanaryError(f"cannot write {out[:80]}: {error.strerror}") from None
    size = len(text.encode())
    note = Cell(f"{path}: one page, {size / 1e6:.1f} MB, nothing outside it is needed; open it in a browser", "good")
    shell.show(Reply({"file": str(path), "bytes": size}, (Table("", notes=(note,)),)))
    return OK
