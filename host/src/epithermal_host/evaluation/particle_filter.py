"""A strong reference: a particle filter on our own column, with what the station knows.

Columns are drawn from the population that the truth was drawn from and run under the weather as it
was; the counts of the last weeks say which of them to believe today. It has the very physics that
made the truth, which no station has of its place. A daily ensemble Kalman update of the suctions
was tried first: it lost the truth (RMSE 0.09) and cost 80 s a soil.
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
from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Integers
from epithermal_host.compute.crew import Crew, Lost, map_unordered
from epithermal_host.config.run_toml import RunConfig, read_run
from epithermal_host.errors import SolverError
from epithermal_host.evaluation.methods import COSMIC, network_with
from epithermal_host.evaluation.metrics import rms
from epithermal_host.evaluation.result import Judged
from epithermal_host.neutrons.cosmic import neutron_rate, node_layer_bottoms
from epithermal_host.simulation.campaign import scenario_path
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.simulate import column, forcing, read_result
from epithermal_host.soil.profile import mean_theta
from epithermal_host.soil.richards import Forcing, solve
from epithermal_host.weather.generator import Weather

NAME = "particle filter"
MEMBERS = 300
DRAWN = 4  # times as many are drawn; those whose bulk density is next to the site's are kept
SEED = 424242  # of the members: no campaign's own
WARM_D = 365  # of the first year's weather, before the first count
MEMORY_D = 20.0  # of the weights
ERROR = 0.03  # relative, of a member's rate: no member is the place


@dataclass(frozen=True, slots=True)
class Task:
    """One soil."""

    config: RunConfig
    weather: Weather
    site: Site  # fields (1,)
    inverted: Array  # (T,) [m3 m-3], NaN without counts


def compare(
    judged: Judged, run_folder: Path, soils: int, who: Crew, progress: bool = True
) -> dict[str, Any]:
    """The filter beside the other methods on some of the judged soils, the same days.

    Parameters
    ----------
    soils :
        How many; spread over the judged ones.
    who :
        Does the work.

    Returns
    -------
    dict
        What the page shows: `text`, `rmse` by method, and each soil's.

    Raises
    ------
    ConfigError
        run.toml is not of this version.
    """
    config, series = read_run(run_folder), judged.unseen.series
    able = np.flatnonzero(judged.days.any(axis=1))
    rows = able[np.unique(np.linspace(0, len(able) - 1, soils).astype(int))]
    tasks = (
        Task(
            config=config,
            weather=read_result(scenario_path(run_folder, int(series.scenario[i]))).weather,
            site=_one(judged.unseen.places.site, int(i)),
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
    return _told(judged, rows, theta, (time.monotonic() - began) / len(rows))


def run_soil(task: Task) -> Array:
    """Theta of 0-30 cm of each day by the members that the counts speak for, (T,) [m3 m-3]."""
    run = list(_members(task))
    return weighted(
        np.stack([theta for theta, _ in run]),
        np.log(np.stack([rate for _, rate in run])),
        np.log(cosmic_rate(task.inverted, task.site)),
    )


def weighted(theta: Array, log_rate: Array, seen: Array) -> Array:
    """Mean of the members by how well their rates were those seen, lately above all.

    Parameters
    ----------
    theta, log_rate : (M, T)
        Of the members.
    seen : (T,)
        Logarithm of the rate; NaN without counts.

    Returns
    -------
    (T,) [m3 m-3]

    References
    ----------
    Sequential importance sampling (van Leeuwen 2009, eq. 11), the likelihood of past days forgotten
    exponentially, so that no member wins for ever.
    """
    misfit = np.where(np.isfinite(seen), log_rate - seen, 0.0) ** 2 / ERROR**2
    keep = np.exp(-1.0 / MEMORY_D)
    total = np.zeros(len(theta))
    out = np.empty(theta.shape[1])
    for day in range(theta.shape[1]):
        total = keep * total + misfit[:, day]
        weight = np.exp(-0.5 * (total - total.min()))
        out[day] = weight @ theta[:, day] / weight.sum()
    return out


def _members(task: Task) -> Iterator[tuple[Array, Array]]:
    """Theta and rate of each day, (T,) each, of the columns that can be solved."""
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
    """Theta of 0-30 cm and rate at the begin of the record and each day's end, (T + 1,)."""
    ground, weather = column(scenario), forcing(scenario, task.weather)
    warm = solve(ground, _first(weather, min(WARM_D, weather.end_d.size)))
    profile = solve(dataclasses.replace(ground, h_initial_cm=warm.h_cm[-1]), weather)
    soils, site = scenario.soils, task.site
    density = np.array([soil.bulk_density_g_cm3 for soil in soils])[ground.grid.material]
    bound = np.asarray(site.lattice_water_g_g) + np.asarray(site.organic_water_g_g)
    rate = neutron_rate(
        node_layer_bottoms(profile.z_cm),
        profile.theta,
        density,
        density * float(bound[0]),
        float(np.asarray(site.cosmic_n_cph)[0]),
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


def _told(judged: Judged, rows: Integers, theta: Array, seconds: float) -> dict[str, Any]:
    days, truth = judged.days[rows], judged.unseen.series.theta[rows]
    named = {b.name: b.theta[rows] for b in judged.baselines if b.name.startswith(COSMIC)}
    named |= {network_with(e.inputs.label): e.theta[rows] for e in judged.estimates}
    named[NAME] = theta
    errors = {name: np.where(days, t - truth, np.nan) for name, t in named.items()}
    return {
        "text": f"{len(rows)} of the soils. {MEMBERS} columns from the population that the truth"
        " was drawn from, those with about the site's bulk density, under the weather as it was;"
        f" weighted by how well their rates were the counted ones, with a memory of {MEMORY_D:g} d."
        " It has the physics that made the truth, and counts, rain, ET0, temperature. It took"
        f" {seconds:.1f} s a soil.",
        "soils": judged.unseen.series.scenario[rows].tolist(),
        "members": MEMBERS,
        "seconds_a_soil": round(seconds, 2),
        "rmse": {name: rms(e) for name, e in errors.items()},
        "rmse_of_soils": {name: [rms(row) for row in e] for name, e in errors.items()},
    }


def _one(site: Site, row: int) -> Site:
    """The site of one soil, fields (1,) as the inversions want them."""
    values: dict[str, Any] = {}
    for name in (f.name for f in dataclasses.fields(site) if f.name != "incoming_form"):
        value = np.asarray(getattr(site, name), dtype=np.float64)
        values[name] = value[row : row + 1] if value.ndim else value
    return Site(**values)
