"""Every command and every button: who may use it, what it says about itself, and what it calls."""

from __future__ import annotations

from monitor.bot import editing, own, quick, quieten
from monitor.bot.access import Role, allows, config_lines
from monitor.bot.nouns import Action, Answer, Ask, Word
from monitor.bot.quick import names_of
from monitor.bot.words import borrower_meant, meant, shocks_of
from monitor.commands import Services
from monitor.model import CanaryError, Line

#: a message about more alerts than this is explained by its command, one by one
MAX_WHY = 6


# ---------------------------------------------------------------- worked out elsewhere
async def stress(ask: Ask) -> Answer:
    """Shocks and scenarios: everybody's, or one borrower's."""
    shocks, others = shocks_of(ask.words)
    return await _deep(ask, "stress", tuple(others), shocks, ask.now, True)


async def reverse(ask: Ask) -> Answer:
    """What breaks one borrower, or everybody."""
    who = borrower_meant(ask.rest, names_of(ask.desk.world())) if ask.words else ""
    return await _deep(ask, "reverse", who, ask.now, True)


async def chart(ask: Ask) -> Answer:
    """The past of one borrower as a picture."""
    if not ask.words:
        raise CanaryError("say which borrower: /chart NAME")
    return await _deep(ask, "chart", borrower_meant(ask.rest, names_of(ask.desk.world())), ask.now)


async def why(ask: Ask) -> Answer:
    """Why an alert stands, by its id; or why a rule answers as it does for a borrower."""
    if not ask.words:
        raise CanaryError("say which: /why ID, or /why RULE BORROWER; /alerts shows the ids")
    rules = {rule.id.lower(): rule.id for rule in ask.desk.world().rules}
    word = ask.words[0].lstrip("#")
    if word.lower() in rules:
        whom = " ".join(ask.words[1:])
        who = borrower_meant(whom, names_of(ask.desk.world())) if whom and "/" not in whom else whom
        return await _deep(ask, "why", (("", rules[word.lower()], who),))
    pairs = await ask.desk.read(_named, ask.desk.services(ask.now), ask.words[:MAX_WHY], tuple(rules.values()))
    return await _deep(ask, "why", pairs)


