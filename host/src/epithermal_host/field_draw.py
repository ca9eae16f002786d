"""The picture of a real site: bytes of a PNG out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from epithermal_host.baselines import COSMIC
from epithermal_host.figures_draw import STYLE
from epithermal_host.metrics import Z90
from epithermal_host.report_draw import COLOURS, GREY, ORANGE, UNIT, png

if TYPE_CHECKING:
    from epithermal_host.field_report import Place

NETWORK = "network"
ROW_D = 1000  # at most in a row


def site(place: Place) -> bytes:
    """Probes, samples, inversion, filter and network over the record; judged days are white."""
    with mpl.rc_context(STYLE):
        days = place.series.day_end_s.size
        rows = math.ceil(days / ROW_D)
        figure = Figure(figsize=(10.0, 1.2 + 2.7 * rows), layout="constrained")
        panels = figure.subplots(rows, 1, squeeze=False)[:, 0]
        for axes, part in zip(panels, np.array_split(np.arange(days), rows), strict=True):
            _part(axes, place, slice(int(part[0]), int(part[-1]) + 1))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5,
                      frameon=False, fontsize=9.0)  # fmt: skip
        return png(figure)


def _part(axes: Any, place: Place, days: slice) -> None:
    """Some years of the record."""
    series = place.series
    time = series.day_end_s[days].astype("datetime64[s]")
    _methods(axes, place, days, time)
    axes.plot(time, series.truth[days], c="k", lw=1.4, label="probes")
    if np.isfinite(place.anchor):
        axes.plot(time, series.truth[days] + place.anchor, c="k", lw=0.9, ls=":",
                  label="probes at the samples")  # fmt: skip
    sampled = np.array(series.sampling_end_s - 43200.0).astype("datetime64[s]")
    axes.plot(sampled, series.sampled_theta, "D", c="#E69F00", mec="k", ms=8.0, zorder=5, ls="",
              label="samples")  # fmt: skip
    axes.fill_between(time, 0.0, 1.0, where=~series.judged[days], color="0.93", lw=0.0, zorder=0,
                      transform=axes.get_xaxis_transform(), step="mid")  # fmt: skip
    axes.set(xlim=(time[0], time[-1]), ylim=_limits(place))
    axes.set_ylabel(f"0–30 cm [{UNIT}]")
    dates: Any = ConciseDateFormatter  # untyped
    axes.xaxis.set_major_formatter(dates(axes.xaxis.get_major_locator()))


def _methods(axes: Any, place: Place, days: slice, time: Any) -> None:
    networks = [e for e in place.estimates if e.method == NETWORK]
    for e in place.estimates:
        if e.method == COSMIC:
            axes.plot(time, e.theta[days], ".", ms=3.0, c=GREY, label=e.method)
        elif e.method != NETWORK:
            name = e.method.replace(f"{COSMIC} + ", "with ")
            axes.plot(time, e.theta[days], c=ORANGE, lw=1.1, label=name)
    for i, e in enumerate(networks):
        if e is networks[-1] and e.sigma is not None:
            half = Z90 * e.sigma[days]
            band = (e.theta[days] - half, e.theta[days] + half)
            axes.fill_between(time, *band, color=COLOURS[i], alpha=0.2, lw=0.0, label="90 %")
        axes.plot(time, e.theta[days], c=COLOURS[i], lw=1.2, label=f"network, {e.inputs}")


def _limits(place: Place) -> tuple[float, float]:
    """Of all that is shown on judged days; snow in winter would squeeze the rest."""
    series = place.series
    days = series.judged if series.judged.any() else np.ones_like(series.judged)
    shown = [series.truth[days], *(e.theta[days] for e in place.estimates)]
    if np.isfinite(place.anchor):
        shown.append(series.truth[days] + place.anchor)
    values = np.concatenate([*shown, [series.sampled_theta]])
    low, high = np.nanquantile(values, (0.002, 0.998))
    return max(float(low) - 0.02, 0.0), float(high) + 0.03
