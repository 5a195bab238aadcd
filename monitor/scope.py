"""One evaluation: the numbers of one moment, at the level a rule speaks about, with their past and reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, TypeVar

import numpy as np

from monitor.model import MARKET, Column, FloatArray, Level, Numbers, StepTable
from monitor.values import Cond, Groups, Index, Named, Num, Worst, reasons, spread, worse_end, worst_members, worst_of

T = TypeVar("T")
#: how much of a window may be unknown, as a share of its time
LARGEST_GAP = 0.1


class Scope:
    """One evaluation of any number of expressions over the same :class:`~monitor.model.Numbers`.

    Everything looked up once is remembered until the evaluation ends. ``given`` stands in for calls in a rule's proof;
    ``end`` evaluates at the low or the high end of every metric's assumptions instead of at the middle.
    """

    def __init__(
        self,
        numbers: Numbers,
        names: Mapping[str, Named],
        given: Mapping[str, float | None] | None = None,
        end: Literal["", "low", "high"] = "",
    ):
        self.numbers, self.names, self.given, self.end = numbers, names, given or {}, end
        self.at_s = numbers.at.timestamp()
        self._memo: dict[object, object] = {}

    def once(self, key: object, make: Callable[[], T]) -> T:
        """Make something the first time it is asked for."""
        try:
            return self._memo[key]  # type: ignore[return-value]
        except KeyError:
            made = self._memo[key] = make()
            return made

    def size(self, level: Level) -> int:
        """How many subjects a level has."""
        return len(self.numbers.subjects.get(level, ()))

    def column(self, name: str, scenario: str = "", part: str = "") -> Num:
        """A metric over the subjects of its own level, under a scenario or at one end of its assumptions."""
        return self.once((name, scenario, part), lambda: self._column(name, scenario, part or self.end))

    def _column(self, name: str, scenario: str, part: str) -> Num:
        n = self.size(self.names[name].level)
        if scenario and scenario not in self.numbers.scenarios:
            return self.nothing(name, f"scenario {scenario} was not computed")
        columns = self.numbers.scenarios[scenario] if scenario else self.numbers.columns
        if name not in columns:
            return self.nothing(name, "was not computed")
        column = columns[name]
        if column.values.shape != (n,) or column.known.shape != (n,):
            raise ValueError(f"{name} has {column.values.shape} values for {n} subjects")
        values = column.values
        if part and column.low is not None and column.high is not None:
            values = np.minimum(column.low, column.high) if part == "low" else np.maximum(column.low, column.high)
        shown = f"under {scenario} {name}" if scenario else name
        return Num(
            np.where(column.known, values, np.nan), lambda i: (f"{shown}: {column.reasons.get(i) or 'not known'}",)
        )

    def nothing(self, name: str, reason: str) -> Num:
        """All unknown, for one reason."""
        return Num(np.full(self.size(self.names[name].level), np.nan), lambda i: (f"{name}: {reason}",))

    def age(self, name: str) -> Num:
        """Seconds since the oldest input of a metric was true, from its column or from the price behind it."""
        column = self.numbers.columns.get(name)
        subjects = self.numbers.subjects.get(self.names[name].level, ())
        if column is None:
            return self.nothing(name, "was not computed")
        values = np.full(len(subjects), np.nan) if column.age_s is None else column.age_s.astype(np.float64)
        for i in np.flatnonzero(np.isnan(values)):
            quote = self.numbers.quotes.get((name, subjects[i]))
            if quote and quote.observed_at:
                values[i] = self.at_s - quote.observed_at.timestamp()
        return Num(values, lambda i: (f"age of {name}: {column.reasons.get(i) or 'its date is not known'}",))

    def doubt(self, name: str) -> Cond:
        """Whether the price behind a metric stands in doubt (another value waits for confirmation)."""
        subjects = self.numbers.subjects.get(self.names[name].level, ())
        quotes = [self.numbers.quotes.get((name, subject)) for subject in subjects]
        true = np.array([bool(quote and quote.in_doubt) for quote in quotes], np.bool_)
        false = np.array([bool(quote and not quote.in_doubt) for quote in quotes], np.bool_)
        return Cond(true, false, lambda i: (f"{name}: no price is behind it",))

    # ------------------------------------------------------------ levels
    def lift(self, number: Num, source: Level, target: Level, worst: Worst, what: str) -> Num:
        """Numbers of one level as numbers of another: spread from above, the worst from below."""
        if source == target:
            return number
        if source == "market":
            return number._replace(why=lambda i: number.why(0))
        if source == "borrower" and target == "facility":
            return spread(number, self.numbers.facility_borrower)
        groups = self.groups(source, target)
        return worst_of(number, groups, worst, self.numbers.subjects.get(source, ()), what)

    def at_level(self, name: str, level: Level) -> Num:
        """A metric over the subjects of a level."""
        info = self.names[name]
        return self.lift(self.column(name), info.level, level, worse_end(info), name)

    def seen(self, name: str, level: Level) -> FloatArray:
        """The values of a metric as a rule of that level sees them, one per subject."""
        values = self.once(("lift", name, level), lambda: self.at_level(name, level)).values
        if values.size == self.size(level):
            return values
        return self.once(("seen", name, level), lambda: np.broadcast_to(values, self.size(level)))

    def groups(self, source: Level, target: Level) -> Groups:
        """Who is counted together: the facilities of one borrower in its own rule, everybody otherwise."""
        if source == "facility" and target != "market":
            return Groups(self.numbers.facility_borrower, self.size("borrower"))
        return Groups(np.zeros(self.size(source), np.int64), 1)

    def worst_index(self, name: str, target: Level) -> Index:
        """For a facility metric in a rule about borrowers: which facility is the worst, -1 where none is known."""
        info = self.names[name]
        groups = self.groups(info.level, target)
        return self.once(
            ("worst", name, target), lambda: worst_members(self.column(name).values, groups, worse_end(info))
        )

    # ------------------------------------------------------------ the past
    def then(self, name: str, span_s: float, span: str) -> Num:
        """A metric as it stood a span ago."""
        table = self.numbers.history(name)
        if table is None:
            return self.nothing(name, "no past of it is kept")
        values, known = table.at(self.at_s - span_s)
        return Num(np.where(known, values, np.nan), lambda i: (f"{name}: not known {span} ago",))

    def over(
        self, name: str, span_s: float, span: str, reduce: Callable[[FloatArray, FloatArray, float], float]
    ) -> Num:
        """Reduce the window of each subject to one number: ``reduce(times, values, end)``, the present value last."""
        table, now = self.numbers.history(name), self.column(name)
        if table is None:
            return self.nothing(name, "no past of it is kept")
        out = np.full(now.values.size, np.nan)
        for i in np.flatnonzero(~np.isnan(now.values)):
            window = self._window(table, int(i), span_s)
            if window:
                out[i] = reduce(np.append(window[0], self.at_s), np.append(window[1], now.values[i]), self.at_s)
        own = f"{name}: its past does not reach {span} back, or has no answer to this"
        return Num(out, reasons((now,), own))

    def _window(self, table: StepTable, subject: int, span_s: float) -> tuple[FloatArray, FloatArray] | None:
        """Known change points of a window; None where its start is unknown, or more than a little of the rest.

        Through a short gap the last known value holds, as it does between any two points.
        """
        start = self.at_s - span_s
        times, values = table.window(subject, start, self.at_s)
        if not times.size or times[0] > start or np.isnan(values[0]):
            return None
        times, blind = np.maximum(times, start), np.isnan(values)
        if np.diff(np.append(times, self.at_s))[blind].sum() > LARGEST_GAP * span_s:
            return None
        return times[~blind], values[~blind]

    def since(self, name: str) -> Num:
        """Seconds since a metric last changed its value; a lower bound where no change is on record."""
        table, now = self.numbers.history(name), self.column(name)
        if table is None:
            return self.nothing(name, "no past of it is kept")
        exact, least = np.full(now.values.size, np.nan), np.full(now.values.size, np.nan)
        for i in np.flatnonzero(~np.isnan(now.values)):
            times, values = table.window(int(i), 0.0, self.at_s)
            same = values == now.values[i]
            # walk back over the stretch that equals the present value
            start = int(np.flatnonzero(~same)[-1]) + 1 if not same.all() else 0
            least[i] = self.at_s - times[start] if start < times.size else 0.0
            if start > 0 and not np.isnan(values[start - 1]):
                exact[i] = least[i]
        return Num(exact, reasons((now,), f"{name}: no change of it is on record"), (least, exact))


def single(names: Mapping[str, Named], values: Mapping[str, float | None]) -> Numbers:
    """Numbers of one market, one borrower and one facility, for a proof or an example; None is unknown.

    >>> from monitor.values import NameInfo
    >>> names = {"dscr": NameInfo("facility", "x", "min")}
    >>> Scope(single(names, {"dscr": 1.1}), names).column("dscr").values.tolist()
    [1.1]
    """
    columns = {}
    for name, value in values.items():
        known = np.array([value is not None])
        array = np.array([np.nan if value is None else float(value)])
        missing = {} if known[0] else {0: "given as unknown"}
        columns[name] = Column(name, names[name].level, names[name].unit, array, known, missing)
    subjects: dict[Level, tuple[str, ...]] = {
        "market": (MARKET,),
        "borrower": ("borrower",),
        "facility": ("borrower/facility",),
        "source": ("market/source",),
    }
    return Numbers(datetime(2000, 1, 1, tzinfo=UTC), subjects, columns, facility_borrower=np.zeros(1, np.int64))
