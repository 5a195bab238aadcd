"""The numbers of a page as cells: which ones the table and a section show, their names, and how they sort."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from monitor.metrics import METRICS
from monitor.model import Numbers
from monitor.overview import Overview as Shown
from monitor.overview import Reading, alert_words, reading, trigger
from monitor.overview import Row as OverviewRow
from monitor.report import figures
from monitor.report.moment import Moment
from monitor.report.parts import Fig, Head, Row
from monitor.stress_shown import LINES, beyond
from monitor.world import World

#: a unit in both ends of a range
_TWICE = re.compile(r"\(([^()]*?)%-(?=[^()]*%\))")

#: the numbers of the main table, with what they mean; ``coverage`` is followed by one column a scenario
MAIN = (
    "canary_rank", "first_breach_months", "canary_damage_usd", "coverage",
)  # fmt: skip
REST = (
    "distance_sigma", "pd_12m", "liquidity_locked_12m", "ltv_economic", "dscr", "ltv_headroom", "dscr_headroom",
    "debt_usd", "balance_sheet_age",
)  # fmt: skip
LABELS = {
    "canary_rank": "canary rank", "first_breach_months": "earliness: months to first breach",
    "canary_damage_usd": "damage, USD", "coverage": "coverage now", "distance_sigma": "distance to breach, σ",
    "pd_12m": "chance it cannot pay in 12 months", "liquidity_locked_12m": "liquidity 12 m, locked",
    "ltv_economic": "worst LTV, economic",
    "dscr": "worst DSCR", "ltv_headroom": "LTV headroom", "dscr_headroom": "DSCR headroom", "debt_usd": "debt, USD",
    "balance_sheet_age": "balance sheet age", "liquidity_18m": "liquidity 18 m", "runway_months": "runway, months",
    "cascade_debt_usd": "debt that falls with it, USD", "margin_call_btc_usd": "margin call at bitcoin, USD",
}  # fmt: skip
SUMMARY = (
    "coverage", "liquidity_locked_12m", "liquidity_18m", "interest_cover", "runway_months", "distance_sigma", "pd_12m",
    "first_breach_months", "canary_rank", "cascade_debt_usd", "ltv_economic", "dscr", "margin_call_btc_usd",
    "balance_sheet_age",
)  # fmt: skip


TRIGGER = "the bitcoin price of a margin call and how far away it is, else what is left to a covenant"


# ---------------------------------------------------------------- the main table
def heads(world: World) -> tuple[Head, ...]:
    """The columns of numbers, each with its meaning."""
    under = [Head(f"under {one.name.replace('_', ' ')}", f"coverage under: {one.note}") for one in world.scenarios]
    return (*(_head(name) for name in MAIN), *under, Head("nearest trigger", TRIGGER), *(_head(name) for name in REST))


def _head(name: str) -> Head:
    return Head(LABELS[name], METRICS[name].doc)


def row(it: Moment, one: OverviewRow, shown: Shown) -> Row:
    """A borrower of the main table, its numbers in the order of :func:`heads`."""
    b = it.numbers.subjects["borrower"].index(one.borrower)
    first = [fig(reading(it.numbers, name, b), name) for name in MAIN]
    under = [fig(reading(_under(it.numbers, case.name), "coverage", b), "coverage") for case in it.world.scenarios]
    near = Fig(trigger(one, shown.btc_usd), _nearness(one, shown.btc_usd))
    rest = [fig(reading(it.numbers, name, b), name) for name in REST]
    kind, alerts = one.kind.replace("_", " "), alert_words(one.alerts)
    return Row(one.borrower, one.name, kind, (*first, *under, near, *rest), alerts, one.severity)


def _under(numbers: Numbers, scenario: str) -> Numbers:
    return replace(numbers, columns={**numbers.columns, **numbers.scenarios.get(scenario, {})})


def fig(found: Reading, name: str) -> Fig:
    """A reading as a cell, marked where it is beyond the line of its number."""
    why = "; ".join(part for part in (found.where and f"facility {found.where}", found.reason) if part)
    bad = name in LINES and beyond(found.value, *LINES[name])
    return Fig(_short(found.text(ends=True)), _sort(found), why, "critical" if bad else "")


def _short(text: str) -> str:
    """A number and its range with the unit once; sigma stands in the label.

    >>> _short("0.58 sigma (0.00 sigma-2.35 sigma)"), _short("1.3% (0.2%-100.0%)"), _short("1.21x (0.85-2.05x)")
    ('0.58 (0.00-2.35)', '1.3% (0.2-100.0%)', '1.21x (0.85-2.05x)')
    """
    return _TWICE.sub(r"(\1-", text.replace(" sigma", ""))


def _sort(found: Reading) -> float | None:
    if found.value is None or math.isnan(found.value):
        return None
    return math.copysign(1e300, found.value) if math.isinf(found.value) else found.value


def _nearness(row: OverviewRow, btc_usd: float | None) -> float | None:
    """What the nearest trigger is sorted by: how far bitcoin may fall, else what is left to a covenant."""
    call = row.readings["margin_call_btc_usd"]
    if call.value is not None and btc_usd:
        return 1 - call.value / btc_usd
    left = [row.readings[name].value for name in ("ltv_headroom", "dscr_headroom")]
    return min((value for value in left if value is not None), default=None)


def unknown(it: Moment, shown: Shown) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(borrower, each reason with the numbers of the main table that it makes unknown)."""
    found = []
    for row in shown.rows:
        b = it.numbers.subjects["borrower"].index(row.borrower)
        readings = {name: reading(it.numbers, name, b) for name in (*MAIN, *REST)}
        reasons = tuple(f"{names}: {why}" for names, why in figures.grouped(readings, LABELS))
        if reasons:
            found.append((row.name, reasons))
    return tuple(found)
