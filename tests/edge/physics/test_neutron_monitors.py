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


THREE = {
    "Sheepdrove": (51.5, 170.0, 2.93),
    "Roaring Fork": (39.2, 2151.0, 2.9),
    "Pyeongchang": (37.531, 538.0, 10.9),
}
NEPTOON = {
    "JUNG": (4.49, (1.04700, 1.22030, 0.44027), (1.11700, 1.11925, 0.51925)),
    "OULU": (0.80, (0.91422, 1.06554, 0.38443), (0.84025, 0.84250, 0.24250)),
    "ATHN": (8.53, (1.92378, 2.24220, 0.80896), (1.42000, 1.42225, 0.82225)),
    "DRBS": (3.18, (1.02283, 1.19213, 0.43010), (1.01875, 1.02100, 0.42100)),
    "KIEL": (2.36, (0.95870, 1.11738, 0.40314), (0.95725, 0.95950, 0.35950)),
    "LMKS": (3.84, (0.96545, 1.12525, 0.40598), (1.06825, 1.07050, 0.47050)),
    "MXCO": (8.20, (1.74312, 2.03164, 0.73299), (1.39525, 1.39750, 0.79750)),
    "NEWK": (2.40, (0.96355, 1.12303, 0.40518), (0.96025, 0.96250, 0.36250)),
    "ROME": (6.27, (1.52467, 1.77702, 0.64113), (1.25050, 1.25275, 0.65275)),
    "PSNM": (16.80, (3.59837, 4.19396, 1.51313), (2.04025, 2.04250, 1.44250)),
}
"""Cutoff rigidity, tau of McJannet & Desilets (2023) and of Hawdon et al. (2014) at THREE.

Output of neptoon 1.12.7 with its own table of monitors: calculate_tau_for_reference_monitor,
rc_correction_hawdon.
"""


@pytest.mark.parametrize("name", NEPTOON)
def test_scales_agree_with_those_that_neptoon_gives_with_its_own_table_of_monitors(name):
    cutoff_gv, *taus = NEPTOON[name]
    monitor = find_monitor(name)
    same = {"OULU": 0.81, "MXCO": 8.28}.get(name, cutoff_gv)  # only these two tables differ
    assert monitor.cutoff_gv == same
    for form, tau in zip(("mcjannet2023", "hawdon2014"), taus, strict=True):
        own = [float(incoming_scale(form, *place, monitor)) for place in THREE.values()]
        assert own == pytest.approx(tau, rel=0.01)
        monitor_of_neptoon = find_monitor(name, cutoff_gv)
        own = [float(incoming_scale(form, *p, monitor_of_neptoon)) for p in THREE.values()]
        assert own == pytest.approx(tau, abs=2e-5)


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
