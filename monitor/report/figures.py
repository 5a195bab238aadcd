"""What the book holds about one borrower as finished texts: pools, debts, coins, and every figure with its document.

Figures that share their dates and their document stand together behind one heading, which keeps a page of hundreds of
borrowers light and says each source once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date

import numpy as np

from monitor.known import KnownBorrower, KnownFacility
from monitor.model import Fact, Numbers
from monitor.overview import Reading, reading
from monitor.report.parts import Dated
from monitor.stress.scorecard import Card
from monitor.tables import UNKNOWN, Cell, Head, Table, show

#: ratios of a pool -> their names
RATIOS = {
    "principal_usd": "principal, USD", "ltv_contractual": "LTV, contractual", "ltv_economic": "LTV, economic",
    "ltv_liquidation": "LTV, liquidation", "ltv_headroom": "LTV headroom", "dscr": "DSCR",
    "dscr_headroom": "DSCR headroom", "margin_call_btc_usd": "margin call at bitcoin, USD",
    "liquidation_btc_usd": "liquidation at bitcoin, USD",
}  # fmt: skip
COINS = ("free", "lent", "pledged", "restricted", "total")
#: kinds of debt whose names are abbreviations, in words
KINDS = {"ddtl": "delayed-draw term loan", "abl": "asset-based loan", "btc_loan": "loan against bitcoin",
         "oem": "vendor financing", "revolver": "revolving credit", "high_yield": "high-yield bond"}  # fmt: skip
ANSWERS = {"yes": "passes", "no": "fails", "depends": "depends on the assumptions", "unknown": "unknown"}


# ---------------------------------------------------------------- pools and debts
def pools(numbers: Numbers, b: int) -> Table:
    """Every pool of a borrower with its ratios; a reason that several numbers share stands once."""
    rows, unknown = [], dict[str, dict[str, None]]()
    for f in np.flatnonzero(numbers.facility_borrower == b):
        cells = [Cell(numbers.subjects["facility"][f].partition("/")[2])]
        for name in RATIOS:
            column = numbers.columns[name]
            cells.append(Cell(show(float(column.values[f]), column.unit)))
            if not column.known[f]:
                unknown.setdefault(column.reasons.get(int(f), ""), {})[RATIOS[name]] = None
        rows.append(tuple(cells))
    heads = (Head("facility"), *(Head(label, right=True) for label in RATIOS.values()))
    notes = tuple(Cell(f"{', '.join(names)}: ? {why}", "dim") for why, names in unknown.items())
    title = "Facilities: what secures them, and how far the tests are"
    return Table(title, heads if rows else (), tuple(rows), notes)


def debts(known: KnownBorrower) -> tuple[tuple[str, str], ...]:
    """(name, kind, maturity, recourse and principal) of every instrument of a borrower."""
    return tuple(
        (
            one.debt.name,
            f"{kind_of(one.debt.kind)} · due {one.debt.maturity or UNKNOWN} · "
            f"recourse {one.debt.recourse or UNKNOWN} · {show(one.number('principal_usd'), 'usd')} USD",
        )
        for one in known.debts
    )


def kind_of(kind: str) -> str:
    """A kind of debt in words.

    >>> kind_of("ddtl"), kind_of("term_loan")
    ('delayed-draw term loan', 'term loan')
    """
    return KINDS.get(kind, kind.replace("_", " "))


def cards(found: Iterable[Card]) -> dict[str, tuple[tuple[str, str], ...]]:
    """(pool, its six marks as infrastructure in a sentence) by borrower."""
    made: dict[str, list[tuple[str, str]]] = {}
    for card in found:
        who, _, pool = card.pool.partition("/")
        marks: dict[str, list[str]] = {}
        for mark in card.marks:
            marks.setdefault(ANSWERS[mark.answer], []).append(mark.question)
        said = "; ".join(f"{answer}: {', '.join(questions)}" for answer, questions in marks.items())
        made.setdefault(who, []).append((f"{pool}, {card.passed} of {len(card.marks)}", said))
    return {who: tuple(lines) for who, lines in made.items()}


# ---------------------------------------------------------------- coins and cash
def treasury(numbers: Numbers, known: KnownBorrower, b: int) -> Table:
    """Coins in columns, what is free, lent, pledged and restricted, and cash below. An unknown column is a ``?``."""
    coins = [reading(numbers, f"coins_{name}", b) for name in COINS]
    quote = numbers.quotes.get(("btc_usd", "market"))
    price = quote.value if quote is not None and quote.known else None
    btc = tuple(Cell(_coins(one)) for one in coins)
    usd = tuple(Cell(show(None if one.value is None or price is None else one.value * price, "usd")) for one in coins)
    cash = [
        f"cash {name} {show(value, 'usd')} USD"
        for name in ("unrestricted", "restricted", "escrow", "total")
        if (value := known.number(f"cash_{name}_usd")) is not None
    ]
    unknown = [f"? {name}: {one.reason}" for name, one in zip(COINS, coins, strict=True) if one.value is None]
    notes = tuple(Cell(text, "dim") for text in ("; ".join(cash) or "? cash: not in the book", *unknown))
    if all(one.value == 0 for one in coins):
        return Table("Treasury", notes=(Cell("no coins", "dim"), *notes))
    heads = (Head("coins"), *(Head(name, right=True) for name in COINS))
    return Table("Treasury", heads, ((Cell("BTC"), *btc), (Cell("USD now"), *usd)), notes)


def _coins(one: Reading) -> str:
    if one.value is None:
        return UNKNOWN
    ends = f" ({one.low:,.0f}-{one.high:,.0f})" if one.low is not None and one.high not in (None, one.low) else ""
    return f"{one.value:,.0f}{ends}"


# ---------------------------------------------------------------- figures
def dated(known: KnownBorrower) -> tuple[Dated, ...]:
    """Every figure in force, those of one document and date together, the newest first."""
    groups: dict[tuple[date, str, str, str], list[str]] = {}
    for whose, facts in _facts(known):
        for fact in facts:
            text = fact.source + (f": {fact.note}" if fact.note else "")
            name = " ".join(part for part in (whose, fact.field.replace("_", " ")) if part)
            groups.setdefault((fact.as_of, fact.publication, fact.quality, text), []).append(f"{name} {_value(fact)}")
    order = sorted(groups.items(), key=lambda group: group[0][0], reverse=True)
    return tuple(
        Dated(f"{as_of}, published {published}, {quality}", source, tuple(figures))
        for (as_of, published, quality, source), figures in order
    )


def _facts(known: KnownBorrower) -> Iterable[tuple[str, Iterable[Fact]]]:
    """(whose figures, the figures): the borrower's own first, without a name."""
    yield "", known.facts.values()
    for debt in known.debts:
        yield debt.debt.id, debt.facts.values()
    for pool in known.facilities:
        yield pool.facility.id, (*pool.facts.values(), *_pool_facts(pool))


