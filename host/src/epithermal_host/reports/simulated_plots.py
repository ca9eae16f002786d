"""Plot the figures of the report on simulated soils as PNGs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LogNorm

from epithermal_host.arrays import Array
from epithermal_host.evaluation.methods import (
    NETWORK,
    best_filtered,
    network_with,
    short,
)
from epithermal_host.evaluation.result import Curve, Judged
from epithermal_host.rendering.plots import (
    COLOURS,
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
from epithermal_host.reports.simulated_result import GroupLines, Report

SHOWN_D = 730


def pictures(report: Report, judged: Judged) -> dict[str, bytes]:
    """Plot all figures; return PNGs by file name, in the order of the page."""
    drawn = {
        "methods.png": _methods(report),
        "groups.png": _groups(report),
        "coverage.png": _coverage(report),
        "age.png": _age(report),
        "scatter.png": _scatter(judged),
        "soils.png": _soils(report),
        "series.png": _series(report, judged),
    }
    if report.outages:
        drawn["outage.png"] = _outage(report)
    return drawn


def colour(report: Report, inputs: str) -> str:
    """Return the colour of the network with these inputs."""
    return COLOURS[report.inputs.index(inputs)]


def _methods(report: Report) -> bytes:
    """Plot RMSE of all methods as bars, ubRMSE as marks."""
    with plot_style():
        first = report.inputs[0]
        lines = [x for x in report.overall.lines if x.inputs == first or x.method == NETWORK]
        figure = new_figure(8.0, 0.33 * len(lines) + 0.9)
        axes = figure.add_subplot()
        for row, line in enumerate(reversed(lines)):
            own = line.method == NETWORK
            paint = colour(report, line.inputs) if own else "0.8"
            axes.barh(row, line.stats.rmse, color=paint, height=0.7)
            axes.plot(line.stats.ubrmse, row, "|", c="k", ms=14.0, mew=1.6)
            axes.text(line.stats.rmse, row, f" {line.stats.rmse:.4f}", va="center", fontsize=9.0)
        names = [network_with(x.inputs) if x.method == NETWORK else x.method for x in lines]
        axes.set_yticks(range(len(lines)), names[::-1])
        axes.tick_params(axis="y", length=0.0)
        axes.margins(x=0.12, y=0.02)
        axes.set_xlabel(f"RMSE [{UNIT}]; mark: ubRMSE, without each soil's own bias")
        return png(figure)


def _groups(report: Report) -> bytes:
    """Plot RMSE in each group for inversion, best filter and network."""
    with plot_style():
        rows = list(report.groups)
        figure = new_figure(8.0, 0.235 * len(rows) + 1.0)
        axes = figure.add_subplot()
        y = _label_rows(axes, rows)
        first, inversion = report.inputs[0], report.overall.inversion
        filtered = best_filtered(inversion)
        series: list[tuple[str, str, str, str, str]] = [
            (inversion, first, GREY, "o", inversion),
            (filtered, first, VERMILION, "D", short(filtered)),
        ]
        series += [
            (NETWORK, label, colour(report, label), "o", network_with(label))
            for label in report.inputs
        ]
        for method, inputs, paint, mark, label in series:
            lines = [group.line(method, inputs) for group in rows]
            values = [np.nan if x is None else x.stats.rmse for x in lines]
            filled: Any = "none" if method == inversion else paint
            axes.plot(values, y, mark, c=paint, mfc=filled, ms=5.5, label=label)
        axes.set_xlim(0.0, None)
        axes.set_xlabel(f"RMSE [{UNIT}]")
        legend_above(figure, axes, 4)
        return png(figure)


def _coverage(report: Report) -> bytes:
    """Plot the coverage of the 90 % interval, overall and in each group."""
    with plot_style():
        rows = [report.overall, *report.groups]
        figure = new_figure(8.0, 0.235 * len(rows) + 1.0)
        axes = figure.add_subplot()
        y = _label_rows(axes, rows)
        axes.axvspan(80.0, 97.0, color="0.94", lw=0.0)
        axes.axvspan(87.0, 93.0, color="0.87", lw=0.0)
        axes.axvline(90.0, c="0.5", lw=0.8)
        for label in report.inputs:
            lines = [group.line(NETWORK, label) for group in rows]
            values = [np.nan if x is None else 100.0 * x.stats.coverage_90 for x in lines]
            axes.plot(values, y, "o", c=colour(report, label), ms=5.5, label=label)
        axes.set_xlabel("truth inside the 90 % interval [%]; grey: 87 to 93, 80 to 97")
        legend_above(figure, axes, 3)
        return png(figure)


def _label_rows(axes: Any, rows: list[GroupLines]) -> Array:
    """Label rows with the groups' names, with a gap between kinds; return their ordinates."""
    y, at, before = [], 0.0, rows[0].kind
    for group in rows:
        at -= 1.0 if group.kind == before else 1.7
        y.append(at)
        before = group.kind
    axes.set_yticks(y, [_name(group) for group in rows])
    axes.tick_params(axis="y", length=0.0, labelsize=9.0)
    axes.set_ylim(y[-1] - 0.8, y[0] + 0.8)
    axes.grid(axis="y", lw=0.4, c="0.9")
    axes.set_axisbelow(True)
    return np.array(y)


