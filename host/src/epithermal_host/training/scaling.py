"""Scale features from physical units to the order of one; a constant of both graphs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Array, Array32
from epithermal_host.training.series import NAMES

LEAST_SPREAD = {  # of each feature, in its unit; None: not scaled
    "theta_inv": 0.01,
    "theta_inv_sigma": 0.001,
    "gap": None,
    "rain_mm": 1.0,
    "rain_known": None,
    "et0_mm": 0.5,
    "et0_known": None,
    "bulk_density_g_cm3": 0.1,
    "bound_water_g_g": 0.01,
    "cosmic_n_sigma": 0.01,
    "soil_known": None,
    "soil_theta_r": 0.01,
    "soil_theta_s": 0.01,
    "soil_log_alpha": 0.1,
    "soil_log_n": 0.1,
    "soil_log_ks": 0.1,
    "cover_known": None,
    "cover_canopy": 0.1,
    "cover_root_depth_cm": 10.0,
    "cover_evaporation": 0.1,
    "radiation_mm": 1.0,
}
KNOWN_BY = {
    name: flag
    for flag in ("rain_known", "et0_known", "soil_known", "cover_known")
    for name in NAMES
    if name.startswith(flag.removesuffix("known")) and name != flag
}


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Constants of s(x) = (x - offset) * scale."""

    offset: Array32  # (F,)
    scale: Array32  # (F,)

    def of(self, columns: list[int]) -> Scaling:
        """Return the scaling of the features in these columns."""
        return Scaling(self.offset[columns], self.scale[columns])

    def replaced(self, columns: list[int], part: Scaling) -> Scaling:
        """Return a copy whose features in these columns are scaled by `part`."""
        offset, scale = self.offset.copy(), self.scale.copy()
        offset[columns], scale[columns] = part.offset, part.scale
        return Scaling(offset, scale)


def fit_scaling(blocks: Iterable[Array32]) -> Scaling:
    """Fit the scaling of all features to a training set, in one pass.

    Flags are not scaled. Rain, ET0, the soil's parameters and the cover are only divided, by their
    rms where known, so that unknown values stay zero. A feature that hardly varies in training may
    vary at a site: the spread is at least `LEAST_SPREAD`.

    Parameters
    ----------
    blocks : (..., F) each
        All features of some soils; an array (S, T, F) is S blocks.
    """
    flags = [NAMES.index(KNOWN_BY.get(name, name)) for name in NAMES]
    conditional = np.array([name in KNOWN_BY for name in NAMES])
    first: Array | None = None
    count, total, square = np.zeros((3, len(NAMES)))
    for block in blocks:
        values = block.reshape(-1, len(NAMES)).astype(np.float64)
        if first is None:  # deviations from it add up without loss of digits
            first = np.where(conditional, 0.0, values[0])
        known = (values[:, flags] > 0.0) | ~conditional
        values -= first
        values *= known
        count += known.sum(axis=0)
        total += values.sum(axis=0)
        square += np.einsum("nf,nf->f", values, values)
    if first is None:
        raise ValueError("no series to fit a scaling to")
    mean, power = total / np.maximum(count, 1.0), square / np.maximum(count, 1.0)
    spread = np.sqrt(np.maximum(power - np.where(conditional, 0.0, mean**2), 0.0))
    scaled = np.array([LEAST_SPREAD[name] is not None for name in NAMES])
    least = np.array([LEAST_SPREAD[name] or 1.0 for name in NAMES])
    return Scaling(
        offset=np.where(scaled & ~conditional, first + mean, 0.0).astype(np.float32),
        scale=np.where(scaled, 1.0 / np.maximum(spread, least), 1.0).astype(np.float32),
    )
