"""How far from a breach: the smallest joint shock in standard deviations, and its direction in words. Pure.

A shock is a level of bitcoin, rents, contracts and base rate that is held for the horizon while nothing is refinanced.
The search is :func:`monitor.stress.reverse.nearest_breach` (Hasofer and Lind, 1974).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from monitor.model import FloatArray
from monitor.stress import cell
from monitor.stress.answers import CORNERS, Job, Question
from monitor.stress.bridge import Bridge
from monitor.stress.field import INF, Field, Value, unique
from monitor.stress.outlook import MIDDLE_RHO, prior
from monitor.stress.reverse import Breach, linear_breach, nearest_breach
from monitor.stress.sides import Rows, rows_of

#: beyond this many standard deviations a breach is "not within reach"
REACH = 6.0


def distance(question: Question, *, directions: int = 48) -> Field:
    """Standard deviations to the nearest breach of each borrower, with the direction in words; infinite beyond reach.

    The shock is a level held for the whole horizon while nothing is refinanced; the rows of the question should be
    quarterly (four periods), which is enough for a level. Rows with assumed levels count: the range says so.
    """
    # three digits of the price: far finer than any volatility here, and a quiet tick asks nothing new
    question = replace(question, btc_usd=float(f"{question.btc_usd:.3g}"))
    state, n = question.state, len(question.state.borrowers)
    found: list[list[Value]] = [[] for _ in range(n)]
    for i in (*question.firm, *question.soft):
        found[int(question.rows[0].owner[i])].append(_row_distance(question, i, directions))
    values = []
    for b in range(n):
        own = question.rows[0].row(state.borrowers[b])
        if not found[b]:
            reasons = question.rows[0].reasons[own] or ("no test of this borrower can be judged",)
            values.append(Value.unknown(*reasons))
            continue
        nearest = min(found[b], key=lambda value: value.middle)
        ends = [min(value.corners[c] for value in found[b]) for c in CORNERS]
        note = () if own in question.firm else (f"only {nearest.detail.split(':')[0]} can be judged",)
        used = unique((*note, *nearest.used, *(label for value in found[b] for label in value.used)))
        oldest = min(value.as_of_s for value in found[b])
        values.append(Value((ends[0], ends[1], ends[2]), (), used, oldest, nearest.detail))
    return Field.of(values)


def _row_distance(question: Question, i: int, directions: int) -> Value:
    breaches = [_nearest(question.job(corner, (i,)), corner, MIDDLE_RHO, directions) for corner in CORNERS]
    rows = question.rows[0]
    sigmas = tuple(breach.sigmas for breach in breaches)
    used = (*rows.used[i], *(f"{level} (assumed)" for level in rows.assumed_levels[i]))
    detail = f"{rows.rows[i]}: {direction(breaches[0])}"
    return Value((sigmas[0], sigmas[1], sigmas[2]), (), used, float(rows.as_of_s[i]), detail)


@lru_cache(maxsize=512)
def _nearest(job: Job[Bridge], corner: int, rho: float, directions: int) -> Breach:
    margin, covariance = margin_of(job.work, job.btc_usd, job.base_rate), _covariance(corner, rho)
    if not job.work.asks[0, 2]:
        return _price_breach(margin, covariance)
    return nearest_breach(margin, covariance, reach=REACH, directions=directions)


def _price_breach(margin: Callable[[FloatArray], FloatArray], covariance: FloatArray, points: int = 2001) -> Breach:
    """A test of the bitcoin price alone is a linear rule: find the level it breaks at, and the distance is exact."""
    low, high = 0.0, REACH * float(np.sqrt(covariance[0, 0]))
    for _ in range(2):
        falls = np.linspace(low, high, points)
        shocks = np.zeros((points, len(covariance)))
        shocks[:, 0] = -falls
        broken = margin(shocks) <= 0
        if not broken.any():
            return Breach(INF, np.full(len(covariance), np.nan), np.full(len(covariance), np.nan))
        at = int(broken.argmax())
        if at == 0:
            return Breach(0.0, np.zeros(len(covariance)), np.zeros(len(covariance)))
        low, high = float(falls[at - 1]), float(falls[at])
    return linear_breach(covariance, np.array([-1.0] + [0.0] * (len(covariance) - 1)), high)


def _covariance(corner: int, rho: float) -> FloatArray:
    """Covariance of a year's log bitcoin, log rents, share of contracts lost, and base rate (on its own)."""
    names = ("crypto_vol", "rental_vol", "contract_sigma", "base_vol")
    sigma = np.array([prior(name, corner) for name in names])
    sign = np.array([1.0, 1.0, -1.0, 0.0])
    matrix = rho * np.outer(sign, sign)
    np.fill_diagonal(matrix, 1.0)
    return np.asarray(matrix * np.outer(sigma, sigma))


