"""First breaches alone, counted block by block: the same answers as the full run, in less work and flat memory."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_book import COREWEAVE, assumptions, borrower, debt, pool
from test_answers import host, miner, state_of
from test_cascade import fleet
from test_stress_core import DRIVERS, NUMBA, random_case

from monitor.model import FloatArray
from monitor.stress import collateral, quick_driver
from monitor.stress.answers import CENTRE, CORNERS, RUNS, Chances, Tally, _levelled, ask, chances
from monitor.stress.assumptions import Assumptions
from monitor.stress.distance import REACH, distance
from monitor.stress.drivers import WORTH_COMPILING, FirstBreaches, chosen, run
from monitor.stress.field import MIDDLE
from monitor.stress.held import margin_of
from monitor.stress.inputs import FACTOR_FIELDS, CellInputs, Factors
from monitor.stress.lots import build_lots
from monitor.stress.outlook import MARKET, MIDDLE_RHO, missing, notes, prior, simulated
from monitor.stress.paths import MICRO_BLOCK, Market
from monitor.stress.reverse import nearest_breach
from monitor.stress.sale import holdings, with_decay
from monitor.stress.sides import rows_of
from monitor.stress.state import State, build_state

ROOT = Path(__file__).parents[1]


def cash_case(seed: int, n_rows: int = 40, n_paths: int = 300) -> tuple[CellInputs, Factors]:
    """Rows tested on cash and coin loans alone, with everything else rough enough to break them."""
    inputs, factors = random_case(seed, n_rows=n_rows, n_paths=n_paths)
    bare: dict[str, Any] = {"dscr_min": np.full(n_rows, -np.inf), "ltv_max": np.full(n_rows, np.inf)}
    return replace(inputs, **bare), factors


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_the_quick_driver_is_the_full_one_without_its_extremes(seed: int) -> None:
    """On rows of every kind the first breach and its code are those of the full run, path by path."""
    inputs, factors = cash_case(seed)
    assert quick_driver.serves(rows_of(inputs)).all()
    full, quick = run(inputs, factors, driver="numpy"), FirstBreaches(inputs).on(factors)
    np.testing.assert_array_equal(quick.first, full.first)
    np.testing.assert_array_equal(quick.code, full.code)


def test_the_quick_cases_reach_every_test_they_have() -> None:
    """Liquidity, margin call and maturity are each somewhere the first to break, and some paths never do."""
    codes = np.unique(np.concatenate([FirstBreaches(cash_case(s)[0]).on(cash_case(s)[1]).code for s in range(5)]))
    assert {bit for bit in (4, 8, 16) if (codes & bit).any()} == {4, 8, 16}
    assert not (codes & 3).any()
    assert 0 in codes


@pytest.mark.parametrize("driver", DRIVERS)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_rows_with_covenants_take_the_long_way(driver: Any, seed: int) -> None:
    """Coverage and collateral are tested as ever; rows of both kinds come back in the order they were given."""
    inputs, factors = random_case(seed, n_rows=30)
    full, found = run(inputs, factors, driver=driver), FirstBreaches(inputs, driver).on(factors)
    np.testing.assert_array_equal(found.first, full.first)
    np.testing.assert_array_equal(found.code, full.code)


def test_first_breaches_may_be_cut_anywhere() -> None:
    """All paths at once or in pieces: the same bits."""
    inputs, factors = cash_case(3, n_paths=900)
    rows = FirstBreaches(inputs)
    whole, parts = rows.on(factors), [rows.on(factors.part(a, b)) for a, b in ((0, 1), (1, 500), (500, 900))]
    np.testing.assert_array_equal(whole.first, np.hstack([part.first for part in parts]))
    np.testing.assert_array_equal(whole.code, np.hstack([part.code for part in parts]))


def test_one_column_of_rents_serves_all_models_that_move_alike() -> None:
    """Paths whose models share one array, and the same paths written out model by model: the same breaches."""
    inputs, factors = cash_case(8)
    alike = replace(factors, rent=np.broadcast_to(factors.rent[:, :1], factors.rent.shape))
    apart = replace(factors, rent=alike.rent.copy())
    rows = FirstBreaches(inputs)
    np.testing.assert_array_equal(rows.on(alike).first, rows.on(apart).first)


def test_rows_and_paths_must_fit() -> None:
    """Different periods on the two sides are an error here too."""
    with pytest.raises(ValueError, match="periods: the rows have 3, the paths 4"):
        FirstBreaches(CellInputs.build(1, 3)).on(Factors.build(4, 1))


# ---------------------------------------------------------------- chances
@cache
def small() -> State:
    """A cloud, a miner and a host."""
    return state_of({"coreweave": COREWEAVE, "miner": miner(), "host": host()})


def by_hand(n_paths: int, corner: int, rho: float) -> FloatArray:
    """Chance of every obligor from the full driver over the blocks one by one."""
    question = ask(small())
    rows, broke = question.rows[corner].cut(question.firm), []
    for block in range(-(-n_paths // MICRO_BLOCK)):
        here = min(n_paths - block * MICRO_BLOCK, MICRO_BLOCK)
        paths = simulated(rows, 60_000.0, question.base_rate, corner=corner, rho=rho, n_paths=here, block=block)
        broke.append(run(rows.inputs, paths, driver="numpy").code > 0)
    share = np.hstack(broke).mean(axis=1)
    owners = rows.owner.tolist()
    return np.array([share[owners.index(b)] for b in range(len(small().borrowers))])


@pytest.mark.parametrize("driver", DRIVERS)
def test_counting_block_by_block_is_counting(driver: Any) -> None:
    """Every cell of the table is the share of paths the full driver breaks, beyond one block too."""
    found = chances(ask(small()), n_paths=5_000, driver=driver)
    assert found.runs == RUNS
    for k, (corner, rho) in enumerate(RUNS):
        np.testing.assert_allclose(found.table[k], by_hand(5_000, corner, rho), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.by_month.sum(axis=0), found.table[RUNS.index(CENTRE)], atol=1e-12)


def test_the_middle_alone_is_the_middle_of_the_range() -> None:
    """Asked without its range the middle is the same number, and low and high are that number."""
    alone = chances(ask(small()), n_paths=512, runs=(CENTRE,))
    whole = chances(ask(small()), n_paths=512)
    np.testing.assert_array_equal(alone.pd.values[MIDDLE], whole.pd.values[MIDDLE])
    np.testing.assert_array_equal(alone.pd.values[0], alone.pd.values[1])


@cache
def levelled(shared_blocks: int) -> Chances:
    """The range over four blocks of paths, the ends from differences on some of them."""
    return chances(ask(small()), n_paths=4 * MICRO_BLOCK, driver="numpy", shared_blocks=shared_blocks)


def test_ends_from_differences_are_the_ends_within_the_stated_error() -> None:
    """Against all runs on all paths no chance is off by more than three of the standard errors stated beside it, most
    by less than one; the middle, its months and its tests are exactly those of all paths."""
    some, full = levelled(2), levelled(4)
    assert not full.sampling.any()
    centre = RUNS.index(CENTRE)
    np.testing.assert_array_equal(some.table[centre], full.table[centre])
    np.testing.assert_array_equal(some.by_month, full.by_month)
    np.testing.assert_array_equal(some.by_test, full.by_test)
    others = [k for k in range(len(RUNS)) if k != centre]
    assert (some.sampling[others] > 0).all()
    assert some.sampling.max() < 0.006
    off = np.abs(some.table - full.table)[others] / some.sampling[others]
    assert off.max() < 3
    assert (off < 1).mean() > 0.6
    assert (some.table != full.table)[others].any()
    assert ((full.table > 0.01) & (full.table < 0.99)).sum() > 5  # not a book where nothing or everything breaks


def test_a_range_from_differences_contains_its_middle() -> None:
    """Low, middle and high are in order and are chances; the error of the ends is told beside them, and only then."""
    some, full = levelled(1), levelled(4)
    middle, high, low = some.pd.values
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert all("sampling only" in some.pd.detail[b] for b in range(len(small().borrowers)))
    assert not any("sampling only" in text for text in full.pd.detail.values())


def test_what_the_middle_tells_about_an_end() -> None:
    """An end moves with the middle of all paths as far as the two go together on the shared ones; one that is certain
    stays certain, with the error of four paths more."""
    tally = Tally(
        by_month=np.array([[990.0, 10.0]]), by_test=np.zeros((5, 2)),
        broken=np.array([[90.0, 5.0], [95.0, 0.0], [100.0, 2.0]]),
        both=np.array([[90.0, 5.0], [90.0, 0.0], [90.0, 2.0]]),
    )  # fmt: skip
    table, error = _levelled(tally, (CENTRE, (1, 0.0), (1, 0.7)), 1_000, 100)
    # nine tenths break; of the rest half more do where the run is worse, two of five where it is better
    assert table == pytest.approx(np.array([[0.99, 0.01], [0.995, 0.0], [1.0, 0.004]]))
    assert error[0].tolist() == [0.0, 0.0]
    assert error[2, 0] == pytest.approx(0.02)
    assert error[1, 0] == pytest.approx(((0.95 * 0.05 - 0.045**2 / 0.09 + 0.04) / 100) ** 0.5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), worse=st.booleans())
def test_a_run_that_contains_the_middle_stays_on_its_side(seed: int, worse: bool) -> None:
    """Whatever the middle of all paths says against that of the shared ones, a run that breaks on more paths than the
    middle stays above it, one that breaks on fewer below; every chance is one."""
    draw = np.random.default_rng(seed)
    middle = draw.random((200, 3)) < draw.random(3)
    run = middle | (draw.random((200, 3)) < 0.3) if worse else middle & (draw.random((200, 3)) < 0.3)
    whole = np.round(1_000 * np.clip(middle.mean(axis=0) + draw.normal(0, 0.1, 3), 0, 1))
    counts = np.stack([middle.sum(axis=0), run.sum(axis=0)]) * 1.0
    both = np.stack([middle.sum(axis=0), (middle & run).sum(axis=0)]) * 1.0
    table, _ = _levelled(Tally(whole[None], np.zeros((5, 3)), counts, both), (CENTRE, (1, 0.0)), 1_000, 200)
    assert ((table >= 0) & (table <= 1)).all()
    inside = (counts[0] > 0) & (counts[0] < 200)  # else the middle tells nothing about the run
    ahead = (table[1] - table[0]) * (1 if worse else -1)
    assert (ahead[inside] >= -1e-12).all()


@NUMBA
def test_levelled_chances_are_the_same_on_any_number_of_threads() -> None:
    """Blocks are counted in whatever order processors take them; the counts are the same."""
    question = ask(small())
    one, other = (chances(question, n_paths=10_000, driver=driver) for driver in ("numpy", "compiled"))
    np.testing.assert_array_equal(one.table, other.table)
    np.testing.assert_array_equal(one.sampling, other.sampling)


def peak_mib(work: Callable[[], object]) -> float:
    """Largest amount allocated at one time by some work."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def test_memory_is_flat_in_the_number_of_paths() -> None:
    """Sixteen times the paths of a chance of default need at most half as much memory again."""
    question = ask(small(), n_periods=4, dt_years=0.25)
    chances(question, n_paths=64, driver="numpy")
    few, many = (
        peak_mib(lambda n=n: chances(question, n_paths=n, driver="numpy", runs=(CENTRE,))) for n in (4_096, 65_536)
    )
    assert many < 1.5 * few + 1


