"""Given where some axes stand after some periods, what all axes do: exact conditioning of the t copula. Pure.

A path's shocks are t shocks, one mixing variable times correlated normals, each mapped to a standard normal; an axis
moves by the sum of its mapped shocks. Given that sum, the normals of the axis are a mean and what they vary around it,
the two independent; for every mixing variable and every variation exactly one mean brings the sum about. The pair is
drawn as it is likely when the move comes evenly, and then drawn again among the paths of the block in proportion to
what is left of its likelihood: nothing for one period or a Gaussian copula, where the first draw is exact. The other
axes follow by their regression on the given ones, period by period; periods after the last given one are free."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.model import FloatArray

#: a mean is found when the sum of the mapped shocks is this close, and at most this many steps are taken
CLOSE, STEPS = 1e-12, 80
#: most standard deviations of the whole span that can be given
MOST_SIGMAS = 8.0


def to_normal(t: FloatArray, nu: float) -> FloatArray:
    """Normal shocks where the t shocks stand; by way of the lower tail, where probabilities keep their digits."""
    from scipy.special import ndtri

    return t if np.isinf(nu) else np.asarray(-np.sign(t) * ndtri(lower_tail(-np.abs(t), nu)))


def to_t(z: FloatArray, nu: float) -> FloatArray:
    """The t quantiles that stand where the normal shocks z stand.

    >>> to_normal(to_t(np.array([-2.0, 3.0]), 4.0), 4.0).round(9).tolist()
    [-2.0, 3.0]
    """
    from scipy.special import ndtr, stdtrit

    return np.asarray(z if np.isinf(nu) else -np.sign(z) * stdtrit(nu, ndtr(-np.abs(z))))


def lower_tail(t: FloatArray, nu: float) -> FloatArray:
    """Student's distribution function at t <= 0.

    For nu 4 it is q^2 (3 - q) / 4 with q = 1 + t / r, r = sqrt(t^2 + 4): several times faster than the general
    function, and q is written without the cancellation.

    >>> lower_tail(np.array([-2.131846786]), 4).round(9).tolist()
    [0.05]
    """
    if nu != 4:
        from scipy.special import stdtr

        return np.asarray(stdtr(nu, t))
    r = np.sqrt(t * t + 4)
    q = 4 / (r * (r - t))
    return np.asarray(q * q * (3 - q) / 4)


def mixing_scale(uniform: FloatArray, nu: float, given: int = 0, distance: float = 0.0) -> FloatArray:
    """What one mixing variable (n,) multiplies all normals of its path with: sqrt(nu / chi2), chi2 with nu degrees of
    freedom; after ``given`` shocks at a squared distance with ``nu + given``, divided by 1 + distance / nu."""
    from scipy.special import gammaincinv

    if np.isinf(nu):
        return np.ones_like(uniform)
    return np.asarray(np.sqrt(nu * (1 + distance / nu) / (2 * gammaincinv((nu + given) / 2, uniform))))


def condition(
    normals: FloatArray, uniform: FloatArray, correlation: FloatArray, fixed: Sequence[int], sigmas: FloatArray,
    periods: int, nu: float,
) -> FloatArray:  # fmt: skip
    """Move the correlated normals (T,F,n) so that, scaled and mapped, each ``fixed`` axis (k) has moved by ``sigmas``
    (k,) standard deviations of the span over the first ``periods``; returns the scale of each path (n,).

    ValueError for a move beyond 8 standard deviations, which no number of paths says anything about.
    """
    far = sigmas[~(np.abs(sigmas) <= MOST_SIGMAS)]
    if len(far):
        raise ValueError(f"a given move of {far[0]:.3g} standard deviations; at most {MOST_SIGMAS:g} either way")
    at = list(fixed)
    inner = correlation[np.ix_(at, at)]
    even = to_t(sigmas / np.sqrt(periods), nu)
    far_even = float(periods * even @ np.linalg.solve(inner, even))
    scale = mixing_scale(uniform, nu, len(at), far_even)
    before = normals[:periods, at]
    spread = before - before.mean(axis=0)
    mean, slope = _means(spread, scale, even, sigmas * np.sqrt(periods), nu)
    if periods > 1 and np.isfinite(nu):
        far_here = periods * (mean * np.linalg.solve(inner, mean)).sum(axis=0)
        log_weight = len(at) * np.log(scale) - np.log(slope).sum(axis=0) - (far_here - far_even / scale**2) / 2
        again = _drawn_again(log_weight)
        mean, spread, scale = mean[:, again], spread[..., again], scale[again]
    weights = np.linalg.solve(inner, correlation[at]).T
    normals[:periods] += weights @ (mean + spread - before)
    normals[:periods, at] = mean + spread
    return scale


def _drawn_again(log_weight: FloatArray) -> NDArray[np.int64]:
    """(n,) numbers of the paths to take, each as often as its weight says, spread evenly over the block."""
    weight = np.exp(log_weight - log_weight.max())
    reached = np.cumsum(weight) / weight.sum()
    n = len(weight)
    return np.minimum(np.searchsorted(reached, (np.arange(n) + 0.5) / n), n - 1)


def _means(
    spread: FloatArray, scale: FloatArray, even: FloatArray, total: FloatArray, nu: float
) -> tuple[FloatArray, FloatArray]:
    """(k,n) the mean around which normals that vary by ``spread`` (H,k,n) add up, scaled and mapped, to ``total`` (k,);
    and the slope of that sum. Newton's steps, halving where one would leave the bracket."""
    middle = even[:, None] / scale
    low, high = middle - spread.max(axis=0), middle - spread.min(axis=0)
    mean, slope = np.clip(middle, low, high), np.empty(low.shape)
    for k in range(len(even)):
        left = np.arange(len(scale))
        for _ in range(STEPS):
            value, rise = _sum(mean[k, left] + spread[:, k, left], scale[left], nu)
            value, slope[k, left] = value - total[k], rise
            high[k, left] = np.where(value > 0, mean[k, left], high[k, left])
            low[k, left] = np.where(value < 0, mean[k, left], low[k, left])
            open_ = np.abs(value) > CLOSE * len(spread)
            left, step = left[open_], (value / rise)[open_]
            if not len(left):
                break
            ahead = mean[k, left] - step
            inside = (ahead > low[k, left]) & (ahead < high[k, left])
            mean[k, left] = np.where(inside, ahead, (low[k, left] + high[k, left]) / 2)
    return mean, slope


def _sum(normals: FloatArray, scale: FloatArray, nu: float) -> tuple[FloatArray, FloatArray]:
    """(m,) sum of the mapped shocks of normals (H,m), and its slope when all of them move together."""
    if np.isinf(nu):
        return normals.sum(axis=0), np.full(len(scale), float(len(normals)))
    from scipy.special import gammaln

    t = normals * scale
    z = to_normal(t, nu)
    log_density = gammaln((nu + 1) / 2) - gammaln(nu / 2) - np.log(nu / 2) / 2 - (nu + 1) / 2 * np.log1p(t * t / nu)
    return z.sum(axis=0), scale * np.exp(log_density + z * z / 2).sum(axis=0)
