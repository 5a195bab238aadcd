"""``canary chat test`` and ``canary chat who``: does a route arrive, and which ids belong into the configuration."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from monitor import chat
from monitor.asking import holder
from monitor.bot.access import config_lines
from monitor.chat.telegram import API
from monitor.commands import Reply
from monitor.config import ChannelConfig, Config, read_secret, routes_of
from monitor.logsafe import protect_logs
from monitor.markup import clean
from monitor.model import CanaryError, Line, Message
from monitor.redact import redact
from monitor.routes import Route
from monitor.shell import Shell
from monitor.tables import Cell, Head, Table
from monitor.yamltext import suggest

TELEGRAM = "telegram"
#: people shown; a bot that anybody may write to has many
MOST = 50
LIMIT_S = 20.0


# ---------------------------------------------------------------- test
@dataclass(frozen=True)
class Tried:
    """What became of one sample: the channel's id of it, or why it did not arrive."""

    route: Route
    sent_as: str = ""
    problem: str = ""


def run_test(shell: Shell, name: str | None) -> int:
    """Send a sample to every route, or to one, and report; 1 when one did not arrive.

    Nothing goes through the outbox: a sample is not an alert, and it may be sent while the daemon runs.
    """
    protect_logs()
    config = shell.config()
    routes = _chosen(routes_of(config), name)
    now = datetime.now(UTC)
    with redirect_stdout(sys.stderr):  # a route to the terminal prints its sample; standard output is for the report
        tried = asyncio.run(_try_all(config, routes, now))
    heads = (Head("route"), Head("channel"), Head("to"), Head("result"))
    rows = tuple(
        (Cell(one.route.name), Cell(one.route.channel), Cell(one.route.to or "-"), _result(one)) for one in tried
    )
    failed = [one for one in tried if one.problem]
    title = f"{len(tried) - len(failed)} of {len(tried)} routes took a sample"
    notes = (Cell("`canary check` and `canary doctor` say more about what is configured", "dim"),) if failed else ()
    data = [
        {"route": one.route.name, "channel": one.route.channel, "to": one.route.to, "ok": not one.problem,
         "sent_as": one.sent_as, "problem": one.problem}
        for one in tried
    ]  # fmt: skip
    return shell.show(Reply({"routes": data}, (Table(title, heads, rows, notes),), finding=bool(failed)))


def _chosen(routes: Sequence[Route], name: str | None) -> list[Route]:
    if name is None:
        return list(routes)
    found = [route for route in routes if route.name == name]
    if not found:
        names = [route.name for route in routes]
        raise CanaryError(f"there is no route {clean(name, 40)!r}; {suggest(name[:40], names)}")
    return found


async def _try_all(config: Config, routes: Sequence[Route], now: datetime) -> list[Tried]:
    return list(await asyncio.gather(*(_try(config, route, now) for route in routes)))


async def _try(config: Config, route: Route, now: datetime) -> Tried:
    try:
        channel = _open(config, route.channel)
        try:
            return Tried(route, await channel.send(sample(route, now)))
        finally:
            await channel.close()
    except CanaryError as error:
        return Tried(route, problem=redact(str(error)))


def _open(config: Config, name: str) -> chat.Channel:
    written = config.chat.get(name)
    if written is not None and not written.enabled:
        raise CanaryError(f"the chat channel {name} is switched off in the configuration")
    return chat.open_channel(name, chat.settings_of(written or ChannelConfig(), os.environ, _base(config)))


def _base(config: Config) -> Any:
    return config.found.file.resolve().parent


