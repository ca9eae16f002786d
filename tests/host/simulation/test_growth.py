"""How the cost of a simulation grows: operations and bytes are counted, not seconds."""

from __future__ import annotations

import cProfile
import dataclasses
import pstats
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from epithermal_host.config.population import Population
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.simulation.results import record
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.simulate import column, forcing, simulate
from epithermal_host.soil.richards import solve
from epithermal_host.training import dataset
from epithermal_host.weather.generator import generate

FIRST_DAY = 11323
KEY = "k" * 64


@pytest.fixture(scope="module")
def place() -> Scenario:
    """A crop on loam with litter, so that every part of the simulation has work."""
    population = Population(textures=("loam",), bare_share=0.0, crop_share=1.0, litter_share=1.0)
    return sample(population, 1, 0)


def calls(function: Callable[[], object]) -> Counter[str]:
    """Count the calls of every Python function of ours, by name."""
    profile = cProfile.Profile()
    profile.runcall(function)
    found: Counter[str] = Counter()
    for (path, _, name), (count, *_) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if "epithermal" in path:
            found[name] += count
    return found


def test_linear_solves_grow_in_proportion_to_the_years(place):
    per_year = []
    for years in (1, 2, 4):
        weather = generate(place.climate, place.rng("weather"), FIRST_DAY, 365 * years)
        per_year.append(solve(column(place), forcing(place, weather)).iterations / years)
    assert max(per_year) < 1.5 * min(per_year)
    assert max(per_year) < 6000  # 2600 to 5800 for the twelve textures


def test_linear_solves_do_not_grow_with_the_nodes(place):
    weather = generate(place.climate, place.rng("weather"), FIRST_DAY, 365)
    solves = []
    for nodes in (41, 81, 161):
        finer = dataclasses.replace(place, nodes=nodes, top_dz_cm=0.25)
        solves.append(solve(column(finer), forcing(finer, weather)).iterations)
    assert max(solves) < 1.5 * min(solves)


def test_a_scenario_of_many_years_needs_no_more_calls_than_one_of_few(place):
    periods = [CampaignConfig(seed=1, soils=1, years=years) for years in (1, 4)]
    simulate(place, periods[0])  # compiles or loads the kernels
    few, many = (calls(lambda p=p: simulate(place, p)) for p in periods)
    assert few == many
    assert all(many[name] == 1 for name in ("generate", "solve", "neutron_rate"))
    assert sum(many.values()) < 500


def test_a_record_has_bytes_in_proportion_to_its_days(place):
    period = CampaignConfig(seed=1, soils=1, years=1, spin_up_years=0)
    sizes = []
    for years in (1, 2, 3):
        longer = dataclasses.replace(period, years=years)
        sizes.append(record(place, simulate(place, longer), KEY).nbytes)
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] == 365 * (8 * (10 + 4 + 1) + 4 * 41)


def passing(sites: list[Scenario], blocks: int) -> Counter[str]:
    """Count the calls that records of some sites need in the pipeline of the data set."""
    hours, n = blocks * dataset.BLOCK_H, len(sites)
    end_s = 86400.0 * FIRST_DAY + 3600.0 * np.arange(1, hours + 1)
    known = {"counts": 1500.0, "pressure_hpa": 1000.0, "duration_s": 3600.0, "rain_mm": 0.1}
    columns = {name: np.full((hours, n), value) for name, value in known.items()}
    site = dataset.stack_sites([one.site for one in sites])
    return calls(lambda: dataset.run_pipeline(site, end_s, columns))


def test_a_data_set_needs_no_more_calls_for_more_soils_and_twice_for_twice_the_days():
    sites = [sample(Population(), 1, index) for index in range(12)]
    passing(sites, 2)  # compiles or loads the kernels
    one, few, many = passing(sites[:1], 2), passing(sites[:3], 2), passing(sites, 2)
    assert few == many
    assert sum(many.values()) < 1.2 * sum(one.values())
    longer = passing(sites, 4)
    assert (many["sum_block"], longer["sum_block"]) == (2, 4)
    assert sum(longer.values()) < 2.05 * sum(many.values())
