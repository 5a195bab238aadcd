"""Who holds what, and what a sale of it does: pools released together, one price by model, everybody re-marked. Pure.

What is released adds up by model, and one sale moves one price: ``price exp(-units / depth)``. Machines nobody lent
against stay where they are. The set of the fallen only grows, so the fixed point takes at most one round more than
there are borrowers. Source of the price rule: Cifuentes, Ferrucci and Shin (2005).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitor.model import BoolArray, FloatArray
from monitor.stress import collateral, due, poolcash
from monitor.stress.coins import free_coins
from monitor.stress.field import ADVERSE, FAVOURABLE, INF, MIDDLE, Field, choose
from monitor.stress.state import State

#: a pool given up without recourse to the owner
LIMITED = ("none", "limited")
Again = Callable[[BoolArray], BoolArray]


@dataclass(frozen=True)
class Holdings:
    """Who holds what at the mark, and who owes what, at one corner. Axes: F pool, M model, B borrower; USD and units.

    ``other_usd`` (F,) is what hardware prices do not move; ``pledged`` (F,) pools that secure a loan; ``valued`` (F,)
    pools all of whose value is known: no other is ever called under water; ``liquid_usd`` (B,) cash and free coins.
    ``counted`` (B,): debt and liquid means are known. ``left_out`` names every pool, debt and link that is not in the
    numbers, with the reason.
    """

    borrowers: tuple[str, ...]
    pools: tuple[str, ...]
    models: tuple[str, ...]
    owner: NDArray[np.int64]
    units: FloatArray
    value_usd: FloatArray
    other_usd: FloatArray
    principal_usd: FloatArray
    pledged: BoolArray
    valued: BoolArray
    limited: BoolArray
    dscr: FloatArray
    depth_units: FloatArray
    haircut: float
    debt_usd: FloatArray
    liquid_usd: FloatArray
    counted: BoolArray
    left_out: tuple[str, ...]
    used: tuple[str, ...]


def holdings(state: State, corner: int = MIDDLE) -> Holdings:
    """The pools and debts of a state at one corner; what is unknown counts as nothing and is named."""
    models = tuple(sorted(set(state.lots.model)))
    left = list[str]()
    units, value, used = _machines(state, collateral.stressed_lots(state), models, corner, left)
    other = _other(state, corner, left)
    principal = np.where(state.principal.known, state.principal.values[corner], 0.0)
    cover = poolcash.facility_cfads_12m(state) / poolcash.facility_service_12m(state)
    debts, liquid = due.debt_total(state), _liquid(state)
    left += [f"{state.borrowers[i]}: {texts[0]}" for i, texts in sorted(debts.reasons.items())]
    left += [f"{state.borrowers[i]}: {texts[0]}" for i, texts in sorted(liquid.reasons.items()) if debts.known[i]]
    depth = [state.assumptions.get("depth_units", "all", model) for model in models]
    haircut = state.assumptions.get("liquidation_haircut")
    used.update(dict.fromkeys(label for item in (*depth, haircut) for label in item.used))
    return Holdings(
        borrowers=state.borrowers, pools=state.facilities, models=models, owner=state.facility_borrower,
        units=units, value_usd=value, other_usd=other, principal_usd=principal, pledged=principal > 0,
        valued=np.asarray(collateral.economic(state).known & ~collateral.is_pool(state, "none")),
        limited=_limited(state, left), dscr=np.where(cover.known, cover.values[corner], np.nan),
        depth_units=np.array([item.corners[corner] for item in depth]), haircut=haircut.corners[corner],
        debt_usd=np.where(debts.known, debts.values[corner], 0.0),
        liquid_usd=np.where(liquid.known, liquid.values[corner], 0.0),
        counted=np.asarray(debts.known & liquid.known), left_out=tuple(dict.fromkeys(left)), used=tuple(used),
    )  # fmt: skip


def _machines(
    state: State, lots: Field, models: tuple[str, ...], corner: int, left: list[str]
) -> tuple[FloatArray, FloatArray, dict[str, None]]:
    """Units and value by pool and model; a pool with one unknown lot is left out whole and named."""
    shape = len(state.facilities), len(models)
    units, value, used, broken = np.zeros(shape), np.zeros(shape), dict[str, None](), set[int]()
    for i, f in enumerate(state.lots.facility):
        if not (lots.known[i] and state.lots.units.known[i]):
            broken.add(int(f))
            left.append(f"{state.facilities[int(f)]}: {(lots.reasons.get(i) or state.lots.units.reasons[i])[0]}")
            continue
        m = models.index(state.lots.model[i])
        units[f, m] += state.lots.units.values[corner, i]
        value[f, m] += lots.values[corner, i]
        used.update(dict.fromkeys((*lots.used.get(i, ()), *state.lots.units.used.get(i, ()))))
    for f in broken:
        units[f], value[f] = 0.0, 0.0
    return units, value, used


def with_decay(own: Holdings, state: State, decay: float) -> Holdings:
    """The same holdings, at the middle, with GPUs losing this much a year in place of the assumed share."""
    lots = state.lots
    assumed = [state.assumptions.get("decay_annual", state.kind(int(f))).middle for f in lots.facility]
    ratio = np.where(lots.decayed > 0, (1 - decay) / (1 - np.array(assumed)), 1.0) ** lots.decayed
    marked = collateral.stressed_lots(state) * Field.exact(ratio)
    units, value, _ = _machines(state, marked, own.models, MIDDLE, [])
    return replace(own, units=units, value_usd=value)


def with_depth(own: Holdings, scale: float) -> Holdings:
    """The same holdings in a market ``scale`` times as deep."""
    return replace(own, depth_units=own.depth_units * scale)


def _other(state: State, corner: int, left: list[str]) -> FloatArray:
    """Coins, buildings and escrow of each pool; a pool whose value is unknown counts as nothing and is named."""
    hardware = collateral.is_pool(state, "hardware")
    whole = choose(hardware, collateral.escrow(state), collateral.economic(state))
    unknown = ~whole.known & ~collateral.is_pool(state, "none")
    left += [f"{state.facilities[f]}: {whole.reasons[int(f)][0]}" for f in np.flatnonzero(unknown)]
    return np.where(whole.known, whole.values[corner], 0.0)


def _liquid(state: State) -> Field:
    price = state.price("btc_usd", len(state.borrowers))
    coins = collateral.worth(free_coins(state), price, state.factors.btc)
    return state.facts["cash_unrestricted_usd"] + coins


def _limited(state: State, left: list[str]) -> BoolArray:
    """Pools all of whose debts stop at the pool; unknown recourse is not taken as none, and is named."""
    out = np.zeros(len(state.facilities), bool)
    for f, debts in enumerate(state.pool_debts):
        terms = [item.debt.recourse for item in debts]
        out[f] = bool(terms) and all(term in LIMITED for term in terms)
        if any(term is None for term in terms):
            left.append(f"{state.facilities[f]}: recourse was never reported, so no surrender is assumed")
    return out


# ---------------------------------------------------------------- the sale
@dataclass(frozen=True)
class Settled:
    """The fixed point on S paths: ``fallen`` (B,S), ``released`` (F,S), ``price`` (M,S) as a share of the mark,
    ``uncovered_usd`` (B,S) debt beyond what is left to cover it (zero where not counted), ``rounds``."""

    fallen: BoolArray
    released: BoolArray
    price: FloatArray
    uncovered_usd: FloatArray
    rounds: int


def settle(
    own: Holdings, fallen: BoolArray, again: Again | None = None, extra_units: FloatArray | None = None
) -> Settled:
    """From the first falls (B,S) to the fixed point.

    ``again``: the fallen (B,S) -> who falls because of them (tenants, lenders), itself growing; ``extra_units`` (M,)
    machines sold by somebody outside the book.
    """
    fallen = np.array(fallen, bool)
    given_up = np.zeros((len(own.pools), fallen.shape[1]), bool)
    price = np.ones((len(own.models), fallen.shape[1]))
    rounds = 0
    while True:
        rounds += 1
        while True:
            released = (fallen[own.owner] & own.pledged[:, None]) | given_up
            price = _price(own, released, extra_units)
            more = given_up | _surrendered(own, price)
            if (more == given_up).all():
                break
            given_up = more
        after = fallen if again is None else fallen | again(fallen)
        if (after == fallen).all():
            return Settled(
                fallen, released, price, _uncovered(own, released, given_up & ~fallen[own.owner], price), rounds
            )
        fallen = after


def _price(own: Holdings, released: BoolArray, extra: FloatArray | None) -> FloatArray:
    """Price after everything released is sold, as a share of the mark; a matrix product adds up by model."""
    sold = own.units.T @ released.astype(float)
    if extra is not None:
        sold = sold + extra[:, None]
    return price_left(sold, own.depth_units[:, None])


def price_left(sold_units: FloatArray, depth_units: FloatArray) -> FloatArray:
    """exp(-units / depth), a share of the mark. Without any depth a sale leaves nothing, and no sale leaves all.

    >>> price_left(np.array([0.0, 5.0, 5.0]), np.array([0.0, 0.0, 5.0])).round(6).tolist()
    [1.0, 0.0, 0.367879]
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        left = np.exp(-sold_units / depth_units)
    return np.where(sold_units == 0, 1.0, left)


