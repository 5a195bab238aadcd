"""One borrower in full and its parts: both cases of a year, given moves, coverage by month, shares, the scorecard."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from small_book import AT as SMALL_AT
from small_book import COREWEAVE, borrower, debt, known, pool, quotes
from test_answers import desk, miner, state_of

from monitor.charts import Bars, Fan, picture
from monitor.config import find_config, load_config
from monitor.metrics import METRICS, View
from monitor.model import CanaryError, Quote
from monitor.stress.answers import ask
from monitor.stress.building import built, with_capex_rule
from monitor.stress.coins import free_coins
from monitor.stress.equity import structural
from monitor.stress.fan import coverage_paths
from monitor.stress.field import ADVERSE, FAVOURABLE, MIDDLE
from monitor.stress.outlook import simulated
from monitor.stress.ratios import merton_from_equity
from monitor.stress.sale import holdings
from monitor.stress.scenario import Move, Scenario, pairs
from monitor.stress.state import build_state
from monitor.stress_causes import by_axis
from monitor.stress_chances import Given, chances_under, expected_given
from monitor.stress_fall import full_fall
from monitor.stress_full import assumed, full_borrower
from monitor.stress_given import given_of, given_view
from monitor.stress_views import full_scenario
from monitor.stressing import TODAY, Case, case_of, first_breach, first_breach_building, scenario_named
from monitor.world import build_world

ROOT = Path(__file__).parents[1]
AT = datetime(2026, 9, 22, tzinfo=UTC)
SHUT = (Move("refinancing", "to", 0.0),)


@cache
def case() -> Case:
    """The starter book at the end of 2026-09-21."""
    config = load_config(find_config(ROOT / "config.yaml", os.environ, ROOT), {"HOME": "/nonexistent"})
    return case_of(build_world(config, offline=True), AT, AT)


def builder(start: str = "2027-01-31", committed: str = "600m") -> str:
    """A cloud with committed capex, an undrawn loan and a contract that has not started."""
    contract = (
        "contracts: [{id: next, counterparty: big, monthly_revenue_usd: 30m, "
        f"starts: {start}, ends: 2032-01-31, as_of: 2026-06-30, published: 2026-08-12, quality: filing, source: 10-Q}}]"
    )
    return borrower(
        "neocloud",
        "debt_usd: 200m, debt_current_usd: 0, cash_unrestricted_usd: 150m, revenue_quarter_usd: 60m, "
        "ebitda_adjusted_quarter_usd: 20m, interest_quarter_usd: 4m, contracted_share: 100%, "
        f"capex_committed_usd: {committed}",
        "debts:\n"
        + debt("loan", "200m, undrawn_usd: 900m", "ddtl", "coupon: 8%, maturity: 2032-01-01, amortisation: bullet")
        + "facilities:\n"
        + pool("site", "loan", "hardware", "cost_usd: 400m", contract),
    )


# ---------------------------------------------------------------- run off and build
def test_building_spends_draws_and_starts_contracts() -> None:
    """Capex at every end, draws up to the advance rate, revenue from the month a contract starts."""
    state = state_of({"one": builder()})
    rows = ask(state).rows[MIDDLE]
    made, unknown = built(rows, state, MIDDLE)
    r = rows.row("one")
    assert not unknown
    assert rows.inputs.capex_usd[r].sum() == 0
    assert made.inputs.capex_usd[r].sum() == pytest.approx(600e6)
    assert made.inputs.draw_usd[r].sum() == pytest.approx(600e6 * 0.7142)
    assert made.inputs.case == "build"
    c = rows.counterparties.index("big")
    earned = made.inputs.contracted_usd[r, c] * made.inputs.in_force[r, c]
    today = rows.inputs.contracted_usd[r, c]
    assert earned[0] == pytest.approx(today)
    assert earned[-1] == pytest.approx(today + 30e6 * 0.60)


def test_a_delay_moves_the_start_and_never_helps() -> None:
    """A contract that starts six months later earns nothing until then; the first breach comes no later."""
    state = state_of({"one": builder("2026-10-31", "300m")})
    question = ask(state)
    rows, late = (Scenario("d", (Move("delay_months", "to", months),)) for months in (0.0, 6.0))
    soon, later = (first_breach_building(question, one)["one"].value for one in (rows, late))
    assert later <= soon
    r = question.rows[MIDDLE].row("one")
    now, after = (built(question.rows[MIDDLE], state, MIDDLE, months)[0].inputs.in_force[r] for months in (0.0, 6.0))
    assert (after <= now).all()
    assert (after < now).any()


def test_building_needs_a_known_plan() -> None:
    """Without a figure for committed capex the build case is unknown by name; the run-off case is not."""
    state = state_of({"one": builder().replace(", capex_committed_usd: 600m", "")})
    question = ask(state)
    assert "capex_committed_usd" in first_breach_building(question, TODAY)["one"].reason
    assert first_breach(question, TODAY)["one"].value is not None


def test_the_capex_rule_acts_while_refinancing_is_shut() -> None:
    """Stop: nothing is spent in the months refinancing is shut; committed: it goes on; open: no difference."""
    state = state_of({"one": builder()})
    question = ask(state)
    rows = question.rows[ADVERSE]
    r = rows.row("one")
    stop = with_capex_rule(rows, state, Scenario("s", SHUT, capex_rule="stop"))
    go_on = with_capex_rule(rows, state, Scenario("s", SHUT))
    still_open = with_capex_rule(rows, state, Scenario("s", (), capex_rule="stop"))
    assert rows.inputs.capex_usd[r].sum() == 0 or stop.inputs.capex_usd[r].sum() == 0
    assert (stop.inputs.capex_usd == 0).all()
    np.testing.assert_array_equal(go_on.inputs.capex_usd, rows.inputs.capex_usd)
    np.testing.assert_array_equal(still_open.inputs.capex_usd, rows.inputs.capex_usd)
    first = {
        rule: first_breach(question, Scenario("s", SHUT, capex_rule=rule))["one"] for rule in ("stop", "committed")
    }  # type: ignore[arg-type]
    assert first["stop"].low >= first["committed"].low


# ---------------------------------------------------------------- correlation and given moves
def test_a_stated_correlation_is_that_of_the_paths() -> None:
    """Rank correlation of bitcoin's and rents' monthly moves follows the stated pair, the rest keeps its own."""
    rows = desk().rows[MIDDLE]
    near, far = (
        simulated(rows, 60_000.0, 0.04, pairs=pairs(Scenario("s", correlation={"btc/rent": rho})))
        for rho in (0.9, -0.5)
    )
    for paths, rho in ((near, 0.9), (far, -0.5)):
        moves = np.log(paths.hashprice[0]), np.log(paths.rent[0, 0])
        assert np.corrcoef(*moves)[0, 1] == pytest.approx(rho, abs=0.08)
    with pytest.raises(ValueError, match="btc/eth"):
        pairs(Scenario("s", correlation={"btc/eth": 0.5}))


def test_an_impossible_correlation_is_refused_in_words() -> None:
    """Three axes that cannot lean so: an error that names the scenario, no number."""
    odd = Scenario("odd", correlation={"btc/rent": 0.95, "rent/spread": 0.95, "btc/spread": -0.95})
    with pytest.raises(CanaryError, match=r"no paths under odd: .*not positive definite"):
        chances_under(desk(), odd, 16)


@pytest.mark.parametrize("by", [1, 6, 12])
def test_a_given_move_is_met_and_pulls_the_others(by: int) -> None:
    """Rents stand at the given level at the end of the month, bitcoin falls with them, spreads widen; without it they
    do not."""
    found = {one.axis: one for one in expected_given(desk(), Given({"rental": 0.7}, by), 512)}
    assert found["rent"].then == pytest.approx((0.7, 0.7, 0.7))
    assert found["btc"].then[0] < found["btc"].then_before
    assert found["spread"].then[0] > found["spread"].then_before
    if by < 12:
        assert found["rent"].year[1] < 0.7 < found["rent"].year[2]


@pytest.mark.parametrize("by", [3, 12])
def test_a_worse_given_move_is_no_safer(by: int) -> None:
    """The lower bitcoin stands at that month, the likelier a miner's breach, at every run's end too."""
    levels = (1.5, 1.1, 0.85, 0.7, 0.5, 0.35)
    found = [
        chances_under(desk(), TODAY, 512, "miner", given=Given({"crypto": level}, by))["miner"] for level in levels
    ]
    for ends in ("low", "middle", "high"):
        shares = [float(getattr(one, ends)[-1]) for one in found]
        assert shares == sorted(shares), ends
    assert found[0].middle[-1] < found[-1].middle[-1]


def test_worse_rents_are_no_safer_for_who_lives_on_them() -> None:
    """A cloud that sells by the hour: the further rents have fallen by the end of the year, the likelier its breach."""
    cloud = borrower(
        "neocloud",
        "debt_usd: 100m, cash_unrestricted_usd: 10m, revenue_quarter_usd: 20m, ebitda_adjusted_quarter_usd: 9m, "
        "interest_quarter_usd: 2m, contracted_share: 0%, debt_current_usd: 20m",
        "debts:\n" + debt("loan", "100m", "high_yield", "coupon: 8%, maturity: 2027-01-31"),
    )
    question = ask(state_of({"cloud": cloud}))
    levels = (1.3, 1.0, 0.8, 0.6, 0.4)
    found = [
        chances_under(question, TODAY, 512, given=Given({"rental": level}))["cloud"].middle[-1] for level in levels
    ]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_a_move_no_path_makes_is_refused() -> None:
    """Beyond eight standard deviations of its months nothing can be conditioned on; it says so."""
    for moves, says in (({"crypto": 0.05}, "standard deviations"), ({"spread": -0.2}, "below zero")):
        with pytest.raises(CanaryError, match=says):
            chances_under(desk(), TODAY, 16, given=Given(moves, 1))


@pytest.mark.parametrize(("text", "by"), [("rent -40%", 12), ("rent=-40% by 6m", 6), ("rent -40%  by 2 quarters", 6)])
def test_a_given_move_says_by_when(text: str, by: int) -> None:
    """A month, or a number of quarters; without either it is the year of the paths, and the words say which."""
    assert given_of((text,)) == (Given({"rental": 0.6}, by), f"rent -40% by month {by}")


def test_moves_are_given_by_one_month() -> None:
    """Two moves by different months are refused, by the same month they stand together."""
    with pytest.raises(CanaryError, match="rent by month 6, btc by month 12; give all moves by the same month"):
        given_of(("rent -40% by 6m", "btc -10%"))
    assert given_of(("rent -40% by 6m", "btc -10% by 6m"))[0].by == 6


@pytest.mark.parametrize("by", ["by", "by 0m", "by 13m", "by 5y", "by tomorrow", "by -3m", "by 6m by 7m"])
def test_a_month_without_sense_is_refused(by: str) -> None:
    """Beyond the horizon, before today or not a month: an error that says what to write."""
    with pytest.raises(CanaryError, match="for example"):
        given_of((f"rent -40% {by}",))


@pytest.mark.parametrize("text", ["rent", "rnt -40%", "rent 40", "rent -200%", "", "btc=", "-40%", "rent -40%; btc"])
def test_given_moves_without_sense_are_refused(text: str) -> None:
    """A given move needs a known axis and an amount with its unit."""
    with pytest.raises(CanaryError):
        given_of((text,))


def test_an_axis_is_given_once() -> None:
    """Two moves of one axis are no condition."""
    with pytest.raises(CanaryError, match="given twice"):
        given_of(("rent -40%", "rental=-10%"))


# ---------------------------------------------------------------- chances
def test_the_sampling_error_is_apart_and_shrinks() -> None:
    """Sixteen scrambles give a standard error; four times the paths do not give a larger one beyond noise."""
    few, many = (chances_under(desk(), TODAY, n, "miner", sampling=True)["miner"] for n in (64, 1024))
    assert 0 < many.sampling < few.sampling
    assert np.isnan(chances_under(desk(), TODAY, 64, "miner")["miner"].sampling)


def test_the_first_breaches_add_to_the_chance_of_the_year() -> None:
    """Shares by month add to the chance within the year, shares by test cover it."""
    found = chances_under(desk(), TODAY, 256, "miner")["miner"]
    assert found.first().sum() == pytest.approx(found.middle[-1])
    assert (found.first() >= 0).all()
    assert found.by_test.max() <= found.middle[-1] + 1e-12 <= found.by_test.sum() + 1e-9


# ---------------------------------------------------------------- coverage by month
@pytest.mark.parametrize("name", ["coreweave", "miner", "host"])
def test_coverage_by_month_starts_at_the_metric(name: str) -> None:
    """Month nothing is the metric, on every path; free coins cost no impact here, so a miner starts a little above."""
    state, rows = desk().state, desk().rows[MIDDLE]
    b = state.borrowers.index(name)
    paths = simulated(rows, 60_000.0, 0.04, n_paths=64)
    cover = coverage_paths(state, rows, paths, holdings(state), b, MIDDLE, TODAY)
    metric = METRICS["coverage"].compute(View(state))
    if not metric.known[b]:
        assert np.isnan(cover).all()
        return
    assert (cover[0] == cover[0, 0]).all()
    assert cover[0, 0] == pytest.approx(metric.values[MIDDLE, b], rel=0.03)
    assert cover.shape == (13, 64)


def test_lower_used_prices_lower_coverage_as_they_come() -> None:
    """A phased fall of used prices lowers every month from the first on, and ends at the full fall."""
    state = case().state
    rows, b = ask(state).rows[MIDDLE], state.borrowers.index("coreweave")
    paths = simulated(rows, 60_000.0, 0.04, n_paths=32)
    glut = Scenario("glut", (Move("residual", "by", -0.5, over_months=6.0),))
    today, worse = (coverage_paths(state, rows, paths, holdings(state), b, MIDDLE, one) for one in (TODAY, glut))
    np.testing.assert_array_equal(worse[0], today[0])
    assert (np.diff((today - worse)[:7], axis=0) > 0).all()


# ---------------------------------------------------------------- shares, coins, scorecard
def test_the_share_price_view_is_mertons() -> None:
    """Shares times price and an assumed volatility give the distance and chance the formula gives, worse at the end
    of the higher volatility; without a share count it says so."""
    text = miner().replace("debt_usd:", "shares_outstanding: 100m, debt_usd:")
    state = build_state(known({"one": text}), with_share(4.0))
    distance, chance = structural(state, 0)
    want = merton_from_equity(400e6, 0.9, 300e6, 1.0, 0.04, 0.04)
    assert distance.middle == pytest.approx(want.distance_to_default)
    assert chance.middle == pytest.approx(want.pd)
    assert chance.corners[ADVERSE] > chance.middle > chance.corners[FAVOURABLE]
    nothing, _ = structural(build_state(known({"one": miner()}), with_share(4.0)), 0)
    assert "shares_outstanding" in nothing.reasons[0]


def with_share(price: float) -> dict[tuple[str, str], Quote]:
    """Quotes with a share price of the borrower ``one``."""
    share = Quote("share_price_usd", "one", price, "usd", SMALL_AT, SMALL_AT, "a venue")
    return {**quotes(btc_usd=60_000.0), ("share_price_usd", "one"): share}


def test_a_miner_that_mentions_no_coins_may_hold_a_month_of_them() -> None:
    """Free coins nobody mentions: none in the middle and at the adverse end, a month of revenue at the other."""
    text = miner().replace("btc_free: 500, btc_total: 500, btc_lent: 0, btc_pledged: 0, btc_restricted: 0, ", "")
    state = state_of({"one": text})
    coins = free_coins(state)
    assert coins.known[0]
    assert coins.values[:, 0] == pytest.approx([0.0, 0.0, 10e6 / 60_000.0])
    part = miner().replace("btc_free: 500, ", "").replace("btc_total: 500, ", "")
    assert not free_coins(state_of({"one": part})).known[0]


def test_greenidge_is_judged_on_what_it_says() -> None:
    """No coins in its filings is no reason to leave it out: it has a rank, and the assumption is named."""
    found = ask(case().state)
    assert found.rows[0].row("greenidge") in found.firm
    assert any("coins_unreported_months" in text for text in assumed(case(), found, ["greenidge"], False))


# ---------------------------------------------------------------- whole answers
@pytest.fixture(scope="module")
def answers():
    """The full answers on the starter book."""
    joint = scenario_named(case(), "joint_collapse")
    return {
        "borrower": full_borrower(case(), "coreweave", joint, 64),
        "today": full_borrower(case(), "mara", None, None),
        "unknown": full_borrower(case(), "terawulf", joint, 64),
        "builder": full_borrower(case(), "iren", None, None),
        "scenario": full_scenario(case(), joint, None),
        "given": given_view(case(), Given({"rental": 0.8}, 6), "rent -20% by month 6", 64),
        "fall": full_fall(case(), "coreweave"),
    }


KINDS = ("borrower", "today", "unknown", "builder", "scenario", "given", "fall")


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_json_and_a_picture(answers, kind: str) -> None:
    """Machines get valid JSON without NaN, people a picture; both say the day of the prices."""
    shown = answers[kind]
    data = json.loads(json.dumps(shown.reply.data, allow_nan=False))
    assert data["recorded"] == "2026-09-21"
    assert picture(shown.title, shown.panels, shown.stamp)[:8] == b"\x89PNG\r\n\x1a\n"


def test_causes_shown_add_up_in_the_json(answers) -> None:
    """What a machine reads adds up to the digits it reads."""
    for parts in answers["borrower"].reply.data["caused_by"].values():
        if parts["parts"] is not None:
            assert parts["before"] + sum(parts["parts"].values()) == pytest.approx(parts["after"])
    told = answers["today"].reply.data["moved_since"]
    assert set(told) == {"1d", "30d"}


def test_the_scorecard_names_what_is_missing(answers) -> None:
    """Six tests of the pool, each with an answer; an unknown one names its field."""
    (card,) = answers["borrower"].reply.data["infrastructure_test"]
    assert len(card["tests"]) == 6
    assert {test["answer"] for test in card["tests"]} <= {"yes", "no", "depends", "unknown"}
    assert all(test["why"] for test in card["tests"])


def test_both_cases_of_a_year_are_told(answers) -> None:
    """IREN reports its committed capex, so both cases have an answer; CoreWeave's build case has a reason."""
    both = answers["builder"].reply.data["first_breach_months"]
    assert both["build"]["value"] is not None
    assert "capex_committed_usd" in answers["borrower"].reply.data["first_breach_months"]["build"]["reason"]


