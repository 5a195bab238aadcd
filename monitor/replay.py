"""The past again, day by day: what Canary would have said, knowing only what was known.

A replay is the same evaluation as live operation (:class:`monitor.tick.Run`): the book as known at each moment, prices
by the moment they became known, metrics, rules and alert states, kept in a database of its own. Nothing is sent. Given
a database it goes on after the last moment in it, and gives the same events as a replay that was never interrupted.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from monitor import feeds, market, scoring
from monitor.book import load_book
from monitor.config import Schedule
from monitor.known import all_facts
from monitor.metrics import METRICS
from monitor.model import (
    MARKET,
    Assumption,
    Book,
    CanaryError,
    Event,
    Fact,
    FloatArray,
    Observation,
    Rule,
)
from monitor.replay_ahead import AheadRun, Task, numbers_ahead
from monitor.rigs import RigCheck
from monitor.scoring import Episode
from monitor.store import Lock, Store, TickRow
from monitor.stress.state import Draws
from monitor.tick import Run, asked_scenarios, mark_observations
from monitor.world import World

DAY = timedelta(days=1)
#: evaluations committed together: one wait for the disk for all of them, and what a kill may cost
CHUNK = 32
#: simulated paths of a moment: a past of three years has a thousand of them
PATHS = 1024
MAX_EVENTS = 1_000_000
#: metrics kept for scoring, over (times, borrowers)
BORROWER_PANEL = ("debt_usd", "cash_unrestricted_usd", "coins_total", "liquidity_locked_12m")
MARKET_PANEL = ("btc_usd", "hashprice_usd_ph_day")

#: what one run over the simulated paths gives; the clearing of lenders is not over paths, and asked for by no score
OVER_PATHS = tuple(name for name, info in METRICS.items() if info.costly and name != "creditor_loss_usd")

Progress = Callable[[int, int], None]
#: every price in words and when it became known, in the order of the words
Said = Sequence[tuple[str, datetime]]


@dataclass(frozen=True)
class ReplayResult:
    """What a replay saw and said. Arrays are (times, borrowers), or (times,) for the market; NaN is unknown."""

    start: datetime
    end: datetime
    every: timedelta
    times: tuple[datetime, ...]
    book: Book
    rules: tuple[Rule, ...]
    panel: dict[str, FloatArray]
    events: tuple[Event, ...]
    episodes: tuple[Episode, ...]
    #: what entered with knowledge of later, in words
    hindsight: tuple[str, ...]
    #: book, assumptions, rules, version
    inputs: tuple[str, str, str, str]
    seed: int
    #: evaluations made now (the others were in the database) and the seconds they took
    evaluated: int
    seconds: float
    #: mining machines at the end of each quarter: quotes, deals, and what hashprice would suggest
    rigs: tuple[RigCheck, ...] = ()

    @property
    def borrowers(self) -> tuple[str, ...]:
        """Borrower ids in the order of the arrays."""
        return tuple(sorted(b.id for b in self.book.borrowers))


# ---------------------------------------------------------------- the replay
def replay(
    world: World,
    start: datetime,
    end: datetime,
    every: timedelta = DAY,
    observations: Sequence[Observation] = (),
    progress: Progress = lambda done, of: None,
    database: Path | None = None,
    paths: bool = False,
) -> ReplayResult:
    """Evaluate at ``start``, ``start + every``, ... up to ``end``, on recorded prices and those given besides.

    ``database`` keeps the work and is continued when it holds the beginning of the same replay; without one everything
    is thrown away afterwards. Alerts begin with nothing served, so the first weeks are a warm-up. Only what a rule or
    the scoring reads is worked out, and numbers over simulated paths only with ``paths``; without, they are unknown.
    Raises CanaryError when the database belongs to another replay.
    """
    if every < timedelta(minutes=1) or end < start:
        raise CanaryError("a replay needs an end after its start, and a minute or more from one moment to the next")
    started = time.perf_counter()
    seen = [*world.recorded, *mark_observations(world.book), *observations]
    # a whole step without an evaluation is the rhythm here, not an outage
    world = replace(world, config=replace(world.config, schedule=_schedule(world, every)))
    times = [start + i * every for i in range((end - start) // every + 1)]
    with ExitStack() as stack:
        path = database or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-"))) / "replay.sqlite"
        stack.enter_context(Lock(path.with_name(path.name + ".lock")))
        store = stack.enter_context(Store(path))
        last = store.last_tick()
        said = sorted((repr(observation), observation.known_at) for observation in seen)
        _claim(store, world, (start.isoformat(), every.total_seconds(), paths), said, last)
        left = [at for at in times if last is None or at > last.eval_at]
        specs = feeds.series_specs(world.feeds)
        run = AheadRun(world, store, market.Tape(seen, specs), day_before(start))
        run.names, run.draws = asked_names(world, paths), Draws(world.config.engine.seed, PATHS)
        task = Task(world.book, tuple(seen), specs, asked_scenarios(world), run.names, run.draws, paths)
        run.ready = stack.enter_context(numbers_ahead(task, left))
        for done in range(0, len(left), CHUNK):
            last = _chunk(run, left[done : done + CHUNK], last, task, said)
            progress(len(times) - len(left) + min(done + CHUNK, len(left)), len(times))
        return _read(store, world, times, every, seen, len(left), time.perf_counter() - started)


def asked_names(world: World, paths: bool) -> frozenset[str]:
    """The metrics somebody reads: those the rules name, those that are scored and, if wanted, those over paths."""
    expressions = [e for one in world.compiled for e in (one.expression, one.clear) if e is not None]
    named = {name for expression in expressions for name in expression.names}
    return frozenset({*named, *BORROWER_PANEL, *MARKET_PANEL, *(OVER_PATHS if paths else ())})


def _schedule(world: World, every: timedelta) -> Schedule:
    return world.config.schedule.model_copy(update={"every": every.total_seconds()})


def day_before(moment: datetime) -> date:
    """The day a moment at its end stands for."""
    return (moment - timedelta(microseconds=1)).date()


def _chunk(run: Run, moments: Sequence[datetime], last: TickRow | None, task: Task, said: Said) -> TickRow | None:
    """Some evaluations in one transaction; returns the row of the last."""
    with run.store.transaction():
        states = run.store.load_states()
        for at in moments:
            run.recorded = day_before(at)
            moment = run.moment(at, task.scenarios, task.costly)
            # in one order whether they come from memory or from the database, so that events do too
            states, events = run.decide(moment, dict(sorted(states.items())), last)
            last = replace(run.row(at, 0.0), duration_s=None)
            run.store.commit_tick(last, numbers=moment.numbers, states=states, events=events)
        run.store.set_meta("replay_seen", _digest(said, moments[-1]))
    return last


# ---------------------------------------------------------------- a database belongs to one replay
def _digest(said: Said, known_by: datetime) -> str:
    """A hash of every price known by a moment."""
    rows = (text for text, known_at in said if known_at <= known_by)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def _claim(
    store: Store,
    world: World,
    shape: tuple[str, float, bool],
    said: Said,
    last: TickRow | None,
) -> None:
    """Make the database this replay's, or refuse one that began otherwise: its start, step and paths, its inputs."""
    mine = json.dumps([*shape, *world.inputs])
    if last is None:
        store.set_meta("replay", mine)
        return
    known = store.meta("replay")
    if known is None:
        raise CanaryError(f"{store.path}: this is not the database of a replay; name a new file")
    if known != mine:
        raise CanaryError(
            f"{store.path}: began with another start, step, book, rules or version; name a new file to replay afresh"
        )
    if store.meta("replay_seen") != _digest(said, last.eval_at):
        raise CanaryError(
            f"{store.path}: the prices known by {last.eval_at:%Y-%m-%d} have changed since; name a new file"
        )


