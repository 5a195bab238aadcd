"""The known past of a number as step functions: a value holds until the next one, never interpolated. Pure."""

from __future__ import annotations

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

    def _at(self, subject: int, when_s: float) -> float:
        position = bisect_right(self.times[subject], when_s) - 1
        return float(self.values[subject][position]) if position >= 0 else float("nan")
