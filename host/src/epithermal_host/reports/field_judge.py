"""Evaluate every method at a real site against its probes and samples, also by season."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.physics.snow_water import pore_space
from epithermal_host.arrays import Array, Mask
from epithermal_host.bundles.streams import estimate_series
from epithermal_host.compute.crew import Crew
from epithermal_host.evaluation.block_bootstrap import ubrmse_difference
from epithermal_host.evaluation.exponential_filter import PEER_T_D, filter_within_pores
from epithermal_host.evaluation.methods import NETWORK, filtered, inversion_by
from epithermal_host.evaluation.metrics import Stats, rms, slope_free, split_error, stats
from epithermal_host.field.days import month_of, year_of
from epithermal_host.field.series import FieldSeries
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.reports.field_result import (
    Calibrated,
    Difference,
    Estimate,
    Estimated,
    Line,
    Place,
    Sampled,
)
from epithermal_host.retraining.site_days import Samples, read_samples
from epithermal_host.retraining.truth_grade import count_profiles, grade_truth
from epithermal_host.training.series import NAMES

SEASONS = {
    "March to May": (3, 4, 5),
    "June to August": (6, 7, 8),
    "September to November": (9, 10, 11),
    "December to February": (12, 1, 2),
}
SEASON_DAYS = 20  # a season with fewer is not evaluated


def estimate_site(
    bundle: Bundle, site: Calibrated, who: Crew, runtime_name: str | None = None
) -> Estimated:
    """Run the network at a site with each set of inputs, and count the profiles of its probes."""
    restart, networks, runtime = site.series.restart[None], [], ""
    for inputs in (x.inputs for x in site.network_inputs):
        stream = estimate_series(
            bundle, inputs.features, who, restart=restart, runtime_name=runtime_name
        )
        networks.append(Estimate(NETWORK, inputs.label, stream.y[0, :, 0], stream.y[0, :, 1]))
        runtime = stream.runtime
    return Estimated(site, tuple(networks), runtime, count_profiles(site.file, site.series))


def evaluate_site(bundle: Bundle, here: Estimated, more: Sequence[Estimate] = ()) -> Place:
    """Score all methods at one site; `more` are estimates of further methods."""
    site, series = here.site, here.site.series
    inversion = inversion_by(str(site.file.site.response))
    estimates = [Estimate(inversion, "", series.theta_classical, None)]
    estimates += [
        Estimate(filtered(inversion, t_d), "", filter_at_site(site.file, series, t_d), None)
        for t_d in PEER_T_D
    ]
    estimates += [*here.networks, *more]
    shares = {name: float(series.features[:, NAMES.index(name)].mean())
              for name in ("rain_known", "et0_known")}  # fmt: skip
    anchor, samples = probe_anchor(series), read_samples(site.file)
    lines = _score_methods(bundle, series, anchor, samples, estimates)
    best = name_best_filter(lines, inversion)
    return Place(
        series=series,
        network_inputs=site.network_inputs,
        site_file=site.file,
        rain_share=shares["rain_known"],
        et0_share=shares["et0_known"],
        anchor=anchor,
        samples=samples,
        estimates=tuple(estimates),
        lines=lines,
        truth=grade_truth(site.file, series, samples, here.profiles),
        best_filter=best,
        differences=_compare(series, here.networks, estimates, (best, inversion)) if lines else (),
    )


def filter_at_site(site_file: SiteFile, series: FieldSeries, t_d: float) -> Array:
    """Filter the inversion (T,) of a site, without days beyond the soil's pore space."""
    pores = float(pore_space(site_file.site.bulk_density_g_cm3))
    return filter_within_pores(series.theta_classical, t_d, pores)


def name_best_filter(lines: Sequence[Line], inversion: str) -> str:
    """Name the filter with the smallest ubRMSE, which only the probes could show; or ''."""
    names = [filtered(inversion, t_d) for t_d in PEER_T_D]
    known = [x for x in lines if x.method in names and np.isfinite(x.probes.ubrmse)]
    return min(known, key=lambda x: x.probes.ubrmse).method if known else ""


