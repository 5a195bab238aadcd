"""CoinGecko: bitcoin and ether in USD, averaged over many venues. Off unless the configuration names it.

It answers without a key too, but then shares one limit with everybody behind the same address; a demo key of your own
is sent where there is one. It asks to be named where its figures are shown, and it is: as the source of the price.
"""

from __future__ import annotations

from datetime import datetime

from monitor.dated import from_epoch
from monitor.feeds import Feed
from monitor.feeds.http import Client, clean, field, number
from monitor.model import FeedError, Observation

#: a clock that runs ahead of ours by less than this is forgiven
CLOCK_SLACK_S = 300.0
COINS = {"btc_usd": "bitcoin", "eth_usd": "ethereum"}


class CoinGecko(Feed):
    """``{"bitcoin": {"usd": 62100, "last_updated_at": 1786708798}}``; errors are an object ``status`` or ``error``."""

    name = "coingecko"
    series = tuple(COINS)
    hosts = ("api.coingecko.com",)
    what = "bitcoin and ether in USD, an average over venues"
    limits = "100 requests a minute with a demo key; without one a limit shared by address"
    needs_key = "optional"
    off_unless_named = "optional: it only repeats the venues' prices, and asks to be credited"

    @property
    def headers(self) -> dict[str, str]:
        """The demo key, where there is one."""
        return {"x-cg-demo-api-key": self.settings.key} if self.settings.key else {}

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """Both prices, each as old as it says."""
        ids = ",".join(COINS.values())
        query = f"ids={ids}&vs_currencies=usd&include_last_updated_at=true"
        answer = await client.get_json(f"{self.base_url}/api/v3/simple/price?{query}")
        if isinstance(answer, dict) and (answer.get("error") or answer.get("status")):
            raise FeedError(f"CoinGecko says {clean(str(answer.get('error') or answer['status']))}")
        found: list[Observation] = []
        for series, coin in COINS.items():
            try:
                price = number(field(answer, coin, "usd"), f"{coin} usd")
                at = from_epoch(number(field(answer, coin, "last_updated_at"), "last_updated_at"), 1.0)
            except FeedError as error:
                client.note(str(error))
                continue
            # a clock slightly ahead is forgiven; the rest of the future is refused with the other faults
            at = min(at, now) if (at - now).total_seconds() <= CLOCK_SLACK_S else at
            found.append(self.observation(series, price, at, now, f"CoinGecko {coin}"))
        if not found:
            raise FeedError("; ".join(client.notes[:2]) or "neither coin is in the answer")
        return found
