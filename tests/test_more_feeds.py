"""What the further sources make of good, spoiled and refused answers: one matrix over all of them, on loopback HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import stamina
from loopback import Answer, Loopback
from more_answers import FEEDS, GOOD, NOW, PATHS, SOURCES, Rows, azure_row, fields, raw, settings, tether

from monitor.feeds import Feed, fetch_all
from monitor.feeds.http import Client, new_http
from monitor.feeds.skypilot import offers as catalogue_offers
from monitor.index import offer_of, rental_index
from monitor.model import FeedReport, Observation
from monitor.series import SERIES, fault

CLASSES = {feed.name: type(feed) for feed in FEEDS}
NAMES = sorted(SOURCES)
#: every source with a captured answer; filings have no values to scale and are tested further in test_filings.py
EVERY = sorted(GOOD)
DATED = [name for name in NAMES if SOURCES[name].before is not None]
WITH_HISTORY = ["blockchain_com", "deribit", "fred", "nyfed", "ornn"]


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


def class_of(name: str) -> type[Feed]:
    """The source of that name; every series it gives is declared."""
    assert set(CLASSES[name].series) <= set(SERIES)
    return CLASSES[name]


def ask(name: str, url: str, limit_s: float | None = None) -> tuple[dict[str, float], FeedReport]:
    """(what it says, its report), through the same door the tick uses; raw offers by their subject."""
    feed = class_of(name)(settings(url, time_limit_s=limit_s))
    observations, (report,) = asyncio.run(fetch_all([feed], NOW, 5.0))
    return {key(name, o): o.value for o in observations}, report


def key(name: str, observation: Observation) -> str:
    return (
        observation.subject.removeprefix(f"{name}/") if observation.series.startswith("offer_") else observation.series
    )


def write(name: str, server: Loopback, rows: Rows, **how: bool) -> None:
    SOURCES[name].write(server, rows, **how)


def refused(name: str, found: dict[str, float], report: FeedReport) -> None:
    """Nothing was said, a printable reason was given, and it is not a fault of our own."""
    assert found == {}
    assert not report.ok
    assert report.reason
    assert report.reason.isprintable()
    assert "own code" not in report.reason


# ---------------------------------------------------------------- the good answer
@pytest.mark.parametrize("name", NAMES)
def test_a_good_answer_is_read_with_its_units_and_times(name: str, server: Loopback) -> None:
    """The values are those of the source in our units; none is younger than now; the report agrees."""
    GOOD[name](server)
    feed = class_of(name)(settings(server.url))
    observations, (report,) = asyncio.run(fetch_all([feed], NOW, 5.0))
    assert {key(name, o): o.value for o in observations} == pytest.approx(SOURCES[name].expect)
    assert report.ok
    assert {request.method for request in server.requests} == {"POST" if name == "runpod" else "GET"}
    for observation in observations:
        assert fault(observation, SERIES[observation.series]) == ""
        assert observation.observed_at <= observation.known_at == NOW
        assert NOW - observation.observed_at < timedelta(days=2)
        assert observation.known_basis == "live"


@pytest.mark.parametrize("name", NAMES)
def test_a_source_speaks_https_to_named_hosts(name: str) -> None:
    """Without an override only the declared hosts are reached, over https."""
    assert all(origin.startswith("https://") for origin in CLASSES[name]().origins)


# ---------------------------------------------------------------- refused, broken, endless
BODY = b'{"code": -1, "msg": "no", "message": "no", "error": ["no"], "errors": [{"message": "no"}], "success": false}'
BAD = {
    **{f"HTTP {status}": Answer(status, BODY) for status in (401, 403, 418, 429, 451, 500, 503)},
    "HTTP 429 come back soon": Answer(429, b"slow down", {"Retry-After": "1"}),
    "HTTP 429 come back tomorrow": Answer(429, b"slow down", {"Retry-After": "86400"}),
    "200 with an error body": Answer(200, BODY),
    "200 with an empty object": Answer.json({}),
    "a web page": Answer(200, b"<!DOCTYPE html><html><body>Just a moment...</body></html>"),
    "nothing": Answer(200, b""),
    "a list of nulls": Answer.json([None]),
    "null": Answer.json(None),
    "a text": Answer.json("maintenance"),
    "huge": Answer(200, b" " * 2_100_000),
    "cut off": Answer(200, b'{"data": [[178', {}, declared=4_000),
    "gzip that is none": Answer(200, b'{"data": []}', {"Content-Encoding": "gzip"}),
    "gzip cut off": Answer(200, gzip.compress(b'{"data": [[178' * 900)[:60], {"Content-Encoding": "gzip"}),
    "hung up": Answer(drop=True),
    "moved elsewhere": Answer(302, b"", {"Location": "https://evil.example/"}),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", EVERY)
def test_whatever_comes_instead_is_a_reason_and_no_number(name: str, bad: str, server: Loopback) -> None:
    """Every refusal, outage and stray answer ends in no observation and a reason; a ban is not asked about again."""
    for path in PATHS[name]:
        server.on(path, BAD[bad])
    found, report = ask(name, server.url)
    refused(name, found, report)
    if BAD[bad].status != 200:
        assert str(BAD[bad].status) in report.reason or "refused to follow" in report.reason
    if BAD[bad].status in (401, 403, 418, 451) or bad == "HTTP 429 come back tomorrow":
        asked = [(request.path, request.query) for request in server.requests]
        assert len(asked) == len(set(asked))


@pytest.mark.parametrize("name", NAMES)
def test_a_good_answer_cut_in_half_says_nothing_false(name: str, server: Loopback) -> None:
    """A body that ends early without saying so gives an earlier value or none, never a wrong one."""
    source = SOURCES[name]
    GOOD[name](server)
    whole = server._answers[source.paths[0]][0].body
    packed, unpacked = gzip.compress(whole), {"Content-Encoding": "gzip"}
    cuts = [Answer(200, part) for part in (whole[: len(whole) // 2], whole[:-2], whole[:-3], whole[:1])]
    cuts += [Answer(200, packed[:end], unpacked) for end in (len(packed) // 2, -9, -3)]
    for cut in cuts:
        for path in source.paths:
            server.on(path, cut)
        found, _ = ask(name, server.url)
        true = [source.expect, source.before or {}]
        assert any(all(value == pytest.approx(said.get(key)) for key, value in found.items()) for said in true)


@pytest.mark.parametrize("first", [Answer(503), Answer(429, b"", {"Retry-After": "1"}), Answer(drop=True)])
@pytest.mark.parametrize("name", EVERY)
def test_a_passing_refusal_is_asked_again(name: str, first: Answer, server: Loopback) -> None:
    """One busy answer does not lose the tick."""
    GOOD[name](server)
    well, _ = ask(name, server.url)
    GOOD[name](server)
    for path in PATHS[name]:
        server.on(path, first, *server._answers[path])
    found, report = ask(name, server.url)
    assert report.ok
    assert found
    assert found == pytest.approx(SOURCES[name].expect if name in SOURCES else well)


@pytest.mark.parametrize("name", EVERY)
def test_a_source_that_hangs_is_given_up(name: str, server: Loopback) -> None:
    """Its time limit ends the wait, with a reason."""
    for path in PATHS[name]:
        server.on(path, Answer(hang=True))
    found, report = ask(name, server.url, limit_s=0.2)
    refused(name, found, report)
    assert "in time" in report.reason or "within" in report.reason
    assert report.seconds < 2


class Dripping(socketserver.ThreadingTCPServer):
    """Answers every request with a byte now and then, for ever."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Drip)
        self.closing = threading.Event()


