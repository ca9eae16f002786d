"""Snow water from the counts against the simulated snow, of which the truth is known.

`pytest -s` prints the table of docs/snow.md.
"""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_edge.inference import snow
from epithermal_host.config.run_toml import RunConfig, read_run
from epithermal_host.field.series import snow_days
from epithermal_host.simulation.detector import observe
from epithermal_host.simulation.scenario import sample
from epithermal_host.simulation.simulate import simulate

PLACES = 6
TEXT = f"""
[campaign]
seed = 16
soils = {PLACES}
years = 1
start = "2001-09-01"
[population]
plain_share = 0.0
mountain_share = 1.0
forest_share = 0.0
snow_on_counts = true
cosmic_sigma = 0.06
hydraulics = "rosetta"
"""
RANGES_MM = ((0, 10), (10, 20), (20, 40), (40, 60), (60, 1000))


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> RunConfig:
    path = tmp_path_factory.mktemp("snow") / "run.toml"
    path.write_text(TEXT, encoding="utf-8")
    return read_run(path)


@pytest.fixture(scope="module")
def winters(config):
    """Days (n,) of all places: true mean [mm], any snow, flagged, value, interval [mm]."""
    columns: list[list[np.ndarray]] = []
    for index in range(PLACES):
        scenario = sample(config.population, config.campaign.seed, index)
        result = simulate(scenario, config.campaign)
        theta = 0.5 * (result.means[0, 1:] + result.means[0, :-1])
        seen = observe(scenario, result.weather, result.rate_cph, config.instrument, theta)
        at_end = result.weather.snow_mm
        begin = np.concatenate((at_end[:1], at_end[:-1]))
        end_s = (result.weather.day + 1) * 86400.0
        days = snow_days(seen.site, snow.DEFAULT, seen.records(), end_s)
        columns.append([0.5 * (begin + at_end), np.fmax(begin, at_end) > 0.0, days.snow,
                        days.swe_mm, days.swe_p05_mm, days.swe_p95_mm])  # fmt: skip
    return [np.concatenate(column) for column in zip(*columns, strict=True)]


def test_days_without_snow_are_not_flagged_and_those_with_much_are(winters):
    true_mm, any_snow, flagged, *_ = winters
    print(f"\nflagged without snow: {(flagged & ~any_snow).sum()} of {(~any_snow).sum()}")
    for low, high in RANGES_MM:
        days = any_snow & (true_mm > low) & (true_mm <= high)
        print(f"{low}-{high} mm: {days.sum()} days, flagged {flagged[days].mean():.2f}")
    assert (flagged & ~any_snow).sum() <= 0.005 * (~any_snow).sum()
    assert flagged[true_mm > 40.0].mean() > 0.85


def test_the_water_is_near_the_truth_up_to_60_mm_and_the_interval_honest_above(winters):
    true_mm, _, flagged, swe_mm, p05, p95 = winters
    found = {}
    for low, high in RANGES_MM:
        days = flagged & (true_mm > low) & (true_mm <= high) & np.isfinite(p05)
        known = days & np.isfinite(swe_mm)
        error = swe_mm[known] - true_mm[known]
        rmse = float(np.sqrt(np.mean(error**2))) if known.any() else np.nan
        inside = (p05 <= true_mm) & ~(p95 < true_mm)  # no upper limit is not a wrong one
        found[low] = rmse, float(inside[days].mean())
        print(f"\n{low}-{high} mm: {days.sum()} days, value {known.sum()}, bias {error.mean():.1f},"
              f" RMSE {rmse:.1f} mm, in interval {inside[days].mean():.2f},"
              f" with an upper limit {np.isfinite(p95[days]).mean():.2f}", end="")  # fmt: skip
    assert found[10][0] < 8.0 and found[20][0] < 15.0
    assert all(found[low][1] >= 0.8 for low in (10, 20, 40, 60))
