"""The row of an obligor: its revenue goes to the customers it names, and nothing of rounding becomes another one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stress.bridge import Bridge, bridge
from monitor.stress.obligor import MANY, UNNAMED
from monitor.stress.state import build_state
from tests.small_book import borrower, known, quotes


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
