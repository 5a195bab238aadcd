"""Sending what is unsent: the loop over outbox rows. Nothing is decided here; nothing is lost here.

A row is committed as ``sending`` before the request leaves and as ``sent`` only after the channel said yes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from uuid import uuid4

from monitor import routing
from monitor.chat import Channel
from monitor.chat.pacing import Pacer
from monitor.model import CanaryError, DeliveryError, Line, OutboxRow
from monitor.redact import redact
from monitor.routes import Route
from monitor.store import Store
from monitor.world import World, open_channel

R = TypeVar("R")
#: a destination that has to wait longer than this is left for the next round of delivery
MAX_WAIT_S = 5.0
#: a screen takes whatever comes
UNPACED = ("console",)


class OnWriter(Protocol):
    """Runs something on the writer thread and gives back its answer."""

    def __call__(self, work: Callable[[], R], /) -> Awaitable[R]: ...


@dataclass(frozen=True)
class Delivered:
    """What one round of delivery did: counts by outcome, and what went wrong in words."""

    sent: int = 0
    retried: int = 0
    unknown: int = 0
    dead: int = 0
    problems: tuple[str, ...] = ()


class Postman:
    """Sends what is unsent. Channels are opened once; each destination has its own order and pace.

    A destination that fails or waits never holds up another one. ``clock`` gives the present time between messages.
    """

    def __init__(self, on_writer: OnWriter, clock: Callable[[], datetime]):
        self.on_writer, self.clock = on_writer, clock
        self.pacers: dict[str, Pacer] = {}
        self.channels: dict[str, Channel] = {}

    async def deliver(self, world: World, store: Store, now: datetime) -> Delivered:
        """One round: every destination with something due is served side by side."""
        rows = await self._write(lambda: self._due(store, now))
        by_destination: dict[tuple[str, str], list[OutboxRow]] = {}
        for row in rows:
            by_destination.setdefault((row.message.channel, row.message.to), []).append(row)
        served = (self._serve(world, store, mine) for mine in by_destination.values())
        outcomes = await asyncio.gather(*served, return_exceptions=True)
        # every destination has ended its round before a failure of the database is passed on
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        told = [one for outcome in outcomes if not isinstance(outcome, BaseException) for one in outcome]
        count = Counter(kind for kind, _ in told)
        problems = tuple(dict.fromkeys(text for _, text in told if text))
        return Delivered(count["sent"], count["retry"], count["unknown"], count["dead"], problems)

    async def close(self) -> None:
        """Close every channel that was opened."""
        for channel in self.channels.values():
            await channel.close()

    def _due(self, store: Store, now: datetime) -> list[OutboxRow]:
        store.expire(now)
        return store.due(now)

    async def _write(self, work: Callable[[], R]) -> R:
        return await self.on_writer(work)

    async def _serve(self, world: World, store: Store, rows: Sequence[OutboxRow]) -> list[tuple[str, str]]:
        """The messages of one destination, in order, until one has to wait."""
        outcomes: list[tuple[str, str]] = []
        for row in rows:
            wait_s = self._wait_s(row)
            if wait_s > MAX_WAIT_S:
                break
            await asyncio.sleep(wait_s)
            outcome = await self._send(world, store, row)
            outcomes.append(outcome)
            if outcome[0] == "retry":
                break
        return outcomes

    def _wait_s(self, row: OutboxRow) -> float:
        """Seconds until this destination may be written to; the attempt is noted, accepted or not."""
        channel, now = row.message.channel, self.clock()
        if channel in UNPACED:
            return 0.0
        pacer = self.pacers.setdefault(channel, Pacer())
        at = pacer.may_send_at(row.message.to, now)
        wait_s = (at - now).total_seconds()
        if wait_s <= MAX_WAIT_S:
            pacer.sent(row.message.to, at)
        return wait_s

    async def _send(self, world: World, store: Store, row: OutboxRow) -> tuple[str, str]:
        """One message: claim it, send it, write down what became of it."""
        message = row.message
        try:
            channel = self._channel(world, message.channel)
        except CanaryError as error:
            claimed = await self._write(lambda: store.claim(row, uuid4().hex))
            if claimed is not None:
                await self._give_up(world, store, claimed, str(error))
            return "dead", f"{message.channel}: {error}"
        claimed = await self._write(lambda: store.claim(row, uuid4().hex))
        if claimed is None:
            return "gone", ""
        taken = claimed
        try:
            channel_id = await channel.send(message)
        except DeliveryError as error:
            return await self._failed(world, store, taken, error)
        except Exception as error:  # a fault in a channel: nobody knows whether the request left
            failure = DeliveryError(f"a fault in the channel: {type(error).__name__}: {redact(str(error))}", "unknown")
            return await self._failed(world, store, taken, failure)
        await self._write(lambda: store.mark_sent(taken, self.clock(), channel_id))
        return "sent", ""

    async def _failed(self, world: World, store: Store, row: OutboxRow, error: DeliveryError) -> tuple[str, str]:
        text = f"{row.message.channel}: {error}"
        if error.kind == "dead":
            await self._give_up(world, store, row, str(error))
        elif error.kind == "unknown":
            await self._write(lambda: store.mark_unknown(row, self.clock(), str(error)))
        else:
            wait = routing.backoff_s(row.message.id, row.attempts, error.retry_after_s)
            if error.retry_after_s is not None and row.message.channel in self.pacers:
                self.pacers[row.message.channel].hold(self.clock() + timedelta(seconds=error.retry_after_s))
            await self._write(lambda: store.mark_retry(row, self.clock() + timedelta(seconds=wait), str(error)))
        return error.kind, text

    async def _give_up(self, world: World, store: Store, row: OutboxRow, why: str) -> None:
        """A destination that will never take it: say so on the others, with the message itself."""
        message = row.message
        others = [r for r in world.routes if (r.channel, r.to) != (message.channel, message.to)]
        spare = others[0] if others else Route("console", "console")
        copy = replace(
            message,
            id=f"{message.id}-{spare.name}",
            route=spare.name,
            channel=spare.channel,
            to=spare.to,
            lines=(Line("undelivered", f"{message.channel} {message.to} will not take it: {why}"), *message.lines),
        )
        same = (spare.channel, spare.to) == (message.channel, message.to)

        def write() -> None:
            with store.transaction():
                store.mark_dead(row, why)
                if not same:
                    store.queue([copy])

        await self._write(write)

    def _channel(self, world: World, name: str) -> Channel:
        if name not in self.channels:
            self.channels[name] = open_channel(world, name)
        return self.channels[name]
