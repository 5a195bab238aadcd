"""Rules written for Prometheus: the text, what is left out and why, and promtool's own word where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from desk import lay_desk
from rule_names import NAMES, SCENARIOS

from monitor.cli import run_line
from monitor.metrics import METRICS
from monitor.model import Rule
from monitor.promrules import export_rules, expression_of
from monitor.rulefile import load_rules
from monitor.rules import compile_rules
from monitor.scenariofile import load_scenarios

ROOT = Path(__file__).parents[1]
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")


def promql(expr: str, each: str = "borrower", clear: str | None = None) -> str:
    return expression_of(compile_rules([Rule("R", expr, "warning", each, clear)], NAMES, SCENARIOS)[0])


@pytest.mark.parametrize(
    ("expr", "each", "text"),
    [
        ("debt_usd > 1.5bn", "borrower", "canary_debt_usd > 1500000000"),
        ("cds_5y_bp > 5%", "borrower", "canary_cds_5y_bp > 500"),
        ("1.5bn < debt_usd", "borrower", "canary_debt_usd > 1500000000"),
        ("not debt_usd > 1bn", "borrower", "canary_debt_usd <= 1000000000"),
        ("not (tenant_critical and debt_usd > 1)", "borrower",
         "(canary_tenant_critical == 0) or on(borrower) (canary_debt_usd <= 1)"),
        ("debt_usd > net_debt_usd", "borrower", "canary_debt_usd > on(borrower) canary_net_debt_usd"),
        ("dscr < 1.0", "borrower", "min by (borrower) (canary_dscr) < 1"),
        ("ltv_economic > 90%", "borrower", "max by (borrower) (canary_ltv_economic) > 0.9"),
        ("interest_cover < 1 and btc_usd < 60k", "borrower",
         "(canary_interest_cover < 1) and on() (canary_btc_usd < 60000)"),
        ("ltv_economic > 90% and interest_cover < 1", "facility",
         "(canary_ltv_economic > 0.9) and on(borrower) (canary_interest_cover < 1)"),
        ("btc_usd / margin_call_btc_usd - 1 < 15%", "facility",
         "((canary_btc_usd / on() group_right() canary_margin_call_btc_usd) - 1) < 0.15"),
        ("change(coins_free, 90d) < -30%", "borrower",
         "(canary_coins_free / on(borrower) (canary_coins_free offset 7776000s > 0) - 1) < -0.3"),
        ("max_over(btc_usd, 1d) > 60k", "market", "max_over_time(canary_btc_usd[86400s]) > 60000"),
    ],
)  # fmt: skip
def test_how_a_condition_is_written(expr, each, text):
    """Each form of a condition in PromQL, with labels matched by name and the worst facility of a borrower."""
    labels = {"market": "", "borrower": " by (borrower) ", "facility": " by (borrower, facility) "}[each]
    assert promql(expr, each) == f"max{labels}({text})"


def test_a_recovery_threshold_is_written_with_the_alerts_own_state():
    """Once firing, it stays true until clear holds."""
    assert promql("debt_usd > 2bn", clear="debt_usd < 1bn") == (
        "max by (borrower) ((canary_debt_usd > 2000000000) or on(borrower) "
        '((canary_debt_usd >= 1000000000) and on(borrower) ALERTS{alertname="R", alertstate="firing"}))'
    )


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (Rule("R", "not known(debt_usd)", "info"), "a missing series has no labels"),
        (Rule("R", "age(debt_usd) > 9d", "info"), "an age needs the date of a figure"),
        (Rule("R", 'under("crypto_winter", ltv_economic) > 1', "info"), "scenarios are not series"),
        (Rule("R", "avg_over(btc_usd, 7d) < 1", "info", "market"), "count samples there"),
        (Rule("R", "rank(debt_usd) < 3", "info"), "rank() has no counterpart"),
        (Rule("R", "btc_usd < 60k", "info"), "its alerts would not carry one"),
        (Rule("R", "debt_usd > 1 or btc_usd < 60k", "info"), "would carry no subject"),
        (Rule("R", "change(dscr, 7d) < -1%", "info"), "no past of its own"),
        (Rule("R", "debt_usd > 1", "info", on_missing="alert"), "nobody knows whose it is"),
    ],
)
def test_what_cannot_be_said_there_is_left_out_with_the_reason(rule, reason):
    """A rule that would mean something else in Prometheus is not exported, and the reason is given."""
    export = export_rules(compile_rules([rule], NAMES, SCENARIOS))
    assert export.rules == ()
    assert reason in export.left[0].reason
    assert yaml.safe_load(export.text)["groups"][0]["rules"] == []


def test_texts_and_times_of_a_rule():
    """Waits, severity and texts are carried over; labels are filled in there, numbers named, texts quoted."""
    rule = Rule(
        "R", "debt_usd > 1bn", "critical", for_s=14 * 86400.0, keep_firing_for_s=3600.0,
        summary='{borrower}: "debt" {debt_usd:usd}', why="line\none: #x", do="look", runbook="https://example.org/r",
    )  # fmt: skip
    made = yaml.safe_load(export_rules(compile_rules([rule], NAMES, SCENARIOS), interval_s=900).text)["groups"][0]
    assert made["interval"] == "900s"
    written = made["rules"][0]
    assert (written["for"], written["keep_firing_for"]) == ("1209600s", "3600s")
    assert written["labels"] == {"severity": "critical"}
    assert written["annotations"] == {
        "summary": '{{ $labels.borrower }}: "debt" debt_usd',
        "description": "line\none: #x",
        "action": "look",
        "runbook_url": "https://example.org/r",
    }


def starter():
    scenarios = {scenario.name for scenario in load_scenarios(ROOT / "scenarios")}
    return compile_rules(load_rules(ROOT / "rules", METRICS, scenarios), METRICS, scenarios)


def test_every_starter_rule_is_exported_or_named():
    """Nothing is dropped in silence."""
    rules = starter()
    export = export_rules(rules)
    assert sorted([*export.rules, *(one.rule for one in export.left)]) == sorted(one.rule.id for one in rules)
    assert {"NonRecourseUnderwater", "Watchdog"} <= set(export.rules)


@needs_promtool
def test_promtool_accepts_the_starter_rules(tmp_path):
    """Prometheus' own checker reads what is exported."""
    (tmp_path / "rules.yml").write_text(export_rules(starter()).text)
    done = subprocess.run(["promtool", "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_states_agree_with_promtool():
    """The recorded cases and some random rules come to the same states here and there."""
    script = ROOT / "tests" / "promtool" / "compare.py"
    command = [sys.executable, str(script), "--cases", "25", "--seed", "77"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 disagreements" in done.stdout


def test_the_command(tmp_path, monkeypatch, capsys):
    """`canary rules export --prometheus` prints the file alone; what is left out goes to standard error."""
    monkeypatch.delenv("CANARY_CONFIG", raising=False)
    monkeypatch.chdir(lay_desk(tmp_path))
    blind = '- {alert: Blind, expr: not known(debt_usd), severity: info, summary: "x"}\n'
    (tmp_path / "rules" / "blind.yaml").write_text(blind)
    assert run_line(["rules", "export", "--prometheus"]) == 0
    out, err = capsys.readouterr()
    assert [rule["alert"] for rule in yaml.safe_load(out)["groups"][0]["rules"]] == ["LowCash"]
    assert "left out Blind: known(debt_usd)" in err
    assert run_line(["rules", "export", "--prometheus", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rules"] == ["LowCash"]
    assert run_line(["rules", "export"]) == 2
    assert "--prometheus" in capsys.readouterr().err
