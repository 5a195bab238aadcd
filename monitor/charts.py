"""Pictures: numbers in, PNG bytes out. matplotlib is loaded only when one is drawn, without a screen.

A picture is a title and its panels, side by side or two by two; :mod:`monitor.panels` says what they hold. Colours
differ in lightness as well as in hue, so that they are told apart by eyes that see few colours and in grey. What is
unknown is hatched grey and the caption says why; nothing unknown is drawn as a number. Names are hostile: they are
cleaned and never read as markup.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from monitor.curves import draw_bars, draw_fan, draw_nothing, tilt
from monitor.framing import framed
from monitor.markup import clean
from monitor.model import FloatArray
from monitor.panels import (
    GREY,
    HATCH,
    LARGEST,
    MAIN,
    NAME,
    RING,
    SECOND,
    TITLE,
    Band,
    Bars,
    Dots,
    Fan,
    Heat,
    Panel,
    Range,
    Stamp,
    at_axis,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
#: inches of panels side by side before the next begins a new row
WIDEST = 16.5


# ---------------------------------------------------------------- drawing
def picture(title: str, panels: Sequence[Panel], stamp: Stamp) -> bytes:
    """One PNG of all panels, side by side in as many rows as they need. Raises ValueError without a panel.

    >>> from datetime import datetime
    >>> at = datetime(2026, 9, 22)
    >>> dots = Dots("", "cover, x", (Range("a", 1.2, 0.8, 2.0), Range("b", None)), "x", line=1.0)
    >>> picture("Cover", [dots], Stamp(at, None, "a test"))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    if not panels:
        raise ValueError("a picture needs a panel")
    rows = _lines(panels)
    width = max(8.0, min(22.0, max(sum(_size(panel)[0] for panel in line) for line in rows)))
    heights = [max(_size(panel)[1] for panel in line) for line in rows]
    body = sum(heights) + 0.25 * (len(heights) - 1)
    return framed(title, stamp, (width, body), lambda figure: _fill(figure, rows, heights))


def _fill(figure: Figure, rows: Sequence[Sequence[Panel]], heights: Sequence[float]) -> None:
    """Every panel in its place."""
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    for row, line in enumerate(rows):
        cells = grid[row, 0].subgridspec(1, len(line), width_ratios=[_size(panel)[0] for panel in line])
        for i, panel in enumerate(line):
            named = i == 0 or not _same_rows(panel, line[i - 1])
            _draw(panel, figure.add_subplot(cells[0, i]), figure, named)


