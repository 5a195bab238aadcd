"""The states of alerts: the whole table, the rows of Prometheus (same or different on purpose), restarts, and speed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts import downtime, event_id, explain, held, short_id, step, told
from monitor.model import FALSE, TRUE, UNKNOWN, AlertState, Event, Match, Rule, State
from monitor.states import FAILED, REASONS, Clock, move
from monitor.store import Store, TickRow

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TABLE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "alert_transitions.yaml").read_text())
TRUTHS = {"true": TRUE, "false": FALSE, "unknown": UNKNOWN, "failed": FAILED}
States = Mapping[tuple[str, str], AlertState]

RULE = Rule("R", "x > 1", "warning", clear="x < 0.8", for_s=1800, keep_firing_for_s=3600)


# ---------------------------------------------------------------- the table
def state_named(name: str) -> AlertState:
    """The state the table's header describes, at T0."""
    base = AlertState("R", "acme", short_id="abcd")
    outer, _, inner = name.partition(":")
    if inner:
        since = T0 - (timedelta(hours=24) if inner.endswith("_long") else 15 * MINUTE)
        before = state_named(inner.removesuffix("_long"))
        served = 900.0 if before.state == "pending" else 0.0
        blind: State = "nodata" if outer == "nodata" else "error"
        return replace(
            before, state=blind, state_before=before.state, nodata_since=since, served_s=served, seen_at=None
        )
    kind, _, variant = outer.partition("_")
    if kind == "pending":
        began = T0 - (30 * MINUTE if variant else 15 * MINUTE)
        return replace(base, state="pending", active_at=began, seen_at=began)
    if kind in ("firing", "recovering"):
        keep_since = {"": 30 * MINUTE, "due": 60 * MINUTE}.get(variant)
        firing = replace(base, state="firing", active_at=T0 - 180 * MINUTE, fired_at=T0 - 150 * MINUTE, flaps=1)
        if kind == "firing":
            return firing
        return replace(firing, state="recovering", keep_since=None if keep_since is None else T0 - keep_since)
    return base


def shown(state: AlertState) -> str:
    """A state as the table writes it."""
    return f"{state.state}:{state.state_before}" if state.state in ("nodata", "error") else state.state


def cells() -> list[tuple[str, str, str, str, str, str]]:
    """Every row of the table, `any` written out."""
    clears = ("true", "false", "unknown")
    return [
        (before, truth, one, to, event, reason)
        for before, truth, clear, to, event, reason in TABLE["moves"]
        for one in (clears if clear == "any" else (clear,))
    ]


def test_the_table_is_complete() -> None:
    """Every state, truth and recovery threshold stands in the table exactly once, and every reason is known."""
    found = sorted((before, truth, clear) for before, truth, clear, *_ in cells())
    wanted = sorted(product(TABLE["states"], TRUTHS, ("true", "false", "unknown")))
    assert found == wanted
    assert {name.partition(":")[0].partition("_")[0] for name in TABLE["states"]} == {
        *("ok", "pending", "firing", "recovering", "nodata", "error")
    }
    assert {reason for *_, reason in cells()} <= set(REASONS)


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: "-".join(cell[:3]))
def test_every_move(cell: tuple[str, str, str, str, str, str]) -> None:
    """One cell of the table: the next state, the event and the named reason."""
    before, truth, clear, to, event, reason = cell
    after = move(RULE, state_named(before), TRUTHS[truth], TRUTHS[clear], Clock(T0, T0 - 15 * MINUTE))
    assert (shown(after.state), after.kind or "none", after.reason) == (to, event, reason)


@pytest.mark.parametrize("policy", ["alert", "ok"])
def test_missing_data_follows_the_rule(policy: Any) -> None:
    """`on_missing: alert` fires as missing data, `on_missing: ok` reads as recovered, from every state listed."""
    rule = replace(RULE, on_missing=policy)
    for before, to, event, reason in TABLE[f"on_missing_{policy}"]:
        after = move(rule, state_named(before), UNKNOWN, UNKNOWN, Clock(T0, T0 - 15 * MINUTE))
        assert (shown(after.state), after.kind or "none", after.reason) == (to, event, reason), before


