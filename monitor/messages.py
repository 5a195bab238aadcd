"""What a message says, in the order a desk reads it. Pure: plain data in, a title and lines out; time is an argument.

The order: severity, obligor entity, instrument, size, recourse; own exposure, where there is any; each value against
its line, what it was and when, true since; what breaks next; what restores the line; whether it holds at both ends of
the assumptions; how old the balance sheet and the prices are; two actions. Every figure carries its unit; what is not
known is ``?`` with the reason. The markup and the limits of a channel are in :mod:`monitor.markup`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime

from monitor.context import Context, Deadline, Holding, Reading, Restore, Sheet, level_of, lines_of_rule, read_numbers
from monitor.markup import clean, html, plain
from monitor.model import MARKET, Line, MessageKind, Quote, Severity, end_of_day
from monitor.redact import redact
from monitor.units import format_age, format_usd, format_value

__all__ = [
    "Context",
    "Deadline",
    "Holding",
    "Reading",
    "Restore",
    "Sheet",
    "clean",
    "compose",
    "digest",
    "first_look",
    "html",
    "lines_of_rule",
    "notice",
    "plain",
    "read_numbers",
    "resolved",
]

UNKNOWN_TEXT = "?"
#: alerts told in full in one message; the rest are named
MAX_FULL = 6
#: alerts named in one list
MAX_LISTED = 40


# ---------------------------------------------------------------- whole messages
def compose(
    kind: MessageKind, severity: Severity, contexts: Sequence[Context], now: datetime
) -> tuple[str, tuple[Line, ...]]:
    """Title and lines of one message about the events of one group, the gravest first.

    ``kind`` is ``fired`` or ``reminder``; a message in which everything is over is :func:`resolved`. ``now`` is UTC and
    only gives ages. One event is told in full; of many, the first six in full and the others by name.
    """
    if not contexts:
        raise ValueError("a message is about at least one event")
    if all(context.event.kind == "resolved" for context in contexts):
        return resolved(contexts, now)
    ordered = _by_gravity(contexts)
    mark = f"{severity.upper()} (reminder)" if kind == "reminder" else severity.upper()
    title = f"{mark} {_subject_title(ordered)}"
    lines = _own(ordered)
    for context in ordered[:MAX_FULL]:
        lines += _story(context, now, with_obligor=len(ordered) > 1)
    lines += _not_told(ordered)
    lines += _sheets(ordered, now) + _prices(ordered, now)
    for context in ordered[:MAX_FULL]:
        lines += _actions(context, named=len(ordered) > 1)
    return _recorded(title, ordered), tuple(lines)


def resolved(contexts: Sequence[Context], now: datetime) -> tuple[str, tuple[Line, ...]]:
    """Title and lines for alerts that are over: which, how long they fired, and the numbers they ended with."""
    ordered = _by_gravity(contexts)
    lines: list[Line] = []
    for context in ordered[:MAX_FULL]:
        lines += _story(context, now, with_obligor=len(ordered) > 1)
    lines += _not_told(ordered) + _sheets(ordered, now) + _prices(ordered, now)
    return _recorded(f"RESOLVED {_subject_title(ordered)}", ordered), tuple(lines)


def digest(
    contexts: Sequence[Context],
    now: datetime,
    alive: str = "",
    more: Sequence[Line] = (),
    recorded_on: date | None = None,
) -> tuple[str, tuple[Line, ...]]:
    """The daily message: one line per event, oldest first, then ``more`` (blind, silenced, unsent) and ``alive``.

    What is held comes first: the positions, then their events, then those of all others.
    """
    ordered = sorted(contexts, key=lambda context: (not context.holdings, context.event.at))
    title = f"DIGEST {_day(now)}: {_counts(ordered) or 'nothing changed'}"
    lines = _own(ordered) + [_one_line(context) for context in ordered[:MAX_LISTED]] + _left_out(ordered)
    lines += [Line(line.label, redact(line.text)) for line in more]
    if alive:
        lines.append(Line("alive", redact(alive)))
    return _recorded(title, ordered, recorded_on), tuple(lines)


def first_look(
    contexts: Sequence[Context], now: datetime, recorded_on: date | None = None
) -> tuple[str, tuple[Line, ...]]:
    """The one message of a first start: what fires already, the gravest first. Nothing of it is repeated as news."""
    ordered = _by_gravity(contexts)
    by_severity = Counter(context.event.severity for context in ordered)
    counts = ", ".join(f"{by_severity[severity]} {severity}" for severity in _GRAVITY if by_severity[severity])
    alerts = "alert fires" if len(ordered) == 1 else "alerts fire"
    title = f"FIRST LOOK {_moment(now)}: " + (
        f"{len(ordered)} {alerts} already ({counts})" if ordered else "nothing fires"
    )
    lines = [_one_line(context, since=True) for context in ordered[:MAX_LISTED]] + _left_out(ordered)
    lines.append(Line("from now on", "only changes are sent"))
    return _recorded(title, ordered, recorded_on), tuple(lines)


def notice(
    severity: Severity, what: str, details: Iterable[str] = (), do: str = "", recorded_on: date | None = None
) -> tuple[str, tuple[Line, ...]]:
    """A message about the program itself, such as a refused edit or a dead channel. Secrets are hidden.

    >>> title, lines = notice("warning", "edit refused: keeping the last good rules", ["a.yaml:3:1: unknown key"])
    >>> title, lines[0].text
    ('WARNING edit refused: keeping the last good rules', 'a.yaml:3:1: unknown key')
    """
    lines = [Line("" if i else "what", redact(text)) for i, text in enumerate(details)]
    if do:
        lines.append(Line("do", redact(do)))
    return _recorded(f"{severity.upper()} {redact(what)}", (), recorded_on), tuple(lines)


# ---------------------------------------------------------------- titles
_GRAVITY: tuple[Severity, ...] = ("critical", "warning", "info")
_RECOURSE = {
    "none": "non-recourse",
    "limited": "limited recourse",
    "completion": "completion guarantee",
    "springing": "springing recourse",
    "full": "full recourse",
}
_VERBS = {
    "fired": "fired",
    "resolved": "resolved",
    "nodata": "lost its data",
    "data_back": "has data again",
    "error": "cannot be evaluated",
    "error_over": "can be evaluated again",
    "dropped": "dropped",
    "pending": "pending",
    "recovering": "recovering",
}


def _by_gravity(contexts: Sequence[Context]) -> list[Context]:
    """Critical first, what fires before what is over, what is held before others, then by name: equal input gives
    equal text."""

    def rank(context: Context) -> tuple[int, bool, bool, str, str]:
        event = context.event
        over = event.kind == "resolved"
        return _GRAVITY.index(event.severity), over, not context.holdings, event.rule, event.subject

    return sorted(contexts, key=rank)


def _subject_title(contexts: Sequence[Context]) -> str:
    if len(contexts) == 1:
        return _obligor(contexts[0])
    names = list(dict.fromkeys(context.borrower for context in contexts))
    who = names[0] if len(names) == 1 else f"{len(names)} borrowers" if len(names) > 2 else " and ".join(names)
    return f"{who}: {_counts(contexts)}"


def _counts(contexts: Sequence[Context]) -> str:
    counts = Counter(_VERBS[context.event.kind] for context in contexts)
    return ", ".join(f"{count} {verb}" for verb, count in counts.items())


def _obligor(context: Context) -> str:
    """Obligor entity, instrument, size, recourse: who owes, what, how much, and against whom.

    An alert about a whole borrower has no single instrument: its size is all its debt, and recourse does not apply.
    """
    level = level_of(context.event.subject)
    if level == "source":
        return f"source: {context.event.subject.partition('/')[2]}"
    if level == "market":
        return f"market: {context.event.rule}"
    who, name = clean(context.entity or context.borrower, 80), clean(context.borrower, 60)
    if name not in who:
        who = f"{who} ({name})"
    size = UNKNOWN_TEXT if context.size_usd is None else f"{format_usd(context.size_usd)} USD"
    if level == "borrower" and not context.instrument:
        return f"{who}, {size} of debt"
    kinds = [_RECOURSE.get(kind, kind) for kind in clean(context.recourse, 60).split(" / ")]
    recourse = " / ".join(kinds) or f"recourse {UNKNOWN_TEXT}"
    instrument = clean(context.instrument, 60) or f"instrument {UNKNOWN_TEXT}"
    return f"{who}, {instrument}, {size}, {recourse}"


def _recorded(title: str, contexts: Sequence[Context], recorded_on: date | None = None) -> str:
    dates = [context.recorded_on for context in contexts if context.recorded_on]
    day = recorded_on or (max(dates) if dates else None)
    return f"RECORDED {day.isoformat()} {title}" if day else title


# ---------------------------------------------------------------- one event
def _story(context: Context, now: datetime, with_obligor: bool) -> list[Line]:
    event = context.event
    lines = [Line("alert", f"{event.rule} {_VERBS[event.kind]}{f' #{event.short_id}' if event.short_id else ''}")]
    if with_obligor:
        lines.append(Line("obligor", _obligor(context)))
    if context.summary:
        lines.append(Line("", context.summary))
    lines += [Line("" if i else "now", _reading_text(reading)) for i, reading in enumerate(context.readings)]
    lines.append(Line("since", _since(context, now)))
    if context.because or event.because:
        lines.append(Line("because", context.because or event.because))
    if context.moved:
        lines.append(Line("moved", context.moved))
    if not _stands(context):
        return lines
    if level_of(event.subject) not in ("market", "source"):  # these owe nothing
        lines.append(Line("next", _deadline(context.next, now)))
        lines += _restores(context.restores)
    lines.append(Line("range", f"holds at both ends of the assumptions: {_both_ends(context)}"))
    return lines


def _stands(context: Context) -> bool:
    """Whether the event says that the alert's condition holds, so that what follows from it is worth telling."""
    return context.event.kind in ("pending", "fired", "recovering")


