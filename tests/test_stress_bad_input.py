"""Input that cannot be: a clear error or a defined value, never a silent NaN that reads as fine."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_book import borrower, debt
from test_answers import state_of
from test_cascade import fall, small
from test_stress_core import DRIVERS, random_case

from monitor.stress.answers import ask, chances
from monitor.stress.distance import distance
from monitor.stress.drivers import FirstBreaches, run
from monitor.stress.field import MIDDLE
from monitor.stress.inputs import FACTOR_FIELDS, FIELDS, TESTS, CellInputs, Factors
from monitor.stress.sale import settle
from monitor.stress.sides import known_tests


def everything() -> dict[str, Any]:
    """Two rows that use every field."""
    return {
        "mining_usd": 1.0, "contracted_usd": 2.0, "in_force": 1.0, "spot_usd": 1.0, "power_usd": 0.5, "opex_usd": 0.5,
        "capex_usd": 0.1, "cash_usd": 5.0, "cash_floor_usd": 1.0, "coins_free": 0.5, "coins_pledged": 0.5,
        "coin_impact": 0.01, "debt_usd": 50.0, "floating_share": 0.5, "margin": 0.05, "fixed_rate": 0.08,
        "secured": 1.0, "principal_usd": 0.5, "bullet_usd": 1.0, "undrawn_usd": 1.0, "draw_usd": 0.2,
        "refi_margin": 0.05,
        "btc_loan_usd": 10.0, "btc_loan_rate": 0.1, "margin_call_ltv": 0.7, "cure_ltv": 0.6, "liquidation_ltv": 0.8,
        "liquidates_all": 0.0, "btc_loan_due": 0.0, "paper_usd": 90.0, "units": 10.0, "unit_value_usd": 3.0,
        "haircut": 0.7, "depth_units": 50.0, "coins_in_collateral": 1.0, "dscr_min": 1.1, "ltv_max": 0.9,
        "liquidity_min_usd": 1.0, "ltm_cfads_usd": 40.0, "ltm_service_usd": 30.0,
    }  # fmt: skip


def built(basis: str = "liquidation", **change: Any) -> CellInputs:
    """Two rows that use every field, one of them changed for the second row."""
    shape: dict[str, Any] = {"n_models": 1, "n_counterparties": 1, "n_debts": 1, "case": "build", "dscr_basis": "ltm"}
    inputs = CellInputs.build(2, 3, ltv_basis=basis, **shape, **everything())
    for name, value in change.items():
        array = getattr(inputs, name).copy()
        if FIELDS[name].axes.startswith("B"):
            array[1] = value
        else:
            array[:] = value
        inputs = replace(inputs, **{name: array})
    return inputs


def paths() -> Factors:
    """A few paths on which little happens."""
    return Factors.build(3, 5, n_models=1, n_counterparties=1, btc_usd=60.0, base_rate=0.04, spread=0.04)


def test_the_case_uses_every_field() -> None:
    """No field of the cell is left at its absent value."""
    assert set(everything()) == set(FIELDS)
    assert known_tests(built()).all()


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", list(FIELDS))
def test_nan_in_any_field_takes_tests_with_it_or_changes_nothing(name: str, driver: Any) -> None:
    """A NaN makes at least one test unknown in at least one basis; what stays known is what it was; no extreme that is
    still given is NaN, and nothing warns."""
    lost = 0
    for basis in ("contractual", "economic", "liquidation"):
        fine, bad = built(basis), built(basis, **{name: np.nan})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            one, two = run(fine, paths(), driver=driver), run(bad, paths(), driver=driver)
        known = two.known[1]
        lost += int((~known).sum())
        assert not (two.truth()[1] == 0).any() or known.all()
        bits = sum(1 << k for k in range(len(TESTS)) if known[k])
        assert not (two.code[1] & ~np.uint8(bits)).any()
        if known.all():
            np.testing.assert_array_equal(two.code[1], one.code[1])
    assert lost > 0


@pytest.mark.parametrize("name", list(FIELDS))
def test_infinity_in_any_field_is_refused_or_means_there_is_no_such_level(name: str) -> None:
    """Plus and minus infinity are errors that name the field, but for a level that may be absent."""
    shape: dict[str, Any] = {"n_models": 1, "n_counterparties": 1, "n_debts": 1}
    for infinite in (np.inf, -np.inf):
        values = {**everything(), name: infinite}
        if infinite == FIELDS[name].absent:
            assert known_tests(CellInputs.build(2, 3, **shape, **values)).any()
            continue
        with pytest.raises(ValueError, match=name):
            CellInputs.build(2, 3, **shape, **values)


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.least == 0])
def test_negative_amounts_are_refused_by_name(name: str) -> None:
    """Units, coins, debts and shares below zero are errors."""
    shape: dict[str, Any] = {"n_models": 1, "n_counterparties": 1, "n_debts": 1}
    with pytest.raises(ValueError, match=f"{name}: values must be finite and between 0"):
        CellInputs.build(2, 3, **shape, **{**everything(), name: -1.0})


@pytest.mark.parametrize("name", list(FACTOR_FIELDS))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_path_may_hold_what_is_not_a_number(name: str, value: float) -> None:
    """NaN and infinity in any factor are refused by name."""
    with pytest.raises(ValueError, match=name):
        Factors.build(3, 2, n_models=1, n_counterparties=1, **{name: value})


def test_nan_never_becomes_a_first_breach() -> None:
    """First breaches alone say nothing of an unknown test either."""
    for name in ("cash_usd", "debt_usd", "mining_usd"):
        bad = built(**{name: np.nan})
        known = known_tests(bad)[1]
        bits = sum(1 << k for k in range(len(TESTS)) if known[k])
        assert not (FirstBreaches(bad).on(paths()).code[1] & ~np.uint8(bits)).any()


def test_no_coins_need_no_price() -> None:
    """A row without coins, debt and loan is fine whatever bitcoin does."""
    crash = Factors.build(3, 2, btc_usd=1e-9)
    assert (run(CellInputs.build(1, 3, cash_usd=1.0), crash).truth() == 0).all()


@pytest.mark.parametrize("depth", [0.0, 1e-300])
def test_a_market_without_depth_takes_nothing_and_stays_where_nothing_is_sold(depth: float) -> None:
    """Depth zero: what is sold brings nothing, what is not sold keeps its mark; no number is NaN."""
    own = small(depth, limited=np.zeros(3, bool))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sold, quiet = settle(own, fall(0)), settle(own, fall())
    assert sold.price[0, 0] == 0.0
    assert quiet.price[0, 0] == 1.0
    assert np.isfinite(sold.uncovered_usd).all()
    assert sold.uncovered_usd[0, 0] == pytest.approx(900.0 - 50.0, rel=1e-2)


def test_a_maturity_in_the_past_is_in_the_balance_sheet_that_followed() -> None:
    """A note that ended before the newest balance sheet falls due no more; what is still owed is owed, and judged."""
    text = borrower(
        "neocloud",
        "debt_usd: 100m, debt_current_usd: 0, cash_unrestricted_usd: 50m, revenue_quarter_usd: 20m, "
        "ebitda_adjusted_quarter_usd: 9m, interest_quarter_usd: 2m, contracted_share: 100%",
        "debts:\n" + debt("old", "60m", "high_yield", "coupon: 8%, maturity: 2026-01-31")
        + debt("later", "40m", "high_yield", "coupon: 8%, maturity: 2031-01-31"),
    )  # fmt: skip
    question = ask(state_of({"one": text}))
    rows = question.rows[MIDDLE].inputs
    assert rows.bullet_usd.sum() == 0
    assert rows.debt_usd[0, 0] == pytest.approx(100e6)
    assert chances(question, n_paths=64).pd.known[0]
    assert distance(ask(state_of({"one": text}), n_periods=4, dt_years=0.25)).known[0]


def test_random_rows_with_a_hole_never_warn() -> None:
    """A NaN in one row of many leaves the answers of all others as they were."""
    inputs, factors = random_case(2, n_rows=8, n_paths=40)
    cash = inputs.cash_usd.copy()
    cash[3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole, holed = run(inputs, factors), run(replace(inputs, cash_usd=cash), factors)
    others = np.arange(8) != 3
    np.testing.assert_array_equal(whole.code[others], holed.code[others])
