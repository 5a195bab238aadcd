"""What is known at one moment as arrays: borrowers, facilities, lots of hardware, prices, and assumptions between them.

Pure. Axis orders are the sorted ids; a facility is ``borrower/facility``. Scenario moves live in :class:`Factors` and
touch nothing else, so a stressed state is the same book under other prices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from monitor.known import KnownBook, KnownBorrower, KnownDebt, KnownFacility
from monitor.model import MARKET, Fact, Quote
from monitor.stress.assumptions import Assumptions, amount_owed, fact_value, quote_value
from monitor.stress.field import Field, Value, total
from monitor.stress.lots import GPU_MODELS, Lots, build_lots

#: borrower figures carried into the state
FACTS = (
    *("cash_unrestricted_usd", "cash_restricted_usd", "debt_usd", "debt_current_usd", "equipment_net_usd"),
    *("btc_free", "btc_lent", "btc_pledged", "btc_restricted", "btc_total", "eth_total", "eth_free"),
    *("revenue_quarter_usd", "revenue_mining_quarter_usd", "revenue_contracted_quarter_usd"),
    *("revenue_spot_quarter_usd", "revenue_cloud_quarter_usd", "revenue_hosting_quarter_usd"),
    *("ebitda_adjusted_quarter_usd", "interest_quarter_usd", "opex_quarter_usd", "power_cost_quarter_usd"),
    *("hashrate_eh", "power_price_usd_kwh", "efficiency_j_th", "contracted_share", "capex_committed_usd"),
    "coins_sold_quarter_btc",
)
#: facility figures carried into the state
POOL_FACTS = (
    *("cost_usd", "escrow_usd", "cfads_quarter_usd", "assets_net_usd", "coins_pledged_btc", "noi_quarter_usd"),
    *("service_12m_usd", "service_quarter_usd", "collateral_usd"),
)
MARKET_SERIES = (
    *("btc_usd", "eth_usd", "difficulty", "block_reward_btc", "hashprice_usd_ph_day", "hy_spread_bp", "sofr"),
    *(f"rent_{m.lower()}_{kind}_usd" for m in GPU_MODELS for kind in ("index", "list", "on_demand", "spot")),
    *(f"resale_{m.lower()}_usd" for m in GPU_MODELS),
)
BORROWER_SERIES = ("share_price_usd", "cds_5y_bp", "bond_price", "loan_spread_bp")


@dataclass(frozen=True, slots=True)
class ResidualMove:
    """A change of used prices for some models and vintages: multiply by ``factor`` where all conditions hold."""

    factor: float
    model: str = ""
    before: date | None = None
    since: date | None = None

    def touches(self, model: str, bought: date) -> bool:
        """Whether a lot of this model bought on this day is among those that move."""
        return (
            (not self.model or self.model.lower() == model.lower())
            and (self.before is None or bought < self.before)
            and (self.since is None or bought >= self.since)
        )


@dataclass(frozen=True)
class Factors:
    """Every price and condition a scenario may move; the defaults move nothing.

    btc, eth, hashprice, utilisation, power: multiples of today's level; rent: model -> multiple ("" stands for all);
    contract_loss: counterparty -> share of its revenue lost ("" all, "largest" each borrower's largest customer);
    base_rate, spread: added, as fractions a year; refinancing: 1 open, 0 shut.
    """

    btc: float = 1.0
    eth: float = 1.0
    hashprice: float = 1.0
    utilisation: float = 1.0
    power: float = 1.0
    rent: Mapping[str, float] = field(default_factory=dict)
    residual: tuple[ResidualMove, ...] = ()
    contract_loss: Mapping[str, float] = field(default_factory=dict)
    delay_months: float = 0.0
    base_rate: float = 0.0
    spread: float = 0.0
    refinancing: float = 1.0

    def rent_of(self, model: str) -> float:
        """The multiple of one model's rent."""
        return self.rent.get("", 1.0) * self.rent.get(model.upper(), 1.0)

    def residual_of(self, model: str, bought: date) -> float:
        """The multiple of a used price."""
        return math.prod(move.factor for move in self.residual if move.touches(model, bought))


@dataclass(frozen=True, slots=True)
class Draws:
    """Which paths answers are simulated on: their seed, and how many for a chance of default."""

    seed: int = 1
    n_paths: int = 1024


#: what tests and single questions use; evaluations take theirs from the configuration
DRAWS = Draws()


@dataclass(frozen=True)
class State:
    """The known book, prices and assumptions on the two axes (borrowers, facilities), under ``factors``."""

    at: datetime
    borrowers: tuple[str, ...]
    facilities: tuple[str, ...]
    facility_borrower: NDArray[np.int64]
    rows: tuple[KnownBorrower, ...]
    pools: tuple[KnownFacility, ...]
    #: the debts of each facility, those known to exist
    pool_debts: tuple[tuple[KnownDebt, ...], ...]
    assumptions: Assumptions
    market: Mapping[str, Field]
    quoted: Mapping[str, Field]
    facts: Mapping[str, Field]
    pool_facts: Mapping[str, Field]
    principal: Field
    lots: Lots
    quotes: Mapping[tuple[str, str], Quote] = field(default_factory=dict)
    book: KnownBook | None = None
    factors: Factors = Factors()
    draws: Draws = DRAWS
    #: what was already worked out and no factor moves; shared with the states :meth:`under` makes
    memo: dict[Hashable, Field] = field(init=False, default_factory=dict, repr=False, compare=False)

    def under(self, factors: Factors) -> State:
        """The same state with other factors; what factors do not move is not worked out again."""
        moved = replace(self, factors=factors)
        object.__setattr__(moved, "memo", self.memo)
        return moved

    def once(self, key: Hashable, build: Callable[[], Field]) -> Field:
        """A field that depends on no factor (or on those in the key), worked out the first time it is asked for."""
        if key not in self.memo:
            self.memo[key] = build()
        return self.memo[key]

    def kind(self, facility: int) -> str:
        """The kind of borrower behind a facility."""
        return self.rows[int(self.facility_borrower[facility])].borrower.kind

    def assume(self, name: str) -> Field:
        """An assumption over borrowers."""
        kinds = [row.borrower.kind for row in self.rows]
        return self.once(("assume", name), lambda: Field.of([self.assumptions.get(name, k) for k in kinds]))

    def assume_pools(self, name: str) -> Field:
        """An assumption over facilities."""
        kinds = [self.kind(f) for f in range(len(self.facilities))]
        return self.once(("assume_pools", name), lambda: Field.of([self.assumptions.get(name, k) for k in kinds]))

    def price(self, series: str, n: int) -> Field:
        """A market price over n subjects."""
        return self.once(("price", series, n), lambda: self.market[series].take(np.zeros(n, np.int64)))


# ---------------------------------------------------------------- building
def build_state(known: KnownBook, quotes: Mapping[tuple[str, str], Quote], draws: Draws = DRAWS) -> State:
    """Arrange a known book and quotes on the axes. Nothing is guessed beyond the book's assumptions."""
    rows = tuple(sorted(known.borrowers, key=lambda row: row.id))
    pairs = [(b, pool) for b, row in enumerate(rows) for pool in sorted(row.facilities, key=lambda p: p.facility.id)]
    pools = tuple(pool for _, pool in pairs)
    owner = np.array([b for b, _ in pairs], dtype=np.int64)
    debts = tuple(_debts_of(rows[b], pool) for b, pool in pairs)
    assumptions = Assumptions.of(known.assumptions)
    kinds = [rows[b].borrower.kind for b in owner]
    market = {s: Field.of([quote_value(quotes.get((s, MARKET)), s)]) for s in MARKET_SERIES}
    return State(
        at=known.at,
        borrowers=tuple(row.id for row in rows),
        facilities=tuple(f"{rows[b].id}/{pool.facility.id}" for b, pool in pairs),
        facility_borrower=owner,
        rows=rows,
        pools=pools,
        pool_debts=debts,
        assumptions=assumptions,
        market=market,
        quoted={s: Field.of([quote_value(quotes.get((s, row.id)), s) for row in rows]) for s in BORROWER_SERIES},
        facts={name: Field.of(_borrower_facts(rows, name, known.at)) for name in FACTS},
        pool_facts={name: Field.of(_given([pool.facts for pool in pools], name, known.at)) for name in POOL_FACTS},
        principal=Field.of([_principal(pool, owed, known.at) for pool, owed in zip(pools, debts, strict=True)]),
        lots=build_lots(pools, kinds, assumptions, market, known.at),
        quotes=quotes,
        book=known,
        draws=draws,
    )


def _debts_of(row: KnownBorrower, pool: KnownFacility) -> tuple[KnownDebt, ...]:
    return tuple(debt for debt in row.debts if debt.debt.id in pool.facility.debts)


def _principal(pool: KnownFacility, debts: Sequence[KnownDebt], at: datetime) -> Value:
    if not pool.facility.debts:
        return Value.exact(0.0, detail="no debt stands against this pool")
    if not debts:
        names = ", ".join(pool.facility.debts)
        return Value.unknown(f"principal_usd of {names} was never reported (or not before {at:%Y-%m-%d})")
    return total([amount_owed(debt, at) for debt in debts])


def _given(tables: Sequence[Mapping[str, Fact]], name: str, at: datetime) -> list[Value]:
    """One figure of every subject; those that never gave it, and most never gave most, share one answer."""
    absent = fact_value({}, name, at)
    return [fact_value(facts, name, at) if name in facts else absent for facts in tables]


def _borrower_facts(rows: Sequence[KnownBorrower], name: str, at: datetime) -> list[Value]:
    values = _given([row.facts for row in rows], name, at)
    if not name.startswith(("btc_", "eth_")):
        return values
    return [value if value.known else _coins(row, name, at, value) for row, value in zip(rows, values, strict=True)]


def _coins(row: KnownBorrower, name: str, at: datetime, value: Value) -> Value:
    """Coins nobody reported as such, from what was reported beside them; else ``value``, which says what is missing."""
    coins = [n for n in row.facts if n.startswith(name[:4])]
    if not coins and (row.borrower.kind != "miner" or name.startswith("eth_")):
        label = f"no {name[:3].upper()} ever reported, counted as none ({row.borrower.kind})"
        return Value.exact(0.0, used=(label,))
    if name == "eth_free" and "eth_total" in row.facts:
        whole = fact_value(row.facts, "eth_total", at)
        label = "eth_free not reported: all of eth_total, or none of it"
        return Value((whole.middle, 0.0, whole.middle), (), (label,), whole.as_of_s)
    if name == "btc_total":
        parts = [fact_value(row.facts, n, at) for n in ("btc_free", "btc_lent", "btc_pledged", "btc_restricted")]
        if all(part.known for part in parts):
            return total(parts).noting("btc_total is the sum of its parts")
    if name == "btc_free" and "btc_total" in row.facts:
        return _free_of_total(row, at)
    return value


def _free_of_total(row: KnownBorrower, at: datetime) -> Value:
    """Free coins from the total; parts nobody reported may be anything, so the adverse end is none free."""
    parts = {n: fact_value(row.facts, n, at) for n in ("btc_lent", "btc_pledged", "btc_restricted")}
    reported = total([part for part in parts.values() if part.known])
    whole = fact_value(row.facts, "btc_total", at)
    free = max(0.0, whole.middle - reported.middle)
    missing = [n for n, part in parts.items() if not part.known]
    label = f"btc_free is btc_total less what is reported ({', '.join(missing) or 'nothing'} not reported)"
    return Value((free, 0.0 if missing else free, free), (), (label,), min(whole.as_of_s, reported.as_of_s))
