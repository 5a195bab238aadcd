"""What works and still smells: rules that can be read, and yet cannot mean what somebody wanted. Pure.

A mistake stops a rule from loading (:mod:`monitor.rulefile`); a smell does not. Each says where it is, what is odd, and
what follows from it.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from monitor.conditions import Leaf, Sides, Taken, Tree, names_in, take_apart
from monitor.exprcompile import canonical
from monitor.exprparts import Part
from monitor.functions import WORDS
from monitor.model import Rule
from monitor.rules import CompiledRule
from monitor.values import Named

Kind = Literal["never_fires", "always_fires", "never_clears", "idle_clear", "units", "unknown_metric", "noisy", "no_do"]
#: more alternatives than this are not worked through: then nothing is said
MAX_ALTERNATIVES = 256
#: inside these an unknown number is asked about or replaced, so a number nobody knows is no surprise there
GUARDS = ("known", "coalesce", "in_doubt")
#: these ask about a price without comparing it, so that they do not jump with it
CALM = (*GUARDS, "age", "since", "avg_over", "quantile", "slope", "hours_of")


@dataclass(frozen=True, slots=True)
class Smell:
    """One oddity of one rule. ``offset`` and ``length`` mark part of ``text`` (no length: nothing to point at).

    ``finding`` False is a hint only.
    """

    rule: str
    kind: Kind
    file: str
    line: int
    message: str
    consequence: str
    text: str = ""
    offset: int = 0
    length: int = 0
    finding: bool = True

    def __str__(self) -> str:
        """Place and summary, the text with the part marked, the consequence in a sentence."""
        parts = [f"{self.file or 'rules'}:{max(self.line, 1)}: {self.rule}: {self.message}"]
        if self.length:
            end = self.offset + self.length
            before, part, after = self.text[: self.offset], self.text[self.offset : end], self.text[end:]
            parts.append(f"    in {' '.join(f'{before}»{part.strip()}«{after}'.split())}")
        return "\n".join([*parts, f"    {self.consequence}"])


def find_smells(
    rules: Sequence[CompiledRule], known: Collection[str] | None = None, prices: Collection[str] = ()
) -> list[Smell]:
    """Everything odd about rules that load, in their order.

    ``known``: the metrics somebody had a value of at the last evaluation; None where there was none yet.
    ``prices``: the metrics that move with every evaluation (:func:`moving_prices`).

    >>> from monitor.rules import compile_rules
    >>> from monitor.values import NameInfo
    >>> rule = Rule("Odd", "dscr > 1.2 and dscr < 1.0", "warning", "facility", do="look")
    >>> print(find_smells(compile_rules([rule], {"dscr": NameInfo("facility", "x", "min")}, ()))[0])
    rules:1: Odd: no number makes this true
        in »dscr > 1.2 and dscr < 1.0«
        it will never fire, whatever happens
    """
    found, looked = list[Smell](), [_look(compiled) for compiled in rules]
    for one in looked:
        found += _about_truth(one)
        found += _about_units(one)
        found += _about_noise(one, prices)
        found += _about_texts(one.rule)
    return found if known is None else [*found, *_about_knowledge(looked, known)]


def moving_prices(names: Mapping[str, Named], series: Collection[str]) -> frozenset[str]:
    """The metrics that are a fed price themselves, or are worked out from one in a single step.

    >>> from monitor.values import NameInfo
    >>> sorted(moving_prices({"btc_usd": NameInfo("market", "usd"), "debt_usd": NameInfo("borrower", "usd")}, {"btc_usd"}))
    ['btc_usd']
    """  # noqa: E501 - one line, as printed
    fed = {name for name in names if name in series and names[name].unit not in ("number", "ratio")}
    return frozenset(name for name, info in names.items() if fed & {name, *getattr(info, "needs", ())})


@dataclass(frozen=True, slots=True)
class _Looked:
    """A rule taken apart."""

    rule: Rule
    names: Mapping[str, Named]
    expr: Taken
    clear: Taken | None

    def sides(self, taken: Taken) -> Sides:
        return Sides(taken, self.names, self.rule.each)


def _look(compiled: CompiledRule) -> _Looked:
    rule = compiled.rule
    clear = take_apart(rule.clear) if rule.clear is not None else None
    return _Looked(rule, compiled.expression.table, take_apart(rule.expr), clear)


def _smell(rule: Rule, kind: Kind, message: str, consequence: str, text: str = "", offset: int = 0) -> Smell:
    return Smell(rule.id, kind, rule.file, rule.line, message, consequence, text, offset, len(text) - offset)


# ---------------------------------------------------------------- can it be true, can it be false
@dataclass(frozen=True, slots=True)
class _Atom:
    """``key`` compared with a number; a question without numbers is compared with 0."""

    key: str
    sign: str
    line: float
    least: float = -math.inf
    most: float = math.inf


_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
Alternatives = list[tuple[_Atom, ...]]


def _about_truth(looked: _Looked) -> Iterator[Smell]:
    rule, tree = looked.rule, looked.expr.tree
    atoms = _atoms(looked, looked.expr)
    fires, quiet = _alternatives(tree, atoms, True), _alternatives(tree, atoms, False)
    if not _possible(fires):
        yield _smell(
            rule, "never_fires", "no number makes this true", "it will never fire, whatever happens", rule.expr
        )
        return
    # a condition without any name is meant to be what it is, as the one of a watchdog is
    if not _possible(quiet) and names_in(looked.expr.parsed.tree):
        says = "it fires for everyone whose numbers are known, and never stops"
        yield _smell(rule, "always_fires", "no number makes this false", says, rule.expr)
        return
    if looked.clear is None:
        return
    atoms, text = _atoms(looked, looked.clear), looked.clear.text
    if not _possible(_alternatives(looked.clear.tree, atoms, True)):
        yield _smell(rule, "never_clears", "no number makes clear true", "once it fires it never ends", text)
    elif quiet is not None and not _possible(_crossed(quiet, _alternatives(looked.clear.tree, atoms, False))):
        says = "it ends as soon as expr is false; put the line of recovery further away, or leave clear out"
        yield _smell(rule, "idle_clear", "clear is true whenever expr is false", says, text)


def _atoms(looked: _Looked, taken: Taken) -> list[_Atom]:
    """Every leaf as a number compared with a literal; two numbers compared with each other as their difference."""
    sides = looked.sides(taken)
    return [_atom(taken, sides, looked.names, leaf) for leaf in taken.leaves]


def _atom(taken: Taken, sides: Sides, names: Mapping[str, Named], leaf: Leaf) -> _Atom:
    if leaf.left is None or leaf.right is None:
        return _Atom(canonical(leaf.text), "!=", 0.0)
    left, right = sides.alike(leaf)
    a, b = canonical(taken.source(leaf.left)), canonical(taken.source(leaf.right))
    if (value := _value(right, leaf.right)) is not None:
        constant = _value(left, leaf.left)
        bounds = (constant, constant) if constant is not None else _bounds(left, leaf.left, names)
        return _Atom(a, leaf.sign, value, *bounds)
    if (value := _value(left, leaf.left)) is not None:
        return _Atom(b, _MIRROR[leaf.sign], value, *_bounds(right, leaf.right, names))
    first, second, sign = (a, b, leaf.sign) if a <= b else (b, a, _MIRROR[leaf.sign])
    return _Atom(f"{first}-{second}", sign, 0.0, *((0.0, 0.0) if a == b else ()))


def _value(part: Part, node: ast.expr) -> float | None:
    return part.literal if part.literal is not None and not names_in(node) else None


def _bounds(part: Part, node: ast.expr, names: Mapping[str, Named]) -> tuple[float, float]:
    """What the number can be at all, in its own unit, as far as its word or its name says."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WORDS:
        word = node.func.id
        if word in ("drop", "rise") and all(_never_negative(n, names[n]) for n in names_in(node)):
            return 0.0, 1.0 if word == "drop" else math.inf
        if word == "change" and all(_never_negative(n, names[n]) for n in names_in(node)):
            return -1.0, math.inf
        return {"rank": 1.0, "count": 0.0, "age": 0.0, "since": 0.0, "hours_of": 0.0}.get(word, -math.inf), math.inf
    if part.metric:
        info = names[part.metric]
        if info.unit in ("flag", "bool"):
            return 0.0, 1.0
        if info.unit == "ratio" and part.metric.endswith("_share"):
            return 0.0, 1.0
        return 0.0 if _never_negative(part.metric, info) else -math.inf, math.inf
    return -math.inf, math.inf


