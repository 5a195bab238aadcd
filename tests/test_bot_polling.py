"""Listening and what depends on it: one poller a token, a deaf bot restarted, buttons below alerts, long work."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from bot_desk import EDITOR, GROUP, NOW, OPERATOR, PEOPLE, VIEWER, Running, running, world_at
from test_bot import alert_keys, standing

from monitor.bot.polling import DEAF_S, Poller
from monitor.bot.service import Bot
from monitor.botserver import BROKEN, CONFLICT, HANG, TOKEN, UNAUTHORIZED
from monitor.chat.telegram import TelegramChannel
from monitor.exposition import exposition
from monitor.health import Health, Hearing
from monitor.model import Message
from monitor.picture import Board
from monitor.store_chat import moved_chats, note_moved
from monitor.worker import Worker

CONFIG = """
schedule: {{every: 1h}}
serve: {{enabled: false}}
paths: {{state: ./state}}
routes: [{{name: chat, channel: telegram}}]
chat:
  telegram:
    token_file: token
    base_url: {url}
    chat: {chat}
    people: [{people}]
    chats: [{chat}]
"""


def play(folder: Path, what, **others) -> None:  # type: ignore[no-untyped-def]
    """Run something with a bot that listens."""

    async def whole() -> None:
        async with running(folder, **others) as bot:
            await what(bot)

    asyncio.run(whole())


async def until(true, seconds: float = 10.0) -> bool:  # type: ignore[no-untyped-def]
    """Wait until something is true; False when it does not become so."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        await asyncio.sleep(0.01)
    return bool(true())


# ---------------------------------------------------------------- who listens
def test_told_that_another_one_listens_it_stops_and_says_so(tmp_path):
    """After a 409 nothing is asked any more, people are told once, and sending goes on."""

    async def what(bot: Running) -> None:
        await bot.says("/help")
        bot.server.script("getUpdates", CONFLICT)
        bot.server.say("/help", EDITOR, EDITOR)  # ends the question under way, so that the next one is asked
        assert await until(lambda: bot.hearing.trouble)
        assert await until(lambda: bot.poller._ending is not None and bot.poller._ending.done())
        asked = sum(request.method == "getUpdates" for request in bot.server.asked)
        for seconds in (200.0, 400.0):
            bot.monotonic[0] += seconds
            await bot.poller.look_after()
        assert sum(request.method == "getUpdates" for request in bot.server.asked) == asked
        assert len(bot.said) == len(bot.alarms) == 1
        assert "only one may" in bot.alarms[0][0]
        assert "another program listens for the same token" in bot.said[0]
        assert bot.hearing.began_s is None
        message = Message("m", "r", "telegram", str(EDITOR), "notice", "info", "still sent", (), NOW)
        channel = TelegramChannel(TOKEN, bot.server.url)
        assert await channel.send(message)
        await channel.close()

    play(tmp_path, what)


def test_a_deaf_bot_is_restarted_and_hears_again(tmp_path):
    """Without an answer to its questions for long enough it is built anew, however busy it looks."""

    async def what(bot: Running) -> None:
        await bot.says("/help")
        bot.server.script("getUpdates", HANG)
        bot.server.say("/help", EDITOR, EDITOR)
        await until(lambda: sum(r.method == "getUpdates" for r in bot.server.asked) >= 3)
        bot.monotonic[0] += DEAF_S - 1
        await bot.poller.look_after()
        assert bot.hearing.restarts == 0
        bot.monotonic[0] += 2
        assert bot.hearing.deaf_s(bot.monotonic[0]) > DEAF_S
        await bot.poller.look_after()
        assert bot.hearing.restarts == 1
        assert "/status" in await bot.says("/help")
        assert bot.hearing.deaf_s(bot.monotonic[0]) == 0.0

    play(tmp_path, what)


def test_errors_of_telegram_do_not_end_the_bot(tmp_path):
    """A broken answer is followed by the next question; what people wrote meanwhile is answered."""

    async def what(bot: Running) -> None:
        await bot.says("/help")
        bot.server.script("getUpdates", BROKEN)
        assert "/status" in await bot.says("/help")
        assert bot.said == []

    play(tmp_path, what)


