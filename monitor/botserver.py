"""A Bot API server on the loopback for real python-telegram-bot clients: answers as Telegram does, fails on request.

``canary demo`` and the tests talk to it. ``with FakeTelegram() as server:`` gives ``server.url`` (the API's root),
``server.accepted`` (what was taken, in order) and ``server.asked`` (every request, taken or not).
``server.script(method, *failures)`` makes the next requests of a method fail, one each (None: this one succeeds);
markup Telegram would refuse, texts beyond its limit, and edits of what is not there or says so already are refused
unasked. ``server.shown(chat)`` is what stands in a chat now, ``server.say(text)`` and
``server.press(data)`` queue what a person did for getUpdates.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from monitor.botrefusals import (
    BLOCKED,
    BROKEN,
    CANNOT_PARSE,
    CONFLICT,
    EDITS,
    HANG,
    LOST,
    NO_CHAT,
    NOT_FOUND,
    NOT_MODIFIED,
    SENDS,
    TOO_OLD,
    UNAUTHORIZED,
    Failure,
    bare,
    migrated,
    refusal,
    too_many,
    well_formed,
    words_in,
)

__all__ = [
    "BLOCKED",
    "BROKEN",
    "CANNOT_PARSE",
    "CONFLICT",
    "DATE",
    "HANG",
    "LOST",
    "NOT_FOUND",
    "NOT_MODIFIED",
    "NO_CHAT",
    "TOKEN",
    "TOO_OLD",
    "UNAUTHORIZED",
    "Failure",
    "FakeTelegram",
    "Request",
    "migrated",
    "too_many",
    "well_formed",
]

BOT = {"id": 123456, "is_bot": True, "first_name": "Canary", "username": "canary_test_bot"}
PERSON = {"id": 42, "is_bot": False, "first_name": "Ada"}
TOKEN = "123456:TEST-token_of-nobody-0123456789abcdef"  # noqa: S105 (nobody's)
DATE = 1793534400  # 2026-11-01 12:00 UTC: the time unless a clock is given
#: methods that are taken and answered with yes
YES = ("answerCallbackQuery", "setMyCommands", "deleteWebhook", "sendChatAction", "deleteMessage")


@dataclass(frozen=True)
class Request:
    """One request: its method, its fields as the client meant them, and the sizes and bytes of attached files."""

    method: str
    fields: dict[str, Any]
    files: dict[str, int] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict, repr=False)


class FakeTelegram:
    """The server and everything it has seen; thread-safe. ``clock`` dates what people write, in Unix seconds."""

    def __init__(self, token: str = TOKEN, clock: Callable[[], int] = lambda: DATE) -> None:
        self.token, self.clock = token, clock
        self.accepted: list[Request] = []
        self.asked: list[Request] = []
        #: callback query -> what its sender was told
        self.answered: dict[str, str] = {}
        #: (chat, number) -> what a message shows: the field its words are in, the words, its buttons
        self._shown: dict[tuple[str, int], tuple[str, str, Any]] = {}
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
        """The root of the API, for ``base_url``."""
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

    def shown(self, chat: str) -> list[tuple[int, str, list[str]]]:
        """What the bot's messages in a chat say now, without markup: number, words, labels of the buttons."""
        with self._changed:
            mine = sorted((number, shown) for (where, number), shown in self._shown.items() if where == chat)
        return [
            (number, words, [key["text"] for row in (keys or {}).get("inline_keyboard", ()) for key in row])
            for number, (_, words, keys) in mine
        ]

    def say(
        self, text: str, user: int = 42, chat: int = 42, name: str = "Ada", age_s: int = 0, edited: bool = False
    ) -> None:
        """A person writes to the bot, or did ``age_s`` seconds ago, or edits an old message."""
        message = self._message(chat, {"text": text, "from": PERSON | {"id": user, "first_name": name}})
        message["date"] -= age_s
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split()[0])}]
        self._update({"edited_message": message | {"edit_date": message["date"]}} if edited else {"message": message})

    def press(self, data: str, user: int = 42, chat: int = 42, name: str = "Ada") -> str:
        """A person presses an inline button; the id under which ``answered`` tells what he was told."""
        with self._changed:
            query_id = str(self._update_id + 1)
        query = {"id": query_id, "from": PERSON | {"id": user, "first_name": name}, "chat_instance": "1", "data": data}
        self._update({"callback_query": query | {"message": self._message(chat, {"text": "pressed", "from": BOT})}})
        return query_id

    def keys(self, chat: str | None = None) -> list[tuple[str, str]]:
        """The buttons (label, data) of the newest message that has any, of one chat or of all."""
        with self._changed:
            sent = [request.fields for request in self.accepted if "reply_markup" in request.fields]
        mine = [fields for fields in sent if chat is None or str(fields["chat_id"]) == chat]
        rows = mine[-1]["reply_markup"]["inline_keyboard"] if mine else []
        return [(key["text"], key["callback_data"]) for row in rows for key in row]

    def wait(self, until: Callable[[FakeTelegram], bool], timeout_s: float = 10.0) -> bool:
        """Wait until something is true of what was seen; False when it did not become so in time."""
        with self._changed:
            return self._changed.wait_for(lambda: until(self), timeout_s)

    # ------------------------------------------------------------ what the handler uses
    def answer(self, request: Request) -> tuple[int, bytes] | None:
        """The HTTP status and body of one request; None cuts the line without an answer."""
        with self._changed:
            self.asked.append(request)
            self._changed.notify_all()
            failures = self._failures[request.method]
            failure = failures.popleft() if failures else None
        if failure is None:
            failure = self._refusal(request)
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
            with self._changed:
                self.answered[str(fields["callback_query_id"])] = str(fields.get("text", ""))
        if method in SENDS + EDITS:
            words = words_in(method)
            extra: dict[str, Any] = {words: str(fields.get(words, ""))}
            if words == "caption":
                photo = {"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}
                extra |= {"photo": [photo]}
            message = self._message(int(fields["chat_id"]), extra | {"from": BOT})
            if method in EDITS:
                message["message_id"] = int(fields["message_id"])
            self._show(message["message_id"], request)
            return self._accept(request, message)
        if method == "deleteMessage":
            with self._changed:
                self._shown.pop((str(fields["chat_id"]), int(fields["message_id"])), None)
        if method in YES:
            return self._accept(request, True)
        return None

    def _show(self, number: int, request: Request) -> None:
        fields, words = request.fields, words_in(request.method)
        with self._changed:
            self._shown[str(fields["chat_id"]), number] = (words, bare(fields, words), fields.get("reply_markup"))

    def _refusal(self, request: Request) -> Failure | None:
        """What Telegram would not take of what is sent or edited."""
        fields, words = request.fields, words_in(request.method)
        if request.method not in SENDS + EDITS:
            return None
        if request.method in EDITS:
            with self._changed:
                shown = self._shown.get((str(fields["chat_id"]), int(fields["message_id"])))
            if shown is None:
                return NOT_FOUND
            if shown[0] != words:
                return Failure(400, f"Bad Request: there is no {words} in the message to edit")
            if shown == (words, bare(fields, words), fields.get("reply_markup")) and refusal(fields, words) is None:
                return NOT_MODIFIED
        return refusal(fields, words)

    def _accept(self, request: Request, result: Any) -> Any:
        with self._changed:
            self.accepted.append(request)
            self._changed.notify_all()
        return result

    def _message(self, chat: int, extra: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            self._message_id += 1
            kind = {"type": "supergroup", "title": "Desk"} if chat < 0 else {"type": "private", "first_name": "Ada"}
            return {"message_id": self._message_id, "date": self.clock(), "chat": {"id": chat} | kind} | extra

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # more clients at once than the usual five, or the kernel makes them wait a second
    request_queue_size = 128
    fake: FakeTelegram

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the tests, not an error to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """One method of the API."""
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
    contents: dict[str, bytes] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        if part.get_filename():
            files[name], contents[name] = len(data), data
        else:
            fields[name] = _value(name, data.decode())
    return Request(method, fields, files, contents)


def _value(name: str, text: str) -> Any:
    """Objects and lists travel as JSON inside a form; what a person reads stays a text."""
    if name not in ("text", "caption") and text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
