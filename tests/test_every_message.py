"""Every kind of message, made of any text a feed, a book or a user can produce, is one Telegram takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.botserver import well_formed
from monitor.catchup import catch_up
from monitor.chatting import sample
from monitor.context import Context, Deadline, Holding, Reading, Restore, Sheet
from monitor.marking import Standing, edit_of
from monitor.markup import html, without_markup
from monitor.messages import compose, digest, first_look, notice, resolved
from monitor.model import Decision, Event, Line, Message, MessageKind, OutboxRow, Quote, Rule, Severity
from monitor.routes import Overlay, Route
from monitor.store import Store, TickRow

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CHARACTERS = st.characters(codec=None, exclude_categories=())
TEXT = st.one_of(
    st.text(CHARACTERS, max_size=60),
    st.text("<>&;@/#\"'`*_[]()\u202e\u200f\u2066\u200b\x1b\x00\r\n\t🐤é\u0301", max_size=40),
    st.sampled_from(
        [
            *("<b>", "</b>", "&lt;b&gt;", "&amp;#60;", "<a href='tg://user?id=42'>Ada</a>", "@ada", "tg://user?id=42"),
            *("/ack k3f9", "a\n  do  sell", "\ud800", "\udc00\ud800", "\U000e0041", "🐤" * 900, "x" * 5000, "<" * 900),
        ]
    ),
)
NUMBER = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.just(1e300), st.just(-0.0))
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
#: a name of its own for each example: hypothesis tries one again and again in the same database
COUNT = count()
SLOW = [HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large]
Draw = Callable[[st.SearchStrategy[Any]], Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "canary.sqlite") as opened:
        yield opened


def context(draw: Draw, kind: str, i: int) -> Context:
    """One hostile alert: every text and number of it may be anything."""
    text = lambda: draw(TEXT)  # noqa: E731
    number = lambda: draw(NUMBER)  # noqa: E731
    subject = draw(st.sampled_from(["market", text() or "x", f"{text()}/{text()}"]))
    severity = draw(st.sampled_from(SEVERITIES))
    event = Event(
        f"e{i}", text(), subject, severity, kind, NOW - timedelta(minutes=i), text(), "ok", "firing", text(),  # type: ignore[arg-type]
        {"x": number()}, text(),
    )  # fmt: skip
    return Context(
        event=event,
        borrower=text(),
        rule=Rule(event.rule, "x > 1", severity, do=text()) if draw(st.booleans()) else None,
        summary=text(),
        entity=text(),
        instrument=text(),
        size_usd=number(),
        recourse=text(),
        readings=(
            Reading("x", number(), draw(st.sampled_from(["usd", "ratio", "s", ""])), (">", 1.0), text(), number()),
        ),
        true_since=draw(st.sampled_from([None, NOW - timedelta(days=3)])),
        next=Deadline(text(), draw(st.sampled_from([None, NOW])), number(), (text(),), text()),
        restores=(Restore(text(), number(), "usd", number(), text(), text()),),
        sheet=Sheet(date(2026, 6, 30), "?", "filing", text()),
        prices=(Quote(text(), "market", 1.0, "usd", NOW, NOW, text(), in_doubt=text()),),
        holdings=(Holding(text(), 1e6, None, None, text()),),
    )


def made(
    kind: MessageKind, severity: Severity, title: str, lines: tuple[Line, ...], events: tuple[str, ...] = ()
) -> Message:
    return Message("m1", "desk", "telegram", "42", kind, severity, title, lines, NOW, events)


def fired(draw: Draw, kind: MessageKind = "fired") -> Message:
    contexts = [context(draw, "fired", i) for i in range(draw(st.integers(1, 3)))]
    return made(kind, "critical", *compose(kind, "critical", contexts, NOW))


def over(draw: Draw) -> Message:
    return made("resolved", "warning", *resolved([context(draw, "resolved", i) for i in range(2)], NOW))


def morning(draw: Draw) -> Message:
    contexts = [context(draw, draw(st.sampled_from(["fired", "resolved", "nodata", "error"])), i) for i in range(3)]
    return made("digest", "info", *digest(contexts, NOW, draw(TEXT), [Line(draw(TEXT), draw(TEXT))]))


def after_an_outage(draw: Draw) -> Message:
    events = [context(draw, "fired", i).event for i in range(5)]
    waiting = [made("fired", "warning", draw(TEXT), (), (one.id,)) for one in events]
    waiting = [replace(one, id=f"m{i}") for i, one in enumerate(waiting)] + [made("notice", "info", draw(TEXT), ())]
    found = catch_up(waiting, {one.id: one for one in events}, NOW - timedelta(hours=5), NOW)
    assert found is not None
    return found.digest


def first(draw: Draw) -> Message:
    return made("notice", "critical", *first_look([context(draw, "fired", i) for i in range(3)], NOW))


def about_itself(draw: Draw) -> Message:
    return made("notice", "warning", *notice("warning", draw(TEXT), [draw(TEXT), draw(TEXT)], draw(TEXT)))


def a_sample(draw: Draw) -> Message:
    return sample(Route(draw(TEXT), "telegram", "42", borrowers=(draw(TEXT),)), NOW)


def changed(draw: Draw) -> Message:
    """What a message says once its alerts moved on."""
    message = fired(draw)
    alert = context(draw, "fired", 0).event
    said = Overlay(draw(st.sampled_from(["ack", "silence"])), NOW, NOW + timedelta(days=1), by=draw(TEXT))
    over = replace(alert, kind=draw(st.sampled_from(["resolved", "dropped"])), at=NOW + timedelta(days=1))
    standings = [Standing(alert, ack=said), Standing(alert, over), Standing(alert, silence=said), Standing(alert)]
    return edit_of(message, standings[: draw(st.integers(1, 4))], 1, NOW)


BUILDERS: dict[MessageKind, tuple[Callable[[Draw], Message], ...]] = {
    "fired": (fired,),
    "reminder": (lambda draw: fired(draw, "reminder"),),
    "resolved": (over,),
    "digest": (morning, after_an_outage),
    "notice": (first, about_itself),
    "test": (a_sample,),
    "edit": (changed,),
}


def test_every_kind_of_message_is_tried() -> None:
    """A kind that is added to the model must be added here."""
    assert set(BUILDERS) == set(get_args(MessageKind))


def refused(part: str) -> str:
    """Why Telegram would not take this part, or what it would make of it that nobody wrote; empty when nothing."""
    shown = unescape(re.sub(r"</?b>", "", part))
    reasons = (
        (not well_formed(part), "its tags do not balance"),
        (re.search(r"&(?!(?:amp|lt|gt);)", re.sub(r"</?b>", "", part)), "an escape nobody knows"),
        (not shown.strip(), "it is empty"),
        (len(shown.encode("utf-16-le")) > 2 * 4096, "it is too long"),
        (re.search(r"@\w", shown), "somebody is mentioned"),
        (re.search(r"tg://", shown, re.IGNORECASE), "a link to a person"),
        (re.search(r"(?:^|\s)/\w", shown), "a command to tap"),
        (
            re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", shown),
            "characters that hide",
        ),
        (shown != without_markup(part), "its plain form says something else"),
    )
    return next((reason for wrong, reason in reasons if wrong), "")


@pytest.mark.parametrize(
    ("kind", "build"), [(kind, build) for kind, builders in BUILDERS.items() for build in builders],
    ids=lambda value: value if isinstance(value, str) else value.__name__.strip("<>"),
)  # fmt: skip
@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_telegram_takes_it(kind: MessageKind, build: Callable[[Draw], Message], data: st.DataObject) -> None:
    """Balanced tags, within 4,096 units as Telegram counts, nobody mentioned; also as a repetition and recorded."""
    message = build(data.draw)
    assert message.kind == kind
    message = replace(message, possibly_repeated=data.draw(st.booleans()), recorded=data.draw(st.booleans()))
    parts = html(message)
    assert parts
    assert [refused(part) for part in parts] == [""] * len(parts)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, *SLOW])
@given(data=st.data())
def test_the_outbox_keeps_it(store: Store, data: st.DataObject) -> None:
    """Whatever the text, it can be written down: an alert must not be lost because its words cannot be kept."""
    builder = data.draw(st.sampled_from([one for builders in BUILDERS.values() for one in builders]))
    message = replace(builder(data.draw), id=f"m{next(COUNT)}")
    event = replace(context(data.draw, "fired", 0).event, id=message.id)
    decision = Decision(event.id, "desk", False, data.draw(TEXT))
    store.commit_tick(TickRow(NOW), events=[event], decisions=[decision], messages=[message])
    (row,) = [one for one in store.outbox("queued") if one.message.id == message.id]
    assert html(row.message) == html(message)
    assert len(store.decisions(event.id)) == 1
    store.mark_dead(claimed(store, row), data.draw(TEXT))
    assert [one.state for one in store.outbox() if one.message.id == message.id] == ["dead"]


def claimed(store: Store, row: OutboxRow) -> OutboxRow:
    found = store.claim(row, "a")
    assert found is not None
    return found
