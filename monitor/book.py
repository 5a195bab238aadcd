"""The book: strict text -> :class:`monitor.model.Book`. One borrower per file, every figure dated and sourced.

Every mistake of every file is reported at once, each at its place. Nothing is guessed: a field left out is unknown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from monitor.booktext import (
    BORROWER_FIELDS,
    DEBT_FIELDS,
    EVENT_KINDS,
    FACILITY_FIELDS,
    SHARES,
    SIGNED,
    AssumptionsText,
    BorrowerText,
    CovenantsText,
    Dated,
    DebtText,
    EventText,
    FacilityText,
    FactGroup,
    MarksText,
    MaturityText,
)
from monitor.known import resolve
from monitor.model import (
    Assumption,
    Book,
    Borrower,
    Contract,
    CostVintage,
    Covenants,
    CreditEvent,
    Debt,
    Facility,
    Fact,
    FactValue,
    HardwareUnits,
    InputError,
    Mark,
    Maturity,
    Problem,
    Put,
    end_of_day,
)
from monitor.yamltext import Node, Text, check, collect, find, parse_tree, point_at, read_file, suggest


# ---------------------------------------------------------------- reading
def load_book(folder: Path) -> Book:
    """Read a whole book folder. Raises InputError with every problem of every file.

    ``_assumptions.yaml`` and ``marks.yaml`` have their own shape; ``portfolio.yaml`` is private and read elsewhere;
    every other ``*.yaml`` is one borrower whose id is the file's stem. Sub-folders are not read.
    """
    problems: list[Problem] = []
    if not folder.is_dir():
        raise InputError(
            [Problem(str(folder), 1, 1, 0, "is not a folder", "run 'canary init DIR' to lay out a starter book")]
        )
    borrowers: list[Borrower] = []
    marks: tuple[Mark, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    texts: dict[str, Text] = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.name == "portfolio.yaml":
            continue
        try:
            text = texts[path.name] = read_file(path)
            if path.name == "_assumptions.yaml":
                assumptions = _assumptions(text)
            elif path.name == "marks.yaml":
                marks = _marks(text)
            else:
                borrowers.append(read_borrower(text, path.stem))
        except InputError as error:
            collect(problems, error)
    problems.extend(_across(borrowers, texts))
    if not borrowers and not problems:
        problems.append(
            Problem(str(folder), 1, 1, 0, "holds no borrower", "run 'canary init DIR' to lay out a starter book")
        )
    if problems:
        raise InputError(problems)
    return Book(
        tuple(borrowers),
        marks,
        assumptions,
        book_hash=_hash(text for name, text in texts.items() if name != "_assumptions.yaml"),
        assumptions_hash=_hash(text for name, text in texts.items() if name == "_assumptions.yaml"),
    )


def _hash(texts: Iterable[Text]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(Path(text.file).name.encode() + b"\0" + text.text.encode() + b"\0")
    return digest.hexdigest()[:16]


def read_borrower(text: Text, borrower_id: str) -> Borrower:
    """Read one borrower's text. Raises InputError with every problem found in it."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", borrower_id):
        raise InputError(
            [text.problem(f"{borrower_id!r} cannot be an id", "name the file like 'applied-digital.yaml'")]
        )
    tree = parse_tree(text)
    written = check(BorrowerText, tree, text)
    problems = list(_checks(written, tree, text))
    if problems:
        raise InputError(sorted(problems, key=lambda p: (p.line, p.column)))
    # Publication dates are resolved over everything the borrower filed: an undated figure waits for the next dated one.
    dated = [fact for group in _all_groups(written) for fact in _facts(group)]
    known = _Resolver(dated)
    return Borrower(
        id=borrower_id,
        name=written.name,
        kind=written.kind,
        status=written.status,
        ticker=written.ticker,
        cik=written.cik,
        facts=known.groups(written.facts),
        debts=tuple(_debt(d, known) for d in written.debts),
        facilities=tuple(_facility(f, known) for f in written.facilities),
        maturities=tuple(_maturities(written.maturities, known)),
        events=tuple(_event(e) for e in written.events),
        tenants=dict(written.tenants),
        missing=tuple(written.missing),
        was=written.was,
        note=written.note,
        file=text.file,
    )


def _all_groups(written: BorrowerText) -> Iterator[Dated]:
    yield from written.facts
    for debt in written.debts:
        yield from debt.facts
    for facility in written.facilities:
        yield from (*facility.facts, *facility.units, *facility.cost_vintages, *facility.contracts)
    yield from written.maturities


