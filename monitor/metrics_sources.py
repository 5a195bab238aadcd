"""Metrics of the sources themselves: one subject per source that is asked, written ``market/kraken``."""

from __future__ import annotations

from monitor.metrics_base import View, metric
from monitor.stress.field import Field, Value


@metric("source", "s", "max")
def source_silent(view: View) -> Field:
    """Seconds since a source last gave a usable answer; zero while it answers. The note is what it said instead."""
    return Field.of([Value.exact(source.silent_s, detail=source.reason) for source in view.sources])