def test_a_start_that_fails_is_tried_again_and_said_once(tmp_path):
    """A refused token and a server out of reach are named, without the token; a minute later it is tried again."""

    async def what(bot: Running) -> None:
        said, hearing, now_s = list[str](), Hearing(), [0.0]
        poller = Poller(
            bot.desk, TOKEN, lambda: PEOPLE, hearing, said.append,
            base_url=bot.server.url, clock=lambda: NOW, monotonic=lambda: now_s[0],
        )  # fmt: skip
        bot.server.script("getMe", UNAUTHORIZED, BROKEN)
        await poller.look_after()
        assert "refuses its token" in said[0]
        assert TOKEN.partition(":")[2] not in said[0]
        await poller.look_after()
        assert len(said) == 1
        now_s[0] = 61.0
        await poller.look_after()
        assert hearing.trouble == "Telegram cannot be reached"
        now_s[0] = 122.0
        await poller.look_after()
        assert said[1:] == ["the bot listens again"]
        assert hearing.trouble == ""
        await poller.stop()

    play(tmp_path, what)


def test_the_health_of_the_bot_is_a_figure():
    """Its age without an answer, its restarts and its strangers are metrics; without a bot there are none."""
    board = Board(Health(900, 120, 0.0), hearing=Hearing(True, began_s=10.0, heard_s=40.0, restarts=2, strangers=3))
    text = exposition(board, 100.0, NOW).decode()
    assert "canary_bot_listening 1.0" in text
    assert "canary_bot_heard_age_seconds 60.0" in text
    assert "canary_bot_restarts_total 2.0" in text
    assert "canary_bot_strangers_total 3.0" in text
    assert "canary_bot" not in exposition(Board(Health(900, 120, 0.0)), 100.0, NOW).decode()


# ---------------------------------------------------------------- the daemon and its bot
def service(bot: Running, folder: Path, text: str) -> Bot:
    """The bot as the daemon has it, over the config given."""
    (folder / "config.yaml").write_text(text)
    (folder / "token").write_text(TOKEN)
    world = world_at(folder)
    bot.desk.world = lambda: world
    return Bot(bot.desk, Hearing(), bot.said.append, {}, lambda: NOW)


def config_of(bot: Running, people: str = "{user: 43, role: editor}") -> str:
    """A config whose bot talks to the loopback server and lets some people in."""
    return CONFIG.format(url=bot.server.url, chat=EDITOR, people=people)


def test_an_alert_is_sent_with_buttons_that_work(tmp_path):
    """The channel puts buttons below an alert; a tap on Ack is in force. Where nobody may tap there are none."""

    async def what(bot: Running) -> None:
        await bot.poller.stop()
        listens = service(bot, tmp_path, config_of(bot))
        await listens.look_after()
        short_id = standing(bot)
        events = await bot.desk.write(lambda memory: memory.stores()[-1].events(short_id=short_id, limit=1))
        message = Message(
            "m", "r", "telegram", str(EDITOR), "fired", "critical", "LowCash", (), NOW, (events[0].id,), recorded=True
        )
        channel = listens.channel(bot.desk.world(), "telegram")
        await channel.send(message)
        keys = dict(bot.server.keys())
        assert list(keys) == ["Ack", "Silence 1 d", "Silence 7 d", "Why", "Chart", "Stress"]
        said = await bot.texts(lambda: bot.server.press(keys["Ack"], EDITOR, EDITOR))
        assert "acknowledged" in said[0]
        for other in ({"to": str(GROUP)}, {"to": "@channel"}, {"kind": "resolved"}, {"kind": "digest"}):
            assert await listens.buttons(replace(message, **other)) == ()
        await listens.poller.stop()
        assert await listens.buttons(message) == ()  # nobody would hear the tap
        await channel.close()

    play(tmp_path, what)


def test_an_edit_of_the_config_counts_at_once(tmp_path):
    """Somebody taken out of the config is a stranger with the next message; another token builds the bot anew."""

    async def what(bot: Running) -> None:
        await bot.poller.stop()
        listens = service(bot, tmp_path, config_of(bot))
        await listens.look_after()
        first = listens.poller
        assert "LowCash" in await bot.says("/status")
        changed = service(bot, tmp_path, config_of(bot, ""))
        await listens.look_after()
        assert listens.poller is first
        assert listens.access().people == {}
        assert "answers only people" in await bot.says("/status")
        (tmp_path / "other").write_text(TOKEN)
        service(bot, tmp_path, config_of(bot).replace("token_file: token", "token_file: other"))
        await listens.look_after()
        assert listens.poller is not first
        service(bot, tmp_path, config_of(bot).replace("token_file: token", "token_file: gone"))
        await listens.look_after()
        assert listens.poller is None
        assert "cannot be read" in bot.said[-1]
        assert TOKEN not in " ".join(bot.said)
        await changed.stop()
        await listens.stop()

    play(tmp_path, what)


