"""Vast.ai: what hosts of its marketplace ask for. Raw offers, no key.

An offer is neither a list price nor an index: :mod:`monitor.index` compares it only with itself. Hosts come and go by
the hour, so the price of a model is the median over the machines on offer, and never their minimum.
"""

from __future__ import annotations

import json
from datetime import datetime
from statistics import median
from urllib.parse import quote

from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client, field, number
from monitor.index import OfferKind, RentalMarket, believable, offer_series
from monitor.model import FeedError, Observation

#: model -> (Vast's name, least memory in MB: the 40 GB A100 is another product)
MODELS = {
    "A100": ("A100 SXM4", 70_000),
    "H100": ("H100 SXM", 70_000),
    "H200": ("H200", 130_000),
    "B200": ("B200", 170_000),
}
#: market -> (what is searched for, the field of its price: the lowest bid that runs now, else what an offer costs)
MARKETS: dict[RentalMarket, tuple[str, tuple[str, ...]]] = {
    "on_demand": ("on-demand", ("dph_total",)),
    "spot": ("bid", ("min_bid", "dph_total")),
}
KIND: OfferKind = "ask"
#: without a limit and a model the answer is a sample
LIMIT = 200
#: a median over fewer machines is one machine's price
MINIMUM_MACHINES = 5


def query(model: str, market: RentalMarket) -> str:
    """The search, always the same, because counts and medians of different searches cannot be compared.

    >>> query("H200", "spot")[:70]
    '{"gpu_name":{"eq":"H200"},"gpu_ram":{"gte":130000},"verified":{"eq":tr'
    """
    name, memory_mb = MODELS[model]
    wanted = {
        "gpu_name": {"eq": name},
        "gpu_ram": {"gte": memory_mb},
        "verified": {"eq": True},
        "rentable": {"eq": True},
        "type": MARKETS[market][0],
        "order": [["dph_total", "asc"]],
        "limit": LIMIT,
    }
    return json.dumps(wanted, separators=(",", ":"))


class Vast(Feed):
    """``{"offers": [{"gpu_name", "num_gpus", "dph_total", "min_bid", ...}]}``; prices are for the whole machine."""

    name = "vast"
    series = tuple(f"offer_{model.lower()}_usd" for model in MODELS)
    hosts = ("console.vast.ai",)
    what = "asks of a marketplace per GPU-hour (for the rental index)"
    limits = "429 without Retry-After; eight requests a fetch, four at once"
    time_limit_s = 20.0

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """One observation per model and market: the median price per GPU-hour over the machines on offer."""
        parts = {
            f"{model} {market}": self._median(client, now, model, market) for model in MODELS for market in MARKETS
        }
        return await gather_parts(client, parts)

    async def _median(self, client: Client, now: datetime, model: str, market: RentalMarket) -> list[Observation]:
        answer = await client.get_json(f"{self.base_url}/api/v0/bundles/?q={quote(query(model, market))}")
        offers = field(answer, "offers")
        if not isinstance(offers, list):
            raise FeedError("offers is not a list")
        prices, wrong = machine_prices(offers, MODELS[model][0], MARKETS[market][1])
        if wrong:
            client.note(f"{model} {market}: {wrong} offers without a believable price left out")
        if len(prices) < MINIMUM_MACHINES:
            raise FeedError(f"{len(prices)} machines on offer, {MINIMUM_MACHINES} needed")
        series = f"offer_{model.lower()}_usd"
        subject = offer_series(self.name, model, market, KIND, "any", 1)
        source, note = f"Vast.ai {market} asks", f"median of {len(prices)} machines"
        return [
            Observation(series, median(prices), "usd/gpu-hour", now, now, source, subject, quality="press", note=note)
        ]


def machine_prices(
    offers: list[object], name: str, fields: tuple[str, ...] = ("dph_total",)
) -> tuple[list[float], int]:
    """(USD per GPU-hour of each machine with GPUs of that name, how many others); the first of ``fields`` counts.

    >>> rows = [{"gpu_name": "H100_SXM", "num_gpus": 8, "dph_total": 16.0, "min_bid": 8.0}, {"gpu_name": "H100 NVL"}]
    >>> machine_prices(rows, "H100 SXM"), machine_prices(rows, "H100 SXM", ("min_bid", "dph_total"))
    (([2.0], 1), ([1.0], 1))
    """
    prices: list[float] = []
    for offer in offers:
        try:
            same = str(field(offer, "gpu_name")).replace("_", " ") == name
            count = number(field(offer, "num_gpus"), "num_gpus")
            said = next((f for f in fields if isinstance(offer, dict) and offer.get(f) is not None), fields[-1])
            price = number(field(offer, said), said)
        except FeedError:
            continue  # counted below as a row without a price
        if same and count >= 1 and count == int(count) and believable(price / count):
            prices.append(price / count)
    return prices, len(offers) - len(prices)
