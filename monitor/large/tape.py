"""A loan tape, CSV or Parquet, one loan a line, read by a map that says which column is what and in which unit.

A line that cannot be used is left out and reported with its number, its column and what to write instead. An obligor
that lost a line is no longer whole: less debt than it owes would make it look better, so it is carried as unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field as Setting

from monitor.model import CanaryError, FloatArray, InputError, Problem
from monitor.yamltext import Strict, Text, check, parse_tree, point_at, read_file, suggest

if TYPE_CHECKING:
    import pandas as pd

Unit = Literal["usd", "kusd", "musd", "bnusd", "ratio", "percent", "bp", "btc", "count", "text", "date"]
#: what one of the unit is in the program's own
SCALE: dict[str, float] = {
    "usd": 1.0, "kusd": 1e3, "musd": 1e6, "bnusd": 1e9, "ratio": 1.0, "percent": 1e-2, "bp": 1e-4, "btc": 1.0,
    "count": 1.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """One field of a tape: which units it may be written in, its range in the program's own unit, and what it is."""

    units: tuple[str, ...]
    low: float = 0.0
    high: float = float("inf")
    of: Literal["loan", "obligor"] = "loan"
    required: bool = False


USD, RATIO = ("usd", "kusd", "musd", "bnusd"), ("ratio", "percent", "bp")
#: money above a trillion is a slip of the unit; a rate above 60 % a year too
MOST_USD, MOST_RATE = 1e12, 0.6
FIELDS: dict[str, Kind] = {
    "loan": Kind(("text",), required=True),
    "obligor": Kind(("text",), required=True),
    "principal_usd": Kind(USD, 0.0, MOST_USD, required=True),
    "maturity": Kind(("date",), required=True),
    "fixed_rate": Kind(RATIO, 0.0, MOST_RATE),
    "margin": Kind(RATIO, 0.0, MOST_RATE),
    "amortisation": Kind(("text",)),
    "cash_usd": Kind(USD, 0.0, MOST_USD, "obligor", required=True),
    "cfads_12m_usd": Kind(USD, -MOST_USD, MOST_USD, "obligor", required=True),
    "contracted_12m_usd": Kind(USD, 0.0, MOST_USD, "obligor"),
    "spot_12m_usd": Kind(USD, 0.0, MOST_USD, "obligor"),
    "mining_12m_usd": Kind(USD, 0.0, MOST_USD, "obligor"),
    "counterparty": Kind(("text",), of="obligor"),
    "model": Kind(("text",), of="obligor"),
    "units": Kind(("count",), 0.0, 1e9, "obligor"),
    "unit_value_usd": Kind(USD, 0.0, 1e9, "obligor"),
    "coins_free_btc": Kind(("btc",), 0.0, 21e6, "obligor"),
    "liquidity_min_usd": Kind(USD, 0.0, MOST_USD, "obligor"),
    "ltv_max": Kind(RATIO, 0.0, 100.0, "obligor"),
}
AMORTISATIONS = ("bullet", "straight_line")
#: bad lines listed on the screen; all of them are in the file of rejects
LISTED = 20
LONGEST_NAME = 200


class ColumnText(Strict):
    """One column: its name in the tape, its unit, and for a date how it is written (``%d/%m/%Y``)."""

    column: str
    unit: Unit = "text"
    format: str = "%Y-%m-%d"


class MapText(Strict):
    """A map as written. ``columns``: field -> its column."""

    as_of: date
    published: date
    source: str
    columns: dict[str, ColumnText] = Setting(min_length=1)


def _default(name: str, column: ColumnText) -> bool:
    """A date needs no unit beside its format."""
    return FIELDS[name].units == ("date",) and column.unit == "text"


@dataclass(frozen=True, slots=True)
class Reject:
    """One line that was left out: its number in the file (the head of a CSV is line 1), where and why."""

    line: int
    column: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.value[:60]!r} {self.why}"


