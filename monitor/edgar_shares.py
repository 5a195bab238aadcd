"""How many shares a company has outstanding, from the cover pages of its reports (SEC company facts). Pure.

The cover page counts the shares of a day near the filing, not of the period end. Read naively it lies in four ways:

 - company facts hold only what is said of the company as a whole: one with several classes of shares counts each on its
   own and has no such figure, or one from before it had classes. A count that is not of the newest report is none;
 - the balance sheet's own tag (us-gaap) holds a placeholder (1, 100 or 1,000) at such companies: it is not read;
 - some covers are in thousands: a count a thousand times off the one before is refused;
 - between two counts a split may lie: the figure is of its day, like every other.
"""

from __future__ import annotations

from datetime import date, timedelta

from monitor.edgar import MAX_FACTS, Figure, Reported, reported, settled

TAG = "EntityCommonStockSharesOutstanding"
FIELD = "shares_outstanding"
#: a listed company has no fewer and no more
FEWEST, MOST = 100_000.0, 1e12
#: a report comes every quarter or, abroad, every year; an older count is not the newest report's
NEWEST_WITHIN = timedelta(days=400)
#: a count this many times the one before is in another unit: dilution and splits stay below
ANOTHER_UNIT = 300.0
SEVERAL = "a company with several classes of shares has none for all together: enter it from the cover page"


def share_count(answer: object, by: date) -> Figure | str:
    """The newest count of shares known by a day, or why there is none.

    >>> row = {"end": "2026-08-07", "val": 341000000, "accn": "1", "form": "10-Q", "filed": "2026-08-12"}
    >>> answer = {"facts": {"dei": {"EntityCommonStockSharesOutstanding": {"units": {"shares": [row]}}}}}
    >>> found = share_count(answer, date(2026, 9, 1))
    >>> found.value, found.end.isoformat(), found.published.isoformat()
    (341000000.0, '2026-08-07', '2026-08-12')
    >>> share_count({"facts": {}}, date(2026, 9, 1)).partition(":")[0]
    'EDGAR has no count of shares'
    """
    rows = [row for row in _rows(answer) if row.start is None and row.filed <= by]
    if not rows:
        return f"EDGAR has no count of shares: {SEVERAL}"
    by_end: dict[date, list[Reported]] = {}
    for row in rows:
        by_end.setdefault(row.end, []).append(row)
    counts = [found for end in sorted(by_end) if (found := settled(by_end[end], by)) is not None]
    last = counts[-1]
    if by - last.end > NEWEST_WITHIN:
        return f"EDGAR's last count of shares is of {last.end}: {SEVERAL}"
    if len({row.value for row in by_end[last.end] if row.accession == last.accession}) > 1:
        return f"the report filed {last.filed} gives several counts of shares: {SEVERAL}"
    before = counts[-2].value if len(counts) > 1 else last.value
    if not FEWEST <= last.value <= MOST or not 1 / ANOTHER_UNIT < last.value / max(before, 1.0) < ANOTHER_UNIT:
        return f"the cover filed {last.filed} counts {last.value:,.0f} shares after {before:,.0f}: not believed"
    note = "" if 0.5 < last.value / before < 2 else f"It was {before:,.0f} before: a split or an issue"
    return Figure(last.value, last.end, last.filed, last.form, last.accession, (TAG,), note)


def _rows(answer: object) -> list[Reported]:
    """Every count on a cover page, as it is sent."""
    value: object = answer
    for name in ("facts", "dei", TAG, "units", "shares"):
        value = value.get(name) if isinstance(value, dict) else None
    rows = value[:MAX_FACTS] if isinstance(value, list) else []
    return [found for found in map(reported, rows) if found is not None]
