"""Show in two pictures why memory is needed: one mean water content, many neutron rates.

`rate-against-mean`: rates of uniform profiles (a line) and of simulated profiles (a cloud).
`equal-mean-profiles`: the two simulated profiles with equal mean and the most different rates.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.physics.cosmic import cosmic_parameters
from epithermal_edge.physics.response import response_rate, response_theta
from epithermal_edge.records import NAN
from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Array32, Integers
from epithermal_host.compute.files import write_atomic
from epithermal_host.config.run_toml import CampaignConfig, read_run
from epithermal_host.evaluation.methods import inversion_by, response_in
from epithermal_host.evaluation.metrics import rms
from epithermal_host.neutrons.cosmic import (
    contributions,
    effective_depth,
    neutron_rate,
)
from epithermal_host.neutrons.response import profile_origin, profile_rate
from epithermal_host.simulation.results import read_place, read_result, stored
from epithermal_host.soil.hydraulics import bulk_density_from_porosity
from epithermal_host.soil.profile import graded_grid, mean_theta
from epithermal_host.studies import figures_plots
from epithermal_host.studies.figures_data import Days, Pair, Soil
from epithermal_host.studies.uccle import SOIL, UCCLE, CoverName, own_profile, own_site
from epithermal_host.weather.generator import generate

RATE = "rate-against-mean"
PAIR = "equal-mean-profiles"
EQUAL_THETA = 1e-3  # largest difference of means that count as equal [m3 m-3]
SURFACE_CM, BELOW_CM = (0.0, 5.0), (10.0, 30.0)  # depth intervals of the contrast
LINE_POINTS = 161


@dataclass(frozen=True, slots=True)
class Figures:
    """Data and files of the two pictures."""

    days: Days
    pair: Pair
    paths: tuple[Path, ...]

    def lines(self) -> tuple[str, str]:
        """Format the numbers that the pictures show."""
        d, p = self.days, self.pair
        return (
            f"{d.title}, {d.day.size} days: inverting each rate by the uniform line: "
            f"RMSE {rms(d.error):.4f} m3/m3; mean error {d.error[d.wetting].mean():+.4f} on "
            f"wetting days, {d.error[~d.wetting].mean():+.4f} on drying days, "
            f"{d.error.min():+.4f} to {d.error.max():+.4f} in all",
            f"equal mean {p.mean.mean():.3f} m3/m3: {p.rate_cph[0]:.0f} counts/h wetting "
            f"({p.date[0]}, D86 {p.d86_cm[0]:.0f} cm), {p.rate_cph[1]:.0f} counts/h drying "
            f"({p.date[1]}, D86 {p.d86_cm[1]:.0f} cm): {p.difference:+.1%}, "
            f"{p.noises:.0f} times a day's counting noise",
        )


def run(
    out: Path,
    *,
    run_folder: Path | None = None,
    scenario: int | None = None,
    seed: int | None = None,
    cover: CoverName | None = None,
) -> Figures:
    """Draw both pictures into a folder and write their data beside them as CSV.

    Parameters
    ----------
    out :
        Created where missing.
    run_folder, scenario :
        Folder of a campaign and index of a scenario; default: the first scenario.
    seed, cover :
        Of the built-in place, which is used without a campaign; default: 1, bare soil.

    Raises
    ------
    ConfigError
        Options contradict each other, the run or scenario does not exist, no two profiles have
        equal means, or the folder is not writable.
    """
    if run_folder is None:
        if scenario is not None:
            raise ConfigError("--scenario: requires a campaign; name its folder with --run")
        days = own_days(1 if seed is None else seed, cover or "bare")
    else:
        if seed is not None or cover is not None:
            raise ConfigError("--seed, --cover: apply to the built-in place; omit them with --run")
        days = campaign_days(run_folder, scenario)
    pair = find_pair(days)
    rate_png = figures_plots.rate_against_mean(days, pair, line(days))
    pair_png = figures_plots.equal_mean_profiles(days, pair)
    files = {
        f"{RATE}.csv": rate_csv(days).encode("utf-8"),
        f"{RATE}.png": rate_png,
        f"{PAIR}.csv": pair_csv(days, pair).encode("utf-8"),
        f"{PAIR}.png": pair_png,
    }
    try:
        for name, content in files.items():
            write_atomic(out / name, content)
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}: name a writable folder") from error
    return Figures(days, pair, tuple(out / name for name in files))


def own_days(seed: int = 1, cover: CoverName = "bare", years: int = 3) -> Days:
    """Simulate days of the catalogue's loam in Belgian weather, after a year of spin-up.

    Raises
    ------
    ConfigError
        The seed or the number of years is out of range.
    """
    try:
        period = CampaignConfig(seed=seed, soils=1, years=years)
    except ValueError as fault:
        raise ConfigError(f"--{fault}") from fault
    skip = period.spin_up_days
    rng = np.random.default_rng(seed)
    weather = generate(UCCLE, rng, period.first_day - skip, period.days + skip)
    profile = own_profile(cover, weather)
    site = own_site()
    density = np.full(profile.z_cm.size, SOIL.bulk_density_g_cm3)
    bound_g_g = float(site.lattice_water_g_g) + float(site.organic_water_g_g)
    return to_days(
        f"Loam, {'bare soil' if cover == 'bare' else cover}, Belgian climate",
        weather.day[skip:],
        Soil(profile.z_cm, density, bound_g_g * density),
        profile.theta[skip:],
        site,
    )


def campaign_days(run_folder: Path, index: int | None = None) -> Days:
    """Read the days of a campaign's scenario; default: the first scenario.

    Raises
    ------
    ConfigError
        The run or scenario does not exist, or its result is damaged.
    """
    read_run(run_folder)  # raises if the folder contains no valid run
    if index is None:
        index = next(iter(stored(run_folder)), 0)
    result = read_result(run_folder, index)
    return _scenario_days(result.weather.day, result.theta, read_place(run_folder, index))


def _scenario_days(day: Integers, theta: Array32, place: dict[str, Any]) -> Days:
    """Convert a scenario's file to days; `place` is the value of Scenario.to_dict."""
    grid = graded_grid(
        place["depth_cm"], place["nodes"], place["top_dz_cm"], place["layer_bottoms_cm"]
    )
    density = np.array([bulk_density_from_porosity(soil["theta_s"]) for soil in place["soils"]])
    bound = density * np.array(place["bound_water_g_g"])
    names = " over ".join(soil["name"].replace("_", " ") for soil in place["soils"])
    cover = place["cover"]["kind"]
    site: dict[str, Any] = {k: NAN if v is None else v for k, v in place["site"].items()}
    by = site.get("response", "cosmic")
    return to_days(
        f"{names.capitalize()}, {'bare soil' if cover == 'bare' else cover}, "
        f"scenario {place['index']}{'' if by == 'cosmic' else f', counts by {by}'}",
        day,
        Soil(grid.z_cm, density[grid.material], bound[grid.material]),
        theta.astype(np.float64),
        Site(**site),
    )


