"""How far from a breach, and by what: as tables, JSON and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from monitor.charts import Dots, Range
from monitor.commands import Reply
from monitor.metrics import METRICS, View
from monitor.overview import Reading
from monitor.stress.distance import REACH, distance
from monitor.stress_shocks import Alone, alone
from monitor.stress_shown import Shown, deliver, heading, open_case, stamp, titled, why
from monitor.stressing import STAR, Case, borrower_named, quarterly, value_reading
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Tone, show

if TYPE_CHECKING:
    from monitor.shell import Shell

HELD = "a level held for a year while nothing is refinanced"


def everybody(case: Case) -> Shown:
    """Distance to the nearest breach of every borrower, its direction, and the bitcoin prices that matter."""
    field = distance(quarterly(case.state))
    found = {b: value_reading(field.at(i), "sigma") for i, b in enumerate(case.state.borrowers)}
    words = {b: _direction(field.detail.get(i, "")) for i, b in enumerate(case.state.borrowers)}
    prices = {b: _prices(case, b) for b in case.state.borrowers}
    listed = sorted(found, key=lambda b: (found[b].value is None, found[b].value or 0.0, b))
    rows = []
    for b in (b for b in listed if found[b].value is not None):
        cells = [Cell(price) for price in prices[b].values()]
        rows.append([Cell(case.marked(b)), Cell(sigma_text(found[b]), _tone(found[b])), Cell(words[b]), *cells])
    heads = [
        Head("borrower"),
        Head("distance, sigma\n(low-high)", right=True),
        Head("nearest breach"),
        Head("margin call\nat BTC USD", right=True, expendable=1),
        Head("liquidation\nat BTC USD", right=True, expendable=2),
        Head("coins cover net\ndebt above BTC", right=True, expendable=3),
    ]
    reasons = why({case.name(b): found[b] for b in listed})
    star = (STAR,) if any(case.stub(b) for b in listed) else ()
    notes = [Cell(f"sigma: standard deviations of a year; {HELD}; low-high over the assumptions", "dim")]
    notes += [Cell(line, "dim") for line in (*star, *reasons)]
    ranges = tuple(Range(case.marked(b), found[b].value, found[b].low, found[b].high) for b in listed)
    panel = Dots(
        "",
        "distance to the nearest breach, standard deviations",
        ranges,
        "sigma",
        limit=REACH,
        infinite=f"beyond {REACH:g}",
    )
    data = {
        **heading(case),
        "borrowers": [
            {
                "id": b,
                "name": case.name(b),
                "insufficient_data": case.stub(b),
                "distance_sigma": found[b].json(),
                "nearest": words[b] or None,
                **{name: value.json() for name, value in _price_readings(case, b).items()},
            }
            for b in listed
        ],
    }
    captions = (
        f"{HELD}; span: low to high over the assumptions; an arrow: no breach within {REACH:g}",
        *star,
        *reasons,
    )
    reply = Reply(data, (titled(case, "the smallest joint shock that breaks", heads, rows, notes),))
    return Shown(reply, "How far from a breach", (panel,), stamp(case, captions))


def _direction(detail: str) -> str:
    """The words of a nearest breach without the distance that stands beside them.

    >>> _direction("coreweave: 0.6 sigma, 17 % contract loss, bitcoin -12 %"), _direction("mara/btc-line: broken")
    ('17 % contract loss, bitcoin -12 %', 'btc-line: broken')
    """
    row, _, words = detail.partition(": ")
    first, _, rest = words.partition(" sigma, ")
    pool = row.partition("/")[2]
    said = rest if rest and first.replace(".", "").isdigit() else words
    return f"{pool}: {said}" if pool else said


def sigma_text(found: Reading) -> str:
    """A distance with its ends; beyond reach is said, not drawn as a number.

    >>> sigma_text(Reading(float("inf"), "sigma", 0.5, float("inf"))), sigma_text(Reading(1.2, "sigma", 0.8, 1.9))
    ('beyond 6 (0.5-beyond 6)', '1.2 (0.8-1.9)')
    """
    if found.value is None:
        return UNKNOWN

    def word(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:.1f}" if np.isfinite(value) else f"beyond {REACH:g}"

    ends = "" if found.low == found.high else f" ({word(found.low)}-{word(found.high)})"
    return word(found.value) + ends


def _tone(found: Reading) -> Tone:
    if found.value is None:
        return "dim"
    return "critical" if found.value < 1 else "warning" if found.value < 2 else ""


TRIGGERS = {
    "margin_call_btc_usd": "margin call at BTC",
    "liquidation_btc_usd": "liquidation at BTC",
    "coin_cover_btc_usd": "coins cover net debt above BTC",
}


def _price_readings(case: Case, borrower: str) -> dict[str, Reading]:
    """The bitcoin prices at which something happens to a borrower; of its facilities the first that is reached."""
    state, found = case.state, {}
    view = View(state)
    for name in TRIGGERS:
        info = METRICS[name]
        field = state.once(("trigger", name), lambda info=info: info.compute(view))  # type: ignore[misc]
        b = state.borrowers.index(borrower)
        if info.level == "borrower":
            found[name] = value_reading(field.at(b), "usd")
            continue
        mine = (int(f) for f in np.flatnonzero(state.facility_borrower == b))
        own = [f for f in mine if state.pools[f].facility.pool == "coins"]
        known = [field.at(f) for f in own if field.known[f]]
        if not own:
            found[name] = Reading(None, "usd", reason="no coins are pledged", applies=False)
        elif not known:
            found[name] = value_reading(field.at(own[0]), "usd")
        else:
            found[name] = value_reading(max(known, key=lambda value: value.middle), "usd")
    return found


def _prices(case: Case, borrower: str) -> dict[str, str]:
    return {name: _price_text(value) for name, value in _price_readings(case, borrower).items()}


def _price_text(found: Reading) -> str:
    if not found.applies:
        return NOT_APPLICABLE
    if found.value is None:
        return UNKNOWN
    ends = "" if found.low == found.high else f" ({found.low:,.0f}-{found.high:,.0f})"
    return f"{found.value:,.0f}{ends}" if np.isfinite(found.value) else show(found.value, "usd")


def one_reverse(case: Case, borrower: str) -> Shown:
    """Everything that breaks one borrower: the nearest joint shock, and each thing alone, for itself and its pools."""
    question = quarterly(case.state)
    field, b = distance(question), case.state.borrowers.index(borrower)
    nearest = value_reading(field.at(b), "sigma")
    found = alone(question, borrower)
    rows = [[Cell(one.row), Cell(one.what), Cell(alone_text(one))] for one in found]
    heads = [Head("who"), Head("moves alone"), Head("breaks at (low-high)", right=True)]
    said = _direction(field.detail.get(b, ""))
    notes = [Cell(f"nearest joint shock: {sigma_text(nearest)} sigma, {said}" if said else f"? {nearest.reason}")]
    notes += [Cell(f"{TRIGGERS[name]} {text} USD") for name, text in _prices(case, borrower).items()
              if text not in (UNKNOWN, NOT_APPLICABLE)]  # fmt: skip
    if not found:
        notes.append(Cell("no test of it can be judged", "warning"))
    notes.append(Cell(f"{HELD}; low-high over the assumptions", "dim"))
    notes += [Cell(STAR, "dim")] if case.stub(borrower) else []
    panels = (_alone_panel(found),)
    data = {
        **heading(case), "id": borrower, "name": case.name(borrower), "distance_sigma": nearest.json(),
        "nearest": said or None,
        "alone": [{"row": one.row, "shock": one.what, "unit": one.unit, "move": one.move.json()} for one in found],
        **{name: value.json() for name, value in _price_readings(case, borrower).items()},
    }  # fmt: skip
    captions = [f"{HELD}; span: low to high over the assumptions; an arrow: not by itself"]
    captions.append(f"nearest joint shock: {sigma_text(nearest)} sigma, {said}" if said else f"? {nearest.reason}")
    table = titled(case, f"what breaks {case.marked(borrower)}", heads, rows, notes)
    return Shown(Reply(data, (table,)), f"What breaks {case.name(borrower)}", panels, stamp(case, captions, [borrower]))


def alone_text(one: Alone) -> str:
    """A single move in words.

    >>> alone_text(Alone("x", "bitcoin", "ratio", Reading(-0.5, "ratio", -0.4, float("inf"))))
    '-50% (-40% to not by itself)'
    """

    def word(value: float | None) -> str:
        if value is None or not np.isfinite(value):
            return "not by itself"
        if value == 0:
            return "already broken"
        return f"{value:+,.0f} bp" if one.unit == "bp" else f"{value:+.0%}" if value < 0 else f"{value:.0%}"

    low, high = one.move.low, one.move.high
    return word(one.move.value) + ("" if low == high else f" ({word(low)} to {word(high)})")


def _alone_panel(found: tuple[Alone, ...]) -> Dots:
    """How much of each thing must go before something breaks; the base rate has its own unit and is in the table."""
    rows = []
    for one in found:
        if one.unit == "ratio":
            ends = (None if v is None else abs(v) for v in (one.move.value, one.move.low, one.move.high))
            rows.append(Range(f"{one.row}: {one.what}", *ends))
    if not rows:
        rows.append(Range("no test can be judged", None))
    label = "share lost of bitcoin, rents or contracts before a test breaks, %"
    return Dots("one thing alone", label, tuple(rows), "ratio", limit=1.0, infinite="not by itself")


# ---------------------------------------------------------------- the command
def run_reverse(shell: Shell, borrower: str | None, at: str | None, file: str | None) -> int:
    """``canary reverse``."""
    case = open_case(shell, at)
    shown = everybody(case) if borrower is None else one_reverse(case, borrower_named(case, borrower))
    return deliver(shell, shown, file)
