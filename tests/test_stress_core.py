"""The cell: worked example, laws, unknowns, and both drivers against a plain scalar oracle."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stress.drivers import Summary, compare, run
from monitor.stress.inputs import DSCR, LIQUIDITY, LTV, MARGIN, MATURITY, TESTS, CellInputs, Factors
from monitor.stress.sides import known_tests, liquidation_value

NUMBA = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed (optional)")
DRIVERS = ["numpy", pytest.param("compiled", marks=NUMBA)]
NAN = float("nan")
ROOT = Path(__file__).parents[1]


def column(*values: float) -> np.ndarray:
    """One path, one value a period."""
    return np.array(values)[:, None]


def golden(basis: str = "liquidation") -> tuple[CellInputs, Factors]:
    """The golden borrower: USD m, thousand coins, four quarters, one path."""
    inputs = CellInputs.build(
        1, 4, n_models=4, n_counterparties=1, n_debts=1, dt_years=0.25, ltv_basis=basis,
        mining_usd=20, contracted_usd=30, in_force=[[[1, 0.75, 0.5, 0.25]]], spot_usd=[[2, 8, 4, 0]], power_usd=10,
        opex_usd=8, cash_usd=5, cash_floor_usd=40, coins_free=1, debt_usd=300, floating_share=1, margin=0.06, secured=1,
        principal_usd=[[[10, 10, 10, 15]]], units=[[40, 200, 100, 0]], unit_value_usd=1, coins_in_collateral=1,
        dscr_min=1.2, ltv_max=1.0, liquidity_min_usd=40,
    )  # fmt: skip
    rent = [(1, 1, 1, 1), (0.9, 0.92, 0.95, 1), (0.75, 0.8, 0.85, 1), (0.6, 0.65, 0.75, 1)]
    residual = [(1, 1, 1, 1), (0.9, 0.93, 0.95, 1), (0.78, 0.84, 0.9, 1), (0.65, 0.72, 0.8, 1)]
    factors = Factors.build(
        4, 1, n_models=4, n_counterparties=1, btc_usd=column(90, 80, 60, 50), hashprice=column(1, 0.9, 0.7, 0.6),
        power=column(1, 1, 1.1, 1.2), base_rate=column(0.04, 0.04, 0.045, 0.05),
        utilisation=column(0.9, 0.85, 0.8, 0.7), liquidation_share=column(0.7, 0.65, 0.6, 0.5),
        rent=np.array(rent, float)[:, :, None], residual=np.array(residual, float)[:, :, None],
    )  # fmt: skip
    return inputs, factors


#: name -> the four quarters, to the digits published with the example
GOLDEN = {
    "revenue": (62.6, 51.516, 38.04, 26.08),
    "cfads": (44.6, 33.516, 19.04, 6.08),
    "interest": (7.5, 7.25, 7.35, 7.425),
    "principal": (10, 10, 10, 15),
    "dscr": (2.548571, 1.942957, 1.097406, 0.271126),
    "sold": (7.9, 0, 0, 0),
    "cash": (40, 56.266, 57.956, 41.611),
    "coins": (0.912222222,) * 4,
    "debt": (290, 280, 270, 255),
    "ltv": (0.905967, 1.003484, 1.182896, 1.494627),
}
GOLDEN_PAPER = (0.687041, 0.717990, 0.785036, 0.862620)


def first_quarters(inputs: CellInputs, factors: Factors, n: int) -> tuple[CellInputs, Factors]:
    """The same case cut to its first n periods, so that running extremes show each of them."""
    shapes = {
        "in_force",
        "opex_usd",
        "capex_usd",
        "principal_usd",
        "bullet_usd",
        "draw_usd",
        "btc_loan_due",
        "paper_usd",
    }
    cut = {name: np.ascontiguousarray(getattr(inputs, name)[..., :n]) for name in shapes}
    rows = replace(inputs, tested=inputs.tested[:n], **cut)  # type: ignore[arg-type]
    return rows, Factors(**{f.name: np.ascontiguousarray(getattr(factors, f.name)[:n]) for f in fields(factors)})


@pytest.mark.parametrize("name", list(GOLDEN))
def test_oracle_reproduces_every_number_of_the_golden_borrower(name: str) -> None:
    """The oracle, written from the equations, gives the published table."""
    periods = oracle.walk(*golden(), 0, 0).periods
    assert [p[name] for p in periods] == pytest.approx(GOLDEN[name], abs=1e-6)


@pytest.mark.parametrize("driver", DRIVERS)
def test_driver_reproduces_the_golden_borrower(driver: Any) -> None:
    """Each driver gives every quarter's numbers, and the first breach: quarter 1, LTV on liquidation value."""
    for n in range(1, 5):
        summary = run(*first_quarters(*golden(), n), driver=driver)
        assert summary.min_dscr[0, 0] == pytest.approx(min(GOLDEN["dscr"][:n]), abs=1e-6)
        assert summary.max_ltv[0, 0] == pytest.approx(max(GOLDEN["ltv"][:n]), abs=1e-6)
        assert summary.min_cash[0, 0] == pytest.approx(min(GOLDEN["cash"][:n]), abs=1e-6)
        paper = run(*first_quarters(*golden("economic"), n), driver=driver)
        assert paper.max_ltv[0, 0] == pytest.approx(max(GOLDEN_PAPER[:n]), abs=1e-6)
    assert (summary.first[0, 0], summary.code[0, 0]) == (1, LTV)
    assert summary.margin[0, 0] == pytest.approx(1 - 1.003484, abs=1e-6)
    assert (paper.first[0, 0], paper.code[0, 0]) == (2, DSCR)


