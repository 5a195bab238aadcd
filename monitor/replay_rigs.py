"""What a replay of 2021 to 2023 says of mining machines: the last quote, its age, and what hashprice would suggest.

Beside the report and in it only. No rule and no metric reads it, and no alarm depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from monitor import market
from monitor.book import load_marks
from monitor.model import MARKET, Mark, Observation, end_of_day
from monitor.rigs import DEALS_OF, FEWEST, RigCheck, check
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Table
from monitor.world import World


def rig_marks(world: World) -> tuple[Mark, ...]:
    """The quotes of machines beside the book of the past; none where a desk's book has no such file."""
    path = world.config.paths.book / "history" / "rigs" / "marks.yaml"
    return load_marks(path) if path.exists() else ()


def rig_checks(
    marks: Sequence[Mark], seen: Iterable[Observation], start: datetime, end: datetime
) -> tuple[RigCheck, ...]:
    """Every class of machines with a quote, at the end of each quarter between two moments, as known then."""
    tape = market.Tape(seen)
    found: list[RigCheck] = []
    for at in quarter_ends(start, end):
        past, now = tape.history(at)[market.DERIVED], tape.quotes(at)[market.DERIVED, MARKET]
        found += check(marks, past, now, at)
    return tuple(found)


def quarter_ends(start: datetime, end: datetime) -> list[datetime]:
    """The ends of quarters from one moment to another, both included.

    >>> from datetime import UTC
    >>> [f"{at:%Y-%m-%d}" for at in quarter_ends(datetime(2022, 2, 1, tzinfo=UTC), datetime(2022, 7, 1, tzinfo=UTC))]
    ['2022-04-01', '2022-07-01']
    """
    years = range(start.year, end.year + 1)
    ends = (datetime(year, month, 1, tzinfo=start.tzinfo) for year in years for month in (1, 4, 7, 10))
    return [at for at in ends if start <= at <= end]


def rig_table(found: Sequence[RigCheck]) -> Table:
    """The last quote of each class carried forward; beside it the last deal and what hashprice would suggest."""
    heads = (
        *(Head("day"), Head("machines, J/TH"), Head("last quote, USD/TH", right=True), Head("age", right=True)),
        *(Head("last deal, USD/TH", right=True), Head("age", right=True)),
        *(Head("hashprice, USD/PH a day", right=True), Head("suggested, USD/TH", right=True)),
        *(Head("quotes", right=True), Head("newest quote", right=True)),
    )
    notes = [
        "a quote counts from the day the report it was read in came out and is carried forward as it is; a quarter"
        " before the first one is left out",
        f"last deal: the newest sale or firm offer that was read; all are of machines {DEALS_OF} J/TH",
        f"suggested: a line of log price on log hashprice through the quotes published by then, {FEWEST} at least, with"
        " the 95% range of one more quote; * hashprice lies outside those of the quotes",
        "a line through so few points is no price: no rule and no alarm reads it",
        *dict.fromkeys(f"{_day(c.at)}: no suggestion, {c.suggested.reason}" for c in found if c.suggested.reason),
    ]
    rows = tuple(tuple(map(Cell, _row(one))) for one in found)
    return Table("What machines were quoted at, and what hashprice would suggest", heads, rows, tuple(
        Cell(note, "dim") for note in notes
    ))  # fmt: skip


def _row(one: RigCheck) -> tuple[str, ...]:
    """One class at one moment in words."""
    said, deal = one.suggested, one.deal
    suggested = f"{said.usd_th:.0f} ({said.low:.0f} to {said.high:.0f}){'*' if said.outside else ''}"
    return (
        *(_day(one.at), one.machines, f"{one.quote.value:g}", f"{one.age_days} d"),
        *((f"{deal.value:g}", f"{(one.at - end_of_day(deal.as_of)).days} d") if deal else (NOT_APPLICABLE, "")),
        UNKNOWN if math.isnan(one.hashprice_usd) else f"{one.hashprice_usd:.0f}",
        UNKNOWN if said.reason else suggested,
        *(str(said.points), NOT_APPLICABLE if said.newest_days is None else f"{said.newest_days} d"),
    )


def _day(at: datetime) -> str:
    """The day a moment at its end stands for."""
    return f"{at - timedelta(seconds=1):%Y-%m-%d}"


def rig_row(one: RigCheck) -> dict[str, object]:
    """One check as plain values."""
    said = one.suggested
    return {
        "at": one.at,
        "machines_j_th": one.machines,
        "quote_usd_th": one.quote.value,
        "quote_as_of": one.quote.as_of,
        "quote_age_days": one.age_days,
        "deal_usd_th": one.deal.value if one.deal else None,
        "deal_as_of": one.deal.as_of if one.deal else None,
        "hashprice_usd_ph_day": one.hashprice_usd,
        "suggested_usd_th": said.usd_th,
        "suggested_low_usd_th": said.low,
        "suggested_high_usd_th": said.high,
        "quotes": said.points,
        "newest_quote_age_days": said.newest_days,
        "slope": said.slope,
        "outside": said.outside,
        "reason": said.reason,
    }
