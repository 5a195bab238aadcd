"""The starter set that ships with Canary: config, rules, book, scenarios. Found here, copied by ``canary init``."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monitor.model import CanaryError

FOLDERS = ("rules", "book", "scenarios")
#: the largest file of a starter set; anything larger there is a mistake
MAX_FILE_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Laid:
    """What ``canary init`` did: files written, and files left as they were because they existed."""

    folder: Path
    written: tuple[Path, ...]
    kept: tuple[Path, ...]


def starter_root(package: Path | None = None) -> Path:
    """The folder that holds config.yaml, rules, book and scenarios.

    An installed package carries them in ``starter`` beside this file; in an editable checkout they are at the top of
    the project. Raises CanaryError when neither is there (a broken installation).

    >>> (starter_root() / "config.yaml").is_file()
    True
    """
    package = package or Path(__file__).resolve().parent
    for root in (package / "starter", package.parent):
        if (root / "config.yaml").is_file() and all((root / name).is_dir() for name in FOLDERS):
            return root
    raise CanaryError(
        "the starter set is missing from this installation (config.yaml, rules, book, scenarios); install Canary again"
    )


def starter_files(root: Path) -> Iterator[Path]:
    """Every file of the starter set, relative to its root, in a stable order. Links and hidden files are left out."""
    yield Path("config.yaml")
    for name in FOLDERS:
        for path in sorted((root / name).rglob("*")):
            relative = path.relative_to(root)
            hidden = any(part.startswith((".", "__pycache__")) for part in relative.parts)
            if path.is_file() and not path.is_symlink() and not hidden and path.stat().st_size <= MAX_FILE_BYTES:
                yield relative


def next_steps(folder: Path) -> list[str]:
    """What somebody who has just laid out a folder does next, a line each.

    >>> next_steps(Path("my canary"))[0]
    "1. cd 'my canary' && canary check: is all in order? a mistake is shown at its line and column"
    """
    return [
        f"1. cd {shlex.quote(str(folder))} && canary check: is all in order? a mistake is shown at its line and column",
        "2. canary run: watch; the table, then messages on this screen until a chat is named; Ctrl-C ends it",
        "3. edit rules/*.yaml and book/*.yaml: taken up at the next evaluation; canary demo shows the bot beforehand",
    ]


def lay_out(target: Path, root: Path | None = None) -> Laid:
    """Copy the starter set into a folder. A file that exists is never touched, whatever it holds.

    Raises CanaryError when the folder cannot be written; what was written before that stays.
    """
    root = root or starter_root()
    target = target.absolute()
    if target.resolve() == root.resolve():
        raise CanaryError(f"{target} is the starter set itself; name another folder")
    written: list[Path] = []
    kept: list[Path] = []
    try:
        for relative in starter_files(root):
            destination = target / relative
            destination.parent.mkdir(parents=True, exist_ok=True)
            try:
                with (root / relative).open("rb") as source, destination.open("xb") as copy:
                    shutil.copyfileobj(source, copy)
                written.append(destination)
            except FileExistsError:
                kept.append(destination)
    except OSError as error:
        raise CanaryError(f"{error.filename or target} cannot be written: {error.strerror}") from None
    return Laid(target, tuple(written), tuple(kept))
