"""``canary large``: a loan tape over many paths, here or on Dask, with progress and an estimate; and its import."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monitor.commands import Reply
from monitor.large import rounds as cascade
from monitor.large.as_file import watch
from monitor.large.cells import cells_of
from monitor.large.doubts import doubts
from monitor.large.plan import Plan, memory_of, plan
from monitor.large.results import REJECTS, RunFolder, manifest
from monitor.large.solve import Chunk, Outcome, Partial, Work, judged, outcome
from monitor.large.tape import FIELDS, LISTED, Tape, load_map, read_tape
from monitor.model import CanaryError
from monitor.stress.assumptions import Assumptions
from monitor.stress.drivers import chosen
from monitor.stress.field import MIDDLE
from monitor.stress.outlook import levels
from monitor.stress.state import State
from monitor.stressing import case_of
from monitor.tables import Cell, Head, Table, show
from monitor.world import World, build_world

if TYPE_CHECKING:
    from rich.progress import Progress

    from monitor.shell import Shell

MOST_PATHS, MOST_MONTHS = 1 << 30, 120
WORST = 15


@dataclass(frozen=True)
class Asked:
    """What a command line asks for."""

    tape: Path
    map: Path
    out: Path
    paths: int
    months: int
    #: empty: this machine
    scheduler: str
    memory: int


# ---------------------------------------------------------------- importing
def run_import(shell: Shell, tape: str, map_: str, out: str | None, watched: Sequence[str]) -> int:
    """Check a tape and show what was understood; with ``out`` also write every rejected line. ``watched`` obligors are
    written into the book, which is checked as a whole before."""
    read = _read(Path(tape), Path(map_))
    if out is not None:
        folder = Path(out).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_rejects(folder, read)
        except OSError as error:
            raise CanaryError(f"cannot write {folder}: {error.strerror}") from None
    files = []
    if watched:
        world = build_world(shell.config(), offline=shell.offline)
        files = watch(read, watched, world.config.paths.book, world.config.paths.state)
    written = {"written": [str(file) for file in files]}
    return shell.show(
        Reply(_tape_json(read) | written, (_tape_table(read, files),), finding=bool(read.rejects or doubts(read)))
    )


def _read(tape: Path, map_: Path) -> Tape:
    return read_tape(tape.expanduser(), load_map(map_.expanduser()))


def _write_rejects(folder: Path, tape: Tape) -> None:
    with (folder / REJECTS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("line", "column", "value", "why"))
        # a value that begins like a formula must not become one in somebody's spreadsheet
        writer.writerows((one.line, one.column, "'" + one.value, one.why) for one in tape.rejects)


def _tape_table(tape: Tape, files: Sequence[Path]) -> Table:
    owed = float(tape.loans["principal_usd"].sum())
    rows = tuple(
        (Cell(name), Cell(kind.of), Cell("yes") if name in tape.given else Cell("no", "dim"))
        for name, kind in FIELDS.items()
    )
    size = f"{len(tape.loan_names):,} loans of {len(tape.obligors):,} obligors"
    notes = [
        Cell(f"{size}, {show(owed, 'usd')} USD, as of {tape.as_of}"),
        Cell(f"source: {tape.source}", "dim"),
    ]  # fmt: skip
    notes += [Cell(doubt, "warning") for doubt in doubts(tape)]
    if tape.rejects:
        notes.append(Cell(f"{len(tape.rejects):,} of {tape.lines:,} lines left out:", "warning"))
        notes += [Cell(str(one), "warning") for one in tape.rejects[:LISTED]]
        more = len(tape.rejects) - LISTED
        notes += [Cell(f"and {more:,} more; --out DIR writes all of them", "dim")] if more > 0 else []
    if tape.why:
        notes.append(Cell(f"not whole and carried as unknown: {len(tape.why):,} of the obligors", "warning"))
        notes += [Cell(f"{tape.obligors[b]}: {why}", "warning") for b, why in sorted(tape.why.items())[:LISTED]]
    notes += [Cell(f"in the book now: {file}", "good") for file in files]
    if files and "units" in tape.own:
        notes.append(Cell("units of machines were not carried over: a book also asks when they were bought", "warning"))
    return Table("the tape as it was understood", (Head("field"), Head("of"), Head("given")), rows, tuple(notes))


def _tape_json(tape: Tape) -> dict[str, object]:
    return {
        "loans": len(tape.loan_names), "obligors": len(tape.obligors), "lines": tape.lines,
        "principal_usd": float(tape.loans["principal_usd"].sum()), "as_of": tape.as_of.isoformat(),
        "published": tape.published.isoformat(), "source": tape.source,
        "rejects": [
            {"line": one.line, "column": one.column, "value": one.value[:200], "why": one.why}
            for one in tape.rejects[:1000]
        ],
        "doubts": list(doubts(tape)),
        "not_whole": {tape.obligors[b]: why for b, why in sorted(tape.why.items())},
    }  # fmt: skip


# ---------------------------------------------------------------- running
def run_large(
    shell: Shell,
    tape: str,
    map_: str,
    out: str,
    size: tuple[int, int],
    engine: str | None,
    scheduler: str | None,
    memory: str,
) -> int:
    """Run it, or go on with it, and show the riskiest obligors; all of it is in the folder. ``size``: paths, months."""
    paths, months = size
    if not 1 <= paths <= MOST_PATHS or not 1 <= months <= MOST_MONTHS:
        raise CanaryError(f"--paths is 1 to {MOST_PATHS:,} and --months 1 to {MOST_MONTHS}")
    world = build_world(shell.config(), offline=shell.offline)
    where = _where(world, engine, scheduler)
    asked = Asked(Path(tape), Path(map_), Path(out), paths, months, where, memory_of(memory))
    return _run(shell, world, asked)


def _where(world: World, engine: str | None, scheduler: str | None) -> str:
    """The scheduler's address, or nothing for this machine. What the command line says wins over the configuration."""
    settings = world.config.engine
    address = scheduler or settings.scheduler or ""
    if (engine or settings.kind) == "local":
        if scheduler:
            raise CanaryError("--scheduler goes with --engine dask")
        return ""
    if not address:
        raise CanaryError("--engine dask needs its scheduler: --scheduler tcp://10.0.0.5:8786, or engine.scheduler")
    return address


