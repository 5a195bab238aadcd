"""The webhook channel: what is posted, how it is signed, and what each answer means for the outbox."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loopback import Answer, Loopback

from monitor.chat import Settings, open_channel
from monitor.chat.webhook import MAX_ANSWER, MAX_BODY, WebhookChannel, body_of, verify
from monitor.model import CanaryError, DeliveryError, Line, Message

SECRET = "a-secret-of-the-desk"
MESSAGE = Message(
    id="9f2c",
    route="machines",
    channel="webhook",
    to="",
    kind="fired",
    severity="critical",
    title="CRITICAL Acme <Compute>",
    lines=(Line("alert", "LockedBoxShort fired"), Line("now", "cash \u202e7.6m USD\x1b[31m < 38.0m USD")),
    created_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
    event_ids=("e1", "e2"),
)


def outcome(
    server: Loopback, *answers: Answer, message: Message = MESSAGE, answer_s: float = 20.0
) -> str | DeliveryError:
    """What became of one message while the receiver answers like this."""
    if answers:
        server.on("/hook/s3cret-path", *answers)

    async def send() -> str | DeliveryError:
        channel = WebhookChannel(f"{server.url}/hook/s3cret-path", SECRET, answer_s)
        try:
            return await channel.send(message)
        except DeliveryError as error:
            return error
        finally:
            await channel.close()

    return asyncio.run(send())


def test_the_documented_body_arrives_signed() -> None:
    """Every documented field, cleaned texts, an id to tell repetitions by, and a signature good for five minutes."""
    with Loopback() as server:
        assert outcome(server, Answer(204)) == "9f2c"
        (request,) = server.requests
    headers = {name.lower(): text for name, text in request.headers.items()}
    document = json.loads(request.body)
    assert (request.method, headers["content-type"], headers["idempotency-key"]) == ("POST", "application/json", "9f2c")
    assert document == {
        "version": 1,
        "id": "9f2c",
        "kind": "fired",
        "severity": "critical",
        "title": "CRITICAL Acme <Compute>",
        "lines": [
            {"label": "alert", "text": "LockedBoxShort fired"},
            {"label": "now", "text": "cash 7.6m USD[31m < 38.0m USD"},
        ],
        "text": document["text"],
        "event_ids": ["e1", "e2"],
        "route": "machines",
        "created_at": "2026-11-01T12:00:00+00:00",
        "recorded": False,
        "possibly_repeated": False,
    }
    assert document["text"].startswith("CRITICAL Acme <Compute>\n")
    stamp, signature, now = headers["canary-timestamp"], headers["canary-signature"], time.time()
    assert verify(SECRET, stamp, request.body, signature, now)
    assert not verify(SECRET, stamp, request.body + b" ", signature, now)
    assert not verify(SECRET, stamp, request.body, signature, now + 301)
    assert not verify(SECRET, "9" * 5000, request.body, signature, now)


def test_a_repetition_has_the_id_of_what_it_repeats() -> None:
    """Whoever keeps the ids it took can drop what is sent again after an answer was lost."""
    again = replace(MESSAGE, id="9f2c.2", possibly_repeated=True)
    document = json.loads(body_of(again))
    assert (document["id"], document["possibly_repeated"]) == ("9f2c", True)


@pytest.mark.parametrize(
    ("answer", "kind", "pause_s"),
    [
        (Answer(500), "retry", None),
        (Answer(503, headers={"Retry-After": "7"}), "retry", 7.0),
        (Answer(429, headers={"Retry-After": "99999999"}), "retry", 3600.0),
        (Answer(408), "retry", None),
        (Answer(302, headers={"Location": "https://example.org/login"}), "retry", None),
        (Answer(401), "dead", None),
        (Answer(404), "dead", None),
        (Answer(413), "dead", None),
        (Answer(hang=True), "unknown", None),
        (Answer(drop=True), "unknown", None),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
def test_each_answer_says_what_may_be_done_next(answer: Answer, kind: str, pause_s: float | None) -> None:
    """Busy and broken is tried again, refused is dead, no answer is unknown; one request each; no secret in a text."""
    with Loopback() as server:
        error = outcome(server, answer, answer_s=0.3 if answer.hang else 20.0)
        assert isinstance(error, DeliveryError)
        assert (error.kind, error.retry_after_s) == (kind, pause_s)
        assert len(server.requests) == 1
    assert "s3cret-path" not in str(error)
    assert SECRET not in str(error)


def test_a_redirect_is_not_followed() -> None:
    """The body goes to the configured address and to no other, whatever that one answers."""
    with Loopback() as server, Loopback() as other:
        error = outcome(server, Answer(307, headers={"Location": f"{other.url}/steal"}))
        assert "redirects are not followed" in str(error)
        assert other.requests == []


def test_nobody_listening_is_a_retry() -> None:
    """A connection that never stood cannot have carried the message."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        channel = WebhookChannel(f"http://127.0.0.1:{taken.getsockname()[1]}/x", None)
        with pytest.raises(DeliveryError) as refused:
            asyncio.run(channel.send(MESSAGE))
    assert refused.value.kind == "retry"


def test_an_endless_answer_is_left_where_it_is() -> None:
    """No more of an answer is read than it takes to know its status."""
    with Loopback() as server:
        assert outcome(server, Answer(200, b"x" * (MAX_ANSWER * 20))) == "9f2c"


def test_a_body_beyond_the_cap_is_not_sent() -> None:
    """The longest message there can be stays below it; one that is made too long is refused without a request."""
    longest = replace(MESSAGE, lines=tuple(Line("x" * 20, "\U0001f424" * 480) for _ in range(400)))
    assert MAX_BODY / 2 < len(body_of(longest)) < MAX_BODY
    with Loopback() as server:
        error = outcome(server, message=replace(longest, event_ids=("0" * 40,) * 20_000))
        assert isinstance(error, DeliveryError)
        assert error.kind == "dead"
        assert server.requests == []


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """TLS is verified: a receiver with a certificate of its own gets nothing."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += [
        "-keyout",
        str(tmp_path / "key"),
        "-out",
        str(tmp_path / "cert"),
        "-addext",
        "subjectAltName=DNS:localhost",
    ]
    made = subprocess.run(command, capture_output=True)
    if made.returncode:
        pytest.skip("openssl is not here")

    async def attempt() -> list[bytes]:
        got: list[bytes] = []

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await reader.read(100))
            writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
        channel = WebhookChannel(f"https://localhost:{server.sockets[0].getsockname()[1]}/x", SECRET)
        with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED") as refused:
            await channel.send(MESSAGE)
        assert refused.value.kind == "retry"
        await channel.close()
        server.close()
        return got

    assert asyncio.run(attempt()) == []


@pytest.mark.parametrize(
    "url", ["http://example.org/hook", "ftp://example.org", "example.org", "https://", "https://[x"]
)
def test_an_address_that_will_not_do_is_refused_without_being_shown(url: str) -> None:
    """Plain http only to this machine; a mistake in a secret address is said without the address."""
    with pytest.raises(CanaryError) as refused:
        open_channel("webhook", Settings(url=url))
    assert "example.org" not in str(refused.value)
    assert open_channel("webhook", Settings(url="http://127.0.0.1:9/x")).name == "webhook"
    with pytest.raises(CanaryError, match="url_env or url_file"):
        open_channel("webhook", Settings())
