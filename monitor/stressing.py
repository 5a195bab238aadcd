"""What the stress commands work out at one moment: under a scenario, the nearest breach, and what a fall drags down.

Everything starts from a :class:`Case`: the book and the prices as known at a moment, nothing fetched. Plain data out;
:mod:`monitor.stress_views` makes tables, JSON and pictures of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import numpy as np

from monitor import feeds, market
from monitor.asking import DATABASES
from monitor.briefing import day_of
from monitor.known import as_known
from monitor.metrics import METRICS, View, column
from monitor.model import MARKET, CanaryError, Column, Numbers, Observation, Quote
from monitor.overview import Reading, reading
from monitor.store import Store
from monitor.stress.answers import CORNERS, RUNS, Question, ask
from monitor.stress.answers import _chance as chance_of  # one answer to "is it known", whatever the scenario
from monitor.stress.bridge import Bridge
from monitor.stress.building import built, with_capex_rule
from monitor.stress.canary import QUARTERS
from monitor.stress.cascade import Cascade, fall
from monitor.stress.causes import Moment
from monitor.stress.drivers import run
from monitor.stress.field import INF, Value
from monitor.stress.outlook import missing, under
from monitor.stress.paths import MICRO_BLOCK
from monitor.stress.scenario import FACTORS, Move, Scenario, apply
from monitor.stress.state import State, build_state
from monitor.tick import draws_of, mark_observations, newest_close
from monitor.units import parse_quantity
from monitor.world import World
from monitor.yamltext import suggest

#: what a scenario is judged by; a facility metric is shown at the borrower's worst facility
SHOWN = ("liquidity_locked_12m", "interest_cover", "coverage", "ltv_economic", "dscr")
TODAY = Scenario("today")
HORIZON_MONTHS = 12
MOST_PATHS = MICRO_BLOCK
STAR = "* insufficient data: the book itself says that figures of it are missing"


@dataclass(frozen=True)
class Case:
    """The book and the prices at one moment. ``recorded``: their day when the prices are not live ones."""

    state: State
    recorded: date | None
    scenarios: tuple[Scenario, ...]
    source: str
    #: book and prices as they were known at another moment
    known: Callable[[datetime], Moment] | None = field(default=None, repr=False, compare=False)

    def name(self, borrower: str) -> str:
        """A borrower's name."""
        return self.state.rows[self.state.borrowers.index(borrower)].borrower.name

    def stub(self, borrower: str) -> bool:
        """Whether the book says itself that too little is known of a borrower."""
        return self.state.rows[self.state.borrowers.index(borrower)].borrower.status == "insufficient_data"

    def marked(self, borrower: str) -> str:
        """A borrower's name, with a star where :meth:`stub` is true; :data:`STAR` says what the star means."""
        return self.name(borrower) + (" *" if self.stub(borrower) else "")

    @property
    def btc_usd(self) -> float | None:
        """Bitcoin in force, or None."""
        quote = self.state.quotes.get(("btc_usd", MARKET))
        return quote.value if quote is not None and quote.known else None


def case_of(world: World, at: datetime | None, now: datetime) -> Case:
    """The case at a moment of the recorded past; without one, that of the last live evaluation, else the newest
    recorded bitcoin close. Nothing is fetched: CanaryError when there is no price at all."""
    seen: Sequence[Observation] = ()
    recorded: date | None = None
    if at is None:
        at, seen = _last_live(world)
        if at is None:
            at = newest_close(world, now)
            recorded = day_of(at)
    else:
        recorded = day_of(at)
    rows = [*world.recorded, *mark_observations(world.book), *seen]
    tape = market.Tape(rows, feeds.series_specs(world.feeds))
    quotes = tape.quotes(at)
    state = build_state(as_known(world.book, at), quotes, draws_of(world))

    def known(when: datetime) -> Moment:
        return Moment(as_known(world.book, when), tape.quotes(when))

    return Case(state, recorded, world.scenarios, _source(quotes), known)


def _last_live(world: World) -> tuple[datetime | None, Sequence[Observation]]:
    path = world.config.paths.state / DATABASES[0]
    if path.exists():
        with closing(Store.reader(path)) as reader:
            last = reader.last_tick()
            if last is not None and not last.recorded:
                return last.eval_at, reader.observations(last.eval_at)
    return None, ()