def test_every_lender_of_a_fall_is_named_or_said_unknown(answers) -> None:
    """Owed adds to the debt that falls, and what is paid lies between nothing and what is owed."""
    data = answers["fall"].reply.data
    lenders = data["creditors"]["middle"]["lenders"]
    assert "lender unknown" in lenders
    assert sum(one["owed_usd"] for one in lenders.values()) == pytest.approx(data["under"]["middle"]["debt_usd"])
    assert all(0 <= one["paid_usd"] <= one["owed_usd"] for one in lenders.values())
    assert data["rounds"]["middle"][0]["fell"] == {"coreweave": "falls first"}


def test_pictures_of_a_full_answer(answers) -> None:
    """Coverage by month with its line, the first breach by month, and what each axis causes are all drawn."""
    panels = answers["borrower"].panels
    fans = [panel for panel in panels if isinstance(panel, Fan)]
    assert any(fan.line == 1.0 and len(fan.bands) == 2 for fan in fans)
    assert sum(isinstance(panel, Bars) for panel in panels) == 2
    empty = [panel for panel in answers["unknown"].panels if isinstance(panel, (Fan, Bars))]
    assert all(panel.reason for panel in empty)


def test_everybodys_causes_leave_out_who_did_not_move() -> None:
    """A scenario that reaches nobody says so instead of a table of nothing."""
    still = Scenario("power", (Move("power", "by", 0.0),))
    tables, data = by_axis(case(), still, ["coreweave", "mara"])
    assert all("moves nobody's" in table.notes[0].text for table in tables)
    assert set(data) == {"liquidity_locked_12m", "coverage"}


def test_the_past_is_asked_as_it_was_known() -> None:
    """What moved is measured from the figures known then, not from those of today."""
    seen = list[datetime]()
    whole = case()
    assert whole.known is not None
    full_borrower(replace(whole, known=lambda when: (seen.append(when), whole.known(when))[1]), "mara", None, None)  # type: ignore[misc]
    assert AT - timedelta(days=1) in seen
    assert COREWEAVE
