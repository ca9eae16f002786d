"""Draw all plots in one style and render them as PNG.

Colours are those of Okabe and Ito (2008), which readers with any colour vision can distinguish.
"""

from __future__ import annotations

import io
import math
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from epithermal_host.arrays import Z90, Array, Mask

GREEN, BLUE, PURPLE = "#009E73", "#0072B2", "#CC79A7"
ORANGE, VERMILION = "#E69F00", "#D55E00"
GREY = "0.55"
COLOURS = (GREEN, BLUE, PURPLE, ORANGE)  # of the network, by set of inputs
UNIT = "m³ m⁻³"
DPI = 150
ROW_D = 1000  # days at most in one row of a long record
STYLE: Any = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "figure.facecolor": "white",
}
SAMPLE_MARK: dict[str, Any] = {"c": ORANGE, "mec": "k", "ms": 7.0, "zorder": 5}  # soil samples


def plot_style() -> AbstractContextManager[None]:
    """Apply the style to all plots inside a `with` block."""
    context: AbstractContextManager[None] = mpl.rc_context(STYLE)
    return context


def new_figure(width_in: float, height_in: float) -> Figure:
    """Create an empty figure whose parts do not overlap."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


def png(figure: Figure) -> bytes:
    """Render a figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def date_axis(axes: Any) -> None:
    """Label the abscissa with dates in their shortest form."""
    dates: Any = ConciseDateFormatter  # untyped
    axes.xaxis.set_major_formatter(dates(axes.xaxis.get_major_locator()))


def legend_above(figure: Figure, axes: Any, columns: int) -> None:
    """Place the legend of one panel above all panels, in as many columns as the width allows."""
    handles, labels = axes.get_legend_handles_labels()
    canvas: Any = FigureCanvasAgg(figure)  # untyped
    renderer = canvas.get_renderer()
    for number in range(columns, 0, -1):
        legend = figure.legend(handles, labels, loc="outside upper center", ncols=number,
                               frameon=False, fontsize=9.0)  # fmt: skip
        width = legend.get_window_extent(renderer).width
        if number == 1 or width <= figure.bbox.width:
            return
        legend.remove()


def band_90(axes: Any, time: Any, theta: Array, sigma: Array, colour: str) -> None:
    """Fill the 90 % interval about an estimate; theta and sigma are (T,) [m3 m-3]."""
    band = (theta - Z90 * sigma, theta + Z90 * sigma)
    axes.fill_between(time, *band, color=colour, alpha=0.2, lw=0.0, label="90 %")


def shade_days(axes: Any, time: Any, days: Mask, label: str | None = None) -> None:
    """Mark selected days, (T,), by a grey background over the whole height of a panel."""
    axes.fill_between(time, 0.0, 1.0, where=days, color="0.92", lw=0.0, zorder=0, label=label,
                      transform=axes.get_xaxis_transform(), step="mid")  # fmt: skip


def row_slices(days: int) -> list[slice]:
    """Split a record into rows of about equal length, at most `ROW_D` days each."""
    parts = np.array_split(np.arange(days), math.ceil(days / ROW_D))
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