def test_a_run_needs_its_answer_and_a_block() -> None:
    """Beyond what it returns a run needs as much for sixteen thousand paths as for two."""
    inputs, factors = random_case(1, n_rows=8, n_paths=16_384, n_periods=6)

    def beyond(n: int) -> float:
        part = factors.part(0, n)
        returned = 8 * n * (2 + 1 + 4 * 8) / 2**20
        return peak_mib(lambda: run(inputs, part, driver="numpy")) - returned

    beyond(64)
    assert beyond(16_384) < 1.5 * beyond(2_048) + 1


# ---------------------------------------------------------------- which driver, and when
def test_a_tick_is_numpys_and_large_work_is_compiled() -> None:
    """64 borrowers over 4,096 paths and a year stay below the size from which loading the compiled driver pays."""
    assert 64 * 4_096 * 12 < WORTH_COMPILING <= 64 * 65_536 * 12
    assert chosen("auto", 64 * 4_096 * 12) == "numpy"
    assert chosen("auto", 64 * 65_536 * 12) == ("compiled" if importlib.util.find_spec("numba") else "numpy")


@NUMBA
def test_the_stress_metrics_of_a_tick_never_load_numba() -> None:
    """With numba installed an evaluation's answers are worked out without importing it: no first tick waits for it."""
    code = """
import sys
sys.path.insert(0, "tests")
from test_answers import host, miner, state_of
from monitor.metrics import METRICS
from monitor.metrics_base import View
view = View(state_of({"miner": miner(), "host": host()}))
for name in ("pd_12m", "distance_sigma", "canary_rank"):
    assert METRICS[name].compute(view).known.any(), name
print("numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


# ---------------------------------------------------------------- what was made quicker says what it said
def slow_nearest(margin: Callable[[FloatArray], FloatArray], lower: FloatArray, directions: int = 3_000) -> float:
    """Distance by brute force: many rays, a fine scan outward on all, bisection; always at least the true one."""
    rays = np.random.default_rng(5).standard_normal((directions, len(lower)))
    rays = np.concatenate([np.eye(len(lower)), -np.eye(len(lower)), rays])
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True) @ lower.T
    if margin(np.zeros((1, len(lower))))[0] <= 0:
        return 0.0
    for low, high in pairwise(np.linspace(0, REACH, 121)):
        broken = rays[margin(rays * high) <= 0]
        if len(broken):
            lows, highs = np.full(len(broken), low), np.full(len(broken), high)
            for _ in range(40):
                middle = (lows + highs) / 2
                hit = margin(broken * middle[:, None]) <= 0
                lows, highs = np.where(hit, lows, middle), np.where(hit, middle, highs)
            return float(highs.min())
    return float("inf")


@pytest.mark.parametrize("name", ["coreweave", "miner", "host"])
def test_the_search_of_all_rows_together_finds_what_brute_force_finds(name: str) -> None:
    """No row's distance is above brute force, and at most what rays three thousand strong can miss below it."""
    from monitor.stress.distance import _covariance

    question = ask(small(), n_periods=4, dt_years=0.25)
    found = distance(question)
    b = small().borrowers.index(name)
    for corner in CORNERS:
        rows = question.rows[corner]
        cut = rows.cut([rows.row(name)])
        lower = np.linalg.cholesky(_covariance(corner, MIDDLE_RHO, small().assumptions))
        brute = slow_nearest(margin_of(cut, 60_000.0, question.base_rate), lower)
        if np.isinf(brute):
            assert np.isinf(found.values[corner, b])
        else:
            assert brute * 0.93 <= found.values[corner, b] <= brute * (1 + 1e-9)


