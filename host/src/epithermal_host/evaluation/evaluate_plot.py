"""The picture of an evaluation: one soil, seen by the methods."""

from __future__ import annotations

from typing import Any

from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from epithermal_host.arrays import Z90, Array
from epithermal_host.training.series import Series

SHOWN_D = 730  # the last days


def picture(test: Series, soil: int, filtered: tuple[str, Array], network: Array) -> Figure:
    """Truth, inversion, filter and network over the last two years of a soil.

    Parameters
    ----------
    soil :
        Its row.
    filtered :
        Name of the filter, and its estimate (T,) [m3 m-3].
    network : (T, K) [m3 m-3]
    """
    days = slice(-SHOWN_D, None)
    time = test.day_end_s[days].astype("datetime64[s]")
    theta, sigma = network[days, 0], network[days, 1]
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(time, test.theta_classical[soil, days], ".", ms=3, c="0.65", label="inversion")
    axes.plot(time, filtered[1][days], lw=1.2, c="tab:orange", label=filtered[0])
    band = (theta - Z90 * sigma, theta + Z90 * sigma)
    axes.fill_between(time, *band, color="tab:blue", alpha=0.2, lw=0, label="LSTM, 90 %")
    axes.plot(time, theta, lw=1.2, c="tab:blue", label="LSTM")
    axes.plot(time, test.theta[soil, days], lw=1.2, c="k", label="truth")
    axes.set_ylabel("water content 0-30 cm [m³ m⁻³]")
    axes.set_title(f"Test soil of scenario {test.scenario[soil]}")
    dates: Any = ConciseDateFormatter  # untyped
    axes.xaxis.set_major_formatter(dates(axes.xaxis.get_major_locator()))
    axes.legend(ncols=5, loc="upper center", fontsize=9, frameon=False)
    axes.margins(x=0.01)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.12 * (high - low))  # room for the legend
    return figure
