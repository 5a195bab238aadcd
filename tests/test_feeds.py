"""What every price source must keep to, and what each one makes of good and bad answers over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import more_answers
import pytest
import stamina
from loopback import Answer, Loopback
from more_answers import FEEDS, settings

import monitor.feeds
from monitor.feeds import Feed, FeedSettings, Off, discover, fetch_all, series_specs
from monitor.feeds.coinbase import Coinbase
from monitor.feeds.file import RECORDED, FileFeed, csv_files, parse_csv, recorded
from monitor.feeds.gpu_catalogue import PROVIDERS, GpuCatalogue, board_model, panel_prices, read_zip
from monitor.feeds.http import Client, new_http, parse_json, user_agent
from monitor.feeds.kraken import Kraken
from monitor.feeds.mempool import Mempool
from monitor.market import Tape, quotes
from monitor.model import MARKET, FeedError, FeedReport, InputError, Observation, end_of_day
from monitor.series import SERIES, fault

NOW = datetime(2026, 8, 14, 12, tzinfo=UTC)
HTML = Answer(200, b"<!DOCTYPE html><html><body>Maintenance</body></html>", {"Content-Type": "text/html"})
NETWORK = [type(feed) for feed in FEEDS if feed.hosts and not feed.needs_package]


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries happen at once, as often as in earnest."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    """A fresh server per test."""
    with Loopback() as running:
        yield running


def ask(
    feed_class: type[Feed], server: Loopback, now: datetime = NOW, **more: float
) -> tuple[list[Observation], FeedReport]:
    """One source against the loopback server, through the same door the tick uses."""
    feed = feed_class(settings(server.url, **more))
    observations, reports = asyncio.run(fetch_all([feed], now, 5.0))
    return observations, reports[0]


def values(observations: list[Observation]) -> dict[str, float]:
    return {observation.series: observation.value for observation in observations}


# ---------------------------------------------------------------- payloads in the shape the sources speak
def ticker(price: object = "62100.25", time: object = "2026-08-14T11:59:58.123456Z") -> Answer:
    """A Coinbase ticker; the fields stand in another order than documented, which must not matter."""
    fields = {"volume": "8123.4", "time": time, "size": "0.01", "price": price, "bid": "62099", "ask": "62101"}
    return Answer.json(fields)


def coinbase_ok(server: Loopback) -> None:
    server.on("/products/BTC-USD/ticker", ticker())
    server.on("/products/ETH-USD/ticker", ticker("2510.5"))


def pair(price: str) -> dict[str, object]:
    return {"v": ["1", "2"], "o": price, "c": [price, "0.5"], "a": [price, "1", "1.000"], "b": [price, "1", "1.000"]}


def kraken_ok(server: Loopback) -> None:
    result = {"XETHZUSD": pair("2511.00"), "XXBTZUSD": pair("62150.10")}
    server.on("/0/public/Ticker", Answer.json({"result": result, "error": []}))


HASHRATE = "/api/v1/mining/hashrate/3d"
REWARD = "/api/v1/mining/reward-stats/144"


def mempool_ok(server: Loopback) -> None:
    hashrates = [{"timestamp": 1786600000, "avgHashrate": 1_050_000_000_000_000_000_000}]
    server.on(HASHRATE, Answer.json({"hashrates": hashrates, "difficulty": [], "currentDifficulty": 150123456789012.5}))
    stats = {"startBlock": 961857, "endBlock": 962000, "totalReward": "45700000000", "totalFee": "700000000"}
    server.on(REWARD, Answer.json(stats))


COLUMNS = "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor,flags"


def catalogue(*rows: str) -> str:
    return "\n".join([COLUMNS, *rows]) + "\n"


def machine(
    price: float, name: str = "h100-x8", gpu: str = "H100", count: int = 8, memory: int = 80, spot: bool = False
) -> str:
    return f"{name},us-east,{price},192,2048,{count},{gpu},{memory},{spot},,nvidia,"


def zipped(text: str, name: str) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return memory.getvalue()


def provider(server: Loopback, name: str, text: str, version: str = "20260814-12") -> None:
    server.on(f"/v3/{name}/version", Answer(200, f"{version}\n".encode()))
    server.on(f"/v3/{name}/{version}/catalog.zip", Answer(200, zipped(text, f"{name}.csv")))


def gpu_ok(server: Loopback) -> None:
    for number, name in enumerate(PROVIDERS[:4]):
        provider(server, name, catalogue(machine(8 * (2.5 + number))))


GOOD = {
    "coinbase": coinbase_ok,
    "kraken": kraken_ok,
    "mempool": mempool_ok,
    "gpu_catalogue": gpu_ok,
    **more_answers.GOOD,
}
PATHS = {
    "coinbase": [f"/products/{product}/ticker" for product in ("BTC-USD", "ETH-USD")],
    "kraken": ["/0/public/Ticker"],
    "mempool": [HASHRATE, REWARD],
    "gpu_catalogue": [f"/v3/{name}/version" for name in PROVIDERS],
    **more_answers.PATHS,
}


# ---------------------------------------------------------------- what every source keeps to
@pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.name)
def test_every_source_declares_itself(feed: Feed) -> None:
    """Name, known series, hosts, time limit and maximum ages are stated once and make sense."""
    assert feed.name.isidentifier()
    assert feed.series
    assert set(feed.series) <= set(SERIES)
    assert 0 < feed.limit_s <= 60
    assert all("/" not in host and ":" not in host for host in feed.hosts)
    assert set(feed.max_age_s) == set(feed.series)
    assert all(age > 0 for age in feed.max_age_s.values())
    assert feed.lag >= timedelta(0)


def test_source_names_are_unique_and_follow_their_files() -> None:
    """A configuration names a source by its file."""
    names = [feed.name for feed in discover()]
    assert len(set(names)) == len(names)
    files = {path.stem for path in Path(monitor.feeds.__file__).parent.glob("*.py")} - {"__init__", "http"}
    assert set(names) == files


def test_every_source_of_the_folder_has_a_captured_answer() -> None:
    """A new file in the folder without the shape of its answers fails here first.

    Files speak no network, and equities go through a package whose frame is captured instead (test_equities.py).
    """
    sources = {path.stem for path in Path(monitor.feeds.__file__).parent.glob("*.py")} - {"__init__", "http"}
    assert sources - {"file", "equities"} == set(GOOD) == set(PATHS)
    assert {feed_class.name for feed_class in NETWORK} == set(GOOD)


@pytest.mark.parametrize("feed_class", NETWORK, ids=lambda feed: feed.name)
def test_a_good_answer_gives_honest_observations(feed_class: type[Feed], server: Loopback) -> None:
    """Units, times and source are stated; nothing is younger than now; the report agrees."""
    GOOD[feed_class.name](server)
    observations, report = ask(feed_class, server)
    assert report.ok
    assert report.observations == len(observations) > 0
    for observation in observations:
        assert observation.series in feed_class.series
        assert fault(observation, SERIES[observation.series]) == ""
        assert observation.observed_at <= observation.known_at <= NOW
        assert observation.known_at == NOW or feed_class.known_basis == "published"
        assert observation.known_basis == feed_class.known_basis
        assert observation.source
    assert report.newest == max(o.observed_at for o in observations)


BAD = {
    "page not found": Answer(404, b"{}"),
    "forbidden": Answer(403, b"{}"),
    "web page": HTML,
    "cut off": Answer(200, b'{"price": "62', {}, declared=13),
    "cut off while sending": Answer(200, b'{"price": "62', {}, declared=4_000),
    "empty": Answer(200, b""),
    "a list": Answer.json([]),
    "null": Answer.json(None),
    "a number": Answer.json(62100.25),
    "not a number": Answer(
        200, b'{"price": NaN, "currentDifficulty": NaN, "totalReward": NaN, "error": [], "result": NaN}'
    ),
    "infinite": Answer(
        200, b'{"price": 1e999, "time": "2026-08-14T11:59:58Z", "currentDifficulty": 1e999, "error": []}'
    ),
    "nested too deep": Answer(200, b"[" * 200_000),
    "not text": Answer(200, bytes(range(128, 256))),
    "busy": Answer(429, b"slow down"),
    "broken": Answer(500, b"oops"),
    "moved away": Answer(302, b"", {"Location": "https://evil.example/ticker"}),
    "moved to plain http": Answer(301, b"", {"Location": "http://api.kraken.com/"}),
    "moved to a file": Answer(301, b"", {"Location": "file:///etc/passwd"}),
    "moved in circles": Answer(302, b"", {"Location": "?again=1"}),
    "huge": Answer(200, b'{"price": "' + b"9" * 2_100_000 + b'"}'),
    "huge when unpacked": Answer(200, gzip.compress(b" " * 2_100_000), {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("bad", BAD, ids=list(BAD))
@pytest.mark.parametrize("feed_class", NETWORK, ids=lambda feed: feed.name)
def test_a_bad_answer_is_a_reason_and_no_number(feed_class: type[Feed], bad: str, server: Loopback) -> None:
    """Whatever comes instead of data, there is no observation, a printable reason, and no fault of our own."""
    for path in PATHS[feed_class.name]:
        server.on(path, BAD[bad])
    observations, report = ask(feed_class, server)
    assert observations == []
    assert not report.ok
    assert report.reason
    assert report.reason.isprintable()
    assert "own code" not in report.reason


@pytest.mark.parametrize("feed_class", NETWORK, ids=lambda feed: feed.name)
def test_a_source_that_hangs_is_given_up(feed_class: type[Feed], server: Loopback) -> None:
    """The time limit of a source ends its fetch, with a reason."""
    for path in PATHS[feed_class.name]:
        server.on(path, Answer(hang=True))
    observations, report = ask(feed_class, server, time_limit_s=0.2)
    assert observations == []
    assert "in time" in report.reason or "within" in report.reason
    assert report.seconds < 3


# ---------------------------------------------------------------- discovery
def test_a_source_switched_off_says_so() -> None:
    """The configuration can leave a source out by name."""
    off = {
        feed.name: feed.reason for feed in discover({"kraken": FeedSettings(enabled=False)}) if isinstance(feed, Off)
    }
    assert off["kraken"] == "switched off in the configuration"


def test_a_source_that_lacks_something_says_what_it_needs() -> None:
    """Without a key, a contact, a package or its name in the configuration a source is off, with the line to add."""
    off = {feed.name: feed.reason for feed in discover() if isinstance(feed, Off)}
    assert set(off) == {"coingecko", "edgar", "equities", "luxor"}
    assert "feeds: {luxor: {key_env: NAME_OF_A_VARIABLE}}" in off["luxor"]
    assert "feeds: {edgar: {contact: you@your.company}}" in off["edgar"]
    assert "feeds: {coingecko: {enabled: true}}" in off["coingecko"]
    named = {"equities": FeedSettings(), "luxor": FeedSettings(trouble="the environment variable X is not set")}
    off = {feed.name: feed.reason for feed in discover(named) if isinstance(feed, Off)}
    assert off["luxor"] == "the environment variable X is not set"
    if find_spec("yfinance") is None:
        assert "pip install 'compute-canary[equities]'" in off["equities"]


def test_a_source_whose_part_is_missing_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that needs something not installed is listed with its reason and stops no other."""
    (tmp_path / "zz_needs_more.py").write_text("import not_installed_anywhere\n")
    monkeypatch.setattr(monitor.feeds, "__path__", [*monitor.feeds.__path__, str(tmp_path)])
    found = discover()
    usual = {"coingecko", "edgar", "equities", "luxor"}
    assert {f.name for f in found if isinstance(f, Feed)} == {feed.name for feed in FEEDS} - usual
    (off,) = (f for f in found if isinstance(f, Off) and f.name not in usual)
    assert off.name == "zz_needs_more"
    assert "off because" in off.reason
    assert "not_installed_anywhere" in off.reason
    assert off.file == str(tmp_path / "zz_needs_more.py")


