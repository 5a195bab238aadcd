"""``canary backfill``: the past from the sources, with a bar for each, and the past from CSV and Parquet files."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from monitor import feeds as sources
from monitor.backfill import Filled, backfill, has_past
from monitor.commands import Reply
from monitor.feeds import file
from monitor.model import CanaryError, Observation
from monitor.store import Lock, Store
from monitor.tables import UNKNOWN, Cell, Head, Table
from monitor.world import feed_settings
from monitor.yamltext import suggest

if TYPE_CHECKING:
    from monitor.shell import Shell

#: a Parquet file is packed: its rows are counted before they are unpacked
MAX_ROWS = 500_000
MAX_NOTES = 8


# ---------------------------------------------------------------- files
def read_table(path: Path) -> list[Observation]:
    """The observations of a CSV or Parquet file with the columns of :mod:`monitor.feeds.file`.

    InputError with every mistake and its line; a line of a Parquet file is its row plus one, as in CSV.
    """
    if path.suffix.lower() == ".csv":
        return file.read_csv(path)
    if path.suffix.lower() == ".parquet":
        return file.parse_csv(_parquet_as_csv(path), path.name)
    raise CanaryError(f"{path.name}: is neither .csv nor .parquet")


def _parquet_as_csv(path: Path) -> str:
    """A Parquet file as CSV text, so that one set of checks holds for both."""
    try:
        from pyarrow import ArrowException, csv, parquet
    except ImportError:
        raise CanaryError("Parquet files need pyarrow: pip install 'compute-canary[parquet]'") from None
    from io import BytesIO

    try:
        if path.stat().st_size > file.MAX_FILE_BYTES:
            raise CanaryError(f"{path.name}: has more than {file.MAX_FILE_BYTES:,} bytes")
        with parquet.ParquetFile(path) as table:
            if table.metadata.num_rows > MAX_ROWS:
                raise CanaryError(f"{path.name}: has {table.metadata.num_rows:,} rows, at most {MAX_ROWS:,} are read")
            text = BytesIO()
            csv.write_csv(table.read(), text)
    except (ArrowException, OSError) as error:
        raise CanaryError(f"{path.name}: cannot be read as Parquet: {str(error).splitlines()[0][:200]}") from None
    return text.getvalue().decode("utf-8")


def import_files(store: Store, paths: Sequence[Path]) -> list[Filled]:
    """Every file into the database, all or none: a mistake in one is said before anything is written."""
    read = [(path, read_table(path)) for path in paths]
    found = []
    with store.transaction():
        for path, rows in read:
            moments = [row.observed_at for row in rows]
            new = store.keep(rows)
            found.append(Filled(path.name, 1, len(rows), new, min(moments, default=None), max(moments, default=None)))
    return found


# ---------------------------------------------------------------- sources
def with_past(discovered: Sequence[sources.Feed | sources.Off], only: Sequence[str]) -> list[sources.Feed]:
    """The sources to ask: all that can tell their past, or those named. CanaryError for one that cannot."""
    usable = {one.name: one for one in discovered if isinstance(one, sources.Feed) and has_past(one)}
    off = {one.name: one.reason for one in discovered if isinstance(one, sources.Off)}
    mute = {one.name for one in discovered if isinstance(one, sources.Feed)} - set(usable)
    for name in only:
        if name in off:
            raise CanaryError(f"{name} cannot be asked: {off[name]}")
        if name in mute:
            raise CanaryError(f"{name} tells no past; these do: {', '.join(sorted(usable))}")
        if name not in usable:
            raise CanaryError(f"there is no source {name!r}. {suggest(name, sorted(usable))}")
    return [usable[name] for name in only] if only else list(usable.values())


def first_moment(text: str, now: datetime) -> datetime:
    """The begin of a day written as 2021-01-01; CanaryError for anything else, and for one that is not over."""
    try:
        moment = datetime.combine(date.fromisoformat(text), time(), tzinfo=UTC)
    except ValueError:
        raise CanaryError(f"{text[:40]!r} is no day; write 2021-01-01") from None
    if moment >= now or moment.year < 2009:
        raise CanaryError(f"--from {text}: write a day between 2009 and yesterday")
    return moment


@contextmanager
def _bars(names: Sequence[str]) -> Iterator[Callable[[str, int, int], None]]:
    """One progress bar per source on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {name: bars.add_task(name, total=None) for name in names}
        yield lambda name, done, of: bars.update(tasks[name], completed=done, total=of)


def run_backfill(shell: Shell, start: str | None, only: Sequence[str], files: Sequence[Path]) -> int:
    """``canary backfill``; 1 when a source failed."""
    config, now = shell.config(), datetime.now(UTC)
    if (start is None) == (not files):
        raise CanaryError(
            "say from when, `canary backfill --from 2021-01-01`, or name files, `canary backfill FILE.csv`"
        )
    asked = [] if start is None else with_past(sources.discover(feed_settings(config, shell.offline)), only)
    if start is not None and not asked:
        raise CanaryError("no source that tells its past may be asked here; leave out --offline, or name files")
    state = config.paths.state
    with Lock(state / "backfill.lock"), Store(state / "canary.sqlite") as store:
        if start is None:
            return shell.show(answer("Files taken in", import_files(store, files)))
        with _bars([feed.name for feed in asked]) as progress:
            found = asyncio.run(backfill(store, asked, first_moment(start, now), now, progress))
    return shell.show(answer(f"The past since {start}", found))


def answer(title: str, found: Sequence[Filled]) -> Reply:
    """What came, as a table and as data."""
    heads = (Head("source"), *(Head(h, right=True) for h in ("requests", "values", "new")), Head("from"), Head("to"))
    rows = [
        (
            Cell(one.source, "critical" if one.failed else ""),
            *(Cell(f"{count:,}") for count in (one.stretches, one.given, one.new)),
            *(Cell(f"{moment:%Y-%m-%d}" if moment else UNKNOWN) for moment in (one.oldest, one.newest)),
        )
        for one in found
    ]
    notes = [
        Cell(f"{one.source} stopped: {one.failed}; run the same line again", "critical") for one in found if one.failed
    ]
    left = [f"{one.source}: {count} left out, {why}" for one in found for why, count in one.left_out]
    notes += [Cell(text, "warning") for text in left[:MAX_NOTES]]
    notes += [Cell(f"and {len(left) - MAX_NOTES} more reasons", "warning")] if len(left) > MAX_NOTES else []
    notes.append(Cell("known at the moment each value was published, which is an assumption about the past", "dim"))
    data = {
        "sources": [
            {
                "source": one.source,
                "requests": one.stretches,
                "values": one.given,
                "new": one.new,
                "from": one.oldest.isoformat() if one.oldest else None,
                "to": one.newest.isoformat() if one.newest else None,
                "left_out": dict(one.left_out),
                "failed": one.failed or None,
            }
            for one in found
        ]
    }
    return Reply(data, (Table(title, heads, tuple(rows), tuple(notes)),), finding=any(one.failed for one in found))