# ---------------------------------------------------------------- reading what it said
def _read(
    store: Store,
    world: World,
    times: Sequence[datetime],
    every: timedelta,
    seen: Sequence[Observation],
    evaluated: int,
    seconds: float,
) -> ReplayResult:
    """The result out of the database alone, so that a continued replay cannot differ from a whole one."""
    ids = sorted(b.id for b in world.book.borrowers)
    panel = {name: _column(store, name, ids, times) for name in BORROWER_PANEL}
    panel |= {name: _column(store, name, [MARKET], times)[:, 0] for name in MARKET_PANEL}
    found = [event for event in reversed(store.events(limit=MAX_EVENTS)) if event.at <= times[-1]]
    events = tuple(sorted(found, key=lambda e: (e.at, e.rule, e.subject, e.kind)))
    return ReplayResult(
        start=times[0],
        end=times[-1],
        every=every,
        times=tuple(times),
        book=world.book,
        rules=world.rules,
        panel=panel,
        events=events,
        episodes=scoring.episodes(events),
        hindsight=tuple(hindsight(world.book, seen, times[0], times[-1])),
        inputs=world.inputs,
        seed=world.config.engine.seed,
        evaluated=evaluated,
        seconds=seconds,
    )


def _column(store: Store, metric: str, subjects: Sequence[str], times: Sequence[datetime]) -> FloatArray:
    past = store.metric_history(metric, subjects)
    if past is None:
        return np.full((len(times), len(subjects)), np.nan)
    return np.array([past.at(at.timestamp())[0] for at in times])


