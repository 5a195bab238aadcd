"""``canary residuals``: what used machines are worth by model and vintage, as tables, data and a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.commands import Reply
from monitor.model import CanaryError, Mark
from monitor.residuals import Residual, Vintage, residuals
from monitor.stress.field import Value
from monitor.stress.lots import GPU_MODELS
from monitor.stress_shown import heading, open_case, titled
from monitor.stressing import Case
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Table
from monitor.yamltext import suggest

if TYPE_CHECKING:
    from monitor.shell import Shell


# ---------------------------------------------------------------- words
def _ranged(value: Value, text: Callable[[float], str]) -> str:
    """The middle and both ends of a value, or ``?``.

    >>> _ranged(Value((2.0, 1.0, 4.0)), lambda x: f"{x:g}")
    '2 (1 to 4)'
    """
    if not value.known:
        return UNKNOWN
    low, high = min(value.corners), max(value.corners)
    return text(value.middle) if low == high else f"{text(value.middle)} ({text(low)} to {text(high)})"


def _usd(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return "books are empty" if math.isinf(value) else f"{value:+.0%}"


def _months(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


# ---------------------------------------------------------------- tables
def model_table(case: Case, found: Sequence[Residual]) -> Table:
    """One line per model: its newest mark and what that stands for today, the decay assumed and the decay seen."""
    rows, notes = [], []
    for one in found:
        newest = one.newest
        mark = f"{newest.mark.value:,.0f} on {newest.mark.as_of}" if newest else UNKNOWN
        today = UNKNOWN if newest is None else _ranged(newest.today_usd, _usd)
        rows.append(
            (
                Cell(one.model),
                Cell(_ranged(one.new_usd, _usd)),
                Cell(
                    mark + (" too old" if newest and newest.stale else ""), "warning" if newest and newest.stale else ""
                ),
                Cell(str(newest.age_days) if newest else NOT_APPLICABLE),
                Cell(today),
                Cell(_ranged(one.decay, lambda d: f"{d:.0%}")),
                Cell(_ranged(one.half_life_months, _months)),
                Cell(f"{one.observed_decay.middle:+.0%}" if one.observed_decay.known else UNKNOWN),
            )
        )
        seen = one.observed_decay
        notes.append(Cell(f"{one.model}: {seen.detail if seen.known else '; '.join(seen.reasons)}", "dim"))
        notes += [Cell(f"{one.model}, {m.as_of}: {m.value:,.0f} USD, {m.source}. {m.note}", "dim") for m in one.marks]
    labels = ("new", "newest mark", "days old", "today, rolled\nforward", "decay a year\nassumed", "half-life\nmonths")
    heads = [Head("model"), *(Head(label, right=True) for label in (*labels, "decay a year\nbetween marks"))]
    notes.append(Cell("no source without an account quotes sales: marks are entered in book/marks.yaml", "dim"))
    return titled(case, "Used machines, USD a machine", heads, rows, notes)


def vintage_table(case: Case, found: Sequence[Residual]) -> Table:
    """One line per vintage: curve, books and market today, and the gap between the last two."""
    rows = [
        (
            Cell(one.model),
            Cell(f"{v.bought:%Y-%m}"),
            Cell(f"{v.age_years:.1f}"),
            Cell(_ranged(v.curve_usd, _usd)),
            Cell(_ranged(v.books_usd, _usd)),
            Cell(_ranged(v.market_usd, _usd)),
            Cell(_ranged(v.gap, _percent), "critical" if v.gap.known and v.gap.middle < 0 else ""),
            Cell(", ".join(v.owners)),
        )
        for one in found
        for v in one.vintages
    ]
    labels = ("age, years", "curve", "books,\nstraight line", "market", "market over\nbooks")
    heads = [
        Head("model"),
        Head("bought"),
        *(Head(label, right=True) for label in labels),
        Head("owners", expendable=1),
    ]
    life = next((one.life_months for one in found if one.life_months.known), None)
    told = f"books: straight line over {_ranged(life, _months)} months, nothing left at the end" if life else ""
    reasons = {reason for one in found for v in one.vintages for reason in v.market_usd.reasons}
    notes = [Cell(told, "dim"), *(Cell(f"? market: {reason}", "dim") for reason in sorted(reasons))]
    notes.append(Cell("market over books below zero: the accounts carry more than the market pays", "dim"))
    return titled(case, "By vintage of the book", heads, rows, notes)


# ---------------------------------------------------------------- the command
def run_residuals(shell: Shell, model: str | None, at: str | None, file: str | None) -> int:
    """``canary residuals``."""
    if model is not None and model.upper() not in GPU_MODELS:
        raise CanaryError(f"no model {model[:40]!r}; {suggest(model.upper()[:40], list(GPU_MODELS))}")
    case = open_case(shell, at)
    if case.state.book is None:
        raise CanaryError("there is no book")
    found = residuals(case.state.book, (model.upper(),) if model else GPU_MODELS)
    tables = [model_table(case, found), vintage_table(case, found)]
    data = {**heading(case), "models": [residual_json(one) for one in found]}
    if file is not None:
        tables.append(_drawn(found, case, file))
    return shell.show(Reply(data, tuple(tables)))


def _drawn(found: Sequence[Residual], case: Case, file: str) -> Table:
    from monitor.residuals_chart import draw_residuals

    path = Path(file).expanduser()
    if path.suffix.lower() != ".png":
        raise CanaryError(f"--picture writes PNG: end {file[:80]!r} in .png")
    try:
        draw_residuals(found, case.state.at, case.recorded, path)
    except OSError as error:
        raise CanaryError(f"cannot write {file[:80]}: {error.strerror}") from None
    return Table("", notes=(Cell(f"picture written to {path}", "good"),))


# ---------------------------------------------------------------- for machines
def value_json(value: Value) -> dict[str, object]:
    """A value with its ends, or why there is none; what is unlimited is null with a word."""
    if not value.known:
        return {"value": None, "reason": "; ".join(value.reasons)}
    if not all(math.isfinite(corner) for corner in value.corners):
        return {"value": None, "reason": "unlimited"}
    return {"value": value.middle, "low": min(value.corners), "high": max(value.corners)}


def residual_json(one: Residual) -> dict[str, object]:
    """One model for machines."""
    return {
        "model": one.model,
        "new_usd": value_json(one.new_usd),
        "decay_annual": value_json(one.decay),
        "half_life_months": value_json(one.half_life_months),
        "observed_decay_annual": value_json(one.observed_decay),
        "life_months": value_json(one.life_months),
        "marks": [_mark_json(mark) for mark in one.marks],
        "newest": None
        if one.newest is None
        else {
            "age_days": one.newest.age_days,
            "too_old": one.newest.stale,
            "today_usd": value_json(one.newest.today_usd),
        },
        "vintages": [_vintage_json(vintage) for vintage in one.vintages],
    }


def _mark_json(mark: Mark) -> dict[str, object]:
    known = mark.known_at.isoformat() if mark.known_at else None
    return {"value": mark.value, "as_of": mark.as_of.isoformat(), "known_at": known, "source": mark.source}


def _vintage_json(v: Vintage) -> dict[str, object]:
    return {
        "bought": v.bought.isoformat(),
        "age_years": v.age_years,
        "curve_usd": value_json(v.curve_usd),
        "books_usd": value_json(v.books_usd),
        "market_usd": value_json(v.market_usd),
        "market_over_books": value_json(v.gap),
        "owners": list(v.owners),
    }
