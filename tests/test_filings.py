"""Filings as events: from the SEC's list over loopback HTTP to an event of the book with both its dates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
import stamina
from loopback import Answer, Loopback
from more_answers import NOW, SUBMISSIONS, raw, settings, submissions
from small_book import borrower, known

from monitor.feeds import Company, FeedSettings, fetch_all
from monitor.feeds.edgar import Edgar
from monitor.filings import FILING_SERIES, ITEMS, KINDS, filings_of, kinds_of, plain_text, said_in, with_filings
from monitor.known import as_known
from monitor.metrics_events import DISTRESS, WARNING
from monitor.model import Book, FeedError, FeedReport, Observation
from monitor.series import SERIES

DOCUMENT = "/Archives/edgar/data/1/000000000126000001/a.htm"
DOUBT = "These conditions raise substantial doubt about the Company&#8217;s ability to continue as a going concern."


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    """A fresh server per test."""
    with Loopback() as running:
        yield running


def ask(server: Loopback, feed: Edgar | None = None, now: datetime = NOW) -> tuple[list[Observation], FeedReport]:
    feed = feed or Edgar(settings(server.url))
    found, (report,) = asyncio.run(fetch_all([feed], now, 5.0))
    return found, report


def events(*filings: dict[str, str]) -> list[tuple[str, str]]:
    """(kind, where) of every event of these filings by form and item."""
    found, _ = filings_of(submissions(*filings), NOW, NOW - timedelta(days=400))
    return [pair for filing in found for pair in kinds_of(filing)]


# ---------------------------------------------------------------- items and forms
@pytest.mark.parametrize(("item", "kind"), ITEMS.items())
def test_every_item_is_an_event_of_its_kind(item: str, kind: str) -> None:
    """1.03, 2.03, 2.04, 2.06, 3.01, 4.01, 4.02 and 5.02 are read from the list of items, among others."""
    assert events({"form": "8-K", "items": f"7.01,{item},9.01"}) == [(kind, f"8-K item {item}")]


@pytest.mark.parametrize("form", ["NT 10-K", "NT 10-Q"])
def test_a_late_report_is_an_event(form: str) -> None:
    """The notice of a late report says it by its form."""
    assert events({"form": form}) == [("late_filing", form)]


def test_other_forms_and_items_are_none() -> None:
    """Results, exhibits and ownership reports are no credit events."""
    assert events({"form": "8-K", "items": "2.02,9.01"}, {"form": "4"}, {"form": "10-Q"}) == []


def test_every_kind_has_a_series() -> None:
    """What a filing may report is a series the store and the checks know."""
    assert set(FILING_SERIES) == {f"filing_{kind}" for kind in KINDS} == {s for s in SERIES if s.startswith("filing_")}


def test_what_is_routine_does_not_alarm() -> None:
    """New debt and changes of officers are kept as events and wake nobody by themselves."""
    assert not {"new_debt", "officer_change"} & {*DISTRESS, *WARNING}
    assert {"bankruptcy", "acceleration", "non_reliance", "going_concern"} <= set(DISTRESS)
    assert {"delisting_notice", "auditor_change", "late_filing", "impairment", "useful_life_change"} <= set(WARNING)


# ---------------------------------------------------------------- the list
def test_a_filing_is_known_from_its_acceptance(server: Loopback) -> None:
    """Two dates: the day reported on, and the second the SEC took it; found later it is as old as it is."""
    filing = {"form": "8-K", "items": "4.02", "reportDate": "2026-08-01"}
    server.on(SUBMISSIONS, raw(submissions(filing | {"acceptanceDateTime": "2026-08-03T20:00:00.000Z"})))
    (seen,), report = ask(server)
    assert report.ok
    assert (seen.series, seen.subject) == ("filing_non_reliance", "acme")
    assert seen.observed_at == datetime(2026, 8, 2, tzinfo=UTC)
    assert seen.known_at == datetime(2026, 8, 3, 20, tzinfo=UTC)
    assert "8-K item 4.02, 0000000001-26-000001" in seen.source


def test_the_sec_is_told_who_asks(server: Loopback) -> None:
    """Program and contact stand in the User-Agent of every request."""
    server.on(SUBMISSIONS, raw(submissions({})))
    ask(server)
    assert server.requests[0].headers["User-Agent"].endswith(" desk@example.org")


def test_no_filing_is_no_failure(server: Loopback) -> None:
    """A quiet company gives nothing and the source is well."""
    server.on(SUBMISSIONS, raw(submissions({"form": "4"})))
    found, report = ask(server)
    assert (found, report.ok) == ([], True)


def test_columns_of_different_lengths_belong_to_no_row() -> None:
    """A list stored by columns that do not match is refused, not zipped to the shortest."""
    answer = submissions({"form": "8-K", "items": "4.02"}, {"form": "10-Q"})
    answer["filings"]["recent"]["items"].pop()
    with pytest.raises(FeedError, match="different lengths"):
        filings_of(answer, NOW, NOW - timedelta(days=400))


@pytest.mark.parametrize("column", ["accessionNumber", "form", "acceptanceDateTime", "items", "primaryDocument"])
def test_a_missing_column_is_named(column: str) -> None:
    """Without one of its columns the list says nothing."""
    answer = submissions({"form": "8-K", "items": "4.02"})
    del answer["filings"]["recent"][column]
    with pytest.raises(FeedError, match=column):
        filings_of(answer, NOW, NOW - timedelta(days=400))


@pytest.mark.parametrize(
    "change",
    [
        {"acceptanceDateTime": "2026-09-03T20:00:00.000Z"},  # the future
        {"acceptanceDateTime": "20260803200000"},
        {"acceptanceDateTime": "2026-08-03T20:00:00"},  # no zone
        {"acceptanceDateTime": ""},
        {"accessionNumber": "../../etc"},
        {"reportDate": "", "filingDate": "soon"},
    ],
)
def test_a_row_without_believable_dates_is_left_out(change: dict[str, str], server: Loopback) -> None:
    """Future, zoneless and broken dates and numbers are counted and no event."""
    good = {"form": "NT 10-Q", "accessionNumber": "0000000001-26-000009"}
    server.on(SUBMISSIONS, raw(submissions({"form": "8-K", "items": "1.03"} | change, good)))
    found, report = ask(server)
    assert [seen.series for seen in found] == ["filing_late_filing"]
    assert "1 filings without readable dates" in report.reason


def test_the_order_and_number_of_rows_does_not_matter() -> None:
    """A list turned round, or a row said twice, is the same set of events."""
    rows = [{"form": "8-K", "items": "4.02"}, {"form": "NT 10-Q", "accessionNumber": "0000000001-26-000002"}]
    assert set(events(*rows)) == set(events(*rows[::-1])) == set(events(*rows, *rows))


def test_one_company_that_fails_leaves_the_others(server: Loopback) -> None:
    """A list that cannot be had is noted by the borrower's name."""
    server.on(SUBMISSIONS, raw(submissions({"form": "NT 10-Q"})))
    two = (Company("acme", "ACME", 1), Company("gone", "GONE", 2), Company("private"))
    feed = Edgar(FeedSettings(base_url=server.url, contact="desk@example.org", companies=two))
    found, report = ask(server, feed)
    assert len(found) == 1
    assert "gone: 127.0.0.1 answered HTTP 404" in report.reason


