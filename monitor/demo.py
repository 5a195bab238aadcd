"""``canary demo``: the bot's conversation in the terminal, without an account and without a network.

Everything is real but Telegram itself: the daemon, the bot, python-telegram-bot and the database run against a Bot API
on the loopback (:mod:`monitor.botserver`), over the starter book and recorded prices. First a week of 2026 is lived
again, so that alerts come in; then the person at the keyboard writes to the bot and taps its buttons by their numbers.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TextIO

from monitor.bot.replies import plain_of
from monitor.botserver import TOKEN, FakeTelegram, Request
from monitor.chat import Channel
from monitor.config import Found, inputs_hash, load_config
from monitor.daemon import Daemon
from monitor.model import end_of_day
from monitor.offline import offline_guard
from monitor.overview import Overview
from monitor.postman import Postman
from monitor.shell import OK
from monitor.starter import lay_out
from monitor.tick import TickResult
from monitor.world import World

#: the person at the keyboard, and his chat with the bot
USER = 42
#: the week that is lived again: one borrower gets short, new loans get dearer, another borrower gets through
WEEK = tuple(date(2026, 8, day) for day in (5, 6, 8, 11, 12))
#: what ``--script`` and the README show; a number taps the button of that number
SCRIPT = (
    "/start", "/status", "/alerts", "1", "1", "4", "/miner cifer", "/stress btc=-30 rent=-25", "/reverse hut",
    "/silence hut8 1d earnings call on Thursday", "/silence BlindOnRisk/mara 90d", "/stattus", "/digest", "/help",
)  # fmt: skip
CONFIG = """\
schedule: {{every: 15m}}
serve: {{enabled: false}}
routes:
  - name: chat
    channel: console
    to: {user}
    severities: [critical, warning]
    rules: [LockedBoxShort, LockedBoxTight, MarginCallNear, SpreadReprice, DistressFiling, DistressWarning]
chat:
  telegram:
    token_file: token
    base_url: {url}
    chat: {user}
    people: [{{user: {user}, role: editor}}]
    chats: [{user}]
