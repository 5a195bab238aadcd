"""A real HTTP server on 127.0.0.1 whose answers a test writes down: the only fake is at the wire.

>>> from urllib.request import urlopen
>>> with Loopback() as server:
...     server.on("/price", Answer.json({"price": "62100.5"}))
...     urlopen(server.url + "/price").read()
b'{"price": "62100.5"}'
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """One scripted answer. ``hang``: accept the request and say nothing until the server closes. ``drop``: hang up.

    ``declared``: the Content-Length to claim, when it should differ from the truth (a cut-off answer). ``delay_s``: how
    long a slow server takes to answer.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False
    declared: int | None = None
    delay_s: float = 0.0

    @staticmethod
    def json(value: object, status: int = 200, **headers: str) -> Answer:
        """An answer with a JSON body; ``retry_after="1"`` becomes the header Retry-After."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


@dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Loopback:
    """The server. Answers of a path are used in order, the last one again and again; a path without any is a 404."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._answers: dict[str, list[Answer]] = defaultdict(list)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def on(self, path: str, *answers: Answer) -> None:
        """Script a path (without its query); replaces what was scripted before."""
        with self._lock:
            self._answers[path] = list(answers)

    def asked(self, path: str) -> list[Request]:
        """The requests that came for a path."""
        with self._lock:
            return [request for request in self.requests if request.path == path]

    def _take(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            answers = self._answers.get(request.path)
            if not answers:
                return Answer(404, b"nothing here")
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # more clients at once than the usual five, or the kernel makes them wait a second
    request_queue_size = 64
    owner: Loopback


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on the terminal."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        owner = self.server.owner
        answer = owner._take(Request(self.command, parts.path, parts.query, dict(self.headers.items()), body))
        if answer.hang or answer.delay_s:
            owner._closing.wait(30 if answer.hang else answer.delay_s)
        if answer.hang or answer.drop:
            self.close_connection = True
            return
        try:
            self.send_response(answer.status)
            for name, text in answer.headers.items():
                self.send_header(name, text)
            declared = len(answer.body) if answer.declared is None else answer.declared
            self.send_header("Content-Length", str(declared))
            self.end_headers()
            self.wfile.write(answer.body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client stopped reading, as it should when an answer is too large

    do_GET = do_POST = do_PUT = do_DELETE = _serve
