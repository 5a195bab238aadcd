"""From one event to what its message says: obligor, size, recourse, what is due next, what restores the line. Pure.

The numbers come from the evaluation that judged the event, the dates from the book as it was known then; what is not
known stays empty, and :mod:`monitor.messages` prints it as ``?`` with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from monitor.context import Context, Deadline, Previous, Reading, Restore, Sheet, level_of, nothing_before, read_numbers
from monitor.known import KnownBook, KnownBorrower, KnownDebt, KnownFacility
from monitor.model import MARKET, AlertState, Event, Fact, Match, Numbers, Quote, Rule, end_of_day
from monitor.units import format_usd

#: figures whose change is worth naming when the book changed
TOLD_FIELDS = (
    *("debt_usd", "cash_unrestricted_usd", "cash_total_usd", "btc_total", "btc_free", "btc_pledged"),
    *("ebitda_adjusted_quarter_usd", "interest_quarter_usd", "revenue_quarter_usd"),
)


@dataclass(frozen=True)
class Desk:
    """Everything the messages of one evaluation share."""

    numbers: Numbers
    book: KnownBook
    rules: Mapping[str, Rule]
    now: datetime
    matches: Mapping[str, Match] = field(default_factory=dict)
    recorded_on: date | None = None
    summaries: Mapping[tuple[str, str], str] = field(default_factory=dict)
    #: the last different value of a metric and the day that ended it, where the database knows one
    previous: Previous = nothing_before
    #: when the oldest evaluation on record was made
    first_at: datetime | None = None


def brief(event: Event, state: AlertState | None, desk: Desk) -> Context:
    """What a message says about one event."""
    rule = desk.rules.get(event.rule)
    event = _as_of_now(event, desk)
    borrower_id, _, facility_id = event.subject.partition("/")
    readings = read_numbers(event, rule, desk.numbers, desk.previous)
    common = Context(
        event=event,
        borrower="market" if event.subject == MARKET else borrower_id,
        rule=rule,
        summary=desk.summaries.get((event.rule, event.subject), ""),
        readings=readings,
        true_since=state.active_at if state else None,
        maybe_longer=state is not None and state.active_at is not None and state.active_at == desk.first_at,
        flaps=state.flaps if state else 0,
        prices=_prices(readings, desk.numbers),
        because=event.because,
        recorded_on=desk.recorded_on,
    )
    borrower = next((b for b in desk.book.borrowers if b.id == borrower_id), None)
    if borrower is None:
        return common
    facility = next((f for f in borrower.facilities if f.facility.id == facility_id), None)
    debts = _debts_of(borrower, facility)
    return replace(
        common,
        borrower=borrower.borrower.name,
        entity=_entity(facility, debts) or borrower.borrower.name,
        instrument=facility.facility.name if facility else "",
        size_usd=_size(event, desk.numbers),
        recourse=_recourse(debts) if facility else "",
        next=next_due(debts, borrower, desk.now, whole=facility is None),
        restores=tuple(_restores(readings, event.subject, desk.numbers, debts, desk.now)),
        sheet=_sheet(borrower),
    )


def _as_of_now(event: Event, desk: Desk) -> Event:
    """The event with the numbers of this evaluation: what is told later speaks of the values then in force."""
    match = desk.matches.get(event.rule)
    if match is None or event.at == desk.now or event.subject not in match.subjects:
        return event
    index = match.subjects.index(event.subject)
    values = {name: float(column[index]) for name, column in match.values.items()}
    return replace(event, values={name: None if value != value else value for name, value in values.items()})


# ---------------------------------------------------------------- who owes what
def _debts_of(borrower: KnownBorrower, facility: KnownFacility | None) -> tuple[KnownDebt, ...]:
    if facility is None:
        return borrower.debts
    return tuple(debt for debt in borrower.debts if debt.debt.id in facility.facility.debts)


def _entity(facility: KnownFacility | None, debts: Iterable[KnownDebt]) -> str:
    if facility is None:
        return ""
    named = dict.fromkeys(debt.debt.entity for debt in debts if debt.debt.entity)
    return facility.facility.entity or ", ".join(named)


def _recourse(debts: Iterable[KnownDebt]) -> str:
    """One word when all debts agree, both when they differ, nothing when any is unknown."""
    kinds = {debt.debt.recourse for debt in debts}
    return "" if None in kinds or not kinds else " / ".join(sorted(str(kind) for kind in kinds))


def _size(event: Event, numbers: Numbers) -> float | None:
    name = "principal_usd" if level_of(event.subject) == "facility" else "debt_usd"
    return value_of(numbers, name, event.subject)


def value_of(numbers: Numbers, metric: str, subject: str) -> float | None:
    """One number of one subject, or None when it is unknown or the subject has none."""
    column = numbers.columns.get(metric)
    if column is None or subject not in numbers.subjects.get(column.level, ()):
        return None
    index = numbers.subjects[column.level].index(subject)
    return float(column.values[index]) if column.known[index] else None


# ---------------------------------------------------------------- what comes next
MATURITY = "maturity"


def next_due(debts: Iterable[KnownDebt], borrower: KnownBorrower, now: datetime, *, whole: bool) -> Deadline | None:
    """What has to be met next: a maturity that passed without a known outcome, else the nearest day of an instrument
    that still owes; of a ``whole`` borrower the nearest bucket of its filed table where that ends sooner, or alone is
    known.
    """
    dated = [(day, what, debt) for debt in debts if _amount(debt) != 0 for day, what in _dates(debt)]
    dated = [
        (day, what, debt)
        for day, what, debt in dated
        if end_of_day(day) > now or (what == MATURITY and _no_outcome(borrower, day))
    ]
    buckets = [m for m in borrower.maturities if m.ends is not None and end_of_day(m.ends) > now]
    first = min(buckets, key=lambda m: m.starts, default=None)
    nearest = min(dated, key=lambda item: item[0], default=None)
    if nearest and not (whole and first and first.ends and first.ends < nearest[0]):
        day, what, debt = nearest
        amount = _amount(debt)
        reason = "" if end_of_day(day) > now else "nothing says whether it was paid"
        return Deadline(
            f"{debt.debt.name}: {what}", _last_minute(day), amount, _cross(borrower, debt, amount), reason=reason
        )
    if first and first.ends:
        what = f"principal of the bucket {first.bucket.replace('_', ' ')} is due"
        reason = f"the filing gives no day; what was paid after {first.fact.as_of} is not taken off"
        return Deadline(what, _last_minute(first.ends), first.principal_usd, reason=reason)
    return None


def _amount(debt: KnownDebt) -> float | None:
    """What an instrument owes, accreted where it accretes; None where nobody said."""
    accreted = debt.number("accreted_usd")
    return debt.number("principal_usd") if accreted is None else accreted


def _no_outcome(borrower: KnownBorrower, day: date) -> bool:
    """Whether a due date lies behind the newest filed total of debt, and no event says what became of it."""
    filed = borrower.facts.get("debt_usd")
    told = any(e.kind in ("due_outcome_paid", "due_outcome_extended") and e.happened >= day for e in borrower.events)
    return not told and (filed is None or filed.as_of < day)


def _last_minute(day: date) -> datetime:
    """The end of a day as a person reads it: 23:59 of that day, not midnight of the next."""
    return end_of_day(day) - timedelta(minutes=1)


def _dates(debt: KnownDebt) -> list[tuple[date, str]]:
    found = [(put.on, "may be put back") for put in debt.debt.puts]
    if debt.debt.maturity:
        found.append((debt.debt.maturity, MATURITY))
    return found


def _cross(borrower: KnownBorrower, debt: KnownDebt, amount: float | None) -> tuple[str, ...]:
    """Debts of the same borrower whose cross-default threshold this amount passes."""
    return tuple(
        other.debt.name
        for other in borrower.debts
        if other.debt.id != debt.debt.id
        and other.debt.cross_default_usd is not None
        and amount is not None
        and amount >= other.debt.cross_default_usd
    )


# ---------------------------------------------------------------- what restores the line
def _restores(
    readings: Iterable[Reading], subject: str, numbers: Numbers, debts: Iterable[KnownDebt], now: datetime
) -> Iterable[Restore]:
    for reading in readings:
        if reading.name == "days_to_next_due" and reading.value is not None and reading.value < 0:
            yield from _payment(debts, day_of(now + timedelta(days=reading.value)))
        if reading.name == "margin_call_btc_usd" and reading.value is not None:
            yield Restore(
                "btc_usd", reading.value, "usd", how="the price at which the lender calls for more collateral"
            )
        if reading.value is None or reading.line is None:
            continue
        limit = reading.line[1]
        if reading.name in ("liquidity_locked_12m", "liquidity_18m"):
            due = value_of(numbers, "due_12m_usd", subject)
            if due is not None and limit > reading.value:
                yield Restore(
                    amount_usd=(limit - reading.value) * due, how="new cash, or principal moved out of the window"
                )
        elif reading.name in ("ltv_economic", "ltv_contractual", "spv_ltv_economic"):
            yield from _paydown(reading, limit, subject, numbers)


def _payment(debts: Iterable[KnownDebt], about: date) -> Iterable[Restore]:
    """What was due around a day and not known to be paid."""
    for debt in debts:
        amount = debt.number("accreted_usd") or debt.number("principal_usd")
        if amount and any(abs((day - about).days) <= 1 for day, _ in _dates(debt)):
            yield Restore(amount_usd=amount, how=f"paid on {debt.debt.name}, or an extension on record")


def _paydown(reading: Reading, limit: float, subject: str, numbers: Numbers) -> Iterable[Restore]:
    principal = value_of(numbers, "principal_usd", subject)
    if principal is None or not reading.value or limit >= reading.value:
        return
    collateral = principal / reading.value
    yield Restore(amount_usd=principal - limit * collateral, how="pay down")
    yield Restore(amount_usd=principal / limit - collateral, how="or that much more collateral at the same marks")


# ---------------------------------------------------------------- where it comes from
def _sheet(borrower: KnownBorrower) -> Sheet | None:
    """The filing behind the debt figure, else the newest figure of any kind."""
    fact = borrower.facts.get("debt_usd") or max(borrower.facts.values(), key=lambda f: f.as_of, default=None)
    return None if fact is None else Sheet(fact.as_of, fact.publication, fact.quality, fact.source)


def _prices(readings: Iterable[Reading], numbers: Numbers) -> tuple[Quote, ...]:
    """The market prices the event's numbers named, else the price of bitcoin, which enters most other numbers."""
    named = [numbers.quotes[(r.name, MARKET)] for r in readings if (r.name, MARKET) in numbers.quotes]
    bitcoin = numbers.quotes.get(("btc_usd", MARKET))
    return tuple(named) or ((bitcoin,) if bitcoin else ())


