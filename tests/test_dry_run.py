"""A dry run says what a replay would say, sees nothing it could not know, and says what it cannot tell."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import lay_desk

from monitor.config import Found, load_config
from monitor.dry_run import DAYS, DryRun, details, dry_run, sentence
from monitor.metrics import METRICS
from monitor.model import Observation, Rule
from monitor.replay import replay
from monitor.rules import compile_rules
from monitor.scoring import Episode
from monitor.world import World, build_world

END = datetime(2026, 9, 1, tzinfo=UTC)
MINER = """name: Alpha Mining
kind: miner
facts:
  - {as_of: 2026-03-31, published: 2026-05-12, quality: filing, source: Form 10-Q, values: {cash_unrestricted_usd: 90m, debt_usd: 400m}}
  - {as_of: 2026-06-30, published: 2026-08-12, quality: filing, source: Form 10-Q, values: {cash_unrestricted_usd: 20m, debt_usd: 400m}}
"""  # noqa: E501 - one figure a line


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A miner whose cash fell, as published on 12 August, beside recorded prices."""
    lay_desk(tmp_path)
    (tmp_path / "book/alpha.yaml").write_text(MINER)
    return build_world(load_config(Found(tmp_path / "config.yaml", "test"), {"HOME": str(tmp_path)}), offline=True)


def rule(expr: str, each: str = "borrower", **others: object) -> Rule:
    """A rule of one condition."""
    return Rule("R", expr, "warning", each, summary="x", logic_hash=expr, **others)  # type: ignore[arg-type]


def spans(found: tuple[Episode, ...]) -> list[tuple[str, datetime, datetime | None]]:
    """Whose, from when, until when."""
    return [(one.subject, one.began, one.ended) for one in found]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rule("cash_unrestricted_usd < 50m"), rule("cash_unrestricted_usd < 50m", for_s=5 * 86400.0)),
        (rule("btc_usd < 70_000", "market"), rule("btc_usd < 75_000", "market", clear="btc_usd > 76_000")),
        (rule("change(net_debt_usd, 20d) > 50%"), rule("change(net_debt_usd, 20d) > 1%")),
        (
            rule("age(debt_usd) > 60d", keep_firing_for_s=86400.0),
            rule("age(debt_usd) > 45d", keep_firing_for_s=86400.0),
        ),
    ],
    ids=range(4),
)
def test_it_says_what_a_replay_of_the_same_days_says(world: World, one: Rule, other: Rule) -> None:
    """The same alarms of both versions, begin and end, as a whole replay in which both are rules gives."""
    run = dry_run(world, one, other, END, days=25)
    both = (one, replace(other, id="Edited"))
    whole = replay(replace(world, rules=both, compiled=compile_rules(both, METRICS, ())), END - timedelta(days=55), END)
    stood = [e for e in whole.episodes if e.ended is None or e.ended > run.start]
    assert spans(run.was) == spans(tuple(e for e in stood if e.rule == "R"))
    assert spans(run.now) == spans(tuple(e for e in stood if e.rule == "Edited"))
    assert run.was != run.now


def test_new_gone_and_moved_alarms_are_named_with_borrower_and_dates(world: World) -> None:
    """Who and when: what published figures made known on their day, and not before."""
    run = dry_run(world, rule("cash_unrestricted_usd < 10m"), rule("cash_unrestricted_usd < 50m"), END)
    assert run.counts == (0, 1)
    assert spans(run.now) == [("alpha", datetime(2026, 8, 13, tzinfo=UTC), None)]
    assert sentence(run) == f"would never have fired in the {DAYS} days to 2026-08-31, once as edited"
    assert "new alpha 2026-08-12 to still standing" in " ".join("\n".join(details(run)).split())
    back = dry_run(world, rule("cash_unrestricted_usd < 50m"), rule("cash_unrestricted_usd < 10m"), END)
    assert any(line.startswith("gone  alpha 2026-08-12") for line in details(back))
    later = dry_run(
        world, rule("cash_unrestricted_usd < 50m"), rule("cash_unrestricted_usd < 50m", for_s=3 * 86400), END
    )
    assert any("moved alpha from 2026-08-12 to 2026-08-15" in line for line in details(later))


