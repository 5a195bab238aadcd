"""How likely and how soon: chance of default within a year, first breach; and what holds at both ends. Pure.

Every number is a range over what is assumed: the three corners of the book's assumptions with the market's, and three
correlations. An obligor's answer is about its own means; a pool's test that cannot be judged is named beside it and is
never read as passed. No chance of default is given where a tested covenant level is assumed.
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
from monitor.stress.sides import known_tests
from monitor.stress.state import State

CORNERS = (MIDDLE, ADVERSE, FAVOURABLE)
#: combinations behind a range: every correlation in the middle, the ends of all assumptions at the widest two
RUNS = tuple((MIDDLE, rho) for rho in RHOS) + tuple(
    (c, rho) for c in (ADVERSE, FAVOURABLE) for rho in (RHOS[0], RHOS[-1])
)
#: a corner of the assumptions and a correlation
Run = tuple[int, float]
CENTRE: Run = (MIDDLE, MIDDLE_RHO)
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

    ``table`` (runs, B) by ``runs`` of (corner, rho), NaN where unknown; ``by_month`` (T,B) share of paths that first
    break in each month, in the middle; ``by_test`` (5,B) which test broke first; ``not_judged`` per borrower, tests of
    its pools that could not be judged.
    """

    pd: Field
    runs: tuple[tuple[int, float], ...]
    table: FloatArray
    by_month: FloatArray
    by_test: FloatArray
    not_judged: tuple[tuple[str, ...], ...]


def chances(
    question: Question, *, n_paths: int = MICRO_BLOCK, driver: Driver = "auto", runs: tuple[Run, ...] = RUNS
) -> Chances:
    """Chance of default of every borrower within the horizon of the question.

    Paths are drawn, run and counted 4,096 at a time, so memory does not grow with their number. ``runs`` must hold the
    middle.
    """
    n = len(question.state.borrowers)
    n_periods = question.rows[0].inputs.opex_usd.shape[1]
    table = np.full((len(runs), n), np.nan)
    by_month, by_test = np.full((n_periods, n), np.nan), np.full((len(TESTS), n), np.nan)
    if question.firm:
        tally = _tally(tuple(question.job(corner, question.firm) for corner in CORNERS), runs, n_paths, driver)
        judged = sorted({int(question.rows[0].owner[i]) for i in question.firm})
        table[:, judged] = tally.by_month[:, :-1].sum(axis=1) / n_paths
        by_month[:, judged] = tally.by_month[runs.index(CENTRE), :-1] / n_paths
        by_test[:, judged] = tally.by_test / n_paths
    values = [_chance(question, b, table[:, b], runs) for b in range(n)]
    for b, value in enumerate(values):
        if not value.known:
            table[:, b], by_month[:, b], by_test[:, b] = np.nan, np.nan, np.nan
    return Chances(Field.of(values), runs, table, by_month, by_test, tuple(_open(question, b) for b in range(n)))


class Tally(NamedTuple):
    """Paths counted, over the borrowers that own a row, in their order: ``by_month`` (runs,T+1,B) first breaks, the
    last for none; ``by_test`` (5,B) which test broke first, in the middle."""

    by_month: FloatArray
    by_test: FloatArray


@lru_cache(maxsize=8)
def _tally(jobs: tuple[Job[Bridge], ...], runs: tuple[Run, ...], n_paths: int, driver: Driver) -> Tally:
    """Every run over every path, a block of paths at a time; compiled, every processor takes blocks."""
    taken = chosen(driver, jobs[0].work.inputs.opex_usd.size * n_paths)
    count = _Count(jobs, runs, taken)
    sizes = [min(n_paths - start, MICRO_BLOCK) for start in range(0, n_paths, MICRO_BLOCK)]
    if taken == "numpy" or len(sizes) == 1:
        return _added(map(count.block, range(len(sizes)), sizes))
    from monitor.stress.compiled_driver import processors

    with ThreadPoolExecutor(processors()) as pool:
        return _added(pool.map(count.block, range(len(sizes)), sizes))


