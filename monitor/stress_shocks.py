"""Shocks of one borrower: two at once as a grid, and one alone until something breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from monitor.metrics import METRICS, View
from monitor.model import FloatArray
from monitor.overview import Reading
from monitor.stress.answers import CORNERS, Question
from monitor.stress.distance import margin_of
from monitor.stress.field import INF, MIDDLE, combine
from monitor.stress.state import Factors, ResidualMove, State
from monitor.stressing import only, readings


# ---------------------------------------------------------------- two shocks at once
@dataclass(frozen=True)
class Axis:
    """One shock of a grid: its levels, best first, and how it moves the factors on top of a scenario."""

    label: str
    levels: tuple[float, ...]
    move: Callable[[Factors, float], Factors]
    #: a loss is a level, a price is a change
    signed: bool = True

    @property
    def text_at_axis(self) -> str:
        """The shock with its unit."""
        return f"{self.label}, {'change in ' if self.signed else ''}%"

    def text(self, level: float) -> str:
        """A level as it stands at the axis."""
        return f"{level:+.0%}" if self.signed and level else f"{level:.0%}"


def _lose(factors: Factors, lost: float) -> Factors:
    kept = (1 - factors.contract_loss.get("", 0.0)) * (1 - lost)
    return replace(factors, contract_loss={**factors.contract_loss, "": 1 - kept})


def _crypto(factors: Factors, change: float) -> Factors:
    return replace(factors, btc=factors.btc * (1 + change), hashprice=factors.hashprice * (1 + change))


FALLS = (0.2, 0.0, -0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8)
AXES = (
    Axis("bitcoin, hashprice with it", FALLS, _crypto),
    Axis("share of contracted revenue lost", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), _lose, signed=False),
    Axis(
        "market rents of GPUs",
        FALLS[:8],
        lambda f, by: replace(f, rent={**f.rent, "": f.rent.get("", 1.0) * (1 + by)}),
    ),
    Axis(
        "used prices of hardware",
        FALLS[:8],
        lambda f, by: replace(f, residual=(*f.residual, ResidualMove(1 + by))),
    ),
)


@dataclass(frozen=True)
class Grid:
    """One number of one borrower under two shocks at once, all assumptions in the middle. ``values`` (Y,X)."""

    metric: str
    facility: str
    x: Axis | None
    y: Axis | None
    values: FloatArray
    line: float
    line_label: str
    reason: str = ""


def grids(state: State, borrower: str) -> tuple[Grid, ...]:
    """Liquidity, and the worst facility's loan to value, under the two shocks that move each of them most.

    Where fewer than two move it the grid is a row or a single cell; where the number is unknown the grid says why.
    """
    state = only(state, borrower)
    now = readings(state)[borrower]
    metrics = [m for m in ("liquidity_locked_12m", "ltv_economic") if now[m].applies]
    return tuple(_grid(state, borrower, metric, now[metric]) for metric in metrics)


def _grid(state: State, borrower: str, metric: str, now: Reading) -> Grid:
    line, label = (1.0, "1.00x: means equal what falls due")
    b, f = state.borrowers.index(borrower), -1
    if metric == "ltv_economic":
        f = state.facilities.index(f"{borrower}/{now.where}")
        line, label = _ltv_line(state, f)
    if now.value is None:
        return Grid(metric, now.where, None, None, np.full((1, 1), np.nan), line, label, now.reason)

    def at(*moves: tuple[Axis, float]) -> float:
        factors = state.factors
        for axis, level in moves:
            factors = axis.move(factors, level)
        field = METRICS[metric].compute(View(state.under(factors)))
        return float(field.values[MIDDLE, b if f < 0 else f])

    effect = [(_distance(at((axis, axis.levels[-1])), now.value), axis) for axis in AXES]
    moving = [axis for size, axis in sorted(effect, key=lambda pair: -pair[0]) if size > 1e-9][:2]
    # bitcoin across, whatever else moves it down the side
    ordered = sorted(moving, key=AXES.index)
    across, down = (ordered[0] if ordered else None), (ordered[1] if len(ordered) > 1 else None)
    pairs = [[((a, x) for a, x in ((across, x), (down, y)) if a) for x in _levels(across)] for y in _levels(down)]
    values = np.array([[at(*moves) for moves in row] for row in pairs])
    return Grid(metric, now.where, across, down, values, line, label)


def _levels(axis: Axis | None) -> tuple[float, ...]:
    return axis.levels if axis else (0.0,)


def _distance(one: float, other: float) -> float:
    return 0.0 if one == other else abs(one - other)


def _ltv_line(state: State, f: int) -> tuple[float, str]:
    """The level of a margin call of a coin loan, known or assumed, else the loan's own size."""
    call = METRICS["margin_call_btc_usd"].compute(View(state)).at(f)
    coins, loan = state.pool_facts["coins_pledged_btc"].at(f), state.principal.at(f)
    level = combine(lambda owed, btc, price: owed / (btc * price) if btc * price else INF, loan, coins, call)
    if not level.known or not np.isfinite(level.corners).all():
        return 1.0, "100%: the loan equals its collateral"
    low, high = min(level.corners), max(level.corners)
    ends = f" ({low:.0%} to {high:.0%}, assumed)" if low != high else " (assumed)" if call.used else ""
    return level.middle, f"{level.middle:.0%}: margin call{ends}"


# ---------------------------------------------------------------- in reverse
@dataclass(frozen=True)
class Alone:
    """How far one thing alone must move to break one row: a change, or a share lost; infinite if it never does."""

    row: str
    what: str
    unit: str
    move: Reading


def _log(change: float) -> float:
    return float(np.log1p(change))


#: position in the shock vector, the words, the unit, the furthest move looked at, and the shock of a move
SINGLE: tuple[tuple[int, str, str, float, Callable[[float], float]], ...] = (
    (0, "bitcoin", "ratio", -0.99, _log),
    (1, "market rents", "ratio", -0.99, _log),
    (2, "contracts lost", "ratio", 1.0, float),
    (3, "base rate", "bp", 0.10, float),
)


def alone(question: Question, borrower: str, steps: int = 400) -> tuple[Alone, ...]:
    """For every row of a borrower that can be judged: what each shock alone must do to break it, held for a year while
    nothing is refinanced."""
    b, found = question.state.borrowers.index(borrower), []
    for i in (*question.firm, *question.soft):
        if int(question.rows[0].owner[i]) != b:
            continue
        jobs = [question.job(corner, (i,)) for corner in CORNERS]
        margins = [margin_of(job.work, job.btc_usd, job.base_rate) for job in jobs]
        for position, what, unit, furthest, shock in SINGLE:
            moves = np.linspace(0.0, furthest, steps)
            shocks = np.zeros((steps, len(SINGLE)))
            shocks[:, position] = [shock(float(move)) for move in moves]
            ends = []
            for margin in margins:
                broken = np.flatnonzero(margin(shocks) <= 0)
                ends.append(float(moves[broken[0]]) if broken.size else INF)
            scale = 1e4 if unit == "bp" else 1.0
            three = [end * scale for end in ends]
            found.append(Alone(question.rows[0].rows[i], what, unit, Reading(three[0], unit, three[1], three[2])))
    return tuple(found)
