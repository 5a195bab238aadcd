"""The past of one borrower as a picture: liquidity with its range and its line, the price below, events numbered."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from monitor.charts import GREY, MAIN, SECOND, short
from monitor.markup import clean
from monitor.model import FloatArray
from monitor.past import DAY, SPAN, Past

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: covers beyond this say no more than "plenty": the axis ends here unless everything lies above
PLENTY = 4.0
DPI = 110
#: days drawn after the last, so that what changed then is seen
AFTER = 2.0
WIDE = 150


def draw_past(past: Past, source: str) -> bytes:
    """One PNG; what is unknown is a gap and the caption says why."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure

    lines = _caption(past, source)
    foot = 0.25 + 0.17 * len(lines)
    height = 4.9 + foot
    figure = Figure(figsize=(9.0, height), dpi=DPI)
    FigureCanvasAgg(figure)
    top, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1.6)})
    figure.subplots_adjust(left=0.085, right=0.98, top=1 - 0.85 / height, bottom=(foot + 0.35) / height, hspace=0.2)
    end = float(date2num(past.at))  # type: ignore[no-untyped-call]
    _liquidity(top, end, past)
    _price(below, end, past)
    _events((top, below), [end - (past.at - day) / DAY for day, _ in past.events])
    below.set_xlim(end - SPAN / DAY, end + AFTER)
    locator = AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    title = clean(f"{past.name}: the past {SPAN.days} days", 110)
    figure.text(0.012, 1 - 0.14 / height, title, va="top", fontsize=13, weight="bold", parse_math=False)
    box = {"facecolor": "#F7D448", "edgecolor": "none", "pad": 2.5}
    said = f"RECORDED {past.recorded}: recorded prices of that day, not today's" if past.recorded else ""
    figure.text(0.014, 1 - 0.44 / height, said or f"as of {past.at:%Y-%m-%d %H:%M} UTC", va="top", fontsize=8.5,
                bbox=box if said else None)  # fmt: skip
    figure.text(0.012, 0.1 / height, "\n".join(lines), va="bottom", fontsize=7.5, color="#444444", linespacing=1.35,
                parse_math=False)  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _numbers(values: Sequence[float | None]) -> FloatArray:
    """Unknown as a gap, unlimited as beyond any axis; the last once more, to be seen at the end."""
    return np.array([math.nan if v is None else min(max(v, -1e6), 1e6) for v in (*values, values[-1])])


def _days(end: float, days: Sequence[datetime], past: Past) -> FloatArray:
    """Days as the axis counts them, and a little after the last."""
    return np.array([*(end - (past.at - day) / DAY for day in days), end + AFTER])


def _liquidity(axes: Axes, end: float, past: Past) -> None:
    middle = _numbers([one.value for one in past.liquidity])
    low = _numbers([one.value if one.low is None else one.low for one in past.liquidity])
    high = _numbers([one.value if one.high is None else one.high for one in past.liquidity])
    days = _days(end, past.days, past)
    axes.set_title("liquidity over 12 months", loc="left", fontsize=9)
    axes.grid(alpha=0.3)
    known = np.isfinite(middle)
    if not known.any():
        axes.set_facecolor("#EEEEEE")
        axes.text(0.5, 0.5, "unknown on all of these days", transform=axes.transAxes, ha="center", va="center")
        axes.set_yticks([])
        return
    axes.fill_between(days, low, high, step="post", color=MAIN, alpha=0.2, linewidth=0, label="low to high")
    axes.plot(days, middle, color=MAIN, linewidth=2, marker="o", markersize=3, drawstyle="steps-post",
              label="middle of the assumptions")  # fmt: skip
    axes.axhline(1.0, color="black", linewidth=1.2, linestyle="--", label="1.00x: means equal what falls due")
    least, most = min(0.0, float(np.nanmin(low))), float(np.nanmax(high))
    ceiling = most * 1.1 if float(np.nanmin(middle)) > PLENTY else min(most * 1.1, PLENTY)
    axes.set_ylim(max(least * 1.1, -PLENTY), max(ceiling, 1.3))
    axes.yaxis.set_major_formatter(lambda value, _: short(value, "x"))
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=8, frameon=False, borderaxespad=0.2)


def _price(axes: Axes, end: float, past: Past) -> None:
    values = _numbers(past.price)
    axes.set_title(past.price_label, loc="left", fontsize=9)
    axes.grid(alpha=0.3)
    if not np.isfinite(values).any():
        axes.set_facecolor("#EEEEEE")
        axes.text(0.5, 0.5, "unknown on all of these days", transform=axes.transAxes, ha="center", va="center")
        axes.set_yticks([])
        return
    days = np.append(end - np.arange(len(past.price) - 1, -1, -1.0), end + AFTER)
    axes.plot(days, values, color=SECOND, linewidth=2, drawstyle="steps-post")
    axes.set_ylim(0, float(np.nanmax(values)) * 1.15)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 100 else f"{value:.2f}")


def _events(panels: Sequence[Axes], days: Sequence[float]) -> None:
    """A thin line at each event and its number; the caption has the words. Those of one day stand below each other."""
    for i, day in enumerate(days):
        for axes in panels:
            axes.axvline(day, color=GREY, linewidth=0.9, zorder=0)
        height = 0.97 - 0.09 * sum(abs(other - day) < 2 for other in days[:i])
        bubble = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": GREY}
        place = ("data", "axes fraction")
        panels[0].annotate(str(i + 1), (day, height), xycoords=place, ha="center", va="top", fontsize=8, bbox=bubble)


def _caption(past: Past, source: str) -> list[str]:
    said = [f"({i}) {day:%Y-%m-%d} {clean(words, 90)}" for i, (day, words) in enumerate(past.events, 1)]
    texts = ["; ".join(said)] if said else ["no alert fired or ended in these days"]
    first = (one.reason.split("; ")[0] for one in past.liquidity if one.value is None)
    reasons = dict.fromkeys(re.sub(r" \(or not before [\d-]+\)", " by then", reason) for reason in first)
    texts += [f"unknown where there is a gap: {clean(reason, 160)}" for reason in list(reasons)[:2]]
    texts.append("at each day as the book and the prices were known then; all assumptions low to high")
    texts.append(f"as of {past.at:%Y-%m-%d %H:%M} UTC; source: {clean(source, 200)}")
    return [line for text in texts for line in textwrap.wrap(text, WIDE)]
