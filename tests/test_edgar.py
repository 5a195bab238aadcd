"""What company facts become: one period end, the latest word, nothing added twice, nothing guessed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pytest

from monitor.edgar import COINS, INSTANTS, Figure, figure, period_ends, quarters, read_facts, sheet
from monitor.model import FeedError

BY = date(2026, 11, 20)
Q1, Q2, Q3 = date(2026, 3, 31), date(2026, 6, 30), date(2026, 9, 30)
FILED = {Q1: "2026-05-11", Q2: "2026-08-12", Q3: "2026-11-06", date(2025, 12, 31): "2026-03-02"}


def row(end: date, value: float, filed: str | None = None, form: str = "10-Q", start: str | None = None) -> dict:
    """One report of a figure, in the order a file has it."""
    filed = filed or FILED[end]
    found = {"end": end.isoformat(), "val": value, "accn": f"0001-{filed}", "fy": 2026, "fp": "Q2", "form": form}
    return found | {"filed": filed} | ({"start": start} if start else {})


def answer(tags: Mapping[str, list[dict]], taxonomy: str = "us-gaap") -> dict:
    """A company-facts file with these tags in USD."""
    body = {tag: {"label": tag, "units": {"USD": rows}} for tag, rows in tags.items()}
    return {"cik": 1, "entityName": "ACME CORP", "facts": {taxonomy: body}}


def debt(tags: Mapping[str, list[dict]], end: date = Q3) -> Figure | str:
    return figure(read_facts(answer(tags)), INSTANTS["debt_usd"], end, BY)


# ---------------------------------------------------------------- the traps by name
def test_trap_customer_coins_are_not_treasury() -> None:
    """Coins held for customers and the safeguarding asset never count, under any of their tags."""
    tags = {
        "CryptoAssetFairValueCurrent": [row(Q3, 830_073_000)],
        "CryptoAssetFairValueNoncurrent": [row(Q3, 171_924_000)],
        "CryptoAssetHeldForPlatformUserFairValue": [row(Q3, 9e9)],
        "CryptoAssetHeldForPlatformUserFairValueCurrent": [row(Q3, 9e9)],
        "SafeguardingAssetPlatformUserCryptoAsset": [row(Q3, 9e9)],
    }
    facts = read_facts(answer(tags))
    assert not [tag for tag in facts.tags if "Platform" in tag]
    coins = figure(facts, COINS, Q3, BY)
    assert isinstance(coins, Figure)
    assert coins.value == 1_001_997_000


def test_trap_frankenstein_schedule_mixes_no_period_ends() -> None:
    """A tag whose newest value is of June does not enter the sheet of September, however new it is."""
    tags = {
        "Assets": [row(Q2, 100.0), row(Q3, 110.0)],
        "CashAndCashEquivalentsAtCarryingValue": [row(Q3, 20.0)],
        "LongTermDebt": [row(Q2, 60.0)],
        "PropertyPlantAndEquipmentGross": [row(Q2, 70.0)],
    }
    found = sheet(read_facts(answer(tags)), Q3, BY)
    assert set(found.figures) == {"cash_unrestricted_usd"}
    assert "LongTermDebt was last reported for 2026-06-30" in found.missing["debt_usd"]
    assert {f.end for f in found.figures.values()} == {Q3}


def test_trap_restated_figures_have_two_dates() -> None:
    """The latest filing counts; a figure is known since it first stood so, and what was known earlier stays askable."""
    year = date(2025, 12, 31)
    rows = [row(year, 90.0, "2026-03-02", "10-K"), row(year, 80.0, "2026-05-11"), row(year, 80.0, "2026-08-12")]
    facts = read_facts(answer({"LongTermDebt": rows}))
    now = figure(facts, INSTANTS["debt_usd"], year, BY)
    then = figure(facts, INSTANTS["debt_usd"], year, date(2026, 4, 1))
    assert isinstance(now, Figure)
    assert isinstance(then, Figure)
    assert (now.value, now.published, now.end) == (80.0, date(2026, 5, 11), year)
    assert (then.value, then.published) == (90.0, date(2026, 3, 2))


def test_trap_the_same_figure_repeated_by_later_filings_keeps_its_first_date() -> None:
    """A comparative column repeated a year later does not make an old figure young."""
    rows = [row(Q2, 60.0), row(Q2, 60.0, "2026-11-06"), row(Q2, 60.0, "2027-08-12")]
    found = debt({"LongTermDebt": rows}, Q2)
    assert isinstance(found, Figure)
    assert found.published == date(2026, 8, 12)


def test_trap_current_and_non_current_are_added() -> None:
    """The non-current part alone is not the debt."""
    found = debt({"LongTermDebtNoncurrent": [row(Q3, 60.0)], "LongTermDebtCurrent": [row(Q3, 15.0)]})
    assert isinstance(found, Figure)
    assert found.value == 75.0
    assert found.tags == ("LongTermDebtNoncurrent", "LongTermDebtCurrent")


def test_trap_a_total_is_never_added_to_its_parts() -> None:
    """Where a total and its parts are tagged the total counts, once."""
    tags = {
        "LongTermDebt": [row(Q3, 75.0)],
        "LongTermDebtNoncurrent": [row(Q3, 60.0)],
        "LongTermDebtCurrent": [row(Q3, 15.0)],
        "ConvertibleNotesPayable": [row(Q3, 50.0)],
    }
    found = debt(tags)
    assert isinstance(found, Figure)
    assert found.value == 75.0


def test_trap_a_tag_that_stopped_is_unknown_not_zero() -> None:
    """CoreWeave's case: standard debt tags end in June, so September has no debt figure and nobody reads nought."""
    found = debt({"LongTermDebt": [row(Q1, 50.0), row(Q2, 60.0)], "Assets": [row(Q3, 1.0)]})
    assert found == "LongTermDebt was last reported for 2026-06-30"


