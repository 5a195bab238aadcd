"""A Bot API server on the loopback for real python-telegram-bot clients: answers as Telegram does, fails on request.

``with FakeTelegram() as server:`` gives ``server.url`` (the API's root), ``server.accepted`` (what was taken, in order)
and ``server.asked`` (every request, taken or not). ``server.script(method, *failures)`` makes the next requests of a
method fail, one each (None: this one succeeds); markup Telegram would refuse and texts beyond its limit are refused
unasked. ``server.say(text)`` and ``server.press(data)`` queue what a person did for getUpdates.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

BOT = {"id": 123456, "is_bot": True, "first_name": "Canary", "username": "canary_test_bot"}
PERSON = {"id": 42, "is_bot": False, "first_name": "Ada"}
TOKEN = "123456:TEST-token_of-nobody-0123456789abcdef"
DATE = 1793534400  # 2026-11-01 12:00 UTC; the server never looks at a clock


@dataclass(frozen=True)
class Failure:
    """One scripted answer. ``hang``: no answer until the server stops. ``lost``: accepted, then the line is cut.

    ``body`` replaces the JSON answer (a proxy's page, say).
    """

    code: int = 500
    description: str = ""
    parameters: dict[str, int] = field(default_factory=dict)
    hang: bool = False
    lost: bool = False
    body: bytes | None = None


def too_many(seconds: int) -> Failure:
    return Failure(429, f"Too Many Requests: retry after {seconds}", {"retry_after": seconds})


def migrated(new_id: int) -> Failure:
    text = "Bad Request: group chat was upgraded to a supergroup chat"
    return Failure(400, text, {"migrate_to_chat_id": new_id})


BLOCKED = Failure(403, "Forbidden: bot was blocked by the user")
UNAUTHORIZED = Failure(401, "Unauthorized")
CONFLICT = Failure(409, "Conflict: terminated by other getUpdates request")
CANNOT_PARSE = Failure(400, 'Bad Request: can\'t parse entities: Unsupported start tag "x" at byte offset 3')
NO_CHAT = Failure(400, "Bad Request: chat not found")
BROKEN = Failure(500, "Internal Server Error")
HANG = Failure(hang=True)
LOST = Failure(lost=True)


@dataclass(frozen=True)
class Request:
    """One request: its method, its fields as the client meant them, and the names and sizes of attached files."""

    method: str
    fields: dict[str, Any]
    files: dict[str, int] = field(default_factory=dict)


class FakeTelegram:
    """The server and everything it has seen; thread-safe."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.accepted: list[Request] = []
        self.asked: list[Request] = []
        self.answered: dict[str, str] = {}
        self.stopping = threading.Event()
        self._failures: dict[str, deque[Failure | None]] = defaultdict(deque)
        self._updates: list[dict[str, Any]] = []
        self._update_id = self._message_id = 0
        self._changed = threading.Condition()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.fake = self

    def __enter__(self) -> FakeTelegram:
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def script(self, method: str, *failures: Failure | None) -> None:
        """The next requests of ``method`` end like this, one each, in order; None is a success."""
        with self._changed:
            self._failures[method].extend(failures)

    def texts(self, chat: str | None = None) -> list[str]:
        """The texts of the accepted messages, of one chat or of all."""
        with self._changed:
            sent = [request.fields for request in self.accepted if request.method == "sendMessage"]
        return [str(fields["text"]) for fields in sent if chat is None or str(fields["chat_id"]) == chat]

    def say(self, text: str, user: int = 42, chat: int = 42) -> None:
        """A person writes to the bot."""
        message = self._message(chat, {"text": text, "from": PERSON | {"id": user}})
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split()[0])}]
        self._update({"message": message})

    def press(self, data: str, user: int = 42, chat: int = 42) -> None:
        """A person presses an inline button."""
        query = {"id": str(self._update_id + 1), "from": PERSON | {"id": user}, "chat_instance": "1", "data": data}
        self._update({"callback_query": query | {"message": self._message(chat, {"text": "pressed", "from": BOT})}})

    # ------------------------------------------------------------ what the handler uses
    def answer(self, request: Request) -> tuple[int, bytes] | None:
        """The HTTP status and body of one request; None cuts the line without an answer."""
        with self._changed:
            self.asked.append(request)
            failures = self._failures[request.method]
            failure = failures.popleft() if failures else None
        if failure is None:
            failure = _refusal(request.fields) if request.method == "sendMessage" else None
        if failure is None or failure.lost:
            result = self._result(request)
            if result is None:
                return _json(404, {"ok": False, "error_code": 404, "description": "Not Found"})
            return None if failure else _json(200, {"ok": True, "result": result})
        if failure.hang:
            self.stopping.wait(30)
            return None
        if failure.body is not None:
            return failure.code, failure.body
        body: dict[str, Any] = {"ok": False, "error_code": failure.code, "description": failure.description}
        return _json(failure.code, body | ({"parameters": failure.parameters} if failure.parameters else {}))

    def _result(self, request: Request) -> Any:
        fields, method = request.fields, request.method
        if method == "getMe":
            return BOT
        if method == "getUpdates":
            return self._wait_for_updates(int(fields.get("offset", 0)), float(fields.get("timeout", 0)))
        if method == "answerCallbackQuery":
            self.answered[str(fields["callback_query_id"])] = str(fields.get("text", ""))
        if method in ("sendMessage", "sendPhoto", "editMessageText"):
            extra: dict[str, Any] = {"text": str(fields.get("text", ""))}
            if method == "sendPhoto":
                photo = {"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}
                extra = {"photo": [photo], "caption": str(fields.get("caption", ""))}
            message = self._message(int(fields["chat_id"]), extra | {"from": BOT})
            if method == "editMessageText":
                message["message_id"] = int(fields["message_id"])
            return self._accept(request, message)
        if method in ("answerCallbackQuery", "setMyCommands", "deleteWebhook"):
            return self._accept(request, True)
        return None

    def _accept(self, request: Request, result: Any) -> Any:
        with self._changed:
            self.accepted.append(request)
        return result

    def _message(self, chat: int, extra: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            self._message_id += 1
            kind = {"type": "supergroup", "title": "Desk"} if chat < 0 else {"type": "private", "first_name": "Ada"}
            return {"message_id": self._message_id, "date": DATE, "chat": {"id": chat} | kind} | extra

    def _update(self, update: dict[str, Any]) -> None:
        with self._changed:
            self._update_id += 1
            self._updates.append({"update_id": self._update_id} | update)
            self._changed.notify_all()

    def _wait_for_updates(self, offset: int, timeout_s: float) -> list[dict[str, Any]]:
        """Long polling: an offset confirms what came before it; waits until there is something or the time is over."""
        with self._changed:
            self._updates = [update for update in self._updates if update["update_id"] >= offset]
            self._changed.wait_for(lambda: bool(self._updates) or self.stopping.is_set(), timeout_s)
            return list(self._updates)


def _refusal(fields: dict[str, Any]) -> Failure | None:
    """What Telegram would not take: an empty or too long text, or HTML it cannot parse."""
    text = str(fields.get("text", ""))
    if fields.get("parse_mode") == "HTML":
        tags = re.findall(r"<(/?)([^<>]*)>", text)
        bare = re.sub(r"</?b>", "", text)
        if (
            any(name != "b" for _, name in tags)
            or 2 * sum(1 for closing, _ in tags if closing) != len(tags)
            or "<" in bare
            or ">" in bare
        ):
            return CANNOT_PARSE
        text = unescape(bare)
    if not text.strip():
        return Failure(400, "Bad Request: message text is empty")
    return Failure(400, "Bad Request: message is too long") if len(text.encode("utf-16-le")) > 2 * 4096 else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    fake: FakeTelegram

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the tests, not an error to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        fake = self.server.fake
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token, _, method = self.path.removeprefix("/bot").partition("/")
        if token != fake.token:
            self._reply(*_json(401, {"ok": False, "error_code": 401, "description": "Unauthorized"}))
            return
        answer = fake.answer(_request(method, self.headers.get("Content-Type", ""), body))
        if answer is None:
            self.close_connection = True
            return
        self._reply(*answer)

    def _reply(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _json(code: int, body: dict[str, Any]) -> tuple[int, bytes]:
    return code, json.dumps(body).encode()


def _request(method: str, content_type: str, body: bytes) -> Request:
    """A form, or a multipart form with files, as the client meant it."""
    if not content_type.startswith("multipart/"):
        return Request(
            method, {name: _value(name, values[-1]) for name, values in parse_qs(body.decode(), True).items()}
        )
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields: dict[str, Any] = {}
    files: dict[str, int] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        if part.get_filename():
            files[name] = len(data)
        else:
            fields[name] = _value(name, data.decode())
    return Request(method, fields, files)


def _value(name: str, text: str) -> Any:
    """Objects and lists travel as JSON inside a form; what a person reads stays a text."""
    if name not in ("text", "caption") and text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
