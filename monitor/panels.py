"""What a picture can show, as plain data, and how its numbers are written. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime

from monitor.model import FloatArray
from monitor.units import format_usd

#: dark blue, orange, grey: different in lightness too
MAIN, SECOND, GREY = "#1F4E79", "#E08214", "#BBBBBB"
RING = "#009E73"
HATCH = "////"
NAME, TITLE, CAPTION_LINE, CAPTION_LINES = 34, 110, 400, 9
#: beyond this a number is written with an exponent, whatever its unit
TOO_LONG = 1e14
#: no axis reaches further; beyond it floating point has no room for ticks
LARGEST = 1e15


# ---------------------------------------------------------------- what can be drawn
@dataclass(frozen=True)
class Stamp:
    """What stands on every picture: the moment, the day of recorded prices if they are, sources, and the oldest age."""

    as_of: datetime
    recorded: date | None
    source: str
    oldest_s: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heat:
    """A grid of one number. ``values`` (Y,X), NaN unknown; ``unit``; ``line`` is drawn between the cells on its two
    sides; ``worse`` says on which side the harm lies; ``marks`` (x, y) positions with a word for the caption."""

    title: str
    x_label: str
    y_label: str
    x: tuple[str, ...]
    y: tuple[str, ...]
    values: FloatArray
    unit: str
    line: float
    line_label: str
    worse: str = "min"
    mark: tuple[float, float] | None = None
    mark_label: str = ""
    #: the colour scale ends here on the good side
    limit: float | None = None
    #: why nothing of it is known
    reason: str = ""


@dataclass(frozen=True)
class Range:
    """One row of :class:`Dots`: a number between its ends, perhaps where it stood before; None is unknown."""

    label: str
    middle: float | None
    low: float | None = None
    high: float | None = None
    before: float | None = None


@dataclass(frozen=True)
class Dots:
    """Numbers of many, one row each. Numbers beyond ``limit`` stand at the edge with an arrow; the text is exact."""

    title: str
    x_label: str
    rows: tuple[Range, ...]
    unit: str
    line: float | None = None
    line_label: str = ""
    limit: float | None = None
    before_label: str = ""
    logarithmic: bool = False
    #: what an infinite number is called
    infinite: str = "∞"

    def text(self, value: float) -> str:
        """A number of this panel as text."""
        return self.infinite if math.isinf(value) and value > 0 else short(value, self.unit)


@dataclass(frozen=True)
class Band:
    """A curve between its ends, over the x of its :class:`Fan`."""

    label: str
    middle: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Fan:
    """Curves that widen: ``x`` (T,), bands over it; ``reason`` instead where nothing is known."""

    title: str
    x_label: str
    y_label: str
    x: FloatArray
    bands: tuple[Band, ...]
    unit: str
    reason: str = ""
    line: float | None = None
    line_label: str = ""


@dataclass(frozen=True)
class Bars:
    """Bars in groups: one group per text of ``x``, in it one bar per series (label, values over x; NaN unknown), at
    most five series. ``line`` is drawn across."""

    title: str
    x_label: str
    y_label: str
    x: tuple[str, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]
    unit: str
    reason: str = ""
    line: float | None = None
    line_label: str = ""


Panel = Heat | Dots | Fan | Bars


# ---------------------------------------------------------------- numbers as text
def short(value: float | None, unit: str) -> str:
    """A number as a cell of a picture holds it; the axis says the unit.

    >>> short(1.204, "x"), short(0.5, "ratio"), short(35.5e9, "usd"), short(float("nan"), "x"), short(float("inf"), "x")
    ('1.20x', '50%', '35.50bn', '?', '∞')
    >>> short(589.7, "x"), short(2.345, "sigma"), short(14.0, "months")
    ('590x', '2.3', '14')
    """
    if value is None or math.isnan(value):
        return "?"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) >= TOO_LONG:
        return f"{value:.1e}"
    if unit == "ratio":
        return f"{value * 100:.0f}%" if abs(value) >= 0.1 or value == 0 else f"{value * 100:.1f}%"
    if unit == "usd":
        return format_usd(value)
    if unit == "x":
        return f"{value:.2f}x".replace("-0.00x", "0.00x") if abs(value) < 10 else f"{value:,.0f}x"
    if unit == "months":
        return f"{value:,.0f}"
    if unit == "score":
        return f"{value:.2f}"
    return f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"


def at_axis(value: float, unit: str) -> str:
    """A number at an axis, without empty decimals.

    >>> at_axis(5e9, "usd"), at_axis(0.2, ""), at_axis(1.0, "x")
    ('5bn', '0.2', '1x')
    """
    return re.sub(r"\.0+(?=\D*$)|(?<=\.\d)0(?=\D*$)", "", short(value, unit)) if value else "0"
