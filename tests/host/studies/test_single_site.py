"""The single-site study: the test days are not in the training data; its results."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.evaluation.methods import COSMIC, inversion_by
from epithermal_host.soil.hydraulics import CATALOGUE
from epithermal_host.studies import single_site, single_site_place, single_site_plots
from epithermal_host.studies.single_site_place import Record, scenario, simulate, variants
from epithermal_host.studies.single_site_result import BEST, COUNTS, USUAL, WEATHER
from epithermal_host.studies.single_site_toml import Place, StudyConfig, read_study
from epithermal_host.training.series import NAMES, TRAIN, VALIDATION, read_series


def record(days):
    rng = np.random.default_rng(days)
    return Record(
        features=rng.random((days, len(NAMES))).astype(np.float32),
        inverted=rng.uniform(0.1, 0.4, days),
        truth=rng.uniform(0.1, 0.4, days),
        layers=rng.uniform(0.1, 0.4, (3, days)),
        snow=np.zeros(days, dtype=bool),
        rain_mm=np.zeros(days),
        et0_mm=np.ones(days),
        day_end_s=86400.0 * np.arange(1, days + 1),
    )


def place(tmp_path, text: str) -> Place:
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    return read_study(path)[0]


def test_training_validation_and_test_adjoin_and_test_is_the_last_tenth():
    parts = single_site.split(StudyConfig(), 3652)
    assert parts["train"].start == 0 and parts["test"].stop == 3652
    assert parts["train"].stop == parts["validation"].start
    assert parts["validation"].stop == parts["test"].start == 3287


def test_no_test_day_is_in_the_training_data(tmp_path):
    records = [record(1000), record(1000)]
    parts = single_site.split(StudyConfig(), 1000)
    single_site._write_dataset(tmp_path, records, parts)
    series = read_series(tmp_path)
    assert series.theta.shape[1] == parts["test"].start
    train, validation = series.part(TRAIN), series.part(VALIDATION)
    assert np.isfinite(train.theta[:, parts["train"]]).all()
    assert np.isnan(train.theta[:, parts["validation"]]).all()
    assert np.isnan(validation.theta[:, parts["train"]]).all()
    assert np.isfinite(validation.theta[:, parts["validation"]]).all()


def test_the_detector_has_the_configured_counting_error(tmp_path):
    found = place(tmp_path, "[study]\ncount_error = 0.01\n")
    site = scenario(found, found.soils).site
    rate = single_site_place.response_rate(np.array([single_site_place.USUAL_THETA]), site)
    assert 1.0 / np.sqrt(24.0 * rate[0]) == pytest.approx(0.01)


def test_the_counts_of_a_place_are_those_of_its_response_and_are_inverted_by_it(tmp_path):
    found = place(tmp_path, '[study]\nyears = 3\nresponse = "desilets"\n')
    built = scenario(found, found.soils)
    result, _ = simulate(found, built)
    (own,) = single_site_place._observe([(built, result, 0)])
    by_cosmic = dataclasses.replace(built, site=dataclasses.replace(built.site, response="cosmic"))
    (other,) = single_site_place._observe([(by_cosmic, result, 0)])
    assert built.site.response == "desilets"
    error = [np.abs(r.inverted - r.truth)[400:].mean() for r in (own, other)]
    assert error[0] < 0.03 < 0.1 < error[1]
    name = inversion_by("desilets")
    still = [lambda x: np.zeros((*x.shape[:2], 1), dtype=np.float32)]
    assert next(iter(single_site._estimates(own, still, 5.0, name)[0])) == "desilets inversion"


def test_each_variant_changes_one_parameter_of_the_soil(tmp_path):
    changes = variants(place(tmp_path, '[study]\nsoil = "silt"\n'))
    own = CATALOGUE["silt"]
    changed = [name for name in changes if " x " in name]
    assert len(changed) == 20
    for name in changed:
        parameter = name.split(" x ")[0]
        others = [p for p in single_site_place.FACTORS if p != parameter]
        (soil,) = changes[name]
        assert getattr(soil, parameter) != getattr(own, parameter)
        assert all(getattr(soil, p) == getattr(own, p) for p in others)


def test_fine_soils_with_a_smaller_n_have_the_air_entry_of_their_class(tmp_path):
    for name, (soil,) in variants(place(tmp_path, '[study]\nsoil = "silt"\n')).items():
        if soil.n < single_site_place.N_WITHOUT_AIR_ENTRY:
            assert soil.air_entry_cm > 0.0, name


LAYERS_TOML = """
[study]
cover = "crop"
years = 3
[[layer]]
bottom_cm = 30
sand_pct = 40
silt_pct = 40
clay_pct = 20
bulk_density_g_cm3 = 1.35
[[layer]]
bottom_cm = 80
texture = "silt_loam"
[[layer]]
theta_r = 0.05
theta_s = 0.38
alpha_per_cm = 0.02
n = 1.25
ks_cm_d = 20
[crop]
plants = "wheat"
sow = "10-05"
season_d = 290
"""


def test_layers_come_from_texture_from_a_class_and_from_van_genuchten(tmp_path):
    found = place(tmp_path, LAYERS_TOML)
    top, middle, deep = found.soils
    assert top.name == "loam" and 0.38 < top.theta_s <= 1.0 - 1.35 / 2.65
    assert middle == CATALOGUE["silt_loam"]
    assert (deep.theta_s, deep.ks_cm_d, deep.air_entry_cm) == (0.38, 20.0, 2.0)
    built = scenario(found, found.soils)
    assert built.layer_bottoms_cm == (30.0, 80.0) and built.bulk_density_g_cm3[0] == 1.35
    assert built.site.bulk_density_g_cm3 == 1.35
    assert built.cover.sow_day == 278.0 and built.cover.feddes_cm[0] == 0.0 and built.roots_grow
    uniform = scenario(found, (CATALOGUE["sand"],))
    assert uniform.layer_bottoms_cm == () and len(uniform.bulk_density_g_cm3) == 1
    changed = variants(found)["ks_cm_d x 5"]
    assert [a.ks_cm_d / b.ks_cm_d for a, b in zip(changed, found.soils, strict=True)] == [5.0] * 3


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[layer]]\nbottom_cm = 20\n", "needs texture, or sand_pct"),
        ('[[layer]]\ntexture = "loam"\nsand_pct = 20\n', "silt_pct missing"),
        ('[[layer]]\ntexture = "loam"\n', "bottom_cm must increase"),
        ('[study]\nsoil = "loam"\n[[layer]]\ntexture = "loam"\n', "study.soil: not with"),
        ("[layer]\nn = 2\n", "each written [[layer]]"),
        ("[crop]\n", 'only with study.cover = "crop"'),
        ("[irrigation]\n", "needs plants"),
        ('[study]\ncover = "grass"\n[irrigation]\nbegin = "5-40"\n', "begin must be month and day"),
        ('[study]\ncover = "crop"\nengine = "hydrus"\n', "HYDRUS-1D needs constant roots"),
        ('[study]\ncover = "crop"\n[crop]\nsow = "May"\n', "sow must be month and day"),
        ('[study]\nresponse = "n0"\n', "response must be among cosmic, desilets"),
        ("[study]\nnetworks = 0\n", "networks must be within"),
        ("[[layer]]\nsand_pct = 90\nsilt_pct = 40\nclay_pct = 20\n", "layer 1: "),
    ],
)
def test_a_place_that_contradicts_itself_is_rejected_with_the_remedy(tmp_path, text, fault):
    more = '[[layer]]\ntexture = "sand"\n' if "increase" in fault else ""
    with pytest.raises(ConfigError, match=re.escape(fault)):
        place(tmp_path, text + more)


def test_irrigation_is_seen_by_the_soil_and_by_the_gauge_only_under_the_sprinklers(tmp_path):
    text = '[study]\nyears = 3\ncover = "grass"\nsoil = "sandy_loam"\n[irrigation]\n'
    rules = "depletion = 0.3\namount_mm = 20\n"
    dry, under, beside = (
        simulate(found, scenario(found, found.soils))
        for found in (
            place(tmp_path, '[study]\nyears = 3\ncover = "grass"\nsoil = "sandy_loam"\n'),
            place(tmp_path, text + rules),
            place(tmp_path, text + rules + "measured = false\n"),
        )
    )
    irrigation = under[1]
    assert irrigation.sum() > 40.0 and set(np.unique(irrigation)) == {0.0, 20.0}
    rain = dry[0].weather.precipitation_mm
    np.testing.assert_allclose(under[0].weather.precipitation_mm, rain + irrigation)
    np.testing.assert_array_equal(beside[0].weather.precipitation_mm, rain)
    np.testing.assert_array_equal(beside[0].theta, under[0].theta)
    assert (under[0].means[0] >= dry[0].means[0] - 1e-6).all()


def test_the_seasons_of_the_south_change_places(tmp_path):
    found = place(tmp_path, "")
    north = single_site_place.seasons(record(400), found)
    southern = dataclasses.replace(found.climate, latitude_deg=-35.0)
    south = single_site_place.seasons(record(400), dataclasses.replace(found, climate=southern))
    assert np.array_equal(north["winter"], south["summer"]) and north["winter"][:31].all()
    assert (sum(north.values()) == 1).all()


def test_the_pictures_of_parameters_and_soils_are_drawn_from_the_errors(tmp_path):
    loam = CATALOGUE["loam"]
    names = [*CATALOGUE, *variants(place(tmp_path, ""))]
    rng = np.random.default_rng(2)
    methods = (COSMIC, USUAL, BEST, COUNTS, WEATHER)
    rows = {name: dict(zip(methods, rng.uniform(0.002, 0.03, 5), strict=True)) for name in names}
    other = {**rows, "ks_cm_d x 5": dict.fromkeys(methods, 0.09)}
    drawn = single_site_plots.parameters("loam", rows, loam)
    assert (
        drawn.startswith(b"\x89PNG") and single_site_plots.parameters("loam", other, loam) != drawn
    )
    assert single_site_plots.soils("loam", other) == single_site_plots.soils("loam", rows) != drawn


def test_all_errors_of_site_toml_are_reported(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('[study]\nsoil = "loess"\nyears = 1\n[train]\nepoch = 3\n')
    with pytest.raises(ConfigError) as caught:
        read_study(path)
    text = str(caught.value)
    assert "soil must be among" in text and "years must be within" in text and "epochs" in text


@pytest.mark.slow
def test_the_network_is_more_accurate_than_the_filter_on_the_last_tenth(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text("[study]\nyears = 6\ndetectors = 4\n[train]\nepochs = 60\nbatch = 4\n")
    command = [sys.executable, "-m", "epithermal_host", "study", str(path)]
    subprocess.run([*command, "--out", str(tmp_path / "out")], check=True, capture_output=True)
    result = json.loads((tmp_path / "out" / single_site.DATA).read_text())
    test = result["table"]["test"]
    assert test[COUNTS]["rmse"] < 0.7 * test[BEST]["rmse"]
    assert test[WEATHER]["rmse"] < test[COUNTS]["rmse"]
    assert result["elsewhere_rmse"]["sand"][WEATHER] > test[WEATHER]["rmse"]
