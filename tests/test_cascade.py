"""One fall and what it drags down: the common sale, the fixed point, tenants, lenders, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_book import COREWEAVE, borrower, debt, pool
from test_answers import host, state_of

from monitor.stress.bridge import bridge
from monitor.stress.cascade import Links, cascade, shared_lenders, spread
from monitor.stress.cascade import fall as fall_of
from monitor.stress.field import ADVERSE, MIDDLE
from monitor.stress.outlook import simulated
from monitor.stress.rounds import in_rounds
from monitor.stress.sale import Holdings, holdings, proceeds_share, sell, settle, with_decay, with_depth
from monitor.stress.scenario import Move, Scenario
from monitor.stress.state import State, build_state


def small(depth: float = 50_000.0, haircut: float = 0.65, **changes: object) -> Holdings:
    """Three borrowers with one pool each of one model; the second without recourse, the third without a loan."""
    return replace(
        Holdings(
            borrowers=("a", "b", "c"), pools=("a/p", "b/p", "c/p"), models=("H100",), owner=np.arange(3),
            units=np.array([[30_000.0], [10_000.0], [20_000.0]]), value_usd=np.array([[900.0], [300.0], [600.0]]),
            other_usd=np.zeros(3), principal_usd=np.array([800.0, 250.0, 0.0]),
            pledged=np.array([True, True, False]), valued=np.ones(3, bool), limited=np.array([False, True, False]),
            dscr=np.array([np.nan, 0.8, np.nan]), depth_units=np.array([depth]), haircut=haircut,
            debt_usd=np.array([900.0, 300.0, 500.0]), liquid_usd=np.array([50.0, 40.0, 100.0]),
            counted=np.ones(3, bool), left_out=(), used=(),
        ),
        **changes,
    )  # fmt: skip


def fall(*who: int, n: int = 3, paths: int = 1) -> np.ndarray:
    """First falls."""
    out = np.zeros((n, paths), bool)
    out[list(who)] = True
    return out


# ---------------------------------------------------------------- the sale
def test_one_sale_moves_one_price() -> None:
    """What several fallen release adds up by model before the price is taken: exp(-units / depth)."""
    own = small(limited=np.zeros(3, bool))
    assert settle(own, fall(0)).price[0, 0] == pytest.approx(np.exp(-30_000 / 50_000))
    assert settle(own, fall(0, 1)).price[0, 0] == pytest.approx(np.exp(-40_000 / 50_000))
    assert settle(own, fall(0, 1, 2)).price[0, 0] == pytest.approx(np.exp(-40_000 / 50_000))


def test_proceeds_are_the_integral_of_the_price() -> None:
    """The average of exp(-x) up to the last price, as the collateral formula has it: depth (1 - exp(-n / depth))."""
    units, depth = 30_000.0, 50_000.0
    whole = depth * (1 - np.exp(-units / depth))
    assert proceeds_share(np.array([np.exp(-units / depth)]))[0] * units == pytest.approx(whole)


def test_machines_nobody_lent_against_stay_where_they_are() -> None:
    """A fallen borrower without a secured loan sells nothing."""
    assert settle(small(), fall(2)).price[0, 0] == 1.0


def test_a_pool_behind_limited_recourse_is_given_up_under_water() -> None:
    """The fall of the first takes the second's pool below its loan; with coverage below one it is surrendered too."""
    done = settle(small(), fall(0))
    assert done.released[:, 0].tolist() == [True, True, False]
    assert done.price[0, 0] == pytest.approx(np.exp(-40_000 / 50_000))
    assert not done.fallen[1, 0]
    for change in ({"dscr": np.array([np.nan, 1.2, np.nan])}, {"limited": np.zeros(3, bool)}):
        assert not settle(small(**change), fall(0)).released[1, 0]


def test_unknown_coverage_is_not_weak_coverage() -> None:
    """A pool whose coverage is not known is not taken as surrendered."""
    assert not settle(small(dscr=np.full(3, np.nan)), fall(0)).released[1, 0]


def test_the_fallen_only_grow_and_the_rounds_are_few() -> None:
    """A chain that falls one by one ends after as many rounds as borrowers and one to see it."""
    n = 6
    own = small()
    wide = replace(own, borrowers=tuple("abcdef"), counted=np.ones(n, bool), debt_usd=np.ones(n), liquid_usd=np.ones(n))
    seen = []

    def next_one(fallen: np.ndarray) -> np.ndarray:
        seen.append(fallen.copy())
        return np.vstack([np.zeros((1, fallen.shape[1]), bool), fallen[:-1]])

    done = settle(wide, fall(0, n=n), next_one)
    assert done.fallen.all()
    assert done.rounds <= n + 1
    assert all((later >= sooner).all() for sooner, later in pairwise(seen))


