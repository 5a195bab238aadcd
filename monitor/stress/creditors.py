"""What lenders get back when borrowers fall: pools to their own lenders first, the rest shared, unknowns named. Pure.

A released pool pays the loans against it from what its sale brings. What is left goes to the owner, what is missing is
a claim on the owner where there is recourse. Owners pay from cash, coins, machines outside the pools and what came back
by the clearing of :func:`monitor.stress.network.clear` (Eisenberg and Noe, 2001), with a share of a failed owner's
assets lost to the failure itself (Rogers and Veraart, 2013). A lender that is itself a borrower of the book passes its
loss on. Loans of several lenders are one claim: how they share it was never reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from monitor.known import KnownDebt
from monitor.model import BoolArray, FloatArray
from monitor.stress import collateral
from monitor.stress.assumptions import amount_owed, seconds
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE, Field, Value, unique
from monitor.stress.network import clear
from monitor.stress.sale import LIMITED, Holdings, Settled, holdings, proceeds_share, settle
from monitor.stress.state import State

NOBODY = "lender unknown"
CORNERS = (MIDDLE, ADVERSE, FAVOURABLE)


@dataclass(frozen=True)
class Claim:
    """One loan of a failed owner or a surrendered pool: owed and paid, USD. ``pool`` is empty for an unsecured one."""

    borrower: str
    debt: str
    lender: str
    pool: str
    owed_usd: float
    paid_usd: float

    @property
    def lost_usd(self) -> float:
        return self.owed_usd - self.paid_usd


@dataclass(frozen=True)
class Recovery:
    """What a fall pays its creditors. ``floors``: why what is paid is at least this much, by borrower: assets nobody
    valued count as nothing. ``passed_on``: borrowers of the book that cannot pay in full because a claim was lost."""

    claims: tuple[Claim, ...]
    floors: Mapping[str, str]
    passed_on: tuple[str, ...]
    used: tuple[str, ...]

    def by_lender(self) -> dict[str, tuple[float, float]]:
        """Lender -> (owed, paid), the largest loss first."""
        found = dict[str, tuple[float, float]]()
        for claim in self.claims:
            owed, paid = found.get(claim.lender, (0.0, 0.0))
            found[claim.lender] = owed + claim.owed_usd, paid + claim.paid_usd
        return dict(sorted(found.items(), key=lambda item: item[1][1] - item[1][0]))


@dataclass(frozen=True)
class Behind:
    """What stands behind the debts of a state, the same whoever falls: which pools can be valued, the equipment of each
    group, what each loan of a borrower is owed, and the borrower behind a lender's name in small letters."""

    valued: BoolArray
    equipment: Field
    owed: Mapping[tuple[str, str], Value]
    borrowers: Mapping[str, str]

    @staticmethod
    def of(state: State) -> Behind:
        """Under the factors of the state."""
        owed = {(row.id, item.debt.id): amount_owed(item, state.at) for row in state.rows for item in row.debts}
        named = dict[str, str]()
        for row in state.rows:
            for name in (row.id.lower(), row.borrower.name.lower()):
                named.setdefault(name, row.id)
        return Behind(collateral.economic(state).known, collateral.group_equipment(state), owed, named)


def recover(state: State, own: Holdings, end: Settled, corner: int = MIDDLE, behind: Behind | None = None) -> Recovery:
    """What creditors of the fallen and of surrendered pools get at the end of a cascade, on its first path.

    Conserved: without failure costs, what is paid is what there is, until everybody is paid in full.
    """
    unpriced = _unpriced(state, own)
    if unpriced:  # machines nobody can sell at a known price count as nothing; who owns some is named
        own = replace(own, haircut=0.0)
        end = replace(end, price=np.nan_to_num(end.price))
    return _Estate(state, own, end, corner, behind or Behind.of(state), unpriced).wind_up()


def _unpriced(state: State, own: Holdings) -> str:
    """Which assumption is missing to say what a sale of machines brings; empty when none is."""
    assumed = [state.assumptions.get("liquidation_haircut")]
    assumed += [state.assumptions.get("depth_units", "all", model) for model in own.models if model]
    return next((one.reasons[0] for one in assumed if not one.known), "")


