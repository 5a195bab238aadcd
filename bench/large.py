"""A loan tape on this machine and on Dask: the same bits, what Dask costs, what memory is needed, and how cost grows.

    python bench/large.py                    some minutes
    python bench/large.py --full             1e9 cells for the comparison with Dask, four times the parts for memory
    python bench/large.py memory curves      some of: dask memory tape curves

The baseline of Dask is the same work on the same number of cores without it. Both take turns, and the best of each
counts, because the machine may be shared; processor time beside it depends less on who else is there. Needs the extras
`cluster` and `fast`; without them those lines are left out. Memory and processor time are read from /proc.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT), str(ROOT / "tests"), str(ROOT / "bench")]

from dask_cluster import ALONE, Cluster  # noqa: E402
from processes import family, held, processor  # noqa: E402
from tapes import random_lines, read, work_of, written  # noqa: E402

from monitor.large.local import pool_for, run_in, run_local  # noqa: E402
from monitor.large.plan import memory_of, parts  # noqa: E402
from monitor.large.solve import Outcome, Work, chunks, outcome, solve  # noqa: E402
from monitor.large.tape import load_map, read_tape  # noqa: E402

CORES = 2
PICTURE = ROOT / "docs" / "scale.png"
DASK, FAST = find_spec("distributed") is not None, find_spec("numba") is not None
#: parts of the run whose memory is watched, and then four times as many; what it may use
FEW, BUDGET = 2, "2GiB"
#: rounds of the cost curves; the median of each point counts
CURVE_ROUNDS = 3


def made(obligors: int, paths: int, months: int, driver: str = "numpy") -> Work:
    """The work of a random tape of that size."""
    with tempfile.TemporaryDirectory() as folder:
        return work_of(read(Path(folder), *random_lines(obligors, obligors)), paths, months, driver=driver)


@contextmanager
def cluster(workers: int) -> Iterator[Cluster]:
    """A scheduler and workers as processes of their own on the loopback; all of them end with the block."""
    with tempfile.TemporaryDirectory() as folder:
        found = Cluster(Path(folder), f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
        try:
            for _ in range(workers):
                found.worker()
            found.wait(workers)
            yield found
        finally:
            found.stop()


def same(one: Outcome, other: Outcome) -> bool:
    """To the last bit."""
    return all(np.array_equal(getattr(one, n), getattr(other, n), equal_nan=n != "bins") for n in vars(one))


def against_dask(cells: float, rounds: int) -> None:
    """The same work on the same cores with and without Dask: with the start of the processes, and without it."""
    if not DASK:
        print("Dask is not installed: the comparison is left out")
        return
    for driver in ("numpy", "compiled") if FAST else ("numpy",):
        _one_driver(made(1024, int(cells / 24 / 1024), 24, driver), rounds)


def _one_driver(work: Work, rounds: int) -> None:
    print(f"{work.n_cells:.2g} cells, {work.n_rows:,} obligors x {work.n_paths:,} paths x {work.n_periods} months, "
          f"{work.driver}, {CORES} cores")  # fmt: skip
    answers = dict[str, Outcome]()
    cold = {"local": lambda w: _local_cold(w, answers), "dask": lambda w: _dask_cold(w, answers)}
    _compared(work, cold, 1, "cold, starting the processes included")
    warm_up = parts(work)[: 2 * CORES]
    with pool_for(work, CORES) as pool, cluster(CORES) as there:
        list(run_in(pool, work, warm_up, CORES))
        list(_on_dask(work, warm_up, there.address))
        engines = {
            "local": lambda w: _kept(answers, "local", w, run_in(pool, w, parts(w), CORES)),
            "dask": lambda w: _kept(answers, "dask", w, _on_dask(w, parts(w), there.address)),
        }
        ratio = _compared(work, engines, rounds, "warm, processes running on both sides")
    print(f"    overhead of Dask, warm, {ratio - 1:+.1%}, aim at most +15%: {'met' if ratio <= 1.15 else 'missed'}")
    print(f"    the same answer to the last bit: {'yes' if same(answers['local'], answers['dask']) else 'NO'}")


def _compared(work: Work, engines: dict[str, Callable[[Work], None]], rounds: int, what: str) -> float:
    """Both engines in turns; seconds on the clock and of all processors; the clock's ratio, best of each."""
    clock, used = {name: list[float]() for name in engines}, {name: list[float]() for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            children, start, own = _children(), time.perf_counter(), os.times()
            engine(work)
            clock[name].append(time.perf_counter() - start)
            # the ended are counted by the system, the living by us
            done = os.times()
            ended = done.children_user + done.children_system - own.children_user - own.children_system
            here = done.user + done.system - own.user - own.system
            now = _children()
            used[name].append(here + ended + sum(now[pid] - children.get(pid, 0.0) for pid in now))
    print(f"  {what}")
    for name in engines:
        best, busy, base = min(clock[name]), min(used[name]), (min(clock["local"]), min(used["local"]))
        print(f"    {name:5s} {best:7.1f} s  {work.n_cells / best / 1e6:6.1f} M cells/s  {best / base[0]:.2f} x"
              f"   processors {busy:7.1f} s  {busy / base[1]:.2f} x", flush=True)  # fmt: skip
    return min(clock["dask"]) / min(clock["local"])


def _children() -> dict[int, float]:
    """Processor time of every living process that came of this one."""
    return {pid: processor(pid) for pid in family([os.getpid()]) - {os.getpid()}}


def _on_dask(work: Work, todo: object, address: str) -> Iterator[object]:
    from monitor.large.on_dask import run_dask

    return run_dask(work, todo, address)


def _kept(answers: dict[str, Outcome], name: str, work: Work, found: object) -> None:
    answers[name] = outcome(work, (part for _, part in found))


def _local_cold(work: Work, answers: dict[str, Outcome]) -> None:
    _kept(answers, "local", work, run_local(work, parts(work), CORES))


def _dask_cold(work: Work, answers: dict[str, Outcome]) -> None:
    with cluster(CORES) as there:
        _kept(answers, "dask", work, _on_dask(work, parts(work), there.address))


def memory(full: bool) -> None:
    """All processes of the command over 5,000 obligors and a million paths, as long as it takes to see that it is flat:
    the highest until some parts are finished, and until four times as many are."""
    few = FEW * 4 if full else FEW
    print(f"memory of all processes together, 5,000 obligors x 1,000,000 paths x 24 months, --memory {BUDGET}, {CORES} "
          f"cores; what several share is counted once")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tape, map_ = written(folder, *random_lines(5_000, 50_000))
        for engine in ["threads, compiled"] * FAST + ["Dask, compiled"] * (DASK and FAST) + ["processes, numpy"]:
            seen = _watched(folder, tape, map_, engine, few * 4)
            least, most = (max(size for done, size in seen if done <= parts_) for parts_ in (few, few * 4))
            verdict = "under" if most <= memory_of(BUDGET) else "OVER"
            print(f"  {engine:18s} highest until {few} parts {least >> 20:5d} MiB, until {few * 4} parts "
                  f"{most >> 20:5d} MiB  {most / least - 1:+.1%}  {verdict} {BUDGET}", flush=True)  # fmt: skip


def _watched(folder: Path, tape: Path, map_: Path, engine: str, enough: int) -> list[tuple[int, int]]:
    """Parts finished and bytes of one command and all that works for it, over and over until enough are."""
    without = "sys.modules['numba'] = None; " if "numpy" in engine else ""
    out = folder / engine[:4]
    line = [
        sys.executable, "-c", f"import sys; {without}from monitor.cli import main; sys.exit(main())", "--offline",
        "--json", "large", str(tape), "--map", str(map_), "--out", str(out), "--paths", "1000000", "--months", "24",
        "--memory", BUDGET,
    ]  # fmt: skip
    environ = os.environ | ALONE | {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
    seen = list[tuple[int, int]]()
    with cluster(CORES) if "Dask" in engine else nullcontext() as there:
        if there is not None:
            line += ["--engine", "dask", "--scheduler", there.address]
        others = [] if there is None else [one.pid for one in there.running]
        running = subprocess.Popen(line, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL)
        while running.poll() is None and (not seen or seen[-1][0] < enough):
            time.sleep(0.2)
            seen.append((len(list(out.glob("parts/*.npz"))), held(family([running.pid, *others]))))
        assert running.poll() is None, f"{engine}: the command ended with {running.returncode}"
        mine = family([running.pid])
        running.terminate()
        running.wait(30)
        for pid in mine & family([running.pid, *mine]) - {running.pid}:
            _end(pid)
    return seen


def _end(pid: int) -> None:
    """End a worker whose parent is gone, if it has not ended by itself."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def reading() -> None:
    """A million lines with three bad ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = random_lines(2_000, 2_000)
        tape, map_ = written(folder, *few)
        head, *rows = tape.read_text("utf-8").splitlines()
        with tape.open("w", encoding="utf-8") as out:
            out.write(head + "\n")
            for copy in range(500):
                out.writelines(row.replace('"L', f'"C{copy}-', 1) + "\n" for row in rows)
            out.write('"X1","Obligor 00001","nonsense"' + ',"8"' * 13 + "\n")
            out.write('"X2","Obligor 00002","5","8","","31/02/2027"' + ',""' * 10 + "\n")
            out.write('"X3","","5","8","","15/01/2027"' + ',""' * 10 + "\n")
        size = tape.stat().st_size
        found = {}
        start = time.perf_counter()
        found["tape"] = read_tape(tape, load_map(map_))
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        found["split"] = [line.split(",") for line in tape.read_text("utf-8").splitlines()]
        base = time.perf_counter() - start
    bad = [reject.line for reject in found["tape"].rejects]
    print(f"a tape of {found['tape'].lines:,} lines ({size / 1e6:.0f} MB) with three bad ones")
    print(f"  split at its commas in plain Python  {base:6.1f} s  baseline")
    print(f"  read and checked                     {seconds:6.1f} s  {seconds / base:.1f} x; bad lines found: {bad}")


def curves() -> None:
    """How the processor time of one core grows with obligors, paths and months, drawn.

    Paths are drawn anew every time, one run of each size goes before, and the sizes take turns.
    """
    base = {"obligors": 512, "paths": 8_192, "months": 12}
    steps = {"obligors": (1, 2, 4), "paths": (1, 2, 4), "months": (1, 2, 4)}
    found = dict[str, list[tuple[int, float]]]()
    driver = "compiled" if FAST else "numpy"
    print(f"cost of one core, {driver}, seconds of processor time, and a cell against the smallest")
    for name, times in steps.items():
        works = {base[name] * by: made(**{**base, name: base[name] * by}, driver=driver) for by in times}
        seconds = {size: list[float]() for size in works}
        for turn in range(CURVE_ROUNDS + 1):
            for size, work in works.items():
                fresh = replace(work, seed=work.seed + turn)
                start = time.process_time()
                outcome(fresh, (solve(fresh, one) for one in chunks(fresh, 8, 2)))
                seconds[size].append(time.process_time() - start)
        # the first turn only warms up
        found[name] = [(size, float(np.median(mine[1:]))) for size, mine in seconds.items()]
        (first, least), *_ = found[name]
        for size, mine in found[name]:
            ratio = (mine / size) / (least / first)
            aim = "" if abs(ratio - 1) <= 0.1 else "  more than 10 % off"
            print(f"  {name:9s} {size:>7,}  {mine:7.2f} s  {ratio:.2f} of proportional{aim}", flush=True)
    draw(found)


def draw(found: dict[str, list[tuple[int, float]]]) -> None:
    """Three small panels, one for each size."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 3.4), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(found))
    for axes, (name, points) in zip(panels, found.items(), strict=True):
        sizes, seconds = np.array(points).T
        axes.plot(sizes, seconds, "o-", color="#1F4E79", label="measured")
        axes.plot(sizes, sizes * seconds[0] / sizes[0], "--", color="#E08214", label="proportional to the first")
        axes.set(xlabel=name, ylabel="processor seconds", ylim=(0, None), xlim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle("What a large run costs", x=0.01, ha="left", fontsize=12, weight="bold")
    figure.savefig(PICTURE, metadata={"Software": None})
    print(f"drawn: {PICTURE.relative_to(ROOT)}")


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--full",
        action="store_true",
        help="1e9 cells for the comparison with Dask, and four times the parts for memory",
    )
    parser.add_argument("what", nargs="*", help="dask, memory, tape, curves; all of them where none is named")
    asked = parser.parse_args()
    tables = {
        "dask": lambda: against_dask(1e9 if asked.full else 1e8, 2), "memory": lambda: memory(asked.full),
        "tape": reading, "curves": curves,
    }  # fmt: skip
    unknown = set(asked.what) - set(tables)
    if unknown:
        parser.error(f"no table {', '.join(sorted(unknown))}; there are {', '.join(tables)}")
    for name in asked.what or tables:
        print(f"load: {os.getloadavg()[0]:.1f}")
        tables[name]()


if __name__ == "__main__":
    main()
