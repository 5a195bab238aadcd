"""A replay as a person or a machine reads it: tables, CSV, JSON, a page of evidence and a timeline.

Every number comes out of a :class:`monitor.replay.ReplayResult`; none is typed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from monitor.metrics import METRICS
from monitor.model import MARKET, CanaryError, Severity
from monitor.replay import ReplayResult
from monitor.replay_chart import timeline
from monitor.replay_rigs import rig_table
from monitor.replay_score import (
    NOTICE_DAYS,
    SEVERITIES,
    Gap,
    RuleUse,
    Verdict,
    as_csv,
    blind_at,
    episode_row,
    gaps,
    ordered,
    rule_row,
    rule_uses,
    score_row,
    verdicts,
)
from monitor.replay_summary import saved_table, summary_table
from monitor.scoring import ASIDE, Count, Episode, Score, caught, quiet
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Table, Tone, show

#: whose days in alarm are compared
GROUPS = tuple((severity, label) for severity in SEVERITIES for label in ("failure", "survivor"))
MAX_BECAUSE = 160
UNKNOWN_WEEK = "unknown"


# ---------------------------------------------------------------- words
def _share(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.0%}"


def _rate(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.1f}"


def _count(count: Count) -> str:
    return f"{count.hits} of {count.of} ({count.low:.0%} to {count.high:.0%})" if count.of else NOT_APPLICABLE


def _values(episode: Episode) -> str:
    """The numbers a rule looked at when it fired."""
    shown = []
    for name, value in episode.values.items():
        unit = METRICS[name].unit if name in METRICS else ""
        shown.append(f"{name} {show(value, unit)}")
    return ", ".join(shown)


def _lead(row: Score, severity: Severity) -> str:
    lead = row.lead(severity)
    if row.outcome.day is None:
        return NOT_APPLICABLE
    return f"{lead.days} d, {lead.episode.rule}" if lead else "none"


def _first(row: Score, severity: Severity) -> str:
    first = row.first(severity)
    if first is None:
        return "none"
    gone = first.ended is not None and first.ended < row.until
    return f"{first.began:%Y-%m-%d} {first.rule}{' (over by then)' if gone and row.outcome.day else ''}"


# ---------------------------------------------------------------- tables
def issuer_table(verdict: Verdict) -> Table:
    """Borrower by borrower: what happened, how far ahead an alarm stood, and how often one stood at all."""
    heads = (
        *(Head("borrower"), Head("what happened", expendable=1), Head("signs before", expendable=4)),
        *(Head("warning ahead"), Head("critical ahead")),
        *(Head("first warning", expendable=2), Head("first critical", expendable=3)),
    )
    rates = ("days watched", "in warning", "in critical", "warnings a year", "criticals a year", "blind")
    rows = []
    for s in ordered(verdict.scores):
        event = f"{s.outcome.kind.replace('_', ' ')} {s.outcome.day}" if s.outcome.day else ""
        tone: Tone = "critical" if s.outcome.label == "failure" else ""
        signs = ", ".join(f"{kind.replace('_', ' ')} {day}" for day, kind in s.outcome.signs) or NOT_APPLICABLE
        texts = [f"{s.outcome.label} {event}".strip(), signs, _lead(s, "warning"), _lead(s, "critical")]
        texts += [_first(s, "warning"), _first(s, "critical"), f"{s.days:.0f}"]
        texts += [_share(s.share("warning")), _share(s.share("critical"))]
        texts += [_rate(s.per_year("warning")), _rate(s.per_year("critical")), _share(s.share_blind)]
        rows.append((Cell(s.outcome.borrower, tone), *(Cell(text) for text in texts)))
    notes = (
        "ahead: days before the event of the earliest alarm, at most 270, that had not ended by then",
        "warning counts critical alarms too; days are those from the first figure known to the event or the end",
        "blind: share of days on which its liquidity cover could not be told, so most rules could not speak",
        f"{', '.join(sorted(ASIDE))} says that data is missing and counts as no alarm here",
    )
    return Table(
        f"{verdict.name}, borrower by borrower",
        (*heads, *(Head(h, right=True) for h in rates)),
        tuple(rows),
        tuple(Cell(note, "dim") for note in notes),
    )


def gap_table(found: Sequence[Gap]) -> Table:
    """What each failure's warning lacked: which input was not public in time, and when it became so."""
    rows = []
    for gap in found:
        late = [f"{what}: {day or 'never'}" for what, day in gap.late.items()]
        warned = f"{gap.lead_days} d" if gap.lead_days else "none"
        in_time = gap.lead_days is not None and gap.lead_days >= NOTICE_DAYS
        texts = (
            gap.outcome.borrower,
            f"{gap.outcome.kind.replace('_', ' ')} {gap.outcome.day}",
            f"{gap.blind_since:%Y-%m-%d}" if gap.blind_since else "not said",
            ", ".join(late) or "nothing",
        )
        rows.append((*map(Cell, texts[:2]), Cell(warned, "" if in_time else "warning"), *map(Cell, texts[2:])))
    heads = ("borrower", "what happened", "warned ahead", "said to be blind since", "known too late, and since when")
    notes = (
        f"too late: the first figure became public within {NOTICE_DAYS} days of the event or later; never: the book has"
        " none",
        "blind: the last alarm before the event that too little is known to judge it",
    )
    return Table(
        "What a warning lacked",
        tuple(Head(h) for h in heads),
        tuple(rows),
        tuple(Cell(note, "dim") for note in notes),
    )


