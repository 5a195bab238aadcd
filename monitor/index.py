"""Many raw GPU offers -> one rental index per model and market, from matched offers only. Pure.

Whoever takes a median over the offers that answered today measures who answered. This index compares every offer series
only with itself: the log price of series s on day t is a_s + d_t + noise, a fixed effect per series and one effect per
day (the time-product-dummy index of price statistics; de Haan and Krsinich 2014, ILO/IMF CPI Manual ch. 6). A provider
that joins or leaves brings no move of its own, and prices that return bring the index back. Three rules keep it honest:

 - a provider has one voice a day however many regions it lists, and a loud one is cut off (Huber weights);
 - prices nobody touched in the window are together one voice as soon as the providers that did move are a full panel
   with it: list prices that stand still must not hold the index still. Fewer than that do not outvote them;
 - fewer than three providers seen before: withheld with the reason. Three or four, or less than a week of history:
   said, and marked thin.

The window rolls. Each new day is linked to what was already said by the mean over all shared days (mean splice), so
nothing said is changed; by how much the newest window would have changed it is reported as the revision.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from monitor.model import BoolArray, FloatArray, Observation

RentalMarket = Literal["spot", "on_demand", "reserved"]
OfferKind = Literal["list", "ask", "transaction"]

WINDOW_DAYS = 42
#: fewer providers than this are no panel
MINIMUM_PROVIDERS = 3
#: fewer than this are a thin one: three voices outvote one that errs, five outvote two
FULL_PROVIDERS = 5
#: with fewer days said before, a series' own level is hardly known
FULL_DAYS = 7
#: an index known less well than this is withheld
LARGEST_ERROR = 0.10
#: no GPU rents outside of this, in USD per GPU-hour
LOWEST_USD, HIGHEST_USD = 0.01, 100.0
#: Huber's constant: 95 % efficient under normal noise
HUBER_K = 1.345
#: prices in cents and list prices that stand still make the measured noise too small
SMALLEST_NOISE = 0.02
#: a series has moved when its highest and lowest log price in the window differ by more than this
MOVED = 0.005
MAD_TO_SD = 1.4826
#: log price below which another round of the regression changes nothing worth saying
CONVERGED = 1e-7


# ---------------------------------------------------------------- the nouns
@dataclass(frozen=True, slots=True)
class Offer:
    """One price at which one provider lets one GPU model: neither a list price of a market nor an index.

    ``price_usd_per_gpu_hour`` is per single GPU whatever the size of the machine, ``count`` GPUs of it. ``kind`` says
    what the price is: ``list`` (on a page), ``ask`` (an offer that can be taken), ``transaction`` (was paid).
    ``series`` names what is compared over time: see :func:`offer_series`.
    """

    provider: str
    model: str
    market: RentalMarket
    price_usd_per_gpu_hour: float
    observed_at: datetime
    known_at: datetime
    region: str
    count: int
    kind: OfferKind
    series: str


def offer_series(provider: str, model: str, market: RentalMarket, kind: OfferKind, region: str, count: int) -> str:
    """The identity of an offer over time: provider, model, market, kind, region (or class of service), machine size.

    >>> offer_series("RunPod", "H100", "on_demand", "list", "secure", 1)
    'runpod/h100/on_demand/list/secure/1'
    """
    return "/".join((provider, model, market, kind, region or "any", str(count))).lower().replace(" ", "-")


def offer_of(observation: Observation) -> Offer | None:
    """The offer an observation of a raw-offer series stands for (its subject is the offer's series), or None.

    >>> noon = datetime(2026, 8, 14, 12, tzinfo=UTC)
    >>> name = "runpod/h100/on_demand/list/secure/1"
    >>> seen = Observation("offer_h100_usd", 2.99, "usd/gpu-hour", noon, noon, "RunPod", subject=name)
    >>> found = offer_of(seen)
    >>> found.provider, found.model, found.market, found.kind, found.count
    ('runpod', 'H100', 'on_demand', 'list', 1)
    """
    parts = observation.subject.split("/")
    if not observation.series.startswith("offer_") or len(parts) != 6 or not parts[5].isdigit():
        return None
    provider, model, market, kind, region, count = parts
    if market not in get_args(RentalMarket) or kind not in get_args(OfferKind):
        return None
    return Offer(
        provider,
        model.upper(),
        cast(RentalMarket, market),
        observation.value,
        observation.observed_at,
        observation.known_at,
        region,
        int(count),
        cast(OfferKind, kind),
        observation.subject,
    )


@dataclass(frozen=True)
class Panel:
    """Offers of one model and market as a table: log prices (S series, T days), NaN where a series was not offered.

    ``provider`` (S,) numbers the providers; ``left_out`` (T,) counts offers of a day with no believable price.
    """

    days: tuple[date, ...]
    series: tuple[str, ...]
    provider: NDArray[np.int64]
    log_price: FloatArray
    left_out: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class IndexPoint:
    """The index of one day, or why there is none: the value is NaN exactly with a reason in ``withheld``.

    The level is that of the first panel (the median of its providers); from there on only matched moves count.
    ``matched``: providers that were also seen on an earlier day the index was said. ``moved``: those of them with a
    price that moved within the window. ``dispersion``: robust standard deviation of log prices between providers.
    ``standard_error``: of the log index, from the noise within series. ``revision``: the most by which the newest
    window would change any value already said, as a fraction. ``jevons_usd_per_gpu_hour``: the chained Jevons index,
    a cross-check that drifts; NaN from the first day no series can be followed. ``rebased``: a new level begins here.
    """

    day: date
    value_usd_per_gpu_hour: float
    withheld: str
    thin: bool
    rebased: bool
    providers: int
    series: int
    matched: int
    moved: int
    left_out: int
    dispersion: float
    standard_error: float
    revision: float
    jevons_usd_per_gpu_hour: float


# ---------------------------------------------------------------- offers -> panel
def believable(price_usd_per_gpu_hour: float) -> bool:
    """Whether a price can be one at all: finite, and no GPU rents below a cent or above 100 USD an hour.

    >>> [believable(p) for p in (2.5, 0.0, -2.5, 250.0, float("nan"))]
    [True, False, False, False, False]
    """
    return LOWEST_USD <= price_usd_per_gpu_hour <= HIGHEST_USD


def panel(offers: Iterable[Offer], model: str, market: RentalMarket, at: datetime) -> Panel:
    """The offers of one model and market known at ``at``; several of one series and day count with their median."""
    prices: dict[tuple[str, date], list[float]] = defaultdict(list)
    provider_of: dict[str, str] = {}
    left_out: dict[date, int] = defaultdict(int)
    for offer in offers:
        if offer.model != model or offer.market != market or max(offer.known_at, offer.observed_at) > at:
            continue
        day = offer.observed_at.astimezone(UTC).date()
        if believable(offer.price_usd_per_gpu_hour):
            prices[offer.series, day].append(math.log(offer.price_usd_per_gpu_hour))
            provider_of[offer.series] = offer.provider
        else:
            left_out[day] += 1
    days = sorted({day for _, day in prices} | set(left_out))
    series = sorted(provider_of)
    table = np.full((len(series), len(days)), np.nan)
    row = {name: index for index, name in enumerate(series)}
    column = {day: index for index, day in enumerate(days)}
    for (name, day), found in prices.items():
        table[row[name], column[day]] = float(np.median(found))
    number = {name: index for index, name in enumerate(sorted(set(provider_of.values())))}
    providers = np.array([number[provider_of[name]] for name in series], np.int64)
    return Panel(tuple(days), tuple(series), providers, table, np.array([left_out[day] for day in days], np.int64))


def _voices(provider: NDArray[np.int64], chosen: BoolArray) -> int:
    """How many providers stand behind the chosen series."""
    return len(np.unique(provider[chosen]))


def _provider_levels(provider: NDArray[np.int64], log_price: FloatArray) -> FloatArray:
    """The median log price of each provider on one day."""
    offered = np.isfinite(log_price)
    return np.array([np.median(log_price[offered & (provider == p)]) for p in np.unique(provider[offered])])


def robust_sd(values: FloatArray) -> float:
    """1.4826 times the median absolute deviation: the standard deviation of normal values, blind to outliers.

    >>> robust_sd(np.array([1.0, 2.0, 3.0, 4.0, 500.0]))
    1.4826
    """
    return MAD_TO_SD * float(np.median(np.abs(values - np.median(values)))) if values.size else math.nan


# ---------------------------------------------------------------- the regression of one window
@dataclass(frozen=True)
class Window:
    """One fitted window: log day effects (T,), NaN where not connected to the last day, up to a constant.

    ``moved`` (S,): which series moved at all. ``standard_error``: of the last day's effect, from the larger of the
    window's noise and that day's disagreement, over the root of the voices that were heard.
    """

    day_effect: FloatArray
    moved: BoolArray
    standard_error: float


def connected(known: BoolArray) -> tuple[BoolArray, BoolArray]:
    """(series, days) of a table that hang together with its last day through shared offers.

    Only these can be compared: between two sets of offers that never met, any move fits.
    """
    days = np.zeros(known.shape[1], np.bool_)
    days[-1] = True
    while True:
        series = np.any(known[:, days], axis=1)
        reached = np.any(known[series], axis=0) | days
        if np.array_equal(reached, days):
            return series, days
        days = reached


def voice_weights(known: BoolArray, provider: NDArray[np.int64], moved: BoolArray) -> FloatArray:
    """Weight of each price (S, T): one per provider and day; untouched prices share one voice beside moving ones.

    They do so on days when that one voice and the providers that moved are a full panel.
    """
    same = (provider[:, None] == provider[None, :]).astype(np.float64)
    weight = np.where(known, 1.0 / np.maximum(same @ known, 1.0), 0.0)
    # 1 / (moved series of the same provider), summed: the number of providers that moved
    moving = (known & moved[:, None]) / np.maximum(same @ (known & moved[:, None]), 1.0)
    outvoted = np.round(moving.sum(axis=0)) >= FULL_PROVIDERS - 1
    still = np.where(moved[:, None], 0.0, weight)
    shared = np.where(outvoted, np.maximum(still.sum(axis=0), 1.0), 1.0)
    return np.where(moved[:, None], weight, still / shared)


def _least_squares(price: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(series effects (S,), day effects (T,)) of the weighted two-way regression; the series effects have mean zero.

    The day effects are eliminated first: a panel has fewer series than days.
    """
    day_weight = weight.sum(axis=0)
    share = weight / day_weight
    matrix = np.diag(weight.sum(axis=1)) - share @ weight.T
    right = (weight * (price - (share * price).sum(axis=0))).sum(axis=1)
    # effects are only known up to a constant; adding this rank-one part chooses mean zero
    series_effect: FloatArray = np.linalg.solve(matrix + 1.0 / len(right), right)
    day_effect: FloatArray = (weight * (price - series_effect[:, None])).sum(axis=0) / day_weight
    return series_effect, day_effect


def _weighted_median(values: FloatArray, weight: FloatArray) -> float:
    """The value with half of the weight on either side."""
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _robust(
    price: FloatArray, known: BoolArray, base: FloatArray, noise: float, rounds: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Day effects, residuals and final weights with Huber's weights for one given noise: iterated least squares."""
    weight, effect, residual = base, np.zeros(price.shape[1]), price
    for _ in range(rounds):
        before = effect
        series_effect, effect = _least_squares(price, weight)
        residual = np.where(known, price - series_effect[:, None] - effect, 0.0)
        weight = base * np.minimum(1.0, HUBER_K * noise / np.maximum(np.abs(residual), 1e-12))
        if np.abs(effect - before).max() < CONVERGED:
            break
    return effect, residual, weight


def fit(log_price: FloatArray, provider: NDArray[np.int64]) -> Window:
    """The robust time-product-dummy regression of one window (S, T); its last day must hold an offer.

    First with almost absolute deviations to measure the noise, then with Huber's weights at that noise.
    """
    known = np.isfinite(log_price)
    rows, columns = connected(known)
    known = known[np.ix_(rows, columns)]
    price = np.where(known, log_price[np.ix_(rows, columns)], 0.0)
    spread = np.where(known, price, -np.inf).max(axis=1) - np.where(known, price, np.inf).min(axis=1)
    base = voice_weights(known, provider[rows], spread > MOVED)
    _, residual, _ = _robust(price, known, base, SMALLEST_NOISE / 4, 20)
    noise = max(MAD_TO_SD * _weighted_median(np.abs(residual[known]), base[known]), SMALLEST_NOISE)
    effect, residual, weight = _robust(price, known, base, noise, 60)
    voices = weight[:, -1].sum()
    today = math.sqrt((weight[:, -1] * residual[:, -1] ** 2).sum() / voices)
    day_effect, moved = np.full(len(columns), np.nan), np.zeros(len(rows), np.bool_)
    day_effect[columns], moved[rows] = effect, spread > MOVED
    return Window(day_effect, moved, max(noise, today) / math.sqrt(voices))


# ---------------------------------------------------------------- the index
def chained_jevons(table: Panel) -> FloatArray:
    """Log of the chained Jevons index (T,), 0 on the first day: each day the mean move of what the day before had too.

    One voice per provider. It is simple and drifts when offers come and go at other prices; NaN once nothing matched.
    """
    chain = np.zeros(len(table.days))
    for day in range(1, len(table.days)):
        move = table.log_price[:, day] - table.log_price[:, day - 1]
        matched = np.isfinite(move)
        moves = [move[matched & (table.provider == p)].mean() for p in np.unique(table.provider[matched])]
        chain[day] = chain[day - 1] + (float(np.mean(moves)) if moves else math.nan)
    return chain


def rental_index(
    offers: Iterable[Offer],
    model: str,
    market: RentalMarket,
    at: datetime,
    published: Mapping[date, float] | None = None,
    window_days: int = WINDOW_DAYS,
) -> tuple[IndexPoint, ...]:
    """The index of one model and market, one point per day with offers, from what was known at ``at``.

    ``published``: USD per GPU-hour already said, by day; those days are linked to and not computed again. The last day
    may still be going on, so only days that are over belong there.

    >>> day, now = datetime(2026, 8, 14, 12, tzinfo=UTC), datetime(2026, 8, 16, tzinfo=UTC)
    >>> offers = [
    ...     Offer(p, "H100", "spot", price, when, when, "", 8, "ask", p)
    ...     for when, prices in ((day, (2.0, 2.5, 3.0)), (day.replace(day=15), (2.2, 2.75, 3.3)))
    ...     for p, price in zip("abc", prices)
    ... ]
    >>> [(round(p.value_usd_per_gpu_hour, 2), p.thin) for p in rental_index(offers, "H100", "spot", now)]
    [(2.5, True), (2.75, True)]
    """
    table = panel(offers, model, market, at)
    said = {day: math.log(value) for day, value in (published or {}).items() if believable(value)}
    points: list[IndexPoint] = []
    for t, day in enumerate(table.days):
        if day not in said:
            point = _point(table, t, said, window_days)
            points.append(point)
            if not point.withheld:
                said[day] = math.log(point.value_usd_per_gpu_hour)
    return _with_jevons(table, said, points)


def _point(table: Panel, t: int, said: Mapping[date, float], window_days: int) -> IndexPoint:
    """The index of one day, linked to what was said before."""
    offered = np.isfinite(table.log_price[:, t])
    levels = _provider_levels(table.provider, table.log_price[:, t])
    bare = IndexPoint(
        day=table.days[t],
        value_usd_per_gpu_hour=math.nan,
        withheld="",
        thin=True,
        rebased=False,
        providers=len(levels),
        series=int(offered.sum()),
        matched=0,
        moved=0,
        left_out=int(table.left_out[t]),
        dispersion=robust_sd(levels),
        standard_error=math.nan,
        revision=0.0,
        jevons_usd_per_gpu_hour=math.nan,
    )
    if len(levels) < MINIMUM_PROVIDERS:
        return replace(bare, withheld=f"offers of {_providers(len(levels))}, {MINIMUM_PROVIDERS} needed")
    first = bisect_left(table.days, table.days[t] - timedelta(days=window_days - 1))
    earlier = np.array([u for u in range(first, t) if table.days[u] in said], np.int64)
    if earlier.size == 0:
        return replace(bare, value_usd_per_gpu_hour=math.exp(np.median(levels)), rebased=bool(said))
    return _linked(bare, table, t, first, earlier, np.array([said[table.days[u]] for u in earlier]))


def _linked(
    bare: IndexPoint, table: Panel, t: int, first: int, earlier: NDArray[np.int64], said: FloatArray
) -> IndexPoint:
    """Fit the window of day t (columns from ``first``) and link it to the values said on its earlier days."""
    offered = np.isfinite(table.log_price[:, t])
    matched = offered & np.isfinite(table.log_price[:, earlier]).any(axis=1)
    voices = _voices(table.provider, matched)
    if voices < MINIMUM_PROVIDERS:
        seen = f"only {_providers(voices)} of {bare.providers} seen before, {MINIMUM_PROVIDERS} needed"
        return replace(bare, matched=voices, withheld=seen)
    window = fit(table.log_price[:, first : t + 1], table.provider)
    effect = window.day_effect[earlier - first]
    offset = (said - effect)[np.isfinite(effect)]
    link = float(offset.mean())
    value, why = math.exp(window.day_effect[-1] + link), ""
    if window.standard_error > LARGEST_ERROR:
        value, why = math.nan, f"the providers disagree: the index would be known to {window.standard_error:.0%} only"
    return replace(
        bare,
        value_usd_per_gpu_hour=value,
        withheld=why,
        thin=voices < FULL_PROVIDERS or earlier.size < FULL_DAYS,
        matched=voices,
        moved=_voices(table.provider, matched & window.moved),
        standard_error=window.standard_error,
        revision=float(np.abs(np.expm1(link - offset)).max()),
    )


def _providers(count: int) -> str:
    return f"{count} provider" if count == 1 else f"{count} providers"


def _with_jevons(table: Panel, said: Mapping[date, float], points: Sequence[IndexPoint]) -> tuple[IndexPoint, ...]:
    """The points with the chained Jevons index beside them, both beginning at the same level."""
    chain = dict(zip(table.days, chained_jevons(table), strict=True))
    start = next((said[day] - chain[day] for day in table.days if day in said), math.nan)
    return tuple(replace(p, jevons_usd_per_gpu_hour=math.exp(start + chain[p.day])) for p in points)
