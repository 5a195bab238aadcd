"""Where a number comes from, as a tree: the number, what it was made of, down to the answer of a source or a document.

A node is one number (or one document figure, one observation) with everything known about it. Inputs hang below it, as
deep as asked for; those that are prices are told by :mod:`monitor.tracing_prices`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from monitor.booktext import BORROWER_FIELDS, DEBT_FIELDS, FACILITY_FIELDS
from monitor.known import KnownBook, KnownBorrower, KnownFacility, as_number
from monitor.metrics import METRICS
from monitor.model import MARKET, CanaryError, Column, Fact, end_of_day
from monitor.tracing_prices import MAX_PARTS, Evidence, Node, price, time_text
from monitor.units import format_age, format_value
from monitor.yamltext import suggest


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
    if name in {borrower.id for borrower in evidence.book.borrowers}:
        hint = f": it is a borrower; write for example {name}.debt_usd"
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
    # what the number means stands above already, not once more for each borrower
    rows = [replace(row, about=tuple(pair for pair in row.about if pair[0] != "meaning")) for row in rows]
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
    value, unit = as_number(fact), _unit(fact.field)
    about = [
        ("true on", fact.as_of.isoformat()),
        ("known", time_text(fact.known_at)),
        ("age", format_age(max(0.0, (evidence.at - end_of_day(fact.as_of)).total_seconds()))),
        ("source", fact.source),
        ("quality", fact.quality),
        *([("note", fact.note)] if fact.note else []),
    ]
    before = tuple(
        Node(f"before: {old.as_of}", _said(old), as_number(old), unit, "superseded", (("source", old.source),))
        for old in earlier[-3:]
    )
    return Node(f"figure {fact.field}", _said(fact), value, unit, "used", tuple(about), before)


def _unit(field: str) -> str:
    """The unit of a figure of the book, empty for words."""
    return BORROWER_FIELDS.get(field) or FACILITY_FIELDS.get(field) or DEBT_FIELDS.get(field, "")


def _said(fact: Fact) -> str:
    """What a document says, in full, with its unit."""
    value = as_number(fact)
    unit = {"usd": "USD", "btc": "BTC", "eth": "ETH", "count": "", "ratio": "as a fraction"}.get(
        _unit(fact.field), _unit(fact.field)
    )
    return f"{fact.value}" if value is None else f"{value:,.15g} {unit}".rstrip()


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
             about=(("known", time_text(fact.known_at)), ("source", fact.source), ("quality", fact.quality)))
        for name, value, unit, fact in facts[:MAX_PARTS]
    ]  # fmt: skip
    return [_debts(evidence, borrower, facility), *nodes]
