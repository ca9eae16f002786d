"""The pictures of the single-site study: bytes of a PNG out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from epithermal_host.figures_draw import STYLE
from epithermal_host.report_draw import GREY, ORANGE, UNIT, png
from epithermal_host.study_place import wet_season

if TYPE_CHECKING:
    from epithermal_host.study import Study

INVERSION, BEST = "COSMIC inversion", "with best filter"
COUNTS, WEATHER = "LSTM, counts alone", "LSTM, + rain and ET0"
PAINT = {INVERSION: GREY, BEST: ORANGE, COUNTS: "#009E73", WEATHER: "#0072B2"}
SHOWN_D = 730
PARTS = {"train": "white", "validation": "0.95", "test": "#FFF3D6"}


def record(study: Study) -> bytes:
    """Above: the whole record. Below: the last two years with their seasons, and the errors."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 9.0), layout="constrained")
        whole, near, error = figure.subplots(3, 1, height_ratios=(2.2, 3.2, 2.0))
        _lines(whole, study, slice(0, None), (INVERSION, WEATHER))
        _lines(near, study, slice(-SHOWN_D, None), (INVERSION, BEST, WEATHER))
        _errors(error, study, slice(-SHOWN_D, None))
        for axes in (whole, near, error):
            _mark(axes, study)
            dates: Any = ConciseDateFormatter  # untyped
            axes.xaxis.set_major_formatter(dates(axes.xaxis.get_major_locator()))
        _seasons(near, study, slice(-SHOWN_D, None))
        config = study.config
        rows = study.table["test"]
        told = ", ".join(f"{name} {rows[name].rmse:.4f}" for name in PAINT)
        whole.set_title(
            f"{config.soil.replace('_', ' ')}, {config.cover}, Uccle's climate. RMSE on the days "
            f"of test [{UNIT}]:\n{told}",
            loc="left",
            fontsize=9.5,
        )
        near.legend(ncols=5, loc="upper left", frameon=False, fontsize=9.0)
        return png(figure)


def _lines(axes: Any, study: Study, days: slice, methods: tuple[str, ...]) -> None:
    time = study.record.day_end_s[days].astype("datetime64[s]")
    for name in methods:
        style: dict[str, Any] = {"lw": 1.2}
        if name == INVERSION:
            style = {"ls": "", "marker": ".", "ms": 3.0}
        axes.plot(time, study.estimates[name][days], c=PAINT[name], label=name, **style)
    axes.plot(time, study.record.truth[days], c="k", lw=1.1, label="truth")
    axes.set_ylabel(f"0–30 cm [{UNIT}]")
    axes.set_xlim(time[0], time[-1])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.15 * (high - low))


def _errors(axes: Any, study: Study, days: slice) -> None:
    time = study.record.day_end_s[days].astype("datetime64[s]")
    for name in (INVERSION, BEST, WEATHER):
        error = np.where(study.record.snow, np.nan, study.estimates[name] - study.record.truth)
        axes.plot(time, error[days], c=PAINT[name], lw=1.0, label=name)
    axes.axhline(0.0, c="k", lw=0.7)
    axes.set_ylabel(f"error [{UNIT}]")
    axes.set_xlim(time[0], time[-1])


def _mark(axes: Any, study: Study) -> None:
    """Training, validation and test as grounds, named at the bottom."""
    left, right = axes.get_xlim()
    time = study.record.day_end_s
    for name, days in study.parts.items():
        ends = (time[days][[0, -1]] / 86400.0).tolist()
        begin, end = max(ends[0], left), min(ends[1], right)
        if begin >= end:
            continue
        axes.axvspan(begin, end, color=PARTS[name], lw=0.0, zorder=0)
        axes.text(0.5 * (begin + end), 0.02, name, transform=axes.get_xaxis_transform(),
                  ha="center", fontsize=9.0, c="0.35")  # fmt: skip
    axes.set_xlim(left, right)


def _seasons(axes: Any, study: Study, days: slice) -> None:
    """Wet seasons as a blue bar at the top."""
    time = study.record.day_end_s[days].astype("datetime64[s]")
    wet = wet_season(study.record)[days]
    axes.fill_between(time, 0.975, 1.0, where=wet, transform=axes.get_xaxis_transform(),
                      color="#0072B2", lw=0.0, step="mid")  # fmt: skip
    axes.text(1.0, 0.965, "blue: wet season (more rain than ET0 in 60 days)", ha="right", va="top",
              transform=axes.transAxes, fontsize=8.5, c="#0072B2")  # fmt: skip


def elsewhere(study: Study) -> bytes:
    """The network of this soil on other soils (left), and with one parameter changed (right)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        soils = [name for name in study.elsewhere if " x " not in name]
        changed = [name for name in study.elsewhere if " x " in name]
        soils.sort(key=lambda name: study.elsewhere[name][INVERSION])
        for axes, names in ((left, soils), (right, [study.config.soil, *changed])):
            for method, paint in PAINT.items():
                values = [study.elsewhere[name][method] for name in names]
                filled: Any = "none" if method == INVERSION else paint
                axes.plot(values, range(len(names)), "o", c=paint, mfc=filled, label=method)
            labels = [_label(name) for name in names]
            axes.set_yticks(range(len(names)), labels)
            axes.invert_yaxis()
            axes.grid(axis="y", lw=0.4, c="0.9")
            axes.set_xlim(0.0, None)
            axes.set_xlabel(f"RMSE on the test's days [{UNIT}]")
        left.set_title(f"network of {study.config.soil.replace('_', ' ')} on other soils",
                       loc="left")  # fmt: skip
        right.set_title("the same soil, one parameter changed (n: of n − 1)", loc="left")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4,
                      frameon=False)  # fmt: skip
        return png(figure)


def _label(name: str) -> str:
    """Of a soil, or of a changed parameter without its unit."""
    name = name.replace("_per_cm", "").replace("_cm_d", "")
    return name.replace(" x ", " × ").replace("theta_", "θ").replace("_", " ")
