"""Obligors of a tape as borrowers of a book: dated, sourced, with their loans as instruments. Pure.

A Python object a loan, so for watching some of them; a run over all goes by way of the columns. Machines and
their limit are not carried over: in a book they are a pool with a day of purchase, which a tape does not give.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from monitor.large.tape import Tape
from monitor.model import Book, Borrower, Covenants, Debt, Fact, FactValue, end_of_day
from monitor.stress.obligor import MANY

#: a year's figure of a tape -> a quarter's field of a book
QUARTERLY = {
    "cfads_12m_usd": "ebitda_adjusted_quarter_usd",
    "mining_12m_usd": "revenue_mining_quarter_usd",
    "contracted_12m_usd": "revenue_contracted_quarter_usd",
    "spot_12m_usd": "revenue_spot_quarter_usd",
}
STANDING = {"cash_usd": "cash_unrestricted_usd", "coins_free_btc": "btc_free"}
#: revenue that a tape leaves out is none, as it is for the columns
REVENUE = ("mining_12m_usd", "contracted_12m_usd", "spot_12m_usd")


def book_of(tape: Tape, obligors: Iterable[str] | None = None) -> Book:
    """Some obligors, or all of them. KeyError for one the tape does not have.

    One that lost a line of the tape or contradicts itself has no total of its debt and says what is missing.
    """
    place = {name: b for b, name in enumerate(tape.obligors)}
    ids = _ids(tape.obligors)
    wanted = tape.obligors if obligors is None else obligors
    return Book(tuple(_borrower(tape, place[name], ids[place[name]]) for name in wanted))


def _fact(tape: Tape, field: str, value: FactValue) -> Fact:
    known_at = end_of_day(tape.published)
    return Fact(field, value, tape.as_of, tape.published, known_at, "derived", tape.source)


def _borrower(tape: Tape, b: int, name: str) -> Borrower:
    loans = range(int(tape.first[b]), int(tape.first[b + 1]))
    values = {name: float(column[b]) for name, column in tape.own.items() if not np.isnan(column[b])}
    values |= {name: values.get(name, 0.0) for name in REVENUE}
    figures = {field: values[name] / 4 for name, field in QUARTERLY.items() if name in values}
    figures |= {field: values[name] for name, field in STANDING.items() if name in values}
    revenue = sum(values[name] for name in REVENUE)
    figures["revenue_quarter_usd"] = revenue / 4
    if tape.whole[b]:
        figures["debt_usd"] = float(tape.loans["principal_usd"][loans].sum())
    customer = tape.words["counterparty"][b] if "counterparty" in tape.words else ""
    share = values["contracted_12m_usd"] / revenue if revenue > 0 else 0.0
    floor = Covenants(liquidity_min_usd=values.get("liquidity_min_usd"), quality="derived")
    return Borrower(
        id=name,
        name=tape.obligors[b],
        kind="private",
        facts=tuple(_fact(tape, name, value) for name, value in figures.items()),
        debts=tuple(
            _debt(tape, i, id_, floor) for i, id_ in zip(loans, _ids([tape.loan_names[i] for i in loans]), strict=True)
        ),
        tenants={_slug(customer or MANY): share} if share else {},
        missing=(tape.why[b],) if b in tape.why else (),
    )


def _debt(tape: Tape, i: int, name: str, covenants: Covenants) -> Debt:
    coupon, margin = (_given(tape, name, i) for name in ("fixed_rate", "margin"))
    return Debt(
        id=name,
        name=tape.loan_names[i],
        kind="term_loan",
        facts=(_fact(tape, "principal_usd", float(tape.loans["principal_usd"][i])),),
        coupon=coupon,
        base=None if margin is None else "SOFR",
        margin=margin,
        hedged_share=None if margin is None else 0.0,
        maturity=tape.maturity[i].item(),
        amortisation="straight_line" if tape.straight[i] else "bullet",
        covenants=covenants,
    )


def _given(tape: Tape, name: str, i: int) -> float | None:
    value = float(tape.loans[name][i]) if name in tape.loans else np.nan
    return None if np.isnan(value) else value


def _slug(name: str) -> str:
    """What is left of a name in an id.

    >>> _slug("Acme & Söhne (UK)")
    'acme-s-hne-uk'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:50].strip("-") or "unnamed"


def _ids(names: Iterable[str]) -> list[str]:
    """An id of each name; of names that leave the same, the later ones are numbered.

    >>> _ids(["Acme", "ACME", "Acme 2"])
    ['acme', 'acme-2', 'acme-2-2']
    """
    found = dict[str, None]()
    for name in names:
        base = one = _slug(name)
        number = 1
        while one in found:
            number += 1
            one = f"{base}-{number}"
        found[one] = None
    return list(found)
