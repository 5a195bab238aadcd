"""Ninety days of a borrower: two of its numbers as they were evaluated, and what fired and ended."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monitor.model import Event, Severity
from monitor.report import draw
from monitor.report.figs import LABELS
from monitor.report.moment import PAST, Moment
from monitor.report.parts import Curve, History, Marked
from monitor.tables import UNKNOWN, show

CURVES = ("coverage", "liquidity_locked_12m")
EVENTS_SHOWN = 12


def history(it: Moment, who: str, b: int) -> History:
    """Coverage and liquidity of ninety days, as they were evaluated, with what fired and ended."""
    start, end = it.at - PAST, it.at
    x = draw.scale(start.timestamp(), end.timestamp(), 0.0, draw.HISTORY[0])
    found = []
    for name in CURVES:
        past = it.store.metric_history(name, [who], since=start)
        times, values = past.window(0, start.timestamp(), end.timestamp()) if past is not None else ((), ())
        found.append((name, [float(t) for t in times], [float(v) for v in values]))
    known = [v for _, _, values in found for v in values if math.isfinite(v)]
    if not known:
        return History(reason="nothing was evaluated in these ninety days, or all of it is unknown")
    highest = min(draw.HIGHEST, max(1.5, max(known) * 1.1))
    y = draw.scale(0.0, highest, draw.HISTORY[1], 0.0)
    curves = tuple(
        Curve(LABELS[name], draw.strokes(times, values, end.timestamp(), x, y), _last(values))
        for name, times, values in found
    )
    mine = [e for e in it.events if e.subject.partition("/")[0] == who and e.kind in ("fired", "resolved")]
    marks = tuple(
        Marked(round(x(e.at.timestamp()), 1), f"{e.at:%Y-%m-%d}", f"{e.rule} {e.kind}", _tone(e)) for e in mine
    )
    return History(curves, marks[:EVENTS_SHOWN], draw.weeks(start, end, x), draw.levels(highest, y), y(1.0))


def _last(values: Sequence[float]) -> str:
    return show(values[-1], "x") if values else UNKNOWN


def _tone(event: Event) -> Severity:
    return event.severity if event.kind == "fired" else "info"
