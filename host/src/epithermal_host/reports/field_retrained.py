"""Evaluate retraining at real sites: on a site's own first years, and on all other sites."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.times import DAY_S
from epithermal_host.arrays import Mask
from epithermal_host.bundles.hidden_states import HiddenStates
from epithermal_host.compute.crew import Crew
from epithermal_host.evaluation.exponential_filter import FILTER_T_D
from epithermal_host.evaluation.methods import (
    COUNTS,
    OTHERS,
    RELEASED,
    RETRAINED,
    WITH_WEATHER,
    inversion_by,
    usual_filtered,
)
from epithermal_host.evaluation.metrics import stats
from epithermal_host.field.days import date_of
from epithermal_host.field.series import FieldSeries
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.reports import field_store
from epithermal_host.reports.field_judge import days_with_probes, filter_at_site
from epithermal_host.reports.field_result import (
    Calibrated,
    Estimate,
    Fitted,
    LaterLine,
    OwnRetraining,
)
from epithermal_host.retraining.head_fit import RISE_MAX, STRENGTHS, SiteDays, fit_change
from epithermal_host.retraining.rehearsal import Rehearsal, rehearse
from epithermal_host.retraining.result import Retraining
from epithermal_host.retraining.retrain import retrain
from epithermal_host.retraining.site_days import select_days, stream_network
from epithermal_host.retraining.text import split_years, verdict

YEAR_D = 365.0
FIRST_YEAR, FIRST_SEASON, FIRST_HALF = "first year", "first season", "first half of the seasons"
INPUTS = (COUNTS, WITH_WEATHER)


@dataclass(frozen=True, slots=True, eq=False)
class StreamedSite:
    """A site and the streams of the released network there."""

    site_file: SiteFile
    series: FieldSeries
    released: HiddenStates


def fit_sites(
    bundle: Bundle,
    sites: Sequence[Calibrated],
    who: Crew,
    run_folder: Path,
    runtime: str | None,
    out: Path | None,
) -> list[Fitted]:
    """Evaluate retraining at every site; sites stored in `out` for the same inputs are read.

    Parameters
    ----------
    run_folder :
        Campaign with dataset.npz, for the rehearsal.
    out :
        Folder of the report; None: nothing is stored.
    """
    key = ""
    paths: list[Path | None] = [None] * len(sites)
    if out is not None:
        paths = [field_store.path_of(out, x.series.name, ".retrained.json") for x in sites]
        key = field_store.hash_fit([x.file for x in sites], bundle, runtime, run_folder)
    known = [field_store.restore_fitted(path, key) if path else None for path in paths]
    fitted = [done for done in known if done is not None]
    if len(fitted) == len(sites):
        return fitted
    population = rehearse(bundle, run_folder, who, runtime_name=runtime)
    streamed = stream_sites(bundle, sites, who, runtime)
    fitted.clear()
    for here, path, done in zip(streamed, paths, known, strict=True):
        if done is None:
            others = estimate_from_others(here, streamed, population)
            done = Fitted(tuple(others), tuple(retrain_on_parts(bundle, here, population)))
            if path is not None:
                field_store.save_fitted(path, key, done)
        fitted.append(done)
    return fitted


def stream_sites(
    bundle: Bundle, sites: Sequence[Calibrated], who: Crew, runtime: str | None
) -> list[StreamedSite]:
    """Run the released network at every site."""
    return [
        StreamedSite(site.file, site.series, stream_network(bundle, site.series, who, runtime))
        for site in sites
    ]


def estimate_from_others(
    here: StreamedSite, sites: Sequence[StreamedSite], population: Rehearsal
) -> list[Estimate]:
    """Estimate a site with a head fitted to the probes of all other sites, not to its own.

    No choice depends on scores: the largest change that the simulated population allows is used.
    The result is empty if no other site has probes or no change is allowed.
    """
    days = _pool_days([v for v in sites if v is not here])
    if days is None:
        return []
    rows = np.arange(days.year.size)
    unchanged = population.judge.rmse(np.zeros(days.h.shape[-1]), 0.0)
    for strength in reversed(STRENGTHS):
        w, b = fit_change(days, rows, population, strength)
        if population.judge.rmse(w, b) <= RISE_MAX * unchanged:
            break
    else:
        return []
    theta = here.released.theta + here.released.h @ w + b
    return [
        Estimate(OTHERS, label, retrained, sigma)
        for label, retrained, sigma in zip(INPUTS, theta, here.released.sigma, strict=False)
    ]


def retrain_on_parts(
    bundle: Bundle, here: StreamedSite, population: Rehearsal
) -> list[OwnRetraining]:
    """Retrain on the site's first year, season and half of its seasons; evaluate on later days."""
    series, out = here.series, []
    for given, until_s, after_s in _first_parts(here):
        done = retrain(here.site_file, bundle, series, here.released, population, until_s)
        later = (
            days_with_probes(series) & (series.day_end_s > until_s) & (series.day_end_s <= after_s)
        )
        if not later.any() or not done.used.any():
            continue
        out.append(
            OwnRetraining(
                site=series.name,
                given=given,
                last_day=date_of(until_s),
                verdict=verdict(done),
                reasons=done.reasons,
                later=" to ".join(date_of(end) for end in series.day_end_s[later][[0, -1]]),
                lines=_score_later_days(done, later),
            )
        )
    return out


