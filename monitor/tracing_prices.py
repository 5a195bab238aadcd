"""The nouns of a trace, and its leaves: a price in force with what each source said, an own index with its panel.

A price shows what each source said in the tick that decided it and in every later one, and whether that was used, left
out as an outlier, refused, or is waiting to be confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from monitor import market, rents, tokens
from monitor.index import IndexPoint, Offer, offer_of, rental_index
from monitor.known import KnownBook
from monitor.model import MARKET, Numbers, Observation, Quote
from monitor.quarantine import Quarantine
from monitor.series import SeriesSpec, age_s, fault, max_age_s
from monitor.units import format_age, format_value

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
    """Everything a trace may look at, as known at one moment.

    ``seen``: every price; ``offers``: the raw offers that count; ``quarantined``: those that do not, and why.
    """

    at: datetime
    book: KnownBook
    numbers: Numbers
    seen: Sequence[Observation]
    specs: Mapping[str, SeriesSpec]
    offers: Sequence[Observation] = ()
    answers: Answers = lambda moment: ()
    quarantined: Sequence[Quarantine] = ()


def time_text(moment: datetime | None) -> str:
    """A moment in words, also one that is not known."""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "not known"


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
        yield "observed", time_text(quote.observed_at)
        yield "known", time_text(quote.known_at) + (f" ({quote.known_basis})" if quote.known else "")
    if quote.observed_at is not None and quote.known:  # the reason of an unknown one says its age and limit
        age, limit = age_s(spec, quote.observed_at, at), max_age_s(spec, quote.known_basis)
        weekends = ", weekends not counted" if spec.business_days else ""
        yield "age", f"{format_age(age)}, at most {format_age(limit)} count{weekends}"
    if quote.source:
        yield "source", quote.source
    if quote.known:
        yield "quality", quote.quality + (", restated later" if quote.restated else "")
    if quote.in_doubt:
        yield "in doubt", quote.in_doubt
    yield "believed", f"{spec.low:,.10g} to {spec.high:,.10g} {spec.unit}"


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
    about = [("observed", time_text(seen.observed_at)), ("known", f"{time_text(seen.known_at)} ({seen.known_basis})")]
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
    last, unit = points[-1], evidence.specs[series].unit
    day = [offer for offer in offers if offer.observed_at.date() == last.day and offer.known_at <= evidence.at]
    nodes = [
        Node(o.series, format_value(o.price_usd_per_gpu_hour, unit), o.price_usd_per_gpu_hour, unit, o.kind,
             (("observed", time_text(o.observed_at)), ("known", time_text(o.known_at)), ("kind of price", o.kind)))
        for o in sorted(day, key=lambda o: o.series)[:MAX_PARTS]
    ]  # fmt: skip
    about = [("withheld", last.withheld or "no")]
    mark = f"/list/{model}/" if series in tokens.TOKEN_INDEX.values() else f"/{model}/{offers[0].market}/"
    about += [
        ("in quarantine", one.reason)
        for one in evidence.quarantined
        if any(mark.lower() in subject for subject in one.subjects)
    ]
    return Node(f"panel of {last.day}", _panel_text(last), about=tuple(about), inputs=tuple(nodes))


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