@pytest.mark.parametrize("cell", cells()[::5], ids=lambda cell: "-".join(cell[:3]))
def test_every_event_carries_a_sentence(cell: tuple[str, str, str, str, str, str]) -> None:
    """Through `step`, each cell gives at most one event; its sentence has every placeholder filled."""
    before, truth, clear, _, event, _ = cell
    state = state_named(before)
    states = {} if state.state == "ok" else {("R", "acme"): state}
    truths = np.array([0 if truth == "failed" else TRUTHS[truth]], np.int8)
    match = Match(RULE, ("acme",), truths, np.array([TRUTHS[clear]], np.int8), error="boom" * (truth == "failed"))
    _, events = step([RULE], [match], states, T0, last_tick_at=T0 - 15 * MINUTE)
    assert [e.kind for e in events] == ([] if event == "none" else [event])
    for said in events:
        assert said.reason
        assert "{" not in said.reason
        assert said.before == state.state


# ---------------------------------------------------------------- a rule over time
class Line:
    """One rule and one subject through time: ticks of a minute unless told otherwise."""

    def __init__(self, rule: Rule, subject: str = "acme"):
        self.rule, self.subject = rule, subject
        self.states: States = {}
        self.events: list[Event] = []
        self.last: datetime | None = None

    def tick(self, minute: float, truth: int, cleared: int | None = None, **options: Any) -> str:
        """Judge one moment; returns the state."""
        now = T0 + minute * MINUTE
        if cleared is None:
            cleared = {TRUE: FALSE, FALSE: TRUE}.get(truth, UNKNOWN)
        match = Match(self.rule, (self.subject,), np.array([truth], np.int8), np.array([cleared], np.int8))
        self.states, events = step([self.rule], [match], self.states, now, last_tick_at=self.last, **options)
        self.events += events
        self.last = now
        return self.state

    def run(self, truths: str, start: int = 0) -> list[str]:
        """`t`, `f` and `u` a minute each; the states after each."""
        letters = {"t": TRUE, "f": FALSE, "u": UNKNOWN}
        return [self.tick(start + i, letters[letter]) for i, letter in enumerate(truths)]

    @property
    def state(self) -> str:
        found = self.states.get((self.rule.id, self.subject))
        return "ok" if found is None else found.state

    @property
    def row(self) -> AlertState:
        return self.states[(self.rule.id, self.subject)]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


def rule(minutes: float = 0, keep: float = 0, **more: Any) -> Rule:
    """A rule with its waits in minutes."""
    return Rule("R", "x > 1", "warning", for_s=minutes * 60, keep_firing_for_s=keep * 60, logic_hash="v1", **more)


def test_p1_true_with_a_wait_becomes_pending() -> None:
    """P1: true and `for` above zero: pending, the clock starts now."""
    line = Line(rule(2))
    assert line.tick(0, TRUE) == "pending"
    assert line.row.active_at == T0


def test_p2_true_without_a_wait_fires_at_once() -> None:
    """P2: `for: 0` fires in the same evaluation."""
    line = Line(rule(0))
    assert line.tick(0, TRUE) == "firing"
    assert (line.row.active_at, line.row.fired_at) == (T0, T0)
    assert line.kinds() == ["fired"]


def test_p3_p4_fires_when_the_wait_is_served() -> None:
    """P3, P4: pending while elapsed is below `for`, firing at exactly `for`; active_at is not moved."""
    line = Line(rule(2))
    assert line.run("ttt") == ["pending", "pending", "firing"]
    assert (line.row.active_at, line.row.fired_at) == (T0, T0 + 2 * MINUTE)


