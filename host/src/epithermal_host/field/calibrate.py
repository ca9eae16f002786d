"""`epithermal-host calibrate`: a detector's scale from soil samples, as its station takes it."""

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
from epithermal_host.evaluation.methods import COSMIC, DESILETS, NETWORK, OWN_N, UTS
from epithermal_host.field import calibrate_plot, calibrate_text
from epithermal_host.field.calibration import HISTORY_D, USUAL_HUMIDITY_G_M3, Calibration
from epithermal_host.field.calibration_fit import (
    Day,
    Fit,
    cosmic_shape,
    extra_hydrogen,
    fit,
    fits,
    station_sigma,
)
from epithermal_host.field.network_n import (
    NEAR,
    NetworkFit,
    Streamed,
    candidates,
    crossing,
    network_fit,
    stream,
)
from epithermal_host.field.sampled_counts import Mean, corrected, daily, mean_over
from epithermal_host.field.samples import Campaign, begin_s, read_campaigns
from epithermal_host.field.series import BEFORE_SAMPLING_S, day_window_end_s, raw_records
from epithermal_host.field.site_toml import SiteFile, read_site
from epithermal_host.field.weighted_mean import field_mean
from epithermal_host.simulation.known_site import PROFILE_SIGMA

PICTURE, DATA, BLOCK = "calibration.png", "calibration.json", "site-calibrated.toml"
AFTER_D = 270.0  # after the last: the rest of the season, for the picture
DOUBTS = {
    Quality.HUMIDITY_MISSING: "no humidity of the air: f_h is 1",
    Quality.INCOMING_MISSING: "no intensity of the neutron monitor: f_i is 1",
    Quality.INCOMING_HELD: "intensity of the neutron monitor is an older one in part",
}


def run(
    path: Path,
    bundle_path: Path | None = None,
    out: Path | None = None,
    *,
    extra: bool = False,
    runtime_name: str | None = None,
) -> tuple[Calibration, Path]:
    """Calibrate a site; write calibration.json, a picture and the station's block of TOML.

    Parameters
    ----------
    path :
        site.toml with [sampling], docs/field.md.
    bundle_path :
        Also the N by which this bundle's network says what the samples say.
    out :
        Folder; calibration-SITE here by default.
    extra :
        Put COSMIC's extra hydrogen into the block, where the days support it.

    Raises
    ------
    ConfigError
        A faulty site file, no usable samples, or no counts on any sampling day.
    SourceError
        A file cannot be read.
    BundleError
        The bundle is damaged or no runtime runs it.
    """
    site_file = read_site(path)
    bundle = open_bundle(bundle_path) if bundle_path else None
    campaigns = read_campaigns(site_file)
    records, _ = raw_records(site_file)
    made = calibrate(site_file, campaigns, records, bundle, extra=extra, runtime_name=runtime_name)
    out = out or Path(f"calibration-{site_file.name}")
    write_atomic(out / PICTURE, calibrate_plot.picture(made))
    write_json(out / DATA, calibrate_text.as_json(made))
    write_atomic(out / BLOCK, calibrate_text.block(made).encode("utf-8"))
    return made, out


def calibrate(
    site_file: SiteFile,
    campaigns: Sequence[Campaign],
    records: Sequence[RawRecord],
    bundle: Bundle | None = None,
    *,
    extra: bool = False,
    runtime_name: str | None = None,
) -> Calibration:
    """The same without files."""
    days, notes = sampling_days(site_file, campaigns, records)
    found, site = fits(site_file.site, days), site_file.site
    more = extra_hydrogen(site, days, found[-1])
    if extra and more.reason:
        notes.append(f"extra hydrogen is not used: {more.reason}")
    elif extra:
        organic = float(site.organic_water_g_g) + more.water_g_g
        site = dataclasses.replace(site, organic_water_g_g=organic)
    cosmic = fit(COSMIC, cosmic_shape(site), np.array([d.counts.n_cph for d in days]), days)
    sigma = station_sigma(site, cosmic, days, PROFILE_SIGMA)
    site = dataclasses.replace(site, cosmic_n_cph=cosmic.n_cph, cosmic_n_sigma=sigma)
    network, streamed = _streamed(site_file, site, days, records, bundle, runtime_name)
    if network is not None and not network.reason:
        site = dataclasses.replace(site, cosmic_n_cph=network.n_cph)
    if network is not None and bundle is not None:
        notes += [] if not network.reason else [f"no N by the network: {network.reason}"]
        if min(network.age_d) < bundle.spin_up_steps:
            notes.append(
                f"the network had run for {min(network.age_d)} days at the first sampling, "
                f"it warms up for {bundle.spin_up_steps}"
            )
    n_cph, theta = _series(site_file.site, found, streamed, network)
    return Calibration(
        site_file=site_file,
        site=site,
        days=tuple(days),
        fits=found,
        extra=more,
        extra_used=extra and not more.reason,
        bundle=bundle,
        cosmic_n_cph=cosmic.n_cph,
        network=network,
        notes=tuple(notes),
        day_end_s=streamed.day_end_s,
        n_cph=n_cph,
        theta=theta,
    )


