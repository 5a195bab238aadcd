"""Share prices by way of a package: the package itself against a loopback proxy, and what is made of what it says."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from loopback import Answer, Loopback

from monitor.feeds import Company, FeedSettings, fetch_all
from monitor.feeds.equities import REFUSED, Equities, Listing, ask, listing_of, share_prices
from monitor.feeds.http import Client, new_http
from monitor.model import FeedError, FeedReport, Observation
from monitor.series import SERIES, fault

NOW = datetime(2026, 8, 14, 12, tzinfo=UTC)
WANTED = {"ACME": Company("acme", "ACME"), "BETA": Company("beta", "BETA")}
DAYS = (date(2026, 8, 12), date(2026, 8, 13), date(2026, 8, 14))
SPLIT = date(2026, 8, 3)


def listing(*closes: float, currency: str = "USD", splits: Mapping[date, float] | None = None) -> Listing:
    """A listing whose last closes these are."""
    return Listing(dict(zip(DAYS, closes, strict=False)), currency, splits or {})


def told(said: Mapping[str, Listing | str], now: datetime = NOW) -> tuple[list[Observation], list[str]]:
    """(prices made of what was said, what was noted)."""

    async def run() -> tuple[list[Observation], list[str]]:
        async with new_http() as http:
            client = Client(http, (), now, 1.0)
            return share_prices(WANTED, said, now, client), client.notes

    return asyncio.run(run())


# ---------------------------------------------------------------- what is made of it
def test_the_newest_settled_close_counts() -> None:
    """Yesterday's close, observed at the end of its day; today's is not over yet, a day without a price is none."""
    found, notes = told({"ACME": listing(14.0, 14.5, 15.0), "BETA": listing(80.0, math.nan, 82.0)})
    assert [(o.subject, o.value, o.observed_at.day) for o in found] == [("acme", 14.5, 14), ("beta", 80.0, 13)]
    assert notes == []
    assert all(fault(o, SERIES[o.series]) == "" for o in found)
    assert {o.quality for o in found} == {"press"}


@pytest.mark.parametrize("currency", ["CAD", "GBp", "EUR", "", "usd"])
def test_another_currency_is_never_taken_as_dollars(currency: str) -> None:
    """What Yahoo says of the listing decides; pence are not dollars, and no word is no dollar."""
    found, notes = told({"ACME": listing(14.0, 14.5, currency=currency), "BETA": listing(80.0)})
    assert [o.subject for o in found] == ["beta"]
    assert notes == [f"ACME: quoted in {currency or 'no currency'}, not in USD"]


def test_across_a_split_there_is_no_price() -> None:
    """New prices do not fit old share counts, conversion prices and history: none for 90 days, and it says until when.

    Afterwards there is one when the book counts the new shares, or counts none.
    """
    said = {"ACME": listing(14.0, 14.5, splits={SPLIT: 0.1}), "BETA": listing(80.0)}
    found, notes = told(said)
    assert [o.subject for o in found] == ["beta"]
    assert notes == ["ACME: split on 2026-08-03 (0.1 new shares for 1): no price until 2026-11-01"]
    later = datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert [o.subject for o in told(said, later)[0]] == ["acme", "beta"]
    WANTED["ACME"] = Company("acme", "ACME", shares_as_of=date(2026, 6, 30))
    try:
        assert "the book counts the shares of 2026-06-30" in told(said, later)[1][0]
        WANTED["ACME"] = Company("acme", "ACME", shares_as_of=date(2026, 8, 7))
        assert told(said, later)[1] == []
    finally:
        WANTED["ACME"] = Company("acme", "ACME")


def test_a_ticker_that_was_not_answered_is_noted() -> None:
    """Delisted, refused or out of time: each says so, and the others stand."""
    found, notes = told({"ACME": "no close at all: delisted, renamed, or halted for a year", "BETA": listing(80.0)})
    assert [o.subject for o in found] == ["beta"]
    assert notes == ["ACME: no close at all: delisted, renamed, or halted for a year"]
    assert told({"ACME": listing(14.0)})[1] == ["BETA: not asked for any more: the time was over"]
    with pytest.raises(FeedError, match="no ticker has a usable close"):
        told({"ACME": REFUSED})


@pytest.mark.parametrize("price", [-3.0, 0.0, 1e9])
def test_a_price_that_cannot_be_is_refused_like_any_other(price: float) -> None:
    """The bounds of the series hold for it too."""
    found, _ = told({"ACME": listing(14.0, price), "BETA": listing(80.0)})
    assert fault(found[0], SERIES["share_price_usd"]) != ""


@pytest.mark.parametrize("bad", [None, pd.DataFrame(), pd.DataFrame({"Open": [1.0]}), pd.DataFrame({"Close": []})])
def test_a_frame_without_closes_is_a_reason(bad: object) -> None:
    """An empty frame is what the package gives for a share that is gone."""
    with pytest.raises(FeedError, match="no c"):
        listing_of(bad, "USD")


def test_no_alert_waits_for_it() -> None:
    """Its silence is not told, it is asked twice a day, and listings of other exchanges are named, not asked for."""
    assert not Equities.on_alert_path
    assert Equities.every.total_seconds() >= 6 * 3600
    foreign = FeedSettings(companies=(Company("northern", "NB2.DE"), Company("private")))
    found, (report,) = asyncio.run(fetch_all([Equities(foreign)], NOW, 2.0))
    assert found == []
    assert "no borrower of the book has a ticker in dollars" in report.reason
    assert "NB2.DE" in report.reason


# ---------------------------------------------------------------- the package itself
def chart(
    symbol: str,
    closes: list[float | None],
    last: datetime,
    currency: str = "USD",
    split: tuple[datetime, str] | None = None,
) -> dict[str, object]:
    """Yahoo's answer about one ticker: a row a day at the opening bell (09:30 New York), the last one ``last``."""
    times = [int((last - timedelta(days=len(closes) - 1 - i)).timestamp()) for i in range(len(closes))]
    began = times[0] if times else int(last.timestamp())
    ranges = ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"]
    meta = {
        "currency": currency, "symbol": symbol, "exchangeName": "NMS", "instrumentType": "EQUITY",
        "firstTradeDate": began, "regularMarketTime": began, "gmtoffset": -14400, "timezone": "EDT",
        "exchangeTimezoneName": "America/New_York", "regularMarketPrice": 14.5, "priceHint": 2,
        "dataGranularity": "1d", "range": "1y", "validRanges": ranges,
        "currentTradingPeriod": {
            part: {"timezone": "EDT", "start": began, "end": began + 23_400, "gmtoffset": -14400}
            for part in ("pre", "regular", "post")
        },
    }  # fmt: skip
    bars = dict.fromkeys(("open", "high", "low", "close"), closes) | {"volume": [1000] * len(closes)}
    # dividends made the adjusted close another one: it must not be what is read
    adjusted = [None if close is None else 0.9 * close for close in closes]
    result: dict[str, object] = {
        "meta": meta,
        "timestamp": times,
        "indicators": {"quote": [bars], "adjclose": [{"adjclose": adjusted}]},
    }
    if split is not None:
        at, ratio = int(split[0].timestamp()), split[1]
        new, old = ratio.split(":")
        result["events"] = {
            "splits": {str(at): {"date": at, "numerator": float(new), "denominator": float(old), "splitRatio": ratio}}
        }
    return {"chart": {"result": [result], "error": None}}


