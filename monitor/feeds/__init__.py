"""Price sources. One file of this folder is one source; :func:`discover` finds them by walking the folder.

A source is a class derived from :class:`Feed` with a name, the series it gives, its hosts and one coroutine ``fetch``.
:func:`fetch_all` runs the sources side by side, each under its own time limit; one that fails, hangs or lies about its
units leaves a report with a reason and never stops the others.
"""

from __future__ import annotations

import asyncio
import inspect
import pkgutil
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from httpx import AsyncClient

from monitor.feeds.http import Client, clean, new_http, origin
from monitor.model import FeedError, FeedReport, Observation
from monitor.series import SERIES, SeriesSpec, fault, max_age_s


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What a configuration may say about a source.

    ``base_url`` replaces its host; ``folder`` is where a desk drops its own CSV files (the file source reads it).
    """

    enabled: bool = True
    base_url: str | None = None
    time_limit_s: float | None = None
    max_age_s: float | None = None
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Off:
    """A source that is not used, and why: switched off, or an optional part that is not installed."""

    name: str
    reason: str
    file: str


class Feed:
    """One price source. Subclasses set the class attributes and write ``fetch``; see any file of this folder."""

    name: ClassVar[str]
    #: the series it may give, names of :data:`monitor.series.SERIES`
    series: ClassVar[tuple[str, ...]]
    #: the only hosts it speaks to
    hosts: ClassVar[tuple[str, ...]] = ()
    time_limit_s: ClassVar[float] = 15.0
    #: how long after the moment it describes a value is published; live prices are known when they are fetched
    lag: ClassVar[timedelta] = timedelta(0)
    known_basis: ClassVar[str] = "live"

    def __init__(self, settings: FeedSettings | None = None):
        self.settings = settings = settings or FeedSettings()
        self.base_url = (settings.base_url or (f"https://{self.hosts[0]}" if self.hosts else "")).rstrip("/")
        self.limit_s = settings.time_limit_s or self.time_limit_s

    @property
    def max_age_s(self) -> dict[str, float]:
        """Series -> how old its value may be before it counts as unknown, in seconds."""
        return {name: self.settings.max_age_s or max_age_s(SERIES[name], self.known_basis) for name in self.series}

    @property
    def origins(self) -> tuple[str, ...]:
        """What it may connect to: its own hosts, or only the configured address where there is one."""
        if self.settings.base_url:
            return (origin(self.base_url),)
        return tuple(f"https://{host}" for host in self.hosts)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """What the source says at ``now``; raises FeedError with the reason when it says nothing usable."""
        raise NotImplementedError

    def observation(self, series: str, value: float, observed_at: datetime, now: datetime, source: str) -> Observation:
        """One live value in the series' own unit, known from ``now``."""
        return Observation(series, value, SERIES[series].unit, observed_at, now, source)


# ---------------------------------------------------------------- finding
def discover(settings: Mapping[str, FeedSettings] | None = None) -> list[Feed | Off]:
    """Every source in this folder, in the order of its file names; those that cannot be used are Off with a reason.

    ``settings``: source name -> its settings; a source not named there runs with its own defaults.
    """
    chosen = settings or {}
    found: list[Feed | Off] = []
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        full_name = f"{__name__}.{module_info.name}"
        try:
            module = import_module(full_name)
        except Exception as error:  # most often an optional part that is not installed; one bad file stops no other
            spec = find_spec(full_name)
            file = (spec.origin if spec else None) or ""
            found.append(Off(module_info.name, f"off because {type(error).__name__}: {clean(str(error))}", file))
            continue
        classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == full_name]
        for feed_class in (c for c in classes if issubclass(c, Feed)):
            own = chosen.get(feed_class.name, FeedSettings())
            off = Off(feed_class.name, "switched off in the configuration", module.__file__ or "")
            found.append(feed_class(own) if own.enabled else off)
    return found


def series_specs(feeds: Iterable[Feed]) -> dict[str, SeriesSpec]:
    """SERIES with the maximum ages a configuration sets for the live series of its sources; the strictest counts."""
    specs = dict(SERIES)
    for feed in feeds:
        if feed.settings.max_age_s and feed.known_basis == "live":
            for name in feed.series:
                limit = min(feed.settings.max_age_s, specs[name].max_age_live_s)
                specs[name] = replace(specs[name], max_age_live_s=limit)
    return specs


# ---------------------------------------------------------------- fetching
async def gather_parts(
    client: Client, parts: Mapping[str, Coroutine[object, object, list[Observation]]]
) -> list[Observation]:
    """Parts of one source side by side: what failed is noted, and only when all failed the source failed.

    ``parts``: a name for people -> a coroutine giving observations or raising FeedError.
    """
    answers = await asyncio.gather(*parts.values(), return_exceptions=True)
    observations: list[Observation] = []
    failures: list[str] = []
    for name, answer in zip(parts, answers, strict=True):
        if isinstance(answer, FeedError):
            failures.append(f"{name}: {answer}")
        elif isinstance(answer, BaseException):
            raise answer
        else:
            observations += answer
    if failures and len(failures) == len(parts):
        raise FeedError("; ".join(failures))
    for failure in failures:
        client.note(failure)
    return observations


def _believable(feed: Feed, observations: Sequence[Observation], client: Client) -> list[Observation]:
    """What a source may say: its own series, in their units, plausible, not from the future. The rest is noted."""
    kept: list[Observation] = []
    for observation in observations:
        spec = SERIES.get(observation.series)
        if spec is None or observation.series not in feed.series:
            client.note(f"{feed.name} gave {observation.series!r}, which is none of its series")
        elif why := fault(observation, spec):
            client.note(why)
        else:
            kept.append(observation)
    return kept


async def _fetch_one(
    feed: Feed, http: AsyncClient, now: datetime, limit_s: float
) -> tuple[list[Observation], FeedReport]:
    """One source under its limit: its observations and its report, whatever happens."""
    started = time.perf_counter()
    observations: list[Observation] = []
    notes: list[str] = []
    raw: list[tuple[str, bytes]] = []
    try:
        async with asyncio.timeout(limit_s):
            client = Client(http, feed.origins, now, limit_s)
            notes, raw = client.notes, client.raw
            observations = _believable(feed, await feed.fetch(client, now), client)
        ok = bool(observations)
        notes = notes if ok or notes else ["it gave nothing"]
    except TimeoutError:
        ok, notes = False, [f"no complete answer within {limit_s:g} s", *notes]
    except FeedError as error:
        ok, notes = False, [str(error), *notes]
    except Exception as error:  # a mistake in one source must not take the others down; it is named for what it is
        ok, notes = False, [f"a fault in the source's own code: {type(error).__name__}: {clean(str(error))}", *notes]
    newest = max((o.observed_at for o in observations), default=None)
    seconds = time.perf_counter() - started
    return observations, FeedReport(feed.name, ok, "; ".join(notes), len(observations), seconds, newest, tuple(raw))


async def fetch_all(
    feeds: Sequence[Feed], now: datetime, time_limit_s: float = 30.0
) -> tuple[list[Observation], list[FeedReport]]:
    """All sources side by side: (observations, one report per source in the same order). Never raises for a source.

    Each runs under the smaller of its own limit and ``time_limit_s``. ``now`` is the moment of the tick: live values
    are known from then.
    """
    async with new_http() as http:
        answers = await asyncio.gather(*(_fetch_one(f, http, now, min(f.limit_s, time_limit_s)) for f in feeds))
    return [o for observations, _ in answers for o in observations], [report for _, report in answers]
