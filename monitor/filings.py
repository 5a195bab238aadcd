"""Filings as dated events: what the SEC's list of a company's submissions says, merged into the book. Pure.

A filing travels as an observation of a series ``filing_<kind>`` about a borrower: observed at the end of the day it
reports on, known from its acceptance. So it is kept, traced and aged like everything else a source says, and becomes a
:class:`monitor.model.CreditEvent` beside those a person wrote when the book is evaluated. What a person wrote about the
same event stands; the filing is then left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from itertools import pairwise

from monitor.model import Book, Borrower, CreditEvent, FeedError, Observation, end_of_day

#: item of a Form 8-K -> the kind of event it reports
ITEMS: Mapping[str, str] = {
    "1.03": "bankruptcy",
    "2.03": "new_debt",
    "2.04": "acceleration",
    "2.06": "impairment",
    "3.01": "delisting_notice",
    "4.01": "auditor_change",
    "4.02": "non_reliance",
    "5.02": "officer_change",
}
LATE_FORMS = ("NT 10-K", "NT 10-Q", "NT 20-F")
#: kinds that only the text of a filing tells
READ_IN_TEXT = ("going_concern", "cfo_exit", "useful_life_change")
KINDS = (*ITEMS.values(), "late_filing", *READ_IN_TEXT)
FILING_SERIES = tuple(f"filing_{kind}" for kind in KINDS)
#: reports whose text is searched for a doubt about going on, or another useful life
REPORTS = ("10-Q", "10-K", "10-Q/A", "10-K/A", "20-F", "40-F")
#: an event of the book and a filing of one kind this close are one and the same
SAME_EVENT = timedelta(days=10)
COLUMNS = ("accessionNumber", "form", "filingDate", "acceptanceDateTime", "items", "primaryDocument")
ACCESSION = re.compile(r"\d{10}-\d{2}-\d{6}")
DOCUMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


@dataclass(frozen=True, slots=True)
class Filing:
    """One submission: its number, form and items; the day it reports on; when it was accepted; its main document."""

    accession: str
    form: str
    items: tuple[str, ...]
    about: date
    accepted: datetime
    document: str


def filings_of(submissions: object, now: datetime, since: datetime) -> tuple[list[Filing], int]:
    """(the filings accepted in (since, now] as listed, how many rows could not be read).

    The list is a table stored by columns: columns of different lengths belong to no row and are refused as a whole.
    A row dated in the future is not read.
    """
    recent = submissions.get("filings", {}) if isinstance(submissions, dict) else {}
    recent = recent.get("recent") if isinstance(recent, dict) else None
    if not isinstance(recent, dict):
        raise FeedError("the answer has no filings.recent")
    columns = [recent.get(name) for name in COLUMNS]
    missing = [name for name, column in zip(COLUMNS, columns, strict=True) if not isinstance(column, list)]
    if missing:
        raise FeedError(f"the list of filings has no column {', '.join(missing)}")
    lists = [column for column in columns if isinstance(column, list)]
    if len({len(column) for column in lists}) != 1:
        raise FeedError("the columns of the list of filings have different lengths")
    days = recent.get("reportDate")
    reported = days if isinstance(days, list) and len(days) == len(lists[0]) else [""] * len(lists[0])
    found, unread = [], 0
    for row, day in zip(zip(*lists, strict=True), reported, strict=True):
        filing = _filing(row, day)
        if filing is None or filing.accepted > now:
            unread += 1
        elif filing.accepted > since:
            found.append(filing)
    return found, unread


def _filing(row: Sequence[object], day: object) -> Filing | None:
    accession, form, filed, accepted, items, document = (value if isinstance(value, str) else "" for value in row)
    try:
        moment = datetime.fromisoformat(accepted)
        about = date.fromisoformat(day if isinstance(day, str) and day else filed)
    except ValueError:
        return None
    if not ACCESSION.fullmatch(accession) or moment.tzinfo is None or len(form) > 20:
        return None
    numbers = tuple(item.strip() for item in items.split(",") if item.strip())
    safe = document if DOCUMENT.fullmatch(document) else ""
    return Filing(accession, form.upper(), numbers, about, moment.astimezone(UTC), safe)


def kinds_of(filing: Filing) -> Iterator[tuple[str, str]]:
    """(kind of event, where it stands) of a filing by its form and items alone.

    >>> at = datetime(2026, 8, 6, 20, tzinfo=UTC)
    >>> list(kinds_of(Filing("0000000001-26-000001", "8-K", ("4.02", "9.01"), at.date(), at, "a.htm")))
    [('non_reliance', '8-K item 4.02')]
    >>> list(kinds_of(Filing("0000000001-26-000002", "NT 10-Q", (), at.date(), at, "a.htm")))
    [('late_filing', 'NT 10-Q')]
    """
    if filing.form in LATE_FORMS:
        yield "late_filing", filing.form
    if filing.form in ("8-K", "8-K/A"):
        yield from ((ITEMS[item], f"{filing.form} item {item}") for item in filing.items if item in ITEMS)


def observation_of(filing: Filing, kind: str, where: str, borrower: str, note: str = "") -> Observation:
    """A filing's event as an observation about a borrower."""
    return Observation(
        series=f"filing_{kind}",
        value=1.0,
        unit="flag",
        observed_at=min(end_of_day(filing.about), filing.accepted),
        known_at=filing.accepted,
        source=f"SEC EDGAR {where}, {filing.accession}",
        subject=borrower,
        known_basis="published",
        quality="filing",
        note=note,
    )


