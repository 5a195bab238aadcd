"""Why an alert is in the state it is in, and why it was or was not said: texts for ``canary explain``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from monitor.conditions import Leaf, Sides, Taken, compile_leaves, take_apart
from monitor.exprparts import Part
from monitor.model import FALSE, TRUE, AlertState, Column, Decision, Event, Numbers
from monitor.rules import CompiledRule, Figure, figures
from monitor.scope import Scope
from monitor.states import explain
from monitor.units import format_age, format_value
from monitor.values import Unit

WORDS = {TRUE: "true", FALSE: "false"}
#: events shown of one alert, newest first
SHOWN_EVENTS = 5


Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a rule for one subject: its answer, and the numbers on both sides as a person reads them."""

    text: str
    answer: str
    left: str = ""
    right: str = ""


@dataclass(frozen=True)
class Explanation:
    """One alert explained. ``rows`` is all of it below the answer: a label, what, and its numbers or their reason."""

    rule: str
    subject: str
    answer: str
    state: str
    says: str
    comparisons: tuple[Comparison, ...]
    rows: tuple[Row, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The whole as text, the answer first."""
        first, second = (max(len(row[i]) for row in self.rows) for i in (0, 1))
        texts = (
            f"{label:<{first}}  {what:<{second}}  {number}" if number else f"{label:<{first}}  {what}"
            for label, what, number in self.rows
        )
        return (f"{self.rule} of {self.subject}: {self.answer}; {self.says}", *(text.rstrip() for text in texts))


def explain_alert(
    compiled: CompiledRule,
    numbers: Numbers,
    subject: str,
    state: AlertState | None = None,
    events: Sequence[Event] = (),
    decisions: Mapping[str, Sequence[Decision]] | None = None,
) -> Explanation:
    """Explain one rule for one subject at the moment of ``numbers``.

    ``events`` are those of this alert, newest first, and ``decisions`` what was decided about each by its id. Raises
    ValueError where the rule is not about the subject.

    >>> from monitor.model import Rule
    >>> from monitor.rules import compile_rules
    >>> from monitor.scope import single
    >>> from monitor.values import NameInfo
    >>> names = {"dscr": NameInfo("facility", "x", "min"), "ltv": NameInfo("facility", "ratio")}
    >>> rule = compile_rules([Rule("Thin", "dscr < 1.1 and ltv > 90%", "warning", "facility", for_s=86400.0)], names, ())[0]
    >>> print("\\n".join(explain_alert(rule, single(names, {"dscr": 1.0, "ltv": None}), "borrower/facility").lines))
    Thin of borrower/facility: unknown; not sent: unknown: ltv: given as unknown
    rule     dscr < 1.1 and ltv > 90%, for 24 h
    true     dscr < 1.1                          1.00x against 1.10x
    unknown  ltv > 90%                           ? against 90.0%
    numbers  dscr                                1.00x
             ltv                                 ? (given as unknown)
    state    ok
    """  # noqa: E501 - one line, as written
    rule, table = compiled.rule, compiled.expression.table
    subjects = numbers.subjects.get(rule.each, ())
    if subject not in subjects:
        raise ValueError(f"{rule.id} is not about {subject!r}")
    i, scope = subjects.index(subject), Scope(numbers, table)
    with np.errstate(all="ignore"):
        said = compiled.expression.within(scope)
        answer = _answer(int(said.truth[i]))
        compared = _comparisons(compiled, rule.expr, scope, i)
        recovery = _comparisons(compiled, rule.clear, scope, i) if rule.clear else ()
    says = _says(compiled, state, int(said.truth[i]), said.why.get(i, ""), numbers.at)
    rows: list[Row] = [("rule", f"{' '.join(rule.expr.split())}{_waits(compiled)}", ""), *map(_row, compared)]
    if rule.clear:
        rows += [("recovers", " ".join(rule.clear.split()), ""), *map(_row, recovery)]
    rows += _labelled("numbers", [_figure(compiled, one, numbers, i) for one in figures(compiled, numbers, i)])
    rows += _labelled("state", [(text, "") for text in _state(state)])
    rows += _labelled("messages", [(text, "") for text in _messages(events, decisions or {})])
    return Explanation(rule.id, subject, answer, state.state if state else "ok", says, compared, tuple(rows))


def _says(compiled: CompiledRule, state: AlertState | None, truth: int, why: str, at: datetime) -> str:
    """Why it was or was not said; for an alert without a row, from its answer."""
    if state is None and truth != FALSE:
        return f"not sent: unknown: {why}" if truth != TRUE else "not sent: true, and no evaluation has judged it yet"
    return explain(state, compiled.rule, at)


def _answer(truth: int) -> str:
    return WORDS.get(truth, "unknown")


def _waits(compiled: CompiledRule) -> str:
    rule = compiled.rule
    parts = [f"for {format_age(rule.for_s)}"] if rule.for_s else []
    parts += [f"kept firing for {format_age(rule.keep_firing_for_s)}"] if rule.keep_firing_for_s else []
    parts += [f"on missing data: {rule.on_missing}"] if rule.on_missing != "keep" else []
    return "".join(f", {part}" for part in parts)


# ---------------------------------------------------------------- comparisons
def _comparisons(compiled: CompiledRule, text: str, scope: Scope, i: int) -> tuple[Comparison, ...]:
    table, level, taken = compiled.expression.table, compiled.rule.each, take_apart(text)
    sides, leaves = Sides(taken, table, level), compile_leaves(taken, table, level)
    return tuple(
        _comparison(taken, sides, leaf, int(expression.within(scope).truth[i]), scope, i)
        for leaf, expression in zip(taken.leaves, leaves, strict=True)
    )


def _comparison(taken: Taken, sides: Sides, leaf: Leaf, truth: int, scope: Scope, i: int) -> Comparison:
    if leaf.left is None or leaf.right is None:
        return Comparison(leaf.text, _answer(truth))
    units = [sides.number(node).unit for node in (leaf.left, leaf.right)]
    left, right = sides.alike(leaf)
    label = _label(left, right, units)
    shown = []
    for part in (left, right):
        values = part.run(scope).values
        shown.append(_shown(float(values[i] if values.size > 1 else values[0]), label))
    return Comparison(leaf.text, _answer(truth), *shown)


def _label(left: Part, right: Part, units: Sequence[Unit]) -> str:
    """The unit both sides are shown in: that of the measured side, in percent where a person wrote percent."""
    if "any" in (left.unit.kind, right.unit.kind):
        return ""
    if "%" in (units[0].label, units[1].label) and 1.0 == left.unit.scale == right.unit.scale:
        return "ratio"
    measured = [unit.label for part, unit in zip((left, right), units, strict=True) if part.literal is None]
    return next((label for label in measured if label), units[0].label)


def _shown(value: float, label: str) -> str:
    if np.isnan(value):
        return "?"
    return format_age(value) if label == "s" else format_value(value, label)


def _row(one: Comparison) -> Row:
    return one.answer, one.text, f"{one.left} against {one.right}" if one.left else ""


# ---------------------------------------------------------------- numbers
def _figure(compiled: CompiledRule, figure: Figure, numbers: Numbers, i: int) -> tuple[str, str]:
    """A number with where it comes from: the facility behind it, its age, its range, what was assumed."""
    if np.isnan(figure.value):
        why = figure.why.removeprefix(f"{figure.name}: ")
        return figure.name, "?" + (f" ({why})" if why else "")
    about = [f"worst of {figure.facility}"] if figure.facility else []
    column = numbers.columns.get(figure.name)
    if column is not None:
        about += _about(column, _place(compiled, figure, column, numbers, i))
    return figure.name, _shown(figure.value, figure.unit) + (f" ({'; '.join(about)})" if about else "")


def _place(compiled: CompiledRule, figure: Figure, column: Column, numbers: Numbers, i: int) -> int:
    """Which subject of the metric's own level the number is of."""
    if figure.facility:
        return numbers.subjects["facility"].index(figure.facility)
    if column.level == "market":
        return 0
    return int(numbers.facility_borrower[i]) if column.level != compiled.rule.each else i


def _about(column: Column, j: int) -> list[str]:
    about = []
    if column.age_s is not None and not np.isnan(column.age_s[j]):
        about.append(f"{format_age(float(column.age_s[j]))} old")
    if column.low is not None and column.high is not None and column.low[j] != column.high[j]:
        about.append(f"{_shown(float(column.low[j]), column.unit)} to {_shown(float(column.high[j]), column.unit)}")
    assumed = column.used.get(j, ())
    if assumed:
        more = f" and {len(assumed) - 3} more" if len(assumed) > 3 else ""
        about.append(f"rests on {', '.join(assumed[:3])}{more}")
    return [*about, *filter(None, [column.detail.get(j, "")])]


def _labelled(label: str, texts: Sequence[tuple[str, str]]) -> list[Row]:
    return [("" if n else label, *text) for n, text in enumerate(texts)]


# ---------------------------------------------------------------- state and messages
def _state(state: AlertState | None) -> list[str]:
    if state is None:
        return ["ok"]
    parts = [state.state + (f" (was {state.state_before})" if state.state_before else "")]
    moments = (
        ("true since", state.active_at),
        ("fired", state.fired_at),
        ("recovered since", state.keep_since),
        ("data missing since", state.nodata_since),
        ("ended", state.resolved_at),
    )
    parts += [f"{label} {_moment(when)}" for label, when in moments if when is not None]
    parts += [f"called {state.short_id}"] if state.short_id else []
    return [", ".join(parts), *([state.reason] if state.reason else [])]


def _messages(events: Sequence[Event], decisions: Mapping[str, Sequence[Decision]]) -> list[str]:
    """What happened, newest first, and what every route made of it."""
    lines: list[str] = []
    for event in events[:SHOWN_EVENTS]:
        because = f" (because {event.because})" if event.because else ""
        lines.append(f"{_moment(event.at)}  {event.kind.replace('_', ' ')}: {event.reason}{because}")
        made = decisions.get(event.id, ())
        for decided in made:
            said = "said" if decided.send else "not said"
            lines.append(f"to {decided.route}: {said}: {decided.reason}")
        if not made:
            lines.append("no route was asked")
    if len(events) > SHOWN_EVENTS:
        lines.append(f"and {len(events) - SHOWN_EVENTS} earlier ones")
    return lines


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
