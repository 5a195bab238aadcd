"""Arrays that know what they do not know: values at three corners, a mask, reasons, what was used, the oldest date.

A :class:`Field` is one quantity over the subjects of a level. Its first axis has three corners: everything assumed at
its middle, everything at its adverse end together, everything at its favourable end together. Low and high of a result
are the least and the greatest of the three, so a range says what happens when all assumptions err the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from monitor.model import BoolArray, FloatArray

#: positions on the first axis of every :class:`Field`
MIDDLE, ADVERSE, FAVOURABLE = 0, 1, 2
NAN = float("nan")
T = TypeVar("T")
INF = float("inf")


@dataclass(frozen=True, slots=True)
class Value:
    """One quantity of one subject: three corners, or the reasons why there is none.

    >>> Value.exact(3.0).corners, Value.unknown("x was never reported").known
    ((3.0, 3.0, 3.0), False)
    """

    corners: tuple[float, float, float]
    reasons: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    #: epoch seconds of the oldest dated input; infinity when nothing dated entered
    as_of_s: float = INF
    detail: str = ""

    @staticmethod
    def exact(value: float, as_of_s: float = INF, used: tuple[str, ...] = (), detail: str = "") -> Value:
        """A figure without a range."""
        return Value((value, value, value), (), used, as_of_s, detail)

    @staticmethod
    def unknown(*reasons: str) -> Value:
        """No figure, and why."""
        return Value((NAN, NAN, NAN), reasons)

    @property
    def known(self) -> bool:
        return not self.reasons

    @property
    def middle(self) -> float:
        return self.corners[MIDDLE]

    def noting(self, used: str = "", detail: str = "") -> Value:
        """The same value with one more thing said about it."""
        more = (*self.used, used) if used else self.used
        return replace(self, used=more, detail=_join(self.detail, detail))


def combine(compute: Callable[..., float], *values: Value, detail: str = "") -> Value:
    """Apply a function corner by corner; unknown as soon as one input is, with every reason kept.

    >>> combine(lambda a, b: a + b, Value.exact(1.0), Value((2.0, 1.0, 3.0))).corners
    (3.0, 2.0, 4.0)
    """
    for value in values:
        if value.reasons:
            return Value.unknown(*unique(reason for each in values for reason in each.reasons))
    middle, adverse, favourable = map(compute, *[value.corners for value in values])
    used: tuple[str, ...] = ()
    as_of, details = INF, list[str]()
    for value in values:  # written out: this is called some thousand times an evaluation
        if value.used:
            used = value.used if not used else unique((*used, *value.used))
        if value.as_of_s < as_of:
            as_of = value.as_of_s
        if value.detail:
            details.append(value.detail)
    return Value((middle, adverse, favourable), (), used, as_of, detail or (_join(*details) if details else ""))


def total(values: Sequence[Value]) -> Value:
    """The sum; zero for an empty sequence, unknown if one part is unknown."""
    return combine(lambda *parts: float(sum(parts)), *values) if values else Value.exact(0.0)


def unique(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels in order, each once."""
    return tuple(dict.fromkeys(labels))


def _join(*texts: str) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


Notes = Mapping[int, tuple[str, ...]]


