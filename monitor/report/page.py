"""A report as one HTML document: nothing outside it is asked for, and every value is escaped where it is put in.

The only style and the only script are those of this folder, named by their hashes in the document's own content
security policy, so that a text that slipped through could still run nothing.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from monitor.markup import clean
from monitor.report.parts import Report
from monitor.tables import Table

FILES = Path(__file__).parent / "files"
#: the longest text shown anywhere on the page, in characters
LONGEST = 1200


def render(report: Report) -> str:
    """The page. Its size grows with the number of borrowers, about 40 kB each."""
    css, script = _own("page.css"), _own("sort.js")
    return _template().render(report=report, css=css, script=script, policy=policy(), table=table)


@cache
def policy() -> str:
    """The content security policy of the page, as its header and inside it."""
    style, script = (_hash(_own(name)) for name in ("page.css", "sort.js"))
    return f"default-src 'none'; style-src '{style}'; script-src '{script}'; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _own(name: str) -> Markup:
    """A file of this folder, put into the page as it is: it is ours, not anybody's input."""
    return Markup((FILES / name).read_text(encoding="utf-8"))  # noqa: S704


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FILES), autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True
    )


def _template() -> Template:
    return _environment().get_template("page.html")


def table(it: Table, label: str = "") -> Markup:
    """A table with its notes as HTML. Most of a page is tables, and a template takes three times as long for them."""
    parts = [_scrolled(it, label or it.title)] if it.heads and it.rows else []
    for note in it.notes:
        tone = f" {note.tone}" if note.tone not in ("", "dim") else ""
        parts.append(f'<p class="note{tone}">{_text(note.text)}</p>\n')
    return Markup("".join(parts))  # noqa: S704 - every text in it went through _text


def _scrolled(it: Table, label: str) -> str:
    heads = "".join(f'<th scope="col"{_class(head.right, "")}>{_text(head.label)}</th>' for head in it.heads)
    rights = [head.right for head in it.heads]
    rows = "\n".join(
        "<tr>"
        + "".join(f"<td{_class(n, c.tone)}>{_text(c.text)}</td>" for n, c in zip(rights, row, strict=True))
        + "</tr>"
        for row in it.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(label)}">\n'
        f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )


def _class(right: bool, tone: str) -> str:
    names = " ".join(name for name in ("n" if right else "", tone) if name)
    return f' class="{names}"' if names else ""


def _text(value: str) -> str:
    return escape(str(_shown(value)))


def _shown(value: object) -> object:
    """Every text without control or bidirectional characters and not longer than a reader can use."""
    if type(value) is not str or (value.isascii() and value.isprintable() and len(value) <= LONGEST):
        return value
    return clean(value, LONGEST)