def comparison_table(found: Sequence[Verdict]) -> Table:
    """The rules beside naive warnings on the same days; counts with exact 95 % intervals, no mark."""
    rows = []
    for v in found:
        texts = [v.name]
        for severity in SEVERITIES:
            can = severity in v.severities
            texts += [_count(caught(v.scores, severity)), _count(quiet(v.scores, severity))] if can else ["-", "-"]
        for severity, label in GROUPS:
            texts.append(_group_share(v, label, severity) if severity in v.severities else NOT_APPLICABLE)
        r = v.ranking
        texts += [show(r.concordance, "").strip(), str(r.dates), show(r.p_value, "").strip()]
        rows.append(tuple(Cell(text) for text in texts))
    heads = (
        "warned by",
        "failures warned",
        "survivors without warning",
        "failures critical",
        "survivors without critical",
    )
    rates = (*(f"days in {severity}, {label}s" for severity, label in GROUPS), "rank", "dates", "p")
    notes = (
        "rank: how often a failure to come stood above a survivor on the same date; 0.5 is chance, p permutes labels",
        "baselines are one condition each with round thresholds; none was fitted, none has a critical level",
    )
    return Table(
        "The same days, warned in other ways",
        # the rules' own criticals and the ranking's size are in the report; a narrow screen keeps what compares
        (
            *(Head(h, expendable=2 * ("critical" in h)) for h in heads),
            *(Head(h, right=True, expendable=2 * ("critical" in h) + 3 * (h in ("dates", "p"))) for h in rates),
        ),
        tuple(rows),
        tuple(Cell(note, "dim") for note in notes),
    )


def _group_share(verdict: Verdict, label: str, severity: Severity) -> str:
    group = [s for s in verdict.scores if s.outcome.label == label and s.days]
    days = sum(s.days for s in group)
    return _share(sum(s.share(severity) * s.days for s in group) / days) if days else NOT_APPLICABLE


def rule_table(uses: Sequence[RuleUse], result: ReplayResult) -> Table:
    """Every rule: how often it spoke, how long it stood, how much of the time it could not tell."""
    rows = tuple(
        tuple(
            Cell(text)
            for text in (
                *(use.rule, use.severity, use.each, str(use.episodes), f"{use.per_year:.2f}"),
                *(_share(use.share), _share(use.unknown)),
            )
        )
        for use in uses
    )
    heads = ("rule", "severity", "about")
    rates = ("episodes", "a borrower-year", "days it stood", "days it could not tell")
    years = (result.end - result.start) / timedelta(days=365.25)
    title = f"Rule by rule, {len(result.borrowers)} borrowers over {years:.2f} years"
    return Table(title, (*(Head(h) for h in heads), *(Head(h, right=True) for h in rates)), rows)


def episode_table(result: ReplayResult, borrowers: Sequence[str] = ()) -> Table:
    """Every alarm of some borrowers (all when none is named), with the numbers at its firing and why it fired then."""
    rows = []
    for e in result.episodes:
        if e.severity == "info" or (borrowers and e.borrower not in borrowers):
            continue
        ended = f"{e.ended:%Y-%m-%d}" if e.ended else "stands"
        because = e.because if len(e.because) <= MAX_BECAUSE else f"{e.because[:MAX_BECAUSE]} ..."
        texts = (e.subject, e.rule, e.severity, f"{e.began:%Y-%m-%d}", ended, _values(e), because)
        rows.append(tuple(Cell(t, "critical" if i == 2 and t == "critical" else "") for i, t in enumerate(texts)))
    heads = ("subject", "rule", "severity", "from", "to", "numbers at its firing", "because")
    return Table("Alarms in order", tuple(Head(h) for h in heads), tuple(rows))


