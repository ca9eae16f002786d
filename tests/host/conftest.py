"""Write data sets like training/dataset.py, from two leaky buckets instead of soil physics."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.inference.features import FEATURES

NAMES = [feature.name for feature in FEATURES]
BUCKET_FEATURES = (  # features that the buckets supply; any other is 0
    *("theta_inv", "theta_inv_sigma", "gap", "rain_mm", "rain_known", "et0_mm", "et0_known"),
    *("bulk_density_g_cm3", "bound_water_g_g", "cosmic_n_sigma", "soil_known", "soil_theta_r"),
    *("soil_theta_s", "soil_log_alpha", "soil_log_n", "soil_log_ks", "cover_known"),
    *("cover_canopy", "cover_root_depth_cm", "cover_evaporation", "radiation_mm"),
)


def bucket_series(soils: int, days: int, seed: int) -> dict[str, np.ndarray]:
    """Return the arrays of a data set; counts depend on the upper bucket, theta on the lower."""
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random((soils, days)) < 0.3, rng.exponential(7.0, (soils, days)), 0.0)
    day = np.arange(days) + rng.integers(0, 365, (soils, 1))
    et0 = np.maximum(2.5 - 2.0 * np.cos(2 * np.pi * day / 365.25), 0.2)
    depth = np.array([60.0, 240.0])[:, None]  # of the buckets [mm]
    top = rng.uniform(0.35, 0.5, soils)
    drain = rng.uniform(0.05, 0.3, soils)
    water = np.full((2, soils), 0.22)
    theta, footprint = np.empty((soils, days)), np.empty((soils, days))
    upper, lower = np.empty((soils, days)), np.empty((soils, days))
    for t in range(days):
        water[0] += rain[:, t] / depth[0]
        excess = np.maximum(water[0] - 0.6 * top, 0.0)
        water[0] -= excess
        water[1] += excess * depth[0] / depth[1]
        flow = drain * np.maximum(water[0] - 0.08, 0.0)
        water[0] -= flow + 0.55 * et0[:, t] / depth[0] * np.clip((water[0] - 0.05) / 0.15, 0, 1)
        water[1] += flow * depth[0] / depth[1]
        water[1] -= 0.45 * et0[:, t] / depth[1] * np.clip((water[1] - 0.08) / 0.12, 0, 1)
        water[1] -= 0.05 * np.maximum(water[1] - 0.7 * top, 0.0)
        water = np.clip(water, 0.03, top)
        theta[:, t] = 0.2 * water[0] + 0.8 * water[1]
        upper[:, t], lower[:, t] = 0.5 * (water[0] + water[1]), water[1]
        footprint[:, t] = 0.05 + 0.55 * water[0] + 0.45 * water[1]
    place = np.repeat(_place(rng, top, drain)[:, None], days, axis=1)
    place = np.concatenate((place, _year(rng, day)), axis=-1)
    arrays = _arrays(rng, theta, footprint, rain, et0, place)
    between = 1.5 * theta - 0.5 * upper
    return arrays | {"theta_0_10": upper, "theta_10_30": between, "theta_30_60": lower}


def _place(rng: np.random.Generator, top: np.ndarray, drain: np.ndarray) -> np.ndarray:
    """Return features constant in time (S, 9); the soil of every third site is unknown."""
    soils = len(top)
    known = 0.5 * (np.arange(soils) % 3)
    soil = (rng.normal(0.0, 0.02, soils), top - 0.43, *rng.normal(0.0, 0.3, (2, soils)))
    described = np.stack((*soil, np.log10(drain / 0.15)), axis=1) * (known > 0.0)[:, None]
    density, bound = rng.uniform(1.1, 1.6, soils), rng.uniform(0.02, 0.08, soils)
    sigma = np.full(soils, 0.03)
    return np.concatenate((np.stack((density, bound, sigma, known), axis=1), described), axis=1)


def _year(rng: np.random.Generator, day: np.ndarray) -> np.ndarray:
    """Return cover and radiation (S, T, 5); the cover of every second site is unknown."""
    summer = 0.5 - 0.5 * np.cos(2 * np.pi * day / 365.25)
    roots, share = rng.uniform(20.0, 120.0, (len(day), 1)), rng.uniform(-0.6, 0.0, (len(day), 1))
    known = np.ones_like(summer)
    cover = np.stack((known, 0.9 * summer, roots * known, share * known), axis=-1)
    cover *= (np.arange(len(day)) % 2)[:, None, None]
    return np.concatenate((cover, 3.0 + 13.0 * summer[..., None]), axis=-1)


def _arrays(
    rng: np.random.Generator,
    theta: np.ndarray,
    footprint: np.ndarray,
    rain: np.ndarray,
    et0: np.ndarray,
    place: np.ndarray,
) -> dict[str, np.ndarray]:
    soils, days = theta.shape
    sigma = 0.004 + 0.02 * footprint
    inversion = footprint + sigma * rng.standard_normal(footprint.shape)
    gap = rng.random((soils, days)) < 0.01
    gap[:, 200:203] = True
    gap[:, 0] = False
    held = np.maximum.accumulate(np.where(gap, 0, np.arange(days)), axis=1)
    known = np.ones((soils, days))
    daily = np.stack(
        (
            np.take_along_axis(inversion, held, axis=1),
            np.take_along_axis(sigma, held, axis=1),
            gap.astype(float),
            rain,
            known,
            et0,
            known,
        ),
        axis=-1,
    )
    values = np.concatenate((daily, place), axis=-1)
    features = np.zeros((soils, days, len(FEATURES)))
    features[..., [NAMES.index(name) for name in BUCKET_FEATURES]] = values
    third = max(1, soils // 6)
    split = np.zeros(soils, dtype=np.int8)
    split[-2 * third : -third], split[-third:] = 1, 2
    return {
        "features": features,
        "theta": theta,
        "theta_classical": np.where(gap, np.nan, inversion),
        "snow_mm": np.zeros((soils, days)),
        "split": split,
        "scenario": np.arange(soils),
        "feature_names": np.array(NAMES),
        "day_end_s": 86400.0 * np.arange(1, days + 1),
        "data_hash": np.array(hashlib.sha256(features.tobytes()).hexdigest()),
    }


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that creates a run folder with a data set."""

    def make(soils: int = 24, days: int = 500, seed: int = 1) -> Path:
        folder = tmp_path_factory.mktemp("run")
        np.savez(folder / "dataset.npz", **bucket_series(soils, days, seed))
        return folder

    return make


@pytest.fixture(scope="session")
def finished_run(make_run: Callable[..., Path], scene: Callable[..., Path]) -> Path:
    """Train, quantize and evaluate a run, which the tests must not modify."""

    def build(folder: Path) -> None:
        # imported here, so that collecting the tests does not load TensorFlow, beside which
        # tflite-runtime cannot be loaded any more
        from epithermal_host.evaluation import evaluate
        from epithermal_host.training import quantize, train

        shutil.copytree(make_run(soils=30, days=500), folder, dirs_exist_ok=True)
        config = train.TrainConfig(epochs=12, batch=8, chunk=125, hidden=32, spin_up_steps=40)
        train.run(folder, config, progress=False)
        quantize.run(folder, quantize.QuantizeConfig(soils=3), progress=False)
        evaluate.run(folder, progress=False)

    return scene("finished", build)
