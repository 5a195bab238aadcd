"""One period of one obligor: the cell, written once.

**Where the definition lives.** What an obligor can be known by before a path is drawn (balances and schedules, what a
sale of its units brings, which tests are known) is folded once into ``Rows``; what a path can be known by before an
obligor is looked at (products of indices, growth of the coin price) is folded once into ``Side``; both in
:mod:`monitor.stress.sides`. What needs both is here, in nine short functions. They use only ``+ - * /``, comparisons
and a few words passed in (smaller, larger, root, choose), so one text serves numbers and arrays: the numpy driver
hands it blocks of arrays and numpy's words, the compiled driver compiles the same functions and hands them one number
at a time. A driver keeps the order of steps, the running sums and the records; the arithmetic of a step is not
written twice. The scalar oracle of the tests is written from the equations alone, and both drivers are compared with
it. Cash flow and collateral are linear in the path's products: a matrix product in one driver, a sum over the row's
non-zero terms in the other. The two differ in the last bits, and that is the only licensed difference.

**Order inside a period.** Coins are marked; interest accrues on opening balances; a coin loan is tested at the
period's low and cured or sold; what falls due is rolled or paid; operations, interest and scheduled principal are
settled; free coins are sold to hold the cash floor; covenants are tested on what is left. After a first breach the
path runs on as if nobody acted, with cash allowed below zero, so that extremes stay comparable.

**Simplifications, on purpose.** Basis ``quarter`` tests DSCR on the quarter's sums at quarter ends. ``ltm`` keeps a
running twelve months that begins with the given trailing figures and lets them leave evenly; past twelve months of
path the oldest month fades instead of leaving (weight 1 - dt). ``forward_12m`` takes the present quarter as the run
rate, numerator and denominator alike, because the path beyond the horizon is not drawn. Cash traps are not modelled.
A coin loan beyond ``liquidation_ltv`` at the low is sold at once, without a chance to cure; below it free coins are
posted first, then cash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monitor.stress.inputs import DSCR, INF, LIQUIDITY, LTV, MARGIN, MATURITY, TESTS, CellInputs, Factors

__all__ = ["DSCR", "LIQUIDITY", "LTV", "MARGIN", "MATURITY", "TESTS", "CellInputs", "Factors"]

#: a margin call counts as cured within this fraction of the loan (rounding only)
CURED = 1e-12
#: the most a sale of coins can move the price
IMPACT_CAP = 0.5
#: a float, or an array of floats; the one place where a type is left open, because the text below serves both
Number = Any
Word = Callable[..., Any]


def service(const: Number, base: Number, base_dt: Number, side: Number) -> Number:
    """Interest on opening balances plus scheduled principal; ``side`` is that of rolled debt and the coin loan."""
    return (const + side) + base * base_dt


def side_interest(
    rolled: Number, refi_dt: Number, refi_margin_dt: Number, loan: Number, loan_rate_dt: Number
) -> Number:
    """Interest on what a path has rolled (at base + spread + the refinancing margin) and on the coin loan."""
    return rolled * (refi_dt + refi_margin_dt) + loan * loan_rate_dt


def cover(choose: Word, cash_flow: Number, service: Number) -> Number:
    """Debt service coverage; infinite where there is nothing to serve, whatever the cash flow."""
    return choose(service > 0.0, cash_flow / service, INF)


def loan_to_value(choose: Word, loan: Number, collateral: Number) -> Number:
    """Loan / collateral; zero without a loan, infinite for a loan on nothing."""
    return choose(loan > 0.0, loan / collateral, 0.0)


def sell_coins(
    smaller: Word, larger: Word, root: Word, cash: Number, coins: Number, floor: Number, impact: Number
) -> Number:
    """Sell free coins (a value) to bring cash to the floor; returns (cash, coins) afterwards.

    The price gives way by impact x sqrt(amount needed), at most half. Cash lands exactly on the floor.
    """
    kept = 1.0 - smaller(impact * root(larger(floor - cash, 0.0)), IMPACT_CAP)
    raised = larger(cash, smaller(floor, cash + coins * kept))
    return raised, larger(coins - (raised - cash) / kept, 0.0)


def refinance(
    refi: Number, bullet: Number, bullet_secured: Number, loan_due: Number,
    rolled: Number, rolled_secured: Number, loan: Number, pledged: Number, coins: Number,
) -> Number:  # fmt: skip
    """What falls due is rolled while refinancing is open, paid in cash otherwise; a repaid coin loan frees its pledge.

    Returns (due in cash, rolled, rolled_secured, loan, pledged, coins).
    """
    ends = loan_due * (1.0 - refi)
    due = bullet * (1.0 - refi) + loan * ends
    freed = pledged * ends
    rolled, rolled_secured = rolled + bullet * refi, rolled_secured + bullet_secured * refi
    return due, rolled, rolled_secured, loan - loan * ends, pledged - freed, coins + freed


def margin_call(
    smaller: Word, larger: Word, choose: Word,
    low: Number, call: Number, cure: Number, liquidate: Number, sell_all: Number,
    cash: Number, coins: Number, pledged: Number, loan: Number,
) -> Number:  # fmt: skip
    """Test a coin loan at the period's low; cure it with free coins, then cash; otherwise sell the pledge.

    A sale returns the loan to the cure level (or sells all); what is left over returns as cash, what is missing once
    the pledge is gone is a deficiency. Returns (cash, coins, pledged, loan, deficiency, gap); gap is minus the uncured
    share of the loan.
    """
    worth, target = pledged * low, cure * low
    sold_out = loan > liquidate * worth
    may_cure = (
        loan > call * worth
    ) > sold_out  # called and not sold out; an absent level times no pledge is NaN: not crossed
    posted = choose(may_cure, smaller(larger(loan / target - pledged, 0.0), coins), 0.0)
    pledged = pledged + posted
    paid = choose(may_cure, smaller(larger(loan - target * pledged, 0.0), larger(cash, 0.0)), 0.0)
    loan = loan - paid
    short = loan - target * pledged
    unmet = sold_out | (may_cure & (short > CURED * loan))
    gap = choose(unmet, -short / loan, 0.0)
    enough = smaller(larger(short / (low - target), 0.0), pledged)
    sold = choose(unmet, choose(sell_all > 0.5, pledged, enough), 0.0)
    brought = sold * low
    surplus = larger(brought - loan, 0.0)
    loan = larger(loan - brought, 0.0)
    pledged = pledged - sold
    deficiency = choose(unmet & (pledged <= 0.0), loan, 0.0)
    return cash - paid + surplus, coins - posted, pledged, loan - deficiency, deficiency, gap


def breaches(
    dscr: Number, ltv: Number, cash: Number, gap: Number, due: Number,
    dscr_level: Number, ltv_level: Number, liquidity_level: Number, call_level: Number, maturity_level: Number,
) -> Number:  # fmt: skip
    """The five tests, in the order of TESTS. A test that is unknown or absent has a level nothing can cross."""
    unpaid = (cash < maturity_level) & (due > 0.0)
    return dscr < dscr_level, ltv > ltv_level, cash < liquidity_level, gap < call_level, unpaid


def breach_value(
    choose: Word, low: Number, high: Number, short: Number, unmet: Number,
    dscr: Number, ltv: Number, cash: Number, gap: Number,
) -> Number:  # fmt: skip
    """The number that broke, of the first test in the order of TESTS that did (a maturity's number is cash)."""
    return choose(low, dscr, choose(high, ltv, choose(short, cash, choose(unmet, gap, cash))))
