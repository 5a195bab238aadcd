"""Coinbase Exchange: last trade of bitcoin and ether in USD, and the daily closes of the past. No key."""

from __future__ import annotations

from datetime import datetime, timedelta

from monitor.dated import Dated, from_epoch, settled
from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client, clean, field, moment, number
from monitor.model import FeedError, Observation

PRODUCTS = {"btc_usd": "BTC-USD", "eth_usd": "ETH-USD"}
DAY = timedelta(days=1)
#: candles one answer holds
CANDLES = 300


class Coinbase(Feed):
    """The public ticker, one request per product. Numbers come as strings, the time of the last trade as ISO 8601."""

    name = "coinbase"
    series = tuple(PRODUCTS)
    hosts = ("api.exchange.coinbase.com",)
    what = "last trades and daily closes of bitcoin and ether"
    limits = "10 requests a second; two a fetch"
    page = (CANDLES - 2) * DAY

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The last trades, as old as the trades themselves."""
        return await gather_parts(client, {p: self._ticker(client, now, s, p) for s, p in PRODUCTS.items()})

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """Daily closes of the stretch asked for, each known at its close; an assumption about the past."""
        end = until or now
        start = max(since or end - self.page, end - self.page)
        closes = [await self._closes(client, now, s, p, start, end) for s, p in PRODUCTS.items()]
        return [close for rows in closes for close in rows]

    async def _closes(
        self, client: Client, now: datetime, series: str, product: str, start: datetime, end: datetime
    ) -> list[Observation]:
        query = f"granularity=86400&start={start:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}"
        answer = await client.get_json(f"{self.base_url}/products/{product}/candles?{query}")
        if not isinstance(answer, list):
            said = answer.get("message") if isinstance(answer, dict) else answer
            raise FeedError(f"Coinbase says {clean(str(said))}")
        source = f"Coinbase Exchange {product} daily close"
        # the candle of today is still open
        rows = [row for row in map(candle, answer) if row[0] <= now]
        return [
            Observation(series, price, "usd", at, at, source, known_basis="assumed")
            for at, price in settled(rows, now)[0]
        ]

    async def _ticker(self, client: Client, now: datetime, series: str, product: str) -> list[Observation]:
        answer = await client.get_json(f"{self.base_url}/products/{product}/ticker")
        price = number(field(answer, "price"), f"{product} price")
        traded_at = moment(field(answer, "time"), f"{product} time", now)
        return [self.observation(series, price, traded_at, now, f"Coinbase Exchange {product} last trade")]


def candle(row: object) -> Dated:
    """(its close in time, its closing price) of a daily candle ``[open s, low, high, open, close, volume]``.

    FeedError when the columns contradict each other: their order is not the usual one.

    >>> at, price = candle([1786665600, 61000.0, 63000.0, 62500.0, 62100.5, 1200.0])
    >>> at.isoformat(), price
    ('2026-08-15T00:00:00+00:00', 62100.5)
    """
    if not isinstance(row, list) or len(row) < 5:
        raise FeedError("a candle has too few columns")
    opened, low, high, first, close = (number(value, "a column of a candle") for value in row[:5])
    if not low <= min(first, close) <= max(first, close) <= high:
        raise FeedError("open, high, low and close of a candle contradict each other")
    return from_epoch(opened, 1.0) + DAY, close
