"""``canary rule`` and ``canary audit``: a rule shown, edited after a look at what the edit does, and who edited what.

The chat asks :func:`preview` in its worker process and says it with :func:`told`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.asking import DATABASES
from monitor.commands import Reply
from monitor.config import Config
from monitor.dry_run import DryRun, Progress, details, dry_run, sentence
from monitor.editing import (
    USAGE,
    Shown,
    Wish,
    carry_out,
    headline,
    holds,
    past_of,
    propose,
    propose_undo,
    wish_of,
)
from monitor.edits import Key, find_rule, places
from monitor.markup import clean
from monitor.model import CanaryError, Observation, StoreError
from monitor.replay_compare import change_json
from monitor.rulefile import rule_files
from monitor.shell import USAGE as WRONG
from monitor.store import Store
from monitor.store_chat import Audit, audits
from monitor.tables import Cell, Head, Table, Tone
from monitor.tick import HISTORY, PRICES, newest_close
from monitor.world import World, build_world
from monitor.yamltext import Text, read_file

if TYPE_CHECKING:
    from monitor.shell import Shell

KEYS: tuple[Key, ...] = ("for", "keep_firing_for", "severity", "expr", "clear")
#: who agrees to an edit made here, where a second person is needed: whoever may use this machine's files
TERMINAL = "the terminal"
MAX_BY = 60
MAX_AUDITS = 200
SHOWN_EDITS = 5
_TONES: dict[str, Tone] = {"warning": "warning", "takes two": "warning"}


# ---------------------------------------------------------------- one rule
@dataclass(frozen=True)
class RuleText:
    """A rule as it stands in its file (named below the folder of rules), and what of it can be edited."""

    rule: str
    file: str
    line: int
    text: str
    #: (name of the place, value, the comparison it stands in)
    editable: tuple[tuple[str, str, str], ...]


def rule_text(config: Config, rule: str) -> RuleText:
    """A rule as written. CanaryError with what was probably meant when there is none of this name."""
    texts: dict[str, Text] = {str(path): read_file(path) for path in rule_files(config.paths.rules)}
    text, node = find_rule(texts, rule)
    found = [place for key in KEYS for place in places(text, node, rule, key)]
    start = text.text.rfind("\n", 0, node.start) + 1
    name = Path(text.file).relative_to(config.paths.rules).as_posix()
    editable = tuple((place.name, place.text or "not there", place.shown) for place in found)
    return RuleText(rule, name, node.line + 1, text.text[start : node.end].rstrip(), editable)


# ---------------------------------------------------------------- what an edit would do
@dataclass(frozen=True)
class Preview:
    """An edit and what it would have done. Plain data, so that it may come from another process."""

    shown: Shown
    run: DryRun


def preview(
    world: World, rule: str, wish: Wish | None, now: datetime, progress: Progress = lambda done, of: None
) -> Preview:
    """Propose an edit (None: take back the newest) and live the last weeks with it and without."""
    past = past_edits(world.config, rule)
    shown = propose(world.config, wish, past) if wish is not None else propose_undo(world.config, rule, past)
    at, observations, recorded = evidence(world, now)
    return Preview(shown, dry_run(world, shown.was, shown.now, at, observations, recorded=recorded, progress=progress))


def past_edits(config: Config, rule: str) -> list[Audit]:
    """The edits of a rule, newest first."""
    path = config.paths.state / DATABASES[0]
    if not path.exists():
        return []
    with Store.reader(path) as reader:
        return past_of(reader, rule)


def evidence(world: World, now: datetime) -> tuple[datetime, list[Observation], bool]:
    """Up to which moment the past can be lived, the live prices, and whether recorded ones are all there is."""
    path = world.config.paths.state / DATABASES[0]
    if path.exists():
        with Store.reader(path) as reader:
            if reader.has_live_observation():
                return now, reader.observations(now, now - HISTORY, PRICES), False
    return newest_close(world, now), [], True


def told(preview: Preview) -> list[tuple[str, str]]:
    """A preview in words, as rows of (label, text); the diff is apart."""
    shown, run = preview.shown, preview.run
    rows = [("warning", text) for text in shown.warnings]
    rows.append(("dry run", sentence(run)))
    rows += [("", text) for text in details(run)]
    if shown.proposal.second:
        rows.append(("takes two", f"critical, and {shown.proposal.second}"))
    return rows


# ---------------------------------------------------------------- the command line
def run_rule(
    shell: Shell, rule: str, words: Sequence[str], *, yes: bool = False, undo: bool = False, by: str | None = None
) -> int:
    """Show a rule, or edit one value of it: the difference, what it would have done, a question, then the file."""
    config, now = shell.config(), datetime.now(UTC)
    if undo and words:
        raise CanaryError("--undo takes back the newest edit; leave out the rest")
    if not words and not undo:
        shown = rule_text(config, rule)
        if not shell.as_json:
            _print_code(shell, f"# {shown.file}, line {shown.line}\n{shown.text}\n")
        try:
            past = past_edits(config, rule)
        except StoreError as error:  # a rule can be read even where the database cannot
            click.echo(f"canary: its edits cannot be shown: {error}", err=True)
            past = []
        return shell.show(_rule_reply(shown, past, not past or holds(config, past[0])))
    wish = None if undo else wish_of(rule, words)
    world = build_world(config, offline=shell.offline)
    made = preview(world, rule, wish, now, _progress if sys.stderr.isatty() else _silent)
    if shell.as_json and not yes:
        return shell.show(_preview_reply(made, None))
    if not shell.as_json:
        _print_code(shell, made.shown.diff + "\n")
        shell.show(_preview_reply(made, None))
    if not yes and not _agreed():
        return WRONG
    who = f"{clean(by or 'somebody', MAX_BY)} at the terminal"
    with Store(config.paths.state / DATABASES[0]) as store:
        number = carry_out(store, config, made.shown.proposal, datetime.now(UTC), who, second=TERMINAL)
    if shell.as_json:
        return shell.show(_preview_reply(made, number))
    back = "" if undo else f"; take it back: canary rule {rule} --undo"
    return shell.show(Reply({}, (Table(f"written as edit {number}, heeded from the next evaluation on{back}"),)))


def _agreed() -> bool:
    """Ask the person at the terminal; where nobody can answer, nothing is done."""
    if not sys.stdin.isatty():
        click.echo("canary: nothing was written; --yes carries it out without asking", err=True)
        return False
    if click.confirm("Write it?", default=False, err=True):
        return True
    click.echo("canary: nothing was written", err=True)
    return False


def _silent(done: int, of: int) -> None:
    """No progress where nobody sees it."""


def _progress(done: int, of: int) -> None:
    print(f"\rdry run: {done} of {of} days", end="\n" if done == of else "", file=sys.stderr, flush=True)


def _rule_reply(found: RuleText, past: Sequence[Audit], untouched: bool) -> Reply:
    heads = (Head("editable"), Head("value"), Head("in", expendable=1))
    rows = tuple((Cell(name), Cell(value), Cell(shown)) for name, value, shown in found.editable)
    notes = [Cell(f"canary rule {found.rule} " + USAGE, "dim")]
    pages = [Table("What can be edited from here", heads, rows, tuple(notes))]
    if past:
        pages.append(audit_table(past[:SHOWN_EDITS], "The last edits"))
    if not untouched:
        pages.append(
            Table("", notes=(Cell("the file was changed since the last of them, or it was never written", "dim"),))
        )
    data = {
        "rule": found.rule,
        "file": found.file,
        "line": found.line,
        "text": found.text,
        "editable": [{"place": name, "value": value, "in": shown} for name, value, shown in found.editable],
        "edits": [audit_json(one) for one in past],
    }
    return Reply(data, tuple(pages))


def _preview_reply(made: Preview, number: int | None) -> Reply:
    """The difference and its consequences; ``number``: of the audit entry once it is carried out."""
    shown, run = made.shown, made.run
    said = [Cell(f"{label}: {text}" if label else text, _TONES.get(label, "")) for label, text in told(made)]
    proposal = shown.proposal
    data = {
        "rule": proposal.edit.rule,
        "file": proposal.file,
        "place": proposal.edit.place,
        "before": proposal.edit.before,
        "after": proposal.edit.after,
        "diff": shown.diff,
        "warnings": list(shown.warnings),
        "second": proposal.second,
        "dry_run": dry_run_json(run),
        "edit": number,
    }
    return Reply(data, (Table("", notes=tuple(said)),))


def _print_code(shell: Shell, text: str) -> None:
    """Lines of a file as they are; the reader of the file has refused everything that could hide in them."""
    for line in text.split("\n"):
        heading = line.startswith(("---", "+++", "@@"))
        colour = None if heading else {"+": "green", "-": "red"}.get(line[:1])
        click.echo(line if shell.plain else click.style(line, fg=colour, dim=heading or None))


def dry_run_json(run: DryRun) -> dict[str, object]:
    """A dry run as plain data."""
    was, now = run.counts
    return {
        "start": run.start.isoformat(),
        "end": run.end.isoformat(),
        "was": was,
        "now": now,
        "alarms": [change_json(change) for change in run.changes],
        "not_simulated": list(run.blind),
        "moments": run.moments,
        "recorded": run.recorded,
    }


# ---------------------------------------------------------------- the audit
def run_audit(shell: Shell, limit: int = MAX_AUDITS) -> int:
    """Show who changed what, newest first."""
    path = shell.config().paths.state / DATABASES[0]
    found: list[Audit] = []
    if path.exists():
        with Store.reader(path) as reader:
            found = audits(reader, limit=limit)
    title = "Who changed what, newest first" if found else "nothing was changed yet"
    return shell.show(Reply({"changes": [audit_json(one) for one in found]}, (audit_table(found, title),)))


def audit_table(found: Sequence[Audit], title: str) -> Table:
    """Audit entries as a table."""
    heads = (
        *(Head("number", right=True), Head("at UTC"), Head("who"), Head("what"), Head("of")),
        *(Head("before"), Head("after"), Head("taken back", expendable=1)),
    )
    rows = []
    for one in found:
        texts = [str(one.number), f"{one.at:%Y-%m-%d %H:%M}", one.who, one.action, one.target]
        texts += [headline(one.before), headline(one.after), f"{one.undone:%Y-%m-%d %H:%M}" if one.undone else "-"]
        rows.append(tuple(Cell(clean(text, 200)) for text in texts))
    return Table(title, heads if rows else (), tuple(rows))


def audit_json(one: Audit) -> dict[str, object]:
    """One audit entry as plain data."""
    return {
        "number": one.number,
        "at": one.at.isoformat(),
        "who": one.who,
        "action": one.action,
        "target": one.target,
        "before": headline(one.before),
        "after": headline(one.after),
        "undone": one.undone.isoformat() if one.undone else None,
    }
