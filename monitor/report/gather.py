"""From an evaluation to the finished texts of a page. Everything is read here, once, from one moment.

The numbers are worked out again at the moment of the last evaluation, from what was kept then; equal inputs are
answered from what was already worked out, so a daemon that just evaluated pays little for it.
"""

from __future__ import annotations

from monitor.overview import Overview as Shown
from monitor.overview import Snapshot, overview
from monitor.report import sources
from monitor.report.figs import heads, row, unknown
from monitor.report.moment import Moment, moment_of
from monitor.report.parts import Report
from monitor.report.section import sections
from monitor.report.standing import standing
from monitor.store import Store
from monitor.tables import UNKNOWN
from monitor.world import World


def gather(world: World, store: Store) -> Report:
    """Everything the page says about the last evaluation in a database."""
    it = moment_of(world, store)
    shown = _overview(it)
    alerts = standing(it)
    book, assumptions, rules_hash, version = world.inputs
    inputs = (
        f"Canary {version}, seed {world.config.engine.seed}, book {book[:8]}, "
        f"assumptions {assumptions[:8]}, rules {rules_hash[:8]}"
    )
    return Report(
        at=it.at,
        recorded=it.recorded,
        btc=f"{shown.btc_usd:,.0f} USD" if shown.btc_usd else UNKNOWN,
        inputs=inputs,
        heads=heads(world),
        rows=tuple(row(it, one, shown) for one in shown.rows),
        unknown=unknown(it, shown),
        stubs=shown.stubs,
        alerts=alerts,
        sections=sections(it, shown, alerts),
        feeds=sources.feeds(it),
        prices=sources.prices(it),
        index=sources.index(it),
        assumptions=sources.assumptions(it),
    )


def _overview(it: Moment) -> Shown:
    return overview(
        Snapshot(
            numbers=it.numbers,
            states=tuple(it.alerts.values()),
            severities={rule.id: rule.severity for rule in it.world.rules},
            borrowers={borrower.id: borrower for borrower in it.world.book.borrowers},
            reports=it.store.feed_reports(),
            recorded=it.recorded,
        )
    )
