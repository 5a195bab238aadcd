"""Speed of a long replay: three years of daily evaluations over 22 borrowers, against the same number of core runs.

    python bench/replay_speed.py [--days 1096] [--prices FILE] [--no-paths]

The borrowers of ``book/history`` are repeated until there are 22. Every evaluation is the whole of one: book and prices
as known, every metric including the 1,024 simulated paths, rules, alert states, and its rows in SQLite. Baseline: the
stress core alone, 1,024 paths over the rows of these borrowers at the middle of the assumptions, drawn and run once per
evaluation, timed in the same process. Processor seconds stand beside the clock because a shared machine waits.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from pathlib import Path

from replay import ROOT, history_prices, present

from monitor import feeds, market
from monitor.known import as_known
from monitor.model import Book, Observation, end_of_day
from monitor.replay import PATHS, history_world, replay
from monitor.stress.answers import MIDDLE_RHO, Question, ask
from monitor.stress.drivers import run
from monitor.stress.field import MIDDLE
from monitor.stress.outlook import simulated
from monitor.stress.state import build_state
from monitor.tick import mark_observations
from monitor.world import World

FIRST, BORROWERS, TARGET_S = date(2021, 1, 1), 22, 120.0


def repeated(book: Book, size: int) -> Book:
    """The borrowers again and again under new ids until there are so many; a contract is in one pool only."""
    rows = list(book.borrowers)
    for number in count(2):
        if len(rows) >= size:
            return replace(book, borrowers=tuple(rows[:size]))
        for one in book.borrowers:
            pools = tuple(replace(pool, contracts=()) for pool in one.facilities)
            rows.append(replace(one, id=f"{one.id}-{number}", facilities=pools))


def core_run_s(world: World, seen: list[Observation], rounds: int = 20) -> tuple[float, int]:
    """(seconds of one core run, its rows): paths drawn and run once at the middle, the best of some rounds."""
    at = end_of_day(date(2022, 8, 15))
    tape = market.Tape([*world.recorded, *mark_observations(world.book), *seen], feeds.series_specs(world.feeds))
    question: Question = ask(build_state(as_known(world.book, at), tape.quotes(at)))
    job = question.job(MIDDLE, tuple(range(len(question.rows[0].rows))))
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        paths = simulated(job.work, job.btc_usd, job.base_rate, corner=MIDDLE, rho=MIDDLE_RHO, n_paths=PATHS)
        run(job.work.inputs, paths)
        best = min(best, time.perf_counter() - started)
    return best, len(question.rows[0].rows)


def _processor_s() -> float:
    """Processor seconds of this process and of those it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=1096, help="evaluations; fewer are a sample and say so")
    parser.add_argument("--prices", type=Path, default=ROOT.parent / "shared" / "data" / "market_2021_2023.csv")
    parser.add_argument("--no-paths", action="store_true", help="as `canary replay` does without --paths")
    options = parser.parse_args()
    world = history_world(present())
    world = replace(world, book=repeated(world.book, BORROWERS))
    seen = history_prices(options.prices)
    # a sample lies in the middle of the three years, where most is known
    first = end_of_day(FIRST) + timedelta(days=(1096 - options.days) // 2)
    clock, processor = time.perf_counter(), _processor_s()
    result = replay(
        world, first, first + timedelta(days=options.days - 1), observations=seen, paths=not options.no_paths
    )
    clock, processor = time.perf_counter() - clock, _processor_s() - processor
    core_s, rows = core_run_s(world, seen)
    n = result.evaluated
    sample = "" if n == 1096 else f" (a sample of {n} days; three years at this rate: {clock / n * 1096:.0f} s)"
    kind = "without simulated paths" if options.no_paths else f"with {PATHS:,} paths"
    print(
        f"{n} evaluations of {len(world.book.borrowers)} borrowers {kind}: {clock:.1f} s,"
        f" processor {processor:.1f} s{sample}"
    )
    print(f"one evaluation {clock / n * 1000:.0f} ms; {len(result.events)} events, {len(result.episodes)} alarms")
    print(
        f"core alone, {rows} rows x {PATHS:,} paths x 12 months: {core_s * 1000:.2f} ms, {n} of them {core_s * n:.1f} s"
    )
    print(f"the replay takes {clock / (core_s * n):.0f} times the same number of core runs")
    if n == 1096:
        print(f"aim: under {TARGET_S:.0f} s: {'met' if clock < TARGET_S else 'missed'}")


if __name__ == "__main__":
    main()