def test_the_point_found_is_a_breach_and_a_hair_nearer_is_not() -> None:
    """At the nearest breach of a curved margin the margin is gone; a ten-thousandth nearer it is not, on any ray."""
    lower = np.array([[0.6, 0.0], [0.2, 0.4]])
    margin = lambda x: 1.0 + np.exp(x[:, 0]) + np.exp(x[:, 1]) - 2.4  # noqa: E731
    found = nearest_breach(margin, lower @ lower.T)
    assert margin(found.shock[None])[0] <= 0
    ring = found.sigmas * (1 - 1e-4) * np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 10_000)), np.sin(a)], axis=1)
    assert (margin(ring @ lower.T) > 0).all()


def covenants() -> State:
    """A hall with its own income, tested on coverage and on loan to cost."""
    terms = "covenants: {dscr_min: 1.2, ltv_max: 90%, quality: filing}"
    facts = "noi_quarter_usd: 15.05m, cost_usd: 500m, service_quarter_usd: 9m"
    text = host().split("facilities:\n")[0] + "facilities:\n"
    contract = host().split("contracts: ")[1].split("]")[0] + "]"
    return state_of({"host": text + pool("hall", "notes", "lease_building", facts, f"contracts: {contract}, {terms}")})


def test_a_pools_covenants_have_a_distance_too() -> None:
    """Coverage under held levels breaks where the numpy driver breaks; losing the tenant is the direction."""
    question = ask(covenants(), n_periods=4, dt_years=0.25)
    rows = question.rows[MIDDLE]
    assert rows.row("host/hall") in question.firm
    cut = rows.cut([rows.row("host/hall")])
    lost = np.linspace(0.0, 1.0, 101)
    shocks = np.zeros((101, 4))
    shocks[:, 2] = lost
    shape = 4, len(cut.counterparties), 101
    paths = Factors.build(
        4, 101, n_models=len(cut.models), n_counterparties=shape[1], contract_loss=np.broadcast_to(lost, shape),
        base_rate=0.04, refi_open=0.0,
    )  # fmt: skip
    broke = run(cut.inputs, paths).code[0] > 0
    assert 0 < broke.sum() < 101
    np.testing.assert_array_equal(margin_of(cut, 60_000.0, 0.04)(shocks) <= 0, broke)
    assert "contract loss" in distance(question).detail[0]


