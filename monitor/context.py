"""What a message needs to know about one event, as plain data, and how an evaluation fills it. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from string import ascii_letters

from monitor.model import MARKET, Column, Event, FloatArray, Level, Numbers, Quote, Rule
from monitor.units import parse_quantity
from monitor.values import unit_of

#: (metric, subject, value now) -> the last different value and the day that ended it, where they are known
Previous = Callable[[str, str, float | None], tuple[float, date] | None]


def nothing_before(metric: str, subject: str, value: float | None) -> tuple[float, date] | None:
    """What is known before where nobody remembers."""
    return None


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of a rule at the moment of the event.

    ``value`` is None when unknown, with the ``reason``. ``line`` is (comparison, limit) where the rule compares the
    number with a constant. ``low`` and ``high`` are the value at both ends of its assumptions (None: none entered).
    """

    name: str
    value: float | None
    unit: str
    line: tuple[str, float] | None = None
    reason: str = ""
    previous: float | None = None
    previous_until: date | None = None
    low: float | None = None
    high: float | None = None
    age_s: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Deadline:
    """What breaks next if nothing is done. ``at`` is UTC; an unknown ``at`` or ``amount_usd`` is shown as ``?``."""

    what: str
    at: datetime | None = None
    amount_usd: float | None = None
    cross_defaults: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Restore:
    """What brings the number back over its line: a price of a series, dollars, or the reason why neither is known."""

    series: str = ""
    price: float | None = None
    unit: str = "usd"
    amount_usd: float | None = None
    how: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Where the balance sheet behind the numbers comes from."""

    as_of: date | None
    #: a day, ``by`` a day, or ``?``
    publication: str
    quality: str
    source: str


@dataclass(frozen=True, slots=True)
class Holding:
    """Own exposure to one instrument, with its last tradable quote (percent of par) where there is one."""

    instrument: str
    amount_usd: float
    quote: float | None = None
    quoted_on: date | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a message says about one event, as plain data. Unknown parts are left at their defaults.

    ``borrower`` is the name a desk uses; ``entity`` the legal obligor where it differs; ``summary`` the rule text with
    its placeholders filled; ``holds`` overrides the check of both ends of the assumptions that is otherwise made from
    the readings; ``flaps`` counts how often it fired since the last message (1: no flapping); ``recorded_on``
    is the date of recorded prices, None with live ones.
    """

    event: Event
    borrower: str
    rule: Rule | None = None
    summary: str = ""
    entity: str = ""
    instrument: str = ""
    size_usd: float | None = None
    recourse: str = ""
    readings: tuple[Reading, ...] = ()
    true_since: datetime | None = None
    #: it was true when anybody looked for the first time
    maybe_longer: bool = False
    flaps: int = 0
    next: Deadline | None = None
    restores: tuple[Restore, ...] = ()
    holds: bool | None = None
    sheet: Sheet | None = None
    prices: tuple[Quote, ...] = ()
    holdings: tuple[Holding, ...] = ()
    because: str = ""
    recorded_on: date | None = None
    #: what moved the number since yesterday, in parts that add up
    moved: str = ""


# ---------------------------------------------------------------- filling it
_COMPARISON = re.compile(
    r"(?P<before>[*/+-]\s*)?\b(?P<name>[a-z][a-z0-9_]*)\s*(?P<sign><=|>=|<|>)\s*"
    r"(?P<limit>[+-]?\d[\d_.]*(?:[eE][+-]?\d+)?(?:%|[a-zA-Z]+\b)?)(?P<after>\s*[*/+-])?"
)


