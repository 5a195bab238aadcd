"""Everything Canary found, each with the file it comes from: what ``canary list`` shows.

Finding imports every source and channel, so it happens here and in :mod:`monitor.tick` only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monitor import chat
from monitor.commands import COMMANDS, Thing
from monitor.feeds import Feed, Off
from monitor.functions import WORDS, Word
from monitor.metrics import METRICS, MetricInfo
from monitor.model import Rule
from monitor.units import format_age
from monitor.world import World

PROJECT = Path(__file__).resolve().parent.parent


def things(world: World) -> Mapping[str, Sequence[Thing]]:
    """What there is, by kind, in the order a user meets it."""
    sources: list[Feed | Off] = [*world.feeds, *world.feeds_off]
    return {
        "feeds": sorted(map(_feed, sources), key=lambda thing: thing.name),
        "channels": [Thing(found.name, "", found.file, found.off) for found in chat.discover().values()],
        "borrowers": [Thing(b.id, f"{b.name}, {b.kind}, {b.status}", b.file) for b in world.book.borrowers],
        "rules": [Thing(r.id, _rule(r), f"{r.file}:{r.line}") for r in world.rules],
        "scenarios": [Thing(s.name, s.note, "") for s in world.scenarios],
        "metrics": [Thing(m.name, _metric(m), _file(m.compute)) for m in METRICS.values()],
        "words": [_word(w) for w in WORDS.values()],
        "commands": [Thing(c.name, c.help, _file(c.run)) for c in COMMANDS.values()],
    }


def _feed(found: Feed | Off) -> Thing:
    if isinstance(found, Off):
        return Thing(found.name, "", _short(found.file), found.reason)
    shown = ", ".join(found.series[:4]) + (f" and {len(found.series) - 4} more" if len(found.series) > 4 else "")
    return Thing(found.name, f"{shown} from {', '.join(found.hosts) or 'files'}", _file(type(found)))


def _rule(rule: Rule) -> str:
    waits = f" for {format_age(rule.for_s)}" if rule.for_s else ""
    clear = f"; recovers: {rule.clear}" if rule.clear else ""
    return " ".join(f"{rule.severity}, per {rule.each}{waits}: {rule.expr}{clear}".split())


def _metric(metric: MetricInfo) -> str:
    worse = {"max": ", higher is worse", "min": ", lower is worse"}.get(metric.worst, "")
    own = metric.needs in ((), (metric.name,))
    return f"{metric.level}, {metric.unit}{worse}: {metric.doc}" + ("" if own else f" Needs {', '.join(metric.needs)}.")


def _word(word: Word) -> Thing:
    usage, _, meaning = word.doc.partition(": ")
    return Thing(usage, meaning, _file(word.function))


def _file(part: Callable[..., Any] | type) -> str:
    return _short(inspect.getsourcefile(part) or "")


def _short(file: str) -> str:
    path = Path(file)
    return path.relative_to(PROJECT).as_posix() if path.is_relative_to(PROJECT) else file
