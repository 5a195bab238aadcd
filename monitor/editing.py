"""Rule files edited for people: propose, show, carry out, take back. The command line and the chat share it.

A proposal reads every rule file, makes the edit in memory and checks the result as ``canary check`` and ``canary test``
would. Carrying it out writes the audit first and the file after, so that no change is ever without its author; a kill
in between leaves an entry whose text is not in the file, which a listing of the rule says and undo refuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from monitor.config import Config
from monitor.edits import Edit, Key, Place, diff, find_rule, make, places
from monitor.metrics import METRICS
from monitor.model import CanaryError, Rule, Severity
from monitor.rows import Tables
from monitor.rulefile import load_rule_texts, rule_files
from monitor.rules import DAYS, CompiledRule, ProofResult, compile_rules, run_proofs
from monitor.ruletests import load_tests, run_test
from monitor.safewrite import alone, digest, inside, replace_file
from monitor.scenariofile import load_scenarios
from monitor.series import SERIES
from monitor.smells import Smell, find_smells, moving_prices
from monitor.store_chat import Audit, append_audit, audits, mark_undone
from monitor.units import format_age, format_value
from monitor.weakening import Past, agreed_on, weakened
from monitor.yamltext import Text, read_file

#: how the audit names an edit of a rule, and one that takes it back
RULE, UNDO = "rule", "undo"
STARTER = "these are the files that ship with Canary, to be read only; your own: canary init DIR"
#: earlier edits of one rule that are looked through
MAX_PAST = 1_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants: ``for`` of a rule to be ``4h``. ``number``: which of several, from 1; 0 if only one."""

    rule: str
    key: Key
    value: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """One edit, checked and not yet carried out. Plain data: it may wait as JSON behind a button."""

    edit: Edit
    #: of the rule files folder, as found there
    file: str
    #: digests of the file before and after
    found: str
    leaves: str
    severity: Severity
    #: why a second person must agree; empty where one is enough
    second: str = ""
    #: number of the audit entry this takes back
    undoes: int = 0

    @property
    def json(self) -> str:
        """The proposal as text."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Shown:
    """A proposal with what a person needs to judge it. ``was`` and ``now``: the rule in force and the rule proposed."""

    proposal: Proposal
    diff: str
    #: proofs and tests the edit breaks, and what reads oddly only since
    warnings: tuple[str, ...]
    was: Rule
    now: Rule


def proposal_of(text: str) -> Proposal:
    """The proposal :attr:`Proposal.json` wrote down."""
    row = json.loads(text)
    return Proposal(**{**row, "edit": Edit(**row["edit"])})


#: what a person types -> what it is called in the file
_KEYS: dict[str, Key] = {
    "for": "for",
    "keep": "keep_firing_for",
    "keep_firing_for": "keep_firing_for",
    "severity": "severity",
    "threshold": "expr",
    "expr": "expr",
    "clear": "clear",
}
USAGE = "for 4h, keep 3d, severity warning, threshold 1.05, clear 1.2 (of several numbers: threshold 1.05 #2)"


def wish_of(rule: str, words: Sequence[str]) -> Wish:
    """What somebody typed after the name of a rule. CanaryError with what can be typed.

    >>> wish_of("Near", ["for", "4h"])
    Wish(rule='Near', key='for', value='4h', number=0)
    >>> wish_of("Near", ["threshold", "clear", "20%", "#2"])
    Wish(rule='Near', key='clear', value='20%', number=2)
    """
    said = list(words)
    key = _KEYS.get(said.pop(0).lower()) if said else None
    if key == "expr" and said and said[0] == "clear":
        key = _KEYS[said.pop(0)]
    number = 0
    if len(said) > 1 and said[-1].startswith("#"):
        number = int(said.pop()[1:3]) if said[-1][1:].isdecimal() and said[-1].isascii() else -1
    if key is None or not said or number < 0:
        raise CanaryError(f"what shall become of {rule[:60]}? Write for example {USAGE}")
    return Wish(rule, key, "".join(said), number)


# ---------------------------------------------------------------- proposing
def propose(config: Config, wish: Wish, past: Sequence[Audit] = ()) -> Shown:
    """Make the edit somebody wishes, in memory. ``past``: the audit of this rule, newest first.

    CanaryError or InputError, with nothing changed, when the rule, the value or the result cannot be used, or when the
    wish could mean several numbers (the text lists them).
    """
    texts = rule_texts(config)
    text, node = find_rule(texts, wish.rule)
    place = _chosen(places(text, node, wish.rule, wish.key), wish)
    return _checked(config, texts, text, make(text, place, wish.value), place, past)


def propose_undo(config: Config, rule: str, past: Sequence[Audit]) -> Shown:
    """The edit that takes back the newest edit of a rule that stands. CanaryError when the file went on since."""
    last = next((one for one in past if one.action == RULE and one.undone is None), None)
    if last is None:
        raise CanaryError(f"no edit of {rule[:60]} stands that could be taken back")
    done = _kept(last)
    texts = rule_texts(config)
    text = texts.get(str(config.paths.rules / done.file))
    if text is None or digest(text.text.encode()) != done.leaves:
        raise CanaryError(
            f"{done.file} no longer holds what edit {last.number} left there, so it cannot be taken back; "
            f"it was {done.edit.before or 'nothing'} before: canary rule {rule} {done.edit.place.split()[0]} ..."
        )
    place = _place_now(text, done.edit)
    return _checked(config, texts, text, done.edit.back, place, past, last.number)


def rule_texts(config: Config) -> dict[str, Text]:
    """Every rule file by its path."""
    if config.found.starter:
        raise CanaryError(STARTER)
    return {str(path): read_file(path) for path in rule_files(config.paths.rules)}


def _chosen(found: Sequence[Place], wish: Wish) -> Place:
    """The place meant; CanaryError listing them when several could be."""
    if not found:
        what = "compares nothing with a number that stands alone" if wish.key == "expr" else f"has no {wish.key}"
        raise CanaryError(f"{wish.rule} {what}; edit the file")
    if 1 <= wish.number <= len(found) and found[0].number:
        return found[wish.number - 1]
    if len(found) > 1 or wish.number:
        listed = "\n".join(f"  {place.number or 1}  {place.text} in {place.shown or place.key}" for place in found)
        raise CanaryError(f"{wish.rule}: which number of {wish.key}? Say its place as well, for example #1\n{listed}")
    return found[0]


def _place_now(text: Text, edit: Edit) -> Place:
    """The place an edit was about, as it is in the file now."""
    node = find_rule({text.file: text}, edit.rule)[1]
    key, _, number = edit.place.partition(" ")
    found = places(text, node, edit.rule, key)  # type: ignore[arg-type]
    return found[int(number or 1) - 1]


def _checked(
    config: Config,
    texts: Mapping[str, Text],
    text: Text,
    edit: Edit,
    place: Place,
    past: Sequence[Audit],
    undoes: int = 0,
) -> Shown:
    """Everything about an edit that can be known before it is carried out."""
    after = edit.of(text.text)
    old = _Rules.of(config, {name: one.text for name, one in texts.items()})
    new = _Rules.of(config, {**{name: one.text for name, one in texts.items()}, text.file: after})
    was, now = old.rule(edit.rule), new.rule(edit.rule)
    failed = {one.case for one in old.failures(edit.rule)}
    broken = [one for one in new.failures(edit.rule) if one.case not in failed]
    kinds = {smell.kind for smell in old.smells(edit.rule)}
    odd = [f"{one.message}: {one.consequence}" for one in new.smells(edit.rule) if one.kind not in kinds]
    second = ""
    if was.severity == "critical":
        quiet = next((one.said for one in broken if one.quieter), "")
        second = weakened(place, agreed_on(place, _past(past)), edit.after) or quiet
    name = Path(text.file).relative_to(config.paths.rules).as_posix()
    found, leaves = digest(text.text.encode()), digest(after.encode())
    proposal = Proposal(edit, name, found, leaves, was.severity, second, undoes)
    return Shown(proposal, diff(text.text, after, name), (*(one.said for one in broken), *odd), was, now)


@dataclass(frozen=True)
class _Rules:
    """The rules of some texts, and what they make of their own proofs and tests."""

    compiled: Mapping[str, CompiledRule]
    tests: Path

    @classmethod
    def of(cls, config: Config, texts: Mapping[str, str]) -> _Rules:
        scenarios = {scenario.name for scenario in load_scenarios(config.paths.scenarios)}
        loaded = load_rule_texts(texts, METRICS, scenarios)
        compiled = {one.rule.id: one for one in compile_rules(loaded, METRICS, scenarios)}
        return cls(compiled, config.paths.rules / "tests")

    def rule(self, name: str) -> Rule:
        return self.compiled[name].rule

    def smells(self, name: str) -> list[Smell]:
        found = find_smells([self.compiled[name]], prices=moving_prices(METRICS, set(SERIES)))
        return [smell for smell in found if smell.finding]

    def failures(self, name: str) -> list[_Failure]:
        """Proofs and tests of one rule that do not hold."""
        compiled = self.compiled[name]
        proofs = enumerate(run_proofs([compiled]))
        found = [_Failure(f"proof {i}", _proof_said(compiled, one), not one.fired) for i, one in proofs if not one.ok]
        if self.tests.is_dir():
            for test in load_tests(self.tests, self.compiled.values()):
                wrong = run_test(test).failures if test.compiled.rule.id == name else ()
                found += [_Failure(f"test {test.name}", f"its test no longer holds: {one}", True) for one in wrong[:1]]
        return found


@dataclass(frozen=True, slots=True)
class _Failure:
    """A case that does not hold; ``quieter``: the rule stays quiet where it should speak, as far as one can tell."""

    case: str
    said: str
    quieter: bool


def _proof_said(compiled: CompiledRule, result: ProofResult) -> str:
    what = "fires" if result.fired else "stays quiet"
    units = {name: METRICS[name].unit for name in compiled.expression.names}
    units |= {call: unit.label for call, unit in compiled.expression.calls.items()} | {DAYS: DAYS}
    case = ", ".join(f"{name} {_figure(value, units.get(name, ''))}" for name, value in result.proof.at.items())
    return f"its proof on line {result.proof.line} no longer holds: it {what} on {case}"


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "?"
    if unit == DAYS:
        return f"{value:g}"
    return format_age(value) if unit == "s" else format_value(value, unit)


# ---------------------------------------------------------------- carrying out
def carry_out(
    store: Tables, config: Config, proposal: Proposal, now: datetime, who: str, chat: str = "", second: str = ""
) -> int:
    """Write the edit and its audit; the number of the entry. ``second``: who else agreed, where that is needed.

    CanaryError, with the file as it was, when it changed since the proposal, cannot be written, or nobody else agreed.
    """
    if config.found.starter:
        raise CanaryError(STARTER)
    if proposal.second and not second:
        raise CanaryError(f"{proposal.edit.rule} is critical and {proposal.second}: a second person must agree")
    path = inside(config.paths.rules / proposal.file, config.paths.rules)
    with alone(config.paths.state):
        after = _after(path, proposal)
        number = append_audit(store, _entry(proposal, who, chat, now, second))
        try:
            replace_file(path, after, proposal.found)
        except CanaryError:
            mark_undone(store, number, now)
            raise
        if proposal.undoes:
            mark_undone(store, proposal.undoes, now)
    return number


def _after(path: Path, proposal: Proposal) -> bytes:
    """What the file will hold; CanaryError unless it still is the one the proposal was made for."""
    text = read_file(path).text
    if digest(text.encode()) != proposal.found:
        raise CanaryError(f"{proposal.file} was changed since this was proposed; nothing was written, propose it again")
    after = proposal.edit.of(text).encode()
    if digest(after) != proposal.leaves:
        raise CanaryError("this is not the edit that was shown; nothing was written")
    return after


# ---------------------------------------------------------------- the audit
def _entry(proposal: Proposal, who: str, chat: str, now: datetime, second: str) -> Audit:
    """An audit entry: the value first, for people; then all of it, for undo."""
    edit, agreed = proposal.edit, f", agreed by {second}" if proposal.second else ""
    before = f"{edit.place}: {edit.before or 'not there'} ({proposal.file})"
    after = f"{edit.place}: {edit.after or 'not there'}{agreed}\n{json.dumps({'second': second, **asdict(proposal)})}"
    return Audit(now, who, chat, UNDO if proposal.undoes else RULE, edit.rule, before, after)


def headline(text: str) -> str:
    """What people read of an audit text.

    >>> headline('for: 4h\\n{"edit": 1}')
    'for: 4h'
    """
    return text.partition("\n")[0]


def _kept(entry: Audit) -> Proposal:
    row = json.loads(entry.after.partition("\n")[2])
    row.pop("second")
    return proposal_of(json.dumps(row))


def _past(entries: Sequence[Audit]) -> list[Past]:
    """Edits of a rule as weakening counts them, newest first; one that never reached its file is none."""
    found = []
    for entry in entries:
        if entry.action in (RULE, UNDO):
            second = json.loads(entry.after.partition("\n")[2])["second"]
            edit = _kept(entry).edit
            found.append(Past(edit.place, edit.before, edit.after, bool(second)))
    return found


def holds(config: Config, entry: Audit) -> bool:
    """Whether the file is what an edit left there: nobody changed it since, and it was really written."""
    done = _kept(entry)
    try:
        return digest((config.paths.rules / done.file).read_bytes()) == done.leaves
    except OSError:  # the file is gone
        return False


def past_of(store: Tables, rule: str) -> list[Audit]:
    """The audit of one rule, newest first."""
    return [one for one in audits(store, target=rule, limit=MAX_PAST) if one.action in (RULE, UNDO)]
