"""Simulate the place of a single-site study and the records of its detectors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np

from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Array32, Mask
from epithermal_host.config.instrument import InstrumentConfig
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.evaluation.groups import SEASON_D, running_sum
from epithermal_host.simulation.detector import COLUMNS, observe
from epithermal_host.simulation.scenario import Scenario
from epithermal_host.simulation.simulate import Result, simulate
from epithermal_host.soil.hydraulics import (
    CATALOGUE,
    N_WITHOUT_AIR_ENTRY,
    SoilHydraulics,
)
from epithermal_host.studies.uccle import UCCLE, own_cover
from epithermal_host.training.dataset import run_pipeline, stack_sites

DEPTH_CM, NODES, TOP_DZ_CM = 150.0, 61, 0.5
USUAL_THETA = 0.25  # to which the configured counting error refers [m3 m-3]
FACTORS: dict[str, tuple[float, ...]] = {  # for n: on n - 1
    "theta_r": (0.2, 0.5, 1.5, 2.0),
    "theta_s": (0.8, 0.9, 1.1, 1.2),  # of a loam: 0.34 to 0.52, the limits of mineral soils
    "alpha_per_cm": (0.2, 0.5, 2.0, 5.0),
    "n": (0.6, 0.8, 1.6, 2.5),
    "ks_cm_d": (0.2, 0.5, 2.0, 5.0),
}


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """Place and record of a study: section [study] of site.toml."""

    soil: str = "loam"  # of the catalogue
    cover: Literal["bare", "grass"] = "bare"
    years: int = 10
    seed: int = 1
    test_share: float = 0.1  # last part of the record, not used in training in any way
    validation_share: float = 0.1  # part before it, for early stopping
    detectors: int = 8  # training records of the same truth, each with its own noise
    count_error: float = 0.008  # relative, of a day's counts at a water content of 0.25

    def __post_init__(self) -> None:
        checks = [
            (self.soil not in CATALOGUE, f"soil must be among {', '.join(CATALOGUE)}"),
            (not 3 <= self.years <= 50, "years must be within 3 to 50"),
            (not 0 <= self.seed <= 2**31, "seed must be within 0 to 2147483648"),
            (not 0.05 <= self.test_share <= 0.5, "test_share must be within 0.05 to 0.5"),
            (
                not 0.05 <= self.validation_share <= 0.3,
                "validation_share must be within 0.05 to 0.3",
            ),
            (not 1 <= self.detectors <= 256, "detectors must be within 1 to 256"),
            (not 1e-4 <= self.count_error <= 0.1, "count_error must be within 0.0001 to 0.1"),
        ]
        faults = [text for bad, text in checks if bad]
        if faults:
            raise ValueError("; ".join(faults))


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


def records(config: StudyConfig) -> Records:
    """Simulate the place and its variants; run all detectors through the pipeline in parallel.

    Raises
    ------
    SolverError
        A column cannot be solved.
    """
    soils = {"": CATALOGUE[config.soil], **variants(config)}
    campaign = CampaignConfig(config.seed, 1, years=config.years)
    results = {name: simulate(place(config, soil), campaign) for name, soil in soils.items()}
    wanted = [("", i) for i in range(config.detectors + 1)]
    wanted += [(name, config.detectors) for name in soils if name]
    out = _observe([(place(config, soils[n]), results[n], i) for n, i in wanted])
    others = dict(zip([n for n, _ in wanted], out, strict=True))
    del others[""]
    return Records(out[: config.detectors], out[config.detectors], others)


def variants(config: StudyConfig) -> dict[str, SoilHydraulics]:
    """List the soils of the catalogue and the study's soil with one parameter changed."""
    own = CATALOGUE[config.soil]
    out = dict(CATALOGUE)
    for name, factors in FACTORS.items():
        value = getattr(own, name)
        for factor in factors:
            new = 1.0 + (value - 1.0) * factor if name == "n" else value * factor
            soil = dataclasses.replace(own, **{name: new})
            if name == "n" and new < N_WITHOUT_AIR_ENTRY:  # like the catalogue's fine soils
                soil = soil.with_air_entry()
            out[variant(name, factor)] = soil
    return out


def variant(parameter: str, factor: float) -> str:
    """Name the study's soil with one parameter changed."""
    return f"{parameter} x {factor:g}"


def place(config: StudyConfig, soil: SoilHydraulics) -> Scenario:
    """Build the scenario: one uniform soil in the climate of Uccle, with a known site."""
    unit = Site(
        cosmic_n_cph=1.0,
        bulk_density_g_cm3=soil.bulk_density_g_cm3,
        lattice_water_g_g=0.025,
        organic_water_g_g=0.01,
        latitude_deg=UCCLE.latitude_deg,
        incoming_form="plain",
        incoming_ref=UCCLE.incoming_mean,
    )
    usual = float(np.asarray(cosmic_rate(np.array([USUAL_THETA]), unit))[0])
    rate_cph = 1.0 / (24.0 * config.count_error**2)
    return Scenario(
        index=0,
        seed=config.seed,
        plain=True,
        soils=(soil,),
        bulk_density_g_cm3=(soil.bulk_density_g_cm3,),
        bound_water_g_g=(0.035,),
        layer_bottoms_cm=(),
        depth_cm=DEPTH_CM,
        nodes=NODES,
        top_dz_cm=TOP_DZ_CM,
        h_initial_cm=-200.0,
        cover=own_cover(config.cover),
        roots_grow=False,
        climate=UCCLE,
        snow_on_counts=False,
        site=dataclasses.replace(unit, cosmic_n_cph=rate_cph / usual),
    )  # fmt: skip


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
            columns = {name: np.empty(shape, dtype=np.float32) for name in COLUMNS}
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