def test_a_part_that_stopped_makes_the_sum_unknown() -> None:
    """Non-current debt without the current part that was there a quarter ago is no total."""
    found = debt({"LongTermDebtNoncurrent": [row(Q2, 60.0), row(Q3, 58.0)], "LongTermDebtCurrent": [row(Q2, 15.0)]})
    assert found == "LongTermDebtCurrent was last reported for 2026-06-30"


def test_a_part_never_reported_is_none_of_this_company() -> None:
    """A company without current maturities has no tag for them; its non-current debt is its debt."""
    found = debt({"LongTermDebtNoncurrent": [row(Q3, 58.0)]})
    assert isinstance(found, Figure)
    assert found.value == 58.0


def test_another_way_is_only_taken_when_it_said_the_same_before() -> None:
    """When a total stops, convertible notes alone are not the debt; parts that used to add to it are."""
    total = [row(Q1, 100.0), row(Q2, 104.0)]
    notes = {"ConvertibleNotesPayableNoncurrent": [row(Q2, 55.0), row(Q3, 56.0)]}
    assert "did not cover it before" in str(debt({"LongTermDebt": total, **notes}))
    parts = {
        "LongTermDebtNoncurrent": [row(Q2, 80.0), row(Q3, 82.0)],
        "LongTermDebtCurrent": [row(Q2, 24.0), row(Q3, 25.0)],
    }
    found = debt({"LongTermDebt": total, **parts})
    assert isinstance(found, Figure)
    assert found.value == 107.0


def test_a_doubtful_overlap_is_said() -> None:
    """Whether long-term debt holds the convertible notes is not tagged; the note says so."""
    found = debt({"LongTermDebtNoncurrent": [row(Q3, 60.0)], "ConvertibleDebtNoncurrent": [row(Q3, 50.0)]})
    assert isinstance(found, Figure)
    assert "ConvertibleDebtNoncurrent" in found.note


# ---------------------------------------------------------------- flows
def test_a_quarter_is_filed_or_the_difference_of_one_year() -> None:
    """Second-quarter capex is half-year less first quarter; figures that started elsewhere are not subtracted."""
    tag = "PaymentsToAcquirePropertyPlantAndEquipment"
    rows = [
        row(Q1, 10.0, start="2026-01-01"),
        row(Q2, 25.0, start="2026-01-01"),
        row(Q3, 45.0, start="2026-02-01"),  # another start: not to be mixed
    ]
    found = quarters(read_facts(answer({tag: rows})), tag, BY)
    assert {end: report.value for end, report in found.items()} == {Q1: 10.0, Q2: 15.0}


def test_a_fourth_quarter_is_the_year_less_nine_months() -> None:
    """The year's flow becomes that of its last quarter, known when both were."""
    year = date(2025, 12, 31)
    rows = [
        row(date(2025, 9, 30), 30.0, "2025-11-05", start="2025-01-01"),
        row(year, 42.0, "2026-03-02", "10-K", start="2025-01-01"),
    ]
    found = quarters(read_facts(answer({"InterestExpense": rows})), "InterestExpense", BY)
    assert found[year].value == 12.0
    assert found[year].filed == date(2026, 3, 2)


# ---------------------------------------------------------------- bad answers
@pytest.mark.parametrize("bad", [None, [], "x", {}, {"facts": []}, {"facts": None}])
def test_an_answer_without_facts_is_refused(bad: object) -> None:
    """Anything but a company-facts file is a reason."""
    with pytest.raises(FeedError, match="no facts"):
        read_facts(bad)


@pytest.mark.parametrize(
    "change",
    [
        {"val": None},
        {"val": "12"},
        {"val": True},
        {"val": 1e300},
        {"end": "30 June"},
        {"end": None},
        {"filed": "2026-01-01"},  # before the day it is about
        {"start": "2026-09-30"},
    ],
)
def test_a_row_that_cannot_be_is_skipped(change: dict[str, object]) -> None:
    """Wrong values, dates and orders of dates leave the other rows."""
    facts = read_facts(answer({"Assets": [row(Q3, 1.0) | change, row(Q2, 2.0)]}))
    assert [r.value for r in facts.tags["Assets"]] == [2.0]


def test_a_foreign_filer_says_so() -> None:
    """IFRS facts are not read as if they were us-gaap."""
    facts = read_facts(answer({"Assets": [row(Q3, 1.0)]}, "ifrs-full"))
    assert facts.foreign
    assert period_ends(facts, BY) == []


def test_the_future_is_not_seen() -> None:
    """A filing of tomorrow does not exist today."""
    facts = read_facts(answer({"Assets": [row(Q2, 1.0), row(Q3, 2.0)]}))
    assert period_ends(facts, date(2026, 10, 1)) == [Q2]
