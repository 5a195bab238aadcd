"""Share prices by way of a package: the frame it gives in its shape, and what is made of good and bad ones."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import UTC, datetime

import pandas as pd
import pytest

from monitor.feeds import Company, FeedSettings, fetch_all
from monitor.feeds.equities import Equities, closes_of, share_prices
from monitor.feeds.http import Client, new_http
from monitor.model import FeedError, Observation
from monitor.series import SERIES, fault

NOW = datetime(2026, 8, 14, 12, tzinfo=UTC)
WANTED = {"ACME": Company("acme", "ACME"), "BETA": Company("beta", "BETA")}
DAYS = ("2026-08-12", "2026-08-13", "2026-08-14")


def frame(closes: Mapping[str, list[float]], zone: str | None = None) -> pd.DataFrame:
    """What yfinance.download gives for several tickers: columns (field, ticker), one row a day."""
    columns = {(name, ticker): rows for name in ("Adj Close", "Close", "Open") for ticker, rows in closes.items()}
    table = pd.DataFrame(columns, index=pd.DatetimeIndex(DAYS, tz=zone, name="Date"))
    table.columns = pd.MultiIndex.from_tuples(list(columns), names=["Price", "Ticker"])
    return table


def told(table: object) -> tuple[list[Observation], list[str]]:
    """(what a frame says, what was noted)."""

    async def run() -> tuple[list[Observation], list[str]]:
        async with new_http() as http:
            client = Client(http, (), NOW, 1.0)
            return share_prices(WANTED, closes_of(table), NOW, client), client.notes

    return asyncio.run(run())


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_the_newest_settled_close_counts(zone: str | None) -> None:
    """Yesterday's close, observed at the end of its day; today's is not over yet."""
    found, notes = told(frame({"ACME": [14.0, 14.5, 15.0], "BETA": [80.0, math.nan, 82.0]}, zone))
    assert [(o.subject, o.value, o.observed_at.day) for o in found] == [("acme", 14.5, 14), ("beta", 80.0, 13)]
    assert notes == []
    assert all(fault(o, SERIES[o.series]) == "" for o in found)
    assert {o.quality for o in found} == {"press"}


def test_a_missing_ticker_is_noted() -> None:
    """A share that is delisted, or of which nothing came, leaves the others."""
    found, notes = told(frame({"ACME": [14.0, 14.5, 15.0]}))
    assert [o.subject for o in found] == ["acme"]
    assert notes == ["BETA: no close"]


@pytest.mark.parametrize("bad", [None, pd.DataFrame(), pd.DataFrame({"Open": [1.0]}), pd.DataFrame({"x": []})])
def test_an_answer_without_closes_is_a_reason(bad: object) -> None:
    """An empty frame is what the package gives when it is refused."""
    with pytest.raises(FeedError, match="no column Close"):
        told(bad)


@pytest.mark.parametrize("price", [-3.0, 0.0, 1e9])
def test_a_price_that_cannot_be_is_refused_like_any_other(price: float) -> None:
    """The bounds of the series hold for it too."""
    found, _ = told(frame({"ACME": [14.0, price, 15.0]}))
    assert fault(found[0], SERIES["share_price_usd"]) != ""


def test_no_alert_waits_for_it() -> None:
    """Its silence is not told, it is asked twice a day, and tickers of other currencies are left out."""
    assert not Equities.on_alert_path
    assert Equities.every.total_seconds() >= 6 * 3600
    foreign = FeedSettings(companies=(Company("northern", "NB2.DE"), Company("private")))
    found, (report,) = asyncio.run(fetch_all([Equities(foreign)], NOW, 2.0))
    assert found == []
    assert "no borrower of the book has a ticker in dollars" in report.reason
