"""Chances of a breach on simulated paths: under a scenario, given a move, with the sampling error apart.

Ranges are over the assumptions and the correlation; the sampling error comes from independent scrambles of the middle
run and says nothing about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from monitor.model import CanaryError, FloatArray
from monitor.overview import Reading
from monitor.stress.answers import RUNS, Question
from monitor.stress.assumptions import Assumptions
from monitor.stress.bridge import Bridge
from monitor.stress.building import with_capex_rule
from monitor.stress.drivers import run
from monitor.stress.field import MIDDLE
from monitor.stress.inputs import TESTS
from monitor.stress.inputs import Factors as Paths
from monitor.stress.outlook import MIDDLE_RHO, prior, simulated, under
from monitor.stress.scenario import PATH_AXES, Scenario, pairs
from monitor.stressing import HORIZON_MONTHS, TODAY, unjudged
from monitor.tables import UNKNOWN, show

CENTRE = RUNS.index((MIDDLE, MIDDLE_RHO))
SCRAMBLES = 16


class Given(NamedTuple):
    """What is known of the paths: axis -> the level as a share of today's (spread: the change) at the end of month
    ``by``, however each path gets there."""

    moves: Mapping[str, float]
    by: int = HORIZON_MONTHS


@dataclass(frozen=True)
class Chance:
    """Chance of a breach by the end of each month, over (months,): the middle run and the lowest and highest of all
    runs; or the reason why there is none. ``by_test``: share of the middle run's paths whose first break was of each
    test; ``sampling``: standard error of the year's middle from independent scrambles, NaN where not asked for."""

    middle: FloatArray
    low: FloatArray
    high: FloatArray
    reason: str = ""
    by_test: FloatArray = field(default_factory=lambda: np.zeros(len(TESTS)))
    sampling: float = float("nan")

    def year(self) -> Reading:
        """The chance within the horizon."""
        if self.reason:
            return Reading(None, "ratio", reason=self.reason)
        return Reading(float(self.middle[-1]), "ratio", float(self.low[-1]), float(self.high[-1]))

    def text(self, paths: int) -> str:
        """The year's chance and both ends of the assumptions, as counted over so many paths."""
        if self.reason:
            return UNKNOWN
        middle, *ends = (counted(float(share[-1]), paths) for share in (self.middle, self.low, self.high))
        return middle if ends == [middle, middle] else f"{middle} ({'-'.join(ends)})"

    def first(self) -> FloatArray:
        """Share of the middle run's paths that first break in each month (months,)."""
        return np.diff(self.middle, prepend=0.0)


def counted(share: float, paths: int) -> str:
    """A share of simulated paths: what none of them reached is less than one of them, not impossible.

    >>> counted(0.0, 256), counted(0.0, 65_536), counted(0.2148, 1_024), counted(1.0, 1_024)
    ('<0.4%', '<0.1%', '21.5%', '100.0%')
    """
    least = max(1 / paths, 0.001)
    return show(share, "ratio") if share >= least else f"<{least:.1%}"


def chances_under(
    question: Question, scenario: Scenario, n_paths: int, only: str | None = None,
    given: Given | None = None, sampling: bool = False,
) -> dict[str, Chance]:  # fmt: skip
    """Chance of a breach by month on simulated paths that start under the scenario: every path is moved by it, the
    loss of contracts adds up, and refinancing is shut where the path or the scenario shuts it. ``only`` one borrower's
    rows are run, on the paths of everybody. ``given``: moves every path has made by a month; the other axes then follow
    their conditional distribution. CanaryError for a move or a correlation no path can have."""
    firm, wanted = question.firm, question.state.borrowers if only is None else (only,)
    owners = [int(question.rows[0].owner[i]) for i in firm]
    chosen = [j for j, owner in enumerate(owners) if question.state.borrowers[owner] in wanted]
    work = _Work(question, scenario, n_paths, chosen, given)
    table = np.full((len(RUNS), len(firm), n_paths), HORIZON_MONTHS)
    codes = np.zeros((len(firm), n_paths), np.uint8)
    for k, (corner, rho) in enumerate(RUNS if chosen else ()):
        table[k, chosen], code = work.on(corner, rho)
        if k == CENTRE:
            codes[chosen] = code
    errors = work.sampling_errors(owners) if sampling and chosen else {}
    found = {}
    for name in wanted:
        b = question.state.borrowers.index(name)
        mine, why = [j for j, owner in enumerate(owners) if owner == b], unjudged(question, b)
        empty = np.full(HORIZON_MONTHS, np.nan)
        if why or not mine:
            found[name] = Chance(empty, empty, empty, why or "no test of it can be judged")
            continue
        curve = _curve(table[:, mine].min(axis=1))
        lead = codes[np.array(mine)[table[CENTRE, mine].argmin(axis=0)], np.arange(n_paths)]
        by_test = np.array([((lead >> bit) & 1).mean() for bit in range(len(TESTS))])
        error = errors.get(b, float("nan"))
        found[name] = Chance(curve[CENTRE], curve.min(axis=0), curve.max(axis=0), "", by_test, error)
    return found


