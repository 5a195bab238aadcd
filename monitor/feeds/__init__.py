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
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

from httpx import AsyncClient

from monitor.feeds.http import Client, clean, new_http, origin
from monitor.model import FeedError, FeedReport, Observation
from monitor.quarantine import Quarantine
from monitor.series import SERIES, SeriesSpec, fault, max_age_s

SHORTEST_REST_S, LONGEST_REST_S = 120.0, 6 * 3600.0
#: refused values that are told one by one; of a whole list in another unit the first few say it
MAX_REFUSALS = 3


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What a configuration may say about a source.

    ``base_url`` replaces its host; ``folder`` is where a desk drops its own CSV files (the file source reads it);
    ``key`` is the secret some sources ask for; ``trouble`` is why a source cannot be used now (its key cannot be had,
    or the whole program is offline); ``contact`` is the address others want to know you by; ``companies`` are the
    borrowers of the book, for sources that speak of companies.
    """

    enabled: bool = True
    base_url: str | None = None
    time_limit_s: float | None = None
    max_age_s: float | None = None
    folder: Path | None = None
    key: str | None = field(default=None, repr=False)
    trouble: str = ""
    contact: str | None = None
    companies: tuple[Company, ...] = ()


@dataclass(frozen=True, slots=True)
class Company:
    """A borrower as an exchange or a regulator knows it: its id in the book, its ticker, its number at the SEC.

    ``shares_as_of``: the day of the newest share count in the book.
    """

    id: str
    ticker: str | None = None
    cik: int | None = None
    shares_as_of: date | None = None


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
    #: what it gives and how it is kept polite, for the table of sources
    what: ClassVar[str] = ""
    limits: ClassVar[str] = ""
    #: it is not asked again before this much time has passed; what it said last still stands
    every: ClassVar[timedelta] = timedelta(0)
    #: the least time between two requests, in seconds, and how many may be under way at once
    pace_s: ClassVar[float] = 0.0
    parallel: ClassVar[int] = 4
    #: "required": off without a key of your own; "optional": better with one
    needs_key: ClassVar[Literal["", "optional", "required"]] = ""
    #: off until the configuration names an address the source can reach you at
    needs_contact: ClassVar[bool] = False
    #: a package it needs that is not part of the core, and the extra that brings it
    needs_package: ClassVar[tuple[str, str] | None] = None
    #: why it is off unless the configuration names it
    off_unless_named: ClassVar[str] = ""
    #: nothing new is an answer too: no filing today is no failure
    may_be_silent: ClassVar[bool] = False
    #: its silence is told (SourceStale); not for sources that no alert may wait for
    on_alert_path: ClassVar[bool] = True
    time_limit_s: ClassVar[float] = 15.0
    #: how long after the moment it describes a value is published; live prices are known when they are fetched
    lag: ClassVar[timedelta] = timedelta(0)
    known_basis: ClassVar[str] = "live"
    #: the longest stretch of its past that one call of ``history`` may ask for; None: any
    page: ClassVar[timedelta | None] = None

    def __init__(self, settings: FeedSettings | None = None):
        self.settings = settings = settings or FeedSettings()
        self.base_url = (settings.base_url or (f"https://{self.hosts[0]}" if self.hosts else "")).rstrip("/")
        self.limit_s = settings.time_limit_s or self.time_limit_s
        #: answers the source may say have not changed: address -> (what to ask with, the answer)
        self.kept: dict[str, tuple[dict[str, str], bytes]] = {}
        #: after a refusal it is left alone until then
        self.rest_until: datetime | None = None
        self.refusals = 0
        #: what it said when it was last asked, and when that was
        self.said: tuple[datetime, list[Observation], FeedReport] | None = None

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

    @property
    def headers(self) -> dict[str, str]:
        """What its requests carry besides the usual: a key, a name. Sent to its own hosts only."""
        return {}

    def client(self, http: AsyncClient, now: datetime, limit_s: float) -> Client:
        """The way to the network this source may use for one fetch."""
        return Client(
            http, self.origins, now, limit_s, headers=self.headers, kept=self.kept, pace_s=self.pace_s,
            parallel=self.parallel,
        )  # fmt: skip

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """What the source says at ``now``; raises FeedError with the reason when it says nothing usable."""
        raise NotImplementedError

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """What it said about its past, known by ``now``: from the value in force at ``since`` to ``until``.

        Without them, as far as it goes back at once. Only sources that can tell their past write it.
        """
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
            why = _why_off(feed_class, own, feed_class.name in chosen)
            found.append(Off(feed_class.name, why, module.__file__ or "") if why else feed_class(own))
    return found


def classes() -> list[type[Feed]]:
    """Every source class of this folder by file name, used or not; what cannot be imported is left out."""
    found: list[type[Feed]] = []
    for name in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        try:
            module = import_module(f"{__name__}.{name}")
        except ImportError:
            continue  # discover() says why
        members = (c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__)
        found += [c for c in members if issubclass(c, Feed)]
    return found


def _why_off(feed_class: type[Feed], own: FeedSettings, named: bool) -> str:
    """Why a source is not used and what would switch it on; empty when it is used."""
    name = feed_class.name
    if not own.enabled:
        return own.trouble or "switched off in the configuration"
    if feed_class.off_unless_named and not named:
        return f"{feed_class.off_unless_named}; to use it: feeds: {{{name}: {{enabled: true}}}}"
    if own.trouble:
        return own.trouble
    if feed_class.needs_key == "required" and not own.key:
        return f"it needs a key of your own: feeds: {{{name}: {{key_env: NAME_OF_A_VARIABLE}}}}"
    if feed_class.needs_contact and not own.contact:
        return f"it wants to know whom to write to: feeds: {{{name}: {{contact: you@your.company}}}}"
    if feed_class.needs_package and find_spec(feed_class.needs_package[0]) is None:
        package, extra = feed_class.needs_package
        return f"{package} is not installed: pip install 'compute-canary[{extra}]'"
    return ""


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
    refused: list[str] = []
    for observation in observations:
        spec = SERIES.get(observation.series)
        if spec is None or observation.series not in feed.series:
            refused.append(f"{feed.name} gave {observation.series!r}, which is none of its series")
        elif why := fault(observation, spec):
            refused.append(why)
        else:
            kept.append(observation)
    kept, twice = _of_one_mind(kept)
    refused += twice
    for why in refused[:MAX_REFUSALS]:
        client.note(why)
    if len(refused) > MAX_REFUSALS:
        client.note(f"{len(refused) - MAX_REFUSALS} more of its {len(observations)} values were refused too")
    return kept


def _of_one_mind(observations: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """(without what a source said twice at once with two values: neither counts; those in words)."""
    said: dict[tuple[object, ...], set[float]] = {}
    keys = [(o.series, o.subject, o.source, o.observed_at, o.known_at) for o in observations]
    for key, observation in zip(keys, observations, strict=True):
        said.setdefault(key, set()).add(observation.value)
    twice = [f"{key[0]} of {key[2]} was said twice with two values" for key, values in said.items() if len(values) > 1]
    return [o for key, o in zip(keys, observations, strict=True) if len(said[key]) == 1], twice


def with_quarantine(
    feeds: Iterable[Feed], reports: Iterable[FeedReport], found: Sequence[Quarantine]
) -> list[FeedReport]:
    """The reports with what of their source's raw offers is kept out of an index, and why."""
    mine: dict[str, list[str]] = {}
    for feed in feeds:
        subjects = {seen.subject for seen in feed.said[1]} if feed.said else set()
        mine[feed.name] = [one.reason for one in found if one.subjects & subjects]
    return [
        replace(report, reason="; ".join([*filter(None, [report.reason]), *mine.get(report.feed, ())]))
        for report in reports
    ]