@settings(max_examples=40, deadline=None)
@given(st.floats(1e3, 1e6), st.floats(1.0, 20.0), st.lists(st.booleans(), min_size=3, max_size=3), st.floats(0.0, 1.0))
def test_a_worse_price_never_lowers_the_loss(depth: float, worse: float, who: list[bool], mark: float) -> None:
    """A thinner market, or lower marks, leave no borrower with less uncovered debt."""
    start = np.array(who)[:, None]
    base, thin = settle(small(depth), start), settle(small(depth / worse), start)
    assert (thin.price <= base.price + 1e-12).all()
    assert (thin.uncovered_usd >= base.uncovered_usd - 1e-9).all()
    low = settle(small(depth, value_usd=small().value_usd * mark), start)
    assert (low.uncovered_usd.sum() >= base.uncovered_usd.sum() - 1e-9).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2))
def test_one_more_fall_never_helps_the_others(who: list[bool], more: int) -> None:
    """Adding one fallen borrower lowers prices and covers, never the reverse."""
    start = np.array(who)[:, None]
    wider = start.copy()
    wider[more] = True
    base, after = settle(small(), start), settle(small(), wider)
    assert (after.price <= base.price).all()
    assert (after.fallen >= base.fallen).all()
    still = ~after.fallen[:, 0]
    assert (after.uncovered_usd[still] >= base.uncovered_usd[still] - 1e-9).all()


def test_scaling_money_scales_losses_only() -> None:
    """Money times ten: prices as shares of the mark stay, uncovered debt is ten times."""
    names = ("value_usd", "other_usd", "principal_usd", "debt_usd", "liquid_usd")
    base = small()
    big = replace(base, **{name: getattr(base, name) * 10 for name in names})
    one, ten = settle(base, fall(0)), settle(big, fall(0))
    np.testing.assert_allclose(ten.price, one.price)
    np.testing.assert_allclose(ten.uncovered_usd, one.uncovered_usd * 10)


# ---------------------------------------------------------------- tenants and lenders
def network(**more: str) -> State:
    """CoreWeave and a host that lives on it."""
    return state_of({"coreweave": COREWEAVE, "host": host(), **more})


def links_of(state: State, **options: bool) -> Links:
    """A year of months on a few quiet paths."""
    rows = bridge(state)
    return Links(state, rows, simulated(rows, 60_000.0, 0.04, n_paths=64), **options)


def test_a_host_loses_when_its_tenant_fails() -> None:
    """Rent stops for the vacancy and re-lets lower; the host has less cash on every path and falls on some."""
    state = network()
    links = links_of(state)
    tenant, b = state.borrowers.index("coreweave"), state.borrowers.index("host")
    lost = links.rent_lost_usd(tenant)
    assert set(lost) == {"host"}
    assert lost["host"] == pytest.approx(9e6 * (6 + 5 * 0.4))  # six months empty, five at 60 % of the rent
    when = np.full((links.n, 64), links.n_periods)
    when[tenant] = 0
    rows, summary = links.without_tenants(when)
    assert links.base is not None
    assert summary is not None
    before = links.base.min_cash[links.used_rows.index(rows[0])]
    assert (summary.min_cash[0] <= before + 1e-6).all()
    assert (summary.min_cash[0] < before - 1e6).any()
    assert (links.falls(when)[b] <= links.first[b]).all()


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 11))
def test_tenant_links_never_help_a_host(month: int) -> None:
    """With the links on nobody falls later than without them, whenever the tenant falls."""
    state = network()
    on, off = links_of(state), links_of(state, tenants=False)
    when = np.full((on.n, 64), on.n_periods)
    when[state.borrowers.index("coreweave")] = month
    assert (on.falls(when) <= off.falls(when)).all()
    assert off.rent_lost_usd(state.borrowers.index("coreweave")) == {}


