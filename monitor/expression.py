"""Text to a checked, vectorised, three-valued expression: the condition of a rule.

The grammar is Python's operators over metric names, numbers with units and the words of :mod:`monitor.functions`. The
text is read by :mod:`monitor.exprtext`, the tree is walked once against a closed list of kinds by
:mod:`monitor.exprcompile`, and what comes out are closures over arrays. Nothing of Python can be reached from an
expression: there are no attributes, no subscripts, and a call is a call of a known word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from monitor.exprcalls import BUILDERS
from monitor.exprcompile import Compiler, canonical
from monitor.exprtext import ExpressionError, Flaw, parse_expression
from monitor.model import UNKNOWN, FloatArray, Level, Numbers, TruthArray
from monitor.scope import Scope
from monitor.values import Cond, Named, NameInfo, Unit

__all__ = ["Expression", "ExpressionError", "Flaw", "NameInfo", "Truth", "canonical", "compile_expression"]


class Reasons(Mapping[int, str]):
    """Why each undecided subject is undecided, worked out when it is asked for."""

    def __init__(self, truth: TruthArray, condition: Cond):
        self._truth, self._condition = truth, condition

    def __getitem__(self, i: int) -> str:
        if not 0 <= i < self._truth.size or self._truth[i] != UNKNOWN:
            raise KeyError(i)
        return "; ".join(self._condition.why(i))

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._truth == UNKNOWN).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self._truth == UNKNOWN))


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth of an expression for each subject of its level.

    truth (n,) int8: 1 true, 0 false, -1 unknown; opposite (n,): the truth of its negation;
    why: index -> the unknown names behind a -1 and their reasons;
    values: metric name -> (n,) as the expression saw it, NaN where unknown.
    """

    truth: TruthArray
    opposite: TruthArray
    why: Mapping[int, str]
    values: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled condition about the subjects of one level."""

    text: str
    level: Level
    #: metrics named anywhere, in order
    names: tuple[str, ...]
    #: those with one value per subject of the level (a borrower metric inside count() has none in a market rule)
    own_names: tuple[str, ...]
    #: the calls in it, blanks removed, with their units: what a proof may give a value to
    calls: Mapping[str, Unit]
    #: the text with one space between its parts
    normal: str
    table: Mapping[str, Named]
    run: Callable[[Scope], Cond]
    #: how far before the evaluation its calls look, seconds; 0 where none looks back
    looks_back_s: float = 0.0

    def evaluate(self, numbers: Numbers) -> Truth:
        """Truth for every subject of the level.

        >>> from monitor.scope import single
        >>> names = {"dscr": NameInfo("facility", "x", "min")}
        >>> expression = compile_expression("dscr < 1.0", names, (), "facility")
        >>> expression.evaluate(single(names, {"dscr": 0.9})).truth.tolist()
        [1]
        >>> dict(expression.evaluate(single(names, {"dscr": None})).why)
        {0: 'dscr: given as unknown'}
        """
        with np.errstate(all="ignore"):
            return self.within(Scope(numbers, self.table))

    def within(self, scope: Scope) -> Truth:
        """The same inside an evaluation that other expressions share; the caller keeps numpy from warning."""
        n, condition = scope.size(self.level), self.run(scope)
        # true is 1 and false is 0; what is neither loses one
        true, false = condition.true.view(np.int8), condition.false.view(np.int8)
        # true and false never hold together: less one, their sum is 0 where either does and -1 where neither
        decided = true + false
        decided -= 1
        truth, opposite = true + decided, false + decided
        if truth.size != n:
            truth, opposite = np.repeat(truth, n), np.repeat(opposite, n)
        values = {name: scope.seen(name, self.level) for name in self.own_names}
        return Truth(truth, opposite, Reasons(truth, condition), values)


def compile_expression(
    text: str, names: Mapping[str, Named], scenarios: Collection[str], level: Level = "borrower"
) -> Expression:
    """Compile one condition for the subjects of a level.

    ``names`` says of each metric its level, unit and worse end. Raises ExpressionError with every mistake found, each
    with its place in ``text``.

    >>> names = {"ltv_economic": NameInfo("facility", "ratio"), "debt_usd": NameInfo("borrower", "usd")}
    >>> compile_expression("ltv_economic > 90% and debt_usd > 1.5bn", names, ()).own_names
    ('ltv_economic', 'debt_usd')
    >>> compile_expression("change(debt_usd, 90d) > 20%", names, ()).looks_back_s / 86400
    90.0
    >>> compile_expression("ltv_economi > debt_usd.real", names, ())
    Traceback (most recent call last):
    ...
    monitor.exprtext.ExpressionError: nothing has attributes here
    >>> compile_expression("ltv_economi > 1 and debt_usd > change(debt_usd)", names, ())
    Traceback (most recent call last):
    ...
    monitor.exprtext.ExpressionError: unknown name 'ltv_economi'; change() has 1 argument here
    """
    parsed = parse_expression(text)
    compiler = Compiler(text, parsed.literals, names, scenarios, level, BUILDERS)
    run = compiler.condition(parsed.tree, level).run
    if compiler.flaws:
        raise ExpressionError(compiler.flaws)
    own = tuple(name for name in compiler.used if level != "market" or names[name].level == "market")
    used, calls, longest_s = tuple(compiler.used), compiler.calls, compiler.longest_s
    return Expression(text, level, used, own, calls, parsed.normal, names, run, longest_s)
