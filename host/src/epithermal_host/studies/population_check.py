"""Compare memory and spread of the simulated population with those of real sites.

Autocorrelation and standard deviation of water content and inverted counts in the warm season
determine what a network learns (docs/model.md). They need no labels and are checked before
training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array, Mask
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.config.run_toml import RunConfig, read_run
from epithermal_host.field.days import month_of
from epithermal_host.field.series import load
from epithermal_host.field.site_toml import SiteFile, read_sites
from epithermal_host.rendering.plots import BLUE, UNIT, VERMILION, new_figure, plot_style, png
from epithermal_host.rendering.text import plain
from epithermal_host.simulation.campaign import scenario_of
from epithermal_host.simulation.results import read_result
from epithermal_host.training.series import Series, read_series

LAGS_D = (1, 5, 10, 30)
CHECKED_LAG_D = 10
MIN_AUTOCORRELATION = {"counts": 0.55, "theta": 0.75}  # at that lag, median of the population
SPREAD_TOLERANCE = 0.2  # relative, between the medians of the standard deviations
MIN_PAIRS = 60  # pairs of days; with fewer the autocorrelation is NaN
WARM_MONTHS = (5, 10)  # north; half a year later in the south
WARM_C, WARM_DAYS = 3.0, 10  # running mean temperature above which soil counts as warm
QUANTITIES = {"counts": "inverted counts", "theta": "theta 0-30 cm"}
REPORT, PICTURE = "population.json", "population.png"


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory and spread of one place in its warm seasons."""

    name: str
    autocorrelation: tuple[float, ...]  # at LAGS_D
    spread: float  # standard deviation [m3 m-3]


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement on the population and its result."""

    name: str
    simulated: float
    wanted: str
    ok: bool


@dataclass(frozen=True, slots=True)
class PopulationResult:
    """Simulated and real places by quantity (counts, theta), and the checks."""

    simulated: dict[str, tuple[Memory, ...]]
    real: dict[str, tuple[Memory, ...]]
    checks: tuple[Check, ...]
    report_path: Path
    picture_path: Path

    @property
    def ok(self) -> bool:
        """All requirements are met."""
        return all(check.ok for check in self.checks)


def run(run_folder: Path, site_files: Sequence[Path], *, progress: bool = True) -> PopulationResult:
    """Compare RUN's population with real sites; write RUN/population.json and .png.

    Parameters
    ----------
    run_folder :
        Contains campaign and dataset.npz.
    site_files :
        Paths of site.toml of real sites, see `field.site_toml`.
    progress :
        Show a progress bar on stderr.

    Raises
    ------
    ConfigError
        There is no data set, or site files have errors; lists all of them.
    SourceError
        A data file of a site cannot be read.
    """
    config, series = read_run(run_folder), read_series(run_folder)
    sites = read_sites(site_files)
    real: dict[str, tuple[Memory, ...]] = dict.fromkeys(QUANTITIES, ())
    bar = tqdm(sites, desc="sites", unit="site", disable=not progress)
    for site in bar:
        bar.set_postfix_str(site.name)  # each takes ten seconds or more
        for name, place in of_site(site).items():
            real[name] += (place,)
    simulated = of_run(config, series, run_folder, progress)
    result = PopulationResult(
        simulated=simulated,
        real=real,
        checks=checks(simulated, real),
        report_path=run_folder / REPORT,
        picture_path=run_folder / PICTURE,
    )
    write_atomic(result.picture_path, picture(result))
    write_json(result.report_path, report(result))
    return result


def memory(name: str, value: Array, usable: Mask) -> Memory:
    """Compute autocorrelation and spread of a daily series over its usable days.

    Parameters
    ----------
    value : (T,) [m3 m-3]
        One value per day, without omitted days.
    usable : (T,)
        Days to use.

    Notes
    -----
    The autocorrelation at a lag is Pearson's r of all pairs of usable days with that distance.
    Gaps and winters therefore reduce the number of pairs but cause no bias.
    """
    x = np.where(usable, value, np.nan)
    r = tuple(_autocorrelation(x, lag) for lag in LAGS_D)
    known = x[np.isfinite(x)]
    return Memory(name, r, float(known.std()) if known.size else float("nan"))


def of_site(site_file: SiteFile) -> dict[str, Memory]:
    """Compute the memory of a real site; that of theta only if it has probes."""
    series = load(site_file)
    out = {"counts": memory(series.name, series.theta_classical, series.judged)}
    if np.isfinite(series.truth).any():
        out["theta"] = memory(series.name, series.truth, series.judged)
    return out


def of_run(
    config: RunConfig, series: Series, run_folder: Path, progress: bool = False
) -> dict[str, tuple[Memory, ...]]:
    """Compute the memory of every simulated place that has warm seasons.

    Textbook scenarios (`config.population.textbook`) do not represent real places and are omitted.
    """
    out: dict[str, list[Memory]] = {name: [] for name in QUANTITIES}
    bar = tqdm(series.scenario.tolist(), desc="soils", unit="soil", disable=not progress)
    for row, index in enumerate(bar):
        if scenario_of(config, index).plain:
            continue
        usable = warm_days(config, run_folder, index, series.day_end_s)
        for name, values in (("counts", series.theta_classical), ("theta", series.theta)):
            one = memory(f"scenario {index}", values[row], usable)
            if np.isfinite([*one.autocorrelation, one.spread]).all():
                out[name].append(one)
    if not out["theta"]:
        raise ConfigError(
            f"{run_folder}: no soil other than textbook scenarios has a warm season of "
            f"{MIN_PAIRS} days; simulate more soils or lower population.plain_share"
        )
    return {name: tuple(values) for name, values in out.items()}


def warm_days(config: RunConfig, run_folder: Path, index: int, day_end_s: Array) -> Mask:
    """Select one scenario's days in the warm season with warm soil and no snow; (T,)."""
    latitude = scenario_of(config, index).climate.latitude_deg
    weather = read_result(run_folder, index).weather
    month = (month_of(day_end_s) - 1 + (6 if latitude < 0.0 else 0)) % 12 + 1
    first, last = WARM_MONTHS
    t_mean_c = 0.5 * (weather.t_min_c + weather.t_max_c)
    total = np.cumsum(np.concatenate((np.full(WARM_DAYS, t_mean_c[0]), t_mean_c)))
    running_c = (total[WARM_DAYS:] - total[:-WARM_DAYS]) / WARM_DAYS
    season = (month >= first) & (month <= last)
    return np.asarray(season & (running_c > WARM_C) & (weather.snow_mm == 0.0), dtype=bool)


