"""The bot over real python-telegram-bot: commands and who may use them, taps and whether they still count."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from bot_desk import EDITOR, GROUP, NOW, OPERATOR, PEOPLE, VIEWER, Running, running
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.asking import alerts_of
from monitor.bot.access import STRANGER, Access
from monitor.bot.buttons import alert_buttons, events_of, keyboard
from monitor.bot.conversation import MAX_A_MINUTE
from monitor.bot.replies import plain_of
from monitor.botserver import CANNOT_PARSE, TOKEN, Failure, migrated, too_many, well_formed
from monitor.markup import utf16_units
from monitor.model import Event, Line, Message
from monitor.store_chat import Callback, audits, keep_callbacks, use_callback

Play = Callable[[Running], Awaitable[None]]
STALE_QUERY = Failure(400, "Bad Request: query is too old and response timeout expired or query id is invalid")


@pytest.fixture
def played(tmp_path) -> Callable[[Play], None]:
    """Runs something with a bot that listens."""

    def play(what: Play) -> None:
        async def whole() -> None:
            async with running(tmp_path) as bot:
                await what(bot)

        asyncio.run(whole())

    return play


def standing(bot: Running) -> str:
    """The short id of the one alert that stands."""
    found = alerts_of(bot.desk.world().config.paths.state, NOW)
    assert found is not None
    return next(one.state.short_id for one in found.alerts if one.stands)


async def alert_keys(bot: Running, **others: object) -> dict[str, str]:
    """The buttons below the message of the alert that stands: label -> opaque id."""
    short_id = standing(bot)

    def make(memory) -> dict[str, str]:  # type: ignore[no-untyped-def]
        store = memory.stores()[-1]
        events = store.events(short_id=short_id, limit=1)
        message = Message(
            "m", "desk", "telegram", str(EDITOR), "fired", "critical", "", (), NOW, (events[0].id,), recorded=True
        )
        keys, kept = keyboard(alert_buttons(message, events_of(store, message.event_ids)), NOW)
        keep_callbacks(memory.live, [replace(one, **others) for one in kept])
        return {key.label: key.data for row in keys for key in row}

    return await bot.desk.write(make)


async def said_in_audit(bot: Running) -> list[tuple[str, str, str]]:
    """What the audit holds: who, what, of what."""
    return [(one.who, one.action, one.target) for one in await bot.desk.write(lambda memory: audits(memory.live))]


# ---------------------------------------------------------------- commands
def test_every_command_that_reads_is_answered_at_once(played):
    """Each answers in one message, with what a viewer came for, and nothing is left of a fault."""
    expected = {
        "/start": "Canary", "/help": "/status", "/status": "LowCash", "/canary": "who breaks first",
        "/alerts": "LowCash of alpha", "/miner alpha": "400.0m", "/rules": "cash_unrestricted_usd",
        "/feeds": "sources answered", "/digest": "critical", "/whoami": str(VIEWER),
    }  # fmt: skip

    async def play(bot: Running) -> None:
        for text, part in expected.items():
            answer = await bot.says(text, VIEWER)
            assert part in answer, text
            assert well_formed(answer)
        assert "working on it" not in " ".join(bot.server.texts())

    played(play)


def test_the_menu_is_set_and_updates_are_asked_for_by_kind(played):
    """Telegram is given the commands, and asked for messages, edits and taps only, with nothing thrown away."""

    async def play(bot: Running) -> None:
        await bot.says("/help", VIEWER)
        asked = {request.method: request.fields for request in bot.server.asked}
        assert {"command": "status", "description": "everybody in a line, what fires first"} in [
            {"command": one["command"], "description": one["description"]} for one in asked["setMyCommands"]["commands"]
        ]
        assert set(asked["getUpdates"]["allowed_updates"]) == {"message", "edited_message", "callback_query"}
        assert asked["deleteWebhook"].get("drop_pending_updates") in (None, "False", "false", False)

    played(play)


def test_names_and_commands_may_be_misspelt(played):
    """A slip is met with what was probably meant; an unknown borrower with those there are."""

    async def play(bot: Running) -> None:
        assert "did you mean /status?" in await bot.says("/statsu")
        assert "Alpha Mining" in await bot.says("/miner alhpa")
        assert "the book has alpha, stub" in await bot.says("/miner zzzz")
        assert "say which borrower" in await bot.says("/chart")
        assert "did you mean btc" in await bot.says("/stress bcc=-30")
        assert "Stub Cloud: insufficient data" in await bot.says("/miner stub")
        assert "commands begin with a slash" in await bot.says("good morning")

    played(play)


def test_acknowledge_and_silence_from_chat_do_what_the_terminal_does(played):
    """Both are in force afterwards, say how they are taken back, and stand in the audit with who said so."""

    async def play(bot: Running) -> None:
        short_id = standing(bot)
        assert f"{short_id} acknowledged" in await bot.says(f"/ack #{short_id}", OPERATOR)
        answer = await bot.says(f"/silence {short_id} 1d earnings call", OPERATOR)
        assert "silenced until" in answer
        assert "/\u2060unsilence" in answer
        listed = await bot.says("/silence", OPERATOR)
        assert "earnings call" in listed
        assert "by Ada" in listed
        assert "acked" in await bot.says("/alerts", VIEWER)
        assert "ended" in await bot.says(f"/unsilence {short_id}", OPERATOR)
        assert await said_in_audit(bot) == [
            (f"Ada ({OPERATOR})", "unsilence", short_id),
            (f"Ada ({OPERATOR})", "silence", short_id),
            (f"Ada ({OPERATOR})", "ack", short_id),
        ]

    played(play)


def test_what_is_critical_cannot_be_silenced_for_long(played):
    """The limit of the terminal holds in chat, and so does the need of an end; nothing is written."""

    async def play(bot: Running) -> None:
        short_id = standing(bot)
        for word in (short_id, "LowCash", "alpha", "LowCash/alpha"):
            assert "at most 7 d" in await bot.says(f"/silence {word} 8d")
        assert "needs an end" in await bot.says(f"/silence {short_id}")
        assert "at most 7 d" in await bot.says(f"/ack {short_id} 30d")
        assert await said_in_audit(bot) == []
        assert "nothing is silenced" in await bot.says("/silence")

    played(play)


# ---------------------------------------------------------------- who may
def test_a_command_needs_its_role(played):
    """A viewer who silences is told what he is; nothing happens."""

    async def play(bot: Running) -> None:
        assert "for operators; you are viewer" in await bot.says(f"/silence {standing(bot)} 1d", VIEWER)
        assert "for operators; you are viewer" in await bot.says(f"/ack {standing(bot)}", VIEWER)
        assert await said_in_audit(bot) == []
        assert "/ack" not in await bot.says("/help", VIEWER)

    played(play)


def test_user_and_chat_must_both_be_allowed(played):
    """A known person in a foreign group, a stranger in an allowed group, and an empty list are all refused."""

    async def play(bot: Running) -> None:
        assert "LowCash" in await bot.says("/status", EDITOR, GROUP)
        assert await bot.says("/status", EDITOR, -999) == f"<b>{STRANGER}</b>"
        assert await bot.says("/status", 777, GROUP) == f"<b>{STRANGER}</b>"
        bot.access[0] = Access({}, PEOPLE.chats)
        assert await bot.says("/status", VIEWER) == f"<b>{STRANGER}</b>"
        bot.access[0] = Access(PEOPLE.people, frozenset())
        assert await bot.says("/status", OPERATOR) == f"<b>{STRANGER}</b>"

    played(play)


def test_strangers_hear_one_line_once_and_their_ids_when_they_ask(played):
    """The second message gets nothing; /whoami gives the lines for the owner, of nobody else, a few times only."""

    async def play(bot: Running) -> None:
        assert await bot.says("hello there", 777) == f"<b>{STRANGER}</b>"
        assert await bot.silent(lambda: bot.server.say("/status", 777, 777))
        lines = await bot.says("/whoami", 777)
        assert "{user: 777, role: viewer}" in lines
        assert "chats: [777]" in lines
        assert str(EDITOR) not in lines
        assert str(GROUP) not in lines
        for _ in range(2):
            await bot.says("/whoami", 777)
        assert await bot.silent(lambda: bot.server.say("/whoami", 777, 777))
        assert await bot.silent(lambda: bot.server.say("good morning", 778, GROUP))  # people may talk in a group

    played(play)


def test_old_and_edited_commands_are_refused_by_name(played):
    """A command that lay at Telegram for minutes says so and is not carried out; neither is an edited one."""

    async def play(bot: Running) -> None:
        answer = await bot.says(f"/ack {standing(bot)}", age_s=301)
        assert "not carried out: it was sent 5 min ago" in answer
        assert "send it again" in answer
        assert "LowCash" in await bot.says("/alerts", age_s=299)
        assert "edited message is not carried out" in await bot.says(f"/ack {standing(bot)}", edited=True)
        assert await said_in_audit(bot) == []

    played(play)


def test_a_flood_of_one_person_is_slowed_down_and_no_other(played):
    """More than so many commands in a minute wait; a minute later, and for others at once, all is as before."""

    async def play(bot: Running) -> None:
        for _ in range(MAX_A_MINUTE):
            bot.poller.talk._in_time(EDITOR, NOW)
        assert "wait a moment" in await bot.says("/help")
        assert "/status" in await bot.says("/help", VIEWER)
        bot.clock[0] = NOW + timedelta(seconds=61)
        assert "/status" in await bot.says("/help")

    played(play)


# ---------------------------------------------------------------- taps
def test_a_tap_acknowledges_once_however_often(played):
    """Ack works, a second tap says it was done, by whom and when; one row in the audit."""

    async def play(bot: Running) -> None:
        keys = await alert_keys(bot)
        assert list(keys) == ["Ack", "Silence 1 d", "Silence 7 d", "Why", "Chart", "Stress"]
        assert all(len(data) <= 64 and standing(bot) not in data for data in keys.values())
        said = await bot.texts(lambda: bot.server.press(keys["Ack"], OPERATOR, OPERATOR))
        assert "acknowledged" in said[0]
        told = await bot.told(keys["Ack"], OPERATOR)
        assert told.startswith(f"done already at {NOW:%H:%M} UTC by Ada ({OPERATOR})")
        said = await bot.texts(lambda: bot.server.press(keys["Silence 7 d"], OPERATOR, OPERATOR))
        assert "silenced until" in said[0]
        assert [row[1] for row in await said_in_audit(bot)] == ["silence", "ack"]

    played(play)


def test_two_taps_at_the_same_moment_do_one_thing(played):
    """Whatever the order they are worked on, one acknowledgement is written."""

    async def play(bot: Running) -> None:
        keys = await alert_keys(bot)
        before = bot.poller.talk.answered
        for _ in range(4):
            bot.server.press(keys["Ack"], OPERATOR, OPERATOR)
        while bot.poller.talk.answered < before + 4:
            await asyncio.sleep(0.01)
        assert len(await said_in_audit(bot)) == 1

    played(play)


def test_taps_are_checked_like_messages(played):
    """Strangers, foreign chats and small roles are refused in the little box; nothing is done."""

    async def play(bot: Running) -> None:
        keys = await alert_keys(bot)
        assert await bot.told(keys["Ack"], 777) == STRANGER
        assert await bot.told(keys["Ack"], 777) == ""
        assert await bot.told(keys["Ack"], EDITOR, -999) == STRANGER
        assert await bot.told(keys["Ack"], VIEWER) == "this is for operators; you are viewer"
        assert "nothing is known of this button" in await bot.told("ack:1", OPERATOR)
        assert "nothing is known of this button" in await bot.told("x" * 64, OPERATOR)
        assert await said_in_audit(bot) == []

    played(play)


def test_old_buttons_say_so(played):
    """A button beyond its time, one of an alert that is over, and one of an alert that fired again do nothing."""

    async def play(bot: Running) -> None:
        old = await alert_keys(bot, until=NOW - timedelta(seconds=1))
        assert "too old" in await bot.told(old["Ack"], OPERATOR)
        half = await alert_keys(bot)
        await bot.desk.write(lambda memory: use_callback(memory.live, half["Ack"], NOW, "Ada (43)"))
        assert "what came of it is not known" in await bot.told(half["Ack"], OPERATOR)  # a crash in the middle
        other = await alert_keys(bot, version="another-episode")
        said = await bot.texts(lambda: bot.server.press(other["Ack"], OPERATOR, OPERATOR))
        assert "nothing was done" in said[0]
        assert "fired again" in said[0]
        gone = await alert_keys(bot, target="zzzz")
        said = await bot.texts(lambda: bot.server.press(gone["Silence 1 d"], OPERATOR, OPERATOR))
        assert "#zzzz is over" in said[0]
        assert await said_in_audit(bot) == []

    played(play)


def test_a_tap_telegram_calls_too_old_is_not_carried_out(played):
    """A tap has no date; when Telegram takes no answer to it any more, it is old, and nothing is done."""

    async def play(bot: Running) -> None:
        keys = await alert_keys(bot)
        bot.server.script("answerCallbackQuery", STALE_QUERY)
        said = await bot.texts(lambda: bot.server.press(keys["Ack"], OPERATOR, OPERATOR))
        assert "too late and was not carried out" in said[0]
        assert await said_in_audit(bot) == []
        said = await bot.texts(lambda: bot.server.press(keys["Ack"], OPERATOR, OPERATOR))
        assert "acknowledged" in said[0]

    played(play)


def test_a_button_bound_to_one_person_works_for_nobody_else(played):
    """A question is answered by the one who asked, within minutes, once."""

    async def play(bot: Running) -> None:
        made = Callback("q" * 22, NOW, NOW + timedelta(minutes=10), "leave", "x", user=EDITOR)
        await bot.desk.write(lambda memory: keep_callbacks(memory.live, [made]))
        assert "for the person who asked" in await bot.told(made.id, OPERATOR)
        said = await bot.texts(lambda: bot.server.press(made.id, EDITOR, EDITOR))
        assert "left as it was" in said[0]
        assert "done already" in await bot.told(made.id)

    played(play)


def test_a_list_and_what_is_over_have_no_buttons():
    """Only a message about a few standing alerts can be tapped; market alerts have no chart of a borrower."""
    event = Event("e", "LowCash", "alpha", "critical", "fired", NOW, "", "ok", "firing", "k7", episode="e")
    message = Message("m", "r", "telegram", "1", "fired", "critical", "", (), NOW, ("e",))
    rows = alert_buttons(message, [event])
    assert [[button.label for button in row] for row in rows] == [
        ["Ack", "Silence 1 d", "Silence 7 d"], ["Why", "Chart", "Stress"],
    ]  # fmt: skip
    market = alert_buttons(message, [replace(event, subject="market")])
    assert [button.label for button in market[1]] == ["Why"]
    assert alert_buttons(message, [replace(event, kind="resolved")]) == ()
    assert alert_buttons(replace(message, kind="digest"), [event]) == ()
    many = [replace(event, id=str(i), short_id=f"k{i}") for i in range(7)]
    assert alert_buttons(message, many) == ()


# ---------------------------------------------------------------- saying it
def test_refused_markup_and_a_pause_cost_no_answer(played):
    """Telegram refusing the markup gets the plain text; Telegram asking for a pause gets it after the pause."""

    async def play(bot: Running) -> None:
        bot.server.script("sendMessage", CANNOT_PARSE)
        assert not (await bot.says("/help")).startswith("<b>")
        bot.server.script("sendMessage", too_many(1))
        assert "/status" in await bot.says("/help")

    played(play)


def test_long_answers_arrive_in_parts_in_order(played):
    """An answer beyond what one message takes is split between rows; every part is whole."""

    async def play(bot: Running) -> None:
        from monitor.bot.nouns import Answer

        class Sink:
            def __init__(self) -> None:
                self.parts: list[str] = []

            async def text(self, html: str, keyboard: object = ()) -> object:
                self.parts.append(html)
                return None

        sink = Sink()
        rows = tuple(Line(str(i), "&<" * 150) for i in range(60))
        await bot.poller.talk._send(Answer("long", rows), sink)  # type: ignore[arg-type]
        assert len(sink.parts) > 3
        assert all(well_formed(part) and utf16_units(part) <= 4096 for part in sink.parts)
        assert "".join(map(plain_of, sink.parts)).count("&<" * 150) == 60

    played(play)


@given(st.lists(st.one_of(st.text(max_size=60), st.sampled_from(["/miner", "/stress", "/ack", "/silence", "/why"])),
                min_size=1, max_size=6))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_any_text_gets_an_answer_telegram_takes(tmp_path_factory, words):
    """Whatever a person types, the answer is well formed and short enough, and no fault of Canary's."""
    text = "/" + " ".join(words).lstrip("/ ") or "/"
    assert all(well_formed(part) and utf16_units(part) <= 4096 for part in asyncio.run(spoken(tmp_path_factory, text)))