def _source(quotes: Mapping[tuple[str, str], Quote]) -> str:
    quote = quotes.get(("btc_usd", MARKET))
    prices = f"bitcoin: {quote.source}" if quote is not None and quote.known else "no bitcoin price"
    return f"filings in the book; {prices}"


def only(state: State, borrower: str) -> State:
    """The same state with one borrower alone: its own numbers, worked out in a fraction of the time."""
    if state.book is None:
        return state
    row = state.rows[state.borrowers.index(borrower)]
    return build_state(replace(state.book, borrowers=(row,)), state.quotes, state.draws).under(state.factors)


# ---------------------------------------------------------------- which scenario
def scenario_named(case: Case, name: str) -> Scenario:
    """A scenario of the folder; CanaryError with the nearest name when there is none."""
    for scenario in case.scenarios:
        if scenario.name == name:
            return scenario
    raise CanaryError(
        f"no scenario {name[:60]!r}; {suggest(name[:60], [one.name for one in case.scenarios]) or 'there is none'}"
    )


def borrower_named(case: Case, name: str) -> str:
    """A borrower of the book by its id; CanaryError with the nearest one when there is none."""
    if name in case.state.borrowers:
        return name
    raise CanaryError(f"no borrower {name[:60]!r}; {suggest(name[:60], list(case.state.borrowers))}")


def written(btc: str | None, rent: str | None, spread: str | None) -> Scenario:
    """The scenario of shocks written on the command line. CanaryError naming every one that cannot be read.

    >>> [(m.factor, m.verb, m.amount) for m in written("-30%", None, "+300bp").moves]
    [('btc', 'by', -0.3), ('spread', 'add', 0.03)]
    >>> written("-30", "-100%", None)
    Traceback (most recent call last):
    ...
    monitor.model.CanaryError: --btc '-30': say the unit, for example -30%
    --rent '-100%': a price falls by less than 100%
    """
    moves, problems = list[Move](), list[str]()
    for factor, verb, text, example in (
        ("btc", "by", btc, "-30%"), ("rent", "by", rent, "-25%"), ("spread", "add", spread, "+300bp")
    ):  # fmt: skip
        if text is None:
            continue
        try:
            amount, dimension = parse_quantity(text)
            if dimension != "ratio" or text.strip().endswith("x"):
                raise ValueError(f"say the unit, for example {example}")
            _within(factor, amount)
            moves.append(Move(factor, "by" if verb == "by" else "add", amount))
        except ValueError as error:
            problems.append(f"--{factor} {text[:40]!r}: {error}")
    if problems:
        raise CanaryError("\n".join(problems))
    words = ", ".join(
        f"{m.factor} {m.amount * 1e4:+.0f}bp" if m.verb == "add" else f"{m.factor} {m.amount:+.0%}" for m in moves
    )
    return Scenario(words, tuple(moves), "as written on the command line, at once")


def _within(factor: str, amount: float) -> None:
    info = FACTORS[factor]
    if factor == "spread":
        if not info.low <= amount <= info.high:
            raise ValueError(f"a spread moves by {info.low * 1e4:.0f}bp to {info.high * 1e4:.0f}bp")
    elif amount <= -1:
        raise ValueError("a price falls by less than 100%")
    elif 1 + amount > info.high:
        raise ValueError(f"a price rises to at most {info.high:.0f} times its level")


# ---------------------------------------------------------------- under a scenario
def readings(state: State) -> dict[str, dict[str, Reading]]:
    """What is shown of every borrower in one state: borrower -> metric -> reading."""
    view = View(state)
    columns: dict[str, Column] = {name: column(METRICS[name], view) for name in (*SHOWN, "principal_usd")}
    numbers = Numbers(
        at=state.at,
        subjects={"market": (MARKET,), "borrower": state.borrowers, "facility": state.facilities},
        columns=columns,
        quotes=state.quotes,
        facility_borrower=state.facility_borrower,
    )
    return {name: {metric: reading(numbers, metric, b) for metric in SHOWN} for b, name in enumerate(state.borrowers)}


