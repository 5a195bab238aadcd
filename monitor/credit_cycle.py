"""The credit cycle of the sector: what was borrowed anew, by kind of paper, from the instruments of the book. Pure.

An instrument counts with the largest amount it was ever known with (its commitment, or what was drawn of it), on the
day it was issued, from the day anything of it was published. What was repaid before the book began is not in it, so the
growth of issuance is too high the further back one looks; instruments without a day of issue are counted and named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from monitor.known import KnownBook, as_number
from monitor.model import DebtKind, Mark, Quote
from monitor.stress.assumptions import seconds
from monitor.stress.field import Value

YEAR = timedelta(days=365)
#: kinds of paper -> the kinds of instrument in the book
PAPER: Mapping[str, tuple[DebtKind, ...]] = {
    "loans": ("ddtl", "abl", "equipment", "term_loan", "revolver", "oem", "project", "lease", "btc_loan"),
    "high_yield": ("high_yield",),
    "convertible": ("convertible",),
}
SIZES = ("commitment_usd", "principal_usd")


@dataclass(frozen=True, slots=True)
class Issue:
    """One instrument when it was new."""

    borrower: str
    debt: str
    paper: str
    on: date
    size_usd: float


def issues(book: KnownBook) -> tuple[list[Issue], list[str]]:
    """(instruments with a day of issue and a size, by day; ``borrower/debt`` of those that lack one)."""
    found: list[Issue] = []
    undated: list[str] = []
    for borrower in book.borrowers:
        for known in borrower.debts:
            paper = next(name for name, kinds in PAPER.items() if known.debt.kind in kinds)
            facts = [f for f in known.debt.facts if f.known_at and f.known_at <= book.at and f.field in SIZES]
            size = max((number for fact in facts if (number := as_number(fact)) is not None), default=0.0)
            on = known.debt.issued
            if on is None or size <= 0:
                undated.append(f"{borrower.id}/{known.debt.id}")
            elif on <= book.at.date():
                found.append(Issue(borrower.id, known.debt.id, paper, on, size))
    return sorted(found, key=lambda issue: (issue.on, issue.borrower, issue.debt)), undated


def issued(found: Iterable[Issue], after: date, until: date, paper: str = "") -> list[Issue]:
    """Those issued after one day and up to another, of one kind of paper or of all.

    >>> rows = [Issue("a", "x", "loans", date(2026, 5, 1), 2e9), Issue("a", "y", "convertible", date(2025, 5, 1), 1e9)]
    >>> [i.debt for i in issued(rows, date(2025, 6, 1), date(2026, 6, 1))]
    ['x']
    """
    return [issue for issue in found if after < issue.on <= until and paper in ("", issue.paper)]


def issuance_12m(book: KnownBook, paper: str = "") -> Value:
    """USD issued within the last year; unknown where the book dates no instrument of the kind at all."""
    found, undated = issues(book)
    if not issued(found, date.min, date.max, paper):
        return Value.unknown(f"no instrument of the book{f' ({paper})' if paper else ''} has a day of issue")
    today = book.at.date()
    rows = issued(found, today - YEAR, today, paper)
    by_size = sorted(rows, key=lambda issue: -issue.size_usd)
    detail = ", ".join(f"{i.borrower}/{i.debt} {i.size_usd / 1e9:.2f}bn" for i in by_size[:3])
    used = (f"without {len(undated)} instruments that have no day of issue",) if undated else ()
    as_of = max((seconds(issue.on) for issue in rows), default=seconds(today))
    said = f"{len(rows)} issues, largest {detail}" if rows else "no issue"
    return Value.exact(sum(issue.size_usd for issue in rows), as_of, used, said)


def issuance_growth(book: KnownBook) -> Value:
    """Issuance of the last year over that of the year before, less one; unknown before two years are on record."""
    found, _ = issues(book)
    today = book.at.date()
    now, before = (sum(i.size_usd for i in issued(found, today - (k + 1) * YEAR, today - k * YEAR)) for k in (0, 1))
    if before <= 0:
        return Value.unknown("no instrument of the book was issued between two years and one year ago")
    used = ("instruments repaid before the book began are not in it, so the year before is too low",)
    return Value.exact(now / before - 1, seconds(today), used, f"{now / 1e9:.2f}bn after {before / 1e9:.2f}bn")


def equal_rating_loans(marks: Sequence[Mark]) -> list[Mark]:
    """Margins of new loans in order of time, of the borrower with at least two of one rating whose last is newest.

    Ratings are not recorded apart: the book holds the loans of one rating only of each borrower.
    """
    loans = [mark for mark in marks if mark.series == "loan_spread_bp"]
    by_borrower = [[m for m in loans if m.subject == who] for who in sorted({m.subject for m in loans})]
    return max((rows for rows in by_borrower if len(rows) >= 2), key=lambda rows: rows[-1].as_of, default=[])


def net_debt_to_market_value(
    book: KnownBook, quotes: Mapping[tuple[str, str], Quote], net_debt_usd: Mapping[str, float]
) -> tuple[float, tuple[str, ...]]:
    """(net debt over market value of those borrowers that have both, who they are); NaN and nobody when none has.

    Market value is the count of shares of the book times the price in force.
    """
    values: dict[str, float] = {}
    for borrower in book.borrowers:
        shares = borrower.facts.get("shares_outstanding")
        count = as_number(shares) if shares is not None else None
        quote = quotes.get(("share_price_usd", borrower.id))
        if count and quote is not None and quote.known and borrower.id in net_debt_usd:
            values[borrower.id] = count * quote.value
    if not values:
        return math.nan, ()
    return sum(net_debt_usd[who] for who in values) / sum(values.values()), tuple(sorted(values))
