"""Draw the picture of a calibration as PNG bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from epithermal_edge.times import DAY_S
from epithermal_host.evaluation.methods import COSMIC, DESILETS, NETWORK, OWN_N, UTS
from epithermal_host.field.calibration_fit import Calibration
from epithermal_host.field.days import begin_s, middle_of
from epithermal_host.rendering.plots import (
    COLOURS,
    GREY,
    SAMPLE_MARK,
    UNIT,
    VERMILION,
    date_axis,
    new_figure,
    plot_style,
    png,
)

LINES: dict[str, dict[str, Any]] = {
    COSMIC: {"c": "k", "lw": 1.2},
    DESILETS: {"c": VERMILION, "lw": 1.0},
    UTS: {"c": GREY, "lw": 1.0},
    NETWORK: {"c": COLOURS[0], "lw": 1.0, "ls": "--"},
    OWN_N: {"c": COLOURS[0], "lw": 1.5},
}
MARKS = {**SAMPLE_MARK, "fmt": "D", "ecolor": "k"}


def picture(result: Calibration) -> bytes:
    """Draw corrected counts with the sampling days, and theta by each method with the samples."""
    with plot_style():
        figure = new_figure(10.0, 6.4)
        counts, theta = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.5))
        time = middle_of(result.day_end_s)
        sampled = middle_of(np.array([begin_s(d.sampled.day) + DAY_S for d in result.days]))
        counts.plot(time, result.n_cph, c=GREY, lw=1.0)
        n = [d.counts.n_cph for d in result.days]
        counts.errorbar(sampled, n, [d.counts.sigma_cph for d in result.days], **MARKS)
        counts.set_ylabel("corrected [counts h⁻¹]")
        counts.set_title(_title(result), loc="left")
        for name, values in result.theta.items():
            theta.plot(time, values, label=name, **LINES.get(name, LINES[COSMIC]))
        means = np.array([(d.sampled.theta, d.sampled.theta_0_30) for d in result.days])
        error = [d.sampled.sigma for d in result.days]
        theta.errorbar(sampled, means[:, 0], error, label="samples, weighted", **MARKS)
        theta.plot(sampled, means[:, 1], "s", mfc="none", mec="k", ms=6.0, label="samples, 0–30 cm")
        theta.set(ylabel=f"water content [{UNIT}]", ylim=_limits(result, means))
        theta.legend(ncols=4, frameon=False, fontsize=9.0, loc="lower left", bbox_to_anchor=(0, 1))
        date_axis(theta)
        return png(figure)


def _title(result: Calibration) -> str:
    n, sigma = float(result.site.cosmic_n_cph), float(result.site.cosmic_n_sigma)
    return f"{result.site_file.name}: N = {n:.0f} counts h⁻¹ ± {100.0 * sigma:.1f} %"


def _limits(result: Calibration, means: Any) -> tuple[float, float]:
    values = np.concatenate([*result.theta.values(), means.ravel()])
    low, high = np.nanquantile(values, (0.005, 0.995))
    return max(float(low) - 0.03, 0.0), float(min(max(high, means.max()), 1.0)) + 0.04
