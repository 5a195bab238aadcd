"""Rules against numbers: compile once, match every tick, fill the texts of what fired, run the proofs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from monitor.expression import Expression, compile_expression
from monitor.exprtext import ExpressionError, Flaw
from monitor.model import TRUE, UNKNOWN, InputError, Level, Match, Numbers, Problem, Proof, Rule, TruthArray
from monitor.scope import Scope, single
from monitor.units import format_age, format_usd, format_value
from monitor.values import Named, Unit, unit_of

#: what a proof says besides numbers: for how many days its case has lasted
DAYS = "days"


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to be matched; ``clear`` is None where recovery is simply the opposite of the expression."""

    rule: Rule
    expression: Expression
    clear: Expression | None


def compile_rules(
    rules: Sequence[Rule], names: Mapping[str, Named], scenarios: Collection[str]
) -> tuple[CompiledRule, ...]:
    """Compile rules, in their order. Raises InputError naming every rule that no longer fits the metrics there are.

    >>> from monitor.values import NameInfo
    >>> rule = Rule("HighLtv", "ltv_economic > 90%", "warning", each="facility")
    >>> compile_rules([rule], {"ltv_economic": NameInfo("facility", "ratio")}, ())[0].expression.names
    ('ltv_economic',)
    """
    compiled, problems = [], list[Problem]()
    for rule in rules:
        try:
            expression = compile_expression(rule.expr, names, scenarios, rule.each)
            clear = compile_expression(rule.clear, names, scenarios, rule.each) if rule.clear else None
            compiled.append(CompiledRule(rule, expression, clear))
        except ExpressionError as error:
            where = (rule.file or "rules", max(rule.line, 1), 1, 0)
            problems += [Problem(*where, f"{rule.id}: {flaw.message}", flaw.fix) for flaw in error.flaws]
    if problems:
        raise InputError(problems)
    return tuple(compiled)


# ---------------------------------------------------------------- matching
def match(rules: Sequence[CompiledRule], numbers: Numbers) -> list[Match]:
    """What every rule says about every subject of its level, in the order of the rules.

    A rule that fails to evaluate says so in ``error`` and is unknown for everybody; the others go on.

    >>> from monitor.values import NameInfo
    >>> names = {"dscr": NameInfo("facility", "x", "min")}
    >>> rules = compile_rules([Rule("ThinCover", "dscr < 1.0", "warning", each="facility")], names, ())
    >>> found = match(rules, single(names, {"dscr": None}))[0]
    >>> found.truth.tolist(), dict(found.why)
    ([-1], {0: 'dscr: given as unknown'})
    """
    tables = {id(compiled.expression.table): compiled.expression.table for compiled in rules}
    scopes = {key: Scope(numbers, table) for key, table in tables.items()}
    with np.errstate(all="ignore"):
        return [_match_one(compiled, scopes[id(compiled.expression.table)]) for compiled in rules]


def _match_one(compiled: CompiledRule, scope: Scope) -> Match:
    rule = compiled.rule
    subjects = scope.numbers.subjects.get(rule.each, ())
    try:
        said = compiled.expression.within(scope)
        cleared = compiled.clear.within(scope).truth if compiled.clear else said.opposite
    except Exception as error:
        # one rule that cannot be evaluated must not silence the others: its instances go to the state `error`
        nothing = np.full(len(subjects), UNKNOWN, np.int8)
        return Match(rule, subjects, nothing, nothing, error=f"{type(error).__name__}: {error}")
    return Match(rule, subjects, said.truth, cleared, said.why, said.values)


def at_ends(compiled: CompiledRule, numbers: Numbers) -> tuple[TruthArray, TruthArray]:
    """Truth with every metric at the low and at the high end of its assumptions: does an alarm hold at both?

    >>> from monitor.values import NameInfo
    >>> names = {"dscr": NameInfo("facility", "x", "min")}
    >>> rules = compile_rules([Rule("ThinCover", "dscr < 1.0", "warning", each="facility")], names, ())
    >>> [end.tolist() for end in at_ends(rules[0], single(names, {"dscr": 0.9}))]
    [[1], [1]]
    """
    table, within = compiled.expression.table, compiled.expression.within
    with np.errstate(all="ignore"):
        return within(Scope(numbers, table, end="low")).truth, within(Scope(numbers, table, end="high")).truth


class Figure(NamedTuple):
    """One number a rule looked at: its value (NaN if unknown, then ``why``), unit, and the facility behind it."""

    name: str
    value: float
    unit: str
    why: str
    facility: str


