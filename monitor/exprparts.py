"""The pieces an expression is compiled into, and what their units allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from monitor.scope import Scope
from monitor.values import ANY, PAIRS, PLAIN, RATIO, Cond, Num, Unit, compare, constant, factor, reasons

_KINDS = {
    "ratio": "a ratio",
    "usd": "an amount in USD",
    "btc": "a number of BTC",
    "time": "a length of time",
    "count": "a count",
    "flag": "a yes or no",
    "amount": "an amount",
}


class Part(NamedTuple):
    """A compiled number: how to get it, its unit, its value if it is a literal, and its metric if it is only that."""

    run: Callable[[Scope], Num]
    unit: Unit
    literal: float | None = None
    metric: str = ""


class Check(NamedTuple):
    """A compiled condition."""

    run: Callable[[Scope], Cond]


#: stand in for a mistake while the rest is still checked; an expression with a mistake is never handed out
NO_NUMBER = Part(lambda scope: constant(np.nan), ANY)
NO_CHECK = Check(lambda scope: Cond(np.zeros(1, np.bool_), np.zeros(1, np.bool_), lambda i: ()))


def literal(value: float, unit: Unit) -> Part:
    """A number as written, in the unit it was written in.

    >>> literal(75.0, Unit("ratio", 1e-4)).literal
    75.0
    """
    number = constant(value)
    return Part(lambda scope: number, unit, value)


def link(left: Part, right: Part, sign: str) -> Check:
    """One comparison of two numbers in one unit."""
    one, other, (yes, no) = left.run, right.run, PAIRS[sign]

    def run(scope: Scope) -> Cond:
        a, b = one(scope), other(scope)
        if a.bounds or b.bounds:
            return compare(a, b, sign)
        return Cond(yes(a.values, b.values), no(a.values, b.values), reasons((a, b)))

    return Check(run)


def minus(part: Part) -> Part:
    """The number with its sign turned; what was a lower bound becomes an upper one."""
    if part.literal is not None:
        return literal(-part.literal, part.unit)

    def run(scope: Scope) -> Num:
        number = part.run(scope)
        least, most = number.sides
        return Num(-number.values, number.why, (-most, -least) if number.bounds else None)

    return Part(run, part.unit)


def rescale(part: Part, scale: float) -> Part:
    """The same quantity counted in units of another size.

    >>> rescale(literal(300.0, Unit("ratio", 1e-4)), 1.0).literal
    0.03
    """
    if part.unit.scale == scale:
        return part
    times, over = factor(part.unit.scale, scale)
    unit = part.unit._replace(scale=scale)
    if part.literal is not None:
        return literal(part.literal * times / over, unit)

    return Part(lambda scope: part.run(scope).each(lambda values: values * times / over), unit)


def whole(part: Part) -> Part:
    """``1.5bn`` or ``25%`` as the plain number it is, beside a number that brings no unit; metrics keep their unit.

    >>> whole(literal(25.0, Unit("ratio", 1e-2))).literal
    0.25
    """
    return rescale(part, 1.0) if part.literal is not None or part.unit.kind == "amount" else part


def product(left: Part, right: Part, sign: str) -> tuple[Part, Part, Unit]:
    """Both sides of ``a * b`` or ``a / b`` ready, and the unit of the result.

    One dimension divided by itself is a ratio, a ratio of something keeps its unit; a product of two dimensions may be
    compared with anything, because nobody wrote down what it is.
    """
    a, b = left.unit.kind, right.unit.kind
    if sign == "/" and a == b:
        return left, rescale(right, left.unit.scale), PLAIN if a == "plain" else RATIO._replace(label="x")
    if b == "plain":
        left = whole(left)
        return left, right, left.unit
    if a == "plain" and sign == "*":
        right = whole(right)
        return left, right, right.unit
    left = rescale(left, 1.0) if a in ("ratio", "amount") else left
    right = rescale(right, 1.0) if b in ("ratio", "amount") else right
    if b in ("ratio", "count"):
        return left, right, left.unit
    if a in ("ratio", "count") and sign == "*":
        return left, right, right.unit
    return left, right, ANY


def describe(unit: Unit) -> str:
    """A dimension in words, for a message.

    >>> describe(Unit("usd", 1.0)), describe(Unit("usd/gpu-hour", 1.0))
    ('an amount in USD', 'in usd/gpu-hour')
    """
    return _KINDS.get(unit.kind, f"in {unit.kind}")