def _name(group: GroupLines) -> str:
    """Return a group's label, with its kind if the name is a number."""
    more = {"year": "year {}", "counting rate": "{} counts h⁻¹",
            "season": "{} season"}  # fmt: skip
    return more.get(group.kind, "{}").format(group.name)


def _curves(report: Report, axes: Any, curves: list[Curve], **style: Any) -> None:
    inversion = report.overall.inversion
    for curve in curves:
        paint = {inversion: GREY, best_filtered(inversion): VERMILION}.get(curve.method)
        name = short(curve.method)
        label = f"{name}, {curve.inputs}" if curve.inputs else name
        paint = paint or colour(report, curve.inputs)
        axes.plot(curve.day, curve.rmse, c=paint, label=label, **style)


def _age(report: Report) -> bytes:
    """Plot RMSE against the age of the stream: first weeks at the left, years at the right."""
    with plot_style():
        figure = new_figure(9.0, 3.6)
        left, right = figure.subplots(1, 2, sharey=True)
        curves = list(report.ages)
        _curves(report, left, curves, marker="o", ms=3.5, lw=1.4)
        _curves(report, right, curves, marker="o", ms=3.5, lw=1.4)
        left.set(xlim=(-1.0, 100.0), xlabel="days since the cold start")
        left.axvline(report.spin_up_d, c="0.6", lw=0.8, ls="--")
        left.set_ylabel(f"RMSE [{UNIT}]")
        right.set(xlim=(60.0, None), xlabel="days since the cold start")
        left.set_ylim(0.0, None)
        legend_above(figure, left, 4)
        return png(figure)


def _outage(report: Report) -> bytes:
    """Plot RMSE against the length of an outage: on its last day, and on the first day after."""
    with plot_style():
        figure = new_figure(9.0, 3.6)
        left, right = figure.subplots(1, 2, sharey=True)
        dark = [c for c in report.outages if c.what == "outage"]
        back = [c for c in report.outages if c.what == "after"]
        _curves(report, left, dark, marker="o", ms=3.0, lw=1.4)
        _curves(report, right, back, marker="o", ms=4.0, lw=1.4)
        left.axvline(10.5, c="0.6", lw=0.8, ls="--")
        left.set(xlabel="length of the outage: error on its last day [d]")
        left.set_ylabel(f"RMSE [{UNIT}]")
        right.set(xlabel="length of the outage: error on the first day after [d]")
        left.set_ylim(0.0, None)
        legend_above(figure, left, 4)
        return png(figure)


