"""The replay: nothing of tomorrow, the same twice, whole or in parts; and the scoring that judges it."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import types
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from monitor import feeds, market, replay_ahead, scoring
from monitor import replay as engine
from monitor.config import find_config, load_config
from monitor.known import all_facts
from monitor.model import Book, Borrower, CanaryError, CreditEvent, Event, Fact, Numbers, Observation, end_of_day
from monitor.replay import ReplayResult, history_world, replay
from monitor.replay_command import run_replay
from monitor.replay_report import gap_table, tables, week_table
from monitor.replay_score import alarm_level, as_csv, as_json, baselines, episode_row, gaps, rule_uses, verdicts
from monitor.scoring import Episode, Outcome, counted, episodes, flagged, outcome_of, ranking, score
from monitor.shell import Shell
from monitor.store import Store
from monitor.tick import Run, mark_observations
from monitor.world import World, build_world
from tests.desk import lay_desk

ROOT = Path(__file__).parents[1]
PRICES = ROOT.parent / "shared" / "data" / "market_2021_2023.csv"
DAY = timedelta(days=1)
T0 = datetime(2026, 8, 10, tzinfo=UTC)


def starter() -> World:
    return build_world(load_config(find_config(ROOT / "config.yaml", {}, ROOT), {}), offline=True)


@pytest.fixture(scope="module")
def present() -> World:
    return starter()


@pytest.fixture(scope="module")
def past(present: World) -> World:
    return history_world(present)


@pytest.fixture
def desk(tmp_path: Path) -> World:
    """One miner, one stub, and a rule that says its cash is low."""
    lay_desk(tmp_path)
    return build_world(load_config(find_config(tmp_path / "config.yaml", {}, tmp_path), {}), offline=True)


def made_up_prices(first: date, days: int, seed: int = 7) -> list[Observation]:
    """Bitcoin on a seeded walk, with difficulty and reward, each known at the end of its day."""
    steps = np.random.default_rng(seed).normal(0, 0.03, days)
    found = []
    for i, price in enumerate(40_000 * np.exp(np.cumsum(steps))):
        at = end_of_day(first + timedelta(days=i))
        found.append(Observation("btc_usd", float(price), "usd", at, at, "a walk", known_basis="assumed"))
        found.append(
            Observation("difficulty", 30e12 * (1 + i / 900), "number", at, at, "a line", known_basis="assumed")
        )
    start = end_of_day(first)
    reward = Observation("block_reward_btc", 6.375, "btc", start, start, "protocol", known_basis="assumed")
    return [*found, reward]


def lines(result: ReplayResult) -> str:
    """The events of a replay as one text, to be compared byte by byte."""
    names = ("id", "rule", "subject", "severity", "kind", "at", "reason", "before", "after", "because", "episode")
    return as_csv([{n: getattr(e, n) for n in (*names, "short_id", "values")} for e in result.events])


# ---------------------------------------------------------------- nothing of tomorrow
def with_fact(book: Book, borrower_id: str, fact: Fact) -> Book:
    """The book with one more fact."""
    rows = tuple(replace(b, facts=(*b.facts, fact)) if b.id == borrower_id else b for b in book.borrowers)
    return replace(book, borrowers=rows)


def test_what_is_published_tomorrow_moves_nothing_today(desk: World):
    """A figure about yesterday that is published tomorrow changes no number and no event of today."""
    rich = Fact("cash_unrestricted_usd", 9e9, date(2026, 8, 14), date(2026, 8, 16), end_of_day(date(2026, 8, 16)),
                "filing", "a release of tomorrow")  # fmt: skip
    planted = replace(desk, book=with_fact(desk.book, "alpha", rich))
    until, after = end_of_day(date(2026, 8, 15)), end_of_day(date(2026, 8, 16))
    plain, changed = (replay(w, T0, until) for w in (desk, planted))
    assert lines(plain) == lines(changed)
    assert all(np.array_equal(plain.panel[n], changed.panel[n], equal_nan=True) for n in plain.panel)
    assert plain.episodes, "the comparison means nothing if nothing fired"
    assert lines(replay(desk, T0, after)) != lines(replay(planted, T0, after)), "it does count once it is known"


def test_a_price_of_tomorrow_moves_nothing_today(desk: World):
    """An observation of today that becomes known tomorrow changes nothing today."""
    at = end_of_day(date(2026, 8, 14))
    crash = Observation("btc_usd", 20_000, "usd", at, at + 2 * DAY, "a late source", known_basis="assumed")
    plain, changed = (replay(desk, T0, at + DAY, observations=seen) for seen in ([], [crash]))
    assert lines(plain) == lines(changed)
    assert np.array_equal(plain.panel["btc_usd"], changed.panel["btc_usd"], equal_nan=True)


def cut(book: Book, at: datetime) -> Book:
    """The book with everything torn out that became known after a moment."""

    def kept(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
        return tuple(f for f in facts if f.known_at is not None and f.known_at <= at)

    rows = []
    for b in book.borrowers:
        pools = [
            replace(
                p,
                facts=kept(p.facts),
                units=tuple(u for u in p.units if kept((u.fact,))),
                cost_vintages=tuple(v for v in p.cost_vintages if kept((v.fact,))),
                contracts=tuple(c for c in p.contracts if kept((c.fact,))),
            )
            for p in b.facilities
        ]
        debts = tuple(replace(d, facts=kept(d.facts)) for d in b.debts)
        events = tuple(e for e in b.events if e.known_at is not None and e.known_at <= at)
        due = tuple(m for m in b.maturities if kept((m.fact,)))
        rows.append(
            replace(b, facts=kept(b.facts), debts=debts, facilities=tuple(pools), events=events, maturities=due)
        )
    marks = tuple(m for m in book.marks if m.known_at is not None and m.known_at <= at)
    return replace(book, borrowers=tuple(rows), marks=marks)


def numbers_at(world: World, seen: list[Observation], at: datetime, folder: Path) -> Numbers:
    """The numbers of one moment of a replay."""
    rows = [*world.recorded, *mark_observations(world.book), *seen]
    folder.mkdir(parents=True, exist_ok=True)
    with Store(folder / "moment.sqlite") as store:
        run = Run(world, store, market.Tape(rows, feeds.series_specs(world.feeds)), at.date())
        return run.moment(at, []).numbers


def said(numbers: Numbers) -> dict[str, tuple[list[str], list[str]]]:
    """Every metric as text: values (NaN is a word) and reasons."""
    return {
        name: ([repr(float(v)) for v in c.values], [c.reasons.get(i, "") for i in range(len(c.values))])
        for name, c in numbers.columns.items()
    }


@pytest.mark.parametrize("day", [date(2022, 4, 18), date(2022, 8, 22), date(2022, 11, 9), date(2023, 1, 30)])
def test_tearing_out_the_future_changes_nothing(past: World, tmp_path: Path, day: date):
    """Facts, events, marks and prices known only later may be deleted without a number of that day moving."""
    at, seen = end_of_day(day), made_up_prices(date(2021, 12, 1), 480)
    whole = numbers_at(past, seen, at, tmp_path / "whole")
    torn = replace(past, book=cut(past.book, at), recorded=tuple(o for o in past.recorded if o.known_at <= at))
    assert torn.book != past.book
    assert said(numbers_at(torn, [o for o in seen if o.known_at <= at], at, tmp_path / "torn")) == said(whole)


@pytest.mark.parametrize("seed", [1, 2])
def test_shuffling_the_future_changes_nothing(past: World, tmp_path: Path, seed: int):
    """Figures and prices known only later may trade their values at random without a number of that day moving."""
    at, seen = end_of_day(date(2022, 8, 22)), made_up_prices(date(2021, 12, 1), 480)
    whole = said(numbers_at(past, seen, at, tmp_path / "whole"))
    mixed = replace(past, book=shuffled(past.book, at, seed))
    assert mixed.book != past.book
    rng = np.random.default_rng(seed)
    later = [o for o in seen if o.known_at > at]
    values = rng.permutation([o.value for o in later])
    turned = [replace(o, value=float(v)) for o, v in zip(later, values, strict=True)]
    seen_mixed = [*(o for o in seen if o.known_at <= at), *turned]
    assert said(numbers_at(mixed, seen_mixed, at, tmp_path / "mixed")) == whole
    then = end_of_day(date(2023, 3, 31))
    assert said(numbers_at(mixed, seen_mixed, then, tmp_path / "then")) != said(
        numbers_at(past, seen, then, tmp_path / "then")
    ), "later it must matter, or the shuffle touched nothing"


def shuffled(book: Book, at: datetime, seed: int) -> Book:
    """The book with the numbers known only after a moment permuted within each borrower."""
    rng = np.random.default_rng(seed)
    rows = []
    for b in book.borrowers:
        late = [i for i, f in enumerate(b.facts) if (f.known_at is None or f.known_at > at) and _is_number(f)]
        facts = list(b.facts)
        for i, j in zip(late, rng.permutation(late), strict=True):
            facts[i] = replace(facts[i], value=b.facts[int(j)].value)
        rows.append(replace(b, facts=tuple(facts)))
    return replace(book, borrowers=tuple(rows))


def _is_number(fact: Fact) -> bool:
    return isinstance(fact.value, float | int) and not isinstance(fact.value, bool)


def test_tearing_out_the_future_of_2026(present: World, tmp_path: Path):
    """The same for the book of today, with its vintages, contracts and marks."""
    at = end_of_day(date(2026, 5, 20))
    torn = replace(present, book=cut(present.book, at), recorded=tuple(o for o in present.recorded if o.known_at <= at))
    whole, part = (numbers_at(w, [], at, tmp_path / n) for w, n in ((present, "whole"), (torn, "torn")))
    assert said(part) == said(whole)


# ---------------------------------------------------------------- the same again
def test_twice_and_in_parts_is_the_same(desk: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same replay twice, and one made in two halves, give the same events byte by byte."""
    monkeypatch.setattr(engine, "CHUNK", 5)
    end = T0 + 16 * DAY
    whole = lines(replay(desk, T0, end))
    assert "fired" in whole
    assert whole == lines(replay(desk, T0, end))
    kept = tmp_path / "half.sqlite"
    half = replay(desk, T0, T0 + 7 * DAY, database=kept)
    rest = replay(desk, T0, end, database=kept)
    assert (half.evaluated, rest.evaluated) == (8, 9)
    assert lines(rest) == whole
    assert half.events == tuple(e for e in rest.events if e.at <= half.end)


