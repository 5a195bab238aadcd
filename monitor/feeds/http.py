"""The one way a feed reaches the network: GET over verified TLS, its own hosts only, small answers, few retries.

Everything that can go wrong becomes a FeedError whose text is the reason a person reads beside the source.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urljoin, urlsplit

import httpx
import stamina

from monitor.model import FeedError

#: where nobody set up a log, a retry is told by its outcome and not by a line of its own on the terminal
logging.getLogger("stamina").addHandler(logging.NullHandler())
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ATTEMPTS = 3
#: an answer of a price source is a few kilobytes; anything near this is not one
MAX_BYTES = 2_000_000
MAX_REDIRECTS = 2
CONNECT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError)
#: answers that mean no, not later: asking again at once would only make it worse
REFUSALS = (401, 403, 418, 451)
#: what an answer says about its version -> what to ask with the next time
VALIDATORS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
ETAG, MAX_KEPT = range(1, 200), 64
#: the share of its time a fetch may spend waiting for one answer, so that what did arrive can still be handed over
PATIENCE = 0.9


class _Busy(Exception):
    """The source asked to come back later; ``wait_s`` if it said when."""

    def __init__(self, status: int, wait_s: float | None):
        super().__init__(f"HTTP {status}")
        self.status, self.wait_s = status, wait_s


def user_agent() -> str:
    """The name and version of this program, and nothing else."""
    try:
        return f"compute-canary/{version('compute-canary')}"
    except PackageNotFoundError:  # run from a folder that was never installed
        return "compute-canary"


@cache
def _tls() -> ssl.SSLContext:
    """Certificates are read once per process, not once per tick."""
    return httpx.create_ssl_context()


def new_http() -> httpx.AsyncClient:
    """An HTTP client with verified TLS and no redirects of its own; this machine is never reached through a proxy."""
    return httpx.AsyncClient(
        verify=_tls(),
        follow_redirects=False,
        headers={"User-Agent": user_agent(), "Accept": "application/json, text/csv;q=0.9, */*;q=0.1"},
        mounts={f"all://{host}": None for host in LOOPBACK if ":" not in host},
        limits=httpx.Limits(max_connections=100),
    )


def clean(text: str, limit: int = 120) -> str:
    """Foreign text made fit for a log, a terminal or a chat: printable, one line, short.

    >>> clean("EQuery:\\x1b[31mUnknown\\n asset\\u202e pair")
    'EQuery:[31mUnknown asset pair'
    """
    printable = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text[: 4 * limit])
    short = " ".join(printable.split())
    return short if len(short) <= limit else short[: limit - 3] + "..."


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds a Retry-After header asks for (a number or an HTTP date), or None when it says nothing usable.

    >>> retry_after_s("7", datetime(2026, 8, 14, tzinfo=UTC)), retry_after_s("soon", datetime(2026, 8, 14, tzinfo=UTC))
    (7.0, None)
    >>> retry_after_s("Fri, 14 Aug 2026 00:01:00 GMT", datetime(2026, 8, 14, tzinfo=UTC))
    60.0
    """
    if header is None or len(header) > 60:
        return None
    if header.strip().isdigit():
        return float(header.strip())
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


