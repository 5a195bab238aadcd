"""What an expression works on: numbers that may be unknown, conditions that may be undecided, and units.

Inside, an unknown number is NaN, and a comparison is computed as a pair (is it true, is it false): with NaN on either
side both come out False, which is exactly Kleene's third value. No NaN leaves an evaluation without a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.model import BoolArray, FloatArray, Level
from monitor.units import SUFFIXES

Worst = Literal["min", "max"]
#: says why the value of one subject is unknown: one short sentence per cause
Why = Callable[[int], tuple[str, ...]]
Index = NDArray[np.int64]


class Named(Protocol):
    """What an expression needs to know about a metric name."""

    @property
    def level(self) -> Level: ...
    @property
    def unit(self) -> str: ...
    @property
    def worst(self) -> str: ...


@dataclass(frozen=True, slots=True)
class NameInfo:
    """One metric name: the level it is counted at, its unit, and which end of it is the worse one."""

    level: Level
    unit: str
    worst: Worst = "max"


def worse_end(info: Named) -> Worst:
    """Which end of a metric is the worse one; the highest where nobody said."""
    return "min" if info.worst == "min" else "max"


# ---------------------------------------------------------------- units
class Unit(NamedTuple):
    """A dimension and the size of one unit of it: bp is (ratio, 1e-4), days is (time, 86400)."""

    kind: str
    scale: float
    label: str = ""


PLAIN = Unit("plain", 1.0)
ANY = Unit("any", 1.0)
COUNT = Unit("count", 1.0, "count")
RATIO = Unit("ratio", 1.0, "ratio")
SECONDS = Unit("time", 1.0, "s")
HOURS = Unit("time", 3600.0, "hours")
_UNITS = {
    "ratio": RATIO,
    "x": Unit("ratio", 1.0, "x"),
    "bp": Unit("ratio", 1e-4, "bp"),
    "points": Unit("ratio", 1e-2, "points"),
    "s": SECONDS,
    "hours": HOURS,
    "days": Unit("time", 86400.0, "days"),
    "months": Unit("time", SUFFIXES["mo"][0], "months"),
    "number": COUNT,
    "count": COUNT,
    "": COUNT,
}


def unit_of(text: str) -> Unit:
    """The dimension of a metric's unit; a unit nobody listed is a dimension of its own.

    >>> unit_of("bp"), unit_of("usd/gpu-hour").kind
    (Unit(kind='ratio', scale=0.0001, label='bp'), 'usd/gpu-hour')
    """
    return _UNITS.get(text) or Unit(text, 1.0, text)


def suffix_unit(suffix: str) -> Unit:
    """The dimension a number's suffix gives it; ``bn`` and its like fit money and counts, not ratios or times.

    >>> suffix_unit("%"), suffix_unit("bn").kind
    (Unit(kind='ratio', scale=0.01, label='%'), 'amount')
    """
    if not suffix:
        return PLAIN
    scale, dimension = SUFFIXES[suffix]
    return Unit("amount" if dimension == "number" else dimension, scale, suffix)


def factor(source: float, target: float) -> tuple[float, float]:
    """From units of size ``source`` to units of size ``target``: (multiply by, divide by), whole where possible.

    >>> factor(1e-4, 1.0), factor(86400.0, 1.0), factor(1e-2, 1e-4)
    ((1.0, 10000.0), (86400.0, 1.0), (100.0, 1.0))
    """
    size = source / target
    whole = size if size >= 1 else 1 / size
    if abs(whole - round(whole)) < 1e-9 * whole:
        whole = float(round(whole))
    return (whole, 1.0) if size >= 1 else (1.0, whole)


# ---------------------------------------------------------------- values
class Num(NamedTuple):
    """Numbers of n subjects (or of one, which stands for all): NaN is unknown, ``why`` says why.

    ``bounds`` are (at least, at most) where only part is known: the worst of two facilities is at least the known one.
    Both equal the value where it is known; NaN where there is no bound.
    """

    values: FloatArray
    why: Why
    bounds: tuple[FloatArray, FloatArray] | None = None

    @property
    def sides(self) -> tuple[FloatArray, FloatArray]:
        """(at least, at most), the value itself where it has no bounds."""
        return self.bounds or (self.values, self.values)

    def each(self, change: Callable[[FloatArray], FloatArray], why: Why | None = None) -> Num:
        """The same change, one that keeps the order of numbers, made to the values and to their bounds."""
        bounds = (change(self.bounds[0]), change(self.bounds[1])) if self.bounds else None
        return Num(change(self.values), why or self.why, bounds)

    def unknown(self, i: int) -> bool:
        return bool(np.isnan(pick(self.values, i)))


class Cond(NamedTuple):
    """Conditions of n subjects (or of one): ``true``, ``false``, or neither, which is undecided."""

    true: BoolArray
    false: BoolArray
    why: Why

    def unknown(self, i: int) -> bool:
        return not (pick(self.true, i) or pick(self.false, i))

    def negated(self) -> Cond:
        """Kleene ``not``: undecided stays undecided."""
        return Cond(self.false, self.true, self.why)


def never(i: int) -> tuple[str, ...]:
    """The reason of what is always known."""
    return ()


def constant(value: float) -> Num:
    """One known number for every subject."""
    return Num(np.array([value]), never)


def pick(array: NDArray[np.generic], i: int) -> np.generic:
    """The element of one subject; an array of one stands for all."""
    return array[i] if array.size > 1 else array[0]  # type: ignore[no-any-return]


def reasons(parts: Sequence[Num | Cond], own: str = "") -> Why:
    """The causes of the parts that are unknown; ``own`` where all are known and the result still is not."""

    def why(i: int) -> tuple[str, ...]:
        found = [cause for part in parts if part.unknown(i) for cause in part.why(i)]
        return tuple(dict.fromkeys(found)) or ((own,) if own else ())

    return why


def _differs(a: FloatArray, b: FloatArray) -> BoolArray:
    return np.less(a, b) | np.greater(a, b)


#: operator -> (when it is true, when it is false); with NaN on a side neither holds
PAIRS: dict[
    str, tuple[Callable[[FloatArray, FloatArray], BoolArray], Callable[[FloatArray, FloatArray], BoolArray]]
] = {
    "<": (np.less, np.greater_equal),
    "<=": (np.less_equal, np.greater),
    ">": (np.greater, np.less_equal),
    ">=": (np.greater_equal, np.less),
    "==": (np.equal, _differs),
    "!=": (_differs, np.equal),
}


def compare(left: Num, right: Num, sign: str) -> Cond:
    """Compare two numbers, three-valued; a bound decides where the number itself is unknown.

    >>> a = Num(np.array([0.8, 0.9, np.nan, np.inf]), lambda i: ("ltv: no price",))
    >>> c = compare(a, constant(0.8), ">")
    >>> c.true.tolist(), c.false.tolist(), c.why(2)
    ([False, True, False, True], [True, False, False, False], ('ltv: no price',))
    """
    why = reasons((left, right))
    yes, no = PAIRS[sign]
    if left.bounds is None and right.bounds is None:
        return Cond(yes(left.values, right.values), no(left.values, right.values), why)
    (low, high), (other_low, other_high) = left.sides, right.sides
    if sign in ("==", "!="):
        same = np.equal(left.values, right.values)
        apart = np.greater(low, other_high) | np.less(high, other_low)
        return Cond(same, apart, why) if sign == "==" else Cond(apart, same, why)
    if sign in (">", ">="):
        return Cond(yes(low, other_high), no(high, other_low), why)
    return Cond(yes(high, other_low), no(low, other_high), why)


def both(parts: Sequence[Cond]) -> Cond:
    """Kleene ``and``: false as soon as one is false, true when all are true."""
    true, false = parts[0].true, parts[0].false
    for part in parts[1:]:
        true, false = true & part.true, false | part.false
    return Cond(true, false, reasons(parts))


def either(parts: Sequence[Cond]) -> Cond:
    """Kleene ``or``: true as soon as one is true, false when all are false."""
    true, false = parts[0].true, parts[0].false
    for part in parts[1:]:
        true, false = true | part.true, false & part.false
    return Cond(true, false, reasons(parts))


# ---------------------------------------------------------------- groups: many subjects to one
class Groups(NamedTuple):
    """Which group each subject belongs to, and how many groups there are."""

    owner: Index
    total: int


def worst_members(values: FloatArray, groups: Groups, worst: Worst) -> Index:
    """Index of the worst known member of each group, -1 where a group has none that is known.

    >>> worst_members(np.array([0.5, 0.9, np.nan]), Groups(np.array([0, 0, 1]), 2), "max").tolist()
    [1, -1]
    """
    known = np.flatnonzero(~np.isnan(values))
    key = values[known] if worst == "max" else -values[known]
    order = known[np.argsort(key, kind="stable")]
    chosen = np.full(groups.total, -1, np.int64)
    chosen[groups.owner[order]] = order
    return chosen


def members_why(blind: BoolArray, groups: Groups, why: Why, subjects: Sequence[str], what: str) -> Why:
    """Why a group's answer is unknown: the causes of its unknown members, the first three by name.

    >>> groups = Groups(np.array([0, 0]), 2)
    >>> why = members_why(np.array([True, False]), groups, lambda i: ("no price",), ("a/one", "a/two"), "ltv")
    >>> why(0), why(1)
    (('a/one: no price',), ('ltv: there is none below',))
    """

    def found(group: int) -> tuple[str, ...]:
        members = np.flatnonzero(blind & (groups.owner == group))
        if not members.size:
            return (f"{what}: there is none below",)
        shown = [f"{subjects[m]}: {cause}" for m in members[:3] for cause in why(int(m))]
        return (*shown, f"and {members.size - 3} more") if members.size > 3 else tuple(shown)

    return found


def worst_of(number: Num, groups: Groups, worst: Worst, subjects: Sequence[str], what: str) -> Num:
    """The worst member of each group. Where a member is unknown so is the result, yet bounded by the known."""
    chosen = worst_members(number.values, groups, worst)
    seen = np.where(chosen >= 0, number.values[chosen], np.nan) if number.values.size else np.full(groups.total, np.nan)
    blind = np.isnan(number.values)
    partly = np.bincount(groups.owner[blind], minlength=groups.total) > 0

    why = members_why(blind, groups, number.why, subjects, what)
    values = np.where(partly, np.nan, seen)
    if not partly.any():
        return Num(values, why)
    return Num(values, why, (seen, values) if worst == "max" else (values, seen))


def spread(number: Num, owner: Index) -> Num:
    """Numbers of borrowers as numbers of their facilities."""
    return number.each(lambda values: values[owner], lambda i: number.why(int(owner[i])))
