"""The cell compiled by numba: the functions of :mod:`monitor.stress.cell` themselves, inlined in flat loops over paths.

A block is 256 paths; every thread takes whole blocks and walks the rows one by one, so the state of a row stays in
the first-level cache. Loops run over contiguous paths without branches, so that they become vector code; what depends
on the row alone (has it a coin loan, coins, maturities) is decided outside them. ``error_model="numpy"`` because a
checked division stops vectorisation; never ``nnan`` or ``ninf``, which would turn infinite cover and unknown into
something else.

Compiled code is cached on disk. The cache looks at this file only, so the fingerprint of the cell is part of the
kernel's closure: an edited cell is a new kernel. Threads are Python's, each in a kernel that lets the interpreter go:
they share nothing but the inputs, so results do not depend on their number, and two runs at once are safe.
"""

from __future__ import annotations

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from monitor.model import FloatArray
from monitor.stress import cell
from monitor.stress.inputs import Factors
from monitor.stress.sides import Raw, Rows, empty_side, side_of

PATHS = 256
#: most paths whose products are prepared together, and that a thread takes at a time
CHUNK = 1024
#: nothing that lets the compiler order or fuse operations as it likes (``reassoc``, ``contract``): code compiled in a
#: process and the same code read from the disk differed in the last bits of their answers
FAST = {"nsz"}


def _jit(function: Any) -> Any:
    return numba.njit(function, fastmath=FAST, error_model="numpy")


@_jit
def _smaller(a, b):  # type: ignore[no-untyped-def]
    return a if a < b else b


@_jit
def _larger(a, b):  # type: ignore[no-untyped-def]
    return a if a > b else b


@_jit
def _choose(condition, a, b):  # type: ignore[no-untyped-def]
    return a if condition else b


_root = _jit(lambda x: np.sqrt(x))
_service, _side_interest, _cover = _jit(cell.service), _jit(cell.side_interest), _jit(cell.cover)
_sell_coins, _refinance, _margin_call = _jit(cell.sell_coins), _jit(cell.refinance), _jit(cell.margin_call)
_loan_to_value, _breaches, _breach_value = _jit(cell.loan_to_value), _jit(cell.breaches), _jit(cell.breach_value)


#: row-side arrays the kernel reads as one, (T,B,.) and (B,.), in the order in which they are unpacked below
DEBTS = ("bullet", "bullet_secured", "loan_due")
SETTLEMENT = (
    "service_const", "service_base", "cash_const", "keep", "drop_cf", "drop_service", "dscr_counts", "secured",
    "dscr_level", "flow_const", "pool_const",
)  # fmt: skip
LOAN = ("refi_margin_dt", "loan_rate_dt", "call", "cure", "liquidate", "sell_all")
LEVELS = ("floor", "impact", "coin_weight", "ltv_level", "liquidity_level", "call_level", "maturity_level")
START = ("cash", "coins", "pledged", "loan", "window_cf", "window_service")


@_jit
def _linear(out, constant, columns, weights, x):  # type: ignore[no-untyped-def]
    """out = constant + sum of weights x columns, four columns at a time."""
    for i in range(PATHS):
        out[i] = constant
    for k in range(0, columns.shape[0], 4):
        w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        a, b, c, d = x[columns[k]], x[columns[k + 1]], x[columns[k + 2]], x[columns[k + 3]]
        for i in range(PATHS):
            out[i] += w0 * a[i] + w1 * b[i] + w2 * c[i] + w3 * d[i]


@_jit
def _side_debts(has_loan, debts, loan_terms, growth, low, refi_dt, refi, state):  # type: ignore[no-untyped-def]
    """Coin loan and maturities of one row in one period; leaves interest, due and gap for the settlement."""
    cash, coins, pledged, loan = state[0], state[1], state[2], state[3]
    rolled, rolled_secured, interest, due, gap = state[6], state[7], state[8], state[9], state[10]
    bullet, bullet_secured, loan_due = debts[0], debts[1], debts[2]
    refi_margin_dt, loan_rate_dt = loan_terms[0], loan_terms[1]
    call, cure, liquidate, sell_all = loan_terms[2], loan_terms[3], loan_terms[4], loan_terms[5]
    for i in range(PATHS):
        interest[i] = _side_interest(rolled[i], refi_dt[i], refi_margin_dt, loan[i], loan_rate_dt)
    if has_loan:
        for i in range(PATHS):
            cash[i], coins[i], pledged[i], loan[i], deficiency, gap[i] = _margin_call(
                _smaller, _larger, _choose, low[i], call, cure, liquidate, sell_all,
                cash[i], coins[i], pledged[i] * growth[i], loan[i],
            )  # fmt: skip
            rolled[i] += deficiency
    for i in range(PATHS):
        due[i], rolled[i], rolled_secured[i], loan[i], pledged[i], coins[i] = _refinance(
            refi[i], bullet, bullet_secured, loan_due, rolled[i], rolled_secured[i], loan[i], pledged[i], coins[i]
        )


