"""What each price series may look like: its unit, its plausible range, how fast it ages, how far it may jump. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.calendars import Calendar, open_s
from monitor.model import Level, Observation
from monitor.units import format_value

HOUR, DAY = 3600.0, 86400.0
#: a clock that runs ahead of ours by less than this is forgiven
CLOCK_SLACK = timedelta(minutes=5)
#: jumps are judged over at least this long: one schedule step
SHORTEST_STEP_S = 900.0


# ---------------------------------------------------------------- what is plausible
@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """What a series may look like.

    ``low`` and ``high`` bound any plausible value and catch wrong units (cents, satoshi, percent for fraction).
    ``max_age_live_s`` holds for answers fetched now, ``max_age_recorded_s`` for recorded rows and marks. One source
    alone is believed up to max(``jump_floor``, ``jump_per_sqrt_day`` * sqrt(days)) from the last accepted value, as a
    fraction of it; ``jump_floor`` None switches that test off. ``venue_limit``: how far two venues may
    differ and still agree.
    ``business_days``: weekends and the holidays of its ``calendar`` do not age it.
    """

    unit: str
    low: float
    high: float
    max_age_live_s: float
    max_age_recorded_s: float
    level: Level = "market"
    jump_floor: float | None = None
    jump_per_sqrt_day: float = 0.0
    venue_limit: float = 0.02
    minimum_venues: int = 1
    business_days: bool = False
    calendar: Calendar = "us_bonds"


def _list_price(low: float, high: float) -> SeriesSpec:
    """List prices move when a provider edits its page or the panel changes: a version per hour, valid for a week."""
    return SeriesSpec("usd/gpu-hour", low, high, 7 * DAY, 7 * DAY, jump_floor=0.15, jump_per_sqrt_day=0.10)


def _rent_index(low: float, high: float) -> SeriesSpec:
    """A monthly index: valid until the one after the next is overdue."""
    return SeriesSpec("usd/gpu-hour", low, high, 75 * DAY, 75 * DAY, jump_floor=0.10, jump_per_sqrt_day=0.08)


def _daily_index(low: float, high: float) -> SeriesSpec:
    """A daily index, a day behind."""
    return SeriesSpec("usd/gpu-hour", low, high, 4 * DAY, 4 * DAY, jump_floor=0.10, jump_per_sqrt_day=0.05)


def _raw_offer(low: float, high: float) -> SeriesSpec:
    """One provider's offers of one model, by subject: no jump test, because the index judges them together."""
    return SeriesSpec("usd/gpu-hour", low, high, DAY, DAY, "facility")


def _token_offer() -> SeriesSpec:
    """List prices of one language model, by subject, in USD per million tokens: dated with the start of their day."""
    return SeriesSpec("usd/mtok", 0.001, 2_000, 2 * DAY, 2 * DAY, "facility")


def _token_index() -> SeriesSpec:
    """A daily index of list prices: makers cut by half at once, so only what an index cannot do is doubted."""
    return SeriesSpec("usd/mtok", 0.01, 200, 4 * DAY, 4 * DAY, jump_floor=0.5)


def _filing() -> SeriesSpec:
    """A filing that reports something: 1, dated with its acceptance. An event, not a price; it never ages out."""
    return SeriesSpec("flag", 1, 1, 100 * 365 * DAY, 100 * 365 * DAY, "borrower")


def _mark(unit: str, low: float, high: float, level: Level = "borrower") -> SeriesSpec:
    """A mark somebody wrote down: opinions differ, so no jump test; it counts for 120 days and its age is shown."""
    return SeriesSpec(unit, low, high, 120 * DAY, 120 * DAY, level, venue_limit=0.25)


