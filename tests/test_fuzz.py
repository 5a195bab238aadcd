"""Every text that enters, damaged: the files people write, the answers of sources, the command line.

Real files and real answers are mutated (bytes lost, doubled, swapped for hostile ones), so that the damage reaches the
depths a random text never does. Each is read within a bounded time, and what is wrong is a sentence with a place, never
a traceback. What people write to the bot, and its buttons, are in test_bot.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import test_feeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import Answer, Loopback

from monitor.book import load_book
from monitor.cli import run_line
from monitor.config import Found, load_config
from monitor.feeds import FeedSettings, fetch_all
from monitor.metrics import METRICS
from monitor.model import CanaryError
from monitor.portfolio import load_portfolio
from monitor.rulefile import load_rules
from monitor.rules import compile_rules
from monitor.scenariofile import load_scenarios
from monitor.starter import starter_root

ROOT = starter_root()
NOW = datetime(2026, 8, 14, 12, tzinfo=UTC)
#: what one reading of one file may take: processor seconds and bytes
MAX_SECONDS, MAX_MEMORY = 5.0, 100_000_000
HOSTILE = (
    *("\x00", "\x1b[31m", "\u202e", "\ufeff", "\r", "\t", "\ud800", "a" * 5000, "[" * 300, "{a: " * 200, "- " * 300),
    *("&a [*a, *a]", "<<: *a", "!!python/object/apply:os.system [id]", "!!binary x", "? ", "---\n---\n", "%YAML 9.9\n"),
    *("1e999", "-1e999", ".nan", ".inf", "0x10", "1_000", "99999999999999999999", "2026-02-30", "9999-12-31", "-5%"),
    *("((((((((((", "a and " * 200, "not " * 500, "__import__('os')", "{cash.__class__}", "{0}", "../../etc/passwd"),
)
WORDS = ("--at", "--for", "-5%", "LowCash", *HOSTILE[:8])


@st.composite
def damage(draw: st.DrawFn, text: str) -> str:
    """A text with up to three places lost, doubled, moved or replaced."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(text) - 1, 0)))
        end = min(at + draw(st.integers(0, 40)), len(text))
        new = draw(st.one_of(st.sampled_from(("", text[at:end] * 2, *HOSTILE)), st.text(max_size=8)))
        text = text[:at] + new + text[end:]
    return text


def read_config(path: Path) -> object:
    """A config."""
    return load_config(Found(path, "test"), {})


def read_rules(path: Path) -> object:
    """A folder of rules, compiled."""
    return compile_rules(load_rules(path.parent, METRICS, {"crash"}), METRICS, {"crash"})


def starter(folder: str, name: str) -> str:
    """A file of the starter set."""
    return (ROOT / folder / name).read_text("utf-8")


PORTFOLIO = (
    "positions:\n  - {borrower: mara, instrument: notes-2031, face_usd: 2m, quote: 88.5, quoted_on: 2026-08-01}\n"
)
KINDS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "config": ("config.yaml", starter("", "config.yaml").replace("\n# ", "\n"), read_config),
    "book": ("mara.yaml", starter("book", "mara.yaml"), lambda path: load_book(path.parent)),
    "assumptions": ("_assumptions.yaml", starter("book", "_assumptions.yaml"), lambda path: load_book(path.parent)),
    "rules": ("a.yaml", next(iter(sorted((ROOT / "rules").glob("*.yaml")))).read_text("utf-8"), read_rules),
    "scenario": (
        "s.yaml",
        next(iter(sorted((ROOT / "scenarios").glob("*.yaml")))).read_text("utf-8"),
        lambda path: load_scenarios(path.parent),
    ),
    "portfolio": ("portfolio.yaml", PORTFOLIO, load_portfolio),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_a_sentence(kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A mutated config, book, assumption, rule, scenario or portfolio is read or refused in words, within bounds."""
    name, text, read = KINDS[kind]
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / name).write_bytes(data.draw(damage(text)).encode("utf-8", "surrogatepass"))
    tracemalloc.start()
    began = time.process_time()
    try:
        with contextlib.suppress(CanaryError):
            read(folder / name)
        assert time.process_time() - began < MAX_SECONDS
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY
    finally:
        tracemalloc.stop()
        shutil.rmtree(folder)


@pytest.mark.parametrize("feed_class", test_feeds.NETWORK, ids=lambda feed: feed.name)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_answer_is_a_reason(feed_class: type, data: st.DataObject) -> None:
    """Whatever a source answers, the round ends, and what is believed is finite, in its unit and not of the future."""
    with Loopback() as server:
        test_feeds.GOOD[feed_class.name](server)
        paths = sorted(server._answers)
        path = data.draw(st.sampled_from(paths))
        body = server._answers[path][0].body.decode("utf-8", "surrogateescape")
        bad = data.draw(damage(body)).encode("utf-8", "replace")
        server.on(path, Answer(data.draw(st.sampled_from((200, 200, 200, 204, 302, 404))), bad))
        feed = feed_class(FeedSettings(base_url=server.url, time_limit_s=3.0))
        seen, (report,) = asyncio.run(fetch_all([feed], NOW, 3.0))
    assert report.observations == len(seen)
    assert all(one.value == one.value and abs(one.value) < 1e30 for one in seen)
    assert all(one.observed_at <= NOW for one in seen)
    assert report.reason.isprintable()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=st.lists(st.one_of(st.text(max_size=20), st.sampled_from(WORDS)), max_size=4))
@pytest.mark.parametrize("command", ["explain", "silence", "ack", "list", "book", "backup"])
def test_odd_words_on_the_command_line(
    command: str, words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any words end with a code people know and no traceback."""
    desk = tmp_path_factory.mktemp("desk")
    (desk / "config.yaml").write_text("paths: {state: ./state}\nserve: {enabled: false}\n")
    for folder in ("rules", "book", "scenarios"):
        (desk / folder).mkdir()
    safe = [word for word in words if not word.startswith(("--config", "/"))]
    code = run_line([command, "--offline", "--json", "--config", str(desk), *safe])
    assert code in (0, 1, 2)
    shutil.rmtree(desk)
