"""Raw offers in a mistaken unit are kept out of the index, by provider and with a reason. Pure.

An index compares each offer series only with itself, so a provider that from one day on quotes the whole machine, or
cents, looks like a market that moved eightfold or a hundredfold. What a series usually says is the median of its days;
an offer farther from it than any market moves in a window, and about as far as two units are apart, is left out. When
most offers of a provider are such, all its offers of that day are: those without a past are in the same unit.

Nothing is remembered: the answer follows from the offers of the window alone. A price that returns counts at once. A
provider that stays at its new unit counts again when that is the longer part of its past, and then the earlier part is
left out: the change of unit itself never reaches the index.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median

from monitor.model import Observation
from monitor.series import UNIT_SWAPS, show

#: a factor between units is looked for from this power of it on: 8 from 5.3, 100 from 40. No rent moves so far
SHARE_OF_FACTOR = 0.8
#: a provider counts as in quarantine when its newest offers are not older than this
RECENT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Offers of one provider that are left out now: their series, and why."""

    provider: str
    subjects: frozenset[str]
    reason: str


def mistaken_unit(price: float, usual: float, unit: str) -> str:
    """Which units were taken for one another when a price is that far from the usual one; empty when it is not.

    >>> mistaken_unit(24.0, 2.5, "usd/gpu-hour"), mistaken_unit(0.02, 2.5, "usd/gpu-hour")
    ('a machine of eight for one GPU', 'cents for dollars')
    >>> mistaken_unit(5.0, 2.5, "usd/gpu-hour"), mistaken_unit(0.5, 2.5, "usd/mtok")
    ('', '')
    """
    swaps = UNIT_SWAPS.get(unit, ())
    if price <= 0 or usual <= 0 or not swaps:
        return ""
    apart = abs(math.log(price / usual))
    if apart < SHARE_OF_FACTOR * min(math.log(factor) for factor, _ in swaps):
        return ""
    return min((abs(apart - math.log(factor)), what) for factor, what in swaps)[1]


def without_mistaken(offers: Iterable[Observation], now: datetime) -> tuple[list[Observation], tuple[Quarantine, ...]]:
    """(the offers that count, the providers some of whose newest offers do not).

    >>> at = [datetime(2026, 8, day, 12, tzinfo=UTC) for day in (13, 14)]
    >>> name = "azure/h100/on_demand/list/any/8"
    >>> said = [Observation("offer_h100_usd", p, "usd/gpu-hour", t, t, "Azure", name) for t, p in zip(at, (1.5, 12.0))]
    >>> kept, (found,) = without_mistaken(said, at[1])
    >>> [offer.value for offer in kept], found.provider
    ([1.5], 'azure')
    >>> found.reason.partition(";")[0]
    'azure: 1 of 1 offers look like a machine of eight for one GPU since 2026-08-14 (h100 on_demand 12.0, before 1.50)'
    """
    rows = list(offers)
    usual = _usual(rows)
    wrong = {i: what for i, row in enumerate(rows) if (what := mistaken_unit(row.value, usual[row.subject], row.unit))}
    if not wrong:
        return rows, ()
    whole = _whole(rows, wrong)
    out = [i in wrong or _provider_day(row) in whole for i, row in enumerate(rows)]
    told = (_told(provider, rows, wrong, out, usual, now) for provider in sorted({_provider(rows[i]) for i in wrong}))
    return [row for row, gone in zip(rows, out, strict=True) if not gone], tuple(q for q in told if q is not None)


def _provider(row: Observation) -> str:
    return row.subject.partition("/")[0]


def _provider_day(row: Observation) -> tuple[str, date]:
    return _provider(row), row.observed_at.astimezone(UTC).date()


def _usual(rows: Sequence[Observation]) -> dict[str, float]:
    """Offer series -> the median of its days.

    Of an even number the last day does not vote: the median is then a price that was said, and of two units that stood
    for as many days the earlier one counts.
    """
    days: dict[str, dict[date, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        days[row.subject][row.observed_at.astimezone(UTC).date()].append(row.value)
    levels = {subject: [median(by_day[day]) for day in sorted(by_day)] for subject, by_day in days.items()}
    return {subject: median(said if len(said) % 2 else said[:-1]) for subject, said in levels.items()}


def _whole(rows: Sequence[Observation], wrong: Mapping[int, str]) -> set[tuple[str, date]]:
    """(provider, day) where more than half of the series that have a past are in another unit."""
    first: dict[str, date] = {}
    seen: dict[tuple[str, date], set[str]] = defaultdict(set)
    bad: dict[tuple[str, date], set[str]] = defaultdict(set)
    for i, row in enumerate(rows):
        key = _provider_day(row)
        first[row.subject] = min(key[1], first.get(row.subject, key[1]))
        seen[key].add(row.subject)
        if i in wrong:
            bad[key].add(row.subject)
    return {key for key, some in bad.items() if 2 * len(some) > sum(first[subject] < key[1] for subject in seen[key])}


def _told(
    provider: str, rows: Sequence[Observation], wrong: Mapping[int, str], out: Sequence[bool],
    usual: Mapping[str, float], now: datetime,
) -> Quarantine | None:  # fmt: skip
    """What of a provider's newest answer is left out, in words; None when nothing is."""
    mine = [i for i, row in enumerate(rows) if _provider(row) == provider]
    newest = max(rows[i].known_at for i in mine)
    last = [i for i in mine if rows[i].known_at == newest]
    bad = [i for i in last if i in wrong]
    if not bad or now - newest > RECENT:
        return None
    example = rows[bad[0]]
    since = min(rows[i].observed_at for i in mine if i in wrong and rows[i].subject == example.subject)
    model, market = example.subject.split("/")[1:3]
    everything = all(out[i] for i in last)
    reason = (
        f"{provider}: {len(bad)} of {len(last)} offers look like {wrong[bad[0]]} since {since:%Y-%m-%d}"
        f" ({model} {market} {show(example.value, '')}, before {show(usual[example.subject], '')});"
        f" {'all its offers' if everything else 'they'} are kept out of the index until the price returns"
    )
    return Quarantine(provider, frozenset(rows[i].subject for i in last if out[i]), reason)
