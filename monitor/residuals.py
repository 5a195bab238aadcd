"""What used machines are worth by model and vintage: marks, a decay curve with its range, the books, the gap. Pure.

Three answers to one question stand side by side. The *curve* is ``new price * (1 - decay)^age`` with the assumed decay
at its middle and both ends; the *books* are straight line over the stated life, ``new price * max(0, 1 - age / life)``;
the *market* is the newest mark, rolled forward from its own date by the same decay, because a mark is a photograph. No
source without an account quotes completed sales, so marks are entered by hand and every row says how old its mark is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from monitor.known import KnownBook
from monitor.model import Mark
from monitor.stress.assumptions import Assumptions
from monitor.stress.field import Value, combine
from monitor.stress.lots import GPU_MODELS

YEAR_DAYS, MONTHS = 365.25, 12.0
#: two marks nearer than this say more about two sources than about a decay
OBSERVED_DAYS = 45
#: a mark older than this is no market any more: it is shown, and nothing is measured by it
STALE_DAYS = 120


@dataclass(frozen=True, slots=True)
class Rolled:
    """The newest mark of a model and what it stands for today: at the middle, fastest and slowest decay."""

    mark: Mark
    age_days: int
    today_usd: Value

    @property
    def stale(self) -> bool:
        """Too old to be called a market."""
        return self.age_days > STALE_DAYS


@dataclass(frozen=True, slots=True)
class Vintage:
    """Machines of one model bought at one time: what they are worth today by each answer, in USD per machine.

    ``gap``: market over books, less one; below zero the books carry more than the market pays.
    """

    model: str
    bought: date
    age_years: float
    curve_usd: Value
    books_usd: Value
    market_usd: Value
    gap: Value
    owners: tuple[str, ...]


@dataclass(frozen=True)
class Residual:
    """Everything known about one model."""

    model: str
    new_usd: Value
    #: share of its price lost in a year, assumed
    decay: Value
    #: months in which the assumed decay halves a price, middle and ends
    half_life_months: Value
    marks: tuple[Mark, ...]
    newest: Rolled | None
    #: share lost in a year between the first and last mark, far enough apart, or why not
    observed_decay: Value
    life_months: Value
    vintages: tuple[Vintage, ...]


# ---------------------------------------------------------------- the laws
def half_life_months(decay: float) -> float:
    """Months in which a yearly loss of ``decay`` halves a price; unlimited without a loss.

    >>> round(half_life_months(0.25), 1), half_life_months(0.0)
    (28.9, inf)
    """
    return MONTHS * math.log(2) / -math.log1p(-decay) if 0 < decay < 1 else math.inf


def on_curve(new_usd: float, decay: float, years: float) -> float:
    """A price after some years of a yearly loss.

    >>> round(on_curve(30_000, 0.25, 2.0))
    16875
    """
    return float(new_usd * (1 - decay) ** max(years, 0.0))


def in_books(new_usd: float, life_months: float, years: float) -> float:
    """What straight-line books carry: nothing is left at the end of the stated life, no scrap value.

    >>> round(in_books(30_000, 72, 2.0)), in_books(30_000, 72, 9.0)
    (20000, 0.0)
    """
    return float(new_usd * max(0.0, 1 - max(years, 0.0) * MONTHS / life_months))


def years_between(start: date, end: date) -> float:
    """Years of 365.25 days.

    >>> round(years_between(date(2024, 8, 14), date(2026, 8, 14)), 2)
    2.0
    """
    return (end - start).days / YEAR_DAYS


# ---------------------------------------------------------------- one model
def residuals(book: KnownBook, models: Sequence[str] = GPU_MODELS) -> tuple[Residual, ...]:
    """Every model as it is known at the moment of the book."""
    assumptions = Assumptions.of(book.assumptions)
    return tuple(_residual(book, assumptions, model) for model in models)


def _residual(book: KnownBook, assumptions: Assumptions, model: str) -> Residual:
    today = book.at.date()
    decay = assumptions.get("decay_annual", "neocloud", model)
    new = assumptions.get("unit_cost_usd", "neocloud", model)
    life = _life(book, assumptions)
    marks = tuple(m for m in book.marks if m.series == f"resale_{model.lower()}_usd")
    newest = _rolled(marks[-1], decay, today) if marks else None
    return Residual(
        model=model,
        new_usd=new,
        decay=decay,
        half_life_months=combine(half_life_months, decay),
        marks=marks,
        newest=newest,
        observed_decay=observed_decay(marks),
        life_months=life,
        vintages=tuple(_vintage(model, day, who, new, decay, life, newest, today) for day, who in bought(book, model)),
    )


def _life(book: KnownBook, assumptions: Assumptions) -> Value:
    """The life the books of those who own GPUs are written over: the middle assumed, the ends those stated."""
    assumed = assumptions.get("useful_life_months", "neocloud")
    stated = [n for b in book.borrowers if b.borrower.kind == "neocloud" and (n := b.number("useful_life_months"))]
    if not stated or not assumed.known:
        return assumed
    ends = (*stated, assumed.middle)
    return Value((assumed.middle, min(ends), max(ends)), (), (*assumed.used, "stated lives of owners at the ends"))


def _rolled(mark: Mark, decay: Value, today: date) -> Rolled:
    age = (today - mark.as_of).days
    return Rolled(mark, age, combine(lambda d: on_curve(mark.value, d, age / YEAR_DAYS), decay))


def observed_decay(marks: Sequence[Mark]) -> Value:
    """Share lost in a year between the first and the last mark of a model; unknown from one mark, or too near ones."""
    if len(marks) < 2:
        return Value.unknown("two marks are needed to see a price move")
    first, last = marks[0], marks[-1]
    days = (last.as_of - first.as_of).days
    if days < OBSERVED_DAYS:
        return Value.unknown(f"its marks lie {days} days apart, {OBSERVED_DAYS} needed")
    loss = 1 - (last.value / first.value) ** (YEAR_DAYS / days)
    return Value.exact(loss, detail=f"{first.value:,.0f} on {first.as_of} to {last.value:,.0f} on {last.as_of}")


def bought(book: KnownBook, model: str) -> list[tuple[date, tuple[str, ...]]]:
    """When machines of a model were bought, oldest first, and by whom; the mix of a purchase counts where stated."""
    found: dict[date, set[str]] = {}
    for borrower in book.borrowers:
        for pool in borrower.facilities:
            days = [unit.bought for unit in pool.facility.units if unit.model == model]
            days += [v.bought for v in pool.facility.cost_vintages if v.model_mix.get(model, 0.0) > 0]
            for day in days:
                found.setdefault(day, set()).add(borrower.id)
    return [(day, tuple(sorted(who))) for day, who in sorted(found.items())]


def _vintage(
    model: str, day: date, owners: Iterable[str], new: Value, decay: Value, life: Value, newest: Rolled | None,
    today: date,
) -> Vintage:  # fmt: skip
    years = years_between(day, today)
    books = combine(lambda price, months: in_books(price, months, years), new, life)
    if newest is None:
        market = Value.unknown(f"no mark of resale_{model.lower()}_usd is known")
    elif newest.stale:
        market = Value.unknown(f"the newest mark is {newest.age_days} days old, at most {STALE_DAYS} count")
    else:
        market = newest.today_usd
    return Vintage(
        model=model,
        bought=day,
        age_years=years,
        curve_usd=combine(lambda price, d: on_curve(price, d, years), new, decay),
        books_usd=books,
        market_usd=market,
        gap=combine(lambda price, carried: price / carried - 1 if carried > 0 else math.inf, market, books),
        owners=tuple(owners),
    )
