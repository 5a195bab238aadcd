"""What a database that runs for years keeps, and what it gives back; nothing on its way is ever given back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.model import Decision, Event, FeedReport, Message, Observation
from monitor.routes import Overlay, Told, Waiting
from monitor.store import Store, TickRow

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = 400 * DAY


def event(name: str, at: datetime, short_id: str) -> Event:
    """An event of an alert."""
    return Event(name, "LowCash", "alpha", "critical", "fired", at, "became true", "ok", "firing", short_id)


def message(name: str, at: datetime, *events: str) -> Message:
    """A message about events."""
    return Message(name, "desk", "console", "", "fired", "critical", "Title", (), at, events)


def live(store: Store, at: datetime, happened: Event) -> None:
    """One evaluation that says one event."""
    store.commit_tick(
        TickRow(at),
        events=[happened],
        decisions=[Decision(happened.id, "desk", True, "it fired", f"m-{happened.id}")],
        messages=[message(f"m-{happened.id}", at, happened.id)],
        told=[Told("desk", happened.short_id, False, at, "resolved")],
        feed_reports=[FeedReport("kraken", True, "", 1, 0.1)],
    )
    store.keep_raw(at, [("kraken", "/price", b"{}")])


def send(store: Store) -> None:
    """Everything due is accepted."""
    for row in store.due(NOW):
        taken = store.claim(row, "a")
        assert taken is not None
        store.mark_sent(taken, NOW, "1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An alert that fired twice over a year ago and once last week, and one that fired once long ago."""
    with Store(tmp_path / "canary.sqlite") as opened:
        for name, short, age in (("a1", "aaaa", 500), ("a2", "aaaa", 450), ("b1", "bbbb", 450), ("a3", "aaaa", 5)):
            live(opened, NOW - age * DAY, event(name, NOW - age * DAY, short))
        send(opened)
        yield opened


def test_what_is_old_goes_and_the_newest_of_an_alert_stays(store: Store) -> None:
    """Events, decisions, messages, answers and reports beyond their time go; each alert keeps its newest event."""
    store.thin(NOW)
    assert {one.id for one in store.events()} == {"a3", "b1"}
    assert [row.message.id for row in store.outbox()] == ["m-a3"]
    assert [row["event_id"] for row in store.rows("SELECT event_id FROM decisions")] == ["a3"]
    assert len(store.raw("kraken")) == 1
    assert store.rows("SELECT COUNT(*) AS n FROM feed_reports")[0]["n"] == 1
    assert store.rows("SELECT COUNT(*) AS n FROM ticks")[0]["n"] == 1
    assert [one.short_id for one in store.told()] == ["aaaa"]
    assert (store.lost_events(), store.check()) == ([], "ok")


def test_a_shorter_time_keeps_less(store: Store) -> None:
    """The time comes from the config: with a day nothing of last week is left but the newest event of each alert."""
    store.thin(NOW, DAY, DAY, DAY)
    assert {one.id for one in store.events()} == {"a3", "b1"}
    assert store.outbox() == []
    assert store.last_tick() is None or store.last_tick().eval_at == NOW - 5 * DAY
    assert store.lost_events() == []


def test_what_is_on_its_way_or_waits_is_never_given_back(store: Store) -> None:
    """A message nobody accepted yet, an event that waits for a digest and a silence in force stay, however old."""
    old = NOW - 450 * DAY
    store.queue([message("m-old", old, "a1")])
    waiting = Waiting(store.events(short_id="aaaa")[-1], "desk", old, "quiet")
    store.commit_tick(TickRow(NOW), waiting=[waiting])
    store.add_overlay(Overlay("silence", old, NOW + DAY, rule="LowCash"))
    store.add_overlay(Overlay("silence", old, old + DAY, rule="Over"))
    store.thin(NOW)
    assert "m-old" in {row.message.id for row in store.due(NOW)}
    assert "a1" in {one.id for one in store.events()}
    assert [one.event.id for one in store.waiting()] == ["a1"]
    assert [one.rule for one in store.overlays(old)] == ["LowCash"]


def test_single_offers_go_and_prices_stay_one_a_day(store: Store) -> None:
    """Raw offers are forgotten once no index can use them; of a price the last of each day is kept for ever."""
    old = NOW - 200 * DAY
    store.keep(
        [Observation("offer_h100_usd", 2.0, "usd/gpu-hour", old, old, "one machine")]
        + [Observation("btc_usd", 1.0 + n, "usd", old + n * timedelta(hours=1), old, "kraken") for n in range(5)]
        + [Observation("offer_h100_usd", 2.0, "usd/gpu-hour", NOW - 40 * DAY, NOW, "one machine")]
    )
    store.thin(NOW, DAY, DAY)
    assert [one.observed_at for one in store.observations(NOW, series=["offer_h100_usd"])] == [NOW - 40 * DAY]
    assert [one.value for one in store.observations(NOW, series=["btc_usd"])] == [5.0]


def test_a_digest_that_was_given_up_can_be_said_again(tmp_path: Path) -> None:
    """The same events give the same message; given up once, it is on its way again and not taken for known."""
    with Store(tmp_path / "again.sqlite") as store:
        live(store, NOW, event("a1", NOW, "aaaa"))
        store.expire(NOW)
        assert store.expire(NOW + 8 * DAY) != []
        assert [one.event.id for one in store.waiting()] == ["a1"]
        said = message("m-a1", NOW + 9 * DAY, "a1")
        store.commit_tick(TickRow(NOW + 9 * DAY), messages=[said], waiting=[])
        assert [(row.message.created_at, row.attempts) for row in store.due(NOW + 9 * DAY)] == [(NOW + 9 * DAY, 0)]
        assert store.lost_events() == []
        send(store)
        store.commit_tick(TickRow(NOW + 10 * DAY), messages=[said])
        assert store.due(NOW + 10 * DAY) == []  # what was accepted is never sent anew
