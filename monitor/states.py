"""One alert instance at one moment: its state, what moves it, and the named reason for every move and every wait.

An instance is ``ok``, ``pending`` (true, not long enough), ``firing``, ``recovering`` (no longer true, but inside
``keep_firing_for`` or not yet past ``clear``), ``nodata`` (the expression is unknown) or ``error`` (the rule itself
failed). The last two remember the state they interrupted in ``state_before`` and go back to it; :func:`held` says which
one counts meanwhile. Where a term is Prometheus', so is its meaning: ``elapsed >= for`` fires, ``elapsed <
keep_firing_for`` keeps. Deliberate differences: a raised ``for`` never demotes a firing alert, missing data never
resolves one unless the rule says ``on_missing: ok``, and every timestamp is in the state, so a restart changes nothing.

Time served while pending is ``served_s`` plus the stretch since ``seen_at``: rows change only when something happens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from monitor.model import FALSE, TRUE, UNKNOWN, AlertState, EventKind, Rule, State

#: beside the three truths: the rule itself failed
FAILED = 2
#: a pending alert whose data is missing gives up after its own ``for``, or after this long if that is more
HOLD_S = 86400.0
BLIND: tuple[State, ...] = ("nodata", "error")
ACTIVE: tuple[State, ...] = ("firing", "recovering")
#: served time is a sum of float seconds; a microsecond is the resolution of the stored times
_EPSILON_S = 1e-6

#: reason name -> sentence; the names are what tests and the transition table speak of
REASONS: dict[str, str] = {
    "not_true": "not true",
    "waits": "became true; it must stay true for {wait} before it fires",
    "fires_at_once": "became true; the rule asks for no waiting time",
    "still_pending": "still pending, {served}",
    "fires": "true for {wait}",
    "rule_changed": "the rule changed, so its waiting time starts again: {wait}",
    "pending_ended": "no longer true after {served}; it had not fired",
    "still_firing": "still true",
    "true_again": "true again before it had recovered; it never stopped firing",
    "not_cleared": "no longer true, but not yet past its recovery threshold",
    "clear_unknown": "no longer true, but its recovery threshold is unknown, which reads as not recovered",
    "keeping": "no longer true; kept firing, {kept}",
    "resolved": "no longer true",
    "kept_long_enough": "no longer true, and kept firing for {keep} since",
    "blind": "unknown: {why}; this rule cannot warn now",
    "clock_held": "unknown: {why}; its waiting time is held at {served}",
    "firing_blind": "unknown: {why}; the alert stays firing, its data is missing",
    "still_unknown": "still unknown: {why}",
    "pending_given_up": "unknown for {unknown}, so its waiting time is dropped",
    "fires_on_missing": "its data is missing: {why}; the rule asks to be told",
    "rule_failed": "the rule failed: {why}",
    "still_failing": "the rule still fails: {why}",
    "known_again": "known again; back to what it was",
    "rule_removed": "the rule is no longer there",
    "subject_removed": "the subject is no longer there",
}


@dataclass(frozen=True, slots=True)
class Clock:
    """The moment judged, the moment judged before it, and the seconds between that nobody watched."""

    now: datetime
    last: datetime
    downtime_s: float = 0.0


class Move(NamedTuple):
    """What one moment does to one instance. ``kind`` is None when nothing happened; the reason is named either way."""

    state: AlertState
    kind: EventKind | None
    reason: str


# ---------------------------------------------------------------- one instance, one moment
def held(state: AlertState) -> State:
    """The state that counts: the one missing data or a failed rule interrupted, or the state itself.

    >>> held(AlertState("R", "acme", "nodata", state_before="firing"))
    'firing'
    """
    return (state.state_before or "ok") if state.state in BLIND else state.state


def active(state: AlertState) -> bool:
    """Whether the alert stands: firing, recovering, or interrupted while it was."""
    return held(state) in ACTIVE


def served_s(state: AlertState, now: datetime) -> float:
    """Seconds of ``for`` served by a pending alert; unknown stretches and downtime that pauses are left out."""
    if state.state != "pending" or state.seen_at is None:
        return state.served_s
    return state.served_s + max(0.0, (now - state.seen_at).total_seconds())


def move(rule: Rule, state: AlertState, seen: int, cleared: int, clock: Clock) -> Move:
    """Judge one instance at one moment.

    ``seen`` is TRUE, FALSE, UNKNOWN or FAILED; ``cleared`` is the truth of the recovery threshold (ignored where the
    rule has none). The same state object comes back when nothing changes.

    >>> from datetime import UTC
    >>> rule, noon = Rule("R", "ltv > 1", "warning", for_s=600), datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> first = move(rule, AlertState("R", "acme"), TRUE, FALSE, Clock(noon, noon))
    >>> first.state.state, first.kind, first.reason
    ('pending', 'pending', 'waits')
    >>> later = noon + timedelta(minutes=10)
    >>> move(rule, first.state, TRUE, FALSE, Clock(later, noon))[1:]
    ('fired', 'fires')
    """
    if seen == UNKNOWN and rule.on_missing == "ok":
        seen, cleared = FALSE, TRUE
    if seen == FAILED:
        return _interrupted(rule, state, "error", clock)
    if seen == UNKNOWN:
        if rule.on_missing == "alert":
            return _fires_on_missing(rule, state, clock)
        return _interrupted(rule, state, "nodata", clock)
    if state.state in BLIND:
        return _known_again(rule, state, seen, cleared, clock)
    return _true(rule, state, clock) if seen == TRUE else _false(rule, state, cleared, clock)


def _true(rule: Rule, state: AlertState, clock: Clock) -> Move:
    if state.state == "firing":
        if state.nodata_since is not None:
            return Move(replace(state, nodata_since=None, logic_hash=rule.logic_hash), "data_back", "known_again")
        if state.logic_hash != rule.logic_hash:
            state = replace(state, logic_hash=rule.logic_hash)
        return Move(state, None, "still_firing")
    if state.state == "recovering":
        again = replace(state, state="firing", keep_since=None, logic_hash=rule.logic_hash)
        return Move(again, "fired", "true_again")
    if state.state == "pending":
        if state.logic_hash == rule.logic_hash:
            return _waiting(rule, state, clock)
        return _begin(rule, state, clock, "rule_changed")
    return _begin(rule, state, clock, "waits")


def _begin(rule: Rule, state: AlertState, clock: Clock, why_waiting: str) -> Move:
    now, waits = clock.now, rule.for_s > 0
    begun = replace(
        state,
        state="pending" if waits else "firing",
        active_at=now,
        fired_at=None if waits else now,
        keep_since=None,
        served_s=0.0,
        seen_at=now if waits else None,
        flaps=state.flaps if waits else state.flaps + 1,
        logic_hash=rule.logic_hash,
    )
    return Move(begun, "pending", why_waiting) if waits else Move(begun, "fired", "fires_at_once")


def _fire(state: AlertState, now: datetime) -> AlertState:
    return replace(state, state="firing", fired_at=now, seen_at=None, keep_since=None, flaps=state.flaps + 1)


def _waiting(rule: Rule, state: AlertState, clock: Clock) -> Move:
    if clock.downtime_s > 0 and rule.downtime != "counts":
        watched_to = clock.now - timedelta(seconds=clock.downtime_s)
        state = replace(state, served_s=served_s(state, watched_to), seen_at=clock.now)
    if served_s(state, clock.now) >= rule.for_s - _EPSILON_S:
        return Move(_fire(replace(state, served_s=0.0), clock.now), "fired", "fires")
    return Move(state, None, "still_pending")


def _false(rule: Rule, state: AlertState, cleared: int, clock: Clock) -> Move:
    if rule.clear is None:
        cleared = TRUE
    if state.state == "ok":
        return Move(state, None, "not_true")
    if state.state == "pending":
        return Move(over(state), "dropped", "pending_ended")
    if state.state == "firing":
        start = replace(state, state="recovering", keep_since=None, nodata_since=None, logic_hash=rule.logic_hash)
        after, _, reason = _recovering(rule, start, cleared, clock)
        return Move(after, "resolved" if after.state == "ok" else "recovering", reason)
    if state.logic_hash != rule.logic_hash:
        state = replace(state, keep_since=None, logic_hash=rule.logic_hash)
    return _recovering(rule, state, cleared, clock)


def _recovering(rule: Rule, state: AlertState, cleared: int, clock: Clock) -> Move:
    """The keep window starts when ``clear`` is first true; the end needs the window served and ``clear`` true now."""
    if state.keep_since is not None and clock.downtime_s > 0 and rule.downtime == "pauses":
        state = replace(state, keep_since=state.keep_since + timedelta(seconds=clock.downtime_s))
    if cleared != TRUE:
        return Move(state, None, "clear_unknown" if cleared == UNKNOWN else "not_cleared")
    if state.keep_since is None:
        state = replace(state, keep_since=clock.now)
    since = state.keep_since or clock.now
    if (clock.now - since).total_seconds() < rule.keep_firing_for_s - _EPSILON_S:
        return Move(state, None, "keeping")
    reason = "kept_long_enough" if rule.keep_firing_for_s > 0 else "resolved"
    return Move(replace(over(state), resolved_at=clock.now), "resolved", reason)


def over(state: AlertState) -> AlertState:
    """The instance after its episode ended; only what identifies and counts it stays."""
    return replace(
        state,
        state="ok",
        active_at=None,
        fired_at=None,
        keep_since=None,
        state_before=None,
        nodata_since=None,
        served_s=0.0,
        seen_at=None,
    )


def _interrupted(rule: Rule, state: AlertState, to: State, clock: Clock) -> Move:
    """No answer: keep what was. Nothing is served meanwhile; only a pending that stays unknown too long is given up."""
    before, failed = held(state), to == "error"
    if state.state in BLIND:
        since = state.nodata_since or clock.now
        if before == "pending" and (clock.now - since).total_seconds() >= max(rule.for_s, HOLD_S):
            given_up = replace(over(state), state=to, state_before="ok", nodata_since=since)
            return Move(given_up, "dropped", "pending_given_up")
        if state.state == to:
            return Move(state, None, "still_failing" if failed else "still_unknown")
        return Move(replace(state, state=to), "error" if failed else "nodata", _why_interrupted(before, failed))
    served = served_s(state, clock.last) if before == "pending" else 0.0
    blind = replace(state, state=to, state_before=before, nodata_since=clock.now, served_s=served, seen_at=None)
    return Move(blind, "error" if failed else "nodata", _why_interrupted(before, failed))


def _why_interrupted(before: State, failed: bool) -> str:
    if failed:
        return "rule_failed"
    return {"ok": "blind", "pending": "clock_held"}.get(before, "firing_blind")


def _known_again(rule: Rule, state: AlertState, seen: int, cleared: int, clock: Clock) -> Move:
    before = held(state)
    seen_at = clock.now if before == "pending" else None
    base = replace(state, state=before, state_before=None, nodata_since=None, seen_at=seen_at)
    after = _true(rule, base, clock) if seen == TRUE else _false(rule, base, cleared, clock)
    if after.kind is not None:
        return after
    return Move(after.state, "data_back" if state.state == "nodata" else "error_over", "known_again")


def _fires_on_missing(rule: Rule, state: AlertState, clock: Clock) -> Move:
    before, now = held(state), clock.now
    if before == "firing":
        if state.state == "firing" and state.nodata_since is not None:
            return Move(state, None, "still_unknown")
        since = state.nodata_since or now
        return Move(replace(state, state="firing", state_before=None, nodata_since=since), "nodata", "firing_blind")
    known = replace(state, state_before=None, served_s=0.0, logic_hash=rule.logic_hash)
    if before == "recovering":
        again = replace(known, state="firing", keep_since=None, nodata_since=now)
        return Move(again, "fired", "fires_on_missing")
    fired = _fire(replace(known, active_at=state.active_at or now), now)
    return Move(replace(fired, nodata_since=now), "fired", "fires_on_missing")


# ---------------------------------------------------------------- words
def sentence(reason: str, rule: Rule, state: AlertState, after: AlertState, clock: Clock, why: str) -> str:
    """A named reason as a person reads it, with the spans of this instance. ``why``: unknown names, or the failure."""
    template, now = REASONS[reason], clock.now
    if "{" not in template:
        return template
    since = state.nodata_since or now
    served = served_s(after if after.state in BLIND else state, now)
    return template.format(
        wait=_span(rule.for_s),
        served=_part(served, rule.for_s),
        keep=_span(rule.keep_firing_for_s),
        kept=_part((now - (after.keep_since or now)).total_seconds(), rule.keep_firing_for_s),
        unknown=_span((now - since).total_seconds()),
        why=why,
    )


def _unit(seconds: float) -> tuple[float, str]:
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return size, name
    return (60.0, "minutes") if seconds >= 60 else (1.0, "seconds")


def _span(seconds: float) -> str:
    size, name = _unit(seconds)
    count = round(seconds / size, 1)
    return f"{count:g} {name if count != 1 else name[:-1]}"


def _part(done_s: float, of_s: float) -> str:
    """How much of a span is done, rounded down so that an unfinished one never looks finished."""
    size, name = _unit(of_s)
    digits = 0 if of_s / size >= 10 else 1
    done = math.floor(done_s / size * 10**digits + _EPSILON_S) / 10**digits
    return f"{done:g} of {of_s / size:g} {name}"


def explain(state: AlertState | None, rule: Rule, now: datetime) -> str:
    """Why this alert was or was not said, in one sentence; ``state`` is None for an instance that has no row (ok).

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> rule = Rule("R", "ltv > 1", "warning", for_s=1800)
    >>> explain(AlertState("R", "acme", "pending", active_at=noon, seen_at=noon), rule, noon + timedelta(minutes=22))
    'not sent: still pending, 22 of 30 minutes'
    >>> explain(None, rule, noon)
    'not sent: not true'
    """
    if state is None or held(state) == "ok":
        if state is not None and state.state in BLIND:
            return f"not sent: {state.reason or state.state} (since {_moment(state.nodata_since)})"
        over = f"; the last episode ended {_moment(state.resolved_at)}" if state and state.resolved_at else ""
        return f"not sent: not true{over}"
    if held(state) == "pending":
        wait = f"still pending, {_part(served_s(state, now), rule.for_s)}"
        return f"not sent: {wait}" if state.state == "pending" else f"not sent: {wait}, held: {state.reason}"
    parts = [f"firing since {_moment(state.fired_at)}"]
    if held(state) == "recovering":
        kept = None if state.keep_since is None else (now - state.keep_since).total_seconds()
        parts.append(REASONS["not_cleared"] if kept is None else f"kept firing, {_part(kept, rule.keep_firing_for_s)}")
    if state.state in BLIND or state.nodata_since is not None:
        parts.append(f"its data is missing since {_moment(state.nodata_since)}")
    if len(parts) == 1 and state.reason:
        parts.append(state.reason)
    return "; ".join(parts)


def _moment(when: datetime | None) -> str:
    return "an unknown time" if when is None else f"{when:%Y-%m-%d %H:%M} UTC"