def _never_negative(name: str, info: Named) -> bool:
    """Coins, ages, prices: what no sign can be in front of."""
    if info.unit in ("btc", "s", "number", "points", "usd/ph/day", "usd/gpu-hour"):
        return True
    return info.level == "market" and info.unit == "usd"


def _alternatives(tree: Tree, atoms: Sequence[_Atom], wanted: bool) -> Alternatives | None:
    """The ways in which the whole can be true (or false); None where there are too many to look at."""
    if isinstance(tree, Leaf):
        atom = atoms[tree.index]
        return [(atom if wanted else replace(atom, sign=_OPPOSITE[atom.sign]),)]
    if tree.how == "not":
        return _alternatives(tree.parts[0], atoms, not wanted)
    found: Alternatives | None = None
    for part in tree.parts:
        more = _alternatives(part, atoms, wanted)
        if (tree.how == "and") == wanted:
            found = more if found is None else _crossed(found, more)
        elif more is None or (found is not None and len(found) + len(more) > MAX_ALTERNATIVES):
            return None
        else:
            found = [*(found or []), *more]
        if found is None:
            return None
    return found


def _crossed(some: Alternatives | None, others: Alternatives | None) -> Alternatives | None:
    if some is None or others is None or len(some) * len(others) > MAX_ALTERNATIVES:
        return None
    return [(*one, *other) for one in some for other in others]