def test_p5_one_false_moment_starts_the_wait_again() -> None:
    """P5: a pending alert that is false once is gone with nothing sent, and serves the whole wait again."""
    line = Line(rule(2))
    assert line.run("ttfttt") == ["pending", "pending", "ok", "pending", "pending", "firing"]
    assert line.kinds() == ["pending", "dropped", "pending", "fired"]


def test_p6_keep_never_keeps_a_pending_alert() -> None:
    """P6: `keep_firing_for` is for firing alerts only."""
    assert Line(rule(2, keep=3)).run("tf") == ["pending", "ok"]


def test_p7_firing_stays_firing_silently() -> None:
    """P7: still true: firing, no new event, and the row itself is not touched."""
    line = Line(rule(0))
    line.run("t")
    row = line.row
    assert line.run("tt", start=1) == ["firing", "firing"]
    assert line.row is row
    assert line.kinds() == ["fired"]


def test_p8_false_resolves_without_keep() -> None:
    """P8: no keep window: resolved on the first false evaluation."""
    line = Line(rule(0))
    assert line.run("tf") == ["firing", "ok"]
    assert line.kinds() == ["fired", "resolved"]
    assert line.row.resolved_at == T0 + MINUTE


def test_p9_p10_p11_keep_window() -> None:
    """P9-P11: false at 2, 3, 4 keeps it with a window of three minutes; it ends at 5 (elapsed >= keep)."""
    line = Line(rule(1, keep=3))
    assert line.run("ttffff") == ["pending", "firing", "recovering", "recovering", "recovering", "ok"]


def test_p12_true_inside_the_window_starts_it_again_at_the_next_false() -> None:
    """P12: true again while keeping: the same episode goes on, and the window is whole again."""
    line = Line(rule(1, keep=3))
    states = line.run("ttfftffff")
    assert states == [*("pending", "firing", "recovering", "recovering", "firing"), *["recovering"] * 3, "ok"]
    assert len({event.episode for event in line.events}) == 1


def test_p13_p14_a_resolved_alert_is_remembered_not_sent_again() -> None:
    """P13, P14 do not apply: a resolved message is an outbox row, never sent again; the state is kept for 30 days."""
    line = Line(rule(0))
    line.run("tf")
    assert line.tick(16, FALSE) == "ok"
    assert ("R", "acme") in line.states
    line.tick(31 * 24 * 60, FALSE)
    assert ("R", "acme") not in line.states
    assert line.kinds() == ["fired", "resolved"]


def test_p15_after_a_resolve_the_whole_wait_is_served_again() -> None:
    """P15: true again after resolved is a new pending episode."""
    line = Line(rule(2))
    assert line.run("tttfttt")[3:] == ["ok", "pending", "pending", "firing"]
    assert len({event.episode for event in line.events}) == 2
    assert line.row.flaps == 2


def test_p16_a_raised_wait_never_demotes_a_firing_alert() -> None:
    """P16, different: `for` raised above the time served leaves a firing alert firing; new instances serve it."""
    line = Line(rule(2))
    line.run("ttt")
    line.rule = rule(60)
    assert line.tick(3, TRUE) == "firing"
    other = Line(rule(60), "other")
    assert other.run("ttt")[-1] == "pending"


def test_p17_a_failed_rule_resolves_nothing() -> None:
    """P17, different: an error keeps a firing alert firing in all but name, and the instance says error."""
    line = Line(rule(0))
    line.run("t")
    failed = Match(line.rule, ("acme",), np.array([0], np.int8), np.array([1], np.int8), error="division by zero")
    line.states, events = step([line.rule], [failed], line.states, T0 + MINUTE, last_tick_at=T0)
    assert (line.row.state, held(line.row)) == ("error", "firing")
    assert "division by zero" in events[0].reason
    assert line.tick(2, TRUE) == "firing"


