"""The book as it was known at a moment: among facts published by then the latest ``as_of`` wins, per field.

Pure. A fact published on day D is known from the end of D. Sparse facts are carried forward with their age and never
interpolated; what was not yet published does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from monitor.model import (
    Assumption,
    Book,
    Borrower,
    CreditEvent,
    Debt,
    Facility,
    Fact,
    Mark,
    Maturity,
    StepTable,
    end_of_day,
)
from monitor.steps import Steps


@dataclass(frozen=True)
class KnownDebt:
    """One instrument with its figures in force. Missing figures are absent from ``facts``."""

    debt: Debt
    facts: Mapping[str, Fact]

    def number(self, field: str) -> float | None:
        """A figure as a number, or None when it is not known."""
        return as_number(self.facts.get(field))


@dataclass(frozen=True)
class KnownFacility:
    """One pool with its dated figures in force; vintages and contracts that were known by then."""

    facility: Facility
    facts: Mapping[str, Fact]

    def number(self, field: str) -> float | None:
        """A figure as a number, or None when it is not known."""
        return as_number(self.facts.get(field))


@dataclass(frozen=True)
class KnownBorrower:
    """One borrower with its figures in force and their known past."""

    borrower: Borrower
    facts: Mapping[str, Fact]
    #: per field, what was true when, among what is known: ascending ``as_of``, one fact per ``as_of``
    past: Mapping[str, tuple[Fact, ...]]
    debts: tuple[KnownDebt, ...]
    facilities: tuple[KnownFacility, ...]
    #: the newest maturity table only
    maturities: tuple[Maturity, ...]
    events: tuple[CreditEvent, ...]

    @property
    def id(self) -> str:
        return self.borrower.id

    def number(self, field: str) -> float | None:
        """A figure as a number, or None when it is not known."""
        return as_number(self.facts.get(field))


@dataclass(frozen=True)
class KnownBook:
    """The whole book at one moment."""

    at: datetime
    borrowers: tuple[KnownBorrower, ...]
    #: marks known by then, newest ``as_of`` last
    marks: tuple[Mark, ...]
    assumptions: tuple[Assumption, ...]


def as_number(fact: Fact | None) -> float | None:
    """The value of a numeric fact; None for an absent one or one that is not a number."""
    if fact is None or isinstance(fact.value, (bool, str, date)):
        return None
    return float(fact.value)


def resolve(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """Give each fact the moment it became known.

    A fact without a publication date is not used before the next dated one (the earliest publication among facts with a
    later ``as_of``); if none followed it is never used.

    >>> a = Fact("cash_unrestricted_usd", 1.0, date(2026, 3, 31), None, None, "press", "a letter")
    >>> b = Fact("debt_usd", 2.0, date(2026, 6, 30), date(2026, 8, 12), None, "filing", "10-Q")
    >>> [fact.known_at.date().isoformat() for fact in resolve([a, b])]
    ['2026-08-13', '2026-08-13']
    """
    rows = list(facts)
    dated = sorted((fact.as_of, fact.published) for fact in rows if fact.published is not None)
    return tuple(_with_known_at(fact, dated) for fact in rows)


def _with_known_at(fact: Fact, dated: list[tuple[date, date]]) -> Fact:
    published = fact.published
    if published is None:
        published = min((later for as_of, later in dated if as_of > fact.as_of), default=None)
    known_at = None if published is None else end_of_day(max(published, fact.as_of))
    return replace(fact, known_at=known_at)


def in_force(facts: Iterable[Fact], at: datetime) -> dict[str, tuple[Fact, ...]]:
    """Per field the known past at a moment: one fact per ``as_of`` (the latest published), ascending.

    >>> from datetime import UTC
    >>> june = Fact("btc_total", 1959.0, date(2022, 6, 30), date(2022, 8, 22), None, "filing", "10-Q")
    >>> july = Fact("btc_total", 1205.0, date(2022, 7, 31), date(2022, 8, 5), None, "filing", "monthly update")
    >>> [f.value for f in in_force(resolve([june, july]), datetime(2022, 8, 23, tzinfo=UTC))["btc_total"]]
    [1959.0, 1205.0]
    """
    known = [fact for fact in facts if fact.known_at is not None and fact.known_at <= at]
    known.sort(key=lambda fact: (fact.as_of, fact.known_at or at))
    table: dict[str, dict[date, Fact]] = {}
    for fact in known:
        table.setdefault(fact.field, {})[fact.as_of] = fact
    return {name: tuple(by_day.values()) for name, by_day in table.items()}


def latest(facts: Iterable[Fact], at: datetime) -> dict[str, Fact]:
    """Per field the fact in force at a moment."""
    return {name: past[-1] for name, past in in_force(facts, at).items()}


def as_known(book: Book, at: datetime) -> KnownBook:
    """The book as it was known at a moment; nothing published later can be seen through it."""
    marks = sorted((m for m in book.marks if m.known_at is not None and m.known_at <= at), key=lambda m: m.as_of)
    return KnownBook(at, tuple(_known_borrower(b, at) for b in book.borrowers), tuple(marks), book.assumptions)


def _known_borrower(borrower: Borrower, at: datetime) -> KnownBorrower:
    past = in_force(borrower.facts, at)
    debts = (KnownDebt(debt, latest(debt.facts, at)) for debt in borrower.debts)
    return KnownBorrower(
        borrower=borrower,
        facts={name: facts[-1] for name, facts in past.items()},
        past=past,
        debts=tuple(debt for debt in debts if debt.facts),
        facilities=tuple(_known_facility(facility, at) for facility in borrower.facilities),
        maturities=_newest_table(borrower.maturities, at),
        events=tuple(e for e in borrower.events if e.known_at is not None and e.known_at <= at),
    )


def _known(fact: Fact, at: datetime) -> bool:
    return fact.known_at is not None and fact.known_at <= at


def _known_facility(facility: Facility, at: datetime) -> KnownFacility:
    """Only what was published by then; a vintage may be restated, so per (bought, models) the latest known counts."""
    units = {(u.model, u.bought): u for u in sorted(facility.units, key=lambda u: u.fact.as_of) if _known(u.fact, at)}
    costs = {v.bought: v for v in sorted(facility.cost_vintages, key=lambda v: v.fact.as_of) if _known(v.fact, at)}
    contracts = {c.id: c for c in sorted(facility.contracts, key=lambda c: c.fact.as_of) if _known(c.fact, at)}
    cut = replace(
        facility,
        units=tuple(units.values()),
        cost_vintages=tuple(costs.values()),
        contracts=tuple(contracts.values()),
    )
    return KnownFacility(cut, latest(facility.facts, at))


def _newest_table(maturities: Iterable[Maturity], at: datetime) -> tuple[Maturity, ...]:
    known = [m for m in maturities if _known(m.fact, at)]
    if not known:
        return ()
    newest = max(m.fact.as_of for m in known)
    return tuple(m for m in known if m.fact.as_of == newest)


# ---------------------------------------------------------------- its own past
#: metrics whose past is the book's own past, by when it was true, not by when somebody computed it:
#: metric -> figures that are added (all must be known), or the second choice when the first is not reported
FACT_PAST: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "coins_free": (("btc_free",), ("btc_total",)),
    "coins_pledged": (("btc_pledged",),),
    "coins_total": (("btc_free", "btc_lent", "btc_pledged"), ("btc_total",)),
    "debt_usd": (("debt_usd",),),
    "cash_unrestricted_usd": (("cash_unrestricted_usd",),),
}


def all_facts(borrower: Borrower) -> Iterable[Fact]:
    """Every figure of a borrower, wherever in its file it stands."""
    yield from borrower.facts
    for debt in borrower.debts:
        yield from debt.facts
    for facility in borrower.facilities:
        yield from facility.facts
        yield from (unit.fact for unit in facility.units)
        yield from (vintage.fact for vintage in facility.cost_vintages)
        yield from (contract.fact for contract in facility.contracts)
    yield from (m.fact for m in borrower.maturities)


def fact_steps(book: KnownBook, metric: str, subjects: Sequence[str]) -> StepTable | None:
    """The past of a metric that is a figure of the book, over borrowers; None for any other metric.

    Only what is known at ``book.at`` enters. Where a split of coins was not reported yet the total stands in its place,
    so that a fall of coins is seen across the change of reporting.
    """
    if metric not in FACT_PAST:
        return None
    rows = {borrower.id: borrower for borrower in book.borrowers}
    points = [_points(rows[subject], FACT_PAST[metric]) if subject in rows else ([], []) for subject in subjects]
    return Steps("", tuple(times for times, _ in points), tuple(values for _, values in points))


def _points(borrower: KnownBorrower, choices: tuple[tuple[str, ...], ...]) -> tuple[list[float], list[float]]:
    days = sorted({fact.as_of for fields in choices for name in fields for fact in borrower.past.get(name, ())})
    found: dict[float, float] = {}
    for day in days:
        for fields in choices:
            parts = [next((f for f in borrower.past.get(name, ()) if f.as_of == day), None) for name in fields]
            numbers = [as_number(part) for part in parts]
            if all(number is not None for number in numbers):
                found[end_of_day(day).timestamp()] = float(sum(number for number in numbers if number is not None))
                break
    return list(found), list(found.values())
