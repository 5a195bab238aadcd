"""What the prices in force must be, whatever order, spike, gap or wrong unit comes in."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.market import SERIES, Tape, hashprice_usd_ph_day, history, quotes
from monitor.model import MARKET, Observation, end_of_day
from monitor.series import SeriesSpec

NOON = datetime(2026, 8, 14, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
BTC = ("btc_usd", MARKET)


def seen(value: float, at: datetime = NOON, source: str = "A", series: str = "btc_usd", **more: object) -> Observation:
    """One live observation, known when it was true unless said otherwise."""
    unit = str(more.pop("unit", SERIES[series].unit if series in SERIES else ""))
    known_at = more.pop("known_at", at)
    assert isinstance(known_at, datetime)
    return Observation(series, value, unit, at, known_at, source, **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- venues of one tick
def test_the_median_of_agreeing_venues_is_the_price() -> None:
    """Two venues that agree give their middle and are both named."""
    quote = quotes([seen(62_000, source="A"), seen(62_200, source="B")], NOON)[BTC]
    assert quote.value == 62_100
    assert quote.source == "median of A, B"
    assert not quote.in_doubt


def test_one_venue_far_from_two_others_is_left_out() -> None:
    """An outlier of three does not move the price, and is named with its number."""
    rows = [seen(62_000, source="A"), seen(62_200, source="B"), seen(91_000, source="C")]
    quote = quotes(rows, NOON)[BTC]
    assert quote.value == 62_100
    assert "left out 91,000 USD (C)" in quote.source
    assert not quote.in_doubt


def test_two_venues_that_disagree_and_no_past_give_no_price() -> None:
    """Nobody can say which of two is right: unknown, with both numbers."""
    quote = quotes([seen(62_000, source="A"), seen(91_000, source="B")], NOON)[BTC]
    assert math.isnan(quote.value)
    assert "62,000 USD (A)" in quote.reason
    assert "91,000 USD (B)" in quote.reason


def test_three_venues_of_which_no_two_agree_give_no_price() -> None:
    """The middle one of three different numbers is not right because it is in the middle."""
    rows = [seen(50_000, source="A"), seen(62_000, source="B"), seen(91_000, source="C")]
    quote = quotes(rows, NOON)[BTC]
    assert not quote.known
    assert "sources disagree" in quote.reason


@pytest.mark.parametrize(("other", "agree"), [(63_100, True), (63_500, False)])
def test_two_venues_agree_within_two_percent(other: float, agree: bool) -> None:
    """The limit is the distance between the two."""
    rows = [seen(62_000, source="A"), seen(other, source="B")]
    assert quotes(rows, NOON)[BTC].known is agree


def test_of_two_venues_that_disagree_the_one_near_the_past_counts() -> None:
    """The last accepted value decides, and the doubt says both numbers."""
    rows = [seen(62_000, NOON - QUARTER), seen(62_100, source="A"), seen(91_000, source="B")]
    quote = quotes(rows, NOON)[BTC]
    assert quote.value == 62_100
    assert "62,100" in quote.in_doubt
    assert "91,000" in quote.in_doubt


def test_when_neither_of_two_fits_the_last_value_stands() -> None:
    """Two wild and different numbers change nothing but the doubt."""
    rows = [seen(62_000, NOON - QUARTER), seen(80_000, source="A"), seen(91_000, source="B")]
    quote = quotes(rows, NOON)[BTC]
    assert quote.value == 62_000
    assert quote.observed_at == NOON - QUARTER
    assert "91,000" in quote.in_doubt


def test_a_contradicted_venue_cannot_confirm_itself() -> None:
    """A broken venue that was overruled stays a suspect even when the good one falls silent."""
    rows = [
        seen(62_000, NOON - 2 * QUARTER),
        seen(62_000, NOON - QUARTER),
        seen(91_000, NOON - QUARTER, "B"),
        seen(91_000, NOON, "B"),
    ]
    quote = quotes(rows, NOON)[BTC]
    assert quote.value == 62_000
    assert "91,000" in quote.in_doubt


def test_too_few_venues_keep_the_last_value() -> None:
    """A series that asks for two venues does not move on one."""
    two = {"btc_usd": SeriesSpec("usd", 1_000, 2_000_000, 3600, 3 * 86400, minimum_venues=2)}
    before = [seen(62_000, NOON - QUARTER, source) for source in "AB"]
    quote = quotes([*before, seen(62_500)], NOON, two)[BTC]
    assert quote.value == 62_000
    assert "only 1 of the 2 venues" in quote.in_doubt


def test_a_venue_with_an_old_trade_has_no_say_beside_a_fresh_one() -> None:
    """A ticker that stopped trading hours ago is not averaged with a live one."""
    rows = [seen(60_000, NOON - timedelta(hours=5), "A", known_at=NOON), seen(62_000, source="B")]
    quote = quotes(rows, NOON)[BTC]
    assert (quote.value, quote.source) == (62_000, "B")


# ---------------------------------------------------------------- jumps
def test_a_single_spike_is_quarantined_and_forgotten() -> None:
    """One wild number from one source never becomes the price; both numbers are said meanwhile."""
    rows = [seen(62_000, NOON - 2 * QUARTER), seen(91_000, NOON - QUARTER), seen(62_100, NOON)]
    during = quotes(rows, NOON - QUARTER)[BTC]
    assert during.value == 62_000
    assert "A says 91,000 USD" in during.in_doubt
    assert "62,000 USD" in during.in_doubt
    after = quotes(rows, NOON)[BTC]
    assert (after.value, after.in_doubt) == (62_100, "")


def test_the_next_observation_confirms_a_jump() -> None:
    """The same level seen again later is believed."""
    rows = [seen(62_000, NOON - 2 * QUARTER), seen(48_000, NOON - QUARTER), seen(47_500, NOON)]
    quote = quotes(rows, NOON)[BTC]
    assert (quote.value, quote.in_doubt) == (47_500, "")


def test_a_second_source_confirms_a_jump() -> None:
    """Another source that says the same at the next tick is enough, even with the same time of observation."""
    rows = [
        seen(62_000, NOON - 2 * QUARTER),
        seen(48_000, NOON - QUARTER),
        seen(48_100, NOON - QUARTER, "B", known_at=NOON),
    ]
    assert quotes(rows, NOON)[BTC].value == 48_100


def test_reading_the_same_observation_again_confirms_nothing() -> None:
    """A cached answer with an unchanged time is not a second observation, however often it is read."""
    stuck = NOON - 2 * QUARTER
    rows = [seen(62_000, NOON - 3 * QUARTER)]
    rows += [seen(91_000, stuck, known_at=stuck + number * QUARTER) for number in range(3)]
    quote = quotes(rows, NOON)[BTC]
    assert quote.value == 62_000
    assert "91,000" in quote.in_doubt


def test_two_venues_agreeing_in_one_tick_confirm_a_jump_at_once() -> None:
    """A crash seen by both venues is believed in the same tick."""
    rows = [seen(62_000, NOON - QUARTER), seen(40_000, source="A"), seen(40_100, source="B")]
    quote = quotes(rows, NOON)[BTC]
    assert (quote.value, quote.in_doubt) == (40_050, "")


def test_the_jump_test_is_off_after_the_maximum_age() -> None:
    """After a long silence there is nothing to compare with, so the first word counts."""
    rows = [seen(62_000, NOON - timedelta(hours=2)), seen(91_000)]
    assert quotes(rows, NOON)[BTC].value == 91_000


def test_a_suspect_does_not_keep_the_old_value_alive() -> None:
    """The last accepted value stands only until its own maximum age; then the reason says both numbers."""
    rows = [seen(62_000), seen(91_000, NOON + QUARTER)]
    quote = quotes(rows, NOON + timedelta(hours=2))[BTC]
    assert not quote.known
    assert "62,000 USD is 2 h old" in quote.reason
    assert "91,000" in quote.reason


def test_the_jump_limit_grows_with_the_square_root_of_time() -> None:
    """A move that is too fast for a quarter of an hour is normal for a day."""
    daily = {"known_basis": "assumed"}
    day = timedelta(days=1)
    rows = [seen(62_000, NOON, **daily), seen(72_000, NOON + day, **daily)]
    assert quotes(rows, NOON + day)[BTC].value == 72_000
    assert quotes([seen(62_000), seen(72_000, NOON + QUARTER)], NOON + QUARTER)[BTC].value == 62_000


# ---------------------------------------------------------------- age
@pytest.mark.parametrize(("hours", "known"), [(0.9, True), (1.0, True), (1.1, False)])
def test_a_live_price_stands_for_an_hour(hours: float, known: bool) -> None:
    """Within its maximum age a stored value is served with its own date, beyond it the reason says how old it is."""
    quote = quotes([seen(62_100)], NOON + timedelta(hours=hours))[BTC]
    assert quote.known is known
    assert quote.observed_at == NOON
    assert math.isnan(quote.value) is not known


def test_a_stale_price_says_its_value_age_and_limit() -> None:
    """The reason is a sentence a person can act on."""
    reason = quotes([seen(62_100)], NOON + timedelta(days=3))[BTC].reason
    assert reason == "last value 62,100 USD is 3 d old (limit 60 min)"


def test_a_recorded_close_stands_for_days() -> None:
    """A daily close is fresh when asked as of itself and for three days after; not for four."""
    close = end_of_day(date(2026, 8, 14))
    rows = [seen(62_100, close, known_basis="assumed")]
    assert quotes(rows, close)[BTC].value == 62_100
    assert quotes(rows, close + timedelta(days=3))[BTC].known
    assert not quotes(rows, close + timedelta(days=4))[BTC].known


def test_the_monthly_index_is_known_only_after_its_lag() -> None:
    """A month's value does not exist before it was published, and stands for 75 days."""
    month_end = end_of_day(date(2026, 7, 31))
    published = month_end + timedelta(days=5)
    key = ("rent_h100_index_usd", MARKET)
    row = seen(3.54, month_end, series=key[0], known_at=published, known_basis="assumed", restated=True)
    assert not quotes([row], published - timedelta(seconds=1))[key].known
    quote = quotes([row], published)[key]
    assert (quote.value, quote.restated, quote.known_basis) == (3.54, True, "assumed")
    assert not quotes([row], month_end + timedelta(days=76))[key].known