class Kept:
    """A chat that keeps what it is told."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    async def text(self, html: str, keyboard: object = ()) -> object:
        """Keep one part."""
        self.parts.append(html)
        return None

    async def photo(self, png: bytes, caption: str, keyboard: object = ()) -> None:
        """Keep a caption."""

    async def typing(self) -> None:
        """Nothing to show."""

    async def take_back(self, sent: object) -> None:
        """Nothing to take back."""


async def spoken(folders, text: str) -> list[str]:  # type: ignore[no-untyped-def]
    """What the conversation says to one message, without a server in between."""
    import shutil

    from bot_desk import evaluated_desk, world_at

    from monitor.bot.conversation import Conversation, Heard
    from monitor.bot.desk import Desk
    from monitor.model import CanaryError
    from monitor.tick import Memory

    folder = folders.mktemp("desk")
    shutil.copytree(evaluated_desk(), folder, dirs_exist_ok=True)
    world = world_at(folder)
    memory = Memory(world.config.paths.state, NOW)

    class Elsewhere:
        """Long work is refused here: it has tests of its own."""

        async def run(self, function: str, *arguments: object) -> object:
            raise CanaryError(f"worked out elsewhere: {arguments}")

    async def on_writer(work):  # type: ignore[no-untyped-def]
        return work()

    desk = Desk(lambda: world, lambda: memory, on_writer, Elsewhere(), offline=True)  # type: ignore[arg-type]
    talk, chat = Conversation(desk, lambda: PEOPLE, lambda: NOW), Kept()
    try:
        await talk.hear(Heard(EDITOR, EDITOR, text[:20], text, NOW), chat)  # type: ignore[arg-type]
    finally:
        desk.close()
        memory.close()
    assert chat.parts
    assert not any("fault in Canary" in part for part in chat.parts)
    return chat.parts


# ---------------------------------------------------------------- what is kept of whom
def test_no_token_and_no_stranger_in_logs_database_or_metrics(played, caplog):
    """Everything at DEBUG: neither the token nor the ids and names of strangers are written down anywhere."""
    user, chat = 987654321, -1009876543210
    caplog.set_level(logging.DEBUG)
    for name in ("telegram", "telegram.Bot", "telegram.ext.Application", "telegram.ext.Updater", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)

    async def play(bot: Running) -> None:
        for name in ("telegram", "telegram.ext", "httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        keys = await alert_keys(bot)
        await bot.says("secret words of a stranger", user, user, name="Mallory")
        await bot.says("/status", user, chat, name="Mallory")
        await bot.says("/whoami", user, user, name="Mallory")
        await bot.told(keys["Ack"], user, chat)
        bot.server.script("sendMessage", Failure(400, "Bad Request: something"), migrated(-100555444333))
        bot.server.say("/help", user, user + 1)
        bot.server.say("/help", user, chat - 1)
        await bot.says("/help", VIEWER)
        written = [path.read_bytes() for path in bot.desk.world().config.paths.state.iterdir() if path.is_file()]
        from monitor.exposition import exposition
        from monitor.health import Health
        from monitor.picture import Board

        await bot.poller.look_after()
        written.append(exposition(Board(Health(900, 120, 0.0), hearing=bot.hearing), 1.0, NOW))
        written += ["\n".join(bot.said).encode(), caplog.text.encode()]
        for what in (TOKEN, TOKEN.partition(":")[2], str(user), str(chat), "555444333", "Mallory", "secret words"):
            assert not any(what.encode() in text for text in written), what
        assert bot.hearing.strangers >= 2
        assert caplog.text.count("somebody who is not in the config wrote to the bot") == bot.hearing.strangers

    played(play)


def test_the_moment_of_an_answer_is_the_clock_given(played):
    """Ages are judged by the clock the daemon gives, not by the machine's."""

    async def play(bot: Running) -> None:
        bot.clock[0] = NOW + timedelta(minutes=6)
        assert "not carried out" in await bot.says("/help")
        assert isinstance(bot.clock[0], datetime)

    played(play)
