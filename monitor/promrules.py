"""Rules as Prometheus would write them: text for a rule file, and the rules it cannot express, each with the reason.

Pure. Metric ``m`` is taken as the series ``canary_m`` in the metric's own unit, with the labels ``borrower`` and
``facility`` of its level, as the daemon's page of metrics serves it; an unknown number has no sample. The head of the
file lists the series it needs. What Prometheus makes of missing data stays Prometheus': an alert whose series vanish
resolves.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from monitor.conditions import Join, Leaf, Sides, Taken, Tree, names_in, take_apart
from monitor.exprparts import Part
from monitor.model import Level, Rule
from monitor.rules import CompiledRule, placeholders
from monitor.units import parse_duration_s
from monitor.values import worse_end

PREFIX = "canary_"
_LABELS: dict[Level, tuple[str, ...]] = {
    "market": (),
    "borrower": ("borrower",),
    "facility": ("borrower", "facility"),
    "source": ("source",),
}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_SIGNS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
#: word -> how it is written there; {m} is the series, {s} the span, {on} matches labels
_WORDS = {
    "change": "({m} / {on} ({m} offset {s} > 0) - 1)",
    "delta": "({m} - {on} {m} offset {s})",
    "at": "({m} offset {s})",
    "min_over": "min_over_time({m}[{s}])",
    "max_over": "max_over_time({m}[{s}])",
    "drop": "(1 - {m} / {on} max_over_time({m}[{s}]))",
    "rise": "({m} / {on} min_over_time({m}[{s}]) - 1)",
}
_REASONS = {
    "age": "an age needs the date of a figure, a series has only the time of its sample",
    "since": "nothing there says since when a value has stood",
    "known": "a missing series has no labels, so nothing can be said about whose it is",
    "under": "scenarios are not series",
    "avg_over": "averages over time count samples there, and time here",
    "quantile": "quantiles over time count samples there, and time here",
    "zscore": "averages over time count samples there, and time here",
    "slope": "a trend counts samples there, and time here",
    "hours_of": "hours of a condition count samples there, and time here",
}


class Left(NamedTuple):
    """A rule that was not exported, and why."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Export:
    """A Prometheus rule file, the rules in it, and those that are not."""

    text: str
    rules: tuple[str, ...]
    left: tuple[Left, ...]


class _CannotSay(Exception):
    """Part of a rule has no counterpart; the text says why."""


def export_rules(rules: Sequence[CompiledRule], group: str = "canary", interval_s: float = 60.0) -> Export:
    """Everything Prometheus can express as one group of alerting rules.

    >>> from monitor.rules import compile_rules
    >>> from monitor.values import NameInfo
    >>> names = {"dscr": NameInfo("facility", "x", "min"), "btc_usd": NameInfo("market", "usd")}
    >>> written = [Rule("Thin", "dscr < 1.1 and btc_usd < 60k", "warning", "facility", for_s=60.0),
    ...            Rule("Blind", "not known(dscr)", "info", "facility")]
    >>> export = export_rules(compile_rules(written, names, ()))
    >>> print(export.text)
    # needs canary_btc_usd (usd), one of the market
    # needs canary_dscr (x), one per borrower and facility
    groups:
    - name: "canary"
      interval: 60s
      rules:
      - alert: Thin
        expr: "max by (borrower, facility) ((canary_dscr < 1.1) and on() (canary_btc_usd < 60000))"
        for: 60s
        labels: {severity: "warning"}
    <BLANKLINE>
    >>> export.left[0].rule
    'Blind'
    """
    done, left, blocks, needs = list[str](), list[Left](), list[str](), set[str]()
    for compiled in rules:
        try:
            blocks.append(_block(compiled))
            done.append(compiled.rule.id)
            needs |= _needs(compiled)
        except _CannotSay as why:
            left.append(Left(compiled.rule.id, str(why)))
    head = "".join(f"# needs {series}\n" for series in sorted(needs))
    head += f"groups:\n- name: {json.dumps(group)}\n  interval: {interval_s:.0f}s\n"
    body = "  rules:\n" + "".join(blocks) if blocks else "  rules: []\n"
    return Export(head + body, tuple(done), tuple(left))


def expression_of(compiled: CompiledRule) -> str:
    """The condition of one rule as PromQL; ValueError says why there is none.

    A recovery threshold is written with the alert's own state: once firing, it stays true until ``clear`` holds.
    """
    try:
        return _whole(compiled)
    except _CannotSay as why:
        raise ValueError(str(why)) from None


def _needs(compiled: CompiledRule) -> set[str]:
    names = {*compiled.expression.names, *(compiled.clear.names if compiled.clear else ())}
    table = compiled.expression.table
    whose = {
        level: f"one per {' and '.join(labels)}" if labels else "one of the market" for level, labels in _LABELS.items()
    }
    return {f"{PREFIX}{name} ({table[name].unit}), {whose[table[name].level]}" for name in names}


