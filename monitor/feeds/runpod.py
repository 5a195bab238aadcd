"""RunPod: its two clouds' prices per GPU, on demand and spot. Raw offers, no key.

The secure and the community cloud are two products. A price that is null is out of stock, which is no failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from monitor.feeds import Feed
from monitor.feeds.http import Client, clean, field, number
from monitor.index import RentalMarket, believable, offer_series
from monitor.model import FeedError, Observation

#: RunPod's id -> model; slot cards and the 40 GB A100 are other products
MODELS = {
    "NVIDIA A100-SXM4-80GB": "A100",
    "NVIDIA H100 80GB HBM3": "H100",
    "NVIDIA H200": "H200",
    "NVIDIA B200": "B200",
}
#: (cloud, field of the on-demand price, field of the spot price)
CLOUDS = (("secure", "securePrice", "secureSpotPrice"), ("community", "communityPrice", "communitySpotPrice"))
QUERY = "query{gpuTypes{id " + " ".join(f"{demand} {spot}" for _, demand, spot in CLOUDS) + "}}"


class RunPod(Feed):
    """One GraphQL query, posted: ``{"data": {"gpuTypes": [{"id", "securePrice", ...}]}}``."""

    name = "runpod"
    series = tuple(f"offer_{model.lower()}_usd" for model in MODELS.values())
    hosts = ("api.runpod.io",)
    what = "list prices per GPU-hour of two clouds (for the rental index)"
    limits = "not published; one request a fetch"

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """One observation per model, cloud and market in stock."""
        answer = await client.post_json(f"{self.base_url}/graphql", {"query": QUERY})
        if isinstance(answer, dict) and answer.get("errors"):
            raise FeedError(f"RunPod says {clean(str(answer['errors']))}")
        types = field(answer, "data", "gpuTypes")
        if not isinstance(types, list):
            raise FeedError("gpuTypes is not a list")
        found: list[Observation] = []
        for entry in types:
            model = MODELS.get(str(entry.get("id"))) if isinstance(entry, dict) else None
            if model is not None:
                found += self._offers(client, now, model, entry)
        if not found:
            raise FeedError("none of the models is listed with a price")
        return found

    def _offers(self, client: Client, now: datetime, model: str, entry: object) -> Iterator[Observation]:
        for cloud, market, price in entry_prices(client, model, entry):
            subject = offer_series(self.name, model, market, "list", cloud, 1)
            source = f"RunPod {cloud} cloud, {market}"
            yield Observation(
                f"offer_{model.lower()}_usd", price, "usd/gpu-hour", now, now, source, subject, quality="press"
            )


def entry_prices(client: Client, model: str, entry: object) -> Iterator[tuple[str, RentalMarket, float]]:
    """(cloud, market, USD per GPU-hour) of what is in stock; a spot price equal to the other is no spot price."""
    for cloud, demand_field, spot_field in CLOUDS:
        demand = _price(client, model, entry, demand_field)
        spot = _price(client, model, entry, spot_field)
        if demand is not None:
            yield cloud, "on_demand", demand
        if spot is not None and spot != demand:
            yield cloud, "spot", spot


def _price(client: Client, model: str, entry: object, name: str) -> float | None:
    """A price, or None when out of stock (null, absent or zero) or noted as not believable."""
    value = entry.get(name) if isinstance(entry, dict) else None
    if value is None or value == 0:
        return None
    try:
        price = number(value, f"{model} {name}")
        if not believable(price):
            raise FeedError(f"{model} {name} is {price:g} USD per GPU-hour")
    except FeedError as error:
        client.note(str(error))
        return None
    return price
