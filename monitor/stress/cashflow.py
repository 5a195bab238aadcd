"""A year of cash at the present run-rate, and what a scenario takes from it, per borrower. Pure; USD a year.

Run-off: no draws, no growth capex, no new contracts. Costs are held where they are when revenue falls, except power.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from monitor.known import KnownBorrower, KnownDebt
from monitor.stress.assumptions import amount_owed
from monitor.stress.due import debt_total
from monitor.stress.field import Field, Value, combine, either, first_known, total
from monitor.stress.lots import GPU_MODELS
from monitor.stress.state import State

HOURS_A_QUARTER = 2191.5
DAYS_A_QUARTER = 91.3125
#: instruments this near the filed total are all of it
ROUNDING = 0.01


# ---------------------------------------------------------------- the borrower
def cfads_12m(state: State) -> Field:
    """Cash available for debt service over a year: four times the quarter, less what the scenario takes.

    Adjusted EBITDA of the quarter stands for it; where it is unknown, revenue less operating and power cost, else
    revenue at an assumed margin. Cash taxes and maintenance capex are not reported apart and not deducted; coin gains
    are not in adjusted EBITDA.
    """
    quarter = state.once("cash of a quarter", lambda: _quarter(state))
    return (quarter + _change(state)) * 4.0


def _quarter(state: State) -> Field:
    facts = state.facts
    built = facts["revenue_quarter_usd"] - facts["opex_quarter_usd"] - facts["power_cost_quarter_usd"]
    built = built.noting("cash flow is revenue less operating and power cost")
    assumed = facts["revenue_quarter_usd"] * state.assume("ebitda_margin")
    return either(either(facts["ebitda_adjusted_quarter_usd"], built), assumed)


def _change(state: State) -> Field:
    """Change of a quarter's cash flow under the scenario, by channel: each shock reaches only what it should."""
    moved: list[Callable[[int], Value]] = []
    factors = state.factors
    if factors.hashprice != 1:
        moved.append(lambda b: combine(lambda r: r * (factors.hashprice - 1), mining(state, b)))
    if factors.contract_loss:
        moved.append(lambda b: combine(lambda r: -r, _contracts_lost(state, b)))
    if factors.rent or factors.utilisation != 1:
        moved.append(lambda b: combine(lambda r, i: r * (i - 1), spot(state, b), rent_index(state, b)))
    if factors.power != 1:
        moved.append(lambda b: combine(lambda p: -p * (factors.power - 1), power_cost(state, b)))
    if not moved:
        return Field.exact(np.zeros(len(state.borrowers)))
    return Field.of([total([change(b) for change in moved]) for b in range(len(state.borrowers))])


def fact(state: State, b: int, name: str) -> Value:
    """One figure of one borrower."""
    return state.facts[name].at(b)


def contracted_share(state: State, b: int) -> Value:
    """Share of revenue under contract: reported, else assumed by kind."""
    stated = fact(state, b, "contracted_share")
    return stated if stated.known else state.assumptions.get("contracted_share", state.rows[b].borrower.kind)


def mining(state: State, b: int) -> Value:
    """Mining revenue of a quarter: reported, else ``hashrate 1000 hashprice days``, else what the kind implies."""
    reported = fact(state, b, "revenue_mining_quarter_usd")
    kind, revenue = state.rows[b].borrower.kind, fact(state, b, "revenue_quarter_usd")
    if reported.known or kind in ("neocloud", "private"):
        return reported if reported.known else Value.exact(0.0)
    price = state.market["hashprice_usd_ph_day"].at(0)
    units = combine(lambda h, p: h * 1000 * p * DAYS_A_QUARTER, fact(state, b, "hashrate_eh"), price)
    if units.known:
        return units.noting("mining revenue from hashrate and hashprice")
    if kind == "miner" and revenue.known:
        return revenue.noting("revenue split unknown: all counted as mining")
    if kind == "hpc_host" and revenue.known:
        rest = combine(lambda r, share: r * (1 - share), revenue, contracted_share(state, b))
        return rest.noting("revenue not contracted counted as mining")
    return Value.unknown(*reported.reasons)


def contracted(state: State, b: int) -> Value:
    """Contracted revenue of a quarter: reported, else the contracted share of revenue (none assumed for a miner)."""
    reported = fact(state, b, "revenue_contracted_quarter_usd")
    if reported.known:
        return reported
    if state.rows[b].borrower.kind == "miner" and not fact(state, b, "contracted_share").known:
        return Value.exact(0.0)
    return combine(lambda r, share: r * share, fact(state, b, "revenue_quarter_usd"), contracted_share(state, b))


def spot(state: State, b: int) -> Value:
    """Revenue of a quarter that follows market rents: reported, else the part of cloud revenue not contracted."""
    reported = fact(state, b, "revenue_spot_quarter_usd")
    if reported.known:
        return reported
    cloud = fact(state, b, "revenue_cloud_quarter_usd")
    if state.rows[b].borrower.kind in ("miner", "hpc_host"):
        if not cloud.known:
            return Value.exact(0.0)
    elif not cloud.known:
        cloud = fact(state, b, "revenue_quarter_usd")
    return combine(lambda r, share: r * (1 - share), cloud, contracted_share(state, b))


def power_cost(state: State, b: int) -> Value:
    """Power bill of a quarter: reported, else ``hashrate efficiency hours price`` for a miner."""
    reported = fact(state, b, "power_cost_quarter_usd")
    if reported.known:
        return reported
    kind = state.rows[b].borrower.kind
    parts = [fact(state, b, "hashrate_eh")]
    for name in ("efficiency_j_th", "power_price_usd_kwh"):
        stated = fact(state, b, name)
        parts.append(stated if stated.known else state.assumptions.get(name, kind))
    # EH/s x J/TH: 1e6 TH/s a unit, in kW after dividing by 1000
    bill = combine(lambda h, j, p: h * 1e6 * j / 1000 * HOURS_A_QUARTER * p, *parts)
    return bill.noting("power bill from hashrate") if bill.known else Value.unknown(*reported.reasons)


