"""The page of health and metrics, and the sign of life: true, small, for this machine only, without secrets."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from desk import CONFIG, lay_desk
from loopback import Answer, Loopback
from test_daemon import Notes

from monitor.config import Found, load_config
from monitor.daemon import Daemon
from monitor.exposition import exposition
from monitor.feeds import discover
from monitor.health import POST_LIMIT_S, Health
from monitor.heartbeat import Place, Pulse, ask, place
from monitor.model import FeedReport, InputError, Message
from monitor.picture import Board, Picture, unwell
from monitor.serving import MAX_CONNECTIONS, Server
from monitor.store import Store
from monitor.store_post import Post, post_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CHAT = "-1001234567890"


def board(**changes: object) -> Board:
    """A board of an installation that is well: evaluated 60 s ago at monotonic second 1000."""
    health = Health(every_s=900, tick_limit_s=120, started_s=0.0, tick_ended_s=940.0, evaluations=3)
    picture = Picture(
        at=NOW - timedelta(minutes=1),
        recorded=False,
        duration_s=0.5,
        btc_known=True,
        reports=(FeedReport("kraken", True, "", 2, 0.3, NOW), FeedReport("coinbase", False, "HTTP 500", 0, 1.0)),
        newest={"kraken": NOW - timedelta(seconds=61)},
        alerts={("critical", "firing"): 2},
        rule_errors={"Odd": 1},
        quotes=(),
        borrowers=("alpha", "beta"),
        numbers={
            "debt_usd": {"alpha": 4e8},
            "liquidity_locked_12m": {"alpha": 0.8},
            "dscr": {"alpha/spv": 1.1},
            "btc_usd": {"market": 60_000.0},
        },
        blind=("beta",),
        stubs=1,
    )
    return Board(health, replace(picture, **changes))


async def ask_page(listen: str, request: bytes) -> bytes:
    """One raw request to a page at host:port."""
    reader, writer = await asyncio.open_connection(*listen.removeprefix("http://").split(":"))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


def page(seen: Board, *requests: bytes) -> list[bytes]:
    """The answers of a page at monotonic second 1000."""

    async def talk() -> list[bytes]:
        server = Server(seen, lambda: 1000.0, lambda: NOW)
        at = await server.start("127.0.0.1:0")
        answers = [await ask_page(at, request) for request in requests]
        await server.stop()
        return answers

    return asyncio.run(talk())


def get(path: str, host: str = "127.0.0.1:9108", method: str = "GET") -> bytes:
    """A request as a client writes it."""
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: x\r\n\r\n".encode()


def status(answer: bytes) -> int:
    """The status of a raw answer."""
    return int(answer.split(b" ", 2)[1])


def samples(seen: Board, now_s: float = 1000.0) -> dict[str, float]:
    """Sample -> value of a board's metrics."""
    lines = exposition(seen, now_s, NOW).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line and line[0] != "#"}


