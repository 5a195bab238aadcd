"""An obligor as one row of the cell: free cash and coins, a year of cash flow by channel, interest, what falls due.

Run-off: no draws, no new contracts, growth capex only where it is committed, and that only at the adverse end. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.known import KnownBorrower
from monitor.model import FloatArray
from monitor.stress import cashflow, due
from monitor.stress.assumptions import fact_value
from monitor.stress.coins import free_coins
from monitor.stress.field import ADVERSE, INF, MIDDLE, NAN, Value, unique
from monitor.stress.inputs import TESTS
from monitor.stress.lots import GPU_MODELS
from monitor.stress.state import Factors as Moves
from monitor.stress.state import State

#: customers nobody names: the largest of them, and the many small ones (never lost all at once)
UNNAMED, MANY = "unnamed", "many"
#: the rows' tests by position in TESTS
DSCR, LTV, LIQUIDITY, MARGIN, MATURITY = range(len(TESTS))
MONTHS_A_YEAR = 12
#: what is left of revenue after its customers, as a share of it, when only the arithmetic left it: a customer nobody
#: named must not come of it, who would have an axis of the paths to himself
ROUNDING = 1e-9


class Figures:
    """What every corner and every horizon of one state reads, worked out once."""

    def __init__(self, state: State):
        self.state = state = state.under(Moves())
        self.cfads, self.interest = cashflow.cfads_12m(state), cashflow.interest_12m(state)
        self.debts = due.debt_total(state)
        every = range(len(state.rows))
        self.mining, self.spot, self.contracted, self.power = (
            [channel(state, b) for b in every]
            for channel in (cashflow.mining, cashflow.spot, cashflow.contracted, cashflow.power_cost)
        )
        one = state.under(Moves(base_rate=1.0))
        self.floating = [cashflow.floating_cost(one, row.debts, row.borrower.kind) for row in state.rows]
        self.dated = [self._dated(due.items(state, b, row)) for b, row in enumerate(state.rows)]
        self._mixes: dict[tuple[int, tuple[str, ...]], FloatArray] = {}
        self._due: dict[int, FloatArray] = {}

    def _dated(self, items: Sequence[due.Item]) -> tuple[NDArray[np.int64], FloatArray]:
        """(the month from now in which each instrument falls due (I,), from 1; how much at each corner (3, I))."""
        months = [due.months_until(self.state.at.date(), item.on) for item in items]
        usd = np.array([item.usd.corners for item in items], np.float64).reshape(-1, 3)
        return np.array(months, np.int64), usd.T

    def falls_due(self, months: int, b: int, corner: int) -> float:
        """Principal due within some months at a corner; NaN where unknown."""
        if months not in self._due:
            self._due[months] = due.due(self.state, months).values
        return float(self._due[months][corner, b])

    def mix(self, b: int, models: tuple[str, ...]) -> FloatArray:
        """Spot revenue by model, by what the borrower owns (by the assumed fleet where nobody says)."""
        if (b, models) not in self._mixes:
            self._mixes[b, models] = _mix(self.state, b, models)
        return self._mixes[b, models]


def _mix(state: State, b: int, models: tuple[str, ...]) -> FloatArray:
    lots, weights = state.lots, np.zeros(len(models))
    for i in np.flatnonzero((state.facility_borrower[lots.facility] == b) & lots.value_usd.known):
        if lots.model[i] in models:
            weights[models.index(lots.model[i])] += lots.value_usd.values[MIDDLE, i]
    if not weights.sum():
        for model in GPU_MODELS:
            assumed = state.assumptions.get("gpu_mix", "all", model)
            weights[models.index(model)] = assumed.middle if assumed.known else 1.0
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class Axes:
    """What all rows share: corner, horizon, models, counterparties, and today's base rate."""

    corner: int
    n_periods: int
    dt_years: float
    models: tuple[str, ...]
    counterparties: tuple[str, ...]
    #: yearly, as a fraction; where it is unknown so is every row that owes something, and zero stands in for it
    base_rate: float
    base_unknown: tuple[str, ...] = ()

    @staticmethod
    def of(state: State, corner: int, n_periods: int, dt_years: float) -> Axes:
        """Every model and every customer the book names, and the two kinds it does not."""
        models = tuple(sorted({*GPU_MODELS, *state.lots.model} - {"ASIC"}))
        named = {tenant for row in state.rows for tenant in row.borrower.tenants}
        named |= {contract.counterparty for pool in state.pools for contract in pool.facility.contracts}
        base = base_today(state)
        rate = base.middle if base.known else 0.0
        return Axes(corner, n_periods, dt_years, models, (*sorted(named), UNNAMED, MANY), rate, base.reasons)


