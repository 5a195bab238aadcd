"""Market metrics of the cycle: how fast compute gets cheaper, and what credit does meanwhile, on one clock."""

from __future__ import annotations

import math

from monitor import credit_cycle
from monitor.metrics_base import View, metric, register
from monitor.stress.assumptions import seconds
from monitor.stress.field import INF, NAN, Field, Value
from monitor.stress.lots import GPU_MODELS

DAY_S = 86400.0
YEAR_S = 365 * DAY_S

#: what is compared -> the series of each part, the first of them that is known at both ends
DEFLATION: dict[str, tuple[tuple[str, ...], ...]] = {
    "rents": tuple((f"rent_{m.lower()}_index_usd", f"rent_{m.lower()}_on_demand_usd") for m in GPU_MODELS),
    "resale": tuple((f"resale_{m.lower()}_usd",) for m in GPU_MODELS),
    "tokens": (("tokens_input_index_usd",), ("tokens_output_index_usd",)),
}
DOCS = {
    "rents": "Fall of GPU rents over a year: mean log change over the models known at both ends, by the monthly index,"
    " else by our own; below zero they rose.",
    "resale": "Fall of used GPU prices over a year, mean log change over the models with a mark in force at both ends.",
    "tokens": "Fall of token prices over a year, mean of the matched-model indices of reading and of writing; what new"
    " models do to the price of an answer is not in it.",
}
MAX_CHANGES = 4


def _fall(view: View, what: str) -> Value:
    """One minus the geometric mean of price over price a year ago."""
    now = view.state.at.timestamp()
    changes: list[tuple[str, float]] = []
    missing: list[str] = []
    for choices in DEFLATION[what]:
        name, change = next(
            ((name, c) for name in choices if not math.isnan(c := _log_change(view, name, now))), (choices[0], NAN)
        )
        if math.isnan(change):
            missing.append(name)
        else:
            changes.append((name, change))
    if not changes:
        return Value.unknown(f"not on record today and a year ago: {', '.join(missing)}")
    fall = 1 - math.exp(sum(change for _, change in changes) / len(changes))
    detail = ", ".join(f"{name} {math.expm1(change):+.0%}" for name, change in changes[:MAX_CHANGES])
    used = (f"without {', '.join(missing)}",) if missing else ()
    return Value.exact(fall, now, used, detail)


def _log_change(view: View, series: str, now: float) -> float:
    """Log of a price in force now over the one in force a year ago; NaN where one is unknown."""
    table = view.history(series)
    if table is None:
        return NAN
    (then, now_), _ = zip(*(table.at(when) for when in (now - YEAR_S, now)), strict=True)
    return math.log(now_[0] / then[0]) if then[0] > 0 and now_[0] > 0 else NAN


def _register_deflation(what: str) -> None:
    series = tuple(name for choices in DEFLATION[what] for name in choices)
    name = f"compute_deflation_1y_{what}"
    register(name, "market", "ratio", "max", DOCS[what], series, lambda view: Field.of([_fall(view, what)]), False)


def _register_token_index(side: str, word: str) -> None:
    series = f"tokens_{side}_index_usd"

    def compute(view: View) -> Field:
        table = view.history(series)
        now = view.state.at.timestamp()
        value = float(table.at(now)[0][0]) if table is not None else NAN
        return Field.of([Value.unknown(f"{series} is not known yet") if math.isnan(value) else Value.exact(value, now)])

    doc = f"Price of {word} a million tokens: matched-model index of a public list, at the level of its first panel."
    register(series, "market", "usd/mtok", "", doc, (series,), compute, False)


_register_token_index("input", "reading")
_register_token_index("output", "writing")
for _what in DEFLATION:
    _register_deflation(_what)


def _issuance(view: View, paper: str) -> Field:
    book = view.state.book
    return Field.of([credit_cycle.issuance_12m(book, paper) if book else Value.unknown("no book")])


def _register_issuance(paper: str) -> None:
    doc = f"Debt of the book issued within a year that is {paper.replace('_', ' ')} paper, by its largest known amount."
    compute = lambda view: _issuance(view, paper)  # noqa: E731
    register(f"issuance_12m_{paper}_usd", "market", "usd", "max", doc, ("debts",), compute, False)


@metric("market", "usd", "max", needs=("debts",))
def issuance_12m_usd(view: View) -> Field:
    """Debt of the book issued within a year, by the largest amount known of each instrument, commitments included."""
    return _issuance(view, "")


for _paper in credit_cycle.PAPER:
    _register_issuance(_paper)


@metric("market", "ratio", "max", needs=("debts",))
def issuance_growth_12m(view: View) -> Field:
    """Issuance of the last year over that of the year before, less one; what was repaid since is not in the book."""
    book = view.state.book
    return Field.of([credit_cycle.issuance_growth(book) if book else Value.unknown("no book")])


@metric("market", "x", "max", needs=("debt_usd", "cash_unrestricted_usd", "ebitda_adjusted_quarter_usd"))
def sector_net_debt_to_ebitda(view: View) -> Field:
    """Debt less unrestricted cash over four times the newest quarter's adjusted EBITDA, of the borrowers where all
    three are known and added up first; unlimited where together they earn nothing."""
    parts = (view.debt, view.cash, view.fact("ebitda_adjusted_quarter_usd"))
    rows = [b for b, row in enumerate(view.state.rows) if row.borrower.status != "closed"]
    whole = [b for b in rows if all(part.known[b] for part in parts)]
    if not whole:
        return Field.of([Value.unknown("no borrower has debt, cash and adjusted EBITDA on record")])
    corners = []
    for corner in range(3):
        debt, cash, quarter = (sum(float(part.values[corner, b]) for b in whole) for part in parts)
        corners.append((debt - cash) / (4 * quarter) if quarter > 0 else INF)
    left = sorted({view.state.borrowers[b] for b in rows} - {view.state.borrowers[b] for b in whole})
    used = (f"without {', '.join(left)}",) if left else ()
    as_of = min(float(part.as_of_s[b]) for part in parts for b in whole)
    detail = f"{len(whole)} of {len(rows)} borrowers"
    return Field.of([Value((corners[0], corners[1], corners[2]), (), used, as_of, detail)])


@metric("market", "bp", "max", needs=("loan_spread_bp",))
def new_issue_spread_bp(view: View) -> Field:
    """Margin of the newest new loan of the borrower with two loans of equal rating, the newest such pair counting."""
    book = view.state.book
    loans = credit_cycle.equal_rating_loans(book.marks if book else ())
    if not loans:
        return Field.of([Value.unknown("no borrower has two loan_spread_bp marks of equal rating")])
    newest = loans[-1]
    detail = f"{newest.subject} on {newest.as_of}"
    return Field.of([Value.exact(newest.value, seconds(newest.as_of), (), detail)])
