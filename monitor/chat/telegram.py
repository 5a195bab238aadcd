"""Telegram as a channel: messages out through python-telegram-bot, and every failure named for the outbox.

Telegram has no idempotency key. So it matters whether a request may have left: a connection that never stood is tried
again, an answer that never came is *unknown*, and what Telegram refuses for good is dead.
The library is imported when the first message is sent: nobody who only asks for help waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from monitor.chat import Buttons, Settings
from monitor.logsafe import protect_logs
from monitor.markup import clean, html, utf16_units, without_markup
from monitor.model import CanaryError, DeliveryError, Line, Message
from monitor.redact import redact

if TYPE_CHECKING:
    from telegram import Bot, InlineKeyboardMarkup
    from telegram.request import HTTPXRequest

NEEDS = ("telegram",)
API = "https://api.telegram.org"
TOKEN = re.compile(r"\d{5,20}:[\w-]{20,100}", re.ASCII)
#: seconds to connect, to be answered, and beyond both before a request that trickles on is given up
CONNECT_S, ANSWER_S, SPARE_S = 10.0, 20.0, 10.0
#: the longest text Telegram takes below a picture, in UTF-16 code units
CAPTION_UNITS = 1024
#: a message whose parts were partly accepted is continued, not repeated; this many are remembered
REMEMBERED = 256
#: what Telegram says when no later attempt can succeed, besides every 403 and a refused token
PERMANENT = (
    "chat not found",
    "peer_id_invalid",
    "user not found",
    "group chat was deactivated",
    "chat was deleted",
    "not enough rights to send",
    "have no rights to send",
    "chat_write_forbidden",
    "topic_closed",
    "topic_deleted",
    "message thread not found",
)
_LOG = logging.getLogger(__name__)
Keys = Sequence[Sequence[tuple[str, str]]]


class TelegramChannel:
    """Sends messages as one bot. Safe to use from one event loop at a time; a new loop gets a new connection pool.

    ``on_moved(old, new)`` is told when a group became a supergroup; the message goes to the new id at once, and so do
    later ones until the program ends.
    """

    name = "telegram"

    def __init__(
        self,
        token: str,
        base_url: str = API,
        to: str = "",
        on_moved: Callable[[str, str], None] | None = None,
        connect_s: float = CONNECT_S,
        answer_s: float = ANSWER_S,
        buttons: Buttons | None = None,
    ):
        self._token = token
        self._base_url = base_url.rstrip("/")
        self._to = to
        self._on_moved = on_moved
        self._buttons = buttons
        self._timeouts_s = (connect_s, answer_s)
        self._bot: Bot | None = None
        self._request: HTTPXRequest | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._moved: dict[str, str] = {}
        self._accepted: OrderedDict[str, list[str]] = OrderedDict()

    async def send(self, message: Message) -> str:
        """Send the message, in several parts when it is long; the ids of its parts, joined by commas.

        After a failure between two parts the next call goes on with the part that failed.
        """
        return await self.send_rich(message, "", b"")

    async def send_rich(self, message: Message, reply_to: str, picture: bytes) -> str:
        """The same in reply to an earlier message and with a picture: above the text where that fits below one, else
        after it. A picture Telegram will not take never costs the text.
        """
        to = message.to or self._to
        if not to:
            raise DeliveryError("telegram: the message has no chat to go to; set `to` in the route", "dead")
        ids = self._accepted.setdefault(message.id, [])
        while len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)
        parts = html(message)
        above = picture if len(parts) == 1 and utf16_units(without_markup(parts[0])) <= CAPTION_UNITS else b""
        for part in parts[len(ids) :]:
            keys = await self._keys(message) if len(ids) == len(parts) - 1 else ()
            ids.append(await self._send_part(to, part, reply_to if not ids else "", above, keys))
        self._accepted.pop(message.id, None)
        if picture and not above:
            try:
                await self.send_picture(message, picture, ids[0])
            except DeliveryError as error:
                _LOG.warning("a picture did not follow its message: %s", error)
        return ",".join(ids)

    async def send_picture(self, message: Message, picture: bytes, reply_to: str) -> None:
        """A picture after its message; DeliveryError when it did not arrive, and nothing is tried again."""
        to = message.to or self._to
        try:
            await self._request_send(self._moved.get(to, to), "", None, reply_to, picture)
        except Exception as error:  # as above: one of three answers
            raise self._failure(error) from None

    async def edit(self, message: Message, sent_as: str) -> None:
        """Let a sent message say this instead, in as many parts as it had; see :class:`monitor.chat.Editor`.

        What has grown too long loses its last rows.
        """
        to = message.to or self._to
        if to in self._moved:  # its number may be that of another message in the chat it became
            raise DeliveryError("telegram: the chat moved since the message was sent", "dead")
        ids = sent_as.split(",")
        parts = fitted(message, len(ids))
        keys = await self._keys(message)
        for number, part in zip(ids, parts, strict=False):
            await self._edit_part(to, int(number), message, part, keys if number == ids[-1] else ())

    async def _edit_part(self, to: str, number: int, message: Message, part: str, keys: Keys) -> None:
        """One part; what stands below a picture, and refused markup, are found out by asking."""
        from telegram.error import BadRequest, ChatMigrated

        text, caption = part, False
        parse_mode: str | None = "HTML"
        for _ in range(3):
            try:
                return await self._request_edit(to, number, text, parse_mode, caption, keys)
            except ChatMigrated as error:
                self._follow(to, str(error.new_chat_id))
                raise DeliveryError("telegram: the chat moved since the message was sent", "dead") from None
            except BadRequest as error:
                said = error.message.lower()
                if "message is not modified" in said:
                    return None
                if "there is no text in the message" in said and not caption:
                    text, caption = fitted(message, 1, CAPTION_UNITS)[0], True
                elif "can't parse entities" in said and parse_mode is not None:
                    text, parse_mode = without_markup(text), None
                else:
                    failure = self._failure(error)
                    # what Telegram refuses to change it will refuse again, and no edit is worth finding out why
                    raise failure if error.__cause__ else DeliveryError(str(failure), "dead") from None
            except Exception as error:  # as for a message
                raise self._failure(error) from None
        raise DeliveryError("telegram: the message could not be changed in any form", "dead")

    async def _request_edit(
        self, to: str, number: int, text: str, parse_mode: str | None, caption: bool, keys: Keys
    ) -> None:
        from telegram import LinkPreviewOptions

        bot, below = self._open(), _markup(keys)
        async with asyncio.timeout(sum(self._timeouts_s) + SPARE_S):
            if caption:
                await bot.edit_message_caption(to, number, caption=text, parse_mode=parse_mode, reply_markup=below)
            else:
                preview = LinkPreviewOptions(is_disabled=True)
                await bot.edit_message_text(
                    text, to, number, parse_mode=parse_mode, link_preview_options=preview, reply_markup=below
                )

    async def close(self) -> None:
        """Close the connections; the next message opens new ones."""
        request, self._bot, self._request = self._request, None, None
        if request is not None and self._loop is asyncio.get_running_loop():
            await request.shutdown()

    async def _keys(self, message: Message) -> Keys:
        """What may be tapped below a message; an alert is never lost over its buttons."""
        if self._buttons is None:
            return ()
        try:
            return await self._buttons(message)
        except Exception as error:  # whatever it is, the text matters more
            _LOG.warning("a message goes out without its buttons: %s: %s", type(error).__name__, redact(str(error)))
            return ()

    async def _send_part(self, to: str, part: str, reply_to: str = "", picture: bytes = b"", keys: Keys = ()) -> str:
        """One part, following a moved group once and giving up refused markup and a refused picture once each."""
        from telegram.error import BadRequest, ChatMigrated

        text = part
        parse_mode: str | None = "HTML"
        for _ in range(4):
            try:
                return await self._request_send(self._moved.get(to, to), text, parse_mode, reply_to, picture, keys)
            except ChatMigrated as error:
                if to in self._moved:
                    raise self._failure(error) from None
                self._follow(to, str(error.new_chat_id))
            except BadRequest as error:
                if parse_mode is not None and "can't parse entities" in error.message.lower():
                    _LOG.warning("telegram refused the markup of a message; it is sent as plain text")
                    text, parse_mode = without_markup(part), None
                elif picture and outcome(error)[0] != "dead":
                    _LOG.warning("telegram refused a picture; its message is sent without it")
                    picture = b""
                else:
                    raise self._failure(error) from None
            except Exception as error:  # everything else becomes one of three answers, without the token in its text
                raise self._failure(error) from None
        raise DeliveryError("telegram: the chat moved while its message was refused", "retry")

    async def _request_send(
        self, to: str, text: str, parse_mode: str | None, reply_to: str = "", picture: bytes = b"", keys: Keys = ()
    ) -> str:
        from telegram import LinkPreviewOptions, ReplyParameters

        first = reply_to.partition(",")[0]  # the message it answers may have had several parts
        reply = ReplyParameters(int(first), allow_sending_without_reply=True) if first.isdecimal() else None
        below = _markup(keys)
        async with asyncio.timeout(sum(self._timeouts_s) + SPARE_S):
            if picture:
                sent = await self._open().send_photo(
                    to, picture, caption=text or None, parse_mode=parse_mode, reply_parameters=reply, reply_markup=below
                )
            else:
                preview = LinkPreviewOptions(is_disabled=True)
                sent = await self._open().send_message(
                    to,
                    text,
                    parse_mode=parse_mode,
                    link_preview_options=preview,
                    reply_parameters=reply,
                    reply_markup=below,
                )
        return str(sent.message_id)

    def _open(self) -> Bot:
        """The bot of this event loop. Asking Telegram who we are first would only add a way to fail."""
        from telegram import Bot
        from telegram.request import HTTPXRequest

        loop = asyncio.get_running_loop()
        if self._bot is None or self._loop is not loop:
            connect_s, answer_s = self._timeouts_s
            self._request = HTTPXRequest(connect_timeout=connect_s, read_timeout=answer_s, write_timeout=answer_s)
            self._bot = Bot(
                self._token, f"{self._base_url}/bot", request=self._request, get_updates_request=self._request
            )
            self._loop = loop
        return self._bot

    def _follow(self, old: str, new: str) -> None:
        self._moved[old] = new
        _LOG.warning("telegram chat %s moved to %s; write the new id in the config", old, new)
        if self._on_moved is not None:
            try:
                self._on_moved(old, new)
            except Exception:  # keeping the new id is the caller's; the message in hand still goes out
                _LOG.exception("the new id of chat %s could not be kept", old)

    def _failure(self, error: Exception) -> DeliveryError:
        kind, retry_after_s = outcome(error)
        text = getattr(error, "message", "") or str(error) or "no answer"
        shown = clean(redact(text, [self._token]), 300)
        return DeliveryError(f"telegram: {type(error).__name__}: {shown}", kind, retry_after_s)


def _markup(keys: Keys) -> InlineKeyboardMarkup | None:
    from telegram import InlineKeyboardButton, InlineKeyboardMarkup

    rows = [[InlineKeyboardButton(label, callback_data=data) for label, data in row] for row in keys]
    return InlineKeyboardMarkup(rows) if rows else None


def fitted(message: Message, parts: int, units: int | None = None) -> list[str]:
    """The message as HTML in at most so many parts, of which the first shows at most ``units`` UTF-16 units; its last
    rows give way.
    """
    for count in range(len(message.lines), -1, -1):
        cut = () if count == len(message.lines) else (Line("", "... more lines were left out here"),)
        made = html(replace(message, lines=(*message.lines[:count], *cut)))
        if len(made) <= parts and (units is None or utf16_units(without_markup(made[0])) <= units):
            return made
    raise AssertionError("a title fits everywhere")


def outcome(error: Exception) -> tuple[Literal["retry", "dead", "unknown"], float | None]:
    """What a failed request means: (kind, seconds to wait if Telegram said so).

    The order matters: BadRequest and TimedOut are both NetworkErrors, and only some of them may be tried again. A
    refusal with a cause could not be read as Telegram's (a proxy's page, say), so it must not kill the channel.
    """
    from telegram.error import BadRequest, ChatMigrated, Conflict, Forbidden, InvalidToken, NetworkError, RetryAfter

    if isinstance(error, RetryAfter):
        wait = error.retry_after
        return "retry", wait.total_seconds() if isinstance(wait, timedelta) else float(wait)
    if isinstance(error, Forbidden | InvalidToken):
        return ("retry" if error.__cause__ else "dead"), None
    if isinstance(error, BadRequest):
        permanent = any(words in error.message.lower() for words in PERMANENT)
        return ("dead" if permanent and not error.__cause__ else "retry"), None
    if isinstance(error, ChatMigrated | Conflict):
        return "retry", None
    if isinstance(error, NetworkError):
        return _of_the_wire(error.__cause__), None
    return "unknown", None  # it was answered, but not in a way we can read, or our own time limit ran out


def _of_the_wire(cause: BaseException | None) -> Literal["retry", "unknown"]:
    """Whether a request can have left: not if no connection stood. Without an HTTP error it was answered 4xx or 5xx."""
    import httpx

    never_left = (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.ProxyError,
        httpx.UnsupportedProtocol,
    )
    if isinstance(cause, (*never_left, httpx.InvalidURL)):
        return "retry"
    return "retry" if cause is None or type(cause).__module__.startswith("telegram") else "unknown"


def open_channel(settings: Settings) -> TelegramChannel:
    """The bot named by the token; CanaryError when there is none or it cannot be one. Logs are protected first."""
    protect_logs()
    if not settings.token:
        raise CanaryError("telegram has no token; write token_env or token_file in the config, naming where it is kept")
    if not TOKEN.fullmatch(settings.token):
        raise CanaryError("the telegram token does not look like one; it has digits, a colon and 35 characters or so")
    return TelegramChannel(
        settings.token, settings.base_url or API, settings.to, settings.on_moved, buttons=settings.buttons
    )
