"""The past of one borrower as a picture: liquidity with its range and its line, the price below, events numbered."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from monitor.charts import GREY, MAIN, SECOND, Stamp, short
from monitor.framing import framed
from monitor.markup import clean
from monitor.model import FloatArray
from monitor.past import DAY, SPAN, Past

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: covers beyond this say no more than "plenty": the axis ends here unless everything lies above
PLENTY = 4.0
#: days drawn after the last, so that what changed then is seen
AFTER = 2.0


def draw_past(past: Past, source: str) -> bytes:
    """One PNG; what is unknown is a gap and the caption says why."""
    stamp = Stamp(past.at, past.recorded, source)
    title = f"{clean(past.name, 80)}: the past {SPAN.days} days"
    return framed(title, stamp, (9.0, 4.6), lambda figure: _fill(figure, past), _caption(past, source))


def _fill(figure: Figure, past: Past) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    top, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1.6)})
    end = float(date2num(past.at))  # type: ignore[no-untyped-call]
    _drawn(top, end, past)
    _price(below, end, past)
    _events((top, below), [end - (past.at - day) / DAY for day, _ in past.events])
    below.set_xlim(end - SPAN / DAY, end + AFTER)
    locator = AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _numbers(values: Sequence[float | None]) -> FloatArray:
    """Unknown as a gap, unlimited as beyond any axis; the last once more, to be seen at the end."""
    return np.array([math.nan if v is None else min(max(v, -1e6), 1e6) for v in (*values, values[-1])])


def _days(end: float, days: Sequence[datetime], past: Past) -> FloatArray:
    """Days as the axis counts them, and a little after the last."""
    return np.array([*(end - (past.at - day) / DAY for day in days), end + AFTER])


def _drawn(axes: Axes, end: float, past: Past) -> None:
    """The number with its range, and the line that counts."""
    middle = _numbers([one.value for one in past.liquidity])
    low = _numbers([one.value if one.low is None else one.low for one in past.liquidity])
    high = _numbers([one.value if one.high is None else one.high for one in past.liquidity])
    days = _days(end, past.days, past)
    axes.set_title(past.what, loc="left", fontsize=9)
    axes.grid(alpha=0.3)
    if not np.isfinite(middle).any():
        axes.set_facecolor("#EEEEEE")
        axes.text(0.5, 0.5, "unknown on all of these days", transform=axes.transAxes, ha="center", va="center")
        axes.set_yticks([])
        return
    ranged = bool(np.any(low != high, where=np.isfinite(middle)))
    if ranged:
        axes.fill_between(days, low, high, step="post", color=MAIN, alpha=0.2, linewidth=0, label="low to high")
    label = "middle of the assumptions" if ranged else None
    axes.plot(days, middle, color=MAIN, linewidth=2, marker="o", markersize=3 if len(days) < 40 else 0,
              drawstyle="steps-post", label=label)  # fmt: skip
    line = _numbers(past.line) if past.line else np.full(len(days), 1.0)
    if np.isfinite(line).any():
        shown = clean(past.line_label, 70)
        axes.plot(days, line, color="black", linewidth=1.2, linestyle="--", drawstyle="steps-post", label=shown)
    axes.set_ylim(*(_liquidity_ends(middle, low, high) if not past.line else _ends(np.concatenate((low, high, line)))))
    axes.yaxis.set_major_formatter(lambda value, _: short(value, past.unit))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=8, frameon=False, borderaxespad=0.2)


def _liquidity_ends(middle: FloatArray, low: FloatArray, high: FloatArray) -> tuple[float, float]:
    """From nothing, or what is owed, to plenty; further only where everything lies above."""
    least, most = min(0.0, float(np.nanmin(low))), float(np.nanmax(high))
    ceiling = most * 1.1 if float(np.nanmin(middle)) > PLENTY else min(most * 1.1, PLENTY)
    return max(least * 1.1, -PLENTY), max(ceiling, 1.3)


def _ends(values: FloatArray) -> tuple[float, float]:
    """Everything that is drawn with room around it: a line and a number near each other are told apart."""
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.15 * (most - least) or 0.1 * abs(most) or 1.0
    return (0.0 if 0 <= least < 0.3 * most else least - room), most + room


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
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 100 or not value else f"{value:.2f}")


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
    # of one gap, each day has its own words for how old the last value was
    plain = (re.sub(r" is \d+ \w+ old \(limit", " is too old (limit", reason) for reason in first)
    reasons = dict.fromkeys(re.sub(r" \(or not before [\d-]+\)", " by then", reason) for reason in plain)
    texts += [clean(past.note, 200)] if past.note else []
    texts += [f"unknown where there is a gap: {clean(reason, 160)}" for reason in list(reasons)[:2]]
    texts.append("at each day as the book and the prices were known then; all assumptions low to high")
    texts.append(f"as of {past.at:%Y-%m-%d %H:%M} UTC; source: {clean(source, 200)}")
    return texts
