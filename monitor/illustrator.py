"""Pictures for messages: drawn in the worker process, sent after their text, never waited for.

A text goes out at once. Its picture follows as an answer to it when it is drawn; a picture that is drawn already, for
another chat a moment ago, goes with its text. Whatever goes wrong costs the picture only. Which messages get one: those
in which a critical alert of one borrower fires, and the first about a borrower in a chat; in one chat at most one of a
borrower in six hours, since the numbers behind a picture hardly move faster.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from monitor.model import CanaryError, Message
from monitor.redact import redact
from monitor.store_outbox import Company
from monitor.worker import Worker

#: the one function that draws; named by text, so that this process never loads what it needs
HEATMAP = "monitor.drawing:heatmap"
#: a picture this old is drawn afresh
FRESH = timedelta(minutes=10)
EVERY = timedelta(hours=6)
#: pictures that may wait to be drawn; more come without one
MOST_WAITING = 8
_LOG = logging.getLogger(__name__)


class Illustrator:
    """Draws and sends the pictures of one installation. ``settings`` are what the drawing function needs first; the
    worker belongs to the caller.
    """

    def __init__(self, worker: Worker, clock: Callable[[], datetime], *settings: object):
        self.worker, self.clock, self.settings = worker, clock, settings
        self._drawn: dict[str, tuple[datetime, bytes]] = {}
        self._shown: dict[tuple[str, str, str], datetime] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ready(self, message: Message, company: Company) -> bytes:
        """The picture of this message if it wants one and one is drawn already; empty otherwise."""
        if not self._wants(message, company):
            return b""
        at, picture = self._drawn.get(company.borrower, (None, b""))
        if at is None or self.clock() - at > FRESH:
            return b""
        self._shown[_place(message, company)] = self.clock()
        return picture

    def follow(self, send: Callable[[bytes], Awaitable[None]], message: Message, company: Company) -> None:
        """Draw what the accepted message lacks, if it wants one, and send it after; returns at once."""
        if self._wants(message, company) and len(self._tasks) < MOST_WAITING:
            self._shown[_place(message, company)] = self.clock()
            task = asyncio.create_task(self._follow(send, company.borrower))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Wait until every picture under way has arrived or failed."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()

    def _wants(self, message: Message, company: Company) -> bool:
        if message.kind != "fired" or not company.borrower or message.recorded:
            return False
        last = self._shown.get(_place(message, company))
        again = last is None or self.clock() - last >= EVERY
        return again and (message.severity == "critical" or company.first)

    async def _follow(self, send: Callable[[bytes], Awaitable[None]], borrower: str) -> None:
        try:
            at, picture = self._drawn.get(borrower, (None, b""))
            if at is None or self.clock() - at > FRESH:
                picture = await self.worker.run(HEATMAP, *self.settings, borrower)
                now = self.clock()
                self._drawn = {name: one for name, one in self._drawn.items() if now - one[0] <= FRESH}
                self._drawn[borrower] = (now, picture)
            await send(picture)
        except CanaryError as error:
            _LOG.warning("no picture of %s: %s", borrower, redact(str(error)))
        except Exception as error:  # a picture is never worth more than a line in the log
            _LOG.warning("no picture of %s: %s: %s", borrower, type(error).__name__, redact(str(error)))


def _place(message: Message, company: Company) -> tuple[str, str, str]:
    return message.channel, message.to, company.borrower
