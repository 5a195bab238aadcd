"""From an evaluation to the finished texts of a page. Everything is read here, once, from one moment.

The numbers are worked out again at the moment of the last evaluation, from what was kept then; equal inputs are
answered from what was already worked out, so a daemon that just evaluated pays little for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from monitor import feeds, market, rents, tick
from monitor.briefing import day_of
from monitor.explaining import explain_alert
from monitor.known import KnownBook, KnownBorrower, as_known
from monitor.metrics import METRICS
from monitor.model import AlertState, CanaryError, Event, Numbers, Observation, Quote, Severity
from monitor.overview import Overview as Shown
from monitor.overview import Reading, Snapshot, alert_words, loudest, overview, reading, trigger
from monitor.overview import Row as OverviewRow
from monitor.report import draw, figures
from monitor.report.causes import causes
from monitor.report.heat import Heat, heats
from monitor.report.parts import Alert, Bars, Causes, Curve, Fig, Head, History, Marked, Report, Row, Section
from monitor.routes import RANK
from monitor.rules import CompiledRule, render
from monitor.series import SERIES
from monitor.states import active
from monitor.store import Store
from monitor.stress.answers import Chances, ask, chances
from monitor.stress.scorecard import scorecard
from monitor.stress.state import State, build_state
from monitor.stress_shown import LINES, beyond
from monitor.tables import UNKNOWN, Cell, Table, show
from monitor.tables import Head as Column
from monitor.units import format_age, format_usd
from monitor.world import World

#: a unit in both ends of a range
_TWICE = re.compile(r"\(([^()]*?)%-(?=[^()]*%\))")
#: how far back the history of a borrower reaches
PAST = timedelta(days=90)
MAX_EVENTS = 5000
EVENTS_SHOWN = 12

#: the numbers of the main table, with what they mean; ``coverage`` is followed by one column a scenario
MAIN = (
    "canary_rank", "first_breach_months", "canary_damage_usd", "coverage",
)  # fmt: skip
REST = (
    "distance_sigma", "pd_12m", "liquidity_locked_12m", "ltv_economic", "dscr", "ltv_headroom", "dscr_headroom",
    "debt_usd", "balance_sheet_age",
)  # fmt: skip
LABELS = {
    "canary_rank": "canary rank", "first_breach_months": "earliness: months to first breach",
    "canary_damage_usd": "damage, USD", "coverage": "coverage now", "distance_sigma": "distance to breach, σ",
    "pd_12m": "PD 12 months", "liquidity_locked_12m": "liquidity 12 m, locked", "ltv_economic": "worst LTV, economic",
    "dscr": "worst DSCR", "ltv_headroom": "LTV headroom", "dscr_headroom": "DSCR headroom", "debt_usd": "debt, USD",
    "balance_sheet_age": "balance sheet age", "liquidity_18m": "liquidity 18 m", "runway_months": "runway, months",
    "cascade_debt_usd": "debt that falls with it, USD", "margin_call_btc_usd": "margin call at bitcoin, USD",
}  # fmt: skip
DISTANCE = "distance_sigma"
CURVES = ("coverage", "liquidity_locked_12m")
SUMMARY = (
    "coverage", "liquidity_locked_12m", "liquidity_18m", "interest_cover", "runway_months", "distance_sigma", "pd_12m",
    "first_breach_months", "canary_rank", "cascade_debt_usd", "ltv_economic", "dscr", "margin_call_btc_usd",
)  # fmt: skip


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


def gather(world: World, store: Store) -> Report:
    """Everything the page says about the last evaluation in a database."""
    it = moment_of(world, store)
    shown = _overview(it)
    alerts = _alerts(it)
    book, assumptions, rules_hash, version = world.inputs
    inputs = (
        f"Canary {version}, seed {world.config.engine.seed}, book {book[:8]}, "
        f"assumptions {assumptions[:8]}, rules {rules_hash[:8]}"
    )
    return Report(
        at=it.at,
        recorded=it.recorded,
        btc=f"{shown.btc_usd:,.0f} USD" if shown.btc_usd else UNKNOWN,
        inputs=inputs,
        heads=_heads(world),
        rows=tuple(_row(it, row, shown) for row in shown.rows),
        unknown=_unknown(it, shown),
        stubs=shown.stubs,
        alerts=alerts,
        sections=_sections(it, shown, alerts),
        feeds=_feeds(it),
        prices=_prices(it),
        index=_index(it),
        assumptions=_assumptions(it),
    )


def _overview(it: Moment) -> Shown:
    return overview(
        Snapshot(
            numbers=it.numbers,
            states=tuple(it.alerts.values()),
            severities={rule.id: rule.severity for rule in it.world.rules},
            borrowers={borrower.id: borrower for borrower in it.world.book.borrowers},
            reports=it.store.feed_reports(),
            recorded=it.recorded,
        )
    )


# ---------------------------------------------------------------- the main table
def _heads(world: World) -> tuple[Head, ...]:
    under = [Head(f"under {one.name.replace('_', ' ')}", f"coverage under: {one.note}") for one in world.scenarios]
    return (*(_head(name) for name in MAIN), *under, Head("nearest trigger", TRIGGER), *(_head(name) for name in REST))


TRIGGER = "the bitcoin price of a margin call and how far away it is, else what is left to a covenant"


def _head(name: str) -> Head:
    return Head(LABELS[name], METRICS[name].doc)


def _row(it: Moment, row: OverviewRow, shown: Shown) -> Row:
    b = it.numbers.subjects["borrower"].index(row.borrower)
    first = [_fig(reading(it.numbers, name, b), name) for name in MAIN]
    under = [_fig(reading(_under(it.numbers, one.name), "coverage", b), "coverage") for one in it.world.scenarios]
    near = trigger(row, shown.btc_usd)
    rest = [_fig(reading(it.numbers, name, b), name) for name in REST]
    figures = (*first, *under, Fig(near, _nearness(row, shown.btc_usd)), *rest)
    return Row(row.borrower, row.name, row.kind.replace("_", " "), figures, alert_words(row.alerts), row.severity)


def _under(numbers: Numbers, scenario: str) -> Numbers:
    return replace(numbers, columns={**numbers.columns, **numbers.scenarios.get(scenario, {})})


def _fig(found: Reading, name: str) -> Fig:
    why = "; ".join(part for part in (found.where and f"facility {found.where}", found.reason) if part)
    bad = name in LINES and beyond(found.value, *LINES[name])
    return Fig(_short(found.text(ends=True)), _sort(found), why, "critical" if bad else "")


def _short(text: str) -> str:
    """A number and its range with the unit once; sigma stands in the label.

    >>> _short("0.58 sigma (0.00 sigma-2.35 sigma)"), _short("1.3% (0.2%-100.0%)"), _short("1.21x (0.85-2.05x)")
    ('0.58 (0.00-2.35)', '1.3% (0.2-100.0%)', '1.21x (0.85-2.05x)')
    """
    return _TWICE.sub(r"(\1-", text.replace(" sigma", ""))


def _sort(found: Reading) -> float | None:
    if found.value is None or math.isnan(found.value):
        return None
    return math.copysign(1e300, found.value) if math.isinf(found.value) else found.value


def _nearness(row: OverviewRow, btc_usd: float | None) -> float | None:
    """What the nearest trigger is sorted by: how far bitcoin may fall, else what is left to a covenant."""
    call = row.readings["margin_call_btc_usd"]
    if call.value is not None and btc_usd:
        return 1 - call.value / btc_usd
    left = [row.readings[name].value for name in ("ltv_headroom", "dscr_headroom")]
    return min((value for value in left if value is not None), default=None)


def _unknown(it: Moment, shown: Shown) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(borrower, each reason with the numbers of the main table that it makes unknown)."""
    found = []
    for row in shown.rows:
        b = it.numbers.subjects["borrower"].index(row.borrower)
        readings = {name: reading(it.numbers, name, b) for name in (*MAIN, *REST)}
        reasons = tuple(f"{why}: {names}" for names, why in figures.grouped(readings, LABELS))
        if reasons:
            found.append((row.name, reasons))
    return tuple(found)


