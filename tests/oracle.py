"""The cell once more, in plain Python numbers, straight from the equations: what both drivers are compared with.

One obligor, one path, one period after the other; every debt keeps its own balance; nothing is folded, sorted or shared
with ``monitor.stress`` but the input classes. Slow on purpose. Inputs must be known (no NaN).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from monitor.stress.inputs import CellInputs, Factors


@dataclass
class Path:
    """What the oracle says about one (row, path), with every period's numbers for tables."""

    first: int
    code: int = 0
    margin: float = math.nan
    min_dscr: float = math.inf
    max_ltv: float = 0.0
    min_cash: float = math.inf
    periods: list[dict[str, float]] = field(default_factory=list)


def divide(above: float, below: float) -> float:
    """above / below, infinite for a positive number over nothing."""
    return above / below if below else math.inf


def walk(x: CellInputs, f: Factors, b: int, s: int) -> Path:
    """Row ``b`` along path ``s``."""
    n_periods, n_debts, dt = x.opex_usd.shape[1], x.debt_usd.shape[1], x.dt_years
    path = Path(first=n_periods)
    cash, free, pledged, loan = (float(a[b]) for a in (x.cash_usd, x.coins_free, x.coins_pledged, x.btc_loan_usd))
    balance, undrawn = [float(v) for v in x.debt_usd[b]], [float(v) for v in x.undrawn_usd[b]]
    rolled, deficiency = [0.0] * n_debts, 0.0
    ltm = x.dscr_basis[b] == "ltm"
    sums = [float(x.ltm_cfads_usd[b]), float(x.ltm_service_usd[b])] if ltm else [0.0, 0.0]
    for t in range(n_periods):
        price, refi = float(f.btc_usd[t, s]), float(f.refi_open[t, s])
        low = price * float(f.btc_low[t, s])
        # interest on opening balances
        base = float(f.base_rate[t, s])
        again = base + float(f.spread[t, s]) + float(x.refi_margin[b])
        interest = loan * float(x.btc_loan_rate[b]) * dt + deficiency * again * dt
        for d in range(n_debts):
            floating = float(x.floating_share[b, d])
            rate = floating * (base + float(x.margin[b, d])) + (1 - floating) * float(x.fixed_rate[b, d])
            interest += balance[d] * rate * dt + rolled[d] * again * dt
        cash, free, pledged, loan, lost, gap = coin_loan(x, b, low, cash, free, pledged, loan)
        deficiency += lost
        # principal, maturities, draws
        principal = due = drawn = 0.0
        for d in range(n_debts):
            paid = min(float(x.principal_usd[b, d, t]), balance[d])
            bullet = min(float(x.bullet_usd[b, d, t]), balance[d] - paid)
            draw = min(float(x.draw_usd[b, d, t]), undrawn[d]) if x.case == "build" else 0.0
            principal, due, drawn = principal + paid, due + bullet * (1 - refi), drawn + draw
            balance[d] += draw - paid - bullet
            rolled[d] += bullet * refi
            undrawn[d] -= draw
        ends = float(x.btc_loan_due[b, t]) * (1 - refi)
        due += loan * ends
        free, pledged, loan = free + pledged * ends, pledged * (1 - ends), loan * (1 - ends)
        # operations
        revenue = float(x.mining_usd[b]) * float(f.hashprice[t, s])
        for c in range(x.in_force.shape[1]):
            revenue += float(x.contracted_usd[b, c] * x.in_force[b, c, t] * (1 - f.contract_loss[t, c, s]))
        for m in range(x.units.shape[1]):
            revenue += float(x.spot_usd[b, m] * f.rent[t, m, s] * f.utilisation[t, s])
        cfads = revenue - float(x.power_usd[b]) * float(f.power[t, s]) - float(x.opex_usd[b, t])
        cash += cfads - interest - principal - due + drawn - float(x.capex_usd[b, t])
        # coins sold to hold the floor
        need = max(float(x.cash_floor_usd[b]) - cash, 0.0)
        kept = 1 - min(float(x.coin_impact[b]) * math.sqrt(need), 0.5)
        sold = min(need / kept, free * price)
        cash, free = cash + sold * kept, free - sold / price
        if need and need <= sold * kept * (1 + 1e-15):
            cash = float(x.cash_floor_usd[b])  # exactly, not within rounding
        # coverage over its window
        service = interest + principal
        sums, dscr = coverage(x, b, t, sums, cfads, service)
        # loan to value
        debt = sum(float(x.secured[b, d]) * (balance[d] + rolled[d]) for d in range(n_debts))
        value = pool(x, f, b, t, s) + float(x.coins_in_collateral[b]) * free * price
        ltv = divide(debt, value) if debt > 0 else 0.0
        judge(path, x, b, t, dscr, ltv, cash, gap, due)
        path.periods.append({"revenue": revenue, "cfads": cfads, "interest": interest, "principal": principal})
        path.periods[-1] |= {"dscr": divide(cfads, service) if service > 0 else math.inf, "sold": sold, "cash": cash}
        path.periods[-1] |= {"coins": free, "debt": sum(balance) + sum(rolled), "ltv": ltv}
    return path


