"""What falls due and when: filed year buckets as a range, dated instruments, puts, margin loans. USD per borrower."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from monitor.known import KnownBorrower, KnownDebt, as_number
from monitor.model import Fact, Maturity
from monitor.stress.assumptions import amount_owed, fact_value, seconds
from monitor.stress.field import INF, Field, Value, combine, total
from monitor.stress.state import State
from monitor.units import format_usd

MONTH_DAYS = 30.4375
#: instruments must add to this share of the filed debt before they stand for all of it
COVERAGE = 0.9
STALE_CURRENT_DAYS = 190


def add_months(day: date, months: int) -> date:
    """The same day some months later; the last day of a month stays the last day, as balance dates do.

    >>> add_months(date(2026, 6, 30), 18), add_months(date(2026, 8, 31), 6)
    (datetime.date(2027, 12, 31), datetime.date(2027, 2, 28))
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    at_end = day.day == calendar.monthrange(day.year, day.month)[1]
    return date(year, month + 1, last if at_end else min(day.day, last))


def months_until(start: date, day: date) -> int:
    """The month in which a day comes, by the calendar that windows are counted in: 1 up to the same day next month.

    >>> [months_until(date(2027, 6, 30), day) for day in (date(2027, 7, 31), date(2027, 8, 1), date(2028, 6, 30))]
    [1, 2, 12]
    """
    months = (day.year - start.year) * 12 + day.month - start.month
    return max(1, months + (day > add_months(start, months)))


# ---------------------------------------------------------------- how much is owed
def debt_total(state: State) -> Field:
    """Total debt: the newest filed total plus what instruments gained or lost after it, else the instruments' sum.

    Undrawn commitments announced since, whose drawing nobody reported, are the high end of the range, never the value.
    """
    return state.once("debt", lambda: Field.of([_debt(state, b, row) for b, row in enumerate(state.rows)]))


def _debt(state: State, b: int, row: KnownBorrower) -> Value:
    filed = state.facts["debt_usd"].at(b)
    if not filed.known:
        if not row.debts:
            return filed
        parts = [amount_owed(debt, state.at) for debt in row.debts]
        return total(parts).noting("debt_usd is the sum of the instruments", "no filed total")
    day = row.facts["debt_usd"].as_of
    changes = [(debt, change_since(state, debt, day)) for debt in row.debts]
    moved = [(debt, usd) for debt, usd in changes if usd]
    unsaid = [d for d in row.debts if first_seen(state, d) > day and not amount_owed(d, state.at).known]
    if not moved and not unsaid:
        return filed
    added = sum(usd for _, usd in moved)
    most = added + sum(c.middle for c in (commitment(state, debt) for debt in unsaid) if c.known)
    names = [f"{debt.debt.id} {'+' if usd > 0 else ''}{format_usd(usd)}" for debt, usd in moved]
    names += [f"{debt.debt.id} drawn amount not reported" for debt in unsaid]
    detail = f"filed {format_usd(filed.middle)} at {day}, since then: {', '.join(names)}"
    used = (*filed.used, "debt_usd (derived: instruments after the filing)")
    known = filed.middle
    return Value((known + added, known + most, known + added), (), used, filed.as_of_s, detail)


def change_since(state: State, debt: KnownDebt, day: date) -> float:
    """How much of an instrument's principal came or went after a filed total; zero where that is not known.

    What it will have grown to at maturity is no debt of today: it counts in what falls due, not here.
    """
    now = amount_owed(debt, state.at)
    facts = [f for f in debt.debt.facts if f.field == "principal_usd" and f.known_at and f.known_at <= state.at]
    before = [f for f in facts if f.as_of <= day]
    if not now.known or not facts or max(f.as_of for f in facts) <= day:
        return 0.0
    principal = debt.number("principal_usd") or 0.0
    if not before:
        return principal if first_seen(state, debt) > day else 0.0
    then = as_number(max(before, key=lambda f: (f.as_of, f.known_at or state.at)))
    return principal - (then or 0.0)


def first_seen(state: State, debt: KnownDebt) -> date:
    """The day an instrument first existed: its issue, or the earliest figure known by now."""
    days = [fact.as_of for fact in debt.debt.facts if fact.known_at is not None and fact.known_at <= state.at]
    return debt.debt.issued or min(days, default=state.at.date())


