"""Answers in the shape the further sources speak, each built from dated values so that a test can spoil them.

A source's ``write(server, rows, ...)`` scripts its paths. ``reorder`` turns its columns or fields round, ``drop``
leaves the field with the value out. Rows are (moment, value in the source's own unit), the newest last.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from loopback import Answer, Loopback

from monitor.feeds import Company, Feed, FeedSettings, discover
from monitor.feeds.gpu_catalogue import PROVIDERS
from monitor.feeds.skypilot import CLOUDS, ROOT

NOW = datetime(2026, 8, 14, 12, tzinfo=UTC)
Rows = Sequence[tuple[datetime, float]]


class Write(Protocol):
    """Scripts the paths of one source from rows."""

    def __call__(self, server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None: ...


@dataclass(frozen=True)
class Source:
    """One source: what it answers, where, and what a good answer means. ``step``: the time between its rows."""

    write: Write
    paths: tuple[str, ...]
    rows: Rows
    expect: dict[str, float]
    #: what the row before the newest means, where rows are dated
    before: dict[str, float] | None = None
    #: columns that stand in another order are found by name (or contradict each other and give nothing)
    by_name: bool = True


def fields(values: dict[str, Any], reorder: bool, drop: str = "") -> dict[str, Any]:
    """An object without the dropped field, its fields turned round when asked."""
    kept = {name: value for name, value in values.items() if name != drop}
    return dict(reversed(kept.items())) if reorder else kept


def raw(value: object) -> Answer:
    """JSON as a careless server writes it: NaN stays NaN."""
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def daily(values: Sequence[float], last: datetime = NOW - timedelta(hours=36)) -> Rows:
    """Values of consecutive days."""
    return [(last - timedelta(days=len(values) - 1 - i), value) for i, value in enumerate(values)]


# ---------------------------------------------------------------- dated values
def nyfed(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    found = [
        fields(
            {
                "effectiveDate": f"{at:%Y-%m-%d}",
                "type": "SOFR",
                "percentRate": v,
                "volumeInBillions": 2871,
                "revisionIndicator": "",
            },
            reorder,
            "percentRate" if drop else "",
        )
        for at, v in reversed(rows)
    ]
    for count in (5, 1000):
        server.on(f"/api/rates/secured/sofr/last/{count}.json", raw({"refRates": found}))


def fred(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    names = ("observation_date", "BAMLH0A0HYM2")
    lines = [names[:1] if drop else names, *((f"{at:%Y-%m-%d}", f"{value:g}") for at, value in rows)]
    text = "".join(",".join(reversed(line) if reorder else line) + "\n" for line in lines)
    server.on("/graph/fredgraph.csv", Answer(200, text.encode(), {"Content-Type": "text/csv"}))


def tether(server: Loopback, price: object = "0.99900000") -> None:
    pair = {"a": [price, "1", "1.000"], "c": [price, "584.25"], "o": price}
    server.on("/0/public/Ticker", Answer.json({"error": [], "result": {"USDTZUSD": pair}}))


def binance(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    tether(server)
    found: list[list[object]] = []
    for at, value in rows:
        opened = int(at.timestamp() * 1000)
        bar = [str(v) for v in (value * 0.9999, value * 1.001, value * 0.998, value)]
        row = [opened, *bar, "12.5", opened + 59_999, "776000", 815, "6.1", "380000", "0"]
        found.append(row[:4] if drop else [opened, *reversed(bar), *row[5:]] if reorder else row)
    server.on("/api/v3/klines", raw(found))


def deribit(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    found: list[list[float]] = []
    for at, value in rows:
        bar = [value * 0.999, value * 1.01, value * 0.99, value]
        found.append([at.timestamp() * 1000, *(bar[:2] if drop else reversed(bar) if reorder else bar)])
    result = {"data": found, "continuation": None}
    server.on("/api/v2/public/get_volatility_index_data", raw({"jsonrpc": "2.0", "result": result, "testnet": False}))


def blockchain_com(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    points = [fields({"x": int(at.timestamp()), "y": v}, reorder, "y" if drop else "") for at, v in rows]
    chart = {"status": "ok", "name": "Hash Rate", "unit": "Hash Rate TH/s", "period": "day", "values": points}
    server.on("/charts/hash-rate", raw(fields(chart, reorder)))
    server.on(
        "/charts/difficulty",
        raw({"status": "ok", "unit": "Difficulty", "values": [{"x": p["x"], "y": 150e12} for p in points]}),
    )


ORNN = {"h100": "H100%20SXM", "h200": "H200", "b200": "B200", "a100": "A100%20SXM4"}


def ornn(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    found = [
        fields({"timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.000Z", "index_value": v}, reorder, "index_value" if drop else "")
        for at, v in rows
    ]
    for name in ORNN.values():
        answer = {"success": True, "gpu_type": name.replace("%20", " "), "data": found}
        server.on(f"/api/gpu/{name}/index-history", raw(fields(answer, reorder)))


# ---------------------------------------------------------------- what is offered now
def vast(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    price = rows[-1][1]
    offers = [
        fields(
            {
                "id": 40_000_000 + i,
                "gpu_name": name,
                "num_gpus": 2,
                "dph_total": 2 * price * (0.8 + i / 10),
                "verified": None,
            },
            reorder,
            "dph_total" if drop else "",
        )
        for name in ("H100 SXM", "H200", "B200", "A100_SXM4")
        for i in range(5)
    ]
    server.on("/api/v0/bundles/", raw({"offers": offers}))


def runpod(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    price = rows[-1][1]
    types = [
        fields(
            {
                "id": name,
                "securePrice": price * factor,
                "secureSpotPrice": price * factor * 0.6,
                "communityPrice": None,
                "communitySpotPrice": None,
            },
            reorder,
        )
        for name, factor in (("NVIDIA H100 80GB HBM3", 1.0), ("NVIDIA H200", 1.2), ("NVIDIA GeForce RTX 4090", 0.2))
    ]
    if drop:
        types = [{"id": entry["id"]} for entry in types]
    server.on("/graphql", raw({"data": {"gpuTypes": types}}))


def azure_row(machine: str, price: float, **more: object) -> dict[str, Any]:
    """One row of the retail price list, Linux and on demand unless said otherwise."""
    row = {
        "currencyCode": "USD",
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": "eastus",
        "type": "Consumption",
    }
    row |= {
        "meterName": "ND96",
        "productName": "Virtual Machines ND Series",
        "armSkuName": machine,
        "unitOfMeasure": "1 Hour",
    }
    return row | more


def azure(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    price = 8 * rows[-1][1]
    items = [
        fields(azure_row(machine, price * factor, **more), reorder, "retailPrice" if drop else "")
        for machine in ("Standard_ND96isr_H100_v5", "Standard_ND96amsr_A100_v4", "Standard_ND96isr_H200_v5")
        for factor, more in (
            (1.0, {}),
            (1.05, {"productName": "Virtual Machines ND Series Windows"}),
            (0.5, {"meterName": "ND96 Spot"}),
            (0.4, {"meterName": "ND96 Low Priority"}),
        )
    ]
    server.on("/api/retail/prices", raw(fields({"Items": items, "NextPageLink": None, "Count": len(items)}, reorder)))


TOKENS = 1_000_000


def openrouter(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    price = rows[-1][1] / TOKENS
    models = [
        fields(
            {
                "id": f"maker-{i}/model-{i}.1",
                "canonical_slug": f"maker-{i}/model-{i}.1-2026",
                "created": 1_760_000_000,
                "context_length": 131_072,
                "architecture": {"modality": "text->text", "tokenizer": "Other"},
                "pricing": fields(
                    {"prompt": f"{price:.12f}", "completion": f"{4 * price:.12f}", "request": "0"}, reorder
                ),
            },
            reorder,
            "pricing" if drop else "",
        )
        for i in range(5)
    ]
    free = {"id": "maker-0/model-0.1:free", "pricing": {"prompt": "0", "completion": "0"}}
    router = {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}}
    server.on("/api/v1/models", raw({"data": [*models, free, router]}))


def skypilot(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    price = rows[-1][1]
    names = ["InstanceType", "AcceleratorName", "AcceleratorCount", "GpuInfo", "Price", "SpotPrice", "Region"]
    lines = []
    for model, memory, factor in (("H100", 81920, 1.0), ("H200", 144384, 1.2)):
        info = f"\"{{'Gpus': [{{'Name': '{model}', 'MemoryInfo': {{'SizeInMiB': {memory}}}}}]}}\""
        lines.append([f"8x-{model}-sxm", model, "8", info, f"{8 * price * factor}", "0.0", "us"])
    kept = [name for name in names if not (drop and name == "Price")]
    kept = list(reversed(kept)) if reorder else kept
    text = "\n".join(",".join(line[names.index(name)] for name in kept) for line in [names, *lines]) + "\n"
    for cloud in CLOUDS:
        server.on(f"/{ROOT}/{cloud}/vms.csv", Answer(200, text.encode(), {"Content-Type": "text/plain"}))


def luxor(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    at, value = rows[-1]
    said = {"priceBTC": value / 62_100, "priceUSD": value, "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}Z"}
    server.on("/v1/hashrateindex/hashprice/current", raw({"data": fields(said, reorder, "priceUSD" if drop else "")}))


def coingecko(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    at, value = rows[-1]
    coin = fields({"usd": value, "last_updated_at": int(at.timestamp())}, reorder, "usd" if drop else "")
    server.on("/api/v3/simple/price", raw(fields({"bitcoin": coin, "ethereum": coin}, reorder)))


def coinbase(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    at, value = rows[-1]
    said = {"ask": "1", "price": str(value), "size": "0.01", "time": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z", "volume": "81.4"}
    for product in ("BTC-USD", "ETH-USD"):
        server.on(f"/products/{product}/ticker", raw(fields(said, reorder, "price" if drop else "")))


def kraken(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    price = str(rows[-1][1])
    pair = fields({"a": [price, "1", "1.000"], "c": [price, "0.5"], "o": price}, reorder, "c" if drop else "")
    result = fields({"XXBTZUSD": pair, "XETHZUSD": pair}, reorder)
    server.on("/0/public/Ticker", raw(fields({"error": [], "result": result}, reorder)))


def mempool(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    value = rows[-1][1]
    page = {"hashrates": [], "difficulty": [], "currentHashrate": 1_050_000_000_000_000_000_000}
    page |= {} if drop else {"currentDifficulty": value}
    reward = value / 150e12 * 45_700_000_000
    stats = {"startBlock": 961857, "endBlock": 962000, "totalReward": f"{reward}", "totalFee": "700000000"}
    server.on("/api/v1/mining/hashrate/3d", raw(fields(page, reorder)))
    server.on("/api/v1/mining/reward-stats/144", raw(fields(stats, reorder, "totalReward" if drop else "")))


def gpu_catalogue(server: Loopback, rows: Rows, reorder: bool = False, drop: bool = False) -> None:
    names = ["instance_name", "price", "gpu_count", "gpu_name", "gpu_memory", "spot"]
    row = dict(zip(names, ["h100-x8", str(8 * rows[-1][1]), "8", "H100", "80", "False"], strict=True))
    kept = [name for name in names if not (drop and name == "price")]
    kept = list(reversed(kept)) if reorder else kept
    text = f"{','.join(kept)}\n{','.join(row[name] for name in kept)}\n"
    for provider in PROVIDERS[:4]:
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{provider}.csv", text)
        server.on(f"/v3/{provider}/version", Answer(200, b"20260814-12\n"))
        server.on(f"/v3/{provider}/20260814-12/catalog.zip", Answer(200, memory.getvalue()))


def submissions(*filings: dict[str, str]) -> dict[str, Any]:
    """A company's list of filings, stored by columns; fields left out are those of a quarterly report."""
    usual = {
        "form": "10-Q",
        "filingDate": "2026-08-06",
        "reportDate": "2026-06-30",
        "items": "",
        "primaryDocument": "a.htm",
    }
    usual |= {"accessionNumber": "0000000001-26-000001", "acceptanceDateTime": "2026-08-06T20:05:12.000Z"}
    names = ("accessionNumber", "filingDate", "reportDate", "acceptanceDateTime", "form", "items", "primaryDocument")
    recent = {name: [(usual | filing)[name] for filing in filings] for name in names}
    return {"cik": "1", "name": "ACME CORP", "filings": {"recent": recent, "files": []}}


