"""Draw the pictures of the single-site study as PNG bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from epithermal_host.evaluation.methods import is_inversion
from epithermal_host.evaluation.metrics import ENOUGH_DAYS
from epithermal_host.rendering.plots import (
    BLUE,
    GREEN,
    GREY,
    UNIT,
    VERMILION,
    date_axis,
    new_figure,
    plot_style,
    png,
)
from epithermal_host.soil.hydraulics import CATALOGUE, SoilHydraulics
from epithermal_host.studies.single_site_place import FACTORS, seasons, variant, wet_season
from epithermal_host.studies.single_site_result import BEST, COUNTS, WEATHER, Study

COLOURS = {BEST: VERMILION, COUNTS: GREEN, WEATHER: BLUE}
Rmse = Mapping[str, Mapping[str, float]]
"""By soil or changed parameter, then by method [m3 m-3]."""
SYMBOLS = {"theta_r": ("θr", ""), "theta_s": ("θs", ""), "alpha_per_cm": ("α", " cm⁻¹"),
           "n": ("n − 1", ""), "ks_cm_d": ("Ks", " cm d⁻¹")}  # fmt: skip
SHOWN_D = 730
PARTS = {"train": "white", "validation": "0.95", "test": "#FFF3D6"}


def record(study: Study) -> bytes:
    """Draw the whole record, the last two years with their seasons, and the errors."""
    with plot_style():
        figure = new_figure(11.0, 9.0)
        config, place = study.place.config, study.place
        whole, near, error = figure.subplots(3, 1, height_ratios=(2.2, 3.2, 2.0))
        paint = _paint(study.estimates)
        _lines(whole, study, slice(0, None), (study.inversion, WEATHER))
        _lines(near, study, slice(-SHOWN_D, None), tuple(paint))
        _errors(error, study, slice(-SHOWN_D, None))
        for axes in (whole, near, error):
            _mark(axes, study)
            date_axis(axes)
        _seasons(near, study, slice(-SHOWN_D, None))
        rows = study.table["test"]
        errors = ", ".join(f"{name} {rows[name].rmse:.4f}" for name in paint)
        watered = ", irrigated" if place.irrigation else ""
        weather = "weather" if place.station else "climate"
        whole.set_title(
            f"{_soil(place.soil_name)}, {config.cover}{watered}, {weather} of "
            f"{place.weather_name}. RMSE on the test days [{UNIT}]:\n{errors}",
            loc="left",
            fontsize=9.5,
        )
        near.legend(ncols=6, loc="upper left", frameon=False, fontsize=9.0)
        return png(figure)


def _paint(methods: Iterable[str]) -> dict[str, str]:
    """Return the colour of the inversion and of each method drawn, in this order."""
    return {next(name for name in methods if is_inversion(name)): GREY, **COLOURS}


def _lines(axes: Any, study: Study, days: slice, methods: tuple[str, ...]) -> None:
    time = study.record.day_end_s[days].astype("datetime64[s]")
    paint = _paint(study.estimates)
    for name in methods:
        style: dict[str, Any] = {"lw": 1.2}
        if is_inversion(name):
            style = {"ls": "", "marker": ".", "ms": 3.0}
        axes.plot(time, study.estimates[name][days], c=paint[name], label=name, **style)
        each = study.networks.get(name)
        if each is not None and len(each) > 1:
            axes.fill_between(time, each[:, days].min(axis=0), each[:, days].max(axis=0),
                              color=paint[name], alpha=0.25, lw=0.0)  # fmt: skip
    axes.plot(time, study.record.truth[days], c="k", lw=1.1, label="truth")
    if watered := np.flatnonzero(study.irrigation_mm[days]).tolist():
        axes.plot(time[watered], np.full(len(watered), 0.07), "^", c=BLUE, ms=5.0,
                  transform=axes.get_xaxis_transform(), label="irrigation")  # fmt: skip
    axes.set_ylabel(f"0–30 cm [{UNIT}]")
    axes.set_xlim(time[0], time[-1])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.15 * (high - low))


def _errors(axes: Any, study: Study, days: slice) -> None:
    time = study.record.day_end_s[days].astype("datetime64[s]")
    for name, colour in _paint(study.estimates).items():
        error = np.where(study.record.snow, np.nan, study.estimates[name] - study.record.truth)
        axes.plot(time, error[days], c=colour, lw=1.0, label=name)
    axes.axhline(0.0, c="k", lw=0.7)
    axes.set_ylabel(f"error [{UNIT}]")
    axes.set_xlim(time[0], time[-1])


def _mark(axes: Any, study: Study) -> None:
    """Mark training, validation and test by background colours with names."""
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
    """Mark wet seasons by a blue bar at the top."""
    time = study.record.day_end_s[days].astype("datetime64[s]")
    wet = wet_season(study.record)[days]
    axes.fill_between(time, 0.975, 1.0, where=wet, transform=axes.get_xaxis_transform(),
                      color=BLUE, lw=0.0, step="mid")  # fmt: skip
    axes.set_title("blue bar: wet season (more rain than ET0 in 60 days)", loc="right",
                   fontsize=8.5, c=BLUE)  # fmt: skip


def scatter(study: Study) -> bytes:
    """Draw estimate against truth on the test days, by method (rows) and season (columns)."""
    chosen = {
        name: days[study.parts["test"]] for name, days in seasons(study.record, study.place).items()
    }
    truth = study.record.truth[study.parts["test"]]
    usable = ~study.record.snow[study.parts["test"]]
    with plot_style():
        figure, paints = new_figure(10.0, 10.0), _paint(study.estimates)
        panels = figure.subplots(len(paints), len(chosen), sharex=True, sharey=True, squeeze=False)
        for row, (method, paint) in zip(panels, paints.items(), strict=True):
            estimate = study.estimates[method][study.parts["test"]]
            for axes, (season, days) in zip(row, chosen.items(), strict=True):
                use = days & usable
                axes.plot(truth[use], estimate[use], ".", c=paint, ms=3.0)
                axes.axline((truth.min(), truth.min()), slope=1.0, c="k", lw=0.7)
                if season in study.seasons:
                    found = study.seasons[season][method]
                    agreement = f"r {found.r:.3f}, KGE {found.kge:.2f}"
                    if np.isnan(found.r):
                        agreement = f"r, KGE: needs {ENOUGH_DAYS} days"
                    axes.text(0.04, 0.96, f"RMSE {found.rmse:.4f}\n{agreement}", va="top",
                              transform=axes.transAxes, fontsize=8.5)  # fmt: skip
            row[0].set_ylabel(f"{method}\n[{UNIT}]", fontsize=9.0)
        for axes, season in zip(panels[0], chosen, strict=True):
            axes.set_title(season, fontsize=10.0)
        figure.supxlabel(f"true water content of 0–30 cm on the test days [{UNIT}]", fontsize=10.0)
        return png(figure)


def parameters(soil: str, rmse: Rmse, top: SoilHydraulics) -> bytes:
    """Draw RMSE against changes of one hydraulic parameter, a panel for each.

    Parameters
    ----------
    soil :
        Name of the study's soil in `rmse`.
    top :
        Its uppermost layer, whose values are shown; all layers are changed by the same factor.
    """
    with plot_style():
        figure = new_figure(11.0, 3.9)
        panels = figure.subplots(1, len(FACTORS), sharey=True)
        own = rmse[soil]
        for axes, (name, factors) in zip(panels, FACTORS.items(), strict=True):
            x = sorted((*factors, 1.0))
            rows = [own if f == 1.0 else rmse[variant(name, f)] for f in x]
            for method, paint in _paint(own).items():
                filled: Any = "none" if is_inversion(method) else paint
                values = [row[method] for row in rows]
                axes.plot(x, values, "o-", c=paint, mfc=filled, ms=4.5, lw=1.3, label=method)
            axes.axvline(1.0, c="0.6", lw=0.8, ls="--")
            axes.set_xscale("log")
            axes.set_xticks(x, [f"{f:g}" for f in x])
            axes.minorticks_off()
            (symbol, unit), value = SYMBOLS[name], getattr(top, name)
            shown = value - 1.0 if name == "n" else value
            axes.set_title(f"{symbol} = {shown:.3g}{unit} × …", fontsize=10.0)
            axes.grid(axis="y", lw=0.4, c="0.9")
        panels[0].set_ylim(0.0, None)
        panels[0].set_ylabel(f"RMSE on the test days [{UNIT}]")
        figure.supxlabel(f"factor on one parameter of the {_soil(soil)}; the LSTM was trained "
                         "at the dashed line only", fontsize=10.0)  # fmt: skip
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4,
                      frameon=False)  # fmt: skip
        return png(figure)


def soils(soil: str, rmse: Rmse) -> bytes:
    """Draw RMSE on each class of the catalogue, for the network trained on one of them."""
    with plot_style():
        figure = new_figure(11.0, 4.3)
        axes = figure.add_subplot()
        names = sorted(CATALOGUE, key=lambda name: CATALOGUE[name].ks_cm_d, reverse=True)
        names += [soil] if soil not in CATALOGUE else []
        paints = _paint(rmse[soil])
        x, width = np.arange(len(names)), 0.8 / len(paints)
        for i, (method, paint) in enumerate(paints.items()):
            values = [rmse[name][method] for name in names]
            offset = (i - 0.5 * (len(paints) - 1)) * width
            axes.bar(x + offset, values, width, color=paint, label=_of(soil, method))
        axes.set_xticks(x, [_soil(name).replace(" ", "\n") for name in names])
        axes.tick_params(axis="x", length=0.0)
        axes.get_xticklabels()[names.index(soil)].set_fontweight("bold")
        axes.margins(x=0.01)
        axes.grid(axis="y", lw=0.4, c="0.9")
        axes.set_axisbelow(True)
        axes.set_ylabel(f"RMSE on the test days [{UNIT}]")
        axes.set_xlabel("class of Carsel and Parrish, by conductivity; all under the same weather")
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
        return png(figure)


def _of(soil: str, method: str) -> str:
    """Add the soil that the network was trained on to the name of a method."""
    return method.replace("LSTM", f"LSTM of the {_soil(soil)}")


def _soil(name: str) -> str:
    return name.replace("_", " ")