def _possible(alternatives: Alternatives | None) -> bool:
    """Whether one of them contradicts nothing; True where nobody looked."""
    return alternatives is None or any(_consistent(atoms) for atoms in alternatives)


def _consistent(atoms: Sequence[_Atom]) -> bool:
    by_key: dict[str, list[_Atom]] = {}
    for atom in atoms:
        by_key.setdefault(atom.key, []).append(atom)
    return all(_has_a_value(group) for group in by_key.values())


def _has_a_value(atoms: Sequence[_Atom]) -> bool:
    """Whether one number satisfies them all."""
    low, high = max(atom.least for atom in atoms), min(atom.most for atom in atoms)
    low_open = high_open = False
    for atom in atoms:
        if atom.sign in (">", ">=", "==") and (atom.line > low or (atom.line == low and atom.sign == ">")):
            low, low_open = atom.line, atom.sign == ">"
        if atom.sign in ("<", "<=", "==") and (atom.line < high or (atom.line == high and atom.sign == "<")):
            high, high_open = atom.line, atom.sign == "<"
    if low < high:
        return True
    left_out = {atom.line for atom in atoms if atom.sign == "!="}
    return low == high and not low_open and not high_open and low not in left_out


# ---------------------------------------------------------------- units
#: label -> (a bare number on this side of the line is almost surely meant in another unit, which one)
_SLIPS: Mapping[str, tuple[float, float, str]] = {
    "bp": (0.0, 10.0, "write {percent}% if percent is meant, or {value}bp"),
    "points": (0.0, 1.5, "points run from 0 to 100; write {percent}% for {value} of par"),
    "months": (120.0, math.inf, "write {value}d if days are meant, or {value}mo"),
}
#: the smallest amount of money anybody watches; what is below was meant in millions or billions
SMALL_USD = 1_000.0
_PRICES = ("price", "conversion", "_btc_usd", "mark")


def _about_units(looked: _Looked) -> Iterator[Smell]:
    for taken in filter(None, (looked.expr, looked.clear)):
        sides = looked.sides(taken)
        for leaf in taken.leaves:
            if leaf.left is None or leaf.right is None:
                continue
            left, right = sides.number(leaf.left), sides.number(leaf.right)
            said = _odd_pair(left, right) or _slip(left, right, looked.names) or _slip(right, left, looked.names)
            if said:
                smell = _smell(looked.rule, "units", *said, taken.text, leaf.offset)
                end = (leaf.right.end_col_offset or 0) - 1
                yield replace(smell, length=end - leaf.offset)