@dataclass(frozen=True)
class Field:
    """One quantity over n subjects. ``values`` (3, n), corners first; NaN exactly where ``known`` (n,) is False.

    >>> debt = Field.of([Value.exact(10.0), Value.unknown("debt_usd was never reported")])
    >>> net = debt - Field.exact([4.0, 1.0])
    >>> float(net.values[0, 0]), net.known.tolist(), net.reasons
    (6.0, [True, False], {1: ('debt_usd was never reported',)})
    """

    values: FloatArray
    known: BoolArray
    reasons: Notes = field(default_factory=dict)
    used: Notes = field(default_factory=dict)
    #: (n,) epoch seconds of the oldest dated input, infinity when nothing dated entered
    as_of_s: FloatArray = field(default_factory=lambda: np.zeros(0))
    detail: Mapping[int, str] = field(default_factory=dict)

    @staticmethod
    def of(values: Sequence[Value]) -> Field:
        """Stack the values of the subjects, in their order."""
        return Field(
            np.array([value.corners for value in values], dtype=np.float64).reshape(len(values), 3).T.copy(),
            np.array([value.known for value in values], dtype=np.bool_),
            {i: value.reasons for i, value in enumerate(values) if value.reasons},
            {i: value.used for i, value in enumerate(values) if value.used},
            np.array([value.as_of_s for value in values], dtype=np.float64),
            {i: value.detail for i, value in enumerate(values) if value.detail},
        )

    @staticmethod
    def exact(values: Sequence[float] | FloatArray) -> Field:
        """Known figures without range, date or note."""
        row = np.asarray(values, dtype=np.float64)
        return Field(np.tile(row, (3, 1)), np.ones(len(row), np.bool_), {}, {}, np.full(len(row), INF))

    def __len__(self) -> int:
        return len(self.known)

    @cached_property
    def _columns(self) -> list[list[float]]:
        """The values subject by subject; most are read one by one, and thousands of times an evaluation."""
        columns: list[list[float]] = self.values.T.tolist()
        return columns

    def at(self, i: int) -> Value:
        """The value of one subject."""
        middle, adverse, favourable = self._columns[i]
        return Value(
            (middle, adverse, favourable),
            self.reasons.get(i, ()),
            self.used.get(i, ()),
            float(self.as_of_s[i]),
            self.detail.get(i, ""),
        )

    def __add__(self, other: Field | float) -> Field:
        return lift(np.add, self, other)

    def __sub__(self, other: Field | float) -> Field:
        return lift(np.subtract, self, other)

    def __mul__(self, other: Field | float) -> Field:
        return lift(np.multiply, self, other)

    def __truediv__(self, other: Field | float) -> Field:
        return lift(divide, self, other)

    def map(self, compute: Callable[[FloatArray], FloatArray]) -> Field:
        """Apply a function of the values alone."""
        return lift(compute, self)

    def take(self, index: NDArray[np.int64]) -> Field:
        """The field re-read at an index: borrower values for each facility."""

        def moved(notes: Mapping[int, T]) -> dict[int, T]:
            return {i: notes[int(j)] for i, j in enumerate(index) if int(j) in notes} if notes else {}

        return Field(
            self.values[:, index],
            self.known[index],
            moved(self.reasons),
            moved(self.used),
            self.as_of_s[index],
            moved(self.detail),
        )

    def sum_by(self, index: NDArray[np.int64], n: int) -> Field:
        """Sum over groups: facility values for each borrower; an unknown part makes its group unknown."""
        values = np.zeros((3, n))
        with np.errstate(invalid="ignore"):
            for corner in range(3):
                np.add.at(values[corner], index, self.values[corner])
        known, as_of = np.ones(n, np.bool_), np.full(n, INF)
        np.logical_and.at(known, index, self.known)
        np.minimum.at(as_of, index, self.as_of_s)
        reasons, used = _regroup(self.reasons, index), _regroup(self.used, index)
        details = {i: _join(*texts) for i, texts in _regroup({i: (t,) for i, t in self.detail.items()}, index).items()}
        return Field(np.where(known, values, NAN), known, reasons, used, as_of, details)

    def noting(self, label: str) -> Field:
        """The same field with one more thing used, everywhere."""
        return replace(self, used={i: unique((*self.used.get(i, ()), label)) for i in range(len(self))})

    def where(self, keep: BoolArray, reason: str) -> Field:
        """Known only where ``keep``; elsewhere unknown for this reason."""
        return choose(keep, self, Field.of([Value.unknown(reason)] * len(self)))

    def with_detail(self, detail: Mapping[int, str]) -> Field:
        """The same field with notes for messages in place of what it had."""
        return replace(self, detail=dict(detail))


