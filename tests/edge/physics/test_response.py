"""Every response by one interface: printed values of neptoon, inverse, slope, bits, scales."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_edge.physics.cosmic import cosmic_inversion, cosmic_rate, driest_rate
from epithermal_edge.physics.footprint import d86_cm, depth_weight
from epithermal_edge.physics.response import (
    matching_scale,
    matching_scale_sigma,
    profile_mean,
    relative_slope,
    response_driest_rate,
    response_humidity_factor,
    response_inversion,
    response_rate,
    response_sigma,
    response_slope,
    response_theta,
)
from epithermal_edge.physics.response_forms import RESPONSES
from epithermal_edge.site import Site

GRAVIMETRIC = (0.03, 0.1, 0.2, 0.35)  # [g g-1]
ADDITIONAL, HUMIDITY = 0.04, 8.0  # [g g-1], [g m-3]
# counts/h that neptoon 1.12.7 prints for a scale of 1000, at GRAVIMETRIC, ADDITIONAL and (UTS
# alone) HUMIDITY: grav_soil_moisture_to_neutrons_desilets_etal_2010, _koehli_etal_2021 and
# convert_grav_soil_moisture_to_neutrons_koehli_etal_2025, which bisects to 1e-12 of intensity
NEPTOON = {
    "desilets": (808.7567567567568, 688.8627450980391, 599.6056338028168, 532.0),
    "uts2021_mcnp_drf": (
        *(519.6670943609355, 419.1826241169711),
        *(357.8388939739288, 316.4078610160744),
    ),
    "uts2021_uranos_drf": (
        *(516.9438741341124, 427.2949125090405),
        *(365.56441338712256, 312.59482648406487),
    ),
    "uts2021_mcnp_ewin": (
        *(423.0011770978339, 323.8754784655793),
        *(270.85084946200715, 235.19934724985202),
    ),
    "uts2021_uranos_ewin": (
        *(429.67001020911425, 333.71162168992197),
        *(273.3828665534741, 228.32872049631115),
    ),
    "uts2025_norm_endf8": (
        *(499.2703186254112, 391.3561011776103),
        *(328.6220018772996, 287.0586166159633),
    ),
    "uts2025_gd_endf8": (
        *(455.8524650538435, 346.7918686167692),
        *(286.95211986034434, 248.58651890405008),
    ),
    "uts2025_ewin_endf8": (
        *(400.0145843058887, 292.6243281188291),
        *(237.7936940711815, 203.75214949676175),
    ),
    "uts2025_norm_endf7": (
        *(490.3666099610775, 391.8597751394904),
        *(337.4160587216122, 300.62389718721937),
    ),
}


def site_of(name: str, **values: object) -> Site:
    given = {"cosmic_n_cph": 1000.0, "bulk_density_g_cm3": 1.3, "lattice_water_g_g": 0.03,
             "organic_water_g_g": 0.01, "humidity_ref_g_m3": HUMIDITY}  # fmt: skip
    return Site(**(given | values), response=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NEPTOON)
def test_a_response_gives_the_counts_that_neptoon_prints(name):
    theta = 1.3 * np.array(GRAVIMETRIC)
    np.testing.assert_allclose(response_rate(theta, site_of(name)), NEPTOON[name], rtol=1e-9)


def test_every_response_but_cosmic_has_a_printed_value():
    assert set(NEPTOON) == set(RESPONSES) - {"cosmic"}


def test_cosmic_of_the_interface_has_the_bits_of_cosmic():
    site = site_of("cosmic")
    n = np.linspace(50.0, 900.0, 400)
    theta, slope = response_inversion(n, site)
    expected = cosmic_inversion(n, site)
    assert theta.tobytes() == expected[0].tobytes() and slope.tobytes() == expected[1].tobytes()
    assert response_rate(theta, site).tobytes() == cosmic_rate(theta, site).tobytes()
    assert response_driest_rate(site) == driest_rate(site)


@pytest.mark.parametrize("name", RESPONSES)
def test_an_inversion_returns_to_its_water_content(name):
    theta = np.linspace(0.001, 0.899, 400)
    site = site_of(name)
    n = response_rate(theta, site)
    got, slope = response_inversion(n, site)
    np.testing.assert_allclose(got, theta, atol=1e-10)
    np.testing.assert_allclose(slope, response_slope(theta, site), rtol=1e-4)
    np.testing.assert_allclose(response_sigma(n, 5.0, site), 5.0 / np.abs(slope))


@pytest.mark.parametrize("name", RESPONSES)
def test_a_slope_is_the_derivative_of_the_rate(name):
    theta, h = np.linspace(0.01, 0.8, 80), 1e-6
    site = site_of(name)
    numeric = (response_rate(theta + h, site) - response_rate(theta - h, site)) / (2.0 * h)
    np.testing.assert_allclose(response_slope(theta, site), numeric, rtol=1e-6)
    assert (response_slope(theta, site) < 0.0).all()


@pytest.mark.parametrize("name", RESPONSES)
def test_an_impossible_rate_is_clipped_and_nan_stays(name):
    site = site_of(name)
    driest = float(response_driest_rate(site))
    assert driest == pytest.approx(float(response_rate(np.zeros(1), site)[0]))
    theta = response_theta(np.array([1e6, driest * 1.001, 1.0, 0.0, np.nan]), site)
    assert theta[:4].tolist() == [0.0, 0.0, 0.9, 0.9] and np.isnan(theta[4])


def test_one_site_has_the_bits_of_a_thousand_with_mixed_responses():
    rng = np.random.default_rng(5)
    n, names = 1000, tuple(RESPONSES)
    values = {"cosmic_n_cph": rng.uniform(300.0, 900.0, n),
              "bulk_density_g_cm3": rng.uniform(0.8, 1.7, n),
              "lattice_water_g_g": rng.uniform(0.0, 0.08, n),
              "humidity_ref_g_m3": rng.uniform(0.0, 15.0, n)}  # fmt: skip
    each = [names[i] for i in rng.integers(0, len(names), n)]
    many = Site(**values, response=tuple(each))
    theta, h = rng.uniform(0.02, 0.6, n), rng.uniform(0.0, 20.0, n)
    rate = response_rate(theta, many)
    back, slope = response_inversion(rate, many)
    factor = response_humidity_factor(h, many)
    for i in range(0, n, 7):
        one = Site(**{k: float(v[i]) for k, v in values.items()}, response=each[i])
        assert response_rate(theta[i : i + 1], one)[0] == rate[i]
        got, got_slope = response_inversion(rate[i : i + 1], one)
        assert (got[0], got_slope[0]) == (back[i], slope[i])
        assert response_humidity_factor(h[i : i + 1], one)[0] == factor[i]


@pytest.mark.parametrize("name", RESPONSES)
def test_the_humidity_factor_is_1_at_the_reference_and_rises(name):
    factor = response_humidity_factor(np.array([0.0, HUMIDITY, 20.0]), site_of(name))
    assert factor[1] == pytest.approx(1.0, abs=1e-12)
    assert factor[0] < 1.0 < factor[2]


@pytest.mark.parametrize("name", [name for name in RESPONSES if name.startswith("uts2021")])
def test_the_humidity_factor_of_uts_depends_little_on_water(name):
    """The station does not know theta when it corrects a record; the form has it in the factor."""
    dry = site_of(name, humidity_ref_g_m3=0.0)
    humid = site_of(name, humidity_ref_g_m3=10.0)
    factor = float(response_humidity_factor(10.0, dry))
    theta = np.linspace(0.1, 0.5, 41)
    exact = response_rate(theta, dry) / response_rate(theta, humid)
    assert np.abs(factor / exact - 1.0).max() < 0.007


def test_the_responses_have_their_order_of_steepness():
    theta = np.linspace(0.15, 0.35, 21)

    def steepness(name: str) -> float:
        return float(relative_slope(theta, site_of(name)).mean())

    cosmic = steepness("cosmic")
    assert 0.6 < steepness("desilets") / cosmic < 0.75
    for name in NEPTOON:
        assert 0.6 < steepness(name) / cosmic < 1.05, name


def test_a_profile_mean_is_what_its_weights_give():
    bottom = np.arange(0.5, 60.5, 0.5)
    theta = 0.1 + 0.2 * bottom / 60.0
    mean = float(profile_mean(theta, bottom, 1.4, 0.03))
    weight = depth_weight(bottom - 0.25, d86_cm(mean + 1.4 * 0.03, 1.4))
    assert mean == pytest.approx(np.average(theta, weights=weight), abs=1e-3)
    uniform = profile_mean(np.full((3, 120), 0.27), bottom, 1.4, 0.03)
    np.testing.assert_allclose(uniform, 0.27, rtol=1e-12)


@pytest.mark.parametrize("name", NEPTOON)
def test_a_scale_turned_into_cosmics_gives_the_same_water_at_that_point(name):
    known, theta = site_of(name, cosmic_n_sigma=0.02), np.array([0.22])
    n = matching_scale(theta, known, "cosmic")
    turned = dataclasses.replace(known, response="cosmic", cosmic_n_cph=float(n[0]))
    assert response_theta(response_rate(theta, known), turned)[0] == pytest.approx(0.22, abs=1e-10)
    exact, wide = (matching_scale_sigma(theta, s, known, "cosmic")[0] for s in (0.0, 0.03))
    apart = float((relative_slope(theta, known) - relative_slope(theta, turned))[0])
    assert exact == pytest.approx(0.02) and wide == pytest.approx(np.hypot(0.02, 0.03 * apart))


def test_an_unknown_response_is_refused():
    with pytest.raises(ValueError, match="'hydrogen' is unknown: use one of cosmic, desilets"):
        response_rate([0.2], site_of("hydrogen"))