# ---------------------------------------------------------------- reading texts
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]{0,20000}>", re.IGNORECASE | re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.;!?])\s+(?=[A-Z(])")
_DOUBT = re.compile(r"substantial doubt (?:exists )?about .{0,60}ability to continue as a going concern", re.I)
#: words that make of a doubt a possibility, a rule of accounting, or a doubt that is gone
_NO_DOUBT = re.compile(
    r"\b(?:no|not|whether|if|could|may|might|would|alleviate[sd]?|unless|previously|in the event)\b", re.I
)
_CFO = re.compile(r"chief financial officer|principal financial officer", re.I)
_LEAVES = re.compile(
    r"\b(?:resign(?:s|ed|ation)?|depart(?:s|ed|ure)?|step(?:s|ped|ping)? down|terminat(?:ed|ion)|retire(?:s|d|ment)?|"
    r"separat(?:ed|ion)|ceased? to serve|no longer serve)\b",
    re.I,
)
_LIFE = re.compile(
    r"(?:chang|revis|extend|increas|reduc|shorten|lengthen)\w{0,6}\b.{0,160}\buseful li(?:fe|ves)\b.{0,200}"
    r"\bfrom\b.{0,60}\b(?:years?|months?)\b.{0,40}\bto\b.{0,60}\b(?:years?|months?)\b",
    re.I,
)
MAX_NOTE = 240


def plain_text(document: str) -> str:
    """The words of an HTML document, blanks folded.

    >>> plain_text("<p>There&#8217;s <b>substantial&nbsp;doubt</b>.</p><script>x()</script>")
    'There\u2019s substantial doubt .'
    """
    return " ".join(unescape(_TAGS.sub(" ", document)).split())


def said_in(text: str, form: str) -> Iterator[tuple[str, str]]:
    """(kind, the sentence) of what only the words of a filing tell; each kind once.

    A doubt that is only possible, is asked about, or has been removed is none. Reading is by pattern: a sentence worded
    otherwise is missed, and the sentence itself is kept so that a person can see what was taken for what.

    >>> doubt = "These conditions raise substantial doubt about our ability to continue as a going concern."
    >>> [kind for kind, _ in said_in(doubt, "10-Q")]
    ['going_concern']
    >>> list(said_in("If we cannot refinance, this could raise substantial doubt about the Company's "
    ...              "ability to continue as a going concern.", "10-Q"))
    []
    """
    wanted = {"going_concern", "useful_life_change"} if form in REPORTS else {"cfo_exit"}
    for sentence in _SENTENCE.split(text):
        kind = _kind_of(sentence[:2_000])
        if kind in wanted:
            wanted.discard(kind)
            yield kind, sentence[:MAX_NOTE]


def _kind_of(sentence: str) -> str:
    if _DOUBT.search(sentence):
        return "" if _NO_DOUBT.search(sentence) else "going_concern"
    if _CFO.search(sentence) and _LEAVES.search(sentence):
        return "cfo_exit"
    return "useful_life_change" if _LIFE.search(sentence) else ""


# ---------------------------------------------------------------- into the book
def with_filings(book: Book, seen: Iterable[Observation]) -> Book:
    """The book with the filings that were seen as further events, and with changes of a stated useful life as events.

    Dates decide as everywhere: :func:`monitor.known.as_known` shows an event from its acceptance on.
    """
    by_borrower: dict[str, list[CreditEvent]] = {}
    for observation in seen:
        if observation.series in FILING_SERIES:
            by_borrower.setdefault(observation.subject, []).append(_event(observation))
    return replace(book, borrowers=tuple(_with_events(b, by_borrower.get(b.id, [])) for b in book.borrowers))


def _event(observation: Observation) -> CreditEvent:
    happened = (observation.observed_at - timedelta(microseconds=1)).date()
    kind = observation.series.removeprefix("filing_")
    return CreditEvent(kind, happened, observation.known_at, observation.source, observation.note)


def _with_events(borrower: Borrower, filed: Sequence[CreditEvent]) -> Borrower:
    own = borrower.events
    extra = [*_life_changes(borrower), *sorted(set(filed), key=lambda event: (event.happened, event.kind))]
    kept = [event for event in extra if not any(_same(event, written) for written in own)]
    return replace(borrower, events=(*own, *kept)) if kept else borrower


def _same(event: CreditEvent, written: CreditEvent) -> bool:
    return event.kind == written.kind and abs(event.happened - written.happened) <= SAME_EVENT


def _life_changes(borrower: Borrower) -> Iterator[CreditEvent]:
    """Between two statements of another useful life lies a change of accounting that nobody may have announced."""
    facts = [f for f in borrower.facts if f.field == "useful_life_months" and isinstance(f.value, float | int)]
    facts.sort(key=lambda fact: (fact.as_of, fact.published or fact.as_of))
    for before, after in pairwise(facts):
        if before.value != after.value and before.as_of < after.as_of:
            note = f"{before.value:g} months on {before.as_of}, {after.value:g} on {after.as_of}"
            yield CreditEvent("useful_life_change", after.as_of, after.known_at, after.source, note)
