"""Seeded paths of the factors: a t copula over named axes, the same numbers however the paths are cut.

Axes move together through a t copula (nu 4 by default), so that bad months come for everything at once: one mixing
variable per path scales the shocks of all axes and all periods, and every single shock is then mapped to a standard
normal. Three axes are named ``crypto``, ``rental`` and ``spread``; every other axis is a counterparty whose contracts
can be lost.

Paths are numbered. Numbers 4,096 k to 4,096 (k + 1) - 1 are made together from (seed, k) alone, whatever part of them
is asked for, in whatever order and by however many workers. scipy is loaded when the first path is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from monitor.model import FloatArray
from monitor.stress.conditioning import condition, mixing_scale, to_normal, to_t
from monitor.stress.inputs import Factors, period_low

if TYPE_CHECKING:
    from scipy.stats.qmc import Sobol

#: paths made together; the unit of reproducibility
MICRO_BLOCK = 4096
#: axes with a meaning of their own, in any order among the names
CRYPTO, RENTAL, SPREAD = PRICES = ("crypto", "rental", "spread")
#: bits of a scrambled Sobol point; half a cell keeps it off zero
SOBOL_BITS = 30
HALF_CELL = 2.0 ** -(SOBOL_BITS + 1)


@dataclass(frozen=True)
class Copula:
    """How the axes move together.

    ``names`` (F); ``correlation`` (F,F) of one period's shocks, uncorrelated between periods; ``nu`` degrees of
    freedom, infinite for a Gaussian copula; ``seed`` fixed by the caller; ``label`` names the matrix in errors.
    Raises ValueError if the matrix does not fit the names or is not a positive definite correlation.

    >>> Copula(("crypto", "rental", "spread"), np.eye(3), seed=1).lower.shape
    (3, 3)
    """

    names: tuple[str, ...]
    correlation: FloatArray
    nu: float = 4.0
    n_periods: int = 12
    seed: int = 0
    method: Literal["sobol", "antithetic"] = "sobol"
    label: str = "correlation"
    lower: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names) or not set(PRICES) <= set(self.names):
            raise ValueError(
                f"{self.label}: axes are {', '.join(self.names)}; name crypto, rental, spread and others once"
            )
        if not self.nu > 2 or self.n_periods < 1 or self.seed < 0:
            raise ValueError(f"{self.label}: nu must be above 2, n_periods at least 1, seed not negative")
        object.__setattr__(self, "lower", cholesky(self.correlation, self.names, self.label))


def cholesky(matrix: FloatArray, names: tuple[str, ...], label: str) -> FloatArray:
    """Lower factor of a correlation matrix; ValueError names the matrix, its axes and what is wrong with it.

    >>> cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]), ("crypto", "rental"), "stressed")
    Traceback (most recent call last):
    ...
    ValueError: stressed (crypto, rental): correlations must lie between -1 and 1
    """
    matrix, n = np.asarray(matrix, np.float64), len(names)
    what = f"{label} ({', '.join(names)})"
    if matrix.shape != (n, n) or not np.isfinite(matrix).all():
        raise ValueError(f"{what}: give {n} x {n} finite numbers, not shape {matrix.shape}")
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-12) or not np.allclose(np.diag(matrix), 1, rtol=0, atol=1e-12):
        raise ValueError(f"{what}: must be symmetric with ones on the diagonal")
    if (np.abs(matrix) > 1).any():
        raise ValueError(f"{what}: correlations must lie between -1 and 1")
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest < 1e-10:
        raise ValueError(
            f"{what}: not positive definite (smallest eigenvalue {smallest:.2g}); bring correlations nearer to 0"
        )
    return np.asarray(np.linalg.cholesky(matrix))


def tail_dependence(nu: float, rho: float) -> float:
    """Chance that one axis is in its extreme tail given that another is: 2 t_{nu+1}(-sqrt((nu+1)(1-rho)/(1+rho))).

    Zero for the Gaussian copula (nu infinite). Demarta and McNeil, International Statistical Review 73(1), 2005.

    >>> round(tail_dependence(4, 0.5), 6), tail_dependence(float("inf"), 0.5)
    (0.25317, 0.0)
    """
    from scipy.special import stdtr

    if not -1 < rho < 1 or not nu > 0:
        raise ValueError(f"rho is {rho} and nu {nu}: rho lies inside -1 and 1, nu above 0")
    if np.isinf(nu):
        return 0.0
    return float(2 * stdtr(nu + 1, -np.sqrt((nu + 1) * (1 - rho) / (1 + rho))))


def shocks(
    copula: Copula, block: int, given: Mapping[str, float] | None = None, periods: int | None = None
) -> FloatArray:
    """Shocks (T,F,4096) of one micro-block: standard normal on crypto, rental and spread, and on a counterparty's axis
    the t shock itself, because a loss asks for its rank alone.

    ``given``: crypto, rental or spread -> where it stands after ``periods`` (default: all of them), in standard
    deviations of that span. The others then follow their conditional distribution: through the correlation, and through
    the mixing variable, which a large move makes likely to be a wild one (:mod:`monitor.stress.conditioning`).
    """
    names, by = copula.names, copula.n_periods if periods is None else periods
    unknown = [name for name in given or {} if name not in PRICES]
    if unknown or block < 0 or not 0 < by <= copula.n_periods:
        raise ValueError(
            f"no axis {', '.join(unknown)} can be given; there are {', '.join(PRICES)}" if unknown
            else f"no block {block} or no period {by} of {copula.n_periods}"
        )  # fmt: skip
    mixing, normal = _draws((copula.n_periods, len(names)), copula.seed, copula.method, block)
    ahead = copula.lower @ normal
    if given:
        fixed, sigmas = [names.index(name) for name in given], np.array(list(given.values()), float)
        ahead *= condition(ahead, mixing, copula.correlation, fixed, sigmas, by, copula.nu)
    else:
        ahead *= mixing_scale(mixing, copula.nu)
    prices = [names.index(name) for name in PRICES]
    ahead[:, prices] = to_normal(ahead[:, prices], copula.nu)
    return ahead


@lru_cache(maxsize=2)
def _draws(
    shape: tuple[int, int], seed: int, method: Literal["sobol", "antithetic"], block: int
) -> tuple[FloatArray, FloatArray]:
    """Uniforms (4096,) for the mixing variable and independent normals (T,F,4096), from (seed, block) alone.

    The last ones are kept: several correlations of the same axes start from the same draws.
    """
    uniform, normal = _antithetic(shape, seed, block) if method == "antithetic" else _sobol(shape, seed, block)
    uniform.setflags(write=False)
    normal.setflags(write=False)
    return uniform, normal


def _antithetic(shape: tuple[int, int], seed: int, block: int) -> tuple[FloatArray, FloatArray]:
    stream = np.random.Generator(np.random.Philox(key=seed, counter=block << 128))
    half = stream.standard_normal((*shape, MICRO_BLOCK // 2))
    uniform = stream.random(MICRO_BLOCK // 2) * (1 - 2 * HALF_CELL) + HALF_CELL
    return np.tile(uniform, 2), np.concatenate((half, -half), axis=2)


def _sobol(shape: tuple[int, int], seed: int, block: int) -> tuple[FloatArray, FloatArray]:
    from scipy.special import ndtri

    points = _sobol_points(shape[0] * shape[1] + 1, seed, block)
    normal = np.ascontiguousarray(ndtri(points[:, 1:]).T)
    return points[:, 0].copy(), normal.reshape(*shape, MICRO_BLOCK)


def _sobol_points(dimensions: int, seed: int, block: int) -> FloatArray:
    """(4096,D) scrambled Sobol points of one block, half a cell off zero.

    A point is the exclusive or of the direction numbers at the bits of its number in Gray code. Blocks are a power of
    two long, so a block is the first one with the same bits turned in all of its points, those its number stands for.
    """
    turned = _first_block(dimensions, seed)
    for bit in range(block.bit_length()):
        if block >> bit & 1:
            turned = turned ^ _turn(dimensions, seed, bit)
    return np.asarray(turned * 2.0**-SOBOL_BITS + HALF_CELL)


@lru_cache(maxsize=1)
def _first_block(dimensions: int, seed: int) -> NDArray[np.uint32]:
    return _whole(_engine(dimensions, seed).random(MICRO_BLOCK))


@lru_cache(maxsize=32)
def _turn(dimensions: int, seed: int, bit: int) -> NDArray[np.uint32]:
    """(D,) bits that turn in every point when a bit of the block's number does."""
    engine = _engine(dimensions, seed)
    first = _whole(engine.random(1)[0])
    engine.fast_forward((MICRO_BLOCK << bit) - 1)
    return first ^ _whole(engine.random(1)[0])


