"""The two sides of the cell: what a row can be known by without a path, and a path without a row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.model import BoolArray, FloatArray
from monitor.stress.inputs import INF, LTV_BASES, TESTS, CellInputs, Factors


class Firsts(NamedTuple):
    """What a driver fills where only the first breach is asked for, (B,S) in the order of the inputs."""

    first: NDArray[np.int16]
    code: NDArray[np.uint8]


class Raw(NamedTuple):
    """What a driver fills, (B,S) in the order of the inputs, before masks are applied."""

    first: NDArray[np.int16]
    code: NDArray[np.uint8]
    margin: FloatArray
    min_dscr: FloatArray
    max_ltv: FloatArray
    min_cash: FloatArray


def liquidation_value(
    units: ArrayLike, unit_value_usd: ArrayLike, haircut: ArrayLike, depth_units: ArrayLike
) -> FloatArray:
    """What selling ``units`` brings per model, USD: value x haircut x depth x (1 - exp(-units / depth)).

    An exponential price rule integrated over the sale. Infinite depth: units x value x haircut. Depth zero: nothing.
    Unknown (NaN) in, unknown out. Never falls when units are added.

    >>> liquidation_value([100, 100, 100], 2.0, 0.5, [float("inf"), 100, 0]).round(3).tolist()
    [100.0, 63.212, 0.0]
    """
    count, depth = np.broadcast_arrays(np.asarray(units, float), np.asarray(depth_units, float))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sold = np.where(np.isinf(depth), count, np.where(depth == 0, count * 0.0, -depth * np.expm1(-count / depth)))
    return np.asarray(np.asarray(unit_value_usd, float) * np.asarray(haircut, float) * sold)


# ---------------------------------------------------------------- what is known
def _given(inputs: CellInputs, *names: str) -> BoolArray:
    n_rows = len(inputs.cash_usd)
    known = np.ones(n_rows, bool)
    for name in names:
        array = getattr(inputs, name)
        known &= ~np.isnan(array.reshape(n_rows, -1)).any(axis=1)
    return known


class Knowledge(NamedTuple):
    """Which numbers of each row can be computed at all (B,): cash, coverage, loan to value, the coin loan's call."""

    cash: BoolArray
    coverage: BoolArray
    loan_to_value: BoolArray
    call: BoolArray


def knowledge(inputs: CellInputs) -> Knowledge:
    """What an unknown input takes with it. Conservative: a number is known only if all it could touch is known."""
    flows = _given(inputs, "mining_usd", "contracted_usd", "in_force", "spot_usd", "power_usd", "opex_usd")
    names = ("debt_usd", "floating_share", "margin", "fixed_rate", "principal_usd", "bullet_usd")
    schedule = _given(inputs, *names) & _given(inputs, *(("undrawn_usd", "draw_usd") if inputs.case == "build" else ()))
    schedule &= _given(inputs, "refi_margin") | ~(inputs.bullet_usd > 0).any(axis=(1, 2))
    stock = _given(inputs, "cash_usd", "cash_floor_usd", "capex_usd", "coins_free")
    no_loan = inputs.btc_loan_usd == 0
    stock &= _given(inputs, "coin_impact") | ((inputs.coins_free == 0) & no_loan)
    loan = no_loan | _given(
        inputs, "btc_loan_usd", "btc_loan_rate", "coins_pledged", "margin_call_ltv", "cure_ltv", "liquidation_ltv",
        "liquidates_all", "btc_loan_due", "refi_margin",
    )  # fmt: skip
    cash = flows & schedule & stock & loan
    ltm = np.array([basis == "ltm" for basis in inputs.dscr_basis], bool)
    coverage = flows & schedule & loan & (no_loan | stock)
    coverage &= ~ltm | _given(inputs, "ltm_cfads_usd", "ltm_service_usd")
    coins_count = inputs.coins_in_collateral != 0
    no_coins = (inputs.coins_free == 0) & no_loan
    pool = schedule & _given(inputs, "secured", "coins_in_collateral") & (~coins_count | no_coins | cash)
    return Knowledge(cash, coverage, pool & _pool_given(inputs), no_loan | cash)


def _pool_given(inputs: CellInputs) -> BoolArray:
    """Rows whose tested pool value is known, by their own basis; depth and haircut matter only where units stand."""
    owned = inputs.units != 0
    sale = np.isnan(inputs.haircut) | np.isnan(inputs.depth_units)
    missing = {
        "contractual": np.isnan(inputs.paper_usd).any(axis=1),
        "economic": (owned & (np.isnan(inputs.units) | np.isnan(inputs.unit_value_usd))).any(axis=1),
    }
    missing["liquidation"] = missing["economic"] | (owned & sale).any(axis=1)
    return np.asarray([not missing[basis][row] for row, basis in enumerate(inputs.ltv_basis)], bool)


