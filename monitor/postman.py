"""Sending what is unsent: the loop over outbox rows. Nothing is decided here; nothing is lost here.

A row is committed as ``sending`` before the request leaves and as ``sent`` only after the channel said yes.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol
from uuid import uuid4

from monitor import routing
from monitor.chat import Channel, Editor, Rich
from monitor.chat.pacing import Pacer
from monitor.ledger import Ledger, OnWriter
from monitor.model import CanaryError, DeliveryError, Line, Message, OutboxRow
from monitor.redact import redact
from monitor.routes import Route
from monitor.store import Store
from monitor.store_outbox import Company
from monitor.world import World, open_channel

#: a destination that has to wait longer than this is left for the next round of delivery
MAX_WAIT_S = 5.0
#: a screen and a machine take whatever comes
UNPACED = ("console", "webhook")
#: whose receiver can tell a repetition by its id: so many are claimed in one commit, although a death in between leaves
#: all of them with an unknown outcome
AT_ONCE = {"webhook": 25}
#: after these a message keeps its place, and nothing overtakes it
STOPS = ("retry", "unknown")


class Pictures(Protocol):
    """Draws what goes with a message, elsewhere; see :mod:`monitor.illustrator`."""

    def ready(self, message: Message, company: Company) -> bytes:
        """The picture of this message if it is drawn already; empty otherwise."""

    def follow(self, send: Callable[[bytes], Awaitable[None]], message: Message, company: Company) -> None:
        """Draw what the accepted message lacks and send it after; whatever goes wrong there ends there."""


@dataclass(frozen=True)
class Delivered:
    """What one round of delivery did: counts by outcome, and what went wrong in words.

    ``edited``: messages that say something newer now; ``fixed``: those that can no longer be changed, which is no
    trouble.
    """

    sent: int = 0
    retried: int = 0
    unknown: int = 0
    dead: int = 0
    edited: int = 0
    fixed: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Round:
    """One round of delivery from one database; its writes go through the ledger."""

    world: World
    store: Store
    ledger: Ledger


_Claimed = tuple[OutboxRow, Company]
ALONE = Company()


@dataclass(frozen=True)
class _Begun:
    """One destination at the start of a round: what is due, and the first of it where it is claimed already."""

    rows: Sequence[OutboxRow]
    claimed: list[_Claimed]


@dataclass(frozen=True)
class _Outcome:
    """What became of one message (sent, retry, unknown, dead or left; an edit: edited, retry, fixed or left), in words,
    and how to write it down.
    """

    kind: str
    text: str = ""
    write: Callable[[], object] = lambda: None


class Postman:
    """Sends what is unsent. Channels are opened once; each destination has its own order and pace.

    A destination that fails or waits never holds up another one. ``clock`` gives the present time between messages,
    ``pictures`` draws what goes with them, ``unpaced`` names the channels that take whatever comes.
    """

    def __init__(
        self,
        on_writer: OnWriter,
        clock: Callable[[], datetime],
        pictures: Pictures | None = None,
        unpaced: Sequence[str] = UNPACED,
        opened: Callable[[World, str], Channel] = open_channel,
    ):
        self.on_writer, self.clock, self.pictures, self.unpaced = on_writer, clock, pictures, unpaced
        self.opened = opened
        self.pacers: dict[str, Pacer] = {}
        self.channels: dict[str, Channel] = {}
        self._rich: dict[str, bool] = {}

    async def deliver(self, world: World, store: Store, now: datetime) -> Delivered:
        """One round: every destination with something due is served side by side, and their writes together."""
        here = _Round(world, store, Ledger(self.on_writer, store))
        begun = await here.ledger.write(partial(self._begin, store, now))
        outcomes = await asyncio.gather(*(self._serve(here, one) for one in begun), return_exceptions=True)
        # every destination has ended its round before a failure of the database is passed on
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        if begun:  # everything has arrived, so nobody waits for the disk now
            await self.on_writer(store.tidy)
        told = [one for outcome in outcomes if not isinstance(outcome, BaseException) for one in outcome]
        count = Counter(one.kind for one in told)
        problems = tuple(dict.fromkeys(one.text for one in told if one.text))
        done = Delivered(count["sent"], count["retry"], count["unknown"], count["dead"], problems=problems)
        return replace(done, edited=count["edited"], fixed=count["fixed"])

    async def close(self) -> None:
        """Close every channel that was opened."""
        for channel in self.channels.values():
            await channel.close()

    def _begin(self, store: Store, now: datetime) -> list[_Begun]:
        """What is due for each destination; on the writer. The first is claimed in the same commit where the channel
        takes whatever comes: one wait for the disk less between an alert and its delivery.
        """
        store.expire(now)
        store.catch_up(now)
        by_destination: dict[tuple[str, str], list[OutboxRow]] = {}
        for row in store.due(now):
            by_destination.setdefault((row.message.channel, row.message.to), []).append(row)
        begun = []
        for (name, _), rows in by_destination.items():
            # a channel is opened on the loop: of one that never was, nothing is known here
            first = AT_ONCE.get(name, 1) if name in self.unpaced and name in self._rich else 0
            claimed = _claim_next(store, (), rows[:first], self._rich.get(name, False))
            begun.append(_Begun(rows[first:], claimed))
        return begun

    async def _serve(self, here: _Round, begun: _Begun) -> list[_Outcome]:
        """The messages of one destination, in order, until one has to wait.

        What became of one is written in the same commit as the claim of the next: one wait for the disk each.
        """
        outcomes: list[_Outcome] = []
        unwritten: list[_Outcome] = []
        left, claimed = deque(begun.rows), begun.claimed
        while left or claimed:
            if not claimed:
                message = left[0].message
                wait_s = self._wait_s(message)
                if wait_s > 0:  # nothing may stay unwritten meanwhile
                    await here.ledger.write(partial(_write_down, unwritten))
                    unwritten = []
                if wait_s > MAX_WAIT_S:
                    break
                await asyncio.sleep(wait_s)
                some = [left.popleft() for _ in range(min(len(left), AT_ONCE.get(message.channel, 1)))]
                rich = self._is_rich(here.world, message.channel)
                claimed = await here.ledger.write(partial(_claim_next, here.store, unwritten, some, rich))
            unwritten, claimed = await self._send_all(here, claimed), []
            outcomes += unwritten
            if any(one.kind in STOPS for one in unwritten):
                break
        await here.ledger.write(partial(_write_down, unwritten))
        return outcomes

    async def _send_all(self, here: _Round, claimed: Sequence[_Claimed]) -> list[_Outcome]:
        """Claimed messages in order; those behind one that has to wait are given back."""
        done: list[_Outcome] = []
        for row, company in claimed:
            if done and done[-1].kind in (*STOPS, "left"):
                done.append(_Outcome("left", "", partial(here.store.release, row)))
            else:
                done.append(await self._send(here, row, company))
        return done

    def _wait_s(self, message: Message) -> float:
        """Seconds until this destination may be written to; the attempt is noted, accepted or not."""
        channel, now = message.channel, self.clock()
        if channel in self.unpaced:
            return 0.0
        pacer = self.pacers.setdefault(channel, Pacer())
        at = pacer.may_send_at(message.to, now)
        wait_s = (at - now).total_seconds()
        if wait_s <= MAX_WAIT_S:
            pacer.sent(message.to, at)
        return wait_s

    async def _send(self, here: _Round, row: OutboxRow, company: Company) -> _Outcome:
        """One claimed message: what became of it, to be written down."""
        try:
            channel = self._channel(here.world, row.message.channel)
        except CanaryError as error:
            return self._failed(here, row, DeliveryError(str(error), "dead"))
        if row.message.kind == "edit":
            return await self._edit(here, row, channel)
        try:
            sent_as = await self._hand_over(here.world, channel, row.message, company)
        except DeliveryError as error:
            return self._failed(here, row, error)
        except Exception as error:  # a fault in a channel: nobody knows whether the request left
            failure = DeliveryError(f"a fault in the channel: {type(error).__name__}: {redact(str(error))}", "unknown")
            return self._failed(here, row, failure)
        return _Outcome("sent", "", partial(here.store.mark_sent, row, self.clock(), sent_as))

    async def _edit(self, here: _Round, row: OutboxRow, channel: Channel) -> _Outcome:
        """One claimed edit. Made twice it is as good as once, and one that can never be made ends without a word."""
        try:
            if not isinstance(channel, Editor):
                raise DeliveryError("this channel cannot change what it sent", "dead")
            await channel.edit(row.message, row.channel_message_id)
        except DeliveryError as error:
            if error.kind == "unknown":
                error = DeliveryError(str(error), "retry")
            return self._failed(here, row, error)
        except Exception as error:  # a fault in a channel, as above
            failure = DeliveryError(f"a fault in the channel: {type(error).__name__}: {redact(str(error))}", "retry")
            return self._failed(here, row, failure)
        return _Outcome("edited", "", partial(here.store.mark_sent, row, self.clock(), row.channel_message_id))

    async def _hand_over(self, world: World, channel: Channel, message: Message, company: Company) -> str:
        """Send with what goes beside it where the channel can. A picture that is not drawn yet comes after."""
        if not (self._is_rich(world, message.channel) and isinstance(channel, Rich)):
            return await channel.send(message)
        picture = self.pictures.ready(message, company) if self.pictures else b""
        sent_as = await channel.send_rich(message, company.reply_to, picture)
        if self.pictures and not picture:
            self.pictures.follow(partial(self._send_picture, channel, message, sent_as), message, company)
        return sent_as

    async def _send_picture(self, channel: Rich, message: Message, sent_as: str, picture: bytes) -> None:
        """A picture keeps the pace of its chat; one that would have to wait for long is left out."""
        wait_s = self._wait_s(message)
        if wait_s > MAX_WAIT_S:
            raise DeliveryError(f"{message.channel}: the chat has too much to take already", "retry")
        await asyncio.sleep(wait_s)
        await channel.send_picture(message, picture, sent_as)

    def _failed(self, here: _Round, row: OutboxRow, error: DeliveryError) -> _Outcome:
        store, text, now = here.store, f"{row.message.channel}: {error}", self.clock()
        if error.kind == "dead" and row.message.kind == "edit":
            return _Outcome("fixed", "", partial(store.mark_dead, row, str(error)))
        if error.kind == "dead":
            return _Outcome("dead", text, partial(_give_up, here, row, str(error)))
        if error.kind == "unknown":
            return _Outcome("unknown", text, partial(store.mark_unknown, row, now, str(error)))
        wait = routing.backoff_s(row.message.id, row.attempts, error.retry_after_s)
        if error.retry_after_s is not None and row.message.channel in self.pacers:
            self.pacers[row.message.channel].hold(now + timedelta(seconds=error.retry_after_s))
        return _Outcome("retry", text, partial(store.mark_retry, row, now + timedelta(seconds=wait), str(error)))

    def _channel(self, world: World, name: str) -> Channel:
        if name not in self.channels:
            self.channels[name] = self.opened(world, name)
        return self.channels[name]

    def _is_rich(self, world: World, name: str) -> bool:
        """Whether a channel has a use for what is known around a message; asked once, since asking takes long."""
        if name not in self._rich:
            try:
                self._rich[name] = isinstance(self._channel(world, name), Rich)
            except CanaryError:  # it is said of the message that was to go there
                return False
        return self._rich[name]


def _write_down(outcomes: Sequence[_Outcome]) -> None:
    for outcome in outcomes:
        outcome.write()


def _claim_next(store: Store, before: Sequence[_Outcome], rows: Sequence[OutboxRow], rich: bool) -> list[_Claimed]:
    """Write down what became of those before, then claim these; what was taken back meanwhile is left out.

    What is known around a message is looked up only for a channel that has a use for it.
    """
    _write_down(before)
    claimed = [(store.claim(row, uuid4().hex), store.company(row.message) if rich else ALONE) for row in rows]
    return [(row, company) for row, company in claimed if row is not None]


def _give_up(here: _Round, row: OutboxRow, why: str) -> None:
    """A destination that will never take it: say so on the others, with the message itself."""
    message = row.message
    others = [r for r in here.world.routes if (r.channel, r.to) != (message.channel, message.to)]
    spare = others[0] if others else Route("console", "console")
    copy = replace(
        message,
        id=f"{message.id.partition('.')[0]}-{spare.name}",
        route=spare.name,
        channel=spare.channel,
        to=spare.to,
        lines=(Line("undelivered", f"{message.channel} {message.to} will not take it: {why}"), *message.lines),
    )
    here.store.mark_dead(row, why)
    if (spare.channel, spare.to) != (message.channel, message.to):
        here.store.queue([copy])
