"""Credit and technology on one clock, as a picture; matplotlib is loaded only when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from monitor.charts import GREY, MAIN, SECOND, Stamp
from monitor.framing import framed
from monitor.model import Numbers, Quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: metric -> its word and how it is drawn: different in line and lightness, not only in hue
VOLUME = {
    "sector_debt_usd": ("debt known", MAIN, "-"),
    "issuance_12m_usd": ("issued in a year", SECOND, "-"),
    "issuance_12m_convertible_usd": ("of it convertible", SECOND, ":"),
}
PRICE = {"hy_spread_bp": ("high yield", GREY, "--")}
WORK = {
    "rent_h100_index_usd": ("H100 rent", MAIN, "-"),
    "resale_h100_usd": ("used H100", SECOND, "--"),
    "tokens_output_index_usd": ("tokens", "#333333", ":"),
}
Styles = dict[str, tuple[str, str, str]]


class Series(Protocol):
    """What is drawn: values by name at moments."""

    @property
    def times(self) -> tuple[datetime, ...]:
        """The moments."""

    @property
    def values(self) -> Mapping[str, tuple[float, ...]]:
        """Name -> a value or NaN at each."""

    @property
    def newest(self) -> Numbers:
        """The numbers at the last moment, with the prices behind them."""

    @property
    def spreads(self) -> tuple[tuple[datetime, float], ...]:
        """(day, bp) of new loans of equal rating."""

    @property
    def recorded(self) -> date | None:
        """The day of the newest prices where they are recorded ones."""


TITLE = "Credit and technology on one clock"
NOTES = ("each number as it was known at the time; a ring is its highest",)


def draw_cycle(found: Series, path: Path) -> None:
    """Three panels over one axis of time: how much is borrowed, at what price, what machines fetch. Writes a PNG."""
    stamp = Stamp(found.times[-1], found.recorded, "; ".join(_sources(found)), _oldest_s(found), NOTES)
    path.write_bytes(framed(TITLE, stamp, (9.0, 6.6), lambda figure: _fill(figure, found)))


def _fill(figure: Figure, found: Series) -> None:
    volume, price, work = figure.subplots(3, 1, sharex=True)
    _lines(volume, found, VOLUME, 1e-9, "credit, bn USD")
    _lines(price, found, PRICE, 1.0, "credit, bp over the base rate")
    _loans(price, found)
    _lines(work, found, WORK, None, "technology, first known = 100")
    margin = (found.times[-1] - found.times[0]) / 50
    work.set_xlim(found.times[0] - margin, found.times[-1] + margin)


def _drawn(found: Series) -> list[Quote]:
    """The prices behind the lines, as they are now."""
    quotes = (found.newest.quotes.get((name, "market")) for name in (*PRICE, *WORK))
    return [quote for quote in quotes if quote is not None and quote.known]


def _sources(found: Series) -> tuple[str, ...]:
    return tuple(dict.fromkeys(("filings and loans in the book", *(quote.source for quote in _drawn(found)))))


def _oldest_s(found: Series) -> float | None:
    """How old the oldest of these prices is."""
    ages = [(found.times[-1] - one.observed_at).total_seconds() for one in _drawn(found) if one.observed_at]
    return max(ages, default=None)


def _lines(axes: Axes, found: Series, styles: Styles, scale: float | None, label: str) -> None:
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    unknown = []
    for name, (word, colour, line) in styles.items():
        values = np.array(found.values.get(name, ()), float)
        if not np.isfinite(values).any():
            unknown.append(word)
            continue
        shown = values * (scale if scale is not None else 100 / values[np.isfinite(values)][0])
        axes.plot(np.array(found.times), shown, color=colour, linestyle=line, marker=".", linewidth=1.6, label=word)
        top = int(np.nanargmax(shown))
        axes.plot(
            np.array(found.times[top : top + 1]),
            shown[top : top + 1],
            "o",
            markersize=10,
            markerfacecolor="none",
            color=colour,
        )
    _said(axes, unknown)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best", fontsize=8, frameon=False)


def _loans(axes: Axes, found: Series) -> None:
    """New loans of equal rating, each on its own day."""
    if found.spreads:
        days, margins = zip(*found.spreads, strict=True)
        axes.plot(np.array(days), list(margins), color=MAIN, marker="D", linewidth=1.6, label="new loans, equal rating")
        axes.legend(loc="best", fontsize=8, frameon=False)


def _said(axes: Axes, unknown: Sequence[str]) -> None:
    if unknown:
        text = f"not known: {', '.join(unknown)}"
        axes.text(0.01, 0.04, text, transform=axes.transAxes, ha="left", fontsize=8, color="#666666")
