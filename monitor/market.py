"""Raw observations -> the price in force at a moment, with its age, its source and its doubts. Pure.

A tick is everything that became known at one moment. Per series and subject its venues give one value (their median,
outliers left out); a value that jumps too far from the last accepted one is a suspect until another venue or the next
observation says the same. What stands after each tick depends on nothing that became known later, so one pass over the
past serves live operation, replay and the known history alike.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from statistics import median
from typing import NamedTuple

import numpy as np

from monitor.model import MARKET, FloatArray, Observation, Quote, StepTable
from monitor.series import SERIES as SERIES
from monitor.series import SeriesSpec as SeriesSpec
from monitor.series import age_s, fault, jump_limit, max_age_s, show, unit_swap
from monitor.steps import Steps
from monitor.units import format_age

Key = tuple[str, str]

#: hashes needed per block and unit of difficulty
HASHES_PER_DIFFICULTY = 2.0**32
DERIVED = "hashprice_usd_ph_day"
WAITING = "waiting for a second source or the next observation"
_INPUTS = ("difficulty", "block_reward_btc", "btc_usd")


def hashprice_usd_ph_day(difficulty: float, block_reward_btc: float, btc_usd: float) -> float:
    """What one PH/s earns in a day, in USD: 86400e15 / (difficulty * 2**32) blocks, times reward, times price.

    The reward includes fees. Source: expected hashes per block = difficulty * 2**32 (the protocol's definition).

    >>> round(hashprice_usd_ph_day(148.26e12, 3.125, 91_500.0), 2)
    38.8
    """
    return 86400e15 / (difficulty * HASHES_PER_DIFFICULTY) * block_reward_btc * btc_usd


# ---------------------------------------------------------------- one tick
def _apart(value: float, base: float) -> float:
    """How far a value is from a base, as a fraction of it; bounds keep prices away from zero."""
    return abs(value - base) / max(abs(base), 1e-12)


def _venues(observations: Sequence[Observation], spec: SeriesSpec) -> list[Observation]:
    """The newest word of each source in one tick, without sources that were already out of date then, if any is not."""
    if len(observations) == 1:
        return list(observations)
    newest: dict[str, Observation] = {}
    for observation in sorted(observations, key=lambda o: (o.observed_at, o.value, o.quality, o.unit, o.note)):
        newest[observation.source] = observation
    venues = [newest[source] for source in sorted(newest)]
    fresh = [o for o in venues if age_s(spec, o.observed_at, o.known_at) <= max_age_s(spec, o.known_basis)]
    return fresh or venues


def _agreeing(venues: Sequence[Observation], spec: SeriesSpec) -> list[Observation]:
    """The venues near their common median; empty when no two of several agree."""
    if len(venues) == 1:
        return list(venues)
    middle = median(o.value for o in venues)
    # two venues are each half their difference away from their median
    limit = spec.venue_limit / 2 if len(venues) == 2 else spec.venue_limit
    near = [o for o in venues if _apart(o.value, middle) <= limit]
    return near if len(near) >= 2 else []


def _listed(observations: Iterable[Observation]) -> str:
    return " and ".join(f"{show(o.value, o.unit.strip().lower())} ({o.source})" for o in observations)


def _merged(kept: Sequence[Observation], left_out: Sequence[Observation], spec: SeriesSpec) -> Quote:
    """One quote from the venues that agree: their median, as old as the oldest of them."""
    first = kept[0]
    source = first.source if len(kept) == 1 else "median of " + ", ".join(o.source for o in kept)
    if left_out:
        source += f"; left out {_listed(left_out)}"
    return Quote(
        series=first.series,
        subject=first.subject,
        value=float(median(o.value for o in kept)),
        unit=spec.unit,
        observed_at=min(o.observed_at for o in kept),
        known_at=first.known_at,
        source=source,
        restated=any(o.restated for o in kept),
        known_basis=first.known_basis,
        quality=max((o.quality for o in kept), key=("filing", "press", "derived", "assumed").index),
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands for one key after the tick of ``known_at``: the accepted value, the suspect, the doubts in words."""

    known_at: datetime
    accepted: Quote | None = None
    suspect: Observation | None = None
    doubt: str = ""


def _dates(quote: Quote) -> tuple[datetime, datetime]:
    """(observed, known) of an accepted quote, which always has both."""
    if quote.observed_at is None or quote.known_at is None:
        raise ValueError(f"an accepted {quote.series} has no date")
    return quote.observed_at, quote.known_at


def _fresh(quote: Quote, spec: SeriesSpec, now: datetime) -> bool:
    return age_s(spec, _dates(quote)[0], now) <= max_age_s(spec, quote.known_basis)


def _believable(observation: Observation, accepted: Quote, spec: SeriesSpec) -> bool:
    """Whether one source alone may report this after the accepted value."""
    if unit_swap(observation.value, accepted.value, spec.unit):
        return False
    observed_at, known_at = _dates(accepted)
    elapsed = max(observation.known_at - known_at, observation.observed_at - observed_at)
    return _apart(observation.value, accepted.value) <= jump_limit(spec, elapsed.total_seconds())


def _is_new(observation: Observation, suspect: Observation) -> bool:
    """Another source, or a later observation: not the same one read again."""
    return observation.source != suspect.source or observation.observed_at > suspect.observed_at


def _confirms(observation: Observation, suspect: Observation, accepted: Quote, spec: SeriesSpec) -> bool:
    """Whether a new observation says what the suspect said.

    A value that looks like another unit is only confirmed by another source: a source that mistakes its unit once
    does it again the next time.
    """
    if unit_swap(observation.value, accepted.value, spec.unit) and observation.source == suspect.source:
        return False
    elapsed_s = (observation.known_at - suspect.known_at).total_seconds()
    limit = max(spec.venue_limit, jump_limit(spec, elapsed_s))
    return _is_new(observation, suspect) and _apart(observation.value, suspect.value) <= limit


def _single(observation: Observation, before: Standing, spec: SeriesSpec) -> Standing:
    """One source alone: accepted when near enough, or confirming a suspect; else it becomes the suspect."""
    known_at, accepted, suspect = observation.known_at, before.accepted, before.suspect
    quote = Standing(known_at, _merged([observation], [], spec))
    if accepted is None or not _fresh(accepted, spec, known_at) or _believable(observation, accepted, spec):
        return quote
    if suspect is not None and _confirms(observation, suspect, accepted, spec):
        return quote
    swap = unit_swap(observation.value, accepted.value, spec.unit)
    doubt = (
        f"{observation.source} says {show(observation.value, spec.unit)},"
        f" {_apart(observation.value, accepted.value):.0%} from the last accepted {show(accepted.value, spec.unit)}"
        f" ({accepted.source}); " + (f"it looks like {swap}; waiting for a second source" if swap else WAITING)
    )
    return Standing(known_at, accepted, observation, doubt)


def _disputed(venues: Sequence[Observation], before: Standing, spec: SeriesSpec) -> Standing:
    """Venues that do not agree: the one that fits the last accepted value counts; if none or several do, it stands.

    None of them becomes a suspect: a value another source contradicts must not confirm itself at the next tick.
    """
    known_at, accepted = venues[0].known_at, before.accepted
    doubt = f"sources disagree: {_listed(venues)}"
    if accepted is None or not _fresh(accepted, spec, known_at):
        return Standing(known_at, accepted, None, doubt)
    fitting = [o for o in venues if _believable(o, accepted, spec)]
    if len(fitting) == 1:
        return Standing(known_at, _merged(fitting, [], spec), None, doubt)
    return Standing(known_at, accepted, None, f"{doubt}; the last accepted {show(accepted.value, spec.unit)} stands")


def _agreed(venues: Sequence[Observation], before: Standing, spec: SeriesSpec) -> Standing:
    """What the believable observations of one tick make of it."""
    kept = _agreeing(venues, spec)
    if len(kept) >= 2:
        return Standing(kept[0].known_at, _merged(kept, [o for o in venues if o not in kept], spec))
    return _single(kept[0], before, spec) if kept else _disputed(venues, before, spec)


def step(before: Standing, observations: Sequence[Observation], spec: SeriesSpec) -> Standing:
    """What stands after one tick: ``observations`` became known at one moment, for one series and subject."""
    known_at, accepted = observations[0].known_at, before.accepted
    faults = {o: fault(o, spec) for o in observations}
    refused = "; ".join(sorted({text for text in faults.values() if text}))
    venues = _venues([o for o, text in faults.items() if not text], spec)
    if not venues:
        return replace(before, known_at=known_at, doubt=refused)
    if accepted and _fresh(accepted, spec, known_at):
        venues = [o for o in venues if o.observed_at >= _dates(accepted)[0]]
        if not venues:
            return replace(before, known_at=known_at)  # old news: a later value is in force already
    if len(venues) < spec.minimum_venues and venues[0].known_basis == "live":
        few = f"only {len(venues)} of the {spec.minimum_venues} venues needed answered: {_listed(venues)}"
        return replace(before, known_at=known_at, doubt=few)
    after = _agreed(venues, before, spec)
    if refused and after.accepted and after.accepted is not accepted:
        # the others gave a value, so it is not in doubt; what was refused stays visible beside it
        return replace(after, accepted=replace(after.accepted, source=f"{after.accepted.source}; refused: {refused}"))
    return replace(after, doubt="; ".join(text for text in (after.doubt, refused) if text))


# ---------------------------------------------------------------- the tape
def _unknown(series: str, subject: str, unit: str, reason: str, **dates: datetime | None) -> Quote:
    return Quote(series, subject, math.nan, unit, dates.get("observed_at"), dates.get("known_at"), "", reason)


def _quote(standing: Standing, key: Key, spec: SeriesSpec, now: datetime) -> Quote:
    """The standing after the last tick, seen at ``now``: a value within its age, or the reason why there is none."""
    accepted, doubt = standing.accepted, standing.doubt
    if accepted is None:
        return _unknown(*key, spec.unit, doubt or "nothing usable yet")
    if _fresh(accepted, spec, now):
        return replace(accepted, in_doubt=doubt)
    age, limit = age_s(spec, _dates(accepted)[0], now), max_age_s(spec, accepted.known_basis)
    reason = f"last value {show(accepted.value, spec.unit)} is {format_age(age)} old (limit {format_age(limit)})"
    reason += f"; {doubt}" if doubt else ""
    return _unknown(*key, spec.unit, reason, observed_at=accepted.observed_at, known_at=accepted.known_at)


class Tape:
    """Everything observed, walked through once; asked for the prices in force at any moment, without looking ahead."""

    def __init__(self, observations: Iterable[Observation], specs: Mapping[str, SeriesSpec] = SERIES):
        self.specs = specs
        by_key: dict[Key, list[Observation]] = defaultdict(list)
        for observation in set(observations):
            by_key[observation.series, observation.subject].append(observation)
        self._strangers = {key: min(o.known_at for o in by_key[key]) for key in by_key if key[0] not in specs}
        self._standings = {key: self._walk(rows, specs[key[0]]) for key, rows in by_key.items() if key[0] in specs}
        self._times = {key: [s.known_at for s in standings] for key, standings in self._standings.items()}
        self._pasts: dict[Key, Past] = {}
        #: key -> (how many accepted values were known, the past made of them): it changes only with that number
        self._made: dict[Key, tuple[int, Points]] = {}

    @staticmethod
    def _walk(rows: list[Observation], spec: SeriesSpec) -> list[Standing]:
        rows.sort(key=lambda o: (o.known_at, o.source))
        standings: list[Standing] = []
        before = Standing(rows[0].known_at)
        for _, tick in groupby(rows, key=lambda o: o.known_at):
            before = step(before, list(tick), spec)
            standings.append(before)
        return standings

    def _steps(self, key: Key, now: datetime) -> Points:
        """The past of one key as known at a moment; what is accepted never depends on later, so it is read once."""
        if key not in self._standings:
            return NOTHING
        if key not in self._pasts:
            self._pasts[key] = _past(self._standings[key], self.specs[key[0]])
        past = self._pasts[key]
        known = int(np.searchsorted(past.known_s, now.timestamp(), side="right"))
        if key not in self._made or self._made[key][0] != known:
            self._made[key] = known, _until(past, known)
        return self._made[key][1]

    def quotes(self, now: datetime) -> dict[Key, Quote]:
        """Every market series and every observed subject -> its quote at ``now``; unknown ones carry a reason."""
        market = {(name, MARKET) for name, spec in self.specs.items() if spec.level == "market"}
        found: dict[Key, Quote] = {}
        for key in sorted(market | set(self._standings)):
            spec = self.specs[key[0]]
            position = bisect_right(self._times.get(key, []), now)
            if position:
                found[key] = _quote(self._standings[key][position - 1], key, spec, now)
            elif key[1] == MARKET:
                found[key] = _unknown(*key, spec.unit, f"no source has given {key[0]} yet")
        for series, subject in sorted(key for key, known_at in self._strangers.items() if known_at <= now):
            found[series, subject] = _unknown(series, subject, "", f"no series is called {series!r}")
        if DERIVED in self.specs:
            found[DERIVED, MARKET] = _with_derived(found, self.specs[DERIVED])
        return found

    def history(self, now: datetime, borrowers: Sequence[str] = ()) -> dict[str, StepTable]:
        """The accepted past of every series: market series over one subject, others over ``borrowers``."""
        tables: dict[str, StepTable] = {}
        for series, spec in self.specs.items():
            subjects = (MARKET,) if spec.level == "market" else tuple(borrowers)
            points = [self._steps((series, name), now) for name in subjects]
            tables[series] = Steps(spec.unit, tuple(t for t, _ in points), tuple(v for _, v in points))
        if DERIVED in tables:
            tables[DERIVED] = _derived_steps(tables)
        return tables


def quotes(
    observations: Iterable[Observation], now: datetime, specs: Mapping[str, SeriesSpec] = SERIES
) -> dict[Key, Quote]:
    """(series, subject) -> the price in force at ``now``. Only what was known by then counts; order does not matter.

    Every market series is in the answer. ``value`` is NaN exactly when ``reason`` says why; ``in_doubt`` says both
    numbers when a newer one is not believed yet. Hashprice is derived from difficulty, reward and bitcoin.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 8, 14, 12, tzinfo=UTC)
    >>> seen = [Observation("btc_usd", 62_100.0, "usd", noon, noon, "Venue A")]
    >>> quotes(seen, noon)["btc_usd", "market"].value
    62100.0
    >>> quotes(seen, noon + timedelta(days=3))["btc_usd", "market"].reason
    'last value 62,100 USD is 3 d old (limit 60 min)'
    """
    return Tape(observations, specs).quotes(now)


def history(observations: Iterable[Observation], now: datetime, borrowers: Sequence[str] = ()) -> dict[str, StepTable]:
    """Series -> its known past at ``now`` as step functions; to ask more than once keep a :class:`Tape`."""
    return Tape(observations).history(now, borrowers)


# ---------------------------------------------------------------- hashprice
def _with_derived(found: Mapping[Key, Quote], spec: SeriesSpec) -> Quote:
    """Hashprice from its three inputs, because that moves with bitcoin; else a published point; else why not."""
    published = found[DERIVED, MARKET]
    inputs = [found[name, MARKET] for name in _INPUTS]
    missing = [f"{quote.series}: {quote.reason}" for quote in inputs if not quote.known]
    if missing:
        return published if published.known else replace(published, reason="hashprice needs " + "; ".join(missing))
    value = hashprice_usd_ph_day(*(quote.value for quote in inputs))
    if not spec.low <= value <= spec.high:
        why = f"hashprice comes out at {show(value, spec.unit)}, which no inputs that fit together give"
        return published if published.known else replace(published, reason=why)
    # an assumed reward has a date but no age that would matter
    dates = [q.observed_at for q in inputs if q.observed_at and q.quality != "assumed"]
    return Quote(
        DERIVED,
        MARKET,
        value,
        published.unit,
        min(dates, default=None),
        max((q.known_at for q in inputs if q.known_at), default=None),
        "derived from " + ", ".join(f"{q.series} ({q.source})" for q in inputs),
        in_doubt="; ".join(f"{q.series}: {q.in_doubt}" for q in inputs if q.in_doubt),
        restated=any(q.restated for q in inputs),
        known_basis="live" if all(q.known_basis == "live" for q in inputs) else "assumed",
        quality="derived",
    )


# ---------------------------------------------------------------- the known past
Points = tuple[FloatArray, FloatArray]
NOTHING: Points = (np.zeros(0), np.zeros(0))


def _only(table: Steps) -> Points:
    """The past of a series with one subject."""
    return np.asarray(table.times[0], np.float64), np.asarray(table.values[0], np.float64)


def _value_at(points: Points, when_s: FloatArray) -> FloatArray:
    """The step function at some moments (epoch seconds); NaN before its first point."""
    times, values = points
    padded = np.concatenate(([np.nan], values))
    return np.asarray(padded[np.searchsorted(times, when_s, side="right")], dtype=np.float64)


class Past(NamedTuple):
    """Every accepted value of one key: when it became known, what it is, until when it may be carried on (seconds)."""

    known_s: FloatArray
    value: FloatArray
    expiry_s: FloatArray


def _past(standings: Sequence[Standing], spec: SeriesSpec) -> Past:
    """The accepted values in order of their knowledge.

    The past carries a value for as long as a recorded one may stand, so that an hour without a source tears no hole.
    """
    carry = timedelta(seconds=max(spec.max_age_live_s, spec.max_age_recorded_s) * (1.4 if spec.business_days else 1.0))
    carry += timedelta(days=2 if spec.business_days else 0)
    accepted: list[Quote] = []
    for standing in standings:
        if standing.accepted is not None and (not accepted or standing.accepted is not accepted[-1]):
            accepted.append(standing.accepted)
    dates = [_dates(quote) for quote in accepted]
    known_s = np.array([known_at.timestamp() for _, known_at in dates], np.float64)
    # strictly after: a value exactly at its limit is still in force
    expiry_s = np.array([(observed_at + carry).timestamp() + 1e-3 for observed_at, _ in dates], np.float64)
    return Past(known_s, np.array([quote.value for quote in accepted], np.float64), np.maximum(expiry_s, known_s))


def _until(past: Past, known: int) -> Points:
    """Change points of the first ``known`` accepted values: each, and NaN from where it is too old to carry on.

    >>> past = Past(np.array([0.0, 9.0]), np.array([1.0, 2.0]), np.array([5.0, 14.0]))
    >>> [array.tolist() for array in _until(past, 2)]
    [[0.0, 5.0, 9.0, 14.0], [1.0, nan, 2.0, nan]]
    >>> [array.tolist() for array in _until(past, 1)]
    [[0.0, 5.0], [1.0, nan]]
    """
    times, values, expiry = past.known_s[:known], past.value[:known], past.expiry_s[:known]
    following = np.append(times[1:], np.inf)[:known]
    gaps = np.flatnonzero(expiry < following)
    return np.insert(times, gaps + 1, expiry[gaps]), np.insert(values, gaps + 1, np.nan)


def _derived_steps(tables: Mapping[str, StepTable]) -> StepTable:
    """Hashprice's past, derived wherever its inputs are known, else as published."""
    published = tables[DERIVED]
    inputs = [tables[name] for name in _INPUTS]
    assert isinstance(published, Steps)
    points = [_only(table) for table in inputs if isinstance(table, Steps)]
    times = np.unique(np.concatenate([*(p[0] for p in points), _only(published)[0]]))
    derived = hashprice_usd_ph_day(*(_value_at(p, times) for p in points))  # type: ignore[arg-type]
    values = np.where(np.isnan(derived), _value_at(_only(published), times), derived)
    return Steps(published.unit, (times,), (values,))