def _engine(dimensions: int, seed: int) -> Sobol:
    from scipy.stats import qmc

    return qmc.Sobol(dimensions, scramble=True, bits=SOBOL_BITS, rng=np.random.default_rng(seed))


def _whole(points: FloatArray) -> NDArray[np.uint32]:
    return (points * 2.0**SOBOL_BITS).astype(np.uint32)


@dataclass(frozen=True)
class Market:
    """Where the factors stand and how each follows the axes. Rates and volatilities per year, M models, C
    counterparties.

    ``crypto`` and ``rental`` move as logarithms with ``crypto_vol`` and ``rental_vol``, without trend in the mean;
    ``spread`` moves by ``spread_vol`` (0.03 is 300 bp a year) from ``spread`` and not below zero. Hashprice, rents,
    residuals and utilisation follow by the given elasticities; residuals also fall by ``residual_decay`` whatever
    happens. Refinancing is shut where the spread is at or above ``refi_shut_spread``. A counterparty is lost with its
    yearly chance, on the low side of its axis, for good, with ``loss_share`` of its contracts. Chances are in the
    order of the copula's other axes."""

    btc_usd: float
    base_rate: float
    spread: float
    crypto_vol: float
    rental_vol: float
    spread_vol: float
    hashprice_elasticity: float = 1.0
    utilisation_elasticity: float = 0.0
    rent_elasticity: tuple[float, ...] = ()
    residual_elasticity: tuple[float, ...] = ()
    residual_decay: tuple[float, ...] = ()
    loss_chance: tuple[float, ...] = ()
    loss_share: float = 1.0
    refi_shut_spread: float = float("inf")

    def __post_init__(self) -> None:
        models = {len(self.rent_elasticity), len(self.residual_elasticity), len(self.residual_decay)}
        if len(models) > 1:
            raise ValueError(
                "rent_elasticity, residual_elasticity and residual_decay must have one number for every model"
            )
        positive = (self.crypto_vol, self.rental_vol, self.spread_vol, self.btc_usd)
        if not all(0 < number < float("inf") for number in positive):
            raise ValueError("crypto_vol, rental_vol, spread_vol and btc_usd must be above zero and finite")
        if not all(-0.5 <= rate < float("inf") for rate in (self.base_rate, self.spread)):
            raise ValueError("base_rate and spread are yearly rates as fractions, from -0.5 on")
        if any(not 0 <= chance <= 1 for chance in (*self.loss_chance, self.loss_share)):
            raise ValueError("loss_chance and loss_share are fractions between 0 and 1")


