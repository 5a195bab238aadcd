"""The numbers a rule can name: worked examples, laws, and honesty about what is unknown."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_book import AT, COREWEAVE, HEAD, IRIS, MARA, borrower, debt, known, numbers, pool, scenario

from monitor.metrics import METRICS, compute
from monitor.metrics_market import step_mean
from monitor.model import Assumption, Column, Mark, Numbers, Quote, end_of_day
from monitor.scenariofile import load_scenarios

SCENARIOS = Path(__file__).parents[1] / "scenarios"


def value(result: Numbers, metric: str, subject: str = "a") -> float:
    """One number; fails where it is unknown, with the reason."""
    column = result.columns[metric]
    i = result.subjects[column.level].index(subject)
    assert column.known[i], column.reasons[i]
    return float(column.values[i])


def reason(result: Numbers, metric: str, subject: str = "a") -> str:
    """Why one number is unknown; fails where it is known."""
    column = result.columns[metric]
    i = result.subjects[column.level].index(subject)
    assert not column.known[i], column.values[i]
    return column.reasons[i]


# ---------------------------------------------------------------- the registry
def test_every_metric_of_the_agreed_list_is_registered_with_its_unit_and_level():
    """Rules of day one name these; the registry is what they are checked against."""
    borrower_units = {
        **dict.fromkeys(("debt_usd", "net_debt_usd", "due_12m_usd", "put_due_18m_usd", "coin_cover_btc_usd"), "usd"),
        **dict.fromkeys(("liquidity_locked_12m", "liquidity_18m", "interest_cover", "topup_cover", "coverage"), "x"),
        **dict.fromkeys(("distress_filing_age", "distress_warning_age", "balance_sheet_age"), "s"),
        **dict.fromkeys(("runway_months", "contract_life_months", "economic_life_months", "tenor_months"), "months"),
        **dict.fromkeys(("due_outcome", "tenant_critical", "tenant_rating_cut", "insufficient_data"), "flag"),
        **{"days_to_next_due": "days", "bond_price": "points", "cds_5y_bp": "bp", "coins_free": "btc"},
    }
    facility = ("principal_usd", "ltv_contractual", "ltv_economic", "ltv_liquidation", "dscr", "spv_ltv_economic")
    facility = (*facility, "spv_dscr", "recourse_share", "dscr_headroom", "ltv_headroom", "margin_call_btc_usd")
    facility = (*facility, "liquidation_btc_usd", "facility_tenor_months", "facility_contract_gap_months")
    facility = (*facility, "facility_economic_gap_months", "collateral_economic_usd", "collateral_liquidation_usd")
    for name, unit in borrower_units.items():
        assert (METRICS[name].level, METRICS[name].unit) == ("borrower", unit), name
    assert all(METRICS[name].level == "facility" for name in facility)
    assert METRICS["margin_call_btc_usd"].worst == "max"
    assert METRICS["dscr"].worst == "min"
    for info in METRICS.values():
        assert info.doc, info.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", info.name)


def assert_whole(result: Numbers) -> None:
    """One entry per subject, NaN exactly where unknown, a reason exactly there, the ends around the middle."""
    columns = [*result.columns.values(), *(c for table in result.scenarios.values() for c in table.values())]
    assert set(result.columns) == set(METRICS)
    for column in columns:
        n = len(result.subjects[column.level])
        assert column.values.shape == column.known.shape == (n,), column.metric
        assert (np.isnan(column.values) == ~column.known).all(), column.metric
        assert set(column.reasons) == set(np.flatnonzero(~column.known).tolist()), column.metric
        assert all(column.reasons.values()), column.metric
        assert column.low is not None
        assert column.high is not None
        known = column.known
        assert (column.low[known] <= column.values[known]).all(), column.metric
        assert (column.values[known] <= column.high[known]).all(), column.metric


def test_columns_are_whole():
    """Three borrowers from well known to empty, under all scenarios, give columns a rule can rely on."""
    texts = {"coreweave": COREWEAVE, "mara": MARA, "empty": borrower("private")}
    assert_whole(numbers(texts, *load_scenarios(SCENARIOS), btc_usd=84_000.0))


FIELDS = (
    *("debt_usd", "debt_current_usd", "cash_unrestricted_usd", "btc_free", "btc_total", "ebitda_adjusted_quarter_usd"),
    *("interest_quarter_usd", "capex_committed_usd", "btc_pledged"),
    "revenue_quarter_usd",
    "contracted_share",
    "hashrate_eh",
    "equipment_net_usd",
    "eth_total",
)
some_facts = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(["0", "1", "0.5", "900m", "3bn"]), max_size=9)
pools = st.sampled_from(
    [
        ("hardware", "assets_net_usd: 0"),
        ("hardware", "collateral_usd: 60m, escrow_usd: 1m"),
        ("hardware", "cost_usd: 0, service_12m_usd: 0"),
        ("coins", "coins_pledged_btc: 0"),
        ("coins", "coins_pledged_btc: 1000"),
        ("lease_building", "noi_quarter_usd: 1m"),
        ("none", "escrow_usd: 1"),
        ("hardware", ""),
    ]
)
terms = st.sampled_from(["", "maturity: 2026-08-01", "coupon: 0%, puts: [{on: 2027-01-01}]", "base: SOFR, margin: 2%"])


@given(
    st.sampled_from(["miner", "neocloud", "hpc_host", "private"]),
    some_facts,
    pools,
    terms,
    st.sampled_from(["0", "80m"]),
    st.sampled_from(["btc_loan", "ddtl", "convertible"]),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_any_book_gives_whole_columns(kind, facts, pooled, written, principal, what, priced):
    """Whatever is left out or zero, nothing raises and nothing is a number without being known."""
    rest = "debts:\n" + debt("d", principal, what, written) + "facilities:\n" + pool("p", "d", *pooled)
    facts |= {"contracted_share": "90%"} if "contracted_share" in facts else {}
    text = borrower(kind, ", ".join(f"{name}: {amount}" for name, amount in facts.items()), rest)
    prices = {"btc_usd": 84_000.0, "hashprice_usd_ph_day": 38.0} if priced else {}
    assert_whole(numbers({"a": text}, *load_scenarios(SCENARIOS), **prices))


def test_the_numbers_need_neither_pandas_nor_scipy():
    """A tick computes with numpy alone, so it starts at once."""
    code = "import monitor.metrics, sys; print([m for m in ('pandas', 'scipy', 'numba') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SCENARIOS.parent
    )
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- worked examples
def test_coreweave_june_2026_locked_liquidity():
    """(5.52 + 4 x 1.519 - 4 x 0.64) / 7.48 = 1.208 by time, 0.85 to 2.05 over the range of what is due."""
    result = numbers({"a": COREWEAVE})
    sources = 5.52 + 4 * 1.519 - 4 * 0.64
    assert value(result, "liquidity_locked_12m") == pytest.approx(sources / (4.413 + 6.184 * 181 / 365))
    column = result.columns["liquidity_locked_12m"]
    assert column.low[0] == pytest.approx(0.85, abs=0.005)
    assert column.high[0] == pytest.approx(2.05, abs=0.005)
    assert "7.5" in f"{value(result, 'due_12m_usd') / 1e9:.1f}"
    assert value(result, "interest_cover") == pytest.approx(1.519 / 0.64)
    assert any("2027" in label for label in column.used[0])


def test_the_miners_of_june_2026_cover_their_net_debt_at_the_published_prices():
    """BTC price at which all coins pay net debt: MARA 55,600, Riot 33,600, CleanSpark 115,600."""
    texts = {
        "mara": MARA,
        "riot": borrower("miner", "debt_usd: 853.7m, cash_unrestricted_usd: 471.383m, btc_total: 11380"),
        "cleanspark": borrower("miner", "debt_usd: 1811.559m, cash_unrestricted_usd: 202.601m, btc_total: 13924"),
    }
    result = numbers(texts, btc_usd=84_000.0)
    prices = {name: value(result, "coin_cover_btc_usd", name) for name in texts}
    assert {name: round(price, -2) for name, price in prices.items()} == {
        "mara": 55_600,
        "riot": 33_600,
        "cleanspark": 115_600,
    }


@pytest.mark.parametrize(("level", "price"), [(65, 50_965), (70, 47_325), (75, 44_170), (80, 41_409)])
def test_margin_call_price_of_the_mara_loan(level, price):
    """150m on 4,528 coins is called where 150m / (4,528 level) is the price of one."""
    stated = f"coins_pledged_btc: 4528}}}}], covenants: {{margin_call_ltv: {level}%, quality: filing"
    text = MARA.replace("coins_pledged_btc: 4528", "PLACE").replace("values: {PLACE}}]", f"values: {{{stated}}}")
    assert value(numbers({"a": text}), "margin_call_btc_usd", "a/line") == pytest.approx(price, abs=1)


def test_an_unreported_margin_level_is_a_range_and_the_message_gives_the_distance():
    """65 to 80 %: 41,409 to 50,965, and at BTC 84,000 the call is 44 % away."""
    result = numbers({"a": MARA}, btc_usd=84_000.0)
    column = result.columns["margin_call_btc_usd"]
    assert (column.low[0], column.high[0]) == (pytest.approx(41_409, abs=1), pytest.approx(50_965, abs=1))
    assert column.detail[0] == "BTC 47,325 (-44%)"
    assert any("margin_call_ltv" in label for label in column.used[0])


@pytest.mark.parametrize(("worth", "ltv"), [("70m", 103 / 70), ("65m", 103 / 65)])
def test_iris_energy_november_2022(worth, ltv):
    """About 2m a month against 7m due, 103m on machines worth 65 to 70m: DSCR 0.2857, LTV 1.47 to 1.58, no recourse."""
    result = numbers({"a": IRIS % worth}, at=datetime(2022, 11, 4, tzinfo=UTC))
    assert value(result, "spv_dscr", "a/rigs") == pytest.approx(0.2857, abs=1e-4)
    assert value(result, "spv_ltv_economic", "a/rigs") == pytest.approx(ltv)
    assert 1.47 <= ltv <= 1.59
    assert value(result, "recourse_share", "a/rigs") == 0.0


def test_pledged_paper_is_not_marked_to_market_and_the_sale_is():
    """CoreWeave's vehicles: 13.64bn on 18.2bn net is 0.75 by the paper, above it at the mark, far above in a sale."""
    text = borrower(
        "neocloud",
        "debt_usd: 35.551bn",
        "debts:\n"
        + debt("d", "13.64bn", "ddtl")
        + "facilities:\n"
        + pool("v", "d", "hardware", "assets_net_usd: 18.2bn"),
    )
    result = numbers({"a": text}, scenario("glut", residual=-0.4))
    assert value(result, "ltv_contractual", "a/v") == pytest.approx(13.64 / 18.2)
    assert value(result, "ltv_contractual", "a/v") < value(result, "ltv_economic", "a/v")
    assert value(result, "ltv_economic", "a/v") < value(result, "ltv_liquidation", "a/v")
    under = result.scenarios["glut"]
    assert under["ltv_contractual"].values[0] == result.columns["ltv_contractual"].values[0]
    assert under["ltv_economic"].values[0] == pytest.approx(value(result, "ltv_economic", "a/v") / 0.6)


