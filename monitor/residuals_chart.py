"""Residual values as a picture, one panel a model: curve with its range, books, marks; matplotlib only when drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monitor.charts import GREY, MAIN, SECOND, Stamp
from monitor.framing import framed
from monitor.markup import clean
from monitor.residuals import Residual, in_books, on_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

YEARS = np.linspace(0, 7, 85)
#: a mark says nothing of the age of the machine it is for: it stands at the age of the newest vintage of the book
NO_VINTAGE = 1.0
NOTE = "grey uprights: vintages of the book; a diamond: a mark, hollow where it is too old to be a market"


TITLE = "Used machines: curve, books and marks, USD a machine"


def draw_residuals(found: Sequence[Residual], at: datetime, recorded: date | None, path: Path) -> None:
    """Price of one machine by its age, per model, as known at a moment; ``recorded`` as on a stamp. Writes a PNG."""
    marks = [mark for one in found for mark in one.marks]
    age = max(((at.date() - one.newest.mark.as_of).days * 86_400.0 for one in found if one.newest), default=None)
    sources = "; ".join(dict.fromkeys(("vintages of the book", *(clean(mark.source, 60) for mark in marks[-3:]))))
    columns = min(2, len(found))
    size = (5.6 * columns, 3.4 * -(-len(found) // columns))
    stamp = Stamp(at, recorded, sources, age, (NOTE,))
    path.write_bytes(framed(TITLE, stamp, size, lambda figure: _fill(figure, found, columns)))


def _fill(figure: Figure, found: Sequence[Residual], columns: int) -> None:
    panels = figure.subplots(-(-len(found) // columns), columns, squeeze=False).ravel()
    for axes, one in zip(panels, found, strict=False):
        _panel(axes, one)
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    fullest = max(panels[: len(found)], key=lambda axes: len(axes.get_legend_handles_labels()[1]))
    if fullest.get_legend_handles_labels()[1]:
        fullest.legend(loc="upper right", fontsize=8, frameon=False)


def _panel(axes: Axes, one: Residual) -> None:
    axes.set_title(one.model, loc="left", fontsize=10, weight="bold")
    axes.set_xlabel("age, years")
    axes.set_ylabel("USD a machine")
    axes.grid(alpha=0.3)
    if not (one.new_usd.known and one.decay.known and one.life_months.known):
        reasons = "; ".join((*one.new_usd.reasons, *one.decay.reasons, *one.life_months.reasons))
        axes.text(0.5, 0.5, reasons, transform=axes.transAxes, ha="center", wrap=True, fontsize=8, color="#666666")
        return
    ends = [[on_curve(one.new_usd.corners[c], one.decay.corners[c], float(y)) / 1000 for y in YEARS] for c in range(3)]
    books = [in_books(one.new_usd.middle, one.life_months.middle, float(y)) / 1000 for y in YEARS]
    axes.fill_between(
        YEARS, np.min(ends, axis=0), np.max(ends, axis=0), color=GREY, alpha=0.5, label="curve, its range"
    )
    axes.plot(YEARS, ends[0], color=MAIN, linewidth=1.8, label=f"curve, {one.decay.middle:.0%} a year")
    life = f"{one.life_months.middle / 12:.0f} years"
    axes.plot(YEARS, books, color=SECOND, linewidth=1.8, linestyle="--", label=f"books, straight over {life}")
    _marks(axes, one)
    for vintage in one.vintages:
        axes.axvline(vintage.age_years, color="#999999", linewidth=0.6)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, float(YEARS[-1]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}k" if value else "0")


def _marks(axes: Axes, one: Residual) -> None:
    """Marks at the age of the newest vintage; hollow once they are too old to be a market."""
    if not one.marks or one.newest is None:
        axes.text(0.97, 0.93, "no mark known", transform=axes.transAxes, ha="right", fontsize=8, color="#666666")
        return
    age = min((v.age_years for v in one.vintages), default=NO_VINTAGE)
    prices = [mark.value / 1000 for mark in one.marks]
    fill = "white" if one.newest.stale else "black"
    axes.plot([age] * len(prices), prices, "D", color="black", markerfacecolor=fill, markersize=5, label="marks")
    newest = one.newest.mark
    axes.annotate(
        f"{newest.value / 1000:,.1f}k on {newest.as_of}{' (too old)' if one.newest.stale else ''}",
        (age, prices[-1]), (6, 4), textcoords="offset points", fontsize=7.5,
    )  # fmt: skip
