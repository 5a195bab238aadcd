"""What every picture has around its panels: a title, the mark of recorded prices, and a caption with source and age.

matplotlib is loaded only when a picture is drawn, without a screen.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from monitor.markup import clean
from monitor.panels import CAPTION_LINE, CAPTION_LINES, TITLE, Stamp
from monitor.units import format_age

if TYPE_CHECKING:
    from matplotlib.figure import Figure
DPI = 110
#: inches above the panels
HEAD = 0.75
#: letters of a caption on an inch
LETTERS = 16.5
STYLE: dict[Any, Any] = {
    "text.parse_math": False, "text.usetex": False, "font.family": "DejaVu Sans", "font.size": 9,
}  # fmt: skip


def framed(
    title: str, stamp: Stamp, size: tuple[float, float], draw: Callable[[Figure], None], lines: Sequence[str] = ()
) -> bytes:
    """One PNG: ``draw`` fills a figure whose panels have ``size`` inches. ``lines`` instead of the stamp's own caption.

    >>> from datetime import datetime
    >>> stamp = Stamp(datetime(2026, 9, 22), None, "a test")
    >>> framed("Nothing", stamp, (4.0, 1.0), lambda figure: None)[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, body = size
    caption = [line for text in lines or caption_of(stamp) for line in textwrap.wrap(text, int(width * LETTERS))]
    foot = 0.2 + 0.17 * len(caption)
    height = body + HEAD + foot
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script the font lacks shows as boxes
        figure = Figure(figsize=(width, height), dpi=DPI)
        FigureCanvasAgg(figure)
        room = (0.006, foot / height, 0.988, body / height)
        figure.set_layout_engine("constrained", rect=room, wspace=0.04)
        draw(figure)
        _frame(figure, title, stamp, caption, height)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _frame(figure: Figure, title: str, stamp: Stamp, lines: Sequence[str], height: float) -> None:
    """Title, the mark of recorded prices, and the caption below."""
    figure.text(0.012, 1 - 0.14 / height, clean(title, TITLE), va="top", fontsize=13, weight="bold")
    below = 1 - 0.44 / height
    if stamp.recorded is not None:
        box = {"facecolor": "#F7D448", "edgecolor": "none", "pad": 2.5}
        text = f"RECORDED {stamp.recorded}: recorded prices of that day, not today's"
        figure.text(0.014, below, text, va="top", fontsize=8.5, weight="bold", bbox=box)
    else:
        figure.text(0.012, below, f"as of {stamp.as_of:%Y-%m-%d %H:%M} UTC", va="top", fontsize=8.5)
    figure.text(0.012, 0.1 / height, "\n".join(lines), va="bottom", fontsize=7.5, color="#444444", linespacing=1.35)


def caption_of(stamp: Stamp) -> list[str]:
    """The lines below: notes first, the stamp last; as many as can be read."""
    notes = [clean(note, CAPTION_LINE) for note in stamp.notes]
    left = len(notes) - CAPTION_LINES
    if left > 0:
        notes = [*notes[:CAPTION_LINES], f"and {left} more note{'s' if left > 1 else ''}: --json"]
    age = f"; oldest figure {format_age(stamp.oldest_s)} old" if stamp.oldest_s is not None else ""
    return [*notes, f"as of {stamp.as_of:%Y-%m-%d %H:%M} UTC{age}; source: {clean(stamp.source, 200)}"]
