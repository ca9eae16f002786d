"""Draw the picture of an evaluation: the estimates of all methods at one soil."""

from __future__ import annotations

from epithermal_host.arrays import Array
from epithermal_host.rendering.plots import (
    BLUE,
    GREY,
    UNIT,
    VERMILION,
    band_90,
    date_axis,
    legend_above,
    new_figure,
    plot_style,
    png,
)
from epithermal_host.training.series import Series

SHOWN_D = 730  # number of last days shown


def picture(test: Series, soil: int, filtered: tuple[str, Array], network: Array) -> bytes:
    """Draw truth, inversion, filter and network over the last two years of a soil, as a PNG.

    Parameters
    ----------
    soil :
        Its row in the series.
    filtered :
        Name of the filter, and its estimate (T,) [m3 m-3].
    network : (T, K) [m3 m-3]
    """
    days = slice(-SHOWN_D, None)
    time = test.day_end_s[days].astype("datetime64[s]")
    theta, sigma = network[days, 0], network[days, 1]
    with plot_style():
        figure = new_figure(11.0, 4.5)
        axes = figure.add_subplot()
        axes.plot(time, test.theta_classical[soil, days], ".", ms=3, c=GREY, label="inversion")
        axes.plot(time, filtered[1][days], lw=1.2, c=VERMILION, label=filtered[0])
        band_90(axes, time, theta, sigma, BLUE)
        axes.plot(time, theta, lw=1.2, c=BLUE, label="LSTM")
        axes.plot(time, test.theta[soil, days], lw=1.2, c="k", label="truth")
        axes.set_ylabel(f"0–30 cm [{UNIT}]")
        axes.set_title(f"Test soil of scenario {test.scenario[soil]}")
        date_axis(axes)
        legend_above(figure, axes, 5)
        axes.margins(x=0.01)
        return png(figure)