def test_a_loan_above_its_cap_is_broken_without_any_shock() -> None:
    """A contractual loan to value beyond the cap is at distance zero."""
    question = ask(covenants(), n_periods=4, dt_years=0.25)
    rows = question.rows[MIDDLE]
    cut = rows.cut([rows.row("host/hall")])
    tight = replace(cut, inputs=replace(cut.inputs, ltv_max=np.array([0.5])))
    assert margin_of(cut, 60_000.0, 0.04)(np.zeros((1, 4)))[0] > 0
    assert margin_of(tight, 60_000.0, 0.04)(np.zeros((1, 4)))[0] < 0


def test_a_decay_changed_afterwards_is_a_decay_read_from_the_book() -> None:
    """Holdings aged by a formula equal holdings whose machines were valued anew at that decay."""
    state = state_of({"fleet": fleet(), "miner": miner()})
    own = holdings(state)
    for decay in (0.15, 0.25, 0.35):
        rows = [
            replace(row, low=decay, middle=decay, high=decay) if row.name == "decay_annual" else row
            for row in assumptions()
        ]
        kinds = [state.kind(f) for f in range(len(state.facilities))]
        lots = build_lots(state.pools, kinds, Assumptions.of(rows), state.market, state.at)
        anew = holdings(replace(state, lots=lots))
        np.testing.assert_allclose(with_decay(own, state, decay).value_usd, anew.value_usd, rtol=1e-12)


