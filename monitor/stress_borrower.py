"""One borrower under a scenario: its numbers, two shocks at once as a grid, chances of a breach month by month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from monitor.charts import Band, Fan, Heat, Panel, short
from monitor.commands import Reply
from monitor.markup import clean
from monitor.metrics import METRICS
from monitor.overview import Reading
from monitor.stress.answers import ask
from monitor.stress.scenario import Scenario
from monitor.stress_chances import Chance, chances_under
from monitor.stress_shocks import Axis, Grid, grids
from monitor.stress_shown import (
    LINES,
    MARKS,
    MEANING,
    MIDDLE_NOTE,
    Shown,
    beyond,
    cell,
    heading,
    mark_of,
    metrics_json,
    scenario_json,
    stamp,
    titled,
)
from monitor.stressing import HORIZON_MONTHS, SHOWN, TODAY, Case, readings, stressed
from monitor.tables import Cell, Head, Table, Tone


# ---------------------------------------------------------------- one borrower
def one_borrower(case: Case, borrower: str, scenario: Scenario | None, paths: int | None) -> Shown:
    """One borrower under a scenario or today, and its numbers under two shocks at once on top of that."""
    base = case if scenario is None else replace(case, state=stressed(case.state, scenario))
    now, then = readings(case.state)[borrower], readings(base.state)[borrower]
    found = grids(base.state, borrower)
    rows = [
        [
            Cell(METRICS[metric].name),
            _full(now[metric], metric),
            *([_full(then[metric], metric)] if scenario else []),
            Cell(METRICS[metric].doc.split(". ")[0], "dim"),
        ]
        for metric in SHOWN
    ]
    heads = [Head("number"), Head("now (low-high)", right=True)]
    heads += [Head(f"under {scenario.name}", right=True)] if scenario else []
    heads += [Head("what it is", expendable=1)]
    reasons = [
        f"? {metric}: {then[metric].reason}" for metric in SHOWN if then[metric].value is None and then[metric].applies
    ]
    notes = [Cell(line, "dim") for line in (MARKS, *reasons)]
    tables = [titled(case, case.name(borrower), heads, rows, notes), *(grid_table(grid, scenario) for grid in found)]
    panels: list[Panel] = [heat_of(grid, scenario) for grid in found]
    data: dict[str, object] = {
        **heading(case), "id": borrower, "name": case.name(borrower),
        "scenario": scenario_json(scenario) if scenario else None,
        "now": metrics_json(now), "under": metrics_json(then), "grids": [grid_json(grid) for grid in found],
    }  # fmt: skip
    captions = [f"{MIDDLE_NOTE}; shocks come at once, on top of {scenario.name if scenario else 'today'}", *reasons]
    if paths:
        question = ask(case.state)
        chances = {
            one.name: chances_under(question, one, paths, borrower)[borrower] for one in (TODAY, scenario or TODAY)
        }
        tables.append(_chance_table(chances, paths))
        panels.append(_fan_of(chances))
        captions.append(
            f"breach: share of {paths:,} simulated paths on which a test of the obligor or its pools broke; band: low "
            "to high over assumptions and correlation 0 to 0.7; what falls due is rolled while credit spreads allow"
        )
        data["breach_by_month"] = {name: chance_json(chance) for name, chance in chances.items()}
    title = f"{case.name(borrower)}{f' under {scenario.name}' if scenario else ''}: two shocks at once"
    return Shown(Reply(data, tuple(tables)), title, tuple(panels), stamp(case, captions, [borrower]))


def _full(found: Reading, metric: str) -> Cell:
    """A reading with its ends and the mark of its line."""
    mark = mark_of(found, metric)
    return replace(cell(found, metric), text=found.text(ends=True) + (f" {mark}" if mark else ""))


def grid_table(grid: Grid, scenario: Scenario | None) -> Table:
    """A grid as a table: numbers in place of colours, a mark beyond the line."""
    title = grid_title(grid)
    if grid.reason:
        return Table(title, notes=(Cell(f"? {grid.reason}", "dim"),))
    worse = LINES[grid.metric][1]
    unit = METRICS[grid.metric].unit
    start = f"on top of {scenario.name}" if scenario else "from today"
    heads = [Head(grid.y.label if grid.y else "", right=True)]
    heads += [Head(text, right=True, expendable=0 if i % 2 else 1) for i, text in enumerate(_axis_texts(grid.x))]
    rows = []
    for label, numbers in zip(_axis_texts(grid.y), grid.values, strict=True):
        cells = [_grid_cell(float(value), unit, grid.line, worse) for value in numbers]
        rows.append((Cell(label), *cells))
    across = f"across: {grid.x.label}, {start}" if grid.x else "no shock here moves it"
    notes = (Cell(f"{across}; !: beyond {grid.line_label}", "dim"),)
    return Table(title, tuple(heads), tuple(rows), notes)


def _grid_cell(value: float, unit: str, line: float, worse: str) -> Cell:
    bad = beyond(value, line, worse)
    tone: Tone = "critical" if bad else "good" if beyond(value, line, "max" if worse == "min" else "min") else ""
    return Cell(short(value, unit) + ("!" if bad else " "), tone)


def _axis_texts(axis: Axis | None) -> tuple[str, ...]:
    return tuple(axis.text(level) for level in axis.levels) if axis else ("",)


def grid_title(grid: Grid) -> str:
    """What a grid shows."""
    where = f" of {grid.facility}" if grid.facility else ""
    return MEANING[grid.metric].partition(",")[0] + where + (", x" if METRICS[grid.metric].unit == "x" else "")


def heat_of(grid: Grid, scenario: Scenario | None) -> Heat:
    """A grid as a picture."""
    mark = None
    if not grid.reason:
        places = [(axis.levels.index(0.0) if axis else 0) for axis in (grid.x, grid.y)]
        mark = (float(places[0]), float(places[1]))
    return Heat(
        title=grid_title(grid),
        x_label=grid.x.text_at_axis if grid.x else "",
        y_label=grid.y.text_at_axis if grid.y else "",
        x=_axis_texts(grid.x),
        y=_axis_texts(grid.y),
        values=grid.values,
        unit=METRICS[grid.metric].unit,
        line=grid.line,
        line_label=grid.line_label,
        worse=LINES[grid.metric][1],
        mark=mark,
        mark_label=clean(scenario.name, 40) if scenario else "today",
        reason=grid.reason,
    )


def grid_json(grid: Grid) -> dict[str, object]:
    """A grid for machines; unknown is null, unlimited a word."""
    unit = METRICS[grid.metric].unit
    return {
        "metric": grid.metric, "facility": grid.facility or None, "unit": unit, "line": grid.line,
        "reason": grid.reason or None,
        "x": {"shock": grid.x.label, "levels": list(grid.x.levels)} if grid.x else None,
        "y": {"shock": grid.y.label, "levels": list(grid.y.levels)} if grid.y else None,
        "values": [[Reading(float(v), unit).json()["value"] for v in row] for row in grid.values],
    }  # fmt: skip


# ---------------------------------------------------------------- chances by month
def _chance_table(chances: Mapping[str, Chance], paths: int) -> Table:
    months = (Head(str(m + 1), right=True, expendable=m % 3 != 2) for m in range(HORIZON_MONTHS))
    heads = (Head("breach by month"), *months)
    rows, notes = list[tuple[Cell, ...]](), [f"share of {paths:,} simulated paths, middle of all assumptions"]
    for name, chance in chances.items():
        if chance.reason:
            notes.append(f"? {chance.reason}")
            continue
        ends = zip(chance.low, chance.high, strict=True)
        rows.append((Cell(name), *(Cell(_percent(v)) for v in chance.middle)))
        rows.append((Cell("  low-high"), *(Cell(f"{_percent(a)}-{_percent(b)}", "dim") for a, b in ends)))
    return Table("", heads if rows else (), tuple(rows), tuple(Cell(text, "dim") for text in dict.fromkeys(notes)))


def _percent(value: float) -> str:
    return short(float(value), "ratio")


def _fan_of(chances: Mapping[str, Chance]) -> Fan:
    bands = tuple(
        Band(name, chance.middle, chance.low, chance.high) for name, chance in chances.items() if not chance.reason
    )
    reason = next((chance.reason for chance in chances.values()), "")
    return Fan(
        "chance of a breach", "months from now", "share of paths, %", np.arange(1.0, HORIZON_MONTHS + 1), bands,
        "ratio", "" if bands else reason,
    )  # fmt: skip


def chance_json(chance: Chance) -> dict[str, object]:
    """Chances by month for machines."""
    if chance.reason:
        return {"reason": chance.reason}
    return {name: [float(v) for v in getattr(chance, name)] for name in ("middle", "low", "high")}
