"""How likely and how soon: chance of default within a year, first breach; and what holds at both ends. Pure.

Every number is a range over what is assumed: the three corners of the book's assumptions with the market's, and three
correlations. An obligor's answer is about its own means; a pool's test that cannot be judged is named beside it and is
never read as passed. No chance of default is given where a tested covenant level is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic, Literal, TypeVar

import numpy as np

from monitor.model import BoolArray, FloatArray, TruthArray
from monitor.stress.bridge import Bridge, Figures, bridge, fingerprint
from monitor.stress.drivers import run
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE, Field, Value, unique
from monitor.stress.inputs import TESTS
from monitor.stress.outlook import MIDDLE_RHO, RHOS, levels, simulated
from monitor.stress.sides import known_tests
from monitor.stress.state import State

CORNERS = (MIDDLE, ADVERSE, FAVOURABLE)
#: combinations behind a range: every correlation in the middle, the ends of all assumptions at the widest two
RUNS = tuple((MIDDLE, rho) for rho in RHOS) + tuple(
    (c, rho) for c in (ADVERSE, FAVOURABLE) for rho in (RHOS[0], RHOS[-1])
)
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

    def until(self, n_periods: int) -> Question:
        """The same question over a shorter horizon."""
        first, second, third = (rows.until(n_periods) for rows in self.rows)
        return replace(self, rows=(first, second, third))

    def price(self, cut: Bridge) -> float:
        """The bitcoin price where a row holds coins; elsewhere one: answers do not follow what they do not use."""
        held = (cut.inputs.coins_free > 0) | (cut.inputs.coins_pledged > 0)
        return self.btc_usd if held.any() else 1.0

    def job(self, corner: int, index: Sequence[int]) -> Job[Bridge]:
        """The rows as named work."""
        cut = self.rows[corner].cut(index)
        price = self.price(cut)
        words = repr((cut.rows, cut.counterparties, cut.models, price, self.base_rate, corner))
        return Job(fingerprint(cut.inputs) + words.encode(), cut, price, self.base_rate)


def ask(state: State, *, n_periods: int = 12, dt_years: float = 1 / 12, figures: Figures | None = None) -> Question:
    """The rows of a state at its corners, and which can be judged."""
    known = figures or Figures(state)
    first, second, third = (bridge(state, c, n_periods=n_periods, dt_years=dt_years, figures=known) for c in CORNERS)
    btc, base = levels(state)
    judged = first.judged(known_tests(first.inputs))
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


def chances(question: Question, *, n_paths: int = 4096) -> Chances:
    """Chance of default of every borrower within the horizon of the question."""
    n = len(question.state.borrowers)
    table = np.full((len(RUNS), n), np.nan)
    n_periods = question.rows[0].inputs.opex_usd.shape[1]
    by_month, by_test = np.full((n_periods, n), np.nan), np.full((len(TESTS), n), np.nan)
    owners = np.array([int(question.rows[0].owner[i]) for i in question.firm], np.int64)
    for k, (corner, rho) in enumerate(RUNS if len(owners) else ()):
        first, tests = _breaks(question.job(corner, question.firm), corner, rho, n_paths)
        for b in set(owners.tolist()):
            mine = np.flatnonzero(owners == b)
            earliest = first[mine].min(axis=0)
            table[k, b] = (earliest < n_periods).mean()
            if (corner, rho) == (MIDDLE, MIDDLE_RHO):
                by_month[:, b] = np.bincount(earliest, minlength=n_periods + 1)[:n_periods] / first.shape[1]
                lead = tests[mine[first[mine].argmin(axis=0)], np.arange(first.shape[1])]
                by_test[:, b] = [((lead >> bit) & 1).mean() for bit in range(len(TESTS))]
    values = [_chance(question, b, table[:, b]) for b in range(n)]
    for b, value in enumerate(values):
        if not value.known:
            table[:, b], by_month[:, b], by_test[:, b] = np.nan, np.nan, np.nan
    return Chances(Field.of(values), RUNS, table, by_month, by_test, tuple(_open(question, b) for b in range(n)))


@lru_cache(maxsize=64)
def _breaks(job: Job[Bridge], corner: int, rho: float, n_paths: int) -> tuple[np.ndarray, np.ndarray]:
    """First breach and its code on every path."""
    factors = simulated(job.work, job.btc_usd, job.base_rate, corner=corner, rho=rho, n_paths=n_paths)
    summary = run(job.work.inputs, factors)
    return summary.first, summary.code


def _chance(question: Question, b: int, shares: FloatArray) -> Value:
    """Middle, highest and lowest; unknown where the obligor is, or where a tested level is nobody's but ours."""
    name = question.state.borrowers[b]
    own = question.rows[0].row(name)
    if own not in question.firm:
        reasons = question.rows[0].reasons[own] or tuple(
            f"{level} of {name} is assumed" for level in question.rows[0].assumed_levels[own]
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
    middle = float(shares[RUNS.index((MIDDLE, MIDDLE_RHO))])
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


def sampling_error(question: Question, *, scrambles: int = 16, n_paths: int = 4096) -> FloatArray:
    """(B,) standard error of the middle chance from independent scrambles. Sampling only: it says nothing about the
    assumptions, which are the larger part. NaN where the chance is unknown."""
    out = np.full(len(question.state.borrowers), np.nan)
    if not question.firm:
        return out
    job = question.job(MIDDLE, question.firm)
    shares = []
    for seed in range(1, scrambles + 1):
        factors = simulated(job.work, job.btc_usd, job.base_rate, seed=1000 + seed, n_paths=n_paths)
        shares.append((run(job.work.inputs, factors).code > 0).mean(axis=1))
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
