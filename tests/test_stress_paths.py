"""Paths: the same numbers however they are cut, the right dependence, exact conditioning, clear errors."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from monitor.stress.drivers import run
from monitor.stress.inputs import CellInputs, Factors
from monitor.stress.paths import MICRO_BLOCK, Copula, Market, cholesky, lower_tail, shocks, simulate, tail_dependence

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
    z = np.concatenate([shocks(replace(COPULA, method=method), k) for k in range(4)], axis=2)
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
def test_given_rental_minus_40_percent(method: str) -> None:
    """The given axis stands exactly where it was put in the first period; the others lean as they are correlated."""
    copula = replace(COPULA, method=method)
    free, under = simulate(copula, MARKET, 0, 8_192), simulate(copula, MARKET, 0, 8_192, given={"rental": 0.6})
    assert under.rent[0, 0] == pytest.approx(0.6, rel=1e-9)
    assert under.rent[3, 0].std() > 0.05
    assert np.median(under.btc_usd[0]) < np.median(free.btc_usd[0]) * 0.9
    assert np.median(under.spread[0]) > np.median(free.spread[0])
    assert under.contract_loss[0].mean() > 5 * free.contract_loss[0].mean()


def test_conditioning_agrees_with_selecting() -> None:
    """Given shock of -2: the other axis has the distribution seen among unconditional paths that came near -2."""
    copula = replace(COPULA, n_periods=2)
    z = np.concatenate([shocks(copula, k) for k in range(30)], axis=2)
    near = np.abs(z[0, 1] + 2.0) < 0.12
    given = np.concatenate([shocks(copula, k, {"rental": -2.0}) for k in range(2)], axis=2)
    assert given[0, 1] == pytest.approx(-2.0)
    assert near.sum() > 1_000
    for period, axis in ((0, 0), (0, 3), (1, 0)):
        seen, made = z[period, axis, near], given[period, axis]
        assert stats.ks_2samp(seen, made).statistic < 0.04, (period, axis)


def test_conditioning_on_every_axis_and_on_several() -> None:
    """Several axes can be given together, all of them too, and a Gaussian copula as well."""
    every = dict(zip(NAMES, (-1.0, 0.5, 2.0, 0.0), strict=True))
    for copula in (COPULA, replace(COPULA, nu=float("inf"))):
        assert shocks(copula, 0, every)[0] == pytest.approx(
            np.array(list(every.values()))[:, None] * np.ones(MICRO_BLOCK)
        )
        two = shocks(copula, 0, {"crypto": -1.0, "spread": 1.5})[0]
        assert two[[0, 2], 0] == pytest.approx([-1.0, 1.5])


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
    with pytest.raises(ValueError, match="no axis oil"):
        shocks(COPULA, 0, {"oil": 1.0})
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