def margin_of(cut: Bridge, btc_usd: float, base_rate: float) -> Callable[[FloatArray], FloatArray]:
    """Shocks (n,4) -> margins (n,): cash left as a share of debt and cash, or plus and minus one for a coin loan.

    A third driver of the cell for one row under levels that are held: the period's steps in the drivers' order, less
    those that such a row cannot need. Cash flow and service are linear in the held levels, so all periods are one small
    matrix product. The tests compare it with the numpy driver.
    """
    rows, inputs = rows_of(cut.inputs), cut.inputs
    floor = max(0.0, float(np.nan_to_num(inputs.liquidity_min_usd[0], neginf=0.0)))
    size = float(np.nansum(inputs.debt_usd) + abs(np.nan_to_num(inputs.cash_usd[0]))) or 1.0
    price = btc_usd if np.isfinite(btc_usd) else 1.0
    first, steps = _first(rows), _steps(cut, rows, inputs.dt_years)
    summed = np.cumsum(steps, axis=0)

    def levels_of(shocks: FloatArray) -> FloatArray:
        crypto, rental = np.exp(shocks[:, 0]), np.exp(shocks[:, 1])
        kept = 1.0 - np.minimum(np.maximum(shocks[:, 2], 0.0), 1.0)
        return np.stack((np.ones(len(shocks)), crypto, rental, kept, base_rate + shocks[:, 3]))

    def cash_margin(shocks: FloatArray) -> FloatArray:
        held = levels_of(shocks)
        if not first["coins"]:
            return np.asarray((first["cash"] + (summed @ held).min(axis=0) - floor) / size)
        cash, coins = np.full(len(shocks), first["cash"]), first["coins"] * price * held[1]
        lowest, words = np.full(len(shocks), INF), (np.minimum, np.maximum, np.sqrt)
        for step in steps @ held:
            cash, coins = cell.sell_coins(*words, cash + step, coins, first["floor"], first["impact"])
            lowest = np.minimum(lowest, cash + coins)  # coins are left only where cash has not fallen to its floor
        return np.asarray((lowest - floor) / size)

    def loan_margin(shocks: FloatArray) -> FloatArray:
        coin, ones = price * np.exp(shocks[:, 0]), np.ones(len(shocks))
        *_, gap = cell.margin_call(
            np.minimum, np.maximum, np.where, 1.0,
            first["call"], first["cure"], first["liquidate"], first["sell_all"],
            first["cash"] * ones, first["coins"] * coin, first["pledged"] * coin, first["loan"] * ones,
        )  # fmt: skip
        return np.where(gap < 0, -1.0, 1.0)

    return cash_margin if cut.asks[0, 2] else loan_margin


def _steps(cut: Bridge, rows: Rows, dt_years: float) -> FloatArray:
    """(T,5) cash of each period per one, coin level, rent level, share of contracts kept, and base rate."""
    flow, models = rows.flow[:, 0], len(cut.models)
    fixed = cell.service(rows.service_const[:, 0], rows.service_base[:, 0], 0.0, 0.0)
    per_rate = cell.service(rows.service_const[:, 0], rows.service_base[:, 0], dt_years, 0.0) - fixed
    other = (rows.flow_const + rows.cash_const - rows.bullet)[:, 0] + flow[:, 1] - fixed
    spot, contracted = flow[:, 2 : 2 + models].sum(axis=1), flow[:, 2 + models :].sum(axis=1)
    return np.stack((other, flow[:, 0], spot, contracted, -per_rate), axis=1)


def _first(rows: Rows) -> dict[str, float]:
    """The stocks and levels of the only row."""
    names = ("cash", "coins", "floor", "impact", "call", "cure", "liquidate", "sell_all", "pledged", "loan")
    return {name: float(getattr(rows, name)[0]) for name in names}


def direction(breach: Breach) -> str:
    """The nearest breach in words.

    >>> shock = np.array([0.0, -0.35, 0.7, 0.0])
    >>> direction(Breach(2.3, shock, np.array([0.0, 0.1, 0.9, 0.0])))
    '2.3 sigma, 70 % contract loss, rents -30 %'
    >>> direction(Breach(0.0, np.zeros(4), np.zeros(4)))
    'broken without any shock'
    """
    if breach.sigmas == 0:
        return "broken without any shock"
    if not np.isfinite(breach.sigmas):
        return f"no breach within {REACH:g} sigma"
    crypto, rental, lost, base = breach.shock
    words = (
        f"bitcoin {np.expm1(crypto) * 100:+.0f} %",
        f"rents {np.expm1(rental) * 100:+.0f} %",
        f"{min(1.0, max(0.0, lost)) * 100:.0f} % contract loss",
        f"base rate {base * 1e4:+.0f} bp",
    )
    order = [k for k in np.argsort(-breach.share) if breach.share[k] >= 0.05]
    return ", ".join((f"{breach.sigmas:.1f} sigma", *(words[k] for k in order)))
