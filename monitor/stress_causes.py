"""What caused a change: the axes of a scenario for everybody or one, and what moved one borrower since a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np

from monitor.charts import Bars
from monitor.metrics import METRICS, View
from monitor.model import FloatArray
from monitor.moved import measure_of, step
from monitor.overview import Reading
from monitor.stress.causes import REST, TIME, Measure, Parts, between, of_scenario
from monitor.stress.field import MIDDLE
from monitor.stress.scenario import Scenario
from monitor.stress.state import State
from monitor.stress_shown import LABELS
from monitor.stressing import SHOWN, Case, only
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Table, show

#: what everybody's changes are split for, and what one borrower's
EVERYBODY = ("liquidity_locked_12m", "coverage")
#: days back a borrower's changes are told for
SINCE_DAYS = (1, 30)
ADDS_UP = "Shapley parts: each axis' share of the change, whatever the order they come in; they add up to it"


def _of(metric: str) -> Measure:
    """A borrower metric over all borrowers, corners first."""

    def measure(state: State) -> FloatArray:
        field = METRICS[metric].compute(View(state))
        return np.where(field.known, field.values, np.nan)

    return measure


def by_axis(case: Case, scenario: Scenario, shown: Sequence[str]) -> tuple[tuple[Table, ...], dict[str, object]]:
    """What each axis of a scenario does to everybody's liquidity and coverage: tables, and JSON by metric and id."""
    found = of_scenario(case.state, scenario, [_of(metric) for metric in EVERYBODY])
    tables, data = [], dict[str, object]()
    for metric, parts in zip(EVERYBODY, found, strict=True):
        axes = [axis for axis in parts.parts if np.nan_to_num(parts.parts[axis]).any()]
        index = {name: case.state.borrowers.index(name) for name in shown}
        rows = [
            (Cell(case.name(name)), *_row(parts, b, axes, METRICS[metric].unit))
            for name, b in index.items()
            if _moved(parts, b, METRICS[metric].unit)
        ]
        title = LABELS[metric].replace("\n", " ")
        data[metric] = {name: parts_json(parts, b) for name, b in index.items()}
        if not rows:
            tables.append(Table("", notes=(Cell(f"{scenario.name} moves nobody's {title}", "dim"),)))
            continue
        heads = (Head(f"what moved {title}"), Head("change", right=True), *(Head(axis, right=True) for axis in axes))
        tables.append(Table("", heads, tuple(rows)))
    tables[-1] = replace(tables[-1], notes=(*tables[-1].notes, Cell(ADDS_UP, "dim")))
    return tuple(tables), data


def _moved(parts: Parts, b: int, unit: str) -> bool:
    """Whether a number changed by more than rounding, or became known or unknown."""
    before, after = float(parts.before[MIDDLE, b]), float(parts.after[MIDDLE, b])
    if before == after or (np.isnan(before) and np.isnan(after)):
        return False
    return not np.isfinite(after - before) or bool(step(after - before, unit))


def _row(parts: Parts, b: int, axes: Sequence[str], unit: str) -> tuple[Cell, ...]:
    """The change and its parts; without parts where a number is unknown or unlimited on the way."""
    change = float(parts.after[MIDDLE, b] - parts.before[MIDDLE, b])
    if not parts.known[MIDDLE, b]:
        return (Cell(UNKNOWN, "dim"), *(Cell(UNKNOWN, "dim") for _ in axes))
    cells = (step(float(parts.parts[axis][MIDDLE, b]), unit) for axis in axes)
    return (Cell(step(change, unit)), *(Cell(text or NOT_APPLICABLE) for text in cells))


def parts_json(parts: Parts, b: int) -> dict[str, object]:
    """Before, after and parts for machines; null parts where there are none."""
    sides = {
        side: Reading(float(values[MIDDLE, b]), "").json()["value"]
        for side, values in (("before", parts.before), ("after", parts.after))
    }
    if not parts.known[MIDDLE, b]:
        return {**sides, "parts": None}
    return {
        **sides,
        "parts": {name: float(part[MIDDLE, b]) for name, part in parts.parts.items()},
        "parts_at_ends": {name: _ends(part[1:, b]) for name, part in parts.parts.items()},
    }


