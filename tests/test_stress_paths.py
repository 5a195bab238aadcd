"""Paths: the same numbers however they are cut, the right dependence, exact conditioning, clear errors."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from monitor.model import FloatArray
from monitor.stress.conditioning import lower_tail, to_normal
from monitor.stress.drivers import run
from monitor.stress.inputs import CellInputs, Factors
from monitor.stress.paths import (
    HALF_CELL,
    MICRO_BLOCK,
    PRICES,
    Copula,
    Market,
    _sobol_points,
    cholesky,
    shocks,
    simulate,
    tail_dependence,
)

NAMES = ("crypto", "rental", "spread", "Large Tenant")
CORRELATION = np.array([[1, 0.35, -0.3, 0.2], [0.35, 1, -0.2, 0.4], [-0.3, -0.2, 1, -0.3], [0.2, 0.4, -0.3, 1]])
COPULA = Copula(NAMES, CORRELATION, n_periods=4, seed=11)
MARKET = Market(
    60_000, 0.04, 0.05, 0.6, 0.45, 0.02, hashprice_elasticity=0.7, rent_elasticity=(1.0, 0.8), refi_shut_spread=0.06,
    residual_elasticity=(0.5, 0.6), residual_decay=(0.3, 0.25), loss_chance=(0.05,), loss_share=0.9,
)  # fmt: skip
METHODS = ["sobol", "antithetic"]


def same(a: Factors, b: Factors) -> bool:
    """Bit for bit."""
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Factors))


def joined(parts: list[Factors]) -> Factors:
    """Pieces side by side."""
    return Factors(**{f.name: np.concatenate([getattr(p, f.name) for p in parts], -1) for f in fields(Factors)})


def normals(
    copula: Copula, block: int, given: dict[str, float] | None = None, periods: int | None = None
) -> FloatArray:
    """Shocks with a counterparty's mapped to normals like the others."""
    z = shocks(copula, block, given, periods)
    rest = [k for k, name in enumerate(copula.names) if name not in PRICES]
    z[:, rest] = to_normal(z[:, rest], copula.nu)
    return z


@pytest.mark.parametrize(
    ("rho", "value"), [(0.0, 0.075587), (0.3, 0.161757), (0.5, 0.253170), (0.7, 0.390684), (0.9, 0.629812)]
)
def test_tail_dependence_has_the_published_values(rho: float, value: float) -> None:
    """The t copula with nu 4 has the published tail dependence; the Gaussian has none."""
    assert tail_dependence(4, rho) == pytest.approx(value, abs=5e-7)
    assert tail_dependence(float("inf"), rho) == 0


def test_the_short_form_of_the_t_distribution_is_exact() -> None:
    """For nu 4 the closed form agrees with the general function far into the tail."""
    t = -np.logspace(-6, 3, 400)
    np.testing.assert_allclose(lower_tail(t, 4), special.stdtr(4, t), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=4, deadline=None)
@given(cuts=st.lists(st.integers(1, 9_999), max_size=5))
def test_any_cutting_gives_the_same_bits(method: str, cuts: list[int]) -> None:
    """Ten thousand paths at once, or in any pieces, are the same numbers."""
    copula = replace(COPULA, method=method, n_periods=2)
    edges = sorted({0, 10_000, *cuts})
    parts = [simulate(copula, MARKET, a, b) for a, b in pairwise(edges)]
    assert same(joined(parts), simulate(copula, MARKET, 0, 10_000))


def test_any_cutting_gives_the_same_answer() -> None:
    """Breaches and extremes of a row do not depend on how its paths were cut either."""
    inputs = CellInputs.build(
        1, 4, n_models=2, n_counterparties=1, n_debts=1, contracted_usd=5.0, spot_usd=1.0, cash_usd=9.0, debt_usd=90.0,
        floating_share=1, margin=0.05, principal_usd=3.0, dscr_min=1.3,
    )  # fmt: skip
    whole = run(inputs, simulate(COPULA, MARKET, 0, 6_000))
    parts = [run(inputs, simulate(COPULA, MARKET, a, b)) for a, b in ((0, 4_000), (4_000, 4_001), (4_001, 6_000))]
    for name in ("first", "code", "margin", "min_dscr", "min_cash"):
        np.testing.assert_array_equal(getattr(whole, name), np.hstack([getattr(part, name) for part in parts]))
    assert 0 < (whole.code > 0).mean() < 1