@dataclass(frozen=True)
class Tape:
    """The usable part of a tape as columns. Loans are sorted by obligor.

    ``obligors`` (B,) names; ``first`` (B+1,) where the loans of each begin; ``loans`` field -> (L,); ``own`` field ->
    (B,), NaN unknown; ``words`` field -> (B,) texts; ``whole`` (B,) False for an obligor that lost a line or
    contradicts itself; ``digest``: of the file and the map; ``given``: fields that have a column.
    """

    as_of: date
    published: date
    source: str
    obligors: tuple[str, ...]
    loan_names: tuple[str, ...]
    first: np.ndarray
    loans: Mapping[str, FloatArray]
    maturity: np.ndarray
    straight: np.ndarray
    own: Mapping[str, FloatArray]
    words: Mapping[str, tuple[str, ...]]
    whole: np.ndarray
    rejects: tuple[Reject, ...] = ()
    digest: str = ""
    lines: int = 0
    given: tuple[str, ...] = ()
    why: Mapping[int, str] = field(default_factory=dict)


def load_map(path: Path) -> MapText:
    """Read a map. Raises InputError with every mistake at its place."""
    text = read_file(path)
    written = check(MapText, parse_tree(text), text)
    problems = list(_mistakes(written, text))
    if problems:
        raise InputError(problems)
    return written


def _mistakes(written: MapText, text: Text) -> Iterator[Problem]:
    """Fields that do not exist, are missing or are in a unit they cannot be in, and dates out of order."""
    for name, column in written.columns.items():
        if name not in FIELDS:
            yield point_at(text, name, f"{name} is no field", suggest(name, list(FIELDS)))
        elif column.unit not in FIELDS[name].units and not _default(name, column):
            units = ", ".join(FIELDS[name].units)
            yield point_at(text, name, f"{name}: the unit is one of {units}, not {column.unit}")
    for name, kind in FIELDS.items():
        if kind.required and name not in written.columns:
            yield point_at(text, "columns", f"{name} has no column", f"write {name}: {{column: its name in the tape}}")
    if written.published < written.as_of:
        yield point_at(text, "published", "published is before as_of", "nothing is published before it is true")


def read_tape(path: Path, wanted: MapText) -> Tape:
    """Read a tape. Raises CanaryError where the file as a whole cannot be used (no such column, not one good line)."""
    frame = _columns(path, wanted)
    bad = _Rejects(frame, wanted)
    numbers, texts, dates = {}, {}, np.empty(0, "datetime64[D]")
    for name, column in wanted.columns.items():
        kind, raw = FIELDS[name], frame[column.column]
        if kind.units == ("date",):
            dates = bad.dates(name, raw, column.format)
        elif kind.units == ("text",):
            texts[name] = raw.str.strip()
        else:
            numbers[name] = bad.numbers(name, raw, column.unit)
    bad.names(texts)
    bad.words("amortisation", texts, AMORTISATIONS)
    bad.rates(numbers)
    return _tape(path, wanted, bad, numbers, texts, dates)


def _columns(path: Path, wanted: MapText) -> pd.DataFrame:
    """The mapped columns as text, one row a line."""
    import pandas as pd

    names = [column.column for column in wanted.columns.values()]
    try:
        if path.suffix.lower() == ".parquet":
            frame = _as_text(pd.read_parquet(path, columns=list(dict.fromkeys(names))), wanted)
        elif path.suffix.lower() == ".csv":
            frame = pd.read_csv(
                path, dtype=str, keep_default_na=False, usecols=list(dict.fromkeys(names)), encoding="utf-8-sig"
            )
        else:
            raise CanaryError(f"{path.name}: a tape ends in .csv or .parquet")
    except FileNotFoundError:
        raise CanaryError(f"{path}: no such file") from None
    except ImportError:
        raise CanaryError("reading Parquet needs a package: pip install 'compute-canary[parquet]'") from None
    except (ValueError, OSError, KeyError) as error:
        text = " ".join(str(error).split())[:300]
        raise CanaryError(f"{path.name} cannot be read as the map says: {text}") from None
    if frame.empty:
        raise CanaryError(f"{path.name} has no line")
    return frame


