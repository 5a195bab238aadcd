"""Small books in the shape people write them, and the numbers they give: shared by the tests of the numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from monitor.book import load_book
from monitor.known import KnownBook, as_known
from monitor.metrics import compute
from monitor.model import Assumption, Numbers, Quote
from monitor.stress.scenario import Move, Scenario

ASSUMPTIONS = Path(__file__).parents[1] / "book" / "_assumptions.yaml"
AT = datetime(2026, 8, 13, tzinfo=UTC)
HEAD = "as_of: 2026-06-30, published: 2026-08-12, quality: filing, source: Form 10-Q"


@cache
def assumptions() -> tuple[Assumption, ...]:
    """The project's assumptions, read once."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "_assumptions.yaml").write_text(ASSUMPTIONS.read_text(encoding="utf-8"), encoding="utf-8")
        (Path(folder) / "nobody.yaml").write_text("name: Nobody\nkind: private\n", encoding="utf-8")
        return load_book(Path(folder)).assumptions


def known(texts: Mapping[str, str], at: datetime = AT) -> KnownBook:
    """Borrower texts by id, read as files, with the project's assumptions, as known at a moment."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            (Path(folder) / f"{name}.yaml").write_text(text, encoding="utf-8")
        return as_known(replace(load_book(Path(folder)), assumptions=assumptions()), at)


def quotes(at: datetime = AT, **series: float) -> dict[tuple[str, str], Quote]:
    """Market prices in force now."""
    return {(s, "market"): Quote(s, "market", value, "usd", at, at, "a venue") for s, value in series.items()}


def numbers(texts: Mapping[str, str], *scenarios: Scenario, at: datetime = AT, **series: float) -> Numbers:
    """Everything computed for these borrowers at these prices."""
    return compute(known(texts, at), quotes(at, **series), scenarios)


def scenario(name: str, **moves: float) -> Scenario:
    """A scenario of relative moves, ``btc=-0.4``."""
    return Scenario(name, tuple(Move(factor, "by", amount) for factor, amount in moves.items()))


def borrower(kind: str, facts: str = "", rest: str = "") -> str:
    """A borrower with one group of figures of June 2026."""
    group = f"facts: [{{{HEAD}, values: {{{facts}}}}}]\n" if facts else ""
    return f"name: A Borrower\nkind: {kind}\n{group}{rest}"


def debt(name: str, principal: str, kind: str = "term_loan", terms: str = "") -> str:
    """One instrument, as an entry of ``debts:``."""
    facts = f"facts: [{{{HEAD}, values: {{principal_usd: {principal}}}}}]"
    return f"  - {{id: {name}, name: {name}, kind: {kind}, {terms}{', ' if terms else ''}{facts}}}\n"


def pool(name: str, debts: str, kind: str, facts: str = "", terms: str = "") -> str:
    """One facility, as an entry of ``facilities:``."""
    group = f", facts: [{{{HEAD}, values: {{{facts}}}}}]" if facts else ""
    return f"  - {{id: {name}, name: {name}, debts: [{debts}], pool: {kind}{group}{', ' if terms else ''}{terms}}}\n"


COREWEAVE = borrower(
    "neocloud",
    "debt_usd: 35.551bn, cash_unrestricted_usd: 5.52bn, revenue_quarter_usd: 2.575bn, contracted_share: 96%, "
    "ebitda_adjusted_quarter_usd: 1.519bn, interest_quarter_usd: 0.64bn",
    f"""maturities:
  - {HEAD.replace(", ", chr(10) + "    ")}
    principal_usd:
      {{remaining_2026: 4.413bn, "2027": 6.184bn, "2028": 4.416bn,
        "2029": 2.421bn, "2030": 3.221bn, thereafter: 14.896bn}}
""",
)
MARA = borrower(
    "miner",
    "debt_usd: 2.4bn, debt_current_usd: 489.7m, cash_unrestricted_usd: 421.3m, btc_total: 35577, btc_free: 26307, "
    "btc_lent: 4742, btc_pledged: 4528, btc_restricted: 0",
    "debts:\n"
    + debt("notes-2026", "48.1m", "convertible", "coupon: 1%, maturity: 2026-12-01")
    + debt("line", "150m", "btc_loan", "recourse: full")
    + debt("notes-2031", "291.6m", "convertible", "coupon: 0%, maturity: 2031-06-01, puts: [{on: 2027-06-04}]")
    + "facilities:\n"
    + pool("line", "line", "coins", "coins_pledged_btc: 4528"),
)
IRIS = (
    "name: Iris Energy\nkind: miner\n"
    "debts:\n"
    "  - {id: rigs, name: Equipment loans, kind: equipment, recourse: none, entity: Two vehicles, facts: ["
    "{as_of: 2022-10-31, published: 2022-11-02, quality: filing, source: Form 6-K, values: {principal_usd: 103m}}]}\n"
    "facilities:\n"
    "  - {id: rigs, name: Vehicles, debts: [rigs], pool: hardware, entity: Two vehicles, facts: ["
    "{as_of: 2022-10-31, published: 2022-11-02, quality: filing, source: Form 6-K, "
    "values: {cfads_quarter_usd: 6m, service_quarter_usd: 21m, collateral_usd: %s}}]}\n"
)