def _run(shell: Shell, world: World, asked: Asked) -> int:
    tape = _read(asked.tape, asked.map)
    work = work_of(world, tape, asked.paths, asked.months)
    how = plan(work, os.cpu_count() or 1, asked.memory, processes=work.driver == "numpy")
    told = {"tape": tape.digest, "source": tape.source, "as_of": tape.as_of.isoformat()}
    folder = RunFolder.opened(asked.out.expanduser(), manifest(work, told))
    _write_rejects(folder.path, tape)
    answer = outcome(work, _all(shell, work, how, folder, asked))
    file = folder.write(work, answer)
    return shell.show(_reply(work, tape, answer, _rounds(work, asked), file))


def work_of(world: World, tape: Tape, paths: int, months: int) -> Work:
    """The rows of a tape at the prices of the last evaluation, or of the newest recorded ones."""
    state = case_of(world, None, datetime.now(UTC)).state
    btc, base = levels(state)
    if tape.published > state.at.date():
        raise CanaryError(f"the tape was published on {tape.published}, after the prices of {state.at.date()}")
    cells = cells_of(tape, state.at.date(), months, base, _depths(state, tape), coin_impact(state.assumptions, btc))
    driver = chosen("auto", len(cells.names) * paths * months)
    return Work(cells, btc, base, world.config.engine.seed, paths, state.assumptions, driver)


def coin_impact(known: Assumptions, btc_usd: float) -> float:
    """Price impact of a coin sale per sqrt(USD), as for a borrower of the book; NaN where coins have no price."""
    names = ("impact_y", "coin_volatility_daily", "coin_volume_usd_day", "coin_sale_days")
    y, sigma, volume, days = (known.get(name, "private").corners[MIDDLE] for name in names)
    return float(y * sigma / np.sqrt(volume * days)) if np.isfinite(btc_usd) else np.nan


def _depths(state: State, tape: Tape) -> dict[str, float]:
    """Units the market of each model absorbs, where the book assumes a number for it."""
    found = {}
    for model in {*tape.words.get("model", ())} - {""}:
        depth = state.assumptions.get("depth_units", "all", model)
        if depth.known:
            found[model] = depth.corners[MIDDLE]
    return found