def _reading_text(reading: Reading) -> str:
    """``name value, line > limit; was previous until date (how old; note)``."""
    text = f"{reading.name} {_shown(reading.value, reading.unit, reading.reason)}"
    if reading.line:
        text += f", line {reading.line[0]} {_shown(reading.line[1], reading.unit)}"
    if reading.previous is not None:
        until = reading.previous_until.isoformat() if reading.previous_until else "an unknown date"
        text += f"; was {_shown(reading.previous, reading.unit)} until {until}"
    notes = [f"{format_age(reading.age_s)} old"] if reading.age_s is not None else []
    notes += [reading.detail] if reading.detail else []
    return f"{text} ({'; '.join(notes)})" if notes else text


def _since(context: Context, now: datetime) -> str:
    event = context.event
    # what is over has no beginning of its own any more; the message that announced it has
    text = "" if event.kind == "resolved" else f"true since {UNKNOWN_TEXT}; "
    if context.true_since:
        until = event.at if event.kind == "resolved" else now
        begun = _moment(context.true_since) + (" or earlier" if context.maybe_longer else "")
        text = f"true since {begun} ({format_age((until - context.true_since).total_seconds())}); "
    text += f"{_VERBS[event.kind]} {_moment(event.at)}"
    if context.flaps > 1:
        text += f"; it flapped: {context.flaps} times since the last message"
    if event.kind in ("nodata", "error") and event.reason:
        text += f": {event.reason}"
    return text