async def _fetch_one(
    feed: Feed, http: AsyncClient, now: datetime, limit_s: float
) -> tuple[list[Observation], FeedReport]:
    """One source under its limit: its observations and its report, whatever happens."""
    if (standing := _not_asked(feed, now)) is not None:
        return standing
    started = time.perf_counter()
    observations: list[Observation] = []
    client = feed.client(http, now, limit_s)
    notes = client.notes
    try:
        async with asyncio.timeout(limit_s):
            observations = _believable(feed, await feed.fetch(client, now), client)
        ok = bool(observations) or feed.may_be_silent
        notes = notes if ok or notes else ["it gave nothing"]
    except TimeoutError:
        ok, notes = False, [f"no complete answer within {limit_s:g} s", *notes]
    except FeedError as error:
        ok, notes = False, [str(error), *notes]
    except Exception as error:  # a mistake in one source must not take the others down; it is named for what it is
        ok, notes = False, [f"a fault in the source's own code: {type(error).__name__}: {clean(str(error))}", *notes]
    newest = max((o.observed_at for o in observations), default=None)
    seconds = time.perf_counter() - started
    report = FeedReport(feed.name, ok, "; ".join(notes), len(observations), seconds, newest, tuple(client.raw))
    _remember(feed, now, observations, report, client.refused)
    return observations, report


def _not_asked(feed: Feed, now: datetime) -> tuple[list[Observation], FeedReport] | None:
    """What stands in for a fetch that is not due, or not wanted by the source; None when it is to be asked."""
    if feed.said is not None and timedelta(0) <= now - feed.said[0] < feed.every:
        return feed.said[1], feed.said[2]
    if feed.rest_until is not None and now < feed.rest_until:
        reason = f"it refused us and is left alone until {feed.rest_until:%Y-%m-%d %H:%M}Z"
        return [], FeedReport(feed.name, False, reason, 0, 0.0)
    return None


def _remember(
    feed: Feed, now: datetime, observations: list[Observation], report: FeedReport, refused: float | None
) -> None:
    """What the next fetch needs to know of this one."""
    if report.ok:
        feed.rest_until, feed.refusals = None, 0
        # without the answers themselves: those are stored once
        feed.said = (now, observations, replace(report, raw=()))
    elif refused is not None:
        feed.rest_until = now + _rest(refused, feed.refusals)
        feed.refusals += 1


def _rest(wait_s: float, refusals: int) -> timedelta:
    """How long to leave alone a source that refused us: as long as it asks, else twice as long each time.

    Never less than two minutes and never more than six hours: a mistaken header must not switch a source off for ever.

    >>> [_rest(wait_s, n).total_seconds() for wait_s, n in ((0.0, 0), (0.0, 3), (3600.0, 0), (1e12, 0))]
    [120.0, 960.0, 3600.0, 21600.0]
    """
    return timedelta(seconds=min(max(wait_s, SHORTEST_REST_S * 2 ** min(refusals, 8)), LONGEST_REST_S))


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
