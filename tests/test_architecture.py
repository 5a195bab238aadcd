"""The shape of the code: imports point downward, the inner ring computes and does nothing else, the map is true."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "monitor"
#: what only computes, as patterns of files; everything these import must be among them too
PURE = (
    *("units.py", "model.py", "series.py", "steps.py", "dated.py", "known.py", "market.py", "index.py", "rents.py"),
    *("calendars.py", "filings.py", "edgar.py", "edgar_shares.py", "quarantine.py"),
    *("stress/*.py", "metrics*.py", "functions.py", "expr*.py", "values.py", "scope.py", "rules.py", "scoring.py"),
    *("alerts.py", "states.py", "routing.py", "routes.py", "messages.py", "context.py", "briefing.py", "markup.py"),
    *("redact.py", "chat/pacing.py", "conditions.py", "smells.py", "explaining.py", "promrules.py", "rulepages.py"),
    *("moments.py", "bot/access.py", "bot/words.py", "bot/nouns.py", "bot/replies.py"),
    *("moved.py", "panels.py"),
    *(
        "standing.py",
        "replay_compare.py",
        "tokens.py",
        "credit_cycle.py",
        "residuals.py",
        "rigs.py",
        "catchup.py",
        "marking.py",
        "pictured.py",
        "suppressed.py",
    ),
)
#: modules that reach the world: clock, files, network, log, other processes
WORLD = {
    *("asyncio", "fcntl", "glob", "httpx", "io", "logging", "os", "pathlib", "random", "requests", "shutil", "signal"),
    *("socket", "sqlite3", "sqlite_utils", "subprocess", "tempfile", "threading", "time", "urllib"),
}
#: breaches with a reason
EXCUSED = {"monitor/stress/compiled_driver.py": {"import os"}}  # how many cores there are: speed, never a result
CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}
CLOCK = {"now", "utcnow", "today"}
GENERATORS = {"Generator", "BitGenerator", "SeedSequence", "PCG64", "PCG64DXSM", "Philox", "default_rng"}


def files(patterns: tuple[str, ...] = ("**/*.py",)) -> list[Path]:
    """The files of the package that match, in a stable order."""
    return sorted({path for pattern in patterns for path in PACKAGE.glob(pattern)})


def tree_of(path: Path) -> ast.Module:
    """A parsed file."""
    return ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST, typing_too: bool = False) -> Iterator[str]:
    """Every module a tree imports; names below ``if TYPE_CHECKING`` only when asked for."""
    skip: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not typing_too:
            skip.update(inner for part in node.body for inner in ast.walk(part))
    for node in ast.walk(tree):
        if node in skip:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "monitor" or node.module.startswith("monitor."):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def impure(tree: ast.AST) -> Iterator[str]:
    """What in a tree reaches for the world, as 'line: what'."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: import {name}" for name in names if name.partition(".")[0] in WORLD)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield f"{node.lineno}: {node.func.id}()"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            if node.func.attr in CLOCK and owner.rpartition(".")[2] in ("datetime", "date"):
                yield f"{node.lineno}: {owner}.{node.func.attr}()"
            if owner in ("np.random", "numpy.random"):
                seeded = node.func.attr in GENERATORS and (
                    node.args or node.keywords or node.func.attr != "default_rng"
                )
                if not seeded:
                    yield f"{node.lineno}: {owner}.{node.func.attr}()"
        elif isinstance(node, (ast.Global, ast.Nonlocal)) and isinstance(node, ast.Global):
            yield f"{node.lineno}: global {', '.join(node.names)}"


def name_of(path: Path) -> str:
    """The file as a reader names it."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import time", "import time"),
        ("from datetime import datetime\ndatetime.now()", "datetime.now()"),
        ("import datetime\ndatetime.datetime.utcnow()", "datetime.datetime.utcnow()"),
        ("open('x')", "open()"),
        ("np.random.normal(3)", "np.random.normal()"),
        ("np.random.default_rng()", "np.random.default_rng()"),
        ("def f():\n    global x", "global x"),
        ("def f():\n    import logging", "import logging"),
        ("print(1)", "print()"),
    ],
)
def test_the_check_itself_sees_each_breach(code, found):
    """The reader of the code finds what it is for: each breach is seen, even inside a function."""
    assert [text.partition(": ")[2] for text in impure(ast.parse(code))] == [found]


def test_the_check_lets_seeded_generators_pass():
    """A generator with a seed is not randomness out of nowhere."""
    assert not list(impure(ast.parse("rng = np.random.default_rng(seed)\nrng.normal(3)\nnp.random.Generator(bits)")))


@pytest.mark.parametrize("path", files(PURE), ids=name_of)
def test_pure_ring_touches_nothing(path):
    """No clock, file, network, log, print, global or unseeded randomness in the inner ring."""
    excused = EXCUSED.get(name_of(path), set())
    assert [text for text in impure(tree_of(path)) if text.partition(": ")[2] not in excused] == []


def test_pure_ring_is_closed():
    """What the inner ring imports belongs to it: purity cannot leak through a neighbour."""
    ring = {name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in files(PURE)}
    leaks = {
        f"{name_of(path)} imports {module}"
        for path in files(PURE)
        for module in imported(tree_of(path))
        if module.startswith("monitor.")
        and module not in ring
        and module.rpartition(".")[0] not in ring
        # a file of the ring may sit in a folder of the edge (chat/pacing.py): the folder itself is not imported
        and module != "monitor.chat"
    }
    assert leaks == set()


def test_imports_point_downward(monkeypatch):
    """The import contract in pyproject.toml holds."""
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


def test_siblings_of_the_edge_do_not_know_each_other():
    """A source knows no channel, a channel no store: each can be replaced alone."""
    siblings = {"feeds", "store", "chat", "charts", "commands", "health"}
    breaches = set()
    for path in files():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] in siblings:
            used = {module.split(".")[1] for module in imported(tree_of(path)) if module.startswith("monitor.")}
            breaches |= {f"{name_of(path)} imports {name}" for name in used & siblings - {parts[0]}}
    assert breaches == set()


def test_public_functions_are_explained():
    """Every public function says what it means."""
    silent = []
    for path in files():
        for node in tree_of(path).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name[0] != "_":
                if not ast.get_docstring(node):
                    silent.append(f"{name_of(path)}:{node.lineno} {node.name}")
    assert silent == []


def test_every_file_says_what_it_is_for():
    """A file starts with a sentence."""
    assert [name_of(path) for path in files() if path.stat().st_size and not ast.get_docstring(tree_of(path))] == []


def test_every_test_says_what_must_hold():
    """Each test has a docstring in one sentence."""
    silent = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
        if not ast.get_docstring(node)
    ]
    assert silent == []


def test_path_of_one_price_is_true():
    """CONTRIBUTING.md follows one BTC price through files that exist, each handing the next a noun both speak of."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = text.partition("## From one BTC price to one message")[2].partition("\n## ")[0]
    steps = re.findall(
        r"^\d\. `(monitor/[\w/]+\.py)`.*?gives\s+(?:an?|the)\s+`(\w+)`", section, re.MULTILINE | re.DOTALL
    )
    assert len(steps) == 6
    words = []
    for file, _ in steps:
        tree = tree_of(ROOT / file)
        words.append({n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {
            alias.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for alias in n.names
        })  # fmt: skip
    for (file, noun), here, there in zip(steps, words, [*words[1:], words[-1]], strict=True):
        assert noun in here, f"{file} does not speak of {noun}"
        assert noun in there, f"the file after {file} does not speak of {noun}"
