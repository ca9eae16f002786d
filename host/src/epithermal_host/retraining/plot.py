"""The picture of a retraining: bytes of a PNG out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from epithermal_host.reports.simulated_plots import COLOURS, ORANGE, UNIT, png
from epithermal_host.studies.figures_plots import STYLE

if TYPE_CHECKING:
    from epithermal_host.retraining.retrain import Retraining

ROW_D = 1000  # days at most in a row


def picture(done: Retraining) -> bytes:
    """Probes, released and retrained network, and samples; the days fitted on are shaded."""
    with mpl.rc_context(STYLE):
        days = done.series.day_end_s.size
        rows = math.ceil(days / ROW_D)
        figure = Figure(figsize=(10.0, 1.2 + 2.7 * rows), layout="constrained")
        panels = figure.subplots(rows, 1, squeeze=False)[:, 0]
        for axes, part in zip(panels, np.array_split(np.arange(days), rows), strict=True):
            _part(axes, done, slice(int(part[0]), int(part[-1]) + 1))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5,
                      frameon=False, fontsize=9.0)  # fmt: skip
        return png(figure)


def _part(axes: Any, done: Retraining, days: slice) -> None:
    """Some years."""
    series, after = done.series, done.theta()[-1]
    probed = done.used | done.judged
    shift = float(np.mean((after - series.truth)[probed])) if probed.any() else 0.0
    time = series.day_end_s[days].astype("datetime64[s]")
    axes.plot(time, np.where(probed, series.truth, np.nan)[days] + shift, c="k", lw=1.4,
              label=f"probes {shift:+.3f}")  # fmt: skip
    axes.plot(time, done.said.theta[-1, days], c=ORANGE, lw=1.1, label="released")
    if done.change is not None:
        axes.plot(time, after[days], c=COLOURS[1], lw=1.2, label="retrained")
    inside = (done.samples.end_s >= series.day_end_s[days][0]) & (
        done.samples.end_s <= series.day_end_s[days][-1]
    )
    middle = (done.samples.end_s[inside] - 43200.0).astype("datetime64[s]")
    axes.plot(middle, done.samples.theta[inside], "D", c="#E69F00", mec="k", ms=6.0, zorder=5,
              ls="", label="samples")  # fmt: skip
    axes.fill_between(time, 0.0, 1.0, where=done.used[days], color="0.90", lw=0.0, zorder=0,
                      transform=axes.get_xaxis_transform(), step="mid",
                      label="could be used")  # fmt: skip
    shown = [done.said.theta[-1, probed], after[probed], series.truth[probed] + shift]
    values = np.concatenate([*shown, done.samples.theta])
    if values.size:
        axes.set_ylim(max(float(values.min()) - 0.02, 0.0), float(values.max()) + 0.03)
    axes.set(xlim=(time[0], time[-1]))
    axes.set_ylabel(f"0–30 cm [{UNIT}]")
    dates: Any = ConciseDateFormatter  # untyped
    axes.xaxis.set_major_formatter(dates(axes.xaxis.get_major_locator()))