GONE = {
    "chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"}}
}
BELL = datetime(2026, 8, 13, 13, 30, tzinfo=UTC)


@pytest.fixture
def yahoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """The package's own transport, sent to a proxy on this machine; through it the hosts of cookies are not reached."""
    yfinance = pytest.importorskip("yfinance")
    from yfinance.data import SingletonMeta, YfData

    yfinance.set_tz_cache_location(str(tmp_path))
    # a plain address, so that the proxy sees the request and not a tunnel
    for name in ("base._BASE_URL_", "scrapers.history._BASE_URL_", "scrapers.quote._QUERY1_URL_"):
        monkeypatch.setattr(f"yfinance.{name}", "http://query2.finance.yahoo.com")
    summary = "http://query2.finance.yahoo.com/v10/finance/quoteSummary"
    monkeypatch.setattr("yfinance.scrapers.quote._QUOTE_SUMMARY_URL_", summary)
    SingletonMeta._instances.pop(YfData, None)
    with Loopback() as server:
        yfinance.config.network.proxy = server.url
        yield server
        yfinance.config.network.proxy = None
    SingletonMeta._instances.pop(YfData, None)


def on(server: Loopback, ticker: str, *answers: Answer) -> None:
    server.on(f"/v8/finance/chart/{ticker}", *answers)


def fetched(now: datetime = NOW, *companies: Company) -> tuple[list[Observation], FeedReport]:
    feed = Equities(FeedSettings(companies=companies or tuple(WANTED.values())))
    found, (report,) = asyncio.run(fetch_all([feed], now, 30.0))
    return found, report


def test_the_package_is_asked_as_it_wants_and_understood(yahoo: Loopback) -> None:
    """A year of days without adjustment for dividends; the newest settled close, on the day its exchange had."""
    on(yahoo, "ACME", Answer.json(chart("ACME", [14.0, None, 14.5], BELL)))
    on(yahoo, "BETA", Answer.json(chart("BETA", [80.0, 81.0, 82.0], BELL + timedelta(days=1))))
    found, report = fetched()
    assert [(o.subject, o.value, o.observed_at) for o in found] == [
        ("acme", 14.5, datetime(2026, 8, 14, tzinfo=UTC)),
        ("beta", 81.0, datetime(2026, 8, 14, tzinfo=UTC)),
    ]
    assert report.ok
    assert report.reason == ""
    asked = [request.query for request in yahoo.asked("/v8/finance/chart/ACME")]
    assert [query for query in asked if "range=1y" in query and "interval=1d" in query and "splits" in query]


