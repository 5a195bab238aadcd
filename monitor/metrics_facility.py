"""Facility metrics: three loan-to-values, debt service, headroom to covenants, trigger prices, time against time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from monitor.known import KnownDebt
from monitor.metrics_base import View, metric
from monitor.model import Covenants, FloatArray
from monitor.stress import collateral
from monitor.stress.assumptions import amount_owed
from monitor.stress.collateral import contract_months, is_pool, months_between
from monitor.stress.due import months_left
from monitor.stress.field import INF, Field, Value, choose, combine, divide, either, lift, loan_to_value, total
from monitor.stress.state import State

#: days in which a loan repays too little for its last report to mislead
QUIET_DAYS = 45
NO_POOL = "the facility has no pool of collateral"
NOT_COINS = "the facility is not a loan against coins"


@metric("facility", "usd", "max", needs=("principal_usd",))
def principal_usd(view: View) -> Field:
    """What the facility's debts owe now, accreted where they accrete."""
    return view.state.principal


@metric("facility", "usd", "min", needs=("units or cost_vintages or assets_net_usd", "escrow_usd"), stressed=True)
def collateral_economic_usd(view: View) -> Field:
    """Market value of the pool plus escrow cash; see monitor.stress.collateral.economic."""
    return view.economic


@metric("facility", "usd", "min", needs=("units or cost_vintages or assets_net_usd", "depth_units"), stressed=True)
def collateral_liquidation_usd(view: View) -> Field:
    """What a sale of the pool brings, plus escrow: sum price haircut depth (1 - exp(-units / depth)) for hardware."""
    return view.liquidation


def _ltv(view: View, value: Field) -> Field:
    state = view.state
    loan = state.once("loan with its date", lambda: state.principal.with_detail(_unpaid_since(state)))
    unloaned = loan.known & (np.abs(loan.values).max(axis=0) == 0)
    ratio = choose(unloaned, loan, lift(loan_to_value, loan, value))
    return ratio.where(~is_pool(state, "none"), NO_POOL)


def _unpaid_since(state: State) -> dict[int, str]:
    """A loan stands at its last report while machines age every day, so the ratio of an amortising one drifts up."""
    notes = dict(state.principal.detail)
    for f in np.flatnonzero(is_pool(state, "hardware")):
        loans = [d for d in state.pool_debts[f] if d.debt.amortisation in ("straight_line", "schedule")]
        seen = [d.facts["principal_usd"].as_of for d in loans if d.number("principal_usd")]
        if seen and (state.at.date() - min(seen)).days > QUIET_DAYS:
            notes[int(f)] = f"loan of {min(seen)}: what was repaid since is not known and not taken off"
    return notes


@metric(
    "facility", "ratio", "max", needs=("principal_usd", "cost_usd or assets_net_usd or cost_vintages"), stressed=True
)
def ltv_contractual(view: View) -> Field:
    """Loan over collateral by the facility's own formula; decides covenants, ignores the market except for coins."""
    return _ltv(view, view.contractual)


@metric("facility", "ratio", "max", needs=("principal_usd", "units or cost_vintages or assets_net_usd"), stressed=True)
def ltv_economic(view: View) -> Field:
    """Loan over the pool's market value and escrow cash."""
    return _ltv(view, view.economic)


@metric("facility", "ratio", "max", needs=("principal_usd", "units or cost_vintages or assets_net_usd"), stressed=True)
def ltv_liquidation(view: View) -> Field:
    """Loan over what a sale would bring: loss given default, never default by itself; above 1 is normal at first."""
    return _ltv(view, view.liquidation)


@metric("facility", "x", "min", needs=("cfads_quarter_usd", "service_12m_usd"), stressed=True)
def dscr(view: View) -> Field:
    """CFADS / (interest + scheduled principal), the pool's own, both over one year at the present run-rate."""
    return view.dscr


def _vehicle(view: View, field: Field) -> Field:
    """Known only where the debt sits in a legal entity of its own."""
    entities = [
        pool.facility.entity or any(d.debt.entity for d in debts)
        for pool, debts in zip(view.state.pools, view.state.pool_debts, strict=True)
    ]
    return field.where(np.array([bool(e) for e in entities], np.bool_), "no entity of its own was reported (entity)")


