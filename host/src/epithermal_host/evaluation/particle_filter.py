"""Run a particle filter on simulated columns, as a reference with the station's inputs.

Columns are drawn from the same population as the truth and simulated under the true weather; the
counts of the last weeks determine their weights. The filter uses the physics of the truth, which
no station knows for its place. A daily ensemble Kalman update of the pressure heads was tried
first: it diverged from the truth (RMSE 0.09) and took 80 s a soil.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from epithermal_edge.errors import EpithermalError
from epithermal_edge.physics.cosmic import cosmic_parameters
from epithermal_edge.physics.response import response_rate
from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Integers
from epithermal_host.compute.crew import Crew, Lost, map_unordered
from epithermal_host.config.run_toml import RunConfig, read_run
from epithermal_host.errors import SolverError
from epithermal_host.evaluation.methods import network_with
from epithermal_host.evaluation.metrics import rms
from epithermal_host.evaluation.result import Judged
from epithermal_host.neutrons.cosmic import node_layer_bottoms
from epithermal_host.neutrons.response import profile_rate
from epithermal_host.simulation.results import read_result
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.simulate import column, forcing
from epithermal_host.soil.profile import mean_theta
from epithermal_host.soil.richards import Forcing, solve
from epithermal_host.weather.generator import Weather

NAME = "particle filter"
MEMBERS = 300
DRAWN = 4  # columns drawn per member; those with the nearest bulk density become members
SEED = 424242  # of the members; differs from the seeds of campaigns
WARM_D = 365  # spin-up with the weather of the first year, before the first count
MEMORY_D = 20.0  # time constant of the weights
ERROR = 0.03  # relative error of a member's rate, because no member equals the place


@dataclass(frozen=True, slots=True)
class Task:
    """Input of a worker for one soil."""

    config: RunConfig
    weather: Weather
    site: Site  # fields (1,)
    inverted: Array  # (T,) [m3 m-3], NaN without counts


def compare(
    judged: Judged, run_folder: Path, soils: int, who: Crew, progress: bool = True
) -> dict[str, Any]:
    """Compare the filter with the other methods on some of the evaluated soils, on the same days.

    Parameters
    ----------
    soils :
        Number of soils, spread evenly over the evaluated ones.
    who :
        Workers that run the soils.

    Returns
    -------
    dict
        Content for the report: `text`, `rmse` by method, and `rmse_of_soils`.

    Raises
    ------
    ConfigError
        run.toml has errors, for example because it is of another version.
    """
    config, series = read_run(run_folder), judged.unseen.series
    usable = np.flatnonzero(judged.days.any(axis=1))
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, soils).astype(int))]
    tasks = (
        Task(
            config=config,
            weather=read_result(run_folder, int(series.scenario[i])).weather,
            site=_site_of(judged.unseen.places.inverted_by, int(i)),
            inverted=series.theta_classical[i],
        )
        for i in rows
    )
    theta = np.full((len(rows), series.theta.shape[1]), np.nan)
    began = time.monotonic()
    bar = tqdm(total=len(rows), desc=NAME, unit="soil", disable=not progress)
    with bar:
        for number, answer in map_unordered(run_soil, tasks, who):
            if isinstance(answer, Lost):
                raise EpithermalError(f"{NAME}: {answer.reason}")
            theta[number] = answer
            bar.update()
    return _summarize(judged, rows, theta, (time.monotonic() - began) / len(rows))


def run_soil(task: Task) -> Array:
    """Estimate theta of 0-30 cm on each day for one soil, (T,) [m3 m-3]."""
    members = list(_members(task))
    return weighted_mean(
        np.stack([theta for theta, _ in members]),
        np.log(np.stack([rate for _, rate in members])),
        np.log(response_rate(task.inverted, task.site)),
    )


def weighted_mean(theta: Array, log_rate: Array, observed: Array) -> Array:
    """Average the members, weighted by the agreement of their recent rates with the observed.

    Parameters
    ----------
    theta, log_rate : (M, T)
        Of the members.
    observed : (T,)
        Logarithm of the observed rate; NaN without counts.

    Returns
    -------
    (T,) [m3 m-3]

    References
    ----------
    Sequential importance sampling (van Leeuwen 2009, eq. 11) with exponential decay of the
    likelihood of past days, so that the weights do not collapse onto one member.
    """
    misfit = np.where(np.isfinite(observed), log_rate - observed, 0.0) ** 2 / ERROR**2
    decay = np.exp(-1.0 / MEMORY_D)
    total = np.zeros(len(theta))
    out = np.empty(theta.shape[1])
    for day in range(theta.shape[1]):
        total = decay * total + misfit[:, day]
        weight = np.exp(-0.5 * (total - total.min()))
        out[day] = weight @ theta[:, day] / weight.sum()
    return out


def _members(task: Task) -> Iterator[tuple[Array, Array]]:
    """Simulate the members; yield daily theta and rate, (T,) each, of those that can be solved."""
    config, wanted = task.config, float(np.asarray(task.site.bulk_density_g_cm3)[0])
    drawn = [
        sample(config.population, SEED, i, config.climates, config.observed)
        for i in range(DRAWN * MEMBERS)
    ]
    drawn.sort(key=lambda s: abs(s.soils[0].bulk_density_g_cm3 - wanted))
    for scenario in drawn[:MEMBERS]:
        try:
            theta, rate = _run(scenario, task)
        except SolverError:
            continue
        yield 0.5 * (theta[1:] + theta[:-1]), 0.5 * (rate[1:] + rate[:-1])


def _run(scenario: Scenario, task: Task) -> tuple[Array, Array]:
    """Simulate theta of 0-30 cm and rate at the start and at each day's end, (T + 1,)."""
    ground, weather = column(scenario), forcing(scenario, task.weather)
    warm = solve(ground, _first(weather, min(WARM_D, weather.end_d.size)))
    profile = solve(dataclasses.replace(ground, h_initial_cm=warm.h_cm[-1]), weather)
    soils, site = scenario.soils, task.site
    density = np.array([soil.bulk_density_g_cm3 for soil in soils])[ground.grid.material]
    bound = np.asarray(site.lattice_water_g_g) + np.asarray(site.organic_water_g_g)
    alpha, l3_g_cm2 = cosmic_parameters(density)
    rate = profile_rate(
        node_layer_bottoms(profile.z_cm),
        profile.theta,
        density,
        np.full(density.shape, float(bound[0])),
        site,
        n_cph=float(np.asarray(site.cosmic_n_cph)[0]),
        alpha=alpha,
        l3_g_cm2=l3_g_cm2,
        surface_water_cm=np.zeros(()),
    )
    return mean_theta(profile.z_cm, profile.theta, 0.0, 30.0), rate


