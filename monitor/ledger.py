"""Writes put together: what is asked for while one commit is under way goes into the next one.

A commit waits for the disk. Fifty chats served side by side would wait fifty times in a row; together they wait once,
and each still goes on only after its own words are on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

R = TypeVar("R")


class OnWriter(Protocol):
    """Runs something on the writer thread and gives back its answer."""

    def __call__(self, work: Callable[[], R], /) -> Awaitable[R]: ...


class Transactions(Protocol):
    """A database that writes all of a block or nothing."""

    def transaction(self) -> AbstractContextManager[object]:
        """One transaction."""


class Ledger:
    """The writes of one event loop to one database, each answered after its commit."""

    def __init__(self, on_writer: OnWriter, store: Transactions):
        self._on_writer, self._store = on_writer, store
        self._asked: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, work: Callable[[], R]) -> R:
        """What ``work`` answers, once it is committed. An error of the database reaches everyone in that commit."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._asked.append((work, answer))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return await answer

    async def _write_all(self) -> None:
        await asyncio.sleep(0)  # whoever asks in the same turn of the loop comes along
        while self._asked:
            batch, self._asked = self._asked, []
            try:
                answers = await self._on_writer(lambda batch=batch: self._together(batch))  # type: ignore[misc]
            except BaseException as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, answer), value in zip(batch, answers, strict=True):
                    if not answer.done():
                        answer.set_result(value)

    def _together(self, batch: list[tuple[Callable[[], Any], asyncio.Future[Any]]]) -> list[Any]:
        with self._store.transaction():
            return [work() for work, _ in batch]
