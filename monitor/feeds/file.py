"""Prices from files: the recorded series that come with Canary, and a folder where a desk drops its own CSV.

Columns ``date, series, value, unit, source, known_lag`` in any order, and optionally ``subject`` (a borrower id),
``restated`` (yes or no), ``quality`` (filing, press, derived, assumed) and ``note``. A row dated with a day D describes
that day and is observed at its end, D+1 00:00Z; a month is dated with its last day. It is known ``known_lag`` later
(``0``, ``5d``), and because that is an assumption about the past its ``known_basis`` is ``assumed``.

The monthly rental index that comes along is restated: its past was rebuilt later from archived rate cards. Its
September 2026 is left out because it repeats August for every model.
"""

from __future__ import annotations

import asyncio
import csv
import io
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import cast

from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client
from monitor.model import MARKET, FeedError, InputError, Observation, Problem, Quality, end_of_day
from monitor.series import SERIES, fault
from monitor.units import parse_duration_s, parse_quantity

RECORDED = Path(__file__).parent / "recorded"
REQUIRED = ("date", "series", "value", "unit", "source", "known_lag")
OPTIONAL = ("subject", "restated", "quality", "note")
QUALITIES = ("filing", "press", "derived", "assumed")
MAX_FILE_BYTES = 20_000_000
MAX_FILES = 500
MAX_TEXT_CHARACTERS = 300
MAX_PROBLEMS = 50
SUBJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class FileFeed(Feed):
    """Every row of the recorded files and of the desk's folder that is known by now."""

    name = "file"
    series = tuple(SERIES)
    known_basis = "assumed"
    what = "recorded series that come with Canary, and a desk's own CSV"
    limits = "read from the disk"

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """Each file on its own: a bad one is named in the report and the others still count."""
        files = [*csv_files(RECORDED), *(csv_files(self.settings.folder) if self.settings.folder else [])]
        found = await gather_parts(client, {file.name: _read(file) for file in files})
        return [observation for observation in found if observation.known_at <= now]


async def _read(file: Path) -> list[Observation]:
    """One file, read beside the event loop; its first problem and the number of others as a FeedError."""
    try:
        return await asyncio.to_thread(read_csv, file)
    except InputError as error:
        first, others = error.problems[0], len(error.problems) - 1
        more = f" (and {others} more; `canary check` shows all)" if others else ""
        raise FeedError(f"line {first.line}: {first.message}{more}") from None


def recorded() -> list[Observation]:
    """Every recorded observation that comes with Canary, known from its moment plus the lag of its publication."""
    return [observation for file in csv_files(RECORDED) for observation in read_csv(file)]


