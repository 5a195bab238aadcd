"""A page per rule, made from the rule itself: meaning, impact, diagnosis, when it is nothing, and its cases. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.model import Level, Proof, Rule, Severity
from monitor.units import format_age

_WHOSE: dict[Level, str] = {
    "market": "once, for the market",
    "source": "for each source of data",
    "borrower": "for each borrower; of several facilities the worst counts",
    "facility": "for each facility",
}
_IMPACT: dict[Severity, str] = {
    "critical": "It pages: sent at once, through quiet hours, repeated until somebody acknowledges it.",
    "warning": "It is sent grouped by borrower, not in quiet hours, and said again daily while it stands.",
    "info": "It goes into the daily digest.",
}
_MISSING = {
    "keep": "Where a number is unknown the alert stays as it was and says that its data is missing.",
    "alert": "Where a number is unknown it fires: missing data is itself the news.",
    "ok": "Where a number is unknown it counts as not true.",
}


def rule_page(rule: Rule, rules: Sequence[Rule] = ()) -> str:
    """The page of one rule in Markdown; ``rules`` are all of them, to say which hides which.

    >>> page = rule_page(Rule("Thin", "dscr < 1.1", "info", "facility", why="Cash is short.", do="Read it."))
    >>> [line for line in page.splitlines() if line][:4]
    ['# Thin', 'info, judged for each facility.', '## Meaning', 'Cash is short.']
    """
    parts = [f"# {rule.id}", f"{rule.severity}, judged {_WHOSE[rule.each]}."]
    parts += ["## Meaning", *filter(None, [rule.why]), _fenced(rule), *_times(rule)]
    parts += ["## Impact", f"{_IMPACT[rule.severity]} {_MISSING[rule.on_missing]}", *_hidden(rule, rules)]
    parts += [
        "## Diagnosis",
        rule.do or "Nothing is written down yet.",
        *([f"More: {rule.runbook}"] if rule.runbook else []),
    ]
    parts += ["## When it is nothing", rule.false_alarms] if rule.false_alarms else []
    parts += ["## Cases", _cases(rule.proof)] if rule.proof else []
    return "\n\n".join(parts) + "\n"


def index_page(rules: Sequence[Rule]) -> str:
    """The list of all pages, the loudest first.

    >>> print(index_page([Rule("Thin", "dscr < 1.1", "info", summary="thin")]))
    # Rules
    <BLANKLINE>
    | rule | severity | says |
    |---|---|---|
    | [Thin](Thin.md) | info | thin |
    <BLANKLINE>
    """
    loud = {"critical": 0, "warning": 1, "info": 2}
    rows = [
        f"| [{rule.id}]({rule.id}.md) | {rule.severity} | {_cell(rule.summary)} |"
        for rule in sorted(rules, key=lambda rule: (loud[rule.severity], rule.id))
    ]
    return "\n".join(["# Rules", "", "| rule | severity | says |", "|---|---|---|", *rows]) + "\n"


def _fenced(rule: Rule) -> str:
    lines = [f"expr:  {' '.join(rule.expr.split())}"]
    lines += [f"clear: {' '.join(rule.clear.split())}"] if rule.clear else []
    return "\n".join(["```", *lines, "```"])


def _times(rule: Rule) -> list[str]:
    waits = f"It fires once this holds for {format_age(rule.for_s)}" if rule.for_s else "It fires at once"
    ends = "and ends when `clear` holds" if rule.clear else "and ends when it no longer holds"
    keeps = f", kept firing for {format_age(rule.keep_firing_for_s)} after that" if rule.keep_firing_for_s else ""
    again = f" While it stands it is said again every {format_age(rule.repeat_s)}." if rule.repeat_s else ""
    return [f"{waits}, {ends}{keeps}.{again}"]


def _hidden(rule: Rule, rules: Sequence[Rule]) -> list[str]:
    """Which alerts of the same borrower it hides, and by which it is hidden."""
    above = [other.id for other in rules if rule.id in other.inhibits]
    said = [f"While it fires it makes {', '.join(rule.inhibits)} redundant."] if rule.inhibits else []
    said += [f"It is hidden while {' or '.join(above)} fires for the same borrower."] if above else []
    return [" ".join(said)] if said else []


def _cases(proofs: Sequence[Proof]) -> str:
    rows = [f"| {_case(proof)} | {'fires' if proof.fires else 'stays quiet'} |" for proof in proofs]
    return "\n".join(["| numbers | outcome |", "|---|---|", *rows])


def _case(proof: Proof) -> str:
    return ", ".join(f"{_cell(name)} = {'?' if value is None else f'{value:g}'}" for name, value in proof.at.items())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
