"""The shortcut past alerts that stay as they are says nothing else than the state machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts import _Run
from monitor.model import FALSE, TRUE, AlertState, Rule
from monitor.states import Clock, move

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BACK = st.integers(-120, 900).map(lambda seconds: NOW - timedelta(seconds=seconds))
STATES = st.builds(
    AlertState,
    rule=st.just("R"),
    subject=st.just("acme"),
    state=st.sampled_from(("ok", "pending", "firing", "recovering", "nodata", "error")),
    state_before=st.sampled_from((None, "ok", "pending", "firing")),
    active_at=BACK,
    nodata_since=st.none() | BACK,
    served_s=st.integers(0, 700).map(float),
    seen_at=st.none() | BACK,
    logic_hash=st.sampled_from(("a", "b")),
)


@settings(max_examples=400, deadline=None)
@given(STATES, st.integers(0, 700), st.integers(0, 60), st.sampled_from(("counts", "pauses", None)))
def test_what_stays_is_what_the_state_machine_leaves_alone(state, for_s, downtime_s, downtime):
    """Whenever the shortcut passes over a true alert, judging it would have changed nothing and said nothing."""
    rule = Rule("R", "x > 1", "warning", for_s=float(for_s), downtime=downtime, logic_hash="a")
    clock = Clock(NOW, NOW - timedelta(minutes=15), float(downtime_s))
    if _Run(clock, {}, [], "").stays(rule, state):
        after = move(rule, state, TRUE, FALSE, clock)
        assert after.kind is None
        assert after.state is state


def test_the_shortcut_is_taken():
    """A standing alert and one with time left to wait are passed over; one whose wait is over is not."""
    run = _Run(Clock(NOW, NOW), {}, [], "")
    rule = Rule("R", "x > 1", "warning", for_s=600.0)
    waiting = AlertState("R", "acme", "pending", seen_at=NOW - timedelta(seconds=300))
    assert run.stays(rule, AlertState("R", "acme", "firing"))
    assert run.stays(rule, waiting)
    assert not run.stays(Rule("R", "x > 1", "warning", for_s=300.0), waiting)
    assert not run.stays(rule, AlertState("R", "acme", "recovering"))
