"""When an edit makes a critical rule weaker than one person alone may make it. Pure.

A rule that pages is weaker when it is less severe, waits longer, keeps firing for less, fires only further away, or
ends sooner. Little by little counts: a value is compared with the last one that two people, or somebody at the
terminal, agreed on, not with what the same person left there yesterday.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from monitor.edits import Place
from monitor.routes import RANK
from monitor.units import parse_duration_s, parse_quantity

#: what one person may do to a critical rule: wait at most twice as long, or up to an hour where it waited less
LONGER, FREE_WAIT_S = 2.0, 3600.0
#: keep firing for at least half as long
SHORTER = 0.5
#: move the line of ``expr`` or ``clear`` by a tenth of its size
MOVED = 0.10


@dataclass(frozen=True, slots=True)
class Past:
    """One earlier edit of a place; ``agreed``: by a second person, or at the terminal."""

    place: str
    before: str
    after: str
    agreed: bool


def agreed_on(place: Place, past: Iterable[Past]) -> str:
    """The value a place had before one person alone changed it, however often; ``past`` is newest first.

    >>> here = Place("R", "for", 0, 2, "4d")
    >>> agreed_on(here, [Past("for", "2d", "4d", False), Past("for", "1d", "2d", False), Past("for", "1h", "1d", True)])
    '1d'
    >>> agreed_on(here, [Past("for", "1d", "3d", False)])    # somebody edited the file since
    '4d'
    """
    value = place.text
    for edit in past:
        # one that led to another value never reached the file, or somebody edited the file since
        if edit.place == place.name and edit.after == value:
            if edit.agreed:
                break
            value = edit.before
    return value


def weakened(place: Place, was: str, now: str) -> str:
    """Why a second person must agree to this value of a critical rule; empty where one is enough.

    >>> wait = Place("R", "for", 0, 2, "1d", weaker="higher")
    >>> weakened(wait, "1d", "2d"), weakened(wait, "1d", "49h")
    ('', 'for 49h instead of 1d is more than twice as long')
    >>> line = Place("R", "expr", 0, 3, "1.0", 1, weaker="lower")
    >>> weakened(line, "1.0", "1.2"), weakened(line, "1.0", "0.9"), weakened(line, "1.0", "0.89")
    ('', '', 'expr 1 moves from 1.0 to 0.89, away from firing by more than a tenth')
    """
    if place.key == "severity":
        lower = RANK[now] < RANK[was]  # type: ignore[index]
        return f"severity {now} instead of {was} no longer pages" if lower else ""
    if place.key == "for":
        longest = max(LONGER * _seconds(was), FREE_WAIT_S)
        return f"for {now} instead of {was or '0'} is more than twice as long" if _seconds(now) > longest else ""
    if place.key == "keep_firing_for":
        least = SHORTER * _seconds(was)
        return f"keep_firing_for {now} instead of {was} is less than half as long" if _seconds(now) < least else ""
    return _moved(place, was, now)


def _seconds(text: str) -> float:
    return parse_duration_s(text) if text else 0.0


def _moved(place: Place, was: str, now: str) -> str:
    """A line further from firing, or a recovery easier to reach, by more than a tenth."""
    (old, old_bare), (new, new_bare) = _number(was), _number(now)
    away = f"{place.name} moves from {was} to {now}"
    if old_bare != new_bare and old and new:
        return f"{away}, with a unit on one side only"
    by = new - old if place.weaker == "higher" else old - new if place.weaker == "lower" else abs(new - old)
    if by <= MOVED * abs(old) * (1 + 1e-9):
        return ""
    where = "ending sooner" if place.key == "clear" else "away from firing"
    return f"{away}, {where if place.weaker != 'any' else 'which may be away from firing,'} by more than a tenth"


def _number(text: str) -> tuple[float, bool]:
    """A number as written, and whether it bears no unit."""
    bare = "".join(text.split())
    return parse_quantity(bare)[0], bare[-1:].isdigit() or bare[-1:] == "."
