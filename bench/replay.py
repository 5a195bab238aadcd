"""Replays: the miners of 2022 and the book of 2026. How fast, and the page of evidence made of both.

    python bench/replay.py                 both replays: tables and speed, against `canary tick --at` for each day
    python bench/replay.py --out docs      also writes docs/evidence.md and its pictures

The daily series of 2021 to 2023 are not part of the project. ``--prices FILE`` names a CSV with the columns date,
series, value, unit, source and the series btc_usd, eth_usd and network_difficulty; left out, one beside the checkout
is used. Without it only 2026 is replayed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from monitor import feeds, market
from monitor.config import find_config, load_config
from monitor.model import Observation, end_of_day
from monitor.replay import ReplayResult, history_world, replay, without_hindsight
from monitor.replay_chart import timeline
from monitor.replay_command import strict_pages
from monitor.replay_report import (
    bannered,
    comparison_table,
    episode_table,
    gap_table,
    hindsight_table,
    issuer_table,
    markdown,
    rule_table,
    week_table,
)
from monitor.replay_rigs import rig_checks, rig_marks, rig_table
from monitor.replay_score import gaps, rule_uses, verdicts
from monitor.replay_summary import saved_table, summary_table
from monitor.store import Store
from monitor.stress.scenario import Scenario
from monitor.tables import Table, print_table, terminal
from monitor.tick import Run, look
from monitor.world import World, build_world

ROOT = Path(__file__).resolve().parents[1]
#: name in the file -> (series, unit)
NAMES = {"btc_usd": ("btc_usd", "usd"), "eth_usd": ("eth_usd", "usd"), "network_difficulty": ("difficulty", "number")}
CYCLE = (date(2021, 10, 31), date(2023, 6, 30))
PRESENT = (date(2025, 12, 25), date(2026, 9, 20))
#: the borrowers whose weeks the page shows
SHOWN = ("coreweave", "iren", "mara", "cleanspark", "greenidge")


# ---------------------------------------------------------------- the two replays
def history_prices(file: Path) -> list[Observation]:
    """The daily series as observations, each known at the end of its day; fees are taken as 2 % of the subsidy."""
    halved = datetime(2020, 5, 12, tzinfo=UTC)
    reward = Observation("block_reward_btc", 6.375, "btc", halved, halved, "subsidy of 6.25 BTC and 2 % of fees")
    found = [replace(reward, known_basis="assumed", quality="assumed")]
    with file.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["series"] in NAMES:
                series, unit = NAMES[row["series"]]
                at = end_of_day(date.fromisoformat(row["date"]))
                source = "daily series of 2021 to 2023"
                found.append(Observation(series, float(row["value"]), unit, at, at, source, known_basis="assumed"))
    return found


def present() -> World:
    """The project's own config, book and rules, offline."""
    return build_world(load_config(find_config(ROOT / "config.yaml", os.environ, ROOT), os.environ), offline=True)


def run(world: World, prices: Path, folder: Path | None = None, strict: bool = False) -> dict[str, ReplayResult]:
    """Both replays by name; that of the cycle needs its prices. ``folder`` keeps their databases. ``strict``: without
    restated prices and undated figures."""
    spans = {"2022": CYCLE, "2026": PRESENT}
    worlds: dict[str, tuple[World, list[Observation]]] = {"2026": (world, [])}
    if prices.exists():
        worlds["2022"] = history_world(world), history_prices(prices)
    found = {}
    for name in sorted(worlds):
        lived, seen = without_hindsight(*worlds[name]) if strict else worlds[name]
        kept = folder / f"{name}{'-strict' if strict else ''}.sqlite" if folder else None
        result = _run(lived, spans[name], seen, kept)
        checks = rig_checks(rig_marks(world), seen, result.start, result.end) if name == "2022" else ()
        found[name] = replace(result, rigs=checks)
    return found


def _run(world: World, span: tuple[date, date], seen: list[Observation], database: Path | None) -> ReplayResult:
    first, last = (end_of_day(day) for day in span)
    return replay(world, first, last, observations=seen, progress=_progress, database=database)


