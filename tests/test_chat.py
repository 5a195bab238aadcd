"""The channels: what a terminal shows, what Telegram is asked, and what each of its failures means for the outbox."""

from __future__ import annotations

import asyncio
import io
import logging
import socket
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fake_telegram as fake
import pytest
from fake_telegram import TOKEN, FakeTelegram
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.chat import Settings, discover, open_channel, settings_of
from monitor.chat.console import ConsoleChannel, rendered
from monitor.chat.pacing import Pacer, Rate
from monitor.chat.telegram import TelegramChannel
from monitor.config import ChannelConfig
from monitor.markup import html
from monitor.model import CanaryError, DeliveryError, Line, Message

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MESSAGE = Message(
    id="m1",
    route="desk",
    channel="telegram",
    to="42",
    kind="fired",
    severity="critical",
    title="CRITICAL Acme <Compute> & Sons",
    lines=(Line("alert", "LockedBoxShort fired"), Line("now", "cash 7.6m USD < 38.0m USD")),
    created_at=NOON,
)


@pytest.fixture
def server() -> Iterator[FakeTelegram]:
    with FakeTelegram() as running:
        yield running


def channel_to(server: FakeTelegram, **others: object) -> TelegramChannel:
    return TelegramChannel(TOKEN, server.url, **others)  # type: ignore[arg-type]


async def send_all(channel: TelegramChannel, *messages: Message) -> list[str | DeliveryError]:
    """What became of each message, one after the other."""
    outcomes: list[str | DeliveryError] = []
    for message in messages:
        try:
            outcomes.append(await channel.send(message))
        except DeliveryError as error:
            outcomes.append(error)
    await channel.close()
    return outcomes


def outcome(server: FakeTelegram, *failures: fake.Failure) -> str | DeliveryError:
    """What became of one message while the server fails like this."""
    server.script("sendMessage", *failures)
    answer_s = 0.2 if fake.HANG in failures else 20.0
    return asyncio.run(send_all(channel_to(server, answer_s=answer_s), MESSAGE))[0]


def failed(result: str | DeliveryError) -> DeliveryError:
    assert isinstance(result, DeliveryError), f"it was sent as {result}"
    return result


# ---------------------------------------------------------------- discovery
def test_channels_are_found_by_walking_the_folder() -> None:
    """Console and telegram are there with their files, and nothing that is not a channel is."""
    found = discover()
    assert {"console", "telegram"} <= set(found)
    assert found["telegram"].file == "monitor/chat/telegram.py"
    assert not found["telegram"].off
    assert "pacing" not in found


def test_a_channel_without_its_package_is_off_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package turns one channel off by name; the others still open."""
    import monitor.chat

    (tmp_path / "carrier.py").write_text("NEEDS = ('no_such_pigeon',)\ndef open_channel(settings): ...\n")
    (tmp_path / "broken.py").write_text("import no_such_crate\n")
    monkeypatch.setattr(monitor.chat, "__path__", [*monitor.chat.__path__, str(tmp_path)])
    found = discover()
    assert found["carrier"].off == "off because no_such_pigeon is not installed"
    assert found["broken"].off.startswith("off because no_such_crate cannot be imported")
    assert open_channel("console", Settings()).name == "console"
    with pytest.raises(CanaryError, match="off because no_such_pigeon"):
        open_channel("carrier", Settings())
    with pytest.raises(CanaryError, match="no chat channel 'fax'; there are apprise, broken, carrier, console"):
        open_channel("fax", Settings())


def test_help_does_not_wait_for_the_telegram_library() -> None:
    """Finding and opening the telegram channel imports neither the library nor its HTTP client."""
    code = (
        "import sys; from monitor.chat import *; discover();"
        f"open_channel('telegram', Settings(token='{TOKEN}'));"
        "print([name for name in ('telegram', 'httpx', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.strip() == "[]", done.stderr


def test_the_token_comes_from_the_environment_or_a_file_only(tmp_path: Path) -> None:
    """Both places work, a missing or malformed token is refused, and no text or repr shows it."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    from_env = settings_of(ChannelConfig(token_env="T"), {"T": TOKEN}, tmp_path)
    from_file = settings_of(ChannelConfig(token_file="token"), {}, tmp_path)
    assert from_env.token == from_file.token == TOKEN
    assert TOKEN not in repr(from_env)
    assert open_channel("telegram", from_file).name == "telegram"
    with pytest.raises(CanaryError, match="write token_env or token_file"):
        open_channel("telegram", Settings())
    with pytest.raises(CanaryError, match="does not look like one") as refused:
        open_channel("telegram", Settings(token=TOKEN[:-1] + "!"))
    assert TOKEN[:-1] not in str(refused.value)


