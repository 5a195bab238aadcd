"""Cost of the stress answers of one evaluation against the plain run of the cell, in one run, and their memory.

    python bench/answers.py [--quick] [--table]

The book is made of the shapes of the one that comes with Canary: 64 borrowers, every one of them judged
(:mod:`sixty_four`). The plain run is their 64 own rows over 4,096 paths and 12 months with the numpy driver, every
extreme kept. An evaluation asks for the rows at three corners, the chance of default as a range over seven runs of
4,096 paths (three corners, three correlations), the distance to breach of every row at three corners, and the canary
table with its cascades. ``new prices`` has the shocks of the paths from the evaluation before and nothing else. The
large case is 65,536 paths on all processors: the plain run compiled, the chance with its middle on all paths and the
ends of its range from 8,192 of them, and beside it the same range from seven full runs.
Turns alternate and the best of each counts; what runs on one thread is timed in processor time, the large case in time
on the clock and, beside it, of all processors. ``--table`` prints the canary table as Markdown instead.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from sixty_four import DAY, many_state, starter_state

from monitor.stress import answers, canary, distance, outlook
from monitor.stress import paths as path_module
from monitor.stress.bridge import Bridge, Figures, bridge
from monitor.stress.cascade import Links, spread
from monitor.stress.drivers import run
from monitor.stress.field import MIDDLE, Field
from monitor.stress.inputs import Factors
from monitor.stress.paths import MICRO_BLOCK
from monitor.stress.sale import holdings, sell
from monitor.stress.state import State
from monitor.units import format_usd

LARGE, MONTHS = 65_536, 12
INTRO = """# The canary table, as known before {day} 00:00 UTC

Who breaks first and matters most: earliness times damage. Nothing is refinanced; a fall now counts one, in a year a
half. Damage is the borrower's own debt, the debt that falls with it, and the cover others lose when its pledged
machines are sold; damages overlap and do not add up. Ranges are over depth of the market (a quarter to four times),
price decay of GPUs (15 to 35 % a year), correlation (0 to 0.7), and all other assumptions erring the same way. The
middle is not a forecast where the range is wide. Growth capex is not counted but at the adverse end; cash is that of
the last balance sheet, debt raised since is counted without its proceeds. Written by `python bench/answers.py --table`.
"""
#: answers that equal inputs would not be worked out for again
MEMOS = (answers._tally, distance._nearest, canary._run, canary._pulled)
#: what paths are drawn from
DRAWN = (outlook.kept_shocks, path_module._draws, path_module._first_block, path_module._turn)


def forget(paths: bool = False) -> None:
    """Empty the memos of answers, and of paths too if asked."""
    for memo in (*MEMOS, *(DRAWN if paths else ())):
        memo.cache_clear()


@dataclass
class Line:
    """One thing to time: its words, the work, what comes before it untimed, and the aim as a multiple of the first."""

    words: str
    work: Callable[[], object]
    before: Callable[[], object] = forget
    aim: float | None = None
    #: on the clock, and of all processors
    seconds: float = float("inf")
    busy: float = float("inf")


def take_turns(lines: list[Line], turns: int) -> None:
    """Best seconds of each line; the lines alternate, so that a slow moment hits all of them."""
    for _ in range(turns):
        for line in lines:
            line.before()
            started, busy = time.perf_counter(), time.process_time()
            line.work()
            line.busy = min(line.busy, time.process_time() - busy)
            line.seconds = min(line.seconds, time.perf_counter() - started)


def show(title: str, lines: list[Line], on_the_clock: bool = False) -> None:
    """Milliseconds, the multiple of the first line, and the aim; with time on the clock the multiple in processor time
    beside it, which other work on the machine does not change."""
    both = f"{'processor':>11}" if on_the_clock else ""
    print(f"{title:<62}{'ms':>9}{'x plain':>10}{both}")
    for line in lines:
        taken, plain = (one.seconds if on_the_clock else one.busy for one in (line, lines[0]))
        ratio, both = taken / plain, f"{line.busy / lines[0].busy:>11.2f}" if on_the_clock else ""
        aim = "" if line.aim is None else f"   aim at most {line.aim:g}: {'met' if ratio <= line.aim else 'MISSED'}"
        print(f"{line.words:<62}{taken * 1e3:>9.0f}{ratio:>10.2f}{both}{aim}")
    print()


class Tick:
    """One evaluation's questions about a state."""

    def __init__(self, state: State):
        self.state, self.whole = state, bridge(state)
        self.rows = self.whole.cut(range(len(state.borrowers)))
        self.btc, self.base = outlook.levels(state)
        self.question = answers.ask(state)
        self.long = answers.ask(state, n_periods=canary.QUARTERS, dt_years=0.25)

    def paths(self, rows: Bridge, block: int = 0) -> Factors:
        """A block of 4,096 paths."""
        return outlook.simulated(rows, self.btc, self.base, block=block)

    def reverse(self) -> Field:
        """The distance of everybody, from the state on."""
        return distance.distance(answers.ask(self.state, n_periods=4, dt_years=0.25))

    def everything(self) -> None:
        """What the stress metrics of an evaluation ask for, from the state on."""
        figures = Figures(self.state)
        long = answers.ask(self.state, n_periods=canary.QUARTERS, dt_years=0.25, figures=figures)
        answers.chances(answers.ask(self.state, figures=figures))
        distance.distance(long.until(4))
        canary.canary(self.state, question=long)


