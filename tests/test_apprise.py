"""The channel for everything else: real apprise against loopback endpoints, one result per target, no address shown."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from loopback import Answer, Loopback

from monitor.chat import Settings, open_channel
from monitor.chat.apprise import AppriseChannel, targets_of
from monitor.model import CanaryError, DeliveryError, Line, Message

pytest.importorskip("apprise", reason="the extra `chat` is not installed")

KEY = "s3cret-key-of-the-desk"
PNG = b"\x89PNG\r\n\x1a\n not really"
MESSAGE = Message(
    id="m1",
    route="desk",
    channel="apprise",
    to="",
    kind="fired",
    severity="critical",
    title="CRITICAL Acme",
    lines=(Line("now", "cash 7.6m < 38.0m; told @everyone and <!channel>"),),
    created_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as running:
        for path in ("/one", "/two", f"/{KEY}"):
            running.on(path, Answer.json({"id": "n1"}))
        yield running


def channel_to(server: Loopback, *paths: str, **named: str) -> AppriseChannel:
    place = server.url.removeprefix("http://")
    urls = [f"json://{place}/{path}" for path in paths] + [
        f"{name}=json://{place}/{path}" for name, path in named.items()
    ]
    opened = open_channel("apprise", Settings(url=",".join(urls)))
    assert isinstance(opened, AppriseChannel)
    return opened


def sent(channel: AppriseChannel, message: Message = MESSAGE, picture: bytes = b"") -> str | DeliveryError:
    try:
        return asyncio.run(channel.send_rich(message, "", picture))
    except DeliveryError as error:
        return error


def test_text_and_picture_arrive(server: Loopback) -> None:
    """Title and text come through an endpoint as they are, nobody is called by name, and the picture is attached."""
    assert sent(channel_to(server, "one"), picture=PNG) == "json (target 1)"
    document = json.loads(server.asked("/one")[0].body)
    assert document["title"] == "CRITICAL Acme"
    assert "cash 7.6m < 38.0m" in document["message"]
    assert not re.search(r"@everyone|<!channel", document["message"])
    (attachment,) = document["attachments"]
    assert attachment["mimetype"] == "image/png"


def test_ntfy_is_spoken(server: Loopback) -> None:
    """A service of its own kind works too: ntfy, whose topic is the secret."""
    server.on("/", Answer.json({"id": "n1"}))
    place = server.url.removeprefix("http://")
    channel = open_channel("apprise", Settings(url=f"ntfy://{place}/{KEY}"))
    assert asyncio.run(channel.send(MESSAGE)).startswith("ntfy")
    document = json.loads(server.requests[0].body)
    assert (document["topic"], document["title"]) == (KEY, "CRITICAL Acme")


def test_each_target_has_its_own_result(server: Loopback) -> None:
    """One took it, one failed: only the failed one is tried again, also as a possible repetition."""
    server.on("/two", Answer(500), Answer.json({}))
    channel = channel_to(server, desk="one", phone="two")
    error = sent(channel)
    assert isinstance(error, DeliveryError)
    assert (error.kind, str(error)) == ("retry", "apprise: phone: the service answered 500")
    assert sent(channel, replace(MESSAGE, id="m1.1", possibly_repeated=True)) == "desk,phone"
    assert [len(server.asked(path)) for path in ("/one", "/two")] == [1, 2]


def test_a_route_picks_a_target_by_name(server: Loopback) -> None:
    """`to` names one target; a name nobody has is dead, not everybody."""
    channel = channel_to(server, desk="one", phone="two")
    assert sent(channel, replace(MESSAGE, to="phone")) == "phone"
    assert server.asked("/one") == []
    error = sent(channel, replace(MESSAGE, id="m2", to="fax"))
    assert isinstance(error, DeliveryError)
    assert (error.kind, "desk, phone" in str(error)) == ("dead", True)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(500), "retry"),
        (Answer(429), "retry"),
        (Answer(401), "dead"),
        (Answer(404), "dead"),
        (Answer(drop=True), "unknown"),
    ],
    ids=["500", "429", "401", "404", "line cut"],
)
def test_each_failure_says_what_may_be_done_next(server: Loopback, answer: Answer, kind: str) -> None:
    """Read from what the package writes to its log: busy is tried again, refused is dead, no answer is unknown."""
    server.on("/one", answer)
    error = sent(channel_to(server, "one"))
    assert isinstance(error, DeliveryError)
    assert error.kind == kind


def test_no_address_is_in_logs_or_errors(server: Loopback) -> None:
    """With every logger at DEBUG, neither the package, its HTTP stack nor an error shows a target's address."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    shown = []
    try:
        channel = channel_to(server, KEY)
        for name in ("apprise", "urllib3", "urllib3.connectionpool", "requests"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        server.on(f"/{KEY}", Answer(500), Answer(drop=True), Answer.json({}))
        shown = [str(sent(channel, replace(MESSAGE, id=f"m{i}"))) for i in range(3)]
        shown.append(repr(Settings(url=f"json://x/{KEY}")))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert len(server.asked(f"/{KEY}")) == 3
    assert KEY not in stream.getvalue() + " ".join(shown)


def test_addresses_that_are_none_are_refused_without_being_shown() -> None:
    """A target that is no address is refused when it is opened, one of no known kind when it is first used."""
    with pytest.raises(CanaryError, match="target 1 of apprise is not an address"):
        targets_of(KEY)
    error = sent(AppriseChannel(f"nosuchthing://{KEY}"))
    assert isinstance(error, DeliveryError)
    assert error.kind == "dead"
    assert KEY not in str(error)
    with pytest.raises(CanaryError, match="url_env or url_file"):
        open_channel("apprise", Settings())