# ---------------------------------------------------------------- random books
def random_case(seed: int, n_rows: int = 9, n_paths: int = 700, n_periods: int = 13) -> tuple[CellInputs, Factors]:
    """Rows of every kind and paths rough enough to break most of them; every field of both classes is used."""
    g = np.random.default_rng(seed)
    b, t, s, m, c, d = n_rows, n_periods, n_paths, 3, 2, 3
    size = np.exp(g.normal(3, 1, b))
    debt = size[:, None] * g.uniform(0, 2, (b, d)) * (g.random((b, d)) < 0.7)
    loan = size * g.uniform(0.2, 1, b) * (g.random(b) < 0.5)
    some = lambda p: g.random(b) < p  # noqa: E731
    inputs = CellInputs.build(
        b, t, n_models=m, n_counterparties=c, n_debts=d, case=("run_off", "build")[seed % 2],
        dscr_basis=[("quarter", "ltm", "forward_12m")[k % 3] for k in range(b)],
        ltv_basis=[("contractual", "economic", "liquidation")[k % 3] for k in g.permutation(b)],
        mining_usd=size * g.uniform(0, 0.2, b), contracted_usd=size[:, None] * g.uniform(0, 0.2, (b, c)),
        in_force=g.uniform(0, 1, (b, c, t)), spot_usd=size[:, None] * g.uniform(0, 0.1, (b, m)),
        power_usd=size * g.uniform(0, 0.1, b), opex_usd=size[:, None] * g.uniform(0, 0.15, (b, t)),
        capex_usd=size[:, None] * g.uniform(0, 0.05, (b, t)), cash_usd=size * g.uniform(-0.1, 1, b),
        cash_floor_usd=size * g.uniform(0, 0.3, b), coins_free=size * g.uniform(0, 0.02, b) * some(0.6),
        coin_impact=g.uniform(0, 0.3, b) * some(0.5), debt_usd=debt, floating_share=g.uniform(0, 1, (b, d)),
        margin=g.uniform(0, 0.1, (b, d)), fixed_rate=g.uniform(0, 0.15, (b, d)), secured=g.integers(0, 2, (b, d)),
        principal_usd=debt[:, :, None] * g.uniform(0, 0.1, (b, d, t)),
        bullet_usd=debt[:, :, None] * (g.random((b, d, t)) < 0.05), undrawn_usd=debt * g.uniform(0, 0.3, (b, d)),
        draw_usd=debt[:, :, None] * g.uniform(0, 0.1, (b, d, t)), refi_margin=g.uniform(0, 0.1, b), btc_loan_usd=loan,
        btc_loan_rate=0.1, coins_pledged=loan / 60 * g.uniform(1, 2, b), margin_call_ltv=0.7, cure_ltv=0.6,
        liquidation_ltv=np.where(some(0.8), 0.85, np.inf), liquidates_all=some(0.4),
        btc_loan_due=(g.random((b, t)) < 0.04), paper_usd=size[:, None] * g.uniform(1, 3, (b, t)),
        units=g.uniform(0, 900, (b, m)), unit_value_usd=size[:, None] / 400, haircut=g.uniform(0.3, 1, m),
        depth_units=[300.0, np.inf, 0.0], coins_in_collateral=some(0.5), dscr_min=np.where(some(0.8), 1.1, -np.inf),
        ltv_max=np.where(some(0.8), 1.2, np.inf), liquidity_min_usd=np.where(some(0.5), size * 0.05, -np.inf),
        ltm_cfads_usd=size, ltm_service_usd=size * 0.8,
    )  # fmt: skip
    walk = lambda scale: np.exp(np.cumsum(scale * g.standard_normal((t, s)), 0))  # noqa: E731
    factors = Factors.build(
        t, s, n_models=m, n_counterparties=c, btc_usd=60 * walk(0.2), btc_low=g.uniform(0.8, 1, (t, s)),
        hashprice=walk(0.1), rent=np.stack([walk(0.1) for _ in range(m)], 1), residual=np.stack([walk(0.1)] * m, 1),
        utilisation=g.uniform(0.5, 1, (t, s)), power=walk(0.05), base_rate=g.uniform(0, 0.08, (t, s)),
        spread=g.uniform(0, 0.1, (t, s)), contract_loss=(g.random((t, c, s)) < 0.1) * 1.0,
        refi_open=g.choice([0.0, 0.5, 1.0], (t, s)), liquidation_share=g.uniform(0.4, 1, (t, s)),
    )  # fmt: skip
    return inputs, factors


