"""Every number a rule can name, computed from the known book and the prices: now, and under each scenario.

Pure: time comes in as an argument. Adding a metric is one decorated function in one of the ``metrics_*`` files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from monitor import (
    metrics_borrower,
    metrics_cycle,
    metrics_events,
    metrics_facility,
    metrics_market,
    metrics_sources,
    metrics_stress,
)
from monitor.known import KnownBook
from monitor.metrics_base import METRICS, MetricInfo, SourceState, View
from monitor.model import MARKET, Column, Level, Numbers, Quote, StepTable
from monitor.stress.field import MIDDLE, Field
from monitor.stress.scenario import Scenario, apply
from monitor.stress.state import DRAWS, Draws, build_state

#: the files whose decorated functions are the metrics
MODULES = (
    *(metrics_market, metrics_cycle, metrics_borrower, metrics_facility, metrics_events, metrics_stress),
    metrics_sources,
)
#: reasons and notes are for people: the first few say it
MAX_REASONS = 4

__all__ = ["METRICS", "MetricInfo", "SourceState", "View", "compute"]


def compute(
    known: KnownBook,
    quotes: Mapping[tuple[str, str], Quote],
    scenarios: Sequence[Scenario] = (),
    history: Callable[[str], StepTable | None] = lambda name: None,
    at: datetime | None = None,
    costly: bool = True,
    names: Collection[str] | None = None,
    sources: Sequence[SourceState] = (),
    draws: Draws = DRAWS,
) -> Numbers:
    """All metrics at a moment, and the coverage metrics under every scenario.

    Values are the middle of all assumptions; ``low`` and ``high`` are the least and greatest of three corners: all
    middle, all adverse together, all favourable together. Unknown inputs make exactly the numbers that need them
    unknown, with the missing field in ``reasons``. ``at`` is the moment of evaluation, the book's own by default.
    Without ``costly`` the metrics that simulate paths are unknown, with that as the reason. ``names``: only these are
    worked out; the others have no column. ``sources``: how the sources did, the subjects of their own level.
    ``draws``: which paths are simulated.
    """
    now = at or known.at
    state = build_state(replace(known, at=now), quotes, draws)
    base = View(state, history, sources)
    columns = {
        info.name: _column_or_reason(info, base) if costly or not info.costly else _left_out(info, base)
        for info in METRICS.values()
        if names is None or info.name in names
    }
    stressed = [info for info in METRICS.values() if info.stressed and (names is None or info.name in names)]
    under = {}
    for scenario in scenarios:
        view = View(apply(state, scenario), history)
        under[scenario.name] = {info.name: _column_or_reason(info, view) for info in stressed}
    subjects: dict[Level, tuple[str, ...]] = {
        "market": (MARKET,),
        "borrower": state.borrowers,
        "facility": state.facilities,
        "source": tuple(source.subject for source in sources),
    }
    return Numbers(
        at=now,
        subjects=subjects,
        columns=columns,
        scenarios=under,
        quotes=quotes,
        history=history,
        facility_borrower=state.facility_borrower,
    )


def _left_out(info: MetricInfo, view: View) -> Column:
    """A metric nobody asked for this time."""
    return _unknown(info, view, f"{info.name} is not worked out for the days before the first start")


def _column_or_reason(info: MetricInfo, view: View) -> Column:
    """One metric, or why it failed: a figure nobody foresaw must not take every other number down with it."""
    try:
        return column(info, view)
    except (ValueError, ArithmeticError, LookupError) as error:
        return _unknown(info, view, f"{info.name} could not be worked out: {error}")


def _unknown(info: MetricInfo, view: View, reason: str) -> Column:
    count = {"market": 1, "borrower": view.n, "facility": view.nf, "source": len(view.sources)}[info.level]
    why = dict.fromkeys(range(count), reason)
    return Column(info.name, info.level, info.unit, np.full(count, np.nan), np.zeros(count, np.bool_), why)


def column(info: MetricInfo, view: View) -> Column:
    """One metric as a column: middle values, range over the corners, ages, reasons and uses."""
    result: Field = info.compute(view)
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduce(result.values), np.fmax.reduce(result.values)
        age = np.maximum(view.state.at.timestamp() - result.as_of_s, 0.0)
    dated = result.known & np.isfinite(result.as_of_s)
    return Column(
        metric=info.name,
        level=info.level,
        unit=info.unit,
        values=result.values[MIDDLE].copy(),
        known=result.known.copy(),
        reasons={i: _few(texts) for i, texts in result.reasons.items()},
        used={i: texts for i, texts in result.used.items() if result.known[i]},
        low=low,
        high=high,
        age_s=np.where(dated, age, np.nan),
        detail={i: text for i, text in result.detail.items() if text},
    )


def _few(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - MAX_REASONS} more" if len(reasons) > MAX_REASONS else ""
    return "; ".join(reasons[:MAX_REASONS]) + more
