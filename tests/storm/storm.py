"""A storm of alerts against a failing Bot API, its sender killed again and again: what is lost, what is said twice.

    python tests/storm/storm.py [--kills 1000] [--changes 1000] [--chats 50] [--speed 600] [--seed 20240229] [--json]

A script of alert changes (rules of all three severities over many borrowers) is decided and committed by the same code
as in the daemon, two chats hear of every borrower, and a sender delivers them through python-telegram-bot to a Bot API
server on the loopback that fails one request in eight. Pacing is off. The sender is a process of its own, killed with
SIGKILL: first once at every named point of its work, then at random moments of its life. Counted at the end, from the
server's list of what it accepted and the database:

  lost       events to be said of which no accepted message holds the id                          must be 0
  repeated   accepted messages beyond the first of each, at most the outcomes nobody knows        must be <= unknown
  overtaken  messages accepted in a chat before one of their severity that came first             must be 0

The sender's clock runs 600 times as fast, so that waits of minutes are milliseconds and an outage of an hour is one of
six seconds. What is over is marked so in its message: an edit, which tells no event and counts as none of the above.
The exit code is 1 when one of the three does not hold, a message does not show its newest accepted edit, or a named
point was not reached.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from monitor.botserver import BLOCKED, BROKEN, CANNOT_PARSE, HANG, LOST, TOKEN, Failure, FakeTelegram, Request, too_many
from monitor.catchup import OUTAGE_S
from monitor.marking import edited
from monitor.markup import html, without_markup
from monitor.model import OutboxRow

START = datetime(2026, 11, 1, tzinfo=UTC)
#: no sender lives longer, also when nobody is left to end it
LONGEST_S = 300.0
#: no sender is killed earlier in its life
FIRST_S = 0.005
CLAIM, MARK = "UPDATE outbox SET state = 'sending'", "UPDATE outbox SET state = 'sent'"
#: where a sender dies on purpose: the statements its database must have begun, in this order
POINTS: dict[str, tuple[str, ...]] = {
    "before an evaluation is committed": ("INSERT OR IGNORE INTO outbox", "COMMIT"),
    "before the claim": (CLAIM,),
    "before the claim is committed": (CLAIM, "COMMIT"),
    "claimed, before the request leaves": (),
    "accepted, before it is written down": (),
    "an edit is accepted, before it is written down": (),
    "while it is written down": (MARK,),
    "before that is committed": (MARK, "COMMIT"),
    "before a failure is written down": ("UPDATE outbox SET state = 'retry'",),
    "while what was in flight is said again": ("UPDATE outbox SET state = 'unknown'",),
    "before that is committed too": ("UPDATE outbox SET state = 'unknown'", "COMMIT"),
    "while an outage becomes one digest": ("UPDATE outbox SET state = 'expired', error", "UPDATE decisions"),
}
OUTAGE = "while an outage becomes one digest"
BEFORE, AFTER = "claimed, before the request leaves", "accepted, before it is written down"
EDITED = "an edit is accepted, before it is written down"
RULES = (("Page", "critical"), ("Squeeze", "warning"), ("Drift", "warning"), ("Note", "info"))


# ---------------------------------------------------------------- the sender: everything below runs in its process
@dataclass(frozen=True)
class Life:
    """What one sender is to do: decide the script up to a change, then deliver; perhaps die at a point."""

    url: str
    state: str
    began: float
    later_s: float
    upto: int
    chats: int
    seed: int
    speed: float
    point: str = ""

    def now(self) -> datetime:
        """The present time of the storm."""
        return START + timedelta(seconds=(time.time() - self.began) * self.speed + self.later_s)


def zygote() -> None:
    """Load everything once, then fork one sender for every line that says what it is to do; print how each ended."""
    import telegram.request  # noqa: F401  (imported now and not in every sender)

    import monitor.alerts
    import monitor.chat.telegram
    import monitor.postman  # noqa: F401

    logging.getLogger("monitor").setLevel(logging.ERROR)  # the weather is no news here
    for line in sys.stdin:
        life = Life(**json.loads(line))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = live(life)
            finally:
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


def live(life: Life) -> int:
    """One sender's life. 0: all was decided and delivered for now; 4: it loaded what a sender must not load."""
    from monitor.store import Store

    with ThreadPoolExecutor(1) as writer:

        def on_writer(work: Callable[[], object]) -> asyncio.Future:
            return asyncio.get_running_loop().run_in_executor(writer, work)

        async def work() -> None:
            store = await on_writer(lambda: Store(Path(life.state) / "storm.sqlite"))
            if life.point:
                await on_writer(lambda: dies_at(store, POINTS[life.point]))
            async with asyncio.timeout(LONGEST_S):
                await on_writer(lambda: store.recover_after_restart(life.now()))
                await on_writer(lambda: decide(store, life))
                await deliver(store, life, on_writer)

        asyncio.run(work())
    return 4 if {"pandas", "matplotlib"} & set(sys.modules) else 0