def test_a_group_that_became_a_supergroup_keeps_its_people(tmp_path):
    """The move is kept in the database, from a message or from sending, and the people in it stay allowed."""

    async def what(bot: Running) -> None:
        listens = Bot(bot.desk, Hearing(), bot.said.append, {}, lambda: NOW)
        listens.note_moved(str(GROUP), "-100777")
        await until(lambda: not listens._tasks)
        assert await bot.desk.write(lambda memory: moved_chats(memory.live)) == {str(GROUP): "-100777"}
        await bot.desk.write(lambda memory: note_moved(memory.live, str(GROUP), "-100888", NOW + timedelta(days=1)))
        assert await bot.desk.write(lambda memory: moved_chats(memory.live)) == {str(GROUP): "-100888"}
        assert PEOPLE.following({str(GROUP): "-100888"}).role(EDITOR, -100888) == "editor"

    play(tmp_path, what)


def test_offline_no_bot_asks_anybody_outside(tmp_path):
    """With --offline a bot is built only against this machine."""

    async def what(bot: Running) -> None:
        listens = Bot(bot.desk, Hearing(), bot.said.append, {}, lambda: NOW)
        await listens.look_after()
        assert listens.poller is None

    play(tmp_path, what)


# ---------------------------------------------------------------- long work
@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One worker process for all of these."""
    made = Worker()
    yield made
    made.close()


def test_long_work_says_that_it_goes_on_and_answers_with_pictures(tmp_path, worker):
    """Why, stress, reverse and chart are worked out elsewhere; meanwhile somebody types and quick ones are answered."""

    async def what(bot: Running) -> None:
        bot.poller.talk.patience_s = 0.0
        first = await bot.says("/stress btc=-30 rent=-25")
        assert first.startswith("working on it")
        assert "/status" in await bot.says("/help", VIEWER)
        expected = [
            ("/stress btc=-30 rent=-25", "Under btc -30%, rent -25%", 1), ("/stress half", "Under half", 1),
            ("/stress alpha btc=-50", "two shocks at once", 1), ("/reverse alpha", "What breaks Alpha Mining", 1),
            ("/why LowCash alpha", "LowCash of alpha: true", 0), ("/chart alpha", "the past 90 days", 1),
            ("/stress half btc=-5", "not both", 0), ("/stress nowhere", "scenarios: half", 0),
            ("/stress btc=-100", "falls by less than 100%", 0),
        ]  # fmt: skip
        await until(lambda: bot.poller.talk.working == 0, 60)
        for text, part, pictures in expected:
            before, seen = bot.poller.talk.answered, len(bot.server.accepted)
            bot.server.say(text, EDITOR, EDITOR)
            assert await until(lambda before=before: bot.poller.talk.answered > before, 60), text
            sent = bot.server.accepted[seen:]
            said = "\n".join(str(r.fields.get("text", r.fields.get("caption", ""))) for r in sent)
            assert part in said, (text, said)
            assert sum(r.method == "sendPhoto" for r in sent) == pictures, text
            assert all(r.contents["photo"][:4] == b"\x89PNG" for r in sent if r.method == "sendPhoto")
            notes = [r for r in sent if str(r.fields.get("text", "")).startswith("working on it")]
            assert len(notes) == sum(r.method == "deleteMessage" for r in sent)
            assert any(r.method == "sendChatAction" for r in sent)

    play(tmp_path, what, worker=worker)


def test_a_tap_on_why_explains_the_alert(tmp_path, worker):
    """Why below an alert gives every number of it, as often as it is asked."""

    async def what(bot: Running) -> None:
        keys = await alert_keys(bot)
        for _ in range(2):
            before = bot.poller.talk.answered
            bot.server.press(keys["Why"], OPERATOR, OPERATOR)
            assert await until(lambda before=before: bot.poller.talk.answered > before, 60)
        assert sum("LowCash of alpha" in text for text in bot.server.texts()) == 2
        assert json.dumps(bot.server.texts())

    play(tmp_path, what, worker=worker)


def test_files_that_cannot_be_read_are_said_in_chat(tmp_path, worker):
    """A half-finished edit on the disk gives the mistake with its place, not a fault."""

    async def what(bot: Running) -> None:
        (tmp_path / "rules" / "mine.yaml").write_text(
            "- alert: LowCash\n  expr: nonsense_metric < 1\n  severity: warning\n"
        )
        before, seen = bot.poller.talk.answered, len(bot.server.texts())
        bot.server.say("/reverse alpha", EDITOR, EDITOR)
        assert await until(lambda: bot.poller.talk.answered > before, 60)
        said = "\n".join(bot.server.texts()[seen:])
        assert "nonsense_metric" in said
        assert "fault in Canary" not in said

    play(tmp_path, what, worker=worker)
