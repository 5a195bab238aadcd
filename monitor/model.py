"""The nouns every part of Canary speaks in, and its errors. Nothing here computes, reads a clock or touches a file.

Conventions used everywhere:
 - times are timezone-aware UTC ``datetime``; a ``date`` is a calendar day in UTC;
 - a fact published on day D is known from the end of that day (D+1 00:00Z), when its daily close is observed too;
 - ratios are fractions (0.8 is 80 %), money is USD, spans of time are seconds unless the name says months or days;
 - an unknown number is NaN with ``known`` False and a reason; NaN is never a result by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
#: three-valued truth: 1 true, 0 false, -1 unknown
TruthArray = NDArray[np.int8]
TRUE, FALSE, UNKNOWN = 1, 0, -1

Quality = Literal["filing", "press", "derived", "assumed"]
#: a source is a part of the market: its subject is written ``market/kraken``
Level = Literal["market", "borrower", "facility", "source"]
Severity = Literal["info", "warning", "critical"]
#: the one subject of the market level
MARKET = "market"


# ---------------------------------------------------------------- errors
@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a text a person wrote: where it is, what is wrong, what to write instead.

    ``line`` and ``column`` count from 1; ``length`` is the number of characters to underline (0: nothing to point at).
    """

    file: str
    line: int
    column: int
    length: int
    message: str
    fix: str = ""
    source_line: str = ""

    def __str__(self) -> str:
        """The problem as it is shown: position and message, the line, carets under the characters, the fix."""
        parts = [f"{self.file}:{self.line}:{self.column}: {self.message}"]
        if self.source_line:
            start = max(0, self.column - 60)
            line = self.source_line[start : start + 120]
            parts.append(f"    {line}")
            parts.append("    " + " " * (self.column - 1 - start) + "^" * max(1, min(self.length, 120)))
        if self.fix:
            parts.append(f"    {self.fix}")
        return "\n".join(parts)


class CanaryError(Exception):
    """An error a user can act on; the text is the whole message. The CLI prints it without a traceback and exits 2."""


class InputError(CanaryError):
    """A text a person wrote cannot be used. Carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = list(problems)
        super().__init__("\n\n".join(str(problem) for problem in self.problems))


class FeedError(CanaryError):
    """A source gave nothing usable this time; the reason is shown beside the source. The rest of the tick goes on."""


class StoreError(CanaryError):
    """The database cannot be used (unwritable, full, newer, damaged); nothing was half written."""


class DeliveryError(CanaryError):
    """A channel did not take a message. ``kind`` decides what happens next.

    retry: try again later (``retry_after_s`` if the channel said when); dead: never try again, tell another channel;
    unknown: the request left and no answer came, the message may or may not have arrived.
    """

    def __init__(self, text: str, kind: Literal["retry", "dead", "unknown"], retry_after_s: float | None = None):
        super().__init__(text)
        self.kind = kind
        self.retry_after_s = retry_after_s


# ---------------------------------------------------------------- time
def end_of_day(day: date) -> datetime:
    """The moment from which what happened on a UTC day is known: the next midnight.

    >>> end_of_day(date(2026, 8, 12)).isoformat()
    '2026-08-13T00:00:00+00:00'
    """
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)


# ---------------------------------------------------------------- the book
FactValue = float | str | date | bool


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure from one document. ``known_at`` is None when its publication is unknown and nothing dated followed.

    ``at_latest`` says that ``published`` is only the day by which it was public.

    >>> june, august = date(2026, 6, 30), date(2026, 8, 12)
    >>> Fact("debt_usd", 1e9, june, august, None, "press", "a daily", at_latest=True).publication
    'by 2026-08-12'
    """

    field: str
    value: FactValue
    as_of: date
    published: date | None
    known_at: datetime | None
    quality: Quality
    source: str
    note: str = ""
    at_latest: bool = False

    @property
    def publication(self) -> str:
        """The day of publication in words: ``2026-08-12``, ``by 2026-08-12`` or ``?``."""
        return "?" if self.published is None else f"{'by ' if self.at_latest else ''}{self.published.isoformat()}"


@dataclass(frozen=True, slots=True)
class Put:
    """A holder's right to be repaid early, on a date, at a price (fraction of par)."""

    on: date
    price: float = 1.0