def die() -> None:
    """The end of this process: nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(store, statements: Sequence[str]) -> None:
    """Die when the database begins the last of these statements, the earlier ones having been seen in order."""
    left = list(statements)

    def seen(sql: str) -> None:
        if left and sql.lstrip().startswith(left[0]):
            if len(left) == 1:
                die()
            left.pop(0)

    store.db.conn.set_trace_callback(seen)


def routes_of(chats: int):
    """Two chats for every borrower; nobody sleeps, so that there are no quiet hours."""
    from monitor.routes import Route

    return [
        Route(f"desk{chat}", "telegram", str(1000 + chat), borrowers=(f"b{chat % (chats // 2)}",), group_by="none")
        for chat in range(chats)
    ]


def script(changes: int, chats: int, seed: int) -> list[tuple[int, int]]:
    """(rule, borrower) of every change: each turns one alert on or off."""
    rng = random.Random(seed)
    return [(rng.randrange(len(RULES)), rng.randrange(chats // 2)) for _ in range(changes)]


def decide(store, life: Life) -> None:
    """Judge and commit what of the script is not committed yet, and once more what time alone brings about."""
    import numpy as np

    from monitor import alerts, routing
    from monitor.model import Match, Rule
    from monitor.store import TickRow

    borrowers = tuple(f"b{i}" for i in range(life.chats // 2))
    rules = [Rule(name, "x > 1", severity) for name, severity in RULES]
    routes = routes_of(life.chats)
    done = int(store.meta("done") or 0)
    truth = np.zeros((len(rules), len(borrowers)), np.int8)
    flips = script(life.upto, life.chats, life.seed)
    for rule, who in flips[:done]:
        truth[rule, who] ^= 1
    states = store.load_states()
    for change in [*range(done, life.upto), None]:
        if change is not None:
            truth[flips[change]] ^= 1
        matches = [
            Match(rule, borrowers, row, (row == 0).astype(np.int8)) for rule, row in zip(rules, truth, strict=True)
        ]
        now = life.now()
        states, events = alerts.step(rules, matches, states, now)
        plan = routing.route(events, states, routes, rules, now, told=store.told(), waiting=store.waiting())
        states = alerts.told(states, plan.spoken())
        with store.transaction():
            store.commit_tick(
                TickRow(now),
                states=states,
                events=events,
                decisions=plan.decisions,
                messages=[written(group, store, now) for group in plan.groups],
                waiting=plan.waiting,
                told=plan.told,
            )
            if change is not None:
                store.set_meta("done", str(change + 1))


def written(group, store, now: datetime):
    """The message of one group, each with a text of its own."""
    from monitor.model import Line, Message

    ids = [event.id for event in group.events]
    for state in group.alerts if not ids else ():
        ids += [event.id for event in store.events(short_id=state.short_id, limit=20) if event.kind == "fired"][:1]
    told = [Line(event.kind, f"{event.rule} of {event.subject} at {event.at:%d %H:%M:%S.%f}") for event in group.events]
    return Message(
        id=group.id,
        route=group.route.name,
        channel=group.route.channel,
        to=group.route.to,
        kind=group.kind,
        severity=group.severity,
        title=f"{group.severity} {group.kind} {group.id}",
        lines=tuple(told) or (Line("stands", group.key),),
        created_at=now,
        event_ids=tuple(ids),
    )


async def deliver(store, life: Life, on_writer) -> None:
    """Send until nothing is due."""
    from monitor.chat.telegram import TelegramChannel
    from monitor.postman import Postman

    class Mortal(TelegramChannel):
        """Dies around a request, if that is the point."""

        async def send_rich(self, message, reply_to: str, picture: bytes) -> str:
            if life.point == BEFORE:
                die()
            sent_as = await super().send_rich(message, reply_to, picture)
            if life.point == AFTER:
                die()
            return sent_as

        async def edit(self, message, sent_as: str) -> None:
            await super().edit(message, sent_as)
            if life.point == EDITED:
                die()

    postman = Postman(on_writer, life.now, unpaced=("telegram",))
    postman.channels["telegram"] = Mortal(TOKEN, life.url, answer_s=0.25)
    world = SimpleNamespace(routes=routes_of(life.chats))
    while True:
        await postman.deliver(world, store, life.now())
        if not await on_writer(lambda: store.outbox("queued", "retry", limit=1)):
            break
        await asyncio.sleep(0.005)
    await postman.close()


# ---------------------------------------------------------------- the storm: everything below runs outside
class Weather(FakeTelegram):
    """The Bot API in good, bad and no weather; markup and lengths Telegram would refuse are refused in all of them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.now = "bad"
        self._random = random.Random(seed)
        self.failed: Counter[str] = Counter()

    def answer(self, request: Request) -> tuple[int, bytes] | None:
        """As usual, but for what the weather does to it."""
        failure = {"bad": self._bad, "none": lambda: BROKEN, "good": lambda: None}[self.now]()
        if failure is not None and request.method in ("sendMessage", "editMessageText"):
            self.failed[_name(failure)] += 1
            self.script(request.method, failure)
        return super().answer(request)

    def _bad(self) -> Failure | None:
        chance = self._random.random()
        kinds = (
            (0.03, too_many(1)),
            (0.06, BROKEN),
            (0.10, LOST),
            (0.105, HANG),
            (0.115, CANNOT_PARSE),
            (0.125, BLOCKED),
        )
        return next((failure for edge, failure in kinds if chance < edge), None)


