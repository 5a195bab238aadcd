"""Metrics of dates and events: what falls due next, filings of distress, tenants, quoted prices of a borrower."""

from __future__ import annotations

from monitor.known import KnownBorrower
from monitor.metrics_base import View, metric
from monitor.stress.assumptions import quote_value, seconds
from monitor.stress.due import items
from monitor.stress.field import INF, Field, Value

DISTRESS = ("bankruptcy", "acceleration", "non_reliance", "going_concern", "missed_payment", "surrender")
WARNING = (
    *("delisting_notice", "auditor_change", "cfo_exit", "late_filing", "waiver", "deferral", "settlement", "exchange"),
    *("impairment", "useful_life_change"),
)
#: a tenant with a filing of distress this recent is in trouble
TENANT_DISTRESS_S = 365 * 86400.0


def _quoted(view: View, series: str) -> Field:
    return view.state.quoted[series]


@metric("borrower", "usd", "min", needs=("share_price_usd",))
def share_price_usd(view: View) -> Field:
    """Price of one share, as quoted or marked."""
    return _quoted(view, "share_price_usd")


@metric("borrower", "points", "min", needs=("bond_price",))
def bond_price(view: View) -> Field:
    """Price of the marked bond, percent of par."""
    return _quoted(view, "bond_price")


@metric("borrower", "bp", "max", needs=("cds_5y_bp",))
def cds_5y_bp(view: View) -> Field:
    """Five-year credit default swap, basis points."""
    return _quoted(view, "cds_5y_bp")


# ---------------------------------------------------------------- what falls due
@metric("borrower", "days", "min", needs=("maturity", "puts"))
def days_to_next_due(view: View) -> Field:
    """Days to the end (UTC) of the day on which principal or a put is next due; below zero: that day is over and no
    outcome is known. A payment is not late on the day it is due."""
    return Field.of([_next_due(view, b) for b in range(view.n)])


def _next_due(view: View, b: int) -> Value:
    row, now = view.state.rows[b], view.state.at
    found = items(view.state, b, row)
    if not found:
        return Value.unknown("no instrument with a dated maturity, put or schedule is known")
    first = found[0]
    days = (seconds(first.on) - now.timestamp()) / 86400.0
    what = "put" if first.is_put else "principal"
    return Value.exact(days, detail=f"{what} of {first.debt.debt.id} on {first.on}")


@metric("borrower", "flag", "", needs=("events",))
def due_outcome(view: View) -> Field:
    """1: what last fell due was paid; 0: extended or exchanged; unknown while nobody said."""
    return Field.of([_outcome(view, b, row) for b, row in enumerate(view.state.rows)])


def _outcome(view: View, b: int, row: KnownBorrower) -> Value:
    now_s = view.state.at.timestamp()
    open_items = [item for item in items(view.state, b, row) if seconds(item.on) <= now_s]
    if open_items:
        first = open_items[0]
        return Value.unknown(f"no outcome known of {first.debt.debt.id}, due {first.on}")
    outcomes = [e for e in row.events if e.kind in ("due_outcome_paid", "due_outcome_extended")]
    if not outcomes:
        return Value.unknown("nothing has fallen due with a known outcome")
    last = max(outcomes, key=lambda event: event.happened)
    return Value.exact(float(last.kind == "due_outcome_paid"), seconds(last.happened), detail=last.note)


# ---------------------------------------------------------------- filings
def _event_age(view: View, kinds: tuple[str, ...]) -> Field:
    """Seconds since the newest such event became known; infinite when none is."""
    values = []
    for row in view.state.rows:
        dated = [(event.known_at, event) for event in row.events if event.kind in kinds and event.known_at is not None]
        if not dated:
            values.append(Value.exact(INF, detail="none on record"))
            continue
        known_at, event = max(dated, key=lambda pair: pair[0])
        age = view.state.at.timestamp() - known_at.timestamp()
        note = f"{event.kind.replace('_', ' ')} of {event.happened}"
        values.append(Value.exact(age, detail=f"{note}: {event.note}" if event.note else note))
    return Field.of(values)


@metric("borrower", "s", "min", needs=("events",))
def distress_filing_age(view: View) -> Field:
    """Seconds since a bankruptcy, acceleration, non-reliance, going-concern doubt, missed payment or surrender.

    Counted from when it became known; infinite when none is on record.
    """
    return _event_age(view, DISTRESS)


@metric("borrower", "s", "min", needs=("events",))
def distress_warning_age(view: View) -> Field:
    """Seconds since a softer sign was known: delisting notice, auditor or CFO change, late filing, waiver, deferral.

    Settlements, exchanges, impairments and changes of the useful life count too. Infinite when none is on record.
    """
    return _event_age(view, WARNING)


