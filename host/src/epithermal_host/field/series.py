"""Run a real site's records through the station's pipeline and align probes and samples with them.

The station's reader reads the records and `epithermal_edge.inference.pipeline` computes the
features.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference import snow
from epithermal_edge.inference.features import HOURS, Window, Windows
from epithermal_edge.inference.snow import SnowRule
from epithermal_edge.loggers.files import read_records
from epithermal_edge.physics.response import response_rate
from epithermal_edge.records import NAN, Estimate, Quality, RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import DAY_S, HOUR_S
from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.config.instrument import SAMPLING_SIGMA
from epithermal_host.field.days import (
    daily_mean,
    date_of,
    day_window_end_s,
    fill_columns,
    nanmean_rows,
)
from epithermal_host.field.neutron_monitor import counts_at
from epithermal_host.field.remarks import (
    DRIEST_THETA,
    Shares,
    SiteRecords,
    check_biomass,
    check_depths,
    check_records,
    corrected_shares,
    describe_reading,
    warn_of_shares,
)
from epithermal_host.field.sampled_counts import corrected, mean_over, passed
from epithermal_host.field.samples import PROBES_AS_SAMPLES, read_campaigns
from epithermal_host.field.site_toml import Biomass, Probe, Rain, SiteFile
from epithermal_host.simulation.known_site import calibration_sigma
from epithermal_host.tables.quantities import (
    BIOMASS,
    SOIL_TEMPERATURE,
    THETA,
    is_too_dry,
    rain_amount,
)
from epithermal_host.tables.table import read_table

log = logging.getLogger(__name__)

UNKNOWN_MAX = 0.1  # share of days without soil temperature or monitor that is not reported
BEFORE_SAMPLING_S = 2 * DAY_S  # records before the sampling day, for the last humidity held


@dataclass(frozen=True, slots=True, eq=False)
class SnowDays:
    """Snow on the days of a series."""

    snow: Mask  # (T,) flagged at the day's end
    swe_mm: Array  # (T,) snow water equivalent by COSMIC above the held inversion; NaN: unknown
    swe_p05_mm: Array  # (T,) its 5 to 95 % interval; NaN: no limit
    swe_p95_mm: Array  # (T,)


@dataclass(frozen=True, slots=True, eq=False)
class FieldSeries:
    """Daily series of one site; NaN: no value."""

    name: str
    day_end_s: Array  # (T,) Unix time of the window's end [s, UTC]
    features: Array  # (T, F) the station's, physical units
    restart: Mask  # (T,) the station's state is reset before this window
    theta_classical: Array  # (T,) inversion by the response of the site [m3 m-3]
    truth: Array  # (T,) 0-30 cm by the probes, mean over the window [m3 m-3]
    judged: Mask  # (T,) evaluated: in season, warm soil, no snow, monitor without fault
    snow: SnowDays  # by the first N
    cosmic_n_cph: float  # from the sampling day, or given
    sampling_end_s: float  # end of that day's window [s, UTC]; NaN: no samples
    sampled_theta: float  # field mean of that day [m3 m-3]
    shares: Shares  # of the hours that are corrected
    notes: tuple[str, ...]  # what was noticed while the records were read and corrected


def load(site_file: SiteFile, cosmic_n_cph: float | None = None) -> FieldSeries:
    """Load the daily series with which estimates at a site are evaluated.

    Parameters
    ----------
    site_file :
        Description of the site.
    cosmic_n_cph :
        Scale of the site's response [counts h-1]; None: that of the site file, else from the one
        sampling day.

    Raises
    ------
    ConfigError
        A file lacks a column that the site file names, or there are no samples to calibrate on.
    SourceError
        A file cannot be read.
    """
    read = raw_records(site_file)
    if cosmic_n_cph is None:
        cosmic_n_cph = site_file.n_cph
    if cosmic_n_cph is None:
        cosmic_n_cph = calibrated_n(site_file, read.records, *sample_day(site_file))
    return load_each(site_file, np.array([cosmic_n_cph]), read)[0]


def load_each(site_file: SiteFile, n_cph: Array, read: SiteRecords) -> tuple[FieldSeries, ...]:
    """Load the series for each of several N (k,) [counts h-1] from the output of `raw_records`."""
    end_s, theta = (NAN, NAN) if site_file.sampling is None else sample_day(site_file)
    site = known_site(site_file, theta, n_cph)
    windows, quality = daily_windows(site, read.records, site_file.day_ends_utc_h, n_cph.size)
    shares = corrected_shares(site_file, quality)
    day_end_s = np.array([w.hour * HOUR_S for w in windows])
    features = np.stack([w.features for w in windows], axis=1)
    theta_classical = np.stack([w.theta_classical for w in windows], axis=1)
    alone = known_site(site_file, theta, n_cph[:1])
    cover = snow_days(_one(alone), site_file.snow, read.records, day_end_s)
    first = FieldSeries(
        name=site_file.name,
        day_end_s=day_end_s,
        features=features[0],
        restart=np.array([w.restart[0] for w in windows]),
        theta_classical=theta_classical[0],
        truth=probe_mean(site_file, day_end_s),
        judged=judged_days(site_file, day_end_s, read.faulty_s) & ~cover.snow,
        snow=cover,
        cosmic_n_cph=float(n_cph[0]),
        sampling_end_s=end_s,
        sampled_theta=theta,
        shares=shares,
        notes=(*read.notes, *warn_of_shares(shares), *_of_probes(site_file)),
    )
    return tuple(
        dataclasses.replace(first, features=x, theta_classical=inverted, cosmic_n_cph=n)
        for x, inverted, n in zip(features, theta_classical, n_cph.tolist(), strict=True)
    )


def _one(site: Site) -> Site:
    """Return the one site of arrays (1,) with floats instead."""
    scale, sigma = np.asarray(site.cosmic_n_cph), np.asarray(site.cosmic_n_sigma)
    return dataclasses.replace(
        site, cosmic_n_cph=float(scale.item()), cosmic_n_sigma=float(sigma.item())
    )


def snow_days(
    site: Site, rule: SnowRule | None, records: Iterable[RawRecord], day_end_s: Array
) -> SnowDays:
    """Flag days of snow by the counts and the air of each hour, as a station does.

    Parameters
    ----------
    site :
        One site, calibrated.
    rule :
        None: snow is not looked for.
    day_end_s : (T,) [s, UTC]

    Notes
    -----
    What is held is the inversion, not the network's estimate, which the flag does not depend on.
    """
    nothing = (np.full(day_end_s.size, np.nan) for _ in range(3))
    days = SnowDays(np.zeros(day_end_s.size, dtype=bool), *nothing)
    if rule is None:
        return days
    place = {round(end / HOUR_S): i for i, end in enumerate(day_end_s.tolist())}
    state = snow.start()
    for _, _, windows in passed(site, records, 1, HOURS):
        state, held = snow.hold(rule, site, state, windows, _inversions(windows), HOURS)
        for hour, estimate in zip(windows.hour.tolist(), held, strict=True):
            if estimate.quality & Quality.SNOW and hour in place:
                days.snow[place[hour]] = True
                for name in ("swe_mm", "swe_p05_mm", "swe_p95_mm"):
                    getattr(days, name)[place[hour]] = getattr(estimate, name)
    return days


def _inversions(windows: Windows) -> list[Estimate]:
    """Return windows with their inversion in the place of an estimate."""
    columns = (windows.theta_classical, windows.theta_classical_sigma, windows.quality)
    rows = zip(windows.hour.tolist(), *(c[:, 0].tolist() for c in columns), strict=True)
    return [
        Estimate(
            hour * HOUR_S, theta, sigma, *(NAN,) * 3, theta, sigma, NAN, NAN, 0, Quality(flags)
        )
        for hour, theta, sigma, flags in rows
    ]


def describe_snow(days: SnowDays, day_end_s: Array) -> str:
    """Describe the snow of a series in words: its days and the largest water equivalent."""
    if not days.snow.any():
        return "no day with snow"
    count = int(days.snow.sum())
    text = f"{count} {'day' if count == 1 else 'days'} with snow, not evaluated"
    if not np.isfinite(days.swe_mm).any():
        return text
    most = int(np.nanargmax(days.swe_mm))
    when = date_of(day_end_s[most])
    return f"{text}; at most {days.swe_mm[most]:.0f} mm of water by COSMIC, on {when}"


def _of_probes(site_file: SiteFile) -> tuple[str, ...]:
    if site_file.sampling is None or site_file.sampling.kind != "probes":
        return ()
    return (PROBES_AS_SAMPLES,)


def known_site(site_file: SiteFile, theta: float, n_cph: Array) -> Site:
    """Set N [counts h-1] of a site and its standard error, given or from one day's samples."""
    site = dataclasses.replace(site_file.site, cosmic_n_cph=n_cph)
    if site_file.n_cph is not None:
        return dataclasses.replace(site, cosmic_n_sigma=site_file.n_sigma)
    if not math.isfinite(theta):
        return site
    sigma = calibration_sigma(site, np.array([theta]), SAMPLING_SIGMA)
    return dataclasses.replace(site, cosmic_n_sigma=sigma)


