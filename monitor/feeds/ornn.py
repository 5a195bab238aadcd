"""Ornn: a daily index of what GPU hours were bought for. No key as long as its dashboard is open.

Its newer documentation asks for a key. An answer of 401 therefore means that the source is gone, and is said so.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import quote

from monitor.dated import Dated, newest, settled
from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client, clean, field, moment, number
from monitor.model import FeedError, Observation

#: series -> Ornn's name of the model
MODELS = {
    "rent_h100_ornn_usd": "H100 SXM",
    "rent_h200_ornn_usd": "H200",
    "rent_b200_ornn_usd": "B200",
    "rent_a100_ornn_usd": "A100 SXM4",
}
#: the free window, and what is asked for to see the newest value
WINDOW, RECENT = timedelta(days=90), timedelta(days=10)


class Ornn(Feed):
    """``{"success", "data": [{"timestamp", "index_value"}]}`` per model, in USD per GPU-hour, a day behind."""

    name = "ornn"
    series = tuple(MODELS)
    hosts = ("api.ornnai.com",)
    what = "a daily index of rents, a day behind"
    limits = "may ask for a key at any time (401: unavailable); four requests a fetch"
    lag = timedelta(days=1)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The newest index of each model."""
        return await gather_parts(client, {model: self._last(client, now, s, model) for s, model in MODELS.items()})

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """The free window of about 90 days, each known a day later; that is an assumption about the past."""
        found: list[Observation] = []
        for series, model in MODELS.items():
            rows, _ = settled(await self._index(client, now, model, now - WINDOW), now)
            found += [
                replace(self._said(series, model, value, at), known_at=at + self.lag, known_basis="assumed")
                for at, value in rows
                if at + self.lag <= now
            ]
        return found

    async def _last(self, client: Client, now: datetime, series: str, model: str) -> list[Observation]:
        (at, value), left_out = newest(await self._index(client, now, model, now - RECENT), now)
        for why in left_out:
            client.note(f"{model}: {why}")
        return [replace(self._said(series, model, value, at), known_at=now)]

    def _said(self, series: str, model: str, value: float, at: datetime) -> Observation:
        return Observation(series, value, "usd/gpu-hour", at, at, f"Ornn index {model}", quality="press")

    async def _index(self, client: Client, now: datetime, model: str, since: datetime) -> list[Dated]:
        url = f"{self.base_url}/api/gpu/{quote(model)}/index-history?startDate={since:%Y-%m-%d}&endDate={now:%Y-%m-%d}"
        try:
            answer = await client.get_json(url)
        except FeedError as error:
            if str(error).endswith("HTTP 401"):
                raise FeedError("unavailable: Ornn now asks for a key (HTTP 401)") from None
            raise
        if field(answer, "success") is not True:
            said = answer.get("error") if isinstance(answer, dict) else None
            raise FeedError(f"Ornn says {clean(str(said or 'no success'))}")
        if isinstance(answer, dict) and answer.get("gpu_type", model) != model:
            raise FeedError(f"Ornn answered for {clean(str(answer['gpu_type']), 30)!r}")
        rows = field(answer, "data")
        if not isinstance(rows, list):
            raise FeedError("data is not a list")
        found: list[Dated] = []
        for row in rows:
            try:
                at = moment(field(row, "timestamp"), "timestamp", now)
                found.append((at, number(field(row, "index_value"), "index_value")))
            except FeedError as error:
                client.note(f"{model}: {error}")
        return found
