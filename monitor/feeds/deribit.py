"""Deribit: the DVOL index, 30-day implied volatility of bitcoin and ether. No key."""

from __future__ import annotations

from datetime import datetime, timedelta

from monitor.dated import Dated, from_epoch, newest, settled
from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client, clean, field, number
from monitor.model import FeedError, Observation

CURRENCIES = {"dvol_btc": "BTC", "dvol_eth": "ETH"}
MILLISECOND, PERCENT = 0.001, 0.01
RECENT, HOUR = timedelta(hours=6), timedelta(hours=1)
HISTORY = timedelta(days=365)
MAX_PAGES = 20


class Deribit(Feed):
    """Candles ``[time ms, open, high, low, close]`` in volatility points; 47.5 is 47.5 % a year."""

    name = "deribit"
    series = tuple(CURRENCIES)
    hosts = ("www.deribit.com",)
    what = "implied volatility (DVOL) of bitcoin and ether"
    limits = "not published; two requests a fetch"
    page = HISTORY

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The close of the newest hourly candle of each currency, as a fraction a year."""
        return await gather_parts(client, {c: self._last(client, now, s, c) for s, c in CURRENCIES.items()})

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """Daily closes of the last year or the stretch asked for, known at the close; an assumption about the past."""
        found: list[Observation] = []
        for series, currency in CURRENCIES.items():
            rows, end = [], until or now
            for _ in range(MAX_PAGES):
                page, further = await self._candles(client, currency, since or now - HISTORY, end, timedelta(days=1))
                rows += page
                if further is None or further >= end:
                    break
                end = further
            found += [
                Observation(series, value, "ratio", at, at, f"Deribit DVOL {currency}", known_basis="assumed")
                for at, value in settled(rows, now)[0]
                if at < now  # the candle of today is still open
            ]
        return found

    async def _last(self, client: Client, now: datetime, series: str, currency: str) -> list[Observation]:
        rows, _ = await self._candles(client, currency, now - RECENT, now, HOUR)
        # the newest candle is still open and closes within the hour
        (closes, value), left_out = newest(rows, now + HOUR)
        for why in left_out:
            client.note(f"{currency}: {why}")
        return [self.observation(series, value, min(closes, now), now, f"Deribit DVOL {currency}")]

    async def _candles(
        self, client: Client, currency: str, start: datetime, end: datetime, step: timedelta
    ) -> tuple[list[Dated], datetime | None]:
        """((close of the candle, volatility as a fraction), where an earlier page ends or None)."""
        answer = await client.get_json(
            f"{self.base_url}/api/v2/public/get_volatility_index_data?currency={currency}"
            f"&start_timestamp={start.timestamp() * 1000:.0f}&end_timestamp={end.timestamp() * 1000:.0f}"
            f"&resolution={'1D' if step.days else f'{step.total_seconds():.0f}'}"
        )
        if isinstance(answer, dict) and answer.get("error"):
            raise FeedError(f"Deribit says {clean(str(answer['error']))}")
        rows, result = field(answer, "result", "data"), field(answer, "result")
        if not isinstance(rows, list):
            raise FeedError("result.data is not a list")
        further = result.get("continuation") if isinstance(result, dict) else None
        pages = None if further is None else from_epoch(number(further, "continuation"), MILLISECOND)
        return [candle(row, step) for row in rows], pages


def candle(row: object, step: timedelta) -> Dated:
    """(close of the candle, volatility as a fraction a year); FeedError when its columns contradict each other.

    >>> at, volatility = candle([1786705200000, 47.52, 47.6, 47.5, 47.53], timedelta(hours=1))
    >>> at.isoformat(), round(volatility, 4)
    ('2026-08-14T12:00:00+00:00', 0.4753)
    """
    if not isinstance(row, list) or len(row) < 5:
        raise FeedError("a candle has too few columns")
    opened, first, high, low, close = (number(value, "a column of a candle") for value in row[:5])
    if not low <= min(first, close) <= max(first, close) <= high:
        raise FeedError("open, high, low and close of a candle contradict each other")
    return from_epoch(opened, MILLISECOND) + step, close * PERCENT
