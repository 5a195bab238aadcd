"""Counts of shares from cover pages: which one counts, which are traps, and that market value is known by them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from small_book import AT, known, quotes
from test_refresh import BOOK, SEPTEMBER, TODAY, acme

from monitor.book import read_borrower
from monitor.edgar import Figure
from monitor.edgar_shares import share_count
from monitor.model import Quote
from monitor.refresh import edited, propose
from monitor.stress.equity import market_value, structural
from monitor.stress.state import build_state
from monitor.yamltext import Text


def cover(*rows: tuple[str, float, str], group: str = "dei", tag: str = "EntityCommonStockSharesOutstanding") -> Any:
    """Company facts with counts of shares: (day, count, filed)."""
    told = [
        {"end": end, "val": value, "accn": f"0001-{filed}", "form": "10-Q", "filed": filed}
        for end, value, filed in rows
    ]
    return {"entityName": "ACME", "facts": {group: {tag: {"units": {"shares": told}}}}}


def test_the_newest_count_counts_with_its_own_day() -> None:
    """The cover's day lies after the period end and before the filing; an amendment's figure replaces the first."""
    answer = cover(
        ("2026-05-01", 300e6, "2026-05-06"), ("2026-11-02", 340e6, "2026-11-05"), ("2026-11-02", 341e6, "2026-11-12")
    )
    found = share_count(answer, TODAY)
    assert isinstance(found, Figure)
    assert (found.value, found.end, found.published) == (341e6, date(2026, 11, 2), date(2026, 11, 12))
    earlier = share_count(answer, date(2026, 11, 8))
    assert isinstance(earlier, Figure)
    assert earlier.value == 340e6


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({}, "has no count of shares"),
        (cover(("2026-11-02", 341e6, "2026-11-05"), group="us-gaap", tag="CommonStockSharesOutstanding"), "no count"),
        (cover(("2024-05-01", 300e6, "2024-05-06")), "last count of shares is of 2024-05-01"),
        (cover(("2026-11-02", 341e6, "2026-11-05"), ("2026-11-02", 5e6, "2026-11-05")), "gives several counts"),
        (cover(("2026-11-02", 1000, "2026-11-05")), "not believed"),
        (cover(("2026-08-03", 341e6, "2026-08-06"), ("2026-11-02", 341e3, "2026-11-05")), "not believed"),
        (cover(("2026-11-02", 1e14, "2026-11-05")), "not believed"),
        (cover(("2026-11-02", float("nan"), "2026-11-05")), "not believed"),
        ({"facts": {"dei": {"EntityCommonStockSharesOutstanding": []}}}, "has no count"),
    ],
    ids=["none", "balance-sheet-tag", "old", "classes", "placeholder", "thousands", "absurd", "nan", "broken"],
)  # fmt: skip
def test_what_is_no_count_of_all_shares_is_refused(answer: Any, says: str) -> None:
    """Several classes, placeholders, thousands: unknown with the reason, never a wrong market value."""
    found = share_count(answer, TODAY)
    assert isinstance(found, str)
    assert says in found


def test_a_reverse_split_is_taken_and_told() -> None:
    """A tenth of the shares is possible; the note says what stood before."""
    found = share_count(cover(("2026-08-03", 341e6, "2026-08-06"), ("2026-11-02", 34.1e6, "2026-11-05")), TODAY)
    assert isinstance(found, Figure)
    assert found.note == "It was 341,000,000 before: a split or an issue"


def with_cover(value: float = 341e6, end: str = "2026-11-02") -> dict[str, Any]:
    """The balance sheet of September with a cover page."""
    return {"entityName": "ACME", "facts": {**SEPTEMBER["facts"], **cover((end, value, "2026-11-05"))["facts"]}}


def test_refresh_proposes_the_count_beside_the_sheet_and_not_twice() -> None:
    """Its own group, because its day is another one; once written it is not proposed again, nor an older one."""
    proposal = propose(acme(), with_cover(), TODAY)
    assert [sorted(group) for _, group in sorted(proposal.groups.items())] == [
        ["cash_unrestricted_usd", "debt_current_usd", "debt_usd"],
        ["shares_outstanding"],
    ]
    text = edited(BOOK, "acme.yaml", proposal.groups)
    assert "Count of the cover page by tag. shares_outstanding: EntityCommonStockSharesOutstanding." in text
    assert "shares_outstanding: 341m" in text
    assert propose(acme(text), with_cover(), TODAY).groups == {}
    assert propose(acme(text), with_cover(330e6, "2026-10-30"), TODAY).groups == {}


def test_a_company_without_a_sheet_may_have_a_count() -> None:
    """A foreign filer's cover page is tagged even where its sheet is not."""
    proposal = propose(acme(), cover(("2026-11-02", 341e6, "2026-11-05")), TODAY)
    assert [sorted(group) for group in proposal.groups.values()] == [["shares_outstanding"]]


def test_with_a_count_and_a_price_market_value_and_merton_are_known() -> None:
    """From the cover page through the book's own file to the structural view."""
    answer = with_cover(100e6, "2026-07-31")
    for row in answer["facts"]["dei"]["EntityCommonStockSharesOutstanding"]["units"]["shares"]:
        row["filed"] = "2026-08-06"
    text = edited(BOOK, "acme.yaml", propose(acme(), answer, date(2026, 8, 10)).groups)
    assert read_borrower(Text(text, "acme.yaml"), "acme").facts
    price = Quote("share_price_usd", "acme", 4.0, "usd", AT, AT, "a venue")
    both = {**quotes(btc_usd=60_000.0), ("share_price_usd", "acme"): price}
    state = build_state(known({"acme": text}), both)
    assert market_value(state, 0).middle == pytest.approx(400e6)
    distance, chance = structural(state, 0)
    assert distance.known
    assert 0 < chance.middle < 1
    without = build_state(known({"acme": BOOK}), both)
    assert not structural(without, 0)[0].known
