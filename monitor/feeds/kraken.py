"""Kraken: last trade of bitcoin and ether in USD. No key; the second venue beside Coinbase."""

from __future__ import annotations

from datetime import datetime

from monitor.feeds import Feed
from monitor.feeds.http import Client, clean, field, number
from monitor.model import FeedError, Observation

#: series -> (the name asked for, Kraken's own name in the answer)
PAIRS = {"btc_usd": ("XBTUSD", "XXBTZUSD"), "eth_usd": ("ETHUSD", "XETHZUSD")}


class Kraken(Feed):
    """The public ticker, one request for both pairs. Errors arrive as HTTP 200 with a list of codes."""

    name = "kraken"
    series = tuple(PAIRS)
    hosts = ("api.kraken.com",)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The last trades; the answer carries no time, so they count as of ``now``."""
        wanted = ",".join(asked for asked, _ in PAIRS.values())
        answer = await client.get_json(f"{self.base_url}/0/public/Ticker?pair={wanted}")
        errors = field(answer, "error")
        # codes start with their severity: E is an error, W a warning beside a usable result
        if not isinstance(errors, list) or any(not str(error).startswith("W") for error in errors):
            raise FeedError(f"Kraken says {clean(str(errors))}")
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


def _last_trade(value: object, pair: str) -> float:
    """The price in ``c``, a list of [price, lot volume] as strings."""
    if not isinstance(value, list) or not value:
        raise FeedError(f"{pair} has no last trade")
    return number(value[0], f"{pair} last trade")
