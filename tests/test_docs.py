"""The manual cannot rot: its files load, its rules are proven, its commands run, its links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.cli import cli, run_line
from monitor.metrics import METRICS
from monitor.rulefile import load_rules
from monitor.rules import compile_rules, run_proofs
from monitor.scenariofile import load_scenarios

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / n for n in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)


def blocks(page: Path, kind: str) -> list[str]:
    """The fenced blocks of one kind on a page."""
    return [body for name, body in FENCE.findall(page.read_text("utf-8")) if name == kind]


def named(page: Path) -> list[tuple[str, str]]:
    """(path, text) of every YAML block: its first line names the file, else its look tells which file it belongs to."""
    found = []
    for body in blocks(page, "yaml"):
        first, _, rest = body.partition("\n")
        if re.fullmatch(r"# [\w./-]+\.yaml", first):
            found.append((first[2:], rest))
        else:
            looks = {"- alert:": "rules/from-the-manual.yaml", "holdings:": "portfolio.yaml"}
            found.append((next((path for look, path in looks.items() if body.startswith(look)), "config.yaml"), body))
    return found


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the starter set to put the manual's files into."""
    folder = tmp_path_factory.mktemp("starter")
    for name in ("rules", "book", "scenarios"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "config.yaml").write_text((ROOT / "config.yaml").read_text("utf-8"), "utf-8")
    return folder


def environ(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Stand in a folder with no home of one's own and no network."""
    for name in ("CANARY_CONFIG", "CANARY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(folder / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_yaml_block_is_a_file_that_loads(
    page: Path, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Put where its first line says, into a copy of the starter set, `canary check` has nothing against it."""
    files = named(page)
    if not files:
        return
    shutil.copytree(starter, tmp_path / "desk")
    for path, text in files:
        target = tmp_path / "desk" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    environ(monkeypatch, tmp_path / "desk")
    code = run_line(["--offline", "check"])
    out, err = capsys.readouterr()
    assert code in (0, 1), out + err  # 1: something is worth a second look, such as a secret that is not set


def test_the_reference_is_what_the_code_says() -> None:
    """The pages of docs/reference are made from the code: `python docs/make_reference.py` after a change."""
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    kept = {path.name: path.read_text("utf-8") for path in (ROOT / "docs" / "reference").glob("*.md")}
    assert kept == made.pages(), "run: python docs/make_reference.py"


def test_the_cookbook_has_twenty_rules_and_each_is_proven(tmp_path: Path) -> None:
    """Every rule of the cookbook compiles against the numbers there are, fires on its case and is quiet on another."""
    for path, text in named(ROOT / "docs" / "cookbook.md"):
        (tmp_path / Path(path).name).write_text(text, "utf-8")
    scenarios = [one.name for one in load_scenarios(ROOT / "scenarios")]
    rules = compile_rules(load_rules(tmp_path, METRICS, scenarios), METRICS, scenarios)
    assert len(rules) == 20
    results = run_proofs(rules)
    assert [f"{one.rule.id}: {one.why}" for one in results if not one.ok] == []
    for rule in rules:
        mine = [one.proof.fires for one in results if one.rule.id == rule.rule.id]
        assert set(mine) == {True, False}, rule.rule.id
        assert rule.rule.do, rule.rule.id


def commands() -> list[tuple[str, str]]:
    """Every `canary ...` line of a shell block, with its page."""
    found = []
    for page in (one for one in PAGES if one.name != "extending.md"):  # its commands exist once its recipe was followed
        for body in (text for kind in ("sh", "console") for text in blocks(page, kind)):
            for line in body.splitlines():
                text = line.removeprefix("$ ").partition("#")[0].strip()
                if text.startswith("canary ") and "&&" not in text and "|" not in text:
                    found.append((page.name, text))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda text: text)
def test_every_command_of_the_manual_is_one_the_program_has(page: str, line: str) -> None:
    """The command, its sub-command and every option written in the manual exist."""
    words, command = shlex.split(line)[1:], cli
    while words and hasattr(command, "commands"):
        options = {name for one in command.params for name in one.opts}
        if words[0] in options:
            words = words[1:] if words[0] in ("--offline", "--json", "--plain") else words[2:]
            continue
        if words[0] not in command.commands and "show" in command.commands:  # canary book NAME
            words = ["show", *words]
        assert words[0] in command.commands, f"{page}: {line}"
        command, words = command.commands[words[0]], words[1:]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, f"{page}: {line}"


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in a link."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    """Files and headings that are linked exist."""
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name}: {target}"


def test_every_picture_of_the_manual_is_drawn_by_one_command_and_shown() -> None:
    """`make pictures` draws what the pages show: each file is there, is a PNG, and is on a page; none is left over."""
    spec = importlib.util.spec_from_file_location("make_pictures", ROOT / "docs" / "make_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    shown = {name for page in PAGES for name in re.findall(r"\]\(pictures/([\w-]+\.png)\)", page.read_text("utf-8"))}
    assert {*made.PICTURES, made.INDEX} == shown == {path.name for path in made.FOLDER.iterdir()}
    for name in shown:
        assert (made.FOLDER / name).read_bytes().startswith(b"\x89PNG")


def test_every_page_can_be_reached_from_the_readme() -> None:
    """Every page in docs/ is linked from the README or from start.md."""
    start, linked = ROOT / "docs" / "start.md", set()
    for page in (ROOT / "README.md", start):
        targets = re.findall(r"\]\(([^)\s#]+)", page.read_text("utf-8"))
        linked |= {(page.parent / target).resolve() for target in targets}
    assert {path.name for path in (ROOT / "docs").glob("*.md") if path.resolve() not in linked} == set()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """The line of start.md, in a real bash: `canary re` and tab gives commands, `canary report --` and tab options."""
    program = tmp_path / "canary"
    program.write_text(f"#!{sys.executable}\nfrom monitor.cli import main\nmain()\n", "utf-8")
    program.chmod(0o755)
    script = """
eval "$(_CANARY_COMPLETE=bash_source canary)"
for words in "canary re" "canary report --"; do
  COMP_WORDS=($words); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
  _canary_completion canary
  echo "${COMPREPLY[@]}"
done
"""
    line = next(text for text in (ROOT / "docs" / "start.md").read_text("utf-8").splitlines() if "bash_source" in text)
    assert script.splitlines()[1] in line
    path = f"{tmp_path}:{os.environ['PATH']}"
    environ = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False)
    commands, options = done.stdout.splitlines()
    assert {"report", "replay", "reverse", "restore"} <= set(commands.split()), done.stderr
    assert {"--out", "--at", "--offline"} <= set(options.split())