def proceeds_share(price: FloatArray) -> FloatArray:
    """Average price of a sale that ends at ``price`` (a share of the mark): (1 - p) / -ln p; nothing at no price.

    >>> proceeds_share(np.array([1.0, np.exp(-1.0), 0.0])).round(6).tolist()
    [1.0, 0.632121, 0.0]
    """
    depth = -np.log(np.maximum(price, 1e-300))
    share = np.where(depth > 1e-9, -np.expm1(-depth) / np.maximum(depth, 1e-9), 1.0)
    return np.where(price > 0, share, 0.0)


def _surrendered(own: Holdings, price: FloatArray) -> BoolArray:
    """Pools behind limited recourse, under water at the new marks and not carrying their debt service."""
    weak = own.limited & own.pledged & own.valued & (own.dscr < 1)
    out = np.zeros((len(weak), price.shape[1]), bool)
    value = own.value_usd[weak] @ price + own.other_usd[weak, None]
    out[weak] = own.principal_usd[weak, None] > value
    return out


def _uncovered(own: Holdings, released: BoolArray, given_up: BoolArray, price: FloatArray) -> FloatArray:
    """Debt not covered: held pools at the new marks, released ones at what the sale brings."""
    held = own.value_usd @ price
    sold = (own.value_usd @ proceeds_share(price)) * own.haircut
    value = np.where(released, sold, held) + own.other_usd[:, None]
    lost: FloatArray | float = 0.0
    left: FloatArray | float = 0.0
    if given_up.any():
        lost = _by_owner(own, np.where(given_up, np.maximum(own.principal_usd[:, None] - value, 0.0), 0.0))
        left = _by_owner(own, np.where(given_up, own.principal_usd[:, None], 0.0))
        value = np.where(given_up, 0.0, value)
    rest = np.maximum(own.debt_usd[:, None] - left - own.liquid_usd[:, None] - _by_owner(own, value), 0.0)
    return np.where(own.counted[:, None], rest + lost, 0.0)


