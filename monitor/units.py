"""Numbers as people write them: ``1.5bn``, ``25%``, ``300bp``, ``30d``. One reader for every file a person edits."""

from __future__ import annotations

import math
import re

#: suffix -> (multiplier, dimension). Money and counts are plain numbers; ratios are fractions; times are seconds.
SUFFIXES: dict[str, tuple[float, str]] = {
    "k": (1e3, "number"),
    "m": (1e6, "number"),
    "mn": (1e6, "number"),
    "bn": (1e9, "number"),
    "tn": (1e12, "number"),
    "%": (1e-2, "ratio"),
    "bp": (1e-4, "ratio"),
    "x": (1.0, "ratio"),
    "s": (1.0, "time"),
    "min": (60.0, "time"),
    "h": (3600.0, "time"),
    "d": (86400.0, "time"),
    "w": (7 * 86400.0, "time"),
    "mo": (30.4375 * 86400.0, "time"),
    "q": (91.3125 * 86400.0, "time"),
    "y": (365.25 * 86400.0, "time"),
}

_NUMBER = re.compile(r"([+-]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([a-zA-Z%]*)")
#: the only size of number text that is read; a longer one is refused before any work is done on it
MAX_NUMBER_CHARACTERS = 40


def parse_quantity(text: str) -> tuple[float, str]:
    """Read one number with an optional unit.

    Returns (value, dimension): dimension is ``number`` (plain counts and USD), ``ratio`` (fractions: 25% is 0.25,
    300bp is 0.03) or ``time`` (seconds). Raises ValueError saying what to write instead.

    >>> parse_quantity("1.5bn")
    (1500000000.0, 'number')
    >>> parse_quantity("25%")
    (0.25, 'ratio')
    >>> parse_quantity("300bp")
    (0.03, 'ratio')
    >>> parse_quantity("30d") == (30 * 86400.0, "time")
    True
    >>> parse_quantity("12 parsecs")
    Traceback (most recent call last):
    ...
    ValueError: unknown unit 'parsecs'; units are k, m, mn, bn, tn, %, bp, x, s, min, h, d, w, mo, q, y
    """
    stripped = text.strip()
    if len(stripped) > MAX_NUMBER_CHARACTERS:
        raise ValueError(f"a number has at most {MAX_NUMBER_CHARACTERS} characters")
    match = _NUMBER.fullmatch(stripped)
    if match is None:
        raise ValueError(f"{stripped!r} is not a number; write for example 1.5bn, 25%, 300bp or 30d")
    digits, suffix = match.groups()
    value = float(digits.replace("_", ""))
    if not math.isfinite(value):
        raise ValueError(f"{stripped!r} is too large")
    if not suffix:
        return value, "number"
    unit = SUFFIXES.get(suffix) or SUFFIXES.get(suffix.lower())
    if unit is None:
        raise ValueError(f"unknown unit {suffix!r}; units are {', '.join(SUFFIXES)}")
    return value * unit[0] if unit[0] >= 1 else value / round(1 / unit[0]), unit[1]


def parse_duration_s(text: str) -> float:
    """Read a span of time such as ``15min``, ``7d`` or ``0`` in seconds, zero or more.

    In a duration a bare ``m`` means minutes, as it does in Prometheus.

    >>> parse_duration_s("7d"), parse_duration_s("15m"), parse_duration_s("0")
    (604800.0, 900.0, 0.0)
    >>> parse_duration_s("25%")
    Traceback (most recent call last):
    ...
    ValueError: '25%' is not a length of time; write for example 15m, 4h or 7d
    """
    stripped = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?m", stripped):
        stripped += "in"
    value, dimension = parse_quantity(stripped)
    if dimension != "time" and value != 0:
        raise ValueError(f"{text.strip()!r} is not a length of time; write for example 15m, 4h or 7d")
    if value < 0:
        raise ValueError(f"{text.strip()!r} is negative; a length of time is zero or more")
    return value


def format_usd(value: float) -> str:
    """Money in the shortest readable form.

    >>> format_usd(35_551e6), format_usd(7.6e6), format_usd(58_524), format_usd(-2.5e9), format_usd(float("inf"))
    ('35.55bn', '7.6m', '58,524', '-2.50bn', 'unlimited')
    """
    if math.isinf(value):
        return "unlimited" if value > 0 else "-unlimited"
    size = abs(value)
    if size >= 1e9:
        return f"{value / 1e9:,.2f}bn"
    if size >= 1e6:
        return f"{value / 1e6:,.1f}m"
    return f"{value:,.0f}" if size >= 100 else f"{value:,.2f}"


def format_age(seconds: float) -> str:
    """How old something is, in the unit a person would say.

    >>> format_age(40), format_age(3 * 3600), format_age(145 * 86400)
    ('40 s', '3 h', '145 d')
    """
    for size, name in ((86400 * 2, "d"), (5400, "h"), (90, "min")):
        if seconds >= size:
            return f"{seconds / {'d': 86400, 'h': 3600, 'min': 60}[name]:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


#: how a value of each unit is shown; the closed list of format specs of a message placeholder builds on it
def format_value(value: float, unit: str) -> str:
    """One number with its unit, as a person reads it.

    >>> format_value(0.754, "ratio"), format_value(1.2, "x"), format_value(35.551e9, "usd"), format_value(8.5, "months")
    ('75.4%', '1.20x', '35.55bn USD', '8.5 months')
    >>> format_value(float("inf"), "months")
    'unlimited'
    """
    if math.isinf(value):
        return "unlimited" if value > 0 else "-unlimited"
    if unit == "ratio":
        return f"{value * 100:.1f}%"
    if unit == "x":
        return f"{value:.2f}x"
    if unit == "usd":
        return f"{format_usd(value)} USD"
    if unit == "bp":
        return f"{value:.0f} bp"
    if unit in ("flag", "bool"):
        return "yes" if value else "no"
    if unit == "count":
        return f"{value:,.0f}"
    digits = (
        f"{value:,.2f}"
        if abs(value) < 10 and unit != "months"
        else f"{value:,.1f}"
        if abs(value) < 1000
        else f"{value:,.0f}"
    )
    return f"{digits} {unit}".rstrip()
