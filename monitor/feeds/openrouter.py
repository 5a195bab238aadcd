"""OpenRouter: what a million tokens of each language model cost, reading and writing. Raw offers, no key.

The public list gives USD per token as decimal strings; here they are per million, so that an index of them reads like
one of rents. A model is its own offer series, so that a new model brings no move of its own. Models that are free, that
route to others (a price below zero) or that are a variant of another (``:free``, ``:nitro``) are no price of a model.

A list price holds until somebody edits it: it is dated with the start of its day, and kept once a day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from statistics import median

from monitor.feeds import Feed
from monitor.feeds.http import Client, clean, field, number
from monitor.index import offer_series
from monitor.model import FeedError, Observation
from monitor.series import SERIES

SERIES_NAME = "offer_token_usd"
TOKENS = 1_000_000
#: side of a price -> its field; reading and writing are two products
SIDES = {"input": "prompt", "output": "completion"}
#: maker/model as it becomes part of a series; a variant after a colon is not the model's own price
MODEL_ID = re.compile(r"([a-z0-9][a-z0-9._-]{0,39})/([a-z0-9][a-z0-9._-]{0,79})")
#: the median of all models lies inside of this, in USD per million tokens; that of a list in cents does not
TYPICAL_USD = (0.05, 20.0)
#: fewer models than this are not the list
MINIMUM_MODELS = 5
#: a list of some hundred models with their descriptions
MAX_LIST_BYTES = 8_000_000


class OpenRouter(Feed):
    """``{"data": [{"id": "maker/model", "pricing": {"prompt": "0.000003", "completion": "0.000015"}}]}``."""

    name = "openrouter"
    series = (SERIES_NAME,)
    hosts = ("openrouter.ai",)
    what = "USD per million tokens of each language model, as listed (for the price index of inference)"
    limits = "asked once an hour; the list is public, its limit is not published"
    every = timedelta(hours=1)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """One observation per model and side, in USD per million tokens."""
        rows = field(await client.get_json(f"{self.base_url}/api/v1/models", MAX_LIST_BYTES), "data")
        if not isinstance(rows, list):
            raise FeedError("data is not a list")
        prices: dict[str, float] = {}
        left_out = 0
        for row in rows:
            try:
                prices.update(model_prices(row))
            except FeedError:
                left_out += 1
        if left_out:
            client.note(f"{left_out} models without a believable price left out")
        self._check(prices)
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return [
            Observation(
                SERIES_NAME, price, "usd/mtok", day, now, "OpenRouter list price", subject, quality="press"
            )
            for subject, price in sorted(prices.items())
        ]  # fmt: skip

    @staticmethod
    def _check(prices: dict[str, float]) -> None:
        """A list as a whole is in dollars per token, or it is refused as a whole."""
        models = {subject.rpartition("/on_demand/")[0] for subject in prices}
        if len(models) < MINIMUM_MODELS:
            raise FeedError(f"{len(models)} models with a price, {MINIMUM_MODELS} needed")
        middle = median(prices.values())
        if not TYPICAL_USD[0] <= middle <= TYPICAL_USD[1]:
            raise FeedError(f"the median of all models is {middle:.3g} USD per million tokens: not in USD per token")


def model_prices(row: object) -> Iterator[tuple[str, float]]:
    """(offer series, USD per million tokens) of a model's sides that cost something; FeedError when it has no price.

    >>> row = {"id": "maker/large-1", "pricing": {"prompt": "0.000003", "completion": "0.000015"}}
    >>> for series, price in model_prices(row):
    ...     print(series, round(price, 6))
    maker/large-1/on_demand/list/input/1 3.0
    maker/large-1/on_demand/list/output/1 15.0
    >>> list(model_prices({"id": "maker/large-1:free", "pricing": {"prompt": "0"}}))
    []
    """
    name = str(field(row, "id"))
    if ":" in name:
        return
    match = MODEL_ID.fullmatch(name.lower())
    if match is None:
        raise FeedError(f"{clean(name, 60)!r} is not a model of a maker")
    spec = SERIES[SERIES_NAME]
    for side, key in SIDES.items():
        price = number(field(row, "pricing", key), key) * TOKENS
        if price <= 0:  # free, or a router whose price depends on what it picks
            continue
        if not spec.low <= price <= spec.high:
            raise FeedError(f"{clean(name, 60)} costs {price:g} USD per million tokens")
        yield offer_series(match[1], match[2], "on_demand", "list", side, 1), price
