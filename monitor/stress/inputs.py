"""What the stress core takes: :class:`CellInputs`, the rows, and :class:`Factors`, the paths; both checked when
made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from monitor.model import BoolArray, FloatArray

DscrBasis = Literal["quarter", "ltm", "forward_12m"]
LtvBasis = Literal["contractual", "economic", "liquidation"]
Case = Literal["run_off", "build"]
DSCR_BASES = ("quarter", "ltm", "forward_12m")
LTV_BASES = ("contractual", "economic", "liquidation")
#: breach code bits, and the tests' order in a known mask
DSCR, LTV, LIQUIDITY, MARGIN, MATURITY = 1, 2, 4, 8, 16
TESTS = ("dscr", "ltv", "liquidity", "margin", "maturity")
INF = float("inf")


class Field(NamedTuple):
    """What one input may hold: axes (B row, T period, C counterparty, M model, D debt, S path), value when absent,
    range."""

    axes: str
    absent: float
    least: float = 0.0
    most: float = INF


#: NaN is "unknown" and is always allowed. Infinity is allowed only where the absent value is infinite (no such level).
FIELDS: dict[str, Field] = {
    "mining_usd": Field("B", 0.0),
    "contracted_usd": Field("BC", 0.0),
    "in_force": Field("BCT", 1.0, most=1.0),
    "spot_usd": Field("BM", 0.0),
    "power_usd": Field("B", 0.0),
    "opex_usd": Field("BT", 0.0, -INF),
    "capex_usd": Field("BT", 0.0),
    "cash_usd": Field("B", 0.0, -INF),
    "cash_floor_usd": Field("B", 0.0),
    "coins_free": Field("B", 0.0),
    "coins_pledged": Field("B", 0.0),
    "coin_impact": Field("B", 0.0),
    "debt_usd": Field("BD", 0.0),
    "floating_share": Field("BD", 0.0, most=1.0),
    "margin": Field("BD", 0.0, -INF),
    "fixed_rate": Field("BD", 0.0, -INF),
    "secured": Field("BD", 0.0, most=1.0),
    "principal_usd": Field("BDT", 0.0),
    "bullet_usd": Field("BDT", 0.0),
    "undrawn_usd": Field("BD", 0.0),
    "draw_usd": Field("BDT", 0.0),
    "refi_margin": Field("B", 0.0, -INF),
    "btc_loan_usd": Field("B", 0.0),
    "btc_loan_rate": Field("B", 0.0, -INF),
    "margin_call_ltv": Field("B", INF),
    "cure_ltv": Field("B", 0.5, 1e-6, 0.999),
    "liquidation_ltv": Field("B", INF),
    "liquidates_all": Field("B", 0.0, most=1.0),
    "btc_loan_due": Field("BT", 0.0, most=1.0),
    "paper_usd": Field("BT", 0.0),
    "units": Field("BM", 0.0),
    "unit_value_usd": Field("BM", 0.0),
    "haircut": Field("M", 1.0, most=1.0),
    "depth_units": Field("M", INF),
    "coins_in_collateral": Field("B", 0.0, most=1.0),
    "dscr_min": Field("B", -INF),
    "ltv_max": Field("B", INF),
    "liquidity_min_usd": Field("B", -INF),
    "ltm_cfads_usd": Field("B", float("nan"), -INF),
    "ltm_service_usd": Field("B", float("nan")),
}


@dataclass(frozen=True)
class CellInputs:
    """What is known about B obligors (or facilities) before any path is drawn; make one with :meth:`build`.

    Axes: B row, T period, C counterparty, M hardware model, D debt. Money is USD (or any one unit, used throughout);
    flows are per period; rates are per year, as fractions; coins are counted in the units of the price factor. NaN
    means unknown: every test that needs it becomes unknown. An absent amount is zero; a level that does not exist is
    infinite.

    Flows: ``mining_usd (B)`` at hashprice index 1; ``contracted_usd (B,C)`` times ``in_force (B,C,T)``, the share of
    the contract still running; ``spot_usd (B,M)`` at rent and utilisation index 1; ``power_usd (B)`` at power index
    1; ``opex_usd (B,T)`` with maintenance capex and cash taxes; ``capex_usd (B,T)`` committed growth capex, outside
    CFADS.

    Stocks (B): ``cash_usd``; ``cash_floor_usd``, the level free coins are sold to hold; ``coins_free``;
    ``coins_pledged``; ``coin_impact`` = Y sigma / sqrt(V), per sqrt(USD), of a coin sale.

    Debts (B,D): ``debt_usd``; ``floating_share``, floating and unhedged, paying base + ``margin``; ``fixed_rate`` on
    the rest (coupon or hedged rate); ``secured``, the share counted against the pool. (B,D,T): ``principal_usd``
    scheduled; ``bullet_usd`` maturities and puts; both stop at the balance. ``undrawn_usd (B,D)`` and ``draw_usd
    (B,D,T)`` count only in case ``build``. ``refi_margin (B)`` over base + spread, on what is rolled and on a coin
    loan's deficiency.

    Coin loan (B): ``btc_loan_usd``, ``btc_loan_rate``, ``margin_call_ltv``, ``cure_ltv`` (below 1),
    ``liquidation_ltv``, ``liquidates_all`` (1: the whole pledge is sold, 0: enough to return to ``cure_ltv``);
    ``btc_loan_due (B,T)`` is 1 in the period it falls due.

    Pool: ``paper_usd (B,T)``, the value by the contract's own formula; ``units``, ``unit_value_usd`` (B,M);
    ``haircut``, the share of the price a small lot brings, and ``depth_units`` (M); ``coins_in_collateral (B)``, the
    share of free coins counted. ``ltv_basis`` says which value is tested: contractual (paper), economic (units x
    value x residual), liquidation (:func:`monitor.stress.sides.liquidation_value`). Two values of one pool are two
    rows.

    Levels (B): ``dscr_min``, ``ltv_max``, ``liquidity_min_usd``; ``ltm_cfads_usd`` and ``ltm_service_usd``, the
    trailing twelve months that basis ``ltm`` starts from. ``tested (T)``: DSCR test dates, default quarter ends.
    ``known (B,5)``: tests, in the order of TESTS, that the caller can vouch for; NaN can only take away from it.

    >>> inputs = CellInputs.build(2, 12, n_debts=1, cash_usd=[5e6, float("nan")], debt_usd=1e7)
    >>> inputs.debt_usd.shape, inputs.ltv_max.tolist()
    ((2, 1), [inf, inf])
    """

    dt_years: float
    case: Case
    dscr_basis: tuple[DscrBasis, ...]
    ltv_basis: tuple[LtvBasis, ...]
    tested: BoolArray
    known: BoolArray
    mining_usd: FloatArray
    contracted_usd: FloatArray
    in_force: FloatArray
    spot_usd: FloatArray
    power_usd: FloatArray
    opex_usd: FloatArray
    capex_usd: FloatArray
    cash_usd: FloatArray
    cash_floor_usd: FloatArray
    coins_free: FloatArray
    coins_pledged: FloatArray
    coin_impact: FloatArray
    debt_usd: FloatArray
    floating_share: FloatArray
    margin: FloatArray
    fixed_rate: FloatArray
    secured: FloatArray
    principal_usd: FloatArray
    bullet_usd: FloatArray
    undrawn_usd: FloatArray
    draw_usd: FloatArray
    refi_margin: FloatArray
    btc_loan_usd: FloatArray
    btc_loan_rate: FloatArray
    margin_call_ltv: FloatArray
    cure_ltv: FloatArray
    liquidation_ltv: FloatArray
    liquidates_all: FloatArray
    btc_loan_due: FloatArray
    paper_usd: FloatArray
    units: FloatArray
    unit_value_usd: FloatArray
    haircut: FloatArray
    depth_units: FloatArray
    coins_in_collateral: FloatArray
    dscr_min: FloatArray
    ltv_max: FloatArray
    liquidity_min_usd: FloatArray
    ltm_cfads_usd: FloatArray
    ltm_service_usd: FloatArray

    @classmethod
    def build(
        cls,
        n_rows: int,
        n_periods: int,
        *,
        n_models: int = 0,
        n_counterparties: int = 0,
        n_debts: int = 0,
        dt_years: float = 1 / 12,
        case: Case = "run_off",
        dscr_basis: DscrBasis | Sequence[DscrBasis] = "quarter",
        ltv_basis: LtvBasis | Sequence[LtvBasis] = "contractual",
        tested: ArrayLike | None = None,
        known: ArrayLike = True,
        **values: ArrayLike,
    ) -> CellInputs:
        """Inputs with everything not named known to be absent; values broadcast to the field's axes (a (B,) array
        must be given as (B,1) where a longer axis follows). Raises ValueError listing every wrong field at once.
        """
        if n_periods < 1 or not 0 < dt_years <= 1:
            raise ValueError(
                f"n_periods is {n_periods} and dt_years {dt_years}; use at least 1 and a fraction of a year up to 1"
            )
        sizes = {"B": n_rows, "T": n_periods, "C": n_counterparties, "M": n_models, "D": n_debts}
        arrays, problems = fill(FIELDS, sizes, values)
        for name, basis, words in (("dscr_basis", dscr_basis, DSCR_BASES), ("ltv_basis", ltv_basis, LTV_BASES)):
            rows = [basis] * n_rows if isinstance(basis, str) else list(basis)
            if len(rows) != n_rows or any(word not in words for word in rows):
                problems.append(f"{name}: give one of {', '.join(words)}, or one for each of the {n_rows} rows")
        if problems:
            raise ValueError("; ".join(problems))
        dates = (
            quarter_ends(n_periods, dt_years)
            if tested is None
            else np.broadcast_to(np.asarray(tested, bool), n_periods)
        )
        return cls(
            dt_years=dt_years,
            case=case,
            dscr_basis=(dscr_basis,) * n_rows if isinstance(dscr_basis, str) else tuple(dscr_basis),
            ltv_basis=(ltv_basis,) * n_rows if isinstance(ltv_basis, str) else tuple(ltv_basis),
            tested=dates,
            known=np.array(np.broadcast_to(np.asarray(known, bool), (n_rows, len(TESTS)))),
            **arrays,
        )


FACTOR_FIELDS: dict[str, Field] = {
    "btc_usd": Field("TS", 1.0, 1e-12),
    "btc_low": Field("TS", 1.0, 1e-12, 1.0),
    "hashprice": Field("TS", 1.0),
    "rent": Field("TMS", 1.0),
    "residual": Field("TMS", 1.0),
    "utilisation": Field("TS", 1.0),
    "power": Field("TS", 1.0),
    "base_rate": Field("TS", 0.0, -0.5),
    "spread": Field("TS", 0.0, -0.5),
    "contract_loss": Field("TCS", 0.0, most=1.0),
    "refi_open": Field("TS", 1.0, most=1.0),
    "liquidation_share": Field("TS", 1.0, most=1.0),
}


@dataclass(frozen=True)
class Factors:
    """S paths of everything that moves, scenario axis innermost; make one with :meth:`build`. Simulated paths may hold
    one number or one array in the place of many equal ones, so nothing may write into them.

    ``btc_usd (T,S)`` price; ``btc_low (T,S)`` the period's low as a fraction of its end price (:func:`period_low`);
    ``hashprice, utilisation, power (T,S)`` and ``rent, residual (T,M,S)`` indices, 1 is today; ``base_rate, spread
    (T,S)`` per year; ``contract_loss (T,C,S)`` lost share of a counterparty's contracts; ``refi_open (T,S)`` share of
    what falls due that can be rolled; ``liquidation_share (T,S)`` share of the sale value kept. All are finite: a
    path is assumed, not observed.

    >>> Factors.build(12, 3, n_models=1, rent=[[[0.6, 0.8, 1.0]]]).rent.shape
    (12, 1, 3)
    """

    btc_usd: FloatArray
    btc_low: FloatArray
    hashprice: FloatArray
    rent: FloatArray
    residual: FloatArray
    utilisation: FloatArray
    power: FloatArray
    base_rate: FloatArray
    spread: FloatArray
    contract_loss: FloatArray
    refi_open: FloatArray
    liquidation_share: FloatArray

    @classmethod
    def build(
        cls, n_periods: int, n_paths: int, *, n_models: int = 0, n_counterparties: int = 0, **values: ArrayLike
    ) -> Factors:
        """Paths with every factor not named left at today's level. Raises ValueError listing every wrong factor."""
        sizes = {"T": n_periods, "S": n_paths, "C": n_counterparties, "M": n_models}
        arrays, problems = fill(FACTOR_FIELDS, sizes, values)
        problems += [f"{name}: a path may not hold NaN" for name, array in arrays.items() if np.isnan(array).any()]
        if problems:
            raise ValueError("; ".join(problems))
        return cls(**arrays)

    @property
    def n_paths(self) -> int:
        return int(self.btc_usd.shape[1])

    def part(self, start: int, stop: int) -> Factors:
        """The paths start..stop, as views."""
        return Factors(**{f.name: getattr(self, f.name)[..., start:stop] for f in fields(self)})