#: every series a feed, a recorded file or the book's marks may give
SERIES: dict[str, SeriesSpec] = {
    "btc_usd": SeriesSpec("usd", 1_000, 2_000_000, HOUR, 3 * DAY, jump_floor=0.03, jump_per_sqrt_day=0.25),
    "eth_usd": SeriesSpec("usd", 50, 100_000, HOUR, 3 * DAY, jump_floor=0.04, jump_per_sqrt_day=0.30),
    "difficulty": SeriesSpec("number", 1e12, 1e17, DAY, 30 * DAY, jump_floor=0.30),
    # an assumed reward holds until the next halving, expected in 2028
    "block_reward_btc": SeriesSpec("btc", 0.7, 60, DAY, 4 * 365 * DAY, jump_floor=0.30),
    "hashprice_usd_ph_day": SeriesSpec("usd/ph/day", 1, 2_000, DAY, 10 * DAY, jump_floor=0.10, jump_per_sqrt_day=0.25),
    "rent_a100_list_usd": _list_price(0.1, 12),
    "rent_h100_list_usd": _list_price(0.2, 20),
    "rent_h200_list_usd": _list_price(0.2, 24),
    "rent_b200_list_usd": _list_price(0.3, 30),
    "rent_a100_index_usd": _rent_index(0.1, 12),
    "rent_h100_index_usd": _rent_index(0.2, 20),
    "rent_h200_index_usd": _rent_index(0.2, 24),
    "rent_b200_index_usd": _rent_index(0.3, 30),
    "rent_a100_ornn_usd": _daily_index(0.1, 12),
    "rent_h100_ornn_usd": _daily_index(0.2, 20),
    "rent_h200_ornn_usd": _daily_index(0.2, 24),
    "rent_b200_ornn_usd": _daily_index(0.3, 30),
    **{
        f"rent_{model}_{market}_usd": _daily_index(low, high)
        for model, low, high in (("a100", 0.05, 12), ("h100", 0.1, 20), ("h200", 0.1, 24), ("b200", 0.1, 30))
        for market in ("on_demand", "spot")
    },
    "offer_a100_usd": _raw_offer(0.05, 12),
    "offer_h100_usd": _raw_offer(0.1, 20),
    "offer_h200_usd": _raw_offer(0.1, 24),
    "offer_b200_usd": _raw_offer(0.1, 30),
    "offer_token_usd": _token_offer(),
    "tokens_input_index_usd": _token_index(),
    "tokens_output_index_usd": _token_index(),
    **{
        f"filing_{kind}": _filing()
        for kind in (
            *("bankruptcy", "new_debt", "acceleration", "impairment", "delisting_notice", "auditor_change"),
            *("non_reliance", "officer_change", "late_filing", "going_concern", "cfo_exit", "useful_life_change"),
        )
    },
    "dvol_btc": SeriesSpec("ratio", 0.05, 5, 3 * HOUR, 3 * DAY, jump_floor=0.25, jump_per_sqrt_day=0.50),
    "dvol_eth": SeriesSpec("ratio", 0.05, 5, 3 * HOUR, 3 * DAY, jump_floor=0.25, jump_per_sqrt_day=0.50),
    "network_hashrate_eh": SeriesSpec("number", 50, 20_000, 4 * DAY, 10 * DAY, jump_floor=0.20),
    "resale_a100_usd": _mark("usd", 200, 100_000, "market"),
    "resale_h100_usd": _mark("usd", 200, 100_000, "market"),
    "resale_h200_usd": _mark("usd", 200, 100_000, "market"),
    "resale_b200_usd": _mark("usd", 200, 150_000, "market"),
    "hy_spread_bp": SeriesSpec(
        "bp", 100, 3_000, 4 * DAY, 4 * DAY, jump_floor=0.15, jump_per_sqrt_day=0.15, business_days=True
    ),
    "sofr": SeriesSpec("ratio", -0.01, 0.25, 4 * DAY, 4 * DAY, business_days=True),
    "cds_5y_bp": _mark("bp", 1, 10_000),
    "loan_spread_bp": _mark("bp", 1, 5_000),
    "bond_price": _mark("points", 1, 250),
    "share_price_usd": SeriesSpec(
        "usd", 0.001, 1e6, 5 * DAY, 30 * DAY, "borrower", business_days=True, calendar="us_stocks"
    ),
}


# ---------------------------------------------------------------- age and plausibility
def age_s(spec: SeriesSpec, observed_at: datetime, now: datetime) -> float:
    """Age of a value in seconds; of a business-day series without weekends and holidays.

    >>> from datetime import UTC
    >>> friday, monday = datetime(2026, 8, 14, 21, tzinfo=UTC), datetime(2026, 8, 17, 9, tzinfo=UTC)
    >>> age_s(SERIES["sofr"], friday, monday) / HOUR, age_s(SERIES["btc_usd"], friday, monday) / HOUR
    (12.0, 60.0)
    """
    if spec.business_days:
        return open_s(spec.calendar, observed_at, now)
    return (now - observed_at).total_seconds()


