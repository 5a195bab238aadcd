"""What a person watches and mutes, written into ``portfolio.yaml`` so that nothing else in the file changes.

Entries are put in or taken out at the marks of the YAML parser; what the text then says is compared with what it should
say, and a file laid out in a way this cannot edit is refused in words. A mute always has an end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from monitor.config import Config
from monitor.model import CanaryError
from monitor.portfolio import only_remarks, portfolio_of
from monitor.rows import Tables
from monitor.safewrite import alone, digest, inside, replace_file
from monitor.store_chat import Audit, append_audit, mark_undone
from monitor.units import format_age, parse_duration_s
from monitor.yamltext import Node, Text, parse_tree, read_file

What = Literal["watch", "unwatch", "mute", "unmute"]
#: the longest anybody may mute a borrower; critical alerts come all the same
LONGEST_S = 30 * 86400.0
HEAD = "# What is held, and what each person watches and mutes. Private: nobody else needs to read it.\n"


@dataclass(frozen=True, slots=True)
class Word:
    """One person's word about one borrower; ``until`` for a mute."""

    what: What
    user: int
    borrower: str
    until: datetime | None = None

    @property
    def said(self) -> str:
        """The word as a sentence."""
        if self.what == "mute" and self.until:
            return f"{self.borrower} muted until {self.until:%Y-%m-%d %H:%M} UTC; critical alerts come all the same"
        done = {"watch": "watched", "unwatch": "no longer watched", "unmute": "no longer muted", "mute": "muted"}
        return f"{self.borrower} is {done[self.what]}"


def until_of(span: str, now: datetime) -> datetime:
    """When a mute of this length ends, to the minute. CanaryError when it is no length, nothing, or too long.

    >>> until_of("7d", datetime(2026, 7, 1, 9, 30, 20, tzinfo=UTC)).isoformat()
    '2026-07-08T09:30:00+00:00'
    """
    try:
        seconds = parse_duration_s(span)
    except ValueError as error:
        raise CanaryError(str(error)) from None
    if not 60 <= seconds <= LONGEST_S:
        raise CanaryError(f"a mute lasts a minute or more and at most {format_age(LONGEST_S)}; write for example 7d")
    return (now + timedelta(seconds=seconds)).astimezone(UTC).replace(second=0, microsecond=0)


def carry_out(store: Tables, config: Config, word: Word, now: datetime, who: str, chat: str = "") -> None:
    """Write one word and its audit. CanaryError when the file cannot be edited or the word changes nothing."""
    path = config.paths.portfolio
    if config.found.starter or path is None:
        raise CanaryError("these are the files that ship with Canary, to be read only; your own: canary init DIR")
    with alone(config.paths.state):
        text, path = _read(path)
        after = edited(text, word)
        portfolio_of(Text(after, text.file))
        entry = Audit(now, who, chat, word.what, word.borrower, "", word.said)
        number = append_audit(store, entry)
        try:
            replace_file(path, after.encode(), digest(text.text.encode()) if path.exists() else None)
        except CanaryError:
            mark_undone(store, number, now)
            raise


def _read(path: Path) -> tuple[Text, Path]:
    """The file as it is; an empty one where there is none."""
    if not path.exists() and not path.is_symlink():
        return Text("", str(path)), path
    real = inside(path, path.parent)
    return read_file(real, str(path)), real


# ---------------------------------------------------------------- texts
def edited(text: Text, word: Word) -> str:
    """The text with one word more or less. CanaryError when nothing changes, or the layout does not allow it.

    >>> print(edited(Text("holdings: []   # none\\n", "p.yaml"), Word("watch", 42, "acme")))
    holdings: []   # none
    people:
      - user: 42
        watches: [acme]
    <BLANKLINE>
    """
    empty = only_remarks(text)
    before = {} if empty else parse_tree(text).plain()
    if not empty:
        portfolio_of(text)
    wanted = _wanted(before, word)
    layout = _Layout(text, None if empty else parse_tree(text))
    after = layout.of(word) if text.text.strip() else HEAD + _people_block(word)
    try:
        fits = parse_tree(Text(after, text.file)).plain() == wanted
    except CanaryError:
        fits = False
    if not fits:
        raise CanaryError(f"{text.file} is laid out in a way that cannot be edited from here; edit the file")
    return after


def _wanted(before: Any, word: Word) -> Any:
    """What the file should say afterwards; CanaryError when it says so already."""
    people = [dict(person) for person in before.get("people", [])]
    person = next((one for one in people if one.get("user") == word.user), None)
    if person is None:
        if word.what.startswith("un"):
            raise CanaryError(f"{word.borrower} was not {'watched' if word.what == 'unwatch' else 'muted'}")
        person = {"user": word.user}
        people.append(person)
    if word.what in ("watch", "unwatch"):
        person["watches"] = _switched(list(person.get("watches", [])), word)
    else:
        person["mutes"] = _muted(list(person.get("mutes", [])), word)
    return {**before, "people": people}


def _switched(watches: list[str], word: Word) -> list[str]:
    if (word.borrower in watches) == (word.what == "watch"):
        raise CanaryError(f"{word.borrower} is {'watched already' if word.what == 'watch' else 'not watched'}")
    return [*watches, word.borrower] if word.what == "watch" else [one for one in watches if one != word.borrower]


