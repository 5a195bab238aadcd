"""One fall in full: round by round who falls by which channel and what is sold, then which lender loses how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.charts import Bars, Dots, Panel, Range
from monitor.stress.creditors import NOBODY, Recovery, recover
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE
from monitor.stress.rounds import Round, Rounds, in_rounds
from monitor.stress_cascade import one_fall, one_sale, orders_of, ranking
from monitor.stress_shown import Shown, deliver, open_case
from monitor.stressing import Case, borrower_named
from monitor.tables import Cell, Head, Table, show

if TYPE_CHECKING:
    from monitor.shell import Shell

#: the ends of a fall by name: corner of the assumptions, and whether lenders who share close their doors
ENDS: dict[str, tuple[int, bool]] = {
    "middle": (MIDDLE, False),
    "adverse": (ADVERSE, False),
    "favourable": (FAVOURABLE, False),
    "shared lenders": (MIDDLE, True),
}
CORNERS = ("middle", "adverse", "favourable")
MOST_POOLS = 4


def full_fall(case: Case, borrower: str) -> Shown:
    """What follows if one borrower falls now, with its rounds and its creditors."""
    shown = one_fall(case, borrower)
    ends = {name: in_rounds(case.state, borrower, corner=c, lenders=on) for name, (c, on) in ENDS.items()}
    paid = {name: recover(case.state, ends[name].own, ends[name].end, ENDS[name][0]) for name in CORNERS}
    told = {name: one for name, one in ends.items() if name == "middle" or len(one.rounds) > 1}
    tables = [*shown.reply.tables, *(_round_table(case, name, one) for name, one in told.items())]
    tables.append(creditor_table(case, paid))
    data = {
        **shown.reply.data,
        "rounds": {name: [_round_json(one) for one in found.rounds] for name, found in ends.items()},
        "creditors": _creditors_json(paid),
    }
    panels: list[Panel] = [*shown.panels, *_panels(case, ends["middle"], paid)]
    return replace(shown, reply=replace(shown.reply, data=data, tables=tuple(tables)), panels=tuple(panels))


# ---------------------------------------------------------------- round by round
def _round_table(case: Case, name: str, found: Rounds) -> Table:
    heads = (
        Head(f"round, {name}"), Head("who falls, and why"), Head("debt, USD", right=True), Head("sold, units"),
        Head("price left, % of the mark"), Head("pools newly under water"),
    )  # fmt: skip
    rows = tuple(_round_cells(case, k + 1, one) for k, one in enumerate(found.rounds))
    return Table("", heads, rows)


def _round_cells(case: Case, number: int, one: Round) -> tuple[Cell, ...]:
    who = [f"{case.name(b)}: {why}" for b, why in one.fell.items()]
    who += [f"{pool} is given up" for pool in one.given_up]
    sold = ", ".join(f"{units:,.0f} {model}" for model, units in one.units.items() if model)
    price = ", ".join(f"{model} {show(p, 'ratio')}" for model, p in one.price.items() if model and p < 1)
    under = list(one.under_water[:MOST_POOLS])
    under += [f"and {len(one.under_water) - MOST_POOLS} more"] if len(one.under_water) > MOST_POOLS else []
    texts = (str(number), "; ".join(who), show(one.debt_usd, "usd"), sold or "nothing", price or "as marked")
    return (*(Cell(text) for text in texts), Cell(", ".join(under) or "none"))


def _round_json(one: Round) -> dict[str, object]:
    return {
        "fell": dict(one.fell), "given_up": list(one.given_up), "units": dict(one.units),
        "price_share": {model: p for model, p in one.price.items() if model}, "debt_usd": one.debt_usd,
        "under_water": list(one.under_water),
    }  # fmt: skip


# ---------------------------------------------------------------- creditors
def creditor_table(case: Case, paid: Mapping[str, Recovery]) -> Table:
    """Which lender is owed what, gets what back and loses what, over the ends of the assumptions."""
    found = {name: one.by_lender() for name, one in paid.items()}
    floor = bool(paid["middle"].floors)
    rows = []
    for lender, (owed, back) in found["middle"].items():
        lost = [found[name].get(lender, (0.0, 0.0)) for name in CORNERS]
        ends = [a - b for a, b in lost]
        text = show(owed - back, "usd")
        if min(ends) != max(ends):
            text += f" ({show(min(ends), 'usd')}-{show(max(ends), 'usd')})"
        share = show(back / owed, "ratio") if owed else "-"
        rows.append((Cell(lender), Cell(show(owed, "usd")), Cell(share), Cell(("up to " if floor else "") + text)))
    heads = (
        Head("lender"), Head("owed, USD", right=True), Head("gets back" + (", at least" if floor else ""), right=True),
        Head("loses, USD (low-high)", right=True),
    )  # fmt: skip
    notes = [f"{case.name(b)}: {why}, counted as nothing" for b, why in paid["middle"].floors.items()]
    notes += [f"{case.name(b)} cannot pay in full itself once its claim is lost" for b in paid["middle"].passed_on]
    notes.append(
        f"pools pay their own loans first, the rest is shared by clearing; {NOBODY}: the book names none, a bond's "
        "holders among them; of several lenders of one loan the shares were never reported"
    )
    return Table("", heads, tuple(rows), tuple(Cell(text, "dim") for text in notes))


def _creditors_json(paid: Mapping[str, Recovery]) -> dict[str, object]:
    return {
        name: {
            "lenders": {who: {"owed_usd": a, "paid_usd": b} for who, (a, b) in one.by_lender().items()},
            "claims": [
                {"borrower": c.borrower, "debt": c.debt, "lender": c.lender, "pool": c.pool or None,
                 "owed_usd": c.owed_usd, "paid_usd": c.paid_usd}
                for c in one.claims
            ],
            "at_least_because": dict(one.floors), "passed_on": list(one.passed_on),
        }
        for name, one in paid.items()
    }  # fmt: skip


# ---------------------------------------------------------------- pictures
def _panels(case: Case, middle: Rounds, paid: Mapping[str, Recovery]) -> tuple[Panel, ...]:
    """Prices and falls round by round, and what lenders lose."""
    models = [m for m, p in middle.rounds[-1].price.items() if m and p < 1][:5]
    names = ["today", *(f"{k + 1}: {', '.join(map(case.name, one.fell))}" for k, one in enumerate(middle.rounds))]
    series = tuple((m, (1.0, *(one.price[m] for one in middle.rounds))) for m in models)
    reason = "" if series else "nothing that is sold has a price here"
    rounds = Bars("round by round, middle", "round: who falls", "price left, % of the mark", tuple(names), series,
                  "ratio", reason)  # fmt: skip
    lost = [{who: a - b for who, (a, b) in paid[name].by_lender().items()} for name in CORNERS]
    rows = tuple(
        Range(who, usd, min(one.get(who, 0.0) for one in lost), max(one.get(who, 0.0) for one in lost))
        for who, usd in list(lost[0].items())[:8]
    ) or (Range("no claim is known", None),)
    title = "what lenders lose" + (", at most" if paid["middle"].floors else "")
    return rounds, Dots(title, "USD", rows, "usd")


# ---------------------------------------------------------------- the command
def run_cascade(shell: Shell, borrower: str | None, texts: tuple[str, ...], at: str | None, file: str | None) -> int:
    """``canary cascade``."""
    orders = orders_of(texts)
    case = open_case(shell, at)
    if orders:
        return deliver(shell, one_sale(case, orders), file)
    shown = ranking(case) if borrower is None else full_fall(case, borrower_named(case, borrower))
    return deliver(shell, shown, file)
