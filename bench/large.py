"""A loan tape on this machine and on Dask: the same bits, what Dask costs, what memory is needed, and how cost grows.

    python bench/large.py            some minutes
    python bench/large.py --full     1e9 cells for the comparison with Dask

The baseline is the same work on the same number of cores without Dask. Both take turns, and the best of each counts,
because the machine may be shared. Needs the extras `cluster` and `fast`; without them those lines are left out.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from tapes import random_lines, read, work_of, written  # noqa: E402

from monitor.large.local import run_local  # noqa: E402
from monitor.large.plan import human, parts, peak_bytes  # noqa: E402
from monitor.large.solve import Outcome, Work, chunks, outcome, solve  # noqa: E402
from monitor.large.tape import load_map, read_tape  # noqa: E402

CORES = 2
PICTURE = ROOT / "docs" / "scale.png"


def made(obligors: int, paths: int, months: int, driver: str = "numpy") -> Work:
    """The work of a random tape of that size."""
    with tempfile.TemporaryDirectory() as folder:
        return work_of(read(Path(folder), *random_lines(obligors, obligors)), paths, months, driver=driver)


def took(run: object) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()  # type: ignore[operator]
    return time.perf_counter() - start


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A scheduler and workers as processes of their own on the loopback; all of them end with the block."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    environ = os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical",
    }  # fmt: skip
    running = []
    with tempfile.TemporaryDirectory() as folder:
        for words in (
            ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-jupyter"),
            *(("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"),) * workers,
        ):
            line = [sys.executable, "-m", "dask", *words]
            quiet = subprocess.DEVNULL
            running.append(subprocess.Popen(line, env=environ, cwd=folder, stdout=quiet, stderr=quiet))
        try:
            from distributed import Client

            with Client(address, timeout=60, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=60)
            yield address
        finally:
            for process in running:
                process.kill()
            for process in running:
                process.wait(10)


def same(one: Outcome, other: Outcome) -> bool:
    """To the last bit."""
    return all(np.array_equal(getattr(one, n), getattr(other, n), equal_nan=n != "bins") for n in vars(one))


def against_dask(cells: float, rounds: int) -> None:
    """The same work on the same cores with and without Dask."""
    try:
        import distributed  # noqa: F401

        from monitor.large.on_dask import run_dask
    except ImportError:
        print("Dask is not installed: the comparison is left out")
        return
    months, obligors = 24, 1024
    work = made(obligors, int(cells / months / obligors), months)
    answers: dict[str, Outcome] = {}
    seconds: dict[str, list[float]] = {"local": [], "dask": []}
    with cluster(CORES) as address:
        for _ in range(rounds):
            for name, engine in (
                ("local", lambda: run_local(work, parts(work), CORES)),
                ("dask", lambda: run_dask(work, parts(work), address)),
            ):
                start = time.perf_counter()
                answers[name] = outcome(work, [part for _, part in engine()])
                seconds[name].append(time.perf_counter() - start)
    local, dask = min(seconds["local"]), min(seconds["dask"])
    print(f"{work.n_cells:.2g} cells, {obligors:,} obligors x {work.n_paths:,} paths x {months} months, {CORES} cores")
    print(f"  local processes  {local:8.1f} s  {work.n_cells / local / 1e6:6.1f} M cells/s  baseline")
    print(f"  Dask processes   {dask:8.1f} s  {work.n_cells / dask / 1e6:6.1f} M cells/s  {dask / local:.3f} x")
    met = "met" if dask / local <= 1.15 else "missed"
    print(f"  overhead of Dask {dask / local - 1:+.1%}, aim at most +15%: {met}")
    print(f"  the same answer to the last bit: {'yes' if same(answers['local'], answers['dask']) else 'NO'}")


def memory() -> None:
    """What one worker needs for 5,000 obligors, and that it does not grow with the paths."""
    import tracemalloc

    print("memory of one worker, 5,000 obligors x 24 months, numpy's own and Python's, MiB")
    whole = made(5_000, 1_000_000, 24)
    for blocks in (1, 2, 4):
        chunk = replace(chunks(whole, 1, 1)[0], block_end=blocks)
        tracemalloc.start()
        solve(whole, chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"  {blocks * 4096:>7,} paths  {peak / 2**20:7.1f}  estimated {peak_bytes(whole) / 2**20:.1f}")
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"  this process at its highest: {human(rss)} of the default budget of 2GiB; {len(parts(whole)):,} parts")


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
        seconds = took(lambda: found.update(tape=read_tape(tape, load_map(map_))))
        base = took(lambda: [line.split(",") for line in tape.read_text("utf-8").splitlines()])
    bad = [reject.line for reject in found["tape"].rejects]
    print(f"a tape of {found['tape'].lines:,} lines ({size / 1e6:.0f} MB) with three bad ones")
    print(f"  split at its commas in plain Python  {base:6.1f} s  baseline")
    print(f"  read and checked                     {seconds:6.1f} s  {seconds / base:.1f} x; bad lines found: {bad}")


def curves() -> None:
    """How the time of one core grows with obligors, paths and months, drawn."""
    base = {"obligors": 512, "paths": 8_192, "months": 12}
    steps = {"obligors": (512, 1024, 2048), "paths": (8_192, 16_384, 32_768), "months": (12, 24, 48)}
    found: dict[str, list[tuple[int, float]]] = {}
    print("cost of one core, numpy, seconds, and cells a second against the smallest")
    for name, sizes in steps.items():
        for size in sizes:
            work = made(**{**base, name: size})
            every = chunks(work, 99, 99)
            seconds = min(took(lambda: [solve(work, one) for one in every]) for _ in range(3))  # noqa: B023
            found.setdefault(name, []).append((size, seconds))
            first = found[name][0]
            ratio = (seconds / size) / (first[1] / first[0])
            print(f"  {name:9s} {size:>7,}  {seconds:7.2f} s  {ratio:.2f} of proportional")
    draw(found)


def draw(found: dict[str, list[tuple[int, float]]]) -> None:
    """Three small panels, one for each size."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(found))
    for axes, (name, points) in zip(panels, found.items(), strict=True):
        sizes, seconds = np.array(points).T
        axes.plot(sizes, seconds, "o-", color="#1F4E79", label="measured")
        axes.plot(sizes, sizes * seconds[0] / sizes[0], "--", color="#E08214", label="proportional to the first")
        axes.set(xlabel=name, ylabel="seconds of one core", ylim=(0, None), xlim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle("What a large run costs", x=0.01, ha="left", fontsize=12, weight="bold")
    figure.savefig(PICTURE, metadata={"Software": None})
    print(f"drawn: {PICTURE.relative_to(ROOT)}")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="1e9 cells for the comparison with Dask")
    asked = parser.parse_args()
    print(f"load at the start: {os.getloadavg()[0]:.1f}")
    against_dask(1e9 if asked.full else 1e8, 2)
    memory()
    reading()
    curves()


if __name__ == "__main__":
    main()