def test_a_weekend_does_not_age_a_business_day_series() -> None:
    """Friday's rate is one business day old on Monday and too old the Friday after."""
    friday = datetime(2026, 8, 14, 16, tzinfo=UTC)
    row = seen(0.0365, friday, series="sofr")
    assert quotes([row], friday + timedelta(days=5))["sofr", MARKET].known
    assert not quotes([row], friday + timedelta(days=7))["sofr", MARKET].known


def test_old_news_does_not_replace_a_younger_value() -> None:
    """A row of yesterday that becomes known today does not move a live price that is in force."""
    late = seen(61_900, NOON - timedelta(hours=12), "B", known_at=NOON + QUARTER, known_basis="assumed")
    quote = quotes([seen(62_000), late], NOON + QUARTER)[BTC]
    assert (quote.value, quote.observed_at) == (62_000, NOON)


def test_a_mark_is_served_with_its_age_for_120_days() -> None:
    """A quote somebody wrote down counts for its borrower until it is 120 days old."""
    key = ("cds_5y_bp", "coreweave")
    row = seen(452.0, series=key[0], subject=key[1], known_basis="published")
    assert quotes([row], NOON + timedelta(days=119))[key].observed_at == NOON
    assert not quotes([row], NOON + timedelta(days=121))[key].known


