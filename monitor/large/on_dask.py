"""A large run on a Dask cluster that somebody already runs.

The work is sent to every worker once; a part is cut into a few tasks, more on a larger cluster, whose results are added
up on the workers, and only the sum comes back. What a lost worker was doing, the scheduler gives to another one. Dask
carries Python objects between its processes, so a scheduler is somebody you trust, on a network of your own or behind
TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from monitor import __version__
from monitor.large import rounds
from monitor.large.solve import ROWS, Chunk, Partial, Work, added, solve
from monitor.model import CanaryError, FloatArray

if TYPE_CHECKING:
    from distributed import Client

#: tasks of one part, at least, where it has as many micro-blocks
BRANCHES = 4
#: tasks each thread has in the whole run, at least: fewer, and most threads wait for the last ones
TASKS_EACH = 4
#: parts given to the scheduler ahead, for each thread: what it holds does not grow with the paths
AHEAD = 2
CONNECT_S = 10
#: obligors one task of the cascade answers for; fewer would cost the scheduler more than they save
CASCADE_ROWS = 64 * ROWS
#: how often a task is begun again after an error of its own, and the whole after the work itself was lost
RETRIES, ROUNDS = 2, 3


def run_dask(work: Work, todo: Sequence[Chunk], address: str) -> Iterator[tuple[Chunk, Partial]]:
    """Each part as it is finished. CanaryError when the scheduler cannot be reached or goes away, has no worker, or a
    worker runs another version."""
    left = {chunk.name: chunk for chunk in todo}
    for again in range(ROUNDS):
        with connected(address, lost=again > 0) as client:
            _alike(client, work)
            for chunk, part in _round(client, work, list(left.values())):
                del left[chunk.name]
                yield chunk, part
        if not left:
            return
    raise CanaryError(f"the work was lost {ROUNDS} times: the cluster loses its workers; {len(left)} parts are left")


def _round(client: Client, work: Work, todo: Sequence[Chunk]) -> Iterator[tuple[Chunk, Partial]]:
    """Parts until all are there or the work itself was lost with the workers that held it."""
    from distributed import as_completed
    from distributed.comm.core import CommClosedError

    try:
        # more workers than two need no copy before they ask for one
        shared = client.scatter(work, broadcast=2, hash=False)
        threads = sum(client.nthreads().values())
        give, left = _Giver(client, shared, -(-TASKS_EACH * threads // len(todo))), iter(todo)
        jobs = give(list(islice(left, AHEAD * threads)))
        waiting = as_completed(jobs, loop=client.loop)
        for job in waiting:
            if job.status != "finished":
                if job.status in ("cancelled", "lost"):
                    return
                raise CanaryError(f"a part failed on the cluster: {_first(job.exception())}")
            more = give(list(islice(left, 1)))
            jobs |= more
            waiting.update(more)
            chunk = jobs.pop(job)
            part = job.result()
            job.release()
            yield chunk, part
    except (CommClosedError, OSError, TimeoutError, asyncio.CancelledError):
        return


def pieces(chunk: Chunk, at_least: int) -> list[Chunk]:
    """A part as tasks of some micro-blocks each, and where those are too few also cut between its blocks of obligors.

    Paths are drawn for each task, so blocks of obligors are kept together where they can be.

    >>> [one.name for one in pieces(Chunk(0, 8, 0, 2), 4)][:2]
    ['000000-000004-000000-000001', '000000-000004-000001-000002']
    """
    blocks, rows = chunk.block_end - chunk.block, chunk.row_end - chunk.row
    wide = -(-blocks // max(BRANCHES, at_least))
    cuts = -(-at_least // -(-blocks // wide))
    high = -(-rows // min(rows, cuts))
    return [
        Chunk(row, min(row + high, chunk.row_end), block, min(block + wide, chunk.block_end))
        for row in range(chunk.row, chunk.row_end, high)
        for block in range(chunk.block, chunk.block_end, wide)
    ]


class _Giver:
    """Gives parts to the scheduler, several as one graph: one message a task would cost it twice as much.

    Keys are pairs, so that it knows all tasks as of one kind and hands them to whoever is idle; one by one they would
    all go to the few workers that hold the work already.
    """

    def __init__(self, client: Client, shared: Any, at_least: int) -> None:
        self.client, self.shared, self.at_least = client, shared, at_least
        self.name, self.given, self.parts = uuid4().hex, 0, 0

    def __call__(self, todo: Sequence[Chunk]) -> dict[Any, Chunk]:
        """Job -> its part, for all of these parts."""
        if not todo:
            return {}
        cut = [pieces(chunk, self.at_least) for chunk in todo]
        tasks = [task for mine in cut for task in mine]
        keys = [(f"solve-{self.name}", self.given + i) for i in range(len(tasks))]
        leaves = iter(self.client.map(solve, [self.shared] * len(tasks), tasks, key=keys, pure=False, retries=RETRIES))
        groups = [list(islice(leaves, len(mine))) for mine in cut]
        names = [(f"added-{self.name}", self.parts + i) for i in range(len(cut))]
        # before the tasks that wait, so that a part is kept as soon as it can be and its pieces are forgotten
        jobs = self.client.map(added, groups, key=names, pure=False, retries=RETRIES, priority=1)
        self.given, self.parts = self.given + len(tasks), self.parts + len(cut)
        return dict(zip(jobs, todo, strict=True))


def rounds_on_dask(work: Work, address: str) -> list[rounds.Round]:
    """The cascade with its map on the workers; every round is one trip there and back. CanaryError as above."""
    from distributed.comm.core import CommClosedError

    with connected(address) as client:
        _alike(client, work)
        try:
            shared = client.scatter(work, broadcast=2, hash=False)
            return rounds.rounds(work, lambda price: _sold(client, shared, work, price))
        except (CommClosedError, OSError, TimeoutError, asyncio.CancelledError):
            raise CanaryError(
                f"the scheduler at {address} or the work on it was lost during the cascade; run this again: the parts "
                "are kept"
            ) from None


def _sold(client: Client, shared: Any, work: Work, price: FloatArray) -> Iterable[rounds.Sold]:
    starts = range(0, work.n_rows, CASCADE_ROWS)
    jobs = [client.submit(rounds.sold_between, shared, row, row + CASCADE_ROWS, price, pure=False) for row in starts]
    return [one for answer in client.gather(jobs) for one in answer]


def connected(address: str, lost: bool = False) -> Client:
    """A client of the scheduler at an address. CanaryError when there is none."""
    try:
        from distributed import Client
    except ImportError:
        raise CanaryError("Dask is not installed: pip install 'compute-canary[cluster]'") from None
    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        text = " ".join(str(error).split())[:160]
        if lost:
            raise CanaryError(
                f"the scheduler at {address} went away ({text}); what is finished is kept: start it and run this again"
            ) from None
        raise CanaryError(
            f"no scheduler at {address}: {text}; start one with: dask scheduler, and workers: dask worker {address}"
        ) from None


def versions() -> dict[str, str]:
    """What must be the same everywhere for the answer to be."""
    return {"canary": __version__, "numpy": np.__version__}


def can_compile() -> bool:
    """Whether a worker has the compiled driver."""
    import importlib.util

    return importlib.util.find_spec("numba") is not None


def _alike(client: Client, work: Work) -> None:
    """Every worker runs this version of all that makes a number, and so does the scheduler, which reads the tasks."""
    mine = versions()
    try:
        reads = client.run_on_scheduler(versions)
    except Exception as error:  # most often: it has no such package
        raise CanaryError(
            f"the scheduler cannot read Canary {__version__}: {_first(error)}; install it there, as on the workers"
        ) from None
    try:
        theirs = client.run(versions)
        compiled = client.run(can_compile) if work.driver == "compiled" else {}
    except Exception as error:  # most often: the worker has no such package
        raise CanaryError(f"a worker cannot run Canary {__version__}: {_first(error)}; install it there") from None
    if not theirs:
        raise CanaryError("the scheduler has no worker; start some with: dask worker ADDRESS")
    wrong = [
        f"{worker} has {name} {found.get(name)}, not {version}"
        for worker, found in {"the scheduler": reads, **theirs}.items()
        for name, version in mine.items()
        if found.get(name) != version
    ]
    wrong += [f"{worker} lacks numba for the compiled driver" for worker, can in compiled.items() if not can]
    if wrong:
        raise CanaryError("workers differ, so the answer would: " + "; ".join(wrong[:6]))


def _first(error: BaseException | None) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