def fill(
    table: dict[str, Field], sizes: dict[str, int], values: dict[str, ArrayLike]
) -> tuple[dict[str, FloatArray], list[str]]:
    """Every field of a table as a contiguous array of its full shape, and what is wrong with the values given."""
    problems = [f"{name}: no such field" for name in values if name not in table]
    arrays: dict[str, FloatArray] = {}
    for name, field in table.items():
        shape = tuple(sizes[axis] for axis in field.axes)
        if name not in values:
            arrays[name] = np.full(shape, field.absent)
            continue
        given = np.asarray(values[name], np.float64)
        try:
            arrays[name] = array = np.ascontiguousarray(np.broadcast_to(given, shape))
        except ValueError:
            problems.append(f"{name}: shape {given.shape} does not fit {shape} (axes {field.axes})")
            continue
        allowed = np.isnan(array) | (np.isfinite(array) & (array >= field.least) & (array <= field.most))
        if not (allowed | (np.isinf(array) & (array == field.absent))).all():
            problems.append(
                f"{name}: values must be finite and between {field.least:g} and {field.most:g}, or NaN for unknown"
            )
    return arrays, problems


def quarter_ends(n_periods: int, dt_years: float) -> BoolArray:
    """Which periods end a quarter, counted from the start; a horizon inside a quarter is tested at its end.

    >>> quarter_ends(7, 1 / 12).astype(int).tolist()
    [0, 0, 1, 0, 0, 1, 1]
    """
    length = max(1, round(0.25 / dt_years))
    ends = (np.arange(n_periods) + 1) % length == 0
    ends[-1] = True
    return np.asarray(ends, bool)


def period_low(sigma: float, dt_years: float) -> float:
    """Low of a period as a fraction of its end price: a monthly test then breaks about as often as a continuous one.

    exp(-0.5826 sigma sqrt(dt)); Broadie, Glasserman and Kou, Mathematical Finance 7(4), 1997.

    >>> round(1 / period_low(0.60, 1 / 12), 3)
    1.106
    """
    return float(np.exp(-0.5826 * sigma * np.sqrt(dt_years)))
