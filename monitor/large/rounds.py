"""The cascade over a large book as map and reduce: who is beyond a limit sells, what is sold moves the price, again.

Each round every block of obligors says what it sells at the present prices (map), the units are summed by model in the
order of the blocks (reduce), and the new prices go out. Defaults only grow, so it ends after at most as many rounds as
there are obligors, and one more. One path of today, not a simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.large.solve import ROWS, Work
from monitor.model import FloatArray


@dataclass(frozen=True)
class Sold:
    """What one block says: obligors beyond their limit (n,), and the units they sell by model (M,)."""

    start: int
    fallen: NDArray[np.bool_]
    units: FloatArray


@dataclass(frozen=True)
class Round:
    """Prices at the end of a round as a share of today's (M,), obligors beyond their limit and units sold so far."""

    price: FloatArray
    fallen: int
    units: FloatArray


Map = Callable[[FloatArray], Iterable[Sold]]


def sold_by(work: Work, row: int, price: FloatArray) -> Sold:
    """One block of obligors at some prices: loan over machines at market, against the limit where there is one."""
    inputs, end = work.cells.inputs, min(row + ROWS, work.n_rows)
    known = inputs.known[row:end, 1]
    worth = (inputs.units[row:end] * inputs.unit_value_usd[row:end] * price).sum(axis=1)
    owed = inputs.debt_usd[row:end].sum(axis=1)
    with np.errstate(invalid="ignore"):
        fallen = known & (owed > inputs.ltv_max[row:end] * worth)
    return Sold(row, fallen, inputs.units[row:end][fallen].sum(axis=0))


def sold_between(work: Work, row: int, end: int, price: FloatArray) -> list[Sold]:
    """Several blocks of obligors, from ``row``, a multiple of a block's size, to ``end``."""
    return [sold_by(work, at, price) for at in range(row, min(end, work.n_rows), ROWS)]


def rounds(work: Work, ask: Map) -> list[Round]:
    """Rounds to the fixed point. ``ask``: prices -> what every block sells at them, in any order."""
    depth = work.cells.depth_units
    price, found = np.ones(len(depth)), list[Round]()
    fallen = np.zeros(work.n_rows, bool)
    for _ in range(work.n_rows + 1):
        answers = sorted(ask(price), key=lambda sold: sold.start)
        now = np.concatenate([sold.fallen for sold in answers]) | fallen
        units = sum((sold.units for sold in answers), np.zeros(len(depth)))
        # whoever fell stays fallen, so prices never come back
        price = np.minimum(price, np.exp(-units / depth))
        found.append(Round(price, int(now.sum()), units))
        if (now == fallen).all():
            return found
        fallen = now
    return found


def here(work: Work) -> Map:
    """The map on this machine."""
    return lambda price: sold_between(work, 0, work.n_rows, price)
