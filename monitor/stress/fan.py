"""Coverage month by month on simulated paths: what stands against the debt, over the debt. Pure.

Starts at the metric ``coverage`` and moves with each path: machines by the used price of their model, mining machines
and pledged coins with bitcoin, free coins with bitcoin, cash with the month's flows, debt with what is repaid. What is
rolled stays owed. Sales of coins cost no impact here, and cash may go below zero, as if nobody acted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monitor.model import FloatArray
from monitor.stress import collateral, due
from monitor.stress.bridge import Bridge
from monitor.stress.coins import free_coins
from monitor.stress.field import Field, first_known
from monitor.stress.inputs import CellInputs, Factors
from monitor.stress.outlook import partway
from monitor.stress.sale import Holdings
from monitor.stress.scenario import Scenario, apply
from monitor.stress.sides import schedule
from monitor.stress.state import State

#: what a scenario does to collateral beside coins: those move with the paths
MARKS = ("residual", "spread", "contract_loss")


def coverage_paths(
    state: State, rows: Bridge, paths: Factors, own: Holdings, b: int, corner: int, scenario: Scenario
) -> FloatArray:
    """(T+1,S) coverage of one borrower from today on; infinite once nothing is owed. ``rows`` at the same corner and
    ``paths`` under the scenario, whose used prices come in here over their months.

    Unknown (all NaN) where the metric is: its reason is the metric's.
    """
    value = _behind_debt(state)
    debt = due.debt_total(state)
    coins, btc = free_coins(state), state.market["btc_usd"]
    shape = paths.btc_usd.shape[0] + 1, paths.n_paths
    if not (value.known[b] and debt.known[b] and coins.known[b] and state.facts["cash_unrestricted_usd"].known[b]):
        return np.full(shape, np.nan)
    marks = _scenario_marks(state, scenario, b, corner, shape[0] - 1, rows.inputs.dt_years * 12)
    worth = float(value.values[corner, b]) * _index(state, rows, paths, own, b) * marks[:, None]
    held = float(coins.values[corner, b])
    coin_usd = held * float(btc.values[corner, 0]) * _from_one(_crypto(paths)) if held else np.zeros(shape)
    cash, paid = _flows(rows.cut([rows.row(state.borrowers[b])]).inputs, paths)
    start = float(state.facts["cash_unrestricted_usd"].values[corner, b])
    left = float(debt.values[corner, b]) - paid
    with np.errstate(divide="ignore", invalid="ignore"):
        cover = (worth + coin_usd + start + cash) / left
    return np.where(left > 0, cover, np.inf)


def _behind_debt(state: State) -> Field:
    """Every pool at the market, or the group's equipment where one of them cannot be valued, as the metric has it."""
    pools = collateral.economic(state).sum_by(state.facility_borrower, len(state.borrowers))
    return first_known(pools, collateral.group_equipment(state))


def _scenario_marks(state: State, scenario: Scenario, b: int, corner: int, n_periods: int, months: float) -> FloatArray:
    """(T+1,) value behind the debt under a scenario as a share of that without it, coins held where they are."""
    moves = tuple(move for move in scenario.moves if move.factor in MARKS)
    out = np.ones(n_periods + 1)
    today = float(_behind_debt(state).values[corner, b])
    for t in range(n_periods if moves and today > 0 else 0):
        here = replace(scenario, moves=tuple(partway(move, (t + 1) * months) for move in moves))
        out[t + 1] = float(_behind_debt(apply(state, here)).values[corner, b]) / today
    return out


def _crypto(paths: Factors) -> FloatArray:
    """Bitcoin over its price before the first period: hashprice follows it one for one on simulated paths."""
    return paths.hashprice


def _from_one(index: FloatArray) -> FloatArray:
    return np.concatenate([np.ones((1, index.shape[1])), index])


def _index(state: State, rows: Bridge, paths: Factors, own: Holdings, b: int) -> FloatArray:
    """(T+1,S) value of everything behind the debt but cash and free coins, as a share of today's."""
    mine = own.owner == b
    coins = mine & collateral.is_pool(state, "coins")
    crypto = float(own.other_usd[coins].sum())
    still = float(own.other_usd[mine & ~coins].sum())
    by_model = own.value_usd[mine].sum(axis=0)
    total = crypto + still + float(by_model.sum())
    average = paths.residual.mean(axis=1) if paths.residual.shape[1] else np.ones_like(paths.hashprice)
    if total <= 0:
        kind = state.rows[b].borrower.kind
        return _from_one({"miner": _crypto(paths), "hpc_host": np.ones_like(average)}.get(kind, average))
    moved = still + crypto * _crypto(paths)
    for model, usd in zip(own.models, by_model, strict=True):
        if model in rows.models:
            moved = moved + usd * paths.residual[:, rows.models.index(model)]
        else:
            moved = moved + usd * (_crypto(paths) if model == "ASIC" else average)
    return _from_one(moved / total)


def _flows(one: CellInputs, paths: Factors) -> tuple[FloatArray, FloatArray]:
    """(T+1,S) cash gained and debt repaid since today, for a single row: the cell's flows without its tests."""
    dt, plan = one.dt_years, schedule(one)
    rent = paths.rent * paths.utilisation[:, None]
    earned = one.mining_usd[0] * paths.hashprice - one.power_usd[0] * paths.power
    earned = earned + np.einsum("m,tms->ts", one.spot_usd[0], rent)
    earned = earned + np.einsum("ct,tcs->ts", one.contracted_usd[0][:, None] * one.in_force[0], 1 - paths.contract_loss)
    bullet = plan.bullet[:, :1]
    rolled = np.cumsum(bullet * paths.refi_open, axis=0) - bullet * paths.refi_open
    interest = rolled * (paths.base_rate + paths.spread + one.refi_margin[0]) * dt
    service = plan.service_const[:, :1] + plan.service_base[:, :1] * paths.base_rate * dt + interest
    repaid = bullet * (1 - paths.refi_open)
    cash = earned - one.opex_usd[0][:, None] - one.capex_usd[0][:, None] - service - repaid
    scheduled = one.principal_usd[0].sum(axis=0)[:, None] + np.zeros_like(repaid)
    return _summed(cash), _summed(scheduled + repaid)


def _summed(flow: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros((1, flow.shape[1])), np.cumsum(flow, axis=0)])