paths: {{state: state, rules: rules, book: book, scenarios: scenarios}}
"""
#: an answer takes at most so long; the demo then goes on
PATIENCE_S = 90.0
NARROWEST, WIDEST = 30, 110


class Clock:
    """The time of the demo: a day of the past, going on as fast as real time."""

    def __init__(self) -> None:
        self._from, self._since_s = datetime(2026, 1, 1, tzinfo=UTC), time.monotonic()

    def move_to(self, moment: datetime) -> None:
        """Go on from here."""
        self._from, self._since_s = moment, time.monotonic()

    def now(self) -> datetime:
        """The moment it is."""
        return self._from + timedelta(seconds=time.monotonic() - self._since_s)


class Terminal:
    """The screen: what the bot sends, with its buttons numbered; what the person types."""

    def __init__(self, out: TextIO, width: int) -> None:
        self.out, self.width = out, max(NARROWEST, min(width, WIDEST))
        #: label and id of the buttons below the newest message that has any
        self.keys: list[tuple[str, str]] = []
        self.pictures: Path | None = None

    def line(self, text: str = "") -> None:
        """One line of the demo itself."""
        print(text, file=self.out, flush=True)

    def evaluated(self, world: World, result: TickResult, shown: Overview, next_at: datetime) -> None:
        """One evaluation of the daemon."""
        price = f"BTC {shown.btc_usd:,.0f} USD" if shown.btc_usd else "BTC ?"
        self.line(f"\n--- {shown.recorded}: {price}, {shown.firing} firing ---")

    def say(self, text: str, trouble: bool = False) -> None:
        """What the daemon says about itself."""
        self.line(f"    {text}")

    def typed(self, text: str) -> None:
        """What the person wrote."""
        self.line(f"\nyou > {text}")

    def sent(self, request: Request) -> None:
        """One request of the bot, as a chat would show it."""
        fields = request.fields
        if request.method == "sendMessage":
            self._bubble(plain_of(str(fields["text"])) if fields.get("parse_mode") else str(fields["text"]))
        elif request.method == "sendPhoto":
            self._bubble(self._picture(request, plain_of(str(fields.get("caption", "")))))
        elif request.method == "answerCallbackQuery" and fields.get("text"):
            self._bubble(f"(a small box) {fields['text']}")
        elif request.method.startswith("editMessage"):  # the message above: what it says now in its first line
            first = plain_of(str(fields.get("text") or fields.get("caption"))).split("\n")[:2]
            self._bubble(f"(the message changes) {' | '.join(first)}")
        markup = fields.get("reply_markup")
        if isinstance(markup, dict) and request.method.startswith("send"):
            self._buttons(markup["inline_keyboard"])

    def _bubble(self, text: str) -> None:
        self.line()
        for i, row in enumerate(text.replace("\u2060", "").split("\n")):
            head = "bot > " if i == 0 else "    | "
            self.line(textwrap.fill(row, self.width, initial_indent=head, subsequent_indent="    |   ") or "    |")

    def _buttons(self, rows: Sequence[Sequence[Mapping[str, str]]]) -> None:
        self.keys = [(key["text"], key["callback_data"]) for row in rows for key in row]
        self.line("    | " + "  ".join(f"[{number}] {label}" for number, (label, _) in enumerate(self.keys, 1)))

    def _picture(self, request: Request, caption: str) -> str:
        if self.pictures is None:
            self.pictures = Path(tempfile.mkdtemp(prefix="canary-demo-pictures-"))
        path = self.pictures / f"{len(list(self.pictures.iterdir())) + 1}.png"
        path.write_bytes(next(iter(request.contents.values()), b""))
        return f"[picture {path}] {caption}"


class LoopbackDaemon(Daemon):
    """On recorded prices only the console speaks; here the console is the chat on the loopback."""

    def _postman(self) -> Postman:
        return Postman(self._on_writer, self.clock, opened=self._chat)

    def _chat(self, world: World, name: str) -> Channel:
        return self.bot.channel(world, "telegram")


class Demo:
    """The server, the daemon and the terminal, and what goes between them."""

    def __init__(self, folder: Path, server: FakeTelegram, terminal: Terminal, clock: Clock) -> None:
        self.server, self.terminal, self.clock = server, terminal, clock
        self.seen = 0
        found = Found(folder / "config.yaml", "of the demo")
        environ = {"HOME": str(folder), "PATH": os.environ.get("PATH", "")}
        self.daemon = LoopbackDaemon(
            lambda: load_config(found, environ), environ, terminal, offline=True, clock=clock.now
        )

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """The daemon open and its bot listening, and everything it sends on the screen."""
        async with self.daemon.opened():
            await self.daemon.listen()
            shower = asyncio.create_task(self._show())
            try:
                yield
            finally:
                self._catch_up()
                shower.cancel()

    async def live_again(self, days: Sequence[date]) -> None:
        """Evaluate at the end of each day and deliver what is news then."""
        for day in days:
            self.clock.move_to(end_of_day(day))
            await self.daemon.evaluate()
            self._catch_up()

    async def say(self, text: str) -> None:
        """What the person typed: a message, or the number of a button; returns when it was answered."""
        bot = self.daemon.bot.poller
        if bot is None:
            return
        before, keys = bot.talk.answered, self.terminal.keys
        if text.isdecimal() and not 1 <= int(text) <= len(keys):
            self.terminal.line(f"    there is no button {text}")
            return
        if text.isdecimal():
            label, data = keys[int(text) - 1]
            self.terminal.typed(f"[{label}]")
            self.server.press(data, USER, USER, "You")
        else:
            self.terminal.typed(text)
            self.server.say(text, USER, USER, "You")
        started = time.monotonic()
        while bot.talk.answered == before and time.monotonic() - started < PATIENCE_S:
            await asyncio.sleep(0.02)
        await self.daemon.deliver()
        self._catch_up()
        if inputs_hash(self.daemon.inputs.config) != self.daemon.inputs.seen:  # a rule was edited from the chat
            await self.daemon.evaluate()

    def _catch_up(self) -> None:
        """Show what was sent since the last look."""
        while self.seen < len(self.server.accepted):
            self.terminal.sent(self.server.accepted[self.seen])
            self.seen += 1

    async def _show(self) -> None:
        while True:
            self._catch_up()
            await asyncio.sleep(0.05)


# ---------------------------------------------------------------- the command
def run_demo(typed: Sequence[str] | TextIO, out: TextIO, width: int, days: Sequence[date] = WEEK) -> int:
    """``canary demo``: live some days again, then answer lines given or typed at a keyboard (or a pipe)."""
    clock, terminal = Clock(), Terminal(out, width)
    with (
        tempfile.TemporaryDirectory(prefix="canary-demo-") as folder,
        FakeTelegram(clock=lambda: int(clock.now().timestamp())) as server,
    ):
        _lay_out(Path(folder), server.url)
        asyncio.run(_talk(Demo(Path(folder), server, terminal, clock), typed, days))
    return OK


def _lay_out(folder: Path, url: str) -> None:
    lay_out(folder)
    (folder / "config.yaml").write_text(CONFIG.format(url=url, user=USER), encoding="utf-8")
    (folder / "token").write_text(TOKEN, encoding="utf-8")


async def _talk(demo: Demo, typed: Sequence[str] | TextIO, days: Sequence[date]) -> None:
    say = demo.terminal.line
    say("Canary's bot in this terminal: a real daemon and a real bot, a Telegram of this machine only,")
    say(f"recorded prices. First {days[0]} to {days[-1]} once more (the first look back takes some seconds).")
    async with demo.listening():
        await demo.live_again(days)
        if isinstance(typed, Sequence):
            for line in typed:
                await demo.say(line)
        else:
            say("\nYour turn: type /help, /status, /stress btc=-30, ... or the number of a button. Ctrl-D ends.")
            async for line in lines_of(typed):
                await demo.say(line)
    say("\nFor a real chat: canary init DIR, then the part 'chat' of config.yaml.")


async def lines_of(stream: TextIO) -> AsyncIterator[str]:
    """The lines somebody types, without blank ones; a thread waits for them, so that the bot goes on meanwhile."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def read() -> None:
        for line in stream:
            loop.call_soon_threadsafe(queue.put_nowait, line)
        loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=read, name="keyboard", daemon=True).start()
    while (line := await queue.get()) is not None:
        if line.strip():
            yield line.strip()


def run(script: bool) -> int:
    """The demo at this process's keyboard and screen."""
    try:
        width = os.get_terminal_size(sys.stdout.fileno()).columns or WIDEST  # 0: a terminal that does not know
    except OSError:  # no terminal
        width = WIDEST
    with offline_guard():
        return run_demo(SCRIPT if script else sys.stdin, sys.stdout, width)
