"""Rows of the cell under levels that are held: how far each is from a breach, for many rows and shocks at once. Pure.

A third driver of the cell, for a level of bitcoin, rents, contracts and base rate that stays for the horizon while
nothing is refinanced: the period's steps in the drivers' order, less those that such a row cannot need. Cash flow and
service are linear in the held levels, so all periods of a row without coins are one small matrix product; a row with
coins is walked with the cell's own sale, a coin loan is asked with the cell's own margin call. The tests compare all
three with the numpy driver.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from monitor.model import FloatArray
from monitor.stress import cell
from monitor.stress.bridge import Bridge
from monitor.stress.field import INF
from monitor.stress.obligor import DSCR, LIQUIDITY, LTV
from monitor.stress.reverse import Which
from monitor.stress.sides import Rows, rows_of

#: per-row numbers of the row side that a walk or a margin call needs
STOCKS = ("cash", "coins", "floor", "impact", "call", "cure", "liquidate", "sell_all", "pledged", "loan")


class Held:
    """The rows of one or more bridges, one after the other; R rows over T periods.

    Shocks are (m, n, 4): log bitcoin (hashprice with it), log rents, share of contracts lost, change of the base rate.
    Margins are what is left of cash as a share of debt and cash, or of coverage and collateral against their levels as
    a share of debt, or plus and minus one for a coin loan; positive while nothing is breached.
    """

    def __init__(self, cuts: Sequence[Bridge], btc_usd: Sequence[float], base_rate: float):
        self.base_rate = base_rate
        parts = [_numbers(cut, price if np.isfinite(price) else 1.0) for cut, price in zip(cuts, btc_usd, strict=True)]
        self.of = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        #: rows that are a coin loan, and rows whose coins are sold on the way; the others are linear
        self.is_loan = self.of["asked"][:, [DSCR, LTV, LIQUIDITY]].sum(axis=1) == 0
        self.is_walk = ~self.is_loan & (self.of["coins"] > 0)

    def margins(self, rows: Which) -> Callable[[Which, FloatArray], FloatArray]:
        """The margin of some rows of one kind: (which of them (m,), shocks (m, n, 4)) -> (m, n)."""
        kind = self._loans if self.is_loan[rows].all() else self._walks if self.is_walk[rows].all() else self._lines
        return lambda which, shocks: kind(rows[which], shocks)

    def _levels(self, shocks: FloatArray) -> FloatArray:
        """(m, 5, n): one, coin level, rent level, share of contracts kept, base rate."""
        kept = 1.0 - np.minimum(np.maximum(shocks[..., 2], 0.0), 1.0)
        levels = (
            np.ones_like(kept),
            np.exp(shocks[..., 0]),
            np.exp(shocks[..., 1]),
            kept,
            self.base_rate + shocks[..., 3],
        )
        return np.stack(levels, axis=1)

    def _lines(self, rows: Which, shocks: FloatArray) -> FloatArray:
        """The least of the row's linear tests."""
        return np.asarray(np.matmul(self.of["lines"][rows], self._levels(shocks)).min(axis=1))

    def _walks(self, rows: Which, shocks: FloatArray) -> FloatArray:
        """Cash and coins period by period; coins are left only where cash has not fallen to its floor."""
        held, words = self._levels(shocks), (np.minimum, np.maximum, np.sqrt)
        moves = np.matmul(self.of["steps"][rows], held)
        at = {name: self.of[name][rows, None] for name in (*STOCKS, "least", "size")}
        cash, coins, lowest = at["cash"], at["coins"] * held[:, 1], INF
        for t in range(moves.shape[1]):
            cash, coins = cell.sell_coins(*words, cash + moves[:, t], coins, at["floor"], at["impact"])
            lowest = np.minimum(lowest, cash + coins)
        return np.asarray((lowest - at["least"]) / at["size"])

    def _loans(self, rows: Which, shocks: FloatArray) -> FloatArray:
        """Whether a coin loan is called and not cured at the held price: minus one, else one."""
        coin = np.exp(shocks[..., 0])
        at = {name: self.of[name][rows, None] for name in STOCKS}
        *_, gap = cell.margin_call(
            np.minimum, np.maximum, np.where, 1.0, at["call"], at["cure"], at["liquidate"], at["sell_all"],
            at["cash"] + 0.0 * coin, at["coins"] * coin, at["pledged"] * coin, at["loan"] + 0.0 * coin,
        )  # fmt: skip
        return np.where(gap < 0, -1.0, 1.0)


