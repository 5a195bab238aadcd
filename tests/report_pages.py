"""A page for tests: a small desk evaluated at recorded prices, gathered once, and hostile versions of it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from monitor.config import find_config, load_config
from monitor.report.gather import gather
from monitor.report.parts import Causes, Dated, Effect, Move, Report
from monitor.tick import looking, newest_close
from monitor.world import build_world

NOW = datetime(2026, 11, 1, tzinfo=UTC)
#: what somebody might write into a name to get out of a page
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; --></style><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "Core\u202eWeave\u2066",
    "\x1b[31mred\x00",
    "a" * 10_000,
    "&lt;b&gt;&amp;",
)


@cache
def starter() -> Report:
    """The page of the starter book at its newest recorded prices."""
    with tempfile.TemporaryDirectory() as folder:
        found = find_config(None, {"HOME": folder}, Path(__file__).parents[1])
        world = build_world(load_config(found, {"HOME": folder, "XDG_STATE_HOME": folder}), offline=True)
        with looking(world, newest_close(world, NOW)) as (store, _):
            return gather(world, store)


def hostile(text: str) -> Report:
    """The same page with a text wherever a person, a book or a source could have put one."""
    report = starter()
    alerts = tuple(
        replace(one, says=text, said=text, rule=text, why=((text, text, text), *one.why)) for one in report.alerts
    )
    rows = tuple(
        replace(row, name=text, kind=text, alerts=text, figures=tuple(replace(f, text=text, why=text) for f in figures))
        for row, figures in ((row, row.figures) for row in report.rows)
    )
    sections = tuple(
        replace(
            one, name=text, kind=text, status=text, alerts=alerts[:1], unknown=((text, text),), notes=(text,),
            pools=replace(one.pools, title=text, notes=tuple(replace(note, text=text) for note in one.pools.notes)),
            stack=replace(one.stack, note=text, reason=one.stack.reason and text), debts=((text, text),),
            cards=((text, text),), dated=(Dated(text, text, (text, text)),), causes=Causes(
                (text, text), (Effect(text, (Move(text, text), Move(text, text))),), text
            ),
            losses=replace(one.losses, notes=tuple(replace(note, text=text) for note in one.losses.notes)),
        )
        for one in report.sections
    )  # fmt: skip
    return replace(
        report, inputs=text, btc=text, rows=rows, sections=sections, alerts=alerts, stubs=(text,),
        unknown=((text, (text,)),),
        feeds=replace(report.feeds, notes=tuple(replace(note, text=text) for note in report.feeds.notes)),
    )  # fmt: skip
