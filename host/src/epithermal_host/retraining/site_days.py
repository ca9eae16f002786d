"""Prepare a site's data for retraining: days with probes, sampling days, and their agreement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.physics.atmosphere import mean_pressure
from epithermal_host.arrays import Array, Mask
from epithermal_host.bundles.hidden_states import HiddenStates, compute_hidden_states
from epithermal_host.compute.crew import Crew
from epithermal_host.evaluation.metrics import rms
from epithermal_host.field.calibration_fit import USUAL_HUMIDITY_G_M3
from epithermal_host.field.days import day_window_end_s, month_of, year_of
from epithermal_host.field.samples import read_campaigns
from epithermal_host.field.series import FieldSeries
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.field.weighted_mean import field_mean
from epithermal_host.retraining.head_fit import SiteDays
from epithermal_host.training.series import NAMES, counts_alone

PROBE_SIGMA = 0.01  # error of the mean of a profile of probes in its own soil [m3 m-3]
STANDARD_ERRORS = 3.0  # probes that differ more from the samples do not represent the field
NETWORK_SIGMA = 0.015  # daily error of the released network against a field mean [m3 m-3]
LEVEL_DAYS = 3  # fewest sampling days for a correction of the level
LEVEL_GAIN = 0.90  # highest RMSE on sampling days left out, relative to the released network's


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Field means of 0-30 cm from soil samples, k days."""

    end_s: Array  # (k,) end of the day's window [s, UTC]
    theta: Array  # (k,) [m3 m-3]
    sigma: Array  # (k,) standard error [m3 m-3]


@dataclass(frozen=True, slots=True)
class Level:
    """Constant that is added to the estimates, fitted to sampling days only."""

    b: float  # [m3 m-3]; 0 where it is not used
    days: int
    rmse: float  # of the released network on the sampling days [m3 m-3]
    rmse_left_out: float  # of each day with the level from the other days [m3 m-3]
    reason: str  # why it is not used; empty: it is used


def read_samples(site_file: SiteFile) -> Samples:
    """Read every sampling campaign of the site file and compute its field mean.

    Probes that stand in for samples are no samples: the result is empty.
    """
    if site_file.sampling is None or site_file.sampling.kind == "probes":
        return Samples(*(np.empty(0) for _ in range(3)))
    site, pressure = site_file.site, float(mean_pressure(site_file.altitude_m))
    bound = float(site.lattice_water_g_g) + float(site.organic_water_g_g)
    campaigns = read_campaigns(site_file)
    density = float(site.bulk_density_g_cm3)
    air, height_m = (pressure, USUAL_HUMIDITY_G_M3), site_file.sampling.crop_height_m
    means = [field_mean(c, density, bound, *air, crop_height_m=height_m) for c in campaigns]
    return Samples(
        end_s=np.array([day_window_end_s(site_file, c.day) for c in campaigns]),
        theta=np.array([m.theta_0_30 for m in means]),
        sigma=np.array([m.sigma for m in means]),
    )


def check_probes(series: FieldSeries, samples: Samples) -> str:
    """Check the probes against the samples; return why they do not represent the field, or ''."""
    rows = np.searchsorted(series.day_end_s, samples.end_s).clip(max=series.day_end_s.size - 1)
    both = (series.day_end_s[rows] == samples.end_s) & np.isfinite(series.truth[rows])
    if not both.any():
        return "the probes have no value on a sampling day: whether they represent the field is"\
            " unknown"  # fmt: skip
    off = float(np.mean(series.truth[rows[both]] - samples.theta[both]))
    sigma = math.hypot(float(np.sqrt(np.sum(samples.sigma[both] ** 2))) / both.sum(), PROBE_SIGMA)
    if abs(off) <= STANDARD_ERRORS * sigma:
        return ""
    return (
        f"the probes differ from the samples by {off:+.3f} m3/m3 ({both.sum()} days), more than"
        f" {STANDARD_ERRORS:g} standard errors of {sigma:.3f}: they and their variations are those"
        " of another soil than the field's"
    )


def stream_network(
    bundle: Bundle, series: FieldSeries, who: Crew, runtime_name: str | None = None
) -> HiddenStates:
    """Run the released network at the site with counts alone and, if it has rain, all inputs.

    A station's rain gauge may fail: the retrained head must also work with counts alone.
    """
    known = series.features[None].astype(np.float32)
    sets = [counts_alone(known)]
    if series.features[:, NAMES.index("rain_known")].any():
        sets.append(known)
    features = np.concatenate(sets)
    restart = np.broadcast_to(series.restart, features.shape[:2])
    return compute_hidden_states(bundle, features, who, restart=restart, runtime_name=runtime_name)


def select_days(series: FieldSeries, released: HiddenStates, rows: Mask) -> SiteDays:
    """Select the days among `rows` (T,) on which probes and network can be compared."""
    use = rows & series.judged & np.isfinite(series.truth) & np.isfinite(series.theta_classical)
    return SiteDays(
        h=released.h[:, use].astype(np.float64),
        residual=series.truth[use] - released.theta[:, use],
        year=year_of(series.day_end_s[use]),
        month=month_of(series.day_end_s[use]),
    )


def fit_level(
    series: FieldSeries, released: HiddenStates, samples: Samples, until_s: float
) -> Level:
    """Fit a constant to the sampling days up to a time; decline it if days left out gain little."""
    near = (samples.end_s <= until_s) & np.isin(samples.end_s, series.day_end_s)
    rows = np.searchsorted(series.day_end_s, samples.end_s[near])
    residual = samples.theta[near] - released.theta[-1, rows]
    weight = 1.0 / (samples.sigma[near] ** 2 + NETWORK_SIGMA**2)
    n = residual.size
    if n < LEVEL_DAYS:
        reason = f"{n} sampling days with counts, at least {LEVEL_DAYS} are needed"
        return Level(0.0, n, math.nan, math.nan, reason)
    total, whole = float(weight @ residual), float(weight.sum())
    left_out = (total - weight * residual) / (whole - weight)
    before = rms(residual)
    after = rms(residual - left_out)
    if after > LEVEL_GAIN * before:
        reason = (
            f"RMSE on sampling days left out {after:.4f} m3/m3, released {before:.4f}: less than"
            f" {1 - LEVEL_GAIN:.0%} gained"
        )
        return Level(0.0, n, before, after, reason)
    return Level(total / whole, n, before, after, "")
