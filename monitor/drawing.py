"""What the worker process draws for messages: two shocks at once, a past with its line, a fall with what it drags.

Only that process imports this module.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from functools import lru_cache

from monitor.charts import picture
from monitor.config import Found, inputs_hash, load_config
from monitor.model import MARKET, CanaryError
from monitor.past_chart import draw_past
from monitor.past_metric import past_of_rule
from monitor.pictured import HEATMAP, Chosen
from monitor.stress_borrower import one_borrower
from monitor.stress_cascade import one_fall
from monitor.stressing import borrower_named, case_of, falls
from monitor.world import World, build_world

_LOG = logging.getLogger(__name__)


def drawn(found: Found, offline: bool, subject: str, chosen: Chosen) -> bytes:
    """The PNG for an alert of a borrower (or the market) at the last evaluation. CanaryError when there is none.

    What was chosen and cannot be drawn gives way to the grid of two shocks, which every borrower has.
    """
    world = _world(found, offline, inputs_hash(load_config(found, os.environ)))
    if chosen != HEATMAP:
        try:
            return _past(world, subject, chosen) if chosen.kind == "past" else _cascade(world, subject)
        except CanaryError as error:
            if subject == MARKET:
                raise
            _LOG.info("the shocks are drawn instead: %s", error)
    return heatmap(world, subject)


def heatmap(world: World, borrower: str) -> bytes:
    """A borrower's numbers under two shocks at once, with the line where it breaks."""
    case = case_of(world, None, datetime.now(UTC))
    shown = one_borrower(case, borrower_named(case, borrower), None, None)
    return picture(shown.title, shown.panels, shown.stamp)


def _past(world: World, subject: str, chosen: Chosen) -> bytes:
    return draw_past(past_of_rule(world, subject, chosen), case_of(world, None, datetime.now(UTC)).source)


def _cascade(world: World, borrower: str) -> bytes:
    """What the fall of its largest customer would do where that is one of the book, else its own fall.

    CanaryError when nobody else would be hurt: that picture would say nothing.
    """
    case = case_of(world, None, datetime.now(UTC))
    name = borrower_named(case, borrower)
    tenants = next(b.tenants for b in world.book.borrowers if b.id == name)
    largest = max(tenants, key=lambda tenant: tenants[tenant], default="")
    who = largest if largest in {b.id for b in world.book.borrowers} else name
    ends = falls(case.state, who).values()
    if not any(one.dragged or one.cover_lost_usd or one.rent_lost_usd for one in ends):
        raise CanaryError(f"the fall of {who} would hurt nobody else, as far as is known")
    shown = one_fall(case, who)
    return picture(shown.title, shown.panels, shown.stamp)


@lru_cache(maxsize=1)
def _world(found: Found, offline: bool, seen: str) -> World:
    """Read again only when a file was edited; ``seen`` is the fingerprint of all of them."""
    del seen
    return build_world(load_config(found, os.environ), offline=offline)
