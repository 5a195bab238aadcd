"""Why an alert fires or does not: every number, what is unknown, since when, and what was said to whom."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from desk import RULE, lay_desk
from rule_names import AT, NAMES, SCENARIOS, numbers

from monitor.alerts import step
from monitor.cli import run_line
from monitor.explaining import Explanation, explain_alert
from monitor.model import AlertState, Column, Decision, Event, Rule
from monitor.rules import compile_rules, match


def explained(rule: Rule, found, subject: str, state: AlertState | None = None, **more) -> Explanation:
    return explain_alert(compile_rules([rule], NAMES, SCENARIOS)[0], found, subject, state, **more)


def text(*args, **more) -> str:
    return "\n".join(explained(*args, **more).lines)


TENANT = Rule("Tenant", "tenant_share > 30% and (tenant_critical or cds_5y_bp > 300)", "warning", for_s=86400.0)


def test_every_comparison_has_its_answer_and_both_numbers():
    """Each comparison is shown with its own truth and numbers in one unit; a flag with its answer."""
    found = numbers(tenant_share=[0.4, 0.4, 0.2], tenant_critical=[0, None, 0], cds_5y_bp=[450, 200, 100])
    one = explained(TENANT, found, "alpha")
    assert [(c.text, c.answer, c.left, c.right) for c in one.comparisons] == [
        ("tenant_share > 30%", "true", "40.0%", "30.0%"),
        ("tenant_critical", "false", "", ""),
        ("cds_5y_bp > 300", "true", "450 bp", "300 bp"),
    ]
    assert (one.answer, one.state, one.says) == ("true", "ok", "not sent: true, and no evaluation has judged it yet")


def test_the_unknown_is_named_with_its_reason():
    """An unknown answer says which number is missing and why, and is not called fine."""
    found = numbers(tenant_share=[0.4, 0.4, 0.2], tenant_critical=[0, None, 0], cds_5y_bp=[450, 200, 100])
    one = explained(TENANT, found, "beta")
    assert one.answer == "unknown"
    assert one.says == "not sent: unknown: tenant_critical: no filing"
    assert ("", "tenant_critical", "? (no filing)") in one.rows


@pytest.mark.parametrize(
    ("expr", "left", "right"),
    [
        ("age(debt_usd) > 135d", "?", "135 d"),
        ("debt_usd > 1bn", "2.00bn USD", "1.00bn USD"),
        ("debt_usd / net_debt_usd - 1 > 15%", "100.0%", "15.0%"),
        ("300bp < cds_5y_bp", "300 bp", "450 bp"),
        ("cds_5y_bp > 3%", "450 bp", "300 bp"),
        ("runway_months < 180d", "3.0 months", "5.9 months"),
        ("interest_cover < 1.5", "1.20x", "1.50x"),
    ],
)
def test_numbers_are_shown_in_the_unit_of_what_is_measured(expr, left, right):
    """Both sides read in one unit, the one a person expects."""
    values = {"debt_usd": 2e9, "net_debt_usd": 1e9, "cds_5y_bp": 450, "runway_months": 3, "interest_cover": 1.2}
    found = numbers(**{name: [value] * 3 for name, value in values.items()})
    one = explained(Rule("R", expr, "warning"), found, "alpha").comparisons[0]
    assert (one.left, one.right) == (left, right)


def test_a_number_says_where_it_comes_from():
    """Worst facility, age, range and assumptions stand beside the number."""
    found = numbers(ltv_economic=[0.8, 0.95, 0.5])
    old = found.columns["ltv_economic"]
    column = Column(
        "ltv_economic", "facility", "ratio", old.values, old.known, {}, {1: ("decay 22% (assumed)",)},
        np.array([0.7, 0.9, 0.4]), np.array([0.9, 1.1, 0.6]), np.array([0.0, 92 * 86400.0, 0.0]),
    )  # fmt: skip
    found.columns["ltv_economic"] = column
    shown = text(Rule("High", "ltv_economic > 90%", "warning"), found, "alpha")
    assert "95.0% (worst of alpha/two; 92 d old; 90.0% to 110.0%; rests on decay 22% (assumed))" in shown


def test_market_and_borrower_numbers_in_a_facility_rule():
    """Each number is taken from its own level: the market's, the owner's, the facility's."""
    rule = Rule("R", "ltv_economic > 90% and interest_cover < 2 and btc_usd < 60k", "warning", "facility")
    found = numbers(ltv_economic=[0.8, 0.95, 0.5], interest_cover=[1, 3, 5], btc_usd=[50_000])
    shown = {what: number for _, what, number in explained(rule, found, "beta/one").rows}
    assert (shown["interest_cover"], shown["btc_usd"]) == ("3.00x", "50,000 USD")
    assert shown["ltv_economic"] == "50.0%"


