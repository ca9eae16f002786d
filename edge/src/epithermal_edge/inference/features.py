"""What the network sees: sums over 24 hours and what is known of the place, one site or many.

A bin is (len(Bin), n): rows in the order of `Bin`, one column a site. The same lines run in
training and on the station. Sums go over the hours only, one after the other, so that a window has
the same bits whichever sites and windows are computed with it.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.block import Array, Block, Mask, carry, each_site
from epithermal_edge.physics.atmosphere import extraterrestrial_radiation, hargreaves_et0
from epithermal_edge.physics.cosmic import THETA_MAX
from epithermal_edge.physics.response import response_inversion
from epithermal_edge.records import Floats, Quality
from epithermal_edge.site import Site
from epithermal_edge.times import DAY_S, HOUR_S

Integers = NDArray[np.int64]

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
    Feature("theta_inv", "m3 m-3"),  # inversion for a uniform soil; the last one in a gap
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

_COLUMN = {feature.name: i for i, feature in enumerate(FEATURES)}


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


@dataclass(frozen=True, slots=True, eq=False)
class Count:
    """What joins the stream of the counts of R records."""

    usable: Mask  # (R, n)
    factor: Array  # (R, n) product of all correction factors
    gaps: NDArray[np.intp]  # (m,) sites with an error that following records share
    error: Array  # (R, m) that error, relative

    def take(self, rows: NDArray[np.intp]) -> Count:
        """Select records by ascending row numbers."""
        if len(rows) == len(self.usable):
            return self
        return Count(self.usable[rows], self.factor[rows], self.gaps, self.error[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The bins of K windows together, in the order in which records closed the windows."""

    hour: Integers  # (K,) they end at hour * 3600 s, Unix time
    total: Array  # (K, len(Bin), n)
    dark: Mask  # (K, n) no counts for so long that what is held is void
    closed_by: NDArray[np.intp]  # (K,) row of the record that closed each, in its block


@dataclass(frozen=True, slots=True)
class Window:
    """The 24 hours up to a full hour; arrays have one value a site."""

    hour: int  # it ends at hour * 3600 s, Unix time
    features: Array  # (n, len(FEATURES)), physical units
    theta_classical: Array  # (n,) [m3 m-3], NaN in a gap
    theta_classical_sigma: Array  # (n,) [m3 m-3]
    rate_cph: Array  # (n,) corrected mean rate [counts h-1], NaN in a gap
    rate_sigma_cph: Array  # (n,) its standard error [counts h-1]
    temperature_c: Array  # (n,) mean of the air [degC]; NaN: under 12 h of it
    restart: Mask  # (n,) no counts so far, or for too long: the state starts at zero
    quality: Integers  # (n,) Quality


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """K windows in the order in which records closed them; fields as those of `Window`."""

    hour: Integers  # (K,)
    features: Array  # (K, n, len(FEATURES))
    theta_classical: Array  # (K, n)
    theta_classical_sigma: Array  # (K, n)
    rate_cph: Array  # (K, n)
    rate_sigma_cph: Array  # (K, n)
    temperature_c: Array  # (K, n)
    restart: Mask  # (K, n)
    quality: Integers  # (K, n)
    closed_by: NDArray[np.intp]  # (K,) row of the record in its block

    def each(self) -> tuple[Window, ...]:
        """List the windows one by one."""
        columns = (
            *(self.features, self.theta_classical, self.theta_classical_sigma),
            *(self.rate_cph, self.rate_sigma_cph, self.temperature_c),
        )
        rows = zip(self.hour.tolist(), *columns, self.restart, self.quality, strict=True)
        return tuple(Window(*row) for row in rows)


Hour = TypeVar("Hour", int, Integers)


def phase_of(hour: Hour, phases: int) -> Hour:
    """Return the phase (state) of the window that ends at `hour`; a day has `phases` windows."""
    return hour % HOURS // (HOURS // phases)


def empty_bins(hours: int, n: int) -> Array:
    """Return hours without records, (hours, len(Bin), n)."""
    empty = np.zeros((hours, len(Bin), n))
    empty[:, Bin.T_MIN_C] = np.inf
    empty[:, Bin.T_MAX_C] = -np.inf
    return empty


def no_windows(n: int) -> Windows:
    """Return the windows of records that closed none."""
    none, integers = np.empty((0, n)), np.empty((0, n), dtype=np.int64)
    features = np.empty((0, n, len(FEATURES)))
    row = np.empty(0, dtype=np.int64)
    return Windows(row, features, *(none,) * 5, none > 0.0, integers, row)


