"""Everything ever observed that this installation has: recorded files, the marks of the book, and its own database."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path

from monitor.model import Observation
from monitor.store import Store
from monitor.tick import PRICES, mark_observations
from monitor.world import World

LIVE = "canary.sqlite"


def stored(state: Path, known_by: datetime, series: tuple[str, ...] = PRICES) -> list[Observation]:
    """What the live database holds of some series, fetched or taken in by ``canary backfill``; nothing without one."""
    path = state / LIVE
    if not path.exists():
        return []
    with closing(Store.reader(path)) as reader:
        return reader.observations(known_by, series=series)


def observed(world: World, known_by: datetime) -> list[Observation]:
    """Every price known by a moment, from wherever it is kept; raw offers are judged by their index and not in it."""
    rows = [*world.recorded, *mark_observations(world.book)]
    return [row for row in rows if row.known_at <= known_by] + stored(world.config.paths.state, known_by)
