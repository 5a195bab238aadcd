"""What a message says has to be met next, on the starter book as it was known on a day."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from monitor.book import load_book
from monitor.briefing import next_due
from monitor.context import Deadline
from monitor.known import KnownBorrower, as_known
from monitor.model import Book, CreditEvent

BOOK = Path(__file__).parents[1] / "book"


@pytest.fixture(scope="module")
def book() -> Book:
    """The starter book."""
    return load_book(BOOK)


def named(book: Book, name: str, at: datetime) -> KnownBorrower:
    """One borrower as it was known."""
    return next(b for b in as_known(book, at).borrowers if b.id == name)


def next_of(book: Book, name: str, at: datetime, facility: str = "") -> Deadline:
    """The deadline of a borrower, or of one of its facilities."""
    borrower = named(book, name, at)
    pools = [f.facility for f in borrower.facilities if f.facility.id == facility]
    debts = [d for d in borrower.debts if not facility or d.debt.id in pools[0].debts]
    found = next_due(debts, borrower, at, whole=not facility)
    assert found is not None
    return found


def test_a_maturity_that_passed_without_a_known_outcome_comes_first(book):
    """Notes due 2026-10-31 are what matters on 2026-11-24, not those of 2030; nothing says whether they were paid."""
    found = next_of(book, "greenidge", datetime(2026, 11, 24, tzinfo=UTC))
    assert (found.what, found.amount_usd) == ("8.50% senior notes due 2026: maturity", 38.4e6)
    assert found.at == datetime(2026, 10, 31, 23, 59, tzinfo=UTC)
    assert found.reason == "nothing says whether it was paid"


def test_a_maturity_with_an_outcome_is_not_told_again(book):
    """Once an event says that it was paid, the next obligation is told."""
    at = datetime(2026, 11, 24, tzinfo=UTC)
    borrower = named(book, "greenidge", at)
    paid = CreditEvent("due_outcome_paid", date(2026, 10, 31), at, "Form 8-K")
    told = replace(borrower, borrower=replace(borrower.borrower, events=(*borrower.events, paid)), events=(paid,))
    found = next_due(told.debts, told, at, whole=True)
    assert found is not None
    assert found.what == "10.00% senior notes due 2030: maturity"


def test_a_repaid_loan_is_not_what_comes_next(book):
    """The bridge due in April 2027 was repaid in June 2026: nothing is owed on it."""
    found = next_of(book, "applied-digital", datetime(2026, 9, 22, tzinfo=UTC))
    assert "Bridge" not in found.what
    assert found.amount_usd


def test_a_filed_bucket_that_ends_before_the_first_maturity_is_told(book):
    """4.4bn fall due in what is left of 2026; the first maturity of an instrument is in 2028."""
    at = datetime(2026, 9, 22, tzinfo=UTC)
    whole = next_of(book, "coreweave", at)
    assert (whole.what, whole.amount_usd) == ("principal of the bucket remaining 2026 is due", 4.413e9)
    assert whole.reason == "the filing gives no day; what was paid after 2026-06-30 is not taken off"
    pool = next_of(book, "coreweave", at, "gpu-vehicles")
    assert (pool.what, pool.amount_usd) == ("DDTL 1.0: maturity", 1.3e9)
