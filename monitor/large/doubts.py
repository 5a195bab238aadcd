"""What a tape as a whole makes one doubt: a column read in another unit than it was written in. Pure.

A single line may be anything. That half of all loans pay less than a fifth of a percent, or are larger than thirty
billion, is a slip of the map, and a run on it would look as good as any other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from monitor.large.tape import Tape
from monitor.model import FloatArray

#: field -> between what its middle value lies on any tape one would stress, in the program's own unit
MIDDLES: dict[str, tuple[float, float, str]] = {
    "principal_usd": (1e4, 3e10, "USD a loan"),
    "fixed_rate": (0.002, 0.35, "a year"),
    "margin": (0.001, 0.25, "a year"),
    "unit_value_usd": (100.0, 1e7, "USD a machine"),
    "ltv_max": (0.2, 3.0, "of the value"),
}
#: obligor's field over its debt -> between what the middle lies; outside, the two are in different units
OF_DEBT: dict[str, tuple[float, float]] = {"cash_usd": (1e-4, 20.0), "cfads_12m_usd": (1e-3, 20.0)}


def doubts(tape: Tape) -> tuple[str, ...]:
    """What is doubtful, as sentences that say what to look at; empty where nothing is."""
    return (*_middles(tape), *_against_debt(tape))


def _middles(tape: Tape) -> Iterator[str]:
    for name, (low, high, of) in MIDDLES.items():
        found = tape.loans.get(name, tape.own.get(name))
        middle = _middle(found) if found is not None else np.nan
        if middle < low or middle > high:
            yield f"{name}: half of them are {_side(middle, low)} {middle:.3g} {of}; is its unit in the map right?"


def _against_debt(tape: Tape) -> Iterator[str]:
    debt = np.add.reduceat(tape.loans["principal_usd"], tape.first[:-1])
    for name, (low, high) in OF_DEBT.items():
        ratio = _middle(np.abs(tape.own[name]) / np.where(debt > 0, debt, np.nan))
        if ratio < low or ratio > high:
            yield (
                f"{name}: half of the obligors have {_side(ratio, low)} {ratio:.3g} times their debt; "
                f"are {name} and principal_usd in the units the map says?"
            )


def _middle(values: FloatArray) -> float:
    """The median of what is known and not nothing; NaN where there is none.

    >>> _middle(np.array([0.0, np.nan, 3.0, 5.0])), bool(np.isnan(_middle(np.zeros(2))))
    (4.0, True)
    """
    known = values[np.isfinite(values) & (values != 0)]
    return float(np.median(known)) if known.size else np.nan


def _side(middle: float, low: float) -> str:
    return "at most" if middle < low else "at least"
