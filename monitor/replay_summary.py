"""A replay in a few sentences, and what became of survivors about which it was critical. Every number is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from monitor.model import CreditEvent, Severity
from monitor.replay import ReplayResult
from monitor.replay_score import NOTICE_DAYS, Gap, Verdict, ordered
from monitor.scoring import ASIDE, Episode, Score
from monitor.tables import NOT_APPLICABLE, Cell, Head, Table

#: a borrower that could not be judged on more than this share of its days was not seen to be quiet
MOSTLY = 0.5
#: what a borrower did this long before an alarm began may be why it did not fall
BEFORE = timedelta(days=30)


# ---------------------------------------------------------------- in short
def summary_table(verdict: Verdict, missed: Sequence[Gap]) -> Table:
    """Who was warned of in time, who was not and why, and who was warned of for nothing."""
    notes = [*_failures(_of(verdict, "failure"), {gap.outcome.borrower: gap for gap in missed})]
    notes += [*_borderline(_of(verdict, "borderline")), *_survivors(_of(verdict, "survivor")), *_unmeasured(missed)]
    return Table("In short", notes=tuple(Cell(note) for note in notes))


def _of(verdict: Verdict, label: str) -> list[Score]:
    return [s for s in ordered(verdict.scores) if s.outcome.label == label]


def _failures(failures: Sequence[Score], missed: dict[str, Gap]) -> Iterator[str]:
    if not failures:
        yield "nobody failed in these days, so they cannot show whether a warning would have come in time"
        return
    ahead = {s.outcome.borrower: lead.days for s in failures if (lead := s.lead("warning"))}
    early = {name: days for name, days in ahead.items() if days >= NOTICE_DAYS}
    named = ", ".join(f"{name} {days} d" for name, days in early.items())
    yield _count(len(early), len(failures), f"had a warning {NOTICE_DAYS} days ahead or more", named, "failures")
    critical = [s.outcome.borrower for s in failures if s.lead("critical")]
    yield _count(len(critical), len(failures), "had a critical alarm ahead", ", ".join(critical), "failures")
    for name in (s.outcome.borrower for s in failures if s.outcome.borrower not in early):
        late = ", ".join(missed[name].late) if name in missed else ""
        said = f"warned of only {ahead[name]} d ahead" if name in ahead else "not warned of"
        yield f"missed: {name}, {said}" + (f"; not public in time: {late}" if late else "")


def _borderline(scores: Sequence[Score]) -> Iterator[str]:
    for s in scores:
        lead = s.lead("warning")
        ahead = f"warned of {lead.days} d ahead" if lead else "not warned of"
        yield f"borderline: {s.outcome.borrower}, {s.outcome.kind.replace('_', ' ')} on {s.outcome.day}, {ahead}"


def _survivors(survivors: Sequence[Score]) -> Iterator[str]:
    for severity, words in (("warning", "had a warning all the same"), ("critical", "had a critical alarm")):
        loud = [s for s in survivors if s.first(_severity(severity))]
        named = ", ".join(f"{s.outcome.borrower} on {s.share(_severity(severity)):.0%} of days" for s in loud)
        if survivors:
            yield _count(len(loud), len(survivors), words, named, "survivors")
    dark = [s for s in survivors if s.first("warning") is None and s.share_blind > MOSTLY]
    if dark:
        named = ", ".join(f"{s.outcome.borrower} on {s.share_blind:.0%} of days" for s in dark)
        yield f"quiet because its liquidity cover could not be told, which is no merit: {named}"


def _severity(name: str) -> Severity:
    return "critical" if name == "critical" else "warning"


def _count(hits: int, of: int, words: str, named: str, who: str) -> str:
    return f"{hits} of {of} {who} {words}" + (f": {named}" if named else "")


def _unmeasured(missed: Iterable[Gap]) -> Iterator[str]:
    for gap in missed:
        if gap.outcome.label == "insufficient data":
            since = f"said to be blind since {gap.blind_since:%Y-%m-%d}" if gap.blind_since else "and nothing said so"
            yield f"could not be measured: {gap.outcome.borrower}, which failed on {gap.outcome.day}; {since}"


# ---------------------------------------------------------------- what saved it
def saved_table(result: ReplayResult, verdict: Verdict) -> Table | None:
    """Every critical alarm about a survivor: how it ended, and what the book records of its borrower around it."""
    rows = []
    for s in _of(verdict, "survivor"):
        for e in result.episodes:
            if e.borrower == s.outcome.borrower and e.severity == "critical" and e.rule not in ASIDE:
                around = "; ".join(_told(event) for event in _around(result, e)) or NOT_APPLICABLE
                ended = f"{e.ended:%Y-%m-%d}" if e.ended else "stands"
                rows.append((e.subject, e.rule, f"{e.began:%Y-%m-%d}", ended, around))
    if not rows:
        return None
    heads = ("survivor", "critical alarm", "from", "to", "what its book records from 30 days before to its end")
    note = "the book is read afterwards: what is recorded beside an alarm was not all known when it began"
    cells = tuple(tuple(map(Cell, row)) for row in rows)
    return Table("Critical about a survivor, and what saved it", tuple(map(Head, heads)), cells, (Cell(note, "dim"),))


def _around(result: ReplayResult, episode: Episode) -> list[CreditEvent]:
    """The events of a borrower from a while before an alarm to its end."""
    first, last = (episode.began - BEFORE).date(), (episode.ended or result.end).date()
    return [e for e in result.book.borrower(episode.borrower).events if first <= e.happened <= last]


def _told(event: CreditEvent) -> str:
    return f"{event.happened} {event.kind.replace('_', ' ')}" + (f" ({event.note.rstrip('.')})" if event.note else "")
