"""FRED: the option-adjusted spread of US high yield (ICE BofA, BAMLH0A0HYM2). No key.

The file holds a rolling window of three years and no more, so what leaves it is only kept in our own store. The site
sometimes takes minutes to fail, hence the short time limit. The index is ICE's: for personal or internal use.
"""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta

from monitor.dated import Dated, close_of, newest, settled
from monitor.feeds import Feed
from monitor.feeds.http import Client, clean, number
from monitor.model import FeedError, Observation

SERIES_ID = "BAMLH0A0HYM2"
#: the first column, by its present and its former name
DAY_COLUMNS = ("observation_date", "DATE")
BP_PER_PERCENT = 100.0
RECENT = timedelta(days=30)
WINDOW = timedelta(days=3 * 366)
SOURCE = f"FRED {SERIES_ID} (ICE BofA US High Yield OAS)"


class Fred(Feed):
    """One CSV of days and percent; a day without a value has a dot or nothing."""

    name = "fred"
    series = ("hy_spread_bp",)
    hosts = ("fred.stlouisfed.org",)
    what = "spread of US high yield"
    limits = "not published; one request a fetch; three years are served, our store keeps more"
    time_limit_s = 8.0
    #: published on the next business day; used for the past only
    lag = timedelta(days=1)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """The newest spread in basis points, observed at the end of its day."""
        (observed_at, spread_bp), left_out = newest(await self._spreads(client, now - RECENT), now)
        for why in left_out:
            client.note(why)
        return [self.observation("hy_spread_bp", spread_bp, observed_at, now, SOURCE)]

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """All that FRED still shows, each known ``lag`` after its day; that is an assumption about the past."""
        rows, _ = settled(await self._spreads(client, since or now - WINDOW), now)
        past = [
            Observation("hy_spread_bp", spread_bp, "bp", at, at + self.lag, SOURCE, known_basis="assumed")
            for at, spread_bp in rows
        ]
        return [observation for observation in past if observation.known_at <= now]

    async def _spreads(self, client: Client, since: datetime) -> list[Dated]:
        """(end of the day, spread in basis points); unusable rows are noted."""
        body = await client.get_bytes(f"{self.base_url}/graph/fredgraph.csv?id={SERIES_ID}&cosd={since:%Y-%m-%d}")
        rows, cut = read_rows(body.decode("utf-8-sig", "replace"))
        if cut:
            client.note("the last line of the file is cut off and left out")
        found: list[Dated] = []
        for day, value in rows:
            if value in (".", ""):
                continue
            try:
                found.append((close_of(day), number(value, f"the spread of {clean(day, 20)}") * BP_PER_PERCENT))
            except FeedError as error:
                client.note(str(error))
        return found


def read_rows(text: str) -> tuple[list[tuple[str, str]], bool]:
    """((day, value) as written, whether the last line was cut off); columns are found by name.

    >>> read_rows("observation_date,BAMLH0A0HYM2\\n2026-08-12,2.95\\n2026-08-13,2.")
    ([('2026-08-12', '2.95')], True)
    """
    if text.lstrip().startswith("<"):
        raise FeedError("FRED answered with a web page, not data")
    whole, _, rest = text.rpartition("\n")
    rows = csv.DictReader(io.StringIO(whole, newline=""))
    try:
        columns = rows.fieldnames or ()
        day_column = next((name for name in DAY_COLUMNS if name in columns), None)
        if day_column is None or SERIES_ID not in columns:
            raise FeedError(f"FRED's file has no column observation_date or {SERIES_ID}")
        return [((row[day_column] or "").strip(), (row[SERIES_ID] or "").strip()) for row in rows], bool(rest.strip())
    except csv.Error as error:
        raise FeedError(f"FRED's file is not CSV: {clean(str(error))}") from None
