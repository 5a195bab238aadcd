"""Raw offers in a mistaken unit are kept out by provider: the index does not move, and the feed table says why."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import stamina
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Loopback
from more_answers import GOOD, NOW, daily, vast
from test_all_sources import evaluate, world_of

from monitor.index import offer_series
from monitor.model import Observation
from monitor.quarantine import mistaken_unit, without_mistaken
from monitor.rents import index_observations
from monitor.tick import Memory

START = datetime(2026, 8, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PRICES = {"one": 2.0, "two": 2.2, "three": 2.4, "four": 2.6, "five": 2.8, "six": 3.0}


def offer(provider: str, price: float, day: int, model: str = "H100", market: str = "on_demand") -> Observation:
    """One offer at noon of a day."""
    at = START + day * DAY
    subject = offer_series(provider, model, market, "list", "", 8)  # type: ignore[arg-type]
    return Observation(f"offer_{model.lower()}_usd", price, "usd/gpu-hour", at, at, provider, subject)


def listed(days: int, wrong: dict[int, float], provider: str = "one") -> list[Observation]:
    """Six providers that slowly move; one of them in another unit (a factor) on some days."""
    return [
        offer(name, price * 1.002**day * (wrong.get(day, 1.0) if name == provider else 1.0), day)
        for day in range(days)
        for name, price in PRICES.items()
    ]


def index(rows: Sequence[Observation], days: int) -> list[float]:
    """The index said day by day from what was kept, each day after the others."""
    said: list[Observation] = []
    for day in range(days):
        now = START + day * DAY + timedelta(hours=13)
        kept, _ = without_mistaken([row for row in rows if row.known_at <= now], now)
        said += index_observations(kept, [row for row in said if row.observed_at.hour == 0], now)[0]
        # the running day is said again until it is over
        said += index_observations(kept, [row for row in said if row.observed_at.hour == 0], START + (day + 1) * DAY)[0]
    return [row.value for row in sorted(said, key=lambda row: row.observed_at)]


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (8.0, "a machine of eight for one GPU"),
        (100.0, "cents for dollars"),
        (0.01, "cents for dollars"),
        (1 / 8, "a machine of eight for one GPU"),
    ],
)
def test_a_provider_in_another_unit_is_out_and_the_index_stands(factor: float, says: str) -> None:
    """On the day of the change already; the reason names provider, units, both prices and since when."""
    rows = listed(12, {10: factor, 11: factor})
    kept, (found,) = without_mistaken(rows, START + 11 * DAY)
    assert {row.source for row in rows} - {row.source for row in kept if row.observed_at >= START + 10 * DAY} == {"one"}
    assert found.provider == "one"
    assert says in found.reason
    assert "since 2026-08-11" in found.reason
    assert "before 2.0" in found.reason
    right, wrong = index(listed(12, {}), 12), index(rows, 12)
    assert wrong == pytest.approx(right, rel=0.004)


def test_three_providers_of_which_one_is_out_are_no_panel() -> None:
    """What is left is withheld with its reason rather than said from too few."""
    few = ("one", "two", "three")
    kept, found = without_mistaken([row for row in listed(10, {9: 8.0}) if row.source in few], START + 9 * DAY)
    _, withheld = index_observations(kept, [], START + 9 * DAY)
    assert [one.provider for one in found] == ["one"]
    assert withheld == {"rent_h100_on_demand_usd": "offers of 2 providers, 3 needed"}


def test_new_series_of_a_mistaken_provider_are_out_with_the_rest() -> None:
    """A model listed for the first time that day is in the same unit as the others."""
    rows = [*listed(5, {4: 8.0}), offer("one", 9.0, 4, "A100")]
    kept, (found,) = without_mistaken(rows, START + 4 * DAY)
    assert not [row for row in kept if row.source == "one" and row.observed_at == START + 4 * DAY]
    assert len(found.subjects) == 2
    assert "all its offers are kept out" in found.reason


def test_one_series_of_many_is_out_alone() -> None:
    """One mistaken machine of a provider does not silence what else it lists."""
    others = [offer("one", 1.0, day, model) for day in range(5) for model in ("A100", "H200", "B200")]
    kept, (found,) = without_mistaken([*listed(5, {4: 8.0}), *others], START + 4 * DAY)
    assert len([row for row in kept if row.source == "one" and row.observed_at == START + 4 * DAY]) == 3
    assert len(found.subjects) == 1


def test_a_price_that_returns_counts_at_once() -> None:
    """The day after, nothing is in quarantine and all of that day counts."""
    rows = listed(6, {3: 8.0, 4: 8.0})
    kept, found = without_mistaken(rows, START + 5 * DAY)
    assert found == ()
    assert len(kept) == len(rows) - 2


def test_a_provider_that_stays_is_believed_when_that_is_the_longer_past() -> None:
    """A change of unit for good never reaches the index as a move, neither when it begins nor when it is accepted."""
    days = 16
    rows = listed(days, dict.fromkeys(range(5, days), 8.0))
    kept, found = without_mistaken(rows, START + (days - 1) * DAY)
    assert found == ()
    assert {row.value > 10 for row in kept if row.source == "one"} == {True}
    assert index(rows, days) == pytest.approx(index(listed(days, {}), days), rel=0.01)


def test_a_first_day_in_another_unit_does_not_condemn_the_right_ones() -> None:
    """When the past moves out of the window and a mistaken day becomes the oldest, the right days stay."""
    kept, found = without_mistaken(listed(8, {0: 8.0}), START + 7 * DAY)
    assert found == ()
    assert [row for row in listed(8, {0: 8.0}) if row not in kept] == [offer("one", 16.0, 0)]


def test_a_quarantine_is_news_only_while_the_provider_answers() -> None:
    """A provider silent for two days is silent, not in quarantine."""
    rows = [row for row in listed(9, {6: 8.0}) if row.source != "one" or row.observed_at <= START + 6 * DAY]
    assert without_mistaken(rows, START + 6 * DAY)[1] != ()
    assert without_mistaken(rows, START + 8 * DAY)[1] == ()


@given(st.lists(st.floats(0.6, 1.6), min_size=2, max_size=20), st.integers(0, 10))
@settings(max_examples=40, deadline=None)
def test_no_market_is_in_quarantine(moves: list[float], seed: int) -> None:
    """Prices within a factor of 2.7 of one another all count, in whatever order they are read."""
    rows = [offer("one", 2.0 * move, day) for day, move in enumerate(moves)]
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert without_mistaken(shuffled, rows[-1].known_at) == (shuffled, ())


@given(st.floats(0.1, 20), st.floats(0.1, 20))
@settings(max_examples=60, deadline=None)
def test_the_same_two_prices_are_apart_both_ways(a: float, b: float) -> None:
    """From dollars to cents or back: the judgement is one."""
    assert mistaken_unit(a, b, "usd/gpu-hour") == mistaken_unit(b, a, "usd/gpu-hour")


def test_a_cut_of_token_prices_by_four_fifths_is_a_cut() -> None:
    """Makers do that; a list per thousand tokens is another thing."""
    assert mistaken_unit(2.0, 10.0, "usd/mtok") == ""
    assert mistaken_unit(0.01, 10.0, "usd/mtok") == "a thousand tokens for a million"


def test_the_feed_table_says_what_is_kept_out(tmp_path: Path) -> None:
    """A whole evaluation: the marketplace quotes machines on the second day; its report says so, the index stands."""
    with stamina.set_testing(True, attempts=1, cap=True), ExitStack() as stack:
        servers = {name: stack.enter_context(Loopback()) for name in sorted(GOOD)}
        for name, server in servers.items():
            GOOD[name](server)
        vast(servers["vast"], daily([1.4]))
        world = world_of(tmp_path, servers)
        memory = Memory(tmp_path / "state", NOW)
        try:
            first, _ = evaluate(world, memory, 0)
            vast(servers["vast"], daily([8 * 1.4]))
            second, _ = evaluate(world, memory, 24)
        finally:
            memory.close()
    series = "rent_h100_on_demand_usd", "market"
    before, after = first.numbers.quotes[series], second.numbers.quotes[series]
    assert before.known
    assert after.value == pytest.approx(before.value, rel=0.001)
    reports = {report.feed: report for report in second.reports}
    assert reports["vast"].ok
    assert "kept out of the index until the price returns" in reports["vast"].reason
    assert [name for name, report in reports.items() if "kept out" in report.reason] == ["vast"]
    assert [text for text in second.problems if "kept out" in text] != []
