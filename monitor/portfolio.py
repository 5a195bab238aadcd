"""``portfolio.yaml``: what is held of whom, and what each person watches and mutes. Optional and private.

It stands beside the config and is read like every other file: strictly, with every mistake at its place. What is held
leads messages and digests and can be a route of its own (``holdings: true``); a person's mutes and watches hold for the
routes that lead to that person alone. Amounts never reach logs, metrics or the database of evaluations; messages that
name them do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from monitor.booktext import Slug
from monitor.context import Context, Holding
from monitor.model import InputError, Line, Problem, Quote
from monitor.routes import Mute, Route, borrower_of
from monitor.yamltext import Node, Quantity, Strict, Text, check, parse_tree, read_file, suggest

#: nobody holds more of one instrument, in USD; a figure above it was written in another unit
LARGEST_USD = 1e12
MAX_HOLDINGS, MAX_PEOPLE = 5_000, 1_000


def _moment(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a moment such as 2026-12-01T07:00Z")
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value[:40]!r} is no moment; write for example 2026-12-01T07:00Z") from None
    if at.tzinfo is None:
        raise ValueError(f"{value[:40]!r} names no time zone; write for example 2026-12-01T07:00Z")
    return value


Moment = Annotated[str, AfterValidator(_moment)]


class HoldingText(Strict):
    """One position. A short one is negative; ``quote`` names the series that quotes it, in percent of par."""

    borrower: Slug
    instrument: str = Field(min_length=1, max_length=120)
    notional_usd: Annotated[Quantity, Field(ge=-LARGEST_USD, le=LARGEST_USD)]
    quote: Literal["bond_price"] | None = None
    note: str = Field("", max_length=300)


class MuteText(Strict):
    """A borrower a person does not want to hear of until a moment. Critical alerts come all the same."""

    borrower: Slug
    until: Moment


class PersonText(Strict):
    """One person, by the number Telegram knows him by."""

    user: int = Field(gt=0)
    watches: tuple[Slug, ...] = ()
    mutes: tuple[MuteText, ...] = ()


class PortfolioText(Strict):
    """The whole file as written."""

    holdings: Annotated[tuple[HoldingText, ...], Field(max_length=MAX_HOLDINGS)] = ()
    people: Annotated[tuple[PersonText, ...], Field(max_length=MAX_PEOPLE)] = ()


# ---------------------------------------------------------------- in use
@dataclass(frozen=True, slots=True)
class Position:
    """What is held of one instrument of one borrower."""

    borrower: str
    instrument: str
    notional_usd: float
    quote: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """What one person watches and mutes."""

    user: int
    watches: tuple[str, ...] = ()
    mutes: tuple[Mute, ...] = ()


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Everything written in the file; empty where there is none."""

    positions: tuple[Position, ...] = ()
    people: tuple[Person, ...] = ()

    @property
    def held(self) -> tuple[str, ...]:
        """The borrowers of whom something is held, each once, in the order of the file."""
        return tuple(dict.fromkeys(position.borrower for position in self.positions))


def load_portfolio(path: Path | None, borrowers: Collection[str] = ()) -> Portfolio:
    """Read the file; an empty portfolio where there is none. InputError with every mistake and its place.

    ``borrowers``: those of the book; a name that is not among them is a mistake. Empty: the book is not known.
    """
    if path is None or not path.exists():
        return Portfolio()
    return portfolio_of(read_file(path), borrowers)


def portfolio_of(text: Text, borrowers: Collection[str] = ()) -> Portfolio:
    """The portfolio a text says.

    >>> said = "holdings: [{borrower: acme, instrument: Notes 2030, notional_usd: 25m}]"
    >>> portfolio_of(Text(said, "portfolio.yaml"), ["acme"]).positions[0].notional_usd
    25000000.0
    >>> portfolio_of(Text(said, "portfolio.yaml"), ["acmee"])
    Traceback (most recent call last):
    ...
    monitor.model.InputError: portfolio.yaml:1:23: the book has no borrower 'acme'
        holdings: [{borrower: acme, instrument: Notes 2030, notional_usd: 25m}]
                              ^^^^
        did you mean 'acmee'?
    """
    if only_remarks(text):
        return Portfolio()
    tree = parse_tree(text)
    written = check(PortfolioText, tree, text)
    problems = [
        text.problem(f"the book has no borrower {node.value!r}", suggest(str(node.value), sorted(borrowers)), node)
        for node in _borrower_nodes(tree)
        if borrowers and node.value not in borrowers
    ]
    problems += _twice(text, tree, written)
    if problems:
        raise InputError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return Portfolio(
        tuple(Position(h.borrower, h.instrument, h.notional_usd, h.quote or "", h.note) for h in written.holdings),
        tuple(Person(p.user, p.watches, tuple(map(_mute, p.mutes))) for p in written.people),
    )


