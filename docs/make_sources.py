"""Write docs/sources.md from the sources of this checkout: what each gives, in which unit, what it needs, its limits.

``PYTHONPATH=. python docs/make_sources.py``
"""

from __future__ import annotations

from pathlib import Path

from monitor.feeds import Feed, classes
from monitor.series import SERIES, max_age_s
from monitor.units import format_age

PAGE = Path(__file__).resolve().parent / "sources.md"
HEAD = """# Sources

Every source is one file in `monitor/feeds/`; this page is made from them (`docs/make_sources.py`). A value older than
its maximum age counts as unknown; on a business-day series (high-yield spread, SOFR, share prices) weekends and US
holidays do not age it. What a source answered is kept, bounded, beside what was read from it.

"Off" sources are switched on with the line `canary list feeds` shows. A key is never written into `config.yaml`: only
the name of an environment variable (`key_env`) or of a file (`key_file`). A source that refuses us (401, 403, 418, 429,
451) is left alone for as long as it asks, or two minutes doubling up to six hours; one that stays silent for two hours
is one `SourceStale` alert.

A value outside of what its series can be is refused, and where one other unit would explain it, that unit is named.
Raw offers (GPU-hours, tokens) have no second source: a provider that from one day on quotes cents, or the machine of
eight for one GPU, is kept out of the index with all its offers until the price returns. The reason stands beside the
source in `canary tick`, `/feeds` and the report, and under the panel in `canary trace rent_h100_on_demand_usd`. Share
prices are only read in dollars, and not for 90 days after a split.
"""
COLUMNS = ("source", "what", "unit", "needs", "asked", "limits", "maximum age")


def page() -> str:
    """The whole page."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(_row(source) for source in classes())]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    hosts = "".join(f"- {source.name}: {', '.join(source.hosts)}\n" for source in classes() if source.hosts)
    return f"{HEAD}\n{table}\n## Hosts\n\nNothing else is ever reached for data.\n\n{hosts}"


def _row(source: type[Feed]) -> tuple[str, ...]:
    specs = [SERIES[name] for name in source.series] if source.hosts else []
    units = ", ".join(sorted({spec.unit for spec in specs})) or "as written"
    ages = {max_age_s(spec, source.known_basis) for spec in specs if spec.unit != "flag"}
    age = format_age(min(ages)) + (f" to {format_age(max(ages))}" if len(ages) > 1 else "") if ages else "-"
    every = f"every {format_age(source.every.total_seconds())}" if source.every else "every evaluation"
    return (f"`{source.name}`", source.what, units, _needs(source), every, source.limits, age)


def _needs(source: type[Feed]) -> str:
    needs = {
        "a key": source.needs_key == "required",
        "a key, optional": source.needs_key == "optional",
        "a contact address": source.needs_contact,
        f"`{(source.needs_package or ('', ''))[1]}` extra": source.needs_package is not None,
        "off unless named": bool(source.off_unless_named),
    }
    return ", ".join(text for text, is_so in needs.items() if is_so) or "nothing"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{len(classes())} sources in {PAGE.name}")
