"""The text of a rule expression, read before anything is parsed: caps, refused characters, tokens and their order.

Numbers with units (``30d``, ``25%``, ``1.5bn``) are replaced by zeros of the same length, so that a position in the
rewritten text is the same position in what the person wrote; the numbers themselves stand in a table by position.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from monitor.units import SUFFIXES, parse_quantity

MAX_CHARACTERS = 2_000
MAX_DEPTH = 20
MAX_NODES = 200
MAX_PROBLEMS = 10


class Flaw(NamedTuple):
    """One mistake inside an expression; ``offset`` counts characters from 0 in the text as written."""

    offset: int
    length: int
    message: str
    fix: str = ""


class ExpressionError(ValueError):
    """An expression cannot be used; ``flaws`` holds every mistake that could be told apart."""

    def __init__(self, flaws: list[Flaw]):
        self.flaws = sorted(flaws)[:MAX_PROBLEMS]
        super().__init__("; ".join(flaw.message for flaw in self.flaws))


class Literal(NamedTuple):
    """A number as written: the digits as a float, and the unit behind them (may be empty)."""

    number: float
    suffix: str
    raw: str


class Parsed(NamedTuple):
    """An expression as a tree, and its numbers by offset. Tree offsets are text offsets plus one (an outer bracket)."""

    tree: ast.expr
    literals: Mapping[int, Literal]
    #: the words one after the other, one space between: equal for texts that differ in blanks only
    normal: str


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<number>(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[A-Za-z0-9_.%]*)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<text>"[^"\n]*"|'[^'\n]*')
    |(?P<bad>\*\*|//|:=|<>|=<|=>|&&|\|\|)
    |(?P<op><=|>=|==|!=|[-+*/<>(),])
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_REFUSED = {
    "**": ("powers are not part of the language", "write x * x"),
    "//": ("'//' is not part of the language", "write /"),
    ":=": ("nothing can be assigned in an expression", "write == to compare"),
    "<>": ("'<>' is not a comparison", "write !="),
    "=<": ("'=<' is not a comparison", "write <="),
    "=>": ("'=>' is not a comparison", "write >="),
    "&&": ("'&&' is not part of the language", "write and"),
    "||": ("'||' is not part of the language", "write or"),
    "=": ("'=' is not a comparison", "write == to compare"),
    "&": ("'&' is not part of the language", "write and"),
    "|": ("'|' is not part of the language", "write or"),
    "!": ("'!' is not part of the language", "write not, or != to compare"),
    "%": ("'%' must stand directly behind its number", "write 25%"),
    ".": ("nothing has attributes here", "write a metric name, or a number with a digit before the point"),
    "[": ("nothing can be picked out with '['", "name the metric itself"),
    "{": ("'{' is not part of an expression", "placeholders belong in the texts, not in expr"),
    "≤": ("'≤' is not part of the language", "write <="),
    "≥": ("'≥' is not part of the language", "write >="),
    "≠": ("'≠' is not part of the language", "write !="),
    "×": ("'×' is not part of the language", "write *"),
}
_KEYWORDS = frozenset(keyword.kwlist) - {"and", "or", "not"}
_KEYWORD_FIX = {
    "is": "write == to compare",
    "True": "write a comparison, such as 1 > 0",
    "False": "write a comparison, such as 1 < 0",
    "None": "write not known(x) to ask whether something is missing",
}
_COMPARISONS = frozenset(("<", ">", "<=", ">=", "==", "!="))
_BINARY = _COMPARISONS | {"+", "-", "*", "/", "and", "or"}


def parse_expression(text: str) -> Parsed:
    """Read an expression into a Python syntax tree that holds nothing but operators, names, calls, numbers and texts.

    Bounded whatever the text: size, nesting and number of parts are checked before the parser sees it.
    Raises ExpressionError.

    >>> parsed = parse_expression("change(btc_usd, 7d) < -25%")
    >>> parsed.normal, sorted(literal.raw for literal in parsed.literals.values())
    ('change ( btc_usd , 7d ) < - 25%', ['25%', '7d'])
    >>> parse_expression("btc_usd.real > 2 ** 9")
    Traceback (most recent call last):
    ...
    monitor.exprtext.ExpressionError: nothing has attributes here; powers are not part of the language
    """
    _check_size(text)
    tokens = list(_tokens(text))
    literals = _read(tokens, text)
    _check_order(tokens, text)
    rewritten = list(text)
    for token in tokens:
        if token.kind == "number":
            rewritten[token.offset : token.offset + len(token.text)] = "0" * len(token.text)
    one_line = re.sub(r"\s", " ", "".join(rewritten))
    try:
        tree = ast.parse(f"({one_line})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        offset = max(0, (getattr(error, "offset", None) or 2) - 2)
        raise ExpressionError([Flaw(min(offset, len(text)), 1, "this does not read as an expression")]) from None
    return Parsed(tree, literals, " ".join(token.text for token in tokens))


def _check_size(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        message = f"an expression has at most {MAX_CHARACTERS:,} characters, this one has {len(text):,}"
        raise ExpressionError([Flaw(0, 1, message, "split it into several rules")])
    if not text.strip():
        raise ExpressionError([Flaw(0, 1, "the expression is empty", "write a condition, such as ltv_economic > 90%")])
    hidden = [
        Flaw(match.start(), 1, f"hidden character U+{ord(match.group()):04X}", "delete it: it can hide what is meant")
        for match in _HIDDEN.finditer(text)
    ]
    if hidden:
        raise ExpressionError(hidden)


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "space":
            yield _Token("bad" if kind == "other" else kind, match.group(), match.start())


def _read(tokens: list[_Token], text: str) -> dict[int, Literal]:
    """Check every token by itself and read the numbers; raises with all bad ones."""
    literals, flaws = dict[int, Literal](), list[Flaw]()
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.kind == "number":
            try:
                literals[token.offset] = _literal(token.text)
            except ValueError as error:
                flaws.append(Flaw(token.offset, len(token.text), str(error)))
        elif token.kind == "bad":
            flaws.append(_refuse(token))
        elif token.kind == "name" and token.text in _KEYWORDS:
            message = f"'{token.text}' is not part of the language"
            flaws.append(
                Flaw(
                    token.offset,
                    len(token.text),
                    message,
                    _KEYWORD_FIX.get(token.text, "conditions are joined with and, or, not"),
                )
            )
        elif token.kind == "text":
            touching = before and before.kind == "name" and before.offset + len(before.text) == token.offset
            if touching or "\\" in token.text or not token.text.isascii():
                message = "a text is plain letters in quotes, without a prefix or a backslash"
                flaws.append(Flaw(token.offset, len(token.text), message))
    if flaws:
        raise ExpressionError(flaws)
    return literals


def _refuse(token: _Token) -> Flaw:
    if token.text in ("'", '"'):
        return Flaw(token.offset, 1, "the quote is not closed", f"close it with {token.text}")
    shown = token.text if token.text.isprintable() else f"U+{ord(token.text[0]):04X}"
    message, fix = _REFUSED.get(token.text, (f"{shown!r} is not part of the language", ""))
    return Flaw(token.offset, len(token.text), message, fix)


def _literal(raw: str) -> Literal:
    parse_quantity(raw)
    digits = raw.rstrip("%abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    suffix = raw[len(digits) :]
    return Literal(float(digits.replace("_", "")), suffix if suffix in SUFFIXES else suffix.lower(), raw)


def _check_order(tokens: list[_Token], text: str) -> None:
    """Values and operators must alternate and brackets must close; raises at the first place where they do not."""
    if sum(token.text not in "()," for token in tokens) > MAX_NODES:
        message = f"an expression has at most {MAX_NODES} names, numbers and operators"
        raise ExpressionError([Flaw(0, 1, message, "split it into several rules")])
    #: open brackets: (token, whether it holds the arguments of a word)
    stack: list[tuple[_Token, bool]] = []
    want_value, prefixes = True, 0
    before: _Token | None = None
    for token in tokens:
        flaw = _misplaced(token, before, want_value, stack)
        if flaw:
            raise ExpressionError([flaw])
        prefixes = prefixes + 1 if want_value and token.text in ("-", "+", "not") else 0
        if token.text == "(":
            stack.append((token, not want_value))
            want_value = True
        elif token.text == ")":
            stack.pop()
            want_value = False
        elif want_value:
            want_value = token.text in ("-", "+", "not")
        else:
            want_value = True
        if len(stack) + prefixes > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise ExpressionError([Flaw(token.offset, 1, message, "split it into several rules")])
        before = token
    if stack:
        raise ExpressionError([Flaw(stack[-1][0].offset, 1, "this bracket is not closed", "add ')'")])
    if want_value:
        raise ExpressionError(
            [Flaw(len(text.rstrip()), 1, "a value is missing at the end", "add a metric or a number")]
        )


def _misplaced(token: _Token, before: _Token | None, want_value: bool, stack: list[tuple[_Token, bool]]) -> Flaw | None:
    text, size = token.text, len(token.text)
    if want_value:
        if text == "not" and before and before.text in _BINARY - {"and", "or"}:
            return Flaw(
                token.offset, 3, f"'not' cannot stand behind '{before.text}'", "put it in front of the comparison"
            )
        if text == ")" and before and before.text == "(" and stack and stack[-1][1]:
            return None
        if text in _BINARY - {"-", "+"} or text in (")", ","):
            return Flaw(token.offset, size, f"a value is missing before '{text}'", "add a metric or a number")
        return None
    if text in _BINARY:
        return None
    if text == ")":
        return None if stack else Flaw(token.offset, 1, "this bracket closes nothing", "delete it or add '('")
    if text == ",":
        inside = bool(stack) and stack[-1][1]
        return None if inside else Flaw(token.offset, 1, "a comma stands only between the arguments of a word")
    if text == "(" and before and before.kind == "name" and before.text not in ("and", "or", "not"):
        return None
    fix = f"write {text.lower()}" if text.lower() in ("and", "or") else "write and, or, a comparison or + - * / between"
    if before and before.kind == "number" and token.kind == "name" and text.lower() in SUFFIXES:
        fix = f"write {before.text}{text} without a space"
    return Flaw(token.offset, size, f"an operator is missing before '{text}'", fix)
