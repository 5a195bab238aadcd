"""The borrowers of 2021 to 2023: figures as collected, known when they were published, outcomes as they happened."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from monitor.book import load_book
from monitor.known import KnownBorrower, all_facts, as_known
from monitor.metrics import compute
from monitor.model import Book, Borrower, Fact, Numbers, end_of_day
from monitor.scoring import outcome_of

ROOT = Path(__file__).parents[1]
FACTS = ROOT.parent / "shared" / "facts"
needs_facts = pytest.mark.skipif(not FACTS.exists(), reason="the collected facts are not beside this checkout")
IDS = {
    "Bitdeer": "bitdeer",
    "Cathedra Bitcoin": "cathedra",
    "Compute North": "compute-north",
    "Core Scientific": "core-scientific",
    "Digihost": "digihost",
    "Greenidge": "greenidge",
    "Iris Energy": "iris-energy",
    "Marathon Digital": "marathon",
    "Rhodium": "rhodium",
    "Riot Blockchain": "riot",
    "TeraWulf": "terawulf",
}
#: column of the collected table -> figure of the book
COLUMNS = {
    "cash_usd": "cash_unrestricted_usd",
    "btc_held": "btc_total",
    "total_debt_usd": "debt_usd",
    "due_12m_usd": "debt_current_usd",
    "interest_expense_q_usd": "interest_quarter_usd",
    "equipment_book_usd": "equipment_net_usd",
    "hashrate_eh": "hashrate_eh",
    "revenue_q_usd": "revenue_quarter_usd",
    "ebitda_q_usd": "ebitda_adjusted_quarter_usd",
}


@pytest.fixture(scope="module")
def book() -> Book:
    return load_book(ROOT / "book" / "history")


def known(book: Book, borrower_id: str, day: date) -> KnownBorrower:
    return next(b for b in as_known(book, end_of_day(day)).borrowers if b.id == borrower_id)


def numbers(book: Book, day: date) -> Numbers:
    """What the metrics make of the book on a day, without prices, under today's assumptions."""
    today = load_book(ROOT / "book").assumptions
    whole = Book(book.borrowers, assumptions=(*today, *book.assumptions))
    return compute(as_known(whole, end_of_day(day)), {})


def value(of: Numbers, metric: str, subject: str) -> float:
    column = of.columns[metric]
    return float(column.values[of.subjects[column.level].index(subject)])


def rows(name: str) -> Iterator[dict[str, str]]:
    with (FACTS / name).open(encoding="utf-8") as lines:
        yield from csv.DictReader(lines)


@needs_facts
def test_every_issuer_collected_is_in_the_book(book: Book):
    """Nobody is left out, not even those of whom hardly anything is known."""
    named = {row["issuer"] for name in ("history_issuers.csv", "history_events.csv") for row in rows(name)}
    assert {IDS[name] for name in named} == {b.id for b in book.borrowers}


@needs_facts
def test_no_figure_differs_from_what_was_collected(book: Book):
    """Each borrower figure of the book that the table holds is the table's, to its last digit."""
    table: dict[tuple[str, str, date], set[float]] = {}
    for row in rows("history_issuers.csv"):
        for column, field in COLUMNS.items():
            if row[column]:
                key = (IDS[row["issuer"]], field, date.fromisoformat(row["period_end"]))
                table.setdefault(key, set()).add(float(row[column]))
    found = {(b.id, f.field, f.as_of): float(f.value) for b in book.borrowers for f in b.facts}
    both = set(found) & set(table)
    assert len(both) > 60
    assert {key for key in both if all(abs(found[key] - v) > 1e-6 * max(v, 1) for v in table[key])} == set()


@needs_facts
def test_nothing_is_known_before_it_was_collected_as_published(book: Book):
    """No borrower figure is used before the earliest publication of its period, but for a release that is named."""
    early = {}
    for row in rows("history_issuers.csv"):
        if row["published_on"]:
            key = (IDS[row["issuer"]], date.fromisoformat(row["period_end"]))
            early[key] = min(early.get(key, date.max), date.fromisoformat(row["published_on"]))
    wrong = [
        (b.id, f.field, f.as_of)
        for b in book.borrowers
        for f in b.facts
        if f.known_at and (b.id, f.as_of) in early and f.known_at < end_of_day(early[b.id, f.as_of])
    ]
    # The company's own release of 11 August 2022 gave these three before the quarterly report gave the rest.
    release = {
        ("core-scientific", f, date(2022, 6, 30)) for f in ("btc_total", "hashrate_eh", "ebitda_adjusted_quarter_usd")
    }
    assert set(wrong) <= release


def test_the_newest_period_wins_over_the_newest_document(book: Book):
    """On 23 August 2022 Core Scientific's coins and cash are those of July, though June's were published later."""
    row = known(book, "core-scientific", date(2022, 8, 23))
    assert (row.number("btc_total"), row.number("cash_unrestricted_usd")) == (1205, 83e6)
    assert row.number("debt_usd") == pytest.approx(1069.997e6)
    assert known(book, "core-scientific", date(2022, 8, 4)).number("btc_total") == 8497