def commitment(state: State, debt: KnownDebt) -> Value:
    """What could be drawn under an instrument whose drawn amount is unknown."""
    whole = fact_value(debt.facts, "commitment_usd", state.at)
    return whole if whole.known else fact_value(debt.facts, "undrawn_usd", state.at)


# ---------------------------------------------------------------- dated instruments
@dataclass(frozen=True, slots=True)
class Item:
    """Principal of one instrument on one day; not ``sure`` when a holder may choose or the date is a range."""

    debt: KnownDebt
    on: date
    usd: Value
    sure: bool
    is_put: bool


def items(state: State, b: int, row: KnownBorrower) -> list[Item]:
    """Everything with a date, earliest first, but what fell due before the newest balance sheet or was settled."""
    found = [item for debt in row.debts for item in _items(state, b, debt)]
    filed = row.facts.get("debt_usd")
    found = [item for item in found if not _behind(item, filed) and not _settled(row, item)]
    return sorted(found, key=lambda item: (item.on, item.debt.debt.id))


def _behind(item: Item, filed: Fact | None) -> bool:
    """A later balance sheet has been filed since it fell due: whatever happened is in that balance sheet."""
    return filed is not None and item.on <= filed.as_of


def _settled(row: KnownBorrower, item: Item) -> bool:
    outcomes = (e for e in row.events if e.kind in ("due_outcome_paid", "due_outcome_extended"))
    return any(event.happened >= item.on for event in outcomes)


def _items(state: State, b: int, debt: KnownDebt) -> list[Item]:
    terms, owed = debt.debt, amount_owed(debt, state.at)
    if not owed.known or owed.middle <= 0:
        return []
    if terms.schedule_usd:
        return [Item(debt, day, Value.exact(usd), True, False) for day, usd in terms.schedule_usd.items()]
    puts = [put for put in terms.puts if put_state(state, b, debt) != "above conversion"]
    as_of = debt.facts["principal_usd"].as_of if "principal_usd" in debt.facts else state.at.date()
    puts = [put for put in puts if put.on > as_of]
    if puts:
        put = min(puts, key=lambda p: p.on)
        sure = put_state(state, b, debt) == "below conversion"
        return [Item(debt, put.on, combine(lambda p: p * put.price, owed), sure, True)]
    day = terms.maturity_earliest or terms.maturity
    # an end that could have come and did not has been moved: the last possible day is the next one
    if day is not None and day <= state.at.date() and terms.maturity is not None:
        day = terms.maturity
    if day is None or terms.amortisation == "straight_line":
        return []
    grown = owed if "accreted_usd" in debt.facts else combine(lambda p: p * (terms.accretion or 1.0), owed)
    return [Item(debt, day, grown, day == terms.maturity or terms.maturity is None, False)]


def put_state(state: State, b: int, debt: KnownDebt) -> str:
    """Whether holders gain by putting: below conversion, above conversion, or unknown (share or conversion price)."""
    if debt.debt.kind != "convertible":
        return "below conversion"
    share, conversion = state.quoted["share_price_usd"].at(b), debt.debt.conversion_price_usd
    if not share.known or conversion is None:
        return "below conversion" if state.factors.refinancing == 0 else "unknown"
    return "below conversion" if share.middle < conversion else "above conversion"


def months_left(debt: KnownDebt, start: date) -> Value:
    """Months to maturity, the earliest where only a range is stated."""
    terms = debt.debt
    ends = [day for day in (terms.maturity, terms.maturity_earliest) if day is not None]
    if not ends:
        return Value.unknown(f"maturity of {terms.id} was never reported")
    months = [max(0.0, (day - start).days / MONTH_DAYS) for day in ends]
    return Value((max(months), min(months), max(months)))


