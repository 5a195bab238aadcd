"""Dask with real worker processes: the answer of this machine to the last bit, and plain words when a cluster fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_cluster import ROOT, Cluster
from tapes import BOOK, random_lines, read, work_of, written

from monitor.cli import run_line
from monitor.large.plan import parts
from monitor.large.solve import Outcome, Work, outcome, solve
from monitor.model import CanaryError

pytest.importorskip("distributed")
from monitor.large import on_dask, rounds
from monitor.large.results import RunFolder, manifest
from tests.desk import lay_desk
from tests.test_large import same

pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without a worker yet."""
    found = Cluster(tmp_path)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Two blocks of obligors over four micro-blocks of paths."""
    return work_of(read(tmp_path_factory.mktemp("tape"), *random_lines(200, 400)), 16_000)


@pytest.fixture(scope="module")
def here(small: Work) -> Outcome:
    """The answer of this process."""
    return outcome(small, [solve(small, chunk) for chunk in parts(small)])


def test_one_worker_two_workers_and_this_machine_agree(
    cluster: Cluster, small: Work, here: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes, one of them and then two: the same answer to the last bit, and the same cascade."""
    cluster.worker()
    cluster.wait(1)
    one = outcome(small, [part for _, part in on_dask.run_dask(small, parts(small), cluster.address)])
    cluster.worker()
    cluster.wait(2)
    two = outcome(small, [part for _, part in on_dask.run_dask(small, parts(small), cluster.address)])
    assert same(one, here)
    assert same(two, here)
    monkeypatch.setattr(on_dask, "CASCADE_ROWS", 128)  # two tasks a round
    there, mine = on_dask.rounds_on_dask(small, cluster.address), rounds.rounds(small, rounds.here(small))
    assert [(r.fallen, r.price.tolist()) for r in there] == [(r.fallen, r.price.tolist()) for r in mine]


def test_a_killed_worker_changes_nothing(cluster: Cluster, small: Work, here: Outcome) -> None:
    """One of two workers is killed after the first part came back: the other does its work, the answer is the same."""
    victim = cluster.worker()
    cluster.worker()
    cluster.wait(2)
    found = []
    for _, part in on_dask.run_dask(small, parts(small), cluster.address):
        if not found:
            victim.send_signal(signal.SIGKILL)
        found.append(part)
    assert victim.wait(10) == -signal.SIGKILL
    assert same(outcome(small, found), here)


