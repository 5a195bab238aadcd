"""A webhook as a channel: one signed JSON request per message, for machines.

``POST`` to the address in ``url_env`` or ``url_file``, over TLS unless it is this machine's own, with this body::

    {"version": 1, "id": "9f2c...", "kind": "fired", "severity": "critical", "title": "CRITICAL ...",
     "lines": [{"label": "now", "text": "..."}], "text": "the whole message as plain text",
     "event_ids": ["..."], "route": "machines", "created_at": "2026-11-01T12:00:00+00:00",
     "recorded": false, "possibly_repeated": false}

``id`` is the same when one message is sent again after an answer was lost, so whoever keeps the ids it took can drop
the repetition; it also stands in the header ``Idempotency-Key``. ``kind``: fired, resolved, reminder, digest, notice or
test. With a secret in ``token_env`` or ``token_file`` the request is signed: ``Canary-Timestamp`` holds seconds since
1970, ``Canary-Signature`` holds ``v1=`` and the HMAC-SHA256, in hex, of the timestamp, a full stop and the body. Check
both (:func:`verify` does): an old timestamp is a request somebody kept. Any answer 2xx means taken, whatever its body
says. A redirect is not followed: the address that counts is the one in the configuration.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from monitor.chat import Settings
from monitor.logsafe import hide, protect_logs
from monitor.markup import plain, rows_of, title_of
from monitor.model import CanaryError, DeliveryError, Message
from monitor.redact import redact

if TYPE_CHECKING:
    import httpx

NEEDS = ("httpx",)
VERSION = 1
#: seconds to connect, to be answered, and for the whole of it
CONNECT_S, ANSWER_S, WHOLE_S = 10.0, 20.0, 30.0
#: the longest text in four-byte characters stays below; a longer body is a fault here that nobody should have to take
MAX_BODY = 1_048_576
#: no more of an answer is read
MAX_ANSWER = 65_536
#: to the one address; the client's work grows with the square of them
CONNECTIONS = 4
#: a signature is good for so long before or after its timestamp
MAX_AGE_S = 300.0
#: a pause longer than this is not taken from an answer
MAX_PAUSE_S = 3600.0
#: answers after which the same request will never be taken
REFUSED = {400, 401, 403, 404, 405, 410, 411, 413, 414, 415, 422}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of ``Canary-Signature``.

    >>> sign("a secret", "1793534400", b"{}")[:14]
    'v1=b73e44c321f'
    """
    return "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(secret: str, timestamp: str, body: bytes, signature: str, now_s: float) -> bool:
    """Whether a request came from whoever holds the secret, and lately; for receivers written in Python.

    >>> signed = sign("a secret", "1793534400", b"{}")
    >>> verify("a secret", "1793534400", b"{}", signed, 1793534401.0)
    True
    >>> late, other = 1793535401.0, "another"
    >>> verify("a secret", "1793534400", b"{}", signed, late), verify(other, "1793534400", b"{}", signed, 1793534401.0)
    (False, False)
    """
    plain_number = timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12
    if not plain_number or abs(now_s - int(timestamp)) > MAX_AGE_S:
        return False
    return hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode("utf-8", "replace"))


