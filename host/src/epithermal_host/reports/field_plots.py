"""The picture of a real site: bytes of a PNG out."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_host.arrays import Z90, Array
from epithermal_host.evaluation.baselines import COSMIC
from epithermal_host.reports.field_judge import FILTERED
from epithermal_host.reports.field_retrained import OTHERS
from epithermal_host.reports.simulated import COUNTS, NETWORK, WITH_WEATHER
from epithermal_host.reports.simulated_plots import COLOURS, GREY, ORANGE, UNIT, png
from epithermal_host.studies.figures_plots import STYLE

if TYPE_CHECKING:
    from epithermal_host.reports.field_judge import Place


SHOWN = (COUNTS, WITH_WEATHER)
ROW_D = 1000  # at most in a row


def site(place: Place) -> bytes:
    """Probes, samples, inversion, filter and network over the record, corrected counts below;
    judged days are white."""
    with mpl.rc_context(STYLE):
        days = place.series.day_end_s.size
        rows = math.ceil(days / ROW_D)
        figure = Figure(figsize=(10.0, 1.2 + 3.6 * rows), layout="constrained")
        ratios = [3.0, 1.0] * rows
        panels = figure.subplots(2 * rows, 1, squeeze=False, height_ratios=ratios)[:, 0]
        counts = corrected_counts(place)
        for row, part in enumerate(np.array_split(np.arange(days), rows)):
            shown = slice(int(part[0]), int(part[-1]) + 1)
            _part(panels[2 * row], place, shown)
            _counts(panels[2 * row + 1], place, counts, shown)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4,
                      frameon=False, fontsize=9.0)  # fmt: skip
        return png(figure)


def corrected_counts(place: Place) -> Array:
    """(T,) corrected rate of each day [counts h-1], back from its inversion, which is exact but
    where the soil would be wetter than water; NaN without counts."""
    site = dataclasses.replace(place.site_file.site, cosmic_n_cph=place.series.cosmic_n_cph)
    theta = place.series.theta_classical
    rate = cosmic_rate(np.where(np.isfinite(theta), theta, 0.0), site)
    return np.asarray(np.where(np.isfinite(theta), rate, np.nan))


def _counts(axes: Any, place: Place, counts: Array, days: slice) -> None:
    series = place.series
    time = series.day_end_s[days].astype("datetime64[s]")
    axes.plot(time, counts[days], c=GREY, lw=0.8)
    _unjudged(axes, place, days, time)
    axes.set(xlim=(time[0], time[-1]))
    axes.set_ylabel("counts/h")
    axes.tick_params(labelbottom=False)


def _unjudged(axes: Any, place: Place, days: slice, time: Any) -> None:
    axes.fill_between(time, 0.0, 1.0, where=~place.series.judged[days], color="0.93", lw=0.0,
                      zorder=0, transform=axes.get_xaxis_transform(), step="mid")  # fmt: skip


def _part(axes: Any, place: Place, days: slice) -> None:
    """Some years of the record."""
    series = place.series
    time = series.day_end_s[days].astype("datetime64[s]")
    _methods(axes, place, days, time)
    axes.plot(time, series.truth[days], c="k", lw=1.4, label="probes")
    if np.isfinite(place.anchor):
        axes.plot(time, series.truth[days] + place.anchor, c="k", lw=0.9, ls=":",
                  label="probes at the samples")  # fmt: skip
    taken = place.samples
    middle = (taken.end_s - 43200.0).astype("datetime64[s]")
    axes.plot(middle, taken.theta, "D", c="#E69F00", mec="k", ms=7.0, zorder=5, ls="",
              label="samples, 0–30 cm")  # fmt: skip
    _unjudged(axes, place, days, time)
    axes.set(xlim=(time[0], time[-1]), ylim=_limits(place))
    axes.set_ylabel(f"0–30 cm [{UNIT}]")
    dates: Any = ConciseDateFormatter  # untyped
    axes.xaxis.set_major_formatter(dates(axes.xaxis.get_major_locator()))


def _methods(axes: Any, place: Place, days: slice, time: Any) -> None:
    networks = [e for e in place.estimates if e.method == NETWORK and e.inputs in SHOWN]
    others = [e for e in place.estimates if e.method == OTHERS]
    for e in place.estimates:
        if e.method == COSMIC:
            axes.plot(time, e.theta[days], ".", ms=3.0, c=GREY, label=e.method)
        elif e.method == FILTERED:
            name = e.method.replace(f"{COSMIC} + ", "with ")
            axes.plot(time, e.theta[days], c=ORANGE, lw=1.1, label=name)
    for i, e in enumerate(networks):
        if e is networks[-1] and e.sigma is not None:
            half = Z90 * e.sigma[days]
            band = (e.theta[days] - half, e.theta[days] + half)
            axes.fill_between(time, *band, color=COLOURS[i], alpha=0.2, lw=0.0, label="90 %")
        axes.plot(time, e.theta[days], c=COLOURS[i], lw=1.2, label=f"network, {e.inputs}")
    for e in others[-1:]:
        axes.plot(time, e.theta[days], c=COLOURS[2], lw=1.0, ls="--", label=e.method)


def _limits(place: Place) -> tuple[float, float]:
    """Of all that is shown on judged days; snow in winter would squeeze the rest."""
    series = place.series
    days = series.judged if series.judged.any() else np.ones_like(series.judged)
    shown = [series.truth[days], *(e.theta[days] for e in place.estimates)]
    if np.isfinite(place.anchor):
        shown.append(series.truth[days] + place.anchor)
    values = np.concatenate([*shown, place.samples.theta])
    low, high = np.nanquantile(values, (0.002, 0.998))
    return max(float(low) - 0.02, 0.0), float(high) + 0.03
