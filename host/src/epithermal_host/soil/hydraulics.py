"""Compute theta(h), K(h), C(h) after van Genuchten and Mualem, and list the soil catalogue."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from epithermal_edge.physics.texture import CLASS_MEANS
from epithermal_host.arrays import Array

PARTICLE_DENSITY_G_CM3 = 2.65  # quartz; the usual value for mineral soil [g cm-3]
AIR_ENTRY_CM = 2.0  # suction of HYDRUS-1D's air-entry option [cm]
N_WITHOUT_AIR_ENTRY = 1.3  # below, K(h) is nearly singular at saturation: use air entry


@dataclass(frozen=True, slots=True)
class SoilHydraulics:
    """Water retention and conductivity of one soil material.

    Plain van Genuchten-Mualem with `air_entry_cm` = 0. Above 0 the curve is scaled so that the
    soil is saturated down to h = -air_entry_cm (HYDRUS-1D's "-2 cm air entry", iModel 3).

    References
    ----------
    van Genuchten (1980), eq. 3 and 8 with Mualem's m = 1 - 1/n; Vogel, van Genuchten and
    Cislerova (2000), eq. 4 to 8 (air entry); Simunek et al. (2008).
    """

    theta_r: float
    theta_s: float
    alpha_per_cm: float
    n: float
    ks_cm_d: float
    l: float = 0.5  # noqa: E741 (the paper's symbol)
    air_entry_cm: float = 0.0  # suction up to which the soil stays saturated [cm], >= 0
    name: str = "soil"

    def __post_init__(self) -> None:
        faults = [
            text
            for bad, text in (
                (not 0.0 <= self.theta_r < self.theta_s <= 1.0, "0 <= theta_r < theta_s <= 1"),
                (not 0.0 < self.alpha_per_cm < np.inf, "alpha_per_cm > 0"),
                (not 1.0 < self.n < np.inf, "n > 1"),
                (not 0.0 < self.ks_cm_d < np.inf, "ks_cm_d > 0"),
                (not np.isfinite(self.l), "l finite"),
                (not 0.0 <= self.air_entry_cm < np.inf, "air_entry_cm >= 0"),
            )
            if bad
        ]
        if faults:
            raise ValueError(f"{self.name}: soil parameters must satisfy {'; '.join(faults)}")

    @property
    def m(self) -> float:
        """Exponent m = 1 - 1/n."""
        return 1.0 - 1.0 / self.n

    @property
    def bulk_density_g_cm3(self) -> float:
        """Dry bulk density of a soil whose porosity is theta_s [g cm-3]."""
        return bulk_density_from_porosity(self.theta_s)

    def with_air_entry(self, air_entry_cm: float = AIR_ENTRY_CM) -> SoilHydraulics:
        """Return the same soil, saturated down to the air-entry head."""
        return replace(self, air_entry_cm=air_entry_cm)

    def _scale(self) -> float:
        """Compute (theta_m - theta_r) / (theta_s - theta_r), 1 without air entry."""
        return float((1.0 + (self.alpha_per_cm * self.air_entry_cm) ** self.n) ** self.m)

    def _suction(self, h_cm: ArrayLike) -> Array:
        """Compute the suction |h| of the curve, at least the air entry [cm]."""
        return np.maximum(-np.asarray(h_cm, dtype=np.float64), self.air_entry_cm)

    def theta(self, h_cm: ArrayLike) -> Array:
        """Compute water content from pressure head; (...) [cm] to (...) [m3 m-3]."""
        h = np.asarray(h_cm, dtype=np.float64)
        x = (self.alpha_per_cm * self._suction(h)) ** self.n
        se = self._scale() * (1.0 + x) ** -self.m
        theta = self.theta_r + (self.theta_s - self.theta_r) * se
        return np.where(h < -self.air_entry_cm, theta, self.theta_s)

    def c(self, h_cm: ArrayLike) -> Array:
        """Compute the capacity d theta / d h, 0 where saturated; (...) [cm] to (...) [cm-1]."""
        h = np.asarray(h_cm, dtype=np.float64)
        s = self._suction(h)
        x = (self.alpha_per_cm * s) ** self.n
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = self.m * self.n * x / s * (1.0 + x) ** (-self.m - 1.0)
        slope = self._scale() * (self.theta_s - self.theta_r) * slope
        return np.where(h < -self.air_entry_cm, slope, 0.0)

    def k(self, h_cm: ArrayLike) -> Array:
        """Compute hydraulic conductivity from pressure head; (...) [cm] to (...) [cm d-1]."""
        h = np.asarray(h_cm, dtype=np.float64)
        x = (self.alpha_per_cm * self._suction(h)) ** self.n
        x_s = (self.alpha_per_cm * self.air_entry_cm) ** self.n
        se = np.minimum(self._scale() * (1.0 + x) ** -self.m, 1.0)
        f = _mualem(x, self.m) / _mualem(np.asarray(x_s), self.m)
        return np.where(h < -self.air_entry_cm, self.ks_cm_d * se**self.l * f * f, self.ks_cm_d)

    def head(self, theta: ArrayLike) -> Array:
        """Compute pressure head from water content; (...) [m3 m-3] to (...) [cm].

        theta_s and above give -air_entry_cm; theta_r and below give -infinity.
        """
        se = (np.asarray(theta, dtype=np.float64) - self.theta_r) / (self.theta_s - self.theta_r)
        with np.errstate(divide="ignore"):
            q = np.clip(se, 0.0, 1.0) / self._scale()
            suction = (q ** (-1.0 / self.m) - 1.0) ** (1.0 / self.n) / self.alpha_per_cm
        return np.minimum(-suction, -self.air_entry_cm)


def _mualem(x: Array, m: float) -> Array:
    """Compute 1 - (x / (1 + x))^m without cancellation where x is large."""
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(-m * np.log1p(1.0 / x)))


def bulk_density_from_porosity(porosity: float) -> float:
    """Compute the dry bulk density of a mineral soil; porosity [m3 m-3] to [g cm-3]."""
    return PARTICLE_DENSITY_G_CM3 * (1.0 - porosity)


def _catalogue() -> dict[str, SoilHydraulics]:
    """List the means of Carsel and Parrish (1988), tables 6 and 7, as HYDRUS-1D does."""
    soils = {name: SoilHydraulics(*row, name=name) for name, row in CLASS_MEANS.items()}
    return {
        name: soil.with_air_entry() if soil.n < N_WITHOUT_AIR_ENTRY else soil
        for name, soil in soils.items()
    }


CATALOGUE: dict[str, SoilHydraulics] = _catalogue()
"""The 12 texture classes; those with n < 1.3 have the -2 cm air entry, as is usual in HYDRUS."""