def rent_index(state: State, b: int) -> Value:
    """Rents times utilisation relative to today, over the borrower's fleet where models move apart."""
    factors = state.factors
    if set(factors.rent) <= {""}:
        return Value.exact(factors.rent_of("") * factors.utilisation)
    weights = _fleet(state, b)
    index = sum(weight * factors.rent_of(model) for model, weight in weights.items()) / sum(weights.values())
    return Value.exact(index * factors.utilisation, used=("rents weighted by the pledged or assumed fleet",))


def _fleet(state: State, b: int) -> dict[str, float]:
    lots, weights = state.lots, dict[str, float]()
    own = (state.facility_borrower[lots.facility] == b) & lots.value_usd.known
    for i in np.flatnonzero(own):
        weights[lots.model[i]] = weights.get(lots.model[i], 0.0) + float(lots.value_usd.values[0, i])
    if not sum(weights.values()):
        shares = {model: state.assumptions.get("gpu_mix", "all", model) for model in GPU_MODELS}
        weights = {model: share.middle for model, share in shares.items() if share.known}
    return weights if sum(weights.values()) else {"": 1.0}


def _contracts_lost(state: State, b: int) -> Value:
    """Contracted revenue of a quarter that the scenario takes, never more than there is."""
    losses, revenue = state.factors.contract_loss, fact(state, b, "revenue_quarter_usd")
    whole, row = contracted(state, b), state.rows[b].borrower
    parts: list[Value] = []
    for counterparty, share in losses.items():
        if counterparty == "":
            parts.append(combine(lambda c, s=share: c * s, whole))
        elif counterparty == "largest" and not row.tenants:
            largest = state.assumptions.get("largest_tenant_share", row.kind)
            parts.append(combine(lambda c, t, s=share: c * t * s, whole, largest))
        else:
            tenant = max(row.tenants.values()) if counterparty == "largest" else row.tenants.get(counterparty, 0.0)
            parts.append(combine(lambda r, t=tenant, s=share: r * t * s, revenue) if tenant else Value.exact(0.0))
    lost = total(parts)
    tied = whole.known and not row.tenants
    return combine(min, lost, whole) if tied else lost


def interest_12m(state: State) -> Field:
    """Gross cash interest over a year: four times the reported quarter, else worked out from the instruments.

    A higher base rate raises the unhedged floating part; a wider credit spread does not reprice an existing loan.
    """
    reported = state.facts["interest_quarter_usd"] * 4.0
    base = state.once("interest", lambda: first_known(reported, run_rate_interest(state)))
    return base + _base_rate_cost(state) if state.factors.base_rate else base


def run_rate_interest(state: State) -> Field:
    """Interest over a year on the debt as it stands: by instrument, what they leave of the total at an assumed rate."""
    debts = debt_total(state)
    rows = list(enumerate(state.rows))
    return state.once("run rate", lambda: Field.of([_run_rate(state, row, debts.at(b)) for b, row in rows]))


def _run_rate(state: State, row: KnownBorrower, debt: Value) -> Value:
    if not debt.known or debt.middle == 0:
        return debt
    kind = row.borrower.kind
    owed = [(item, amount_owed(item, state.at)) for item in row.debts]
    known = [(item, value) for item, value in owed if value.known and value.middle > 0]
    covered = total([value for _, value in known])
    parts = [combine(lambda p, r: p * r, value, rate_of(state, item, kind)) for item, value in known]
    if covered.middle < debt.middle * (1 - ROUNDING):
        rest = combine(lambda d, c: max(0.0, d - c), debt, covered)
        other = combine(lambda p, r: p * r, rest, state.assumptions.get("unstated_rate", kind))
        parts.append(other.noting("interest of debt without instruments at an assumed rate"))
    return total(parts).noting("interest worked out from the instruments")


def rate_of(state: State, debt: KnownDebt, kind: str) -> Value:
    """Yearly rate: coupon, or base plus margin (hedged part at its fixed rate), else the assumed one."""
    terms = debt.debt
    if terms.coupon is not None:
        return Value.exact(terms.coupon)
    if terms.margin is None:
        return state.assumptions.get("unstated_rate", kind, terms.kind)
    quoted = state.market["sofr"].at(0)
    base = quoted if quoted.known else state.assumptions.get("sofr", kind)
    hedged = terms.hedged_share if terms.hedged_rate is not None and terms.hedged_share else 0.0
    fixed, margin = terms.hedged_rate or 0.0, terms.margin
    return combine(lambda b: hedged * fixed + (1 - hedged) * (b + margin), base)


def _base_rate_cost(state: State) -> Field:
    return Field.of([floating_cost(state, row.debts, row.borrower.kind) for row in state.rows])


def floating_cost(state: State, debts: tuple[KnownDebt, ...], kind: str) -> Value:
    """What the scenario's rise of the base rate costs these instruments in a year."""
    parts = []
    for debt in debts:
        owed = amount_owed(debt, state.at)
        if debt.debt.base is None or not owed.known:
            continue
        stated = debt.debt.hedged_share
        hedged = Value.exact(stated) if stated is not None else state.assumptions.get("hedged_share", kind)
        parts.append(combine(lambda p, h: p * (1 - h) * state.factors.base_rate, owed, hedged))
    return total(parts)
