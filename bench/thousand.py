"""What a thousand Dask workers would meet: a real scheduler, the real graph, many light workers, and the arithmetic.

    python bench/thousand.py         under two minutes

The scheduler is a process of its own. Workers are many to a process and their tasks wait instead of computing, but the
graph is one that a thousand workers would be given for 5,000 obligors over 24 months, and every answer has its real
size. Of a million paths a slice is run, and the rows sent to each worker are few, because two hundred copies of all of
them are more than one machine passes on in that time. Measured is what does not depend on the computing: processor time
of the scheduler, bytes, and the time of one round of the cascade there and back. Times on the clock include the light
workers, which share this machine's cores, and are no more than an upper bound; it is processor time of the scheduler
that is carried on to a thousand.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT), str(ROOT / "tests"), str(ROOT / "bench")]

from processes import processor  # noqa: E402

from monitor.large import on_dask, rounds  # noqa: E402
from monitor.large.plan import parts  # noqa: E402
from monitor.large.solve import BINS, ROWS, Chunk, Partial, Work, solve  # noqa: E402
from monitor.stress.inputs import TESTS  # noqa: E402

AIM, SIZES, HOSTS = 1_000, (50, 100, 200), 2
#: no larger crowd is begun after so many seconds
LONGEST_S = 75.0
OBLIGORS, PATHS, MONTHS = 5_000, 1_000_000, 24
#: parts of the whole that are really handed out, the tasks of each, and how long nothing is
SLICE, TASKS_A_PART, IDLE_S = 20, 10, 4.0
#: how long a task waits: so long that a scheduler spreads the tasks
TASK_S = 0.1
#: what the network of a cluster carries, bytes a second: 10 Gbit/s
NETWORK = 1.25e9
#: how many a worker answers at a time; who is refused asks again, and by then more hold the work
FANOUT = 50


async def pretend(work: Work, chunk: Chunk) -> Partial:
    """An answer of the real shape after a while, on the loop of its worker, without the work."""
    await asyncio.sleep(TASK_S)
    return shaped(work, chunk)


def shaped(work: Work, chunk: Chunk) -> Partial:
    """An answer of the real shape."""
    n = min(chunk.row_end * ROWS, OBLIGORS) - chunk.row * ROWS
    counts = [np.zeros((n, width), np.int64) for width in (work.n_periods + 1, len(TESTS), BINS + 2)]
    sums = {block: np.zeros(n) for block in range(chunk.block, chunk.block_end)}
    return Partial(chunk.row * ROWS, *counts, np.zeros(n), sums)


async def host(address: str, workers: int) -> None:
    """Many workers in this process, which run their tasks one after the other."""
    from distributed import Worker

    pool = ThreadPoolExecutor(1)
    quiet = {"dashboard": False, "silence_logs": 50, "memory_limit": 0}
    with tempfile.TemporaryDirectory() as folder:
        made = [Worker(address, nthreads=1, executor=pool, local_directory=folder, **quiet) for _ in range(workers)]
        await asyncio.gather(*made)
        await asyncio.gather(*(worker.finished() for worker in made))


@contextmanager
def crowd(workers: int) -> Iterator[tuple[str, int]]:
    """A scheduler and so many light workers; its address and its process."""
    from dask_cluster import QUIET, Cluster

    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), f"{ROOT}{os.pathsep}{Path(__file__).parent}")
        line = [sys.executable, __file__, "--host", cluster.address, str(workers // HOSTS)]
        quiet = subprocess.DEVNULL
        try:
            for _ in range(HOSTS):
                one = subprocess.Popen(line, env=os.environ | QUIET, cwd=folder, stdout=quiet, stderr=quiet)
                cluster.running.append(one)
            cluster.wait(workers)
            yield cluster.address, cluster.scheduler.pid
        finally:
            cluster.stop()


@contextmanager
def timed(found: dict[str, float], name: str, pid: int) -> Iterator[None]:
    """Keep the seconds of a block on the clock and of the scheduler's processor."""
    start, used = time.perf_counter(), processor(pid)
    yield
    found[f"{name} clock"], found[f"{name} scheduler"] = time.perf_counter() - start, processor(pid) - used


def graph(todo: Sequence[Chunk]) -> tuple[int, int]:
    """Tasks that work and tasks that add up."""
    return sum(len(on_dask.pieces(chunk, TASKS_A_PART)) for chunk in todo), len(todo)


def sliced(work: Work) -> list[Chunk]:
    """Parts of all obligors over the first paths."""
    every = parts(work)
    height = len({chunk.row for chunk in every})
    return sorted(every, key=lambda chunk: chunk.block)[: SLICE // height * height]


def moved(address: str) -> int:
    """Bytes workers sent to one another."""
    with on_dask.connected(address) as client:
        return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())


def measure(todo: Sequence[Chunk], few: Work, workers: int) -> dict[str, float]:
    """One crowd: idle, greeted, given these parts, and asked for rounds of the cascade; ``few``: rows it is sent."""
    found: dict[str, float] = {"workers": workers}
    import thousand  # by its name, so that workers find it there

    on_dask.solve = thousand.pretend
    # the graph of a thousand, whoever works on it
    on_dask.TASKS_EACH, on_dask.AHEAD = TASKS_A_PART * len(todo) // workers, 2 * AIM // workers
    with crowd(workers) as (address, pid):
        with timed(found, "idle", pid):
            time.sleep(IDLE_S)
        with on_dask.connected(address) as client:
            on_dask._alike(client, few)  # whoever is asked first loads the program
            with timed(found, "greeting", pid):
                on_dask._alike(client, few)
        with timed(found, "run", pid):
            count = sum(1 for _ in on_dask.run_dask(few, todo, address))
        assert count == len(todo)
        found["moved"] = moved(address)
        with on_dask.connected(address) as client:
            shared = client.scatter(few, broadcast=2, hash=False)
            price, took = np.ones(len(few.cells.depth_units)), []
            for _ in range(11):
                start = time.perf_counter()
                list(on_dask._sold(client, shared, few, price))
                took.append(time.perf_counter() - start)
            found["round"] = min(took)
    return found


