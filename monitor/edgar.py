"""SEC company facts -> figures of one balance sheet, as the book names them. Pure.

A company-facts file holds every tagged figure of every filing. Read naively it lies in five ways, each refused here:

 - a figure is repeated by later filings and sometimes changed: the latest filing counts, and a figure is dated with the
   first filing that said it (two dates: what it is about, and when it was known);
 - taking the newest value of every tag mixes period ends: a sheet has one end, and a tag without a value there is
   missing, however recent its last one is;
 - a tag a company stopped using is unknown, not zero, and so is every total that needs it;
 - current and non-current parts are added, a total is never added to its parts;
 - coins held for customers are not the company's.

Flows are filed cumulated over the fiscal year: a quarter is filed as such or is the difference of two cumulated figures
with one and the same start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from monitor.model import FeedError

#: a balance sheet stands where one of these is reported
ANCHORS = ("Assets", "LiabilitiesAndStockholdersEquity", "StockholdersEquity", "CashAndCashEquivalentsAtCarryingValue")
#: coins of customers: never part of a treasury
CUSTOMER_COINS = ("CryptoAssetHeldForPlatformUser", "SafeguardingAssetPlatformUserCryptoAsset")
#: a tag seen this recently is in use: its absence from a sheet is a gap
IN_USE = timedelta(days=400)
#: two ways to add up one figure agree within this: carrying amounts and principal differ by issue costs
SAME_FIGURE = 0.1
QUARTER = (timedelta(days=80), timedelta(days=100))
MAX_FACTS = 2_000_000
FORMS = ("10-Q", "10-K", "10-KT", "10-QT", "20-F", "40-F", "S-1", "S-4", "F-1", "8-K")


@dataclass(frozen=True, slots=True)
class Part:
    """One addend: tags that mean the same, the first one reported counts. ``optional``: many companies have none."""

    tags: tuple[str, ...]
    optional: bool = False


def _one(*tags: str) -> tuple[Part, ...]:
    return (Part(tags),)


#: figure of the book -> ways to add it up, the best first. A way is complete or it is not taken.
INSTANTS: Mapping[str, tuple[tuple[Part, ...], ...]] = {
    "cash_unrestricted_usd": (_one("CashAndCashEquivalentsAtCarryingValue", "Cash"),),
    "cash_restricted_usd": (
        _one("RestrictedCash", "RestrictedCashAndCashEquivalents"),
        (
            Part(("RestrictedCashCurrent", "RestrictedCashAndCashEquivalentsAtCarryingValue")),
            Part(("RestrictedCashNoncurrent", "RestrictedCashAndCashEquivalentsNoncurrent"), optional=True),
        ),
    ),
    "cash_total_usd": (_one("CashCashEquivalentsRestrictedCashAndRestrictedCashEquivalents"),),
    "debt_usd": (
        _one("DebtLongtermAndShorttermCombinedAmount"),
        (Part(("LongTermDebt",)), Part(("ShortTermBorrowings",), optional=True)),
        (
            Part(("LongTermDebtNoncurrent",)),
            Part(("LongTermDebtCurrent", "DebtCurrent"), optional=True),
            Part(("ShortTermBorrowings",), optional=True),
        ),
        (
            Part(("ConvertibleDebtNoncurrent", "ConvertibleNotesPayableNoncurrent", "ConvertibleNotesPayable",
                  "ConvertibleLongTermNotesPayable")),
            Part(("ConvertibleDebtCurrent", "ConvertibleNotesPayableCurrent"), optional=True),
            Part(("LongTermNotesPayable", "NotesPayable"), optional=True),
            Part(("SeniorNotes",), optional=True),
            Part(("SecuredDebt",), optional=True),
            Part(("LongTermLineOfCredit", "LineOfCredit"), optional=True),
            Part(("ShortTermBorrowings",), optional=True),
        ),
    ),
    "debt_current_usd": (
        _one("DebtCurrent"),
        (Part(("LongTermDebtCurrent",)), Part(("ShortTermBorrowings",), optional=True)),
        _one("ConvertibleDebtCurrent", "ConvertibleNotesPayableCurrent"),
    ),
    "equipment_net_usd": (
        _one(
            "PropertyPlantAndEquipmentNet",
            "PropertyPlantAndEquipmentAndFinanceLeaseRightOfUseAssetAfterAccumulatedDepreciationAndAmortization",
        ),
    ),
    "equipment_gross_usd": (_one("PropertyPlantAndEquipmentGross"),),
    "construction_in_progress_usd": (_one("ConstructionInProgressGross"),),
    "lease_liabilities_usd": (
        (Part(("OperatingLeaseLiability",)), Part(("FinanceLeaseLiability",), optional=True)),
    ),
    "deferred_revenue_usd": (
        _one("ContractWithCustomerLiability"),
        (
            Part(("ContractWithCustomerLiabilityCurrent",)),
            Part(("ContractWithCustomerLiabilityNoncurrent",), optional=True),
        ),
    ),
}  # fmt: skip
FLOWS: Mapping[str, tuple[tuple[Part, ...], ...]] = {
    "revenue_quarter_usd": (_one("Revenues", "RevenueFromContractWithCustomerExcludingAssessedTax"),),
    "interest_quarter_usd": (_one("InterestExpense", "InterestExpenseNonoperating", "InterestExpenseDebt"),),
    "capex_quarter_usd": (_one("PaymentsToAcquirePropertyPlantAndEquipment"),),
    "depreciation_quarter_usd": (
        _one("DepreciationDepletionAndAmortization", "DepreciationAndAmortization", "Depreciation"),
    ),
    "impairment_quarter_usd": (_one("AssetImpairmentCharges"),),
}
#: the treasury in dollars: shown beside the book, which counts coins
COINS: tuple[tuple[Part, ...], ...] = (
    _one("CryptoAssetFairValue"),
    (Part(("CryptoAssetFairValueCurrent",)), Part(("CryptoAssetFairValueNoncurrent",), optional=True)),
    _one("CryptoAssetFairValueNoncurrent"),
)
#: two tags of which one may hold the other: the figure is then said to be a lower bound
OVERLAPS = (("LongTermDebtNoncurrent", "ConvertibleDebtNoncurrent"), ("LongTermDebt", "ConvertibleNotesPayable"))


# ---------------------------------------------------------------- reading
@dataclass(frozen=True, slots=True)
class Reported:
    """One tagged figure of one filing; ``start`` is None for an instant."""

    value: float
    start: date | None
    end: date
    filed: date
    form: str
    accession: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a company tagged in us-gaap, in USD: tag -> every report of it."""

    name: str
    tags: Mapping[str, tuple[Reported, ...]]
    foreign: bool = False