def test_a_configured_age_tightens_its_series_only() -> None:
    """A maximum age of a source counts for what it gives live."""
    specs = series_specs([Kraken(FeedSettings(max_age_s=600)), Coinbase()])
    assert specs["btc_usd"].max_age_live_s == 600
    assert specs["difficulty"] == SERIES["difficulty"]


# ---------------------------------------------------------------- the client
def test_requests_carry_an_honest_name(server: Loopback) -> None:
    """The program says who it is, and asks for exactly what is documented."""
    kraken_ok(server)
    ask(Kraken, server)
    (request,) = server.asked("/0/public/Ticker")
    assert request.headers["User-Agent"] == user_agent()
    assert user_agent().startswith("compute-canary")
    assert request.query == "pair=XBTUSD,ETHUSD"


@pytest.mark.parametrize("first", [Answer(429), Answer.json({}, 429, retry_after="1"), Answer(500), Answer(drop=True)])
def test_a_busy_source_is_asked_again(first: Answer, server: Loopback) -> None:
    """One refusal or error of the server, with or without a time to wait, does not lose the tick."""
    kraken_ok(server)
    good = server._answers["/0/public/Ticker"]
    server.on("/0/public/Ticker", first, *good)
    observations, report = ask(Kraken, server)
    assert report.ok
    assert len(observations) == 2
    assert len(server.asked("/0/public/Ticker")) == 2


