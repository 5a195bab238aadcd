"""Copies of the live database: made while Canary runs, put back only while it does not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from monitor.asking import DATABASES, LOCK_FILE
from monitor.model import StoreError
from monitor.store import JOURNALS, Lock, Store, restore

PARTS = ("", *JOURNALS)


@dataclass(frozen=True)
class Restored:
    """What was put back: until when it knows, what it would send again, and where the replaced database went."""

    database: Path
    last: datetime | None
    unsent: int
    replaced: Path | None


def back_up(state: Path, target: Path) -> Path:
    """Copy the live database of a state folder to a new file and check the copy; StoreError otherwise.

    A copy that turned out bad is not left behind.
    """
    source = state / DATABASES[0]
    if not source.exists():
        raise StoreError(f"{source}: there is no database yet, so there is nothing to back up")
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent}: there is no such folder; make it first")
    with Store.reader(source) as store:
        ours = not target.exists()
        try:
            store.backup(target)
            with Store.reader(target) as copy:
                if (found := copy.check()) != "ok":
                    raise StoreError(f"{target}: the copy is damaged ({found}); see canary doctor")
        except BaseException:
            if ours:
                _drop(target)
            raise
    _drop_journals(target)
    return target


def put_back(source: Path, state: Path) -> Restored:
    """Make a backup the live database; the one it replaces is kept beside it, unless there was none.

    StoreError, with nothing changed, while a daemon runs on that state or when the backup is not whole.
    """
    if not source.is_file():
        raise StoreError(f"{source}: there is no such file")
    if source.resolve() == (state / DATABASES[0]).resolve():
        raise StoreError(f"{source}: this is the live database itself; name a backup")
    with Lock(state / LOCK_FILE):
        with Store.reader(source, older=True) as backup:
            if (found := backup.check()) != "ok":
                raise StoreError(f"{source}: this backup is damaged ({found}); nothing was restored")
        live = state / DATABASES[0]
        aside = _move_aside(live, datetime.now(UTC))
        try:
            last, unsent = restore(source, live)
        except BaseException:
            if aside is not None:
                _move(aside, live)
            raise
        _give(state, live, state / LOCK_FILE)
    return Restored(live, last.eval_at if last else None, unsent, aside)


def _give(state: Path, *files: Path) -> None:
    """Root restores for the user of a service: what was made belongs to whom the folder belongs to."""
    if os.geteuid() == 0:
        owner = state.stat()
        for file in files:
            os.chown(file, owner.st_uid, owner.st_gid)


def _move_aside(live: Path, now: datetime) -> Path | None:
    if not live.exists():
        return None
    aside = live.with_name(f"{live.stem}-replaced-{now:%Y%m%dT%H%M%S%f}.sqlite")
    _move(live, aside)
    return aside


def _move(old: Path, new: Path) -> None:
    # with its journals, which may hold what the file itself does not yet
    for end in reversed(PARTS):
        part = old.with_name(old.name + end)
        if part.exists():
            part.rename(new.with_name(new.name + end))


def _drop(target: Path) -> None:
    target.unlink(missing_ok=True)
    _drop_journals(target)


def _drop_journals(target: Path) -> None:
    """What only reading a copy left beside it."""
    for end in JOURNALS:
        part = target.with_name(target.name + end)
        if part.exists() and (end == "-shm" or part.stat().st_size == 0):
            part.unlink()
