"""The manual cannot rot: its files load, its rules are proven, its commands run, its links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
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
