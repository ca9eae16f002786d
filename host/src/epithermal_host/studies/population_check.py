"""Does the simulated population look like the world? Memory and spread, beside real sites.

This needs no label: how long water content and inverted counts remember, and how far they swing in
the warm season, decide what a network learns (docs/model.md). So it is asked before training.
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
from epithermal_host.simulation.campaign import scenario_of, scenario_path
from epithermal_host.simulation.simulate import read_result
from epithermal_host.training.series import Series, read_series

LAGS_D = (1, 5, 10, 30)
LAG_JUDGED_D = 10
LEAST = {"counts": 0.55, "theta": 0.75}  # autocorrelation at that lag, median of the population
SPREAD_TOLERANCE = 0.2  # relative, between the medians of the standard deviations
FEWEST_PAIRS = 60  # days, below which an autocorrelation is not told
WARM_MONTHS = (5, 10)  # north; half a year later in the south
WARM_C, WARM_DAYS = 3.0, 10  # running mean temperature above which soil is taken as warm
QUANTITIES = {"counts": "inverted counts", "theta": "theta 0-30 cm"}
REPORT, PICTURE = "population.json", "population.png"


@dataclass(frozen=True, slots=True)
class Memory:
    """One place's warm seasons."""

    name: str
    autocorrelation: tuple[float, ...]  # at LAGS_D
    spread: float  # standard deviation [m3 m-3]


@dataclass(frozen=True, slots=True)
class Check:
    """What is asked of the population."""

    name: str
    simulated: float
    wanted: str
    ok: bool


@dataclass(frozen=True, slots=True)
class PopulationResult:
    """Simulated and real places, each by quantity: counts, theta."""

    simulated: dict[str, tuple[Memory, ...]]
    real: dict[str, tuple[Memory, ...]]
    checks: tuple[Check, ...]
    report_path: Path
    picture_path: Path

    @property
    def ok(self) -> bool:
        """Whether the population may be trained on."""
        return all(check.ok for check in self.checks)


def run(run_folder: Path, site_files: Sequence[Path], *, progress: bool = True) -> PopulationResult:
    """Compare RUN's population with real sites; write RUN/population.json and .png.

    Parameters
    ----------
    run_folder :
        Holds campaign and dataset.npz.
    site_files :
        Files of real sites, see `site_file`.
    progress :
        Show a bar on stderr.

    Raises
    ------
    ConfigError
        No data set, or a faulty site file: the faults of all of them.
    SourceError
        A site's file cannot be read.
    """
    config, series = read_run(run_folder), read_series(run_folder)
    sites = read_sites(site_files)
    real: dict[str, tuple[Memory, ...]] = dict.fromkeys(QUANTITIES, ())
    bar = tqdm(sites, desc="sites", unit="site", disable=not progress)
    for site in bar:
        bar.set_postfix_str(site.name)  # one takes ten seconds and more
        for name, found in of_site(site).items():
            real[name] += (found,)
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
    """Autocorrelation and spread of a daily series over its usable days.

    Parameters
    ----------
    value : (T,) [m3 m-3]
        A row a day, none left out.
    usable : (T,)
        Days that count.

    Notes
    -----
    The autocorrelation at a lag is Pearson's r of all pairs of usable days that far apart, so gaps
    and winters between the seasons cost pairs and bend nothing.
    """
    x = np.where(usable, value, np.nan)
    found = tuple(_autocorrelation(x, lag) for lag in LAGS_D)
    known = x[np.isfinite(x)]
    return Memory(name, found, float(known.std()) if known.size else float("nan"))


def of_site(site_file: SiteFile) -> dict[str, Memory]:
    """Memory of a real site; theta only where it has probes."""
    series = load(site_file)
    found = {"counts": memory(series.name, series.theta_classical, series.judged)}
    if np.isfinite(series.truth).any():
        found["theta"] = memory(series.name, series.truth, series.judged)
    return found


