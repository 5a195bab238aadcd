"""Azure: list prices of its eight-GPU machines, on demand and spot. Raw offers, no key."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from statistics import median
from urllib.parse import quote

from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client, field, number
from monitor.index import RentalMarket, believable, offer_series
from monitor.model import FeedError, Observation

#: model -> the machine with eight of it; names are case-sensitive
MACHINES = {
    "A100": "Standard_ND96amsr_A100_v4",
    "H100": "Standard_ND96isr_H100_v5",
    "H200": "Standard_ND96isr_H200_v5",
}
GPUS = 8
API_VERSION = "2023-01-01-preview"


class Azure(Feed):
    """``{"Items": [{"armSkuName", "type", "productName", "meterName", "unitOfMeasure", "retailPrice", ...}]}``."""

    name = "azure"
    series = tuple(f"offer_{model.lower()}_usd" for model in MACHINES)
    hosts = ("prices.azure.com",)
    what = "list prices per GPU-hour of machines of eight (for the rental index)"
    limits = "1,000 rows a page; three requests a fetch"
    time_limit_s = 20.0

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """One observation per model and market: the median over regions, per GPU-hour."""
        return await gather_parts(client, {model: self._offers(client, now, model) for model in MACHINES})

    async def _offers(self, client: Client, now: datetime, model: str) -> list[Observation]:
        wanted = f"armSkuName eq '{MACHINES[model]}' and priceType eq 'Consumption'"
        answer = await client.get_json(
            f"{self.base_url}/api/retail/prices?api-version={API_VERSION}&$filter={quote(wanted)}"
        )
        items = field(answer, "Items")
        if not isinstance(items, list):
            raise FeedError("Items is not a list")
        if isinstance(answer, dict) and answer.get("NextPageLink"):
            client.note(f"{model}: only the first page of prices was read")
        found: list[Observation] = []
        for market, prices in region_prices(items, MACHINES[model]).items():
            subject = offer_series(self.name, model, market, "list", "any", GPUS)
            source, note = f"Azure retail prices, {market}", f"median of {len(prices)} regions"
            series, price = f"offer_{model.lower()}_usd", median(prices.values())
            found.append(
                Observation(series, price, "usd/gpu-hour", now, now, source, subject, quality="press", note=note)
            )
        if not found:
            raise FeedError("no row with a believable hourly price in USD")
        return found


def region_prices(items: list[object], machine: str) -> dict[RentalMarket, dict[str, float]]:
    """Market -> region -> USD per GPU-hour of Linux machines; Windows, low priority, reserved and other units are out.

    >>> row = {"armSkuName": "M", "armRegionName": "eastus", "productName": "ND v5", "meterName": "ND96 Spot",
    ...        "type": "Consumption", "unitOfMeasure": "1 Hour", "currencyCode": "USD", "retailPrice": 40.0}
    >>> region_prices([row, {**row, "meterName": "ND96"}, {**row, "productName": "ND v5 Windows"}], "M")
    {'spot': {'eastus': 5.0}, 'on_demand': {'eastus': 5.0}}
    """
    found: dict[RentalMarket, dict[str, float]] = defaultdict(dict)
    for item in items:
        try:
            text = {name: str(field(item, name)) for name in ("armRegionName", "productName", "meterName")}
            as_wanted = tuple(field(item, name) for name in ("armSkuName", "type", "unitOfMeasure", "currencyCode"))
            price = number(field(item, "retailPrice"), "retailPrice") / GPUS
        except FeedError:
            continue  # a row without one of its fields says nothing
        # a reservation costs its whole term, whatever its unit says
        if as_wanted != (machine, "Consumption", "1 Hour", "USD") or not believable(price):
            continue
        if "Windows" in text["productName"] or "Low Priority" in text["meterName"]:
            continue
        market: RentalMarket = "spot" if "Spot" in text["meterName"] else "on_demand"
        found[market][text["armRegionName"]] = price
    return dict(found)
