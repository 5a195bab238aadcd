"""The structural view of a borrower whose shares trade: Merton on market value and its volatility. Pure.

Source: Merton, "On the Pricing of Corporate Debt" (1974), solved for asset value and volatility from equity value and
its volatility (:func:`monitor.stress.ratios.merton_from_equity`); one year, all debt due then, drift at the base rate.
It reads the market's view of the equity, not the book's schedule of dues: beside ``pd_12m``, never instead of it.
"""

from __future__ import annotations

from monitor.stress import due
from monitor.stress.assumptions import fact_value
from monitor.stress.field import Field, Value, combine
from monitor.stress.ratios import Structural, merton_from_equity
from monitor.stress.state import State

YEARS = 1.0


def market_value(state: State, b: int) -> Value:
    """Shares times price, USD; unknown where either is."""
    shares = fact_value(state.rows[b].facts, "shares_outstanding", state.at)
    return combine(lambda n, price: n * price, shares, state.quoted["share_price_usd"].at(b))


def structural(state: State, b: int) -> tuple[Value, Value]:
    """Distance to default in standard deviations and chance of default within a year, at the three corners."""
    kind = state.rows[b].borrower.kind
    quoted, assumed = state.market["sofr"].at(0), state.assumptions.get("sofr", kind)
    inputs = (
        market_value(state, b), state.assumptions.get("equity_volatility", kind), due.debt_total(state).at(b),
        quoted if quoted.known else assumed,
    )  # fmt: skip
    if any(not value.known for value in inputs):
        unknown = combine(lambda *_: 0.0, *inputs)
        return unknown, unknown
    if min(inputs[0].corners) <= 0 or min(inputs[2].corners) <= 0:
        none = Value.unknown("without debt or equity there is nothing to solve for")
        return none, none

    def solved(equity: float, volatility: float, debt: float, rate: float) -> Structural:
        return merton_from_equity(equity, volatility, debt, YEARS, rate, rate)

    try:
        distance = combine(lambda *given: solved(*given).distance_to_default, *inputs)
        return distance, combine(lambda *given: solved(*given).pd, *inputs)
    except ValueError as error:
        none = Value.unknown(str(error))
        return none, none


def distances(state: State) -> tuple[Field, Field]:
    """Both over borrowers."""
    pairs = [structural(state, b) for b in range(len(state.borrowers))]
    return Field.of([distance for distance, _ in pairs]), Field.of([chance for _, chance in pairs])
