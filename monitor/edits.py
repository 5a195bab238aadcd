"""One value of a rule changed and nothing else: where it stands in the file, what may be written there, what it makes.

A value is found by the marks of the YAML parser and replaced character by character; what the text then reads as is
compared with what it read as before, so that an edit which would change anything besides is refused. No file is touched
here: :mod:`monitor.editing` reads and writes.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from monitor.conditions import Leaf, Tree, take_apart
from monitor.exprtext import Parsed
from monitor.model import CanaryError, Severity
from monitor.units import MAX_NUMBER_CHARACTERS, parse_duration_s, parse_quantity
from monitor.yamltext import Node, Text, parse_tree, suggest

Key = Literal["for", "keep_firing_for", "severity", "expr", "clear"]
#: which way a value moves when its rule says less: fires later, seldomer, or ends sooner. ``any``: it cannot be told
Weaker = Literal["lower", "higher", "any"]
#: a wait longer than this switches a rule off in all but name
LONGEST_WAIT_S = 90 * 86400.0
#: lines of the file around a change that a diff shows
AROUND = 2
_NUMBER = re.compile(r"[+-]?(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?(?:%|[A-Za-z]{1,3})?")
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Place:
    """One value of a rule that can be edited: the characters from ``start`` to ``end`` of its file.

    ``number``: which of the numbers ``key`` compares something with, from 1; 0 where the whole value is meant. A value
    that is not there yet has no characters; ``around`` is then written before and after it.
    """

    rule: str
    key: Key
    start: int
    end: int
    text: str
    number: int = 0
    #: the comparison the number stands in
    shown: str = ""
    weaker: Weaker = "any"
    around: tuple[str, str] = ("", "")

    @property
    def name(self) -> str:
        """What the value is called: ``for``, ``expr 2``."""
        return f"{self.key} {self.number}" if self.number else self.key


@dataclass(frozen=True, slots=True)
class Edit:
    """``old`` becomes ``new`` at character ``start``; ``before`` and ``after`` are the value as a person says it."""

    rule: str
    place: str
    before: str
    after: str
    start: int
    old: str
    new: str

    def of(self, text: str) -> str:
        """The text with this edit; ValueError when something else stands there.

        >>> Edit("R", "for", "1d", "4h", 5, "1d", "4h").of("for: 1d  # a day")
        'for: 4h  # a day'
        """
        end = self.start + len(self.old)
        if text[self.start : end] != self.old:
            raise ValueError(f"{self.old!r} is not at character {self.start}")
        return text[: self.start] + self.new + text[end:]

    @property
    def back(self) -> Edit:
        """The edit that takes this one back."""
        return replace(self, before=self.after, after=self.before, old=self.new, new=self.old)


# ---------------------------------------------------------------- where a value stands
def find_rule(texts: Mapping[str, Text], rule: str) -> tuple[Text, Node]:
    """The text and the node of a rule. CanaryError with what was probably meant; InputError when a file is unreadable.

    >>> find_rule({"a.yaml": Text("- {alert: Thin, expr: dscr < 1}", "a.yaml")}, "Thin")[1].value["expr"].value
    'dscr < 1'
    """
    known: dict[str, tuple[Text, Node]] = {}
    for text in texts.values():
        tree = parse_tree(text)
        for node in tree.value if isinstance(tree.value, list) else ():
            if isinstance(node.value, dict) and "alert" in node.value:
                known.setdefault(str(node.value["alert"].value), (text, node))
    if rule not in known:
        raise CanaryError(f"no rule {rule[:60]!r}; {suggest(rule[:60], sorted(known)) or 'there are no rules'}")
    return known[rule]


def places(text: Text, node: Node, rule: str, key: Key) -> tuple[Place, ...]:
    """The values of one key of a rule that can be edited: the whole value, or each number ``expr`` compares with.

    >>> said = Text("- {alert: Near, expr: 'btc / call - 1 < 15% and age(call) < 200d', severity: info}", "a.yaml")
    >>> [(p.name, p.text, p.shown) for p in places(said, *[find_rule({"a": said}, "Near")[1]], "Near", "expr")]
    [('expr 1', '15%', 'btc / call - 1 < 15%'), ('expr 2', '200d', 'age(call) < 200d')]
    """
    if key in ("expr", "clear"):
        return tuple(_numbers(text, node, rule, key)) if key in node.value else ()
    weaker: Weaker = "higher" if key == "for" else "lower"
    if key in node.value:
        start, end = _inside(text, node.value[key])
        return (Place(rule, key, start, end, text.text[start:end], weaker=weaker),)
    if "severity" not in node.keys:
        return ()
    beside = node.keys["severity"]
    flow = text.text[node.start : node.start + 1] == "{"
    line_end = "\r\n" if "\r\n" in text.text else "\n"
    behind = ", " if flow else line_end + " " * beside.column
    return (Place(rule, key, beside.start, beside.start, "", weaker=weaker, around=(f"{key}: ", behind)),)


def _inside(text: Text, node: Node) -> tuple[int, int]:
    """The characters of a value without quotes, block header and blanks around it."""
    raw, shift = text.text[node.start : node.end], node.start
    if raw[:1] in ("|", ">"):
        header = raw.find("\n") + 1
        raw, shift = raw[header:], shift + header
    elif raw[:1] in ("'", '"'):
        raw, shift = raw[1:-1], shift + 1
    bare = raw.strip()
    start = shift + (raw.find(bare) if bare else 0)
    return start, start + len(bare)


def _numbers(text: Text, node: Node, rule: str, key: Key) -> Iterator[Place]:
    """The numbers a condition compares something with."""
    value = node.value[key]
    said = str(value.value)
    taken = take_apart(said)
    found = 0
    for leaf, straight in _leaves(taken.tree, True):
        for part, sign in ((leaf.right, leaf.sign), (leaf.left, _MIRROR.get(leaf.sign, leaf.sign))):
            other = leaf.left if part is leaf.right else leaf.right
            spot = None if part is None or other is None else _line_of(part, other, taken.parsed, said)
            if spot is None:
                continue
            found += 1
            start, end = _in_file(text, value, said, spot.offset, spot.length)
            weaker = _weaker(sign, straight, key) if spot.alone else "any"
            yield Place(rule, key, start, end, text.text[start:end], found, leaf.text, weaker)


def _leaves(tree: Tree, straight: bool) -> Iterator[tuple[Leaf, bool]]:
    """Every comparison, and whether the whole is the truer the truer it is (an odd number of ``not`` turns that)."""
    if isinstance(tree, Leaf):
        yield tree, straight
        return
    for part in tree.parts:
        yield from _leaves(part, straight != (tree.how == "not"))


@dataclass(frozen=True, slots=True)
class _Spot:
    """A number in an expression; ``alone``: a whole side of its comparison, not a factor of one."""

    offset: int
    length: int
    alone: bool


def _line_of(part: ast.expr, other: ast.expr, parsed: Parsed, said: str) -> _Spot | None:
    """The number on this side of a comparison, or the number this side is a multiple of."""
    if _literal(other, parsed, said):
        return None
    if _literal(part, parsed, said):
        return _spot(part, alone=True)
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mult):
        factors = [side for side in (part.left, part.right) if _literal(side, parsed, said)]
        if len(factors) == 1:
            return _spot(factors[0], alone=False)
    return None


def _literal(node: ast.expr, parsed: Parsed, said: str) -> bool:
    """Whether a node is a number as written, with or without a sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return _literal(node.operand, parsed, said)
    written = parsed.literals.get(node.col_offset - 1) if isinstance(node, ast.Constant) else None
    return written is not None and said.startswith(written.raw, node.col_offset - 1)