def _first_parts(here: StreamedSite) -> list[tuple[str, float, float]]:
    """List the parts to retrain on: name, end, and end of the days of evaluation [s, UTC]."""
    series, every = here.series, np.ones(here.series.day_end_s.size, dtype=bool)
    days = select_days(series, here.released, every)
    years = np.unique(days.year)
    year_s = YEAR_D * DAY_S
    first_s = float(series.day_end_s[0]) + year_s
    out = [(FIRST_YEAR, first_s, first_s + year_s)]
    if years.size > 1:
        ends = [_new_year_s(int(y) + 1) for y in years]
        out.append((FIRST_SEASON, ends[0], ends[1]))
    if years.size > 3:
        out.append((FIRST_HALF, ends[years.size // 2 - 1], np.inf))
    return out


def _score_later_days(done: Retraining, days: Mask) -> tuple[LaterLine, ...]:
    series, after = done.series, done.theta()
    rows = split_years(series, days)
    truth = np.broadcast_to(series.truth, rows.shape)
    filtered = filter_at_site(done.site_file, series, FILTER_T_D)
    inversion = inversion_by(str(done.site_file.site.response))
    named = [(usual_filtered(inversion), "", filtered)]
    for i, theta in enumerate(done.released.theta):
        named += [(RELEASED, INPUTS[i], theta), (RETRAINED, INPUTS[i], after[i])]
    return tuple(
        LaterLine(method, inputs, stats(truth, np.broadcast_to(theta, rows.shape), rows))
        for method, inputs, theta in named
    )


def _pool_days(sites: Sequence[StreamedSite]) -> SiteDays | None:
    """Join the days of several sites, with distinct years; None if there are none."""
    pool = []
    for i, v in enumerate(sites):
        days = select_days(v.series, v.released, np.ones(v.series.day_end_s.size, dtype=bool))
        if days.year.size:
            pool.append(dataclasses.replace(days, year=days.year + 10_000 * i))
    if not pool:
        return None
    sets = min(len(d.h) for d in pool)
    return SiteDays(
        h=np.concatenate([d.h[:sets] for d in pool], axis=1),
        residual=np.concatenate([d.residual[:sets] for d in pool], axis=1),
        year=np.concatenate([d.year for d in pool]),
        month=np.concatenate([d.month for d in pool]),
    )


def _new_year_s(year: int) -> float:
    return float(np.datetime64(f"{year}-01-01", "s").astype(np.int64))
