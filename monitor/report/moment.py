"""One evaluation as it is read back: everything of a page is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from monitor import feeds, market, tick
from monitor.briefing import day_of
from monitor.known import KnownBook, as_known
from monitor.model import AlertState, CanaryError, Event, Numbers
from monitor.rules import CompiledRule
from monitor.store import Store
from monitor.stress.state import State, build_state
from monitor.world import World

#: how far back the history of a borrower reaches
PAST = timedelta(days=90)
MAX_EVENTS = 5000


@dataclass(frozen=True)
class Moment:
    """One evaluation as it is read back: what was known, its numbers, what stands, what happened."""

    world: World
    store: Store
    at: datetime
    recorded: date | None
    numbers: Numbers
    known: KnownBook
    state: State
    alerts: Mapping[tuple[str, str], AlertState]
    events: tuple[Event, ...]

    @property
    def compiled(self) -> dict[str, CompiledRule]:
        """The rules by id."""
        return {one.rule.id: one for one in self.world.compiled}


def moment_of(world: World, store: Store) -> Moment:
    """The last evaluation in a database. CanaryError when there is none."""
    last = store.last_tick()
    if last is None:
        raise CanaryError("nothing was evaluated yet, so there is nothing to report; run `canary tick` first")
    at = last.eval_at
    seen = [*world.recorded, *tick.mark_observations(world.book), *store.observations(at)]
    recorded = day_of(at) if last.recorded else None
    run = tick.Run(world, store, market.Tape(seen, feeds.series_specs(world.feeds)), recorded)
    moment = run.moment(at)
    state = build_state(as_known(world.book, at), moment.numbers.quotes, tick.draws_of(world))
    events = store.events(since=at - PAST, limit=MAX_EVENTS)
    return Moment(world, store, at, recorded, moment.numbers, moment.book, state, store.load_states(), tuple(events))
