"""Answers from the last evaluation and the files in force: who stands where, what fires, what is silenced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor import __version__
from monitor.bot.access import DOES
from monitor.bot.nouns import Answer, Ask, Button
from monitor.bot.words import borrower_meant
from monitor.commands import Services
from monitor.model import CanaryError, Line
from monitor.overview import FIELDS, Overview, Row, alert_words, trigger
from monitor.standing import Alerts, Standing
from monitor.tables import show
from monitor.world import World

NOTHING_YET = "nothing was evaluated yet; the first evaluation takes some seconds"
#: borrowers of the ranking, and alerts of one list
MAX_RANKED, MAX_ALERTS = 12, 40


def marked(title: str, recorded: object) -> str:
    """A title with the mark of recorded prices."""
    return f"RECORDED {recorded} {title}" if recorded else title


def names_of(world: World) -> dict[str, tuple[str, ...]]:
    """What every borrower is called."""
    return {b.id: (b.name, b.ticker or "") for b in world.book.borrowers}


def shown_of(services: Services) -> Overview:
    """The last evaluation; CanaryError before the first."""
    shown = services.overview()
    if shown is None:
        raise CanaryError(NOTHING_YET)
    return shown


def alerts_of(services: Services) -> Alerts:
    """All alerts; CanaryError before the first evaluation."""
    alerts = services.alerts()
    if alerts is None:
        raise CanaryError(NOTHING_YET)
    return alerts


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _price(shown: Overview) -> str:
    return f"BTC {shown.btc_usd:,.0f} USD" if shown.btc_usd else "BTC ?"


# ---------------------------------------------------------------- status, ranking, one borrower
async def status(ask: Ask) -> Answer:
    """Every borrower in a line, what fires first."""
    return await ask.desk.read(_status, ask.desk.services(ask.now))


def _status(services: Services) -> Answer:
    shown = shown_of(services)
    age_s = (services.now - shown.at).total_seconds()
    late = shown.recorded is None and age_s > 2 * services.config.schedule.every
    title = f"{shown.firing} firing, as of {shown.at:%Y-%m-%d %H:%M} UTC, {_price(shown)}"
    lines = [Line(row.name, _in_short(row, shown)) for row in shown.rows]
    market = [alert for alert in shown.market_alerts if alert.severity != "info"]
    lines += [Line("market", alert_words(market))] if market else []
    lines += [Line("too little data", ", ".join(shown.stubs))] if shown.stubs else []
    failed = [feed for feed, ok, _ in shown.feeds if not ok]
    lines += [Line("sources silent", f"{len(failed)} of {len(shown.feeds)}: /feeds says why")] if failed else []
    lines += [Line("late", f"the last evaluation was {show(age_s, 's')} ago")] if late else []
    return Answer(marked(title, shown.recorded), tuple(lines))


def _in_short(row: Row, shown: Overview) -> str:
    liquidity = row.readings["liquidity_locked_12m"].text(ends=True)
    parts = [f"{row.severity.upper()} {alert_words(row.alerts)}" if row.severity else "", f"liquidity {liquidity}"]
    near = trigger(row, shown.btc_usd)
    return "; ".join([*filter(None, parts), *([near] if near not in ("?", "-") else [])])


async def canary(ask: Ask) -> Answer:
    """Who breaks first: the ranking with its range."""
    return await ask.desk.read(_canary, ask.desk.services(ask.now))


def _canary(services: Services) -> Answer:
    shown = shown_of(services)
    ranked = [row for row in shown.rows if row.readings["canary_rank"].value is not None]
    ranked.sort(key=lambda row: row.readings["canary_rank"].value or 0.0)
    lines = [
        Line(row.readings["canary_rank"].text(ends=True), f"{row.name}: {_in_short(row, shown)}")
        for row in ranked[:MAX_RANKED]
    ]
    without = [row.name for row in shown.rows if row not in ranked]
    lines += [Line("no rank", f"{', '.join(without)}: too much is unknown")] if without else []
    title = f"who breaks first, as of {shown.at:%Y-%m-%d %H:%M} UTC (place, low to high)"
    return Answer(marked(title, shown.recorded), tuple(lines))


async def miner(ask: Ask) -> Answer:
    """One borrower: every number with its range, and what stands."""
    if not ask.words:
        raise CanaryError("say which borrower: /miner NAME")
    world = ask.desk.world()
    who = borrower_meant(ask.rest, names_of(world))
    return await ask.desk.read(_miner, ask.desk.services(ask.now), world, who)


def _miner(services: Services, world: World, who: str) -> Answer:
    shown, alerts = shown_of(services), alerts_of(services)
    name = next(b.name for b in world.book.borrowers if b.id == who)
    row = next((row for row in shown.rows if row.borrower == who), None)
    mine = [one for one in alerts.alerts if one.stands and one.state.subject.partition("/")[0] == who]
    lines = [Line(one.severity, _standing(alerts, one)) for one in mine]
    if row is None:
        missing = next(b.missing for b in world.book.borrowers if b.id == who)
        lines += [Line("missing", text) for text in missing] or [Line("", "too little is known to judge it")]
        return Answer(marked(f"{name}: insufficient data", shown.recorded), tuple(lines))
    for part in FIELDS:
        found = row.readings[part.metric]
        where = f" at {found.where}" if found.where else ""
        why = f" ({found.reason})" if found.reason and (found.value is None or found.partial) else ""
        if found.applies:
            lines.append(Line(part.label.replace("\n", " "), found.text(ends=True) + where + why))
    lines.append(Line("nearest trigger", trigger(row, shown.btc_usd)))
    title = f"{name} ({who}), {row.kind.replace('_', ' ')}, as of {shown.at:%Y-%m-%d %H:%M} UTC"
    keys = ((Button("Stress", "stress", who), Button("What breaks it", "reverse", who), Button("Chart", "chart", who)),)
    return Answer(marked(title, shown.recorded), tuple(lines), buttons=keys)


# ---------------------------------------------------------------- alerts, rules, sources
async def alerts(ask: Ask) -> Answer:
    """What stands, with the ids that /why, /ack and /silence take."""
    return await ask.desk.read(_alerts, ask.desk.services(ask.now))


def _alerts(services: Services) -> Answer:
    found = alerts_of(services)
    standing = [one for one in found.alerts if one.stands]
    lines = [Line(one.severity, _standing(found, one)) for one in standing[:MAX_ALERTS]]
    if len(standing) > MAX_ALERTS:
        lines.append(Line("", f"and {len(standing) - MAX_ALERTS} more: canary alerts shows all"))
    stand = "alert stands" if len(standing) == 1 else "alerts stand"
    return Answer(_dated(f"{len(standing)} {stand}", found), tuple(lines))


def _dated(title: str, found: Alerts) -> str:
    return f"{'RECORDED ' if found.recorded else ''}{title}, as of {found.at:%Y-%m-%d %H:%M} UTC"


def _standing(found: Alerts, one: Standing) -> str:
    state = one.state
    age = f", {show((found.clock - one.since).total_seconds(), 's')}" if one.since else ""
    words = []
    for what, overlay in (("acked", found.ack(one)), ("silenced", found.silence(one))):
        if overlay is not None:
            until = f" until {overlay.until:%Y-%m-%d %H:%M} UTC" if overlay.until else ""
            words.append(f"{what}{until}{f' by {overlay.by}' if overlay.by else ''}")
    return f"#{state.short_id} {state.rule} of {state.subject}{age}" + (f" ({'; '.join(words)})" if words else "")


async def rules(ask: Ask) -> Answer:
    """Every rule in a line, with how often it stands."""
    world = ask.desk.world()
    found = await ask.desk.read(lambda services: services.alerts(), ask.desk.services(ask.now))
    stands: dict[str, int] = {}
    for one in found.alerts if found else ():
        stands[one.state.rule] = stands.get(one.state.rule, 0) + one.stands
    lines = []
    for severity in ("critical", "warning", "info"):
        for rule in (rule for rule in world.rules if rule.severity == severity):
            waits = f" for {show(rule.for_s, 's')}" if rule.for_s else ""
            count = f"; stands {stands[rule.id]}x" if stands.get(rule.id) else ""
            lines.append(Line(severity, f"{rule.id}: {' '.join(rule.expr.split())}{waits}{count}"))
    return Answer(_counted(len(world.rules), "rule"), tuple(lines))


async def feeds(ask: Ask) -> Answer:
    """What every source did when it was last asked."""
    world = ask.desk.world()
    return await ask.desk.read(_feeds, ask.desk.services(ask.now), world)


def _feeds(services: Services, world: World) -> Answer:
    shown = shown_of(services)
    # what a source that answered said besides: values refused, offers kept out of an index
    lines = [
        Line(feed, "; ".join(filter(None, ("answered", reason))) if ok else reason or "gave nothing")
        for feed, ok, reason in shown.feeds
    ]
    lines += [Line(off.name, f"off: {off.reason}") for off in world.feeds_off]
    good = sum(ok for _, ok, _ in shown.feeds)
    title = f"{good} of {len(shown.feeds)} sources answered at {shown.at:%Y-%m-%d %H:%M} UTC"
    return Answer(marked(title, shown.recorded), tuple(lines))


async def digest(ask: Ask) -> Answer:
    """The day in short: what stands, what is quiet because somebody said so, what is blind."""
    return await ask.desk.read(_digest, ask.desk.services(ask.now))


def _digest(services: Services) -> Answer:
    shown, found = shown_of(services), alerts_of(services)
    standing = [one for one in found.alerts if one.stands]
    counts = {severity: sum(one.severity == severity for one in standing) for severity in ("critical", "warning")}
    lines = [Line("firing", f"{counts['critical']} critical, {counts['warning']} warnings: /alerts")]
    lines += [Line("", _standing(found, one)) for one in standing if one.severity == "critical"]
    day = [one for one in standing if one.since and (found.clock - one.since).total_seconds() < 86400]
    lines += [Line("new today", ", ".join(f"#{o.state.short_id} {o.state.rule}" for o in day[:10]))] if day else []
    lines += _in_force(found)
    blind = [row.name for row in shown.rows if row.readings["liquidity_locked_12m"].value is None]
    lines.append(Line("blind", f"liquidity unknown: {', '.join(blind)}" if blind else "nobody's liquidity is unknown"))
    lines += [Line("too little data", ", ".join(shown.stubs))] if shown.stubs else []
    failed = [feed for feed, ok, _ in shown.feeds if not ok]
    lines += [Line("sources silent", ", ".join(failed))] if failed else []
    return Answer(_dated(f"in short, {_price(shown)}", found), tuple(lines))


def _in_force(found: Alerts) -> list[Line]:
    """What is silenced or acknowledged, each with when it ends."""
    lines = []
    for said in found.said:
        until = f"until {said.overlay.until:%Y-%m-%d %H:%M} UTC" if said.overlay.until else "until it is over"
        by = f" by {said.overlay.by}" if said.overlay.by else ""
        note = f": {said.overlay.note}" if said.overlay.note else ""
        what = "silenced" if said.overlay.kind == "silence" else "acked"
        mark = "#" if said.overlay.short_id else ""
        lines.append(Line(what, f"{mark}{said.match} {until}{by}{note} (number {said.number})"))
    return lines


def in_force(services: Services) -> Answer:
    """Every silence and acknowledgement; on a reader's thread."""
    found = alerts_of(services)
    lines = _in_force(found)
    return Answer("silenced and acknowledged now" if lines else "nothing is silenced or acknowledged", tuple(lines))