def test_one_facilitys_formula_is_the_one_of_all() -> None:
    """The contractual value worked out for one pool alone is the one worked out with all others."""
    for state in (covenants(), state_of({"fleet": fleet()})):
        whole = collateral.contractual(state)
        for f in range(len(state.facilities)):
            assert collateral.contractual_of(state, f) == whole.at(f)


def test_simulated_paths_are_ones_the_checked_constructor_takes() -> None:
    """Paths are made without the checks of Factors.build, and pass every one of them."""
    question = ask(small())
    for corner in CORNERS:
        paths = simulated(question.rows[corner], 60_000.0, 0.04, corner=corner, n_paths=256)
        values = {f.name: getattr(paths, f.name) for f in fields(Factors)}
        shape = {"n_models": paths.rent.shape[1], "n_counterparties": paths.contract_loss.shape[1]}
        checked = Factors.build(12, 256, **shape, **values)
        assert set(values) == set(FACTOR_FIELDS)
        for name, array in values.items():
            np.testing.assert_array_equal(array, getattr(checked, name))


def test_a_second_block_is_other_paths_and_the_same_when_asked_again() -> None:
    """Blocks differ from each other; each is the same numbers whenever it is asked for."""
    rows = ask(small()).rows[MIDDLE]
    first, second, again = (simulated(rows, 60_000.0, 0.04, n_paths=64, block=k) for k in (0, 1, 1))
    assert not np.allclose(first.btc_usd, second.btc_usd)
    np.testing.assert_array_equal(second.btc_usd, again.btc_usd)


