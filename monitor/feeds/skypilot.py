"""SkyPilot's catalogue: list prices of clouds that are not asked directly. Raw offers, no key; the second GPU source.

One CSV per cloud in a public repository. ``Price`` and ``SpotPrice`` are for the whole instance. SXM boards, slot cards
and other memory sizes share an ``AcceleratorName``: the name of the instance and the memory tell them apart. The memory
is that of one GPU in some files and of all of them in others.

A file carries no date and is only rewritten when a price changed, so a price that stands still cannot be told from one
that is no longer looked up. Such prices never hold the index still (:mod:`monitor.index`), and count as of now.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from statistics import median

from monitor.feeds import Feed, gather_parts
from monitor.feeds.gpu_catalogue import MEMORY_GB, board_model
from monitor.feeds.http import Client, clean
from monitor.index import RentalMarket, believable, offer_series
from monitor.model import FeedError, Observation

#: clouds whose prices no other source here asks for; RunPod, Vast and Azure are asked directly
CLOUDS = ("lambda", "nebius", "verda", "seeweb")
MODELS = ("A100", "H100", "H200", "B200")
ROOT = "skypilot-org/skypilot-catalog/master/catalogs/v8"
COLUMNS = ("InstanceType", "AcceleratorName", "AcceleratorCount", "GpuInfo", "Price", "SpotPrice")
#: a Python literal in most files, JSON in one of them
MEMORY = re.compile(r"""['"]SizeInMiB['"]:\s*(\d{1,9})\b""")
MARKETS: tuple[tuple[RentalMarket, str], ...] = (("on_demand", "Price"), ("spot", "SpotPrice"))
#: machine sizes that are compared over time; the rest is left out
SIZES = (1, 8)


class SkyPilot(Feed):
    """CSV columns found by name: InstanceType, AcceleratorName, AcceleratorCount, GpuInfo, Price, SpotPrice."""

    name = "skypilot"
    series = tuple(f"offer_{model.lower()}_usd" for model in MODELS)
    hosts = ("raw.githubusercontent.com",)
    what = f"list prices per GPU-hour of {', '.join(CLOUDS)} (for the rental index)"
    limits = "one file per cloud every six hours, and only when it changed"
    every = timedelta(hours=6)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """One observation per cloud, model, market and machine size: the median over its rows, per GPU-hour."""
        return await gather_parts(client, {cloud: self._cloud(client, now, cloud) for cloud in CLOUDS})

    async def _cloud(self, client: Client, now: datetime, cloud: str) -> list[Observation]:
        body = await client.get_bytes(f"{self.base_url}/{ROOT}/{cloud}/vms.csv")
        found: dict[tuple[str, RentalMarket, int], list[float]] = defaultdict(list)
        for model, market, count, price in offers(body.decode("utf-8-sig", "replace")):
            found[model, market, count].append(price)
        if not found:
            raise FeedError("no row with a believable price of one of the models")
        return [
            Observation(
                f"offer_{model.lower()}_usd", median(prices), "usd/gpu-hour", now, now,
                f"{cloud} list price (SkyPilot catalogue)",
                offer_series(cloud, model, market, "list", "any", count), quality="press",
            )
            for (model, market, count), prices in sorted(found.items())
        ]  # fmt: skip


def offers(text: str) -> Iterator[tuple[str, RentalMarket, int, float]]:
    """(model, market, machine size, USD per GPU-hour) of each believable price; FeedError when a column is missing.

    >>> text = "InstanceType,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice\\n"
    >>> text += "8x-h100-sxm,H100,8,\\"{'MemoryInfo': {'SizeInMiB': 81920}}\\",23.60,0.0\\n"
    >>> [(model, market, count, round(price, 2)) for model, market, count, price in offers(text)]
    [('H100', 'on_demand', 8, 2.95)]
    """
    if text.lstrip().startswith("<"):
        raise FeedError("a web page, not data")
    whole, _, _ = text.rpartition("\n")  # a last line without its end may be cut off
    rows = csv.DictReader(io.StringIO(whole, newline=""))
    try:
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise FeedError(f"the file has no column {', '.join(missing)}")
        for row in rows:
            yield from _row(row)
    except csv.Error as error:
        raise FeedError(f"the file is not CSV: {clean(str(error))}") from None


def _row(row: Mapping[str, str | None]) -> Iterator[tuple[str, RentalMarket, int, float]]:
    count = _number(row["AcceleratorCount"])
    size = MEMORY.search(row["GpuInfo"] or "")
    if count not in SIZES or size is None:
        return
    name, instance = (row["AcceleratorName"] or "").removesuffix("-80GB"), row["InstanceType"] or ""
    memory_gb = float(size[1]) / 1024
    # of one GPU, or of all together
    for per_gpu in {memory_gb, memory_gb / count}:
        model = board_model(name, instance, count, per_gpu)
        if model is None or not MEMORY_GB[model][0] <= per_gpu <= MEMORY_GB[model][1]:
            continue
        for market, column in MARKETS:
            price = (_number(row[column]) or 0.0) / count
            if price and believable(price):
                yield model, market, int(count), price


def _number(text: str | None) -> float | None:
    """A finite number above zero, or None: an empty or zero price is no offer."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < 1e9 else None