def test_the_lenders_formula_depreciates_cost_straight_line():
    """71.42 advanced on 100 of cost, two of six years later, nothing repaid: 71.42 / (100 (1 - 24/72))."""
    vintage = (
        f"cost_vintages: [{{bought: 2024-08-12, cost_usd: 100m, {HEAD}}}], useful_life_months: 72, advance_rate: 71.42%"
    )
    text = borrower(
        "neocloud", "", "debts:\n" + debt("d", "71.42m") + "facilities:\n" + pool("v", "d", "hardware", "", vintage)
    )
    result = numbers({"a": text})
    assert value(result, "ltv_contractual", "a/v") == pytest.approx(71.42 / (100 * 48 / 72), rel=1e-3)
    assert value(result, "ltv_headroom", "a/v") == pytest.approx(0.7142 - 71.42 / (100 * 48 / 72), rel=1e-2)


def test_escrow_cash_counts_as_collateral():
    """94 owed on 80 of machines and 167 of escrow is 38 %, not 118 %."""
    text = borrower(
        "neocloud",
        "",
        "debts:\n"
        + debt("d", "94m")
        + "facilities:\n"
        + pool("v", "d", "hardware", "collateral_usd: 80m, escrow_usd: 167m"),
    )
    assert value(numbers({"a": text}), "ltv_economic", "a/v") == pytest.approx(94 / 247)