def test_a_killed_replay_goes_on(past: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A process killed in the middle of a replay costs a chunk; going on gives the events of an unbroken one."""
    monkeypatch.setattr(engine, "CHUNK", 4)
    seen, kept = made_up_prices(date(2022, 6, 1), 120), tmp_path / "killed.sqlite"
    start, end = end_of_day(date(2022, 8, 3)), end_of_day(date(2022, 8, 16))
    child = os.fork()
    if child == 0:  # the child never comes back from here
        replay(past, start, end, observations=seen, database=kept, progress=lambda done, of: _die(done >= 8))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    rest = replay(past, start, end, observations=seen, database=kept)
    assert rest.evaluated == 6
    assert lines(rest) == lines(replay(past, start, end, observations=seen))
    assert {"core-scientific"} <= {e.borrower for e in rest.episodes if e.rule == "DistressWarning"}


def _die(now: bool) -> None:
    if now:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_database_belongs_to_one_replay(desk: World, tmp_path: Path):
    """Another start, another past of prices, or a database that is no replay's is refused with a sentence."""
    kept, end = tmp_path / "mine.sqlite", T0 + 3 * DAY
    replay(desk, T0, end, database=kept)
    with pytest.raises(CanaryError, match="another start"):
        replay(desk, T0 - DAY, end, database=kept)
    changed = Observation("btc_usd", 61_000, "usd", T0, T0, "a new source", known_basis="assumed")
    with pytest.raises(CanaryError, match="have changed"):
        replay(desk, T0, end + DAY, observations=[changed], database=kept)
    later = Observation("btc_usd", 61_000, "usd", end + DAY, end + DAY, "a new source", known_basis="assumed")
    assert replay(desk, T0, end + DAY, observations=[later], database=kept).evaluated == 1
    other = tmp_path / "other.sqlite"
    with Store(other) as store:
        store.commit_tick(engine.TickRow(T0))
    with pytest.raises(CanaryError, match="not the database of a replay"):
        replay(desk, T0, end, database=other)


def test_a_week_between_evaluations_serves_the_waiting_time(tmp_path: Path):
    """The rhythm of a replay is no outage: a rule that waits seven days fires in a weekly replay."""
    lay_desk(tmp_path)
    rules = tmp_path / "rules" / "mine.yaml"
    rules.write_text(rules.read_text() + "  for: 7d\n")
    world = build_world(load_config(find_config(tmp_path / "config.yaml", {}, tmp_path), {}), offline=True)
    result = replay(world, end_of_day(date(2026, 8, 12)), T0 + 30 * DAY, every=7 * DAY)
    assert [(e.borrower, e.began) for e in result.episodes] == [("alpha", end_of_day(date(2026, 8, 19)))]


def test_hindsight_is_said(present: World, past: World):
    """Restated series, undated publications and undated assumptions are named; a clean book and tape name none."""
    said_now = " ".join(engine.hindsight(present.book, present.recorded, T0, T0 + DAY))
    assert "restated" in said_now
    assert "rent_h100_index_usd" in said_now
    said_then = engine.hindsight(past.book, [], T0 - 1600 * DAY, end_of_day(date(2023, 6, 30)))
    assert any("without a date of publication" in text and "terawulf" in text for text in said_then)
    assert any("assumptions carry no date" in text for text in said_then)
    assert engine.hindsight(Book(()), made_up_prices(date(2022, 1, 1), 3), T0, T0) == []


def test_without_hindsight_leaves_out_what_was_restated_or_undated(present: World, past: World):
    """What is left has no restated price and no figure without a date of publication; the rest is untouched."""
    clean, seen = engine.without_hindsight(present, list(present.recorded))
    assert any(o.restated for o in present.recorded)
    assert not any(o.restated for o in (*clean.recorded, *seen))
    assert len(seen) == sum(not o.restated for o in present.recorded)
    strict, _ = engine.without_hindsight(past, [])
    facts = [f for b in past.book.borrowers for f in all_facts(b)]
    kept = [f for b in strict.book.borrowers for f in all_facts(b)]
    assert kept == [f for f in facts if f.published is not None]
    assert len(kept) < len(facts)
    said_then = " ".join(engine.hindsight(strict.book, seen, T0 - 1600 * DAY, end_of_day(date(2023, 6, 30))))
    assert "without a date of publication" not in said_then
    assert "restated" not in said_then


def test_a_week_in_the_dark_is_unknown_not_quiet(desk: World):
    """Nothing stands and nothing could be told: the table says unknown, before a figure or a price is there."""
    silent = replace(desk, rules=(), compiled=())
    result = replay(silent, T0, T0 + 21 * DAY, observations=made_up_prices(date(2026, 8, 20), 12))
    dark = replace(result, panel={**result.panel, "btc_usd": np.where(np.arange(22) < 10, np.nan, 1.0)})
    rows = [[cell.text for cell in row] for row in week_table(dark, ("alpha", "stub")).rows]
    assert rows[0][2:] == ["unknown", "unknown"]
    assert rows[-1][3] == "quiet"
    assert all(row[2] == "unknown" for row in rows), "a stub is never known"


# ---------------------------------------------------------------- what happened in 2022 and in December 2025
def bench() -> types.ModuleType:
    """bench/replay.py, which reads the daily series of 2021 to 2023."""
    spec = importlib.util.spec_from_file_location("bench_replay", ROOT / "bench" / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not PRICES.exists(), reason="the daily series of 2021 to 2023 are not beside this checkout")
def test_core_scientific_is_warned_of_in_august_2022(past: World):
    """The coins known on 5 August start the warning two days later, and nothing did before."""
    span = (end_of_day(date(2022, 7, 28)), end_of_day(date(2022, 8, 13)))
    result = replay(past, *span, observations=bench().history_prices(PRICES))
    burn = [e for e in result.episodes if e.rule == "TreasuryBurn"]
    assert [(e.borrower, e.began) for e in burn] == [("core-scientific", datetime(2022, 8, 7, tzinfo=UTC))]
    assert burn[0].values["coins_total"] == 1205
    signs = [e.began for e in result.episodes if e.rule == "DistressWarning"]
    assert signs == [end_of_day(date(2022, 8, 11))]


def test_the_peak_of_protection_of_december_2025_is_not_critical(present: World):
    """CoreWeave's CDS at its peak makes no critical alarm by itself; no default followed."""
    result = replay(present, end_of_day(date(2025, 12, 29)), end_of_day(date(2026, 1, 4)))
    quoted = [m for m in present.book.marks if m.series == "cds_5y_bp" and m.value > 800]
    assert quoted, "the peak is in the book"
    assert [e for e in result.episodes if "cds_5y_bp" in e.values and e.severity == "critical"] == []


@pytest.mark.skipif(not PRICES.exists(), reason="the daily series of 2021 to 2023 are not beside this checkout")
def test_who_could_not_be_measured_was_said_to_be_blind(past: World):
    """Compute North had nothing public: it is said to be blind before it fails, and what was missing is named."""
    span = (end_of_day(date(2022, 7, 20)), end_of_day(date(2022, 8, 5)))
    result = replay(past, *span, observations=bench().history_prices(PRICES))
    (gap,) = [one for one in gaps(result, verdicts(result)[0]) if one.outcome.borrower == "compute-north"]
    assert gap.outcome.label == "insufficient data"
    assert gap.blind_since is not None
    assert gap.blind_since.date() < date(2022, 7, 31)
    assert gap.lead_days is None
    assert gap.late["cash"] is None
    assert "compute-north" in " ".join(cell.text for row in gap_table([gap]).rows for cell in row)


def test_what_came_too_late_is_dated():
    """A figure published within thirty days of the event, or after it, is named with its day; one before is not."""
    facts = (
        Fact("debt_usd", 1e8, date(2022, 6, 30), date(2022, 8, 11), end_of_day(date(2022, 8, 11)), "filing", "10-Q"),
        Fact("cash_unrestricted_usd", 1e6, EVENT, EVENT, end_of_day(EVENT), "filing", "8-K"),
    )
    events = (CreditEvent("missed_payment", EVENT, end_of_day(EVENT), "8-K"),)
    book = Book((Borrower("acme", "Acme", "miner", facts=facts, events=events),))
    times = tuple(end_of_day(date(2022, 7, 1)) + i * DAY for i in range(150))
    nothing = {name: np.full((150, 1), np.nan) for name in engine.BORROWER_PANEL}
    nothing |= {name: np.full(150, np.nan) for name in engine.MARKET_PANEL}
    result = ReplayResult(times[0], times[-1], DAY, times, book, (), nothing, (), (), (), ("",) * 4, 1, 0, 0.0)
    (gap,) = gaps(result, verdicts(result)[0])
    assert gap.late == {
        "cash": EVENT + DAY, "coins": None, "EBITDA": None, "interest": None, "what falls due": None,
    }  # fmt: skip


# ---------------------------------------------------------------- scoring
EVENT = date(2022, 10, 27)
UNTIL = datetime(2022, 10, 27, tzinfo=UTC)
FAILED = Outcome("acme", "failure", EVENT, "missed_payment")


def alarm(days_before: float, lasted: float | None, severity: str = "warning", rule: str = "R") -> Episode:
    """An alarm of acme so many days before its event."""
    began = UNTIL - timedelta(days=days_before)
    return Episode(rule, "acme", severity, began, None if lasted is None else began + timedelta(days=lasted), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "warning", "critical"),
    [
        ([], None, None),
        ([alarm(81, None)], 81, None),
        ([alarm(81, 30)], None, None),
        ([alarm(81, 81)], 81, None),
        ([alarm(271, None)], None, None),
        ([alarm(270, None)], 270, None),
        ([alarm(0.5, None)], None, None),
        ([alarm(-1, None)], None, None),
        ([alarm(120, 20), alarm(40, None), alarm(10, None, "critical")], 40, 10),
        ([alarm(60, None, "critical")], 60, 60),
        ([alarm(60, None, rule="BlindOnRisk")], None, None),
        ([alarm(60, None, "info")], None, None),
    ],
)
def test_lead_counts_only_what_stood_and_was_recent(rows, warning, critical):
    """Lead is from an alarm that began at most 270 days before the event and had not ended at it."""
    line = score(FAILED, sorted(rows, key=lambda e: e.began), UNTIL - 400 * DAY, UNTIL + 100 * DAY)
    found = [lead.days if lead else None for lead in (line.lead("warning"), line.lead("critical"))]
    assert found == [warning, critical]


