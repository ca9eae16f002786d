"""Scenarios depend on seed and index only, and are possible places."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from epithermal_edge.moisture import cosmic_rate
from epithermal_host import scenario
from epithermal_host.cover import demand, leaf_area
from epithermal_host.scenario import Population, sample
from epithermal_host.weather import generate


@pytest.fixture(scope="module")
def many() -> list[scenario.Scenario]:
    return [sample(Population(), 7, index) for index in range(300)]


def test_a_scenario_depends_on_seed_and_index_only(many):
    assert sample(Population(), 7, 123).to_dict() == many[123].to_dict()
    assert sample(Population(), 8, 123).to_dict() != many[123].to_dict()
    one, two = (s.rng("weather").random(3) for s in (many[0], many[1]))
    assert not np.any(one == two)


def test_soils_stay_within_what_carsel_and_parrish_found(many):
    soils = [soil for s in many for soil in s.soils]
    assert {soil.name for soil in soils} == set(scenario.CATALOGUE)
    for soil in soils:
        assert 0.0 < soil.theta_r < 0.13 and 0.29 < soil.theta_s < 0.61
        assert 1.05 < soil.n < 4.5 and 0.1 < soil.ks_cm_d < 3000.0
        assert (soil.air_entry_cm == 2.0) == (soil.n < 1.3)
    sand = [s.n for s in soils if s.name == "sand"]
    assert np.mean(sand) == pytest.approx(2.68, abs=0.15)


def test_the_grid_holds_layers_and_roots(many):
    for s in many[:50]:
        grid = s.grid()
        assert grid.z_cm.size == 41 and grid.z_cm[-1] == pytest.approx(s.depth_cm)
        assert grid.material.max() == len(s.soils) - 1
        assert (grid.root.sum() > 0.0) == (s.cover.kind != "bare")
    assert {len(s.soils) for s in many} == {1, 2}


def test_detectors_count_what_the_population_asks_for(many):
    rates = [
        float(np.asarray(cosmic_rate(np.array([scenario.DRY_THETA]), s.site))[0]) for s in many
    ]
    assert 300.0 <= min(rates) < 400.0 and 7000.0 < max(rates) <= 10000.0


def test_covers_share_out_rain_and_et0_without_making_water(many):
    kinds = set()
    for s in many[:60]:
        w = generate(s.climate, s.rng("weather"), 11323, 730)
        d, lai = demand(s.cover, w), leaf_area(s.cover, w)
        kinds.add(s.cover.kind)
        assert np.all(lai >= 0.0) and lai.max() < 7.0
        for flux in dataclasses.astuple(d):
            assert np.all(flux >= 0.0)
        assert np.all(10.0 * d.water_cm_d <= w.water_mm + 1e-9)
        both = 10.0 * (d.evaporation_cm_d + d.transpiration_cm_d)
        assert np.all(both <= w.et0_mm + 1e-9)
        if s.cover.kind == "bare":
            assert np.all(d.transpiration_cm_d == 0.0)
            np.testing.assert_allclose(10.0 * d.water_cm_d, w.water_mm, rtol=1e-14)
    assert kinds == {"bare", "grass", "crop"}


def test_a_scenario_is_plain_json(many):
    text = json.dumps(many[0].to_dict(), allow_nan=False)
    back = json.loads(text)
    assert back["site"]["alpha"] is None and back["soils"][0]["name"] == many[0].texture


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"textures": ("mud",)}, "textures"),
        ({"bare_share": 0.8, "crop_share": 0.5}, "bare_share"),
        ({"aridity_min": 0.0}, "aridity_min"),
        ({"layered_share": 1.5}, "layered_share"),
    ],
)
def test_an_impossible_population_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        Population(**change)
