"""Compare generated with observed weather: statistics that matter in hydrology, and a plot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.weather.generator import DRIZZLE_MM, Climate, Weather, day_of_year, generate
from epithermal_host.weather.station_series import DailyWeather, complete_days

ANNUAL_TOLERANCE = 0.05
WET_TOLERANCE = 0.03
MEMORY_TOLERANCE = 0.1
MONTH_TOLERANCE = 0.15
MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Series:
    """Quantities of both observed and generated weather; NaN where not measured."""

    day: Integers
    rain_mm: Array
    et0_mm: Array
    t_mean_c: Array  # mean of the extremes
    t_range_c: Array
    pressure_hpa: Array
    relative_humidity_pct: Array

    @property
    def month(self) -> Integers:
        """Month of each day; 0 is January."""
        return self.day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12

    @property
    def wet(self) -> Mask:
        """True on days with rain."""
        return self.rain_mm >= DRIZZLE_MM


@dataclass(frozen=True, slots=True)
class Row:
    """One statistic of both; without a tolerance it is listed but not judged."""

    name: str
    unit: str
    observed: float
    generated: float
    tolerance: float | None = None
    kind: Literal["relative", "absolute"] = "absolute"

    @property
    def difference(self) -> float:
        """Generated minus observed, relative or absolute like the tolerance."""
        d = self.generated - self.observed
        return d / abs(self.observed) if self.kind == "relative" else d

    @property
    def ok(self) -> bool:
        """True within the tolerance."""
        return self.tolerance is None or abs(self.difference) <= self.tolerance


def observed_series(weather: DailyWeather) -> Series:
    """Extract the compared quantities of a station, on its complete days."""
    weather = complete_days(weather)
    return Series(
        day=weather.day,
        rain_mm=weather.rain_mm,
        et0_mm=weather.et0_mm,
        t_mean_c=0.5 * (weather.t_min_c + weather.t_max_c),
        t_range_c=weather.t_max_c - weather.t_min_c,
        pressure_hpa=weather.pressure_hpa,
        relative_humidity_pct=weather.relative_humidity_pct,
    )


def generated_series(climate: Climate, years: int = 200, seed: int = 1) -> Series:
    """Generate weather and extract the compared quantities."""
    w: Weather = generate(climate, np.random.default_rng(seed), 0, round(years * 365.25))
    return Series(
        day=w.day,
        rain_mm=w.precipitation_mm,
        et0_mm=w.et0_mm,
        t_mean_c=0.5 * (w.t_min_c + w.t_max_c),
        t_range_c=w.t_max_c - w.t_min_c,
        pressure_hpa=w.pressure_hpa,
        relative_humidity_pct=w.relative_humidity_pct,
    )


def compare(observed: Series, generated: Series) -> tuple[Row, ...]:
    """Compute the rows of the table.

    Tolerances: annual rain and ET0 5 %, fraction of wet days 0.03, autocorrelation from day to day
    0.1 (of the series, and of the series without its season), mean of each month 15 %
    (temperature: 1 degC or 15 %). Quantities that were not measured are omitted.
    """
    both = (observed, generated)
    rows = []
    for name, label in (("rain_mm", "annual rain"), ("et0_mm", "annual ET0")):
        o, g = (float(getattr(s, name).mean()) * 365.25 for s in both)
        rows.append(Row(label, "mm", o, g, ANNUAL_TOLERANCE, "relative"))
    o, g = (float(s.wet.mean()) for s in both)
    rows.append(Row("wet days", "-", o, g, WET_TOLERANCE))
    rows += _memories(observed, generated)
    rows += _months(observed, generated)
    rows += _unjudged(observed, generated)
    return tuple(row for row in rows if np.isfinite(row.observed))


QUANTITIES = (
    ("rain_mm", "rain", "mm"),
    ("et0_mm", "ET0", "mm"),
    ("t_mean_c", "temperature", "degC"),
    ("t_range_c", "range of temperature", "K"),
    ("pressure_hpa", "pressure", "hPa"),
    ("relative_humidity_pct", "humidity", "%"),
)


def _memories(observed: Series, generated: Series) -> list[Row]:
    both = (observed, generated)
    o, g = (lag_1(s.wet.astype(np.float64)) for s in both)
    rows = [Row("lag-1 rain, wet or dry", "-", o, g, MEMORY_TOLERANCE)]
    for name, label, _ in QUANTITIES:
        o, g = (lag_1(getattr(s, name)) for s in both)
        rows.append(Row(f"lag-1 {label}", "-", o, g, MEMORY_TOLERANCE))
        if name != "rain_mm":
            o, g = (lag_1(without_season(getattr(s, name), s.day)) for s in both)
            rows.append(Row(f"lag-1 {label}, no season", "-", o, g, MEMORY_TOLERANCE))
    return rows


def _months(observed: Series, generated: Series) -> list[Row]:
    """Compare the worst month of each quantity and of the fraction of wet days."""
    rows = []
    for name, label, unit in (*QUANTITIES, ("wet", "share of wet days", "-")):
        o = monthly_means(observed, name)
        g = monthly_means(generated, name)
        # a Celsius temperature near 0 has no meaningful ratio: 15 % of 6.7 degC is 1 degC
        scale = np.maximum(np.abs(o), 1.0 / MONTH_TOLERANCE) if name == "t_mean_c" else np.abs(o)
        if not np.isfinite(o).all():
            continue
        k = int(np.argmax(np.abs(g - o) / np.maximum(scale, 1e-9)))
        tolerance = MONTH_TOLERANCE * float(scale[k])
        text = f"{label}, worst month ({MONTH_NAMES[k]})"
        if name == "t_mean_c":
            rows.append(Row(text, unit, float(o[k]), float(g[k]), tolerance))
        else:
            rows.append(Row(text, unit, float(o[k]), float(g[k]), MONTH_TOLERANCE, "relative"))
    return rows


def _unjudged(observed: Series, generated: Series) -> list[Row]:
    """Compare statistics without a tolerance, which characterize the generator."""
    pairs: list[tuple[str, str, Callable[[Series], float]]] = [
        (f"{label}, sd of days", unit, partial(_spread, name)) for name, label, unit in QUANTITIES
    ]
    pairs += [
        ("annual rain, sd of years", "mm", lambda s: float(annual(s).std())),
        (
            "rain of wet days, 90% quantile",
            "mm",
            lambda s: float(np.quantile(s.rain_mm[s.wet], 0.9)),
        ),
        (
            "rain of wet days, 99% quantile",
            "mm",
            lambda s: float(np.quantile(s.rain_mm[s.wet], 0.99)),
        ),
        ("dry spells, 95% quantile", "d", lambda s: float(np.quantile(spells(~s.wet), 0.95))),
        ("correlation ET0 with humidity", "-", _drying),
    ]
    return [Row(name, unit, f(observed), f(generated)) for name, unit, f in pairs]


def _spread(name: str, series: Series) -> float:
    return float(getattr(series, name).std())


def _drying(series: Series) -> float:
    """Compute the correlation of ET0 with humidity; NaN where either is not measured."""
    if not np.isfinite(series.et0_mm + series.relative_humidity_pct).all():
        return float("nan")
    return float(np.corrcoef(series.et0_mm, series.relative_humidity_pct)[0, 1])


def lag_1(x: Array) -> float:
    """Compute the autocorrelation from one day to the next; NaN where not measured."""
    if not np.isfinite(x).all():
        return float("nan")
    return float(np.corrcoef(x[1:], x[:-1])[0, 1])


def without_season(x: Array, day: Integers) -> Array:
    """Subtract the mean and two harmonics of the year."""
    if not np.isfinite(x).all():
        return x
    w = 2.0 * np.pi * day_of_year(day) / 365.25
    basis = np.stack([np.ones_like(w), *(f(k * w) for k in (1, 2) for f in (np.cos, np.sin))], 1)
    return np.asarray(x - basis @ np.linalg.lstsq(basis, x, rcond=None)[0])


def monthly_means(series: Series, name: str) -> Array:
    """Compute the mean of a quantity in each month, (12,)."""
    x, month = getattr(series, name), series.month
    return np.array([x[month == k].mean() for k in range(12)])


def annual(series: Series) -> Array:
    """Sum the rain of each complete year; one NaN if there is none."""
    year = series.day.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64)
    years, days = np.unique(year, return_counts=True)
    if not (days >= 365).any():
        return np.array([np.nan])
    return np.array([series.rain_mm[year == y].sum() for y in years[days >= 365]])


def spells(days: Mask) -> Integers:
    """List the lengths of runs of consecutive True days [d]."""
    edge = np.diff(np.concatenate([[0], days.astype(np.int64), [0]]))
    return np.flatnonzero(edge == -1) - np.flatnonzero(edge == 1)


def table(rows: tuple[Row, ...]) -> list[str]:
    """Format the comparison as lines of text."""
    lines = [f"{'':38}{'unit':>6}{'observed':>11}{'generated':>11}{'difference':>12}{'allowed':>9}"]
    for r in rows:
        relative = r.kind == "relative"
        difference = f"{100 * r.difference:+.1f} %" if relative else f"{r.difference:+.3g}"
        allowed = "" if r.tolerance is None else f"{r.tolerance:.2g}"
        if relative and r.tolerance is not None:
            allowed = f"{100 * r.tolerance:.0f} %"
        verdict = "" if r.tolerance is None else ("  ok" if r.ok else "  MISSED")
        numbers = f"{r.observed:>11.4g}{r.generated:>11.4g}{difference:>12}{allowed:>9}"
        lines.append(f"{r.name:38}{r.unit:>6}{numbers}{verdict}")
    return lines


def draw(observed: Series, generated: Series, path: Path, title: str) -> None:
    """Draw the monthly means, observed and generated.

    Parameters
    ----------
    observed, generated :
        Series to plot; a quantity that was not measured is omitted.
    path :
        PNG, PDF or SVG by its suffix.
    title :
        Title of the figure.
    """
    from epithermal_host.rendering.plots import DPI, VERMILION, new_figure, plot_style  # slow

    shown = [(*q, "") for q in QUANTITIES] + [("wet", "share of wet days", "-", "")]
    shown = [q for q in shown if np.isfinite(monthly_means(observed, q[0])).all()]
    kinds = ((observed, "observed", {"c": "k", "marker": "o"}),
             (generated, "generated", {"c": VERMILION, "marker": "s", "ls": "--"}))  # fmt: skip
    with plot_style():
        figure = new_figure(11.0, 6.0)
        panels = figure.subplots(2, 4).ravel()
        for axes, (name, label, unit, _) in zip(panels, shown, strict=False):
            for series, text, kind in kinds:
                axes.plot(range(12), monthly_means(series, name), ms=4, lw=1, label=text, **kind)
            axes.set_xticks(range(12), [m[0] for m in MONTH_NAMES])
            axes.set_title(f"{label} [{unit}]", fontsize=10)
            axes.set_ylim(bottom=0.0 if name in ("rain_mm", "et0_mm", "t_range_c", "wet") else None)
        for axes in panels[len(shown) :]:
            axes.axis("off")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower right")
        figure.suptitle(f"{title}: mean of a day, by month")
        figure.savefig(path, dpi=DPI)