def _lines(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Panels in rows no wider than a page; more than three of them two by two."""
    if len(panels) > 3:
        return [list(panels[i : i + 2]) for i in range(0, len(panels), 2)]
    lines: list[list[Panel]] = [[]]
    for panel in panels:
        if lines[-1] and sum(_size(one)[0] for one in (*lines[-1], panel)) > WIDEST:
            lines.append([])
        lines[-1].append(panel)
    return lines


def _draw(panel: Panel, axes: Axes, figure: Figure, named: bool) -> None:
    if isinstance(panel, Heat):
        _heat(panel, axes, figure)
    elif isinstance(panel, Dots):
        _dots(panel, axes, named)
    elif isinstance(panel, Fan):
        draw_fan(panel, axes)
    else:
        draw_bars(panel, axes)
    if panel.title:
        above = axes.get_legend() is not None
        axes.set_title(clean(panel.title, TITLE), loc="left", fontsize=10, pad=22 if above else 6)


def _size(panel: Panel) -> tuple[float, float]:
    """Inches a panel wants."""
    if isinstance(panel, Heat):
        names = max(len(clean(text, NAME)) for text in (*panel.y, ""))
        if panel.reason:
            return 4.2, 2.6
        return 2.6 + 0.08 * names + 0.66 * len(panel.x), max(2.0, 1.3 + 0.34 * len(panel.y))
    if isinstance(panel, Dots):
        return 6.5, 1.1 + 0.3 * len(panel.rows)
    if isinstance(panel, Bars):
        return max(5.0, min(9.0, 1.6 + 0.26 * len(panel.x) * max(1, len(panel.series)))), 3.6
    return 5.5, 3.6


def _same_rows(one: Panel, other: Panel) -> bool:
    both = isinstance(one, Dots) and isinstance(other, Dots)
    return both and [r.label for r in one.rows] == [r.label for r in other.rows]  # type: ignore[union-attr]


# ---------------------------------------------------------------- a grid
def _heat(panel: Heat, axes: Axes, figure: Figure) -> None:
    from matplotlib.colors import TwoSlopeNorm

    values = np.asarray(panel.values, float)
    if panel.reason or not values.size:
        return draw_nothing(axes, panel.reason or "nothing to show")
    span = panel.limit if panel.limit is not None else 3 * panel.line
    low, high = (0.0, span) if panel.worse == "min" else (max(0.0, 2 * panel.line - span), span)
    norm = TwoSlopeNorm(vmin=min(low, panel.line - 1e-9), vcenter=panel.line, vmax=max(high, panel.line + 1e-9))
    colours = "RdBu" if panel.worse == "min" else "RdBu_r"
    shown = np.ma.masked_invalid(np.where(np.isinf(values), np.sign(values) * 1e12, values))
    image = axes.imshow(shown, cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
    _unknown_cells(axes, np.isnan(values))
    _cell_texts(panel, axes, values, norm)
    _breach_line(panel, axes, values)
    axes.set_xticks(range(len(panel.x)), [clean(t, NAME) for t in panel.x], rotation=tilt(panel.x), ha="center")
    axes.set_yticks(range(len(panel.y)), [clean(t, NAME) for t in panel.y])
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(textwrap.fill(panel.y_label, max(16, 5 * len(panel.y))))
    axes.tick_params(length=0)
    if panel.mark is not None:
        _ring(axes, *panel.mark)
    if np.isfinite(values).any():
        bar = figure.colorbar(image, ax=axes, extend="max" if panel.worse == "min" else "both", pad=0.01, aspect=30)
        ticks = [low, (low + panel.line) / 2, panel.line, (high + panel.line) / 2, high]
        bar.set_ticks(ticks, labels=[short(t, panel.unit) for t in ticks])
        bar.ax.tick_params(labelsize=8)
    if panel.line_label:
        axes.plot([], [], color="black", linewidth=2.2, label=panel.line_label)
    if panel.mark is not None:
        axes.plot([], [], "s", markerfacecolor="none", color=RING, markeredgewidth=2, label=clean(panel.mark_label, 60))
    if np.isnan(values).any():
        axes.fill_between([], [], facecolor="#DDDDDD", edgecolor="#888888", hatch=HATCH, label="unknown")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=8, frameon=False, borderaxespad=0.1)


def _ring(axes: Axes, x: float, y: float) -> None:
    """A frame around the cell a grid starts from; the number stays readable."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x - 0.42, y - 0.4), 0.84, 0.8, fill=False, edgecolor=RING, linewidth=2.2, zorder=5))


def _unknown_cells(axes: Axes, unknown: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for y, x in np.argwhere(unknown):
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="#DDDDDD", edgecolor="#999999", hatch=HATCH, linewidth=0)
        )


def _cell_texts(panel: Heat, axes: Axes, values: FloatArray, norm: object) -> None:
    """The number in every cell, light on dark colours."""
    for (y, x), value in np.ndenumerate(values):
        place = 0.5 if math.isnan(value) else float(np.clip(norm(min(max(value, -1e12), 1e12)), 0, 1))  # type: ignore[operator]
        colour = "white" if abs(place - 0.5) > 0.36 else "black"
        box = {"facecolor": "#DDDDDD", "edgecolor": "none", "pad": 0.8} if math.isnan(value) else None
        axes.text(x, y, short(value, panel.unit), ha="center", va="center", fontsize=7.5, color=colour, bbox=box)