# ---------------------------------------------------------------- because the book changed
def book_changes(before: KnownBook, after: KnownBook) -> dict[str, str]:
    """Per borrower, which figures in force changed between two moments: old value, new value, document and its date.

    Facts that became known in between count as well as edits; a borrower without a change is left out.
    """
    old = {borrower.id: borrower for borrower in before.borrowers}
    told: dict[str, str] = {}
    for borrower in after.borrowers:
        earlier = old.get(borrower.id)
        past = earlier.facts if earlier else {}
        changes = [
            _change(name, past.get(name), fact) for name, fact in borrower.facts.items() if fact != past.get(name)
        ]
        changes.sort(key=lambda change: change[0])
        if changes:
            told[borrower.id] = "the book changed: " + "; ".join(text for _, text in changes[:3])
    return told


def _change(name: str, old: Fact | None, new: Fact) -> tuple[int, str]:
    rank = TOLD_FIELDS.index(name) if name in TOLD_FIELDS else len(TOLD_FIELDS)
    published = f", {new.published.isoformat()}" if new.published else ""
    return rank, f"{name} {_figure(old)} -> {_figure(new)} ({new.source}{published})"


def _figure(fact: Fact | None) -> str:
    if fact is None:
        return "unknown"
    return format_usd(float(fact.value)) if isinstance(fact.value, (int, float)) else str(fact.value)


def day_of(moment: datetime) -> date:
    """The UTC day a close belongs to: the midnight that ends a day belongs to that day.

    >>> from datetime import UTC
    >>> day_of(datetime(2026, 8, 21, tzinfo=UTC)).isoformat(), day_of(datetime(2026, 8, 20, 9, tzinfo=UTC)).isoformat()
    ('2026-08-20', '2026-08-20')
    """
    return (moment - timedelta(microseconds=1)).date()