class Client:
    """What one feed gets for one fetch: its hosts, its share of time, and a notebook for what went wrong.

    ``origins`` are the only ``scheme://host:port`` it may speak to; ``now`` is the moment of the tick. ``headers`` go
    with every request; ``kept`` holds answers that carried a validator, so that they are only sent again when they
    changed. At most ``parallel`` requests are under way, ``pace_s`` seconds apart.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        origins: Iterable[str],
        now: datetime,
        time_limit_s: float,
        *,
        headers: Mapping[str, str] | None = None,
        kept: dict[str, tuple[dict[str, str], bytes]] | None = None,
        pace_s: float = 0.0,
        parallel: int = 4,
    ):
        self._http = http
        self._headers = dict(headers or {})
        self._kept = {} if kept is None else kept
        #: what the source said had not changed: the answer of then is on record already
        self._unchanged: set[str] = set()
        self._pace_s, self._next_at = pace_s, 0.0
        self._turns = asyncio.Semaphore(parallel)
        #: seconds the source asked to be left alone for when it refused us (0: it did not say), or None
        self.refused: float | None = None
        self._origins = frozenset(origins)
        self._now = now
        self._clock = asyncio.get_running_loop().time
        self._deadline = self._clock() + PATIENCE * time_limit_s
        #: what was left out of a fetch that otherwise succeeded, in words
        self.notes: list[str] = []
        #: every answer as it came: (address, body), so that a number can be traced back to it
        self.raw: list[tuple[str, bytes]] = []

    def note(self, text: str) -> None:
        """Remember something that did not stop the fetch; it is shown in the report."""
        self.notes.append(clean(text, 300))

    async def get_json(self, url: str, max_bytes: int = MAX_BYTES) -> object:
        """The JSON value at an address. NaN, Infinity, web pages, cut-off and over-deep answers are FeedErrors."""
        return parse_json(await self.get_bytes(url, max_bytes), urlsplit(url).hostname or "")

    async def post_json(self, url: str, question: object, max_bytes: int = MAX_BYTES) -> object:
        """The JSON value an address answers a question with: for sources that are asked, not looked up."""
        asked = json.dumps(question, separators=(",", ":")).encode()
        return parse_json(await self._bytes(url, max_bytes, asked), urlsplit(url).hostname or "")

    async def get_bytes(self, url: str, max_bytes: int = MAX_BYTES) -> bytes:
        """The body at an address after up to three attempts; FeedError with the reason otherwise."""
        return await self._bytes(url, max_bytes)

    async def _bytes(self, url: str, max_bytes: int, asked: bytes | None = None) -> bytes:
        host = urlsplit(url).hostname or ""
        try:
            async with asyncio.timeout_at(self._deadline):
                body = await self._get_patiently(url, max_bytes, asked)
                if url not in self._unchanged:
                    self.raw.append((url, body))
                return body
        except _Busy as busy:
            if busy.status == 429 or busy.wait_s is not None:
                self.refused = max(self.refused or 0.0, busy.wait_s or 0.0)
            wait = "" if busy.wait_s is None else f" and asks to wait {busy.wait_s:.0f} s"
            raise FeedError(f"{host} answered {busy}{wait}") from None
        except (TimeoutError, httpx.TimeoutException):
            raise FeedError(f"{host} did not answer in time") from None
        except httpx.DecodingError:
            raise FeedError(f"{host} sent something that cannot be unpacked") from None
        except httpx.HTTPError as error:
            raise FeedError(f"{host} cannot be reached: {clean(str(error)) or type(error).__name__}") from None

    async def _get_patiently(self, url: str, max_bytes: int, asked: bytes | None) -> bytes:
        """The body, after retries; raises what the last attempt raised."""
        retries = stamina.retry_context(
            on=self._whether_to_retry, attempts=ATTEMPTS, timeout=self._left_s(), wait_initial=0.5, wait_jitter=0.5
        )
        async for attempt in retries:
            with attempt:
                return await self._get(url, max_bytes, asked)
        raise FeedError("no attempt was made")  # stamina always makes one

    def _whether_to_retry(self, error: Exception) -> bool | float:
        """Connect errors and busy answers are tried again; a wait longer than the time left is not begun."""
        if isinstance(error, _Busy):
            if error.wait_s is None:
                return True
            return error.wait_s if error.wait_s < self._left_s() else False
        return isinstance(error, CONNECT_ERRORS)

    def _left_s(self) -> float:
        """Seconds left for answers."""
        return max(self._deadline - self._clock(), 0.001)

    async def _get(self, url: str, max_bytes: int, asked: bytes | None) -> bytes:
        """One attempt, following redirects that stay on the feed's own hosts."""
        async with self._turns:
            for _ in range(MAX_REDIRECTS + 1):
                self._check_origin(url)
                await self._wait_for_a_turn()
                headers, body = self._kept.get(url, ({}, b""))
                headers = self._headers | headers | ({} if asked is None else {"Content-Type": "application/json"})
                async with self._http.stream(
                    "GET" if asked is None else "POST", url, content=asked, timeout=self._left_s(), headers=headers
                ) as response:
                    if response.status_code == 304 and url in self._kept:
                        self._unchanged.add(url)
                        return body
                    if response.has_redirect_location:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    self._check_status(response)
                    body = await _read(response, max_bytes)
                    if asked is None:
                        self._keep(url, response.headers, body)
                    return body
        raise FeedError(f"{urlsplit(url).hostname} redirects in circles")

    async def _wait_for_a_turn(self) -> None:
        """No two requests closer together than the source's pace."""
        if self._pace_s:
            at, self._next_at = self._next_at, max(self._next_at, self._clock()) + self._pace_s
            await asyncio.sleep(max(at - self._clock(), 0.0))

    def _check_status(self, response: httpx.Response) -> None:
        """A refusal is a reason and is remembered; a busy or broken server may be asked again."""
        status = response.status_code
        if status == 429 or status >= 500:
            raise _Busy(status, retry_after_s(response.headers.get("retry-after"), self._now))
        if status in REFUSALS:
            self.refused = max(self.refused or 0.0, retry_after_s(response.headers.get("retry-after"), self._now) or 0)
        if status != 200:
            raise FeedError(f"{response.url.host} answered HTTP {status}")

    def _keep(self, url: str, headers: httpx.Headers, body: bytes) -> None:
        """Remember an answer that can be asked about again, as long as there is room."""
        asked = {name: headers[header] for header, name in VALIDATORS.items() if len(headers.get(header, "")) in ETAG}
        self._kept.pop(url, None)
        if asked and len(body) <= MAX_BYTES and len(self._kept) < MAX_KEPT:
            self._kept[url] = (asked, body)

    def _check_origin(self, url: str) -> None:
        """An address outside the feed's own hosts is refused before a connection is made."""
        if origin(url) not in self._origins:
            raise FeedError(f"refused to follow to {clean(origin(url))}: not a host of this source")


