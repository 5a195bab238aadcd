"""The rental index: who joins or leaves moves nothing, what returns returns, and the truth of a market is found."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rental_market import LATER, RECORDED, START, moves, naive_median, offer, recorded_offers, simulate, tracking_errors

from monitor.index import (
    FULL_DAYS,
    FULL_PROVIDERS,
    MINIMUM_PROVIDERS,
    IndexPoint,
    Offer,
    chained_jevons,
    connected,
    fit,
    offer_series,
    panel,
    rental_index,
)

needs_recorded = pytest.mark.skipif(
    not RECORDED.exists(), reason="the recorded rental prices are not beside this folder"
)
prices = st.floats(0.5, 8.0)
PANEL = {"ada": 2.0, "bea": 2.5, "cyd": 3.0, "dot": 3.2, "eve": 4.0}


def days(n: int) -> list[date]:
    return [START + timedelta(days=t) for t in range(n)]


def index(offers: Iterable[Offer], **more: object) -> tuple[IndexPoint, ...]:
    return rental_index(offers, "H100", "on_demand", LATER, **more)  # type: ignore[arg-type]


def values(points: Iterable[IndexPoint]) -> list[float]:
    return [point.value_usd_per_gpu_hour for point in points]


def constant(n: int, prices: dict[str, float] = PANEL) -> list[Offer]:
    """Every provider at its own price on every one of n days."""
    return [offer(p, day, price) for day in days(n) for p, price in prices.items()]


# ---------------------------------------------------------------- what does not move it
@settings(max_examples=25, deadline=None)
@given(price=st.floats(0.1, 50.0), first=st.integers(1, 7), n=st.integers(1, 3))
def test_a_provider_that_joins_moves_nothing(price: float, first: int, n: int) -> None:
    """At whatever price and day newcomers appear, the index stays where it was; the naive median would not."""
    joined = [offer(f"new{i}", day, price) for day in days(8)[first:] for i in range(n)]
    assert values(index([*constant(8), *joined])) == pytest.approx([3.0] * 8)


@settings(max_examples=25, deadline=None)
@given(leaver=st.sampled_from(sorted(PANEL)), last=st.integers(0, 6))
def test_a_provider_that_leaves_moves_nothing(leaver: str, last: int) -> None:
    """Whoever stops answering, from whatever day on, the index stays."""
    left = [o for o in constant(8) if o.provider != leaver or o.observed_at.date() <= days(8)[last]]
    assert values(index(left)) == pytest.approx([3.0] * 8)


def test_a_provider_that_blinks_moves_nothing() -> None:
    """A provider that answers every other day is no saw tooth in the index, but is one in the naive median."""
    offers = [o for o in constant(20) if o.provider != "eve" or o.observed_at.day % 2]
    assert values(index(offers)) == pytest.approx([3.0] * 20)
    assert moves(list(naive_median(offers).values())).max() > 0.05


# ---------------------------------------------------------------- what moves it
@settings(max_examples=25, deadline=None)
@given(factors=st.lists(st.floats(0.7, 1.4), min_size=2, max_size=8))
def test_a_move_of_all_passes_in_full(factors: list[float]) -> None:
    """When every price is multiplied, the index is multiplied by the same, however large the move."""
    offers = [offer(p, d, price * f) for d, f in zip(days(99), factors, strict=False) for p, price in PANEL.items()]
    assert values(index(offers)) == pytest.approx([3.0 * f for f in factors], rel=1e-6)


WANDER = st.lists(st.lists(prices, min_size=5, max_size=5), min_size=1, max_size=6)


def there_and_back(wander: list[list[float]]) -> list[Offer]:
    """Five providers that begin at their own prices, wander, and end where they began."""
    rows = [list(PANEL.values()), *wander, list(PANEL.values())]
    return [offer(p, START + timedelta(days=t), row[i]) for t, row in enumerate(rows) for i, p in enumerate(PANEL)]


@settings(max_examples=30, deadline=None)
@given(wander=WANDER)
def test_two_days_with_the_same_prices_have_the_same_effect(wander: list[list[float]]) -> None:
    """Within a window there is no chain that could drift: equal prices, equal index, whatever happened in between."""
    table = panel(there_and_back(wander), "H100", "on_demand", LATER)
    effect = fit(table.log_price, table.provider).day_effect
    assert effect[-1] == pytest.approx(effect[0], abs=1e-9)


@settings(max_examples=12, deadline=None)
@given(wander=WANDER)
def test_prices_that_return_bring_the_index_back(wander: list[list[float]]) -> None:
    """What was said in between is not taken back, so the index returns to within what the last window revises."""
    first, *_, last = index(there_and_back(wander))
    assume(not last.withheld)
    away = math.log(last.value_usd_per_gpu_hour / first.value_usd_per_gpu_hour)
    assert abs(away) <= -math.log1p(-last.revision) + 1e-6


def test_nothing_accumulates_over_many_windows() -> None:
    """Offers that come cheap, rise and vanish, again and again: a chain climbs without end; the index, after its first
    window has learned what each offer usually costs, stays."""
    own = dict(zip("abcdefgh", np.linspace(1.5, 5.0, 8), strict=True))
    offers = []
    for t, day in enumerate(days(100)):
        season = {p: (0.95, 1.0, 1.05, math.nan)[(t + i) % 4] for i, p in enumerate(own)}
        offers += [offer(p, day, own[p] * f) for p, f in season.items() if math.isfinite(f)]
    points = index(offers, window_days=20)
    assert values(points)[30:] == pytest.approx([points[30].value_usd_per_gpu_hour] * 70, rel=0.002)
    assert points[-1].value_usd_per_gpu_hour == pytest.approx(points[0].value_usd_per_gpu_hour, rel=0.1)
    assert points[-1].jevons_usd_per_gpu_hour > 10 * points[0].jevons_usd_per_gpu_hour


@settings(max_examples=20, deadline=None)
@given(absurd=st.sampled_from([0.02, 0.3, 30.0, 99.0]), who=st.sampled_from(sorted(PANEL)))
def test_one_absurd_price_hardly_counts(absurd: float, who: str) -> None:
    """A single believable but mad price moves a panel of five by less than 1.5 % on its day, and nothing later."""
    offers = [replace(o, price_usd_per_gpu_hour=absurd) if hit(o, who) else o for o in constant(10)]
    found = values(index(offers))
    assert found[5] == pytest.approx(3.0, rel=0.015)
    assert found[-1] == pytest.approx(3.0, rel=0.002)


def hit(o: Offer, who: str) -> bool:
    """The offer of one provider on the sixth day."""
    return o.provider == who and o.observed_at.date() == days(10)[5]


def test_lists_that_never_move_do_not_freeze_the_index() -> None:
    """Ten pages nobody edits beside four markets that fall by 20 %: the index follows the markets."""
    lists = [offer(f"page{i}", day, 4.0 + i / 10, "list") for day in days(40) for i in range(10)]
    fall = {day: 0.8 ** (t / 39) for t, day in enumerate(days(40))}
    asks = [offer(f"market{i}", day, (2.0 + i / 5) * f) for day, f in fall.items() for i in range(4)]
    points = index([*lists, *asks])
    assert points[-1].value_usd_per_gpu_hour / points[0].value_usd_per_gpu_hour == pytest.approx(0.8, abs=0.03)
    assert (points[-1].providers, points[-1].moved) == (14, 4)


def test_a_panel_of_lists_follows_when_they_move_at_last() -> None:
    """Constant for a month, the lists are then cut by 10 % on five different days: the index ends 10 % lower."""
    offers = [
        offer(p, day, price * (0.9 if t >= 30 + i else 1.0), "list")
        for t, day in enumerate(days(50))
        for i, (p, price) in enumerate(PANEL.items())
    ]
    found = values(index(offers))
    assert found[29] == pytest.approx(3.0)
    assert found[-1] == pytest.approx(2.7, rel=0.005)


# ---------------------------------------------------------------- when it is withheld
@pytest.mark.parametrize("n", range(7))
def test_a_small_panel_is_withheld_or_marked(n: int) -> None:
    """Below three providers there is no value but a reason; below five, or in its first week, it is thin."""
    points = index([offer(f"p{i}", day, 2.0 + i) for day in days(9) for i in range(n)])
    for t, point in enumerate(points):
        assert point.providers == n
        assert bool(point.withheld) == math.isnan(point.value_usd_per_gpu_hour) == (n < MINIMUM_PROVIDERS)
        assert point.withheld == "" or f"{n} provider" in point.withheld
        assert point.thin == (n < FULL_PROVIDERS or t < FULL_DAYS)


def test_many_regions_are_one_provider() -> None:
    """Forty regions of one provider are neither a panel nor forty voices."""
    regions = [replace(offer("big", day, 2.0), series=f"big/{i}") for day in days(2) for i in range(40)]
    assert "offers of 1 provider, 3 needed" in index(regions)[0].withheld
    cut = [replace(o, price_usd_per_gpu_hour=1.0) if o.observed_at.date() > START else o for o in regions]
    first, last = index([*constant(2), *cut])
    assert last.value_usd_per_gpu_hour == pytest.approx(first.value_usd_per_gpu_hour, rel=0.015)
    assert (last.providers, last.series) == (6, 45)


def test_a_panel_of_strangers_is_withheld_until_the_window_has_passed() -> None:
    """When every provider is replaced no move is known; after the window a new level begins and says so."""
    gone = constant(5)
    strangers = [offer(f"new{i}", day, 9.0 + i) for day in days(20)[5:] for i in range(5)]
    points = index([*gone, *strangers], window_days=10)
    assert [bool(p.withheld) for p in points] == [False] * 5 + [True] * 9 + [False] * 6
    assert "only 0 providers of 5 seen before, 3 needed" in points[5].withheld
    assert [p.day for p in points if p.rebased] == [days(20)[14]]
    assert values(points)[14:] == pytest.approx([11.0] * 6)


def test_two_of_three_seen_before_are_too_few() -> None:
    """A panel of five of which only two were there yesterday says nothing about a move."""
    first = constant(1, {"a": 2.0, "b": 2.5, "c": 3.0})
    second = [offer(p, days(2)[1], 2.0) for p in ("a", "b", "x", "y", "z")]
    assert "only 2 providers of 5 seen before" in index([*first, *second])[1].withheld


def test_a_gap_is_bridged() -> None:
    """After a fortnight without any answer the same providers tell what happened meanwhile."""
    before, after = constant(5), [offer(p, START + timedelta(days=20), price * 1.1) for p, price in PANEL.items()]
    assert values(index([*before, *after]))[-1] == pytest.approx(3.3)


@pytest.mark.parametrize("price", [math.nan, math.inf, -2.0, 0.0, 250.0, 1e300])
def test_what_is_no_price_is_counted_and_left_out(price: float) -> None:
    """NaN, infinite, negative and absurd prices are never part of the panel, and the point says how many."""
    points = index([*constant(3), offer("odd", days(3)[2], price)])
    assert values(points) == pytest.approx([3.0] * 3)
    assert [point.left_out for point in points] == [0, 0, 1]
    (only,) = index([offer("odd", START, price)])
    assert "offers of 0 providers" in only.withheld


def test_no_offers_no_index() -> None:
    """Nothing in, nothing out, and no error."""
    assert index([]) == ()


# ---------------------------------------------------------------- what belongs together
def test_markets_and_models_are_kept_apart() -> None:
    """Spot, reserved and other models beside the on-demand panel change nothing of it."""
    others = [replace(o, market="spot", price_usd_per_gpu_hour=1.0) for o in constant(4)]
    others += [replace(o, market="reserved", price_usd_per_gpu_hour=1.5) for o in constant(4)]
    others += [replace(o, model="H200", price_usd_per_gpu_hour=9.0) for o in constant(4)]
    assert index([*constant(4), *others]) == index(constant(4))
    spot = rental_index([*constant(4), *others], "H100", "spot", LATER)
    assert values(spot) == pytest.approx([1.0] * 4)


def test_nothing_is_known_before_its_time() -> None:
    """Each day's value is the same whether or not the days after it are already known."""
    offers = simulate(5, n_days=12, n_providers=8).offers
    whole = {p.day: p for p in index(offers)}
    for n in (4, 8, 12):
        at = datetime(START.year, START.month, START.day, 12, tzinfo=UTC) + timedelta(days=n)
        for point in rental_index(offers, "H100", "on_demand", at):
            assert point.day < at.date()
            assert values([point]) == pytest.approx(values([whole[point.day]]), nan_ok=True)


