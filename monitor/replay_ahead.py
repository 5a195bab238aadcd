"""The numbers of a long replay, worked out in other processes while the replay goes on.

They depend on the book and the prices of their moment and on nothing the replay decides, so they may be made ahead, in
any process, and are the same there. What depends on the order of days (rules, alert states, the database) stays in the
one process that has the database.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor import market, metrics
from monitor.known import KnownBook, as_known, fact_steps
from monitor.model import Book, Column, Level, Numbers, Observation, Quote, StepTable
from monitor.series import SeriesSpec
from monitor.stress.scenario import Scenario
from monitor.stress.state import Draws
from monitor.tick import Run

#: fewer moments than this are not worth the start of other processes: with simulated paths, and without
WORTHWHILE = {True: 64, False: 512}
MOST_PROCESSES = 2
#: moments handed over at once
SHARE = 8


@dataclass(frozen=True)
class Task:
    """What the numbers of every moment of a replay are made of."""

    book: Book
    seen: tuple[Observation, ...]
    specs: Mapping[str, SeriesSpec]
    scenarios: tuple[Scenario, ...]
    names: frozenset[str]
    draws: Draws
    costly: bool


class Made(NamedTuple):
    """The numbers of one moment without its prices and its past, which whoever asked has."""

    at: datetime
    subjects: Mapping[Level, tuple[str, ...]]
    columns: Mapping[str, Column]
    scenarios: Mapping[str, Mapping[str, Column]]
    facility_borrower: NDArray[np.int64]


class AheadRun(Run):
    """A run that takes its numbers, moment by moment in order, from elsewhere."""

    ready: Iterator[Made] | None = None

    def _compute(
        self,
        book: KnownBook,
        quotes: Mapping[market.Key, Quote],
        scenarios: Sequence[Scenario],
        history: Callable[[str], StepTable | None],
        at: datetime,
        costly: bool,
    ) -> Numbers:
        # an earlier book at today's prices is asked for after some events only, so nobody made that ahead
        if self.ready is None or book.at != at:
            return super()._compute(book, quotes, scenarios, history, at, costly)
        made = next(self.ready)
        if made.at != at:
            raise RuntimeError(f"numbers of {made.at} came where those of {at} were due")
        return Numbers(quotes=quotes, history=history, **made._asdict())


@contextmanager
def numbers_ahead(task: Task, moments: Sequence[datetime]) -> Iterator[Iterator[Made] | None]:
    """The numbers of some moments in order, made by other processes; None where those are not worth it."""
    processes = min(MOST_PROCESSES, os.cpu_count() or 1)
    if len(moments) < WORTHWHILE[task.costly] or processes < 2:
        yield None
        return
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, fresh, initializer=_begin, initargs=(task,))
    try:
        yield pool.map(_made, moments, chunksize=SHARE)
    finally:
        pool.shutdown(cancel_futures=True)


# ---------------------------------------------------------------- in the other process
class _Here:
    """What the other process keeps between moments."""

    task: Task
    tape: market.Tape


def _begin(task: Task) -> None:
    """Read the past once; leave with the process that asked, however it ends."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _Here.task, _Here.tape = task, market.Tape(task.seen, task.specs)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _made(at: datetime) -> Made:
    """The numbers of one moment, exactly as an evaluation makes them."""
    task, tape = _Here.task, _Here.tape
    book = as_known(task.book, at)
    ids = tuple(sorted(borrower.id for borrower in book.borrowers))
    prices = tape.history(at, ids)

    def history(name: str) -> StepTable | None:
        return prices.get(name) or fact_steps(book, name, ids)

    numbers = metrics.compute(
        book, tape.quotes(at), task.scenarios, history, at, task.costly, task.names, draws=task.draws
    )
    return Made(numbers.at, numbers.subjects, numbers.columns, numbers.scenarios, numbers.facility_borrower)