def read_facts(answer: object) -> Facts:
    """A company-facts file as it is sent. FeedError when it has no ``facts``; rows without dates or value are skipped.

    >>> row = {"end": "2026-06-30", "val": 5, "accn": "1", "form": "10-Q", "filed": "2026-08-12"}
    >>> facts = read_facts({"entityName": "A", "facts": {"us-gaap": {"Assets": {"units": {"USD": [row]}}}}})
    >>> facts.tags["Assets"][0].value, facts.foreign
    (5.0, False)
    """
    groups = answer.get("facts") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(groups, dict):
        raise FeedError("the answer has no facts")
    tags = groups.get("us-gaap")
    found: dict[str, tuple[Reported, ...]] = {}
    count = 0
    for tag, body in tags.items() if isinstance(tags, dict) else ():
        units = body.get("units") if isinstance(body, dict) else None
        rows = units.get("USD") if isinstance(units, dict) else None
        count += len(rows) if isinstance(rows, list) else 0
        if count > MAX_FACTS:
            raise FeedError(f"more than {MAX_FACTS:,} facts")
        if isinstance(rows, list) and not str(tag).startswith(CUSTOMER_COINS):
            found[str(tag)] = tuple(r for r in map(reported, rows) if r is not None)
    return Facts(str(answer.get("entityName", "")), found, foreign=not found and "ifrs-full" in groups)