def _pool_facts(pool: KnownFacility) -> Iterable[Fact]:
    """Machines, vintages and contracts of a pool, each as one figure."""
    facility = pool.facility
    for unit in facility.units:
        yield replace(unit.fact, field=f"{unit.model} of {unit.bought}, units", value=unit.units)
    for vintage in facility.cost_vintages:
        yield replace(vintage.fact, field=f"hardware bought {vintage.bought}, usd", value=vintage.cost_usd)
    for contract in facility.contracts:
        value = UNKNOWN if contract.monthly_revenue_usd is None else contract.monthly_revenue_usd
        yield replace(contract.fact, field=f"{contract.id} with {contract.counterparty}, monthly usd", value=value)


def _value(fact: Fact) -> str:
    """A figure as a short text; its unit is in its name."""
    if isinstance(fact.value, (bool, str, date)):
        return str(fact.value)
    return show(fact.value, "usd" if fact.field.endswith("usd") else "count" if abs(fact.value) >= 1000 else "")


def notes(known: KnownBorrower) -> tuple[str, ...]:
    """What is missing in the book, and what happened."""
    happened = (f"{one.happened} {one.kind.replace('_', ' ')}: {one.source}" for one in known.events)
    return (*(f"missing: {text}" for text in known.borrower.missing), *happened)


def grouped(readings: Mapping[str, Reading], label: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(numbers, the one reason they are unknown), so that a reason stands once. What does not apply is left out."""
    names: dict[str, list[str]] = {}
    for name, one in readings.items():
        if one.value is None and one.applies:
            names.setdefault(f"? {one.reason}", []).append(label[name])
    return tuple((", ".join(who), why) for why, who in names.items())
