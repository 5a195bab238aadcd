"""Speed of rules and alert states, beside Prometheus on the same shape in the same run where it is installed.

    python bench/rules.py [--quick] [--without-prometheus]

One cycle judges N rules ``m > line`` with ``for: 5m`` over 1,000 borrowers of which 1 % are above the line, states and
events included. Prometheus evaluates N rules over 1,000 scraped series; the duration of a group is its own figure, read
from its /metrics, so the scrape is not in it. Both are compared while the alerts wait. The lines all differ, so that
neither can answer two rules at once. The machine may be busier at one moment than at another: ours runs before and
after Prometheus, and each is given by its best cycle. Loading and checking is the whole way from YAML files to compiled
rules; beside it ``promtool check rules``.
"""

from __future__ import annotations

import argparse
import http.server
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from monitor.alerts import step
from monitor.model import AlertState, Column, Numbers
from monitor.rulefile import MAX_RULES, load_rules
from monitor.rules import CompiledRule, compile_rules, match
from monitor.values import NameInfo

BORROWERS = 1_000
TRUE_SHARE = 0.01
NAMES = {"m": NameInfo("borrower", "number")}
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PORTS = (19_490, 19_491)


def line(i: int) -> str:
    """The threshold of a rule: all differ, all lie between the two values."""
    return f"{0.5 + i * 1e-5:.5f}"


# ---------------------------------------------------------------- ours
def rule_files(folder: Path, n: int) -> list[Path]:
    """N rules as people write them, in as few files as may be."""
    files = []
    for start in range(0, n, MAX_RULES):
        text = "".join(
            f"- alert: R{i}\n  expr: m > {line(i)}\n  for: 5m\n  severity: warning\n"
            f'  summary: "{{borrower}} at {{m:.2f}}"\n  do: Look.\n'
            for i in range(start, min(start + MAX_RULES, n))
        )
        files.append(folder / f"{start}.yaml")
        files[-1].write_text(text)
    return files


def load(files: list[Path]) -> tuple[CompiledRule, ...]:
    """From files to compiled rules, every check included."""
    return compile_rules(load_rules(files, NAMES, ()), NAMES, ())


def numbers(at: datetime, values: np.ndarray) -> Numbers:
    """One metric of every borrower."""
    subjects = tuple(f"b{i}" for i in range(values.size))
    column = Column("m", "borrower", "number", values, ~np.isnan(values))
    return Numbers(at, {"market": ("market",), "borrower": subjects, "facility": ()}, {"m": column})


def cycles(rules: tuple[CompiledRule, ...], steady: int) -> dict[str, list[float]]:
    """Seconds of match and of step, by what happens in the cycle."""
    values = np.full(BORROWERS, 0.1)
    values[:: int(1 / TRUE_SHARE)] = 1.0
    plain = [compiled.rule for compiled in rules]
    states: dict[tuple[str, str], AlertState] = {}
    taken: dict[str, list[float]] = {}
    base = numbers(START, values)
    for minute in range(6 + steady):
        now = START + minute * MINUTE
        current = Numbers(now, base.subjects, base.columns)
        started = time.perf_counter()
        matches = match(rules, current)
        middle = time.perf_counter()
        states, events = step(plain, matches, states, now, last_tick_at=now - MINUTE)
        ended = time.perf_counter()
        kind = "begins" if minute == 0 else "waits" if minute < 5 else "fires" if minute == 5 else "stands"
        assert bool(events) == (kind in ("begins", "fires"))
        taken.setdefault(f"{kind}: match", []).append(middle - started)
        taken.setdefault(f"{kind}: states", []).append(ended - middle)
        taken.setdefault(kind, []).append(ended - started)
    assert len(states) == len(rules) * BORROWERS * TRUE_SHARE
    assert {state.state for state in states.values()} == {"firing"}
    return taken


# ---------------------------------------------------------------- Prometheus
def prometheus_rules(n: int) -> str:
    """The same rules for Prometheus."""
    body = "".join(
        f"  - alert: R{i}\n    expr: m > {line(i)}\n    for: 5m\n    labels: {{severity: warning}}\n"
        f"    annotations: {{summary: '{{{{ $labels.borrower }}}} at {{{{ $value }}}}'}}\n"
        for i in range(n)
    )
    return f"groups:\n- name: g\n  rules:\n{body}"


@contextmanager
def series() -> Iterator[None]:
    """The thousand series, on loopback."""
    every = int(1 / TRUE_SHARE)
    body = "".join(f'm{{borrower="b{i}"}} {0.1 if i % every else 1.0}\n' for i in range(BORROWERS)).encode()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORTS[1]), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def scraped(name: str, text: str) -> float:
    """One of Prometheus' own figures."""
    found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


