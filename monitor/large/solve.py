"""One piece of a large run, and how pieces are added up. Pure: the same work gives the same answer anywhere.

The unit is a block of ``ROWS`` obligors over a micro-block of 4,096 paths; a chunk is some blocks of obligors over some
micro-blocks. A driver may order its sums by the rows it is given, so the blocks of rows are as fixed as those of paths.
What is kept of a chunk are counts and extremes, which add up in any order, and sums by micro-block, which are added in
the order of the blocks when all is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from monitor.large.cells import Cells
from monitor.model import FloatArray
from monitor.stress.assumptions import Assumptions
from monitor.stress.bridge import Bridge, take
from monitor.stress.drivers import run
from monitor.stress.field import MIDDLE
from monitor.stress.inputs import TESTS, Factors
from monitor.stress.outlook import MIDDLE_RHO, drawn_shocks, simulated
from monitor.stress.paths import MICRO_BLOCK

#: obligors in a block; a multiple of what the drivers group
ROWS = 128
#: bins of the lowest cash over debt, from -1 to 1, and one at each end for what lies beyond
BINS = 40
EDGES = np.linspace(-1.0, 1.0, BINS + 1)


@dataclass(frozen=True)
class Work:
    """Everything a chunk needs: the rows and their axes, where the market stands and what it is assumed to do, and
    which paths these are."""

    cells: Cells
    btc_usd: float
    base_rate: float
    seed: int
    n_paths: int
    assumptions: Assumptions
    driver: Literal["numpy", "compiled"] = "numpy"
    corner: int = MIDDLE
    rho: float = MIDDLE_RHO

    @property
    def n_rows(self) -> int:
        """Obligors."""
        return len(self.cells.names)

    @property
    def n_periods(self) -> int:
        """Months."""
        return int(self.cells.inputs.opex_usd.shape[1])

    @property
    def blocks(self) -> int:
        """Micro-blocks of paths; the last one may be cut short."""
        return -(-self.n_paths // MICRO_BLOCK)

    @property
    def n_cells(self) -> int:
        """Obligors times paths times months."""
        return self.n_rows * self.n_paths * self.n_periods

    def __sizeof__(self) -> int:
        """Bytes of its arrays, which an engine must know before it sends them or keeps them."""
        return arrays_bytes(vars(self.cells.inputs).values())


@dataclass(frozen=True, slots=True, order=True)
class Chunk:
    """Blocks of obligors ``row`` to ``row_end`` over micro-blocks ``block`` to ``block_end`` (both exclusive)."""

    row: int
    row_end: int
    block: int
    block_end: int

    @property
    def name(self) -> str:
        """What its result is kept as."""
        return f"{self.row:06d}-{self.row_end:06d}-{self.block:06d}-{self.block_end:06d}"


@dataclass(frozen=True)
class Partial:
    """What is known of obligors ``start`` to ``start + n`` over the micro-blocks in ``sums``.

    ``first`` (n,T+1) paths by month of the first breach, the last for none; ``tests`` (n,5) paths by the test that
    broke first; ``bins`` (n,BINS+2) paths by their lowest cash over debt; ``least`` (n,) the lowest cash, USD;
    ``sums``: micro-block -> (n,) sum of the lowest cash over its paths.
    """

    start: int
    first: NDArray[np.int64]
    tests: NDArray[np.int64]
    bins: NDArray[np.int64]
    least: FloatArray
    sums: dict[int, FloatArray]

    def __sizeof__(self) -> int:
        """Bytes of its arrays, as of :class:`Work`."""
        return arrays_bytes((self.first, self.tests, self.bins, self.least, *self.sums.values()))


def arrays_bytes(values: Iterable[object]) -> int:
    """Bytes of the arrays among some values.

    >>> arrays_bytes([np.zeros(3), "no array"])
    24
    """
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


def chunks(work: Work, rows_each: int, blocks_each: int) -> list[Chunk]:
    """The work cut into chunks of so many row blocks and micro-blocks.

    >>> [one.name for one in _cut(3, 5, 2, 4)]
    ['000000-000002-000000-000004', '000000-000002-000004-000005', '000002-000003-000000-000004', '000002-000003-000004-000005']
    """  # noqa: E501 - one line, as printed
    return _cut(-(-work.n_rows // ROWS), work.blocks, rows_each, blocks_each)


def _cut(rows: int, blocks: int, rows_each: int, blocks_each: int) -> list[Chunk]:
    return [
        Chunk(row, min(row + rows_each, rows), block, min(block + blocks_each, blocks))
        for row in range(0, rows, rows_each)
        for block in range(0, blocks, blocks_each)
    ]


def paths_of(work: Work, block: int) -> Factors:
    """The paths of one micro-block, on the axes of all obligors whatever rows they are for."""
    cells = work.cells
    everybody = replace(
        take(cells.inputs, [0]), contracted_usd=np.nan_to_num(cells.inputs.contracted_usd).sum(axis=0, keepdims=True)
    )
    none: tuple[tuple[str, ...], ...] = ((),)
    row = Bridge(
        ("all",), np.zeros(1, np.int64), 1, everybody, np.zeros((1, 5), bool), none, none, none, np.zeros(1),
        cells.counterparties, cells.models, work.assumptions,
    )  # fmt: skip
    n = min(MICRO_BLOCK, work.n_paths - block * MICRO_BLOCK)
    return simulated(
        row, work.btc_usd, work.base_rate, corner=work.corner, rho=work.rho, seed=work.seed, n_paths=n, block=block,
        draw=drawn_shocks,
    )  # fmt: skip


def solve(work: Work, chunk: Chunk) -> Partial:
    """The answer of one chunk. One micro-block is in memory at a time, and one sum of those before it."""
    whole = stacked(_block(work, chunk, chunk.block))
    for block in range(chunk.block + 1, chunk.block_end):
        whole = merged((whole, stacked(_block(work, chunk, block))))
    return whole


def _block(work: Work, chunk: Chunk, block: int) -> list[Partial]:
    """All rows of a chunk over one micro-block, block by block of rows."""
    end, paths = min(chunk.row_end * ROWS, work.n_rows), paths_of(work, block)
    starts = range(chunk.row * ROWS, end, ROWS)
    return [_unit(work, range(row, min(row + ROWS, end)), block, paths) for row in starts]


def _unit(work: Work, rows: range, block: int, paths: Factors) -> Partial:
    inputs = take(work.cells.inputs, list(rows))
    found = run(inputs, paths, driver=work.driver, threads=1)
    months = work.n_periods
    first = _counted(found.first, months + 1)
    tests = np.array([((found.code >> bit) & 1).sum(axis=1) for bit in range(len(TESTS))], np.int64).T
    size = np.maximum(np.nansum(inputs.debt_usd, axis=1), 1.0)
    place = np.clip(np.searchsorted(EDGES, found.min_cash / size[:, None], side="right"), 0, BINS + 1)
    # what is unknown has no place; one bin more takes it and is left off
    bins = _counted(np.where(np.isnan(found.min_cash), BINS + 2, place), BINS + 3)[:, :-1]
    least = np.fmin.reduce(found.min_cash, axis=1)
    return Partial(rows.start, first, tests, bins, least, {block: found.min_cash.sum(axis=1)})


def _counted(places: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """(n,S) places below ``size`` -> (n,size) how often each.

    >>> _counted(np.array([[0, 2, 2], [1, 1, 1]]), 3).tolist()
    [[1, 0, 2], [0, 3, 0]]
    """
    n = len(places)
    flat = places.astype(np.int64) + np.arange(n)[:, None] * size
    return np.bincount(flat.ravel(), minlength=n * size).reshape(n, size).astype(np.int64)


def merged(parts: Iterable[Partial]) -> Partial:
    """Results of the same obligors over different micro-blocks, in any order and any grouping the same. ValueError
    where a micro-block would count twice."""
    whole, *rest = parts
    for part in rest:
        if part.start != whole.start or whole.sums.keys() & part.sums.keys():
            raise ValueError("parts of different obligors, or a block of paths twice")
        whole = Partial(
            whole.start, whole.first + part.first, whole.tests + part.tests, whole.bins + part.bins,
            np.fmin(whole.least, part.least), {**whole.sums, **part.sums},
        )  # fmt: skip
    return whole


def stacked(parts: Iterable[Partial]) -> Partial:
    """Results of neighbouring obligors over the same micro-blocks, one below the other."""
    found = sorted(parts, key=lambda part: part.start)
    return Partial(
        found[0].start,
        np.concatenate([part.first for part in found]),
        np.concatenate([part.tests for part in found]),
        np.concatenate([part.bins for part in found]),
        np.concatenate([part.least for part in found]),
        {block: np.concatenate([part.sums[block] for part in found]) for block in found[0].sums},
    )


def added(parts: Iterable[Partial]) -> Partial:
    """Results of neighbouring obligors, each over the same micro-blocks however they were cut, as one."""
    rows: dict[int, list[Partial]] = {}
    for part in parts:
        rows.setdefault(part.start, []).append(part)
    return stacked(merged(mine) for mine in rows.values())


@dataclass(frozen=True)
class Outcome:
    """The whole answer. ``pd`` (B,T) chance of a first breach by the end of each month, NaN unknown; ``error`` its
    standard error at the horizon; ``tests`` (B,5) share of paths by the test that broke first; ``least`` and ``mean``
    (B,) lowest cash over all paths and on average, USD; ``bins`` (B,BINS+2) as in :class:`Partial`."""

    pd: FloatArray
    error: FloatArray
    tests: FloatArray
    least: FloatArray
    mean: FloatArray
    bins: NDArray[np.int64]


@dataclass
class _Arriving:
    """Neighbouring obligors while their parts arrive in any order: counts are added at once, a sum of cash as soon as
    those of all blocks before it are, so that what is held does not grow with the paths."""

    whole: Partial
    mean: FloatArray
    blocks: int = 0

    def add(self, part: Partial) -> None:
        """One more part. ValueError where a micro-block would count twice."""
        if min(part.sums) < self.blocks:
            raise ValueError("a block of paths twice")
        self.whole = merged((self.whole, part))
        self.settle()

    def settle(self) -> None:
        """Add the sums that are next in line, and forget them."""
        while self.blocks in self.whole.sums:
            self.mean = self.mean + self.whole.sums.pop(self.blocks)
            self.blocks += 1


def outcome(work: Work, parts: Iterable[Partial]) -> Outcome:
    """All parts as one answer. ValueError when a block of obligors or paths is missing: part of a run is not a run."""
    rows: dict[int, _Arriving] = {}
    for part in parts:
        if part.start in rows:
            rows[part.start].add(part)
        else:
            rows[part.start] = _Arriving(replace(part, sums=dict(part.sums)), np.zeros(len(part.first)))
            rows[part.start].settle()
    whole = [one.whole for one in rows.values()]
    if sum(len(part.first) for part in whole) != work.n_rows or any(r.blocks != work.blocks for r in rows.values()):
        raise ValueError("the run is not complete")
    all_ = stacked(whole)
    n, known = work.n_paths, judged(work)
    by_month = np.cumsum(all_.first[:, :-1], axis=1) / n
    total = np.concatenate([rows[start].mean for start in sorted(rows)])
    share = np.where(known, by_month[:, -1], np.nan)
    return Outcome(
        pd=np.where(known[:, None], by_month, np.nan),
        error=np.sqrt(share * (1 - share) / n),
        tests=np.where(known[:, None], all_.tests / n, np.nan),
        least=all_.least,
        mean=total / n,
        bins=all_.bins,
    )


def judged(work: Work) -> NDArray[np.bool_]:
    """(B,) obligors whose liquidity and maturities can be judged; of the others nothing is said."""
    from monitor.stress.sides import known_tests

    return np.asarray(
        known_tests(work.cells.inputs)[:, [TESTS.index("liquidity"), TESTS.index("maturity")]].all(axis=1)
    )
