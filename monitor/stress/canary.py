"""Who breaks first and matters most: earliness times damage, with the rank's interval over what is assumed. Pure.

Earliness: a fall counts one now, a half in a year, a quarter in two; the mean over paths on which nothing is
refinanced. A path without a fall within the horizon counts as if the fall came at twice the horizon: no score is zero,
and the robust stand last. Damage: debt that defaults with the borrower, its own included, plus debt of others that
loses cover when its pledged pools are added to the sale, the same paths with and without it. Damages overlap, so they
do not add up. A fragile small borrower and a robust large one both score low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from monitor.model import BoolArray, FloatArray
from monitor.stress.answers import CORNERS, Job, Question, ask
from monitor.stress.bridge import Bridge, fingerprint
from monitor.stress.cascade import Links, Periods
from monitor.stress.drivers import FirstBreaches
from monitor.stress.field import INF, MIDDLE, Field, Value, unique
from monitor.stress.outlook import MIDDLE_RHO, RHOS, simulated
from monitor.stress.sale import Holdings, holdings, settle, with_decay, with_depth
from monitor.stress.state import State

#: twenty quarters; beyond them schedules and run-rates say little
QUARTERS, MONTHS_A_QUARTER = 20, 3
PATHS = 512
#: months in which the weight of a fall halves
HALF_LIFE_MONTHS = 12.0
DECAYS = (0.15, 0.25, 0.35)
DEPTHS = (0.25, 1.0, 4.0)


@dataclass(frozen=True)
class Canary:
    """The table. Fields over borrowers; ranks are 1 for the first to watch and interval ends are over the grid.

    ``first_breach_months``: median over paths, infinite beyond the horizon; ``damage_usd`` and ``cascade_debt_usd``
    (debt that falls, its own included); ``earliness`` (0 to 1); ``left_out`` what is in none of the numbers.
    """

    earliness: Field
    first_breach_months: Field
    damage_usd: Field
    cascade_debt_usd: Field
    score_usd: Field
    rank: Field
    left_out: tuple[str, ...]
    used: tuple[str, ...]


def canary(state: State, *, question: Question | None = None) -> Canary:
    """Rank every borrower whose own means can be judged; the others are unknown, with the missing field.

    The rank's interval is over depth times and divided by four, decay 15 to 35 % a year, correlation 0 to 0.7, and all
    other assumptions at either end together.
    """
    question = question or ask(state, n_periods=QUARTERS, dt_years=0.25)
    base = holdings(state)
    ranked = np.array([question.rows[0].row(name) in question.firm for name in state.borrowers])
    ranked &= base.counted
    timing = [_timing(question, corner, MIDDLE_RHO) for corner in CORNERS]
    others = {rho: _timing(question, MIDDLE, rho) for rho in RHOS if rho != MIDDLE_RHO}
    early = [others.get(rho, timing[0])[0] for rho in RHOS] + [timing[1][0], timing[2][0]]
    aged = [with_decay(base, state, decay) for decay in DECAYS]
    first = _firsts(question, MIDDLE, MIDDLE_RHO)
    tenants = _tenants(question, first)
    grid = [_damage(first, tenants, with_depth(own, scale)) for own in aged for scale in DEPTHS]
    centre = grid[len(grid) // 2]
    scores = np.stack([e * parts.sum(axis=0) for e in early for parts in grid])
    middle = scores[RHOS.index(MIDDLE_RHO) * len(grid) + len(grid) // 2]
    ranks = np.stack([_ranks(row, ranked) for row in scores])
    whole = np.stack([parts.sum(axis=0) for parts in grid])
    fallen = np.stack([parts[:2].sum(axis=0) for parts in grid])
    why = _reasons(state, question, base, ranked)
    places = _ranks(middle, ranked), ranks.min(axis=0), ranks.max(axis=0)
    table = {
        "earliness": (timing[0][0], timing[1][0], timing[2][0]),
        "first_breach_months": (timing[0][1], timing[1][1], timing[2][1]),
        "damage_usd": (centre.sum(axis=0), whole.max(axis=0), whole.min(axis=0)),
        "cascade_debt_usd": (centre[:2].sum(axis=0), fallen.max(axis=0), fallen.min(axis=0)),
        "score_usd": (middle, scores.max(axis=0), scores.min(axis=0)),
        "rank": places,
    }
    rows = [question.rows[0].row(name) for name in state.borrowers]
    notes = [(question.rows[0].used[r], float(question.rows[0].as_of_s[r])) for r in rows]
    made = {
        name: Field.of(
            [
                Value((float(c[0][b]), float(c[1][b]), float(c[2][b])), (), *notes[b])
                if ranked[b]
                else Value.unknown(*why[b])
                for b in range(len(ranked))
            ]
        )
        for name, c in table.items()
    }
    grid_used = f"paths: correlation {RHOS[0]:g} to {RHOS[-1]:g}, nothing refinanced"
    return Canary(**made, left_out=base.left_out, used=unique((*base.used, grid_used)))


def _reasons(state: State, question: Question, base: Holdings, ranked: BoolArray) -> list[tuple[str, ...]]:
    out = []
    for b, name in enumerate(state.borrowers):
        own = question.rows[0].row(name)
        reasons = question.rows[0].reasons[own] or question.rows[0].assumed_levels[own]
        if not base.counted[b] and not reasons:
            reasons = tuple(text for text in base.left_out if text.startswith(name))
        out.append(() if ranked[b] else reasons or ("its own means cannot be judged",))
    return out


def _ranks(score: FloatArray, ranked: BoolArray) -> FloatArray:
    """1 for the highest score among the ranked; equal scores share the better place.

    >>> _ranks(np.array([5.0, 9.0, 1.0]), np.array([True, True, False]))[:2].tolist()
    [2.0, 1.0]
    """
    return np.asarray(1.0 + (score[ranked] > score[:, None]).sum(axis=1))


# ---------------------------------------------------------------- earliness
def weight(periods: Periods) -> FloatArray:
    """What a fall at the end of a period counts now; without one, as if at twice the horizon.

    >>> weight(np.array([3, 7])).tolist(), weight(np.array([20])) < weight(np.array([19]))
    ([0.5, 0.25], array([ True]))
    """
    months = np.where(periods < QUARTERS, (periods + 1) * MONTHS_A_QUARTER, 2 * QUARTERS * MONTHS_A_QUARTER)
    return np.asarray(0.5 ** (months / HALF_LIFE_MONTHS))


def _firsts(question: Question, corner: int, rho: float) -> Periods:
    """(B,S) period of each borrower's own fall; the horizon where none, or where it cannot be judged."""
    first = np.full((len(question.state.borrowers), PATHS), QUARTERS)
    if question.firm:
        found = _run(question.job(corner, question.firm), corner, rho)
        for k, i in enumerate(question.firm):
            b = int(question.rows[0].owner[i])
            first[b] = np.minimum(first[b], found[k])
    return first