def no_sums(n: int) -> Sums:
    """Return the sums of records that closed no window."""
    row, total = np.empty(0, dtype=np.int64), np.empty((0, len(Bin), n))
    return Sums(row, total, np.empty((0, n), dtype=np.bool_), row)


def join_sums(parts: Sequence[Sums]) -> Sums:
    """Join the sums of successive blocks."""
    names = ("hour", "total", "dark", "closed_by")
    return Sums(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def contributions(records: Block, count: Count, span_s: Array, out: Array) -> None:
    """Compute what each record adds to the bin of its hour.

    Parameters
    ----------
    records, count :
        As they came, and what joins the stream of their counts.
    span_s : (T, n) [s]
        Time that the record's rain, ET0 and temperature stand for.
    out : (T, len(Bin), n)
        Receives the result; no number of it is -0.0, so that added to 0.0 it keeps its bits.
    """
    usable, fields = count.usable, records.fields
    t = fields["temperature_c"]
    factor = _or_zero(count.factor, usable)
    out[:, Bin.LIVE_S] = _or_zero(fields["duration_s"], usable)
    counts = _or_zero(fields["counts"], usable) * factor + 0.0
    out[:, Bin.COUNTS] = counts
    np.multiply(counts, factor, out=out[:, Bin.VARIANCE])
    out[:, Bin.SHARED] = 0.0
    if count.gaps.size:
        out[:, Bin.SHARED, count.gaps] = counts[:, count.gaps] * count.error + 0.0
    for amount, total, seconds in (
        (fields["rain_mm"], Bin.RAIN_MM, Bin.RAIN_S),
        (fields["et0_mm"], Bin.ET0_MM, Bin.ET0_S),
        (t * span_s, Bin.TEMPERATURE, Bin.TEMPERATURE_S),
    ):
        known = np.isfinite(amount)
        np.add(_or_zero(amount, known), 0.0, out=out[:, total])
        out[:, seconds] = _or_zero(span_s, known)
    out[:, Bin.T_MIN_C] = t
    out[:, Bin.T_MAX_C] = t
    missing = np.isnan(t)
    if missing.any():
        out[:, Bin.T_MIN_C][missing] = np.inf
        out[:, Bin.T_MAX_C][missing] = -np.inf


def _or_zero(values: Array, where: Mask) -> Array:
    """Replace values by 0 where they do not count."""
    return values if where.all() else np.where(where, values, 0.0)


def add_to_bins(
    bins: Array, at: NDArray[np.intp], records: Block, count: Count, span_s: Array
) -> None:
    """Add records to their bins in place, one after the other.

    Parameters
    ----------
    bins : (hours, len(Bin), n)
        Filled up to that of the first record; those after it are new.
    at : (T,)
        Bin of each record, ascending.
    records, count, span_s :
        As of `contributions`.
    """
    first, size, n = int(at[0]), len(at), bins.shape[2]
    new = empty_bins(1, n)
    one_an_hour = int(at[-1]) - first == size - 1 and (size == 1 or bool((np.diff(at) == 1).all()))
    if one_an_hour and np.array_equal(bins[first], new[0]):  # each is the whole bin
        contributions(records, count, span_s, bins[first : first + size])
        bins[first + size :] = new
        return
    bins[first + 1 :] = new
    added = np.empty((size, len(Bin), n))
    contributions(records, count, span_s, added)
    rank = np.arange(size) - np.searchsorted(at, at)  # of the record in its hour
    for turn in range(int(rank.max(initial=-1)) + 1):
        rows = rank == turn
        hour, values = at[rows], added[rows]
        bins[hour, : Bin.T_MIN_C] += values[:, : Bin.T_MIN_C]
        bins[hour, Bin.T_MIN_C] = np.fmin(bins[hour, Bin.T_MIN_C], values[:, Bin.T_MIN_C])
        bins[hour, Bin.T_MAX_C] = np.fmax(bins[hour, Bin.T_MAX_C], values[:, Bin.T_MAX_C])


def sum_bins(bins: Array, first: NDArray[np.intp]) -> Array:
    """Sum the 24 bins of each of K windows, the oldest first; extremes are those of all.

    Parameters
    ----------
    bins : (hours, len(Bin), n)
        Hourly bins in the order of time.
    first : (K,)
        The oldest of the bins of each window, ascending.

    Returns
    -------
    (K, len(Bin), n)
    """
    days, begin = len(first), int(first[0])
    if days == 1 or (np.diff(first) == HOURS).all():
        parts = bins[begin : begin + HOURS * days].reshape(days, HOURS, *bins.shape[1:])
        total = np.empty((days, *bins.shape[1:]))
        np.add.reduce(parts[:, :, : Bin.T_MIN_C], axis=1, out=total[:, : Bin.T_MIN_C])
        np.minimum.reduce(parts[:, :, Bin.T_MIN_C], axis=1, out=total[:, Bin.T_MIN_C])
        np.maximum.reduce(parts[:, :, Bin.T_MAX_C], axis=1, out=total[:, Bin.T_MAX_C])
        return total
    total = bins[first]  # the same sums, in the same order
    for later in range(1, HOURS):
        after = bins[first + later]
        total[:, : Bin.T_MIN_C] += after[:, : Bin.T_MIN_C]
        for row, extreme in ((Bin.T_MIN_C, np.minimum), (Bin.T_MAX_C, np.maximum)):
            extreme(total[:, row], after[:, row], out=total[:, row])
    return total


def windows(site: Site, parts: Sums, held: Array) -> tuple[Windows, Array]:
    """Compute the features of K windows.

    Parameters
    ----------
    held : (phases, 2, n) [m3 m-3]
        Inversion and its sigma of each phase's last window that had counts; NaN before the first.

    Returns
    -------
    Windows, (phases, 2, n)
        The windows, and what the next window of each phase holds.
    """
    hour, sums, dark = parts.hour, parts.total, parts.dark
    rate, rate_sigma, theta, sigma, clipped = _inversion(site, sums)
    gap = sums[:, Bin.LIVE_S] < ENOUGH_S
    phase = phase_of(hour, len(held))
    before, after, held = _hold(held, phase, np.stack((theta, sigma), axis=1), gap, dark)
    shown = np.where(np.isnan(after), HELD_AT_START, after)
    rain_known = sums[:, Bin.RAIN_S] >= ENOUGH_S
    days, day = np.unique((hour - HOURS // 2) // HOURS, return_inverse=True)
    day_of_year = np.array([_day_of_year(d) for d in days.tolist()], dtype=np.float64)
    et0 = _et0(site, sums, day_of_year[day])
    et0_known = np.isfinite(et0)
    values = {
        "theta_inv": shown[:, 0],
        "theta_inv_sigma": shown[:, 1],
        "gap": gap,
        "rain_mm": np.where(rain_known, sums[:, Bin.RAIN_MM], 0.0),
        "rain_known": rain_known,
        "et0_mm": np.where(et0_known, et0, 0.0),
        "et0_known": et0_known,
    }
    features = np.empty((*gap.shape, len(FEATURES)))
    for name, value in values.items():
        features[..., _COLUMN[name]] = value
    for name, value in _place(site, gap.shape[1], day_of_year).items():
        features[..., _COLUMN[name]] = value[day] if value.ndim > 1 else value
    quality = np.where(gap, int(Quality.GAP), np.where(clipped, int(Quality.CLIPPED), 0))
    out = Windows(
        hour=hour,
        features=features,
        theta_classical=np.where(gap, np.nan, theta),
        theta_classical_sigma=np.where(gap, np.nan, sigma),
        rate_cph=np.where(gap, np.nan, rate),
        rate_sigma_cph=np.where(gap, np.nan, rate_sigma),
        temperature_c=_air_temperature(sums),
        restart=np.isnan(before[:, 0]),
        quality=quality.astype(np.int64),
        closed_by=parts.closed_by,
    )
    return out, held


def _hold(
    held: Array, phase: Integers, fresh: Array, gap: Mask, dark: Mask
) -> tuple[Array, Array, Array]:
    """Carry the last inversion of each phase through gaps.

    Parameters
    ----------
    held : (phases, 2, n)
    phase : (K,)
    fresh : (K, 2, n)
        Inversion and sigma of each window.
    gap, dark : (K, n)

    Returns
    -------
    (K, 2, n), (K, 2, n), (phases, 2, n)
        What is held before and after each window, and after the last of each phase.
    """
    gap, dark = np.broadcast_arrays(gap[:, None], dark[:, None], fresh)[:2]
    value = np.where(gap, np.nan, fresh)
    before, after, newest = np.empty_like(fresh), np.empty_like(fresh), held.copy()
    for one in np.unique(phase).tolist():
        rows = phase == one
        carried = carry(held[one], ~gap[rows] | dark[rows], value[rows])
        before[rows], after[rows] = carried[:-1], carried[1:]
        newest[one] = carried[-1]
    return np.where(dark, np.nan, before), after, newest


def _day_of_year(day: int) -> int:
    """Return the day of year, 1 to 366, of a day since 1970."""
    return datetime.datetime.fromtimestamp(day * DAY_S, datetime.UTC).timetuple().tm_yday


def _place(site: Site, n: int, day_of_year: Array) -> dict[str, Array]:
    """Compute the features of the site, each (n,), or (days, n) by the days of the year."""

    def sites(value: Floats) -> Array:
        return np.full(n, value, dtype=np.float64)

    with np.errstate(divide="ignore", invalid="ignore"):
        soil = {
            "soil_known": sites(site.soil_known),
            "soil_theta_r": sites(site.soil_theta_r) - LOAM_THETA_R,
            "soil_theta_s": sites(site.soil_theta_s) - LOAM_THETA_S,
            "soil_log_alpha": np.log10(sites(site.soil_alpha_per_cm) / LOAM_ALPHA_PER_CM),
            "soil_log_n": np.log10((sites(site.soil_n) - 1.0) / LOAM_N_LESS_1),
            "soil_log_ks": np.log10(sites(site.soil_ks_cm_d) / LOAM_KS_CM_D),
        }
    cover = {
        "cover_known": sites(site.cover_known),
        "cover_canopy": _canopy(site, n, day_of_year),
        "cover_root_depth_cm": sites(site.root_depth_cm),
        "cover_evaporation": sites(site.evaporation_share) - 1.0,
    }
    radiation = extraterrestrial_radiation(site.latitude_deg, day_of_year[:, None])
    return {
        "bulk_density_g_cm3": sites(site.bulk_density_g_cm3),
        "bound_water_g_g": sites(site.lattice_water_g_g) + sites(site.organic_water_g_g),
        "cosmic_n_sigma": sites(site.cosmic_n_sigma),
        **_whole("soil_known", soil),
        **_whole("cover_known", cover),
        "radiation_mm": each_site(np.where(np.isfinite(radiation), radiation, 0.0), n),
    }


def _canopy(site: Site, n: int, day_of_year: Array) -> Array:
    """Return the canopy's share of the ground on each day of the year, (days, n)."""
    canopy = np.asarray(site.canopy_cover, dtype=np.float64)
    if not canopy.ndim:
        return np.full((len(day_of_year), n), float(canopy))
    share = canopy[..., day_of_year.astype(np.intp) - 1]
    return each_site(share.reshape(-1, len(day_of_year)).T, n)


def _whole(flag: str, description: dict[str, Array]) -> dict[str, Array]:
    """Set a whole description with its flag to 0 where a part is unknown."""
    known = description[flag] > 0.0
    for value in description.values():
        known = known & np.isfinite(value)
    return {name: np.where(known, value, 0.0) for name, value in description.items()}


def _air_temperature(sums: Array) -> Array:
    """Return the mean air temperature of each day (K, n) [degC]; NaN: under 12 h of it."""
    warm_s = sums[:, Bin.TEMPERATURE_S]
    return np.asarray(sums[:, Bin.TEMPERATURE] / np.where(warm_s >= ENOUGH_S, warm_s, np.nan))


def _inversion(site: Site, sums: Array) -> tuple[Array, Array, Array, Array, Mask]:
    """Invert the mean rates of windows for a uniform soil: rate, error, theta, sigma, clipped."""
    live_s = sums[:, Bin.LIVE_S]
    live_h = np.where(live_s > 0.0, live_s, np.nan) / HOUR_S
    shared = sums[:, Bin.SHARED]
    rate = sums[:, Bin.COUNTS] / live_h
    rate_sigma = np.sqrt(sums[:, Bin.VARIANCE] + shared * shared) / live_h
    theta, slope = response_inversion(rate, site)
    sigma = np.fmin(rate_sigma / np.abs(slope), SIGMA_MAX)
    return rate, rate_sigma, theta, sigma, (theta <= 0.0) | (theta >= THETA_MAX)


def _et0(site: Site, sums: Array, day_of_year: Array) -> Array:
    """Return ET0 of each day (K, n): as given, else by Hargreaves, else NaN."""
    given_s, warm_s = sums[:, Bin.ET0_S], sums[:, Bin.TEMPERATURE_S]
    given_s = np.where(given_s >= ENOUGH_S, given_s, np.nan)
    given = sums[:, Bin.ET0_MM] * (HOURS * HOUR_S / given_s)
    warm_s = np.where(warm_s >= ENOUGH_S, warm_s, np.nan)
    by_temperature = hargreaves_et0(
        _air_temperature(sums),
        np.where(np.isnan(warm_s), np.nan, sums[:, Bin.T_MIN_C]),
        np.where(np.isnan(warm_s), np.nan, sums[:, Bin.T_MAX_C]),
        site.latitude_deg,
        day_of_year[:, None],
    )
    return np.where(np.isfinite(given), given, by_temperature)