# ---------------------------------------------------------------- the page
def test_three_pages_and_nothing_else():
    """The three paths answer, HEAD without a body; every other path is nothing, however it is written."""
    good = page(board(), get("/healthz"), get("/readyz?x=1"), get("/metrics"), get("/metrics", method="HEAD"))
    assert [status(answer) for answer in good] == [200, 200, 200, 200]
    assert good[0].endswith(b"\r\n\r\nok\n")
    assert b"canary_alive 1.0" in good[2]
    assert good[3].endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in good[3]
    odd = ("/", "/metrics/", "/../metrics", "//metrics", "/etc/passwd", "/healthz/..", "/%6detrics")
    assert {status(answer) for answer in page(board(), *map(get, odd))} == {404}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_it_can_only_be_read(method):
    """Any other method is refused with what is allowed."""
    (answer,) = page(board(), get("/metrics", method=method))
    assert status(answer) == 405
    assert b"Allow: GET, HEAD" in answer


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (get("/metrics", "localhost:9108"), 200),
        (get("/metrics", "[::1]:9108"), 200),
        (get("/metrics", "evil.example"), 421),
        (get("/metrics", "127.0.0.1.evil.example:9108"), 421),
        (get("/metrics", "10.0.0.1"), 421),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n", 400),
        (b"GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_strangers_and_rubbish_are_turned_away(request_, expected):
    """A foreign or doubled Host, a proxy request, TLS on a plain port and a head without end get a short refusal."""
    (answer,) = page(board(), request_)
    assert status(answer) == expected


def test_many_idle_connections_do_not_stop_the_next_minute():
    """Connections beyond the limit are closed at once, and a place is free again when one ends."""

    async def talk() -> tuple[bytes, bytes]:
        server = Server(board(), lambda: 1000.0, lambda: NOW)
        at = await server.start("127.0.0.1:0")
        host, port = at.removeprefix("http://").split(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(MAX_CONNECTIONS)]
        try:
            refused = await ask_page(at, get("/healthz"))
        except ConnectionError:
            refused = b""
        for reader, writer in idle:
            writer.write(get("/healthz"))
            assert status(await reader.read()) == 200
            writer.close()
        answer = await ask_page(at, get("/healthz"))
        await server.stop()
        return refused, answer

    refused, answer = asyncio.run(talk())
    assert refused == b""
    assert status(answer) == 200


def test_a_busy_port_is_said(tmp_path):
    """A port that another program has is told in words, with what to change; nothing raises."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (tmp_path / "config.yaml").write_text(f"serve: {{listen: '127.0.0.1:{port}'}}\n")
        wanted = load_config(Found(tmp_path / "config.yaml", "test"), {}).serve
        said = asyncio.run(Server(board()).follow(wanted))
    assert f"127.0.0.1:{port} cannot be used" in said
    assert "serve.listen" in said


@pytest.mark.parametrize("listen", ["0.0.0.0:9108", "[::]:9108", "10.0.0.1:80", "9108", "127.0.0.1:70000", "a:1"])
def test_it_listens_on_this_machine_only(tmp_path, listen):
    """Any address that others could reach is refused by the config, with its line."""
    (tmp_path / "config.yaml").write_text(f"serve:\n  listen: '{listen}'\n")
    with pytest.raises(InputError, match=r"config\.yaml:2:(.|\n)*127\.0\.0\.1:9108"):
        load_config(Found(tmp_path / "config.yaml", "test"), {})


# ---------------------------------------------------------------- what is well
def test_what_is_unwell_and_what_that_means():
    """Not alive, not ready and not well are three things; each says why and none says more than it knows."""
    assert unwell(board(), 1000.0, NOW) == {"evaluation": [], "data": [], "delivery": []}
    failed = board()
    failed.health.ended(990.0, "a text with a path in it")
    (health, ready) = page(failed, get("/healthz"), get("/readyz"))
    assert (status(health), status(ready)) == (200, 503)
    assert b"a path" not in ready
    old = board()
    old.health.tick_ended_s = -1000.0
    assert status(page(old, get("/healthz"))[0]) == 503
    assert unwell(board(recorded=True), 1000.0, NOW)["data"] == ["prices are recorded ones, not live"]
    assert unwell(board(btc_known=False), 1000.0, NOW)["data"] == ["the price of bitcoin is not known"]
    assert unwell(board(reports=()), 1000.0, NOW)["data"] == ["no source answered"]
    late = board()
    late.post = Post({"telegram": 1}, NOW - timedelta(seconds=POST_LIMIT_S + 1))
    assert len(unwell(late, 1000.0, NOW)["delivery"]) == 1
    dead = board()
    dead.post = Post(broken=("telegram",))
    assert unwell(dead, 1000.0, NOW)["delivery"] == ["refused for good by telegram"]


# ---------------------------------------------------------------- metrics
def test_metrics_say_what_the_board_says():
    """Ages are as of now and never negative, every state is there with zero, unknown numbers have no sample."""
    told = samples(board())
    assert told["canary_tick_age_seconds"] == 60
    assert told['canary_feed_age_seconds{feed="kraken"}'] == 61
    assert told['canary_feed_up{feed="coinbase"}'] == 0
    assert told['canary_alerts{severity="critical",state="firing"}'] == 2
    assert told['canary_alerts{severity="info",state="error"}'] == 0
    assert told['canary_rule_errors{rule="Odd"}'] == 1
    assert told['canary_debt_usd{borrower="alpha"}'] == 4e8
    assert told['canary_liquidity_locked_12m{borrower="alpha"}'] == 0.8
    assert told['canary_dscr{borrower="alpha",facility="spv"}'] == 1.1
    assert told["canary_btc_usd"] == 60_000
    assert not [name for name in told if "debt_usd" in name and "beta" in name]
    assert told['canary_borrower_blind{borrower="beta"}'] == told["canary_borrowers_blind"] == 1
    assert told['canary_well{part="data"}'] == 1
    assert told["process_resident_memory_bytes"] > 1e6
    back = samples(board(newest={"kraken": NOW + timedelta(days=1)}))
    assert back['canary_feed_age_seconds{feed="kraken"}'] == 0


def message(number: int, channel: str = "telegram") -> Message:
    """A message to a chat."""
    return Message(f"m{number}", "desk", channel, CHAT, "notice", "warning", "A secret title", (), NOW)


def test_the_post_is_counted_without_its_chats(tmp_path):
    """Depth, age of the oldest, outcomes and attempts come from the outbox; no chat, title or id is among them."""
    with Store(tmp_path / "canary.sqlite") as store:
        store.queue([message(number) for number in range(4)])
        store.expire(NOW - timedelta(seconds=90))
        for end in (store.mark_dead, lambda row, _: store.mark_sent(row, NOW)):
            row = store.claim(store.due(NOW)[0], "a")
            end(row, "no")
        seen = board()
        seen.post = post_of([store])
        assert seen.post.broken == ()
        row = store.claim(store.due(NOW)[0], "a")
        store.mark_dead(row, "no")
        assert post_of([store]).broken == ("telegram",)
        with Store(tmp_path / "recorded.sqlite") as other:
            assert post_of([store, other]).broken == ("telegram",)
    told = samples(seen)
    assert told['canary_outbox_messages{channel="telegram"}'] == 2
    assert told["canary_outbox_oldest_age_seconds"] == 90
    assert told['canary_messages_total{channel="telegram",outcome="sent"}'] == 1
    assert told['canary_messages_total{channel="telegram",outcome="dead"}'] == 1
    assert told['canary_send_attempts_total{channel="telegram"}'] == 2
    text = exposition(seen, 1000.0, NOW).decode()
    assert not [word for word in (CHAT, "secret", "desk", "m0") if word in text]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_prometheus_likes_the_names():
    """promtool finds nothing wrong with names, units and types of our own metrics."""
    lines = exposition(board(), 1000.0, NOW).decode().splitlines()
    text = "\n".join(line for line in lines if "canary_" in line) + "\n"
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- the sign of life
def test_a_heartbeat_only_while_all_is_well():
    """The address is asked while all is well, not at all otherwise, and only a change is said."""
    seen = board()
    pulse = Pulse(seen, lambda: 1000.0)
    with Loopback() as server:
        server.on("/secret-path", Answer(200))
        to = Place(f"{server.url}/secret-path")
        said = [asyncio.run(pulse.beat(to, NOW)) for _ in range(2)]
        assert (said, len(server.requests)) == (["heartbeat sent", ""], 2)
        assert seen.heartbeat_s == 1000.0
        seen.picture = replace(seen.picture, btc_known=False)
        said = [asyncio.run(pulse.beat(to, NOW)) for _ in range(2)]
        assert said == ["heartbeat held back: data: the price of bitcoin is not known", ""]
        assert len(server.requests) == 2
    seen.picture = replace(seen.picture, btc_known=True)
    gone = asyncio.run(pulse.beat(to, NOW))
    assert "cannot be reached" in gone
    assert "secret-path" not in gone + repr(to)
    assert seen.heartbeat_failures == 1


def test_a_heartbeat_follows_no_redirect():
    """Another host must not learn that all is well: a redirect is a failure."""
    with Loopback() as server:
        server.on("/ping", Answer(302, headers={"Location": f"{server.url}/elsewhere"}))
        assert asyncio.run(ask(f"{server.url}/ping")) == "it answered HTTP 302"
        assert server.asked("/elsewhere") == []


def test_the_address_is_a_secret(tmp_path):
    """It comes from the environment or a file, must be encrypted on its way, and is never repeated in an error."""
    (tmp_path / "config.yaml").write_text("heartbeat: {url_env: BEAT}\n")
    config = load_config(Found(tmp_path / "config.yaml", "test"), {})
    assert place(config, {"BEAT": "https://hc.example/abc"}).url == "https://hc.example/abc"
    plain = place(config, {"BEAT": "http://hc.example/abc"})
    assert plain.url is None
    assert "https://" in plain.fault
    assert "abc" not in plain.fault
    assert "BEAT" in place(config, {}).fault


# ---------------------------------------------------------------- inside the daemon
def test_the_daemon_serves_what_it_evaluated(tmp_path):
    """The page is there before the first evaluation, names recorded prices as such, and goes when it is edited away."""
    lay_desk(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG + "serve: {listen: '127.0.0.1:0'}\n")
    screen = Notes()

    async def scenario() -> tuple[bytes, bytes]:
        daemon = Daemon(lambda: load_config(Found(tmp_path / "config.yaml", "test"), {}), {}, screen, offline=True)
        async with daemon.opened():
            await daemon._serve()
            at = daemon.news[0].split()[1].removesuffix("/")
            before = await ask_page(at, get("/readyz"))
            await daemon.evaluate()
            metrics = await ask_page(at, get("/metrics"))
            (tmp_path / "config.yaml").write_text(CONFIG + "serve: {enabled: false}\n")
            await daemon.evaluate()
            with pytest.raises(OSError, match=r"refused|failed"):
                await ask_page(at, get("/metrics"))
            return before, metrics

    before, metrics = asyncio.run(scenario())
    assert status(before) == 503
    assert b"canary_recorded 1.0" in metrics
    assert b'canary_debt_usd{borrower="alpha"} 4e+08' in metrics
    assert b'canary_messages_total{channel="console",outcome="sent"} 1.0' in metrics
    assert any("serve.enabled is false" in text for text in screen.said)


def test_the_daemon_beats_only_when_it_may(tmp_path):
    """Nothing is sent offline, on recorded prices, or before an evaluation; a held heartbeat is said once."""
    lay_desk(tmp_path)
    off = "".join(f"  {feed.name}: {{enabled: false}}\n" for feed in discover() if feed.name != "file")
    (tmp_path / "config.yaml").write_text(
        f"{CONFIG}serve: {{enabled: false}}\nheartbeat: {{url_env: BEAT}}\nfeeds:\n{off}"
    )
    screen = Notes()

    async def beats(url: str, offline: bool) -> None:
        load = lambda: load_config(Found(tmp_path / "config.yaml", "test"), {})  # noqa: E731
        daemon = Daemon(load, {"BEAT": url}, screen, offline=offline)
        async with daemon.opened():
            await daemon.heartbeat()
            await daemon.evaluate()
            await daemon.heartbeat()
            await daemon.heartbeat()
            good = replace(daemon.board.picture, recorded=False, btc_known=True)
            daemon.board.picture = good
            await daemon.heartbeat()

    with Loopback() as server:
        server.on("/beat", Answer(200))
        asyncio.run(beats(f"{server.url}/beat", offline=True))
        assert server.requests == []
        asyncio.run(beats(f"{server.url}/beat", offline=False))
        assert [request.method for request in server.asked("/beat")] == ["GET"]
    said = [text for text in screen.said if "heartbeat" in text]
    assert said == ["heartbeat held back: data: prices are recorded ones, not live", "heartbeat sent"]