def to_days(title: str, day: Integers, soil: Soil, theta: Array, site: Site) -> Days:
    """Convert profiles to points of the first picture.

    theta is (days + 1, nz); row 0 is the start of the first day.
    """
    mean = mean_theta(soil.z_cm, theta)
    contrast = mean_theta(soil.z_cm, theta, *SURFACE_CM) - mean_theta(soil.z_cm, theta, *BELOW_CM)
    rate = _rate(soil, theta[1:], site)
    return Days(
        title, day, soil, theta[1:], mean[1:], contrast[1:], np.diff(mean) > 0.0, rate,
        response_theta(rate, site), site,
    )  # fmt: skip


def _rate(soil: Soil, theta: Array, site: Site) -> Array:
    """Compute the rates (days,) [counts h-1] of profiles by the response of the site."""
    if site.response == "cosmic":
        return neutron_rate(*soil.layers(theta), site.cosmic_n_cph)
    bottom_cm, _, density, bound = soil.layers(theta)
    alpha, l3_g_cm2 = cosmic_parameters(density)
    return profile_rate(
        bottom_cm,
        theta,
        density,
        bound / density,
        site,
        n_cph=site.cosmic_n_cph,
        alpha=alpha,
        l3_g_cm2=l3_g_cm2,
        surface_water_cm=np.zeros(()),
    )