def test_what_the_vehicles_of_iris_owe_is_looked_through(book: Book):
    """While the parent said it had no corporate debt, the loan of its vehicle counts as its debt."""
    assert known(book, "iris-energy", date(2022, 9, 30)).number("debt_usd") is None
    september = numbers(book, date(2022, 9, 30))
    assert value(september, "debt_usd", "iris-energy") == 71e6
    assert value(numbers(book, date(2022, 11, 2)), "debt_usd", "iris-energy") == 103e6
    assert value(numbers(book, date(2022, 11, 8)), "debt_usd", "iris-energy") == 104e6
    assert value(numbers(book, date(2023, 1, 12)), "debt_usd", "iris-energy") == 0


def test_the_loan_to_value_of_the_vehicles_follows_the_price_of_machines(book: Book):
    """About 44 % in April, 165 % in July, 149 to 160 % at the default; the cash cover is known only in November."""
    dates = (date(2022, 4, 30), date(2022, 7, 16), date(2022, 11, 2))
    found = [numbers(book, day) for day in dates]
    ltv = [value(n, "spv_ltv_economic", "iris-energy/vehicles") for n in found]
    assert ltv == [pytest.approx(0.444, abs=0.001), pytest.approx(1.651, abs=0.001), pytest.approx(1.526, abs=0.001)]
    covers = [value(n, "spv_dscr", "iris-energy/vehicles") for n in found]
    assert [c == c for c in covers] == [False, False, True]
    assert covers[-1] == pytest.approx(0.2857, abs=0.0001)


def test_loans_add_to_the_debt_they_are_part_of(book: Book):
    """Greenidge's instruments of March 2022 add to its debt; Core Scientific's two groups are within its."""
    row = known(book, "greenidge", date(2022, 6, 1))
    assert sum(d.number("principal_usd") or 0 for d in row.debts) == pytest.approx(169.97e6, rel=1e-3)
    assert row.number("debt_usd") == pytest.approx(169.92e6)
    core = known(book, "core-scientific", date(2023, 4, 30))
    assert sum(d.number("principal_usd") or 0 for d in core.debts) == pytest.approx(771.793e6)
    assert (core.number("debt_usd") or 0) > 771.793e6


def test_pledged_and_free_coins_add_to_all_coins(book: Book):
    """Marathon's coins of September and November 2022 split without a rest."""
    for day, total in ((date(2022, 9, 30), 10670), (date(2022, 11, 9), 11440)):
        parts = {f.field: f.value for f in book.borrower("marathon").facts if f.as_of == day and "btc" in f.field}
        assert parts["btc_free"] + parts["btc_pledged"] == parts["btc_total"] == total


def test_outcomes_are_those_that_happened(book: Book):
    """The first hard event of each borrower, the softer signs before it, and who cannot be judged."""
    found = {b.id: outcome_of(b, date(2021, 10, 31), date(2023, 6, 30), 1.0) for b in book.borrowers}
    failed = {name: o.day for name, o in found.items() if o.label == "failure"}
    assert failed == {
        "core-scientific": date(2022, 10, 27),
        "greenidge": date(2022, 12, 20),
        "iris-energy": date(2022, 11, 4),
    }
    assert found["core-scientific"].signs[0] == (date(2022, 8, 11), "deferral")
    assert found["greenidge"].signs == ((date(2022, 11, 14), "going_concern"),)
    assert (found["terawulf"].label, found["terawulf"].day) == ("borderline", date(2023, 3, 1))
    unknown = {name for name, o in found.items() if o.label == "insufficient data"}
    assert unknown == {"compute-north", "cathedra", "rhodium"}


def test_grades_and_dates_are_honest(book: Book):
    """A figure worked out says from what; none is assumed; an undated one waits for the next dated one."""
    facts = [(b, f) for b in book.borrowers for f in all_facts(b)]
    assert all(f.source for _, f in facts)
    assert not [f for _, f in facts if f.quality == "assumed"]
    derived = [f for _, f in facts if f.quality == "derived"]
    assert derived
    assert all(any(c.isdigit() for c in f.source) for f in derived)
    assert all(_waits(b, f) for b, f in facts if f.published is None)


def _waits(borrower: Borrower, fact: Fact) -> bool:
    dated = [f.published for f in all_facts(borrower) if f.published and f.as_of > fact.as_of]
    return fact.known_at == (end_of_day(min(dated)) if dated else None)


def test_no_event_is_known_before_it_happened(book: Book):
    """Every event became known on its day or later; Compute North's trouble of July only in autumn."""
    for b in book.borrowers:
        assert all(e.known_at is None or e.known_at >= end_of_day(e.happened) for e in b.events)
    summer = as_known(book, datetime(2022, 9, 1, tzinfo=UTC))
    assert next(b for b in summer.borrowers if b.id == "compute-north").events == ()
    assert as_known(book, datetime(2021, 10, 1, tzinfo=UTC) - timedelta(days=1)).borrowers[0].facts == {}
