"""A replay scored against what happened: each borrower, each rule, and naive warnings on the same days; as data."""

from __future__ import annotations

import csv
import io
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from monitor import scoring
from monitor.known import all_facts
from monitor.model import MARKET, BoolArray, FloatArray, Severity, end_of_day
from monitor.replay import DAY, ReplayResult, day_before
from monitor.replay_rigs import rig_row
from monitor.scoring import Episode, Outcome, Ranking, Score

#: the naive warnings, round numbers that were not fitted: bitcoin down by half from its high of a year, debt five times
#: cash, coins down by a third in a quarter
BTC_DRAWDOWN, DEBT_OVER_CASH, COINS_FALL = 0.5, 5.0, -0.3

#: failures first, what cannot be judged last
ORDER = ("failure", "borderline", "failed later", "survivor", "no debt", "debt unknown", "insufficient data")
SEVERITIES: tuple[Severity, ...] = ("warning", "critical")


# ---------------------------------------------------------------- ways to warn
@dataclass(frozen=True)
class Verdict:
    """One way to warn, scored on the data of a replay: borrower by borrower, and ranked within each date."""

    name: str
    #: the kinds of alarm it can give: none where it only ranks
    severities: tuple[Severity, ...]
    scores: tuple[Score, ...]
    ranking: Ranking


def verdicts(result: ReplayResult) -> tuple[Verdict, ...]:
    """Canary's rules and the naive warnings, each scored alike on the same days."""
    outcomes = outcomes_of(result)
    since = {name: watched_since(result, name) for name in result.borrowers}
    dark = blind_spans(result)
    events = [o.day if o.label == "failure" else None for o in outcomes]
    ranked = [o.label in ("failure", "survivor") for o in outcomes]

    def verdict(name: str, severities: tuple[Severity, ...], found: Sequence[Episode], values: FloatArray) -> Verdict:
        rows = [scoring.score(o, found, since[o.borrower], result.end, dark[o.borrower]) for o in outcomes]
        table = np.where(np.array(ranked)[None, :], values, np.nan)
        return Verdict(name, severities, tuple(rows), scoring.ranking(table, result.times, events, result.seed))

    found = [verdict("Canary's rules", ("warning", "critical"), result.episodes, alarm_level(result))]
    found += [
        verdict(name, ("warning",), scoring.flagged(name, result.borrowers, result.times, on), values)
        for name, on, values in baselines(result)
    ]
    cover = -result.panel["liquidity_locked_12m"]
    return (*found, verdict("Canary's liquidity cover (rank only)", (), (), cover))


def outcomes_of(result: ReplayResult) -> list[Outcome]:
    """What became of each borrower between the first and the last moment."""
    debt = result.panel["debt_usd"]
    most = [float(np.nanmax(c)) if np.isfinite(c).any() else math.nan for c in debt.T]
    first, last = result.start.date(), day_before(result.end)
    return [
        scoring.outcome_of(result.book.borrower(name), first, last, most[i]) for i, name in enumerate(result.borrowers)
    ]


def watched_since(result: ReplayResult, borrower: str) -> datetime:
    """The first moment at which any figure of a borrower was known; the end if that never came."""
    known = [f.known_at for f in all_facts(result.book.borrower(borrower)) if f.known_at is not None]
    return min(max(min(known, default=result.end), result.start), result.end)


def blind_spans(result: ReplayResult) -> dict[str, list[tuple[datetime, datetime | None]]]:
    """Per borrower the spans in which its liquidity cover could not be told."""
    unknown = np.isnan(result.panel["liquidity_locked_12m"])
    spans: dict[str, list[tuple[datetime, datetime | None]]] = {name: [] for name in result.borrowers}
    for spell in scoring.flagged("unknown", result.borrowers, result.times, unknown):
        spans[spell.borrower].append((spell.began, spell.ended))
    return spans


def blind_at(result: ReplayResult, subject: str, at: datetime) -> bool:
    """Whether at a moment the liquidity cover of a borrower, or the bitcoin price for the market, could not be told."""
    i = max(bisect_right(result.times, at) - 1, 0)
    if subject == MARKET:
        return bool(np.isnan(result.panel["btc_usd"][i]))
    return bool(np.isnan(result.panel["liquidity_locked_12m"][i, result.borrowers.index(subject)]))