@metric("facility", "ratio", "max", needs=("entity", "principal_usd"), stressed=True)
def spv_ltv_economic(view: View) -> Field:
    """ltv_economic of a facility that sits in a vehicle of its own."""
    return _vehicle(view, ltv_economic(view))


@metric("facility", "x", "min", needs=("entity", "cfads_quarter_usd", "service_12m_usd"), stressed=True)
def spv_dscr(view: View) -> Field:
    """dscr of a facility that sits in a vehicle of its own."""
    return _vehicle(view, view.dscr)


@metric("facility", "ratio", "min", needs=("recourse", "principal_usd"))
def recourse_share(view: View) -> Field:
    """Share of the loan the lender may claim from beyond the pool, principal-weighted; unknown recourse is unknown.

    full 1, none 0; limited: the cap over the principal; completion: 1 until its end; springing and an uncapped limited
    guarantee: an assumed range. A guarantee past its end counts nothing.
    """
    return Field.of([_recourse(view.state, f) for f in range(view.nf)])


def _recourse(state: State, f: int) -> Value:
    debts = state.pool_debts[f]
    owed = [(debt, amount_owed(debt, state.at)) for debt in debts]
    if not owed:
        return Value.unknown(*state.principal.reasons.get(f, ("no debt stands against this pool",)))
    claims = [_claim(state, f, debt, value) for debt, value in owed]
    whole = state.principal.at(f)
    if whole.known and whole.middle == 0:
        return combine(lambda *shares: sum(shares) / len(shares), *claims)
    parts = [combine(lambda p, s: p * s, value, claim) for (_, value), claim in zip(owed, claims, strict=True)]
    return combine(lambda part, w: part / w, total(parts), whole)


def _claim(state: State, f: int, debt: KnownDebt, owed: Value) -> Value:
    terms = debt.debt
    ended = terms.recourse_end is not None and terms.recourse_end < state.at.date()
    if terms.recourse is None:
        return Value.unknown(f"recourse of {terms.id} was never reported")
    if terms.recourse == "none" or ended:
        return Value.exact(0.0)
    if terms.recourse == "full":
        return Value.exact(1.0)
    if terms.recourse == "completion":
        known_end = terms.recourse_end is not None
        return Value.exact(1.0) if known_end else Value.unknown(f"recourse_end of {terms.id} was never reported")
    if terms.recourse == "limited" and terms.recourse_cap_usd is not None:
        cap = terms.recourse_cap_usd
        return combine(lambda p: min(1.0, cap / p) if p > 0 else 1.0, owed)
    return state.assumptions.get(f"recourse_share_{terms.recourse}", state.kind(f))


# ---------------------------------------------------------------- headroom
def covenant(state: State, f: int, name: str, pick: Callable[[list[float]], float]) -> Value:
    """A covenant level: the facility's, else the tightest of its debts'; an assumed level says so."""
    pool = state.pools[f].facility
    sources: list[Covenants] = [pool.covenants, *(debt.debt.covenants for debt in state.pool_debts[f])]
    levels = [(getattr(c, name), c.quality) for c in sources if getattr(c, name) is not None]
    if not levels:
        return Value.unknown(f"covenant {name} was never reported")
    level = pick([value for value, _ in levels])
    assumed = any(quality == "assumed" for value, quality in levels if value == level)
    return Value.exact(level, used=(f"covenant {name} {level:g} (assumed)",) if assumed else ())


@metric("facility", "x", "min", needs=("dscr_min", "cfads_quarter_usd", "service_12m_usd"), stressed=True)
def dscr_headroom(view: View) -> Field:
    """dscr less the covenant's floor; below zero: breached."""
    s = view.state
    return view.dscr - s.once("dscr_min", lambda: Field.of([covenant(s, f, "dscr_min", max) for f in range(view.nf)]))


@metric("facility", "ratio", "min", needs=("ltv_max", "principal_usd", "cost_usd"), stressed=True)
def ltv_headroom(view: View) -> Field:
    """The covenant's cap less ltv_contractual; the advance rate is the cap where the terms state no other."""
    s = view.state
    return s.once("ltv_max", lambda: Field.of([_ltv_cap(s, f) for f in range(view.nf)])) - ltv_contractual(view)


