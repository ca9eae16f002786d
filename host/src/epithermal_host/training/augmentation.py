"""Perturb the site description and the weather of the training features, anew in each epoch."""

from __future__ import annotations

import numpy as np

from epithermal_host.arrays import Array32
from epithermal_host.config.learning import TrainConfig
from epithermal_host.training.scaling import KNOWN_BY, Scaling
from epithermal_host.training.series import NAMES

GROUPS = {  # columns that describe the site, neighbours, by the flag that they are known
    flag: slice(NAMES.index(names[0]), NAMES.index(names[-1]) + 1)
    for flag, names in (
        ("", ("bulk_density_g_cm3", "bound_water_g_g")),
        *(
            (flag, [name for name in NAMES if KNOWN_BY.get(name) == flag])
            for flag in ("soil_known", "cover_known")
        ),
    )
}
DAILY_RAIN_FACTOR = 2.0  # error of a day's rain over that of a year's; own choice


def perturb_description(
    features: Array32, config: TrainConfig, epoch: int, scaling: Scaling, batch: int = 0
) -> Array32:
    """Add an error to the features that describe the site, drawn from (seed, epoch, batch) alone.

    A network recognizes a soil by constants that are the same in every epoch, and overfits it.
    Unknown values stay 0.

    Parameters
    ----------
    features : (B, T, F)
        Of one batch, in physical units.
    config :
        `jitter` is the standard deviation in units of the scaled features; 0: returns `features`.
    batch :
        Number of the batch in its epoch.
    """
    if config.jitter == 0.0:
        return features
    rng = np.random.default_rng((config.seed, epoch, 1, batch))
    out = features.copy()
    for flag, columns in GROUPS.items():
        size = (config.jitter / scaling.scale[columns]).astype(np.float32)
        error = size * rng.standard_normal((len(features), 1, len(size)), dtype=np.float32)
        known = features[..., NAMES.index(flag), None] > 0.0 if flag else np.True_
        out[..., columns] += error * known
    return out


def perturb_weather(features: Array32, config: TrainConfig, epoch: int, batch: int = 0) -> Array32:
    """Multiply rain and ET0 by random errors, drawn from (seed, epoch, batch) alone.

    The rain of a gauge or a grid cell and the ET0 of Hargreaves differ from the field's by a
    factor, and each day's rain by another one. A network trained on better weather than a station
    has would trust it more than the counts. Soils whose N is exact keep their weather.

    Parameters
    ----------
    features : (B, T, F)
        Of one batch, in physical units.
    config :
        `weather_error` is the standard deviation of the factor's logarithm; 0: returns `features`.
    batch :
        Number of the batch in its epoch.
    """
    if config.weather_error == 0.0:
        return features
    soils, days = features.shape[:2]
    rng = np.random.default_rng((config.seed, epoch, 2, batch))
    unsure = features[:, :1, NAMES.index("cosmic_n_sigma")] > 0.0
    out = features.copy()
    rain, et0 = NAMES.index("rain_mm"), NAMES.index("et0_mm")
    size = (config.weather_error * unsure).astype(np.float32)
    place = rng.standard_normal((2, soils, 1), dtype=np.float32)
    day = rng.standard_normal((soils, days), dtype=np.float32)
    day *= np.float32(DAILY_RAIN_FACTOR)
    out[..., rain] *= np.exp(size * (place[0] + day))
    out[..., et0] *= np.exp(size * place[1])
    return out