def origin(url: str) -> str:
    """``scheme://host:port`` of an address; plain http only for this machine.

    >>> origin("https://api.example.org/v1?x=1"), origin("http://127.0.0.1:8000/a")
    ('https://api.example.org', 'http://127.0.0.1:8000')
    >>> origin("http://api.example.org/")
    Traceback (most recent call last):
    ...
    monitor.model.FeedError: refused http://api.example.org: prices are only read over https
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise FeedError(f"{clean(url)!r} is not an address") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise FeedError(f"refused {clean(parts.scheme)}://{clean(host)}: prices are only read over https")
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    """The decoded body, given up as soon as it is longer than allowed."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise FeedError(f"{response.url.host} sent more than {max_bytes:,} bytes")
    return bytes(body)


# ---------------------------------------------------------------- reading what was sent
def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def parse_json(body: bytes, host: str) -> object:
    """Strict JSON; FeedError says what came instead.

    >>> parse_json(b'{"price": "62100.5"}', "example.org")
    {'price': '62100.5'}
    >>> parse_json(b"<!DOCTYPE html>", "example.org")
    Traceback (most recent call last):
    ...
    monitor.model.FeedError: example.org answered with a web page, not data
    """
    if body.lstrip()[:1] == b"<":
        raise FeedError(f"{host} answered with a web page, not data")
    try:
        value: object = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FeedError(f"{host} sent something that is not JSON: {clean(str(error))}") from None
    return value


def field(value: object, *path: str) -> object:
    """The member of nested JSON objects at a path; FeedError names what is missing.

    >>> field({"result": {"XXBTZUSD": 1}}, "result", "XXBTZUSD")
    1
    >>> field({"result": []}, "result", "XXBTZUSD")
    Traceback (most recent call last):
    ...
    monitor.model.FeedError: the answer has no result.XXBTZUSD
    """
    for depth, name in enumerate(path, 1):
        if not isinstance(value, dict) or name not in value:
            raise FeedError(f"the answer has no {'.'.join(path[:depth])}")
        value = value[name]
    return value


def number(value: object, what: str) -> float:
    """A finite number written as a JSON number or a decimal string; anything else is a FeedError.

    >>> number("62100.50", "price"), number(31251101365711.12, "difficulty")
    (62100.5, 31251101365711.12)
    >>> number("NaN", "price")
    Traceback (most recent call last):
    ...
    monitor.model.FeedError: price is 'NaN', not a number
    """
    try:
        result = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise FeedError(f"{what} is {clean(repr(value), 40)}, not a number")
    return result


def moment(value: object, what: str, now: datetime) -> datetime:
    """An ISO 8601 time with its zone, in UTC; a time without zone or in the future is a FeedError."""
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 40 else None
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise FeedError(f"{what} is {clean(repr(value), 40)}, not a time with its zone")
    parsed = parsed.astimezone(UTC)
    if parsed > now + timedelta(minutes=5):
        raise FeedError(f"{what} {parsed:%Y-%m-%d %H:%M}Z lies in the future")
    # a clock a little ahead of ours must not make a value younger than now
    return min(parsed, now)