def _spot(node: ast.expr, alone: bool) -> _Spot:
    return _Spot(node.col_offset - 1, (node.end_col_offset or 0) - node.col_offset, alone)


def _weaker(sign: str, straight: bool, key: Key) -> Weaker:
    """Where a line on the right of ``sign`` moves so that the rule fires less, or recovers more easily."""
    if sign not in _MIRROR:
        return "any"
    truer: Weaker = "higher" if sign in ("<", "<=") else "lower"
    if straight == (key == "clear"):
        return truer
    return "lower" if truer == "higher" else "higher"


def _in_file(text: Text, node: Node, said: str, offset: int, length: int) -> tuple[int, int]:
    """Characters of a value as characters of the file: folding changes blanks only, so visible ones are counted."""
    start, end = _inside(text, node)
    raw = text.text[start:end]
    if "".join(raw.split()) != "".join(said.split()):
        raise CanaryError(f"{text.file}:{node.line + 1}: this value is written with escapes; edit the file itself")
    visible = [i for i, character in enumerate(raw) if not character.isspace()]
    first = len("".join(said[:offset].split()))
    count = len("".join(said[offset : offset + length].split()))
    return start + visible[first], start + visible[first + count - 1] + 1


# ---------------------------------------------------------------- what may be written there
def make(text: Text, place: Place, value: str) -> Edit:
    """The edit that writes a value in a place. CanaryError when the value is no such value or changes nothing."""
    value = _read(place.key, value)
    if place.text and _same(place.key, place.text, value):
        raise CanaryError(f"{place.rule}: {place.name} is {place.text} already")
    before, behind = place.around
    edit = Edit(place.rule, place.name, place.text, value, place.start, place.text, f"{before}{value}{behind}")
    _only_this(text, edit.of(text.text), place, value)
    return edit


