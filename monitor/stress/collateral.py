"""What a pool is worth three ways: by the lender's own formula, at the market, in a sale. Pure; USD over facilities."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from monitor.model import BoolArray, Contract, FloatArray
from monitor.stress.assumptions import fact_value, seconds
from monitor.stress.field import Field, Value, choose, combine, either, lift, total
from monitor.stress.lots import GPU_MODELS, Lots
from monitor.stress.state import Factors, State

MONTH_DAYS = 30.4375
#: a sale of coins never moves the price by more than this
MAX_IMPACT = 0.5


def is_pool(state: State, *pools: str) -> BoolArray:
    """Which facilities have one of these pool types."""
    return np.array([pool.facility.pool in pools for pool in state.pools], dtype=np.bool_)


def stressed_lots(state: State) -> Field:
    """Each lot at the market mark times the scenario's move of its model and vintage.

    A lot nobody dated counts as new in the middle; the ends take the vintage a scenario hits hardest and least.
    """
    lots = state.lots
    if not state.factors.residual:
        return lots.value_usd
    keys = list(zip(lots.model, lots.bought, lots.dated, strict=True))
    moves = {key: _residual_move(state.factors, *key) for key in set(keys)}
    return lots.value_usd * Field.of([moves[key] for key in keys])


def _residual_move(factors: Factors, model: str, bought: date, dated: bool) -> Value:
    middle = factors.residual_of(model, bought)
    turns = [day for move in factors.residual for day in (move.before, move.since) if day is not None]
    if dated or not turns:
        return Value.exact(middle)
    levels = [middle, *(factors.residual_of(model, day + timedelta(days=d)) for day in turns for d in (-1, 0))]
    return Value((middle, min(levels), max(levels)), (), ("date of purchase unknown, taken as new",))


def escrow(state: State) -> Field:
    """Cash held for the lender; where nobody reported any, none is counted, and it says so."""
    nothing = Field.exact(np.zeros(len(state.facilities))).noting("escrow cash not reported, none counted")
    return either(state.pool_facts["escrow_usd"], nothing)


def economic(state: State) -> Field:
    """Market value of the pool plus its escrow cash.

    hardware ``sum_v cost_v (1 - decay)^age`` or units at used prices; coins at spot; a leased building: contracted net
    operating income to the end of its contracts plus what it re-lets for after.
    """
    return _by_pool(state, _hardware(state, stressed_lots(state)), _coins(state), _building(state)) + escrow(state)


def liquidation(state: State) -> Field:
    """What a sale of this pool alone would bring, plus its escrow cash; never above the economic value.

    Hardware: ``sum_m haircut_m integral price_m(u) exp(-u / depth_m) du`` over the units in order of price, which for
    one price per model is ``sum_m price_m haircut_m depth_m (1 - exp(-units_m / depth_m))``. More hardware never
    lowers it. Coins: spot less price impact. Buildings: economic value times a haircut.
    """
    coins, building = _coins(state), _building(state) * state.assume_pools("building_haircut")
    sold = coins * (Field.exact(np.ones(len(coins))) - impact(state, coins, "pools"))
    return _by_pool(state, _hardware(state, _sale(state)), sold, building) + escrow(state)


def _by_pool(state: State, hardware: Field, coins: Field, building: Field) -> Field:
    nothing = Field.exact(np.zeros(len(hardware)))
    picked = choose(is_pool(state, "hardware"), hardware, nothing)
    picked = choose(is_pool(state, "coins"), coins, picked)
    return choose(is_pool(state, "lease_building"), building, picked)


def _hardware(state: State, lots: Field) -> Field:
    return lots.sum_by(state.lots.facility, len(state.facilities))


def _coins(state: State) -> Field:
    return worth(
        state.pool_facts["coins_pledged_btc"], state.price("btc_usd", len(state.facilities)), state.factors.btc
    )


def worth(coins: Field, price: Field, factor: float) -> Field:
    """Coins at a price; no coins are worth nothing whether or not the price is known."""
    none = coins.known & (np.abs(coins.values).max(axis=0) == 0)
    return choose(none, coins, coins * price * factor)


def impact(state: State, usd: Field, over: str) -> Field:
    """Price impact of selling coins worth ``usd``: ``min(0.5, Y sigma sqrt(Q / V))``, V over the sale days."""
    assume = state.assume_pools if over == "pools" else state.assume
    y, sigma = assume("impact_y"), assume("coin_volatility_daily")
    volume = state.once(("coin volume", over), lambda: assume("coin_volume_usd_day") * assume("coin_sale_days"))
    return lift(_square_root_impact, y, sigma, usd, volume)


def _square_root_impact(y: FloatArray, sigma: FloatArray, usd: FloatArray, volume: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = y * sigma * np.sqrt(np.maximum(usd, 0) / volume)
    # nan (nothing sold into no market) must stay nan, and np.minimum keeps it
    return np.minimum(MAX_IMPACT, raw)


def _sale(state: State) -> Field:
    """Proceeds of each lot when its facility sells everything, dearest units of each model first."""
    lots = state.lots
    if not len(lots.units):
        return lots.units
    kinds = [state.kind(int(f)) for f in lots.facility]
    pairs = list(zip(kinds, lots.model, strict=True))
    get = state.assumptions.get
    depth = state.once("depth", lambda: Field.of([get("depth_units", kind, model) for kind, model in pairs]))
    haircut = state.once("haircut", lambda: Field.of([get("liquidation_haircut", kind) for kind in kinds]))
    group = _groups(lots)

    def proceeds(value: FloatArray, units: FloatArray, depth: FloatArray, haircut: FloatArray) -> FloatArray:
        rows = [sale_value(value[c], units[c], depth[c], group) * haircut[c] for c in range(3)]
        return np.stack(rows)

    return lift(proceeds, stressed_lots(state), lots.units, depth, haircut)


def _groups(lots: Lots) -> FloatArray:
    names = sorted({(int(f), m) for f, m in zip(lots.facility, lots.model, strict=True)})
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[(int(f), m)] for f, m in zip(lots.facility, lots.model, strict=True)], dtype=np.float64)


def sale_value(value: FloatArray, units: FloatArray, depth: FloatArray, group: FloatArray) -> FloatArray:
    """What each lot brings when the lots of a group are sold together, dearest first, before any haircut.

    value, units, depth, group (L,): worth at the mark, machines, units that take the price to 1/e, who sells together.
    Unknown stays NaN. Source: exponential price rule of Cifuentes, Ferrucci and Shin (2005), integrated over the sale.

    >>> lots = sale_value(np.array([100.0, 100.0]), np.array([10.0, 10.0]), np.array([20.0, 20.0]), np.zeros(2))
    >>> bool(np.isclose(lots.sum(), 10 * 20 * (1 - np.exp(-1))))
    True
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.where(units > 0, value / np.where(units > 0, units, 1.0), np.where(value > 0, np.nan, 0.0))
    order = np.lexsort((-np.nan_to_num(price, nan=-1.0), group))
    counted = np.nan_to_num(units[order])  # an unknown lot must not reach the groups after it through the running sum
    after = np.cumsum(counted)
    first = np.r_[True, np.diff(group[order]) != 0]
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    before = after - counted
    offset = before[start]
    scale = depth[order]
    with np.errstate(divide="ignore", invalid="ignore"):
        sold = scale * (np.exp(-(before - offset) / scale) - np.exp(-(after - offset) / scale))
    sold = np.where(np.isinf(scale), counted, np.where(scale <= 0, 0.0, sold))
    brought = np.empty_like(value)
    brought[order] = price[order] * sold
    return brought