def prometheus(n: int, folder: Path, interval_s: int, wanted: int, limit_s: float) -> list[float]:
    """Durations of its rule group, by its own account; the first two evaluations are warm-up and left out."""
    (folder / "rules.yml").write_text(prometheus_rules(n))
    (folder / "config.yml").write_text(
        f"global: {{scrape_interval: 5s, evaluation_interval: {interval_s}s}}\nrule_files: [rules.yml]\n"
        f"scrape_configs:\n- job_name: bench\n  static_configs: [{{targets: ['127.0.0.1:{PORTS[1]}']}}]\n"
    )
    command = ["prometheus", f"--config.file={folder}/config.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{PORTS[0]}", "--log.level=warn"]
    durations: list[float] = []
    with (folder / "log").open("w") as log, series():
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            last, deadline = 0.0, time.monotonic() + limit_s
            while len(durations) < wanted + 2 and time.monotonic() < deadline:
                time.sleep(0.5)
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{PORTS[0]}/metrics", timeout=30) as answer:
                        text = answer.read().decode()
                except OSError:  # not up yet
                    continue
                stamp = scraped("prometheus_rule_group_last_evaluation_timestamp_seconds", text)
                if stamp > 0 and stamp != last:
                    last = stamp
                    durations.append(scraped("prometheus_rule_group_last_duration_seconds", text))
        finally:
            process.terminate()
            process.wait(60)
    return durations[2:]


# ---------------------------------------------------------------- the report
def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def report_loading(folder: Path, n: int, installed: bool) -> tuple[CompiledRule, ...]:
    """Time from files to rules, beside promtool's check."""
    files = rule_files(folder, n)
    started = time.perf_counter()
    rules = load(files)
    ours = time.perf_counter() - started
    print(f"load and check {n:,} rules: {ours:.2f} s, {ours / n * 1e6:.0f} us a rule", end="")
    if installed:
        (folder / "check.yml").write_text(prometheus_rules(n))
        theirs = timed(
            lambda: subprocess.run(["promtool", "check", "rules", f"{folder}/check.yml"], capture_output=True)
        )
        print(f"; promtool check rules {theirs:.2f} s, {theirs / ours:.2f} of its time to one of ours", end="")
    print()
    return rules


def report_cycles(rules: tuple[CompiledRule, ...], folder: Path, installed: bool, interval_s: int) -> None:
    """Time of one evaluation, beside Prometheus' own figure."""
    n = len(rules)
    taken = cycles(rules, 5)
    theirs = prometheus(n, folder, interval_s, 3 if n <= 1_000 else 1, 420) if installed else []
    for kind, more in (cycles(rules, 5) if theirs else {}).items():
        taken[kind] += more
    alerts = n * BORROWERS * TRUE_SHARE
    print(f"{n:,} rules x {BORROWERS:,} borrowers, {alerts:,.0f} alerts; best and median of each kind of cycle:")
    for kind in ("begins", "waits", "fires", "stands"):
        best, middle = min(taken[kind]) * 1e3, statistics.median(taken[kind]) * 1e3
        ruled, stated = (min(taken[f"{kind}: {part}"]) * 1e3 for part in ("match", "states"))
        each = best * 1e6 / n / BORROWERS
        said = f"rules {ruled:.1f}, states {stated:.1f}; {each:.1f} ns a pair"
        print(f"  {kind:<7} {best:8.1f} ms {middle:8.1f} ms  ({said})")
    if theirs:
        best, middle = min(theirs) * 1e3, statistics.median(theirs) * 1e3
        print(f"  Prometheus {best:.1f} ms {middle:.1f} ms, {len(theirs)} evaluations while its alerts wait")
        print(f"  ratio to our best while they wait: {min(theirs) / min(taken['waits']):.0f}")
    elif installed:
        print("  Prometheus finished too few evaluations in time")


def main() -> None:
    """Print every figure and its ratio."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="1,000 rules only")
    options.add_argument("--without-prometheus", action="store_true")
    chosen = options.parse_args()
    there = shutil.which("prometheus") is not None and shutil.which("promtool") is not None
    installed = there and not chosen.without_prometheus
    if not there:
        print("Prometheus is not installed (Debian: apt install prometheus); our figures stand alone")
    for n, interval_s in ((1_000, 5),) if chosen.quick else ((1_000, 5), (10_000, 20)):
        with tempfile.TemporaryDirectory(prefix="canary-bench-") as made:
            rules = report_loading(Path(made), n, installed)
            report_cycles(rules, Path(made), installed, interval_s)


if __name__ == "__main__":
    main()