def margin_of(cut: Bridge, btc_usd: float, base_rate: float) -> Callable[[FloatArray], FloatArray]:
    """The margin of the only row of a bridge: shocks (n, 4) -> margins (n,)."""
    margins = Held([cut], [btc_usd], base_rate).margins(np.zeros(1, np.int64))
    return lambda shocks: margins(np.zeros(1, np.int64), shocks[None])[0]


def _numbers(cut: Bridge, price: float) -> dict[str, FloatArray]:
    """What the rows of one bridge bring, in their order, coins at their price today."""
    rows, inputs = rows_of(cut.inputs), cut.inputs
    back = np.argsort(rows.order)
    found = {name: getattr(rows, name)[back] for name in STOCKS}
    found["coins"], found["pledged"] = found["coins"] * price, found["pledged"] * price
    size = np.nansum(inputs.debt_usd, axis=1) + np.abs(np.nan_to_num(inputs.cash_usd))
    found["size"] = np.where(size > 0, size, 1.0)
    found["least"] = np.maximum(0.0, np.nan_to_num(inputs.liquidity_min_usd, neginf=0.0))
    found["asked"] = cut.asks.astype(float)
    found["steps"] = _steps(rows, len(cut.models), inputs.dt_years)[back]
    tests = _covenants(rows, len(cut.models), inputs.dt_years)[back]
    cash = np.cumsum(found["steps"], axis=1)
    cash[:, :, 0] += (found["cash"] - found["least"])[:, None]
    unasked = np.zeros_like(cash)
    unasked[:, :, 0] = INF
    asked = cut.asks[:, :, None, None]
    lines = [np.where(asked[:, LIQUIDITY], cash, unasked)]
    cover, paper = np.split(tests, 2, axis=1)
    lines += [np.where(asked[:, DSCR], cover, unasked), np.where(asked[:, LTV], paper, unasked)]
    found["lines"] = np.concatenate(lines, axis=1) / found["size"][:, None, None]
    return found


def _flows(rows: Rows, models: int) -> FloatArray:
    """(R,T,5) cash flow available for debt service per one, coin level, rent level and share of contracts kept."""
    flow = rows.flow
    spot, contracted = flow[:, :, 2 : 2 + models].sum(axis=2), flow[:, :, 2 + models :].sum(axis=2)
    parts = (rows.flow_const + flow[:, :, 1], flow[:, :, 0], spot, contracted, np.zeros_like(spot))
    return np.stack(parts, axis=2).swapaxes(0, 1)


def _service(rows: Rows, dt_years: float) -> FloatArray:
    """(R,T,5) debt service per one and per unit of base rate."""
    out = np.zeros((*rows.service_const.T.shape, 5))
    out[:, :, 0] = cell.service(rows.service_const, rows.service_base, 0.0, 0.0).T
    out[:, :, 4] = cell.service(rows.service_const, rows.service_base, dt_years, 0.0).T - out[:, :, 0]
    return out


def _steps(rows: Rows, models: int, dt_years: float) -> FloatArray:
    """(R,T,5) cash of each period; what falls due is paid."""
    steps = _flows(rows, models) - _service(rows, dt_years)
    steps[:, :, 0] += (rows.cash_const - rows.bullet).T
    return steps


def _covenants(rows: Rows, models: int, dt_years: float) -> FloatArray:
    """(R,2T,5) what coverage and then collateral are above their levels: cash flow less level x service at test
    dates, level x paper less loan; infinite where there is no level or nothing to serve."""
    service, level = _service(rows, dt_years), rows.dscr_level.T[:, :, None]
    tested = np.isfinite(level) & (service.any(axis=2, keepdims=True))
    cover = _flows(rows, models) - np.where(tested, level, 0.0) * service
    cover = np.where(tested, cover, np.array([INF, 0.0, 0.0, 0.0, 0.0]))
    paper = np.zeros_like(cover)
    capped = np.isfinite(rows.ltv_level)[:, None] & (rows.secured.T > 0)
    worth = np.where(capped, rows.ltv_level[:, None], 0.0) * rows.pool_const.T
    paper[:, :, 0] = np.where(capped, worth - rows.secured.T, INF)
    return np.concatenate((cover, paper), axis=1)