def test_days_in_alarm_end_with_the_event():
    """Overlapping alarms count a day once, and what begins after the event counts nothing."""
    rows = [alarm(100, 20), alarm(90, 20, "critical"), alarm(-5, None)]
    line = score(FAILED, rows, UNTIL - 200 * DAY, UNTIL + 200 * DAY)
    assert line.days == 200
    assert (line.share("warning"), line.share("critical")) == (30 / 200, 20 / 200)
    assert line.per_year("warning") == pytest.approx(2 / 200 * 365.25)


def test_outcomes_follow_the_events_of_the_book():
    """A hard event makes a failure, a deferral alone is borderline, no debt and no data are said apart."""

    def row(*kinds: tuple[str, date], status: str = "watched") -> Borrower:
        events = tuple(CreditEvent(k, d, end_of_day(d), "a filing") for k, d in kinds)
        return Borrower("acme", "Acme", "miner", status=status, events=events)  # type: ignore[arg-type]

    first, last = date(2022, 1, 1), date(2022, 12, 31)
    soft = ("deferral", date(2022, 8, 11))
    failed = outcome_of(row(soft, ("missed_payment", EVENT), ("bankruptcy", date(2022, 12, 21))), first, last, 1e9)
    assert (failed.label, failed.day, failed.kind) == ("failure", EVENT, "missed_payment")
    assert failed.signs == ((date(2022, 8, 11), "deferral"),)
    assert outcome_of(row(soft), first, last, 1e9) == Outcome("acme", "borderline", soft[1], "deferral")
    assert outcome_of(row(("exchange", EVENT)), first, last, 1e9).label == "survivor", "holders may gain by one"
    assert outcome_of(row(("bankruptcy", date(2023, 1, 5))), first, last, 1e9).label == "failed later"
    assert [outcome_of(row(), first, last, debt).label for debt in (1e6, 0.0, math.nan)] == [
        "survivor",
        "no debt",
        "debt unknown",
    ]
    assert (
        outcome_of(row(("bankruptcy", EVENT), status="insufficient_data"), first, last, 1).label == "insufficient data"
    )


