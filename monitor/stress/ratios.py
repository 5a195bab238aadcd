"""Cover ratios of project finance and the structural view of equity. Pure; the formulas are the textbook ones.

Sources: Yescombe, "Principles of Project Finance" (DSCR, LLCR, PLCR); Merton, "On the Pricing of
Corporate Debt" (1974).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from monitor.model import FloatArray

_NORMAL = NormalDist()


@dataclass(frozen=True)
class CoverRatios:
    """dscr, llcr, plcr (periods with debt,): cover of debt service, of the loan by its own and the project's life."""

    dscr: FloatArray
    llcr: FloatArray
    plcr: FloatArray


def cover_ratios(cfads_usd: FloatArray, debt_usd: float, rate: float, principal_usd: FloatArray) -> CoverRatios:
    """DSCR, LLCR and PLCR at each date of the loan; interest is on the opening balance.

    cfads_usd (n,) cash flow available for debt service per period, principal_usd (m,), m <= n; rate per period.
    LLCR_t = PV(CFADS over the loan's life) / balance; PLCR_t uses CFADS to the end of the project.

    >>> r = cover_ratios(np.array([120, 110, 100, 90, 80, 70.]), 300, 0.08, np.full(5, 60.))
    >>> r.dscr.round(6).tolist()
    [1.428571, 1.388889, 1.344086, 1.293103, 1.234568]
    >>> r.llcr.round(6).tolist()
    [1.351336, 1.324304, 1.295887, 1.266004, 1.234568]
    >>> r.plcr.round(6).tolist()
    [1.498376, 1.522808, 1.581732, 1.729072, 2.234797]
    """
    cash, principal = np.asarray(cfads_usd, float), np.asarray(principal_usd, float)
    periods = len(principal)
    opening = debt_usd - np.concatenate([[0.0], np.cumsum(principal)[:-1]])
    dscr = cash[:periods] / (opening * rate + principal)

    def present_value(start: int, stop: int) -> float:
        return float(sum(cash[k] / (1 + rate) ** (k - start + 1) for k in range(start, stop)))

    llcr = np.array([present_value(t, periods) / opening[t] for t in range(periods)])
    plcr = np.array([present_value(t, len(cash)) / opening[t] for t in range(periods)])
    return CoverRatios(dscr, llcr, plcr)


def hardware_ltv_path(
    advance: float, first_year_decay: float, tenor_months: int | None, after_months: int = 12
) -> float:
    """LTV of a level-principal loan on decaying hardware after some months; no tenor means interest only.

    >>> [round(hardware_ltv_path(0.80, 0.35, n), 3) for n in (36, 48, 60, None)]
    [0.821, 0.923, 0.985, 1.231]
    """
    left = 1.0 if tenor_months is None else 1.0 - after_months / tenor_months
    return float(advance * left / (1.0 - first_year_decay) ** (after_months / 12))


@dataclass(frozen=True)
class Structural:
    """asset_value_usd, asset_volatility per year, distance_to_default in standard deviations, pd over the horizon."""

    asset_value_usd: float
    asset_volatility: float
    distance_to_default: float
    pd: float
    debt_value_usd: float


def merton(
    assets_usd: float, debt_usd: float, years: float, rate: float, drift: float, volatility: float
) -> Structural:
    """Equity as a call on the assets: value of the debt, distance to default and PD.

    dd = (ln(V/D) + (mu - sigma^2/2) T) / (sigma sqrt T), PD = N(-dd).

    >>> m = merton(140, 100, 1, 0.05, 0.05, 0.20)
    >>> round(m.debt_value_usd, 4), round(m.pd, 7), round(m.distance_to_default, 8)
    (94.8894, 0.0334488, 1.83236118)
    """
    if min(assets_usd, debt_usd, years, volatility) <= 0:
        raise ValueError("assets, debt, horizon and volatility must be positive")
    spread = volatility * math.sqrt(years)
    d1 = (math.log(assets_usd / debt_usd) + (rate + volatility**2 / 2) * years) / spread
    equity = assets_usd * _NORMAL.cdf(d1) - debt_usd * math.exp(-rate * years) * _NORMAL.cdf(d1 - spread)
    distance = (math.log(assets_usd / debt_usd) + (drift - volatility**2 / 2) * years) / spread
    return Structural(assets_usd, volatility, distance, _NORMAL.cdf(-distance), assets_usd - equity)


def merton_from_equity(
    equity_usd: float, equity_volatility: float, debt_usd: float, years: float, rate: float, drift: float
) -> Structural:
    """Asset value and volatility that reproduce an observed equity value and its volatility, then :func:`merton`.

    Solves E = V N(d1) - D e^(-rT) N(d2) and sigma_E E = N(d1) sigma V by Newton in (ln V, ln sigma). Raises ValueError
    when no solution is found.

    >>> m = merton_from_equity(2.6406, 0.7103, 4, 1, 0.05, 0.0306)
    >>> f"{m.asset_value_usd:.6f} {m.asset_volatility:.8f} {m.distance_to_default:.6f} {m.pd:.7f}"
    '6.420983 0.30096715 1.523709 0.0637907'
    """
    if min(equity_usd, equity_volatility, debt_usd, years) <= 0:
        raise ValueError("equity, its volatility, debt and horizon must be positive")
    value = equity_usd + debt_usd * math.exp(-rate * years)
    volatility = equity_volatility * equity_usd / value

    def gaps(log_value: float, log_volatility: float) -> FloatArray:
        v, s = math.exp(log_value), math.exp(log_volatility)
        spread = s * math.sqrt(years)
        d1 = (math.log(v / debt_usd) + (rate + s * s / 2) * years) / spread
        model = v * _NORMAL.cdf(d1) - debt_usd * math.exp(-rate * years) * _NORMAL.cdf(d1 - spread)
        return np.array([model / equity_usd - 1, _NORMAL.cdf(d1) * s * v / (equity_volatility * equity_usd) - 1])

    point = np.array([math.log(value), math.log(volatility)])
    for _ in range(100):
        gap = gaps(*point)
        if np.abs(gap).max() < 1e-13:
            break
        steps = np.eye(2) * 1e-7
        slope = np.array([(gaps(*(point + h)) - gap) / 1e-7 for h in steps]).T
        point = point - np.clip(np.linalg.solve(slope, gap), -0.5, 0.5)
    else:
        if np.abs(gaps(*point)).max() > 1e-8:
            raise ValueError("no asset value and volatility reproduce this equity value and volatility")
    return merton(math.exp(point[0]), debt_usd, years, rate, drift, math.exp(point[1]))