def _muted(mutes: list[dict[str, str]], word: Word) -> list[dict[str, str]]:
    at = [i for i, one in enumerate(mutes) if one.get("borrower") == word.borrower]
    if word.what == "unmute":
        if not at:
            raise CanaryError(f"{word.borrower} is not muted")
        return [one for i, one in enumerate(mutes) if i != at[0]]
    fresh = {"borrower": word.borrower, "until": _until(word)}
    return [*mutes[: at[0]], fresh, *mutes[at[0] + 1 :]] if at else [*mutes, fresh]


def _until(word: Word) -> str:
    if word.until is None:
        raise ValueError("a mute has an end")
    return f"{word.until:%Y-%m-%dT%H:%M}Z"


def _entry(word: Word) -> str:
    """The entry of a list that says the word."""
    return word.borrower if word.what == "watch" else f"{{borrower: {word.borrower}, until: {_until(word)}}}"


def _key(word: Word) -> str:
    return "watches" if word.what in ("watch", "unwatch") else "mutes"


def _people_block(word: Word) -> str:
    return f"people:\n  - user: {word.user}\n    {_key(word)}: [{_entry(word)}]\n"


class _Layout:
    """A file as it is laid out, and where a word goes in or out."""

    def __init__(self, text: Text, tree: Node | None):
        self.text, self.tree = text, tree
        self.line_end = "\r\n" if "\r\n" in text.text else "\n"

    def of(self, word: Word) -> str:
        """The text after the word."""
        people = self.tree.value.get("people") if self.tree else None
        if people is None:
            gap = "" if self.text.text.endswith("\n") else self.line_end
            return self.text.text + gap + _people_block(word).replace("\n", self.line_end)
        person = next((p for p in people.value if p.value["user"].value == word.user), None)
        if person is None:
            return self.appended(people, lambda flow, column: self._person(word, flow, column))
        listed = person.value.get(_key(word))
        if listed is None:
            return self._key_after(person, f"{_key(word)}: [{_entry(word)}]")
        known = [i for i, one in enumerate(listed.value) if _name(one) == word.borrower]
        if word.what.startswith("un"):
            return self.removed(listed, known[0])
        if known:
            until = listed.value[known[0]].value["until"]
            return self._with(until.start, until.end, _until(word))
        return self.appended(listed, lambda flow, column: _entry(word))

    def _with(self, start: int, end: int, new: str) -> str:
        return self.text.text[:start] + new + self.text.text[end:]

    def _person(self, word: Word, flow: bool, column: int) -> str:
        if flow:
            return f"{{user: {word.user}, {_key(word)}: [{_entry(word)}]}}"
        return f"user: {word.user}{self.line_end}{' ' * column}{_key(word)}: [{_entry(word)}]"

    def _key_after(self, person: Node, entry: str) -> str:
        """One more key of a person, behind his number."""
        user = person.value["user"]
        if self._flow(person):
            return self._with(user.end, user.end, f", {entry}")
        ends = self.text.text.find("\n", user.end)
        ends = len(self.text.text) if ends < 0 else ends - (self.line_end == "\r\n")
        return self._with(ends, ends, f"{self.line_end}{' ' * person.column}{entry}")

    def _flow(self, node: Node) -> bool:
        return self.text.text[node.start : node.start + 1] in ("[", "{")

    def appended(self, listed: Node, made: Callable[[bool, int], str]) -> str:
        """One more entry at the end of a list."""
        if self._flow(listed):
            at = listed.end - 1
            return self._with(at, at, f"{', ' if listed.value else ''}{made(True, 0)}")
        last = listed.value[-1]
        dash = self.text.text.rfind("-", 0, last.start)
        indent = dash - (self.text.text.rfind("\n", 0, dash) + 1)
        ends = self._line_end(last)
        entry = made(False, last.column)
        gap = " " * (last.start - dash - 1)
        return self._with(ends, ends, f"{self.line_end}{' ' * indent}-{gap}{entry}")

    def _line_end(self, node: Node) -> int:
        """The end of the line on which a value's last visible character stands."""
        whole = self.text.text
        last = node.start + len(whole[node.start : node.end].rstrip())
        ends = whole.find("\n", last)
        return len(whole) if ends < 0 else ends - (self.line_end == "\r\n")

    def removed(self, listed: Node, index: int) -> str:
        """A list without one of its entries."""
        entries = listed.value
        node = entries[index]
        if not self._flow(listed):
            begins = self.text.text.rfind("\n", 0, self.text.text.rfind("-", 0, node.start)) + 1
            if len(entries) == 1:
                colon = len(self.text.text[: listed.start].rstrip())
                return self._with(colon, listed.start + len(self._bare(listed)), " []")
            ends = self._line_end(node)
            return self._with(begins, min(ends + len(self.line_end), len(self.text.text)), "")
        if index + 1 < len(entries):
            return self._with(node.start, entries[index + 1].start, "")
        return self._with(entries[index - 1].end if index else node.start, node.end, "")

    def _bare(self, node: Node) -> str:
        return self.text.text[node.start : node.end].rstrip()


def _name(entry: Node) -> str:
    """The borrower an entry of a list is about."""
    return str(entry.value["borrower"].value if isinstance(entry.value, dict) else entry.value)