def test_p17_a_rule_that_was_not_evaluated_counts_as_failed() -> None:
    """A rule without a match is an error for what it had, never a recovery."""
    line = Line(rule(0))
    line.run("t")
    states, events = step([line.rule], [], line.states, T0 + MINUTE)
    assert states[("R", "acme")].state == "error"
    assert [event.kind for event in events] == ["error"]


def test_p18_p19_p20_do_not_exist_here() -> None:
    """P18-P20: instances are keyed by rule and subject only, so no label can double, limit or end one."""
    line = Line(rule(2))
    for minute, value in enumerate((0.90, 0.91, 0.92)):
        values = {"x": np.array([value])}
        match = Match(line.rule, ("acme",), np.array([1], np.int8), np.array([0], np.int8), values=values)
        line.states, events = step([line.rule], [match], line.states, T0 + minute * MINUTE)
    assert line.state == "firing"
    assert events[0].values == {"x": 0.92}


def test_p21_an_edit_of_texts_keeps_the_state() -> None:
    """P21: same name and same logic: nothing moves, and a wait goes on."""
    line = Line(rule(2))
    line.run("tt")
    line.rule = replace(line.rule, summary="new words", severity="critical")
    assert line.tick(2, TRUE) == "firing"
    assert line.events[-1].severity == "critical"


def test_p22_missing_data_keeps_a_firing_alert() -> None:
    """P22, different: a vanished series does not resolve; the alert stays and says since when its data is missing."""
    line = Line(rule(0))
    assert line.run("tuu") == ["firing", "nodata", "nodata"]
    assert held(line.row) == "firing"
    assert "missing since 2026-03-02 12:01" in explain(line.row, line.rule, T0 + 2 * MINUTE)
    assert line.tick(3, TRUE) == "firing"
    assert line.kinds() == ["fired", "nodata", "data_back"]


def test_p23_keep_window_with_missing_data() -> None:
    """P23: under `on_missing: ok` missing data is kept for the window, as theirs; under `keep` the window is held."""
    assert Line(rule(1, keep=3, on_missing="ok")).run("ttuuuu")[-2:] == ["recovering", "ok"]
    assert Line(rule(1, keep=3)).run("ttfuuuuuuf")[-2:] == ["nodata", "ok"]


def test_p24_unknown_is_neither_true_nor_false() -> None:
    """P24, different: a truth of -1 neither fires nor resolves, under any wait."""
    for minutes in (0, 2):
        assert set(Line(rule(minutes)).run("uuuu")) == {"nodata"}


# ---------------------------------------------------------------- unknown, clear, change
def test_pending_and_unknown_holds_the_clock() -> None:
    """Unknown neither serves nor resets the wait: 2 of 3 minutes served, unknown, then the third fires it."""
    line = Line(rule(3))
    assert line.run("tttuuuu")[-1] == "nodata"
    assert line.row.served_s == 120
    assert line.run("tt", start=7) == ["pending", "firing"]


def test_pending_gives_up_after_a_day_unknown() -> None:
    """Pending and unknown for max(for, 24 h) drops to ok; a later true serves the whole wait again."""
    for wait_days, limit_h in ((0.5, 24), (2, 48)):
        line = Line(rule(wait_days * 1440))
        line.run("tu")
        assert line.tick(limit_h * 60, UNKNOWN) == "nodata"
        assert held(line.row) == "pending"
        line.tick(limit_h * 60 + 1, UNKNOWN)
        assert held(line.row) == "ok"
        assert line.events[-1].kind == "dropped"
        assert line.tick(limit_h * 60 + 2, TRUE) == "pending"
        assert line.row.served_s == 0


def test_keep_window_starts_when_clear_is_first_true() -> None:
    """Between its line and its recovery threshold the alert recovers; the window counts from the first clear."""
    line = Line(rule(0, keep=3, clear="x < 0.8"))
    line.tick(0, TRUE, FALSE)
    assert [line.tick(m, FALSE, FALSE) for m in (1, 2, 3, 4)] == ["recovering"] * 4
    assert [line.tick(m, FALSE, TRUE) for m in (5, 6, 7)] == ["recovering"] * 3
    assert line.tick(8, FALSE, TRUE) == "ok"


