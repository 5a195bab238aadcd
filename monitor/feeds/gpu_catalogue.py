"""List prices of rented GPUs: the public catalogue that dstack collects every hour from nine clouds. No key.

Per provider ``/v3/{provider}/version`` names the newest version and ``/v3/{provider}/{version}/catalog.zip`` holds
``{provider}.csv``. A provider whose collection fails keeps its old version without a word, so the date inside the
version is the age of the data. A zip is only read again when its version changed.

These are list prices: what a page asks, not what anybody pays. They are never mixed with the monthly rental index.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from monitor.feeds import Feed, FeedSettings, gather_parts
from monitor.feeds.http import Client, clean
from monitor.model import FeedError, Observation
from monitor.quarantine import mistaken_unit
from monitor.series import SERIES

PROVIDERS = ("aws", "azure", "verda", "gcp", "lambdalabs", "nebius", "oci", "runpod", "cloudrift")
MODELS = ("A100", "H100", "H200", "B200")
#: memory in GB, with room for how it is rounded: the 40 GB A100 and the 94 GB H100 NVL are other products
MEMORY_GB = {"A100": (79, 81), "H100": (79, 81), "H200": (139, 142), "B200": (178, 193)}
#: models that exist in a slot version too: a name that says neither counts only as a machine of eight
HAS_SLOT_VERSION = ("A100", "H100", "H200")
#: a median over fewer providers moves whenever one of them answers or not
MINIMUM_PROVIDERS = 3
MAX_VERSION_BYTES = 64
MAX_ZIP_BYTES = 16_000_000
MAX_CSV_BYTES = 96_000_000
VERSION = re.compile(r"(\d{8})-\d{1,6}")
SLOT = re.compile(r"PCIE|NVL|GH200|GB200|GH100", re.IGNORECASE)
#: how names say that it is a board; Verda writes 80S or 141S, the memory and S for SXM
BOARD = re.compile(r"SXM|HBM3|HGX|\.\d{2,3}S\.", re.IGNORECASE)
SOURCE = "public GPU catalogue (dstack), median of providers' list prices"


@dataclass(frozen=True, slots=True)
class Panel:
    """What one provider lists: the day of its version and, per model, its median price in USD per GPU-hour."""

    version: str
    dated: datetime
    usd_per_gpu_hour: Mapping[str, float]


def rent_series(model: str) -> str:
    """The series of a model's list price.

    >>> rent_series("H100")
    'rent_h100_list_usd'
    """
    return f"rent_{model.lower()}_list_usd"


class GpuCatalogue(Feed):
    """On-demand list prices of SXM-class machines: the median over providers of each provider's median."""

    name = "gpu_catalogue"
    series = tuple(rent_series(model) for model in MODELS)
    hosts = ("dstack-gpu-pricing.s3.eu-west-1.amazonaws.com",)
    what = "list prices per GPU-hour of nine clouds"
    limits = "a file per cloud, only when its version changed"
    time_limit_s = 30.0

    def __init__(self, settings: FeedSettings | None = None):
        super().__init__(settings)
        self._panels: dict[str, Panel] = {}

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """One observation per model with enough providers, as old as the oldest version in its median."""
        await gather_parts(client, {provider: self._refresh(client, now, provider) for provider in PROVIDERS})
        observations = [
            observation for model in MODELS if (observation := self._median(client, now, model)) is not None
        ]
        if not observations:
            raise FeedError("no model is listed by enough providers")
        return observations

    async def _refresh(self, client: Client, now: datetime, provider: str) -> list[Observation]:
        """Bring one provider's panel up to date. One that fails keeps its last panel while that is young enough, so
        that a single bad answer does not move the median.
        """
        root = f"{self.base_url}/v3/{provider}"
        version = read_version(await client.get_bytes(f"{root}/version", MAX_VERSION_BYTES))
        dated = version_date(version, now)
        if not self._young(dated, now):
            raise FeedError(f"its newest version is {version}, too old to count")
        known = self._panels.get(provider)
        if known is None or known.version != version:
            body = await client.get_bytes(f"{root}/{version}/catalog.zip", MAX_ZIP_BYTES)
            # tens of thousands of rows: off the event loop
            prices = await asyncio.to_thread(lambda: panel_prices(read_zip(body, provider)))
            if known is not None and self._young(known.dated, now):
                refuse_another_unit(prices, known.usd_per_gpu_hour)
            self._panels[provider] = Panel(version, dated, prices)
        return []

    def _young(self, dated: datetime, now: datetime) -> bool:
        return (now - dated).total_seconds() <= min(self.max_age_s.values())

    def _median(self, client: Client, now: datetime, model: str) -> Observation | None:
        """The list price of one model, or None with a note when too few providers list it."""
        listing = {p: panel for p, panel in sorted(self._panels.items()) if self._young(panel.dated, now)}
        listing = {p: panel for p, panel in listing.items() if model in panel.usd_per_gpu_hour}
        if len(listing) < MINIMUM_PROVIDERS:
            client.note(f"{model} withheld: listed by {len(listing)} providers, {MINIMUM_PROVIDERS} needed")
            return None
        oldest = min(panel.dated for panel in listing.values())
        return Observation(
            rent_series(model),
            median(panel.usd_per_gpu_hour[model] for panel in listing.values()),
            "usd/gpu-hour",
            oldest,
            now,
            SOURCE,
            quality="press",
            note=", ".join(
                f"{p} {panel.usd_per_gpu_hour[model]:.2f} ({panel.version})" for p, panel in listing.items()
            ),
        )


