"""Delivered messages that say afterwards how their alerts stand: edits through the outbox, by real clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_telegram import BROKEN, CANNOT_PARSE, LOST, NOT_FOUND, TOKEN, TOO_OLD, Failure, FakeTelegram, too_many
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.bot.buttons import for_alerts
from monitor.chat.telegram import CAPTION_UNITS, TelegramChannel, fitted
from monitor.marking import Standing, edit_of, mark_of
from monitor.markup import TELEGRAM_UNITS, html, utf16_units, without_markup
from monitor.model import AlertState, Decision, Event, EventKind, Line, Message, MessageKind, Severity
from monitor.postman import Delivered, Postman
from monitor.routes import Overlay, Route
from monitor.store import Store, TickRow
from monitor.store_post import post_of

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DESK, SPARE = Route("desk", "telegram", "42"), Route("spare", "telegram", "43")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "canary.sqlite") as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[FakeTelegram]:
    with FakeTelegram() as running:
        yield running


def event(name: str, kind: EventKind = "fired", minute: int = 0, severity: Severity = "critical") -> Event:
    """One turn of the alert NAME of one borrower."""
    at = T0 + minute * MINUTE
    return Event(f"{name} {kind} {minute}", name, "acme", severity, kind, at, "", "ok", "firing", name.lower())


def said(kind: MessageKind, *events: Event, lines: tuple[Line, ...] = (Line("now", "0.9 > 0.8"),)) -> Message:
    """The message about some events."""
    severity, at, ids = events[0].severity, events[0].at, tuple(one.id for one in events)
    title = f"{'RESOLVED' if kind == 'resolved' else severity.upper()} Acme"
    return Message(f"m-{ids[0]}".replace(" ", "-"), "desk", "telegram", "42", kind, severity, title, lines, at, ids)


def commit(store: Store, *messages: Message, told: tuple[Event, ...], fires: tuple[Event, ...] = ()) -> None:
    """One evaluation: its events, the messages about them, and what fires after it."""
    states = {
        (one.rule, one.subject): AlertState(one.rule, one.subject, "firing", fired_at=one.at, short_id=one.short_id)
        for one in fires
    }
    decisions = [Decision(i, "desk", True, "it fired", m.id) for m in messages for i in m.event_ids]
    at = max(one.at for one in told)
    store.commit_tick(TickRow(at), states=states, events=told, decisions=decisions, messages=messages)


def deliver(
    store: Store, server: FakeTelegram, minute: int = 1, rounds: int = 1, pictures: Any = None
) -> list[Delivered]:
    """Rounds of delivery a minute apart, in new processes so to speak: nothing but the database remembers."""

    async def scenario() -> list[Delivered]:
        now = [T0 + minute * MINUTE]

        async def on_writer(work: Any) -> Any:
            return work()

        memory = SimpleNamespace(live=store, stores=lambda: [store])

        async def write(function: Any, *arguments: Any) -> Any:
            return function(memory, *arguments)

        keys = for_alerts(SimpleNamespace(write=write), lambda: now[0])  # type: ignore[arg-type]
        postman = Postman(on_writer, lambda: now[0], pictures, unpaced=("telegram",))
        postman.channels["telegram"] = TelegramChannel(TOKEN, server.url, answer_s=5.0, buttons=keys)
        world: Any = SimpleNamespace(routes=[DESK, SPARE])
        done = []
        for _ in range(rounds):
            done.append(await postman.deliver(world, store, now[0]))
            now[0] += MINUTE
        await postman.close()
        return done

    return asyncio.run(scenario())


def fire(store: Store, server: FakeTelegram, *names: str, **others: Any) -> Event:
    """Alerts of one borrower fire and their message arrives; the first of the events."""
    events = tuple(event(name) for name in names)
    commit(store, said("fired", *events, **others), told=events, fires=events)
    deliver(store, server)
    return events[0]


def ack(store: Store, minute: int = 5, by: str = "Ann") -> None:
    store.add_overlay(Overlay("ack", T0 + minute * MINUTE, short_id="low", by=by))


def requests(server: FakeTelegram) -> list[str]:
    return [request.method for request in server.asked]


# ---------------------------------------------------------------- what is marked
def test_an_acknowledged_alert_says_so_in_its_message(store: Store, server: FakeTelegram) -> None:
    """The first line names who and when, what it said stays below, Ack is gone, and no telephone rings."""
    fire(store, server, "Low")
    assert server.shown("42")[0][2] == ["Ack", "Silence 1 d", "Silence 7 d", "Why", "Chart", "Stress"]
    ack(store)
    assert deliver(store, server, 6) == [Delivered(edited=1)]
    (_, text, buttons) = server.shown("42")[0]
    assert text == "acknowledged by Ann 12:05 UTC\nCRITICAL Acme\nnow  0.9 > 0.8"
    assert buttons == ["Silence 1 d", "Silence 7 d", "Why", "Chart", "Stress"]
    assert requests(server) == ["sendMessage", "editMessageText"]
    assert deliver(store, server, 7) == [Delivered()]


def test_a_silenced_alert_says_until_when_and_loses_those_buttons(store: Store, server: FakeTelegram) -> None:
    """A silence over the whole rule marks the message too; both marks stand together."""
    fire(store, server, "Low")
    ack(store)
    store.add_overlay(Overlay("silence", T0 + 6 * MINUTE, T0 + timedelta(days=1), rule="Low", by="Bob"))
    deliver(store, server, 7)
    (_, text, buttons) = server.shown("42")[0]
    assert text.startswith("acknowledged by Ann 12:05 UTC; silenced by Bob until 2026-11-02 12:00 UTC\n")
    assert buttons == ["Why", "Chart", "Stress"]
    assert requests(server).count("editMessageText") == 1  # only the newest is worth sending


def test_a_word_taken_back_restores_the_message(store: Store, server: FakeTelegram) -> None:
    """After an unack the message says what it said at first, with all its buttons."""
    fire(store, server, "Low")
    first = server.shown("42")
    ack(store)
    deliver(store, server, 6)
    number = store.numbered_overlays(T0 + 7 * MINUTE)[0][0]
    assert store.end_overlay(number, T0 + 7 * MINUTE)
    deliver(store, server, 8)
    assert server.shown("42") == first


def test_a_resolved_alert_is_marked_and_answered_in_its_thread(store: Store, server: FakeTelegram) -> None:
    """The recovery is a new message in reply to the old one; the old one says resolved and has no buttons."""
    fire(store, server, "Low")
    over = event("Low", "resolved", 70)
    commit(store, said("resolved", over), told=(over,))
    assert deliver(store, server, 71) == [Delivered(sent=1, edited=1)]
    (first, text, buttons), (_, answer, _) = server.shown("42")
    assert (text.split("\n")[0], buttons) == ("resolved 13:10 UTC", [])
    assert answer.startswith("RESOLVED Acme")
    reply = next(
        r.fields for r in server.asked if "RESOLVED Acme</b>" in str(r.fields.get("text")) and "reply" in str(r)
    )
    assert reply["reply_parameters"]["message_id"] == first
    assert requests(server) == ["sendMessage", "sendMessage", "editMessageText"]  # what rings comes first


def test_a_message_about_several_names_each(store: Store, server: FakeTelegram) -> None:
    """One of two is over: the other keeps the buttons."""
    fire(store, server, "Low", "Due")
    over = event("Due", "resolved", 3)
    commit(store, said("resolved", over), told=(over,), fires=(event("Low"),))
    deliver(store, server, 4)
    (_, text, buttons) = server.shown("42")[0]
    assert text.startswith("#due resolved 12:03 UTC\nCRITICAL Acme\n")
    assert "Ack" in buttons


def test_what_fires_again_is_a_new_message_and_the_old_one_stays_over(store: Store, server: FakeTelegram) -> None:
    """The new episode leaves the message of the old one alone."""
    fire(store, server, "Low")
    over, again = event("Low", "resolved", 3), event("Low", "fired", 9)
    commit(store, said("resolved", over), told=(over,))
    deliver(store, server, 4)
    commit(store, said("fired", again), told=(again,), fires=(again,))
    deliver(store, server, 10)
    ack(store, 12)
    deliver(store, server, 13)
    texts = [text.split("\n")[0] for _, text, _ in server.shown("42")]
    assert texts == ["resolved 12:03 UTC", "RESOLVED Acme", "acknowledged by Ann 12:12 UTC"]


def test_a_rise_in_severity_is_a_new_message(store: Store, server: FakeTelegram) -> None:
    """The critical twin of a warning fires: a message that rings, and no edit of the warning."""
    warning = event("Tight", severity="warning")
    commit(store, said("fired", warning), told=(warning,), fires=(warning,))
    deliver(store, server)
    page = event("Short", minute=2)
    commit(store, said("fired", page), told=(page,), fires=(warning, page))
    deliver(store, server, 3)
    assert requests(server) == ["sendMessage", "sendMessage"]


def test_reminders_are_marked_with_the_message_they_repeat(store: Store, server: FakeTelegram) -> None:
    """Every message that still offers Ack says who did it; a reminder of last week is left as it is."""
    low = fire(store, server, "Low")
    for name, hours in (("r1", 6), ("r2", 24 * 7)):
        at = T0 + timedelta(hours=hours)
        reminder = replace(said("reminder", low), id=name, created_at=at)
        store.commit_tick(TickRow(at), messages=[reminder])
        deliver(store, server, hours * 60 + 1)
    ack(store, 24 * 7 * 60 + 5)
    deliver(store, server, 24 * 7 * 60 + 6)
    marked = [text.startswith("acknowledged by Ann") for _, text, _ in server.shown("42")]
    assert marked == [True, False, True]


def test_what_happened_while_the_message_was_on_its_way_is_said_after_it(store: Store, server: FakeTelegram) -> None:
    """Acknowledged at the terminal before the message arrived: it arrives, then it is marked."""
    low = event("Low")
    commit(store, said("fired", low), told=(low,), fires=(low,))
    ack(store, 1)
    assert deliver(store, server, 2, rounds=2) == [Delivered(sent=1), Delivered(edited=1)]
    assert server.shown("42")[0][1].startswith("acknowledged by Ann 12:01 UTC\n")


# ---------------------------------------------------------------- what Telegram may answer
def test_not_modified_counts_as_made(store: Store, server: FakeTelegram) -> None:
    """The answer to an edit was lost: it is made again, Telegram says it changes nothing, and that is success."""
    fire(store, server, "Low")
    server.script("editMessageText", LOST)
    ack(store)
    first, second = deliver(store, server, 6, rounds=2)
    assert (first.retried, first.unknown) == (1, 0)
    # the buttons get new ids, so Telegram takes the second for a change; without buttons it does not
    assert second == Delivered(edited=1)
    over = event("Low", "resolved", 9)
    server.script("editMessageText", LOST)
    commit(store, told=(over,))
    assert [one.edited for one in deliver(store, server, 10, rounds=2)] == [0, 1]
    assert post_of([store]).edits == {("telegram", "sent"): 2}


@pytest.mark.parametrize("answer", [NOT_FOUND, TOO_OLD, Failure(400, "Bad Request: MESSAGE_ID_INVALID")])
def test_a_message_that_cannot_be_changed_ends_its_edits_quietly(
    store: Store, server: FakeTelegram, answer: Failure
) -> None:
    """Counted, tried once, told nobody; the channel is not broken and takes the next message."""
    fire(store, server, "Low")
    server.script("editMessageText", answer)
    ack(store)
    assert deliver(store, server, 6, rounds=2) == [Delivered(fixed=1), Delivered()]
    post = post_of([store])
    assert (post.broken, post.edits, post.outcomes) == ((), {("telegram", "dead"): 1}, {("telegram", "sent"): 1})
    over = event("Low", "resolved", 9)
    commit(store, said("resolved", over), told=(over,))
    assert deliver(store, server, 10) == [Delivered(sent=1)]  # and no further edit of it
    assert server.texts("43") == []


def test_a_deleted_message_ends_its_edits(store: Store, server: FakeTelegram) -> None:
    """Somebody deleted it; the server itself refuses the edit as Telegram would."""
    fire(store, server, "Low")
    server._shown.clear()
    ack(store)
    assert deliver(store, server, 6) == [Delivered(fixed=1)]


@pytest.mark.parametrize("answer", [BROKEN, LOST])
def test_an_edit_waits_and_is_tried_again(store: Store, server: FakeTelegram, answer: Failure) -> None:
    """No answer and a broken server are the same to an edit: it may be made twice."""
    fire(store, server, "Low")
    server.script("editMessageText", answer)
    ack(store)
    assert [(one.retried, one.edited) for one in deliver(store, server, 6, rounds=2)] == [(1, 0), (0, 1)]


def test_an_edit_obeys_the_pause_telegram_asks_for(store: Store, server: FakeTelegram) -> None:
    """429 with 90 s: nothing for a minute, made after that."""
    fire(store, server, "Low")
    server.script("editMessageText", too_many(90))
    ack(store)
    assert [(one.retried, one.edited) for one in deliver(store, server, 6, rounds=3)] == [(1, 0), (0, 0), (0, 1)]


def test_refused_markup_is_given_up_in_an_edit_too(store: Store, server: FakeTelegram) -> None:
    """As plain text, once."""
    fire(store, server, "Low")
    server.script("editMessageText", CANNOT_PARSE)
    ack(store)
    assert deliver(store, server, 6) == [Delivered(edited=1)]
    assert "parse_mode" not in server.asked[-1].fields


def test_a_death_in_the_middle_of_an_edit_makes_it_again(store: Store, server: FakeTelegram) -> None:
    """A row left in flight is no unknown outcome of a message: it is simply made once more."""
    fire(store, server, "Low")
    ack(store)
    (row,) = store.due(T0 + 6 * MINUTE)
    store.claim(row, "died")
    assert store.recover_after_restart(T0 + 7 * MINUTE) == 0
    assert deliver(store, server, 8) == [Delivered(edited=1)]
    assert [one.state for one in store.outbox("unknown")] == []


# ---------------------------------------------------------------- pictures, long texts, other channels
def test_words_below_a_picture_are_changed_and_still_fit(store: Store, server: FakeTelegram) -> None:
    """A caption of nearly 1,024 units gives up its last row for the mark."""
    picture = SimpleNamespace(ready=lambda *_: PNG, follow=lambda *_: None)
    low = event("Low")
    lines = tuple(Line("now", "x" * 193) for _ in range(5))
    message = said("fired", low, lines=lines)
    assert utf16_units(without_markup(html(message)[0])) > CAPTION_UNITS - 60
    commit(store, message, told=(low,), fires=(low,))
    deliver(store, server, pictures=picture)
    ack(store)
    assert deliver(store, server, 6) == [Delivered(edited=1)]
    assert requests(server) == ["sendPhoto", "editMessageText", "editMessageCaption"]
    (_, text, buttons) = server.shown("42")[0]
    assert text.startswith("acknowledged by Ann 12:05 UTC\nCRITICAL Acme\n")
    assert text.endswith("... more lines were left out here")
    assert utf16_units(text) <= CAPTION_UNITS
    assert "Why" in buttons


def test_a_message_of_several_parts_is_marked_in_each(store: Store, server: FakeTelegram) -> None:
    """Every part says it, the buttons stay below the last."""
    fire(store, server, "Low", lines=tuple(Line("now", f"{i} " + "x" * 400) for i in range(20)))
    assert len(server.shown("42")) == 3
    ack(store)
    assert deliver(store, server, 6) == [Delivered(edited=1)]
    heads = [text.split("\n")[0] for _, text, _ in server.shown("42")]
    assert heads == [f"acknowledged by Ann 12:05 UTC ({i}/3)" for i in (1, 2, 3)]
    assert ["Why" in buttons for _, _, buttons in server.shown("42")] == [False, False, True]


def test_an_edit_tells_no_event_and_crowds_out_no_message(store: Store, server: FakeTelegram) -> None:
    """It names no event, so it can never stand for a delivery; what rings goes before it."""
    fire(store, server, "Low")
    ack(store)
    info = event("Note", minute=5, severity="info")
    commit(store, replace(said("fired", info), severity="info"), told=(info,), fires=(event("Low"), info))
    page = event("Short", minute=5)
    commit(store, said("fired", page), told=(page,), fires=(event("Low"), info, page))
    due = store.due(T0 + 6 * MINUTE)
    assert [row.message.kind for row in due] == ["fired", "edit", "fired"]
    assert due[1].message.event_ids == ()
    assert post_of([store]).waiting == {"telegram": 2}


def test_a_channel_that_cannot_edit_is_never_asked(store: Store) -> None:
    """A channel whose ids are no numbers queues no edit; one with numbers that cannot edit ends it without a word."""
    for number, ids in enumerate(("console-3", "7")):
        low = event(f"Low{number}")
        commit(store, replace(said("fired", low), channel="other"), told=(low,), fires=(low,))
        (row,) = store.due(T0)
        store.mark_sent(store.claim(row, "a"), T0, ids)  # type: ignore[arg-type]
    low = event("Low1")
    store.add_overlay(Overlay("ack", T0 + MINUTE, short_id="low1"))

    class Other:
        """Takes messages only."""

        name = "other"

        async def send(self, message: Message) -> str:
            raise AssertionError("an edit is not a message")

        async def close(self) -> None: ...

    async def scenario() -> Delivered:
        async def on_writer(work: Any) -> Any:
            return work()

        postman = Postman(on_writer, lambda: T0, unpaced=("other",), opened=lambda *_: Other())
        return await postman.deliver(SimpleNamespace(routes=[DESK]), store, T0 + 2 * MINUTE)  # type: ignore[arg-type]

    assert asyncio.run(scenario()) == Delivered(fixed=1)


# ---------------------------------------------------------------- words
def test_times_of_another_day_have_a_date_and_many_alerts_are_counted() -> None:
    """The mark of a message of yesterday says the day; beyond four alerts the rest is counted."""
    many = [Standing(event(f"R{i}"), event(f"R{i}", "resolved", i)) for i in range(6)]
    assert mark_of(many, date(2026, 10, 31)).startswith("#r0 resolved 2026-11-01 12:00 UTC; #r1 resolved")
    assert mark_of(many, date(2026, 11, 1)).endswith("; and 2 more")
    assert mark_of(many[:1], date(2026, 11, 1)) == "resolved 12:00 UTC"
    assert mark_of([Standing(event("R"))], date(2026, 11, 1)) == ""


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=300), st.lists(st.text(max_size=700), max_size=30), st.text(max_size=60), st.booleans())
def test_any_words_give_an_edit_telegram_accepts(title: str, rows: list[str], by: str, caption: bool) -> None:
    """Law: balanced tags and the limits, whatever was said and whoever acknowledged it."""
    from monitor.botserver import well_formed

    message = replace(said("fired", event("Low")), title=title, lines=tuple(Line("x", row) for row in rows))
    mark = Standing(event("Low"), ack=Overlay("ack", T0, by=by))
    edit = edit_of(message, [mark], 1, T0)
    parts = fitted(edit, 1, CAPTION_UNITS if caption else None)
    assert len(parts) == 1
    assert well_formed(parts[0])
    assert utf16_units(parts[0]) <= TELEGRAM_UNITS
    assert utf16_units(without_markup(parts[0])) <= (CAPTION_UNITS if caption else TELEGRAM_UNITS)
    assert without_markup(parts[0]).startswith("acknowledged")
