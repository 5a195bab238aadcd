"""The other case of a year: an obligor that goes on building. Pure.

The run-off case, the default of every alarm, draws nothing and starts nothing. Here committed capex is spent at every
end of the assumptions, loans are drawn for it up to an advance rate and what is undrawn, and contracts signed with a
known rent start on their date, later by a delay. It says how much money the plan needs, not that lenders will give it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monitor.model import FloatArray
from monitor.stress import cashflow
from monitor.stress.assumptions import fact_value
from monitor.stress.bridge import Bridge
from monitor.stress.field import Value, combine
from monitor.stress.outlook import under
from monitor.stress.scenario import Scenario
from monitor.stress.state import State

MONTH_DAYS = 30.4375


def built(rows: Bridge, state: State, corner: int, delay_months: float = 0.0) -> tuple[Bridge, dict[int, str]]:
    """The same rows in the build case, and per borrower why its case cannot be told.

    Advance rate: the lowest its pools state, else assumed. New contracts count at ``contract_margin`` because their
    costs are not in today's; one without a rent or a start does not count. ``delay_months`` moves every start.
    """
    inputs = rows.inputs
    n, periods = len(rows.rows), inputs.opex_usd.shape[1]
    capex, draws = inputs.capex_usd.copy(), np.zeros((n, inputs.debt_usd.shape[1], periods))
    undrawn, contracted, in_force = (
        np.zeros(inputs.debt_usd.shape),
        inputs.contracted_usd.copy(),
        inputs.in_force.copy(),
    )
    unknown = dict[int, str]()
    for b, name in enumerate(state.borrowers):
        r = rows.row(name)
        spend = _capex(state, b)
        if not spend.known:
            unknown[b] = spend.reasons[0]
            continue
        year = max(1, round(1 / inputs.dt_years))
        capex[r] = np.where(np.arange(periods) < year, spend.corners[corner] / year, 0.0)
        rate = _advance(state, b)
        undrawn[r, 0] = _undrawn(state, b)
        draws[r, 0] = capex[r] * (rate.corners[corner] if rate.known else 0.0)
        _start(rows, state, b, corner, delay_months, contracted[r], in_force[r])
    made = replace(
        inputs, case="build", capex_usd=capex, draw_usd=draws, undrawn_usd=undrawn, contracted_usd=contracted,
        in_force=in_force,
    )  # fmt: skip
    return replace(rows, inputs=made), unknown


def _capex(state: State, b: int) -> Value:
    """Committed capex less the cash already set aside for it."""
    committed, restricted = (cashflow.fact(state, b, f) for f in ("capex_committed_usd", "cash_restricted_usd"))
    aside = restricted if restricted.known else Value.exact(0.0)
    return combine(lambda usd, cash: max(0.0, usd - cash), committed, aside)


def _advance(state: State, b: int) -> Value:
    pools = (state.pools[int(f)].facility.advance_rate for f in np.flatnonzero(state.facility_borrower == b))
    stated = [rate for rate in pools if rate is not None]
    return Value.exact(min(stated)) if stated else state.assumptions.get("advance_rate", state.rows[b].borrower.kind)


def _undrawn(state: State, b: int) -> float:
    """What the borrower's loans still hold undrawn, where it was reported."""
    found = (fact_value(debt.facts, "undrawn_usd", state.at) for debt in state.rows[b].debts)
    return float(sum(value.middle for value in found if value.known))


def _start(
    rows: Bridge, state: State, b: int, corner: int, delay_months: float, usd: FloatArray, in_force: FloatArray
) -> None:
    """Add a borrower's contracts that have not started to its contracted revenue, each from its own month on."""
    dt_months, day = rows.inputs.dt_years * 12, state.at.date()
    margin = state.assumptions.get("contract_margin", state.rows[b].borrower.kind)
    ends = (np.arange(in_force.shape[1]) + 1) * dt_months
    for f in np.flatnonzero(state.facility_borrower == b):
        for contract in state.pools[int(f)].facility.contracts:
            if contract.monthly_revenue_usd is None or contract.starts is None or contract.starts <= day:
                continue
            c = rows.counterparties.index(contract.counterparty)
            new = contract.monthly_revenue_usd * dt_months * (margin.corners[corner] if margin.known else 1.0)
            months = (contract.starts - day).days / MONTH_DAYS + delay_months
            runs = np.clip((ends - months) / dt_months, 0.0, 1.0)
            whole = usd[c] + new
            in_force[c] = (usd[c] * in_force[c] + new * runs) / whole if whole > 0 else in_force[c]
            usd[c] = whole


def with_capex_rule(rows: Bridge, state: State, scenario: Scenario) -> Bridge:
    """Rows under a scenario's capex rule: with ``stop`` nothing is spent in periods in which it shuts refinancing, in
    proportion where it shuts it in part; with ``committed`` the rows stay as they are."""
    if scenario.capex_rule != "stop":
        return rows
    still_open = under(rows, state, scenario).refi_open[:, 0]
    return replace(rows, inputs=replace(rows.inputs, capex_usd=rows.inputs.capex_usd * still_open))