@metric("borrower", "s", "max", needs=("debt_usd", "cash_unrestricted_usd"))
def balance_sheet_age(view: View) -> Field:
    """Seconds since the date of the newest balance sheet: the newest as_of of total debt or unrestricted cash."""
    values = []
    for row in view.state.rows:
        facts = [row.facts[n] for n in ("debt_usd", "cash_unrestricted_usd") if n in row.facts]
        if not facts:
            values.append(Value.unknown("neither debt_usd nor cash_unrestricted_usd was ever reported"))
            continue
        newest = max(fact.as_of for fact in facts)
        values.append(Value.exact(max(0.0, view.state.at.timestamp() - seconds(newest)), detail=f"as of {newest}"))
    return Field.of(values)


@metric("borrower", "flag", "max")
def insufficient_data(view: View) -> Field:
    """1 where the book says so, or total debt or unrestricted cash is unknown; the note says what is missing."""
    values = []
    for b, row in enumerate(view.state.rows):
        gaps = [n for n, f in (("debt_usd", view.debt), ("cash_unrestricted_usd", view.cash)) if not f.known[b]]
        flag = row.borrower.status == "insufficient_data" or bool(gaps)
        gaps += row.borrower.missing
        values.append(Value.exact(float(flag), detail=f"missing: {', '.join(gaps)}" if gaps else ""))
    return Field.of(values)


# ---------------------------------------------------------------- tenants
def _largest(row: KnownBorrower) -> tuple[str, float] | None:
    tenants = row.borrower.tenants
    return max(tenants.items(), key=lambda pair: pair[1]) if tenants else None


NO_TENANT = "no customer's share of revenue was reported (tenants)"


@metric("borrower", "flag", "max")
def watched(view: View) -> Field:
    """1 where the book watches this borrower; 0 for one it only lists, and for one that defaulted or was closed."""
    return Field.of([Value.exact(float(row.borrower.status == "watched")) for row in view.state.rows])


@metric("borrower", "ratio", "max", needs=("tenants",))
def tenant_share(view: View) -> Field:
    """Share of revenue from the largest customer."""
    found = [_largest(row) for row in view.state.rows]
    return Field.of([Value.exact(t[1], detail=t[0]) if t else Value.unknown(NO_TENANT) for t in found])


@metric("borrower", "flag", "max", needs=("tenants",))
def tenant_critical(view: View) -> Field:
    """1 where the largest customer is a borrower of the book in trouble; unknown for a customer outside the book.

    In trouble: in default, a filing of distress within a year, or liquidity_locked_12m below 1 over its whole range.
    """
    return Field.of([_tenant_trouble(view, row) for row in view.state.rows])


def _tenant_trouble(view: View, row: KnownBorrower) -> Value:
    tenant = _largest(row)
    if tenant is None:
        return Value.unknown(NO_TENANT)
    if tenant[0] not in view.state.borrowers:
        return Value.unknown(f"{tenant[0]} is not a borrower of the book")
    i = view.state.borrowers.index(tenant[0])
    other = view.state.rows[i]
    if other.borrower.status == "defaulted" or _event_age(view, DISTRESS).values[0, i] <= TENANT_DISTRESS_S:
        return Value.exact(1.0, detail=f"{tenant[0]}: default or a filing of distress")
    locked = view.locked_12m
    if not locked.known[i]:
        return Value.unknown(*(f"{tenant[0]}: {reason}" for reason in locked.reasons[i]))
    short = bool(locked.values[:, i].max() < 1)
    return Value.exact(float(short), detail=f"{tenant[0]}: liquidity {locked.values[0, i]:.2f}x")


def _tenant_quote(view: View, *names: str) -> Field:
    values = []
    for row in view.state.rows:
        tenant = _largest(row)
        if tenant is None:
            values.append(Value.unknown(NO_TENANT))
            continue
        options = [quote_value(view.state.quotes.get((s, tenant[0])), f"{s} of {tenant[0]}") for s in names]
        values.append(next((option for option in options if option.known), options[0]).noting(detail=tenant[0]))
    return Field.of(values)


@metric("borrower", "bp", "max", needs=("tenants", "cds_5y_bp"))
def tenant_spread_bp(view: View) -> Field:
    """Credit spread of the largest customer: its five-year CDS, else its newest loan spread."""
    return _tenant_quote(view, "cds_5y_bp", "loan_spread_bp")


@metric("borrower", "flag", "max", needs=("tenants", "rating_cut"))
def tenant_rating_cut(view: View) -> Field:
    """1 while the newest mark 'rating_cut' of the largest customer says 1; a mark of 0 ends it."""
    book, values = view.state.book, []
    for row in view.state.rows:
        tenant = _largest(row)
        if tenant is None:
            values.append(Value.unknown(NO_TENANT))
            continue
        marks = [m for m in (book.marks if book else ()) if (m.series, m.subject) == ("rating_cut", tenant[0])]
        unmarked = Value.unknown(f"no mark 'rating_cut' of {tenant[0]}")
        values.append(Value.exact(marks[-1].value, seconds(marks[-1].as_of), (), tenant[0]) if marks else unmarked)
    return Field.of(values)
