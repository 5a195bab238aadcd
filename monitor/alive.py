"""The daily line in every chat: still here, this is what works and what does not. Also on days when nothing happened.

A silence that looks like calm is the worst fault of a watcher. So each route hears once a day, at its digest's time,
when the last evaluation was, which sources answer, of whom nothing can be told, what is silenced and until when, and
what is still unsent. Times are arguments; the store remembers when each route was told last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from monitor.health import post_reasons
from monitor.markup import clean
from monitor.model import Line, Message
from monitor.picture import Board, Picture
from monitor.redact import redact
from monitor.routes import Route, next_digest
from monitor.rows import iso, utc
from monitor.store import Store
from monitor.store_post import Post
from monitor.suppressed import suppressed_lines
from monitor.units import format_age
from monitor.world import World

#: names in one line; the rest are counted
MAX_NAMED = 12


def say_alive(world: World, store: Store, board: Board, now: datetime) -> int:
    """Queue the daily line of every route whose time has come; how many. On the writer, after an evaluation.

    A first start only notes the time: it has its own message. Days that were slept through are not made up for.
    """
    due = [route for route in world.routes if not route.escalation and _due(store, route, now)]
    if not due or board.picture is None:
        return 0
    title, lines = _title(board.picture, now), tuple(alive_lines(board, store, now))
    with store.transaction():
        store.queue([_message(route, title, lines, now) for route in due])
        for route in due:
            store.set_meta(_name(route), iso(now))
    return len(due)


def _name(route: Route) -> str:
    return f"alive {route.name}"


def _due(store: Store, route: Route, now: datetime) -> bool:
    last = store.meta(_name(route))
    # none yet, or told by a clock that was ahead: counted from now on
    if last is None or utc(last) > now:
        store.set_meta(_name(route), iso(now))
        return False
    return now >= next_digest(route, utc(last))


def _message(route: Route, title: str, lines: tuple[Line, ...], now: datetime) -> Message:
    return Message(
        id=f"alive-{route.name}-{now:%Y%m%dT%H%M}",
        route=route.name,
        channel=route.channel,
        to=route.to,
        kind="notice",
        severity="info",
        title=title,
        lines=lines,
        created_at=now,
    )


# ---------------------------------------------------------------- the words
def _title(picture: Picture, now: datetime) -> str:
    firing = sum(n for (_, state), n in picture.alerts.items() if state == "firing")
    stands = "nothing fires" if not firing else f"{firing} {'alert fires' if firing == 1 else 'alerts fire'}"
    return f"ALIVE {now:%Y-%m-%d}: {stands}"


def alive_lines(board: Board, store: Store, now: datetime) -> list[Line]:
    """Last evaluation, alerts, sources, blind borrowers, prices in doubt, what is quietened, what is unsent."""
    picture = board.picture
    if picture is None:
        return []
    doubts = sorted({quote.series for quote in picture.quotes if quote.in_doubt})
    quiet = suppressed_lines(store.overlays(now), now) or [Line("quiet", "nothing is silenced or acknowledged")]
    return [
        Line("evaluated", f"{picture.at:%Y-%m-%d %H:%M} UTC; {_since_start(board)}"),
        Line("alerts", _alerts(picture)),
        Line("sources", _sources(picture)),
        Line("blind", _named(picture.blind) or "nobody: the 12-month liquidity of every borrower can be told"),
        *([Line("in doubt", _named(doubts))] if doubts else []),
        *quiet,
        Line("unsent", _unsent(board.post, now)),
    ]


def _since_start(board: Board) -> str:
    health = board.health
    failed = f", the last {health.failures} failed" if health.failures else ""
    return f"{health.evaluations + 1} evaluations since the start{failed}"


def _alerts(picture: Picture) -> str:
    count = Counter[str]()
    for (_, state), number in picture.alerts.items():
        count[state] += number
    told = [f"{count[state]} {state}" for state in ("firing", "pending", "nodata", "error") if count[state]]
    return ", ".join(told) or "all are ok"


def _sources(picture: Picture) -> str:
    silent = [f"{r.feed} ({clean(redact(r.reason), 60) or 'no reason'})" for r in picture.reports if not r.ok]
    answer = f"{len(picture.reports) - len(silent)} of {len(picture.reports)} answer"
    return f"{answer}; not {_named(silent)}" if silent else answer


def _unsent(post: Post, now: datetime) -> str:
    waiting = sum(post.waiting.values())
    oldest = f", the oldest for {format_age(max((now - post.since).total_seconds(), 0.0))}" if post.since else ""
    said = f"{waiting} messages wait{oldest}" if waiting else "nothing waits"
    return "; ".join([said, *(one for one in post_reasons(post, now) if "refused" in one)])


def _named(names: Sequence[str]) -> str:
    """The first names, and how many more.

    >>> _named(["a", "b"]), _named([])
    ('a, b', '')
    """
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