def known_tests(inputs: CellInputs) -> BoolArray:
    """(B,5) in the order of TESTS: the test can be judged. Declared by the caller, and taken away by NaN inputs."""
    can = knowledge(inputs)
    level = [~np.isnan(getattr(inputs, name)) for name in ("dscr_min", "ltv_max", "liquidity_min_usd")]
    columns = [can.coverage & level[0], can.loan_to_value & level[1], can.cash & level[2], can.call, can.cash]
    return np.asarray(inputs.known & np.stack(columns, axis=1))


# ---------------------------------------------------------------- the row side
class Rows(NamedTuple):
    """All of a row that no path changes, sorted so that rows of one kind are neighbours. Arrays (T,B) or (B,)."""

    order: NDArray[np.int64]  # sorted position -> row of the inputs
    counts: NDArray[np.int64]  # (3,): rows [0, .) have a coin loan; a loan or bullets; may have coins
    flow: FloatArray  # (T,B,K) CFADS per scenario-side column
    flow_const: FloatArray
    pool: FloatArray  # (B,2M) collateral per scenario-side column
    pool_const: FloatArray
    service_const: FloatArray  # interest at zero base rate + scheduled principal
    service_base: FloatArray  # interest per unit of base rate x dt
    cash_const: FloatArray  # draws - growth capex
    bullet: FloatArray
    bullet_secured: FloatArray
    secured: FloatArray  # closing balance counted against the pool
    loan_due: FloatArray
    keep: FloatArray  # weight of the running DSCR window, and what drops out of it
    drop_cf: FloatArray
    drop_service: FloatArray
    dscr_level: FloatArray  # -inf off test dates
    dscr_counts: FloatArray  # 1 on test dates
    window_cf: FloatArray
    window_service: FloatArray
    cash: FloatArray
    floor: FloatArray
    coins: FloatArray
    impact: FloatArray
    pledged: FloatArray
    loan: FloatArray
    loan_rate_dt: FloatArray
    refi_margin_dt: FloatArray
    call: FloatArray
    cure: FloatArray
    liquidate: FloatArray
    sell_all: FloatArray
    coin_weight: FloatArray
    ltv_level: FloatArray
    liquidity_level: FloatArray
    call_level: FloatArray  # 0, or -inf where the test is unknown
    maturity_level: FloatArray
    margin_scale: FloatArray  # (B,32): by breach code, margin = scale x the number that broke + offset
    margin_offset: FloatArray


class Schedule(NamedTuple):
    """The debts of every row, summed over its instruments; (T,B)."""

    service_const: FloatArray
    service_base: FloatArray
    bullet: FloatArray
    bullet_secured: FloatArray
    secured: FloatArray
    draw: FloatArray


def schedule(inputs: CellInputs) -> Schedule:
    """Run every instrument down its own schedule; payments stop at the balance, draws at the undrawn amount.

    Interest of a period is on its opening balance: the floating share at base + margin, the rest at its fixed rate.
    """
    balance, undrawn = np.nan_to_num(inputs.debt_usd), np.nan_to_num(inputs.undrawn_usd)
    share, dt, secured = np.nan_to_num(inputs.floating_share), inputs.dt_years, np.nan_to_num(inputs.secured)
    rate = share * np.nan_to_num(inputs.margin) + (1 - share) * np.nan_to_num(inputs.fixed_rate)
    paid, ends, drawn = (np.nan_to_num(a) for a in (inputs.principal_usd, inputs.bullet_usd, inputs.draw_usd))
    periods = []
    for t in range(inputs.opex_usd.shape[1]):
        interest, base = balance * rate * dt, balance * share
        principal = np.minimum(paid[:, :, t], balance)
        bullet = np.minimum(ends[:, :, t], balance - principal)
        draw = np.minimum(drawn[:, :, t], undrawn) * (inputs.case == "build")
        balance, undrawn = balance - principal - bullet + draw, undrawn - draw
        columns = (interest + principal, base, bullet, bullet * secured, balance * secured, draw)
        periods.append([column.sum(axis=1) for column in columns])
    return Schedule(*(np.array([period[k] for period in periods]) for k in range(6)))


