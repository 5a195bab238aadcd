"""Pages for this machine: /healthz, /readyz and /metrics for programs, / for people. They can change nothing.

Small on purpose: GET and HEAD of four exact paths, one answer per connection, a head of 8 kB within 5 seconds. It
listens on the loopback only and wants a Host header that says so, because a web page in a browser of this machine can
send requests here under another name.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from monitor.config import Serve
from monitor.health import not_alive
from monitor.picture import Board, unwell

MAX_HEAD = 8192
PATIENCE_S = 5.0
MAX_CONNECTIONS = 16
_REQUEST = re.compile(r"([A-Z]{1,20}) (/[!-~]{0,500}) HTTP/1\.[01]", re.ASCII)
_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
TEXT = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """One answer; ``headers`` are whole lines beside those every answer has."""

    status: int
    kind: str
    body: bytes
    headers: tuple[str, ...] = ()


#: ``/``: answers at once or after a moment, without holding up the loop
Slow = Callable[[], Awaitable[Answer]]


def _wall() -> datetime:
    return datetime.now(UTC)


class Server:
    """The pages. ``monotonic`` and ``wall`` give the present time, ``report`` answers for ``/`` where there is one;
    :meth:`start` says where it listens."""

    def __init__(
        self,
        board: Board,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = _wall,
        report: Slow | None = None,
    ):
        self.board, self.monotonic, self.wall, self.report = board, monotonic, wall, report
        self.pages: dict[str, Callable[[], Answer]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, listen: str) -> str:
        """Listen on ``host:port`` of this machine (port 0: any free one); returns the address. OSError when busy."""
        host, _, port = listen.rpartition(":")
        self._server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=MAX_HEAD)
        return f"http://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def follow(self, wanted: Serve) -> str:
        """Open the page as the config wants it, closing what was open; returns what to tell people.

        A port that is taken is no reason to stop watching.
        """
        await self.stop()
        if not wanted.enabled:
            return "no page with health and metrics: serve.enabled is false"
        try:
            at = await self.start(wanted.listen)
        except OSError as error:
            why = error.strerror or str(error)
            return f"no page with health and metrics: {wanted.listen} cannot be used ({why}); change serve.listen"
        return f"page             {at}/ (this machine only; beside it /metrics, /healthz and /readyz)"

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            with suppress(TimeoutError):  # a reader that says nothing must not hold up a stop; it ends by itself
                await asyncio.wait_for(self._server.wait_closed(), 1.0)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(2 * PATIENCE_S):
                    writer.write(await self._answer(reader))
                    await writer.drain()
        except (OSError, TimeoutError):  # the reader went away, or does not read: it is its answer
            pass
        except asyncio.CancelledError:  # Canary stops while a page is made; asyncio of 3.11 would log it as a fault
            pass
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        except TimeoutError:
            return _written(Answer(408, TEXT, b"the request did not end in time\n"))
        except asyncio.LimitOverrunError:
            return _written(Answer(431, TEXT, b"the request is too long\n"))
        except asyncio.IncompleteReadError:
            return b""
        line, *headers = head.decode("latin-1").split("\r\n")
        return _written(await self._page(line, headers), body_too=not line.startswith("HEAD "))

    async def _page(self, line: str, headers: list[str]) -> Answer:
        asked = _REQUEST.fullmatch(line)
        hosts = [text.partition(":")[2].strip() for text in headers if text.lower().startswith("host:")]
        if asked is None or len(hosts) != 1:
            return Answer(400, TEXT, b"this is no request for here\n")
        if not _HOST.fullmatch(hosts[0]):
            return Answer(421, TEXT, b"this page is for this machine only\n")
        if asked[1] not in ("GET", "HEAD"):
            return Answer(405, TEXT, b"this page can only be read\n", ("Allow: GET, HEAD",))
        path = asked[2].partition("?")[0]
        try:
            if path == "/" and self.report is not None:
                return await self.report()
            page = self.pages.get(path)
            return page() if page is not None else Answer(404, TEXT, b"nothing here\n")
        except Exception as error:  # a fault here must not end the watch; the reader sees that it is one
            return Answer(500, TEXT, f"a fault in Canary: {type(error).__name__}\n".encode())

    # ------------------------------------------------------------ the pages
    def _healthz(self) -> Answer:
        """Whether the process does its work at all: a restart helps when not."""
        return _verdict(not_alive(self.board.health, self.monotonic()))

    def _readyz(self) -> Answer:
        """Whether what it says is to be relied on: the last evaluation succeeded."""
        return _verdict(unwell(self.board, self.monotonic(), self.wall())["evaluation"])

    def _metrics(self) -> Answer:
        # imported when first asked: a daemon nobody scrapes does not carry it
        from monitor.exposition import CONTENT_TYPE, exposition

        return Answer(200, CONTENT_TYPE, exposition(self.board, self.monotonic(), self.wall()))


def _verdict(reasons: list[str]) -> Answer:
    return Answer(503 if reasons else 200, TEXT, ("\n".join(reasons or ["ok"]) + "\n").encode())


def _written(answer: Answer, body_too: bool = True) -> bytes:
    status, kind, body, headers = answer
    head = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Cross-Origin-Resource-Policy: same-origin",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*head, "", ""]).encode() + (body if body_too else b"")
