"""Sample soils from the 12 texture classes with the spread and correlation of measured soils."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from epithermal_host.arrays import Array, Mask
from epithermal_host.soil.hydraulics import AIR_ENTRY_CM, N_WITHOUT_AIR_ENTRY, SoilHydraulics

Kind = Literal["LN", "SB", "SU", "NO"]

N_LEAST = 1.05  # below, K(h) falls by decades within the first centimetres of suction
SPREAD_OF_THETA_S = 2.0  # standard deviations at which theta_s is truncated
THETA_S_LEAST_SPAN = 0.15  # least difference between theta_s and theta_r


@dataclass(frozen=True, slots=True)
class Johnson:
    """A quantity x whose transform y is normally distributed; Johnson's system.

    LN: y = ln x; SB: y = ln((x - A) / (B - x)); SU: y = asinh((x - A) / (B - A)); NO: y = x.
    """

    kind: Kind
    a: float  # limits A and B of x
    b: float
    mean: float  # of y
    sd: float
    low: float = -math.inf  # limits at which y was truncated
    high: float = math.inf

    def inverse(self, y: Array) -> Array:
        """Compute x from its transform y."""
        if self.kind == "LN":
            return np.exp(y)
        if self.kind == "SB":
            return np.asarray(self.a + (self.b - self.a) / (1.0 + np.exp(-y)))
        if self.kind == "SU":
            return np.asarray(self.a + (self.b - self.a) * np.sinh(y))
        return y

    def allowed(self, x: Array, y: Array) -> Mask:
        """Check whether samples are within the limits of x and of y."""
        return np.asarray((x > self.a) & (x < self.b) & (y > self.low) & (y < self.high))


@dataclass(frozen=True, slots=True)
class TextureClass:
    """Joint distribution of Ks [cm h-1], theta_r, alpha [cm-1] and n of a class; and of theta_s."""

    ks: Johnson
    theta_r: Johnson
    alpha: Johnson
    n: Johnson
    theta_s: tuple[float, float]  # mean and standard deviation, normal
    factor: tuple[tuple[float, ...], ...]  # rows of the lower triangle of the covariance's factor

    @property
    def variables(self) -> tuple[Johnson, ...]:
        """Distributions in the order of the factor's rows."""
        return (self.ks, self.theta_r, self.alpha, self.n)

    def triangle(self) -> Array:
        """Compute the factor of the correlation matrix: the published rows, scaled to length 1."""
        t = np.zeros((4, 4))
        for i, row in enumerate(self.factor):
            t[i, : i + 1] = row
        return np.asarray(t / np.linalg.norm(t, axis=1, keepdims=True))

    def correlation(self) -> Array:
        """Compute the correlation of the transformed Ks, theta_r, alpha and n, (4, 4)."""
        t = self.triangle()
        return np.asarray(t @ t.T)


def sample_class(name: str, rng: np.random.Generator, n_least: float = N_LEAST) -> SoilHydraulics:
    """Sample the hydraulic parameters of a soil of a texture class.

    Parameters
    ----------
    name :
        Texture class as in the catalogue: sand, loamy_sand, ... clay.
    rng :
        Source of all random numbers.
    n_least : [-]
        Least n. Samples below are repeated: a third for clay, a fifth for silty clay.

    Returns
    -------
    SoilHydraulics
        Bulk density follows from theta_s; a soil with n below 1.3 has the -2 cm air entry, as in
        the catalogue.

    Raises
    ------
    ValueError
        Unknown class.

    References
    ----------
    Carsel and Parrish (1988), tables 1 to 7. Means and standard deviations of the transforms are
    the published ones. Only the correlation of the factored covariance matrix is used, because
    that matrix was computed from the smaller number of samples with all four parameters. theta_s
    is independent: its correlation with the others was not published. The factor of sandy loam:
    see CLASSES.
    """
    if name not in CLASSES:
        raise ValueError(f"unknown texture class {name!r}; use one of {', '.join(CLASSES)}")
    texture = CLASSES[name]
    triangle = texture.triangle()
    while True:
        y = [
            v.mean + v.sd * deviate
            for v, deviate in zip(texture.variables, triangle @ rng.standard_normal(4), strict=True)
        ]
        x = [v.inverse(np.asarray(value)) for v, value in zip(texture.variables, y, strict=True)]
        inside = all(
            v.allowed(drawn, np.asarray(value))
            for v, drawn, value in zip(texture.variables, x, y, strict=True)
        )
        ks, theta_r, alpha, n = (float(value) for value in x)
        deviate = float(rng.standard_normal())
        theta_s = texture.theta_s[0] + texture.theta_s[1] * deviate
        porous = abs(deviate) < SPREAD_OF_THETA_S and theta_s > theta_r + THETA_S_LEAST_SPAN
        if inside and porous and n >= n_least:
            break
    return SoilHydraulics(
        theta_r=theta_r,
        theta_s=theta_s,
        alpha_per_cm=alpha,
        n=n,
        ks_cm_d=24.0 * ks,
        air_entry_cm=AIR_ENTRY_CM if n < N_WITHOUT_AIR_ENTRY else 0.0,
        name=name,
    )


