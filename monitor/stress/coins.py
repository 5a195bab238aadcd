"""Free coins of each borrower, and what is taken where no document ever mentions any. Pure."""

from __future__ import annotations

from monitor.known import KnownBorrower
from monitor.stress.assumptions import fact_value
from monitor.stress.field import Field, Value, combine
from monitor.stress.state import State


def free_coins(state: State) -> Field:
    """Free bitcoin over borrowers, in coins.

    A miner that holds coins says so; one whose documents never mention any is taken to hold ``coins_unreported_months``
    of revenue at today's price: none in the middle and at the adverse end. Without the assumption, a revenue or a price
    it stays unknown.
    """
    return state.once("free coins", lambda: Field.of([_free(state, b, row) for b, row in enumerate(state.rows)]))


def _free(state: State, b: int, row: KnownBorrower) -> Value:
    reported = state.facts["btc_free"].at(b)
    if reported.known or any(name.startswith("btc_") for name in row.facts):
        return reported
    months = state.assumptions.get("coins_unreported_months", row.borrower.kind)
    revenue, price = fact_value(row.facts, "revenue_quarter_usd", state.at), state.market["btc_usd"].at(0)
    assumed = combine(lambda usd, n, btc: usd / 3 * n / btc, revenue, months, price)
    return assumed.noting("no coins ever reported") if assumed.known else reported
