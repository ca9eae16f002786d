"""Plot the estimates, probes and samples of a real site as a PNG."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from epithermal_edge.physics.response import response_rate
from epithermal_host.arrays import Array
from epithermal_host.evaluation.methods import (
    COUNTS,
    NETWORK,
    OTHERS,
    WITH_WEATHER,
    network_with,
    short,
)
from epithermal_host.field.days import middle_of
from epithermal_host.rendering.plots import (
    COLOURS,
    GREY,
    SAMPLE_MARK,
    UNIT,
    VERMILION,
    band_90,
    date_axis,
    legend_above,
    new_figure,
    plot_style,
    png,
    row_slices,
    shade_days,
)
from epithermal_host.reports.field_result import Difference, Place

SHOWN = (COUNTS, WITH_WEATHER)


def picture(place: Place) -> bytes:
    """Plot probes, samples and methods over the record, corrected counts below, as a PNG.

    Days that are not evaluated are grey.
    """
    with plot_style():
        rows = row_slices(place.series.day_end_s.size)
        figure = new_figure(10.0, 1.2 + 3.6 * len(rows))
        ratios = [3.0, 1.0] * len(rows)
        panels = figure.subplots(2 * len(rows), 1, squeeze=False, height_ratios=ratios)[:, 0]
        counts = corrected_counts(place)
        for row, shown in enumerate(rows):
            _draw_theta(panels[2 * row], place, shown)
            _draw_counts(panels[2 * row + 1], place, counts, shown)
        legend_above(figure, panels[0], 4)
        return png(figure)


def verdicts(places: Sequence[Place]) -> bytes:
    """Plot the network's ubRMSE minus that of the best filter at each site, as a PNG.

    Sites are sorted by the grade of their truth; bars are 90 % intervals.
    """
    known = sorted((p for p in places if p.differences), key=lambda p: p.truth.grade or "D")
    with plot_style():
        figure = new_figure(7.0, 1.4 + 0.32 * len(known))
        axes = figure.subplots()
        for i, inputs in enumerate(SHOWN):
            rows = [(row, d) for row, place in enumerate(known) for d in place.differences
                    if d.inputs == inputs and d.against == place.best_filter]  # fmt: skip
            if rows:
                _draw_differences(axes, rows, 0.12 * (2 * i - 1), COLOURS[i], network_with(inputs))
        axes.axvline(0.0, c="k", lw=0.8)
        names = [f"{place.series.name} ({place.truth.grade or '-'})" for place in known]
        axes.set_yticks(range(len(known)), names)
        axes.invert_yaxis()
        axes.set_xlabel(f"ubRMSE minus that of the best filter [{UNIT}]; left of 0: better")
        legend_above(figure, axes, 2)
        return png(figure)


def _draw_differences(
    axes: Any, rows: Sequence[tuple[int, Difference]], shift: float, colour: str, label: str
) -> None:
    """Draw differences with their intervals, each in the row of its site."""
    y = np.array([row for row, _ in rows]) + shift
    value, low, high = np.array([(d.ubrmse.value, d.ubrmse.low, d.ubrmse.high) for _, d in rows]).T
    axes.hlines(y, low, high, color=colour, lw=1.6)
    axes.plot(value, y, "o", c=colour, ms=5.0, label=label)


def corrected_counts(place: Place) -> Array:
    """Compute the corrected rate of each day, (T,) [counts h-1], from its inversion.

    NaN without counts. The result is exact unless the inversion reached its upper limit.
    """
    site = dataclasses.replace(place.site_file.site, cosmic_n_cph=place.series.cosmic_n_cph)
    theta = place.series.theta_classical
    rate = response_rate(np.where(np.isfinite(theta), theta, 0.0), site)
    return np.asarray(np.where(np.isfinite(theta), rate, np.nan))


def _draw_counts(axes: Any, place: Place, counts: Array, days: slice) -> None:
    series = place.series
    time = series.day_end_s[days].astype("datetime64[s]")
    axes.plot(time, counts[days], c=GREY, lw=0.8)
    shade_days(axes, time, ~place.series.judged[days])
    axes.set(xlim=(time[0], time[-1]))
    axes.set_ylabel("counts/h")
    axes.tick_params(labelbottom=False)


def _draw_theta(axes: Any, place: Place, days: slice) -> None:
    """Plot water contents in a part of the record."""
    series = place.series
    time = series.day_end_s[days].astype("datetime64[s]")
    _draw_methods(axes, place, days, time)
    axes.plot(time, series.truth[days], c="k", lw=1.4, label="probes")
    if np.isfinite(place.anchor):
        axes.plot(time, series.truth[days] + place.anchor, c="k", lw=0.9, ls=":",
                  label="probes, anchored")  # fmt: skip
    samples = place.samples
    middle = middle_of(samples.end_s)
    axes.plot(middle, samples.theta, "D", **SAMPLE_MARK, ls="", label="samples, 0–30 cm")
    shade_days(axes, time, ~place.series.judged[days])
    axes.set(xlim=(time[0], time[-1]), ylim=_limits(place))
    axes.set_ylabel(f"0–30 cm [{UNIT}]")
    date_axis(axes)


def _draw_methods(axes: Any, place: Place, days: slice, time: Any) -> None:
    networks = [e for e in place.estimates if e.method == NETWORK and e.inputs in SHOWN]
    others = [e for e in place.estimates if e.method == OTHERS]
    for e in place.estimates:
        if e.method == place.inversion:
            axes.plot(time, e.theta[days], ".", ms=3.0, c=GREY, label=e.method)
        elif e.method == place.best_filter:
            name = f"{short(e.method)} (the best)"
            axes.plot(time, e.theta[days], c=VERMILION, lw=1.1, label=name)
    for i, e in enumerate(networks):
        if e is networks[-1] and e.sigma is not None:
            band_90(axes, time, e.theta[days], e.sigma[days], COLOURS[i])
        axes.plot(time, e.theta[days], c=COLOURS[i], lw=1.2, label=network_with(e.inputs))
    for e in others[-1:]:
        axes.plot(time, e.theta[days], c=COLOURS[2], lw=1.0, ls="--", label=e.method)


def _limits(place: Place) -> tuple[float, float]:
    """Return the ordinate's limits from evaluated days only: snow would compress the scale."""
    series = place.series
    days = series.judged if series.judged.any() else np.ones_like(series.judged)
    shown = [series.truth[days], *(e.theta[days] for e in place.estimates)]
    if np.isfinite(place.anchor):
        shown.append(series.truth[days] + place.anchor)
    values = np.concatenate([*shown, place.samples.theta])
    low, high = np.nanquantile(values, (0.002, 0.998))
    return max(float(low) - 0.02, 0.0), float(high) + 0.03
