"""Judge a station's advice whether to irrigate against the soil water of simulated maize seasons.

The columns are irrigated by a rule that lets the crop suffer now and then. Their true depletion of
the true root zone, against the true threshold, is when to irrigate; the station's engine, with a
released bundle and the errors of real detectors, advises from the counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from epithermal_edge.inference import engine as engines
from epithermal_edge.inference.bundle import Bundle, StepFn
from epithermal_edge.inference.engine import Engine
from epithermal_edge.inference.irrigation import Z_95
from epithermal_edge.inference.root_zone import mean_water, passes_threshold
from epithermal_edge.physics.plant_water import (
    RootZone,
    SoilWater,
    adjusted_threshold,
    field_capacity,
    wilting_point,
)
from epithermal_edge.physics.texture import texture_water
from epithermal_edge.records import Estimate
from epithermal_edge.site import Site
from epithermal_edge.times import YEAR_D
from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.config.instrument import InstrumentConfig
from epithermal_host.config.own_site import Irrigation
from epithermal_host.config.population import Population
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.simulation.detector import observe
from epithermal_host.simulation.irrigation import (
    add_water,
    depleted_water,
    irrigate,
    rooted_depth,
    storage_to,
)
from epithermal_host.simulation.sample_place import FEDDES_CM
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.simulate import Result, respond, weather_of
from epithermal_host.simulation.vegetation import root_depth
from epithermal_host.soil.hydraulics import SoilHydraulics
from epithermal_host.weather.generator import day_of_year

MAIZE_P = 0.55  # grain maize: FAO-56 (1998), table 22
ROOTS_CM = (60.0, 90.0, 120.0)  # of full-grown maize, of one site after the other
SOW_DAY, SEASON_D, LAI_MAX = 121.0, 150.0, 4.0
JUDGED = (0.2, 0.9)  # part of the season in which irrigation matters
RULE = Irrigation(depletion=0.8)
TOLERANCE_D = 2  # an alarm so near to the need is neither false nor a miss
ET0_DAYS = 7
LEAST_ROOT_DEPTH_CM = 10.0
LEAP_YEAR = np.datetime64("2004-01-01").astype(np.int64) + np.arange(YEAR_D)
POPULATION = Population(
    textures=("loamy_sand", "sandy_loam", "loam", "silt_loam", "sandy_clay_loam", "clay_loam",
              "silty_clay_loam"),
    hydraulics="rosetta", bare_share=0.0, crop_share=1.0, southern_share=0.0, aridity_min=0.3,
    aridity_max=0.9, dry_rate_min_cph=1500.0,
)  # fmt: skip
"""Places where maize is irrigated, with detectors that are large enough to advise on it."""
INSTRUMENT = InstrumentConfig(soil_measured_share=1.0, soil_texture_share=0.0, cover_told_share=1.0)

CONSTANT, TOP, ROOTS, CAREFUL, TEXTURE = (
    "0-30 cm, constant threshold",
    "0-30 cm",
    "root zone",
    "root zone, confidence 0.8",
    "root zone, soil from texture",
)
WAYS = (CONSTANT, TOP, ROOTS, CAREFUL, TEXTURE)
"""What a station may advise over."""


@dataclass(frozen=True, slots=True)
class Season:
    """The true need of a site and the advice of its station, by day."""

    need: Mask  # (days,) true depletion of the root zone above the true threshold
    judged: Mask  # (days,)
    advice: dict[str, Array]  # (days,) 1: irrigate, 0: do not, NaN: unknown
    inside: dict[str, Array]  # (days,) 1: the 90 % interval holds the true water, NaN: unknown


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of one way to advise, per season."""

    needs: float  # spells of need
    false_alarms: float  # spells of advice without need
    misses: float  # spells of need without advice
    false_days: float  # days with advice to irrigate and without need
    missed_days: float  # days of need without that advice
    coverage: float  # part of the days whose 90 % interval holds the true water


def judge(bundle: Bundle, step: StepFn, sites: int, seed: int) -> dict[str, Score]:
    """Simulate a maize season at each site and score every way to advise.

    Raises
    ------
    SolverError
        A column cannot be solved.
    """
    seasons = list(simulate_seasons(bundle, step, sites, seed))
    return {name: score(name, seasons) for name in WAYS}


