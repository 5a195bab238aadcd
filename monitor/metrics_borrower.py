"""Borrower metrics: debt, coins, cash and what they cover. USD, coins, fractions, months; twelve months unless said."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from monitor.known import KnownBorrower, as_number
from monitor.metrics_base import View, metric
from monitor.model import Fact, FloatArray
from monitor.stress import collateral
from monitor.stress.assumptions import amount_owed, seconds
from monitor.stress.cashflow import run_rate_interest
from monitor.stress.due import add_months
from monitor.stress.field import INF, NAN, Field, Value, choose, combine, divide, first_known, lift, total
from monitor.units import format_usd

COINS = ("btc_free", "btc_lent", "btc_pledged", "btc_restricted")


# ---------------------------------------------------------------- debt
@metric("borrower", "usd", "max", needs=("debt_usd",))
def debt_usd(view: View) -> Field:
    """Total debt: newest filed total plus instruments first seen after it, else the sum of the instruments."""
    return view.debt


@metric("borrower", "usd", "max", needs=("debt_usd", "cash_unrestricted_usd"))
def net_debt_usd(view: View) -> Field:
    """debt_usd less unrestricted cash; coins are not deducted."""
    return view.debt - view.cash


@metric("borrower", "ratio", "max", needs=("debt_usd",))
def debt_growth_12m(view: View) -> Field:
    """debt_usd now over the filed total about a year before (11 to 18 months), less one; infinite from zero."""
    return lift(divide, view.debt, Field.of([_year_ago(view, b) for b in range(view.n)])) - 1.0


def _year_ago(view: View, b: int) -> Value:
    past = view.state.rows[b].past.get("debt_usd", ())
    if not past:
        return Value.unknown("debt_usd was never filed as a total")
    last = past[-1].as_of
    old = [f for f in past if add_months(last, -18) <= f.as_of <= add_months(last, -11) + timedelta(days=5)]
    if not old:
        return Value.unknown(f"debt_usd was not reported 11 to 18 months before {last}")
    number = as_number(old[-1]) or 0.0
    return Value.exact(number, detail=f"{format_usd(number)} at {old[-1].as_of}")


@metric("borrower", "usd", "max", needs=("principal by year", "debt_current_usd", "debts"))
def due_12m_usd(view: View) -> Field:
    """Principal due within twelve months, as a range: filed buckets, dated instruments, puts, callable coin loans."""
    return view.due_12m


@metric("borrower", "usd", "max", needs=("debts",))
def put_due_18m_usd(view: View) -> Field:
    """What holders may put within eighteen months, whatever the share price; none where no put was reported."""
    return Field.of([_puts(view, b) for b in range(view.n)])


def _puts(view: View, b: int) -> Value:
    row, today = view.state.rows[b], view.state.at.date()
    if not row.debts:
        return view.debt.at(b) if view.debt.known[b] and not view.debt.values[0, b] else Value.unknown("no debts known")
    end, parts = add_months(today, 18), []
    for debt in row.debts:
        owed = amount_owed(debt, view.state.at)
        puts = [put for put in debt.debt.puts if today <= put.on <= end]
        if puts and not (owed.known and owed.middle <= 0):
            price, day = min((put.price, put.on) for put in puts if put.on == min(p.on for p in puts))
            parts.append(combine(lambda p, x=price: p * x, owed, detail=f"{debt.debt.id} on {day}"))
    return total(parts)


@metric("borrower", "usd", "", needs=("conversion_price_usd",))
def conversion_usd(view: View) -> Field:
    """Conversion price of the standing convertible with the earliest put, else of the one that matures first."""
    return Field.of([_conversion(row) for row in view.state.rows])


def _conversion(row: KnownBorrower) -> Value:
    standing = [d.debt for d in row.debts if d.debt.conversion_price_usd and d.number("principal_usd") != 0]
    if not standing:
        return Value.unknown("no convertible with a conversion_price_usd")
    first = min(standing, key=lambda d: (not d.puts, min((p.on for p in d.puts), default=d.maturity or date.max), d.id))
    return Value.exact(first.conversion_price_usd or NAN, detail=first.id)


# ---------------------------------------------------------------- cash and coins
@metric("borrower", "usd", "min", needs=("cash_unrestricted_usd",))
def cash_unrestricted_usd(view: View) -> Field:
    """Cash the parent may spend; restricted and escrow cash are not in it."""
    return view.cash


@metric("borrower", "btc", "min", needs=("btc_free",))
def coins_free(view: View) -> Field:
    """BTC neither lent, pledged nor restricted; where the split is unknown, all of them, and none at the low end."""
    return view.fact("btc_free")


@metric("borrower", "btc", "max", needs=("btc_pledged",))
def coins_pledged(view: View) -> Field:
    """BTC pledged to lenders: as filed, else the sum of the facilities' coins."""
    pools = view.state.pool_facts["coins_pledged_btc"]
    zero = Field.exact(np.zeros(view.nf))
    only = choose(collateral.is_pool(view.state, "coins"), pools, zero)
    has = np.zeros(view.n, np.bool_)
    has[view.state.facility_borrower[collateral.is_pool(view.state, "coins")]] = True
    filed = view.fact("btc_pledged")
    summed = only.sum_by(view.state.facility_borrower, view.n).noting("btc_pledged is the facilities' coins")
    return choose(has & ~filed.known, summed, filed)


