"""Who may ask the bot what. Pure. Nobody may anything unless the config says so: a user **and** the chat it is in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["viewer", "operator", "editor"]
RANK: dict[Role, int] = {"viewer": 0, "operator": 1, "editor": 2}
DOES: dict[Role, str] = {
    "viewer": "reads",
    "operator": "reads, acknowledges and silences",
    "editor": "reads, acknowledges, silences and edits rules",
}
#: strangers remembered in one run; a flood of others makes the oldest forgotten, never this set large
MAX_STRANGERS = 512
#: a stranger may ask for his ids this often in one run
WHOAMI_TIMES = 3
STRANGER = "This bot answers only people its owner named. /whoami shows what the owner needs."


@dataclass(frozen=True)
class Access:
    """Who may write to the bot and from where: user id -> role, and chat ids.

    >>> access = Access({7: "viewer"}, frozenset({-100}))
    >>> access.role(7, -100), access.role(7, 7), access.role(8, -100), access.role(None, -100)
    ('viewer', None, None, None)
    """

    people: Mapping[int, Role] = field(default_factory=dict)
    chats: frozenset[int] = frozenset()

    def role(self, user: int | None, chat: int | None) -> Role | None:
        """The role of a user in a chat; None unless both are allowed. An anonymous admin or a channel has no user."""
        if user is None or chat is None or chat not in self.chats:
            return None
        return self.people.get(user)

    def following(self, moved: Mapping[str, str]) -> Access:
        """The same after groups became supergroups: an allowed chat stays allowed under its new id."""
        news = {int(new) for old, new in moved.items() if old.lstrip("-").isdigit() and int(old) in self.chats}
        return Access(self.people, self.chats | news)


def allows(role: Role, needed: Role) -> bool:
    """Whether a role includes another.

    >>> allows("editor", "operator"), allows("viewer", "operator")
    (True, False)
    """
    return RANK[role] >= RANK[needed]


class Strangers:
    """Whom the bot has told already that it does not know him.

    Only in memory: a bot anybody can find would otherwise fill its database with other people's ids, and a keyed hash
    of a number this short is that number to whoever has the key. After a restart a stranger is told once more.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[int | None, int | None], int] = OrderedDict()
        #: how many were turned away since the start: a number for the log and the metrics, no ids
        self.count = 0

    def first_time(self, user: int | None, chat: int | None) -> bool:
        """Note a stranger; whether he is new."""
        new = (user, chat) not in self._seen
        self._remember(user, chat, 0)
        self.count += new
        return new

    def may_ask_ids(self, user: int | None, chat: int | None) -> bool:
        """Whether /whoami is answered once more."""
        asked = self._seen.get((user, chat), 0)
        self._remember(user, chat, 1)
        return asked < WHOAMI_TIMES

    def _remember(self, user: int | None, chat: int | None, asked: int) -> None:
        self._seen[user, chat] = self._seen.pop((user, chat), 0) + asked
        while len(self._seen) > MAX_STRANGERS:
            self._seen.popitem(last=False)


def config_lines(user: int | None, chat: int, role: Role | None = None) -> str:
    """The lines of the config that let this person in from this chat; they join those that are there already.

    >>> print(config_lines(42, -100))
    chat:
      telegram:
        people:
          - {user: 42, role: viewer}    # viewer | operator | editor
        chats: [-100]
    """
    person = f"      - {{user: {user}, role: {role or 'viewer'}}}    # viewer | operator | editor"
    nobody = "      # an anonymous admin or a channel cannot be let in: write under your own name"
    lines = ["chat:", "  telegram:", "    people:", person if user else nobody, f"    chats: [{chat}]"]
    return "\n".join(lines)
