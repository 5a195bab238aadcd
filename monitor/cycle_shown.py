"""``canary cycle``: credit and technology on one clock, quarter by quarter, each as it was known then.

The thesis is that credit turns before technology does, so both stand side by side: what was borrowed, at what price,
and what a machine and its work fetch. Nothing is interpolated; what was not known then is ``?``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from monitor import feeds, market, metrics
from monitor.briefing import day_of
from monitor.commands import Reply
from monitor.credit_cycle import equal_rating_loans, net_debt_to_market_value
from monitor.known import as_known
from monitor.metrics import METRICS
from monitor.model import CanaryError, Column, Numbers, Observation, end_of_day
from monitor.observed import observed
from monitor.overview import banner
from monitor.tables import UNKNOWN, Cell, Head, Table, show
from monitor.tick import newest_close
from monitor.world import World, build_world

if TYPE_CHECKING:
    from monitor.shell import Shell

CREDIT = (
    "sector_debt_usd", "issuance_12m_usd", "issuance_growth_12m", "sector_net_debt_to_ebitda", "new_issue_spread_bp",
    "hy_spread_bp",
)  # fmt: skip
TECHNOLOGY = (
    "rent_h100_index_usd", "compute_deflation_1y_rents", "resale_h100_usd", "compute_deflation_1y_resale",
    "tokens_output_index_usd", "compute_deflation_1y_tokens",
)  # fmt: skip
ISSUANCE = ("issuance_12m_loans_usd", "issuance_12m_high_yield_usd", "issuance_12m_convertible_usd")
SHOWN = (*CREDIT, *ISSUANCE, *TECHNOLOGY)
LABELS = {
    "sector_debt_usd": "debt, USD\n(borrowers)",
    "issuance_12m_usd": "issued in\na year, USD",
    "issuance_growth_12m": "issuance\ngrowth",
    "sector_net_debt_to_ebitda": "net debt /\nEBITDA",
    "new_issue_spread_bp": "new loan\nbp",
    "hy_spread_bp": "high yield\nbp",
    "rent_h100_index_usd": "H100 rent\nUSD/h",
    "compute_deflation_1y_rents": "rents fell\nin a year",
    "resale_h100_usd": "used H100\nUSD",
    "compute_deflation_1y_resale": "used fell\nin a year",
    "tokens_output_index_usd": "tokens\nUSD/m",
    "compute_deflation_1y_tokens": "tokens fell\nin a year",
}
MAX_QUARTERS = 80
NOTES = (
    "each line knows what was known that day; a fall below zero is a rise",
    "debt is that of the borrowers known by then, so it also grows as more of them are read",
)


@dataclass(frozen=True)
class Clock:
    """The same numbers at many moments: metric -> (value or NaN, reason) at each of ``times``."""

    times: tuple[datetime, ...]
    values: dict[str, tuple[float, ...]]
    newest: Numbers
    #: (day, bp) of new loans of equal rating, from the marks themselves
    spreads: tuple[tuple[datetime, float], ...] = ()
    recorded: date | None = None
    #: how many borrowers the debt of each moment is that of
    borrowers: tuple[str, ...] = ()
    #: net debt over market value now (NaN: unknown), of those borrowers
    net_debt_to_market: tuple[float, tuple[str, ...]] = (math.nan, ())


def quarter_ends(first: date, last: date) -> list[date]:
    """The ends of quarters from one day to another, and the last day itself.

    >>> [day.isoformat() for day in quarter_ends(date(2025, 12, 1), date(2026, 5, 3))]
    ['2025-12-31', '2026-03-31', '2026-05-03']
    """
    found: list[date] = []
    year, quarter = first.year, (first.month - 1) // 3 + 1
    while True:
        begins = date(year + quarter // 4, quarter % 4 * 3 + 1, 1)
        end = begins - timedelta(days=1)
        if end >= last:
            return [*found, last]
        found.append(end)
        year, quarter = begins.year, quarter % 4 + 1


def clock(world: World, seen: Sequence[Observation], moments: Sequence[datetime]) -> Clock:
    """The numbers of the cycle at some moments, each from what was known by then."""
    tape = market.Tape(seen, feeds.series_specs(world.feeds))
    ids = tuple(sorted(borrower.id for borrower in world.book.borrowers))
    names = tuple(name for name in SHOWN if name in METRICS)
    rows = []
    for at in moments:
        past, newest = tape.history(at, ids), at == moments[-1]
        wanted = (*names, "net_debt_usd") if newest else names
        rows.append(metrics.compute(as_known(world.book, at), tape.quotes(at), (), past.get, at, False, wanted))
    values = {name: tuple(float(numbers.columns[name].values[0]) for numbers in rows) for name in names}
    book, last = as_known(world.book, moments[-1]), rows[-1]
    loans = tuple((end_of_day(mark.as_of), mark.value) for mark in equal_rating_loans(book.marks))
    owed = last.columns["net_debt_usd"]
    net_debt = {who: float(owed.values[i]) for i, who in enumerate(last.subjects["borrower"]) if owed.known[i]}
    ratio = net_debt_to_market_value(book, last.quotes, net_debt)
    counts = tuple(numbers.columns["sector_debt_usd"].detail.get(0, "").partition(" ")[0] for numbers in rows)
    return Clock(tuple(moments), values, last, loans, borrowers=counts, net_debt_to_market=ratio)


# ---------------------------------------------------------------- shown
def page(found: Clock, names: Sequence[str], title: str) -> Table:
    """Some numbers of the cycle, a line a quarter, with what stands behind the newest."""
    heads = (Head("quarter"), *(Head(LABELS[name], right=True) for name in names))
    rows = tuple(
        (
            Cell(f"{at - timedelta(seconds=1):%Y-%m-%d}"),
            *(Cell(_cell(found.values[name][i], METRICS[name].unit) + _of(found, name, i)) for name in names),
        )
        for i, at in enumerate(found.times)
    )
    notes = [Cell(_behind(name, found.newest.columns[name]), "dim") for name in names]
    return Table(title, heads, rows, tuple(notes), banner(found.recorded))


def _of(found: Clock, name: str, i: int) -> str:
    """How many borrowers a sum is that of: a sum over few is not a small sector."""
    return f" ({found.borrowers[i]})" if name == "sector_debt_usd" and found.borrowers[i] else ""


def _cell(value: float, unit: str) -> str:
    """A number whose unit stands in the column's head."""
    return show(value, "" if unit.startswith("usd/") else unit).removesuffix(" bp")


