"""Where the bot's answers come from: the daemon's world, reader threads, the writer, the worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from monitor.asking import OVERVIEW, services_of
from monitor.commands import Services
from monitor.ledger import OnWriter
from monitor.model import CanaryError
from monitor.store import Store
from monitor.tick import Memory
from monitor.worker import Worker
from monitor.world import World

T = TypeVar("T")
#: answers read from the database side by side; each opens its own connection
READERS = 2
#: pieces of long work that may wait for the worker; each may take seconds
MAX_WAITING = 6


@dataclass
class Desk:
    """What the bot may use of the running daemon. ``world`` is the one in force, ``memory`` belongs to the writer."""

    world: Callable[[], World]
    memory: Callable[[], Memory]
    on_writer: OnWriter
    worker: Worker
    offline: bool = False
    _waiting: int = 0
    _readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(READERS, "bot-reader"), repr=False)

    def services(self, now: datetime) -> Services:
        """The services of the command line, over the world in force. Use them on a reader's thread or the writer."""
        world = self.world()
        return services_of(world.config, lambda: world, now)

    async def read(self, function: Callable[..., T], *arguments: object) -> T:
        """What a function that only reads gives, on a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: function(*arguments))

    async def write(self, function: Callable[..., T], *arguments: object) -> T:
        """What ``function(memory, *arguments)`` gives, on the writer; keep it short."""
        return await self.on_writer(lambda: function(self.memory(), *arguments))

    async def work(self, function: str, *arguments: object) -> Any:
        """What ``module:function`` gives in the worker process, called with where the config is and these arguments."""
        if self._waiting >= MAX_WAITING:
            raise CanaryError("too much is being worked on; ask again in a moment")
        self._waiting += 1
        try:
            return await self.worker.run(function, self.world().config.found, self.offline, *arguments)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Take no more questions; the worker belongs to the daemon."""
        self._readers.shutdown(wait=False, cancel_futures=True)


def shown_store(memory: Memory) -> Store:
    """The database whose evaluation people see: the live one once it has any, else that of recorded prices."""
    return next((store for store in memory.stores() if store.meta(OVERVIEW)), memory.live)
