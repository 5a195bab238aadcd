"""After an outage: one digest, nothing lost, what is urgent by itself; resolves in the thread of their announcement."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_telegram import BROKEN, LOST, TOKEN, FakeTelegram
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, Loopback

from monitor.catchup import FEWEST, MOST, catch_up
from monitor.chat.telegram import TelegramChannel
from monitor.chat.webhook import WebhookChannel
from monitor.markup import html
from monitor.model import Decision, Event, EventKind, Line, Message, MessageKind, Severity
from monitor.postman import Postman
from monitor.routes import Route
from monitor.store import Store, TickRow

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DESK = Route("desk", "telegram", "42")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "canary.sqlite") as opened:
        yield opened


def event(alert: str, kind: EventKind = "fired", minute: int = 0, severity: Severity = "warning") -> Event:
    """One turn of one alert; an alert is named RULE:SUBJECT."""
    rule, _, subject = alert.partition(":")
    name = f"{alert} {kind} {minute}"
    return Event(name, rule, subject, severity, kind, T0 + minute * MINUTE, "", "ok", "firing", f"id-{alert}")


def told(*events: Event, kind: MessageKind | None = None) -> Message:
    """The message that says these events."""
    of = kind or ("resolved" if events[0].kind == "resolved" else "fired")
    ids = tuple(one.id for one in events)
    lines = (Line("alert", ", ".join(ids)),)
    at, severity = max(one.at for one in events), events[0].severity
    return Message(f"m-{ids[0]}".replace(".", "-"), "desk", "telegram", "42", of, severity, ids[0], lines, at, ids)


def commit(store: Store, *pairs: tuple[Message, tuple[Event, ...]], at: datetime = T0) -> None:
    """One evaluation that says these messages."""
    events = [one for _, group in pairs for one in group]
    decisions = [Decision(one.id, "desk", True, "it fired", message.id) for message, group in pairs for one in group]
    store.commit_tick(TickRow(at), events=events, decisions=decisions, messages=[message for message, _ in pairs])


def one_each(*events: Event) -> list[tuple[Message, tuple[Event, ...]]]:
    return [(told(one), (one,)) for one in events]


def merged(*events: Event) -> Any:
    return catch_up([told(one) for one in events], {one.id: one for one in events}, T0, T0 + 5 * HOUR)


# ---------------------------------------------------------------- the digest
def test_newest_state_first_one_line_for_each_alert() -> None:
    """What waited is one line per alert, the newest turn first, with how often it fired."""
    a = [event("A:x", minute=1), event("A:x", "resolved", 3), event("A:x", minute=5)]
    b = [event("B:y", minute=2), event("B:y", "resolved", 9)]
    digest = merged(*a[:1], *b[:1], *a[1:], *b[1:]).digest
    assert digest.title == "DIGEST of the time out of reach, since 2026-11-01 12:00 UTC: 1 resolved, 1 fires"
    assert [line.text for line in digest.lines] == [
        "B #id-B:y, y, resolved since 2026-11-01 12:09 UTC",
        "A #id-A:x, x, fires since 2026-11-01 12:05 UTC; it fired 2 times",
    ]
    assert (digest.kind, digest.severity, digest.route, digest.to) == ("digest", "warning", "desk", "42")
    assert set(digest.event_ids) == {one.id for one in (*a, *b)}


def test_every_alert_is_told_by_its_number() -> None:
    """Rule, borrower, since when and the numbers it was judged by; unknown is a question mark, never left out."""
    short = replace(event("Short:acme", minute=1), values={"liquidity_locked_12m": 0.63, "debt_usd": 4.1e9, "ltv": 1.0})
    call = replace(event("Call:acme/spv", minute=2), values={"margin_call_btc_usd": None})
    old = replace(event("Old:acme", minute=3), values={"distress_filing_age": 90000.0})
    broken = replace(event("Bad:x", "error", 4), reason="the rule failed: why $x$ <b>")
    digest = merged(short, call, old, broken).digest
    assert [line.text for line in digest.lines] == [
        "Bad #id-Bad:x, x, cannot be evaluated since 2026-11-01 12:04 UTC: the rule failed: why $x$ <b>",
        "Old #id-Old:acme, acme, fires since 2026-11-01 12:03 UTC: distress_filing_age 25 h",
        "Call #id-Call:acme/spv, acme/spv, fires since 2026-11-01 12:02 UTC: margin_call_btc_usd ?",
        "Short #id-Short:acme, acme, fires since 2026-11-01 12:01 UTC: liquidity_locked_12m 0.63x, debt_usd 4.10bn USD",
    ]


def test_what_still_pages_stays_a_message_of_its_own() -> None:
    """The newest message about a critical alert that still fires stays; what was said of it before, and what is over,
    does not."""
    page, again = event("P:x", severity="critical"), event("P:x", minute=30, severity="critical")
    over = [event("Q:y", severity="critical"), event("Q:y", "resolved", 7, "critical")]
    rest = [event(f"W:{i}", minute=i) for i in range(2)]
    events = [page, *over, *rest, again]
    messages = [told(one) for one in events]
    found = catch_up(messages, {one.id: one for one in events}, T0, T0 + 5 * HOUR)
    assert found is not None
    assert set(found.ids) == {message.id for message in messages[:-1]}
    assert "P #id-P:x, x, fires since 2026-11-01 12:30 UTC" not in [line.text for line in found.digest.lines][3:]


def test_few_are_sent_as_they_are() -> None:
    """A digest of three says no more than three messages."""
    assert merged(*(event(f"W:{i}") for i in range(FEWEST - 1))) is None


def test_notices_stay_by_their_title_also_through_a_second_outage() -> None:
    """A message about no alert is named in the digest, and in the one that takes that digest's place."""
    events = [event(f"W:{i}") for i in range(FEWEST)]
    notice = replace(told(events[0], kind="notice"), id="n", event_ids=(), title="WARNING an edit cannot be used")
    known = {one.id: one for one in events}
    first = catch_up([notice, *map(told, events)], known, T0, T0 + HOUR)
    assert first is not None
    second = catch_up(
        [first.digest, *(replace(told(one), id=f"again-{one.id}") for one in events)], known, T0, T0 + HOUR
    )
    assert second is not None
    assert [line.text for line in second.digest.lines if line.label == "notice"] == ["WARNING an edit cannot be used"]


