"""The grade of a truth follows from the number of profiles and from the samples."""

from __future__ import annotations

import dataclasses
import datetime
import math
from pathlib import Path

import numpy as np
import pytest
from tests.support.counts import write_counts
from tests.support.sites import THETA_SAMPLING, made_up_site, probe

from epithermal_edge.errors import ConfigError
from epithermal_host.field.series import FieldSeries, load
from epithermal_host.field.site_toml import SiteFile, read_site
from epithermal_host.retraining.site_days import read_samples
from epithermal_host.retraining.truth_grade import Truth, count_profiles, grade_truth

FIRST = datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC)
DAYS, THETA = 8, 0.2
DATES = [(FIRST + datetime.timedelta(days=i)).date() for i in range(DAYS)]


def made_up(
    folder: Path, probes: list[float], samples: int = 1, sampling_days: int = 1, site: str = ""
) -> tuple[SiteFile, FieldSeries]:
    """Write and load a site with probes of constant values (NaN: none) and samples."""
    path = folder / "site.toml"
    names = [f"probe_{i}" for i in range(len(probes))]
    tables = [probe("probes.csv", "noon", *names)] if probes else []
    path.write_text(made_up_site(THETA_SAMPLING, *tables, site=site), "utf-8")
    write_counts(path, np.full(DAYS, THETA), FIRST.timestamp(), 3000.0)
    cells = ",".join("" if math.isnan(x) else str(x) for x in probes)
    rows = [f"{day} 12:00,{cells}" for day in DATES]
    (folder / "probes.csv").write_text("\n".join([",".join(["noon", *names]), *rows]), "utf-8")
    rows = [f"{day},{THETA}" for day in DATES[2 : 2 + sampling_days] for _ in range(samples)]
    (folder / "samples.csv").write_text("\n".join(["day,theta", *rows]) + "\n", "utf-8")
    site_file = read_site(path)
    return site_file, load(site_file)


def graded(site_file: SiteFile, series: FieldSeries) -> Truth:
    profiles = count_profiles(site_file, series)
    return grade_truth(site_file, series, read_samples(site_file), profiles)


@pytest.mark.parametrize(
    ("probes", "grade", "reason"),
    [
        ([0.1, 0.2, 0.3], "A", "3 profiles"),
        ([0.1, 0.4, math.nan], "B", "2 profiles, +0.050 m3/m3 from the samples"),
        ([0.16], "B", "one profile, -0.040"),
        ([0.05], "C", "another soil"),  # a quarter of the samples
        ([0.38], "C", "another soil"),
        ([], "", "no probe"),
    ],
)
def test_profiles_and_their_distance_from_the_samples_decide_the_grade(
    tmp_path, probes, grade, reason
):
    truth = graded(*made_up(tmp_path, probes))
    assert truth.grade == grade and reason in truth.reason
    assert truth.profiles == np.isfinite(probes).sum()


def test_many_samples_on_many_days_are_a_truth_of_their_own(tmp_path):
    few = graded(*made_up(tmp_path, [0.38], samples=10, sampling_days=4))
    many = graded(*made_up(tmp_path, [0.38], samples=10, sampling_days=5))
    assert (few.grade, many.grade, many.sampling_days) == ("C", "A", 5)
    assert graded(*made_up(tmp_path, [0.38], samples=9, sampling_days=5)).grade == "C"


def test_a_profile_without_value_on_the_sampling_day_tells_nothing_of_the_level(tmp_path):
    site_file, series = made_up(tmp_path, [0.2])
    dark = dataclasses.replace(
        series,
        truth=np.where(series.day_end_s == series.sampling_end_s, np.nan, series.truth),
    )
    truth = graded(site_file, dark)
    assert truth.grade == "C" and "level is unknown" in truth.reason
    assert math.isnan(truth.probes_minus_samples)


def test_one_profile_that_stands_in_for_samples_decides_timing_only(tmp_path):
    made_up(tmp_path, [0.2])
    path = tmp_path / "site.toml"
    own = f'\n[sampling]\nkind = "probes"\nday = "{DATES[2]}"\n'
    path.write_text(path.read_text("utf-8").replace(THETA_SAMPLING, own), "utf-8")
    site_file = read_site(path)
    truth = graded(site_file, load(site_file))
    assert truth.grade == "C" and "stands in for samples" in truth.reason


def test_a_grade_of_site_toml_goes_first_and_needs_a_reason(tmp_path):
    given = 'truth_grade = "A"\ntruth_reason = "mean of 12 profiles"'
    truth = graded(*made_up(tmp_path, [0.38], site=given))
    assert truth.grade == "A" and truth.reason == "as given: mean of 12 profiles"
    for line in given.splitlines():
        with pytest.raises(ConfigError, match=r"site\.truth_grade: set it together"):
            made_up(tmp_path, [0.38], site=line)
    with pytest.raises(ConfigError, match="truth_grade"):
        made_up(tmp_path, [0.38], site=given.replace('"A"', '"D"'))