def _curve(earliest: FloatArray) -> FloatArray:
    """(runs,S) first months -> (runs,T) share of paths broken by the end of each."""
    return np.asarray((earliest[:, None, :] <= np.arange(HORIZON_MONTHS)[None, :, None]).mean(axis=2))


@dataclass(frozen=True)
class _Work:
    """The rows that are run, under what, on how many paths."""

    question: Question
    scenario: Scenario
    n_paths: int
    chosen: list[int]
    given: Given | None

    def on(self, corner: int, rho: float, seed: int | None = None) -> tuple[FloatArray, FloatArray]:
        """First month and code of the chosen rows (J,S)."""
        rows = self.question.rows[corner].cut(self.question.firm)
        paths = self.paths(rows, corner, rho, seed)
        state, first, codes = self.question.state, [], []
        for j in self.chosen:
            one = with_capex_rule(rows.cut([j]), state, self.scenario)
            here = moved(paths, under(one, state, self.scenario), under(one, state, TODAY), corner, state.assumptions)
            summary = run(one.inputs, here)
            first.append(summary.first[0])
            codes.append(summary.code[0])
        return np.stack(first), np.stack(codes)

    def paths(self, rows: Bridge, corner: int, rho: float, seed: int | None = None) -> Paths:
        """Paths on the axes of the rows, before the scenario."""
        question, given = self.question, self.given or Given({})
        try:
            return simulated(
                rows, question.price(rows), question.base_rate, corner=corner, rho=rho, n_paths=self.n_paths,
                seed=seed, pairs=pairs(self.scenario), given=given.moves, given_by=given.by,
            )  # fmt: skip
        except ValueError as error:
            raise CanaryError(f"no paths under {self.scenario.name}: {error}") from None

    def sampling_errors(self, owners: list[int]) -> dict[int, float]:
        """Standard error of the year's chance by borrower, sampling only."""
        shares = list[dict[int, float]]()
        for scramble in range(1, SCRAMBLES + 1):
            first, _ = self.on(MIDDLE, MIDDLE_RHO, 1000 + scramble)
            of = {b: [k for k, j in enumerate(self.chosen) if owners[j] == b] for b in {owners[j] for j in self.chosen}}
            shares.append({b: float((first[k].min(axis=0) < HORIZON_MONTHS).mean()) for b, k in of.items()})
        return {b: float(np.std([share[b] for share in shares], ddof=1)) for b in shares[0]}


def moved(paths: Paths, there: Paths, today: Paths, corner: int, known: Assumptions) -> Paths:
    """Paths under a scenario: prices multiply, rates add, losses add up, the stricter refinancing holds."""
    spread = np.maximum(paths.spread + there.spread - today.spread, 0.0)
    moved = {
        name: getattr(paths, name) * getattr(there, name) / getattr(today, name)
        for name in ("btc_usd", "hashprice", "rent", "utilisation", "power")
    }
    wider = there.spread != today.spread
    still_open = np.where(wider, (spread < prior("refi_shut_above", corner, known)) * 1.0, paths.refi_open)
    return replace(
        paths,
        **moved,
        spread=spread,
        base_rate=paths.base_rate + there.base_rate - today.base_rate,
        contract_loss=1 - (1 - paths.contract_loss) * (1 - there.contract_loss),
        refi_open=np.minimum(still_open, there.refi_open),
    )


# ---------------------------------------------------------------- the others, given one
@dataclass(frozen=True)
class Expected:
    """One axis given a move of another: median and the middle four fifths of the paths, with and without the move, at
    the end of the month it is given by and after a year. Prices as shares of today's, the spread as a rate."""

    axis: str
    then: tuple[float, float, float]
    year: tuple[float, float, float]
    then_before: float
    year_before: float


def expected_given(question: Question, given: Given, n_paths: int) -> tuple[Expected, ...]:
    """Where bitcoin, rents and the spread go given a move of one of them, in the middle of all assumptions."""
    rows = question.rows[MIDDLE].cut(question.firm)
    with_it, without = (
        _Work(question, TODAY, n_paths, [], one).paths(rows, MIDDLE, MIDDLE_RHO) for one in (given, None)
    )
    found = []
    for factor, axis in PATH_AXES.items():
        there, before = (_axis(paths, axis) for paths in (with_it, without))
        then, year = (_spread(there[t]) for t in (given.by - 1, -1))
        found.append(Expected(factor, then, year, _spread(before[given.by - 1])[0], _spread(before[-1])[0]))
    return tuple(found)


def _axis(paths: Paths, axis: str) -> FloatArray:
    if axis == "spread":
        return paths.spread
    if axis == "rental":
        return paths.rent[:, 0] if paths.rent.shape[1] else np.ones_like(paths.spread)
    return paths.hashprice  # bitcoin over today's: hashprice follows it one for one


def _spread(values: FloatArray) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return float(middle), float(low), float(high)


def sigmas_of(given: Given, known: Assumptions) -> dict[str, float]:
    """How many standard deviations of its months each given move is, in the middle of all assumptions."""
    root = (given.by / 12) ** 0.5
    vols = {axis: prior(f"{axis}_vol", MIDDLE, known) for axis in ("crypto", "rental", "spread")}
    return {
        axis: (move if axis == "spread" else float(np.log(move))) / (vols[axis] * root)
        for axis, move in given.moves.items()
    }