@given(st.integers(1, 40), st.data())
@settings(max_examples=30, deadline=None)
def test_intervals_are_those_of_clopper_and_pearson(of, data):
    """The exact interval equals the quantiles of the beta distribution."""
    hits = data.draw(st.integers(0, of))
    count = counted(hits, of)
    low = 0.0 if hits == 0 else beta.ppf(0.025, hits, of - hits + 1)
    high = 1.0 if hits == of else beta.ppf(0.975, hits + 1, of - hits)
    assert (count.low, count.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_ranking_is_of_its_date_and_seeded():
    """A score that ranks the failures first is certain to be in order; a price alike for all is a coin toss."""
    times = [UNTIL - timedelta(days=d) for d in (60, 40, 20)]
    events = [EVENT, EVENT, None, None, None, None]
    good = np.tile([2.0, 3.0, 1.0, 0.0, 1.0, -np.inf], (3, 1)) + np.array([[0.0], [10.0], [20.0]])
    found = ranking(good, times, events, seed=1)
    assert (found.concordance, found.dates) == (1.0, 3)
    assert found == ranking(good, times, events, seed=1)
    assert found.p_value == pytest.approx(1 / 15, abs=0.03)  # 15 ways to place two failures among six
    assert ranking(np.ones((3, 6)), times, events, seed=1)[:2] == (0.5, 3)
    assert ranking(good, times, [None] * 6, seed=1).dates == 0
    assert math.isnan(ranking(np.full((3, 6), np.nan), times, events, seed=1).concordance)


def test_an_episode_ends_where_its_alert_does():
    """Recovering and firing again is one episode; a dropped pending is none; what stands has no end."""

    def row(kind: str, day: int, subject: str = "acme") -> Event:
        at = datetime(2022, 1, day, tzinfo=UTC)
        return Event(f"{subject}{kind}{day}", "R", subject, "warning", kind, at, "", "ok", "ok")  # type: ignore[arg-type]

    kinds = [("pending", 1), ("dropped", 2), ("pending", 3), ("fired", 4), ("recovering", 5), ("fired", 6)]
    rows = [row(*k) for k in [*kinds, ("nodata", 7), ("resolved", 9), ("fired", 11)]]
    assert [(e.began.day, e.ended and e.ended.day) for e in episodes(rows)] == [(4, 9), (11, None)]
    assert [e.borrower for e in episodes([row("fired", 1, "acme/pool")])] == ["acme"]


def test_a_baseline_is_scored_like_a_rule():
    """Yes and no by day become episodes from the first yes to the first no."""
    times = [UNTIL + i * DAY for i in range(4)]
    on = np.array([[True, False], [True, True], [False, True], [True, True]])
    found = flagged("naive", ("a", "b"), times, on)
    assert [(e.borrower, e.began, e.ended) for e in found] == [
        ("a", times[0], times[2]),
        ("b", times[1], None),
        ("a", times[3], None),
    ]


# ---------------------------------------------------------------- what a person gets
@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, Path]:
    """A desk whose miner defaulted on 20 August 2026."""
    folder = lay_desk(tmp_path_factory.mktemp("desk"))
    text = (folder / "book" / "alpha.yaml").read_text()
    event = "{kind: missed_payment, happened: 2026-08-20, published: 2026-08-21, source: Form 8-K}"
    (folder / "book" / "alpha.yaml").write_text(f"{text}events:\n  - {event}\n")
    return Shell(config_path=str(folder / "config.yaml"), offline=True, as_json=True), folder


