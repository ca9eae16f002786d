"""Perturb the site description and the weather of the training features, anew in each epoch."""

from __future__ import annotations

import numpy as np

from epithermal_host.arrays import Array32
from epithermal_host.config.learning import TrainConfig
from epithermal_host.training.scaling import KNOWN_BY, Scaling
from epithermal_host.training.series import NAMES

DESCRIBED = (
    "bulk_density_g_cm3",
    "bound_water_g_g",
    *(name for name, flag in KNOWN_BY.items() if flag in ("soil_known", "cover_known")),
)
DAILY_RAIN_FACTOR = 2.0  # error of a day's rain over that of a year's; own choice


def perturb_description(
    features: Array32, config: TrainConfig, epoch: int, scaling: Scaling
) -> Array32:
    """Add an error to the features that describe the site, drawn from (seed, epoch) alone.

    A network recognizes a soil by constants that are the same in every epoch, and overfits it.
    Unknown values stay 0.

    Parameters
    ----------
    features : (S, T, F)
        In physical units.
    config :
        `jitter` is the standard deviation in units of the scaled features; 0: returns `features`.
    """
    if config.jitter == 0.0:
        return features
    rng = np.random.default_rng((config.seed, epoch, 1))
    out = features.copy()
    for name in DESCRIBED:
        i = NAMES.index(name)
        error = rng.standard_normal((len(features), 1)) * config.jitter / scaling.scale[i]
        known = features[..., NAMES.index(KNOWN_BY[name])] > 0.0 if name in KNOWN_BY else 1.0
        out[..., i] += (error * known).astype(np.float32)
    return out


def perturb_weather(features: Array32, config: TrainConfig, epoch: int) -> Array32:
    """Multiply rain and ET0 by random errors, drawn from (seed, epoch) alone.

    The rain of a gauge or a grid cell and the ET0 of Hargreaves differ from the field's by a
    factor, and each day's rain by another one. A network trained on better weather than a station
    has would trust it more than the counts. Soils whose N is exact keep their weather.

    Parameters
    ----------
    features : (S, T, F)
        In physical units.
    config :
        `weather_error` is the standard deviation of the factor's logarithm; 0: returns `features`.
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
    out[..., rain] *= np.exp(
        size * (place[0] + DAILY_RAIN_FACTOR * rng.standard_normal((soils, days)))
    )
    out[..., et0] *= np.exp(size * place[1])
    return out
