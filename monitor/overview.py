"""The first thing a user sees: every borrower in one row, how near its lines are, and what is not known and why.

Plain data in, a :class:`~monitor.tables.Table` and its JSON twin out. A facility number stands for the worst facility
of its borrower; what is unknown is ``?`` and the reasons are grouped below the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.metrics import METRICS
from monitor.model import AlertState, Borrower, Column, FeedReport, Numbers, Severity
from monitor.tables import NOT_APPLICABLE, UNKNOWN, Cell, Head, Table, Tone, show

#: alerts in these states stand on the table
LOUD = ("firing", "recovering")
RANK: dict[str, int] = {"critical": 0, "warning": 1, "info": 2, "": 3}
#: groups of reasons printed under the table; the rest is in --json
MAX_REASONS = 8
#: sources that failed are told in full up to this many, and each reason up to this length
MAX_FAILED = 2
MAX_REASON_CHARACTERS = 200
MAX_NAMED = 6


@dataclass(frozen=True)
class Snapshot:
    """One evaluation as a user may ask about it. ``recorded`` is the date of the prices when they are not live."""

    numbers: Numbers
    states: Sequence[AlertState]
    severities: Mapping[str, Severity]
    borrowers: Mapping[str, Borrower]
    reports: Sequence[FeedReport] = ()
    problems: Sequence[str] = ()
    recorded: date | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of one borrower: unknown has a reason, and ``applies`` is False where there is no such facility."""

    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    reason: str = ""
    where: str = ""
    applies: bool = True
    #: other facilities of the borrower are unknown, so the worst may be worse
    partial: bool = False

    def text(self, ends: bool = False) -> str:
        """The number as a cell of the table, with both ends of its assumptions where asked for."""
        if not self.applies:
            return NOT_APPLICABLE
        if self.value is None:
            return UNKNOWN
        text = show(self.value, self.unit) + (" ?" if self.partial else "")
        if ends and self.low is not None and self.high is not None and self.low != self.high:
            low, high = sorted((self.low, self.high))
            # a hyphen before a minus sign, or after a negative number, reads as neither
            joint = " to " if low < 0 else "-"
            text += f" ({show(low, self.unit).removesuffix('x')}{joint}{show(high, self.unit)})"
        return text

    def json(self) -> dict[str, object]:
        """The number for machines: unknown is null with a reason, unlimited is the word."""
        parts: dict[str, object] = {"value": _plain(self.value), "unit": self.unit}
        if self.low is not None and self.high is not None:
            parts |= {"low": _plain(self.low), "high": _plain(self.high)}
        if not self.applies:
            parts["applies"] = False
        if self.partial:
            parts["partial"] = True
        for name, text in (("reason", self.reason), ("facility", self.where)):
            if text:
                parts[name] = text
        return parts

    @classmethod
    def from_json(cls, parts: Mapping[str, Any]) -> Reading:
        """The reading behind :meth:`json`.

        >>> one = Reading(float("inf"), "months", reason="positive flow")
        >>> Reading.from_json(one.json()) == one
        True
        """
        value, low, high = (_number(parts.get(name)) for name in ("value", "low", "high"))
        reason, where = str(parts.get("reason", "")), str(parts.get("facility", ""))
        applies, partial = bool(parts.get("applies", True)), bool(parts.get("partial", False))
        return cls(value, str(parts["unit"]), low, high, reason, where, applies, partial)


def _plain(value: float | None) -> float | str | None:
    if value is None or np.isnan(value):
        return None
    return value if np.isfinite(value) else "unlimited" if value > 0 else "-unlimited"


def _number(value: float | str | None) -> float | None:
    if isinstance(value, str):
        return -float("inf") if value.startswith("-") else float("inf")
    return value


@dataclass(frozen=True, slots=True)
class Field:
    """One column of the overview and the metric behind it."""

    label: str
    metric: str
    expendable: int = 0
    ends: bool = False


FIELDS = (
    Field("canary\nrank", "canary_rank"),
    Field("liquidity\n12m locked", "liquidity_locked_12m", ends=True),
    Field("worst LTV\neconomic", "ltv_economic"),
    Field("worst\nDSCR", "dscr"),
    Field("debt\nUSD", "debt_usd"),
    Field("interest\ncover", "interest_cover", expendable=2),
    Field("runway\nmonths", "runway_months", expendable=3),
    Field("balance\nsheet age", "balance_sheet_age", expendable=4),
)
#: the nearest line: a price where coins are pledged, else what is left to a covenant
TRIGGERS = ("margin_call_btc_usd", "ltv_headroom", "dscr_headroom")
METRICS_SHOWN = (*(part.metric for part in FIELDS), *TRIGGERS)


