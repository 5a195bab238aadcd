"""What a newcomer types first: make explains itself, and says in one line what is missing on the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell, not as part of a make that may be running the tests."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=60)


@pytest.fixture
def clone(tmp_path):
    """What make needs of a fresh clone."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def python(folder: Path, body: str) -> str:
    """A stand-in for some Python of some machine: a shell script."""
    script = folder / "some-python"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return f"PYTHON={script}"


def test_plain_make_lists_every_target(clone):
    """Every public target is listed with what it does, and nothing is built."""
    done = make(clone)
    targets = re.findall(r"^([a-z-]+):.*## ", (clone / "Makefile").read_text(), re.MULTILINE)
    assert done.returncode == 0
    assert {"run", "test", "lint", "bench", "clean"} <= set(targets)
    assert all(re.search(rf"^  {target} +\w", done.stdout, re.MULTILINE) for target in targets)
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("case $1 in --version) echo Python 3.9.2;; *) exit 1;; esac", "Python 3.9.2 is too old: Canary needs 3.11"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "sudo apt install python3-venv"),
    ],
)
def test_what_is_missing_is_said_with_its_fix(clone, body, says):
    """An old Python, or one without venv, gives one line that says what to do."""
    done = make(clone, python(clone, body), "run")
    assert done.returncode == 2
    assert says in done.stdout
    assert not (clone / ".venv").exists()


def test_no_python_at_all(clone):
    """Without any Python the line says how to get one."""
    done = make(clone, "PYTHON=no-such-python", "run")
    assert done.returncode == 2
    assert "Install Python 3.11 or newer" in done.stdout


def test_clean_keeps_what_people_wrote(clone):
    """Cleaning removes what was built and nothing a user edits."""
    for name in (".venv/bin/x", "rules/mine.yaml", "state/canary.sqlite", "monitor/__pycache__/a.pyc"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("")
    assert make(clone, "clean").returncode == 0
    left = {path.relative_to(clone).as_posix() for path in clone.rglob("*") if path.is_file()}
    assert left == {"Makefile", "pyproject.toml", "rules/mine.yaml", "state/canary.sqlite"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_hardened():
    """systemd itself counts the service as barely exposed."""
    unit = ROOT / "deploy" / "canary.service"
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
