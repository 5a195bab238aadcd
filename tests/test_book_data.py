"""The starter book's figures: what adds up, what was known when, and what is left unknown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from monitor.book import load_book
from monitor.known import KnownBook, KnownBorrower, as_known, as_number
from monitor.model import Book, Borrower, CostVintage, Facility, Fact, end_of_day

FOLDER = Path(__file__).parents[1] / "book"
JUNE = date(2026, 6, 30)
AUGUST = datetime(2026, 8, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def book() -> Book:
    return load_book(FOLDER)


@pytest.fixture(scope="module")
def august(book: Book) -> KnownBook:
    return as_known(book, AUGUST)


def known(of: KnownBook, borrower_id: str) -> KnownBorrower:
    return next(b for b in of.borrowers if b.id == borrower_id)


def held_in(facility: Facility) -> Iterator[Fact]:
    """What dates the machines and contracts of a pool."""
    yield from (unit.fact for unit in facility.units)
    yield from (vintage.fact for vintage in facility.cost_vintages)
    yield from (contract.fact for contract in facility.contracts)


def facts_of(borrower: Borrower) -> Iterator[Fact]:
    """Every fact of a borrower, wherever it stands."""
    yield from borrower.facts
    for debt in borrower.debts:
        yield from debt.facts
    for facility in borrower.facilities:
        yield from facility.facts
        yield from held_in(facility)
    yield from (maturity.fact for maturity in borrower.maturities)


def visible(borrower: KnownBorrower) -> Iterator[Fact]:
    """Every fact that can be seen through a borrower as known."""
    yield from (fact for past in borrower.past.values() for fact in past)
    for debt in borrower.debts:
        yield from debt.facts.values()
    for pool in borrower.facilities:
        yield from pool.facts.values()
        yield from held_in(pool.facility)
    yield from (maturity.fact for maturity in borrower.maturities)


def principal_at(borrower: Borrower, day: date) -> float:
    """Sum of all principal written for one balance date."""
    facts = [fact for debt in borrower.debts for fact in debt.facts]
    return sum(as_number(f) or 0.0 for f in facts if f.field == "principal_usd" and f.as_of == day)


# ---------------------------------------------------------------- what adds up
@pytest.mark.parametrize(("day", "total"), [(JUNE, 35_551e6), (date(2025, 6, 30), 11_171.485e6)])
def test_coreweave_instruments_and_maturities_add_to_the_debt_total(book: Book, day: date, total: float) -> None:
    """The instruments of a balance date, its schedule of maturities and its debt total are one number."""
    coreweave = book.borrower("coreweave")
    buckets = sum(m.principal_usd for m in coreweave.maturities if m.fact.as_of == day)
    reported = [f.value for f in coreweave.facts if f.field == "debt_usd" and f.as_of == day]
    assert principal_at(coreweave, day) == pytest.approx(total, abs=1)
    assert buckets == pytest.approx(total, abs=1)
    assert reported == [pytest.approx(total, abs=1)]


def test_coreweave_instruments_in_force_add_to_the_total_known(august: KnownBook) -> None:
    """What is carried forward from older dates must not be counted beside what replaced it."""
    coreweave = known(august, "coreweave")
    assert sum(debt.number("principal_usd") or 0.0 for debt in coreweave.debts) == pytest.approx(35_551e6, abs=1)


def test_coreweave_vehicle_loans_stand_at_three_quarters_of_their_assets(august: KnownBook) -> None:
    """Project loans of 13.643bn on 18.2bn of vehicle assets: 0.75."""
    coreweave = known(august, "coreweave")
    pool = next(f for f in coreweave.facilities if f.facility.id == "gpu-vehicles")
    drawn = sum(d.number("principal_usd") or 0.0 for d in coreweave.debts if d.debt.id in pool.facility.debts)
    assets = pool.number("assets_net_usd")
    assert assets == 18.2e9
    assert drawn == pytest.approx(13_643e6, abs=1)
    assert drawn / assets == pytest.approx(0.75, abs=0.001)


def test_no_cap_is_written_for_the_sum_of_the_vehicles(august: KnownBook) -> None:
    """What one loan lends at funding is no test of seven: measured against it the sum would read as in breach."""
    vehicles = next(f for f in known(august, "coreweave").facilities if f.facility.id == "gpu-vehicles").facility
    assert vehicles.advance_rate is None
    assert vehicles.covenants.ltv_max is None


def test_notes_retired_above_par_are_no_sign_of_distress(book: Book) -> None:
    """An exchange is at less than was owed; notes far in the money that become shares are a repurchase."""
    nebius = next(b for b in book.borrowers if b.id == "nebius")
    assert not [event for event in nebius.events if event.kind == "exchange"]


def test_coreweave_vintages_split_the_group_without_loss(book: Book, august: KnownBook) -> None:
    """Vehicles and the rest together are the group's additions, and the vehicles depreciate to their filed assets."""
    pools = {f.facility.id: f.facility for f in known(august, "coreweave").facilities}
    july = {
        f.facility.id: f.facility
        for f in known(as_known(book, datetime(2026, 7, 1, tzinfo=UTC)), "coreweave").facilities
    }
    both: dict[date, float] = {}
    for vintage in (*pools["gpu-vehicles"].cost_vintages, *pools["fleet"].cost_vintages):
        both[vintage.bought] = both.get(vintage.bought, 0.0) + vintage.cost_usd
    before = {v.bought: v.cost_usd for v in july["fleet"].cost_vintages}
    assert july["gpu-vehicles"].cost_vintages == ()
    assert {day: both[day] for day in before} == {day: pytest.approx(cost, rel=1e-4) for day, cost in before.items()}
    assert sum(_net(v) for v in pools["gpu-vehicles"].cost_vintages) == pytest.approx(18.2e9, rel=1e-3)


