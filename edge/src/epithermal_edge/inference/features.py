"""What the network sees: sums over 24 hours and what is known of the place, one site or many.

A bin is (len(Bin), n): rows in the order of `Bin`, one column a site. The same lines run in
training and on the station. Reductions go over the hours only, never over sites, so that a site's
features have the same bits whichever sites are computed with it.
"""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.physics.atmosphere import extraterrestrial_radiation, hargreaves_et0
from epithermal_edge.physics.cosmic import THETA_MAX, cosmic_inversion
from epithermal_edge.records import FACTORS, CorrectedRecord, Floats, Quality, RawRecord, product
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S

Array = NDArray[np.float64]

HOURS = 24  # bins in a window
ENOUGH_S = 12 * HOUR_S  # less counting than this in a window is a gap, less of a sensor: unknown
SIGMA_MAX = 0.2  # [m3 m-3] where the inversion is flat its error is only "large"
HELD_AT_START = np.array([[0.25], [SIGMA_MAX]])  # theta and sigma shown before the first count

# Reference soil of the soil features, so that 0 means both unknown and typical: near loam and
# silt loam of Carsel and Parrish (1988).
LOAM_THETA_R, LOAM_THETA_S = 0.06, 0.43  # [m3 m-3]
LOAM_ALPHA_PER_CM, LOAM_N_LESS_1, LOAM_KS_CM_D = 0.02, 0.4, 20.0


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the network, in physical units."""

    name: str
    unit: str


# All that the station computes, in the order of its windows. A bundle picks its own by name, so
# that a new one may stand anywhere and touches no bundle.
FEATURES = (
    Feature("theta_inv", "m3 m-3"),  # homogeneous COSMIC inversion; the last one in a gap
    Feature("theta_inv_sigma", "m3 m-3"),
    Feature("gap", "1"),  # 1: under 12 h of counting
    Feature("rain_mm", "mm"),
    Feature("rain_known", "1"),
    Feature("et0_mm", "mm"),
    Feature("et0_known", "1"),
    Feature("bulk_density_g_cm3", "g cm-3"),  # from here on constant, or a matter of the date
    Feature("bound_water_g_g", "g g-1"),  # lattice and organic
    Feature("cosmic_n_sigma", "1"),  # relative standard error of the calibrated N
    Feature("soil_known", "1"),  # 1: measured, 0.5: from texture, 0: unknown, then all below is 0
    Feature("soil_theta_r", "m3 m-3"),  # theta_r - LOAM_THETA_R
    Feature("soil_theta_s", "m3 m-3"),  # theta_s - LOAM_THETA_S
    Feature("soil_log_alpha", "1"),  # log10(alpha / LOAM_ALPHA_PER_CM)
    Feature("soil_log_n", "1"),  # log10((n - 1) / LOAM_N_LESS_1)
    Feature("soil_log_ks", "1"),  # log10(K_s / LOAM_KS_CM_D)
    Feature("cover_known", "1"),  # 0: unknown, then all below but the radiation is 0
    Feature("cover_canopy", "1"),  # share of the ground that leaves shade on this day of the year
    Feature("cover_root_depth_cm", "cm"),
    Feature("cover_evaporation", "1"),  # the soil's evaporation over its potential, less 1
    Feature("radiation_mm", "mm"),  # extraterrestrial, of the day of the year; 0: no latitude
)


class Bin(enum.IntEnum):
    """Rows of an hourly bin: sums over its records, then the extremes of temperature."""

    LIVE_S = 0
    COUNTS = 1  # corrected
    VARIANCE = 2  # of the corrected counts, Poisson
    SHARED = 3  # error of the corrected counts that does not average out (intensity)
    RAIN_MM = 4
    RAIN_S = 5  # time with a known rain
    ET0_MM = 6
    ET0_S = 7
    TEMPERATURE = 8  # [degC s]
    TEMPERATURE_S = 9
    T_MIN_C = 10
    T_MAX_C = 11


@dataclass(frozen=True, slots=True)
class Window:
    """The 24 hours up to a full hour; arrays have one value a site."""

    hour: int  # it ends at hour * 3600 s, Unix time
    features: Array  # (n, len(FEATURES)), physical units
    theta_classical: Array  # (n,) [m3 m-3], NaN in a gap
    theta_classical_sigma: Array  # (n,) [m3 m-3]
    restart: NDArray[np.bool_]  # (n,) no counts so far, or for too long: the state starts at zero
    quality: NDArray[np.int64]  # (n,) Quality


def phase_of(hour: int, phases: int) -> int:
    """Return the phase (state) of the window that ends at `hour`; a day has `phases` windows."""
    return hour % HOURS // (HOURS // phases)


def empty_bin(n: int) -> Array:
    """Return an hour without records, (len(Bin), n)."""
    empty = np.zeros((len(Bin), n))
    empty[Bin.T_MIN_C] = np.inf
    empty[Bin.T_MAX_C] = -np.inf
    return empty


def add_to_bin(
    hourly: Array, record: RawRecord, corrected: CorrectedRecord, shared_error: Array, span_s: Array
) -> Array:
    """Add one record to an hourly bin.

    Parameters
    ----------
    hourly : (len(Bin), n)
    record, corrected :
        The record as it came and with the atmosphere taken out.
    shared_error : (n,) [1]
        Relative error of the corrected count that following records share.
    span_s : (n,) [s]
        Time that the record's rain, ET0 and temperature stand for.
    """
    n = hourly.shape[1]
    factor = product(getattr(corrected, f.name) for f in FACTORS)
    usable = np.isfinite(corrected.n_corr_cph)
    counts = np.where(usable, corrected.counts, 0.0)
    factor = np.where(usable, factor, 0.0)
    out = hourly.copy()
    out[Bin.LIVE_S] += np.where(usable, corrected.duration_s, 0.0)
    out[Bin.COUNTS] += counts * factor
    out[Bin.VARIANCE] += counts * factor * factor
    out[Bin.SHARED] += counts * factor * shared_error
    for value, total, seconds in (
        (record.rain_mm, Bin.RAIN_MM, Bin.RAIN_S),
        (record.et0_mm, Bin.ET0_MM, Bin.ET0_S),
    ):
        amount = np.broadcast_to(np.asarray(value, dtype=np.float64), (n,))
        known = np.isfinite(amount)
        out[total] += np.where(known, amount, 0.0)
        out[seconds] += np.where(known, span_s, 0.0)
    t = np.broadcast_to(np.asarray(record.temperature_c, dtype=np.float64), (n,))
    known = np.isfinite(t)
    out[Bin.TEMPERATURE] += np.where(known, t * span_s, 0.0)
    out[Bin.TEMPERATURE_S] += np.where(known, span_s, 0.0)
    out[Bin.T_MIN_C] = np.fmin(out[Bin.T_MIN_C], t)
    out[Bin.T_MAX_C] = np.fmax(out[Bin.T_MAX_C], t)
    return out


def window(
    site: Site, ring: Array, hour: int, held: Array, dark: NDArray[np.bool_]
) -> tuple[Window, Array]:
    """Compute the features of the 24 bins that end at `hour`.

    Parameters
    ----------
    ring : (24, len(Bin), n)
        Hourly bins, the oldest first.
    hour :
        The window ends at hour * 3600 s, Unix time.
    held : (2, n) [m3 m-3]
        Inversion and its sigma of this phase's last window that had counts; NaN before the first.
    dark : (n,)
        Where there were no counts for so long that what is held is void.

    Returns
    -------
    Window, (2, n)
        The window, and what the next window of this phase holds.
    """
    sums = np.add.reduce(ring, axis=0)
    theta, sigma, clipped = _inversion(site, sums)
    gap = sums[Bin.LIVE_S] < ENOUGH_S
    held = np.where(dark, np.nan, held)
    kept = np.where(gap, held, np.stack((theta, sigma)))
    shown = np.where(np.isnan(kept), HELD_AT_START, kept)
    rain_known = sums[Bin.RAIN_S] >= ENOUGH_S
    et0 = _et0(site, ring, sums, hour)
    et0_known = np.isfinite(et0)
    values = {
        "theta_inv": shown[0],
        "theta_inv_sigma": shown[1],
        "gap": gap.astype(np.float64),
        "rain_mm": np.where(rain_known, sums[Bin.RAIN_MM], 0.0),
        "rain_known": rain_known.astype(np.float64),
        "et0_mm": np.where(et0_known, et0, 0.0),
        "et0_known": et0_known.astype(np.float64),
        **_place(site, len(gap), _day_of_year(hour)),
    }
    features = np.stack([values[feature.name] for feature in FEATURES], axis=1)
    quality = np.where(gap, int(Quality.GAP), np.where(clipped, int(Quality.CLIPPED), 0))
    out = Window(
        hour=hour,
        features=features,
        theta_classical=np.where(gap, np.nan, theta),
        theta_classical_sigma=np.where(gap, np.nan, sigma),
        restart=np.isnan(held[0]),
        quality=quality.astype(np.int64),
    )
    return out, kept


def _day_of_year(hour: int) -> int:
    """Return the day of year, 1 to 366, of the middle of the 24 h that end at hour * 3600 s."""
    middle = datetime.datetime.fromtimestamp((hour - HOURS // 2) * HOUR_S, datetime.UTC)
    return middle.timetuple().tm_yday


def _place(site: Site, n: int, day_of_year: int) -> dict[str, Array]:
    """Compute the features of the site on a day of the year, each (n,)."""

    def sites(value: Floats) -> Array:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)))

    with np.errstate(divide="ignore", invalid="ignore"):
        soil = {
            "soil_known": sites(site.soil_known),
            "soil_theta_r": sites(site.soil_theta_r) - LOAM_THETA_R,
            "soil_theta_s": sites(site.soil_theta_s) - LOAM_THETA_S,
            "soil_log_alpha": np.log10(sites(site.soil_alpha_per_cm) / LOAM_ALPHA_PER_CM),
            "soil_log_n": np.log10((sites(site.soil_n) - 1.0) / LOAM_N_LESS_1),
            "soil_log_ks": np.log10(sites(site.soil_ks_cm_d) / LOAM_KS_CM_D),
        }
    canopy = np.asarray(site.canopy_cover, dtype=np.float64)
    cover = {
        "cover_known": sites(site.cover_known),
        "cover_canopy": sites(canopy[..., day_of_year - 1] if canopy.ndim else canopy),
        "cover_root_depth_cm": sites(site.root_depth_cm),
        "cover_evaporation": sites(site.evaporation_share) - 1.0,
    }
    radiation = sites(extraterrestrial_radiation(site.latitude_deg, float(day_of_year)))
    return {
        "bulk_density_g_cm3": sites(site.bulk_density_g_cm3),
        "bound_water_g_g": sites(site.lattice_water_g_g) + sites(site.organic_water_g_g),
        "cosmic_n_sigma": sites(site.cosmic_n_sigma),
        **_whole("soil_known", soil),
        **_whole("cover_known", cover),
        "radiation_mm": np.where(np.isfinite(radiation), radiation, 0.0),
    }


def _whole(flag: str, description: dict[str, Array]) -> dict[str, Array]:
    """Set a whole description with its flag to 0 where a part is unknown."""
    known = description[flag] > 0.0
    known &= np.isfinite(list(description.values())).all(axis=0)
    return {name: np.where(known, value, 0.0) for name, value in description.items()}


def _inversion(site: Site, sums: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Invert the window's mean rate by COSMIC for a uniform soil: theta, sigma, clipped."""
    live_h = np.where(sums[Bin.LIVE_S] > 0.0, sums[Bin.LIVE_S], np.nan) / HOUR_S
    rate = sums[Bin.COUNTS] / live_h
    rate_sigma = np.sqrt(sums[Bin.VARIANCE] + sums[Bin.SHARED] * sums[Bin.SHARED]) / live_h
    theta, slope = cosmic_inversion(rate, site)
    sigma = np.fmin(rate_sigma / np.abs(slope), SIGMA_MAX)
    return theta, sigma, (theta <= 0.0) | (theta >= THETA_MAX)


def _et0(site: Site, ring: Array, sums: Array, hour: int) -> Array:
    """Return ET0 of the day: as given, else by Hargreaves, else NaN."""
    given_s = np.where(sums[Bin.ET0_S] >= ENOUGH_S, sums[Bin.ET0_S], np.nan)
    given = sums[Bin.ET0_MM] * (HOURS * HOUR_S / given_s)
    warm_s = np.where(sums[Bin.TEMPERATURE_S] >= ENOUGH_S, sums[Bin.TEMPERATURE_S], np.nan)
    by_temperature = hargreaves_et0(
        sums[Bin.TEMPERATURE] / warm_s,
        np.where(np.isnan(warm_s), np.nan, np.minimum.reduce(ring[:, Bin.T_MIN_C], axis=0)),
        np.where(np.isnan(warm_s), np.nan, np.maximum.reduce(ring[:, Bin.T_MAX_C], axis=0)),
        site.latitude_deg,
        float(_day_of_year(hour)),
    )
    return np.where(np.isfinite(given), given, by_temperature)