# ---------------------------------------------------------------- the window
def due(state: State, months: int = 12) -> Field:
    """Principal due within ``months``, as a range: middle, adverse (most), favourable (least).

    With a filed table the window starts at the balance sheet, as the cash beside it does: whole buckets count in full,
    a partial bucket counts by time in the middle, not at all at the low end and whole at the high end; puts of
    instruments that mature later and instruments newer than the table are added. Without a table, the newest current
    portion is a floor under the dated instruments; a current portion as new as the table is a floor as well. Loans
    against coins without a maturity are callable and count in full.
    """
    debts = debt_total(state)
    shut = state.factors.refinancing == 0

    def build() -> Field:
        return Field.of([_due(state, b, row, debts.at(b), months) for b, row in enumerate(state.rows)])

    return state.once(("due", months, shut), build)


def _due(state: State, b: int, row: KnownBorrower, debt: Value, months: int) -> Value:
    if debt.known and debt.corners == (0.0, 0.0, 0.0):
        return Value.exact(0.0, debt.as_of_s, debt.used)
    if row.maturities:
        found = _from_table(state, b, row, months)
        since = row.maturities[0].fact.as_of
    elif _current(row) is not None:
        found, since = _from_instruments(state, b, row.debts, row, months, undated=False), date.min
    else:
        owed = [amount_owed(item, state.at) for item in row.debts]
        covered = sum(value.middle for value in owed if value.known)
        if not debt.known or covered < COVERAGE * debt.middle or not covered:
            missing = "no maturity table, no debt_current_usd, and the instruments do not add up to the debt"
            return Value.unknown(f"principal due within {months} months: {missing}")
        found, since = _from_instruments(state, b, row.debts, row, months, undated=True), date.min
        if "debt_usd" not in row.facts:
            found = found.noting("no filed total: debt the book does not list is not in it")
    current = _current(row)
    if current is None or current.as_of < since:
        return found
    floor = fact_value(row.facts, "debt_current_usd", state.at)
    raised = combine(max, found, floor, detail=found.detail)
    return raised.noting(detail=f"debt_current_usd {format_usd(floor.middle)} is the floor")


def balance_date(row: KnownBorrower) -> date:
    """The day of the newest balance sheet: of total debt or unrestricted cash; the first of days without either."""
    facts = (row.facts.get(name) for name in ("debt_usd", "cash_unrestricted_usd"))
    return max((fact.as_of for fact in facts if fact is not None), default=date.min)


def raised_since_cash(state: State) -> Field:
    """Debt that came after the date of the cash figure: none of it in the middle, all of it at the favourable end.

    What was raised since may still lie in cash or be spent; nobody has said.
    """
    return state.once("raised", lambda: Field.of([_raised(state, row) for row in state.rows]))


def _raised(state: State, row: KnownBorrower) -> Value:
    cash = row.facts.get("cash_unrestricted_usd")
    if cash is None:
        return Value.exact(0.0)
    came = [(debt.debt.id, change_since(state, debt, cash.as_of)) for debt in row.debts]
    came = [(name, usd) for name, usd in came if usd > 0]
    if not came:
        return Value.exact(0.0)
    names = ", ".join(f"{name} {format_usd(usd)}" for name, usd in came)
    return Value(
        (0.0, 0.0, sum(usd for _, usd in came)), (), (f"proceeds since the cash figure ({names}): none to all",)
    )


def _current(row: KnownBorrower) -> Fact | None:
    """The current portion, unless the newest total is two quarters younger: then it is about a year that has passed."""
    current, filed = row.facts.get("debt_current_usd"), row.facts.get("debt_usd")
    if current is None or filed is None:
        return current
    return current if (filed.as_of - current.as_of).days <= STALE_CURRENT_DAYS else None


def _from_table(state: State, b: int, row: KnownBorrower, months: int) -> Value:
    table = row.maturities
    start = max(table[0].fact.as_of, balance_date(row))
    end = add_months(start, months)
    parts, notes = [], []
    for bucket in table:
        share = _share_inside(bucket, start, end)
        if share > 0:
            usd = bucket.principal_usd
            corners = (usd, usd, usd) if share >= 1 else (usd * share, usd, 0.0)
            label = () if share >= 1 else (f"bucket {bucket.bucket} counted by time {share:.1%} (0 to 100%)",)
            parts.append(Value(corners, (), label, seconds(bucket.fact.as_of)))
            notes.append(f"{bucket.bucket} {format_usd(usd)}" + ("" if share >= 1 else f" x {share:.1%}"))
    base = total(parts) if parts else Value.exact(0.0, seconds(start))
    newer = tuple(debt for debt in row.debts if first_seen(state, debt) > table[0].fact.as_of)
    puts = [i for i in items(state, b, row) if i.is_put and i.debt not in newer and i.on <= end]
    parts = [base, *(_possible(i, i.sure) for i in puts)]
    if newer:
        parts.append(_from_instruments(state, b, newer, row, months, undated=False))
    return total(parts).noting(detail=f"due to {end}: {', '.join(notes) or 'nothing'}")