# ---------------------------------------------------------------- one rule
def _block(compiled: CompiledRule) -> str:
    rule = compiled.rule
    if rule.on_missing == "alert":
        raise _CannotSay("on_missing: alert; a missing series has no labels, so nobody knows whose it is")
    lines = [f"  - alert: {rule.id}", f"    expr: {json.dumps(_whole(compiled), ensure_ascii=False)}"]
    lines += [f"    for: {rule.for_s:.0f}s"] if rule.for_s else []
    lines += [f"    keep_firing_for: {rule.keep_firing_for_s:.0f}s"] if rule.keep_firing_for_s else []
    lines.append(f"    labels: {{severity: {json.dumps(rule.severity)}}}")
    notes = {"summary": _summary(rule), "description": rule.why, "action": rule.do, "runbook_url": rule.runbook}
    said = [f"      {name}: {json.dumps(text, ensure_ascii=False)}" for name, text in notes.items() if text]
    lines += ["    annotations:", *said] if said else []
    return "".join(f"{line}\n" for line in lines)


def _summary(rule: Rule) -> str:
    """The summary with labels filled in by Prometheus, and numbers by their names: only one value is at hand there."""
    text = rule.summary.replace("{{", "{").replace("}}", "}")
    for hole in reversed(placeholders(text)[0]):
        label = hole.name in _LABELS[rule.each]
        shown = f"{{{{ $labels.{hole.name} }}}}" if label else hole.name
        text = text[: hole.offset] + shown + text[hole.offset + hole.length :]
    return text


def _whole(compiled: CompiledRule) -> str:
    rule = compiled.rule
    fires = _Writer(compiled, rule.expr).condition(True)
    if rule.clear is None:
        return _bare(fires, rule.each)
    stays, on = _Writer(compiled, rule.clear).condition(False), _on(rule.each)
    own = f'ALERTS{{alertname="{rule.id}", alertstate="firing"}}'
    return _bare(f"({fires}) or {on} (({stays}) and {on} {own})", rule.each)


def _on(level: Level) -> str:
    """Matches by the labels of a level, whatever else a scrape puts on a series."""
    return f"on({', '.join(_LABELS[level])})"


def _bare(text: str, level: Level) -> str:
    """Only the labels of the level are left: they are what an alert is known by."""
    labels = _LABELS[level]
    return f"max by ({', '.join(labels)}) ({text})" if labels else f"max({text})"


class _Said(NamedTuple):
    """A piece of PromQL and the level its labels are of."""

    text: str
    level: Level


