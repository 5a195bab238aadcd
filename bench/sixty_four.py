"""A book of 64 borrowers for the benchmarks, made of the shapes of the book that comes with Canary.

Every borrower of that book whose own means can be judged is copied, each copy with all its money, coins, machines and
hashrate times one seeded factor, until there are 64. Customers that are themselves in the book become the copy of the
same round, so there are as many tenant links as rounds; the other customers are shared by all copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from monitor import feeds, market
from monitor.book import load_book
from monitor.known import as_known
from monitor.model import Book, Borrower, Contract, Debt, Facility, Fact, end_of_day
from monitor.stress.answers import ask
from monitor.stress.state import State, build_state
from monitor.world import recorded_observations

ROOT = Path(__file__).parents[1]
DAY = date(2026, 9, 21)
BORROWERS = 64
#: figures that grow with a borrower; ratios, lives and prices do not
SIZES = ("_usd", "_btc", "btc_", "eth_", "hashrate_eh", "gpu_units", "capacity_mw")


def state_of(book: Book, day: date = DAY) -> State:
    """A book as known at the end of a day, at the recorded prices of that day."""
    specs = feeds.series_specs(tuple(feed for feed in feeds.discover() if isinstance(feed, feeds.Feed)))
    tape, at = market.Tape(recorded_observations(None), specs), end_of_day(day)
    return build_state(as_known(book, at), tape.quotes(at))


def starter_state(day: date = DAY) -> State:
    """The book that comes with Canary."""
    return state_of(load_book(ROOT / "book"), day)


def many_state(n: int = BORROWERS, seed: int = 11) -> State:
    """The state of ``n`` borrowers, every one of them judged: the same book for the same seed."""
    book = load_book(ROOT / "book")
    found = ask(starter_state())
    judged = [found.rows[0].rows[i] for i in found.firm if "/" not in found.rows[0].rows[i]]
    draw = np.random.default_rng(seed)
    copies = []
    for k in range(n):
        round_, name = k // len(judged) + 1, judged[k % len(judged)]
        names = {one: f"{one}-{round_}" for one in judged}
        copies.append(scaled(book.borrower(name), float(np.exp(draw.normal(0, 0.5))), names))
    return state_of(replace(book, borrowers=tuple(copies)))


def scaled(one: Borrower, times: float, names: Mapping[str, str]) -> Borrower:
    """A copy under its new name, ``times`` as large on every measure of size."""

    def money(facts: Iterable[Fact]) -> tuple[Fact, ...]:
        return tuple(replace(f, value=f.value * times) if _is_size(f) else f for f in facts)  # type: ignore[operator]

    def debt(item: Debt) -> Debt:
        schedule = {day: usd * times for day, usd in item.schedule_usd.items()}
        return replace(item, facts=money(item.facts), schedule_usd=schedule)

    def contract(item: Contract) -> Contract:
        rent = None if item.monthly_revenue_usd is None else item.monthly_revenue_usd * times
        return replace(item, counterparty=names.get(item.counterparty, item.counterparty), monthly_revenue_usd=rent)

    def facility(item: Facility) -> Facility:
        return replace(
            item,
            facts=money(item.facts),
            units=tuple(replace(lot, units=lot.units * times) for lot in item.units),
            cost_vintages=tuple(replace(lot, cost_usd=lot.cost_usd * times) for lot in item.cost_vintages),
            contracts=tuple(contract(item) for item in item.contracts),
        )

    return replace(
        one,
        id=names[one.id],
        facts=money(one.facts),
        debts=tuple(debt(item) for item in one.debts),
        facilities=tuple(facility(item) for item in one.facilities),
        maturities=tuple(replace(item, principal_usd=item.principal_usd * times) for item in one.maturities),
        tenants={names.get(tenant, tenant): share for tenant, share in one.tenants.items()},
    )


def _is_size(fact: Fact) -> bool:
    """Whether a figure grows with the borrower."""
    priced = fact.field in ("power_price_usd_kwh",)
    return not priced and isinstance(fact.value, float | int) and any(part in fact.field for part in SIZES)
