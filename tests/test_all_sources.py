"""All sources at once on loopback: one hangs, one fails, the tick is on time, and each silent source is one alert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import stamina
from desk import lay_desk
from loopback import Answer, Loopback
from more_answers import GOOD, NOW, PATHS

from monitor.asking import _explained
from monitor.config import find_config, load_config
from monitor.feeds import fetch_all
from monitor.metrics_base import SourceState
from monitor.model import FeedReport
from monitor.routes import borrower_of
from monitor.silence import source_states
from monitor.store import Store, TickRow
from monitor.tick import Memory, TickResult, tick
from monitor.world import World, build_world

T = TypeVar("T")
RULES = Path(__file__).parents[1] / "rules" / "data.yaml"
HANGS, FAILS = "deribit", "fred"
LIMIT_S = 1.5


async def here(work: Callable[[], T]) -> T:
    return work()


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


@pytest.fixture
def servers() -> Iterator[dict[str, Loopback]]:
    """A server per source, because some speak to the same path; all answer well."""
    with ExitStack() as stack:
        running = {name: stack.enter_context(Loopback()) for name in sorted(GOOD)}
        for name, server in running.items():
            GOOD[name](server)
        yield running


def world_of(folder: Path, servers: dict[str, Loopback]) -> World:
    """A small desk with every source on its own server, and the shipped rules about data."""
    lay_desk(folder)
    (folder / "key").write_text("secret-key\n")
    feeds = "".join(
        f"  {name}: {{base_url: '{server.url}', timeout: {LIMIT_S}s, key_file: key, contact: desk@example.org}}\n"
        for name, server in servers.items()
    )
    (folder / "config.yaml").write_text(f"schedule: {{every: 1h}}\npaths: {{state: ./state}}\nfeeds:\n{feeds}")
    with (folder / "book" / "alpha.yaml").open("a") as book:
        book.write("cik: 1\n")
    wanted = ("PriceUnknown", "SourceStale", "DistressFiling")
    texts = (RULES.read_text() + RULES.with_name("events.yaml").read_text()).split("\n- alert: ")
    chosen = [f"- alert: {text}\n" for text in texts if text.split("\n", 1)[0] in wanted]
    # told at once here, not with the daily digest
    chosen = [text.replace("severity: info", "severity: warning") for text in chosen]
    (folder / "rules" / "data.yaml").write_text("\n".join(chosen))
    config = load_config(find_config(folder / "config.yaml", {"HOME": str(folder)}, folder), {"HOME": str(folder)})
    return build_world(config)


def evaluate(world: World, memory: Memory, hours: float) -> tuple[TickResult, float]:
    """(an evaluation so many hours later, seconds it took)."""
    started = time.perf_counter()
    result = asyncio.run(tick(world, memory, NOW + timedelta(hours=hours), here))
    return result, time.perf_counter() - started


def firing(result: TickResult) -> list[tuple[str, str]]:
    return sorted((state.rule, state.subject) for state in result.states if state.state == "firing")


def test_one_hangs_one_fails_and_the_rest_is_there_on_time(tmp_path: Path, servers: dict[str, Loopback]) -> None:
    """Sixteen sources and more answer; the hanging one costs its time limit and no more."""
    for path in PATHS[HANGS]:
        servers[HANGS].on(path, Answer(hang=True))
    for path in PATHS[FAILS]:
        servers[FAILS].on(path, Answer(500))
    world = world_of(tmp_path, servers)
    observations, reports = asyncio.run(fetch_all(world.feeds, NOW, 30.0))
    bad = {report.feed: report for report in reports if not report.ok}
    assert set(bad) == {HANGS, FAILS}, {name: report.reason for name, report in bad.items()}
    assert len(reports) - len(bad) >= 15
    assert all(report.seconds < LIMIT_S + 1.5 for report in reports)
    assert {seen.series for seen in observations} >= {
        "btc_usd",
        "difficulty",
        "sofr",
        "offer_token_usd",
        "offer_h100_usd",
    }


def test_parsing_and_keeping_cost_less_than_the_slowest_source(
    tmp_path: Path, servers: dict[str, Loopback], capsys: pytest.CaptureFixture[str]
) -> None:
    """With one source a second away, everything else together takes less than that second; both are printed."""
    (good,) = servers["kraken"]._answers["/0/public/Ticker"]
    servers["kraken"].on("/0/public/Ticker", replace(good, delay_s=1.0))
    world = world_of(tmp_path, servers)
    started = time.perf_counter()
    observations, reports = asyncio.run(fetch_all(world.feeds, NOW, 30.0))
    fetched = time.perf_counter()
    answers = [(report.feed, address, body) for report in reports for address, body in report.raw]
    with Store(tmp_path / "canary.sqlite") as store:
        opened = time.perf_counter()
        with store.transaction():
            store.keep(observations)
            store.keep_raw(NOW, answers)
        kept = time.perf_counter() - opened
        assert len(store.raw("kraken")) == 1
    slowest = max(report.seconds for report in reports if report.ok)
    parsed = fetched - started - slowest
    with capsys.disabled():
        print(
            f"\n{len(reports)} sources: the slowest healthy one {slowest:.2f} s; asking and parsing beside it"
            f" {parsed:.2f} s, keeping {len(observations)} values and {len(answers)} answers {kept:.3f} s"
        )
    assert all(report.ok for report in reports)
    assert slowest >= 1.0
    assert parsed + kept < slowest


def test_a_full_store_of_answers_costs_an_evaluation_little(tmp_path: Path) -> None:
    """All answers of a fetch are one write, and room is made once: not a walk over the whole store per answer."""
    full = [("kraken", f"/{i % 45}", b"x" * 720) for i in range(70_000)]
    with Store(tmp_path / "canary.sqlite") as store:
        store.keep_raw(NOW - timedelta(days=1), full)
        began = store.db.conn.total_changes
        started = time.process_time()
        store.keep_raw(NOW, [("vast", f"/{i}", b"y" * 720) for i in range(45)])
        assert time.process_time() - started < 2.0
        assert len(store.raw("vast", 100)) == 45
        # what came in, and as much as made room for it
        assert store.db.conn.total_changes - began == pytest.approx(90, abs=45)


# ---------------------------------------------------------------- one alert per source
def test_a_silent_source_is_one_alert_of_its_own(tmp_path: Path, servers: dict[str, Loopback]) -> None:
    """Two silent sources are two alerts about sources, not one per borrower; back again, they are over."""
    for name in (HANGS, FAILS):
        for path in PATHS[name]:
            servers[name].on(path, Answer(403))
    world = world_of(tmp_path, servers)
    memory = Memory(tmp_path / "state", NOW)
    try:
        first, _ = evaluate(world, memory, 0)
        assert [pair for pair in firing(first) if pair[0] == "SourceStale"] == []
        later, _ = evaluate(world, memory, 3)
        assert [pair for pair in firing(later) if pair[0] == "SourceStale"] == [
            ("SourceStale", f"market/{HANGS}"),
            ("SourceStale", f"market/{FAILS}"),
        ]
        told = [line.text for message in later.messages for line in message.lines]
        assert f"{FAILS}: no usable answer for 3 h" in told, told
        assert not [text for text in told if "USD of debt" in text and "Alpha" not in text]
        found = _explained(world, memory.live, memory.live.last_tick(), "SourceStale", f"market/{HANGS}").found
        assert [one.subject for one in found] == [f"market/{HANGS}"]
        for name in (HANGS, FAILS):
            GOOD[name](servers[name])
        back, _ = evaluate(world, memory, 10)
        assert [pair for pair in firing(back) if pair[0] == "SourceStale"] == []
    finally:
        memory.close()


def test_with_the_network_gone_one_sentence_stands_for_all(tmp_path: Path, servers: dict[str, Loopback]) -> None:
    """When even bitcoin has no price, the silence of each source is not told beside it."""
    world = world_of(tmp_path, servers)
    memory = Memory(tmp_path / "state", NOW)
    try:
        evaluate(world, memory, 0)
        for name, server in servers.items():
            for path in PATHS[name]:
                server.on(path, Answer(drop=True))
        # recorded prices end in October: only then is there none at all
        for hours in (2000, 2000.75, 2001.5):
            evaluate(world, memory, hours)
        gone, _ = evaluate(world, memory, 2002.25)
        assert ("PriceUnknown", "market") in firing(gone)
        silent = [event for event in gone.events if event.rule == "SourceStale" and event.kind == "fired"]
        assert len(silent) >= 15
        reasons = {decision.reason for event in silent for decision in memory.live.decisions(event.id)}
        assert reasons == {"inhibited by PriceUnknown"}
    finally:
        memory.close()


def test_a_filing_of_today_fires_through_the_whole_path(tmp_path: Path, servers: dict[str, Loopback]) -> None:
    """From the SEC's list to an alert about the borrower that owns the number; after three days it is over."""
    from more_answers import SUBMISSIONS, raw, submissions

    filing = {
        "form": "8-K",
        "items": "4.02",
        "reportDate": "2026-08-13",
        "acceptanceDateTime": "2026-08-13T20:00:00.000Z",
    }
    servers["edgar"].on(SUBMISSIONS, raw(submissions(filing)))
    world = world_of(tmp_path, servers)
    memory = Memory(tmp_path / "state", NOW)
    try:
        result, _ = evaluate(world, memory, 0)
        assert ("DistressFiling", "alpha") in firing(result)
        later, _ = evaluate(world, memory, 80)
        assert ("DistressFiling", "alpha") not in firing(later)
    finally:
        memory.close()


