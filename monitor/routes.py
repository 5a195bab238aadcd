"""Who hears of what and when: destinations, quiet hours, digests, what people said over alerts, what was told before.

The nouns of :mod:`monitor.routing` and the questions each can answer alone. Pure: times come in as arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from monitor.model import AlertState, Decision, Event, MessageKind, Rule, Severity

RANK: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}
#: how long after the last message a standing alert is said again
REPEAT_S: dict[Severity, float | None] = {"critical": 6 * 3600.0, "warning": 24 * 3600.0, "info": None}
#: a critical alert nobody acknowledged for this long goes to the escalation routes too
ESCALATE_S = 30 * 60.0
#: an undelivered message this old is given up and its events go into the next digest
EXPIRES_S: dict[Severity, float] = {"critical": 7 * 86400.0, "warning": 3 * 86400.0, "info": 86400.0}
BACKOFF_S = (5.0, 15.0, 60.0, 300.0, 900.0)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours in which only critical alerts are said, local to ``tz``; ``end`` before ``start`` crosses midnight."""

    start: time
    end: time
    tz: str = "UTC"


@dataclass(frozen=True, slots=True)
class Mute:
    """A borrower the person behind a route does not want to hear of until a moment."""

    borrower: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Route:
    """One destination and what goes there. Empty ``rules`` or ``borrowers`` means all of them.

    ``digest_at`` is local to ``tz``. An ``escalation`` route hears only of critical alerts nobody acknowledged in time.
    ``holdings``: only borrowers of whom something is held, as the portfolio says; ``muted``: not these for a while.
    """

    name: str
    channel: str
    to: str = ""
    severities: tuple[Severity, ...] = ("info", "warning", "critical")
    rules: tuple[str, ...] = ()
    borrowers: tuple[str, ...] = ()
    quiet: Quiet | None = None
    digest_at: time = time(7)
    tz: str = "UTC"
    group_by: Literal["borrower", "rule", "none"] = "borrower"
    send_resolved: bool = True
    escalation: bool = False
    holdings: bool = False
    muted: tuple[Mute, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What a route was last told about one alert, and when. ``firing`` False: it ended since, said or not."""

    route: str
    short_id: str
    firing: bool
    at: datetime
    kind: MessageKind = "fired"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that has not been said to a route yet, since when, and why not.

    ``undelivered``: a message said it, but nobody knows whether it arrived; the next digest says it again.
    """

    event: Event
    route: str
    since: datetime
    reason: str
    undelivered: bool = False


@dataclass(frozen=True, slots=True)
class Overlay:
    """A person's word over alerts: an ack ends with the episode, a silence at ``until``. Empty names match all."""

    kind: Literal["ack", "silence"]
    at: datetime
    until: datetime | None = None
    rule: str = ""
    subject: str = ""
    short_id: str = ""
    by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """One message to be written: which route, which events, and the state of every alert it speaks of.

    ``also``: other alerts of the borrower this route knows of; ``flaps``: short id -> episodes since the last message.
    """

    id: str
    route: Route
    kind: MessageKind
    severity: Severity
    key: str
    events: tuple[Event, ...]
    alerts: tuple[AlertState, ...]
    reason: str
    also: tuple[AlertState, ...] = ()
    flaps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one evaluation decided; the store writes it beside the states, in the same transaction."""

    decisions: tuple[Decision, ...]
    groups: tuple[Group, ...]
    waiting: tuple[Waiting, ...]
    told: tuple[Told, ...]

    def spoken(self) -> set[tuple[str, str]]:
        """The (rule, subject) of every alert a message was made about: what :func:`monitor.alerts.told` wants."""
        return {(state.rule, state.subject) for group in self.groups for state in group.alerts}


# ---------------------------------------------------------------- time of day
def in_quiet(quiet: Quiet | None, now: datetime) -> bool:
    """Whether a moment lies inside the quiet hours, by the local clock.

    >>> in_quiet(Quiet(time(22), time(7), "Europe/Berlin"), datetime(2026, 7, 1, 4, 59, tzinfo=UTC))
    True
    >>> in_quiet(Quiet(time(22), time(7), "Europe/Berlin"), datetime(2026, 7, 1, 5, 0, tzinfo=UTC))
    False
    """
    if quiet is None or quiet.start == quiet.end:
        return False
    clock = now.astimezone(ZoneInfo(quiet.tz)).time()
    if quiet.start < quiet.end:
        return quiet.start <= clock < quiet.end
    return clock >= quiet.start or clock < quiet.end


def next_digest(route: Route, after: datetime) -> datetime:
    """The first digest moment strictly after a moment, in UTC; a local time the clock skips moves forward with it.

    >>> next_digest(Route("desk", "console", tz="America/New_York"), datetime(2026, 7, 1, 11, tzinfo=UTC)).isoformat()
    '2026-07-02T11:00:00+00:00'
    """
    zone = ZoneInfo(route.tz)
    day = after.astimezone(zone).date()
    for days in range(3):
        moment = datetime.combine(day + timedelta(days=days), route.digest_at, tzinfo=zone).astimezone(UTC)
        if moment > after:
            return moment
    raise AssertionError("one of three days has a digest after any moment")


def backoff_s(message_id: str, attempts: int, retry_after_s: float | None = None) -> float:
    """Seconds until the next attempt: what the channel asked for, else a growing wait spread by up to a quarter.

    The spread comes from the message's own id, so that many waiting messages do not return in one instant.

    >>> backoff_s("m", 1, retry_after_s=40)
    40.0
    >>> [4 < backoff_s("m", 1) < 6.3, 675 < backoff_s("m", 9) < 1126]
    [True, True]
    """
    if retry_after_s is not None:
        return float(max(0.0, retry_after_s))
    base = BACKOFF_S[min(max(attempts, 1), len(BACKOFF_S)) - 1]
    spread = hashlib.blake2b(f"{message_id}\0{attempts}".encode(), digest_size=2).digest()
    return base * (0.8 + 0.45 * int.from_bytes(spread, "big") / 65535)


# ---------------------------------------------------------------- who hears of it
def borrower_of(subject: str) -> str:
    """The borrower of a subject: ``acme`` of ``acme/spv-1``; the market is its own.

    >>> borrower_of("acme/spv-1"), borrower_of("market")
    ('acme', 'market')
    """
    return subject.partition("/")[0]


def takes(route: Route, rule: Rule | None, rule_id: str, subject: str, severity: Severity) -> bool:
    """Whether a route wants alerts of this rule, subject and severity. A rule that names a route goes nowhere else."""
    if rule is not None and rule.route and rule.route != route.name:
        return False
    if route.escalation and severity != "critical":
        return False
    return (
        severity in route.severities
        and (not route.rules or rule_id in route.rules)
        and (not route.borrowers or borrower_of(subject) in route.borrowers)
    )


def muted(route: Route, subject: str, severity: Severity, now: datetime) -> Mute | None:
    """The mute of a route that holds for this subject, if any. What is critical is heard all the same.

    >>> route = Route("desk", "console", muted=(Mute("acme", datetime(2026, 7, 2, tzinfo=UTC)),))
    >>> at = datetime(2026, 7, 1, tzinfo=UTC)
    >>> muted(route, "acme/spv", "critical", at), muted(route, "acme/spv", "warning", at).borrower
    (None, 'acme')
    """
    if severity == "critical":
        return None
    return next((one for one in route.muted if one.borrower == borrower_of(subject) and now < one.until), None)


def matches_overlay(overlay: Overlay, state: AlertState) -> bool:
    """Whether a person's word is about this alert."""
    return (
        (not overlay.rule or overlay.rule == state.rule)
        and (not overlay.subject or state.subject == overlay.subject or borrower_of(state.subject) == overlay.subject)
        and (not overlay.short_id or overlay.short_id == state.short_id)
    )


def acked(state: AlertState, overlays: Iterable[Overlay], now: datetime) -> Overlay | None:
    """The acknowledgement in force for the present episode, if any; one given before it fired does not count."""
    for overlay in overlays:
        if overlay.kind == "ack" and matches_overlay(overlay, state):
            started = state.fired_at is not None and overlay.at >= state.fired_at
            if started and (overlay.until is None or now < overlay.until):
                return overlay
    return None


def silenced(state: AlertState, overlays: Iterable[Overlay], now: datetime) -> Overlay | None:
    """The silence in force for this alert, if any; a silence without an end is not one."""
    for overlay in overlays:
        if overlay.kind == "silence" and matches_overlay(overlay, state):
            if overlay.until is not None and overlay.at <= now < overlay.until:
                return overlay
    return None