def test_a_leased_building_is_worth_its_contracts_and_what_follows():
    """10m a quarter for 120 months at 9 %, then 60 %: the sum of both parts, and used GPU prices do not touch it."""
    contract = f"contracts: [{{id: lease, counterparty: tenant, ends: 2036-08-12, monthly_revenue_usd: 4m, {HEAD}}}]"
    text = borrower(
        "hpc_host",
        "",
        "debts:\n"
        + debt("d", "300m")
        + "facilities:\n"
        + pool("b", "d", "lease_building", "noi_quarter_usd: 10m", contract),
    )
    result = numbers({"a": text}, scenario("chips", residual=-0.9))
    months, r, monthly = (datetime(2036, 8, 12) - datetime(2026, 8, 13)).days / 30.4375, 0.09 / 12, 10e6 / 3
    worth = monthly * (1 - (1 + r) ** -months) / r + 0.6 * monthly / r * (1 + r) ** -months
    assert value(result, "collateral_economic_usd", "a/b") == pytest.approx(worth)
    assert result.scenarios["chips"]["collateral_economic_usd"].values[0] == pytest.approx(worth)


def test_debt_service_comes_from_the_instruments_where_nobody_reports_it():
    """100m at 8 % over 48 months left: 8m interest and 25m principal a year against 4 x 10m of cash flow."""
    terms = "coupon: 8%, amortisation: straight_line, maturity: 2030-08-13"
    text = borrower(
        "neocloud",
        "",
        "debts:\n"
        + debt("d", "100m", "ddtl", terms)
        + "facilities:\n"
        + pool("v", "d", "hardware", "cfads_quarter_usd: 10m", "covenants: {dscr_min: 1.05, quality: filing}"),
    )
    result = numbers({"a": text})
    assert value(result, "dscr", "a/v") == pytest.approx(40 / 33, rel=1e-3)
    assert value(result, "dscr_headroom", "a/v") == pytest.approx(40 / 33 - 1.05, abs=2e-3)


