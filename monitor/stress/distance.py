"""How far from a breach: the smallest joint shock in standard deviations, and its direction in words. Pure.

A shock is a level of bitcoin, rents, contracts and base rate that is held for the horizon while nothing is refinanced
(:mod:`monitor.stress.held`). The search is :func:`monitor.stress.reverse.nearest_breaches` (Hasofer and Lind, 1974).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from monitor.model import FloatArray
from monitor.stress.answers import CORNERS, Job, Question
from monitor.stress.assumptions import Assumptions
from monitor.stress.bridge import Bridge
from monitor.stress.field import INF, Field, Value, unique
from monitor.stress.held import Held, margin_of
from monitor.stress.outlook import MIDDLE_RHO, missing, prior
from monitor.stress.reverse import Breach, Rays, Which, linear_breach, nearest_breaches

__all__ = ["REACH", "direction", "distance", "margin_of"]
#: beyond this many standard deviations a breach is "not within reach"
REACH = 6.0
#: what one standard deviation of each shock is, in the order of the shocks
AXES = ("crypto_vol", "rental_vol", "contract_sigma", "base_vol")


def distance(question: Question, *, directions: int = 48) -> Field:
    """Standard deviations to the nearest breach of each borrower, with the direction in words; infinite beyond reach.

    The shock is a level held for the whole horizon while nothing is refinanced; the rows of the question should be
    quarterly (four periods), which is enough for a level. Rows with assumed levels count: the range says so. All rows
    are searched together at all three corners.
    """
    # three digits of the price: far finer than any volatility here, and a quiet tick asks nothing new
    question = replace(question, btc_usd=float(f"{question.btc_usd:.3g}"))
    state, n = question.state, len(question.state.borrowers)
    index = (*question.firm, *question.soft)
    breaches = _nearest(tuple(question.job(corner, index) for corner in CORNERS), directions) if index else ()
    found: list[list[Value]] = [[] for _ in range(n)]
    for k, i in enumerate(index):
        found[int(question.rows[0].owner[i])].append(_row_distance(question, i, breaches[k :: len(index)]))
    values = []
    for b in range(n):
        own = question.rows[0].row(state.borrowers[b])
        if not found[b]:
            reasons = (
                missing(state.assumptions)
                or question.rows[0].reasons[own]
                or ("no test of this borrower can be judged",)
            )
            values.append(Value.unknown(*reasons))
            continue
        nearest = min(found[b], key=lambda value: value.middle)
        ends = [min(value.corners[c] for value in found[b]) for c in CORNERS]
        note = () if own in question.firm else (f"only {nearest.detail.split(':')[0]} can be judged",)
        used = unique((*note, *nearest.used, *(label for value in found[b] for label in value.used)))
        oldest = min(value.as_of_s for value in found[b])
        values.append(Value((ends[0], ends[1], ends[2]), (), used, oldest, nearest.detail))
    return Field.of(values)


def _row_distance(question: Question, i: int, breaches: Sequence[Breach]) -> Value:
    """One row's distance at the three corners."""
    rows = question.rows[0]
    middle, adverse, favourable = (breach.sigmas for breach in breaches)
    used = (*rows.used[i], *(f"{level} (assumed)" for level in rows.assumed_levels[i]))
    detail = f"{rows.rows[i]}: {direction(breaches[0])}"
    return Value((middle, adverse, favourable), (), used, float(rows.as_of_s[i]), detail)


@lru_cache(maxsize=8)
def _nearest(jobs: tuple[Job[Bridge], ...], directions: int) -> tuple[Breach, ...]:
    """The nearest breach of every row at every corner: all rows of the first corner, then those of the next."""
    held = Held([job.work for job in jobs], [job.btc_usd for job in jobs], jobs[0].base_rate)
    matrices = np.stack([_covariance(corner, MIDDLE_RHO, jobs[0].work.assumptions) for corner in CORNERS])
    corner = np.repeat(np.arange(len(jobs)), len(jobs[0].work.rows))
    lowers: FloatArray = np.asarray(np.linalg.cholesky(matrices)[corner], np.float64)
    found: dict[int, Breach] = {}
    for kind in (held.is_walk, ~held.is_walk & ~held.is_loan):
        rows = np.flatnonzero(kind)
        if len(rows):
            made = nearest_breaches(held.margins(rows), lowers[rows], reach=REACH, directions=directions)
            found.update(zip(rows.tolist(), made, strict=True))
    loans = np.flatnonzero(held.is_loan)
    found.update(zip(loans.tolist(), _price_breaches(held, loans, matrices[corner[loans]]), strict=True))
    return tuple(found[i] for i in range(len(corner)))


def _price_breaches(held: Held, rows: Which, covariances: FloatArray) -> list[Breach]:
    """A test of the bitcoin price alone is a linear rule: the level it breaks at, and the distance is exact."""
    k = len(AXES)
    if not len(rows):
        return []
    down, nowhere = -np.eye(k)[0], np.full(k, np.nan)
    sigma = np.sqrt(covariances[:, 0, 0])
    alone = np.zeros((len(rows), k, k))
    alone[:, 0, 0] = sigma
    margins, every = held.margins(rows), np.arange(len(rows))
    start = margins(every, np.zeros((len(rows), 1, k)))[:, 0] <= 0
    points = Rays(margins, alone).nearest(every, down[None, None], np.full(len(rows), REACH))
    found = []
    for matrix, fall, broken in zip(covariances, -points[:, 0] * sigma, start, strict=True):
        exact = linear_breach(matrix, down, float(fall)) if np.isfinite(fall) else Breach(INF, nowhere, nowhere)
        found.append(Breach(0.0, np.zeros(k), np.zeros(k)) if broken else exact)
    return found


def _covariance(corner: int, rho: float, known: Assumptions) -> FloatArray:
    """Covariance of a year's log bitcoin, log rents, share of contracts lost, and base rate (on its own)."""
    sigma = np.array([prior(name, corner, known) for name in AXES])
    sign = np.array([1.0, 1.0, -1.0, 0.0])
    matrix = rho * np.outer(sign, sign)
    np.fill_diagonal(matrix, 1.0)
    return np.asarray(matrix * np.outer(sigma, sigma))


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