# ---------------------------------------------------------------- alerts
def _alerts(it: Moment) -> tuple[Alert, ...]:
    """What stands, the loudest first; information such as a sign of life is left out."""
    compiled, severities = it.compiled, {rule.id: rule.severity for rule in it.world.rules}
    clock = it.at
    said = {overlay.short_id: overlay for overlay in it.store.overlays(clock) if overlay.short_id}
    found = []
    for (rule, _), state in it.alerts.items():
        severity: Severity = severities.get(rule, "warning")
        if not active(state) or severity == "info" or rule not in compiled:
            continue
        over = said.get(state.short_id)
        words = f"{'acknowledged' if over.kind == 'ack' else 'silenced'} by {over.by or 'somebody'}" if over else ""
        found.append(_alert(it, compiled[rule], state, severity, words))
    return tuple(sorted(found, key=lambda one: (-RANK[one.severity], one.rule, one.subject)))


def _alert(it: Moment, compiled: CompiledRule, state: AlertState, severity: Severity, said: str) -> Alert:
    subjects = it.numbers.subjects.get(compiled.rule.each, ())
    since = f"{state.fired_at:%Y-%m-%d %H:%M} UTC" if state.fired_at else ""
    if state.subject not in subjects:
        return Alert(state.short_id, state.rule, state.subject, severity, since, "no longer in the book", said, ())
    explained = explain_alert(compiled, it.numbers, state.subject, state)
    says = render(compiled, compiled.rule.summary, it.numbers, subjects.index(state.subject))
    why = tuple(row for row in explained.rows if row[0] != "messages")
    return Alert(state.short_id, state.rule, state.subject, severity, since, says, said, why)


