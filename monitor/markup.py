"""A message as text within a channel's limits: plain lines for a terminal, HTML parts for Telegram. Pure.

Every value in a message is hostile until it went through :func:`clean` (a borrower's name, a source, an error text):
control and bidirectional characters are gone, line breaks cannot forge a line, and no text is longer than its cap.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape, unescape

from monitor.model import Line, Message

#: the longest text Telegram takes, in UTF-16 code units
TELEGRAM_UNITS = 4096
#: caps in characters. One title and one row together stay under TELEGRAM_UNITS even if every character needs the
#: longest escape (five units for "&amp;"), so that a row is never cut inside a tag or an escape.
TITLE_CHARACTERS, LABEL_CHARACTERS, ROW_CHARACTERS, TEXT_CHARACTERS = 200, 20, 480, 2400
#: more rows than this say nothing on a telephone
MAX_ROWS = 160
#: columns of the margin that holds the labels
MARGIN = 12

_MENTION = re.compile(r"@(?=\w)|(?<=tg:)(?=//)", re.IGNORECASE)
_COMMAND = re.compile(r"(?<!\S)/(?=\w)")
#: joins two characters without being seen: "@name" stays readable and is no longer a mention
_JOINER = "\u2060"


def clean(text: str, limit: int = TEXT_CHARACTERS) -> str:
    """A text made safe to show: one line, no control, bidirectional, private or unpaired characters, at most ``limit``.

    >>> clean("Core\\u202eWeave\\x1b[31m\\n  Inc.")
    'CoreWeave[31m Inc.'
    >>> clean("abcdef", limit=4)
    'abc…'
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:  # most texts by far
        return " ".join(text.split())
    kept: list[str] = []
    marks = 0
    for character in text[: limit * 4]:
        category = unicodedata.category(character)
        if category[0] != "C":  # what is left out does not part the marks around it
            marks = marks + 1 if category in ("Mn", "Me") else 0
        if character.isspace() or category in ("Zl", "Zp"):
            kept.append(" ")
        elif category[0] != "C" and marks <= 2:
            kept.append(character)
    shown = " ".join("".join(kept).split())
    if len(shown) > limit or len(text) > limit * 4:
        return shown[: limit - 1].rstrip() + "…"
    return shown


def utf16_units(text: str) -> int:
    """Length as Telegram counts it: characters beyond the first plane count twice.

    >>> utf16_units("abc"), utf16_units("🐤")
    (3, 2)
    """
    return len(text) + sum(1 for character in text if ord(character) > 0xFFFF)


def title_of(message: Message) -> str:
    """The title line with what must never be missed: RECORDED, and whether it may be a repetition."""
    title = clean(message.title, TITLE_CHARACTERS)
    if message.recorded and not title.startswith("RECORDED"):
        title = f"RECORDED {title}"
    if message.possibly_repeated:
        title = f"{title} (possibly repeated)"
    return title


def rows_of(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Cleaned (label, text) rows of at most ROW_CHARACTERS; a longer text goes on in rows with an empty label."""
    rows: list[tuple[str, str]] = []
    for line in lines:
        label = clean(line.label, LABEL_CHARACTERS)
        for text in _chunks(clean(line.text)):
            rows.append((label, text))
            label = ""
        if len(rows) > MAX_ROWS:
            break
    if len(rows) > MAX_ROWS:
        rows = [*rows[:MAX_ROWS], ("", "... more lines were left out here")]
    return rows


def plain(message: Message) -> str:
    """The whole message as text: the title, then labels in a margin and their texts.

    >>> from datetime import UTC, datetime
    >>> message = Message("1", "desk", "console", "", "notice", "info", "INFO config read",
    ...                   (Line("file", "config.yaml"),), datetime(2026, 11, 1, tzinfo=UTC))
    >>> print(plain(message))
    INFO config read
      file        config.yaml
    """
    rows = (f"  {label:<{MARGIN - 1}} {text}".rstrip() for label, text in rows_of(message.lines))
    return "\n".join([title_of(message), *rows])


def html(message: Message) -> list[str]:
    """The message as Telegram HTML, in parts of at most 4,096 UTF-16 units cut between rows; only ``<b>`` is used.

    Later parts repeat the title with their number. Nothing in a value becomes a tag, a link to a person or a command.

    >>> from datetime import UTC, datetime
    >>> html(Message("1", "desk", "telegram", "1", "notice", "info", "A & B", (Line("as of", "<2026>"),),
    ...              datetime(2026, 11, 1, tzinfo=UTC)))
    ['<b>A &amp; B</b>\\n<b>as of</b>  &lt;2026&gt;']
    """
    rows = []
    for label, text in rows_of(message.lines):
        head = f"<b>{_escaped(label)}</b>  " if label else ""
        rows.append(f"{head}{_escaped(text)}")
    return _pack(_escaped(title_of(message)), rows)


def _pack(title: str, rows: Iterable[str]) -> list[str]:
    """Rows into as few parts as the limit allows, in order; the title heads every part."""
    room = TELEGRAM_UNITS - utf16_units(f"<b>{title} (00/00)</b>")
    parts: list[list[str]] = [[]]
    used = 0
    for row in rows:
        size = utf16_units(row) + 1  # the line break before it
        if parts[-1] and used + size > room:
            parts.append([])
            used = 0
        parts[-1].append(row)
        used += size
    titles = [title] if len(parts) == 1 else [f"{title} ({i}/{len(parts)})" for i in range(1, len(parts) + 1)]
    return ["\n".join([f"<b>{head}</b>", *part]) for head, part in zip(titles, parts, strict=True)]


def without_markup(part: str) -> str:
    """One part made by :func:`html` as plain text, for when Telegram refused its markup.

    >>> without_markup("<b>A &amp; B</b>\\n<b>as of</b>  &lt;b&gt;")
    'A & B\\nas of  <b>'
    """
    return unescape(part.replace("<b>", "").replace("</b>", ""))


def _escaped(text: str) -> str:
    return escape(_defang(text), quote=False)


def _defang(text: str) -> str:
    """Names that Telegram would turn into a mention, a profile link or a tappable command become plain words."""
    text = _MENTION.sub(lambda found: found.group() + _JOINER, text)
    return _COMMAND.sub("/" + _JOINER, text)


def _chunks(text: str) -> list[str]:
    """The text cut between words (inside a word only when it is longer than a row)."""
    chunks: list[str] = []
    while len(text) > ROW_CHARACTERS:
        cut = text.rfind(" ", ROW_CHARACTERS // 2, ROW_CHARACTERS)
        cut = ROW_CHARACTERS if cut < 0 else cut
        chunks.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*chunks, text]
