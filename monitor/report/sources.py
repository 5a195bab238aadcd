"""Where the numbers of a page come from: sources, prices, the rental index and the assumptions, as tables."""

from __future__ import annotations

from collections.abc import Iterable

from monitor import rents
from monitor.model import Observation, Quote
from monitor.report.moment import PAST, Moment
from monitor.series import SERIES
from monitor.tables import UNKNOWN, Cell, Head, Table
from monitor.units import format_age


def feeds(it: Moment) -> Table:
    """What every source answered, what is in quarantine, and which sources are off."""
    heads = (Head("source"), Head("answer"), Head("newest value"), Head("age", right=True), Head("reason"))
    rows = tuple(
        (
            Cell(report.feed),
            Cell("answered" if report.ok else "failed", "good" if report.ok else "critical"),
            Cell(f"{report.newest:%Y-%m-%d %H:%M} UTC" if report.newest else UNKNOWN),
            Cell(format_age((it.at - report.newest).total_seconds()) if report.newest else UNKNOWN),
            Cell(report.reason),
        )
        for report in it.store.feed_reports()
    )
    off = tuple(Cell(f"{one.name}: {one.reason}", "dim") for one in it.world.feeds_off)
    doubted = tuple(
        Cell(f"in quarantine: {quote.series} of {quote.subject}: {quote.in_doubt}", "warning")
        for quote in it.numbers.quotes.values()
        if quote.in_doubt
    )
    nobody = () if rows else (Cell("no source was asked: recorded prices", "dim"),)
    return Table("", heads if rows else (), rows, (*nobody, *doubted, *off))


def prices(it: Moment) -> Table:
    """Every price in force, with its day, age and source."""
    heads = (Head("series"), Head("of"), Head("value", right=True), Head("unit"), Head("observed"),
             Head("age", right=True), Head("source"), Head("remark"))  # fmt: skip
    rows = tuple(
        _price(it, it.numbers.quotes[key])
        for key in sorted(it.numbers.quotes)
        if it.numbers.quotes[key].known or key[0] in SERIES
    )
    return Table("", heads, rows)


def _price(it: Moment, quote: Quote) -> tuple[Cell, ...]:
    seen = quote.observed_at
    remark = quote.reason or quote.in_doubt or ("restated" if quote.restated else quote.quality)
    return (
        Cell(quote.series),
        Cell(quote.subject),
        Cell(f"{quote.value:,.6g}" if quote.known else UNKNOWN, "" if quote.known else "warning"),
        Cell(quote.unit),
        Cell(f"{seen:%Y-%m-%d %H:%M} UTC" if seen else UNKNOWN),
        Cell(format_age((it.at - seen).total_seconds()) if seen else UNKNOWN),
        Cell(quote.source),
        Cell(remark, "" if quote.known else "dim"),
    )


def index(it: Moment) -> Table:
    """The newest value of the rental index of every model and market, with the panel it was made of."""
    newest: dict[str, Observation] = {}
    seen: Iterable[Observation] = it.store.observations(it.at, it.at - PAST, rents.INDEX_SERIES)
    for row in sorted(seen, key=lambda row: (row.observed_at, row.known_at)):
        newest[row.series] = row
    heads = (Head("index"), Head("USD per GPU hour", right=True), Head("day"), Head("panel"))
    rows = tuple(
        (Cell(row.series), Cell(f"{row.value:.3f}"), Cell(f"{row.observed_at:%Y-%m-%d %H:%M} UTC"), Cell(row.note))
        for row in newest.values()
    )
    none = Cell("no index yet: it needs offers of several providers over several days", "dim")
    return Table("", heads if rows else (), rows, () if rows else (none,))


def assumptions(it: Moment) -> Table:
    """Every number nobody disclosed, its range and why, and whether anything on this page used it."""
    used = {text for column in it.numbers.columns.values() for texts in column.used.values() for text in texts}
    numbers = (Head(text, right=True) for text in ("low", "middle", "high"))
    words = (Head(text) for text in ("unit", "used now", "why", "source"))
    heads = (Head("assumption"), Head("for"), *numbers, *words)
    rows = tuple(
        (
            Cell(one.name),
            Cell(one.kind.replace("_", " ")),
            Cell(f"{one.low:,.6g}"),
            Cell(f"{one.middle:,.6g}"),
            Cell(f"{one.high:,.6g}"),
            Cell(one.unit),
            Cell("yes" if any(text.startswith(one.name) for text in used) else "no"),
            Cell(one.why),
            Cell(one.source),
        )
        for one in it.known.assumptions
    )
    return Table("", heads, rows)
