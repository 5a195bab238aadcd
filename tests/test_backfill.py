"""The past into the database: every source's own paging on loopback, kills in between, and files of a desk."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import stamina
from desk import lay_desk
from hypothesis import given
from hypothesis import strategies as st
from loopback import Answer, Loopback, Request

from monitor.backfill import UNSETTLED, Filled, backfill, done_spans, merged, missing, stretches
from monitor.backfill_command import first_moment, read_table, with_past
from monitor.cli import run_line
from monitor.feeds import Feed, FeedSettings, discover
from monitor.model import CanaryError, InputError, Observation
from monitor.series import SERIES, fault
from monitor.store import Store

ROOT = Path(__file__).parents[1]
DAY = timedelta(days=1)
NOW = datetime(2026, 8, 14, 12, tzinfo=UTC)
SINCE = datetime(2021, 1, 1, tzinfo=UTC)
CLASSES = {feed.name: type(feed) for feed in discover() if isinstance(feed, Feed)}


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


class Market(Loopback):
    """Venues that answer by what is asked, within their own limits of rows: the paths of the real ones."""

    def __init__(self, first: datetime = SINCE - 30 * DAY) -> None:
        super().__init__()
        self.first = first
        self.broken: set[str] = set()

    def _take(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
        if any(part in request.path for part in self.broken):
            return Answer(503, b"busy")
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        for part, answer in ANSWERS.items():
            if part in request.path:
                return Answer.json(answer(self, request.path, query))
        return Answer(404, b"nothing here")

    def days(self, start: datetime, end: datetime) -> list[datetime]:
        """Openings of daily candles between two moments, both included."""
        first = max(start, self.first)
        opened = datetime(first.year, first.month, first.day, tzinfo=UTC)
        opened += DAY * (opened < first)
        return [opened + i * DAY for i in range(max(0, (min(end, NOW) - opened) // DAY + 1))]


def price(opened: datetime) -> float:
    """The close of the day that opens then."""
    return 30_000.0 + (opened - SINCE) / DAY


def _coinbase(market: Market, path: str, query: dict[str, str]) -> Any:
    start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
    days = market.days(start, end)
    if len(days) > 300:
        return {"message": "granularity too small for the requested time range"}
    scale = 1.0 if "BTC" in path else 0.05
    rows = [[d.timestamp(), price(d) * scale - 9 * scale, price(d) * scale + 9 * scale, price(d) * scale - scale,
             price(d) * scale, 5.0] for d in days]  # fmt: skip
    return rows[::-1]


def _kraken(market: Market, path: str, query: dict[str, str]) -> Any:
    own, scale = {"XBTUSD": ("XXBTZUSD", 1.0), "ETHUSD": ("XETHZUSD", 0.05), "USDTUSD": ("USDTZUSD", None)}[
        query["pair"]
    ]
    since = datetime.fromtimestamp(float(query.get("since", 0)), UTC)
    days = [d for d in market.days(NOW - 719 * DAY, NOW) if d >= since]
    rows = []
    for d in days:
        p = 0.999 if scale is None else (price(d) + 3) * scale
        rows.append([int(d.timestamp()), str(p), str(p * 1.001), str(p * 0.999), str(p), str(p), "1.5", 3])
    return {"error": [], "result": {own: rows, "last": int(NOW.timestamp())}}


def _binance(market: Market, path: str, query: dict[str, str]) -> Any:
    start, end = (datetime.fromtimestamp(float(query[name]) / 1000, UTC) for name in ("startTime", "endTime"))
    scale = 1.0 if query["symbol"] == "BTCUSDT" else 0.05
    return [
        [int(d.timestamp() * 1000), *(str(price(d) * scale / 0.999),) * 4, "1", int((d + DAY).timestamp() * 1000) - 1]
        for d in market.days(start, end)[: int(query["limit"])]
    ]


def _deribit(market: Market, path: str, query: dict[str, str]) -> Any:
    start, end = (datetime.fromtimestamp(float(query[f"{name}_timestamp"]) / 1000, UTC) for name in ("start", "end"))
    days = [d for d in market.days(start, end) if d >= datetime(2021, 3, 24, tzinfo=UTC)]
    return {"result": {"data": [[d.timestamp() * 1000, 60, 66, 55, 61.5] for d in days], "continuation": None}}


def _chart(market: Market, path: str, query: dict[str, str]) -> Any:
    years = int(query["timespan"].removesuffix("years"))
    days = market.days(NOW - 365 * years * DAY, NOW - DAY)
    unit, value = ("Hash Rate TH/s", 2e8) if "hash-rate" in path else ("Difficulty", 25e12)
    return {"status": "ok", "unit": unit, "period": "day", "values": [{"x": d.timestamp(), "y": value} for d in days]}


def _adjustments(market: Market, path: str, query: dict[str, str]) -> Any:
    days = market.days(market.first, NOW)[::14]
    return [[d.timestamp(), 1000 + i, 20e12 + i * 1e11, 1.005] for i, d in enumerate(days)][::-1]


def _sofr(market: Market, path: str, query: dict[str, str]) -> Any:
    count = int(path.rpartition("/")[2].removesuffix(".json"))
    days = [d for d in market.days(market.first, NOW - DAY) if d.weekday() < 5][-count:]
    return {"refRates": [{"effectiveDate": f"{d:%Y-%m-%d}", "type": "SOFR", "percentRate": 3.6} for d in days[::-1]]}


ANSWERS = {
    "/products/": _coinbase,
    "/OHLC": _kraken,
    "/klines": _binance,
    "/get_volatility_index_data": _deribit,
    "/charts/": _chart,
    "/difficulty-adjustments": _adjustments,
    "/secured/sofr/": _sofr,
}


@pytest.fixture
def market() -> Iterator[Market]:
    """The venues, one server for all."""
    with Market() as running:
        yield running


def feed(name: str, market: Loopback) -> Feed:
    """A source that asks the loopback server."""
    return CLASSES[name](FeedSettings(base_url=market.url))


def fill(store: Store, market: Loopback, *names: str, since: datetime = SINCE, now: datetime = NOW) -> list[Filled]:
    """Backfill some sources without pauses."""
    return asyncio.run(backfill(store, [feed(name, market) for name in names], since, now, pause_s=0.0))


def kept(store: Store, series: str, source: str) -> list[Observation]:
    """What the database holds of one series of one source."""
    return [o for o in store.observations(NOW, series=[series]) if o.source.startswith(source)]


# ---------------------------------------------------------------- the sources
@pytest.mark.parametrize(
    ("name", "series", "source", "days"),
    [
        ("coinbase", "btc_usd", "Coinbase", (NOW - SINCE).days),
        ("coinbase", "eth_usd", "Coinbase", (NOW - SINCE).days),
        ("kraken", "btc_usd", "Kraken", 719),
        ("binance", "btc_usd", "Binance", 719),
        ("deribit", "dvol_btc", "Deribit", (NOW - datetime(2021, 3, 24, tzinfo=UTC)).days),
        ("blockchain_com", "network_hashrate_eh", "blockchain.com", (NOW - SINCE).days),
    ],
)
def test_every_day_comes_once_and_was_known_when_it_was_published(
    market: Market, tmp_path: Path, name: str, series: str, source: str, days: int
) -> None:
    """However the source pages, no day is missing or doubled up to its limit, and its two dates are kept."""
    with Store(tmp_path / "c.sqlite") as store:
        (found,) = fill(store, market, name)
        rows = kept(store, series, source)
    assert found.failed == ""
    assert len(rows) in (days, days - 1, days + 1)
    moments = [row.observed_at for row in rows]
    assert all(b - a == DAY for a, b in pairwise(moments))
    assert all(row.known_basis == "assumed" and row.known_at == row.observed_at + CLASSES[name].lag for row in rows)
    assert all(fault(row, SERIES[series]) == "" for row in rows)
    assert max(row.known_at for row in rows) <= NOW


def test_a_close_is_that_of_its_day(market: Market, tmp_path: Path) -> None:
    """Column order low, high, open, close: the close of a day is observed at the next midnight."""
    with Store(tmp_path / "c.sqlite") as store:
        fill(store, market, "coinbase", "kraken", "binance", since=NOW - 40 * DAY)
        day = datetime(2026, 8, 1, tzinfo=UTC)
        closes = {o.source: o.value for o in store.observations(NOW, series=["btc_usd"]) if o.observed_at == day + DAY}
    assert closes == {
        "Coinbase Exchange BTC-USD daily close": price(day),
        "Kraken XXBTZUSD daily close": price(day) + 3,
        "Binance BTCUSDT daily close, tether by Kraken": pytest.approx(price(day)),
    }


def test_the_open_candle_of_today_is_no_close(market: Market, tmp_path: Path) -> None:
    """What is still trading has no close yet."""
    with Store(tmp_path / "c.sqlite") as store:
        fill(store, market, "coinbase", "kraken", "binance", "deribit", since=NOW - 40 * DAY)
        assert max(o.observed_at for o in store.observations(NOW)) == datetime(2026, 8, 14, tzinfo=UTC)


def test_difficulty_and_reward_begin_with_what_was_in_force(market: Market, tmp_path: Path) -> None:
    """At the first day something is in force already; the halving of 2024 changes the reward, its fees are assumed."""
    with Store(tmp_path / "c.sqlite") as store:
        fill(store, market, "mempool")
        rows = kept(store, "difficulty", "mempool")
        rewards = kept(store, "block_reward_btc", "protocol")
    assert rows[0].observed_at <= SINCE < rows[1].observed_at
    assert [(o.observed_at.year, o.value, o.quality) for o in rewards] == [
        (2020, 6.375, "assumed"),
        (2024, 3.15625, "assumed"),
    ]


def test_sofr_reaches_as_far_back_as_asked(market: Market, tmp_path: Path) -> None:
    """The number of rates asked for follows from the first day."""
    with Store(tmp_path / "c.sqlite") as store:
        fill(store, market, "nyfed")
        rows = kept(store, "sofr", "New York")
    assert SINCE <= rows[0].observed_at <= SINCE + 5 * DAY
    assert all(row.known_at - row.observed_at == CLASSES["nyfed"].lag for row in rows)


# ---------------------------------------------------------------- going on
def test_nothing_is_asked_for_twice(market: Market, tmp_path: Path) -> None:
    """A second run asks only for the unsettled end, one with an earlier start for what is before."""
    with Store(tmp_path / "c.sqlite") as store:
        (first,) = fill(store, market, "coinbase", since=SINCE + 700 * DAY)
        asked = len(market.requests)
        (again,) = fill(store, market, "coinbase", since=SINCE + 700 * DAY)
        assert (again.stretches, again.new) == (1, 0)
        assert len(market.requests) - asked == 2  # one stretch, two products
        (earlier,) = fill(store, market, "coinbase", since=SINCE)
        assert earlier.new == 2 * 700
        assert done_spans(store, "coinbase") == [(SINCE, NOW - UNSETTLED)]
    assert first.new == 2 * ((NOW - SINCE).days - 700)


def test_a_killed_run_goes_on(market: Market, tmp_path: Path) -> None:
    """A process killed between two stretches loses nothing: the next gives what an unbroken one gives."""
    path = tmp_path / "killed.sqlite"
    Store(path).close()
    child = os.fork()
    if child == 0:  # the child never comes back from here
        with Store(path) as store:
            asyncio.run(backfill(store, [feed("coinbase", market)], SINCE, NOW, _die_at_three, pause_s=0.0))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    before = len(market.requests)
    with Store(path) as store, Store(tmp_path / "whole.sqlite") as other:
        assert done_spans(store, "coinbase") == [(SINCE, SINCE + 3 * CLASSES["coinbase"].page)]  # type: ignore[operator]
        (rest,) = fill(store, market, "coinbase")
        assert len(market.requests) - before == 2 * rest.stretches
        (whole,) = fill(other, market, "coinbase")
        assert rest.stretches == whole.stretches - 3
        assert store.observations(NOW) == other.observations(NOW)


def _die_at_three(source: str, done: int, of: int) -> None:
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_source_that_fails_stops_no_other_and_is_asked_again(market: Market, tmp_path: Path) -> None:
    """What came before the failure stays; the next run goes on after it."""
    market.broken = {"/products/ETH-USD"}
    with Store(tmp_path / "c.sqlite") as store:
        coinbase, sofr = fill(store, market, "coinbase", "nyfed")
        assert "503" in coinbase.failed
        assert sofr.failed == ""
        assert sofr.new > 1000
        assert kept(store, "btc_usd", "Coinbase") == []  # half of a stretch is not a stretch
        assert done_spans(store, "coinbase") == []
        market.broken = set()
        assert fill(store, market, "coinbase")[0].failed == ""


def test_implausible_values_are_left_out_and_counted(market: Market, tmp_path: Path) -> None:
    """A price in another unit never reaches the database, and the answer says how many."""
    rows = [[(SINCE + i * DAY).timestamp(), 1, 3, 2, 2, 1] for i in range(3)]
    with Loopback() as server, Store(tmp_path / "c.sqlite") as store:
        server.on("/products/BTC-USD/candles", Answer.json(rows))
        server.on("/products/ETH-USD/candles", Answer.json([]))
        (found,) = fill(store, server, "coinbase", now=SINCE + 30 * DAY)
        assert found.left_out == (("btc_usd: not plausible", 3),)
        assert store.observations(NOW) == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(451, b"not here"),
        Answer(200, b"<!DOCTYPE html>"),
        Answer(200, b"[[1609459200, 1, 2"),
        Answer.json([[1609459200, 9, 1, 5, 5, 1]]),
        Answer.json([[1609459200000, 1, 9, 5, 5, 1]]),
        Answer.json({"message": "NotFound"}),
    ],
)
def test_bad_answers_leave_the_stretch_undone(tmp_path: Path, answer: Answer) -> None:
    """Refusals, pages, cut-off text, swapped columns and other units of time are failures with a reason."""
    with Loopback() as server, Store(tmp_path / "c.sqlite") as store:
        for product in ("BTC-USD", "ETH-USD"):
            server.on(f"/products/{product}/candles", answer)
        (found,) = fill(store, server, "coinbase", now=SINCE + 30 * DAY)
        assert found.failed.startswith("2021-01-01 to 2021-01-31: ")
        assert done_spans(store, "coinbase") == []


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), max_size=6)


@given(done=SPANS, wanted=st.tuples(st.integers(0, 30), st.integers(31, 60)), page=st.integers(1, 20))
def test_what_is_missing_is_covered_exactly_once(done: list[list[int]], wanted: tuple[int, int], page: int) -> None:
    """Done and asked stretches together cover the span; none overlaps what is done, and none is longer than a page."""
    spans = [(SINCE + a * DAY, SINCE + b * DAY) for a, b in done]
    asked = stretches(missing((SINCE + wanted[0] * DAY, SINCE + wanted[1] * DAY), spans), page * DAY)
    covered = {i for a, b in done for i in range(a, b)}
    found = [i for a, b in asked for i in range((a - SINCE).days, (b - SINCE).days)]
    assert sorted(found) == sorted(set(range(*wanted)) - covered)
    assert all(b - a <= page * DAY for a, b in asked)
    assert merged([*spans, *asked]) == merged([*spans, (SINCE + wanted[0] * DAY, SINCE + wanted[1] * DAY)])


# ---------------------------------------------------------------- files
HEAD = "date,series,value,unit,source,known_lag\n"


def test_csv_and_parquet_are_checked_alike(tmp_path: Path) -> None:
    """One set of checks: the same rows give the same observations, the same mistake the same sentence."""
    from pyarrow import csv, parquet

    for name, row in (
        ("good", "2022-05-01,btc_usd,38500.5,usd,our desk,1d\n"),
        ("bad", "2022-05-01,btc_usd,3,usd,d,0\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(HEAD + row)
        parquet.write_table(csv.read_csv(tmp_path / f"{name}.csv"), tmp_path / f"{name}.parquet")
    assert read_table(tmp_path / "good.csv") == read_table(tmp_path / "good.parquet")
    said = []
    for suffix in ("csv", "parquet"):
        with pytest.raises(InputError) as caught:
            read_table(tmp_path / f"bad.{suffix}")
        said.append((caught.value.problems[0].line, caught.value.problems[0].message))
    assert said[0] == said[1]
    assert "below any plausible btc_usd" in said[0][1]


def test_what_is_no_parquet_is_said(tmp_path: Path) -> None:
    """A file of another kind is a sentence, not a traceback."""
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing of it")
    with pytest.raises(CanaryError, match="cannot be read as Parquet"):
        read_table(tmp_path / "x.parquet")
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(CanaryError, match=r"neither \.csv nor \.parquet"):
        read_table(tmp_path / "x.txt")


# ---------------------------------------------------------------- the command
@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desk whose sources are on loopback or off."""
    monkeypatch.delenv("CANARY_CONFIG", raising=False)
    monkeypatch.chdir(lay_desk(tmp_path / "desk"))
    return tmp_path / "desk"


