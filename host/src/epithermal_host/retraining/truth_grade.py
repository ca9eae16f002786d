"""Grade the truth at a real site: what its probes and samples can decide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from epithermal_edge.times import DAY_S
from epithermal_host.arrays import Array
from epithermal_host.field.samples import read_campaigns
from epithermal_host.field.series import FieldSeries
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.retraining.site_days import Samples
from epithermal_host.tables.quantities import THETA
from epithermal_host.tables.table import read_table

ENOUGH_PROFILES = 3
ENOUGH_DAYS, ENOUGH_SAMPLES = 5, 10  # sampling days, each with as many samples or more
NEAR = 0.14  # of the probes from the samples [m3 m-3]; this and the factor agree with the grades
NEAR_FACTOR = 2.5  # that were given by eye to eight sites of one basin
MEANINGS = {
    "A": "level, spread and timing",
    "B": "spread and timing, level only roughly",
    "C": "timing only",
    "": "nothing",
}


@dataclass(frozen=True, slots=True)
class Truth:
    """Grade of the probes and samples of a site."""

    grade: str  # A, B or C; empty: nothing to compare with
    reason: str
    profiles: int  # of probes with values on the usual evaluated day
    sampling_days: int
    probes_minus_samples: float  # mean over the sampling days; NaN: none with both [m3 m-3]

    @property
    def decides(self) -> str:
        """Return what this truth can decide."""
        return MEANINGS[self.grade]


def grade_truth(site_file: SiteFile, series: FieldSeries, samples: Samples, profiles: int) -> Truth:
    """Grade the truth of a site by its files, or as its site.toml demands.

    Parameters
    ----------
    profiles :
        Output of `count_profiles`.
    """
    difference = compare_levels(series, samples)
    if site_file.truth_grade:
        grade, reason = site_file.truth_grade, f"as given: {site_file.truth_reason}"
    else:
        grade, reason = _grade(site_file, profiles, difference)
    return Truth(grade, reason, profiles, samples.end_s.size, difference[0])


def count_profiles(site_file: SiteFile, series: FieldSeries) -> int:
    """Count the profiles with values on the usual evaluated day, in the depth that has fewest."""
    return min(_columns_in_use(site_file, series.day_end_s[series.judged]), default=0)


def compare_levels(series: FieldSeries, samples: Samples) -> tuple[float, float]:
    """Compute probes minus samples [m3 m-3] and probes over samples on the days with both."""
    rows = np.searchsorted(series.day_end_s, samples.end_s).clip(max=series.day_end_s.size - 1)
    truth = series.truth[rows]
    both = (series.day_end_s[rows] == samples.end_s) & np.isfinite(truth)
    if not both.any():
        return math.nan, math.nan
    probes, sampled = float(truth[both].mean()), float(samples.theta[both].mean())
    return probes - sampled, probes / sampled


def _grade(site_file: SiteFile, profiles: int, difference: tuple[float, float]) -> tuple[str, str]:
    """Return grade and reason from the number of profiles, the samples, and their difference."""
    if profiles >= ENOUGH_PROFILES:
        return "A", f"{profiles} profiles of probes"
    days = _days_of_many_samples(site_file)
    if days >= ENOUGH_DAYS:
        return "A", f"{days} sampling days of {ENOUGH_SAMPLES} samples or more"
    if not profiles:
        return "", "no probe has values on an evaluated day"
    name = "one profile" if profiles == 1 else f"{profiles} profiles"
    if site_file.sampling is not None and site_file.sampling.kind == "probes":
        return "C", f"{name}, which also stands in for samples"
    off, ratio = difference
    if math.isnan(off):
        return "C", f"{name} without a value on a sampling day: its level is unknown"
    reason = f"{name}, {off:+.3f} m3/m3 from the samples"
    near = abs(off) <= NEAR and 1.0 / NEAR_FACTOR <= ratio <= NEAR_FACTOR
    return ("B", reason) if near else ("C", f"{reason}: another soil than the field's")


def _days_of_many_samples(site_file: SiteFile) -> int:
    """Count the sampling days with enough samples to be the truth."""
    if site_file.sampling is None or site_file.sampling.kind == "probes":
        return 0
    return sum(c.theta.size >= ENOUGH_SAMPLES for c in read_campaigns(site_file))


def _columns_in_use(site_file: SiteFile, day_end_s: Array) -> Iterator[int]:
    """Yield for each depth the usual number of columns with a value on these days (T,)."""
    for probe in site_file.probes:
        time_s, values = read_table(probe.file, probe.columns, THETA)
        place = np.searchsorted(day_end_s, time_s).clip(max=max(day_end_s.size - 1, 0))
        inside = np.zeros(time_s.size, dtype=bool)
        if day_end_s.size:
            inside = (time_s <= day_end_s[place]) & (time_s > day_end_s[place] - DAY_S)
        number = np.isfinite(values[inside]).sum(axis=1)
        yield int(np.median(number[number > 0])) if number.any() else 0