def _added(parts: Iterable[Tally]) -> Tally:
    return reduce(lambda one, other: Tally(one.by_month + other.by_month, one.by_test + other.by_test), parts)


class _Count:
    """Counts the first breaks on one block of paths under every run."""

    def __init__(self, jobs: tuple[Job[Bridge], ...], runs: tuple[Run, ...], driver: Literal["numpy", "compiled"]):
        self.jobs, self.runs = jobs, runs
        self.rows = [FirstBreaches(job.work.inputs, driver, threads=1) for job in jobs]
        self.owners = [np.flatnonzero(jobs[0].work.owner == b) for b in np.unique(jobs[0].work.owner)]

    def block(self, number: int, n_paths: int) -> Tally:
        """Runs of one correlation follow each other and share the shocks of the block, kept only for the first one."""
        draw: Draw = lru_cache(maxsize=1)(drawn_shocks) if number else kept_shocks
        n_periods = self.jobs[0].work.inputs.opex_usd.shape[1]
        by_month = np.zeros((len(self.runs), n_periods + 1, len(self.owners)))
        by_test = np.zeros((len(TESTS), len(self.owners)))
        for k in sorted(range(len(self.runs)), key=lambda k: self.runs[k][1]):
            corner, rho = self.runs[k]
            job = self.jobs[corner]
            paths = simulated(
                job.work, job.btc_usd, job.base_rate, corner=corner, rho=rho, n_paths=n_paths, block=number, draw=draw
            )
            found = self.rows[corner].on(paths)
            for b, mine in enumerate(self.owners):
                earliest = found.first[mine].min(axis=0)
                by_month[k, :, b] = np.bincount(earliest, minlength=n_periods + 1)
                if self.runs[k] == CENTRE:
                    lead = found.code[mine[found.first[mine].argmin(axis=0)], np.arange(n_paths)]
                    by_test[:, b] = [((lead >> bit) & 1).sum() for bit in range(len(TESTS))]
        return Tally(by_month, by_test)


def _chance(question: Question, b: int, shares: FloatArray, runs: tuple[Run, ...] = RUNS) -> Value:
    """Middle, highest and lowest; unknown where the obligor is, or where a tested level is nobody's but ours."""
    name = question.state.borrowers[b]
    own = question.rows[0].row(name)
    if own not in question.firm:
        reasons = (
            missing(question.state.assumptions)
            or question.rows[0].reasons[own]
            or tuple(f"{level} of {name} is assumed" for level in question.rows[0].assumed_levels[own])
        )
        return Value.unknown(*(reasons or (f"{name}: its tests cannot be judged",)))
    assumed = [
        f"no chance of default: {question.rows[0].rows[i]} has an assumed {question.rows[0].assumed_levels[i][0]}"
        for i in question.soft
        if int(question.rows[0].owner[i]) == b
    ]
    if assumed:
        return Value.unknown(*assumed)
    used = unique(label for rows in question.rows for label in rows.used[own])
    detail = "; ".join(_open(question, b))
    middle = float(shares[runs.index(CENTRE)])
    as_of = float(question.rows[0].as_of_s[own])
    return Value((middle, float(shares.max()), float(shares.min())), (), used, as_of, detail)


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
    shares = []
    rows = FirstBreaches(job.work.inputs)
    for seed in range(1, scrambles + 1):
        factors = simulated(job.work, job.btc_usd, job.base_rate, seed=1000 + seed, n_paths=n_paths)
        shares.append((rows.on(factors).code > 0).mean(axis=1))
    error = np.std(shares, axis=0, ddof=1)
    for k, i in enumerate(question.firm):
        if "/" not in question.rows[0].rows[i]:
            out[int(question.rows[0].owner[i])] = error[k]
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