def raw_records(site_file: SiteFile) -> SiteRecords:
    """Read the detector's records and add rain and monitor; find faults of the monitor."""
    source = site_file.records
    result = read_records(source.paths, source.dialect, source.options)
    records = result.records
    end_s = np.array([r.end_s for r in records])
    changes: dict[str, Array] = {}
    faulty_s = np.empty((0, 2))
    if site_file.rain is not None:
        changes["rain_mm"] = _rain(site_file.rain, records)
    if site_file.incoming is not None:
        changes["incoming"], faulty_s = counts_at(site_file.incoming, end_s)
    biomass = np.full(end_s.size, np.nan)
    if site_file.biomass is not None:
        biomass = biomass_over_time(site_file.biomass, end_s)
    if source.corrected:  # the reference atmosphere, in which every factor is 1
        changes["pressure_hpa"] = np.full(end_s.size, float(site_file.site.pressure_ref_hpa))
    columns = {name: values.tolist() for name, values in changes.items()}
    out = [
        dataclasses.replace(record, **{name: values[i] for name, values in columns.items()})
        for i, record in enumerate(records)
    ]
    if site_file.biomass is not None:
        out = [_with_biomass(r, value) for r, value in zip(out, biomass.tolist(), strict=True)]
    notes = (*describe_reading(result), *check_records(site_file, out))
    notes += check_biomass(site_file, biomass)
    return SiteRecords(out, faulty_s, notes)


