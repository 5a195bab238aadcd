"""Luxor's Hashrate Index: the published hashprice. Needs a key of your own; without one it is off.

Canary works hashprice out from difficulty, reward and bitcoin; this is the published figure beside it, used where one
of those is missing. The answer gives it in bitcoin and in dollars, so that the price of bitcoin between them shows at
once when a column moved or the unit is another.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from monitor.feeds import Feed
from monitor.feeds.http import Client, clean, field, moment, number
from monitor.model import FeedError, Observation
from monitor.series import SERIES


class Luxor(Feed):
    """``{"data": {"priceBTC", "priceUSD", "timestamp"}}`` per PH/s and day."""

    name = "luxor"
    series = ("hashprice_usd_ph_day",)
    hosts = ("api.hashrateindex.com",)
    what = "published hashprice, a second opinion beside the derived one"
    limits = "20 requests at once, then one in 15 s; asked every 15 minutes"
    every = timedelta(minutes=15)
    needs_key = "required"

    @property
    def headers(self) -> dict[str, str]:
        """The key travels in a header, never in an address that is kept."""
        return {"X-Hi-Api-Key": self.settings.key} if self.settings.key else {}

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The current hashprice, as old as the source says."""
        answer = await client.get_json(f"{self.base_url}/v1/hashrateindex/hashprice/current?hashunit=PHS")
        if isinstance(answer, dict) and answer.get("error"):
            raise FeedError(f"Luxor says {clean(str(answer['error']))}")
        usd = number(field(answer, "data", "priceUSD"), "priceUSD")
        btc = number(field(answer, "data", "priceBTC"), "priceBTC")
        bitcoin = SERIES["btc_usd"]
        if btc <= 0 or not bitcoin.low <= usd / btc <= bitcoin.high:
            raise FeedError(f"{usd:g} USD and {btc:g} BTC cannot both be the hashprice")
        at = moment(field(answer, "data", "timestamp"), "timestamp", now)
        return [self.observation("hashprice_usd_ph_day", usd, at, now, "Luxor Hashrate Index")]