def test_an_answer_longer_than_allowed_is_given_up(server: Loopback) -> None:
    """Even a valid answer is refused when it is padded to megabytes."""
    kraken_ok(server)
    (good,) = server._answers["/0/public/Ticker"]
    server.on("/0/public/Ticker", Answer(200, good.body + b" " * 2_000_000))
    assert "more than 2,000,000 bytes" in ask(Kraken, server)[1].reason


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_json_does_not_know_is_refused(constant: bytes) -> None:
    """NaN and Infinity are not JSON, wherever they stand."""
    with pytest.raises(FeedError, match="is not a number"):
        parse_json(b'{"unused": ' + constant + b"}", "example.org")


def test_a_source_is_asked_three_times_at_most(server: Loopback) -> None:
    """A source that stays broken is left alone until the next tick."""
    server.on("/0/public/Ticker", Answer(500))
    _, report = ask(Kraken, server)
    assert len(server.asked("/0/public/Ticker")) == 3
    assert "HTTP 500" in report.reason


def test_a_wait_longer_than_the_tick_is_respected_by_leaving(server: Loopback) -> None:
    """Retry-After beyond the time limit means no second request now; the reason says what was asked for."""
    server.on("/0/public/Ticker", Answer(429, b"", {"Retry-After": "3600"}))
    _, report = ask(Kraken, server)
    assert len(server.asked("/0/public/Ticker")) == 1
    assert "asks to wait 3600 s" in report.reason


def test_a_redirect_on_the_same_host_is_followed(server: Loopback) -> None:
    """A source may move a page on its own host."""
    kraken_ok(server)
    server.on("/new", *server._answers["/0/public/Ticker"])
    server.on("/0/public/Ticker", Answer(301, b"", {"Location": "/new"}))
    assert ask(Kraken, server)[1].ok


def test_a_redirect_to_another_host_is_refused_before_it_is_visited(server: Loopback) -> None:
    """Even another server of this machine is another host."""
    with Loopback() as other:
        kraken_ok(other)
        server.on("/0/public/Ticker", Answer(302, b"", {"Location": f"{other.url}/0/public/Ticker"}))
        observations, report = ask(Kraken, server)
        assert observations == []
        assert "not a host of this source" in report.reason
        assert other.requests == []