class Drip(socketserver.BaseRequestHandler):
    server: Dripping

    def handle(self) -> None:
        try:
            self.request.recv(65_536)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not self.server.closing.wait(0.02):
                self.request.sendall(b" ")
        except OSError:
            pass  # the client hung up, as it should


@pytest.fixture(scope="module")
def dripping() -> Iterator[str]:
    """The address of a dripping server."""
    with Dripping() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.closing.set()
        server.shutdown()
        thread.join(timeout=5)


@pytest.mark.parametrize("name", EVERY)
def test_a_source_that_drips_is_given_up(name: str, dripping: str) -> None:
    """A byte every now and then keeps no fetch alive beyond its limit."""
    found, report = ask(name, dripping, limit_s=0.2)
    refused(name, found, report)
    assert report.seconds < 2


# ---------------------------------------------------------------- spoiled rows
def scaled(rows: Rows, factor: float) -> Rows:
    return [(at, value * factor) for at, value in rows]


def shifted(rows: Rows, by: timedelta) -> Rows:
    return [(at + by, value) for at, value in rows]


WORTHLESS = {
    "negative": -1.0,
    "absurdly large": 1e6,
    "absurdly small": 1e-6,
    "a hundredfold": 100.0,
    "not a number": math.nan,
    "infinite": math.inf,
}