def daily_windows(
    site: Site, records: Iterable[RawRecord], day_ends_utc_h: int, n: int = 1
) -> tuple[list[Window], Integers]:
    """Compute one window per day, for n sites with the same counts, from the first counts on.

    Returns
    -------
    list of Window, (k,)
        The windows, and the flags of each corrected record of the first site.
    """
    phases = 24 // math.gcd(24, day_ends_utc_h)  # fewest phases that include this hour
    windows: list[Window] = []
    flags: list[int] = []
    for _, output, closed in passed(site, records, n, phases):
        flags += output.quality[:, 0].tolist()
        windows += [w for w in closed.each() if w.hour % 24 == day_ends_utc_h]
    return from_first_counts(windows), np.array(flags, dtype=np.int64)


def from_first_counts(windows: list[Window]) -> list[Window]:
    """Drop the windows before the first that has counts."""
    sound = [i for i, w in enumerate(windows) if not w.restart[0]]
    return windows[max(sound[0] - 1, 0) :] if sound else windows


def calibrated_n(
    site_file: SiteFile, records: Sequence[RawRecord], end_s: float, theta: float
) -> float:
    """Compute the scale with which the counts of the sampling day give the sampled mean.

    Parameters
    ----------
    records :
        Output of `raw_records`.
    end_s : [s, UTC]
        End of the sampling day's window.
    theta : [m3 m-3]
        Field mean of the samples.

    Raises
    ------
    ConfigError
        No samples, or no counts on that day.
    """
    if math.isnan(theta):
        raise ConfigError(f"{site_file.path}: no [sampling] to calibrate on; add it, or specify N")
    first_s = end_s - DAY_S
    near = [r for r in records if first_s - BEFORE_SAMPLING_S < r.end_s <= end_s]
    mean = mean_over(corrected(site_file.site, near), first_s, end_s)
    if mean.live_s < 0.5 * DAY_S:
        day = datetime.datetime.fromtimestamp(first_s, datetime.UTC).date()
        raise ConfigError(f"{site_file.path}: too few counts on the sampling day {day}")
    unit = dataclasses.replace(site_file.site, cosmic_n_cph=1.0)
    return mean.n_cph / float(response_rate(np.array([theta]), unit)[0])


