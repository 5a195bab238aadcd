"""Strict YAML 1.2 with positions: text -> tree -> checked model, every mistake at once and each with its place.

What YAML 1.1 quietly turns into something else stays text here (``NO``, ``on``, ``12:30``, ``010``); a key written
twice, an alias, an anchor, a tag, a second document or a key nobody knows is refused. The tree is built from parser
events with caps on size, depth and nodes, so a hostile file costs bounded time and memory.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema

from monitor.model import CanaryError, InputError, Problem
from monitor.units import parse_duration_s, parse_quantity

MAX_BYTES = 4_000_000
MAX_DEPTH = 24
MAX_NODES = 400_000
MAX_PROBLEMS = 50

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
#: characters that can hide or reorder text: controls but tab and line ends, zero-width and bidirectional marks
_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Node:
    """One value of the tree and where it stands (lines and columns from 0). ``value`` is a dict, a list or a scalar."""

    value: Any
    line: int
    column: int
    end_line: int
    end_column: int
    #: start and end offset of the value in the text, for edits that change only the value's characters
    start: int = 0
    end: int = 0
    keys: dict[str, Node] = field(default_factory=dict)

    def plain(self) -> Any:
        """The tree as ordinary dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


class Text:
    """One text with its name, able to say where something is wrong with it."""

    def __init__(self, text: str, file: str):
        self.text, self.file = text, file
        self.lines = text.splitlines()

    def problem(self, message: str, fix: str = "", node: Node | None = None) -> Problem:
        """A problem pointing at a node (or at the top of the file)."""
        if node is None:
            return Problem(self.file, 1, 1, 0, message, fix)
        one_line = node.end_line == node.line
        source = self.lines[node.line] if node.line < len(self.lines) else ""
        length = node.end_column - node.column if one_line else len(source.rstrip()) - node.column
        return Problem(self.file, node.line + 1, node.column + 1, max(1, length), message, fix, source)

    def at(self, line: int, column: int, length: int, message: str, fix: str = "") -> Problem:
        """A problem at a place given from 0."""
        source = self.lines[line] if line < len(self.lines) else ""
        return Problem(self.file, line + 1, column + 1, max(1, length), message, fix, source)


def read_file(path: Path, name: str | None = None) -> Text:
    """Read a file a person wrote: UTF-8, capped in size, no hidden characters. Raises InputError, never a traceback."""
    shown = name or str(path)
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        problem = Problem(
            shown, 1, 1, 0, f"cannot be read: {error.strerror}", "check that the file exists and is readable"
        )
        raise InputError([problem]) from None
    if len(data) > MAX_BYTES:
        raise InputError(
            [Problem(shown, 1, 1, 0, f"is larger than {MAX_BYTES // 1_000_000} MB", "split it into several files")]
        )
    try:
        return Text(data.decode("utf-8"), shown)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError([Problem(shown, line, 1, 0, "is not UTF-8 text", "save the file as UTF-8")]) from None


def parse_tree(text: Text) -> Node:
    """Read one strict YAML document into a tree. Raises InputError.

    >>> parse_tree(Text("a: NO\\nb: [1, 2.5, 12:30]\\n", "x.yaml")).plain()
    {'a': 'NO', 'b': [1, 2.5, '12:30']}
    """
    hidden = _HIDDEN.search(text.text)
    if hidden:
        line = text.text.count("\n", 0, hidden.start())
        column = hidden.start() - (text.text.rfind("\n", 0, hidden.start()) + 1)
        code = f"U+{ord(hidden.group()):04X}"
        raise InputError(
            [text.at(line, column, 1, f"hidden character {code}", "delete it: it can make text read as something else")]
        )
    try:
        builder = _Builder(text)
        for event in yaml.parse(text.text, Loader=Loader):
            builder.take(event)
    except yaml.YAMLError as error:
        raise InputError([_syntax_problem(text, error)]) from None
    if builder.problems:
        raise InputError(builder.problems)
    if builder.root is None:
        raise InputError([text.problem("is empty", "see the manual for the fields, or delete the file")])
    return builder.root


