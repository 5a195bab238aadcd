"""What the answers about shocks share: their parts, the lines numbers are judged by, and how they are delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monitor.charts import Panel, Stamp, picture
from monitor.commands import Reply
from monitor.model import CanaryError
from monitor.overview import Reading, banner
from monitor.stress.scenario import Scenario
from monitor.stressing import (
    HORIZON_MONTHS,
    Case,
    case_of,
    oldest_s,
)
from monitor.tables import UNKNOWN, Cell, Head, Table, Tone

if TYPE_CHECKING:
    from monitor.shell import Shell

LIQUIDITY = "liquidity_locked_12m"
#: the line between enough and too little, and on which side the harm lies
LINES: dict[str, tuple[float, str]] = {
    LIQUIDITY: (1.0, "min"),
    "interest_cover": (1.0, "min"),
    "coverage": (1.0, "min"),
    "ltv_economic": (1.0, "max"),
    "dscr": (1.0, "min"),
}
LABELS = {
    LIQUIDITY: "liquidity\n12m locked",
    "interest_cover": "interest\ncover",
    "coverage": "cover of\nall debt",
    "ltv_economic": "worst LTV\neconomic",
    "dscr": "worst\nDSCR",
}
MEANING = {
    LIQUIDITY: "liquidity, x of what falls due in 12 months",
    "ltv_economic": "loan to value at market, %",
}
MAX_REASONS = 6
MIDDLE_NOTE = "all assumptions in the middle; nothing is refinanced and nothing new is built"


@dataclass(frozen=True)
class Shown:
    """One answer: what is printed, and what its picture would hold."""

    reply: Reply
    title: str
    panels: tuple[Panel, ...]
    stamp: Stamp


# ---------------------------------------------------------------- words and parts
def open_case(shell: Shell, at: str | None) -> Case:
    """The case a command line asks for."""
    from monitor.moments import moment
    from monitor.world import build_world

    now = datetime.now(UTC)
    world = build_world(shell.config(), offline=shell.offline)
    return case_of(world, None if at is None else moment(at, now), now)


def deliver(shell: Shell, shown: Shown, file: str | None) -> int:
    """Print an answer and, where asked for, write its picture."""
    reply = shown.reply
    if file is not None:
        path = Path(file).expanduser()
        if path.suffix.lower() != ".png":
            raise CanaryError(f"--picture writes PNG: end {file[:80]!r} in .png")
        try:
            path.write_bytes(picture(shown.title, shown.panels, shown.stamp))
        except OSError as error:
            raise CanaryError(f"cannot write {file[:80]}: {error.strerror}") from None
        last = Table("", notes=(Cell(f"picture written to {path}", "good"),))
        reply = replace(reply, data={**reply.data, "picture": str(path)}, tables=(*reply.tables, last))
    return shell.show(reply)


def stamp(case: Case, notes: Sequence[str], borrowers: Sequence[str] = ()) -> Stamp:
    """The stamp of a picture."""
    return Stamp(case.state.at, case.recorded, case.source, oldest_s(case.state, borrowers), tuple(notes))


def heading(case: Case) -> dict[str, object]:
    """What every JSON answer begins with."""
    recorded = case.recorded.isoformat() if case.recorded else None
    return {"at": case.state.at.isoformat(), "recorded": recorded, "btc_usd": case.btc_usd}


def moment_words(case: Case) -> str:
    """The moment and the price everything starts from."""
    price = f"{case.btc_usd:,.0f} USD" if case.btc_usd else UNKNOWN
    return f"as of {case.state.at:%Y-%m-%d %H:%M} UTC, BTC {price}"


def titled(
    case: Case, title: str, heads: Sequence[Head], rows: Sequence[Sequence[Cell]], notes: Sequence[Cell]
) -> Table:
    """A table with the moment below it and the mark of recorded prices above it."""
    told = (Cell(moment_words(case), "dim"), *notes)
    return Table(
        title, tuple(heads), tuple(tuple(row) for row in rows), told, banner(case.recorded, case.btc_usd is not None)
    )


def rolled(scenario: Scenario) -> str:
    """What a first breach supposes of debt that falls due: unlike the liquidity beside it, it may let it be rolled.

    >>> from monitor.stress.scenario import Move
    >>> rolled(Scenario("s")), rolled(Scenario("s", (Move("refinancing", "to", 0.0),)))
    ('all that falls due is refinanced', 'nothing that falls due is refinanced')
    """
    share = 1.0
    for move in scenario.moves:
        if move.factor == "refinancing":
            share = {"to": move.amount, "by": share * (1 + move.amount)}.get(move.verb, share + move.amount)
    if 0 < share < 1:
        return f"{share:.0%} of what falls due is refinanced"
    return f"{'all' if share >= 1 else 'nothing'} that falls due is refinanced"


def why(found: Mapping[str, Reading], what: str = "") -> list[str]:
    """One line per missing thing with the borrowers it leaves unknown; the rest is in --json."""
    names: dict[str, list[str]] = {}
    for name, value in found.items():
        if value.applies and value.value is None:
            names.setdefault(value.reason.split("; ")[0], []).append(name)
    ordered = sorted(names.items(), key=lambda item: -len(item[1]))
    lines = [f"? {what}{cause}: {', '.join(who)}" for cause, who in ordered[:MAX_REASONS]]
    return [*lines, f"? {what}and {len(ordered) - MAX_REASONS} more: --json"] if len(ordered) > MAX_REASONS else lines


def beyond(value: float | None, line: float, worse: str) -> bool:
    """Whether a known number is on the harmful side of its line."""
    if value is None or np.isnan(value):
        return False
    return value < line if worse == "min" else value > line


def cell(found: Reading, metric: str) -> Cell:
    """A reading as a cell; beyond its line it is red and carries a mark that survives without colour."""
    mark = mark_of(found, metric)
    tone: Tone = "critical" if mark.startswith("!") else "warning" if mark else ""
    return Cell(found.text() + (f" {mark}" if mark else ""), tone)


#: what the marks beside a number mean
MARKS = "!: beyond its line at both ends of the assumptions; !~: not at the favourable end; ~: at the adverse end only"


def mark_of(found: Reading, metric: str) -> str:
    """Whether a number is beyond its line, and whether that holds at both ends of its assumptions.

    >>> [mark_of(Reading(v, "x", low, high), "coverage") for v, low, high in ((0.8, 0.7, 0.9), (0.9, 0.8, 1.2))]
    ['!', '!~']
    >>> mark_of(Reading(1.2, "x", 0.9, 1.4), "coverage"), mark_of(Reading(1.2, "x", 1.1, 1.4), "coverage")
    ('~', '')
    """
    ends = [found.value if end is None else end for end in (found.low, found.high)]
    broken = [beyond(value, *LINES[metric]) for value in ends]
    if beyond(found.value, *LINES[metric]):
        return "!" if all(broken) else "!~"
    return "~" if any(broken) else ""


def months_text(first: Reading) -> str:
    """Months to the first breach, or that there is none within the horizon.

    >>> months_text(Reading(float("inf"), "months")), months_text(Reading(7.0, "months", 3.0, 7.0))
    ('none in 12', '7 (3-7)')
    """
    if first.value is None:
        return UNKNOWN
    ends = [end for end in (first.low, first.high) if end is not None and end != first.value]

    def word(value: float) -> str:
        return f"{value:.0f}" if np.isfinite(value) else f"none in {HORIZON_MONTHS}"

    if not ends:
        return word(first.value)
    low, high = (first.value if end is None else end for end in (first.low, first.high))
    return f"{word(first.value)} ({word(low)}-{word(high)})"


def metrics_json(found: Mapping[str, Reading]) -> dict[str, object]:
    """Readings for machines."""
    return {metric: value.json() for metric, value in found.items()}


def scenario_json(scenario: Scenario) -> dict[str, object]:
    """A scenario for machines."""
    moves = [
        {
            "factor": m.factor, m.verb: m.amount, "model": m.model or None, "counterparty": m.counterparty or None,
            "over_months": m.over_months,
        }
        for m in scenario.moves
    ]  # fmt: skip
    return {"name": scenario.name, "note": scenario.note, "moves": moves}
