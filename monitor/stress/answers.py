"""How likely and how soon: chance of default within a year, first breach; and what holds at both ends. Pure.

Every number is a range over what is assumed: the three corners of the book's assumptions with the market's, and three
correlations. The middle takes every path; beyond the first 8,192 the ends of the range are worked out on those, and the
middle of the same paths against the middle of all of them is their control variate (common random numbers; Giles,
"Multilevel Monte Carlo Path Simulation", 2008): what of an end moves with the middle is known from all paths.

An obligor's answer is about its own means; a pool's test that cannot be judged is named beside it and is never read as
passed. No chance of default is given where a tested covenant level is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np

from monitor.model import BoolArray, FloatArray, TruthArray
from monitor.stress.bridge import Bridge, Figures, bridge, fingerprint
from monitor.stress.drivers import Driver, FirstBreaches, chosen
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE, Field, Value, unique
from monitor.stress.inputs import TESTS
from monitor.stress.outlook import MARKET, MIDDLE_RHO, RHOS, Draw, drawn_shocks, kept_shocks, levels, missing, simulated
from monitor.stress.paths import MICRO_BLOCK
from monitor.stress.sides import Firsts, known_tests
from monitor.stress.state import State

CORNERS = (MIDDLE, ADVERSE, FAVOURABLE)
#: combinations behind a range: every correlation in the middle, the ends of all assumptions at the widest two
RUNS = tuple((MIDDLE, rho) for rho in RHOS) + tuple(
    (c, rho) for c in (ADVERSE, FAVOURABLE) for rho in (RHOS[0], RHOS[-1])
)
#: a corner of the assumptions and a correlation
Run = tuple[int, float]
CENTRE: Run = (MIDDLE, MIDDLE_RHO)
#: blocks of 4,096 paths on which the other runs are compared with the middle
SHARED_BLOCKS = 2
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Job(Generic[T]):
    """Work named by its content: two jobs of one key have one answer, so it need not be worked out twice."""

    key: bytes
    work: T
    btc_usd: float = 1.0
    base_rate: float = 0.0

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.key == other.key


@dataclass(frozen=True)
class Question:
    """The rows at the three corners (middle, adverse, favourable) and which of them can answer."""

    state: State
    rows: tuple[Bridge, Bridge, Bridge]
    #: rows whose tests could all be judged, those with an assumed level apart
    firm: tuple[int, ...]
    soft: tuple[int, ...]
    btc_usd: float
    base_rate: float
    _jobs: dict[tuple[int, tuple[int, ...]], Job[Bridge]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def until(self, n_periods: int) -> Question:
        """The same question over a shorter horizon."""
        first, second, third = (rows.until(n_periods) for rows in self.rows)
        return replace(self, rows=(first, second, third))

    def price(self, cut: Bridge) -> float:
        """The bitcoin price where a row holds coins; elsewhere one: answers do not follow what they do not use."""
        held = (cut.inputs.coins_free > 0) | (cut.inputs.coins_pledged > 0)
        return self.btc_usd if held.any() else 1.0

    def job(self, corner: int, index: Sequence[int]) -> Job[Bridge]:
        """The rows as named work; the naming costs as much as some work, so it is done once."""
        asked = corner, tuple(index)
        if asked not in self._jobs:
            cut = self.rows[corner].cut(index)
            price = self.price(cut)
            market = [cut.assumptions.get(name).corners for name in MARKET]
            words = repr((cut.rows, cut.counterparties, cut.models, price, self.base_rate, corner, market, cut.seed))
            self._jobs[asked] = Job(fingerprint(cut.inputs) + words.encode(), cut, price, self.base_rate)
        return self._jobs[asked]


def ask(state: State, *, n_periods: int = 12, dt_years: float = 1 / 12, figures: Figures | None = None) -> Question:
    """The rows of a state at its corners, and which can be judged."""
    known = figures or Figures(state)
    first, second, third = (bridge(state, c, n_periods=n_periods, dt_years=dt_years, figures=known) for c in CORNERS)
    btc, base = levels(state)
    judged = first.judged(known_tests(first.inputs)) & (not missing(state.assumptions))
    firm = tuple(int(i) for i in np.flatnonzero(judged) if not first.assumed_levels[int(i)])
    soft = tuple(int(i) for i in np.flatnonzero(judged) if first.assumed_levels[int(i)])
    return Question(state, (first, second, third), firm, soft, btc, base)


# ---------------------------------------------------------------- chance of default
@dataclass(frozen=True)
class Chances:
    """Chance of default within a year and when. ``pd`` over borrowers: middle, highest, lowest of all runs.

    ``table`` (runs, B) by ``runs`` of (corner, rho), NaN where unknown; ``sampling`` (runs, B) standard error of what
    each run adds to the middle where that was worked out on some paths only, else zero; ``by_month`` (T,B) share of
    paths that first break in each month, in the middle; ``by_test`` (5,B) which test broke first; ``not_judged`` per
    borrower, tests of its pools that could not be judged.
    """

    pd: Field
    runs: tuple[tuple[int, float], ...]
    table: FloatArray
    sampling: FloatArray
    by_month: FloatArray
    by_test: FloatArray
    not_judged: tuple[tuple[str, ...], ...]


def chances(
    question: Question, *, n_paths: int = MICRO_BLOCK, driver: Driver = "auto", runs: tuple[Run, ...] = RUNS,
    shared_blocks: int = SHARED_BLOCKS,
) -> Chances:  # fmt: skip
    """Chance of default of every borrower within the horizon of the question.

    Paths are drawn, run and counted 4,096 at a time, so memory does not grow with their number. ``runs`` must hold the
    middle. The middle takes ``n_paths``, the other runs the first ``shared_blocks`` x 4,096 of them, with the
    middle there as their control variate. With no more paths than that every run takes every path.
    """
    n = len(question.state.borrowers)
    n_periods = question.rows[0].inputs.opex_usd.shape[1]
    table, sampling = np.full((len(runs), n), np.nan), np.full((len(runs), n), np.nan)
    by_month, by_test = np.full((n_periods, n), np.nan), np.full((len(TESTS), n), np.nan)
    if question.firm:
        jobs = tuple(question.job(corner, question.firm) for corner in CORNERS)
        shared = min(shared_blocks * MICRO_BLOCK, n_paths)
        tally = _tally(jobs, runs, n_paths, shared, driver)
        judged = sorted({int(question.rows[0].owner[i]) for i in question.firm})
        table[:, judged], sampling[:, judged] = _levelled(tally, runs, n_paths, shared)
        by_month[:, judged] = tally.by_month / n_paths
        by_test[:, judged] = tally.by_test / n_paths
    values = [_chance(question, b, table[:, b], runs, _error_of_ends(table[:, b], sampling[:, b])) for b in range(n)]
    for b, value in enumerate(values):
        if not value.known:
            table[:, b], sampling[:, b], by_month[:, b], by_test[:, b] = np.nan, np.nan, np.nan, np.nan
    return Chances(
        Field.of(values), runs, table, sampling, by_month, by_test, tuple(_open(question, b) for b in range(n))
    )


class Tally(NamedTuple):
    """Paths counted, over the borrowers that own a row, in their order: ``by_month`` (T,B) first breaks and ``by_test``
    (5,B) which test broke first, in the middle on all paths; on the shared ones ``broken`` (runs,B) and ``both``
    (runs,B), those that break under a run and in the middle too."""

    by_month: FloatArray
    by_test: FloatArray
    broken: FloatArray
    both: FloatArray


def _levelled(tally: Tally, runs: tuple[Run, ...], n_paths: int, shared: int) -> tuple[FloatArray, FloatArray]:
    """(runs,B) chances: on the shared paths, plus what the middle of all paths differs from the middle of those times
    the slope of the run on the middle; and (runs,B) the standard error of what the middle does not tell, as if the
    paths were independent, which scrambled Sobol points better. Four paths more than were seen are allowed for, so no
    error is zero because nothing was seen. A run that breaks where the middle does and elsewhere stays above it."""
    on_shared, centre = tally.broken / shared, runs.index(CENTRE)
    if shared == n_paths:
        return on_shared, np.zeros_like(on_shared)
    middle = on_shared[centre]
    together, varies = tally.both / shared - on_shared * middle, middle * (1 - middle)
    slope = np.where(varies > 0, together / np.where(varies > 0, varies, 1.0), 0.0)
    whole = tally.by_month.sum(axis=0) / n_paths
    table = np.clip(on_shared + slope * (whole - middle), 0.0, 1.0)
    left = np.maximum(on_shared * (1 - on_shared) - slope * together, 0.0)
    error = np.sqrt((left + 4 / shared) / shared)
    table[centre], error[centre] = whole, 0.0
    return table, error


@lru_cache(maxsize=8)
def _tally(jobs: tuple[Job[Bridge], ...], runs: tuple[Run, ...], n_paths: int, shared: int, driver: Driver) -> Tally:
    """The middle over every path and the other runs over the shared ones, a block of paths at a time; compiled, every
    processor takes blocks."""
    taken = chosen(driver, jobs[0].work.inputs.opex_usd.size * n_paths)
    count = _Count(jobs, runs, taken)
    starts = range(0, n_paths, MICRO_BLOCK)
    work = [(start // MICRO_BLOCK, min(n_paths - start, MICRO_BLOCK), start < shared) for start in starts]
    if taken == "numpy" or len(work) == 1:
        return _added(map(count.block, *zip(*work, strict=True)))
    from monitor.stress.compiled_driver import processors

    with ThreadPoolExecutor(processors()) as pool:
        return _added(pool.map(count.block, *zip(*work, strict=True)))


def _added(parts: Iterable[Tally]) -> Tally:
    return reduce(lambda one, other: Tally(*(a + b for a, b in zip(one, other, strict=True))), parts)


class _Count:
    """Counts the first breaks on one block of paths under the runs it is to take."""

    def __init__(self, jobs: tuple[Job[Bridge], ...], runs: tuple[Run, ...], driver: Literal["numpy", "compiled"]):
        self.jobs, self.runs = jobs, runs
        self.rows = [FirstBreaches(job.work.inputs, driver, threads=1) for job in jobs]
        self.owners = [np.flatnonzero(jobs[0].work.owner == b) for b in np.unique(jobs[0].work.owner)]

    def block(self, number: int, n_paths: int, shared: bool) -> Tally:
        """Runs of one correlation follow each other and share the shocks of the block, kept only for the first one."""
        draw: Draw = lru_cache(maxsize=1)(drawn_shocks) if number else kept_shocks
        n_periods, size = self.jobs[0].work.inputs.opex_usd.shape[1], len(self.owners)
        by_month, by_test = np.zeros((n_periods, size)), np.zeros((len(TESTS), size))
        broken = np.zeros((len(self.runs), size, n_paths), np.bool_)
        for k in sorted(range(len(self.runs)), key=lambda k: self.runs[k][1]):
            centre = self.runs[k] == CENTRE
            if not (centre or shared):
                continue
            found = self._on(*self.runs[k], number, n_paths, draw)
            for b, mine in enumerate(self.owners):
                earliest = found.first[mine].min(axis=0)
                broken[k, b] = earliest < n_periods
                if centre:
                    by_month[:, b] = np.bincount(earliest, minlength=n_periods + 1)[:-1]
                    lead = found.code[mine[found.first[mine].argmin(axis=0)], np.arange(n_paths)]
                    by_test[:, b] = [((lead >> bit) & 1).sum() for bit in range(len(TESTS))]
        if not shared:
            return Tally(by_month, by_test, np.zeros(broken.shape[:2]), np.zeros(broken.shape[:2]))
        both = broken & broken[self.runs.index(CENTRE)]
        return Tally(by_month, by_test, broken.sum(axis=2) * 1.0, both.sum(axis=2) * 1.0)

    def _on(self, corner: int, rho: float, number: int, n_paths: int, draw: Draw) -> Firsts:
        """First breaks of every row under one run."""
        job = self.jobs[corner]
        paths = simulated(
            job.work, job.btc_usd, job.base_rate, corner=corner, rho=rho, n_paths=n_paths, block=number, draw=draw
        )
        return self.rows[corner].on(paths)


def _chance(
    question: Question, b: int, shares: FloatArray, runs: tuple[Run, ...] = RUNS, error: tuple[str, ...] = ()
) -> Value:
    """Middle, highest and lowest, with the sampling error of the ends if there is one to tell; unknown where the
    obligor is, or where a tested level is nobody's but ours."""
    name = question.state.borrowers[b]
    own = question.rows[0].row(name)
    if own not in question.firm:
        reasons = (
            missing(question.state.assumptions)
            or question.rows[0].reasons[own]
            or tuple(f"{level} of {name} is assumed" for level in question.rows[0].assumed_levels[own])
        )
        return Value.unknown(*(reasons or (f"{name}: its tests cannot be judged",)))
    first = question.rows[0]
    assumed = [
        f"a chance would rest on the assumed {first.assumed_levels[i][0]} of {first.rows[i]}"
        for i in question.soft
        if int(first.owner[i]) == b
    ]
    if assumed:
        return Value.unknown(*assumed)
    used = unique(label for rows in question.rows for label in rows.used[own])
    detail = "; ".join((*_open(question, b), *error))
    middle = float(shares[runs.index(CENTRE)])
    as_of = float(question.rows[0].as_of_s[own])
    return Value((middle, float(shares.max()), float(shares.min())), (), used, as_of, detail)


