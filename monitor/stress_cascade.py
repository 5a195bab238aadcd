"""Who breaks first, and what one fall or one sale does to others: as tables, JSON and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from monitor.charts import Dots, Panel, Range
from monitor.commands import Reply
from monitor.model import CanaryError
from monitor.overview import Reading
from monitor.stress.canary import Canary, canary
from monitor.stress.cascade import Cascade
from monitor.stress.due import debt_total
from monitor.stress.sale import Sale, sell
from monitor.stress_shown import Shown, heading, stamp, titled, why
from monitor.stressing import STAR, Case, falls, value_reading
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Table, show
from monitor.units import parse_quantity

if TYPE_CHECKING:
    pass

MAX_LEFT_OUT = 4
#: the corners of the assumptions, as :func:`monitor.stressing.falls` names them
CORNERS = ("middle", "adverse", "favourable")


# ---------------------------------------------------------------- who first, and who matters
def ranking(case: Case) -> Shown:
    """Everybody by earliness times damage, with both factors and the rank's interval."""
    table = canary(case.state)
    names = case.state.borrowers
    found = {name: _rank_readings(table, i) for i, name in enumerate(names)}
    listed = sorted(names, key=lambda b: (found[b]["rank"].value is None, found[b]["rank"].value or 0.0, b))
    ranked = [b for b in listed if found[b]["rank"].value is not None]
    rows = [
        [
            Cell(_whole(found[b]["rank"])),
            Cell(case.marked(b)),
            Cell(_two(found[b]["earliness"])),
            Cell(found[b]["first_breach_months"].text(ends=True)),
            Cell(found[b]["damage_usd"].text(ends=True)),
            Cell(found[b]["cascade_debt_usd"].text()),
        ]
        for b in ranked
    ]
    heads = [
        Head("rank\n(low-high)", right=True),
        Head("borrower"),
        Head("earliness\n0 to 1", right=True),
        Head("first breach\nmonths", right=True, expendable=1),
        Head("damage\nUSD", right=True),
        Head("debt that\nfalls, USD", right=True, expendable=2),
    ]
    reasons = why({case.name(b): found[b]["rank"] for b in listed})
    star = (STAR,) if any(case.stub(b) for b in ranked) else ()
    notes = [Cell("rank: earliness times damage, over depth x/÷4, decay 15-35%, correlation 0-0.7 and both ends of all "
                  "assumptions; damages overlap and do not add up", "dim")]  # fmt: skip
    notes += [Cell(line, "dim") for line in (*star, *reasons, *_left_out(table.left_out))]
    labels = [f"{_whole(found[b]['rank'])}  {case.marked(b)}" for b in ranked]
    early = tuple(_range(label, found[b]["earliness"]) for label, b in zip(labels, ranked, strict=True))
    hurt = tuple(_range(label, found[b]["damage_usd"]) for label, b in zip(labels, ranked, strict=True))
    panels = (
        Dots("how early", "earliness: 1 now, a half in a year, a quarter in two", early, "score", limit=1.0),
        Dots("how much it hurts", "damage, USD (logarithmic)", hurt, "usd", logarithmic=True),
    )
    data = {
        **heading(case),
        "borrowers": [
            {
                "id": b,
                "name": case.name(b),
                "insufficient_data": case.stub(b),
                **{key: value.json() for key, value in found[b].items()},
            }
            for b in listed
        ],
        "left_out": list(table.left_out),
        "assumed": list(table.used),
    }
    captions = ("rank (interval) by earliness times damage; span: low to high over the assumptions; damages overlap "
                "and do not add up", *star, *reasons, *_left_out(table.left_out))  # fmt: skip
    reply = Reply(data, (titled(case, "who breaks first and matters most", heads, rows, notes),))
    return Shown(reply, "Who breaks first, and whose fall hurts most", panels, stamp(case, captions))


UNITS = {"rank": "number", "earliness": "number", "first_breach_months": "months", "damage_usd": "usd",
         "cascade_debt_usd": "usd", "score_usd": "usd"}  # fmt: skip


def _rank_readings(table: Canary, i: int) -> dict[str, Reading]:
    return {name: value_reading(getattr(table, name).at(i), unit) for name, unit in UNITS.items()}


def _range(label: str, found: Reading) -> Range:
    return Range(label, found.value, found.low, found.high)


def _whole(found: Reading) -> str:
    if found.value is None:
        return UNKNOWN
    return f"{found.value:.0f}" + (f" ({found.low:.0f}-{found.high:.0f})" if found.low != found.high else "")


def _two(found: Reading) -> str:
    if found.value is None:
        return UNKNOWN
    return f"{found.value:.2f}" + (f" ({found.low:.2f}-{found.high:.2f})" if found.low != found.high else "")


def _left_out(texts: tuple[str, ...]) -> list[str]:
    """What is in none of the numbers."""
    more = [f"not in the numbers: and {len(texts) - MAX_LEFT_OUT} more, --json"] if len(texts) > MAX_LEFT_OUT else []
    return [*(f"not in the numbers: {text}" for text in texts[:MAX_LEFT_OUT]), *more]