# ---------------------------------------------------------------- what cannot be a price
@pytest.mark.parametrize(
    ("series", "value", "unit"),
    [
        ("btc_usd", -62_100.0, "usd"),
        ("btc_usd", 0.0, "usd"),
        ("btc_usd", 6_210_000.0, "usd"),  # cents
        ("btc_usd", math.nan, "usd"),
        ("btc_usd", math.inf, "usd"),
        ("btc_usd", 62_100.0, "usdt"),
        ("block_reward_btc", 3.16e8, "btc"),  # satoshi
        ("block_reward_btc", 3.16e-8, "btc"),  # divided twice
        ("rent_h100_list_usd", 279.0, "usd/gpu-hour"),  # cents
        ("rent_h100_list_usd", 98.32, "usd/gpu-hour"),  # the whole machine
        ("sofr", 4.3, "ratio"),  # percent
        ("hy_spread_bp", 0.031, "bp"),  # fraction
        ("difficulty", 1.07, "number"),  # a ratio of change
    ],
)
def test_an_impossible_value_is_refused_with_its_reason(series: str, value: float, unit: str) -> None:
    """Wrong signs and wrong units never become a price, and the source is named."""
    quote = quotes([seen(value, series=series, unit=unit, source="Some source")], NOON)[series, MARKET]
    assert not quote.known
    assert "Some source" in quote.reason