def test_the_end_needs_clear_to_be_true() -> None:
    """A window that has run out ends nothing while clear is false or unknown."""
    line = Line(rule(0, keep=1, clear="x < 0.8"))
    line.tick(0, TRUE, FALSE)
    line.tick(1, FALSE, TRUE)
    assert line.tick(2, FALSE, UNKNOWN) == "recovering"
    assert line.tick(3, FALSE, FALSE) == "recovering"
    assert line.tick(4, FALSE, TRUE) == "ok"


def test_missing_data_fires_where_the_rule_asks() -> None:
    """`on_missing: alert`: firing as missing data; known and true again goes on, known and false ends."""
    line = Line(rule(60, on_missing="alert"))
    assert line.run("fu") == ["ok", "firing"]
    assert "missing" in line.events[-1].reason
    assert line.row.nodata_since == T0 + MINUTE
    assert line.run("tf", start=2) == ["firing", "ok"]
    assert line.kinds() == ["fired", "data_back", "resolved"]


def test_changed_logic_restarts_the_wait() -> None:
    """An edited expr starts a pending wait again, also one held by missing data, and says so."""
    for truths in ("tt", "ttu"):
        line = Line(rule(3))
        line.run(truths)
        line.rule = replace(line.rule, logic_hash="v2")
        assert line.tick(4, TRUE) == "pending"
        assert "the rule changed" in line.events[-1].reason
        assert [line.tick(m, TRUE) for m in (5, 6, 7)] == ["pending", "pending", "firing"]


def test_changed_logic_judges_a_firing_alert_again() -> None:
    """An edited expr: a firing alert stays when it is true under the new one, and ends by its rules when it is not."""
    line = Line(rule(3))
    line.run("tttt")
    line.rule = replace(line.rule, logic_hash="v2")
    assert line.tick(4, TRUE) == "firing"
    line.rule = replace(line.rule, logic_hash="v3")
    assert line.tick(5, FALSE) == "ok"


def test_changed_logic_starts_the_keep_window_again() -> None:
    """An edited recovery threshold is another one: a window that had begun under the old one begins anew."""
    line = Line(rule(0, keep=3))
    line.run("tfff")
    line.rule = replace(line.rule, logic_hash="v2")
    assert line.run("ffff", start=4) == ["recovering", "recovering", "recovering", "ok"]


def test_renames_carry_the_state() -> None:
    """`was:` carries a firing alert with its short id; a renamed subject too."""
    line = Line(rule(0))
    line.run("t")
    short = line.row.short_id
    new = replace(line.rule, id="Renamed", was="R")
    match = Match(new, ("acme-2",), np.array([1], np.int8), np.array([0], np.int8))
    states, events = step([new], [match], line.states, T0 + MINUTE, renamed_subjects={"acme": "acme-2"})
    assert list(states) == [("Renamed", "acme-2")]
    assert states[("Renamed", "acme-2")].short_id == short
    assert events == []


def test_what_is_gone_is_dropped_with_an_event() -> None:
    """A removed rule or subject ends its alert with an event that names why."""
    line = Line(rule(0))
    line.run("t")
    states, events = step([], [], line.states, T0 + MINUTE)
    assert (states, [e.kind for e in events], events[0].reason) == ({}, ["dropped"], REASONS["rule_removed"])
    nobody = Match(line.rule, (), np.zeros(0, np.int8), np.zeros(0, np.int8))
    states, events = step([line.rule], [nobody], line.states, T0 + MINUTE)
    assert (states, [e.reason for e in events]) == ({}, [REASONS["subject_removed"]])