def test_an_edit_that_changes_nothing_says_so(world: World) -> None:
    """No difference is an answer."""
    run = dry_run(world, rule("cash_unrestricted_usd < 50m"), rule("cash_unrestricted_usd < 51m"), END)
    assert sentence(run) == f"would have fired once in the {DAYS} days to 2026-08-31; as edited exactly the same"


def test_what_is_known_later_changes_nothing_before(world: World) -> None:
    """A price known after the end, and a filing published after it, move no alarm."""
    one, other = rule("btc_usd < 70_000", "market"), rule("btc_usd < 75_000", "market")
    before = dry_run(world, one, other, END, days=30)
    late = END + timedelta(seconds=1)
    planted = [Observation("btc_usd", 1.0, "usd", END - timedelta(days=n), late, "Planted") for n in range(20)]
    assert dry_run(world, one, other, END, planted, days=30) == before


def test_live_prices_count_beside_recorded_ones(world: World) -> None:
    """What a source gave live is part of the past that is lived."""
    one, other = rule("btc_usd < 20_000", "market"), rule("btc_usd < 30_000", "market")
    at = datetime(2026, 11, 1, tzinfo=UTC)
    seen = [
        Observation("btc_usd", 25_000.0, "usd", at - timedelta(days=n), at - timedelta(days=n), venue)
        for n in range(5)
        for venue in ("Venue A", "Venue B")
    ]
    run = dry_run(world, one, other, at, seen)
    assert run.counts[0] == 0
    assert run.counts[1] == 1


def test_waits_of_hours_are_told_apart_on_the_days_that_matter(world: World) -> None:
    """A dip of six hours fires a rule that waits one hour and not one that waits twelve."""
    at = datetime(2026, 11, 1, tzinfo=UTC)

    def price(hours: float) -> float:
        return 25_000.0 if 30 <= hours < 36 else 95_000.0

    def seen(when: datetime) -> list[Observation]:
        value = price((at - when).total_seconds() / 3600)
        return [Observation("btc_usd", value, "usd", when, when, venue) for venue in ("Venue A", "Venue B")]

    prices = [one for n in range(24 * 4) for one in seen(at - timedelta(hours=n))]
    # one of the daily moments lies in the dip, so the hours around it are looked at
    dip = at - timedelta(hours=30)
    quick, slow = (rule("btc_usd < 30_000", "market", for_s=hours * 3600.0) for hours in (1, 12))
    run = dry_run(world, slow, quick, dip + timedelta(days=1), prices)
    assert run.fine_days > 0
    assert run.counts == (0, 1)
    assert any("hour by hour" in line for line in details(run))


def test_what_would_take_simulated_paths_is_said_to_be_left_out(world: World) -> None:
    """A rule about the ranking cannot be judged for the past, and the answer does not pretend."""
    run = dry_run(world, rule("canary_rank <= 3"), rule("canary_rank <= 5"), END, days=20)
    assert run.blind == ("canary_rank",)
    assert "nothing was known to judge it by" in sentence(run)
    assert any(line.startswith("not simulated for the past") and "canary_rank" in line for line in details(run))


def test_scenarios_a_rule_names_are_worked_out(world: World) -> None:
    """under(...) is judged as live: the scenario is applied at every moment."""
    half = 'under("half", coins_value_usd) < '
    run = dry_run(world, rule(f"{half} 1"), rule(f"{half} 100bn"), END, days=20)
    assert run.unknown < run.subjects or run.subjects == 0


def test_progress_counts_every_day_to_the_end(world: World) -> None:
    """Somebody who waits sees how far it is."""
    seen: list[tuple[int, int]] = []
    dry_run(world, rule("debt_usd > 1"), rule("debt_usd > 2"), END, days=10, progress=lambda *at: seen.append(at))
    assert seen == [(i + 1, 41) for i in range(41)]


def test_it_can_come_from_another_process(world: World) -> None:
    """The outcome is plain data."""
    run = dry_run(world, rule("debt_usd > 1"), rule("debt_usd > 1bn"), END, days=5)
    copy = pickle.loads(pickle.dumps(run))
    assert isinstance(copy, DryRun)
    assert copy == run
    assert details(copy) == details(run)
