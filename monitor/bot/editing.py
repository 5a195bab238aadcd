"""Rules edited from chat: shown, proposed with the difference and a dry run, carried out when the same person says so.

A rule that pages cannot be made much weaker by one person alone: another editor has to agree with a button, or, where
the config names only one editor, somebody at the terminal. What counts as weaker is in :mod:`monitor.weakening`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

from monitor.bot.access import allows
from monitor.bot.elsewhere import world_of
from monitor.bot.nouns import Answer, Ask, Button, Person, confirm
from monitor.bot.words import meant
from monitor.config import Config, Found
from monitor.editing import Proposal, Wish, carry_out, headline, proposal_of, rule_texts, wish_of
from monitor.edits import Place, find_rule, make, places
from monitor.expression import compile_expression
from monitor.exprtext import ExpressionError
from monitor.metrics import METRICS
from monitor.model import CanaryError, Level, Line
from monitor.rule_commands import Preview, past_edits, preview, rule_text, told
from monitor.safewrite import digest
from monitor.store_chat import Audit
from monitor.tick import Memory
from monitor.world import World
from monitor.yamltext import Text

#: how long another editor may take to agree
SECOND_LIVES = timedelta(hours=1)
#: numbers offered as buttons, and how much of a comparison fits on one
MAX_NUMBERS, MAX_LABEL = 8, 40
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
    return await _propose_or_ask(ask, wish_of(name, ask.words[1:]))


async def threshold(ask: Ask) -> Answer:
    """/threshold NAME 1.05, of several numbers /threshold NAME 1.05 #2, of the recovery /threshold NAME clear 1.2."""
    if len(ask.words) < 2:
        raise CanaryError("write: /threshold NAME 1.05, or /threshold NAME clear 1.2; /rule NAME shows the numbers")
    name = _named(ask, ask.words[0])
    return await _propose_or_ask(ask, wish_of(name, ["threshold", *ask.words[1:]]))


async def undo(ask: Ask) -> Answer:
    """/undo NAME takes back the newest edit of a rule."""
    if len(ask.words) != 1:
        raise CanaryError("say of which rule: /undo NAME; /rule NAME shows its edits")
    return await _propose(ask, _named(ask, ask.words[0]), None)


def _named(ask: Ask, word: str) -> str:
    """The rule of this name, however its letters are written."""
    known = {one.id.lower(): one.id for one in ask.desk.world().rules}
    if word.lower() not in known:
        guess = meant(word.lower(), known)
        hint = f"did you mean {known[guess]}?" if guess else "/rules lists them"
        raise CanaryError(f"no rule {word[:40]!r}; {hint}")
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
async def _propose_or_ask(ask: Ask, wish: Wish) -> Answer:
    """Propose an edit; where it could mean several numbers, a button for each."""
    _editors_only(ask)
    choice = await ask.desk.read(_choice, ask.desk.world(), wish)
    if choice is None:
        return await _propose(ask, wish.rule, wish)
    seen, found = choice
    rows = tuple((_number_button(ask, wish, seen, place),) for place in found[:MAX_NUMBERS])
    lines = [Line("" if i else "numbers", f"#{one.number}  {one.text} in {one.shown}") for i, one in enumerate(found)]
    return Answer(f"{wish.rule}: which number becomes {wish.value}?", tuple(lines), buttons=rows)


def _editors_only(ask: Ask) -> None:
    if not allows(ask.person.role, "editor"):
        raise CanaryError(f"rules are edited by editors; you are {ask.person.role}")


def _choice(world: World, wish: Wish) -> tuple[str, list[Place]] | None:
    """What a wish could mean that names no number: the state of its rule, and the numbers that can become the value.

    None where nothing is to be chosen; CanaryError when the value can stand nowhere.
    """
    text, node = find_rule(rule_texts(world.config), wish.rule)
    level: Level = next((rule.each for rule in world.rules if rule.id == wish.rule), "borrower")
    scenarios = {scenario.name for scenario in world.scenarios}
    found = places(text, node, wish.rule, wish.key)
    if wish.number or len(found) < 2:
        return None
    fitting, refusals = list[Place](), list[CanaryError]()
    for place in found:
        try:
            after = Text(make(text, place, wish.value).of(text.text), text.file)
            said = str(find_rule({text.file: after}, wish.rule)[1].value[wish.key].value)
            compile_expression(said, METRICS, scenarios, level)
            fitting.append(place)
        except ExpressionError as error:  # 95% of something that is counted in days
            refusals.append(CanaryError(f"{wish.rule}: {error}"))
        except CanaryError as error:  # it is that already, say: another number may still be meant
            refusals.append(error)
    if not fitting:
        raise refusals[0]
    return digest(text.text[node.start : node.end].encode()), fitting


def _number_button(ask: Ask, wish: Wish, seen: str, place: Place) -> Button:
    shown = place.shown if len(place.shown) <= MAX_LABEL else f"…{place.shown[-MAX_LABEL:]}"
    meant = {"rule": wish.rule, "key": wish.key, "value": wish.value, "number": place.number, "seen": seen}
    return Button(f"{shown} -> {wish.value}", "rule_number", json.dumps(meant), user=ask.person.user)


async def picked(ask: Ask, payload: str) -> Answer:
    """One of several numbers was tapped: propose that edit, if the rule is still the one that was shown."""
    meant = json.loads(payload)
    seen = meant.pop("seen")
    wish = Wish(**meant)
    choice = await ask.desk.read(_choice, ask.desk.world(), replace(wish, number=0))
    if choice is None or choice[0] != seen:
        raise CanaryError(f"{wish.rule} changed since these buttons were made; /rule {wish.rule} shows it as it is")
    return await _propose(ask, wish.rule, wish)


async def _propose(ask: Ask, name: str, wish: Wish | None) -> Answer:
    _editors_only(ask)
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