# ---------------------------------------------------------------- about the bot
async def start(ask: Ask) -> Answer:
    """What this is."""
    world = ask.desk.world()
    shown = await ask.desk.read(lambda services: services.overview(), ask.desk.services(ask.now))
    now = f"{_counted(shown.firing, 'alert')} firing now: /alerts" if shown else NOTHING_YET
    every = show(world.config.schedule.every, "s")
    watched = (
        f"{_counted(len(world.book.borrowers), 'borrower')} by {_counted(len(world.rules), 'rule')}, every {every}"
    )
    return Answer(
        "Canary: which over-leveraged miner or GPU borrower breaks first, how near, and by what",
        (
            Line("watches", watched),
            Line("now", now),
            Line("you are", f"{ask.person.role}: {DOES[ask.person.role]}"),
            Line("next", "/status shows everybody, /help all commands"),
        ),
        own=True,
    )


def help_of(words: Sequence[tuple[str, str, str]]) -> Answer:
    """All commands this person may use: (command, what follows it, what it does)."""
    lines = [Line("", f"/{name} {usage}".rstrip() + f" - {text}") for name, usage, text in words]
    lines.append(Line("", "names may be shortened; buttons below alerts do the same as the commands"))
    return Answer(f"Canary {__version__}: commands", tuple(lines), own=True)


def too_old(sent: datetime, now: datetime) -> Answer:
    """A command that lay around while nobody listened."""
    age = show((now - sent).total_seconds(), "s")
    return Answer(f"not carried out: it was sent {age} ago ({sent:%Y-%m-%d %H:%M} UTC)", (Line("", "send it again"),))