def test_a_scheduler_that_dies_is_said_and_what_is_finished_stays(
    cluster: Cluster, small: Work, here: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts that came back are kept; a sentence says that it went away, nothing falls back silently, and on this
    machine the run goes on from there to the same answer."""
    cluster.worker()
    cluster.wait(1)
    folder = RunFolder.opened(tmp_path / "run", manifest(small, {"tape": "x"}))
    monkeypatch.setattr(on_dask, "CONNECT_S", 3)
    with pytest.raises(CanaryError, match=r"went away .* what is finished is kept: start it and run this again"):
        _until_stopped(cluster, small, folder)
    every = parts(small)
    kept = [folder.finished(chunk) for chunk in every]
    assert 1 <= sum(part is not None for part in kept) < len(every)
    again = [part or solve(small, chunk) for part, chunk in zip(kept, every, strict=True)]
    assert same(outcome(small, again), here)


def _until_stopped(cluster: Cluster, work: Work, folder: RunFolder) -> None:
    """Keep what comes back, and end the whole cluster after the first part."""
    for count, (chunk, part) in enumerate(on_dask.run_dask(work, parts(work), cluster.address)):
        folder.keep(chunk, part)
        if count == 0:
            cluster.stop()


def test_no_scheduler_no_worker_and_another_version_are_sentences(
    cluster: Cluster, small: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failure says what to do; none of them runs anything here instead."""
    monkeypatch.setattr(on_dask, "CONNECT_S", 1)
    with pytest.raises(CanaryError, match=r"no scheduler at tcp://127.0.0.1:9: .*start one with: dask scheduler"):
        next(on_dask.run_dask(small, parts(small), "tcp://127.0.0.1:9"))
    monkeypatch.setattr(on_dask, "CONNECT_S", 30)
    deadline = time.monotonic() + 60
    while True:  # the scheduler may still be starting
        with pytest.raises(CanaryError) as told:
            next(on_dask.run_dask(small, parts(small), cluster.address))
        if "no worker" in str(told.value) or time.monotonic() > deadline:
            break
    assert "start some with: dask worker" in str(told.value)
    cluster.worker("import monitor; monitor.__version__ = '0.0.1'")
    cluster.wait(1)
    with pytest.raises(CanaryError, match=r"workers differ, so the answer would: .* has canary 0\.0\.1, not"):
        next(on_dask.run_dask(small, parts(small), cluster.address))


def test_a_run_goes_on_with_dask_after_its_scheduler_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command itself, killed off by its scheduler in the middle: it ends with a sentence and without a result; run
    again on a new scheduler it works out what is missing, touches nothing that was kept, and its table is that of an
    undisturbed run on this machine."""
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    desk = lay_desk(tmp_path)
    (desk / "book" / "_assumptions.yaml").write_text((BOOK / "_assumptions.yaml").read_text("utf-8"), "utf-8")
    tape, map_ = written(tmp_path, *random_lines(200, 400))
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    line = ["--offline", "--json", "large", str(tape), "--map", str(map_), "--paths", "20000", "--out"]
    first = Cluster(tmp_path)
    there = ["run", "--engine", "dask", "--scheduler", first.address]
    program = "import sys; from monitor.cli import main; sys.exit(main())"
    try:
        first.worker("import time, monitor.large.solve as s; one = s.solve\n"
                     "def solve(*a): time.sleep(0.3); return one(*a)\n"
                     "solve.__module__ = s.__name__; s.solve = solve")  # fmt: skip
        first.wait(1)
        environ = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home")}
        running = subprocess.Popen([sys.executable, "-c", program, *line, *there], env=environ, stderr=subprocess.PIPE)
        parts_ = desk / "run" / "parts"
        deadline = time.monotonic() + 120
        while not list(parts_.glob("*.npz")) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        first.scheduler.kill()
        said = running.communicate(timeout=120)[1].decode()
    finally:
        first.stop()
    assert running.returncode == 2
    assert "went away" in said
    assert "what is finished is kept: start it and run this again" in " ".join(said.split())
    assert not (desk / "run" / "result.parquet").exists()
    kept = {file: file.stat().st_mtime_ns for file in parts_.glob("*.npz")}
    assert kept
    second = Cluster(tmp_path, port=int(first.address.rpartition(":")[2]))
    try:
        second.worker()
        second.wait(1)
        assert run_line([*line, *there]) == 0
    finally:
        second.stop()
    assert len(kept) < len(list(parts_.glob("*.npz")))
    assert kept == {file: file.stat().st_mtime_ns for file in kept}
    assert run_line([*line, "undisturbed"]) == 0
    one, other = (pd.read_parquet(desk / name / "result.parquet") for name in ("run", "undisturbed"))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_every_worker_is_given_tasks(cluster: Cluster, small: Work, tmp_path: Path) -> None:
    """Not only those that were sent the work first: three workers, and each of them leaves its mark."""
    mark = (
        "import os, monitor.large.solve as s; one = s._block\n"
        "def block(*a):\n  open(f'{os.getpid()}.worked', 'a').close(); return one(*a)\n"
        "s._block = block"
    )
    for _ in range(3):
        cluster.worker(mark)
    cluster.wait(3)
    list(on_dask.run_dask(small, parts(small), cluster.address))
    assert len(list(tmp_path.glob("*.worked"))) == 3


def test_a_scheduler_without_canary_is_told(tmp_path: Path, small: Work) -> None:
    """It reads the tasks it hands on: without the program it could not, and would only say that the work was lost."""
    cluster = Cluster(tmp_path, before="import sys; sys.modules['monitor'] = None")
    try:
        cluster.worker()
        cluster.wait(1)
        with pytest.raises(CanaryError, match=r"the scheduler cannot read Canary .*monitor.*; install it there"):
            next(on_dask.run_dask(small, parts(small), cluster.address))
    finally:
        cluster.stop()


def test_a_worker_without_canary_is_told(cluster: Cluster, small: Work) -> None:
    """A worker that cannot import the program: which, and what to install there; nothing is run here instead."""
    cluster.worker("import sys; sys.modules['monitor'] = None")
    cluster.wait(1)
    with pytest.raises(CanaryError, match=r"a worker cannot run Canary .*monitor.*; install it there"):
        next(on_dask.run_dask(small, parts(small), cluster.address))