def _net(vintage: CostVintage) -> float:
    months = (JUNE - vintage.bought).days / 30.4375
    return vintage.cost_usd * (1 - months / 72)


def test_coins_stand_in_four_columns_that_add_up(august: KnownBook, book: Book) -> None:
    """Coins of June 2026 by column, as filed, and their totals."""
    mara = known(august, "mara")
    assert [mara.number(f"btc_{c}") for c in ("free", "lent", "pledged", "total")] == [26_307, 4_742, 4_528, 35_577]
    riot = known(as_known(book, datetime(2026, 9, 2, tzinfo=UTC)), "riot")
    assert [riot.number(f"btc_{c}") for c in ("free", "restricted", "total")] == [5_559, 5_821, 11_380]
    cleanspark = known(august, "cleanspark")
    assert [cleanspark.number(f"btc_{c}") for c in ("free", "pledged", "total")] == [12_205, 1_719, 13_924]


def test_debts_of_the_others_do_not_exceed_what_they_report(book: Book) -> None:
    """Instruments in force on 2026-08-31 stay within the reported total where that is principal of the same time."""
    now = as_known(book, datetime(2026, 9, 1, tzinfo=UTC))
    for name, total in (("mara", 2.4e9), ("riot", 853.7e6), ("cleanspark", 1_811.559e6), ("iren", 7_705.6e6)):
        borrower = known(now, name)
        assert borrower.number("debt_usd") == pytest.approx(total)
        drawn = sum(debt.number("principal_usd") or 0.0 for debt in borrower.debts)
        assert 0.8 * total < drawn <= total * 1.0001, name


def test_applied_digital_bridge_ends_when_the_notes_come(book: Book) -> None:
    """The bridge of 31 May is gone from mid June, although its balance was filed only in July."""
    applied = book.borrower("applied-digital")
    assert principal_at(applied, date(2026, 5, 31)) == pytest.approx(5_306.68e6, abs=1)
    after = {d.debt.id: d.number("principal_usd") for d in known(as_known(book, AUGUST), "applied-digital").debts}
    assert after["bridge"] == 0
    assert after["building-4-notes"] == 1.59e9


def test_nebius_owes_more_at_maturity_than_it_borrowed(book: Book) -> None:
    """Accreted amounts of June 2026 add to 10,042m, principal to 8.7bn."""
    early_august = known(as_known(book, datetime(2026, 8, 14, tzinfo=UTC)), "nebius")
    notes = [d for d in early_august.debts if d.debt.kind == "convertible"]
    assert sum(d.number("accreted_usd") or 0.0 for d in notes) == pytest.approx(10_042e6)
    assert sum(d.number("principal_usd") or 0.0 for d in notes) == pytest.approx(8.7e9)


# ---------------------------------------------------------------- what was known when
def test_no_fact_is_seen_before_it_was_published(book: Book) -> None:
    """At the end of the day before a publication nothing of it can be seen, for every publication in the book."""
    days = {f.published for b in book.borrowers for f in facts_of(b) if f.published}
    assert len(days) > 50
    for day in sorted(days):
        eve = as_known(book, end_of_day(day - timedelta(days=1)))
        for borrower in eve.borrowers:
            late = [f for f in visible(borrower) if (f.published or f.as_of) >= day or f.as_of >= day]
            assert not late, f"{borrower.id} on the eve of {day}: {late[0]}"