def _deadline(deadline: Deadline | None, now: datetime) -> str:
    if deadline is None:
        return f"{UNKNOWN_TEXT} (no dated obligation is known)"
    if deadline.at is None:
        when = f"by {UNKNOWN_TEXT}"
    else:
        left = (deadline.at - now).total_seconds()
        when = f"by {_moment(deadline.at)} ({f'in {format_age(left)}' if left >= 0 else f'{format_age(-left)} ago'})"
    text = f"{deadline.what} {when}, {_shown(deadline.amount_usd, 'usd')}"
    if deadline.reason:
        text += f" ({deadline.reason})"
    crossed = ", ".join(deadline.cross_defaults) or "none known"
    return f"{text}; cross-defaults: {crossed}"


def _restores(restores: Sequence[Restore]) -> list[Line]:
    if not restores:
        return [Line("restores", f"{UNKNOWN_TEXT} (not worked out for this rule)")]
    return [Line("" if i else "restores", _restore(restore)) for i, restore in enumerate(restores)]


def _restore(restore: Restore) -> str:
    ways = []
    if restore.price is not None:
        ways.append(f"{restore.series} at {_shown(restore.price, restore.unit)}")
    if restore.amount_usd is not None:
        ways.append(_shown(restore.amount_usd, "usd"))
    text = " or ".join(ways) or f"{UNKNOWN_TEXT} ({restore.reason or 'not worked out'})"
    return f"{text}: {restore.how}" if restore.how else text


