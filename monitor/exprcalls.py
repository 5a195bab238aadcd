"""How a call of each kind of word becomes part of an expression: one builder per kind, and readers of arguments."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from monitor.exprcompile import SIGNS, Builder, Compiler, canonical, close
from monitor.exprparts import NO_NUMBER, Check, Part, rescale, whole
from monitor.functions import WORDS, How, Word
from monitor.model import FloatArray, Level
from monitor.scope import Scope
from monitor.units import parse_duration_s
from monitor.values import Cond, Num, Unit, Why, Worst, members_why, never, reasons, spread, unit_of, worse_end

LONGEST_S = 3660 * 86400.0
_DEPTH: dict[Level, int] = {"market": 0, "source": 1, "borrower": 1, "facility": 2}
V = TypeVar("V", Num, Cond)


# ---------------------------------------------------------------- builders
def _each(compiler: Compiler, node: ast.Call, word: Word, level: Level) -> Part:
    """Arithmetic: every argument in the unit of the first that has one."""
    parts = [compiler.number(arg, level) for arg in node.args]
    united = [i for i, part in enumerate(parts) if part.unit.kind != "plain"]
    lead = next((i for i in united if parts[i].literal is None), united[0] if united else 0)
    parts[lead] = whole(parts[lead])
    for i, part in enumerate(parts):
        if i != lead:
            parts[i] = compiler.alike(parts[lead], part, node.args[lead], node.args[i])[1]
    runs, own, function = [part.run for part in parts], f"{compiler.source(node)} has no value", word.function

    def run(scope: Scope) -> Num:
        got = [one(scope) for one in runs]
        return Num(function(*(number.values for number in got)), reasons(got, own))

    return Part(run, parts[lead].unit)


def _then(compiler: Compiler, node: ast.Call, word: Word, level: Level) -> Part | Check:
    name, (span_s, span) = _metric(compiler, node.args[0]), _span(compiler, node.args[1])
    function, own = word.function, f"{compiler.source(node)} has no value"

    def make(scope: Scope) -> Num:
        now, then = scope.column(name), scope.then(name, span_s, span)
        return Num(function(now.values, then.values), reasons((now, then), own))

    return _about(compiler, node, word, name, make, level)


def _window(compiler: Compiler, node: ast.Call, word: Word, level: Level) -> Part | Check:
    more: tuple[str | float, ...] = ()
    if word.args[0] == "test":
        name, sign, line = _test(compiler, node.args[0])
        more = (sign, line)
    else:
        name = _metric(compiler, node.args[0])
    if "share" in word.args:
        more = (_share(compiler, node.args[word.args.index("share")]),)
    span_s, span = _span(compiler, node.args[-1])
    function = word.function

    def make(scope: Scope) -> Num:
        return scope.over(name, span_s, span, lambda times, values, end: function(times, values, end, *more))

    return _about(compiler, node, word, name, make, level)


def _name(compiler: Compiler, node: ast.Call, word: Word, level: Level) -> Part | Check:
    name, function = _metric(compiler, node.args[-1]), word.function
    more = (_scenario(compiler, node.args[0]),) if word.args[0] == "scenario" else ()
    return _about(compiler, node, word, name, lambda scope: function(scope, *more, name), level)


def _about(
    compiler: Compiler, node: ast.Call, word: Word, name: str, make: Callable[[Scope], Num | Cond], level: Level
) -> Part | Check:
    """An answer at a metric's own level, worked out once an evaluation, brought to the rule's level."""
    if name not in compiler.names or not compiler.reaches(node, compiler.names[name].level, level):
        return NO_NUMBER
    info, shown = compiler.names[name], compiler.source(node)
    key, source = canonical(shown), info.level
    end: Worst = "max" if word.worst == "max" or word.gives == "condition" else worse_end(info)

    def natural(scope: Scope) -> Num:
        made = make(scope)
        return made if isinstance(made, Num) else _as_num(made)

    def lifted(scope: Scope) -> Num:
        made = scope.once(key, lambda: natural(scope))
        return scope.once((key, level), lambda: scope.lift(made, source, level, end, shown))

    if word.gives == "condition":
        return Check(lambda scope: _as_cond(lifted(scope)))
    return Part(lifted, unit_of(info.unit) if word.gives == "same" else word.gives)


def _known(compiler: Compiler, node: ast.Call, word: Word, level: Level) -> Check:
    inner, function = node.args[0], word.function
    asked = compiler.condition(inner, level) if _is_condition(inner) else compiler.number(inner, level)

    def run(scope: Scope) -> Cond:
        got = asked.run(scope)
        true, false = function(~np.isnan(got.values) if isinstance(got, Num) else got.true | got.false)
        return Cond(true, false, never)

    return Check(run)


def _group(compiler: Compiler, node: ast.Call, word: Word, level: Level) -> Part | Check:
    source = _population(compiler, node)
    inner, function = compiler.condition(node.args[0], source).run, word.function
    per_borrower, shown = source == "facility" and level != "market", compiler.source(node)

    def answers(scope: Scope) -> tuple[FloatArray, FloatArray, Why]:
        groups, got, n = scope.groups(source, level), inner(scope), scope.size(source)
        true, false = np.broadcast_to(got.true, n), np.broadcast_to(got.false, n)
        one, other = function(true, false, groups)
        subjects = scope.numbers.subjects.get(source, ())
        return one, other, members_why(~(true | false), groups, got.why, subjects, shown)

    def check(scope: Scope) -> Cond:
        true, false, why = answers(scope)
        return _settle(Cond(true.astype(np.bool_), false.astype(np.bool_), why), per_borrower, scope, level)

    def number(scope: Scope) -> Num:
        least, most, why = answers(scope)
        exact = np.where(least == most, least, np.nan)
        return _settle(Num(exact, why, (least, most)), per_borrower, scope, level)

    return Part(number, word.gives) if isinstance(word.gives, Unit) else Check(check)


def _worst(compiler: Compiler, node: ast.Call, word: Word, level: Level) -> Part:
    source = _population(compiler, node)
    part, shown, function = compiler.number(node.args[0], source), compiler.source(node), word.function
    end: Worst = worse_end(compiler.names[part.metric]) if part.metric else "max"

    def run(scope: Scope) -> Num:
        got, subjects = part.run(scope), scope.numbers.subjects.get(source, ())
        everyone = Num(np.broadcast_to(got.values, len(subjects)), got.why)
        made: Num = function(everyone, scope.groups(source, level), end, subjects, shown)
        return _settle(made, source == "facility" and level != "market", scope, level)

    return Part(run, part.unit)


def _peers(compiler: Compiler, node: ast.Call, word: Word, level: Level) -> Part:
    source = _population(compiler, node)
    part, function, shown = compiler.number(node.args[0], source), word.function, compiler.source(node)
    if _DEPTH[source] > _DEPTH[level]:
        compiler.flaw(node, f"{shown} has one place per {source}", f"give the rule `each: {source}`")
    key = ("peers", canonical(shown))

    def make(scope: Scope) -> Num:
        got = part.run(scope)
        return Num(function(np.broadcast_to(got.values, scope.size(source))), got.why)

    unit = word.gives if isinstance(word.gives, Unit) else part.unit
    return Part(lambda scope: scope.lift(scope.once(key, lambda: make(scope)), source, level, "max", shown), unit)


BUILDERS: dict[How, Builder] = {
    "each": _each,
    "then": _then,
    "window": _window,
    "name": _name,
    "known": _known,
    "group": _group,
    "worst": _worst,
    "peers": _peers,
}


# ---------------------------------------------------------------- many subjects, one answer
def _settle(made: V, per_borrower: bool, scope: Scope, level: Level) -> V:
    """An answer per borrower brought to the level of the rule; an answer for everybody stands for all."""
    why = made.why
    if not per_borrower:
        return made._replace(why=lambda i: why(0))
    if level == "borrower":
        return made
    owner = scope.numbers.facility_borrower
    if isinstance(made, Num):
        return spread(made, owner)
    return Cond(made.true[owner], made.false[owner], lambda i: why(int(owner[i])))


def _as_num(condition: Cond) -> Num:
    """A condition as 1, 0 or unknown: the worst of several is then whether any holds."""
    values = np.where(condition.true, 1.0, np.where(condition.false, 0.0, np.nan))
    return Num(values, condition.why)


def _as_cond(number: Num) -> Cond:
    return Cond(number.sides[0] == 1.0, number.values == 0.0, number.why)


def _population(compiler: Compiler, node: ast.Call) -> Level:
    """The level a word over many counts at: the deepest one named inside it."""
    inside = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    named = [compiler.names[name].level for name in inside if name in compiler.names]
    level: Level = max(named, key=_DEPTH.__getitem__, default="market")
    if level == "market" and all(name in compiler.names or name in WORDS for name in inside):
        message = f"{compiler.source(node)} names nothing that there are many of"
        compiler.flaw(node, message, "name a metric that every borrower or facility has")
    return level


# ---------------------------------------------------------------- arguments
def _is_condition(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in WORDS and WORDS[node.func.id].gives == "condition"
    negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return negated or isinstance(node, (ast.BoolOp, ast.Compare))


def _metric(compiler: Compiler, node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id if compiler.knows(node) else ""
    fix = "name one metric: only a metric has a past and a date"
    compiler.flaw(node, f"{compiler.source(node)} is not a metric", fix)
    return ""


def _span(compiler: Compiler, node: ast.expr) -> tuple[float, str]:
    literal = compiler.literals.get(node.col_offset - 1) if isinstance(node, ast.Constant) else None
    if literal is None:
        compiler.flaw(node, f"{compiler.source(node)} is not a length of time", "write for example 15m, 4h or 7d")
        return 0.0, ""
    try:
        span_s = parse_duration_s(literal.raw)
    except ValueError as error:
        compiler.flaw(node, str(error))
        return 0.0, ""
    if not 60.0 <= span_s <= LONGEST_S:
        compiler.flaw(node, f"{literal.raw} is not a span that can be looked back over", "write from 1m to 10y")
    compiler.longest_s = max(compiler.longest_s, span_s)
    return span_s, literal.raw


def _share(compiler: Compiler, node: ast.expr) -> float:
    part = compiler.number(node, compiler.top)
    share = rescale(part, 1.0).literal if part.unit.kind in ("plain", "ratio") else None
    if share is None or not 0 < share <= 1:
        compiler.flaw(node, f"{compiler.source(node)} is not a share between 0 and 1", "write for example 90%")
        return 0.5
    return share


def _test(compiler: Compiler, node: ast.expr) -> tuple[str, str, float]:
    """``metric < number``: (metric, sign, number in the metric's unit)."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.left, ast.Name):
        name, right = _metric(compiler, node.left), compiler.number(node.comparators[0], compiler.top)
        if not name:
            return "", ">", 0.0
        if right.literal is not None:
            thing = Part(right.run, unit_of(compiler.names[name].unit))
            line = compiler.alike(thing, right, node.left, node.comparators[0])[1].literal
            return name, SIGNS[type(node.ops[0])], line or 0.0
    shown = compiler.source(node)
    compiler.flaw(node, f"{shown} is not a metric compared with a number", "write for example btc_usd < 60k")
    return "", ">", 0.0


def _scenario(compiler: Compiler, node: ast.expr) -> str:
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        fix = 'write its name in quotes, as in "crypto_winter"'
        compiler.flaw(node, f"{compiler.source(node)} is not a scenario", fix)
        return ""
    if node.value not in compiler.scenarios:
        known = ", ".join(sorted(compiler.scenarios)) or "none is loaded"
        fix = close(node.value, compiler.scenarios) or f"scenarios: {known}"
        compiler.flaw(node, f"unknown scenario {node.value!r}", fix)
    return node.value
