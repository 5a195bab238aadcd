"""Answers in the shape the further sources speak, each built from dated values so that a test can spoil them.

A source's ``write(server, rows, ...)`` scripts its paths. ``reorder`` turns its columns or fields round, ``drop``
leaves the field with the value out. Rows are (moment, value in the source's own unit), the newest last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from loopback import Answer, Loopback

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
}


def good(name: str) -> Callable[[Loopback], None]:
    """Scripts the good answer of a source."""
    return lambda server: SOURCES[name].write(server, SOURCES[name].rows)


#: for tests over all sources: name -> what scripts its good answer, name -> its paths
GOOD = {name: good(name) for name in SOURCES}
PATHS = {name: list(source.paths) for name, source in SOURCES.items()}