def only_remarks(text: Text) -> bool:
    """Whether nothing is said in a text: blank lines and remarks only.

    >>> only_remarks(Text("# holdings: []\\n\\n", "p.yaml"))
    True
    """
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.lines)


def _mute(written: MuteText) -> Mute:
    return Mute(written.borrower, datetime.fromisoformat(written.until).astimezone(UTC))


def _borrower_nodes(tree: Node) -> list[Node]:
    """Every place of the file that names a borrower."""
    found = [one.value["borrower"] for one in _items(tree, "holdings")]
    for person in _items(tree, "people"):
        found += _items(person, "watches")
        found += [mute.value["borrower"] for mute in _items(person, "mutes")]
    return found


def _items(node: Node, key: str) -> list[Node]:
    return list(node.value[key].value) if isinstance(node.value, dict) and key in node.value else []


def _twice(text: Text, tree: Node, written: PortfolioText) -> list[Problem]:
    users = [person.user for person in written.people]
    return [
        text.problem(f"the person {user} is written twice", "keep one entry for each", node.value["user"])
        for i, (user, node) in enumerate(zip(users, _items(tree, "people"), strict=True))
        if user in users[:i]
    ]


# ---------------------------------------------------------------- who hears of what
def routed(routes: Sequence[Route], portfolio: Portfolio) -> tuple[Route, ...]:
    """The routes with what the portfolio says: borrowers held for ``holdings: true``, a person's watches and mutes.

    A watch adds a borrower to a route that is limited to some; it never takes one away. A route to a person is one
    whose ``to`` is the person's number.

    >>> held = Portfolio((Position("acme", "Notes", 1e6),), (Person(42, ("zeta",)),))
    >>> [route.borrowers for route in routed([Route("own", "telegram", "42", holdings=True)], held)]
    [('acme', 'zeta')]
    """
    people = {str(person.user): person for person in portfolio.people}
    return tuple(_routed(route, portfolio, people.get(route.to)) for route in routes)


def _routed(route: Route, portfolio: Portfolio, person: Person | None) -> Route:
    borrowers = route.borrowers
    if route.holdings:
        borrowers = tuple(name for name in portfolio.held if not borrowers or name in borrowers)
    if person is not None and borrowers:
        borrowers = tuple(dict.fromkeys((*borrowers, *person.watches)))
    return replace(route, borrowers=borrowers, muted=person.mutes if person else ())


def deaf(routes: Sequence[Route]) -> list[str]:
    """Names of routes that would hear of nothing: ``holdings: true`` where none of their borrowers is held."""
    return [route.name for route in routes if route.holdings and not route.borrowers]


# ---------------------------------------------------------------- in messages
def exposed(
    contexts: Sequence[Context], portfolio: Portfolio, quotes: Mapping[tuple[str, str], Quote]
) -> list[Context]:
    """The same contexts, each with what is held of its borrower and the last quote of it."""
    mine: dict[str, list[Holding]] = {}
    for position in portfolio.positions:
        mine.setdefault(position.borrower, []).append(_holding(position, quotes))
    return [replace(one, holdings=tuple(mine.get(borrower_of(one.event.subject), ()))) for one in contexts]


def _holding(position: Position, quotes: Mapping[tuple[str, str], Quote]) -> Holding:
    """One position with its last quote, where a series quotes it and its last value may still be used."""
    quote = quotes.get((position.quote, position.borrower)) if position.quote else None
    if quote is None or not quote.known:
        return Holding(position.instrument, position.notional_usd)
    day = quote.observed_at.date() if quote.observed_at else None
    return Holding(position.instrument, position.notional_usd, quote.value, day, quote.source)


def muted_lines(route: Route, now: datetime) -> list[Line]:
    """What the person of a route muted, for the daily digest."""
    open_ = [mute for mute in route.muted if now < mute.until]
    return [
        Line("" if i else "muted", f"{mute.borrower} until {mute.until:%Y-%m-%d %H:%M} UTC, but for critical alerts")
        for i, mute in enumerate(open_)
    ]
