"""What the paths are assumed to do, and the paths: ranges for what no document gives, corner by corner. Pure.

These are assumptions about markets, not about borrowers; each has a low, a middle and a high, and every answer made
of paths names the ones it used. Correlation is a set of three, never a fitted constant: no published correlation of
bitcoin and compute rents exists.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from monitor.model import FloatArray
from monitor.stress.bridge import MANY, Bridge
from monitor.stress.field import MIDDLE
from monitor.stress.inputs import Factors
from monitor.stress.paths import MICRO_BLOCK, Copula, Market, as_factors, shocks
from monitor.stress.scenario import Move, Scenario, apply
from monitor.stress.state import State

#: correlation of all axes towards bad times together: a set of scenarios
RHOS = (0.0, 0.35, 0.7)
MIDDLE_RHO = 0.35


class Prior(NamedTuple):
    """One assumption about markets at the three corners (middle, adverse, favourable), and why."""

    corners: tuple[float, float, float]
    why: str


PRIORS: dict[str, Prior] = {
    "crypto_vol": Prior((0.60, 0.80, 0.45), "yearly volatility of bitcoin, calm to stressed"),
    "rental_vol": Prior((0.45, 0.60, 0.30), "yearly volatility of GPU rents; two years of indices, a judgement"),
    "spread_vol": Prior((0.02, 0.03, 0.01), "credit spreads widened 100 bp in three months of 2026"),
    "base_vol": Prior((0.01, 0.015, 0.005), "yearly standard deviation of the base rate, for the distance only"),
    "spread": Prior((0.04, 0.06, 0.03), "spread of this sector today; no source feeds it"),
    "refi_shut_above": Prior((0.08, 0.0, 1.0), "spread at which nobody refinances: 400 bp wider; ends: always, never"),
    "loss_chance": Prior((0.02, 0.05, 0.005), "yearly chance that one customer is lost, whoever it is"),
    "contract_sigma": Prior((0.30, 0.45, 0.20), "share of contracts one standard deviation takes, for the distance"),
    "vacancy_months": Prior((6.0, 12.0, 3.0), "months a defaulted tenant's space earns nothing"),
}


def prior(name: str, corner: int = MIDDLE) -> float:
    """One assumption at one corner.

    >>> prior("loss_chance"), prior("loss_chance", 1), prior("loss_chance", 2)
    (0.02, 0.05, 0.005)
    """
    return PRIORS[name].corners[corner]


def notes() -> tuple[str, ...]:
    """The assumptions as lines a person can read."""
    lines = []
    for name, (corners, why) in PRIORS.items():
        low, high = min(corners), max(corners)
        lines.append(f"{name} {corners[MIDDLE]:g} ({low:g} to {high:g}, assumed): {why}")
    return tuple(lines)


def correlation(n: int, rho: float) -> FloatArray:
    """Every axis leans towards bad times together: crypto, rents and customers fall when the spread (third) rises.

    >>> correlation(4, 0.35)[0].tolist()
    [1.0, 0.35, -0.35, 0.35]
    """
    sign = np.ones(n)
    sign[2] = -1.0
    return np.asarray(rho * np.outer(sign, sign) + (1 - rho) * np.eye(n))


@lru_cache(maxsize=16)
def _shocks(customers: tuple[str, ...], rho: float, seed: int, n_periods: int, n: int) -> tuple[Copula, FloatArray]:
    """Shocks of the first ``n`` paths. A pure function of its arguments, kept because drawing them is the slow part;
    what the market is assumed to do with them is not in here."""
    names = ("crypto", "rental", "spread", *customers)
    copula = Copula(names, correlation(len(names), rho), seed=seed, n_periods=n_periods, label="rho")
    drawn = shocks(copula, 0)[:, :, : min(n, MICRO_BLOCK)].copy()
    drawn.setflags(write=False)
    return copula, drawn


def _market(corner: int, btc_usd: float, base_rate: float, n_models: int, n_customers: int) -> Market:
    """Where the factors stand and how they move, at one corner."""
    return Market(
        btc_usd, base_rate, prior("spread", corner), prior("crypto_vol", corner), prior("rental_vol", corner),
        prior("spread_vol", corner), rent_elasticity=(1.0,) * n_models, residual_elasticity=(0.5,) * n_models,
        residual_decay=(0.0,) * n_models, loss_chance=(prior("loss_chance", corner),) * n_customers,
        refi_shut_spread=prior("refi_shut_above", corner),
    )  # fmt: skip


def simulated(
    rows: Bridge, btc_usd: float, base_rate: float, *, corner: int = MIDDLE, rho: float = MIDDLE_RHO, seed: int = 1,
    n_paths: int = MICRO_BLOCK, refi_shut: bool = False,
) -> Factors:  # fmt: skip
    """Up to 4,096 paths on the axes of the rows; the same numbers whenever they are asked for.

    ``refi_shut``: nothing falling due is rolled on any path. An unknown bitcoin price (NaN) is taken as one: rows that
    hold coins are unknown anyway. Only customers who pay somebody in the rows get an axis of their own.
    """
    n_periods = rows.inputs.opex_usd.shape[1]
    pay = np.nan_to_num(rows.inputs.contracted_usd).sum(axis=0) > 0
    axes = [c for c, name in enumerate(rows.counterparties) if pay[c] and name != MANY]
    copula, drawn = _shocks(tuple(rows.counterparties[c] for c in axes), rho, seed, n_periods, n_paths)
    price = btc_usd if np.isfinite(btc_usd) else 1.0
    market = _market(corner, price, base_rate, len(rows.models), len(axes))
    made = as_factors(copula, market, drawn, rows.inputs.dt_years)
    loss = np.zeros((n_periods, len(rows.counterparties), made.n_paths))
    loss[:, axes] = made.contract_loss
    made = replace(made, contract_loss=loss)
    return replace(made, refi_open=np.zeros_like(made.refi_open)) if refi_shut else made


def levels(state: State) -> tuple[float, float]:
    """Today's bitcoin price (NaN where unknown) and base rate (assumed where no source gives it)."""
    quoted, assumed = state.market["sofr"].at(0), state.assumptions.get("sofr")
    base = quoted if quoted.known else assumed
    return float(state.market["btc_usd"].values[MIDDLE, 0]), base.middle if base.known else 0.04