def _syntax_problem(text: Text, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    message = str(getattr(error, "problem", None) or error).split("\n")[0]
    if mark is None:
        return text.problem(f"not readable as YAML: {message}")
    line = text.lines[mark.line] if mark.line < len(text.lines) else ""
    if "\t" in line[: mark.column + 1]:
        at = line.index("\t")
        return text.at(mark.line, at, 1, "a tab is used for indentation", "indent with spaces")
    fix = (
        "put quotes around a value that holds ': ' or starts with one of []{}*&!%@`"
        if "mapping values" in message
        else ""
    )
    return text.at(mark.line, mark.column, 1, f"not readable as YAML: {message}", fix)


class _Builder:
    """Builds the tree from parser events without recursion; collects what strictness forbids."""

    def __init__(self, text: Text):
        self.text, self.problems = text, list[Problem]()
        self.root: Node | None = None
        self.stack: list[Node] = []
        self.pending: list[Node | None] = []
        self.nodes = self.documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._refuse(
                    event, "a second document starts here", "one document per file: delete the '---' and what follows"
                )
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"alias *{event.anchor} is not allowed", "write the value out")
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self.stack.pop()
            self.pending.pop()
            end: Any = event.end_mark
            done.end_line, done.end_column, done.end = end.line, end.column, end.index

    def _refuse(self, event: Any, message: str, fix: str) -> None:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else 1
        raise InputError([*self.problems, self.text.at(start.line, start.column, length, message, fix)])

    def _node(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(self.stack) >= MAX_DEPTH:
            what = (
                f"more than {MAX_NODES:,} values"
                if self.nodes > MAX_NODES
                else f"nested deeper than {MAX_DEPTH} levels"
            )
            self._refuse(event, what, "split the file or make it flatter")
        if event.anchor:
            self._refuse(event, f"anchor &{event.anchor} is not allowed", "write the value out where it is used")
        if event.tag and event.tag not in ("!", "tag:yaml.org,2002:str"):
            self._refuse(event, f"tag {event.tag!r} is not allowed", "write the plain value")
        start: Any = event.start_mark
        end: Any = event.end_mark
        node = Node(None, start.line, start.column, end.line, end.column, start.index, end.index)
        if isinstance(event, yaml.ScalarEvent):
            node.value = event.value if (event.style or event.tag == "!") else _scalar(event.value)
            self._add(node, event)
            return
        node.value = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._add(node, event)
        self.stack.append(node)
        self.pending.append(None)

    def _add(self, node: Node, event: Any) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif (key_node := self.pending[-1]) is None:
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, "a key must be a word", "write 'name: value'")
            node.value = event.value
            if event.value in parent.value:
                first = parent.keys[event.value].line + 1
                self.problems.append(
                    self.text.problem(f"key {event.value!r} is written twice (first on line {first})", "keep one", node)
                )
            self.pending[-1] = node
        else:
            parent.value[key_node.value] = node
            parent.keys[key_node.value] = key_node
            self.pending[-1] = None


def _scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema: null, true/false, numbers; anything else stays text."""
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if len(text) <= 40:
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


# ---------------------------------------------------------------- from tree to checked model
def _quantity(value: Any) -> Any:
    if isinstance(value, str):
        return parse_quantity(value)[0]
    if isinstance(value, bool):
        raise ValueError("true/false is not a number")
    return value


def _duration(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0:
        raise ValueError(f"{value} has no unit; write for example 15m, 4h or 7d")
    return parse_duration_s(str(value)) if not isinstance(value, bool) else value


#: a number that may be written with a unit (``1.5bn``, ``25%``, ``300bp``); always finite
Quantity = Annotated[float, BeforeValidator(_quantity)]
#: seconds, written as ``15m``, ``4h``, ``7d`` or ``0``
Duration = Annotated[
    float, BeforeValidator(_duration), WithJsonSchema({"type": ["string", "number"], "format": "span"})
]


class Strict(BaseModel):
    """Base of everything a person writes: unknown keys refused, values not bent into other types, nothing mutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_max_length=20_000)


