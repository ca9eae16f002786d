"""Derive hydraulic parameters and lattice water of a soil from its texture."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from epithermal_edge.physics.texture import check_texture, texture_class
from epithermal_host.arrays import Array
from epithermal_host.soil.hydraulics import (
    AIR_ENTRY_CM,
    N_WITHOUT_AIR_ENTRY,
    PARTICLE_DENSITY_G_CM3,
    SoilHydraulics,
)

ROSETTA_VERSION = 3
DENSITY_STEP_G_CM3 = 0.05
DENSITIES_G_CM3 = tuple(round(0.8 + DENSITY_STEP_G_CM3 * i, 2) for i in range(23))  # to 1.9
WATER_IN_ORGANIC_MATTER, ORGANIC_MATTER_PER_CARBON = 0.556, 1.724  # mass over mass

# Sand, silt, clay [%] at the centre of each class in the USDA triangle.
CLASS_TEXTURE: dict[str, tuple[float, float, float]] = {
    "sand": (92.0, 5.0, 3.0),
    "loamy_sand": (82.0, 12.0, 6.0),
    "sandy_loam": (65.0, 25.0, 10.0),
    "loam": (41.0, 41.0, 18.0),
    "silt": (7.0, 87.0, 6.0),
    "silt_loam": (21.0, 66.0, 13.0),
    "sandy_clay_loam": (60.0, 13.0, 27.0),
    "clay_loam": (33.0, 34.0, 33.0),
    "silty_clay_loam": (10.0, 56.0, 34.0),
    "sandy_clay": (52.0, 7.0, 41.0),
    "silty_clay": (7.0, 47.0, 46.0),
    "clay": (22.0, 20.0, 58.0),
}


def from_texture(
    sand_pct: float, silt_pct: float, clay_pct: float, bulk_density_g_cm3: float | None = None
) -> SoilHydraulics:
    """Estimate hydraulic parameters of a soil from its texture and, if known, its bulk density.

    Parameters
    ----------
    sand_pct, silt_pct, clay_pct : [%]
        Mass fractions, 100 in total.
    bulk_density_g_cm3 : [g cm-3]
        Dry bulk density; None: estimate from texture alone.

    Returns
    -------
    SoilHydraulics
        Its name is the texture class. alpha, n and Ks are geometric means of Rosetta's ensemble; l
        is 0.5, because Rosetta's own l belongs to its matching point K0, not to Ks. theta_s is at
        most the porosity. A soil with n below 1.3 has the -2 cm air entry, as in the catalogue.

    Raises
    ------
    ValueError
        Impossible texture or bulk density.

    References
    ----------
    Zhang and Schaap (2017), Rosetta 3; program rosetta-soil of the USDA-ARS.
    """
    texture = check_texture(sand_pct, silt_pct, clay_pct)
    record = [100.0 * part / sum(texture) for part in texture]
    if bulk_density_g_cm3 is not None:
        if not 0.5 <= bulk_density_g_cm3 <= 2.0:  # Rosetta's own limits
            raise ValueError("bulk_density_g_cm3 must be within 0.5 to 2.0")
        record.append(bulk_density_g_cm3)
    theta_r, theta_s, alpha, n, ks = _rosetta([record])[0].tolist()
    if bulk_density_g_cm3 is not None:
        theta_s = min(theta_s, 1.0 - bulk_density_g_cm3 / PARTICLE_DENSITY_G_CM3)
    return SoilHydraulics(
        theta_r=theta_r,
        theta_s=theta_s,
        alpha_per_cm=alpha,
        n=n,
        ks_cm_d=ks,
        air_entry_cm=AIR_ENTRY_CM if n < N_WITHOUT_AIR_ENTRY else 0.0,
        name=texture_class(sand_pct, silt_pct, clay_pct),
    )


def typical_bulk_density_g_cm3(name: str) -> float:
    """Return a typical bulk density of topsoils of a texture class [g cm-3].

    An assumption of this program, without a published source: 1.44 for sand down to 1.22 for clay,
    as of A horizons that are not ploughed bare.
    """
    return 1.45 - 0.004 * CLASS_TEXTURE[name][2]


def class_hydraulics(name: str, bulk_density_g_cm3: float) -> SoilHydraulics:
    """Interpolate `from_texture` at the centre of a class between bulk densities.

    Linear between densities 0.05 g cm-3 apart. Serves populations of soils: Rosetta runs once per
    process, not once per soil.

    Raises
    ------
    ValueError
        A bulk density outside of `DENSITIES_G_CM3`.
    """
    step = (bulk_density_g_cm3 - DENSITIES_G_CM3[0]) / DENSITY_STEP_G_CM3
    if not 0.0 <= step <= len(DENSITIES_G_CM3) - 1:
        raise ValueError(f"bulk density {bulk_density_g_cm3:g} is not within the table")
    row = min(int(step), len(DENSITIES_G_CM3) - 2)
    low, high = class_table()[name][row : row + 2]
    values = low + (step - row) * (high - low)
    n = float(10.0 ** values[3])
    return SoilHydraulics(
        theta_r=float(values[0]),
        theta_s=float(values[1]),
        alpha_per_cm=float(10.0 ** values[2]),
        n=n,
        ks_cm_d=float(10.0 ** values[4]),
        air_entry_cm=AIR_ENTRY_CM if n < N_WITHOUT_AIR_ENTRY else 0.0,
        name=name,
    )


@functools.cache
def class_table() -> dict[str, Array]:
    """Tabulate theta_r, theta_s, log10 of alpha [cm-1], n and Ks [cm d-1] by class and density.

    (densities, 5) for each class.
    """
    densities = np.array(DENSITIES_G_CM3)
    records = [[*texture, d] for texture in CLASS_TEXTURE.values() for d in DENSITIES_G_CM3]
    rows = _rosetta(records).reshape(len(CLASS_TEXTURE), densities.size, 5)
    rows[..., 1] = np.minimum(rows[..., 1], 1.0 - densities / PARTICLE_DENSITY_G_CM3)
    rows[..., 2:] = np.log10(rows[..., 2:])
    return dict(zip(CLASS_TEXTURE, rows, strict=True))


def lattice_water_g_g(clay_pct: float, organic_carbon_pct: float | None = None) -> float:
    """Estimate the water equivalent of the hydrogen in a soil's minerals.

    Parameters
    ----------
    clay_pct : [%]
        Mass fraction of clay.
    organic_carbon_pct : [%]
        Mass fraction; None: use the regression on clay alone.

    Returns
    -------
    float [g g-1]
        Gravimetric: multiply by bulk density before adding it to theta. Never negative.

    Raises
    ------
    ValueError
        A fraction outside of 0 to 100 %.

    References
    ----------
    Regressions of the Soil Water Processes Lab, Kansas State University, as in CRNPy: Peranich et
    al. (2024), function lattice_water.
    """
    if not 0.0 <= clay_pct <= 100.0 or not 0.0 <= (organic_carbon_pct or 0.0) <= 100.0:
        raise ValueError("clay_pct and organic_carbon_pct must be within 0 to 100")
    if organic_carbon_pct is None:
        return 0.097 * clay_pct / 100.0
    return max(-0.028 + 0.077 * clay_pct + 0.459 * organic_carbon_pct, 0.0) / 100.0


def organic_water_g_g(organic_carbon_pct: float) -> float:
    """Estimate the water equivalent of the hydrogen in a soil's organic matter.

    Parameters
    ----------
    organic_carbon_pct : [%]
        Mass fraction.

    Returns
    -------
    float [g g-1]
        Gravimetric, as `lattice_water_g_g`.

    Raises
    ------
    ValueError
        A fraction outside of 0 to 58 %, that of pure organic matter.

    References
    ----------
    0.556 of the organic matter, the water in cellulose, C6 H10 O5: 5 x 18 / 162 (Franz et al. 2013;
    Heistermann et al. 2024), which is 1.724 times its carbon (van Bemmelen; Pribyl 2010 has 1.9 to
    2 for most soils).
    """
    if not 0.0 <= organic_carbon_pct <= 100.0 / ORGANIC_MATTER_PER_CARBON:
        raise ValueError("organic_carbon_pct must be within 0 to 58")
    return WATER_IN_ORGANIC_MATTER * ORGANIC_MATTER_PER_CARBON * organic_carbon_pct / 100.0


def _rosetta(records: list[list[float]]) -> Array:
    """Run Rosetta: theta_r, theta_s, alpha [cm-1], n and Ks [cm d-1] of soils, (n, 5)."""
    from rosetta import rosetta  # the import reads the weights, 0.2 s

    mean: Any
    mean, _, codes = rosetta(ROSETTA_VERSION, records, estimate_type="geo")
    if np.any(np.asarray(codes) < 0):
        bad = records[int(np.argmin(codes))]
        raise ValueError(f"Rosetta gives no estimate for texture and bulk density {bad}")
    return np.array(mean, dtype=np.float64)[:, :5]