def _as_text(frame: pd.DataFrame, wanted: MapText) -> pd.DataFrame:
    """Typed columns of Parquet as a CSV would have them: nothing is empty, and a day is written as the map says."""
    import pandas as pd

    for name, column in wanted.columns.items():
        values = frame[column.column]
        if FIELDS[name].units == ("date",) and not pd.api.types.is_string_dtype(values.dropna()):
            frame[column.column] = pd.to_datetime(values, errors="coerce").dt.strftime(column.format)
    return frame.astype(str).fillna("")


def _distinct(raw: pd.Series[str]) -> tuple[np.ndarray, pd.Series[str]]:
    """(place, texts) such that ``texts[place]`` is the column: on a tape most texts stand on many lines, and reading
    each once is several times faster."""
    import pandas as pd

    place, texts = pd.factorize(raw)
    return place, pd.Series(texts, dtype="str")


class _Rejects:
    """What is wrong with which line; a line is told once, for its first mistake."""

    def __init__(self, frame: pd.DataFrame, wanted: MapText):
        self.frame, self.wanted = frame, wanted
        self.bad = np.zeros(len(frame), bool)
        self.found: list[Reject] = []

    def add(self, name: str, at: np.ndarray, why: str | Callable[[int], str]) -> None:
        """Leave out the lines where ``at`` is True and say why."""
        column = self.wanted.columns[name].column if name in self.wanted.columns else name
        for i in np.flatnonzero(at & ~self.bad).tolist():
            value = str(self.frame[column].iloc[i]) if column in self.frame else ""
            self.found.append(Reject(i + 2, column, value, why if isinstance(why, str) else why(i)))
        self.bad |= at

    def numbers(self, name: str, raw: pd.Series[str], unit: str) -> FloatArray:
        """A column of numbers in the program's own unit; an empty one is unknown, or a mistake where it is required."""
        import pandas as pd

        kind, (place, text) = FIELDS[name], _distinct(raw)
        text = text.str.strip().str.replace(",", "", regex=False)
        none = text.isin(["", "nan", "None", "null", "NA", "N/A", "-"])
        read = pd.to_numeric(text.mask(none), errors="coerce").to_numpy(np.float64) * SCALE[unit]
        empty, value = none.to_numpy()[place], read[place]
        self.add(name, ~empty & ~np.isfinite(value), "is no number")
        if kind.required and kind.of == "loan":
            self.add(name, empty, "is empty")
        with np.errstate(invalid="ignore"):
            outside = ~empty & np.isfinite(value) & ((value < kind.low) | (value > kind.high))
        self.add(name, outside, f"in {unit} is outside {kind.low:g} to {kind.high:g}: is the unit right?")
        return np.asarray(value)

    def dates(self, name: str, raw: pd.Series[str], how: str) -> np.ndarray:
        """A column of days."""
        import pandas as pd

        place, text = _distinct(raw)
        parsed = pd.to_datetime(text.str.strip().str.slice(0, 30), format=how, errors="coerce")
        missing = parsed.isna().to_numpy()[place]
        self.add(name, missing, f"is no day written as {date(2031, 12, 31).strftime(how)}")
        days = parsed.to_numpy().astype("datetime64[D]")[place]
        low, high = np.datetime64("1990-01-01"), np.datetime64("2100-01-01")
        self.add(name, ~missing & ((days < low) | (days > high)), "is not a day between 1990 and 2100")
        return np.asarray(days)

    def names(self, texts: Mapping[str, pd.Series[str]]) -> None:
        """Names must be there; a loan is there once."""
        for name in ("loan", "obligor"):
            self.add(name, (texts[name] == "").to_numpy(), "is empty")
            self.add(
                name, (texts[name].str.len() > LONGEST_NAME).to_numpy(), f"is longer than {LONGEST_NAME} characters"
            )
        twice = texts["loan"].duplicated(keep=False).to_numpy() & ~self.bad
        self.add("loan", twice, "stands on more than one line")

    def words(self, name: str, texts: Mapping[str, pd.Series[str]], allowed: tuple[str, ...]) -> None:
        """A column of fixed words."""
        if name in texts:
            self.add(name, (~texts[name].isin([*allowed, ""])).to_numpy(), f"is not one of {', '.join(allowed)}")

    def rates(self, numbers: Mapping[str, FloatArray]) -> None:
        """A loan pays a fixed rate or a margin over the base rate, not both and not nothing."""
        nothing = np.full(len(self.frame), np.nan)
        fixed, margin = numbers.get("fixed_rate", nothing), numbers.get("margin", nothing)
        name = "fixed_rate" if "fixed_rate" in numbers else "margin"
        self.add(name, np.isnan(fixed) & np.isnan(margin), "and no other rate: say a fixed rate or a margin")
        self.add(name, ~np.isnan(fixed) & ~np.isnan(margin), "and a margin: a loan pays one of the two")


