"""Speed of the stress core against named baselines, on the same work in one run.

    python bench/core.py [--quick]

A cell is one (row, path, period). Baselines: a plain Python loop and pandas groupby.apply (both on a sample, and said
so), and ``core_cell.c``, the same cell in C, compiled here with gcc. The forms take turns, and each is given by its
best turn, because a shared machine is slower at one moment than at another. Every form's answer is compared with the
numpy driver's.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # "numpy, one thread" must be one thread

import numpy as np
import pandas as pd

from monitor.stress import drivers
from monitor.stress.inputs import CellInputs, Factors
from monitor.stress.sides import Raw, Rows, Side, empty_side, rows_of, side_of

HERE = Path(__file__).parent
ROWS, PERIODS = 64, 8
C_FLAGS = ["-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-fopenmp", "-shared", "-fPIC"]


def case(n_paths: int, seed: int = 7) -> tuple[CellInputs, Factors]:
    """64 obligors, 8 quarters, 4 models: all hold coins and 2 contracts, a quarter a coin loan, a fifth a maturity."""
    g, b, t, s = np.random.default_rng(seed), ROWS, PERIODS, n_paths
    size = 400 * np.exp(g.normal(0, 1, b))
    debt, mining, loan = size * g.uniform(0.3, 1, b), size * g.uniform(0.02, 0.12, b), size * 0.2 * (g.random(b) < 0.25)
    bullet = np.zeros((b, 1, t))
    bullet[:, 0, -1] = debt * 0.5 * (g.random(b) < 0.2)
    inputs = CellInputs.build(
        b, t, n_models=4, n_counterparties=6, n_debts=1, dt_years=0.25, ltv_basis="liquidation",
        mining_usd=mining, contracted_usd=size[:, None] * 0.03 * (g.random((b, 6)).argsort(1) < 2),
        in_force=np.maximum(0, 1 - np.arange(t) / g.integers(4, 24, b)[:, None])[:, None],
        spot_usd=size[:, None] * g.dirichlet(np.ones(4), b) * 0.06, power_usd=mining * g.uniform(0.4, 0.7, b),
        opex_usd=size[:, None] * g.uniform(0.01, 0.03, (b, 1)), cash_usd=size * g.uniform(0.05, 0.3, b),
        cash_floor_usd=size * 0.03, coins_free=size * g.uniform(0, 0.3, b) / 90, coin_impact=0.002,
        debt_usd=debt[:, None], floating_share=1, margin=g.uniform(0.02, 0.09, (b, 1)), secured=1,
        principal_usd=(debt * g.choice([0, 0.02, 0.05], b))[:, None, None], bullet_usd=bullet, refi_margin=0.08,
        units=size[:, None] * g.dirichlet(np.ones(4), b) * 0.9, unit_value_usd=1, depth_units=2000,
        coins_in_collateral=1, dscr_min=g.choice([1.1, 1.2, 1.3], b), ltv_max=g.choice([0.6, 0.7, 0.8, 0.9], b),
        btc_loan_usd=loan, coins_pledged=loan / 40, margin_call_ltv=0.7, cure_ltv=0.6, liquidation_ltv=0.8,
        btc_loan_rate=0.1,
    )  # fmt: skip
    z = g.standard_normal((t, 3, s))
    walk = lambda x, scale, drift: np.exp(np.cumsum(scale * x + drift, 0))  # noqa: E731
    rental = 0.5 * z[:, 0] + 0.866 * z[:, 1]
    factors = Factors.build(
        t, s, n_models=4, n_counterparties=6, btc_usd=90 * walk(z[:, 0], 0.3, -0.045), btc_low=0.9,
        hashprice=walk(z[:, 0], 0.2, -0.05), rent=walk(rental, 0.12, -0.05)[:, None],
        residual=walk(z[:, 1], 0.08, -0.09)[:, None], utilisation=np.clip(0.85 + 0.05 * z[:, 1], 0.2, 1),
        power=walk(z[:, 2], 0.05, 0), base_rate=0.037 + 0.002 * np.cumsum(z[:, 2], 0), refi_open=(z[:, 1] > -1.5) * 1.0,
        liquidation_share=np.clip(0.6 + 0.1 * z[:, 1], 0.2, 0.95),
        contract_loss=np.repeat((z[:, 1] < -2)[:, None] * 1.0, 6, axis=1),
    )  # fmt: skip
    return inputs, factors


# ---------------------------------------------------------------- plain Python
def python_walk(r: dict[str, Any], paths: dict[str, Any], b: int, s: int) -> tuple[int, int, float, float, float]:
    """One row along one path in plain Python, over nested lists, doing only what this row needs."""
    cash, coins, pledged, loan = r["cash"][b], r["coins"][b], r["pledged"][b], r["loan"][b]
    rolled = rolled_secured = wcf = ws = 0.0
    first, code, low_cover, high_ltv, low_cash = PERIODS, 0, math.inf, 0.0, math.inf
    has_loan, floor, impact = loan > 0, r["floor"][b], r["impact"][b]
    for t in range(PERIODS):
        tb, growth, refi = r["periods"][t], paths["growth"][t][s], paths["refi"][t][s]
        cf, value = tb["flow_const"][b], tb["pool_const"][b]
        for k, weight in r["flow_terms"][t][b]:
            cf += weight * paths["flow"][t][k][s]
        for k, weight in r["pool_terms"][b]:
            value += weight * paths["pool"][t][k][s]
        coins *= growth
        interest = rolled * (paths["refi_dt"][t][s] + r["refi_margin_dt"][b]) + loan * r["loan_rate_dt"][b]
        unmet = False
        if has_loan:
            low, pledged, cure = paths["low"][t][s], pledged * growth, r["cure"][b]
            if loan > r["call"][b] * pledged * low:
                if loan <= r["liquidate"][b] * pledged * low:
                    posted = min(max(loan / (cure * low) - pledged, 0.0), coins)
                    pledged, coins = pledged + posted, coins - posted
                    paid = min(max(loan - cure * low * pledged, 0.0), max(cash, 0.0))
                    cash, loan = cash - paid, loan - paid
                short = loan - cure * low * pledged
                if short > 1e-12 * loan:
                    unmet, sold = True, min(short / (low * (1 - cure)), pledged)
                    cash, loan, pledged = (
                        cash + max(sold * low - loan, 0.0),
                        max(loan - sold * low, 0.0),
                        pledged - sold,
                    )
                    if pledged <= 0:
                        rolled, loan = rolled + loan, 0.0
        bullet = tb["bullet"][b]
        due = bullet * (1 - refi)
        rolled, rolled_secured = rolled + bullet * refi, rolled_secured + tb["bullet_secured"][b] * refi
        service = tb["service_const"][b] + tb["service_base"][b] * paths["base_dt"][t][s] + interest
        wcf, ws = wcf * tb["keep"][b] + cf, ws * tb["keep"][b] + service
        dscr = wcf / ws if ws > 0 else math.inf
        cash += cf - service - due + tb["cash_const"][b]
        if cash < floor:
            kept = 1 - min(impact * math.sqrt(floor - cash), 0.5)
            raised = min(floor, cash + coins * kept)
            coins, cash = max(coins - (raised - cash) / kept, 0.0), raised
        debt, value = tb["secured"][b] + rolled_secured, value + r["coin_weight"][b] * coins
        ltv = (debt / value if value else math.inf) if debt > 0 else 0.0
        if not code:
            code = (dscr < tb["dscr_level"][b]) + 2 * (ltv > r["ltv_level"][b]) + 4 * (cash < r["liquidity_level"][b])
            code += 8 * unmet + 16 * (cash < 0 and due > 0)
            if code:
                first = t
        low_cover, high_ltv, low_cash = min(low_cover, dscr), max(high_ltv, ltv), min(low_cash, cash)
    return first, code, low_cover, high_ltv, low_cash


def as_lists(inputs: CellInputs, factors: Factors) -> tuple[dict[str, Any], dict[str, Any]]:
    """The prepared sides as nested lists, in the order of the inputs; preparing them is not timed."""
    rows = rows_of(inputs)
    back = np.argsort(rows.order)
    r: dict[str, Any] = {n: a[back].tolist() for n, a in rows._asdict().items() if a.ndim == 1 and len(a) == ROWS}
    flat = {n: a[:, back] for n, a in rows._asdict().items() if a.ndim == 2 and a.shape == (PERIODS, ROWS)}
    r["periods"] = [{n: a[t].tolist() for n, a in flat.items()} for t in range(PERIODS)]
    terms = lambda weights: [[(k, w) for k, w in enumerate(row) if w] for row in weights.tolist()]  # noqa: E731
    r["flow_terms"], r["pool_terms"] = [terms(flow[back]) for flow in rows.flow], terms(rows.pool[back])
    buffers = empty_side(PERIODS, rows.flow.shape[2], rows.pool.shape[1], factors.n_paths)
    side = side_of(factors, inputs.dt_years, buffers, 1)
    return r, {n: a.tolist() for n, a in side._asdict().items()}


def pandas_walk(table: pd.DataFrame, r: dict[str, Any]) -> pd.Series:
    """The same, as people write it first: a long table, one group per (row, path), a function applied to each."""

    def one(group: pd.DataFrame) -> pd.Series:
        values = {n: [[v] for v in group[n]] for n in ("growth", "low", "base_dt", "refi_dt", "refi")}
        for wide in ("flow", "pool"):
            names = [n for n in group.columns if n.startswith(wide)]
            values[wide] = [[[v] for v in line] for line in group[names].to_numpy().tolist()]
        return pd.Series(python_walk(r, values, int(group["row"].iloc[0]), 0))

    return table.groupby(["row", "path"])[list(table.columns)].apply(one)


def long_table(paths: dict[str, Any], n_rows: int, n_paths: int) -> pd.DataFrame:
    """Rows x paths x periods as a long table."""
    lines = []
    for b in range(n_rows):
        for s in range(n_paths):
            for t in range(PERIODS):
                line = {"row": b, "path": s}
                line |= {n: paths[n][t][s] for n in ("growth", "low", "base_dt", "refi_dt", "refi")}
                line |= {
                    f"{wide}{k}": column[s] for wide in ("flow", "pool") for k, column in enumerate(paths[wide][t])
                }
                lines.append(line)
    return pd.DataFrame(lines)


# ---------------------------------------------------------------- C
class CForm:
    """core_cell.c in the place of the compiled kernel: same preparation, same output arrays."""

    def __init__(self, folder: str):
        library = str(Path(folder) / "core_cell.so")
        subprocess.run(["gcc", *C_FLAGS, str(HERE / "core_cell.c"), "-o", library, "-lm"], check=True)
        self.cell, self.openmp = ctypes.CDLL(library), ctypes.CDLL("libgomp.so.1")
        pointers = [n for n in Rows._fields if n not in ("order", "counts", "flow", "pool")]
        pointers.sort(key=C_ORDER.index)
        extra = ["order", "counts", "flow_columns", "pool_columns", "flow_weights", "pool_weights"]
        self.names = pointers
        self.rows_type = _struct([*"TBK", "M2", "P", "Q"], [*extra, *pointers], [])
        self.side_type = _struct([], list(Side._fields), ["width"])
        self.out_type = _struct([], list(Raw._fields), ["width"])

    def run(self, inputs: CellInputs, factors: Factors, threads: int) -> drivers.Summary:
        """What drivers.run does, with the C kernel in the place of the compiled one."""
        from monitor.stress.compiled_driver import PATHS, _terms

        self.openmp.omp_set_num_threads(threads)
        rows, n = rows_of(inputs), factors.n_paths
        terms, pools, raw = _terms(rows.flow), _terms(rows.pool[None]), drivers._empty(len(rows.cash), n)
        sizes = (*rows.flow.shape, rows.pool.shape[1], terms.columns.shape[1], pools.columns.shape[1])
        first = (rows.order, rows.counts, terms.columns, pools.columns, terms.weights, pools.weights)
        c_rows = self.rows_type(*sizes, *(a.ctypes.data for a in (*first, *(getattr(rows, n) for n in self.names))))
        size = min(4096, -(-n // PATHS) * PATHS)  # large chunks: C shares out the blocks inside one
        buffers = empty_side(rows.flow.shape[0], rows.flow.shape[2], rows.pool.shape[1], size)
        c_side, c_out = (kind(*(a.ctypes.data for a in arrays), width) for kind, arrays, width in (
            (self.side_type, buffers, size), (self.out_type, raw, n)))  # fmt: skip
        for start in range(0, n, size):
            stop = min(start + size, n)
            side_of(factors.part(start, stop), inputs.dt_years, buffers, PATHS)
            at = (ctypes.c_long(stop - start), ctypes.c_long(start))
            self.cell.over_blocks(ctypes.byref(c_rows), ctypes.byref(c_side), *at, ctypes.byref(c_out))
        return drivers._summary(inputs, raw)


#: the order of the pointers in core_cell.c
C_ORDER = [
    "flow_const", "pool_const", "service_const", "service_base", "cash_const", "bullet", "bullet_secured",
    "secured", "loan_due", "keep", "drop_cf", "drop_service", "dscr_level", "dscr_counts", "window_cf",
    "window_service", "cash", "floor", "coins", "impact", "pledged", "loan", "loan_rate_dt", "refi_margin_dt",
    "call", "cure", "liquidate", "sell_all", "coin_weight", "ltv_level", "liquidity_level", "call_level",
    "maturity_level", "margin_scale", "margin_offset",
]  # fmt: skip


def _struct(before: list[str], pointers: list[str], after: list[str]) -> type[ctypes.Structure]:
    members = [*((n, ctypes.c_long) for n in before), *((n, ctypes.c_void_p) for n in pointers)]
    return type("Struct", (ctypes.Structure,), {"_fields_": [*members, *((n, ctypes.c_long) for n in after)]})


# ---------------------------------------------------------------- the run
def take_turns(forms: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Best seconds of each form; the forms alternate so that a slow moment hits all of them.

    Forms on one thread are timed by the processor time they used, so that other work on the machine counts less;
    forms on several threads by the clock on the wall.
    """
    best = dict.fromkeys(forms, math.inf)
    for _ in range(turns):
        for name, form in forms.items():
            clock = time.perf_counter if name.endswith("threads") else time.process_time
            start = clock()
            form()
            best[name] = min(best[name], clock() - start)
    return best


