"""The words a user may type, one decorated function each; the command line and the chat share them.

A command gets its services and the words after its own, and gives back a :class:`Reply`: tables for people, data for
machines. It reaches nothing by itself: no store, no source, no channel.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal

from monitor.config import Config
from monitor.explaining import Explanation
from monitor.known import KnownBorrower, KnownFacility, as_known
from monitor.model import Book, CanaryError, Fact, Severity
from monitor.overview import Overview, overview_json, overview_table
from monitor.promrules import Export
from monitor.routes import Overlay
from monitor.ruletests import Outcome
from monitor.standing import Alerts
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
    #: said, but no finding
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explained:
    """One rule explained at the last evaluation, for one subject or for all of them."""

    at: datetime
    found: tuple[Explanation, ...]
    recorded: bool = False
    #: the files that decide an outcome were edited since that evaluation
    edited: bool = False


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
    #: (rule, borrower or facility or nothing) -> that rule at the last evaluation
    explain: Callable[[str, str], Explained]
    #: test files, or none for those beside the rules -> what running them and all proofs found
    test: Callable[[Sequence[str]], Outcome]
    export: Callable[[], Export]
    #: every alert of the database `status` shows, or None when nothing was evaluated yet
    alerts: Callable[[], Alerts | None]
    #: write a word over alerts there, in the place of one of the same kind and names; its number
    say: Callable[[Overlay], int]
    #: end the words of these numbers
    unsay: Callable[[Sequence[int]], None]
    #: how severe each rule is
    severities: Callable[[], Mapping[str, Severity]]
    #: what is wrong with the installation itself, in words; nothing when all is well
    unwell: Callable[[], Sequence[str]] = tuple


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
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
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
    what = "recorded prices end" if shown.recorded else "evaluated"
    age = Cell(f"{what} {show(age_s, 's')} ago; {running}", "warning" if stale else "dim")
    main, unwell = overview_table(shown), list(services.unwell())
    data = {**overview_json(shown), "evaluated": True, "age_s": age_s, "stale": stale, "daemon": who, "unwell": unwell}
    wrong = [Cell(f"not well: {reason}", "warning") for reason in unwell]
    table = Table(main.title, main.heads, main.rows, (*main.notes, *wrong, age), main.banner)
    return Reply(data, (table,), finding=stale or bool(unwell) or shown.firing > 0)


# ---------------------------------------------------------------- list
@command("list")
def list_things(services: Services, words: Sequence[str]) -> Reply:
    """Show everything that was found and its file: sources, channels, metrics, rules, words."""
    found = services.things()
    chosen = [_one_of(words[0], tuple(found), "kind of thing")] if words else list(found)
    heads = (Head("name"), Head("what"), Head("file", expendable=1))
    tables = tuple(
        Table(kind, heads, tuple(_thing_row(thing) for thing in found[kind]))
        if found[kind]
        else Table(kind, notes=(Cell("none", "dim"),))
        for kind in chosen
    )
    data = {
        kind: [{"name": t.name, "what": t.what, "file": t.file, "off": t.off or None} for t in found[kind]]
        for kind in chosen
    }
    return Reply(data, tables)


def _thing_row(thing: Thing) -> tuple[Cell, ...]:
    tone: Tone = "dim" if thing.off else ""
    return Cell(thing.name, tone), Cell(thing.off or thing.what, tone), Cell(thing.file, "dim")


# ---------------------------------------------------------------- check
NONE = {
    "rules": "there is no rule, so nothing can fire: canary init DIR lays out a starter set to copy from",
    "scenarios": "there is no scenario: canary stress still takes --btc, --rent and --spread",
}


@command("check")
def check(services: Services, words: Sequence[str]) -> Reply:
    """Read config, rules, book and scenarios, and say everything that is wrong with them."""
    result = services.check()
    found = services.config.found
    counts = ", ".join(f"{count} {name if count != 1 else name[:-1]}" for name, count in result.counts.items())
    said = [Cell(line, tone) for text, tone in _said(result) for line in text.split("\n")]
    none = [Cell(text, "warning") for name, text in NONE.items() if not result.counts.get(name, 1)]
    notes = (Cell(f"config: {found.file} ({found.why})", "dim"), *none, *said)
    texts = {"warnings": list(result.warnings), "hints": list(result.hints)}
    data = {"config": str(found.file), "counts": dict(result.counts), **texts}
    return Reply(data, (Table(f"all files can be used: {counts}", notes=notes),), finding=bool(result.warnings))


def _said(result: Checked) -> list[tuple[str, Tone]]:
    return [*((text, "warning") for text in result.warnings), *((text, "dim") for text in result.hints)]


# ---------------------------------------------------------------- rules: test, explain, export
@command("test")
def run_tests(services: Services, words: Sequence[str]) -> Reply:
    """Run the proofs of the rules and their tests on a virtual clock; 1 when one fails."""
    outcome = services.test(words)
    wrong = [
        f"{one.rule.file}:{one.proof.line}: {one.rule.id} {_proof(one.fired)}" for one in outcome.proofs if not one.ok
    ]
    wrong += [failure for result in outcome.tests for failure in result.failures]
    decided = f"{outcome.comparisons - len(outcome.undecided)} of {outcome.comparisons} comparisons decided both ways"
    good = f"{sum(one.ok for one in outcome.proofs)} of {len(outcome.proofs)} proofs and "
    good += f"{sum(one.ok for one in outcome.tests)} of {len(outcome.tests)} tests hold; {decided}"
    notes = [Cell(text, "critical") for text in wrong]
    notes += [
        Cell(f"never put to the test: {u.rule} {u.part}: {u.text} ({_seen(u.seen)})", "dim") for u in outcome.undecided
    ]
    data = {
        "proofs": len(outcome.proofs),
        "tests": len(outcome.tests),
        "failures": wrong,
        "comparisons": outcome.comparisons,
        "undecided": [{"rule": u.rule, "part": u.part, "text": u.text, "seen": u.seen} for u in outcome.undecided],
    }
    return Reply(data, (Table(good, notes=tuple(notes)),), finding=not outcome.ok)


def _proof(fired: bool) -> str:
    return "fires on its own example" if fired else "stays quiet on its own example"


def _seen(seen: str) -> str:
    return "it decided nothing" if seen == "never" else f"it decided {seen}"


@command("explain")
def explain(services: Services, words: Sequence[str]) -> Reply:
    """Show why a rule fires or does not: every number, what is unknown, since when, and what was said to whom."""
    if not 1 <= len(words) <= 2:
        raise CanaryError("write: explain RULE [BORROWER]")
    rule = _one_of(words[0], [thing.name for thing in services.things()["rules"]], "rule")
    said = services.explain(rule, words[1] if len(words) > 1 else "")
    moment = f"as evaluated {said.at:%Y-%m-%d %H:%M} UTC" + (" on recorded prices" if said.recorded else "")
    notes = [Cell(moment, "dim")]
    notes += (
        [Cell("files were edited since: numbers are of the files as they are now", "warning")] if said.edited else []
    )
    if len(words) > 1:
        tables = [_explanation(one) for one in said.found]
    else:
        heads = (Head("subject"), Head("answer"), Head("state"), Head("why"))
        rows = tuple((Cell(o.subject), Cell(o.answer), Cell(o.state), Cell(o.says)) for o in said.found)
        tables = [Table(rule, heads, rows)]
    return Reply(_explained_json(rule, said), (*tables, Table("", notes=tuple(notes))))


def _explanation(one: Explanation) -> Table:
    heads = (Head(""), Head("what"), Head("number"))
    tones: dict[str, Tone] = {"true": "warning", "unknown": "dim", "false": ""}
    rows = tuple((Cell(label, tones.get(label, "dim")), Cell(what), Cell(number)) for label, what, number in one.rows)
    return Table(f"{one.rule} of {one.subject}: {one.answer}; {one.says}", heads, rows)


def _explained_json(rule: str, said: Explained) -> dict[str, object]:
    found = [
        {
            "subject": one.subject,
            "answer": one.answer,
            "state": one.state,
            "says": one.says,
            "comparisons": [
                {"text": c.text, "answer": c.answer, "left": c.left, "right": c.right} for c in one.comparisons
            ],
            "rows": [list(row) for row in one.rows],
        }
        for one in said.found
    ]
    return {"rule": rule, "at": said.at.isoformat(), "recorded": said.recorded, "edited": said.edited, "found": found}


# ---------------------------------------------------------------- book
@command("book")
def book(services: Services, words: Sequence[str]) -> Reply:
    """Show what is known about the borrowers, or every figure of one with its dates and source."""
    whole = services.book()
    known = {borrower.id: borrower for borrower in as_known(whole, services.now).borrowers}
    if words:
        return borrower_reply(known[_one_of(words[0], tuple(known), "borrower")], services.now)
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
    Head("published"),
    Head("quality"),
    Head("source", right=True),
)
DEBT_HEADS = (Head("debt"), Head("kind", expendable=2), Head("due"), Head("recourse", expendable=1), *FACT_HEADS)
POOL_HEADS = (Head("facility"), Head("pool", expendable=1), *FACT_HEADS)


class _Sources:
    """The documents behind the figures of one borrower, numbered as they come up."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def row(self, fact: Fact) -> tuple[Cell, ...]:
        """A figure as cells; its document is a number, explained once below."""
        tone: Tone = "dim" if fact.quality == "assumed" else ""
        text = fact.source + (f": {fact.note}" if fact.note else "")
        return (
            Cell(fact.field, tone),
            Cell(_value(fact), tone),
            Cell(fact.as_of.isoformat()),
            Cell(fact.publication),
            Cell(fact.quality, tone),
            Cell(f"[{self.seen.setdefault(text, len(self.seen) + 1)}]"),
        )

    def rows(self, of: Sequence[str], facts: Iterable[Fact]) -> list[tuple[Cell, ...]]:
        """The figures of one instrument or pool; what it is stands in the first row only."""
        named, again = tuple(map(Cell, of)), (Cell(""),) * len(of)
        return [(*(again if i else named), *self.row(fact)) for i, fact in enumerate(facts)]

    def table(self) -> Table:
        """What the numbers stand for."""
        return Table("sources", notes=tuple(Cell(f"[{number}] {text}", "dim") for text, number in self.seen.items()))


