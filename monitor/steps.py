"""The known past of a number as step functions: a value holds until the next one, never interpolated. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitor.model import BoolArray, FloatArray


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

    def other(self, subject: int, value: float, by_s: float) -> tuple[float, float] | None:
        """The last known value before ``by_s`` that differs from ``value`` (NaN: any known one), in the table's unit,
        and until when it was in force, epoch seconds; None where nothing else was ever known.

        >>> Steps("usd", ([0.0, 10.0, 20.0],), ([1.0, 2.0, 3.0],)).other(0, 3.0, 30.0)
        (2.0, 20.0)
        >>> Steps("usd", ([0.0, 10.0, 20.0],), ([1.0, 2.0, 3.0],)).other(0, 4.0, 30.0)
        (3.0, 30.0)
        """
        until_s = by_s
        for time_s, past in reversed(tuple(zip(self.times[subject], self.values[subject], strict=True))):
            if time_s >= by_s:
                continue
            if not math.isnan(past) and not math.isclose(past, value, rel_tol=1e-9):
                return float(past), float(until_s)
            until_s = time_s
        return None

    def _at(self, subject: int, when_s: float) -> float:
        position = bisect_right(self.times[subject], when_s) - 1
        return float(self.values[subject][position]) if position >= 0 else float("nan")
