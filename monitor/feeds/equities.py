"""Closing prices of the borrowers' shares, by way of the yfinance package. Off unless the configuration names it.

Yahoo publishes no interface for this; yfinance imitates a browser, needs a lot of room and is refused in waves. It is
therefore an extra (``pip install 'compute-canary[equities]'``), asked twice a day, and no alert waits for it: its
silence is not told, and where it is silent the book's own marks stand.

Three things make a share price a wrong one, and each leaves it out with a reason: a currency that is not the dollar
(said by Yahoo for each listing, never guessed), a day that is not over, and a split. ``Close`` is restated for splits
(``Adj Close`` for dividends too, and is not used), while share counts, conversion prices and what was kept before are
not: across a split nothing fits together, so there is no price until the book counts the new shares and the rules,
which look back two months, see new prices only.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from monitor.dated import close_of
from monitor.feeds import Company, Feed
from monitor.feeds.http import Client, clean
from monitor.model import FeedError, Observation

# what the package warns of on its way is told by what came of it, not on the terminal of a person
logging.getLogger("yfinance").addHandler(logging.NullHandler())
CURRENCY = "USD"
#: how far back is asked for: splits matter longer than closes
PERIOD = "1y"
#: prices of before a split stay in the history that rules look back on
AFTER_A_SPLIT = timedelta(days=90)
#: the share of its time a fetch may spend; what has come by then is still handed over
PATIENCE = 0.8
#: one ticker is given up after this long, in seconds
ONE_S = 8.0


@dataclass(frozen=True)
class Listing:
    """What Yahoo says of one ticker: closes by trading day, their currency, and splits (new shares for one old)."""

    closes: Mapping[date, float]
    currency: str
    splits: Mapping[date, float]


class Equities(Feed):
    """The daily closes of each ticker, one after the other, through the package's own way to the network."""

    name = "equities"
    series = ("share_price_usd",)
    hosts = (
        "query2.finance.yahoo.com", "query1.finance.yahoo.com", "fc.yahoo.com", "guce.yahoo.com", "consent.yahoo.com",
    )  # fmt: skip
    what = "closing price of each borrower's share in USD (for convertibles, puts and market values)"
    limits = "asked twice a day, one ticker after the other"
    every = timedelta(hours=12)
    time_limit_s = 30.0
    needs_package = ("yfinance", "equities")
    off_unless_named = "optional: an unofficial source that is often refused"
    on_alert_path = False

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """One observation per borrower with a ticker quoted in dollars, observed at the end of its day."""
        wanted = {company.ticker: company for company in self.settings.companies if company.ticker}
        abroad = sorted(ticker for ticker in wanted if "." in ticker)
        if abroad:
            client.note(f"listed outside of the US, so not in dollars: {', '.join(abroad)}")
        wanted = {ticker: company for ticker, company in wanted.items() if ticker not in abroad}
        if not wanted:
            raise FeedError("no borrower of the book has a ticker in dollars")
        said = await asyncio.to_thread(ask, sorted(wanted), self.limit_s)
        if REFUSED in said.values():
            client.refused = 0.0  # not asked again at once
        return share_prices(wanted, said, now, client)


def share_prices(
    wanted: Mapping[str, Company], said: Mapping[str, Listing | str], now: datetime, client: Client
) -> list[Observation]:
    """The newest settled close of each ticker; one without is noted with its reason, all without is a FeedError."""
    found: list[Observation] = []
    for ticker, company in sorted(wanted.items()):
        listing = said.get(ticker, "not asked for any more: the time was over")
        why = listing if isinstance(listing, str) else unusable(listing, company, now)
        if why or isinstance(listing, str):
            client.note(f"{ticker}: {why}")
            continue
        newest = max(settled_days(listing, now))
        found.append(
            Observation(
                "share_price_usd", listing.closes[newest], "usd", close_of(newest.isoformat()), now,
                f"Yahoo (yfinance) close of {ticker}", company.id, quality="press",
            )
        )  # fmt: skip
    if not found:
        raise FeedError("no ticker has a usable close")
    return found


def settled_days(listing: Listing, now: datetime) -> list[date]:
    """The days with a close that are over (UTC): New York closes at 20:00 or 21:00 UTC, so a day over is a close."""
    return [d for d, price in listing.closes.items() if math.isfinite(price) and close_of(d.isoformat()) <= now]