def simulate_seasons(bundle: Bundle, step: StepFn, sites: int, seed: int) -> Iterator[Season]:
    """Yield the need and the advice of one site after the other.

    One run of the engine serves all ways to advise: it estimates theta without knowing of them.
    """
    campaign = CampaignConfig(seed, sites, years=1)
    for index in range(sites):
        scenario = maize_site(seed, index)
        natural = weather_of(scenario, campaign)
        weather = add_water(natural, irrigate(scenario, natural, campaign, RULE))
        result = respond(scenario, weather, campaign)
        truth = 0.5 * (result.means[0, 1:] + result.means[0, :-1])
        seen = observe(scenario, result.weather, result.rate_cph, INSTRUMENT, truth)
        zones = root_zones(scenario, seen.site)
        engine = Engine(seen.site, bundle, step, root_zone=zones[ROOTS])
        at_end = [o.estimate for o in engines.play(engine, seen.records())][23::24]
        ends = {name: _see_by(zone, at_end, zones[ROOTS]) for name, zone in zones.items()}
        yield Season(
            need=need(scenario, result),
            judged=judged_days(result.weather.day),
            advice={k: _advice(zone, ends[k]) for k, zone in zones.items()},
            inside={k: _inside(result, v) for k, v in ends.items()},
        )


def maize_site(seed: int, index: int) -> Scenario:
    """Draw a place and grow maize on it."""
    scenario = sample(POPULATION, seed, index)
    roots_cm = ROOTS_CM[index % len(ROOTS_CM)]
    cover = dataclasses.replace(
        scenario.cover,
        lai_min=0.0,
        lai_max=LAI_MAX,
        sow_day=SOW_DAY,
        season_d=SEASON_D,
        root_depth_cm=min(roots_cm, 0.9 * scenario.depth_cm),
        feddes_cm=FEDDES_CM["maize"],
    )
    return dataclasses.replace(scenario, cover=cover, roots_grow=True)


def root_zones(scenario: Scenario, site: Site) -> dict[str, RootZone]:
    """Describe the root zone in every way, from what a station knows of its site."""
    theta_r, theta_s, alpha, n, ks = (
        float(np.asarray(getattr(site, f"soil_{name}")))
        for name in ("theta_r", "theta_s", "alpha_per_cm", "n", "ks_cm_d")
    )
    high, low = field_capacity(theta_r, theta_s, n, ks), wilting_point(theta_r, theta_s, alpha, n)
    measured = SoilWater(high, low, MAIZE_P)
    depth = np.maximum(root_depth(scenario.cover, LEAP_YEAR), LEAST_ROOT_DEPTH_CM)
    depth_cm = tuple(depth.tolist())
    return {
        CONSTANT: RootZone(measured, adjusts=False),
        TOP: RootZone(measured),
        ROOTS: RootZone(measured, depth_cm),
        CAREFUL: RootZone(measured, depth_cm, confidence=0.8),
        TEXTURE: RootZone(SoilWater(*texture_water(scenario.texture), MAIZE_P), depth_cm),
    }


def need(scenario: Scenario, result: Result) -> Mask:
    """Select the days (days,) on which the root zone is drier than the threshold of maize.

    Field capacity and wilting point are those of each true material, as the station derives them.
    """
    wet, dry = (np.array(limit)[scenario.grid().material] for limit in _limits(scenario.soils))
    day, et0_mm = result.weather.day, result.weather.et0_mm
    depth_cm = np.maximum(rooted_depth(scenario, day), LEAST_ROOT_DEPTH_CM)
    daily = 0.5 * (result.theta[1:] + result.theta[:-1]).astype(np.float64)
    lacking, available = depleted_water(daily, result.z_cm, wet, dry, depth_cm)
    mean_mm = np.convolve(et0_mm, np.full(ET0_DAYS, 1.0 / ET0_DAYS))[: day.size]
    p = np.array([adjusted_threshold(MAIZE_P, etc) for etc in mean_mm.tolist()])
    return np.asarray(lacking >= p * available)


def judged_days(day: Integers) -> Mask:
    """Select the days (days,) of the season in which irrigation matters."""
    age = (day_of_year(day) - SOW_DAY) / SEASON_D
    return np.asarray((age >= JUDGED[0]) & (age <= JUDGED[1]))


