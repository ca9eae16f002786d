"""Soils of a campaign whose places follow several responses."""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_host.cli.main import main
from epithermal_host.evaluation.baselines import inversions
from epithermal_host.evaluation.methods import DESILETS
from epithermal_host.evaluation.unseen import read_places
from epithermal_host.training.series import read_series

RUN = """
[campaign]
seed = 4
soils = 6
years = 1
[population]
response = ["cosmic", "uts2025_norm_endf7", "desilets"]
dry_rate_min_cph = 9000
[instrument]
response_known = {known}
outages_per_year = 0
offset_scale = 0
drift_sigma = 0
monitor_faults_per_year = 0
"""


@pytest.mark.parametrize("known", ["true", "false"])
def test_the_counts_of_a_station_follow_from_the_response_that_it_inverts_by(tmp_path, known):
    (tmp_path / "run.toml").write_text(RUN.format(known=known), "utf-8")
    run = tmp_path / "run"
    assert main(["simulate", str(tmp_path / "run.toml"), "--out", str(run)]) == 0
    assert main(["dataset", str(run)]) == 0
    series = read_series(run)
    places = read_places(run, series.scenario.tolist())
    true = places.site.response
    assert isinstance(true, tuple) and len(set(true)) > 1
    by = places.inverted_by.response
    assert by == true if known == "true" else set(by) == {"cosmic"}
    theta = inversions(series.theta_classical, places.inverted_by)
    apart = np.nanmean(np.abs(theta[DESILETS] - series.theta_classical), axis=1)
    same = np.array([name == "desilets" for name in by])
    assert np.all(apart[~same] > 1e-3) and np.all(apart[same] < 1e-6)