#: what a factor makes of a value that has been, or will be, seen: only the jump limit can tell
POSSIBLE = {
    ("nyfed", 1e-6): "a rate of nought has been seen",
    ("mempool", 100.0): "difficulty grew a hundredfold in a few years",
}


@pytest.mark.parametrize("factor", WORTHLESS.values(), ids=WORTHLESS)
@pytest.mark.parametrize("name", NAMES)
def test_values_that_cannot_be_are_not_said(name: str, factor: float, server: Loopback) -> None:
    """Negative, absurd, not a number, cents for dollars or percent for fractions: no observation and a reason."""
    if (name, factor) in POSSIBLE:
        pytest.skip(POSSIBLE[name, factor])
    write(name, server, scaled(SOURCES[name].rows, factor))
    refused(name, *ask(name, server.url))


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_without_its_value_is_refused(name: str, server: Loopback) -> None:
    """A missing field or column is named or counted, never read as zero."""
    write(name, server, SOURCES[name].rows, drop=True)
    refused(name, *ask(name, server.url))


@pytest.mark.parametrize("name", NAMES)
def test_another_order_of_columns_is_understood_or_refused(name: str, server: Loopback) -> None:
    """Named fields may stand anywhere; bare columns that moved contradict each other and give nothing."""
    write(name, server, SOURCES[name].rows, reorder=True)
    found, report = ask(name, server.url)
    if SOURCES[name].by_name:
        assert found == pytest.approx(SOURCES[name].expect)
    else:
        refused(name, found, report)


@pytest.mark.parametrize("name", DATED)
@pytest.mark.parametrize("order", ["backwards", "twice"])
def test_the_order_and_number_of_rows_does_not_matter(name: str, order: str, server: Loopback) -> None:
    """Rows turned round or said twice mean the same."""
    rows = list(SOURCES[name].rows)
    write(name, server, rows[::-1] if order == "backwards" else rows + rows)
    assert ask(name, server.url)[0] == pytest.approx(SOURCES[name].expect)


@pytest.mark.parametrize("name", DATED)
def test_two_values_of_one_moment_are_neither(name: str, server: Loopback) -> None:
    """When the newest moment has two values the one before counts, and the report says why."""
    at, value = SOURCES[name].rows[-1]
    write(name, server, [*SOURCES[name].rows, (at, value * 1.05)])
    found, report = ask(name, server.url)
    assert found == pytest.approx(SOURCES[name].before or {})
    assert "has two values" in report.reason


@pytest.mark.parametrize("name", DATED)
def test_the_future_is_left_out(name: str, server: Loopback) -> None:
    """A newest row dated in two days is left out with a reason; when all are, nothing is said."""
    *earlier, last = SOURCES[name].rows
    write(name, server, [*earlier, *shifted([last], timedelta(days=2))])
    found, report = ask(name, server.url)
    assert found == pytest.approx(SOURCES[name].before or {})
    assert "future" in report.reason
    write(name, server, shifted(SOURCES[name].rows, timedelta(days=9)))
    refused(name, *ask(name, server.url))


@pytest.mark.parametrize("name", ["coinbase", "coingecko", "luxor"])
def test_a_single_value_from_the_future_is_refused(name: str, server: Loopback) -> None:
    """A stamp two hours ahead is a wrong clock or a wrong unit, not news; one of a minute ahead is now."""
    write(name, server, shifted(SOURCES[name].rows, timedelta(hours=2)))
    found, report = ask(name, server.url)
    refused(name, found, report)
    assert "future" in report.reason
    write(name, server, [(NOW + timedelta(minutes=1), SOURCES[name].rows[-1][1])])
    observations, _ = asyncio.run(fetch_all([class_of(name)(settings(server.url))], NOW, 5.0))
    assert {o.observed_at for o in observations} == {NOW}