def test_a_digest_of_thousands_ends() -> None:
    """Every event is in it, a hundred alerts are named, the rest is counted."""
    events = [event(f"W:{i}", minute=i) for i in range(MOST + 50)]
    digest = merged(*events).digest
    assert len(digest.event_ids) == MOST + 50
    assert digest.lines[-1].text == "and 50 more: `canary alerts` lists all"


SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("PQRS"), st.booleans(), st.sampled_from(SEVERITIES)), max_size=14))
def test_no_event_is_lost_in_a_digest(turns: list[tuple[str, bool, Severity]]) -> None:
    """Law: every event of what waited is in the digest or in a message that stays; no alert that pages is hidden."""
    events = [event(f"{rule}:x", "fired" if on else "resolved", i, sev) for i, (rule, on, sev) in enumerate(turns)]
    messages = [told(one) for one in events]
    found = catch_up(messages, {one.id: one for one in events}, T0, T0 + HOUR)
    stays = [one for one in messages if found is None or one.id not in found.ids]
    said = {i for one in stays for i in one.event_ids} | set(found.digest.event_ids if found else ())
    assert said == {one.id for one in events}
    newest = {one.short_id: one for one in events}
    for last in newest.values():
        if last.severity == "critical" and last.kind == "fired":
            assert any(last.id in one.event_ids for one in stays)


