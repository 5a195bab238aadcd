"""The words a rule may use: one decorated function each. Adding a word is adding one function here, nothing else.

Words over time see a series as a step function: a value holds until the next one, averages are weighted by how long
each value held, and rows are never counted. A window that reaches before the known past is unknown, and so is one of
which more than a tenth is unknown; through a shorter gap the last known value holds.

How a word is called decides what its function receives (``how``):
 ``each``    arrays in, array out, subject by subject;
 ``then``    (now, then): arrays of a metric now and a span ago;
 ``window``  (times, values, end, *more): one subject's change points inside the window, the present value last;
 ``name``    (scope, name): a question about one metric that its numbers alone do not answer;
 ``group``   (true, false, groups): a condition about many subjects to one answer;
 ``worst``   the worst of many subjects;
 ``peers``   (values): every subject among all of its level;
 ``known``   whether something is known; never unknown itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from monitor.model import BoolArray, FloatArray
from monitor.scope import Scope
from monitor.values import COUNT, HOURS, PLAIN, RATIO, SECONDS, Cond, Groups, Num, Unit, Worst, worst_of

How = Literal["each", "then", "window", "name", "group", "worst", "peers", "known"]


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its arguments by kind, what it gives (a unit, ``same`` as its first argument, or a condition)."""

    name: str
    args: tuple[str, ...]
    how: How
    gives: Unit | Literal["same", "condition"]
    function: Callable[..., Any]
    #: in a rule about borrowers, the facility that counts: the metric's own worse end, or the largest result
    worst: Literal["metric", "max"]

    @property
    def doc(self) -> str:
        return (self.function.__doc__ or "").split("\n")[0]


WORDS: dict[str, Word] = {}
F = TypeVar("F", bound=Callable[..., Any])


def word(
    args: str, how: How, gives: Unit | Literal["same", "condition"] = "same", worst: Literal["metric", "max"] = "metric"
) -> Callable[[F], F]:
    """Register a function under its own name (a trailing underscore is dropped).

    Kinds of argument: metric, span (``7d``), number, numbers (one or more), share (0 to 1), condition, test (a metric
    compared with a number), scenario (a name in quotes), any.
    """

    def register(function: F) -> F:
        name = function.__name__.rstrip("_")
        WORDS[name] = Word(name, tuple(args.split()), how, gives, function, worst)
        return function

    return register


# ---------------------------------------------------------------- arithmetic
@word("number", "each")
def abs_(x: FloatArray) -> FloatArray:
    """abs(x): x without its sign.

    >>> abs_(np.array([-2.0, 3.0])).tolist()
    [2.0, 3.0]
    """
    return np.abs(x)


@word("number numbers", "each")
def min_(*xs: FloatArray) -> FloatArray:
    """min(x, y, ...): the smallest; unknown if any of them is.

    >>> min_(np.array([1.0, np.nan]), np.array([2.0])).tolist()
    [1.0, nan]
    """
    out = xs[0]
    for x in xs[1:]:
        out = np.minimum(out, x)
    return out


@word("number numbers", "each")
def max_(*xs: FloatArray) -> FloatArray:
    """max(x, y, ...): the largest; unknown if any of them is.

    >>> max_(np.array([1.0, 5.0]), np.array([2.0])).tolist()
    [2.0, 5.0]
    """
    out = xs[0]
    for x in xs[1:]:
        out = np.maximum(out, x)
    return out


@word("number numbers", "each")
def coalesce(*xs: FloatArray) -> FloatArray:
    """coalesce(x, y, ...): the first that is known; unknown only if none is.

    >>> coalesce(np.array([np.nan, 5.0]), np.array([2.0])).tolist()
    [2.0, 5.0]
    """
    out = xs[0]
    for x in xs[1:]:
        out = np.where(np.isnan(out), x, out)
    return out


# ---------------------------------------------------------------- now against then
@word("metric span", "then", RATIO)
def change(now: FloatArray, then: FloatArray) -> FloatArray:
    """change(metric, span): relative change, now / then - 1, a fraction; unknown where it stood at zero or below.

    >>> change(np.array([75.0, 5.0]), np.array([100.0, 0.0])).tolist()
    [-0.25, nan]
    """
    return np.where(then > 0, now / np.where(then > 0, then, np.nan) - 1.0, np.nan)