def slow_forms(n_paths: int = 16) -> dict[str, tuple[Callable[[], object], int]]:
    """The Python loop and pandas on a sample of the case: name -> (form, cells). The loop's answer is checked first."""
    inputs, factors = case(n_paths)
    r, paths = as_lists(inputs, factors)
    table = long_table(paths, 8, 3)
    loop = lambda: [[python_walk(r, paths, b, s) for s in range(n_paths)] for b in range(ROWS)]  # noqa: E731
    expected = drivers.run(inputs, factors, "numpy")
    for b, row in enumerate(loop()):
        for s, (first, code, cover, ltv, cash) in enumerate(row):
            assert (first, code) == (expected.first[b, s], expected.code[b, s]), "the Python loop disagrees"
            got, want = (cover, ltv, cash), (expected.min_dscr[b, s], expected.max_ltv[b, s], expected.min_cash[b, s])
            assert np.allclose(got, want, rtol=1e-9), "the Python loop disagrees"
    return {
        "Python loop": (loop, ROWS * n_paths * PERIODS),
        "pandas groupby.apply": (lambda: pandas_walk(table, r), 8 * 3 * PERIODS),
    }


def measure(n_paths: int, turns: int, c_form: CForm | None) -> dict[str, float]:
    """Cells per second: the slow forms on their sample, the drivers and C on the whole case, all taking turns.

    Every fast form's answer is compared with the numpy driver's first.
    """
    inputs, factors = case(n_paths)
    fast: dict[str, Callable[[], drivers.Summary]] = {"numpy, 1 thread": lambda: drivers.run(inputs, factors, "numpy")}
    if importlib.util.find_spec("numba"):
        for n in [n for n in (1, 2) if n <= (os.cpu_count() or 1)]:
            fast[f"compiled, {n} thread{'s'[: n - 1]}"] = lambda n=n: drivers.run(inputs, factors, "compiled", n)
            if c_form:
                fast[f"C, {n} thread{'s'[: n - 1]}"] = lambda n=n: c_form.run(inputs, factors, n)
    expected = fast["numpy, 1 thread"]()
    for name, form in fast.items():
        agreement = drivers.compare(expected, form())
        good = agreement.worst < 1e-12 and not agreement.wrong and agreement.known_equal
        assert good, f"{name}: {agreement}"
    slow = slow_forms()
    best = take_turns({name: form for name, (form, _) in slow.items()} | fast, turns)
    cells = {name: count for name, (_, count) in slow.items()}
    return {name: cells.get(name, ROWS * n_paths * PERIODS) / seconds for name, seconds in best.items()}