def test_a_value_from_the_future_is_refused() -> None:
    """An observation cannot be younger than the moment it became known."""
    quote = quotes([seen(62_000, NOON + timedelta(days=1), known_at=NOON)], NOON)[BTC]
    assert "in the future" in quote.reason


def test_an_impossible_value_beside_a_good_one_casts_no_doubt() -> None:
    """When another venue gave the price, what was refused is only mentioned."""
    quote = quotes([seen(62_000, source="A"), seen(6_200_000, source="B")], NOON)[BTC]
    assert (quote.value, quote.in_doubt) == (62_000, "")
    assert "B gave 6.2m USD" in quote.source


def test_an_unknown_series_is_unknown_and_says_so() -> None:
    """A name nobody knows gives a reason, not a number."""
    assert quotes([seen(1.0, series="moon_usd")], NOON)["moon_usd", MARKET].reason == "no series is called 'moon_usd'"


# ---------------------------------------------------------------- hashprice
def mining(at: datetime = NOON, **more: object) -> list[Observation]:
    """Difficulty and reward as the live source gives them."""
    return [
        seen(148.26e12, at, series="difficulty", source="chain", **more),
        seen(3.18, at, series="block_reward_btc", source="chain", **more),
    ]


def test_hashprice_reproduces_a_published_point() -> None:
    """0.00043143 BTC per PH and day at a difficulty of 148.26 T is a reward of about 3.18 BTC a block."""
    assert hashprice_usd_ph_day(148.26e12, 3.18, 1.0) == pytest.approx(0.00043143, rel=2e-3)


def test_hashprice_is_derived_and_as_old_as_its_oldest_input() -> None:
    """It is marked derived, names its inputs and carries the date of its difficulty."""
    early = NOON - timedelta(hours=6)
    quote = quotes([*mining(early), seen(62_000)], NOON)["hashprice_usd_ph_day", MARKET]
    assert quote.value == pytest.approx(hashprice_usd_ph_day(148.26e12, 3.18, 62_000))
    assert (quote.quality, quote.observed_at, quote.unit) == ("derived", early, "usd/ph/day")
    assert "difficulty (chain)" in quote.source


def test_hashprice_with_an_old_difficulty_is_unknown_and_says_why() -> None:
    """A difficulty of January is no difficulty in August."""
    january = datetime(2026, 1, 9, tzinfo=UTC)
    rows = [*mining(january, known_basis="assumed"), seen(62_000)]
    quote = quotes(rows, NOON)["hashprice_usd_ph_day", MARKET]
    assert not quote.known
    assert "difficulty" in quote.reason
    assert "218 d old" in quote.reason


