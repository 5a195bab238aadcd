"""The recipes of the manual work: each is carried out in a copy of the package, and its commands show what they say."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = re.compile(r"^```(python|console)\n(.*?)^```$", re.S | re.M)


def recipes() -> dict[str, list[tuple[str, str]]]:
    """Section title -> its blocks, in order."""
    sections = re.split(r"^## ", (ROOT / "docs" / "extending.md").read_text("utf-8"), flags=re.M)[1:]
    found = {section.split("\n")[0]: PARTS.findall(section) for section in sections}
    return {title: blocks for title, blocks in found.items() if blocks}


def carry_out(folder: Path, block: str) -> None:
    """Put a block where its first line says."""
    first, _, code = block.partition("\n")
    appended = re.fullmatch(r"# append to (\S+)( before main)?", first)
    if appended is None:
        (folder / first.removeprefix("# ")).write_text(code, "utf-8")
        return
    path = folder / appended[1]
    text = path.read_text("utf-8")
    if appended[2]:
        at = text.index("\ndef run_line(")
        path.write_text(text[:at].rstrip() + "\n" + code + "\n" + text[at:], "utf-8")
    else:
        path.write_text(text.rstrip() + "\n" + code, "utf-8")


@pytest.mark.parametrize("title", list(recipes()))
def test_a_recipe_works_as_it_is_written(title: str, tmp_path: Path) -> None:
    """After its blocks were put in place, every command of the recipe shows the lines below it."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "monitor", tmp_path / "monitor", ignore=ignored)
    for name in ("rules", "book", "scenarios"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    ran = 0
    for kind, block in recipes()[title]:
        if kind == "python":
            carry_out(tmp_path, block)
            continue
        command, *shown = block.strip().splitlines()
        words = shlex.split(command.removeprefix("$ canary "))
        line = [sys.executable, "-c", "import sys; from monitor.cli import main; sys.exit(main())", "--plain", *words]
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path), "COLUMNS": "400"}
        done = subprocess.run(line, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode in (0, 1), done.stderr
        for text in shown:
            assert text in done.stdout, f"{command}: {text!r} is not in\n{done.stdout}"
        ran += 1
    assert ran