def test_cash_cost_of_a_petahash_is_its_power():
    """20 J/TH at 5 cents: 20 kW a PH, 24 h, 24 USD a day, and no claim about costs nobody reported."""
    result = numbers({"a": borrower("miner", "efficiency_j_th: 20, power_price_usd_kwh: 0.05, hashrate_eh: 10")})
    assert value(result, "cash_cost_usd_ph_day") == pytest.approx(24.0)
    assert any("power only" in label for label in result.columns["cash_cost_usd_ph_day"].used[0])


def test_a_miner_that_reports_neither_ebitda_nor_coins_is_a_range_and_still_short():
    """Greenidge: 7.6m cash, 15.2m revenue a quarter, 38.4m due: short in the middle, and the assumptions are named."""
    text = GREENIDGE.replace("cash_unrestricted_usd: 7.6m", "cash_unrestricted_usd: 7.6m, revenue_quarter_usd: 15.2m")
    result = numbers({"a": text}, btc_usd=84_000.0)
    interest = 38.4 * 0.085 + 2.2 * 0.10
    assert value(result, "liquidity_locked_12m") == pytest.approx((7.6 + 4 * 15.2 * 0.2 - interest) / 38.4)
    used = " ".join(result.columns["liquidity_locked_12m"].used[0])
    assert "ebitda_margin" in used
    assert "coins_unreported_months" in used
    assert "btc_free" in reason(result, "coins_free")


def test_what_was_raised_after_the_cash_figure_is_the_high_end_only():
    """10m cash and 100m due look short; 150m of notes sold since may have paid for it, and nobody has said."""
    new = "  - {id: new, name: New, kind: high_yield, maturity: 2033-07-10, coupon: 0%, facts: [{as_of: 2026-07-10, "
    new += "published: 2026-07-10, quality: press, source: Release, values: {principal_usd: 150m}}]}\n"
    facts = "debt_usd: 500m, debt_current_usd: 100m, cash_unrestricted_usd: 10m, ebitda_adjusted_quarter_usd: 5m"
    result = numbers({"a": borrower("neocloud", f"{facts}, interest_quarter_usd: 5m", "debts:\n" + new)})
    assert value(result, "liquidity_locked_12m") == pytest.approx(0.1)
    assert ends(result.columns["liquidity_locked_12m"]) == (pytest.approx(0.1), pytest.approx(1.6))


# ---------------------------------------------------------------- edges
def test_no_debt_is_infinite_cover_and_not_an_error():
    """Nothing owed: LTV-free, covered without limit, in every scenario."""
    text = borrower(
        "miner",
        "debt_usd: 0, cash_unrestricted_usd: 10m, btc_free: 5, btc_total: 5, "
        "ebitda_adjusted_quarter_usd: 1m, interest_quarter_usd: 0, revenue_quarter_usd: 5m",
    )
    result = numbers({"a": text}, *load_scenarios(SCENARIOS), btc_usd=84_000.0)
    for metric in ("liquidity_locked_12m", "coverage", "interest_cover", "runway_months", "topup_cover"):
        assert value(result, metric) == math.inf, metric
    assert value(result, "coin_cover_btc_usd") == 0.0


def test_a_stale_price_makes_its_numbers_unknown_with_the_quotes_reason():
    """Coins at a price nobody confirmed are not a number."""
    book = known({"a": MARA})
    stale = Quote("btc_usd", "market", math.nan, "usd", None, None, "", reason="last seen 3 h ago, older than 1 h")
    result = compute(book, {("btc_usd", "market"): stale})
    assert "last seen 3 h ago" in reason(result, "coins_value_usd")
    assert "last seen 3 h ago" in reason(result, "ltv_economic", "a/line")
    assert value(result, "margin_call_btc_usd", "a/line") > 0  # a trigger price needs no price


RICH = {
    "debt_usd": "1bn",
    "debt_current_usd": "100m",
    "cash_unrestricted_usd": "50m",
    "btc_free": "3000",
    "btc_total": "4000",
    "btc_pledged": "1000",
    "btc_lent": "0",
    "btc_restricted": "0",
    "ebitda_adjusted_quarter_usd": "40m",
    "interest_quarter_usd": "20m",
    "capex_committed_usd": "10m",
}
NEEDS = {
    "ebitda_adjusted_quarter_usd": {
        "liquidity_locked_12m", "liquidity_18m", "interest_cover", "debt_service_cover", "runway_months",
    },
    "debt_current_usd": {"due_12m_usd", "liquidity_locked_12m", "liquidity_18m", "debt_service_cover"},
    "cash_unrestricted_usd": {
        "cash_unrestricted_usd", "net_debt_usd", "liquidity_locked_12m", "liquidity_18m", "runway_months", "coverage",
        "coin_cover_btc_usd",
    },
    "capex_committed_usd": {"funding_gap_12m_usd"},
    "debt_usd": {"debt_usd", "net_debt_usd", "coverage", "coin_cover_btc_usd"},
    "btc_lent": {"coins_lent"},
}  # fmt: skip


