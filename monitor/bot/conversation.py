"""One message or one tap from beginning to end: who it is, whether it counts, what is done, what is said.

Nothing here knows Telegram: a :class:`Chat` is written to, whatever it is. Every check of a message holds for a tap.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from monitor.asking import DATABASES
from monitor.bot import buttons, quick
from monitor.bot.access import STRANGER, Access, Strangers, allows
from monitor.bot.buttons import Keyboard
from monitor.bot.desk import Desk
from monitor.bot.menu import WORDS, action_named, ids, word_named
from monitor.bot.nouns import Action, Answer, Ask, Person
from monitor.bot.replies import caption_of, parts_of, refused
from monitor.bot.words import Typed, meant, typed
from monitor.markup import clean
from monitor.model import CanaryError, Line
from monitor.redact import redact
from monitor.store import Store
from monitor.store_chat import Callback, callback, note_outcome, release_callback
from monitor.tick import Memory

#: a command that lay around longer is refused: the market it was typed for is gone
OLD = timedelta(minutes=5)
#: an answer not there at once shows that somebody types; after a moment more it says that work goes on
SOON_S, PATIENCE_S, TYPING_S = 0.15, 0.8, 4.5
#: commands and taps of one person in a minute
MAX_A_MINUTE = 30
MAX_NAME = 40
#: what a tap may say in Telegram's own small box
MAX_TOAST = 190
_LOG = logging.getLogger(__name__)


class Chat(Protocol):
    """Where an answer goes."""

    async def text(self, html: str, keyboard: Keyboard = ()) -> object:
        """Send one part; something to take it back with."""

    async def photo(self, png: bytes, caption: str, keyboard: Keyboard = ()) -> None:
        """Send a picture."""

    async def typing(self) -> None:
        """Show that somebody types."""

    async def take_back(self, sent: object) -> None:
        """Take a message back."""


class Late(Exception):
    """Telegram takes no answer to a tap any more: nobody knows how long ago it was."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message: who wrote it where, and when. ``user`` is None for a channel or an anonymous admin."""

    user: int | None
    chat: int
    name: str
    text: str
    sent: datetime
    edited: bool = False


@dataclass(frozen=True, slots=True)
class Tapped:
    """A tap: who, where, the opaque id. ``told`` shows a text to the one who tapped, and raises :class:`Late`."""

    user: int | None
    chat: int
    name: str
    data: str
    told: Callable[[str], Awaitable[None]]


