"""One borrower in full: its numbers and grids, what caused them, both cases of a year, the infrastructure test, the
share price's view, chances on paths, and everything that was assumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from monitor.charts import Band, Bars, Fan, short
from monitor.metrics import METRICS, View
from monitor.model import FloatArray
from monitor.stress.answers import Question, ask
from monitor.stress.fan import coverage_paths
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE, unique
from monitor.stress.inputs import TESTS
from monitor.stress.outlook import notes, simulated, under
from monitor.stress.sale import holdings
from monitor.stress.scenario import Scenario, pairs
from monitor.stress_borrower import one_borrower
from monitor.stress_cards import equity, infrastructure, two_cases
from monitor.stress_causes import of_one, since
from monitor.stress_chances import Chance, chances_under, moved
from monitor.stress_shown import Shown
from monitor.stressing import HORIZON_MONTHS, SHOWN, TODAY, Case
from monitor.tables import Cell, Head, Table

#: paths behind the picture of coverage
FAN_PATHS = 1024
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FAN_NOTE = (
    "coverage on paths: middle of all assumptions; machines by used prices, coins with bitcoin, cash and debt by "
    "month; bands hold half and nine tenths of the paths"
)
TEST_WORDS = dict(
    zip(TESTS, ("debt service cover", "loan to value", "liquidity", "margin call", "a maturity"), strict=True)
)


def full_borrower(case: Case, borrower: str, scenario: Scenario | None, paths: int | None) -> Shown:
    """Everything the stress core says of one borrower, today or under a scenario."""
    shown = one_borrower(case, borrower, scenario, paths)
    question, one = ask(case.state), scenario or TODAY
    tables, panels, data = list(shown.reply.tables), list(shown.panels), dict(shown.reply.data)
    if scenario is not None:
        table, data["caused_by"], bars = of_one(case, borrower, scenario)
        tables.append(table)
        panels.append(bars)
    else:
        more, data["moved_since"] = since(case, borrower)
        tables += more
    cases, data["first_breach_months"] = two_cases(case, question, borrower, one)
    card, data["infrastructure_test"] = infrastructure(case, borrower)
    share, data["share_price_view"] = equity(case, borrower)
    tables += [cases, card, share]
    captions = list(shown.stamp.notes)
    if paths:
        chance = chances_under(question, one, paths, borrower, sampling=True)[borrower]
        table, data["chance_12m"] = chance_table(chance, one, paths)
        fan, rows, data["coverage_by_month"] = _coverage(case, question, borrower, one)
        tables += [table, rows]
        panels += [fan, first_panel(chance, one)]
        captions.append(FAN_NOTE)
    used = assumed(case, question, [borrower], with_paths=bool(paths))
    data["assumed"] = list(used)
    tables.append(Table("assumed here, low to high in brackets", notes=tuple(Cell(line, "dim") for line in used)))
    reply = replace(shown.reply, data=data, tables=tuple(tables))
    title = case.name(borrower) + (f" under {scenario.name}" if scenario else "")
    return replace(
        shown, reply=reply, title=title, panels=tuple(panels), stamp=replace(shown.stamp, notes=tuple(captions))
    )


# ---------------------------------------------------------------- chances
def chance_table(chance: Chance, scenario: Scenario, paths: int) -> tuple[Table, dict[str, object]]:
    """The chance within a year: range over assumptions, sampling error apart, when first and which test."""
    if chance.reason:
        return Table("", notes=(Cell(f"breach within a year: ? {chance.reason}", "dim"),)), {"reason": chance.reason}
    year = chance.year()
    tests = {name: float(share) for name, share in zip(TESTS, chance.by_test, strict=True)}
    named = [f"{TEST_WORDS[name]} {short(share, 'ratio')}" for name, share in tests.items() if share > 0]
    rows = (
        (Cell("within a year, middle (low-high over assumptions)"), Cell(chance.text(paths))),
        (Cell("standard error of the middle, sampling only"), Cell(short(chance.sampling, "ratio"))),
        (Cell("what breaks first, share of paths"), Cell(", ".join(named) or "nothing")),
    )
    heads = (Head(f"breach, {scenario.name}: {paths:,} paths"), Head("", right=True))
    data: dict[str, object] = {
        **year.json(), "sampling_error": None if np.isnan(chance.sampling) else chance.sampling,
        "first_in_month": [float(v) for v in chance.first()], "first_by_test": tests,
    }  # fmt: skip
    return Table("", heads, rows), data


def first_panel(chance: Chance, scenario: Scenario) -> Bars:
    """When the first breach comes: share of paths by month."""
    months = tuple(str(m + 1) for m in range(HORIZON_MONTHS))
    series = () if chance.reason else (("middle", tuple(float(v) for v in chance.first())),)
    title = f"when it first breaks, {scenario.name}"
    if not chance.reason and not chance.middle[-1]:
        return Bars(title, "", "", months, (), "ratio", "no path breaks within a year in the middle of all assumptions")
    return Bars(title, "months from now", "share of paths, %", months, series, "ratio", chance.reason)


# ---------------------------------------------------------------- coverage by month
def _coverage(
    case: Case, question: Question, borrower: str, scenario: Scenario
) -> tuple[Fan, Table, dict[str, object]]:
    """Coverage from today on over simulated paths: a picture, a table of quantiles, and JSON."""
    b, state = case.state.borrowers.index(borrower), case.state
    rows = question.rows[MIDDLE]
    paths = simulated(rows, question.price(rows), question.base_rate, n_paths=FAN_PATHS, pairs=pairs(scenario))
    one = rows.cut([rows.row(borrower)])
    here = moved(paths, under(one, state, scenario), under(one, state, TODAY), MIDDLE, state.assumptions)
    cover = coverage_paths(state, rows, here, holdings(state), b, MIDDLE, scenario)
    lines = np.quantile(cover, QUANTILES, axis=1) if not np.isnan(cover).any() else np.full((5, len(cover)), np.nan)
    reason = METRICS["coverage"].compute(View(state)).at(b).reasons
    months = np.arange(len(cover), dtype=float)
    if np.isnan(lines).any():
        said = reason[0] if reason else "a figure of its cash flow is missing"
        empty = Fan("coverage by month", "months from now", "x of all debt", months, (), "x", said)
        return empty, Table("", notes=(Cell(f"coverage by month: ? {said}", "dim"),)), {"reason": said}
    return (
        _fan(lines, months, scenario),
        _quantiles(lines),
        {f"{q:.0%}": [short_number(v) for v in line] for q, line in zip(QUANTILES, lines, strict=True)},
    )


def short_number(value: float) -> float | str:
    """A number for machines; unlimited is a word."""
    return float(value) if np.isfinite(value) else "unlimited"


def _fan(lines: FloatArray, months: FloatArray, scenario: Scenario) -> Fan:
    low, below, middle, above, high = lines
    bands = (
        Band("median, nine tenths of the paths", middle, low, high),
        Band("half of the paths", middle, below, above),
    )
    return Fan(
        f"coverage by month, {scenario.name}", "months from now", "(collateral + cash + free coins) / debt, x", months,
        bands, "x", line=1.0, line_label="1.00x: debt is just covered",
    )  # fmt: skip


def _quantiles(lines: FloatArray) -> Table:
    heads = (Head("coverage by month"), *(Head(str(m), right=True, expendable=1 if m % 3 else 0)
             for m in range(lines.shape[1])))  # fmt: skip
    rows = tuple(
        (Cell(f"{q:.0%} of paths are below"), *(Cell(short(float(v), "x")) for v in line))
        for q, line in zip(QUANTILES, lines, strict=True)
    )
    return Table("", heads, rows)


# ---------------------------------------------------------------- what was assumed
def assumed(case: Case, question: Question, borrowers: Iterable[str], with_paths: bool) -> tuple[str, ...]:
    """Every assumption behind the judged numbers and the rows of some borrowers, with its range; of paths too."""
    wanted, view = set(borrowers), View(case.state)
    found: list[str] = []
    for metric in SHOWN:
        field = METRICS[metric].compute(view)
        owners: Mapping[int, str] = dict(enumerate(case.state.borrowers))
        if METRICS[metric].level == "facility":
            owners = {f: case.state.borrowers[int(b)] for f, b in enumerate(case.state.facility_borrower)}
        found += [text for i, texts in field.used.items() if owners[i] in wanted and field.known[i] for text in texts]
    for corner in (MIDDLE, ADVERSE, FAVOURABLE):
        rows = question.rows[corner]
        for r, b in enumerate(rows.owner):
            if case.state.borrowers[int(b)] in wanted:
                found += rows.used[r]
    return unique((*sorted(set(found)), *(notes(case.state.assumptions) if with_paths else ())))


__all__ = ["assumed", "chance_table", "first_panel", "full_borrower"]