def _ends(values: FloatArray) -> list[float | None]:
    """Parts at the adverse and the favourable end; null where there are none."""
    return [float(value) if np.isfinite(value) else None for value in values]


# ---------------------------------------------------------------- one borrower
def of_one(case: Case, borrower: str, scenario: Scenario) -> tuple[Table, dict[str, object], Bars]:
    """What each axis of a scenario does to every judged number of one borrower."""
    state = only(case.state, borrower)
    measures = [measure_of(METRICS[metric], borrower) for metric in SHOWN]
    found = dict(zip(SHOWN, of_scenario(state, scenario, measures), strict=True))
    table = _one_table(f"what {scenario.name} does, by axis", found)
    data: dict[str, object] = {metric: parts_json(parts, 0) for metric, parts in found.items()}
    return table, data, _bars(found["liquidity_locked_12m"], found["coverage"])


def _one_table(title: str, found: dict[str, Parts]) -> Table:
    axes = list(dict.fromkeys(a for p in found.values() for a in p.parts if np.nan_to_num(p.parts[a]).any()))
    axes = sorted(axes, key=lambda axis: axis in (TIME, REST))
    rows = [
        (
            Cell(metric),
            Cell(_side(parts.before, METRICS[metric].unit)),
            Cell(_side(parts.after, METRICS[metric].unit)),
            *_row(_padded(parts, axes), 0, axes, METRICS[metric].unit),
        )
        for metric, parts in found.items()
        if _moved(parts, 0, METRICS[metric].unit)
    ]
    if not rows:
        return Table(title, notes=(Cell("no judged number moved", "dim"),))
    heads = (Head("number"), Head("before", right=True), Head("after", right=True), Head("change", right=True))
    return Table(title, (*heads, *(Head(a, right=True) for a in axes)), tuple(rows), (Cell(ADDS_UP, "dim"),))


def _padded(parts: Parts, axes: Sequence[str]) -> Parts:
    none = np.zeros_like(parts.before)
    return replace(parts, parts={axis: parts.parts.get(axis, none) for axis in axes})


def _side(values: FloatArray, unit: str) -> str:
    return show(float(values[MIDDLE, 0]), unit)


def _bars(liquidity: Parts, coverage: Parts) -> Bars:
    """Parts of liquidity and coverage as bars around nothing."""
    axes = [a for a in liquidity.parts if np.nan_to_num([liquidity.parts[a], coverage.parts.get(a, 0.0)]).any()]
    series = tuple(
        (label, tuple(float(parts.parts.get(axis, np.zeros((3, 1)))[MIDDLE, 0]) for axis in axes))
        for label, parts in (("liquidity", liquidity), ("coverage", coverage))
        if parts.known[MIDDLE, 0]
    )
    reason = "" if series and axes else "liquidity and coverage do not move, or are unknown or unlimited"
    return Bars("which axis causes how much", "", "part of the change, x", tuple(axes), series, "x", reason)


def since(case: Case, borrower: str) -> tuple[tuple[Table, ...], dict[str, object]]:
    """What moved a borrower's numbers since yesterday and since a month ago: prices, its own figures, time."""
    if case.known is None:
        return (), {}
    tables, data = [], dict[str, object]()
    after = case.known(case.state.at)
    for days in SINCE_DAYS:
        day = case.state.at - timedelta(days=days)
        try:
            before = case.known(day)
            found = {m: between(before, after, borrower, measure_of(METRICS[m], borrower)) for m in SHOWN}
        except ValueError:  # the book did not hold the borrower yet
            continue
        tables.append(_one_table(f"what moved since {day - timedelta(microseconds=1):%Y-%m-%d}", found))
        data[f"{days}d"] = {metric: parts_json(parts, 0) for metric, parts in found.items()}
    return tuple(tables), data