def test_state_wait_recovery_and_messages():
    """Since when, how much of the wait is served, the recovery line, and what each route made of each event."""
    rule = Rule("Box", "liquidity_18m < 1.0", "critical", clear="liquidity_18m > 1.2", for_s=1800.0, logic_hash="a")
    compiled = compile_rules([rule], NAMES, SCENARIOS)
    found = numbers(liquidity_18m=[0.8, 2, 2])
    start = AT - timedelta(minutes=22)
    states, events = step([rule], match(compiled, found), {}, start)
    decisions = {events[0].id: [Decision(events[0].id, "desk", False, "still pending")]}
    shown = text(rule, found, "alpha", states["Box", "alpha"], events=events, decisions=decisions)
    assert shown.startswith("Box of alpha: true; not sent: still pending, 22 of 30 minutes")
    for says in ("kept firing", "no route"):
        assert says not in shown
    for says in ("for 30 min", "recovers  liquidity_18m > 1.2", "false", "pending, true since 2026-08-30 23:38 UTC",
                 "2026-08-30 23:38 UTC  pending: became true", "to desk: not said: still pending"):  # fmt: skip
        assert says in shown


def test_many_events_are_cut():
    """Only the newest are shown, and how many more there are."""
    event = Event("e", "R", "alpha", "info", "fired", datetime(2026, 1, 1, tzinfo=UTC), "x", "ok", "firing")
    shown = text(Rule("R", "debt_usd > 1", "info"), numbers(debt_usd=[2, 2, 2]), "alpha", events=[event] * 7)
    assert shown.count("fired: x") == 5
    assert "and 2 earlier ones" in shown


def test_not_about_this_subject():
    """A rule is explained only for those it is about."""
    with pytest.raises(ValueError, match="not about 'delta'"):
        explained(TENANT, numbers(), "delta")


def test_the_command(tmp_path, monkeypatch, capsys):
    """`canary explain` needs an evaluation, knows near names, shows one borrower whole and everybody in a line each."""
    monkeypatch.delenv("CANARY_CONFIG", raising=False)
    monkeypatch.chdir(lay_desk(tmp_path))
    (tmp_path / "rules" / "mine.yaml").write_text(
        RULE + "  clear: cash_unrestricted_usd > 80m\n  do: Read the filing.\n"
    )

    def canary(*words: str) -> tuple[int, str]:
        code = run_line([*words, "--offline"])
        out, err = capsys.readouterr()
        return code, out + err

    assert canary("explain", "LowCash")[1] == (
        "canary: nothing was evaluated yet, so there is nothing to explain; run `canary tick` first\n"
    )
    canary("tick")
    code, out = canary("explain", "LowCash", "alpha")
    assert code == 0
    for says in (
        "LowCash of alpha: true; firing since",
        "20.0m USD against 50.0m USD",
        "recovers",
        "on recorded prices",
    ):
        assert says in out
    assert "console" in out  # what the route of a desk without routes made of it
    data = json.loads(canary("explain", "LowCash", "--json")[1])
    assert {one["subject"]: one["answer"] for one in data["found"]} == {"alpha": "true", "stub": "unknown"}
    assert "did you mean 'LowCash'" in canary("explain", "LowCsh")[1]
    assert canary("explain", "LowCash", "alfa")[0] == 2
    (tmp_path / "rules" / "mine.yaml").write_text(RULE)
    assert "files were edited since" in canary("explain", "LowCash", "alpha")[1]
    code, out = canary("check")
    assert code == 0, out
    assert "neither `do` nor `runbook` is given" in out


def test_check_names_what_nobody_knows_after_an_evaluation(tmp_path, monkeypatch, capsys):
    """Smells are findings: a metric nobody had a value of at the last evaluation makes `canary check` exit 1."""
    monkeypatch.delenv("CANARY_CONFIG", raising=False)
    monkeypatch.chdir(lay_desk(tmp_path))
    (tmp_path / "rules" / "mine.yaml").write_text(
        '- {alert: Spread, expr: hy_spread_bp > 500bp, for: 1d, each: market, severity: info, summary: x, do: "x"}\n'
    )
    assert run_line(["check", "--offline"]) == 0
    run_line(["tick", "--offline"])
    capsys.readouterr()
    assert run_line(["check", "--offline", "--json"]) == 1
    assert (
        "nobody had a value of hy_spread_bp at the last evaluation"
        in json.loads(capsys.readouterr().out)["warnings"][0]
    )