def base_today(state: State) -> Value:
    """The base rate a year, as a fraction: as quoted, else as assumed for everybody."""
    quoted = state.market["sofr"].at(0)
    return quoted if quoted.known else state.assumptions.get("sofr")


class Row:
    """One row under construction."""

    def __init__(self, name: str, owner: int, corner: int):
        self.name, self.owner, self.corner = name, owner, corner
        self.numbers: dict[str, float | FloatArray] = {}
        self.asks = np.zeros(len(TESTS), bool)
        self.vouched = np.zeros(len(TESTS), bool)
        self.reasons: list[str] = []
        self.used: list[str] = []
        self.assumed: list[str] = []
        self.as_of_s = INF

    def take(self, value: Value) -> float:
        """The value at this row's corner; an unknown one leaves its reasons behind."""
        self.reasons.extend(value.reasons)
        self.used.extend(value.used)
        self.as_of_s = min(self.as_of_s, value.as_of_s)
        return value.corners[self.corner]

    def ask(self, *tests: int) -> None:
        """Tests that exist for this row and that its figures can answer."""
        for test in tests:
            self.asks[test] = self.vouched[test] = True


class Obligors:
    """Makes the rows of obligors."""

    def __init__(self, figures: Figures, axes: Axes):
        self.figures, self.state, self.axes = figures, figures.state, axes
        self.corner, self.n_periods, self.dt_years = axes.corner, axes.n_periods, axes.dt_years
        self.models, self.counterparties, self.base_rate = axes.models, axes.counterparties, axes.base_rate

    def row(self, b: int, known: KnownBorrower) -> Row:
        """Can it pay: cash and free coins, a year of cash flow by channel, interest, what falls due."""
        row = Row(known.id, b, self.corner)
        row.numbers |= self._flows(b, row) | self._stocks(b, row) | self._debt(b, row)
        row.ask(LIQUIDITY, MATURITY)
        floor = [d.debt.covenants for d in known.debts if d.debt.covenants.liquidity_min_usd is not None]
        level = max((c.liquidity_min_usd or 0.0 for c in floor), default=0.0)
        if known.borrower.status == "insufficient_data":
            row.used.append("the book marks this borrower as insufficient_data")
        row.numbers["liquidity_min_usd"] = level
        if any(c.quality == "assumed" for c in floor):
            row.assumed.append(f"liquidity_min_usd {level:g}")
        row.reasons = list(unique(row.reasons))
        return row

    def _flows(self, b: int, row: Row) -> dict[str, float | FloatArray]:
        """Revenue by channel per period; operating cost is what is left, so that today's cash flow is the known one."""
        known, share = self.figures, self.dt_years * 4
        quarter = row.take(known.cfads.at(b)) / 4
        mining, spot, power = row.take(known.mining[b]), row.take(known.spot[b]), known.power[b]
        contracted = self._contracts(b, row, mining + spot)
        bill = row.take(power) if power.known else 0.0
        if not power.known:
            row.used.append("power is part of operating cost: its price does not move on its own")
        costs = mining + spot + float(contracted.sum()) - bill - quarter
        return {
            "mining_usd": mining * share,
            "spot_usd": spot * share * self.figures.mix(b, self.models),
            "contracted_usd": contracted * share,
            "in_force": self._in_force(b, row, contracted),
            "power_usd": bill * share,
            "opex_usd": np.full(self.n_periods, costs * share),
        }

    def _contracts(self, b: int, row: Row, other: float) -> FloatArray:
        """Contracted revenue of a quarter by counterparty: reported shares and contracts, the rest without a name."""
        state, out = self.state, np.zeros(len(self.counterparties))
        whole, revenue = self.figures.contracted[b], cashflow.fact(state, b, "revenue_quarter_usd")
        parts = {name: share * revenue.middle for name, share in state.rows[b].borrower.tenants.items()}
        live, unpriced = self._live(b)
        total = row.take(whole)
        for name, usd in live.items():
            parts[name] = max(parts.get(name, 0.0), usd)
        if revenue.known:
            total = min(max(total, sum(parts.values())), max(0.0, revenue.middle - other))
        scale = min(1.0, total / sum(parts.values())) if sum(parts.values()) > 0 else 1.0
        for name, usd in parts.items():
            out[self.counterparties.index(name)] += usd * scale
        rest = total - float(out.sum())
        if abs(rest) <= ROUNDING * total:
            rest = 0.0
        missing = sorted(unpriced - set(parts))
        if rest > 0 and missing and not state.rows[b].borrower.tenants:
            row.used.append(f"contracts without a reported rent share what is left: {', '.join(missing)}")
            for name in missing:
                out[self.counterparties.index(name)] += rest / len(missing)
        elif rest > 0:
            largest = state.assumptions.get("largest_tenant_share", state.rows[b].borrower.kind)
            first = rest * row.take(largest) if largest.known else 0.0
            out[self.counterparties.index(UNNAMED)] += first
            out[self.counterparties.index(MANY)] += rest - first
        elif np.isnan(rest):
            out[:] = NAN
        return out

    def _live(self, b: int) -> tuple[dict[str, float], set[str]]:
        """Revenue of a quarter by counterparty of contracts known to run, and counterparties whose rent is unknown."""
        state, day = self.state, self.state.at.date()
        priced: dict[str, float] = {}
        unpriced: set[str] = set()
        for f in np.flatnonzero(state.facility_borrower == b):
            for contract in state.pools[int(f)].facility.contracts:
                if contract.ends is not None and contract.ends < day:
                    continue
                if contract.monthly_revenue_usd is None:
                    unpriced.add(contract.counterparty)
                elif contract.starts is not None and contract.starts <= day:
                    name = contract.counterparty
                    priced[name] = priced.get(name, 0.0) + 3 * contract.monthly_revenue_usd
        return priced, unpriced

    def _in_force(self, b: int, row: Row, quarterly: FloatArray) -> FloatArray:
        """(C, T) share of each counterparty's revenue still earned. A contract with a rent that ends within the horizon
        earns from then on what a re-let is assumed to bring; one without a rent or an end stays as it is."""
        out, day = np.ones((len(self.counterparties), self.n_periods)), self.state.at.date()
        length = self.dt_years * MONTHS_A_YEAR
        ends = (np.arange(self.n_periods) + 1) * length
        for f in np.flatnonzero(self.state.facility_borrower == b):
            for contract in self.state.pools[int(f)].facility.contracts:
                usd, starts, end = contract.monthly_revenue_usd, contract.starts, contract.ends
                if usd is None or starts is None or end is None or not starts <= day <= end:
                    continue
                months = (end - day).days / due.MONTH_DAYS
                over = np.clip((ends - months) / length, 0.0, 1.0)
                c = self.counterparties.index(contract.counterparty)
                if over.any() and quarterly[c] > 0:
                    relet = row.take(self.state.assumptions.get("relet_share", self.state.rows[b].borrower.kind))
                    out[c] -= over * min(1.0, 3 * usd / quarterly[c]) * (1 - relet)
        return np.maximum(out, 0.0)

    def _stocks(self, b: int, row: Row) -> dict[str, float | FloatArray]:
        state = self.state
        coins = row.take(free_coins(state).at(b))
        if coins and not state.market["btc_usd"].known[0]:
            row.reasons.extend(state.market["btc_usd"].at(0).reasons)
            coins = NAN
        ether = state.facts["eth_free"].at(b)
        if ether.known and ether.middle > 0:
            row.used.append("free ether is not counted")
        return {
            "cash_usd": row.take(state.facts["cash_unrestricted_usd"].at(b)),
            "coins_free": coins,
            "coin_impact": self._impact(b, row) if coins else 0.0,
            "capex_usd": self._capex(b, row),
        }

    def _impact(self, b: int, row: Row) -> float:
        """Price impact of a coin sale per sqrt(USD): Y sigma / sqrt(V)."""
        get, kind = self.state.assumptions.get, self.state.rows[b].borrower.kind
        names = ("impact_y", "coin_volatility_daily", "coin_volume_usd_day", "coin_sale_days")
        y, sigma, volume, days = (row.take(get(name, kind)) for name in names)
        return float(y * sigma / np.sqrt(volume * days))

    def _capex(self, b: int, row: Row) -> FloatArray:
        """Committed growth capex within a year: at the adverse end only, net of what is set aside or lent for it."""
        out = np.zeros(self.n_periods)
        committed = cashflow.fact(self.state, b, "capex_committed_usd")
        if not committed.known or not committed.middle:
            return out
        row.used.append("capex_committed_usd counts at the adverse end only: how much can be cancelled is not known")
        if self.corner != ADVERSE:
            return out
        drawn = (fact_value(debt.facts, "undrawn_usd", self.state.at) for debt in self.state.rows[b].debts)
        set_aside = sum(value.middle for value in drawn if value.known)
        restricted = cashflow.fact(self.state, b, "cash_restricted_usd")
        set_aside += restricted.middle if restricted.known else 0.0
        first_year = max(1, round(1 / self.dt_years))
        out[:first_year] = max(0.0, committed.middle - set_aside) / first_year
        return out

    def _debt(self, b: int, row: Row) -> dict[str, float | FloatArray]:
        """All debt as one balance: today's interest, its floating unhedged part, and what falls due when."""
        debt, interest = row.take(self.figures.debts.at(b)), row.take(self.figures.interest.at(b))
        if debt > 0:  # new debt costs the base rate too, whatever today's does
            row.reasons.extend(self.axes.base_unknown)
        floating = self.figures.floating[b]
        share = min(1.0, max(0.0, floating.corners[self.corner] / debt)) if floating.known and debt > 0 else 0.0
        rate = interest / debt if debt > 0 else (NAN if np.isnan(debt) else 0.0)
        principal, bullet = self._falling_due(b, row)
        return {
            "debt_usd": np.array([debt]),
            "fixed_rate": np.array([rate]),
            "floating_share": np.array([share]),
            "margin": np.array([rate - self.base_rate]),
            "principal_usd": principal[None],
            "bullet_usd": bullet[None],
            "refi_margin": 0.0,
        }

    def _falling_due(self, b: int, row: Row) -> tuple[FloatArray, FloatArray]:
        """Principal per period: (scheduled, at one date). Dated instruments may be rolled, the rest may not.

        Each year pays what falls due in it: dated instruments in their month, what is left evenly over the year.
        """
        row.take(due.due(self.state, MONTHS_A_YEAR).at(b))
        length = max(1, round(1 / self.dt_years))
        year = np.arange(self.n_periods) // length
        n_years = int(year[-1]) + 1
        owed = [self.figures.falls_due(MONTHS_A_YEAR * (k + 1), b, self.corner) for k in range(n_years)]
        total = np.diff(np.maximum.accumulate([0.0, *owed]))
        months, usd = self.figures.dated[b]
        periods = (months - 1) * length // MONTHS_A_YEAR
        within = periods < n_years * length
        dated = np.bincount(periods[within], usd[self.corner, within], n_years * length)
        wanted = dated.reshape(n_years, length).sum(axis=1)
        kept = np.minimum(1.0, total / np.where(wanted > 0, wanted, np.inf))
        bullet = dated[: self.n_periods] * np.where(wanted > 0, kept, 0.0)[year]
        rest = (total - np.where(wanted > 0, wanted * kept, 0.0)) / length
        return np.maximum(rest[year], 0.0), np.maximum(bullet, 0.0)
