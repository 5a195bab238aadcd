"""Everything about one borrower. What can be worked out for all of them together is worked out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.known import KnownBorrower
from monitor.model import Numbers
from monitor.overview import Overview as Shown
from monitor.overview import Row as OverviewRow
from monitor.overview import loudest, reading
from monitor.report import draw, figures
from monitor.report.causes import causes
from monitor.report.figs import LABELS, SUMMARY, fig
from monitor.report.heat import Heat, heats
from monitor.report.losses import losses
from monitor.report.moment import Moment
from monitor.report.parts import Alert, Bars, Causes, Fig, Section
from monitor.report.timeline import history
from monitor.stress.answers import Chances, ask, chances
from monitor.stress.scorecard import scorecard
from monitor.tables import Table
from monitor.units import format_usd

DISTANCE = "distance_sigma"


@dataclass(frozen=True)
class Solved:
    """What is worked out for all borrowers together: grids and cards by id, causes and chances in the state's order."""

    grids: Mapping[str, Heat]
    spread: Chances
    causes: tuple[Causes, ...]
    cards: Mapping[str, tuple[tuple[str, str], ...]]
    losses: tuple[Table, ...]


def sections(it: Moment, shown: Shown, alerts: Sequence[Alert]) -> tuple[Section, ...]:
    """Every borrower of the book: the judged ones in the order of the table, then the others."""
    rows = {row.borrower: row for row in shown.rows}
    solved = Solved(
        grids=heats(it.state),
        spread=chances(ask(it.state), n_paths=it.state.draws.n_paths),
        causes=causes(it.state, it.world.scenarios),
        cards=figures.cards(scorecard(it.state)),
        losses=losses(it.state),
    )
    known = {one.id: one for one in it.known.borrowers}
    order = [*rows, *sorted(who for who in known if who not in rows)]
    return tuple(_section(it, known[who], rows.get(who), alerts, solved) for who in order)


def _section(
    it: Moment,
    known: KnownBorrower,
    row: OverviewRow | None,
    alerts: Sequence[Alert],
    solved: Solved,
) -> Section:
    who = known.borrower
    b = it.numbers.subjects["borrower"].index(who.id)
    own = tuple(one for one in alerts if one.subject.partition("/")[0] == who.id)
    readings = {name: reading(it.numbers, name, b) for name in SUMMARY}
    cells = ((name, fig(one, name)) for name, one in readings.items() if one.value is not None)
    summary = tuple(
        (_plain(name), _directed(cell, it.numbers, b) if name == DISTANCE else cell) for name, cell in cells
    )
    return Section(
        id=who.id,
        name=who.name,
        kind=who.kind.replace("_", " "),
        status=who.status.replace("_", " "),
        summary=summary,
        unknown=figures.grouped(readings, {name: _plain(name) for name in SUMMARY}),
        tone=row.severity if row else loudest(()),
        alerts=own,
        stack=_stack(known),
        coins=figures.treasury(it.numbers, known, b),
        history=history(it, who.id, b),
        grid=draw.grid(solved.grids[who.id]),
        breach=_breach(it, b, solved.spread),
        causes=solved.causes[b],
        losses=solved.losses[b],
        pools=figures.pools(it.numbers, b),
        debts=figures.debts(known),
        cards=solved.cards.get(who.id, ()),
        notes=figures.notes(known),
        dated=figures.dated(known),
    )


def _directed(cell: Fig, numbers: Numbers, b: int) -> Fig:
    """The distance to a breach with the direction it lies in."""
    return replace(cell, why="; ".join(filter(None, (cell.why, numbers.columns[DISTANCE].detail.get(b, "")))))


def _plain(name: str) -> str:
    return LABELS.get(name, name.replace("_", " "))


def _stack(known: KnownBorrower) -> Bars:
    """Principal by the year it falls due, by kind of debt; what has no date stands at the end."""
    years: dict[str, dict[str, float]] = {}
    for one in known.debts:
        owed = one.number("principal_usd")
        if owed:
            year = str(one.debt.maturity.year) if one.debt.maturity else "no date"
            years.setdefault(year, {})
            kind = figures.kind_of(one.debt.kind)
            years[year][kind] = years[year].get(kind, 0.0) + owed
    note = "principal by the year of final maturity, as written in the book; instalments are not spread"
    if years:
        order = sorted(years)
        return draw.stacked(order, [years[year] for year in order], format_usd, note)
    buckets = {one.bucket.replace("_", " "): {"as filed": one.principal_usd} for one in known.maturities}
    if buckets:
        note = "principal by the bucket it was filed in"
        return draw.stacked(list(buckets), list(buckets.values()), format_usd, note)
    return Bars(reason="no instrument with an amount is in the book", note=note)


def _breach(it: Moment, b: int, spread: Chances) -> Bars:
    """When the first breach comes on simulated paths."""
    note = (
        f"share of {it.state.draws.n_paths:,} simulated paths whose first breach comes in that month; all assumptions "
        "in the middle, nothing new is built"
    )
    if not spread.pd.known[b]:
        return Bars(reason="; ".join(spread.pd.reasons.get(b, ("no reason was kept",))[:3]), note=note)
    return draw.months(spread.by_month[:, b], note)
