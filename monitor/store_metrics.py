"""The metrics a store keeps: one row per metric, subject and scenario, only when it changed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from monitor.model import Column, Numbers
from monitor.rows import Latest, Tables, changed, tick_id
from monitor.steps import Steps

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000


class MetricTables(Tables):
    """The part of the store that holds metrics. Values are those of :class:`monitor.model.Column`; null is unknown."""

    def write_numbers(self, tick: int, numbers: Numbers, latest: dict[tuple[str, str], Latest]) -> None:
        """Write what changed of every metric, now and under each scenario; ``latest`` is brought up to date.

        A metric that is not in ``latest`` is compared with what the database holds before this evaluation, and what an
        earlier run of the same evaluation wrote is replaced: so the past may be lived through again.
        """
        for scenario, columns in {"": numbers.columns, **numbers.scenarios}.items():
            for column in columns.values():
                key = (column.metric, scenario)
                subjects = numbers.subjects[column.level]
                before = self._aligned(key, latest.get(key), subjects, column.unit, tick)
                latest[key] = self._write_column(tick, column, before)

    def _aligned(
        self, key: tuple[str, str], found: Latest | None, subjects: tuple[str, ...], unit: str, tick: int
    ) -> Latest:
        """The last stored values in the order of today's subjects; subjects that left get a last, unknown row."""
        if found is not None and found.subjects == subjects:
            return found
        sql = """
            DELETE FROM metric_values WHERE tick = ?
            AND series IN (SELECT id FROM metric_series WHERE metric = ? AND scenario = ?)"""
        self.write(sql, (tick, *key))
        stored = self._stored(*key, tick)
        new = [subject for subject in subjects if subject not in stored]
        rows = ({"metric": key[0], "scenario": key[1], "subject": subject, "unit": unit} for subject in new)
        self.insert("metric_series", rows, "INSERT OR IGNORE")
        if new:
            stored = self._stored(*key, tick)
        gone = "no longer in the book"
        self.insert(
            "metric_values",
            [
                {"series": series, "tick": tick, "value": None, "reason": gone}
                for subject, (series, _, reason) in stored.items()
                if subject not in set(subjects) and reason != gone
            ],
            "INSERT OR REPLACE",
        )
        mine = [stored[subject] for subject in subjects]
        values = np.array([value for _, value, _ in mine], dtype=np.float64)
        return Latest(subjects, tuple(series for series, _, _ in mine), values, tuple(reason for _, _, reason in mine))

    def _stored(self, metric: str, scenario: str, before: int) -> dict[str, tuple[int, float, str]]:
        """Subject -> (series, last value before an evaluation or NaN, its reason). A series just made has none."""
        sql = """
            SELECT s.id AS series, s.subject AS subject, v.value AS value, v.reason AS reason, v.tick AS tick
            FROM metric_series s LEFT JOIN metric_values v ON v.series = s.id
                AND v.tick = (SELECT MAX(tick) FROM metric_values WHERE series = s.id AND tick < ?)
            WHERE s.metric = ? AND s.scenario = ?"""
        rows = self.rows(sql, (before, metric, scenario))
        never = "never stored"
        return {
            row["subject"]: (
                row["series"],
                math.nan if row["value"] is None else row["value"],
                never if row["tick"] is None else (row["reason"] or ""),
            )
            for row in rows
        }

    def _write_column(self, tick: int, column: Column, before: Latest) -> Latest:
        """Only what changed becomes a row: a value beyond 1e-9, known or not, or why it is not known."""
        values = np.where(column.known, column.values, np.nan)
        reasons = tuple(
            "" if known else column.reasons.get(i, "unknown") for i, known in enumerate(column.known.tolist())
        )
        moved = changed(before.values, values)
        if reasons != before.reasons:
            moved |= np.array([a != b for a, b in zip(reasons, before.reasons, strict=True)], dtype=np.bool_)
        rows = [
            {
                "series": before.series[i],
                "tick": tick,
                "value": None if math.isnan(values[i]) else float(values[i]),
                "reason": reasons[i] or None,
            }
            for i in np.flatnonzero(moved).tolist()
        ]
        self.insert("metric_values", rows, "INSERT OR REPLACE")
        return replace(before, values=np.where(moved, values, before.values), reasons=reasons)

    def metric_history(
        self, metric: str, subjects: Sequence[str], scenario: str = "", since: datetime | None = None
    ) -> Steps | None:
        """The stored past of a metric over these subjects; None when it was never stored for any of them.

        ``since`` leaves out what was over by then: the value in force at that moment is the first.
        """
        sql = """
            SELECT subject, unit, tick, value FROM metric_series JOIN metric_values ON series = metric_series.id
            WHERE metric = ? AND scenario = ? AND subject IN (SELECT value FROM json_each(?))
            AND tick >= COALESCE((SELECT MAX(tick) FROM metric_values before
                WHERE before.series = metric_series.id AND before.tick <= ?), 0)
            ORDER BY series, tick"""
        bounds = (json.dumps(list(subjects)), -1 if since is None else tick_id(since))
        rows = self.rows(sql, (metric, scenario, *bounds))
        if not rows:
            return None
        times: dict[str, list[float]] = {subject: [] for subject in subjects}
        values: dict[str, list[float]] = {subject: [] for subject in subjects}
        for row in rows:
            if row["subject"] in times:
                times[row["subject"]].append(row["tick"] / 1000)
                values[row["subject"]].append(math.nan if row["value"] is None else row["value"])
        return Steps(rows[0]["unit"], tuple(times.values()), tuple(values.values()))

    def thin_metrics(
        self, now: datetime, raw: timedelta = timedelta(days=7), hourly: timedelta = timedelta(days=90)
    ) -> int:
        """Every change for 7 days, then the last of each hour for 90, then the last of each day; how many rows went."""
        sql = """
            DELETE FROM metric_values WHERE tick < ? AND tick >= ? AND EXISTS (
                SELECT 1 FROM metric_values later WHERE later.series = metric_values.series
                AND later.tick > metric_values.tick AND later.tick < (metric_values.tick / ? + 1) * ?)"""
        week, quarter = tick_id(now - raw), tick_id(now - hourly)
        with self.transaction():
            return self.write(sql, (week, quarter, _HOUR_MS, _HOUR_MS)) + self.write(
                sql, (quarter, 0, _DAY_MS, _DAY_MS)
            )
