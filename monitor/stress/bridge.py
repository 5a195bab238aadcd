"""The known book as rows of the cell: one per obligor, one per ring-fenced pool with a loan. Pure.

An obligor's row asks one question, whether it can pay; a pool's row asks what its own documents ask. What is not known
is NaN and takes its tests with it, with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.model import BoolArray, FloatArray
from monitor.stress.assumptions import Assumptions
from monitor.stress.field import MIDDLE, unique
from monitor.stress.inputs import FIELDS, CellInputs
from monitor.stress.obligor import MANY, UNNAMED, Axes, Figures, Obligors, Row
from monitor.stress.poolrow import Pools
from monitor.stress.state import State

__all__ = ["MANY", "UNNAMED", "Bridge", "Figures", "bridge", "fingerprint", "take"]


@dataclass(frozen=True)
class Bridge:
    """Rows of the cell at one corner of the assumptions.

    ``rows``: borrower ids, then ``borrower/facility``; ``owner`` (R,) the borrower of each; ``asks`` (R,5) tests that
    exist for the row, in the order of TESTS; ``reasons`` why a test that exists cannot be judged; ``used`` what was
    assumed; ``assumed_levels`` tested levels nobody published. ``counterparties`` and ``models`` are the cell's axes.
    """

    rows: tuple[str, ...]
    owner: NDArray[np.int64]
    n_borrowers: int
    inputs: CellInputs
    asks: BoolArray
    reasons: tuple[tuple[str, ...], ...]
    used: tuple[tuple[str, ...], ...]
    assumed_levels: tuple[tuple[str, ...], ...]
    #: (R,) epoch seconds of the oldest figure
    as_of_s: FloatArray
    counterparties: tuple[str, ...]
    models: tuple[str, ...]
    #: the book's, for what its markets are assumed to do on simulated paths
    assumptions: Assumptions = field(default_factory=lambda: Assumptions({}))
    #: of the paths it is run on, unless the caller says another
    seed: int = 1

    def row(self, name: str) -> int:
        """The position of a row; KeyError if there is none."""
        if name not in self.rows:
            raise KeyError(name)
        return self.rows.index(name)

    def cut(self, index: Sequence[int]) -> Bridge:
        """Only some rows, on the same axes."""
        at = list(index)
        pick: dict[str, Any] = {
            name: tuple(getattr(self, name)[i] for i in at) for name in ("rows", "reasons", "used", "assumed_levels")
        }
        arrays: dict[str, Any] = {name: getattr(self, name)[at] for name in ("owner", "asks", "as_of_s")}
        return replace(self, inputs=take(self.inputs, at), **pick, **arrays)

    def until(self, n_periods: int) -> Bridge:
        """The same rows over a shorter horizon."""
        short: dict[str, Any] = {
            name: getattr(self.inputs, name)[..., :n_periods] for name, shape in FIELDS.items() if shape.axes[-1] == "T"
        }
        tested = self.inputs.tested[:n_periods].copy()
        tested[-1] = True
        return replace(self, inputs=replace(self.inputs, tested=tested, **short))

    def judged(self, known: BoolArray) -> BoolArray:
        """(R,) rows all of whose tests could be judged, given the known mask of a summary (R,5)."""
        return np.asarray((known | ~self.asks).all(axis=1) & self.asks.any(axis=1))


def take(inputs: CellInputs, index: Sequence[int]) -> CellInputs:
    """Some rows of the inputs.

    >>> both = CellInputs.build(2, 3, cash_usd=[1.0, 2.0])
    >>> take(both, [1]).cash_usd.tolist()
    [2.0]
    """
    rows = np.asarray(index, np.int64)
    cut: dict[str, Any] = {"known": inputs.known[rows]}
    for name in ("dscr_basis", "ltv_basis"):
        cut[name] = tuple(getattr(inputs, name)[int(i)] for i in rows)
    for name, shape in FIELDS.items():
        if shape.axes.startswith("B"):
            cut[name] = getattr(inputs, name)[rows]
    return replace(inputs, **cut)


def fingerprint(inputs: CellInputs) -> bytes:
    """The content of some rows: equal inputs give equal answers."""
    parts = []
    for item in fields(inputs):
        value = getattr(inputs, item.name)
        parts.append(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return b"|".join(parts)


# ---------------------------------------------------------------- building
def bridge(
    state: State, corner: int = MIDDLE, *, n_periods: int = 12, dt_years: float = 1 / 12, figures: Figures | None = None
) -> Bridge:
    """The rows at one corner (MIDDLE, ADVERSE or FAVOURABLE: all assumptions there together), under no scenario.

    A scenario reaches the rows through the factors of the run, so the same rows serve every scenario and every path.
    ``figures`` of the same state save working them out again for another corner or horizon.
    """
    known = figures or Figures(state)
    axes = Axes.of(known.state, corner, n_periods, dt_years)
    obligors, pools = Obligors(known, axes), Pools(known, axes)
    rows = [obligors.row(b, row) for b, row in enumerate(state.rows)]
    found = (pools.row(f) for f in range(len(state.facilities)))
    stacked = _stack([*rows, *(row for row in found if row is not None)], axes, len(state.rows))
    return replace(stacked, assumptions=state.assumptions, seed=state.draws.seed)


def _stack(rows: Sequence[Row], axes: Axes, n_borrowers: int) -> Bridge:
    """All rows as one set of inputs."""
    sizes = {"T": axes.n_periods, "C": len(axes.counterparties), "M": len(axes.models), "D": 1}
    values: dict[str, Any] = {}
    for name in sorted({name for row in rows for name in row.numbers}):
        shape = tuple(sizes[axis] for axis in FIELDS[name].axes[1:])
        values[name] = np.full((len(rows), *shape), FIELDS[name].absent)
        for i, row in enumerate(rows):
            if name in row.numbers:
                values[name][i] = row.numbers[name]
    inputs = CellInputs.build(
        len(rows), axes.n_periods, n_models=sizes["M"], n_counterparties=sizes["C"], n_debts=1,
        dt_years=axes.dt_years, known=np.array([row.vouched for row in rows]), **values,
    )  # fmt: skip
    return Bridge(
        rows=tuple(row.name for row in rows),
        owner=np.array([row.owner for row in rows], np.int64),
        n_borrowers=n_borrowers,
        inputs=inputs,
        asks=np.array([row.asks for row in rows]),
        reasons=tuple(tuple(row.reasons) for row in rows),
        used=tuple(unique(row.used) for row in rows),
        assumed_levels=tuple(unique(row.assumed) for row in rows),
        as_of_s=np.array([row.as_of_s for row in rows]),
        counterparties=axes.counterparties,
        models=axes.models,
    )