def test_nobody_listening_is_a_reason() -> None:
    """A refused connection is named for what it is."""
    with Loopback() as gone:
        pass
    _, report = ask(Kraken, gone)
    assert "cannot be reached" in report.reason


def test_a_source_speaks_only_to_its_own_hosts() -> None:
    """Without an override nothing but the declared hosts over https is allowed."""
    assert Kraken().origins == ("https://api.kraken.com",)

    async def stray() -> None:
        async with new_http() as http:
            await Client(http, Kraken().origins, NOW, 1.0).get_json("http://127.0.0.1:9/secret")

    with pytest.raises(FeedError, match="not a host of this source"):
        asyncio.run(stray())


def test_foreign_text_cannot_paint_the_terminal(server: Loopback) -> None:
    """Control and direction characters of an error message never reach the reason, which stays short."""
    server.on("/0/public/Ticker", Answer.json({"error": ["EQuery:\x1b[2J\u202e\n" + "x" * 5000]}))
    _, report = ask(Kraken, server)
    assert report.reason.isprintable()
    assert len(report.reason) < 300


# ---------------------------------------------------------------- side by side
class Exploding(Feed):
    """A source with a mistake in its own code."""

    name = "exploding"
    series = ("btc_usd",)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        raise KeyError("price")


class Lying(Feed):
    """A source that gives what it must not."""

    name = "lying"
    series = ("btc_usd",)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        future = now + timedelta(days=2)
        return [
            Observation("btc_usd", 6_210_000.0, "cents", now, now, "Liar"),
            Observation("btc_usd", 62_100.0, "usd", future, now, "Liar"),
            Observation("eth_usd", 2_500.0, "usd", now, now, "Liar"),
            Observation("btc_usd", float("nan"), "usd", now, now, "Liar"),
        ]


def test_one_bad_source_never_stops_the_others(server: Loopback) -> None:
    """Beside one that hangs, one that breaks, one that lies and one with a bug, the good one's price arrives."""
    coinbase_ok(server)
    server.on("/0/public/Ticker", Answer(hang=True))
    server.on(HASHRATE, HTML)
    server.on(REWARD, Answer(500))
    here = FeedSettings(base_url=server.url)
    feeds = [Kraken(here), Exploding(), Coinbase(here), Lying(), Mempool(here)]
    observations, reports = asyncio.run(fetch_all(feeds, NOW, 0.7))
    assert values(observations) == {"btc_usd": 62100.25, "eth_usd": 2510.5}
    assert [(r.feed, r.ok) for r in reports] == [
        ("kraken", False),
        ("exploding", False),
        ("coinbase", True),
        ("lying", False),
        ("mempool", False),
    ]
    by_name = {report.feed: report.reason for report in reports}
    assert "own code: KeyError" in by_name["exploding"]
    assert "'cents'" in by_name["lying"]
    assert "future" in by_name["lying"]
    assert "none of its series" in by_name["lying"]
    assert "web page" in by_name["mempool"]


def test_no_sources_is_no_error() -> None:
    """An empty list of sources gives empty lists."""
    assert asyncio.run(fetch_all([], NOW)) == ([], [])


# ---------------------------------------------------------------- Coinbase
def test_coinbase_is_as_old_as_its_last_trade(server: Loopback) -> None:
    """The price carries the time of the trade, not of the request."""
    coinbase_ok(server)
    observations, _ = ask(Coinbase, server)
    assert values(observations) == {"btc_usd": 62100.25, "eth_usd": 2510.5}
    assert observations[0].observed_at == datetime(2026, 8, 14, 11, 59, 58, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    "answer",
    [
        ticker(price="abc"),
        ticker(price=True),
        ticker(price=None),
        ticker(price=["62100"]),
        ticker(price="-62100"),
        ticker(price="6210025"),  # cents
        ticker(price="0"),
        ticker(time="2026-08-14T11:59:58"),  # no zone
        ticker(time="2026-08-15T11:59:58Z"),  # tomorrow
        ticker(time="yesterday"),
        ticker(time=1786708798),
        Answer.json({"message": "NotFound"}),
    ],
)
def test_a_bad_product_leaves_the_other(answer: Answer, server: Loopback) -> None:
    """One product with a wrong price or time is left out with a reason; the other still counts."""
    coinbase_ok(server)
    server.on("/products/BTC-USD/ticker", answer)
    observations, report = ask(Coinbase, server)
    assert values(observations) == {"eth_usd": 2510.5}
    assert report.ok
    assert report.reason


def test_a_clock_slightly_ahead_is_forgiven(server: Loopback) -> None:
    """A trade dated two seconds after our clock is dated now."""
    coinbase_ok(server)
    server.on("/products/BTC-USD/ticker", ticker(time="2026-08-14T12:00:02Z"))
    assert ask(Coinbase, server)[0][0].observed_at == NOW


# ---------------------------------------------------------------- Kraken
def test_kraken_errors_arrive_as_success(server: Loopback) -> None:
    """HTTP 200 with an error list is a failure, and the code is said."""
    server.on("/0/public/Ticker", Answer.json({"error": ["EQuery:Unknown asset pair"]}))
    observations, report = ask(Kraken, server)
    assert observations == []
    assert "EQuery:Unknown asset pair" in report.reason