def score(name: str, seasons: list[Season]) -> Score:
    """Count needs, false alarms and misses of one way to advise."""
    needs = false_alarms = misses = false_days = missed_days = 0
    for season in seasons:
        judged = season.judged & np.isfinite(season.advice[name])
        advised, needed = (season.advice[name] == 1.0) & judged, season.need & judged
        needs += len(spells(needed))
        false_alarms += _count_alone(advised, needed)
        misses += _count_alone(needed, advised)
        false_days += np.count_nonzero(advised & ~needed)
        missed_days += np.count_nonzero(needed & ~advised)
    inside = np.concatenate([season.inside[name][season.judged] for season in seasons])
    count = len(seasons)
    return Score(
        needs=needs / count,
        false_alarms=false_alarms / count,
        misses=misses / count,
        false_days=false_days / count,
        missed_days=missed_days / count,
        coverage=float(np.nanmean(inside)),
    )


def spells(days: Mask) -> list[tuple[int, int]]:
    """List first and last day of each run of days; runs up to TOLERANCE_D days apart are one."""
    out: list[tuple[int, int]] = []
    for day in np.flatnonzero(days).tolist():
        if out and day - out[-1][1] <= TOLERANCE_D + 1:
            out[-1] = (out[-1][0], day)
        else:
            out.append((day, day))
    return out


def table(scores: Mapping[str, Score]) -> str:
    """Format the scores as a Markdown table."""
    lines = [
        "| advice over | needs | false alarms | misses | needless days | missed days | in 90 % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, s in scores.items():
        lines.append(
            f"| {name} | {s.needs:.1f} | {s.false_alarms:.1f} | {s.misses:.1f} |"
            f" {s.false_days:.1f} | {s.missed_days:.1f} | {100 * s.coverage:.0f} % |"
        )
    return "\n".join(lines)


def _count_alone(days: Mask, others: Mask) -> int:
    """Count the spells of days without one of the others within TOLERANCE_D."""
    return sum(
        not others[max(first - TOLERANCE_D, 0) : last + TOLERANCE_D + 1].any()
        for first, last in spells(days)
    )


def _limits(soils: tuple[SoilHydraulics, ...]) -> tuple[list[float], list[float]]:
    """Compute field capacity and wilting point of each material [m3 m-3]."""
    wet = [field_capacity(s.theta_r, s.theta_s, s.n, s.ks_cm_d) for s in soils]
    return wet, [wilting_point(s.theta_r, s.theta_s, s.alpha_per_cm, s.n) for s in soils]


def _see_by(zone: RootZone, estimates: list[Estimate], own: RootZone) -> list[Estimate]:
    """Replace depth and threshold of estimates that were described with another root zone."""
    if zone.depth_cm != own.depth_cm:
        estimates = [dataclasses.replace(e, root_depth_cm=zone.depth_cm[0]) for e in estimates]
    if not zone.adjusts:
        p = zone.soil.threshold
        estimates = [dataclasses.replace(e, root_threshold=p) for e in estimates]
    return estimates


def _advice(zone: RootZone, estimates: list[Estimate]) -> Array:
    """Return the advice of each day, (days,): 1, 0 or NaN."""
    passed = (passes_threshold(zone, estimate) for estimate in estimates)
    return np.array([np.nan if value is None else float(value) for value in passed])


def _inside(result: Result, estimates: list[Estimate]) -> Array:
    """Return whether the 90 % interval of the mean theta holds the true one, (days,)."""
    depth_cm = np.array([estimate.root_depth_cm for estimate in estimates])
    daily = 0.5 * (result.theta[1:] + result.theta[:-1]).astype(np.float64)
    depth_cm = np.where(np.isfinite(depth_cm), depth_cm, LEAST_ROOT_DEPTH_CM)
    true = storage_to(daily, result.z_cm, depth_cm) / (10.0 * depth_cm)
    pairs = [mean_water(e, d) for e, d in zip(estimates, depth_cm.tolist(), strict=True)]
    theta, sigma = np.array(pairs).T
    inside = np.abs(true - theta) <= Z_95 * sigma
    return np.where(np.isfinite([e.irrigate for e in estimates]), inside, np.nan)