def borrower_reply(borrower: KnownBorrower, now: datetime) -> Reply:
    """Every figure of one borrower with its dates and source."""
    who, sources = borrower.borrower, _Sources()
    notes = [Cell(f"missing: {text}", "warning") for text in who.missing]
    for one in borrower.events:
        said = f"{one.note.rstrip('.')}; {one.source}" if one.note else one.source
        notes.append(Cell(f"{one.happened} {one.kind.replace('_', ' ')}: {said}"))
    title = f"{who.name} ({who.kind.replace('_', ' ')}, {who.status.replace('_', ' ')}), {who.file}"
    tables = [Table(title, FACT_HEADS, tuple(map(sources.row, borrower.facts.values())), tuple(notes))]
    debts = [
        row
        for known in borrower.debts
        for row in sources.rows(
            (
                known.debt.id,
                known.debt.kind.replace("_", " "),
                str(known.debt.maturity or UNKNOWN),
                known.debt.recourse or UNKNOWN,
            ),
            known.facts.values(),
        )
    ]
    pools = [
        row
        for pool in borrower.facilities
        for row in sources.rows(
            (pool.facility.id, pool.facility.pool.replace("_", " ")), (*pool.facts.values(), *_pool_facts(pool))
        )
    ]
    tables += [Table("debts", DEBT_HEADS, tuple(debts))] if debts else []
    tables += [Table("facilities", POOL_HEADS, tuple(pools))] if pools else []
    tables.append(sources.table())
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


def _pool_facts(pool: KnownFacility) -> list[Fact]:
    """Machines, vintages and contracts of a pool, each written as one figure."""
    facility = pool.facility
    found = [replace(u.fact, field=f"{u.model} of {u.bought}", value=u.units) for u in facility.units]
    found += [
        replace(v.fact, field=f"hardware bought {v.bought}_usd", value=v.cost_usd) for v in facility.cost_vintages
    ]
    for contract in facility.contracts:
        name = f"{contract.id} with {contract.counterparty} monthly_usd"
        value = UNKNOWN if contract.monthly_revenue_usd is None else contract.monthly_revenue_usd
        found.append(replace(contract.fact, field=name, value=value))
    return found


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
        "published_at_latest": fact.at_latest,
        "quality": fact.quality,
        "source": fact.source,
        "note": fact.note,
    }