def _scatter(judged: Judged) -> bytes:
    """Plot densities of days over truth and estimate for inversion, best filter and network."""
    with plot_style():
        truth = judged.unseen.series.theta
        plotted = (judged.inversion, best_filtered(judged.inversion))
        named = [(short(b.name), b.theta) for b in judged.baselines if b.name in plotted]
        named += [(network_with(e.inputs.label), e.theta) for e in judged.estimates]
        figure = new_figure(2.6 * len(named) + 0.6, 3.1)
        panels = figure.subplots(1, len(named), sharex=True, sharey=True, squeeze=False)[0]
        high = float(np.nanquantile(truth[judged.days], 0.9999)) + 0.03
        for axes, (name, theta) in zip(panels, named, strict=True):
            use = judged.days & np.isfinite(theta)
            box = ((0.0, high), (0.0, high))
            image = axes.hist2d(truth[use], theta[use], bins=120, range=box, cmap="viridis",
                                norm=LogNorm(), rasterized=True)[3]  # fmt: skip
            axes.plot((0.0, high), (0.0, high), c="k", lw=0.7)
            axes.set_title(name, fontsize=9.5)
            axes.set_aspect("equal")
        panels[0].set_ylabel(f"estimate [{UNIT}]")
        figure.supxlabel(f"truth, 0–30 cm [{UNIT}]", fontsize=10.0)
        figure.colorbar(image, ax=list(panels), label="days", aspect=25)
        return png(figure)


def _soils(report: Report) -> bytes:
    """Plot RMSE of the network against RMSE of the best filter, one point for each soil."""
    with plot_style():
        figure = new_figure(4.6, 4.2)
        axes = figure.add_subplot()
        name = best_filtered(report.overall.inversion)
        filtered = np.array([s.rmse[name] for s in report.soils])
        for label in report.inputs:
            own = np.array([s.rmse.get(network_with(label), np.nan) for s in report.soils])
            axes.plot(filtered, own, "o", c=colour(report, label), ms=3.5, alpha=0.7, label=label)
        high = 1.05 * float(max(axes.get_xlim()[1], axes.get_ylim()[1]))
        axes.plot((0.0, high), (0.0, high), c="k", lw=0.8)
        axes.set(xlim=(0.0, high), ylim=(0.0, high), aspect="equal")
        axes.set_xlabel(f"inversion + best filter, RMSE of a soil [{UNIT}]")
        axes.set_ylabel(f"network, RMSE [{UNIT}]")
        axes.legend(frameon=False, fontsize=9.0, loc="upper left")
        return png(figure)


def _series(report: Report, judged: Judged) -> bytes:
    """Plot two years of the median soil and a bad soil by RMSE of the network with most inputs."""
    with plot_style():
        scored = [s for s in report.soils if np.isfinite(s.rmse[network_with(report.inputs[-1])])]
        order = sorted(scored, key=lambda s: s.rmse[network_with(report.inputs[-1])])
        chosen = [("median soil", order[len(order) // 2]), ("worse than 95 %",
                  order[min(int(0.95 * len(order)), len(order) - 1)])]  # fmt: skip
        figure = new_figure(9.5, 6.0)
        panels = figure.subplots(2, 1)
        for axes, (name, soil) in zip(panels, chosen, strict=True):
            _one_series(axes, report, judged, soil.scenario)
            axes.set_title(f"{name}: scenario {soil.scenario}, {soil.texture.replace('_', ' ')},"
                           f" {soil.cover}", loc="left", fontsize=10.0)  # fmt: skip
        legend_above(figure, panels[0], 5)
        return png(figure)


def _one_series(axes: Any, report: Report, judged: Judged, scenario: int) -> None:
    series = judged.unseen.series
    row = int(np.flatnonzero(series.scenario == scenario)[0])
    days = slice(-SHOWN_D, None)
    time = series.day_end_s[days].astype("datetime64[s]")
    axes.plot(time, series.theta_classical[row, days], ".", ms=2.5, c="0.7", label=judged.inversion)
    name = best_filtered(judged.inversion)
    filtered = next(b.theta for b in judged.baselines if b.name == name)
    axes.plot(time, filtered[row, days], c=VERMILION, lw=1.1, label=short(name))
    best = judged.estimates[-1]
    theta, sigma = best.theta[row, days], best.sigma[row, days]
    paint = colour(report, best.inputs.label)
    band_90(axes, time, theta, sigma, paint)
    axes.plot(time, theta, c=paint, lw=1.2, label=network_with(best.inputs.label))
    axes.plot(time, series.theta[row, days], c="k", lw=1.1, label="truth")
    axes.set_ylabel(f"0–30 cm [{UNIT}]")
    date_axis(axes)
    axes.margins(x=0.01)