def group_equipment(state: State) -> Field:
    """All equipment of a borrower at net book value times an assumed market-to-book ratio and the scenario's move.

    A host's buildings do not follow used prices of chips; everybody else's equipment moves as an undated assumed fleet.
    """
    book = state.once("equipment", lambda: state.facts["equipment_net_usd"] * state.assume("market_to_book"))
    book = state.once("equipment noted", lambda: book.noting("pools not all valued: net equipment of the group"))
    return book * Field.of([_fleet_move(state, row.borrower.kind) for row in state.rows])


def _fleet_move(state: State, kind: str) -> Value:
    today = state.at.date()
    if kind == "hpc_host" or not state.factors.residual:
        return Value.exact(1.0)
    if kind == "miner":
        return _residual_move(state.factors, "ASIC", today, False)
    shares = {m: share for m in GPU_MODELS if (share := state.assumptions.get("gpu_mix", kind, m)).known}
    whole = sum(share.middle for share in shares.values()) or 1.0
    moves = [
        combine(lambda r, s=v.middle / whole: r * s, _residual_move(state.factors, m, today, False))
        for m, v in shares.items()
    ]
    return total(moves) if moves else Value.exact(state.factors.residual_of("", today))


# ---------------------------------------------------------------- leased buildings
def _building(state: State) -> Field:
    return Field.of([_building_value(state, f) for f in range(len(state.facilities))])


def _building_value(state: State, f: int) -> Value:
    """Contracted income to the contracts' end, then re-let: ``noi a(n, r) + relet noi / r (1 + r)^-n``, monthly."""
    pool = state.pools[f]
    if pool.facility.pool != "lease_building":
        return Value.exact(0.0)
    stated = fact_value(pool.facts, "collateral_usd", state.at)
    if stated.known:
        return stated
    kind = state.kind(f)
    noi = fact_value(pool.facts, "noi_quarter_usd", state.at)
    rate, relet = state.assumptions.get("discount_rate", kind), state.assumptions.get("relet_share", kind)
    spread = state.factors.spread
    months = contract_months(state.pools[f].facility.contracts, state.at.date())

    def present(noi: float, months: float, rate: float, relet: float, lost: float) -> float:
        monthly, r = noi / 3, max((rate + spread) / 12, 1e-9)
        discount = (1 + r) ** -months
        return float(monthly * (1 - lost) * (1 - discount) / r + relet * monthly / r * discount)

    return combine(present, noi, months, rate, relet, lost_share(state, f))