@pytest.mark.parametrize("driver", DRIVERS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_driver_equals_the_oracle(driver: Any, seed: int) -> None:
    """On random rows of every kind a driver gives the oracle's breach, code, margin and extremes within rounding."""
    inputs, factors = random_case(seed, n_rows=6, n_paths=3)
    summary = run(inputs, factors, driver=driver)
    for b in range(6):
        for s in range(3):
            path = oracle.walk(inputs, factors, b, s)
            got = (summary.min_dscr[b, s], summary.max_ltv[b, s], summary.min_cash[b, s], summary.margin[b, s])
            want = (path.min_dscr, path.max_ltv, path.min_cash, path.margin)
            assert got == pytest.approx(want, rel=1e-9, abs=1e-9, nan_ok=True)
            assert (summary.first[b, s], summary.code[b, s]) == (path.first, path.code)


@NUMBA
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), threads=st.integers(1, 3))
def test_drivers_agree_to_rounding(seed: int, threads: int) -> None:
    """numpy and compiled: extremes within 1e-12, known masks equal, first breaches equal but for the knife edge."""
    case = random_case(seed)
    agreement = compare(run(*case, driver="numpy"), run(*case, driver="compiled", threads=threads))
    assert agreement.worst < 1e-12
    assert agreement.known_equal
    assert agreement.wrong == 0


def test_random_cases_reach_every_test() -> None:
    """The random books are worth something: each of the five tests is somewhere the first to break."""
    codes = np.unique(np.concatenate([np.unique(run(*random_case(seed)).code) for seed in range(6)]))
    assert {bit for bit in (DSCR, LTV, LIQUIDITY, MARGIN, MATURITY) if (codes & bit).any()} == {1, 2, 4, 8, 16}


@pytest.mark.parametrize("driver", DRIVERS)
def test_paths_may_be_cut_anywhere(driver: Any) -> None:
    """Running all paths at once or in pieces gives the same bits."""
    inputs, factors = random_case(5, n_paths=1300)
    whole = run(inputs, factors, driver=driver)
    parts = [run(inputs, factors.part(a, b), driver=driver) for a, b in ((0, 1), (1, 700), (700, 1300))]
    for name in ("first", "code", "margin", "min_dscr", "max_ltv", "min_cash"):
        np.testing.assert_array_equal(getattr(whole, name), np.hstack([getattr(part, name) for part in parts]))


