"""The page of sources is what the sources say now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from monitor.feeds import Feed, classes, discover

SCRIPT = Path(__file__).parents[1] / "docs" / "make_sources.py"


def test_the_page_is_what_the_sources_say() -> None:
    """docs/sources.md is made again whenever a source changes: PYTHONPATH=. python docs/make_sources.py."""
    made = runpy.run_path(str(SCRIPT))
    assert SCRIPT.with_name("sources.md").read_text("utf-8") == made["page"](), "run: python docs/make_sources.py"


@pytest.mark.parametrize("source", classes(), ids=lambda source: source.name)
def test_every_source_says_what_it_gives_and_how_it_is_kept_polite(source: type[Feed]) -> None:
    """One line each, for the page and for nobody to look up."""
    assert source.what
    assert source.limits
    assert "|" not in source.what + source.limits


def test_every_source_is_on_the_page() -> None:
    """Sources that are off are there too."""
    assert {source.name for source in classes()} == {one.name for one in discover()}
