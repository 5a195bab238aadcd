"""Liquidity of every borrower under two shocks at once, worked out for all of them together.

Each borrower gets the two shocks that move it most; one state under one pair of shocks answers for everybody, so that
five hundred borrowers cost as many evaluations as one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor.metrics import METRICS, View
from monitor.model import FloatArray
from monitor.stress.field import MIDDLE
from monitor.stress.state import State
from monitor.stress_shocks import AXES, Axis
from monitor.stress_shown import LINES

METRIC = "liquidity_locked_12m"


@dataclass(frozen=True)
class Heat:
    """A grid of one borrower. ``values`` (Y,X), NaN unknown; the harm lies below ``line``. ``reason``: why none."""

    x: Axis | None
    y: Axis | None
    values: FloatArray
    line: float
    reason: str = ""


def heats(state: State) -> dict[str, Heat]:
    """A grid for every borrower: bitcoin or whatever moves it more across, the next one down. Assumptions in the
    middle, nothing refinanced, the shocks at once."""
    now = METRICS[METRIC].compute(View(state))
    pairs = {who: _pair(effects) for who, effects in zip(state.borrowers, _effects(state).T, strict=True)}
    solved = {pair: _solve(state, pair) for pair in set(pairs.values())}
    line, found = LINES[METRIC][0], dict[str, Heat]()
    for b, who in enumerate(state.borrowers):
        x, y = pairs[who]
        if not now.known[b]:
            why = "; ".join(now.reasons.get(b, ("no reason was kept",))[:3])
            found[who] = Heat(None, None, np.full((1, 1), np.nan), line, why)
        else:
            found[who] = Heat(x, y, solved[x, y][:, :, b], line)
    return found


Pair = tuple[Axis | None, Axis | None]


def _liquidity(state: State, *moves: tuple[Axis | None, float]) -> FloatArray:
    factors = state.factors
    for axis, level in moves:
        factors = axis.move(factors, level) if axis else factors
    middle: FloatArray = METRICS[METRIC].compute(View(state.under(factors))).values[MIDDLE]
    return middle


def _effects(state: State) -> FloatArray:
    """(axes, borrowers): how far the worst level of each shock alone moves the number; 0 where it is unknown."""
    today = _liquidity(state)
    with np.errstate(invalid="ignore"):
        moved = [np.abs(_liquidity(state, (axis, axis.levels[-1])) - today) for axis in AXES]
    return np.asarray(np.nan_to_num(np.array(moved), nan=0.0, posinf=np.finfo(float).max), np.float64)


def _pair(effects: FloatArray) -> Pair:
    """The two shocks that matter most, in the order of the axes, fewer where fewer matter.

    >>> [axis.label if axis else None for axis in _pair(np.array([0.0, 3.0, 1.0, 2.0]))]
    ['share of contracted revenue lost', 'used prices of hardware']
    """
    strongest = [i for i in np.argsort(-effects, kind="stable")[:2] if effects[i] > 1e-9]
    ordered: list[Axis | None] = [AXES[i] for i in sorted(strongest)]
    x, y = [*ordered, None, None][:2]
    return x, y


def _solve(state: State, pair: Pair) -> FloatArray:
    """(Y, X, borrowers)"""
    x, y = pair
    across, down = (axis.levels if axis else (0.0,) for axis in pair)
    return np.array([[_liquidity(state, (x, a), (y, b)) for a in across] for b in down])