class Conversation:
    """Everything the bot says, for one bot name. ``access`` gives who is allowed as of now, ``clock`` the moment."""

    def __init__(
        self,
        desk: Desk,
        access: Callable[[], Access],
        clock: Callable[[], datetime],
        bot: str = "",
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.desk, self.access, self.clock, self.bot, self.patience_s = desk, access, clock, bot, patience_s
        self.strangers = Strangers()
        self._lately: dict[int, deque[datetime]] = {}
        self._told_to_wait: dict[int, datetime] = {}
        self._under_way: set[str] = set()
        #: messages and taps that are being answered, and how many were
        self.working = self.answered = 0

    async def hear(self, heard: Heard, chat: Chat) -> None:
        """Answer a message, where it wants an answer."""
        await self._counted(self._hear(heard, chat))

    async def tap(self, tapped: Tapped, chat: Chat) -> None:
        """Answer a tap on a button, with every check a message goes through."""
        await self._counted(self._tap(tapped, chat))

    async def _counted(self, work: Awaitable[None]) -> None:
        self.working += 1
        try:
            await work
        finally:
            self.working -= 1
            self.answered += 1

    # ------------------------------------------------------------ messages
    async def _hear(self, heard: Heard, chat: Chat) -> None:
        said, private = typed(heard.text, self.bot), heard.chat > 0
        person = self._person(heard.user, heard.chat, heard.name)
        if person is None:
            if said or private:
                await self._stranger(heard.user, heard.chat, said, chat)
            return
        if said is None:
            if private:
                slash = heard.text.lstrip().startswith("/")
                said_so = "that is no command: /help shows all" if slash else "commands begin with a slash: /help"
                await self._send(Answer(said_so, own=True), chat)
            return
        answer = self._refusal(heard, person, said)
        if answer is not None:
            if answer.title:
                await self._send(answer, chat)
            return
        word = word_named(said.command)
        if word is not None:
            ask = Ask(self.desk, person, self.clock(), said.words)
            await self._answer(word.run(ask), chat, f"/{word.name}")

    def _refusal(self, heard: Heard, person: Person, said: Typed) -> Answer | None:
        """Why a command is not carried out; None when it is. Whoever goes on too fast is told once, then nothing."""
        now = self.clock()
        if now - heard.sent > OLD:
            return quick.too_old(heard.sent, now)
        if heard.edited:
            return Answer("an edited message is not carried out; send it as a new one")
        if not self._in_time(person.user, now):
            told = self._told_to_wait.get(person.user)
            if told is not None and now - told < timedelta(minutes=1):
                return Answer("")
            self._told_to_wait[person.user] = now
            return Answer(f"more than {MAX_A_MINUTE} commands in a minute; wait a moment")
        word = word_named(said.command)
        if word is None:
            guess = meant(said.command, [one.name for one in WORDS])
            text = f"did you mean /{guess}?" if guess else "/help shows all"
            return Answer(f"there is no command {said.command}; {text}", own=True)
        if not allows(person.role, word.role):
            return Answer(f"/{word.name} is for {word.role}s; you are {person.role}", own=True)
        return None

    def _person(self, user: int | None, chat: int, name: str) -> Person | None:
        role = self.access().role(user, chat)
        return None if role is None or user is None else Person(user, chat, clean(name, MAX_NAME), role)

    def _in_time(self, user: int, now: datetime) -> bool:
        """Whether this person may ask once more in this minute."""
        times = self._lately.setdefault(user, deque(maxlen=MAX_A_MINUTE))
        if len(times) == MAX_A_MINUTE and now - times[0] < timedelta(minutes=1):
            return False
        times.append(now)
        return True

    async def _stranger(self, user: int | None, chat_id: int, said: Typed | None, chat: Chat) -> None:
        """One fixed line, once; and what the owner needs to let somebody in. No id of a stranger is kept or logged."""
        whom = (user, chat_id) if chat_id > 0 or user in self.access().people else (None, chat_id)
        if said is not None and said.command == "whoami":
            if self.strangers.may_ask_ids(*whom):
                await self._send(ids(user, chat_id, None), chat)
        elif self._new_stranger(*whom):
            await self._send(Answer(STRANGER, own=True), chat)

    def _new_stranger(self, user: int | None, chat_id: int) -> bool:
        """Whether to tell somebody that he is not in the config: once, and once in the log."""
        new = self.strangers.first_time(user, chat_id)
        if new:
            _LOG.warning("somebody who is not in the config wrote to the bot and was told so, once")
        return new

    # ------------------------------------------------------------ taps
    async def _tap(self, tapped: Tapped, chat: Chat) -> None:
        person = self._person(tapped.user, tapped.chat, tapped.name)
        try:
            if person is None:
                await tapped.told(STRANGER if self._new_stranger(tapped.user, tapped.chat) else "")
                return
            found = await self.desk.read(_look_up, self._live(), tapped.data)
            action = action_named(found.action) if found else None
            tap = buttons.judged(
                found if action else None, person.user, self.clock(), action is not None and action.once
            )
            refusal = tap.refusal or self._not_now(person, action, tapped.data)
            if refusal or tap.found is None or action is None:
                await tapped.told(clean(refusal, MAX_TOAST))
                return
            self._under_way.add(tapped.data)
            try:
                await tapped.told("")  # raises Late before anything was done
                await self._answer(self._carry_out(tap.found, action, person), chat, action.name)
            finally:
                self._under_way.discard(tapped.data)
        except Late:
            if person is not None:
                await self._send(Answer("that tap came too late and was not carried out; tap once more"), chat)

    def _live(self) -> str:
        return str(self.desk.world().config.paths.state / DATABASES[0])

    def _not_now(self, person: Person, action: Action | None, data: str) -> str:
        """Why a button that works is not carried out for this person now; empty when it is."""
        if action is None:
            return "nothing is known of this button"
        if not allows(person.role, action.role):
            return f"this is for {action.role}s; you are {person.role}"
        if data in self._under_way:
            return "it is being worked on already"
        return "" if self._in_time(person.user, self.clock()) else "too many taps in a minute; wait a moment"

    async def _carry_out(self, found: Callback, action: Action, person: Person) -> Answer:
        """What a button does: at most once where it changes something, and only to what is still as it was."""
        ask, target = Ask(self.desk, person, self.clock()), found.target
        changed: tuple[Line, ...] = ()
        if not action.once:
            return await action.run(ask, target)
        if found.version:
            since = await self.desk.write(buttons.since, found)
            target, changed = " ".join(since.same), tuple(Line("not", text) for text in since.changed)
            if not target:
                return Answer("nothing was done: what this button is about has changed", changed)
        if not await self.desk.write(buttons.claim, found.id, ask.now, person.said):
            return Answer("done already, a moment ago")
        try:
            answer = await action.run(ask, target)
        except BaseException:  # it was not done, so the button works once more
            await self.desk.write(_release, found.id)
            raise
        await self.desk.write(_finished, found, ask.now, person.said, answer.title)
        return replace(answer, lines=(*answer.lines, *changed))

    # ------------------------------------------------------------ saying it
    async def _answer(self, work: Awaitable[Answer], chat: Chat, what: str) -> None:
        """Do the work and say the outcome; what takes longer says that it goes on."""
        task = asyncio.ensure_future(work)
        waiting = asyncio.create_task(self._wait_aloud(task, chat))
        try:
            answer = await task
        except CanaryError as error:
            answer = refused(CanaryError(redact(str(error)))) if type(error) is CanaryError else refused(error)
        except Exception as error:  # one bad answer must not end the bot; the log says where, without what was typed
            _LOG.error("%s failed: %s", what, redact(f"{type(error).__name__}: {error}"))
            answer = Answer(f"{what} failed: a fault in Canary; its log says more")
        await waiting
        await self._send(answer, chat)

    async def _wait_aloud(self, task: asyncio.Future[Answer], chat: Chat) -> None:
        """Show that somebody types; after a moment say so in words, and take that back in the end."""
        try:
            await asyncio.wait({task}, timeout=min(SOON_S, self.patience_s))
            if task.done():
                return
            await chat.typing()
            await asyncio.wait({task}, timeout=self.patience_s - SOON_S)
            if task.done():
                return
            said = await chat.text("working on it; this takes some seconds")
            while not task.done():
                await chat.typing()
                await asyncio.wait({task}, timeout=TYPING_S)
            await chat.take_back(said)
        except Exception as error:  # the answer itself is still to come, and says more if that fails too
            _LOG.info("nobody could be told that work goes on: %s", type(error).__name__)

    async def _send(self, answer: Answer, chat: Chat) -> None:
        """Every part of an answer, its picture, and its buttons below the last of them."""
        keys = await buttons.keep(self.desk, answer.buttons, self.clock())
        if answer.picture is not None:
            await chat.photo(answer.picture, caption_of(answer), () if answer.lines else keys)
            if not answer.lines:
                return
        parts = parts_of(answer, self.clock())
        for number, part in enumerate(parts, 1):
            await chat.text(part, keys if number == len(parts) else ())


def _look_up(path: str, number: str) -> Callback | None:
    with Store.reader(path) as reader:
        return callback(reader, number)


def _release(memory: Memory, number: str) -> None:
    release_callback(memory.live, number)


def _finished(memory: Memory, found: Callback, now: datetime, by: str, outcome: str) -> None:
    with memory.live.transaction():
        note_outcome(memory.live, found.id, outcome)
        if found.user is not None:
            buttons.end_pair(memory, found, now, by)