_TESTS: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
}


def _both_ends(context: Context) -> str:
    """``yes`` or ``no`` with the range of every number an assumption entered; ``?`` where it cannot be told."""
    ranged = [r for r in context.readings if r.low is not None and r.high is not None and r.low != r.high]
    ranges = "; ".join(f"{r.name} {_shown(r.low, r.unit)} to {_shown(r.high, r.unit)}" for r in ranged)
    if context.holds is not None:
        return f"{'yes' if context.holds else 'no'} ({ranges or 'no range given'})"
    if not context.readings or any(reading.value is None for reading in context.readings):
        return f"{UNKNOWN_TEXT} (a number is unknown)"
    if not ranged:
        return "yes (no assumption entered)"
    if any(reading.line is None for reading in ranged):
        return f"{UNKNOWN_TEXT} (the rule compares more than single numbers; {ranges})"
    broken = [r for r in ranged if not all(_TESTS[r.line[0]](end, r.line[1]) for end in (r.low, r.high))]  # type: ignore[index,arg-type]
    words = re.findall(r"[a-z_]+", context.rule.expr) if context.rule else []
    if broken and ("or" in words or "not" in words):
        return f"{UNKNOWN_TEXT} (the rule has alternatives; {ranges})"
    return f"{'no' if broken else 'yes'} ({ranges})"


def _actions(context: Context, named: bool) -> list[Line]:
    """The first two actions of the rule; an alert that is over, or whose data is lost, calls for none of them."""
    if not _stands(context) or not context.rule or not context.rule.do:
        return []
    steps = re.split(r"(?<=[.;])\s+", context.rule.do.strip())
    if len(steps) == 1:
        steps = re.split(r",\s+(?=then\s)", steps[0])
    steps = [step[:1].upper() + step[1:].rstrip(" .;") for step in steps if step][:2]
    head = f"{context.event.rule}: " if named else ""
    return [Line("" if i else "do", f"{'' if i else head}{i + 1}. {step}") for i, step in enumerate(steps)]


# ---------------------------------------------------------------- what the events share
def _sheets(contexts: Sequence[Context], now: datetime) -> list[Line]:
    """One line per balance sheet; unknown is said, except for market alerts, which stand on none."""
    texts = []
    for context in contexts:
        if level_of(context.event.subject) not in ("market", "source"):
            named = f"{context.borrower}: " if len({c.borrower for c in contexts}) > 1 else ""
            texts.append(named + _sheet(context.sheet, now))
    return [Line("" if i else "sheet", text) for i, text in enumerate(dict.fromkeys(texts))]


def _sheet(sheet: Sheet | None, now: datetime) -> str:
    if sheet is None or sheet.as_of is None:
        return f"as of {UNKNOWN_TEXT} (no dated balance sheet is known)"
    age = format_age((now - end_of_day(sheet.as_of)).total_seconds())
    origin = f"published {sheet.publication}, {sheet.quality}: {sheet.source}"
    return f"as of {sheet.as_of.isoformat()} ({age} old), {origin}"


