"""Which axis of a scenario takes how much of a borrower's cover: Shapley parts, which add up to the change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitor.metrics import METRICS, View
from monitor.model import FloatArray
from monitor.moved import step
from monitor.report.parts import Causes, Effect, Move
from monitor.stress.causes import Measure, Parts, of_scenario
from monitor.stress.field import MIDDLE
from monitor.stress.scenario import Scenario
from monitor.stress.state import State
from monitor.tables import show

#: the numbers that are split, with their labels: what covers the debt, and what covers the next year
NUMBERS = {"coverage": "coverage", "liquidity_locked_12m": "liquidity 12 m"}
#: both are in times
UNIT = "x"
STILL = "no change"
ADDS_UP = "the parts (Shapley) add up to the change but for rounding; one too small to show is left out"


def causes(state: State, scenarios: Sequence[Scenario]) -> tuple[Causes, ...]:
    """What every scenario does to each borrower, in the order of the state. All borrowers are worked out together."""
    measures = [_measure(metric) for metric in NUMBERS]
    found = [(one.name.replace("_", " "), of_scenario(state, one, measures)) for one in scenarios]
    return tuple(_one(found, b) for b in range(len(state.borrowers)))


def _measure(metric: str) -> Measure:
    def measure(state: State) -> FloatArray:
        field = METRICS[metric].compute(View(state))
        return np.where(field.known, field.values, np.nan)

    return measure


def _one(found: Sequence[tuple[str, Sequence[Parts]]], b: int) -> Causes:
    effects = [Effect(name, tuple(_move(parts, b) for parts in both)) for name, both in found]
    moved = tuple(one for one in effects if any(move.parts not in ("", STILL) for move in one.moves))
    still = ", ".join(one.scenario for one in effects if one not in moved)
    notes = [f"{still}: no change, or unknown" if still else "", ADDS_UP if moved else ""]
    return Causes(tuple(NUMBERS.values()), moved, "; ".join(note for note in notes if note))


def _move(parts: Parts, b: int) -> Move:
    """A number from before to after and why; unknown or unlimited on the way has no parts."""
    before, after = (show(float(side[MIDDLE, b]), UNIT) for side in (parts.before, parts.after))
    if not parts.known[MIDDLE, b]:
        return Move(before if before == after else f"{before} → {after}")
    found = sorted((float(part[MIDDLE, b]), axis) for axis, part in parts.parts.items())
    why = ", ".join(f"{axis} {text}" for value, axis in found if (text := step(value, UNIT)))
    return Move(f"{before} → {after}" if why else before, why or STILL)
