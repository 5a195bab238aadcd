"""What a large run leaves behind: its parts as they are finished, and, when all is there, one table.

A folder belongs to one run: the same rows, paths, seed and versions. Started again it goes on where it was. Parts are
plain arrays, read without running anything.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monitor import __version__
from monitor.large.solve import EDGES, Chunk, Outcome, Partial, Work, judged
from monitor.model import CanaryError
from monitor.stress.bridge import fingerprint
from monitor.stress.inputs import TESTS
from monitor.stress.outlook import notes

MANIFEST, TABLE, REJECTS = "run.json", "result.parquet", "rejects.csv"


def manifest(work: Work, extra: Mapping[str, object]) -> dict[str, object]:
    """What decides the answer, and what it rests on."""
    cells = work.cells
    content = hashlib.sha256("\0".join(cells.names).encode() + fingerprint(cells.inputs)).hexdigest()
    return {
        "canary": __version__, "numpy": np.__version__, "driver": work.driver, "seed": work.seed,
        "paths": work.n_paths, "months": work.n_periods, "obligors": work.n_rows, "rows": content,
        "btc_usd": work.btc_usd, "base_rate": work.base_rate, "correlation": work.rho,
        "assumptions": list(notes(work.assumptions)), **extra,
    }  # fmt: skip


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of one run are kept."""

    path: Path

    @classmethod
    def opened(cls, path: Path, told: Mapping[str, object]) -> RunFolder:
        """The folder of this run, made if it is not there. CanaryError when it holds another one."""
        try:
            (path / "parts").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CanaryError(f"cannot write {path}: {error.strerror}") from None
        file = path / MANIFEST
        if file.exists():
            try:
                kept = json.loads(file.read_text("utf-8"))
            except ValueError:
                raise CanaryError(f"{file} cannot be read; choose another folder") from None
            differs = [name for name in told if kept.get(name) != json.loads(json.dumps(told[name]))]
            if differs:
                raise CanaryError(
                    f"{path} holds another run ({', '.join(differs[:6])} differ); choose another folder or delete it"
                )
        else:
            _write(file, json.dumps(told, indent=1, ensure_ascii=False).encode())
        return cls(path)

    def finished(self, chunk: Chunk) -> Partial | None:
        """A part that was kept; None when it was not, or cannot be read any more and has to be done again."""
        file = self._file(chunk)
        if not file.exists():
            return None
        try:
            with np.load(file, allow_pickle=False) as kept:
                blocks, sums = kept["blocks"].tolist(), kept["sums"]
                return Partial(
                    int(kept["start"]), kept["first"], kept["tests"], kept["bins"], kept["least"],
                    {int(block): sums[i] for i, block in enumerate(blocks)},
                )  # fmt: skip
        except (OSError, ValueError, KeyError, EOFError):
            return None

    def keep(self, chunk: Chunk, part: Partial) -> None:
        """Keep a part, whole or not at all."""
        file = self._file(chunk)
        blocks = sorted(part.sums)
        partly = file.with_suffix(".tmp")
        with partly.open("wb") as out:
            np.savez(
                out, start=part.start, first=part.first, tests=part.tests, bins=part.bins, least=part.least,
                blocks=np.array(blocks), sums=np.array([part.sums[block] for block in blocks]),
            )  # fmt: skip
        os.replace(partly, file)

    def _file(self, chunk: Chunk) -> Path:
        return self.path / "parts" / f"{chunk.name}.npz"

    def write(self, work: Work, answer: Outcome) -> Path:
        """The answer as one table, an obligor a line; the manifest beside it says what it rests on."""
        import pandas as pd

        columns: dict[str, object] = {
            "obligor": work.cells.names,
            "known": judged(work),
            "debt_usd": work.cells.inputs.debt_usd.sum(axis=1),
            "pd": answer.pd[:, -1],
            "pd_standard_error": answer.error,
            "lowest_cash_usd": answer.least,
            "mean_lowest_cash_usd": answer.mean,
            **{f"pd_by_month_{month + 1}": answer.pd[:, month] for month in range(work.n_periods)},
            **{f"first_broken_{test}": answer.tests[:, i] for i, test in enumerate(TESTS)},
            **{f"paths_{_bin(i)}": answer.bins[:, i] for i in range(answer.bins.shape[1])},
        }
        file, partly = self.path / TABLE, self.path / f"{TABLE}.tmp"
        try:
            pd.DataFrame(columns).to_parquet(partly, index=False)
        except ImportError:
            raise CanaryError("writing Parquet needs a package: pip install 'compute-canary[parquet]'") from None
        os.replace(partly, file)
        return file


def _bin(i: int) -> str:
    """What a bin of the lowest cash over debt is called."""
    if i == 0:
        return f"cash_below_{EDGES[0]:+.2f}_of_debt"
    return f"cash_from_{EDGES[i - 1]:+.2f}_of_debt"


def _write(file: Path, data: bytes) -> None:
    partly = file.with_suffix(".tmp")
    partly.write_bytes(data)
    os.replace(partly, file)
