"""Calibrate a detector from soil samples and write the tables for its station.toml."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import Bundle, open_bundle
from epithermal_edge.physics.desilets import desilets_theta
from epithermal_edge.physics.uts import uts_theta
from epithermal_edge.records import Quality, RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import DAY_S, HOUR_S
from epithermal_host.arrays import Array
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.evaluation.methods import DESILETS, NETWORK, OWN_N, UTS, inversion_by
from epithermal_host.field import calibrate_plot, calibrate_text
from epithermal_host.field.calibration_fit import (
    HISTORY_D,
    USUAL_HUMIDITY_G_M3,
    Calibration,
    Day,
    Fit,
    extra_hydrogen,
    fit,
    fits,
    response_fits,
    response_shape,
    station_sigma,
)
from epithermal_host.field.days import begin_s, day_window_end_s
from epithermal_host.field.network_n import (
    NEAR,
    NetworkFit,
    Streamed,
    candidates,
    crossing,
    network_fit,
    stream,
)
from epithermal_host.field.remarks import (
    SiteRecords,
    check_soil,
    check_theta,
    corrected_shares,
    describe_shares,
    warn_of_shares,
)
from epithermal_host.field.sampled_counts import Mean, corrected, daily, mean_over
from epithermal_host.field.samples import Campaign, read_campaigns
from epithermal_host.field.series import BEFORE_SAMPLING_S, raw_records
from epithermal_host.field.site_toml import SiteFile, read_site
from epithermal_host.field.weighted_mean import field_mean
from epithermal_host.simulation.known_site import PROFILE_SIGMA

PICTURE, DATA, BLOCK = "calibration.png", "calibration.json", "site-calibrated.toml"
AFTER_D = 270.0  # days after the last sampling day in the picture
WARNINGS = {
    Quality.HUMIDITY_MISSING: "air humidity missing: f_h is 1",
    Quality.INCOMING_MISSING: "incoming intensity missing: f_i is 1",
    Quality.INCOMING_HELD: "a last value of the incoming intensity was held",
}


def run(
    path: Path,
    bundle_path: Path | None = None,
    out: Path | None = None,
    *,
    extra: bool = False,
    runtime_name: str | None = None,
) -> tuple[Calibration, Path]:
    """Calibrate a site; write calibration.json, a picture and the tables for station.toml.

    Parameters
    ----------
    path :
        site.toml with [sampling], see docs/field.md.
    bundle_path :
        Also fit the N with which this bundle's network reproduces the samples.
    out :
        Output folder; default: calibration-SITE in the working folder.
    extra :
        Add the fitted extra hydrogen to the tables, if the days support it.

    Raises
    ------
    ConfigError
        The site file has errors, has no usable samples, or no sampling day has counts.
    SourceError
        A file cannot be read.
    BundleError
        The bundle is damaged or no runtime can run it.
    """
    site_file = read_site(path)
    bundle = open_bundle(bundle_path) if bundle_path else None
    campaigns = read_campaigns(site_file)
    read = raw_records(site_file)
    result = calibrate(site_file, campaigns, read, bundle, extra=extra, runtime_name=runtime_name)
    out = out or Path(f"calibration-{site_file.name}")
    write_atomic(out / PICTURE, calibrate_plot.picture(result))
    write_json(out / DATA, calibrate_text.as_json(result))
    write_atomic(out / BLOCK, calibrate_text.block(result).encode("utf-8"))
    return result, out


def calibrate(
    site_file: SiteFile,
    campaigns: Sequence[Campaign],
    read: SiteRecords,
    bundle: Bundle | None = None,
    *,
    extra: bool = False,
    runtime_name: str | None = None,
) -> Calibration:
    """Calibrate a site without writing files; parameters and errors as for `run`."""
    records = read.records
    days, notes = sampling_days(site_file, campaigns, records)
    notes += [*read.notes, *check_soil(site_file)]
    methods, site = fits(site_file.site, days), site_file.site
    name, n_days = inversion_by(str(site.response)), np.array([d.counts.n_cph for d in days])
    own = fit(name, response_shape(site), n_days, days)
    more = extra_hydrogen(site, days, own)
    if extra and more.reason:
        notes.append(f"extra hydrogen is not used: {more.reason}")
    elif extra:
        organic = float(site.organic_water_g_g) + more.water_g_g
        site = dataclasses.replace(site, organic_water_g_g=organic)
        own = fit(name, response_shape(site), n_days, days)
    sigma = station_sigma(site, own, days, PROFILE_SIGMA)
    site = dataclasses.replace(site, cosmic_n_cph=own.n_cph, cosmic_n_sigma=sigma)
    network, streamed = _streamed(site_file, site, days, records, bundle, runtime_name)
    if network is not None and not network.reason:
        site = dataclasses.replace(site, cosmic_n_cph=network.n_cph)
    if network is not None and bundle is not None:
        notes += _network_notes(network, bundle.spin_up_steps)
    shares = corrected_shares(site_file, streamed.corrected.quality)
    notes += [describe_shares(shares)] if warn_of_shares(shares) else []
    n_cph, theta = _series(site_file.site, methods, streamed, network)
    notes += _given_scale(site_file, own.n_cph)
    notes += check_theta(streamed.inversion[0], float(site.bulk_density_g_cm3))
    return Calibration(
        site_file=site_file,
        site=site,
        days=tuple(days),
        fits=methods,
        responses=response_fits(site_file.site, days),
        extra=more,
        extra_used=extra and not more.reason,
        bundle=bundle,
        cosmic_n_cph=own.n_cph,
        network=network,
        notes=tuple(notes),
        day_end_s=streamed.day_end_s,
        n_cph=n_cph,
        theta=theta,
    )


def _given_scale(site_file: SiteFile, n_cph: float) -> list[str]:
    """Compare the scale of the site file, which is not used here, with that of the samples."""
    if site_file.n_cph is None:
        return []
    return [
        f"the site file has a scale of {site_file.n_cph:.1f} +- {100.0 * site_file.n_sigma:.1f} %; "
        f"the samples give {n_cph:.1f} ({n_cph / site_file.n_cph - 1.0:+.1%})"
    ]


def _network_notes(network: NetworkFit, spin_up: int) -> list[str]:
    """Describe why the network gives no N, and that it had not run for its spin-up [d]."""
    notes = [f"the network gives no N: {network.reason}"] if network.reason else []
    if min(network.age_d) < spin_up:
        notes.append(
            f"the network had run for {min(network.age_d)} days at the first sampling; "
            f"its spin-up takes {spin_up} days"
        )
    return notes


def sampling_days(
    site_file: SiteFile, campaigns: Sequence[Campaign], records: Sequence[RawRecord]
) -> tuple[list[Day], list[str]]:
    """Combine samples and counts of each day that has both; note missing and doubtful data.

    Raises
    ------
    ConfigError
        No day has counts.
    """
    site, days, notes, missing = site_file.site, [], [], []
    bound = float(site.lattice_water_g_g) + float(site.organic_water_g_g)
    for campaign in campaigns:
        begin, end = count_time(site_file, campaign.day)
        near = [r for r in records if begin - BEFORE_SAMPLING_S < r.end_s <= end]
        mean = mean_over(corrected(site, near), begin, end)
        if mean.live_s < 0.5 * (end - begin):
            missing.append(_missing_counts(campaign.day, mean, (begin, end), records))
            continue
        notes += [f"{campaign.day}: {note}" for note in campaign.notes]
        notes += [] if site_file.records.corrected else _quality_notes(campaign.day, mean)
        humidity = mean.humidity_g_m3
        sampled = field_mean(
            campaign,
            float(site.bulk_density_g_cm3),
            bound,
            mean.pressure_hpa,
            humidity if math.isfinite(humidity) else USUAL_HUMIDITY_G_M3,
            crop_height_m=0.0 if site_file.sampling is None else site_file.sampling.crop_height_m,
        )
        if sampled.assumed:
            notes.append(
                f"{campaign.day}: no error can be computed from the samples; "
                f"{sampled.sigma:g} m3/m3 is assumed"
            )
        days.append(Day(sampled, mean))
    if not days:
        raise ConfigError(*(f"{site_file.path}: {fault}" for fault in missing))
    if site_file.records.corrected:
        notes.append("the records are already corrected: N is valid for counts so corrected")
    return days, [f"{fault}; omitted" for fault in missing] + notes


def count_time(site_file: SiteFile, day: str) -> tuple[float, float]:
    """Return start and end of the counts that belong to a day's samples [s, UTC]."""
    hours = site_file.sampling.hours if site_file.sampling else None
    if hours is None:
        end = day_window_end_s(site_file, day)
        return end - DAY_S, end
    return begin_s(day) + hours[0] * HOUR_S, begin_s(day) + hours[1] * HOUR_S