def week_table(result: ReplayResult, borrowers: Sequence[str]) -> Table:
    """Week by week what stood about some borrowers and the market; a week that says what the last said is left out."""
    subjects = (*borrowers, MARKET)
    rows: list[tuple[Cell, ...]] = []
    last: list[str] = []
    at = result.start
    while at <= result.end:
        now = [_week(result, subject, at) for subject in subjects]
        if now != last:
            rows.append(tuple(Cell(text) for text in (f"{at - timedelta(seconds=1):%Y-%m-%d}", *now)))
        last, at = now, at + timedelta(days=7)
    words = "an exclamation mark is critical; unknown: its liquidity cover, or of the market bitcoin, could not be told"
    notes = (Cell(words, "dim"), Cell("weeks without a change are left out", "dim"))
    return Table("What stood at the end of each week", tuple(Head(h) for h in ("day", *subjects)), tuple(rows), notes)


def _week(result: ReplayResult, subject: str, at: datetime) -> str:
    """What stood about a subject at a moment; where nothing did, whether anything could have."""
    standing = sorted({_short(e) for e in result.episodes if _said(e, subject, at)})
    return ", ".join(standing) or (UNKNOWN_WEEK if blind_at(result, subject, at) else "quiet")


def _said(episode: Episode, subject: str, at: datetime) -> bool:
    return episode.borrower == subject and episode.severity != "info" and episode.stands(at)


def _short(episode: Episode) -> str:
    return episode.rule + ("!" if episode.severity == "critical" else "")


def hindsight_table(result: ReplayResult) -> Table:
    """What the replay owes to knowledge of later, in words."""
    return Table("What rests on later knowledge", notes=tuple(Cell(text, "warning") for text in result.hindsight))


def tables(result: ReplayResult, borrowers: Sequence[str] = ()) -> list[Table]:
    """Everything a replay has to say."""
    found = verdicts(result)
    pages = [hindsight_table(result), rule_table(rule_uses(result), result), episode_table(result, borrowers)]
    missed = gaps(result, found[0])
    saved = saved_table(result, found[0])
    head = [summary_table(found[0], missed), issuer_table(found[0]), *([gap_table(missed)] if missed else [])]
    pages = [*head, *([saved] if saved else []), comparison_table(found), *pages]
    if result.rigs:
        pages.append(rig_table(result.rigs))
    if borrowers:
        pages.append(week_table(result, borrowers))
    return bannered(result, pages)


def bannered(result: ReplayResult, pages: Iterable[Table]) -> list[Table]:
    """Tables that say what they are: a replay of which days, and whether a series of it was restated later."""
    head = f"REPLAY {result.start - timedelta(seconds=1):%Y-%m-%d} to {result.end - timedelta(seconds=1):%Y-%m-%d}"
    if any("restated" in text for text in result.hindsight):
        head += ", with series that were restated later"
    return [replace(page, banner=head) for page in pages]


# ---------------------------------------------------------------- as a page
def markdown(table: Table) -> str:
    """A table as Markdown.

    >>> print(markdown(Table("Two", (Head("a"), Head("b", right=True)), ((Cell("x|y"), Cell("1")),))))
    ### Two
    <BLANKLINE>
    | a | b |
    |---|---:|
    | x\\|y | 1 |
    <BLANKLINE>
    """
    lines = [f"### {table.title}", "", *([f"*{table.banner}*", ""] if table.banner else [])]
    if table.heads:
        lines.append("| " + " | ".join(head.label for head in table.heads) + " |")
        lines.append("|" + "|".join("---:" if head.right else "---" for head in table.heads) + "|")
        lines += ["| " + " | ".join(c.text.replace("|", "\\|") for c in row) + " |" for row in table.rows]
        lines.append("")
    lines += [f"- {note.text}" for note in table.notes] + ([""] if table.notes else [])
    return "\n".join(lines)


# ---------------------------------------------------------------- files
def write_files(result: ReplayResult, folder: Path, borrowers: Sequence[str] = ()) -> list[Path]:
    """scores.csv, rules.csv, episodes.csv, replay.md and timeline.png in a folder; returns what was written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "scores.csv": as_csv(
                [{"warned_by": v.name, **score_row(s)} for v in verdicts(result) for s in ordered(v.scores)]
            ),
            "rules.csv": as_csv([rule_row(use) for use in rule_uses(result)]),
            "episodes.csv": as_csv([episode_row(e) for e in result.episodes]),
            "replay.md": "\n".join(markdown(t) for t in tables(result, borrowers)),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        timeline(result, folder / "timeline.png", borrowers)
    except OSError as error:
        raise CanaryError(f"{folder}: {error.strerror or error}") from error
    return [folder / name for name in (*texts, "timeline.png")]