def _breach_line(panel: Heat, axes: Axes, values: FloatArray) -> None:
    """A heavy line between every two neighbours on the two sides of the line; nothing beside an unknown cell."""
    bad = values < panel.line if panel.worse == "min" else values > panel.line
    known = ~np.isnan(values)
    rows, columns = values.shape
    for y in range(rows):
        for x in range(columns):
            if x + 1 < columns and known[y, x] and known[y, x + 1] and bad[y, x] != bad[y, x + 1]:
                axes.plot([x + 0.5] * 2, [y - 0.5, y + 0.5], color="black", linewidth=2.2, solid_capstyle="projecting")
            if y + 1 < rows and known[y, x] and known[y + 1, x] and bad[y, x] != bad[y + 1, x]:
                axes.plot([x - 0.5, x + 0.5], [y + 0.5] * 2, color="black", linewidth=2.2, solid_capstyle="projecting")
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


# ---------------------------------------------------------------- many numbers
def _dots(panel: Dots, axes: Axes, named: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    left, right = _ends(panel)
    for y, row in enumerate(panel.rows):
        _dot(panel, axes, row, y, left, right)
    if panel.line is not None:
        axes.axvline(panel.line, color="black", linewidth=1.2, linestyle="--", label=panel.line_label or None)
    if panel.before_label:
        axes.plot([], [], "o", markerfacecolor="white", color=MAIN, label=panel.before_label)
    if any(row.middle is None for row in panel.rows):
        axes.fill_between([], [], facecolor="#DDDDDD", edgecolor="#888888", hatch=HATCH, label="unknown")
    axes.set_ylim(len(panel.rows) - 0.4, -0.6)
    axes.set_yticks(range(len(panel.rows)), [clean(row.label, NAME) if named else "" for row in panel.rows])
    if panel.logarithmic:
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlim(left, right)
    axes.xaxis.set_major_formatter(lambda value, _: at_axis(value, panel.unit))
    axes.set_xlabel(panel.x_label)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=8, frameon=False, borderaxespad=0.1)


def _dot(panel: Dots, axes: Axes, row: Range, y: int, left: float, right: float) -> None:
    """One row: the span of its ends, the middle, where it was, and its text at the right."""

    def at(value: float) -> float:
        return float(min(max(value, left), right))

    if row.middle is None or math.isnan(row.middle):
        axes.barh(
            y, right - left, left=left, height=0.6, facecolor="#E4E4E4", edgecolor="#AAAAAA", hatch=HATCH, linewidth=0
        )
        axes.annotate(
            "?", (1.0, y), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center"
        )
        return
    low, high = (row.middle if end is None else end for end in (row.low, row.high))
    axes.plot([at(low), at(high)], [y, y], color=MAIN, linewidth=5, alpha=0.35, solid_capstyle="butt")
    if row.before is not None and not math.isnan(row.before):
        axes.plot([at(row.before), at(row.middle)], [y, y], color=GREY, linewidth=1, zorder=1)
        axes.plot([at(row.before)], [y], "o", markerfacecolor="white", markeredgecolor=MAIN, clip_on=False, zorder=3)
    beyond = row.middle > right
    axes.plot([at(row.middle)], [y], ">" if beyond else "o", color=MAIN, markersize=6, clip_on=False, zorder=4)
    text = panel.text(row.middle)
    if low != high:
        text += f" ({panel.text(min(low, high))} to {panel.text(max(low, high))})"
    axes.annotate(
        text, (1.0, y), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center", fontsize=8
    )


def _ends(panel: Dots) -> tuple[float, float]:
    """The axis: all finite numbers, no further than the limit."""
    seen = [
        min(max(float(value), -LARGEST), LARGEST)
        for row in panel.rows
        for value in (row.middle, row.low, row.high, row.before)
        if value is not None and math.isfinite(value)
    ]
    if panel.line is not None:
        seen.append(min(max(panel.line * 1.15, -LARGEST), LARGEST))
    if panel.logarithmic:
        positive = [value for value in seen if value > 0] or [1.0]
        return min(positive) / 1.6, max(positive) * 1.6
    most = max(seen, default=1.0)
    least = min(0.0, *seen) if seen else 0.0
    top = min(most * 1.05, panel.limit) if panel.limit is not None else most * 1.05
    return least * 1.05, top if top > least else least + 1.0


__all__ = [
    "GREY",
    "MAIN",
    "SECOND",
    "Band",
    "Bars",
    "Dots",
    "Fan",
    "Heat",
    "Panel",
    "Range",
    "Stamp",
    "picture",
    "short",
]
