"""The past 90 days of the number a rule is about, with its line: what :mod:`monitor.past` is for liquidity.

Every day is worked out anew from the book and the prices as known then, so it does not depend on how long Canary has
been running here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

from monitor import market, metrics
from monitor.known import as_known, fact_steps
from monitor.model import MARKET, CanaryError, Numbers, StepTable
from monitor.overview import Reading
from monitor.past import DAY, SPAN, Past, around, looking_back
from monitor.pictured import Chosen
from monitor.world import World


def past_of_rule(world: World, subject: str, drawn: Chosen) -> Past:
    """The past of the number a rule compares, of a borrower or the market, with the line that it fires at.

    CanaryError when the number was unknown all the time, or before the first evaluation.
    """
    with looking_back(world) as back:
        days = tuple(back.at - i * DAY for i in range(SPAN // DAY, -1, -1))
        past = _Numbers(world, back.tape, subject)
        for name in drawn.metrics:
            found = tuple(past.reading(name, day) for day in days)
            if any(one.value is not None for one in found):
                mine = replace(drawn, other=name) if drawn.other in drawn.metrics else drawn
                return replace(
                    around(world, back, subject),
                    days=days,
                    liquidity=found,
                    what=f"{name}, {metrics.METRICS[name].unit}".rstrip(", "),
                    unit=metrics.METRICS[name].unit,
                    line=_line(past, mine, days),
                    line_label="where the rule fires",
                    note=f"the rule: {drawn.says}",
                )
    raise CanaryError(f"{' and '.join(drawn.metrics)} of {subject} was unknown in all of the past {SPAN.days} days")


def _line(past: _Numbers, drawn: Chosen, days: Sequence[datetime]) -> tuple[float | None, ...]:
    """Where the rule fires on each day; None where that depends on something unknown then."""
    if not drawn.line:
        return (None,) * len(days)
    found = list[float | None]()
    for day in days:
        then = past.reading(drawn.other, day - timedelta(seconds=drawn.span_s)).value if drawn.other else 0.0
        found.append(None if then is None else drawn.factor * then + drawn.add)
    return tuple(found)


class _Numbers:
    """Single numbers of one subject at moments of the past, each moment worked out once for each number.

    A number of a borrower stands on nobody else's figures, so only its own are read.
    """

    def __init__(self, world: World, tape: market.Tape, subject: str) -> None:
        mine = tuple(borrower for borrower in world.book.borrowers if borrower.id == subject)
        self.subject, self.tape = subject, tape
        self.book = replace(world.book, borrowers=mine) if mine else world.book
        self.numbers = cache(self._numbers)

    def reading(self, name: str, at: datetime) -> Reading:
        """One number of a borrower, its worst facility or the market, at a moment."""
        numbers = self.numbers(name, at)
        column, info = numbers.columns[name], metrics.METRICS[name]
        of = MARKET if info.level == MARKET else self.subject
        mine = [i for i, who in enumerate(numbers.subjects[info.level]) if who == of or who.startswith(f"{of}/")]
        known = [i for i in mine if not math.isnan(column.values[i])]
        if not known:
            reasons = [column.reasons[i] for i in mine if i in column.reasons]
            return Reading(None, info.unit, reason=reasons[0] if reasons else "unknown")
        worst = (min if info.worst == "min" else max)(known, key=lambda i: float(column.values[i]))
        low, high = (None if ends is None else float(ends[worst]) for ends in (column.low, column.high))
        return Reading(float(column.values[worst]), info.unit, low, high)

    def _numbers(self, name: str, at: datetime) -> Numbers:
        book = as_known(self.book, at)
        ids = tuple(sorted(borrower.id for borrower in book.borrowers))
        prices = cache(lambda: self.tape.history(at, ids))

        def history(asked: str) -> StepTable | None:
            return prices().get(asked) or fact_steps(book, asked, ids)

        return metrics.compute(book, self.tape.quotes(at), (), history, at, costly=False, names=(name,))