def test_kraken_warnings_do_not_hide_a_result(server: Loopback) -> None:
    """A warning beside a usable result is not a failure."""
    server.on("/0/public/Ticker", Answer.json({"error": ["WGeneral:Busy"], "result": {"XXBTZUSD": pair("62150.1")}}))
    observations, report = ask(Kraken, server)
    assert values(observations) == {"btc_usd": 62150.1}
    assert "XETHZUSD" in report.reason


@pytest.mark.parametrize("trade", [[], "62150.1", None, [["62150.1"]], ["NaN"]])
def test_kraken_without_a_last_trade_gives_nothing_for_that_pair(trade: object, server: Loopback) -> None:
    """A pair whose last trade has another shape is left out."""
    result = {"XXBTZUSD": {"c": trade}, "XETHZUSD": pair("2511")}
    server.on("/0/public/Ticker", Answer.json({"error": [], "result": result}))
    assert values(ask(Kraken, server)[0]) == {"eth_usd": 2511.0}


def test_two_venues_make_one_price(server: Loopback) -> None:
    """Coinbase and Kraken of one tick are the median price with both named."""
    coinbase_ok(server)
    kraken_ok(server)
    here = FeedSettings(base_url=server.url)
    observations, _ = asyncio.run(fetch_all([Coinbase(here), Kraken(here)], NOW, 5.0))
    quote = quotes(observations, NOW)["btc_usd", MARKET]
    assert quote.value == pytest.approx((62100.25 + 62150.10) / 2)
    assert "Coinbase" in quote.source
    assert "Kraken" in quote.source


# ---------------------------------------------------------------- mempool.space
def test_mempool_gives_difficulty_and_reward_per_block(server: Loopback) -> None:
    """457 BTC in 144 blocks are 3.17 BTC a block, fees included."""
    mempool_ok(server)
    observations, _ = ask(Mempool, server)
    assert values(observations) == {"difficulty": 150123456789012.5, "block_reward_btc": pytest.approx(457 / 144)}


@pytest.mark.parametrize(
    "stats",
    [
        {"startBlock": 961857, "endBlock": 962000, "totalReward": "457"},  # already BTC
        {"startBlock": 961857, "endBlock": 962000, "totalReward": "45700000000000"},
        {"startBlock": 961857, "endBlock": 961857, "totalReward": "45700000000"},
        {"startBlock": 962000, "endBlock": 961857, "totalReward": "45700000000"},
        {"startBlock": 961981, "endBlock": 962000, "totalReward": "6340000000"},  # twenty blocks are not a day
        {"startBlock": 961857, "endBlock": 962000},
    ],
)
def test_a_reward_in_another_unit_is_refused(stats: dict[str, object], server: Loopback) -> None:
    """Wrong units, wrong block ranges and missing fields never become a reward; difficulty still counts."""
    mempool_ok(server)
    server.on(REWARD, Answer.json(stats))
    observations, report = ask(Mempool, server)
    assert set(values(observations)) == {"difficulty"}
    assert report.reason


# ---------------------------------------------------------------- the GPU catalogue
def test_the_list_price_is_the_median_of_the_providers_medians(server: Loopback) -> None:
    """A provider with many regions weighs no more than one with a single page; prices are per GPU."""
    provider(server, "aws", catalogue(*(machine(8 * 4.0) for _ in range(40))))
    provider(server, "gcp", catalogue(machine(8 * 3.0), machine(8 * 3.0), machine(8 * 9.0)))
    provider(server, "oci", catalogue(machine(8 * 2.0)), version="20260812-7")
    observations, report = ask(GpuCatalogue, server)
    (row,) = observations
    assert (row.series, row.value, row.unit) == ("rent_h100_list_usd", 3.0, "usd/gpu-hour")
    assert row.observed_at == datetime(2026, 8, 12, tzinfo=UTC)  # as old as the oldest version in it
    assert "oci 2.00 (20260812-7)" in row.note
    assert "H200 withheld: listed by 0 providers" in report.reason


def test_two_providers_are_too_few(server: Loopback) -> None:
    """Below three providers the median is withheld with its reason."""
    provider(server, "aws", catalogue(machine(32)))
    provider(server, "gcp", catalogue(machine(24)))
    observations, report = ask(GpuCatalogue, server)
    assert observations == []
    assert "H100 withheld: listed by 2 providers, 3 needed" in report.reason


