"""The infrastructure test: does a pool behave like infrastructure, or like machines that age. Pure.

Six questions per pool with a loan, each yes, no or unknown with the number and the reason. Infrastructure lending
rests on contracted cash beyond maturity, assets that outlive the loan, collateral that can be sold, a stable unit
price, a creditworthy counterparty, and repayment as the asset ages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from monitor.stress import collateral
from monitor.stress.assumptions import quote_value
from monitor.stress.due import months_left
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE, Field, Value, combine
from monitor.stress.poolcash import BULLET_KINDS
from monitor.stress.state import State

Answer = Literal["yes", "no", "depends", "unknown"]
QUESTIONS = (
    "contracted cash beyond maturity",
    "life beyond the tenor",
    "collateral sells for the loan",
    "stable unit price",
    "creditworthy counterparty",
    "repaid as it ages",
)
#: five-year CDS, basis points, up to which a counterparty counts as creditworthy here (about investment grade)
CREDITWORTHY_BP = 150.0
#: yearly loss of price up to which a unit price counts as stable
STABLE_DECAY = 0.05


@dataclass(frozen=True)
class Mark:
    """One answer: ``depends`` when the two ends of the assumptions disagree."""

    question: str
    answer: Answer
    why: str


@dataclass(frozen=True)
class Card:
    """The six marks of one pool; ``passed`` counts the yeses, ``open`` the unknowns."""

    pool: str
    marks: tuple[Mark, ...]

    @property
    def passed(self) -> int:
        return sum(mark.answer == "yes" for mark in self.marks)

    @property
    def open(self) -> int:
        return sum(mark.answer == "unknown" for mark in self.marks)


def scorecard(state: State) -> tuple[Card, ...]:
    """One card for each pool that owes something."""
    sold = collateral.liquidation(state)
    cards = []
    for f, name in enumerate(state.facilities):
        owed = state.principal.at(f)
        if owed.known and owed.middle > 0:
            makers = (_contracts, _life, _saleable(sold), _price, _counterparty, _repaid)
            marks = (maker(state, f) for maker in makers)
            named = zip(QUESTIONS, marks, strict=True)
            cards.append(Card(name, tuple(Mark(question, *mark) for question, mark in named)))
    return tuple(cards)


Made = tuple[Answer, str]


def judge(value: Value, good: Callable[[float], bool], words: str) -> Made:
    """Yes or no where all corners agree; the number in the words is the middle.

    >>> judge(Value((3.0, 1.0, 4.0)), lambda months: months > 2, "{:.0f} months")
    ('depends', '3 months (1 to 4)')
    >>> judge(Value((0.27, 0.04, 0.83)), lambda share: share >= 1, "a sale brings {:.0%} of the loan")
    ('no', 'a sale brings 27% of the loan (4% to 83%)')
    """
    if not value.known:
        return "unknown", value.reasons[0]
    fine = [good(value.corners[c]) for c in (MIDDLE, ADVERSE, FAVOURABLE)]
    low, high = min(value.corners), max(value.corners)
    shape = words[words.index("{") : words.index("}") + 1]  # the ends in the unit of the number they belong to
    text = words.format(value.middle) + (f" ({shape.format(low)} to {shape.format(high)})" if low != high else "")
    return ("yes" if all(fine) else "depends" if any(fine) else "no"), text


def _tenor(state: State, f: int) -> Value:
    left = [months_left(debt, state.at.date()) for debt in state.pool_debts[f]]
    return combine(lambda *months: max(months), *left) if left else Value.unknown("no debt of the pool is known")


def _contracts(state: State, f: int) -> Made:
    if state.pools[f].facility.pool == "coins":
        return "no", "coins earn nothing under contract"
    life = collateral.contract_months(state.pools[f].facility.contracts, state.at.date())
    gap = combine(lambda contract, tenor: contract - tenor, life, _tenor(state, f))
    return judge(gap, lambda months: months >= 0, "{:+.0f} months of contracts against the loan")


def _life(state: State, f: int) -> Made:
    pool = state.pools[f].facility
    if pool.pool in ("lease_building", "coins"):
        return "yes", "buildings and coins do not wear out within a loan"
    mine = [i for i in range(len(state.lots.facility)) if int(state.lots.facility[i]) == f]
    known = [i for i in mine if state.lots.value_usd.known[i] and state.lots.dated[i]]
    if not known:
        return "unknown", "when the machines were bought was never reported"
    weights = [float(state.lots.value_usd.values[MIDDLE, i]) for i in known]
    ages = [collateral.months_between(state.lots.bought[i], state.at.date()) for i in known]
    age = sum(w * a for w, a in zip(weights, ages, strict=True)) / sum(weights) if sum(weights) else max(ages)
    life = state.assumptions.get("economic_life_months", state.kind(f))
    gap = combine(lambda whole, tenor: whole - age - tenor, life, _tenor(state, f))
    return judge(gap, lambda months: months >= 0, "{:+.0f} months of life against the loan")


def _saleable(sold: Field) -> Callable[[State, int], Made]:
    def mark(state: State, f: int) -> Made:
        cover = combine(lambda value, owed: value / owed, sold.at(f), state.principal.at(f))
        return judge(cover, lambda share: share >= 1, "a sale brings {:.0%} of the loan")

    return mark


def _price(state: State, f: int) -> Made:
    pool = state.pools[f].facility.pool
    if pool == "coins":
        daily = state.assumptions.get("coin_volatility_daily")
        return judge(daily, lambda sigma: sigma < 0.005, "the price moves {:.1%} a day")
    if pool == "lease_building":
        relet = state.assumptions.get("relet_share", state.kind(f))
        return judge(relet, lambda share: share >= 0.95, "re-lets at {:.0%} of the rent")
    decay = state.assumptions.get("decay_annual", state.kind(f))
    return judge(decay, lambda share: share <= STABLE_DECAY, "loses {:.0%} of its price a year")


def _counterparty(state: State, f: int) -> Made:
    names = sorted({contract.counterparty for contract in state.pools[f].facility.contracts})
    if state.pools[f].facility.pool == "coins":
        return "no", "coins have no counterparty that pays"
    if not names:
        return "unknown", "contracts were never reported"
    marks = {mark.subject: mark for mark in (state.book.marks if state.book else ()) if mark.series == "cds_5y_bp"}
    seen = []
    for name in names:
        value = quote_value(state.quotes.get(("cds_5y_bp", name)), "cds_5y_bp")
        if not value.known and name not in marks:
            return "unknown", f"no spread or rating of {name} is in the book"
        seen.append(value.middle if value.known else marks[name].value)
    worst = max(seen)
    return ("yes" if worst <= CREDITWORTHY_BP else "no"), f"{', '.join(names)}: CDS {worst:.0f} bp"


def _repaid(state: State, f: int) -> Made:
    open_terms, bullets = [], []
    for item in state.pool_debts[f]:
        if not item.number("principal_usd"):
            continue
        terms = item.debt
        if terms.amortisation == "bullet" or (terms.amortisation is None and terms.kind in BULLET_KINDS):
            bullets.append(terms.id)
        elif terms.amortisation is None:
            open_terms.append(terms.id)
    if bullets:
        return "no", f"repaid at the end: {', '.join(bullets)}"
    if open_terms:
        return "unknown", f"amortisation of {', '.join(open_terms)} was never reported"
    return "yes", "repaid along the way"
