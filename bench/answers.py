"""Cost of the stress answers against the plain run of the cell, on the book that comes with Canary, in one run.

    python bench/answers.py [--table]

The plain run is every row of the book (obligors and pools, known or not) over 4,096 paths and 12 months with the numpy
driver. The answers are asked of the same rows: chances of default over 7 runs of 4,096 paths, distance at three
corners, and the canary table with its cascade over nine sales. ``cold`` draws the paths too, ``new prices`` has the
paths and nothing else, ``same inputs`` is what a tick pays when neither book nor prices changed. ``--table`` prints the
canary table as Markdown instead.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from monitor import feeds, market
from monitor.book import load_book
from monitor.known import as_known
from monitor.model import end_of_day
from monitor.stress import answers, canary, distance, outlook
from monitor.stress.bridge import Figures, bridge
from monitor.stress.cascade import Links, spread
from monitor.stress.drivers import run
from monitor.stress.field import MIDDLE, Field
from monitor.stress.sale import holdings, sell
from monitor.stress.state import State, build_state
from monitor.units import format_usd
from monitor.world import recorded_observations

DAY = date(2026, 9, 21)
INTRO = """# The canary table, as known before {day} 00:00 UTC

Who breaks first and matters most: earliness times damage. Nothing is refinanced; a fall now counts one, in a year a
half. Damage is the borrower's own debt, the debt that falls with it, and the cover others lose when its pledged
machines are sold; damages overlap and do not add up. Ranges are over depth of the market (a quarter to four times),
price decay of GPUs (15 to 35 % a year), correlation (0 to 0.7), and all other assumptions erring the same way. The
middle is not a forecast where the range is wide. Growth capex is not counted but at the adverse end; cash is that of
the last balance sheet, debt raised since is counted without its proceeds. Written by `python bench/answers.py --table`.
"""
MEMOS = (answers._breaks, distance._nearest, canary._run, canary._pulled)


def book_state(day: date) -> State:
    """The book as known at the end of a day, at the recorded prices of that day."""
    specs = feeds.series_specs(tuple(feed for feed in feeds.discover() if isinstance(feed, feeds.Feed)))
    tape, at = market.Tape(recorded_observations(None), specs), end_of_day(day)
    return build_state(as_known(load_book(Path(__file__).parents[1] / "book"), at), tape.quotes(at))


def timed(work: Callable[[], object], turns: int = 3, before: Callable[[], object] = lambda: None) -> float:
    """Best of some turns, in seconds."""
    best = float("inf")
    for _ in range(turns):
        before()
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def forget(paths: bool = False) -> None:
    """Empty the memos of answers, and of paths too if asked."""
    for memo in (*MEMOS, *((outlook._shocks,) if paths else ())):
        memo.cache_clear()


def speed(state: State) -> None:
    """Print every part with its ratio to the plain run."""
    rows = bridge(state)
    btc, base = outlook.levels(state)
    factors = outlook.simulated(rows, btc, base)
    cells = len(rows.rows) * 12 * factors.n_paths
    plain = timed(lambda: run(rows.inputs, factors, driver="numpy"), 5)
    figures = Figures(state)
    question = answers.ask(state, figures=figures)
    quarters = answers.ask(state, n_periods=canary.QUARTERS, dt_years=0.25, figures=figures)

    def joint() -> None:
        spread(Links(state, rows, factors, lenders=True), holdings(state))

    def everything() -> None:
        made = Figures(state)
        long = answers.ask(state, n_periods=canary.QUARTERS, dt_years=0.25, figures=made)
        answers.chances(answers.ask(state, figures=made))
        distance.distance(long.until(4))
        canary.canary(state, question=long)

    lines = [
        ("plain cell run (baseline)", plain),
        ("rows at three corners, 12 months", timed(lambda: answers.ask(state, figures=Figures(state)))),
        ("chances, 7 runs x 4,096 paths", timed(lambda: answers.chances(question), before=forget)),
        ("distance, 3 corners", timed(lambda: distance.distance(quarters.until(4)), before=forget)),
        ("cascade on all 4,096 paths, both channels", timed(joint)),
        ("canary table, 9 sales x 5 path sets", timed(lambda: canary.canary(state, question=quarters), before=forget)),
        ("all of it, new prices", timed(everything, before=forget)),
        ("all of it, same inputs", timed(everything)),
        ("all of it, cold", timed(everything, 1, lambda: forget(paths=True))),
        ("sell 10,000 H100", timed(lambda: sell(state, {"H100": 10_000}))),
    ]
    firm = len(question.firm)
    print(f"{len(state.borrowers)} borrowers, {len(rows.rows)} rows ({firm} can be judged), {cells / 1e6:.2f} M cells")
    for name, seconds in lines:
        print(f"{name:40s} {seconds * 1e3:9.1f} ms   {seconds / plain:7.2f} x plain")
    error = answers.sampling_error(question, scrambles=16)
    worst = int(np.nanargmax(error))
    print(f"sampling only: 16 scrambles of 4,096, largest error {error[worst]:.4f} ({state.borrowers[worst]})")


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
        chance = (
            cell_of(pd, b, lambda p: f"{p:.1%}" if p >= 0.0005 else "under 0.1%")
            if pd.known[b]
            else "no: assumed level"
        )
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
    for line in outlook.notes():
        print(f"- {line}")


def main() -> None:
    """Speed, or the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--table", action="store_true", help="print the canary table instead")
    parser.add_argument("--day", type=date.fromisoformat, default=DAY, help="as known at the end of this day")
    given = parser.parse_args()
    state = book_state(given.day)
    (table if given.table else speed)(state)


if __name__ == "__main__":
    main()