@metric("borrower", "btc", "max", needs=("btc_lent",))
def coins_lent(view: View) -> Field:
    """BTC lent out; they cannot cure a margin call."""
    return view.fact("btc_lent")


@metric("borrower", "btc", "max", needs=("btc_restricted",))
def coins_restricted(view: View) -> Field:
    """BTC restricted for other reasons; they cannot cure a margin call."""
    return view.fact("btc_restricted")


@metric("borrower", "btc", "min", needs=("btc_total",))
def coins_total(view: View) -> Field:
    """All BTC: free, lent, pledged and restricted."""
    return view.fact("btc_total")


@metric("borrower", "usd", "min", needs=("btc_total", "btc_usd"), stressed=True)
def coins_value_usd(view: View) -> Field:
    """All coins, BTC and ETH, at spot."""
    s = view.state
    btc = collateral.worth(view.fact("btc_total"), s.price("btc_usd", view.n), s.factors.btc)
    return btc + collateral.worth(view.fact("eth_total"), s.price("eth_usd", view.n), s.factors.eth)


@metric("borrower", "ratio", "max", needs=("btc_pledged", "btc_total"))
def pledged_share(view: View) -> Field:
    """coins_pledged / coins_total; 0 where there are no coins."""
    return lift(collateral_share, coins_pledged(view), view.fact("btc_total"))


