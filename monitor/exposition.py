"""The board as metrics of Prometheus: names with units, ages as of now, nothing that names a chat or a secret.

An unknown number has no sample, as is custom there; that it is unknown is a sample of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitor import __version__
from monitor.health import Hearing, not_alive
from monitor.metrics import METRICS
from monitor.model import Level
from monitor.picture import Board, Picture, unwell
from monitor.store_post import OVER, Post

#: our names need nothing of later versions, and every Prometheus reads this one
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: labels of a metric by its level; the market has none
LABELS: dict[Level, tuple[str, ...]] = {
    "market": (),
    "borrower": ("borrower",),
    "facility": ("borrower", "facility"),
    "source": ("source",),
}
SEVERITIES = ("critical", "warning", "info")
K = TypeVar("K", bound=tuple[str, ...])
STATES = ("ok", "pending", "firing", "recovering", "nodata", "error")


class _Once(Collector):
    """Families that were made already, as the client library wants them."""

    def __init__(self, families: list[Metric]):
        self._families = families

    def collect(self) -> list[Metric]:
        """What was made."""
        return self._families


def exposition(board: Board, now_s: float, now: datetime) -> bytes:
    """The board, and what the process uses, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Once(list(measure(board, now_s, now))))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def measure(board: Board, now_s: float, now: datetime) -> Iterator[Metric]:
    """Everything the board says, as metric families. ``now_s`` is monotonic, ``now`` the time of day."""
    yield _gauge("build_info", "Version of Canary", {(__version__,): 1}, "version")
    yield from _health(board, now_s, now)
    yield from _hearing(board.hearing, now_s)
    yield from _post(board.post, now)
    if board.picture is not None:
        yield from _evaluation(board.picture)
        yield from _sources(board.picture, now)
        yield from _borrowers(board.picture)
        yield from _numbers(board.picture)


