"""Binance: bitcoin and ether in tether, last minute and daily closes, converted by Kraken's tether price. No key.

The data-only host is used. Tether is not a dollar: without its price in USD nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from monitor.dated import Dated, from_epoch, newest, settled
from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client, clean, field, number
from monitor.feeds.kraken import daily_closes
from monitor.model import FeedError, Observation
from monitor.units import format_age

SYMBOLS = {"btc_usd": "BTCUSDT", "eth_usd": "ETHUSDT"}
KRAKEN_PAIR, KRAKEN_NAME = "USDTUSD", "USDTZUSD"
#: a tether price outside of this is a wrong answer, not a lost peg
TETHER_USD = (0.5, 1.5)
MILLISECOND = 0.001
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
#: candles one answer holds
CANDLES = 1000


class Binance(Feed):
    """One-minute candles ``[open ms, "open", "high", "low", "close", "volume", close ms, ...]``, oldest first."""

    name = "binance"
    series = tuple(SYMBOLS)
    hosts = ("data-api.binance.vision", "api.kraken.com")
    what = "last minute and daily closes of bitcoin and ether in tether, converted"
    limits = "weight per address, a ban (418) when ignored; three requests a fetch"
    page = (CANDLES - 2) * DAY

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The close of the newest minute of each symbol, in USD."""
        tether_usd = await self._tether(client)
        parts = {symbol: self._last(client, now, name, symbol, tether_usd) for name, symbol in SYMBOLS.items()}
        return await gather_parts(client, parts)

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """Daily closes where tether has a price (Kraken gives 720 days), each known at its close: an assumption."""
        end = until or now
        start = max(since or end - self.page, end - self.page)
        kraken = (self.settings.base_url or f"https://{self.hosts[1]}").rstrip("/")
        tether = dict(settled(await daily_closes(client, kraken, KRAKEN_PAIR, KRAKEN_NAME, start), now)[0])
        usable = {at: price for at, price in tether.items() if TETHER_USD[0] <= price <= TETHER_USD[1]}
        closes = [await self._closes(client, now, name, s, start, end, usable) for name, s in SYMBOLS.items()]
        return [close for rows in closes for close in rows]

    async def _closes(
        self, client: Client, now: datetime, series: str, symbol: str, start: datetime, end: datetime,
        tether_usd: Mapping[datetime, float],
    ) -> list[Observation]:  # fmt: skip
        span = f"startTime={start.timestamp() * 1000:.0f}&endTime={end.timestamp() * 1000:.0f}"
        rows = await self._klines(client, f"symbol={symbol}&interval=1d&limit={CANDLES}&{span}")
        closes = [(opened + DAY, price) for opened, price in (candle(row, DAY) for row in rows)]
        return [
            Observation(
                series, price * tether_usd[at], "usd", at, at, f"Binance {symbol} daily close, tether by Kraken",
                known_basis="assumed",
            )
            for at, price in settled([row for row in closes if row[0] <= now], now)[0]
            if at in tether_usd
        ]  # fmt: skip

    async def _klines(self, client: Client, query: str) -> list[object]:
        answer = await client.get_json(f"{self.base_url}/api/v3/klines?{query}")
        if isinstance(answer, dict):
            raise FeedError(f"Binance says {clean(str(answer.get('msg') or answer.get('code')))}")
        if not isinstance(answer, list):
            raise FeedError("no candles")
        return answer

    async def _tether(self, client: Client) -> float:
        """Last trade of tether in USD at Kraken; FeedError without one."""
        kraken = self.settings.base_url or f"https://{self.hosts[1]}"
        answer = await client.get_json(f"{kraken.rstrip('/')}/0/public/Ticker?pair={KRAKEN_PAIR}")
        try:
            trade = field(answer, "result", KRAKEN_NAME, "c")
            price = number(trade[0] if isinstance(trade, list) and trade else None, "tether in USD")
        except FeedError as error:
            said = answer.get("error") if isinstance(answer, dict) else None
            because = f"Kraken says {clean(str(said))}" if said else str(error)
            raise FeedError(f"no price of tether in USD: {because}") from None
        if not TETHER_USD[0] <= price <= TETHER_USD[1]:
            raise FeedError(f"no price of tether in USD: Kraken says {price:g}")
        return price

    async def _last(
        self, client: Client, now: datetime, series: str, symbol: str, tether_usd: float
    ) -> list[Observation]:
        rows = await self._klines(client, f"symbol={symbol}&interval=1m&limit=2")
        if not rows:
            raise FeedError("no candles")
        (opened, price), left_out = newest([candle(row) for row in rows], now)
        for why in left_out:
            client.note(f"{symbol}: {why}")
        source = f"Binance {symbol} last minute, tether at {tether_usd:.4f} USD (Kraken)"
        return [self.observation(series, price * tether_usd, min(opened + MINUTE, now), now, source)]


def candle(row: object, length: timedelta = MINUTE) -> Dated:
    """(when it opened, its close) of a candle; FeedError when its columns are not where they belong.

    >>> opened, price = candle([1786708740000, "62000", "62150", "61990", "62100.5", "3", 1786708799999])
    >>> opened.isoformat(), price
    ('2026-08-14T11:59:00+00:00', 62100.5)
    """
    if not isinstance(row, list) or len(row) < 7:
        raise FeedError("a candle has too few columns")
    first, high, low, close = (number(row[i], f"column {i} of a candle") for i in (1, 2, 3, 4))
    if not low <= min(first, close) <= max(first, close) <= high:
        raise FeedError("open, high, low and close of a candle contradict each other")
    opened, closes = (from_epoch(number(row[i], "the time of a candle"), MILLISECOND) for i in (0, 6))
    if not timedelta(0) <= closes - opened <= length:
        raise FeedError(f"a candle is not {format_age(length.total_seconds())} long")
    return opened, close