def rows_of(inputs: CellInputs) -> Rows:
    """The row side: unknowns become zeros behind a mask, and what no path touches is multiplied out."""
    zero, debt, known = np.nan_to_num, schedule(inputs), known_tests(inputs)
    n_periods, dt = inputs.opex_usd.shape[1], inputs.dt_years
    level = {test: known[:, k] for k, test in enumerate(TESTS)}
    tested = np.repeat(inputs.tested[:, None], len(inputs.cash_usd), axis=1)
    keep, drop_cf, drop_service, window_cf, window_service = _windows(inputs)
    has_loan, has_coins = zero(inputs.btc_loan_usd) > 0, zero(inputs.coins_free) > 0
    has_side = has_loan | (debt.bullet > 0).any(axis=0)
    order = np.argsort(np.where(has_loan, 0, np.where(has_side, 1, np.where(has_coins, 2, 3))), kind="stable")
    counts = np.array([has_loan.sum(), has_side.sum(), (has_side | has_coins).sum()], np.int64)
    contracted = zero(inputs.contracted_usd)[:, :, None] * zero(inputs.in_force)
    fixed = np.column_stack((zero(inputs.mining_usd), -zero(inputs.power_usd), zero(inputs.spot_usd)))
    every = np.broadcast_to(fixed, (n_periods, *fixed.shape))
    flow = np.concatenate((every, np.moveaxis(contracted, 2, 0)), axis=2)
    contractual = np.array([basis == "contractual" for basis in inputs.ltv_basis], bool)
    liquidity = np.maximum(np.where(np.isnan(inputs.liquidity_min_usd), 0.0, inputs.liquidity_min_usd), 0.0)
    made = {
        "flow": flow,
        "flow_const": -zero(inputs.opex_usd).T,
        "pool": _pool(inputs),
        "pool_const": np.where(contractual[:, None], zero(inputs.paper_usd), 0.0).T,
        "service_const": debt.service_const,
        "service_base": debt.service_base,
        "cash_const": debt.draw - zero(inputs.capex_usd).T,
        "bullet": debt.bullet,
        "bullet_secured": debt.bullet_secured,
        "secured": debt.secured,
        "loan_due": zero(inputs.btc_loan_due).T,
        "keep": keep,
        "drop_cf": drop_cf,
        "drop_service": drop_service,
        "dscr_level": np.where(tested & level["dscr"], inputs.dscr_min, -INF),
        "dscr_counts": tested.astype(float),
        "window_cf": window_cf,
        "window_service": window_service,
        "cash": zero(inputs.cash_usd),
        "floor": zero(inputs.cash_floor_usd),
        "coins": zero(inputs.coins_free),
        "impact": zero(inputs.coin_impact),
        "pledged": zero(inputs.coins_pledged),
        "loan": zero(inputs.btc_loan_usd),
        "loan_rate_dt": zero(inputs.btc_loan_rate) * dt,
        "refi_margin_dt": zero(inputs.refi_margin) * dt,
        "call": np.where(np.isnan(inputs.margin_call_ltv), INF, inputs.margin_call_ltv),
        "cure": np.where(np.isnan(inputs.cure_ltv), 0.5, inputs.cure_ltv),
        "liquidate": np.where(np.isnan(inputs.liquidation_ltv), INF, inputs.liquidation_ltv),
        "sell_all": zero(inputs.liquidates_all),
        "coin_weight": zero(inputs.coins_in_collateral),
        "ltv_level": np.where(level["ltv"], inputs.ltv_max, INF),
        "liquidity_level": np.where(level["liquidity"], liquidity, -INF),
        "call_level": np.where(level["margin"], 0.0, -INF),
        "maturity_level": np.where(level["maturity"], 0.0, -INF),
    }
    made["margin_scale"], made["margin_offset"] = _margins(inputs)
    return Rows(order=order, counts=counts, **{name: _rows_at(name, array, order) for name, array in made.items()})


def taken(rows: Rows, keep: BoolArray) -> Rows:
    """Some of the rows (B,) in sorted order; ``order`` still points to the rows of the inputs."""
    counts = np.array([int(keep[:n].sum()) for n in rows.counts], np.int64)
    part = {name: _rows_at(name, array, keep) for name, array in rows._asdict().items() if name != "counts"}
    return Rows(counts=counts, **part)


def _rows_at(name: str, array: NDArray[Any], index: NDArray[Any]) -> NDArray[Any]:
    """Some rows of one array of the row side; most have the period before the row."""
    first = array.ndim == 1 or name in ("pool", "margin_scale", "margin_offset")
    return np.ascontiguousarray(array[index] if first else array[:, index])


def _pool(inputs: CellInputs) -> FloatArray:
    """(B,2M): value per residual x liquidation share, then per residual; zero where the basis is another."""
    basis = np.array([LTV_BASES.index(word) for word in inputs.ltv_basis], int)[:, None]
    units, value = np.nan_to_num(inputs.units), np.nan_to_num(inputs.unit_value_usd)
    sale = np.nan_to_num(liquidation_value(units, value, inputs.haircut, inputs.depth_units))
    return np.concatenate((np.where(basis == 2, sale, 0.0), np.where(basis == 1, units * value, 0.0)), axis=1)


