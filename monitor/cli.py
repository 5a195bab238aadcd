"""The command line. Each command is a few lines that call the work elsewhere; nothing heavy is imported before it runs.

Exit codes: 0 fine, 1 a finding (something fires, a check has a warning), 2 a usage or input error. No traceback reaches
a user unless CANARY_DEBUG=1 asks for it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.shell import BROKEN_PIPE, INTERRUPTED, OK, USAGE, Shell

if TYPE_CHECKING:
    from collections.abc import Callable


# ---------------------------------------------------------------- options every command has
def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        setattr(context.ensure_object(Shell), str(parameter.name), value)


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command, before or after its name: canary --json status, canary status --json."""
    options: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
        (("--config", "config_path"), {"metavar": "FILE", "help": "the config to use instead of the one found"}),
        (("--offline",), {"is_flag": True, "help": "only recorded and local prices; nothing leaves this machine"}),
        (("--json", "as_json"), {"is_flag": True, "help": "for machines"}),
        (("--plain",), {"is_flag": True, "help": "no colours"}),
    )
    for names, details in reversed(options):
        function = click.option(*names, callback=_remember, expose_value=False, **details)(function)
    return function


#: help that the commands about shocks share
STRESS_AT = "as of a day (its end, UTC) or a moment of the recorded past"
PICTURE = "also draw it"
WHO = "who says so; left out, the user's name"
MAP = "which column is what, and in which unit"


class Ordered(click.Group):
    """Commands in the order a user meets them, not the alphabet's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order of definition."""
        return list(self.commands)