def _ltv_cap(state: State, f: int) -> Value:
    cap, rate = covenant(state, f, "ltv_max", min), state.pools[f].facility.advance_rate
    if cap.known or rate is None:
        return cap
    return Value.exact(rate, detail=f"cap is the advance rate {rate:.2%}")


# ---------------------------------------------------------------- loans against coins
def _level(view: View, name: str, pick: Callable[[list[float]], float] = min) -> Field:
    """A margin level: the loan's own, else the assumed range."""
    s = view.state
    own = s.once(("level", name), lambda: Field.of([covenant(s, f, name, pick) for f in range(view.nf)]))
    return either(own, s.assume_pools(name))


def _trigger(view: View, name: str) -> Field:
    level, coins = _level(view, name), view.state.pool_facts["coins_pledged_btc"]
    price = lift(divide_zero, view.state.principal, coins * level)
    price = price.where(is_pool(view.state, "coins"), NOT_COINS)
    spot = view.state.price("btc_usd", view.nf)
    notes = {}
    for f in np.flatnonzero(price.known & spot.known):
        trigger, now = price.values[0, f], spot.values[0, f] * view.state.factors.btc
        if np.isfinite(trigger) and now > 0:
            notes[int(f)] = f"BTC {trigger:,.0f} ({trigger / now - 1:+.0%})"
    return price.with_detail(notes)


def divide_zero(loan: FloatArray, coins: FloatArray) -> FloatArray:
    """A loan over coins: no loan triggers at zero, a loan on no coins at any price."""
    return np.where(np.asarray(loan) == 0, 0.0, divide(loan, coins))


@metric("facility", "usd", "max", needs=("principal_usd", "coins_pledged_btc", "margin_call_ltv"))
def margin_call_btc_usd(view: View) -> Field:
    """BTC price at which more collateral is called: loan / (coins margin_call_ltv); an unreported level is a range."""
    return _trigger(view, "margin_call_ltv")


@metric("facility", "usd", "max", needs=("principal_usd", "coins_pledged_btc", "liquidation_ltv"))
def liquidation_btc_usd(view: View) -> Field:
    """BTC price at which the lender may sell: loan / (coins liquidation_ltv); an unreported level is a range."""
    return _trigger(view, "liquidation_ltv")


@metric(
    "borrower", "x", "min", needs=("coins_pledged_btc", "cure_ltv", "cash_unrestricted_usd", "btc_free"), stressed=True
)
def topup_cover(view: View) -> Field:
    """(unrestricted cash + free coins) / collateral to post, at the margin-call price or today's if lower.

    To post: loan / cure_ltv - coins price, summed over the borrower's coin loans; infinite without one. Lent, pledged
    and restricted coins cannot cure.
    """
    s, coins = view.state, is_pool(view.state, "coins")
    owner, zero = s.facility_borrower, Field.exact(np.zeros(view.nf))
    spot = s.price("btc_usd", view.nf) * s.factors.btc
    price = lift(np.minimum, spot, margin_call_btc_usd(view))
    pledged = s.pool_facts["coins_pledged_btc"]
    need = lift(
        lambda p, cure, c, x: np.maximum(p / cure - c * x, 0.0), s.principal, _level(view, "cure_ltv"), pledged, price
    )
    lender = choose(coins, need, zero).sum_by(owner, view.n)
    has_loan = np.zeros(view.n, np.bool_)
    has_loan[owner[coins]] = True
    lowest = np.full((3, view.n), INF)
    for f in np.flatnonzero(coins & price.known):
        lowest[:, owner[f]] = np.minimum(lowest[:, owner[f]], price.values[:, f])
    at_price = Field(np.where(np.isinf(lowest), 0.0, lowest), np.ones(view.n, np.bool_), as_of_s=np.full(view.n, INF))
    cover = (view.cash + view.fact("btc_free") * at_price) / lender
    return choose(has_loan, cover, Field.exact(np.full(view.n, INF)))