def oldest_s(state: State, borrowers: Sequence[str] = ()) -> float | None:
    """Age in seconds of the oldest figure behind the liquidity of some borrowers, all by default."""
    found = column(METRICS["liquidity_locked_12m"], View(state))
    chosen = [b for b, name in enumerate(state.borrowers) if not borrowers or name in borrowers]
    ages = [] if found.age_s is None else [float(found.age_s[b]) for b in chosen if np.isfinite(found.age_s[b])]
    return max(ages, default=None)


def first_breach(question: Question, scenario: Scenario) -> dict[str, Reading]:
    """Months until a borrower or one of its pools breaks a test when the scenario comes in over its months, everything
    else as it is; infinite where none breaks within the horizon. Refinancing stays as open as the scenario leaves it,
    and capex goes on as its rule says.
    """
    state, found = question.state, dict[str, Reading]()
    question = replace(question, rows=_ruled(question, scenario))
    for b, name in enumerate(state.borrowers):
        why = unjudged(question, b)
        if why:
            found[name] = Reading(None, "months", reason=why)
            continue
        mine = [i for i in question.firm if int(question.rows[0].owner[i]) == b]
        months = [min(_month(rows, i, state, scenario) for i in mine) for rows in question.rows]
        found[name] = Reading(months[0], "months", min(months), max(months))
    return found


def _ruled(question: Question, scenario: Scenario) -> tuple[Bridge, Bridge, Bridge]:
    middle, adverse, favourable = (with_capex_rule(rows, question.state, scenario) for rows in question.rows)
    return middle, adverse, favourable


def first_breach_building(question: Question, scenario: Scenario) -> dict[str, Reading]:
    """The same for obligors that go on building: committed capex is spent, loans are drawn for it, new contracts start,
    later by the scenario's delay. Pools are not asked: their machines are not there yet."""
    state, delay = question.state, apply(question.state, scenario).factors.delay_months
    made = [built(rows, state, corner, delay) for corner, rows in enumerate(_ruled(question, scenario))]
    found = dict[str, Reading]()
    for b, name in enumerate(state.borrowers):
        why = made[0][1].get(b) or unjudged(question, b)
        if why:
            found[name] = Reading(None, "months", reason=why)
            continue
        months = [_month(rows, rows.row(name), state, scenario) for rows, _ in made]
        found[name] = Reading(months[0], "months", min(months), max(months))
    return found


def _month(rows: Bridge, i: int, state: State, scenario: Scenario) -> float:
    cut = rows.cut([i])
    first = int(run(cut.inputs, under(cut, state, scenario)).first[0, 0])
    periods = cut.inputs.opex_usd.shape[1]
    return first + 1.0 if first < periods else INF


def unjudged(question: Question, b: int) -> str:
    """Why a borrower's chance or first breach cannot be told; empty where it can."""
    value = chance_of(question, b, np.zeros(len(RUNS)))
    return "; ".join(value.reasons[:4])


# ---------------------------------------------------------------- in reverse, and a fall
def quarterly(state: State) -> Question:
    """The question behind the distance to breach: a year in quarters, nothing refinanced."""
    return ask(state, n_periods=QUARTERS, dt_years=0.25).until(4)


def value_reading(value: Value, unit: str) -> Reading:
    """A value of the stress core as a reading."""
    if not value.known:
        return Reading(None, unit, reason="; ".join(value.reasons[:4]))
    return Reading(value.middle, unit, min(value.corners), max(value.corners))


def falls(state: State, borrower: str) -> dict[str, Cascade]:
    """What follows from a fall today at the three corners of the assumptions, and, under ``shared lenders``, in the
    middle when nobody who shares a lender with the fallen can refinance."""
    absent = missing(state.assumptions)
    if absent:
        raise CanaryError(f"a fall cannot be worked out: {absent[0]}; the starter set has one to copy: canary init DIR")
    found = {
        name: fall(state, borrower, corner=corner)
        for name, corner in zip(("middle", "adverse", "favourable"), CORNERS, strict=True)
    }
    return {**found, "shared lenders": fall(state, borrower, lenders=True)}


def stressed(state: State, scenario: Scenario) -> State:
    """The state under a scenario. CanaryError where it leaves nothing to reckon with."""
    moved = apply(state, scenario)
    if moved.factors.btc <= 0:
        raise CanaryError(f"{scenario.name}: bitcoin at zero cannot be reckoned with; write for example -99%")
    return moved
