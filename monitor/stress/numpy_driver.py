"""The cell over blocks of arrays. Needs numpy alone; one thread.

A block is a few rows by some hundred paths, small enough that the arrays of a period stay in the cache; the steps of
:mod:`monitor.stress.cell` run on whole blocks with numpy's words. Rows are sorted by kind, so a step that only some
rows need (coin loans, maturities, coins) runs on a leading slice, and a term that is zero for a block is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from monitor.model import BoolArray, FloatArray
from monitor.stress import cell
from monitor.stress.inputs import Factors
from monitor.stress.sides import Raw, Rows, Side, empty_side, side_of

PATHS = 1024
ROWS = 16
#: blocks are whole vectors
WHOLE = 64
NOTHING = np.zeros((1, 1))


def run(rows: Rows, factors: Factors, dt_years: float, out: Raw) -> None:
    """Fill ``out`` with every row over every path of ``factors``."""
    n_periods, n_rows, n_columns = rows.flow.shape
    width = min(PATHS, -(-factors.n_paths // WHOLE) * WHOLE)
    buffers = empty_side(n_periods, n_columns + 1, rows.pool.shape[1] + 1, width)
    groups = [_group(rows, row, min(row + ROWS, n_rows)) for row in range(0, n_rows, ROWS)]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start in range(0, factors.n_paths, PATHS):
            stop = min(start + PATHS, factors.n_paths)
            side = side_of(factors.part(start, stop), dt_years, buffers, WHOLE)
            for group in groups:
                _Block(group, side).run(out, start, stop)


class _Group(NamedTuple):
    """Some neighbouring rows, shaped to broadcast over paths: (T,r,1) and (r,1), constants as a last column."""

    rows: Rows
    flow: FloatArray  # (T,r,K+1)
    pool: FloatArray  # (T,r,2M+1)
    counts: tuple[int, int, int]
    has_impact: bool


def shaped(rows: Rows, start: int, stop: int) -> Rows:
    """Some neighbouring rows with a last axis of one, to broadcast over paths; the linear terms stay whole."""
    part = {}
    for name, array in rows._asdict().items():
        if name in ("flow", "pool", "counts"):
            part[name] = array
        elif name in ("order", "margin_scale", "margin_offset"):
            part[name] = array[start:stop]
        else:
            part[name] = np.ascontiguousarray(array[..., start:stop, None])
    return Rows(**part)


def _group(rows: Rows, start: int, stop: int) -> _Group:
    own = shaped(rows, start, stop)
    flow = np.concatenate((rows.flow[:, start:stop], own.flow_const), axis=2)
    pool = np.broadcast_to(rows.pool[start:stop], (len(flow), stop - start, rows.pool.shape[1]))
    n_loan, n_side, n_coins = (int(n) for n in np.clip(rows.counts - start, 0, stop - start))
    impact = bool((own.impact > 0).any())
    return _Group(own, flow, np.concatenate((pool, own.pool_const), axis=2), (n_loan, n_side, n_coins), impact)


class _Block:
    """The state of one group of rows over some paths, and the walk through the periods."""

    def __init__(self, group: _Group, side: Side):
        self.group, self.rows, self.side = group, group.rows, side
        rows, shape = self.rows, (group.flow.shape[1], side.base_dt.shape[1])
        self.cash, self.coins, self.pledged, self.loan, self.window_cf, self.window_service = (
            np.repeat(per_row, shape[1], axis=1)
            for per_row in (rows.cash, rows.coins, rows.pledged, rows.loan, rows.window_cf, rows.window_service)
        )
        #: one number where no row of the group can have them; due and gap also in a period in which no row has
        self.rolled, self.rolled_secured, self.interest = (
            np.zeros(shape if group.counts[1] else (1, 1)) for _ in range(3)
        )
        self.due = self.gap = NOTHING
        self.open = np.ones(shape, bool)
        self.first, self.code = np.full(shape, len(group.flow), np.int16), np.zeros(shape, np.uint8)
        self.margin, self.max_ltv = np.zeros(shape), np.zeros(shape)
        self.min_dscr, self.min_cash = np.full(shape, np.inf), np.full(shape, np.inf)

    def run(self, out: Raw, start: int, stop: int) -> None:
        for t in range(len(self.group.flow)):
            self._period(t)
        for code, margin, scale, offset in zip(
            self.code, self.margin, self.rows.margin_scale, self.rows.margin_offset, strict=True
        ):
            margin *= scale[code]
            margin += offset[code]
        for name in Raw._fields:
            getattr(out, name)[self.rows.order, start:stop] = getattr(self, name)[:, : stop - start]

    def _period(self, t: int) -> None:
        rows, side, n_coins = self.rows, self.side, self.group.counts[2]
        cash_flow = self.group.flow[t] @ side.flow[t]
        self.coins[:n_coins] *= side.growth[t]
        if self.group.counts[1]:
            self._side_debts(t)
        service = cell.service(rows.service_const[t], rows.service_base[t], side.base_dt[t], self.interest)
        dscr = self._coverage(t, cash_flow, service)
        self.cash += cash_flow
        self.cash -= service
        moved = rows.cash_const[t] - self.due
        if moved.any():
            self.cash += moved
        if n_coins:
            self._sell_coins(n_coins)
        pool = self.group.pool[t] @ side.pool[t]
        if n_coins:
            pool[:n_coins] += rows.coin_weight[:n_coins] * self.coins[:n_coins]
        ltv = cell.loan_to_value(_choose, rows.secured[t] + self.rolled_secured, pool)
        np.maximum(self.max_ltv, ltv, out=self.max_ltv)
        np.minimum(self.min_cash, self.cash, out=self.min_cash)
        self._judge(t, dscr, ltv)

    def _coverage(self, t: int, cash_flow: FloatArray, service: FloatArray) -> FloatArray:
        """Move the running window on; coverage at test dates, nothing to judge between them."""
        rows = self.rows
        self.window_cf = _moved(self.window_cf, rows.keep[t], cash_flow, rows.drop_cf[t])
        self.window_service = _moved(self.window_service, rows.keep[t], service, rows.drop_service[t])
        counts = rows.dscr_counts[t] > 0
        if not counts.any():
            return np.full((1, 1), np.inf)
        dscr: FloatArray = cell.cover(_choose, self.window_cf, self.window_service)
        np.minimum(self.min_dscr, dscr if counts.all() else np.where(counts, dscr, np.inf), out=self.min_dscr)
        return dscr

    def _sell_coins(self, n: int) -> None:
        """Sell coins to hold the floor. Above it a sale is nothing, so the step runs only on the paths below it."""
        cash, coins = self.cash[:n].reshape(-1), self.coins[:n].reshape(-1)
        below = np.flatnonzero((self.cash[:n] < self.rows.floor[:n]) & (self.coins[:n] > 0.0))
        if not len(below):
            return
        row = below // self.cash.shape[1]
        root = np.sqrt if self.group.has_impact else _nothing
        floor, impact = self.rows.floor[row, 0], self.rows.impact[row, 0]
        cash[below], coins[below] = cell.sell_coins(
            np.minimum, np.maximum, root, cash[below], coins[below], floor, impact
        )

    def _side_debts(self, t: int) -> None:
        rows, side, n, k = self.rows, self.side, self.group.counts[0], self.group.counts[1]
        self.interest[:k] = cell.side_interest(
            self.rolled[:k], side.refi_dt[t], rows.refi_margin_dt[:k], self.loan[:k], rows.loan_rate_dt[:k]
        )
        if n:
            self._margin_calls(t, n)
        self.due = NOTHING
        ending = np.flatnonzero((rows.bullet[t, :k, 0] > 0) | (rows.loan_due[t, :k, 0] > 0))
        if len(ending):
            after = cell.refinance(
                side.refi[t], rows.bullet[t, ending], rows.bullet_secured[t, ending], rows.loan_due[t, ending],
                self.rolled[ending], self.rolled_secured[ending], self.loan[ending], self.pledged[ending],
                self.coins[ending],
            )  # fmt: skip
            self.due = np.zeros(self.cash.shape)
            states = (self.due, self.rolled, self.rolled_secured, self.loan, self.pledged, self.coins)
            for state, now in zip(states, after, strict=True):
                state[ending] = now

    def _margin_calls(self, t: int, n: int) -> None:
        """Test the coin loans. Calls are rare, so the step runs only on the paths beyond the lower of two levels."""
        rows, width = self.rows, self.cash.shape[1]
        self.pledged[:n] *= self.side.growth[t]
        level = np.minimum(rows.call[:n], rows.liquidate[:n])
        called = np.flatnonzero(self.loan[:n] > level * self.pledged[:n] * self.side.low[t])
        self.gap = NOTHING
        if not len(called):
            return
        row, path = np.divmod(called, width)
        terms = (per_row[row, 0] for per_row in (rows.call, rows.cure, rows.liquidate, rows.sell_all))
        states = [state.reshape(-1) for state in (self.cash, self.coins, self.pledged, self.loan)]
        *after, deficiency, gap = cell.margin_call(
            np.minimum, np.maximum, np.where, self.side.low[t, path], *terms, *(state[called] for state in states)
        )
        for state, now in zip(states, after, strict=True):
            state[called] = now
        self.rolled.reshape(-1)[called] += deficiency
        self.gap = np.zeros(self.cash.shape)
        self.gap.reshape(-1)[called] = gap

    def _judge(self, t: int, dscr: FloatArray, ltv: FloatArray) -> None:
        """Record the first breach. Breaches are rare, so only the paths that just broke are touched."""
        rows = self.rows
        tests: tuple[BoolArray, ...] = cell.breaches(
            dscr, ltv, self.cash, self.gap, self.due,
            rows.dscr_level[t], rows.ltv_level, rows.liquidity_level, rows.call_level, rows.maturity_level,
        )  # fmt: skip
        broke = tests[0] | tests[1] | tests[2]
        for test in tests[3:]:
            if test.any():
                broke |= test
        broke &= self.open
        new = np.flatnonzero(broke)
        if not len(new):
            return
        # a test of less than full shape is one nobody in the group could fail in this period
        hit = [a.reshape(-1)[new] if a.shape == broke.shape else np.zeros(len(new), bool) for a in tests]
        self.open ^= broke
        self.first.reshape(-1)[new] = t
        self.code.reshape(-1)[new] = sum(test.view(np.uint8) << np.uint8(bit) for bit, test in enumerate(hit))
        numbers = (a.reshape(-1)[new] if a.shape == broke.shape else a[0, 0] for a in (dscr, ltv, self.cash, self.gap))
        self.margin.reshape(-1)[new] = cell.breach_value(np.where, *hit[:4], *numbers)


def _choose(condition: BoolArray, fresh: FloatArray, other: float) -> FloatArray:
    """numpy's word for a choice against a constant; writes into its own fresh temporary instead of making another."""
    if not condition.all():
        np.copyto(fresh, other, where=~condition)
    return fresh


def _nothing(need: FloatArray) -> float:
    """The square root's place where no row of the group has price impact: the term stays one number a row."""
    return 0.0


def _moved(window: FloatArray, keep: FloatArray, amount: FloatArray, drop: FloatArray) -> FloatArray:
    """A running sum one period on: window x keep + amount + drop."""
    if not keep.any() and not drop.any():
        return amount
    window *= keep
    window += amount
    window += drop
    return window