@pytest.mark.parametrize("name", DATED)
def test_an_old_value_carries_its_age(name: str, server: Loopback) -> None:
    """What a source last said a month ago is dated a month ago, not now."""
    write(name, server, shifted(SOURCES[name].rows, timedelta(days=-30)))
    feed = class_of(name)(settings(server.url))
    observations, _ = asyncio.run(fetch_all([feed], NOW, 5.0))
    assert observations
    assert all(NOW - o.observed_at > timedelta(days=28) for o in observations)


# ---------------------------------------------------------------- the past
def history(name: str, server: Loopback) -> list[Observation]:
    """What a source says about its past."""

    async def run() -> list[Observation]:
        feed = class_of(name)(settings(server.url))
        async with new_http() as http:
            found: list[Observation] = await feed.history(Client(http, feed.origins, NOW, 5.0), NOW)  # type: ignore[attr-defined]
            return found

    return asyncio.run(run())


@pytest.mark.parametrize("name", WITH_HISTORY)
def test_the_past_was_known_after_its_lag(name: str, server: Loopback) -> None:
    """Rows of the past say that their moment of knowledge is assumed, and none was known after now."""
    write(name, server, shifted(SOURCES[name].rows, timedelta(days=-3)))
    found = history(name, server)
    assert found
    for observation in found:
        assert observation.known_basis == "assumed"
        assert observation.known_at == observation.observed_at + CLASSES[name].lag <= NOW
        assert fault(observation, SERIES[observation.series]) == ""
    assert len(set(found)) == len(found)


# ---------------------------------------------------------------- one source at a time
def test_a_rate_not_yet_there_leaves_the_one_before(server: Loopback) -> None:
    """NA is no number; the rate of another kind is not SOFR."""
    day = {"type": "SOFR", "percentRate": 3.65, "effectiveDate": "2026-08-12"}
    rows = [
        {**day, "effectiveDate": "2026-08-13", "percentRate": "NA"},
        {**day, "type": "EFFR", "percentRate": 9.0},
        day,
    ]
    server.on("/api/rates/secured/sofr/last/5.json", raw({"refRates": rows}))
    found, report = ask("nyfed", server.url)
    assert found == {"sofr": pytest.approx(0.0365)}
    assert "'NA'" in report.reason
    assert "not SOFR" in report.reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("observation_date,BAMLH0A0HYM2\n2026-08-12,2.95\n2026-08-13,.\n", 295.0),
        ("observation_date,BAMLH0A0HYM2\n2026-08-12,2.95\n2026-08-13,\n", 295.0),
        ("DATE,BAMLH0A0HYM2\n2026-08-12,2.95\n", 295.0),
        ("\ufeffobservation_date,BAMLH0A0HYM2\r\n2026-08-12,2.95\r\n", 295.0),
        ("observation_date,BAMLH0A0HYM2\n2026-08-12,2.95\n2026-08-13,2", 295.0),  # cut off: 2 may be 2.97
        ("observation_date,BAMLH0A0HYM2\n12.08.2026,2.95\n2026-08-11,2.94\n", 294.0),
        ("observation_date,OTHER\n2026-08-12,2.95\n", None),
        ("observation_date,BAMLH0A0HYM2\n", None),
        ("observation_date,BAMLH0A0HYM2\n2026-08-12,295\n", None),  # basis points already
    ],
)
def test_a_csv_of_days_is_read_by_name_and_line(text: str, value: float | None, server: Loopback) -> None:
    """Dots and blanks are no values, a cut last line is not trusted, a missing column is a reason."""
    server.on("/graph/fredgraph.csv", Answer(200, text.encode()))
    found, report = ask("fred", server.url)
    assert found == ({} if value is None else {"hy_spread_bp": pytest.approx(value)})
    assert report.ok == (value is not None)


@pytest.mark.parametrize("price", ["0.01", "100000", "NaN", None])
def test_tether_is_not_a_dollar(price: object, server: Loopback) -> None:
    """Without a believable price of tether nothing is said, rather than taking it for a dollar."""
    GOOD["binance"](server)
    tether(server, price)
    found, report = ask("binance", server.url)
    refused("binance", found, report)
    assert "no price of tether in USD" in report.reason


