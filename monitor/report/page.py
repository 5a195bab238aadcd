"""A report as one HTML document: nothing outside it is asked for, and every value is escaped where it is put in.

The only style and the only script are those of this folder, named by their hashes in the document's own content
security policy, so that a text that slipped through could still run nothing.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from monitor.report import tags
from monitor.report.parts import Report

FILES = Path(__file__).parent / "files"


def render(report: Report) -> str:
    """The page. Its size grows with the number of borrowers, some 14 kB each."""
    css, script = _own("page.css"), _own("sort.js")
    return _template().render(report=report, css=css, script=script, policy=policy(), tags=tags, shared=tags.Shared())


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
        loader=FileSystemLoader(FILES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=tags.shown,
        trim_blocks=True,
    )


def _template() -> Template:
    return _environment().get_template("page.html")