def figures(compiled: CompiledRule, numbers: Numbers, i: int) -> tuple[Figure, ...]:
    """The numbers behind a rule's answer for one subject, in the order the rule names them.

    >>> from monitor.values import NameInfo
    >>> names = {"dscr": NameInfo("facility", "x", "min")}
    >>> rules = compile_rules([Rule("ThinCover", "dscr < 1.0", "warning")], names, ())
    >>> figures(rules[0], single(names, {"dscr": 0.9}), 0)
    (Figure(name='dscr', value=0.9, unit='x', why='', facility='borrower/facility'),)
    """
    level, table = compiled.rule.each, compiled.expression.table
    scope = Scope(numbers, table)
    return tuple(_figure(scope, name, level, i) for name in compiled.expression.own_names)


def _figure(scope: Scope, name: str, level: Level, i: int) -> Figure:
    number = scope.at_level(name, level)
    value = float(scope.seen(name, level)[i])
    facility = ""
    if scope.names[name].level == "facility" and level == "borrower":
        chosen = int(scope.worst_index(name, level)[i])
        facility = scope.numbers.subjects["facility"][chosen] if chosen >= 0 else ""
    why = "; ".join(number.why(i)) if np.isnan(value) else ""
    return Figure(name, value, scope.names[name].unit, why, facility)


# ---------------------------------------------------------------- texts
class Placeholder(NamedTuple):
    """``{name:spec}`` in a text, and where it stands."""

    name: str
    spec: str
    offset: int
    length: int


def _per(unit: Unit, value: float, scale: float) -> float:
    return value * unit.scale / scale


#: format spec -> (dimension it needs, or "" for any; how a number in its unit is written)
SPECS: dict[str, tuple[str, Callable[[float, Unit], str]]] = {
    ".0%": ("ratio", lambda v, u: f"{_per(u, v, 0.01):,.0f}%"),
    ".1%": ("ratio", lambda v, u: f"{_per(u, v, 0.01):,.1f}%"),
    ".2%": ("ratio", lambda v, u: f"{_per(u, v, 0.01):,.2f}%"),
    "bp": ("ratio", lambda v, u: f"{_per(u, v, 1e-4):,.0f} bp"),
    ".0f": ("", lambda v, u: f"{v:,.0f}"),
    ".1f": ("", lambda v, u: f"{v:,.1f}"),
    ".2f": ("", lambda v, u: f"{v:,.2f}"),
    ".1x": ("", lambda v, u: f"{v:,.1f}x"),
    ".2x": ("", lambda v, u: f"{v:,.2f}x"),
    "usd": ("", lambda v, u: format_usd(v)),
    "hours": ("time", lambda v, u: f"{_per(u, v, 3600.0):,.0f} hours"),
    "days": ("time", lambda v, u: f"{_per(u, v, 86400.0):,.0f} days"),
    "months": ("time", lambda v, u: f"{_per(u, v, 30.4375 * 86400.0):,.1f} months"),
    "age": ("time", lambda v, u: format_age(_per(u, v, 1.0))),
}
_SUBJECT_NAMES: dict[Level, tuple[str, ...]] = {
    "market": ("subject",),
    "borrower": ("subject", "borrower", "facility"),
    "facility": ("subject", "borrower", "facility"),
    "source": ("subject", "source"),
}
_BRACES = re.compile(r"\{([^{}]*)\}|[{}]")


def placeholders(text: str) -> tuple[list[Placeholder], list[Flaw]]:
    """The placeholders of a text, and the braces that are none.

    >>> placeholders("{borrower}: LTV {ltv_economic:.0%}")[0]
    [Placeholder(name='borrower', spec='', offset=0, length=10), Placeholder(name='ltv_economic', spec='.0%', offset=16, length=18)]
    """  # noqa: E501 - one line, as printed
    found, flaws = list[Placeholder](), list[Flaw]()
    for brace in _BRACES.finditer(text):
        if brace.group(1) is None:
            flaws.append(Flaw(brace.start(), 1, "a brace alone", "braces hold a name, as in {ltv_economic:.0%}"))
            continue
        name, _, spec = brace.group(1).partition(":")
        found.append(Placeholder(name.strip(), spec.strip(), brace.start(), len(brace.group())))
    return found, flaws


def check_text(text: str, names: Mapping[str, Named], expression: Expression) -> list[Flaw]:
    """Everything wrong with the placeholders of a text: unknown names, specs, and specs that do not fit the unit."""
    found, flaws = placeholders(text)
    for hole in found:
        message = _hole_flaw(hole, names, expression)
        if message:
            flaws.append(Flaw(hole.offset, hole.length, *message))
    return flaws