# ---------------------------------------------------------------- in the outbox
def test_an_outage_becomes_one_digest(store: Store) -> None:
    """After an hour without an answer, at the moment the chat may be tried again; the events' decisions name it."""
    commit(store, *one_each(*(event(f"W:{i}", minute=i) for i in range(6))))
    assert store.expire(T0) == []
    row = store.claim(store.due(T0)[0], "a")
    assert row is not None
    store.mark_retry(row, T0 + 70 * MINUTE, "no route to host")
    assert store.catch_up(T0 + 65 * MINUTE) == [], "the chat is not tried yet: no digest yet"
    (digest,) = store.catch_up(T0 + 70 * MINUTE)
    due = store.due(T0 + 70 * MINUTE)
    assert [one.message.id for one in due] == [digest.id]
    assert due[0].attempts == 1, "the waits go on growing from where they were"
    assert store.lost_events() == []
    assert store.decisions("W:3 fired 3")[-1].message_id == digest.id
    assert {one.error for one in store.outbox("expired")} == {f"said in {digest.id}"}
    assert store.catch_up(T0 + 80 * MINUTE) == []


def test_a_short_pause_makes_no_digest(store: Store) -> None:
    """Many messages within an hour are many messages; another chat's outage is not this one's."""
    commit(store, *one_each(*(event(f"W:{i}", minute=i) for i in range(20))))
    store.expire(T0)
    assert store.catch_up(T0 + 59 * MINUTE) == []
    assert len(store.due(T0 + 59 * MINUTE)) == 20


# ---------------------------------------------------------------- through the wire
def deliver(store: Store, server: FakeTelegram, at: datetime) -> None:
    """One round of delivery."""

    async def here(work: Any) -> Any:
        return work()

    async def round_() -> None:
        postman = Postman(here, lambda: at, unpaced=("telegram",))
        postman.channels["telegram"] = TelegramChannel(TOKEN, server.url)
        await postman.deliver(SimpleNamespace(routes=(DESK,)), store, at)  # type: ignore[arg-type]
        await postman.close()

    asyncio.run(round_())


def test_after_an_outage_the_chat_hears_one_digest_and_what_pages(store: Store) -> None:
    """Two hours of 5xx: then the page, then one digest, and not the forty messages."""
    page = event("P:x", minute=3, severity="critical")
    with FakeTelegram() as server:
        commit(store, *one_each(*(event(f"W:{i}", minute=i) for i in range(40)), page))
        server.script("sendMessage", *[BROKEN] * 6)
        for minutes in (0, 1, 5, 20, 60, 118):
            deliver(store, server, T0 + minutes * MINUTE)
        for minutes in (180, 181):
            deliver(store, server, T0 + minutes * MINUTE)
        texts = server.texts("42")
    assert len(texts) <= 3
    assert "P:x fired 3" in texts[0]
    assert sum("DIGEST of the time out of reach" in text for text in texts) >= 1
    assert store.outbox("queued", "retry", "sending") == []
    assert store.lost_events() == []


def test_a_resolve_answers_the_message_that_announced_it(store: Store) -> None:
    """It replies to the accepted message, the repeated one where the first one's fate is unknown, and is sent all the
    same when that message is gone."""
    fired, over = event("A:x", severity="critical"), event("A:x", "resolved", 9, "critical")
    with FakeTelegram() as server:
        commit(store, *one_each(event("B:y")))
        deliver(store, server, T0)
        commit(store, *one_each(fired), at=T0 + MINUTE)
        server.script("sendMessage", LOST)
        deliver(store, server, T0 + MINUTE)
        deliver(store, server, T0 + 2 * MINUTE)
        commit(store, *one_each(over), at=T0 + 9 * MINUTE)
        deliver(store, server, T0 + 9 * MINUTE)
        sent = [request.fields for request in server.accepted if request.method == "sendMessage"]
    assert [fields.get("reply_parameters", {}).get("message_id") for fields in sent] == [None, None, None, 3]
    assert sent[-1]["reply_parameters"]["allow_sending_without_reply"] is True
    assert "possibly repeated" in sent[2]["text"]


