"""Market metrics: prices as fed, the derived hashprice, and what moves for everybody."""

from __future__ import annotations

import numpy as np

from monitor.metrics_base import View, metric, register
from monitor.model import FloatArray
from monitor.stress.assumptions import seconds
from monitor.stress.field import INF, Field, Value
from monitor.stress.lots import GPU_MODELS

DAY_S = 86400.0
#: a new issue this old no longer says where the market is
NEW_ISSUE_DAYS = 180
#: two loans of one borrower this near stand for one rating
SAME_RATING_DAYS = 730


def _series(name: str, unit: str, doc: str) -> None:
    def compute(view: View) -> Field:
        return view.state.market[name]

    register(name, "market", unit, "", doc, (name,), compute, False)


def _moved(name: str, unit: str, doc: str, factor: str) -> None:
    def compute(view: View) -> Field:
        level: float = getattr(view.state.factors, factor)
        return view.state.market[name] * level

    register(name, "market", unit, "min", doc, (name,), compute, True)


_moved("btc_usd", "usd", "Price of one Bitcoin: the last spot or close in force.", "btc")
_moved("eth_usd", "usd", "Price of one Ether: the last spot or close in force.", "eth")
_moved(
    "hashprice_usd_ph_day",
    "usd/ph/day",
    "What a petahash a second earns in a day, published or derived from difficulty, block reward and BTC.",
    "hashprice",
)
_series("difficulty", "number", "Bitcoin mining difficulty.")
_series("hy_spread_bp", "bp", "High-yield credit spread; unknown until a source feeds it.")
for _model in GPU_MODELS:
    _series(f"rent_{_model.lower()}_index_usd", "usd/gpu-hour", f"Recorded rental index of the {_model}, restated.")
    _series(f"rent_{_model.lower()}_list_usd", "usd/gpu-hour", f"Live list price of one {_model} hour.")
    for _market in ("on_demand", "spot"):
        _series(
            f"rent_{_model.lower()}_{_market}_usd",
            "usd/gpu-hour",
            f"Matched-model rental index of the {_model}, {_market.replace('_', ' ')}, from raw offers; own index.",
        )
    _series(f"resale_{_model.lower()}_usd", "usd", f"Used price of one {_model}.")


@metric("market", "usd/ph/day", "min", needs=("hashprice_usd_ph_day",))
def hashprice_7d(view: View) -> Field:
    """Time-weighted mean of the hashprice over the last seven days; unknown until a full week is on record."""
    table = view.history("hashprice_usd_ph_day")
    now = view.state.at.timestamp()
    if table is None:
        return Field.of([Value.unknown("hashprice_usd_ph_day has no recorded past")])
    times, values = table.window(0, now - 7 * DAY_S, now)
    mean = step_mean(times, values, now - 7 * DAY_S, now)
    if np.isnan(mean):
        return Field.of([Value.unknown("hashprice_usd_ph_day is not on record for seven days without a gap")])
    return Field.of([Value.exact(mean, float(times[-1]))])


def step_mean(times: FloatArray, values: FloatArray, start: float, end: float) -> float:
    """Time-weighted mean of a step function over (start, end]; NaN unless it is known all the way.

    >>> step_mean(np.array([0.0, 9.0]), np.array([1.0, 11.0]), 0.0, 10.0)
    2.0
    """
    if not len(times) or times[0] > start or end <= start:
        return float("nan")
    edges = np.append(np.maximum(times, start), end)
    return float(np.sum(values * np.diff(edges)) / (end - start))


@metric("market", "bp", "max", needs=("loan_spread_bp",))
def same_rating_new_issue_change_bp(view: View) -> Field:
    """Widest change between a borrower's last two new-issue loan spreads, the later one at most 180 days old.

    Ratings are not recorded apart: two loans of one borrower within two years stand for one rating.
    """
    book = view.state.book
    marks = [m for m in (book.marks if book else ()) if m.series == "loan_spread_bp"]
    today = view.state.at.date()
    changes: list[tuple[float, str, float]] = []
    for subject in sorted({mark.subject for mark in marks}):
        own = [mark for mark in marks if mark.subject == subject]
        fresh = bool(own) and (today - own[-1].as_of).days <= NEW_ISSUE_DAYS
        if fresh and len(own) >= 2 and (own[-1].as_of - own[-2].as_of).days <= SAME_RATING_DAYS:
            note = f"{subject}: {own[-2].value:.0f} bp on {own[-2].as_of} to {own[-1].value:.0f} bp on {own[-1].as_of}"
            changes.append((own[-1].value - own[-2].value, note, seconds(own[-1].as_of)))
    if not changes:
        reason = f"no borrower has two loan_spread_bp marks, the later within {NEW_ISSUE_DAYS} days"
        return Field.of([Value.unknown(reason)])
    change, note, as_of = max(changes)
    return Field.of([Value.exact(change, as_of, detail=note)])


@metric("market", "usd", "max", needs=("debt_usd",))
def sector_debt_usd(view: View) -> Field:
    """Debt of every open borrower whose debt is known; who is left out is named, so it is a lower bound."""
    debts = view.debt
    rows = [(b, row) for b, row in enumerate(view.state.rows) if row.borrower.status != "closed"]
    known = [debts.at(b) for b, _ in rows if debts.known[b]]
    missing = [row.id for b, row in rows if not debts.known[b]]
    if not known:
        return Field.of([Value.unknown("debt_usd of every borrower is unknown")])
    middle, adverse, favourable = (sum(value.corners[c] for value in known) for c in range(3))
    used = (f"without {len(missing)} borrowers of unknown debt: {', '.join(missing)}",) if missing else ()
    as_of = min((value.as_of_s for value in known), default=INF)
    return Field.of([Value((middle, adverse, favourable), (), used, as_of, f"{len(known)} of {len(rows)} borrowers")])