@_jit
def _settle(has_coins, t, terms, levels, base_dt, state):  # type: ignore[no-untyped-def]
    """Settle one period of one row and test it, path by path. ``event`` is 0, or 32 t + code of the first breach."""
    cash, coins, window_cf, window_service = state[0], state[1], state[4], state[5]
    rolled_secured, interest, due, gap, cf, pool = state[7], state[8], state[9], state[10], state[11], state[12]
    event, value, min_dscr, max_ltv, min_cash = state[13], state[14], state[15], state[16], state[17]
    const, base, cash_const, keep, drop_cf, drop_service = terms[0], terms[1], terms[2], terms[3], terms[4], terms[5]
    counts, secured, dscr_level = terms[6] > 0.0, terms[7], terms[8]
    floor, impact, weight, ltv_level = levels[0], levels[1], levels[2], levels[3]
    liquidity_level, call_level, maturity_level = levels[4], levels[5], levels[6]
    for i in range(PATHS):
        service = _service(const, base, base_dt[i], interest[i])
        window_cf[i] = window_cf[i] * keep + cf[i] + drop_cf
        window_service[i] = window_service[i] * keep + service + drop_service
        dscr = _cover(_choose, window_cf[i], window_service[i])
        after = cash[i] + (cf[i] - service - due[i] + cash_const)
        left = coins[i]
        if has_coins:
            after, left = _sell_coins(_smaller, _larger, _root, after, left, floor, impact)
        ltv = _loan_to_value(_choose, secured + rolled_secured[i], pool[i] + weight * left)
        low, high, short, unmet, unpaid = _breaches(
            dscr, ltv, after, gap[i], due[i], dscr_level, ltv_level, liquidity_level, call_level, maturity_level
        )
        code = (
            _choose(low, 1.0, 0.0) + _choose(high, 2.0, 0.0) + _choose(short, 4.0, 0.0)
            + _choose(unmet, 8.0, 0.0) + _choose(unpaid, 16.0, 0.0)
        )  # fmt: skip
        new = (code > 0.0) & (event[i] == 0.0)
        event[i] = _choose(new, code + 32.0 * t, event[i])
        broke = _breach_value(_choose, low, high, short, unmet, dscr, ltv, after, gap[i])
        value[i] = _choose(new, broke, value[i])
        min_dscr[i] = _smaller(_choose(counts, dscr, np.inf), min_dscr[i])
        max_ltv[i] = _larger(ltv, max_ltv[i])
        min_cash[i] = _smaller(after, min_cash[i])
        cash[i] = after
        coins[i] = left


@_jit
def _row(counts, start, debts, settlement, loan, levels, side, terms, pools, b, s, state):  # type: ignore[no-untyped-def]
    """Walk one row through the periods over the block of paths that starts at s."""
    for k in range(18):
        state[k] = start[k, b] if k < 6 else 0.0
    state[15], state[17] = np.inf, np.inf
    has_loan, has_side, has_coins = b < counts[0], b < counts[1], b < counts[2]
    for t in range(settlement.shape[0]):
        here = settlement[t, b]
        _linear(state[11], here[9], terms.columns[b], terms.weights[t, b], side.flow[t, :, s : s + PATHS])
        _linear(state[12], here[10], pools.columns[b], pools.weights[0, b], side.pool[t, :, s : s + PATHS])
        growth = side.growth[t, s : s + PATHS]
        if has_coins:
            coins = state[1]
            for i in range(PATHS):
                coins[i] *= growth[i]
        if has_side:
            low, refi_dt, refi = side.low[t, s : s + PATHS], side.refi_dt[t, s : s + PATHS], side.refi[t, s : s + PATHS]
            _side_debts(has_loan, debts[t, b], loan[b], growth, low, refi_dt, refi, state)
        _settle(has_coins, float(t), here, levels[b], side.base_dt[t, s : s + PATHS], state)


class Terms(NamedTuple):
    """A row's non-zero terms, padded to a multiple of four: columns (B,P) and weights (T,B,P)."""

    columns: NDArray[np.int64]
    weights: FloatArray