def main() -> None:
    """Print the table and the ratios beside their aims; a missed aim is said, it is not an error."""
    parser = argparse.ArgumentParser(description="Speed of the stress core against a Python loop, pandas and C.")
    parser.add_argument("--quick", action="store_true", help="fewer turns, and 8,192 paths in the place of 65,536")
    quick = parser.parse_args().quick
    large = 8_192 if quick else 65_536
    with tempfile.TemporaryDirectory() as folder:
        c_form = CForm(folder) if shutil.which("gcc") and importlib.util.find_spec("numba") else None
        small = measure(2_048, 5 if quick else 21, c_form)
        big = measure(large, 2 if quick else 5, c_form)
    print(f"{'million cells a second':<40}{f'{ROWS} x 2,048 x {PERIODS}':>18}{f'{ROWS} x {large:,} x {PERIODS}':>20}")
    for name, rate in small.items():
        sampled = " (from a sample)" if name in ("Python loop", "pandas groupby.apply") else ""
        print(f"{name + sampled:<40}{rate / 1e6:>18.4g}{big[name] / 1e6:>20.4g}")
    verdict(small, big)


def verdict(small: dict[str, float], big: dict[str, float]) -> None:
    """The ratios beside their aims."""

    def line(text: str, ratio: float, aim: float) -> None:
        print(f"{text:<58}{ratio:>8.2f}   aim at least {aim:g}: {'met' if ratio >= aim else 'MISSED'}")

    loop, one = "Python loop", "numpy, 1 thread"
    print()
    line("numpy / Python loop, smaller size", small[one] / small[loop], 60)
    line("numpy / Python loop, larger size", big[one] / big[loop], 60)
    line(
        "numpy, smaller of the two sizes / larger of them", min(small[one], big[one]) / max(small[one], big[one]), 0.85
    )
    for name in small:
        if name.startswith("C,"):
            mine = name.replace("C,", "compiled,")
            line(f"compiled / {name}, smaller size", small[mine] / small[name], 0.6)
            line(f"compiled / {name}, larger size", big[mine] / big[name], 0.6)
    if not any(name.startswith("C,") for name in small):
        print("compiled and C: not measured (numba or gcc is missing)")


if __name__ == "__main__":
    main()