def test_a_shared_lender_closes_refinancing_and_off_is_the_other_end() -> None:
    """Two borrowers of one lender: a fall leaves the other unable to roll; names are compared one by one."""
    one = borrower(
        "neocloud",
        "debt_usd: 100m, debt_current_usd: 90m, cash_unrestricted_usd: 10m, revenue_quarter_usd: 20m, "
        "ebitda_adjusted_quarter_usd: 4m, interest_quarter_usd: 2m, contracted_share: 100%",
        "debts:\n" + debt("loan", "90m", "high_yield", "coupon: 8%, maturity: 2027-01-31, lender: LENDERS"),
    )
    texts = {"first": one.replace("LENDERS", '"Alpha and Beta"'), "second": one.replace("LENDERS", '"Beta, Gamma"')}
    state = state_of(texts)
    assert shared_lenders(state).tolist() == [[False, True], [True, False]]
    assert not shared_lenders(state_of({**texts, "second": one.replace("LENDERS", "Delta")})).any()
    on, off = links_of(state, lenders=True), links_of(state)
    when = np.full((2, 64), on.n_periods)
    when[0] = 0
    assert (on.falls(when)[1] < on.n_periods).all()
    assert (off.falls(when)[1] == off.first[1]).all()

    late = np.full((2, 64), on.n_periods)
    late[0] = 4  # what falls due in January is rolled unless the other has fallen by then
    assert (on.falls(late)[1] == np.where(on.first[1] > 4, np.minimum(on.first[1], 5), on.first[1])).all()
    late[0] = 8  # after it: a door that shuts later undoes nothing
    assert (on.falls(late)[1] == on.first[1]).all()


@pytest.mark.parametrize("missing", ["vacancy_months", "relet_share"])
def test_rent_nobody_assumes_to_come_back_is_gone_for_good(missing: str) -> None:
    """Without an assumption about the vacancy a host loses all of its fallen tenant's rent, and the answer says so."""
    state = network()
    assert state.book is not None
    rows = tuple(row for row in state.book.assumptions if row.name != missing)
    without = build_state(replace(state.book, assumptions=rows), state.quotes)
    whole, gone = (fall_of(one, "coreweave") for one in (state, without))
    assert gone.rent_lost_usd["host"] > whole.rent_lost_usd["host"]
    assert any(missing in text and "gone for good" in text for text in gone.used)
    assert any(missing in text for text in whole.used)


def test_machines_nobody_can_value_are_not_a_pool_under_water() -> None:
    """Escrow alone does not make a pool worth less than its loan where its machines are not known: nothing is given up
    and nothing is called under water; with the machines known and few, it is."""
    terms = "cfads_quarter_usd: 6m, service_quarter_usd: 21m, escrow_usd: 5m"
    vintage = (
        "cost_vintages: [{bought: 2025-06-30, cost_usd: 60m, model_mix: {H100: 100%}, as_of: 2026-06-30, "
        "published: 2026-08-12, quality: filing, source: Form 10-Q}]"
    )

    def text(machines: str) -> str:
        return borrower(
            "neocloud",
            "debt_usd: 400m, cash_unrestricted_usd: 20m",
            "debts:\n"
            + debt("loan", "400m", "ddtl", "base: SOFR, margin: 4%, recourse: none")
            + "facilities:\n"
            + pool("gpus", "loan", "hardware", terms, machines),
        )

    nothing = np.zeros((2, 1), bool)
    for machines, given_up in ((vintage, True), ("", False)):
        state = state_of({"fleet": fleet(), "thin": text(machines)})
        own = holdings(state)
        assert settle(own, nothing).released[own.pools.index("thin/gpus"), 0] == given_up
        (first, *_) = in_rounds(state, "fleet").rounds
        assert "thin/gpus" not in first.under_water


def test_a_cascade_adds_the_debt_of_those_it_drags_down() -> None:
    """The tenant's own debt and that of the host which cannot pay without its rent."""
    state = network()
    done = cascade(state, links_of(state), holdings(state), "coreweave")
    assert done.rent_lost_usd["host"] > 0
    assert done.debt_usd == pytest.approx(35.551e9 + (0.4e9 if "host" in done.dragged else 0.0))
    assert done.rounds <= len(state.borrowers) + 1


def test_every_path_runs_to_its_fixed_point() -> None:
    """What falls with the links on holds what fell alone, on every path, within one round more than borrowers."""
    state = network()
    links, own = links_of(state), holdings(state)
    done = spread(links, own)
    alone = links.first < links.n_periods
    assert (done.fallen >= alone).all()
    assert done.rounds <= len(state.borrowers) + 1
    assert (spread(links_of(state, tenants=False), own).fallen == alone).all()