def _margins(inputs: CellInputs) -> tuple[FloatArray, FloatArray]:
    """(B,32) x 2: from the number that broke to its distance from the level, by the lowest bit of the breach code.

    Covenants as a fraction of their level, cash as a fraction of the row's debt and cash, a margin call as it is.
    """
    size = (
        np.nansum(inputs.debt_usd, axis=1) + np.nan_to_num(inputs.btc_loan_usd) + np.abs(np.nan_to_num(inputs.cash_usd))
    )
    size = np.where(size > 0, size, 1.0)
    with np.errstate(divide="ignore"):
        by_bit = (
            (1 / inputs.dscr_min, -1.0),
            (-1 / inputs.ltv_max, 1.0),
            (1 / size, -np.fmax(inputs.liquidity_min_usd, 0.0) / size),
            (1.0, 0.0),
            (1 / size, 0.0),
        )
    scale, offset = np.zeros((len(size), 32)), np.full((len(size), 32), np.nan)
    for code in range(1, 32):
        scale[:, code], offset[:, code] = by_bit[(code & -code).bit_length() - 1]
    return scale, offset


def _windows(inputs: CellInputs) -> tuple[FloatArray, ...]:
    """Running DSCR window per row: weights (T,B), what leaves each period (T,B) x 2, what it starts with (B,) x 2."""
    n_periods, dt = inputs.opex_usd.shape[1], inputs.dt_years
    ltm = np.array([basis == "ltm" for basis in inputs.dscr_basis], bool)
    opens = np.concatenate(([True], inputs.tested[:-1]))[:, None]
    inside = (np.arange(n_periods) * dt < 1 - 1e-9)[:, None]
    keep = np.where(ltm, np.where(inside, 1.0, 1 - dt), np.where(opens, 0.0, 1.0))
    start = [np.where(ltm, np.nan_to_num(sum_), 0.0) for sum_ in (inputs.ltm_cfads_usd, inputs.ltm_service_usd)]
    drops = [np.where(ltm & inside, -part * dt, 0.0) for part in start]
    return keep, drops[0], drops[1], start[0], start[1]


# ---------------------------------------------------------------- the path side
class Side(NamedTuple):
    """Products of factors that no row changes, scenario axis innermost."""

    flow: FloatArray  # (T,K,S): hashprice, power, rent x utilisation per model, 1 - loss per counterparty
    pool: FloatArray  # (T,2M,S): residual x liquidation share, residual
    growth: FloatArray  # (T,S): coin price, then its ratio to the period before, so that coins are carried as value
    low: FloatArray
    base_dt: FloatArray
    refi_dt: FloatArray  # (base + spread) x dt
    refi: FloatArray


def empty_side(n_periods: int, n_columns: int, n_pools: int, n_paths: int) -> Side:
    """Buffers for :func:`side_of`; columns beyond those it writes are ones, for constant terms."""
    flat = [np.empty((n_periods, n_paths)) for _ in range(5)]
    return Side(np.ones((n_periods, n_columns, n_paths)), np.ones((n_periods, n_pools, n_paths)), *flat)


def side_of(factors: Factors, dt_years: float, out: Side, multiple: int) -> Side:
    """The path side of the cell, written into ``out``, which is cut to the paths at hand.

    The last path is repeated up to a multiple of ``multiple``: whole vectors only, so that a path's last bits do not
    depend on where the paths were cut.
    """
    models, n = factors.rent.shape[1], factors.n_paths
    width = -(-n // multiple) * multiple
    side = Side(*(buffer[..., :n] for buffer in out))
    side.flow[:, 0] = factors.hashprice
    side.flow[:, 1] = factors.power
    np.multiply(factors.rent, factors.utilisation[:, None], out=side.flow[:, 2 : 2 + models])
    last = 2 + models + factors.contract_loss.shape[1]
    np.subtract(1.0, factors.contract_loss, out=side.flow[:, 2 + models : last])
    if side.pool.shape[1]:  # a driver that tests no collateral asks for no columns of it
        np.multiply(factors.residual, factors.liquidation_share[:, None], out=side.pool[:, :models])
        side.pool[:, models : 2 * models] = factors.residual
    side.growth[0] = factors.btc_usd[0]
    np.divide(factors.btc_usd[1:], factors.btc_usd[:-1], out=side.growth[1:])
    side.low[:] = factors.btc_low
    np.multiply(factors.base_rate, dt_years, out=side.base_dt)
    np.add(factors.base_rate, factors.spread, out=side.refi_dt)
    np.multiply(side.refi_dt, dt_years, out=side.refi_dt)
    side.refi[:] = factors.refi_open
    for buffer in out:
        buffer[..., n:width] = buffer[..., n - 1 : n]
    return Side(*(buffer[..., :width] for buffer in out))