@word("metric span", "then")
def delta(now: FloatArray, then: FloatArray) -> FloatArray:
    """delta(metric, span): absolute change, now - then, in the metric's unit.

    >>> delta(np.array([550.0]), np.array([450.0])).tolist()
    [100.0]
    """
    return now - then


@word("metric span", "then")
def at(now: FloatArray, then: FloatArray) -> FloatArray:
    """at(metric, span): the value in force a span ago, in the metric's unit.

    >>> at(np.array([550.0]), np.array([450.0])).tolist()
    [450.0]
    """
    return then


# ---------------------------------------------------------------- over a window
def _spans(times: FloatArray, end: float) -> FloatArray:
    """How long each value held."""
    return np.diff(np.append(times, end))


@word("metric span", "window", RATIO, "max")
def drop(times: FloatArray, values: FloatArray, end: float) -> float:
    """drop(metric, span): how far it stands below the highest point of the window, a fraction of that point.

    >>> drop(np.array([0.0, 5.0, 9.0]), np.array([80.0, 100.0, 75.0]), 10.0)
    0.25
    """
    top = float(values.max())
    return 1.0 - float(values[-1]) / top if top > 0 else float("nan")


@word("metric span", "window", RATIO, "max")
def rise(times: FloatArray, values: FloatArray, end: float) -> float:
    """rise(metric, span): how far it stands above the lowest point of the window, a fraction of that point.

    >>> rise(np.array([0.0, 5.0, 9.0]), np.array([80.0, 100.0, 90.0]), 10.0)
    0.125
    """
    low = float(values.min())
    return float(values[-1]) / low - 1.0 if low > 0 else float("nan")


@word("metric span", "window")
def avg_over(times: FloatArray, values: FloatArray, end: float) -> float:
    """avg_over(metric, span): the average, each value weighted by how long it held.

    >>> avg_over(np.array([0.0, 15.0]), np.array([1.0, 5.0]), 20.0)
    2.0
    """
    spans = _spans(times, end)
    return float(np.average(values, weights=spans)) if spans.sum() > 0 else float("nan")


@word("metric span", "window")
def min_over(times: FloatArray, values: FloatArray, end: float) -> float:
    """min_over(metric, span): the lowest value of the window.

    >>> min_over(np.array([0.0, 15.0]), np.array([1.0, 5.0]), 20.0)
    1.0
    """
    return float(values.min())


@word("metric span", "window")
def max_over(times: FloatArray, values: FloatArray, end: float) -> float:
    """max_over(metric, span): the highest value of the window.

    >>> max_over(np.array([0.0, 15.0]), np.array([1.0, 5.0]), 20.0)
    5.0
    """
    return float(values.max())


@word("metric share span", "window")
def quantile(times: FloatArray, values: FloatArray, end: float, share: float) -> float:
    """quantile(metric, share, span): the value it was at or below for that share of the window's time.

    >>> quantile(np.array([0.0, 15.0]), np.array([1.0, 5.0]), 20.0, 0.9)
    5.0
    >>> quantile(np.array([0.0, 15.0]), np.array([1.0, 5.0]), 20.0, 0.5)
    1.0
    """
    order = np.argsort(values, kind="stable")
    held = np.cumsum(_spans(times, end)[order])
    place = int(np.searchsorted(held, share * held[-1] * (1.0 - 1e-12)))
    return float(values[order][min(place, values.size - 1)])


@word("metric span", "window")
def slope(times: FloatArray, values: FloatArray, end: float) -> float:
    """slope(metric, span): the straight line that fits the window best, in the metric's unit per day.

    Least squares over time, not over rows: slope = 12 * integral((t - middle) * v dt) / span**3.

    >>> days = np.arange(10.0) * 86400.0
    >>> round(slope(days, np.arange(10.0), 10 * 86400.0), 2)
    0.99
    """
    span = end - times[0]
    if span <= 0:
        return float("nan")
    edges = np.append(times, end) - (times[0] + span / 2)
    moment = float(np.sum(values * np.diff(edges**2)) / 2)
    return float(12.0 * moment / span**3 * 86400.0)