# ---------------------------------------------------------------- the words
def test_a_doubt_about_going_on_is_read_from_the_report(server: Loopback) -> None:
    """The sentence itself is kept as the note, and the text is read once."""
    server.on(SUBMISSIONS, raw(submissions({"acceptanceDateTime": "2026-08-13T20:00:00.000Z"})))
    server.on(DOCUMENT, Answer(200, f"<html><p>We lost money. {DOUBT}</p></html>".encode()))
    feed = Edgar(settings(server.url))
    (seen,), _ = ask(server, feed)
    assert seen.series == "filing_going_concern"
    assert "substantial doubt" in seen.note
    assert seen.known_at == datetime(2026, 8, 13, 20, tzinfo=UTC)
    again, _ = ask(server, feed, NOW + timedelta(hours=1))
    assert again == [seen]
    assert len(server.asked(DOCUMENT)) == 1


def test_a_text_that_cannot_be_had_is_asked_for_again(server: Loopback) -> None:
    """The events by item still count; the report says what is missing."""
    server.on(SUBMISSIONS, raw(submissions({"acceptanceDateTime": "2026-08-13T20:00:00.000Z"})))
    feed = Edgar(settings(server.url))
    found, report = ask(server, feed)
    assert (found, report.ok) == ([], True)
    assert "10-Q 0000000001-26-000001: 127.0.0.1 answered HTTP 404" in report.reason
    server.on(DOCUMENT, Answer(200, DOUBT.encode()))
    found, _ = ask(server, feed, NOW + timedelta(hours=1))
    assert [seen.series for seen in found] == ["filing_going_concern"]