class _Writer:
    """Writes one condition, at the level of its rule."""

    def __init__(self, compiled: CompiledRule, text: str):
        self.level, self.names = compiled.rule.each, compiled.expression.table
        self.taken: Taken = take_apart(text)
        self.sides = Sides(self.taken, self.names, self.level)

    def condition(self, wanted: bool) -> str:
        """The condition, or its opposite, as series that exist where it holds."""
        said = self.tree(self.taken.tree, wanted)
        if said.level != self.level:
            raise _CannotSay(f"it names nothing of a {self.level}, so its alerts would not carry one")
        return said.text

    def tree(self, tree: Tree, wanted: bool) -> _Said:
        if isinstance(tree, Leaf):
            return self.leaf(tree, wanted)
        if tree.how == "not":
            return self.tree(tree.parts[0], not wanted)
        return self.join(tree, wanted)

    def join(self, tree: Join, wanted: bool) -> _Said:
        """``and`` keeps the labels of its left side, so what is of the rule's own level comes first."""
        word = tree.how if wanted else {"and": "or", "or": "and"}[tree.how]
        parts = [self.tree(part, wanted) for part in tree.parts]
        own = [part for part in parts if part.level == self.level]
        wide = [part for part in parts if part.level != self.level]
        if word == "or" and wide and own:
            raise _CannotSay("one side of `or` is about the market alone, so its alerts would carry no subject")
        together = own or wide
        text = f" {word} {_on(together[0].level)} ".join(f"({part.text})" for part in together)
        if own:
            text += "".join(f" and {_on(part.level)} ({part.text})" for part in wide)
        return _Said(text, together[0].level)

    def leaf(self, leaf: Leaf, wanted: bool) -> _Said:
        if leaf.left is None or leaf.right is None:
            return self.question(leaf, wanted)
        left, right = self.sides.alike(leaf)
        sign = leaf.sign if wanted else _OPPOSITE[leaf.sign]
        a, b = self.number(leaf.left, left), self.number(leaf.right, right)
        if not names_in(leaf.left):
            if not names_in(leaf.right):
                return _Said(f"vector({a.text}) {sign} {b.text}", "market")
            a, b, sign = b, a, _MIRROR[sign]
        return self.pair(a, sign, b, compares=True, alone=not (names_in(leaf.left) and names_in(leaf.right)))

    def question(self, leaf: Leaf, wanted: bool) -> _Said:
        name = leaf.node.id if isinstance(leaf.node, ast.Name) else ""
        if name:
            said = self.metric(name)
            return _Said(f"{said.text} {'!=' if wanted else '=='} 0", said.level)
        word = leaf.text.partition("(")[0]
        raise _CannotSay(f"{leaf.text}: {_REASONS.get(word, f'{word}() has no counterpart')}")

    # ------------------------------------------------------------ numbers
    def number(self, node: ast.expr, part: Part) -> _Said:
        """A number; ``part`` is the same brought to the unit of the other side."""
        if not names_in(node):
            if part.literal is None:
                raise _CannotSay(f"{self.taken.source(node)}: write the number it comes to")
            return _Said(_written(part.literal), "market")
        own = self.sides.number(node)
        said = self.walk(node)
        if own.unit.scale != part.unit.scale:
            raise _CannotSay(f"{self.taken.source(node)} is converted to another unit first")
        return said

    def walk(self, node: ast.expr) -> _Said:
        if isinstance(node, ast.Name):
            return self.metric(node.id)
        if isinstance(node, ast.UnaryOp):
            said = self.walk(node.operand)
            return said if isinstance(node.op, ast.UAdd) else _Said(f"(-{said.text})", said.level)
        if isinstance(node, ast.BinOp):
            return self.arithmetic(node)
        if isinstance(node, ast.Call):
            return self.call(node)
        return _Said(_written(self.plain(node)), "market")

    def plain(self, node: ast.expr) -> float:
        """A number inside arithmetic, where the compiler takes it as the plain number it is."""
        part = self.sides.number(node)
        if part.literal is None:
            raise _CannotSay(f"{self.taken.source(node)} has no counterpart")
        return part.literal * part.unit.scale

    def arithmetic(self, node: ast.BinOp) -> _Said:
        left, right = self.walk(node.left), self.walk(node.right)
        units = [self.sides.number(side).unit for side in (node.left, node.right)]
        measured = [bool(names_in(side)) for side in (node.left, node.right)]
        if any(unit.scale != 1.0 for unit, named in zip(units, measured, strict=True) if named):
            raise _CannotSay(f"{self.taken.source(node)} is converted to another unit first")
        return self.pair(left, _SIGNS[type(node.op)], right, compares=False, alone=not all(measured))

    def pair(self, left: _Said, sign: str, right: _Said, compares: bool, alone: bool = False) -> _Said:
        """Two numbers, matched by the labels both carry; the side with more labels keeps them."""
        if alone or left.level == right.level:
            wider = left.level if len(_LABELS[left.level]) >= len(_LABELS[right.level]) else right.level
            said = f"{left.text} {sign} {right.text}" if alone else f"{left.text} {sign} {_on(wider)} {right.text}"
            return _Said(said if compares else f"({said})", wider)
        if len(_LABELS[left.level]) < len(_LABELS[right.level]):
            if compares:
                return self.pair(right, _MIRROR[sign], left, compares)
            side, fewer, level = "right", left.level, right.level
        else:
            side, fewer, level = "left", right.level, left.level
        said = f"{left.text} {sign} {_on(fewer)} group_{side}() {right.text}"
        return _Said(said if compares else f"({said})", level)

    def metric(self, name: str) -> _Said:
        """A series at the level of the rule: the worst facility of a borrower, as the metric says which is worse."""
        level = self.names[name].level
        if level == "facility" and self.level == "borrower":
            return _Said(f"{worse_end(self.names[name])} by (borrower) ({PREFIX}{name})", "borrower")
        return _Said(f"{PREFIX}{name}", level)

    def call(self, node: ast.Call) -> _Said:
        word, shown = getattr(node.func, "id", ""), self.taken.source(node)
        if word == "abs":
            said = self.walk(node.args[0])
            return _Said(f"abs({said.text})", said.level)
        if word not in _WORDS:
            raise _CannotSay(f"{shown}: {_REASONS.get(word, f'{word}() has no counterpart')}")
        name = node.args[0].id if isinstance(node.args[0], ast.Name) else ""
        if self.names[name].level == "facility" and self.level == "borrower":
            raise _CannotSay(f"{shown}: the worst facility of a borrower has no past of its own there")
        span_s = parse_duration_s(self.taken.parsed.literals[node.args[1].col_offset - 1].raw)
        level = self.names[name].level
        said_there = _WORDS[word].format(m=f"{PREFIX}{name}", s=f"{span_s:.0f}s", on=_on(level))
        return _Said(said_there, level)


def _written(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
