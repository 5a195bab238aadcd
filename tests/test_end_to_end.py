"""One price to one message, through the real files, a real database and a real source on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from monitor.config import Config, find_config, load_config
from monitor.feeds import discover
from monitor.model import DeliveryError, Message, end_of_day
from monitor.postman import Delivered, Postman
from monitor.tick import Memory, TickResult, look, tick
from monitor.world import World, build_world
from tests.loopback import Answer, Loopback

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


async def here(work: Callable[[], T]) -> T:
    return work()


def world_of(folder: Path, config: str, offline: bool = False) -> World:
    """The starter set with another config file."""
    for name in ("rules", "book", "scenarios"):
        if not (folder / name).exists():
            shutil.copytree(ROOT / name, folder / name)
    (folder / "config.yaml").write_text(config)
    return build_world(_config(folder), offline=offline)


def _config(folder: Path) -> Config:
    return load_config(find_config(folder / "config.yaml", {"HOME": str(folder)}, folder), {"HOME": str(folder)})


def evaluate(world: World, memory: Memory, now: datetime) -> TickResult:
    return asyncio.run(tick(world, memory, now, here))


class Recorder:
    """A channel at the wire: takes every message, or fails as told."""

    name = "console"

    def __init__(self, failure: DeliveryError | None = None):
        self.taken: list[Message] = []
        self.failure = failure

    async def send(self, message: Message) -> str:
        if self.failure is not None:
            raise self.failure
        self.taken.append(message)
        return str(len(self.taken))

    async def close(self) -> None:
        """Nothing is open."""


def deliver(world: World, memory: Memory, now: datetime, **channels: Recorder) -> list[Delivered]:
    postman = Postman(here, lambda: now)
    postman.channels.update(channels)

    async def rounds() -> list[Delivered]:
        return [await postman.deliver(world, store, now) for store in memory.stores()]

    return asyncio.run(rounds())


@pytest.fixture(scope="module")
def starter() -> World:
    config = load_config(find_config(ROOT / "config.yaml", os.environ, ROOT), {"HOME": "/nonexistent"})
    return build_world(config, offline=True)


@pytest.fixture(scope="module")
def pictures(starter: World) -> dict[str, TickResult]:
    days = ("2026-02-06", "2026-07-01", "2026-08-20")
    return {day: look(starter, end_of_day(date.fromisoformat(day))) for day in days}


def number(result: TickResult, metric: str, subject: str) -> float:
    column = result.numbers.columns[metric]
    index = result.numbers.subjects[column.level].index(subject)
    assert column.known[index], column.reasons.get(index)
    return float(column.values[index])


def test_three_days_give_three_explainable_pictures(pictures: dict[str, TickResult]) -> None:
    """BTC of the day; CoreWeave's debt: 24.86bn filed for March and what was issued since, 35.55bn after 12 August."""
    july = pictures["2026-07-01"].numbers
    told = july.columns["debt_usd"].detail[july.subjects["borrower"].index("coreweave")]
    assert told.startswith("filed 24.86bn at 2026-03-31, since then: notes-9-75-2031 +2.75bn")
    assert number(pictures["2026-07-01"], "debt_usd", "coreweave") == pytest.approx(24.86e9 + 7.5e9)
    assert number(pictures["2026-08-20"], "debt_usd", "coreweave") == pytest.approx(35.551e9)
    assert number(pictures["2026-02-06"], "debt_usd", "coreweave") < 20e9
    prices = [number(result, "btc_usd", "market") for result in pictures.values()]
    assert len(set(prices)) == 3
    firing = [{(s.rule, s.subject) for s in result.states if s.state == "firing"} for result in pictures.values()]
    assert firing[0] != firing[1] != firing[2]


def test_coreweave_in_august_is_the_worked_example(pictures: dict[str, TickResult]) -> None:
    """(5.52 + 6.08 - 2.56) / 7.5 = 1.20 in the middle, 0.85 to 2.05 over the range; rule 1 stays quiet."""
    result = pictures["2026-08-20"]
    assert number(result, "liquidity_locked_12m", "coreweave") == pytest.approx(1.20, abs=0.015)
    column = result.numbers.columns["liquidity_locked_12m"]
    index = result.numbers.subjects["borrower"].index("coreweave")
    assert column.low is not None
    assert column.high is not None
    assert column.low[index] == pytest.approx(0.85, abs=0.01)
    assert column.high[index] == pytest.approx(2.05, abs=0.01)
    assert not [s for s in result.states if s.rule == "LockedBoxShort" and s.subject == "coreweave" and s.fired_at]


