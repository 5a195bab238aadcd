"""Prices that are not believed at once: other units by their factor, and days on which nothing is published."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.calendars import closed_days, easter, open_s
from monitor.market import quotes
from monitor.model import MARKET, Observation
from monitor.series import DAY, SERIES, age_s, fault, unit_swap

NOW = datetime(2026, 8, 14, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def seen(series: str, value: float, hours: float, source: str = "A") -> Observation:
    at = NOW + hours * HOUR
    return Observation(series, value, SERIES[series].unit, at, at, source)


# ---------------------------------------------------------------- other units
SWAPS = {
    "percent for a fraction": ("sofr", 0.0365, 0.000365, "percent for a fraction"),
    "thousandths": ("hashprice_usd_ph_day", 41.0, 41.0 / 8, ""),
    "machine of eight": ("rent_h100_list_usd", 2.2, 17.6, "a machine of eight"),
    "TH for PH": ("hashprice_usd_ph_day", 1_900.0, 1.9, "another unit of hashrate"),
}


@pytest.mark.parametrize(("series", "before", "after", "says"), SWAPS.values(), ids=SWAPS)
def test_a_value_that_looks_like_another_unit_is_not_believed_again_and_again(
    series: str, before: float, after: float, says: str
) -> None:
    """A source that mistakes its unit repeats itself: only another source can confirm such a jump."""
    rows = [seen(series, before, 0), *(seen(series, after, hours) for hours in (1, 2, 3))]
    quote = quotes(rows, NOW + 3 * HOUR)[series, MARKET]
    if not says:  # a plain jump confirms itself with the next observation
        assert (quote.value, quote.in_doubt) == (after, "")
        return
    assert quote.value == before
    assert says in quote.in_doubt
    both = [*rows, seen(series, after, 3, "B")]
    assert quotes(both, NOW + 3 * HOUR)[series, MARKET].value == after


def test_a_right_value_after_a_wrong_unit_ends_the_doubt() -> None:
    """When the source finds its unit again, its value counts at once."""
    rows = [seen("sofr", 0.0365, 0), seen("sofr", 0.000365, 1), seen("sofr", 0.0364, 2)]
    quote = quotes(rows, NOW + 2 * HOUR)["sofr", MARKET]
    assert (quote.value, quote.in_doubt) == (0.0364, "")


@settings(max_examples=60, deadline=None)
@given(value=st.floats(1e-6, 1e6), factor=st.floats(0.93, 1.07), unit=st.sampled_from(["usd", "ratio", "usd/gpu-hour"]))
def test_a_swap_is_seen_both_ways_and_an_ordinary_move_is_none(value: float, factor: float, unit: str) -> None:
    """A hundredfold up or down is a swap; moves of less than a few times never are."""
    assert unit_swap(value * 100 * factor, value, unit) == unit_swap(value, value * 100 * factor, unit) != ""
    assert unit_swap(value * factor, value, unit) == ""
    assert unit_swap(value * 3 * factor, value, unit) == ""


@pytest.mark.parametrize("base", [0.0, -1.0])
def test_nothing_is_a_factor_of_nothing(base: float) -> None:
    """Zero and negative values have no factor."""
    assert unit_swap(1.0, base, "ratio") == unit_swap(base, 1.0, "ratio") == ""


def test_a_refused_value_says_which_unit_it_may_be_in() -> None:
    """Only when one unit alone would make it believable; else no guess."""
    said = fault(seen("rent_h100_list_usd", 250.0, 0), SERIES["rent_h100_list_usd"])
    assert said.endswith("above any plausible rent_h100_list_usd (20.0 usd/gpu-hour); it may be cents for dollars")
    assert "it may be" not in fault(seen("btc_usd", 6_210_000.0, 0), SERIES["btc_usd"])
    assert "it may be" not in fault(seen("btc_usd", -62_100.0, 0), SERIES["btc_usd"])


# ---------------------------------------------------------------- business days
@pytest.mark.parametrize(
    ("day", "bonds", "stocks"),
    [
        ("2026-01-01", True, True),
        ("2026-01-19", True, True),  # Martin Luther King
        ("2026-02-16", True, True),  # Presidents
        ("2026-04-03", True, True),  # Good Friday
        ("2026-05-25", True, True),  # Memorial
        ("2026-06-19", True, True),  # Juneteenth
        ("2026-07-03", True, True),  # the Fourth is a Saturday
        ("2026-09-07", True, True),  # Labor
        ("2026-10-12", True, False),  # Columbus
        ("2026-11-11", True, False),  # Veterans
        ("2026-11-26", True, True),  # Thanksgiving
        ("2026-12-25", True, True),
        ("2027-07-05", True, True),  # the Fourth is a Sunday
        ("2026-08-14", False, False),
    ],
)
def test_holidays_of_both_markets(day: str, bonds: bool, stocks: bool) -> None:
    """Bond and stock markets are closed on their own days."""
    when = date.fromisoformat(day)
    assert (when in closed_days("us_bonds", when.year)) == bonds
    assert (when in closed_days("us_stocks", when.year)) == stocks


def test_new_year_on_a_saturday_closes_no_day() -> None:
    """1 January 2022 was a Saturday; the Friday before was a trading day of 2021."""
    assert date(2021, 12, 31) not in closed_days("us_stocks", 2021)
    assert date(2022, 1, 1) not in closed_days("us_stocks", 2022)


@pytest.mark.parametrize("day", ["2024-03-31", "2025-04-20", "2026-04-05", "2027-03-28", "2038-04-25"])
def test_easter(day: str) -> None:
    """Good Friday moves with it."""
    assert easter(int(day[:4])) == date.fromisoformat(day)


def test_a_long_weekend_does_not_age_a_rate() -> None:
    """Thursday's SOFR before Labor Day is as old on Tuesday as it would be on Friday and a bit; bitcoin is not."""
    friday, tuesday = datetime(2026, 9, 4, tzinfo=UTC), datetime(2026, 9, 8, 12, tzinfo=UTC)
    assert age_s(SERIES["sofr"], friday, tuesday) == 1.5 * DAY
    assert age_s(SERIES["btc_usd"], friday, tuesday) == 4.5 * DAY


def test_stocks_trade_when_bonds_rest() -> None:
    """On Columbus Day a share price ages and a bond spread does not."""
    monday, tuesday = datetime(2026, 10, 12, tzinfo=UTC), datetime(2026, 10, 13, tzinfo=UTC)
    assert age_s(SERIES["share_price_usd"], monday, tuesday) == DAY
    assert age_s(SERIES["hy_spread_bp"], monday, tuesday) == 0


moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@settings(max_examples=50, deadline=None)
@given(a=moments, b=moments, c=moments)
def test_open_time_adds_up_and_never_runs_backwards(a: datetime, b: datetime, c: datetime) -> None:
    """Between a and c lies what lies between a and b and between b and c; less than the time itself."""
    first, middle, last = sorted((a, b, c))
    whole = open_s("us_bonds", first, last)
    assert whole == pytest.approx(open_s("us_bonds", first, middle) + open_s("us_bonds", middle, last), abs=1e-3)
    assert -1e-3 <= whole <= (last - first).total_seconds() + 1e-3
    assert open_s("us_bonds", last, first) == -whole