def test_because_the_book_changed() -> None:
    """What changed without a market move is said on events whose truth changed, not where only time passed."""
    line = Line(rule(2))
    why = "the book changed: debt_usd 24.86bn -> 35.55bn (10-Q, 2026-08-12)"
    line.tick(0, TRUE, changed_inputs=why)
    line.tick(2, TRUE, changed_inputs=why)
    line.tick(3, FALSE, changed_inputs=why)
    assert [(e.kind, bool(e.because)) for e in line.events] == [("pending", True), ("fired", False), ("resolved", True)]


def test_events_are_the_same_when_judged_twice() -> None:
    """The same moment judged twice gives the same events with the same ids; judged from the new states, none."""
    line = Line(rule(0))
    match = Match(line.rule, ("acme",), np.array([1], np.int8), np.array([0], np.int8))
    states, first = step([line.rule], [match], {}, T0)
    _, second = step([line.rule], [match], {}, T0)
    _, third = step([line.rule], [match], states, T0)
    assert first == second
    assert third == []
    assert first[0].id == event_id("R", "acme", "fired", T0) == first[0].episode


def test_short_ids_do_not_collide() -> None:
    """Ten thousand instances have ten thousand short ids, nearly all of four characters, each the same every time."""
    taken: set[str] = set()
    for i in range(10_000):
        short = short_id("R", f"s{i}", taken)
        assert short not in taken
        taken.add(short)
    assert sum(len(short) == 4 for short in taken) > 9_900


def test_told_forgets_the_flaps() -> None:
    """After a message the count of episodes starts again; others keep theirs."""
    line = Line(rule(0))
    line.run("tftft")
    assert line.row.flaps == 3
    assert told(line.states, [("R", "acme"), ("R", "nobody")])[("R", "acme")].flaps == 0
    assert line.row.flaps == 3


def test_explain_names_the_wait() -> None:
    """Every state explains itself in one sentence; an unfinished wait never looks finished."""
    waits = Rule("R", "x", "warning", for_s=1800, keep_firing_for_s=7200)
    pending = AlertState("R", "acme", "pending", active_at=T0, seen_at=T0)
    assert explain(pending, waits, T0 + 22 * MINUTE) == "not sent: still pending, 22 of 30 minutes"
    assert (
        explain(pending, waits, T0 + timedelta(minutes=29, seconds=59)) == "not sent: still pending, 29 of 30 minutes"
    )
    assert explain(None, waits, T0) == "not sent: not true"
    keeps = AlertState("R", "acme", "recovering", fired_at=T0, keep_since=T0)
    assert explain(keeps, waits, T0 + 90 * MINUTE) == "firing since 2026-03-02 12:00 UTC; kept firing, 1.5 of 2 hours"
    blind = AlertState("R", "acme", "nodata", state_before="ok", nodata_since=T0, reason="unknown: sofr")
    assert explain(blind, waits, T0) == "not sent: unknown: sofr (since 2026-03-02 12:00 UTC)"


# ---------------------------------------------------------------- restarts
def test_downtime_pauses_a_wait_and_counts_for_a_keep_window() -> None:
    """By default time nobody watched is not served by a wait and does pass in a keep window; a rule may say other."""
    for policy, after_down in ((None, "pending"), ("pauses", "pending"), ("counts", "firing")):
        line = Line(rule(10, downtime=policy))
        line.run("tttt")
        assert line.tick(63, TRUE, downtime_s=3600) == after_down
    for policy, after_down in ((None, "ok"), ("counts", "ok"), ("pauses", "recovering")):
        line = Line(rule(0, keep=10, downtime=policy))
        line.run("tf")
        assert line.tick(61, FALSE, downtime_s=3600) == after_down


def test_downtime_is_a_missed_evaluation() -> None:
    """A late tick is not downtime; a missed one is, whole."""
    assert downtime(T0, None, 900) == 0
    assert downtime(T0, T0 - 29 * MINUTE, 900) == 0
    assert downtime(T0, T0 - 31 * MINUTE, 900) == 31 * 60