# ---------------------------------------------------------------- one fall
def one_fall(case: Case, borrower: str) -> Shown:
    """What follows if one borrower falls now: whom it drags, what loses cover, whose rent stops, what prices do."""
    found = falls(case.state, borrower)
    ends = [found[name] for name in CORNERS]
    middle = ends[0]
    rows = [
        [Cell(label), *(Cell(show(value, "usd")) for value in values)]
        for label, values in (
            ("debt that falls, its own included, USD", [one.debt_usd for one in ends]),
            ("debt of others that loses cover, USD", [one.cover_lost_usd for one in ends]),
            ("rent others lose within a year, USD", [sum(one.rent_lost_usd.values()) for one in ends]),
        )
    ]
    for model in _sold(found):
        shares = (Cell(show(one.price.get(model), "ratio")) for one in ends)
        rows.append([Cell(f"price of {model}, share of its mark"), *shares])
    heads = [Head("what follows"), *(Head(name, right=True) for name in CORNERS)]
    notes = [Cell(f"{label}: {_dragged(case, one)}") for label, one in found.items()]
    lost = middle.rent_lost_usd.items()
    notes += [Cell(f"rent of {_host(case, host)} lost: {show(usd, 'usd')} USD") for host, usd in lost]
    notes.append(Cell("adverse, favourable: all assumptions at that end together; shared lenders: nobody who shares a "
                      "lender with the fallen can refinance", "dim"))  # fmt: skip
    notes += [Cell(line, "dim") for line in _left_out(middle.left_out)]
    data = {
        **heading(case), "id": borrower, "name": case.name(borrower),
        "under": {name: _fall_json(one) for name, one in found.items()},
        "left_out": list(middle.left_out), "assumed": list(middle.used),
    }  # fmt: skip
    captions = [f"{label}: {_dragged(case, one)}" for label, one in found.items()]
    captions += ["span: low to high over the assumptions", *_left_out(middle.left_out)]
    table = titled(case, f"if {case.name(borrower)} falls now", heads, rows, notes)
    panels = fall_panels(case, found)
    return Shown(Reply(data, (table,)), f"If {case.name(borrower)} falls now", panels, stamp(case, captions))


def _dragged_debts(case: Case, ends: Sequence[Cascade]) -> list[tuple[str, float]]:
    """Who falls along at one end of the assumptions at least, and what it owes."""
    debts = debt_total(case.state)
    names = dict.fromkeys(name for one in ends for name in one.dragged)
    return [(name, debts.at(case.state.borrowers.index(name)).middle) for name in names]


def _sold(found: Mapping[str, Cascade]) -> list[str]:
    """Models whose price falls at one end of the assumptions at least."""
    models = found["middle"].price
    return [m for m in models if m and any(found[name].price.get(m, 1.0) < 1 for name in CORNERS)]


def _dragged(case: Case, one: Cascade) -> str:
    names = ", ".join(case.name(name) for name in one.dragged) or "nobody"
    return f"drags down {names}; settled after {one.rounds} round{'s' if one.rounds != 1 else ''}"


def _host(case: Case, row: str) -> str:
    borrower, _, pool = row.partition("/")
    return case.name(borrower) + (f" ({pool})" if pool else "")


def _fall_json(one: Cascade) -> dict[str, object]:
    return {
        "dragged": list(one.dragged), "rounds": one.rounds, "debt_usd": one.debt_usd,
        "cover_lost_usd": one.cover_lost_usd, "rent_lost_usd": dict(one.rent_lost_usd),
        "price_share": {model: price for model, price in one.price.items() if model},
    }  # fmt: skip


def fall_panels(case: Case, found: Mapping[str, Cascade]) -> tuple[Panel, ...]:
    """Money that falls or is lost, with everybody who is dragged along, and what prices are left."""
    ends = [found[name] for name in CORNERS]
    middle = ends[0]

    def spread(label: str, values: list[float]) -> Range:
        return Range(label, values[0], min(values), max(values))

    money = [
        spread("debt that falls", [one.debt_usd for one in ends]),
        spread("others lose cover", [one.cover_lost_usd for one in ends]),
        *(
            spread(f"dragged: {case.name(name)}", [debt if name in one.dragged else 0.0 for one in ends])
            for name, debt in _dragged_debts(case, ends)
        ),
        *(
            spread(f"rent of {_host(case, host)}", [one.rent_lost_usd.get(host, 0.0) for one in ends])
            for host in middle.rent_lost_usd
        ),
    ]
    prices = tuple(spread(model, [one.price.get(model, 1.0) for one in ends]) for model in _sold(found))
    rounds = f"settled after {middle.rounds} round{'s' if middle.rounds != 1 else ''}"
    panels: list[Panel] = [Dots(rounds, "USD", tuple(money), "usd")]
    if prices:
        panels.append(Dots("after the sale of its pools", "price left, % of today's mark", prices, "ratio", limit=1.0))
    return tuple(panels)


