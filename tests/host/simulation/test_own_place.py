"""A campaign of one's own site: run.toml has the soil by layer, the crop and the irrigation."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError
from epithermal_edge.physics.response import response_rate
from epithermal_host.cli.main import main
from epithermal_host.config.own_site import NO_SITE
from epithermal_host.config.run_toml import RunConfig, campaign_key, read_run, write_run
from epithermal_host.simulation.campaign import scenario_of
from epithermal_host.simulation.irrigation import simulate_irrigated
from epithermal_host.simulation.results import read_result
from epithermal_host.simulation.sample_place import DRY_THETA
from epithermal_host.simulation.scenario import sample
from epithermal_host.studies.single_site_place import scenario
from epithermal_host.studies.single_site_toml import read_study
from epithermal_host.training import dataset
from epithermal_host.training.series import read_series

SITE = """
[[layer]]
bottom_cm = 30
sand_pct = 25
silt_pct = 55
clay_pct = 20
bulk_density_g_cm3 = 1.35
[[layer]]
bottom_cm = 70
texture = "loam"
[[layer]]
theta_r = 0.05
theta_s = 0.38
alpha_per_cm = 0.035
n = 1.8
ks_cm_d = 60
[crop]
sow = "04-25"
root_depth_cm = 80
biomass_mm = 4
[irrigation]
amount_mm = 25
begin = "05-15"
end = "09-10"
"""
CAMPAIGN = "[campaign]\nseed = 3\nsoils = 4\nyears = 2\n"
DRY = "[population]\naridity_min = 0.2\naridity_max = 0.3\nsouthern_share = 0\n"


def read(tmp_path, text: str) -> RunConfig:
    path = tmp_path / "run.toml"
    path.write_text(text, "utf-8")
    return read_run(path)


def test_every_place_has_the_own_soil_and_crop_and_keeps_weather_and_detector(tmp_path):
    config = read(tmp_path, CAMPAIGN + SITE)
    drawn = read(tmp_path, CAMPAIGN)
    for index in range(4):
        own, other = scenario_of(config, index), scenario_of(drawn, index)
        assert own.layer_bottoms_cm == (30.0, 70.0) and own.depth_cm == 150.0
        assert own.bulk_density_g_cm3[0] == 1.35 == own.site.bulk_density_g_cm3
        assert own.site.lattice_water_g_g == pytest.approx(0.097 * 0.20)
        assert own.cover.kind == "crop" and own.cover.root_depth_cm == 80.0 and own.roots_grow
        assert (own.climate, own.seed) == (other.climate, other.seed)
        dry = [response_rate(np.array([DRY_THETA]), s.site)[0] for s in (own, other)]
        assert dry[0] == pytest.approx(dry[1]) and own.site != other.site


def test_run_toml_and_study_describe_the_same_place_with_the_same_words(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('[study]\ncover = "crop"\n' + SITE, "utf-8")
    place, _ = read_study(path)
    studied, own = scenario(place, place.soils), scenario_of(read(tmp_path, CAMPAIGN + SITE), 0)
    names = ("cover", "roots_grow", "layer_bottoms_cm", "depth_cm", "bulk_density_g_cm3")
    for name in names:
        assert getattr(own, name) == getattr(studied, name), name
    parameters = [[(s.theta_s, s.n, s.ks_cm_d) for s in x.soils] for x in (own, studied)]
    assert parameters[0] == parameters[1]
    assert read(tmp_path, CAMPAIGN + SITE).own.irrigation == place.irrigation


def test_a_campaign_without_these_tables_is_the_same_as_ever(tmp_path):
    config = read(tmp_path, CAMPAIGN)
    assert config.own == NO_SITE
    assert scenario_of(config, 2) == sample(config.population, 3, 2)
    assert campaign_key(config) != campaign_key(read(tmp_path, CAMPAIGN + SITE))


def test_the_run_folder_has_the_site_of_the_campaign(tmp_path):
    config = read(tmp_path, CAMPAIGN + SITE)
    write_run(config, tmp_path / "run")
    again = read_run(tmp_path / "run")
    assert campaign_key(again) == campaign_key(config)
    for index in range(2):
        a, b = scenario_of(again, index), scenario_of(config, index)
        assert a.soils == b.soils and a.cover == b.cover


def test_a_campaign_of_an_irrigated_field_stores_the_irrigation_with_the_rain(tmp_path):
    (tmp_path / "run.toml").write_text(CAMPAIGN + DRY + SITE, "utf-8")
    assert main(["simulate", str(tmp_path / "run.toml"), "--out", str(tmp_path / "a"),
                 "--workers", "1"]) == 0  # fmt: skip
    config = read_run(tmp_path / "a")
    place = scenario_of(config, 1)
    expected, irrigation_mm = simulate_irrigated(place, config.campaign, config.own.irrigation)
    stored = read_result(tmp_path / "a", 1)
    np.testing.assert_array_equal(stored.theta, expected.theta)
    rainfed, none = simulate_irrigated(place, config.campaign, None)
    assert set(np.unique(irrigation_mm)) == {0.0, 25.0} and not none.any()
    added = stored.weather.precipitation_mm - rainfed.weather.precipitation_mm
    np.testing.assert_allclose(added, irrigation_mm, atol=1e-4)
    dataset.run(tmp_path / "a", workers=1)
    series = read_series(tmp_path / "a")
    assert series.theta.shape[0] == 4 and np.isfinite(series.theta_classical).any()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[[layer]]\ntexture = "loam"\n' * 2, "layer: bottom_cm must increase"),
        ("[crop]\nsow = 'May'\n", "crop.sow must be month and day"),
        ("[irrigation]\n", "irrigation: needs plants; describe [crop]"),
        ("[crops]\n", "[crops]: unknown; did you mean crop?"),
        ("[crop]\nroots = 3\n", "crop.roots: unknown"),
    ],
)
def test_a_site_that_contradicts_itself_is_rejected_with_the_remedy(tmp_path, text, fault):
    with pytest.raises(ConfigError, match=re.escape(fault)):
        read(tmp_path, CAMPAIGN + text)
    with pytest.raises(ConfigError, match=r"crop\.roots_grow: HYDRUS-1D needs constant roots"):
        read(tmp_path, CAMPAIGN + 'engine = "hydrus"\n' + SITE)


def test_scattered_parameters_of_cosmic_keep_their_ratio_to_the_regressions(tmp_path):
    text = CAMPAIGN + "[population]\ncosmic_sigma = 0.1\n"
    own = scenario_of(read(tmp_path, text + SITE), 0)
    other = scenario_of(read(tmp_path, text), 0)
    factor = [
        np.array(s.site.alpha) / s.cosmic_parameters(np.array([s.site.bulk_density_g_cm3]))[0]
        for s in (own, other)
    ]
    np.testing.assert_allclose(factor, 1.0)
    bare = [dataclasses.replace(s.site, alpha=np.nan) for s in (own, other)]
    assert bare[0].bulk_density_g_cm3 != bare[1].bulk_density_g_cm3
