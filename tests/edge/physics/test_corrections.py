"""The factors agree with each column of ../shared/reference/corrections."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.physics.atmosphere import atmospheric_depth, mean_pressure
from epithermal_edge.physics.corrections import (
    _depth_desilets,
    biomass_factor,
    hawdon_scale,
    hertle_scale,
    humidity_factor,
    incoming_factor,
    mcjannet_scale,
    muon_rate,
    pressure_coefficient,
    pressure_factor,
    thermal_ratio,
)
from epithermal_edge.site import Muons


def test_pressure_factor_agrees_with_both_packages(corrections_table, agrees):
    table = corrections_table("pressure_factor.csv")
    beta = 1.0 / table["attenuation_length_hpa(=g_cm2_used_as_hpa)"]
    agrees(beta, table["beta_per_hpa"])
    f_p = pressure_factor(table["pressure_hpa"], beta, table["ref_pressure_hpa"])
    agrees(f_p, table["fp_multiplier_neptoon"])
    agrees(1.0 / f_p, table["fp_divisor_crnpy"])


@pytest.mark.parametrize(
    ("form", "column"),
    [
        ("desilets_zreda2003", "beta_desilets_zreda_2003_per_hpa"),
        ("desilets2021", "beta_desilets_2021_per_hpa"),
        ("tirado_bueno2021", "beta_tirado_bueno_2021_per_hpa"),
    ],
)
def test_pressure_coefficient_agrees_with_neptoon(corrections_table, agrees, form, column):
    table = corrections_table("pressure_coefficient.csv")
    beta = pressure_coefficient(
        table["latitude_deg"], table["elevation_m"], table["cutoff_rigidity_gv"], form
    )
    agrees(beta, table[column])


def test_the_depth_in_the_coefficient_is_that_of_neptoon(corrections_table, agrees):
    table = corrections_table("pressure_coefficient.csv")
    depth = _depth_desilets(table["latitude_deg"], mean_pressure(table["elevation_m"]))
    agrees(depth, table["atmospheric_depth_g_cm2_neptoon_beta_module"])


def test_humidity_factor_agrees_with_both_packages(corrections_table, agrees):
    table = corrections_table("humidity.csv")
    neptoon = table["absolute_humidity_g_m3_neptoon"]
    agrees(humidity_factor(neptoon), table["fw_rosolem2013_ref0_neptoon"])
    agrees(humidity_factor(neptoon, 7.5), table["fw_rosolem2013_ref7.5_neptoon"])
    agrees(humidity_factor(neptoon, slope_m3_g=0.0021), table["fw_thermal_rasche2023_ref0_neptoon"])
    crnpy = table["absolute_humidity_g_m3_crnpy"]
    agrees(humidity_factor(crnpy), table["fw_rosolem2013_ref0_crnpy"])


def test_biomass_factor_agrees_with_both_packages(corrections_table, agrees):
    table = corrections_table("biomass.csv")
    biomass = table["bwe_or_agb_kg_m2(mm)"]
    agrees(biomass_factor(biomass), table["fb_multiplier_baatz2015_neptoon"])
    agrees(biomass_factor(biomass, 0.010), table["fb_multiplier_morris2024_neptoon"])
    for slope in (0.0053, 0.009):
        column = f"counts_from_1000cph_crnpy_r2N0_{slope}"
        agrees(1000.0 * biomass_factor(biomass, slope), table[column])


def test_plants_that_leave_no_count_give_no_factor():
    assert np.isnan(biomass_factor([100.0, 101.0], 0.01)).all()
    assert biomass_factor(99.0, 0.01) == pytest.approx(100.0)


def test_scales_of_the_incoming_flux_agree_with_the_packages(corrections_table, agrees):
    table = corrections_table("incoming_intensity.csv")
    cutoff, depth = table["cutoff_rigidity_gv"], table["atmospheric_depth_g_cm2"]
    ours = atmospheric_depth(table["latitude_deg"], table["elevation_m"])
    agrees(ours, depth, rtol=1e-7)  # as in test_air: 2 pi G
    agrees(hawdon_scale(cutoff), table["hawdon2014_rc_factor"])
    agrees(mcjannet_scale(cutoff, depth), table["tau_mcjannet_desilets2023_neptoon"])
    agrees(mcjannet_scale(cutoff, depth), table["tau_mcjannet_desilets2023_crnpy"])
    agrees(mcjannet_scale(cutoff, ours), table["tau_mcjannet_desilets2023_crnpy"], rtol=1e-7)
    agrees(hertle_scale(cutoff, depth), table["tau_hertle2025_neptoon"])


def test_incoming_factor_agrees_with_the_published_forms(corrections_table, agrees):
    table = corrections_table("incoming_intensity.csv")
    i, i_ref, cutoff = table["nm_count"], table["nm_reference"], table["cutoff_rigidity_gv"]
    depth = table["atmospheric_depth_g_cm2"]
    hawdon, tau = hawdon_scale(cutoff), mcjannet_scale(cutoff, depth)
    agrees(incoming_factor(i, i_ref, "plain"), table["fi_multiplier_unscaled"])
    agrees(
        incoming_factor(i, i_ref, "hawdon2014", hawdon), table["fi_multiplier_hawdon2014_neptoon"]
    )
    agrees(
        incoming_factor(i, i_ref, "mcjannet2023", tau), table["fi_multiplier_md2023_as_published"]
    )
    agrees(1.0 / incoming_factor(i, i_ref, "mcjannet2023", tau), table["fi_divisor_md2023_crnpy"])
    hertle = hertle_scale(cutoff, depth)
    agrees(
        incoming_factor(i, i_ref, "mcjannet2023", hertle),
        table["fi_multiplier_hertle2025_neptoon"],
    )


@pytest.mark.parametrize("form", ["plain", "hawdon2014", "mcjannet2023"])
def test_a_monitor_or_a_reference_of_zero_gives_no_factor(form):
    assert np.isnan(incoming_factor([0.0, -1.0, 150.0], [150.0, 150.0, 0.0], form, 0.5)).all()
    assert incoming_factor(150.0, 150.0, form, 0.5) == 1.0
    assert np.isnan(incoming_factor(1e-320, 150.0, "plain", 0.5))  # beyond the largest number


def test_where_the_packages_swap_the_forms_the_other_form_explains_them(corrections_table, agrees):
    table = corrections_table("incoming_intensity.csv")
    i, i_ref, cutoff = table["nm_count"], table["nm_reference"], table["cutoff_rigidity_gv"]
    hawdon = hawdon_scale(cutoff)
    tau = mcjannet_scale(cutoff, table["atmospheric_depth_g_cm2"])
    agrees(incoming_factor(i, i_ref, "hawdon2014", tau), table["fi_multiplier_md2023_neptoon"])
    agrees(
        1.0 / incoming_factor(i, i_ref, "mcjannet2023", hawdon),
        table["fi_divisor_hawdon2014_crnpy"],
    )


def test_every_factor_is_one_in_the_reference_atmosphere():
    assert pressure_factor(985.0, 0.0077, 985.0) == 1.0
    assert humidity_factor(6.5, 6.5) == 1.0
    assert biomass_factor(0.0) == 1.0
    for form in ("none", "plain", "hawdon2014", "mcjannet2023"):
        assert incoming_factor(150.0, 150.0, form, 0.7) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("form", ["plain", "hawdon2014", "mcjannet2023"])
def test_a_loss_of_cosmic_rays_raises_the_factor(form):
    f_i = incoming_factor(np.linspace(120.0, 180.0, 61), 150.0, form, 0.8)
    assert np.all(np.diff(f_i) < 0.0)


@pytest.mark.parametrize("form", ["plain", "hawdon2014", "mcjannet2023"])
def test_a_monitor_that_counts_nothing_gives_no_factor(form):
    f_i = incoming_factor([np.nan, 0.0, -1.0, np.inf], 150.0, form, 1.2)
    assert np.isnan(f_i).all()
    assert np.isnan(incoming_factor(150.0, np.nan, form))


def test_without_a_monitor_the_factor_is_one():
    np.testing.assert_array_equal(incoming_factor([np.nan, 150.0], np.nan, "none"), [1.0, 1.0])


def test_plants_whose_slope_leaves_no_count_give_no_factor():
    assert np.isnan(biomass_factor([111.2, 200.0])).all()


def test_the_poles_have_no_cutoff_and_yet_a_scale():
    for scale in (mcjannet_scale(0.0, 1000.0), hertle_scale(0.0, 1000.0), hawdon_scale(0.0)):
        assert 1.0 < scale < 1.5
    assert np.isfinite(pressure_coefficient(90.0, 0.0, 0.0))
    assert np.isnan(pressure_coefficient(90.0, 0.0, 0.0, "tirado_bueno2021"))


def test_an_unknown_form_is_a_mistake_of_the_programmer():
    with pytest.raises(ValueError, match="unknown form 'zreda'"):
        incoming_factor(150.0, 150.0, "zreda")
    with pytest.raises(ValueError, match="unknown form 'zreda'"):
        pressure_coefficient(50.0, 100.0, 3.0, "zreda")


def test_one_site_gives_the_same_bits_as_many():
    rng = np.random.default_rng(2)
    n = 1000
    p, beta = rng.uniform(600, 1050, n), rng.uniform(0.006, 0.009, n)
    x, i, tau = rng.uniform(0, 30, n), rng.uniform(120, 180, n), rng.uniform(0.3, 1.4, n)

    def factors(at: slice) -> np.ndarray:
        return np.stack(
            (
                pressure_factor(p[at], beta[at], 985.0),
                humidity_factor(x[at], 5.0),
                incoming_factor(i[at], 150.0, "mcjannet2023", tau[at]),
                biomass_factor(x[at]),
                mcjannet_scale(x[at], p[at]),
                pressure_coefficient(x[at], 10 * x[at], x[at]),
            )
        )

    many = factors(slice(None))
    for k in range(n):
        np.testing.assert_array_equal(factors(slice(k, k + 1))[:, 0], many[:, k])


def test_the_readme_states_for_every_reference_column_how_it_is_met(shared):
    readme = Path(__file__).parents[1].joinpath("README.md").read_text()
    for path in sorted((shared / "reference" / "corrections").glob("*.csv")):
        assert f"**{path.name}**" in readme
        section = readme.split(f"**{path.name}**")[1].split("| **")[0]
        with path.open(newline="") as file:
            for column in next(csv.reader(file)):
                assert f"`{column}`" in section, f"{path.name}: {column}"


def test_muons_lose_counts_with_pressure_and_warmth_and_the_rate_has_neither():
    rate = muon_rate(7000.0, 3600.0, 1013.25, 15.0, 1013.25, Muons())
    assert float(rate) == 7000.0
    lower, higher = 7000.0 * math.exp(-0.019), 7000.0 / 1.028
    assert muon_rate(lower, 3600.0, 1023.25, 15.0, 1013.25, Muons()) == pytest.approx(7000.0)
    assert muon_rate(higher, 3600.0, 1013.25, 25.0, 1013.25, Muons()) == pytest.approx(7000.0)
    assert muon_rate(3500.0, 1800.0, 1013.25, 15.0, 1013.25, Muons()) == pytest.approx(7000.0)


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_without_muons_time_or_air_there_is_no_rate(missing, value):
    values = [7000.0, 3600.0, 1013.25, 15.0]
    values[missing] = value
    rate = float(muon_rate(*values, 1013.25, Muons()))
    assert math.isnan(rate) == (math.isnan(value) or missing < 2)


def test_the_thermal_ratio_is_one_of_rates_without_the_humidity_of_either_tube():
    ratio, sigma = thermal_ratio([400.0, 100.0, 0.0], [3600.0, 900.0, 3600.0], 1000.0, 3600.0)
    assert ratio[:2].tolist() == pytest.approx([0.4, 0.4]) and math.isnan(ratio[2])
    assert sigma[0] == pytest.approx(0.4 * math.sqrt(1.0 / 400.0 + 1.0 / 1000.0))
    humid, _ = thermal_ratio(400.0 / 1.021, 3600.0, 1000.0 / 1.054, 3600.0, 10.0)
    assert float(humid) == pytest.approx(0.4)