def test_every_dated_fact_is_known_at_the_end_of_its_day(book: Book) -> None:
    """A publication date gives the moment; an undated fact waits for the next dated one or is never used."""
    for borrower in book.borrowers:
        for fact in facts_of(borrower):
            if fact.published is not None:
                assert fact.known_at == end_of_day(fact.published)
            elif fact.known_at is not None:
                assert fact.known_at > end_of_day(fact.as_of)


@pytest.mark.parametrize(
    ("at", "debt"),
    [
        (datetime(2026, 7, 1, tzinfo=UTC), 24.86e9),
        (datetime(2026, 8, 12, 12, tzinfo=UTC), 24.86e9),
        (datetime(2026, 8, 13, tzinfo=UTC), 35.551e9),
        (AUGUST, 35.551e9),
    ],
)
def test_coreweave_debt_jumps_with_the_filing_and_not_with_the_quarter(book: Book, at: datetime, debt: float) -> None:
    """The debt of June 2026 is known from the end of 2026-08-12."""
    assert known(as_known(book, at), "coreweave").number("debt_usd") == debt


def test_events_and_marks_wait_for_their_publication(book: Book) -> None:
    """The wider margin of August 2026 is not there in July; Greenidge's first price appears on 2025-06-18."""
    july = as_known(book, datetime(2026, 8, 10, 12, tzinfo=UTC))
    assert max(m.value for m in july.marks if m.series == "loan_spread_bp" and m.subject == "coreweave") == 450
    assert all(e.kind != "reprice" for e in known(july, "coreweave").events)
    assert any(e.kind == "reprice" for e in known(as_known(book, AUGUST), "coreweave").events)
    for at, seen in ((datetime(2025, 6, 17, 23, tzinfo=UTC), 0), (datetime(2025, 6, 18, tzinfo=UTC), 1)):
        assert sum(m.subject == "greenidge" for m in as_known(book, at).marks) == seen


CORE_SCIENTIFIC_2022 = """
name: Core Scientific
kind: miner
facts:
  - as_of: 2022-06-30
    published: 2022-08-22
    quality: filing
    source: Form 10-Q for the quarter ended 2022-06-30
    values: {cash_unrestricted_usd: 128.542m, btc_total: 1959}
  - as_of: 2022-07-31
    published: 2022-08-05
    quality: filing
    source: Monthly update for July 2022
    values: {cash_unrestricted_usd: 83m, btc_total: 1205}
  - as_of: 2022-09-30
    published: 2022-10-27
    quality: filing
    source: Form 8-K of 2022-10-26
    values: {cash_unrestricted_usd: 29.5m, btc_total: 1051}
  - as_of: 2022-10-26
    published: 2022-10-27
    quality: filing
    source: Form 8-K of 2022-10-26
    values: {cash_unrestricted_usd: 26.6m, btc_total: 24}
"""


def test_a_later_filing_of_an_earlier_date_does_not_win(tmp_path: Path) -> None:
    """On 2022-08-23 Core Scientific shows July's 1,205 coins and 83m, although June's came out the day before."""
    (tmp_path / "core-scientific.yaml").write_text(CORE_SCIENTIFIC_2022)
    small = load_book(tmp_path)
    shown = [
        [known(as_known(small, at), "core-scientific").number(f) for f in ("btc_total", "cash_unrestricted_usd")]
        for at in (
            datetime(2022, 8, 5, 12, tzinfo=UTC),
            datetime(2022, 8, 23, tzinfo=UTC),
            datetime(2022, 10, 28, tzinfo=UTC),
        )
    ]
    assert shown == [[None, None], [1205, 83e6], [24, 26.6e6]]


# ---------------------------------------------------------------- traps of the sources
def test_iren_cash_is_unrestricted_and_restricted_on_top(book: Book) -> None:
    """5,895.591m unrestricted plus 1,723.936m restricted; the escrow is a part of the latter and stands in its pool."""
    iren = known(as_known(book, datetime(2026, 8, 29, tzinfo=UTC)), "iren")
    assert iren.number("cash_unrestricted_usd") == pytest.approx(5_895.591e6)
    assert iren.number("cash_restricted_usd") == pytest.approx(1_723.936e6)
    assert iren.number("cash_escrow_usd") is None
    assert next(f for f in iren.facilities if f.facility.id == "microsoft").number("escrow_usd") == 1.67e9


