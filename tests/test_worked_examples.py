"""The worked examples of the model, to the digits given. Sources stand in the docstrings of the functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from monitor.stress.attribution import shapley
from monitor.stress.network import clear, debtrank, restore_by_selling
from monitor.stress.ratios import cover_ratios, hardware_ltv_path, merton, merton_from_equity
from monitor.stress.reverse import cholesky, linear_breach, nearest_breach

CYCLE = 0.5 * np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


def test_eisenberg_noe_with_equal_ranking() -> None:
    """Three that owe each other a half and outsiders: two default, the third pays in full."""
    owed = 0.5 * (1 - np.eye(3))
    done = clear(owed, np.array([1 / 2, 5 / 8, 3 / 4]), np.array([3 / 2, 1 / 2, 1 / 2]))
    np.testing.assert_allclose(done.payments_usd, [1.4732143, 1.4196429, 1.5], atol=5e-8)
    assert done.defaulted.tolist() == [True, True, False]


def test_senior_external_creditors() -> None:
    """Outsiders are paid first; the one at exactly zero equity pays in full."""
    owed = np.array([[0.0, 4, 0], [0, 0, 3], [2, 0, 0]])
    done = clear(owed, 0.9 * np.array([20.0, 20, 10]), np.array([17.0, 18, 8]), external_is_senior=True)
    np.testing.assert_allclose(done.payments_usd, [3, 3, 2])
    np.testing.assert_allclose(done.equity_usd, [-1, 0, 2], atol=1e-12)
    assert done.defaulted.tolist() == [True, False, False]


def test_rogers_veraart_bankruptcy_costs_only_lower_payments() -> None:
    """Losing a tenth of assets in bankruptcy never raises anybody's payment and deepens the defaults."""
    owed = 0.5 * (1 - np.eye(3))
    assets, debt = np.array([1 / 2, 5 / 8, 3 / 4]), np.array([3 / 2, 1 / 2, 1 / 2])
    full, lossy = clear(owed, assets, debt), clear(owed, assets, debt, recovery_external=0.9, recovery_network=0.9)
    assert (lossy.payments_usd <= full.payments_usd + 1e-12).all()
    assert lossy.payments_usd.sum() < full.payments_usd.sum()


def test_clearing_refuses_nonsense() -> None:
    """Negative or unknown amounts are an error, not an answer."""
    with pytest.raises(ValueError, match="finite and not negative"):
        clear(np.array([[0, np.nan], [0, 0]]), np.ones(2), np.ones(2))


def test_debtrank_on_a_cycle() -> None:
    """A shock at C comes back round the cycle; three equal shocks take everything, in about 55 rounds."""
    one = debtrank(CYCLE, np.ones(3), np.array([0, 0, 0.5]))
    np.testing.assert_allclose(one.equity_left, [6 / 7, 5 / 7, 3 / 7], rtol=1e-12)
    three = debtrank(CYCLE, np.ones(3), np.full(3, 0.5))
    np.testing.assert_allclose(three.equity_left, 0, atol=1e-12)
    assert 45 <= three.rounds <= 60


def test_fire_sale_of_one_holder() -> None:
    """The smallest sale that restores eight percent, with its own price impact."""
    sale = restore_by_selling(100, 1.0, 5, 98, 0.08, 1e-4)
    assert sale.sold_units == pytest.approx(14.145588250, abs=5e-9)
    assert sale.price_usd == pytest.approx(0.998586441, abs=5e-10)
    assert sale.equity_usd == pytest.approx(6.858644119, abs=5e-9)
    hopeless = restore_by_selling(100, 1.0, 5, 200, 0.08, 1e-4)
    assert hopeless.sold_units == 100


def test_cover_ratios() -> None:
    """DSCR, LLCR and PLCR of a five-year loan on six years of cash."""
    r = cover_ratios(np.array([120, 110, 100, 90, 80, 70.0]), 300, 0.08, np.full(5, 60.0))
    np.testing.assert_allclose(r.dscr, [1.428571, 1.388889, 1.344086, 1.293103, 1.234568], atol=5e-7)
    np.testing.assert_allclose(r.llcr, [1.351336, 1.324304, 1.295887, 1.266004, 1.234568], atol=5e-7)
    np.testing.assert_allclose(r.plcr, [1.498376, 1.522808, 1.581732, 1.729072, 2.234797], atol=5e-7)


