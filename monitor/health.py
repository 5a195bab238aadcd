"""Whether the daemon is alive, as facts and a judgement over them, and the few bytes that tell systemd.

Times are monotonic seconds given by the caller; nothing here reads a clock.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from monitor.model import FeedReport
from monitor.store_post import Post

#: a message may wait this long before delivery counts as unwell: longer than the longest pause between two attempts
POST_LIMIT_S = 1800.0


@dataclass
class Health:
    """What is known about the running daemon. The scheduler, the writer and each tick leave their marks here."""

    every_s: float
    tick_limit_s: float
    started_s: float
    #: end of the last evaluation, whatever it found; None before the first one
    tick_ended_s: float | None = None
    #: when the no-op that the writer has not answered yet was handed to it; None when it owes nothing
    writer_asked_s: float | None = None
    #: evaluations that raised, in a row, and what the last one said
    failures: int = 0
    last_failure: str = ""
    evaluations: int = 0
    #: why the last delivery round failed, if it did
    delivery_failure: str = ""

    def ended(self, now_s: float, failure: str = "") -> None:
        """Note the end of an evaluation and whether it failed."""
        self.tick_ended_s = now_s
        self.evaluations += 0 if failure else 1
        self.failures = self.failures + 1 if failure else 0
        self.last_failure = failure or self.last_failure


@dataclass
class Hearing:
    """Whether the bot hears what people write. ``on``: it should. Times are monotonic seconds; no ids of anybody."""

    on: bool = False
    #: when it began to listen, and the last time Telegram answered that there is or is not anything new
    began_s: float | None = None
    heard_s: float | None = None
    #: why it does not listen, in words; empty while it does
    trouble: str = ""
    restarts: int = 0
    #: people who are not in the config and were told so
    strangers: int = 0

    def deaf_s(self, now_s: float) -> float:
        """How long nothing was heard from Telegram; 0 while the bot is not listening.

        >>> Hearing(on=True, began_s=10.0).deaf_s(70.0), Hearing().deaf_s(70.0)
        (60.0, 0.0)
        """
        since = max((at for at in (self.began_s, self.heard_s) if at is not None), default=now_s)
        return now_s - since if self.began_s is not None else 0.0


def not_alive(health: Health, now_s: float) -> list[str]:
    """Why the daemon should not be called alive; empty when it is.

    A supervisor that is stuck cannot call this, so a turning event loop is implied by the call itself. An evaluation
    that failed but ended counts as alive: restarting would not make a source answer.

    >>> health = Health(every_s=900, tick_limit_s=120, started_s=0.0)
    >>> not_alive(health, 100.0)
    []
    >>> not_alive(health, 2000.0)
    ['no evaluation ended for 2000 s, more than two intervals and the time limit of one (1920 s)']
    """
    reasons = []
    limit = 2 * health.every_s + health.tick_limit_s
    since = now_s - (health.started_s if health.tick_ended_s is None else health.tick_ended_s)
    if since > limit:
        reasons.append(
            f"no evaluation ended for {since:.0f} s, more than two intervals and the time limit of one ({limit:.0f} s)"
        )
    if health.writer_asked_s is not None and now_s - health.writer_asked_s > health.tick_limit_s:
        reasons.append(f"the writer has not answered for {now_s - health.writer_asked_s:.0f} s")
    return reasons


def data_reasons(recorded: bool, reports: Iterable[FeedReport], btc_known: bool) -> list[str]:
    """Why what is evaluated cannot be relied on; empty when it can.

    >>> data_reasons(True, [], False)
    ['prices are recorded ones, not live', 'no source answered', 'the price of bitcoin is not known']
    """
    reasons = ["prices are recorded ones, not live"] if recorded else []
    if not any(report.ok for report in reports):
        reasons.append("no source answered")
    if not btc_known:
        reasons.append("the price of bitcoin is not known")
    return reasons


def post_reasons(post: Post, now: datetime) -> list[str]:
    """Why what is decided may not arrive; empty when it does."""
    reasons = []
    if post.broken:
        reasons.append(f"refused for good by {', '.join(post.broken)}")
    if post.since is not None and (age_s := (now - post.since).total_seconds()) > POST_LIMIT_S:
        reasons.append(f"a message has waited for {age_s:.0f} s")
    return reasons


class ClockWatch:
    """Notices that the time of day was set, or that the machine slept: then it moved on its own.

    >>> from datetime import UTC, timedelta
    >>> noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    >>> watch = ClockWatch(noon, 100.0)
    >>> watch.moved_s(noon + timedelta(seconds=5), 105.0), watch.moved_s(noon - timedelta(days=1), 110.0)
    (0.0, -86410.0)
    """

    def __init__(self, now: datetime, now_s: float):
        self._seen = now, now_s

    def moved_s(self, now: datetime, now_s: float) -> float:
        """Seconds the time of day gained over the monotonic clock since the last look; negative: it was set back."""
        before, before_s = self._seen
        self._seen = now, now_s
        return (now - before).total_seconds() - (now_s - before_s)


def sd_notify(state: str, environ: Mapping[str, str]) -> bool:
    """Tell systemd a state such as ``READY=1``; False when nobody listens. Never raises: telling is not the work."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            link.connect("\0" + address[1:] if address.startswith("@") else address)
            link.sendall(state.encode())
    except OSError:  # the supervisor went away; it will notice a silent daemon by itself
        return False
    return True


def watchdog_s(environ: Mapping[str, str], pid: int | None = None) -> float | None:
    """The watchdog period systemd asks for, or None when it asks this process for nothing.

    >>> watchdog_s({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "7"}, pid=7)
    120.0
    >>> watchdog_s({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "8"}, pid=7) is None
    True
    """
    usec, for_pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or int(usec) == 0:
        return None
    if for_pid and for_pid != str(os.getpid() if pid is None else pid):
        return None
    return int(usec) / 1e6