# ---------------------------------------------------------------- one borrower
@dataclass(frozen=True)
class Solved:
    """What is worked out for all borrowers together: grids and cards by id, causes and chances in the state's order."""

    grids: Mapping[str, Heat]
    spread: Chances
    causes: tuple[Causes, ...]
    cards: Mapping[str, tuple[tuple[str, str], ...]]


def _sections(it: Moment, shown: Shown, alerts: Sequence[Alert]) -> tuple[Section, ...]:
    rows = {row.borrower: row for row in shown.rows}
    solved = Solved(
        grids=heats(it.state),
        spread=chances(ask(it.state), n_paths=it.state.draws.n_paths),
        causes=causes(it.state, it.world.scenarios),
        cards=figures.cards(scorecard(it.state)),
    )
    known = {one.id: one for one in it.known.borrowers}
    order = [*rows, *sorted(who for who in known if who not in rows)]
    return tuple(_section(it, known[who], rows.get(who), alerts, solved) for who in order)


def _section(
    it: Moment,
    known: KnownBorrower,
    row: OverviewRow | None,
    alerts: Sequence[Alert],
    solved: Solved,
) -> Section:
    who = known.borrower
    b = it.numbers.subjects["borrower"].index(who.id)
    own = tuple(one for one in alerts if one.subject.partition("/")[0] == who.id)
    readings = {name: reading(it.numbers, name, b) for name in SUMMARY}
    figs = ((name, _fig(one, name)) for name, one in readings.items() if one.value is not None)
    summary = tuple((_plain(name), _directed(fig, it.numbers, b) if name == DISTANCE else fig) for name, fig in figs)
    return Section(
        id=who.id,
        name=who.name,
        kind=who.kind.replace("_", " "),
        status=who.status.replace("_", " "),
        summary=summary,
        unknown=figures.grouped(readings, {name: _plain(name) for name in SUMMARY}),
        tone=row.severity if row else loudest(()),
        alerts=own,
        stack=_stack(known),
        coins=figures.treasury(it.numbers, known, b),
        history=_history(it, who.id, b),
        grid=draw.grid(solved.grids[who.id]),
        breach=_breach(it, b, solved.spread),
        causes=solved.causes[b],
        pools=figures.pools(it.numbers, b),
        debts=figures.debts(known),
        cards=solved.cards.get(who.id, ()),
        notes=figures.notes(known),
        dated=figures.dated(known),
    )