def test_offers_from_the_future_are_not_looked_at() -> None:
    """An offer dated after the moment of asking makes no point, whatever it says about when it was known."""
    at = datetime(START.year, START.month, START.day, 23, tzinfo=UTC)
    ahead = [replace(o, known_at=at) for o in constant(3)]
    assert [p.day for p in rental_index(ahead, "H100", "on_demand", at)] == [START]


def test_what_was_said_is_linked_to_and_stays() -> None:
    """With the past already said, only new days are computed, on its level."""
    said = dict.fromkeys(days(6), 5.0)
    found = index([*constant(6), *(offer(p, days(7)[6], price * 1.2) for p, price in PANEL.items())], published=said)
    assert [p.day for p in found] == days(7)[6:]
    assert values(found) == pytest.approx([6.0])
    assert found[0].revision == pytest.approx(0.0, abs=1e-9)


def test_a_level_is_only_linked_to_days_that_share_offers() -> None:
    """Days of another panel in the same window, at another level, have no part in the link."""
    others = [offer(f"new{i}", day, 5.0 + i) for day in days(11)[5:] for i in range(5)]
    said = {day: 3.0 if t < 5 else 6.0 for t, day in enumerate(days(10))}
    (point,) = index([*constant(5), *others], published=said)
    assert point.value_usd_per_gpu_hour == pytest.approx(6.0)


