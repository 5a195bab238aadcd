"""One line of what moved a number since yesterday: parts by prices, own figures and time that add to the change. Pure.

"coverage 1.21x -> 1.12x since 2026-09-20: rents -0.06x, bitcoin -0.02x, debt -0.01x". Parts are Shapley values
(:mod:`monitor.stress.causes`); a change of another borrower (a tenant, a lender) is not in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np

from monitor.briefing import day_of
from monitor.context import Context
from monitor.metrics import METRICS, View
from monitor.metrics_base import MetricInfo
from monitor.model import MARKET, FloatArray
from monitor.stress.causes import Measure, Moment, Parts, between
from monitor.stress.field import MIDDLE
from monitor.stress.state import State
from monitor.units import format_usd, format_value

#: messages about more alerts than this name them only
MOST_TOLD = 6
DEFAULT = "coverage"
SINCE = timedelta(days=1)
#: parts beyond these are summed as the rest
MOST_PARTS = 4
Known = Callable[[datetime], Moment]


def tell(contexts: Sequence[Context], known: Known, now: datetime, since: timedelta = SINCE) -> list[Context]:
    """Contexts with what moved their number since a day ago; ``known`` gives book and prices as of a moment."""
    if len(contexts) > MOST_TOLD or all(context.event.subject == MARKET for context in contexts):
        return list(contexts)
    before, after = known(now - since), known(now)
    return [replace(c, moved=line(c.event.subject, [r.name for r in c.readings], before, after)) for c in contexts]


def line(subject: str, names: Sequence[str], before: Moment, after: Moment) -> str:
    """What moved the first of some numbers that has parts, coverage where none has; empty for a market or where the
    book of either moment does not hold the borrower."""
    borrower = subject.partition("/")[0]
    ids = [{row.id for row in moment.book.borrowers} for moment in (before, after)]
    if any(borrower not in known for known in ids):
        return ""
    own = (METRICS[name] for name in names if name in METRICS)
    info = next((one for one in own if one.stressed and one.level != "market"), METRICS[DEFAULT])
    parts = between(before, after, borrower, measure_of(info, subject))
    return words(info, parts, day_of(before.book.at))


def measure_of(info: MetricInfo, subject: str) -> Measure:
    """One number of a subject in a state that holds only its borrower; a facility metric at the facility, or the
    worst one where the subject is the borrower."""

    def measure(state: State) -> FloatArray:
        field = info.compute(View(state))
        values = np.where(field.known, field.values, np.nan)
        if info.level != "facility":
            return np.asarray(values[:, :1])
        if subject in state.facilities:
            return np.asarray(values[:, [state.facilities.index(subject)]])
        known = np.flatnonzero(field.known)
        if not known.size:
            return np.full((3, 1), np.nan)
        pick = np.argmin if info.worst == "min" else np.argmax
        return np.asarray(values[:, [known[int(pick(values[MIDDLE, known]))]]])

    return measure


def words(info: MetricInfo, parts: Parts, since: date) -> str:
    """The line; nothing where the number did not change, and both sides only where it was unknown or unlimited."""
    old, new = float(parts.before[MIDDLE, 0]), float(parts.after[MIDDLE, 0])
    was, now = _value(old, info.unit), _value(new, info.unit)
    if was == now:  # a change that does not show needs no causes
        return ""
    text = f"{info.name} {was} -> {now} since {since.isoformat()}"
    if not parts.known[MIDDLE, 0]:
        return text
    sizes = sorted(((float(p[MIDDLE, 0]), name) for name, p in parts.parts.items()), key=lambda item: -abs(item[0]))
    shown = [(size, name) for size, name in sizes if step(size, info.unit)][:MOST_PARTS]
    rest = new - old - sum(size for size, _ in shown)
    shown += [(rest, "other")] if step(rest, info.unit) else []
    return f"{text}: " + ", ".join(f"{name} {step(size, info.unit)}" for size, name in shown) if shown else text


def _value(value: float, unit: str) -> str:
    return "?" if np.isnan(value) else format_value(value, unit)


def step(change: float, unit: str) -> str:
    """A signed part with its unit; empty where it rounds to nothing.

    >>> step(-0.0612, "x"), step(0.004, "x"), step(0.031, "ratio"), step(-2.5e9, "usd")
    ('-0.06x', '', '+3.1 points', '-2.50bn USD')
    """
    if unit == "usd":
        text = f"{'+' if change >= 0 else '-'}{format_usd(abs(change))} USD"
    elif unit == "ratio":
        text = f"{change * 100:+.1f} points"
    else:
        text = f"{change:+.2f}{'x' if unit == 'x' else f' {unit}'}"
    return text if any(digit in text for digit in "123456789") else ""
