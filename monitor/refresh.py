"""``canary book refresh``: balance sheets from the SEC, proposed to a person as an edit of the book.

Per borrower with a CIK the company facts are read and compared with the book: a figure it does not have yet, or has
from a release or an assumption, is proposed as a new group of facts at the end of ``facts:`` with its dates, form and
tags. What the book took from a filing itself is never replaced; where EDGAR's tags say something else, that is shown.
The file keeps every byte it had; nothing is written without a yes.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.book import load_book, read_borrower
from monitor.config import FeedConfig
from monitor.edgar import Figure, Sheet, period_ends, read_facts, sheet
from monitor.edgar_shares import FIELD, share_count
from monitor.feeds import Feed, FeedSettings
from monitor.feeds.edgar import Edgar
from monitor.feeds.http import clean, new_http
from monitor.known import as_number, resolve
from monitor.model import Borrower, CanaryError, FeedError
from monitor.safewrite import alone, digest, inside, replace_file
from monitor.units import format_usd, parse_quantity
from monitor.yamltext import Node, Text, parse_tree, suggest

if TYPE_CHECKING:
    from monitor.config import Config
    from monitor.shell import Shell

#: how a group this command wrote is recognised: a restatement of its own figures is proposed again
SOURCE = "SEC company facts"
#: the same figure, rounded
SAME = 0.005
LIMIT_S = 60.0
MAX_FACTS_BYTES = 60_000_000
#: what no company-facts file holds, said every time so that nobody takes a fresh date for a full picture
NEVER_THERE = (
    "not in EDGAR's company facts, so not looked at: single debts with their terms and covenants, pledged coins and"
    " counts of coins by kind, facilities and contracts, guidance and press figures"
)


@dataclass(frozen=True)
class Proposal:
    """What EDGAR offers one borrower: figures to add by (period end, publication), and what to know about the rest."""

    borrower: str
    groups: Mapping[tuple[date, date], Mapping[str, Figure]]
    notes: tuple[str, ...]

    @property
    def figures(self) -> int:
        return sum(len(group) for group in self.groups.values())


# ---------------------------------------------------------------- what is proposed
def propose(borrower: Borrower, answer: object, today: date) -> Proposal:
    """Compare a company-facts answer with the book as it is written. FeedError when the answer cannot be used."""
    facts = read_facts(answer)
    notes: list[str] = []
    if facts.foreign:
        notes.append("reports under IFRS (a foreign filer): no us-gaap tags, its figures stay hand-entered")
    groups: dict[tuple[date, date], dict[str, Figure]] = {}
    notes += _counted(borrower, answer, today, groups)
    ends = period_ends(facts, today)
    if not ends:
        return Proposal(borrower.id, groups, (*notes, "no balance sheet is tagged"))
    newest = max(
        (f.as_of for f in resolve(borrower.facts) if f.field in ("debt_usd", "cash_unrestricted_usd")), default=None
    )
    for end in (e for e in ends[-8:] if e == ends[-1] or newest is None or e > newest):
        found = sheet(facts, end, today)
        for name, figure in found.figures.items():
            verdict = _compared(borrower, name, figure)
            if verdict == "":
                groups.setdefault((end, figure.published), {})[name] = figure
            elif verdict is not None:
                notes.append(verdict)
        notes += _remarks(found)
    return Proposal(borrower.id, groups, tuple(dict.fromkeys(notes)))


def _counted(
    borrower: Borrower, answer: object, today: date, groups: dict[tuple[date, date], dict[str, Figure]]
) -> Iterator[str]:
    """Put the newest count of shares into the groups when the book has none as new; say why there is none."""
    count = share_count(answer, today)
    if isinstance(count, str):
        yield count
        return
    newest = max((f.as_of for f in resolve(borrower.facts) if f.field == FIELD), default=None)
    if newest is not None and newest > count.end:
        return
    verdict = _compared(borrower, FIELD, count)
    if verdict == "":
        groups.setdefault((count.end, count.published), {})[FIELD] = count
    elif verdict is not None:
        yield verdict


def _compared(borrower: Borrower, name: str, figure: Figure) -> str | None:
    """Empty: to be proposed. None: the book has it. Else why it is not proposed, in words."""
    if figure.value < 0:
        return f"{name} of {figure.end}: the tags {'+'.join(figure.tags)} say {figure.value:,.0f}, below zero; left out"
    own = [f for f in borrower.facts if f.field == name and f.as_of == figure.end]
    if not own:
        return ""
    last = max(own, key=lambda fact: fact.published or fact.as_of)
    value = as_number(last)
    if value is not None and abs(value - figure.value) <= SAME * max(abs(value), abs(figure.value)):
        return None
    restated = last.source.startswith(SOURCE) and (last.published or last.as_of) < figure.published
    if last.quality != "filing" or restated:
        return ""
    shown = "?" if value is None else format_usd(value)
    return (
        f"{name} of {figure.end}: the book says {shown} ({last.source}), the tags {'+'.join(figure.tags)} say"
        f" {format_usd(figure.value)}; kept, look which one is meant (principal or carrying amount)"
    )


def _remarks(found: Sheet) -> Iterator[str]:
    """What a person must know about one sheet besides its figures."""
    for name in ("debt_usd", "cash_unrestricted_usd"):
        if name in found.missing:
            yield f"{name} of {found.end} is unknown to EDGAR's tags: {found.missing[name]}"
    if found.coins is not None:
        yield (
            f"coins at fair value on {found.end}: {format_usd(found.coins.value)} USD"
            f" ({'+'.join(found.coins.tags)}); the book counts coins, so enter their number from the filing"
        )


# ---------------------------------------------------------------- the edit
def group_text(end: date, published: date, figures: Mapping[str, Figure], indent: int) -> str:
    """One group of facts as YAML, indented for the list it goes to."""
    first = next(iter(figures.values()))
    tags = "; ".join(f"{name}: {' + '.join(f.tags)}" for name, f in figures.items())
    cautions = sorted({figure.note for figure in figures.values() if figure.note})
    source = f"{SOURCE}, Form {first.form} filed {published} ({first.accession})"
    kinds = "Count of the cover page" if set(figures) == {FIELD} else "Carrying amounts"
    note = f"{kinds} by tag. {tags}." + "".join(f" {caution}." for caution in cautions)
    lines = [
        f"- as_of: {end}",
        f"  published: {published}",
        "  quality: filing",
        f"  source: {json.dumps(clean(source, 200))}",
        f"  note: {json.dumps(clean(note, 1200))}",
        "  values:",
        *(f"    {name}: {_amount(figure.value)}" for name, figure in figures.items()),
    ]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _amount(value: float) -> str:
    """An amount as short as it can be written exactly.

    >>> _amount(35_551_000_000.0), _amount(1_786_759_500.0), _amount(512.0), _amount(-1.25)
    ('35551m', '1786.7595m', '512', '-1.25')
    """
    millions = f"{value / 1e6:.6f}".rstrip("0").rstrip(".") + "m"
    if abs(value) >= 1e6 and parse_quantity(millions)[0] == value:
        return millions
    return f"{value:.2f}".removesuffix(".00")


def edited(text: str, file: str, groups: Mapping[tuple[date, date], Mapping[str, Figure]]) -> str:
    """The file with the groups at the end of ``facts:``; every other byte is what it was.

    CanaryError when the list is written on one line, or the result would not be a borrower any more.
    """
    tree = parse_tree(Text(text, file))
    facts = tree.value.get("facts")
    ordered = sorted(groups)
    if facts is None:
        gap = "" if text.endswith("\n") else "\n"
        body = "".join(group_text(*key, groups[key], 2) for key in ordered)
        new = f"{text}{gap}\nfacts:\n{body}"
    else:
        new = _appended(text, file, facts, [(key, groups[key]) for key in ordered])
    read_borrower(Text(new, file), Path(file).stem)
    return new


def _appended(
    text: str, file: str, facts: Node, groups: Sequence[tuple[tuple[date, date], Mapping[str, Figure]]]
) -> str:
    items: list[Node] = facts.value
    if not items:
        body = "".join(group_text(*key, group, 2) for key, group in groups)
        return text[: facts.start].rstrip(" ") + "\n" + body + text[facts.end :].removeprefix("\n")
    if text[facts.start] == "[":
        raise CanaryError(f"{file}: facts are written on one line; write each as '- as_of: ...' on lines of its own")
    line_start = text.rfind("\n", 0, items[-1].start) + 1
    indent = text[line_start:].index("-")
    at = text.find("\n", max(leaf.end for leaf in _leaves(items[-1])))
    at = len(text) if at < 0 else at + 1
    before = text[:at] if text[:at].endswith("\n") else text[:at] + "\n"
    return before + "".join(group_text(*key, group, indent) for key, group in groups) + text[at:]


def _leaves(node: Node) -> Iterator[Node]:
    inside_it = (
        node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else ()
    )
    children = list(inside_it)
    if not children:
        yield node
    for child in children:
        yield from _leaves(child)


def shown_diff(old: str, new: str, file: str) -> str:
    """The edit as a unified diff."""
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{file}", f"b/{file}", n=2)
    return "".join(lines)


# ---------------------------------------------------------------- fetching
async def company_facts(feed: Feed, borrowers: Sequence[Borrower], now: datetime) -> dict[str, object]:
    """Borrower id -> its company facts, or the FeedError that came instead; one after the other, as the SEC asks."""
    found: dict[str, object] = {}
    async with new_http() as http:
        for borrower in borrowers:
            await asyncio.sleep(feed.pace_s)
            client = feed.client(http, now, LIMIT_S)
            url = f"{feed.base_url}/api/xbrl/companyfacts/CIK{borrower.cik:010d}.json"
            try:
                found[borrower.id] = await client.get_json(url, MAX_FACTS_BYTES)
            except FeedError as error:
                missing = "the SEC has no tagged figures under this CIK" if "HTTP 404" in str(error) else str(error)
                found[borrower.id] = FeedError(missing)
    return found


def edgar_feed(config: Config) -> Feed:
    """The way to the SEC, with the contact the configuration names; CanaryError without one."""
    written = config.feeds.get("edgar", FeedConfig())
    if not written.contact:
        raise CanaryError(
            "the SEC wants to know whom to write to; add to config.yaml:  feeds: {edgar: {contact: you@your.company}}"
        )
    return Edgar(FeedSettings(base_url=written.base_url, contact=written.contact))


# ---------------------------------------------------------------- the command
Ask = Callable[[str], bool]


def refresh(config: Config, only: str | None, *, yes: bool, dry_run: bool, ask: Ask, say: Callable[[str], None]) -> int:
    """Propose and, where a person agrees, write. Returns how many files were changed."""
    if config.found.starter:
        raise CanaryError("the starter book cannot be edited; lay out your own first: canary init DIR")
    feed, now = edgar_feed(config), datetime.now(UTC)
    wanted = _wanted(load_book(config.paths.book).borrowers, only, say)
    answers = asyncio.run(company_facts(feed, wanted, now))
    changed = silent = 0
    for borrower in wanted:
        answer = answers[borrower.id]
        try:
            if isinstance(answer, FeedError):
                raise answer
            proposal = propose(borrower, answer, now.date())
            changed += _offer(config, borrower, proposal, yes=yes, dry_run=dry_run, ask=ask, say=say)
        except CanaryError as error:  # one file or answer that will not do leaves the others
            silent += isinstance(error, FeedError)
            say(f"{borrower.id}: {error}")
    say(NEVER_THERE)
    if wanted and silent == len(wanted):
        raise CanaryError(
            f"the SEC gave no company facts, of none of the {len(wanted)} asked for; nothing was compared"
        )
    return changed


def _wanted(borrowers: Sequence[Borrower], only: str | None, say: Callable[[str], None]) -> list[Borrower]:
    """Borrowers the SEC knows; those it does not are named."""
    chosen = [borrower for borrower in borrowers if only in (None, borrower.id)]
    if not chosen:
        raise CanaryError(f"there is no borrower {only!r}: {suggest(str(only), [b.id for b in borrowers])}")
    without = [borrower.id for borrower in chosen if not borrower.cik]
    if without:
        say(f"no CIK, so not at the SEC: {', '.join(without)}")
    return [borrower for borrower in chosen if borrower.cik]


def _offer(
    config: Config, borrower: Borrower, proposal: Proposal, *, yes: bool, dry_run: bool, ask: Ask,
    say: Callable[[str], None],
) -> bool:  # fmt: skip
    """Show what would change in one file and write it when somebody says yes."""
    path = inside(config.paths.book / f"{borrower.id}.yaml", config.paths.book)
    for note in proposal.notes:
        say(f"{borrower.id}: {note}")
    if not proposal.groups:
        say(f"{borrower.id}: nothing new")
        return False
    old = path.read_bytes()
    text = old.decode("utf-8")
    new = edited(text, path.name, proposal.groups)
    say(shown_diff(text, new, path.name))
    if dry_run or not (yes or ask(f"{borrower.id}: add {proposal.figures} figures to {path.name}?")):
        say(f"{borrower.id}: nothing was written")
        return False
    with alone(config.paths.state):
        replace_file(path, new.encode("utf-8"), digest(old))
    say(f"{borrower.id}: {path.name} has {proposal.figures} figures more")
    return True


def run_refresh(shell: Shell, only: str | None, *, yes: bool, dry_run: bool) -> int:
    """The command line's part: questions on a terminal, nothing written where nobody can be asked."""
    import click

    if shell.offline:
        raise CanaryError("book refresh asks the SEC; leave out --offline")
    somebody = sys.stdin.isatty() and not shell.as_json
    if not (somebody or yes or dry_run):
        click.echo("nobody can be asked here, so nothing will be written; --yes accepts every proposal", err=True)
    said: list[str] = []
    changed = refresh(
        shell.config(), only, yes=yes, dry_run=dry_run or not (somebody or yes),
        ask=lambda question: click.confirm(question, default=False), say=said.append if shell.as_json else click.echo,
    )  # fmt: skip
    if shell.as_json:
        click.echo(json.dumps({"changed": changed, "said": said}, ensure_ascii=False, indent=2))
    return 0
