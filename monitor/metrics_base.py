"""The registry of metrics and what they share. A metric is one decorated function from a :class:`View` to a field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from monitor.model import MARKET, Level, StepTable
from monitor.stress import cashflow, collateral, due, poolcash
from monitor.stress.field import Field, choose
from monitor.stress.state import State

Worst = Literal["max", "min", ""]


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source as the evaluations saw it: seconds since its last usable answer, and what it said last if not one."""

    name: str
    silent_s: float
    reason: str = ""

    @property
    def subject(self) -> str:
        """What an alert about it is about: a part of the market, so that it reaches who hears of the market.

        >>> SourceState("kraken", 0.0).subject
        'market/kraken'
        """
        return f"{MARKET}/{self.name}"


class View:
    """One state with the quantities several metrics share, each worked out once."""

    def __init__(
        self,
        state: State,
        history: Callable[[str], StepTable | None] = lambda name: None,
        sources: Sequence[SourceState] = (),
    ):
        self.state, self.history, self.sources = state, history, tuple(sources)
        self.n, self.nf = len(state.borrowers), len(state.facilities)

    def fact(self, name: str) -> Field:
        """A borrower figure."""
        return self.state.facts[name]

    @cached_property
    def debt(self) -> Field:
        return due.debt_total(self.state)

    @cached_property
    def cash(self) -> Field:
        return self.fact("cash_unrestricted_usd")

    @cached_property
    def cfads(self) -> Field:
        return cashflow.cfads_12m(self.state)

    @cached_property
    def distributable(self) -> Field:
        return poolcash.distributable_12m(self.state)

    @cached_property
    def interest(self) -> Field:
        return cashflow.interest_12m(self.state)

    @cached_property
    def due_12m(self) -> Field:
        return due.due(self.state, 12)

    @cached_property
    def economic(self) -> Field:
        return collateral.economic(self.state)

    @cached_property
    def liquidation(self) -> Field:
        return collateral.liquidation(self.state)

    @cached_property
    def contractual(self) -> Field:
        return collateral.contractual(self.state)

    @cached_property
    def free_coins_usd(self) -> Field:
        """Free coins, sold: spot less impact; of a miner that never mentioned any, assumed months of revenue."""
        s = self.state
        btc = collateral.worth(self.fact("btc_free"), s.price("btc_usd", self.n), s.factors.btc)
        silent = np.array([not any(n.startswith("btc_") for n in row.facts) for row in s.rows], np.bool_)
        month = self.fact("revenue_quarter_usd") * (1 / 3)
        assumed = month * s.assume("coins_unreported_months") * s.factors.btc
        btc = choose(silent & ~btc.known & assumed.known, assumed, btc)
        eth = collateral.worth(self.fact("eth_free"), s.price("eth_usd", self.n), s.factors.eth)
        coins = btc + eth
        sold = coins - coins * collateral.impact(s, coins, "borrowers")
        return choose(coins.known & (np.abs(coins.values).max(axis=0) == 0), coins, sold)

    @cached_property
    def liquid(self) -> Field:
        """Unrestricted cash and free coins after impact."""
        return self.cash + self.free_coins_usd

    def liquidity(self, months: int) -> Field:
        """(unrestricted cash + free coins after impact + distributable CFADS - interest) / due, over some months.

        Debt raised after the cash figure is at most all in cash: the favourable end counts it, the middle does not.
        """
        falls_due = self.due_12m if months == 12 else due.due(self.state, months)
        share = months / 12
        liquid = self.liquid + due.raised_since_cash(self.state)
        cover = (liquid + self.distributable * share - self.interest * share) / falls_due
        return cover.with_detail(falls_due.detail)

    @cached_property
    def locked_12m(self) -> Field:
        return self.liquidity(12)

    @cached_property
    def pool_cfads(self) -> Field:
        return poolcash.facility_cfads_12m(self.state)

    @cached_property
    def pool_service(self) -> Field:
        return poolcash.facility_service_12m(self.state)

    @cached_property
    def dscr(self) -> Field:
        return self.pool_cfads / self.pool_service


Compute = Callable[[View], Field]


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """One number a rule can name: its level, unit, which direction is worse, what it means and the fields it needs."""

    name: str
    level: Level
    unit: str
    worst: Worst
    doc: str
    needs: tuple[str, ...]
    #: also computed under every scenario
    stressed: bool
    compute: Compute
    #: takes long enough to be left out where nobody asks for it, such as the days before a first start
    costly: bool = False


#: every metric by name, in the order of definition
METRICS: dict[str, MetricInfo] = {}


def register(
    name: str,
    level: Level,
    unit: str,
    worst: Worst,
    doc: str,
    needs: tuple[str, ...],
    compute: Compute,
    stressed: bool,
    costly: bool = False,
) -> None:
    """Add one metric; a name is taken once."""
    if name in METRICS:
        raise ValueError(f"metric {name!r} is defined twice")
    METRICS[name] = MetricInfo(name, level, unit, worst, doc, needs, stressed, compute, costly)


def metric(
    level: Level,
    unit: str,
    worst: Worst = "",
    *,
    needs: tuple[str, ...] = (),
    stressed: bool = False,
    costly: bool = False,
) -> Callable[[Compute], Compute]:
    """Register a function as the metric of its name; its docstring is the metric's documentation."""

    def decorate(compute: Compute) -> Compute:
        name = compute.__name__
        doc = " ".join((compute.__doc__ or "").split())
        register(name, level, unit, worst, doc, needs, compute, stressed, costly)
        return compute

    return decorate