def small(tick: Tick, turns: int) -> None:
    """The tick of the daemon: numpy on one thread."""
    paths, wide = tick.paths(tick.rows), tick.paths(tick.whole)
    nothing = lambda: None  # noqa: E731
    lines = [
        Line("plain cell run, 64 x 4,096 x 12", lambda: run(tick.rows.inputs, paths, "numpy"), nothing),
        Line(
            "rows at three corners, twice (months, quarters)",
            lambda: [answers.ask(tick.state), answers.ask(tick.state, n_periods=canary.QUARTERS, dt_years=0.25)],
        ),
        Line("chance of default, 7 runs x 4,096 paths", lambda: answers.chances(tick.question)),
        Line("distance to breach, every row, 3 corners", lambda: distance.distance(tick.long.until(4))),
        Line("canary and cascades, 5 path sets x 9 sales", lambda: canary.canary(tick.state, question=tick.long)),
        Line("the evaluation, new prices", tick.everything, aim=8),
        Line("the evaluation, same inputs", tick.everything, nothing),
        Line("apart: joint cascade on all 4,096 paths, both channels", lambda: joint(tick, wide)),
        Line("apart: sell 10,000 H100", lambda: sell(tick.state, {"H100": 10_000})),
    ]
    tick.everything()
    take_turns(lines, turns)
    cold = Line("the evaluation, first of all (paths drawn)", tick.everything, lambda: forget(paths=True))
    take_turns([cold], 1)
    show(f"numpy, 1 thread; {len(tick.whole.rows)} rows, {len(tick.question.firm)} judged", [*lines, cold])


def joint(tick: Tick, paths: Factors) -> None:
    """From everybody's own falls on every path to the fixed point."""
    spread(Links(tick.state, tick.whole, paths, lenders=True), holdings(tick.state))


