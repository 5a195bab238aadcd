"""Rule files: strict YAML to rules, every mistake of every file at once, each under the characters it is about."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, WithJsonSchema, create_model

from monitor.expression import Expression, canonical, compile_expression
from monitor.exprparts import literal, rescale
from monitor.exprtext import ExpressionError, Flaw
from monitor.model import InputError, Level, OnMissing, Problem, Proof, Rule, Severity
from monitor.rules import DAYS, check_text
from monitor.units import SUFFIXES, parse_quantity
from monitor.values import PLAIN, Named, Unit, suffix_unit, unit_of
from monitor.yamltext import Duration, Node, Strict, Text, check, collect, parse_tree, read_file, suggest

MAX_RULES = 5_000
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

_SPAN_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": r"^[0-9.]+ *(s|m|min|h|d|w|mo|q|y)$"}, {"const": 0}],
    "examples": ["15m", "4h", "7d"],
}
Span = Annotated[Duration, WithJsonSchema(_SPAN_SCHEMA)]


# ---------------------------------------------------------------- the shape of a rule
class ProofText(Strict):
    """A case the rule must get right."""

    at: dict[str, float | bool | str | None] = Field(
        description="Metric (or a call, as written in expr) -> value; null is unknown. days: how long it has lasted."
    )
    fires: StrictBool = Field(description="true: the rule must fire; false: it must stay quiet.")


class _RuleText(Strict):
    """An alert rule."""

    alert: str = Field(description="Name of the alert, unique over all rule files.")
    expr: str = Field(description="Condition: metrics, numbers with units, words, and or not.")
    clear: str | None = Field(None, description="Condition of recovery; left out: the opposite of expr.")
    keep_firing_for: Span = Field(0.0, description="How long it keeps firing after it could have cleared.")
    repeat: Span = Field(0.0, description="How long until it is said again while it stands; left out: by severity.")
    severity: Severity = Field(description="critical pages, warning is grouped, info goes to the daily digest.")
    each: Level = Field("borrower", description="What one alert is about.")
    on_missing: OnMissing = Field("keep", description="What unknown does to the alert: keep, alert or ok.")
    downtime: Literal["counts", "pauses"] | None = Field(None, description="Whether time while down counts.")
    inhibits: tuple[str, ...] = Field((), description="Alerts of the same borrower that this one makes redundant.")
    summary: str = Field(description="One line; {metric} or {metric:.0%} are filled in.")
    why: str = Field("", description="The mechanism, in a sentence.")
    do: str = Field("", description="What to look at first.")
    false_alarms: str = Field("", description="When it fires and nothing is wrong.")
    runbook: str = Field("", description="Link to a longer text.")
    proof: tuple[ProofText, ...] = Field((), description="Cases run by `canary test`.")
    route: str | None = Field(None, description="Name of a chat route; left out: by severity.")
    was: str | None = Field(None, description="The name it had before, so that its state carries over.")


# `for` is a word of Python and cannot be written as a field of a class; an alias would make the messages name `for_`
RuleText: type[_RuleText] = create_model(
    "RuleText",
    __base__=_RuleText,
    **{"for": (Span, Field(0.0, description="How long the condition must hold before it fires."))},  # type: ignore[call-overload]
)


def rule_schema() -> dict[str, Any]:
    """JSON schema of a rule file, for editors (``# yaml-language-server: $schema=rules.schema.json``).

    >>> rule_schema()["type"], "for" in rule_schema()["items"]["properties"]
    ('array', True)
    """
    schema = RuleText.model_json_schema()
    definitions = schema.pop("$defs", {})
    title = "Canary alert rules"
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": title, "type": "array", "items": schema, "$defs": definitions}


# ---------------------------------------------------------------- loading
def rule_files(where: Path | Iterable[Path]) -> list[Path]:
    """The rule files of a folder (``*.yaml``, ``*.yml``, by name), or the files given."""
    if not isinstance(where, Path):
        return list(where)
    if not where.is_dir():
        return [where]
    return sorted(path for path in where.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())


def load_rules(
    where: Path | Iterable[Path], names: Mapping[str, Named], scenarios: Collection[str]
) -> tuple[Rule, ...]:
    """Load the rules of a folder or of files. Raises InputError with every problem of every file."""
    problems, texts = list[Problem](), list[Text]()
    for path in rule_files(where):
        try:
            texts.append(read_file(path))
        except InputError as error:
            collect(problems, error)
    return _load(texts, names, scenarios, problems)


def load_rule_texts(
    texts: Mapping[str, str], names: Mapping[str, Named], scenarios: Collection[str]
) -> tuple[Rule, ...]:
    """The same from texts by file name: what an edit would make of the rules, before it is written."""
    return _load([Text(text, name) for name, text in texts.items()], names, scenarios, [])


@dataclass(slots=True)
class _Draft:
    """A rule on its way in, with the place of everything it says."""

    text: Text
    node: Node
    rule: Rule
    #: False where its shape is wrong: then only its conditions and its name are looked at
    whole: bool = True
    problems: list[Problem] = field(default_factory=list)

    def say(self, key: str, flaws: Iterable[Flaw]) -> None:
        """Flaws inside the value of a key, at their own characters."""
        value = self.node.value[key]
        self.problems += [_locate(self.text, value, str(value.value), flaw) for flaw in flaws]

    def at(self, node: Node, message: str, fix: str = "") -> None:
        self.problems.append(self.text.problem(message, fix, node))


def _load(
    texts: list[Text], names: Mapping[str, Named], scenarios: Collection[str], problems: list[Problem]
) -> tuple[Rule, ...]:
    drafts, readable = list[_Draft](), True
    for text in texts:
        try:
            drafts += _drafts(text, parse_tree(text), problems)
        except InputError as error:
            collect(problems, error)
            readable = False
    for draft in drafts:
        _check_rule(draft, names, scenarios)
    _check_together(drafts, readable)
    for draft in drafts:
        problems += draft.problems
    if problems:
        order = {text.file: i for i, text in enumerate(texts)}
        raise InputError(sorted(problems, key=lambda p: (order.get(p.file, -1), p.line, p.column)))
    return tuple(draft.rule for draft in drafts)


def _drafts(text: Text, tree: Node, problems: list[Problem]) -> list[_Draft]:
    if not isinstance(tree.value, list):
        problems.append(text.problem("rules are a list", "start each rule with '- alert: Name'", tree))
        return []
    if len(tree.value) > MAX_RULES:
        problems.append(text.problem(f"more than {MAX_RULES:,} rules in one file", "split the file"))
        return []
    drafts = []
    for node in tree.value:
        try:
            drafts.append(_Draft(text, node, _rule(check(RuleText, node, text), text, node)))
        except InputError as error:
            collect(problems, error)
            drafts += _faulty(text, node)
    return drafts


def _faulty(text: Text, node: Node) -> list[_Draft]:
    """What can still be checked of a rule whose shape is wrong, so that all its mistakes are told at once."""
    said = {key: value.value for key, value in node.value.items()} if isinstance(node.value, dict) else {}
    alert, expr, clear, each = (said.get(key) for key in ("alert", "expr", "clear", "each"))
    if not isinstance(alert, str) or not isinstance(expr, str) or not isinstance(clear, (str, type(None))):
        return []
    level: Level = each if each in ("market", "borrower", "facility", "source") else "borrower"
    rule = Rule(alert, expr, "info", level, clear, summary="?", file=text.file, line=node.line + 1)
    return [_Draft(text, node, rule, whole=False)]


def _rule(written: _RuleText, text: Text, node: Node) -> Rule:
    return Rule(
        id=written.alert,
        expr=written.expr,
        severity=written.severity,
        each=written.each,
        clear=written.clear,
        for_s=float(getattr(written, "for")),
        keep_firing_for_s=written.keep_firing_for,
        repeat_s=written.repeat,
        on_missing=written.on_missing,
        downtime=written.downtime,
        inhibits=written.inhibits,
        summary=written.summary.strip(),
        why=written.why.strip(),
        do=written.do.strip(),
        false_alarms=written.false_alarms.strip(),
        runbook=written.runbook.strip(),
        route=written.route,
        was=written.was,
        file=text.file,
        line=node.line + 1,
    )


# ---------------------------------------------------------------- one rule by itself
def _check_rule(draft: _Draft, names: Mapping[str, Named], scenarios: Collection[str]) -> None:
    """Compile the conditions, check the texts, read the proofs; what is found lands in ``draft.problems``."""
    rule = draft.rule
    if not _ID.fullmatch(rule.id):
        fix = "letters, digits and _, at most 64, beginning with a letter, such as LockedBoxShort"
        draft.at(draft.node.value["alert"], f"{rule.id!r} cannot be the name of an alert", fix)
    if not rule.summary:
        draft.at(draft.node.value["summary"], "summary is empty", "say in one line what happened, with its numbers")
    expression = _compiled(draft, "expr", names, scenarios)
    clear = _compiled(draft, "clear", names, scenarios) if rule.clear is not None else None
    if not draft.whole or expression is None or (rule.clear is not None and clear is None):
        return
    for key in ("summary", "why", "do", "false_alarms"):
        if key in draft.node.value:
            draft.say(key, check_text(str(draft.node.value[key].value), names, expression))
    said = f"{expression.normal}\n{clear.normal if clear else ''}\n{rule.each}"
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    draft.rule = replace(rule, proof=_proofs(draft, expression, names), logic_hash=digest)


def _compiled(draft: _Draft, key: str, names: Mapping[str, Named], scenarios: Collection[str]) -> Expression | None:
    try:
        return compile_expression(str(draft.node.value[key].value), names, scenarios, draft.rule.each)
    except ExpressionError as error:
        draft.say(key, error.flaws)
        return None


def _proofs(draft: _Draft, expression: Expression, names: Mapping[str, Named]) -> tuple[Proof, ...]:
    nodes = draft.node.value["proof"].value if "proof" in draft.node.value else []
    proofs = []
    for node in nodes:
        at, given = node.value["at"], dict[str, float | None]()
        for key, value in at.value.items():
            name = canonical(key) if "(" in key else key
            if name not in expression.names and name not in expression.calls and name != DAYS:
                known = [*expression.names, *expression.calls, DAYS]
                draft.at(at.keys[key], f"the expression does not use {key!r}", suggest(key, known))
                continue
            unit = unit_of(names[name].unit) if name in names else expression.calls.get(name, PLAIN)
            try:
                given[name] = in_unit(value.value, unit)
            except ValueError as error:
                draft.at(value, str(error))
        proofs.append(Proof(given, bool(node.value["fires"].value), node.line + 1))
    return tuple(proofs)


def in_unit(value: object, unit: Unit) -> float | None:
    """A value of a proof in a unit: ``300bp`` is 300 for one in bp, 0.03 for a ratio; ``unlimited`` is infinite."""
    if value is None or isinstance(value, (bool, int, float)):
        return None if value is None else float(value)
    if value == "unlimited":
        return math.inf
    number, _ = parse_quantity(str(value))
    digits = re.match(r"[-+0-9._eE]*[0-9.]", str(value).strip())
    suffix = str(value).strip()[digits.end() :].strip() if digits else ""
    written = suffix_unit(suffix if suffix in SUFFIXES else suffix.lower())
    if not digits or written.kind != unit.kind or written.kind == "plain":
        return number
    part = rescale(literal(float(digits.group().replace("_", "")), written), unit.scale)
    return part.literal


# ---------------------------------------------------------------- rules together
def _check_together(drafts: list[_Draft], readable: bool) -> None:
    """Names unique over all files; what is inhibited exists; nothing inhibits itself, not even by a detour.

    What a file that cannot be read would have declared is not known: then nothing is called missing.
    """
    first: dict[str, _Draft] = {}
    for draft in drafts:
        other = first.setdefault(draft.rule.id, draft)
        if other is not draft:
            message = f"{draft.rule.id} is already the name of the rule at {other.text.file}:{other.rule.line}"
            draft.at(draft.node.value["alert"], message, "give one of them another name")
    for draft in drafts:
        for node in draft.node.value["inhibits"].value if draft.rule.inhibits else []:
            if node.value not in first:
                if readable:
                    draft.at(node, f"no rule is named {node.value!r}", suggest(str(node.value), sorted(first)))
            elif draft.rule.id in _reached(node.value, first):
                fix = "two alerts that hide each other are never seen"
                draft.at(node, f"{draft.rule.id} would inhibit itself", fix)
        if draft.rule.was is not None and draft.rule.was in first:
            message = f"{draft.rule.was} is the name of a rule that is still there"
            draft.at(draft.node.value["was"], message, "delete `was`, or the old rule")


def _reached(start: str, rules: Mapping[str, _Draft]) -> set[str]:
    """Everything an alert inhibits, directly or through others, itself included."""
    seen, todo = {start}, [start]
    while todo:
        draft = rules.get(todo.pop())
        new = [name for name in (draft.rule.inhibits if draft else ()) if name not in seen]
        seen.update(new)
        todo += new
    return seen


# ---------------------------------------------------------------- places
def _locate(text: Text, node: Node, value: str, flaw: Flaw) -> Problem:
    """A flaw at an offset of a YAML value, as a place in the file: plain, quoted or folded, on one line or several.

    Folding changes blanks only, so the k-th visible character of the value is the k-th visible character of its source.
    """
    raw, shift = _source_of(text, node)
    visible = len("".join(value[: flaw.offset].split()))
    places = [i for i, character in enumerate(raw) if not character.isspace()]
    solid = "".join(raw.split()) == "".join(value.split())
    if not solid or not places:
        return text.problem(flaw.message, flaw.fix, node)
    at = places[visible] if visible < len(places) else places[-1] + 1
    start = shift + at
    line = text.text.count("\n", 0, start)
    column = start - (text.text.rfind("\n", 0, start) + 1)
    inside = len(value[flaw.offset : flaw.offset + flaw.length].rstrip())
    room = len(text.lines[line].rstrip()) - column if line < len(text.lines) else 1
    return text.at(line, column, min(max(1, inside), max(1, room)), flaw.message, flaw.fix)


def _source_of(text: Text, node: Node) -> tuple[str, int]:
    """The characters a value was read from, without its quotes or block header, and where they begin."""
    raw, shift = text.text[node.start : node.end], node.start
    if raw[:1] in ("|", ">"):
        header = raw.find("\n") + 1
        return raw[header:], shift + header
    if raw[:1] in ("'", '"'):
        return raw[1:-1], shift + 1
    return raw, shift
