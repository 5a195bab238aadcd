"""A replay in a few sentences: who was warned of in time, who was not, who for nothing, and what saved those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from monitor import scoring
from monitor.model import Book, Borrower, CreditEvent, end_of_day
from monitor.replay import ReplayResult
from monitor.replay_score import Gap, Verdict
from monitor.replay_summary import saved_table, summary_table
from monitor.scoring import Episode, Outcome, Score

START, END = datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)
FELL = date(2022, 10, 1)


def alarm(borrower: str, days: int, severity: str = "warning", ended: datetime | None = None) -> Episode:
    """An alarm that began so many days before the fall."""
    return Episode("R", borrower, severity, end_of_day(FELL) - timedelta(days=days), ended, {})


def score(name: str, label: str, *alarms: Episode) -> Score:
    """One borrower's line; failures fell on one day."""
    day = FELL if label in ("failure", "insufficient data") else None
    until = end_of_day(FELL) - timedelta(days=1) if day else END
    return scoring.score(Outcome(name, label, day, "bankruptcy"), alarms, START, until)


def said(scores: list[Score], gaps: Sequence[Gap] = ()) -> list[str]:
    """The sentences about some lines."""
    verdict = Verdict("rules", ("warning", "critical"), tuple(scores), scoring.Ranking(0.5, 1, 1.0, 1))
    return [note.text for note in summary_table(verdict, gaps).notes]


def test_early_late_and_missed_are_told_apart():
    """Thirty days ahead is in time, ten is not, and what was not public is named with the failure it hid."""
    late = Outcome("late", "failure", FELL, "bankruptcy")
    texts = said(
        [
            score("early", "failure", alarm("early", 61)),
            score("late", "failure", alarm("late", 11)),
            score("never", "failure"),
        ],
        [Gap(late, 10, None, {"coins": None, "debt": date(2022, 9, 20)})],
    )
    assert texts[0] == "1 of 3 failures had a warning 30 days ahead or more: early 60 d"
    assert texts[1] == "0 of 3 failures had a critical alarm ahead"
    assert texts[2] == "missed: late, warned of only 10 d ahead; not public in time: coins, debt"
    assert texts[3] == "missed: never, not warned of"


def test_survivors_are_counted_with_their_days():
    """A survivor with a critical alarm counts in both lines, one without any in none."""
    loud = score("loud", "survivor", alarm("loud", 0, "critical"))
    texts = said([loud, score("quiet", "survivor")])
    assert texts[0].startswith("nobody failed in these days")
    assert texts[1:] == [
        "1 of 2 survivors had a warning all the same: loud on 25% of days",
        "1 of 2 survivors had a critical alarm: loud on 25% of days",
    ]


def test_who_was_quiet_in_the_dark_is_said():
    """A survivor without an alarm that could be told on few days is named; one that was seen is not."""
    dark = scoring.score(Outcome("dark", "survivor"), (), START, END, [(START, START + timedelta(days=292))])
    texts = said([dark, score("seen", "survivor")])
    assert texts[-1].endswith("which is no merit: dark on 80% of days")


def test_a_deferral_is_told_apart():
    """A borderline borrower is neither a failure nor a survivor; its lead is said."""
    outcome = Outcome("late", "borderline", FELL, "deferral")
    until = end_of_day(FELL) - timedelta(days=1)
    texts = said([scoring.score(outcome, (), START, until)])
    assert texts[1:] == ["borderline: late, deferral on 2022-10-01, not warned of"]


def test_who_could_not_be_measured_is_not_among_the_failures():
    """A failure with too little public is told apart, with the day since when that was said."""
    gap = Gap(Outcome("dark", "insufficient data", FELL, "acceleration"), None, START, {})
    texts = said([score("dark", "insufficient data")], [gap])
    assert texts[-1] == "could not be measured: dark, which failed on 2022-10-01; said to be blind since 2022-01-01"
    assert said([score("dark", "insufficient data")], [replace(gap, blind_since=None)])[-1].endswith("nothing said so")


def test_what_saved_a_survivor_is_what_its_book_records_around_the_alarm():
    """Events from 30 days before a critical alarm to its end stand beside it; earlier and later ones do not."""
    rows = [(date(2022, 6, 1), "before"), (date(2022, 9, 20), "a call was met"), (date(2022, 12, 1), "after")]
    events = tuple(CreditEvent("due_outcome_paid", day, end_of_day(day), "a filing", note) for day, note in rows)
    episode = alarm("loud", 0, "critical", datetime(2022, 11, 1, tzinfo=UTC))
    book = Book((Borrower("loud", "Loud", "miner", events=events),), (), ())
    result = ReplayResult(
        *(START, END, timedelta(days=1), (START, END), book, (), {}, ()),
        episodes=(episode, alarm("loud", 5)),
        hindsight=(),
        inputs=("", "", "", ""),
        seed=1,
        evaluated=0,
        seconds=0.0,
    )
    verdict = Verdict("rules", ("critical",), (score("loud", "survivor", episode),), scoring.Ranking(0.5, 1, 1.0, 1))
    table = saved_table(result, verdict)
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["loud", "R", "2022-10-02", "2022-11-01", "2022-09-20 due outcome paid (a call was met)"]
    ]
    assert saved_table(replace(result, episodes=()), verdict) is None