def test_an_assumed_reward_does_not_age_hashprice() -> None:
    """An assumption made in 2024 is marked, but the age shown is that of what was measured."""
    long_ago = datetime(2024, 4, 21, tzinfo=UTC)
    assumed = seen(3.156, long_ago, series="block_reward_btc", known_basis="assumed", quality="assumed")
    quote = quotes([mining()[0], assumed, seen(62_000)], NOON)["hashprice_usd_ph_day", MARKET]
    assert (quote.observed_at, quote.known_basis) == (NOON, "assumed")


def test_a_published_hashprice_counts_where_none_can_be_derived() -> None:
    """A press figure within its age is better than nothing."""
    row = seen(39.5, series="hashprice_usd_ph_day", known_basis="assumed", quality="press")
    quote = quotes([row], NOON + timedelta(days=2))["hashprice_usd_ph_day", MARKET]
    assert (quote.value, quote.quality) == (39.5, "press")


def test_a_doubted_bitcoin_price_casts_its_doubt_on_hashprice() -> None:
    """What rests on a value in doubt says so."""
    rows = [*mining(), seen(62_000, NOON - QUARTER), seen(91_000)]
    assert "btc_usd: A says 91,000 USD" in quotes(rows, NOON)["hashprice_usd_ph_day", MARKET].in_doubt


# ---------------------------------------------------------------- laws
moments = st.integers(0, 40).map(lambda step: NOON + step * QUARTER)


@st.composite
def observed(draw: st.DrawFn) -> Observation:
    """Live and recorded observations of several series, some wild, some impossible, some late."""
    series = draw(st.sampled_from(["btc_usd", "difficulty", "block_reward_btc", "rent_h100_index_usd", "moon_usd"]))
    at = draw(moments)
    base = {"btc_usd": 62_000.0, "difficulty": 1.4e14, "block_reward_btc": 3.2}.get(series, 3.5)
    value = base * draw(st.sampled_from([1.0, 1.005, 0.99, 1.3, 0.6, 100.0, -1.0, math.inf]))
    late = draw(st.sampled_from([timedelta(0), QUARTER, timedelta(hours=3)]))
    basis = draw(st.sampled_from(["live", "assumed"]))
    source = draw(st.sampled_from("ABC"))
    return seen(value, at, source, series, known_at=at + late, known_basis=basis)


histories = st.lists(observed(), max_size=20)


