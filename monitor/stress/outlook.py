"""What the paths are assumed to do, and the paths: ranges for what no document gives, corner by corner. Pure.

These are assumptions about markets, not about borrowers; the book's assumptions hold them, each with a low, a middle
and a high, and every answer made of paths names the ones it used. Correlation is a set of three, never a fitted
constant: no published correlation of bitcoin and compute rents exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from monitor.model import FloatArray
from monitor.stress.assumptions import Assumptions
from monitor.stress.bridge import MANY, Bridge
from monitor.stress.field import MIDDLE
from monitor.stress.inputs import Factors
from monitor.stress.obligor import base_today
from monitor.stress.paths import MICRO_BLOCK, Copula, Market, as_factors, as_shock, shocks
from monitor.stress.scenario import Move, Scenario, apply
from monitor.stress.state import State

#: correlation of all axes towards bad times together: a set of scenarios
RHOS = (0.0, 0.35, 0.7)
MIDDLE_RHO = 0.35


#: two axes of the paths (crypto, rental, spread) and their correlation
Pair = tuple[str, str, float]


#: assumptions about markets, not about borrowers: name in the book's assumptions -> what it is
MARKET = {
    "crypto_vol": "yearly volatility of bitcoin",
    "rental_vol": "yearly volatility of GPU rents",
    "spread_vol": "yearly standard deviation of this sector's credit spread",
    "base_vol": "yearly standard deviation of the base rate, for the distance only",
    "spread_today": "credit spread of this sector today",
    "refi_shut_above": "credit spread at which nobody refinances",
    "loss_chance": "yearly chance that one customer is lost, whoever it is",
    "contract_sigma": "share of contracts one standard deviation takes, for the distance",
    "vacancy_months": "months a defaulted tenant's space earns nothing",
}


def prior(name: str, corner: int, known: Assumptions) -> float:
    """One assumption about markets at one corner; NaN where the book's assumptions do not hold it.

    >>> from monitor.model import Assumption
    >>> rows = [Assumption("loss_chance", "all", 0.005, 0.02, 0.05, "ratio", "customers go", "a judgement")]
    >>> [prior("loss_chance", corner, Assumptions.of(rows)) for corner in range(3)]
    [0.02, 0.05, 0.005]
    """
    return known.get(name).corners[corner]


def missing(known: Assumptions) -> tuple[str, ...]:
    """Which assumptions about markets the book's do not hold, as reasons: without them no path can be drawn."""
    return tuple(reason for name in MARKET for reason in known.get(name).reasons)


def notes(known: Assumptions) -> tuple[str, ...]:
    """The assumptions about markets as lines a person can read."""
    return tuple(f"{text}: {what}" for name, what in MARKET.items() for text in known.get(name).used)


def correlation(n: int, rho: float) -> FloatArray:
    """Every axis leans towards bad times together: crypto, rents and customers fall when the spread (third) rises.

    >>> correlation(4, 0.35)[0].tolist()
    [1.0, 0.35, -0.35, 0.35]
    """
    sign = np.ones(n)
    sign[2] = -1.0
    return np.asarray(rho * np.outer(sign, sign) + (1 - rho) * np.eye(n))


def drawn_shocks(
    customers: tuple[str, ...], rho: float, seed: int, n_periods: int, n: int,
    pairs: tuple[Pair, ...] = (), given: tuple[tuple[str, float], ...] = (), given_by: int | None = None,
    block: int = 0,
) -> tuple[Copula, FloatArray]:  # fmt: skip
    """Shocks of the first ``n`` paths of a block, given where some axes stand after ``given_by`` periods; a pure
    function of its arguments. What the market is assumed to do with them is not in here."""
    names = ("crypto", "rental", "spread", *customers)
    matrix = correlation(len(names), rho)
    for one, other, stated in pairs:
        i, j = names.index(one), names.index(other)
        matrix[i, j] = matrix[j, i] = stated
    copula = Copula(names, matrix, seed=seed, n_periods=n_periods, label="correlation of the paths")
    drawn = shocks(copula, block, dict(given), given_by)[:, :, : min(n, MICRO_BLOCK)].copy()
    drawn.setflags(write=False)
    return copula, drawn


Draw = Callable[..., tuple[Copula, FloatArray]]
#: drawing is the slow part of an answer: what was drawn is kept for the next tick
kept_shocks = lru_cache(maxsize=16)(drawn_shocks)


def _market(
    known: Assumptions, corner: int, btc_usd: float, base_rate: float, n_models: int, n_customers: int
) -> Market:
    """Where the factors stand and how they move, at one corner."""
    names = ("spread_today", "crypto_vol", "rental_vol", "spread_vol", "loss_chance", "refi_shut_above")
    spread, crypto, rental, spread_vol, lost, shut = (prior(name, corner, known) for name in names)
    return Market(
        btc_usd, base_rate, spread, crypto, rental, spread_vol, rent_elasticity=(1.0,) * n_models,
        residual_elasticity=(0.5,) * n_models, residual_decay=(0.0,) * n_models, loss_chance=(lost,) * n_customers,
        refi_shut_spread=shut,
    )  # fmt: skip