def lines_of_rule(expression: str, units: Mapping[str, str] | None = None) -> dict[str, tuple[str, float]]:
    """The constants a rule compares plain names with: name -> (comparison, limit). Arithmetic and words are left out.

    A limit written with a unit comes in the unit of its number, where ``units`` (name -> unit) knows it.

    >>> lines_of_rule("spv_ltv_economic > 1.1 and spv_dscr < 1.0 and recourse_share < 50%")
    {'spv_ltv_economic': ('>', 1.1), 'spv_dscr': ('<', 1.0), 'recourse_share': ('<', 0.5)}
    >>> lines_of_rule("btc_usd / margin_call_btc_usd - 1 < 15% and cash < 0.5 * debt")
    {}
    >>> lines_of_rule("cds_5y_bp > 500bp and hardware_age < 90d", {"cds_5y_bp": "bp", "hardware_age": "days"})
    {'cds_5y_bp': ('>', 500.0), 'hardware_age': ('<', 90.0)}
    """
    found: dict[str, tuple[str, float]] = {}
    for match in _COMPARISON.finditer(expression):
        if match["before"] or match["after"]:
            continue
        try:
            limit = parse_quantity(match["limit"])[0]
            if match["limit"][-1] in "%" + ascii_letters:
                limit = round(limit / unit_of((units or {}).get(match["name"], "")).scale, 9)
            found.setdefault(match["name"], (match["sign"], limit))
        except ValueError:
            continue  # not a constant in our units: the rule's text is shown instead
    return found


def read_numbers(
    event: Event,
    rule: Rule | None,
    numbers: Numbers,
    previous: Previous = nothing_before,
) -> tuple[Reading, ...]:
    """The readings of one event: each number its rule named, with line, range and age from the evaluation's columns.

    ``event.values`` decides which numbers are shown and their values, since they are what was judged; ``numbers`` adds
    units and ranges; ``previous`` gives what stood there before.
    """
    units = {name: column.unit for name, column in numbers.columns.items()}
    limits = lines_of_rule(rule.expr, units) if rule else {}
    names = list(event.values) or list(limits)
    return tuple(_reading(event, name, limits.get(name), numbers, previous) for name in names)


def _reading(
    event: Event,
    name: str,
    line: tuple[str, float] | None,
    numbers: Numbers,
    previous: Previous,
) -> Reading:
    """One number: the judged value, and what the evaluation's column adds to it."""
    value = _finite_or_none(event.values.get(name))
    before, until = previous(name, event.subject, value) or (None, None)
    column = numbers.columns.get(name)
    if column is None:
        return Reading(name, value, "", line, event.reason if value is None else "", before, until)
    subjects = numbers.subjects.get(column.level, ())
    i = _index_of(subjects, event.subject, column, value)
    if i is None:
        return Reading(name, value, column.unit, line, event.reason if value is None else "", before, until)
    worst = f"worst: {subjects[i].split('/', 1)[-1]}" if column.level == "facility" != level_of(event.subject) else ""
    return Reading(
        name,
        value,
        column.unit,
        line,
        reason=column.reasons.get(i, event.reason) if value is None else "",
        previous=before,
        previous_until=until,
        low=_at(column.low, i),
        high=_at(column.high, i),
        age_s=_at(column.age_s, i),
        detail="; ".join(text for text in (worst, column.detail.get(i, "")) if text),
    )


def level_of(subject: str) -> Level:
    """Which level an alert's subject is of.

    >>> level_of("market"), level_of("coreweave"), level_of("coreweave/ddtl-2"), level_of("market/kraken")
    ('market', 'borrower', 'facility', 'source')
    """
    if subject.partition("/")[0] == MARKET:
        return "source" if "/" in subject else "market"
    return "facility" if "/" in subject else "borrower"


def _index_of(subjects: Sequence[str], subject: str, column: Column, value: float | None) -> int | None:
    """The column's place for an alert's subject: its own, its borrower's, the market's, or its worst facility's."""
    for candidate in (subject, subject.split("/", 1)[0], MARKET):
        if candidate in subjects:
            return subjects.index(candidate)
    own = (i for i, name in enumerate(subjects) if name.startswith(f"{subject}/") and value is not None)
    return next((i for i in own if bool(column.known[i]) and column.values[i] == value), None)


def _at(values: FloatArray | None, i: int) -> float | None:
    return None if values is None else _finite_or_none(float(values[i]))


def _finite_or_none(value: float | None) -> float | None:
    """None for an unknown number; infinity is a value (unlimited)."""
    return None if value is None or math.isnan(value) else value
