"""Pictures: real PNG of a sane size, whatever the names and numbers; unknown and recorded are seen at a glance."""

from __future__ import annotations

import io
import warnings
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.charts import Band, Dots, Fan, Heat, Range, Stamp, picture, short
from monitor.framing import caption_of
from monitor.panels import CAPTION_LINES

AT = datetime(2026, 9, 22, tzinfo=UTC)
STAMP = Stamp(AT, None, "a test", 86400.0 * 83, ("a note",))
NAN, INF = float("nan"), float("inf")
HOSTILE = (
    "$\\frac{1}{0}$ <b>&amp;",
    "Core\u202eWeave\x1b[31m\n\nInc.",
    "x" * 200,
    "矿工 🐤 $$",
    "%(name)s {0} \\",
)


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height in pixels as the header of a PNG says; the signature must be right."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def pixels(png: bytes) -> np.ndarray:
    """The picture as (height, width, 3) between 0 and 1."""
    from matplotlib.image import imread

    return np.asarray(imread(io.BytesIO(png)))[:, :, :3]


def heat(values: list[list[float]], **more: object) -> Heat:
    """A grid of liquidity."""
    array = np.array(values, float)
    x, y = (tuple(f"{-10 * i}%" for i in range(n)) for n in (array.shape[1], array.shape[0]))
    return Heat("liquidity, x", "bitcoin, %", "rents, %", x, y, array, "x", 1.0, "1.00x", **more)  # type: ignore[arg-type]


def dots(*rows: Range, **more: object) -> Dots:
    """Rows of liquidity."""
    return Dots("liquidity", "x of what falls due", rows, "x", 1.0, "1.00x", **more)  # type: ignore[arg-type]


FAN = Fan(
    "breach", "months", "share of paths, %", np.arange(1.0, 4.0),
    (Band("today", np.array([0.0, 0.1, 0.2]), np.array([0.0, 0.0, 0.1]), np.array([0.0, 0.3, 0.9])),), "ratio",
)  # fmt: skip


@pytest.mark.parametrize(
    "panels",
    [
        [heat([[1.2, 0.8], [NAN, INF]], mark=(0.0, 0.0), mark_label="today")],
        [dots(Range("a", 1.2, 0.8, 2.0, 1.5), Range("b", None), Range("c", INF, 0.5, INF), limit=4.0)],
        [FAN],
        [heat([[1.2, 0.8]]), heat([[0.5]], reason="cash was never reported"), FAN],
        [Fan("breach", "months", "share, %", np.arange(1.0, 4.0), (), "ratio", "no test can be judged")],
        [dots(), heat(np.zeros((0, 3)).tolist() or [[]])],
    ],
    ids=["grid", "rows", "fan", "three", "unknown", "empty"],
)
def test_every_panel_is_a_picture(panels):
    """Each kind of panel, alone or beside others, gives a PNG somebody can look at."""
    width, height = size_of(picture("Cover", panels, STAMP))
    assert 700 <= width <= 2500
    assert 150 <= height <= 2500


def test_nothing_to_draw_is_an_error():
    """A picture without a panel would be an empty sheet."""
    with pytest.raises(ValueError, match="needs a panel"):
        picture("Cover", [], STAMP)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_draw(name):
    """Names with markup, control and bidirectional characters or no end are drawn as text, without a complaint."""
    stamp = Stamp(AT, date(2026, 9, 21), name, None, (name,) * 30)
    grid = Heat(name, name[:40], name[:40], (name, "b"), (name,), np.array([[0.5, NAN]]), "x", 1.0, "1x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = picture(name, [grid, dots(Range(name, 1.0), Range(name, None))], stamp)
    width, height = size_of(png)
    assert width <= 2500
    assert height <= 1500


def test_recorded_is_seen():
    """Recorded prices are marked in yellow; live ones are not."""
    yellow = []
    for recorded in (date(2026, 9, 21), None):
        rgb = pixels(picture("Cover", [dots(Range("a", 1.2))], Stamp(AT, recorded, "a test")))
        yellow.append(int(((rgb[..., 0] > 0.9) & (rgb[..., 1] > 0.75) & (rgb[..., 2] < 0.4)).sum()))
    assert yellow[0] > 2000
    assert yellow[1] == 0


def test_unknown_has_no_colour():
    """An unknown cell is grey: it reads neither as fine nor as broken."""

    def colourful(value: float) -> int:
        rgb = pixels(picture("Cover", [heat([[value, value]])], STAMP))
        return int((rgb.max(axis=2) - rgb.min(axis=2) > 0.25).sum())

    assert colourful(NAN) == 0
    assert colourful(0.2) > 5000


def test_a_breach_line_is_drawn_only_between_its_sides():
    """The heavy line appears where neighbours lie on the two sides, and nowhere else."""

    def black(values: list[list[float]]) -> int:
        rgb = pixels(picture("", [heat(values * 8)], STAMP))
        height = rgb.shape[0]
        return int((rgb[height * 2 // 5 : height // 2].max(axis=2) < 0.2).all(axis=0).sum())

    assert black([[1.5, 0.5]]) >= black([[1.5, 1.4]]) + 2


def test_a_caption_ends_with_source_and_age_and_counts_what_it_leaves_out():
    """The last line names the moment, the oldest age and the source; notes beyond the room are counted."""
    for more, said in ((0, None), (1, "and 1 more note: --json"), (2, "and 2 more notes: --json")):
        stamp = Stamp(AT, None, "a source", 86_400.0, tuple(f"note {i}" for i in range(CAPTION_LINES + more)))
        lines = caption_of(stamp)
        assert lines[-1].startswith("as of 2026-")
        assert lines[-1].endswith("oldest figure 24 h old; source: a source")
        assert len(lines) == CAPTION_LINES + 1 + bool(more)
        assert said is None or lines[-2] == said


def test_same_numbers_same_bytes():
    """A picture depends on its numbers alone."""
    assert picture("Cover", [FAN], STAMP) == picture("Cover", [FAN], STAMP)


numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, min_value=None, max_value=None))


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=4))
def test_any_number_draws(rows):
    """Infinite, unknown, tiny and astronomical numbers are drawn without a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranges = [Range("a", middle, low, high, before) for middle, low, high, before in rows]
        size_of(picture("Cover", [dots(*ranges), heat([[r.middle or 0.0 for r in ranges] or [1.0]])], STAMP))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "x", "0.00x"),
        (-0.0001, "x", "0.00x"),
        (-INF, "usd", "-∞"),
        (0.004, "ratio", "0.4%"),
        (None, "usd", "?"),
        (1e300, "usd", "1.0e+300"),
    ],
)
def test_short_numbers(value, unit, text):
    """Numbers in cells are short and never a signed zero."""
    assert short(value, unit) == text