@settings(max_examples=12, deadline=None)
@given(dimensions=st.integers(1, 40), seed=st.integers(0, 9), block=st.integers(0, 40))
def test_a_block_is_the_one_the_generator_would_reach(dimensions: int, seed: int, block: int) -> None:
    """Turning bits of the first block gives the points that the Sobol generator makes when it walks that far."""
    engine = stats.qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    if block:
        engine.fast_forward(block * MICRO_BLOCK)
    np.testing.assert_array_equal(_sobol_points(dimensions, seed, block), engine.random(MICRO_BLOCK) + HALF_CELL)


@pytest.mark.parametrize("method", METHODS)
def test_seed_decides_everything_and_blocks_differ(method: str) -> None:
    """Same seed, same numbers; another seed or another block, others."""
    copula = replace(COPULA, method=method)
    np.testing.assert_array_equal(shocks(copula, 1), shocks(copula, 1))
    assert not np.allclose(shocks(copula, 1), shocks(copula, 0))
    assert not np.allclose(shocks(copula, 1), shocks(replace(copula, seed=12), 1))


@pytest.mark.parametrize("method", METHODS)
def test_every_shock_is_standard_normal(method: str) -> None:
    """Marginals of the copula: mean, spread and tails of a standard normal in every period and axis."""
    z = np.concatenate([normals(replace(COPULA, method=method), k) for k in range(4)], axis=2)
    assert np.isfinite(z).all()
    assert np.abs(z.mean(axis=2)).max() < 0.03
    assert np.abs(z.std(axis=2) - 1).max() < 0.05
    assert np.abs((z < -1.644854).mean(axis=2) - 0.05).max() < 0.01


def test_dependence_is_the_t_copulas() -> None:
    """Kendall's tau is 2/pi asin(rho), and joint extremes come far more often than under a Gaussian copula."""
    copula = Copula(
        ("crypto", "rental", "spread"), np.array([[1, 0.7, 0], [0.7, 1, 0], [0, 0, 1]]), n_periods=1, seed=3
    )
    z = np.concatenate([shocks(copula, k) for k in range(8)], axis=2)[0]
    assert stats.kendalltau(z[0, :6000], z[1, :6000]).statistic == pytest.approx(2 / np.pi * np.arcsin(0.7), abs=0.02)
    gauss = np.concatenate([shocks(replace(copula, nu=float("inf")), k) for k in range(8)], axis=2)[0]
    joint = [float((x[0] < -2.575829)[x[1] < -2.575829].mean()) for x in (z, gauss)]
    assert joint[0] == pytest.approx(0.42, abs=0.08)  # the limit is 0.391, approached from above
    assert joint[0] > 1.4 * joint[1]
    assert abs(np.corrcoef(z[0] ** 2, z[2] ** 2)[0, 1]) > 0.05  # uncorrelated axes still share the bad months


