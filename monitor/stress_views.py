"""What scenarios do to everybody, as tables, JSON and pictures: all of them at once, or one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from monitor.charts import Dots, Heat, Panel, Range, short
from monitor.commands import Reply
from monitor.metrics import METRICS
from monitor.model import CanaryError
from monitor.overview import Reading
from monitor.stress.answers import ask
from monitor.stress.scenario import Scenario, apply
from monitor.stressing import (
    MOST_PATHS,
    SHOWN,
    TODAY,
    Case,
    borrower_named,
    first_breach,
    first_breach_building,
    readings,
    scenario_named,
    stressed,
    written,
)
from monitor.tables import Cell, Head, Table

if TYPE_CHECKING:
    from monitor.shell import Shell

from monitor.stress_causes import by_axis
from monitor.stress_chances import chances_under
from monitor.stress_full import assumed, full_borrower
from monitor.stress_given import DEFAULT_PATHS, given_of, given_view
from monitor.stress_shown import (
    LABELS,
    LINES,
    LIQUIDITY,
    MARKS,
    MEANING,
    MIDDLE_NOTE,
    Shown,
    cell,
    deliver,
    heading,
    metrics_json,
    months_text,
    open_case,
    rolled,
    scenario_json,
    stamp,
    titled,
    why,
)


def _pair(before: Reading, after: Reading, metric: str) -> Cell:
    if not before.applies:
        return Cell(before.text())
    now = before.text()
    then = cell(after, metric)
    if now == after.text():
        return then
    return Cell(f"{now} > {then.text}", then.tone)


# ---------------------------------------------------------------- everybody under every scenario
def matrix(case: Case) -> Shown:
    """Liquidity of every borrower now and under each scenario; every judged number is in the JSON."""
    columns = [("now", readings(case.state))]
    columns += [(one.name, readings(apply(case.state, one))) for one in case.scenarios]
    now = columns[0][1]
    shown = sorted(
        (b for b in case.state.borrowers if not case.stub(b)), key=lambda b: _order(columns[-1][1][b][LIQUIDITY], b)
    )
    rows = [[Cell(case.name(b)), *(cell(found[b][LIQUIDITY], LIQUIDITY) for _, found in columns)] for b in shown]
    heads = [Head("borrower"), *(Head(name.replace("_", "\n"), right=True) for name, _ in columns)]
    reasons = why({case.name(b): now[b][LIQUIDITY] for b in shown})
    stubs = [case.name(b) for b in case.state.borrowers if case.stub(b)]
    notes = [Cell(f"line: 1.00x, means equal what falls due; {MARKS}; {MIDDLE_NOTE}; scenarios come at once", "dim")]
    notes += [Cell(line, "dim") for line in reasons]
    notes += [Cell(f"insufficient data: {', '.join(stubs)}", "dim")] if stubs else []
    table = titled(case, "liquidity over 12 months, x of what falls due", heads, rows, notes)
    values = np.array([[_number(found[b][LIQUIDITY]) for _, found in columns] for b in shown]).reshape(
        len(shown), len(columns)
    )
    panel = Heat(
        "", "scenario", "", tuple(name.replace("_", " ") for name, _ in columns), tuple(case.name(b) for b in shown),
        values, "x", 1.0, "1.00x: means equal what falls due",
    )  # fmt: skip
    captions = (MEANING[LIQUIDITY] + f"; {MIDDLE_NOTE}", *reasons)
    data = {
        **heading(case),
        "scenarios": [scenario_json(one) for one in case.scenarios],
        "borrowers": [
            {"id": b, "name": case.name(b), "under": {name: metrics_json(found[b]) for name, found in columns}}
            for b in case.state.borrowers
        ],
    }
    return Shown(Reply(data, (table,)), "Liquidity under every scenario", (panel,), stamp(case, captions, shown))


def _order(value: Reading, name: str) -> tuple[bool, float, str]:
    return value.value is None, value.value or 0.0, name


def _number(found: Reading) -> float:
    return float("nan") if found.value is None else found.value


# ---------------------------------------------------------------- everybody under one scenario
def one_scenario(case: Case, scenario: Scenario, paths: int | None) -> Shown:
    """Every borrower now and under one scenario, the month something breaks, and chances over paths where asked."""
    question = ask(case.state)
    now, then = readings(case.state), readings(stressed(case.state, scenario))
    first = first_breach(question, scenario)
    pair = {"now": TODAY, "under": scenario} if paths else {}
    chances = {when: chances_under(question, one, paths or 1, sampling=when == "under") for when, one in pair.items()}
    building = first_breach_building(question, scenario) if _delays(scenario) else {}
    shown = sorted((b for b in case.state.borrowers if not case.stub(b)), key=lambda b: _order(then[b][LIQUIDITY], b))
    rows = [
        [
            Cell(case.name(b)),
            *(_pair(now[b][metric], then[b][metric], metric) for metric in SHOWN),
            Cell(months_text(first[b])),
            *([Cell(months_text(building[b]))] if building else []),
            *(Cell(found[b].text(paths or 1)) for found in chances.values()),
            *([Cell(short(chances["under"][b].sampling, "ratio"), "dim")] if paths else []),
        ]
        for b in shown
    ]
    heads = [Head("borrower"), *(Head(LABELS[m], right=True, expendable=_rank(m)) for m in SHOWN)]
    heads += [Head("first breach\nin months", right=True, expendable=2)]
    heads += [Head("when it builds\nin months", right=True)] if building else []
    heads += [Head(f"breach within\na year, {when}", right=True) for when in chances]
    heads += [Head("sampling\nerror", right=True, expendable=1)] if paths else []
    reasons = why({case.name(b): then[b][LIQUIDITY] for b in shown})
    reasons += why({case.name(b): then[b]["ltv_economic"] for b in shown}, "loan to value: ")
    reasons += why({case.name(b): first[b] for b in shown}, "first breach: ")
    notes = [Cell(line, "dim") for line in (*_scenario_notes(scenario, paths), *reasons)]
    panel = _dumbbells(case, shown, now, then)
    data = {
        **heading(case),
        "scenario": scenario_json(scenario),
        "paths": paths,
        "borrowers": [
            {
                "id": b, "name": case.name(b), "now": metrics_json(now[b]), "under": metrics_json(then[b]),
                "first_breach_months": first[b].json(),
                **{f"breach_12m_{when}": found[b].year().json() for when, found in chances.items()},
                **({"sampling_error_under": _plain(chances["under"][b].sampling)} if paths else {}),
                **({"first_breach_months_building": building[b].json()} if building else {}),
            }
            for b in case.state.borrowers
        ],
    }  # fmt: skip
    table = titled(case, f"under {scenario.name}", heads, rows, notes)
    captions = [
        text
        for text in (
            scenario.note,
            f"under the scenario: {MIDDLE_NOTE}; span: low to high over the assumptions",
            *reasons,
        )
        if text
    ]
    return Shown(Reply(data, (table,)), f"Under {scenario.name}", panel, stamp(case, captions, shown))


def _scenario_notes(scenario: Scenario, paths: int | None) -> list[str]:
    """How a table of one scenario is read."""
    notes = [scenario.note] if scenario.note else []
    notes.append(f"now > under the scenario, at once; line: 1.00x, 100%; {MARKS}; {MIDDLE_NOTE}")
    notes.append(f"first breach: {over_months(scenario)}; {rolled(scenario)}")
    if paths:
        notes.append(
            f"breach within a year: share of {paths:,} simulated paths, low to high over assumptions and correlation "
            "0 to 0.7; what falls due is rolled while credit spreads allow; the sampling error is apart"
        )
    return notes


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value


def _delays(scenario: Scenario) -> bool:
    """Whether a scenario moves something only an obligor that builds can feel."""
    return any(move.factor == "delay_months" for move in scenario.moves)


def over_months(scenario: Scenario) -> str:
    """How the months of a scenario are counted, and what its capex rule does.

    >>> from monitor.stress.scenario import Move
    >>> over_months(Scenario("s", (Move("btc", "by", -0.3, over_months=12.0),), capex_rule="stop"))
    'moves come in evenly over up to 12 months; capex stops while refinancing is shut'
    """
    longest = max((move.over_months for move in scenario.moves), default=0.0)
    phased = f"moves come in evenly over up to {longest:.0f} months" if longest else "moves come at once"
    rule = "stops while refinancing is shut" if scenario.capex_rule == "stop" else "goes on where it is committed"
    return f"{phased}; capex {rule}"


def full_scenario(case: Case, scenario: Scenario, paths: int | None) -> Shown:
    """Everybody under one scenario, what each of its axes does, and what was assumed."""
    shown = one_scenario(case, scenario, paths)
    ids = [b for b in case.state.borrowers if not case.stub(b)]
    tables, caused = by_axis(case, scenario, ids) if scenario.moves else ((), {})
    used = assumed(case, ask(case.state), case.state.borrowers, with_paths=bool(paths))
    data = {**shown.reply.data, "caused_by": caused, "assumed": list(used)}
    said = Table(
        "", notes=(Cell(f"{len(used)} assumptions stand behind these numbers: --json, or one borrower", "dim"),)
    )
    return replace(shown, reply=replace(shown.reply, data=data, tables=(*shown.reply.tables, *tables, said)))


def _rank(metric: str) -> int:
    return {LIQUIDITY: 0, "ltv_economic": 1, "interest_cover": 3}.get(metric, 4)


def _dumbbells(
    case: Case,
    shown: Sequence[str],
    now: Mapping[str, Mapping[str, Reading]],
    then: Mapping[str, Mapping[str, Reading]],
) -> tuple[Panel, ...]:
    panels = []
    for metric, limit in ((LIQUIDITY, 4.0), ("ltv_economic", 3.0)):
        rows = [
            Range(case.name(b), then[b][metric].value, then[b][metric].low, then[b][metric].high, now[b][metric].value)
            for b in shown
            if metric == LIQUIDITY or then[b][metric].applies
        ]
        if rows:
            line, unit = LINES[metric][0], METRICS[metric].unit
            title = "liquidity over 12 months" if metric == LIQUIDITY else "worst facility's loan to value"
            panels.append(Dots(title, MEANING[metric], tuple(rows), unit, line, f"{short(line, unit)}", limit, "now"))
    return tuple(panels)


# ---------------------------------------------------------------- the command
def run_stress(
    shell: Shell, borrower: str | None, name: str | None, shocks: tuple[str | None, str | None, str | None],
    at: str | None, paths: int | None, file: str | None, given: tuple[str, ...] = (),
) -> int:  # fmt: skip
    """``canary stress``."""
    moved, words = given_of(given)
    own = written(*shocks) if any(text is not None for text in shocks) else None
    if paths is not None and not 1 <= paths <= MOST_PATHS:
        raise CanaryError(f"--paths takes 1 to {MOST_PATHS:,}")
    case = open_case(shell, at)
    scenario = scenario_named(case, name) if name is not None else own
    if given:
        only = None if borrower is None else borrower_named(case, borrower)
        shown = given_view(case, moved, words, paths or DEFAULT_PATHS, only)
    elif borrower is not None:
        shown = full_borrower(case, borrower_named(case, borrower), scenario, paths)
    elif scenario is not None:
        shown = full_scenario(case, scenario, paths)
    elif paths is not None:
        shown = full_scenario(case, replace(TODAY, note="no scenario: paths from today's prices"), paths)
    else:
        shown = matrix(case)
    return deliver(shell, shown, file)
