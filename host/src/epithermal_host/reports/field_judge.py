"""How every method did at a real site: days with probes, its seasons, its sampling days."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_host.arrays import Array, Mask
from epithermal_host.bundles.streams import estimate_series
from epithermal_host.compute.crew import Crew
from epithermal_host.evaluation.exponential_filter import FILTER_T_D, exponential_filter
from epithermal_host.evaluation.methods import COSMIC, NETWORK, USUAL_FILTERED
from epithermal_host.evaluation.metrics import Stats, rms, stats
from epithermal_host.field.days import month_of, year_of
from epithermal_host.field.series import FieldSeries
from epithermal_host.reports.field_result import Calibrated, Estimate, Line, Place, Sampled
from epithermal_host.retraining.site_days import Samples, read_samples
from epithermal_host.training.series import NAMES

SEASONS = {
    "March to May": (3, 4, 5),
    "June to August": (6, 7, 8),
    "September to November": (9, 10, 11),
    "December to February": (12, 1, 2),
}
SEASON_DAYS = 20  # a season with fewer tells nothing


def judge(
    bundle: Bundle,
    site: Calibrated,
    who: Crew,
    runtime_name: str | None = None,
    more: Sequence[Estimate] = (),
) -> tuple[Place, str]:
    """All methods at one site; and the runtime's name.

    Parameters
    ----------
    more :
        Methods to be judged beside the usual ones.
    """
    series = site.series
    found = [Estimate(COSMIC, "", series.theta_classical, None)]
    filtered = exponential_filter(series.theta_classical[None], FILTER_T_D)[0]
    found.append(Estimate(USUAL_FILTERED, "", filtered, None))
    runtime = ""
    for inputs in (x.inputs for x in site.shown):
        said = estimate_series(
            bundle, inputs.features, who, restart=series.restart[None], runtime_name=runtime_name
        )
        found.append(Estimate(NETWORK, inputs.label, said.y[0, :, 0], said.y[0, :, 1]))
        runtime = said.runtime
    found += more
    known = {name: float(series.features[:, NAMES.index(name)].mean())
             for name in ("rain_known", "et0_known")}  # fmt: skip
    anchor, taken = anchor_of(series), read_samples(site.file)
    place = Place(
        series=series,
        shown=site.shown,
        site_file=site.file,
        rain_share=known["rain_known"],
        et0_share=known["et0_known"],
        anchor=anchor,
        samples=taken,
        estimates=tuple(found),
        lines=_lines(bundle, series, anchor, taken, found),
    )
    return place, runtime


def anchor_of(series: FieldSeries) -> float:
    """What brings the probes to the samples' mean on the sampling day [m3 m-3]; NaN: no probes."""
    day = series.truth[series.day_end_s == series.sampling_end_s]
    return float(series.sampled_theta - day[0]) if day.size else float("nan")


def settled(restart: Mask, spin_up: int) -> Mask:
    """(T,) days whose state is older than the spin-up."""
    day = np.arange(restart.size)
    began = np.maximum.accumulate(np.where(restart, day, 0))
    return np.asarray(day - began >= spin_up)


def probed(series: FieldSeries) -> Mask:
    """(T,) days on which methods are judged against the probes."""
    return np.asarray(
        series.judged & np.isfinite(series.truth) & np.isfinite(series.theta_classical)
    )


def within_years(error: Array, judged: Mask, day_end_s: Array) -> float:
    """Root mean square error with the mean of each calendar year taken out [m3 m-3]."""
    _, which = np.unique(year_of(day_end_s[judged]), return_inverse=True)
    mean = np.bincount(which, error[judged]) / np.bincount(which)
    return rms(error[judged] - mean[which])


def _lines(
    bundle: Bundle, series: FieldSeries, anchor: float, taken: Samples, found: Sequence[Estimate]
) -> tuple[Line, ...]:
    judged = probed(series)
    if not judged.any():
        return ()
    old = judged & settled(series.restart, bundle.spin_up_steps)
    month = month_of(series.day_end_s)
    parts = {name: judged & np.isin(month, months) for name, months in SEASONS.items()}
    truth, out = series.truth[None], []
    for e in found:
        sigma = None if e.sigma is None else e.sigma[None]

        def against(
            days: Mask, shift: float = 0.0, e: Estimate = e, sigma: Array | None = sigma
        ) -> Stats:
            return stats(truth + shift, e.theta[None], days[None], sigma)

        out.append(
            Line(
                method=e.method,
                inputs=e.inputs,
                probes=against(judged),
                anchored=against(judged, anchor) if np.isfinite(anchor) else None,
                settled=against(old) if old.any() else None,
                ubrmse_in_years=within_years(e.theta - series.truth, judged, series.day_end_s),
                seasons={n: against(d) for n, d in parts.items() if d.sum() >= SEASON_DAYS},
                sampled=_sampled(series, taken, e.theta),
            )
        )
    return tuple(out)


def _sampled(series: FieldSeries, taken: Samples, theta: Array) -> Sampled | None:
    other = (taken.end_s != series.sampling_end_s) & np.isin(taken.end_s, series.day_end_s)
    error = theta[np.searchsorted(series.day_end_s, taken.end_s[other])] - taken.theta[other]
    error = error[np.isfinite(error)]
    if not error.size:
        return None
    return Sampled(error.size, rms(error), float(error.mean()))