def _name(failure: Failure) -> str:
    return "no answer" if failure.hang else "answer lost" if failure.lost else failure.description.partition(":")[0]


@dataclass
class Storm:
    """One run under way and its counts."""

    server: Weather
    state: Path
    options: argparse.Namespace
    began: float = field(default_factory=time.time)
    later_s: float = 0.0
    kills: int = 0
    lives: int = 0
    reached: list[str] = field(default_factory=list)
    spans: deque[float] = field(default_factory=lambda: deque(maxlen=9))

    def run(self) -> None:
        """Kill at every named point, then at random; then let a last sender finish."""
        rng = random.Random(self.options.seed)
        command = [sys.executable, __file__, "--sender"]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=_fewer_certificates(self.state)
        ) as self.sender:
            self._life(1, None)
            while self.kills < self.options.kills:
                self._one_kill(rng)
                if self.lives % 25 == 0:  # how long a life is when nobody ends it
                    self._life(self._upto(), None)
            self.server.now = "good"
            for days in range(3):  # what waits for a digest is said by the next morning
                self.later_s += days * 86400.0
                self._life(self.options.changes, None)
            self.sender.stdin.close()

    def _one_kill(self, rng: random.Random) -> None:
        upto = self._upto()
        point = self._next_point()
        if point == OUTAGE:
            upto = self._outage(upto)
        # as often in the first hundredth of a life, when it opens and decides, as in the rest, when it sends
        moment_s = FIRST_S * (statistics.median(self.spans) / FIRST_S) ** rng.random()
        if self._life(upto, 20.0 if point else moment_s, point):
            self.kills += 1
            if point:
                self.reached.append(point)

    def _next_point(self) -> str:
        """Every second life dies at a point that none has died at yet."""
        missing = [point for point in POINTS if point not in self.reached]
        if not missing or self.lives % 2:
            return ""
        if OUTAGE in missing and self.lives % 6 == 2:  # it needs changes that are still to come: early, and often
            return OUTAGE
        return missing[self.lives // 2 % len(missing)]

    def _upto(self) -> int:
        """How much of the script is decided by now: it is spread over all kills."""
        return min(self.options.changes, 1 + self.kills * self.options.changes // self.options.kills)

    def _outage(self, upto: int) -> int:
        """Nobody is answered for more than an hour of the sender's time while alerts go on."""
        upto = min(self.options.changes, upto + 60)
        self.server.now = "none"
        self.kills += self._life(upto, 2.0)
        self.later_s += 2 * OUTAGE_S
        self.server.now = "bad"
        return upto

    def _life(self, upto: int, kill_after_s: float | None, point: str = "") -> bool:
        """One sender, killed after a time unless it ends before; whether it was killed, by us or at its point."""
        chats, seed, speed = self.options.chats, self.options.seed, self.options.speed
        life = Life(self.server.url, str(self.state), self.began, self.later_s, upto, chats, seed, speed, point)
        self.sender.stdin.write(json.dumps(life.__dict__) + "\n")
        self.sender.stdin.flush()
        started, pid = time.monotonic(), int(self.sender.stdout.readline())
        if kill_after_s is not None and not select.select([self.sender.stdout], [], [], kill_after_s)[0]:
            with suppress(ProcessLookupError):  # it ended at this very moment; it says so itself
                os.kill(pid, signal.SIGKILL)
        how = self.sender.stdout.readline().strip()
        self.lives += 1
        if how == "killed":
            return True
        if how != "ended 0":
            raise SystemExit("the sender loaded pandas or matplotlib" if how == "ended 4" else f"the sender {how}")
        if kill_after_s is None:
            self.spans.append(time.monotonic() - started)
        return False

    def counts(self) -> dict[str, object]:
        """What became of it all."""
        from monitor.store import Store

        with Store.reader(self.state / "storm.sqlite") as store:
            every = {row.message.id: row for row in store.outbox(limit=1_000_000)}
            own = {row["id"]: row["seq"] for row in store.rows("SELECT id, seq FROM outbox")}
            to_say = {row["event_id"] for row in store.rows("SELECT event_id FROM decisions WHERE send = 1")}
            changes, waiting, whole = int(store.meta("done") or 0), len(store.waiting()), store.check()
        # an edit tells no event, so it is counted by itself
        rows = {name: row for name, row in every.items() if row.message.kind != "edit"}
        edits = {name: row for name, row in every.items() if row.message.kind == "edit"}
        accepted = self._accepted(rows)
        said = {event for name in accepted for event in rows[name].message.event_ids}
        # a repetition stands in the place of its message, unless a later evaluation made it anew
        again = {n: row.message.created_at == rows[_root(n)].message.created_at for n, row in rows.items()}
        places = {name: own[_root(name)] if again[name] else own[name] for name in rows}
        by_root: dict[str, str] = {}
        for name in accepted:
            by_root.setdefault(_root(name), name)
        first = list(by_root.values())
        states = Counter(row.state for row in rows.values())
        return {
            "changes": changes,
            "kills": self.kills,
            "named_points": f"{len(self.reached)} of {len(POINTS)}",
            "points_missed": [point for point in POINTS if point not in self.reached],
            "failed_requests": dict(sorted(self.server.failed.items())),
            "messages": len({_root(name) for name in rows}),
            "accepted": len(accepted),
            "digests_after_an_outage": sum(name.startswith("catchup-") for name in first),
            "given_up_and_told_elsewhere": states["dead"],
            "events_to_say": len(to_say),
            "lost": len(to_say - said),
            "lost_ids": sorted(to_say - said)[:5],
            "repeated": len(accepted) - len(first),
            "unknown": states["unknown"],
            "overtaken": _overtaken(first, rows, places),
            "edits": sum(row.state == "sent" for row in edits.values()),
            "edits_given_up": sum(row.state in ("dead", "unknown") for row in edits.values()),
            "edits_not_shown": self._not_shown(edits),
            "still_waiting": waiting + sum(row.state in ("queued", "retry", "sending") for row in every.values()),
            "database": whole,
        }

    def _accepted(self, rows: Mapping[str, OutboxRow]) -> list[str]:
        """The message of every text the server took, in order; one of several parts counts with its last one."""
        known: dict[tuple[str, str], str] = {}
        for name, row in rows.items():
            last = html(row.message)[-1]
            known |= {(row.message.to, text): name for text in (last, without_markup(last))}
        sent = [one.fields for one in self.server.accepted if one.method == "sendMessage"]
        taken = [(str(fields["chat_id"]), str(fields["text"])) for fields in sent]
        return [known[pair] for pair in taken if pair in known]

    def _not_shown(self, edits: Mapping[str, OutboxRow]) -> int:
        """Messages whose newest edit was accepted and that show something else."""
        newest = {edited(name): row for name, row in edits.items()}  # in the order they were made
        shown = {(to, number): text for to in {r.message.to for r in newest.values()} for number, text, _ in
                 self.server.shown(to)}  # fmt: skip
        return sum(
            shown[row.message.to, int(row.channel_message_id)] != without_markup(html(row.message)[-1])
            for row in newest.values()
            if row.state == "sent"
        )


def _fewer_certificates(folder: Path) -> dict[str, str]:
    """One certificate instead of all: reading them takes a tenth of a second of every life, for a plain connection."""
    import certifi

    first = Path(certifi.where()).read_text("utf-8").partition("-----END CERTIFICATE-----")
    (folder / "one.pem").write_text(first[0] + first[1] + "\n")
    return os.environ | {"SSL_CERT_FILE": str(folder / "one.pem")}


def _root(name: str) -> str:
    return name.partition(".")[0]


def _overtaken(first: Sequence[str], rows: Mapping[str, OutboxRow], places: Mapping[str, int]) -> int:
    """Messages first accepted after one of their chat and severity that came later."""
    newest: dict[tuple[str, str], int] = {}
    count = 0
    for name in first:
        message = rows[name].message
        to = (message.to, message.severity)
        count += places[name] < newest.get(to, 0)
        newest[to] = max(newest.get(to, 0), places[name])
    return count


def main() -> int:
    """Run one storm and print its counts; 1 when something was lost, repeated for no reason, or overtaken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--chats", type=int, default=50)
    parser.add_argument("--speed", type=float, default=600.0, help="how much faster the sender's clock runs")
    parser.add_argument("--seed", type=int, default=20240229)
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--sender", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sender:
        zygote()
        return 0
    started = time.monotonic()
    with Weather(options.seed) as server, tempfile.TemporaryDirectory(prefix="canary-storm-") as folder:
        storm = Storm(server, Path(folder), options)
        storm.run()
        counts = storm.counts() | {"seconds": round(time.monotonic() - started, 1)}
    if options.json:
        print(json.dumps(counts))
    else:
        for name, value in counts.items():
            print(f"  {name.replace('_', ' '):<28} {value}")
    kept = not counts["lost"] and counts["repeated"] <= counts["unknown"] and not counts["overtaken"]
    done = (
        not counts["points_missed"]
        and not counts["edits_not_shown"]
        and not counts["still_waiting"]
        and counts["database"] == "ok"
    )
    return 0 if kept and done and counts["changes"] == options.changes else 1


if __name__ == "__main__":
    sys.exit(main())
