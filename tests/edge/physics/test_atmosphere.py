"""Humidity, radiation and pressure agree with published tables."""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_edge.physics.atmosphere import (
    BOLTON_1980,
    CAMPBELL_NORMAN_1998,
    absolute_humidity,
    atmospheric_depth,
    extraterrestrial_radiation,
    hargreaves_et0,
    mean_pressure,
    saturation_vapour_pressure,
)


@pytest.mark.parametrize(("t_c", "table_g_m3"), [(0, 4.85), (20, 17.3), (30, 30.4)])
def test_saturated_air_agrees_with_the_printed_table(t_c, table_g_m3):
    assert absolute_humidity(t_c, 100) == pytest.approx(table_g_m3, rel=5e-3)


@pytest.mark.parametrize(("t_c", "e_kpa"), [(1, 0.657), (15, 1.705), (25, 3.168), (40, 7.376)])
def test_saturation_vapour_pressure_agrees_with_fao_56_table_2_3(t_c, e_kpa):
    # the paper's table has other constants of the Magnus form: 0.2 % apart
    assert saturation_vapour_pressure(t_c) == pytest.approx(10 * e_kpa, rel=3e-3)


def test_humidity_of_air_agrees_with_neptoon_given_its_constants(corrections_table, agrees):
    table = corrections_table("humidity.csv")
    t_c, rh = table["air_temperature_c"], table["relative_humidity_pct"]
    e_sat = saturation_vapour_pressure(t_c, BOLTON_1980)
    agrees(e_sat, table["saturation_vapour_pressure_hpa_neptoon"])
    agrees(e_sat * rh / 100, table["vapour_pressure_hpa_neptoon"])
    agrees(absolute_humidity(t_c, rh, BOLTON_1980), table["absolute_humidity_g_m3_neptoon"])


def test_humidity_of_air_agrees_with_crnpy_but_for_its_gas_constant(corrections_table, agrees):
    table = corrections_table("humidity.csv")
    t_c, rh = table["air_temperature_c"], table["relative_humidity_pct"]
    ours = absolute_humidity(t_c, rh, CAMPBELL_NORMAN_1998)
    # 2.16679 g K J-1 there, 1000 / 461.5 here
    agrees(ours * 2.16679 * 461.5e-3, table["absolute_humidity_g_m3_crnpy"])


@pytest.mark.parametrize("package", ["neptoon", "crnpy"])
def test_the_constants_of_the_wmo_stay_within_half_a_permille_of_a_count(
    corrections_table, package
):
    table = corrections_table("humidity.csv")
    t_c, rh = table["air_temperature_c"], table["relative_humidity_pct"]
    apart = absolute_humidity(t_c, rh) - table[f"absolute_humidity_g_m3_{package}"]
    usual = (t_c >= 0) & (t_c <= 30)
    assert np.max(np.abs(apart[usual])) < 0.09  # 0.05 % of a count
    assert np.max(np.abs(apart)) < 0.2  # at 45 degC and saturated: 0.1 % of a count


def test_a_dead_sensor_stays_visible():
    humidity = absolute_humidity([20.0, np.nan, 20.0], [50.0, 50.0, np.nan])
    assert np.isnan(humidity).tolist() == [False, True, True]


def test_radiation_agrees_with_fao_56_example_8():
    # 3 September at 20 degrees south: 32.2 MJ m-2 d-1, or 13.1 mm d-1
    assert extraterrestrial_radiation(-20.0, 246) / 0.408 == pytest.approx(32.2, abs=0.05)
    assert extraterrestrial_radiation(-20.0, 246) == pytest.approx(13.1, abs=0.05)


def test_no_sun_rises_in_the_polar_night_and_none_sets_in_the_polar_day():
    night, day = extraterrestrial_radiation([75.0, -75.0], [355, 355])
    assert night == 0.0
    assert day > 15.0


def test_hargreaves_agrees_with_fao_56_example_20():
    # Lyon in July: 14.8 to 26.6 degC, 5.0 mm d-1
    assert hargreaves_et0(20.7, 14.8, 26.6, 45.72, 196) == pytest.approx(5.0, abs=0.05)


def test_hargreaves_is_never_negative_and_nan_stays_nan():
    et0 = hargreaves_et0(
        [-30.0, 20.0, np.nan, 20.0],
        [-35.0, 21.0, 10.0, 10.0],
        [-25.0, 19.0, 20.0, 20.0],
        [60.0, 45.0, 45.0, np.nan],
        [10, 180, 180, 180],
    )
    np.testing.assert_array_equal(et0, [0.0, 0.0, np.nan, np.nan])


def test_mean_pressure_and_depth_of_the_atmosphere_agree_with_the_packages(
    corrections_table, agrees
):
    table = corrections_table("pressure_coefficient.csv")
    latitude, altitude = table["latitude_deg"], table["elevation_m"]
    agrees(mean_pressure(altitude), table["mean_pressure_hpa_neptoon"])
    depth = atmospheric_depth(latitude, altitude)
    agrees(depth, table["atmospheric_depth_g_cm2_crnpy"])
    # neptoon has 4.194e-10 for 2 pi G, which is 4.193e-10
    agrees(depth, table["atmospheric_depth_g_cm2_neptoon_md2023"], rtol=1e-7)


def test_one_site_gives_the_same_bits_as_many():
    rng = np.random.default_rng(1)
    n = 1000
    t_c, rh = rng.uniform(-40, 50, n), rng.uniform(0, 100, n)
    latitude, day = rng.uniform(-80, 80, n), rng.integers(1, 367, n).astype(float)
    spread = rng.uniform(0, 10, n)
    many = np.stack(
        (absolute_humidity(t_c, rh), hargreaves_et0(t_c, t_c - spread, t_c + spread, latitude, day))
    )
    for i in range(n):
        t, s = t_c[i : i + 1], spread[i : i + 1]
        one = absolute_humidity(t, rh[i : i + 1])
        assert one == many[0, i]
        one = hargreaves_et0(t, t - s, t + s, latitude[i : i + 1], day[i : i + 1])
        assert one == many[1, i]