def lost_share(state: State, f: int) -> Value:
    """Share of a facility's contracts the scenario takes away, by revenue (by number where no revenue is known).

    Without reported contracts only a loss of all, or of the largest customer by its share of the group, can reach it.
    """
    contracts, losses = state.pools[f].facility.contracts, state.factors.contract_loss
    if not losses:
        return Value.exact(0.0)
    if not contracts:
        row = state.rows[int(state.facility_borrower[f])].borrower
        tenants = row.tenants.values()
        share = Value.exact(max(tenants)) if tenants else state.assumptions.get("largest_tenant_share", row.kind)
        every, largest = losses.get("", 0.0), losses.get("largest", 0.0)
        if not largest:
            return Value.exact(every)
        return combine(lambda s: 1 - (1 - every) * (1 - s * largest), share)
    weights = contract_weights(contracts)
    biggest = max(zip(weights, contracts, strict=True), key=lambda pair: pair[0])[1].counterparty
    lost = 0.0
    for weight, contract in zip(weights, contracts, strict=True):
        kept = 1 - losses.get("", 0.0)
        kept *= 1 - losses.get(contract.counterparty, 0.0)
        kept *= 1 - (losses.get("largest", 0.0) if contract.counterparty == biggest else 0.0)
        lost += weight * (1 - kept)
    return Value.exact(lost)


def contract_weights(contracts: tuple[Contract, ...]) -> list[float]:
    """Weights of contracts by revenue, equal where a revenue is missing; they add to one."""
    revenue = [contract.monthly_revenue_usd for contract in contracts]
    known = [r for r in revenue if r is not None]
    if len(known) < len(revenue) or not sum(known):
        return [1 / len(contracts)] * len(contracts)
    return [r / sum(known) for r in known]


def contract_months(contracts: tuple[Contract, ...], today: date) -> Value:
    """Months until contracts end, weighted by revenue."""
    if not contracts:
        return Value.unknown("contracts were never reported")
    open_ended = [contract.id for contract in contracts if contract.ends is None]
    if open_ended:
        return Value.unknown(f"the end of contract {', '.join(open_ended)} was never reported")
    months = [months_between(today, c.ends) for c in contracts if c.ends is not None]
    used = () if all(c.monthly_revenue_usd for c in contracts) else ("contracts weighted equally",)
    value = sum(w * m for w, m in zip(contract_weights(contracts), months, strict=True))
    return Value.exact(value, min(seconds(c.fact.as_of) for c in contracts), used if len(contracts) > 1 else ())


def months_between(start: date, end: date) -> float:
    """Months from one day to another, never below zero.

    >>> round(months_between(date(2026, 6, 30), date(2027, 6, 30)), 2)
    11.99
    """
    return max(0.0, (end - start).days / MONTH_DAYS)


# ---------------------------------------------------------------- the lender's formula
def contractual(state: State) -> Field:
    """The collateral value the facility's own terms give; it never follows the market except for coins.

    In order: cost depreciated straight line over the facility's stated life; cost as it was (loan to cost); net assets
    as filed; cost by vintage over an assumed life.
    """
    formula = state.once("formula", lambda: Field.of([_formula(state, f) for f in range(len(state.facilities))]))
    return choose(is_pool(state, "coins"), _coins(state), formula)


def contractual_of(state: State, f: int) -> Value:
    """The collateral value of one facility by its own terms, without working out those of all others."""
    return _coins(state).at(f) if state.pools[f].facility.pool == "coins" else _formula(state, f)


def _formula(state: State, f: int) -> Value:
    pool, at = state.pools[f], state.at
    facility = pool.facility
    cost = fact_value(pool.facts, "cost_usd", at)
    net = fact_value(pool.facts, "assets_net_usd", at)
    life = facility.useful_life_months
    if facility.cost_vintages and (life or not (cost.known or net.known)):
        months = Value.exact(life) if life else state.assumptions.get("useful_life_months", state.kind(f))
        detail = f"cost over {life:g} months straight line" if life else "cost straight line over an assumed life"
        return total(
            [_depreciated(state, v.cost_usd, v.bought, months, v.fact.as_of) for v in facility.cost_vintages]
        ).noting(detail=detail)
    if cost.known and life:
        bought = pool.facts["cost_usd"].as_of
        return _depreciated(state, cost.middle, bought, Value.exact(life), bought).noting(
            "age of cost_usd counted from its as_of", f"cost over {life:g} months straight line"
        )
    if cost.known:
        return cost.noting(detail="loan to cost")
    if net.known:
        return net.noting(detail="net assets as filed")
    return Value.unknown(*cost.reasons, *net.reasons)


def _depreciated(state: State, cost_usd: float, bought: date, life: Value, as_of: date) -> Value:
    age = months_between(bought, state.at.date())
    value = combine(lambda months: cost_usd * max(0.0, 1 - age / months) if months > 0 else 0.0, life)
    return Value(value.corners, value.reasons, value.used, seconds(as_of), value.detail)