def reported(row: object) -> Reported | None:
    """One report as it is sent, or None without dates or a value that can be."""
    if not isinstance(row, dict) or not isinstance(row.get("val"), int | float) or isinstance(row["val"], bool):
        return None
    try:
        end, filed = date.fromisoformat(str(row["end"])), date.fromisoformat(str(row["filed"]))
        start = date.fromisoformat(str(row["start"])) if "start" in row else None
        value = float(row["val"])
    except (KeyError, ValueError, OverflowError):
        return None
    if filed < end or abs(value) > 1e15 or (start is not None and start >= end):
        return None
    return Reported(value, start, end, filed, str(row.get("form", ""))[:12], str(row.get("accn", ""))[:24])


# ---------------------------------------------------------------- one figure
@dataclass(frozen=True, slots=True)
class Figure:
    """A figure at one period end: when it first stood so, in which form, from which tags, and what to know about it."""

    value: float
    end: date
    published: date
    form: str
    accession: str
    tags: tuple[str, ...]
    note: str = ""


def settled(reports: Sequence[Reported], by: date) -> Reported | None:
    """What counts among reports about one period, as known by a day: the latest filing, dated when it first said so.

    >>> def said(value, filed):
    ...     return Reported(value, None, date(2025, 12, 31), date.fromisoformat(filed), "10-K", filed)
    >>> found = settled([said(9.0, "2026-02-01"), said(8.0, "2026-05-01"), said(8.0, "2026-08-01")], date(2026, 9, 1))
    >>> found.value, found.filed.isoformat()
    (8.0, '2026-05-01')
    """
    known = sorted((r for r in reports if r.filed <= by), key=lambda r: (r.filed, r.accession))
    first = None
    for report in known:
        if first is None or report.value != first.value:
            first = report
    return first


def instants(facts: Facts, tag: str, by: date) -> dict[date, Reported]:
    """End -> what counts there, of a balance-sheet tag."""
    return _settled_by_end([r for r in facts.tags.get(tag, ()) if r.start is None], by)


def quarters(facts: Facts, tag: str, by: date) -> dict[date, Reported]:
    """End of a quarter -> its flow: filed as a quarter, or the difference of two cumulated figures of one start."""
    spans: dict[tuple[date, date], list[Reported]] = defaultdict(list)
    for report in facts.tags.get(tag, ()):
        if report.start is not None:
            spans[report.start, report.end].append(report)
    known = {span: found for span, rows in spans.items() if (found := settled(rows, by)) is not None}
    result = {end: r for (start, end), r in known.items() if QUARTER[0] <= end - start <= QUARTER[1]}
    for (start, end), whole in sorted(known.items()):
        earlier = [r for (s, e), r in known.items() if s == start and QUARTER[0] <= end - e <= QUARTER[1]]
        if end not in result and earlier:
            filed = max(whole.filed, earlier[0].filed)
            result[end] = Reported(
                whole.value - earlier[0].value, earlier[0].end, end, filed, whole.form, whole.accession
            )
    return result


def _settled_by_end(rows: Sequence[Reported], by: date) -> dict[date, Reported]:
    ends: dict[date, list[Reported]] = defaultdict(list)
    for row in rows:
        ends[row.end].append(row)
    return {end: found for end, reports in ends.items() if (found := settled(reports, by)) is not None}


def figure(facts: Facts, ways: Sequence[tuple[Part, ...]], end: date, by: date, *, flow: bool = False) -> Figure | str:
    """A figure at a period end, the first complete way to add it up; else why there is none.

    An optional part counts as none only where the company does not use its tags: one it used within the last 400 days
    and left out here makes the sum unknown. Where the tags of a better way stopped, another way is only taken when it
    gave the same figure where both were last reported: the convertible notes of a company whose total stopped are not
    its debt.
    """
    table = quarters if flow else instants
    stopped: list[tuple[Part, ...]] = []
    reasons: list[str] = []
    for way in ways:
        found, gap = _complete(facts, way, end, by, table)
        if gap:
            stopped.append(way)
            reasons.append(gap)
        elif found and all(_alike(facts, way, other, end, by, table) for other in stopped):
            return _added(facts, found, end)
        elif found:
            reasons.append(f"{' and '.join(tag for tag, _ in found)} did not cover it before")
    return "; ".join(dict.fromkeys(reasons)) or "none of its tags is reported"


