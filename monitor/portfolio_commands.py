"""``canary portfolio``: what is held, how near each borrower is to its lines, what fires, who watches and mutes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.asking import DATABASES, last_overview
from monitor.commands import Reply
from monitor.overview import Overview, Reading, Row
from monitor.portfolio import Person, Portfolio, Position
from monitor.store import Store
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Table, Tone, show
from monitor.world import build_world

if TYPE_CHECKING:
    from monitor.shell import Shell

#: the numbers shown of every borrower held, as the overview names them
SHOWN = (("liquidity 12m", "liquidity_locked_12m"), ("worst LTV", "ltv_economic"), ("worst DSCR", "dscr"))


def run_portfolio(shell: Shell) -> int:
    """Show the portfolio beside the last evaluation; 1 when something fires of what is held."""
    config, now = shell.config(), datetime.now(UTC)
    world = build_world(config, offline=shell.offline)
    held = world.portfolio
    if not held.positions and not held.people:
        where = config.paths.portfolio
        text = f"there is no portfolio; write what is held into {where.name if where else 'portfolio.yaml'}"
        example = (
            "holdings: [{borrower: coreweave, instrument: 9.25% notes 2030, notional_usd: 25m, quote: bond_price}]"
        )
        return shell.show(Reply({"holdings": [], "people": []}, (Table(text, notes=(Cell(example, "dim"),)),)))
    shown = last_overview(config.paths.state)
    quotes = last_quotes(config.paths.state, held.held)
    return shell.show(reply(held, shown, quotes, now))


def reply(held: Portfolio, shown: Overview | None, quotes: dict[str, float], now: datetime) -> Reply:
    """The portfolio as tables and data. ``quotes``: bond prices of the last evaluation by borrower."""
    rows = {row.borrower: row for row in shown.rows} if shown else {}
    firing = {name: [one.rule for one in row.alerts if one.severity != "info"] for name, row in rows.items()}
    for alert in shown.stub_alerts if shown else ():
        firing.setdefault(alert.subject.partition("/")[0], []).append(alert.rule)
    heads = (
        *(Head("borrower"), Head("instrument"), Head("notional USD", right=True), Head("last quote", right=True)),
        *(Head(label, right=True, expendable=1) for label, _ in SHOWN),
        *(Head("alerts firing"), Head("note", expendable=2)),
    )
    cells = tuple(_row(one, rows.get(one.borrower), firing.get(one.borrower, []), quotes) for one in held.positions)
    total = sum(one.notional_usd for one in held.positions)
    as_of = f"as of {shown.at:%Y-%m-%d %H:%M} UTC" if shown else "nothing was evaluated yet"
    banner = f" RECORDED {shown.recorded}: judged on recorded prices " if shown and shown.recorded else ""
    notes = tuple(Cell(line, "dim") for line in _people_lines(held.people, now))
    title = f"{len(held.positions)} positions of {len(held.held)} borrowers, {show(total, 'usd')} USD net, {as_of}"
    data = {
        "at": shown.at.isoformat() if shown else None,
        "holdings": [
            _json(one, rows.get(one.borrower), firing.get(one.borrower, []), quotes) for one in held.positions
        ],
        "people": [
            {
                "user": person.user,
                "watches": list(person.watches),
                "mutes": [{"borrower": mute.borrower, "until": mute.until.isoformat()} for mute in person.mutes],
            }
            for person in held.people
        ],
    }
    alarm = any(firing.get(one.borrower) for one in held.positions)
    return Reply(data, (Table(title, heads if cells else (), cells, notes, banner),), finding=alarm)


def _row(one: Position, row: Row | None, firing: Sequence[str], quotes: dict[str, float]) -> tuple[Cell, ...]:
    tone: Tone = row.severity if row and firing else ""
    quote = quotes.get(one.borrower) if one.quote else None
    quoted = show(quote, "points") if one.quote else NOT_APPLICABLE
    return (
        Cell(one.borrower, tone),
        Cell(one.instrument),
        Cell(show(one.notional_usd, "usd")),
        Cell(f"{quoted} %" if quote is not None else quoted),
        *(Cell(_reading(row, metric).text() if row else UNKNOWN) for _, metric in SHOWN),
        Cell(", ".join(firing) or NOT_APPLICABLE, tone),
        Cell(one.note or NOT_APPLICABLE, "dim"),
    )


def _reading(row: Row, metric: str) -> Reading:
    return row.readings.get(metric) or Reading(None, "", reason="it was not shown")


def _json(one: Position, row: Row | None, firing: Sequence[str], quotes: dict[str, float]) -> dict[str, object]:
    return {
        "borrower": one.borrower,
        "instrument": one.instrument,
        "notional_usd": one.notional_usd,
        "quote": quotes.get(one.borrower) if one.quote else None,
        "note": one.note,
        "readings": {metric: _reading(row, metric).json() for _, metric in SHOWN} if row else {},
        "firing": list(firing),
    }


def _people_lines(people: Sequence[Person], now: datetime) -> list[str]:
    """What each person watches and still mutes."""
    lines = []
    for person in people:
        mutes = [f"{one.borrower} until {one.until:%Y-%m-%d %H:%M} UTC" for one in person.mutes if now < one.until]
        said = [f"watches {', '.join(person.watches)}"] if person.watches else []
        said += [f"mutes {', '.join(mutes)}"] if mutes else []
        lines.append(f"person {person.user} {' and '.join(said) or 'watches and mutes nothing'}")
    return lines


def last_quotes(state: Path, borrowers: Sequence[str]) -> dict[str, float]:
    """The bond prices of the last evaluation, percent of par, of those who had one that might be used."""
    for name in DATABASES:
        path = state / name
        if path.exists():
            with Store.reader(path) as reader:
                last = reader.last_tick()
                past = reader.metric_history("bond_price", borrowers) if last and borrowers else None
                if last is not None and past is not None:
                    values, known = past.at(last.eval_at.timestamp())
                    return {who: float(v) for who, v, k in zip(borrowers, values, known, strict=True) if k}
    return {}