def test_a_lost_peg_is_converted(server: Loopback) -> None:
    """When tether trades at 0.93 the dollar price is 7 % lower than the one in tether."""
    GOOD["binance"](server)
    tether(server, "0.9300")
    assert ask("binance", server.url)[0]["btc_usd"] == pytest.approx(62_100 * 0.93)


def test_errors_said_with_success_are_repeated(server: Loopback) -> None:
    """The words of a source that answers 200 and no reach the reason."""
    GOOD["binance"](server)
    server.on("/api/v3/klines", Answer.json({"code": -1121, "msg": "Invalid symbol."}))
    assert "Invalid symbol" in ask("binance", server.url)[1].reason
    server.on("/0/public/Ticker", Answer.json({"error": ["EService:Unavailable"]}))
    assert "EService:Unavailable" in ask("binance", server.url)[1].reason


def test_a_volatility_page_has_an_earlier_one(server: Loopback) -> None:
    """The past is read page by page, and a continuation that does not go back ends it."""
    path = "/api/v2/public/get_volatility_index_data"
    days = [datetime(2026, 8, day, tzinfo=UTC).timestamp() * 1000 for day in (10, 11, 12)]
    rows = [[at, 47.0, 48.0, 46.0, 47.5] for at in days]
    pages = [{"data": rows[1:], "continuation": days[1]}, {"data": rows[:1], "continuation": days[1]}]
    server.on(path, *(raw({"result": page}) for page in [*pages, *pages]))
    found = history("deribit", server)
    assert [o.observed_at.day for o in found if o.series == "dvol_btc"] == [11, 12, 13]
    assert len(server.asked(path)) == 4


def test_an_empty_volatility_page_is_a_reason(server: Loopback) -> None:
    """No candle in the last hours is no volatility."""
    server.on("/api/v2/public/get_volatility_index_data", raw({"result": {"data": [], "continuation": None}}))
    refused("deribit", *ask("deribit", server.url))


@pytest.mark.parametrize(
    "change",
    [{"unit": "Hash Rate GH/s"}, {"unit": None}, {"status": "error", "error": "no-such-chart"}, {"values": {}}],
)
def test_a_chart_in_another_unit_is_refused(change: dict[str, object], server: Loopback) -> None:
    """The unit a chart states is read, not assumed."""
    GOOD["blockchain_com"](server)
    chart = json.loads(server._answers["/charts/hash-rate"][0].body)
    server.on("/charts/hash-rate", raw(chart | change))
    refused("blockchain_com", *ask("blockchain_com", server.url))


def test_a_closed_index_says_that_it_is_closed(server: Loopback) -> None:
    """401 is unavailable, in words, for every model, and nothing is guessed."""
    for path in SOURCES["ornn"].paths:
        server.on(path, Answer(401, b'{"error": "API key required"}'))
    _, report = ask("ornn", server.url)
    assert "H100 SXM: unavailable: Ornn now asks for a key (HTTP 401)" in report.reason


def test_another_model_than_asked_for_is_refused(server: Loopback) -> None:
    """An index of another GPU never becomes that of the H100; the others still count."""
    GOOD["ornn"](server)
    path = SOURCES["ornn"].paths[0]
    answer = json.loads(server._answers[path][0].body)
    server.on(path, raw(answer | {"gpu_type": "RTX 5090"}))
    found, report = ask("ornn", server.url)
    assert set(found) == {"rent_h200_ornn_usd", "rent_b200_ornn_usd", "rent_a100_ornn_usd"}
    assert "RTX 5090" in report.reason


def machine(price: object, **more: object) -> dict[str, object]:
    """One offer of the marketplace: two H100 at this price together."""
    return {"gpu_name": "H100 SXM", "num_gpus": 2, "dph_total": price, **more}


