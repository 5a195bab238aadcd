"""Tables, grids, bars and figures as HTML. Every text goes through :func:`text`; what is not text is ours.

These parts stand once for each borrower, and a template takes three times as long to write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape

from markupsafe import Markup

from monitor.markup import clean
from monitor.report.parts import Bars, Dated, Grid
from monitor.tables import Table

#: the longest text shown anywhere on the page, in characters
LONGEST = 1200
#: share of a bar's step that it fills
FILLED = 0.7


def shown(value: object) -> object:
    """Every text without control or bidirectional characters and not longer than a reader can use."""
    if type(value) is not str or (value.isascii() and value.isprintable() and len(value) <= LONGEST):
        return value
    return _cleaned(value)


@lru_cache(4096)
def _cleaned(value: str) -> str:
    return clean(value, LONGEST)


def text(value: str) -> str:
    """A text as a part of a document.

    >>> text("a < b\\x1b")
    'a &lt; b'
    """
    return escape(str(shown(value)))


# ---------------------------------------------------------------- tables
def table(it: Table, label: str = "") -> Markup:
    """A table with its notes."""
    parts = [_scrolled(it, label or it.title)] if it.heads and it.rows else []
    for note in it.notes:
        tone = f" {note.tone}" if note.tone not in ("", "dim") else ""
        parts.append(f'<p class="note{tone}">{text(note.text)}</p>\n')
    return _markup(parts)


def _scrolled(it: Table, label: str) -> str:
    heads = "".join(f'<th scope="col"{_class(head.right, "")}>{text(head.label)}</th>' for head in it.heads)
    rights = [head.right for head in it.heads]
    rows = "\n".join(
        "<tr>"
        + "".join(f"<td{_class(n, c.tone)}>{text(c.text)}</td>" for n, c in zip(rights, row, strict=True))
        + "</tr>"
        for row in it.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(label)}">\n'
        f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )


def _class(right: bool, tone: str) -> str:
    names = " ".join(name for name in ("n" if right else "", tone) if name)
    return f' class="{names}"' if names else ""


def _markup(parts: Iterable[str]) -> Markup:
    return Markup("".join(parts))  # noqa: S704 - every text in it went through text()


# ---------------------------------------------------------------- one borrower
def grid(it: Grid) -> Markup:
    """The rows of a grid, head first."""
    heads = "".join(f'<th scope="col" class="n">{text(name)}</th>' for name in it.x)
    parts = [f"<thead><tr><td></td>{heads}</tr></thead>\n<tbody>"]
    for name, row in zip(it.y, it.rows, strict=True):
        parts.append(f'<tr><th scope="row" class="n">{text(name)}</th>')
        for cell in row:
            edges = (" left" if cell.left else "") + (" top" if cell.top else "") + (" today" if cell.today else "")
            parts.append(f'<td class="{cell.shade}{edges}">{text(cell.text)}</td>')
        parts.append("</tr>\n")
    return _markup([*parts, "</tbody>"])


def bars(it: Bars) -> Markup:
    """The marks of a bar chart in the units of its box, 600 wide."""
    step, parts = 600 / len(it.bars), list[str]()
    for i, bar in enumerate(it.bars):
        left, middle = f"{(i + (1 - FILLED) / 2) * step:.1f}", f"{(i + 0.5) * step:.1f}"
        for top, height, kind in bar.parts:
            place = f'x="{left}" y="{top}" width="{FILLED * step:.1f}" height="{height}"'
            parts.append(f'<rect class="{kind}" {place}/>')
        if bar.parts:
            parts.append(f'<text x="{middle}" y="{bar.parts[-1][0] - 4:.1f}">{text(bar.text)}</text>')
        parts.append(f'<text x="{middle}" y="124">{text(bar.label)}</text>\n')
    return _markup(parts)


def facts(found: Sequence[Dated]) -> Markup:
    """Figures with the document they are from, one item a document."""
    return _markup(
        f"<li>{' · '.join(map(text, one.figures))} ({text(one.when)}: {text(one.source)})</li>\n" for one in found
    )