@dataclass(frozen=True, slots=True)
class Covenants:
    """Contractual tests of one debt or facility; None is unknown or absent, never zero. LTV is loan / collateral."""

    dscr_min: float | None = None
    dscr_basis: Literal["quarter", "ltm", "forward_12m"] = "quarter"
    lockup_dscr: float | None = None
    cash_sweep: float | None = None
    ltv_max: float | None = None
    liquidity_min_usd: float | None = None
    margin_call_ltv: float | None = None
    cure_ltv: float | None = None
    liquidation_ltv: float | None = None
    cure_hours: float | None = None
    quality: Quality = "assumed"


DebtKind = Literal[
    "ddtl",
    "abl",
    "equipment",
    "convertible",
    "high_yield",
    "term_loan",
    "revolver",
    "btc_loan",
    "oem",
    "project",
    "lease",
]
Recourse = Literal["none", "limited", "completion", "springing", "full"]
Amortisation = Literal["bullet", "straight_line", "schedule"]


@dataclass(frozen=True, slots=True)
class Debt:
    """One instrument of one borrower. Dated amounts are in ``facts`` (principal_usd, undrawn_usd, accreted_usd)."""

    id: str
    name: str
    kind: DebtKind
    facts: tuple[Fact, ...]
    coupon: float | None = None
    base: str | None = None
    margin: float | None = None
    hedged_share: float | None = None
    hedged_rate: float | None = None
    issued: date | None = None
    maturity: date | None = None
    maturity_earliest: date | None = None
    amortisation: Amortisation | None = None
    schedule_usd: Mapping[date, float] = field(default_factory=dict)
    puts: tuple[Put, ...] = ()
    conversion_price_usd: float | None = None
    accretion: float | None = None
    entity: str | None = None
    lien: str | None = None
    recourse: Recourse | None = None
    guarantor: str | None = None
    recourse_cap_usd: float | None = None
    recourse_end: date | None = None
    cross_default_usd: float | None = None
    covenants: Covenants = Covenants()
    lender: str | None = None
    was: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class HardwareUnits:
    """A disclosed count of machines of one model bought in one month."""

    model: str
    bought: date
    units: float
    fact: Fact


@dataclass(frozen=True, slots=True)
class CostVintage:
    """Equipment known by what it cost and when; the model mix is an assumption unless stated."""

    bought: date
    cost_usd: float
    model_mix: Mapping[str, float]
    fact: Fact


@dataclass(frozen=True, slots=True)
class Contract:
    """A customer contract that stands in one pool and only one. Id is unique in the whole book."""

    id: str
    counterparty: str
    monthly_revenue_usd: float | None
    ends: date | None
    starts: date | None
    fact: Fact


PoolType = Literal["hardware", "lease_building", "coins", "none"]


@dataclass(frozen=True, slots=True)
class Facility:
    """One ring-fenced pool and the debts it secures."""

    id: str
    name: str
    debts: tuple[str, ...]
    pool: PoolType
    entity: str | None = None
    units: tuple[HardwareUnits, ...] = ()
    cost_vintages: tuple[CostVintage, ...] = ()
    contracts: tuple[Contract, ...] = ()
    #: dated figures of the pool: escrow_usd, cost_usd, cfads_quarter_usd, coins_pledged_btc and others
    facts: tuple[Fact, ...] = ()
    advance_rate: float | None = None
    useful_life_months: float | None = None
    covenants: Covenants = Covenants()
    was: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Maturity:
    """Principal falling due inside one bucket (a year, or everything after), as filed."""

    bucket: str
    starts: date
    ends: date | None
    principal_usd: float
    fact: Fact


@dataclass(frozen=True, slots=True)
class CreditEvent:
    """A dated credit event: what happened, when it became known, where it was read."""

    kind: str
    happened: date
    known_at: datetime | None
    source: str
    note: str = ""


BorrowerKind = Literal["miner", "neocloud", "hpc_host", "private"]
BorrowerStatus = Literal["watched", "insufficient_data", "defaulted", "closed"]


