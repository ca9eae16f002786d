"""Snow water from counts: COSMIC's surface water as the host's sum, Desilets' printed numbers."""

import numpy as np
import pytest

from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.physics.response import response_rate
from epithermal_edge.physics.snow_water import (
    desilets_snow_water_mm,
    pore_space,
    snow_share,
    snow_water_mm,
)
from epithermal_edge.site import Site

SITE = Site(2000.0, 1.36, 0.03, 0.018)
SWE_MM = np.array([0.0, 2.0, 10.0, 30.0, 60.0, 120.0, 250.0])


def rates(swe_mm, theta, site=SITE):
    """Rates by COSMIC under snow, relative to the site's response without it."""
    theta = np.broadcast_to(theta, np.shape(swe_mm))
    return snow_share(swe_mm, theta, site) * response_rate(theta, site)


@pytest.mark.parametrize("theta", [0.05, 0.25, 0.5])
def test_the_share_is_that_of_cosmic_by_layers_and_angles_as_published(theta):
    """The sum over 1 mm layers and 180 angles of Shuttleworth et al. (2013), written out."""
    dz, cosine = 0.01, np.cos(np.deg2rad(np.arange(0.0, 90.0, 0.5)))
    soil = np.arange(0.5 * dz, 300.0, dz)
    density, water = 1.36, theta + 0.048 * 1.36
    alpha, l3 = 0.405 - 0.102 * density, -31.65 + 99.29 * density

    def counted(swe_cm):
        snow = np.arange(0.5 * dz, swe_cm, dz)
        high = np.concatenate(
            (snow / 129.1, swe_cm / 129.1 + soil * (density / 162 + water / 129.1))
        )
        fast = np.concatenate((snow / 3.16, swe_cm / 3.16 + soil * (density / l3 + water / 3.16)))
        made = np.concatenate((np.ones(len(snow)), np.full(len(soil), alpha * density + water)))
        return sum(float((made * np.exp(-high - fast / c)).sum()) for c in cosine)

    bare = counted(0.0)
    for swe_mm in (10.0, 50.0, 150.0):
        share = float(snow_share(np.array([swe_mm]), np.array([theta]), SITE)[0])
        assert share == pytest.approx(counted(0.1 * swe_mm) / bare, rel=2e-4)


def test_without_snow_the_counts_are_those_of_the_soil():
    theta = np.array([0.0, 0.1, 0.3, 0.6])
    np.testing.assert_allclose(rates(np.zeros(4), theta), cosmic_rate(theta, SITE), rtol=1e-12)


@pytest.mark.parametrize("theta", [0.0, 0.1, 0.35, 0.9])
@pytest.mark.parametrize("density", [0.5, 1.36, 2.2])
@pytest.mark.parametrize("response", ["cosmic", "uts2021_mcnp_drf"])
def test_the_water_comes_back_from_the_rate(theta, density, response):
    site = Site(2000.0, density, 0.03, response=response)
    below = np.full(len(SWE_MM), theta)
    np.testing.assert_allclose(
        snow_water_mm(rates(SWE_MM, theta, site), below, site), SWE_MM, atol=1e-4
    )


def test_more_counts_than_without_snow_are_none_and_fewer_than_over_deep_water_unknown():
    theta = np.array([0.2, 0.2])
    bare = cosmic_rate(theta, SITE)
    deep = bare * snow_share(np.array([np.inf, np.inf]), theta, SITE)
    for form in (snow_water_mm, desilets_snow_water_mm):
        assert form(1.1 * bare, theta, SITE).tolist() == [0.0, 0.0]
        assert np.isnan(form(np.full(2, np.nan), theta, SITE)).all()
    assert np.isnan(snow_water_mm(deep, theta, SITE)).all()
    assert np.isnan(desilets_snow_water_mm(0.3 * bare, theta, SITE)).all()


def test_desilets_has_his_attenuation_length_and_his_counts_over_deep_water():
    """Desilets (2017): 4.8 cm, 0.24 N0; N0 here from theta 0.2 by his equation of 2010."""
    theta = np.array([0.2])
    bare = float(cosmic_rate(theta, SITE)[0])
    n0 = bare / (0.0808 / (0.2 / 1.36 + 0.048 + 0.115) + 0.372)
    at_one_length = 0.24 * n0 + (bare - 0.24 * n0) / np.e
    swe_mm = desilets_snow_water_mm(np.array([at_one_length]), theta, SITE)
    assert swe_mm[0] == pytest.approx(48.0, abs=1e-6)


def test_the_pore_space_is_what_the_solids_leave():
    np.testing.assert_allclose(pore_space([1.325, 2.65]), [0.5, 0.0])
