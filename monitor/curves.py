"""Curves with their bands, bars in groups, and the panel of which nothing is known: drawn on axes of matplotlib."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from monitor.markup import clean
from monitor.panels import HATCH, LARGEST, MAIN, NAME, SECOND, Bars, Fan, at_axis, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def tilt(labels: Sequence[str]) -> int:
    """Degrees by which labels below an axis are turned so that they do not touch."""
    return 20 if max((len(text) for text in labels), default=0) > 9 else 0


def draw_fan(panel: Fan, axes: Axes) -> None:
    """Curves between their ends; a band of a curve that is drawn already is only filled."""
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    if panel.reason or not panel.bands:
        return draw_nothing(axes, panel.reason)
    for band, colour, style in zip(panel.bands, (MAIN, SECOND, "black"), ("-", "--", ":"), strict=False):
        axes.fill_between(panel.x, band.low, band.high, color=colour, alpha=0.22, linewidth=0)
        label = clean(band.label, 60)
        if band is not panel.bands[0] and np.array_equal(band.middle, panel.bands[0].middle):
            axes.fill_between([], [], color=colour, alpha=0.22, label=label)  # a narrower band of the same curve
        else:
            axes.plot(panel.x, band.middle, style, color=colour, linewidth=2, label=label)
    ends = [np.concatenate([band.low, band.high, band.middle]) for band in panel.bands]
    finite = np.concatenate([end[np.isfinite(end)] for end in ends])
    most, least = max(finite, default=1.0), min(finite, default=0.0)
    if panel.line is not None:
        axes.axhline(panel.line, color="black", linewidth=1.2, linestyle="--", label=panel.line_label or None)
        most = max(most, panel.line)
    top = 1.0 if panel.unit == "ratio" and most > 0.5 else max(most * 1.15, 0.02)
    axes.set_ylim(min(0.0, float(least) * 1.1), top)
    axes.set_xlim(float(panel.x[0]), float(panel.x[-1]))
    axes.yaxis.set_major_formatter(lambda value, _: short(value, panel.unit))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=8, frameon=False, borderaxespad=0.1)


#: fills of bar series, told apart by hue, lightness and hatch
FILLS = ((MAIN, ""), (SECOND, "//"), ("#009E73", "\\\\"), ("#CC79A7", ".."), ("#56B4E9", "xx"))


def draw_bars(panel: Bars, axes: Axes) -> None:
    """Groups of bars; a bar of exactly nothing keeps its place, an unknown one is a question mark."""
    if panel.reason or not panel.series or not panel.x:
        return draw_nothing(axes, panel.reason or "nothing to show")
    width = 0.8 / len(panel.series)
    places = np.arange(len(panel.x))
    for k, ((label, values), (colour, hatch)) in enumerate(zip(panel.series, FILLS, strict=False)):
        at = places + (k - (len(panel.series) - 1) / 2) * width
        heights = np.nan_to_num(np.array(values, float), posinf=LARGEST)
        named = clean(label, 40) if len(panel.series) > 1 else None
        axes.bar(at, heights, width * 0.94, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4, label=named)
        for x, value in zip(at, values, strict=True):
            if math.isnan(value):
                axes.text(x, 0, "?", ha="center", va="bottom", fontsize=8)
    if panel.line is not None:
        axes.axhline(panel.line, color="black", linewidth=1.2, linestyle="--", label=panel.line_label or None)
    axes.set_xticks(places, [clean(text, NAME) for text in panel.x], rotation=tilt(panel.x))
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    least, most = (float(end) for end in axes.get_ylim())
    axes.set_ylim(min(0.0, least * 1.12), max(most * 1.12, 1e-6) if most > 0 else 0.0 if least < 0 else 1e-6)
    axes.axhline(0.0, color="#444444", linewidth=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: at_axis(value, panel.unit))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=5, fontsize=8, frameon=False, borderaxespad=0.1)


def draw_nothing(axes: Axes, reason: str) -> None:
    """A panel of which nothing is known: hatched, with the reason in its middle."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor="#E4E4E4", edgecolor="#AAAAAA", hatch=HATCH)
    )
    text = textwrap.fill(f"unknown: {clean(reason, 200)}", 34)
    axes.text(
        0.5, 0.5, text, ha="center", va="center", fontsize=8.5, transform=axes.transAxes, bbox={"facecolor": "white"}
    )
    axes.set_xticks([])
    axes.set_yticks([])