@settings(max_examples=30, deadline=None)
@given(histories, moments, st.randoms(use_true_random=False))
def test_the_order_of_observations_does_not_matter(rows: list[Observation], now: datetime, random: object) -> None:
    """Shuffled and repeated observations give the same quotes, to the word."""
    shuffled = [*rows, *rows[:3]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert repr(quotes(shuffled, now)) == repr(quotes(rows, now))


@settings(max_examples=30, deadline=None)
@given(histories, moments)
def test_nothing_known_later_changes_a_quote(rows: list[Observation], now: datetime) -> None:
    """A quote at a moment is the same whether or not what came later is in the list: no look-ahead."""
    past = [row for row in rows if row.known_at <= now]
    assert repr(quotes(rows, now)) == repr(quotes(past, now))
    tables, past_tables = history(rows, now), history(past, now)
    for name in (name for name, spec in SERIES.items() if spec.level == "market"):
        table = tables[name]
        for ours, theirs in zip(table.window(0, 0, 4e9), past_tables[name].window(0, 0, 4e9), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=30, deadline=None)
@given(histories, moments)
def test_a_quote_is_a_number_or_a_reason(rows: list[Observation], now: datetime) -> None:
    """NaN exactly when a reason is given; a known value is in bounds, dated, and within its age."""
    for (series, _), quote in quotes(rows, now).items():
        assert math.isnan(quote.value) == bool(quote.reason)
        if quote.known:
            assert SERIES[series].low <= quote.value <= SERIES[series].high
            assert quote.observed_at is not None
            assert quote.known_at is not None
            assert quote.known_at <= now


@settings(max_examples=30, deadline=None)
@given(histories, moments, moments)
def test_the_known_past_is_what_was_said_then(rows: list[Observation], now: datetime, then: datetime) -> None:
    """Where a moment of the past had a price, the history seen from later holds exactly that price."""
    then, now = min(then, now), max(then, now)
    tables = history(rows, now)
    for (series, _), quote in quotes(rows, then).items():
        if quote.known and series != "hashprice_usd_ph_day":
            values, known = tables[series].at(then.timestamp())
            assert known[0]
            assert values[0] == quote.value


@settings(max_examples=25, deadline=None)
@given(st.floats(1.1, 20.0), st.booleans())
def test_a_confirmed_level_is_always_accepted(factor: float, up: bool) -> None:
    """However far a price moved, the second observation of the new level is the price; the first alone never is."""
    level = 62_000 * factor if up else 62_000 / factor
    rows = [seen(62_000, NOON), seen(level, NOON + QUARTER), seen(level, NOON + 2 * QUARTER)]
    assert quotes(rows, NOON + QUARTER)[BTC].value == 62_000
    assert quotes(rows, NOON + 2 * QUARTER)[BTC].value == level


# ---------------------------------------------------------------- the known past
def test_history_is_a_step_function_of_when_things_became_known() -> None:
    """Values stand until the next one, nothing is interpolated, and a spike never appears."""
    rows = [seen(62_000, NOON), seen(91_000, NOON + QUARTER), seen(62_500, NOON + 2 * QUARTER)]
    table = history(rows, NOON + 2 * QUARTER)["btc_usd"]
    start = NOON.timestamp()
    assert table.at(start + 1_000)[0][0] == 62_000
    assert not table.at(start - 1)[1][0]
    times, values = table.window(0, start + 100, start + 1_800)
    assert list(times) == [start + 100, start + 1_800]
    assert list(values) == [62_000, 62_500]


def test_history_survives_a_short_silence_and_not_a_long_one() -> None:
    """Two hours without a source tear no hole into the past; a week does."""
    rows = [seen(62_000, NOON), seen(62_500, NOON + timedelta(days=7))]
    table = history(rows, NOON + timedelta(days=8))["btc_usd"]
    assert table.at((NOON + timedelta(hours=2)).timestamp())[1][0]
    assert not table.at((NOON + timedelta(days=5)).timestamp())[1][0]
    assert np.isnan(table.window(0, NOON.timestamp(), NOON.timestamp() + 6 * 86400)[1][-1])


def test_history_of_a_borrower_series_follows_the_order_of_borrowers() -> None:
    """One column per borrower; who has no observation is unknown."""
    row = seen(452.0, series="cds_5y_bp", subject="coreweave")
    values, known = history([row], NOON, ("bitfarms", "coreweave"))["cds_5y_bp"].at(NOON.timestamp())
    assert list(known) == [False, True]
    assert values[1] == 452.0


def test_history_of_hashprice_is_derived_from_its_inputs() -> None:
    """The past of a derived series moves with bitcoin."""
    rows = [*mining(), seen(62_000), seen(62_500, NOON + QUARTER)]
    values = history(rows, NOON + QUARTER)["hashprice_usd_ph_day"].window(0, NOON.timestamp(), NOON.timestamp() + 900)[
        1
    ]
    assert values == pytest.approx([hashprice_usd_ph_day(148.26e12, 3.18, price) for price in (62_000, 62_500)])


def test_one_tape_answers_for_every_moment() -> None:
    """A replay walks the past once and gets what a fresh evaluation would get at each moment."""
    rows = [seen(62_000 + 10 * n, NOON + n * QUARTER) for n in range(20)] + mining()
    tape = Tape(rows)
    for n in range(20):
        now = NOON + n * QUARTER
        assert repr(tape.quotes(now)) == repr(quotes(rows, now))
