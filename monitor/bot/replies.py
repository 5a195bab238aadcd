"""An answer as Telegram HTML: parts of at most 4,096 UTF-16 units, cut between rows, every value escaped. Pure.

The same writing as an alert message (:mod:`monitor.markup`); besides, a block to copy from, and commands that may be
tapped where every word is Canary's own.
"""

from __future__ import annotations

import re
from datetime import datetime
from html import escape, unescape

from monitor.bot.nouns import Answer
from monitor.markup import TELEGRAM_UNITS, clean, html, utf16_units
from monitor.model import CanaryError, InputError, Line, Message

#: a title below a picture; Telegram takes 1,024 UTF-16 units
MAX_CAPTION = 180
MAX_CODE, MAX_CODE_LINE = 20, 120
MAX_PROBLEMS = 8
_JOINED = "/\u2060"
#: commands that take nothing and only read may be tapped wherever they stand; any other only where every word is ours
READS = ("status", "canary", "alerts", "digest", "rules", "feeds", "silence", "whoami", "help")
_READS = re.compile(rf"/\u2060(?=(?:{'|'.join(READS)})\b)")


def parts_of(answer: Answer, now: datetime) -> list[str]:
    """The texts of one answer, in order.

    >>> at = datetime(2026, 11, 1)
    >>> parts_of(Answer("Ada & Co", (Line("rule", "a < b"),)), at)
    ['<b>Ada &amp; Co</b>\\n<b>rule</b>  a &lt; b']
    >>> parts_of(Answer("You", code="chats: [42]"), at)
    ['<b>You</b>\\n<pre>chats: [42]</pre>']
    """
    message = Message("", "", "", "", "notice", "info", clean(answer.title) or "?", answer.lines, now)
    parts = [part.rstrip("\n") for part in html(message)]
    parts = [part.replace(_JOINED, "/") if answer.own else _READS.sub("/", part) for part in parts]
    if answer.code:
        block = f"<pre>{_code(answer.code)}</pre>"
        fits = utf16_units(parts[-1]) + utf16_units(block) < TELEGRAM_UNITS
        parts = [*parts[:-1], f"{parts[-1]}\n{block}"] if fits else [*parts, block]
    return parts


def caption_of(answer: Answer) -> str:
    """What stands below the picture of an answer, without markup.

    >>> caption_of(Answer("What breaks MARA"))
    'What breaks MARA'
    """
    return clean(answer.title, MAX_CAPTION)


def plain_of(part: str) -> str:
    """A part without its markup, for when Telegram refused it.

    >>> plain_of("<b>You</b>\\n<pre>a &lt; b</pre>")
    'You\\na < b'
    """
    for tag in ("b", "pre"):
        part = part.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    return unescape(part)


def _code(text: str) -> str:
    """Lines to copy: indentation is kept, nothing else of what could be more than text."""
    lines = []
    for line in text.split("\n")[:MAX_CODE]:
        bare = line.lstrip(" ")
        lines.append(" " * min(len(line) - len(bare), 20) + clean(bare, MAX_CODE_LINE))
    return escape("\n".join(lines), quote=False)


def refused(error: CanaryError) -> Answer:
    """An error as an answer: what is wrong and what to write instead."""
    if isinstance(error, InputError):
        lines = [Line("", str(problem)) for problem in error.problems[:MAX_PROBLEMS]]
        return Answer("the files cannot be read as they are now", tuple(lines))
    first, *rest = str(error).split("\n")
    if len(first) <= MAX_CAPTION and not rest:
        return Answer(first)
    return Answer("that cannot be done", tuple(Line("", text) for text in (first, *rest[:MAX_PROBLEMS])))