def _named(services: Services, ids: tuple[str, ...], rules: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    """Short ids as (id, rule, subject)."""
    found = quick.alerts_of(services)
    pairs = []
    for word in ids:
        one = found.named(word.lstrip("#"))
        if one is None:
            known = [alert.state.short_id for alert in found.alerts if alert.stands] + list(rules)
            guess = meant(word, known)
            raise CanaryError(
                f"no alert or rule {word[:30]!r}; " + (f"did you mean {guess}?" if guess else "/alerts shows the ids")
            )
        pairs.append((one.state.short_id, one.state.rule, one.state.subject))
    return tuple(pairs)


async def _deep(ask: Ask, name: str, *arguments: object) -> Answer:
    answer: Answer = await ask.desk.work(f"monitor.bot.deep:{name}", *arguments)
    return answer


# ---------------------------------------------------------------- about the bot
async def help_(ask: Ask) -> Answer:
    """The commands this person may use."""
    return quick.help_of([(w.name, w.usage, w.help) for w in WORDS if allows(ask.person.role, w.role)])


async def whoami(ask: Ask) -> Answer:
    """The ids of this person and chat, and his role."""
    return ids(ask.person.user, ask.person.chat, ask.person.role)


def ids(user: int | None, chat: int, role: Role | None) -> Answer:
    """The ids of somebody, and the lines of the config that let him in. A stranger is told nothing of the others."""
    lines = (
        Line("you", str(user) if user else "nobody: you write as the group itself"),
        Line("chat", str(chat)),
        Line("role", role or "none: the owner of this bot adds these lines to those in config.yaml"),
    )
    return Answer("who you are", lines, code=config_lines(user, chat, role))


# ---------------------------------------------------------------- taps
async def _tapped_ack(ask: Ask, target: str) -> Answer:
    return await _quieten(ask, "ack", target, "")


async def _tapped_silence_day(ask: Ask, target: str) -> Answer:
    return await _quieten(ask, "silence", target, "1d")


async def _tapped_silence_week(ask: Ask, target: str) -> Answer:
    return await _quieten(ask, "silence", target, "7d")


async def _quieten(ask: Ask, word: str, target: str, span: str) -> Answer:
    return await ask.desk.write(
        quieten.carry_out, ask.desk.world(), ask.person, ask.now, word, target.split(), span, ""
    )


async def _tapped_why(ask: Ask, target: str) -> Answer:
    return await why(_with(ask, target.split()))


async def _tapped_chart(ask: Ask, target: str) -> Answer:
    return await chart(_with(ask, [target]))


async def _tapped_stress(ask: Ask, target: str) -> Answer:
    return await stress(_with(ask, [target]))


async def _tapped_reverse(ask: Ask, target: str) -> Answer:
    return await reverse(_with(ask, [target]))


async def _tapped_leave(ask: Ask, target: str) -> Answer:
    return Answer("left as it was")


def _with(ask: Ask, words: list[str]) -> Ask:
    return Ask(ask.desk, ask.person, ask.now, tuple(words))


# ---------------------------------------------------------------- the tables
WORDS: tuple[Word, ...] = (
    Word("status", "", "everybody in a line, what fires first", "viewer", quick.status),
    Word("canary", "", "who breaks first: the ranking", "viewer", quick.canary),
    Word("alerts", "", "what stands, with ids", "viewer", quick.alerts),
    Word("miner", "NAME", "one borrower: every number, what stands", "viewer", quick.miner),
    Word("why", "ID", "why an alert stands: every number, what was said", "viewer", why),
    Word("stress", "[NAME] [btc=-30 rent=-25]", "what shocks or a scenario do", "viewer", stress),
    Word("reverse", "[NAME]", "the smallest shock that breaks it", "viewer", reverse),
    Word("chart", "NAME", "the past 90 days as a picture", "viewer", chart),
    Word("ack", "ID [4h]", "somebody looks into it: no repeats", "operator", quieten.ack),
    Word("silence", "[ID 1d]", "say nothing of it for a time; alone: what is silenced", "operator", quieten.silence),
    Word("unsilence", "NUMBER", "take a silence or an ack back", "operator", quieten.unsilence),
    Word("digest", "", "the day in short", "viewer", quick.digest),
    Word("rules", "", "every rule in a line", "viewer", quick.rules),
    Word("watch", "[NAME]", "hear of a borrower; alone: what you watch and mute", "operator", own.watch),
    Word("unwatch", "NAME", "stop watching it", "operator", own.unwatch),
    Word("mute", "NAME 7d", "hear only what is critical of it, for a time", "operator", own.mute),
    Word("unmute", "NAME", "hear all of it again", "operator", own.unmute),
    Word("rule", "NAME [for 4h]", "show a rule, or propose another value", "viewer", editing.rule),
    Word("threshold", "NAME 1.05", "propose another line for a rule", "editor", editing.threshold),
    Word("undo", "NAME", "take back the newest edit of a rule", "editor", editing.undo),
    Word("feeds", "", "what the sources gave", "viewer", quick.feeds),
    Word("whoami", "", "your ids and role", "viewer", whoami),
    Word("help", "", "all commands", "viewer", help_),
    Word("start", "", "what this is", "viewer", quick.start, listed=False),
)

ACTIONS: tuple[Action, ...] = (
    Action("ack", "operator", _tapped_ack),
    Action("silence1d", "operator", _tapped_silence_day),
    Action("silence7d", "operator", _tapped_silence_week),
    Action("why", "viewer", _tapped_why, once=False),
    Action("chart", "viewer", _tapped_chart, once=False),
    Action("stress", "viewer", _tapped_stress, once=False),
    Action("reverse", "viewer", _tapped_reverse, once=False),
    Action("rule", "editor", editing.confirmed),
    Action("rule_number", "editor", editing.picked, once=False),
    Action("rule_second", "editor", editing.seconded),
    Action("leave", "viewer", _tapped_leave),
)


def word_named(name: str) -> Word | None:
    """The command of this name."""
    return next((word for word in WORDS if word.name == name), None)


def action_named(name: str) -> Action | None:
    """What a button of this name does."""
    return next((action for action in ACTIONS if action.name == name), None)


def menu() -> list[tuple[str, str]]:
    """The commands as Telegram's menu shows them: name and help."""
    return [(word.name, f"{word.usage} - {word.help}" if word.usage else word.help) for word in WORDS if word.listed]