def checks(
    simulated: dict[str, tuple[Memory, ...]], real: dict[str, tuple[Memory, ...]]
) -> tuple[Check, ...]:
    """Check a population: a memory that is long enough, and a spread like that of real sites."""
    lag = LAGS_D.index(CHECKED_LAG_D)
    results = []
    for name, title in QUANTITIES.items():
        place, least = median(simulated[name]), MIN_AUTOCORRELATION[name]
        value = place.autocorrelation[lag]
        results.append(
            Check(
                f"autocorrelation {CHECKED_LAG_D} d, {title}",
                value,
                f"at least {least:.2f}",
                value >= least,
            )
        )
        if real[name]:
            spread = median(real[name]).spread
            low, high = (1.0 - SPREAD_TOLERANCE) * spread, (1.0 + SPREAD_TOLERANCE) * spread
            inside = low <= place.spread <= high
            wanted = f"{low:.3f} to {high:.3f}"
            results.append(Check(f"spread, {title}", place.spread, wanted, inside))
    return tuple(results)


def median(places: Sequence[Memory]) -> Memory:
    """Compute the median of every number over the places."""
    return _percentile(places, 50.0)


def table(result: PopulationResult) -> str:
    """Format medians, the central 80 % of the simulated places, and the checks."""
    lines = [f"{'':42}" + "".join(f"{lag:>5} d" for lag in LAGS_D) + "  spread"]
    for name, title in QUANTITIES.items():
        simulated, real = result.simulated[name], result.real[name]
        rows = [(f"{title}, {len(simulated)} simulated, median", median(simulated))]
        rows += [(f"  {q}th percentile", _percentile(simulated, q)) for q in (10, 90)]
        if real:
            rows.append((f"{title}, {len(real)} real, median", median(real)))
        rows += [(f"  {place.name}", place) for place in real]
        lines += [_line(text, place) for text, place in rows]
    for check in result.checks:
        verdict = "ok" if check.ok else "NOT MET"
        lines.append(f"{check.name}: {check.simulated:.3f}, required {check.wanted}: {verdict}")
    return "\n".join(lines)