def max_age_s(spec: SeriesSpec, known_basis: str) -> float:
    """How old a value may be before it counts as unknown: live answers age faster than recorded ones."""
    return spec.max_age_live_s if known_basis == "live" else spec.max_age_recorded_s


def jump_limit(spec: SeriesSpec, elapsed_s: float) -> float:
    """The largest move, as a fraction, that one source alone may report after this much time; infinite when off.

    >>> [round(jump_limit(SERIES["btc_usd"], hours * HOUR), 3) for hours in (0.25, 6, 24)]
    [0.03, 0.125, 0.25]
    """
    if spec.jump_floor is None:
        return math.inf
    return max(spec.jump_floor, spec.jump_per_sqrt_day * math.sqrt(max(elapsed_s, SHORTEST_STEP_S) / DAY))


#: factors between units that are taken for one another: unit -> (factor, what it would mean)
UNIT_SWAPS: dict[str, tuple[tuple[float, str], ...]] = {
    "usd": ((100.0, "cents for dollars"), (1000.0, "thousands")),
    "usd/gpu-hour": ((100.0, "cents for dollars"), (8.0, "a machine of eight for one GPU")),
    "usd/mtok": ((1000.0, "a thousand tokens for a million"), (100.0, "cents for dollars")),
    "usd/ph/day": ((1000.0, "another unit of hashrate"), (100.0, "cents for dollars")),
    "ratio": ((100.0, "percent for a fraction"), (10_000.0, "basis points for a fraction")),
    "bp": ((100.0, "percent for basis points"),),
    "points": ((100.0, "a fraction for percent of par"),),
    "btc": ((1000.0, "another unit of bitcoin"), (1e8, "satoshi for bitcoin")),
    "number": ((1000.0, "another unit"),),
}
#: how far from such a factor a value may be and still look like it
SWAP_SLACK = 0.08


def unit_swap(value: float, base: float, unit: str) -> str:
    """What units may have been taken for one another, when a value is just such a factor from the one before.

    >>> unit_swap(21.0, 2.6, "usd/gpu-hour"), unit_swap(0.000365, 0.0365, "ratio"), unit_swap(2.9, 2.6, "usd/gpu-hour")
    ('a machine of eight for one GPU', 'percent for a fraction', '')
    """
    if value <= 0 or base <= 0:
        return ""
    factor = max(value / base, base / value)
    near = (what for size, what in UNIT_SWAPS.get(unit, ()) if abs(factor / size - 1) <= SWAP_SLACK)
    return next(near, "")


def fault(observation: Observation, spec: SeriesSpec) -> str:
    """Why an observation cannot be believed at all, or an empty string."""
    value, unit = observation.value, observation.unit.strip().lower()
    if unit != spec.unit:
        return f"{observation.source} gave {observation.series} in {unit or 'no unit'!r}, expected {spec.unit!r}"
    if not math.isfinite(value):
        return f"{observation.source} gave {value} for {observation.series}"
    if not spec.low <= value <= spec.high:
        side, bound = ("below", spec.low) if value < spec.low else ("above", spec.high)
        said = f"{observation.source} gave {show(value, unit)}"
        fits = [what for factor, what in UNIT_SWAPS.get(unit, ()) if _fits(value, factor, spec)]
        guess = f"; it may be {fits[0]}" if len(fits) == 1 else ""
        return f"{said}, {side} any plausible {observation.series} ({show(bound, unit)}){guess}"
    if observation.observed_at > observation.known_at + CLOCK_SLACK:
        return (
            f"{observation.source} dated {observation.series} {observation.observed_at:%Y-%m-%d %H:%M}Z, in the future"
        )
    return ""


def _fits(value: float, factor: float, spec: SeriesSpec) -> bool:
    """Whether a value outside of the bounds is inside of them in a unit that is so many times another."""
    return spec.low <= (value / factor if value > spec.high else value * factor) <= spec.high


def show(value: float, unit: str) -> str:
    """A price with its unit for a sentence.

    >>> show(62_100, "usd"), show(148.26e12, "number"), show(2.5, "usd/gpu-hour")
    ('62,100 USD', '1.483e+14', '2.50 usd/gpu-hour')
    """
    return f"{value:.4g}" if unit == "number" else format_value(value, unit)
