"""The columns of a tape as rows of the cell, without a Python object per loan. Pure.

An obligor's row asks what the row of a borrower of the book asks: can it pay. All its debt is one balance at today's
average rate; what falls due follows each loan's own maturity. A loan to value, where the tape gives units, a value and
a limit, is tested at market. The same figures through the book give the same answers; the tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from monitor.large.tape import Tape
from monitor.model import FloatArray
from monitor.stress.due import MONTH_DAYS
from monitor.stress.inputs import CellInputs
from monitor.stress.obligor import MANY

#: customers with an axis of their own; the rest are many and never lost together
LARGEST = 12
#: what machines are called where the tape names no model
UNNAMED_MODEL = "GPU"
#: known tests by position: coverage, loan to value, liquidity, margin call, maturity
LTV, LIQUIDITY, MATURITY = 1, 2, 4


@dataclass(frozen=True)
class Cells:
    """Rows of the cell, their names, and the axes of the paths they run on."""

    names: tuple[str, ...]
    inputs: CellInputs
    counterparties: tuple[str, ...]
    models: tuple[str, ...]
    depth_units: FloatArray


def cells_of(
    tape: Tape, at: date, n_periods: int, base_rate: float, depth_units: dict[str, float], coin_impact: float
) -> Cells:
    """One row an obligor over ``n_periods`` months from ``at``. ``depth_units``: model -> units its market absorbs;
    ``coin_impact``: of a coin sale, per sqrt(USD), NaN where it or the price of the coin is not known.

    What the tape does not give is unknown where a test needs it: no units or no limit, no loan to value.
    """
    n = len(tape.obligors)
    customers = _largest(tape)
    models = tuple(sorted({word for word in tape.words.get("model", ()) if word})) or (UNNAMED_MODEL,)
    scheduled, bullet = _due(tape, at, n_periods)
    principal = _sum(tape, tape.loans["principal_usd"])
    fixed, floating, margin = _rates(tape, principal, base_rate)
    mining, contracted, spot = (
        _own(tape, name, 0.0) / 12 for name in ("mining_12m_usd", "contracted_12m_usd", "spot_12m_usd")
    )
    costs = mining + contracted + spot - _own(tape, "cfads_12m_usd", np.nan) / 12
    by_customer, by_model, units = np.zeros((n, len(customers))), np.zeros((n, len(models))), np.zeros((n, len(models)))
    each, every = np.arange(n), _own(tape, "units", 0.0)
    by_customer[
        each, [customers.index(name if name in customers else MANY) for name in _words(tape, "counterparty")]
    ] = contracted
    # spot revenue of machines nobody named moves with the first model's rent, as all rents move together
    model = [models.index(name) if name in models else 0 for name in _words(tape, "model")]
    by_model[each, model], units[each, model] = spot, every
    value, coins = _own(tape, "unit_value_usd", np.nan), _own(tape, "coins_free_btc", 0.0)
    inputs = CellInputs.build(
        n, n_periods, n_models=len(models), n_counterparties=len(customers), n_debts=1, ltv_basis="economic",
        known=_known(tape),
        mining_usd=mining, contracted_usd=by_customer, spot_usd=by_model,
        opex_usd=costs[:, None], cash_usd=_own(tape, "cash_usd", np.nan),
        coins_free=np.where((coins > 0) & np.isnan(coin_impact), np.nan, coins),
        coin_impact=np.where(coins > 0, np.nan_to_num(coin_impact), 0.0),
        debt_usd=principal[:, None], fixed_rate=fixed[:, None], floating_share=floating[:, None],
        margin=margin[:, None], secured=np.ones((n, 1)),
        principal_usd=scheduled[:, None], bullet_usd=bullet[:, None], units=units,
        unit_value_usd=np.where(units > 0, value[:, None], 0.0), ltv_max=_own(tape, "ltv_max", np.inf),
        liquidity_min_usd=_own(tape, "liquidity_min_usd", 0.0),
        depth_units=np.array([depth_units.get(model, np.inf) for model in models]),
    )  # fmt: skip
    return Cells(tape.obligors, inputs, customers, models, inputs.depth_units)


def _largest(tape: Tape) -> tuple[str, ...]:
    """The customers that pay most over the whole tape, and the many."""
    paid: dict[str, float] = {}
    for name, usd in zip(_words(tape, "counterparty"), _own(tape, "contracted_12m_usd", 0.0), strict=True):
        if name:
            paid[name] = paid.get(name, 0.0) + float(usd)
    return (*sorted(sorted(paid, key=lambda name: -paid[name])[:LARGEST]), MANY)


def _own(tape: Tape, name: str, absent: float) -> FloatArray:
    """A figure of each obligor; ``absent`` where the tape has no such column or leaves it empty."""
    found = tape.own.get(name)
    return np.full(len(tape.obligors), absent) if found is None else np.where(np.isnan(found), absent, found)


def _words(tape: Tape, name: str) -> tuple[str, ...]:
    return tape.words.get(name, ("",) * len(tape.obligors))


def _sum(tape: Tape, values: FloatArray) -> FloatArray:
    return np.add.reduceat(values, tape.first[:-1])


def _rates(tape: Tape, principal: FloatArray, base_rate: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(B,) today's average rate, share of principal that floats, and its margin over the base rate.

    As for a borrower of the book the balance pays one rate today, and its floating share moves with the base rate.
    """
    owed, nothing = tape.loans["principal_usd"], np.full(len(tape.loans["principal_usd"]), np.nan)
    fixed, margin = tape.loans.get("fixed_rate", nothing), tape.loans.get("margin", nothing)
    today = np.where(np.isnan(fixed), margin + base_rate, fixed)
    size = np.where(principal > 0, principal, 1.0)
    rate = _sum(tape, owed * today) / size
    return rate, _sum(tape, np.where(np.isnan(fixed), owed, 0.0)) / size, rate - base_rate


def _due(tape: Tape, at: date, n_periods: int) -> tuple[FloatArray, FloatArray]:
    """(B,T) scheduled and bullet principal. What is overdue falls due at once; a straight line pays every month,
    and of its last one the part that is left."""
    left = np.maximum((tape.maturity - np.datetime64(at)).astype(np.int64) / MONTH_DAYS, 1e-9)
    month = np.floor(left).astype(np.int64)
    owner = np.repeat(np.arange(len(tape.obligors)), np.diff(tape.first))
    owed = tape.loans["principal_usd"]
    bullet, scheduled = np.zeros((len(tape.obligors), n_periods)), np.zeros((len(tape.obligors), n_periods))
    once = ~tape.straight & (month < n_periods)
    np.add.at(bullet, (owner[once], month[once]), owed[once])
    for t in range(n_periods):
        paid = np.where(tape.straight, owed * np.clip(left - t, 0.0, 1.0) / left, 0.0)
        scheduled[:, t] = np.bincount(owner, paid, len(tape.obligors))
    return scheduled, bullet


def _known(tape: Tape) -> np.ndarray:
    """(B,5) tests the tape can answer: liquidity and maturity of whole obligors, loan to value where it is given."""
    known = np.zeros((len(tape.obligors), 5), bool)
    known[:, [LIQUIDITY, MATURITY]] = tape.whole[:, None]
    given = ~np.isnan(_own(tape, "unit_value_usd", np.nan)) & (_own(tape, "units", 0.0) > 0)
    known[:, LTV] = tape.whole & given & np.isfinite(_own(tape, "ltv_max", np.inf))
    return known
