"""What a site has to retrain on: days with probes, sampling days, and whether they agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.physics.atmosphere import mean_pressure
from epithermal_host.arrays import Array, Mask
from epithermal_host.bundles.hidden_states import Hidden, hidden
from epithermal_host.compute.crew import Crew
from epithermal_host.evaluation.metrics import rms
from epithermal_host.field.calibration import USUAL_HUMIDITY_G_M3
from epithermal_host.field.days import month_of, year_of
from epithermal_host.field.samples import read_campaigns
from epithermal_host.field.series import FieldSeries, day_window_end_s
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.field.weighted_mean import field_mean
from epithermal_host.retraining.head_fit import SiteDays
from epithermal_host.training.series import NAMES, counts_alone

PROBE_SIGMA = 0.01  # of the level of a profile of probes in its own soil [m3 m-3]
STANDARD_ERRORS = 3.0  # probes further off the samples stand in other soil than the field
NETWORK_SIGMA = 0.015  # of the released network on a day, against a field mean [m3 m-3]
LEVEL_DAYS = 3  # sampling days from which on a level can be tried on days left out
LEVEL_GAIN = 0.90


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Field means of 0-30 cm by soil samples, (k,)."""

    end_s: Array  # end of the day's window [s, UTC]
    theta: Array  # [m3 m-3]
    sigma: Array  # [m3 m-3]


@dataclass(frozen=True, slots=True)
class Level:
    """A constant that is added to the answer, from sampling days alone."""

    b: float  # [m3 m-3]; 0 where it is not used
    days: int
    rmse: float  # of the released network on the sampling days [m3 m-3]
    rmse_left_out: float  # each day with the level of the others [m3 m-3]
    reason: str  # why it is not used; empty: it is


def samples(site_file: SiteFile) -> Samples:
    """Of every campaign that the site file names; none where it names none."""
    if site_file.sampling is None:
        return Samples(*(np.empty(0) for _ in range(3)))
    site, pressure = site_file.site, float(mean_pressure(site_file.altitude_m))
    bound = float(site.lattice_water_g_g) + float(site.organic_water_g_g)
    campaigns = read_campaigns(site_file)
    density = float(site.bulk_density_g_cm3)
    means = [field_mean(c, density, bound, pressure, USUAL_HUMIDITY_G_M3) for c in campaigns]
    return Samples(
        end_s=np.array([day_window_end_s(site_file, c.day) for c in campaigns]),
        theta=np.array([m.theta_0_30 for m in means]),
        sigma=np.array([m.sigma for m in means]),
    )


def probes_are_off(series: FieldSeries, taken: Samples) -> str:
    """Why the probes are not of the field, by the samples; empty where they may be."""
    rows = np.searchsorted(series.day_end_s, taken.end_s).clip(max=series.day_end_s.size - 1)
    both = (series.day_end_s[rows] == taken.end_s) & np.isfinite(series.truth[rows])
    if not both.any():
        return "no sampling day on which the probes have a value: whether they are like the field"\
            " is not known"  # fmt: skip
    off = float(np.mean(series.truth[rows[both]] - taken.theta[both]))
    sigma = math.hypot(float(np.sqrt(np.sum(taken.sigma[both] ** 2))) / both.sum(), PROBE_SIGMA)
    if abs(off) <= STANDARD_ERRORS * sigma:
        return ""
    return (
        f"the probes are {off:+.3f} m3/m3 off the samples ({both.sum()} days), more than"
        f" {STANDARD_ERRORS:g} standard errors of {sigma:.3f}: they stand in other soil than the"
        " field, and so are their swings"
    )


def streamed(
    bundle: Bundle, series: FieldSeries, who: Crew, runtime_name: str | None = None
) -> Hidden:
    """The released network at the site: counts alone, and, where there is rain, all that is known.

    A station may lose its rain gauge; what is learnt must do without it.
    """
    known = series.features[None].astype(np.float32)
    sets = [counts_alone(known)]
    if series.features[:, NAMES.index("rain_known")].any():
        sets.append(known)
    features = np.concatenate(sets)
    restart = np.broadcast_to(series.restart, features.shape[:2])
    return hidden(bundle, features, who, restart=restart, runtime_name=runtime_name)


def site_days(series: FieldSeries, said: Hidden, rows: Mask) -> SiteDays:
    """The days among `rows` (T,) on which probes and network can be compared."""
    use = rows & series.judged & np.isfinite(series.truth) & np.isfinite(series.theta_classical)
    return SiteDays(
        h=said.h[:, use].astype(np.float64),
        lack=series.truth[use] - said.theta[:, use],
        year=year_of(series.day_end_s[use]),
        month=month_of(series.day_end_s[use]),
    )


def level(series: FieldSeries, said: Hidden, taken: Samples, until_s: float) -> Level:
    """A level from the sampling days up to a time, if days left out bear it out."""
    near = (taken.end_s <= until_s) & np.isin(taken.end_s, series.day_end_s)
    rows = np.searchsorted(series.day_end_s, taken.end_s[near])
    lack = taken.theta[near] - said.theta[-1, rows]
    weight = 1.0 / (taken.sigma[near] ** 2 + NETWORK_SIGMA**2)
    n = lack.size
    if n < LEVEL_DAYS:
        reason = f"{n} sampling days with counts: from {LEVEL_DAYS} on a level can be tried"
        return Level(0.0, n, math.nan, math.nan, reason)
    total, whole = float(weight @ lack), float(weight.sum())
    left_out = (total - weight * lack) / (whole - weight)
    before = rms(lack)
    after = rms(lack - left_out)
    if after > LEVEL_GAIN * before:
        reason = (
            f"on sampling days left out RMSE {after:.4f} m3/m3, released {before:.4f}: less than"
            f" {1 - LEVEL_GAIN:.0%} gained"
        )
        return Level(0.0, n, before, after, reason)
    return Level(total / whole, n, before, after, "")