@dataclass(frozen=True, slots=True)
class Borrower:
    """One obligor: the file stem is its id. Figures in ``facts`` are group level unless a facility carries them."""

    id: str
    name: str
    kind: BorrowerKind
    status: BorrowerStatus = "watched"
    ticker: str | None = None
    cik: int | None = None
    facts: tuple[Fact, ...] = ()
    debts: tuple[Debt, ...] = ()
    facilities: tuple[Facility, ...] = ()
    maturities: tuple[Maturity, ...] = ()
    events: tuple[CreditEvent, ...] = ()
    #: customers by share of revenue: counterparty -> fraction; sums to at most one
    tenants: Mapping[str, float] = field(default_factory=dict)
    #: what is missing for a stub, in words
    missing: tuple[str, ...] = ()
    was: str | None = None
    note: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A dated mark a desk would enter: a resale price, a quote, a CDS, a rating."""

    series: str
    subject: str
    value: float
    unit: str
    as_of: date
    known_at: datetime | None
    quality: Quality
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Assumption:
    """One number nobody disclosed, with the range it may lie in, for one kind of borrower (or ``all``)."""

    name: str
    kind: str
    low: float
    middle: float
    high: float
    unit: str
    why: str
    source: str


@dataclass(frozen=True)
class Book:
    """Everything known about borrowers, as written; :func:`monitor.known.as_known` cuts it at a moment."""

    borrowers: tuple[Borrower, ...]
    marks: tuple[Mark, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    book_hash: str = ""
    assumptions_hash: str = ""

    def borrower(self, borrower_id: str) -> Borrower:
        """The borrower with this id; KeyError if the book has none."""
        for borrower in self.borrowers:
            if borrower.id == borrower_id:
                return borrower
        raise KeyError(borrower_id)


# ---------------------------------------------------------------- prices
@dataclass(frozen=True, slots=True)
class Observation:
    """One value of one series: when it was true, when it became known, and where it came from."""

    series: str
    value: float
    unit: str
    observed_at: datetime
    known_at: datetime
    source: str
    subject: str = MARKET
    known_basis: Literal["live", "assumed", "published"] = "live"
    restated: bool = False
    quality: Quality = "filing"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """The value of a series in force at a moment, or why there is none: ``value`` is NaN exactly with a ``reason``."""

    series: str
    subject: str
    value: float
    unit: str
    observed_at: datetime | None
    known_at: datetime | None
    source: str
    reason: str = ""
    in_doubt: str = ""
    restated: bool = False
    known_basis: str = "live"
    quality: Quality = "filing"

    @property
    def known(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True)
class FeedReport:
    """What one source did in one tick."""

    feed: str
    ok: bool
    reason: str
    observations: int
    seconds: float
    newest: datetime | None = None
    #: what it answered: (address, body); kept apart from the report
    raw: tuple[tuple[str, bytes], ...] = field(default=(), repr=False, compare=False)


class StepTable(Protocol):
    """The known past of one name over the subjects of its level: step functions, never interpolated or counted."""

    @property
    def unit(self) -> str:
        """The unit of its values; empty where the metric's own unit applies."""

    def at(self, when_s: float) -> tuple[FloatArray, BoolArray]:
        """Values in force at a moment (epoch seconds): (values (n,), known (n,))."""

    def window(self, subject: int, from_s: float, to_s: float) -> tuple[FloatArray, FloatArray]:
        """Change points inside a window, the value in force at ``from_s`` first: (times_s, values)."""


# ---------------------------------------------------------------- numbers
@dataclass(frozen=True)
class Column:
    """One metric over the subjects of its level, in the order of :attr:`Numbers.subjects`.

    values (n,) float64, NaN exactly where ``known`` is False; known (n,) bool;
    reasons: index -> why it is unknown; used: index -> assumptions and derived inputs that entered;
    low, high (n,): the value at both ends of its assumptions (equal to values where none was used);
    age_s (n,): age of the oldest input in seconds, NaN where not applicable; detail: index -> a note for messages.
    """

    metric: str
    level: Level
    unit: str
    values: FloatArray
    known: BoolArray
    reasons: Mapping[int, str] = field(default_factory=dict)
    used: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    low: FloatArray | None = None
    high: FloatArray | None = None
    age_s: FloatArray | None = None
    detail: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Numbers:
    """Everything one evaluation knows: metrics now, metrics under each scenario, the prices used, the known past.

    Facility subjects are written ``borrower/facility``.
    """

    at: datetime
    subjects: Mapping[Level, tuple[str, ...]]
    columns: Mapping[str, Column]
    scenarios: Mapping[str, Mapping[str, Column]] = field(default_factory=dict)
    quotes: Mapping[tuple[str, str], Quote] = field(default_factory=dict)
    history: Callable[[str], StepTable | None] = lambda name: None
    #: borrower index of each facility, in the order of ``subjects["facility"]``
    facility_borrower: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    recorded: bool = False