def _tape(
    path: Path,
    wanted: MapText,
    bad: _Rejects,
    numbers: Mapping[str, FloatArray],
    texts: Mapping[str, pd.Series[str]],
    dates: np.ndarray,
) -> Tape:
    good = np.flatnonzero(~bad.bad)
    if not good.size:
        worst = "\n".join(str(one) for one in sorted(bad.found, key=lambda one: one.line)[:LISTED])
        raise CanaryError(f"{path.name}: not one line can be used\n{worst}")
    owner = texts["obligor"].to_numpy(str)
    order = good[np.argsort(owner[good], kind="stable")]
    obligors, begins, counts = np.unique(owner[order], return_index=True, return_counts=True)
    broken = set(owner[bad.bad].tolist())
    why = {b: "a line of it could not be used" for b, name in enumerate(obligors.tolist()) if name in broken}
    own: dict[str, FloatArray] = {}
    words: dict[str, tuple[str, ...]] = {}
    for name, column in numbers.items():
        if FIELDS[name].of == "obligor":
            own[name], torn = _one_each(column[order], begins, counts)
            why |= {int(b): f"{name} differs between its lines" for b in np.flatnonzero(torn)}
    for name, text in texts.items():
        if FIELDS[name].of == "obligor":
            kept = text.to_numpy(str)[order]
            words[name] = tuple(kept[begins].tolist())
            torn = np.logical_or.reduceat(kept != np.repeat(kept[begins], counts), begins)
            why |= {int(b): f"{name} differs between its lines" for b in np.flatnonzero(torn)}
    whole = np.ones(len(obligors), bool)
    whole[list(why)] = False
    straight = np.zeros(len(order), bool)
    if "amortisation" in texts:
        straight = texts["amortisation"].to_numpy(str)[order] == "straight_line"
    digest = hashlib.sha256(path.read_bytes() + wanted.model_dump_json().encode()).hexdigest()
    return Tape(
        wanted.as_of, wanted.published, wanted.source, tuple(obligors.tolist()),
        tuple(texts["loan"].to_numpy(str)[order].tolist()), np.append(begins, len(order)),
        {name: column[order] for name, column in numbers.items() if FIELDS[name].of == "loan"}, dates[order], straight,
        own, words, whole, tuple(sorted(bad.found, key=lambda one: one.line)), digest, len(bad.frame),
        tuple(wanted.columns), why,
    )  # fmt: skip


def _one_each(values: FloatArray, first: np.ndarray, counts: np.ndarray) -> tuple[FloatArray, np.ndarray]:
    """The figure of each obligor, written on each of its lines, and where the lines contradict one another."""
    low, high = np.fmin.reduceat(values, first), np.fmax.reduceat(values, first)
    with np.errstate(invalid="ignore"):
        torn = np.abs(high - low) > 1e-9 * np.maximum(np.abs(high), 1.0)
    return np.asarray(np.where(torn, np.nan, low)), torn
