"""Kraken: last trade of bitcoin and ether in USD, and two years of daily closes. No key; the second venue."""

from __future__ import annotations

from datetime import datetime, timedelta

from monitor.dated import Dated, from_epoch, settled
from monitor.feeds import Feed
from monitor.feeds.http import Client, clean, field, number
from monitor.model import FeedError, Observation

#: series -> (the name asked for, Kraken's own name in the answer)
PAIRS = {"btc_usd": ("XBTUSD", "XXBTZUSD"), "eth_usd": ("ETHUSD", "XETHZUSD")}
DAY = timedelta(days=1)


class Kraken(Feed):
    """The public ticker, one request for both pairs. Errors arrive as HTTP 200 with a list of codes."""

    name = "kraken"
    series = tuple(PAIRS)
    hosts = ("api.kraken.com",)
    what = "last trades and daily closes of bitcoin and ether"
    limits = "not published; one request a fetch"

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The last trades; the answer carries no time, so they count as of ``now``."""
        wanted = ",".join(asked for asked, _ in PAIRS.values())
        answer = await client.get_json(f"{self.base_url}/0/public/Ticker?pair={wanted}")
        refuse_errors(answer)
        observations: list[Observation] = []
        for series, (_, own_name) in PAIRS.items():
            try:
                price = _last_trade(field(answer, "result", own_name, "c"), own_name)
            except FeedError as error:
                client.note(str(error))
                continue
            observations.append(self.observation(series, price, now, now, f"Kraken {own_name} last trade"))
        if not observations:
            raise FeedError("Kraken's answer holds neither pair")
        return observations

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """Daily closes since then, at most the last 720, each known at its close: an assumption about the past."""
        closes = [await self._closes(client, now, s, asked, own, since) for s, (asked, own) in PAIRS.items()]
        return [close for rows in closes for close in rows]

    async def _closes(
        self, client: Client, now: datetime, series: str, asked: str, own_name: str, since: datetime | None
    ) -> list[Observation]:
        rows = await daily_closes(client, self.base_url, asked, own_name, since)
        source = f"Kraken {own_name} daily close"
        # the last row is the candle of today, still open
        closed = settled([row for row in rows if row[0] <= now], now)[0]
        return [Observation(series, price, "usd", at, at, source, known_basis="assumed") for at, price in closed]


def refuse_errors(answer: object) -> None:
    """FeedError when an answer carries an error. Codes start with their severity: W warns beside a usable result."""
    errors = field(answer, "error")
    if not isinstance(errors, list) or any(not str(error).startswith("W") for error in errors):
        raise FeedError(f"Kraken says {clean(str(errors))}")


async def daily_closes(client: Client, base_url: str, asked: str, own_name: str, since: datetime | None) -> list[Dated]:
    """(close of the day, price) of a pair's daily candles ``[s, open, high, low, close, ...]``, at most 720."""
    start = "" if since is None else f"&since={(since - DAY).timestamp():.0f}"
    answer = await client.get_json(f"{base_url}/0/public/OHLC?pair={asked}&interval=1440{start}")
    refuse_errors(answer)
    rows = field(answer, "result", own_name)
    if not isinstance(rows, list):
        raise FeedError(f"{own_name} is not a list of candles")
    return [_candle(row) for row in rows]


def _candle(row: object) -> Dated:
    if not isinstance(row, list) or len(row) < 5:
        raise FeedError("a candle has too few columns")
    opened, first, high, low, close = (number(value, "a column of a candle") for value in row[:5])
    if not low <= min(first, close) <= max(first, close) <= high:
        raise FeedError("open, high, low and close of a candle contradict each other")
    return from_epoch(opened, 1.0) + DAY, close


def _last_trade(value: object, pair: str) -> float:
    """The price in ``c``, a list of [price, lot volume] as strings."""
    if not isinstance(value, list) or not value:
        raise FeedError(f"{pair} has no last trade")
    return number(value[0], f"{pair} last trade")