@pytest.mark.parametrize("missing", sorted(NEEDS))
def test_a_missing_field_makes_exactly_the_numbers_that_need_it_unknown(missing):
    """Nothing else changes its mask, and the reason names the field."""

    def borrower_masks(fields):
        text = borrower("miner", ", ".join(f"{k}: {v}" for k, v in fields.items()))
        result = numbers({"a": text}, btc_usd=84_000.0)
        return result, {n: bool(c.known[0]) for n, c in result.columns.items() if c.level == "borrower"}

    _, whole = borrower_masks(RICH)
    result, cut = borrower_masks({k: v for k, v in RICH.items() if k != missing})
    lost = {name for name, was in whole.items() if was and not cut[name]}
    assert lost == NEEDS[missing]
    assert not {name for name, was in whole.items() if not was and cut[name]}
    assert all(missing in reason(result, name) for name in lost)


def test_interest_nobody_reports_comes_from_the_instruments_and_an_assumed_rate():
    """100m at 8 % and 50m nobody described at 7 % (0 to 12 %); without any total it stays unknown and says so."""
    facts = "debt_usd: 150m, ebitda_adjusted_quarter_usd: 5m"
    result = numbers({"a": borrower("neocloud", facts, "debts:\n" + debt("d", "100m", terms="coupon: 8%"))})
    column = result.columns["interest_cover"]
    assert value(result, "interest_cover") == pytest.approx(20 / (8 + 3.5))
    assert ends(column) == (pytest.approx(20 / 14), pytest.approx(20 / 8))
    assert any("unstated_rate" in label for label in column.used[0])
    assert "debt_usd" in reason(
        numbers({"a": borrower("neocloud", "ebitda_adjusted_quarter_usd: 5m")}), "interest_cover"
    )


def test_an_unstated_rate_follows_the_kind_of_debt():
    """100m of convertible notes without a coupon cost 2 % (0 to 5 %) in the middle, a coin loan 9 %, a loan 7 %."""
    facts = "debt_usd: 100m, ebitda_adjusted_quarter_usd: 5m"
    for kind, low, middle, high in (
        ("convertible", 20 / 5, 20 / 2, math.inf),
        ("btc_loan", 20 / 12, 20 / 9, 20 / 6.5),
        ("ddtl", 20 / 12, 20 / 7, math.inf),
    ):
        result = numbers({"a": borrower("neocloud", facts, "debts:\n" + debt("d", "100m", kind))})
        assert value(result, "interest_cover") == pytest.approx(middle), kind
        assert ends(result.columns["interest_cover"]) == (pytest.approx(low), pytest.approx(high)), kind


def test_new_debt_counts_at_its_principal_not_at_what_it_grows_to():
    """Notes of 100m that will be 125m at maturity add 100m to a total filed before them."""
    notes = debt("n", "100m, accreted_usd: 125m", "convertible", terms="issued: 2026-07-31, maturity: 2034-07-31")
    notes = notes.replace("as_of: 2026-06-30", "as_of: 2026-07-31")
    result = numbers({"a": borrower("neocloud", "debt_usd: 500m", "debts:\n" + notes)})
    assert value(result, "debt_usd") == pytest.approx(600e6)


def test_an_amortising_loan_says_that_its_repayments_since_are_not_taken_off():
    """Machines age daily, the loan stands at its last report: the ratio drifts up and the number says so."""
    loan = "debts:\n" + debt("d", "50m", "ddtl", terms="maturity: 2030-12-31, amortisation: straight_line")
    text = borrower("neocloud", "debt_usd: 50m", loan + "facilities:\n" + pool("f", "d", "hardware", "cost_usd: 100m"))
    column = numbers({"a": text}, at=AT + timedelta(days=120)).columns
    for name in ("ltv_economic", "ltv_contractual", "ltv_liquidation"):
        assert "what was repaid since is not known" in column[name].detail[0], name


def test_unknown_recourse_is_unknown_and_not_none():
    """Nobody said who stands behind it."""
    text = borrower("neocloud", "", "debts:\n" + debt("d", "10m") + "facilities:\n" + pool("v", "d", "hardware"))
    assert "recourse of d" in reason(numbers({"a": text}), "recourse_share", "a/v")


def test_a_capped_guarantee_counts_to_its_cap_and_not_past_its_end():
    """25m of 100m while it runs; nothing after."""
    terms = "recourse: limited, recourse_cap_usd: 25m, recourse_end: 2026-08-01"
    for text_terms, share in ((terms.replace("2026-08-01", "2027-08-01"), 0.25), (terms, 0.0)):
        text = borrower(
            "neocloud",
            "",
            "debts:\n" + debt("d", "100m", "ddtl", text_terms) + "facilities:\n" + pool("v", "d", "hardware"),
        )
        assert value(numbers({"a": text}), "recourse_share", "a/v") == share


