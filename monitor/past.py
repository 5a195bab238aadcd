"""The past 90 days of one borrower: its liquidity as it was known then, the price that matters to it, what happened.

Worked out anew for every few days from the book and the prices as known at each, so it does not depend on how long
Canary has been running here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from monitor import feeds, market
from monitor.asking import DATABASES
from monitor.briefing import day_of
from monitor.known import as_known
from monitor.model import MARKET, CanaryError, Event
from monitor.overview import Reading
from monitor.store import Store, TickRow
from monitor.stress.state import build_state
from monitor.stress_shown import LIQUIDITY
from monitor.stressing import readings
from monitor.tick import PRICES, mark_observations
from monitor.world import World

SPAN, STEP, DAY = timedelta(days=90), timedelta(days=5), timedelta(days=1)
#: kind of borrower -> the price that moves it: its series, and what it is called
MOVED_BY = {"miner": ("btc_usd", "bitcoin, USD"), "hpc_host": ("btc_usd", "bitcoin, USD")}
RENT = ("rent_h100_index_usd", "rent of an H100, USD an hour, recorded index")
#: events marked on a chart; more would cover it
MAX_EVENTS = 8


@dataclass(frozen=True)
class Past:
    """What a chart shows: a number at ``days``, ``price`` at the end of every day; None is unknown.

    The number is ``liquidity`` unless ``what`` says otherwise; ``line``: where a rule about it fires on each of these
    days. ``events``: when and what, in order of time.
    """

    name: str
    at: datetime
    recorded: date | None
    days: tuple[datetime, ...]
    liquidity: tuple[Reading, ...]
    price_label: str
    price: tuple[float | None, ...]
    events: tuple[tuple[datetime, str], ...]
    what: str = "liquidity over 12 months"
    unit: str = "x"
    line: tuple[float | None, ...] = ()
    line_label: str = "1.00x: means equal what falls due"
    note: str = ""


def past_of(world: World, borrower: str) -> Past:
    """The 90 days before the last evaluation; CanaryError before the first."""
    with looking_back(world) as back:
        days = tuple(back.at - i * STEP for i in range(SPAN // STEP, -1, -1))
        known = (build_state(as_known(world.book, day), back.tape.quotes(day)) for day in days)
        liquidity = tuple(readings(state)[borrower][LIQUIDITY] for state in known)
        return replace(around(world, back, borrower), days=days, liquidity=liquidity)


@dataclass(frozen=True)
class Back:
    """The last evaluation and every price before it; ``recorded``: its day where prices were recorded ones."""

    reader: Store
    at: datetime
    recorded: date | None
    tape: market.Tape


@contextmanager
def looking_back(world: World) -> Iterator[Back]:
    """What the past is worked out from; CanaryError before the first evaluation."""
    for name in DATABASES:
        path = world.config.paths.state / name
        if path.exists():
            with closing(Store.reader(path)) as reader:
                last = reader.last_tick()
                if last is not None:
                    yield _back(world, reader, last)
                    return
    raise CanaryError("nothing was evaluated yet, so there is no past to draw; the first evaluation takes some seconds")


def _back(world: World, reader: Store, last: TickRow) -> Back:
    at = last.eval_at
    # a price in force may be as old as its source allows: what was seen a while before still counts
    stored = () if last.recorded else reader.observations(at, at - 2 * SPAN, PRICES)
    rows = [*world.recorded, *mark_observations(world.book), *stored]
    tape = market.Tape(rows, feeds.series_specs(world.feeds))
    return Back(reader, at, day_of(at) if last.recorded else None, tape)


def around(world: World, back: Back, who: str) -> Past:
    """What a chart of a borrower (or the market) shows beside its number: the price that moves it, what happened."""
    borrower = next((b for b in world.book.borrowers if b.id == who), None)
    series, label = MOVED_BY.get(borrower.kind, RENT) if borrower else MOVED_BY["miner"]
    quotes = (back.tape.quotes(back.at - i * DAY).get((series, MARKET)) for i in range(SPAN // DAY, -1, -1))
    price = tuple(quote.value if quote is not None and quote.known else None for quote in quotes)
    happened = _happened(world, back.reader, who, back.at)
    return Past(borrower.name if borrower else "The market", back.at, back.recorded, (), (), label, price, happened)


def _happened(world: World, reader: Store, who: str, at: datetime) -> tuple[tuple[datetime, str], ...]:
    """Alerts that fired or ended, and credit events as they became known; the newest, in order of time."""
    alerts = [event for event in reader.events(since=at - SPAN, limit=10_000) if _tells(event, who)]
    found = [(event.at, f"{event.rule} {event.kind}{_where(event, who)}") for event in alerts]
    credit = (event for b in as_known(world.book, at).borrowers if b.id == who for event in b.events)
    for event in credit:
        if event.known_at is not None and at - SPAN <= event.known_at <= at:
            found.append((event.known_at, event.kind.replace("_", " ")))
    return tuple(sorted(found)[-MAX_EVENTS:])


def _tells(event: Event, who: str) -> bool:
    return event.subject.partition("/")[0] == who and event.kind in ("fired", "resolved") and event.severity != "info"


def _where(event: Event, who: str) -> str:
    place = event.subject.removeprefix(who).lstrip("/")
    return f" ({place})" if place else ""