def _share_inside(bucket: Maturity, start: date, end: date) -> float:
    """Share of a bucket's days inside (start, end]; an open-ended one that starts inside counts at its high end."""
    first = max(bucket.starts, bucket.fact.as_of + timedelta(days=1))
    if bucket.ends is None:
        return 1e-12 if first <= end else 0.0
    span = (bucket.ends - first).days + 1
    inside = (min(bucket.ends, end) - max(first, start + timedelta(days=1))).days + 1
    return 0.0 if span <= 0 else min(1.0, max(0.0, inside / span))


def _possible(item: Item, counted: bool) -> Value:
    """A put's range: in full at the adverse end, nothing at the favourable end unless it is sure."""
    usd = item.usd
    note = f"put of {item.debt.debt.id} on {item.on}"
    low = usd.corners[2] if item.sure else 0.0
    if item.sure:
        return usd.noting(detail=note)
    middle = usd.corners[0] if counted else 0.0
    why = "share or conversion price unknown"
    return Value((middle, usd.corners[1], low), (), (*usd.used, f"{note} ({why})"), usd.as_of_s, note)


def _from_instruments(
    state: State, b: int, debts: Sequence[KnownDebt], row: KnownBorrower, months: int, *, undated: bool
) -> Value:
    """Dated instruments up to ``months`` from now; with ``undated`` also an assumed share of those without a date."""
    end = add_months(state.at.date(), months)
    dated = [item for item in items(state, b, row) if item.debt in debts]
    parts = [_possible(i, True) if i.is_put else _matures(i, end) for i in dated if i.on <= end]
    with_date = {item.debt.debt.id for item in dated}
    for debt in debts:
        owed = amount_owed(debt, state.at)
        if debt.debt.id in with_date or not owed.known or owed.middle <= 0:
            continue
        parts.append(_without_date(state, debt, owed, row, months, undated))
    standing = [owed for owed in (amount_owed(debt, state.at) for debt in debts) if owed.known and owed.middle > 0]
    return total([*parts, Value.exact(0.0, min((owed.as_of_s for owed in standing), default=INF))])


def _matures(item: Item, end: date) -> Value:
    """An instrument whose latest maturity lies beyond the window may still fall due at its earliest."""
    latest = item.debt.debt.maturity
    if item.sure or latest is None or latest <= end:
        return item.usd.noting(detail=f"{item.debt.debt.id} on {item.on}")
    label = f"{item.debt.debt.id} matures between {item.on} and {latest}"
    return Value((0.0, item.usd.corners[1], 0.0), (), (*item.usd.used, label), item.usd.as_of_s)


def _without_date(state: State, debt: KnownDebt, owed: Value, row: KnownBorrower, months: int, undated: bool) -> Value:
    terms = debt.debt
    filed = fact_value(debt.facts, "due_12m_usd", state.at)
    if filed.known and months == 12:
        return filed
    if terms.amortisation == "straight_line":
        left = months_left(debt, state.at.date())
        if left.known:
            return combine(lambda p, m: p if m <= months else p * months / m, owed, left)
    if terms.kind == "btc_loan" and terms.maturity is None:
        return owed.noting(detail=f"{terms.id} is callable")
    if terms.kind == "revolver" and state.factors.refinancing == 0:
        return owed.noting(detail=f"{terms.id} is not renewed")
    if terms.maturity is not None or not undated:
        return Value.exact(0.0)
    share = state.assumptions.get("due_undated_share", row.borrower.kind)
    return combine(lambda p, s: p * min(1.0, s * months / 12), owed, share).noting(detail=f"{terms.id} has no date")
