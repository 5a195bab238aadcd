"""Secrets out of texts: bot tokens, passwords in addresses, keys in queries and headers. Pure.

A log line or an error text may carry a whole request, and a Telegram request carries the token in its path. Every text
that leaves the program as a log line, an error or an outbox row goes through :func:`redact`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "[hidden]"
#: a secret shorter than this would also hide ordinary words
MIN_SECRET_CHARACTERS = 6

_COLON = r"(?::|%3[Aa])"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # the token of a Telegram bot: in the path of a request, or alone
    (re.compile(rf"bot\d{{1,20}}{_COLON}[\w-]+", re.ASCII | re.IGNORECASE), f"bot{HIDDEN}"),
    (re.compile(rf"(?<![\w.])\d{{5,20}}{_COLON}[\w-]{{20,}}", re.ASCII), HIDDEN),
    # user:password@ in an address
    (re.compile(r"(?<=://)[^/\s@'\"]{1,512}@"), f"{HIDDEN}@"),
    # Authorization: Bearer abc / "authorization": "Basic abc"
    (
        re.compile(
            r"(\b(?:proxy-)?authorization[\"']?\s*[:=,]\s*(?:b(?=[\"']))?[\"']?)(?:(?:bearer|basic|token)\s+)?[^\s\"',;]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(\bbearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    # ?api_key=abc and "api_key": "abc"
    (
        re.compile(
            r"(\b(?:x-)?(?:api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|token|secret|password|passwd|"
            r"signature)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    # incoming webhooks: the path is the secret
    (re.compile(r"(hooks\.slack\.com/\w+/|discord(?:app)?\.com/api/webhooks/)[\w/-]+", re.IGNORECASE), rf"\1{HIDDEN}"),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with every secret replaced by ``[hidden]``: known shapes, and the exact ``secrets`` given.

    Hiding twice changes nothing.

    >>> redact("POST https://api.telegram.org/bot123456:AAF-abcdefghijklmnopqrst/sendMessage 200")
    'POST https://api.telegram.org/bot[hidden]/sendMessage 200'
    >>> redact("https://alice:pa55@example.org/x?api_key=k3y&page=2")
    'https://[hidden]@example.org/x?api_key=[hidden]&page=2'
    >>> redact("the desk said open sesame", secrets=["open sesame"])
    'the desk said [hidden]'
    """
    for secret in secrets:
        if len(secret) >= MIN_SECRET_CHARACTERS:
            text = text.replace(secret, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