def simulated(
    rows: Bridge, btc_usd: float, base_rate: float, *, corner: int = MIDDLE, rho: float = MIDDLE_RHO,
    seed: int | None = None, n_paths: int = MICRO_BLOCK, refi_shut: bool = False, pairs: tuple[Pair, ...] = (),
    given: Mapping[str, float] | None = None, given_by: int | None = None, block: int = 0, draw: Draw = kept_shocks,
) -> Factors:  # fmt: skip
    """Up to 4,096 paths on the axes of the rows, those from number 4,096 x ``block`` on; the same numbers whenever
    they are asked for. Without ``seed`` it is that of the rows.

    ``refi_shut``: nothing falling due is rolled on any path. An unknown bitcoin price (NaN) is taken as one: rows that
    hold coins are unknown anyway. Only customers who pay somebody in the rows get an axis of their own. ``pairs``: a
    stated correlation of two axes in place of ``rho``; ``given``: what has happened after ``given_by`` periods
    (default: all of them), as in :func:`monitor.stress.paths.simulate`; the other axes then follow their conditional
    distribution. ``draw``: :func:`drawn_shocks`, or a memo of it; the default keeps what it drew. ValueError naming
    every assumption about markets that the book does not hold.
    """
    if without := missing(rows.assumptions):
        raise ValueError("; ".join(without))
    n_periods = rows.inputs.opex_usd.shape[1]
    pay = np.nan_to_num(rows.inputs.contracted_usd).sum(axis=0) > 0
    axes = [c for c, name in enumerate(rows.counterparties) if pay[c] and name != MANY]
    price = btc_usd if np.isfinite(btc_usd) else 1.0
    market = _market(rows.assumptions, corner, price, base_rate, len(rows.models), len(axes))
    years = (n_periods if given_by is None else given_by) * rows.inputs.dt_years
    stand = tuple((name, as_shock(name, move, market, years)) for name, move in (given or {}).items())
    customers = tuple(rows.counterparties[c] for c in axes)
    chosen = rows.seed if seed is None else seed
    copula, drawn = draw(customers, rho, chosen, n_periods, n_paths, pairs, stand, given_by, block)
    made = as_factors(copula, market, drawn, rows.inputs.dt_years)
    loss = np.zeros((n_periods, len(rows.counterparties), made.n_paths))
    loss[:, axes] = made.contract_loss
    made = replace(made, contract_loss=loss)
    return replace(made, refi_open=np.zeros_like(made.refi_open)) if refi_shut else made


def levels(state: State) -> tuple[float, float]:
    """Today's bitcoin price (NaN where unknown) and base rate (assumed where no source gives it, and zero where nobody
    assumes one: no row that owes something is known then)."""
    base = base_today(state)
    return float(state.market["btc_usd"].values[MIDDLE, 0]), base.middle if base.known else 0.0


def under(rows: Bridge, state: State, scenario: Scenario) -> Factors:
    """One path: the scenario's moves, each phased in evenly over its months, then held.

    The loss of the largest customer hits the customer each row lives on most; cut to one row to keep it to that row.
    """
    n_periods, months = rows.inputs.opex_usd.shape[1], rows.inputs.dt_years * 12
    steps = []
    for t in range(n_periods):
        partial = tuple(partway(move, (t + 1) * months) for move in scenario.moves)
        steps.append(apply(state, replace(scenario, moves=partial)).factors)
    btc, base = levels(state)
    price = btc if np.isfinite(btc) else 1.0
    today, largest = prior("spread_today", MIDDLE, state.assumptions), _largest(rows)
    loss = np.zeros((n_periods, len(rows.counterparties), 1))
    for t, step in enumerate(steps):
        for c, name in enumerate(rows.counterparties):
            kept = (1 - step.contract_loss.get("", 0.0)) * (1 - step.contract_loss.get(name, 0.0))
            kept *= 1 - (step.contract_loss.get("largest", 0.0) if c in largest else 0.0)
            loss[t, c, 0] = 1 - kept
    column = {
        name: np.array([[getattr(step, name)] for step in steps]) for name in ("hashprice", "utilisation", "power")
    }
    return Factors.build(
        n_periods, 1, n_models=len(rows.models), n_counterparties=len(rows.counterparties), **column,
        btc_usd=[[step.btc * price] for step in steps], base_rate=[[base + step.base_rate] for step in steps],
        spread=[[today + step.spread] for step in steps], refi_open=[[step.refinancing] for step in steps],
        rent=[[[step.rent_of(model)] for model in rows.models] for step in steps], contract_loss=loss,
    )  # fmt: skip


def _largest(rows: Bridge) -> set[int]:
    """The customer each row lives on most; one lost by several rows is lost by all of them."""
    paid = np.nan_to_num(rows.inputs.contracted_usd) * (np.array(rows.counterparties) != MANY)
    return {int(row.argmax()) for row in paid if row.max(initial=0.0) > 0}


def partway(move: Move, month: float) -> Move:
    """The move as far as it has come by a month."""
    done = 1.0 if move.over_months <= 0 else min(1.0, month / move.over_months)
    if move.verb != "to":
        return replace(move, amount=move.amount * done)
    start = 0.0 if move.factor in ("contract_loss", "delay_months") else 1.0
    return replace(move, amount=start + (move.amount - start) * done)