# ---------------------------------------------------------------- the states
def report(feed: str, ok: bool, reason: str = "") -> FeedReport:
    return FeedReport(feed, ok, reason, int(ok), 0.1)


def test_silence_counts_from_the_last_answer_or_the_first_question(
    tmp_path: Path, servers: dict[str, Loopback]
) -> None:
    """A source that answered an hour ago is an hour silent; one that never did since it was first asked."""
    world = world_of(tmp_path, servers)
    with Store(tmp_path / "s.sqlite") as store:
        for hours, ok in ((-3, True), (-2, True), (-1, False)):
            row = TickRow(NOW + timedelta(hours=hours), "", "", "", "", 0, 0.0, False)
            reports = [report("kraken", ok, "busy"), report("fred", False, "gone")]
            store.commit_tick(row, feed_reports=reports)
        now = [report("kraken", False, "busy"), report("fred", False, "gone"), report("nyfed", True)]
        found = {s.name: s for s in source_states(world.feeds, now, store, NOW)}
    assert found["kraken"] == SourceState("kraken", 2 * 3600.0, "busy")
    assert found["fred"].silent_s == 3 * 3600.0
    assert found["nyfed"].silent_s == 0.0
    assert "equities" not in found
    assert borrower_of(found["kraken"].subject) == "market"
