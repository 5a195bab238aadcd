"""A large run on this machine: threads for the compiled driver, which frees the interpreter, processes for numpy."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from monitor.large.solve import Chunk, Partial, Work, solve
from monitor.model import CanaryError

#: parts waiting for each worker: enough that none is idle, few enough that an end comes soon
AHEAD = 2
_work: Work | None = None


def run_local(work: Work, todo: Sequence[Chunk], workers: int) -> Iterator[tuple[Chunk, Partial]]:
    """Each part as it is finished. CanaryError when a worker died, most often for want of memory."""
    if workers == 1:
        for chunk in todo:
            yield chunk, solve(work, chunk)
        return
    with pool_for(work, workers) as pool:
        yield from run_in(pool, work, todo, workers)


def run_in(pool: Executor, work: Work, todo: Sequence[Chunk], workers: int) -> Iterator[tuple[Chunk, Partial]]:
    """The same in a pool that is there already."""
    pending: dict[Future[Partial], Chunk] = {}
    left = iter(todo)
    try:
        while True:
            for chunk in left:
                job = pool.submit(solve, work, chunk) if work.driver == "compiled" else pool.submit(_solve, chunk)
                pending[job] = chunk
                if len(pending) >= AHEAD * workers:
                    break
            if not pending:
                return
            for job in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(job), job.result()
    except BrokenProcessPool:
        raise CanaryError(
            "a worker was killed, most often for want of memory; give a smaller --memory and run it again: "
            "what is finished is kept"
        ) from None
    finally:
        for job in pending:
            job.cancel()


def pool_for(work: Work, workers: int) -> Executor:
    """Workers of this machine for one piece of work; the pool is ended by whoever asked for it."""
    if work.driver == "compiled":
        return ThreadPoolExecutor(workers)
    # spawned, not forked: a fork of a process with threads may deadlock
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(work,))


def _begin(work: Work) -> None:
    """Each worker process gets the work once."""
    global _work
    _work = work


def _solve(chunk: Chunk) -> Partial:
    assert _work is not None, "the worker was not begun"
    return solve(_work, chunk)
