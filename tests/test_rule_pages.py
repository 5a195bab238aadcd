"""The pages of the rules: each is made from its rule, and is up to date."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor.metrics import METRICS
from monitor.model import Proof, Rule
from monitor.rulefile import load_rules, rule_schema
from monitor.rulepages import index_page, rule_page
from monitor.scenariofile import load_scenarios

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "rules"
RULES = load_rules(ROOT / "rules", METRICS, {scenario.name for scenario in load_scenarios(ROOT / "scenarios")})
REMEDY = "run: python docs/make_rules.py"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_page_is_what_its_rule_says(rule):
    """The page of a rule in docs/rules is what rule_page makes of it now."""
    page = PAGES / f"{rule.id}.md"
    assert page.exists(), REMEDY
    assert page.read_text("utf-8") == rule_page(rule, RULES), REMEDY


def test_every_page_has_its_rule():
    """No page is left over from a rule that is gone, and the index lists all."""
    assert {page.stem for page in PAGES.glob("*.md")} == {"README", *(rule.id for rule in RULES)}, REMEDY
    assert (PAGES / "README.md").read_text("utf-8") == index_page(RULES), REMEDY


def test_a_page_reads_as_a_runbook():
    """Meaning, impact, what to look at first, when it is nothing, and the cases that prove it, in this order."""
    rule = Rule(
        "Thin", "dscr < 1.1 | x", "critical", "facility", clear="dscr > 1.3", for_s=86400.0, keep_firing_for_s=3600.0,
        inhibits=("Other",), summary="{borrower}: {dscr:.2f}", why="Cash is short.", do="Read it.",
        false_alarms="A lag.",
        proof=(Proof({"dscr": 1.0, "days": 2.0}, True), Proof({"dscr": None}, False)), file="/x/rules/a.yaml",
    )  # fmt: skip
    text = rule_page(rule, [rule, Rule("Other", "dscr < 1.2", "info", inhibits=("Thin",))])
    places = [
        text.index(part) for part in ("## Meaning", "## Impact", "## Diagnosis", "## When it is nothing", "## Cases")
    ]
    assert places == sorted(places)
    for says in (
        "holds for 24 h", "kept firing for 60 min", "dscr > 1.3", "makes Other redundant", "hidden while Other",
        "| dscr = 1, days = 2 | fires |", "| dscr = ? | stays quiet |",
    ):  # fmt: skip
        assert says in text
    assert "/x/" not in text


def test_the_schema_editors_use_is_the_one_the_loader_checks():
    """The shipped schema is generated from the code, and every rule file points at it."""
    shipped = json.loads((ROOT / "rules" / "rules.schema.json").read_text("utf-8"))
    assert shipped == rule_schema(), REMEDY
    for path in (ROOT / "rules").glob("*.yaml"):
        assert path.read_text("utf-8").startswith("# yaml-language-server: $schema=rules.schema.json\n"), path.name