def leaf_seconds(work: Work) -> tuple[float, Chunk]:
    """Processor time of one real task as it is cut for a thousand, median of three, and which."""
    chunk = on_dask.pieces(parts(work)[0], TASKS_A_PART)[0]
    solve(work, chunk)
    took = []
    for block in range(1, 4):
        start = time.process_time()
        solve(work, Chunk(chunk.row, chunk.row_end, block, block + 1))
        took.append(time.process_time() - start)
    return sorted(took)[1], chunk


def at(found: list[dict[str, float]], name: str, workers: int) -> float:
    """A straight line through what was measured, at another number of workers; never below the last one measured."""
    if len(found) < 2:
        return found[-1][name]
    slope, base = np.polyfit([one["workers"] for one in found], [one[name] for one in found], 1)
    return max(float(base + slope * workers), found[-1][name])


def main() -> None:
    """Measure the crowds and carry on to a thousand."""
    from large import made

    began = time.perf_counter()
    print(f"load at the start: {os.getloadavg()[0]:.1f}")
    work = made(OBLIGORS, PATHS, MONTHS, "compiled" if on_dask.can_compile() else "numpy")
    assert -(-on_dask.TASKS_EACH * AIM // len(parts(work))) == TASKS_A_PART, "the graph of a thousand is another one"
    (leaves, sums), (seconds, chunk) = graph(parts(work)), leaf_seconds(work)
    size, answer = len(pickle.dumps(work)), len(pickle.dumps(shaped(work, parts(work)[0])))
    rows = min(chunk.row_end * ROWS, work.n_rows) - chunk.row * ROWS
    print(f"{OBLIGORS:,} obligors x {PATHS:,} paths x {MONTHS} months = {work.n_cells:.2g} cells, {work.driver} driver")
    print(f"  cut for {AIM:,} workers: {sums} parts, {leaves:,} tasks of {rows} obligors x 4,096 paths, {sums} sums")
    print(
        f"  the work {size / 1e6:.1f} MB, the answer of a part {answer / 1e6:.2f} MB, a task {seconds:.2f} s of a core"
    )
    tasks, few = sum(graph(sliced(work))), made(ROWS, PATHS, MONTHS, work.driver)
    print(f"  run with light workers: {len(sliced(work))} of the parts, {tasks} tasks that wait {TASK_S} s")
    found = []
    for workers in SIZES:
        if time.perf_counter() - began > LONGEST_S:
            print(f"  {workers:4d} workers: left out, this machine is busy and the time is up")
            continue
        found.append(one := measure(sliced(work), few, workers))
        # what it does anyway, second by second, is no cost of the tasks
        idle = one["idle scheduler"] / one["idle clock"]
        one["a task"] = max(0.0, one["run scheduler"] - idle * one["run clock"]) / tasks
        print(f"  {workers:4d} workers: scheduler {one['a task'] * 1e3:.2f} ms a task, answers handed on included; "
              f"{idle / workers * 1e3:.2f} ms a second for each idle worker\n"
              f"       greeting {one['greeting scheduler']:.2f} s of the scheduler, "
              f"the slice {one['run clock']:.1f} s on the clock, {one['moved'] / 1e6:,.0f} MB between workers\n"
              f"       a round of the cascade {one['round'] * 1e3:.0f} ms there and back", flush=True)  # fmt: skip
    conclude(work, found, leaves, seconds, answer, size)


def conclude(work: Work, found: list[dict[str, float]], leaves: int, seconds: float, answer: int, size: int) -> None:
    """The arithmetic for a thousand, and what decides."""
    sums, waves, levels = len(parts(work)), -(-leaves // AIM), 2
    each, back = at(found, "a task", AIM), sums * answer
    figures = {
        f"computing: {waves} tasks of {seconds:.2f} s one after the other": waves * seconds,
        f"scheduler: {leaves + sums:,} tasks at {each * 1e3:.2f} ms, one core": each * (leaves + sums),
        f"answers: {back / 1e6:,.0f} MB through the scheduler at {NETWORK / 1e9} GB/s": back / NETWORK,
        f"the work: {size / 1e6:.1f} MB from each holder to {FANOUT}, {levels} times": levels * FANOUT * size / NETWORK,
        "greeting: every worker says which versions it has": at(found, "greeting scheduler", AIM),
    }  # fmt: skip
    print(f"carried on to {AIM:,} workers")
    for name, value in figures.items():
        print(f"  {value:7.2f} s  {name}")
    idle = found[-1]["idle scheduler"] / found[-1]["idle clock"] / found[-1]["workers"] * AIM
    steps = len(rounds.rounds(work, rounds.here(work)))
    print(f"  {idle:7.0%}    of a core keeps the scheduler in touch with {AIM:,} idle workers, at most")
    best = min(one["round"] for one in found)
    print(f"  {best * 1e3:7.0f} ms a round of the cascade, one task whoever is there; this tape has {steps}")
    first, second = sorted(figures, key=lambda name: -figures[name])[:2]
    print(f"  the limit: {first.partition(':')[0]}, {figures[first] / figures[second]:.1f} times "
          f"what comes next, {second.partition(':')[0]}")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--host"]:
        asyncio.run(host(sys.argv[2], int(sys.argv[3])))
    else:
        main()