def test_the_command_gives_tables_files_and_json(shown, capsys):
    """One line per borrower, one per rule, every alarm; as JSON without a number that JSON does not know."""
    shell, folder = shown
    out = folder / "out"
    assert run_replay(shell, start="2026-08-10", end="2026-08-25", out=out, borrowers=["alpha"]) == 0
    told = json.loads(capsys.readouterr().out)
    alpha = next(b for b in told["verdicts"][0]["borrowers"] if b["borrower"] == "alpha")
    assert (alpha["label"], alpha["critical_lead_days"], alpha["critical_lead_rule"]) == ("failure", 7, "LowCash")
    assert [e["rule"] for e in told["episodes"]] == ["LowCash"]
    assert {p.name for p in out.iterdir()} == {"scores.csv", "rules.csv", "episodes.csv", "replay.md", "timeline.png"}
    assert (out / "timeline.png").read_bytes()[:4] == b"\x89PNG"
    assert "LowCash" in (out / "replay.md").read_text()
    shell.as_json = False
    assert run_replay(shell, start="2026-08-10", end="2026-08-25") == 0
    text = capsys.readouterr().out
    assert "REPLAY 2026-08-10 to 2026-08-25" in text
    assert "7 d, LowCash" in text
    shell.as_json = True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "yesterday"}, "is no day"),
        ({"start": "2026-08-10", "end": "2026-08-01"}, "end after its start"),
        ({"borrowers": ["beta"]}, "no borrower is called beta"),
        ({"every": "5s"}, "a minute or more"),
        ({"every": "often"}, "is not a number"),
    ],
)
def test_mistakes_are_sentences(shown, options, said):
    """A wrong day, an empty span, an unknown borrower and a step too short are refused with a sentence."""
    with pytest.raises(CanaryError, match=said):
        run_replay(shown[0], **options)