def _by_owner(own: Holdings, part: FloatArray) -> FloatArray:
    """Sums over the pools of each borrower (B,S); a product with ones and zeros is the fastest way to add rows."""
    return np.asarray((np.arange(len(own.borrowers))[:, None] == own.owner).astype(float) @ part)


@dataclass(frozen=True)
class Sale:
    """A sale of machines: at (middle, adverse, favourable). ``months``: how long the market takes at its present
    size; ``average_usd`` and ``last_usd`` per unit; ``remarked``: pool -> (value before, after, LTV before, after)."""

    model: str
    units: float
    months: tuple[float, float, float]
    average_usd: tuple[float, float, float]
    last_usd: tuple[float, float, float]
    remarked: Mapping[str, tuple[float, float, float, float]]
    left_out: tuple[str, ...]
    used: tuple[str, ...]


def sell(state: State, orders: Mapping[str, float]) -> tuple[Sale, ...]:
    """What selling so many units of each model does: ``sell(state, {"H100": 10_000})``.

    The months read the depth as what a model's market trades in a quarter, which is where the depth comes from. Pools
    of one model are re-marked at the last price. ValueError for a model the book does not hold, or units below zero.
    """
    corners = [holdings(state, corner) for corner in (MIDDLE, ADVERSE, FAVOURABLE)]
    base = corners[0]
    wrong = [name for name in orders if name not in base.models]
    if wrong:
        raise ValueError(
            f"no machines of model {', '.join(wrong)}; the book holds {', '.join(filter(None, base.models))}"
        )
    if any(not np.isfinite(units) or units < 0 for units in orders.values()):
        raise ValueError("units to sell must be finite and not negative")
    return tuple(_sale(state, corners, model, units) for model, units in orders.items())


def _sale(state: State, corners: list[Holdings], model: str, units: float) -> Sale:
    average, last, months = [], [], []
    base, m = corners[0], corners[0].models.index(model)
    for own in corners:
        held = own.units[:, m].sum()
        mark = float(own.value_usd[:, m].sum() / held) if held > 0 else float("nan")
        depth = own.depth_units[m]
        price = float(price_left(np.array([units]), np.array([depth]))[0])
        months.append(float(3 * units / depth) if depth > 0 else INF if units > 0 else 0.0)
        average.append(float(mark * own.haircut * proceeds_share(np.array([price]))[0]))
        last.append(mark * own.haircut * price)
    left = float(price_left(np.array([units]), base.depth_units[m : m + 1])[0])
    remarked = {}
    for f in np.flatnonzero(base.value_usd[:, m] > 0):
        before = float(base.value_usd[f].sum() + base.other_usd[f])
        after = before - float(base.value_usd[f, m]) * (1 - left)
        loan = float(base.principal_usd[f]) if base.pledged[f] else float("nan")
        remarked[base.pools[int(f)]] = (before, after, loan / before, loan / after)
    return Sale(model, units, _three(months), _three(average), _three(last), remarked, base.left_out, base.used)


def _three(parts: list[float]) -> tuple[float, float, float]:
    return parts[0], parts[1], parts[2]
