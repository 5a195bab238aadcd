"""Rules edited from chat: shown, proposed with the difference and a dry run, carried out when the same person says so.

A rule that pages cannot be made much weaker by one person alone: another editor has to agree with a button, or, where
the config names only one editor, somebody at the terminal. What counts as weaker is in :mod:`monitor.weakening`.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from monitor.bot.access import allows
from monitor.bot.elsewhere import world_of
from monitor.bot.nouns import Answer, Ask, Button, Person, confirm
from monitor.config import Config, Found
from monitor.editing import Proposal, Wish, carry_out, headline, proposal_of, wish_of
from monitor.model import CanaryError, Line
from monitor.rule_commands import Preview, past_edits, preview, rule_text, told
from monitor.store_chat import Audit
from monitor.tick import Memory
from monitor.yamltext import suggest

#: how long another editor may take to agree
SECOND_LIVES = timedelta(hours=1)
#: earlier edits shown below a rule
MAX_EDITS = 3
IN_CHAT = "/rule {rule} for 4h, /threshold {rule} 1.05, /threshold {rule} clear 1.2; also keep 3d, severity warning"


# ---------------------------------------------------------------- what is typed
async def rule(ask: Ask) -> Answer:
    """/rule NAME shows it; /rule NAME for 4h proposes."""
    if not ask.words:
        raise CanaryError("say which rule: /rule NAME; /rules lists them")
    name = _named(ask, ask.words[0])
    if len(ask.words) == 1:
        return await ask.desk.read(_shown, ask.desk.world().config, name)
    return await _propose(ask, name, wish_of(name, ask.words[1:]))


async def threshold(ask: Ask) -> Answer:
    """/threshold NAME 1.05, of several numbers /threshold NAME 1.05 #2, of the recovery /threshold NAME clear 1.2."""
    if len(ask.words) < 2:
        raise CanaryError("write: /threshold NAME 1.05, or /threshold NAME clear 1.2; /rule NAME shows the numbers")
    name = _named(ask, ask.words[0])
    return await _propose(ask, name, wish_of(name, ["threshold", *ask.words[1:]]))


async def undo(ask: Ask) -> Answer:
    """/undo NAME takes back the newest edit of a rule."""
    if len(ask.words) != 1:
        raise CanaryError("say of which rule: /undo NAME; /rule NAME shows its edits")
    return await _propose(ask, _named(ask, ask.words[0]), None)


def _named(ask: Ask, word: str) -> str:
    """The rule of this name, however its letters are written."""
    known = {one.id.lower(): one.id for one in ask.desk.world().rules}
    if word.lower() not in known:
        raise CanaryError(f"no rule {word[:40]!r}; {suggest(word[:40], sorted(known.values()))}")
    return known[word.lower()]


def _shown(config: Config, name: str) -> Answer:
    found = rule_text(config, name)
    lines = [Line("file", f"{found.file}, line {found.line}")]
    lines += [
        Line("" if i else "editable", f"{place}: {value}{f' in {where}' if where else ''}")
        for i, (place, value, where) in enumerate(found.editable)
    ]
    edits = past_edits(config, name)[:MAX_EDITS]
    lines += [Line("" if i else "edits", _edit_line(one)) for i, one in enumerate(edits)]
    lines.append(Line("edit", IN_CHAT.format(rule=name)))
    return Answer(name, tuple(lines), code=found.text)


def _edit_line(one: Audit) -> str:
    back = f", taken back {one.undone:%Y-%m-%d %H:%M} UTC" if one.undone else ""
    after = headline(one.after).partition(": ")[2]
    return f"{one.at:%Y-%m-%d %H:%M} UTC {one.who}: {headline(one.before)} -> {after}{back}"


