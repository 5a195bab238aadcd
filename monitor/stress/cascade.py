"""What one fall drags down: tenants' rent and shared lenders gone, pools sold together, everybody re-marked. Pure.

Fallen = debt service or a maturity unfunded, a margin call unmet, a contractual covenant breached, or a pool behind
limited recourse surrendered (market loan to value above 1 and coverage below 1). The sale itself is in
:mod:`monitor.stress.sale`; here is how a fall reaches others through time.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitor.model import BoolArray
from monitor.stress.bridge import Bridge, bridge, take
from monitor.stress.drivers import FirstBreaches, Summary, run
from monitor.stress.field import MIDDLE, unique
from monitor.stress.inputs import Factors
from monitor.stress.outlook import under
from monitor.stress.sale import Again, Holdings, Settled, holdings, settle
from monitor.stress.scenario import Scenario, apply
from monitor.stress.sides import Firsts, known_tests
from monitor.stress.state import State

#: periods of falls (B,S)
Periods = NDArray[np.int64]


# ---------------------------------------------------------------- tenants and lenders
class Links:
    """How a fall reaches others through time: rows of the cell run again without the fallen tenant's rent.

    A defaulted tenant's rent stops for ``vacancy_months`` and then re-lets at ``relet_share``; for good where nobody
    assumes either, and ``used`` says so. With ``lenders`` on, nothing that falls due from the period of a fall on is
    rolled for those who share a lender with the fallen; off is the other end of that range. ``first`` (B,S): period of
    each borrower's own fall, the number of periods if none; may be given where it is known already. Rows that cannot
    be judged, or only at an assumed level, never fall here.
    """

    def __init__(
        self, state: State, rows: Bridge, factors: Factors, *, tenants: bool = True, lenders: bool = False,
        corner: int = MIDDLE, first: Periods | None = None,
    ):  # fmt: skip
        self.rows, self.factors, self.corner = rows, factors, corner
        self.n_periods, self.n = rows.inputs.opex_usd.shape[1], rows.n_borrowers
        relet, vacancy = (state.assumptions.get(name) for name in ("relet_share", "vacancy_months"))
        gone = (*relet.reasons, *vacancy.reasons)
        self.relet = 0.0 if gone else relet.corners[corner]
        self.empty = self.n_periods if gone else max(1, round(vacancy.corners[corner] / (rows.inputs.dt_years * 12)))
        #: what the tenants' channel assumes
        self.used = (f"{gone[0]}: the rent of a fallen tenant is gone for good",) if gone else relet.used + vacancy.used
        ids = {name: b for b, name in enumerate(state.borrowers)}
        self.tenant_of = {c: ids[name] for c, name in enumerate(rows.counterparties) if name in ids} if tenants else {}
        self.shares = shared_lenders(state) if lenders else np.zeros((self.n, self.n), bool)
        judged = rows.judged(known_tests(rows.inputs)) & np.array([not levels for levels in rows.assumed_levels])
        self.used_rows = [int(r) for r in np.flatnonzero(judged)]
        nobody = np.full((self.n, factors.n_paths), self.n_periods)
        self.first = self._fall(self._breaks(factors), self.used_rows, nobody) if first is None else first

    @property
    def base(self) -> Summary | None:
        """The judged rows on the paths as they are, with their extremes."""
        return run(take(self.rows.inputs, self.used_rows), self.factors) if self.used_rows else None

    def _breaks(self, factors: Factors) -> Firsts | None:
        """First breaches of the judged rows."""
        return FirstBreaches(take(self.rows.inputs, self.used_rows)).on(factors) if self.used_rows else None

    def _fall(self, summary: Summary | Firsts | None, index: list[int], first: Periods) -> Periods:
        """The earliest break among a borrower's rows."""
        out = first.copy()
        for k, r in enumerate(index):
            if summary is not None:
                out[int(self.rows.owner[r])] = np.minimum(out[int(self.rows.owner[r])], summary.first[k])
        return out

    def part(self, n_paths: int) -> Links:
        """The same links on the first few paths."""
        few = copy.copy(self)
        few.factors, few.first = self.factors.part(0, n_paths), self.first[:, :n_paths]
        return few

    @property
    def hosts(self) -> list[int]:
        """Rows that earn rent from a borrower of the book."""
        columns = list(self.tenant_of)
        rent = self.rows.inputs.contracted_usd[:, columns]
        return [r for r in self.used_rows if columns and (rent[r] > 0).any()]

    def without_tenants(self, when: Periods) -> tuple[list[int], Summary | None]:
        """Host rows run again, tenants gone from the period after ``when`` (B,S)."""
        rows = self.hosts
        return rows, run(take(self.rows.inputs, rows), self._vacant(when)) if rows else None

    def _vacant(self, when: Periods) -> Factors:
        """The paths with the rent of the fallen gone."""
        loss = self.factors.contract_loss.copy()
        periods = np.arange(self.n_periods)[:, None]
        for c, b in self.tenant_of.items():
            since = periods - when[b][None, :]
            gone = np.where(since > self.empty, 1 - self.relet, 1.0) * (since > 0)
            loss[:, c] = np.maximum(loss[:, c], gone)
        return replace(self.factors, contract_loss=loss)

    def falls(self, when: Periods) -> Periods:
        """Period of each fall (B,S) once those fallen at ``when`` pull; never later than their own."""
        now = np.minimum(when, self.first)
        if self.hosts:
            found = FirstBreaches(take(self.rows.inputs, self.hosts)).on(self._vacant(when))
            now = self._fall(found, self.hosts, now)
        if self.shares.any():
            for b in np.flatnonzero(self.shares.any(axis=1)):
                now = self._doors_shut(int(b), when, now)
        return now

    def _doors_shut(self, b: int, when: Periods, now: Periods) -> Periods:
        """The falls once nothing of one borrower is rolled any more from the first fall of those it shares with."""
        since = when[self.shares[b]].min(axis=0)
        rows = [r for r in self.used_rows if int(self.rows.owner[r]) == b]
        if not rows or (since >= self.n_periods).all():
            return now
        refi = np.where(np.arange(self.n_periods)[:, None] >= since, 0.0, self.factors.refi_open)
        found = FirstBreaches(take(self.rows.inputs, rows)).on(replace(self.factors, refi_open=refi))
        return self._fall(found, rows, now)

    def rent_lost_usd(self, tenant: int) -> Mapping[str, float]:
        """Rent each host loses over the horizon if a tenant falls in the first period and nothing else happens."""
        inputs, out = self.rows.inputs, dict[str, float]()
        since = np.arange(self.n_periods)
        gone = np.where(since > self.empty, 1 - self.relet, 1.0) * (since > 0)
        for c, b in self.tenant_of.items():
            for r in self.hosts if b == tenant else []:
                lost = float(inputs.contracted_usd[r, c] * (inputs.in_force[r, c] * gone).sum())
                if lost > 0:
                    out[self.rows.rows[r]] = out.get(self.rows.rows[r], 0.0) + lost
        return out


