"""The sign of life for a watcher elsewhere: an address asked every few minutes, only while everything is well.

Whoever watches that address raises the alarm when it falls silent, so a machine that died needs nobody to say so.
The address is a secret: who knows it can pretend that all is well. It is never shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import httpx

from monitor.config import Config, heartbeat_url
from monitor.feeds.http import new_http
from monitor.model import CanaryError
from monitor.picture import Board, unwell

LIMIT_S = 10.0


@dataclass(frozen=True)
class Place:
    """Where to send it: the address, never shown; neither address nor ``fault`` when none is named."""

    url: str | None = field(default=None, repr=False)
    fault: str = ""


def place(config: Config, environ: Mapping[str, str]) -> Place:
    """The address the config names; reads a file."""
    try:
        return Place(heartbeat_url(config, environ, config.found.file.resolve().parent))
    except CanaryError as error:
        return Place(fault=str(error))


class Pulse:
    """Sends the sign of life and remembers what it last said about it."""

    def __init__(self, board: Board, monotonic: Callable[[], float] = time.monotonic):
        self.board, self.monotonic = board, monotonic
        self._state = ""

    async def beat(self, to: Place, now: datetime) -> str:
        """Ask the address while evaluation, data and delivery are well. Returns what is news about it, or nothing."""
        if to.url is None:
            return self._news(to.fault, to.fault)
        wrong = unwell(self.board, self.monotonic(), now)
        if held := {part: reasons for part, reasons in wrong.items() if reasons}:
            why = "; ".join(f"{part}: {', '.join(reasons)}" for part, reasons in held.items())
            # reasons count seconds, so only another part is news
            return self._news(f"unwell {sorted(held)}", f"heartbeat held back: {why}")
        if failure := await ask(to.url):
            self.board.heartbeat_failures += 1
            return self._news(failure, f"the heartbeat was not accepted: {failure}")
        self.board.heartbeat_s = self.monotonic()
        return self._news("sent", "heartbeat sent")

    def _news(self, state: str, text: str) -> str:
        before, self._state = self._state, state
        return text if state != before else ""


async def ask(url: str) -> str:
    """Ask the address once; what went wrong in words that do not name it, or nothing.

    The answer's body is not read, and no redirect is followed: the address is not for another host.
    """
    try:
        async with new_http() as http, http.stream("GET", url, timeout=LIMIT_S) as answer:
            return "" if answer.is_success else f"it answered HTTP {answer.status_code}"
    except httpx.TimeoutException:
        return f"it did not answer within {LIMIT_S:.0f} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # the text of an HTTP error may repeat the address
        return f"it cannot be reached ({type(error).__name__})"