# ---------------------------------------------------------------- laws
def simple(seed: int, **changes: Any) -> CellInputs:
    """One row without a coin loan or rolled debt."""
    g = np.random.default_rng(seed)
    values: dict[str, Any] = dict(  # noqa: C408
        mining_usd=g.uniform(0, 9), opex_usd=g.uniform(0, 4), cash_usd=g.uniform(0, 50), coins_free=g.uniform(0, 1),
        debt_usd=[[g.uniform(1, 200)]], fixed_rate=[[g.uniform(0, 0.2)]], secured=1,
        principal_usd=[[[g.uniform(0, 5)]]],
        units=[[g.uniform(0, 100)]], unit_value_usd=2.0, depth_units=[50.0], coins_in_collateral=1, dscr_min=1.2,
        ltv_max=0.8, liquidity_min_usd=5.0, cash_floor_usd=5.0, floating_share=[[g.uniform(0, 1)]],
        margin=[[g.uniform(0, 0.1)]], refi_margin=0.02,
    )  # fmt: skip
    values.update(changes)
    n_debts = np.shape(values["debt_usd"])[-1]
    return CellInputs.build(1, 6, n_models=1, n_debts=n_debts, ltv_basis="liquidation", **values)


def rough_paths(seed: int, price: float = 60.0) -> Factors:
    """Six months, forty paths."""
    g = np.random.default_rng(seed + 1)
    return Factors.build(
        6, 40, n_models=1, btc_usd=price * np.exp(np.cumsum(0.2 * g.standard_normal((6, 40)), 0)),
        hashprice=np.exp(np.cumsum(0.2 * g.standard_normal((6, 40)), 0)), residual=g.uniform(0.3, 1, (6, 1, 40)),
        base_rate=g.uniform(0, 0.1, (6, 40)), spread=g.uniform(0, 0.1, (6, 40)),
        refi_open=g.uniform(0, 1, (6, 40)) > 0.3,
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), factor=st.floats(1.0, 5.0))
def test_more_debt_never_raises_coverage(seed: int, factor: float) -> None:
    """A larger balance on the same terms lowers or keeps DSCR where cash flow is positive, and never lowers LTV."""
    base = simple(seed, opex_usd=0.0)
    more = replace(base, debt_usd=base.debt_usd * factor)
    one, two = (run(inputs, rough_paths(seed)) for inputs in (base, more))
    assert (two.min_dscr <= one.min_dscr * (1 + 1e-12)).all()
    assert (two.max_ltv >= one.max_ltv * (1 - 1e-12)).all()


@settings(max_examples=50, deadline=None)
@given(
    units=st.floats(0, 1e7),
    extra=st.floats(0, 1e7),
    depth=st.one_of(st.just(0.0), st.floats(1e-3, 1e7), st.just(np.inf)),
)
def test_more_collateral_never_lowers_liquidation_value(units: float, extra: float, depth: float) -> None:
    """Adding units never lowers what a sale brings, and a sale never brings more than units x price x haircut."""
    less, more = liquidation_value([units, units + extra], 3.0, 0.7, depth)
    assert less <= more * (1 + 1e-12)
    assert more <= (units + extra) * 3.0 * 0.7 * (1 + 1e-12)


def test_liquidation_value_at_the_ends_of_depth() -> None:
    """Infinite depth is units x price x haircut, none is nothing, unknown stays unknown even without units."""
    assert liquidation_value([7.0, 7.0], 3.0, 0.5, [np.inf, 0.0]).tolist() == [10.5, 0.0]
    assert np.isnan(liquidation_value([7.0, NAN], 3.0, 0.5, [NAN, 4.0])).all()


MONEY = (
    "mining_usd",
    "opex_usd",
    "cash_usd",
    "debt_usd",
    "principal_usd",
    "unit_value_usd",
    "liquidity_min_usd",
    "cash_floor_usd",
)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([0.5, 4.0, 1024.0]))
def test_scaling_all_money_changes_no_ratio(seed: int, scale: float) -> None:
    """Counting in another currency (a power of two, so exactly) leaves ratios, margins and breaches as they were."""
    base = simple(seed)
    scaled = replace(base, **{name: getattr(base, name) * scale for name in MONEY})
    one, two = run(base, rough_paths(seed)), run(scaled, rough_paths(seed, price=60.0 * scale))
    for name in ("first", "code", "margin", "min_dscr", "max_ltv"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.01, 0.99))
