"""What the Bot API on the loopback answers when it does not say yes: scripted failures, and what Telegram refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

TAGS = ("b", "pre")
SENDS, EDITS = ("sendMessage", "sendPhoto"), ("editMessageText", "editMessageCaption")
#: the longest text and caption, in UTF-16 units
LONGEST = {"text": 4096, "caption": 1024}


@dataclass(frozen=True)
class Failure:
    """One scripted answer. ``hang``: no answer until the server stops. ``lost``: accepted, then the line is cut.

    ``body`` replaces the JSON answer (a proxy's page, say).
    """

    code: int = 500
    description: str = ""
    parameters: dict[str, int] = field(default_factory=dict)
    hang: bool = False
    lost: bool = False
    body: bytes | None = None


def too_many(seconds: int) -> Failure:
    """The answer to too many requests."""
    return Failure(429, f"Too Many Requests: retry after {seconds}", {"retry_after": seconds})


def migrated(new_id: int) -> Failure:
    """The answer of a group that became a supergroup."""
    text = "Bad Request: group chat was upgraded to a supergroup chat"
    return Failure(400, text, {"migrate_to_chat_id": new_id})


BLOCKED = Failure(403, "Forbidden: bot was blocked by the user")
UNAUTHORIZED = Failure(401, "Unauthorized")
CONFLICT = Failure(409, "Conflict: terminated by other getUpdates request")
CANNOT_PARSE = Failure(400, 'Bad Request: can\'t parse entities: Unsupported start tag "x" at byte offset 3')
NO_CHAT = Failure(400, "Bad Request: chat not found")
NOT_FOUND = Failure(400, "Bad Request: message to edit not found")
TOO_OLD = Failure(400, "Bad Request: message can't be edited")
NOT_MODIFIED = Failure(
    400,
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message",
)
BROKEN = Failure(500, "Internal Server Error")
HANG = Failure(hang=True)
LOST = Failure(lost=True)


def words_in(method: str) -> str:
    """The field that holds the words of a message."""
    return "caption" if method in ("sendPhoto", "editMessageCaption") else "text"


def bare(fields: dict[str, Any], words: str) -> str:
    """What a person reads of a text that may have markup."""
    text = str(fields.get(words, ""))
    return unescape(re.sub(r"<[^<>]*>", "", text)) if fields.get("parse_mode") == "HTML" else text


def refusal(fields: dict[str, Any], words: str) -> Failure | None:
    """What Telegram would not take: an empty or too long text, or HTML it cannot parse."""
    if fields.get("parse_mode") == "HTML" and not well_formed(str(fields.get(words, ""))):
        return CANNOT_PARSE
    text = bare(fields, words)
    if words == "text" and not text.strip():
        return Failure(400, "Bad Request: message text is empty")
    if len(text.encode("utf-16-le")) > 2 * LONGEST[words]:
        return Failure(400, f"Bad Request: message {'caption ' if words == 'caption' else ''}is too long")
    return None


def well_formed(text: str) -> bool:
    """Whether every tag is one of ours, closed in order, and nothing else looks like one.

    >>> well_formed("<b>a</b> &lt;"), well_formed("<b>a"), well_formed("<i>a</i>"), well_formed("a < b")
    (True, False, False, False)
    """
    opened: list[str] = []
    for closing, name in re.findall(r"<(/?)([^<>]*)>", text):
        if name not in TAGS or (closing and opened[-1:] != [name]):
            return False
        if closing:
            opened.pop()
        else:
            opened.append(name)
    bare = re.sub(r"<[^<>]*>", "", text)
    return not opened and "<" not in bare and ">" not in bare