# ---------------------------------------------------------------- a sale
def one_sale(case: Case, orders: Mapping[str, float]) -> Shown:
    """What selling machines does: how long it takes, the price per unit, and who is re-marked."""
    try:
        found = sell(case.state, orders)
    except ValueError as error:  # a model nobody holds, or no number of units
        raise CanaryError(f"--sell: {error}") from None
    tables, panels, notes = [], list[Panel](), list[str]()
    for sale in found:
        title = f"sale of {sale.units:,.0f} {sale.model}"
        rows = [
            [Cell("months to sell"), Cell(_three(sale.months, "{:,.1f}"))],
            [Cell("average price, USD per unit"), Cell(_three(sale.average_usd, "{:,.0f}"))],
            [Cell("price of the last unit, USD"), Cell(_three(sale.last_usd, "{:,.0f}"))],
        ]
        tables.append(titled(case, title, [Head("what"), Head("middle (low-high)", right=True)], rows, []))
        pools = tuple(
            (Cell(_host(case, pool)), Cell(f"{show(a, 'usd')} > {show(b, 'usd')}"), Cell(_ltv_pair(c, d)))
            for pool, (a, b, c, d) in sale.remarked.items()
        )
        heads = (Head("pool re-marked"), Head("value, USD", right=True), Head("loan to value", right=True))
        said = tuple(Cell(line, "dim") for line in _left_out(sale.left_out))
        nobody = "" if pools else "no pool of the book is re-marked"
        tables.append(Table(nobody, heads if pools else (), pools, said))
        panels.append(_sale_panel(sale))
        panels += _remarked_panel(case, sale)
        notes += [f"{title}: {_three(sale.months, '{:,.1f}')} months at the market's present size"]
        notes += _left_out(sale.left_out)
    notes = list(dict.fromkeys(["depth of the market is the most uncertain input of all: span over its ends", *notes]))
    data = {**heading(case), "sales": [_sale_json(sale) for sale in found]}
    what = " and ".join(f"{units:,.0f} {model}" for model, units in orders.items())
    return Shown(Reply(data, tuple(tables)), f"If {what} are sold", tuple(panels[:4]), stamp(case, notes))


def _ltv_pair(before: float, after: float) -> str:
    """Loan to value before and after; nothing where no loan stands against the pool."""
    return NOT_APPLICABLE if np.isnan(before) else f"{show(before, 'ratio')} > {show(after, 'ratio')}"


def _three(values: tuple[float, float, float], form: str) -> str:
    if np.isnan(values[0]):
        return UNKNOWN
    low, high = min(values), max(values)
    return form.format(values[0]) + (f" ({form.format(low)}-{form.format(high)})" if low != high else "")


def _sale_panel(sale: Sale) -> Dots:
    def spread(label: str, values: tuple[float, float, float]) -> Range:
        return Range(label, None if np.isnan(values[0]) else values[0], min(values), max(values))

    rows = (spread("average of the sale", sale.average_usd), spread("last unit", sale.last_usd))
    return Dots(f"{sale.units:,.0f} {sale.model} sold", "USD per unit", rows, "usd")


def _remarked_panel(case: Case, sale: Sale) -> list[Dots]:
    """Loan to value of the pools that secure a loan."""
    rows = tuple(
        Range(_host(case, pool), after, before=before)
        for pool, (_, _, before, after) in sale.remarked.items()
        if not np.isnan(before)
    )
    label = "loan to value at the new marks, %"
    return [Dots("who is re-marked", label, rows, "ratio", 1.0, "100%", before_label="before")] if rows else []


def _sale_json(sale: Sale) -> dict[str, object]:
    def three(values: tuple[float, float, float], unit: str) -> dict[str, object]:
        return Reading(values[0], unit, min(values), max(values)).json()

    return {
        "model": sale.model, "units": sale.units, "months": three(sale.months, "months"),
        "average_usd": three(sale.average_usd, "usd"), "last_usd": three(sale.last_usd, "usd"),
        "remarked": {
            pool: {
                "value_usd": a, "value_after_usd": b, "ltv": Reading(c, "ratio").json()["value"],
                "ltv_after": Reading(d, "ratio").json()["value"],
            }
            for pool, (a, b, c, d) in sale.remarked.items()
        },
        "left_out": list(sale.left_out), "assumed": list(sale.used),
    }  # fmt: skip


def orders_of(texts: tuple[str, ...]) -> dict[str, float]:
    """Orders written as MODEL=UNITS; units of one model add up. CanaryError naming every one that cannot be read.

    >>> orders_of(("h100=10k", "H100=500"))
    {'H100': 10500.0}
    """
    orders, problems = dict[str, float](), list[str]()
    for text in texts:
        model, equals, units = text.partition("=")
        try:
            if not equals or not model.strip():
                raise ValueError("write MODEL=UNITS, for example H100=10000")
            number, dimension = parse_quantity(units)
            if dimension != "number" or number <= 0:
                raise ValueError("units are a number above zero, for example H100=10000")
            orders[model.strip().upper()] = orders.get(model.strip().upper(), 0.0) + number
        except ValueError as error:
            problems.append(f"--sell {text[:60]!r}: {error}")
    if problems:
        raise CanaryError("\n".join(problems))
    return orders
