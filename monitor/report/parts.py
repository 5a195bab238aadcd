"""The parts a page is made of: finished texts, positions of drawings, nothing that still has to be worked out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from monitor.model import Severity
from monitor.tables import Table, Tone


@dataclass(frozen=True, slots=True)
class Fig:
    """One number as a cell. ``sort``: what it is ordered by, None last; ``why``: what is unknown, or a remark."""

    text: str
    sort: float | None = None
    why: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Head:
    """One column of the sortable table. ``help`` is its meaning in a sentence."""

    label: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One borrower of the main table."""

    id: str
    name: str
    kind: str
    figures: tuple[Fig, ...]
    alerts: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert that stands, with the reason it stands in the rule's own numbers."""

    short_id: str
    rule: str
    subject: str
    severity: Severity
    since: str
    says: str
    said: str
    why: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: its place in drawing units and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One number over time as strokes (SVG path data), its newest value, and the unit of the axis."""

    label: str
    strokes: tuple[str, ...]
    newest: str


@dataclass(frozen=True, slots=True)
class Marked:
    """Something that happened, on the time axis."""

    at: float
    day: str
    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class History:
    """Ninety days of a borrower. ``reason`` instead where nothing was recorded yet."""

    curves: tuple[Curve, ...] = ()
    events: tuple[Marked, ...] = ()
    x: tuple[Tick, ...] = ()
    y: tuple[Tick, ...] = ()
    line: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of a grid: its number, its colour, where the breach line runs, and whether it is today."""

    text: str
    shade: str
    left: bool = False
    top: bool = False
    today: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid as a table. ``reason`` instead where nothing is known."""

    across: str = ""
    down: str = ""
    x: tuple[str, ...] = ()
    y: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    line: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: where it stands and how tall its parts are, in drawing units; ``text`` above it, ``label`` below."""

    label: str
    text: str
    parts: tuple[tuple[float, float, str], ...]
    full: str


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars side by side with the meaning of their colours. ``reason`` instead where nothing is known."""

    bars: tuple[Bar, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """One number before and after as a text, and what each axis takes of it, which adds up."""

    text: str
    parts: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one scenario does to some numbers, in the order of the labels."""

    scenario: str
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Causes:
    """The scenarios that move a borrower's numbers; the note says which do not, and what the parts are."""

    labels: tuple[str, ...]
    moved: tuple[Effect, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Dated:
    """Figures of one document: when they were true and known and how good they are, the document, the figures."""

    when: str
    source: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Everything about one borrower."""

    id: str
    name: str
    kind: str
    status: str
    summary: tuple[tuple[str, Fig], ...]
    unknown: tuple[tuple[str, str], ...]
    tone: Tone
    alerts: tuple[Alert, ...]
    stack: Bars
    coins: Table
    history: History
    grid: Grid
    breach: Bars
    causes: Causes
    #: what its lenders lose if it falls
    losses: Table
    pools: Table
    #: (name, what it is)
    debts: tuple[tuple[str, str], ...]
    #: (pool and how many of the six tests of infrastructure it passes, which)
    cards: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    dated: tuple[Dated, ...]


@dataclass(frozen=True)
class Report:
    """The whole page."""

    at: datetime
    recorded: date | None
    btc: str
    inputs: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    unknown: tuple[tuple[str, tuple[str, ...]], ...]
    stubs: tuple[str, ...]
    alerts: tuple[Alert, ...]
    sections: tuple[Section, ...]
    feeds: Table
    prices: Table
    index: Table
    assumptions: Table
