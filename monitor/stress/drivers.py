"""Rows over paths in, a summary per (row, path) out; picks the driver by the size of the work."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.model import BoolArray, FloatArray, TruthArray
from monitor.stress import numpy_driver, quick_driver
from monitor.stress.cell import TESTS, CellInputs, Factors
from monitor.stress.sides import Firsts, Raw, Rows, knowledge, known_tests, rows_of, taken

Driver = Literal["auto", "numpy", "compiled"]
#: cells below which numpy alone answers sooner than the compiled driver can be loaded
WORTH_COMPILING = 20_000_000
#: two drivers may disagree on a first breach only where the number lies this close to its level, as a fraction of it
KNIFE_EDGE = 1e-9


@dataclass(frozen=True)
class Summary:
    """What is kept of each (row, path), shape (B,S); no period survives.

    ``first``: period of the first breach of a known test, ``n_periods`` if none. ``code``: bits DSCR, LTV, LIQUIDITY,
    MARGIN, MATURITY broken in that period. ``margin``: how far the first broken test (in that order) is beyond its
    level, below zero: DSCR and LTV as a fraction of the level, cash as a fraction of the row's debt and cash, a
    margin call as the uncured share of the loan; NaN without a breach. ``min_dscr`` over test dates, ``max_ltv``,
    ``min_cash``: NaN throughout a row where unknown. ``known (B,5)``: tests, in the order of TESTS, that could be
    judged; no breach with an unknown test is not "fine".
    """

    n_periods: int
    first: NDArray[np.int16]
    code: NDArray[np.uint8]
    margin: FloatArray
    min_dscr: FloatArray
    max_ltv: FloatArray
    min_cash: FloatArray
    known: BoolArray

    def truth(self) -> TruthArray:
        """Did it break, (B,S): 1 yes; 0 no, every test known; -1 no known test broke and some test is unknown."""
        unknown = np.where(self.known.all(axis=1), 0, -1).astype(np.int8)[:, None]
        return np.where(self.code > 0, np.int8(1), unknown)


def run(inputs: CellInputs, factors: Factors, driver: Driver = "auto", threads: int | None = None) -> Summary:
    """Every row of ``inputs`` over every path of ``factors``.

    ``auto`` takes the compiled driver for large work where numba is installed. ``threads`` counts for the compiled
    driver only. Raises ValueError where the two do not fit together, ImportError for ``compiled`` without numba.

    >>> inputs = CellInputs.build(1, 3, n_debts=1, mining_usd=2.0, debt_usd=10.0, fixed_rate=1.2, dscr_min=1.5)
    >>> summary = run(inputs, Factors.build(3, 2, hashprice=[[1.0, 0.6]]))
    >>> summary.min_dscr.round(6).tolist(), summary.first.tolist(), summary.code.tolist()
    ([[2.0, 1.2]], [[3, 2]], [[0, 1]])
    """
    _check(inputs, factors)
    raw = _empty(len(inputs.cash_usd), factors.n_paths)
    _fill(rows_of(inputs), inputs.dt_years, factors, raw, driver, threads)
    return _summary(inputs, raw)


def _fill(rows: Rows, dt_years: float, factors: Factors, raw: Raw, driver: Driver, threads: int | None) -> None:
    driver = chosen(driver, rows.cash_const.size * factors.n_paths)
    if driver == "compiled":
        from monitor.stress import compiled_driver

        compiled_driver.run(rows, factors, dt_years, raw, threads)
    else:
        numpy_driver.run(rows, factors, dt_years, raw)


def chosen(driver: Driver, cells: int) -> Literal["numpy", "compiled"]:
    """The driver for work of a size; ValueError for one that does not exist."""
    if driver == "auto":
        return "compiled" if cells >= WORTH_COMPILING and importlib.util.find_spec("numba") else "numpy"
    if driver not in ("numpy", "compiled"):
        raise ValueError(f"no driver {driver!r}; there are auto, numpy and compiled")
    return driver


class FirstBreaches:
    """When each of some rows first breaks, on one set of paths after the other: what :func:`run` says of ``first`` and
    ``code``, with the rows prepared once and without the work that only extremes need. Rows tested on cash and a coin
    loan alone take :mod:`monitor.stress.quick_driver` whatever the driver: it is quicker than compiled extremes."""

    def __init__(self, inputs: CellInputs, driver: Literal["numpy", "compiled"] = "numpy", threads: int | None = None):
        self.inputs, self.driver, self.threads = inputs, driver, threads
        whole = rows_of(inputs)
        quick = quick_driver.serves(whole)
        self.parts = [(taken(whole, quick), True), (taken(whole, ~quick), False)]

    def on(self, factors: Factors) -> Firsts:
        """(B,S) first breach and code on these paths. ValueError where rows and paths do not fit together."""
        _check(self.inputs, factors)
        shape = (len(self.inputs.cash_usd), factors.n_paths)
        out = Firsts(np.empty(shape, np.int16), np.empty(shape, np.uint8))
        for rows, quick in self.parts:
            if quick and len(rows.order):
                quick_driver.run(rows, factors, self.inputs.dt_years, out)
            elif len(rows.order):
                at = rows.order
                raw = _empty(len(at), factors.n_paths)
                own = rows._replace(order=np.arange(len(at)))
                _fill(own, self.inputs.dt_years, factors, raw, self.driver, self.threads)
                out.first[at], out.code[at] = raw.first, raw.code
        return out


def _check(inputs: CellInputs, factors: Factors) -> None:
    periods, counterparties, models = inputs.in_force.shape[2], inputs.in_force.shape[1], inputs.units.shape[1]
    problems = [
        f"{name}: the rows have {of_rows}, the paths {of_paths}"
        for name, of_rows, of_paths in (
            ("periods", periods, factors.btc_usd.shape[0]),
            ("counterparties", counterparties, factors.contract_loss.shape[1]),
            ("models", models, factors.rent.shape[1]),
        )
        if of_rows != of_paths
    ]
    if problems:
        raise ValueError("; ".join(problems))


def _empty(n_rows: int, n_paths: int) -> Raw:
    shape = (n_rows, n_paths)
    return Raw(np.empty(shape, np.int16), np.empty(shape, np.uint8), *(np.empty(shape) for _ in range(4)))


def _summary(inputs: CellInputs, raw: Raw) -> Summary:
    can = knowledge(inputs)
    for numbers, known in ((raw.min_dscr, can.coverage), (raw.max_ltv, can.loan_to_value), (raw.min_cash, can.cash)):
        numbers[~known] = np.nan
    return Summary(
        n_periods=inputs.opex_usd.shape[1],
        first=raw.first,
        code=raw.code,
        margin=raw.margin,
        min_dscr=raw.min_dscr,
        max_ltv=raw.max_ltv,
        min_cash=raw.min_cash,
        known=known_tests(inputs),
    )


class Agreement(NamedTuple):
    """How far two summaries of the same work agree.

    ``worst``: largest difference of an extreme or margin as a fraction of its own size (at least 1 for ratios, at
    least the row's largest cash for cash). ``knife_edge``: paths whose first breach differs within KNIFE_EDGE of the
    level; ``wrong``: beyond it.
    """

    worst: float
    knife_edge: int
    wrong: int
    known_equal: bool


def compare(one: Summary, other: Summary) -> Agreement:
    """Agreement of two drivers. Infinite and unknown values must coincide exactly, or ``worst`` is infinite."""
    differs = (one.first != other.first) | (one.code != other.code)
    nearest = np.fmin(np.abs(one.margin), np.abs(other.margin))
    excused = differs & (nearest < KNIFE_EDGE)
    cash_size = np.nanmax(np.abs(np.nan_to_num(one.min_cash)), axis=1, keepdims=True, initial=1e-300)
    worst = 0.0
    for name, least in (("min_dscr", 1.0), ("max_ltv", 1.0), ("min_cash", cash_size), ("margin", 1.0)):
        a, b = (
            np.where(differs, 0.0, getattr(s, name)) if name == "margin" else getattr(s, name) for s in (one, other)
        )
        worst = max(worst, _distance(a, b, least))
    return Agreement(worst, int(excused.sum()), int((differs & ~excused).sum()), bool((one.known == other.known).all()))


def _distance(a: FloatArray, b: FloatArray, least: float | FloatArray) -> float:
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(np.where(finite, 0.0, a), np.where(finite, 0.0, b), equal_nan=True):
        return float("inf")
    with np.errstate(invalid="ignore"):
        gap = np.where(finite, np.abs(a - b) / np.maximum(np.abs(b), least), 0.0)
    return float(gap.max(initial=0.0))


__all__ = ["TESTS", "Agreement", "CellInputs", "Factors", "FirstBreaches", "Summary", "chosen", "compare", "run"]