def _behind(name: str, column: Column) -> str:
    """What the newest value rests on, or why there is none."""
    if not column.known[0]:
        return f"{UNKNOWN} {name}: {column.reasons.get(0, '')}"
    parts = (column.detail.get(0, ""), *column.used.get(0, ()))
    return f"{name}: {'; '.join(part for part in parts if part) or METRICS[name].doc}"


def _against_market(found: Clock) -> str:
    """Net debt over market value in words, or what is missing for it."""
    ratio, who = found.net_debt_to_market
    if not who:
        return (
            f"{UNKNOWN} net debt over market value: no borrower has both shares_outstanding and a share price in force"
        )
    return (
        f"net debt over market value {ratio:.2f}x, {len(who)} borrowers: {', '.join(who)};"
        " against 2021 it is not known: the sector of then is not in the book"
    )


def run_cycle(shell: Shell, start: str | None, at: str | None, file: str | None) -> int:
    """``canary cycle``."""
    from monitor.moments import moment

    now = datetime.now(UTC)
    world = build_world(shell.config(), offline=shell.offline)
    last = moment(at, now) if at else _newest(world, now)
    seen = observed(world, last)
    try:
        first = date.fromisoformat(start) if start else _first(seen, last)
    except ValueError:
        raise CanaryError(f"{(start or '')[:40]!r} is no day; write 2024-01-01") from None
    days = quarter_ends(first, (last - timedelta(microseconds=1)).date())
    if not 1 <= len(days) <= MAX_QUARTERS or first >= last.date():
        raise CanaryError(f"--from {first}: write a day before {last:%Y-%m-%d}, at most {MAX_QUARTERS // 4} years ago")
    live = any(row.known_basis == "live" for row in seen)
    found = clock(world, seen, [*(end_of_day(day) for day in days[:-1]), last])
    found = replace(found, recorded=None if live else day_of(last))
    tables = [page(found, CREDIT, "Credit"), page(found, TECHNOLOGY, "Technology")]
    tables.append(Table("", notes=tuple(Cell(note, "dim") for note in (*NOTES, _against_market(found)))))
    if file is not None:
        tables.append(_drawn(found, file))
    return shell.show(Reply(as_json(found), tuple(tables)))


def _newest(world: World, now: datetime) -> datetime:
    """Now where live prices are kept, else the newest recorded close."""
    live = [row.known_at for row in observed(world, now) if row.series == "btc_usd" and row.known_basis == "live"]
    return max(live) if live else newest_close(world, now)


def _first(seen: Sequence[Observation], last: datetime) -> date:
    """The first quarter anything of the technology is on record, at most four years back."""
    days = [row.observed_at for row in seen if row.series.startswith(("rent_", "resale_", "tokens_"))]
    return max(min(days, default=last - timedelta(days=365)), last - timedelta(days=4 * 365)).date()


def _drawn(found: Clock, file: str) -> Table:
    from monitor.cycle_chart import draw_cycle

    path = Path(file).expanduser()
    if path.suffix.lower() != ".png":
        raise CanaryError(f"--picture writes PNG: end {file[:80]!r} in .png")
    try:
        draw_cycle(found, path)
    except OSError as error:
        raise CanaryError(f"cannot write {file[:80]}: {error.strerror}") from None
    return Table("", notes=(Cell(f"picture written to {path}", "good"),))


def as_json(found: Clock) -> dict[str, object]:
    """The clock for machines; unknown is null."""
    return {
        "times": [at.isoformat() for at in found.times],
        "numbers": {
            name: [v if v == v and abs(v) != float("inf") else None for v in vs] for name, vs in found.values.items()
        },
        "newest": {
            name: {"reason": c.reasons.get(0), "detail": c.detail.get(0), "used": list(c.used.get(0, ()))}
            for name, c in found.newest.columns.items()
            if name in found.values
        },
        "net_debt_to_market_value": {
            "value": found.net_debt_to_market[0] if found.net_debt_to_market[1] else None,
            "borrowers": list(found.net_debt_to_market[1]),
        },
    }