def _terms(weights: FloatArray) -> Terms:
    """The columns of (T,B,K) weights that are anywhere non-zero, per row.

    Rows with fewer terms than the widest repeat a column at weight zero.
    """
    used = (weights != 0).any(axis=0)
    width = -(-int(used.sum(axis=1).max(initial=0)) // 4) * 4
    columns = np.argsort(~used, axis=1, kind="stable")[:, :width]
    columns = np.pad(columns, ((0, 0), (0, width - columns.shape[1])))
    inside = np.arange(width) < used.sum(axis=1)[:, None]
    picked = np.take_along_axis(weights, np.broadcast_to(columns, (len(weights), *columns.shape)), axis=2)
    return Terms(np.ascontiguousarray(columns), np.ascontiguousarray(np.where(inside, picked, 0.0)))


def packed_rows(rows: Rows) -> tuple[NDArray[Any], ...]:
    """The row side in few arrays, the numbers of one row side by side: what the kernel takes first."""
    stack = [
        np.ascontiguousarray(np.stack([getattr(rows, name) for name in names], axis=-1))
        for names in (DEBTS, SETTLEMENT, LOAN, LEVELS, ("margin_scale", "margin_offset"))
    ]
    return (rows.order, rows.counts, np.stack([getattr(rows, name) for name in START]), *stack)


def _fingerprint() -> str:
    """What the kernel is made from: the byte code of the functions here and in the cell. No file is read."""
    found = [f for module in (cell, sys.modules[__name__]) for f in vars(module).values()]
    codes = [f.__code__ for f in (getattr(f, "py_func", f) for f in found) if isinstance(f, FunctionType)]
    parts = [code.co_code + repr([c for c in code.co_consts if not isinstance(c, CodeType)]).encode() for code in codes]
    return hashlib.sha256(b"".join(parts) + repr((PATHS, cell.CURED, cell.IMPACT_CAP)).encode()).hexdigest()


def _kernel(fingerprint: str, keep_on_disk: bool) -> Any:
    @numba.njit(nogil=True, cache=keep_on_disk, fastmath=FAST, error_model="numpy")
    def over_blocks(  # type: ignore[no-untyped-def]
        order, counts, starts, debts, settlement, loan, levels, margins, side, terms, pools, n, start, raw
    ):  # fmt: skip
        if len(fingerprint) == 0:  # never: it ties the copy on disk to what the cell says
            return
        state = np.empty((18, PATHS))
        for s in range(0, n, PATHS):
            for b in range(order.shape[0]):
                _row(counts, starts, debts, settlement, loan, levels, side, terms, pools, b, s, state)
                at = order[b]
                for i in range(min(PATHS, n - s)):
                    event = int(state[13, i])
                    code = event & 31
                    raw.first[at, start + s + i] = event >> 5 if event > 0 else settlement.shape[0]
                    raw.code[at, start + s + i] = code
                    raw.margin[at, start + s + i] = state[14, i] * margins[b, code, 0] + margins[b, code, 1]
                    raw.min_dscr[at, start + s + i] = state[15, i]
                    raw.max_ltv[at, start + s + i] = state[16, i]
                    raw.min_cash[at, start + s + i] = state[17, i]

    return over_blocks


def _build() -> Any:
    try:
        return _kernel(_fingerprint(), True)
    except RuntimeError:  # no folder to keep compiled code in: compile anew in every process
        return _kernel(_fingerprint(), False)


over_blocks = _build()


def processors() -> int:
    """How many threads can work at once."""
    return os.cpu_count() or 1


def run(rows: Rows, factors: Factors, dt_years: float, out: Raw, threads: int | None = None) -> None:
    """Fill ``out`` with every row over every path of ``factors``, on ``threads`` threads (default: all processors)."""
    terms, pools, n = _terms(rows.flow), _terms(rows.pool[None]), factors.n_paths
    packed = packed_rows(rows)
    threads = max(1, threads or processors())
    size = min(CHUNK, -(-n // (4 * threads * PATHS)) * PATHS)
    starts = iter(range(0, n, size))

    def work(_: int) -> None:
        buffers = empty_side(rows.flow.shape[0], rows.flow.shape[2], rows.pool.shape[1], size)
        for start in starts:  # shared: a thread takes the next chunk when it is done with one
            stop = min(start + size, n)
            side_of(factors.part(start, stop), dt_years, buffers, PATHS)
            over_blocks(*packed, buffers, terms, pools, stop - start, start, out)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