# ---------------------------------------------------------------- rules and alerts
OnMissing = Literal["keep", "alert", "ok"]


@dataclass(frozen=True, slots=True)
class Proof:
    """A case written in the rule: numbers in, must fire or must stay quiet."""

    at: Mapping[str, float | None]
    fires: bool
    line: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert rule as written in a file. ``for_s`` and the others are seconds; id is unique over all files."""

    id: str
    expr: str
    severity: Severity
    each: Level = "borrower"
    clear: str | None = None
    for_s: float = 0.0
    keep_firing_for_s: float = 0.0
    #: how long until a standing alert is said again; 0: as its severity has it
    repeat_s: float = 0.0
    on_missing: OnMissing = "keep"
    downtime: Literal["counts", "pauses"] | None = None
    inhibits: tuple[str, ...] = ()
    summary: str = ""
    why: str = ""
    do: str = ""
    false_alarms: str = ""
    runbook: str = ""
    proof: tuple[Proof, ...] = ()
    route: str | None = None
    was: str | None = None
    file: str = ""
    line: int = 0
    #: hash of what decides its truth (expr, clear, each); an edit of a text changes nothing
    logic_hash: str = ""


@dataclass(frozen=True)
class Match:
    """What one rule says about every subject of its level at one moment.

    truth (n,) and cleared (n,): 1 true, 0 false, -1 unknown; why: index -> the unknown names behind a -1;
    values: name -> (n,) of the numbers the expression named, for messages; error: the rule itself failed.
    """

    rule: Rule
    subjects: tuple[str, ...]
    truth: TruthArray
    cleared: TruthArray
    why: Mapping[int, str] = field(default_factory=dict)
    values: Mapping[str, FloatArray] = field(default_factory=dict)
    error: str = ""


State = Literal["ok", "pending", "firing", "recovering", "nodata", "error"]


@dataclass(frozen=True, slots=True)
class AlertState:
    """The state of one (rule, subject). Every timestamp is kept, so that a restart changes nothing. Times are UTC."""

    rule: str
    subject: str
    state: State = "ok"
    #: when the expression first became true in the present episode
    active_at: datetime | None = None
    fired_at: datetime | None = None
    #: when the recovery threshold was first met
    keep_since: datetime | None = None
    resolved_at: datetime | None = None
    state_before: State | None = None
    nodata_since: datetime | None = None
    #: seconds of ``for`` served before the present uninterrupted stretch (downtime that does not count is left out)
    served_s: float = 0.0
    seen_at: datetime | None = None
    #: times it fired since the last message about it
    flaps: int = 0
    reason: str = ""
    short_id: str = ""
    logic_hash: str = ""


EventKind = Literal[
    "pending", "fired", "recovering", "resolved", "nodata", "data_back", "error", "error_over", "dropped"
]


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one alert: a row. ``values`` are the numbers at that moment, with units for display."""

    id: str
    rule: str
    subject: str
    severity: Severity
    kind: EventKind
    at: datetime
    reason: str
    before: State
    after: State
    short_id: str = ""
    values: Mapping[str, float | None] = field(default_factory=dict)
    because: str = ""
    #: one firing episode of one alert: the id of its first event
    episode: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What routing decided for one event and one route: send (as part of which message) or not, with a named reason."""

    event_id: str
    route: str
    send: bool
    reason: str
    message_id: str = ""


MessageKind = Literal["fired", "resolved", "reminder", "digest", "notice", "test", "edit"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a message: a label in the margin and the text. Texts are plain; the channel escapes."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one destination, before any channel's markup or limits. Lines are in the order a desk reads."""

    id: str
    route: str
    channel: str
    to: str
    kind: MessageKind
    severity: Severity
    title: str
    lines: tuple[Line, ...]
    created_at: datetime
    event_ids: tuple[str, ...] = ()
    recorded: bool = False
    possibly_repeated: bool = False


OutboxState = Literal["queued", "sending", "sent", "unknown", "retry", "dead", "expired"]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One message on its way. ``sending`` is committed before the request leaves; ``sent`` only after the yes."""

    message: Message
    state: OutboxState
    attempts: int = 0
    attempt_id: str = ""
    next_at: datetime | None = None
    sent_at: datetime | None = None
    channel_message_id: str = ""
    error: str = ""
