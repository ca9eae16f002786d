"""Simulate the place of a single-site study and the records of its detectors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from epithermal_edge.physics.response import response_rate
from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Array32, Mask
from epithermal_host.config.instrument import InstrumentConfig
from epithermal_host.config.own_site import DEPTH_CM
from epithermal_host.evaluation.groups import SEASON_D, running_sum
from epithermal_host.simulation.detector import COLUMNS, observe
from epithermal_host.simulation.irrigation import simulate_irrigated
from epithermal_host.simulation.scenario import Scenario
from epithermal_host.simulation.simulate import Result
from epithermal_host.soil.hydraulics import (
    CATALOGUE,
    N_WITHOUT_AIR_ENTRY,
    SoilHydraulics,
)
from epithermal_host.studies.single_site_toml import Place
from epithermal_host.training.dataset import run_pipeline, stack_sites
from epithermal_host.weather.observed import cut_window

NODES, TOP_DZ_CM = 61, 0.5
THETA_S_MAX = 0.7  # of a changed soil; peat aside, no soil holds more [m3 m-3]
USUAL_THETA = 0.25  # to which the configured counting error refers [m3 m-3]
SEASONS = {"winter": (12, 1, 2), "spring": (3, 4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11)}
"""Months of the northern seasons; in the south the names change places."""
FACTORS: dict[str, tuple[float, ...]] = {  # for n: on n - 1
    "theta_r": (0.2, 0.5, 1.5, 2.0),
    "theta_s": (0.8, 0.9, 1.1, 1.2),  # of a loam: 0.34 to 0.52, the limits of mineral soils
    "alpha_per_cm": (0.2, 0.5, 2.0, 5.0),
    "n": (0.6, 0.8, 1.6, 2.5),
    "ks_cm_d": (0.2, 0.5, 2.0, 5.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """Inputs of the methods at one detector, and the true water content."""

    features: Array32  # (T, F)
    inverted: Array  # (T,) [m3 m-3]
    truth: Array  # (T,) [m3 m-3]
    layers: Array  # (len(LAYERS), T) truth of the layers [m3 m-3]
    snow: Mask  # (T,)
    rain_mm: Array  # (T,)
    et0_mm: Array  # (T,)
    day_end_s: Array  # (T,)


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """All records of a study."""

    train: list[Record]  # of the detectors used in training
    unseen: Record  # of another detector at the same place
    elsewhere: dict[str, Record]  # of other detectors on other soils, by soil
    irrigation_mm: Array  # (T,) at the place


def records(place: Place) -> Records:
    """Simulate the place and its variants; run all detectors through the pipeline in parallel.

    Raises
    ------
    SolverError
        A column cannot be solved.
    ConfigError
        The engine is not installed.
    """
    detectors = place.config.detectors
    soils = {"": place.soils, **(variants(place) if place.config.other_soils else {})}
    scenarios = {name: scenario(place, layers) for name, layers in soils.items()}
    simulated = {name: simulate(place, scenarios[name]) for name in soils}
    results = {name: result for name, (result, _) in simulated.items()}
    wanted = [("", i) for i in range(detectors + 1)]
    wanted += [(name, detectors) for name in soils if name]
    out = _observe([(scenarios[name], results[name], i) for name, i in wanted])
    others = dict(zip([n for n, _ in wanted], out, strict=True))
    del others[""]
    return Records(out[:detectors], out[detectors], others, simulated[""][1])


def simulate(place: Place, scenario: Scenario) -> tuple[Result, Array]:
    """Simulate the place on one soil; return also the irrigation of each stored day, (T,) [mm].

    Raises
    ------
    SolverError
        The column cannot be solved.
    ConfigError
        The engine is not installed.
    """
    campaign, days = place.config.campaign, None
    if place.station is not None:
        length = campaign.spin_up_days + campaign.days
        days = cut_window(place.station, scenario.observed_day, length)
    return simulate_irrigated(scenario, campaign, place.irrigation, days)


def variants(place: Place) -> dict[str, tuple[SoilHydraulics, ...]]:
    """List the place's soil, those of the catalogue, and its soil with one parameter changed."""
    out = {name: (soil,) for name, soil in CATALOGUE.items()} | {place.soil_name: place.soils}
    for name, factors in FACTORS.items():
        for factor in factors:
            changed = tuple(_changed(soil, name, factor) for soil in place.soils)
            out[variant(name, factor)] = changed
    return out


