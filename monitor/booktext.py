"""The shape of the book's files as a person writes them: one model per block, and the closed lists of names."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from monitor.model import Amortisation, BorrowerKind, BorrowerStatus, DebtKind, PoolType, Quality, Recourse
from monitor.yamltext import Quantity, Strict

#: borrower figures and their units; the closed list a book may use
BORROWER_FIELDS: dict[str, str] = {
    **dict.fromkeys(("cash_unrestricted_usd", "cash_restricted_usd", "cash_escrow_usd", "cash_total_usd"), "usd"),
    **dict.fromkeys(("btc_free", "btc_lent", "btc_pledged", "btc_restricted", "btc_total"), "btc"),
    **dict.fromkeys(("eth_free", "eth_staked", "eth_total"), "eth"),
    **dict.fromkeys(("debt_usd", "debt_current_usd", "interest_quarter_usd", "ebitda_adjusted_quarter_usd"), "usd"),
    **dict.fromkeys(
        (
            "revenue_quarter_usd",
            "revenue_mining_quarter_usd",
            "revenue_contracted_quarter_usd",
            "revenue_spot_quarter_usd",
            "revenue_cloud_quarter_usd",
            "revenue_hosting_quarter_usd",
        ),
        "usd",
    ),
    **dict.fromkeys(("capex_quarter_usd", "capex_committed_usd", "opex_quarter_usd", "power_cost_quarter_usd"), "usd"),
    **dict.fromkeys(("backlog_usd", "vie_assets_usd", "lease_liabilities_usd", "leases_not_commenced_usd"), "usd"),
    **dict.fromkeys(("customer_advances_usd", "deferred_revenue_usd", "impairment_quarter_usd"), "usd"),
    **dict.fromkeys(
        (
            "equipment_net_usd",
            "equipment_gross_usd",
            "technology_equipment_gross_usd",
            "construction_in_progress_usd",
            "depreciation_quarter_usd",
        ),
        "usd",
    ),
    "hashrate_eh": "EH/s",
    "power_price_usd_kwh": "usd/kWh",
    "efficiency_j_th": "J/TH",
    "contracted_share": "ratio",
    "useful_life_months": "months",
    "gpu_units": "count",
    "shares_outstanding": "count",
    "coins_sold_quarter_btc": "btc",
    "capacity_mw": "MW",
}
DEBT_FIELDS: dict[str, str] = dict.fromkeys(
    ("principal_usd", "undrawn_usd", "commitment_usd", "accreted_usd", "due_12m_usd"), "usd"
)
FACILITY_FIELDS: dict[str, str] = {
    **dict.fromkeys(
        (
            "cost_usd",
            "escrow_usd",
            "cfads_quarter_usd",
            "assets_net_usd",
            "noi_quarter_usd",
            "service_12m_usd",
            "service_quarter_usd",
            "collateral_usd",
        ),
        "usd",
    ),
    "coins_pledged_btc": "btc",
    "delivered_share": "ratio",
}
EVENT_KINDS = (
    *("bankruptcy", "acceleration", "non_reliance", "going_concern", "missed_payment", "surrender", "settlement"),
    *("delisting_notice", "auditor_change", "cfo_exit", "late_filing", "waiver", "deferral"),
    *("repurchase", "exchange", "due_outcome_paid", "due_outcome_extended", "new_debt", "reprice"),
    *("impairment", "officer_change", "useful_life_change"),
)
#: figures that are parts of a whole
SHARES = {"contracted_share", "delivered_share"}
#: figures that may be below zero
SIGNED = {"ebitda_adjusted_quarter_usd", "cfads_quarter_usd", "noi_quarter_usd", "power_price_usd_kwh"}

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")]


# ---------------------------------------------------------------- what a person writes
class Dated(Strict):
    """Dates, quality and source of a group of figures; ``published_by`` is an upper bound of the publication date."""

    as_of: date
    published: date | None = None
    published_by: date | None = None
    quality: Quality
    source: str
    note: str = ""

    @model_validator(mode="after")
    def _dates_in_order(self) -> Dated:
        known = self.published or self.published_by
        if known is not None and known < self.as_of:
            raise ValueError(
                f"published {known} lies before as_of {self.as_of}: nothing is published before it is true"
            )
        if not date(2009, 1, 3) <= self.as_of <= date(2100, 1, 1):
            raise ValueError(f"as_of {self.as_of} is not a plausible date")
        return self


class FactGroup(Dated):
    values: dict[str, Quantity | None]


class CovenantsText(Strict):
    dscr_min: Quantity | None = None
    dscr_basis: Literal["quarter", "ltm", "forward_12m"] = "quarter"
    lockup_dscr: Quantity | None = None
    cash_sweep: Quantity | None = None
    ltv_max: Quantity | None = None
    liquidity_min_usd: Quantity | None = None
    margin_call_ltv: Quantity | None = None
    cure_ltv: Quantity | None = None
    liquidation_ltv: Quantity | None = None
    cure_hours: Quantity | None = None
    quality: Quality = "assumed"


class PutText(Strict):
    on: date
    price: Quantity = 1.0


class DebtText(Strict):
    id: Slug
    name: str
    kind: DebtKind
    facts: list[FactGroup] = Field(min_length=1)
    coupon: Quantity | None = None
    base: str | None = None
    margin: Quantity | None = None
    hedged_share: Annotated[Quantity, Field(ge=0, le=1)] | None = None
    hedged_rate: Quantity | None = None
    issued: date | None = None
    maturity: date | None = None
    maturity_earliest: date | None = None
    amortisation: Amortisation | None = None
    schedule: dict[date, Quantity] = {}
    puts: list[PutText] = []
    conversion_price_usd: Annotated[Quantity, Field(gt=0)] | None = None
    accretion: Annotated[Quantity, Field(ge=1)] | None = None
    entity: str | None = None
    lien: str | None = None
    recourse: Recourse | None = None
    guarantor: str | None = None
    recourse_cap_usd: Quantity | None = None
    recourse_end: date | None = None
    cross_default_usd: Quantity | None = None
    covenants: CovenantsText = CovenantsText()
    lender: str | None = None
    was: Slug | None = None
    note: str = ""


class UnitsText(Dated):
    model: str
    bought: date
    units: Annotated[Quantity, Field(ge=0)]


class VintageText(Dated):
    bought: date
    cost_usd: Annotated[Quantity, Field(ge=0)]
    model_mix: dict[str, Annotated[Quantity, Field(ge=0, le=1)]] = {}


class ContractText(Dated):
    id: Slug
    counterparty: Slug
    monthly_revenue_usd: Annotated[Quantity, Field(ge=0)] | None = None
    starts: date | None = None
    ends: date | None = None


class FacilityText(Strict):
    id: Slug
    name: str
    debts: list[Slug]
    pool: PoolType
    entity: str | None = None
    units: list[UnitsText] = []
    cost_vintages: list[VintageText] = []
    contracts: list[ContractText] = []
    facts: list[FactGroup] = []
    advance_rate: Annotated[Quantity, Field(gt=0, le=1.5)] | None = None
    useful_life_months: Annotated[Quantity, Field(gt=0)] | None = None
    covenants: CovenantsText = CovenantsText()
    was: Slug | None = None
    note: str = ""


class MaturityText(Dated):
    principal_usd: dict[str, Annotated[Quantity, Field(ge=0)]]


class EventText(Strict):
    kind: str
    happened: date
    published: date | None = None
    published_by: date | None = None
    source: str
    note: str = ""


class BorrowerText(Strict):
    """One file ``book/<id>.yaml``."""

    name: str
    kind: BorrowerKind
    status: BorrowerStatus = "watched"
    ticker: str | None = None
    cik: int | None = None
    tenants: dict[str, Annotated[Quantity, Field(ge=0, le=1)]] = {}
    facts: list[FactGroup] = []
    debts: list[DebtText] = []
    facilities: list[FacilityText] = []
    maturities: list[MaturityText] = []
    events: list[EventText] = []
    missing: list[str] = []
    was: Slug | None = None
    note: str = ""


class MarkText(Dated):
    series: str
    subject: str = "market"
    value: Quantity
    unit: str


class MarksText(Strict):
    """The file ``book/marks.yaml``."""

    marks: list[MarkText] = []


class AssumptionText(Strict):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")]
    kind: Literal["miner", "neocloud", "hpc_host", "private", "all"] = "all"
    low: Quantity
    middle: Quantity
    high: Quantity
    unit: str
    why: str
    source: str

    @model_validator(mode="after")
    def _ordered(self) -> AssumptionText:
        if not self.low <= self.middle <= self.high:
            raise ValueError("write low, middle and high in ascending order")
        return self


class AssumptionsText(Strict):
    """The file ``book/_assumptions.yaml``."""

    assumptions: list[AssumptionText] = []