def on_loopback(desk: Path, market: Loopback) -> None:
    """Point every source that tells its past at the loopback server."""
    names = [name for name in CLASSES if CLASSES[name].history is not Feed.history]
    text = "".join(f"  {name}: {{base_url: '{market.url}'}}\n" for name in names)
    (desk / "config.yaml").write_text((desk / "config.yaml").read_text() + "feeds:\n" + text)


def test_the_command_fills_and_says_what_failed(desk: Path, market: Market, capsys: pytest.CaptureFixture[str]) -> None:
    """A source that fails is a finding (1) with its reason; the others are in the database."""
    on_loopback(desk, market)
    code = run_line(["backfill", "--from", "2026-01-01", "--only", "coinbase", "--only", "ornn", "--json"])
    told = {one["source"]: one for one in json.loads(capsys.readouterr().out)["sources"]}
    assert code == 1
    assert told["coinbase"]["failed"] is None
    assert told["coinbase"]["new"] > 300
    assert told["coinbase"]["from"].startswith("2026-01-02")
    assert "404" in told["ornn"]["failed"]
    with Store.reader(desk / "state" / "canary.sqlite") as store:
        assert len(store.observations(datetime(2100, 1, 1, tzinfo=UTC), series=["btc_usd"])) > 200


def test_files_go_in_all_or_none(desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in the second file keeps the first out as well; a file taken in twice is in once."""
    (tmp_path / "a.csv").write_text(HEAD + "2022-05-01,btc_usd,38500,usd,our desk,0\n")
    (tmp_path / "b.csv").write_text(HEAD + "2022-05-01,btc_us,38500,usd,our desk,0\n")
    assert run_line(["backfill", str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]) == 2
    assert "no series is called 'btc_us'" in capsys.readouterr().err
    for new in (1, 0):
        assert run_line(["backfill", str(tmp_path / "a.csv"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["sources"][0]["new"] == new


def test_a_backfilled_past_is_enough_for_a_replay(
    tmp_path: Path, market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but the sources: the miners of 2022 are replayed on what backfill fetched, and warned of as they were."""
    names = [name for name in CLASSES if CLASSES[name].history is not Feed.history]
    places = "".join(f"{part}: {ROOT / part}, " for part in ("book", "rules", "scenarios"))
    (tmp_path / "config.yaml").write_text(
        f"paths: {{{places}state: {tmp_path / 'state'}}}\nfeeds:\n"
        + "".join(f"  {name}: {{base_url: '{market.url}'}}\n" for name in names)
    )
    monkeypatch.chdir(tmp_path)
    days = ["--from", "2022-07-28", "--to", "2022-08-13"]
    assert run_line(["replay", "--history", *days]) == 2
    assert "canary backfill --from 2021-01-01" in capsys.readouterr().err
    assert run_line(["backfill", "--from", "2022-06-01", "--only", "coinbase", "--only", "mempool", "--json"]) == 0
    capsys.readouterr()
    assert run_line(["replay", "--history", "--json", *days]) == 0
    told = json.loads(capsys.readouterr().out)
    burn = [one for one in told["episodes"] if one["rule"] == "TreasuryBurn"]
    assert [(one["subject"], one["began"]) for one in burn] == [("core-scientific", "2022-08-07T00:00:00+00:00")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([], "say from when"),
        (["--from", "soon"], "is no day"),
        (["--from", "2999-01-01"], "between 2009 and yesterday"),
        (["--from", "2021-01-01", "--only", "coinbas"], "did you mean 'coinbase'"),
        (["--from", "2021-01-01", "--only", "vast"], "tells no past"),
        (["--offline", "--from", "2021-01-01"], "leave out --offline"),
    ],
)
def test_mistakes_are_sentences(desk: Path, capsys: pytest.CaptureFixture[str], line: list[str], said: str) -> None:
    """What is wrong and what to write instead; exit code 2."""
    assert run_line(["backfill", *line]) == 2
    assert said in capsys.readouterr().err


def test_the_past_is_only_asked_where_it_is_told() -> None:
    """Sources without a past are left out of a run over all."""
    names = {one.name for one in with_past(discover(), ())}
    assert {"coinbase", "kraken", "binance", "deribit", "mempool", "blockchain_com", "fred", "nyfed", "ornn"} <= names
    assert not names & {"vast", "runpod", "azure", "file"}
    assert first_moment("2021-01-01", NOW) == SINCE