# ---------------------------------------------------------------- telegram: what is sent
def test_a_message_arrives_escaped_and_without_previews(server: FakeTelegram) -> None:
    """Telegram gets HTML with every value escaped, no link preview, and its message id comes back."""
    assert outcome(server) == "1"
    fields = server.accepted[0].fields
    assert fields["chat_id"] == "42"
    assert fields["parse_mode"] == "HTML"
    assert fields["link_preview_options"] == {"is_disabled": True}
    assert fields["text"] == (
        "<b>CRITICAL Acme &lt;Compute&gt; &amp; Sons</b>\n<b>alert</b>  LockedBoxShort fired\n"
        "<b>now</b>  cash 7.6m USD &lt; 38.0m USD"
    )


def test_one_request_per_message(server: FakeTelegram) -> None:
    """Nothing is asked before a message is sent: a getMe that fails must not keep an alert back."""
    server.script("getMe", fake.BROKEN)
    assert outcome(server) == "1"
    assert [request.method for request in server.asked] == ["sendMessage"]


def test_a_route_without_a_chat_uses_the_channels_chat(server: FakeTelegram) -> None:
    """``to`` of the message wins, the channel's own chat is the default, and neither is an error without a request."""
    lost = replace(MESSAGE, id="m2", to="")
    assert asyncio.run(send_all(channel_to(server, to="77"), lost)) == ["1"]
    assert server.texts("77") == html(lost)
    assert failed(asyncio.run(send_all(channel_to(server), lost))[0]).kind == "dead"
    assert len(server.asked) == 1


def test_a_channel_works_in_one_event_loop_after_another(server: FakeTelegram) -> None:
    """A connection pool of a finished loop is not used again."""
    channel = channel_to(server)
    assert asyncio.run(channel.send(MESSAGE)) == "1"
    assert asyncio.run(channel.send(replace(MESSAGE, id="m2"))) == "2"


