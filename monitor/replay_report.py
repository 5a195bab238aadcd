"""A replay as a person or a machine reads it: tables, CSV, JSON, a page of evidence and a timeline.

Every number comes out of a :class:`monitor.replay.ReplayResult`; none is typed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.commands import Reply
from monitor.feeds import file
from monitor.metrics import METRICS
from monitor.model import MARKET, CanaryError, Severity, end_of_day
from monitor.replay import ReplayResult, history_world, replay
from monitor.replay_chart import timeline
from monitor.replay_compare import Change, Moved, RuleChange, change_json, compare_episodes, compare_rules
from monitor.replay_score import (
    SEVERITIES,
    RuleUse,
    Verdict,
    as_csv,
    as_json,
    episode_row,
    ordered,
    rule_row,
    rule_uses,
    score_row,
    verdicts,
)
from monitor.scoring import ASIDE, Count, Episode, Score, caught, quiet
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Table, Tone, show
from monitor.units import parse_duration_s
from monitor.world import World, build_world

if TYPE_CHECKING:
    from monitor.shell import Shell

#: whose days in alarm are compared
GROUPS = tuple((severity, label) for severity in SEVERITIES for label in ("failure", "survivor"))
MAX_BECAUSE = 160
#: dates of one rule at one borrower that a table names; JSON has them all
MAX_DATES = 6
#: the borrowers of book/history are followed no further
HISTORY_ENDS = end_of_day(date(2023, 12, 31))


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
        *(Head("borrower"), Head("what happened"), Head("signs before", expendable=3)),
        *(Head("warning ahead"), Head("critical ahead")),
        *(Head("first warning", expendable=1), Head("first critical", expendable=2)),
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
        (*(Head(h) for h in heads), *(Head(h, right=True) for h in rates)),
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
        now = [", ".join(sorted({_short(e) for e in result.episodes if _said(e, s, at)})) or "quiet" for s in subjects]
        if now != last:
            rows.append(tuple(Cell(text) for text in (f"{at - timedelta(seconds=1):%Y-%m-%d}", *now)))
        last, at = now, at + timedelta(days=7)
    note = Cell("an exclamation mark is critical; weeks without a change are left out", "dim")
    return Table("What stood at the end of each week", tuple(Head(h) for h in ("day", *subjects)), tuple(rows), (note,))


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
    pages = [issuer_table(found[0]), comparison_table(found), *pages]
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


# ---------------------------------------------------------------- files and the command
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


def run_replay(
    shell: Shell,
    *,
    start: str | None = None,
    end: str | None = None,
    every: str = "1d",
    history: bool = False,
    prices: Path | None = None,
    database: Path | None = None,
    out: Path | None = None,
    compare: Path | None = None,
    borrowers: Sequence[str] = (),
) -> int:
    """Replay recorded time and show what would have been said. Days are UTC and stand for their end.

    ``history``: the borrowers of 2021 to 2023 instead of today's book; their daily prices come from ``prices``, a
    folder of CSV in the shape of :mod:`monitor.feeds.file`. Without days, from the first to the last bitcoin close of
    that folder, or of everything recorded. ``every`` is a length of time such as 1d. Progress goes to standard error.
    ``compare``: another folder of rules to live the same days with; the answer is then what differs.
    """
    world = build_world(shell.config(), offline=True)
    own = [row for path in file.csv_files(prices) for row in file.read_csv(path)] if prices else []
    if history:
        world = history_world(world)
    closes = sorted(row.known_at for row in (own or world.recorded) if row.series == "btc_usd")
    if history:
        closes = [at for at in closes if at <= HISTORY_ENDS]
    if history and not closes:
        raise CanaryError(
            "the borrowers of 2021 to 2023 need prices of that time: --prices FOLDER with CSV of btc_usd and difficulty"
        )
    if not closes:
        raise CanaryError("no bitcoin close is recorded, so there is nothing to replay")
    unknown = sorted(set(borrowers) - {b.id for b in world.book.borrowers})
    if unknown:
        raise CanaryError(f"no borrower is called {', '.join(unknown)}; see `canary list borrowers`")
    first, last = _moment(start) or closes[0], _moment(end) or closes[-1]
    other = other_rules(world, compare) if compare is not None else None
    result = replay(world, first, last, _span(every), own, _progress, database)
    if compare is not None and other is not None:
        changed = replay(other, first, last, _span(every), own, _progress)
        return shell.show(comparison(result, changed, compare, borrowers))
    written = write_files(result, out, borrowers) if out else []
    pages = tables(result, borrowers)
    if written:
        pages.append(Table("", notes=tuple(Cell(f"wrote {path}", "dim") for path in written)))
    return shell.show(Reply(as_json(result), tuple(pages)))


# ---------------------------------------------------------------- the same days with other rules
def other_rules(world: World, folder: Path) -> World:
    """The same world with the rules of another folder. InputError with everything wrong in them.

    Routes are left out: nothing of a replay is sent, and they may name rules this folder does not have.
    """
    if not folder.is_dir():
        raise CanaryError(f"{folder}: there is no such folder; name one with rules, as {world.config.paths.rules} is")
    paths = replace(world.config.paths, rules=folder.resolve())
    read = build_world(replace(world.config, paths=paths, routes=()), offline=True)
    return replace(world, rules=read.rules, compiled=read.compiled, rules_hash=read.rules_hash)


def comparison(was: ReplayResult, now: ReplayResult, folder: Path, borrowers: Sequence[str] = ()) -> Reply:
    """What the rules of a folder change, as tables and data; ``borrowers``: these only."""
    found = [c for c in compare_episodes(was.episodes, now.episodes) if not borrowers or c.borrower in borrowers]
    rules = compare_rules(was.rules, now.rules)
    data = {
        "start": was.start.isoformat(),
        "end": was.end.isoformat(),
        "every_s": was.every.total_seconds(),
        "with": str(folder),
        "inputs": {"was": was.inputs[2], "now": now.inputs[2]},
        "rules": rules._asdict(),
        "alarms": [change_json(change) for change in found],
    }
    return Reply(data, tuple(bannered(was, [change_table(found, rules, folder)])))


def change_table(found: Sequence[Change], rules: RuleChange, folder: Path) -> Table:
    """Rule by rule and borrower by borrower, where an alarm is new, gone or moved."""
    heads = (Head("rule"), Head("borrower"), *(Head(h, right=True) for h in ("was", "now", "new", "gone", "moved")))
    rows = []
    for c in (change for change in found if change.differs):
        texts = [c.rule, c.borrower, *map(str, c.counts), *(str(len(part)) for part in (c.new, c.gone, c.moved))]
        said = [*(f"new {_dates(e)}" for e in c.new), *(f"gone {_dates(e)}" for e in c.gone), *map(_moved, c.moved)]
        more = f"; and {len(said) - MAX_DATES} more" if len(said) > MAX_DATES else ""
        rows.append(tuple(map(Cell, (*texts, "; ".join(said[:MAX_DATES]) + more))))
    total = [sum(len(part) for part in parts) for parts in zip(*((c.new, c.gone, c.moved) for c in found), strict=True)]
    new, gone, moved = total or (0, 0, 0)
    notes = [f"rules {what}: {', '.join(ids)}" for what, ids in rules._asdict().items() if ids]
    notes.append(f"the same in both: {sum(c.same for c in found)}; was and now count alarms, dates are UTC")
    title = f"The rules of {folder} instead, alarms: {new} new, {gone} gone, {moved} moved"
    return Table(title, (*heads, Head("when")) if rows else (), tuple(rows), tuple(Cell(n, "dim") for n in notes))


def _dates(episode: Episode) -> str:
    return f"{_where(episode)}{_time(episode.began)} to {_time(episode.ended)}"


def _where(episode: Episode) -> str:
    facility = episode.subject.partition("/")[2]
    return f"{facility} " if facility else ""


def _time(moment: datetime | None) -> str:
    if moment is None:
        return "stands"
    return f"{moment:%Y-%m-%d}" if moment.time() == datetime.min.time() else f"{moment:%Y-%m-%d %H:%M}"


def _moved(pair: Moved) -> str:
    """What of an alarm differs: its begin, its end, its severity."""
    was, now = pair
    parts = [f"from {_time(was.began)} to {_time(now.began)}"] if was.began != now.began else []
    parts += [f"end {_time(was.ended)} to {_time(now.ended)}"] if was.ended != now.ended else []
    parts += [f"{was.severity} to {now.severity}"] if was.severity != now.severity else []
    where = _where(now)
    return f"moved {where}{', '.join(parts)}" + ("" if was.began != now.began else f" (from {_time(now.began)})")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return end_of_day(date.fromisoformat(text))
    except (ValueError, OverflowError):
        raise CanaryError(f"{text[:40]!r} is no day; write 2022-12-31") from None


def _span(text: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration_s(text))
    except (ValueError, OverflowError) as error:
        raise CanaryError(f"the step from one moment to the next: {error}") from None


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\rreplay: {done} of {of} moments", end="\n" if done == of else "", file=sys.stderr, flush=True)