@pytest.mark.parametrize(
    ("gpu", "name", "count", "memory", "model"),
    [
        ("H100", "p5.48xlarge", 8, 80, "H100"),
        ("H100", "gpu_1x_h100_sxm5", 1, 80, "H100"),
        ("H100", "NVIDIA H100 80GB HBM3", 2, 80, "H100"),
        ("H100", "gpu_1x_h100_pcie", 1, 80, None),
        ("H100", "NVIDIA H100 PCIe", 8, 80, None),
        ("H100NVL", "NC40ads_H100_v5", 1, 94, None),
        ("H100", "NC80", 8, 94, None),
        ("H100", "small", 1, 80, None),
        ("GH200", "gpu_1x_gh200", 1, 96, None),
        ("GB200", "nvl72", 4, 186, None),
        ("A100", "p4de.24xlarge", 8, 80, "A100"),
        ("A100", "p4d.24xlarge", 8, 40, None),
        ("H200", "p5en", 8, 141, "H200"),
        ("B200", "one", 1, 180, "B200"),
        ("B2000", "x", 8, 180, None),
        ("A10", "x", 8, 24, None),
        ("H100", "fraction", 0.5, 80, None),
        ("", "", 8, 80, None),
    ],
)
def test_only_sxm_class_machines_count(gpu: str, name: str, count: float, memory: float, model: str | None) -> None:
    """Slot cards, other memory sizes, fractions and other models are other products."""
    assert board_model(gpu, name, count, memory) == model


def test_rows_that_are_not_a_price_are_skipped() -> None:
    """Spot rows, cents, undivided machines, nonsense and missing counts leave the honest rows."""
    text = catalogue(
        machine(8 * 2.5),
        *(machine(8 * 1.0, spot=True) for _ in range(9)),
        machine(8 * 250.0),  # cents
        machine(8 * 0.0001),
        machine(float("nan")),
        "h100-x8,us,,192,2048,8,H100,80,False,,,",
        "h100-x8,us,20,192,2048,,H100,80,False,,,",
        "h100-x8,us,20,192,2048,0,H100,80,False,,,",
        "h100-x8,us,20,192,2048,8,H100,80,,,,",
        "short,row",
    )
    assert panel_prices(text) == {"H100": 2.5}


def test_columns_may_come_in_another_order_but_not_be_missing() -> None:
    """Reordered columns are read by name; a missing one is a reason."""
    assert panel_prices("spot,gpu_name,gpu_count,price,instance_name\nFalse,H100,8,20,x\n") == {"H100": 2.5}
    with pytest.raises(FeedError, match="no column price"):
        panel_prices("spot,gpu_name,gpu_count,instance_name\nFalse,H100,8,x\n")


@pytest.mark.parametrize(
    "version", ["latest", "../../secret", "20260814-12/../..", "20261399-1", "20260901-1", "", "x" * 500]
)
def test_a_strange_version_is_refused(version: str, server: Loopback) -> None:
    """The version becomes part of an address and is the age of the data, so only a past day and a number will do."""
    gpu_ok(server)
    server.on("/v3/aws/version", Answer(200, version.encode()))
    observations, report = ask(GpuCatalogue, server)
    assert len(observations) == 1  # the three others are enough
    assert "aws: " in report.reason
    assert not [request for request in server.requests if "secret" in request.path]


def test_a_provider_whose_version_is_old_does_not_count(server: Loopback) -> None:
    """A collection that stopped a month ago is not a price of today."""
    gpu_ok(server)
    provider(server, "aws", catalogue(machine(8 * 2.5)), version="20260714-1")
    observations, report = ask(GpuCatalogue, server)
    assert "aws 2.50" not in observations[0].note
    assert "too old" in report.reason


def test_one_hanging_provider_does_not_lose_the_others(server: Loopback) -> None:
    """What the others answered is used when one never answers."""
    gpu_ok(server)
    server.on("/v3/nebius/version", Answer(hang=True))
    observations, report = ask(GpuCatalogue, server, time_limit_s=1.0)
    assert values(observations) == {"rent_h100_list_usd": pytest.approx(4.0)}
    assert "nebius: 127.0.0.1 did not answer in time" in report.reason


def test_an_unchanged_version_is_not_downloaded_again(server: Loopback) -> None:
    """The zip is read once per version; a provider that fails once keeps its panel and the median stays."""
    gpu_ok(server)
    feed = GpuCatalogue(FeedSettings(base_url=server.url))
    first, _ = asyncio.run(fetch_all([feed], NOW, 5.0))
    server.on("/v3/aws/version", Answer(500))
    second, reports = asyncio.run(fetch_all([feed], NOW + timedelta(minutes=15), 5.0))
    assert values(first) == values(second)
    assert len(server.asked("/v3/gcp/20260814-12/catalog.zip")) == 1
    assert "aws: " in reports[0].reason


def test_a_provider_that_changes_its_unit_keeps_its_last_prices(server: Loopback) -> None:
    """A version with the price of the machine for one GPU is left out with both numbers; the median stays."""
    for name in PROVIDERS[:4]:
        provider(server, name, catalogue(machine(8 * 2.0)))
    feed = GpuCatalogue(FeedSettings(base_url=server.url))
    asyncio.run(fetch_all([feed], NOW, 5.0))
    provider(server, PROVIDERS[0], catalogue(machine(64 * 2.0)), version="20260814-13")
    observations, (report,) = asyncio.run(fetch_all([feed], NOW + timedelta(hours=1), 5.0))
    assert values(observations) == {"rent_h100_list_usd": 2.0}
    assert f"{PROVIDERS[0]}: H100 at 16.00 after 2.00 USD looks like a machine of eight for one GPU" in report.reason
    provider(server, PROVIDERS[0], catalogue(machine(8 * 2.2)), version="20260814-14")
    observations, (report,) = asyncio.run(fetch_all([feed], NOW + timedelta(hours=2), 5.0))
    assert "2.20 (20260814-14)" in observations[0].note


