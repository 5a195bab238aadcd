"""What stands, with the reason it stands in the rule's own numbers."""

from __future__ import annotations

from monitor.explaining import explain_alert
from monitor.model import AlertState, Severity
from monitor.report.moment import Moment
from monitor.report.parts import Alert
from monitor.routes import RANK
from monitor.rules import CompiledRule, render
from monitor.states import active


def standing(it: Moment) -> tuple[Alert, ...]:
    """What stands, the loudest first; information such as a sign of life is left out."""
    compiled, severities = it.compiled, {rule.id: rule.severity for rule in it.world.rules}
    clock = it.at
    said = {overlay.short_id: overlay for overlay in it.store.overlays(clock) if overlay.short_id}
    found = []
    for (rule, _), state in it.alerts.items():
        severity: Severity = severities.get(rule, "warning")
        if not active(state) or severity == "info" or rule not in compiled:
            continue
        over = said.get(state.short_id)
        words = f"{'acknowledged' if over.kind == 'ack' else 'silenced'} by {over.by or 'somebody'}" if over else ""
        found.append(_alert(it, compiled[rule], state, severity, words))
    return tuple(sorted(found, key=lambda one: (-RANK[one.severity], one.rule, one.subject)))


def _alert(it: Moment, compiled: CompiledRule, state: AlertState, severity: Severity, said: str) -> Alert:
    subjects = it.numbers.subjects.get(compiled.rule.each, ())
    since = f"{state.fired_at:%Y-%m-%d %H:%M} UTC" if state.fired_at else ""
    if state.subject not in subjects:
        return Alert(state.short_id, state.rule, state.subject, severity, since, "no longer in the book", said, ())
    explained = explain_alert(compiled, it.numbers, state.subject, state)
    says = render(compiled, compiled.rule.summary, it.numbers, subjects.index(state.subject))
    why = tuple(row for row in explained.rows if row[0] != "messages")
    return Alert(state.short_id, state.rule, state.subject, severity, since, says, said, why)
