"""The timeline of a replay as a picture; matplotlib is loaded only when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.model import end_of_day
from monitor.replay import ReplayResult
from monitor.replay_score import ORDER, blind_spans, outcomes_of
from monitor.scoring import ASIDE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: light and dark as well as orange and indigo: told apart by eyes that see few colours, and in grey
WARNING, CRITICAL, BLIND = "#E69F00", "#332288", "#BBBBBB"
#: a label stays readable on a dark bar
LABEL = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}


def timeline(result: ReplayResult, path: Path, borrowers: Sequence[str] = ()) -> None:
    """Draw bitcoin and, per borrower, when warnings and critical alarms stood, with what happened. Writes a PNG.

    An empty row is a quiet one: where nothing could be told there is a grey line, before its first figure too.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_name = {o.borrower: o for o in outcomes_of(result)}
    names = borrowers or sorted(by_name, key=lambda n: (ORDER.index(by_name[n].label), by_name[n].day or date.max, n))
    figure = Figure(figsize=(11, 2.2 + 0.42 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    price, rows = figure.subplots(2, 1, sharex=True, height_ratios=(1.4, 0.42 * len(names)))
    price.plot(list(result.times), result.panel["btc_usd"], color="black", linewidth=1)
    price.set_ylabel("BTC, USD")
    price.grid(alpha=0.3)
    for y, name in enumerate(names):
        _bars(rows, result, name, y)
        for day, _ in by_name[name].signs:
            rows.plot([end_of_day(day)], [y], "o", markerfacecolor="white", markeredgecolor="black", markersize=6)
        day_of, kind = by_name[name].day, by_name[name].kind
        if day_of is not None:
            rows.plot([end_of_day(day_of)], [y], "D", color="black", markersize=6)
            rows.annotate(
                kind.replace("_", " "), (end_of_day(day_of), y), (7, 5), textcoords="offset points", size=7, bbox=LABEL
            )
    rows.set_yticks(range(len(names)), [f"{n}  ({by_name[n].label})" for n in names], fontsize=8)
    rows.set_ylim(len(names) - 0.4, -0.6)
    rows.grid(axis="x", alpha=0.3)
    _legend(rows)
    price.set_title("What Canary would have said, knowing only what was known", loc="left", fontsize=10)
    figure.savefig(path, dpi=130, metadata={"Software": None})


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
        fontsize=7,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.1),
        frameon=False,
    )
