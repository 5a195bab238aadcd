"""The book's text: what is read, what is refused, and that every mistake is said at once at its place."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from monitor.book import load_book, read_borrower
from monitor.known import as_known
from monitor.model import Book, InputError
from monitor.yamltext import Text

GOOD = """
name: Example Miner
kind: miner
facts:
  - as_of: 2026-03-31
    published: 2026-05-08
    quality: filing
    source: 10-Q
    values: {debt_usd: 24.86bn, btc_free: 100}
  - {as_of: 2026-06-30, published: 2026-08-12, quality: filing, source: 10-Q, values: {debt_usd: 35.551bn}}
  - {as_of: 2026-05-31, quality: press, source: a letter, values: {btc_free: 90}}
debts:
  - id: line
    name: BTC line
    kind: btc_loan
    coupon: 7%
    maturity: 2026-12-31
    facts:
      - {as_of: 2026-06-30, published: 2026-08-12, quality: filing, source: 10-Q, values: {principal_usd: 150m}}
facilities:
  - id: coins
    name: Pledged coins
    debts: [line]
    pool: coins
    contracts:
      - id: a-contract
        counterparty: acme
        monthly_revenue_usd: 2m
        as_of: 2026-06-30
        published: 2026-08-12
        quality: press
        source: a release
maturities:
  - as_of: 2026-06-30
    published: 2026-08-12
    quality: filing
    source: 10-Q
    principal_usd: {remaining_2026: 100m, 2027: 40m, thereafter: 10m, total: 150m}
"""


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        read_borrower(Text(text, "x.yaml"), "x")
    return str(caught.value)


def known(text: str, at: datetime) -> dict[str, object]:
    borrower = read_borrower(Text(text, "x.yaml"), "x")
    return {name: fact.value for name, fact in as_known(Book((borrower,)), at).borrowers[0].facts.items()}


def test_a_good_file_is_read_whole() -> None:
    """Debts, pools, contracts and maturity buckets arrive with their dates and units."""
    borrower = read_borrower(Text(GOOD, "x.yaml"), "x")
    assert borrower.debts[0].coupon == 0.07
    assert borrower.facilities[0].contracts[0].monthly_revenue_usd == 2e6
    assert [(m.bucket, m.starts, m.ends) for m in borrower.maturities] == [
        ("remaining_2026", date(2026, 6, 30), date(2026, 12, 31)),
        ("2027", date(2027, 1, 1), date(2027, 12, 31)),
        ("thereafter", date(2028, 1, 1), None),
    ]


def test_nothing_is_known_before_the_end_of_its_publication_day() -> None:
    """At noon of the filing day the old figure stands; from midnight the new one does."""
    assert known(GOOD, datetime(2026, 8, 12, 12, tzinfo=UTC))["debt_usd"] == 24.86e9
    assert known(GOOD, datetime(2026, 8, 13, tzinfo=UTC))["debt_usd"] == 35.551e9


def test_an_undated_figure_waits_for_the_next_dated_one() -> None:
    """The May letter has no publication date: it counts from the filing for June."""
    assert known(GOOD, datetime(2026, 8, 1, tzinfo=UTC))["btc_free"] == 100
    assert known(GOOD, datetime(2026, 8, 13, tzinfo=UTC))["btc_free"] == 90


def test_core_scientific_in_august_2022() -> None:
    """The July figures came out before the June ones: on 23 August the book shows 1,205 coins and 83m."""
    text = """
name: Core Scientific
kind: miner
facts:
  - {as_of: 2022-03-31, published: 2022-05-12, quality: press, source: release, values: {btc_total: 8497}}
  - as_of: 2022-07-31
    published: 2022-08-05
    quality: press
    source: monthly update
    values: {btc_total: 1205, cash_unrestricted_usd: 83m}
  - as_of: 2022-06-30
    published: 2022-08-22
    quality: filing
    source: 10-Q
    values: {btc_total: 1959, cash_unrestricted_usd: 128.542m}
"""
    now = known(text, datetime(2022, 8, 23, 23, 59, tzinfo=UTC))
    assert (now["btc_total"], now["cash_unrestricted_usd"]) == (1205, 83e6)
    assert known(text, datetime(2022, 8, 5, 12, tzinfo=UTC))["btc_total"] == 8497


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("debt_usd: 24.86bn", "debt_us: 24.86bn", "did you mean 'debt_usd'?"),
        ("debt_usd: 24.86bn", "debt_usd: -1", "debt_usd is negative"),
        ("debt_usd: 24.86bn", "contracted_share: 96", "contracted_share is more than all of it"),
        ("debts: [line]", "debts: [lime]", "no debt has the id 'lime'"),
        ("total: 150m", "total: 151m", "the buckets add to 150,000,000, the total says 151,000,000"),
        ("2027: 40m", "later: 40m", "'later' is not a maturity bucket"),
        ("kind: miner", "kind: minor", "'minor' is not one of"),
        ("published: 2026-05-08", "published: 2026-02-08", "nothing is published before it is true"),
        ("kind: miner", "kind: miner\nstatus: insufficient_data", "nothing is said to be missing"),
        ("kind: miner", "kind: miner\ntenants: {a: 70%, b: 40%}", "tenant shares add to more than 100%"),
        ("name: Example Miner", "name: NO\nname: Other", "is written twice"),
        (
            "kind: miner",
            "kind: miner\nevents: [{kind: fire, happened: 2026-01-01, source: x}]",
            "unknown kind of event",
        ),
        ("coupon: 7%", "coupon: yes", "is not a number"),
        ("maturity: 2026-12-31", "maturity: 12:30", "maturity"),
    ],
)
def test_each_mistake_is_said(old: str, new: str, said: str) -> None:
    """One mistake in a good file gives a sentence that names it."""
    assert old in GOOD
    assert said in refused(GOOD.replace(old, new, 1))


def test_all_mistakes_of_all_files_at_once(tmp_path: Path) -> None:
    """Two broken files and a contract in two pools are reported together, sorted into their files."""
    (tmp_path / "a.yaml").write_text(GOOD.replace("kind: miner", "kind: minor", 1))
    (tmp_path / "b.yaml").write_text("name: [\n")
    (tmp_path / "c.yaml").write_text(GOOD)
    (tmp_path / "d.yaml").write_text(GOOD)
    with pytest.raises(InputError) as caught:
        load_book(tmp_path)
    files = [Path(problem.file).name for problem in caught.value.problems]
    assert files == ["a.yaml", "b.yaml", "d.yaml"]
    assert "stands in two pools: c/coins and d/coins" in str(caught.value)


def test_an_empty_or_missing_folder_is_said(tmp_path: Path) -> None:
    """No folder and no borrower are sentences that name the next step."""
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="canary init"):
            load_book(folder)


def test_the_hash_follows_the_text(tmp_path: Path) -> None:
    """An edit of a borrower changes the book's hash and not the assumptions' hash."""
    (tmp_path / "a.yaml").write_text(GOOD)
    first = load_book(tmp_path)
    (tmp_path / "a.yaml").write_text(GOOD + "note: edited\n")
    second = load_book(tmp_path)
    assert first.book_hash != second.book_hash
    assert first.assumptions_hash == second.assumptions_hash
