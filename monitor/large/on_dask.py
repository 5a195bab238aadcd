"""A large run on a Dask cluster that somebody already runs.

The work is sent to every worker once; a part is cut into a few tasks whose results are added up on the workers, and
only the sum comes back. What a lost worker was doing, the scheduler gives to another one. Dask carries Python objects
between its processes, so a scheduler is somebody you trust, on a network of your own or behind TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor import __version__
from monitor.large import rounds
from monitor.large.solve import ROWS, Chunk, Partial, Work, merged, solve
from monitor.model import CanaryError, FloatArray

if TYPE_CHECKING:
    from distributed import Client

#: tasks of one part, added up where they were worked out
BRANCHES = 4
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
        jobs = {_part(client, shared, chunk): chunk for chunk in todo}
        for job in as_completed(jobs, loop=client.loop):
            if job.status != "finished":
                if job.status in ("cancelled", "lost"):
                    return
                raise CanaryError(f"a part failed on the cluster: {_first(job.exception())}")
            chunk = jobs.pop(job)
            part = job.result()
            job.release()
            yield chunk, part
    except (CommClosedError, OSError, TimeoutError, asyncio.CancelledError):
        return


def _part(client: Client, shared: Any, chunk: Chunk) -> Any:
    """One part as a small tree of tasks."""
    step = -(-(chunk.block_end - chunk.block) // BRANCHES)
    pieces = [
        Chunk(chunk.row, chunk.row_end, block, min(block + step, chunk.block_end))
        for block in range(chunk.block, chunk.block_end, step)
    ]
    leaves = [client.submit(solve, shared, piece, pure=False, retries=RETRIES) for piece in pieces]
    return leaves[0] if len(leaves) == 1 else client.submit(merged, leaves, pure=False, retries=RETRIES)


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
    """Every worker runs this version of everything that makes a number."""
    mine = versions()
    try:
        theirs = client.run(versions)
        compiled = client.run(can_compile) if work.driver == "compiled" else {}
    except Exception as error:  # most often: the worker has no such package
        raise CanaryError(f"a worker cannot run Canary {__version__}: {_first(error)}; install it there") from None
    if not theirs:
        raise CanaryError("the scheduler has no worker; start some with: dask worker ADDRESS")
    wrong = [
        f"{worker} has {name} {found.get(name)}, not {version}"
        for worker, found in theirs.items()
        for name, version in mine.items()
        if found.get(name) != version
    ]
    wrong += [f"{worker} lacks numba for the compiled driver" for worker, can in compiled.items() if not can]
    if wrong:
        raise CanaryError("workers differ, so the answer would: " + "; ".join(wrong[:6]))


def _first(error: BaseException | None) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
