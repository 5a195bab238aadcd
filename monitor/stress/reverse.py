"""The smallest joint shock that breaks a borrower: distance to breach in standard deviations, and its direction. Pure.

Source: Hasofer and Lind, "Exact and Invariant Second-Moment Code Format" (1974): minimise ||x|| over breaching shocks
with x = L^-1 z, Sigma = L L'. The search below works for any margin function: a start from many directions, then the
Hasofer-Lind-Rackwitz-Fiessler step on a numerical slope. It takes many cases at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.model import FloatArray

Which = NDArray[np.int64]
#: (which cases (m,), their shocks (m, n, k)) -> margins (m, n)
Margins = Callable[[Which, FloatArray], FloatArray]
#: parts a bracket is cut into each round
CUTS = 16


class Fineness(NamedTuple):
    """Radii of a scan outward, and rounds of cutting the bracket found: 24 x 16^8 is a scan to eleven digits."""

    scans: int
    rounds: int


FIRST, TURN = Fineness(24, 8), Fineness(8, 7)
#: step of a numerical slope, in standard deviations
NUDGE = 1e-5
#: a descent goes on while a turn brings the breach nearer by more than this share
ENOUGH = 1e-7


@dataclass(frozen=True)
class Breach:
    """sigmas: distance to the nearest breach, infinite when none lies within ``reach``; shock (k,): that point, in the
    factors' own units; share (k,): its direction, squared parts that add to one."""

    sigmas: float
    shock: FloatArray
    share: FloatArray


def cholesky(covariance: FloatArray, name: str = "covariance") -> FloatArray:
    """Lower factor of a covariance matrix. Raises ValueError naming the matrix when it is not positive definite.

    >>> cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]), "the test matrix")
    Traceback (most recent call last):
    ...
    ValueError: the test matrix is not positive definite: its smallest eigenvalue is -1
    """
    matrix = np.asarray(covariance, float)
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T):
        raise ValueError(f"{name} must be finite and symmetric")
    smallest = float(np.linalg.eigvalsh(matrix).min())
    if smallest <= 1e-12:
        raise ValueError(f"{name} is not positive definite: its smallest eigenvalue is {smallest:.3g}")
    return np.linalg.cholesky(matrix)


def linear_breach(covariance: FloatArray, slope: FloatArray, level: float) -> Breach:
    """Exact distance for a linear rule: breach when slope' x >= level, x ~ N(0, covariance).

    beta = c / sqrt(a' Sigma a), x* = Sigma a c / (a' Sigma a).

    >>> sigma = np.array([[0.36, 0.135], [0.135, 0.2025]])
    >>> b = linear_breach(sigma, np.array([2.0, 3.0]), 3.0)
    >>> round(b.sigmas, 9), b.shock.round(8).tolist()
    (1.357688467, [0.69124424, 0.53917051])
    """
    lower = cholesky(covariance)
    spread = np.asarray(covariance, float) @ np.asarray(slope, float)
    variance = float(np.asarray(slope) @ spread)
    shock = spread * level / variance
    return Breach(level / variance**0.5 if level > 0 else 0.0, shock, _shares(np.linalg.solve(lower, shock)))


def nearest_breach(
    margin: Callable[[FloatArray], FloatArray],
    covariance: FloatArray,
    *,
    reach: float = 6.0,
    directions: int = 512,
    seed: int = 7,
) -> Breach:
    """Distance to the nearest point where ``margin`` falls to zero or below.

    margin: shocks (n, k) in the factors' own units -> margins (n,), positive while nothing is breached; it is called
    with many shocks at once. A start that is breached already has distance zero. ``reach`` bounds the search in
    standard deviations; beyond it the distance is infinite, which says "not within reach", not "never".

    >>> sigma = np.array([[0.36, 0.135], [0.135, 0.2025]])
    >>> b = nearest_breach(lambda x: 3.0 - x @ np.array([2.0, 3.0]), sigma)
    >>> round(b.sigmas, 6), b.shock.round(5).tolist()
    (1.357688, [0.69124, 0.53917])
    """

    def margins(which: Which, shocks: FloatArray) -> FloatArray:
        return margin(shocks.reshape(-1, shocks.shape[2])).reshape(shocks.shape[:2])

    (found,) = nearest_breaches(margins, cholesky(covariance)[None], reach=reach, directions=directions, seed=seed)
    return found


