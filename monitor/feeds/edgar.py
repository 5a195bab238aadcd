"""SEC EDGAR: what the borrowers file, as dated events. No key, but off until a contact address is set.

The SEC asks every program to say who runs it, refuses one that does not (403), and allows ten requests a second over
all machines of a sender; here they are spaced. The list of a company's submissions gives forms and items; the text of a
new report, or of an 8-K about officers, is read once for what no item says: a doubt about going on, another useful
life, the finance chief leaving.

Balance sheets are not read here: :mod:`monitor.refresh` proposes them to a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta

from monitor.feeds import Company, Feed, FeedSettings, gather_parts
from monitor.feeds.http import Client, user_agent
from monitor.filings import FILING_SERIES, REPORTS, Filing, filings_of, kinds_of, observation_of, plain_text, said_in
from monitor.model import FeedError, Observation

#: how far back a first look goes: as far as rules look
WINDOW = timedelta(days=400)
#: texts are only read while they are news
NEWS = timedelta(days=7)
#: texts read in one fetch, the newest first; the rest waits for the next
MAX_TEXTS = 4
MAX_LIST_BYTES = 8_000_000
MAX_TEXT_BYTES = 30_000_000


class Edgar(Feed):
    """``/submissions/CIK##########.json`` with ``filings.recent`` stored by columns, and documents in the archive."""

    name = "edgar"
    series = FILING_SERIES
    hosts = ("data.sec.gov", "www.sec.gov")
    what = "filings as dated events: 8-K items, late filings, going-concern doubt, changes of useful life"
    limits = "6 requests a second of the 10 the SEC allows; each company every 15 minutes"
    time_limit_s = 25.0
    every = timedelta(minutes=15)
    pace_s = 0.15
    parallel = 2
    known_basis = "published"
    needs_contact = True
    may_be_silent = True

    def __init__(self, settings: FeedSettings | None = None):
        super().__init__(settings)
        #: what the texts said: accession -> its observations
        self._texts: dict[str, list[Observation]] = {}

    @property
    def headers(self) -> dict[str, str]:
        """Program and contact, as the SEC asks."""
        return edgar_headers(self.settings.contact)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """Every event of the last 400 days, each known from the acceptance of its filing."""
        companies = [company for company in self.settings.companies if company.cik]
        if not companies:
            raise FeedError("no borrower of the book has a CIK")
        lists: dict[str, list[Filing]] = {}
        parts = {company.id: self._company(client, now, company, lists) for company in companies}
        found = await gather_parts(client, parts)
        return found + await self._read_texts(client, now, companies, lists)

    async def _company(
        self, client: Client, now: datetime, company: Company, lists: dict[str, list[Filing]]
    ) -> list[Observation]:
        url = f"{self.base_url}/submissions/CIK{company.cik:010d}.json"
        filings, unread = filings_of(await client.get_json(url, MAX_LIST_BYTES), now, now - WINDOW)
        if unread:
            client.note(f"{company.id}: {unread} filings without readable dates or from the future left out")
        lists[company.id] = filings
        return [observation_of(f, kind, where, company.id) for f in filings for kind, where in kinds_of(f)]

    async def _read_texts(
        self, client: Client, now: datetime, companies: list[Company], lists: dict[str, list[Filing]]
    ) -> list[Observation]:
        """What the words of new filings say; a text that cannot be had is noted and asked for again the next time."""
        waiting = [
            (filing, company)
            for company in companies
            for filing in lists.get(company.id, [])
            if _worth_reading(filing, now) and filing.accession not in self._texts
        ]
        waiting.sort(key=lambda pair: pair[0].accepted, reverse=True)
        for filing, company in waiting[:MAX_TEXTS]:
            try:
                self._texts[filing.accession] = await self._read(client, filing, company)
            except FeedError as error:
                client.note(f"{company.id} {filing.form} {filing.accession}: {error}")
        return [observation for told in self._texts.values() for observation in told]

    async def _read(self, client: Client, filing: Filing, company: Company) -> list[Observation]:
        archive = self.settings.base_url or f"https://{self.hosts[1]}"
        path = f"Archives/edgar/data/{company.cik}/{filing.accession.replace('-', '')}/{filing.document}"
        body = await client.get_bytes(f"{archive.rstrip('/')}/{path}", MAX_TEXT_BYTES)
        # megabytes of HTML: off the event loop
        told = await asyncio.to_thread(lambda: list(_told(body, filing.form)))
        return [observation_of(filing, kind, filing.form, company.id, sentence) for kind, sentence in told]


def _worth_reading(filing: Filing, now: datetime) -> bool:
    about_officers = filing.form == "8-K" and "5.02" in filing.items
    return bool(filing.document) and now - filing.accepted <= NEWS and (filing.form in REPORTS or about_officers)


def _told(body: bytes, form: str) -> Iterator[tuple[str, str]]:
    return said_in(plain_text(body.decode("utf-8", "replace")), form)


def edgar_headers(contact: str | None) -> dict[str, str]:
    """What a request to the SEC carries: the program and whom to write to.

    >>> edgar_headers("desk@example.org")["User-Agent"].endswith(" desk@example.org")
    True
    """
    return {"User-Agent": f"{user_agent()} {contact}"} if contact else {}