def _hole_flaw(hole: Placeholder, names: Mapping[str, Named], expression: Expression) -> tuple[str, str] | None:
    level, subjects = expression.level, _SUBJECT_NAMES[expression.level]
    if hole.name in subjects:
        facility = any(names[name].level == "facility" for name in expression.own_names)
        if hole.name == "facility" and level == "borrower" and not facility:
            return "the expression names no facility number, so there is no worst facility", "leave {facility} out"
        return (f"{hole.name} is a name and takes no format", f"write {{{hole.name}}}") if hole.spec else None
    if hole.name not in names:
        close = difflib.get_close_matches(hole.name, [*names, *subjects], n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"a placeholder is a metric or one of {', '.join(subjects)}"
        return f"unknown name {hole.name!r} in a placeholder", fix
    info = names[hole.name]
    if level == "market" and info.level != "market":
        return f"{hole.name} has one value per {info.level}, this rule is about the market", "name a market metric"
    if hole.spec and hole.spec not in SPECS:
        return f"unknown format {hole.spec!r}", f"formats are {', '.join(SPECS)}"
    if hole.spec and SPECS[hole.spec][0] not in ("", unit_of(info.unit).kind):
        return f"{hole.name} is in {info.unit}, {hole.spec} does not fit it", f"write {{{hole.name}}}"
    return None


def render(compiled: CompiledRule, text: str, numbers: Numbers, i: int) -> str:
    """A text of a rule for one subject, its placeholders filled in; an unknown number reads "?".

    Everything else in the text stays as it is: no markup, no attributes, no format language but :data:`SPECS`.

    >>> from monitor.values import NameInfo
    >>> names = {"dscr": NameInfo("facility", "x", "min")}
    >>> rules = compile_rules([Rule("ThinCover", "dscr < 1.0", "warning", each="facility")], names, ())
    >>> render(rules[0], "{borrower} / {facility}: *DSCR* {dscr:.2f}x", single(names, {"dscr": 0.9}), 0)
    'borrower / facility: *DSCR* 0.90x'
    """
    scope = Scope(numbers, compiled.expression.table)

    def fill(brace: re.Match[str]) -> str:
        if brace.group(1) is None:
            return brace.group()
        name, _, spec = brace.group(1).partition(":")
        return _filled(compiled, scope, name.strip(), spec.strip(), i)

    return _BRACES.sub(fill, text)


def _filled(compiled: CompiledRule, scope: Scope, name: str, spec: str, i: int) -> str:
    level = compiled.rule.each
    if name in _SUBJECT_NAMES[level]:
        subject = scope.numbers.subjects[level][i]
        if name == "facility" and level == "borrower":
            subject = next((f.facility for f in figures(compiled, scope.numbers, i) if f.facility), "?")
        borrower, _, facility = subject.partition("/")
        return {"subject": subject, "borrower": borrower, "facility": facility or subject, "source": facility}[name]
    if name not in scope.names or (level == "market" and scope.names[name].level != "market"):
        return "?"
    value = float(scope.seen(name, level)[i])
    if np.isnan(value):
        return "?"
    unit = scope.names[name].unit
    if spec not in SPECS or np.isinf(value):
        return format_value(value, unit)
    return SPECS[spec][1](value, unit_of(unit))


# ---------------------------------------------------------------- proofs
class ProofResult(NamedTuple):
    """What a rule made of one of its own cases."""

    rule: Rule
    proof: Proof
    fired: bool
    truth: int
    why: str

    @property
    def ok(self) -> bool:
        return self.fired == self.proof.fires


def run_proofs(rules: Sequence[CompiledRule]) -> list[ProofResult]:
    """Run every case written in the rules: numbers in, must fire or must stay quiet.

    A number that is not given is unknown. ``days`` is how long the case has lasted, against the rule's ``for``;
    left out it has lasted long enough. An unknown answer fires only where the rule says ``on_missing: alert``.

    >>> from monitor.values import NameInfo
    >>> rule = Rule("ThinCover", "dscr < 1.0", "warning", "facility", for_s=86400.0,
    ...             proof=(Proof({"dscr": 0.9, "days": 2}, True), Proof({"dscr": 0.9, "days": 0.5}, False)))
    >>> [result.ok for result in run_proofs(compile_rules([rule], {"dscr": NameInfo("facility", "x", "min")}, ()))]
    [True, True]
    """
    return [_prove(compiled, proof) for compiled in rules for proof in compiled.rule.proof]


def _prove(compiled: CompiledRule, proof: Proof) -> ProofResult:
    rule, table = compiled.rule, compiled.expression.table
    values: dict[str, float | None] = dict.fromkeys(compiled.expression.names)
    values.update({name: value for name, value in proof.at.items() if name in table})
    calls = {name: value for name, value in proof.at.items() if name not in table and name != DAYS}
    with np.errstate(all="ignore"):
        said = compiled.expression.within(Scope(single(table, values), table, calls))
    truth, lasted = int(said.truth[0]), proof.at.get(DAYS)
    served = lasted is None or lasted * 86400.0 >= rule.for_s
    wanted = truth == TRUE or (truth == UNKNOWN and rule.on_missing == "alert")
    return ProofResult(rule, proof, served and wanted, truth, said.why.get(0, ""))
