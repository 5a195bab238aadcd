"""blockchain.com charts: the network's hashrate, and the history of hashrate and difficulty. No key.

The charts are daily. Difficulty in force comes from mempool.space: on the day of an adjustment a daily value is neither
the old nor the new one, so here it is only given for the past.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from monitor.dated import Dated, from_epoch, newest, settled
from monitor.feeds import Feed
from monitor.feeds.http import Client, clean, field, number
from monitor.model import FeedError, Observation

TH_PER_EH = 1e6
HASHRATE = "hash-rate?timespan={span}&format=json&rollingAverage=7days&sampled=false"
DIFFICULTY = "difficulty?timespan={span}&format=json&sampled=false"


class BlockchainCom(Feed):
    """Charts as ``{"status", "unit", "values": [{"x": seconds, "y": value}]}``."""

    name = "blockchain_com"
    series = ("network_hashrate_eh",)
    hosts = ("api.blockchain.info",)
    what = "the network's hashrate, and its past with difficulty"
    limits = "not published; one request a fetch"
    #: a day's value is on the chart the day after
    lag = timedelta(days=1)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The newest seven-day average of the network's hashrate, in EH/s."""
        (at, hashrate_eh), left_out = newest(await self._hashrate(client, "30days"), now)
        for why in left_out:
            client.note(why)
        return [self.observation("network_hashrate_eh", hashrate_eh, at, now, "blockchain.com hashrate, 7 days")]

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """Hashrate and difficulty by day, of two years or since then, known a day later; an assumption."""
        years = 2 if since is None else math.ceil((now - since) / timedelta(days=365))
        span = f"{years}years"
        charts = {
            ("network_hashrate_eh", "number", "hashrate, 7 days"): await self._hashrate(client, span),
            ("difficulty", "number", "difficulty"): await self._chart(client, DIFFICULTY.format(span=span), ""),
        }
        return [
            Observation(series, value, unit, at, at + self.lag, f"blockchain.com {what}", known_basis="assumed")
            for (series, unit, what), rows in charts.items()
            for at, value in settled(rows, now)[0]
            if at + self.lag <= now and (since is None or at >= since)
        ]

    async def _hashrate(self, client: Client, span: str) -> list[Dated]:
        rows = await self._chart(client, HASHRATE.format(span=span), "TH/s")
        return [(at, value / TH_PER_EH) for at, value in rows]

    async def _chart(self, client: Client, query: str, unit: str) -> list[Dated]:
        """(time, value) of a chart whose unit names ``unit``; unusable points are noted."""
        answer = await client.get_json(f"{self.base_url}/charts/{query}")
        if isinstance(answer, dict) and answer.get("status") != "ok":
            raise FeedError(f"blockchain.com says {clean(str(answer.get('error') or answer.get('status')))}")
        stated, points = field(answer, "unit"), field(answer, "values")
        if not isinstance(stated, str) or unit not in stated:
            raise FeedError(f"the chart is in {clean(str(stated), 30)!r}, not in {unit}")
        if not isinstance(points, list):
            raise FeedError("values is not a list")
        found: list[Dated] = []
        for point in points:
            try:
                at = from_epoch(number(field(point, "x"), "x"), 1.0)
                found.append((at, number(field(point, "y"), "y")))
            except FeedError as error:
                client.note(str(error))
        return found
