"""What an edited rule would have said lately: both versions of it over the same days, seeing only what was known then.

The days are lived as a replay lives them, by the functions of live evaluations (:mod:`monitor.metrics`,
:mod:`monitor.rules`, :mod:`monitor.alerts`), but only the numbers the rule names are worked out, so that the answer
comes while a person waits. A day is one moment; where an edit is about waits of hours, the days on which an answer
changed are lived hour by hour as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from monitor import alerts, feeds, market, metrics, rules
from monitor.known import KnownBook, as_known, fact_steps
from monitor.model import AlertState, Match, Numbers, Observation, Rule, StepTable
from monitor.replay_compare import Change, compare_episodes
from monitor.rules import CompiledRule, compile_rules
from monitor.scoring import Episode, episodes
from monitor.steps import Steps
from monitor.tick import mark_observations

if TYPE_CHECKING:
    from monitor.stress.scenario import Scenario
    from monitor.world import World

DAYS = 90
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
#: lived before the days that count, so that waits are not served from zero; longer where the rule waits longer
RUN_UP_DAYS = 30
#: days lived hour by hour, the newest first; more would keep a person waiting
MAX_FINE_DAYS = 6
#: alarms that the lines name
MAX_LINES = 12

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DryRun:
    """What one rule said as it is and as edited, from ``start`` to ``end``. Plain data.

    ``fine_days`` were lived hour by hour; ``coarse``: answers changed on more days than these, and hours matter.
    ``blind``: metrics that cannot be worked out for the past, so that what compares them stayed unknown.
    ``unknown``: subjects the edited rule could never judge in all that time; ``subjects``: how many it is about.
    """

    rule: str
    start: datetime
    end: datetime
    was: tuple[Episode, ...]
    now: tuple[Episode, ...]
    moments: int
    fine_days: int
    coarse: bool
    blind: tuple[str, ...] = ()
    unknown: int = 0
    subjects: int = 0
    recorded: bool = False
    seconds: float = field(default=0.0, compare=False)

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """Borrower by borrower, the alarms that are the same, new, gone or moved."""
        return compare_episodes(self.was, self.now)

    @property
    def counts(self) -> tuple[int, int]:
        """How many alarms stood within the days, as it is and as edited, whenever they began."""
        return len(self.was), len(self.now)


# ---------------------------------------------------------------- living the days
def dry_run(
    world: World,
    was: Rule,
    now: Rule,
    at: datetime,
    observations: Sequence[Observation] = (),
    days: int = DAYS,
    recorded: bool = False,
    progress: Progress = lambda done, of: None,
) -> DryRun:
    """Both versions of one rule over the days before a moment. ``observations``: live ones besides what is recorded.

    ``world`` gives book, scenarios and recorded prices; its rules are not asked. ``recorded``: those prices are all
    there is. Raises InputError when a rule does not compile.
    """
    began = time.perf_counter()
    names = {scenario.name for scenario in world.scenarios}
    both = compile_rules([was, now], metrics.METRICS, names)
    past = _Past.of(world, both, observations)
    start = at - timedelta(days=days)
    run_up = max(RUN_UP_DAYS, *(int(rule.for_s // 86400) + 1 for rule in (was, now)))
    moments = [at - i * DAY for i in range(days + run_up, -1, -1)]
    lived: dict[datetime, tuple[Match, Match]] = {}
    for done, moment in enumerate(moments):
        lived[moment] = past.judged(moment)
        progress(done + 1, len(moments))
    wanted = _changed_days(moments, lived) if _hours_matter(was, now) else []
    for day in (fine := wanted[-MAX_FINE_DAYS:]):
        for hour in range(1, 24):
            lived[day + hour * HOUR] = past.judged(day + hour * HOUR, keep=False)
    found = [_episodes(compiled.rule, i, lived, start) for i, compiled in enumerate(both)]
    unknown = np.all([lived[moment][1].truth == -1 for moment in moments if moment > start], axis=0)
    return DryRun(
        rule=now.id,
        start=start,
        end=at,
        was=found[0],
        now=found[1],
        moments=len(lived),
        fine_days=len(fine),
        coarse=len(fine) < len(wanted),
        blind=past.blind,
        unknown=int(unknown.sum()),
        subjects=int(unknown.size),
        recorded=recorded,
        seconds=time.perf_counter() - began,
    )


def _hours_matter(was: Rule, now: Rule) -> bool:
    """Whether the edit is about a wait shorter than a day, which daily moments cannot tell apart."""
    pairs = ((was.for_s, now.for_s), (was.keep_firing_for_s, now.keep_firing_for_s))
    return any(one != other and min(one, other) < 86400 for one, other in pairs)


def _changed_days(moments: Sequence[datetime], lived: Mapping[datetime, tuple[Match, Match]]) -> list[datetime]:
    """The moments after which, before the next, an answer of either rule changed."""
    return [
        moment
        for moment, after in pairwise(moments)
        if any(
            not (np.array_equal(a.truth, b.truth) and np.array_equal(a.cleared, b.cleared))
            for a, b in zip(lived[moment], lived[after], strict=True)
        )
    ]


def _episodes(
    rule: Rule, which: int, lived: Mapping[datetime, tuple[Match, Match]], start: datetime
) -> tuple[Episode, ...]:
    """The alarms of one version that stood within the days."""
    states: dict[alerts.Key, AlertState] = {}
    events, last = [], None
    for moment in sorted(lived):
        states, happened = alerts.step([rule], [lived[moment][which]], states, moment, last_tick_at=last)
        events += happened
        last = moment
    return tuple(one for one in episodes(events) if one.ended is None or one.ended > start)


@dataclass
class _Past:
    """The world at any moment of the past, with the numbers of one rule only."""

    world: World
    both: tuple[CompiledRule, ...]
    tape: market.Tape
    names: frozenset[str]
    scenarios: tuple[Scenario, ...]
    #: the numbers worked out so far: metric -> subject -> (moments, values), at each change
    seen: dict[str, dict[str, tuple[list[float], list[float]]]] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World, both: tuple[CompiledRule, ...], observations: Iterable[Observation]) -> _Past:
        tape = market.Tape(
            [*world.recorded, *mark_observations(world.book), *observations], feeds.series_specs(world.feeds)
        )
        parts = [part for one in both for part in (one.expression, one.clear) if part is not None]
        names = frozenset(name for part in parts for name in part.names)
        asked = tuple(s for s in world.scenarios if any(f'"{s.name}"' in part.normal for part in parts))
        return cls(world, both, tape, names, asked)

    @property
    def blind(self) -> tuple[str, ...]:
        """What is not worked out for the past: it would take simulated paths at every moment."""
        return tuple(sorted(name for name in self.names if metrics.METRICS[name].costly))

    def judged(self, at: datetime, keep: bool = True) -> tuple[Match, Match]:
        """What both versions say at a moment; ``keep``: later moments may look back on its numbers."""
        numbers = self._numbers(as_known(self.world.book, at), at)
        if keep:
            self._remember(numbers)
        was, now = rules.match(self.both, numbers)
        return was, now

    def _numbers(self, book: KnownBook, at: datetime) -> Numbers:
        ids = tuple(sorted(borrower.id for borrower in book.borrowers))
        prices = cache(lambda: self.tape.history(at, ids))  # most rules look at no past

        def history(name: str) -> StepTable | None:
            return prices().get(name) or fact_steps(book, name, ids) or self._steps(name, numbers)

        quotes = self.tape.quotes(at)
        numbers = metrics.compute(book, quotes, self.scenarios, history, at, costly=False, names=self.names)
        return numbers

    def _steps(self, name: str, numbers: Numbers) -> StepTable | None:
        """The past of a metric, out of the moments lived before this one."""
        column = numbers.columns.get(name)
        if column is None:
            return None
        rows = [self.seen.get(name, {}).get(subject, ([], [])) for subject in numbers.subjects[column.level]]
        cut = [sum(moment < numbers.at.timestamp() for moment in times) for times, _ in rows]
        return Steps(
            column.unit,
            tuple(times[:n] for (times, _), n in zip(rows, cut, strict=True)),
            tuple(values[:n] for (_, values), n in zip(rows, cut, strict=True)),
        )

    def _remember(self, numbers: Numbers) -> None:
        at_s = numbers.at.timestamp()
        for name, column in numbers.columns.items():
            rows = self.seen.setdefault(name, {})
            for subject, value in zip(numbers.subjects[column.level], column.values.tolist(), strict=True):
                times, values = rows.setdefault(subject, ([], []))
                if not values or not (values[-1] == value or (values[-1] != values[-1] and value != value)):
                    times.append(at_s)
                    values.append(value)


# ---------------------------------------------------------------- in words
def sentence(run: DryRun) -> str:
    """The outcome in one line: ``would have fired 3 times in 90 days, 7 now``."""
    before, after = run.counts
    days = (run.end - run.start).days
    until = f"the {days} days to {_day(run.end)}"
    if run.subjects and run.unknown == run.subjects:
        return f"in {until} nothing was known to judge it by, so nothing can be said about the edit"
    if not any(change.differs for change in run.changes):
        return f"{_would(before)} in {until}; as edited exactly the same"
    return f"{_would(before)} in {until}, {_times(after)} as edited"


def details(run: DryRun) -> list[str]:
    """The alarms that are new, gone or moved, borrower by borrower, and what limits the answer."""
    said = [line for change in run.changes for line in _change_lines(change)]
    more = [f"and {len(said) - MAX_LINES} more"] if len(said) > MAX_LINES else []
    return [*said[:MAX_LINES], *more, *_ends(run), *_limits(run)]


def _ends(run: DryRun) -> list[str]:
    """How many of the alarms reach beyond the days at either end."""
    if not run.was and not run.now:
        return []
    before = [sum(one.began <= run.start for one in found) for found in (run.was, run.now)]
    after = [sum(one.ended is None for one in found) for found in (run.was, run.now)]
    begun = [f"begun before those days: {before[0]}, as edited {before[1]}"] if any(before) else []
    return [*begun, f"standing at their end: {after[0]}, as edited {after[1]}"]


def _limits(run: DryRun) -> list[str]:
    found = []
    if run.blind:
        found.append(f"not simulated for the past, so what compares it stayed unknown: {', '.join(run.blind)}")
    if 0 < run.unknown < run.subjects:
        found.append(f"{run.unknown} of {run.subjects} could not be judged on any of those days")
    how = f"hour by hour on {run.fine_days} days, else once a day" if run.fine_days else "judged once a day"
    if run.coarse:
        how += ", though answers changed on more days than that: shorter waits there are not told apart"
    found.append(f"{how}; what came and went in between is not seen")
    if run.recorded:
        found.append("on recorded prices, which end there")
    return found


def _change_lines(change: Change) -> list[str]:
    lines = [f"new   {one.subject} {_span(one)}" for one in change.new]
    lines += [f"gone  {one.subject} {_span(one)}" for one in change.gone]
    for was, now in change.moved:
        parts = [f"from {_moment(was.began)} to {_moment(now.began)}"] if was.began != now.began else []
        parts += [f"its end from {_end(was)} to {_end(now)}"] if was.ended != now.ended else []
        parts += [f"{was.severity} to {now.severity}"] if was.severity != now.severity else []
        lines.append(f"moved {now.subject} {', '.join(parts)}")
    return lines


def _span(one: Episode) -> str:
    return f"{_moment(one.began)} to {_end(one)}"


def _end(one: Episode) -> str:
    return _moment(one.ended) if one.ended else "still standing"


def _moment(when: datetime) -> str:
    return _day(when) if when.time() == datetime.min.time() else f"{when:%Y-%m-%d %H:%M} UTC"


def _day(when: datetime) -> str:
    """The day a moment at its end stands for."""
    return f"{(when.astimezone(UTC) - timedelta(microseconds=1)):%Y-%m-%d}"


def _would(count: int) -> str:
    return f"would have fired {_times(count)}" if count else "would never have fired"


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
