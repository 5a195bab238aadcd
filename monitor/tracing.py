"""Where a number comes from, as a tree: the number, what it was made of, down to the answer of a source or a document.

A node is one number (or one document figure, one observation) with everything known about it. Inputs hang below it, as
deep as asked for. A price shows what each source said in the tick that decided it and in every later one, and whether
that was used, left out as an outlier, refused, or is waiting to be confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from monitor import market, rents, tokens
from monitor.booktext import BORROWER_FIELDS, FACILITY_FIELDS
from monitor.index import IndexPoint, Offer, offer_of, rental_index
from monitor.known import KnownBook, KnownBorrower, KnownFacility, as_number
from monitor.metrics import METRICS
from monitor.model import MARKET, CanaryError, Column, Fact, Numbers, Observation, Quote
from monitor.series import SeriesSpec, age_s, fault, max_age_s
from monitor.series import show as show_price
from monitor.units import format_age, format_value
from monitor.yamltext import suggest

#: what a derived price is made of
DERIVED = {"hashprice_usd_ph_day": ("difficulty", "block_reward_btc", "btc_usd")}
MAX_PARTS = 40
MAX_TICKS = 5

#: (moment of the answer) -> what sources answered then: (source, address, bytes)
Answers = Callable[[datetime], Sequence[tuple[str, str, int]]]


@dataclass(frozen=True)
class Node:
    """One number or one document figure: its name, what it says, everything about it in words, and its inputs.

    ``value`` is None where it is no number or not known; ``state`` says how it counts: used, unknown, refused ...
    """

    name: str
    text: str
    value: float | None = None
    unit: str = ""
    state: str = "used"
    about: tuple[tuple[str, str], ...] = ()
    inputs: tuple[Node, ...] = ()

    def json(self) -> dict[str, object]:
        """The node and everything below it, for machines."""
        return {
            "name": self.name,
            "text": self.text,
            "value": self.value if self.value is not None and abs(self.value) != float("inf") else None,
            "unit": self.unit,
            "state": self.state,
            **{key.replace(" ", "_"): text for key, text in self.about},
            "inputs": [node.json() for node in self.inputs],
        }


@dataclass(frozen=True)
class Evidence:
    """Everything a trace may look at, as known at one moment. ``seen``: every price; ``offers``: raw offers."""

    at: datetime
    book: KnownBook
    numbers: Numbers
    seen: Sequence[Observation]
    specs: Mapping[str, SeriesSpec]
    offers: Sequence[Observation] = ()
    answers: Answers = lambda moment: ()


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "not known"


# ---------------------------------------------------------------- what is asked
def trace(evidence: Evidence, what: str, depth: int = 2) -> Node:
    """The tree of a market number (``btc_usd``), a borrower's (``coreweave.debt_usd``) or a facility's
    (``coreweave/ddtl-2.dscr``). CanaryError with the nearest name for one that does not exist."""
    subject, _, name = what.rpartition(".")
    if not subject:
        return _market(evidence, name, depth)
    who, _, pool = subject.partition("/")
    ids = [b.id for b in evidence.book.borrowers]
    if who not in ids:
        raise CanaryError(f"no borrower {who[:60]!r}; {suggest(who[:60], ids)}")
    pools = [p.facility.id for b in evidence.book.borrowers if b.id == who for p in b.facilities]
    if pool and pool not in pools:
        raise CanaryError(f"{who} has no facility {pool[:60]!r}; {suggest(pool[:60], pools) or 'the book names none'}")
    level = "facility" if pool else "borrower"
    found = _input(evidence, subject, name, depth)
    if found is None:
        known = [*BORROWER_FIELDS, *(m for m, info in METRICS.items() if info.level == level)]
        known += [s for s, spec in evidence.specs.items() if spec.level == "borrower"]
        raise CanaryError(f"no number of a {level} is called {name[:60]!r}; {_near(name, known)}")
    return found


def _near(name: str, known: list[str]) -> str:
    text = suggest(name[:60], known)
    return text if text.startswith("did") else "see `canary list metrics`"


def _market(evidence: Evidence, name: str, depth: int) -> Node:
    if name in evidence.specs and evidence.specs[name].level == "market":
        return price(evidence, name, MARKET, depth)
    if name in METRICS and METRICS[name].level == "market":
        return number(evidence, name, MARKET, depth)
    known = [s for s, spec in evidence.specs.items() if spec.level == "market"]
    known += [m for m, info in METRICS.items() if info.level == "market"]
    hint = f"; write BORROWER.{name}" if name in METRICS or name in BORROWER_FIELDS else ""
    raise CanaryError(f"no market number is called {name[:60]!r}{hint or '; ' + _near(name, known)}")


def _input(evidence: Evidence, subject: str, name: str, depth: int) -> Node | None:
    """One thing a number may need, wherever it stands: metric, figure of the book, price; None for a mere word."""
    borrower, facility = _known(evidence.book, subject)
    info = METRICS.get(name)
    if info is not None and info.level in ("market", "facility" if facility else "borrower"):
        return number(evidence, name, MARKET if info.level == "market" else subject, depth)
    if facility is not None and name in facility.facts:
        return figure(evidence, facility.facts[name], ())
    if facility is not None and name in FACILITY_FIELDS:
        return Node(f"figure {name}", f"unknown: never reported, or not before {evidence.at.date()}", state="unknown")
    if borrower is not None and (name in borrower.facts or name in BORROWER_FIELDS):
        return _borrower_figure(evidence, borrower, name)
    if name in evidence.specs:
        level = evidence.specs[name].level
        return price(evidence, name, MARKET if level == "market" else subject.partition("/")[0], depth)
    if borrower is not None and name in ("debts", "principal_usd"):
        return _debts(evidence, borrower, facility)
    return None


def _known(book: KnownBook, subject: str) -> tuple[KnownBorrower | None, KnownFacility | None]:
    who, _, pool = subject.partition("/")
    borrower = next((b for b in book.borrowers if b.id == who), None)
    pools = borrower.facilities if borrower else ()
    return borrower, next((p for p in pools if p.facility.id == pool), None)


# ---------------------------------------------------------------- metrics
def number(evidence: Evidence, name: str, subject: str, depth: int) -> Node:
    """A metric: its value, range, age, meaning and assumptions, with what it needs below it."""
    column, info = evidence.numbers.columns[name], METRICS[name]
    i = evidence.numbers.subjects[info.level].index(subject)
    known = bool(column.known[i])
    value = float(column.values[i]) if known else None
    parts = [part for need in info.needs for part in need.split(" or ")]
    inputs = [_need(evidence, subject, name, part, depth - 1) for part in parts] if depth > 0 else []
    borrower, facility = _known(evidence.book, subject)
    if borrower is not None and facility is not None and depth > 0:
        inputs += _pool(evidence, borrower, facility)
    return Node(
        f"{subject}.{name}" if info.level != "market" else name,
        format_value(value, column.unit) if value is not None else f"unknown: {column.reasons.get(i, '')}",
        value,
        column.unit,
        "used" if known else "unknown",
        tuple(_about(column, i, info.doc)),
        tuple(node for node in inputs if node is not None),
    )


def _need(evidence: Evidence, subject: str, metric: str, part: str, depth: int) -> Node | None:
    """What a metric needs; a metric of the same name as its figure shows the figure, not itself again."""
    borrower, _ = _known(evidence.book, subject)
    if part == metric:
        if borrower is not None and (part in borrower.facts or part in BORROWER_FIELDS):
            return _borrower_figure(evidence, borrower, part)
        if part in evidence.specs:
            who = MARKET if evidence.specs[part].level == "market" else subject.partition("/")[0]
            return price(evidence, part, who, depth)
        return None  # a facility's own principal stands on its instruments, which follow
    if borrower is None:
        return _of_all(evidence, part, depth)
    return _input(evidence, subject, part, depth)


def _of_all(evidence: Evidence, part: str, depth: int) -> Node | None:
    """What a market number needs: a market price or number, or a number of every borrower, one line each."""
    info, spec = METRICS.get(part), evidence.specs.get(part)
    if spec is not None and spec.level == "market":
        return price(evidence, part, MARKET, depth)
    if info is not None and info.level == "market":
        return number(evidence, part, MARKET, depth)
    if info is not None and info.level == "borrower":
        rows = [number(evidence, part, who, depth - 1) for who in evidence.numbers.subjects["borrower"]]
    elif spec is not None:
        rows = [price(evidence, part, who, depth - 1) for (s, who) in sorted(evidence.numbers.quotes) if s == part]
    else:
        return None
    return Node(f"{part} of every borrower", f"{sum(row.state != 'unknown' for row in rows)} known", inputs=tuple(rows))


def _about(column: Column, i: int, doc: str) -> Iterable[tuple[str, str]]:
    yield "meaning", doc
    if column.low is not None and column.high is not None and column.known[i] and column.low[i] != column.high[i]:
        low, high = (format_value(float(end[i]), column.unit) for end in (column.low, column.high))
        yield "range", f"{low} to {high} over the assumptions"
    if column.age_s is not None and column.age_s[i] == column.age_s[i]:
        yield "oldest input", format_age(float(column.age_s[i]))
    if column.used.get(i):
        yield "assumes", "; ".join(column.used[i])
    if column.detail.get(i):
        yield "detail", column.detail[i]


# ---------------------------------------------------------------- figures of the book
def figure(evidence: Evidence, fact: Fact, earlier: Sequence[Fact]) -> Node:
    """A figure of a document with both of its dates, and what was known before it."""
    value = as_number(fact)
    text = _said(fact)
    about = [
        ("true on", fact.as_of.isoformat()),
        ("known", _time(fact.known_at)),
        ("age", format_age((evidence.at.date() - fact.as_of).days * 86400.0)),
        ("source", fact.source),
        ("quality", fact.quality),
        *([("note", fact.note)] if fact.note else []),
    ]
    before = tuple(
        Node(f"before: {old.as_of}", _said(old), as_number(old), "", "superseded", (("source", old.source),))
        for old in earlier[-3:]
    )
    return Node(f"figure {fact.field}", text, value, "", "used", tuple(about), before)


def _said(fact: Fact) -> str:
    """What a document says, in full."""
    value = as_number(fact)
    return f"{fact.value}" if value is None else f"{value:,.15g}"


def _borrower_figure(evidence: Evidence, borrower: KnownBorrower, name: str) -> Node:
    past = borrower.past.get(name, ())
    if not past:
        why = f"never reported, or not before {evidence.at.date()}"
        return Node(f"figure {name}", f"unknown: {why}", state="unknown")
    return figure(evidence, past[-1], past[:-1])


def _debts(evidence: Evidence, borrower: KnownBorrower, facility: KnownFacility | None) -> Node:
    """The instruments of a borrower or of one facility, each with its newest amount."""
    ids = facility.facility.debts if facility else tuple(d.debt.id for d in borrower.debts)
    rows = [debt for debt in borrower.debts if debt.debt.id in ids]
    nodes = [
        Node(
            debt.debt.id,
            f"{debt.debt.name} ({debt.debt.kind})",
            inputs=tuple(figure(evidence, fact, ()) for name, fact in sorted(debt.facts.items())),
        )
        for debt in rows[:MAX_PARTS]
    ]
    return Node("instruments", f"{len(rows)} known", inputs=tuple(nodes))


def _pool(evidence: Evidence, borrower: KnownBorrower, facility: KnownFacility) -> list[Node]:
    """What every number of a facility stands on: its instruments, contracts and machines, as far as the book says."""
    pool = facility.facility
    facts = [(f"contract {c.id} with {c.counterparty}", c.monthly_revenue_usd, "usd", c.fact) for c in pool.contracts]
    facts += [(f"{u.model} bought {u.bought:%Y-%m}", u.units, "count", u.fact) for u in pool.units]
    facts += [(f"machines bought {v.bought:%Y-%m}", v.cost_usd, "usd", v.fact) for v in pool.cost_vintages]
    nodes = [
        Node(name, "unknown" if value is None else format_value(value, unit), value, unit,
             about=(("known", _time(fact.known_at)), ("source", fact.source), ("quality", fact.quality)))
        for name, value, unit, fact in facts[:MAX_PARTS]
    ]  # fmt: skip
    return [_debts(evidence, borrower, facility), *nodes]


# ---------------------------------------------------------------- prices
def price(evidence: Evidence, series: str, subject: str, depth: int) -> Node:
    """A price in force: its venues, what was left out or waits, and where its raw answers are."""
    spec, quote = evidence.specs[series], evidence.numbers.quotes.get((series, subject))
    name = series if subject == MARKET else f"{subject}.{series}"
    rows = [row for row in evidence.seen if (row.series, row.subject) == (series, subject)]
    if quote is None:
        return Node(name, "unknown: never observed", unit=spec.unit, state="unknown")
    inputs = [] if depth < 0 else _observations(evidence, rows, spec)
    if series in DERIVED and depth > 0 and quote.quality == "derived":
        inputs = [price(evidence, part, MARKET, depth - 1) for part in DERIVED[series]]
    if panel := _panel(evidence, series):
        inputs.append(panel)
    text = format_value(quote.value, spec.unit) if quote.known else f"unknown: {quote.reason}"
    state = "unknown" if not quote.known else "in doubt" if quote.in_doubt else "used"
    value = quote.value if quote.known else None
    return Node(name, text, value, spec.unit, state, tuple(_price_about(quote, spec, evidence.at)), tuple(inputs))


def _price_about(quote: Quote, spec: SeriesSpec, at: datetime) -> Iterable[tuple[str, str]]:
    if quote.observed_at is not None:
        limit = max_age_s(spec, quote.known_basis)
        age = age_s(spec, quote.observed_at, at)
        yield "observed", _time(quote.observed_at)
        yield "known", f"{_time(quote.known_at)} ({quote.known_basis})"
        weekends = ", weekends not counted" if spec.business_days else ""
        yield "age", f"{format_age(age)}, at most {format_age(limit)} count{weekends}"
    if quote.source:
        yield "source", quote.source
    yield "quality", quote.quality + (", restated later" if quote.restated else "")
    if quote.in_doubt:
        yield "in doubt", quote.in_doubt
    yield "believed", f"{show_price(spec.low, spec.unit)} to {show_price(spec.high, spec.unit)}"


def _observations(evidence: Evidence, rows: list[Observation], spec: SeriesSpec) -> list[Node]:
    """The tick that gave the value in force and the later ones, newest first, with the fate of every observation."""
    rows = sorted((row for row in rows if row.known_at <= evidence.at), key=lambda o: (o.known_at, o.source))
    before = market.Standing(evidence.at)
    ticks: list[list[Node]] = []
    for _, group in groupby(rows, key=lambda o: o.known_at):
        tick = list(group)
        after = market.step(before, tick, spec)
        if after.accepted is not before.accepted:
            ticks = []
        ticks.append([_fate(evidence, seen, before, after, spec) for seen in tick])
        before = after
    return [node for tick in reversed(ticks[-MAX_TICKS:]) for node in tick][:MAX_PARTS]


def _fate(
    evidence: Evidence, seen: Observation, before: market.Standing, after: market.Standing, spec: SeriesSpec
) -> Node:
    """One observation and what became of it."""
    kept = after.accepted.source.partition("; left out")[0].partition("; refused")[0] if after.accepted else ""
    taken = after.accepted is not None and after.accepted is not before.accepted
    if why := fault(seen, spec):
        state, reason = "refused", why
    elif after.suspect == seen:
        state, reason = "waiting", after.doubt
    elif taken and seen.source in kept:
        state, reason = "used", ""
    elif taken:
        state, reason = "left out", "too far from the other sources, or older than the value in force"
    else:
        state, reason = "not used", after.doubt or "an older moment than the value in force"
    about = [("observed", _time(seen.observed_at)), ("known", f"{_time(seen.known_at)} ({seen.known_basis})")]
    about += [("quality", seen.quality)]
    about += [("note", seen.note)] if seen.note else []
    about += [("because", reason)] if reason else []
    if seen.known_basis == "live":
        raw = [f"{feed}: {address} ({size:,} bytes)" for feed, address, size in evidence.answers(seen.known_at)]
        about += [("raw answers of that tick", "; ".join(raw) if raw else "no longer kept")]
    unit = seen.unit.strip().lower()
    return Node(seen.source, format_value(seen.value, unit), seen.value, unit, state, tuple(about))


# ---------------------------------------------------------------- indices
def _panel(evidence: Evidence, series: str) -> Node | None:
    """The panel an own index stands on: how wide, how sure, and every offer of its last day; None for other series."""
    offers, model = _offers(evidence, series)
    if not offers or model is None:
        return None
    points = rental_index(offers, model, offers[0].market, evidence.at)
    if not points:
        return None
    last = points[-1]
    day = [offer for offer in offers if offer.observed_at.date() == last.day and offer.known_at <= evidence.at]
    nodes = [
        Node(o.series, f"{o.price_usd_per_gpu_hour:.4g}", o.price_usd_per_gpu_hour, "", o.kind,
             (("observed", _time(o.observed_at)), ("known", _time(o.known_at)), ("kind of price", o.kind)))
        for o in sorted(day, key=lambda o: o.series)[:MAX_PARTS]
    ]  # fmt: skip
    return Node(
        f"panel of {last.day}", _panel_text(last), about=(("withheld", last.withheld or "no"),), inputs=tuple(nodes)
    )


def _panel_text(point: IndexPoint) -> str:
    thin = ", thin" if point.thin else ""
    return (
        f"{point.providers} providers, {point.matched} of them seen before, {point.moved} moved, {point.series} series"
        f"{thin}; standard error {point.standard_error:.1%}, dispersion {point.dispersion:.0%}, revision"
        f" {point.revision:.2%}, chained Jevons {point.jevons_usd_per_gpu_hour:.3f}"
    )


def _offers(evidence: Evidence, series: str) -> tuple[list[Offer], str | None]:
    """The raw offers behind an index series, and the model they are compared as."""
    for side, name in tokens.TOKEN_INDEX.items():
        if series == name:
            return tokens.token_offers(evidence.offers, side), side.upper()
    for model in rents.MODELS:
        for kind in rents.MARKETS:
            if series == f"rent_{model}_{kind}_usd":
                read = (offer_of(seen) for seen in evidence.offers)
                mine = [o for o in read if o is not None and (o.model.lower(), o.market) == (model, kind)]
                return mine, model.upper()
    return [], None
