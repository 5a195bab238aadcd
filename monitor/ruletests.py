"""Tests of rules, written as YAML: values on a virtual clock in, alert states out; and what no test ever decided.

A file holds a list of tests. Values are written one per evaluation, in the units of rule texts::

    - test: a wait is served before it fires
      rule: HighLtv
      every: 1m
      values: {ltv_economic: 90%*3 null 50%}     # 90 % three times, then unknown, then 50 %
      expect: {0m: pending, 2m: firing, 3m: nodata, 4m: ok}

``null`` is unknown, ``_`` is no new value: the last one stands and grows older. After the last value nothing new comes.
A call as written in ``expr`` may be given instead of the past behind it, as in a proof. Where subjects differ, values
and states are given by subject: ``ltv_economic: {acme/one: 90%, acme/two: 50%}``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from pydantic import Field

from monitor.alerts import step
from monitor.conditions import Taken, compile_leaves, deciding, take_apart
from monitor.expression import Expression, canonical
from monitor.model import AlertState, Column, InputError, Level, Match, Numbers, Problem, State
from monitor.rulefile import Span, in_unit, rule_files
from monitor.rules import DAYS, CompiledRule, ProofResult, run_proofs
from monitor.scope import Scope, single
from monitor.steps import Steps
from monitor.units import parse_duration_s
from monitor.values import unit_of
from monitor.yamltext import Node, Strict, Text, check, collect, parse_tree, read_file, suggest

#: where every virtual clock begins
START = datetime(2026, 1, 1, tzinfo=UTC)
MAX_EVALUATIONS = 20_000
MAX_TESTS = 5_000
STATES: tuple[str, ...] = get_args(State)
UNKNOWN_WORD, NOTHING_NEW = "null", "_"
_WORD = re.compile(r"(?P<value>[^*\s]+)(?:\*(?P<times>[0-9]{1,5}))?")
_DEFAULT: dict[Level, tuple[str, ...]] = {
    "market": ("market",),
    "borrower": ("borrower",),
    "facility": ("borrower/facility",),
    "source": ("market/source",),
}
Value = str | float | bool | None


class TestText(Strict):
    """One test of one rule."""

    __test__ = False  # not a test of this program

    test: str = Field(description="What must hold, in a sentence.")
    rule: str = Field(description="Name of the alert.")
    every: Span = Field(900.0, description="Time between two evaluations.")
    values: dict[str, Value | dict[str, Value]] = Field(description="Metric or call -> values, one per evaluation.")
    expect: dict[str, str | dict[str, str]] = Field(description="Time since the start -> state, or states by subject.")


class Expected(NamedTuple):
    """The state a subject must be in at an evaluation; an empty subject stands for every one."""

    place: int
    subject: str
    state: str
    line: int


@dataclass(frozen=True)
class RuleTest:
    """One test, ready to run. Values are one number per evaluation: NaN unknown, None nothing new."""

    name: str
    compiled: CompiledRule
    every_s: float
    subjects: Mapping[Level, tuple[str, ...]]
    values: Mapping[str, tuple[tuple[float | None, ...], ...]]
    given: Mapping[str, tuple[float | None, ...]]
    expected: tuple[Expected, ...]
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class TestResult:
    """What became of one test: every state that was not as expected, and the states of every subject over time."""

    __test__ = False

    test: RuleTest
    failures: tuple[str, ...]
    states: Mapping[str, tuple[str, ...]]

    @property
    def ok(self) -> bool:
        return not self.failures


@dataclass(frozen=True)
class Undecided:
    """One comparison of a rule that no test decided: neither way, or only one way."""

    rule: str
    part: str
    text: str
    seen: str


@dataclass(frozen=True)
class Outcome:
    """Everything one run found."""

    proofs: tuple[ProofResult, ...]
    tests: tuple[TestResult, ...]
    comparisons: int
    undecided: tuple[Undecided, ...]

    @property
    def ok(self) -> bool:
        return all(proof.ok for proof in self.proofs) and all(test.ok for test in self.tests)


# ---------------------------------------------------------------- reading
def load_tests(where: Path | Sequence[Path], rules: Collection[CompiledRule]) -> tuple[RuleTest, ...]:
    """Read test files, or all of a folder. Raises InputError with every problem of every file and its place."""
    problems, texts = list[Problem](), list[Text]()
    for path in rule_files(where):
        try:
            texts.append(read_file(path))
        except InputError as error:
            collect(problems, error)
    return _load(texts, {compiled.rule.id: compiled for compiled in rules}, problems)


def load_test_text(text: str, rules: Collection[CompiledRule], file: str = "test.yaml") -> tuple[RuleTest, ...]:
    """The same from one text.

    >>> from monitor.model import Rule
    >>> from monitor.rules import compile_rules
    >>> from monitor.values import NameInfo
    >>> rules = compile_rules([Rule("Thin", "dscr < 1.1", "warning", for_s=120.0)], {"dscr": NameInfo("facility", "x", "min")}, ())
    >>> said = "{test: a wait, rule: Thin, every: 1m, values: {dscr: 1.0*3 1.2}, expect: {1m: pending, 2m: firing, 3m: ok}}"
    >>> [result.failures for result in map(run_test, load_test_text(f"- {said}", rules))]
    [()]
    """  # noqa: E501 - one line each, as written
    return _load([Text(text, file)], {compiled.rule.id: compiled for compiled in rules}, [])


def _load(texts: Sequence[Text], rules: Mapping[str, CompiledRule], problems: list[Problem]) -> tuple[RuleTest, ...]:
    tests: list[RuleTest] = []
    for text in texts:
        try:
            tree = parse_tree(text)
            if not isinstance(tree.value, list) or len(tree.value) > MAX_TESTS:
                said = f"tests are a list of at most {MAX_TESTS:,}"
                raise InputError([text.problem(said, "start each with '- test: what must hold'", tree)])
        except InputError as error:
            collect(problems, error)
            continue
        for node in tree.value:
            try:
                tests.append(_Reader(text, node, check(TestText, node, text), rules).test())
            except InputError as error:
                collect(problems, error)
    if problems:
        raise InputError(problems)
    return tuple(tests)


@dataclass
class _Reader:
    """Reads one test and collects what is wrong with it."""

    text: Text
    node: Node
    said: TestText
    rules: Mapping[str, CompiledRule]
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, node: Node, message: str, fix: str = "") -> None:
        self.problems.append(self.text.problem(message, fix, node))

    def test(self) -> RuleTest:
        """The test, or InputError with all its mistakes."""
        said, fields = self.said, self.node.value
        compiled = self.rules.get(said.rule)
        if compiled is None:
            found = self.text.problem(
                f"no rule is named {said.rule!r}", suggest(said.rule, sorted(self.rules)), fields["rule"]
            )
            raise InputError([found])
        if said.every < 1:
            self.wrong(fields["every"], "two evaluations are at least a second apart", "write for example 1m or 15m")
            raise InputError(self.problems)
        expected = self.expected(fields["expect"], said.every)
        subjects = self.subjects(compiled, fields["values"])
        count = max((one.place for one in expected), default=0) + 1
        values, given = self.values(compiled, fields["values"], subjects, count)
        self.known_subjects(fields["expect"], subjects[compiled.rule.each])
        if self.problems:
            raise InputError(self.problems)
        line = self.node.line + 1
        return RuleTest(said.test, compiled, said.every, subjects, values, given, expected, self.text.file, line)

    def expected(self, node: Node, every_s: float) -> tuple[Expected, ...]:
        found: list[Expected] = []
        for when, value in node.value.items():
            try:
                at_s = parse_duration_s(when)
            except ValueError as error:
                self.wrong(node.keys[when], str(error))
                continue
            index = round(at_s / every_s)
            if abs(index * every_s - at_s) > 1e-6 or index >= MAX_EVALUATIONS:
                fix = f"write a multiple of {every_s:g} s, at most {MAX_EVALUATIONS:,} of them"
                self.wrong(node.keys[when], f"nothing is evaluated at {when}", fix)
                continue
            each = value.value.items() if isinstance(value.value, dict) else [("", value)]
            for subject, state in each:
                if state.value not in STATES:
                    self.wrong(state, f"{state.value!r} is no state", suggest(str(state.value), list(STATES)))
                found.append(Expected(index, subject, str(state.value), state.line + 1))
        return tuple(sorted(found))

    def subjects(self, compiled: CompiledRule, node: Node) -> dict[Level, tuple[str, ...]]:
        """Everybody named, and somebody where nobody is."""
        table = compiled.expression.table
        borrowers: dict[str, None] = {}
        facilities: dict[str, None] = {}
        sources: dict[str, None] = {}
        for key, value in node.value.items():
            level = table[key].level if key in table else "market"
            if isinstance(value.value, dict) and level != "market":
                for subject in value.value:
                    if level == "source":
                        sources[subject] = None
                        continue
                    if level == "facility" and "/" not in subject:
                        self.wrong(value.keys[subject], f"{key} has one value per facility", "write borrower/facility")
                    borrowers[subject.partition("/")[0]] = None
                    if level == "facility":
                        facilities[subject] = None
        owners = tuple(borrowers) or _DEFAULT["borrower"]
        pools = tuple(facilities) or tuple(f"{owner}/facility" for owner in owners)
        return {
            "market": _DEFAULT["market"],
            "borrower": owners,
            "facility": pools,
            "source": tuple(sources) or _DEFAULT["source"],
        }

    def known_subjects(self, node: Node, subjects: Collection[str]) -> None:
        for value in node.value.values():
            for subject in value.value if isinstance(value.value, dict) else ():
                if subject not in subjects:
                    fix = suggest(subject, sorted(subjects))
                    self.wrong(value.keys[subject], f"the rule is not about {subject!r} here", fix)

    def values(
        self, compiled: CompiledRule, node: Node, subjects: Mapping[Level, tuple[str, ...]], count: int
    ) -> tuple[dict[str, tuple[tuple[float | None, ...], ...]], dict[str, tuple[float | None, ...]]]:
        """Columns by metric, one row per subject, and the calls that are given."""
        table, calls = compiled.expression.table, _calls(compiled)
        names = [*compiled.expression.names, *(compiled.clear.names if compiled.clear else ())]
        columns: dict[str, tuple[tuple[float | None, ...], ...]] = {}
        given: dict[str, tuple[float | None, ...]] = {}
        for key, value in node.value.items():
            name = canonical(key) if "(" in key else key
            if name in calls:
                given[name] = self.words(value, calls[name], count)
            elif name not in names:
                known = [*names, *calls]
                self.wrong(node.keys[key], f"the rule does not use {key!r}", suggest(key, known))
            elif not isinstance(value.value, dict):
                level = table[name].level
                columns[name] = (self.words(value, table[name].unit, count),) * len(subjects[level])
            else:
                rows = {s: self.words(v, table[name].unit, count) for s, v in value.value.items()}
                nothing = (np.nan,) * count
                columns[name] = tuple(rows.pop(subject, nothing) for subject in subjects[table[name].level])
                for stranger in rows:
                    fix = "write borrower/facility" if table[name].level == "facility" else "write the borrower alone"
                    self.wrong(value.keys[stranger], f"{name} has one value per {table[name].level}", fix)
        return columns, given

    def words(self, node: Node, unit: str, count: int) -> tuple[float | None, ...]:
        """One number per evaluation; what is left over after the last word is nothing new."""
        out: list[float | None] = []
        said = (
            UNKNOWN_WORD if node.value is None else str(node.value).lower() if node.value is True else str(node.value)
        )
        for word in said.split():
            found = _WORD.fullmatch(word)
            times = int(found["times"] or 1) if found else 1
            try:
                out += [_number(found["value"] if found else word, unit)] * min(times, count - len(out))
            except ValueError as error:
                self.wrong(node, f"{word[:40]!r}: {error}", "values stand one after the other, as in 90%*3 null _ 50%")
                return (np.nan,) * count
        if not out or out[0] is None:
            self.wrong(node, "the first value is missing", "write a number, or null for unknown")
        return tuple([*out, *[None] * count][:count])


def _calls(compiled: CompiledRule) -> dict[str, str]:
    """Every call of a rule with the label of its unit."""
    calls = dict(compiled.expression.calls)
    if compiled.clear:
        calls.update(compiled.clear.calls)
    return {name: unit.label for name, unit in calls.items()}


def _number(word: str, unit: str) -> float | None:
    if word in (UNKNOWN_WORD, NOTHING_NEW):
        return np.nan if word == UNKNOWN_WORD else None
    if word.lower() in ("true", "false"):
        return float(word.lower() == "true")
    sign, rest = (-1.0, word[1:]) if word == "-unlimited" else (1.0, word)
    value = in_unit(rest, unit_of(unit))
    return None if value is None else sign * value


# ---------------------------------------------------------------- running
def run_test(test: RuleTest, coverage: Coverage | None = None) -> TestResult:
    """Live through one test on its own clock; ``coverage`` notes what each comparison decided."""
    rule, every = test.compiled.rule, timedelta(seconds=test.every_s)
    wanted: dict[int, list[Expected]] = {}
    for one in test.expected:
        wanted.setdefault(one.place, []).append(one)
    subjects, failures = test.subjects[rule.each], list[str]()
    states: dict[tuple[str, str], AlertState] = {}
    lived: dict[str, list[str]] = {subject: [] for subject in subjects}
    past = {name: _past(test, name) for name in test.values}
    for index in range(max(wanted, default=-1) + 1):
        now = START + index * every
        match = _match(test, _numbers(test, past, index, now), index, coverage)
        states, _ = step([rule], [match], states, now, last_tick_at=now - every if index else None)
        for subject in subjects:
            found = states.get((rule.id, subject))
            lived[subject].append("ok" if found is None else found.state)
        for one in wanted.get(index, ()):
            failures += _compared(test, one, index, lived, match)
    return TestResult(test, tuple(failures), {subject: tuple(found) for subject, found in lived.items()})


def _compared(test: RuleTest, one: Expected, index: int, lived: Mapping[str, Sequence[str]], match: Match) -> list[str]:
    failures = []
    for i, subject in enumerate(match.subjects):
        is_in = lived[subject][index]
        if one.subject in ("", subject) and is_in != one.state:
            numbers = ", ".join(f"{name} {column[i]:g}" for name, column in match.values.items())
            why = match.error or match.why.get(i, "")
            after = _span(index * test.every_s)
            place = f"{test.file}:{one.line}: {test.name}: after {after} {subject} is {is_in}, not {one.state}"
            failures.append(f"{place} ({'; '.join(filter(None, (numbers, why)))})")
    return failures


def _span(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {name}"
    return f"{seconds:g} s"


def _past(test: RuleTest, name: str) -> Steps:
    """The values of a metric as a step function over the whole test; nobody asks it about what is still to come."""
    times, values = [], []
    for row in test.values[name]:
        new = [i for i, value in enumerate(row) if value is not None]
        times.append([START.timestamp() + i * test.every_s for i in new])
        values.append([float(row[i] or 0.0) for i in new])
    return Steps("", tuple(times), tuple(values))


def _numbers(test: RuleTest, past: Mapping[str, Steps], index: int, now: datetime) -> Numbers:
    table, columns = test.compiled.expression.table, dict[str, Column]()
    for name, steps in past.items():
        values, known = steps.at(now.timestamp())
        newest = np.array([times[bisect_right(times, now.timestamp()) - 1] for times in steps.times])
        missing = {int(i): "given as unknown" for i in np.flatnonzero(~known)}
        age_s = np.where(known, now.timestamp() - newest, np.nan)
        columns[name] = Column(name, table[name].level, table[name].unit, values, known, missing, age_s=age_s)
    order = {borrower: i for i, borrower in enumerate(test.subjects["borrower"])}
    owners = np.array([order[pool.partition("/")[0]] for pool in test.subjects["facility"]], np.int64)
    return Numbers(now, test.subjects, columns, history=past.get, facility_borrower=owners)


def _match(test: RuleTest, numbers: Numbers, index: int, coverage: Coverage | None) -> Match:
    compiled, rule = test.compiled, test.compiled.rule
    given = {name: _in_force(row, index) for name, row in test.given.items()}
    scope = Scope(numbers, compiled.expression.table, given)
    with np.errstate(all="ignore"):
        said = compiled.expression.within(scope)
        cleared = compiled.clear.within(scope).truth if compiled.clear else said.opposite
        if coverage is not None:
            coverage.watch(compiled, scope, True)
    return Match(rule, test.subjects[rule.each], said.truth, cleared, said.why, said.values)


def _in_force(row: Sequence[float | None], index: int) -> float | None:
    last = next((value for value in reversed(row[: index + 1]) if value is not None), None)
    return None if last is None or np.isnan(last) else last


# ---------------------------------------------------------------- what decided
@dataclass
class _Watched:
    """One condition of a rule: its parts, and for each how it decided the whole so far."""

    taken: Taken
    leaves: tuple[Expression, ...]
    seen: list[set[int]]


class Coverage:
    """Which comparisons decided an answer, and which way: a comparison decides where its opposite would change it."""

    def __init__(self, rules: Sequence[CompiledRule]):
        self._watched = {compiled.rule.id: _watched(compiled) for compiled in rules}

    def watch(self, compiled: CompiledRule, scope: Scope, recovery: bool) -> None:
        """Note one evaluation of all subjects; ``recovery`` looks at ``clear`` too."""
        watched = self._watched.get(compiled.rule.id, {})
        for part, condition in watched.items():
            if part == "clear" and not recovery:
                continue
            truths = np.array([leaf.within(scope).truth for leaf in condition.leaves])
            for column in {tuple(column) for column in truths.T.tolist()}:
                for i in deciding(condition.taken.tree, column):
                    condition.seen[i].add(column[i])

    @property
    def comparisons(self) -> int:
        return sum(len(one.leaves) for parts in self._watched.values() for one in parts.values())

    def undecided(self) -> tuple[Undecided, ...]:
        """Every comparison that did not decide both ways."""
        return tuple(
            Undecided(rule, part, leaf.text, "never" if not seen else f"only when {'true' if 1 in seen else 'false'}")
            for rule, parts in self._watched.items()
            for part, condition in parts.items()
            for leaf, seen in zip(condition.taken.leaves, condition.seen, strict=True)
            if len(seen) < 2
        )


def _watched(compiled: CompiledRule) -> dict[str, _Watched]:
    found = {}
    for part, expression in (("expr", compiled.expression), ("clear", compiled.clear)):
        # a condition without a name in it, as a watchdog's, is always the same: there is nothing to decide
        if expression is not None and expression.names:
            taken = take_apart(expression.text)
            leaves = compile_leaves(taken, expression.table, expression.level)
            found[part] = _Watched(taken, leaves, [set() for _ in leaves])
    return found


def run_all(rules: Sequence[CompiledRule], tests: Sequence[RuleTest]) -> Outcome:
    """Every proof of every rule and every test, and what none of them decided.

    >>> from monitor.model import Proof, Rule
    >>> from monitor.rules import compile_rules
    >>> from monitor.values import NameInfo
    >>> rule = Rule("Thin", "dscr < 1.1 and ltv > 90%", "warning", "facility", proof=(Proof({"dscr": 1.0, "ltv": 1.0}, True),))
    >>> names = {"dscr": NameInfo("facility", "x", "min"), "ltv": NameInfo("facility", "ratio")}
    >>> outcome = run_all(compile_rules([rule], names, ()), ())
    >>> outcome.ok, [(one.text, one.seen) for one in outcome.undecided]
    (True, [('dscr < 1.1', 'only when true'), ('ltv > 90%', 'only when true')])
    """  # noqa: E501 - one line, as written
    coverage = Coverage(rules)
    for compiled in rules:
        for proof in compiled.rule.proof:
            coverage.watch(compiled, _proof_scope(compiled, proof.at), False)
    results = tuple(run_test(test, coverage) for test in tests)
    return Outcome(tuple(run_proofs(rules)), results, coverage.comparisons, coverage.undecided())


def _proof_scope(compiled: CompiledRule, at: Mapping[str, float | None]) -> Scope:
    table = compiled.expression.table
    values: dict[str, float | None] = dict.fromkeys(compiled.expression.names)
    values.update({name: value for name, value in at.items() if name in table})
    calls = {name: value for name, value in at.items() if name not in table and name != DAYS}
    return Scope(single(table, values), table, calls)