@dataclass
class _Estate:
    """One winding up."""

    state: State
    own: Holdings
    end: Settled
    corner: int
    behind: Behind
    #: why machines count as nothing, where they do
    unpriced: str = ""
    claims: list[Claim] = field(default_factory=list)
    floors: dict[str, str] = field(default_factory=dict)

    def wind_up(self) -> Recovery:
        owners = np.flatnonzero(self.end.fallen[:, 0])
        surplus = np.zeros(len(self.own.borrowers))
        open_claims = list[Claim]()
        for f in np.flatnonzero(self.end.released[:, 0]):
            left, short = self._pool(int(f))
            surplus[self.own.owner[f]] += left
            open_claims += short
        for b in owners:
            open_claims += self._unsecured(int(b))
        kept = self.state.assumptions.get("bankruptcy_kept")
        if not kept.known:  # what a failure takes is not known: what is left of it counts as nothing
            for b in owners:
                self.floors.setdefault(self.own.borrowers[int(b)], kept.reasons[0])
        passed = self._share(owners, surplus, open_claims, kept.corners[self.corner] if kept.known else 0.0)
        used = unique((*self.own.used, *kept.used))
        return Recovery(tuple(self.claims), self.floors, passed, used)

    def _pool(self, f: int) -> tuple[float, list[Claim]]:
        """Pay a pool's own loans in proportion; what is left for the owner, and what it may still be asked for."""
        own, owner = self.own, self.own.borrowers[self.own.owner[f]]
        proceeds = float(own.value_usd[f] @ proceeds_share(self.end.price[:, 0]) * own.haircut + own.other_usd[f])
        loans = [self._claim(owner, item, own.pools[f]) for item in self.state.pool_debts[f]]
        owed = sum(loan.owed_usd for loan in loans)
        if owed <= 0:
            return proceeds, []
        if not self.behind.valued[f]:
            self.floors.setdefault(owner, f"what {own.pools[f]} would bring is not known")
        paid = min(1.0, proceeds / owed)
        found = list[Claim]()
        for loan, item in zip(loans, self.state.pool_debts[f], strict=True):
            settled = replace(loan, paid_usd=loan.owed_usd * paid)
            asks = self.end.fallen[self.own.owner[f], 0] and self._recourse(item)
            (found if asks and settled.lost_usd > 0 else self.claims).append(settled)
        return max(proceeds - owed, 0.0), found

    def _recourse(self, item: KnownDebt) -> bool:
        """Whether the owner answers for what a pool does not pay; unknown recourse is none at the adverse end only."""
        if item.debt.recourse is None:
            return self.corner != ADVERSE
        return item.debt.recourse not in LIMITED

    def _claim(self, owner: str, item: KnownDebt, pool: str = "") -> Claim:
        owed = self.behind.owed[owner, item.debt.id]
        usd = owed.corners[self.corner] if owed.known else 0.0
        return Claim(owner, item.debt.id, item.debt.lender or NOBODY, pool, usd, 0.0)

    def _unsecured(self, b: int) -> list[Claim]:
        """Loans of an owner against no pool, and what the filed total holds beyond every instrument in the book."""
        row, name = self.state.rows[b], self.own.borrowers[b]
        secured = {id_ for f in np.flatnonzero(self.own.owner == b) for id_ in self.state.pools[int(f)].facility.debts}
        loans = [self._claim(name, item) for item in row.debts]
        rest = float(self.own.debt_usd[b]) - sum(loan.owed_usd for loan in loans)
        found = [loan for loan in loans if loan.debt not in secured and loan.owed_usd > 0]
        if rest > 0.5:
            found.append(Claim(name, "debt without an instrument in the book", NOBODY, "", rest, 0.0))
        return found

    def _assets(self, b: int) -> float:
        """Cash, free coins and machines outside released pools at the price the sale left, less the haircut of a small
        lot; unvalued ones count as nothing and are named."""
        own, name = self.own, self.own.borrowers[b]
        free = (own.owner == b) & ~self.end.released[:, 0]
        value = float((own.value_usd[free] @ self.end.price[:, 0]).sum() * own.haircut + own.other_usd[free].sum())
        equipment = self.behind.equipment
        if self.unpriced and (own.value_usd[own.owner == b].sum() or equipment.known[b]):
            self.floors.setdefault(name, self.unpriced)
        if equipment.known[b]:
            pledged = float(own.value_usd[(own.owner == b) & ~free].sum())
            outside = max(0.0, float(equipment.values[self.corner, b]) - pledged) * self._left(b) * own.haircut
            value = max(value, outside)
        elif not own.value_usd[own.owner == b].sum():
            self.floors.setdefault(name, equipment.reasons[b][0])
        if not own.counted[b]:
            self.floors.setdefault(name, "its cash, coins or debt are not known")
        return float(own.liquid_usd[b]) + value

    def _left(self, b: int) -> float:
        """What is left of the price of the machines an owner holds, on average; all of it where no model is known."""
        marks = self.own.value_usd[self.own.owner == b].sum(axis=0)
        return float(marks @ self.end.price[:, 0] / marks.sum()) if marks.sum() > 0 else 1.0

    def _share(self, owners: np.ndarray, surplus: FloatArray, claims: list[Claim], kept: float) -> tuple[str, ...]:
        """Clear what is left between owners and lenders; nodes are owners first, then lenders."""
        names = [self.own.borrowers[int(b)] for b in owners]
        lenders = [self._node(name) for name in dict.fromkeys(claim.lender for claim in claims)]
        nodes = list(dict.fromkeys((*names, *lenders)))
        at = {name: i for i, name in enumerate(nodes)}
        owed = np.zeros((len(nodes), len(nodes)))
        for claim in claims:
            lender = self._node(claim.lender)
            if claim.borrower in at and claim.borrower != lender:
                owed[at[claim.borrower], at[lender]] += claim.lost_usd
        assets, debts = np.zeros(len(nodes)), np.zeros(len(nodes))
        for i, name in enumerate(nodes):
            if name in self.own.borrowers:
                b = self.own.borrowers.index(name)
                assets[i] = self._assets(b) + surplus[b]
                debts[i] = 0.0 if name in names else self.own.debt_usd[b]
        done = clear(owed, assets, debts, recovery_external=kept, recovery_network=kept)
        inside = owed.sum(axis=1) + debts
        share = np.divide(done.payments_usd, inside, out=np.ones(len(nodes)), where=inside > 0)
        for claim in claims:
            part = share[at[claim.borrower]] if claim.borrower in at else 0.0
            self.claims.append(replace(claim, paid_usd=claim.paid_usd + claim.lost_usd * float(part)))
        whole = assets + owed.sum(axis=0) >= inside  # it could have paid, had its claims been paid
        broke = done.defaulted & whole
        return tuple(n for i, n in enumerate(nodes) if broke[i] and n in self.own.borrowers and n not in names)

    def _node(self, lender: str) -> str:
        """A lender's node: the borrower of the book of that name, else its own name."""
        return self.behind.borrowers.get(lender.lower(), f"lender: {lender}")


