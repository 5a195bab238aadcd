"""What is said to whom, now, later or not at all, with a named reason for each: events and states in, groups out.

Critical alerts go out at once, warnings grouped, info in the daily digest. Inhibited, silenced and quiet-hour events
are not lost: they wait and are judged again at every evaluation, until they are said or their alert has ended unsaid.
What a route has been told is remembered per alert (:class:`Told`): a recovery is said only to those who heard of the
alert, nothing is announced twice, and an alert that ended unheard (silenced) is announced when it returns.
Pure: no clock, no text building; :mod:`monitor.messages` turns a group into lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from monitor.model import AlertState, Decision, Event, MessageKind, Rule, Severity
from monitor.routes import (
    BACKOFF_S,
    ESCALATE_S,
    EXPIRES_S,
    RANK,
    REPEAT_S,
    Group,
    Overlay,
    Plan,
    Quiet,
    Route,
    Told,
    Waiting,
    acked,
    backoff_s,
    borrower_of,
    in_quiet,
    muted,
    next_digest,
    silenced,
    takes,
)
from monitor.states import active

__all__ = [
    "BACKOFF_S",
    "ESCALATE_S",
    "EXPIRES_S",
    "RANK",
    "REPEAT_S",
    "Group",
    "Overlay",
    "Plan",
    "Quiet",
    "Route",
    "Told",
    "Waiting",
    "acked",
    "backoff_s",
    "borrower_of",
    "first_look",
    "in_quiet",
    "next_digest",
    "route",
    "silenced",
    "takes",
]

States = Mapping[tuple[str, str], AlertState]


def route(
    events: Sequence[Event],
    states: States,
    routes: Sequence[Route],
    rules: Sequence[Rule],
    now: datetime,
    *,
    told: Sequence[Told] = (),
    waiting: Sequence[Waiting] = (),
    overlays: Sequence[Overlay] = (),
    recorded: bool = False,
    last_at: datetime | None = None,
) -> Plan:
    """Decide for every event and every route: say it now, keep it, or not, each with its reason.

    ``told`` and ``waiting`` are what earlier evaluations left; the plan holds what replaces ``waiting`` and the entries
    of ``told`` that changed. ``recorded``: the numbers are recorded, not live, so only the console speaks, at once and
    once per alert, and nothing is repeated. ``last_at``: the evaluation before; while something is silenced,
    acknowledged or muted, a digest goes out at its hour even when nothing else is in it.
    """
    desk = _Desk(states, rules, now, overlays, recorded, last_at)
    for one in routes:
        mine = {entry.short_id: entry for entry in told if entry.route == one.name}
        _Ear(desk, one, mine).hear([w for w in waiting if w.route == one.name], events)
    decided = {decision.event_id for decision in desk.decisions}
    desk.decisions += [Decision(e.id, "", False, "no route takes it") for e in events if e.id not in decided]
    return Plan(tuple(desk.decisions), tuple(desk.groups), tuple(desk.waiting), tuple(desk.told))


def first_look(states: States, routes: Sequence[Route], rules: Sequence[Rule], now: datetime) -> Plan:
    """One message per route listing what already stands when Canary first starts; nothing else of the past is said."""
    desk = _Desk(states, rules, now, (), False)
    for one in routes:
        standing = desk.standing(one)
        if standing and not one.escalation:
            desk.group(one, "notice", "first look", (), standing, "first start: what stands already")
            desk.told += [Told(one.name, state.short_id, True, now, "notice") for state in standing]
    return Plan((), tuple(desk.groups), (), tuple(desk.told))


class _Desk:
    """What all routes share while one evaluation is decided."""

    def __init__(
        self,
        states: States,
        rules: Sequence[Rule],
        now: datetime,
        overlays: Sequence[Overlay],
        recorded: bool,
        last_at: datetime | None = None,
    ):
        self.states, self.now, self.overlays, self.recorded, self.last_at = states, now, overlays, recorded, last_at
        self.rules = {rule.id: rule for rule in rules}
        self.decisions: list[Decision] = []
        self.groups: list[Group] = []
        self.waiting: list[Waiting] = []
        self.told: list[Told] = []
        self.active = [state for state in states.values() if active(state)]
        self._speaks_for: dict[tuple[str, str], str] = {}
        for state in self.active:
            rule = self.rules.get(state.rule)
            for inhibited in rule.inhibits if rule else ():
                self._speaks_for.setdefault((inhibited, borrower_of(state.subject)), state.rule)

    def inhibitor(self, rule: str, subject: str) -> str | None:
        """The standing rule that speaks for this one at the same borrower."""
        by = self._speaks_for.get((rule, borrower_of(subject)))
        return None if by == rule else by

    def silence(self, rule: str, subject: str) -> str | None:
        """Who silenced this alert and until when, as a reason."""
        state = self.states.get((rule, subject))
        overlay = silenced(state, self.overlays, self.now) if state is not None else None
        return None if overlay is None else f"silenced by {overlay.by or 'a person'} until {_moment(overlay.until)}"

    def severity(self, state: AlertState) -> Severity:
        rule = self.rules.get(state.rule)
        return rule.severity if rule is not None else "warning"

    def standing(self, route: Route) -> list[AlertState]:
        """Every standing alert this route would hear of and no other rule speaks for, worst first."""
        found = []
        for state in self.active:
            wanted = takes(route, self.rules.get(state.rule), state.rule, state.subject, self.severity(state))
            if wanted and self.inhibitor(state.rule, state.subject) is None:
                found.append(state)
        return sorted(found, key=lambda state: (-RANK[self.severity(state)], state.subject, state.rule))

    def group(
        self,
        route: Route,
        kind: MessageKind,
        key: str,
        events: Sequence[Event],
        alerts: Sequence[AlertState],
        reason: str,
        also: Sequence[AlertState] = (),
    ) -> Group:
        """Make one group. Made of events, its id depends on them alone, so a repeated evaluation makes the same one."""
        names = sorted(event.id for event in events) or [self.now.isoformat(), *sorted(a.short_id for a in alerts)]
        severities = [event.severity for event in events] or [self.severity(state) for state in alerts]
        group = Group(
            id=hashlib.blake2b("\0".join((route.name, kind, key, *names)).encode(), digest_size=10).hexdigest(),
            route=route,
            kind=kind,
            severity=max(severities, key=RANK.__getitem__, default="info"),
            key=key,
            events=tuple(events),
            alerts=tuple(alerts),
            reason=reason,
            also=tuple(also),
            flaps={state.short_id: state.flaps for state in alerts if state.flaps > 1},
        )
        self.groups.append(group)
        return group


#: kinds of event that change nothing a person was told, and why they are not said
_SILENT: dict[str, str] = {
    "recovering": "it still counts as firing until it has recovered",
    "nodata": "missing data is told once per source, in status and in the digest",
    "data_back": "its data is back; nothing else changed",
}
_ENDS = ("resolved", "dropped")
_FAILS = ("error", "error_over")


class _Ear:
    """One route while one evaluation is decided."""

    def __init__(self, desk: _Desk, route: Route, told: dict[str, Told]):
        self.desk, self.route, self.told, self.now = desk, route, told, desk.now
        self.quiet = not desk.recorded and in_quiet(route.quiet, desk.now)
        self.say: list[Event] = []
        self.digest: list[Event] = []
        #: short ids whose last waiting event, or last event being said now, is that they fired
        self.kept: set[str] = set()
        self.saying: set[str] = set()
        self.changed: set[str] = set()

    def hear(self, before: Sequence[Waiting], events: Sequence[Event]) -> None:
        """Judge what waited, then what is new; write the groups; repeat what has stood for long."""
        for waiting in before:
            self._waited(waiting)
        for event in events:
            rule = self.desk.rules.get(event.rule)
            entry = self.told.get(event.short_id)
            knows = event.kind in _ENDS and entry is not None and entry.firing
            if knows or takes(self.route, rule, event.rule, event.subject, event.severity):
                self._new(event, entry)
        self._write()
        if not self.desk.recorded:
            self._remind()
        self.desk.told += [self.told[name] for name in sorted(self.changed)]

    # ------------------------------------------------------------ judging
    def _waited(self, waiting: Waiting) -> None:
        event = waiting.event
        digests = waiting.undelivered or self._for_digest(event, waiting.since)
        later = self._later(event, waiting.since, waiting.undelivered)
        if event.kind == "fired" and not digests and self._is_over(event):
            self._no(event, f"it ended before it could be said: {waiting.reason}")
        elif later is not None:
            self._wait(event, later, waiting)
        else:
            self._speak(event, self.digest if digests else self.say)

    def _new(self, event: Event, entry: Told | None) -> None:
        if self.desk.recorded and self.route.channel != "console":
            self._no(event, "recorded numbers: only the console speaks")
        elif event.kind == "pending":
            self._no(event, f"still pending: {event.reason}")
        elif event.kind in _SILENT:
            self._no(event, _SILENT[event.kind])
        elif event.kind in _ENDS:
            self._ended(event, entry)
        elif event.kind == "fired" and entry is not None and (entry.firing or self.desk.recorded):
            self._no(event, f"already told {_moment(entry.at)}")
        elif event.kind == "fired" and (event.short_id in self.kept or event.short_id in self.saying):
            self._no(event, "it never stopped firing; that it fired waits already")
        elif event.kind == "fired" and self.route.escalation:
            self._no(event, "goes to this route when nobody acknowledges it in time")
        else:
            self._say_or_wait(event)

    def _ended(self, event: Event, entry: Told | None) -> None:
        if event.short_id in self.kept:
            self._wait(event, "waits for the digest that says it fired")
        elif event.short_id in self.saying:
            self._speak(event, self.digest)
        elif entry is None or not entry.firing:
            self._no(event, event.reason if event.kind == "dropped" else "nobody was told that it fired")
        else:
            # whatever becomes of this event, the alert is over: when it returns it is news again
            self._remember(event.short_id, False, "resolved")
            if silence := self._silence(event):
                self._no(event, silence)
            elif not self.route.send_resolved:
                self._no(event, "this route does not want to hear of recoveries")
            else:
                self._say_or_wait(event)

    def _say_or_wait(self, event: Event) -> None:
        later = self._later(event, self.now)
        if later is None:
            self._speak(event, self.say)
        else:
            self._wait(event, later)

    def _speak(self, event: Event, where: list[Event]) -> None:
        where.append(event)
        _last(self.saying, event)

    def _later(self, event: Event, since: datetime, undelivered: bool = False) -> str | None:
        """Why this event is not said now, or None. Order: inhibited, silenced, then the hour of the day."""
        by = self.desk.inhibitor(event.rule, event.subject) if event.kind == "fired" else None
        if by is not None:
            return f"inhibited by {by}"
        silence = self._silence(event) if event.kind == "fired" else None
        if silence is not None:
            return silence
        if event.severity == "critical" or self.desk.recorded:
            return None
        if (event.severity == "info" or undelivered) and self.now < next_digest(self.route, since):
            return f"{event.severity} waits for the daily digest at {self.route.digest_at:%H:%M} {self.route.tz}"
        if self.quiet and self.route.quiet is not None:
            return f"quiet hours until {self.route.quiet.end:%H:%M} {self.route.quiet.tz}"
        return None

    def _silence(self, event: Event) -> str | None:
        """Why nothing is said of this alert: silenced for all, or muted by the person of this route."""
        mute = muted(self.route, event.subject, event.severity, self.now)
        by_all = self.desk.silence(event.rule, event.subject)
        return by_all or (f"muted by this person until {_moment(mute.until)}" if mute else None)

    def _for_digest(self, event: Event, since: datetime) -> bool:
        if event.severity == "info":
            return True
        return event.severity == "warning" and in_quiet(self.route.quiet, since)

    def _is_over(self, event: Event) -> bool:
        state = self.desk.states.get((event.rule, event.subject))
        return state is None or not active(state)

    def _wait(self, event: Event, reason: str, waiting: Waiting | None = None) -> None:
        if waiting is None or waiting.reason != reason:
            self._no(event, reason)
        _last(self.kept, event)
        since = self.now if waiting is None else waiting.since
        undelivered = waiting is not None and waiting.undelivered
        self.desk.waiting.append(Waiting(event, self.route.name, since, reason, undelivered))

    def _no(self, event: Event, reason: str) -> None:
        self.desk.decisions.append(Decision(event.id, self.route.name, False, reason))

    def _remember(self, short_id: str, firing: bool, kind: MessageKind) -> None:
        self.told[short_id] = Told(self.route.name, short_id, firing, self.now, kind)
        self.changed.add(short_id)

    # ------------------------------------------------------------ writing
    def _write(self) -> None:
        known = self._known_by_borrower()
        if self.digest:
            self._group("digest", self.route.name, self.digest, "waited for the digest", ())
        elif self._owes_list():
            self.desk.group(self.route, "digest", self.route.name, (), (), "what is suppressed is listed daily")
        groups: dict[tuple[MessageKind, str], list[Event]] = {}
        for event in self.say:
            groups.setdefault((_message_kind(event), self._key(event)), []).append(event)
        for (kind, key), events in groups.items():
            also = known.get(borrower_of(events[0].subject), ()) if kind != "notice" else ()
            self._group(kind, key, events, _WHY_NOW[kind], also)

    def _group(
        self, kind: MessageKind, key: str, events: Sequence[Event], reason: str, also: Iterable[AlertState]
    ) -> None:
        pairs = dict.fromkeys((event.rule, event.subject) for event in events)
        alerts = [self.desk.states[pair] for pair in pairs if pair in self.desk.states]
        others = [state for state in also if (state.rule, state.subject) not in pairs]
        group = self.desk.group(self.route, kind, key, events, alerts, reason, others)
        for event in events:
            self.desk.decisions.append(Decision(event.id, self.route.name, True, reason, group.id))
            if event.kind == "fired":
                self._remember(event.short_id, True, kind)
            elif event.kind in _ENDS:
                self._remember(event.short_id, False, kind)

    def _owes_list(self) -> bool:
        """Whether the hour of the digest has come since the last evaluation while something is suppressed."""
        if self.desk.last_at is None or self.desk.recorded or self.route.escalation:
            return False
        suppressed = bool(self.desk.overlays) or any(self.now < mute.until for mute in self.route.muted)
        return suppressed and next_digest(self.route, self.desk.last_at) <= self.now

    def _key(self, event: Event) -> str:
        if event.kind in _FAILS:
            return event.rule
        if event.severity == "critical" or self.route.group_by == "none":
            return f"{event.rule} {event.subject}"
        return event.rule if self.route.group_by == "rule" else borrower_of(event.subject)

    def _known_by_borrower(self) -> dict[str, list[AlertState]]:
        known: dict[str, list[AlertState]] = {}
        if self.say:
            for state in self.desk.active:
                entry = self.told.get(state.short_id)
                if entry is not None and entry.firing:
                    known.setdefault(borrower_of(state.subject), []).append(state)
        return known

    # ------------------------------------------------------------ repeating
    def _remind(self) -> None:
        due: dict[str, list[AlertState]] = {}
        for state in self.desk.standing(self.route):
            if self._is_due(state) and not self._hushed(state):
                critical = self.desk.severity(state) == "critical"
                key = f"{state.rule} {state.subject}" if critical else borrower_of(state.subject)
                due.setdefault(key, []).append(state)
        for key, alerts in due.items():
            news = self.route.escalation and not all(self._heard(state) for state in alerts)
            reason = "nobody acknowledged it in time" if news else "it still stands"
            self.desk.group(self.route, "reminder", key, (), alerts, reason)
            for state in alerts:
                self._remember(state.short_id, True, "reminder")

    def _heard(self, state: AlertState) -> bool:
        entry = self.told.get(state.short_id)
        return entry is not None and entry.firing

    def _hushed(self, state: AlertState) -> bool:
        overlays = self.desk.overlays
        severity = self.desk.severity(state)
        return (
            silenced(state, overlays, self.now) is not None
            or acked(state, overlays, self.now) is not None
            or muted(self.route, state.subject, severity, self.now) is not None
        )

    def _is_due(self, state: AlertState) -> bool:
        severity = self.desk.severity(state)
        if self.quiet and severity != "critical":
            return False
        if not self._heard(state):
            fired_at = state.fired_at or self.now
            return self.route.escalation and (self.now - fired_at).total_seconds() >= ESCALATE_S
        rule = self.desk.rules.get(state.rule)
        period = (rule.repeat_s if rule else 0.0) or REPEAT_S[severity]
        return period is not None and (self.now - self.told[state.short_id].at).total_seconds() >= period


_WHY_NOW: dict[MessageKind, str] = {
    "fired": "it fired",
    "resolved": "it is over",
    "notice": "the rule itself failed, or works again",
}


def _last(fired: set[str], event: Event) -> None:
    (fired.add if event.kind == "fired" else fired.discard)(event.short_id)


def _message_kind(event: Event) -> MessageKind:
    if event.kind in _FAILS:
        return "notice"
    return "fired" if event.kind == "fired" else "resolved"


def _moment(when: datetime | None) -> str:
    return "an unknown time" if when is None else f"{when:%Y-%m-%d %H:%M} UTC"
