"""Derive a soil's class from its texture, and its water for plants from the means of the class."""

from __future__ import annotations

from epithermal_edge.physics.plant_water import field_capacity, wilting_point

SUM_TOLERANCE_PCT = 1.0  # of sand + silt + clay, rounded by laboratories

CLASS_MEANS: dict[str, tuple[float, float, float, float, float]] = {
    "sand": (0.045, 0.43, 0.145, 2.68, 712.8),
    "loamy_sand": (0.057, 0.41, 0.124, 2.28, 350.2),
    "sandy_loam": (0.065, 0.41, 0.075, 1.89, 106.1),
    "loam": (0.078, 0.43, 0.036, 1.56, 24.96),
    "silt": (0.034, 0.46, 0.016, 1.37, 6.0),
    "silt_loam": (0.067, 0.45, 0.020, 1.41, 10.8),
    "sandy_clay_loam": (0.100, 0.39, 0.059, 1.48, 31.44),
    "clay_loam": (0.095, 0.41, 0.019, 1.31, 6.24),
    "silty_clay_loam": (0.089, 0.43, 0.010, 1.23, 1.68),
    "sandy_clay": (0.100, 0.38, 0.027, 1.23, 2.88),
    "silty_clay": (0.070, 0.36, 0.005, 1.09, 0.48),
    "clay": (0.068, 0.38, 0.008, 1.09, 4.8),
}
"""Mean theta_r, theta_s [m3 m-3], alpha [cm-1], n [-] and Ks [cm d-1] of each texture class.

References
----------
Carsel and Parrish (1988), Water Resour. Res. 24, 755-769, tables 6 and 7, as in HYDRUS-1D.
"""


def texture_class(sand_pct: float, silt_pct: float, clay_pct: float) -> str:
    """Return the class of a soil in the USDA triangle, named as in CLASS_MEANS.

    Parameters
    ----------
    sand_pct, silt_pct, clay_pct : [%]
        Mass fractions of the fine earth: 2 to 0.05 mm, to 0.002 mm and below; 100 in total.

    Raises
    ------
    ValueError
        A negative fraction, or a total other than 100 (within 1).

    References
    ----------
    Soil Survey Staff (2017), Soil Survey Manual, USDA Handbook 18, chapter 3.
    """
    s, z, c = check_texture(sand_pct, silt_pct, clay_pct)
    rules = (
        ("sand", z + 1.5 * c < 15.0),
        ("loamy_sand", z + 2.0 * c < 30.0),
        ("silt", z >= 80.0 and c < 12.0),
        ("silt_loam", z >= 50.0 and c < 27.0),
        ("sandy_loam", (c < 20.0 and s > 52.0) or (c < 7.0 and z < 50.0)),
        ("loam", c < 27.0 and 28.0 <= z < 50.0 and s <= 52.0),
        ("sandy_clay_loam", c < 35.0 and z < 28.0 and s > 45.0),
        ("silty_clay_loam", c < 40.0 and s <= 20.0),
        ("clay_loam", c < 40.0 and s <= 45.0),
        ("sandy_clay", s > 45.0),
        ("silty_clay", z >= 40.0),
    )
    return next((name for name, holds in rules if holds), "clay")


def check_texture(sand_pct: float, silt_pct: float, clay_pct: float) -> tuple[float, float, float]:
    """Return the fractions of a texture [%], unchanged.

    Raises
    ------
    ValueError
        A negative fraction, or a total other than 100 (within SUM_TOLERANCE_PCT).
    """
    parts = (sand_pct, silt_pct, clay_pct)
    if not all(0.0 <= part <= 100.0 for part in parts):
        raise ValueError("sand_pct, silt_pct and clay_pct must be within 0 to 100")
    if abs(sum(parts) - 100.0) > SUM_TOLERANCE_PCT:
        raise ValueError(f"sand_pct + silt_pct + clay_pct is {sum(parts):g}, must be 100")
    return parts


def texture_water(name: str) -> tuple[float, float]:
    """Compute field capacity and wilting point of the mean soil of a class [m3 m-3].

    From 0.07 and 0.05 (sand) to 0.34 and 0.27 (clay). Soils of one class differ from its mean by
    0.04 to 0.08 m3/m3 (Schaap et al. 2001): a guess to begin with, not a measurement.

    References
    ----------
    Twarakavi et al. (2009) and van Genuchten (1980), as `plant_water`, with CLASS_MEANS.
    """
    theta_r, theta_s, alpha_per_cm, n, ks_cm_d = CLASS_MEANS[name]
    return (
        field_capacity(theta_r, theta_s, n, ks_cm_d),
        wilting_point(theta_r, theta_s, alpha_per_cm, n),
    )
