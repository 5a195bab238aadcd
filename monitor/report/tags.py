"""Tables, grids, bars and figures as HTML. Every text goes through :func:`text`; what is not text is ours.

These parts stand once for each borrower: a template takes three times as long to write them, and a browser's time goes
with the number of elements and texts, so that nothing is put between two elements and marks of one colour are one path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from markupsafe import Markup

from monitor.markup import clean
from monitor.report.parts import Bars, Dated, Grid, History, Row
from monitor.tables import Table

#: the longest text shown anywhere on the page, in characters
LONGEST = 1200
#: share of a bar's step that it fills
FILLED = 0.7
#: nearly every text: Latin letters, digits, marks and arrows that are neither controls nor combine with others, and of
#: those what needs no escape either
_HARMLESS = re.compile(f"[ -~\u00a1-\u00ac\u00ae-\u02ff\u2010-\u2027\u2030-\u205e\u2190-\u23ff]{{0,{LONGEST}}}")
_PLAIN = re.compile(f"[ !#-%(-;=?-~\u00a1-\u00ac\u00ae-\u02ff\u2010-\u2027\u2030-\u205e\u2190-\u23ff]{{0,{LONGEST}}}")


def shown(value: object) -> object:
    """Every text without control or bidirectional characters and not longer than a reader can use."""
    if type(value) is not str or _HARMLESS.fullmatch(value):
        return value
    return clean(value, LONGEST)


def text(value: str) -> str:
    """A text as a part of a document.

    >>> text("a < b\\x1b")
    'a &lt; b'
    """
    return value if _PLAIN.fullmatch(value) else escape(str(shown(value)))


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
    rows = "".join(
        "<tr>"
        + "".join(f"<td{_class(n, c.tone)}>{text(c.text)}</td>" for n, c in zip(rights, row, strict=True))
        + "</tr>"
        for row in it.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(label)}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>\n"
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
    parts = [f"<thead><tr><td></td>{heads}</tr></thead><tbody>"]
    for name, row in zip(it.y, it.rows, strict=True):
        parts.append(f'<tr><th scope="row" class="n">{text(name)}</th>')
        for cell in row:
            edges = (" left" if cell.left else "") + (" top" if cell.top else "") + (" today" if cell.today else "")
            parts.append(f'<td class="{cell.shade}{edges}">{text(cell.text)}</td>')
        parts.append("</tr>")
    return _markup([*parts, "</tbody>"])


# ---------------------------------------------------------------- drawings
class Shared:
    """Marks that many drawings have in common, such as an axis: written once, used by reference."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def use(self, marks: str) -> str:
        """A reference to these marks."""
        id_ = self._ids.setdefault(marks, f"g{len(self._ids)}")
        return f'<use href="#{id_}"/>'

    def marks(self) -> Markup:
        """All marks that were referred to, for a drawing that is not shown itself."""
        return _markup(f'<g id="{id_}">{marks}</g>' for marks, id_ in self._ids.items())

    def bars(self, it: Bars) -> Markup:
        """The marks of a bar chart in the units of its box, 600 wide: one path a colour, the axis shared."""
        step = 600 / len(it.bars)
        paths, values, labels = dict[str, list[str]](), list[str](), list[str]()
        for i, bar in enumerate(it.bars):
            left, middle = f"{(i + (1 - FILLED) / 2) * step:.0f}", f"{(i + 0.5) * step:.0f}"
            for top, height, kind in bar.parts:
                paths.setdefault(kind, []).append(f"M{left} {top:.1f}h{FILLED * step:.0f}v{height:.1f}H{left}z")
            if bar.parts:
                values.append(f'<text x="{middle}" y="{bar.parts[-1][0] - 4:.0f}">{text(bar.text)}</text>')
            labels.append(f'<text x="{middle}" y="124">{text(bar.label)}</text>')
        drawn = (f'<path class="{kind}" d="{"".join(marks)}"/>' for kind, marks in paths.items())
        return _markup([*drawn, *values, self.use('<path class="axis" d="M0 110H600"/>' + "".join(labels))])

    def history(self, it: History) -> Markup:
        """The marks of ninety days, 600 wide: the axes shared, then the curves, then what happened."""
        lines = "".join(f"M0 {_at(tick.at)}H600" for tick in it.y)
        levels = (f'<text class="right" x="-5" y="{_at(tick.at + 3)}">{text(tick.text)}</text>' for tick in it.y)
        ends = {0: ' class="left"', len(it.x) - 1: ' class="right"'}
        days = (
            f'<text{ends.get(i, "")} x="{_at(tick.at)}" y="134">{text(tick.text)}</text>' for i, tick in enumerate(it.x)
        )
        limit = f'<path class="limit" d="M0 {_at(it.line)}H600"/>'
        parts = [self.use("".join((f'<path class="axis" d="{lines}"/>', *levels, *days, limit)))]
        parts += [f'<path class="c{i}" d="{"".join(one.strokes)}"/>' for i, one in enumerate(it.curves) if one.strokes]
        parts += [f'<path class="m-{text(mark.tone)}" d="M{_at(mark.at - 4)} -10h8l-4 8z"/>' for mark in it.events]
        return _markup(parts)


def _at(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")


# ---------------------------------------------------------------- the main table
def row(it: Row) -> Markup:
    """A borrower of the sortable table: its name, what stands, its kind, then the numbers."""
    cells = [f'<tr><th scope="row"><a href="#b-{text(it.id)}">{text(it.name)}</a></th>']
    cells.append(f"<td{_class(False, it.tone)}>{text(it.alerts)}</td><td>{text(it.kind)}</td>")
    for fig in it.figures:
        order = "" if fig.sort is None else f' data-sort="{fig.sort:.6g}"'
        why = f' title="{text(fig.why)}"' if fig.why else ""
        said = text(fig.text).replace(" (", "\n(").replace(", ", ",\n")  # a range stands below its number
        cells.append(f"<td{_class(False, fig.tone)}{order}{why}>{said}</td>")
    return _markup([*cells, "</tr>"])


def facts(found: Sequence[Dated]) -> Markup:
    """Figures with the document they are from, one item a document."""
    return _markup(
        f"<li>{' · '.join(map(text, one.figures))} ({text(one.when)}: {text(one.source)})</li>" for one in found
    )
