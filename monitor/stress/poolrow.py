"""A pool with a loan as one row of the cell, tested by its own documents. Pure.

Coverage and loan to value are tested only where the pool reports a cash flow and a value of its own; a coin loan is
met with the owner's free coins and then its cash.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monitor.model import FloatArray
from monitor.stress import cashflow, collateral, due, poolcash
from monitor.stress.assumptions import amount_owed
from monitor.stress.field import NAN, Value, unique
from monitor.stress.obligor import DSCR, LTV, MARGIN, MONTHS_A_YEAR, UNNAMED, Axes, Figures, Row


class Pools:
    """Makes the rows of pools."""

    def __init__(self, figures: Figures, axes: Axes):
        self.state, self.axes = figures.state, axes
        self.corner, self.n_periods, self.dt_years = axes.corner, axes.n_periods, axes.dt_years
        self.counterparties = axes.counterparties

    def row(self, f: int) -> Row | None:
        """A pool with a loan, tested by its own documents; a pool without a loan or without a test has no row."""
        state = self.state
        principal = state.principal.at(f)
        if not principal.known or principal.middle <= 0:
            return None
        row = Row(state.facilities[f], int(state.facility_borrower[f]), self.corner)
        if state.pools[f].facility.pool == "coins":
            self._coin_loan(f, row)
        else:
            self._covenants(f, row)
        row.reasons = list(unique(row.reasons))
        return row if row.asks.any() else None

    def _level(self, f: int, name: str, row: Row) -> float | None:
        """A covenant level of the pool, else the tightest of its debts; None where there is none."""
        sources = (
            self.state.pools[f].facility.covenants,
            *(d.debt.covenants for d in self.state.pool_debts[f]),
        )
        found = [(getattr(c, name), c.quality) for c in sources if getattr(c, name) is not None]
        if not found:
            return None
        level = float(max(v for v, _ in found) if name == "dscr_min" else min(v for v, _ in found))
        if any(quality == "assumed" for value, quality in found if value == level):
            row.assumed.append(f"{name} {level:g}")
        return level

    def _coin_loan(self, f: int, row: Row) -> None:
        """A margin call, met with the owner's free coins and then its cash as they stand today."""
        state, b = self.state, row.owner
        coins = row.take(state.pool_facts["coins_pledged_btc"].at(f))
        if not state.market["btc_usd"].known[0]:
            row.reasons.extend(state.market["btc_usd"].at(0).reasons)
            coins = NAN
        levels = {}
        for name in ("margin_call_ltv", "cure_ltv", "liquidation_ltv"):
            own = self._level(f, name, row)
            if own is None:
                own = row.take(state.assumptions.get(name, state.kind(f)))
                row.assumed.append(f"{name} {own:g}")
            levels[name] = own
        row.numbers |= {
            **levels,
            "btc_loan_usd": row.take(state.principal.at(f)),
            "coins_pledged": coins,
            "coins_free": row.take(state.facts["btc_free"].at(b)),
            "cash_usd": row.take(state.facts["cash_unrestricted_usd"].at(b)),
        }
        row.ask(MARGIN)

    def _covenants(self, f: int, row: Row) -> None:
        """Coverage and loan to value by the pool's own terms, where it reports a cash flow and a value of its own."""
        state, n = self.state, self.n_periods
        pool, facts = state.pools[f], state.pool_facts
        dscr, cap = self._level(f, "dscr_min", row), self._level(f, "ltv_max", row)
        principal = row.take(state.principal.at(f))
        service = poolcash.facility_service_12m(state).at(f)
        parts = [(amount_owed(d, state.at), cashflow.rate_of(state, d, state.kind(f))) for d in state.pool_debts[f]]
        cost = sum(owed.corners[self.corner] * rate.corners[self.corner] for owed, rate in parts)
        yearly = service.corners[self.corner]
        interest = min(cost, yearly) if service.known else NAN
        row.numbers |= {
            "debt_usd": np.array([principal]),
            "fixed_rate": np.array([interest / principal]),
            "principal_usd": np.full((1, n), (yearly - interest) * self.dt_years),
            "secured": np.array([1.0]),
        }
        if dscr is not None:
            row.ask(DSCR)
            row.numbers["dscr_min"] = dscr
            row.reasons.extend(service.reasons)
            own = [facts[name].at(f) for name in ("cfads_quarter_usd", "noi_quarter_usd") if facts[name].known[f]]
            flow = own[0] if own else Value.unknown("the pool's own cash flow was never reported: no coverage test")
            row.numbers["contracted_usd"] = self._pool_income(f, row.take(flow) * self.dt_years * 4)
        if cap is not None:
            row.ask(LTV)
            row.numbers["ltv_max"] = cap
            now = collateral.contractual(state).at(f)
            ends_at = due.add_months(state.at.date(), round(n * self.dt_years * MONTHS_A_YEAR))
            later = replace(
                state, at=state.at.replace(year=ends_at.year, month=ends_at.month, day=min(28, state.at.day))
            )
            then = collateral.contractual_of(later, f)
            row.numbers["paper_usd"] = np.linspace(row.take(now), then.corners[self.corner], n + 1)[1:]
        if pool.facility.pool == "none":
            row.asks[:] = False

    def _pool_income(self, f: int, usd: float) -> FloatArray:
        """A pool's net income by counterparty; nothing is earned from a lost contract and its costs go too."""
        out = np.zeros(len(self.counterparties))
        contracts = self.state.pools[f].facility.contracts
        if not contracts:
            out[self.counterparties.index(UNNAMED)] = usd
        for contract, weight in zip(
            contracts, collateral.contract_weights(contracts) if contracts else [], strict=True
        ):
            out[self.counterparties.index(contract.counterparty)] += usd * weight
        return out