def test_applied_digital_quarters_are_not_mixed(book: Book) -> None:
    """Each quarter has its own revenue: 64.2, 126.6, 161.8 and 258.8 million."""
    applied = book.borrower("applied-digital")
    revenue = {f.as_of.isoformat(): f.value for f in applied.facts if f.field == "revenue_quarter_usd"}
    assert revenue == {
        "2025-08-31": pytest.approx(64.216e6),
        "2025-11-30": pytest.approx(126.589e6),
        "2026-02-28": pytest.approx(161.757e6),
        "2026-05-31": pytest.approx(258.75e6),
    }


def test_a_commitment_is_not_a_drawing(book: Book) -> None:
    """Loans agreed after the balance date count as undrawn until a filing says otherwise."""
    now = as_known(book, datetime(2026, 10, 10, tzinfo=UTC))
    for name, debt_id, undrawn in (("coreweave", "ddtl-5-5", 2.6e9), ("iren", "mackenzie-facility", 2.4e9)):
        debt = next(d for d in known(now, name).debts if d.debt.id == debt_id)
        assert (debt.number("principal_usd"), debt.number("undrawn_usd")) == (0, undrawn)


def test_greenidge_has_no_outcome_of_its_maturity(book: Book) -> None:
    """Nobody knows what became of the notes due 2026-10-31, so no outcome may be written."""
    greenidge = book.borrower("greenidge")
    assert any(d.maturity == date(2026, 10, 31) for d in greenidge.debts)
    assert not [e for e in greenidge.events if e.kind.startswith("due_outcome")]
    assert max(e.happened for e in greenidge.events) < date(2026, 10, 31)


def test_mara_puts_are_due_before_the_notes(book: Book) -> None:
    """291.6m may be returned in June 2027, four years before the notes fall due."""
    notes = next(d for d in book.borrower("mara").debts if d.id == "convertible-0-2031")
    assert notes.puts[0].on == date(2027, 6, 4)
    assert notes.maturity == date(2031, 6, 1)
    assert {f.value for f in notes.facts if f.field == "principal_usd" and f.as_of == JUNE} == {291.6e6}


# ---------------------------------------------------------------- form
def test_no_contract_secures_two_pools(book: Book) -> None:
    """A contract id stands in one pool of one borrower."""
    pools = {(c.id, f"{b.id}/{f.id}") for b in book.borrowers for f in b.facilities for c in f.contracts}
    assert max(Counter(contract for contract, _ in pools).values()) == 1


def test_every_pool_names_debts_that_exist(book: Book) -> None:
    """A facility's debts are debts of its borrower, each in one pool at most."""
    for borrower in book.borrowers:
        pooled = [debt for facility in borrower.facilities for debt in facility.debts]
        assert set(pooled) <= {debt.id for debt in borrower.debts}
        assert len(pooled) == len(set(pooled))


def test_stubs_say_what_is_missing(book: Book) -> None:
    """Nine borrowers are watched; every other says in words what is not known."""
    watched = {b.id for b in book.borrowers if b.status == "watched"}
    assert watched == {
        *("coreweave", "iren", "applied-digital", "nebius", "mara", "riot", "cleanspark", "terawulf", "greenidge"),
    }
    for borrower in book.borrowers:
        if borrower.status == "insufficient_data":
            assert borrower.missing, borrower.id
            assert all(len(words.strip()) >= 4 for words in borrower.missing), borrower.id


def test_computed_figures_say_how(book: Book) -> None:
    """A derived or assumed figure carries a note; a source names a document and never an address."""
    for borrower in book.borrowers:
        for fact in facts_of(borrower):
            where = f"{borrower.id} {fact.field} {fact.as_of}"
            assert len(fact.source) > 5, where
            assert fact.note or fact.quality in ("filing", "press"), where
            assert not re.search(r"https?:|www\.|github|public file", fact.source + fact.note), where
    for mark in book.marks:
        assert mark.known_at is not None, f"{mark.series} {mark.subject} {mark.as_of}"
        assert mark.quality in ("press", "filing")


def test_marks_point_at_borrowers_of_the_book(book: Book) -> None:
    """A mark of a borrower names one that exists; machines are marked for the market."""
    ids = {borrower.id for borrower in book.borrowers}
    for mark in book.marks:
        assert mark.subject in ids if not mark.series.startswith("resale_") else mark.subject == "market"