# ---------------------------------------------------------------- reading
def read_version(body: bytes) -> str:
    """The version string, which becomes part of an address and is therefore taken only in its exact shape.

    >>> read_version(b"20260818-42\\n")
    '20260818-42'
    """
    text = body.decode("ascii", "replace").strip()
    if VERSION.fullmatch(text) is None:
        raise FeedError(f"its version {clean(text, 30)!r} is not a day and a number such as 20260818-42")
    return text


def version_date(version: str, now: datetime) -> datetime:
    """The start of the UTC day a version was collected on: its data is at most that old.

    >>> version_date("20260818-42", datetime(2026, 8, 19, tzinfo=UTC)).isoformat()
    '2026-08-18T00:00:00+00:00'
    """
    try:
        dated = datetime.strptime(version[:8], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise FeedError(f"its version {version} starts with no day") from None
    if dated > now + timedelta(minutes=5):
        raise FeedError(f"its version {version} lies in the future")
    return dated


def read_zip(body: bytes, provider: str) -> str:
    """The text of ``{provider}.csv`` inside a zip. Its size is checked before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            member = archive.getinfo(f"{provider}.csv")
            if member.file_size > MAX_CSV_BYTES:
                raise FeedError(f"its catalogue unpacks to {member.file_size:,} bytes, more than {MAX_CSV_BYTES:,}")
            with archive.open(member) as file:
                # with a limit, because a size in a header may be a lie
                content = file.read(MAX_CSV_BYTES)
    except KeyError:
        raise FeedError(f"its zip holds no {provider}.csv") from None
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise FeedError(f"its zip cannot be read: {clean(str(error))}") from None
    return content.decode("utf-8", "replace")


def panel_prices(text: str) -> dict[str, float]:
    """Model -> median on-demand price in USD per GPU-hour over the rows of one provider's catalogue."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    missing = {"instance_name", "price", "gpu_count", "gpu_name", "spot"} - set(rows.fieldnames or ())
    if missing:
        raise FeedError(f"its catalogue has no column {', '.join(sorted(missing))}")
    found: dict[str, list[float]] = defaultdict(list)
    try:
        for model, price in _priced(rows):
            found[model].append(price)
    except csv.Error as error:
        raise FeedError(f"its catalogue is not CSV: {clean(str(error))}") from None
    return {model: median(prices) for model, prices in found.items()}


def refuse_another_unit(prices: Mapping[str, float], before: Mapping[str, float]) -> None:
    """FeedError when a new version's prices are as far from the last one's as two units are: the last one stands.

    >>> refuse_another_unit({"H100": 20.0}, {"H100": 2.5})
    Traceback (most recent call last):
    ...
    monitor.model.FeedError: H100 at 20.00 after 2.50 USD looks like a machine of eight for one GPU: version left out
    """
    for model, price in prices.items():
        if what := mistaken_unit(price, before.get(model, 0.0), "usd/gpu-hour"):
            raise FeedError(f"{model} at {price:.2f} after {before[model]:.2f} USD looks like {what}: version left out")


def _priced(rows: Iterable[Mapping[str, str | None]]) -> Iterable[tuple[str, float]]:
    """(model, USD per GPU-hour) of on-demand rows with a known model and a plausible price; others are skipped."""
    for row in rows:
        if (row.get("spot") or "").strip().lower() != "false":
            continue
        count, price = _float(row.get("gpu_count")), _float(row.get("price"))
        model = board_model(
            row.get("gpu_name") or "", row.get("instance_name") or "", count, _float(row.get("gpu_memory"))
        )
        if model is None or count is None or price is None:
            continue
        spec = SERIES[rent_series(model)]
        if spec.low <= price / count <= spec.high:
            yield model, price / count


def _float(text: str | None) -> float | None:
    """A positive finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < 1e9 else None


def board_model(gpu_name: str, instance_name: str, count: float | None, memory_gb: float | None) -> str | None:
    """The model of an SXM-class machine, or None: a slot card, another memory size, a part of a GPU, another model.

    PCIe and NVL cards rent for less and are another product. Where a name says neither, eight GPUs are an SXM machine.

    >>> board_model("H100", "gpu_8x_h100_sxm5", 8, 80), board_model("H100", "NVIDIA H100 PCIe", 1, 80)
    ('H100', None)
    >>> board_model("H100", "p5.48xlarge", 8, 80), board_model("H100", "one-gpu", 1, 80)
    ('H100', None)
    """
    bare = re.sub(r"NVIDIA|TESLA|[\s_-]", "", gpu_name, flags=re.IGNORECASE).upper()
    model = next((m for m in MODELS if re.match(rf"{m}(?!\d)", bare)), None)
    if model is None or count is None or count != int(count):
        return None
    low, high = MEMORY_GB[model]
    if memory_gb is not None and not low <= memory_gb <= high:
        return None
    names = f"{gpu_name} {instance_name}"
    if SLOT.search(names):
        return None
    if model in HAS_SLOT_VERSION and count != 8 and not BOARD.search(names):
        return None
    return model
