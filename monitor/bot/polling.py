"""Listening: python-telegram-bot asks Telegram what people wrote, and a supervisor asks whether it still hears.

One program may listen for one token. Told by Telegram that another one does (409), this one says so and stops
listening; sending goes on. A bot that has not heard anything from Telegram for a while, not even that there is nothing
new, is deaf, whatever its tasks say: it is taken down and built anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from telegram import (
    BotCommand,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    Message,
    Update,
)
from telegram.error import BadRequest, ChatMigrated, Conflict, InvalidToken, RetryAfter, TelegramError
from telegram.ext import Application, ApplicationBuilder, TypeHandler
from telegram.request import HTTPXRequest

from monitor.bot.access import Access
from monitor.bot.buttons import Keyboard
from monitor.bot.conversation import Conversation, Heard, Late, Tapped
from monitor.bot.desk import Desk
from monitor.bot.menu import menu
from monitor.bot.replies import plain_of
from monitor.health import Hearing
from monitor.logsafe import protect_logs
from monitor.redact import redact

if TYPE_CHECKING:
    from telegram.request import RequestData

API = "https://api.telegram.org"
#: one question to Telegram waits this long for something new; Telegram answers that there is nothing after it
LONG_POLL = timedelta(seconds=20)
#: nothing heard for this long is deaf: four unanswered questions
DEAF_S = 90.0
#: a start that failed is tried again after so long
AGAIN_S = 60.0
#: taking down may hang in a dead connection; then it is left behind
STOP_S = 3.0
#: Telegram asks for a pause; a longer one is not worth the wait
MAX_PAUSE_S = 60.0
#: messages and taps worked on side by side
SIDE_BY_SIDE = 8
#: a channel post has no person behind it, so it is not even asked for
WANTED = ("message", "edited_message", "callback_query")
_LOG = logging.getLogger(__name__)
App = Application[Any, Any, Any, Any, Any, Any]


class Ears(HTTPXRequest):
    """The connection that waits for news; notes every time Telegram answered at all."""

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__(connect_timeout=10.0, read_timeout=5.0)  # PTB adds the time of the long poll
        self._heard = heard

    async def do_request(
        self, url: str, method: str, request_data: RequestData | None = None, *args: Any, **times: Any
    ) -> tuple[int, bytes]:
        """As the library does it."""
        code, body = await super().do_request(url, method, request_data, *args, **times)
        if code == 200:
            self._heard()
        return code, body


class Poller:
    """One bot that listens. ``say`` tells people at the screen, ``monotonic`` gives seconds that only go forward.

    ``on_moved(old, new)`` is told when an allowed group got a new id; ``alarm(what, do)`` sends a notice to the routes.
    """

    def __init__(
        self,
        desk: Desk,
        token: str,
        access: Callable[[], Access],
        hearing: Hearing,
        say: Callable[[str], None],
        *,
        base_url: str | None = None,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        on_moved: Callable[[str, str], None] | None = None,
        alarm: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> None:
        protect_logs()
        self.hearing, self.say, self.monotonic = hearing, say, monotonic
        self._access, self._on_moved, self._alarm = access, on_moved, alarm
        self.talk = Conversation(desk, access, clock)
        self._token, self._base_url = token, (base_url or API).rstrip("/")
        self._app: App | None = None
        self._next_try_s = 0.0
        self._conflict = self._said_wrong = False
        self._ending: asyncio.Future[None] | None = None
        hearing.on = True

    # ------------------------------------------------------------ listening
    async def look_after(self) -> None:
        """Start, or start again, what does not listen and should; call this every few seconds."""
        now_s = self.monotonic()
        self.hearing.strangers = self.talk.strangers.count
        if self._app is not None and self.hearing.deaf_s(now_s) > DEAF_S:
            self.hearing.restarts += 1
            _LOG.warning("the bot heard nothing from Telegram for %.0f s; it is restarted", self.hearing.deaf_s(now_s))
            await self._take_down()
            await self._listen()
        elif self._app is None and not self._conflict and now_s >= self._next_try_s:
            await self._listen()

    async def stop(self) -> None:
        """Listen no more."""
        self.hearing.on = False
        if self._ending is not None:
            await self._ending
        await self._take_down()

    async def _listen(self) -> None:
        self._next_try_s = self.monotonic() + AGAIN_S
        try:
            app = self._app = self._built()
            await app.initialize()
            self.talk.bot = app.bot.username
            with suppress(TelegramError):  # a menu is a convenience
                await app.bot.set_my_commands([BotCommand(name, text[:256]) for name, text in menu()])
            self.hearing.began_s = self.monotonic()
            await app.start()
            if app.updater is not None:
                await app.updater.start_polling(
                    timeout=LONG_POLL, allowed_updates=WANTED, drop_pending_updates=False, error_callback=self._wrong
                )
        except TelegramError as error:
            await self._take_down()
            self._not_started(error)
        else:
            if self.hearing.trouble:
                self.say("the bot listens again")
            self.hearing.trouble, self._said_wrong = "", False

    def _not_started(self, error: TelegramError) -> None:
        refused = isinstance(error, InvalidToken)
        self.hearing.trouble = "Telegram refuses its token" if refused else "Telegram cannot be reached"
        if not self._said_wrong:
            more = "correct it" if refused else f"tried again every {AGAIN_S:.0f} s"
            text = redact(f"{type(error).__name__}: {error.message}", [self._token])
            self.say(f"the bot does not listen: {self.hearing.trouble} ({text}); {more}")
        self._said_wrong = True

    def _wrong(self, error: TelegramError) -> None:
        """What went wrong with one question to Telegram; the library asks again by itself, except here."""
        if isinstance(error, Conflict) and not self._conflict:
            self._conflict = True
            self.hearing.trouble = "another program listens for the same token"
            # not awaited here: this is called by the very task that is to end
            self._ending = asyncio.ensure_future(self._give_way())

    async def _give_way(self) -> None:
        """Stop listening for good, and say so wherever people look: alerts still go out."""
        what = "the bot does not listen any more: another program listens for the same token, and only one may"
        do = "Alerts are still sent. Stop the other program, then start Canary again."
        self.say(f"{what}. {do}")
        await self._take_down()
        if self._alarm is not None:
            await self._alarm(what, do)

    async def _take_down(self) -> None:
        app, self._app, self.hearing.began_s = self._app, None, None
        if app is None:
            return
        updater = app.updater
        for step, needed in (
            (updater.stop if updater else app.stop, updater is not None and updater.running),
            (app.stop, app.running),
            (app.shutdown, True),
        ):
            if needed:
                try:
                    async with asyncio.timeout(STOP_S):
                        await step()
                except (TelegramError, RuntimeError, TimeoutError) as error:  # left behind; the next has its own line
                    _LOG.info("a part of the bot could not be taken down in order: %s", type(error).__name__)

    def _built(self) -> App:
        app = (
            ApplicationBuilder()
            .token(self._token)
            .base_url(f"{self._base_url}/bot")
            .request(HTTPXRequest(connection_pool_size=16, connect_timeout=10.0, read_timeout=20.0))
            .get_updates_request(Ears(self._heard))
            .concurrent_updates(SIDE_BY_SIDE)
            .job_queue(None)
            .build()
        )
        app.add_handler(TypeHandler(Update, self._update))
        app.add_error_handler(self._fault)
        return app

    def _heard(self) -> None:
        self.hearing.heard_s = self.monotonic()

    # ------------------------------------------------------------ what was heard
    async def _update(self, update: Update, _: Any) -> None:
        if update.callback_query is not None:
            await self._tapped(update.callback_query)
            return
        message = update.message or update.edited_message
        if message is not None and message.migrate_to_chat_id is not None:
            if self._on_moved is not None and message.chat_id in self._access().chats:
                self._on_moved(str(message.chat_id), str(message.migrate_to_chat_id))
            return
        if message is None or message.text is None:
            return
        user = message.from_user
        # an anonymous admin writes as the group: Telegram then names a stand-in user
        known = user is not None and not user.is_bot and message.sender_chat is None
        heard = Heard(
            user.id if user is not None and known else None,
            message.chat_id,
            user.first_name if user is not None else "",
            message.text,
            message.edit_date or message.date if update.edited_message else message.date,
            update.edited_message is not None,
        )
        await self.talk.hear(heard, TelegramChat(message))

    async def _tapped(self, query: CallbackQuery) -> None:
        message = query.message
        if not isinstance(message, Message):  # too old for Telegram to show it
            await query.answer("this button is too old; type the command instead", show_alert=True)
            return

        async def told(text: str) -> None:
            try:
                await query.answer(text or None, show_alert=bool(text))
            except BadRequest as error:
                if "too old" in error.message.lower() or "query id is invalid" in error.message.lower():
                    raise Late from None
                raise

        user = query.from_user
        tapped = Tapped(None if user.is_bot else user.id, message.chat.id, user.first_name, query.data or "", told)
        await self.talk.tap(tapped, TelegramChat(message))

    async def _fault(self, _: object, context: Any) -> None:
        """An answer that could not be given; its log line names no one. At a stop, that is no news."""
        if self.hearing.on:
            error = context.error
            # the text of a move holds the new id of the group, perhaps one nobody here knows
            text = "" if isinstance(error, ChatMigrated) else f": {error}"
            _LOG.warning("an answer could not be given: %s", redact(f"{type(error).__name__}{text}"))


class TelegramChat:
    """Where an answer to one message goes: its chat and topic, and in a group as a reply to it."""

    def __init__(self, message: Message) -> None:
        self._message = message

    async def text(self, html: str, keyboard: Keyboard = ()) -> object:
        """Send one part; as plain text when Telegram refuses its markup."""
        try:
            return await _patient(lambda: self._reply(html, "HTML", keyboard))
        except BadRequest as error:
            if "can't parse entities" not in error.message.lower():
                raise
            return await self._reply(plain_of(html), None, keyboard)

    async def _reply(self, text: str, parse_mode: str | None, keyboard: Keyboard) -> Message:
        return await self._message.reply_text(
            text,
            parse_mode=parse_mode,
            link_preview_options=LinkPreviewOptions(is_disabled=True),
            reply_markup=_markup(keyboard),
            allow_sending_without_reply=True,
        )

    async def photo(self, png: bytes, caption: str, keyboard: Keyboard = ()) -> None:
        """Send a picture."""
        markup = _markup(keyboard)
        await _patient(
            lambda: self._message.reply_photo(
                png, caption=caption or None, reply_markup=markup, allow_sending_without_reply=True
            )
        )

    async def typing(self) -> None:
        """Show that somebody types."""
        with suppress(TelegramError):  # a courtesy
            await self._message.reply_chat_action("typing")

    async def take_back(self, sent: object) -> None:
        """Take a message back."""
        if isinstance(sent, Message):
            with suppress(TelegramError):  # then the line stays
                await sent.delete()


def _markup(keyboard: Keyboard) -> InlineKeyboardMarkup | None:
    rows = [[InlineKeyboardButton(key.label, callback_data=key.data) for key in row] for row in keyboard]
    return InlineKeyboardMarkup(rows) if rows else None


async def _patient(send: Callable[[], Any]) -> Any:
    """Send, once more after the pause Telegram asks for."""
    try:
        return await send()
    except RetryAfter as error:
        wait = error.retry_after
        pause_s = wait.total_seconds() if isinstance(wait, timedelta) else float(wait)
        if pause_s > MAX_PAUSE_S:
            raise
        await asyncio.sleep(pause_s)
        return await send()
