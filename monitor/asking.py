"""What commands may ask of a running installation: the last evaluation, who runs, what was found, what needs a look."""

from __future__ import annotations

import difflib
import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from monitor import alert_commands as alert_commands  # registers its words
from monitor.commands import Checked, Explained, Services, Thing
from monitor.config import Config, read_secret, secret_places
from monitor.health import data_reasons, post_reasons
from monitor.known import all_facts
from monitor.model import MARKET, CanaryError, Event
from monitor.overview import Overview, overview_from_json
from monitor.routes import Overlay
from monitor.shell import Shell
from monitor.standing import Alerts, Said, Standing, in_order, unsaid
from monitor.states import active
from monitor.store import Store, TickRow
from monitor.store_post import post_of

if TYPE_CHECKING:
    from monitor.promrules import Export
    from monitor.ruletests import Outcome
    from monitor.smells import Smell
    from monitor.world import World

LOCK_FILE = "daemon.lock"
#: the live database and the one of recorded evaluations; the first that was evaluated counts
DATABASES = ("canary.sqlite", "recorded.sqlite")
#: under this name the last overview is remembered beside the numbers it was made of
OVERVIEW = "overview"
#: the newest events looked through for why an alert was not said
MAX_EVENTS = 100_000


def services(shell: Shell) -> Services:
    """Services of one command line; sources, channels and files are read when a command first needs them."""
    config = shell.config()

    @cache
    def world() -> World:
        from monitor.world import build_world

        return build_world(config, offline=shell.offline)

    return services_of(config, world, datetime.now(UTC))


def services_of(config: Config, world: Callable[[], World], now: datetime) -> Services:
    """Services over one installation at a moment; ``world`` is asked when a command first needs it."""

    def found() -> Mapping[str, Sequence[Thing]]:
        from monitor.listing import things

        return things(world())

    state = config.paths.state
    return Services(
        now=now,
        config=config,
        book=lambda: world().book,
        overview=lambda: last_overview(state),
        things=found,
        check=lambda: checked(world(), now),
        daemon=lambda: holder(state),
        explain=lambda rule, who: explained(world(), rule, who),
        test=lambda files: proven(world(), files),
        export=lambda: exported(world()),
        alerts=lambda: alerts_of(state, now),
        say=lambda overlay: say(state, overlay),
        unsay=lambda numbers: unsay(state, numbers, now),
        severities=lambda: {rule.id: rule.severity for rule in world().rules},
        unwell=lambda: unwell_of(state, now),
    )


def holder(state: Path) -> str | None:
    """Who runs the daemon on this state folder, as its lock file says; None when nobody does."""
    try:
        with (state / LOCK_FILE).open("r") as handle:
            who = handle.read(100).strip()
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return who or "an unknown process"
    except OSError:  # no such file: nobody ever ran here
        return None
    return None


def last_overview(state: Path) -> Overview | None:
    """What the newest evaluation showed: the live database's, else the recorded one's, else None."""
    shown = _shown(state)
    return None if shown is None else shown[1]


def _shown(state: Path) -> tuple[Path, Overview] | None:
    """The database whose last evaluation counts, and what that showed."""
    for name in DATABASES:
        if (state / name).exists():
            reader = Store.reader(state / name)
            try:
                kept = reader.meta(OVERVIEW)
            finally:
                reader.close()
            if kept:
                try:
                    return state / name, overview_from_json(json.loads(kept))
                except (KeyError, TypeError, ValueError):
                    continue  # written by another version of Canary; its next evaluation replaces it
    return None


def unwell_of(state: Path, now: datetime) -> list[str]:
    """Why data or delivery cannot be relied on: what the heartbeat is held back for, as the database knows it.

    Recorded prices are no trouble here: whoever asks sees the word on the table.
    """
    shown = _shown(state)
    if shown is None or shown[1].recorded is not None:
        return []
    with Store.reader(shown[0]) as reader:
        reports, post = reader.feed_reports(), post_of([reader])
        return [*data_reasons(False, reports, shown[1].btc_usd is not None), *post_reasons(post, now)]