def csv_files(folder: Path) -> list[Path]:
    """The CSV files of a folder by name; FeedError when it cannot be read or holds too many."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and path.is_file())
    except OSError as error:
        raise FeedError(f"the folder {folder.name} cannot be read: {error.strerror}") from None
    if len(files) > MAX_FILES:
        raise FeedError(f"the folder {folder.name} holds {len(files)} CSV files, at most {MAX_FILES} are read")
    return files


def read_csv(file: Path) -> list[Observation]:
    """The observations of one CSV file; InputError with every mistake and its line otherwise."""
    try:
        size = file.stat().st_size
        text = file.read_text("utf-8-sig") if size <= MAX_FILE_BYTES else None
    except OSError as error:
        raise InputError([Problem(file.name, 1, 1, 0, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise InputError([Problem(file.name, 1, 1, 0, "is not UTF-8 text", "save it as CSV UTF-8")]) from None
    if text is None:
        raise InputError([Problem(file.name, 1, 1, 0, f"has {size:,} bytes, at most {MAX_FILE_BYTES:,} are read")])
    return parse_csv(text, file.name)


class Sheet:
    """The rows of one CSV text and every problem found in them, each at its line."""

    def __init__(self, text: str, name: str):
        self.name = name
        self.rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        self.problems: list[Problem] = []
        self._lines = text.splitlines()

    def wrong(self, message: str, fix: str = "", text: str = "", ahead: int = 0) -> None:
        """Report a mistake in the line just read; ``text`` is the part of it to underline."""
        number = max(min(self.rows.line_num + ahead, len(self._lines)), 1)
        line = self._lines[number - 1] if number <= len(self._lines) else ""
        position = line.find(text) if text else -1
        column, length = (position + 1, len(text)) if position >= 0 else (1, 0)
        shown = line if line.isprintable() else ""
        self.problems.append(Problem(self.name, number, column, length, message, fix, shown))

    def observations(self) -> list[Observation]:
        """Every row as an Observation, or InputError with all problems."""
        found: dict[tuple[str, str, datetime, str], Observation] = {}
        try:
            if _header(self):
                for row in self.rows:
                    observation = _row(row, self)
                    if len(self.problems) >= MAX_PROBLEMS:
                        break
                    if observation is None:
                        continue
                    key = (observation.series, observation.subject, observation.observed_at, observation.source)
                    if key in found:
                        self.wrong(f"{observation.series} has this date and source twice", "keep one of the rows")
                    found[key] = observation
        except csv.Error as error:
            # the reader has not counted the line it stumbled over
            self.wrong(f"is not CSV: {error}", "quote a text that holds a comma or a quotation mark", ahead=1)
        if self.problems:
            raise InputError(self.problems)
        return list(found.values())


def parse_csv(text: str, name: str) -> list[Observation]:
    """The observations in the text of one CSV file; ``name`` is what its problems are shown under.

    >>> text = "date,series,value,unit,source,known_lag\\n2026-08-14,btc_usd,62100,usd,our desk,1d\\n"
    >>> row = parse_csv(text, "desk.csv")[0]
    >>> row.observed_at.isoformat(), row.known_at.isoformat(), row.known_basis
    ('2026-08-15T00:00:00+00:00', '2026-08-16T00:00:00+00:00', 'assumed')
    """
    return Sheet(text, name).observations()


def _header(sheet: Sheet) -> bool:
    """Whether the first line names the columns."""
    columns = list(sheet.rows.fieldnames or ())
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        sheet.wrong(f"no column {', '.join(missing)}", f"write a first line such as {','.join(REQUIRED)}, with commas")
    for column in columns:
        if column not in REQUIRED + OPTIONAL:
            sheet.wrong(f"unknown column {column!r}", f"columns are {', '.join(REQUIRED + OPTIONAL)}", column)
    if len(set(columns)) != len(columns):
        sheet.wrong("a column is named twice", "keep one of them")
    return not sheet.problems


def _row(row: Mapping[str, object], sheet: Sheet) -> Observation | None:
    """One row, or None after reporting everything wrong with it."""
    if None in row or None in row.values():
        sheet.wrong("has more or fewer fields than the first line", "quote a text that holds a comma")
        return None
    cells = {name: str(value).strip() for name, value in row.items()}
    before = len(sheet.problems)
    observation = _observation(cells, sheet)
    if observation is None or len(sheet.problems) > before:
        return None
    spec = SERIES[observation.series]
    if why := fault(observation, spec):
        sheet.wrong(why, f"values of {observation.series} are in {spec.unit}", cells["value"])
        return None
    return observation


def _observation(cells: Mapping[str, str], sheet: Sheet) -> Observation | None:
    """The cells of one row as an Observation; every mistake is reported, the first ones do not hide the others."""
    series, subject = cells["series"], cells.get("subject") or MARKET
    if series not in SERIES:
        sheet.wrong(f"no series is called {series!r}", f"known series are {', '.join(SERIES)}", series)
    elif (SERIES[series].level == "market") != (subject == MARKET):
        needs = "no subject" if SERIES[series].level == "market" else "a borrower id as subject"
        sheet.wrong(f"{series} takes {needs}", "", cells.get("subject", ""))
    if SUBJECT.fullmatch(subject) is None:
        sheet.wrong(f"{subject!r} is not a borrower id", "write the file name in book/ without .yaml", subject)
    for column in ("source", "note"):
        text = cells.get(column, "")
        if len(text) > MAX_TEXT_CHARACTERS or not text.isprintable() or (column == "source" and not text):
            sheet.wrong(
                f"{column} must be 1 to {MAX_TEXT_CHARACTERS} printable characters", "say where the value was read"
            )
    quality = cells.get("quality") or "press"
    if quality not in QUALITIES:
        sheet.wrong(f"unknown quality {quality!r}", f"write one of {', '.join(QUALITIES)}", quality)
    restated = cells.get("restated") or "no"
    if restated not in ("yes", "no"):
        sheet.wrong(f"restated is {restated!r}", "write yes or no", restated)
    value, observed_at, lag = _value(cells, sheet), _moment(cells, sheet), _lag(cells, sheet)
    if observed_at is None or lag is None:
        return None
    return Observation(
        series,
        value,
        cells["unit"],
        observed_at,
        observed_at + lag,
        cells["source"],
        subject,
        "assumed",
        restated == "yes",
        cast("Quality", quality),
        cells.get("note", ""),
    )


def _value(cells: Mapping[str, str], sheet: Sheet) -> float:
    try:
        value, dimension = parse_quantity(cells["value"])
    except ValueError as error:
        sheet.wrong(str(error), "", cells["value"])
        return math.nan
    if dimension == "time":
        sheet.wrong(f"{cells['value']!r} is a length of time, not a price", "", cells["value"])
    return value


def _moment(cells: Mapping[str, str], sheet: Sheet) -> datetime | None:
    """A day means its end; a time is taken as it is and needs its zone."""
    text = cells["date"]
    try:
        if len(text) == 10:
            return end_of_day(date.fromisoformat(text))
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # said below, with the time that has no zone
    sheet.wrong(
        f"{text!r} is not a date", "write a day such as 2026-08-14 or a time with its zone, 2026-08-14T16:00:00Z", text
    )
    return None


def _lag(cells: Mapping[str, str], sheet: Sheet) -> timedelta | None:
    try:
        return timedelta(seconds=parse_duration_s(cells["known_lag"]))
    except (ValueError, OverflowError) as error:
        sheet.wrong(f"known_lag: {error}", "write 0 or for example 5d", cells["known_lag"])
        return None
