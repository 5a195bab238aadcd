"""What the worker process draws: one borrower under two shocks at once. Only that process imports this module."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import lru_cache

from monitor.charts import picture
from monitor.config import Found, inputs_hash, load_config
from monitor.stress_borrower import one_borrower
from monitor.stressing import borrower_named, case_of
from monitor.world import World, build_world


def heatmap(found: Found, offline: bool, borrower: str) -> bytes:
    """The PNG of a borrower's numbers under two shocks at the last evaluation. CanaryError when there is none."""
    world = _world(found, offline, inputs_hash(load_config(found, os.environ)))
    case = case_of(world, None, datetime.now(UTC))
    shown = one_borrower(case, borrower_named(case, borrower), None, None)
    return picture(shown.title, shown.panels, shown.stamp)


@lru_cache(maxsize=1)
def _world(found: Found, offline: bool, seen: str) -> World:
    """Read again only when a file was edited; ``seen`` is the fingerprint of all of them."""
    del seen
    return build_world(load_config(found, os.environ), offline=offline)
