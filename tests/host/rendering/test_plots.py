"""All plots have one style."""

from __future__ import annotations

import struct

import matplotlib as mpl
import numpy as np
import pytest

from epithermal_host.arrays import Z90
from epithermal_host.rendering import plots


def test_a_figure_becomes_a_png_of_its_size():
    content = plots.png(plots.new_figure(4.0, 2.0))
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (4 * plots.DPI, 2 * plots.DPI)


def test_the_style_applies_inside_its_block_only():
    before = mpl.rcParams["axes.spines.top"]
    with plots.plot_style():
        axes = plots.new_figure(2.0, 2.0).add_subplot()
    assert before and mpl.rcParams["axes.spines.top"] == before
    assert not axes.spines["top"].get_visible()


@pytest.mark.parametrize("days", [1, 999, 1000, 1001, 2500])
def test_rows_hold_each_day_once_and_not_too_many(days):
    rows = plots.row_slices(days)
    assert [day for row in rows for day in range(days)[row]] == list(range(days))
    sizes = [row.stop - row.start for row in rows]
    assert max(sizes) <= plots.ROW_D and max(sizes) - min(sizes) <= 1


def test_the_band_is_the_central_90_percent():
    axes = plots.new_figure(2.0, 2.0).add_subplot()
    plots.band_90(axes, np.arange(3), np.full(3, 0.3), np.full(3, 0.01), plots.BLUE)
    low, high = axes.collections[0].get_datalim(axes.transData).intervaly
    assert (low, high) == pytest.approx((0.3 - 0.01 * Z90, 0.3 + 0.01 * Z90))


def test_a_legend_that_is_wider_than_its_figure_wraps_to_fewer_columns():
    for width, columns in ((30.0, 4), (8.0, 2), (2.0, 1)):
        figure = plots.new_figure(width, 4.0)
        axes = figure.add_subplot()
        for i in range(4):
            axes.plot([0, 1], label=f"LSTM with counts, weather and soil, number {i}")
        plots.legend_above(figure, axes, 4)
        (legend,) = figure.legends
        assert legend._ncols == columns and len(legend.get_texts()) == 4
        if columns > 1:
            assert legend.get_window_extent().width <= figure.bbox.width