@dataclass(frozen=True, slots=True)
class Firing:
    """One alert that is firing: the rule, how severe, and whose."""

    rule: str
    severity: Severity
    subject: str


@dataclass(frozen=True)
class Row:
    """One borrower with its readings and the alerts that are firing."""

    borrower: str
    name: str
    kind: str
    readings: Mapping[str, Reading]
    alerts: Sequence[Firing] = ()

    @property
    def severity(self) -> Tone:
        """The loudest severity among the alerts of this borrower."""
        return loudest(self.alerts)


@dataclass(frozen=True)
class Overview:
    """One evaluation as it is shown and kept: the rows in the order of the table, and what stands below it."""

    at: datetime
    recorded: date | None
    btc_usd: float | None
    rows: tuple[Row, ...]
    market_alerts: tuple[Firing, ...] = ()
    stubs: tuple[str, ...] = ()
    stub_alerts: tuple[Firing, ...] = ()
    feeds: tuple[tuple[str, bool, str], ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def firing(self) -> int:
        """How many alerts are firing that somebody should look into; information, such as a sign of life, is not."""
        alerts = [*self.market_alerts, *self.stub_alerts, *(alert for row in self.rows for alert in row.alerts)]
        return sum(alert.severity != "info" for alert in alerts)


def loudest(alerts: Sequence[Firing]) -> Tone:
    """The loudest severity, or nothing."""
    return min((alert.severity for alert in alerts), key=RANK.__getitem__, default="")


# ---------------------------------------------------------------- readings
def reading(numbers: Numbers, metric: str, borrower: int) -> Reading:
    """One metric of one borrower; of a facility metric the worst facility that somebody is owed by.

    Unknown facilities cannot hide a known bad one, nor read as fine: the worst known is shown, marked as partial.
    """
    column = numbers.columns.get(metric)
    info = METRICS.get(metric)
    unit = column.unit if column else (info.unit if info else "")
    if column is None:
        return Reading(None, unit, reason=f"{metric} was not computed")
    if column.level != "facility":
        return _at(column, 0 if column.level == "market" else borrower)
    own = _indebted(numbers, borrower)
    if own.size == 0:
        return Reading(None, unit, reason="no secured facility in the book", applies=False)
    known = own[column.known[own]]
    if known.size == 0:
        first = _at(column, int(own[0]))
        return Reading(None, unit, reason=first.reason, where=_facility(numbers, int(own[0])))
    values = column.values[known]
    worst = int(known[np.argmax(values) if info is None or info.worst == "max" else np.argmin(values)])
    found = _at(column, worst)
    unknown = own.size - known.size
    reason = f"{unknown} of {own.size} facilities unknown" if unknown else ""
    return Reading(found.value, unit, found.low, found.high, reason, _facility(numbers, worst), partial=bool(unknown))


def _indebted(numbers: Numbers, borrower: int) -> NDArray[np.int64]:
    """The facilities of a borrower, without those no debt stands against: their cover says nothing."""
    own = np.flatnonzero(numbers.facility_borrower == borrower)
    principal = numbers.columns.get("principal_usd")
    if principal is None:
        return own
    free = principal.known[own] & (principal.values[own] == 0)
    return np.asarray(own[~free], dtype=np.int64)


def _at(column: Column, index: int) -> Reading:
    if not column.known[index]:
        return Reading(None, column.unit, reason=column.reasons.get(index, "no reason was kept"))
    low = None if column.low is None else float(column.low[index])
    high = None if column.high is None else float(column.high[index])
    return Reading(float(column.values[index]), column.unit, low, high)


def _facility(numbers: Numbers, index: int) -> str:
    return numbers.subjects["facility"][index].partition("/")[2]


def trigger(row: Row, btc_usd: float | None) -> str:
    """The nearest line in words: the BTC price of a margin call and how far away it is, else a covenant's headroom."""
    call = row.readings["margin_call_btc_usd"]
    if call.value is not None and call.applies:
        distance = f"{call.value / btc_usd - 1:+.0%}" if btc_usd else ""
        ranged = call.low is not None and call.high is not None and call.low != call.high
        ends = f"{call.low:,.0f}-{call.high:,.0f}" if ranged else ""
        inside = ", ".join(part for part in (ends, distance) if part)
        return f"call at BTC {call.value:,.0f}" + (f" ({inside})" if inside else "")
    ltv, dscr = row.readings["ltv_headroom"], row.readings["dscr_headroom"]
    parts = [f"{label} {_signed(part)}" for label, part in (("LTV", ltv), ("DSCR", dscr)) if part.value is not None]
    if parts:
        return ", ".join(parts)
    applies = any(part.applies for part in (call, ltv, dscr))
    return UNKNOWN if applies else NOT_APPLICABLE


def _signed(part: Reading) -> str:
    value = part.value or 0.0
    return f"{value * 100:+.0f} pts" if part.unit == "ratio" else f"{value:+.2f}{part.unit}"


# ---------------------------------------------------------------- from an evaluation
def overview(snapshot: Snapshot) -> Overview:
    """What one evaluation says about everybody: the loudest first, then the least liquid, unknown last."""
    numbers, firing = snapshot.numbers, _firing(snapshot)
    rows, stub_alerts = [], list[Firing]()
    for index, borrower_id in enumerate(numbers.subjects.get("borrower", ())):
        borrower = snapshot.borrowers.get(borrower_id)
        if borrower is not None and borrower.status == "insufficient_data":
            stub_alerts += firing.get(borrower_id, ())
            continue
        readings = {metric: reading(numbers, metric, index) for metric in METRICS_SHOWN}
        name, kind = (borrower.name, borrower.kind) if borrower else (borrower_id, "")
        rows.append(Row(borrower_id, name, kind, readings, tuple(firing.get(borrower_id, ()))))
    quote = numbers.quotes.get(("btc_usd", "market"))
    return Overview(
        at=numbers.at,
        recorded=snapshot.recorded,
        btc_usd=quote.value if quote is not None and quote.known else None,
        rows=tuple(sorted(rows, key=_order)),
        market_alerts=tuple(firing.get("market", ())),
        stubs=tuple(sorted(b.name for b in snapshot.borrowers.values() if b.status == "insufficient_data")),
        stub_alerts=tuple(stub_alerts),
        feeds=tuple((report.feed, report.ok, report.reason) for report in snapshot.reports),
        problems=tuple(snapshot.problems),
    )


def _order(row: Row) -> tuple[int, bool, float, str]:
    value = row.readings["liquidity_locked_12m"].value
    return RANK[row.severity], value is None, value or 0.0, row.name


def _firing(snapshot: Snapshot) -> dict[str, list[Firing]]:
    """Firing alerts by borrower (``market`` for the market), the loudest first."""
    table: dict[str, list[Firing]] = {}
    for state in snapshot.states:
        if state.state in LOUD or (state.state == "nodata" and state.state_before in LOUD):
            severity = snapshot.severities.get(state.rule, "warning")
            table.setdefault(state.subject.partition("/")[0], []).append(Firing(state.rule, severity, state.subject))
    for alerts in table.values():
        alerts.sort(key=lambda alert: (RANK[alert.severity], alert.rule, alert.subject))
    return table


# ---------------------------------------------------------------- for people
def overview_table(shown: Overview) -> Table:
    """The main table."""
    first, rest = FIELDS[:4], FIELDS[4:]
    heads = (
        Head("borrower"),
        Head("kind", expendable=5),
        *(Head(part.label, right=True, expendable=part.expendable) for part in first),
        Head("nearest\ntrigger", expendable=1),
        *(Head(part.label, right=True, expendable=part.expendable) for part in rest),
        Head("alerts firing"),
    )
    rows = tuple(
        (
            Cell(row.name, row.severity),
            Cell(row.kind.replace("_", " ")),
            *(Cell(row.readings[part.metric].text(part.ends)) for part in first),
            Cell(trigger(row, shown.btc_usd)),
            *(Cell(row.readings[part.metric].text(part.ends)) for part in rest),
            Cell(alert_words(row.alerts), row.severity),
        )
        for row in shown.rows
    )
    price = f"{shown.btc_usd:,.0f} USD" if shown.btc_usd else UNKNOWN
    notes = (*_below(shown), *_why_unknown(shown.rows), *_problems(shown))
    said = banner(shown.recorded, priced=shown.btc_usd is not None)
    return Table(f"as of {shown.at:%Y-%m-%d %H:%M} UTC, BTC {price}", heads, rows, notes, said)


def banner(recorded: date | None, priced: bool = True) -> str:
    """What is said above everything else when prices are not live; ``priced``: there is one of bitcoin at all."""
    if recorded is None:
        return ""
    if not priced:
        return f" RECORDED {recorded}: only recorded prices are used, and no usable one of bitcoin reaches that day "
    return f" RECORDED {recorded}: these are recorded prices of that day, not today's "


def alert_words(alerts: Sequence[Firing]) -> str:
    """The names of firing alerts, each once with how often.

    >>> alert_words([Firing("A", "info", "x/1"), Firing("A", "info", "x/2"), Firing("B", "info", "x")])
    'A x2, B'
    """
    counts: dict[str, int] = {}
    for alert in alerts:
        counts[alert.rule] = counts.get(alert.rule, 0) + 1
    words = [rule if count == 1 else f"{rule} x{count}" for rule, count in counts.items()]
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _below(shown: Overview) -> list[Cell]:
    lines = [Cell(f"insufficient data: {', '.join(shown.stubs)}", "dim")] if shown.stubs else []
    if shown.stub_alerts:
        lines.append(Cell(f"firing among them: {alert_words(shown.stub_alerts)}", loudest(shown.stub_alerts)))
    market = [alert for alert in shown.market_alerts if alert.severity != "info"]
    if market:
        lines.append(Cell(f"market: {alert_words(market)}", loudest(market)))
    return lines


def _why_unknown(rows: Sequence[Row]) -> list[Cell]:
    """Why cells read ``?``: one line per missing thing, with the borrowers and the columns it leaves unknown."""
    names: dict[str, dict[str, None]] = {}
    labels: dict[str, dict[str, None]] = {}
    for row in rows:
        for part in FIELDS:
            found = row.readings[part.metric]
            if not found.applies or found.value is not None:
                continue
            for cause in found.reason.split("; "):
                if not re.fullmatch(r"and \d+ more", cause):
                    names.setdefault(cause, {})[row.name] = None
                    labels.setdefault(cause, {})[part.label.replace("\n", " ")] = None
    causes = sorted(names, key=lambda cause: -len(names[cause]) * len(labels[cause]))
    lines = [f"? {cause}: {_names(list(names[cause]))} ({', '.join(labels[cause])})" for cause in causes]
    if len(lines) > MAX_REASONS:
        lines = [*lines[:MAX_REASONS], f"? and {len(lines) - MAX_REASONS} more: canary status --json"]
    if any(reading.partial for row in rows for reading in row.readings.values()):
        lines.append("a ? behind a number: another facility of this borrower is unknown and may be worse")
    return [Cell(line, "dim") for line in lines]


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _problems(shown: Overview) -> list[Cell]:
    """What went wrong: a source or two in full, many by name, so that an outage does not bury the table."""
    failed = {feed: reason for feed, ok, reason in shown.feeds if not ok}
    if len(failed) > MAX_FAILED:
        named = ", ".join(failed)
        told = [f"{len(failed)} of {len(shown.feeds)} sources gave nothing: {named}; `canary doctor` says why"]
    else:
        told = [f"{feed}: {reason[:MAX_REASON_CHARACTERS]}" for feed, reason in failed.items()]
    others = [text for text in shown.problems if text.partition(":")[0] not in failed]
    return [Cell(text, "warning") for text in (*told, *others)]


# ---------------------------------------------------------------- for machines, and for the next process that asks
def overview_json(shown: Overview) -> dict[str, Any]:
    """The same for machines: every number with unit and reason, every alert with its subject."""
    return {
        "at": shown.at.isoformat(),
        "recorded": shown.recorded.isoformat() if shown.recorded else None,
        "btc_usd": shown.btc_usd,
        "borrowers": [
            {
                "id": row.borrower,
                "name": row.name,
                "kind": row.kind,
                "alerts": [_alert_json(alert) for alert in row.alerts],
                "metrics": {metric: found.json() for metric, found in row.readings.items()},
            }
            for row in shown.rows
        ],
        "market_alerts": [_alert_json(alert) for alert in shown.market_alerts],
        "insufficient_data": list(shown.stubs),
        "insufficient_data_alerts": [_alert_json(alert) for alert in shown.stub_alerts],
        "feeds": [{"feed": feed, "ok": ok, "reason": reason} for feed, ok, reason in shown.feeds],
        "problems": list(shown.problems),
    }


def overview_from_json(data: Mapping[str, Any]) -> Overview:
    """The overview behind :func:`overview_json`."""
    rows = tuple(
        Row(
            row["id"],
            row["name"],
            row["kind"],
            {metric: Reading.from_json(parts) for metric, parts in row["metrics"].items()},
            tuple(Firing(**alert) for alert in row["alerts"]),
        )
        for row in data["borrowers"]
    )
    return Overview(
        at=datetime.fromisoformat(data["at"]),
        recorded=date.fromisoformat(data["recorded"]) if data["recorded"] else None,
        btc_usd=data["btc_usd"],
        rows=rows,
        market_alerts=tuple(Firing(**alert) for alert in data["market_alerts"]),
        stubs=tuple(data["insufficient_data"]),
        stub_alerts=tuple(Firing(**alert) for alert in data["insufficient_data_alerts"]),
        feeds=tuple((report["feed"], report["ok"], report["reason"]) for report in data["feeds"]),
        problems=tuple(data["problems"]),
    )


def _alert_json(alert: Firing) -> dict[str, str]:
    return {"rule": alert.rule, "severity": alert.severity, "subject": alert.subject}