def test_ages_are_those_of_the_oldest_input():
    """Cash of March beside debt of June is as old as March."""
    old = "as_of: 2026-03-31, published: 2026-05-08, quality: filing, source: Form 10-Q"
    text = borrower("miner", "debt_usd: 1bn").replace(
        "facts: [", f"facts: [{{{old}, values: {{cash_unrestricted_usd: 10m}}}}, "
    )
    result = numbers({"a": text})
    assert result.columns["net_debt_usd"].age_s[0] == (AT - datetime(2026, 4, 1, tzinfo=UTC)).total_seconds()
    assert result.columns["debt_usd"].age_s[0] == (AT - datetime(2026, 7, 1, tzinfo=UTC)).total_seconds()
    assert value(result, "balance_sheet_age") == (AT - datetime(2026, 7, 1, tzinfo=UTC)).total_seconds()


def test_cash_kept_by_a_locked_up_pool_does_not_reach_the_parent():
    """The pool makes 40m, owes 36m and is locked up below 1.2x: its 4m surplus stays inside."""
    facts = (
        "debt_usd: 500m, debt_current_usd: 100m, cash_unrestricted_usd: 20m, "
        "ebitda_adjusted_quarter_usd: 30m, interest_quarter_usd: 5m"
    )
    locked = "covenants: {lockup_dscr: 1.2, quality: filing}"

    def locked_liquidity(terms):
        text = borrower(
            "neocloud",
            facts,
            "debts:\n"
            + debt("d", "100m", "ddtl")
            + "facilities:\n"
            + pool("v", "d", "hardware", "cfads_quarter_usd: 10m, service_12m_usd: 36m", terms),
        )
        return value(numbers({"a": text}), "liquidity_locked_12m")

    assert locked_liquidity("") == pytest.approx((20 + 120 - 20) / 100)
    assert locked_liquidity(locked) == pytest.approx((20 + 120 - 20 - 4) / 100)


# ---------------------------------------------------------------- dates and events
GREENIDGE = borrower(
    "miner",
    "debt_usd: 40.6m, cash_unrestricted_usd: 7.6m",
    "debts:\n"
    + debt("notes-2026", "38.4m", "high_yield", "coupon: 8.5%, maturity: 2026-10-31")
    + debt("notes-2030", "2.2m", "high_yield", "coupon: 10%, maturity: 2030-06-30"),
)


def test_a_maturity_that_passed_in_silence_is_neither_paid_nor_defaulted():
    """Days go below zero and the outcome stays unknown until somebody says it."""
    before = numbers({"a": GREENIDGE}, at=datetime(2026, 10, 30, tzinfo=UTC))
    assert value(before, "days_to_next_due") == 2.0
    late_that_day = numbers({"a": GREENIDGE}, at=datetime(2026, 10, 31, 23, 30, tzinfo=UTC))
    assert value(late_that_day, "days_to_next_due") == pytest.approx(0.5 / 24)
    after = numbers({"a": GREENIDGE}, at=datetime(2026, 11, 3, tzinfo=UTC))
    assert value(after, "days_to_next_due") == -2.0
    assert "notes-2026" in reason(after, "due_outcome")
    said = (
        GREENIDGE
        + "events:\n  - {kind: due_outcome_paid, happened: 2026-10-31, published: 2026-11-02, source: Form 8-K}\n"
    )
    told = numbers({"a": said}, at=datetime(2026, 11, 3, tzinfo=UTC))
    assert value(told, "due_outcome") == 1.0
    assert value(told, "days_to_next_due") > 1000


def test_the_age_of_a_filing_counts_from_when_it_was_known():
    """A bankruptcy published on 21 December is known from midnight; without one the age has no end."""
    text = borrower("miner", "debt_usd: 1bn") + (
        "events:\n  - {kind: bankruptcy, happened: 2026-08-01, published: 2026-08-10, source: Form 8-K}\n"
    )
    result = numbers({"a": text, "b": borrower("miner")}, at=datetime(2026, 8, 12, tzinfo=UTC))
    assert value(result, "distress_filing_age") == 86400.0
    assert value(result, "distress_filing_age", "b") == math.inf
    assert value(result, "distress_warning_age") == math.inf


def test_a_tenant_in_trouble_is_seen_by_its_landlord_and_an_outside_tenant_is_unknown():
    """A host whose customer filed for bankruptcy; a host whose customer the book does not hold."""
    texts = {
        "coreweave": COREWEAVE
        + "events:\n  - {kind: bankruptcy, happened: 2026-08-01, published: 2026-08-10, source: Form 8-K}\n",
        "corz": borrower("hpc_host", rest="tenants: {coreweave: 90%}\n"),
        "apld": borrower("hpc_host", rest="tenants: {someone: 90%}\n"),
    }
    result = numbers(texts)
    assert value(result, "tenant_critical", "corz") == 1.0
    assert value(result, "tenant_share", "corz") == 0.9
    assert "someone is not a borrower" in reason(result, "tenant_critical", "apld")
    calm = numbers({**texts, "coreweave": COREWEAVE})
    assert value(calm, "tenant_critical", "corz") == 0.0