def _prices(contexts: Sequence[Context], now: datetime) -> list[Line]:
    quotes = {(quote.series, quote.subject): quote for context in contexts for quote in context.prices}
    return [Line("" if i else "price", _price(quote, now)) for i, quote in enumerate(quotes.values())]


def _price(quote: Quote, now: datetime) -> str:
    name = quote.series if quote.subject == MARKET else f"{quote.series} of {quote.subject}"
    if not quote.known:
        return f"{name} {UNKNOWN_TEXT} ({quote.reason})"
    text = f"{name} {_shown(quote.value, quote.unit)}"
    if quote.observed_at:
        text += f", {format_age((now - quote.observed_at).total_seconds())} old"
    notes = [
        quote.source,
        "restated" if quote.restated else "",
        f"in doubt: {quote.in_doubt}" if quote.in_doubt else "",
    ]
    return f"{text} ({'; '.join(note for note in notes if note)})"


def _own(contexts: Sequence[Context]) -> list[Line]:
    held = dict.fromkeys((context.borrower, holding) for context in contexts for holding in context.holdings)
    several = len({context.borrower for context in contexts}) > 1
    texts = [f"{who}: {_holding(holding)}" if several else _holding(holding) for who, holding in held]
    return [Line("" if i else "own", text) for i, text in enumerate(texts)]


def _holding(holding: Holding) -> str:
    text = f"{holding.instrument}: {format_usd(holding.amount_usd)} USD"
    if holding.quote is None:
        return f"{text}, last quote {UNKNOWN_TEXT}"
    day = holding.quoted_on.isoformat() if holding.quoted_on else UNKNOWN_TEXT
    source = f" ({holding.source})" if holding.source else ""
    return f"{text}, last quote {holding.quote:.2f} % of par on {day}{source}"


def _one_line(context: Context, since: bool = False) -> Line:
    """One event in a list: the severity in the margin, then the rule, who, what happened and when."""
    event = context.event
    when = f"since {_moment(context.true_since)}" if since and context.true_since else _moment(event.at)
    told = context.summary or "; ".join(_reading_text(reading) for reading in context.readings[:2])
    name = f"{event.rule}{f' #{event.short_id}' if event.short_id else ''}"
    head = f"{name}, {context.borrower or event.subject}, {_VERBS[event.kind]} {when}"
    return Line(event.severity, f"{head}{f': {told}' if told else ''}")


def _not_told(contexts: Sequence[Context]) -> list[Line]:
    rest = contexts[MAX_FULL : MAX_FULL + MAX_LISTED]
    return [
        Line("" if i else "also", f"{c.event.rule} {_VERBS[c.event.kind]}: {_obligor(c)}") for i, c in enumerate(rest)
    ]


def _left_out(contexts: Sequence[Context]) -> list[Line]:
    count = len(contexts) - MAX_LISTED
    return [Line("", f"and {count} more: `canary alerts` lists all")] if count > 0 else []


# ---------------------------------------------------------------- figures
def _shown(value: float | None, unit: str, reason: str = "") -> str:
    """One figure with its unit; ``?`` and why when it is unknown.

    >>> _shown(1.5, "ratio"), _shown(259200.0, "s"), _shown(None, "usd", "cash is missing")
    ('150.0%', '3 d', '? (cash is missing)')
    """
    if value is None or math.isnan(value):
        return f"{UNKNOWN_TEXT} ({reason})" if reason else UNKNOWN_TEXT
    if unit == "s" and math.isfinite(value):
        return f"-{format_age(-value)}" if value < 0 else format_age(value)
    return format_value(value, unit)


def _moment(moment: datetime) -> str:
    """A time in UTC, to the minute.

    >>> _moment(datetime(2026, 11, 1, 9, 5, tzinfo=UTC))
    '2026-11-01 09:05 UTC'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()
