"""A Dask scheduler and workers as processes of their own, on the loopback; for tests and the benchmark."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUIET = {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical", "DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "False"}
#: one thread a worker: libraries must not add their own
ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class Cluster:
    """A scheduler without a worker yet. ``paths``: what it and its workers can import, the project by default;
    ``before``: what the scheduler runs before it begins; ``port``: that of one that was there before."""

    def __init__(self, folder: Path, paths: str = str(ROOT), before: str = "", port: int = 0) -> None:
        self.folder, self.paths = folder, paths
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self.running: list[subprocess.Popen[bytes]] = []
        port = self.address.rpartition(":")[2]
        self.scheduler = self._start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "--no-dashboard",
            "--no-jupyter",
            before=before,
        )

    def _start(self, *words: str, before: str = "") -> subprocess.Popen[bytes]:
        environ = os.environ | QUIET | ALONE | {"PYTHONPATH": self.paths}
        code = f"{before}\nimport sys\nfrom dask.__main__ import main\nsys.argv[0] = 'dask'\nmain()"
        line = [sys.executable, "-c", code, *words]
        done = subprocess.Popen(
            line, env=environ, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.running.append(done)
        return done

    def worker(self, before: str = "") -> subprocess.Popen[bytes]:
        """One more worker, without a nanny: killed is killed. ``before``: what it runs before it begins."""
        return self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1",
            "--local-directory", str(self.folder), before=before,
        )  # fmt: skip

    def wait(self, workers: int) -> None:
        """Until so many workers are there; a minute at most."""
        from distributed import Client

        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)

    def stop(self) -> None:
        """End every process that was started, and no other."""
        for process in self.running:
            process.kill()
        for process in self.running:
            process.wait(10)