# ---------------------------------------------------------------- alerts and what people say over them
def alerts_of(state: Path, now: datetime) -> Alerts | None:
    """Every alert in the database that ``status`` shows, and the words in force over them; None before the first."""
    shown = _shown(state)
    if shown is None:
        return None
    with Store.reader(shown[0]) as reader:
        at, recorded = shown[1].at, shown[1].recorded is not None
        clock = at if recorded else now
        states, told, severities = reader.load_states().values(), reader.told(), reader.severities()
        standing = [one for one in states if active(one)]
        since = min((one.fired_at for one in standing if one.fired_at), default=now)
        events: dict[str, list[Event]] = {}
        for event in reader.events(since=since, limit=MAX_EVENTS) if standing else ():
            events.setdefault(event.short_id, []).append(event)
        found = []
        for one in states:
            mine = [event for event in events.get(one.short_id, ()) if event.kind == "fired"] if active(one) else []
            decisions = {event.id: reader.decisions(event.id) for event in mine}
            why = unsaid(one, mine, decisions, told) if active(one) else {}
            found.append(Standing(one, severities.get(one.rule, "warning"), why))
        said = tuple(Said(number, overlay) for number, overlay in reader.numbered_overlays(clock))
    return Alerts(at, recorded, clock, in_order(found), said)


def say(state: Path, overlay: Overlay) -> int:
    """Write one word over alerts; what was said before with the same kind and names ends. Its number.

    The daemon may be running: SQLite lets a second, short writer in. CanaryError when there is no database yet.
    """
    with _writer(state) as store, store.transaction():
        store.end_overlays(overlay.kind, overlay.at, overlay.short_id, overlay.rule, overlay.subject)
        store.add_overlay(overlay)
        return max(number for number, _ in store.numbered_overlays(overlay.at))


def unsay(state: Path, numbers: Sequence[int], now: datetime) -> None:
    """End words by their numbers; by the clock of recorded evaluations where those count."""
    alerts = alerts_of(state, now)
    with _writer(state) as store, store.transaction():
        for number in numbers:
            store.end_overlay(number, alerts.clock if alerts else now)


def _writer(state: Path) -> Store:
    """The database that ``status`` shows, opened to write a row. It was just read, so its shape is this version's
    and opening it changes nothing in it; what a restart cleans up is the daemon's business."""
    shown = _shown(state)
    if shown is None:
        raise CanaryError("nothing was evaluated yet, so there is no alert; run `canary tick` first")
    return Store(shown[0])


# ---------------------------------------------------------------- the files
def checked(world: World, now: datetime) -> Checked:
    """How many of everything there are, and what works but not as somebody meant it."""
    counts = {
        "borrowers": len(world.book.borrowers),
        "rules": len(world.rules),
        "scenarios": len(world.scenarios),
        "sources": len(world.feeds),
        "routes": len(world.routes),
    }
    smells = _smells(world)
    odd = tuple(str(smell) for smell in smells if smell.finding)
    hints = tuple(str(smell) for smell in smells if not smell.finding)
    found = (*_secrets(world.config), *_channels(world), *_proofs(world), *_of_tomorrow(world, now), *odd)
    return Checked(counts, found, hints)


def _of_tomorrow(world: World, now: datetime) -> list[str]:
    """Figures of a day that is still to come: most often a year mistyped, and nothing counts them until then."""
    today = now.date()
    return [
        f"{one.file}: {fact.field or 'principal by year'} as of {fact.as_of}, published {fact.publication}: that day is"
        " still to come, and the figure does not count before it; correct the date if the year is mistyped"
        for one in world.book.borrowers
        for fact in all_facts(one)
        if max(fact.as_of, fact.published or fact.as_of) > today
    ]


def _secrets(config: Config) -> list[str]:
    missing = []
    for whose, env, file in secret_places(config):
        try:
            read_secret(env, file, os.environ, config.found.file.resolve().parent)
        except CanaryError as error:
            missing.append(f"{whose}: {error}")
    return missing


def _channels(world: World) -> list[str]:
    from monitor import chat

    found = chat.discover()
    warnings = []
    for route in world.routes:
        if found[route.channel].off:
            warnings.append(f"route {route.name}: {route.channel} is {found[route.channel].off}")
    for name, written in world.config.chat.items():
        if bool(written.people) != bool(written.chats):
            missing = "chats" if written.people else "people"
            warnings.append(f"chat.{name}: nobody may ask the bot: {missing} is empty (/whoami gives the lines)")
    return warnings


def _proofs(world: World) -> list[str]:
    from monitor.rules import run_proofs

    return [
        f"{result.rule.file}:{result.proof.line}: {result.rule.id} {'fires' if result.fired else 'stays quiet'} "
        f"on its own example{f' ({result.why})' if result.why else ''}"
        for result in run_proofs(world.compiled)
        if not result.ok
    ]