def _all(shell: Shell, work: Work, how: Plan, folder: RunFolder, asked: Asked) -> Iterator[Partial]:
    """Every part: those that were kept, then the others as they are finished, each kept before it counts."""
    todo = []
    for chunk in how.parts:
        kept = folder.finished(chunk)
        if kept is None:
            todo.append(chunk)
        else:
            yield kept
    with _progress(shell) as progress:
        name = f"{work.n_cells:.2g} cells on {'Dask' if asked.scheduler else f'{how.workers} workers'}"
        task = progress.add_task(name, total=len(how.parts), completed=len(how.parts) - len(todo))
        for chunk, part in _engine(work, todo, how, asked):
            folder.keep(chunk, part)
            progress.advance(task)
            yield part


def _engine(work: Work, todo: list[Chunk], how: Plan, asked: Asked) -> Iterator[tuple[Chunk, Partial]]:
    if not todo:
        return iter(())
    if asked.scheduler:
        from monitor.large.on_dask import run_dask

        return run_dask(work, todo, asked.scheduler)
    from monitor.large.local import run_local

    return run_local(work, todo, how.workers)


def _rounds(work: Work, asked: Asked) -> list[cascade.Round]:
    """The cascade, where the rest was worked out."""
    if asked.scheduler:
        from monitor.large.on_dask import rounds_on_dask

        return rounds_on_dask(work, asked.scheduler)
    return cascade.rounds(work, cascade.here(work))


def _progress(shell: Shell) -> Progress:
    """A bar with the time that is left, on standard error so that an answer can be piped."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("parts"),
               TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())  # fmt: skip
    return Progress(*columns, console=Console(stderr=True), disable=shell.as_json)


def _reply(work: Work, tape: Tape, answer: Outcome, steps: list[cascade.Round], file: Path) -> Reply:
    known = judged(work)
    order = np.argsort(np.where(known, -answer.pd[:, -1], np.inf), kind="stable")[: min(WORST, int(known.sum()))]
    debt = work.cells.inputs.debt_usd.sum(axis=1)
    rows = tuple(
        (
            Cell(work.cells.names[b]),
            Cell(show(float(debt[b]), "usd")),
            Cell(f"{answer.pd[b, -1]:.2%} ± {answer.error[b]:.2%}"),
            Cell(show(float(answer.least[b]), "usd")),
            Cell(tape.why.get(int(b), "")),
        )
        for b in order
    )
    doubtful = tuple(Cell(doubt, "warning") for doubt in doubts(tape))
    run = f"{work.n_paths:,} paths, {work.n_periods} months, seed {work.seed}"
    expected = float((answer.pd[known, -1] * debt[known]).sum())
    last = steps[-1]
    prices = ", ".join(f"{m} {p - 1:+.0%}" for m, p in zip(work.cells.models, last.price, strict=True) if p < 0.995)
    notes = (
        *doubtful,
        Cell(f"{run}; assumptions in the middle, nothing new is lent"),
        Cell(f"debt expected to break: {show(expected, 'usd')} of {show(float(debt[known].sum()), 'usd')} USD judged"),
        Cell(f"unknown: {int((~known).sum()):,} of {work.n_rows:,} obligors", "dim" if known.all() else "warning"),
        Cell(
            f"today beyond their limit: {last.fallen:,} obligors after {len(steps)} rounds of selling"
            + (f"; prices then {prices}" if prices else "")
        ),
        Cell(f"everything: {file}", "good"),
    )  # fmt: skip
    within = Head(f"breach within\n{work.n_periods} months", right=True)
    heads = (Head("obligor"), Head("debt\nUSD", right=True), within,
             Head("lowest cash\nUSD", right=True), Head("remark", expendable=1))  # fmt: skip
    data = {
        "obligors": work.n_rows, "unknown": int((~known).sum()), "paths": work.n_paths, "months": work.n_periods,
        "seed": work.seed, "debt_judged_usd": float(debt[known].sum()), "debt_expected_to_break_usd": expected,
        "rounds": [{"fallen": one.fallen, "price": one.price.tolist()} for one in steps], "file": str(file),
        "doubts": list(doubts(tape)),
        "worst": [{"obligor": work.cells.names[b], "pd": float(answer.pd[b, -1])} for b in order],
    }  # fmt: skip
    return Reply(data, (Table("who is most likely to break", heads, rows, notes),))