def divide(above: FloatArray, below: FloatArray) -> FloatArray:
    """A cover ratio: nothing to cover is infinite cover, and 0/0 owes nothing.

    >>> divide(np.array([1.0, 0.0, -1.0, 3.0]), np.array([0.0, 0.0, 0.0, 2.0])).tolist()
    [inf, inf, -inf, 1.5]
    """
    zero = np.asarray(below) == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(above) / np.where(zero, 1.0, below)
    return np.where(zero, np.where(np.asarray(above) < 0, -INF, INF), ratio)


def loan_to_value(loan: FloatArray, value: FloatArray) -> FloatArray:
    """Loan over collateral: no loan is 0 whatever the collateral, a loan on nothing is infinite.

    >>> loan_to_value(np.array([0.0, 2.0, 1.0]), np.array([0.0, 0.0, 4.0])).tolist()
    [0.0, inf, 0.25]
    """
    nothing = np.asarray(value) <= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(loan) / np.where(nothing, 1.0, value)
    return np.where(np.asarray(loan) == 0, 0.0, np.where(nothing, INF, ratio))


def lift(compute: Callable[..., FloatArray], *inputs: Field | float) -> Field:
    """Apply an array function to the values; masks, reasons, uses, dates and details of all inputs are joined."""
    fields = [item for item in inputs if isinstance(item, Field)]
    known = np.logical_and.reduce([item.known for item in fields])
    with np.errstate(invalid="ignore"):
        values = compute(*(item.values if isinstance(item, Field) else item for item in inputs))
    reasons = _merge([item.reasons for item in fields])
    bad = known & np.isnan(values[MIDDLE])
    if bad.any():
        known = known & ~bad
        reasons |= {
            int(i): ("the arithmetic has no result (unlimited against unlimited)",) for i in np.flatnonzero(bad)
        }
    details = _merge([{i: (text,) for i, text in item.detail.items()} for item in fields])
    return Field(
        np.where(known, values, NAN),
        known,
        {i: texts for i, texts in reasons.items() if not known[i]},
        _merge([item.used for item in fields]),
        np.minimum.reduce([item.as_of_s for item in fields]),
        {i: _join(*texts) for i, texts in details.items()},
    )


def _merge(notes: Sequence[Notes]) -> dict[int, tuple[str, ...]]:
    merged: dict[int, tuple[str, ...]] = {}
    for note in notes:
        for i, texts in note.items():
            merged[i] = unique((*merged[i], *texts)) if i in merged else texts
    return merged


def _regroup(notes: Notes, index: NDArray[np.int64]) -> dict[int, tuple[str, ...]]:
    grouped: dict[int, tuple[str, ...]] = {}
    for i, texts in notes.items():
        group = int(index[i])
        grouped[group] = unique((*grouped.get(group, ()), *texts))
    return grouped


def choose(condition: BoolArray, yes: Field, no: Field) -> Field:
    """Subject by subject one field or the other, with its own mask, reasons and notes."""

    def pick(first: Mapping[int, T], second: Mapping[int, T]) -> dict[int, T]:
        kept = {i: item for i, item in first.items() if condition[i]}
        return kept | {i: item for i, item in second.items() if not condition[i]}

    return Field(
        np.where(condition, yes.values, no.values),
        np.where(condition, yes.known, no.known),
        pick(yes.reasons, no.reasons),
        pick(yes.used, no.used),
        np.where(condition, yes.as_of_s, no.as_of_s),
        pick(yes.detail, no.detail),
    )


def first_known(*fields: Field) -> Field:
    """Per subject the first field that knows; where none does, the reasons of all of them."""
    first, *rest = fields
    for other in rest:
        neither = ~first.known & ~other.known
        reasons = _merge([first.reasons, other.reasons])
        first = choose(first.known | neither, first, other)
        kept = {i: texts for i, texts in first.reasons.items() if not neither[i]}
        first = replace(first, reasons=kept | {int(i): reasons[int(i)] for i in np.flatnonzero(neither)})
    return first


def either(first: Field, second: Field) -> Field:
    """The first where known, else the second where known, else the first one's reasons (what a filer would report)."""
    return choose(first.known | ~second.known, first, second)