def test_the_clock_may_step_back() -> None:
    """An evaluation before the last one serves nothing and loses nothing."""
    line = Line(rule(3))
    line.run("ttt")
    assert line.tick(-60, TRUE) == "pending"
    assert line.tick(3, TRUE) == "firing"


def restarted(line: Line, path: Path) -> None:
    """Write the states through the real store, forget everything, read them back."""
    with Store(path) as store:
        store.commit_tick(TickRow(line.last or T0), states=line.states)
    with Store(path) as store:
        line.states = store.load_states()


@pytest.mark.parametrize("minutes", [0, 0.05, 3, 600])
def test_r1_to_r5_a_restart_changes_nothing_whatever_the_wait(minutes: float, tmp_path: Path) -> None:
    """R1-R5, different: firing stays firing and pending keeps what it served, for any `for` and any length of stop."""
    line, still = Line(rule(minutes)), Line(rule(minutes))
    for minute in range(6):
        assert line.tick(minute, TRUE) == still.tick(minute, TRUE)
        restarted(line, tmp_path / "c.sqlite")
        assert line.states == still.states


def test_r4_time_down_is_not_served(tmp_path: Path) -> None:
    """R4: due in 2 minutes, down for an hour: fires 2 minutes after the return, measured from the last evaluation."""
    line = Line(rule(5))
    line.run("tttt")
    restarted(line, tmp_path / "c.sqlite")
    assert line.tick(63, TRUE, downtime_s=3600) == "pending"
    assert line.tick(64, TRUE) == "pending"
    assert line.tick(65, TRUE) == "firing"


def test_r6_r7_resolved_and_missing_survive(tmp_path: Path) -> None:
    """R6, R7, different: what is resolved or without data is still known to be so after a restart."""
    line = Line(rule(0))
    line.run("tf")
    resolved = line.row
    restarted(line, tmp_path / "c.sqlite")
    assert line.row == resolved
    line.run("tu", start=2)
    restarted(line, tmp_path / "c.sqlite")
    assert (line.row.state, line.row.state_before, line.row.nodata_since) == ("nodata", "firing", T0 + 3 * MINUTE)


def test_r8_the_keep_window_survives(tmp_path: Path) -> None:
    """R8, different: a keep window goes on over a restart."""
    line = Line(rule(0, keep=3))
    line.run("tff")
    restarted(line, tmp_path / "c.sqlite")
    assert line.run("ff", start=3) == ["recovering", "ok"]


@settings(max_examples=25, deadline=None)
@given(
    moments=st.lists(st.tuples(st.sampled_from([0, 1, -1, 2]), st.sampled_from([0, 1, -1])), max_size=12),
    wait=st.sampled_from([0.0, 30.0, 60.0, 150.0, 600.0]),
    keep=st.sampled_from([0.0, 60.0, 180.0]),
    policy=st.sampled_from(["keep", "alert", "ok"]),
    stop=st.integers(0, 12),
)
def test_restart_property(moments: Sequence[tuple[int, int]], wait: float, keep: float, policy: Any, stop: int) -> None:
    """Stopping anywhere and reading the states back from the database gives the same states and events ever after."""
    one = Rule("R", "x", "warning", clear="y", for_s=wait, keep_firing_for_s=keep, on_missing=policy)
    runs = []
    with TemporaryDirectory() as folder:
        for restart in (False, True):
            states: States = {}
            seen = []
            for i, (truth, cleared) in enumerate(moments):
                if restart and i == stop:
                    with Store(Path(folder) / "c.sqlite") as store:
                        store.commit_tick(TickRow(T0), states=states)
                        states = store.load_states()
                error = "failed" if truth == 2 else ""
                match = Match(one, ("s",), np.array([truth % 2], np.int8), np.array([cleared], np.int8), error=error)
                if truth == -1:
                    match = replace(match, truth=np.array([-1], np.int8))
                states, events = step([one], [match], states, T0 + i * MINUTE, last_tick_at=T0 + max(0, i - 1) * MINUTE)
                seen.append((states, events))
            runs.append(seen)
    assert runs[0] == runs[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, -1]), min_size=1, max_size=30), st.integers(0, 5), st.integers(0, 5))
