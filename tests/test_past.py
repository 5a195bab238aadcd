"""The past of one borrower as a picture: what was known when, what happened, gaps with their reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from bot_desk import evaluated_desk, world_at
from desk import lay_desk

from monitor.model import CanaryError
from monitor.overview import Reading
from monitor.past import MAX_EVENTS, Past, past_of
from monitor.past_chart import draw_past


@pytest.fixture(scope="module")
def past() -> Past:
    """The past of the miner of the desk."""
    return past_of(world_at(evaluated_desk()), "alpha")


def test_the_past_is_what_was_known_then(past):
    """19 days five apart, 91 prices a day apart up to the last evaluation; before a filing, what it says is unknown."""
    assert len(past.days) == len(past.liquidity) == 19
    assert len(past.price) == 91
    assert past.days[-1] == past.at
    assert past.price[-1] == pytest.approx(86505, rel=0.01)
    assert past.recorded is not None
    assert all(one.reason for one in past.liquidity if one.value is None)
    assert past.events == ((past.at - timedelta(days=30), "LowCash fired"),)


def test_any_past_can_be_drawn(past):
    """Everything unknown, unlimited, negative or hostile gives a picture, never an error."""
    odd = [None, float("inf"), -3.0, 0.5, 1e12]
    readings = tuple(
        Reading(odd[i % 5], "x", odd[i % 5], odd[i % 5], "" if odd[i % 5] else "why $x_$") for i in range(19)
    )
    events = tuple((past.at - timedelta(days=i // 3), "A $\\frac{1}$ <b>\u202e\n") for i in range(MAX_EVENTS))
    cases = [
        past,
        replace(past, recorded=None, name="$\\bad{ <b>\u202e", liquidity=readings, events=events),
        replace(past, price=(None,) * 91, liquidity=(Reading(None, "x", reason="no"),) * 19, events=()),
        replace(past, liquidity=(Reading(250.0, "x", 200.0, 300.0),) * 19),
    ]
    assert all(draw_past(one, "a source $").startswith(b"\x89PNG") for one in cases)


def test_without_an_evaluation_there_is_no_past(tmp_path):
    """Before the first evaluation that is said, and nothing is drawn."""
    with pytest.raises(CanaryError, match="nothing was evaluated yet"):
        past_of(world_at(lay_desk(tmp_path)), "alpha")
