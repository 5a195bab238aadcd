"""All alert instances at one moment: truths and time in, new states and events out. :mod:`monitor.states` judges each.

An instance that is ok and never fired has no row at all, so it costs nothing; only rows and truths that are not false
are visited. Pure, and repeatable: the same arguments give the same events with the same ids.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitor.model import TRUE, UNKNOWN, AlertState, Event, EventKind, Match, Rule
from monitor.states import FAILED, REASONS, Clock, active, explain, held, move, over, sentence

__all__ = ["Key", "States", "active", "downtime", "event_id", "explain", "held", "short_id", "step", "told"]

Key = tuple[str, str]
States = Mapping[Key, AlertState]
#: an alert that has been over for this long is forgotten
REMEMBER = timedelta(days=30)
#: a wait that ends this soon is looked at closely
WHOLE_S = 1.0


def step(
    rules: Sequence[Rule],
    matches: Sequence[Match],
    states: States,
    now: datetime,
    *,
    last_tick_at: datetime | None = None,
    downtime_s: float = 0.0,
    changed_inputs: str = "",
    renamed_subjects: Mapping[str, str] | None = None,
) -> tuple[dict[Key, AlertState], list[Event]]:
    """Move every instance to ``now``: the new states (rows that are not plainly ok) and what happened, in rule order.

    ``last_tick_at`` is the evaluation before this one and ``downtime_s`` the part of the time since then nobody watched
    (see :func:`downtime`). ``changed_inputs`` says what changed when no market input did (book, assumptions, rules,
    version); it is put on every event whose truth changed. ``renamed_subjects`` maps old subject to new. A rule without
    a match counts as failed; rules and subjects that are gone drop their states with an event. Calling it again with
    the same arguments gives the same events with the same ids.
    """
    clock = Clock(now, min(last_tick_at or now, now), max(0.0, downtime_s))
    old = _renamed(rules, states, renamed_subjects or {})
    run = _Run(clock, dict(old), [], changed_inputs)
    by_rule: dict[str, dict[str, AlertState]] = {}
    for (rule_id, subject), state in old.items():
        found = by_rule.get(rule_id)
        if found is None:
            found = by_rule[rule_id] = {}
        found[subject] = state
    match_of = {match.rule.id: match for match in matches}
    positions: dict[int, dict[str, int]] = {}
    for rule in rules:
        here = by_rule.pop(rule.id, {})
        match = match_of.get(rule.id)
        if match is None:
            run.without_match(rule, here)
            continue
        # every rule of one level shares one tuple of subjects, so its index is built once a tick
        index = positions.get(id(match.subjects))
        if index is None:
            index = positions[id(match.subjects)] = {name: i for i, name in enumerate(match.subjects)}
        run.rule(rule, match, here, index)
    for _, gone in sorted(by_rule.items()):
        for _, state in sorted(gone.items()):
            run.drop(state, "rule_removed")
    return run.states, run.events


def downtime(now: datetime, last_tick_at: datetime | None, interval_s: float) -> float:
    """Seconds since the last evaluation that nobody watched: all of them once a whole evaluation was missed, else none.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> downtime(noon, noon - timedelta(minutes=16), 900), downtime(noon, noon - timedelta(hours=4), 900)
    (0.0, 14400.0)
    """
    if last_tick_at is None:
        return 0.0
    gap = (now - last_tick_at).total_seconds()
    return gap if gap > 2 * interval_s else 0.0


@dataclass(slots=True)
class _Run:
    """One call of :func:`step` under way."""

    clock: Clock
    states: dict[Key, AlertState]
    events: list[Event]
    because: str
    taken: set[str] | None = None
    #: moment an alert was last written -> seconds since then
    since_s: dict[datetime, float] = field(default_factory=dict)

    def rule(self, rule: Rule, match: Match, here: dict[str, AlertState], index: Mapping[str, int]) -> None:
        truth, loud, stays = match.truth, list[tuple[int, str]](), self.stays
        # one byte a truth: taking it from bytes costs a third of asking the array
        said = b"" if match.error else truth.tobytes()
        for subject, state in here.items():
            i = index.get(subject, -1)
            if i < 0 or not said or said[i] != TRUE or not stays(rule, state):
                loud.append((i, subject))
        # in the order of the subjects, so that events do not depend on where the states came from
        for i, subject in sorted(loud):
            if i < 0:
                self.drop(here[subject], "subject_removed", rule)
            else:
                self.judge(rule, here[subject], FAILED if match.error else int(truth[i]), match, i)
        for i in range(len(match.subjects)) if match.error else truth.nonzero()[0].tolist():
            subject = match.subjects[i]
            if subject not in here:
                fresh = AlertState(rule.id, subject, logic_hash=rule.logic_hash)
                self.judge(rule, fresh, FAILED if match.error else int(truth[i]), match, i)

    def stays(self, rule: Rule, state: AlertState) -> bool:
        """Whether an alert that is still true is just as it was; :func:`monitor.states.move` says the same, slower."""
        if state.nodata_since is not None or state.logic_hash != rule.logic_hash:
            return False
        seen_at = state.seen_at
        if state.state == "pending" and seen_at is not None and self.clock.downtime_s == 0.0:
            # alerts that began together were seen together, so most ask about a moment already worked out
            since_s = self.since_s.get(seen_at)
            if since_s is None:
                since_s = self.since_s[seen_at] = max(0.0, (self.clock.now - seen_at).total_seconds())
            return state.served_s + since_s < rule.for_s - WHOLE_S
        return state.state == "firing"

    def judge(self, rule: Rule, state: AlertState, seen: int, match: Match, i: int) -> None:
        after, kind, reason = move(rule, state, seen, int(match.cleared[i]), self.clock)
        if kind is None:
            if after is not state or (state.state == "ok" and self._forgotten(state)):
                self._keep(after)
            return
        why = match.error or match.why.get(i, "") or "a name it needs"
        values = {name: _number(column[i]) for name, column in match.values.items()}
        self._record(rule, state, after, kind, reason, why, values)

    def without_match(self, rule: Rule, here: Mapping[str, AlertState]) -> None:
        for _, state in sorted(here.items()):
            after, kind, reason = move(rule, state, FAILED, UNKNOWN, self.clock)
            if kind is not None:
                self._record(rule, state, after, kind, reason, "it was not evaluated", {})

    def drop(self, state: AlertState, reason: str, rule: Rule | None = None) -> None:
        self.states.pop((state.rule, state.subject), None)
        if state.state == "ok":
            return
        rule = rule or Rule(state.rule, "", "info")
        gone = replace(over(state), reason=REASONS[reason])
        self.events.append(_event(rule, state, gone, "dropped", gone.reason, self.clock.now, {}, ""))

    def _record(
        self,
        rule: Rule,
        state: AlertState,
        after: AlertState,
        kind: EventKind,
        reason: str,
        why: str,
        values: Mapping[str, float | None],
    ) -> None:
        text = sentence(reason, rule, state, after, self.clock, why)
        after = replace(after, reason=text, short_id=after.short_id or self._short_id(after))
        because = "" if _by_time(state, kind) else self.because
        self.events.append(_event(rule, state, after, kind, text, self.clock.now, values, because))
        self._keep(after)

    def _keep(self, state: AlertState) -> None:
        key = (state.rule, state.subject)
        if state.state == "ok" and self._forgotten(state):
            self.states.pop(key, None)
        else:
            self.states[key] = state

    def _forgotten(self, state: AlertState) -> bool:
        return state.resolved_at is None or self.clock.now - state.resolved_at > REMEMBER

    def _short_id(self, state: AlertState) -> str:
        if self.taken is None:
            self.taken = {other.short_id for other in self.states.values()}
        short = short_id(state.rule, state.subject, self.taken)
        self.taken.add(short)
        return short


def _renamed(rules: Sequence[Rule], states: States, subjects: Mapping[str, str]) -> States:
    """States under their present names. A name that already has a state of its own keeps it."""
    moved = {rule.was: rule.id for rule in rules if rule.was and rule.was not in {other.id for other in rules}}
    if not moved and not subjects:
        return states
    new: dict[Key, AlertState] = {}
    for (rule_id, subject), state in states.items():
        key = (moved.get(rule_id, rule_id), subjects.get(subject, subject))
        if key != (rule_id, subject) and key in states:
            continue
        new[key] = state if key == (rule_id, subject) else replace(state, rule=key[0], subject=key[1])
    return new


def told(states: States, keys: Iterable[Key]) -> dict[Key, AlertState]:
    """The states after a message about some of them was written: their count of episodes since starts again."""
    new = dict(states)
    for key in keys:
        if key in new and new[key].flaps:
            new[key] = replace(new[key], flaps=0)
    return new


# ---------------------------------------------------------------- names and words
def short_id(rule: str, subject: str, taken: Iterable[str] = ()) -> str:
    """The short name a person types: 4 letters or digits (2 to 7) from a hash, more only where that is taken.

    >>> short_id("LockedBoxShort", "acme"), short_id("LockedBoxShort", "acme", {"0000"})
    ('f7ea', 'f7ea')
    >>> short_id("LockedBoxShort", "acme", {"f7ea"})
    'f7ea6'
    """
    digest = hashlib.blake2b(f"{rule}\0{subject}".encode(), digest_size=16).digest()
    letters = base64.b32encode(digest).decode().lower()
    return next(letters[:n] for n in range(4, 17) if letters[:n] not in taken)


def event_id(rule: str, subject: str, kind: str, at: datetime) -> str:
    """The id of an event: the same event judged twice has the same one, so a repeated evaluation writes nothing new."""
    return hashlib.blake2b(f"{rule}\0{subject}\0{kind}\0{at.isoformat()}".encode(), digest_size=10).hexdigest()


def _episode(rule: str, state: AlertState) -> str:
    if state.active_at is None:
        return ""
    first = "fired" if state.fired_at == state.active_at else "pending"
    return event_id(rule, state.subject, first, state.active_at)


def _event(
    rule: Rule,
    state: AlertState,
    after: AlertState,
    kind: EventKind,
    reason: str,
    at: datetime,
    values: Mapping[str, float | None],
    because: str,
) -> Event:
    return Event(
        id=event_id(rule.id, state.subject, kind, at),
        rule=rule.id,
        subject=state.subject,
        severity=rule.severity,
        kind=kind,
        at=at,
        reason=reason,
        before=state.state,
        after=after.state,
        short_id=after.short_id or state.short_id,
        values=values,
        because=because,
        episode=_episode(rule.id, after if after.active_at is not None else state),
    )


def _by_time(state: AlertState, kind: EventKind) -> bool:
    """Whether only time passed: a wait was served, or a keep window that had begun was."""
    if kind == "fired":
        return state.state == "pending"
    return kind == "resolved" and state.state == "recovering" and state.keep_since is not None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