def _read(key: Key, value: str) -> str:
    """A value as it will stand in the file: no blanks, no sign of YAML, of its own kind."""
    value = "".join(value.split())
    if key == "severity":
        if value.lower() not in get_args(Severity):
            raise CanaryError(f"{value[:20]!r} is no severity; write {', '.join(get_args(Severity))}")
        return value.lower()
    if len(value) > MAX_NUMBER_CHARACTERS or not _NUMBER.fullmatch(value):
        example = "15m, 4h or 7d" if key in ("for", "keep_firing_for") else "1.05, 90%, 75bp or 30d"
        raise CanaryError(f"{value[:40]!r} cannot stand there; write for example {example}")
    try:
        if key in ("expr", "clear"):
            parse_quantity(value)
            return value
        seconds = parse_duration_s(value)
    except ValueError as error:
        raise CanaryError(str(error)) from None
    if seconds > LONGEST_WAIT_S:
        raise CanaryError(f"{key} is at most {LONGEST_WAIT_S / 86400:.0f}d here: longer, the rule as good as ends")
    return value.lower()


def _same(key: Key, one: str, other: str) -> bool:
    if key in ("for", "keep_firing_for"):
        return parse_duration_s(one) == parse_duration_s(other)
    return "".join(one.split()) == other


def _only_this(text: Text, new: str, place: Place, value: str) -> None:
    """Refuse an edit after which the file reads otherwise than before in anything but this one value."""
    was, now = parse_tree(text).plain(), parse_tree(Text(new, text.file)).plain()
    stood, said = (_taken_out(rules, place) for rules in (was, now))
    if place.number:
        node = find_rule({text.file: text}, place.rule)[1].value[place.key]
        first = len("".join(text.text[_inside(text, node)[0] : place.start].split()))
        stood = stood[:first] + value + stood[first + len("".join(place.text.split())) :]
    else:
        stood = value
    if was != now or said != stood:
        raise CanaryError(f"{text.file}: this value cannot be changed by itself; edit the file")


def _taken_out(rules: list[dict[str, object]], place: Place) -> str:
    """The value of a place without blanks; afterwards the rules are those without it."""
    found = next((rule for rule in rules if rule.get("alert") == place.rule), {})
    return "".join(str(found.pop(place.key, "")).split())


# ---------------------------------------------------------------- showing it
def diff(before: str, after: str, file: str) -> str:
    """A unified diff of one file.

    >>> print(diff("a: 1\\nb: 2\\n", "a: 1\\nb: 3\\n", "x.yaml"))
    --- x.yaml
    +++ x.yaml, edited
    @@ -1,2 +1,2 @@
     a: 1
    -b: 2
    +b: 3
    """
    old, new = (text.replace("\r\n", "\n").rstrip("\n").split("\n") for text in (before, after))
    return "\n".join(difflib.unified_diff(old, new, file, f"{file}, edited", n=AROUND, lineterm=""))