def _error_of_ends(shares: FloatArray, sampling: FloatArray) -> tuple[str, ...]:
    """The sampling error of a range whose ends were worked out on some of the paths, if they were."""
    if not sampling.any():
        return ()
    low, high = sampling[shares.argmin()], sampling[shares.argmax()]
    return (f"standard error of low and high against the middle, sampling only: {low:.1%} and {high:.1%}",)


def _open(question: Question, b: int) -> tuple[str, ...]:
    """Tests of the borrower's pools that exist and cannot be judged."""
    rows = question.rows[0]
    closed = {*question.firm, *question.soft}
    return tuple(
        f"not judged: {rows.rows[i]} ({rows.reasons[i][0] if rows.reasons[i] else 'a figure is missing'})"
        for i in range(len(rows.rows))
        if int(rows.owner[i]) == b and i not in closed and "/" in rows.rows[i]
    )


def sampling_error(question: Question, *, scrambles: int = 16, n_paths: int = MICRO_BLOCK) -> FloatArray:
    """(B,) standard error of the middle chance from independent scrambles. Sampling only: it says nothing about the
    assumptions, which are the larger part. NaN where the chance is unknown."""
    out = np.full(len(question.state.borrowers), np.nan)
    if not question.firm:
        return out
    job = question.job(MIDDLE, question.firm)
    rows, owner = FirstBreaches(job.work.inputs), job.work.owner
    broke = []
    for seed in range(1, scrambles + 1):
        factors = simulated(job.work, job.btc_usd, job.base_rate, seed=1000 + seed, n_paths=n_paths)
        broke.append(rows.on(factors).code > 0)
    for b in (int(b) for b in np.unique(owner) if _chance(question, int(b), np.zeros(len(RUNS))).known):
        out[b] = np.std([one[owner == b].any(axis=0).mean() for one in broke], ddof=1)
    return out