def under(rows: Bridge, state: State, scenario: Scenario) -> Factors:
    """One path: the scenario's moves, each phased in evenly over its months, then held.

    The loss of the largest customer hits the customer each row lives on most; cut to one row to keep it to that row.
    """
    n_periods, months = rows.inputs.opex_usd.shape[1], rows.inputs.dt_years * 12
    steps = []
    for t in range(n_periods):
        partial = tuple(_partial(move, (t + 1) * months) for move in scenario.moves)
        steps.append(apply(state, replace(scenario, moves=partial)).factors)
    btc, base = levels(state)
    price = btc if np.isfinite(btc) else 1.0
    largest = _largest(rows)
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
        spread=[[prior("spread") + step.spread] for step in steps], refi_open=[[step.refinancing] for step in steps],
        rent=[[[step.rent_of(model)] for model in rows.models] for step in steps], contract_loss=loss,
    )  # fmt: skip


def _largest(rows: Bridge) -> set[int]:
    """The customer each row lives on most; one lost by several rows is lost by all of them."""
    paid = np.nan_to_num(rows.inputs.contracted_usd) * (np.array(rows.counterparties) != MANY)
    return {int(row.argmax()) for row in paid if row.max(initial=0.0) > 0}


def _partial(move: Move, month: float) -> Move:
    """The move as far as it has come by a month."""
    done = 1.0 if move.over_months <= 0 else min(1.0, month / move.over_months)
    if move.verb != "to":
        return replace(move, amount=move.amount * done)
    start = 0.0 if move.factor in ("contract_loss", "delay_months") else 1.0
    return replace(move, amount=start + (move.amount - start) * done)
