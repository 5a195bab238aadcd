"""Where the marks of a drawing stand: plain geometry over numbers. The page turns it into SVG.

Drawing units are those of the boxes below, not pixels; a browser scales them. Unknown leaves a gap, never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from monitor.model import FloatArray
from monitor.report.heat import Heat
from monitor.report.parts import Bar, Bars, Cell, Grid, Tick

#: the box of the history, and the box of one row of bars
HISTORY = (600.0, 120.0)
BARS = (600.0, 110.0)
#: covers above this are all the same to a reader; the curve ends at the edge
HIGHEST = 4.0


# ---------------------------------------------------------------- time
def strokes(times: Sequence[float], values: Sequence[float], end: float, x: Scale, y: Scale) -> tuple[str, ...]:
    """A step function as SVG paths, broken where it is unknown; the last step reaches ``end``.

    >>> unit = scale(0.0, 10.0, 0.0, 10.0)
    >>> strokes([0.0, 4.0, 6.0], [1.0, float("nan"), 2.0], 10.0, unit, unit)
    ('M0 1H4', 'M6 2H10')
    """
    found, path, before = list[str](), "", ""
    for i, (time, value) in enumerate(zip(times, values, strict=True)):
        until = times[i + 1] if i + 1 < len(times) else end
        if math.isnan(value):
            found += [path] if path else []
            path = ""
            continue
        level = _number(y(value))
        if not path:
            path = f"M{_number(x(time))} {level}"
        elif level != before:
            path += f"H{_number(x(time))}V{level}"
        before = level
        if until == end or math.isnan(values[i + 1]):
            path += f"H{_number(x(until))}"
    return tuple([*found, path] if path else found)


Scale = Callable[[float], float]


def scale(low: float, high: float, start: float, end: float) -> Scale:
    """A number between low and high as a place between start and end; beyond an end it stands at that end.

    >>> [scale(0.0, 2.0, 100.0, 0.0)(value) for value in (0.5, 5.0, -1.0)]
    [75.0, 0.0, 100.0]
    """
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return start + (end - start) * min(1.0, max(0.0, (value - low) / span))

    return place


def weeks(start: datetime, end: datetime, x: Scale) -> tuple[Tick, ...]:
    """A tick every 30 days, counted back from the end."""
    days = []
    at = end
    while at >= start:
        days.append(Tick(round(x(at.timestamp()), 1), f"{at.astimezone(UTC):%d %b}"))
        at -= timedelta(days=30)
    return tuple(reversed(days))


def levels(highest: float, y: Scale) -> tuple[Tick, ...]:
    """Whole and half covers up to the highest.

    >>> [tick.text for tick in levels(2.4, lambda value: value)]
    ['0x', '1x', '2x']
    """
    return tuple(Tick(round(y(float(level)), 1), f"{level}x") for level in range(int(highest) + 1))


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


# ---------------------------------------------------------------- a grid
def grid(heat: Heat) -> Grid:
    """A grid with its breach line between the fields on its two sides."""
    if heat.reason:
        return Grid(reason=heat.reason)
    rows, x, y = [], heat.x, heat.y
    for j, line in enumerate(heat.values):
        cells = []
        for i, value in enumerate(line):
            left = i > 0 and _beyond(value, heat.line) != _beyond(line[i - 1], heat.line)
            top = j > 0 and _beyond(value, heat.line) != _beyond(heat.values[j - 1][i], heat.line)
            today = all(axis is None or axis.levels[k] == 0 for axis, k in ((x, i), (y, j)))
            cells.append(Cell(_cover(value), shade(value, heat.line), bool(left), bool(top), today))
        rows.append(tuple(cells))
    return Grid(
        across=x.text_at_axis if x else "no shock here moves it",
        down=y.text_at_axis if y else "",
        x=tuple(x.text(level) for level in x.levels) if x else ("today",),
        y=tuple(y.text(level) for level in y.levels) if y else ("",),
        rows=tuple(rows),
        line=f"{heat.line:.2f}x",
    )


def _beyond(value: float, line: float) -> bool | None:
    return None if math.isnan(value) else value < line


def shade(value: float, line: float) -> str:
    """How good or bad a cover is: ``bad1`` to ``bad4`` below the line, ``good1`` to ``good4`` above, or ``none``.

    >>> [shade(value, 1.0) for value in (0.99, 0.1, 1.0, 9.0, float("nan"))]
    ['bad1', 'bad4', 'good1', 'good4', 'none']
    """
    if math.isnan(value):
        return "none"
    distance = (line - value) / line if value < line else (value - line) / (2 * line)
    return f"{'bad' if value < line else 'good'}{min(4, 1 + int(min(1.0, distance) * 4))}"


def _cover(value: float) -> str:
    if math.isnan(value):
        return "?"
    if math.isinf(value):
        return "∞"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.0f}"


# ---------------------------------------------------------------- bars
def stacked(
    names: Sequence[str], parts: Sequence[Mapping[str, float]], text: Callable[[float], str], note: str
) -> Bars:
    """Bars of parts on top of each other, the kinds in the order of their sums. ``reason`` when there is nothing."""
    kinds: dict[str, float] = {}
    for one in parts:
        for kind, value in one.items():
            kinds[kind] = kinds.get(kind, 0.0) + value
    order = sorted(kinds, key=lambda kind: -kinds[kind])
    classes = {kind: f"k{min(i, 6)}" for i, kind in enumerate(order)}
    highest = max((sum(one.values()) for one in parts), default=0.0)
    if highest <= 0:
        return Bars(reason="nothing dated is known", note=note)
    bars = []
    for name, one in zip(names, parts, strict=True):
        top, pieces = 0.0, list[tuple[float, float, str]]()
        for kind in order:
            if one.get(kind, 0.0) > 0:
                height = one[kind] / highest * BARS[1]
                pieces.append((round(BARS[1] - top - height, 2), round(height, 2), classes[kind]))
                top += height
        total = sum(one.values())
        inside = ", ".join(f"{kind} {text(value)}" for kind, value in one.items() if value > 0)
        bars.append(Bar(name, text(total) if total else "", tuple(pieces), f"{name}: {inside or 'nothing'}"))
    return Bars(tuple(bars), tuple((classes[kind], kind) for kind in order), note)


def months(shares: FloatArray, note: str) -> Bars:
    """Chance of a first breach in each month as bars, in percent."""
    names = [str(month + 1) for month in range(len(shares))]
    made = stacked(names, [{"first breach": float(share)} for share in shares], lambda v: f"{v:.1%}", note)
    return Bars(note=note, reason="no simulated path broke within the year") if made.reason else made
