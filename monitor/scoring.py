"""Scoring a replay against what happened: lead, alarms that led nowhere, counts with exact intervals, ranks. Pure.

One borrower is one line. Nothing is averaged into a mark, because a handful of failures carries none: counts come with
their exact interval and the ranking with a permutation of its labels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import comb
from typing import Literal, NamedTuple

import numpy as np

from monitor.model import BoolArray, Borrower, Event, FloatArray, Severity, end_of_day

#: an alarm that has stood for longer than this before the event did not announce it
LEAD_DAYS = 270
#: a claim was not paid, or was settled for less: the day a lender lost something. An exchange is not among them: the
#: book also calls so what a healthy borrower offers to holders who gain by it
HARD = ("bankruptcy", "acceleration", "missed_payment", "surrender", "settlement")
#: a sign before that
SOFT = ("going_concern", "non_reliance", "delisting_notice", "auditor_change", "cfo_exit", "late_filing", "waiver")
DEFERRAL = "deferral"
#: rules that say that data is missing, not that a borrower is in trouble
ASIDE = frozenset({"BlindOnRisk"})

Label = Literal["failure", "borderline", "failed later", "survivor", "no debt", "debt unknown", "insufficient data"]


# ---------------------------------------------------------------- episodes
@dataclass(frozen=True, slots=True)
class Episode:
    """One alert from its firing to its end; ``ended`` is None while it stands. Values are those at the firing."""

    rule: str
    subject: str
    severity: Severity
    began: datetime
    ended: datetime | None
    values: Mapping[str, float | None]
    because: str = ""

    @property
    def borrower(self) -> str:
        """The borrower it is about, whichever of its facilities it names."""
        return self.subject.partition("/")[0]

    def stands(self, when: datetime) -> bool:
        """Whether it had fired and not ended at a moment."""
        return self.began <= when and (self.ended is None or self.ended > when)


def episodes(events: Iterable[Event]) -> tuple[Episode, ...]:
    """Events in order of time as episodes, by begin.

    >>> from datetime import UTC
    >>> day = datetime(2022, 8, 7, tzinfo=UTC)
    >>> rows = [Event(k, "R", "acme", "warning", k, day + timedelta(days=i), "", "ok", "ok")
    ...         for i, k in enumerate(("pending", "fired", "recovering", "fired", "resolved"))]
    >>> [(e.began.day, e.ended.day) for e in episodes(rows)]
    [(8, 11)]
    """
    standing: dict[tuple[str, str], Episode] = {}
    found: list[Episode] = []
    for event in events:
        key = (event.rule, event.subject)
        if event.kind == "fired" and key not in standing:
            standing[key] = Episode(*key, event.severity, event.at, None, event.values, event.because)
        elif event.kind in ("resolved", "dropped") and key in standing:
            found.append(replace(standing.pop(key), ended=event.at))
    return tuple(sorted([*found, *standing.values()], key=lambda e: (e.began, e.rule, e.subject)))


def unknown_spells(events: Iterable[Event]) -> dict[tuple[str, str], list[tuple[datetime, datetime | None]]]:
    """Per rule and subject the spans in which the rule could not be judged."""
    spells: dict[tuple[str, str], list[tuple[datetime, datetime | None]]] = {}
    for event in events:
        rows = spells.setdefault((event.rule, event.subject), [])
        blind = event.after in ("nodata", "error")
        if blind and (not rows or rows[-1][1] is not None):
            rows.append((event.at, None))
        elif not blind and rows and rows[-1][1] is None:
            rows[-1] = (rows[-1][0], event.at)
    return spells


def days_inside(spans: Iterable[tuple[datetime, datetime | None]], start: datetime, end: datetime) -> float:
    """Days of a window covered by at least one span; a span without an end goes on.

    >>> from datetime import UTC
    >>> day = datetime(2022, 1, 1, tzinfo=UTC)
    >>> spans = [(day, day + timedelta(days=4)), (day + timedelta(days=2), None)]
    >>> days_inside(spans, day + timedelta(days=1), day + timedelta(days=9))
    8.0
    """
    covered, reached = 0.0, start
    for began, ended in sorted(spans, key=lambda span: span[0]):
        low, high = max(began, reached), min(ended or end, end)
        if high > low:
            covered += (high - low).total_seconds()
            reached = high
    return covered / 86400.0


# ---------------------------------------------------------------- what happened
@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a borrower inside the window; ``day`` is the first hard event, or the deferral of a borderline."""

    borrower: str
    label: Label
    day: date | None = None
    kind: str = ""
    #: softer signs before it: (day, kind)
    signs: tuple[tuple[date, str], ...] = ()