def _first(weather: Forcing, days: int) -> Forcing:
    return Forcing(
        end_d=weather.end_d[:days],
        rain_cm_d=weather.rate("rain_cm_d")[:days],
        pot_evaporation_cm_d=weather.rate("pot_evaporation_cm_d")[:days],
        pot_transpiration_cm_d=weather.rate("pot_transpiration_cm_d")[:days],
        root_density=None if weather.root_density is None else weather.root_density[:days],
    )


def _summarize(judged: Judged, rows: Integers, theta: Array, seconds: float) -> dict[str, Any]:
    days, truth = judged.days[rows], judged.unseen.series.theta[rows]
    own = judged.inversion
    methods = {b.name: b.theta[rows] for b in judged.baselines if b.name.startswith(own)}
    methods |= {network_with(e.inputs.label): e.theta[rows] for e in judged.estimates}
    methods[NAME] = theta
    errors = {name: np.where(days, t - truth, np.nan) for name, t in methods.items()}
    return {
        "text": f"{len(rows)} of the soils. {MEMBERS} columns from the population of the truth with"
        " about the site's bulk density, simulated under the true weather and weighted by the"
        f" agreement of their rates with the counts, with a memory of {MEMORY_D:g} d. The filter"
        " uses the physics of the truth, counts, rain, ET0 and temperature. It took"
        f" {seconds:.1f} s a soil.",
        "soils": judged.unseen.series.scenario[rows].tolist(),
        "members": MEMBERS,
        "seconds_a_soil": round(seconds, 2),
        "rmse": {name: rms(e) for name, e in errors.items()},
        "rmse_of_soils": {name: [rms(row) for row in e] for name, e in errors.items()},
    }


def _site_of(site: Site, row: int) -> Site:
    """Select the site of one soil, with fields (1,) for the inversions."""
    values: dict[str, Any] = {}
    words = ("incoming_form", "response", "muons")
    for name in (f.name for f in dataclasses.fields(site) if f.name not in words):
        value = np.asarray(getattr(site, name), dtype=np.float64)
        values[name] = value[row : row + 1] if value.ndim else value
    named = site.response
    return Site(**values, response=named if isinstance(named, str) else named[row])