@word("metric span", "window", PLAIN)
def zscore(times: FloatArray, values: FloatArray, end: float) -> float:
    """zscore(metric, span): distance from the window's average in its standard deviations, both weighted by time.

    Unknown where it never moved.

    >>> zscore(np.array([0.0, 10.0, 20.0]), np.array([1.0, 3.0, 5.0]), 20.0)
    3.0
    """
    spans = _spans(times, end)
    if spans.sum() <= 0:
        return float("nan")
    mean = float(np.average(values, weights=spans))
    spread = float(np.sqrt(np.average((values - mean) ** 2, weights=spans)))
    return (float(values[-1]) - mean) / spread if spread > 0 else float("nan")


_HOLDS: dict[str, Callable[[FloatArray, float], BoolArray]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


@word("test span", "window", HOURS, "max")
def hours_of(times: FloatArray, values: FloatArray, end: float, sign: str, line: float) -> float:
    """hours_of(metric < number, span): for how many hours of the window the comparison held.

    >>> hours_of(np.array([0.0, 7200.0, 10800.0]), np.array([55.0, 65.0, 50.0]), 14400.0, "<", 60.0)
    3.0
    """
    return float(np.sum(_spans(times, end)[_HOLDS[sign](values, line)])) / 3600.0


# ---------------------------------------------------------------- about one metric
@word("metric", "name", SECONDS, "max")
def age(scope: Scope, name: str) -> Num:
    """age(metric): time since its oldest input was true; compare it with a length of time, such as 135d.

    >>> from monitor.scope import single
    >>> from monitor.values import NameInfo
    >>> names = {"debt_usd": NameInfo("borrower", "usd")}
    >>> age(Scope(single(names, {"debt_usd": 1e9}), names), "debt_usd").why(0)
    ('age of debt_usd: its date is not known',)
    """
    return scope.age(name)


@word("metric", "name", SECONDS, "max")
def since(scope: Scope, name: str) -> Num:
    """since(metric): time since its value last changed.

    >>> from monitor.scope import single
    >>> from monitor.values import NameInfo
    >>> names = {"debt_usd": NameInfo("borrower", "usd")}
    >>> since(Scope(single(names, {"debt_usd": 1e9}), names), "debt_usd").why(0)
    ('debt_usd: no past of it is kept',)
    """
    return scope.since(name)


@word("metric", "name")
def low(scope: Scope, name: str) -> Num:
    """low(metric): its value at the low end of its assumptions; the value itself where none was used.

    >>> from monitor.scope import single
    >>> from monitor.values import NameInfo
    >>> names = {"liquidity_locked_12m": NameInfo("borrower", "x", "min")}
    >>> low(Scope(single(names, {"liquidity_locked_12m": 1.2}), names), "liquidity_locked_12m").values.tolist()
    [1.2]
    """
    return scope.column(name, part="low")


@word("metric", "name")
def high(scope: Scope, name: str) -> Num:
    """high(metric): its value at the high end of its assumptions; the value itself where none was used.

    >>> from monitor.scope import single
    >>> from monitor.values import NameInfo
    >>> names = {"liquidity_locked_12m": NameInfo("borrower", "x", "min")}
    >>> high(Scope(single(names, {"liquidity_locked_12m": 1.2}), names), "liquidity_locked_12m").values.tolist()
    [1.2]
    """
    return scope.column(name, part="high")


@word("scenario metric", "name")
def under(scope: Scope, scenario: str, name: str) -> Num:
    """under("scenario", metric): the metric after the scenario's moves.

    >>> from monitor.scope import single
    >>> from monitor.values import NameInfo
    >>> names = {"ltv_economic": NameInfo("facility", "ratio")}
    >>> under(Scope(single(names, {"ltv_economic": 0.8}), names), "crypto_winter", "ltv_economic").why(0)
    ('ltv_economic: scenario crypto_winter was not computed',)
    """
    return scope.column(name, scenario)


@word("metric", "name", "condition")
def in_doubt(scope: Scope, name: str) -> Cond:
    """in_doubt(metric): whether its price jumped further than it should and waits for a second source.

    >>> from monitor.scope import single
    >>> from monitor.values import NameInfo
    >>> names = {"btc_usd": NameInfo("market", "usd")}
    >>> in_doubt(Scope(single(names, {"btc_usd": 60_000.0}), names), "btc_usd").why(0)
    ('btc_usd: no price is behind it',)
    """
    return scope.doubt(name)


@word("any", "known", "condition")
def known(is_known: BoolArray) -> tuple[BoolArray, BoolArray]:
    """known(x): whether a number or a condition is known; true or false, never unknown.

    >>> [side.tolist() for side in known(np.array([True, False]))]
    [[True, False], [False, True]]
    """
    return is_known, ~is_known


# ---------------------------------------------------------------- over subjects
@word("number", "peers", COUNT)
def rank(values: FloatArray) -> FloatArray:
    """rank(x): place among all subjects of x's level, 1 for the highest; equal values share the better place.

    Subjects whose x is unknown hold no place and have none.

    >>> rank(np.array([5.0, np.nan, 9.0, 5.0])).tolist()
    [2.0, nan, 1.0, 2.0]
    """
    known_values = np.sort(values[~np.isnan(values)])
    above = known_values.size - np.searchsorted(known_values, values, side="right")
    return np.where(np.isnan(values), np.nan, above + 1.0)


@word("condition", "group", COUNT)
def count(true: BoolArray, false: BoolArray, groups: Groups) -> tuple[FloatArray, FloatArray]:
    """count(condition): for how many it is true: (at least, at most), which differ where some are undecided.

    In a rule about a borrower or a facility, facilities are those of that borrower; otherwise everybody counts.

    >>> sides = count(np.array([True, False]), np.array([False, False]), Groups(np.array([0, 0]), 1))
    >>> [side.tolist() for side in sides]
    [[1.0], [2.0]]
    """
    least = np.bincount(groups.owner[true], minlength=groups.total).astype(np.float64)
    return least, np.bincount(groups.owner[~false], minlength=groups.total).astype(np.float64)


@word("condition", "group", "condition")
def any_of(true: BoolArray, false: BoolArray, groups: Groups) -> tuple[BoolArray, BoolArray]:
    """any_of(condition): whether it is true for at least one; false where there is none to ask.

    >>> sides = any_of(np.array([True, False]), np.array([False, True]), Groups(np.array([0, 1]), 3))
    >>> [side.tolist() for side in sides]
    [[True, False, False], [False, True, True]]
    """
    least, most = count(true, false, groups)
    return least > 0, most == 0


@word("condition", "group", "condition")
def all_of(true: BoolArray, false: BoolArray, groups: Groups) -> tuple[BoolArray, BoolArray]:
    """all_of(condition): whether it is true for every one; unknown where there is none to ask.

    >>> sides = all_of(np.array([True, False]), np.array([False, True]), Groups(np.array([0, 1]), 3))
    >>> [side.tolist() for side in sides]
    [[True, False, False], [False, True, False]]
    """
    least, most = count(true, false, groups)
    size = np.bincount(groups.owner, minlength=groups.total)
    return (least == size) & (size > 0), most < size


@word("number", "worst")
def worst(number: Num, groups: Groups, end: Worst, subjects: Sequence[str], what: str) -> Num:
    """worst(x): the worst of many: a borrower's facilities in its own rule, everybody otherwise.

    A metric's own worse end decides; for an expression of several, the highest. Unknown where one of them is unknown,
    yet ``worst(x) > 1`` is true as soon as a known one is above 1.

    >>> ltv = Num(np.array([0.7, 0.9]), lambda i: ())
    >>> worst(ltv, Groups(np.array([0, 0]), 1), "max", ("a/one", "a/two"), "ltv").values.tolist()
    [0.9]
    """
    return worst_of(number, groups, end, subjects, what)