def test_asks_are_per_gpu_and_counted_without_the_strange_ones(server: Loopback) -> None:
    """Whole machines are divided by their GPUs; other models, no GPUs, no price and mad prices are left out."""
    strange = [
        machine(0.02, gpu_name="H100 NVL"),
        machine(9.0, num_gpus=0),
        machine(9.0, num_gpus=1.5),
        machine(None),
        machine(-4.0),
        machine(9_000.0),
        None,
        "offer",
    ]
    server.on("/api/v0/bundles/", raw({"offers": [*strange, *(machine(4.0 + i) for i in range(5))]}))
    found, report = ask("vast", server.url)
    assert found == {"h100/on_demand/ask/any/1": 3.0, "h100/spot/ask/any/1": 3.0}
    assert "8 offers without a believable price left out" in report.reason


@pytest.mark.parametrize("offers", [[machine(4.0)] * 4, [], {"id": 1}, None])
def test_too_few_machines_are_no_price(offers: object, server: Loopback) -> None:
    """A handful of machines is not a market."""
    server.on("/api/v0/bundles/", raw({"offers": offers}))
    refused("vast", *ask("vast", server.url))


def test_the_search_is_always_the_same_and_never_open(server: Loopback) -> None:
    """Every request names one model, asks for verified and rentable machines and sets a limit."""
    GOOD["vast"](server)
    ask("vast", server.url)
    queries = {request.query for request in server.requests}
    assert len(queries) == 8
    assert all("gpu_name" in q and "verified" in q and "rentable" in q and "limit" in q for q in queries)


def test_the_price_of_a_bid_is_the_lowest_that_runs(server: Loopback) -> None:
    """An interruptible machine costs its lowest bid, not what it costs uninterrupted; without one, what is said."""
    offers = [machine(4.0, min_bid=2.0 + i) for i in range(5)]
    server.on("/api/v0/bundles/", raw({"offers": [*offers, machine(4.0, min_bid=None)]}))
    found, _ = ask("vast", server.url)
    assert found == {"h100/on_demand/ask/any/1": 2.0, "h100/spot/ask/any/1": 2.0}
    server.on("/api/v0/bundles/", raw({"offers": offers[:5]}))
    found, _ = ask("vast", server.url)
    assert found["h100/spot/ask/any/1"] == 2.0


def test_a_question_is_posted_as_its_source_documents_it(server: Loopback) -> None:
    """GraphQL in the body as JSON, asked again when busy; what was asked is kept with the answer."""
    GOOD["runpod"](server)
    (good,) = server._answers["/graphql"]
    server.on("/graphql", Answer(503), good)
    found, report = ask("runpod", server.url)
    assert found
    asked = server.asked("/graphql")
    assert [request.method for request in asked] == ["POST", "POST"]
    assert all("securePrice" in json.loads(request.body)["query"] for request in asked)
    assert {request.headers["Content-Type"] for request in asked} == {"application/json"}
    assert [address for address, _ in report.raw] == [f"{server.url}/graphql"]


def gpu(**prices: object) -> Answer:
    """RunPod's answer with one H100 entry."""
    return raw({"data": {"gpuTypes": [{"id": "NVIDIA H100 80GB HBM3", **prices}]}})


def test_out_of_stock_is_no_failure_and_no_price(server: Loopback) -> None:
    """Null and zero are not prices; a spot price equal to the other is no spot price; clouds are kept apart."""
    server.on("/graphql", gpu(securePrice=3.29, secureSpotPrice=3.29, communityPrice=2.69, communitySpotPrice=None))
    found, report = ask("runpod", server.url)
    assert found == {"h100/on_demand/list/secure/1": 3.29, "h100/on_demand/list/community/1": 2.69}
    assert report.reason == ""
    server.on("/graphql", gpu(securePrice=None, secureSpotPrice=0, communityPrice=None))
    assert "none of the models" in ask("runpod", server.url)[1].reason
    server.on("/graphql", gpu(securePrice=329, communityPrice=2.69))
    found, report = ask("runpod", server.url)
    assert found == {"h100/on_demand/list/community/1": 2.69}
    assert "securePrice is 329" in report.reason


