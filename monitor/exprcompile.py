"""The walk over a parsed expression: every node is of a known kind, or it is a mistake with a place and a remedy."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np

from monitor.exprparts import NO_CHECK, NO_NUMBER, Check, Part, describe, link, literal, minus, product, rescale, whole
from monitor.exprtext import Flaw, Literal
from monitor.functions import WORDS, How, Word
from monitor.model import FloatArray, Level
from monitor.scope import Scope
from monitor.values import PLAIN, Named, Num, Unit, both, compare, constant, either, reasons, suffix_unit, unit_of

SIGNS: dict[type[ast.AST], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_ARITHMETIC: dict[type[ast.AST], tuple[str, Callable[[FloatArray, FloatArray], FloatArray]]] = {
    ast.Add: ("+", np.add),
    ast.Sub: ("-", np.subtract),
    ast.Mult: ("*", np.multiply),
    # adding zero turns -0.0 into 0.0: x / 0 is unlimited with the sign of x, and 0 / 0 has no value
    ast.Div: ("/", lambda a, b: np.divide(a, b + 0.0)),
}


def canonical(call: str) -> str:
    """A call as proofs name it: without blanks, texts in double quotes.

    >>> canonical("under('crypto_winter', ltv_economic )")
    'under("crypto_winter",ltv_economic)'
    """
    return "".join(call.split()).replace("'", '"')


#: makes the part a call stands for: (compiler, call, word, level)
Builder = Callable[["Compiler", ast.Call, Word, Level], Part | Check]


class Compiler:
    """Walks one tree. Mistakes are collected; after one, a part of any unit stands in so that the walk goes on."""

    def __init__(
        self,
        text: str,
        literals: Mapping[int, Literal],
        names: Mapping[str, Named],
        scenarios: Collection[str],
        level: Level,
        builders: Mapping[How, Builder],
    ):
        self.builders = builders
        self.text, self.literals, self.names, self.scenarios, self.top = text, literals, names, scenarios, level
        self.flaws: list[Flaw] = []
        self.used: dict[str, None] = {}
        self.calls: dict[str, Unit] = {}
        #: the longest span any call looks back over, seconds
        self.longest_s = 0.0

    def source(self, node: ast.expr) -> str:
        """The characters of a node as written."""
        return self.text[node.col_offset - 1 : (node.end_col_offset or 0) - 1]

    def flaw(self, node: ast.expr, message: str, fix: str = "") -> None:
        """Note a mistake at the characters of a node."""
        size = (node.end_col_offset or 0) - node.col_offset
        self.flaws.append(Flaw(node.col_offset - 1, size, message, fix))

    # ------------------------------------------------------------ conditions
    def condition(self, node: ast.expr, level: Level) -> Check:
        """Compile a node that must be true or false."""
        if isinstance(node, ast.BoolOp):
            runs = [self.condition(value, level).run for value in node.values]
            join = both if isinstance(node.op, ast.And) else either
            return Check(lambda scope: join([run(scope) for run in runs]))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return _negated(self.condition(node.operand, level))
        if isinstance(node, ast.Compare):
            return self.comparison(node, level)
        before = len(self.flaws)
        made = self.call(node, level) if isinstance(node, ast.Call) else self.number(node, level)
        if isinstance(made, Check):
            return made
        if isinstance(node, ast.Name) and node.id in self.names and self.names[node.id].unit in ("flag", "bool"):
            flag = made.run
            return Check(lambda scope: compare(flag(scope), constant(0.0), "!="))
        if len(self.flaws) == before:
            shown = self.source(node)
            self.flaw(node, f"{shown} is a number, not a condition", f"compare it, as in {shown} > 1")
        return NO_CHECK

    def comparison(self, node: ast.Compare, level: Level) -> Check:
        """A chain such as ``0 < x < 1`` is all its links at once."""
        operands = [node.left, *node.comparators]
        parts = [self.number(operand, level) for operand in operands]
        runs = []
        for i, sign in enumerate(node.ops):
            if type(sign) not in SIGNS:
                self.flaw(node, "only < <= > >= == != compare")
                return NO_CHECK
            left, right = self.alike(parts[i], parts[i + 1], operands[i], operands[i + 1])
            runs.append(link(left, right, SIGNS[type(sign)]).run)
        return Check(runs[0] if len(runs) == 1 else lambda scope: both([run(scope) for run in runs]))

    # ------------------------------------------------------------ numbers
    def number(self, node: ast.expr, level: Level) -> Part:
        """Compile a node that must be a number."""
        if isinstance(node, ast.Constant) and node.col_offset - 1 in self.literals:
            written = self.literals[node.col_offset - 1]
            return literal(written.number, suffix_unit(written.suffix))
        if isinstance(node, ast.Name):
            return self.metric(node, level)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            part = self.number(node.operand, level)
            return minus(part) if isinstance(node.op, ast.USub) else part
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return self.arithmetic(node, level)
        made = self.call(node, level) if isinstance(node, ast.Call) else None
        if isinstance(made, Part):
            return made
        if made is not None or isinstance(node, (ast.BoolOp, ast.Compare, ast.UnaryOp)):
            self.flaw(node, f"{self.source(node)} is a condition, a number is needed here")
        elif isinstance(node, ast.Constant):
            self.flaw(node, f"{self.source(node)} is a text", "texts only name a scenario, in under(...)")
        else:
            self.flaw(node, "this is not part of the language")
        return NO_NUMBER

    def metric(self, node: ast.Name, level: Level) -> Part:
        """A metric name, brought to the level; refused where it has no single value there."""
        name = node.id
        if not self.knows(node) or not self.reaches(node, self.names[name].level, level):
            return NO_NUMBER
        key, unit = ("lift", name, level), unit_of(self.names[name].unit)
        return Part(lambda scope: scope.once(key, lambda: scope.at_level(name, level)), unit, None, name)

    def knows(self, node: ast.Name) -> bool:
        """Whether this is a metric; notes the name, or the mistake."""
        name = node.id
        if name in self.names:
            self.used[name] = None
            return True
        if name in WORDS:
            self.flaw(node, f"{name} is a word, it needs its arguments", f"write {usage(WORDS[name])}")
        else:
            self.flaw(node, f"unknown name {name!r}", close(name, self.names) or "`canary list` shows every metric")
        return False

    def reaches(self, node: ast.expr, source: Level, level: Level) -> bool:
        """Whether numbers of one level have one value per subject of another; a market has one for all."""
        # sources and borrowers have nothing to do with each other
        apart = level == "market" or "source" in (source, level)
        if apart and source not in ("market", level):
            shown = self.source(node)
            fix = f"write worst({shown}) or count({shown} > ...), or give the rule `each: {source}`"
            self.flaw(node, f"{shown} has one value per {source}, a {level} rule needs one for all", fix)
            return False
        return True

    def arithmetic(self, node: ast.BinOp, level: Level) -> Part:
        """Compile ``+ - * /``; unknown where a side is, and where the result is no number."""
        sign, operate = _ARITHMETIC[type(node.op)]
        left, right = self.number(node.left, level), self.number(node.right, level)
        if sign in "+-":
            left, right = self.alike(left, right, node.left, node.right)
            unit = right.unit if left.unit.kind == "plain" else left.unit
        else:
            left, right, unit = product(left, right, sign)
        one, other, own = left.run, right.run, f"{self.source(node)} has no value"

        def run(scope: Scope) -> Num:
            a, b = one(scope), other(scope)
            return Num(operate(a.values, b.values), reasons((a, b), own))

        return Part(run, unit)

    # ------------------------------------------------------------ units
    def alike(self, left: Part, right: Part, at_left: ast.expr, at_right: ast.expr) -> tuple[Part, Part]:
        """Both parts in one unit, ready to be compared or added; a mistake where no such unit exists."""
        a, b = left.unit.kind, right.unit.kind
        if a == b and left.literal is not None and right.literal is None:
            return rescale(left, right.unit.scale), right
        if a == b:
            return left, rescale(right, left.unit.scale)
        if a == "plain":
            self.bare(left, right, at_left, at_right)
        elif b == "plain":
            self.bare(right, left, at_right, at_left)
        elif "any" in (a, b):
            return rescale(left, 1.0), rescale(right, 1.0)
        elif "amount" not in (a, b) or {a, b} & {"ratio", "time", "flag"}:
            self.unlike(left, right, at_left, at_right)
        return whole(left), whole(right)

    def unlike(self, left: Part, right: Part, at_left: ast.expr, at_right: ast.expr) -> None:
        """Note that two dimensions meet which nothing converts."""
        message = (
            f"{self.source(at_left)} is {describe(left.unit)}, {self.source(at_right)} is {describe(right.unit)}: "
            "they cannot be compared or added"
        )
        fix = "bring both to one unit, for instance by dividing one by another amount of its kind"
        if "time" in (left.unit.kind, right.unit.kind) and "m" in (left.unit.label, right.unit.label):
            fix = "m is a million here; write min for minutes or mo for months"
        start, end = at_left.col_offset - 1, (at_right.end_col_offset or 0) - 1
        self.flaws.append(Flaw(min(start, end), abs(end - start), message, fix))

    def bare(self, plain: Part, thing: Part, at_plain: ast.expr, at_thing: ast.expr) -> None:
        """A number without a unit beside something that has one: refused where it is almost surely a slip."""
        value, unit, shown = plain.literal, thing.unit, self.source(at_plain)
        if value is None:
            return
        if (unit.label == "s" or (unit.kind == "time" and thing.literal is not None)) and value != 0:
            message = f"{self.source(at_thing)} is a length of time and {shown} has no unit"
            self.flaw(at_plain, message, f"write {shown}d, {shown}h or {shown}min")
        elif unit.label == "ratio" and thing.literal is None and abs(value) >= 10:
            message = f"{self.source(at_thing)} is a fraction, so {shown} means {value * 100:,.0f} %"
            self.flaw(at_plain, message, f"write {shown}% (or {value * 100:.0f}% if that is meant)")

    # ------------------------------------------------------------ words
    def call(self, node: ast.Call, level: Level) -> Part | Check:
        """Compile a call of a known word with the right number of arguments."""
        word = self.word(node)
        if word is None:
            return NO_NUMBER
        variadic = word.args[-1] == "numbers"
        before = len(self.flaws)
        if node.keywords or len(node.args) < len(word.args) or (len(node.args) > len(word.args) and not variadic):
            said = f"{len(node.args)} argument{'' if len(node.args) == 1 else 's'}"
            self.flaw(node, f"{word.name}() has {said} here", f"write {usage(word)}")
        else:
            made = self.builders[word.how](self, node, word, level)
            if len(self.flaws) == before:
                return self.provable(node, made)
        return NO_CHECK if word.gives == "condition" else NO_NUMBER

    def word(self, node: ast.Call) -> Word | None:
        """The word that is called, or a mistake."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in WORDS:
            return WORDS[name]
        if name in self.names:
            self.flaw(node.func, f"{name} is a metric, not a word", f"write {name} without brackets")
        elif name:
            fix = close(name, WORDS) or f"words are {', '.join(sorted(WORDS))}"
            self.flaw(node.func, f"unknown word {name!r}", fix)
        else:
            self.flaw(node.func, "only a word can be called", "write word(...)")
        return None

    def provable(self, node: ast.Call, made: Part | Check) -> Part | Check:
        """A proof may give the value of a call instead of the past, the dates or the peers behind it."""
        key = canonical(self.source(node))
        self.calls[key] = made.unit if isinstance(made, Part) else PLAIN

        def given(scope: Scope) -> Num:
            value = scope.given[key]
            number = np.array([np.nan if value is None else value])
            return Num(number, lambda i: (f"{key}: given as unknown",))

        if isinstance(made, Part):
            number = made.run
            return made._replace(run=lambda scope: given(scope) if key in scope.given else number(scope))
        check = made.run
        return Check(lambda scope: compare(given(scope), constant(0.0), "!=") if key in scope.given else check(scope))


def _negated(check: Check) -> Check:
    run = check.run
    return Check(lambda scope: run(scope).negated())


def usage(word: Word) -> str:
    """How a word is written."""
    return word.doc.split(":")[0]


def close(name: str, known: Iterable[str]) -> str:
    """A known name that looks like this one."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {found[0]!r}?" if found else ""
