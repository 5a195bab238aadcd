"""A pool's own year: its cash flow, its debt service, and what a lock-up keeps from the parent. Pure; USD a year."""

from __future__ import annotations

import numpy as np

from monitor.known import KnownDebt
from monitor.stress.assumptions import amount_owed, fact_value
from monitor.stress.cashflow import cfads_12m, contracted_share, floating_cost, rate_of, rent_index
from monitor.stress.collateral import is_pool, lost_share
from monitor.stress.due import months_left
from monitor.stress.field import Field, Value, combine, first_known, total
from monitor.stress.state import Factors, State

#: instruments that repay at once unless their terms say otherwise
BULLET_KINDS = ("convertible", "high_yield", "btc_loan", "revolver")


def facility_cfads_12m(state: State) -> Field:
    """A pool's own cash flow over a year: reported, else net operating income, else contracts at an assumed margin."""
    facts = state.pool_facts

    def build() -> Field:
        built = Field.of([_contract_cash(state, f) for f in range(len(state.facilities))])
        return first_known(facts["cfads_quarter_usd"], facts["noi_quarter_usd"], built)

    quarter = state.once("pool cash of a quarter", build)
    year = (quarter + _facility_change(state, quarter)) * 4.0
    return year.where(~is_pool(state, "coins", "none"), "a pool without machines or leases has no cash flow of its own")


def _contract_revenue(state: State, f: int) -> Value:
    """A quarter's revenue of the contracts in force now."""
    day = state.at.date()
    live = [c for c in state.pools[f].facility.contracts if (c.starts is None or c.starts <= day)]
    live = [c for c in live if c.ends is None or c.ends >= day]
    if not live or any(c.monthly_revenue_usd is None for c in live):
        return Value.unknown("monthly_revenue_usd of the facility's contracts was never reported")
    return Value.exact(3 * sum(c.monthly_revenue_usd or 0.0 for c in live))


def _contract_cash(state: State, f: int) -> Value:
    margin = state.assumptions.get("contract_margin", state.kind(f))
    return combine(lambda r, m: r * m, _contract_revenue(state, f), margin)


def _facility_change(state: State, quarter: Field) -> Field:
    if state.factors == Factors():
        return Field.exact(np.zeros(len(quarter)))
    return Field.of([_facility_shock(state, f, quarter.at(f)) for f in range(len(quarter))])


def _facility_shock(state: State, f: int, cash: Value) -> Value:
    """Change of a pool's quarter: its revenue (cash flow over an assumed margin where unreported) times the shock."""
    factors, b = state.factors, int(state.facility_borrower[f])
    row, pool = state.rows[b].borrower, state.pools[f].facility
    if not cash.known:
        return Value.exact(0.0)
    revenue = _contract_revenue(state, f)
    if not revenue.known:
        revenue = combine(lambda c, m: abs(c) / m, cash, state.assumptions.get("contract_margin", row.kind))
        revenue = revenue.noting("pool revenue not reported: worked out from its cash flow")
    if pool.contracts or pool.pool == "lease_building" or row.kind == "hpc_host":
        return combine(lambda r, lost: -r * lost, revenue, lost_share(state, f))
    if row.kind == "miner":
        return combine(lambda r: r * (factors.hashprice - 1), revenue)
    share, index = contracted_share(state, b), rent_index(state, b)
    lost = lost_share(state, f)
    return combine(lambda r, s, i, gone: r * (1 - s) * (i - 1) - r * s * gone, revenue, share, index, lost)


def facility_service_12m(state: State) -> Field:
    """Interest and scheduled principal of a pool's debts over a year; bullets and puts belong to liquidity."""
    facts = state.pool_facts

    def build() -> Field:
        built = Field.of([_service(state, f) for f in range(len(state.facilities))])
        return first_known(facts["service_12m_usd"], facts["service_quarter_usd"] * 4.0, built)

    base = state.once("service", build)
    if not state.factors.base_rate:
        return base
    return base + Field.of([floating_cost(state, d, state.kind(f)) for f, d in enumerate(state.pool_debts)])


def _service(state: State, f: int) -> Value:
    if not state.pool_debts[f]:
        return Value.unknown("no debt of the facility was known by then")
    kind = state.kind(f)
    parts = []
    for debt in state.pool_debts[f]:
        owed = amount_owed(debt, state.at)
        interest = combine(lambda p, r: p * r, owed, rate_of(state, debt, kind))
        parts.append(combine(lambda i, p: i + p, interest, scheduled_12m(state, debt, owed)))
    return total(parts).noting("debt service worked out from the instruments")


def scheduled_12m(state: State, debt: KnownDebt, owed: Value) -> Value:
    """Scheduled principal of the next twelve months: filed, from the schedule, straight line, or none for a bullet."""
    filed = fact_value(debt.facts, "due_12m_usd", state.at)
    terms, start = debt.debt, state.at.date()
    if filed.known:
        return filed
    if terms.schedule_usd:
        days = {day: usd for day, usd in terms.schedule_usd.items() if 0 < (day - start).days <= 365}
        return Value.exact(sum(days.values()))
    if terms.amortisation == "straight_line":
        left = months_left(debt, start)
        return combine(lambda p, m: p if m <= 12 else p * 12 / m, owed, left)
    if terms.amortisation == "bullet" or (terms.amortisation is None and terms.kind in BULLET_KINDS):
        return Value.exact(0.0)
    return Value.unknown(f"amortisation of {terms.id} was never reported")


def distributable_12m(state: State) -> Field:
    """Group cash flow less what lock-ups keep: surplus cash of a pool below its ``lockup_dscr`` does not come up."""
    levels = [_lockup(state, f) for f in range(len(state.pools))]
    if not any(levels):
        return cfads_12m(state)
    cash, service = facility_cfads_12m(state), facility_service_12m(state)
    trapped = []
    for f, lockup in enumerate(levels):
        inflow, out = cash.at(f), service.at(f)
        if not lockup or not inflow.known or not out.known:
            trapped.append(Value.exact(0.0))
            continue
        kept = combine(lambda c, s, k=lockup: max(0.0, c - s) if c < k * s else 0.0, inflow, out)
        trapped.append(kept if any(kept.corners) else Value.exact(0.0))
    return cfads_12m(state) - Field.of(trapped).sum_by(state.facility_borrower, len(state.borrowers))


def _lockup(state: State, f: int) -> float:
    """The highest lock-up level of the facility and its debts; 0 without one."""
    terms = [state.pools[f].facility.covenants, *(debt.debt.covenants for debt in state.pool_debts[f])]
    return max(covenant.lockup_dscr or 0.0 for covenant in terms)
