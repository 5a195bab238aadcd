"""Hardware pools as lots: what each machine or each purchase would fetch today, by the best source there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.known import KnownFacility
from monitor.model import Facility, FloatArray
from monitor.stress.assumptions import Assumptions, fact_value, seconds
from monitor.stress.field import INF, Field, Value, combine

GPU_MODELS = ("A100", "H100", "H200", "B200")


@dataclass(frozen=True)
class Lots:
    """Hardware as flat arrays over lots: its facility, model, month bought, value at the market mark, and units.

    ``dated`` is False where nobody said when it was bought; ``bought`` is then the date of the figure. ``decayed``:
    years over which the value has fallen at the ``decay_annual`` of all models, 0 where it does not follow it.
    """

    facility: NDArray[np.int64]
    model: tuple[str, ...]
    bought: tuple[date, ...]
    dated: tuple[bool, ...]
    value_usd: Field
    units: Field
    decayed: FloatArray


def build_lots(
    pools: Sequence[KnownFacility],
    kinds: Sequence[str],
    assumptions: Assumptions,
    market: Mapping[str, Field],
    at: datetime,
) -> Lots:
    """Every pool's hardware as lots, by the best source it has.

    Disclosed units at an observed used price; a reported collateral value; units at an assumed cost and cost by
    vintage, both times the residual ``(1 - decay)^age`` (together: a book writes different machines in the two); cost
    without a date; net book value times an assumed market-to-book ratio. A pool with none of these gets one unknown
    lot that names what is missing.
    """
    build = _LotBuilder(assumptions, market, at)
    for f, pool in enumerate(pools):
        if pool.facility.pool == "hardware":
            build.pool(f, pool, kinds[f])
    return Lots(
        np.array([row.facility for row in build.rows], dtype=np.int64),
        tuple(row.model for row in build.rows),
        tuple(row.bought for row in build.rows),
        tuple(row.dated for row in build.rows),
        Field.of([row.value for row in build.rows]),
        Field.of([row.units for row in build.rows]),
        np.array([row.decayed for row in build.rows], dtype=np.float64),
    )


class _Lot(NamedTuple):
    facility: int
    model: str
    bought: date
    dated: bool
    value: Value
    units: Value
    decayed: float = 0.0


class _LotBuilder:
    """Collects lots pool by pool."""

    def __init__(self, assumptions: Assumptions, market: Mapping[str, Field], at: datetime):
        self.assumptions, self.market, self.at = assumptions, market, at
        self.rows: list[_Lot] = []
        self.residuals: dict[tuple[str, date, str], Value] = {}

    def pool(self, f: int, pool: KnownFacility, kind: str) -> None:
        facility = pool.facility
        stated = fact_value(pool.facts, "collateral_usd", self.at)
        marked = bool(facility.units) and all(self.mark(u.model).known for u in facility.units)
        if stated.known and not (marked and not facility.cost_vintages):
            self.split(f, stated, None, {}, kind, None)
        elif facility.units or facility.cost_vintages:
            self.machines(f, facility, kind)
        elif "cost_usd" in pool.facts:
            cost = fact_value(pool.facts, "cost_usd", self.at).noting("age of cost_usd counted from its as_of")
            self.split(f, cost, None, {}, kind, "residual", since=pool.facts["cost_usd"].as_of)
        elif "assets_net_usd" in pool.facts:
            net = fact_value(pool.facts, "assets_net_usd", self.at)
            self.split(f, net, None, {}, kind, "book")
        else:
            missing = Value.unknown("no units, cost vintages, cost_usd, collateral_usd or assets_net_usd of the pool")
            self.rows.append(_Lot(f, "", self.at.date(), False, missing, missing))

    def machines(self, f: int, facility: Facility, kind: str) -> None:
        """What is known by count, at the used price (or aged cost) of its model, and what is known by cost and date."""
        for u in facility.units:
            units, mark = Value.exact(u.units, seconds(u.fact.as_of)), self.mark(u.model)
            price = mark if mark.known else self.aged_cost(u.model, u.bought, kind)
            value, years = combine(lambda n, p: n * p, units, price), self.years(u.model, u.bought, kind)
            self.rows.append(_Lot(f, u.model, u.bought, True, value, units, 0.0 if mark.known else years))
        for v in facility.cost_vintages:
            used = () if v.fact.quality in ("filing", "press") else (f"cost vintages ({v.fact.quality})",)
            cost = Value.exact(v.cost_usd, seconds(v.fact.as_of), used)
            self.split(f, cost, v.bought, v.model_mix, kind, "residual")

    def mark(self, model: str) -> Value:
        """The observed used price of a model."""
        series = f"resale_{model.lower()}_usd"
        return self.market[series].at(0) if series in self.market else Value.unknown(f"{series} was never observed")

    def residual(self, model: str, bought: date, kind: str) -> Value:
        """``(1 - decay)^years``: the share of its cost a machine of this age still fetches."""
        key = model, bought, kind
        if key not in self.residuals:
            years, decay = self.age(bought), self.assumptions.get("decay_annual", kind, model)
            self.residuals[key] = combine(lambda lost: (1 - lost) ** years, decay)
        return self.residuals[key]

    def age(self, bought: date) -> float:
        """Years since a purchase."""
        return max(0.0, (self.at.date() - bought).days / 365.25)

    def years(self, model: str, bought: date, kind: str) -> float:
        """The age where it falls at the decay of all models, 0 where the model has a decay of its own."""
        get = self.assumptions.get
        return self.age(bought) if get("decay_annual", kind, model) is get("decay_annual", kind) else 0.0

    def aged_cost(self, model: str, bought: date, kind: str) -> Value:
        cost = self.assumptions.get("unit_cost_usd", kind, model)
        return combine(lambda c, r: c * r, cost, self.residual(model, bought, kind))

    def split(
        self,
        f: int,
        money: Value,
        bought: date | None,
        mix: Mapping[str, float],
        kind: str,
        by: Literal["residual", "book"] | None,
        since: date | None = None,
    ) -> None:
        """One amount of money as lots by model; ``by`` says how it becomes a market value (None: it already is one)."""
        day = bought or since or self.at.date()
        shares = {m: Value.exact(share) for m, share in mix.items()} or self.mix(kind)
        if mix and (rest := 1 - sum(mix.values())) > 1e-9:
            shares[""] = Value.exact(rest, used=("part of the model mix not stated",))
        for model, share in shares.items():
            part = combine(lambda m, s: m * s, money, share)
            price = self.assumptions.get("unit_cost_usd", kind, model)
            units = combine(lambda m, c: m / c if c > 0 else INF, part, price)
            value = part
            if by == "residual":
                value = combine(lambda p, r: p * r, part, self.residual(model, day, kind))
            elif by == "book":
                value = combine(lambda p, r: p * r, part, self.assumptions.get("market_to_book", kind))
            years = self.years(model, day, kind) if by == "residual" else 0.0
            self.rows.append(_Lot(f, model, day, bought is not None, value, units, years))

    def mix(self, kind: str) -> dict[str, Value]:
        """The assumed fleet where nobody says what was bought; shares of the present models add to one."""
        if kind == "miner":
            return {"ASIC": Value.exact(1.0, used=("hardware of a miner counted as ASICs",))}
        shares = {model: self.assumptions.get("gpu_mix", kind, model) for model in GPU_MODELS}
        known = {model: share for model, share in shares.items() if share.known}
        whole = sum(share.middle for share in known.values())
        if not whole:
            return {"": Value.exact(1.0)}
        return {model: Value.exact(share.middle / whole, used=share.used) for model, share in known.items()}