def sample(route: Route, now: datetime) -> Message:
    """What is sent: recognisably no alert.

    >>> sample(Route("desk", "console"), datetime(2026, 11, 1, 12, tzinfo=UTC)).title
    'TEST of the route desk: this is not an alert'
    """
    lines = (
        Line("what", "a sample, asked for with `canary chat test`; nothing fires because of it"),
        Line("hears of", ", ".join(route.severities) + (f"; {', '.join(route.borrowers)}" if route.borrowers else "")),
        Line("sent", f"{now:%Y-%m-%d %H:%M:%S} UTC"),
    )
    title = f"TEST of the route {route.name}: this is not an alert"
    name = f"test-{route.name}-{now:%Y%m%dT%H%M%S%f}"
    return Message(name, route.name, route.channel, route.to, "test", "info", title, lines, now)


def _result(tried: Tried) -> Cell:
    if tried.problem:
        return Cell(tried.problem, "critical")
    return Cell(f"arrived, {tried.sent_as}" if tried.sent_as else "arrived", "good")


# ---------------------------------------------------------------- who
@dataclass(frozen=True)
class Seen:
    """Somebody who wrote to the bot, and where."""

    user: int | None
    name: str
    chat: int
    chat_kind: str
    chat_name: str


def run_who(shell: Shell) -> int:
    """Show who wrote to the bot lately with the config lines that let them in; nothing is answered or taken away.

    While the daemon runs it is the one who listens, and only one may: then /whoami answers in the chat itself.
    """
    protect_logs()
    config = shell.config()
    written = config.chat.get(TELEGRAM, ChannelConfig())
    token = read_secret(written.token_env, written.token_file, os.environ, _base(config))
    if not token:
        raise CanaryError("telegram has no token; write token_env or token_file under chat.telegram in the config")
    daemon = holder(config.paths.state)
    if daemon is not None and written.enabled:
        note = "Canary is running and listens itself: write /whoami to the bot in the chat that is to be let in."
        return shell.show(Reply({"running": daemon, "seen": []}, (Table(note),)))
    seen = asyncio.run(_listen(token, (written.base_url or API).rstrip("/")))
    return shell.show(_who(seen))


def _who(seen: Sequence[Seen]) -> Reply:
    data = {"running": None, "seen": [one.__dict__ | {"config": config_lines(one.user, one.chat)} for one in seen]}
    if not seen:
        text = "nobody wrote to the bot in the last 24 hours; write something to it, in a group /start, and ask again"
        return Reply(data, (Table(text),))
    heads = (Head("user", right=True), Head("name"), Head("chat", right=True), Head("kind"), Head("title"))
    rows = tuple(
        (Cell(str(one.user or "-")), Cell(one.name), Cell(str(one.chat)), Cell(one.chat_kind), Cell(one.chat_name))
        for one in seen
    )
    tables = [Table("who wrote to the bot", heads, rows)]
    for one in seen[:3]:
        lines = tuple(Cell(line) for line in config_lines(one.user, one.chat).split("\n"))
        tables.append(Table(f"to let {one.name or one.chat} in, write into the config", notes=lines))
    return Reply(data, tuple(tables))


async def _listen(token: str, base_url: str) -> list[Seen]:
    """What waits for the bot, read once and left there: without an offset Telegram keeps it for whoever polls next."""
    from telegram import Bot
    from telegram.error import Conflict, TelegramError

    bot = Bot(token, f"{base_url}/bot")
    try:
        async with asyncio.timeout(LIMIT_S):
            updates = await bot.get_updates(timeout=0, allowed_updates=None)
    except Conflict:
        raise CanaryError("another program listens for this bot; ask there: write /whoami in the chat") from None
    except TimeoutError:
        raise CanaryError("telegram did not answer in time") from None
    except TelegramError as error:
        raise CanaryError(f"telegram: {type(error).__name__}: {redact(str(error), [token])}") from None
    found: dict[tuple[int | None, int], Seen] = {}
    for update in updates:
        user, place = update.effective_user, update.effective_chat
        if place is not None:
            name = clean(user.full_name, 40) if user else ""
            key = (user.id if user else None, place.id)
            found[key] = Seen(*key[:1], name, place.id, place.type, clean(place.title or "", 40))
    return list(found.values())[-MOST:]
