"""How fast a destination may be written to. Time is an argument: nothing here sleeps or reads a clock.

Telegram asks for about one message a second in one chat, 20 a minute in a group and 30 a second in all, and answers 429
beyond that. The exact limits are not published, so an answer that names a pause (:meth:`Pacer.hold`) is obeyed first.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import NamedTuple


class Rate(NamedTuple):
    """At most ``messages`` in any stretch of ``seconds``: a bucket that gives each token back after that time."""

    messages: int
    seconds: float


PRIVATE = Rate(1, 1.0)
GROUP = Rate(20, 60.0)
OVERALL = Rate(30, 1.0)


class _Bucket:
    """The send times that still hold a token of one rate."""

    def __init__(self, rate: Rate):
        self.period = timedelta(seconds=rate.seconds)
        self.sent: deque[datetime] = deque(maxlen=rate.messages)

    def free_at(self, now: datetime) -> datetime:
        if len(self.sent) < (self.sent.maxlen or 0):
            return now
        # never longer than one period from now: after a clock was set back, old times lie in the future
        return min(max(now, self.sent[0] + self.period), now + self.period)


class Pacer:
    """When the next message to a destination may be sent. A negative id is a group, as in Telegram.

    >>> from datetime import UTC
    >>> pacer, noon = Pacer(), datetime(2026, 11, 1, 12, tzinfo=UTC)
    >>> pacer.may_send_at("42", noon) == noon
    True
    >>> pacer.sent("42", noon)
    >>> pacer.may_send_at("42", noon) - noon, pacer.may_send_at("43", noon) - noon
    (datetime.timedelta(seconds=1), datetime.timedelta(0))
    """

    def __init__(self, private: Rate = PRIVATE, group: Rate = GROUP, overall: Rate = OVERALL):
        self._private, self._group = private, group
        self._overall = _Bucket(overall)
        self._by_destination: dict[str, _Bucket] = {}
        self._held: dict[str | None, datetime] = {}

    def may_send_at(self, to: str, now: datetime) -> datetime:
        """The earliest moment, ``now`` or later, at which one message to ``to`` keeps every limit."""
        return max(
            self._bucket(to).free_at(now),
            self._overall.free_at(now),
            self._held.get(to, now),
            self._held.get(None, now),
        )

    def sent(self, to: str, at: datetime, messages: int = 1) -> None:
        """Note that ``messages`` (the parts of a long one count each) were tried at ``at``, accepted or not."""
        for _ in range(messages):
            self._bucket(to).sent.append(at)
            self._overall.sent.append(at)

    def hold(self, until: datetime, to: str | None = None) -> None:
        """Send nothing before ``until``, to one destination or (by default) to any: the channel asked for a pause."""
        self._held[to] = max(until, self._held.get(to, until))

    def _bucket(self, to: str) -> _Bucket:
        if to not in self._by_destination:
            self._by_destination[to] = _Bucket(self._group if to.startswith("-") else self._private)
        return self._by_destination[to]