def nearest_breaches(
    margins: Margins, lowers: FloatArray, *, reach: float = 6.0, directions: int = 512, seed: int = 7
) -> tuple[Breach, ...]:
    """The distances of N cases at once, as :func:`nearest_breach` finds one.

    margins: (which cases (m,), their shocks (m, n, k)) -> margins (m, n); lowers (N, k, k): the lower factor of each
    case's covariance. All cases walk outward together and leave the search one by one, so the cost is that of a few
    large array operations instead of N searches.
    """
    n, k = lowers.shape[:2]
    search = Rays(margins, lowers)
    points = np.full((n, k), np.nan)
    start = margins(np.arange(n), np.zeros((n, 1, k)))[:, 0] <= 0
    points[start] = 0.0
    open_ = np.flatnonzero(~start)
    if len(open_):
        points[open_] = search.nearest(open_, _directions(k, directions, seed)[None], np.full(len(open_), reach))
        search.descend(points, open_[np.isfinite(points[open_, 0])], reach)
    shocks = np.matmul(lowers, points[:, :, None])[:, :, 0]
    sigmas = np.where(np.isnan(points[:, 0]), np.inf, np.linalg.norm(points, axis=1))
    return tuple(
        Breach(float(far), shock, _shares(point)) for far, shock, point in zip(sigmas, shocks, points, strict=True)
    )


def _directions(factors: int, count: int, seed: int) -> FloatArray:
    """Unit vectors: both ways along every axis, then seeded random ones."""
    axes = np.concatenate([np.eye(factors), -np.eye(factors)])
    rays = np.random.default_rng(seed).standard_normal((count, factors))
    rays = np.concatenate([axes, rays])
    unit: FloatArray = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return unit


class Rays:
    """Rays from the origin and the first breach on them, in standard deviations, for many cases at once."""

    def __init__(self, margins: Margins, lowers: FloatArray):
        self.margins, self.lowers = margins, lowers

    def nearest(self, which: Which, rays: FloatArray, reach: FloatArray, fine: Fineness = FIRST) -> FloatArray:
        """(m, k) nearest breach of each case on its rays (m or 1, n, k) within its own reach (m,); NaN where none.

        A scan outward ends for a case at the first radius at which one of its rays breaches; only the rays that breach
        there are followed to the crossing.
        """
        stretch = reach / fine.scans
        steps = np.matmul(rays, self.lowers[which].swapaxes(1, 2)) * stretch[:, None, None]
        points, left = np.full((len(which), rays.shape[2]), np.nan), np.arange(len(which))
        for scan in range(1, fine.scans + 1):
            hit = self.margins(which[left], steps[left] * scan) <= 0
            case, ray = np.nonzero(hit)
            if len(case):
                found = left[case]
                clear = (scan - 1) / scan
                radius = self._crossing(which[found], steps[found, ray] * scan, clear, fine.rounds)
                order = np.lexsort((radius, found))
                best = order[np.r_[True, np.diff(found[order]) != 0]]
                unit = rays[found[best] if len(rays) > 1 else 0, ray[best]]
                points[found[best]] = unit * (radius * stretch[found] * scan)[best][:, None]
                left = left[~hit.any(axis=1)]
            if not len(left):
                break
        return points

    def _crossing(self, which: Which, ends: FloatArray, clear: float, rounds: int) -> FloatArray:
        """(p,) share of the way to ``ends`` (p, k) at which a breach begins; up to the share ``clear`` there is none,
        at the ends there is one.

        Every round looks at several points between the two ends of the bracket at once.
        """
        low, high = np.full(len(ends), clear), np.ones(len(ends))
        inside = np.arange(1, CUTS) / CUTS
        for _ in range(rounds):
            shares = low[:, None] + (high - low)[:, None] * inside
            hit = self.margins(which, ends[:, None] * shares[:, :, None]) <= 0
            first = np.where(hit.any(axis=1), hit.argmax(axis=1), CUTS - 1)
            width = (high - low) / CUTS
            low, high = low + width * first, np.where(first == CUTS - 1, high, low + width * (first + 1))
        return high

    def descend(self, points: FloatArray, which: Which, reach: float) -> None:
        """Turn each ray towards the slope of the margin while that brings the breach nearer; ``points`` are moved."""
        k = points.shape[1]
        nudges = np.concatenate([np.zeros((1, k)), np.eye(k) * NUDGE])
        blends = np.linspace(0.0, 1.0, 9)[1:, None]
        for _ in range(30):
            here, best = points[which], np.linalg.norm(points[which], axis=1)
            shocks = np.matmul(here[:, None] + nudges, self.lowers[which].swapaxes(1, 2))
            values = self.margins(which, shocks)
            slope = (values[:, 1:] - values[:, :1]) / NUDGE
            size = np.linalg.norm(slope, axis=1)
            steep = np.isfinite(size) & (size > 0)
            if not steep.any():
                return
            which, here, best = which[steep], here[steep], best[steep]
            toward = (slope[steep] / size[steep, None])[:, None]
            rays = (1 - blends) * (here / best[:, None])[:, None] - blends * toward
            rays /= np.linalg.norm(rays, axis=2, keepdims=True)
            moved = self.nearest(which, rays, np.minimum(reach, best * 1.05), TURN)
            nearer = np.linalg.norm(moved, axis=1) < best * (1 - ENOUGH)  # no breach on these rays is NaN: not nearer
            which = which[nearer]
            if not len(which):
                return
            points[which] = moved[nearer]


def _shares(point: FloatArray) -> FloatArray:
    total = float(point @ point)
    return point**2 / total if total > 0 else np.zeros_like(point)