def test_splitting_a_debt_in_two_changes_nothing(seed: int, share: float) -> None:
    """One debt or the same debt in two pieces: same breaches, same numbers to rounding."""
    whole = simple(seed, bullet_usd=[[[0, 0, 9, 0, 0, 0]]])
    cut = np.array([share, 1 - share])
    halves = simple(
        seed, debt_usd=whole.debt_usd * cut, secured=1,
        **{name: np.repeat(getattr(whole, name), 2, 1) for name in ("fixed_rate", "floating_share", "margin")},
        principal_usd=whole.principal_usd * cut[:, None], bullet_usd=whole.bullet_usd * cut[:, None],
    )  # fmt: skip
    agreement = compare(run(whole, rough_paths(seed)), run(halves, rough_paths(seed)))
    assert agreement.worst < 1e-11
    assert agreement.wrong == 0


# ---------------------------------------------------------------- single cases by hand
@pytest.mark.parametrize("driver", DRIVERS)
def test_no_debt_is_infinite_coverage(driver: Any) -> None:
    """Nothing to serve: DSCR infinite and LTV zero, even on negative cash flow; no covenant breaks."""
    inputs = CellInputs.build(1, 3, opex_usd=1.0, cash_usd=10.0, dscr_min=1.2, ltv_max=0.5)
    summary = run(inputs, Factors.build(3, 2), driver=driver)
    assert np.isposinf(summary.min_dscr).all()
    assert (summary.max_ltv == 0).all()
    assert (summary.code == 0).all()


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_loan_on_nothing_is_infinite_loan_to_value(driver: Any) -> None:
    """Secured debt without any collateral breaks its LTV cap; it is not zero over zero."""
    inputs = CellInputs.build(1, 3, n_debts=1, debt_usd=1.0, secured=1.0, cash_usd=10.0, ltv_max=0.9)
    summary = run(inputs, Factors.build(3, 1), driver=driver)
    assert np.isposinf(summary.max_ltv).all()
    assert summary.code[0, 0] == LTV


def coin_loan(**changes: Any) -> CellInputs:
    """A loan of 65 on pledged coins worth 100 at price 1."""
    values: dict[str, Any] = dict(  # noqa: C408
        btc_loan_usd=65.0, coins_pledged=100.0, margin_call_ltv=0.7, cure_ltv=0.65, liquidation_ltv=0.8
    )
    return CellInputs.build(1, 1, **{**values, **changes})


@pytest.mark.parametrize(("price", "broken"), [(0.93, False), (0.92, True)])
@pytest.mark.parametrize("driver", DRIVERS)
def test_margin_call_comes_at_its_level(driver: Any, price: float, broken: bool) -> None:
    """A call at 70 % on a 65 % loan comes at a price of 0.9286 and, with nothing to cure it, is a breach."""
    summary = run(coin_loan(), Factors.build(1, 1, btc_usd=price), driver=driver)
    assert (summary.code[0, 0] == MARGIN) == broken


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("cash", "coins", "price", "cash_after"),
    [
        (10.0, 0.0, 0.9, 10 - (65 - 0.65 * 90)),  # cured in cash
        (0.0, 20.0, 0.9, 0.0),  # cured in coins
        (0.0, 0.0, 0.75, 0.0),  # beyond liquidation: coins sold, no deficiency
    ],
)
def test_margin_call_by_hand(driver: Any, cash: float, coins: float, price: float, cash_after: float) -> None:
    """Cash pays down to the cure level; coins are posted first; beyond the liquidation level there is no cure."""
    inputs = coin_loan(cash_usd=cash, coins_free=coins)
    summary = run(inputs, Factors.build(1, 1, btc_usd=price), driver=driver)
    assert summary.min_cash[0, 0] == pytest.approx(cash_after)
    assert summary.code[0, 0] == (MARGIN if price < 0.8 else 0)


