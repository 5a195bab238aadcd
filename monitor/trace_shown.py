"""``canary trace``: the path of one number on screen, as a tree, or as JSON."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from monitor import feeds, market, metrics
from monitor.briefing import day_of
from monitor.known import as_known, fact_steps
from monitor.markup import clean as clean_text
from monitor.model import StepTable
from monitor.observed import LIVE, observed, stored
from monitor.overview import banner
from monitor.quarantine import without_mistaken
from monitor.rents import LOOK_BACK, OFFER_SERIES
from monitor.store import Store
from monitor.tables import STYLES, terminal
from monitor.tick import newest_close
from monitor.tokens import OFFERS
from monitor.tracing import trace
from monitor.tracing_prices import Evidence, Node
from monitor.world import World, build_world

if TYPE_CHECKING:
    from rich.tree import Tree

    from monitor.shell import Shell

TONES = {"used": "good", "unknown": "warning", "refused": "critical", "waiting": "warning", "in doubt": "warning"}
DEEPEST = 6


def evidence_of(world: World, at: datetime | None, now: datetime) -> tuple[Evidence, bool]:
    """Everything a trace looks at, and whether prices are live. Without a moment: that of the last live evaluation, or
    the newest recorded close."""
    path = world.config.paths.state / LIVE
    if at is None and path.exists():
        with closing(Store.reader(path)) as reader:
            last = reader.last_tick()
            at = last.eval_at if last is not None and not last.recorded else None
    moment = at or newest_close(world, now)
    seen = observed(world, moment)
    specs = feeds.series_specs(world.feeds)
    tape = market.Tape(seen, specs)
    book = as_known(world.book, moment)
    ids = tuple(sorted(borrower.id for borrower in book.borrowers))
    past = tape.history(moment, ids)

    def history(name: str) -> StepTable | None:
        return past.get(name) or fact_steps(book, name, ids)

    numbers = metrics.compute(book, tape.quotes(moment), (), history, moment, costly=False)
    offers = stored(world.config.paths.state, moment, (*OFFER_SERIES, OFFERS))
    recent = [offer for offer in offers if offer.observed_at > moment - LOOK_BACK]
    live = any(row.known_basis == "live" for row in seen)

    def answers(known_at: datetime) -> list[tuple[str, str, int]]:
        with closing(Store.reader(path)) as reader:
            return reader.raw_at(known_at)

    rented, doubted = without_mistaken([offer for offer in recent if offer.series != OFFERS], moment)
    listed, doubted_tokens = without_mistaken([offer for offer in recent if offer.series == OFFERS], moment)
    found = Evidence(moment, book, numbers, seen, specs, [*rented, *listed], quarantined=[*doubted, *doubted_tokens])
    return (replace(found, answers=answers) if path.exists() else found), live


def _text(node: Node) -> str:
    """One line of a node: name, value, how it counts."""
    state = "" if node.state == "used" else f"  [{node.state}]"
    return f"{node.name}: {node.text}{state}"


def tree_of(node: Node) -> Tree:
    """A node and what is below it as a tree of rich."""
    from rich.text import Text
    from rich.tree import Tree

    style = STYLES[TONES.get(node.state, "dim")] if node.state != "used" else "bold"
    tree = Tree(Text(clean_text(_text(node)), style=style), guide_style="dim")
    for key, said in node.about:
        tree.add(Text(clean_text(f"{key}: {said}"), style="dim"))
    for below in node.inputs:
        tree.add(tree_of(below))
    return tree


def run_trace(shell: Shell, what: str, at: str | None, depth: int) -> int:
    """``canary trace``."""
    from monitor.moments import moment

    now = datetime.now(UTC)
    world = build_world(shell.config(), offline=shell.offline)
    evidence, live = evidence_of(world, moment(at, now) if at else None, now)
    node = trace(evidence, what.strip().lower(), min(depth, DEEPEST))
    if shell.as_json:
        head = {"at": evidence.at.isoformat(), "recorded": None if live else day_of(evidence.at).isoformat()}
        print(json.dumps({**head, **node.json()}, indent=2, allow_nan=False, ensure_ascii=False))
        return 0
    console = terminal(plain=shell.plain)
    if not live:
        console.print(banner(day_of(evidence.at)), style="bold black on yellow", markup=False)
    console.print(f"as of {evidence.at:%Y-%m-%d %H:%M} UTC", style="dim", markup=False)
    console.print(tree_of(node))
    return 0
