"""Answers that take seconds: worked out and drawn in the worker process, which alone loads what they need.

Each function is named by text where it is asked for, gets where the config is and plain values, and gives an
:class:`~monitor.bot.nouns.Answer`. Nothing is fetched here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from monitor.asking import explained
from monitor.bot.elsewhere import world_of
from monitor.bot.nouns import Answer
from monitor.bot.quick import marked, names_of
from monitor.bot.words import borrower_meant
from monitor.briefing import day_of
from monitor.charts import picture
from monitor.config import Found
from monitor.explaining import Explanation
from monitor.model import CanaryError, Line
from monitor.past import SPAN, past_of
from monitor.past_chart import draw_past
from monitor.stress.scenario import Scenario
from monitor.stress_borrower import one_borrower
from monitor.stress_reverse import everybody, one_reverse
from monitor.stress_shown import Shown, moment_words
from monitor.stress_views import matrix, one_scenario
from monitor.stressing import Case, case_of, scenario_named, written
from monitor.tables import NOT_APPLICABLE, Cell, Table
from monitor.world import World

#: rows of a table, notes below it, and alerts of one explanation that are said in chat
MAX_ROWS, MAX_NOTES, MAX_EXPLAINED = 24, 6, 3
#: columns that explain rather than answer
PROSE = ("what it is",)
#: whom a rule is true for is explained first
_ORDER = {"true": 0, "unknown": 1, "false": 2}


# ---------------------------------------------------------------- shocks
def stress(
    found: Found, offline: bool, words: Sequence[str], shocks: Mapping[str, str], now: datetime, drawn: bool
) -> Answer:
    """Everybody, or one borrower, under a scenario of the folder or shocks of one's own."""
    world = world_of(found, offline)
    case = case_of(world, None, now)
    who, name = _who_and_scenario(world, case, words)
    if name and shocks:
        raise CanaryError("a scenario's name or shocks of your own: not both")
    scenario = _named(case, name) if name else _own(shocks) if shocks else None
    if who:
        shown = one_borrower(case, who, scenario, None)
    elif scenario is not None:
        shown = one_scenario(case, scenario, None)
    else:
        shown = matrix(case)
    return _answer(case, shown, drawn)


def _who_and_scenario(world: World, case: Case, words: Sequence[str]) -> tuple[str, str]:
    """The borrower and the scenario among some words; CanaryError for a word that is neither."""
    scenarios = [scenario.name for scenario in case.scenarios]
    names = [word for word in words if word in scenarios]
    others = [word for word in words if word not in scenarios]
    if len(names) > 1:
        raise CanaryError(f"one scenario at a time: {' or '.join(names)}")
    if not others:
        return "", names[0] if names else ""
    try:
        return borrower_meant(" ".join(others), names_of(world)), names[0] if names else ""
    except CanaryError as error:
        listed = ", ".join(scenarios)
        raise CanaryError(f"{error}\nscenarios: {listed}") from None


def _named(case: Case, name: str) -> Scenario:
    return scenario_named(case, name)


def _own(shocks: Mapping[str, str]) -> Scenario:
    try:
        scenario = written(shocks.get("btc"), shocks.get("rent"), shocks.get("spread"))
    except CanaryError as error:
        raise CanaryError(str(error).replace("--", "")) from None
    return replace(scenario, note="")  # it would say where it was written


def reverse(found: Found, offline: bool, who: str, now: datetime, drawn: bool) -> Answer:
    """What breaks one borrower, or how far everybody is from a breach."""
    world = world_of(found, offline)
    case = case_of(world, None, now)
    if not who:
        return _answer(case, everybody(case), drawn)
    shown = one_reverse(case, who)
    return _answer(case, shown, drawn, [_alone(row, who) for row in shown.reply.tables[0].rows])


def _alone(row: Sequence[Cell], who: str) -> Line:
    """One thing that moves alone, and where it breaks; the pool is named where it is not the borrower itself."""
    whose, what, at = (cell.text.strip() for cell in row)
    return Line(what, at if whose == who else f"{at}: {whose}")


