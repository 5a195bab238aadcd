"""A small desk for tests of the shell: one miner, one stub, one rule, recorded prices only."""

from __future__ import annotations

from pathlib import Path

CONFIG = "schedule: {every: 1h}\npaths: {state: ./state}\n"
MINER = """name: Alpha Mining
kind: miner
facts:
  - as_of: 2026-06-30
    published: 2026-08-12
    quality: filing
    source: Form 10-Q for the quarter ended 2026-06-30
    values: {debt_usd: 400m, cash_unrestricted_usd: 20m, btc_free: 100, btc_pledged: 2000}
"""
STUB = "name: Stub Cloud\nkind: neocloud\nstatus: insufficient_data\nmissing: [no filing was found]\n"
RULE = """- alert: LowCash
  expr: cash_unrestricted_usd < 50m
  severity: critical
  summary: "{borrower}: cash {cash_unrestricted_usd:usd} USD"
"""


def lay_desk(folder: Path) -> Path:
    """Write the desk into a folder and return the folder."""
    for name, text in (
        ("config.yaml", CONFIG),
        ("book/alpha.yaml", MINER),
        ("book/stub.yaml", STUB),
        ("rules/mine.yaml", RULE),
        ("scenarios/half.yaml", "name: half\nnote: Bitcoin halves\nmoves: [{factor: btc, by: -50%}]\n"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
