"""Given one move, what becomes likely: breaches and the other prices, by the conditional distribution of the paths."""

from __future__ import annotations

import re

from monitor.charts import Dots, Range
from monitor.commands import Reply
from monitor.model import CanaryError
from monitor.stress.answers import ask
from monitor.stress.scenario import PATH_AXES, Scenario
from monitor.stress_chances import Expected, Given, chances_under, expected_given, sigmas_of
from monitor.stress_shown import Shown, heading, stamp, titled, why
from monitor.stressing import HORIZON_MONTHS, TODAY, Case, written
from monitor.tables import Cell, Head, Table
from monitor.yamltext import suggest

#: what people call the three axes
NAMES = {"bitcoin": "btc", "crypto": "btc", "rental": "rent", "rents": "rent", "spreads": "spread"}
DEFAULT_PATHS = 1024


def given_of(texts: tuple[str, ...]) -> tuple[Given, str]:
    """Moves written as "rent -40%" or "spread=+300bp by 6m": what every path has done by that month, and the words.
    Without a month it is the horizon of the paths, a year.

    >>> given_of(("rental -40%", "spread=+300bp"))
    (Given(moves={'rental': 0.6, 'spread': 0.03}, by=12), 'rent -40%, spread +300bp by month 12')
    >>> given_of(("rent -40% by 6m",))[1]
    'rent -40% by month 6'
    >>> given_of(("rnt -40%",))
    Traceback (most recent call last):
    ...
    monitor.model.CanaryError: --given 'rnt -40%': no axis 'rnt'; did you mean 'rent'?
    """
    wanted, months = dict[str, str](), dict[str, int]()
    for text in texts:
        move, by = _by(text)
        name, _, amount = re.sub(r"\s*=\s*|\s+", " ", move.strip()).partition(" ")
        factor = NAMES.get(name.lower(), name.lower())
        if factor not in PATH_AXES:
            raise CanaryError(f"--given {text[:60]!r}: no axis {name[:30]!r}; {suggest(factor[:30], list(PATH_AXES))}")
        if factor in wanted:
            raise CanaryError(f"--given: {factor} is given twice")
        wanted[factor], months[factor] = amount, by
    if len(set(months.values())) > 1:
        told = ", ".join(f"{factor} by month {month}" for factor, month in months.items())
        raise CanaryError(f"--given: {told}; give all moves by the same month")
    try:
        scenario = written(wanted.get("btc"), wanted.get("rent"), wanted.get("spread"))
    except CanaryError as error:
        raise CanaryError(re.sub(r"^--", "--given ", str(error), flags=re.MULTILINE)) from None
    by = next(iter(months.values()), HORIZON_MONTHS)
    return Given(_moves(scenario), by), f"{scenario.name} by month {by}"


def _by(text: str) -> tuple[str, int]:
    """A move and the month it is reached by."""
    move, word, when = re.sub(r"\s+", " ", text).partition(" by ")
    if not word:
        return text, HORIZON_MONTHS
    found = re.fullmatch(r"(\d{1,3}) ?(m|mo|months?|q|quarters?)", when.strip().lower())
    months = int(found[1]) * (3 if found[2].startswith("q") else 1) if found else 0
    if not 1 <= months <= HORIZON_MONTHS:
        raise CanaryError(f"--given {text[:60]!r}: say by when as 1m to {HORIZON_MONTHS}m, for example by 6m")
    return move, months


def _moves(scenario: Scenario) -> dict[str, float]:
    """A price as a share of today's level, a spread as a change."""
    return {
        PATH_AXES[move.factor]: move.amount if move.verb == "add" else round(1 + move.amount, 12)
        for move in scenario.moves
    }


def given_view(case: Case, given: Given, words: str, paths: int, only: str | None = None) -> Shown:
    """Chances of a breach within a year given a move by some month, beside those without it, and where the other prices
    go."""
    question = ask(case.state)
    before = chances_under(question, TODAY, paths, only)
    after = chances_under(question, TODAY, paths, only, given=given)
    listed = sorted(before, key=lambda b: (bool(after[b].reason), -(after[b].year().value or 0.0), b))
    known = [b for b in listed if not after[b].reason]
    rows = [[Cell(case.name(b)), Cell(before[b].text(paths)), Cell(after[b].text(paths))] for b in known]
    heads = [Head("breach within a year"), Head("as it is (low-high)", right=True), Head(f"given {words}", right=True)]
    reasons = why({case.name(b): after[b].year() for b in listed if not case.stub(b) or b == only})
    sizes = " and ".join(f"{abs(size):.1f}" for size in sigmas_of(given, case.state.assumptions).values())
    note = (
        f"given {words}: every path stands there at the end of that month, whatever its way ({sizes} standard "
        f"deviations of {given.by} month{'s' * (given.by > 1)}: the wilder the move, the wilder the whole path); "
        f"{paths:,} paths; the others follow their conditional t distribution; what falls due is "
        "rolled while credit spreads allow"
    )
    notes = [Cell(note, "dim"), *(Cell(line, "dim") for line in reasons)]
    others = expected_given(question, given, paths)
    panel = Dots(
        "", "breach within a year, % of paths (span: low to high over assumptions and correlation)",
        tuple(
            Range(case.name(b), year.value, year.low, year.high, before[b].year().value)
            for b in known for year in (after[b].year(),)
        )
        or (Range("no test can be judged", None),),
        "ratio", limit=1.0, before_label="without the move",
    )  # fmt: skip
    data: dict[str, object] = {
        **heading(case), "given": dict(given.moves), "by_month": given.by, "paths": paths,
        "borrowers": [
            {"id": b, "name": case.name(b), "breach_12m": before[b].year().json(), "given": after[b].year().json()}
            for b in listed
        ],
        "expected": {one.axis: _expected_json(one) for one in others},
    }  # fmt: skip
    tables = (titled(case, f"given {words}", heads, rows, notes), _expected_table(others, given.by))
    return Shown(Reply(data, tables), f"Given {words}", (panel,), stamp(case, [note, *reasons]))


def _expected_json(one: Expected) -> dict[str, object]:
    return {
        "then": list(one.then), "year": list(one.year),
        "then_without": one.then_before, "year_without": one.year_before,
    }  # fmt: skip


def _expected_table(others: tuple[Expected, ...], by: int) -> Table:
    """Where the axes are by the month of the move, and after a year where that is later."""
    heads = [
        Head("median of the paths"),
        Head(f"by month {by} (4 of 5 paths)", right=True),
        Head("without", right=True),
    ]
    rows = [
        [Cell(_label(one.axis)), Cell(_three(one.axis, one.then)), Cell(_one(one.axis, one.then_before))]
        for one in others
    ]
    if by < HORIZON_MONTHS:
        heads += [Head("in a year (4 of 5 paths)", right=True), Head("without", right=True)]
        for row, one in zip(rows, others, strict=True):
            row += [Cell(_three(one.axis, one.year)), Cell(_one(one.axis, one.year_before))]
    note = "middle of all assumptions; correlation 0.35 towards bad times together, nu 4"
    return Table("", tuple(heads), tuple(map(tuple, rows)), (Cell(note, "dim"),))


def _label(axis: str) -> str:
    return {"btc": "bitcoin, % of today", "rent": "rents, % of today", "spread": "credit spread, bp"}[axis]


def _one(axis: str, value: float) -> str:
    return f"{value * 1e4:.0f}" if axis == "spread" else f"{value:.0%}"


def _three(axis: str, values: tuple[float, float, float]) -> str:
    mean, low, high = (_one(axis, value) for value in values)
    return mean if low == high else f"{mean} ({low}-{high})"