def _odd_pair(left: Part, right: Part) -> tuple[str, str] | None:
    """Two measured things that convert into each other and still are not alike."""
    a, b = left.unit, right.unit
    if left.metric and right.metric and a.kind == b.kind == "ratio" and a.label != b.label:
        says = "the comparison is exact and means nothing; compare each with a line of its own"
        return f"{left.metric} ({a.label}) is compared with {right.metric} ({b.label})", says
    kinds = {a.kind, b.kind}
    if "any" in kinds and kinds & {"ratio", "time"}:
        other = "a ratio" if "ratio" in kinds else "a length of time"
        says = "nothing can check that the two are alike; divide until the units cancel"
        return f"a product of two units is compared with {other}", says
    return None


def _slip(thing: Part, number: Part, names: Mapping[str, Named]) -> tuple[str, str] | None:
    """A bare number beside a metric whose unit makes that number unlikely."""
    value, label = number.literal, thing.unit.label
    if value is None or number.unit.kind != "plain" or not thing.metric or value == 0:
        return None
    size, shown = abs(value), f"{value:g}"
    if label in _SLIPS and _SLIPS[label][0] < size < _SLIPS[label][1]:
        fix = _SLIPS[label][2].format(value=shown, percent=f"{value * (100 if label == 'points' else 1):g}")
        return f"{thing.metric} is in {label}, so {shown} is {shown} {label}", fix
    small = size < SMALL_USD and not any(part in thing.metric for part in _PRICES)
    if thing.unit.kind == "usd" and small and names[thing.metric].level != "market":
        return (
            f"{thing.metric} is in USD, so {shown} is {shown} dollars",
            f"write {shown}m or {shown}bn if that is meant",
        )
    return None


# ---------------------------------------------------------------- noise, knowledge, texts
def _place(text: str, name: str) -> int:
    """Where a name stands, not where it is part of a longer one."""
    found = re.search(rf"\b{re.escape(name)}\b", text)
    return found.start() if found else 0


def _about_noise(looked: _Looked, prices: Collection[str]) -> Iterator[Smell]:
    rule = looked.rule
    if rule.for_s > 0 or rule.keep_firing_for_s > 0 or rule.clear is not None:
        return
    jumps = [name for name in names_in(looked.expr.parsed.tree, CALM) if name in prices]
    if jumps:
        offset = _place(rule.expr, jumps[0])
        says = "it fires and ends with every swing across the line; give it `for`, or a `clear` further away"
        smell = _smell(
            rule, "noisy", f"{jumps[0]} moves all the time and the rule has no `for`", says, rule.expr, offset
        )
        yield replace(smell, length=len(jumps[0]))


def _about_texts(rule: Rule) -> Iterator[Smell]:
    if not rule.do and not rule.runbook:
        says = "whoever is woken by it starts from nothing; say what to look at first"
        yield replace(_smell(rule, "no_do", "neither `do` nor `runbook` is given", says), finding=False)


def _about_knowledge(rules: Sequence[_Looked], known: Collection[str]) -> Iterator[Smell]:
    """One smell per metric nobody had a value of, naming the rules that rest on it."""
    needing: dict[str, list[Rule]] = {}
    for looked in rules:
        for name in names_in(looked.expr.parsed.tree, GUARDS):
            if name in looked.names and name not in known:
                needing.setdefault(name, []).append(looked.rule)
    for name, blind in needing.items():
        first, others = blind[0], [rule.id for rule in blind[1:]]
        says = "what compares it is unknown for everyone: see `canary explain` for the missing figure or source"
        if others:
            says += f"; so in {', '.join(others[:5])}" + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        smell = _smell(
            first,
            "unknown_metric",
            f"nobody had a value of {name} at the last evaluation",
            says,
            first.expr,
            _place(first.expr, name),
        )
        yield replace(smell, length=len(name))