def _directed(fig: Fig, numbers: Numbers, b: int) -> Fig:
    """The distance to a breach with the direction it lies in."""
    return replace(fig, why="; ".join(filter(None, (fig.why, numbers.columns[DISTANCE].detail.get(b, "")))))


def _plain(name: str) -> str:
    return LABELS.get(name, name.replace("_", " "))


def _stack(known: KnownBorrower) -> Bars:
    """Principal by the year it falls due, by kind of debt; what has no date stands at the end."""
    years: dict[str, dict[str, float]] = {}
    for one in known.debts:
        owed = one.number("principal_usd")
        if owed:
            year = str(one.debt.maturity.year) if one.debt.maturity else "no date"
            years.setdefault(year, {})
            kind = one.debt.kind.replace("_", " ")
            years[year][kind] = years[year].get(kind, 0.0) + owed
    note = "principal by the year of final maturity, as written in the book; instalments are not spread"
    if years:
        order = sorted(years)
        return draw.stacked(order, [years[year] for year in order], format_usd, note)
    buckets = {one.bucket.replace("_", " "): {"as filed": one.principal_usd} for one in known.maturities}
    if buckets:
        note = "principal by the bucket it was filed in"
        return draw.stacked(list(buckets), list(buckets.values()), format_usd, note)
    return Bars(reason="no instrument with an amount is in the book", note=note)


def _history(it: Moment, who: str, b: int) -> History:
    """Coverage and liquidity of ninety days, as they were evaluated, with what fired and ended."""
    start, end = it.at - PAST, it.at
    x = draw.scale(start.timestamp(), end.timestamp(), 0.0, draw.HISTORY[0])
    found = []
    for name in CURVES:
        past = it.store.metric_history(name, [who], since=start)
        times, values = past.window(0, start.timestamp(), end.timestamp()) if past is not None else ((), ())
        found.append((name, [float(t) for t in times], [float(v) for v in values]))
    known = [v for _, _, values in found for v in values if math.isfinite(v)]
    if not known:
        return History(reason="nothing was evaluated in these ninety days, or all of it is unknown")
    highest = min(draw.HIGHEST, max(1.5, max(known) * 1.1))
    y = draw.scale(0.0, highest, draw.HISTORY[1], 0.0)
    curves = tuple(
        Curve(LABELS[name], draw.strokes(times, values, end.timestamp(), x, y), _last(values))
        for name, times, values in found
    )
    mine = [e for e in it.events if e.subject.partition("/")[0] == who and e.kind in ("fired", "resolved")]
    marks = tuple(
        Marked(round(x(e.at.timestamp()), 1), f"{e.at:%Y-%m-%d}", f"{e.rule} {e.kind}", _tone(e)) for e in mine
    )
    return History(curves, marks[:EVENTS_SHOWN], draw.weeks(start, end, x), draw.levels(highest, y), y(1.0))


def _last(values: Sequence[float]) -> str:
    return show(values[-1], "x") if values else UNKNOWN


def _tone(event: Event) -> Severity:
    return event.severity if event.kind == "fired" else "info"


def _breach(it: Moment, b: int, spread: Chances) -> Bars:
    """When the first breach comes on simulated paths."""
    note = (
        f"share of {it.state.draws.n_paths:,} simulated paths whose first breach comes in that month; all assumptions "
        "in the middle, nothing new is built"
    )
    if not spread.pd.known[b]:
        return Bars(reason="; ".join(spread.pd.reasons.get(b, ("no reason was kept",))[:3]), note=note)
    return draw.months(spread.by_month[:, b], note)


