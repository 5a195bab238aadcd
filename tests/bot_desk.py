"""A running bot for tests: real python-telegram-bot, a real database and writer, and the loopback Bot API."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from desk import lay_desk

from monitor.bot.access import Access
from monitor.bot.desk import Desk
from monitor.bot.polling import Poller
from monitor.botserver import DATE, TOKEN, FakeTelegram
from monitor.config import Found, load_config
from monitor.daemon import remember, seen
from monitor.health import Hearing
from monitor.tick import Memory, judge
from monitor.worker import Worker
from monitor.world import World, build_world

NOW = datetime.fromtimestamp(DATE, UTC)
#: a viewer, an operator and an editor, each in his own chat; and a group the editor is in
VIEWER, OPERATOR, EDITOR, GROUP = 41, 42, 43, -100500
PEOPLE = Access(
    {VIEWER: "viewer", OPERATOR: "operator", EDITOR: "editor"}, frozenset({VIEWER, OPERATOR, EDITOR, GROUP})
)


@dataclass
class Running:
    """What a test holds: the server, the listening bot, and the databases."""

    server: FakeTelegram
    poller: Poller
    memory: Memory
    desk: Desk
    hearing: Hearing
    said: list[str]
    access: list[Access]
    clock: list[datetime]
    monotonic: list[float] = field(default_factory=lambda: [0.0])
    alarms: list[tuple[str, str]] = field(default_factory=list)

    async def texts(self, do: Callable[[], object], until: Callable[[list[str]], bool] = bool) -> list[str]:
        """What the bot sends after something was done, once it is enough."""
        before = len(self.server.texts())
        do()
        await asyncio.to_thread(self.server.wait, lambda server: until(server.texts()[before:]), 20.0)
        return self.server.texts()[before:]

    async def says(self, text: str, user: int = EDITOR, chat: int | None = None, **others: object) -> str:
        """The first answer to a message."""
        said = await self.texts(lambda: self.server.say(text, user, chat or user, **others))  # type: ignore[arg-type]
        return said[0] if said else ""

    async def told(self, data: str, user: int = EDITOR, chat: int | None = None) -> str:
        """What Telegram shows to somebody who taps a button."""
        query = self.server.press(data, user, chat or user)
        await asyncio.to_thread(self.server.wait, lambda server: query in server.answered)
        return self.server.answered[query]

    async def silent(self, do: Callable[[], object]) -> bool:
        """Whether something is answered with nothing: the next thing that is answered comes first."""
        before = len(self.server.texts())
        do()
        await self.says("/whoami")
        return len(self.server.texts()) == before + 1


def world_at(folder: Path) -> World:
    """What the files of a desk say."""
    return build_world(load_config(Found(folder / "config.yaml", "for a test"), {"HOME": str(folder)}), offline=True)


@cache
def evaluated_desk() -> Path:
    """A desk that was evaluated once, to be copied: living through its past takes seconds."""
    folder = lay_desk(Path(tempfile.mkdtemp(prefix="canary-test-")))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    world = world_at(folder)
    memory = Memory(world.config.paths.state, NOW)
    result = judge(world, memory, (), (), NOW)
    remember(memory, result, seen(world, result))
    memory.close()
    return folder


@asynccontextmanager
async def running(folder: Path, worker: Worker | None = None) -> AsyncIterator[Running]:
    """A bot that listens over an evaluated desk of one miner, with one critical alert on recorded prices."""
    shutil.copytree(evaluated_desk(), folder, dirs_exist_ok=True)
    world = world_at(folder)
    writer = ThreadPoolExecutor(1)
    loop = asyncio.get_running_loop()

    def on_writer(work):  # type: ignore[no-untyped-def]
        return loop.run_in_executor(writer, work)

    memory = await on_writer(lambda: Memory(world.config.paths.state, NOW))
    desk = Desk(lambda: world, lambda: memory, on_writer, worker or Worker(), offline=True)
    hearing, said, access, clock, monotonic = Hearing(), list[str](), [PEOPLE], [NOW], [0.0]
    alarms: list[tuple[str, str]] = []

    async def alarm(what: str, do: str) -> None:
        alarms.append((what, do))

    with FakeTelegram() as server:
        poller = Poller(
            desk,
            TOKEN,
            lambda: access[0],
            hearing,
            said.append,
            base_url=server.url,
            clock=lambda: clock[0],
            monotonic=lambda: monotonic[0],
            alarm=alarm,
        )
        await poller.look_after()
        try:
            yield Running(server, poller, memory, desk, hearing, said, access, clock, monotonic, alarms)
        finally:
            await poller.stop()
            desk.close()
            if worker is None:
                desk.worker.close()
            await on_writer(memory.close)
            writer.shutdown()