def _gauge(name: str, text: str, values: Mapping[K, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"canary_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, values: Mapping[K, float], *labels: str) -> Metric:
    family = CounterMetricFamily(f"canary_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _age_s(since: datetime, now: datetime) -> float:
    """Never negative: a clock set back does not make a value younger than now."""
    return max((now - since).total_seconds(), 0.0)


def _health(board: Board, now_s: float, now: datetime) -> Iterator[Metric]:
    health, wrong = board.health, unwell(board, now_s, now)
    yield _gauge("alive", "1 while evaluations end and the writer answers", {(): not not_alive(health, now_s)})
    yield _gauge("well", "1 while this part is well", {(part,): not why for part, why in wrong.items()}, "part")
    yield _counter("evaluations", "Evaluations that succeeded since the start", {(): health.evaluations})
    yield _gauge(
        "evaluation_failures_in_a_row", "Evaluations that failed since the last good one", {(): health.failures}
    )
    yield _gauge("evaluation_interval_seconds", "How often evaluations are due", {(): health.every_s})
    if health.tick_ended_s is not None:
        yield _gauge("tick_age_seconds", "Since the end of the last evaluation", {(): now_s - health.tick_ended_s})
    if board.heartbeat_s is not None:
        yield _gauge("heartbeat_age_seconds", "Since the last accepted heartbeat", {(): now_s - board.heartbeat_s})
    yield _counter("heartbeat_failures", "Heartbeats that were not accepted", {(): board.heartbeat_failures})


def _hearing(hearing: Hearing, now_s: float) -> Iterator[Metric]:
    """The bot that takes commands; no sample of what does not apply while none is configured."""
    if not hearing.on:
        return
    yield _gauge("bot_listening", "1 while the bot listens for commands", {(): hearing.began_s is not None})
    if hearing.began_s is not None:
        yield _gauge("bot_heard_age_seconds", "Since Telegram last answered the bot", {(): hearing.deaf_s(now_s)})
    yield _counter("bot_restarts", "Times the bot heard nothing and was restarted", {(): hearing.restarts})
    yield _counter("bot_strangers", "Chats that were told they are not in the config", {(): hearing.strangers})


def _post(post: Post, now: datetime) -> Iterator[Metric]:
    channels = sorted({*post.waiting, *post.attempts})
    waiting = {(channel,): post.waiting.get(channel, 0) for channel in channels}
    yield _gauge("outbox_messages", "Messages on their way", waiting, "channel")
    oldest_s = 0.0 if post.since is None else _age_s(post.since, now)
    yield _gauge("outbox_oldest_age_seconds", "How long the oldest message on its way has waited", {(): oldest_s})
    done = {(channel, end): post.outcomes.get((channel, end), 0) for channel in channels for end in OVER}
    yield _counter("messages", "Messages by what became of them, over all starts", done, "channel", "outcome")
    tried = {(channel,): n for channel, n in sorted(post.attempts.items())}
    edits = {key: n for key, n in sorted(post.edits.items()) if key[1] in OVER}
    yield _counter("edits", "Edits of messages by what became of them, over all starts", edits, "channel", "outcome")
    yield _counter("send_attempts", "Attempts to send, over all starts", tried, "channel")
    broken = {(channel,): channel in post.broken for channel in channels}
    yield _gauge("channel_broken", "1 when the last message was refused for good", broken, "channel")


def _evaluation(picture: Picture) -> Iterator[Metric]:
    at = {(): picture.at.timestamp()}
    yield _gauge("evaluated_timestamp_seconds", "The moment that was evaluated, of the past when recorded", at)
    yield _gauge("recorded", "1 while no live price was ever seen and recorded ones stand in", {(): picture.recorded})
    yield _gauge("tick_duration_seconds", "How long judging took, without the sources", {(): picture.duration_s})
    alerts = {(sev, state): picture.alerts.get((sev, state), 0) for sev in SEVERITIES for state in STATES}
    yield _gauge("alerts", "Alerts by severity and state", alerts, "severity", "state")
    errors = {(rule,): n for rule, n in sorted(picture.rule_errors.items())}
    yield _gauge("rule_errors", "Subjects a rule cannot be evaluated for", errors, "rule")


def _sources(picture: Picture, now: datetime) -> Iterator[Metric]:
    reports = sorted(picture.reports, key=lambda report: report.feed)
    yield _gauge("feed_up", "1 when the source answered the last time", {(r.feed,): r.ok for r in reports}, "feed")
    took = {(r.feed,): r.seconds for r in reports}
    yield _gauge("feed_fetch_seconds", "How long the source took", took, "feed")
    ages = {(feed,): _age_s(at, now) for feed, at in sorted(picture.newest.items())}
    yield _gauge("feed_age_seconds", "Age of the newest value the source gave since the start", ages, "feed")
    quotes = sorted(picture.quotes, key=lambda quote: (quote.series, quote.subject))
    seen = {(q.series, q.subject): _age_s(q.observed_at, now) for q in quotes if q.observed_at is not None}
    yield _gauge("quote_age_seconds", "Age of the price in force", seen, "series", "subject")
    doubts = {(q.series, q.subject): bool(q.in_doubt) for q in quotes}
    yield _gauge("quote_in_doubt", "1 while another value waits in quarantine", doubts, "series", "subject")


def _borrowers(picture: Picture) -> Iterator[Metric]:
    blind = {(who,): who in picture.blind for who in picture.borrowers}
    yield _gauge("borrower_blind", "1 when its 12-month liquidity cannot be told", blind, "borrower")
    yield _gauge("borrowers_blind", "Borrowers whose 12-month liquidity cannot be told", {(): len(picture.blind)})
    yield _gauge("borrowers_insufficient_data", "Borrowers of which too little was filed", {(): picture.stubs})


def _numbers(picture: Picture) -> Iterator[Metric]:
    """Every metric a rule can name, as ``canary_<name>`` in its own unit: what exported rules read."""
    for name, info in METRICS.items():
        labels = LABELS[info.level]
        # a subject is written from the widest to the narrowest; the labels are the narrow end of it
        cut = {"market": 1, "source": 1}.get(info.level, 0)
        values = {tuple(who.split("/"))[cut:]: v for who, v in sorted(picture.numbers.get(name, {}).items())}
        text = f"{info.doc.partition('. ')[0].rstrip('.')} ({info.unit or 'number'})"
        yield _gauge(name, text, values, *labels)
