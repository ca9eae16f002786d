"""Scale features from physical units to the order of one; a constant of both graphs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Array32
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


def fit_scaling(features: Array32) -> Scaling:
    """Fit the scaling of all features to a training set.

    Flags are not scaled. Rain, ET0, the soil's parameters and the cover are only divided, by their
    rms where known, so that unknown values stay zero. A feature that hardly varies in training may
    vary at a site: the spread is at least `LEAST_SPREAD`.

    Parameters
    ----------
    features : (S, T, F)
    """
    offset, scale = np.zeros(len(NAMES)), np.ones(len(NAMES))
    for i, name in enumerate(NAMES):
        least, flag = LEAST_SPREAD[name], KNOWN_BY.get(name)
        if least is None:
            continue
        values = features[..., i].astype(np.float64)
        if flag is None:
            offset[i] = values.mean()
            spread = float(values.std())
        else:
            known = values[features[..., NAMES.index(flag)] > 0.0]
            spread = float(np.sqrt(np.mean(known**2))) if known.size else 0.0
        scale[i] = 1.0 / max(spread, least)
    return Scaling(offset=offset.astype(np.float32), scale=scale.astype(np.float32))