def of_run(
    config: RunConfig, series: Series, run_folder: Path, progress: bool = False
) -> dict[str, tuple[Memory, ...]]:
    """Memory of every simulated place that has warm seasons; textbook places claim nothing of the
    world (`scenario.textbook`) and are left out."""
    found: dict[str, list[Memory]] = {name: [] for name in QUANTITIES}
    bar = tqdm(series.scenario.tolist(), desc="soils", unit="soil", disable=not progress)
    for row, index in enumerate(bar):
        if scenario_of(config, index).plain:
            continue
        usable = warm_days(config, run_folder, index, series.day_end_s)
        for name, values in (("counts", series.theta_classical), ("theta", series.theta)):
            one = memory(f"scenario {index}", values[row], usable)
            if np.isfinite([*one.autocorrelation, one.spread]).all():
                found[name].append(one)
    if not found["theta"]:
        raise ConfigError(
            f"{run_folder}: no real-like soil has a warm season of {FEWEST_PAIRS} days"
        )
    return {name: tuple(values) for name, values in found.items()}


def warm_days(config: RunConfig, run_folder: Path, index: int, day_end_s: Array) -> Mask:
    """Days of one scenario in the warm season, air warm for a while and no snow; (T,)."""
    latitude = scenario_of(config, index).climate.latitude_deg
    weather = read_result(scenario_path(run_folder, index)).weather
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
    """The demands on a population: long enough a memory, swings as wide as real ones."""
    lag = LAGS_D.index(LAG_JUDGED_D)
    made = []
    for name, title in QUANTITIES.items():
        median = middle(simulated[name])
        wanted = f"at least {LEAST[name]:.2f}"
        value = median.autocorrelation[lag]
        made.append(
            Check(f"autocorrelation {LAG_JUDGED_D} d, {title}", value, wanted, value >= LEAST[name])
        )
        if real[name]:
            there = middle(real[name]).spread
            low, high = (1.0 - SPREAD_TOLERANCE) * there, (1.0 + SPREAD_TOLERANCE) * there
            wanted = f"{low:.3f} to {high:.3f}"
            inside = low <= median.spread <= high
            made.append(Check(f"spread, {title}", median.spread, wanted, inside))
    return tuple(made)


def middle(places: Sequence[Memory]) -> Memory:
    """Median of every number."""
    return _percentile(places, 50.0)


def table(result: PopulationResult) -> str:
    """Medians, the middle 80 % of the simulated, and the checks, as lines of text."""
    lines = [f"{'':42}" + "".join(f"{lag:>5} d" for lag in LAGS_D) + "  spread"]
    for name, title in QUANTITIES.items():
        simulated, real = result.simulated[name], result.real[name]
        rows = [(f"{title}, {len(simulated)} simulated, median", middle(simulated))]
        rows += [(f"  {q} % of them below", _percentile(simulated, q)) for q in (10, 90)]
        if real:
            rows.append((f"{title}, {len(real)} real, median", middle(real)))
        rows += [(f"  {place.name}", place) for place in real]
        lines += [_line(text, place) for text, place in rows]
    for check in result.checks:
        verdict = "ok" if check.ok else "NOT MET"
        lines.append(f"{check.name}: {check.simulated:.3f}, wanted {check.wanted}: {verdict}")
    return "\n".join(lines)


def report(result: PopulationResult) -> dict[str, Any]:
    """The result as JSON; NaN as null."""
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
    """Draw autocorrelation and spread as a PNG: the simulated as a band, real sites as lines."""
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
    axes.axhline(LEAST[name], c=VERMILION, lw=0.8, ls=":")
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
    if both.sum() < FEWEST_PAIRS:
        return float("nan")
    a, b = early[both] - early[both].mean(), late[both] - late[both].mean()
    scale = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / scale if scale > 0.0 else float("nan")


def _percentile(places: Sequence[Memory], q: float) -> Memory:
    numbers = np.array([(*place.autocorrelation, place.spread) for place in places])
    *found, spread = np.nanpercentile(numbers, q, axis=0).tolist()
    return Memory(f"{q:g} %", tuple(found), spread)


def _line(text: str, place: Memory) -> str:
    return (
        f"{text:42}" + "".join(f"{r:7.2f}" for r in place.autocorrelation) + f"{place.spread:8.3f}"
    )
