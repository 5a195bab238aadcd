"""Rounds of a fall and what lenders get back: the fixed point, conservation, pools first, unknowns named."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_book import COREWEAVE, borrower, debt, pool
from test_answers import host, state_of
from test_cascade import fleet

from monitor.stress.assumptions import Assumptions
from monitor.stress.cascade import fall
from monitor.stress.creditors import NOBODY, Recovery, creditor_loss, recover
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE, Value
from monitor.stress.network import clear
from monitor.stress.rounds import FIRST, RENT, in_rounds
from monitor.stress.sale import proceeds_share
from monitor.stress.state import State


def wound_up(state: State, name: str, corner: int = MIDDLE, haircut: float | None = None) -> Recovery:
    """What creditors get when one borrower falls alone."""
    found = in_rounds(state, name, corner=corner)
    own = found.own if haircut is None else replace(found.own, haircut=haircut)
    return recover(state, own, found.end, corner)


def lent(cash: str = "20m", pool_loan: str = "100m", notes: str = "100m", recourse: str = "full") -> str:
    """A borrower with a building lent against by one lender, and notes of another; no machines."""
    return borrower(
        "neocloud",
        f"debt_usd: 200m, debt_current_usd: 0, cash_unrestricted_usd: {cash}, equipment_net_usd: 0",
        "debts:\n"
        + debt("loan", pool_loan, "project", f"coupon: 8%, maturity: 2031-01-01, lender: Bank, recourse: {recourse}")
        + debt("notes", notes, "high_yield", "coupon: 8%, maturity: 2031-01-01, lender: Fund, recourse: full")
        + "facilities:\n"
        + pool("hall", "loan", "lease_building", "collateral_usd: 60m"),
    )


# ---------------------------------------------------------------- rounds
def test_rounds_end_where_the_cascade_ends() -> None:
    """Kept apart or not, the same fall, on the same prices, in as many rounds."""
    state = state_of({"coreweave": COREWEAVE, "host": host(), "fleet": fleet()})
    for name in state.borrowers:
        for corner in (MIDDLE, ADVERSE, FAVOURABLE):
            whole, found = fall(state, name, corner=corner), in_rounds(state, name, corner=corner)
            fell = [b for one in found.rounds for b in one.fell]
            assert sorted(fell) == sorted([name, *whole.dragged])
            assert len(fell) == len(set(fell))
            assert len(found.rounds) <= len(state.borrowers) + 1
            assert sum(one.debt_usd for one in found.rounds) == pytest.approx(whole.debt_usd)
            assert dict(found.rounds[-1].price) == pytest.approx(dict(whole.price))


def test_a_host_falls_in_the_second_round_by_its_rent() -> None:
    """A host that cannot carry an empty hall falls after its tenant, and the channel is named."""
    thin = host(rent=9).replace("cash_unrestricted_usd: 20m", "cash_unrestricted_usd: 1m")
    found = in_rounds(state_of({"coreweave": COREWEAVE, "host": thin}), "coreweave")
    assert [dict(one.fell) for one in found.rounds] == [{"coreweave": FIRST}, {"host": RENT}]
    with pytest.raises(ValueError, match="no borrower 'nobody'"):
        in_rounds(state_of({"host": thin}), "nobody")


def test_prices_never_recover_from_round_to_round() -> None:
    """More is sold in every round, so no price rises."""
    state = state_of({"coreweave": COREWEAVE, "host": host(), "fleet": fleet(), "other": fleet("500m")})
    for name in state.borrowers:
        rounds = in_rounds(state, name).rounds
        for sooner, later in pairwise(rounds):
            assert all(later.price[m] <= sooner.price[m] for m in later.price)


# ---------------------------------------------------------------- who gets what
def test_a_pool_pays_its_own_lender_first() -> None:
    """60 of a pool go to its loan of 100; 40 are short and share 20 of cash with 100 of notes: 40/7 and 100/7."""
    state = state_of({"one": lent()})
    done = wound_up(state, "one")
    assert all(label.startswith("bankruptcy_kept") for label in done.used if "bankruptcy" in label)
    paid = {claim.lender: claim.paid_usd / 1e6 for claim in done.claims}
    cash = 20 * 0.85
    assert paid["Bank"] == pytest.approx(60 + cash * 40 / 140)
    assert paid["Fund"] == pytest.approx(cash * 100 / 140)
    assert dict(done.by_lender())["Fund"] == pytest.approx((100e6, cash * 100 / 140 * 1e6))


def test_without_recourse_a_lender_keeps_to_its_pool() -> None:
    """The loan gets the pool and nothing else; the notes share all the cash alone."""
    done = wound_up(state_of({"one": lent(recourse="none")}), "one")
    paid = {claim.lender: claim.paid_usd / 1e6 for claim in done.claims}
    assert paid["Bank"] == pytest.approx(60)
    assert paid["Fund"] == pytest.approx(20 * 0.85)


def test_who_is_solvent_pays_in_full_and_loses_nothing_to_failure() -> None:
    """With cash for everybody nobody loses, and the cost of failing is not charged."""
    done = wound_up(state_of({"one": lent(cash="500m")}), "one")
    assert sum(claim.lost_usd for claim in done.claims) == pytest.approx(0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 300), st.integers(1, 200), st.integers(1, 200))
def test_clearing_conserves_money(cash: int, pool_loan: int, notes: int) -> None:
    """What is paid is what is owed, or all there is; nobody is paid more than it is owed, nothing below zero."""
    text = lent(f"{cash}m", f"{pool_loan}m", f"{notes}m").replace("debt_usd: 200m", f"debt_usd: {pool_loan + notes}m")
    state = state_of({"one": text})
    found = in_rounds(state, "one")
    kept = {("bankruptcy_kept", "all"): Value.exact(1.0)}
    without_cost = replace(state, assumptions=Assumptions({**state.assumptions.values, **kept}))
    done = recover(without_cost, found.own, found.end)
    owed = sum(claim.owed_usd for claim in done.claims)
    paid = sum(claim.paid_usd for claim in done.claims)
    assert owed == pytest.approx((pool_loan + notes) * 1e6)
    assert paid == pytest.approx(min(owed, (cash + 60) * 1e6))
    assert all(-1e-6 <= claim.paid_usd <= claim.owed_usd + 1e-6 for claim in done.claims)


def test_debt_nobody_listed_has_an_unknown_lender() -> None:
    """What the filed total holds beyond the instruments is owed to somebody, named as unknown."""
    text = lent().replace("debt_usd: 200m", "debt_usd: 350m")
    done = wound_up(state_of({"one": text}), "one")
    assert dict(done.by_lender())[NOBODY][0] == pytest.approx(150e6)


def test_a_lender_of_the_book_passes_its_loss_on() -> None:
    """A borrower that lent to the fallen and lives on that claim cannot pay in full itself."""
    lender = borrower(
        "private", "debt_usd: 90m, debt_current_usd: 0, cash_unrestricted_usd: 5m, equipment_net_usd: 0",
        "debts:\n" + debt("own", "90m", "term_loan", "coupon: 8%, maturity: 2031-01-01, lender: Bank"),
    )  # fmt: skip
    state = state_of({"one": lent().replace("lender: Fund", "lender: house"), "house": lender})
    assert wound_up(state, "one").passed_on == ("house",)
    rich = lender.replace("cash_unrestricted_usd: 5m", "cash_unrestricted_usd: 500m")
    state = state_of({"one": lent().replace("lender: Fund", "lender: house"), "house": rich})
    assert wound_up(state, "one").passed_on == ()


def test_what_nobody_valued_makes_the_loss_unknown() -> None:
    """A pool without a value counts as nothing in a table that says at least; the metric is unknown with the reason."""
    text = lent().replace("collateral_usd: 60m", "escrow_usd: 1m")
    state = state_of({"one": text})
    assert "hall" in wound_up(state, "one").floors["one"]
    field = creditor_loss(state)
    assert not field.known[0]
    assert "hall" in field.reasons[0][0]


def test_what_a_failure_keeps_is_nothing_while_nobody_assumes_it() -> None:
    """Without the assumption the rest of a failed owner counts as nothing, is named, and the loss is unknown."""
    state = state_of({"one": lent(cash="50m")})
    values = {key: value for key, value in state.assumptions.values.items() if key[0] != "bankruptcy_kept"}
    state = replace(state, assumptions=Assumptions(values))
    done = wound_up(state, "one")
    assert "bankruptcy_kept" in done.floors["one"]
    assert sum(claim.paid_usd for claim in done.claims) == pytest.approx(60e6)  # the hall alone
    assert not creditor_loss(state).known.any()


def test_a_lender_that_could_not_pay_anyway_is_not_said_to_fall_by_its_claim() -> None:
    """Only who could have paid with its claim whole is named as unable to pay because the claim was lost."""
    bank = borrower(
        "neocloud", "debt_usd: DEBT, cash_unrestricted_usd: 40m, equipment_net_usd: 0",
        "debts:\n" + debt("own", "DEBT", "high_yield", "coupon: 8%, maturity: 2031-01-01, lender: Others"),
    )  # fmt: skip
    for owes, named in (("45m", ("fund",)), ("400m", ())):
        state = state_of(
            {"fund": bank.replace("DEBT", owes), "one": lent(cash="0").replace("lender: Fund", "lender: fund")}
        )
        assert wound_up(state, "one").passed_on == named


@pytest.mark.parametrize("missing", ["liquidation_haircut", "depth_units"])
def test_without_an_assumption_machines_count_as_nothing_and_it_is_named(missing: str) -> None:
    """Where nobody said what a sale of machines brings, lenders get what is sure; what is missing is named."""
    state = state_of({"coreweave": COREWEAVE, "fleet": fleet()})
    kept = {key: value for key, value in state.assumptions.values.items() if not key[0].startswith(missing)}
    state = replace(state, assumptions=Assumptions(kept))
    for name in state.borrowers:
        assert all(0 <= claim.paid_usd <= claim.owed_usd for claim in wound_up(state, name).claims)
    assert missing in wound_up(state, "fleet").floors["fleet"]
    assert not creditor_loss(state).known.any()


def test_the_metric_is_the_loss_of_a_lone_fall() -> None:
    """The field over borrowers equals winding each of them up, at every corner, and worse ends lose more."""
    state = state_of({"one": lent(), "two": lent(cash="50m")})
    field = creditor_loss(state)
    for b, name in enumerate(state.borrowers):
        for corner in (MIDDLE, ADVERSE, FAVOURABLE):
            lost = sum(claim.lost_usd for claim in wound_up(state, name, corner).claims)
            assert field.values[corner, b] == pytest.approx(lost)
        assert field.values[ADVERSE, b] >= field.values[MIDDLE, b] >= field.values[FAVOURABLE, b]


def test_a_released_fleet_brings_what_its_sale_brings() -> None:
    """A pool of machines pays the average of the exponential price less the haircut."""
    state = state_of({"fleet": fleet("5bn")})
    found = in_rounds(state, "fleet")
    done = recover(state, found.own, found.end)
    worth = float(found.own.value_usd[0] @ proceeds_share(found.end.price[:, 0])) * found.own.haircut
    assert sum(claim.paid_usd for claim in done.claims if claim.pool) == pytest.approx(worth)


# ---------------------------------------------------------------- the clearing itself
@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_payments_are_the_greatest_fixed_point(n: int, seed: int) -> None:
    """p = min(owed, e + P'p): consistent, within what is owed, and no larger vector is consistent for defaulters."""
    rng = np.random.default_rng(seed)
    owed = rng.uniform(0, 2, (n, n)) * (1 - np.eye(n))
    assets, outside = rng.uniform(0, 2, n), rng.uniform(0.1, 2, n)
    done = clear(owed, assets, outside)
    due = owed.sum(axis=1) + outside
    inflow = (owed / due[:, None]).T @ done.payments_usd
    np.testing.assert_allclose(done.payments_usd, np.minimum(due, assets + inflow), atol=1e-9)
    assert done.equity_usd.sum() == pytest.approx(assets.sum() + inflow.sum() - due.sum(), abs=1e-9)
    costly = clear(owed, assets, outside, recovery_external=0.7, recovery_network=0.7)
    assert (costly.payments_usd <= done.payments_usd + 1e-9).all()
