"""A long life in a short time: nothing grows, nothing is lost, nothing is left open. ``make soak`` lives far longer."""

from __future__ import annotations

import shutil

import pytest
from soak import Sample, grown, soak

from monitor.store import Store


@pytest.mark.slow
def test_nothing_grows_while_it_lives() -> None:
    """500 hours: all evaluations succeed, no event is lost, memory, files and tasks stand still, rows are bounded."""
    samples, screen, folder = soak(500)
    try:
        assert screen.evaluations == 500
        # so short a life is still filling caches: a leak of one evaluation's data would be ten times this
        after = [sample for sample in samples if sample.ticks >= 200]
        assert after[-1].rss < after[0].rss * 1.06
        assert [
            name for name in ("files", "tasks", "threads") if getattr(after[-1], name) > getattr(after[0], name)
        ] == []
        assert after[-1].database < 3_000_000
        with Store.reader(folder / "state" / "canary.sqlite") as store:
            assert store.check() == "ok"
            kept = store.rows("SELECT COUNT(*) AS n FROM events WHERE at < '2026-10-25'")
            assert kept[0]["n"] <= 8  # the newest of each kind, from the past that was lived through
    finally:
        shutil.rmtree(folder)


def test_growth_is_noticed() -> None:
    """The judgement can fail: memory, files and a database that grow are each named."""
    flat = [Sample(n, 100_000_000, 1_000_000, 10, 20, 1, 5) for n in range(1000, 11_000, 1000)]
    assert grown(flat) == []
    worse = [*flat[:-1], Sample(10_000, 103_000_000, 90_000_000, 10, 25, 2, 5)]
    assert [text.split()[0] for text in grown(worse)] == ["memory", "the", "files:", "tasks:"]
