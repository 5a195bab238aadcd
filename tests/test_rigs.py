"""Mining machines: the last quote, and what hashprice would suggest by what was published by then."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.book import load_marks
from monitor.market import Tape
from monitor.model import MARKET, Mark, Observation, Quote, end_of_day
from monitor.replay_rigs import rig_checks, rig_row, rig_table
from monitor.rigs import CLASSES, DEALS, FEWEST, check, newest, suggested
from monitor.steps import Steps

FILE = Path(__file__).parents[1] / "book" / "history" / "rigs" / "marks.yaml"
START = date(2022, 1, 1)
BELOW_38, OVER_68 = CLASSES["below 38"], CLASSES["over 68"]


def quote(series: str, usd: float, day: int, known_after: int = 0) -> Mark:
    """A quote about a day of 2022, known some days after its end."""
    on = START + timedelta(days=day)
    return Mark(series, MARKET, usd, "usd/th", on, end_of_day(on) + timedelta(days=known_after), "press", "an index")


def steps(values: list[float]) -> Steps:
    """Hashprice day by day from the first day on."""
    times = [end_of_day(START + timedelta(days=i)).timestamp() for i in range(len(values))]
    return Steps("usd/ph/day", (times,), (values,))


def hashprice(usd: float, at: datetime, reason: str = "") -> Quote:
    """Hashprice in force at a moment."""
    return Quote("hashprice_usd_ph_day", MARKET, usd, "usd/ph/day", at, at, "derived", reason)


def on(day: int) -> datetime:
    """The end of a day."""
    return end_of_day(START + timedelta(days=day))


# ---------------------------------------------------------------- the line
def test_the_line_is_that_of_ordinary_least_squares():
    """Slope, middle and 95 % range of one class equal the textbook formulas of simple regression."""
    levels, prices = [200.0, 150.0, 100.0, 80.0, 60.0], [90.0, 81.0, 44.0, 30.0, 29.0]
    quotes = [quote(BELOW_38, usd, i) for i, usd in enumerate(prices)]
    found = suggested(quotes, BELOW_38, steps(levels), hashprice(120.0, on(4)), on(4))
    x, y, x0 = np.log(levels), np.log(prices), math.log(120.0)
    slope, level = np.polyfit(x, y, 1)
    s2 = ((y - level - slope * x) ** 2).sum() / 3
    reach = 3.182446305 * math.sqrt(s2 * (1 + 1 / 5 + (x0 - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()))
    middle = level + slope * x0
    assert (found.points, found.newest_days, found.outside) == (5, 0, False)
    assert found.slope == pytest.approx(slope)
    assert (found.usd_th, found.low, found.high) == pytest.approx(
        (math.exp(middle), math.exp(middle - reach), math.exp(middle + reach))
    )


def test_classes_share_a_slope_and_keep_their_level():
    """Two classes on two parallel lines give both lines back, without a range where nothing is left over."""
    levels = [200.0, 100.0, 50.0]
    quotes = [quote(BELOW_38, usd, i) for i, usd in enumerate((100.0, 50.0, 25.0))]
    quotes += [quote(OVER_68, usd, i) for i, usd in enumerate((20.0, 10.0, 5.0))]
    both = {name: suggested(quotes, name, steps(levels), hashprice(80.0, on(2)), on(2)) for name in (BELOW_38, OVER_68)}
    assert both[BELOW_38].usd_th == pytest.approx(40.0)
    assert both[OVER_68].usd_th == pytest.approx(8.0)
    assert both[OVER_68].high == pytest.approx(8.0)
    assert both[OVER_68].slope == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("quotes", "now", "reason"),
    [
        ([(BELOW_38, 50.0)] * (FEWEST - 1), "", "3 quotes published, 4 needed"),
        ([(BELOW_38, 50.0), (BELOW_38, 40.0), (OVER_68, 9.0), (CLASSES["38 to 68"], 20.0)], "", "tell no slope"),
        ([(OVER_68, 9.0)] * 4, "", "no quote of this class published"),
        ([(BELOW_38, 50.0)] * 4, "last value 60 is 12 d old", "12 d old"),
    ],
)
def test_what_cannot_be_told_is_unknown_with_its_reason(quotes, now, reason):
    """Too few quotes, none of the class, no slope, or hashprice beyond its age: no number, and why."""
    marks = [quote(name, usd, i) for i, (name, usd) in enumerate(quotes)]
    value = math.nan if now else 80.0
    found = suggested(marks, BELOW_38, steps([200.0, 150.0, 100.0, 80.0]), hashprice(value, on(4), now), on(4))
    assert math.isnan(found.usd_th)
    assert reason in found.reason


def test_one_hashprice_for_all_quotes_tells_no_slope():
    """Quotes made at one level of hashprice give no line."""
    marks = [quote(BELOW_38, 50.0 + i, i) for i in range(5)]
    assert "no slope" in suggested(marks, BELOW_38, steps([100.0] * 5), hashprice(100.0, on(4)), on(4)).reason


def test_beyond_the_quotes_is_said():
    """A hashprice below every one the quotes were made at is marked as outside."""
    marks = [quote(BELOW_38, usd, i) for i, usd in enumerate((100.0, 70.0, 52.0, 45.0))]
    past = steps([200.0, 150.0, 100.0, 80.0])
    assert suggested(marks, BELOW_38, past, hashprice(60.0, on(3)), on(3)).outside
    assert not suggested(marks, BELOW_38, past, hashprice(90.0, on(3)), on(3)).outside


# ---------------------------------------------------------------- no look-ahead
rows = st.tuples(st.sampled_from([*CLASSES.values(), DEALS]), st.floats(1, 200), st.integers(0, 60), st.integers(0, 60))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(rows, max_size=14), st.lists(st.floats(20, 400), min_size=61, max_size=61), st.integers(10, 60), st.data()
)
def test_what_is_published_later_changes_nothing(quotes, levels, day, data):
    """Deleting or altering quotes published after t, and prices known after t, moves no digit at t."""
    at = on(day)
    marks = [quote(*row) for row in quotes]
    btc = [
        Observation("btc_usd", 1_000 * level, "usd", on(i), on(i), "venue", known_basis="assumed")
        for i, level in enumerate(levels)
    ]
    fixed = [
        Observation("difficulty", 3e13, "number", on(day - 5), on(day - 5), "node", known_basis="assumed"),
        Observation("block_reward_btc", 6.375, "btc", on(0), on(0), "assumed", known_basis="assumed"),
    ]
    said = _at(marks, [*fixed, *btc], at)
    later = data.draw(st.sampled_from(["deleted", "altered"]))
    changed, prices = [], list(fixed)
    for mark in marks:
        if mark.known_at <= at:
            changed.append(mark)
        elif later == "altered":
            changed.append(replace(mark, value=mark.value * 3))
    for row in btc:
        if row.known_at <= at:
            prices.append(row)
        elif later == "altered":
            prices.append(replace(row, value=row.value * 1.1))
    assert repr(_at(changed, prices, at)) == repr(said)


def _at(marks, seen, at):
    tape = Tape(seen)
    return check(marks, tape.history(at)["hashprice_usd_ph_day"], tape.quotes(at)["hashprice_usd_ph_day", MARKET], at)


# ---------------------------------------------------------------- the file, and what is shown of it
def test_every_quote_of_the_file_is_dated_and_of_a_known_class():
    """Each has a date of publication no earlier than the day it is about, a positive price and a source."""
    marks = load_marks(FILE)
    assert {mark.series for mark in marks} == {*CLASSES.values(), DEALS}
    for mark in marks:
        assert mark.known_at is not None
        assert mark.known_at >= end_of_day(mark.as_of), mark
        assert mark.value > 0, mark
        assert (mark.unit, bool(mark.source)) == ("usd/th", True), mark


def test_of_two_quotes_of_one_day_the_lower_stands():
    """Two sales of one day: the lower one, because a lender asks what a sale brings; later days count before that."""
    marks = [quote(DEALS, 28.0, 5), quote(DEALS, 22.0, 5), quote(DEALS, 40.0, 3)]
    assert newest(marks, DEALS, on(5)).value == 22.0
    assert newest(marks, DEALS, on(4)).value == 40.0
    assert newest(marks, DEALS, datetime(2021, 1, 1, tzinfo=UTC)) is None


def test_before_the_failures_of_2022_nothing_could_be_suggested():
    """By September 2022 three quotes were public: the last one stands with its age, the suggestion is unknown."""
    at = datetime(2022, 10, 1, tzinfo=UTC)
    found = rig_checks(load_marks(FILE), [], at - timedelta(days=1), at)
    below = next(one for one in found if one.machines == "below 38")
    assert (below.quote.value, below.age_days, below.deal.value) == (55, 92, 17)
    assert all(math.isnan(one.suggested.usd_th) for one in found)
    table = rig_table(found)
    assert all(len(row) == len(table.heads) for row in table.rows)
    assert rig_row(below)["reason"]
