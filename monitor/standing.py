"""What stands and what people said over it: how long, by whom, why somebody was not told, which alerts a word means.

The nouns behind ``canary alerts``, ``ack`` and ``silence``. Pure: the moment is an argument.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.model import AlertState, CanaryError, Decision, Event, Severity
from monitor.routes import RANK, Overlay, Told, acked, matches_overlay, silenced
from monitor.states import active, held
from monitor.units import format_age, parse_duration_s

#: the longest a person may quieten alerts, in seconds; what is critical may not be forgotten for a month
LONGEST_S, LONGEST_CRITICAL_S = 30 * 86400.0, 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Said:
    """An acknowledgement or a silence in force, with the number it is taken back by."""

    number: int
    overlay: Overlay

    @property
    def match(self) -> str:
        """The alerts it is about, as a person types them.

        >>> Said(1, Overlay("silence", datetime(2026, 1, 1), rule="LowCash", subject="acme")).match
        'LowCash/acme'
        """
        said = self.overlay
        return said.short_id or "/".join(part for part in (said.rule, said.subject) if part) or "everything"


@dataclass(frozen=True, slots=True)
class Standing:
    """One alert: its state, and for each route that was not told of it the reason."""

    state: AlertState
    severity: Severity
    unsaid: Mapping[str, str]

    @property
    def since(self) -> datetime | None:
        """When it fired; of one that has not, when it became true."""
        return self.state.fired_at if self.stands else self.state.active_at if self.state.state == "pending" else None

    @property
    def stands(self) -> bool:
        """Whether it fired and is not over."""
        return active(self.state)


@dataclass(frozen=True)
class Alerts:
    """All alerts at the last evaluation, loudest first. ``clock`` is the moment by which words over them count:
    the present, or the evaluated moment where prices are recorded and time stands still."""

    at: datetime
    recorded: bool
    clock: datetime
    alerts: tuple[Standing, ...]
    said: tuple[Said, ...]

    @property
    def overlays(self) -> list[Overlay]:
        """What was said, without numbers."""
        return [said.overlay for said in self.said]

    def ack(self, alert: Standing) -> Overlay | None:
        """The acknowledgement in force for an alert."""
        return acked(alert.state, self.overlays, self.clock) if alert.stands else None

    def silence(self, alert: Standing) -> Overlay | None:
        """The silence in force for an alert."""
        return silenced(alert.state, self.overlays, self.clock)

    def named(self, short_id: str) -> Standing | None:
        """The alert of this short id."""
        known = (alert for alert in self.alerts if alert.state.short_id)
        return next((alert for alert in known if alert.state.short_id == short_id.lower()), None)

    def matched(self, overlay: Overlay) -> list[Standing]:
        """The standing alerts a word is about."""
        return [alert for alert in self.alerts if alert.stands and matches_overlay(overlay, alert.state)]


def in_order(alerts: Iterable[Standing]) -> tuple[Standing, ...]:
    """What stands first, then the loudest, then by name."""
    return tuple(
        sorted(
            alerts,
            key=lambda one: (
                not one.stands,
                held(one.state) != "pending",
                -RANK[one.severity],
                one.state.rule,
                one.state.subject,
            ),
        )
    )


# ---------------------------------------------------------------- why nobody heard of it
def unsaid(
    state: AlertState, events: Sequence[Event], decisions: Mapping[str, Sequence[Decision]], told: Iterable[Told]
) -> dict[str, str]:
    """Per route that was not told of a standing alert, the reason named last; empty when every route was told.

    ``events`` are those of this alert, ``decisions`` those about them by event id, oldest first.
    """
    fired = [e for e in events if e.kind == "fired" and state.fired_at is not None and e.at >= state.fired_at]
    heard = {entry.route for entry in told if entry.short_id == state.short_id and entry.firing}
    found: dict[str, str] = {}
    for event in sorted(fired, key=lambda event: event.at):
        for decision in decisions.get(event.id, ()):
            found.pop(decision.route, None)
            if not decision.send and decision.route not in heard:
                found[decision.route] = decision.reason
    decided = any(decisions.get(event.id) for event in fired)
    if not decided and not heard:
        return {"": "it stood when Canary first looked and was not among what was listed then"}
    return found


# ---------------------------------------------------------------- which alerts a word means
def silence_of(
    word: str, alerts: Alerts, severities: Mapping[str, Severity], borrowers: Collection[str]
) -> tuple[Overlay, Severity]:
    """A silence without its end from what a person typed, and the loudest severity it can cover.

    A short id, a rule, a borrower (or one of its facilities), or RULE/BORROWER. CanaryError with what was probably
    meant. ``severities``: those of every rule there is.
    """
    said = Overlay("silence", alerts.clock)
    alert = alerts.named(word)
    if alert is not None:
        return replace(said, short_id=alert.state.short_id), alert.severity
    subjects = {*borrowers, "market", *(alert.state.subject for alert in alerts.alerts)}
    rule, slash, rest = word.partition("/")
    # "LowCash/" is a borrower left out by mistake, not the whole rule
    if rule in severities and (not slash or rest in subjects):
        return replace(said, rule=rule, subject=rest), severities[rule]
    if rule in severities:
        raise CanaryError(f"no borrower {rest[:60]!r}; {_hint(rest, subjects, 'canary list borrowers')}")
    if word in subjects:
        return replace(said, subject=word), max(severities.values(), key=RANK.__getitem__, default="critical")
    known = {*severities, *subjects, *(alert.state.short_id for alert in alerts.alerts if alert.stands)}
    ask = "canary alerts and canary list rules show what there is"
    raise CanaryError(f"no alert, rule or borrower {word[:60]!r}; {_hint(word, known, ask)}")


def ack_of(word: str, alerts: Alerts) -> tuple[Overlay, Standing]:
    """An acknowledgement of one standing alert by its short id, and that alert; CanaryError when it does not stand."""
    alert = alerts.named(word)
    if alert is None:
        known = {alert.state.short_id for alert in alerts.alerts if alert.stands}
        raise CanaryError(f"no alert {word[:60]!r}; {_hint(word.lower(), known, 'canary alerts shows their ids')}")
    if not alert.stands:
        what = f"{alert.state.rule} of {alert.state.subject} is {alert.state.state}"
        raise CanaryError(
            f"{alert.state.short_id}: {what}, so there is nothing to acknowledge; canary silence quietens"
        )
    return Overlay("ack", alerts.clock, short_id=alert.state.short_id), alert


def taken_back(word: str, alerts: Alerts) -> list[Said]:
    """What ``unsilence`` ends: one word by its number, or the silence of exactly these alerts. CanaryError else."""
    found = [said for said in alerts.said if said.overlay.kind == "silence" and said.match.lower() == word.lower()]
    found = found or [said for said in alerts.said if str(said.number) == word.lstrip("#")]
    if found:
        return found
    alert = alerts.named(word)
    if alert is not None:
        over = [said for said in alerts.said if matches_overlay(said.overlay, alert.state)]
        if over:
            names = ", ".join(f"{said.number} ({said.overlay.kind} of {said.match})" for said in over)
            raise CanaryError(
                f"{alert.state.short_id} has no silence of its own; end what covers it by number: {names}"
            )
    if not alerts.said:
        raise CanaryError("nothing is silenced or acknowledged")
    known = {text for said in alerts.said for text in (said.match, str(said.number))}
    raise CanaryError(f"no silence {word[:60]!r}; {_hint(word, known, 'canary silence --list shows them')}")


def _hint(word: str, known: Collection[str], ask: str) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ask


# ---------------------------------------------------------------- for how long
def span_of(text: str, severity: Severity, what: str) -> timedelta:
    """How long a word holds. CanaryError when it is no length of time, nothing, or longer than its severity allows.

    >>> span_of("7d", "critical", "a silence").days
    7
    >>> span_of("8d", "critical", "a silence")
    Traceback (most recent call last):
    ...
    monitor.model.CanaryError: a silence that can cover critical alerts lasts at most 7 d; write --for 7d or less
    """
    try:
        seconds = parse_duration_s(text)
    except ValueError as error:
        raise CanaryError(f"--for: {error}") from None
    longest = LONGEST_CRITICAL_S if severity == "critical" else LONGEST_S
    if seconds > longest:
        which = " that can cover critical alerts" if severity == "critical" else ""
        days = format_age(longest)
        raise CanaryError(f"{what}{which} lasts at most {days}; write --for {days.replace(' ', '')} or less")
    if seconds < 1:
        raise CanaryError(f"--for {text[:20]}: {what} lasts a second or more; write for example --for 4h")
    return timedelta(seconds=seconds)
