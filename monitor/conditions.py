"""A condition taken apart: how it is joined, what it compares, and what each comparison is worth by itself.

Pure. What a person reads about a rule (why it fired, what no test ever decided, what cannot be true) is about single
comparisons; :mod:`monitor.expression` only says what they come to together.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from monitor.exprcalls import BUILDERS
from monitor.exprcompile import SIGNS, Compiler
from monitor.expression import Expression, compile_expression
from monitor.exprparts import Part
from monitor.exprtext import Parsed, parse_expression
from monitor.model import FALSE, TRUE, UNKNOWN, Level
from monitor.values import Named


@dataclass(frozen=True, slots=True)
class Leaf:
    """A condition that holds no other: one comparison, a flag, or a question such as ``known(x)``.

    ``offset`` counts characters from 0 in the whole text; ``index`` is its place among the leaves.
    """

    index: int
    text: str
    offset: int
    node: ast.expr
    left: ast.expr | None = None
    sign: str = ""
    right: ast.expr | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """Conditions joined by ``and`` or ``or``, or one turned round by ``not``."""

    how: Literal["and", "or", "not"]
    parts: tuple[Tree, ...]


Tree = Leaf | Join


@dataclass(frozen=True, slots=True)
class Taken:
    """A condition and its parts."""

    text: str
    tree: Tree
    leaves: tuple[Leaf, ...]
    parsed: Parsed

    @property
    def scenarios(self) -> list[str]:
        """The scenario names in it; it was accepted before, so they are those there are."""
        return [n.value for n in ast.walk(self.parsed.tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]

    def source(self, node: ast.expr) -> str:
        """The characters of a node as written."""
        return _source(self.text, node)


def take_apart(text: str) -> Taken:
    """Split a condition into its leaves; a chain ``0 < x < 1`` is two of them. Raises ExpressionError.

    >>> [leaf.text for leaf in take_apart("not known(dscr) or 0 < dscr < 1.1 and ltv > 90%").leaves]
    ['known(dscr)', '0 < dscr', 'dscr < 1.1', 'ltv > 90%']
    """
    leaves: list[Leaf] = []
    parsed = parse_expression(text)
    return Taken(text, _split(text, parsed.tree, leaves), tuple(leaves), parsed)


def _split(text: str, node: ast.expr, leaves: list[Leaf]) -> Tree:
    if isinstance(node, ast.BoolOp):
        how: Literal["and", "or"] = "and" if isinstance(node.op, ast.And) else "or"
        return Join(how, tuple(_split(text, value, leaves) for value in node.values))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return Join("not", (_split(text, node.operand, leaves),))
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        links = [_link(text, a, sign, b, leaves) for a, sign, b in zip(operands, node.ops, operands[1:], strict=False)]
        return links[0] if len(links) == 1 else Join("and", tuple(links))
    leaves.append(Leaf(len(leaves), _source(text, node), node.col_offset - 1, node))
    return leaves[-1]


def _link(text: str, left: ast.expr, sign: ast.cmpop, right: ast.expr, leaves: list[Leaf]) -> Leaf:
    word = SIGNS[type(sign)]
    shown = f"{_source(text, left)} {word} {_source(text, right)}"
    leaves.append(Leaf(len(leaves), shown, left.col_offset - 1, left, left, word, right))
    return leaves[-1]


def _source(text: str, node: ast.expr) -> str:
    return " ".join(text[node.col_offset - 1 : (node.end_col_offset or 0) - 1].split())


def combined(tree: Tree, truths: Sequence[int]) -> int:
    """The truth of the whole from those of its leaves, by index; three-valued.

    >>> both = take_apart("a > 1 and not b > 1").tree
    >>> combined(both, [1, 0]), combined(both, [0, -1]), combined(both, [1, -1])
    (1, 0, -1)
    """
    if isinstance(tree, Leaf):
        return truths[tree.index]
    found = [combined(part, truths) for part in tree.parts]
    if tree.how == "not":
        return {TRUE: FALSE, FALSE: TRUE}.get(found[0], UNKNOWN)
    decides = FALSE if tree.how == "and" else TRUE
    if decides in found:
        return decides
    return UNKNOWN if UNKNOWN in found else 1 - decides


def deciding(tree: Tree, truths: Sequence[int]) -> list[int]:
    """The leaves whose own answer decided the whole: had it been the other one, the whole would be another.

    >>> deciding(take_apart("a > 1 and b > 1").tree, [1, 0]), deciding(take_apart("a > 1 or b > 1").tree, [1, 1])
    ([1], [])
    """
    whole = combined(tree, truths)
    return [
        i
        for i, truth in enumerate(truths)
        if truth != UNKNOWN
        and whole != UNKNOWN
        and combined(tree, [*truths[:i], TRUE if truth == FALSE else FALSE, *truths[i + 1 :]]) != whole
    ]


def compile_leaves(taken: Taken, names: Mapping[str, Named], level: Level) -> tuple[Expression, ...]:
    """Each leaf as an expression of its own.

    >>> from monitor.values import NameInfo
    >>> table = {"dscr": NameInfo("facility", "x", "min")}
    >>> [one.text for one in compile_leaves(take_apart("dscr < 1 or dscr > 9"), table, "facility")]
    ['dscr < 1', 'dscr > 9']
    """
    return tuple(compile_expression(leaf.text, names, taken.scenarios, level) for leaf in taken.leaves)


class Sides:
    """The numbers of one condition, each compiled by itself, at the level of its rule."""

    def __init__(self, taken: Taken, names: Mapping[str, Named], level: Level):
        self.level = level
        self._compiler = Compiler(taken.text, taken.parsed.literals, names, taken.scenarios, level, BUILDERS)

    def number(self, node: ast.expr) -> Part:
        """One number: how to get it, its unit, its value where it is a literal."""
        return self._compiler.number(node, self.level)

    def alike(self, leaf: Leaf) -> tuple[Part, Part]:
        """Both sides of a comparison in one unit, as they are compared."""
        if leaf.left is None or leaf.right is None:
            raise ValueError(f"{leaf.text} compares nothing")
        left, right = self.number(leaf.left), self.number(leaf.right)
        return self._compiler.alike(left, right, leaf.left, leaf.right)


def names_in(node: ast.expr, without: Collection[str] = ()) -> list[str]:
    """The metric names below a node, each once; nothing inside a call of one of the words in ``without``.

    >>> names_in(parse_expression("known(a) and b > change(c, 7d)").tree, ("known",))
    ['b', 'c']
    """
    found: dict[str, None] = {}
    todo: list[ast.AST] = [node]
    while todo:
        at = todo.pop()
        if isinstance(at, ast.Call) and isinstance(at.func, ast.Name):
            todo += [] if at.func.id in without else reversed(at.args)
        elif isinstance(at, ast.Name):
            found[at.id] = None
        else:
            todo += reversed(list(ast.iter_child_nodes(at)))
    return list(found)
