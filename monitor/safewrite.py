"""A file a person wrote replaced as a whole or not at all, by a program that may be killed at any moment.

The new text is written beside the old file, forced to the disk and renamed over it: whoever reads finds the old file or
the new one. Mode, group and, where this user may set it, owner are kept. What the caller saw must still be there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor.model import CanaryError

#: the new text waits under this name; it ends in nothing that is read as YAML
WAITING = ".{name}.canary-edit"


def digest(data: bytes) -> str:
    """The fingerprint a file is recognised by.

    >>> digest(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def inside(path: Path, folder: Path) -> Path:
    """The real file behind a path, which must lie in a folder whatever links lead there. CanaryError otherwise."""
    try:
        real, home = path.resolve(strict=True), folder.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise CanaryError(f"{path}: cannot be found ({getattr(error, 'strerror', None) or error})") from None
    if home not in real.parents or not real.is_file():
        raise CanaryError(f"{path} leads out of {folder}; such a file is edited where it is, not from here")
    return real


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """One editor at a time on a state folder, whichever process it is in; waits for the other."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(state / "edits.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CanaryError(f"{state} cannot be written: {error.strerror}; nothing was changed") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def replace_file(path: Path, data: bytes, expected: str | None) -> None:
    """Put ``data`` in the place of a file whose digest is ``expected`` (None: of no file). CanaryError when it changed.

    Between the last look at the old file and the rename lies a moment in which another editor's save would be lost; it
    is as short as two system calls.
    """
    waiting = path.with_name(WAITING.format(name=path.name))
    try:
        kept = path.stat() if expected is not None else None
        waiting.unlink(missing_ok=True)  # of an edit that was killed; nobody else may be at work here: see `alone`
        handle = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            _fill(handle, data, kept)
            _unchanged(path, expected)
            os.rename(waiting, path)
        except BaseException:
            waiting.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        _settle(path.parent)
    except OSError as error:
        raise CanaryError(f"{path} cannot be written: {error.strerror or error}; nothing was changed") from None


def _fill(handle: int, data: bytes, kept: os.stat_result | None) -> None:
    """Write all of it, with the rights of the file it replaces, and wait for the disk."""
    written = 0
    while written < len(data):
        written += os.write(handle, data[written:])
    if kept is not None:
        _keep_rights(handle, kept)
    os.fsync(handle)


def _keep_rights(handle: int, kept: os.stat_result) -> None:
    """The same owner, group and mode. Only root may give a file away: in a folder that a group shares, the file then
    becomes the editor's own, which is right only where that group may write it as before."""
    mine = os.fstat(handle)
    if mine.st_gid != kept.st_gid:
        os.fchown(handle, -1, kept.st_gid)
    if mine.st_uid != kept.st_uid:
        try:
            os.fchown(handle, kept.st_uid, -1)
        except PermissionError:
            if not kept.st_mode & stat.S_IWGRP:
                raise
    # last: a change of owner takes special bits away
    os.fchmod(handle, stat.S_IMODE(kept.st_mode))


def _unchanged(path: Path, expected: str | None) -> None:
    try:
        found = digest(path.read_bytes())
    except FileNotFoundError:
        found = None
    if found != expected:
        raise CanaryError(f"{path} was changed meanwhile; nothing was written. Look at it again and repeat the edit")


def _settle(folder: Path) -> None:
    """Make the rename itself survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
