"""What the parts of the bot hand to each other: who asks, what is answered, a command, an action behind a button."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitor.bot.access import Role
from monitor.model import Line

if TYPE_CHECKING:
    from monitor.bot.desk import Desk

#: a button of an answer works this long; those of alert messages live longer, see :mod:`monitor.bot.buttons`
MINUTES = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is allowed in: numbers from Telegram, a cleaned name, the role of the config."""

    user: int
    chat: int
    name: str
    role: Role

    @property
    def said(self) -> str:
        """How the audit names him.

        >>> Person(42, -100, "Ada", "editor").said
        'Ada (42)'
        """
        return f"{self.name} ({self.user})" if self.name else str(self.user)


@dataclass(frozen=True, slots=True)
class Button:
    """One inline button: its label and what it does. ``user``: the only person it works for, or None for all allowed.

    ``version`` is the state the target was in when the button was made.
    """

    label: str
    action: str
    target: str = ""
    version: str = ""
    user: int | None = None
    lives: timedelta = MINUTES


@dataclass(frozen=True)
class Answer:
    """What the bot says: a title and rows like an alert message, perhaps text to copy, a picture, rows of buttons.

    ``own``: every word of it is Canary's own, so that commands in it may be tapped.
    """

    title: str
    lines: tuple[Line, ...] = ()
    code: str = ""
    picture: bytes | None = field(default=None, repr=False)
    buttons: tuple[tuple[Button, ...], ...] = ()
    own: bool = False


@dataclass(frozen=True)
class Ask:
    """One command or one tap by somebody allowed, at a moment (UTC). ``words``: what followed the command; hostile."""

    desk: Desk
    person: Person
    now: datetime
    words: tuple[str, ...] = ()

    @property
    def rest(self) -> str:
        """What followed the command as one text."""
        return " ".join(self.words)


Words = Callable[[Ask], Awaitable[Answer]]
Pressed = Callable[[Ask, str], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Word:
    """One command. ``usage``: what follows it. ``listed``: whether it is in Telegram's command menu."""

    name: str
    usage: str
    help: str
    role: Role
    run: Words
    listed: bool = True

    @property
    def shown(self) -> str:
        """The command with what follows it."""
        return f"/{self.name} {self.usage}".rstrip()


@dataclass(frozen=True, slots=True)
class Action:
    """What a button does. ``once``: carried out a single time, whoever taps how often."""

    name: str
    role: Role
    run: Pressed
    once: bool = True


def confirm(action: str, payload: str, person: Person, yes: str = "Do it") -> tuple[tuple[Button, ...], ...]:
    """Two buttons for the person who asked: do it, or leave it. They end after ten minutes."""
    return ((Button(yes, action, payload, user=person.user), Button("Leave it", "leave", payload, user=person.user)),)