def test_the_package_says_why_a_ticker_has_no_price(yahoo: Loopback) -> None:
    """Another currency, a split, a delisted share and a broken answer, each in its own words beside a good one."""
    on(yahoo, "ACME", Answer.json(chart("ACME", [14.0, 14.5], BELL)))
    on(yahoo, "LONDON", Answer.json(chart("LONDON", [1400.0, 1450.0], BELL, "GBp")))
    split = datetime(2026, 8, 12, 13, 30, tzinfo=UTC), "1:10"
    on(yahoo, "SPLIT", Answer.json(chart("SPLIT", [1.4, 14.5], BELL, split=split)))
    on(yahoo, "GONE", Answer.json(GONE, 404))
    on(yahoo, "BROKEN", Answer(200, b"<html>Will be right back</html>"))
    names = ("ACME", "LONDON", "SPLIT", "GONE", "BROKEN")
    found, report = fetched(NOW, *(Company(name.lower(), name) for name in names))
    assert [(o.subject, o.value) for o in found] == [("acme", 14.5)]
    notes = dict(note.split(": ", 1) for note in report.reason.split("; "))
    assert notes["LONDON"] == "quoted in GBp, not in USD"
    assert notes["SPLIT"] == "split on 2026-08-12 (0.1 new shares for 1): no price until 2026-11-10"
    assert "delisted" in notes["GONE"]
    assert notes["BROKEN"].startswith("yfinance: ")


HALF = json.dumps(chart("ACME", [14.0, 14.5], BELL)).encode()
BAD = {
    **{f"HTTP {status}": Answer(status, b"{}") for status in (401, 403, 418, 451, 500, 503)},
    "an error body": Answer.json({"chart": {"result": None, "error": {"code": "x", "description": "no"}}}),
    "an empty object": Answer.json({}),
    "null": Answer.json(None),
    "a web page": Answer(200, b"<!DOCTYPE html><html></html>"),
    "cut off": Answer(200, HALF[: len(HALF) // 2]),
    "gzip cut off": Answer(200, gzip.compress(HALF)[:60], {"Content-Encoding": "gzip"}),
    "hung up": Answer(drop=True),
    "no currency": Answer(200, HALF.replace(b'"currency": "USD"', b'"currency": null')),
    "no days": Answer.json(chart("ACME", [], BELL)),
    "only a day without a price": Answer.json(chart("ACME", [None], BELL)),
    "the future": Answer.json(chart("ACME", [14.0], BELL + timedelta(days=40))),
    "below zero": Answer.json(chart("ACME", [-14.0], BELL)),
    "absurd": Answer.json(chart("ACME", [1e12], BELL)),
}


@pytest.mark.parametrize("bad", BAD)
def test_whatever_comes_instead_is_a_reason_and_no_price(bad: str, yahoo: Loopback) -> None:
    """Refusals, outages and stray answers, through the package: nothing is said, and it is no fault of our own."""
    on(yahoo, "ACME", BAD[bad])
    found, report = fetched(NOW, WANTED["ACME"])
    assert found == []
    assert not report.ok
    assert report.reason.isprintable()
    assert "own code" not in report.reason


def test_after_a_refusal_nothing_more_is_asked(yahoo: Loopback) -> None:
    """Too many requests: what was not asked yet is left for later, and the source rests."""
    on(yahoo, "ACME", Answer(429, b"Too Many Requests"))
    on(yahoo, "BETA", Answer.json(chart("BETA", [80.0], BELL)))
    said = ask(["ACME", "BETA"], 10.0)
    assert said == {"ACME": REFUSED}
    assert yahoo.asked("/v8/finance/chart/BETA") == []
    feed = Equities(FeedSettings(companies=tuple(WANTED.values())))
    _, (report,) = asyncio.run(fetch_all([feed], NOW, 30.0))
    assert "HTTP 429" in report.reason
    assert feed.rest_until == NOW + timedelta(minutes=2)


def test_a_hanging_ticker_leaves_the_time_of_the_others(yahoo: Loopback) -> None:
    """With the time over, what was not asked says so; the thread does not outlive its limit by much."""
    on(yahoo, "ACME", Answer(hang=True))
    on(yahoo, "BETA", Answer.json(chart("BETA", [80.0], BELL)))
    started = datetime.now(UTC)
    said = ask(["ACME", "BETA"], 1.0)
    assert (datetime.now(UTC) - started).total_seconds() < 10
    assert "yfinance: " in str(said["ACME"])
