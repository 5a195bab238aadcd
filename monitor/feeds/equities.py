"""Closing prices of the borrowers' shares, by way of the yfinance package. Off unless the configuration names it.

Yahoo publishes no interface for this; yfinance imitates a browser, needs a lot of room and is refused in waves. It is
therefore an extra (``pip install 'compute-canary[equities]'``), asked twice a day, and no alert waits for it: its
silence is not told, and where it is silent the book's own marks stand. Shares quoted in another currency than the
dollar are left out.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta

from monitor.dated import close_of
from monitor.feeds import Company, Feed
from monitor.feeds.http import Client, clean
from monitor.model import FeedError, Observation

#: ticker -> day -> closing price as the package gives it
Closes = Mapping[str, Mapping[date, float]]
DAYS = 7


class Equities(Feed):
    """The last closes of a week in one request, through the package's own way to the network."""

    name = "equities"
    series = ("share_price_usd",)
    hosts = ("query1.finance.yahoo.com", "query2.finance.yahoo.com", "fc.yahoo.com")
    what = "closing price of each borrower's share in USD (for convertibles, puts and market values)"
    limits = "asked twice a day"
    every = timedelta(hours=12)
    needs_package = ("yfinance", "equities")
    off_unless_named = "optional: an unofficial source that is often refused"
    on_alert_path = False
    known_basis = "live"

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """One observation per borrower with a ticker in dollars, observed at the end of its day."""
        wanted = {company.ticker: company for company in self.settings.companies if company.ticker}
        # a ticker with a dot stands on another exchange and in another currency
        wanted = {ticker: company for ticker, company in wanted.items() if "." not in ticker}
        if not wanted:
            raise FeedError("no borrower of the book has a ticker in dollars")
        closes = await asyncio.to_thread(download, sorted(wanted), self.limit_s)
        return share_prices(wanted, closes, now, client)


def share_prices(wanted: Mapping[str, Company], closes: Closes, now: datetime, client: Client) -> list[Observation]:
    """The newest settled close of each ticker; one without is noted."""
    found: list[Observation] = []
    for ticker, company in sorted(wanted.items()):
        days = {day: price for day, price in closes.get(ticker, {}).items() if math.isfinite(price)}
        past = [day for day in days if close_of(day.isoformat()) <= now]
        if not past:
            client.note(f"{ticker}: no close")
            continue
        newest = max(past)
        found.append(
            Observation(
                "share_price_usd", days[newest], "usd", close_of(newest.isoformat()), now,
                f"Yahoo (yfinance) close of {ticker}", company.id, quality="press",
            )
        )  # fmt: skip
    return found


def download(tickers: list[str], timeout_s: float) -> Closes:
    """What yfinance says, as plain numbers; FeedError in its own words otherwise. Blocking: run it in a thread."""
    import yfinance

    try:
        frame = yfinance.download(
            tickers, period=f"{DAYS}d", interval="1d", auto_adjust=False, progress=False, threads=False,
            timeout=timeout_s / 3, group_by="column", multi_level_index=True,
        )  # fmt: skip
        return closes_of(frame)
    except FeedError:
        raise
    except Exception as error:  # the package raises what its transport raises, and that changes with its versions
        raise FeedError(f"yfinance: {type(error).__name__}: {clean(str(error))}") from None


def closes_of(frame: object) -> Closes:
    """The column Close of a frame with columns (field, ticker) and one row a day.

    FeedError when it has no such column, or the answer is empty.
    """
    columns = getattr(frame, "columns", ())
    if frame is None or not len(columns) or "Close" not in {column[0] for column in columns}:
        raise FeedError("no column Close in the answer")
    table = frame["Close"]  # type: ignore[index]
    found: dict[str, dict[date, float]] = {}
    for ticker in table.columns:
        rows = ((moment_of(index), float(value)) for index, value in table[ticker].items())
        found[str(ticker)] = {day: value for day, value in rows if value == value}
    return found


def moment_of(index: object) -> date:
    """The trading day of a row, whatever zone its time is written in.

    >>> moment_of(datetime(2026, 8, 13, 4))
    datetime.date(2026, 8, 13)
    """
    if not isinstance(index, datetime):
        raise FeedError(f"{clean(str(index), 40)} is not a day")
    return index.date()