def _facts(group: Dated) -> Iterator[Fact]:
    values: dict[str, FactValue] = {}
    if isinstance(group, FactGroup):
        values.update({name: value for name, value in group.values.items() if value is not None})
    for name, value in (values or {"": 0.0}).items():
        published = group.published or group.published_by
        bound = group.published is None and published is not None
        yield Fact(name, value, group.as_of, published, None, group.quality, group.source, group.note, bound)


class _Resolver:
    """Turns written groups into facts that know when they became known, against everything the borrower published."""

    def __init__(self, everything: list[Fact]):
        resolved = resolve(everything)
        self.known = {(fact.as_of, fact.published): fact.known_at for fact in resolved}

    def groups(self, groups: Iterable[Dated]) -> tuple[Fact, ...]:
        return tuple(self._dated(fact) for group in groups for fact in _facts(group))

    def one(self, group: Dated) -> Fact:
        return next(iter(self.groups([group])))

    def _dated(self, fact: Fact) -> Fact:
        known_at = self.known[(fact.as_of, fact.published)]
        return replace(fact, known_at=known_at)


def _covenants(written: CovenantsText) -> Covenants:
    return Covenants(**written.model_dump())


def _debt(written: DebtText, known: _Resolver) -> Debt:
    plain: dict[str, Any] = written.model_dump(exclude={"facts", "puts", "covenants", "schedule"})
    return Debt(
        **plain,
        facts=known.groups(written.facts),
        puts=tuple(Put(p.on, p.price) for p in sorted(written.puts, key=lambda p: p.on)),
        covenants=_covenants(written.covenants),
        schedule_usd=dict(sorted(written.schedule.items())),
    )


def _facility(written: FacilityText, known: _Resolver) -> Facility:
    plain: dict[str, Any] = written.model_dump(
        exclude={"facts", "units", "cost_vintages", "contracts", "covenants", "debts"}
    )
    return Facility(
        **plain,
        debts=tuple(written.debts),
        facts=known.groups(written.facts),
        units=tuple(HardwareUnits(u.model, u.bought, u.units, known.one(u)) for u in written.units),
        cost_vintages=tuple(
            CostVintage(v.bought, v.cost_usd, dict(v.model_mix), known.one(v)) for v in written.cost_vintages
        ),
        contracts=tuple(
            Contract(c.id, c.counterparty, c.monthly_revenue_usd, c.ends, c.starts, known.one(c))
            for c in written.contracts
        ),
        covenants=_covenants(written.covenants),
    )


def _bucket(name: str, as_of: date, last_year: int) -> tuple[date, date | None] | None:
    """First and last day of a maturity bucket; None when the name is not one."""
    if name == "thereafter":
        return date(max(last_year, as_of.year) + 1, 1, 1), None
    match = re.fullmatch(r"(remaining_)?(20\d\d)", name)
    if match is None:
        return None
    year = int(match.group(2))
    return (as_of if match.group(1) else date(year, 1, 1)), date(year, 12, 31)


def _maturities(tables: list[MaturityText], known: _Resolver) -> Iterator[Maturity]:
    for table in tables:
        fact = known.one(table)
        last_year = max(
            (int(name[-4:]) for name in table.principal_usd if name[-4:].isdigit()), default=table.as_of.year
        )
        for name, amount in table.principal_usd.items():
            span = _bucket(name, table.as_of, last_year)
            if span is not None:
                yield Maturity(name, span[0], span[1], amount, fact)


def _event(written: EventText) -> CreditEvent:
    published = written.published or written.published_by
    known_at = None if published is None else end_of_day(max(published, written.happened))
    return CreditEvent(written.kind, written.happened, known_at, written.source, written.note)


def load_marks(path: Path) -> tuple[Mark, ...]:
    """The dated marks of one file in the shape of ``marks.yaml``. Raises InputError with every problem of it."""
    return _marks(read_file(path))


def _marks(text: Text) -> tuple[Mark, ...]:
    tree = parse_tree(text)
    marks = check(MarksText, tree, text).marks
    result = []
    for mark in marks:
        published = mark.published or mark.published_by
        known_at = None if published is None else end_of_day(published)
        result.append(
            Mark(
                mark.series,
                mark.subject,
                mark.value,
                mark.unit,
                mark.as_of,
                known_at,
                mark.quality,
                mark.source,
                mark.note,
            )
        )
    return tuple(result)


def _assumptions(text: Text) -> tuple[Assumption, ...]:
    tree = parse_tree(text)
    rows = check(AssumptionsText, tree, text).assumptions
    seen: set[tuple[str, str]] = set()
    for index, row in enumerate(rows):
        if (row.name, row.kind) in seen:
            node = find(tree, ("assumptions", index, "name"))
            raise InputError(
                [text.problem(f"assumption {row.name!r} for {row.kind!r} is written twice", "keep one", node)]
            )
        seen.add((row.name, row.kind))
    return tuple(Assumption(**row.model_dump()) for row in rows)


