"""Acknowledge, silence, take back: the same words and limits as on the command line, written with who said so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from monitor.asking import services_of
from monitor.bot.desk import shown_store
from monitor.bot.nouns import Answer, Ask, Person
from monitor.bot.quick import in_force
from monitor.bot.words import target_and_span
from monitor.commands import COMMANDS, Reply, Services
from monitor.model import CanaryError, Line
from monitor.routes import Overlay
from monitor.store import Store
from monitor.store_chat import Audit, append_audit
from monitor.tick import Memory
from monitor.world import World


async def ack(ask: Ask) -> Answer:
    """/ack ID [4h]."""
    what, span, note = target_and_span(ask.words)
    if not what or note:
        raise CanaryError("write: /ack ID [4h]; /alerts shows the ids")
    return await ask.desk.write(carry_out, ask.desk.world(), ask.person, ask.now, "ack", [what], span, "")


async def silence(ask: Ask) -> Answer:
    """/silence ID|RULE|BORROWER|RULE/BORROWER 1d [why]; alone, what is silenced."""
    if not ask.words or ask.words == ("list",):
        return await ask.desk.read(in_force, ask.desk.services(ask.now))
    what, span, note = target_and_span(ask.words)
    if not what or not span:
        raise CanaryError("write: /silence ID|RULE|BORROWER|RULE/BORROWER 1d [why]; every silence needs an end")
    return await ask.desk.write(carry_out, ask.desk.world(), ask.person, ask.now, "silence", [what], span, note)


async def unsilence(ask: Ask) -> Answer:
    """/unsilence NUMBER, or what was silenced."""
    if len(ask.words) != 1:
        raise CanaryError("write: /unsilence NUMBER; /silence alone shows the numbers")
    words = [ask.words[0].lstrip("#")]
    return await ask.desk.write(carry_out, ask.desk.world(), ask.person, ask.now, "unsilence", words, "", "")


def carry_out(
    memory: Memory, world: World, person: Person, now: datetime, word: str, targets: Sequence[str], span: str, note: str
) -> Answer:
    """One word over some alerts and its line in the audit, in one transaction; on the writer.

    Several targets are the alerts of one message: each is said alone, so that each is over alone.
    """
    store = shown_store(memory)
    lines = list[Line]()
    with store.transaction():
        services = _services(world, store, now)
        for target in targets:
            options = {"--for": span, "--by": "" if word == "unsilence" else person.name, "--note": note}
            typed = [text for name, value in options.items() if value for text in (name, value)]
            try:
                reply = COMMANDS[word].run(services, [target, *typed])
            except CanaryError as error:
                raise CanaryError(_in_chat(str(error))) from None
            title = reply.tables[0].title
            before, after = ("", title) if word != "unsilence" else (title, "")
            append_audit(memory.live, Audit(now, person.said, str(person.chat), word, target, before, after))
            lines += [Line("", title), *_notes(reply)]
    return Answer(lines[0].text, tuple(lines[1:]))


def _services(world: World, store: Store, now: datetime) -> Services:
    """The services of the command line that write through the daemon's own connection."""

    def say(overlay: Overlay) -> int:
        store.end_overlays(overlay.kind, overlay.at, overlay.short_id, overlay.rule, overlay.subject)
        store.add_overlay(overlay)
        return max(number for number, _ in store.numbered_overlays(overlay.at))

    def unsay(numbers: Sequence[int]) -> None:
        found = services.alerts()
        for number in numbers:
            store.end_overlay(number, found.clock if found else now)

    services = services_of(world.config, lambda: world, now)
    return replace(services, say=say, unsay=unsay)


def _notes(reply: Reply) -> list[Line]:
    """What a reply says below its title, in the words of the chat."""
    return [Line("", _in_chat(note.text)) for table in reply.tables for note in table.notes]


def _in_chat(text: str) -> str:
    for written, typed in (
        ("canary silence --list", "/silence"),
        ("canary alerts and canary list rules show what there is", "/alerts and /rules show what there is"),
        ("canary list borrowers", "/status shows them"),
        ("canary unsilence", "/unsilence"),
        ("canary silence", "/silence"),
        ("canary alerts", "/alerts"),
        ("write --for ", "write "),
        ("--for ", ""),
    ):
        text = text.replace(written, typed)
    return text
