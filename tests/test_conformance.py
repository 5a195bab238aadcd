"""Alert states against cases written as data: our own, and Prometheus' where a set of them is at hand."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from monitor.alerts import step
from monitor.model import FALSE, TRUE, UNKNOWN, AlertState, Match, Rule
from monitor.units import parse_duration_s

HERE = Path(__file__).parent
THEIRS = Path(__file__).parents[1].parent / "shared" / "conformance"
T0 = datetime(2026, 1, 1, tzinfo=UTC)
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "!=": operator.ne,
}
CASES = yaml.safe_load((HERE / "conformance" / "states.yaml").read_text())


def truth(value: float, line: str) -> int:
    """A comparison with a number that is not one is unknown."""
    sign, limit = line.split()
    if math.isnan(value):
        return UNKNOWN
    return TRUE if OPERATORS[sign](value, float(limit)) else FALSE


def run(rule: Rule, values: list[float], line: str, clear: str | None = None) -> Iterator[str]:
    """The state after each minute."""
    states: dict[tuple[str, str], AlertState] = {}
    for minute, value in enumerate(values):
        now = T0 + timedelta(minutes=minute)
        seen = truth(value, line)
        cleared = truth(value, clear) if clear else {TRUE: FALSE, FALSE: TRUE}.get(seen, UNKNOWN)
        match = Match(rule, ("s",), np.array([seen], np.int8), np.array([cleared], np.int8))
        states, _ = step([rule], [match], states, now, last_tick_at=now - timedelta(minutes=1))
        found = states.get((rule.id, "s"))
        yield "ok" if found is None else found.state


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_our_cases(case: dict[str, Any]) -> None:
    """Each case of our own: the state after every minute."""
    rule = Rule(
        "R",
        f"x {case['line']}",
        "warning",
        clear=f"x {case['clear']}" if "clear" in case else None,
        for_s=parse_duration_s(case.get("for", "0")),
        keep_firing_for_s=parse_duration_s(case.get("keep_firing_for", "0")),
        on_missing=case.get("on_missing", "keep"),
    )
    values = [math.nan if word == "-" else float(word) for word in str(case["x"]).split()]
    assert list(run(rule, values, case["line"], case.get("clear"))) == case["states"].split()


# ---------------------------------------------------------------- theirs
#: where ours is not theirs on purpose -> what ours is in: a comparison with a number that is not one is unknown, and an
#: instance has no labels, so a text can neither end nor double one
DIFFERENT = {"NotANumberNeg": "ok", "ValueInLabel": "firing"}


def expand(text: str) -> list[str]:
    """Their series notation: values, ``0.5x3`` (one more than said), ``_x20`` missing, ``stale``."""
    words: list[str] = []
    for word in text.split():
        found = re.fullmatch(r"(.+?)x(\d+)", word)
        if found and found[1] == "_":
            words += ["_"] * int(found[2])
        elif found:
            words += [found[1]] * (int(found[2]) + 1)
        else:
            words.append(word)
    return words


def in_force(words: list[str], minute: int) -> float:
    """The value a query at this minute sees: the last one of the past five minutes, none after ``stale``."""
    for back in range(6):
        if 0 <= minute - back < len(words):
            word = words[minute - back]
            if word == "stale":
                return math.nan
            if word != "_":
                return float(word)
    return math.nan


def their_cases() -> list[tuple[str, int, str]]:
    """(alert, minute, state they expect) for every promtool check of one alert's state."""
    if not THEIRS.exists():
        return []
    tests = yaml.safe_load((THEIRS / "test.yml").read_text())["tests"][0]
    found = []
    for check in tests["promql_expr_test"]:
        if not check["expr"].startswith("ALERTS"):
            continue
        name = re.search(r'alertname="(\w+)"', check["expr"])
        assert name is not None
        states = [re.search(r'alertstate="(\w+)"', sample.get("labels", "")) for sample in check["exp_samples"]]
        state = states[0][1] if states and states[0] else "ok"
        found.append((name[1], int(check["eval_time"].removesuffix("m")), state))
    return found


def their_states(name: str, minutes: int) -> list[str]:
    """Our state machine on their rule and series, with their reading of missing data (it resolves)."""
    rules = yaml.safe_load((THEIRS / "rules.yml").read_text())["groups"][0]["rules"]
    series = yaml.safe_load((THEIRS / "test.yml").read_text())["tests"][0]["input_series"]
    spec = next(rule for rule in rules if rule["alert"] == name)
    words = {
        found[1] + found[2]: expand(one["values"])
        for one in series
        if (found := re.match(r'(\w+)\{case="(\w+)"', one["series"])) is not None
    }
    names = ["".join(found) for found in re.findall(r'(\w+)\{case="(\w+)"\}', spec["expr"])]
    values = [in_force(words[names[0]], minute) for minute in range(minutes + 1)]
    line = spec["expr"].rpartition("}")[2].strip()
    if len(names) == 2:
        line = re.sub(r"^/.*\}\s*", "", line)
        values = [value / in_force(words[names[1]], minute) for minute, value in enumerate(values)]
    if spec["expr"].startswith("absent("):
        values, line = [1.0 if math.isnan(value) else 0.0 for value in values], "> 0.5"
    rule = Rule(
        name,
        spec["expr"],
        "warning",
        for_s=parse_duration_s(spec.get("for", "0")),
        keep_firing_for_s=parse_duration_s(spec.get("keep_firing_for", "0")),
        on_missing="ok",
    )
    return list(run(rule, values, line))


@pytest.mark.skipif(not THEIRS.exists(), reason="the recorded promtool cases are not beside this checkout")
@pytest.mark.parametrize(("name", "minute", "expected"), their_cases())
def test_their_cases(name: str, minute: int, expected: str) -> None:
    """What promtool expects of an alert at a minute is what ours is in; recovering is what they still call firing."""
    ours = their_states(name, minute)[minute]
    assert {"recovering": "firing"}.get(ours, ours) == DIFFERENT.get(name, expected)
    assert name not in DIFFERENT or DIFFERENT[name] != expected


def test_missing_data_by_default_resolves_nothing() -> None:
    """Where theirs resolves an alert whose series vanished, ours by default keeps it and says its data is missing."""
    kept = Rule("R", "ltv > 0.8", "warning", for_s=60)
    assert list(run(kept, [0.9, 0.9, 0.9, math.nan], "> 0.8"))[-1] == "nodata"