def test_the_past_needs_its_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without prices of that time the borrowers of 2021 to 2023 cannot be replayed, and it says what to give."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(CanaryError, match="canary backfill --from 2021-01-01, or --prices FOLDER"):
        run_replay(Shell(config_path=str(ROOT / "config.yaml"), offline=True), history=True)


def test_numbers_of_the_report_come_from_the_replay(desk: World):
    """Levels, baselines, rule shares and tables agree with the episodes they are made of."""
    result = replay(desk, T0, T0 + 10 * DAY)
    level = alarm_level(result)
    assert level.max() == 2
    assert level.shape == (11, 2)
    use = rule_uses(result)[0]
    stood = (result.end - result.episodes[0].began) / (2 * (result.end - result.start))
    assert (use.rule, use.episodes, use.share) == ("LowCash", 1, pytest.approx(stood))
    assert [on.shape for _, on, _ in baselines(result)] == [(11, 2)] * 3
    assert len(verdicts(result)) == 5
    assert json.dumps(as_json(result), allow_nan=False)
    assert as_csv([episode_row(e) for e in result.episodes]).startswith("rule,subject,severity")
    assert all(len(row) == len(t.heads) for t in tables(result, ["alpha"]) for row in t.rows)
    assert scoring.days_inside([], result.start, result.end) == 0


