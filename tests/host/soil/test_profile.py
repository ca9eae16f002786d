"""Grids of a column and means over a depth."""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_host.soil.profile import Grid, graded_grid, mean_theta, root_density


def test_graded_grid_begins_with_the_asked_spacing_and_ends_at_depth():
    grid = graded_grid(150.0, 41, 0.5, layer_bottoms_cm=(40.0,))
    dz = np.diff(grid.z_cm)
    assert grid.z_cm[-1] == pytest.approx(150.0)
    assert dz[0] == pytest.approx(0.5, rel=1e-6)
    np.testing.assert_allclose(dz[1:] / dz[:-1], dz[1] / dz[0])
    assert np.all(grid.material == (grid.z_cm >= 40.0))


def test_a_uniform_grid_is_the_limit_of_a_graded_one():
    np.testing.assert_allclose(graded_grid(100.0, 101, 1.0).z_cm, np.arange(101.0), atol=1e-9)


def test_mean_of_a_linear_profile_is_its_value_in_the_middle():
    z = graded_grid(100.0, 23, 0.7).z_cm  # no node at 30 cm
    theta = np.stack((0.1 + 0.002 * z, np.full_like(z, 0.3)))
    np.testing.assert_allclose(mean_theta(z, theta), [0.13, 0.3])
    np.testing.assert_allclose(mean_theta(z, theta, 10.0, 11.0), [0.121, 0.3])


def test_the_mean_of_a_day_has_the_same_bits_alone_and_among_a_thousand():
    z_cm = graded_grid(200.0, 41, 0.5).z_cm
    theta = np.random.default_rng(1).uniform(0.05, 0.45, (1097, 41))
    alone = [float(mean_theta(z_cm, row)) for row in theta]
    np.testing.assert_array_equal(mean_theta(z_cm, theta), alone)


def test_a_mean_below_the_column_is_rejected():
    with pytest.raises(ValueError, match="no mean"):
        mean_theta([0.0, 10.0, 20.0], np.zeros(3), 0.0, 30.0)


def test_roots_end_at_the_rooting_depth():
    density = root_density(np.array([0.0, 20.0, 40.0, 60.0]), 40.0)
    np.testing.assert_allclose(density, [1.0, 0.5, 0.0, 0.0])


def test_depths_that_do_not_increase_are_rejected():
    with pytest.raises(ValueError, match="increase"):
        Grid(np.array([0.0, 2.0, 1.0]), np.zeros(3, np.int64), np.zeros(3))


@pytest.mark.parametrize(
    ("depth", "nodes", "top"),
    [(150.0, 41, 0.5), (60.0, 3, 0.1), (487.3, 101, 0.05), (100.0, 101, 1.0)],
)
def test_newton_s_root_changes_no_bit_of_the_bisection_of_a_grid(depth, nodes, top):
    low, high = 1.0, (depth / top) ** (1.0 / (nodes - 2))
    for _ in range(80):
        q = 0.5 * (low + high)
        too_long = top * float(np.sum(q ** np.arange(nodes - 1))) > depth
        low, high = (low, q) if too_long else (q, high)
    z = np.concatenate(([0.0], np.cumsum(low ** np.arange(nodes - 1))))
    np.testing.assert_array_equal(graded_grid(depth, nodes, top).z_cm, z * (depth / z[-1]))