# ---------------------------------------------------------------- proposing
async def _propose(ask: Ask, name: str, wish: Wish | None) -> Answer:
    if not allows(ask.person.role, "editor"):
        raise CanaryError(f"rules are edited by editors; you are {ask.person.role}")
    made: Preview = await ask.desk.work("monitor.bot.editing:look", name, wish, ask.now)
    proposal = made.shown.proposal
    lines = [Line(label, text) for label, text in told(made)]
    buttons = confirm("rule", proposal.json, ask.person, yes="Write it")
    if proposal.second and not _others(ask):
        lines.append(
            Line("", f"only one editor is in the config: finish it at the terminal, {_at_terminal(name, wish)}")
        )
        buttons = ()
    edit = proposal.edit
    return Answer(f"{name}, {edit.place}: {_said(edit.before)} -> {_said(edit.after)}?", tuple(lines), made.shown.diff,
                  buttons=buttons)  # fmt: skip


def look(found: Found, offline: bool, name: str, wish: Wish | None, now: datetime) -> Preview:
    """What an edit would do; in the worker process."""
    return preview(world_of(found, offline), name, wish, now)


def _said(value: str) -> str:
    return value or "not there"


def _others(ask: Ask) -> list[int]:
    """The other editors of the config."""
    channel = ask.desk.world().config.chat.get("telegram")
    people = channel.people if channel else ()
    return [person.user for person in people if person.role == "editor" and person.user != ask.person.user]


def _at_terminal(name: str, wish: Wish | None) -> str:
    if wish is None:
        return f"canary rule {name} --undo"
    word = {"keep_firing_for": "keep", "expr": "threshold"}.get(wish.key, wish.key)
    return f"canary rule {name} {word} {wish.value}" + (f" '#{wish.number}'" if wish.number else "")


# ---------------------------------------------------------------- buttons
async def confirmed(ask: Ask, payload: str) -> Answer:
    """The person who proposed an edit says yes: it is written, or another editor is asked."""
    proposal = proposal_of(payload)
    if not proposal.second:
        return await ask.desk.write(_write, ask.desk.world().config, proposal, ask.person, ask.now, "")
    if not _others(ask):
        raise CanaryError("only one editor is in the config; a second person agrees at the terminal: canary rule")
    second = json.dumps({"user": ask.person.user, "said": ask.person.said, "proposal": payload})
    button = Button("Agree and write it", "rule_second", second, lives=SECOND_LIVES)
    edit = proposal.edit
    lines = (
        Line("edit", f"{edit.rule}, {edit.place}: {_said(edit.before)} -> {_said(edit.after)}"),
        Line("proposed by", ask.person.said),
        Line("why two", f"it is critical, and {proposal.second}"),
    )
    return Answer("another editor has to agree, within an hour", lines, buttons=((button,),))


async def seconded(ask: Ask, payload: str) -> Answer:
    """Another editor agrees to an edit."""
    row = json.loads(payload)
    if row["user"] == ask.person.user:
        raise CanaryError("you proposed it yourself; another editor has to agree")
    proposer = Person(row["user"], ask.person.chat, "", "editor")
    if row["user"] not in _others(ask):
        raise CanaryError(f"{proposer.said} is no editor any more; propose it again")
    proposal = proposal_of(row["proposal"])
    return await ask.desk.write(
        _write, ask.desk.world().config, proposal, ask.person, ask.now, ask.person.said, row["said"]
    )


def _write(
    memory: Memory, config: Config, proposal: Proposal, person: Person, now: datetime, second: str, proposer: str = ""
) -> Answer:
    """Write the edit and its audit; on the writer."""
    number = carry_out(memory.live, config, proposal, now, proposer or person.said, str(person.chat), second)
    lines = [Line("heeded", "from the next evaluation on")]
    lines += [] if proposal.undoes else [Line("undo", f"/undo {proposal.edit.rule}")]
    edit = proposal.edit
    title = f"written as edit {number}: {edit.rule}, {edit.place}: {_said(edit.before)} -> {_said(edit.after)}"
    return Answer(title, tuple(lines))
