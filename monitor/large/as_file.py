"""Some obligors of a tape written into the book as files, so that they are watched like everybody else in it.

For a handful: a file a borrower, which a person reads, corrects and adds the next quarter to. All of them are written,
or none is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path

from monitor.book import read_borrower
from monitor.large.as_book import book_of
from monitor.large.tape import Tape
from monitor.model import Borrower, CanaryError, Debt, Fact, FactValue
from monitor.safewrite import alone, replace_file
from monitor.yamltext import Text

#: more than a person would look after by hand; a whole tape is for `canary large`
MOST = 50


def watch(tape: Tape, obligors: Sequence[str], folder: Path, state: Path) -> list[Path]:
    """Write these obligors into a book folder. CanaryError for a name the tape does not have or the book has already,
    and InputError where a name cannot stand in a book; then nothing was written."""
    unknown = [name for name in obligors if name not in tape.obligors]
    if unknown:
        near = get_close_matches(unknown[0], tape.obligors, n=1)
        raise CanaryError(f"the tape has no obligor {unknown[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if len(set(obligors)) > MOST:
        raise CanaryError(f"at most {MOST} obligors are written into the book; canary large stresses a whole tape")
    texts = {}
    for borrower in book_of(tape, dict.fromkeys(obligors)).borrowers:
        path = folder / f"{borrower.id}.yaml"
        text = text_of(borrower)
        read_borrower(Text(text, str(path)), borrower.id)
        texts[path] = text.encode()
    with alone(state):
        there = [path for path in texts if path.exists()]
        if there:
            raise CanaryError(f"{there[0]} is in the book already; add its new figures there, or take it out first")
        _write(texts)
    return list(texts)


def _write(texts: dict[Path, bytes]) -> None:
    done: list[Path] = []
    try:
        for path, data in texts.items():
            replace_file(path, data, None)
            done.append(path)
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
        raise


def text_of(borrower: Borrower) -> str:
    """A borrower made of a tape as a file of the book."""
    return "\n".join(_lines(borrower)) + "\n"


def _lines(borrower: Borrower) -> Iterator[str]:
    yield f"name: {_quoted(borrower.name)}"
    yield f"kind: {borrower.kind}"
    if borrower.tenants:
        yield f"tenants: {_flow({name: _plain(share) for name, share in borrower.tenants.items()})}"
    if borrower.missing:
        yield f"missing: [{', '.join(map(_quoted, borrower.missing))}]"
    yield "facts:"
    yield from _groups(borrower.facts, "  ")
    yield "debts:"
    for debt in borrower.debts:
        yield from _debt(debt)


def _debt(debt: Debt) -> Iterator[str]:
    yield f"  - id: {debt.id}"
    yield f"    name: {_quoted(debt.name)}"
    yield f"    kind: {debt.kind}"
    for name in ("coupon", "margin", "hedged_share"):
        value = getattr(debt, name)
        if value is not None:
            yield f"    {name}: {_plain(value)}"
    if debt.base:
        yield f"    base: {debt.base}"
    yield f"    maturity: {debt.maturity}"
    yield f"    amortisation: {debt.amortisation}"
    floor = debt.covenants.liquidity_min_usd
    limits = {"quality": str(debt.covenants.quality)} | ({} if floor is None else {"liquidity_min_usd": _plain(floor)})
    yield f"    covenants: {_flow(limits)}"
    yield "    facts:"
    yield from _groups(debt.facts, "      ")


def _groups(facts: Sequence[Fact], indent: str) -> Iterator[str]:
    """Facts that share their dates and source as one group."""
    for (as_of, published, quality, source), group in groupby(
        facts, key=lambda fact: (fact.as_of, fact.published, fact.quality, fact.source)
    ):
        values = _flow({fact.field: _plain(fact.value) for fact in group})
        yield f"{indent}- as_of: {as_of}"
        yield f"{indent}  published: {published}"
        yield f"{indent}  quality: {quality}"
        yield f"{indent}  source: {_quoted(source)}"
        yield f"{indent}  values: {values}"


def _flow(pairs: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in pairs.items()) + "}"


def _quoted(text: str) -> str:
    """A text no character of which means anything to YAML."""
    return json.dumps(text, ensure_ascii=False)


def _plain(value: FactValue) -> str:
    """All digits of a number, without an exponent.

    >>> _plain(1e-7), _plain(2.5e9)
    ('0.0000001', '2500000000')
    """
    text = format(Decimal(str(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
