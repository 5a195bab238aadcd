"""Tables: plain data that a terminal and a chat message can both be made from.

Building one needs nothing but text; rich is imported only when one is printed. Every number is turned into text
here, so that one value looks the same everywhere: unknown is ``?``, what does not apply is ``-``.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from monitor.markup import clean
from monitor.units import format_age, format_usd, format_value

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

Tone = Literal["", "info", "warning", "critical", "good", "dim"]
STYLES: dict[str, str] = {
    "": "",
    "info": "cyan",
    "warning": "yellow",
    "critical": "bold red",
    "good": "green",
    "dim": "dim",
}
UNKNOWN, NOT_APPLICABLE = "?", "-"
#: a first column of texts no longer than this is never broken
LONGEST_NAME = 30
#: what a column costs beyond its text: a blank on both sides and the divider
GAP = 3
#: width of a page when the output is no terminal
PLAIN_WIDTH = 170


@dataclass(frozen=True, slots=True)
class Cell:
    """One text of a table and how loud it is."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Head:
    """One column: its label, whether it holds numbers, and how early it may go on a narrow screen (0: never)."""

    label: str
    right: bool = False
    expendable: int = 0


@dataclass(frozen=True)
class Table:
    """A title, columns, rows of the same length, and notes below. ``banner`` is said before anything else."""

    title: str
    heads: tuple[Head, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    notes: tuple[Cell, ...] = ()
    banner: str = ""


# ---------------------------------------------------------------- numbers as text
def show(value: float | None, unit: str) -> str:
    """A number as a cell holds it, where the column head says the unit; unknown is ``?``.

    >>> show(35.551e9, "usd"), show(1.2041, "x"), show(0.352, "ratio"), show(None, "usd"), show(86400 * 103, "s")
    ('35.55bn', '1.20x', '35.2%', '?', '103 d')
    >>> show(30.92, "x"), show(589.79, "x"), show(float("inf"), "x")
    ('30.9x', '590x', 'unlimited')
    >>> show(float("inf"), "months"), show(14.26, "months"), show(float("nan"), "x")
    ('unlimited', '14.3', '?')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if unit == "usd":
        return format_usd(value)
    if unit == "s":
        return format_age(value)
    if unit == "x" and 10 <= abs(value) < math.inf:  # a cover of 589.79 is no more exact than one of 590
        return f"{value:,.1f}x" if abs(value) < 100 else f"{value:,.0f}x"
    if unit == "months" and math.isfinite(value):
        return f"{value:,.1f}"
    if unit in ("number", "count") and math.isfinite(value):
        return f"{value:,.0f}"
    return format_value(value, unit)


# ---------------------------------------------------------------- on screen
def terminal(file: object = None, plain: bool = False) -> Console:
    """The screen to print on: its own width and colours; into a file, a plain page as wide as COLUMNS says or 170."""
    from rich.console import Console

    stream = file if file is not None else sys.stdout
    is_terminal = bool(getattr(stream, "isatty", lambda: False)())
    wished = os.environ.get("COLUMNS", "")
    width = None if is_terminal else int(wished) if wished.isdigit() else PLAIN_WIDTH
    colours: Literal["auto"] | None = None if plain else "auto"
    return Console(file=stream, width=width, color_system=colours, highlight=False)  # type: ignore[arg-type]


def print_table(table: Table, console: Console) -> None:
    """Print a table; on a narrow screen the most expendable columns go first, and a note says which."""
    from rich.text import Text

    if table.banner:
        console.print(Text(clean(table.banner), style="bold black on yellow"))
    heads, rows, dropped = fit(table, console.width)
    if heads:
        console.print(_rich_table(table.title, heads, rows))
    elif table.title:
        console.print(Text(clean(table.title), style="bold"))
    if dropped:
        names = ", ".join(head.label.replace("\n", " ") for head in dropped)
        console.print(Text(f"left out on this narrow screen: {names}", style="dim"))
    for note in table.notes:
        console.print(Text(clean(note.text), style=STYLES[note.tone]))


def _rich_table(title: str, heads: Sequence[Head], rows: Sequence[Sequence[Cell]]) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(
        title=Text(clean(title), style="bold") if title else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        show_edge=False,
    )
    for i, head in enumerate(heads):
        # names stay whole where they are names; the columns beside them give way first
        named = i == 0 and all(len(row[0].text) <= LONGEST_NAME for row in rows)
        table.add_column(Text(head.label), justify="right" if head.right else "left", overflow="fold", no_wrap=named)
    for row in rows:
        table.add_row(*(Text(clean(cell.text), style=STYLES[cell.tone]) for cell in row))
    return table


def fit(table: Table, width: int) -> tuple[list[Head], list[list[Cell]], list[Head]]:
    """The columns that fit into a width, their rows, and the columns left out; the least expendable are placed first.

    >>> wide = Table("", (Head("a"), Head("b", expendable=1), Head("c", expendable=2)), ((Cell("x" * 9),) * 3,))
    >>> [[head.label for head in part] for part in (fit(wide, 24)[0], fit(wide, 24)[2])]
    [['a', 'b'], ['c']]
    """
    needs = [
        GAP + max([*(len(word) for word in head.label.split("\n")), *(len(row[i].text) for row in table.rows)])
        for i, head in enumerate(table.heads)
    ]
    order = sorted(range(len(needs)), key=lambda i: table.heads[i].expendable)
    keep: set[int] = set()
    for i in order:
        if not table.heads[i].expendable or sum(needs[j] for j in keep) + needs[i] <= width:
            keep.add(i)
    heads = [head for i, head in enumerate(table.heads) if i in keep]
    rows = [[cell for i, cell in enumerate(row) if i in keep] for row in table.rows]
    return heads, rows, [table.heads[i] for i in order if i not in keep]


def as_text(table: Table) -> str:
    """A table as plain monospaced text, for a chat message or a log.

    >>> print(as_text(Table("Two", (Head("name"), Head("debt", right=True)), ((Cell("a"), Cell("1bn")),))))
    Two
    name  debt
    a      1bn
    """
    labels = [head.label.replace("\n", " ") for head in table.heads]
    widths = [max([len(label), *(len(row[i].text) for row in table.rows)]) for i, label in enumerate(labels)]
    body = [[Cell(label) for label in labels], *table.rows] if labels else []
    lines = [
        "  ".join(
            clean(cell.text).rjust(width) if head.right else clean(cell.text).ljust(width)
            for cell, width, head in zip(row, widths, table.heads, strict=True)
        ).rstrip()
        for row in body
    ]
    parts = [table.banner, table.title, *lines, *(clean(note.text) for note in table.notes)]
    return "\n".join(part for part in parts if part)
