"""Numbers over simulated paths for a long replay, worked out in other processes while the replay goes on.

They depend on the book and the prices of their moment and on nothing the replay decides, so they may be made ahead, in
any process, and are the same there. What depends on the order of days stays in the one process that has the database.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from monitor import market, metrics
from monitor.known import KnownBook, as_known, fact_steps
from monitor.metrics import METRICS
from monitor.model import Book, Column, Numbers, Observation, StepTable
from monitor.series import SeriesSpec
from monitor.stress.scenario import Scenario
from monitor.stress.state import Draws
from monitor.tick import Run

#: fewer moments than this are not worth the start of other processes
WORTHWHILE = 64
MOST_PROCESSES = 2
#: moments handed over at once
SHARE = 8
COSTLY = tuple(name for name, info in METRICS.items() if info.costly)

Columns = Mapping[str, Column]


class PathRun(Run):
    """A run that takes its costly numbers, moment by moment in order, from elsewhere."""

    ready: Iterator[Columns] | None = None

    def _numbers(self, book: KnownBook, at: datetime, scenarios: Sequence[Scenario], costly: bool) -> Numbers:
        if not costly or self.ready is None:
            return super()._numbers(book, at, scenarios, costly)
        numbers = super()._numbers(book, at, scenarios, costly=False)
        return replace(numbers, columns={**numbers.columns, **next(self.ready)})


@contextmanager
def columns_ahead(
    book: Book,
    seen: Sequence[Observation],
    specs: Mapping[str, SeriesSpec],
    moments: Sequence[datetime],
    draws: Draws,
) -> Iterator[Iterator[Columns] | None]:
    """The costly columns of some moments in order, made by other processes; None where those are not worth it."""
    processes = min(MOST_PROCESSES, os.cpu_count() or 1)
    if len(moments) < WORTHWHILE or processes < 2:
        yield None
        return
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, fresh, initializer=_begin, initargs=(book, list(seen), dict(specs), draws))
    try:
        yield pool.map(_columns, moments, chunksize=SHARE)
    finally:
        pool.shutdown(cancel_futures=True)


# ---------------------------------------------------------------- in the other process
class _Here:
    """What the other process keeps between moments."""

    book: Book
    tape: market.Tape
    draws: Draws


def _begin(book: Book, seen: list[Observation], specs: dict[str, SeriesSpec], draws: Draws) -> None:
    """Read the past once; leave with the process that asked, however it ends."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _Here.book, _Here.tape, _Here.draws = book, market.Tape(seen, specs), draws


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _columns(at: datetime) -> dict[str, Column]:
    """The costly columns of one moment, exactly as an evaluation makes them."""
    book = as_known(_Here.book, at)
    ids = tuple(sorted(borrower.id for borrower in book.borrowers))
    prices = _Here.tape.history(at, ids)

    def history(name: str) -> StepTable | None:
        return prices.get(name) or fact_steps(book, name, ids)

    return dict(metrics.compute(book, _Here.tape.quotes(at), (), history, at, True, COSTLY, (), _Here.draws).columns)