def test_new_issues_reprice_at_the_same_rating():
    """SOFR + 450 in May, SOFR + 550 in August: 100 basis points."""
    marks = tuple(
        Mark("loan_spread_bp", "a", bp, "bp", day.date(), day, "press", "case study")
        for bp, day in ((450.0, datetime(2026, 5, 18, tzinfo=UTC)), (550.0, datetime(2026, 8, 10, tzinfo=UTC)))
    )
    result = compute(replace(known({"a": borrower("neocloud")}), marks=marks), {})
    assert value(result, "same_rating_new_issue_change_bp", "market") == 100.0


def test_the_conversion_price_is_that_of_the_earliest_put_and_not_of_notes_repaid():
    """Of three convertibles one is gone, one has a put in 2027 and one none."""
    notes = [
        debt("gone", "0", "convertible", "conversion_price_usd: 5, maturity: 2026-12-01"),
        debt("late", "10m", "convertible", "conversion_price_usd: 10, maturity: 2027-01-01"),
        debt("put", "10m", "convertible", "conversion_price_usd: 20, maturity: 2031-01-01, puts: [{on: 2027-12-01}]"),
    ]
    result = numbers({"a": borrower("miner", "debt_usd: 20m", "debts:\n" + "".join(notes))})
    assert value(result, "conversion_usd") == 20.0
    assert value(result, "put_due_18m_usd") == 10e6


def test_debt_growth_looks_back_about_a_year():
    """0.99bn in June 2025, 7.71bn in June 2026: +678 %."""
    old = "as_of: 2025-06-30, published: 2025-08-28, quality: filing, source: Form 10-K"
    text = borrower("miner", "debt_usd: 7.7056bn").replace(
        "facts: [", f"facts: [{{{old}, values: {{debt_usd: 0.99bn}}}}, "
    )
    assert value(numbers({"a": text}), "debt_growth_12m") == pytest.approx(6.78, abs=0.01)
    assert "11 to 18 months" in reason(numbers({"a": borrower("miner", "debt_usd: 1bn")}), "debt_growth_12m")


def test_sector_debt_names_whom_it_leaves_out():
    """A sum over the known is a lower bound and says so."""
    result = numbers({"a": borrower("miner", "debt_usd: 1bn"), "b": borrower("miner")})
    assert value(result, "sector_debt_usd", "market") == 1e9
    assert any("b" in label for label in result.columns["sector_debt_usd"].used[0])


def test_a_weekly_mean_needs_the_whole_week():
    """A step function is averaged by time; a gap at the start leaves it unknown."""
    assert step_mean(np.array([0.0, 4.0]), np.array([10.0, 20.0]), 0.0, 8.0) == 15.0
    assert math.isnan(step_mean(np.array([1.0]), np.array([10.0]), 0.0, 8.0))


# ---------------------------------------------------------------- laws
def one_pool(principal: float, cost: float, coins: float = 0.0, scale: float = 1.0) -> str:
    """A borrower with one hardware pool and one coin loan; money in USD."""
    vintage = (
        f"cost_vintages: [{{bought: 2025-06-30, cost_usd: {cost * scale:.6f}, model_mix: {{H100: 100%}}, {HEAD}}}]"
    )
    facts = {
        "debt_usd": principal * 2,
        "debt_current_usd": principal / 4,
        "cash_unrestricted_usd": 5e6,
        "ebitda_adjusted_quarter_usd": 3e6,
        "interest_quarter_usd": 1e6,
        "revenue_quarter_usd": 9e6,
    }
    facts_text = ", ".join(f"{k}: {v * scale:.6f}" for k, v in facts.items()) + ", btc_free: 0, btc_total: 0"
    return borrower(
        "neocloud",
        facts_text,
        "debts:\n"
        + debt("d", f"{principal * scale:.6f}", "ddtl", "recourse: full")
        + debt("c", f"{principal * scale:.6f}", "btc_loan")
        + "facilities:\n"
        + pool("v", "d", "hardware", f"cfads_quarter_usd: {2e6 * scale}, service_12m_usd: {6e6 * scale}", vintage)
        + pool("c", "c", "coins", f"coins_pledged_btc: {coins}"),
    )


LTVS = ("ltv_contractual", "ltv_economic", "ltv_liquidation")
money = st.floats(1e6, 1e10)