@click.group(cls=Ordered, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@shared
@click.pass_context
def cli(context: click.Context) -> None:
    """Early warning for leveraged compute: which over-leveraged borrower breaks first, how near, and by what."""
    context.ensure_object(Shell)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


# ---------------------------------------------------------------- the commands
@cli.command()
@shared
@click.pass_obj
def run(shell: Shell) -> int:
    """Watch: evaluate on time, deliver alerts, take up edits. Ctrl-C stops."""
    from monitor.logsafe import protect_logs
    from monitor.running import run_daemon

    protect_logs()
    with shell.guard():
        return run_daemon(shell)


@cli.command()
@click.option(
    "--at", metavar="T", help="as of a day (its end, UTC) or a moment; in a throw-away database, sends nothing"
)
@click.option("--dry-run", is_flag=True, help="evaluate now without writing or sending anything")
@shared
@click.pass_obj
def tick(shell: Shell, at: str | None, dry_run: bool) -> int:
    """Evaluate once and show the result; 1 when something fires."""
    from monitor.logsafe import protect_logs
    from monitor.running import run_tick

    if at and dry_run:
        raise click.UsageError("--at never writes or sends anything; leave out --dry-run")
    protect_logs()
    with shell.guard():
        return run_tick(shell, at, dry_run)


@cli.command()
@shared
@click.pass_obj
def status(shell: Shell) -> int:
    """Show the last evaluation: every borrower, what fires, what is unknown; 1 when something fires or it is old."""
    return _word(shell, "status", [])


@cli.command()
@click.option("--all", "everything", is_flag=True, help="also what is pending, unknown, failed or over")
@shared
@click.pass_obj
def alerts(shell: Shell, everything: bool) -> int:
    """Show the alerts that stand, who acknowledged or silenced them, why not sent; 1 when something fires."""
    return _word(shell, "alerts", ["--all"] if everything else [])


@cli.command()
@click.argument("alert", metavar="ID")
@click.option("--for", "span", metavar="SPAN", help="not until it is over but for so long, for example 4h")
@click.option("--by", metavar="NAME", envvar="USER", help=WHO)
@shared
@click.pass_obj
def ack(shell: Shell, alert: str, span: str | None, by: str | None) -> int:
    """Acknowledge the alert ID: it is not repeated and does not escalate until it is over."""
    return _word(shell, "ack", [alert, *_options({"--for": span, "--by": by})])


@cli.command()
@click.argument("match", required=False)
@click.option("--for", "span", metavar="SPAN", help="how long: at most 30d, 7d where it can cover critical alerts")
@click.option("--by", metavar="NAME", envvar="USER", help=WHO)
@click.option("--note", metavar="TEXT", help="why")
@click.option("--list", "listed", is_flag=True, help="show what is silenced and acknowledged")
@shared
@click.pass_obj
def silence(
    shell: Shell, match: str | None, span: str | None, by: str | None, note: str | None, listed: bool
) -> int:  # fmt: skip
    """Say nothing of MATCH for a time: an alert's ID, a rule, a borrower, or RULE/BORROWER."""
    if listed:
        if match or span or note:
            raise click.UsageError("--list shows all; leave out the rest")
        return _word(shell, "silence", ["--list"])
    if not match or span is None:
        raise click.UsageError("write MATCH --for SPAN (at most 30d; 7d where it can cover critical alerts), or --list")
    return _word(shell, "silence", [match, *_options({"--for": span, "--by": by, "--note": note})])


@cli.command()
@click.argument("what", metavar="NUMBER|MATCH")
@shared
@click.pass_obj
def unsilence(shell: Shell, what: str) -> int:
    """End a silence or an acknowledgement: its NUMBER in `canary silence --list`, or what was silenced."""
    return _word(shell, "unsilence", [what])


@cli.command("list")
@click.argument("what", required=False)
@shared
@click.pass_obj
def list_(shell: Shell, what: str | None) -> int:
    """Show everything found and its file: feeds, channels, borrowers, rules, scenarios, metrics, words, commands."""
    return _word(shell, "list", [what] if what else [])


@cli.command()
@shared
@click.pass_obj
def check(shell: Shell) -> int:
    """Read config, rules, book and scenarios; say everything that is wrong with them."""
    return _word(shell, "check", [])


@cli.command("test")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@shared
@click.pass_obj
def test_(shell: Shell, files: tuple[str, ...]) -> int:
    """Run the proofs of the rules and their tests (rules/tests/*.yaml, or FILE); 1 when one fails.

    \b
    A test gives values, one per evaluation, and the states they must lead to:
      - test: a wait is served before it fires
        rule: LockedBoxTight
        every: 1h
        values: {liquidity_locked_12m: 0.9*25 null 1.3}
        expect: {23h: pending, 24h: firing, 25h: nodata, 26h: ok}
    null is unknown, _ is nothing new, 0.9*25 is 25 times the same. Comparisons that no proof and no test decided
    both ways are listed.
    """
    return _word(shell, "test", list(files))


@cli.command()
@click.argument("rule")
@click.argument("borrower", required=False)
@shared
@click.pass_obj
def explain(shell: Shell, rule: str, borrower: str | None) -> int:
    """Show why RULE fires or does not: every number, what is unknown, since when, what was said to whom."""
    return _word(shell, "explain", [rule, borrower] if borrower else [rule])


@cli.command()
@click.argument("name", metavar="RULE")
@click.argument("words", nargs=-1, metavar="[WHAT VALUE]")
@click.option("--yes", is_flag=True, help="write it without asking")
@click.option("--undo", is_flag=True, help="take back the newest edit, if the file still holds it")
@click.option("--by", metavar="NAME", envvar="USER", help=WHO)
@shared
@click.pass_obj
def rule(shell: Shell, name: str, words: tuple[str, ...], yes: bool, undo: bool, by: str | None) -> int:
    """Show RULE, or edit a value of it after a look at what the edit would have done.

    \b
    canary rule MarginCallNear for 4h              how long it must hold; keep 3d: how long it goes on firing
    canary rule MarginCallNear threshold 12% #1    the number it compares with (which, where there are several)
    canary rule MarginCallNear clear 18%           the number it recovers at
    canary rule MarginCallNear severity critical
    """
    from monitor.rule_commands import run_rule

    with shell.guard():
        return run_rule(shell, name, words, yes=yes, undo=undo, by=by)


@cli.command()
@shared
@click.pass_obj
def portfolio(shell: Shell) -> int:
    """Show what is held (portfolio.yaml): quotes, coverage and alerts of each borrower; 1 when something fires."""
    from monitor.portfolio_commands import run_portfolio

    with shell.guard():
        return run_portfolio(shell)


@cli.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="so many at most")
@shared
@click.pass_obj
def audit(shell: Shell, limit: int) -> int:
    """Show who changed what, newest first: edits, acknowledgements, silences."""
    from monitor.rule_commands import run_audit

    return run_audit(shell, limit)


