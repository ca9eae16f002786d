"""The retrained rows of a field report: on a site's own first years, and on the other sites."""

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
from epithermal_host.evaluation.exponential_filter import FILTER_T_D, exponential_filter
from epithermal_host.evaluation.methods import (
    COUNTS,
    OTHERS,
    RELEASED,
    RETRAINED,
    USUAL_FILTERED,
    WITH_WEATHER,
)
from epithermal_host.evaluation.metrics import stats
from epithermal_host.field.days import date_of
from epithermal_host.field.series import FieldSeries
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.reports.field_judge import probed
from epithermal_host.reports.field_result import Calibrated, Estimate, LaterLine, Own
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
class Visited:
    """A site and the released network there."""

    site_file: SiteFile
    series: FieldSeries
    said: HiddenStates


def visit(
    bundle: Bundle, sites: Sequence[Calibrated], who: Crew, runtime: str | None
) -> list[Visited]:
    """The released network at every site."""
    return [
        Visited(site.file, site.series, stream_network(bundle, site.series, who, runtime))
        for site in sites
    ]


def remembered(bundle: Bundle, campaign: Path, who: Crew, runtime: str | None) -> Rehearsal:
    """The simulated population that no head may forget."""
    return rehearse(bundle, campaign, who, runtime_name=runtime)


def on_others(
    here: Visited, everywhere: Sequence[Visited], population: Rehearsal
) -> list[Estimate]:
    """This site's estimates by a head that was fitted on all other sites' probes, never on its own.

    No choice is made: it is the largest change that the simulated population allows.
    """
    days = _pooled([v for v in everywhere if v is not here])
    if days is None:
        return []
    rows = np.arange(days.year.size)
    still = population.judge.rmse(np.zeros(days.h.shape[-1]), 0.0)
    for strength in reversed(STRENGTHS):
        w, b = fit_change(days, rows, population, strength)
        if population.judge.rmse(w, b) <= RISE_MAX * still:
            break
    else:
        return []
    theta = here.said.theta + here.said.h @ w + b
    return [
        Estimate(OTHERS, label, moved, sigma)
        for label, moved, sigma in zip(INPUTS, theta, here.said.sigma, strict=False)
    ]


def on_own(bundle: Bundle, here: Visited, population: Rehearsal) -> list[Own]:
    """The site's first year, season and half of its seasons, each judged on later days alone."""
    series, out = here.series, []
    for given, until_s, after_s in _splits(here):
        done = retrain(here.site_file, bundle, series, here.said, population, until_s)
        later = probed(series) & (series.day_end_s > until_s) & (series.day_end_s <= after_s)
        if not later.any() or not done.used.any():
            continue
        out.append(
            Own(
                site=series.name,
                given=given,
                last_day=date_of(until_s),
                verdict=verdict(done),
                reasons=done.reasons,
                later=" to ".join(date_of(end) for end in series.day_end_s[later][[0, -1]]),
                lines=_later(done, later),
            )
        )
    return out


def _splits(here: Visited) -> list[tuple[str, float, float]]:
    """What is given: its name, its end, and the end of the days that judge [s, UTC]."""
    series, every = here.series, np.ones(here.series.day_end_s.size, dtype=bool)
    days = select_days(series, here.said, every)
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


def _later(done: Retraining, days: Mask) -> tuple[LaterLine, ...]:
    series, after = done.series, done.theta()
    rows = split_years(series, days)
    truth = np.broadcast_to(series.truth, rows.shape)
    filtered = exponential_filter(series.theta_classical[None], FILTER_T_D)[0]
    named = [(USUAL_FILTERED, "", filtered)]
    for i, theta in enumerate(done.released.theta):
        named += [(RELEASED, INPUTS[i], theta), (RETRAINED, INPUTS[i], after[i])]
    return tuple(
        LaterLine(method, inputs, stats(truth, np.broadcast_to(theta, rows.shape), rows))
        for method, inputs, theta in named
    )


def _pooled(sites: Sequence[Visited]) -> SiteDays | None:
    """All days of some sites, each year of each with its own mean."""
    found = []
    for i, v in enumerate(sites):
        days = select_days(v.series, v.said, np.ones(v.series.day_end_s.size, dtype=bool))
        if days.year.size:
            found.append(dataclasses.replace(days, year=days.year + 10_000 * i))
    if not found:
        return None
    sets = min(len(d.h) for d in found)
    return SiteDays(
        h=np.concatenate([d.h[:sets] for d in found], axis=1),
        residual=np.concatenate([d.residual[:sets] for d in found], axis=1),
        year=np.concatenate([d.year for d in found]),
        month=np.concatenate([d.month for d in found]),
    )


def _new_year_s(year: int) -> float:
    return float(np.datetime64(f"{year}-01-01", "s").astype(np.int64))