# Carsel and Parrish (1988): table 5 (transform, limits, mean, standard deviation and, where
# truncated, the limits of y), tables 6 and 7 (factored covariance, three decimals), table 1
# (theta_s). The numbers come from public transcriptions; a test checks that means and standard
# deviations of samples are those of tables 1 to 4. In the transcription the last two rows of
# sandy loam's factor are those of loamy sand (their lengths are its standard deviations, not
# sandy loam's): sandy loam therefore has loamy sand's correlation at its own spread.
_LOAMY_SAND_ROWS = ((0.037, 0.017, 0.014), (0.211, -0.194, 0.019, 0.108))
CLASSES: dict[str, TextureClass] = {
    "sand": TextureClass(
        Johnson("SB", 0.0, 70.0, -0.394, 1.15),
        Johnson("LN", 0.0, 0.1, -3.12, 0.224),
        Johnson("SB", 0.0, 0.25, 0.378, 0.439),
        Johnson("LN", 1.5, 4.0, 0.978, 0.100),
        (0.43, 0.06),
        ((1.04,), (-0.109, 0.182), (0.328, 0.258, 0.143), (0.081, -0.047, -0.011, 0.017)),
    ),
    "loamy_sand": TextureClass(
        Johnson("SB", 0.0, 51.0, -1.27, 1.40),
        Johnson("SB", 0.0, 0.11, 0.075, 0.567),
        Johnson("NO", 0.0, 0.25, 0.124, 0.043),
        Johnson("SB", 1.35, 5.0, -1.11, 0.307),
        (0.41, 0.09),
        ((1.48,), (-0.201, 0.522), *_LOAMY_SAND_ROWS),
    ),
    "sandy_loam": TextureClass(
        Johnson("SB", 0.0, 30.0, -2.49, 1.53),
        Johnson("SB", 0.0, 0.11, 0.384, 0.700),
        Johnson("SB", 0.0, 0.25, -0.937, 0.764),
        Johnson("LN", 1.35, 3.0, 0.634, 0.082),
        (0.41, 0.09),
        ((1.60,), (-0.153, 0.538), *_LOAMY_SAND_ROWS),
    ),
    "loam": TextureClass(
        Johnson("SB", 0.0, 15.0, -3.71, 1.78),
        Johnson("SB", 0.0, 0.12, 0.639, 0.487),
        Johnson("SB", 0.0, 0.15, -1.27, 0.786),
        Johnson("SU", 1.0, 2.0, 0.532, 0.099),
        (0.43, 0.10),
        ((1.41,), (-0.100, 0.478), (0.611, 0.073, 0.093), (0.055, -0.055, 0.026, 0.029)),
    ),
    "silt": TextureClass(
        Johnson("LN", 0.0, 2.0, -2.20, 0.700, -2.564, -0.337),
        Johnson("NO", 0.0, 0.09, 0.042, 0.015, 0.013, 0.049),
        Johnson("NO", 0.0, 0.10, 0.017, 0.006),
        Johnson("NO", 1.2, 1.6, 1.38, 0.037),
        (0.46, 0.11),
        ((0.535,), (-0.002, 0.008), (0.003, 0.0, 0.001), (0.013, -0.015, 0.014, 0.013)),
    ),
    "silt_loam": TextureClass(
        Johnson("LN", 0.0, 15.0, -2.19, 1.49),
        Johnson("SB", 0.0, 0.11, 0.478, 0.582),
        Johnson("LN", 0.0, 0.15, -4.10, 0.555),
        Johnson("SB", 1.0, 2.0, -0.370, 0.526),
        (0.45, 0.08),
        ((1.478,), (-0.201, 0.522), (0.525, 0.030, 0.082), (0.353, -0.170, 0.234, 0.158)),
    ),
    "sandy_clay_loam": TextureClass(
        Johnson("SB", 0.0, 20.0, -4.04, 1.85),
        Johnson("SB", 0.0, 0.12, 1.65, 0.439, 0.928, 2.94),
        Johnson("SB", 0.0, 0.25, -1.38, 0.823),
        Johnson("LN", 1.0, 2.0, 0.388, 0.086),
        (0.39, 0.07),
        ((1.85,), (0.102, 0.378), (0.784, 0.122, 0.220), (0.077, -0.031, -0.008, 0.016)),
    ),
    "clay_loam": TextureClass(
        Johnson("SB", 0.0, 7.5, -5.87, 2.92, -8.92, 2.98),
        Johnson("SU", 0.0, 0.13, 0.679, 0.060),
        Johnson("LN", 0.0, 0.15, -4.22, 0.719),
        Johnson("SB", 1.0, 1.6, 0.132, 0.725),
        (0.41, 0.09),
        ((1.92,), (0.040, 0.031), (0.589, -0.062, 0.106), (0.542, -0.154, 0.065, 0.116)),
    ),
    "silty_clay_loam": TextureClass(
        Johnson("SB", 0.0, 3.5, -5.31, 1.62),
        Johnson("NO", 0.0, 0.115, 0.088, 0.009),
        Johnson("SB", 0.0, 0.15, -2.75, 0.605),
        Johnson("NO", 1.0, 1.5, 1.23, 0.061),
        (0.43, 0.07),
        ((1.612,), (0.006, 0.005), (0.511, 0.048, 0.073), (0.049, -0.009, 0.008, 0.017)),
    ),
    "sandy_clay": TextureClass(
        Johnson("LN", 0.0, 1.5, -4.04, 2.02),
        Johnson("SB", 0.0, 0.12, 1.72, 0.700),
        Johnson("LN", 0.0, 0.15, -3.77, 0.563),
        Johnson("LN", 1.0, 1.5, 0.202, 0.078),
        (0.38, 0.05),
        ((2.02,), (0.883, 0.324), (0.539, 0.063, 0.150), (0.076, 0.004, -0.001, 0.018)),
    ),
    "silty_clay": TextureClass(
        Johnson("LN", 0.0, 1.0, -5.69, 1.31),
        Johnson("NO", 0.0, 0.14, 0.070, 0.023),
        Johnson("LN", 0.0, 0.15, -5.66, 0.584),
        Johnson("SB", 1.0, 1.4, -1.28, 0.821),
        (0.36, 0.07),
        ((1.25,), (0.008, 0.003), (0.314, 0.040, 0.060), (0.367, -0.086, 0.066, 0.131)),
    ),
    "clay": TextureClass(
        Johnson("SB", 0.0, 5.0, -5.75, 2.33),
        Johnson("SU", 0.0, 0.15, 0.445, 0.282, 0.0065, 0.834),
        Johnson("SB", 0.0, 0.15, -4.145, 1.293, -5.01, 0.912),
        Johnson("LN", 0.9, 1.4, 0.0002, 0.118, 0.0, 0.315),
        (0.38, 0.09),
        ((1.96,), (0.070, 0.017), (0.565, -0.080, 0.172), (0.048, -0.014, 0.002, 0.016)),
    ),
}