def test_laws_of_firing(truths: list[int], wait: int, keep: int) -> None:
    """Never fires without `for` of truth behind it; no alert resolves more often than it fired."""
    line = Line(rule(wait, keep))
    served = 0
    for minute, truth in enumerate(truths):
        before = line.state
        after = line.tick(minute, truth)
        if truth == TRUE:
            served = served + 1 if before in ("pending", "firing", "recovering") else served
        elif truth == FALSE:
            served = 0
        if after == "firing" and before not in ("firing", "recovering", "nodata"):
            assert served >= wait
    told_kinds = [e.kind for e in line.events if e.kind in ("fired", "resolved") and e.before != "recovering"]
    episodes = [e.kind for e in line.events if e.kind == "resolved"]
    assert len(episodes) <= told_kinds.count("fired")


# ---------------------------------------------------------------- many
def test_many_subjects_equal_one_by_one() -> None:
    """A thousand subjects judged together move exactly as each would alone."""
    rng = np.random.default_rng(5)
    subjects = tuple(f"s{i}" for i in range(60))
    one = rule(2, keep=2)
    together: States = {}
    alone: dict[str, States] = {s: {} for s in subjects}
    for minute in range(12):
        truths = rng.choice([0, 1, -1], size=60, p=[0.5, 0.4, 0.1]).astype(np.int8)
        now = T0 + minute * MINUTE
        clear = np.where(truths == 0, 1, 0).astype(np.int8)
        together, _ = step([one], [Match(one, subjects, truths, clear)], together, now, last_tick_at=now - MINUTE)
        for i, s in enumerate(subjects):
            match = Match(one, (s,), truths[i : i + 1], clear[i : i + 1])
            alone[s], _ = step([one], [match], alone[s], now, last_tick_at=now - MINUTE)
    merged = {key: state for states in alone.values() for key, state in states.items()}
    assert {k: replace(v, short_id="") for k, v in together.items()} == {
        k: replace(v, short_id="") for k, v in merged.items()
    }


def test_the_order_of_events_does_not_depend_on_where_states_came_from() -> None:
    """The same states in another order give the same events in the same order."""
    subjects = ("a", "b", "c")
    one = rule(0)
    match = Match(one, subjects, np.ones(3, np.int8), np.zeros(3, np.int8))
    states, _ = step([one], [match], {}, T0)
    over = Match(one, subjects, np.zeros(3, np.int8), np.ones(3, np.int8))
    runs = [
        step(rules, [over], dict(order), T0 + MINUTE)
        for rules in ([one], [])
        for order in (states.items(), reversed(states.items()))
    ]
    assert runs[0][1] == runs[1][1]
    assert runs[2][1] == runs[3][1]
    assert [event.subject for event in runs[0][1]] == list(subjects)


def test_a_quiet_evaluation_is_cheap() -> None:
    """1,000 rules over 1,000 subjects, one in a hundred firing: a steady evaluation moves nothing, within a second."""
    subjects = tuple(f"s{i}" for i in range(1000))
    truth = np.zeros(1000, np.int8)
    truth[::100] = 1
    cleared = 1 - truth
    rules = [Rule(f"R{i}", "x", "warning") for i in range(1000)]
    matches = [Match(r, subjects, truth, cleared) for r in rules]
    states, events = step(rules, matches, {}, T0)
    assert len(events) == 10_000
    started = time.process_time()
    after, events = step(rules, matches, states, T0 + MINUTE)
    assert time.process_time() - started < 1
    assert events == []
    assert after == states