def test_no_number_is_nan_and_known(pictures: dict[str, TickResult]) -> None:
    """NaN exactly where unknown, and every unknown says why."""
    for result in pictures.values():
        for columns in (result.numbers.columns, *result.numbers.scenarios.values()):
            for column in columns.values():
                assert (column.known == (column.values == column.values)).all(), column.metric
                unknown = [i for i, known in enumerate(column.known) if not known]
                assert all(column.reasons.get(i) for i in unknown), column.metric


def test_the_recorded_mode_says_so_and_repeats_nothing(tmp_path: Path) -> None:
    """No source answers: the newest recorded close, RECORDED on every message, and a second start says nothing new."""
    world = world_of(tmp_path, "routes: [{name: console, channel: console}]\n", offline=True)
    memory = Memory(tmp_path / "state", NOW)
    first, screen = evaluate(world, memory, NOW), Recorder()
    assert first.recorded == date(2026, 9, 21)
    assert first.messages
    assert all(message.title.startswith("RECORDED 2026-09-21") for message in first.messages)
    deliver(world, memory, NOW, console=screen)
    assert {message.id for message in screen.taken} == {message.id for message in first.messages}
    memory.close()
    again = Memory(tmp_path / "state", NOW + timedelta(hours=3))
    second = evaluate(world, again, NOW + timedelta(hours=3))
    assert (second.messages, second.events) == ((), ())
    assert set(second.states) == set(first.states)
    deliver(world, again, NOW + timedelta(hours=3), console=(quiet := Recorder()))
    assert quiet.taken == []
    again.close()


@pytest.fixture
def venue() -> Iterator[Loopback]:
    with Loopback() as server:
        for product, price in (("BTC-USD", "80250.5"), ("ETH-USD", "2500.1")):
            answer = {"price": price, "time": "2026-11-01T11:59:58.5Z", "bid": price, "ask": price}
            server.on(f"/products/{product}/ticker", Answer.json(answer))
        yield server


OTHERS = "".join(
    f"  {one.name}: {{{{enabled: false}}}}\n" for one in discover() if one.name not in ("coinbase", "file")
)
LIVE = (
    """
routes: [{{name: console, channel: console}}]
feeds:
  coinbase: {{base_url: "{url}"}}
"""
    + OTHERS
)


def test_a_live_answer_ends_recorded_and_starts_clean(tmp_path: Path, venue: Loopback) -> None:
    """The first live price starts the live database fresh, with one first look and no single alerts of the past."""
    offline = world_of(tmp_path, "routes: [{name: console, channel: console}]\n", offline=True)
    memory = Memory(tmp_path / "state", NOW)
    assert evaluate(offline, memory, NOW).recorded is not None
    live = world_of(tmp_path, LIVE.format(url=venue.url))
    result = evaluate(live, memory, NOW)
    assert result.recorded is None
    assert number(result, "btc_usd", "market") == 80250.5
    assert [message.kind for message in result.messages] == ["notice"]
    assert "FIRST LOOK" in result.messages[0].title
    assert not any("RECORDED" in message.title for message in result.messages)
    assert len(memory.live.load_states()) > 0
    # the source falls silent: still live, the stored value with its age, and no way back to recorded numbers
    venue.on("/products/BTC-USD/ticker", Answer(500))
    later = evaluate(live, memory, NOW + timedelta(minutes=20))
    assert later.recorded is None
    assert number(later, "btc_usd", "market") == 80250.5
    silent = evaluate(live, memory, NOW + timedelta(hours=5))
    column = silent.numbers.columns["btc_usd"]
    assert not column.known[0]
    assert "old" in column.reasons[0]
    assert any(problem.startswith("coinbase: BTC-USD") for problem in silent.problems)
    memory.close()


def test_a_restart_changes_nothing(tmp_path: Path, venue: Loopback) -> None:
    """Closing and opening the database between two evaluations gives the states of an undisturbed run."""
    live = world_of(tmp_path, LIVE.format(url=venue.url))
    undisturbed, restarted = Memory(tmp_path / "one", NOW), Memory(tmp_path / "two", NOW)
    for minutes in (0, 15, 30):
        now = NOW + timedelta(minutes=minutes)
        evaluate(live, undisturbed, now)
        evaluate(live, restarted, now)
        restarted.close()
        restarted = Memory(tmp_path / "two", now)
    assert undisturbed.live.load_states() == restarted.live.load_states()
    undisturbed.close()
    restarted.close()