def _answer(case: Case, shown: Shown, drawn: bool, rows: Sequence[Line] | None = None) -> Answer:
    """An answer about shocks as rows a telephone can show, and its picture."""
    first = shown.reply.tables[0]
    notes = [Line("", note.text) for note in first.notes if note.text != moment_words(case)]
    if len(notes) > MAX_NOTES:
        notes = [*notes[:MAX_NOTES], Line("", f"and {len(notes) - MAX_NOTES} more notes on the command line")]
    lines = [Line("as of", moment_words(case).removeprefix("as of "))]
    lines += [*(rows_as_lines(first) if rows is None else rows), *notes]
    png = picture(shown.title, shown.panels, shown.stamp) if drawn else None
    return Answer(marked(shown.title, case.recorded), tuple(lines), picture=png)


def rows_as_lines(table: Table) -> list[Line]:
    """A table for a narrow screen: the first cell is the label, the others follow their column's name.

    >>> from monitor.tables import Cell, Head
    >>> rows_as_lines(Table("", (Head("who"), Head("debt\\nUSD")), ((Cell("a"), Cell("1bn")),)))
    [Line(label='a', text='debt USD 1bn')]
    """
    heads = [head.label.replace("\n", " ") for head in table.heads]
    lines = []
    for row in table.rows[:MAX_ROWS]:
        said = [
            f"{head} {cell.text.strip()}"
            for head, cell in zip(heads[1:], row[1:], strict=True)
            if cell.text.strip() not in ("", NOT_APPLICABLE) and head not in PROSE
        ]
        lines.append(Line(row[0].text.strip(), "; ".join(said)))
    return [*lines, Line("", f"and {len(table.rows) - MAX_ROWS} more")] if len(table.rows) > MAX_ROWS else lines


# ---------------------------------------------------------------- why
def why(found: Found, offline: bool, pairs: Sequence[tuple[str, str, str]]) -> Answer:
    """Why alerts stand: (short id, rule, subject) -> every number, since when, what was said to whom."""
    world = world_of(found, offline)
    lines, titles = list[Line](), list[str]()
    recorded = edited = False
    for short_id, rule, subject in pairs[:MAX_EXPLAINED]:
        said = explained(world, rule, subject)
        recorded, edited = recorded or said.recorded, edited or said.edited
        at = said.at
        for one in sorted(said.found, key=lambda one: _ORDER.get(one.answer, 1))[:MAX_EXPLAINED]:
            titles.append(f"{one.rule} of {one.subject}{f' #{short_id}' if short_id else ''}")
            lines += _explained(one, titles[-1])
        if len(said.found) > MAX_EXPLAINED:
            lines.append(Line("", f"and {len(said.found) - MAX_EXPLAINED} more: /why {rule} BORROWER"))
    if not titles:
        raise CanaryError("there is nothing to explain: nobody is judged by that rule")
    if len(pairs) > MAX_EXPLAINED:
        lines.append(Line("", f"and {len(pairs) - MAX_EXPLAINED} more alerts: /alerts names them"))
    lines += [Line("", "files were edited since: numbers are of the files as they are now")] if edited else []
    title = f"why: {titles[0]}" if len(titles) == 1 else f"why: {len(titles)} alerts"
    return Answer(
        marked(f"{title}, as evaluated {at:%Y-%m-%d %H:%M} UTC", day_of(at) if recorded else None), tuple(lines)
    )


def _explained(one: Explanation, title: str) -> list[Line]:
    lines = [Line("alert", f"{title}: {one.answer}; {one.says}")]
    return lines + [Line(label, ": ".join(filter(None, (what, number)))) for label, what, number in one.rows]


# ---------------------------------------------------------------- a chart of the past
def chart(found: Found, offline: bool, who: str, now: datetime) -> Answer:
    """The past 90 days of one borrower, with what happened in them."""
    world = world_of(found, offline)
    past = past_of(world, who)
    png = draw_past(past, case_of(world, None, now).source)
    return Answer(marked(f"{past.name}: the past {SPAN.days} days", past.recorded), picture=png)
