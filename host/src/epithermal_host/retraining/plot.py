"""Plot a retraining: probes, samples, released and retrained network over time."""

from __future__ import annotations

from typing import Any

import numpy as np

from epithermal_host.field.days import middle_of
from epithermal_host.rendering.plots import (
    COLOURS,
    SAMPLE_MARK,
    UNIT,
    VERMILION,
    date_axis,
    legend_above,
    new_figure,
    plot_style,
    png,
    row_slices,
    shade_days,
)
from epithermal_host.retraining.result import Retraining


def picture(done: Retraining) -> bytes:
    """Plot probes, samples and both networks as a PNG; days available for fitting are shaded."""
    with plot_style():
        rows = row_slices(done.series.day_end_s.size)
        figure = new_figure(10.0, 1.2 + 2.7 * len(rows))
        panels = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
        for axes, days in zip(panels, rows, strict=True):
            _draw_days(axes, done, days)
        legend_above(figure, panels[0], 5)
        return png(figure)


def _draw_days(axes: Any, done: Retraining, days: slice) -> None:
    """Plot a part of the record."""
    series, after = done.series, done.theta()[-1]
    probed = done.used | done.evaluated
    shift = float(np.mean((after - series.truth)[probed])) if probed.any() else 0.0
    time = series.day_end_s[days].astype("datetime64[s]")
    axes.plot(time, np.where(probed, series.truth, np.nan)[days] + shift, c="k", lw=1.4,
              label=f"probes {shift:+.3f}")  # fmt: skip
    axes.plot(time, done.released.theta[-1, days], c=VERMILION, lw=1.1, label="released")
    if done.change is not None:
        axes.plot(time, after[days], c=COLOURS[1], lw=1.2, label="retrained")
    inside = (done.samples.end_s >= series.day_end_s[days][0]) & (
        done.samples.end_s <= series.day_end_s[days][-1]
    )
    middle = middle_of(done.samples.end_s[inside])
    axes.plot(middle, done.samples.theta[inside], "D", **SAMPLE_MARK, ls="", label="samples")
    shade_days(axes, time, done.used[days], "available for fitting")
    shown = [done.released.theta[-1, probed], after[probed], series.truth[probed] + shift]
    values = np.concatenate([*shown, done.samples.theta])
    if values.size:
        axes.set_ylim(max(float(values.min()) - 0.02, 0.0), float(values.max()) + 0.03)
    axes.set(xlim=(time[0], time[-1]))
    axes.set_ylabel(f"0–30 cm [{UNIT}]")
    date_axis(axes)
