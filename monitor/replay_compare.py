"""Two replays of the same days with different rules: which alarms are new, gone or moved, by rule and borrower. Pure.

Alarms of one rule about one subject follow each other in time; two of them, one from each replay, are the same alarm
when they overlap. It has moved when its begin, its end or its severity differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from monitor.model import Rule
from monitor.scoring import Episode


class Moved(NamedTuple):
    """One alarm in both replays."""

    was: Episode
    now: Episode


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the alarms of one rule about one borrower (and its facilities), each by time."""

    rule: str
    borrower: str
    same: int
    new: tuple[Episode, ...]
    gone: tuple[Episode, ...]
    moved: tuple[Moved, ...]

    @property
    def differs(self) -> bool:
        """Whether anything is new, gone or moved."""
        return bool(self.new or self.gone or self.moved)

    @property
    def counts(self) -> tuple[int, int]:
        """How many alarms there were and how many there are."""
        both = self.same + len(self.moved)
        return both + len(self.gone), both + len(self.new)


class RuleChange(NamedTuple):
    """Ids of rules only one side has, and of those both have with another meaning."""

    new: tuple[str, ...]
    gone: tuple[str, ...]
    edited: tuple[str, ...]


def compare_episodes(was: Iterable[Episode], now: Iterable[Episode]) -> tuple[Change, ...]:
    """Every rule and borrower that had an alarm in either replay, in order of their names.

    >>> from datetime import UTC, timedelta
    >>> day = datetime(2026, 8, 1, tzinfo=UTC)
    >>> early, late = (Episode("R", "acme/pool", "warning", day + timedelta(days=n), None, {}) for n in (3, 5))
    >>> [(c.rule, c.borrower, c.same, len(c.moved), c.counts) for c in compare_episodes([early], [late])]
    [('R', 'acme', 0, 1, (1, 1))]
    """
    before, after = _by_alert(was), _by_alert(now)
    found: dict[tuple[str, str], list[tuple[Episode | None, Episode | None]]] = {}
    for rule, subject in sorted(before.keys() | after.keys()):
        pairs = _pair(before.get((rule, subject), []), after.get((rule, subject), []))
        found.setdefault((rule, subject.partition("/")[0]), []).extend(pairs)
    return tuple(_change(rule, borrower, pairs) for (rule, borrower), pairs in sorted(found.items()))


def compare_rules(was: Iterable[Rule], now: Iterable[Rule]) -> RuleChange:
    """Which rules were added, taken out, or edited in what decides an alarm or how loud it is."""
    before, after = ({rule.id: _decides(rule) for rule in rules} for rules in (was, now))
    both = sorted(before.keys() & after.keys())
    return RuleChange(
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
        tuple(name for name in both if before[name] != after[name]),
    )


def _decides(rule: Rule) -> tuple[object, ...]:
    """Everything of a rule but its texts, its proofs, and whom it speaks to or for."""
    waits = (rule.for_s, rule.keep_firing_for_s, rule.on_missing, rule.downtime)
    return (rule.logic_hash, rule.severity, *waits)


def _by_alert(episodes: Iterable[Episode]) -> dict[tuple[str, str], list[Episode]]:
    found: dict[tuple[str, str], list[Episode]] = {}
    for episode in sorted(episodes, key=lambda episode: episode.began):
        found.setdefault((episode.rule, episode.subject), []).append(episode)
    return found


def _pair(was: Sequence[Episode], now: Sequence[Episode]) -> list[tuple[Episode | None, Episode | None]]:
    """Alarms of one alert, matched in order of time where they overlap; None where the other side has none."""
    pairs: list[tuple[Episode | None, Episode | None]] = []
    i = j = 0
    while i < len(was) and j < len(now):
        if _overlap(was[i], now[j]):
            pairs.append((was[i], now[j]))
            i, j = i + 1, j + 1
        elif was[i].began < now[j].began:
            pairs.append((was[i], None))
            i += 1
        else:
            pairs.append((None, now[j]))
            j += 1
    return [*pairs, *((left, None) for left in was[i:]), *((None, left) for left in now[j:])]


def _overlap(one: Episode, other: Episode) -> bool:
    first, second = sorted((one, other), key=lambda episode: episode.began)
    return first.began == second.began or first.ended is None or second.began < first.ended


def _change(rule: str, borrower: str, pairs: Sequence[tuple[Episode | None, Episode | None]]) -> Change:
    both = [Moved(was, now) for was, now in pairs if was is not None and now is not None]
    moved = [pair for pair in both if _facts(pair.was) != _facts(pair.now)]
    return Change(
        rule,
        borrower,
        len(both) - len(moved),
        tuple(sorted((now for was, now in pairs if was is None and now is not None), key=_place)),
        tuple(sorted((was for was, now in pairs if now is None and was is not None), key=_place)),
        tuple(sorted(moved, key=lambda pair: _place(pair.now))),
    )


def _facts(episode: Episode) -> tuple[datetime, datetime | None, str]:
    return episode.began, episode.ended, episode.severity


def _place(episode: Episode) -> tuple[datetime, str]:
    return episode.began, episode.subject


# ---------------------------------------------------------------- for machines
def change_json(change: Change) -> dict[str, object]:
    """One rule at one borrower as plain data."""
    was, now = change.counts
    return {
        "rule": change.rule,
        "borrower": change.borrower,
        "was": was,
        "now": now,
        "same": change.same,
        "new": [_episode_json(episode) for episode in change.new],
        "gone": [_episode_json(episode) for episode in change.gone],
        "moved": [{"was": _episode_json(pair.was), "now": _episode_json(pair.now)} for pair in change.moved],
    }


def _episode_json(episode: Episode) -> dict[str, object]:
    return {
        "subject": episode.subject,
        "severity": episode.severity,
        "began": episode.began.isoformat(),
        "ended": episode.ended.isoformat() if episode.ended else None,
    }