def test_a_dead_channel_is_told_elsewhere_with_its_message(tmp_path: Path, venue: Loopback) -> None:
    """A chat that will never take it: the other route gets the message and the reason; nothing is lost."""
    config = LIVE.format(url=venue.url).replace(
        "[{name: console, channel: console}]",
        "[{name: console, channel: console}, {name: desk, channel: telegram, to: 5}]",
    )
    live = world_of(tmp_path, config)
    memory = Memory(tmp_path / "state", NOW)
    evaluate(live, memory, NOW)
    screen, dead = Recorder(), Recorder(DeliveryError("the bot was blocked", "dead"))
    deliver(live, memory, NOW, console=screen, telegram=dead)
    deliver(live, memory, NOW, console=screen, telegram=dead)
    passed_on = [message for message in screen.taken if message.lines[0].label == "undelivered"]
    assert len(passed_on) == 1
    assert "the bot was blocked" in passed_on[0].lines[0].text
    assert memory.live.lost_events() == []
    memory.close()


def test_an_unreachable_channel_is_tried_again(tmp_path: Path, venue: Loopback) -> None:
    """A channel that fails for a while keeps its message, in order, and it arrives later exactly once."""
    live = world_of(tmp_path, LIVE.format(url=venue.url))
    memory = Memory(tmp_path / "state", NOW)
    evaluate(live, memory, NOW)
    down, up = Recorder(DeliveryError("no route to host", "retry")), Recorder()
    assert next(d.retried for d in deliver(live, memory, NOW, console=down)) == 1
    deliver(live, memory, NOW + timedelta(hours=1), console=up)
    deliver(live, memory, NOW + timedelta(hours=2), console=up)
    assert len(up.taken) == 1
    memory.close()


def test_an_edit_of_the_book_says_so(tmp_path: Path, venue: Loopback) -> None:
    """When only the book changed, the event says which figure, from what to what, from which document."""
    live = world_of(tmp_path, LIVE.format(url=venue.url))
    memory = Memory(tmp_path / "state", NOW)
    evaluate(live, memory, NOW)
    path = tmp_path / "book" / "coreweave.yaml"
    group = """facts:
  - as_of: 2026-10-31
    published: 2026-10-31
    quality: press
    source: A late release
    values: {cash_unrestricted_usd: 1m}
"""
    path.write_text(path.read_text().replace("facts:\n", group, 1))
    edited = build_world(live.config)
    # the filing day ends at midnight: only then is it known
    venue.on("/products/BTC-USD/ticker", Answer.json({"price": "80250.5", "time": "2026-11-01T12:14:58Z"}))
    result = evaluate(edited, memory, NOW + timedelta(minutes=15))
    changed = [event for event in result.events if event.subject.startswith("coreweave")]
    assert changed
    assert all("book" in event.because for event in changed)
    memory.close()


def test_a_message_names_the_value_before(tmp_path: Path, venue: Loopback) -> None:
    """What stood there at the evaluation before, until today: not the value before that one."""
    live = world_of(tmp_path, LIVE.format(url=venue.url))
    memory = Memory(tmp_path / "state", NOW)
    for minutes in (0, 15, 1470):
        now = NOW + timedelta(minutes=minutes)
        stamp = f"{now - timedelta(seconds=2):%Y-%m-%dT%H:%M:%SZ}"
        venue.on("/products/BTC-USD/ticker", Answer.json({"price": "80250.5", "time": stamp}))
        result = evaluate(live, memory, now)
    told = [line.text for message in result.messages for line in message.lines if line.label == "now"]
    due = next(text for text in told if text.startswith("days_to_next_due"))
    assert due.startswith("days_to_next_due -1.52 days, line < 0.00 days; was -0.51 days until 2026-11-02")
    memory.close()


def test_a_filing_is_named_only_where_it_changed_the_answer(starter: World) -> None:
    """CoreWeave's June filing ends what stood on its March figures and says so; a served wait names no cause."""
    result = look(starter, end_of_day(date(2026, 8, 12)))
    today = [event for event in result.events if event.at == result.eval_at]
    told = {(event.rule, event.subject): event.because for event in today if event.because}
    assert "debt_usd 24.86bn -> 35.55bn (Form 10-Q" in told["LockedBoxTight", "coreweave"]
    assert all("2026-08-12" in because for because in told.values())
    assert not any(event.because for event in result.events if (event.kind, event.before) == ("fired", "pending"))