def sampling_days(
    site_file: SiteFile, campaigns: Sequence[Campaign], records: Sequence[RawRecord]
) -> tuple[list[Day], list[str]]:
    """Samples and counts of each day that has both; notes on what is missing or doubtful.

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
            missing.append(_uncounted(campaign.day, mean, (begin, end), records))
            continue
        notes += [] if site_file.records.corrected else _doubts(campaign.day, mean)
        humidity = mean.humidity_g_m3
        sampled = field_mean(
            campaign,
            float(site.bulk_density_g_cm3),
            bound,
            mean.pressure_hpa,
            humidity if math.isfinite(humidity) else USUAL_HUMIDITY_G_M3,
        )
        if sampled.assumed:
            notes.append(f"{campaign.day}: the samples tell no error, {sampled.sigma:g} is assumed")
        days.append(Day(sampled, mean))
    if not days:
        raise ConfigError(*(f"{site_file.path}: {fault}" for fault in missing))
    if site_file.records.corrected:
        notes.append("the records are corrected already: N holds for counts corrected as they are")
    return days, [f"{fault}; left out" for fault in missing] + notes


def count_time(site_file: SiteFile, day: str) -> tuple[float, float]:
    """Begin and end of the counts that go with a day's samples [s, UTC]."""
    hours = site_file.sampling.hours if site_file.sampling else None
    if hours is None:
        end = day_window_end_s(site_file, day)
        return end - DAY_S, end
    return begin_s(day) + hours[0] * HOUR_S, begin_s(day) + hours[1] * HOUR_S


def _uncounted(
    day: str, mean: Mean, span: tuple[float, float], records: Sequence[RawRecord]
) -> str:
    first, last = (
        datetime.datetime.fromtimestamp(s, datetime.UTC).strftime("%Y-%m-%d")
        for s in (records[0].end_s, records[-1].end_s)
    )
    hours = (span[1] - span[0]) / HOUR_S
    return (
        f"sampling day {day}: {mean.live_s / HOUR_S:.1f} h of usable counts in {hours:g} h; "
        f"the records go from {first} to {last}"
    )


def _doubts(day: str, mean: Mean) -> list[str]:
    return [f"{day}: {text}" for flag, text in DOUBTS.items() if mean.quality & flag]


def _streamed(
    site_file: SiteFile,
    site: Site,
    days: Sequence[Day],
    records: Sequence[RawRecord],
    bundle: Bundle | None,
    runtime_name: str | None,
) -> tuple[NetworkFit | None, Streamed]:
    """N by the network, if there is one, and the whole season with the N that were found."""
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
    found = network_fit(coarse, ends, theta, sigma)
    n = np.array([classical]) if found.reason else np.append(classical, found.n_cph * NEAR)
    fine = stream(site, n, recent, hour, bundle, runtime_name)
    if not found.reason:
        said = fine.theta[1:, np.searchsorted(fine.day_end_s, ends)]
        misfit = (said - theta) @ (sigma**-2.0 / np.sum(sigma**-2.0))
        exact = crossing(n[1:], misfit, found.n_cph)
        if math.isfinite(exact):
            at = tuple(float(np.interp(exact, n[1:], column)) for column in said.T)
            found = dataclasses.replace(found, n_cph=exact, fitted=at)
    return found, fine


def _series(
    site: Site, found: Sequence[Fit], streamed: Streamed, network: NetworkFit | None
) -> tuple[Array, dict[str, Array]]:
    """Corrected counts of each day and what each method says of them."""
    n, humid, vapour = daily(streamed.corrected, streamed.day_end_s)
    bound = float(site.lattice_water_g_g) + float(site.organic_water_g_g)
    density, scale = float(site.bulk_density_g_cm3), {f.method: f.n_cph for f in found}
    theta = {
        DESILETS: desilets_theta(n, scale[DESILETS], density, bound),
        UTS: uts_theta(humid, vapour, scale[UTS], bound, density),
        COSMIC: streamed.inversion[0],
    }
    if network is not None:
        theta[NETWORK] = streamed.theta[0]
        if not network.reason:
            theta[OWN_N] = streamed.theta[2]
    return n, {name: values for name, values in theta.items() if np.isfinite(values).any()}