# ---------------------------------------------------------------- telegram: what fails
@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (fake.BROKEN, "retry", "Internal Server Error"),
        (fake.Failure(502, "Bad Gateway"), "retry", "Bad Gateway"),
        (fake.Failure(429, "Too Many Requests"), "retry", "Too Many Requests"),
        (fake.CONFLICT, "retry", "terminated by other getUpdates"),
        (fake.Failure(418, "I'm a teapot"), "retry", "teapot"),
        (fake.Failure(400, "Bad Request: something nobody has seen"), "retry", "nobody has seen"),
        (fake.Failure(503, body=b"<html>maintenance</html>"), "retry", "maintenance"),
        (fake.Failure(403, body=b"<html>the office proxy forbids this</html>"), "retry", "office proxy"),
        (fake.BLOCKED, "dead", "bot was blocked by the user"),
        (fake.Failure(403, "Forbidden: bot was kicked from the supergroup chat"), "dead", "kicked"),
        (fake.Failure(403, "Forbidden: user is deactivated"), "dead", "deactivated"),
        (fake.NO_CHAT, "dead", "Chat not found"),
        (fake.Failure(400, "Bad Request: not enough rights to send text messages to the chat"), "dead", "rights"),
        (fake.UNAUTHORIZED, "dead", "Unauthorized"),
        (fake.HANG, "unknown", "Timed out"),
        (fake.LOST, "unknown", "disconnected"),
        (fake.Failure(200, body=b"half an ans"), "unknown", "Invalid server response"),
        (fake.Failure(200, body=b'{"ok":true}'), "unknown", "result"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_failure_says_what_may_be_done_next(
    server: FakeTelegram, failure: fake.Failure, kind: str, words: str
) -> None:
    """What was refused for now is tried again, what is refused for good is dead, what got no answer is unknown."""
    error = failed(outcome(server, failure))
    assert error.kind == kind
    assert words in str(error)
    assert len(server.asked) == 1, "a channel never tries again by itself: the outbox does"


def test_a_wrong_token_is_dead(server: FakeTelegram) -> None:
    """A token Telegram does not know never becomes right."""
    channel = TelegramChannel("123456:" + "x" * 35, server.url)
    error = failed(asyncio.run(send_all(channel, MESSAGE))[0])
    assert error.kind == "dead"
    assert "x" * 35 not in str(error)


def test_too_many_requests_is_a_retry_with_the_time_telegram_names(server: FakeTelegram) -> None:
    """retry_after is passed on in seconds, whether the library gives a number or a timedelta."""
    error = failed(outcome(server, fake.too_many(7)))
    assert (error.kind, error.retry_after_s) == ("retry", 7.0)


def test_retry_after_as_a_timedelta(server: FakeTelegram, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's coming type of retry_after reads the same."""
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    assert failed(outcome(server, fake.too_many(7))).retry_after_s == 7.0


def test_nobody_listening_is_a_retry() -> None:
    """A connection that never stood cannot have carried the message."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"  # bound, not listening: refused at once
        error = failed(asyncio.run(send_all(TelegramChannel(TOKEN, url), MESSAGE))[0])
    assert error.kind == "retry"
    assert "ConnectError" in str(error)


def test_no_connection_in_time_is_a_retry() -> None:
    """A connection that is not answered in time is a retry, unlike a request that is not answered in time."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        queue = [socket.socket() for _ in range(3)]
        for waiting in queue:  # fill the queue of the listener, so that the next connection is not accepted
            waiting.setblocking(False)
            waiting.connect_ex(address)
        channel = TelegramChannel(TOKEN, f"http://127.0.0.1:{address[1]}", connect_s=0.2, answer_s=5.0)
        error = failed(asyncio.run(send_all(channel, MESSAGE))[0])
        for waiting in queue:
            waiting.close()
    assert error.kind == "retry"
    assert "TimedOut" in str(error)


def test_an_answer_lost_after_acceptance_is_unknown_and_was_accepted(server: FakeTelegram) -> None:
    """The outcome is unknown although Telegram took the message: exactly what must not read as failed."""
    assert failed(outcome(server, fake.LOST)).kind == "unknown"
    assert server.texts() == html(MESSAGE)


def test_refused_markup_goes_out_once_more_as_plain_text(server: FakeTelegram) -> None:
    """A desk reads an ugly message rather than none; a second refusal is not repeated for ever."""
    assert outcome(server, fake.CANNOT_PARSE) == "1"
    fields = server.accepted[0].fields
    assert "parse_mode" not in fields
    assert fields["text"].startswith("CRITICAL Acme <Compute> & Sons\nalert  LockedBoxShort fired")
    server.asked.clear()
    assert failed(outcome(server, fake.CANNOT_PARSE, fake.CANNOT_PARSE)).kind == "retry"
    assert len(server.asked) == 2


def test_a_moved_group_is_followed_and_reported(server: FakeTelegram) -> None:
    """The message goes to the new id at once, the new id is told, and the next message goes there directly."""
    moves: list[tuple[str, str]] = []
    server.script("sendMessage", fake.migrated(-1001))
    channel = channel_to(server, on_moved=lambda old, new: moves.append((old, new)))
    first, second = replace(MESSAGE, to="-5"), replace(MESSAGE, id="m2", to="-5")
    assert asyncio.run(send_all(channel, first, second)) == ["1", "2"]
    assert moves == [("-5", "-1001")]
    assert [request.fields["chat_id"] for request in server.asked] == ["-5", "-1001", "-1001"]


def test_a_group_that_moves_and_moves_again_is_a_retry(server: FakeTelegram) -> None:
    """A chat sent in circles is not followed for ever, and a failing record of the move does not stop the message."""
    assert failed(outcome(server, fake.migrated(-1), fake.migrated(-2))).kind == "retry"

    def refuse(old: str, new: str) -> None:
        raise OSError("disk full")

    server.script("sendMessage", fake.migrated(-1001))
    assert asyncio.run(send_all(channel_to(server, on_moved=refuse), replace(MESSAGE, to="-5"))) == ["1"]


def test_a_failure_between_two_parts_repeats_neither(server: FakeTelegram) -> None:
    """A long message that failed in the middle goes on with the part that failed, and says all its ids."""
    long = replace(MESSAGE, lines=tuple(Line(f"n{i}", "word " * 60) for i in range(40)))
    assert len(html(long)) == 4
    server.script("sendMessage", None, None, fake.too_many(3))
    channel = channel_to(server)
    outcomes = asyncio.run(send_all(channel, long, long))
    assert failed(outcomes[0]).retry_after_s == 3.0
    assert outcomes[1] == "1,2,3,4"
    assert len(server.asked) == 5
    assert server.texts() == html(long)


# ---------------------------------------------------------------- secrets
def test_the_token_is_nowhere_in_logs_or_errors(server: FakeTelegram) -> None:
    """With everything at DEBUG, the HTTP client's loggers too, no log line, error text or traceback has the token."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    factory = logging.getLogRecordFactory()
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore")}
    shown: list[str] = []
    try:
        channel = open_channel("telegram", Settings(token=TOKEN, base_url=server.url))
        assert logging.getLogger("httpx").level == logging.WARNING
        for name in ("httpx", "httpcore"):  # as if somebody turned them on again: the records are clean all the same
            logging.getLogger(name).setLevel(logging.DEBUG)
        failures = [fake.BROKEN, fake.BLOCKED, fake.LOST, fake.Failure(403, body=f"bot{TOKEN}".encode())]
        server.script("sendMessage", *failures)
        outcomes = asyncio.run(send_all(channel, *[replace(MESSAGE, id=str(i)) for i in range(5)]))  # type: ignore[arg-type]
        shown += ["".join(traceback.format_exception(failed(error))) for error in outcomes[:4]]
        assert outcomes[4] == "2"
        try:
            raise ValueError(f"POST {server.url}/bot{TOKEN}/sendMessage")
        except ValueError:
            logging.getLogger("somewhere").exception("while asking %s", f"{server.url}/bot{TOKEN}/getMe")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        logging.setLogRecordFactory(factory)
        for name, was in levels.items():
            logging.getLogger(name).setLevel(was)
    log = stream.getvalue()
    assert "/bot[hidden]/sendMessage" in log, "the client's own lines must have been seen for this test to say anything"
    assert "ValueError: POST" in log
    secret = TOKEN.split(":")[1]
    assert secret not in log
    assert not [text for text in shown if secret in text]


# ---------------------------------------------------------------- the server itself, with real library objects
def test_the_server_serves_a_real_polling_application(server: FakeTelegram) -> None:
    """Commands, long polling, buttons, edits, pictures and the command list work with the library's own application."""

    async def run() -> list[str]:
        from telegram import BotCommand, InlineKeyboardButton, InlineKeyboardMarkup
        from telegram.ext import Application, CallbackQueryHandler, CommandHandler, ContextTypes

        seen: list[str] = []
        done = asyncio.Event()

        async def start(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
            button = InlineKeyboardMarkup([[InlineKeyboardButton("ack", callback_data="ack:k3f9")]])
            sent = await update.message.reply_text("hello", reply_markup=button)  # type: ignore[attr-defined]
            await context.bot.edit_message_text("hello again", chat_id=42, message_id=sent.message_id)
            await context.bot.send_photo(42, b"\x89PNG not really", caption="a picture")
            seen.append(update.message.text)  # type: ignore[attr-defined]
            server.press("ack:k3f9")

        async def press(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
            await update.callback_query.answer("done")  # type: ignore[attr-defined]
            seen.append(update.callback_query.data)  # type: ignore[attr-defined]
            done.set()

        app = Application.builder().token(TOKEN).base_url(f"{server.url}/bot").job_queue(None).build()
        app.add_handler(CommandHandler("start", start))
        app.add_handler(CallbackQueryHandler(press))
        async with app:
            await app.bot.set_my_commands([BotCommand("start", "begin")])
            await app.start()
            assert app.updater
            await app.updater.start_polling(timeout=0.5, poll_interval=0.0)  # type: ignore[arg-type]
            server.say("/start")
            async with asyncio.timeout(30):
                await done.wait()
            await app.updater.stop()
            await app.stop()
        return seen

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert asyncio.run(run()) == ["/start", "ack:k3f9"]
    methods = [request.method for request in server.accepted]
    assert methods.count("setMyCommands") == methods.count("sendPhoto") == methods.count("editMessageText") == 1
    assert next(r for r in server.accepted if r.method == "sendPhoto").files
    assert list(server.answered.values()) == ["done"]


def test_the_server_refuses_markup_and_length_as_telegram_does(server: FakeTelegram) -> None:
    """The fake is worth its tests only if it refuses what the real one refuses."""

    async def ask(text: str) -> str:
        from telegram import Bot
        from telegram.error import BadRequest

        bot = Bot(TOKEN, base_url=f"{server.url}/bot")
        try:
            await bot.send_message(1, text, parse_mode="HTML")
        except BadRequest as error:
            return error.message
        return "taken"

    assert "parse entities" in asyncio.run(ask("<i>x</i>"))
    assert "parse entities" in asyncio.run(ask("<b>x"))
    assert "parse entities" in asyncio.run(ask("1 < 2"))
    assert "too long" in asyncio.run(ask("🐤" * 2049)).lower()
    assert asyncio.run(ask("🐤" * 2048)) == "taken"


# ---------------------------------------------------------------- console
class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_text() -> None:
    """Without a terminal there are no colours and no wrapping."""
    stream = io.StringIO()
    assert asyncio.run(ConsoleChannel(stream).send(MESSAGE)) == "console-1"
    assert stream.getvalue() == (
        "CRITICAL Acme <Compute> & Sons\n  alert       LockedBoxShort fired\n"
        "  now         cash 7.6m USD < 38.0m USD\n\n"
    )


def test_a_terminal_gets_colours_and_wrapped_lines() -> None:
    """In 60 columns no line is longer, and a continued text stands under its beginning."""
    long = replace(
        MESSAGE, lines=(Line("now", "liquidity_locked_12m 0.20x, line < 1.00x; was 0.25x until 2026-03-31 (54 d)"),)
    )
    shown = rendered(long, 60, colours=False).splitlines()
    assert max(map(len, shown)) <= 60
    assert shown[1].startswith("  now         liquidity")
    assert shown[2].startswith(" " * 14)
    assert "\x1b[1;37;41m" in rendered(long, 60, colours=True)


def test_terminal_and_colours_follow_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours unless NO_COLOR asks for none; a hostile text brings none of its own."""
    hostile = replace(MESSAGE, title="CRITICAL \x1b[31mred\x1b[0m [bold]x[/bold]")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    asyncio.run(ConsoleChannel(stream).send(hostile))
    assert "\x1b[" in stream.getvalue()
    assert "[31mred[0m [bold]x[/bold]" in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    asyncio.run(ConsoleChannel(stream).send(hostile))
    assert "\x1b[3" not in stream.getvalue()


def test_an_old_terminal_shows_question_marks() -> None:
    """A character the terminal cannot show is no reason to lose an alert."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    asyncio.run(ConsoleChannel(stream).send(replace(MESSAGE, title="CRITICAL Société")))
    assert raw.getvalue().startswith(b"CRITICAL Soci?t?\n")


def test_a_closed_pipe_is_said() -> None:
    """A reader that went away makes the message unsent, with the reason, and never ends the program."""
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_PIPE], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout == "retry: console: the output is closed ([Errno 32] Broken pipe)\n", done.stderr
    closed = io.StringIO()
    closed.close()
    with pytest.raises(DeliveryError, match="the output is closed"):
        asyncio.run(ConsoleChannel(closed).send(MESSAGE))


CLOSED_PIPE = """
import asyncio, os
from datetime import UTC, datetime
from monitor.chat.console import ConsoleChannel
from monitor.model import DeliveryError, Message
reader, writer = os.pipe()
os.close(reader)
message = Message("1", "r", "console", "", "notice", "info", "INFO x", (), datetime(2026, 11, 1, tzinfo=UTC))
stream = os.fdopen(writer, "w")
try:
    asyncio.run(ConsoleChannel(stream).send(message))
except DeliveryError as error:
    print(f"{error.kind}: {error}", flush=True)
os._exit(0)
"""


# ---------------------------------------------------------------- pacing
@given(
    gaps=st.lists(st.floats(0, 30), min_size=1, max_size=60),
    private=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_no_stretch_holds_more_than_its_rate(gaps: list[float], private: bool) -> None:
    """Whoever waits until may_send_at keeps the rate in every stretch of its length, and never waits longer."""
    to, rate = ("42", Rate(1, 1.0)) if private else ("-42", Rate(20, 60.0))
    pacer, now, times = Pacer(), NOON, []
    for gap in gaps:
        now += timedelta(seconds=gap)
        allowed = pacer.may_send_at(to, now)
        assert now <= allowed <= now + timedelta(seconds=rate.seconds)
        now = allowed
        pacer.sent(to, now)
        times.append(now)
    for i in range(len(times) - rate.messages):
        assert times[i + rate.messages] - times[i] >= timedelta(seconds=rate.seconds)


def test_thirty_a_second_over_all_chats() -> None:
    """The thirty-first message of a second waits although its own chat is free."""
    pacer = Pacer()
    for i in range(30):
        assert pacer.may_send_at(str(i + 1), NOON) == NOON
        pacer.sent(str(i + 1), NOON)
    assert pacer.may_send_at("99", NOON) == NOON + timedelta(seconds=1)


def test_a_pause_telegram_asked_for_comes_first() -> None:
    """A hold of one chat does not hold the others; a hold of all does; a shorter one never shortens a longer one."""
    pacer = Pacer()
    pacer.hold(NOON + timedelta(seconds=30), "42")
    pacer.hold(NOON + timedelta(seconds=5), "42")
    assert pacer.may_send_at("42", NOON) == NOON + timedelta(seconds=30)
    assert pacer.may_send_at("43", NOON) == NOON
    pacer.hold(NOON + timedelta(seconds=60))
    assert pacer.may_send_at("43", NOON) == NOON + timedelta(seconds=60)


def test_a_clock_set_back_does_not_silence_a_chat() -> None:
    """After a step back of a day the wait is one period, not a day."""
    pacer = Pacer()
    pacer.sent("42", NOON)
    yesterday = NOON - timedelta(days=1)
    assert pacer.may_send_at("42", yesterday) == yesterday + timedelta(seconds=1)