# ---------------------------------------------------------------- where the numbers come from
def _feeds(it: Moment) -> Table:
    heads = (Column("source"), Column("answer"), Column("newest value"), Column("age", right=True), Column("reason"))
    rows = tuple(
        (
            Cell(report.feed),
            Cell("answered" if report.ok else "failed", "good" if report.ok else "critical"),
            Cell(f"{report.newest:%Y-%m-%d %H:%M} UTC" if report.newest else UNKNOWN),
            Cell(format_age((it.at - report.newest).total_seconds()) if report.newest else UNKNOWN),
            Cell(report.reason),
        )
        for report in it.store.feed_reports()
    )
    off = tuple(Cell(f"{one.name}: {one.reason}", "dim") for one in it.world.feeds_off)
    doubted = tuple(
        Cell(f"in quarantine: {quote.series} of {quote.subject}: {quote.in_doubt}", "warning")
        for quote in it.numbers.quotes.values()
        if quote.in_doubt
    )
    nobody = () if rows else (Cell("no source was asked: recorded prices", "dim"),)
    return Table("", heads if rows else (), rows, (*nobody, *doubted, *off))


def _prices(it: Moment) -> Table:
    heads = (Column("series"), Column("of"), Column("value", right=True), Column("unit"), Column("observed"),
             Column("age", right=True), Column("source"), Column("remark"))  # fmt: skip
    rows = tuple(
        _price(it, it.numbers.quotes[key])
        for key in sorted(it.numbers.quotes)
        if it.numbers.quotes[key].known or key[0] in SERIES
    )
    return Table("", heads, rows)


def _price(it: Moment, quote: Quote) -> tuple[Cell, ...]:
    seen = quote.observed_at
    remark = quote.reason or quote.in_doubt or ("restated" if quote.restated else quote.quality)
    return (
        Cell(quote.series),
        Cell(quote.subject),
        Cell(f"{quote.value:,.6g}" if quote.known else UNKNOWN, "" if quote.known else "warning"),
        Cell(quote.unit),
        Cell(f"{seen:%Y-%m-%d %H:%M} UTC" if seen else UNKNOWN),
        Cell(format_age((it.at - seen).total_seconds()) if seen else UNKNOWN),
        Cell(quote.source),
        Cell(remark, "" if quote.known else "dim"),
    )


def _index(it: Moment) -> Table:
    """The newest value of the rental index of every model and market, with the panel it was made of."""
    newest: dict[str, Observation] = {}
    seen: Iterable[Observation] = it.store.observations(it.at, it.at - PAST, rents.INDEX_SERIES)
    for row in sorted(seen, key=lambda row: (row.observed_at, row.known_at)):
        newest[row.series] = row
    heads = (Column("index"), Column("USD per GPU hour", right=True), Column("day"), Column("panel"))
    rows = tuple(
        (Cell(row.series), Cell(f"{row.value:.3f}"), Cell(f"{row.observed_at:%Y-%m-%d %H:%M} UTC"), Cell(row.note))
        for row in newest.values()
    )
    none = Cell("no index yet: it needs offers of several providers over several days", "dim")
    return Table("", heads if rows else (), rows, () if rows else (none,))


def _assumptions(it: Moment) -> Table:
    """Every number nobody disclosed, its range and why, and whether anything on this page used it."""
    used = {text for column in it.numbers.columns.values() for texts in column.used.values() for text in texts}
    numbers = (Column(text, right=True) for text in ("low", "middle", "high"))
    words = (Column(text) for text in ("unit", "used now", "why", "source"))
    heads = (Column("assumption"), Column("for"), *numbers, *words)
    rows = tuple(
        (
            Cell(one.name),
            Cell(one.kind.replace("_", " ")),
            Cell(f"{one.low:,.6g}"),
            Cell(f"{one.middle:,.6g}"),
            Cell(f"{one.high:,.6g}"),
            Cell(one.unit),
            Cell("yes" if any(text.startswith(one.name) for text in used) else "no"),
            Cell(one.why),
            Cell(one.source),
        )
        for one in it.known.assumptions
    )
    return Table("", heads, rows)
