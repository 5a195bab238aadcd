"""The README shows what the program prints: every output block is run again and compared, letter by letter.

``python tests/test_readme.py`` writes the blocks anew after a change that is meant.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"<!-- output: (canary [^\n]+) -->\n```text\n(.*?)```\n<!-- end -->", re.S)
WIDTH = "124"


def output_of(command: str) -> str:
    """What a command prints on a terminal of fixed width without colours, offline, with no home of its own."""
    arguments = shlex.split(command)[1:]
    line = [sys.executable, "-c", "from monitor.cli import main; main()", *arguments]
    home = str(ROOT / "no-such-home")
    environ = {"PATH": os.environ["PATH"], "COLUMNS": WIDTH, "HOME": home, "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stderr
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


@pytest.mark.parametrize(
    ("page", "command", "shown"),
    [(page.name, command, shown) for page in PAGES for command, shown in BLOCK.findall(page.read_text("utf-8"))],
)
def test_every_output_in_the_manual_is_true(page: str, command: str, shown: str) -> None:
    """Each block between the markers is what its command prints today."""
    assert "--offline" in command
    assert shown == output_of(command), f"{page}: run: python {Path(__file__).relative_to(ROOT)}"


def test_the_readme_shows_real_output() -> None:
    """The README has at least one block that is checked."""
    assert BLOCK.search(README.read_text("utf-8"))


def test_every_command_in_the_readme_exists() -> None:
    """A command or make target named in the README is one the program has."""
    from monitor.cli import cli

    text = README.read_text("utf-8")
    typed = set(re.findall(r"^(?:cd \S+ && )?canary ([a-z]+)", text, re.M)) | set(
        re.findall(r"`canary ([a-z]+)`", text)
    )
    assert typed - {"rank"} <= set(cli.commands)  # canary rank is a column of the table
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = {one or other for one, other in re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", text, re.M)}
    assert named <= targets


if __name__ == "__main__":
    for page in PAGES:
        text = page.read_text("utf-8")
        fresh = BLOCK.sub(
            lambda found: f"<!-- output: {found[1]} -->\n```text\n{output_of(found[1])}```\n<!-- end -->", text
        )
        if fresh != text:
            page.write_text(fresh, "utf-8")
