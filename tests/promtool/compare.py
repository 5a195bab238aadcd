"""Our alert states beside Prometheus', on the same rules and series, in one run: ``make promtool``.

    python tests/promtool/compare.py [--cases N] [--seed S] [--keep DIR]

First the recorded conformance cases, where they lie beside this checkout: each is translated into one of our YAML
tests, which then runs here, while promtool runs the original. Then random rules and series: our states are written
down as what promtool must find after exporting the same rules, and every disagreement is printed.

Named differences, left out of the random cases or counted apart:
 - a comparison with NaN: false there (``!=`` true), unknown here, so the random series have no NaN, only gaps, and
   two numbers that may be infinite are never subtracted;
 - of facilities only some of which are known the worst known one counts there; here the worst may be unknown, so the
   facilities of one borrower have their gaps together;
 - missing data resolves there; here that is ``on_missing: ok``, which every case uses;
 - an unknown ``clear`` reads as not cleared here and as cleared there, so ``clear`` names what ``expr`` names;
 - with both ``clear`` and ``keep_firing_for`` a return into the band between the lines restarts their window;
 - a value inside a label makes a new alert there; here an alert is known by rule and subject alone.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from monitor.model import Rule
from monitor.promrules import export_rules
from monitor.rules import CompiledRule, compile_rules
from monitor.ruletests import load_tests, run_test
from monitor.units import parse_duration_s
from monitor.values import NameInfo

ROOT = Path(__file__).resolve().parents[2]
CONFORMANCE = ROOT.parent / "shared" / "conformance"
#: cases that differ on purpose -> our state, and why
DIFFERENT = {
    "NotANumberNeg": ("ok", "a comparison with an unknown is unknown, even !="),
    "ValueInLabel": ("firing", "an alert is known by rule and subject, its texts do not end it"),
}
#: they look five minutes back for a sample
LOOK_BACK = 5


# ---------------------------------------------------------------- the recorded cases
def expand(values: str) -> list[str]:
    """Their series notation as one word per minute."""
    words: list[str] = []
    for word in values.split():
        found = re.fullmatch(r"(.+?)x(\d+)", word)
        if found is None:
            words.append(word)
        elif found[1] == "_":
            words += ["_"] * int(found[2])
        else:
            words += [found[1]] * (int(found[2]) + 1)
    return words


def seen(words: Sequence[str], minutes: int) -> list[float]:
    """What a query sees each minute: the last sample within five minutes, NaN where there is none."""
    out = []
    for minute in range(minutes + 1):
        value = float("nan")
        for back in range(LOOK_BACK + 1):
            word = words[minute - back] if 0 <= minute - back < len(words) else "_"
            if word != "_":
                value = float("nan") if word == "stale" else float(word)
                break
        out.append(value)
    return out


def word_of(value: float) -> str:
    """A number in our notation."""
    if np.isnan(value):
        return "null"
    return {np.inf: "unlimited", -np.inf: "-unlimited"}.get(value) or repr(float(value))


@dataclass(frozen=True)
class Case:
    """One of their rules in our words: the rule, its values, and the states they expect."""

    rule: Rule
    values: list[float]
    expect: dict[int, str]


def recorded_cases() -> Iterator[Case]:
    """Translate what lies in the conformance folder."""
    rules = yaml.safe_load((CONFORMANCE / "rules.yml").read_text())["groups"][0]["rules"]
    test = yaml.safe_load((CONFORMANCE / "test.yml").read_text())["tests"][0]
    series = {one["series"].partition(",miner")[0]: expand(one["values"]) for one in test["input_series"]}
    expected: dict[str, dict[int, str]] = {}
    for check in test["promql_expr_test"]:
        named = re.search(r'alertname="(\w+)"', check["expr"])
        if named and check["expr"].startswith("ALERTS"):
            states = [re.search(r'alertstate="(\w+)"', one.get("labels", "")) for one in check["exp_samples"]]
            state = next((found[1] for found in states if found), "ok")
            expected.setdefault(named[1], {})[int(check["eval_time"].removesuffix("m"))] = state
    for spec in rules:
        name, expr = spec["alert"], spec["expr"]
        minutes = max(expected.get(name, {0: ""}))
        columns = [seen(series[found], minutes) for found in re.findall(r'\w+\{case="\w+"', expr)]
        values, line = columns[0], expr.rpartition("}")[2].strip()
        if expr.startswith("absent("):
            values, line = [1.0 if np.isnan(value) else 0.0 for value in values], "> 0"
        elif len(columns) == 2:
            values = [a / b for a, b in zip(*columns, strict=True)]
        rule = Rule(name, f"value {line}", "warning", "market", for_s=parse_duration_s(spec.get("for", "0")),
                    keep_firing_for_s=parse_duration_s(spec.get("keep_firing_for", "0")), on_missing="ok")  # fmt: skip
        yield Case(rule, values, expected.get(name, {}))


def compare_recorded(folder: Path) -> bool:
    """Run theirs with promtool and ours with our own runner; print how many states agree."""
    if not CONFORMANCE.is_dir():
        print("recorded cases: none beside this checkout")
        return True
    for name in ("rules.yml", "test.yml"):
        shutil.copy(CONFORMANCE / name, folder / name)
    theirs = promtool(folder / "test.yml")
    cases = list(recorded_cases())
    compiled = compile_rules([case.rule for case in cases], {"value": NameInfo("market", "number")}, ())
    written = [
        {
            "test": case.rule.id,
            "rule": case.rule.id,
            "every": "1m",
            "values": {"value": " ".join(map(word_of, case.values))},
            "expect": {f"{minute}m": state for minute, state in case.expect.items()},
        }
        for case in cases
        if case.expect
    ]
    (folder / "ours.yaml").write_text(yaml.safe_dump(written, sort_keys=False))
    agree = differ = 0
    wrong = []
    for test in load_tests([folder / "ours.yaml"], compiled):
        states = run_test(test).states["market"]
        for one in test.expected:
            ours = {"recovering": "firing"}.get(states[one.place], states[one.place])
            if ours == one.state:
                agree += 1
            elif DIFFERENT.get(test.name, ("",))[0] == ours:
                differ += 1
                print(
                    f"  on purpose: {test.name} at {one.place}m: {ours}, theirs {one.state}: {DIFFERENT[test.name][1]}"
                )
            else:
                wrong.append(f"{test.name} at {one.place}m: ours {ours}, theirs {one.state}")
    print(f"recorded cases: promtool {'passes' if not theirs else 'FAILS'} on the originals; ", end="")
    print(f"{agree} states agree, {differ} differ on purpose, {len(wrong)} wrong")
    print("".join(f"  WRONG {text}\n" for text in [*wrong, *theirs[:10]]), end="")
    return not wrong and not theirs


# ---------------------------------------------------------------- random cases
NAMES = {
    "price": NameInfo("market", "number"),
    "debt": NameInfo("borrower", "number"),
    "cash": NameInfo("borrower", "number", "min"),
    "size": NameInfo("borrower", "number"),
    "ltv": NameInfo("facility", "number"),
    "dscr": NameInfo("facility", "number", "min"),
}
LEVELS = {"market": ("price",), "borrower": ("debt", "cash", "size"), "facility": ("ltv", "dscr")}
#: may be infinite, so it is only compared
ENDLESS = "size"
SUBJECTS = {"market": ("market",), "borrower": ("acme", "bolt"), "facility": ("acme/one", "acme/two", "bolt/one")}
MINUTES = 18
SIGNS = (">", ">=", "<", "<=", "==", "!=")


class Random:
    """Rules and series from a seed."""

    def __init__(self, seed: int):
        self.g = np.random.default_rng(seed)

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.g.integers(len(options)))]

    def number(self, level: str, names: Sequence[str]) -> str:
        name = self.pick(names)
        kind = self.g.random()
        if kind < 0.6:
            return str(name)
        if kind < 0.75:
            return f"{name} {self.pick('+-*')} {self.pick((0.5, 1, 2))}"
        if kind < 0.9:
            finite = [other for other in names if other != ENDLESS]
            return f"{self.pick(finite)} {self.pick('+-*')} {self.pick(finite)}"
        return f"abs({name} - {self.pick((1, 2))})"

    def comparison(self, level: str, names: Sequence[str]) -> str:
        left, sign = self.number(level, names), self.pick(SIGNS)
        right = self.number(level, names) if self.g.random() < 0.2 else str(self.pick((1, 1.5, 2, 3)))
        return f"{left} {sign} {right}"

    def condition(self, level: str, names: Sequence[str], depth: int = 2) -> str:
        kind = self.g.random()
        if depth == 0 or kind < 0.45:
            return self.comparison(level, names)
        if kind < 0.55:
            return f"not ({self.condition(level, names, depth - 1)})"
        joins = f" {self.pick(('and', 'or'))} "
        return joins.join(f"({self.condition(level, names, depth - 1)})" for _ in range(2))

    def rule(self, index: int) -> Rule:
        level = self.pick(tuple(LEVELS))
        own = LEVELS[level]
        # a market price beside the rule's own level, in arithmetic or joined by `and`
        names = (*own, "price") if level != "market" and self.g.random() < 0.3 else own
        expr = self.condition(level, own)
        if len(names) > len(own):
            expr = f"({expr}) and {own[0]} * price {self.pick(SIGNS)} {self.pick((2, 3, 4))}"
        if level == "borrower" and self.g.random() < 0.3:
            expr = f"({expr}) {self.pick(('and', 'or'))} {self.pick(LEVELS['facility'])} {self.pick(SIGNS)} 1.5"
        clear, keep = None, 60.0 * self.pick((0, 0, 1, 2, 4))
        if self.g.random() < 0.3:
            name, up = self.pick(own), self.g.random() < 0.5
            expr, clear = (f"{name} > 2", f"{name} < 1.5") if up else (f"{name} < 1", f"{name} >= 2")
            keep = 0.0
        return Rule(f"R{index}", expr, "warning", level, clear, for_s=60.0 * self.pick((0, 0, 1, 2, 3, 5)),
                    keep_firing_for_s=keep, on_missing="ok", logic_hash="x")  # fmt: skip

    def series(self, endless: bool, gaps: Sequence[bool]) -> list[float]:
        """One value a minute; values repeat, sit on the lines that are compared with, and sometimes are missing."""
        out, value = [], 1.0
        choices = (0, 0.5, 1, 1.5, 2, 2.5, 3, -1) + ((np.inf, -np.inf) if endless else ())
        for gap in gaps:
            if self.g.random() < 0.5:
                value = float(self.pick(choices))
            out.append(np.nan if gap else value)
        return out

    def book(self) -> Book:
        """Series for every metric and subject."""
        values: dict[str, dict[str, list[float]]] = {}
        for name, info in NAMES.items():
            gaps = {s.partition("/")[0]: (self.g.random(MINUTES + 1) < 0.08).tolist() for s in SUBJECTS[info.level]}
            rows = {s: self.series(name == ENDLESS, gaps[s.partition("/")[0]]) for s in SUBJECTS[info.level]}
            values[name] = rows
        return Book(values)


@dataclass(frozen=True)
class Book:
    """Series of one group of rules."""

    values: dict[str, dict[str, list[float]]]


def our_states(compiled: Sequence[CompiledRule], book: Book, folder: Path) -> dict[str, dict[str, list[str]]]:
    """Rule -> subject -> state after each minute, by our own test runner from our own YAML."""
    tests = []
    for one in compiled:
        names = dict.fromkeys([*one.expression.names, *(one.clear.names if one.clear else ())])
        values = {
            name: {subject: " ".join(map(word_of, words)) for subject, words in book.values[name].items()}
            for name in names
        }
        tests.append(
            {
                "test": one.rule.id,
                "rule": one.rule.id,
                "every": "1m",
                "values": values,
                "expect": {f"{MINUTES}m": "ok"},
            }
        )
    (folder / "random.yaml").write_text(yaml.safe_dump(tests, sort_keys=False))
    results = map(run_test, load_tests([folder / "random.yaml"], compiled))
    return {
        result.test.name: {subject: list(states) for subject, states in result.states.items()} for result in results
    }


def labels(subject: str) -> str:
    """A subject as labels."""
    if subject == "market":
        return ""
    borrower, _, facility = subject.partition("/")
    return f'borrower="{borrower}"' + (f',facility="{facility}"' if facility else "")


def promtool_files(compiled: Sequence[CompiledRule], book: Book, folder: Path) -> tuple[int, int, list[str]]:
    """Write rules, series and our states as expectations; (rules, states, reasons of rules left out)."""
    export = export_rules(compiled)
    (folder / "rules.yml").write_text(export.text)
    states = our_states(compiled, book, folder)
    series = [
        {"series": f"canary_{name}{{{labels(subject)}}}", "values": " ".join(prom_word(v) for v in values)}
        for name, rows in book.values.items()
        for subject, values in rows.items()
    ]
    checks, count = [], 0
    for name in export.rules:
        for minute in range(MINUTES + 1):
            samples = []
            for subject, lived in states[name].items():
                state = {"recovering": "firing"}.get(lived[minute], lived[minute])
                count += 1
                if state != "ok":
                    own = f",{labels(subject)}" if labels(subject) else ""
                    text = f'ALERTS{{alertname="{name}",alertstate="{state}",severity="warning"{own}}}'
                    samples.append({"labels": text, "value": 1})
            query = f'ALERTS{{alertname="{name}"}}'
            checks.append({"expr": query, "eval_time": f"{minute}m", "exp_samples": samples})
    test = {"rule_files": ["rules.yml"], "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": checks}]}  # fmt: skip
    (folder / "test.yml").write_text(yaml.safe_dump(test, sort_keys=False, width=1000))
    return len(export.rules), count, [f"{one.rule}: {one.reason}" for one in export.left]


def prom_word(value: float) -> str:
    """A number in their notation; a gap is a staleness mark, so that it is one at once."""
    if np.isnan(value):
        return "stale"
    return {np.inf: "+Inf", -np.inf: "-Inf"}.get(value) or repr(float(value))


def compare_random(folder: Path, cases: int, seed: int, group: int = 50) -> bool:
    """Random rules in groups that share their series; print how many states agree."""
    rules = states = left = 0
    wrong: list[str] = []
    for start in range(0, cases, group):
        made = Random(seed + start)
        book = made.book()
        compiled = compile_rules([made.rule(i) for i in range(min(group, cases - start))], NAMES, ())
        here = folder / f"random-{start}"
        here.mkdir()
        some, counted, reasons = promtool_files(compiled, book, here)
        rules, states, left = rules + some, states + counted, left + len(reasons)
        wrong += [f"seed {seed + start}: {text}" for text in promtool(here / "test.yml")]
    print(f"random cases: {rules} rules, {states} states compared, {len(wrong)} disagreements; ", end="")
    print(f"{left} rules not expressible")
    print("".join(f"  WRONG {text}\n" for text in wrong[:10]), end="")
    return not wrong


def promtool(test: Path) -> list[str]:
    """What promtool finds wrong, one text per failed check; empty when everything holds."""
    command = ["promtool", "test", "rules", test.name]
    done = subprocess.run(command, cwd=test.parent, capture_output=True, text=True, timeout=600)
    if done.returncode == 0:
        return []
    text = done.stdout + done.stderr
    failed = [
        " ".join(part.split()) for part in re.findall(r"expr: \"?ALERTS.*?(?=expr: \"?ALERTS|\Z)", text, re.DOTALL)
    ]
    return failed or [" ".join(text.split())[:2000]]


def main() -> int:
    """0 when everything agrees or promtool is not installed, 1 otherwise."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--cases", type=int, default=200, help="random rules")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", type=Path, help="write the files here and leave them")
    chosen = options.parse_args()
    if shutil.which("promtool") is None:
        print("promtool is not installed (Debian: apt install prometheus); nothing compared")
        return 0
    version = subprocess.run(["promtool", "--version"], capture_output=True, text=True)
    print((version.stdout + version.stderr).splitlines()[0])
    with tempfile.TemporaryDirectory(prefix="canary-promtool-") as made:
        folder = chosen.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        good = [compare_recorded(folder), compare_random(folder, chosen.cases, chosen.seed)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