# ---------------------------------------------------------------- time against time
def _tenor(state: State, debts: tuple[KnownDebt, ...]) -> Value:
    """Months to maturity weighted by what is owed; the range is earliest to latest maturity."""
    parts, weights = [], 0.0
    for debt in debts:
        owed = amount_owed(debt, state.at)
        if owed.known and owed.middle > 0:
            parts.append(combine(lambda m, w=owed.middle: m * w, months_left(debt, state.at.date())))
            weights += owed.middle
    if not weights:
        return Value.unknown("no debt with a known principal")
    return combine(lambda t: t / weights, total(parts))


@metric("facility", "months", "", needs=("maturity",))
def facility_tenor_months(view: View) -> Field:
    """Months to the maturity of the facility's debts, principal-weighted."""
    return Field.of([_tenor(view.state, debts) for debts in view.state.pool_debts])


@metric("borrower", "months", "", needs=("maturity",))
def tenor_months(view: View) -> Field:
    """Months to the maturity of all known debts, principal-weighted."""
    return Field.of([_tenor(view.state, row.debts) for row in view.state.rows])


@metric("facility", "months", "min", needs=("contracts", "maturity"))
def facility_contract_gap_months(view: View) -> Field:
    """Contract life less tenor: below zero the loan outlives the contracts that pay it."""
    today = view.state.at.date()
    life = Field.of([contract_months(pool.facility.contracts, today) for pool in view.state.pools])
    return life - facility_tenor_months(view)


@metric("facility", "months", "min", needs=("units or cost_vintages", "maturity"))
def facility_economic_gap_months(view: View) -> Field:
    """Remaining economic life of the hardware less tenor: below zero the loan outlives the machines."""
    life = Field.of([_economic_life(view, [f]) for f in range(view.nf)])
    return life - facility_tenor_months(view)


@metric("borrower", "months", "min", needs=("contracts",))
def contract_life_months(view: View) -> Field:
    """Months to the end of the contracts in all pools, weighted by revenue."""
    values = []
    for row in view.state.rows:
        contracts = tuple(c for pool in row.facilities for c in pool.facility.contracts)
        values.append(contract_months(contracts, view.state.at.date()))
    return Field.of(values)


@metric("borrower", "months", "min", needs=("units or cost_vintages",))
def economic_life_months(view: View) -> Field:
    """Assumed economic life less the age of the pledged hardware, weighted by its market value."""
    owner = view.state.facility_borrower
    return Field.of([_economic_life(view, [int(f) for f in np.flatnonzero(owner == b)]) for b in range(view.n)])


def _economic_life(view: View, facilities: list[int]) -> Value:
    lots, today = view.state.lots, view.state.at.date()
    own = [i for i, f in enumerate(lots.facility) if int(f) in facilities]
    own = [i for i in own if lots.value_usd.known[i] and lots.dated[i]]
    worth = float(sum(lots.value_usd.values[0, i] for i in own))
    if not own or worth <= 0:
        return Value.unknown("no pledged hardware with a known purchase date (units or cost_vintages)")
    weights = [float(lots.value_usd.values[0, i]) / worth for i in own]
    age = sum(w * months_between(lots.bought[i], today) for w, i in zip(weights, own, strict=True))
    life = view.state.assumptions.get("economic_life_months", view.state.kind(facilities[0]))
    return combine(lambda months: max(0.0, months - age), life)


@metric("borrower", "usd", "min", needs=("units", "resale prices"))
def hardware_mark(view: View) -> Field:
    """Pledged hardware at observed marks only: units times used prices, or a reported collateral value.

    Unknown where the value rests on an assumed decay or ratio; its age is the age of the oldest mark.
    """
    s, values = view.state, []
    marked = collateral.stressed_lots(s)
    for b in range(view.n):
        own = [i for i, f in enumerate(s.lots.facility) if int(s.facility_borrower[int(f)]) == b]
        if not own:
            values.append(Value.unknown("no pledged hardware known"))
            continue
        value = total([marked.at(i) for i in own])
        assumed = [u for u in value.used if u.startswith(("decay_annual", "market_to_book", "unit_cost_usd"))]
        values.append(Value.unknown("no observed mark: it would rest on " + assumed[0]) if assumed else value)
    return Field.of(values)
