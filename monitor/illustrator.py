"""Pictures for messages: drawn in the worker process, sent after their text, never waited for.

A text goes out at once. Its picture follows as an answer to it when it is drawn; a picture that is drawn already, for
another chat a moment ago, goes with its text. Whatever goes wrong costs the picture only. Which messages get one: those
in which a critical alert of one borrower fires, and the first about a borrower in a chat; in one chat at most one of a
kind and a borrower in six hours, since the numbers behind a picture hardly move faster. What it shows depends on the
rule, see :mod:`monitor.pictured`; of the market only a past can be drawn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from monitor.model import MARKET, CanaryError, Message, Rule
from monitor.pictured import HEATMAP, Chosen, chosen
from monitor.redact import redact
from monitor.store_outbox import Company
from monitor.worker import Worker

#: the one function that draws; named by text, so that this process never loads what it needs
DRAWN = "monitor.drawing:drawn"
#: a picture this old is drawn afresh
FRESH = timedelta(minutes=10)
EVERY = timedelta(hours=6)
#: pictures that may wait to be drawn; more come without one
MOST_WAITING = 8
#: whom a picture is about, and which one it is
Subject = tuple[str, Chosen]
_LOG = logging.getLogger(__name__)


class Illustrator:
    """Draws and sends the pictures of one installation. ``settings`` are what the drawing function needs first;
    ``chosen`` gives the picture of a rule by its name; the worker belongs to the caller.
    """

    def __init__(
        self,
        worker: Worker,
        clock: Callable[[], datetime],
        *settings: object,
        chosen: Callable[[str], Chosen] = lambda rule: HEATMAP,
    ):
        self.worker, self.clock, self.settings, self.chosen = worker, clock, settings, chosen
        self._drawn: dict[Subject, tuple[datetime, bytes]] = {}
        self._shown: dict[tuple[str, str, Subject], datetime] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ready(self, message: Message, company: Company) -> bytes:
        """The picture of this message if it wants one and one is drawn already; empty otherwise."""
        subject = self._wanted(message, company)
        at, picture = self._drawn.get(subject, (None, b"")) if subject else (None, b"")
        if subject is None or at is None or self.clock() - at > FRESH:
            return b""
        self._shown[message.channel, message.to, subject] = self.clock()
        return picture

    def follow(self, send: Callable[[bytes], Awaitable[None]], message: Message, company: Company) -> None:
        """Draw what the accepted message lacks, if it wants one, and send it after; returns at once."""
        subject = self._wanted(message, company)
        if subject is not None and len(self._tasks) < MOST_WAITING:
            self._shown[message.channel, message.to, subject] = self.clock()
            task = asyncio.create_task(self._follow(send, subject))
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

    def _wanted(self, message: Message, company: Company) -> Subject | None:
        """What to draw for a message, if anything."""
        if message.kind != "fired" or not company.borrower or message.recorded:
            return None
        if message.severity != "critical" and not company.first:
            return None
        subject = (company.borrower, self.chosen(company.rule))
        if company.borrower == MARKET and subject[1].kind != "past":
            return None
        last = self._shown.get((message.channel, message.to, subject))
        return subject if last is None or self.clock() - last >= EVERY else None

    async def _follow(self, send: Callable[[bytes], Awaitable[None]], subject: Subject) -> None:
        try:
            at, picture = self._drawn.get(subject, (None, b""))
            if at is None or self.clock() - at > FRESH:
                picture = await self.worker.run(DRAWN, *self.settings, *subject)
                now = self.clock()
                self._drawn = {name: one for name, one in self._drawn.items() if now - one[0] <= FRESH}
                self._drawn[subject] = (now, picture)
            await send(picture)
        except CanaryError as error:
            _LOG.warning("no picture of %s: %s", subject[0], redact(str(error)))
        except Exception as error:  # a picture is never worth more than a line in the log
            _LOG.warning("no picture of %s: %s: %s", subject[0], type(error).__name__, redact(str(error)))


def chosen_of(rules: Sequence[Rule], name: str) -> Chosen:
    """The picture of a rule by its name; the grid of two shocks for one that is gone."""
    return next((chosen(rule.expr) for rule in rules if rule.id == name), HEATMAP)
