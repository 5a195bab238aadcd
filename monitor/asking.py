"""What commands may ask of a running installation: the last evaluation, who runs, what was found, what needs a look."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.commands import Checked, Services, Thing
from monitor.config import Config, read_secret, secret_places
from monitor.model import CanaryError
from monitor.overview import Overview, overview_from_json
from monitor.shell import Shell
from monitor.store import Store

if TYPE_CHECKING:
    from monitor.world import World

LOCK_FILE = "daemon.lock"
#: the live database and the one of recorded evaluations; the first that was evaluated counts
DATABASES = ("canary.sqlite", "recorded.sqlite")
#: under this name the last overview is remembered beside the numbers it was made of
OVERVIEW = "overview"


def services(shell: Shell) -> Services:
    """Services of one command line; sources, channels and files are read when a command first needs them."""
    config = shell.config()

    @cache
    def world() -> World:
        from monitor.world import build_world

        return build_world(config, offline=shell.offline)

    def found() -> Mapping[str, Sequence[Thing]]:
        from monitor.listing import things

        return things(world())

    return Services(
        now=datetime.now(UTC),
        config=config,
        book=lambda: world().book,
        overview=lambda: last_overview(config.paths.state),
        things=found,
        check=lambda: checked(world()),
        daemon=lambda: holder(config.paths.state),
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
    for name in DATABASES:
        if (state / name).exists():
            reader = Store.reader(state / name)
            try:
                kept = reader.meta(OVERVIEW)
            finally:
                reader.close()
            if kept:
                try:
                    return overview_from_json(json.loads(kept))
                except (KeyError, TypeError, ValueError):
                    continue  # written by another version of Canary; its next evaluation replaces it
    return None


def checked(world: World) -> Checked:
    """How many of everything there are, and what works but not as somebody meant it."""
    counts = {
        "borrowers": len(world.book.borrowers),
        "rules": len(world.rules),
        "scenarios": len(world.scenarios),
        "sources": len(world.feeds),
        "routes": len(world.routes),
    }
    return Checked(counts, (*_secrets(world.config), *_channels(world), *_proofs(world)))


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
    return warnings


def _proofs(world: World) -> list[str]:
    from monitor.rules import run_proofs

    return [
        f"{result.rule.file}:{result.proof.line}: {result.rule.id} {'fires' if result.fired else 'stays quiet'} "
        f"on its own example{f' ({result.why})' if result.why else ''}"
        for result in run_proofs(world.compiled)
        if not result.ok
    ]
