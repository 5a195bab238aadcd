"""A fall round by round: who falls in each, by which channel, what is sold for how much less. Pure.

The rounds end where :func:`monitor.stress.cascade.cascade` ends; here they are kept apart. In each round everything
released so far is sold together and pools behind limited recourse that are under water are given up; then tenants'
rent and lenders' doors decide who falls next.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitor.model import BoolArray
from monitor.stress.bridge import bridge
from monitor.stress.cascade import Links, Periods
from monitor.stress.field import MIDDLE
from monitor.stress.outlook import under
from monitor.stress.sale import Holdings, Settled, holdings, settle
from monitor.stress.scenario import Scenario, apply
from monitor.stress.state import State

#: why somebody falls
FIRST, RENT, LENDER = "falls first", "its tenant's rent stops", "its lender rolls nothing"


@dataclass(frozen=True)
class Round:
    """What happens in one round. ``fell``: borrower -> channel; ``given_up``: pools surrendered by owners who stand;
    ``units``: machines released in this round by model; ``price``: of each model after it, as a share of the mark;
    ``debt_usd``: debt of those that fell in it; ``under_water``: pools of those standing, with a loan, worth less
    than it at the new price and not before."""

    fell: Mapping[str, str]
    given_up: tuple[str, ...]
    units: Mapping[str, float]
    price: Mapping[str, float]
    debt_usd: float
    under_water: tuple[str, ...]


@dataclass(frozen=True)
class Rounds:
    """All rounds of one fall, who holds what, and where it ends (one path)."""

    rounds: tuple[Round, ...]
    own: Holdings
    end: Settled


def in_rounds(
    state: State, borrower: str, *, scenario: Scenario | None = None, corner: int = MIDDLE, lenders: bool = False
) -> Rounds:
    """The fall of one borrower now at one corner of the assumptions; ValueError for one the book does not hold."""
    if borrower not in state.borrowers:
        raise ValueError(f"no borrower {borrower!r}; the book holds {', '.join(state.borrowers)}")
    case = scenario or Scenario("today")
    rows = bridge(state, corner)
    links = Links(state, rows, under(rows, state, case), lenders=lenders, corner=corner)
    return _rounds(links, holdings(apply(state, case), corner), state.borrowers.index(borrower))


def _rounds(links: Links, own: Holdings, b: int) -> Rounds:
    n = links.n_periods
    fallen = np.zeros((links.n, 1), bool)
    fallen[b] = True
    when: Periods = np.where(fallen, 0, n)
    alone = links.first >= n
    rent_only = copy.copy(links)
    rent_only.shares = np.zeros_like(links.shares)
    fell, rounds = {b: FIRST}, list[Round]()
    before = settle(own, np.zeros_like(fallen))
    while True:
        now = settle(own, fallen)
        rounds.append(_round(own, fell, before, now))
        pulled = np.where(alone, links.falls(np.where(fallen, when, n)), n)
        by_rent = rent_only.falls(np.where(fallen, when, n)) < n
        when = np.minimum(when, pulled)
        new = (pulled < n) & ~fallen
        if not new.any():
            return Rounds(tuple(rounds), own, now)
        fell = {int(j): RENT if by_rent[j, 0] else LENDER for j in np.flatnonzero(new[:, 0])}
        fallen, before = fallen | new, now


def _round(own: Holdings, fell: Mapping[int, str], before: Settled, now: Settled) -> Round:
    fresh = now.released[:, 0] & ~before.released[:, 0]
    units = own.units.T @ fresh.astype(float)
    standing = ~now.fallen[own.owner, 0]
    sunk = _under_water(own, now) & ~_under_water(own, before) & standing
    return Round(
        fell={own.borrowers[j]: why for j, why in fell.items()},
        given_up=tuple(own.pools[int(f)] for f in np.flatnonzero(fresh & standing)),
        units={m: float(u) for m, u in zip(own.models, units, strict=True) if u > 0},
        price={m: float(p) for m, p in zip(own.models, now.price[:, 0], strict=True)},
        debt_usd=float(sum(own.debt_usd[j] for j in fell)),
        under_water=tuple(own.pools[int(f)] for f in np.flatnonzero(sunk)),
    )


def _under_water(own: Holdings, at: Settled) -> BoolArray:
    """Pools with a loan whose value at the marks of a moment does not reach it; one without a known value does not
    count."""
    value = own.value_usd @ at.price[:, 0] + own.other_usd
    return np.asarray(own.pledged & own.valued & (own.principal_usd > value))