def line(days: Days) -> tuple[Array, Array]:
    """Compute the relation that the station inverts: theta (n) [m3 m-3], rate (n) [cph]."""
    both = np.concatenate((days.mean, days.inverted))
    theta = np.linspace(max(both.min() - 0.01, 0.005), both.max() + 0.01, LINE_POINTS)
    return theta, response_rate(theta, days.site)


def find_pair(days: Days) -> Pair:
    """Find the wetting and the drying profile with equal mean whose rates differ most.

    Raises
    ------
    ConfigError
        No wetting day and drying day have equal means.
    """
    dry = np.flatnonzero(~days.wetting)
    dry = dry[np.argsort(days.mean[dry], kind="stable")]
    low = np.searchsorted(days.mean[dry], days.mean - EQUAL_THETA, side="left")
    high = np.searchsorted(days.mean[dry], days.mean + EQUAL_THETA, side="right")
    best, index = -np.inf, (-1, -1)
    for wet in np.flatnonzero(days.wetting & (high > low)):
        near = dry[low[wet] : high[wet]]
        other = near[np.argmax(days.rate_cph[near])]
        ratio = float(days.rate_cph[other] / days.rate_cph[wet])
        if ratio > best:
            best, index = ratio, (int(wet), int(other))
    if index[0] < 0:
        raise ConfigError(
            f"{days.title}: no wetting and drying day with equal mean; simulate more years"
        )
    return _pair(days, index)


def _pair(days: Days, index: tuple[int, int]) -> Pair:
    rows = list(index)
    layers = days.soil.layers(days.theta[rows])
    dates = [str(d) for d in days.day[rows].astype("datetime64[D]")]
    if days.site.response == "cosmic":
        d86_cm, share = effective_depth(*layers), contributions(*layers)
    else:
        d86_cm, share = profile_origin(*layers)
    ends = (dates[0], dates[1])
    return Pair(index, ends, days.mean[rows], days.rate_cph[rows], d86_cm, layers[0], share)


def _response(days: Days) -> str:
    return response_in(inversion_by(days.site.response))


def rate_csv(days: Days) -> str:
    """Format the data of the first picture: points of the line, then one row per day."""
    theta, rate = line(days)
    text = io.StringIO()
    text.write(
        f"# {days.title}. n_cph: corrected neutron rate by {_response(days)}, no noise, no snow.\n"
        "# kind uniform: one theta at all depths; simulated: profile at the end of `date`.\n"
        "# contrast: theta of 0-5 cm minus that of 10-30 cm. theta_inverted: theta of the uniform\n"
        "# profile with that rate. theta in m3 m-3. state: change of the 0-30 cm mean that day.\n"
        "kind,date,theta_0_30,n_cph,theta_inverted,contrast,state\n"
    )
    for t, n in zip(theta.tolist(), rate.tolist(), strict=True):
        text.write(f"uniform,,{t!r},{n!r},{t!r},0.0,\n")
    dates = days.day.astype("datetime64[D]")
    columns = (days.mean, days.rate_cph, days.inverted, days.contrast)
    rows = zip(dates, *(c.tolist() for c in columns), days.wetting.tolist(), strict=True)
    for date, mean, n, inverted, contrast, wetting in rows:
        state = "wetting" if wetting else "drying"
        text.write(f"simulated,{date},{mean!r},{n!r},{inverted!r},{contrast!r},{state}\n")
    return text.getvalue()


def pair_csv(days: Days, pair: Pair) -> str:
    """Format the data of the second picture: one row per layer."""
    text = io.StringIO()
    text.write(f"# {days.title}. Profiles at the end of the day, theta in m3 m-3.\n")
    for row, name in enumerate(("wetting", "drying")):
        text.write(
            f"# {name}: {pair.date[row]}, theta_0_30 {pair.mean[row]:.5f}, "
            f"n_cph {pair.rate_cph[row]:.2f}, d86_cm {pair.d86_cm[row]:.2f}\n"
        )
    text.write("# share: share of the counted neutrons that originate in the layer\n")
    text.write("z_cm,bottom_cm,theta_wetting,theta_drying,share_wetting,share_drying\n")
    columns = (days.soil.z_cm, pair.bottom_cm, *days.theta[list(pair.index)], *pair.share)
    for values in zip(*(c.tolist() for c in columns), strict=True):
        text.write(",".join(repr(v) for v in values) + "\n")
    return text.getvalue()