def outcome_of(borrower: Borrower, start: date, end: date, debt_usd: float) -> Outcome:
    """The outcome by the book's own dated events. ``debt_usd``: the most debt known in the window, NaN if never known.

    A hard event makes a failure, one after the window neither a failure nor a survivor. A deferral without one is
    borderline. Who owed nothing cannot fail and says nothing about false alarms.
    """
    dated = sorted((e.happened, e.kind) for e in borrower.events if start <= e.happened <= end)
    hard = [row for row in dated if row[1] in HARD]
    deferred = [row for row in dated if row[1] == DEFERRAL]
    until = next((row[0] for row in (*hard, *deferred)), date.max)
    signs = tuple(row for row in dated if row[1] in (*SOFT, DEFERRAL) and row[0] < until)
    if borrower.status == "insufficient_data" or borrower.missing:
        day, kind = hard[0] if hard else (None, "")
        return Outcome(borrower.id, "insufficient data", day, kind, signs)
    if hard:
        return Outcome(borrower.id, "failure", *hard[0], signs)
    if any(e.kind in HARD and e.happened > end for e in borrower.events):
        return Outcome(borrower.id, "failed later", signs=tuple(r for r in dated if r[1] in (*SOFT, DEFERRAL)))
    if deferred:
        return Outcome(borrower.id, "borderline", *deferred[0], signs)
    if debt_usd != debt_usd:
        return Outcome(borrower.id, "debt unknown", signs=signs)
    return Outcome(borrower.id, "survivor" if debt_usd > 0 else "no debt", signs=signs)


# ---------------------------------------------------------------- one borrower
class Lead(NamedTuple):
    """The earliest alarm of a severity before the event that still stood at it: days ahead and its episode."""

    days: int
    episode: Episode


@dataclass(frozen=True)
class Score:
    """One borrower's line: alarms of "warning or worse" and of "critical" over the days it was watched."""

    outcome: Outcome
    since: datetime
    until: datetime
    #: every episode that counts as an alarm, up to the event
    alarms: tuple[Episode, ...]
    share_blind: float

    @property
    def days(self) -> float:
        """Days watched."""
        return max(0.0, (self.until - self.since).total_seconds() / 86400.0)

    def _of(self, severity: Severity) -> list[Episode]:
        return [e for e in self.alarms if severity == "warning" or e.severity == "critical"]

    def first(self, severity: Severity) -> Episode | None:
        """The first alarm before the event and at most LEAD_DAYS ahead of it, cleared or not; of all without event."""
        day = self.outcome.day
        start = self.since if day is None else self.until - timedelta(days=LEAD_DAYS)
        return next((e for e in self._of(severity) if e.began >= start), None)

    def lead(self, severity: Severity) -> Lead | None:
        """How far ahead of the event the alarm stood without a break, at most LEAD_DAYS; None without such an alarm."""
        if self.outcome.day is None:
            return None
        for e in self._of(severity):
            days = (self.until - e.began).days
            if 1 <= days <= LEAD_DAYS and (e.ended is None or e.ended >= self.until):
                return Lead(days, e)
        return None

    def share(self, severity: Severity) -> float:
        """Share of the days watched on which an alarm stood; NaN without a day."""
        spans = [(e.began, e.ended) for e in self._of(severity)]
        return days_inside(spans, self.since, self.until) / self.days if self.days else float("nan")

    def per_year(self, severity: Severity) -> float:
        """Alarms begun per year watched; NaN without a day."""
        return len(self._of(severity)) / self.days * 365.25 if self.days else float("nan")


def score(
    outcome: Outcome,
    found: Sequence[Episode],
    since: datetime,
    until: datetime,
    blind: Iterable[tuple[datetime, datetime | None]] = (),
    aside: Collection[str] = ASIDE,
) -> Score:
    """Score one borrower from the moment something was known of it to its event or the end of the window.

    ``blind``: the spans in which its main number could not be told. Rules in ``aside`` say just that and are no alarms.
    An alarm that rests on the event itself begins after it and so never counts as a warning of it.
    """
    if outcome.day is not None:
        until = min(until, end_of_day(outcome.day) - timedelta(days=1))
    own = [e for e in found if e.borrower == outcome.borrower and e.began < until]
    alarms = tuple(e for e in own if e.severity != "info" and e.rule not in aside)
    days = (until - since).total_seconds() / 86400.0
    dark = days_inside(blind, since, until) / days if days > 0 else float("nan")
    return Score(outcome, since, until, alarms, dark)