def collateral_share(part: FloatArray, whole: FloatArray) -> FloatArray:
    """A part of a whole, zero of nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(part) == 0, 0.0, np.asarray(part) / whole)


@metric("borrower", "usd", "max", needs=("debt_usd", "cash_unrestricted_usd", "btc_total"))
def coin_cover_btc_usd(view: View) -> Field:
    """BTC price at which all coins cover net debt: net_debt_usd / coins_total; 0 without net debt.

    Unknown where coins at today's price are less than a fifth of net debt: coins do not carry that debt.
    """
    net, coins = net_debt_usd(view), view.fact("btc_total")
    price = view.state.price("btc_usd", view.n)
    cover = lift(lambda n, c: np.where(n <= 0, 0.0, divide(n, c)), net, coins)
    at_price = collateral.worth(coins, price, 1.0)
    small = at_price.known & net.known & (at_price.values[0] < net.values[0] / 5)
    notes = {b: text for b in range(view.n) if (text := _zero_coupon_note(view, b))}
    gated = cover.where(~small, "coins are less than a fifth of net debt, so they do not carry it")
    return gated.with_detail(notes)


def _zero_coupon_note(view: View, b: int) -> str:
    """Zero-coupon notes due years away are no reason to sell coins; the number must not hide that."""
    far = add_months(view.state.at.date(), 24)
    notes = [d for d in view.state.rows[b].debts if d.debt.coupon == 0 and d.debt.maturity and d.debt.maturity > far]
    owed = sum(d.number("principal_usd") or 0.0 for d in notes)
    return f"{format_usd(owed)} of it are 0 % notes due after {far}" if owed else ""


# ---------------------------------------------------------------- cover
@metric(
    "borrower",
    "x",
    "min",
    needs=("cash_unrestricted_usd", "btc_free", "ebitda_adjusted_quarter_usd", "interest_quarter_usd", "due_12m_usd"),
    stressed=True,
)
def liquidity_locked_12m(view: View) -> Field:
    """(unrestricted cash + free coins after impact + distributable CFADS - interest) / principal due in 12 months.

    No refinancing, no new capex. Infinite where nothing is due; minus infinity where nothing is due and cash still
    runs out. low and high follow the range of what is due and of every assumption.
    """
    return view.locked_12m


@metric("borrower", "x", "min", needs=("cash_unrestricted_usd", "ebitda_adjusted_quarter_usd"), stressed=True)
def liquidity_18m(view: View) -> Field:
    """liquidity_locked_12m over eighteen months: a year and a half of cash flow and interest, principal due by then."""
    return view.liquidity(18)


@metric("borrower", "x", "min", needs=("ebitda_adjusted_quarter_usd", "interest_quarter_usd"), stressed=True)
def interest_cover(view: View) -> Field:
    """CFADS / gross cash interest, both of the last quarter annualised; beside it the cover of run-rate interest."""
    cover, run_rate = view.cfads / view.interest, run_rate_interest(view.state)
    beside = view.cfads / run_rate
    notes = {b: f"{beside.values[0, b]:.2f}x on the debt as it stands" for b in range(view.n) if beside.known[b]}
    return cover.with_detail(notes)


@metric(
    "borrower", "x", "min", needs=("ebitda_adjusted_quarter_usd", "interest_quarter_usd", "due_12m_usd"), stressed=True
)
def debt_service_cover(view: View) -> Field:
    """CFADS / (interest + principal due in 12 months): the corporate number, bullets and puts included."""
    return view.cfads / (view.interest + view.due_12m)


@metric(
    "borrower",
    "months",
    "min",
    needs=("cash_unrestricted_usd", "btc_free", "ebitda_adjusted_quarter_usd", "interest_quarter_usd"),
    stressed=True,
)
def runway_months(view: View) -> Field:
    """(unrestricted cash + free coins after impact) / monthly burn, burn = interest - CFADS; infinite without burn."""
    burn = (view.interest - view.cfads) * (1 / 12)
    return lift(lambda cash, burn: np.where(burn <= 0, INF, divide(cash, np.maximum(burn, 1e-9))), view.liquid, burn)


@metric("borrower", "usd", "max", needs=("capex_committed_usd",))
def funding_gap_12m_usd(view: View) -> Field:
    """Committed capex less undrawn project loans and restricted cash set aside for it; below zero: covered.

    Contracted prepayments are not reported apart and not deducted; a commitment beyond a year is counted whole.
    """
    committed = view.fact("capex_committed_usd")
    undrawn = Field.of([_undrawn(view, b) for b in range(view.n)])
    set_aside = view.fact("cash_restricted_usd")
    none = Field.exact(np.zeros(view.n)).noting("restricted cash not reported, none counted")
    return committed - undrawn - first_known(set_aside, none)


def _undrawn(view: View, b: int) -> Value:
    """Undrawn project loans; a revolver or corporate loan is not dedicated to capex."""
    kinds = ("ddtl", "project", "equipment", "oem", "lease", "abl")
    parts = []
    for debt in view.state.rows[b].debts:
        amount = debt.number("undrawn_usd")
        if debt.debt.kind in kinds and amount is not None:
            parts.append(Value.exact(amount, seconds(debt.facts["undrawn_usd"].as_of)))
    return total(parts) if parts else Value.exact(0.0, used=("no undrawn project loan reported, none counted",))


@metric("borrower", "x", "min", needs=("debt_usd", "cash_unrestricted_usd"), stressed=True)
def coverage(view: View) -> Field:
    """(economic collateral + unrestricted cash + free coins) / debt; infinite without debt.

    Collateral is every facility's pool with its escrow; where one of them cannot be valued, the group's net equipment
    at an assumed market-to-book ratio instead. Coins beside the pools count where they are free.
    """
    pools = view.economic.sum_by(view.state.facility_borrower, view.n)
    pools = first_known(pools, collateral.group_equipment(view.state))
    return (pools + view.cash + view.free_coins_usd) / view.debt


# ---------------------------------------------------------------- change over a quarter
def as_known_before(past: tuple[Fact, ...], view: View, days: int) -> Fact | None:
    """The fact in force some days ago."""
    then = view.state.at - timedelta(days=days)
    known = [fact for fact in past if fact.known_at is not None and fact.known_at <= then]
    return known[-1] if known else None


def _before(view: View, b: int, name: str, days: int) -> Value:
    fact = as_known_before(view.state.rows[b].past.get(name, ()), view, days)
    number = as_number(fact)
    if fact is None or number is None:
        return Value.unknown(f"{name} was not known {days} days ago")
    return Value.exact(number)


@metric("borrower", "usd", "min", needs=("debt_usd", "cash_unrestricted_usd"))
def net_debt_cut_90d(view: View) -> Field:
    """Net debt as known 90 days ago less net debt now; above zero: debt was paid down or cash built."""
    debt = Field.of([_before(view, b, "debt_usd", 90) for b in range(view.n)])
    cash = Field.of([_before(view, b, "cash_unrestricted_usd", 90) for b in range(view.n)])
    return debt - cash - net_debt_usd(view)


@metric("borrower", "usd", "max", needs=("coins_sold_quarter_btc", "btc_usd"))
def coins_sold_usd_90d(view: View) -> Field:
    """Coins sold in the last quarter at today's price: as filed, else the fall of coins_total in 90 days."""
    filed = view.fact("coins_sold_quarter_btc")
    fall = Field.of([_before(view, b, "btc_total", 90) for b in range(view.n)]) - view.fact("btc_total")
    fall = fall.map(lambda coins: np.maximum(coins, 0.0)).noting("coins sold taken from the fall of btc_total")
    sold = first_known(filed, fall)
    price = view.state.price("btc_usd", view.n)
    return collateral.worth(sold, price, 1.0).noting("coins sold valued at today's price")


