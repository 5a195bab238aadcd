"""The words over alerts: show what stands, acknowledge it, silence it for a time, take that back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from monitor.briefing import day_of
from monitor.commands import Reply, Services, command
from monitor.markup import clean
from monitor.model import CanaryError, Severity
from monitor.routes import Overlay
from monitor.standing import Alerts, Said, Standing, ack_of, silence_of, span_of, taken_back
from monitor.states import held
from monitor.tables import NOT_APPLICABLE, Cell, Head, Table, Tone, show

MAX_BY, MAX_NOTE = 60, 300
NEXT = "Canary heeds it from its next evaluation on"
FROZEN = "prices are recorded and time stands still: kept with the recorded evaluations, it counts by their clock"


def _parts(words: Sequence[str], options: Sequence[str], usage: str) -> tuple[list[str], dict[str, str]]:
    """What was typed as plain words and the values of ``--options``; CanaryError with the usage for anything else."""
    plain, found = list[str](), dict[str, str]()
    left = iter(words)
    for word in left:
        if word in options and word not in found:
            value = next(left, None)
            if value is None:
                raise CanaryError(f"{word} needs a value; write: {usage}")
            found[word] = value
        elif word.startswith("--"):
            raise CanaryError(f"{word[:30]} is not known here; write: {usage}")
        else:
            plain.append(word)
    return plain, found


def _alerts(services: Services) -> Alerts:
    alerts = services.alerts()
    if alerts is None:
        raise CanaryError("nothing was evaluated yet, so there is no alert; run `canary tick` first")
    return alerts


# ---------------------------------------------------------------- alerts
@command("alerts")
def alerts(services: Services, words: Sequence[str]) -> Reply:
    """Show what stands: since when, who acknowledged or silenced it, why somebody was not told."""
    if set(words) - {"--all"}:
        raise CanaryError("write: alerts [--all]")
    found = _alerts(services)
    chosen = [alert for alert in found.alerts if alert.stands or words]
    firing = sum(alert.stands and alert.severity != "info" for alert in found.alerts)
    heads = (
        *(Head("id"), Head("severity"), Head("rule"), Head("subject"), Head("state")),
        *(Head("since UTC", expendable=2), Head("age", right=True)),
        *(Head("acked, silenced until", expendable=1), Head("why not sent", expendable=3)),
    )
    rows = tuple(_row(found, alert) for alert in chosen)
    count = sum(alert.stands for alert in found.alerts)
    title = f"{count} alert{' stands' if count == 1 else 's stand'} as of {found.at:%Y-%m-%d %H:%M} UTC"
    notes = [Cell(_others(found), "dim")] if not words and _others(found) else []
    banner = f" RECORDED {day_of(found.at)}: judged on recorded prices, not today's " if found.recorded else ""
    data = {
        "at": found.at.isoformat(),
        "recorded": found.recorded,
        "firing": firing,
        "alerts": [_alert_json(found, alert) for alert in chosen],
    }
    return Reply(data, (Table(title, heads, rows, tuple(notes), banner),), finding=firing > 0)


def _others(found: Alerts) -> str:
    """How many alerts there are besides those that stand."""
    counts: dict[str, int] = {}
    for alert in found.alerts:
        if not alert.stands and alert.state.state != "ok":
            counts[alert.state.state] = counts.get(alert.state.state, 0) + 1
    said = ", ".join(f"{count} {'unknown' if state == 'nodata' else state}" for state, count in sorted(counts.items()))
    return f"besides: {said}; canary alerts --all" if said else ""


def _row(found: Alerts, alert: Standing) -> tuple[Cell, ...]:
    state, loud = alert.state, alert.stands
    tone: Tone = alert.severity if loud else "dim"
    since = alert.since
    name = state.state if held(state) == state.state or not loud else f"{held(state)}, {_blind(state.state)}"
    return (
        Cell(state.short_id or NOT_APPLICABLE, tone),
        Cell(alert.severity, tone),
        Cell(state.rule),
        Cell(state.subject),
        Cell(name),
        Cell(f"{since:%Y-%m-%d %H:%M}" if since else NOT_APPLICABLE),
        Cell(show((found.clock - since).total_seconds(), "s") if since else NOT_APPLICABLE),
        Cell(_quietened(found, alert) or NOT_APPLICABLE),
        Cell(_why(alert.unsaid) or NOT_APPLICABLE, "dim"),
    )


def _blind(state: str) -> str:
    return "data missing" if state == "nodata" else "rule failed"


def _quietened(found: Alerts, alert: Standing) -> str:
    """The words over one alert: acked or silenced, until when, by whom."""
    said = (("acked", found.ack(alert)), ("silenced", found.silence(alert)))
    return "; ".join(f"{what} {_until(overlay)}{_by(overlay)}" for what, overlay in said if overlay is not None)


def _until(overlay: Overlay) -> str:
    return f"until {overlay.until:%Y-%m-%d %H:%M} UTC" if overlay.until else "until it is over"


def _by(overlay: Overlay) -> str:
    return f" by {overlay.by}" if overlay.by else ""


def _why(unsaid: Mapping[str, str]) -> str:
    """Reasons with their routes; one reason for all routes is said once."""
    by_reason: dict[str, list[str]] = {}
    for route, reason in unsaid.items():
        by_reason.setdefault(reason, []).append(route)
    if len(by_reason) == 1:
        routes = ", ".join(filter(None, next(iter(by_reason.values()))))
        return f"{routes}: {next(iter(by_reason))}" if routes else next(iter(by_reason))
    return "; ".join(f"{', '.join(routes)}: {reason}" for reason, routes in by_reason.items())


def _alert_json(found: Alerts, alert: Standing) -> dict[str, object]:
    state, since = alert.state, alert.since
    ack, silence = found.ack(alert), found.silence(alert)
    return {
        "id": state.short_id,
        "severity": alert.severity,
        "rule": state.rule,
        "subject": state.subject,
        "state": state.state,
        "stands": alert.stands,
        "since": since.isoformat() if since else None,
        "age_s": (found.clock - since).total_seconds() if since else None,
        "acked": _overlay_json(ack) if ack else None,
        "silenced": _overlay_json(silence) if silence else None,
        "not_sent": [{"route": route, "reason": reason} for route, reason in alert.unsaid.items()],
    }


def _overlay_json(overlay: Overlay) -> dict[str, object]:
    return {
        "at": overlay.at.isoformat(),
        "until": overlay.until.isoformat() if overlay.until else None,
        "by": overlay.by,
        "note": overlay.note,
    }


# ---------------------------------------------------------------- ack, silence
@command("ack", "operator")
def ack(services: Services, words: Sequence[str]) -> Reply:
    """Say that somebody looks into one alert: it is not repeated until it is over, or for a time."""
    usage = "ack ID [--for 4h] [--by NAME]"
    plain, options = _parts(words, ("--for", "--by"), usage)
    if len(plain) != 1:
        raise CanaryError(f"write: {usage}")
    found = _alerts(services)
    overlay, alert = ack_of(plain[0], found)
    overlay = _timed(overlay, options, alert.severity, "an acknowledgement")
    state = alert.state
    title = f"{state.short_id} acknowledged: {state.rule} of {state.subject} is not repeated {_until(overlay)}"
    return _said(services, found, overlay, title, [])


@command("silence", "operator")
def silence(services: Services, words: Sequence[str]) -> Reply:
    """Say nothing of some alerts for a time: one, a rule, a borrower, or a rule at a borrower."""
    usage = "silence ID|RULE|BORROWER|RULE/BORROWER --for 7d [--by NAME] [--note TEXT], or silence --list"
    if list(words) == ["--list"]:
        return _list(_alerts(services))
    plain, options = _parts(words, ("--for", "--by", "--note"), usage)
    if len(plain) != 1:
        raise CanaryError(f"write: {usage}")
    if "--for" not in options:
        raise CanaryError("a silence needs an end; write --for 4h, at most 30d (7d where it can cover critical alerts)")
    found = _alerts(services)
    severities: Mapping[str, Severity] = {}
    borrowers: list[str] = []
    if found.named(plain[0]) is None:
        # one alert can be silenced even while somebody's edit of the files cannot be read
        severities, borrowers = services.severities(), [borrower.id for borrower in services.book().borrowers]
    overlay, severity = silence_of(plain[0], found, severities, borrowers)
    overlay = _timed(overlay, options, severity, "a silence")
    now = found.matched(overlay)
    covers = [f"{alert.state.short_id} {alert.state.rule} of {alert.state.subject}" for alert in now]
    title = f"{Said(0, overlay).match} silenced {_until(overlay)}"
    return _said(services, found, overlay, title, covers)


def _timed(overlay: Overlay, options: Mapping[str, str], severity: Severity, what: str) -> Overlay:
    """The same word with its end, name and note."""
    until = overlay.at + span_of(options["--for"], severity, what) if "--for" in options else None
    by, note = clean(options.get("--by", ""), MAX_BY), clean(options.get("--note", ""), MAX_NOTE)
    return replace(overlay, until=until, by=by, note=note)


def _said(services: Services, found: Alerts, overlay: Overlay, title: str, covers: Sequence[str]) -> Reply:
    """Write one word and say what it does."""
    said = Said(services.say(overlay), overlay)
    lines = [f"covers now: {'; '.join(covers[:5])}{f' and {len(covers) - 5} more' if len(covers) > 5 else ''}"]
    lines = lines if covers else ["covers nothing that stands now"] if overlay.kind == "silence" else []
    lines += [FROZEN if found.recorded else NEXT, f"take it back: canary unsilence {said.number}"]
    data = {**_said_json(said), "recorded": found.recorded, "covers": list(covers)}
    return Reply(data, (Table(title, notes=tuple(Cell(line, "dim") for line in lines)),))


def _said_json(said: Said) -> dict[str, object]:
    return {"number": said.number, "kind": said.overlay.kind, "match": said.match, **_overlay_json(said.overlay)}


def _list(found: Alerts) -> Reply:
    """Every word in force."""
    heads = (
        *(Head("number", right=True), Head("what"), Head("alerts"), Head("said UTC"), Head("until UTC")),
        *(Head("left", right=True), Head("by"), Head("note", expendable=1), Head("covers now", right=True)),
    )
    rows = []
    for said in found.said:
        overlay = said.overlay
        left = show((overlay.until - found.clock).total_seconds(), "s") if overlay.until else NOT_APPLICABLE
        texts = [str(said.number), overlay.kind, said.match, f"{overlay.at:%Y-%m-%d %H:%M}"]
        texts += [f"{overlay.until:%Y-%m-%d %H:%M}" if overlay.until else "it is over", left]
        texts += [overlay.by or NOT_APPLICABLE, overlay.note or NOT_APPLICABLE, str(len(found.matched(overlay)))]
        rows.append(tuple(map(Cell, texts)))
    title = "silences and acknowledgements in force" if rows else "nothing is silenced or acknowledged"
    return Reply({"said": list(map(_said_json, found.said))}, (Table(title, heads if rows else (), tuple(rows)),))


@command("unsilence", "operator")
def unsilence(services: Services, words: Sequence[str]) -> Reply:
    """Take back a silence or an acknowledgement, by its number or by the alerts it was about."""
    if len(words) != 1:
        raise CanaryError("write: unsilence NUMBER, or the ID, RULE, BORROWER or RULE/BORROWER that was silenced")
    found = _alerts(services)
    over = taken_back(words[0], found)
    services.unsay([said.number for said in over])
    titles = [f"{said.overlay.kind} {said.number} of {said.match} ended" for said in over]
    notes = (Cell(NEXT, "dim"),)
    return Reply({"ended": list(map(_said_json, over))}, (Table("; ".join(titles), notes=notes),))
