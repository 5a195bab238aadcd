"""Metric names, numbers and a past for the tests of the rule language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from monitor.model import Column, Numbers
from monitor.values import NameInfo

_MARKET = (
    "btc_usd:usd eth_usd:usd difficulty:number hashprice_usd_ph_day:usd/ph/day hashprice_7d:usd/ph/day "
    "rent_h100_on_demand_usd:usd/gpu-hour "
    "rent_h100_index_usd:usd/gpu-hour rent_h100_list_usd:usd/gpu-hour resale_h100_usd:usd hy_spread_bp:bp "
    "same_rating_new_issue_change_bp:bp sector_debt_usd:usd"
)
_BORROWER = (
    "debt_usd:usd net_debt_usd:usd debt_growth_12m:ratio cash_unrestricted_usd:usd:min coins_free:btc:min "
    "coins_pledged:btc coins_lent:btc coins_restricted:btc coins_total:btc:min coins_value_usd:usd:min "
    "pledged_share:ratio due_12m_usd:usd liquidity_locked_12m:x:min liquidity_18m:x:min put_due_18m_usd:usd "
    "interest_cover:x:min debt_service_cover:x:min runway_months:months:min coin_cover_btc_usd:usd "
    "days_to_next_due:days:min due_outcome:flag distress_filing_age:s:min distress_warning_age:s:min "
    "funding_gap_12m_usd:usd net_debt_cut_90d:usd:min coins_sold_usd_90d:usd topup_cover:x:min "
    "cash_cost_usd_ph_day:usd/ph/day tenant_share:ratio tenant_critical:flag tenant_spread_bp:bp "
    "tenant_rating_cut:flag share_price_usd:usd:min conversion_usd:usd bond_price:points:min cds_5y_bp:bp "
    "hardware_mark:usd:min balance_sheet_age:s contract_life_months:months:min economic_life_months:months:min "
    "tenor_months:months coverage:x:min insufficient_data:flag watched:flag canary_rank:number:min cascade_debt_usd:usd"
)
_FACILITY = (
    "principal_usd:usd ltv_contractual:ratio ltv_economic:ratio ltv_liquidation:ratio dscr:x:min "
    "spv_ltv_economic:ratio spv_dscr:x:min recourse_share:ratio:min dscr_headroom:x:min ltv_headroom:ratio:min "
    "margin_call_btc_usd:usd liquidation_btc_usd:usd facility_tenor_months:months "
    "facility_contract_gap_months:months facility_economic_gap_months:months collateral_economic_usd:usd:min "
    "collateral_liquidation_usd:usd:min"
)


_SOURCE = "source_silent:s"


def _table() -> dict[str, NameInfo]:
    names = {}
    for level, listed in (("market", _MARKET), ("borrower", _BORROWER), ("facility", _FACILITY), ("source", _SOURCE)):
        for entry in listed.split():
            name, unit, worst = (*entry.split(":"), "max")[:3]
            names[name] = NameInfo(level, unit, worst)
    return names


NAMES = _table()
SCENARIOS = ("crypto_winter", "rental_glut", "credit_freeze", "contract_loss", "next_generation", "joint_collapse")


@dataclass(frozen=True)
class Steps:
    """The known past of one metric: per subject, when which value began to hold."""

    past: tuple[tuple[tuple[float, float], ...], ...]
    unit: str = ""

    def at(self, when_s: float) -> tuple[np.ndarray, np.ndarray]:
        held = [[value for time, value in steps if time <= when_s] for steps in self.past]
        values = np.array([values[-1] if values else np.nan for values in held])
        return values, ~np.isnan(values)

    def window(self, subject: int, from_s: float, to_s: float) -> tuple[np.ndarray, np.ndarray]:
        inside = [step for step in self.past[subject] if from_s < step[0] <= to_s]
        chosen = [(from_s, float(self.at(from_s)[0][subject])), *inside]
        return np.array([t for t, _ in chosen]), np.array([v for _, v in chosen])


AT = datetime(2026, 8, 31, tzinfo=UTC)
BORROWERS = ("alpha", "beta", "gamma")
SOURCES = ("market/kraken",)
FACILITIES = ("alpha/one", "alpha/two", "beta/one")


def numbers(history: dict[str, Steps] | None = None, **values: list[float | None]) -> Numbers:
    """Numbers of three borrowers and three facilities (gamma has none); None is unknown."""
    columns = {}
    for name, listed in values.items():
        known = np.array([value is not None for value in listed])
        array = np.array([np.nan if value is None else float(value) for value in listed])
        missing = {i: "no filing" for i, ok in enumerate(known) if not ok}
        columns[name] = Column(name, NAMES[name].level, NAMES[name].unit, array, known, missing)
    subjects = {"market": ("market",), "borrower": BORROWERS, "facility": FACILITIES, "source": SOURCES}
    owner = np.array([0, 0, 1])
    return Numbers(AT, subjects, columns, history=(history or {}).get, facility_borrower=owner)
