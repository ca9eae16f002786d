"""Texture gives class, hydraulic parameters and lattice water."""

from __future__ import annotations

import pytest

from epithermal_edge.physics.texture import texture_class
from epithermal_host.soil.hydraulics import CATALOGUE
from epithermal_host.soil.pedotransfer import (
    CLASS_TEXTURE,
    DENSITIES_G_CM3,
    class_hydraulics,
    from_texture,
    lattice_water_g_g,
    organic_water_g_g,
)


def test_the_middle_of_each_class_is_in_the_class():
    assert set(CLASS_TEXTURE) == set(CATALOGUE)
    assert {texture_class(*t): t for t in CLASS_TEXTURE.values()} == CLASS_TEXTURE


@pytest.mark.parametrize(
    ("sand", "clay", "name"),
    [  # corners and edges of the triangle, Soil Survey Manual, figure 3-7
        (100, 0, "sand"),
        (0, 0, "silt"),
        (0, 100, "clay"),
        (86, 10, "loamy_sand"),
        (70, 15, "sandy_loam"),
        (52, 19, "loam"),
        (52.5, 19, "sandy_loam"),
        (48, 6.9, "sandy_loam"),
        (8, 12, "silt_loam"),
        (8, 11.9, "silt"),
        (46, 34.9, "sandy_clay_loam"),
        (46, 35, "sandy_clay"),
        (45, 35, "clay_loam"),
        (20, 30, "silty_clay_loam"),
        (20.1, 30, "clay_loam"),
        (20, 40, "silty_clay"),
        (21, 40, "clay"),
    ],
)
def test_the_edges_of_the_triangle(sand, clay, name):
    assert texture_class(sand, 100 - sand - clay, clay) == name


def test_the_triangle_is_covered_without_a_hole():
    """Where the rules name no class a soil would fall through to clay."""
    for clay in range(40):
        for sand in range(101 - clay):
            assert texture_class(sand, 100 - sand - clay, clay) != "clay"


def test_impossible_textures_are_rejected():
    with pytest.raises(ValueError, match="is 90, must be 100"):
        texture_class(30, 30, 30)
    with pytest.raises(ValueError, match="within 0 to 100"):
        texture_class(-5, 65, 40)
    with pytest.raises(ValueError, match=r"within 0\.5 to 2\.0"):
        from_texture(30, 30, 40, 2.4)


def test_rosetta_repeats_the_values_of_its_documentation():
    # rosetta-soil, docstring of rosetta(): arithmetic means, version 3; ours are geometric
    soil = from_texture(55, 25, 20, 1.1)
    assert soil.theta_r == pytest.approx(0.0913, abs=1e-4)
    assert soil.theta_s == pytest.approx(0.485, abs=1e-4)
    assert soil.alpha_per_cm == pytest.approx(0.0097, rel=0.05)
    assert soil.n == pytest.approx(1.4172, rel=0.01)
    assert soil.ks_cm_d == pytest.approx(84.78, rel=0.1)
    assert soil.l == 0.5 and soil.name == "sandy_clay_loam"


def test_a_dense_soil_holds_and_conducts_less():
    loose, dense = from_texture(41, 41, 18, 1.2), from_texture(41, 41, 18, 1.7)
    assert dense.theta_s < loose.theta_s and dense.ks_cm_d < loose.ks_cm_d
    assert dense.theta_s <= 1.0 - 1.7 / 2.65


def test_coarse_soils_conduct_more_than_fine_ones():
    sand, loam, clay = (from_texture(*CLASS_TEXTURE[n]) for n in ("sand", "loam", "clay"))
    assert sand.ks_cm_d > 10 * loam.ks_cm_d and sand.n > loam.n > clay.n
    assert clay.air_entry_cm > 0.0 and sand.air_entry_cm == 0.0


def test_organic_matter_holds_the_hydrogen_of_cellulose():
    cellulose = 5 * 18.015 / 162.14  # C6 H10 O5
    assert organic_water_g_g(1.0) == pytest.approx(0.01724 * cellulose, rel=2e-3)
    assert organic_water_g_g(0.0) == 0.0
    with pytest.raises(ValueError, match="within 0 to 58"):
        organic_water_g_g(80.0)  # g/kg


def test_lattice_water_rises_with_clay():
    assert lattice_water_g_g(0.0) == 0.0
    assert lattice_water_g_g(30.0) == pytest.approx(0.0291)
    assert lattice_water_g_g(30.0, 1.0) == pytest.approx(0.02741)
    assert lattice_water_g_g(0.0, 0.0) == 0.0
    with pytest.raises(ValueError, match="within 0 to 100"):
        lattice_water_g_g(120.0)


@pytest.mark.parametrize("name", list(CLASS_TEXTURE))
def test_a_class_is_its_middle_s_texture_at_the_table_s_densities_and_between_them(name):
    at, after = DENSITIES_G_CM3[11:13]
    for density in (DENSITIES_G_CM3[0], at, after, DENSITIES_G_CM3[-1]):
        soil, asked = class_hydraulics(name, density), from_texture(*CLASS_TEXTURE[name], density)
        assert (soil.name, soil.air_entry_cm) == (name, asked.air_entry_cm)
        for parameter in ("theta_r", "theta_s", "alpha_per_cm", "n", "ks_cm_d"):
            expected = getattr(asked, parameter)
            assert getattr(soil, parameter) == pytest.approx(expected, rel=1e-9), parameter
    low, middle, high = (class_hydraulics(name, d) for d in (at, 0.5 * (at + after), after))
    for parameter in ("theta_r", "theta_s", "alpha_per_cm", "n", "ks_cm_d"):
        a, b, c = (getattr(soil, parameter) for soil in (low, middle, high))
        assert min(a, c) <= b <= max(a, c), parameter
    near = from_texture(*CLASS_TEXTURE[name], 0.5 * (at + after))
    assert middle.theta_s == pytest.approx(near.theta_s, abs=0.003)
    assert middle.ks_cm_d == pytest.approx(near.ks_cm_d, rel=0.03)


@pytest.mark.parametrize("density", [0.79, 1.91])
def test_a_bulk_density_outside_of_the_table_is_a_mistake(density):
    with pytest.raises(ValueError, match="not within the table"):
        class_hydraulics("loam", density)
