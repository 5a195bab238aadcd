"""The timeline of a replay as a picture; matplotlib is loaded only when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.framing import framed
from monitor.model import end_of_day
from monitor.panels import Stamp
from monitor.replay import ReplayResult
from monitor.replay_score import ORDER, blind_spans, outcomes_of
from monitor.scoring import ASIDE, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: light and dark as well as orange and indigo: told apart by eyes that see few colours, and in grey
WARNING, CRITICAL, BLIND = "#E69F00", "#332288", "#BBBBBB"
#: a label stays readable on a dark bar
LABEL = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}


def timeline(result: ReplayResult, path: Path, borrowers: Sequence[str] = ()) -> None:
    """Draw bitcoin and, per borrower, when warnings and critical alarms stood, with what happened. Writes a PNG.

    An empty row is a quiet one: where nothing could be told there is a grey line, before its first figure too.
    """
    by_name = {o.borrower: o for o in outcomes_of(result)}
    names = borrowers or sorted(by_name, key=lambda n: (ORDER.index(by_name[n].label), by_name[n].day or date.max, n))

    def draw(figure: Figure) -> None:
        price, rows = figure.subplots(2, 1, sharex=True, height_ratios=(1.4, 0.42 * len(names)))
        price.plot(list(result.times), result.panel["btc_usd"], color="black", linewidth=1)
        price.set_ylabel("bitcoin, USD")
        price.yaxis.set_major_formatter("{x:,.0f}")
        price.grid(alpha=0.3)
        for y, name in enumerate(names):
            _row(rows, result, by_name[name], y)
        rows.set_yticks(range(len(names)), [f"{n}  ({by_name[n].label})" for n in names])
        rows.set_ylim(len(names) - 0.4, -0.6)
        rows.set_xlabel("day, UTC")
        rows.grid(axis="x", alpha=0.3)
        _legend(price)

    stamp = Stamp(result.end, None, "the book's dated filings and press, recorded closes of bitcoin")
    caption = (
        f"evaluated at {len(result.times):,} moments from {result.start:%Y-%m-%d} to {result.end:%Y-%m-%d} UTC, each "
        "with what was public by then; an empty row is a quiet one",
        f"source: {stamp.source}",
    )
    title = "What Canary would have said, knowing only what was known"
    path.write_bytes(framed(title, stamp, (11, 2.2 + 0.42 * len(names)), draw, caption))


def _row(axes: Axes, result: ReplayResult, outcome: Outcome, y: int) -> None:
    """One borrower: its alarms, the signs before, and what happened."""
    _bars(axes, result, outcome.borrower, y)
    for day, _ in outcome.signs:
        at = _x(day)
        axes.plot([at], [y], "o", markerfacecolor="white", markeredgecolor="black", markersize=6)
    if outcome.day is not None:
        at = _x(outcome.day)
        axes.plot([at], [y], "D", color="black", markersize=6)
        text = outcome.kind.replace("_", " ")
        axes.annotate(text, (at, y), (7, 5), textcoords="offset points", size=7, bbox=LABEL)


def _x(day: date) -> float:
    """Where a day stands on the axis of days."""
    from matplotlib.dates import date2num

    return float(date2num(end_of_day(day)))  # type: ignore[no-untyped-call]


def _bars(axes: Axes, result: ReplayResult, name: str, y: int) -> None:
    """Critical thick and dark, warnings thin and light, blindness a grey line, so that none hides another."""
    spans = [(0.08, BLIND, start, end) for start, end in blind_spans(result)[name]]
    for height, colour, severity in ((0.34, WARNING, "warning"), (0.62, CRITICAL, "critical")):
        own = [e for e in result.episodes if e.borrower == name and e.severity == severity and e.rule not in ASIDE]
        spans += [(height, colour, e.began, e.ended) for e in own]
    for height, colour, start, ended in spans:
        if (end := ended or result.end) > start:
            axes.barh(y, (end - start) / timedelta(days=1), left=start, height=height, color=colour)  # type: ignore[arg-type]


def _legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    axes.legend(
        handles=[
            Patch(color=CRITICAL, label="critical"),
            Patch(color=WARNING, label="warning"),
            Patch(color=BLIND, label="too little known"),
            Line2D([], [], marker="D", color="black", linestyle="", label="what happened"),
            Line2D([], [], marker="o", markerfacecolor="white", color="black", linestyle="", label="a sign before"),
        ],
        ncols=5,
        fontsize=8,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.2,
        frameon=False,
    )