def large(tick: Tick, turns: int) -> None:
    """65,536 paths, compiled. The plain run gets its paths ready made, the answers draw theirs."""
    blocks = [tick.paths(tick.rows, block) for block in range(2)]
    forget(paths=True)
    fresh = lambda: forget(paths=True)  # noqa: E731

    def plain() -> None:
        for block in range(LARGE // MICRO_BLOCK):
            run(tick.rows.inputs, blocks[block % len(blocks)], "compiled")

    def middle() -> None:
        answers.chances(answers.ask(tick.state), n_paths=LARGE, driver="compiled", runs=(answers.CENTRE,))
        tick.reverse()

    def whole(shared_blocks: int = answers.SHARED_BLOCKS) -> None:
        answers.chances(answers.ask(tick.state), n_paths=LARGE, driver="compiled", shared_blocks=shared_blocks)
        tick.reverse()

    plain()
    lines = [
        Line("plain cell run, 64 x 65,536 x 12", plain, lambda: None),
        Line("chance of default in the middle, and reverse stress of all", middle, fresh, 4),
        Line("chance as a range, ends on 8,192 of the paths, and reverse stress", whole, fresh, 4),
        Line("beside: all 7 runs on all paths, and reverse stress", lambda: whole(LARGE // MICRO_BLOCK), fresh),
    ]
    take_turns(lines, turns)
    show(f"compiled, {os.cpu_count()} threads, paths drawn by the answers", lines, on_the_clock=True)


def memory(tick: Tick) -> None:
    """Peak of what one question allocates, by the number of paths."""
    peaks = []
    answers.chances(tick.question, driver="numpy", runs=(answers.CENTRE,))  # loads what is loaded late
    for n_paths in (MICRO_BLOCK, LARGE):
        forget(paths=True)
        tracemalloc.start()
        answers.chances(tick.question, n_paths=n_paths, driver="numpy", runs=(answers.CENTRE,))
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    ratio = peaks[1] / peaks[0]
    print(f"peak memory of a chance of default: 4,096 paths {peaks[0]:.0f} MiB, 65,536 paths {peaks[1]:.0f} MiB")
    print(f"{'ratio':<62}{'':>9}{ratio:>10.2f}   aim at most 1.5: {'met' if ratio <= 1.5 else 'MISSED'}\n")


def speed(quick: bool) -> None:
    """Every part with its ratio to the plain run of its size."""
    tick = Tick(many_state())
    small(tick, 2 if quick else 7)
    memory(tick)
    if importlib.util.find_spec("numba"):
        large(tick, 1 if quick else 3)
    else:
        print("compiled: not measured (numba is missing)")
    error = answers.sampling_error(tick.question, scrambles=16)
    worst = int(np.nanargmax(error))
    print(f"sampling only: 16 scrambles of 4,096, largest error {error[worst]:.4f} ({tick.state.borrowers[worst]})")


def cell_of(field: Field, b: int, show: Callable[[float], str]) -> str:
    """A value with its range."""
    values = field.values[:, b]
    low, high = show(float(values.min())), show(float(values.max()))
    return show(float(values[MIDDLE])) + (f" ({low} to {high})" if low != high else "")


def percent(share: float) -> str:
    """A chance; no path out of thousands is not never."""
    return f"{share:.1%}" if share >= 0.0005 else "under 0.1%"


def table(state: State) -> None:
    """The canary table in Markdown, with what is in none of its numbers."""
    found, question = canary.canary(state), answers.ask(state)
    pd, far = answers.chances(question).pd, distance.distance(answers.ask(state, n_periods=4, dt_years=0.25))
    known = [b for b in range(len(state.borrowers)) if found.rank.known[b]]
    print(INTRO.format(day=f"{state.at:%Y-%m-%d}"))
    months = lambda m: f"{m:.0f}" if np.isfinite(m) else "beyond 60"  # noqa: E731
    print(
        "| rank | borrower | first breach, months | damage, USD | falls with it, USD | chance in 12 months | distance |"
    )
    print("|---|---|---|---|---|---|---|")
    for b in sorted(known, key=lambda b: found.rank.values[MIDDLE, b]):
        thin = " \\*" if state.rows[b].borrower.status == "insufficient_data" else ""
        chance = cell_of(pd, b, percent) if pd.known[b] else "no: assumed level"
        print(
            f"| {cell_of(found.rank, b, lambda r: f'{r:.0f}')} | {state.borrowers[b]}{thin} | "
            f"{cell_of(found.first_breach_months, b, months)} | {cell_of(found.damage_usd, b, format_usd)} | "
            f"{cell_of(found.cascade_debt_usd, b, format_usd)} | {chance} | {far.detail.get(b, '')} |"
        )
    print("\n\\* the book marks its figures as incomplete.\n\nNot ranked:\n")
    for b in (b for b in range(len(state.borrowers)) if b not in known):
        print(f"- {state.borrowers[b]}: {found.rank.reasons[b][0]}")
    print("\nIn none of the numbers:\n")
    for line in found.left_out:
        print(f"- {line}")
    print("\nAssumed about markets:\n")
    for line in outlook.notes(state.assumptions):
        print(f"- {line}")


def main() -> None:
    """Speed, or the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--table", action="store_true", help="print the canary table instead")
    parser.add_argument("--day", type=date.fromisoformat, default=DAY, help="the table as known at the end of this day")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    given = parser.parse_args()
    if given.table:
        table(starter_state(given.day))
    else:
        speed(given.quick)


if __name__ == "__main__":
    main()