def _progress(done: int, of: int) -> None:
    print(f"\r{done} of {of}", end="\n" if done == of else "", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- what is shown
def pages(name: str, result: ReplayResult, strict: ReplayResult) -> list[Table]:
    """The tables of one replay, in the order a reader asks; last, what it owes to restated and undated data."""
    return [*bannered(result, _pages(name, result)), *strict_pages(result, strict)]


def _pages(name: str, result: ReplayResult) -> Iterator[Table]:
    found = verdicts(result)
    missed = gaps(result, found[0])
    yield summary_table(found[0], missed)
    yield issuer_table(found[0])
    if missed:
        yield gap_table(missed)
    if saved := saved_table(result, found[0]):
        yield saved
    yield comparison_table(found)
    if name == "2022":
        yield episode_table(result)
        yield rig_table(result.rigs)
    else:
        yield week_table(result, SHOWN)
        yield episode_table(result, SHOWN)
    yield rule_table(rule_uses(result), result)
    yield hindsight_table(result)


HEADS = {
    "2022": (
        "The miners of 2021 to 2023",
        "Would it have called those that failed, how long before, and what did it say about those that did not? "
        "Today's rules, not tuned to this, on `book/history`: every figure with its date of publication, most of them "
        "from the press. Many figures were never read, and a rule that misses one says nothing; the column `blind` and "
        "the shares of days a rule could not tell show how much that was.",
    ),
    "2026": (
        "The book of today, from the end of 2025 on",
        "Where nobody failed there is nothing to be early for: the question is how often it would have cried wolf. Fed "
        "by the recorded series that come with Canary alone, without live sources.",
    ),
}


#: what no rule can see because nobody publishes it; which figures were missing for whom stands in the tables
UNSEEN = (
    "Loans of vehicles and subsidiaries: a group may say that it owes nothing until a vehicle it does not answer for"
    " defaults.",
    "Covenants, waivers and margin calls of private loans: they come out with the next quarterly report or never.",
    "Borrowers that publish nothing: the most that can be said before they fail is that they are not seen.",
    "What machines really fetch: an index of asked prices stood far above the deals that were read, and was itself read"
    " weeks after the day it is about (the table of machines above).",
    "Prices of credit protection, bonds and new loans, where they are not recorded here: the share of days a rule could"
    " not tell says so, and a rule that was never able to speak was not tested.",
    "Whether the thresholds are right: a handful of borrowers in one cycle proves none, and none was fitted to them.",
)


def evidence(results: dict[str, ReplayResult], strict: dict[str, ReplayResult], prices: Path) -> str:
    """The page of evidence. Every number on it is computed here."""
    lines = [
        "# Evidence",
        "",
        "Written by `python bench/replay.py --out docs`; edits are lost. A replay knows at each moment only what was "
        "known by then. How it is scored: `monitor/scoring.py`.",
        "",
    ]
    for name, result in results.items():
        title, text = HEADS[name]
        book, assumptions, rules, version = result.inputs
        span = f"{result.start - timedelta(days=1):%Y-%m-%d} to {result.end - timedelta(days=1):%Y-%m-%d}"
        lines += [f"## {title}", "", text, "", f"![Timeline](replay_{name}.png)", ""]
        lines += [
            f"{len(result.times)} evaluations, {span}; Canary {version}, book {book}, assumptions {assumptions}, rules "
            f"{rules}." + (f" Prices: {prices.name}, SHA-256 {_hash(prices)}." if name == "2022" else ""),
            "",
        ]
        lines += [markdown(table) for table in pages(name, result, strict[name])]
        if name == "2026":
            lines += [_cds(result), ""]
    lines += ["## What public data cannot show", "", *(f"- {text}" for text in UNSEEN), ""]
    return "\n".join(lines)


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _cds(result: ReplayResult) -> str:
    """Whether a price of protection alone was ever critical."""
    own = [e for e in result.episodes if "cds_5y_bp" in e.values]
    critical = sum(e.severity == "critical" for e in own)
    marks = [m for m in result.book.marks if m.series == "cds_5y_bp" and m.known_at and m.known_at <= result.end]
    names, top = ", ".join(sorted({m.subject for m in marks})), max(marks, key=lambda m: m.value)
    return (
        f"Alarms that look at a credit default swap: {len(own)}, of them critical: {critical}. Marks of swaps known:"
        f" {len(marks)}, of {names}; the highest is {top.value:,.0f} bp of {top.as_of}, of {top.subject}."
    )


# ---------------------------------------------------------------- speed
def speed(world: World, results: dict[str, ReplayResult]) -> None:
    """Evaluations a second, against one `canary tick --at` for each day and against days with all scenarios."""
    for name, result in results.items():
        if result.evaluated:
            rate = result.evaluated / result.seconds
            print(f"{name}: {result.evaluated} evaluations in {result.seconds:.1f} s, {rate:.1f} a second")
    at = end_of_day(PRESENT[1])
    started = time.perf_counter()
    look(world, at)
    single = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "bench.sqlite") as store:
        runner = Run(world, store, market.Tape(world.recorded, feeds.series_specs(world.feeds)), PRESENT[1])
        whole, lean = _seconds(runner, at, None), _seconds(runner, at, [])
    now = results["2026"]
    if now.evaluated:
        each = now.seconds / now.evaluated
        print(f"one tick --at a day: {single:.2f} s a day, the replay {single / each:.0f} times as fast")
    print(f"a day with all scenarios {whole:.3f} s, without {lean:.3f} s: {whole / lean:.1f} times as fast")


def _seconds(runner: Run, at: datetime, scenarios: list[Scenario] | None) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        runner.moment(at, scenarios)
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    """Run, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prices", type=Path, default=ROOT.parent / "shared" / "data" / "market_2021_2023.csv")
    parser.add_argument("--out", type=Path, help="folder for evidence.md and its pictures")
    parser.add_argument("--keep", type=Path, help="folder for the databases, so that a run that was stopped goes on")
    options = parser.parse_args()
    world = present()
    results = run(world, options.prices, options.keep)
    strict = run(world, options.prices, options.keep, strict=True)
    for name, result in results.items():
        for table in pages(name, result, strict[name]):
            print_table(table, terminal())
    if options.out:
        for name, result in results.items():
            timeline(result, options.out / f"replay_{name}.png", SHOWN if name == "2026" else ())
        (options.out / "evidence.md").write_text(evidence(results, strict, options.prices), encoding="utf-8")
    speed(world, results)


if __name__ == "__main__":
    main()