def test_antithetic_paths_are_mirrored() -> None:
    """The second half of a block is the first half turned round."""
    z = shocks(replace(COPULA, method="antithetic"), 2)
    np.testing.assert_array_equal(z[..., : MICRO_BLOCK // 2], -z[..., MICRO_BLOCK // 2 :])


# ---------------------------------------------------------------- given
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("periods", [1, 3, 4])
def test_given_rental_minus_40_percent(method: str, periods: int) -> None:
    """Every path stands exactly where it was put at that month, wanders before and after it, and the others lean as
    they are correlated."""
    copula = replace(COPULA, method=method)
    free, under = (
        simulate(copula, MARKET, 0, 8_192, **how) for how in ({}, {"given": {"rental": 0.6}, "periods": periods})
    )
    np.testing.assert_allclose(under.rent[periods - 1, 0], 0.6, rtol=1e-9)
    for t in set(range(4)) - {periods - 1}:
        assert under.rent[t, 0].std() > 0.05, t
    at = periods - 1
    assert np.median(under.btc_usd[at]) < np.median(free.btc_usd[at]) * 0.95
    assert np.median(under.spread[at]) > np.median(free.spread[at])
    assert under.contract_loss[at].mean() > 2 * free.contract_loss[at].mean()


def test_the_last_month_is_the_month_unless_another_is_said() -> None:
    """A move without its month is reached at the horizon of the paths."""
    assert same(
        simulate(COPULA, MARKET, 0, 500, given={"rental": 0.6}),
        simulate(COPULA, MARKET, 0, 500, given={"rental": 0.6}, periods=4),
    )


@pytest.mark.parametrize(("periods", "sigmas", "blocks"), [(1, -2.0, 30), (3, -2.5, 80), (4, 1.5, 30)])
def test_conditioning_agrees_with_selecting(periods: int, sigmas: float, blocks: int) -> None:
    """Given a move, every axis and the given one on the way have the distribution seen among unconditional paths that
    came near that move: where it leads, on which way and how wild are all exact."""
    far = sigmas * np.sqrt(periods)
    z = np.concatenate([normals(COPULA, k) for k in range(blocks)], axis=2)
    near = np.abs(z[:periods, 1].sum(axis=0) - far) < 0.1 * np.sqrt(periods)
    given = np.concatenate([normals(COPULA, k, {"rental": sigmas}, periods) for k in range(3)], axis=2)
    np.testing.assert_allclose(given[:periods, 1].sum(axis=0), far, atol=1e-9)
    assert near.sum() > 900

    def told(z: FloatArray) -> dict[str, FloatArray]:
        """What is compared: other axes by then and in the end, the first month, the wildest month."""
        by = z[:periods].sum(axis=0)
        found = {"crypto": by[0], "spread": by[2], "tenant": by[3], "crypto at the end": z[:, 0].sum(axis=0)}
        found["wildest"] = np.abs(z[:, 2]).max(axis=0)
        own = {"rental at first": z[0, 1], "rental at its wildest": np.abs(z[:periods, 1]).max(axis=0)}
        return found | (own if periods > 1 else {})

    seen, made = told(z[:, :, near]), told(given)
    for name in seen:
        assert stats.ks_2samp(seen[name], made[name]).statistic < 0.055, name


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0.5, 1.8), periods=st.integers(1, 4))
def test_without_correlation_the_others_stay_as_they_are(share: float, periods: int) -> None:
    """Under a Gaussian copula without correlation the other axes are the same numbers; under the t copula they go
    nowhere in the middle, and share only how wild the path is."""
    gauss = Copula(NAMES, np.eye(4), nu=float("inf"), n_periods=4, seed=5)
    free, under = (simulate(gauss, MARKET, 0, 2_000, given=g, periods=periods) for g in (None, {"rental": share}))
    for name in ("btc_usd", "spread", "contract_loss"):
        np.testing.assert_allclose(getattr(under, name), getattr(free, name), rtol=1e-12)
    tied = replace(gauss, nu=4.0)
    lean = np.median(shocks(tied, 0, {"rental": np.log(share)}, periods)[:periods, [0, 2]].sum(axis=0), axis=1)
    assert np.abs(lean).max() < 0.12


@settings(max_examples=10, deadline=None)
@given(drop=st.floats(0.5, 2.5), periods=st.integers(1, 4), rho=st.sampled_from([0.35, 0.7, 0.9]))
def test_with_correlation_the_others_move_along(drop: float, periods: int, rho: float) -> None:
    """The median of the other axis moves the given one's way, further the stronger they are tied, never further."""
    copula = Copula(NAMES[:3], np.array([[1, rho, 0], [rho, 1, 0], [0, 0, 1]]), n_periods=4, seed=6)
    lean = np.median(shocks(copula, 0, {"rental": -drop}, periods)[:periods, 0].sum(axis=0)) / np.sqrt(periods)
    assert -drop * 1.05 < lean < -0.7 * rho * drop


def test_several_axes_can_be_given_together() -> None:
    """All three axes, or two of them, each at its own level; and with a Gaussian copula as well."""
    every = dict(zip(NAMES, (-1.0, 0.5, 2.0), strict=False))
    for copula in (COPULA, replace(COPULA, nu=float("inf"))):
        for periods in (1, 4):
            told = shocks(copula, 0, every, periods)[:periods, :3].sum(axis=0) / np.sqrt(periods)
            np.testing.assert_allclose(told, np.array(list(every.values()))[:, None] * np.ones(MICRO_BLOCK), atol=1e-9)
            two = shocks(copula, 0, {"crypto": -1.0, "spread": 1.5}, periods)[:periods].sum(axis=0) / np.sqrt(periods)
            np.testing.assert_allclose(two[[0, 2], 0], [-1.0, 1.5], atol=1e-9)


