"""The traps of this field's data, each by its name: what a naive reading would make of it, and what is made of it here.

Traps of single sources stand with their source: tether (test_more_feeds), company facts (test_edgar), the index on the
recorded market (test_index), publication dates and ledgers (test_book_data).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest
import stamina
from loopback import Answer, Loopback
from more_answers import NOW, SOURCES, raw, settings

from monitor.feeds import Feed, fetch_all
from monitor.feeds.coinbase import candle
from monitor.feeds.fred import WINDOW, Fred
from monitor.feeds.gpu_catalogue import board_model
from monitor.feeds.luxor import Luxor
from monitor.feeds.mempool import Mempool
from monitor.feeds.openrouter import OpenRouter, model_prices
from monitor.feeds.skypilot import offers
from monitor.index import Offer, offer_series, rental_index
from monitor.model import FeedError, FeedReport, Observation
from monitor.store import Store


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


def ask(feed_class: type[Feed], server: Loopback, now: datetime = NOW) -> tuple[list[Observation], FeedReport]:
    found, (report,) = asyncio.run(fetch_all([feed_class(settings(server.url))], now, 5.0))
    return found, report


def offer(provider: str, price: float, day: date) -> Offer:
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    series = offer_series(provider, "H100", "on_demand", "list", "any", 8)
    return Offer(provider, "H100", "on_demand", price, at, at, "any", 8, "list", series)


# ---------------------------------------------------------------- rents
def test_trap_panel_noise() -> None:
    """One expensive cloud joins: the median of all jumps by half, the matched index does not move."""
    days = [date(2026, 8, 1) + timedelta(days=i) for i in range(12)]
    old = {f"cloud-{i}": 2.0 + 0.2 * i for i in range(6)}
    newcomers = {f"hyperscaler-{i}": 9.0 + i for i in range(5)}
    rows = [offer(name, price, day) for day in days for name, price in old.items()]
    rows += [offer(name, price, day) for day in days[6:] for name, price in newcomers.items()]
    naive = [median(o.price_usd_per_gpu_hour for o in rows if o.observed_at.date() == day) for day in days]
    assert max(naive) / min(naive) > 1.15
    said = [p.value_usd_per_gpu_hour for p in rental_index(rows, "H100", "on_demand", NOW) if not p.withheld]
    assert max(said) / min(said) == pytest.approx(1.0, abs=0.005)


def test_trap_second_hand_headline() -> None:
    """One sale, or one cloud, is no index: it is withheld with its reason, whatever its price."""
    rows = [offer("only", 4.07, date(2026, 8, 1) + timedelta(days=i)) for i in range(10)]
    points = rental_index(rows, "H100", "on_demand", NOW)
    assert points
    assert all(point.withheld for point in points)


@pytest.mark.parametrize(
    ("name", "instance", "count", "memory"),
    [
        ("GH200", "gh200-superchip", 1, 96),
        ("GB200", "gb200-nvl72-tray", 4, 186),
        ("GB200", "gb200-nvl4", 2, 372),
        ("H100 NVL", "2x-h100-nvl", 2, 94),
        ("H100NVL", "h100-nvl-pair", 1, 188),
    ],
)
def test_trap_dual_gpu_module(name: str, instance: str, count: float, memory: float) -> None:
    """A module of a processor and one or two GPUs, or a bridged pair of cards, is not the board whose index is kept."""
    assert board_model(name, instance, count, memory) is None


def test_trap_price_of_the_instance() -> None:
    """A catalogue's price is for the whole machine: eight GPUs at 23.60 are 2.95 each."""
    header = "InstanceType,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice\n"
    info = "\"{'Gpus': [{'Name': 'H100', 'MemoryInfo': {'SizeInMiB': %d}}]}\""
    rows = [
        f"8x-sxm,H100,8,{info % 81920},23.60,10.00",
        f"1x-sxm,H100,1,{info % 81920},2.95,",
        f"8x-sxm-all,H100,8,{info % 652472},16.0,0.0",  # memory of all eight together
        f"8x-nvl,H100,8,{info % 96256},12.0,0.0",  # 94 GB: another card under the same name
        f"8x-sxm-cents,H100,8,{info % 81920},236000.0,0.0",
        f"half,H100,0.5,{info % 81920},1.0,0.0",
        "cpu,,,,0.2,",
    ]
    found = [(market, count, round(price, 2)) for _, market, count, price in offers(header + "\n".join(rows) + "\n")]
    assert found == [
        ("on_demand", 8, 2.95), ("spot", 8, 1.25), ("on_demand", 1, 2.95), ("on_demand", 8, 2.0),
    ]  # fmt: skip