HEAD = "InstanceType,AcceleratorName,AcceleratorCount,GpuInfo,Region,Price,SpotPrice\n"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        # one cloud's file holds JSON where the others hold a Python literal
        (
            '8B200.240V,B200,8.0,"{""Gpus"": [{""MemoryInfo"": {""SizeInMiB"": 184320}}]}",F,,13.76\n',
            ("B200", "spot", 1.72),
        ),
        ('1H100.80S.32V,H100,1.0,"{""Gpus"": [{""SizeInMiB"": 81920}]}",F,2.29,\n', ("H100", "on_demand", 2.29)),
        ("gpu_8x_h100_sxm5,H100,8.0,\"{'Gpus': [{'SizeInMiB': 81559}]}\",us,23.92,\n", ("H100", "on_demand", 2.99)),
        ("ECS1GPU8,H100,1,\"{'Gpus': [{'SizeInMiB': 81920}]}\",,1.89,\n", None),
        ('1A100.40S.22V,A100,1.0,"{""Gpus"": [{""SizeInMiB"": 40960}]}",F,0.9,\n', None),
    ],
    ids=["json", "board", "literal", "maybe-a-slot-card", "40GB"],
)
def test_the_ways_clouds_write_a_machine(row: str, found: tuple[str, str, float] | None) -> None:
    """Memory in either notation, the board in the name; a card that may sit in a slot is another product."""
    said = [(model, market, round(price, 4)) for model, market, _, price in catalogue_offers(HEAD + row)]
    assert said == ([found] if found else [])


def test_an_entry_said_twice_with_two_prices_is_neither(server: Loopback) -> None:
    """The same twice is once meant; two prices for one thing at one moment are none."""
    entry = {"id": "NVIDIA H100 80GB HBM3", "communityPrice": 2.69}
    other = {"id": "NVIDIA H200", "securePrice": 3.99}
    server.on("/graphql", raw({"data": {"gpuTypes": [entry, other, entry]}}))
    assert set(ask("runpod", server.url)[0].values()) == {2.69, 3.99}
    server.on("/graphql", raw({"data": {"gpuTypes": [entry, other, entry | {"communityPrice": 1.69}]}}))
    found, report = ask("runpod", server.url)
    assert set(found.values()) == {3.99}
    assert "said twice with two values" in report.reason


def test_only_linux_hours_in_dollars_count(server: Loopback) -> None:
    """Windows, low priority, months, euros and other machines are left out; regions give one median."""
    name = "Standard_ND96isr_H100_v5"
    items = [
        azure_row(name, 96.0, armRegionName="eastus"),
        azure_row(name, 104.0, armRegionName="westus"),
        azure_row(name, 40.0, meterName="ND96 Spot"),
        azure_row(name, 1.0, productName="ND Series Windows"),
        azure_row(name, 2.0, meterName="ND96 Low Priority"),
        azure_row(name, 3.0, unitOfMeasure="1/Month"),
        azure_row(name, 4.0, currencyCode="EUR"),
        # a year or three years of it, at "1 Hour" all the same; and what only testers get
        azure_row(name, 520.0, type="Reservation", reservationTerm="1 Year"),
        azure_row(name, 48.0, type="DevTestConsumption"),
        azure_row("Standard_NC40ads_H100_v5", 5.0),
        fields(azure_row(name, 6.0), False, "productName"),
        None,
    ]
    server.on("/api/retail/prices", raw({"Items": items, "NextPageLink": "https://prices.azure.com:443/more"}))
    found, report = ask("azure", server.url)
    assert found == {"h100/on_demand/list/any/8": 12.5, "h100/spot/list/any/8": 5.0}
    assert "only the first page" in report.reason


# ---------------------------------------------------------------- offers -> index
def test_raw_offers_of_three_sources_make_a_thin_index(server: Loopback) -> None:
    """Each observation of a raw offer is an offer again, and three providers are an index that says it is thin."""
    offers = []
    for name in ("vast", "runpod", "azure"):
        GOOD[name](server)
        feed = class_of(name)(settings(server.url))
        observations, _ = asyncio.run(fetch_all([feed], NOW, 5.0))
        found = [offer_of(observation) for observation in observations]
        assert None not in found
        assert {offer.provider for offer in found if offer} == {name}
        offers += [offer for offer in found if offer]
    (point,) = rental_index(offers, "H100", "on_demand", NOW)
    assert point.value_usd_per_gpu_hour == pytest.approx(3.0)
    assert (point.providers, point.thin) == (3, True)
