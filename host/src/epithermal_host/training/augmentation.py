"""What stations are told in training, with another error in each epoch."""

from __future__ import annotations

import numpy as np

from epithermal_host.arrays import Array32
from epithermal_host.config.learning import TrainConfig
from epithermal_host.training.scaling import KNOWN_BY, Scaling
from epithermal_host.training.series import NAMES

TOLD = (
    "bulk_density_g_cm3",
    "bound_water_g_g",
    *(name for name, flag in KNOWN_BY.items() if flag in ("soil_known", "cover_known")),
)
DAYS_RAIN = 2.0  # a day's rain is further off than a year's, by this factor; own choice


def jittered(features: Array32, config: TrainConfig, epoch: int, scaling: Scaling) -> Array32:
    """Features with other errors of what the station is told of its site, by (seed, epoch).

    Numbers that stay the same in every epoch are a name by which a soil can be learnt by heart.
    """
    if config.jitter == 0.0:
        return features
    rng = np.random.default_rng((config.seed, epoch, 1))
    out = features.copy()
    for name in TOLD:
        i = NAMES.index(name)
        error = rng.standard_normal((len(features), 1)) * config.jitter / scaling.scale[i]
        known = features[..., NAMES.index(KNOWN_BY[name])] > 0.0 if name in KNOWN_BY else 1.0
        out[..., i] += (error * known).astype(np.float32)
    return out


def weathered(features: Array32, config: TrainConfig, epoch: int) -> Array32:
    """Features of stations whose weather is another place's, by (seed, epoch); N known: exact.

    A gauge or a grid cell stands for the field, Hargreaves for ET0: both are off by a factor, and
    each day's rain by another. A network that is shown better weather than a station has trusts it
    more than the counts.
    """
    if config.weather_error == 0.0:
        return features
    soils, days = features.shape[:2]
    rng = np.random.default_rng((config.seed, epoch, 2))
    unsure = features[:, :1, NAMES.index("cosmic_n_sigma")] > 0.0
    out = features.copy()
    rain, et0 = NAMES.index("rain_mm"), NAMES.index("et0_mm")
    place = rng.standard_normal((2, soils, 1))
    size = config.weather_error * unsure
    out[..., rain] *= np.exp(size * (place[0] + DAYS_RAIN * rng.standard_normal((soils, days))))
    out[..., et0] *= np.exp(size * place[1])
    return out