def test_a_resolve_of_what_nobody_announced_stands_alone(store: Store) -> None:
    """Without an accepted announcement in this chat there is nothing to answer."""
    fired, over = event("A:x"), event("A:x", "resolved", 9)
    elsewhere = replace(told(fired), to="77")
    with FakeTelegram() as server:
        commit(store, (elsewhere, (fired,)))
        deliver(store, server, T0)
        commit(store, *one_each(over), at=T0 + 9 * MINUTE)
        deliver(store, server, T0 + 9 * MINUTE)
        sent = [request.fields for request in server.accepted]
    assert "reply_parameters" not in sent[1]


def test_a_resolve_answers_the_digest_its_alert_was_announced_in(store: Store) -> None:
    """An alert that fired during an outage was announced by the digest: its end is told below that."""
    events = [event(f"W:{i}", minute=i) for i in range(6)]
    with FakeTelegram() as server:
        commit(store, *one_each(*events))
        store.expire(T0)
        deliver(store, server, T0 + 2 * HOUR)
        commit(store, *one_each(event("W:3", "resolved", 130)), at=T0 + 130 * MINUTE)
        deliver(store, server, T0 + 130 * MINUTE)
        digest, over = [request.fields for request in server.accepted]
    assert "out of reach" in digest["text"]
    assert over["reply_parameters"]["message_id"] == 1


def test_nothing_overtakes_a_message_of_unknown_outcome(store: Store) -> None:
    """Its answer was lost: it is repeated before what came after it is sent."""
    with FakeTelegram() as server:
        commit(store, *one_each(event("A:x"), event("A:x", "resolved", 1)))
        server.script("sendMessage", LOST)
        for minutes in (0, 1, 2):
            deliver(store, server, T0 + minutes * MINUTE)
        titles = [text.partition("\n")[0] for text in server.texts("42")]
    assert titles == ["<b>A:x fired 0</b>", "<b>A:x fired 0 (possibly repeated)</b>", "<b>A:x resolved 1</b>"]


def test_a_digest_fits_what_telegram_takes() -> None:
    """Hostile names do not break its markup or its limits."""
    events = [event(f"<b>@x{i}\u202e:&{'y' * 400}", minute=i) for i in range(30)]
    for part in html(merged(*events).digest):
        assert len(part.encode("utf-16-le")) <= 2 * 4096
        assert part.count("<b>") == part.count("</b>")


def test_what_was_claimed_ahead_is_given_back(store: Store) -> None:
    """A webhook takes several in one commit; one that fails in between leaves the others as they were, in order."""
    events = [event(f"W:{i}", minute=i) for i in range(5)]
    hooked = [(replace(told(one), channel="webhook", to=""), (one,)) for one in events]
    commit(store, *hooked)

    async def here(work: Any) -> Any:
        return work()

    async def round_(answers: list[Answer]) -> list[str]:
        with Loopback() as server:
            server.on("/hook", *answers)
            postman = Postman(here, lambda: T0)
            postman.channels["webhook"] = WebhookChannel(f"{server.url}/hook")
            await postman.deliver(SimpleNamespace(routes=(DESK,)), store, T0 + HOUR / 2)  # type: ignore[arg-type]
            await postman.close()
            return [json.loads(request.body)["event_ids"][0] for request in server.requests]

    assert asyncio.run(round_([Answer(204), Answer(204), Answer(503)])) == [one.id for one in events[:3]]
    assert [(row.state, row.attempts) for row in store.outbox()] == [
        ("sent", 1), ("sent", 1), ("retry", 1), ("queued", 0), ("queued", 0),
    ]  # fmt: skip
    assert asyncio.run(round_([Answer(204)])) == [one.id for one in events[2:]]
    assert store.lost_events() == []
