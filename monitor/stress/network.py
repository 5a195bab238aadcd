"""Who cannot pay whom: clearing of mutual debts and the spread of lost equity through a network. Pure arrays.

Sources: Eisenberg and Noe, "Systemic Risk in Financial Systems" (2001); Rogers and Veraart, "Failure and Rescue in an
Interbank Network" (2013); Bardoscia, Battiston, Caccioli and Caldarelli, "DebtRank: A Microscopic Foundation" (2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor.model import BoolArray, FloatArray


@dataclass(frozen=True)
class Clearing:
    """payments_usd (n,): what each pays of what it owes inside the network and, where external debt ranks equally,
    outside it; equity_usd (n,): what is left, negative for a default; defaulted (n,) bool; rounds it took."""

    payments_usd: FloatArray
    equity_usd: FloatArray
    defaulted: BoolArray
    rounds: int


def clear(
    owed_usd: FloatArray,
    external_assets_usd: FloatArray,
    external_debt_usd: FloatArray,
    *,
    external_is_senior: bool = False,
    recovery_external: float = 1.0,
    recovery_network: float = 1.0,
) -> Clearing:
    """The greatest clearing vector: start from everybody paying in full and lower payments until they are consistent.

    owed_usd (n, n): ``owed_usd[i, j]`` is what i owes j; the others are (n,). With ``recovery_*`` below one a
    defaulter's assets lose value in bankruptcy (Rogers-Veraart: alpha on external assets, beta on what others pay it).
    External debt ranks equally unless ``external_is_senior``. Raises ValueError for negative or non-finite amounts.

    Equation (equal ranking): p = min(p_bar, e + P' p), P the relative claims; one at exactly zero equity pays in full.

    >>> owed = np.full((3, 3), 0.5) - 0.5 * np.eye(3)
    >>> done = clear(owed, np.array([1/2, 5/8, 3/4]), np.array([3/2, 1/2, 1/2]))
    >>> done.payments_usd.round(7).tolist(), done.defaulted.tolist()
    ([1.4732143, 1.4196429, 1.5], [True, True, False])
    """
    owed, assets, debt = (np.asarray(a, float) for a in (owed_usd, external_assets_usd, external_debt_usd))
    if not all(np.isfinite(a).all() and (a >= 0).all() for a in (owed, assets, debt)):
        raise ValueError("amounts owed and owned must be finite and not negative")
    inside = owed.sum(axis=1)
    due = inside if external_is_senior else inside + debt
    senior = debt if external_is_senior else np.zeros_like(debt)
    share = np.divide(owed, due[:, None], out=np.zeros_like(owed), where=due[:, None] > 0)
    paid = due.copy()
    defaulted = np.zeros(len(due), bool)
    rounds = 0
    while True:
        rounds += 1
        inflow = share.T @ paid
        # A default is final once found (the default set only grows), so bankruptcy losses cannot flip it back.
        defaulted = defaulted | (assets + inflow - senior < due - 1e-12 * np.maximum(due, 1))
        broke = recovery_external * assets + recovery_network * inflow - senior
        new = np.where(defaulted, np.clip(broke, 0.0, due), due)
        if np.abs(new - paid).max(initial=0.0) <= 1e-14 * max(float(due.max(initial=0.0)), 1e-300):
            return Clearing(new, assets + inflow - senior - due, defaulted, rounds)
        paid = new


@dataclass(frozen=True)
class Spread:
    """equity_left (n,): share of the starting equity left, 0 to 1; rounds until nothing moved."""

    equity_left: FloatArray
    rounds: int


def debtrank(claims_usd: FloatArray, equity_usd: FloatArray, shock: FloatArray, max_rounds: int = 10_000) -> Spread:
    """Linear DebtRank: equity lost by a debtor is lost in proportion by those who hold its debt.

    claims_usd (n, n): ``claims_usd[i, j]`` is what i holds of j's debt; equity_usd (n,) > 0; shock (n,) share of equity
    lost at the start. h(t+1) = min(1, h(t) + Lambda (h(t) - h(t-1))), Lambda_ij = claims_ij / equity_i.

    >>> claims = 0.5 * np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    >>> (debtrank(claims, np.ones(3), np.array([0, 0, 0.5])).equity_left * 7).round(9).tolist()
    [6.0, 5.0, 3.0]
    """
    if (np.asarray(equity_usd) <= 0).any():
        raise ValueError("equity must be positive; leave out who has none")
    exposure = np.asarray(claims_usd, float) / np.asarray(equity_usd, float)[:, None]
    before = np.zeros_like(np.asarray(shock, float))
    lost = np.clip(np.asarray(shock, float), 0.0, 1.0)
    for rounds in range(1, max_rounds + 1):
        after = np.minimum(1.0, lost + exposure @ (lost - before))
        if np.abs(after - lost).max(initial=0.0) < 1e-15:
            return Spread(1.0 - after, rounds)
        before, lost = lost, after
    return Spread(1.0 - lost, max_rounds)


@dataclass(frozen=True)
class FireSale:
    """sold_units; price_usd of one unit after the sale; equity_usd of the holder after marking what it kept."""

    sold_units: float
    price_usd: float
    equity_usd: float


def restore_by_selling(
    units: float, price_usd: float, cash_usd: float, debt_usd: float, equity_ratio_min: float, impact: float
) -> FireSale:
    """The smallest sale that restores equity / (units kept x price) to a floor, when selling moves the price.

    The price after selling q is price * exp(-impact q) (Cifuentes, Ferrucci, Shin 2005) and every unit, sold or
    kept, is marked at it. If no sale restores the floor everything is sold.

    >>> sale = restore_by_selling(100, 1.0, 5, 98, 0.08, 1e-4)
    >>> f"{sale.sold_units:.9f} {sale.price_usd:.9f} {sale.equity_usd:.9f}"
    '14.145588250 0.998586441 6.858644119'
    """

    def after(sold: float) -> tuple[float, float, float]:
        price = price_usd * float(np.exp(-impact * sold))
        equity = cash_usd + units * price - debt_usd
        kept = (units - sold) * price
        return price, equity, equity - equity_ratio_min * kept

    low, high = 0.0, float(units)
    if after(low)[2] >= 0:
        high = low
    elif after(high)[2] < 0:
        low = high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if after(middle)[2] >= 0 else (middle, high)
    price, equity, _ = after(high)
    return FireSale(high, price, equity)