def unusable(listing: Listing, company: Company, now: datetime) -> str:
    """Why a listing gives no price in dollars per share as the book counts shares; empty when it does.

    >>> told = Listing({date(2026, 8, 12): 14.0}, "USD", {date(2026, 8, 3): 0.1})
    >>> at = datetime.fromisoformat("2026-08-14T12:00+00:00")
    >>> unusable(told, Company("acme", "ACME"), at)
    'split on 2026-08-03 (0.1 new shares for 1): no price until 2026-11-01'
    >>> unusable(Listing(told.closes, "CAD", {}), Company("acme", "ACME"), at)
    'quoted in CAD, not in USD'
    """
    if listing.currency != CURRENCY:
        return f"quoted in {clean(listing.currency, 10) or 'no currency'}, not in {CURRENCY}"
    if not settled_days(listing, now):
        return "no close of a day that is over"
    last = max((day for day in listing.splits if day <= now.date()), default=None)
    if last is None:
        return ""
    split = f"split on {last} ({listing.splits[last]:g} new shares for 1)"
    if now.date() - last < AFTER_A_SPLIT:
        return f"{split}: no price until {last + AFTER_A_SPLIT}"
    if company.shares_as_of is not None and company.shares_as_of < last:
        return f"{split}, the book counts the shares of {company.shares_as_of}: enter shares_outstanding of after it"
    return ""


# ---------------------------------------------------------------- the package
#: what stands for a ticker when Yahoo will hear no more
REFUSED = "Yahoo refuses further questions for now (HTTP 429)"


def ask(tickers: Sequence[str], limit_s: float) -> dict[str, Listing | str]:
    """Ticker -> what yfinance says of it, or why nothing. Blocking: run it in a thread.

    One after the other: all at once is what Yahoo refuses. After a refusal, or when the time is nearly over, the rest
    is not asked.
    """
    import time

    import yfinance
    from yfinance.exceptions import YFRateLimitError

    # otherwise it logs what went wrong and gives an empty frame
    yfinance.config.debug.hide_exceptions = False
    said: dict[str, Listing | str] = {}
    until = time.monotonic() + PATIENCE * limit_s
    for ticker in tickers:
        left_s = until - time.monotonic()
        if left_s <= 0:
            break
        try:
            one = yfinance.Ticker(ticker)
            frame = one.history(
                period=PERIOD, interval="1d", auto_adjust=False, actions=True, timeout=min(left_s, ONE_S)
            )
            said[ticker] = listing_of(frame, one.get_history_metadata().get("currency"))
        except YFRateLimitError:
            said[ticker] = REFUSED
            break
        except FeedError as error:
            said[ticker] = str(error)
        except Exception as error:  # the package raises what its transport raises, and that changes with its versions
            said[ticker] = _in_words(error)
    return said


def _in_words(error: Exception) -> str:
    """What the package's exception means for one ticker."""
    text = clean(str(error)) or type(error).__name__
    unknown = "404" in text or "No data found" in text
    return "Yahoo does not know it: delisted or renamed" if unknown else f"yfinance: {text}"


def listing_of(frame: object, currency: object) -> Listing:
    """One ticker's frame: a row a day at midnight of its exchange, columns Close and Stock Splits; FeedError otherwise.

    An empty frame is what the package gives for a share that is delisted.
    """
    columns = getattr(frame, "columns", ())
    if "Close" not in columns:
        raise FeedError("no column Close in the answer")
    if not len(frame):  # type: ignore[arg-type]
        raise FeedError("no close at all: delisted, renamed, or halted for a year")
    closes = {day_of(at): float(value) for at, value in frame["Close"].items()}  # type: ignore[index]
    told = frame["Stock Splits"].items() if "Stock Splits" in columns else ()  # type: ignore[index]
    splits = {day_of(at): float(value) for at, value in told if value == value and value not in (0, 1)}
    return Listing(closes, str(currency or ""), splits)


def day_of(index: object) -> date:
    """The trading day of a row, as its exchange counts days.

    >>> day_of(datetime.fromisoformat("2026-08-13T00:00-04:00"))
    datetime.date(2026, 8, 13)
    """
    if not isinstance(index, datetime):
        raise FeedError(f"{clean(str(index), 40)} is not a day")
    return index.date()
