"""Scenario files: what they may say, what is refused and how, and what they do to the numbers."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from small_book import COREWEAVE, HEAD, MARA, borrower, debt, known, numbers, pool

from monitor.model import InputError
from monitor.scenariofile import load_scenarios, read_scenario
from monitor.stress.scenario import FACTORS, Move, Scenario, apply
from monitor.stress.state import Factors, State, build_state
from monitor.yamltext import Text

SCENARIOS = Path(__file__).parents[1] / "scenarios"
NAMED = {"crypto_winter", "rental_glut", "credit_freeze", "contract_loss", "next_generation", "joint_collapse"}


def read(moves: str, head: str = "name: test\n") -> Scenario:
    """One scenario from its moves."""
    return read_scenario(Text(f"{head}moves:\n{moves}", "test.yaml"))


def refused(moves: str, head: str = "name: test\n") -> str:
    """The message a scenario is refused with."""
    with pytest.raises(InputError) as error:
        read(moves, head)
    return str(error.value)


def state(text: str = COREWEAVE) -> State:
    return build_state(known({"a": text}), {})


# ---------------------------------------------------------------- files
def test_the_named_scenarios_load_and_say_what_they_mean():
    """Six files, each with a note, each named as its file."""
    scenarios = load_scenarios(SCENARIOS)
    assert {scenario.name for scenario in scenarios} == NAMED
    for scenario in scenarios:
        assert scenario.note
        assert Path(scenario.file).stem == scenario.name


def test_verbs_units_and_lengths_are_read():
    """-40 % multiplies by 0.6, 300 basis points add 0.03, two quarters are six months."""
    moves = read(
        "  - {factor: btc, by: -40%, over: 2q}\n  - {factor: base_rate, add: 300bp}\n  - {factor: power, to: 1.2}\n"
    ).moves
    assert [(m.factor, m.verb, m.amount) for m in moves] == [
        ("btc", "by", -0.4),
        ("base_rate", "add", 0.03),
        ("power", "to", 1.2),
    ]
    assert moves[0].over_months == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("written", "since", "before"),
    [
        ('"<2024"', None, date(2024, 1, 1)),
        ('">=2024-07"', date(2024, 7, 1), None),
        ("2025", date(2025, 1, 1), date(2026, 1, 1)),
        ("2025-12", date(2025, 12, 1), date(2026, 1, 1)),
    ],
)
def test_vintages_are_months_from_and_to(written, since, before):
    """Before a month, from a month on, or within a year or a month."""
    move = read(f"  - {{factor: residual, by: -10%, where: {{vintage: {written}}}}}\n").moves[0]
    assert (move.since, move.before) == (since, before)


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ("  - {factor: resudual, by: -10%}\n", "did you mean 'residual'"),
        ("  - {factor: rent, by: -10%, where: {model: H10O}}\n", "did you mean 'H100'"),
        ("  - {factor: btc}\n", "exactly one of by: or to:"),
        ("  - {factor: btc, by: -10%, to: 2}\n", "exactly one of by: or to:"),
        ("  - {factor: spread, by: -10%}\n", "write add:"),
        ("  - {factor: btc, by: -140%}\n", "-0.4 is not between 0 and 100"),
        ("  - {factor: contract_loss, to: 150%}\n", "1.5 is not between 0 and 1"),
        ("  - {factor: btc, by: -10%, where: {model: H100}}\n", "btc has no 'model'"),
        ('  - {factor: residual, by: -10%, where: {vintage: "<24"}}\n', "is not a vintage"),
        ("  - {factor: btc, by: .inf}\n", "not a number"),
        ("  - {factor: btc, by: -10%, whre: {model: H100}}\n", "did you mean 'where'"),
    ],
)
def test_a_mistake_is_refused_with_its_place_and_what_to_write(moves, expected):
    """Every refusal names file, line and the way out."""
    message = refused(moves)
    assert expected in message
    assert "test.yaml:3:" in message


def test_all_mistakes_come_at_once():
    """Two wrong moves and a wrong pair are three problems."""
    with pytest.raises(InputError) as error:
        read("  - {factor: bct, by: -10%}\n  - {factor: spread, to: 1}\n", "name: test\ncorrelation: {btc/rnt: 30%}\n")
    assert len(error.value.problems) == 3


def test_two_files_of_one_name_are_refused(tmp_path):
    """A name means one scenario."""
    for file in ("a.yaml", "b.yaml"):
        (tmp_path / file).write_text("name: same\nmoves: [{factor: btc, by: -10%}]\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"already in a\.yaml"):
        load_scenarios(tmp_path)


def test_models_of_the_book_may_be_named():
    """A model the program has never heard of is fine once the book holds it."""
    text = Text("name: t\nmoves: [{factor: residual, by: -10%, where: {model: S19}}]\n", "t.yaml")
    assert read_scenario(text, ["S19"]).moves[0].model == "S19"
    with pytest.raises(InputError):
        read_scenario(text)


# ---------------------------------------------------------------- applying
def test_a_scenario_moves_factors_and_nothing_else():
    """The book, the prices and the first state stay as they were."""
    before = state()
    after = apply(before, Scenario("s", (Move("btc", "by", -0.5), Move("rent", "by", -0.2, model="H100"))))
    assert before.factors == Factors()
    assert after.facts is before.facts
    assert after.factors.btc == 0.5
    assert after.factors.rent_of("h100") == 0.8
    assert after.factors.rent_of("B200") == 1.0


def test_hashprice_follows_bitcoin_unless_the_scenario_moves_it():
    """At a given difficulty hashprice is proportional to the price of a coin."""
    assert apply(state(), Scenario("s", (Move("btc", "by", -0.5),))).factors.hashprice == 0.5
    both = Scenario("s", (Move("btc", "by", -0.5), Move("hashprice", "by", -0.1)))
    assert apply(state(), both).factors.hashprice == 0.9


def test_moves_of_one_factor_add_up():
    """Two losses of a half leave a quarter; two vintages stay apart."""
    twice = Scenario("s", (Move("contract_loss", "to", 0.5, counterparty="x"),) * 2)
    assert apply(state(), twice).factors.contract_loss == {"x": 0.75}
    old, new = (
        Move("residual", "by", -0.5, before=date(2024, 1, 1)),
        Move("residual", "by", -0.2, since=date(2024, 1, 1)),
    )
    factors = apply(state(), Scenario("s", (old, new))).factors
    assert factors.residual_of("H100", date(2023, 6, 1)) == 0.5
    assert factors.residual_of("H100", date(2025, 6, 1)) == 0.8


def test_every_factor_can_be_applied():
    """No factor of the list is only a word."""
    for name, info in FACTORS.items():
        amount = {"by": -0.5, "to": 0.5, "add": 0.01}[info.verbs[0]]
        changed = apply(state(), Scenario("s", (Move(name, info.verbs[0], amount),)))
        assert changed.factors != Factors(), name


# ---------------------------------------------------------------- effects
def test_each_shock_reaches_only_its_channel():
    """A take-or-pay cloud feels neither coins nor (much) rents; its largest customer it does feel."""
    text = COREWEAVE + "tenants: {microsoft: 35%}\n"
    result = numbers({"a": text}, *load_scenarios(SCENARIOS), btc_usd=84_000.0)
    base = result.columns["liquidity_locked_12m"].values[0]
    under = {name: table["liquidity_locked_12m"].values[0] for name, table in result.scenarios.items()}
    assert under["crypto_winter"] == base
    assert base * 0.9 < under["rental_glut"] < base
    assert under["contract_loss"] == pytest.approx(base - 4 * 2.575 * 0.35 * 0.5 / 7.4796, rel=1e-3)


def test_a_crypto_winter_calls_the_coin_loan():
    """57 % at 58,524 is above every usual margin level after a fall by 60 %."""
    winter = next(s for s in load_scenarios(SCENARIOS) if s.name == "crypto_winter")
    result = numbers({"a": MARA}, winter, btc_usd=58_524.0)
    assert result.columns["ltv_economic"].values[0] == pytest.approx(0.566, abs=1e-3)
    assert result.scenarios["crypto_winter"]["ltv_economic"].values[0] == pytest.approx(0.566 / 0.4, abs=3e-3)
    assert result.scenarios["crypto_winter"]["topup_cover"].values[0] < result.columns["topup_cover"].values[0]


def test_used_prices_move_by_vintage_and_an_undated_pool_is_a_range():
    """Old machines halve, new ones lose a fifth; a pool nobody dated lies between."""
    generation = next(s for s in load_scenarios(SCENARIOS) if s.name == "next_generation")

    def pooled(name: str, terms: str = "", facts: str = "") -> str:
        return borrower(
            "neocloud", "", f"debts:\n{debt('d', '1m')}facilities:\n{pool(name, 'd', 'hardware', facts, terms)}"
        )

    def vintage(day: str) -> str:
        return f"cost_vintages: [{{bought: {day}, cost_usd: 100m, model_mix: {{H100: 100%}}, {HEAD}}}]"

    texts = {
        "new": pooled("p", vintage("2026-05-01")),
        "old": pooled("p", vintage("2023-05-01")),
        "undated": pooled("p", facts="collateral_usd: 100m"),
    }
    result = numbers(texts, generation)
    base, under = (table["collateral_economic_usd"] for table in (result.columns, result.scenarios["next_generation"]))
    assert (under.values / base.values)[:2].tolist() == pytest.approx([0.8, 0.5])
    assert (under.low[2], under.high[2]) == (pytest.approx(50e6), pytest.approx(80e6))


def test_a_freeze_makes_open_puts_come():
    """Unknown share price: a range while credit is open, due in full once it is shut."""
    freeze = next(s for s in load_scenarios(SCENARIOS) if s.name == "credit_freeze")
    rest = "debts:\n" + debt("n", "100m", "convertible", "maturity: 2031-06-01, coupon: 0%, puts: [{on: 2027-06-01}]")
    text = borrower(
        "neocloud",
        "debt_usd: 100m, cash_unrestricted_usd: 50m, ebitda_adjusted_quarter_usd: 0, interest_quarter_usd: 0",
        rest,
    )
    result = numbers({"a": text}, freeze)
    base, under = result.columns["liquidity_locked_12m"], result.scenarios["credit_freeze"]["liquidity_locked_12m"]
    assert (base.low[0], base.high[0]) == (0.5, float("inf"))
    assert (under.low[0], under.high[0]) == (0.5, 0.5)


def test_a_higher_base_rate_costs_the_unhedged_floating_part_only():
    """100m floating, 60 % hedged, +100 basis points: 0.4m a year."""
    rest = "debts:\n" + debt(
        "n", "100m", "term_loan", "base: SOFR, margin: 4%, hedged_share: 60%, maturity: 2031-06-01"
    )
    text = borrower("neocloud", "debt_usd: 100m, ebitda_adjusted_quarter_usd: 5m, interest_quarter_usd: 2m", rest)
    result = numbers({"a": text}, Scenario("up", (Move("base_rate", "add", 0.01),)))
    assert result.columns["interest_cover"].values[0] == pytest.approx(20 / 8)
    assert result.scenarios["up"]["interest_cover"].values[0] == pytest.approx(20 / 8.4)


def test_an_unknown_channel_makes_the_stressed_number_unknown_and_not_the_calm_one():
    """A miner without revenue has cash flow today and none anybody could stress."""
    text = borrower("miner", "ebitda_adjusted_quarter_usd: 5m, interest_quarter_usd: 2m")
    winter = next(s for s in load_scenarios(SCENARIOS) if s.name == "crypto_winter")
    result = numbers({"a": text}, winter, btc_usd=84_000.0)
    assert result.columns["interest_cover"].known[0]
    stressed = result.scenarios["crypto_winter"]["interest_cover"]
    assert not stressed.known[0]
    assert "revenue_mining_quarter_usd" in stressed.reasons[0]