def sample_day(site_file: SiteFile) -> tuple[float, float]:
    """Return the end of the sampling day's window [s, UTC] and its field mean [m3 m-3].

    Raises
    ------
    ConfigError
        The file has no samples of that day.
    """
    if site_file.sampling is None:
        raise ConfigError(f"{site_file.path}: no [sampling]; add the table")
    campaigns = read_campaigns(site_file)
    day = site_file.sampling.day or campaigns[0].day
    campaign = next(c for c in campaigns if c.day == day)
    end_s = day_window_end_s(site_file, day)
    if site_file.sampling.kind == "probes":
        return end_s, float(probe_mean(site_file, np.array([end_s]))[0])
    return end_s, float(campaign.theta.mean())


def probe_mean(site_file: SiteFile, day_end_s: Array) -> Array:
    """Compute the weighted mean of the probes over each window, (T,) [m3 m-3].

    NaN if any depth has no value.
    """
    total, weights = np.zeros(day_end_s.size), 0.0
    means: list[float] = []
    for probe in site_file.probes:
        time_s, values = read_table(probe.file, probe.columns, THETA)
        means += _warn_of_probes(probe, values)
        total += probe.weight * daily_mean(time_s, nanmean_rows(fill_columns(values)), day_end_s)
        weights += probe.weight
    for text in check_depths(means):
        log.warning("note: %s: %s", site_file.path, text)
    return total / weights if weights else np.full(day_end_s.size, np.nan)


def _warn_of_probes(probe: Probe, values: Array) -> list[float]:
    """Log which columns have no value or the mean of no soil; return their means [m3 m-3]."""
    means = []
    for name, column in zip(probe.columns, values.T, strict=True):
        mean = float(np.nanmean(column)) if np.isfinite(column).any() else NAN
        if math.isnan(mean):
            log.warning("note: %s: %s: no cell has a value", probe.file.path, name)
        elif mean < DRIEST_THETA:
            log.warning("note: %s: %s: the mean of %.3g m3/m3 is drier than soil in the field; in "
                        "another unit?", probe.file.path, name, mean)  # fmt: skip
        zeros = int(np.sum(column == 0.0))
        if zeros:
            log.warning("note: %s: %s: %d of %d cells are 0: a code for no value? set missing",
                        probe.file.path, name, zeros, column.size)  # fmt: skip
        means.append(mean)
    return means


def judged_days(site_file: SiteFile, day_end_s: Array, faulty_s: Array) -> Mask:
    """Select the days to evaluate: in season, warm soil, intensity monitor without fault."""
    middle = (day_end_s - 0.5 * DAY_S).astype("datetime64[s]").astype("datetime64[M]")
    month = middle.astype(np.int64) % 12 + 1
    first, last = site_file.season
    judged = (month >= first) & (month <= last)
    if first > last:
        judged = (month >= first) | (month <= last)
    warm = site_file.soil_temperature
    if warm is not None:
        time_s, values = read_table(warm.file, (warm.column,), SOIL_TEMPERATURE)
        soil_c = daily_mean(time_s, values[:, 0], day_end_s)
        unknown = int(np.isnan(soil_c).sum())
        if unknown > UNKNOWN_MAX * soil_c.size:
            log.warning("note: %s: %s: unknown on %d of %d days, which are not evaluated",
                        warm.file.path, warm.column, unknown, soil_c.size)  # fmt: skip
        judged &= soil_c > warm.least_c
    sound = np.ones(day_end_s.size, dtype=bool)
    for begin, end in faulty_s:
        sound &= (day_end_s <= begin) | (day_end_s - DAY_S >= end)
    faulty = int(np.sum(~sound))
    if faulty > UNKNOWN_MAX * sound.size and site_file.incoming is not None:
        log.warning("note: %s: the monitor is stuck or drops on %d of %d days, which are not "
                    "evaluated", site_file.incoming.file.path, faulty, sound.size)  # fmt: skip
    return np.asarray(judged & sound, dtype=bool)


