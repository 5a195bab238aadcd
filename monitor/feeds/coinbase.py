"""Coinbase Exchange: last trade of bitcoin and ether in USD. No key."""

from __future__ import annotations

from datetime import datetime

from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client, field, moment, number
from monitor.model import Observation

PRODUCTS = {"btc_usd": "BTC-USD", "eth_usd": "ETH-USD"}


class Coinbase(Feed):
    """The public ticker, one request per product. Numbers come as strings, the time of the last trade as ISO 8601."""

    name = "coinbase"
    series = tuple(PRODUCTS)
    hosts = ("api.exchange.coinbase.com",)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The last trades, as old as the trades themselves."""
        return await gather_parts(client, {p: self._ticker(client, now, s, p) for s, p in PRODUCTS.items()})

    async def _ticker(self, client: Client, now: datetime, series: str, product: str) -> list[Observation]:
        answer = await client.get_json(f"{self.base_url}/products/{product}/ticker")
        price = number(field(answer, "price"), f"{product} price")
        traded_at = moment(field(answer, "time"), f"{product} time", now)
        return [self.observation(series, price, traded_at, now, f"Coinbase Exchange {product} last trade")]