@lru_cache(maxsize=32)
def _run(job: Job[Bridge], corner: int, rho: float) -> Periods:
    factors = simulated(job.work, job.btc_usd, job.base_rate, corner=corner, rho=rho, n_paths=PATHS, refi_shut=True)
    return FirstBreaches(job.work.inputs).on(factors).first.astype(np.int64)


def _timing(question: Question, corner: int, rho: float) -> tuple[FloatArray, FloatArray]:
    first = _firsts(question, corner, rho)
    median = np.median(first, axis=1)
    return weight(first).mean(axis=1), np.where(median < QUARTERS, (median + 1) * MONTHS_A_QUARTER, INF)


# ---------------------------------------------------------------- damage
def _damage(first: Periods, tenants: Mapping[int, BoolArray], own: Holdings) -> FloatArray:
    """(3,B) mean over paths: own debt, debt of others that defaults with it, cover others lose.

    Those fallen before b on a path are in the sale with and without b; the difference is b's.
    """
    out = np.zeros((3, len(own.borrowers)))
    out[0] = own.debt_usd
    sellers = set(own.owner[own.pledged & (own.units.sum(axis=1) > 0)].tolist())
    for b in sorted(sellers | {tenant for tenant, hosts in tenants.items() if hosts.any()}):
        before = first <= first[b]
        before[b] = False
        before &= first < QUARTERS
        dragged = tenants[b] if b in tenants else np.zeros_like(before)
        falls = before | dragged
        falls[b] = True
        with_it, without = settle(own, falls), settle(own, before)
        extra = with_it.fallen & ~without.fallen
        extra[b] = False
        out[1, b] = float((own.debt_usd[:, None] * extra).sum(axis=0).mean())
        lost = np.maximum(with_it.uncovered_usd - without.uncovered_usd, 0.0)
        out[2, b] = float(np.where(with_it.fallen, 0.0, lost).sum(axis=0).mean())
    return out


def _tenants(question: Question, first: Periods) -> dict[int, BoolArray]:
    """tenant -> (B,S) who falls within the horizon only because that tenant fell when it did."""
    rows, names = question.rows[0], question.state.borrowers
    found, pull = {}, _Pull(question, first)
    for c, name in enumerate(rows.counterparties):
        if name in names and rows.row(name) in question.firm:
            b = names.index(name)
            hosts = [i for i in question.firm if rows.inputs.contracted_usd[i, c] > 0]
            part, relet = rows.cut([*hosts, rows.row(name)]), question.state.assumptions.get("relet_share").corners
            words = repr((part.rows, question.price(part), question.base_rate, relet)).encode()
            key = fingerprint(part.inputs) + words + first[[b, *(int(rows.owner[i]) for i in hosts)]].tobytes()
            owners = tuple(int(rows.owner[i]) for i in hosts)
            found[b] = _pulled(Job(key, pull, question.price(part), question.base_rate), b, owners)
    return found


class _Pull:
    """The links of all rows of a question on the paths of the table, made when the first tenant asks for them."""

    def __init__(self, question: Question, first: Periods):
        self.question, self.first = question, first

    @cached_property
    def links(self) -> Links:
        question = self.question
        rows = question.rows[0].cut(question.firm)
        price = question.price(rows)
        paths = simulated(rows, price, question.base_rate, n_paths=PATHS, refi_shut=True)
        return Links(question.state, rows, paths, first=self.first)


@lru_cache(maxsize=64)
def _pulled(job: Job[_Pull], tenant: int, hosts: tuple[int, ...]) -> BoolArray:
    links, first = job.work.links, job.work.first
    when = np.full_like(first, QUARTERS)
    when[tenant] = np.minimum(first[tenant], QUARTERS - 1)
    out = np.zeros(first.shape, bool)
    out[list(hosts)] = ((links.falls(when) < QUARTERS) & (first >= QUARTERS))[list(hosts)]
    return out


__all__ = ["Canary", "canary", "weight"]