def _missing_counts(
    day: str, mean: Mean, span: tuple[float, float], records: Sequence[RawRecord]
) -> str:
    first, last = (
        datetime.datetime.fromtimestamp(s, datetime.UTC).strftime("%Y-%m-%d")
        for s in (records[0].end_s, records[-1].end_s)
    )
    hours = (span[1] - span[0]) / HOUR_S
    return (
        f"sampling day {day}: {mean.live_s / HOUR_S:.1f} h of usable counts in {hours:g} h; "
        f"the records cover {first} to {last}"
    )


def _quality_notes(day: str, mean: Mean) -> list[str]:
    return [f"{day}: {text}" for flag, text in WARNINGS.items() if mean.quality & flag]


def _streamed(
    site_file: SiteFile,
    site: Site,
    days: Sequence[Day],
    records: Sequence[RawRecord],
    bundle: Bundle | None,
    runtime_name: str | None,
) -> tuple[NetworkFit | None, Streamed]:
    """Fit N by the network, if a bundle is given; run the whole season with the fitted N."""
    ends = np.array([day_window_end_s(site_file, d.sampled.day) for d in days])
    first, last = float(ends.min()), float(ends.max())
    recent = [r for r in records if first - HISTORY_D * DAY_S < r.end_s <= last + AFTER_D * DAY_S]
    hour, classical = site_file.day_ends_utc_h, float(site.cosmic_n_cph)
    if bundle is None:
        return None, stream(site, np.array([classical]), recent, hour, None)
    until = [r for r in recent if r.end_s <= last]
    coarse = stream(site, candidates(classical), until, hour, bundle, runtime_name)
    theta = np.array([d.sampled.theta_0_30 for d in days])
    sigma = np.array([d.sampled.sigma for d in days])
    network = network_fit(coarse, ends, theta, sigma)
    n = np.array([classical]) if network.reason else np.append(classical, network.n_cph * NEAR)
    fine = stream(site, n, recent, hour, bundle, runtime_name)
    if not network.reason:
        estimates = fine.theta[1:, np.searchsorted(fine.day_end_s, ends)]
        misfit = (estimates - theta) @ (sigma**-2.0 / np.sum(sigma**-2.0))
        exact = crossing(n[1:], misfit, network.n_cph)
        if math.isfinite(exact):
            at = tuple(float(np.interp(exact, n[1:], column)) for column in estimates.T)
            network = dataclasses.replace(network, n_cph=exact, fitted=at)
    return network, fine


def _series(
    site: Site, methods: Sequence[Fit], streamed: Streamed, network: NetworkFit | None
) -> tuple[Array, dict[str, Array]]:
    """Compute the corrected counts of each day and the estimate of each method."""
    n, humid, vapour = daily(streamed.corrected, streamed.day_end_s)
    bound = float(site.lattice_water_g_g) + float(site.organic_water_g_g)
    density, scale = float(site.bulk_density_g_cm3), {f.method: f.n_cph for f in methods}
    theta = {
        DESILETS: desilets_theta(n, scale[DESILETS], density, bound),
        UTS: uts_theta(humid, vapour, scale[UTS], bound, density),
        inversion_by(str(site.response)): streamed.inversion[0],
    }
    if network is not None:
        theta[NETWORK] = streamed.theta[0]
        if not network.reason:
            theta[OWN_N] = streamed.theta[2]
    return n, {name: values for name, values in theta.items() if np.isfinite(values).any()}
