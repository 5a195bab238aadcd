"""New York Fed: the secured overnight financing rate (SOFR). No key.

The rate of a business day is published the next morning (New York) and may be revised until the afternoon.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from monitor.dated import Dated, close_of, newest, settled
from monitor.feeds import Feed
from monitor.feeds.http import Client, field, number
from monitor.model import FeedError, Observation

#: days asked for: enough that a long weekend or a row without a rate leaves one
LAST = 5
HISTORY = 1_000
PERCENT = 0.01


class NewYorkFed(Feed):
    """The last few rates in one request, in percent a year; a rate not yet there is the text NA."""

    name = "nyfed"
    series = ("sofr",)
    hosts = ("markets.newyorkfed.org",)
    what = "SOFR"
    limits = "not published; one request a fetch"
    #: about 08:00 in New York on the next business day; used for the past only
    lag = timedelta(hours=13)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The newest rate, observed at the end of its day."""
        (observed_at, rate), left_out = newest(await self._rates(client, LAST), now)
        for why in left_out:
            client.note(why)
        return [self.observation("sofr", rate, observed_at, now, "New York Fed SOFR")]

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """The rates of about four years or since then, known ``lag`` after their day; an assumption about the past."""
        count = HISTORY if since is None else math.ceil((now - since) / timedelta(days=7) * 5) + LAST
        rows, _ = settled(await self._rates(client, count), now)
        past = [
            Observation("sofr", rate, "ratio", at, at + self.lag, "New York Fed SOFR", known_basis="assumed")
            for at, rate in rows
            if since is None or at >= since
        ]
        return [observation for observation in past if observation.known_at <= now]

    async def _rates(self, client: Client, count: int) -> list[Dated]:
        """(end of the day, rate as a fraction a year) of each usable row; unusable ones are noted."""
        rows = field(await client.get_json(f"{self.base_url}/api/rates/secured/sofr/last/{count}.json"), "refRates")
        if not isinstance(rows, list):
            raise FeedError("refRates is not a list")
        found: list[Dated] = []
        for row in rows:
            try:
                if field(row, "type") != "SOFR":
                    raise FeedError("a row is not SOFR")
                rate = number(field(row, "percentRate"), "percentRate") * PERCENT
                found.append((close_of(field(row, "effectiveDate")), rate))
            except FeedError as error:
                client.note(str(error))
        return found