def test_a_fall_is_asked_by_name_at_any_corner() -> None:
    """At the adverse end the vacancy is longer and the re-let lower; a name the book does not hold is refused."""
    state = network()
    middle, adverse = (fall_of(state, "coreweave", corner=corner) for corner in (MIDDLE, ADVERSE))
    assert adverse.rent_lost_usd["host"] > middle.rent_lost_usd["host"] > 0
    assert fall_of(state, "host").rent_lost_usd == {}
    with pytest.raises(ValueError, match="no borrower 'nobody'; the book holds coreweave, host"):
        fall_of(state, "nobody")


def test_a_scenario_reaches_the_sale() -> None:
    """Under lower used prices the same fall leaves a pool of the same model worth less."""
    state = state_of({"fleet": fleet(), "other": fleet(loan="500m")})
    glut = Scenario("glut", (Move("residual", "by", -0.5),))
    today, worse = fall_of(state, "fleet"), fall_of(state, "fleet", scenario=glut)
    assert worse.cover_lost_usd >= 0
    assert today.price["H100"] == pytest.approx(worse.price["H100"])
    assert today.debt_usd == pytest.approx(0.4e9)


# ---------------------------------------------------------------- from the book
def fleet(loan: str = "400m", machines: str = "H100: 60%, H200: 40%") -> str:
    """A borrower with a secured pool of known vintages."""
    vintage = (
        f"cost_vintages: [{{bought: 2025-06-30, cost_usd: 600m, model_mix: {{{machines}}}, as_of: 2026-06-30, "
        "published: 2026-08-12, quality: filing, source: Form 10-Q}]"
    )
    return borrower(
        "neocloud",
        f"debt_usd: {loan}, cash_unrestricted_usd: 20m",
        "debts:\n"
        + debt("loan", loan, "ddtl", "base: SOFR, margin: 4%, recourse: none")
        + "facilities:\n"
        + pool("gpus", "loan", "hardware", "", vintage),
    )


def test_holdings_follow_decay_and_depth() -> None:
    """A faster decay lowers the mark, not the count of machines; a deeper market lowers nothing."""
    state = state_of({"fleet": fleet()})
    own = holdings(state)
    slow, fast = with_decay(own, state, 0.15), with_decay(own, state, 0.35)
    assert slow.value_usd.sum() > own.value_usd.sum() > fast.value_usd.sum()
    np.testing.assert_allclose(slow.units, fast.units)
    np.testing.assert_allclose(with_depth(own, 4.0).depth_units, own.depth_units * 4)


def test_unknown_pools_are_left_out_and_named() -> None:
    """A pool without machines counts as nothing, and the reader is told which and why; so is unknown recourse."""
    empty = fleet().replace("cost_vintages", "contracts").split(", contracts")[0] + "}\n"
    own = holdings(state_of({"empty": empty.replace("recourse: none, ", ""), "fleet": fleet()}))
    assert any(text.startswith("empty/gpus: no units") for text in own.left_out)
    assert any("recourse was never reported" in text for text in own.left_out)
    assert not any(text.startswith("fleet/gpus") for text in own.left_out)


def test_selling_answers_months_price_and_who_is_remarked() -> None:
    """Ten thousand H100: units over depth by quarter, mark x haircut x average, every holder of the model re-marked."""
    state = state_of({"fleet": fleet(), "other": fleet(machines="B200: 100%")})
    (sale,) = sell(state, {"H100": 10_000})
    own = holdings(state)
    m = own.models.index("H100")
    depth, mark = own.depth_units[m], own.value_usd[:, m].sum() / own.units[:, m].sum()
    assert sale.months[0] == pytest.approx(3 * 10_000 / depth)
    assert sale.last_usd[0] == pytest.approx(mark * own.haircut * np.exp(-10_000 / depth))
    assert sale.last_usd[0] < sale.average_usd[0] < mark
    assert sale.average_usd[1] <= sale.average_usd[0] <= sale.average_usd[2]
    assert set(sale.remarked) == {"fleet/gpus"}
    before, after, ltv_before, ltv_after = sale.remarked["fleet/gpus"]
    assert after < before
    assert ltv_after > ltv_before


@pytest.mark.parametrize(("orders", "words"), [({"TPU": 1}, "no machines of model TPU"), ({"H100": -1}, "negative")])
def test_a_sale_nobody_can_make_is_refused(orders: dict[str, float], words: str) -> None:
    """The model must be in the book and the count not negative."""
    with pytest.raises(ValueError, match=words):
        sell(state_of({"fleet": fleet()}), orders)
