"""What is said to whom: grouping, quiet hours, digests, silences, repeats, and a reason for everything not said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts import step, told
from monitor.model import AlertState, Decision, Event, Match, Rule, Severity
from monitor.routing import Group, Overlay, Plan, Quiet, Route, Told, Waiting, first_look, in_quiet, next_digest, route

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SUBJECTS = ("acme", "bolt")
CONSOLE = Route("desk", "console")


def rule(name: str, severity: Severity = "warning", **more: Any) -> Rule:
    """A rule that fires at once."""
    return Rule(name, "x > 1", severity, **more)


class World:
    """Rules, routes and time: every tick says which (rule, subject) are true, and keeps what the plan leaves."""

    def __init__(self, rules: Sequence[Rule], routes: Sequence[Route] = (CONSOLE,), recorded: bool = False):
        self.rules, self.routes, self.recorded = list(rules), list(routes), recorded
        self.states: dict[tuple[str, str], AlertState] = {}
        self.told: dict[tuple[str, str], Told] = {}
        self.waiting: Sequence[Waiting] = ()
        self.overlays: list[Overlay] = []
        self.now = T0
        self.plan = Plan((), (), (), ())
        self.events: list[Event] = []

    def tick(self, *true: str, hours: float = 0.25, unknown: Sequence[str] = (), failed: str = "") -> Plan:
        """Move on by some hours; ``R:acme`` names what is true. The first tick is at 12:00."""
        self.now = self.now + timedelta(hours=hours) if self.plan.decisions or self.states else self.now
        matches = []
        for one in self.rules:
            names = [f"{one.id}:{subject}" for subject in SUBJECTS]
            truth = np.array([-1 if n in unknown else int(n in true) for n in names], np.int8)
            error = "broken" if one.id == failed else ""
            matches.append(Match(one, SUBJECTS, truth, (truth == 0).astype(np.int8), error=error))
        self.states, self.events = step(self.rules, matches, self.states, self.now)
        self.plan = route(
            self.events,
            self.states,
            self.routes,
            self.rules,
            self.now,
            told=list(self.told.values()),
            waiting=self.waiting,
            overlays=self.overlays,
            recorded=self.recorded,
        )
        self.waiting = self.plan.waiting
        self.told |= {(entry.route, entry.short_id): entry for entry in self.plan.told}
        self.states = told(self.states, self.plan.spoken())
        return self.plan

    def short(self, name: str) -> str:
        """The short id of ``R:acme``."""
        one, _, subject = name.partition(":")
        return self.states[(one, subject)].short_id


def said(plan: Plan) -> list[tuple[str, str, list[str]]]:
    """(route, kind, what) of every group."""
    return [
        (g.route.name, g.kind, [f"{e.rule}:{e.subject} {e.kind}" for e in g.events] or [a.rule for a in g.alerts])
        for g in plan.groups
    ]


def reasons(plan: Plan) -> list[str]:
    """Why what was not said was not."""
    return [decision.reason for decision in plan.decisions if not decision.send]


# ---------------------------------------------------------------- said
def test_a1_a_new_alert_is_said() -> None:
    """A1: nothing said before and one firing: one message, and the route is remembered as told."""
    world = World([rule("R")])
    assert said(world.tick("R:acme")) == [("desk", "fired", ["R:acme fired"])]
    assert world.told[("desk", world.short("R:acme"))].firing


def test_a2_an_old_alert_is_said_at_once() -> None:
    """A2: there is no wait for company: the evaluation is the group."""
    world = World([rule("R", "critical")])
    assert len(world.tick("R:acme").groups) == 1


def test_a3_only_resolved_is_not_said() -> None:
    """A3: a route that never heard of it does not hear that it is over."""
    world = World([rule("R")])
    world.overlays = [Overlay("silence", T0, until=T0 + HOUR, rule="R", by="ann")]
    world.tick("R:acme")
    plan = world.tick()
    assert said(plan) == []
    assert "nobody was told that it fired" in reasons(plan)
    assert any(reason.startswith("it ended before it could be said: silenced by ann") for reason in reasons(plan))


def test_a4_more_of_a_group_names_the_whole() -> None:
    """A4: a second alert of a borrower is said, with the first one beside it."""
    world = World([rule("R"), rule("S")])
    world.tick("R:acme")
    plan = world.tick("R:acme", "S:acme")
    assert said(plan) == [("desk", "fired", ["S:acme fired"])]
    assert [state.rule for state in plan.groups[0].also] == ["R"]


def test_a5_a6_recoveries_are_said_to_those_who_heard() -> None:
    """A5, A6: a recovery is one message; a route that does not want recoveries remembers that it is over."""
    loud, quiet = Route("loud", "console"), Route("quiet", "console", send_resolved=False)
    world = World([rule("R")], [loud, quiet])
    world.tick("R:acme")
    plan = world.tick()
    assert said(plan) == [("loud", "resolved", ["R:acme resolved"])]
    assert "this route does not want to hear of recoveries" in reasons(plan)
    assert not any(entry.firing for entry in world.told.values())


@pytest.mark.parametrize(("severity", "hours"), [("critical", 6), ("warning", 24)])
def test_a7_the_same_is_repeated_after_its_period(severity: Severity, hours: int) -> None:
    """A7: nothing while the same stands, then a reminder: critical every 6 hours, warning daily."""
    world = World([rule("R", severity)])
    world.tick("R:acme")
    assert said(world.tick("R:acme", hours=hours - 0.25)) == []
    assert said(world.tick("R:acme")) == [("desk", "reminder", ["R"])]
    assert said(world.tick("R:acme")) == []


def test_info_is_never_repeated() -> None:
    """An info alert stands in the digest once."""
    world = World([rule("R", "info")])
    world.tick("R:acme")
    world.tick("R:acme", hours=24)
    assert said(world.tick("R:acme", hours=240)) == []


def test_a8_flapping_is_counted() -> None:
    """A8, different: episodes that came and went unsaid are counted in the next message."""
    world = World([rule("R")])
    world.overlays = [Overlay("silence", T0, until=T0 + 1.1 * HOUR)]
    for true in (["R:acme"], [], ["R:acme"], [], ["R:acme"]):
        world.tick(*true)
    plan = world.tick("R:acme")
    assert said(plan) == [("desk", "fired", ["R:acme fired"])]
    assert plan.groups[0].flaps == {world.short("R:acme"): 3}
    world.tick()
    assert world.tick("R:acme").groups[0].flaps == {}


def test_a9_firing_again_is_news() -> None:
    """A9: resolved and said so, then firing again: a first message again."""
    world = World([rule("R")])
    kinds = [said(world.tick(*true)) for true in (["R:acme"], [], ["R:acme"])]
    assert [k[0][1] for k in kinds] == ["fired", "resolved", "fired"]


def test_a10_resolved_while_silenced_then_firing_again_is_said() -> None:
    """A10, different: the route last heard it fire; it ended in silence and returned after: that is said."""
    world = World([rule("R")])
    world.tick("R:acme")
    world.overlays = [Overlay("silence", T0, until=world.now + HOUR)]
    plan = world.tick()
    assert said(plan) == []
    assert reasons(plan)[0].startswith("silenced by a person until 2026-03-02 13:00")
    world.tick(hours=2)
    assert said(world.tick("R:acme")) == [("desk", "fired", ["R:acme fired"])]


def test_a11_a_silence_that_ends_lets_the_alert_out() -> None:
    """A11: silenced from its start, still firing at the end of the silence: said at the first evaluation after."""
    world = World([rule("R")])
    world.overlays = [Overlay("silence", T0, until=T0 + HOUR, short_id="")]
    assert said(world.tick("R:acme")) == []
    assert said(world.tick("R:acme", hours=0.5)) == []
    assert said(world.tick("R:acme", hours=0.5)) == [("desk", "fired", ["R:acme fired"])]


def test_a12_one_alert_speaks_for_another_of_the_same_borrower() -> None:
    """A12: an inhibited alert waits under the name of the rule that speaks for it; other borrowers do not."""
    box = rule("LockedBoxShort", "critical", inhibits=("CollateralGapNoCash",))
    gap = rule("CollateralGapNoCash")
    world = World([box, gap])
    plan = world.tick("LockedBoxShort:acme", "CollateralGapNoCash:acme", "CollateralGapNoCash:bolt")
    assert said(plan) == [
        ("desk", "fired", ["LockedBoxShort:acme fired"]),
        ("desk", "fired", ["CollateralGapNoCash:bolt fired"]),
    ]
    assert reasons(plan) == ["inhibited by LockedBoxShort"]
    # when the one that spoke for it is over, it speaks for itself
    plan = world.tick("CollateralGapNoCash:acme", "CollateralGapNoCash:bolt")
    assert ("desk", "fired", ["CollateralGapNoCash:acme fired"]) in said(plan)


def test_a16_a_repeated_evaluation_says_nothing_new() -> None:
    """A16: the same world again (a restart) says nothing; the same events give the same message ids."""
    world = World([rule("R")])
    first = world.tick("R:acme")
    again = route(world.events, world.states, [CONSOLE], world.rules, world.now)
    assert [g.id for g in again.groups] == [g.id for g in first.groups]
    after = route([], world.states, [CONSOLE], world.rules, world.now, told=list(world.told.values()))
    assert (after.groups, after.decisions) == ((), ())


# ---------------------------------------------------------------- how it is grouped
def test_warnings_group_by_borrower_and_critical_goes_alone() -> None:
    """Two warnings of one borrower are one message; each critical alert is its own."""
    world = World([rule("R"), rule("S"), rule("C", "critical"), rule("D", "critical")])
    plan = world.tick("R:acme", "S:acme", "R:bolt", "C:acme", "D:acme")
    assert sorted(said(plan)) == [
        ("desk", "fired", ["C:acme fired"]),
        ("desk", "fired", ["D:acme fired"]),
        ("desk", "fired", ["R:acme fired", "S:acme fired"]),
        ("desk", "fired", ["R:bolt fired"]),
    ]


def test_a_route_may_group_by_rule() -> None:
    """`group_by: rule` puts every borrower of one rule into one message."""
    world = World([rule("R"), rule("S")], [Route("desk", "console", group_by="rule")])
    assert said(world.tick("R:acme", "S:acme", "R:bolt")) == [
        ("desk", "fired", ["R:acme fired", "R:bolt fired"]),
        ("desk", "fired", ["S:acme fired"]),
    ]


def test_routes_choose_by_severity_rule_and_borrower() -> None:
    """Each route hears what it asked for; a rule that names a route goes only there; nobody asking has its reason."""
    routes = [
        Route("pages", "console", severities=("critical",)),
        Route("bolts", "console", borrowers=("bolt",)),
        Route("market", "console", rules=("Spread",)),
    ]
    world = World([rule("R"), rule("C", "critical"), rule("Spread", route="market")], routes)
    plan = world.tick("R:acme", "R:bolt", "C:acme", "Spread:bolt")
    assert {(name, *what) for name, _, what in said(plan)} == {
        ("pages", "C:acme fired"),
        ("bolts", "R:bolt fired"),
        ("market", "Spread:bolt fired"),
    }
    assert reasons(plan) == ["no route takes it"]


def test_a_broken_rule_is_one_message() -> None:
    """A rule that fails for every subject is one notice, and one when it works again."""
    world = World([rule("R")])
    plan = world.tick(failed="R")
    assert said(plan) == [("desk", "notice", ["R:acme error", "R:bolt error"])]
    assert [kind for _, kind, _ in said(world.tick())] == ["notice"]


# ---------------------------------------------------------------- not now
def test_pending_is_not_said() -> None:
    """A pending alert says what it waits for."""
    world = World([rule("R", for_s=3600)])
    plan = world.tick("R:acme")
    assert said(plan) == []
    assert reasons(plan) == ["still pending: became true; it must stay true for 60 minutes before it fires"]


def test_info_waits_for_the_digest() -> None:
    """Info is said in the digest of the next morning, together, also what ended meanwhile."""
    world = World([rule("R", "info"), rule("S", "info")])
    plan = world.tick("R:acme")
    assert said(plan) == []
    assert reasons(plan) == ["info waits for the daily digest at 07:00 UTC"]
    world.tick("S:acme", hours=3)
    assert said(world.tick("S:acme", hours=15.75)) == []
    plan = world.tick("S:acme")
    assert said(plan) == [("desk", "digest", ["R:acme fired", "R:acme resolved", "S:acme fired"])]
    assert said(world.tick("S:acme", hours=24)) == []


def test_a_digest_tells_every_turn() -> None:
    """An info alert that fired, ended and fired again before the morning is told in that order."""
    world = World([rule("R", "info")])
    for true in (["R:acme"], [], ["R:acme"], [], ["R:acme"]):
        world.tick(*true)
    plan = world.tick("R:acme", hours=20)
    assert [e.kind for e in plan.groups[0].events] == ["fired", "resolved", "fired", "resolved", "fired"]
    assert len(plan.groups) == 1


NIGHT = Route("desk", "console", quiet=Quiet(time(22), time(6)))


def test_quiet_hours_hold_warnings_and_let_critical_through() -> None:
    """At night a warning waits and comes as a digest in the morning; a critical alert does not wait."""
    world = World([rule("R"), rule("C", "critical")], [NIGHT])
    world.now = T0.replace(hour=23)
    plan = world.tick("R:acme", "C:acme")
    assert said(plan) == [("desk", "fired", ["C:acme fired"])]
    assert reasons(plan) == ["quiet hours until 06:00 UTC"]
    world.tick("C:acme", hours=2)
    plan = world.tick("C:acme", hours=5)
    assert ("desk", "digest", ["R:acme fired", "R:acme resolved"]) in said(plan)


def test_a_recovery_at_night_waits_for_the_morning() -> None:
    """A warning told by day and over at night is said to be over in the morning."""
    world = World([rule("R")], [NIGHT])
    world.tick("R:acme")
    assert said(world.tick(hours=11)) == []
    assert said(world.tick(hours=7.5)) == [("desk", "digest", ["R:acme resolved"])]


def test_a_rule_may_ask_to_be_said_again_later_than_its_severity() -> None:
    """What stays true for weeks is repeated monthly where the rule says so, and daily where it does not."""
    world = World([rule("Old", repeat_s=30 * 86400.0), rule("R")])
    world.tick("Old:acme", "R:acme")
    assert said(world.tick("Old:acme", "R:acme", hours=25)) == [("desk", "reminder", ["R"])]
    assert ("desk", "reminder", ["Old", "R"]) in said(world.tick("Old:acme", "R:acme", hours=29 * 24))


def test_no_reminder_of_a_warning_at_night() -> None:
    """Quiet hours hold reminders of warnings, not those of critical alerts."""
    world = World([rule("R"), rule("C", "critical")], [NIGHT])
    world.now = T0.replace(hour=21, minute=30)
    world.tick("R:acme", "C:acme")
    assert said(world.tick("R:acme", "C:acme", hours=25)) == [("desk", "reminder", ["C"])]
    assert ("desk", "reminder", ["R"]) in said(world.tick("R:acme", "C:acme", hours=8))


def test_what_was_lost_on_the_way_comes_in_the_digest() -> None:
    """An event whose message may not have arrived is said again in the next digest, though the route counts as told."""
    world = World([rule("R")])
    world.tick("R:acme")
    event = world.events[0]
    world.waiting = [Waiting(event, "desk", world.now, "its message may not have arrived", undelivered=True)]
    assert said(world.tick("R:acme")) == []
    assert said(world.tick("R:acme", hours=18.75))[0] == ("desk", "digest", ["R:acme fired"])


# ---------------------------------------------------------------- what people said
def test_an_acknowledgement_stops_repeats_until_the_next_episode() -> None:
    """Acknowledged: no reminders. Over and firing again: said, and reminded of again."""
    world = World([rule("C", "critical")])
    world.tick("C:acme")
    world.overlays = [Overlay("ack", world.now, short_id=world.short("C:acme"), by="ann")]
    assert said(world.tick("C:acme", hours=7)) == []
    world.tick()
    assert said(world.tick("C:acme"))[0][1] == "fired"
    assert said(world.tick("C:acme", hours=7)) == [("desk", "reminder", ["C"])]


def test_nobody_acknowledged_it() -> None:
    """A critical alert goes to the escalation route after half an hour, never a warning, never an acknowledged one."""
    routes = [CONSOLE, Route("boss", "console", escalation=True)]
    world = World([rule("C", "critical"), rule("R")], routes)
    plan = world.tick("C:acme", "R:acme")
    assert {name for name, *_ in said(plan)} == {"desk"}
    assert said(world.tick("C:acme", "R:acme")) == []
    plan = world.tick("C:acme", "R:acme")
    assert said(plan) == [("boss", "reminder", ["C"])]
    assert plan.groups[0].reason == "nobody acknowledged it in time"
    assert ("boss", "resolved", ["C:acme resolved"]) in said(world.tick("R:acme"))
    world = World([rule("C", "critical")], routes)
    world.tick("C:acme")
    world.overlays = [Overlay("ack", world.now, rule="C")]
    assert said(world.tick("C:acme", hours=1)) == []


def test_a_silence_without_an_end_is_none() -> None:
    """A silence must have an end to count."""
    world = World([rule("R")])
    world.overlays = [Overlay("silence", T0)]
    assert len(said(world.tick("R:acme"))) == 1


# ---------------------------------------------------------------- missing, recorded, first
def test_missing_data_is_not_a_message_per_borrower() -> None:
    """A firing alert that loses its data, and an ok one, say nothing by themselves; the reason is kept."""
    world = World([rule("R")])
    world.tick("R:acme")
    plan = world.tick(unknown=["R:acme", "R:bolt"])
    assert said(plan) == []
    assert set(reasons(plan)) == {"missing data is told once per source, in status and in the digest"}
    assert said(world.tick("R:acme", hours=25)) == [("desk", "reminder", ["R"])]


def test_recorded_numbers_speak_on_the_console_only_and_once() -> None:
    """Recorded: other channels stay silent, info does not wait for a morning that never comes, nothing is repeated."""
    world = World([rule("R", "info")], [CONSOLE, Route("chat", "telegram", to="1")], recorded=True)
    plan = world.tick("R:acme")
    assert said(plan) == [("desk", "fired", ["R:acme fired"])]
    assert reasons(plan) == ["recorded numbers: only the console speaks"]
    assert said(world.tick("R:acme", hours=100)) == []
    world.tick()
    assert all(kind != "fired" for _, kind, _ in said(world.tick("R:acme")))


def test_first_look_lists_what_stands() -> None:
    """A first start says in one message what stands already, worst first, and then only what is new."""
    world = World([rule("R"), rule("C", "critical")])
    world.tick("R:acme", "R:bolt", "C:acme")
    plan = first_look(world.states, [CONSOLE], world.rules, world.now)
    assert [(g.kind, [a.rule for a in g.alerts]) for g in plan.groups] == [("notice", ["C", "R", "R"])]
    world.told = {(entry.route, entry.short_id): entry for entry in plan.told}
    assert said(world.tick("R:acme", "R:bolt", "C:acme")) == []


# ---------------------------------------------------------------- clocks
def test_quiet_hours_follow_the_local_clock() -> None:
    """Quiet hours cross midnight and move with daylight saving time."""
    night = Quiet(time(22), time(7), "Europe/Berlin")
    assert in_quiet(night, datetime(2026, 1, 15, 5, 59, tzinfo=UTC))
    assert not in_quiet(night, datetime(2026, 1, 15, 6, 0, tzinfo=UTC))
    assert not in_quiet(night, datetime(2026, 7, 15, 5, 0, tzinfo=UTC))
    assert in_quiet(Quiet(time(12), time(13)), datetime(2026, 1, 1, 12, 30, tzinfo=UTC))
    assert not in_quiet(Quiet(time(12), time(12)), datetime(2026, 1, 1, 12, 30, tzinfo=UTC))


@settings(max_examples=60, deadline=None)
@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia"]),
    st.times(),
)
def test_a_digest_comes_within_a_day(now: datetime, tz: str, at: time) -> None:
    """The next digest is strictly later and within 25 hours, in every zone and through every change of the clock."""
    due = next_digest(Route("desk", "console", tz=tz, digest_at=at.replace(tzinfo=None)), now)
    assert now < due <= now + timedelta(hours=25)


# ---------------------------------------------------------------- laws
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.sampled_from(["R:acme", "C:acme", "I:acme", "R:bolt"])), min_size=1, max_size=10))
def test_laws_of_telling(truths: list[set[str]]) -> None:
    """Every event gets a decision; no event is said twice to a route; fired and resolved alternate for each alert."""
    world = World([rule("R"), rule("C", "critical"), rule("I", "info")], [NIGHT])
    sent: list[str] = []
    heard: dict[str, list[str]] = {}
    for true in truths:
        plan = world.tick(*true, hours=5)
        decided = {decision.event_id for decision in plan.decisions}
        assert {event.id for event in world.events} <= decided
        for group in plan.groups:
            sent += [event.id for event in group.events]
            for event in group.events:
                heard.setdefault(event.short_id, []).append(event.kind)
        assert_consistent(plan.decisions, plan.groups)
    assert len(sent) == len(set(sent))
    for kinds in heard.values():
        assert kinds == ["fired", "resolved"] * (len(kinds) // 2) + ["fired"] * (len(kinds) % 2)


def assert_consistent(decisions: Sequence[Decision], groups: Sequence[Group]) -> None:
    """Decisions to send name exactly the groups, and the groups exactly those events."""
    by_group = {group.id: {event.id for event in group.events} for group in groups if group.events}
    found: dict[str, set[str]] = {}
    for decision in decisions:
        if decision.send:
            found.setdefault(decision.message_id, set()).add(decision.event_id)
    assert found == by_group


def test_told_is_replaced_not_doubled() -> None:
    """The plan holds only the entries that changed."""
    world = World([rule("R")])
    assert len(world.tick("R:acme").told) == 1
    assert world.tick("R:acme").told == ()
    entry = replace(next(iter(world.told.values())), kind="reminder")
    assert entry.firing