@pytest.mark.parametrize("driver", DRIVERS)
def test_liquidation_returns_the_surplus_and_leaves_the_deficiency(driver: Any) -> None:
    """Selling the pledge at 0.8125 returns 16.25; at 0.5 it leaves 15 as debt, with interest the period after."""
    sold = run(coin_loan(liquidates_all=1.0, liquidation_ltv=0.75), Factors.build(1, 1, btc_usd=0.8125), driver=driver)
    assert sold.min_cash[0, 0] == pytest.approx(0.0 + 16.25)
    two = CellInputs.build(
        1, 2, btc_loan_usd=65.0, coins_pledged=100.0, margin_call_ltv=0.7, cure_ltv=0.65, liquidation_ltv=0.8,
        liquidates_all=1.0, refi_margin=0.12, cash_usd=1.0,
    )  # fmt: skip
    lost = run(two, Factors.build(2, 1, btc_usd=0.5), driver=driver)
    assert lost.min_cash[0, 0] == pytest.approx(1.0 - 15 * 0.12 / 12)


@pytest.mark.parametrize(("cash", "code"), [(70.0, 0), (60.0, MARGIN)])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_coin_loan_without_a_pledge_is_called(driver: Any, cash: float, code: int) -> None:
    """No pledge is an infinite LTV: the loan must be repaid in cash, or what is missing is an unmet call."""
    inputs = coin_loan(coins_pledged=0.0, liquidation_ltv=np.inf, cash_usd=cash)
    summary = run(inputs, Factors.build(1, 1), driver=driver)
    assert summary.code[0, 0] == code
    absent = replace(inputs, margin_call_ltv=np.array([np.inf]))
    assert run(absent, Factors.build(1, 1), driver=driver).code[0, 0] == 0


@pytest.mark.parametrize(("refi", "code"), [(1.0, 0), (0.0, LIQUIDITY | MATURITY)])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_maturity_breaks_only_where_refinancing_is_shut(driver: Any, refi: float, code: int) -> None:
    """A bullet of 100 against cash of 40 is rolled while the market is open and is unfunded when it is shut."""
    inputs = CellInputs.build(1, 3, n_debts=1, debt_usd=100.0, bullet_usd=[[[0, 100, 0]]], cash_usd=40.0)
    summary = run(inputs, Factors.build(3, 1, refi_open=refi), driver=driver)
    assert summary.code[0, 0] == code
    assert summary.first[0, 0] == (3 if refi else 1)
    assert summary.min_cash[0, 0] == pytest.approx(40.0 if refi else -60.0)


@pytest.mark.parametrize("driver", DRIVERS)
def test_price_impact_takes_at_most_half(driver: Any) -> None:
    """Raising 4 at impact 0.1 sqrt(4) = 20 % sells 5 of coins; at any impact a sale brings at least half."""
    inputs = CellInputs.build(
        2, 1, coins_free=[5.0, 8.0], coin_impact=[0.1, 9.0], cash_floor_usd=4.0, liquidity_min_usd=4.0
    )
    summary = run(inputs, Factors.build(1, 1), driver=driver)
    assert summary.min_cash[:, 0] == pytest.approx([4.0, 4.0])
    assert (summary.code == 0).all()


def test_undrawn_lines_count_only_in_build() -> None:
    """In run-off no draw is made; in build draws stop at the undrawn amount and bear interest from the next period."""
    values: dict[str, Any] = dict(  # noqa: C408
        n_debts=1, undrawn_usd=5.0, draw_usd=4.0, fixed_rate=1.2, capex_usd=3.0, cash_usd=10.0
    )
    off = run(CellInputs.build(1, 3, case="run_off", **values), Factors.build(3, 1))
    on = run(CellInputs.build(1, 3, case="build", **values), Factors.build(3, 1))
    assert off.min_cash[0, 0] == pytest.approx(10 - 9)
    assert on.min_cash[0, 0] == pytest.approx(10 + 4 + 1 - 9 - 0.4 - 0.5)