def test_a_revision_is_reported() -> None:
    """When the window disagrees with what was said, the point says by how much."""
    said = {day: 3.0 * (1.1 if t == 5 else 1.0) for t, day in enumerate(days(6))}
    (point,) = index(constant(7), published=said)
    assert point.revision == pytest.approx(1 - 1.1 ** (-5 / 6))


def test_the_point_describes_its_panel() -> None:
    """Dispersion is that of the levels, the standard error falls with the panel, both are fractions."""
    few, many = (index(simulate(3, 20, n).offers)[-1] for n in (6, 24))
    assert 0.1 < many.dispersion < 0.8
    assert 0 < many.standard_error < few.standard_error < 0.1


def test_offers_that_never_met_are_not_compared() -> None:
    """Days and series count only where a chain of shared offers joins them with the last day."""
    known = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]], np.bool_)
    series, reached = connected(known)
    assert series.tolist() == [False, False, True]
    assert reached.tolist() == [False, False, True, True]


def test_the_chain_is_broken_where_nothing_matches() -> None:
    """The cross-check says nothing once a day shares no offer with the day before."""
    table = panel([*constant(2), *(offer(f"new{p}", days(3)[2], 2.0) for p in PANEL)], "H100", "on_demand", LATER)
    assert np.isnan(chained_jevons(table)).tolist() == [False, False, True]