def _rain(rain: Rain, records: Sequence[RawRecord]) -> Array:
    """Distribute rain amounts evenly over their period, for each record [mm]; NaN: unknown."""
    time_s, values = read_table(rain.file, rain.columns, rain_amount(rain.interval_h))
    known = np.isfinite(values)
    amount = np.where(known.any(axis=1), np.where(known, values, 0.0).sum(axis=1), np.nan)
    _check_year(rain, amount)
    span_s = rain.interval_h * HOUR_S
    ends = time_s + rain.end_h * HOUR_S
    end_s = np.array([r.end_s for r in records])
    step_s = np.diff(end_s, prepend=end_s[0] - np.median(np.diff(end_s)))
    i = np.searchsorted(ends, end_s - 0.5 * step_s)
    inside = (i < ends.size) & (end_s - 0.5 * step_s > ends[np.minimum(i, ends.size - 1)] - span_s)
    rate = amount[np.minimum(i, ends.size - 1)] / span_s
    return np.where(inside, rate * np.minimum(step_s, span_s), np.nan)


def biomass_over_time(biomass: Biomass, end_s: Array) -> Array:
    """Interpolate biomass linearly between its dates, (T,) [kg m-2]; NaN before and after them.

    Raises
    ------
    ConfigError
        No cell of the column has a value.
    SourceError
        The file cannot be read.
    """
    time_s, values = read_table(biomass.file, (biomass.column,), BIOMASS)
    known = np.isfinite(values[:, 0])
    if not known.any():
        raise ConfigError(f"{biomass.file.path}: {biomass.column}: no cell has a value")
    found = np.interp(end_s, time_s[known], values[known, 0], left=np.nan, right=np.nan)
    return np.asarray(found)


def biomass_by_date(biomass: Biomass) -> dict[str, float]:
    """Average biomass over the years on the 1st and 15th of each month, "MM-DD" to [kg m-2].

    Dates without a value in any year are left out; if all are, the result is one date.
    """
    time_s, values = read_table(biomass.file, (biomass.column,), BIOMASS)
    known = np.isfinite(values[:, 0])
    begin, end = (datetime.datetime.fromtimestamp(t, datetime.UTC).year
                  for t in (time_s[known].min(), time_s[known].max()))  # fmt: skip
    points = {}
    for month, day in ((month, day) for month in range(1, 13) for day in (1, 15)):
        noons = [datetime.datetime(year, month, day, 12, tzinfo=datetime.UTC)
                 for year in range(begin, end + 1)]  # fmt: skip
        over_years = biomass_over_time(biomass, np.array([noon.timestamp() for noon in noons]))
        if np.isfinite(over_years).any():
            points[f"{month:02}-{day:02}"] = round(float(np.nanmean(over_years)), 2)
    return points or {"07-01": round(float(values[known, 0].mean()), 2)}


def _with_biomass(record: RawRecord, biomass_kg_m2: float) -> RawRecord:
    """Add the biomass of the file to a record; where the file has none, keep the record's own."""
    if math.isnan(biomass_kg_m2):
        return record
    channels = {**record.channels, "biomass_kg_m2": biomass_kg_m2}
    return dataclasses.replace(record, channels=channels)


def _check_year(rain: Rain, amount: Array) -> None:
    """Refuse rain that amounts to a driest desert's, which is usually in another unit."""
    known = amount[np.isfinite(amount)]
    days, total_mm = known.size * rain.interval_h / 24.0, float(known.sum())
    if is_too_dry(total_mm, days):
        raise ConfigError(
            f"{rain.file.path}: {' + '.join(rain.columns)}: {total_mm:.3g} mm in {days:.0f} days; "
            "in m or inches? mm is wanted, as in 'rain * 25.4'"
        )