# ---------------------------------------------------------------- both ends
Verdict = Literal["holds at both ends", "only at the adverse end", "not at the favourable end", "no", "unknown"]


def both_ends(field: Field, breaks: Callable[[FloatArray], BoolArray]) -> tuple[TruthArray, tuple[Verdict, ...]]:
    """Does an alarm hold whatever the assumptions: its truth in the middle (n,), and a verdict over the corners.

    >>> ltv = Field.of([Value((0.9, 1.2, 0.7)), Value((1.1, 1.2, 1.05)), Value.unknown("no units")])
    >>> both_ends(ltv, lambda v: v > 1)[1]
    ('only at the adverse end', 'holds at both ends', 'unknown')
    """
    with np.errstate(invalid="ignore"):
        true = breaks(field.values)
    verdicts: list[Verdict] = []
    for i in range(len(field)):
        middle, adverse, favourable = (bool(true[c, i]) for c in CORNERS)
        if not field.known[i]:
            verdicts.append("unknown")
        elif middle and adverse and favourable:
            verdicts.append("holds at both ends")
        elif middle:
            verdicts.append("not at the favourable end")
        else:
            verdicts.append("only at the adverse end" if adverse or favourable else "no")
    truth = np.where(field.known, true[MIDDLE].astype(np.int8), np.int8(-1)).astype(np.int8)
    return truth, tuple(verdicts)
