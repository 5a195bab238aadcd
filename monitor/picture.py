"""How this Canary itself is doing: facts left behind by each evaluation, and one judgement over them.

The writer makes a :class:`Picture` and a count of the post after each evaluation; whoever asks (the health page, the
heartbeat) reads these finished, unchanging values and never the database. Times are arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from monitor.health import Health, Hearing, data_reasons, not_alive, post_reasons
from monitor.model import FeedReport, Numbers, Quote
from monitor.overview import Overview
from monitor.store_post import Post
from monitor.tick import TickResult
from monitor.world import World


@dataclass(frozen=True)
class Picture:
    """What one evaluation left behind about the installation. ``newest``: source -> its newest value ever."""

    at: datetime
    recorded: bool
    duration_s: float
    btc_known: bool
    reports: tuple[FeedReport, ...]
    newest: Mapping[str, datetime]
    #: (severity, state) -> alerts
    alerts: Mapping[tuple[str, str], int]
    #: rules that cannot be evaluated -> for how many subjects
    rule_errors: Mapping[str, int]
    quotes: tuple[Quote, ...]
    #: the borrowers of the table
    borrowers: tuple[str, ...]
    #: metric -> subject -> value, in the metric's own unit; unknown ones are left out
    numbers: Mapping[str, Mapping[str, float]]
    #: borrowers whose 12-month liquidity cannot be told, so that most rules are mute about them
    blind: tuple[str, ...]
    stubs: int


def picture_of(world: World, result: TickResult, shown: Overview, newest: Mapping[str, datetime]) -> Picture:
    """One evaluation as the outside may know it; ``newest`` is what earlier pictures knew of the sources."""
    severities = {rule.id: rule.severity for rule in world.rules}
    btc = result.numbers.quotes.get(("btc_usd", "market"))
    liquidity = {row.borrower: row.readings["liquidity_locked_12m"].value for row in shown.rows}
    return Picture(
        at=result.eval_at,
        recorded=result.recorded is not None,
        duration_s=result.duration_s,
        btc_known=btc is not None and btc.known,
        reports=tuple(result.reports),
        newest=_newest(newest, result.reports),
        alerts=Counter((severities.get(state.rule, "warning"), state.state) for state in result.states),
        rule_errors=Counter(state.rule for state in result.states if state.state == "error"),
        quotes=tuple(quote for quote in result.numbers.quotes.values() if quote.observed_at is not None),
        borrowers=tuple(sorted(liquidity)),
        numbers=_known(result.numbers),
        blind=tuple(sorted(who for who, value in liquidity.items() if value is None)),
        stubs=len(shown.stubs),
    )


def _known(numbers: Numbers) -> dict[str, dict[str, float]]:
    """Every number that is known, by metric and subject."""
    return {
        name: {
            subject: float(value)
            for subject, value, known in zip(numbers.subjects[column.level], column.values, column.known, strict=True)
            if known
        }
        for name, column in numbers.columns.items()
    }


def _newest(before: Mapping[str, datetime], reports: Iterable[FeedReport]) -> Mapping[str, datetime]:
    seen = {report.feed: report.newest for report in reports if report.newest is not None}
    return {**before, **{feed: max(at, before.get(feed, at)) for feed, at in seen.items()}}


@dataclass
class Board:
    """Where the daemon pins what others may read. Each value is replaced whole, never changed."""

    health: Health
    picture: Picture | None = None
    post: Post = field(default_factory=Post)
    #: monotonic seconds of the last accepted heartbeat, and how many were not accepted
    heartbeat_s: float | None = None
    heartbeat_failures: int = 0
    hearing: Hearing = field(default_factory=Hearing)


def unwell(board: Board, now_s: float, now: datetime) -> dict[str, list[str]]:
    """What is wrong with ``evaluation``, ``data`` and ``delivery``, each in words; three empty lists when all is well.

    ``now_s`` is monotonic, ``now`` the time of day. Recorded prices are not well: nobody is watching the market then.

    >>> from datetime import UTC
    >>> unwell(Board(Health(900, 120, 0.0)), 1.0, datetime(2026, 11, 1, tzinfo=UTC))["evaluation"]
    ['nothing was evaluated yet']
    """
    return {"evaluation": _evaluation(board, now_s), "data": _data(board.picture), "delivery": _delivery(board, now)}


def _evaluation(board: Board, now_s: float) -> list[str]:
    health, reasons = board.health, not_alive(board.health, now_s)
    if health.failures:
        reasons.append(f"the last evaluation failed ({health.failures} in a row)")
    elif not health.evaluations:
        reasons.append("nothing was evaluated yet")
    return reasons


def _data(picture: Picture | None) -> list[str]:
    if picture is None:
        return ["no source was asked yet"]
    return data_reasons(picture.recorded, picture.reports, picture.btc_known)


def _delivery(board: Board, now: datetime) -> list[str]:
    failed = ["the last round of delivery failed"] if board.health.delivery_failure else []
    return failed + post_reasons(board.post, now)
