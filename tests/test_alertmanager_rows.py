"""Alertmanager's decisions, row by row: the same here, different on purpose, or not applicable, each with its reason.

The rows were verified on Alertmanager 0.25.0 with a group wait of 1 s, an interval of 2 s and a repetition after 7 s.
An evaluation here is what a flush of a group is there. ``firing {1}`` below means: the last message to the route said
that alert 1 fires.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_telegram import BLOCKED, BROKEN, LOST, FakeTelegram
from test_catching_up import MINUTE, T0, commit, deliver, event, one_each
from test_faults import die, killed
from test_routing import CONSOLE, HOUR, World, reasons, rule, said
from test_routing import T0 as NOON

from monitor.routing import Overlay, route
from monitor.store import Store, TickRow

NOT_APPLICABLE = {
    13: "no sender can stop sending: rules are evaluated here, and missing data is a state of its own (nodata)",
    19: "nothing expires: what a route was told is kept as long as the alert stands, whatever the repeat interval",
    20: "there is no group key made of labels: what was told is kept by route and alert, however they are grouped",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "canary.sqlite") as opened:
        yield opened


def again(store: Store) -> Store:
    """The same database after the process ended and another one started."""
    path = store.path
    store.close()
    fresh = Store(path)
    fresh.recover_after_restart(T0 + MINUTE)
    return fresh


# ---------------------------------------------------------------- what is said
def test_a1() -> None:
    """A1, same: nothing said yet and something fires: said. Theirs waits a group wait, ours is in the evaluation."""
    world = World([rule("R")])
    assert said(world.tick("R:acme")) == [("desk", "fired", ["R:acme fired"])]


def test_a2() -> None:
    """A2, same: an alert older than the group wait is said at once; here every alert is."""
    world = World([rule("R", for_s=3600)])
    for _ in range(4):
        assert said(world.tick("R:acme")) == []
    assert said(world.tick("R:acme")) == [("desk", "fired", ["R:acme fired"])]


def test_a3() -> None:
    """A3, same: only what is over, of which the route never heard: nothing."""
    world = World([rule("R")])
    world.overlays = [Overlay("silence", NOON, until=NOON + HOUR, rule="R", by="ann")]
    world.tick("R:acme")
    assert said(world.tick()) == []
    assert "nobody was told that it fired" in reasons(world.plan)


def test_a4() -> None:
    """A4, same: firing {1}, now {1, 2}: said at the next evaluation, and the message names both."""
    world = World([rule("R"), rule("S")])
    world.tick("R:acme")
    plan = world.tick("R:acme", "S:acme")
    assert said(plan) == [("desk", "fired", ["S:acme fired"])]
    assert [state.rule for state in plan.groups[0].also] == ["R"]


def test_a5() -> None:
    """A5, same: firing {1, 2}, now 1 fires and 2 is over: said where recoveries are wanted, else nothing."""
    for wanted, kinds in ((True, ["resolved"]), (False, [])):
        world = World([rule("R"), rule("S")], [replace(CONSOLE, send_resolved=wanted)])
        world.tick("R:acme", "S:acme")
        plan = world.tick("R:acme")
        assert [kind for _, kind, _ in said(plan)] == kinds
        assert [[state.rule for state in group.also] for group in plan.groups] == ([["R"]] if wanted else [])


def test_a6() -> None:
    """A6, same: firing {1}, now over: said, and remembered also where recoveries are not wanted."""
    for wanted in (True, False):
        world = World([rule("R")], [replace(CONSOLE, send_resolved=wanted)])
        world.tick("R:acme")
        assert len(said(world.tick())) == int(wanted)
        assert not any(entry.firing for entry in world.told.values())


def test_a7() -> None:
    """A7, same: the same set says nothing until the repeat interval is over, then at the next evaluation."""
    world = World([rule("C", "critical")])
    world.tick("C:acme")
    spoken = [bool(said(world.tick("C:acme", hours=2.5))) for _ in range(6)]
    assert spoken == [False, False, True, False, False, True], "6 h rounded up to evaluations of 2.5 h"


def test_a8() -> None:
    """A8, different: over and firing again between two messages is silent there; here the next one says how often,
    because a flapping alert is news of its own."""
    world = World([rule("R")])
    world.overlays = [Overlay("silence", NOON, until=NOON + HOUR)]
    for true in (["R:acme"], [], ["R:acme"], [], ["R:acme"]):
        plan = world.tick(*true)
    assert said(plan) == [("desk", "fired", ["R:acme fired"])]
    assert plan.groups[0].flaps == {world.short("R:acme"): 3}


def test_a9() -> None:
    """A9, same: over and said so, then firing again: a first message."""
    world = World([rule("R")])
    kinds = [said(world.tick(*true))[0][1] for true in (["R:acme"], [], ["R:acme"])]
    assert kinds == ["fired", "resolved", "fired"]


def test_a10() -> None:
    """A10, different: over while silenced, firing again after: theirs says nothing until the repeat interval, because
    it remembers the firing of before; ours says it, because the alert had ended."""
    world = World([rule("R")])
    world.tick("R:acme")
    world.overlays = [Overlay("silence", NOON, until=world.now + HOUR)]
    assert said(world.tick()) == []
    world.tick(hours=2)
    assert said(world.tick("R:acme")) == [("desk", "fired", ["R:acme fired"])]


def test_a11() -> None:
    """A11, same: silenced from the start, the silence ends: a first message at the next evaluation."""
    world = World([rule("R")])
    world.overlays = [Overlay("silence", NOON, until=NOON + HOUR)]
    assert said(world.tick("R:acme")) == []
    assert said(world.tick("R:acme", hours=1)) == [("desk", "fired", ["R:acme fired"])]


def test_a12() -> None:
    """A12, same: a rule that inhibits another fires for the same borrower: the other is not said."""
    world = World([rule("Box", "critical", inhibits=("Gap",)), rule("Gap")])
    plan = world.tick("Box:acme", "Gap:acme", "Gap:bolt")
    assert said(plan) == [("desk", "fired", ["Box:acme fired"]), ("desk", "fired", ["Gap:bolt fired"])]
    assert reasons(plan) == ["inhibited by Box"]


# ---------------------------------------------------------------- whether it arrives
def test_a14(store: Store) -> None:
    """A14, different: theirs tries until the flush ends and a refusal until the next; ours keeps each message's own
    growing wait in its row until it is delivered, and what is refused for good is told on another channel at once,
    since trying again would never help."""
    with FakeTelegram() as server:
        commit(store, *one_each(event("R:x", severity="critical")))
        server.script("sendMessage", BROKEN, BROKEN)
        waits, now = [], T0
        for _ in range(3):
            deliver(store, server, now)
            rows = store.outbox("retry")
            waits += [(row.next_at - now).total_seconds() for row in rows if row.next_at]
            now = max([row.next_at for row in rows if row.next_at], default=now)
        assert len(server.texts("42")) == 1
        assert 4 <= waits[0] < waits[1] <= 19
        commit(store, *one_each(event("S:x", minute=9)), at=T0 + 9 * MINUTE)
        server.script("sendMessage", BLOCKED)
        deliver(store, server, T0 + 9 * MINUTE)
    assert [row.message.route for row in store.outbox("dead")] == ["desk"]
    (spare,) = store.outbox("queued")
    assert (spare.message.channel, spare.message.lines[0].label) == ("console", "undelivered")


def test_a15(store: Store) -> None:
    """A15, different: an answer was lost: theirs sends again and says nothing; ours records the outcome as unknown and
    marks the repetition, or leaves an info message for the next digest, so that nobody counts one alert twice."""
    with FakeTelegram() as server:
        commit(store, *one_each(event("R:x", severity="critical"), event("I:x", severity="info")))
        server.script("sendMessage", LOST, None, LOST)
        for minutes in (0, 1, 2):
            deliver(store, server, T0 + minutes * MINUTE)
        titles = [text.partition("\n")[0] for text in server.texts("42")]
    assert titles == ["<b>R:x fired 0</b>", "<b>R:x fired 0 (possibly repeated)</b>", "<b>I:x fired 0</b>"]
    assert len(store.outbox("unknown")) == 2
    assert [waits.event.rule for waits in store.waiting() if waits.undelivered] == ["I"]


def test_a16(store: Store) -> None:
    """A16, same: stopped and started again with the same alert firing: nothing, since what was told is on the disk."""
    world = World([rule("R")])
    first = world.tick("R:acme")
    commit(store, *one_each(event("R:acme")))
    store.commit_tick(TickRow(T0 + MINUTE), states=world.states, told=first.told)
    fresh = again(store)
    after = route([], fresh.load_states(), [CONSOLE], world.rules, world.now + HOUR, told=fresh.told())
    fresh.close()
    assert (after.groups, after.decisions) == ((), ())


def test_a17(store: Store) -> None:
    """A17, different: killed after a delivery: theirs repeats it, its log being written every 15 minutes; ours repeats
    nothing that was written down, and at most, marked, the one message whose answer was not."""
    path = store.path
    with FakeTelegram() as server:
        commit(store, *one_each(event("R:x", severity="critical")))
        store.close()

        def delivers_and_dies(when: str) -> None:
            mortal = Store(path)
            if when == "before it is written":
                mortal.db.conn.set_trace_callback(lambda sql: die() if "state = 'sent'" in sql[:40] else None)
            deliver(mortal, server, T0)
            die()

        assert killed(lambda: delivers_and_dies("before it is written"))
        assert killed(lambda: (recovered(path).close(), delivers_and_dies("after it"))[1])
        with recovered(path) as fresh:
            deliver(fresh, server, T0 + 2 * MINUTE)
            assert len(fresh.outbox("unknown")) == 1
        titles = [text.partition("\n")[0] for text in server.texts("42")]
    assert titles == ["<b>R:x fired 0</b>", "<b>R:x fired 0 (possibly repeated)</b>"]


def test_a18(store: Store) -> None:
    """A18, different: taken, not yet sent, killed: theirs has lost it, alerts being in memory only; ours wrote the
    state, the event and the message in one transaction, and sends it after the next start."""
    path = store.path
    store.close()

    def decides_and_dies() -> None:
        commit(Store(path), *one_each(event("R:x", severity="critical")))
        die()

    assert killed(decides_and_dies)
    with FakeTelegram() as server, recovered(path) as fresh:
        deliver(fresh, server, T0 + HOUR)
        assert [text.partition("\n")[0] for text in server.texts("42")] == ["<b>R:x fired 0</b>"]
        assert fresh.lost_events() == []


def recovered(path: Path) -> Store:
    """The database as the next process opens it."""
    opened = Store(path)
    opened.recover_after_restart(T0 + MINUTE)
    return opened


# ---------------------------------------------------------------- all of them
def test_every_row_is_here() -> None:
    """Rows 1 to 20: each a test whose first word says same or different, or a reason why it does not apply."""
    tests = {name: value for name, value in vars(sys.modules[__name__]).items() if re.fullmatch(r"test_a\d+", name)}
    rows = {int(name[6:]) for name in tests}
    assert rows | set(NOT_APPLICABLE) == set(range(1, 21))
    assert not rows & set(NOT_APPLICABLE)
    same = {number for number in rows if f"A{number}, same:" in (tests[f"test_a{number}"].__doc__ or "")}
    different = {number for number in rows if f"A{number}, different:" in (tests[f"test_a{number}"].__doc__ or "")}
    assert (same, different) == ({1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 16}, {8, 10, 14, 15, 17, 18})