# ---------------------------------------------------------------- rates and coins
def test_trap_freds_short_window(server: Loopback, tmp_path: Path) -> None:
    """The site serves three years and forgets the rest; what it once said stays in our own store."""
    assert timedelta(days=3 * 365) <= WINDOW <= timedelta(days=3 * 366)
    header = "observation_date,BAMLH0A0HYM2\n"
    with Store(tmp_path / "canary.sqlite") as store:
        for day, spread in ((date(2026, 8, 12), 2.95), (date(2026, 8, 13), 2.97)):
            server.on("/graph/fredgraph.csv", Answer(200, f"{header}{day},{spread}\n".encode()))
            now = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=12)
            found, _ = ask(Fred, server, now)
            store.keep(found)
        kept = store.observations(NOW + timedelta(days=5000), series=("hy_spread_bp",))
    assert [row.value for row in kept] == [pytest.approx(295.0), pytest.approx(297.0)]


def test_trap_coinbase_column_order() -> None:
    """Its candles are low, high, open, close; the usual order contradicts itself and is refused."""
    assert candle([1786665600, 61_000.0, 63_000.0, 62_500.0, 62_100.5, 9.0])[1] == 62_100.5
    with pytest.raises(FeedError, match="contradict"):
        candle([1786665600, 62_500.0, 63_000.0, 61_000.0, 62_100.5, 9.0])


def test_trap_integers_beyond_64_bits(server: Loopback) -> None:
    """A network hashrate in hashes a second does not fit into 64 bits and disturbs nothing."""
    SOURCES["mempool"].write(server, SOURCES["mempool"].rows)
    page = json.loads(server._answers["/api/v1/mining/hashrate/3d"][0].body)
    server.on(
        "/api/v1/mining/hashrate/3d", raw(page | {"currentHashrate": 2**90, "hashrates": [{"avgHashrate": 2**90}]})
    )
    found, report = ask(Mempool, server)
    assert {seen.series for seen in found} == {"difficulty", "block_reward_btc"}
    assert report.reason == ""


@pytest.mark.parametrize("factor", [1 / 1000, 1000.0])
def test_trap_another_unit_of_hashrate(factor: float, server: Loopback) -> None:
    """Per TH or per EH instead of per PH is out of every plausible range."""
    SOURCES["luxor"].write(server, [(NOW, 41.5 * factor)])
    found, report = ask(Luxor, server)
    assert found == []
    assert "any plausible" in report.reason


def test_trap_swapped_columns_of_hashprice(server: Loopback) -> None:
    """Bitcoin where dollars should be makes a bitcoin worth nothing, and is refused."""
    said = {"priceBTC": 41.5, "priceUSD": 41.5 / 62_100, "timestamp": "2026-08-14T11:59:00Z"}
    server.on("/v1/hashrateindex/hashprice/current", raw({"data": said}))
    assert "cannot both be the hashprice" in ask(Luxor, server)[1].reason


# ---------------------------------------------------------------- tokens
def test_trap_tokens_are_priced_as_strings_per_token() -> None:
    """0.0000025 USD a token are 2.50 a million; a router's -1, a free model and a variant are no price."""
    row = {"id": "maker/big", "pricing": {"prompt": "0.0000025", "completion": "0.00001"}}
    assert [round(price, 6) for _, price in model_prices(row)] == [2.5, 10.0]
    for strange in (
        {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "maker/big", "pricing": {"prompt": "0", "completion": "0"}},
        {"id": "maker/big:free", "pricing": {"prompt": "0.1", "completion": "0.1"}},
    ):
        assert list(model_prices(strange)) == []


@pytest.mark.parametrize("factor", [100.0, 1_000_000.0, 1 / 1000])
def test_trap_a_token_list_in_another_unit(factor: float, server: Loopback) -> None:
    """Cents, a million tokens, or thousands for one: the list as a whole is refused."""
    SOURCES["openrouter"].write(server, [(NOW, 1.5 * factor)])
    found, report = ask(OpenRouter, server)
    assert found == []
    assert not report.ok