def coin_loan(
    x: CellInputs, b: int, low: float, cash: float, free: float, pledged: float, loan: float
) -> tuple[float, float, float, float, float, float]:
    """Margin call at the low price: coins, then cash, then the pledge is sold. Coins are counted here, not valued."""
    cure, lower = float(x.cure_ltv[b]), min(float(x.margin_call_ltv[b]), float(x.liquidation_ltv[b]))
    if not loan or math.isinf(lower) or loan <= lower * pledged * low:
        return cash, free, pledged, loan, 0.0, 0.0
    if math.isinf(x.liquidation_ltv[b]) or loan <= float(x.liquidation_ltv[b]) * pledged * low:
        posted = min(max(loan / cure / low - pledged, 0.0), free)
        free, pledged = free - posted, pledged + posted
        paid = min(max(loan - cure * pledged * low, 0.0), max(cash, 0.0))
        cash, loan = cash - paid, loan - paid
    short = loan - cure * pledged * low
    if short <= 1e-12 * loan:
        return cash, free, pledged, loan, 0.0, 0.0
    gap = -short / loan
    sold = pledged if x.liquidates_all[b] else min(short / (1 - cure) / low, pledged)
    cash += max(sold * low - loan, 0.0)
    loan = max(loan - sold * low, 0.0)
    pledged -= sold
    return (cash, free, 0.0, 0.0, loan, gap) if pledged <= 0 else (cash, free, pledged, loan, 0.0, gap)


def coverage(
    x: CellInputs, b: int, t: int, sums: list[float], cfads: float, service: float
) -> tuple[list[float], float | None]:
    """Coverage at a test date over the row's window, else None."""
    if x.dscr_basis[b] == "ltm":
        start = (float(x.ltm_cfads_usd[b]), float(x.ltm_service_usd[b]))
        for k, new in enumerate((cfads, service)):
            if t * x.dt_years < 1 - 1e-9:
                sums[k] += new - start[k] * x.dt_years
            else:
                sums[k] = sums[k] * (1 - x.dt_years) + new
    else:
        opened = t == 0 or bool(x.tested[t - 1])
        sums = [cfads, service] if opened else [sums[0] + cfads, sums[1] + service]
    return sums, (divide(sums[0], sums[1]) if sums[1] > 0 else math.inf) if x.tested[t] else None


def pool(x: CellInputs, f: Factors, b: int, t: int, s: int) -> float:
    """Value of the pool by the row's own basis, without coins."""
    if x.ltv_basis[b] == "contractual":
        return float(x.paper_usd[b, t])
    total = 0.0
    for m in range(x.units.shape[1]):
        units, price = float(x.units[b, m]), float(x.unit_value_usd[b, m]) * float(f.residual[t, m, s])
        if x.ltv_basis[b] == "liquidation":
            depth = float(x.depth_units[m])
            if math.isfinite(depth):
                units = depth * (1 - math.exp(-units / depth)) if depth else 0.0
            price *= float(x.haircut[m]) * float(f.liquidation_share[t, s])
        total += units * price
    return total


def judge(
    path: Path, x: CellInputs, b: int, t: int, dscr: float | None, ltv: float, cash: float, gap: float, due: float
) -> None:
    """Extremes, and the first breach with its margin."""
    path.max_ltv, path.min_cash = max(path.max_ltv, ltv), min(path.min_cash, cash)
    if dscr is not None:
        path.min_dscr = min(path.min_dscr, dscr)
    floor = max(float(x.liquidity_min_usd[b]), 0.0)
    size = float(x.debt_usd[b].sum() + x.btc_loan_usd[b] + abs(x.cash_usd[b])) or 1.0
    broken = [
        (
            1,
            dscr is not None and dscr < x.dscr_min[b],
            (dscr or 0.0) / float(x.dscr_min[b]) - 1 if x.dscr_min[b] else 0.0,
        ),
        (2, ltv > x.ltv_max[b], 1 - ltv / float(x.ltv_max[b]) if x.ltv_max[b] else 0.0),
        (4, cash < floor, (cash - floor) / size),
        (8, gap < 0, gap),
        (16, cash < 0 and due > 0, cash / size),
    ]
    hits = [(bit, margin) for bit, hit, margin in broken if hit]
    if hits and not path.code:
        path.first, path.code, path.margin = t, sum(bit for bit, _ in hits), hits[0][1]