def test_a_series_is_named_by_what_is_compared() -> None:
    """Another region or size is another series."""
    names = {offer_series("RunPod", "H100", "on_demand", "list", r, n) for r in ("secure", "community") for n in (1, 8)}
    assert len(names) == 4


# ---------------------------------------------------------------- against the markets
@needs_recorded
def test_on_the_recorded_market_it_is_calm_where_the_median_jumps() -> None:
    """H100 on demand: the median jumps by over a fifth when one provider joins or errs, the index by under 3 %."""
    offers = recorded_offers("H100", "on_demand")
    naive, points = naive_median(offers), index(offers)
    found = {point.day: point.value_usd_per_gpu_hour for point in points}
    for day in (date(2026, 5, 22), date(2026, 8, 18), date(2026, 8, 19)):
        before = day - timedelta(days=1)
        assert abs(naive[day] / naive[before] - 1) > 0.2
        assert abs(found[day] / found[before] - 1) < 0.03
    assert moves(list(found.values())).max() < 0.03
    assert len(points) == 103
    assert not any(point.withheld for point in points)


@needs_recorded
def test_the_recorded_spot_panel_is_thin() -> None:
    """Three providers of spot H100 are never presented as a full panel."""
    points = rental_index(recorded_offers("H100", "spot"), "H100", "spot", LATER)
    assert all(point.thin for point in points)
    assert any(point.withheld for point in points)


@pytest.mark.parametrize("seed", [1, 2])
def test_on_a_simulated_market_it_finds_the_truth(seed: int) -> None:
    """With entry, exit, noise and errors the index is off by at most a third of what the naive median is off by."""
    market = simulate(seed, n_days=80)
    points = index(market.offers)
    ours, naive = tracking_errors(market, points)
    assert ours <= naive / 3
    assert ours < 0.03
    assert sum(not point.withheld for point in points) >= 70


def test_providers_that_disagree_give_no_index() -> None:
    """Two that double while two halve leave nothing to say: withheld with its error, and known again afterwards."""
    quarrel = {"ada": 2.0, "bea": 2.0, "cyd": 0.5, "dot": 0.5}
    four = {p: PANEL[p] for p in quarrel}
    offers = [
        offer(p, day, price * (quarrel[p] if t == 8 else 1))
        for t, day in enumerate(days(10))
        for p, price in four.items()
    ]
    points = index(offers)
    assert [bool(point.withheld) for point in points] == [False] * 8 + [True, False]
    assert "the providers disagree" in points[8].withheld
    assert points[8].standard_error > 0.1
    assert points[9].value_usd_per_gpu_hour == pytest.approx(points[0].value_usd_per_gpu_hour)
