"""THE MAP. One evaluation is ``tick``: fetch, keep, know, stress, judge, decide; :mod:`monitor.postman` then sends.

Read this file to see how one price becomes one message: a source of :mod:`monitor.feeds` gives observations,
:mod:`monitor.store` keeps them, :mod:`monitor.market` turns them into prices in force and :mod:`monitor.known` the book
into what was known, :mod:`monitor.metrics` makes numbers of both, :mod:`monitor.rules` truths, :mod:`monitor.alerts`
states and events, :mod:`monitor.routing` decides who hears of it, :mod:`monitor.messages` writes it down, and a channel
of :mod:`monitor.chat` sends it.

Everything that touches SQLite or numpy runs on the one writer thread, through ``on_writer``; the event loop only
fetches and sends.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from monitor import alerts, feeds, market, messages, metrics, moved, portfolio, rents, routing, rules, tokens
from monitor.briefing import Desk, book_changes, brief, day_of
from monitor.context import Previous
from monitor.filings import FILING_SERIES, with_filings
from monitor.known import KnownBook, as_known, fact_steps
from monitor.ledger import OnWriter
from monitor.model import (
    AlertState,
    Book,
    CanaryError,
    Event,
    FeedReport,
    Match,
    Message,
    Numbers,
    Observation,
    Quote,
    StepTable,
    end_of_day,
)
from monitor.quarantine import Quarantine, without_mistaken
from monitor.silence import source_states
from monitor.store import Store, TickRow
from monitor.stress import causes
from monitor.stress.scenario import Scenario
from monitor.stress.state import Draws
from monitor.suppressed import suppressed_lines
from monitor.world import World

#: how much of the known past a first start lives through, so that ``for`` is not served from zero
WARM_UP_DAYS = 30
FETCH_LIMIT_S = 30.0
#: how far back a rule may look at live prices; recorded series are there in whole
HISTORY = timedelta(days=400)
#: raw offers are judged together by their index and are no price by themselves; there are thousands of them
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
PRICES = tuple(name for name in market.SERIES if not name.startswith(("offer_", "filing_")))


@dataclass(frozen=True)
class TickResult:
    """One evaluation. ``recorded``: the day of the prices when they are recorded ones, None when they are live."""

    eval_at: datetime
    recorded: date | None
    numbers: Numbers
    states: tuple[AlertState, ...]
    events: tuple[Event, ...]
    reports: tuple[FeedReport, ...]
    messages: tuple[Message, ...]
    problems: tuple[str, ...]
    duration_s: float


class Memory:
    """The live database and, beside it, one for recorded evaluations. Open and use it on the writer thread only.

    ``committed`` is called after each evaluation that was written: a sign of life during a long first start.
    """

    def __init__(self, state: Path, now: datetime, committed: Callable[[], object] | None = None):
        self.state, self._committed = state, committed
        self.live = self._open("canary.sqlite", now)
        self._recorded = self._open("recorded.sqlite", now) if (state / "recorded.sqlite").exists() else None

    def _open(self, name: str, now: datetime) -> Store:
        store = Store(self.state / name, self._committed)
        store.require_whole()
        store.recover_after_restart(now)
        return store

    def recorded(self, now: datetime) -> Store:
        """The database of RECORDED mode, made when it is first needed."""
        if self._recorded is None:
            self._recorded = self._open("recorded.sqlite", now)
        return self._recorded

    def stores(self) -> list[Store]:
        """The databases that are open."""
        return [store for store in (self.live, self._recorded) if store is not None]

    def close(self) -> None:
        """Close both."""
        for store in self.stores():
            store.close()


# ---------------------------------------------------------------- the map
async def tick(world: World, memory: Memory, now: datetime, on_writer: OnWriter) -> TickResult:
    """One evaluation at ``now``: ask every source, then judge and decide on the writer thread."""
    observations, reports = await feeds.fetch_all(world.feeds, now, FETCH_LIMIT_S)
    return await on_writer(partial(judge, world, memory, observations, reports, now))


def judge(
    world: World, memory: Memory, observations: Sequence[Observation], reports: Sequence[FeedReport], now: datetime
) -> TickResult:
    """Keep what was fetched, choose the live or the recorded database, evaluate, and commit in one transaction.

    Without a live answer now or ever, the evaluation is as of the newest recorded bitcoin close, frozen: RECORDED.
    """
    live = [seen for seen in observations if seen.known_basis == "live"]
    # what was published at a known moment is kept too; what rests on an assumed one is read from its file each time
    answers = [(report.feed, address, body) for report in reports for address, body in report.raw]
    with memory.live.transaction():
        memory.live.keep([seen for seen in observations if seen.known_basis != "assumed"])
        # together with what was read from them: a number never stands without its answer
        if answers:
            memory.live.keep_raw(now, answers)
    since = now - rents.LOOK_BACK
    offers = memory.live.thinned_observations(now, since, now - rents.OPEN_DAYS, rents.OFFER_SERIES)
    offers, doubted = without_mistaken(offers, now)
    index, withheld = rents.index_observations(offers, memory.live.observations(now, since, rents.INDEX_SERIES), now)
    memory.live.keep(index)
    no_tokens, doubted_tokens = _keep_token_index(memory.live, live, now)
    withheld |= no_tokens
    reports = feeds.with_quarantine(world.feeds, reports, [*doubted, *doubted_tokens])
    if live or memory.live.has_live_observation():
        _thin_daily(world, memory.live, now)
        result = _evaluate(world, memory.live, observations, reports, now, recorded=None)
        told = [f"{series} is withheld: {why}" for series, why in withheld.items()]
        return replace(result, problems=(*result.problems, *told))
    close = newest_close(world, now)
    return _evaluate(world, memory.recorded(now), observations, reports, close, recorded=day_of(close))


def _keep_token_index(
    store: Store, live: Sequence[Observation], now: datetime
) -> tuple[dict[str, str], tuple[Quarantine, ...]]:
    """The index of token prices, when a list of them has just come: (series withheld -> why, makers kept out of it)."""
    if not any(seen.series == tokens.OFFERS for seen in live):
        return {}, ()
    since = now - rents.LOOK_BACK
    said = store.observations(now, since, tuple(tokens.TOKEN_INDEX.values()))
    offers, doubted = without_mistaken(store.observations(now, since, (tokens.OFFERS,)), now)
    found, withheld = tokens.token_observations(offers, said, now)
    store.keep(found)
    return withheld, doubted


def _thin_daily(world: World, store: Store, now: datetime) -> None:
    """Once a day, give back the room of what is finer than the configuration keeps."""
    today = now.date().isoformat()
    if store.meta("thinned") != today:
        keep = world.config.retention
        store.thin(now, *(timedelta(seconds=seconds) for seconds in (keep.raw, keep.hourly, keep.events)))
        store.set_meta("thinned", today)


@contextmanager
def looking(world: World, at: datetime) -> Iterator[tuple[Store, TickResult]]:
    """An evaluation at any moment of the recorded past and the throw-away database it was made in."""
    with tempfile.TemporaryDirectory(prefix="canary-") as folder, Store(Path(folder) / "look.sqlite") as store:
        yield store, _evaluate(world, store, (), (), at, recorded=day_of(at))


def look(world: World, at: datetime) -> TickResult:
    """An evaluation at any moment of the recorded past. Nothing is sent, nothing is kept."""
    with looking(world, at) as (_, result):
        return result


def newest_close(world: World, now: datetime) -> datetime:
    """The moment of the newest recorded bitcoin close; CanaryError when there is none."""
    closes = [row.known_at for row in world.recorded if row.series == "btc_usd" and row.known_at <= now]
    if not closes:
        raise CanaryError("no source answered and no bitcoin price is recorded; see `canary list feeds`")
    return max(closes)


def _evaluate(
    world: World,
    store: Store,
    observations: Sequence[Observation],
    reports: Sequence[FeedReport],
    at: datetime,
    recorded: date | None,
) -> TickResult:
    started = time.perf_counter()
    stored = store.observations(at, at - HISTORY, PRICES)
    fetched = [seen for seen in observations if seen.series in PRICES]
    seen = [*world.recorded, *mark_observations(world.book), *fetched, *stored]
    run = Run(world, store, market.Tape(seen, feeds.series_specs(world.feeds)), recorded)
    last = store.last_tick()
    # Recorded time stands still, so an edit is judged over the whole known past again; live time goes on.
    fresh = last is None or (recorded is not None and run.inputs_changed(last))
    states = run.warm_up(at) if fresh else store.load_states()
    if recorded is None:
        run.sources = source_states(world.feeds, reports, store, at)
    moment = run.moment(at)
    states, events = run.decide(moment, states, None if fresh else last)
    if fresh:
        # what began during the warm-up and still stands is news now: recorded as single messages, live as one
        standing = [event for event in run.past_events if alerts.active(states.get(_key(event), AlertState("", "")))]
        events = [*standing, *events]
    if fresh and recorded is None:
        plan = routing.first_look(states, world.routes, world.rules, at)
    else:
        plan = _plan(world, store, events, states, at, recorded)
    desk = run.desk(moment)
    written = [run.write(group, desk, states, events) for group in plan.groups]
    duration_s = time.perf_counter() - started
    states = alerts.told(states, plan.spoken())
    store.commit_tick(
        run.row(at, duration_s),
        numbers=moment.numbers,
        states=states,
        events=[*run.past_events, *events],
        decisions=plan.decisions,
        messages=written,
        waiting=plan.waiting,
        told=plan.told,
        feed_reports=reports,
    )
    problems = [f"{report.feed}: {report.reason}" for report in reports if report.reason]
    return TickResult(
        at,
        recorded,
        moment.numbers,
        tuple(states.values()),
        tuple(events),
        tuple(reports),
        tuple(written),
        tuple(problems),
        duration_s,
    )


def _plan(
    world: World,
    store: Store,
    events: Sequence[Event],
    states: Mapping[alerts.Key, AlertState],
    at: datetime,
    recorded: date | None,
) -> routing.Plan:
    """Who hears of what, given what was said before and what people acknowledged or silenced."""
    return routing.route(
        events,
        states,
        world.routes,
        world.rules,
        at,
        told=store.told(),
        waiting=store.waiting(),
        overlays=store.overlays(at),
        recorded=recorded is not None,
        last_at=last.eval_at if (last := store.last_tick()) else None,
    )


def _key(event: Event) -> alerts.Key:
    return event.rule, event.subject


def draws_of(world: World) -> Draws:
    """The paths the configuration asks for."""
    engine = world.config.engine
    return Draws(engine.seed, engine.paths)


# ---------------------------------------------------------------- one moment
@dataclass(frozen=True)
class Moment:
    """What is known, the numbers made of it, and what every rule says about them."""

    at: datetime
    book: KnownBook
    numbers: Numbers
    matches: tuple[Match, ...]


def asked_scenarios(world: World) -> tuple[Scenario, ...]:
    """The scenarios a rule names; nobody reads the columns of the others when no table is shown."""
    texts = " ".join(f"{rule.expr} {rule.clear}" for rule in world.rules)
    return tuple(scenario for scenario in world.scenarios if f'"{scenario.name}"' in texts)


class Run:
    """One evaluation under way: the world, the memory and the prices, asked at one moment or at several."""

    #: work out these metrics only; None: all
    names: Collection[str] | None = None
    #: the paths to simulate instead of those the configuration asks for
    draws: Draws | None = None

    def __init__(self, world: World, store: Store, tape: market.Tape, recorded: date | None):
        filed = store.observations(FOREVER, series=FILING_SERIES)
        self.world = replace(world, book=with_filings(world.book, filed))
        self.store, self.tape, self.recorded = store, tape, recorded
        #: how the sources did; none while the past is lived through, or with recorded prices
        self.sources: tuple[metrics.SourceState, ...] = ()
        self.past_events: list[Event] = []
        self.before: Moment | None = None
        parts = (part for one in world.compiled for part in (one.expression, one.clear) if part is not None)
        self.looks_back = timedelta(seconds=max((part.looks_back_s for part in parts), default=0.0))

    def row(self, at: datetime, duration_s: float) -> TickRow:
        """What decided the outcome of this evaluation."""
        book, assumptions, rules_hash, version = self.world.inputs
        seed = self.world.config.engine.seed
        return TickRow(at, book, rules_hash, assumptions, version, seed, duration_s, self.recorded is not None)

    def inputs_changed(self, last: TickRow) -> bool:
        """Whether the book, the assumptions, the rules or the version differ from those of an earlier evaluation."""
        return (last.book_hash, last.assumptions_hash, last.rules_hash, last.code_version) != self.world.inputs

    def moment(self, at: datetime, scenarios: Sequence[Scenario] | None = None, costly: bool = True) -> Moment:
        """Know, stress and judge at one moment, under all scenarios or those given, with or without simulated paths."""
        book = as_known(self.world.book, at)
        numbers = self._numbers(book, at, self.world.scenarios if scenarios is None else scenarios, costly)
        return Moment(at, book, numbers, tuple(rules.match(self.world.compiled, numbers)))

    def _numbers(self, book: KnownBook, at: datetime, scenarios: Sequence[Scenario], costly: bool) -> Numbers:
        """A book, as it was known at some time, at the prices of a moment."""
        ids = tuple(sorted(borrower.id for borrower in book.borrowers))
        prices = self.tape.history(at, ids)

        def history(name: str) -> StepTable | None:
            return prices.get(name) or fact_steps(book, name, ids) or self._stored(name, numbers, at)

        numbers = self._compute(book, self.tape.quotes(at), scenarios, history, at, costly)
        return replace(numbers, recorded=self.recorded is not None)

    def _compute(
        self,
        book: KnownBook,
        quotes: Mapping[market.Key, Quote],
        scenarios: Sequence[Scenario],
        history: Callable[[str], StepTable | None],
        at: datetime,
        costly: bool,
    ) -> Numbers:
        """The metrics themselves; a replay may have had them made elsewhere."""
        draws = self.draws or draws_of(self.world)
        return metrics.compute(book, quotes, scenarios, history, at, costly, self.names, self.sources, draws)

    def _stored(self, name: str, numbers: Numbers, at: datetime) -> StepTable | None:
        """The past of a number from the database: of borrowers and facilities, as far back as the rules look."""
        column = numbers.columns.get(name)
        if column is None:
            return None
        since = None if column.level == "market" else at - self.looks_back
        return self.store.metric_history(name, numbers.subjects[column.level], since=since)

    def warm_up(self, at: datetime) -> dict[alerts.Key, AlertState]:
        """Live through the known past day by day without a word; what still stands afterwards is announced once."""
        states: dict[alerts.Key, AlertState] = {}
        self.past_events = []
        asked = asked_scenarios(self.world)
        for days in range(WARM_UP_DAYS, 0, -1):
            moment = self.moment(at - timedelta(days=days), asked, costly=False)
            states, events = self.decide(moment, states, None)
            self.store.commit_tick(self.row(moment.at, 0.0), numbers=moment.numbers)
            self.past_events += events
        return states

    def decide(
        self, moment: Moment, states: dict[alerts.Key, AlertState], last: TickRow | None
    ) -> tuple[dict[alerts.Key, AlertState], list[Event]]:
        """Move every alert to this moment; say when the book, not the market, changed an answer."""
        before = self.before.book if self.before else None
        if before is None and last is not None:
            before = as_known(self.world.book, last.eval_at)
        last_at = self.before.at if self.before else last.eval_at if last else None
        every_s = 86400.0 if last is None else self.world.config.schedule.every
        new_states, events = alerts.step(
            self.world.rules,
            moment.matches,
            states,
            moment.at,
            last_tick_at=last_at,
            downtime_s=alerts.downtime(moment.at, last_at, every_s),
        )
        self.before = moment
        return new_states, self._with_causes(events, before, moment, self._edited(last))

    def _with_causes(
        self, events: Sequence[Event], before: KnownBook | None, moment: Moment, edited: str
    ) -> list[Event]:
        """Say which figures changed an answer: those of a borrower whose earlier figures, at today's prices, would have
        answered otherwise. A wait that was served has no such cause. An edit of the files is said as what it is: what
        stood there before is gone, so nothing more can be known about it.
        """
        changes = book_changes(before, moment.book) if before else {}
        touched = {
            event.id for event in events if not _by_time(event) and routing.borrower_of(event.subject) in changes
        }
        answered_otherwise: set[alerts.Key] = set()
        if before is not None and touched:
            old = rules.match(
                self.world.compiled, self._numbers(before, moment.at, asked_scenarios(self.world), costly=False)
            )
            for compiled, was, now in zip(self.world.compiled, old, moment.matches, strict=True):
                if not any(metrics.METRICS[name].costly for name in compiled.expression.names):
                    differs = enumerate((was.truth != now.truth) | (was.cleared != now.cleared))
                    answered_otherwise |= {(was.rule.id, was.subjects[i]) for i, changed in differs if changed}
        told = []
        for event in events:
            reason = "" if _by_time(event) else edited
            if event.id in touched and _key(event) in answered_otherwise:
                reason = changes[routing.borrower_of(event.subject)]
            told.append(replace(event, because=reason) if reason else event)
        return told

    def _edited(self, last: TickRow | None) -> str:
        if last is None or not self.inputs_changed(last):
            return ""
        old = (last.book_hash, last.assumptions_hash, last.rules_hash, last.code_version)
        named = ("the book was edited", "the assumptions were edited", "the rules were edited", "Canary was updated")
        return ", ".join(text for text, a, b in zip(named, old, self.world.inputs, strict=True) if a != b)

    # ------------------------------------------------------------ words
    def desk(self, moment: Moment) -> Desk:
        """What all messages of this evaluation share."""
        return Desk(
            numbers=moment.numbers,
            book=moment.book,
            rules={rule.id: rule for rule in self.world.rules},
            matches={match.rule.id: match for match in moment.matches},
            now=moment.at,
            recorded_on=self.recorded,
            summaries=self._summaries(moment),
            previous=self._previous(moment.at),
            first_at=self.store.first_tick_at(),
        )

    def write(
        self, group: routing.Group, desk: Desk, states: dict[alerts.Key, AlertState], events: Sequence[Event]
    ) -> Message:
        """The message of one group."""
        told = list(group.events) or [self._event_of(state, events) for state in group.alerts]
        contexts = [brief(event, states.get(_key(event)), desk) for event in told]
        contexts = portfolio.exposed(contexts, self.world.portfolio, desk.numbers.quotes)
        if group.kind == "digest":
            said = [
                *suppressed_lines(self.store.overlays(desk.now), desk.now),
                *portfolio.muted_lines(group.route, desk.now),
            ]
            title, lines = messages.digest(contexts, desk.now, more=said, recorded_on=self.recorded)
        elif group.key == "first look":
            title, lines = messages.first_look(contexts, desk.now, recorded_on=self.recorded)
        elif group.kind == "notice":
            failed = [f"{event.rule}: {event.reason}" for event in told]
            what = "a rule cannot be evaluated; what stood stays as it was"
            title, lines = messages.notice("warning", what, failed, do="Run `canary check`.", recorded_on=self.recorded)
        else:
            contexts = moved.tell(contexts, self.known_at, desk.now)
            title, lines = messages.compose(group.kind, group.severity, contexts, desk.now)
        return Message(
            id=group.id,
            route=group.route.name,
            channel=group.route.channel,
            to=group.route.to,
            kind=group.kind,
            severity=group.severity,
            title=title,
            lines=lines,
            created_at=desk.now,
            event_ids=tuple(event.id for event in told),
            recorded=self.recorded is not None,
        )

    def known_at(self, at: datetime) -> causes.Moment:
        """Book and prices as they were known at a moment, for what moved a number since."""
        return causes.Moment(as_known(self.world.book, at), self.tape.quotes(at))

    def _summaries(self, moment: Moment) -> dict[alerts.Key, str]:
        """The rule's own sentence for every subject it is true or unknown for."""
        found = {}
        for compiled, match in zip(self.world.compiled, moment.matches, strict=True):
            for index in range(len(match.subjects)):
                if match.truth[index] != 0 and not match.error and compiled.rule.summary:
                    text = rules.render(compiled, compiled.rule.summary, moment.numbers, index)
                    found[compiled.rule.id, match.subjects[index]] = text
        return found

    def _event_of(self, state: AlertState, events: Sequence[Event]) -> Event:
        """The event that made an alert stand: of this run, else from the database."""
        own = [event for event in (*self.past_events, *events) if _key(event) == (state.rule, state.subject)]
        # a renamed rule or borrower keeps its short id, its old events keep the old name
        fired = [event for event in own if event.kind == "fired"] or self.store.events(short_id=state.short_id, limit=1)
        if fired:
            return fired[-1]
        raise CanaryError(f"{state.rule} of {state.subject} stands without an event")

    def _previous(self, at: datetime) -> Previous:
        """The last different value of a metric in the database, and the day that ended it."""

        def previous(metric: str, subject: str, value: float | None) -> tuple[float, date] | None:
            past = self.store.metric_history(metric, [subject])
            found = past.other(0, math.nan if value is None else value, at.timestamp()) if past else None
            return (found[0], day_of(datetime.fromtimestamp(found[1], tz=UTC))) if found else None

        return previous


def _by_time(event: Event) -> bool:
    """Whether only a wait was served: no answer changed."""
    return (event.kind, event.before) in (("fired", "pending"), ("resolved", "recovering"))


def mark_observations(book: Book) -> list[Observation]:
    """The book's marks as observations, so that they age and are doubted like any other price."""
    return [
        Observation(
            series=mark.series,
            value=mark.value,
            unit=mark.unit,
            observed_at=min(end_of_day(mark.as_of), mark.known_at),
            known_at=mark.known_at,
            source=mark.source,
            subject=mark.subject,
            known_basis="published",
            quality=mark.quality,
            note=mark.note,
        )
        for mark in book.marks
        if mark.known_at is not None
    ]