def simulate(
    copula: Copula,
    market: Market,
    start: int,
    stop: int,
    *,
    dt_years: float = 1 / 12,
    given: Mapping[str, float] | None = None,
    periods: int | None = None,
) -> Factors:
    """The factors of paths ``start`` to ``stop`` (exclusive), by number.

    ``given``: what has happened at the end of ``periods`` (default: of all of them) on every path: crypto or rental ->
    the level as a share of today's (0.6 is minus 40 %), spread -> the change (0.02 is plus 200 bp). Raises ValueError
    for an axis that cannot be given, a move beyond 8 standard deviations or a spread below zero.

    >>> copula = Copula(("crypto", "rental", "spread"), np.eye(3), seed=7, n_periods=3)
    >>> models = dict(rent_elasticity=(1.0,), residual_elasticity=(0.5,), residual_decay=(0.3,))
    >>> market = Market(60_000, 0.04, 0.05, 0.6, 0.45, 0.02, **models)
    >>> simulate(copula, market, 4_000, 4_500, given={"rental": 0.6}).rent[:, 0].std(axis=1).round(3).tolist()
    [0.096, 0.075, 0.0]
    """
    if not 0 <= start < stop:
        raise ValueError(f"paths {start} to {stop}: numbers begin at 0 and the end lies beyond the start")
    if len(market.loss_chance) != len(copula.names) - 3:
        raise ValueError(
            f"loss_chance has {len(market.loss_chance)} numbers for {len(copula.names) - 3} counterparties"
        )
    by = copula.n_periods if periods is None else periods
    scaled = {name: as_shock(name, move, market, by * dt_years) for name, move in (given or {}).items()}
    parts = []
    for block in range(start // MICRO_BLOCK, (stop - 1) // MICRO_BLOCK + 1):
        first = block * MICRO_BLOCK
        whole = as_factors(copula, market, shocks(copula, block, scaled, by), dt_years)
        parts.append(whole.part(max(start - first, 0), min(stop - first, MICRO_BLOCK)))
    joined = {f.name: np.concatenate([getattr(part, f.name) for part in parts], axis=-1) for f in fields(Factors)}
    return Factors(**joined)


def as_shock(name: str, move: float, market: Market, years: float) -> float:
    """A given move over some years in standard deviations of that span."""
    root = np.sqrt(years)
    if name == SPREAD:
        if not market.spread + move >= 0:
            raise ValueError(f"given {name} {move:+g}: it stands at {market.spread:g} and cannot fall below zero")
        return float(move / (market.spread_vol * root))
    if name not in PRICES or not move > 0:
        raise ValueError(
            f"given {name} = {move}: give crypto or rental as a share above 0 of today's level, or spread as a change"
        )
    vol = (market.crypto_vol if name == CRYPTO else market.rental_vol) * root
    return float((np.log(move) + vol**2 / 2) / vol)


def as_factors(copula: Copula, market: Market, z: FloatArray, dt_years: float) -> Factors:
    """Shocks (T,F,n) of :func:`shocks` as factors."""
    names, root = copula.names, np.sqrt(dt_years)
    years = (np.arange(len(z)) + 1)[:, None] * dt_years
    crypto, rental = (
        np.cumsum(z[:, names.index(name)], axis=0) * vol * root - vol**2 / 2 * years
        for name, vol in ((CRYPTO, market.crypto_vol), (RENTAL, market.rental_vol))
    )
    spread = market.spread + np.cumsum(z[:, names.index(SPREAD)], axis=0) * market.spread_vol * root
    others = [k for k, name in enumerate(names) if name not in PRICES]
    price, shape = np.exp(crypto), crypto.shape
    decay = np.array(market.residual_decay)[None, :, None] * years[:, None]
    residual = _powers(rental, market.residual_elasticity)
    if decay.any():
        residual = residual * np.exp(-decay)
    flat = {name: np.broadcast_to(np.float64(value), shape) for name, value in (
        ("btc_low", period_low(market.crypto_vol, dt_years)), ("base_rate", market.base_rate), ("power", 1.0),
        ("liquidation_share", 1.0),
    )}  # fmt: skip
    # not Factors.build: a checked market and finite shocks cannot make a number it would refuse
    return Factors(
        btc_usd=market.btc_usd * price, hashprice=_power(price, crypto, market.hashprice_elasticity),
        rent=_powers(rental, market.rent_elasticity), residual=residual,
        utilisation=_powers(rental, (market.utilisation_elasticity,))[:, 0],
        spread=np.maximum(spread, 0.0), refi_open=(spread < market.refi_shut_spread) * 1.0,
        contract_loss=_losses(z[:, others], copula.nu, market, dt_years), **flat,
    )  # fmt: skip


def _power(price: FloatArray, log: FloatArray, elasticity: float) -> FloatArray:
    """exp(elasticity log) where exp(log) is there already."""
    return price if elasticity == 1 else np.exp(elasticity * log)


def _powers(log: FloatArray, elasticities: tuple[float, ...]) -> FloatArray:
    """exp(elasticity log) per model (T,M,n); one array seen M times where all models move alike."""
    alike = len(set(elasticities)) == 1
    made = np.exp(np.array(elasticities[:1] if alike else elasticities)[None, :, None] * log[:, None])
    return np.broadcast_to(made, (len(log), len(elasticities), log.shape[1])) if alike else made


def _losses(t: FloatArray, nu: float, market: Market, dt_years: float) -> FloatArray:
    """Lost share of each counterparty's contracts (T,C,n), from the first period its shock falls below its quantile."""
    from scipy.special import ndtri

    chance = 1 - (1 - np.array(market.loss_chance)) ** dt_years
    lost = t < to_t(ndtri(chance), nu)[None, :, None]
    for step in range(1, len(lost)):
        lost[step] |= lost[step - 1]
    return np.asarray(lost * market.loss_share)
