"""What caused a change of a number: the axes of a scenario, or what moved between two moments. Pure.

Parts are Shapley values (:mod:`monitor.stress.attribution`) of groups of inputs, at each corner of the assumptions, and
add to the whole exactly. A number that is unlimited or unknown on the way from one side to the other has no parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monitor.known import KnownBook, KnownBorrower
from monitor.model import BoolArray, FloatArray, Quote
from monitor.stress.attribution import shapley
from monitor.stress.scenario import Scenario, apply
from monitor.stress.state import State, build_state

#: what a person calls the factors that move together
AXES: dict[str, tuple[str, ...]] = {
    "crypto": ("btc", "eth", "hashprice"),
    "rents": ("rent", "utilisation"),
    "used prices": ("residual",),
    "contracts": ("contract_loss", "delay_months"),
    "power": ("power",),
    "base rate": ("base_rate",),
    "spread": ("spread",),
    "refinancing": ("refinancing",),
}
#: groups of market series by the beginning of their names, the first that fits
SERIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("bitcoin", ("btc_usd", "hashprice", "difficulty", "block_reward")),
    ("ether", ("eth_usd",)),
    ("rents", ("rent_",)),
    ("used prices", ("resale_",)),
    ("base rate", ("sofr",)),
    ("shares and credit", ("share_price", "cds_", "bond_price", "loan_spread", "hy_spread")),
)
#: groups of a borrower's figures; what is in none of them is cash flow
FIGURES: dict[str, tuple[str, ...]] = {
    "debt": ("debt_usd", "debt_current_usd"),
    "cash": ("cash_",),
    "coins": ("btc_", "eth_", "coins_"),
    "equipment": ("equipment_", "technology_", "construction_", "depreciation_", "useful_life"),
}
BOOK = ("debt", "cash", "coins", "equipment", "cash flow", "pools")
#: the passing of time alone: marks age, dates come nearer
TIME = "time"
#: groups looked at one by one
MOST, REST = 6, "rest"
#: a number of some subjects in a state: (3,n), corners first
Measure = Callable[[State], FloatArray]


@dataclass(frozen=True)
class Parts:
    """One number before and after, (3,n) at the corners, and what each group did to it; ``known`` (3,n) where the
    parts exist: there they add to the difference."""

    before: FloatArray
    after: FloatArray
    parts: Mapping[str, FloatArray]
    known: BoolArray


def _parts(groups: Sequence[str], value: Callable[[frozenset[str]], FloatArray]) -> Parts:
    """Shapley parts of the groups that do anything; the others have none.

    A group that changes nothing alone and nothing when it is left out of the whole is not looked at further, as long as
    the whole is the same without all of these: then the parts of the others still add to it. Beyond ``MOST`` groups
    the smallest go together as ``rest``, so that the work stays small.
    """
    seen = dict[frozenset[str], FloatArray]()

    def once(moved: frozenset[str]) -> FloatArray:
        if moved not in seen:
            seen[moved] = value(moved)
        return seen[moved]

    none, every = frozenset[str](), frozenset(groups)
    with np.errstate(invalid="ignore"):
        effect = {g: _size(once(frozenset({g})), once(none), once(every), once(every - {g})) for g in groups}
        active = sorted((g for g in groups if effect[g] > 0), key=lambda g: -effect[g])
        if _gap(once(frozenset(active)), once(every)) > 0:  # groups that only act together
            active = sorted(groups, key=lambda g: -effect[g])
        bundles = {g: frozenset({g}) for g in active[:MOST]}
        if len(active) > MOST:
            bundles[REST] = frozenset(active[MOST:])
        parts = shapley(list(bundles), lambda moved: once(none.union(*(bundles[name] for name in moved))))
    known = np.logical_and.reduce([np.isfinite(one) for one in seen.values()])
    zero = np.zeros_like(once(none))
    inside = {g for bundle in bundles.values() for g in bundle}
    shown = {g: parts.get(g, zero) for g in groups if g in parts or g not in inside}
    return Parts(once(none), once(every), shown | {g: part for g, part in parts.items() if g == REST}, known)


def _size(alone: FloatArray, none: FloatArray, every: FloatArray, without: FloatArray) -> float:
    """The largest difference a group makes, alone or last."""
    return max(_gap(alone, none), _gap(every, without))


def _gap(one: FloatArray, other: FloatArray) -> float:
    """The largest difference; infinite where one of two numbers is unknown or unlimited."""
    gap = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.abs(one - other))
    return float(np.where(np.isfinite(gap), gap, np.inf).max(initial=0.0))


# ---------------------------------------------------------------- a scenario
def axes_of(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """The axes a scenario moves, with their factors.

    >>> from monitor.stress.scenario import Move
    >>> list(axes_of(Scenario("s", (Move("rent", "by", -0.2), Move("btc", "by", -0.3)))))
    ['crypto', 'rents']
    """
    named = {move.factor for move in scenario.moves}
    return {axis: factors for axis, factors in AXES.items() if named & set(factors)}


def of_scenario(state: State, scenario: Scenario, measures: Sequence[Measure]) -> tuple[Parts, ...]:
    """What each axis of a scenario does to some numbers, over the subjects each of them is about.

    A scenario comes in at once and in full here; the months it takes count where months are looked at.
    """
    axes = axes_of(scenario)
    states = dict[frozenset[str], State]()

    def under(moved: frozenset[str]) -> State:
        if moved not in states:
            kept = {factor for axis in moved for factor in axes[axis]}
            moves = tuple(move for move in scenario.moves if move.factor in kept)
            states[moved] = apply(state, replace(scenario, moves=moves))
        return states[moved]

    return tuple(_parts(list(axes), lambda moved, m=measure: m(under(moved))) for measure in measures)  # type: ignore[misc]


# ---------------------------------------------------------------- between two moments
@dataclass(frozen=True)
class Moment:
    """What is known at one time: the book, and the prices in force."""

    book: KnownBook
    quotes: Mapping[tuple[str, str], Quote]


def between(before: Moment, after: Moment, borrower: str, measure: Measure) -> Parts:
    """What moved a number of one borrower from one moment to another: prices by group, its own figures, or time.

    Only groups that changed are looked at. ``measure`` is asked of states that hold this borrower alone, so links to
    others (a tenant's fall) are not in it. ValueError where the book of either moment does not hold the borrower.
    """
    old, new = (_alone(moment, borrower) for moment in (before, after))
    prices = _moved_prices(old, new)
    figures = [name for name in BOOK if _figures(old.book.borrowers[0], name) != _figures(new.book.borrowers[0], name)]
    groups = [*dict.fromkeys(prices.values()), *figures, *([TIME] if old.book.at != new.book.at else [])]

    def value(moved: frozenset[str]) -> FloatArray:
        quotes = dict(old.quotes)
        for key, group in prices.items():
            if group in moved:
                _take(quotes, new.quotes, key)
        row = _mixed(old.book.borrowers[0], new.book.borrowers[0], moved)
        frame = new.book if TIME in moved else old.book
        return measure(build_state(replace(frame, borrowers=(row,)), quotes))

    return _parts(groups, value)


def _alone(moment: Moment, borrower: str) -> Moment:
    rows = tuple(row for row in moment.book.borrowers if row.id == borrower)
    if not rows:
        raise ValueError(f"the book holds no {borrower!r}")
    return Moment(replace(moment.book, borrowers=rows), moment.quotes)


def _moved_prices(old: Moment, new: Moment) -> dict[tuple[str, str], str]:
    """Quotes whose value differs, with the group each belongs to."""
    found = {}
    for key in sorted({*old.quotes, *new.quotes}):
        a, b = old.quotes.get(key), new.quotes.get(key)
        if (a.value if a else None, a.reason if a else "") != (b.value if b else None, b.reason if b else ""):
            group = next((name for name, starts in SERIES if key[0].startswith(starts)), None)
            if group is not None:
                found[key] = group
    return found


def _take(quotes: dict[tuple[str, str], Quote], new: Mapping[tuple[str, str], Quote], key: tuple[str, str]) -> None:
    if key in new:
        quotes[key] = new[key]
    else:
        quotes.pop(key, None)


def _group_of(field: str) -> str:
    """The group of a figure.

    >>> _group_of("cash_unrestricted_usd"), _group_of("debt_usd"), _group_of("interest_quarter_usd")
    ('cash', 'debt', 'cash flow')
    """
    return next((name for name, starts in FIGURES.items() if field.startswith(starts)), "cash flow")


def _figures(row: KnownBorrower, group: str) -> object:
    """What one group of a borrower's figures says; equal for two moments where nothing of it changed."""
    if group == "pools":
        return row.facilities, row.borrower.tenants
    own = {name: fact for name, fact in row.facts.items() if _group_of(name) == group}
    return (own, row.debts, row.maturities, row.events) if group == "debt" else own


def _mixed(old: KnownBorrower, new: KnownBorrower, moved: frozenset[str]) -> KnownBorrower:
    """A borrower with some groups of figures as they are now and the others as they were."""
    facts = {}
    for name in dict.fromkeys((*old.facts, *new.facts)):
        source = new if _group_of(name) in moved else old
        if name in source.facts:
            facts[name] = source.facts[name]
    debts, pools = (new if "debt" in moved else old), (new if "pools" in moved else old)
    past = new.past if moved else old.past
    return replace(
        pools, facts=facts, past=past, debts=debts.debts, maturities=debts.maturities, events=debts.events,
        facilities=pools.facilities,
    )  # fmt: skip
