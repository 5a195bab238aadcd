"""Stress metrics: chance of default, distance to breach, who breaks first and what its fall drags down.

Worked out together, once per state, the first time one of them is asked for; equal inputs are answered from what was
already worked out. Low and high of these columns are over all runs and corners, not over the three corners alone.
"""

from __future__ import annotations

from monitor.metrics_base import View, metric
from monitor.stress.answers import ask, chances
from monitor.stress.bridge import Figures
from monitor.stress.canary import QUARTERS, canary
from monitor.stress.creditors import creditor_loss
from monitor.stress.distance import distance
from monitor.stress.equity import distances
from monitor.stress.field import Field
from monitor.stress.state import State

NEEDS = ("cash_unrestricted_usd", "ebitda_adjusted_quarter_usd", "interest_quarter_usd", "debts")


def _once(view: View, name: str) -> Field:
    """One of the answers; all of them are worked out at the first call for a state."""
    state = view.state
    if ("stress", name) not in state.memo:
        for key, field in _answers(state).items():
            state.memo["stress", key] = field
    return state.memo["stress", name]


def _answers(state: State) -> dict[str, Field]:
    figures = Figures(state)
    long = ask(state, n_periods=QUARTERS, dt_years=0.25, figures=figures)
    table = canary(state, question=long)
    return {
        "pd_12m": chances(ask(state, figures=figures), n_paths=state.draws.n_paths).pd,
        "distance_sigma": distance(long.until(4)),
        "first_breach_months": table.first_breach_months,
        "canary_rank": table.rank,
        "canary_damage_usd": table.damage_usd,
        "cascade_debt_usd": table.cascade_debt_usd,
    }


@metric("borrower", "ratio", "max", needs=NEEDS, costly=True)
def pd_12m(view: View) -> Field:
    """Chance that the obligor cannot pay within a year, run-off; a range over assumptions and correlation. Unknown
    where a tested covenant level is assumed."""
    return _once(view, "pd_12m")


@metric("borrower", "sigma", "min", needs=NEEDS, costly=True)
def distance_sigma(view: View) -> Field:
    """Smallest joint shock that breaks a test within a year when nothing is refinanced, in standard deviations."""
    return _once(view, "distance_sigma")


@metric("borrower", "months", "min", needs=NEEDS, costly=True)
def first_breach_months(view: View) -> Field:
    """Median month of the first breach when nothing is refinanced; unlimited beyond five years."""
    return _once(view, "first_breach_months")


@metric("borrower", "number", "min", needs=NEEDS, costly=True)
def canary_rank(view: View) -> Field:
    """Place by earliness times damage, 1 first to watch; among borrowers that can be judged."""
    return _once(view, "canary_rank")


@metric("borrower", "usd", "max", needs=NEEDS, costly=True)
def canary_damage_usd(view: View) -> Field:
    """Own debt, debt of others that falls with it, and cover others lose when its pledged pools are sold."""
    return _once(view, "canary_damage_usd")


@metric("borrower", "usd", "max", needs=NEEDS, costly=True)
def cascade_debt_usd(view: View) -> Field:
    """Debt that defaults when this borrower falls, its own included."""
    return _once(view, "cascade_debt_usd")


@metric("borrower", "usd", "max", needs=("debts", "cash_unrestricted_usd", "equipment_net_usd"), costly=True)
def creditor_loss_usd(view: View) -> Field:
    """What its own creditors lose if it falls now and nobody else does: debt less what its pools bring in one sale and
    what is left of its cash, coins and machines. Unknown where assets nobody valued would count as nothing."""
    return creditor_loss(view.state)


@metric("borrower", "sigma", "min", needs=("share_price_usd", "shares_outstanding", "debt_usd"))
def equity_distance_sigma(view: View) -> Field:
    """Distance to default in standard deviations as its share price has it (Merton): market value, its assumed
    volatility, all debt due in a year."""
    return distances(view.state)[0]


@metric("borrower", "ratio", "max", needs=("share_price_usd", "shares_outstanding", "debt_usd"))
def equity_pd_12m(view: View) -> Field:
    """Chance of default within a year as its share price has it (Merton); a market's view, beside pd_12m."""
    return distances(view.state)[1]
