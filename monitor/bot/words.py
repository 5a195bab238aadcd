"""What a person typed: the command, shocks, names written as people write them. Pure; every text is hostile."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from monitor.model import CanaryError

#: more words than this are no command
MAX_WORDS = 40
MAX_WORD = 80
_COMMAND = re.compile(r"/([A-Za-z0-9_]{1,32})(?:@(\w{1,64}))?(?:\s|$)")
_SPAN = re.compile(r"\d{1,6}(?:\.\d{1,3})?(?:s|m|min|h|d|w)")
#: shock -> the unit of a bare number
SHOCKS = {"btc": "%", "rent": "%", "spread": "bp"}


@dataclass(frozen=True, slots=True)
class Typed:
    """A command without its slash, in lower case, and the words behind it."""

    command: str
    words: tuple[str, ...]


def typed(text: str, bot: str) -> Typed | None:
    """The command of a message; None for ordinary text and for a command to another bot of the group.

    >>> typed("/Stress@canary_bot btc=-30  mara", "canary_bot")
    Typed(command='stress', words=('btc=-30', 'mara'))
    >>> typed("/stress@other_bot", "canary_bot"), typed("good morning", "canary_bot")
    (None, None)
    """
    found = _COMMAND.match(text)
    if found is None or (found[2] and found[2].lower() != bot.lower()):
        return None
    words = text[found.end() :].split()[:MAX_WORDS]
    return Typed(found[1].lower(), tuple(word[:MAX_WORD] for word in words))


def meant(word: str, known: Collection[str]) -> str | None:
    """The known word somebody probably meant, or None.

    >>> meant("statsu", ["status", "start"]), meant("qqq", ["status"])
    ('status', None)
    """
    close = difflib.get_close_matches(word[:MAX_WORD], sorted(known), n=1, cutoff=0.5)
    return close[0] if close else None


# ---------------------------------------------------------------- borrowers
def borrower_meant(text: str, names: Mapping[str, Sequence[str]]) -> str:
    """The borrower a person means: by id, ticker or name, their beginning or a part of them, or nearly.

    ``names``: id -> whatever else it is called. CanaryError when nobody is meant, or several, with who may be.

    >>> book = {"coreweave": ("CoreWeave", "CRWV"), "core-scientific": ("Core Scientific", "CORZ"), "mara": ("MARA",)}
    >>> [borrower_meant(text, book) for text in ("crwv", "Core Sci", "corewaeve", "MARA")]
    ['coreweave', 'core-scientific', 'coreweave', 'mara']
    >>> borrower_meant("core", book)
    Traceback (most recent call last):
    ...
    monitor.model.CanaryError: 'core' may be core-scientific or coreweave; write more of it
    """
    word = _folded(text)
    if not word:
        raise CanaryError(f"no borrower {text[:40]!r}; the book has {_listed(names)}")
    spelt = {name: [part for part in map(_folded, (name, *others)) if part] for name, others in names.items()}
    for fits in (lambda part: part == word, lambda part: part.startswith(word), lambda part: word in part):
        found = sorted(name for name, parts in spelt.items() if any(map(fits, parts)))
        if len(found) == 1:
            return found[0]
        if found:
            raise CanaryError(f"{text[:40]!r} may be {' or '.join(found[:6])}; write more of it")
    by_part = {part: name for name, parts in spelt.items() for part in parts}
    close = dict.fromkeys(by_part[part] for part in difflib.get_close_matches(word, by_part, n=3, cutoff=0.7))
    if len(close) == 1:
        return next(iter(close))
    first = [] if close else [one for one, parts in spelt.items() if _folded(text.partition(" ")[0]) in parts]
    close = close or dict.fromkeys(first)
    guess = f"did you mean {' or '.join(close)}?" if close else f"the book has {_listed(names)}"
    raise CanaryError(f"no borrower {text[:40]!r}; {guess}")


def _folded(text: str) -> str:
    return "".join(character for character in text[:MAX_WORD].casefold() if character.isalnum())


def _listed(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")


# ---------------------------------------------------------------- shocks and spans
def shocks_of(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The shocks among some words, with units, and the words that are none. CanaryError for a shock of something else.

    >>> shocks_of(["btc=-30", "mara", "rent=-25%", "spread=300"])
    ({'btc': '-30%', 'rent': '-25%', 'spread': '300bp'}, ['mara'])
    >>> shocks_of(["bcc=-30"])
    Traceback (most recent call last):
    ...
    monitor.model.CanaryError: no shock of 'bcc'; did you mean btc? write for example btc=-30 rent=-25 spread=300
    """
    found, others = dict[str, str](), list[str]()
    for word in words:
        name, equals, value = word.partition("=")
        if not equals and word.lower() in SHOCKS:
            example = "300" if word.lower() == "spread" else "-30"
            raise CanaryError(f"by how much? write for example {word.lower()}={example}")
        if not equals:
            others.append(word)
            continue
        name = name.lower()
        if name not in SHOCKS:
            guess = meant(name, SHOCKS)
            hint = f"did you mean {guess}? " if guess else ""
            raise CanaryError(
                f"no shock of {name[:20]!r}; {hint}write for example btc=-30 rent=-25 spread=300",
            )
        if not value or name in found:
            raise CanaryError(f"write {name} once and with a number, for example {name}=-30")
        found[name] = value + SHOCKS[name] if value[-1].isdecimal() else value
    return found, others


def is_span(word: str) -> bool:
    """Whether a word is a length of time.

    >>> is_span("4h"), is_span("7d"), is_span("alpha")
    (True, True, False)
    """
    return _SPAN.fullmatch(word.lower()) is not None


def target_and_span(words: Sequence[str]) -> tuple[str, str, str]:
    """What, for how long and why, in the order people type them; empty where it was left out.

    >>> target_and_span(["k7", "for", "4h", "looking", "into", "it"]), target_and_span(["1d", "LowCash/mara"])
    (('k7', '4h', 'looking into it'), ('LowCash/mara', '1d', ''))
    """
    target, span, note = "", "", list[str]()
    for word in words:
        if not span and is_span(word):
            span = word.lower()
        elif not target and word.lower() != "for":
            target = word.lstrip("#")
        elif note or word.lower() != "for":
            note.append(word)
    return target, span, " ".join(note)