def hindsight(book: Book, seen: Iterable[Observation], start: datetime, end: datetime) -> list[str]:
    """What of a replay rests on later knowledge: restated series, undated publications, assumptions and terms."""
    said = []
    restated = sorted({o.series for o in seen if o.restated and o.known_at <= end})
    if restated:
        said.append(f"restated later, so not what was shown then: {', '.join(restated)}")
    facts = [(b.id, fact) for b in book.borrowers for fact in all_facts(b)]
    inside = [(name, f) for name, f in facts if f.known_at is not None and f.known_at <= end]
    undated = [(name, f) for name, f in inside if f.published is None]
    if undated:
        names = ", ".join(sorted({name for name, _ in undated}))
        said.append(f"{len(undated)} figures without a date of publication, used from the next dated one on: {names}")
    never = [(name, f) for name, f in facts if f.known_at is None and f.as_of <= end.date()]
    if never:
        said.append(f"{len(never)} figures whose publication is unknown are left out")
    derived = [1 for _, f in inside if f.quality == "derived"]
    if derived:
        said.append(f"{len(derived)} figures were worked out afterwards from what was published by their date")
    if book.assumptions:
        said.append(f"{len(book.assumptions)} assumptions carry no date: they are today's judgement about that time")
    if any(b.debts or b.tenants for b in book.borrowers):
        said.append("terms of instruments and shares of customers carry no date of their own: as read later")
    return said


def without_hindsight(world: World, seen: Iterable[Observation]) -> tuple[World, list[Observation]]:
    """The same world and prices without what was restated later and without figures that carry no publication date."""

    def dated(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
        return tuple(fact for fact in facts if fact.published is not None)

    rows = []
    for b in world.book.borrowers:
        pools = tuple(
            replace(
                pool,
                facts=dated(pool.facts),
                units=tuple(unit for unit in pool.units if unit.fact.published is not None),
                cost_vintages=tuple(vintage for vintage in pool.cost_vintages if vintage.fact.published is not None),
                contracts=tuple(contract for contract in pool.contracts if contract.fact.published is not None),
            )
            for pool in b.facilities
        )
        debts = tuple(replace(debt, facts=dated(debt.facts)) for debt in b.debts)
        due = tuple(maturity for maturity in b.maturities if maturity.fact.published is not None)
        rows.append(replace(b, facts=dated(b.facts), debts=debts, facilities=pools, maturities=due))
    book = replace(world.book, borrowers=tuple(rows))
    recorded = tuple(row for row in world.recorded if not row.restated)
    return replace(world, book=book, recorded=recorded), [row for row in seen if not row.restated]


# ---------------------------------------------------------------- the book of the past
def history_world(world: World, folder: Path | None = None) -> World:
    """The same rules over the borrowers of 2021 to 2023 in ``book/history``.

    Assumptions written there replace today's of the same name and kind; the others are today's. A borrower of which the
    book says itself that too little was public is watched like the others: a lender had it, and must hear that it is
    blind. What is missing stays in ``Borrower.missing``, by which it is scored.
    """
    past = load_book(folder or world.config.paths.book / "history")
    rows: dict[tuple[str, str], Assumption] = {
        (a.name, a.kind): a for a in (*world.book.assumptions, *past.assumptions)
    }
    both = hashlib.sha256((world.book.assumptions_hash + past.assumptions_hash).encode()).hexdigest()[:16]
    watched = tuple(replace(b, status="watched") if b.status == "insufficient_data" else b for b in past.borrowers)
    book = replace(past, borrowers=watched, assumptions=tuple(rows.values()), assumptions_hash=both)
    return replace(world, book=book)
