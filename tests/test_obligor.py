"""The row of an obligor: its revenue goes to the customers it names, and nothing of rounding becomes another one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stress.bridge import Bridge, bridge
from monitor.stress.obligor import MANY, UNNAMED
from monitor.stress.state import build_state
from tests.small_book import AT, HEAD, borrower, debt, known, quotes


def row_of(tenants: dict[str, str], contracted: str = "90m", revenue: str = "90m") -> Bridge:
    """One borrower with these shares of its revenue."""
    shares = ", ".join(f"{name}: {share}" for name, share in tenants.items())
    text = borrower(
        "neocloud",
        f"debt_usd: 900m, cash_unrestricted_usd: 100m, revenue_quarter_usd: {revenue}, ebitda_adjusted_quarter_usd: "
        f"30m, revenue_contracted_quarter_usd: {contracted}, revenue_spot_quarter_usd: 0, interest_quarter_usd: 18m",
        f"tenants: {{{shares}}}\n",
    )  # fmt: skip
    return bridge(build_state(known({"acme": text}), quotes(btc_usd=60_000.0, sofr=0.04)), n_periods=12)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 1_000), min_size=2, max_size=6))
def test_customers_that_are_all_of_the_revenue_leave_nobody_else(weights: list[int]) -> None:
    """Shares that add up to one but for the last bits: nobody without a name is paid a cent, and so gets no axis of the
    paths."""
    shares = {f"t{i}": f"{weight / sum(weights):.17g}" for i, weight in enumerate(weights)}
    rows = row_of(shares)
    paid = dict(zip(rows.counterparties, rows.inputs.contracted_usd[0], strict=True))
    assert (paid[UNNAMED], paid[MANY]) == (0.0, 0.0)
    assert sum(paid.values()) == pytest.approx(30e6)


def test_what_is_really_left_goes_to_customers_without_a_name() -> None:
    """A tenth of a percent is revenue, not rounding."""
    rows = row_of({"t0": "0.999"})
    paid = dict(zip(rows.counterparties, rows.inputs.contracted_usd[0], strict=True))
    assert paid[UNNAMED] + paid[MANY] == pytest.approx(30e3)
    assert np.isfinite(rows.inputs.contracted_usd).all()


# ---------------------------------------------------------------- what ends
CONTRACT = """facilities:
  - id: site
    name: Site
    debts: []
    pool: hardware
    contracts:
      - {{id: lease, counterparty: tenant, monthly_revenue_usd: 10m, starts: 2026-01-01, ends: {ends}, {head}}}
"""


def leased(ends: str, n_periods: int = 12) -> Bridge:
    """A borrower all of whose 30m a quarter is one contract."""
    figures = (
        "debt_usd: 900m, cash_unrestricted_usd: 100m, revenue_quarter_usd: 30m, ebitda_adjusted_quarter_usd: 20m, "
    )
    text = borrower(
        "neocloud",
        figures + "revenue_contracted_quarter_usd: 30m, revenue_spot_quarter_usd: 0, interest_quarter_usd: 18m",
        CONTRACT.format(ends=ends, head=HEAD),
    )
    return bridge(build_state(known({"acme": text}), quotes(btc_usd=60_000.0, sofr=0.04)), n_periods=n_periods)


def test_a_contract_that_ends_within_the_horizon_earns_a_relet_from_then_on() -> None:
    """Three months of full rent, the month of the end in part, then the assumed share; one that outlasts is whole."""
    rows = leased("2026-11-27")
    earned = rows.inputs.in_force[0, rows.counterparties.index("tenant")]
    relet = rows.assumptions.get("relet_share", "neocloud").middle
    assert 0 < relet < 1
    assert earned[:3] == pytest.approx([1.0] * 3)
    assert relet < earned[3] < 1.0
    assert earned[4:] == pytest.approx([relet] * 8)
    assert (leased("2030-01-01").inputs.in_force == 1.0).all()


def test_a_note_due_in_a_year_to_the_day_is_due_within_the_year() -> None:
    """366 days are a year where a February has 29: the note stands in the last month and may be rolled."""
    for year in (2026, 2027):
        at, due = AT.replace(year=year), f"{year + 1}-08-13"
        text = borrower(
            "miner",
            "debt_usd: 60m, cash_unrestricted_usd: 10m, ebitda_adjusted_quarter_usd: 5m, interest_quarter_usd: 1m",
            "debts:\n" + debt("note", "60m", terms=f"maturity: {due}"),
        )
        rows = bridge(build_state(known({"acme": text}, at), quotes(at, btc_usd=60_000.0, sofr=0.04)), n_periods=12)
        bullet = rows.inputs.bullet_usd[rows.row("acme"), 0]
        assert np.flatnonzero(bullet).tolist() == [11]
        assert bullet[11] == pytest.approx(60e6)


def test_no_base_rate_is_no_row_of_a_borrower_with_debt() -> None:
    """Neither quoted nor assumed: what owes something is unknown, with the reason, and never at an invented rate."""
    texts = {
        "owes": borrower("miner", "debt_usd: 60m, cash_unrestricted_usd: 10m, ebitda_adjusted_quarter_usd: 5m"),
        "free": borrower("miner", "debt_usd: 0, cash_unrestricted_usd: 10m, ebitda_adjusted_quarter_usd: 5m"),
    }
    book = known(texts)
    book = replace(book, assumptions=tuple(row for row in book.assumptions if row.name != "sofr"))
    rows = bridge(build_state(book, quotes(btc_usd=60_000.0)), n_periods=12)
    assert any("sofr" in reason for reason in rows.reasons[rows.row("owes")])
    assert not any("sofr" in reason for reason in rows.reasons[rows.row("free")])