def _compare(
    series: FieldSeries,
    networks: Sequence[Estimate],
    estimates: Sequence[Estimate],
    others: Sequence[str],
) -> tuple[Difference, ...]:
    """Compare the network with other methods, by name; both on the evaluated days."""
    judged = days_with_probes(series)
    errors = {e.method: (e.theta - series.truth)[judged] for e in estimates if e.method in others}
    out = []
    for e in networks:
        own = (e.theta - series.truth)[judged]
        for name in others:
            spread = float(np.std(errors[name]))
            ratio = float(np.std(own)) / spread if spread > 0.0 else float("nan")
            difference = ubrmse_difference(own, errors[name])
            out.append(Difference(e.inputs, name, ratio, difference))
    return tuple(out)


def probe_anchor(series: FieldSeries) -> float:
    """Compute the samples' mean minus the probes on the sampling day [m3 m-3]; NaN: no probes."""
    day = series.truth[series.day_end_s == series.sampling_end_s]
    return float(series.sampled_theta - day[0]) if day.size else float("nan")


def after_spin_up(restart: Mask, spin_up: int) -> Mask:
    """Select the days (T,) on which the state has passed its spin-up of some days."""
    day = np.arange(restart.size)
    start = np.maximum.accumulate(np.where(restart, day, 0))
    return np.asarray(day - start >= spin_up)


def days_with_probes(series: FieldSeries) -> Mask:
    """Select the days (T,) on which methods are evaluated against the probes."""
    return np.asarray(
        series.judged & np.isfinite(series.truth) & np.isfinite(series.theta_classical)
    )


def rms_within_years(error: Array, judged: Mask, day_end_s: Array) -> float:
    """Compute the RMS error after removing the mean of each calendar year [m3 m-3]."""
    _, which = np.unique(year_of(day_end_s[judged]), return_inverse=True)
    mean = np.bincount(which, error[judged]) / np.bincount(which)
    return rms(error[judged] - mean[which])


def _score_methods(
    bundle: Bundle,
    series: FieldSeries,
    anchor: float,
    samples: Samples,
    estimates: Sequence[Estimate],
) -> tuple[Line, ...]:
    judged = days_with_probes(series)
    if not judged.any():
        return ()
    settled = judged & after_spin_up(series.restart, bundle.spin_up_steps)
    month, year = month_of(series.day_end_s), year_of(series.day_end_s)
    parts = {name: judged & np.isin(month, months) for name, months in SEASONS.items()}
    truth, out = series.truth[None], []
    for e in estimates:
        sigma = None if e.sigma is None else e.sigma[None]

        def score(
            days: Mask, shift: float = 0.0, e: Estimate = e, sigma: Array | None = sigma
        ) -> Stats:
            return stats(truth + shift, e.theta[None], days[None], sigma)

        out.append(
            Line(
                method=e.method,
                inputs=e.inputs,
                probes=score(judged),
                anchored=score(judged, anchor) if np.isfinite(anchor) else None,
                settled=score(settled) if settled.any() else None,
                ubrmse_in_years=rms_within_years(e.theta - series.truth, judged, series.day_end_s),
                seasons={n: score(d) for n, d in parts.items() if d.sum() >= SEASON_DAYS},
                sampled=_score_samples(series, samples, e.theta),
                split=split_error(e.theta - series.truth, judged, series.day_end_s, year),
                slope_free=slope_free(series.truth, e.theta, judged),
            )
        )
    return tuple(out)


def _score_samples(series: FieldSeries, samples: Samples, theta: Array) -> Sampled | None:
    other = (samples.end_s != series.sampling_end_s) & np.isin(samples.end_s, series.day_end_s)
    error = theta[np.searchsorted(series.day_end_s, samples.end_s[other])] - samples.theta[other]
    error = error[np.isfinite(error)]
    if not error.size:
        return None
    return Sampled(error.size, rms(error), float(error.mean()))
