"""Write docs/rules from the rule files of this checkout, and the schema editors check them with.

``python docs/make_rules.py``
"""

from __future__ import annotations

import json
from pathlib import Path

from monitor.metrics import METRICS
from monitor.rulefile import load_rules, rule_schema
from monitor.rulepages import index_page, rule_page
from monitor.scenariofile import load_scenarios

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write one page a rule and the index; remove pages of rules that are gone."""
    scenarios = {scenario.name for scenario in load_scenarios(ROOT / "scenarios")}
    rules = load_rules(ROOT / "rules", METRICS, scenarios)
    folder = ROOT / "docs" / "rules"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {f"{rule.id}.md": rule_page(rule, rules) for rule in rules} | {"README.md": index_page(rules)}
    for page in folder.glob("*.md"):
        if page.name not in pages:
            page.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    schema = json.dumps(rule_schema(), indent=1, sort_keys=True) + "\n"
    (ROOT / "rules" / "rules.schema.json").write_text(schema, encoding="utf-8")
    print(f"{len(pages)} pages in {folder.relative_to(ROOT)}, and rules/rules.schema.json")


if __name__ == "__main__":
    main()