@given(money, money, st.floats(1.0, 3.0))
@settings(max_examples=12, deadline=None)
def test_more_debt_never_lowers_and_more_collateral_never_raises_a_loan_to_value(principal, cost, more):
    """All three columns, both pools, both ends of the assumptions."""
    texts = {
        "a": one_pool(principal, cost, 100),
        "b": one_pool(principal * more, cost, 100),
        "c": one_pool(principal, cost * more, 100 * more),
    }
    result = numbers(texts, btc_usd=84_000.0)
    for metric in LTVS:
        column = result.columns[metric].values.reshape(3, 2)
        assert (column[1] >= column[0] * (1 - 1e-9)).all(), metric
        assert (column[2] <= column[0] * (1 + 1e-9)).all(), metric


@given(money, money, st.sampled_from([1e-3, 0.5, 7.0, 1e3]))
@settings(max_examples=10, deadline=None)
def test_scaling_all_money_changes_no_ratio(principal, cost, scale):
    """In thousands the same book has the same ratios; only a sale has a size, so its column is left out."""
    plain, scaled = (numbers({"a": one_pool(principal, cost, 0.0, s)}) for s in (1.0, scale))
    for metric in (
        "ltv_contractual",
        "ltv_economic",
        "dscr",
        "liquidity_locked_12m",
        "interest_cover",
        "debt_service_cover",
    ):
        first, second = plain.columns[metric], scaled.columns[metric]
        assert (first.known == second.known).all()
        assert second.values[second.known] == pytest.approx(first.values[first.known], rel=1e-4), metric


@given(money, money, st.floats(0.0, 0.9), st.floats(0.0, 0.9))
@settings(max_examples=12, deadline=None)
def test_a_worse_scenario_never_improves_cover(principal, cost, mild, more):
    """Deeper falls of coins, rents, used prices and contracts; LTVs only rise, covers only fall."""
    deep = mild + (1 - mild) * more * 0.9
    names = ("btc", "rent", "residual", "utilisation", "hashprice")
    cases = [scenario(label, **dict.fromkeys(names, -size)) for label, size in (("mild", mild), ("deep", deep))]
    result = numbers({"a": one_pool(principal, cost, 100)}, *cases, btc_usd=84_000.0)
    for metric, info in METRICS.items():
        if not info.stressed or info.worst == "":
            continue
        sign = 1 if info.worst == "max" else -1
        columns = [result.columns[metric], result.scenarios["mild"][metric], result.scenarios["deep"][metric]]
        for better, worse in pairwise(columns):
            both = better.known & worse.known
            with np.errstate(invalid="ignore"):
                gap = sign * (worse.values[both] - better.values[both])
            assert not (gap < -1e-6 * np.maximum(1, np.abs(better.values[both]))).any(), metric


@given(money, money, st.floats(0, 1e6))
@settings(max_examples=12, deadline=None)
def test_a_sale_never_brings_more_than_the_mark(principal, cost, coins):
    """ltv_liquidation >= ltv_economic at every corner."""
    result = numbers({"a": one_pool(principal, cost, coins)}, btc_usd=84_000.0)
    assert (result.columns["ltv_liquidation"].values >= result.columns["ltv_economic"].values * (1 - 1e-12)).all()


def ends(column: Column) -> tuple[float, float]:
    """Low and high of the only subject."""
    assert column.low is not None
    assert column.high is not None
    return float(column.low[0]), float(column.high[0])


def test_low_and_high_are_the_values_at_both_ends_of_the_assumptions():
    """Replacing the assumptions by their adverse (favourable) ends gives the ends of the range."""
    vintage = f"cost_vintages: [{{bought: 2025-06-30, cost_usd: 100m, model_mix: {{H100: 100%}}, {HEAD}}}]"
    text = borrower(
        "neocloud", "", "debts:\n" + debt("d", "50m") + "facilities:\n" + pool("v", "d", "hardware", "", vintage)
    )
    book = known({"a": text})
    low, high = ends(compute(book, {}).columns["ltv_economic"])

    def at(decay: float) -> float:
        rows = tuple(
            Assumption(r.name, r.kind, decay, decay, decay, r.unit, r.why, r.source) if r.name == "decay_annual" else r
            for r in book.assumptions
        )
        return float(compute(replace(book, assumptions=rows), {}).columns["ltv_economic"].values[0])

    assert (low, high) == (pytest.approx(at(0.15)), pytest.approx(at(0.35)))


def test_an_end_that_came_and_went_has_been_moved():
    """A loan that could have ended in April and is still owed is due on its last possible day, not overdue."""
    line = """debts:
  - {id: line, name: Line, kind: btc_loan, maturity_earliest: 2026-04-21, maturity: 2027-04-20,
     facts: [{as_of: 2025-09-30, published: 2025-10-30, quality: filing, source: 10-Q, values: {principal_usd: 200m}}]}
"""
    found = numbers({"a": borrower("miner", rest=line)})
    assert value(found, "due_12m_usd") == 200e6
    assert value(found, "days_to_next_due") == (end_of_day(date(2027, 4, 20)) - AT) / timedelta(days=1)