def test_amortisation_against_decay() -> None:
    """A 0.80 loan on hardware losing 35 % in a year: level principal holds, interest-only does not."""
    found = [hardware_ltv_path(0.80, 0.35, months) for months in (36, 48, 60, None)]
    np.testing.assert_allclose(found, [0.82, 0.92, 0.985, 1.23], atol=5e-3)


def test_linear_reverse_stress_exact_and_by_search() -> None:
    """The search finds what the formula says: 1.357688 standard deviations, and where."""
    sigma = np.outer([0.6, 0.45], [0.6, 0.45]) * np.array([[1, 0.5], [0.5, 1]])
    exact = linear_breach(sigma, np.array([2.0, 3.0]), 3.0)
    assert exact.sigmas == pytest.approx(1.357688467, abs=5e-10)
    np.testing.assert_allclose(exact.shock, [0.69124424, 0.53917051], atol=5e-9)
    found = nearest_breach(lambda x: 3.0 - x @ np.array([2.0, 3.0]), sigma)
    assert found.sigmas == pytest.approx(exact.sigmas, rel=1e-5)
    np.testing.assert_allclose(found.shock, exact.shock, rtol=2e-3)


def test_reverse_stress_edges() -> None:
    """Broken already is zero; out of reach is infinite; a bad correlation matrix is named."""
    eye = np.eye(2)
    assert nearest_breach(lambda x: np.full(len(x), -1.0), eye).sigmas == 0
    assert nearest_breach(lambda x: np.full(len(x), 1.0), eye).sigmas == np.inf
    with pytest.raises(ValueError, match="the correlation of rents is not positive definite"):
        cholesky(np.array([[1, 1.2], [1.2, 1]]), "the correlation of rents")


@settings(max_examples=25, deadline=None)
@given(arrays(float, 3, elements=st.floats(-3, 3)), st.floats(0.2, 4))
def test_no_breach_is_nearer_than_the_nearest(slope: np.ndarray, level: float) -> None:
    """For any linear rule the search is never nearer than the exact distance and at most a hair farther."""
    if np.linalg.norm(slope) < 0.3:
        return
    sigma = np.array([[1.0, 0.3, 0.0], [0.3, 1.0, 0.5], [0.0, 0.5, 1.0]])
    exact = linear_breach(sigma, slope, level).sigmas
    found = nearest_breach(lambda x: level - x @ slope, sigma).sigmas
    if exact < 5.9:
        assert exact * (1 - 1e-9) <= found <= exact * 1.001


def test_shapley_example_and_sum() -> None:
    """Interaction is split evenly and the parts add to the whole."""
    parts = shapley(
        ["x", "y", "z"], lambda m: np.array(("x" in m) + 2.0 * ("y" in m) + 3 * ({"x", "y"} <= m) + ("z" in m))
    )
    assert [float(parts[g]) for g in "xyz"] == [2.5, 3.5, 1.0]
    assert sum(float(v) for v in parts.values()) == 7.0


def test_merton_forward_and_back() -> None:
    """The published figures; they were made with a normal distribution good to 1e-7, ours is exact."""
    m = merton(140, 100, 1, 0.05, 0.05, 0.20)
    assert m.debt_value_usd == pytest.approx(94.8894, abs=5e-5)
    assert m.pd == pytest.approx(0.03344875, abs=1e-7)
    assert m.distance_to_default == pytest.approx(1.83236118, abs=5e-9)
    back = merton_from_equity(2.6406, 0.7103, 4, 1, 0.05, 0.0306)
    assert back.asset_value_usd == pytest.approx(6.42098297, rel=1e-7)
    assert back.asset_volatility == pytest.approx(0.30096715, rel=1e-7)
    assert back.distance_to_default == pytest.approx(1.52370861, rel=2e-7)
    assert back.pd == pytest.approx(6.37907793e-2, rel=1e-6)