#: what a warning ahead of a failure needs -> the figures any of which gives it
NEEDED: Mapping[str, tuple[str, ...]] = {
    "debt": ("debt_usd", "principal_usd"),
    "cash": ("cash_unrestricted_usd", "cash_total_usd"),
    "coins": ("btc_free", "btc_total"),
    "EBITDA": ("ebitda_adjusted_quarter_usd",),
    "interest": ("interest_quarter_usd",),
    "what falls due": ("debt_current_usd", "maturities"),
}
#: a warning that comes later than this before the event leaves no time to act
NOTICE_DAYS = 30


@dataclass(frozen=True)
class Gap:
    """A failure: its lead, since when it was said that too little is known, and what was public too late or never.

    ``late``: what is needed -> the day its first figure became public, None for never; empty where all was there
    ``NOTICE_DAYS`` before the event.
    """

    outcome: Outcome
    lead_days: int | None
    blind_since: datetime | None
    late: Mapping[str, date | None]


def gaps(result: ReplayResult, verdict: Verdict) -> tuple[Gap, ...]:
    """Every borrower that something happened to, in the order of the table."""
    found = []
    for s in ordered(verdict.scores):
        outcome = s.outcome
        if outcome.day is None:
            continue
        limit = end_of_day(outcome.day) - timedelta(days=NOTICE_DAYS)
        first = {what: _first_public(result, outcome.borrower, fields) for what, fields in NEEDED.items()}
        late = {what: at.date() if at else None for what, at in first.items() if at is None or at > limit}
        lead = s.lead("warning")
        found.append(Gap(outcome, lead.days if lead else None, _blind_since(result, outcome), late))
    return tuple(found)


def _first_public(result: ReplayResult, borrower: str, fields: Sequence[str]) -> datetime | None:
    """When the first figure of any of some fields became public; None if never by the end."""
    one = result.book.borrower(borrower)
    known = [fact.known_at for fact in all_facts(one) if fact.field in fields and fact.known_at]
    if "maturities" in fields:
        known += [row.fact.known_at for row in one.maturities if row.fact.known_at]
    return min((at for at in known if at <= result.end), default=None)


def _blind_since(result: ReplayResult, outcome: Outcome) -> datetime | None:
    """Since when an alarm that says too little is known stood at the event; None if none did."""
    if outcome.day is None:
        return None
    event = end_of_day(outcome.day) - timedelta(days=1)
    standing = [e.began for e in result.episodes if e.borrower == outcome.borrower and e.rule in scoring.ASIDE]
    before = [began for began in standing if began <= event]
    return max(before, default=None)


def alarm_level(result: ReplayResult) -> FloatArray:
    """0 no alarm, 1 a warning, 2 a critical one, over (times, borrowers)."""
    level = np.zeros((len(result.times), len(result.borrowers)))
    stamps = np.array([t.timestamp() for t in result.times])
    for e in result.episodes:
        if e.severity == "info" or e.rule in scoring.ASIDE or e.borrower not in result.borrowers:
            continue
        inside = (stamps >= e.began.timestamp()) & (stamps < (e.ended.timestamp() if e.ended else math.inf))
        b = result.borrowers.index(e.borrower)
        level[inside, b] = np.maximum(level[inside, b], 2.0 if e.severity == "critical" else 1.0)
    return level


def baselines(result: ReplayResult) -> list[tuple[str, BoolArray, FloatArray]]:
    """Naive warnings over (times, borrowers): name, whether it is on, and the number behind it (higher is worse)."""
    per_year = max(1, round(timedelta(days=365) / result.every))
    per_quarter = max(1, round(timedelta(days=90) / result.every))
    n = len(result.borrowers)
    btc, debt, cash, coins = (result.panel[m] for m in ("btc_usd", "debt_usd", "cash_unrestricted_usd", "coins_total"))
    top = np.array([np.nanmax(btc[max(0, i - per_year) : i + 1], initial=0.0) for i in range(len(btc))])
    with np.errstate(divide="ignore", invalid="ignore"):
        drawdown = np.repeat((1 - btc / top)[:, None], n, axis=1)
        over_cash = np.where(debt == 0, 0.0, debt / cash)
        before = np.vstack([np.full((min(per_quarter, len(coins)), n), np.nan), coins])[: len(coins)]
        fall = coins / before - 1
        return [
            (f"BTC down {BTC_DRAWDOWN:.0%} from its high of a year", drawdown >= BTC_DRAWDOWN, drawdown),
            (f"debt over {DEBT_OVER_CASH:g} times cash", over_cash > DEBT_OVER_CASH, over_cash),
            (f"coins down {-COINS_FALL:.0%} in 90 days", fall < COINS_FALL, -fall),
        ]


