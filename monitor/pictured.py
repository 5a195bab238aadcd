"""Which picture a message gets, by what its rule is about. Pure.

A rule about somebody else's trouble (tenants, cascades) gets what a fall drags along; one about a quoted price, a
spread or a trend gets the past of that number with its line; everything else is about shocks still to come and gets the
grid of two shocks. A comparison with nothing (``put_due_18m_usd > 0``) only says whom a rule concerns, so it decides
nothing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal

from monitor.conditions import Leaf, Taken, names_in, take_apart
from monitor.metrics import METRICS
from monitor.units import parse_duration_s, parse_quantity
from monitor.values import unit_of

CONTAGION = ("tenant_", "cascade_", "canary_damage")
#: numbers that are quoted, or follow at once from what is
QUOTED = ("bond_price", "cds_5y_bp", "share_price_usd", "hy_spread_bp", "new_issue_spread_bp",
          "same_rating_new_issue_change_bp", "hashprice_7d", "hashprice_usd_ph_day")  # fmt: skip
#: questions about a number that say nothing about its size
ASKS = ("age", "known", "since", "in_doubt")
TRENDS = ("change", "delta", "at", "drop", "rise", "slope", "zscore", "avg_over", "min_over", "max_over", "quantile")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A picture to draw. Of a past: ``metrics``, of which the first that is known is drawn; ``says``, the comparison.

    The line on a day is ``factor`` times what ``other`` (empty: 0) was ``span_s`` seconds before, plus ``add``; there
    is none without ``line``.
    """

    kind: Literal["heatmap", "past", "cascade"] = "heatmap"
    metrics: tuple[str, ...] = ()
    says: str = ""
    line: bool = False
    other: str = ""
    factor: float = 0.0
    add: float = 0.0
    span_s: float = 0.0


HEATMAP = Chosen()


def chosen(expr: str) -> Chosen:
    """The picture for a rule of this condition; the condition was accepted before.

    >>> chosen("high(liquidity_locked_12m) < 1.0").kind, chosen("tenant_share > 30% and tenant_critical").kind
    ('heatmap', 'cascade')
    >>> cds = chosen("cds_5y_bp > 500bp and change(cds_5y_bp, 30d) > 40%")
    >>> cds.kind, cds.metrics, cds.says, cds.add
    ('past', ('cds_5y_bp',), 'cds_5y_bp > 500bp', 500.0)
    """
    taken = take_apart(expr)
    if any(name.startswith(CONTAGION) for leaf in taken.leaves for name in names_in(leaf.node)):
        return Chosen("cascade")
    for leaf in taken.leaves:
        if leaf.left is None or leaf.right is None or _is_guard(taken, leaf) or not _names(leaf):
            continue
        found = _past(taken, leaf, leaf.left, leaf.right) or _past(taken, leaf, leaf.right, leaf.left)
        return found or HEATMAP
    return HEATMAP


def _names(leaf: Leaf) -> list[str]:
    sides = [side for side in (leaf.left, leaf.right) if side is not None]
    return [name for side in sides for name in names_in(side, ASKS)]


def _is_guard(taken: Taken, leaf: Leaf) -> bool:
    numbers = [_number(taken, side) for side in (leaf.left, leaf.right) if side is not None]
    return 0.0 in numbers


def _past(taken: Taken, leaf: Leaf, side: ast.expr, other: ast.expr) -> Chosen | None:
    """The past of the number on one side of a comparison, with the other side as its line where that can be drawn."""
    calls = [node for node in ast.walk(side) if isinstance(node, ast.Call) and _word(node) in TRENDS]
    if calls:
        names = tuple(dict.fromkeys(name for call in calls for name in names_in(call.args[0])))
        return _trend(taken, leaf, names, calls[0], other) if names else None
    if not isinstance(side, ast.Name) or side.id not in QUOTED:
        return None
    limit = _number(taken, other, side.id)
    if limit is not None:
        return Chosen("past", (side.id,), leaf.text, True, add=limit)
    times = _times(taken, other)
    if times is None:
        return Chosen("past", (side.id,), leaf.text)
    return Chosen("past", (side.id,), leaf.text, True, times[1], times[0])


def _trend(taken: Taken, leaf: Leaf, names: tuple[str, ...], call: ast.Call, other: ast.expr) -> Chosen:
    """A change within a span, written as what the number would have to be today."""
    word = _word(call)
    limit = _number(taken, other, names[0] if word == "delta" else "")
    if word not in ("change", "delta") or limit is None or len(call.args) < 2:
        return Chosen("past", names, leaf.text)
    span_s = parse_duration_s(taken.source(call.args[1]))
    if word == "change":
        return Chosen("past", names, leaf.text, True, names[0], 1.0 + limit, span_s=span_s)
    return Chosen("past", names, leaf.text, True, names[0], 1.0, limit, span_s)


def _word(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _number(taken: Taken, node: ast.expr, metric: str = "") -> float | None:
    """A number as written, in the unit of a metric; None for anything else."""
    text = taken.source(node)
    try:
        value = parse_quantity(text)[0]
    except ValueError:
        return None
    written = text[-1:] == "%" or text[-1:].isalpha()
    known = METRICS.get(metric)
    return round(value / unit_of(known.unit).scale, 9) if written and known is not None else value


def _times(taken: Taken, node: ast.expr) -> tuple[float, str] | None:
    """A metric, or a number times one: factor and name."""
    if isinstance(node, ast.Name):
        return 1.0, node.id
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for one, two in ((node.left, node.right), (node.right, node.left)):
            factor = _number(taken, one)
            if factor is not None and isinstance(two, ast.Name):
                return factor, two.id
    return None