# ---------------------------------------------------------------- unknown
UNKNOWN = {
    "mining_usd": ("dscr", "liquidity", "maturity", "margin", "ltv"),
    "cash_usd": ("liquidity", "maturity", "margin", "ltv", "dscr"),
    "dscr_min": ("dscr",),
    "ltv_max": ("ltv",),
    "liquidity_min_usd": ("liquidity",),
    "paper_usd": ("ltv",),
    "coins_pledged": ("dscr", "liquidity", "maturity", "margin", "ltv"),
    "margin_call_ltv": ("dscr", "liquidity", "maturity", "margin", "ltv"),
    "debt_usd": ("dscr", "ltv", "liquidity", "maturity", "margin"),
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", list(UNKNOWN))
def test_unknown_input_is_unknown_never_breach_never_fine(driver: Any, name: str) -> None:
    """A row with a NaN loses exactly the tests that need it; its other tests and its neighbours still answer."""
    values: dict[str, Any] = dict(  # noqa: C408
        n_debts=1, mining_usd=1.0, debt_usd=50.0, secured=1.0, fixed_rate=0.5, cash_usd=1.0, paper_usd=10.0,
        dscr_min=2.0, ltv_max=0.5, liquidity_min_usd=3.0, btc_loan_usd=9.0, coins_pledged=10.0, coins_free=1.0,
        coins_in_collateral=1.0, margin_call_ltv=0.8, cure_ltv=0.7, liquidation_ltv=np.inf,
    )  # fmt: skip
    axes = CellInputs.build(2, 3, **values)
    array = getattr(axes, name).copy()
    array[1] = NAN
    inputs = replace(axes, **{name: array})
    summary = run(inputs, Factors.build(3, 4), driver=driver)
    unknown = [test for test, known in zip(TESTS, summary.known[1], strict=True) if not known]
    assert sorted(unknown) == sorted(UNKNOWN[name])
    assert summary.known[0].all()
    bits = sum(1 << TESTS.index(test) for test in unknown)
    assert not (summary.code[1] & bits).any()
    assert (summary.truth()[1] == (1 if len(unknown) < 5 else -1)).all()
    alone = run(CellInputs.build(1, 3, **values), Factors.build(3, 4), driver=driver)
    np.testing.assert_array_equal(summary.code[0], alone.code[0])


def test_unknown_numbers_are_nan_not_zero() -> None:
    """An extreme that cannot be computed is NaN, while one that can is given even where its level is unknown."""
    cash = [NAN, 5.0]
    inputs = CellInputs.build(2, 3, n_debts=1, debt_usd=9.0, fixed_rate=0.1, cash_usd=cash, dscr_min=NAN)
    summary = run(inputs, Factors.build(3, 1))
    assert np.isnan(summary.min_cash[0]).all()
    assert np.isfinite(summary.min_cash[1]).all()
    assert (summary.min_dscr == 0).all()
    assert not summary.known[:, TESTS.index("dscr")].any()


def test_trailing_twelve_months_must_be_given() -> None:
    """Basis ``ltm`` without its trailing figures is unknown; with them a level year keeps its coverage."""
    values: dict[str, Any] = {"n_debts": 1, "mining_usd": 2.0, "debt_usd": 10.0, "fixed_rate": 1.2, "dscr_min": 1.5}
    without = run(CellInputs.build(1, 14, dscr_basis="ltm", **values), Factors.build(14, 1))
    assert without.known[0].tolist() == [False, True, True, True, True]
    given_sums = CellInputs.build(1, 14, dscr_basis="ltm", ltm_cfads_usd=24.0, ltm_service_usd=12.0, **values)
    assert run(given_sums, Factors.build(14, 1)).min_dscr[0, 0] == pytest.approx(2.0)


def test_caller_may_take_a_test_away_but_not_give_it_back() -> None:
    """``known`` narrows what NaN leaves; it cannot make a NaN known."""
    known = np.ones((2, 5), bool)
    known[0, TESTS.index("maturity")] = False
    mask = known_tests(CellInputs.build(2, 2, cash_usd=[1.0, NAN], known=known))
    assert mask.tolist() == [[True, True, True, True, False], [True, True, False, True, False]]


def test_bad_inputs_are_refused_all_at_once() -> None:
    """Infinite or negative amounts, wrong shapes and unknown names are one error naming every field."""
    with pytest.raises(ValueError, match="cash_usd") as error:
        CellInputs.build(2, 3, cash_usd=np.inf, coins_free=-1.0, mining_usd=[1.0, 2.0, 3.0], cahs_usd=1.0)
    for name in ("coins_free", "mining_usd", "cahs_usd"):
        assert name in str(error.value)


def test_bad_paths_are_refused() -> None:
    """A path holds numbers only: NaN, infinity and a price of zero are refused by name."""
    with pytest.raises(ValueError, match=r"btc_usd.*base_rate"):
        Factors.build(2, 2, btc_usd=0.0, base_rate=NAN)
    with pytest.raises(ValueError, match="hashprice"):
        Factors.build(2, 2, hashprice=np.inf)


def test_rows_and_paths_must_fit() -> None:
    """Different periods or models on the two sides are an error that names both numbers."""
    with pytest.raises(ValueError, match=r"periods: the rows have 3, the paths 4"):
        run(CellInputs.build(1, 3), Factors.build(4, 1))


def test_there_are_three_drivers() -> None:
    """A driver nobody wrote is an error, not a silent choice of another."""
    with pytest.raises(ValueError, match="no driver 'gpu'"):
        run(CellInputs.build(1, 1), Factors.build(1, 1), driver="gpu")  # type: ignore[arg-type]


def test_nothing_warns_and_nothing_is_changed() -> None:
    """A run raises no numpy warning and leaves inputs and factors as they were."""
    inputs, factors = random_case(3, n_paths=50)
    before = {
        f.name: np.copy(getattr(inputs, f.name))
        for f in fields(inputs)
        if isinstance(getattr(inputs, f.name), np.ndarray)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = run(inputs, factors), run(inputs, factors)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(inputs, name), array)
    assert compare(first, second) == (0.0, 0, 0, True)


def test_numba_is_optional_and_loaded_late() -> None:
    """Without numba the core still answers, and only asking for the compiled driver is an error; scipy waits too."""
    code = """
import sys
sys.modules["numba"] = None
from monitor.stress import drivers, paths
from monitor.stress.drivers import run
from monitor.stress.inputs import CellInputs, Factors
drivers.WORTH_COMPILING = 1
assert "scipy" not in sys.modules
case = CellInputs.build(4, 12, cash_usd=1.0), Factors.build(12, 50)
assert (run(*case).min_cash == 1).all()
try:
    run(*case, driver="compiled")
except ImportError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout.strip(), done.stderr) == ("refused", "")


ONCE = """
import hashlib, sys
from pathlib import Path
from tapes import random_lines, read, work_of
from monitor.large.solve import paths_of
from monitor.stress.drivers import run
work = work_of(read(Path(sys.argv[1]), *random_lines(64, 128)), 4096)
found = run(work.cells.inputs, paths_of(work, 0), driver="compiled", threads=1)
print(hashlib.sha256(found.min_cash.tobytes() + found.margin.tobytes()).hexdigest())
"""


@NUMBA
def test_code_compiled_now_and_code_from_the_disk_answer_alike(tmp_path: Path) -> None:
    """To the last bit: one worker compiles, the next ones read what it left, and a run goes on with either."""
    root = Path(__file__).parents[1]
    kept = tmp_path / "compiled"
    environ = os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}", "NUMBA_CACHE_DIR": str(kept)}
    line = [sys.executable, "-c", ONCE, str(tmp_path)]
    fresh = subprocess.run(line, env=environ, capture_output=True, text=True, check=True).stdout
    assert list(kept.rglob("*.nbc"))
    assert subprocess.run(line, env=environ, capture_output=True, text=True, check=True).stdout == fresh


@NUMBA
def test_an_edited_cell_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name under which compiled code is kept changes with the functions and constants of the cell."""
    from monitor.stress import cell, compiled_driver

    before = compiled_driver._fingerprint()
    assert compiled_driver._fingerprint() == before
    monkeypatch.setattr(cell, "IMPACT_CAP", 0.4)
    constant = compiled_driver._fingerprint()
    monkeypatch.setattr(cell, "service", lambda const, base, base_dt, side: const)
    assert len({before, constant, compiled_driver._fingerprint()}) == 3


def test_compare_sees_a_wrong_driver() -> None:
    """The yardstick can fail: a shifted extreme, a moved breach and a changed mask are each reported."""
    inputs, factors = random_case(4, n_paths=40)
    good = run(inputs, factors)
    finite = np.where(np.isfinite(good.max_ltv), good.max_ltv * (1 + 1e-9), good.max_ltv)
    assert compare(good, replace(good, max_ltv=finite)).worst > 1e-10
    moved = np.where(good.code > 0, good.first + 1, good.first).astype(np.int16)
    assert compare(good, replace(good, first=moved)).wrong == int((good.code > 0).sum())
    assert not compare(good, replace(good, known=~good.known)).known_equal
    assert isinstance(good, Summary)
