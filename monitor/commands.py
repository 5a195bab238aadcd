"""The words a user may type, one decorated function each; the command line and the chat share them.

A command gets its services and the words after its own, and gives back a :class:`Reply`: tables for people, data for
machines. It reaches nothing by itself: no store, no source, no channel.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from monitor.config import Config
from monitor.known import KnownBorrower, as_known
from monitor.model import Book, CanaryError, Fact
from monitor.overview import Overview, overview_json, overview_table
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Table, Tone, show

Role = Literal["viewer", "operator", "editor"]


@dataclass(frozen=True)
class Reply:
    """What a command answers. ``finding`` becomes exit code 1."""

    data: Mapping[str, object]
    tables: tuple[Table, ...]
    finding: bool = False


@dataclass(frozen=True, slots=True)
class Thing:
    """One part Canary found: a source, a channel, a metric, a rule. ``off`` says why it is not used."""

    name: str
    what: str
    file: str
    off: str = ""


@dataclass(frozen=True)
class Checked:
    """What reading every file gave: how many of each kind, and what is worth a second look."""

    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Services:
    """What commands may ask for. Each is called only by the command that needs it."""

    now: datetime
    config: Config
    book: Callable[[], Book]
    #: the last evaluation, or None when there was none yet
    overview: Callable[[], Overview | None]
    things: Callable[[], Mapping[str, Sequence[Thing]]]
    check: Callable[[], Checked]
    #: who runs the daemon ("process 123"), or None
    daemon: Callable[[], str | None]


Work = Callable[[Services, Sequence[str]], Reply]


@dataclass(frozen=True, slots=True)
class Command:
    """One word: what it does in a line, who may type it, and the work."""

    name: str
    help: str
    role: Role
    run: Work


COMMANDS: dict[str, Command] = {}


def command(name: str, role: Role = "viewer") -> Callable[[Work], Work]:
    """Register a function as a word a user may type; the first line of its docstring is the help."""

    def register(work: Work) -> Work:
        COMMANDS[name] = Command(name, (work.__doc__ or "").strip().split("\n")[0].rstrip("."), role, work)
        return work

    return register


def _one_of(word: str, known: Sequence[str], what: str) -> str:
    if word in known:
        return word
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
    raise CanaryError(f"no {what} {word[:60]!r}; {hint}")


# ---------------------------------------------------------------- status
@command("status")
def status(services: Services, words: Sequence[str]) -> Reply:
    """Show the last evaluation: every borrower, what fires, what is unknown."""
    who = services.daemon()
    running = f"the daemon is running ({who})" if who else "the daemon is not running: canary run"
    shown = services.overview()
    if shown is None:
        text = f"nothing was evaluated yet by this version; {running}"
        return Reply({"evaluated": False, "daemon": who}, (Table(text),), finding=True)
    age_s = (services.now - shown.at).total_seconds()
    stale = shown.recorded is None and age_s > 2 * services.config.schedule.every
    age = Cell(f"evaluated {show(age_s, 's')} ago; {running}", "warning" if stale else "dim")
    main = overview_table(shown)
    data = {**overview_json(shown), "evaluated": True, "age_s": age_s, "stale": stale, "daemon": who}
    table = Table(main.title, main.heads, main.rows, (*main.notes, age), main.banner)
    return Reply(data, (table,), finding=stale or shown.firing > 0)


# ---------------------------------------------------------------- list
@command("list")
def list_things(services: Services, words: Sequence[str]) -> Reply:
    """Show everything that was found and its file: sources, channels, metrics, rules, words."""
    found = services.things()
    chosen = [_one_of(words[0], tuple(found), "kind of thing")] if words else list(found)
    heads = (Head("name"), Head("what"), Head("file", expendable=1))
    tables = tuple(Table(kind, heads, tuple(_thing_row(thing) for thing in found[kind])) for kind in chosen)
    data = {
        kind: [{"name": t.name, "what": t.what, "file": t.file, "off": t.off or None} for t in found[kind]]
        for kind in chosen
    }
    return Reply(data, tables)


def _thing_row(thing: Thing) -> tuple[Cell, ...]:
    tone: Tone = "dim" if thing.off else ""
    return Cell(thing.name, tone), Cell(thing.off or thing.what, tone), Cell(thing.file, "dim")


# ---------------------------------------------------------------- check
@command("check")
def check(services: Services, words: Sequence[str]) -> Reply:
    """Read config, rules, book and scenarios, and say everything that is wrong with them."""
    result = services.check()
    found = services.config.found
    counts = ", ".join(f"{count} {name if count != 1 else name[:-1]}" for name, count in result.counts.items())
    notes = (Cell(f"config: {found.file} ({found.why})", "dim"), *(Cell(text, "warning") for text in result.warnings))
    data = {"config": str(found.file), "counts": dict(result.counts), "warnings": list(result.warnings)}
    return Reply(data, (Table(f"all files can be used: {counts}", notes=notes),), finding=bool(result.warnings))


# ---------------------------------------------------------------- book
@command("book")
def book(services: Services, words: Sequence[str]) -> Reply:
    """Show what is known about the borrowers, or every figure of one with its dates and source."""
    whole = services.book()
    known = {borrower.id: borrower for borrower in as_known(whole, services.now).borrowers}
    if words:
        return _one_borrower(known[_one_of(words[0], tuple(known), "borrower")], services.now)
    heads = (
        Head("id"),
        Head("borrower", expendable=1),
        Head("kind", expendable=2),
        Head("status"),
        Head("debt USD", right=True),
        Head("cash USD", right=True),
        Head("facilities", right=True, expendable=3),
        Head("figures as of"),
        Head("age", right=True),
    )
    rows = tuple(_borrower_row(borrower, services.now) for borrower in known.values())
    data = {"borrowers": [_borrower_json(borrower, services.now) for borrower in known.values()]}
    return Reply(data, (Table(f"the book as known at {services.now:%Y-%m-%d %H:%M} UTC", heads, rows),))


def _newest(borrower: KnownBorrower) -> date | None:
    return max((fact.as_of for fact in borrower.facts.values()), default=None)


def _borrower_row(borrower: KnownBorrower, now: datetime) -> tuple[Cell, ...]:
    newest = _newest(borrower)
    who = borrower.borrower
    return (
        Cell(who.id),
        Cell(who.name),
        Cell(who.kind.replace("_", " ")),
        Cell(who.status.replace("_", " "), "" if who.status == "watched" else "dim"),
        Cell(show(borrower.number("debt_usd"), "usd")),
        Cell(show(borrower.number("cash_unrestricted_usd"), "usd")),
        Cell(str(len(borrower.facilities)) if borrower.facilities else NOT_APPLICABLE),
        Cell(newest.isoformat() if newest else UNKNOWN),
        Cell(show(_age_s(newest, now), "s")),
    )


def _age_s(day: date | None, now: datetime) -> float | None:
    return None if day is None else (now - datetime(day.year, day.month, day.day, tzinfo=UTC)).total_seconds()


def _borrower_json(borrower: KnownBorrower, now: datetime) -> dict[str, object]:
    newest = _newest(borrower)
    who = borrower.borrower
    return {
        "id": who.id,
        "name": who.name,
        "kind": who.kind,
        "status": who.status,
        "debt_usd": borrower.number("debt_usd"),
        "cash_unrestricted_usd": borrower.number("cash_unrestricted_usd"),
        "as_of": newest.isoformat() if newest else None,
        "file": who.file,
        "missing": list(who.missing),
    }


FACT_HEADS = (
    Head("figure"),
    Head("value", right=True),
    Head("as of"),
    Head("published", expendable=1),
    Head("quality"),
    Head("source"),
)


def _one_borrower(borrower: KnownBorrower, now: datetime) -> Reply:
    who = borrower.borrower
    notes = [Cell(f"missing: {text}", "warning") for text in who.missing]
    notes += [Cell(f"{event.happened} {event.kind.replace('_', ' ')}: {event.source}") for event in borrower.events]
    title = f"{who.name} ({who.kind.replace('_', ' ')}, {who.status.replace('_', ' ')}), {who.file}"
    tables = [Table(title, FACT_HEADS, tuple(map(_fact_row, borrower.facts.values())), tuple(notes))]
    for debt in borrower.debts:
        terms = [debt.debt.kind.replace("_", " "), f"due {debt.debt.maturity or UNKNOWN}"]
        terms.append(f"recourse {debt.debt.recourse or UNKNOWN}")
        rows = tuple(map(_fact_row, debt.facts.values()))
        tables.append(Table(f"debt {debt.debt.id}: {debt.debt.name} ({', '.join(terms)})", FACT_HEADS, rows))
    for pool in borrower.facilities:
        facility = pool.facility
        rows = tuple(map(_fact_row, pool.facts.values()))
        parts = f"{len(facility.units) + len(facility.cost_vintages)} vintages, {len(facility.contracts)} contracts"
        title = f"facility {facility.id}: {facility.name} ({facility.pool.replace('_', ' ')}, {parts})"
        tables.append(Table(title, FACT_HEADS if rows else (), rows))
    data = {
        **_borrower_json(borrower, now),
        "facts": [_fact_json(fact) for fact in borrower.facts.values()],
        "debts": [
            {"id": d.debt.id, "name": d.debt.name, "facts": list(map(_fact_json, d.facts.values()))}
            for d in borrower.debts
        ],
        "facilities": [
            {"id": f.facility.id, "name": f.facility.name, "facts": list(map(_fact_json, f.facts.values()))}
            for f in borrower.facilities
        ],
        "events": [{"kind": e.kind, "happened": e.happened.isoformat(), "source": e.source} for e in borrower.events],
    }
    return Reply(data, tuple(tables))


def _fact_row(fact: Fact) -> tuple[Cell, ...]:
    tone: Tone = "dim" if fact.quality == "assumed" else ""
    published = fact.published.isoformat() if fact.published else UNKNOWN
    return (
        Cell(fact.field, tone),
        Cell(_value(fact), tone),
        Cell(fact.as_of.isoformat()),
        Cell(published),
        Cell(fact.quality, tone),
        Cell(fact.source + (f" ({fact.note})" if fact.note else "")),
    )


def _value(fact: Fact) -> str:
    if isinstance(fact.value, (bool, str, date)):
        return str(fact.value)
    return show(fact.value, "usd" if fact.field.endswith("_usd") else "count" if abs(fact.value) >= 1000 else "")


def _fact_json(fact: Fact) -> dict[str, object]:
    value = fact.value.isoformat() if isinstance(fact.value, date) else fact.value
    return {
        "field": fact.field,
        "value": value,
        "as_of": fact.as_of.isoformat(),
        "published": fact.published.isoformat() if fact.published else None,
        "quality": fact.quality,
        "source": fact.source,
        "note": fact.note,
    }