def _changed(soil: SoilHydraulics, parameter: str, factor: float) -> SoilHydraulics:
    value = getattr(soil, parameter)
    new = 1.0 + (value - 1.0) * factor if parameter == "n" else value * factor
    if parameter == "theta_s":
        new = min(new, THETA_S_MAX)
    changed = dataclasses.replace(soil, **{parameter: new})
    if changed.n < N_WITHOUT_AIR_ENTRY and not soil.air_entry_cm:  # like the catalogue's fine soils
        changed = changed.with_air_entry()
    return changed


def variant(parameter: str, factor: float) -> str:
    """Name the study's soil with one parameter changed."""
    return f"{parameter} x {factor:g}"


def scenario(place: Place, soils: tuple[SoilHydraulics, ...]) -> Scenario:
    """Build the scenario of a place whose site is known, with these soils as its layers.

    A single soil reaches to the bottom.
    """
    density = [
        soil.bulk_density_g_cm3 if np.isnan(known) else known
        for soil, known in zip(soils, place.densities_g_cm3, strict=False)
    ]
    config, climate, station = place.config, place.climate, place.station
    unit = Site(
        cosmic_n_cph=1.0,
        bulk_density_g_cm3=density[0],
        lattice_water_g_g=0.025,
        organic_water_g_g=0.01,
        latitude_deg=climate.latitude_deg,
        incoming_form="plain",
        incoming_ref=climate.incoming_mean,
        response=config.response,
    )
    usual = float(response_rate(np.array([USUAL_THETA]), unit)[0])
    rate_cph = 1.0 / (24.0 * config.count_error**2)
    return Scenario(
        index=0,
        seed=config.seed,
        plain=True,
        soils=soils,
        bulk_density_g_cm3=tuple(density),
        bound_water_g_g=(0.035,) * len(soils),
        layer_bottoms_cm=place.bottoms_cm[: len(soils) - 1],
        depth_cm=DEPTH_CM,
        nodes=NODES,
        top_dz_cm=TOP_DZ_CM,
        h_initial_cm=-200.0,
        cover=place.cover,
        roots_grow=place.roots_grow,
        climate=climate,
        snow_on_counts=False,
        site=dataclasses.replace(unit, cosmic_n_cph=rate_cph / usual),
        observed=station.name if station else "",
        observed_day=station.begins[-1] if station else 0,
    )


def _observe(wanted: list[tuple[Scenario, Result, int]]) -> list[Record]:
    """Simulate records of detectors whose only error is counting noise, seeded by the number."""
    sites, columns = [], {}
    for i, (scenario, result, number) in enumerate(wanted):
        ideal = InstrumentConfig(
            seed=number,
            et0_source_share=1.0,
            soil_measured_share=0.0,  # constant at a single place, hence not informative
            soil_texture_share=0.0,
        )
        observation = observe(scenario, result.weather, result.rate_cph, ideal)
        sites.append(observation.site)
        if i == 0:
            shape = (observation.end_s.size, len(wanted))
            columns = {name: np.empty(shape) for name in COLUMNS}
        for name, values in observation.columns.items():
            columns[name][:, i] = values
    windows = run_pipeline(stack_sites(sites), observation.end_s, columns)
    out = []
    for i, (_, result, _) in enumerate(wanted):
        snow = result.weather.snow_mm > 0.0
        daily = 0.5 * (result.means[:, 1:] + result.means[:, :-1])  # in the order of DEPTHS_CM
        out.append(
            Record(
                features=windows.features[i].astype(np.float32),
                inverted=windows.theta_classical[i],
                truth=daily[0],
                layers=daily[1:],
                snow=snow | np.concatenate(([False], snow[:-1])),
                rain_mm=result.weather.precipitation_mm,
                et0_mm=result.weather.et0_mm,
                day_end_s=windows.end_s,
            )
        )
    return out


def wet_season(record: Record) -> Mask:
    """Select the days (T,) whose preceding 60 days had more precipitation than ET0."""
    return np.asarray(running_sum((record.rain_mm - record.et0_mm)[None], SEASON_D)[0] > 0.0)


def seasons(record: Record, place: Place) -> dict[str, Mask]:
    """Select the days (T,) of each season of the year."""
    date = (record.day_end_s - 1.0).astype("datetime64[s]")
    month = date.astype("datetime64[M]").astype(np.int64) % 12 + 1
    shift = 6 if place.climate.latitude_deg < 0.0 else 0
    local = (month - 1 + shift) % 12 + 1
    return {name: np.isin(local, months) for name, months in SEASONS.items()}
