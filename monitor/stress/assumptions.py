"""Where a single figure comes from: a fact of a document, a quote, or an assumption with its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Literal

from monitor.known import KnownDebt, as_number
from monitor.model import Assumption, Fact, Quote, end_of_day
from monitor.stress.field import INF, Value
from monitor.units import format_usd

#: which end of an assumption is the adverse one; a narrower name (``decay_annual_h100``) has the end of its stem
ADVERSE: dict[str, Literal["low", "high"]] = {
    "decay_annual": "high",
    "market_to_book": "low",
    "unit_cost_usd": "low",  # cheaper units mean more of them for the same cost, and a deeper sale
    "gpu_mix": "low",
    "liquidation_haircut": "low",
    "depth_units": "low",
    "useful_life_months": "low",
    "economic_life_months": "low",
    "margin_call_ltv": "low",
    "cure_ltv": "low",
    "liquidation_ltv": "low",
    "impact_y": "high",
    "coin_volatility_daily": "high",
    "coin_volume_usd_day": "low",
    "coin_sale_days": "low",
    "sofr": "high",
    "unstated_rate": "high",
    "hedged_share": "low",
    "contracted_share": "low",
    "contract_margin": "low",
    "ebitda_margin": "low",
    "coins_unreported_months": "low",
    "largest_tenant_share": "high",
    "due_undated_share": "high",
    "discount_rate": "high",
    "relet_share": "low",
    "building_haircut": "low",
    "crypto_vol": "high",
    "rental_vol": "high",
    "spread_vol": "high",
    "base_vol": "high",
    "spread_today": "high",
    "refi_shut_above": "low",
    "loss_chance": "high",
    "contract_sigma": "high",
    "vacancy_months": "high",
    "power_price_usd_kwh": "high",
    "efficiency_j_th": "high",
    "recourse_share_limited": "low",
    "recourse_share_springing": "low",
    "bankruptcy_kept": "low",
    "advance_rate": "low",
    "equity_volatility": "high",
}


@dataclass(frozen=True)
class Assumptions:
    """The numbers nobody disclosed, looked up by name and kind of borrower; a missing one is unknown, by name."""

    values: Mapping[tuple[str, str], Value]

    @staticmethod
    def of(rows: Sequence[Assumption]) -> Assumptions:
        """From the rows of a book; of two rows of one name and kind the last one counts."""
        return Assumptions({(row.name, row.kind): _with_ends(row) for row in rows})

    def get(self, name: str, kind: str = "all", model: str = "") -> Value:
        """Middle, adverse and favourable value; the narrowest row wins: model and kind, model, kind, all.

        ``model`` is a model of hardware, or a kind of debt.

        >>> rows = [Assumption("decay_annual", "all", 0.15, 0.25, 0.35, "ratio", "a market", "a study")]
        >>> Assumptions.of(rows).get("decay_annual", "miner").corners
        (0.25, 0.35, 0.15)
        >>> Assumptions.of(rows).get("impact_y").reasons
        ("assumption 'impact_y' (all) is not in _assumptions.yaml",)
        """
        for own in (f"{name}_{model.lower()}", name) if model else (name,):
            if value := self.values.get((own, kind)) or self.values.get((own, "all")):
                return value
        return Value.unknown(f"assumption {name!r} ({kind}) is not in _assumptions.yaml")


def _with_ends(row: Assumption) -> Value:
    stems = [stem for stem in ADVERSE if row.name == stem or row.name.startswith(f"{stem}_")]
    ends = (row.high, row.low) if stems and ADVERSE[max(stems, key=len)] == "high" else (row.low, row.high)
    return Value((row.middle, *ends), (), (f"{row.name} {_shown(row.middle)} ({_span(row)}assumed)",))


def _shown(number: float) -> str:
    return format_usd(number) if abs(number) >= 1e6 else f"{number:g}"


def _span(row: Assumption) -> str:
    return "" if row.low == row.high else f"{_shown(row.low)} to {_shown(row.high)}, "


@lru_cache(maxsize=4096)
def seconds(day: date) -> float:
    """The end of a day as epoch seconds."""
    return end_of_day(day).timestamp()


def fact_value(facts: Mapping[str, Fact], name: str, at: datetime) -> Value:
    """A figure of a document, with its date; derived and assumed ones say so."""
    number = as_number(facts.get(name))
    if number is None:
        return Value.unknown(f"{name} was never reported (or not before {at.date()})")
    fact = facts[name]
    used = (f"{name} ({fact.quality})",) if fact.quality in ("derived", "assumed") else ()
    return Value.exact(number, seconds(fact.as_of), used)


def quote_value(quote: Quote | None, series: str) -> Value:
    """A price in force, or why there is none."""
    if quote is None:
        return Value.unknown(f"{series} was never observed")
    if quote.reason:
        return Value.unknown(f"{series}: {quote.reason}")
    used = (f"{series} ({quote.quality})",) if quote.quality in ("derived", "assumed") else ()
    as_of = INF if quote.observed_at is None else quote.observed_at.timestamp()
    return Value.exact(quote.value, as_of, used, quote.in_doubt)


def amount_owed(debt: KnownDebt, at: datetime) -> Value:
    """What an instrument owes now: accreted where it accretes, else principal."""
    accreted = fact_value(debt.facts, "accreted_usd", at)
    if accreted.known:
        return accreted
    principal = fact_value(debt.facts, "principal_usd", at)
    if not principal.known:
        return Value.unknown(f"{debt.debt.id}: {principal.reasons[0]}")
    return principal
