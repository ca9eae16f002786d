"""The scale of f_i follows from the monitor whose counts are used, and the cutoff from a place."""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_edge.physics.atmosphere import atmospheric_depth
from epithermal_edge.physics.corrections import hawdon_scale, mcjannet_scale
from epithermal_edge.physics.cutoff import CUTOFF_ERROR_GV, cutoff_rigidity
from epithermal_edge.physics.neutron_monitors import (
    distance_km,
    find_monitor,
    incoming_scale,
    list_monitors,
)

PLACES = {"Brabant": (51.0, 50.0, 2.93), "Kansas": (39.2, 350.0, 2.7), "Brisbane": (-27.5, 90, 6.9)}
TEN = ("JUNG", "JUNG1", "OULU", "ATHN", "KIEL", "LMKS", "NEWK", "MXCO", "HRMS", "PSNM")
# tau of neptoon 0.13 (McjannetDesilets2023.tau, of Jungfraujoch), place over monitor; and
# 1 - 0.075 (R - R_m), Hawdon et al. (2014).


def neptoon_tau(latitude, elevation, cutoff):
    """Compute tau as neptoon does: its own gravity and pressure, Jungfraujoch as reference."""
    sine = np.sin(latitude / 180 * 3.141) ** 2
    double = np.sin(2 * latitude / 180 * 3.141) ** 2
    g = 9.780327 * (1 + 0.0053024 * sine - 0.0000058 * double)
    g += -3.086e-6 * elevation + 4.194e-10 * 2670 * elevation
    exponent = (-g * 0.0289644) / (8.31432 * -0.0065)
    depth = 10 * 1013.25 * (1 - 0.0065 / 288.15 * elevation) ** exponent / g

    def response(x, r):
        return (1.7699 - 0.0009 * x) * (
            1 - np.exp(-(0.0064 * x + 1.8855) * r ** (0.000013 * x - 1.2237))
        )

    return response(depth, cutoff) / response(665.18, 4.49)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", TEN)
def test_the_scale_of_ten_monitors_is_that_of_neptoon(name, place):
    latitude, altitude, cutoff = PLACES[place]
    monitor = find_monitor(name)
    tau = neptoon_tau(latitude, altitude, cutoff) / neptoon_tau(
        monitor.latitude_deg, monitor.altitude_m, monitor.cutoff_gv
    )
    ours = incoming_scale("mcjannet2023", latitude, altitude, cutoff, monitor)
    assert ours == pytest.approx(tau, rel=2e-4)
    hawdon = 1.0 - 0.075 * (cutoff - monitor.cutoff_gv)
    assert incoming_scale("hawdon2014", latitude, altitude, cutoff, monitor) == hawdon


@pytest.mark.parametrize(("name", "scale"), [("JUNG", 1.03), ("OULU", 0.90), ("ATHN", 1.90)])
def test_a_low_place_scales_to_each_monitor_by_its_own_response(name, scale):
    ours = float(incoming_scale("mcjannet2023", 51.0, 50.0, 2.93, find_monitor(name)))
    assert round(ours, 2) == scale


def test_jungfraujoch_keeps_the_published_numbers():
    depth = atmospheric_depth(51.0, 70.0)
    jung = find_monitor("JUNG")
    assert incoming_scale("mcjannet2023", 51.0, 70.0, 3.0, jung) == mcjannet_scale(3.0, depth)
    assert incoming_scale("hawdon2014", 51.0, 70.0, 3.0, jung) == hawdon_scale(3.0)
    assert incoming_scale("plain", 51.0, 70.0, 3.0, jung) == 1.0


def test_an_unknown_monitor_needs_cutoff_and_altitude():
    assert find_monitor("BUDA") is None and find_monitor("BUDA", 4.0) is None
    own = find_monitor("BUDA", 4.49, 3570.0)
    scale = incoming_scale("mcjannet2023", 51.0, 70.0, 3.0, own)
    assert scale == pytest.approx(mcjannet_scale(3.0, atmospheric_depth(51.0, 70.0)), rel=1e-3)
    assert find_monitor("OULU", altitude_m=500.0).depth_g_cm2 < find_monitor("OULU").depth_g_cm2
    assert find_monitor("OULU", 0.9).cutoff_gv == 0.9


def test_every_listed_monitor_has_a_place_on_earth_and_a_positive_scale():
    monitors = list_monitors()
    assert len(monitors) > 50 and len({m.name for m in monitors}) == len(monitors)
    for m in monitors:
        assert 0.0 <= m.cutoff_gv < 18.0 and 650.0 < m.depth_g_cm2 < 1040.0
        assert abs(m.latitude_deg) <= 90.0 and abs(m.longitude_deg) <= 180.0
        assert 0.5 < incoming_scale("mcjannet2023", 50.0, 100.0, 3.0, m) < 4.0


def test_the_cutoff_of_a_place_is_within_its_error():
    # of the monitors that NMDB lists: calculated for each by its operators
    monitors = list_monitors()
    latitude = np.array([m.latitude_deg for m in monitors])
    longitude = np.array([m.longitude_deg for m in monitors])
    listed = np.array([m.cutoff_gv for m in monitors])
    error = cutoff_rigidity(latitude, longitude) - listed
    assert np.sqrt(np.mean(error**2)) < 1.3 * CUTOFF_ERROR_GV and np.abs(error).max() < 1.5


def test_the_cutoff_joins_at_the_date_line_and_is_small_at_the_poles():
    assert cutoff_rigidity(40.0, 180.0) == pytest.approx(cutoff_rigidity(40.0, -180.0))
    world = cutoff_rigidity(np.linspace(-90, 90, 37)[:, None], np.linspace(-180, 180, 25))
    assert world.shape == (37, 25) and world.min() >= 0.0 and 17.0 < world.max() < 18.5
    assert world[[0, -1]].max() < 0.5


def test_a_degree_of_latitude_is_111_km_and_of_longitude_shrinks_with_the_cosine():
    kiel = find_monitor("KIEL")
    north, east = kiel.latitude_deg, kiel.longitude_deg
    assert distance_km(north, east, kiel) == 0.0
    assert distance_km(north + 1.0, east, kiel) == pytest.approx(111.19, abs=0.01)
    shrunk = 111.19 * np.cos(np.radians(north))
    assert distance_km(north, east + 1.0, kiel) == pytest.approx(shrunk, abs=0.01)
    assert distance_km(-north, east + 180.0, kiel) == pytest.approx(np.pi * 6371.0)