#: a borrower as the SEC knows it, and where it is asked
COMPANIES = (Company("acme", "ACME", 1),)
SUBMISSIONS = "/submissions/CIK0000000001.json"


def edgar_ok(server: Loopback) -> None:
    """One non-reliance and one late report."""
    bad = {"form": "8-K", "items": "4.02,9.01", "filingDate": "2026-08-03", "reportDate": "2026-08-01"}
    late = {
        "form": "NT 10-Q",
        "accessionNumber": "0000000001-26-000002",
        "acceptanceDateTime": "2026-08-11T21:00:00.000Z",
    }
    server.on(SUBMISSIONS, raw(submissions(bad | {"acceptanceDateTime": "2026-08-03T20:00:00.000Z"}, late)))


MINUTE = NOW.replace(second=0) - timedelta(minutes=1)
HOURLY = NOW - timedelta(minutes=30)

#: source -> how it answers
SOURCES: dict[str, Source] = {
    "nyfed": Source(
        nyfed,
        ("/api/rates/secured/sofr/last/5.json",),
        daily((3.61, 3.63, 3.65)),
        {"sofr": 0.0365},
        {"sofr": 0.0363},
    ),
    "fred": Source(
        fred, ("/graph/fredgraph.csv",), daily((2.9, 2.92, 2.95)), {"hy_spread_bp": 295.0}, {"hy_spread_bp": 292.0}
    ),
    "binance": Source(
        binance,
        ("/api/v3/klines", "/0/public/Ticker"),
        [(MINUTE - timedelta(minutes=1), 62_000.0), (MINUTE, 62_100.0)],
        {"btc_usd": 62_100 * 0.999, "eth_usd": 62_100 * 0.999},
        {"btc_usd": 62_000 * 0.999, "eth_usd": 62_000 * 0.999},
        by_name=False,
    ),
    "deribit": Source(
        deribit,
        ("/api/v2/public/get_volatility_index_data",),
        [(HOURLY - timedelta(hours=1), 47.0), (HOURLY, 47.5)],
        {"dvol_btc": 0.475, "dvol_eth": 0.475},
        {"dvol_btc": 0.47, "dvol_eth": 0.47},
        by_name=False,
    ),
    "blockchain_com": Source(
        blockchain_com,
        ("/charts/hash-rate",),
        daily((1.04e9, 1.05e9)),
        {"network_hashrate_eh": 1050.0},
        {"network_hashrate_eh": 1040.0},
    ),
    "ornn": Source(
        ornn,
        tuple(f"/api/gpu/{name}/index-history" for name in ORNN.values()),
        daily((2.31, 2.35)),
        {f"rent_{model}_ornn_usd": 2.35 for model in ORNN},
        {f"rent_{model}_ornn_usd": 2.31 for model in ORNN},
    ),
    "vast": Source(
        vast,
        ("/api/v0/bundles/",),
        [(NOW, 2.5)],
        {
            f"{model}/{market}/ask/any/1": 2.5
            for model in ("a100", "h100", "h200", "b200")
            for market in ("on_demand", "spot")
        },
    ),
    "runpod": Source(
        runpod,
        ("/graphql",),
        [(NOW, 3.0)],
        {
            "h100/on_demand/list/secure/1": 3.0,
            "h100/spot/list/secure/1": 1.8,
            "h200/on_demand/list/secure/1": 3.6,
            "h200/spot/list/secure/1": 2.16,
        },
    ),
    "azure": Source(
        azure,
        ("/api/retail/prices",),
        [(NOW, 12.0)],
        {
            f"{model}/{market}/list/any/8": price
            for model in ("a100", "h100", "h200")
            for market, price in (("on_demand", 12.0), ("spot", 6.0))
        },
    ),
    "openrouter": Source(
        openrouter,
        ("/api/v1/models",),
        [(NOW, 1.5)],
        {
            f"maker-{i}/model-{i}.1/on_demand/list/{side}/1": price
            for i in range(5)
            for side, price in (("input", 1.5), ("output", 6.0))
        },
    ),
    "skypilot": Source(
        skypilot,
        tuple(f"/{ROOT}/{cloud}/vms.csv" for cloud in CLOUDS),
        [(NOW, 3.0)],
        {f"{c}/{m}/on_demand/list/any/8": p for c in CLOUDS for m, p in (("h100", 3.0), ("h200", 3.6))},
    ),
    "luxor": Source(luxor, ("/v1/hashrateindex/hashprice/current",), [(NOW, 41.5)], {"hashprice_usd_ph_day": 41.5}),
    "coingecko": Source(
        coingecko, ("/api/v3/simple/price",), [(NOW, 62_100.0)], {"btc_usd": 62_100.0, "eth_usd": 62_100.0}
    ),
    "coinbase": Source(
        coinbase,
        ("/products/BTC-USD/ticker", "/products/ETH-USD/ticker"),
        [(NOW, 62_100.0)],
        {"btc_usd": 62_100.0, "eth_usd": 62_100.0},
    ),
    "kraken": Source(kraken, ("/0/public/Ticker",), [(NOW, 62_100.0)], {"btc_usd": 62_100.0, "eth_usd": 62_100.0}),
    "mempool": Source(
        mempool,
        ("/api/v1/mining/hashrate/3d", "/api/v1/mining/reward-stats/144"),
        [(NOW, 150e12)],
        {"difficulty": 150e12, "block_reward_btc": 457 / 144},
    ),
    "gpu_catalogue": Source(
        gpu_catalogue,
        tuple(f"/v3/{provider}/version" for provider in PROVIDERS[:4]),
        [(NOW, 2.5)],
        {"rent_h100_list_usd": 2.5},
    ),
}


def good(name: str) -> Callable[[Loopback], None]:
    """Scripts the good answer of a source."""
    return lambda server: SOURCES[name].write(server, SOURCES[name].rows)


#: for tests over all sources: name -> what scripts its good answer, name -> its paths
GOOD = {name: good(name) for name in SOURCES} | {"edgar": edgar_ok}
PATHS = {name: list(source.paths) for name, source in SOURCES.items()} | {"edgar": [SUBMISSIONS]}


def settings(url: str | None = None, **more: Any) -> FeedSettings:
    """What switches every source on: its address, a key, a contact and a company."""
    return FeedSettings(base_url=url, key="secret-key", contact="desk@example.org", companies=COMPANIES, **more)


#: every source that this folder's packages allow, whatever it takes to switch it on
FEEDS = [
    feed
    for feed in discover({one.name: FeedSettings() if one.name == "file" else settings() for one in discover()})
    if isinstance(feed, Feed)
]