def test_a_given_move_is_the_same_numbers_however_paths_are_cut() -> None:
    """Conditional paths too come from the seed and their number alone."""
    whole = simulate(COPULA, MARKET, 0, 9_000, given={"rental": 0.7})
    parts = [simulate(COPULA, MARKET, a, b, given={"rental": 0.7}) for a, b in ((0, 10), (10, 5_000), (5_000, 9_000))]
    assert same(joined(parts), whole)


# ---------------------------------------------------------------- factors
def test_factors_follow_their_axes() -> None:
    """Elasticities, decay, a refinancing window shut by the spread, and losses that stay lost."""
    f = simulate(COPULA, MARKET, 0, 5_000)
    np.testing.assert_allclose(f.hashprice, (f.btc_usd / 60_000) ** 0.7)
    np.testing.assert_allclose(f.rent[:, 1], f.rent[:, 0] ** 0.8)
    years = (np.arange(4) + 1)[:, None] / 12
    np.testing.assert_allclose(f.residual[:, 0], f.rent[:, 0] ** 0.5 * np.exp(-0.3 * years))
    np.testing.assert_array_equal(f.refi_open == 0, f.spread >= 0.06)
    assert 0 < f.refi_open.mean() < 1
    assert (np.diff(f.contract_loss, axis=0) >= 0).all()
    assert set(np.unique(f.contract_loss)) == {0.0, 0.9}
    assert (f.contract_loss[3] > 0).mean() == pytest.approx(1 - 0.95 ** (4 / 12), abs=0.01)
    assert np.log(f.btc_usd[3] / 60_000).std() == pytest.approx(0.6 * np.sqrt(4 / 12), rel=0.05)
    assert f.btc_usd[0].mean() == pytest.approx(60_000, rel=0.01)


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        ([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]], "not positive definite"),
        ([[1, 0.5, 0], [0.4, 1, 0], [0, 0, 1]], "symmetric"),
        ([[1, 1.2, 0], [1.2, 1, 0], [0, 0, 1]], "between -1 and 1"),
        ([[1, 0], [0, 1]], "3 x 3"),
        ([[1, np.nan, 0], [np.nan, 1, 0], [0, 0, 1]], "finite"),
    ],
)
def test_a_bad_matrix_is_named(matrix: list[list[float]], says: str) -> None:
    """An unusable correlation is refused with its name, its axes and what is wrong."""
    with pytest.raises(ValueError, match=rf"rho high \(crypto, rental, spread\).*{says}"):
        cholesky(np.array(matrix, float), ("crypto", "rental", "spread"), "rho high")
    with pytest.raises(ValueError, match=says):
        Copula(("crypto", "rental", "spread"), np.array(matrix, float), label="rho high")


def test_bad_requests_are_refused() -> None:
    """Unknown axes, impossible moves, misnumbered paths and counterparties without a chance are errors that say so."""
    with pytest.raises(ValueError, match="no axis oil can be given; there are crypto, rental, spread"):
        shocks(COPULA, 0, {"oil": 1.0})
    with pytest.raises(ValueError, match="no period 5 of 4"):
        shocks(COPULA, 0, {"rental": 1.0}, 5)
    with pytest.raises(ValueError, match="standard deviations"):
        shocks(COPULA, 0, {"rental": float("nan")})
    with pytest.raises(ValueError, match="cannot fall below zero"):
        simulate(COPULA, MARKET, 0, 9, given={"spread": -0.06})
    with pytest.raises(ValueError, match="standard deviations"):
        simulate(COPULA, MARKET, 0, 9, given={"crypto": 1e-6})
    with pytest.raises(ValueError, match="given Large Tenant"):
        simulate(COPULA, MARKET, 0, 9, given={"Large Tenant": 0.5})
    with pytest.raises(ValueError, match="paths 5 to 5"):
        simulate(COPULA, MARKET, 5, 5)
    with pytest.raises(ValueError, match="loss_chance has 0 numbers for 1"):
        simulate(COPULA, replace(MARKET, loss_chance=()), 0, 9)
    with pytest.raises(ValueError, match="one number for every model"):
        replace(MARKET, residual_decay=(0.3,))
    with pytest.raises(ValueError, match="name crypto, rental, spread"):
        Copula(("crypto", "rental"), np.eye(2))