def shared_lenders(state: State) -> BoolArray:
    """(B,B): one lender is known to stand behind both. Lenders nobody named share nothing here."""
    names = []
    for row in state.rows:
        texts = [item.debt.lender for item in row.debts if item.debt.lender and (item.number("principal_usd") or 0) > 0]
        split = (part.strip().lower() for text in texts for part in re.split(r",| and ", text or ""))
        names.append({name for name in split if name and name != "others"})
    n = len(names)
    return np.array([[i != j and bool(names[i] & names[j]) for j in range(n)] for i in range(n)]).reshape(n, n)


# ---------------------------------------------------------------- answers
@dataclass(frozen=True)
class Cascade:
    """What follows from one borrower's fall now. Money USD. ``dragged`` falls with it within the horizon, in order of
    the ids; ``cover_lost_usd`` debt of those still standing that loses cover; ``rent_lost_usd`` by host."""

    borrower: str
    dragged: tuple[str, ...]
    debt_usd: float
    cover_lost_usd: float
    price: Mapping[str, float]
    rent_lost_usd: Mapping[str, float]
    rounds: int
    left_out: tuple[str, ...]
    used: tuple[str, ...]


def fall(
    state: State,
    borrower: str,
    *,
    scenario: Scenario | None = None,
    corner: int = MIDDLE,
    lenders: bool = False,
    n_periods: int = 12,
) -> Cascade:
    """What follows if one borrower falls now, under today's prices or a scenario, at one corner of the assumptions.

    ``lenders`` on and off are the two ends of the lender channel. ValueError for a borrower the book does not hold.
    """
    if borrower not in state.borrowers:
        raise ValueError(f"no borrower {borrower!r}; the book holds {', '.join(state.borrowers)}")
    case = scenario or Scenario("today")
    rows = bridge(state, corner, n_periods=n_periods)
    links = Links(state, rows, under(rows, state, case), lenders=lenders, corner=corner)
    return cascade(state, links, holdings(apply(state, case), corner), borrower)


def cascade(state: State, links: Links, own: Holdings, borrower: str) -> Cascade:
    """The fall of one borrower in the first period, everybody else standing; on the first path of the links."""
    b = state.borrowers.index(borrower)
    one = links.part(1)
    start = np.zeros((links.n, 1), bool)
    start[b] = True
    when = np.where(start, 0, links.n_periods)
    alone = one.first >= links.n_periods
    quiet, done = settle(own, np.zeros_like(start)), settle(own, start, _pull(one, when, alone))
    others = np.flatnonzero(done.fallen[:, 0] & ~start[:, 0])
    standing = ~done.fallen[:, 0]
    lost = np.maximum(done.uncovered_usd - quiet.uncovered_usd, 0.0)[standing, 0].sum()
    return Cascade(
        borrower, tuple(state.borrowers[int(j)] for j in others), float(own.debt_usd[done.fallen[:, 0]].sum()),
        float(lost), {m: float(p) for m, p in zip(own.models, done.price[:, 0], strict=True)}, links.rent_lost_usd(b),
        done.rounds, own.left_out, unique((*own.used, *(links.used if links.rent_lost_usd(b) else ()))),
    )  # fmt: skip


def spread(links: Links, own: Holdings) -> Settled:
    """From everybody's own falls on every path to the fixed point: tenants, lenders, one sale of all released."""
    when = links.first.copy()
    return settle(own, when < links.n_periods, _pull(links, when, np.ones(when.shape, bool)))


def _pull(links: Links, when: Periods, may: BoolArray) -> Again:
    """Who falls because of those fallen at ``when``, which is brought up to date; only where ``may``."""

    def again(fallen: BoolArray) -> BoolArray:
        now = np.where(may, links.falls(np.where(fallen, when, links.n_periods)), links.n_periods)
        when[:] = np.minimum(when, now)
        return np.asarray(now < links.n_periods)

    return again