# ---------------------------------------------------------------- checks a type cannot make
def _checks(written: BorrowerText, tree: Node, text: Text) -> Iterator[Problem]:
    yield from _fields_known(written, tree, text)
    yield from _references(written, tree, text)
    for index, table in enumerate(written.maturities):
        yield from _table_adds_up(table, ("maturities", index, "principal_usd"), tree, text)
    for index, event in enumerate(written.events):
        if event.kind not in EVENT_KINDS:
            node = find(tree, ("events", index, "kind"))
            yield text.problem(f"unknown kind of event {event.kind!r}", suggest(event.kind, list(EVENT_KINDS)), node)
    if written.status == "insufficient_data" and not written.missing:
        yield text.problem(
            "status is insufficient_data, but nothing is said to be missing", "add 'missing: [what is missing]'"
        )
    if sum(written.tenants.values()) > 1.000001:
        yield text.problem("tenant shares add to more than 100%", "", find(tree, ("tenants",)))


def _fields_known(written: BorrowerText, tree: Node, text: Text) -> Iterator[Problem]:
    places: list[tuple[tuple[str | int, ...], list[FactGroup], dict[str, str]]] = [
        (("facts",), written.facts, BORROWER_FIELDS)
    ]
    places += [(("debts", i, "facts"), d.facts, DEBT_FIELDS) for i, d in enumerate(written.debts)]
    places += [(("facilities", i, "facts"), f.facts, FACILITY_FIELDS) for i, f in enumerate(written.facilities)]
    for path, groups, known in places:
        for index, group in enumerate(groups):
            values = find(tree, (*path, index, "values"))
            for name, value in group.values.items():
                if name not in known:
                    yield text.problem(
                        f"unknown figure {name!r}", suggest(name, list(known)), values.keys.get(name, values)
                    )
                elif value is not None and value < 0 and name not in SIGNED:
                    fix = "a figure that is not known is left out"
                    yield text.problem(f"{name} is negative", fix, find(values, (name,)))
                elif value is not None and value > 1 and name in SHARES:
                    yield text.problem(f"{name} is more than all of it", "write 96% or 0.96", find(values, (name,)))


def _references(written: BorrowerText, tree: Node, text: Text) -> Iterator[Problem]:
    named = {"debts": [d.id for d in written.debts], "facilities": [f.id for f in written.facilities]}
    for name, given in named.items():
        for index, one in enumerate(given):
            if one in given[:index]:
                yield text.problem(f"id {one!r} is used twice", "ids are unique", find(tree, (name, index, "id")))
    ids = named["debts"]
    pooled: dict[str, str] = {}
    for index, facility in enumerate(written.facilities):
        for place, debt_id in enumerate(facility.debts):
            node = find(tree, ("facilities", index, "debts", place))
            if debt_id not in ids:
                yield text.problem(f"no debt has the id {debt_id!r}", suggest(debt_id, ids), node)
            elif debt_id in pooled:
                yield text.problem(f"debt {debt_id!r} is secured by two pools ({pooled[debt_id]})", "keep one", node)
            pooled[debt_id] = facility.id


def _table_adds_up(table: MaturityText, path: tuple[str | int, ...], tree: Node, text: Text) -> Iterator[Problem]:
    node = find(tree, path)
    for name in table.principal_usd:
        if name != "total" and _bucket(name, table.as_of, table.as_of.year) is None:
            yield text.problem(
                f"{name!r} is not a maturity bucket", "use remaining_2026, 2027 or thereafter", node.keys.get(name)
            )
    total = table.principal_usd.get("total")
    added = sum(amount for name, amount in table.principal_usd.items() if name != "total")
    if total is not None and abs(total - added) > 1e-6 * max(total, 1):
        yield text.problem(f"the buckets add to {added:,.0f}, the total says {total:,.0f}", "", find(node, ("total",)))


def _across(borrowers: list[Borrower], texts: dict[str, Text]) -> Iterator[Problem]:
    """The same contract in two pools is an error, wherever the pools are."""
    seen: dict[str, str] = {}
    for borrower in borrowers:
        for facility in borrower.facilities:
            for contract in {c.id for c in facility.contracts}:
                where = f"{borrower.id}/{facility.id}"
                if contract in seen:
                    text = texts[f"{borrower.id}.yaml"]
                    message = f"contract {contract!r} stands in two pools: {seen[contract]} and {where}"
                    yield point_at(text, contract, message, "a contract secures one pool; keep it in one")
                seen[contract] = where
