"""The bot as the daemon has it: on while the config has a Telegram channel with a token, built anew after an edit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.asking import DATABASES
from monitor.bot.access import Access
from monitor.bot.buttons import Keyboard, for_alerts
from monitor.bot.desk import Desk
from monitor.chat import Channel
from monitor.config import ChannelConfig, read_secret
from monitor.health import Hearing
from monitor.model import CanaryError, Message
from monitor.store import Store
from monitor.store_chat import moved_chats, note_moved
from monitor.tick import Memory
from monitor.world import World, open_channel

if TYPE_CHECKING:
    from monitor.bot.polling import Poller

CHANNEL = "telegram"
#: how often the daemon asks whether the bot still hears
LOOK_S = 10.0
_LOOPBACK = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")


class Bot:
    """Follows the config. ``say`` tells people at the screen, ``alarm(what, do)`` everybody on the routes; ``clock`` is
    the time of day (UTC)."""

    def __init__(
        self,
        desk: Desk,
        hearing: Hearing,
        say: Callable[[str], None],
        environ: Mapping[str, str],
        clock: Callable[[], datetime],
        alarm: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> None:
        self.alarm = alarm
        self.desk, self.hearing, self.say, self.environ, self.clock = desk, hearing, say, environ, clock
        self.poller: Poller | None = None
        self.moved: dict[str, str] = {}
        self._built_for: object = None
        self._keys = for_alerts(desk, clock)
        self._tasks: set[asyncio.Future[None]] = set()

    # ------------------------------------------------------------ listening
    async def look_after(self) -> None:
        """Take up an edit of the config, then see that the bot hears; call this every few seconds."""
        written = self._written()
        wanted = (written.token_env, written.token_file, written.base_url) if written else None
        if wanted != self._built_for:
            await self._take_down()
            self._built_for = wanted
            if written is not None:
                await self._build(written)
        if self.poller is not None:
            await self.poller.look_after()

    async def stop(self) -> None:
        """Listen no more and answer nothing."""
        await self._take_down()
        self.desk.close()

    def access(self) -> Access:
        """Who may ask, as of now."""
        written = self._written()
        if written is None:
            return Access()
        people = {person.user: person.role for person in written.people}
        return Access(people, frozenset(written.chats)).following(self.moved)

    def _written(self) -> ChannelConfig | None:
        """What the config says; None when there is no bot, or nobody outside may be asked."""
        world = self.desk.world()
        written = world.config.chat.get(CHANNEL)
        if written is None or not written.enabled or not (written.token_env or written.token_file):
            return None
        local = (written.base_url or "").startswith(_LOOPBACK)
        return None if self.desk.offline and not local else written

    async def _build(self, written: ChannelConfig) -> None:
        from monitor.bot.polling import Poller

        base = self.desk.world().config.found.file.resolve().parent
        try:
            token = await self.desk.read(read_secret, written.token_env, written.token_file, self.environ, base)
        except CanaryError as error:
            self.hearing.on, self.hearing.trouble = True, "its token cannot be read"
            self.say(f"the bot does not listen: {error}")
            return
        self.moved = await self.desk.read(_moved, self.desk.world().config.paths.state / DATABASES[0])
        self.poller = Poller(
            self.desk, token or "", self.access, self.hearing, self.say, base_url=written.base_url, clock=self.clock,
            on_moved=self.note_moved, alarm=self.alarm,
        )  # fmt: skip

    async def _take_down(self) -> None:
        poller, self.poller = self.poller, None
        self.hearing.on, self.hearing.trouble = False, ""
        if poller is not None:
            await poller.stop()

    # ------------------------------------------------------------ what sending needs of it
    def channel(self, world: World, name: str) -> Channel:
        """A channel of the postman, which keeps the new id of a group and puts buttons below alerts."""
        if name != CHANNEL:
            return open_channel(world, name)
        return open_channel(world, name, self.note_moved, self.buttons)

    async def buttons(self, message: Message) -> Keyboard:
        """The buttons of an alert message; none where nobody may tap them or nobody listens."""
        to = message.to.lstrip("-")
        if self.hearing.began_s is None or not to.isdecimal() or int(message.to) not in self.access().chats:
            return ()
        return await self._keys(message)

    def note_moved(self, old: str, new: str) -> None:
        """Keep the new id of a group: people in it stay allowed."""
        self.moved[old] = new
        task = asyncio.ensure_future(self.desk.write(_note_moved, old, new, self.clock()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _moved(database: Path) -> dict[str, str]:
    with Store.reader(database) as reader:
        return moved_chats(reader)


def _note_moved(memory: Memory, old: str, new: str, at: datetime) -> None:
    note_moved(memory.live, old, new, at)