@metric("borrower", "usd/ph/day", "max", needs=("power_price_usd_kwh", "efficiency_j_th"))
def cash_cost_usd_ph_day(view: View) -> Field:
    """Cash cost of a petahash a day: ``efficiency[J/TH] 24 h price[USD/kWh]`` plus operating cost over the hashrate.

    Power falls back on the quarter's bill over the hashrate, then on assumed efficiency and price; operating cost is
    added where it and the hashrate are reported.
    """
    return Field.of([_cash_cost(view, b) for b in range(view.n)])


def _cash_cost(view: View, b: int) -> Value:
    s, kind = view.state, view.state.rows[b].borrower.kind
    hashrate = s.facts["hashrate_eh"].at(b)
    if kind != "miner" and not hashrate.known:
        return Value.unknown(f"does not mine ({kind}) or hashrate_eh was never reported")
    terms = []
    for name in ("efficiency_j_th", "power_price_usd_kwh"):
        stated = s.facts[name].at(b)
        terms.append(stated if stated.known else s.assumptions.get(name, kind))
    power = combine(lambda j, price: j * 24 * price, *terms)
    bill = s.facts["power_cost_quarter_usd"].at(b)

    def per_ph(usd: float, eh: float) -> float:
        return usd / (eh * 1000 * 91.3125) if eh > 0 else INF

    if bill.known and hashrate.known:
        power = combine(per_ph, bill, hashrate)
    power = combine(lambda p: p * s.factors.power, power)
    other = combine(per_ph, s.facts["opex_quarter_usd"].at(b), hashrate)
    return total([power, other]) if other.known else power.noting("operating cost not reported, power only")
