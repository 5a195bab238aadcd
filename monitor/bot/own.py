"""What a person watches and mutes for himself: written into ``portfolio.yaml``, at once, with who said so.

Both hold for the routes that lead to this person alone. A mute ends by itself and never holds back what is critical.
"""

from __future__ import annotations

from datetime import datetime

from monitor.bot.nouns import Answer, Ask
from monitor.bot.quick import names_of
from monitor.bot.words import borrower_meant, is_span
from monitor.config import Config
from monitor.model import CanaryError, Line
from monitor.portfolio_edits import What, Word, carry_out, until_of
from monitor.tick import Memory
from monitor.world import World


async def watch(ask: Ask) -> Answer:
    """/watch NAME; alone, what this person watches and mutes."""
    if not ask.words:
        return _mine(ask)
    return await _say(ask, "watch")


async def unwatch(ask: Ask) -> Answer:
    """/unwatch NAME."""
    return await _say(ask, "unwatch")


async def mute(ask: Ask) -> Answer:
    """/mute NAME 7d."""
    if len(ask.words) < 2 or not is_span(ask.words[-1]):
        raise CanaryError("write: /mute NAME 7d; every mute has an end, at most 30d away")
    until = until_of(ask.words[-1], ask.now)
    return await _say(Ask(ask.desk, ask.person, ask.now, ask.words[:-1]), "mute", until)


async def unmute(ask: Ask) -> Answer:
    """/unmute NAME."""
    return await _say(ask, "unmute")


async def _say(ask: Ask, what: What, until: datetime | None = None) -> Answer:
    if not ask.words:
        raise CanaryError(f"say whom: /{what} NAME")
    world = ask.desk.world()
    word = Word(what, ask.person.user, borrower_meant(ask.rest, names_of(world)), until)
    await ask.desk.write(_write, world.config, word, ask.now, ask.person.said, str(ask.person.chat))
    lines = [Line("heeded", "from the next evaluation on")]
    if not _routes_to(world, ask.person.user):
        lines.append(Line("note", "no route leads to you alone, so nothing comes of it yet; lines for config.yaml:"))
        code = f"routes:\n  - name: me\n    channel: telegram\n    to: {ask.person.user}\n    holdings: true"
        return Answer(word.said, tuple(lines), code=code)
    return Answer(word.said, tuple(lines))


def _write(memory: Memory, config: Config, word: Word, now: datetime, who: str, chat: str) -> None:
    carry_out(memory.live, config, word, now, who, chat)


def _routes_to(world: World, user: int) -> list[str]:
    return [route.name for route in world.routes if route.to == str(user)]


def _mine(ask: Ask) -> Answer:
    """What this person watches and mutes, and the routes it holds for."""
    world = ask.desk.world()
    person = next((one for one in world.portfolio.people if one.user == ask.person.user), None)
    mutes = [one for one in person.mutes if ask.now < one.until] if person else []
    lines = (
        Line("watched", ", ".join(person.watches) if person and person.watches else "nobody: /watch NAME"),
        Line("muted", "; ".join(f"{one.borrower} until {one.until:%Y-%m-%d %H:%M} UTC" for one in mutes) or "nobody"),
        Line("routes", ", ".join(_routes_to(world, ask.person.user)) or "none leads to you alone"),
    )
    return Answer("what you watch and mute", lines)
