"""First breaches alone, for rows that are tested on cash and on a coin loan and on nothing else. Needs numpy alone.

A chance of default asks when a path first breaks, not how low it went. Such a row then needs no coverage, no collateral
and no extremes, and what a path does after its breach does not matter: its cash is set to infinity and it is never
looked at again. All that is left of a period is one matrix product and one comparison over the block; every other step
of :mod:`monitor.stress.cell` runs only on the rows or the paths that need it. The tests compare it with the numpy
driver.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.model import BoolArray, FloatArray
from monitor.stress import cell
from monitor.stress.inputs import INF, LIQUIDITY, MARGIN, MATURITY, Factors
from monitor.stress.numpy_driver import WHOLE, shaped
from monitor.stress.sides import Firsts, Rows, Side, empty_side, side_of

PATHS, ROWS = 4096, 16
Index = NDArray[np.int64]


def serves(rows: Rows) -> BoolArray:
    """(B,) in sorted order: neither coverage nor collateral is tested."""
    untested = np.isinf(rows.dscr_level).all(axis=0) & np.isinf(rows.ltv_level)
    return np.asarray(untested, bool)


def run(rows: Rows, factors: Factors, dt_years: float, out: Firsts) -> None:
    """Fill ``out`` with every row over every path of ``factors``; every row must be one that :func:`serves` takes."""
    rows, factors = _narrowed(rows, factors)
    n_periods, n_rows, n_columns = rows.flow.shape
    buffers = empty_side(n_periods, n_columns + 2, 0, min(PATHS, -(-factors.n_paths // WHOLE) * WHOLE))
    groups = [_Group(rows, start, min(start + ROWS, n_rows)) for start in range(0, n_rows, ROWS)]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start in range(0, factors.n_paths, PATHS):
            stop = min(start + PATHS, factors.n_paths)
            side = side_of(factors.part(start, stop), dt_years, buffers, WHOLE)
            side.flow[:, n_columns + 1] = side.base_dt
            for group in groups:
                _Block(group, side).run(out, start, stop)


def _narrowed(rows: Rows, factors: Factors) -> tuple[Rows, Factors]:
    """One column of rents where one array of the paths stands for all models: the matrix
    products are most of the work."""
    models = factors.rent.shape[1]
    if models > 1 and factors.rent.strides[1] == 0:
        cloud = rows.flow[:, :, 2 : 2 + models].sum(axis=2, keepdims=True)
        flow = np.concatenate((rows.flow[:, :, :2], cloud, rows.flow[:, :, 2 + models :]), axis=2)
        rows, factors = (
            rows._replace(flow=flow),
            replace(factors, rent=factors.rent[:, :1], residual=factors.residual[:, :1]),
        )
    return rows, factors


class _Group:
    """Some neighbouring rows, shaped to broadcast over paths.

    ``moves`` (T,r,K+2): cash of a period per column of the path side, then per one, then per unit of base rate x dt.
    ``watch`` (r,1): below it a path needs a second look, for a sale of coins or a breach.
    """

    def __init__(self, rows: Rows, start: int, stop: int):
        self.rows = own = shaped(rows, start, stop)
        const = own.flow_const - own.service_const + own.cash_const
        self.moves = np.concatenate((rows.flow[:, start:stop], const, -own.service_base), axis=2)
        self.n_loan, self.n_side, self.n_coins = (int(n) for n in np.clip(rows.counts - start, 0, stop - start))
        ending = ((own.bullet > 0) | (own.loan_due > 0))[:, : self.n_side, 0]
        self.ending = [np.flatnonzero(here) for here in ending]
        floor = np.where(np.arange(stop - start)[:, None] < self.n_coins, own.floor, -INF)
        self.watch = np.maximum(floor, np.maximum(own.liquidity_level, own.maturity_level))


class _Block:
    """The state of one group of rows over some paths, and the walk through the periods."""

    def __init__(self, group: _Group, side: Side):
        self.group, self.rows, self.side = group, group.rows, side
        shape = self.shape = group.moves.shape[1], side.base_dt.shape[1]
        loans, sides, coins = group.n_loan, group.n_side, group.n_coins
        self.cash = np.repeat(self.rows.cash, shape[1], axis=1)
        self.coins = np.repeat(self.rows.coins[: max(coins, sides)], shape[1], axis=1)
        self.pledged, self.loan = (np.repeat(a[:sides], shape[1], axis=1) for a in (self.rows.pledged, self.rows.loan))
        self.rolled = np.zeros((sides, shape[1]))
        #: rows that may owe interest beyond their schedule: on a coin loan, or on what they have rolled
        self.bears = np.arange(len(self.rolled)) < loans
        self.due: FloatArray | None = None
        self.gap: FloatArray | None = None
        self.first, self.code = np.full(shape, len(group.moves), np.int16), np.zeros(shape, np.uint8)
        self.moved, self.below = np.empty(shape), np.empty(shape, bool)

    def run(self, out: Firsts, start: int, stop: int) -> None:
        for t in range(len(self.group.moves)):
            self._period(t)
        for name in out._fields:
            getattr(out, name)[self.rows.order, start:stop] = getattr(self, name)[:, : stop - start]

    def _period(self, t: int) -> None:
        group, side = self.group, self.side
        self.coins[: group.n_coins] *= side.growth[t]
        who = np.flatnonzero(self.bears)
        interest = self._interest(t, who)  # on opening balances, paid after a margin call was met
        self.due = self.gap = None
        if group.n_loan:
            self._margin_calls(t)
        if len(group.ending[t]):
            self._refinance(t, group.ending[t])
        self.cash += np.matmul(group.moves[t], side.flow[t], out=self.moved)
        if len(who):
            self.cash[who] -= interest
        low = np.flatnonzero(np.less(self.cash, group.watch, out=self.below))
        if group.n_coins and len(low):
            self._sell_coins(low[: np.searchsorted(low, group.n_coins * self.shape[1])])
        if self.gap is not None:
            low = np.union1d(low, np.flatnonzero(self.gap))
        if len(low):
            self._judge(t, low)

    def _interest(self, t: int, who: Index) -> FloatArray:
        rows = self.rows
        owed: FloatArray = cell.side_interest(
            self.rolled[who], self.side.refi_dt[t], rows.refi_margin_dt[who], self.loan[who], rows.loan_rate_dt[who]
        )
        return owed

    def _margin_calls(self, t: int) -> None:
        """Test the coin loans on the paths beyond the lower of two levels; calls are rare."""
        rows, n = self.rows, self.group.n_loan
        pledged = self.pledged[:n]
        pledged *= self.side.growth[t]
        level = np.minimum(rows.call[:n], rows.liquidate[:n])
        called = np.flatnonzero(self.loan[:n] > level * pledged * self.side.low[t])
        if not len(called):
            return
        row, path = np.divmod(called, self.shape[1])
        terms = (per_row[row, 0] for per_row in (rows.call, rows.cure, rows.liquidate, rows.sell_all))
        states = [state.reshape(-1) for state in (self.cash, self.coins, self.pledged, self.loan)]
        *after, deficiency, gap = cell.margin_call(
            np.minimum, np.maximum, np.where, self.side.low[t, path], *terms, *(state[called] for state in states)
        )
        for state, now in zip(states, after, strict=True):
            state[called] = now
        self.rolled.reshape(-1)[called] += deficiency
        self.gap = np.zeros(self.shape)
        self.gap.reshape(-1)[called] = gap

    def _refinance(self, t: int, who: Index) -> None:
        """Roll or pay what falls due; secured balances are not tested here."""
        rows, side = self.rows, self.side
        due, rolled, _, *after = cell.refinance(
            side.refi[t], rows.bullet[t, who], 0.0, rows.loan_due[t, who],
            self.rolled[who], 0.0, self.loan[who], self.pledged[who], self.coins[who],
        )  # fmt: skip
        for state, now in zip((self.rolled, self.loan, self.pledged, self.coins), (rolled, *after), strict=True):
            state[who] = now
        self.due = np.zeros(self.shape)
        self.due[who] = due
        self.cash[who] -= due
        self.bears[who] = True

    def _sell_coins(self, below: Index) -> None:
        rows, row = self.rows, below // self.shape[1]
        cash, coins = self.cash.reshape(-1), self.coins.reshape(-1)
        cash[below], coins[below] = cell.sell_coins(
            np.minimum, np.maximum, np.sqrt, cash[below], coins[below], rows.floor[row, 0], rows.impact[row, 0]
        )

    def _judge(self, t: int, low: Index) -> None:
        """Record the first breaches among the paths looked at twice; who broke is done."""
        rows, row, cash = self.rows, low // self.shape[1], self.cash.reshape(-1)
        gap, due = (0.0 if part is None else part.reshape(-1)[low] for part in (self.gap, self.due))
        _, _, short, unmet, unpaid = cell.breaches(
            INF, 0.0, cash[low], gap, due, -INF, INF,
            rows.liquidity_level[row, 0], rows.call_level[row, 0], rows.maturity_level[row, 0],
        )  # fmt: skip
        code = np.where(short, LIQUIDITY, 0) + np.where(unmet, MARGIN, 0) + np.where(unpaid, MATURITY, 0)
        new = low[code > 0]
        self.first.reshape(-1)[new] = t
        self.code.reshape(-1)[new] = code[code > 0]
        cash[new] = INF
        lent = new[: np.searchsorted(new, len(self.loan) * self.shape[1])]
        self.loan.reshape(-1)[lent] = 0.0
