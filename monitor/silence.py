"""How long each source has been silent, from its reports: one state a source, for the metrics about sources."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitor.feeds import Feed
from monitor.metrics_base import SourceState
from monitor.model import FeedReport
from monitor.rows import tick_id, utc
from monitor.store import Store

#: how far back the reports are looked through; a source silent for longer has been silent for at least this long
LOOK_BACK = timedelta(days=8)


def source_states(
    feeds: Sequence[Feed], reports: Sequence[FeedReport], store: Store, now: datetime
) -> tuple[SourceState, ...]:
    """The state of every source whose silence is told, in order of name.

    ``reports`` are those of this evaluation, not stored yet. A source that never answered has been silent since it was
    first asked.
    """
    asked = {report.feed: report for report in reports}
    told = sorted(feed.name for feed in feeds if feed.on_alert_path and feed.hosts and feed.name in asked)
    answered, first = _past(store, now)
    states = []
    for name in told:
        since = now if asked[name].ok else answered.get(name, first.get(name, now))
        states.append(SourceState(name, (now - since).total_seconds(), asked[name].reason))
    return tuple(states)


def _past(store: Store, now: datetime) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """(source -> when it last answered, source -> when it was first asked), as far back as is looked."""
    rows = store.rows(
        "SELECT feed, MIN(eval_at) AS first, MAX(CASE WHEN ok THEN eval_at END) AS answered FROM feed_reports"
        " JOIN ticks ON ticks.id = tick WHERE tick >= ? GROUP BY feed",
        (tick_id(now - LOOK_BACK),),
    )
    answered = {row["feed"]: utc(row["answered"]) for row in rows if row["answered"]}
    return answered, {row["feed"]: utc(row["first"]) for row in rows}