Table = Callable[[Facts, str, date], dict[date, Reported]]
Found = list[tuple[str, Reported]]


def _complete(facts: Facts, way: tuple[Part, ...], end: date, by: date, table: Table) -> tuple[Found, str]:
    """(every part of a way at an end, or nothing; which tag in use stopped before it)."""
    found: Found = []
    gap, absent = "", False
    for part in way:
        series = {tag: table(facts, tag, by) for tag in part.tags if tag in facts.tags}
        here = next(((tag, rows[end]) for tag, rows in series.items() if end in rows), None)
        if here is not None:
            found.append(here)
            continue
        gap = gap or _stopped(series, end)
        absent = absent or not part.optional
    return ([] if gap or absent else found), gap


def _alike(facts: Facts, way: tuple[Part, ...], other: tuple[Part, ...], end: date, by: date, table: Table) -> bool:
    """Whether two ways gave the same figure at the last end before this one where both were complete."""
    ends = {day for part in other for tag in part.tags for day in table(facts, tag, by) if day < end}
    for day in sorted(ends, reverse=True):
        one, two = _complete(facts, way, day, by, table)[0], _complete(facts, other, day, by, table)[0]
        if one and two:
            a, b = (sum(report.value for _, report in found) for found in (one, two))
            return abs(a - b) <= SAME_FIGURE * abs(b)
    return False


def _stopped(series: Mapping[str, Mapping[date, Reported]], end: date) -> str:
    """In words, that a tag in use has no value at this end."""
    last = {tag: max((e for e in rows if e < end), default=None) for tag, rows in series.items()}
    used = {tag: day for tag, day in last.items() if day is not None and end - day <= IN_USE}
    return ", ".join(f"{tag} was last reported for {day}" for tag, day in sorted(used.items()))


def _added(facts: Facts, found: Sequence[tuple[str, Reported]], end: date) -> Figure:
    newest = max((report for _, report in found), key=lambda report: report.filed)
    tags = tuple(tag for tag, _ in found)
    overlaps = [
        other
        for tag, other in OVERLAPS
        if tag in tags
        and other not in tags
        and any(r.end == end and r.start is None for r in facts.tags.get(other, ()))
    ]
    note = f"{overlaps[0]} is reported too and may not be in it" if overlaps else ""
    return Figure(
        sum(report.value for _, report in found), end, newest.filed, newest.form, newest.accession, tags, note
    )


# ---------------------------------------------------------------- a sheet
@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything the book can use at one period end, what is missing and why, and the coins in dollars."""

    end: date
    figures: Mapping[str, Figure]
    missing: Mapping[str, str]
    coins: Figure | None


def period_ends(facts: Facts, by: date) -> list[date]:
    """The ends of the balance sheets filed by a day, ascending."""
    rows = (r for tag in ANCHORS for r in facts.tags.get(tag, ()))
    return sorted({r.end for r in rows if r.start is None and r.filed <= by and r.form.startswith(FORMS)})


def sheet(facts: Facts, end: date, by: date) -> Sheet:
    """The figures at one period end and no other, as known by a day."""
    said = dict(_figures(facts, end, by))
    coins = figure(facts, COINS, end, by)
    return Sheet(
        end,
        {name: found for name, found in said.items() if isinstance(found, Figure)},
        {name: found for name, found in said.items() if isinstance(found, str)},
        coins if isinstance(coins, Figure) else None,
    )


def _figures(facts: Facts, end: date, by: date) -> Iterator[tuple[str, Figure | str]]:
    for name, ways in INSTANTS.items():
        yield name, figure(facts, ways, end, by)
    for name, ways in FLOWS.items():
        yield name, figure(facts, ways, end, by, flow=True)
