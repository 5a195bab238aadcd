"""The smallest joint shock that breaks a borrower: distance to breach in standard deviations, and its direction. Pure.

Source: Hasofer and Lind, "Exact and Invariant Second-Moment Code Format" (1974): minimise ||x|| over breaching shocks
with x = L^-1 z, Sigma = L L'. The search below works for any margin function: a start from many directions, then the
Hasofer-Lind-Rackwitz-Fiessler step on a numerical slope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from monitor.model import FloatArray


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
    with all directions at once. A start that is breached already has distance zero. ``reach`` bounds the search in
    standard deviations; beyond it the distance is infinite, which says "not within reach", not "never".

    >>> sigma = np.array([[0.36, 0.135], [0.135, 0.2025]])
    >>> b = nearest_breach(lambda x: 3.0 - x @ np.array([2.0, 3.0]), sigma)
    >>> round(b.sigmas, 6), b.shock.round(5).tolist()
    (1.357688, [0.69124, 0.53917])
    """
    lower = cholesky(covariance)
    factors = len(lower)
    if float(margin(np.zeros((1, factors)))[0]) <= 0:
        return Breach(0.0, np.zeros(factors), np.zeros(factors))
    rays = _directions(factors, directions, seed)
    radius = _first_crossing(margin, lower, rays, reach)
    best = int(np.argmin(radius))
    if not np.isfinite(radius[best]):
        return Breach(np.inf, np.full(factors, np.nan), np.full(factors, np.nan))
    point = _descend(margin, lower, rays[best] * radius[best], float(radius[best]), reach)
    return Breach(float(np.linalg.norm(point)), lower @ point, _shares(point))


def _directions(factors: int, count: int, seed: int) -> FloatArray:
    """Unit vectors: both ways along every axis and all diagonals of pairs, then seeded random ones."""
    axes = np.concatenate([np.eye(factors), -np.eye(factors)])
    rays = np.random.default_rng(seed).standard_normal((count, factors))
    rays = np.concatenate([axes, rays])
    unit: FloatArray = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return unit


def _first_crossing(
    margin: Callable[[FloatArray], FloatArray], lower: FloatArray, rays: FloatArray, reach: float, steps: int = 24
) -> FloatArray:
    """Smallest radius at which each ray breaches (scan, then bisection), infinite where it does not within reach."""
    low, high = np.zeros(len(rays)), np.full(len(rays), np.inf)
    for radius in np.linspace(reach / steps, reach, steps):
        breached = (margin((rays * radius) @ lower.T) <= 0) & ~np.isfinite(high)
        high = np.where(breached, radius, high)
        low = np.where(np.isfinite(high), low, radius)
    found = np.isfinite(high)
    low = np.where(found, np.maximum(high - reach / steps, 0.0), 0.0)
    upper = np.where(found, high, 0.0)
    for _ in range(40):
        middle = (low + upper) / 2
        breached = margin((rays * middle[:, None]) @ lower.T) <= 0
        low, upper = np.where(breached, low, middle), np.where(breached, middle, upper)
    return np.where(found, upper, np.inf)


def _descend(
    margin: Callable[[FloatArray], FloatArray], lower: FloatArray, point: FloatArray, best: float, reach: float
) -> FloatArray:
    """Turn the ray towards the slope of the margin while that brings the breach nearer."""
    for _ in range(30):
        nudges = np.concatenate([np.zeros((1, len(point))), np.eye(len(point)) * 1e-5])
        values = margin((point + nudges) @ lower.T)
        slope = (values[1:] - values[0]) / 1e-5
        size = float(np.linalg.norm(slope))
        if not np.isfinite(size) or size == 0:
            return point
        blends = np.linspace(0.0, 1.0, 9)[1:, None]
        rays = (1 - blends) * point / np.linalg.norm(point) - blends * slope / size
        rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        radius = _first_crossing(margin, lower, rays, min(reach, best * 1.05))
        nearest = int(np.argmin(radius))
        if not radius[nearest] < best * (1 - 1e-10):
            return point
        best, point = float(radius[nearest]), rays[nearest] * radius[nearest]
    return point


def _shares(point: FloatArray) -> FloatArray:
    total = float(point @ point)
    return point**2 / total if total > 0 else np.zeros_like(point)