# ---------------------------------------------------------------- rule by rule
@dataclass(frozen=True, slots=True)
class RuleUse:
    """How often a rule spoke: episodes, per borrower-year, the share of borrower-days it stood and could not tell."""

    rule: str
    severity: str
    each: str
    episodes: int
    per_year: float
    share: float
    unknown: float


def rule_uses(result: ReplayResult) -> list[RuleUse]:
    """Every rule in its order over the whole window; a facility counts for its borrower, the market for itself."""
    spells = scoring.unknown_spells(result.events)
    days = (result.end - result.start) / DAY
    uses = []
    for rule in result.rules:
        own = [e for e in result.episodes if e.rule == rule.id]
        subjects = {MARKET} if rule.each == "market" else set(result.borrowers)
        blind: dict[str, list[tuple[datetime, datetime | None]]] = {}
        for (name, subject), spans in spells.items():
            if name == rule.id:
                blind.setdefault(subject.partition("/")[0], []).extend(spans)
        stood = sum(_days([(e.began, e.ended) for e in own if e.borrower == s], result) for s in subjects)
        unknown = sum(_days(blind.get(s, []), result) for s in subjects)
        whole = days * len(subjects)
        share, dark = (stood / whole, unknown / whole) if whole else (math.nan, math.nan)
        rate = len(own) / whole * 365.25 if whole else math.nan
        uses.append(RuleUse(rule.id, rule.severity, rule.each, len(own), rate, share, dark))
    return uses


def _days(spans: Iterable[tuple[datetime, datetime | None]], result: ReplayResult) -> float:
    return scoring.days_inside(spans, result.start, result.end)


# ---------------------------------------------------------------- for machines
def ordered(scores: Iterable[Score]) -> list[Score]:
    """Failures first, each group by date and name."""
    return sorted(scores, key=lambda s: (ORDER.index(s.outcome.label), s.outcome.day or date.max, s.outcome.borrower))


def _json(value: object) -> object:
    """Plain JSON: dates as text, what is not a number as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    return value


def score_row(row: Score) -> dict[str, object]:
    """One borrower's line as plain values."""
    flat: dict[str, object] = {
        "borrower": row.outcome.borrower,
        "label": row.outcome.label,
        "event": row.outcome.day,
        "kind": row.outcome.kind,
        "signs": [f"{day} {kind}" for day, kind in row.outcome.signs],
        "since": row.since,
        "until": row.until,
        "share_blind": row.share_blind,
    }
    for severity in SEVERITIES:
        lead, first = row.lead(severity), row.first(severity)
        flat |= {
            f"{severity}_lead_days": lead.days if lead else None,
            f"{severity}_lead_rule": lead.episode.rule if lead else None,
            f"{severity}_first": first.began if first else None,
            f"{severity}_first_rule": first.rule if first else None,
            f"{severity}_share_of_days": row.share(severity),
            f"{severity}_per_year": row.per_year(severity),
        }
    return flat


def rule_row(use: RuleUse) -> dict[str, object]:
    """One rule's use as plain values."""
    return {name: getattr(use, name) for name in RuleUse.__slots__}


def episode_row(episode: Episode) -> dict[str, object]:
    """One alarm as plain values."""
    names = ("rule", "subject", "severity", "began", "ended", "values", "because")
    return {name: getattr(episode, name) for name in names}


def as_json(result: ReplayResult) -> dict[str, object]:
    """The whole result for machines."""
    found = verdicts(result)
    plain = {
        "start": result.start,
        "end": result.end,
        "every_s": result.every.total_seconds(),
        "inputs": dict(zip(("book", "assumptions", "rules", "version"), result.inputs, strict=True)),
        "hindsight": result.hindsight,
        "verdicts": [
            {"name": v.name, "ranking": v.ranking._asdict(), "borrowers": [score_row(s) for s in ordered(v.scores)]}
            for v in found
        ],
        "rules": [rule_row(use) for use in rule_uses(result)],
        "episodes": [episode_row(e) for e in result.episodes],
        **({"rigs": [rig_row(one) for one in result.rigs]} if result.rigs else {}),
    }
    return {name: _json(value) for name, value in plain.items()}


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of plain values as CSV; lists and tables inside a cell as text."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, Mapping):
        return "; ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(str(v) for v in value)
    plain = _json(value)
    return "" if plain is None else plain
