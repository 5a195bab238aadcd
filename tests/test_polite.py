"""How sources are kept polite: asked only when due, conditionally, not too fast, and left alone after a refusal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import stamina
from loopback import Answer, Loopback
from more_answers import GOOD, NOW, PATHS, settings

from monitor.config import find_config, load_config, secret_places
from monitor.feeds import Feed, FeedSettings, fetch_all
from monitor.feeds.http import Client, new_http
from monitor.feeds.kraken import Kraken
from monitor.feeds.luxor import Luxor
from monitor.feeds.openrouter import OpenRouter
from monitor.feeds.skypilot import CLOUDS, ROOT, SkyPilot
from monitor.model import FeedReport, InputError, Observation
from monitor.world import feed_settings

TICKER = "/0/public/Ticker"


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    """A fresh server per test."""
    with Loopback() as running:
        yield running


def ask(feed: Feed, now: datetime = NOW) -> tuple[list[Observation], FeedReport]:
    found, (report,) = asyncio.run(fetch_all([feed], now, 5.0))
    return found, report


# ---------------------------------------------------------------- after a refusal
@pytest.mark.parametrize(
    ("answer", "rest_s"),
    [
        (Answer(429, b"slow down"), 120),
        (Answer(429, b"", {"Retry-After": "3600"}), 3600),
        (Answer(418, b"", {"Retry-After": "7200"}), 7200),
        (Answer(403, b""), 120),
        (Answer(451, b""), 120),
        (Answer(429, b"", {"Retry-After": "999999999"}), 6 * 3600),
    ],
)
def test_a_source_that_refused_us_is_left_alone_for_as_long_as_it_asks(
    answer: Answer, rest_s: int, server: Loopback
) -> None:
    """Until then not one request is sent, and the report says until when; a mad header does not silence it for ever."""
    feed = Kraken(settings(server.url))
    server.on(TICKER, answer)
    ask(feed)
    asked = len(server.requests)
    _, report = ask(feed, NOW + timedelta(seconds=rest_s - 1))
    assert len(server.requests) == asked
    assert "left alone until" in report.reason
    GOOD["kraken"](server)
    _, report = ask(feed, NOW + timedelta(seconds=rest_s))
    assert report.ok


def test_refusals_in_a_row_double_the_rest_and_an_answer_ends_it(server: Loopback) -> None:
    """Two minutes, then four; one good answer and it begins anew."""
    feed = Kraken(settings(server.url))
    server.on(TICKER, Answer(403))
    now = NOW
    for minutes in (2, 4, 8):
        ask(feed, now)
        assert feed.rest_until == now + timedelta(minutes=minutes)
        now = feed.rest_until
    GOOD["kraken"](server)
    assert ask(feed, now)[1].ok
    server.on(TICKER, Answer(403))
    ask(feed, now)
    assert feed.rest_until == now + timedelta(minutes=2)


@pytest.mark.parametrize("answer", [Answer(500), Answer(drop=True), Answer(200, b"<html>"), Answer(404)])
def test_a_broken_source_is_asked_again_at_the_next_evaluation(answer: Answer, server: Loopback) -> None:
    """A fault is no refusal."""
    feed = Kraken(settings(server.url))
    server.on(TICKER, answer)
    ask(feed)
    assert feed.rest_until is None


def test_one_refused_part_does_not_rest_the_whole_source(server: Loopback) -> None:
    """Where other files of a source answer, the next evaluation asks all of them again."""
    GOOD["skypilot"](server)
    server.on(f"/{ROOT}/{CLOUDS[0]}/vms.csv", Answer(403))
    feed = SkyPilot(settings(server.url))
    assert ask(feed)[1].ok
    assert feed.rest_until is None


# ---------------------------------------------------------------- only when due, only when changed
def test_a_long_list_is_asked_for_once_an_hour(server: Loopback) -> None:
    """In between what it said stands, known since it was said."""
    GOOD["openrouter"](server)
    feed = OpenRouter(settings(server.url))
    first, _ = ask(feed)
    again, report = ask(feed, NOW + timedelta(minutes=45))
    assert again == first
    assert report.ok
    assert report.raw == ()
    assert len(server.requests) == 1
    ask(feed, NOW + timedelta(minutes=60))
    assert len(server.requests) == 2


def test_an_unchanged_answer_is_not_sent_again(server: Loopback) -> None:
    """An answer with an ETag is asked about by it, and 304 means the one that was kept."""
    GOOD["kraken"](server)
    (good,) = server._answers[TICKER]
    server.on(
        TICKER, Answer(200, good.body, {"ETag": '"v1"', "Last-Modified": "Fri, 14 Aug 2026 11:00:00 GMT"}), Answer(304)
    )
    feed = Kraken(settings(server.url))
    first, _ = ask(feed)
    again, report = ask(feed, NOW + timedelta(minutes=15))
    assert report.ok
    assert [o.value for o in again] == [o.value for o in first]
    headers = server.requests[1].headers
    assert report.raw == ()  # the answer of then is on record
    assert headers["If-None-Match"] == '"v1"'
    assert headers["If-Modified-Since"] == "Fri, 14 Aug 2026 11:00:00 GMT"


def test_not_modified_without_a_kept_answer_is_a_reason(server: Loopback) -> None:
    """A 304 nobody asked for is no data."""
    server.on(TICKER, Answer(304))
    found, report = ask(Kraken(settings(server.url)))
    assert found == []
    assert "HTTP 304" in report.reason


# ---------------------------------------------------------------- how fast, how many
def get_all(server: Loopback, count: int, **how: float) -> tuple[float, int]:
    """(seconds, requests) of so many requests at once."""

    async def run() -> float:
        async with new_http() as http:
            client = Client(http, (server.url,), NOW, 5.0, **how)  # type: ignore[arg-type]
            started = time.perf_counter()
            await asyncio.gather(*(client.get_bytes(f"{server.url}/{i}") for i in range(count)))
            return time.perf_counter() - started

    for i in range(count):
        server.on(f"/{i}", Answer(200, b"x"))
    return asyncio.run(run()), len(server.requests)


def test_requests_keep_their_distance(server: Loopback) -> None:
    """Six requests a tenth of a second apart take half a second at least."""
    seconds, requests = get_all(server, 6, pace_s=0.1)
    assert requests == 6
    assert seconds >= 0.5


def test_few_requests_are_under_way_at_once(server: Loopback) -> None:
    """However many a source asks for, its server sees a few side by side."""
    for i in range(8):
        server.on(f"/{i}", Answer(200, b"x", delay_s=0.05))

    async def run() -> float:
        async with new_http() as http:
            client = Client(http, (server.url,), NOW, 5.0, parallel=2)
            started = time.perf_counter()
            await asyncio.gather(*(client.get_bytes(f"{server.url}/{i}") for i in range(8)))
            return time.perf_counter() - started

    assert asyncio.run(run()) >= 4 * 0.05


# ---------------------------------------------------------------- keys and contacts
def test_a_key_travels_in_a_header_and_is_kept_nowhere(server: Loopback) -> None:
    """Neither the kept addresses nor the report nor the settings show it."""
    GOOD["luxor"](server)
    feed = Luxor(settings(server.url))
    _, report = ask(feed)
    assert server.requests[0].headers["X-Hi-Api-Key"] == "secret-key"
    assert "secret-key" not in repr((feed.settings, report, report.raw, [r.query for r in server.requests]))


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_key_goes_to_nobody_who_did_not_ask_for_one(name: str, server: Loopback) -> None:
    """Only the sources that take a key send it."""
    GOOD[name](server)
    (feed_class,) = (c for c in _classes() if c.name == name)
    ask(feed_class(settings(server.url)))
    sent = any("secret-key" in value for request in server.requests for value in request.headers.values())
    assert sent == bool(feed_class.needs_key)
    assert PATHS[name]


def _classes() -> list[type[Feed]]:
    from monitor.feeds import classes

    return classes()


def config_of(folder: Path, feeds: str) -> dict[str, FeedSettings]:
    (folder / "config.yaml").write_text(f"feeds: {feeds}\n")
    environ = {"HOME": str(folder)}
    config = load_config(find_config(folder / "config.yaml", environ, folder), environ)
    return dict(feed_settings(config, offline=False))


def test_the_configuration_names_keys_and_contacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key comes from where it is named; one that is not there switches its source off, and nothing else."""
    monkeypatch.setenv("LUXOR_KEY", "abc")
    found = config_of(tmp_path, "{luxor: {key_env: LUXOR_KEY}, edgar: {contact: desk@example.org}}")
    assert found["luxor"].key == "abc"
    assert found["edgar"].contact == "desk@example.org"
    monkeypatch.delenv("LUXOR_KEY")
    found = config_of(tmp_path, "{luxor: {key_env: LUXOR_KEY}}")
    assert found["luxor"].key is None
    assert "LUXOR_KEY is not set" in found["luxor"].trouble


@pytest.mark.parametrize(
    ("feeds", "says"),
    [
        ("{edgar: {contact: nobody}}", "e-mail address"),
        ("{edgar: {contact: 'a@b.c\\r\\nX: 1'}}", "e-mail address"),
        ("{luxor: {key_env: A, key_file: b}}", "both given"),
        ("{luxor: {key: abc}}", "key"),
    ],
)
def test_a_mistake_is_said_with_its_place(feeds: str, says: str, tmp_path: Path) -> None:
    """A contact nobody reads, two places of a key and a key written down are refused."""
    with pytest.raises(InputError, match=says):
        config_of(tmp_path, feeds)


def test_the_doctor_knows_where_keys_are(tmp_path: Path) -> None:
    """Secrets of sources are among those that are looked after."""
    (tmp_path / "config.yaml").write_text("feeds: {luxor: {key_env: LUXOR_KEY}}\n")
    environ = {"HOME": str(tmp_path)}
    config = load_config(find_config(tmp_path / "config.yaml", environ, tmp_path), environ)
    assert ("feeds.luxor key", "LUXOR_KEY", None) in list(secret_places(config))
