"""Does a borrower behave like infrastructure, what do its shares say, and what would it need to go on building."""

from __future__ import annotations

import numpy as np

from monitor.overview import Reading
from monitor.stress.answers import Question
from monitor.stress.equity import market_value, structural
from monitor.stress.scenario import Scenario
from monitor.stress.scorecard import Answer, Card, scorecard
from monitor.stress_shown import months_text, rolled
from monitor.stressing import Case, first_breach, first_breach_building, value_reading
from monitor.tables import Cell, Head, Table, Tone

WORDS: dict[Answer, tuple[str, Tone]] = {
    "yes": ("pass", "good"),
    "no": ("fail", "critical"),
    "depends": ("depends", "warning"),
    "unknown": ("?", "dim"),
}
EQUITY_NOTE = (
    "structural view (Merton): all debt due in a year, drift at the base rate, volatility of the share assumed; it "
    "reads the share price, not the schedule of dues"
)


def infrastructure(case: Case, borrower: str) -> tuple[Table, list[dict[str, object]]]:
    """Every pool with a loan against the six tests of infrastructure lending."""
    cards = [card for card in scorecard(case.state) if card.pool.partition("/")[0] == borrower]
    rows = [row for card in cards for row in _rows(card)]
    if not rows:
        note = Cell("no pool of it owes anything, or what it owes was never reported", "dim")
        return Table("infrastructure test", notes=(note,)), []
    heads = (Head("infrastructure test"), Head("answer"), Head("by what"))
    counts = ", ".join(f"{card.pool.partition('/')[2]} {card.passed} of 6, {card.open} unknown" for card in cards)
    said = f"passed: {counts}; depends: the two ends of the assumptions disagree"
    data: list[dict[str, object]] = [
        {
            "pool": card.pool, "passed": card.passed, "unknown": card.open,
            "tests": [{"test": m.question, "answer": m.answer, "why": m.why} for m in card.marks],
        }
        for card in cards
    ]  # fmt: skip
    return Table("", heads, tuple(rows), (Cell(said, "dim"),)), data


def _rows(card: Card) -> list[tuple[Cell, ...]]:
    pool = card.pool.partition("/")[2]
    return [(Cell(f"{pool}: {m.question}"), Cell(*WORDS[m.answer]), Cell(m.why, "dim")) for m in card.marks]


def equity(case: Case, borrower: str) -> tuple[Table, dict[str, object]]:
    """What the share price says about the chance of default, or why it says nothing here."""
    b = case.state.borrowers.index(borrower)
    worth = value_reading(market_value(case.state, b), "usd")
    distance, chance = (
        value_reading(value, unit) for value, unit in zip(structural(case.state, b), ("sigma", "ratio"), strict=True)
    )
    data: dict[str, object] = {
        "market_value_usd": worth.json(),
        "distance_to_default": distance.json(),
        "pd_12m": chance.json(),
    }
    if chance.value is None:
        return Table("", notes=(Cell(f"share price view: ? {chance.reason}", "dim"),)), data
    cells = (Cell(worth.text()), Cell(distance.text(ends=True)), Cell(chance.text(ends=True)))
    heads = (Head("market value, USD", right=True), Head("distance to default", right=True),
             Head("default within a year", right=True))  # fmt: skip
    return Table("what the share price says", heads, (cells,), (Cell(EQUITY_NOTE, "dim"),)), data


def two_cases(case: Case, question: Question, borrower: str, scenario: Scenario) -> tuple[Table, dict[str, object]]:
    """The first breach when it only runs off, and when it goes on building."""
    run_off = first_breach(question, scenario)[borrower]
    build = first_breach_building(question, scenario)[borrower]
    rows = (
        (
            Cell("run off"),
            _when(run_off),
            Cell("no draws, nothing new; committed capex at the adverse end only", "dim"),
        ),
        (
            Cell("build"),
            _when(build),
            Cell("committed capex is spent, loans are drawn for it, new contracts start", "dim"),
        ),
    )
    heads = (Head("first breach"), Head("month (low-high)", right=True), Head("case"))
    reasons = [Cell(f"? {name}: {one.reason}", "dim") for name, one in (("run off", run_off), ("build", build))
               if one.value is None]  # fmt: skip
    reasons.insert(0, Cell(rolled(scenario), "dim"))
    data: dict[str, object] = {"run_off": run_off.json(), "build": build.json()}
    return Table("", heads, rows, tuple(reasons)), data


def _when(found: Reading) -> Cell:
    bad = found.value is not None and np.isfinite(found.value)
    return Cell(months_text(found), "warning" if bad else "dim" if found.value is None else "")
