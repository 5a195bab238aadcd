"""The daily line in chat: once a day at its time, on quiet days too, with everything that is kept from anybody."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from desk import CONFIG, RULE, lay_desk
from test_serving import board

from monitor.alive import say_alive
from monitor.asking import unwell_of
from monitor.cli import run_line
from monitor.config import Found, load_config
from monitor.daemon import remember, seen
from monitor.model import FeedReport, Message, Observation, Quote
from monitor.routes import Overlay, Route
from monitor.store import Store
from monitor.store_post import post_of
from monitor.tick import Memory, judge
from monitor.world import World, build_world

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
ROUTES = "routes: [{name: desk, channel: console, digest_at: '07:00', tz: Europe/Zurich}, "
ROUTES += "{name: boss, channel: console, escalation: true}]\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A small desk with two routes, one of them for escalation."""
    folder = lay_desk(tmp_path)
    (folder / "config.yaml").write_text(CONFIG + ROUTES)
    return build_world(load_config(Found(folder / "config.yaml", "test"), {}), offline=True)


def prices(at: datetime) -> list[Observation]:
    """Bitcoin, as two venues see it."""
    return [Observation("btc_usd", 80_000.0, "usd", at, at, venue) for venue in ("kraken", "coinbase")]


def told(store: Store) -> list[Message]:
    """The daily lines made so far."""
    return [row.message for row in store.outbox() if row.message.title.startswith("ALIVE")]


def test_once_a_day_at_its_time(tmp_path: Path, world: World) -> None:
    """Nothing at the first start; then one line a day at 07:00 of the route, also when nothing happened for a week."""
    with Store(tmp_path / "canary.sqlite") as store:
        for hours in range(24 * 8):
            say_alive(world, store, board(), START + timedelta(hours=hours, minutes=1))
        said = told(store)
    assert [message.created_at.strftime("%d %H:%M") for message in said] == [f"{day:02} 06:01" for day in range(2, 10)]
    assert {message.route for message in said} == {"desk"}


def test_the_line_follows_the_local_clock_and_skips_what_was_slept_through(tmp_path: Path, world: World) -> None:
    """In summer 07:00 in Zurich is 05:00 UTC; three days asleep are one line; a clock set back repeats nothing."""
    moments = [
        datetime(2027, 3, 27, 12),
        datetime(2027, 3, 28, 5, 1),
        datetime(2027, 3, 31, 9),
        datetime(2027, 3, 31, 8),
    ]
    with Store(tmp_path / "canary.sqlite") as store:
        said = [say_alive(world, store, board(), moment.replace(tzinfo=UTC)) for moment in moments]
        again = say_alive(world, store, board(), datetime(2027, 4, 1, 5, 1, tzinfo=UTC))
    assert said == [0, 1, 1, 0]
    assert again == 1


def test_it_says_what_is_kept_from_people(tmp_path: Path, world: World) -> None:
    """Every silence with its end, the silent source with its reason, blind borrowers, doubts and what is unsent."""
    seen = board(
        at=START,
        reports=(FeedReport("kraken", True, "", 2, 0.3, START), FeedReport("coinbase", False, "HTTP 500", 0, 1.0)),
        quotes=(Quote("btc_usd", "market", 1.0, "usd", START, START, "a venue", in_doubt="9 USD"),),
    )
    with Store(tmp_path / "canary.sqlite") as store:
        store.add_overlay(Overlay("silence", START, START + timedelta(days=3), rule="LowCash", by="Ada"))
        store.queue([Message("m1", "desk", "console", "", "notice", "info", "Hello", (), START)])
        store.expire(START)
        say_alive(world, store, seen, START)
        seen.post = post_of([store])
        say_alive(world, store, seen, START + timedelta(hours=19))
        (message,) = told(store)
    text = "\n".join(f"{line.label}: {line.text}" for line in message.lines)
    assert message.title == "ALIVE 2026-11-02: 2 alerts fire"
    for part in (
        "evaluated: 2026-11-01 12:00 UTC",
        "sources: 1 of 2 answer; not coinbase (HTTP 500)",
        "blind: beta",
        "in doubt: btc_usd",
        "quiet: LowCash silenced until 2026-11-04 12:00 UTC by Ada",
        "unsent: 1 messages wait, the oldest for 19 h",
    ):
        assert part in text


def test_a_quiet_day_is_said_to_be_one(tmp_path: Path, world: World) -> None:
    """With nothing to tell the line says so in every part."""
    with Store(tmp_path / "canary.sqlite") as store:
        for hours in (0, 24):
            say_alive(world, store, board(alerts={}, blind=(), reports=()), START + timedelta(hours=hours))
        (message,) = told(store)
    text = "\n".join(line.text for line in message.lines)
    assert message.title.endswith("nothing fires")
    for part in ("all are ok", "nobody", "nothing is silenced", "nothing waits"):
        assert part in text


def test_a_first_look_at_the_time(world: World) -> None:
    """The route says when: no option of its own is needed."""
    assert [route.digest_at for route in world.routes] == [time(7), Route("boss", "console").digest_at]


def test_status_ends_with_1_when_unwell(tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing fires and all is well: 0. A message that has waited too long, or no answer of any source: 1, said why."""
    now, state = datetime.now(UTC), world.config.paths.state
    (tmp_path / "rules" / "mine.yaml").write_text(RULE.replace("< 50m", "< 1"))
    calm = build_world(load_config(Found(tmp_path / "config.yaml", "test"), {}), offline=True)
    assert unwell_of(state, now) == []
    memory = Memory(state, now)
    for ok in (True, False):
        result = judge(calm, memory, prices(now), [FeedReport("kraken", ok, "", 2, 0.1, now)], now)
        remember(memory, result, seen(calm, result))
        code = run_line(["status", "--plain", "--config", str(tmp_path)])
        assert (code, "no source answered" in capsys.readouterr().out) == ((0, False) if ok else (1, True))
        now += timedelta(minutes=1)
    memory.live.queue([Message("m1", "desk", "telegram", "5", "notice", "info", "Hello", (), now)])
    memory.live.expire(now - timedelta(hours=1))
    assert "a message has waited" in " ".join(unwell_of(state, now))
    memory.close()