def body_of(message: Message) -> bytes:
    """The body of a request, as the top of this file says. Texts are cleaned as for a person."""
    document = {
        "version": VERSION,
        "id": message.id.partition(".")[0],
        "kind": message.kind,
        "severity": message.severity,
        "title": title_of(message),
        "lines": [{"label": label, "text": text} for label, text in rows_of(message.lines)],
        "text": plain(message),
        "event_ids": list(message.event_ids),
        "route": message.route,
        "created_at": message.created_at.isoformat(),
        "recorded": message.recorded,
        "possibly_repeated": message.possibly_repeated,
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


class WebhookChannel:
    """Sends to one address. Safe to use from one event loop at a time; a new loop gets new connections."""

    name = "webhook"

    def __init__(self, url: str, secret: str | None = None, answer_s: float = ANSWER_S):
        self._url, self._secret, self._answer_s = url, secret, answer_s
        self._client: httpx.AsyncClient | None = None
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, message: Message) -> str:
        """Send one message; its id, which is what the receiver knows it by."""
        body = body_of(message)
        if len(body) > MAX_BODY:
            raise DeliveryError(f"webhook: the message is {len(body)} bytes long, over {MAX_BODY}", "dead")
        key = message.id.partition(".")[0]
        client = self._open()
        try:
            # waiting for a connection is no part of a request: nothing has left meanwhile
            async with self._free, asyncio.timeout(WHOLE_S):
                status, pause_s = await self._post(client, body, self._headers(key, body))
        except Exception as error:  # whatever it was becomes one of two answers, without the address in its text
            raise self._broken(error) from None
        if 200 <= status < 300:
            return key
        raise DeliveryError(f"webhook: the receiver answered {_meaning(status)}", _kind(status), pause_s)

    async def close(self) -> None:
        """Close the connections; the next message opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _headers(self, key: str, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "canary", "Idempotency-Key": key}
        if self._secret:
            now = str(int(time.time()))
            headers |= {"Canary-Timestamp": now, "Canary-Signature": sign(self._secret, now, body)}
        return headers

    async def _post(self, client: httpx.AsyncClient, body: bytes, headers: dict[str, str]) -> tuple[int, float | None]:
        """The status, and the pause asked for. A short answer is read, so that its connection can be used again."""
        async with client.stream("POST", self._url, content=body, headers=headers) as answer:
            read = 0
            async for piece in answer.aiter_raw():
                read += len(piece)
                if read > MAX_ANSWER:
                    break
            return answer.status_code, _pause(answer.headers.get("retry-after", ""))

    def _open(self) -> httpx.AsyncClient:
        import httpx

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            timeout = httpx.Timeout(self._answer_s, connect=CONNECT_S)
            limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
            # plain HTTP is for this machine only: no certificates to read (a fifth of a second), and no proxy between
            tls = self._url.startswith("https://")
            self._client = httpx.AsyncClient(
                timeout=timeout, follow_redirects=False, limits=limits, verify=tls, trust_env=tls
            )
            self._free = asyncio.Semaphore(CONNECTIONS)
            self._loop = loop
        return self._client

    def _broken(self, error: Exception) -> DeliveryError:
        import httpx

        never_left = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
        kind: Literal["retry", "unknown"] = "retry" if isinstance(error, never_left) else "unknown"
        secrets = [self._url, *([self._secret] if self._secret else [])]
        return DeliveryError(f"webhook: {type(error).__name__}: {redact(str(error), secrets) or 'no answer'}", kind)


def _kind(status: int) -> Literal["retry", "dead"]:
    """What may be done after a refusal. A redirect may be a captive portal's, so it is tried again."""
    return "dead" if status in REFUSED else "retry"


def _meaning(status: int) -> str:
    if 300 <= status < 400:
        return f"{status}, a redirect; write the final address, redirects are not followed"
    return str(status)


def _pause(text: str) -> float | None:
    """The seconds of a Retry-After; a date, or nonsense, counts as none.

    >>> _pause("7"), _pause("Wed, 21 Oct 2026 07:28:00 GMT"), _pause("999999")
    (7.0, None, 3600.0)
    """
    return min(float(text), MAX_PAUSE_S) if text.isascii() and text.isdecimal() else None


def open_channel(settings: Settings) -> WebhookChannel:
    """The address in the settings; CanaryError, without it, when it does not do. Logs are protected first."""
    protect_logs()
    if not settings.url:
        raise CanaryError("webhook has no address; write url_env or url_file in the config, naming where it is kept")
    try:
        parts = urlsplit(settings.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    del port  # asked for only to have a wrong one found here
    if parts.scheme not in ("http", "https") or not host:
        raise CanaryError("the address of the webhook is not one; it looks like https://host/path")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise CanaryError("the address of the webhook must start with https:// (plain http only for this machine)")
    hide(settings.url, parts.path.strip("/"), settings.token)
    return WebhookChannel(settings.url, settings.token)