@cli.group()
@shared
def rules() -> None:
    """Take the rules elsewhere."""


@rules.command("export")
@click.option("--prometheus", is_flag=True, help="as a Prometheus rule file; what it cannot express is named")
@shared
@click.pass_obj
def export(shell: Shell, prometheus: bool) -> int:
    """Print the rules in another form."""
    from monitor.asking import services

    if not prometheus:
        raise click.UsageError("say which form: --prometheus")
    with shell.guard():
        made = services(shell).export()
    left = [{"rule": one.rule, "reason": one.reason} for one in made.left]
    if shell.as_json:
        click.echo(json.dumps({"text": made.text, "rules": list(made.rules), "left": left}, ensure_ascii=False))
        return OK
    click.echo(made.text, nl=False)
    for one in made.left:
        click.echo(f"canary: left out {one.rule}: {one.reason}", err=True)
    return OK


@cli.command()
@click.argument("what", metavar="NUMBER")
@click.option("--depth", type=click.IntRange(0, 6), default=2, show_default=True, help="how far down its inputs")
@click.option("--at", metavar="T", help=STRESS_AT)
@shared
@click.pass_obj
def trace(shell: Shell, what: str, depth: int, at: str | None) -> int:
    """Show where NUMBER comes from, down to source and document: btc_usd, coreweave.debt_usd, iren/microsoft.dscr."""
    from monitor.trace_shown import run_trace

    with shell.guard():
        return run_trace(shell, what, at, depth)


