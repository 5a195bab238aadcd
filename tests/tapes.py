"""Loan tapes for tests and benchmarks: a CSV in thousands of dollars, percent and basis points, and its map."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np

from monitor.book import load_book
from monitor.large.cells import cells_of
from monitor.large.command import coin_impact
from monitor.large.solve import Work
from monitor.large.tape import Tape, load_map, read_tape
from monitor.stress.assumptions import Assumptions

BOOK = Path(__file__).parents[1] / "book"
AT = date(2026, 8, 13)
HEAD = (
    "LoanID,Borrower,Balance,Coupon,Margin,Maturity,Pays,Cash,CFADS,Contracted,Spot,Customer,Model,Units,Value,Cap,"
    "Coins,Floor"
)
MAP = """as_of: 2026-06-30
published: 2026-07-15
source: A warehouse tape
columns:
  loan: {column: LoanID}
  obligor: {column: Borrower}
  principal_usd: {column: Balance, unit: kusd}
  fixed_rate: {column: Coupon, unit: percent}
  margin: {column: Margin, unit: bp}
  maturity: {column: Maturity, format: "%d/%m/%Y"}
  amortisation: {column: Pays}
  cash_usd: {column: Cash, unit: kusd}
  cfads_12m_usd: {column: CFADS, unit: kusd}
  contracted_12m_usd: {column: Contracted, unit: kusd}
  spot_12m_usd: {column: Spot, unit: kusd}
  counterparty: {column: Customer}
  model: {column: Model}
  units: {column: Units, unit: count}
  unit_value_usd: {column: Value, unit: usd}
  ltv_max: {column: Cap, unit: percent}
  coins_free_btc: {column: Coins, unit: btc}
  liquidity_min_usd: {column: Floor, unit: kusd}
"""
#: a good line, to be changed field by field
LINE = {
    "LoanID": "L1", "Borrower": "Acme", "Balance": "500,000", "Coupon": "8", "Margin": "", "Maturity": "15/01/2027",
    "Pays": "bullet", "Cash": "100000", "CFADS": "120000", "Contracted": "180000", "Spot": "60000",
    "Customer": "openai", "Model": "H100", "Units": "0", "Value": "", "Cap": "", "Coins": "", "Floor": "",
}  # fmt: skip


def written(folder: Path, *lines: dict[str, str], name: str = "tape.csv") -> tuple[Path, Path]:
    """A tape of these lines, each a change of the good one, and its map."""
    rows = [",".join(f'"{(LINE | line)[column]}"' for column in HEAD.split(",")) for line in lines]
    (folder / name).write_text("\n".join([HEAD, *rows]) + "\n", "utf-8")
    (folder / "map.yaml").write_text(MAP, "utf-8")
    return folder / name, folder / "map.yaml"


def read(folder: Path, *lines: dict[str, str]) -> Tape:
    """The same, read."""
    tape, map_ = written(folder, *lines)
    return read_tape(tape, load_map(map_))


def random_lines(obligors: int, loans: int, seed: int = 1) -> list[dict[str, str]]:
    """Loans of obligors of all kinds, some near a breach and most not."""
    rng = np.random.default_rng(seed)
    own = []
    for _ in range(obligors):
        debt = float(rng.lognormal(11, 1))
        cfads = debt * rng.uniform(0.08, 0.4)
        own.append((debt, {
            "Cash": f"{debt * rng.uniform(0.02, 0.4):.0f}", "CFADS": f"{cfads:.0f}", "Contracted": f"{cfads * 1.2:.0f}",
            "Spot": f"{cfads * rng.uniform(0.1, 0.8):.0f}",
            "Customer": str(rng.choice(["openai", "meta", "", "a", "b"])),
            "Model": str(rng.choice(["H100", "H200", "B200", "A100"])), "Units": f"{debt * 1000 / 15000:.0f}",
            "Value": "22000", "Cap": "95",
        }))  # fmt: skip
    each = max(1, loans // obligors)
    found = []
    for i in range(loans):
        debt, fields = own[i % obligors]
        fixed = rng.random() < 0.5
        found.append(fields | {
            "LoanID": f"L{i}", "Borrower": f"Obligor {i % obligors:05d}", "Balance": f"{debt / each:.1f}",
            "Coupon": f"{rng.uniform(6, 12):.2f}" if fixed else "",
            "Margin": "" if fixed else f"{rng.uniform(300, 700):.0f}",
            "Maturity": f"{rng.integers(1, 28):02d}/{rng.integers(1, 13):02d}/{rng.integers(2027, 2033)}",
            "Pays": str(rng.choice(["bullet", "straight_line"])),
        })  # fmt: skip
    return found


def tape_for_a_book(seed: int) -> list[dict[str, str]]:
    """Obligors whose every figure a book can hold too: no machines, and straight lines that outlast the year."""
    rng, found = np.random.default_rng(seed), []
    for b in range(int(rng.integers(1, 6))):
        debt = float(rng.lognormal(12, 1))
        cfads = debt * rng.uniform(0.05, 0.35)
        own = {
            "Borrower": f"Obligor {b}", "Cash": f"{debt * rng.uniform(0.0, 0.3):.0f}", "CFADS": f"{cfads:.0f}",
            "Contracted": f"{cfads * rng.uniform(0.0, 1.5):.0f}", "Spot": f"{cfads * rng.uniform(0.0, 1.0):.0f}",
            "Customer": str(rng.choice(["openai", "meta", "", "a"])), "Coins": str(rng.choice(["", "100", "2000"])),
            "Floor": f"{debt * rng.uniform(0.0, 0.1):.0f}",
        }  # fmt: skip
        for i in range(int(rng.integers(1, 5))):
            straight, fixed = rng.random() < 0.4, rng.random() < 0.5
            year = int(rng.integers(2028, 2032)) if straight else 2027
            found.append(own | {
                "LoanID": f"L{b}-{i}", "Balance": f"{debt * rng.uniform(0.1, 0.5):.1f}",
                "Coupon": f"{rng.uniform(5, 12):.2f}" if fixed else "",
                "Margin": "" if fixed else f"{rng.uniform(300, 700):.0f}",
                "Maturity": f"{rng.integers(1, 28):02d}/{rng.integers(1, 13):02d}/{year}",
                "Pays": "straight_line" if straight else "bullet",
            })  # fmt: skip
    return found


def work_of(tape: Tape, paths: int, months: int = 12, seed: int = 1, driver: str = "numpy") -> Work:
    """The work of a tape at round prices, with the project's assumptions."""
    known = Assumptions.of(load_book(BOOK).assumptions)
    impact = coin_impact(known, 60_000.0)
    depth = {"H100": 20000.0, "H200": 15000.0, "B200": 15000.0, "A100": 20000.0}
    cells = cells_of(tape, AT, months, 0.04, depth, impact)
    return Work(cells, 60_000.0, 0.04, seed, paths, known, driver)  # type: ignore[arg-type]