# ---------------------------------------------------------------- counts
class Count(NamedTuple):
    """``hits`` of ``of``, with the exact 95 % interval of the share behind them."""

    hits: int
    of: int
    low: float
    high: float


def counted(hits: int, of: int, level: float = 0.95) -> Count:
    """A count with its interval after Clopper and Pearson (1934): the shares a binomial test would not reject.

    >>> [round(x, 3) for x in counted(2, 3)[2:]], [round(x, 3) for x in counted(0, 4)[2:]]
    ([0.094, 0.992], [0.0, 0.602])
    """
    tail = (1 - level) / 2

    def at_most(k: int, p: float) -> float:
        return sum(comb(of, i) * p**i * (1 - p) ** (of - i) for i in range(k + 1))

    low = 0.0 if hits == 0 else _root(lambda p: 1 - at_most(hits - 1, p) - tail)
    high = 1.0 if hits == of else _root(lambda p: tail - at_most(hits, p))
    return Count(hits, of, low, high)


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def caught(scores: Iterable[Score], severity: Severity) -> Count:
    """Failures an alarm of this severity announced and still stood for."""
    failed = [s for s in scores if s.outcome.label == "failure"]
    return counted(sum(s.lead(severity) is not None for s in failed), len(failed))


def quiet(scores: Iterable[Score], severity: Severity) -> Count:
    """Survivors with debt that never had an alarm of this severity."""
    survived = [s for s in scores if s.outcome.label == "survivor"]
    return counted(sum(not s.share(severity) > 0 for s in survived), len(survived))


# ---------------------------------------------------------------- baselines
def flagged(name: str, borrowers: Sequence[str], times: Sequence[datetime], on: BoolArray) -> tuple[Episode, ...]:
    """A yes or no over (times, borrowers) as episodes of a rule of that name, so that it is scored like any other."""
    found: list[Episode] = []
    for b, borrower in enumerate(borrowers):
        edges = np.flatnonzero(np.diff(np.r_[False, on[:, b], False].astype(np.int8)))
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            ended = times[stop] if stop < len(times) else None
            found.append(Episode(name, borrower, "warning", times[start], ended, {}))
    return tuple(sorted(found, key=lambda e: (e.began, e.subject)))


# ---------------------------------------------------------------- ranking within each date
class Ranking(NamedTuple):
    """How often a failure to come ranked above a survivor on the same date (0.5 is chance), and what chance does."""

    concordance: float
    dates: int
    p_value: float
    permutations: int


def ranking(
    scores: FloatArray, times: Sequence[datetime], events: Sequence[date | None], seed: int, permutations: int = 999
) -> Ranking:
    """Rank borrowers within each date by a score (higher: nearer to failure) against who failed in LEAD_DAYS.

    scores (times, borrowers), NaN where unknown and then left out; events: per borrower its hard event or None. A
    borrower leaves after its event. The p-value permutes which borrower has which event (seeded): the whole path of a
    borrower moves together, so the dependence of one date on the next does not make it look surer than it is.
    """
    days = np.array([t.timestamp() / 86400.0 for t in times])
    fails = np.array([np.inf if d is None else (end_of_day(d).timestamp() / 86400.0 - 1) for d in events])
    value, dates = _concordance(scores, days, fails)
    if not dates:
        return Ranking(float("nan"), 0, float("nan"), 0)
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = [_concordance(scores, days, rng.permutation(fails))[0] for _ in range(permutations)]
    above = sum(d >= value - 1e-12 for d in drawn)  # a permutation no date can judge is no evidence either way
    usable = sum(d == d for d in drawn)
    return Ranking(value, dates, (1 + above) / (1 + usable), usable)


def _concordance(scores: FloatArray, days: FloatArray, fails: FloatArray) -> tuple[float, int]:
    """The mean over dates of the share of (failure to come, other) pairs in the right order, ties counting half."""
    ahead = fails[None, :] - days[:, None]
    known = ~np.isnan(scores) & (ahead > 0)
    bad, good = known & (ahead <= LEAD_DAYS), known & (ahead > LEAD_DAYS)
    pairs = bad[:, :, None] & good[:, None, :]
    with np.errstate(invalid="ignore"):
        gap = np.sign(scores[:, :, None] - scores[:, None, :])
    # two infinities of one sign differ by nan: they are equal
    right = np.where(pairs, (np.nan_to_num(gap) + 1) / 2, 0.0).sum(axis=(1, 2))
    count = pairs.sum(axis=(1, 2))
    usable = count > 0
    return (float((right[usable] / count[usable]).mean()), int(usable.sum())) if usable.any() else (float("nan"), 0)
