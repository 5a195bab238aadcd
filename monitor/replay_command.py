"""``canary replay``: which days, which book and rules, at which prices; and what other rules would have said.

Prices are the recorded ones and those in the database, so ``canary backfill`` is all a replay of the past needs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.commands import Reply
from monitor.feeds import file
from monitor.model import CanaryError, Observation, end_of_day
from monitor.observed import stored
from monitor.replay import ReplayResult, history_world, replay, without_hindsight
from monitor.replay_compare import Change, Moved, RuleChange, change_json, compare_episodes, compare_rules
from monitor.replay_report import bannered, tables, write_files
from monitor.replay_rigs import rig_checks, rig_marks
from monitor.replay_score import as_json
from monitor.scoring import Episode
from monitor.tables import Cell, Head, Table
from monitor.units import parse_duration_s
from monitor.world import World, build_world

if TYPE_CHECKING:
    from monitor.shell import Shell

#: dates of one rule at one borrower that a table names; JSON has them all
MAX_DATES = 6
#: the borrowers of book/history are followed no further
HISTORY_ENDS = end_of_day(date(2023, 12, 31))


# ---------------------------------------------------------------- the command
def run_replay(
    shell: Shell,
    *,
    start: str | None = None,
    end: str | None = None,
    every: str = "1d",
    history: bool = False,
    prices: Path | None = None,
    database: Path | None = None,
    out: Path | None = None,
    compare: Path | None = None,
    book: Path | None = None,
    rules: Path | None = None,
    paths: bool = False,
    strict: bool = False,
    borrowers: Sequence[str] = (),
) -> int:
    """Replay recorded time and show what would have been said. Days are UTC and stand for their end.

    Prices are the recorded ones and, from ``prices``, a folder of CSV in the shape of :mod:`monitor.feeds.file`, or
    without one what the database holds (``canary backfill``). ``history``: the borrowers of 2021 to 2023 instead of
    today's book. Without days, from the first to the last bitcoin close. ``every`` is a length of time such as 1d.
    ``paths``: numbers over simulated paths too. Progress goes to standard error. ``book`` and ``rules``: other folders.
    ``compare``: another folder of rules to live the same days with; the answer is then what differs. ``strict``: also
    what would differ without restated prices and undated figures.
    """
    world = _world(shell, book, rules)
    own = _prices(world, prices)
    if history:
        world = history_world(world)
    priced = own if prices else [*world.recorded, *own]
    closes = sorted({row.known_at for row in priced if row.series == "btc_usd"})
    if history:
        closes = [at for at in closes if at <= HISTORY_ENDS]
    if history and not closes:
        raise CanaryError(
            "the borrowers of 2021 to 2023 need prices of that time: canary backfill --from 2021-01-01, or --prices"
            " FOLDER with CSV of btc_usd and difficulty"
        )
    if not closes:
        raise CanaryError("no bitcoin close is recorded, so there is nothing to replay")
    unknown = sorted(set(borrowers) - {b.id for b in world.book.borrowers})
    if unknown:
        raise CanaryError(f"no borrower is called {', '.join(unknown)}; see `canary list borrowers`")
    first, last = _moment(start) or closes[0], _moment(end) or closes[-1]
    other = other_rules(world, compare) if compare is not None else None
    result = replay(world, first, last, _span(every), own, _progress, database, paths)
    if history:
        result = replace(result, rigs=rig_checks(rig_marks(world), [*world.recorded, *own], first, last))
    if compare is not None and other is not None:
        changed = replay(other, first, last, _span(every), own, _progress, paths=paths)
        return shell.show(comparison(result, changed, compare, borrowers))
    written = write_files(result, out, borrowers) if out else []
    pages = tables(result, borrowers)
    data = as_json(result)
    if strict:
        clean, kept = without_hindsight(world, own)
        changed = replay(clean, first, last, _span(every), kept, _progress, paths=paths)
        pages += strict_pages(result, changed, borrowers)
        alarms = compare_episodes(result.episodes, changed.episodes)
        data = {**data, "without_hindsight": [change_json(change) for change in alarms]}
    if written:
        pages.append(Table("", notes=tuple(Cell(f"wrote {path}", "dim") for path in written)))
    return shell.show(Reply(data, tuple(pages)))


def _world(shell: Shell, book: Path | None, rules: Path | None) -> World:
    """The world of the configuration, with another book or other rules where named. Routes play no part."""
    config = shell.config()
    for folder in (book, rules):
        if folder is not None and not folder.is_dir():
            raise CanaryError(f"{folder}: there is no such folder")
    if book is None and rules is None:
        return build_world(config, offline=True)
    chosen = replace(
        config.paths,
        book=book.resolve() if book else config.paths.book,
        rules=rules.resolve() if rules else config.paths.rules,
    )
    return build_world(replace(config, paths=chosen, routes=()), offline=True)


def _prices(world: World, folder: Path | None) -> list[Observation]:
    """Prices besides the recorded ones: those of a folder, or what was fetched and backfilled into the database."""
    if folder is not None:
        return [row for path in file.csv_files(folder) for row in file.read_csv(path)]
    return stored(world.config.paths.state, datetime.now(UTC))


def strict_pages(was: ReplayResult, now: ReplayResult, borrowers: Sequence[str] = ()) -> list[Table]:
    """What the alarms owe to restated prices and undated figures: which are gone, new or moved without them."""
    found = [c for c in compare_episodes(was.episodes, now.episodes) if not borrowers or c.borrower in borrowers]
    page = change_table(found, RuleChange((), (), ()), "Without restated prices and undated figures")
    return bannered(was, [page])


# ---------------------------------------------------------------- the same days with other rules
def other_rules(world: World, folder: Path) -> World:
    """The same world with the rules of another folder. InputError with everything wrong in them.

    Routes are left out: nothing of a replay is sent, and they may name rules this folder does not have.
    """
    if not folder.is_dir():
        raise CanaryError(f"{folder}: there is no such folder; name one with rules, as {world.config.paths.rules} is")
    paths = replace(world.config.paths, rules=folder.resolve())
    read = build_world(replace(world.config, paths=paths, routes=()), offline=True)
    return replace(world, rules=read.rules, compiled=read.compiled, rules_hash=read.rules_hash)


def comparison(was: ReplayResult, now: ReplayResult, folder: Path, borrowers: Sequence[str] = ()) -> Reply:
    """What the rules of a folder change, as tables and data; ``borrowers``: these only."""
    found = [c for c in compare_episodes(was.episodes, now.episodes) if not borrowers or c.borrower in borrowers]
    rules = compare_rules(was.rules, now.rules)
    data = {
        "start": was.start.isoformat(),
        "end": was.end.isoformat(),
        "every_s": was.every.total_seconds(),
        "with": str(folder),
        "inputs": {"was": was.inputs[2], "now": now.inputs[2]},
        "rules": rules._asdict(),
        "alarms": [change_json(change) for change in found],
    }
    return Reply(data, tuple(bannered(was, [change_table(found, rules, f"The rules of {folder} instead")])))


def change_table(found: Sequence[Change], rules: RuleChange, what: str) -> Table:
    """Rule by rule and borrower by borrower, where an alarm is new, gone or moved."""
    heads = (Head("rule"), Head("borrower"), *(Head(h, right=True) for h in ("was", "now", "new", "gone", "moved")))
    rows = []
    for c in (change for change in found if change.differs):
        texts = [c.rule, c.borrower, *map(str, c.counts), *(str(len(part)) for part in (c.new, c.gone, c.moved))]
        said = [*(f"new {_dates(e)}" for e in c.new), *(f"gone {_dates(e)}" for e in c.gone), *map(_moved, c.moved)]
        more = f"; and {len(said) - MAX_DATES} more" if len(said) > MAX_DATES else ""
        rows.append(tuple(map(Cell, (*texts, "; ".join(said[:MAX_DATES]) + more))))
    total = [sum(len(part) for part in parts) for parts in zip(*((c.new, c.gone, c.moved) for c in found), strict=True)]
    new, gone, moved = total or (0, 0, 0)
    notes = [f"rules {what}: {', '.join(ids)}" for what, ids in rules._asdict().items() if ids]
    notes.append(f"the same in both: {sum(c.same for c in found)}; was and now count alarms, dates are UTC")
    title = f"{what}, alarms: {new} new, {gone} gone, {moved} moved"
    return Table(title, (*heads, Head("when")) if rows else (), tuple(rows), tuple(Cell(n, "dim") for n in notes))


def _dates(episode: Episode) -> str:
    return f"{_where(episode)}{_time(episode.began)} to {_time(episode.ended)}"


def _where(episode: Episode) -> str:
    facility = episode.subject.partition("/")[2]
    return f"{facility} " if facility else ""


def _time(moment: datetime | None) -> str:
    if moment is None:
        return "stands"
    return f"{moment:%Y-%m-%d}" if moment.time() == datetime.min.time() else f"{moment:%Y-%m-%d %H:%M}"


def _moved(pair: Moved) -> str:
    """What of an alarm differs: its begin, its end, its severity."""
    was, now = pair
    parts = [f"from {_time(was.began)} to {_time(now.began)}"] if was.began != now.began else []
    parts += [f"end {_time(was.ended)} to {_time(now.ended)}"] if was.ended != now.ended else []
    parts += [f"{was.severity} to {now.severity}"] if was.severity != now.severity else []
    where = _where(now)
    return f"moved {where}{', '.join(parts)}" + ("" if was.began != now.began else f" (from {_time(now.began)})")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return end_of_day(date.fromisoformat(text))
    except (ValueError, OverflowError):
        raise CanaryError(f"{text[:40]!r} is no day; write 2022-12-31") from None


def _span(text: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration_s(text))
    except (ValueError, OverflowError) as error:
        raise CanaryError(f"the step from one moment to the next: {error}") from None


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\rreplay: {done} of {of} moments", end="\n" if done == of else "", file=sys.stderr, flush=True)
