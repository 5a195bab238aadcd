"""The known past of a number as step functions: a value holds until the next one, never interpolated. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.known import KnownBook, KnownBorrower, as_number
from monitor.model import BoolArray, FloatArray, StepTable, end_of_day


@dataclass(frozen=True)
class Steps:
    """Per subject the moments a number changed (epoch seconds, ascending) and the value in force from each; NaN is
    unknown, and before the first change nothing is known (:class:`monitor.model.StepTable`).

    >>> past = Steps("usd", ([0.0, 10.0], []), ([1.0, 2.0], []))
    >>> [array.tolist() for array in past.at(10.0)]
    [[2.0, nan], [True, False]]
    >>> [array.tolist() for array in past.window(0, 5.0, 20.0)]
    [[5.0, 10.0], [1.0, 2.0]]
    """

    unit: str
    times: tuple[Sequence[float] | FloatArray, ...]
    values: tuple[Sequence[float] | FloatArray, ...]

    def at(self, when_s: float) -> tuple[FloatArray, BoolArray]:
        """Values in force at a moment (epoch seconds): (values (n,), known (n,))."""
        values = np.array([self._at(i, when_s) for i in range(len(self.times))], dtype=np.float64)
        return values, ~np.isnan(values)

    def window(self, subject: int, from_s: float, to_s: float) -> tuple[FloatArray, FloatArray]:
        """The value in force at ``from_s``, then the changes up to ``to_s``: (times_s, values)."""
        times, values = self.times[subject], self.values[subject]
        start, end = bisect_right(times, from_s), bisect_right(times, to_s)
        return (
            np.array([from_s, *times[start:end]], dtype=np.float64),
            np.array([self._at(subject, from_s), *values[start:end]], dtype=np.float64),
        )

    def _at(self, subject: int, when_s: float) -> float:
        position = bisect_right(self.times[subject], when_s) - 1
        return float(self.values[subject][position]) if position >= 0 else float("nan")


#: metrics whose past is the book's own past, by when it was true, not by when somebody computed it:
#: metric -> figures that are added (all must be known), or the second choice when the first is not reported
FACT_PAST: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "coins_free": (("btc_free",), ("btc_total",)),
    "coins_pledged": (("btc_pledged",),),
    "coins_total": (("btc_free", "btc_lent", "btc_pledged"), ("btc_total",)),
    "debt_usd": (("debt_usd",),),
    "cash_unrestricted_usd": (("cash_unrestricted_usd",),),
}


def fact_steps(book: KnownBook, metric: str, subjects: Sequence[str]) -> StepTable | None:
    """The past of a metric that is a figure of the book, over borrowers; None for any other metric.

    Only what is known at ``book.at`` enters. Where a split of coins was not reported yet the total stands in its place,
    so that a fall of coins is seen across the change of reporting.
    """
    if metric not in FACT_PAST:
        return None
    rows = {borrower.id: borrower for borrower in book.borrowers}
    points = [_points(rows[subject], FACT_PAST[metric]) if subject in rows else ([], []) for subject in subjects]
    return Steps("", tuple(times for times, _ in points), tuple(values for _, values in points))


def _points(borrower: KnownBorrower, choices: tuple[tuple[str, ...], ...]) -> tuple[list[float], list[float]]:
    days = sorted({fact.as_of for fields in choices for name in fields for fact in borrower.past.get(name, ())})
    found: dict[float, float] = {}
    for day in days:
        for fields in choices:
            parts = [next((f for f in borrower.past.get(name, ()) if f.as_of == day), None) for name in fields]
            numbers = [as_number(part) for part in parts]
            if all(number is not None for number in numbers):
                found[end_of_day(day).timestamp()] = float(sum(number for number in numbers if number is not None))
                break
    return list(found), list(found.values())