# ---------------------------------------------------------------- rules: smells, tests, explanations
def _smells(world: World) -> list[Smell]:
    from monitor.metrics import METRICS
    from monitor.series import SERIES
    from monitor.smells import find_smells, moving_prices

    return find_smells(world.compiled, known_metrics(world), moving_prices(METRICS, set(SERIES)))


def known_metrics(world: World) -> set[str] | None:
    """The metrics somebody had a value of at the last evaluation; None when there was none."""
    for name in DATABASES:
        path = world.config.paths.state / name
        if path.exists():
            reader = Store.reader(path)
            try:
                last = reader.last_tick()
                if last is not None:
                    names = {name for compiled in world.compiled for name in compiled.expression.names}
                    return {name for name in names if _somebody_knows(reader, world, name, last.eval_at)}
            finally:
                reader.close()
    return None


def _somebody_knows(reader: Store, world: World, name: str, at: datetime) -> bool:
    from monitor.metrics import METRICS

    borrowers = [borrower.id for borrower in world.book.borrowers]
    pools = [f"{borrower.id}/{pool.id}" for borrower in world.book.borrowers for pool in borrower.facilities]
    told = [f"{MARKET}/{feed.name}" for feed in world.feeds]
    subjects = {"market": [MARKET], "borrower": borrowers, "facility": pools, "source": told}[METRICS[name].level]
    past = reader.metric_history(name, subjects, since=at)
    # what that evaluation did not work out at all was added since: nothing can be said about it yet
    return past is None or bool(past.at(at.timestamp())[1].any())


def proven(world: World, files: Sequence[str]) -> Outcome:
    """Run all proofs, and the tests of these files or of the folder ``tests`` beside the rules."""
    from monitor.ruletests import load_tests, run_all

    folder = world.config.paths.rules / "tests"
    where = [Path(file) for file in files] if files else folder
    tests = load_tests(where, world.compiled) if files or folder.is_dir() else ()
    return run_all(world.compiled, tests)


def exported(world: World) -> Export:
    """The rules Prometheus can express, judged as often as here."""
    from monitor.promrules import export_rules

    return export_rules(world.compiled, interval_s=world.config.schedule.every)


def explained(world: World, rule: str, who: str) -> Explained:
    """One rule at the last evaluation: for everybody, or one borrower and its facilities. CanaryError without one."""
    for name in DATABASES:
        path = world.config.paths.state / name
        if path.exists():
            reader = Store.reader(path)
            try:
                last = reader.last_tick()
                if last is not None:
                    return _explained(world, reader, last, rule, who)
            finally:
                reader.close()
    raise CanaryError("nothing was evaluated yet, so there is nothing to explain; run `canary tick` first")


def _explained(world: World, reader: Store, last: TickRow, rule: str, who: str) -> Explained:
    from monitor import feeds, market, moved, tick
    from monitor.explaining import explain_alert
    from monitor.silence import source_states

    seen = [*world.recorded, *tick.mark_observations(world.book), *reader.observations(last.eval_at)]
    recorded = (last.eval_at - timedelta(seconds=1)).date() if last.recorded else None
    run = tick.Run(world, reader, market.Tape(seen, feeds.series_specs(world.feeds)), recorded)
    if recorded is None:
        run.sources = source_states(world.feeds, reader.feed_reports(), reader, last.eval_at)
    numbers, states = run.moment(last.eval_at).numbers, reader.load_states()
    compiled = next(one for one in world.compiled if one.rule.id == rule)
    subjects = numbers.subjects.get(compiled.rule.each, ())
    chosen = [subject for subject in subjects if who in ("", subject, subject.partition("/")[0])]
    if who and not chosen:
        close = difflib.get_close_matches(who, subjects, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"it is about {', '.join(subjects[:8]) or 'nobody'}"
        raise CanaryError(f"{rule} is not about {who[:60]!r}; {hint}")
    found = []
    for subject in chosen:
        events = reader.events(rule=rule, subject=subject, limit=6) if who else []
        decisions = {event.id: reader.decisions(event.id) for event in events}
        one = explain_alert(compiled, numbers, subject, states.get((rule, subject)), events, decisions)
        past, now = (run.known_at(last.eval_at - since) for since in (moved.SINCE, timedelta()))
        said = moved.line(subject, list(compiled.expression.names), past, now) if who else ""
        found.append(replace(one, rows=(*one.rows, ("moved", said, ""))) if said else one)
    return Explained(last.eval_at, tuple(found), last.recorded, run.inputs_changed(last))