class BookGroup(click.Group):
    """`canary book NAME` shows a borrower; `canary book refresh | import` are commands of their own."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A word that is no command is a borrower."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return "show", self.commands["show"], args
        return super().resolve_command(ctx, args)


@cli.group(cls=BookGroup, invoke_without_command=True)
@shared
@click.pass_context
def book(context: click.Context) -> int:
    """Show what is known about the borrowers, or every figure of one: canary book NAME."""
    return _word(context.obj, "book", []) if context.invoked_subcommand is None else OK


@book.command("show")
@click.argument("borrower")
@shared
@click.pass_obj
def book_show(shell: Shell, borrower: str) -> int:
    """Show every figure of one borrower with its dates and source."""
    return _word(shell, "book", [borrower])


@book.command("refresh")
@click.argument("borrower", required=False)
@click.option("--yes", is_flag=True, help="write every proposal without asking")
@click.option("--dry-run", is_flag=True, help="show the proposals, write nothing")
@shared
@click.pass_obj
def book_refresh(shell: Shell, borrower: str | None, yes: bool, dry_run: bool) -> int:
    """Ask the SEC for newer balance sheets and propose them as an edit of the book."""
    from monitor.refresh import run_refresh

    return run_refresh(shell, borrower, yes=yes, dry_run=dry_run)


@book.command("import")
@click.argument("tape", metavar="TAPE")
@click.option("--map", "map_", required=True, metavar="MAP.yaml", help=MAP)
@click.option("--out", metavar="DIR", help="also write every line that was left out")
@click.option("--watch", multiple=True, metavar="OBLIGOR", help="write this obligor into the book; may be repeated")
@shared
@click.pass_obj
def book_import(shell: Shell, tape: str, map_: str, out: str | None, watch: tuple[str, ...]) -> int:
    """Read a loan tape (CSV or Parquet) and say what was understood and what was left out; canary large stresses it."""
    from monitor.large.command import run_import

    with shell.guard():
        return run_import(shell, tape, map_, out, watch)


@cli.command()
@click.argument("borrower", required=False)
@click.option("--scenario", "name", metavar="NAME", help="a scenario of the folder: canary list scenarios")
@click.option("--btc", metavar="SHOCK", help="a move of bitcoin, for example -30%")
@click.option("--rent", metavar="SHOCK", help="a move of all GPU rents, for example -25%")
@click.option("--spread", metavar="SHOCK", help="a move of credit spreads, for example +300bp")
@click.option("--paths", type=int, metavar="N", help="also the chance of a breach within a year over N simulated paths")
@click.option(
    "--given", multiple=True, metavar="MOVE", help='chances given a move in a year, or "rent -40% by 6m"; repeatable'
)
@click.option("--at", metavar="T", help=STRESS_AT)
@click.option("--picture", metavar="FILE.png", help=PICTURE)
@shared
@click.pass_obj
def stress(
    shell: Shell, borrower: str | None, name: str | None, btc: str | None, rent: str | None, spread: str | None,
    paths: int | None, given: tuple[str, ...], at: str | None, picture: str | None,
) -> int:  # fmt: skip
    """Show what scenarios do: to everybody, or to one BORROWER in full with its grids of two shocks."""
    from monitor.stress_views import run_stress

    if name is not None and (btc or rent or spread):
        raise click.UsageError("--scenario NAME, or shocks of your own: not both")
    if given and (name or btc or rent or spread):
        raise click.UsageError("--given MOVE, or a scenario: not both")
    with shell.guard():
        return run_stress(shell, borrower, name, (btc, rent, spread), at, paths, picture, given)


@cli.command()
@click.argument("borrower", required=False)
@click.option("--at", metavar="T", help=STRESS_AT)
@click.option("--picture", metavar="FILE.png", help=PICTURE)
@shared
@click.pass_obj
def reverse(shell: Shell, borrower: str | None, at: str | None, picture: str | None) -> int:
    """Show the smallest shock that breaks each borrower, or everything that breaks one BORROWER."""
    from monitor.stress_reverse import run_reverse

    with shell.guard():
        return run_reverse(shell, borrower, at, picture)


@cli.command()
@click.option("--from", "borrower", metavar="BORROWER", help="what follows if this one falls now")
@click.option("--sell", multiple=True, metavar="MODEL=UNITS", help="what selling machines does, for example H100=10000")
@click.option("--at", metavar="T", help=STRESS_AT)
@click.option("--picture", metavar="FILE.png", help=PICTURE)
@shared
@click.pass_obj
def cascade(shell: Shell, borrower: str | None, sell: tuple[str, ...], at: str | None, picture: str | None) -> int:
    """Show who breaks first and matters most, what one fall drags down, or what a sale of machines does."""
    from monitor.stress_fall import run_cascade

    if borrower and sell:
        raise click.UsageError("--from BORROWER or --sell MODEL=UNITS: not both")
    with shell.guard():
        return run_cascade(shell, borrower, sell, at, picture)


@cli.command()
@click.argument("tape", metavar="TAPE")
@click.option("--map", "map_", required=True, metavar="MAP.yaml", help=MAP)
@click.option("--out", required=True, metavar="DIR", help="where parts and the result go; a run goes on where it was")
@click.option("--paths", type=int, default=65_536, show_default=True, metavar="N", help="simulated paths")
@click.option("--months", type=int, default=12, show_default=True, metavar="N", help="how far ahead")
@click.option("--engine", type=click.Choice(["local", "dask"]), help="left out: engine.kind of the configuration")
@click.option("--scheduler", metavar="ADDRESS", help="with dask: its scheduler, for example tcp://10.0.0.5:8786")
@click.option("--memory", default="2GiB", show_default=True, metavar="SIZE", help="all of it together, at most")
@shared
@click.pass_obj
def large(
    shell: Shell, tape: str, map_: str, out: str, paths: int, months: int, engine: str | None, scheduler: str | None,
    memory: str,
) -> int:  # fmt: skip
    """Stress a loan tape (CSV or Parquet) of thousands of obligors over many paths, on all cores or on Dask."""
    from monitor.large.command import run_large

    with shell.guard():
        return run_large(shell, tape, map_, out, (paths, months), engine, scheduler, memory)


@cli.command()
@click.option("--out", required=True, metavar="FILE.html", help="where to write it")
@click.option("--at", metavar="T", help=STRESS_AT)
@shared
@click.pass_obj
def report(shell: Shell, out: str, at: str | None) -> int:
    """Write everything the last evaluation knows as one page: tables, pictures, sources, what is unknown and why."""
    from monitor.report.make import run_report

    with shell.guard():
        return run_report(shell, out, at)


@cli.group()
@shared
def chat() -> None:
    """See that the chats are reached, and who may use the bot."""


@chat.command("test")
@click.argument("route", required=False)
@shared
@click.pass_obj
def chat_test(shell: Shell, route: str | None) -> int:
    """Send a sample to every route, or to ROUTE; 1 when one did not arrive."""
    from monitor.chatting import run_test

    with shell.guard():
        return run_test(shell, route)


@chat.command("who")
@shared
@click.pass_obj
def chat_who(shell: Shell) -> int:
    """Show who wrote to the Telegram bot lately, and the config lines that let them in."""
    from monitor.chatting import run_who

    with shell.guard():
        return run_who(shell)


@cli.command()
@click.option("--script", is_flag=True, help="a short conversation by itself; without it, type or pipe lines in")
@shared
@click.pass_obj
def demo(shell: Shell, script: bool) -> int:
    """Talk to the bot in this terminal: no account, no network, recorded prices of a week of 2026."""
    from monitor.demo import run
    from monitor.logsafe import protect_logs

    protect_logs()
    return run(script)


@cli.command()
@click.argument("directory", metavar="DIR")
@shared
@click.pass_obj
def init(shell: Shell, directory: str) -> int:
    """Lay out config, rules, book and scenarios in DIR, to be edited. Files that exist are never touched."""
    from monitor.commands import Reply
    from monitor.starter import lay_out, next_steps
    from monitor.tables import Cell, Table

    laid = lay_out(Path(directory).expanduser())
    kept = [Cell(f"kept as it was: {path.relative_to(laid.folder)}", "dim") for path in laid.kept[:20]]
    kept += [Cell(f"and {len(laid.kept) - 20} more", "dim")] if len(laid.kept) > 20 else []
    then = [Cell(line) for line in next_steps(laid.folder)]
    title = f"{len(laid.written)} files written to {laid.folder}, {len(laid.kept)} kept"
    data = {"folder": str(laid.folder), "written": _names(laid.written), "kept": _names(laid.kept),
            "next": next_steps(laid.folder)}  # fmt: skip
    return shell.show(Reply(data, (Table(title, notes=(*kept, *then)),)))


@cli.command()
@shared
@click.pass_obj
def doctor(shell: Shell) -> int:
    """Look at config, permissions, clock, disk, sources, secrets and database; 1 and what to do when one is wrong."""
    from monitor.doctor import examine
    from monitor.logsafe import protect_logs

    protect_logs()
    with shell.guard():
        return shell.show(examine(shell))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@shared
@click.pass_obj
def backup(shell: Shell, file: Path) -> int:
    """Copy the database, whole and checked, to FILE; Canary may be running."""
    from monitor.backups import back_up
    from monitor.commands import Reply
    from monitor.tables import Table

    made = back_up(shell.config().paths.state, file)
    size = made.stat().st_size
    return shell.show(Reply({"file": str(made), "bytes": size}, (Table(f"{made}: {size / 1e6:.1f} MB, checked"),)))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@shared
@click.pass_obj
def restore(shell: Shell, file: Path) -> int:
    """Make the backup FILE the database; refused while Canary runs. The database it replaces is kept."""
    from monitor.backups import put_back
    from monitor.commands import Reply
    from monitor.tables import Cell, Table

    done = put_back(file, shell.config().paths.state)
    last = f"{done.last:%Y-%m-%d %H:%M} UTC" if done.last else "never"
    notes = [f"last evaluation in it: {last}"]
    if done.unsent:
        notes.append(f"{done.unsent} messages in it are unsent and go out at the next start, some perhaps again")
    if done.replaced:
        notes.append(f"what it replaced: {done.replaced}")
    data = {
        "database": str(done.database),
        "last_evaluation": done.last.isoformat() if done.last else None,
        "unsent": done.unsent,
        "replaced": str(done.replaced) if done.replaced else None,
    }
    return shell.show(Reply(data, (Table(f"{done.database} restored", notes=tuple(map(Cell, notes))),)))


@cli.command()
@shared
@click.pass_obj
def version(shell: Shell) -> int:
    """Show the version, the Python, and which config and database count here."""
    import platform

    from monitor import __version__
    from monitor.commands import Reply
    from monitor.tables import Cell, Table

    config = shell.config()
    facts = {
        "version": __version__,
        "python": platform.python_version(),
        "config": str(config.found.file),
        "found": config.found.why,
        "state": str(config.paths.state),
    }
    notes = tuple(Cell(f"{name:<8} {value}") for name, value in facts.items() if name != "version")
    return shell.show(Reply(facts, (Table(f"canary {__version__}", notes=notes),)))


def _names(paths: tuple[Path, ...]) -> list[str]:
    return [str(path) for path in paths]


def _options(given: dict[str, str | None]) -> list[str]:
    """The options that were given, as words."""
    return [word for name, value in given.items() if value is not None for word in (name, value)]


def _word(shell: Shell, name: str, words: list[str]) -> int:
    """Run a word that the chat knows too."""
    from monitor.asking import services
    from monitor.commands import COMMANDS

    with shell.guard():
        return shell.show(COMMANDS[name].run(services(shell), words))


#: a folder that is there
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@cli.command()
@click.option("--from", "start", metavar="DAY", help="first day; left out, the first recorded close")
@click.option("--to", "end", metavar="DAY", help="last day")
@click.option("--every", default="1d", show_default=True, metavar="SPAN", help="from one evaluation to the next")
@click.option("--book", type=FOLDER, metavar="DIR", help="these borrowers instead of the configured ones")
@click.option("--rules", type=FOLDER, metavar="DIR", help="these rules instead of the configured ones")
@click.option("--history", is_flag=True, help="the miners of 2021 to 2023 instead of the book; needs their prices")
@click.option("--paths", is_flag=True, help="also numbers over simulated paths (chances, who falls first); slower")
@click.option("--without-hindsight", "strict", is_flag=True, help="also what differs without restated and undated data")
@click.option("--prices", type=click.Path(exists=True, file_okay=False, path_type=Path), help="a folder of CSV series")
@click.option(
    "--database", type=click.Path(dir_okay=False, path_type=Path), help="keep the work here and go on from it"
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="write tables, alarms and a picture here")
@click.option(
    "--compare", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
    help="live the same days with the rules in DIR too and show which alarms are new, gone or moved",
)  # fmt: skip
@click.argument("borrowers", nargs=-1)
@shared
@click.pass_obj
def replay(
    shell: Shell,
    start: str | None,
    end: str | None,
    every: str,
    book: Path | None,
    rules: Path | None,
    history: bool,
    paths: bool,
    strict: bool,
    prices: Path | None,
    database: Path | None,
    out: Path | None,
    compare: Path | None,
    borrowers: tuple[str, ...],
) -> int:
    """Live the recorded past again: what would have been said, how long before, how often for nothing."""
    from monitor.replay_command import run_replay

    if compare and (out or strict):
        raise click.UsageError("--compare DIR shows what differs (or --json); --out and others are for a single replay")
    if book and history:
        raise click.UsageError("--book DIR, or --history for the book of 2021 to 2023: not both")
    with shell.guard():
        return run_replay(
            shell,
            start=start,
            end=end,
            every=every,
            history=history,
            prices=prices,
            database=database,
            out=out,
            compare=compare,
            book=book,
            rules=rules,
            paths=paths,
            strict=strict,
            borrowers=borrowers,
        )


@cli.command()
@click.argument("model", required=False)
@click.option("--at", metavar="T", help=STRESS_AT)
@click.option("--picture", metavar="FILE.png", help=PICTURE)
@shared
@click.pass_obj
def residuals(shell: Shell, model: str | None, at: str | None, picture: str | None) -> int:
    """Show what used machines are worth by model and vintage: marks, decay curve, books, and the gap between."""
    from monitor.residuals_shown import run_residuals

    with shell.guard():
        return run_residuals(shell, model, at, picture)


@cli.command()
@click.option("--from", "start", metavar="DAY", help="first quarter; left out, the first of which rents are on record")
@click.option("--at", metavar="T", help=STRESS_AT)
@click.option("--picture", metavar="FILE.png", help=PICTURE)
@shared
@click.pass_obj
def cycle(shell: Shell, start: str | None, at: str | None, picture: str | None) -> int:
    """Show credit and technology on one clock: what was borrowed, at what price, what machines and tokens fetch."""
    from monitor.cycle_shown import run_cycle

    with shell.guard():
        return run_cycle(shell, start, at, picture)


@cli.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE]...")
@click.option(
    "--from", "start", metavar="DAY", help="ask the sources for everything since then, for example 2021-01-01"
)
@click.option("--only", multiple=True, metavar="SOURCE", help="this source only; may be repeated")
@shared
@click.pass_obj
def backfill(shell: Shell, files: tuple[Path, ...], start: str | None, only: tuple[str, ...]) -> int:
    """Fetch the past the sources still tell, or take in CSV and Parquet FILEs; a run that stopped goes on.

    Files have the columns of the price folder: date, series, value, unit, source, known_lag.
    """
    from monitor.backfill_command import run_backfill

    with shell.guard():
        return run_backfill(shell, start, only, files)


# ---------------------------------------------------------------- from text to trouble-free exit
def main() -> None:
    """The entry point of the console script."""
    sys.exit(run_line(sys.argv[1:]))


def run_line(arguments: list[str]) -> int:
    """Run one command line and give its exit code; every error becomes a sentence."""
    try:
        code = cli.main(args=arguments, prog_name="canary", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        return _explain(error, "--json" in arguments)


def _explain(error: Exception, as_json: bool) -> int:
    """An error in words, and its exit code."""
    if os.environ.get("CANARY_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    from monitor.model import CanaryError, InputError
    from monitor.redact import redact

    known = isinstance(error, CanaryError)
    text = redact(str(error) if known else f"this is a fault in Canary: {type(error).__name__}: {error}")
    if as_json:
        problems = error.problems if isinstance(error, InputError) else []
        fields = ("file", "line", "column", "message", "fix")
        click.echo(
            json.dumps({"error": text, "problems": [{name: getattr(p, name) for name in fields} for p in problems]})
        )
    click.echo(text if isinstance(error, InputError) else f"canary: {text}", err=True)
    if not known:
        click.echo("canary: CANARY_DEBUG=1 in front of the same command shows where", err=True)
    return USAGE
