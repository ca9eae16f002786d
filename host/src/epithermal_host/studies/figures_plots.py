"""Draw the pictures of `figures` as PNG bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from epithermal_host.arrays import Array
from epithermal_host.evaluation.metrics import rms
from epithermal_host.rendering.plots import BLUE, VERMILION, new_figure, plot_style, png
from epithermal_host.studies.figures_data import Days, Pair

WET, DRY = BLUE, VERMILION
DEEPEST_CM = 50.0  # lower end of the profiles shown; deeper only if D86 requires it


def rate_against_mean(days: Days, pair: Pair, line: tuple[Array, Array]) -> bytes:
    """Draw neutron rate against the 0-30 cm mean: line of uniform profiles, simulated cloud."""
    with plot_style():
        figure = new_figure(8.0, 5.6)
        axes = figure.add_subplot()
        limit = float(np.quantile(np.abs(days.contrast), 0.98))
        order = np.argsort(np.abs(days.contrast))  # largest contrasts on top
        dots = axes.scatter(
            days.mean[order], days.rate_cph[order], c=days.contrast[order], s=16.0, lw=0.0,
            cmap=LinearSegmentedColormap.from_list("state", (DRY, "0.8", WET)),
            vmin=-limit, vmax=limit, label="simulated profiles, one a day",
        )  # fmt: skip
        axes.plot(*line, c="black", lw=1.8, label="uniform profiles, as the inversion assumes")
        _mark(axes, pair)
        axes.set_xlabel("mean water content 0–30 cm [m³ m⁻³]")
        axes.set_ylabel("corrected neutron rate [counts h⁻¹]")
        axes.set_title(f"{days.title}, {days.day.size} days", loc="left")
        axes.legend(loc="upper right", frameon=False, title=_spread(days), alignment="left")
        bar = figure.colorbar(dots, ax=axes, extend="both", pad=0.05, aspect=30)
        bar.set_label("water content, 0–5 cm minus 10–30 cm [m³ m⁻³]")
        bar.ax.set_title("wet\nsurface", fontsize=10.0)
        bar.ax.set_xlabel("dry\nsurface", fontsize=10.0, labelpad=14.0)  # below the arrow
        return png(figure)


def equal_mean_profiles(days: Days, pair: Pair) -> bytes:
    """Draw water content and origin of the counted neutrons over depth, for the pair."""
    with plot_style():
        figure = new_figure(8.0, 5.2)
        left, right = figure.subplots(1, 2, sharey=True)
        width_cm = np.diff(pair.bottom_cm, prepend=0.0)
        for row, (name, colour) in enumerate((("wetting", WET), ("drying", DRY))):
            style: Any = {"c": colour, "ls": ("-", "--")[row]}
            label = f"{name}, {pair.date[row]}: {pair.rate_cph[row]:.0f} counts h⁻¹"
            left.plot(days.theta[pair.index[row]], days.soil.z_cm, lw=2.0, label=label, **style)
            origin = pair.rate_cph[row] * pair.share[row] / width_cm
            right.plot(origin, days.soil.z_cm, lw=2.0, **style)
            _mark_depth(right, name, float(pair.d86_cm[row]), pair.d86_cm.min(), style)
        mean = float(pair.mean.mean())
        left.plot(
            (mean, mean), (0.0, 30.0), ":", c="0.3", label=f"mean 0–30 cm of both: {mean:.3f}"
        )
        deepest_cm = max(DEEPEST_CM, 1.5 * float(pair.d86_cm.max()))  # room for the legend
        left.set(xlabel="water content [m³ m⁻³]", ylabel="depth [cm]", ylim=(deepest_cm, 0.0))
        right.set(xlabel="counted neutrons by origin [counts h⁻¹ cm⁻¹]", xlim=(0.0, None))
        right.legend(*left.get_legend_handles_labels(), loc="lower right", frameon=False)
        figure.suptitle(f"{days.title}: equal means, rates {100.0 * pair.difference:.0f} % apart",
                        fontsize=11.0)  # fmt: skip
        return png(figure)


def _mark(axes: Any, pair: Pair) -> None:
    """Mark the pair of the second picture in the first."""
    for row, name in enumerate(("wetting", "drying")):
        at = (pair.mean[row], pair.rate_cph[row])
        axes.plot(*at, "o", ms=10.0, mfc="none", mec="black", mew=1.8)
        axes.annotate(name, at, (-10, -4) if row == 0 else (10, 2),
                      textcoords="offset points", ha="right" if row == 0 else "left")  # fmt: skip


def _mark_depth(axes: Any, name: str, d86_cm: float, shallower_cm: float, style: Any) -> None:
    """Draw D86 as a line, with the label above it for the shallower one and below it otherwise."""
    above = d86_cm == shallower_cm
    axes.axhline(d86_cm, lw=1.0, **style)
    axes.text(0.98, d86_cm + (-0.4 if above else 0.4), f"D86 {name} {d86_cm:.1f} cm",
              transform=axes.get_yaxis_transform(), c=style["c"], ha="right",
              va="bottom" if above else "top")  # fmt: skip


def _spread(days: Days) -> str:
    """Format the errors of the inversion for the legend."""
    error = days.error
    text = (
        f"Inversion of the simulated rates:\nRMSE {rms(error):.3f} m³ m⁻³, "
        f"mean error {error[days.wetting].mean():+.3f}\non wetting and "
        f"{error[~days.wetting].mean():+.3f} on drying days"
    )
    return text.replace("-", "−")