def report(result: PopulationResult) -> dict[str, Any]:
    """Convert the result for JSON; NaN becomes null."""
    return {
        "lags_d": LAGS_D,
        "simulated": {
            name: {f"{q} %": plain(_percentile(places, q)) for q in (10, 50, 90)}
            | {"soils": len(places)}
            for name, places in result.simulated.items()
        },
        "real": {name: [plain(p) for p in places] for name, places in result.real.items()},
        "checks": [dataclasses.asdict(check) for check in result.checks],
    }


def picture(result: PopulationResult) -> bytes:
    """Draw autocorrelation and spread as PNG bytes: simulated places as a band, sites as lines."""
    with plot_style():
        figure = new_figure(11.0, 6.5)
        axes = figure.subplots(2, 2, width_ratios=(3, 2))
        for row, (name, title) in enumerate(QUANTITIES.items()):
            _memory_panel(axes[row, 0], result, name, title)
            _spread_panel(axes[row, 1], result, name)
        axes[0, 0].legend(frameon=False, loc="lower left")
        axes[1, 0].set_xlabel("lag [d]")
        axes[1, 1].set_xlabel(f"standard deviation [{UNIT}]; lines: real sites")
        figure.suptitle("Warm season: memory and spread of simulated and real soils")
        return png(figure)


def _memory_panel(axes: Any, result: PopulationResult, name: str, title: str) -> None:
    simulated = result.simulated[name]
    low, half, high = (_percentile(simulated, q).autocorrelation for q in (10, 50, 90))
    axes.fill_between(LAGS_D, low, high, color=BLUE, alpha=0.2, lw=0)
    axes.plot(LAGS_D, half, c=BLUE, lw=2, label="simulated: median, 10-90 %")
    for number, place in enumerate(result.real[name]):
        label = "real sites" if number == 0 else None
        axes.plot(LAGS_D, place.autocorrelation, c="k", lw=0.8, marker=".", label=label)
    axes.axhline(MIN_AUTOCORRELATION[name], c=VERMILION, lw=0.8, ls=":")
    axes.set(xscale="log", xticks=LAGS_D, ylim=(-0.2, 1.02), ylabel=f"r, {title}")
    axes.set_xticklabels([str(lag) for lag in LAGS_D])
    axes.minorticks_off()


def _spread_panel(axes: Any, result: PopulationResult, name: str) -> None:
    spreads = [place.spread for place in result.simulated[name]]
    axes.hist(spreads, bins=np.linspace(0.0, 0.14, 29), color=BLUE, alpha=0.4)
    for place in result.real[name]:
        axes.axvline(place.spread, c="k", lw=0.8)
    axes.set(ylabel="simulated soils")


def _autocorrelation(x: Array, lag: int) -> float:
    early, late = x[:-lag], x[lag:]
    both = np.isfinite(early) & np.isfinite(late)
    if both.sum() < MIN_PAIRS:
        return float("nan")
    a, b = early[both] - early[both].mean(), late[both] - late[both].mean()
    scale = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / scale if scale > 0.0 else float("nan")


def _percentile(places: Sequence[Memory], q: float) -> Memory:
    numbers = np.array([(*place.autocorrelation, place.spread) for place in places])
    *r, spread = np.nanpercentile(numbers, q, axis=0).tolist()
    return Memory(f"{q:g} %", tuple(r), spread)


def _line(text: str, place: Memory) -> str:
    return (
        f"{text:42}" + "".join(f"{r:7.2f}" for r in place.autocorrelation) + f"{place.spread:8.3f}"
    )