# ---------------------------------------------------------------- numbers over paths, in other processes
@pytest.mark.parametrize("paths", [False, True])
def test_numbers_made_elsewhere_are_the_same(past: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: bool):
    """Numbers from other processes and from this one give the same events and the same rows, byte by byte."""
    seen = made_up_prices(date(2022, 6, 1), 90)
    start, end = end_of_day(date(2022, 8, 10)), end_of_day(date(2022, 8, 13))
    found = []
    for name, enough in (("here", 1000), ("elsewhere", 1)):
        monkeypatch.setitem(replay_ahead.WORTHWHILE, paths, enough)
        monkeypatch.setattr(replay_ahead.os, "cpu_count", lambda: 2)
        result = replay(past, start, end, observations=seen, database=tmp_path / f"{name}.sqlite", paths=paths)
        with Store.reader(tmp_path / f"{name}.sqlite") as store:
            rows = store.rows("SELECT metric, subject, value, reason FROM metrics ORDER BY metric, subject, eval_at")
        found.append((lines(result), rows))
    assert found[0] == found[1]
    known = {row["metric"] for row in found[0][1] if row["value"] is not None}
    assert known, "or nothing was compared"
    assert bool(set(engine.OVER_PATHS) & known) == paths


def test_only_what_is_read_is_worked_out_and_a_database_knows_the_difference(desk: World, tmp_path: Path):
    """What no rule and no score reads is left out; a replay without simulated paths cannot be continued with them."""
    kept = tmp_path / "lean.sqlite"
    replay(desk, T0, T0 + 2 * DAY, database=kept)
    with Store.reader(kept) as store:
        names = {row["metric"] for row in store.rows("SELECT DISTINCT metric FROM metrics")}
    assert names == {*engine.BORROWER_PANEL, *engine.MARKET_PANEL}, "the one rule reads cash, which is scored too"
    with pytest.raises(CanaryError, match="another start"):
        replay(desk, T0, T0 + 3 * DAY, database=kept, paths=True)
