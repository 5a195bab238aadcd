"""Stress scenarios: named moves of factors, and how they act on a state. Pure.

:func:`apply` applies a scenario at once and in full. Where months are looked at (first breach, paths, the build case)
a move comes in evenly over its ``over_months``, the capex rule holds while refinancing is shut, and a stated
correlation of two axes replaces the set of three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from monitor.stress.state import Factors, ResidualMove, State

Verb = Literal["by", "to", "add"]


@dataclass(frozen=True, slots=True)
class FactorInfo:
    """One thing a scenario may move: which verbs make sense, within which bounds, on which part of the book."""

    verbs: tuple[Verb, ...]
    low: float
    high: float
    where: tuple[str, ...]
    unit: str
    meaning: str


def _price(meaning: str, *where: str) -> FactorInfo:
    return FactorInfo(("by", "to"), 0.0, 100.0, where, "multiple of today", meaning)


#: every factor by name; bounds are on the resulting level
FACTORS: dict[str, FactorInfo] = {
    "btc": _price("price of Bitcoin; hashprice follows it unless the scenario moves hashprice itself"),
    "eth": _price("price of Ether"),
    "hashprice": _price("what a petahash earns a day, difficulty included"),
    "rent": _price("market rent of a GPU-hour; contracted revenue does not follow it", "model"),
    "residual": _price("used price of hardware", "model", "vintage"),
    "utilisation": _price("share of spot hours sold"),
    "power": _price("price of power"),
    "contract_loss": FactorInfo(
        ("to",), 0.0, 1.0, ("counterparty",), "share lost", "contracted revenue lost; 'largest' is the largest customer"
    ),
    "delay_months": FactorInfo(
        ("to", "add"), 0.0, 60.0, (), "months", "late start of contracts that have not started; the build case only"
    ),
    "base_rate": FactorInfo(
        ("add",), -0.2, 0.5, (), "fraction a year", "reference rate; costs the unhedged floating part"
    ),
    "spread": FactorInfo(
        ("add",), -0.2, 0.5, (), "fraction a year", "credit spread: discounts leases; an existing loan is not repriced"
    ),
    "refinancing": FactorInfo(("to",), 0.0, 1.0, (), "1 open, 0 shut", "shut: undecided puts come, revolvers end"),
}


@dataclass(frozen=True, slots=True)
class Move:
    """One move: ``by`` -0.4 is 40 % lower, ``to`` is the level itself, ``add`` is added. Where: all conditions hold."""

    factor: str
    verb: Verb
    amount: float
    model: str = ""
    counterparty: str = ""
    before: date | None = None
    since: date | None = None
    over_months: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """A named set of moves. ``capex_rule``: whether committed capex goes on while refinancing is shut (it enters first
    breach and paths); ``correlation``: of two axes of simulated paths, in place of the set of three (:func:`pairs`)."""

    name: str
    moves: tuple[Move, ...] = ()
    note: str = ""
    capex_rule: Literal["stop", "committed"] = "committed"
    correlation: Mapping[str, float] = field(default_factory=dict)
    file: str = ""


#: factors that have an axis of their own on simulated paths
PATH_AXES = {"btc": "crypto", "rent": "rental", "spread": "spread"}


def pairs(scenario: Scenario) -> tuple[tuple[str, str, float], ...]:
    """The stated correlations by axis of the paths; ValueError for a factor without one.

    >>> pairs(Scenario("s", correlation={"btc/rent": 0.7}))
    (('crypto', 'rental', 0.7),)
    """
    found = []
    for pair, value in scenario.correlation.items():
        one, _, other = pair.partition("/")
        if one not in PATH_AXES or other not in PATH_AXES:
            raise ValueError(f"correlation {pair}: only {', '.join(PATH_AXES)} have an axis on simulated paths")
        found.append((PATH_AXES[one], PATH_AXES[other], value))
    return tuple(found)


def apply(state: State, scenario: Scenario) -> State:
    """The same state under a scenario; moves of one factor multiply (or add) up in the order written.

    Hashprice follows Bitcoin one for one unless the scenario moves hashprice itself: at a given difficulty it is
    proportional to the price.
    """
    factors = state.factors
    for move in scenario.moves:
        factors = _moved(factors, move)
    if not any(move.factor == "hashprice" for move in scenario.moves):
        ratio = factors.btc / state.factors.btc if state.factors.btc else 1.0
        factors = replace(factors, hashprice=factors.hashprice * ratio)
    return state.under(factors)


def _moved(factors: Factors, move: Move) -> Factors:
    """One move applied.

    >>> _moved(Factors(), Move("btc", "by", -0.4)).btc
    0.6
    >>> _moved(Factors(), Move("rent", "to", 0.5, model="H100")).rent_of("H100")
    0.5
    """
    name, amount = move.factor, move.amount
    multiple = 1 + amount if move.verb == "by" else amount
    if name == "rent":
        model = move.model.upper()
        return replace(factors, rent={**factors.rent, model: factors.rent.get(model, 1.0) * multiple})
    if name == "residual":
        step = ResidualMove(multiple, move.model, move.before, move.since)
        return replace(factors, residual=(*factors.residual, step))
    if name == "contract_loss":
        kept = (1 - factors.contract_loss.get(move.counterparty, 0.0)) * (1 - amount)
        return replace(factors, contract_loss={**factors.contract_loss, move.counterparty: 1 - kept})
    now: float = getattr(factors, name)
    level = now + amount if move.verb == "add" else amount
    if name not in ("base_rate", "spread", "delay_months", "refinancing"):
        level = now * multiple
    changed: dict[str, Any] = {name: level}
    return replace(factors, **changed)