@pytest.mark.parametrize(
    ("form", "sentence", "kind"),
    [
        ("10-Q", DOUBT, "going_concern"),
        ("10-K", "There is substantial doubt about our ability to continue as a going concern.", "going_concern"),
        ("10-Q", "This could raise substantial doubt about our ability to continue as a going concern.", None),
        ("10-Q", "Management evaluates whether conditions raise substantial doubt about the entity's ability to "
                 "continue as a going concern.", None),
        ("10-Q", "These plans alleviate the substantial doubt about our ability to continue as a going concern.", None),
        ("10-Q", "There is no substantial doubt about our ability to continue as a going concern.", None),
        ("8-K", "On August 1, Jane Roe resigned as Chief Financial Officer of the Company.", "cfo_exit"),
        ("8-K", "Jane Roe was appointed Chief Financial Officer.", None),
        ("8-K", "John Doe resigned as a director.", None),
        ("10-K", "We changed the useful lives of servers from five years to six years.", "useful_life_change"),
        ("10-K", "Effective July 1, the useful life of miners was reduced from five years to three years.", None),
        ("10-K", "Servers are depreciated over useful lives of three to six years.", None),
    ],
)  # fmt: skip
def test_words_are_read_with_their_context(form: str, sentence: str, kind: str | None) -> None:
    """A possible, denied or explained doubt is none; appointments are no departures. Other wordings are missed."""
    assert [found for found, _ in said_in(plain_text(f"<p>{sentence}</p>"), form)] == ([kind] if kind else [])


# ---------------------------------------------------------------- into the book
BOOK_EVENT = "events: [{kind: late_filing, happened: 2026-08-05, published: 2026-08-06, source: NT 10-Q}]\n"


def book_of(text: str) -> Book:
    return Book(tuple(row.borrower for row in known({"acme": text}).borrowers))


def seen(kind: str, day: date, borrower_id: str = "acme") -> Observation:
    at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
    return Observation(f"filing_{kind}", 1.0, "flag", at, at, "SEC EDGAR", borrower_id, known_basis="published")


def test_a_live_filing_becomes_an_event_from_its_acceptance_on() -> None:
    """Before the acceptance the book does not know it; after it, it does, whoever wrote the book."""
    book = with_filings(book_of(borrower("miner")), [seen("non_reliance", date(2026, 8, 3))])
    (before,) = as_known(book, datetime(2026, 8, 3, 19, tzinfo=UTC)).borrowers
    (after,) = as_known(book, datetime(2026, 8, 3, 20, tzinfo=UTC)).borrowers
    assert before.events == ()
    assert [event.kind for event in after.events] == ["non_reliance"]


def test_what_a_person_wrote_about_the_same_event_stands() -> None:
    """A filing of the same kind within ten days of a written event is that event; another kind or time is not."""
    filed = [
        seen("late_filing", date(2026, 8, 6)),
        seen("late_filing", date(2026, 5, 6)),
        seen("impairment", date(2026, 8, 6)),
    ]
    (row,) = with_filings(book_of(borrower("miner", rest=BOOK_EVENT)), filed).borrowers
    assert sorted((event.kind, event.happened.month) for event in row.events) == [
        ("impairment", 8),
        ("late_filing", 5),
        ("late_filing", 8),
    ]
    assert row.events[0].source == "NT 10-Q"


def test_a_filing_of_somebody_else_changes_nothing() -> None:
    """A borrower that is not in the book gets no events, and the others none of his."""
    book = book_of(borrower("miner"))
    assert with_filings(book, [seen("impairment", date(2026, 8, 6), "stranger")]) == book


def test_another_useful_life_in_the_book_is_an_event() -> None:
    """36 months in one filing and 60 in a later one is a change somebody made, known with the later filing."""
    facts = "".join(
        f"  - {{as_of: {as_of}, published: {published}, quality: filing, source: F,"
        f" values: {{useful_life_months: {n}}}}}\n"
        for as_of, published, n in (("2025-12-31", "2026-03-02", 36), ("2026-03-31", "2026-05-11", 36),
                                    ("2026-06-30", "2026-08-06", 60))
    )  # fmt: skip
    (row,) = with_filings(book_of(f"name: A\nkind: miner\nfacts:\n{facts}"), []).borrowers
    (event,) = row.events
    assert (event.kind, event.happened, event.known_at) == (
        "useful_life_change", date(2026, 6, 30), datetime(2026, 8, 7, tzinfo=UTC),
    )  # fmt: skip
    assert event.note == "36 months on 2026-03-31, 60 on 2026-06-30"