def test_a_panel_that_is_kept_grows_too_old(server: Loopback) -> None:
    """A provider that does not answer for eight days drops out of the median."""
    gpu_ok(server)
    feed = GpuCatalogue(FeedSettings(base_url=server.url))
    asyncio.run(fetch_all([feed], NOW, 5.0))
    for name in PROVIDERS[1:4]:
        provider(server, name, catalogue(machine(8 * 3.0)), version="20260822-1")
    server.on("/v3/aws/version", Answer(500))
    observations, _ = asyncio.run(fetch_all([feed], NOW + timedelta(days=8), 5.0))
    assert values(observations) == {"rent_h100_list_usd": 3.0}
    assert "aws" not in observations[0].note


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    """A member that says it is huge is never read; one that hides its size is given up."""
    bomb = zipped("0" * 100_000_000, "aws.csv")
    assert len(bomb) < 200_000
    with pytest.raises(FeedError, match="unpacks to 100,000,000 bytes"):
        read_zip(bomb, "aws")
    lying = bomb.replace((100_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(FeedError, match="cannot be read"):
        read_zip(lying, "aws")


def test_only_the_named_member_of_a_zip_is_read() -> None:
    """Other names, other files and damaged zips are reasons."""
    with pytest.raises(FeedError, match=r"holds no aws\.csv"):
        read_zip(zipped("x", "../aws.csv"), "aws")
    good = zipped(catalogue(machine(20)), "aws.csv")
    with pytest.raises(FeedError, match="cannot be read"):
        read_zip(good[:-30], "aws")
    damaged = bytearray(good)
    damaged[60] ^= 0xFF
    with pytest.raises(FeedError, match="cannot be read"):
        read_zip(bytes(damaged), "aws")


# ---------------------------------------------------------------- files
def test_recorded_series_are_known_after_their_lag() -> None:
    """Every recorded row is plausible, carries its source, and was not known before it could be."""
    rows = recorded()
    assert {row.series for row in rows} >= {"btc_usd", "difficulty", "hashprice_usd_ph_day", "rent_h100_index_usd"}
    for row in rows:
        assert fault(row, SERIES[row.series]) == ""
        assert row.known_basis == "assumed"
        assert row.known_at >= row.observed_at
        assert row.restated == row.series.endswith("_index_usd")


def test_a_recorded_close_is_observed_at_the_end_of_its_day() -> None:
    """The close of 30 June 2026 is 58,525.08 USD and exists from midnight on."""
    (row,) = (r for r in recorded() if r.series == "btc_usd" and r.observed_at == end_of_day(date(2026, 6, 30)))
    assert row.value == 58_525.08
    assert "Coin Metrics" in row.source


def test_recorded_prices_are_never_in_doubt() -> None:
    """The jump limits let the real past pass: no recorded row is quarantined on its day."""
    rows = recorded()
    tape = Tape(rows)
    for moment in sorted({row.known_at for row in rows}):
        assert [quote.in_doubt for quote in tape.quotes(moment).values() if quote.in_doubt] == []


def test_evaluated_as_of_the_newest_close_the_recorded_market_is_fresh() -> None:
    """Frozen at the newest close, bitcoin and the rental index are known and hashprice says which input is old."""
    rows = recorded()
    now = max(row.observed_at for row in rows if row.series == "btc_usd")
    found = quotes(rows, now)
    assert found["btc_usd", MARKET].known
    assert all(found[f"rent_{model}_index_usd", MARKET].known for model in ("a100", "h100", "h200", "b200"))
    assert "difficulty" in found["hashprice_usd_ph_day", MARKET].reason


def test_hashprice_of_january_is_derived_near_the_published_one() -> None:
    """With the difficulty of that week the derived hashprice is within 3 % of the index."""
    now = end_of_day(date(2026, 1, 12))
    derived = quotes(recorded(), now)["hashprice_usd_ph_day", MARKET]
    assert derived.quality == "derived"
    assert derived.value == pytest.approx(39.53, rel=0.03)


def test_the_file_source_gives_only_what_is_known_by_now() -> None:
    """The file source never looks ahead of the moment it is asked for."""
    observations, reports = asyncio.run(fetch_all([FileFeed()], datetime(2026, 3, 1, tzinfo=UTC)))
    assert reports[0].ok
    assert reports[0].reason == ""
    assert max(o.known_at for o in observations) == datetime(2026, 3, 1, tzinfo=UTC)


HEADER = "date,series,value,unit,source,known_lag"


def test_a_desk_drops_its_own_csv(tmp_path: Path) -> None:
    """Files of a desk's folder are read beside the recorded ones; a bad one is named by file and line only."""
    (tmp_path / "sofr.csv").write_text(f"{HEADER}\n2026-08-12,sofr,3.65%,ratio,NY Fed,1d\n")
    (tmp_path / "bad.csv").write_text(
        f"{HEADER}\n2026-08-12,sofr,3.65%,ratio,NY Fed,1d\n2026-08-13,sofr,x,ratio,NY Fed,1d\n"
    )
    (tmp_path / "readme.txt").write_text("not a price")
    observations, reports = asyncio.run(fetch_all([FileFeed(FeedSettings(folder=tmp_path))], NOW))
    assert values(observations)["sofr"] == pytest.approx(0.0365)
    assert reports[0].ok
    assert "bad.csv: line 3:" in reports[0].reason


def test_a_missing_folder_is_a_reason(tmp_path: Path) -> None:
    """A folder that is not there stops the file source with its name."""
    _, reports = asyncio.run(fetch_all([FileFeed(FeedSettings(folder=tmp_path / "gone"))], NOW))
    assert "gone cannot be read" in reports[0].reason


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("date;series;value\n", 1, "no column date, series, value, unit, source, known_lag"),
        (f"{HEADER},colour\n", 1, "unknown column 'colour'"),
        (f"{HEADER},date\n", 1, "named twice"),
        ("", 1, "no column date"),
        (f"{HEADER}\n14.08.2026,btc_usd,62100,usd,us,0\n", 2, "'14.08.2026' is not a date"),
        (f"{HEADER}\n2026-08-14T10:00:00,btc_usd,62100,usd,us,0\n", 2, "is not a date"),
        (f"{HEADER}\n2026-08-14,btc,62100,usd,us,0\n", 2, "no series is called 'btc'"),
        (f"{HEADER}\n2026-08-14,btc_usd,many,usd,us,0\n", 2, "'many' is not a number"),
        (f"{HEADER}\n2026-08-14,btc_usd,NaN,usd,us,0\n", 2, "is not a number"),
        (f"{HEADER}\n2026-08-14,btc_usd,30d,usd,us,0\n", 2, "length of time"),
        (f"{HEADER}\n2026-08-14,btc_usd,-1,usd,us,0\n", 2, "below any plausible"),
        (f"{HEADER}\n2026-08-14,btc_usd,6210000,usd,us,0\n", 2, "above any plausible"),
        (f"{HEADER}\n2026-08-14,btc_usd,62100,cents,us,0\n", 2, "in 'cents', expected 'usd'"),
        (f"{HEADER}\n2026-08-14,btc_usd,62100,usd,,0\n", 2, "source must be"),
        (f"{HEADER}\n2026-08-14,btc_usd,62100,usd,\x1b[2J,0\n", 2, "printable"),
        (f"{HEADER}\n2026-08-14,btc_usd,62100,usd,us,soon\n", 2, "known_lag"),
        (f"{HEADER}\n2026-08-14,btc_usd,62100,usd,us,-5d\n", 2, "known_lag"),
        (f"{HEADER}\n2026-08-14,btc_usd,62,100,usd,us,0\n", 2, "more or fewer fields"),
        (f"{HEADER}\n2026-08-14,btc_usd,62100\n", 2, "more or fewer fields"),
        (f"{HEADER}\n" + "2026-08-14,btc_usd,62100,usd,us,0\n" * 2, 3, "twice"),
        (f'{HEADER}\n2026-08-14,btc_usd,"62100"x,usd,us,0\n', 2, "is not CSV"),
        (f"{HEADER},subject\n2026-08-14,cds_5y_bp,452,bp,us,0,\n", 2, "takes a borrower id"),
        (f"{HEADER},subject\n2026-08-14,btc_usd,62100,usd,us,0,coreweave\n", 2, "takes no subject"),
        (f"{HEADER},subject\n2026-08-14,cds_5y_bp,452,bp,us,0,../x\n", 2, "is not a borrower id"),
        (f"{HEADER},quality\n2026-08-14,btc_usd,62100,usd,us,0,rumour\n", 2, "unknown quality 'rumour'"),
        (f"{HEADER},restated\n2026-08-14,btc_usd,62100,usd,us,0,maybe\n", 2, "restated is 'maybe'"),
    ],
)
def test_a_mistake_in_a_csv_says_its_line(text: str, line: int, says: str) -> None:
    """Every mistake names the file, the line and what is wrong, and no row of that file is used."""
    with pytest.raises(InputError) as caught:
        parse_csv(text, "desk.csv")
    found = [problem for problem in caught.value.problems if says in problem.message]
    assert found, str(caught.value)
    assert (found[0].file, found[0].line) == ("desk.csv", line)


def test_all_mistakes_are_told_at_once() -> None:
    """Two wrong rows and two mistakes in one row are three problems, and a flood is cut."""
    text = f"{HEADER}\n2026-08-14,btc,many,usd,us,0\nx,btc_usd,62100,usd,us,0\n"
    with pytest.raises(InputError) as caught:
        parse_csv(text, "desk.csv")
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError) as flooded:
        parse_csv(f"{HEADER}\n" + "x,btc_usd,62100,usd,us,0\n" * 500, "desk.csv")
    assert len(flooded.value.problems) == 50


def test_recorded_files_name_their_original_source() -> None:
    """A source is where the value was published, not where a copy of it lies."""
    for file in csv_files(RECORDED):
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                assert row["source"]
                assert "github" not in row["source"].lower()
                assert "public file" not in row["source"]


def test_loopback_addresses_are_only_for_tests() -> None:
    """Every shipped source speaks https to a named host."""
    for feed in FEEDS:
        assert all(urlsplit(origin).scheme == "https" for origin in feed.origins)