def test_borrowers_without_a_pool_that_is_pledged_sell_nothing() -> None:
    """A book without any hardware still has its table: own debt is the damage."""
    from monitor.stress.canary import canary

    loan = borrower(
        "neocloud",
        "debt_usd: 100m, debt_current_usd: 90m, cash_unrestricted_usd: 10m, revenue_quarter_usd: 20m, "
        "ebitda_adjusted_quarter_usd: 4m, interest_quarter_usd: 2m, contracted_share: 100%",
        "debts:\n" + debt("loan", "90m", "high_yield", "coupon: 8%, maturity: 2027-01-31"),
    )
    table = canary(state_of({"one": loan, "two": loan.replace("100m", "120m")}))
    assert table.damage_usd.values[MIDDLE].tolist() == pytest.approx([100e6, 120e6])


# ---------------------------------------------------------------- what markets are assumed to do
def with_market(name: str, to: float | None) -> State:
    """The small book with one assumption about markets at one number at every corner, or without it."""
    rows = [row for row in assumptions() if row.name != name or to is not None]
    rows = [replace(row, low=to, middle=to, high=to) if to is not None and row.name == name else row for row in rows]
    state = small()
    assert state.book is not None
    return build_state(replace(state.book, assumptions=tuple(rows)), state.quotes)


def test_markets_follow_the_books_assumptions() -> None:
    """The same middle, adverse and favourable volatility as the file says, and another chance when it says another."""
    known = small().assumptions
    assert [prior("crypto_vol", corner, known) for corner in CORNERS] == [0.60, 0.80, 0.45]
    assert [prior("refi_shut_above", corner, known) for corner in CORNERS] == [0.08, 0.0, 1.0]
    assert missing(known) == ()
    assert len(notes(known)) == len(MARKET)
    calm, wild = (with_market("crypto_vol", vol) for vol in (0.3, 0.9))
    b = small().borrowers.index("miner")
    one, two = (chances(ask(state), n_paths=512).pd.values[MIDDLE, b] for state in (calm, wild))
    assert one < two
    near, far = (distance(ask(state, n_periods=4, dt_years=0.25)).values[MIDDLE, b] for state in (wild, calm))
    assert near < far


def test_a_market_nobody_described_is_unknown_by_name() -> None:
    """Without the volatility of rents in the file there is no chance and no distance, and the reason names it."""
    state = with_market("rental_vol", None)
    question = ask(state)
    for field in (chances(question, n_paths=64).pd, distance(question)):
        assert not field.known.any()
        assert field.reasons[0][0] == "assumption 'rental_vol' (all) is not in _assumptions.yaml"
    with pytest.raises(ValueError, match="assumption 'rental_vol'"):
        simulated(question.rows[MIDDLE], 60_000.0, 0.04, n_paths=8)


@pytest.mark.parametrize(
    "change", [{"crypto_vol": np.nan}, {"base_rate": np.nan}, {"btc_usd": np.inf}, {"spread": -1.0}]
)
def test_a_market_with_a_number_that_is_none_is_refused(change: dict[str, float]) -> None:
    """NaN, infinity and rates below minus a half never become paths."""
    fine: dict[str, Any] = {
        "btc_usd": 60_000.0, "base_rate": 0.04, "spread": 0.05, "crypto_vol": 0.6, "rental_vol": 0.45,
        "spread_vol": 0.02,
    }  # fmt: skip
    Market(**fine)
    with pytest.raises(ValueError, match=r"above zero and finite|yearly rates"):
        Market(**{**fine, **change})