# ---------------------------------------------------------------- every borrower alone
def creditor_loss(state: State) -> Field:
    """What the creditors of each borrower lose if it falls now and nobody else does, USD over borrowers.

    Unknown where assets nobody valued would have to be counted as nothing, or where debt or means are unknown.
    """
    per_corner, behind = [], Behind.of(state)
    for corner in CORNERS:
        own = holdings(state, corner)
        end = settle(own, np.eye(len(own.borrowers), dtype=bool))
        each = range(len(own.borrowers))
        per_corner.append([recover(state, own, fallen_alone(end, b), corner, behind) for b in each])
    values = [_loss(state, b, [found[b] for found in per_corner]) for b in range(len(state.borrowers))]
    return Field.of(values)


def fallen_alone(end: Settled, path: int) -> Settled:
    """One path of a settlement, such as the one on which a single borrower fell."""
    pick = slice(path, path + 1)
    return replace(
        end, fallen=end.fallen[:, pick], released=end.released[:, pick], price=end.price[:, pick],
        uncovered_usd=end.uncovered_usd[:, pick],
    )  # fmt: skip


def _loss(state: State, b: int, found: list[Recovery]) -> Value:
    name = state.borrowers[b]
    floors = [one.floors[name] for one in found if name in one.floors]
    if floors:
        return Value.unknown(*unique(floors))
    lost = [sum(claim.lost_usd for claim in one.claims if claim.borrower == name) for one in found]
    oldest = min((debt.facts[f].as_of for debt in state.rows[b].debts for f in debt.facts), default=None)
    used = unique(label for one in found for label in one.used)
    return Value((lost[0], lost[1], lost[2]), (), used, seconds(oldest) if oldest else float("inf"))