ModelT = TypeVar("ModelT", bound=BaseModel)


def check(model: type[ModelT], tree: Node, text: Text) -> ModelT:
    """Check a tree against a pydantic model. Raises InputError with every problem and its place."""
    try:
        return model.model_validate(tree.plain())
    except ValidationError as error:
        problems = [_explain(model, tree, text, dict(item)) for item in error.errors(include_url=False)[:MAX_PROBLEMS]]
        raise InputError(sorted(problems, key=lambda p: (p.line, p.column))) from None


def parse(model: type[ModelT], text: Text) -> ModelT:
    """Read and check one document; :func:`parse_tree` then :func:`check`."""
    return check(model, parse_tree(text), text)


def find(tree: Node, path: tuple[str | int, ...]) -> Node:
    """The node at a path, or the deepest one that exists along it."""
    node = tree
    for step in path:
        value = node.value
        if isinstance(value, dict) and isinstance(step, str) and step in value:
            node = value[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            node = value[step]
    return node


_MESSAGES = {
    "missing": "{name} is missing",
    "extra_forbidden": "unknown key {name}",
    "string_type": "must be text",
    "dict_type": "must be a set of 'name: value' lines",
    "model_type": "must be a set of 'name: value' lines",
    "model_attributes_type": "must be a set of 'name: value' lines",
    "list_type": "must be a list: lines that start with '- '",
    "tuple_type": "must be a list: lines that start with '- '",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}


def _explain(model: type[BaseModel], tree: Node, text: Text, item: dict[str, Any]) -> Problem:
    kind, loc = str(item["type"]), tuple(item["loc"])
    name = repr(str(loc[-1])) if loc else "value"
    node = find(tree, loc)
    message = _MESSAGES.get(kind, "").format(name=name) or str(item["msg"]).removeprefix("Value error, ")
    fix = ""
    if kind == "extra_forbidden":
        parent = find(tree, loc[:-1])
        node = parent.keys.get(str(loc[-1]), node)
        fix = suggest(str(loc[-1]), _fields(model, loc[:-1]))
    elif kind == "missing":
        node = find(tree, loc[:-1])
        fix = f"add '{loc[-1]}: ...'"
        node = Node(None, node.line, node.column, node.line, node.column + 1)
    elif kind == "literal_error":
        expected = str(item.get("ctx", {}).get("expected", ""))
        message = f"{item['input']!r} is not one of {expected}"
        fix = suggest(str(item["input"]), re.findall(r"'([^']+)'", expected))
    elif not message.startswith(("must", "unknown")):
        message = f"{name}: {message[0].lower() + message[1:]}"
    return text.problem(message, fix, node)


def point_at(text: Text, word: str, message: str, fix: str = "") -> Problem:
    """A problem at the first place a word stands in a text, for mistakes found long after the text was read."""
    for number, line in enumerate(text.lines):
        if word in line:
            return text.at(number, line.index(word), len(word), message, fix)
    return text.problem(message, fix)


def suggest(word: str, known: list[str]) -> str:
    """What was probably meant, or what there is to choose from.

    >>> suggest("debt_us", ["debt_usd", "btc_free"]), suggest("x", ["b", "a"])
    ("did you mean 'debt_usd'?", 'known here: a, b')
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(sorted(known))}" if known else ""


def _fields(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Names a mapping at this path may hold, as far as the model says."""
    current: list[type[BaseModel]] = [model]
    for step in path:
        if isinstance(step, int):
            continue
        found = [m.model_fields[step].annotation for m in current if step in m.model_fields]
        nested = [inner for annotation in found for inner in _models_in(annotation)]
        current = nested or current
    return sorted({name for m in current for name in m.model_fields})


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


def collect(problems: list[Problem], error: CanaryError) -> None:
    """Add an error's problems to a growing list; anything else goes on up."""
    if not isinstance(error, InputError):
        raise error
    problems.extend(error.problems)
