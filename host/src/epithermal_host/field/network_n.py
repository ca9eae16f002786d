"""Fit the N with which the network's estimates agree with the samples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.inference.features import Window
from epithermal_edge.records import RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S
from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.bundles.streams import estimate_series
from epithermal_host.compute.crew import Crew, crew
from epithermal_host.field.sampled_counts import Corrected, collect, passed
from epithermal_host.field.series import from_first_counts

SPAN = 0.20  # search range about COSMIC's N, relative
CANDIDATES = 17
NEAR = np.array([0.99, 1.0, 1.01])  # factors of the refined search
SIGMA_MAX = 0.10  # relative; larger if the network hardly responds to N, which is then not fitted


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """A site's records after pipeline and network, for several N in parallel."""

    n_cph: Array  # (k,)
    day_end_s: Array  # (T,) end of the window [s, UTC]
    features: Array  # (k, T, F) the station's, physical units
    inversion: Array  # (k, T) inversion by the site's response [m3 m-3]
    theta: Array  # (k, T) 0-30 cm by the network [m3 m-3]; NaN without one
    restart: Mask  # (T,) the state is reset before this window
    corrected: Corrected


@dataclass(frozen=True, slots=True)
class NetworkFit:
    """N fitted with the network."""

    n_cph: float  # NaN: not fitted
    sigma_cph: float  # standard error due to the samples
    classical: tuple[float, ...]  # the network's theta on each day with COSMIC's N [m3 m-3]
    fitted: tuple[float, ...]  # the network's theta with this N [m3 m-3]
    age_d: tuple[int, ...]  # days since its state was reset
    reason: str = ""  # why N was not fitted


def stream(
    site: Site,
    n_cph: Array,
    records: Sequence[RawRecord],
    day_ends_utc_h: int,
    bundle: Bundle | None,
    runtime_name: str | None = None,
) -> Streamed:
    """Run records through the station's pipeline and the bundle, once for each N.

    Parameters
    ----------
    n_cph : (k,) [counts h-1]
        Scale of the response in each run.
    bundle :
        None: the pipeline alone.
    """
    phases = 24 // math.gcd(24, day_ends_utc_h)
    sites = dataclasses.replace(site, cosmic_n_cph=n_cph)
    windows: list[Window] = []
    pairs = []
    for block, corrected, closed in passed(sites, records, n_cph.size, phases):
        pairs.append((block, corrected))
        windows += [w for w in closed.each() if w.hour % 24 == day_ends_utc_h]
    windows = from_first_counts(windows)
    features = np.stack([w.features for w in windows], axis=1)
    restart = np.array([w.restart[0] for w in windows])
    theta = np.full(features.shape[:2], np.nan)
    if bundle is not None:
        with crew(1) as who:
            theta = network_theta(bundle, features, restart, who, runtime_name)
    return Streamed(
        n_cph=n_cph,
        day_end_s=np.array([w.hour * HOUR_S for w in windows]),
        features=features,
        inversion=np.stack([w.theta_classical for w in windows], axis=1),
        theta=theta,
        restart=restart,
        corrected=collect(pairs),
    )


def network_theta(
    bundle: Bundle,
    features: NDArray[Any],
    restart: Mask,
    who: Crew,
    runtime_name: str | None = None,
) -> Array:
    """Estimate theta of 0-30 cm by the network [m3 m-3], (k, T), from features (k, T, F)."""
    restarts = np.broadcast_to(restart, features.shape[:2])
    estimates = estimate_series(
        bundle, features.astype(np.float32), who, restart=restarts, runtime_name=runtime_name
    )
    return estimates.y[..., 0]


def candidates(n_cph: float) -> Array:
    """Return the N of the coarse search, with the classical N in the middle."""
    log = np.linspace(math.log(1.0 - SPAN), -math.log(1.0 - SPAN), CANDIDATES)
    return np.asarray(n_cph * np.exp(log))


def crossing(n_cph: Array, misfit: Array, near: float) -> float:
    """Interpolate the N at which the misfit (k,) is 0; the one nearest to `near`; NaN: none."""
    zeros = []
    for i in range(n_cph.size - 1):
        a, b = misfit[i], misfit[i + 1]
        if a == 0.0 or a * b < 0.0:
            share = 0.0 if a == b else a / (a - b)
            zeros.append(float(n_cph[i] * (n_cph[i + 1] / n_cph[i]) ** share))
    return min(zeros, key=lambda n: abs(math.log(n / near)), default=math.nan)


def network_fit(coarse: Streamed, ends_s: Array, theta: Array, sigma: Array) -> NetworkFit:
    """Fit the N with which the network reproduces the weighted mean of the sampling days.

    Parameters
    ----------
    coarse :
        Result of `stream` with the `candidates` of the classical N.
    ends_s : (k,) [s, UTC]
        Ends of the sampling days' windows.
    theta, sigma : (k,) [m3 m-3]
        Mean of 0-30 cm from the samples, and its standard error.
    """
    middle = coarse.n_cph.size // 2
    near = float(coarse.n_cph[middle])
    at = np.searchsorted(coarse.day_end_s, ends_s)
    estimates = coarse.theta[:, at]
    weight = sigma**-2.0 / np.sum(sigma**-2.0)
    misfit = (estimates - theta) @ weight
    n_cph = crossing(coarse.n_cph, misfit, near)
    age = tuple(_age(coarse.restart)[at].tolist())
    classical = tuple(estimates[middle].tolist())
    if math.isnan(n_cph):
        low, high = (estimates[[0, -1]] @ weight).tolist()
        reason = (
            f"with N from {coarse.n_cph[0]:.0f} to {coarse.n_cph[-1]:.0f} counts/h the network "
            f"estimates {low:.3f} to {high:.3f} m3/m3; the samples give {float(theta @ weight):.3f}"
        )
        return NetworkFit(math.nan, math.nan, classical, (), age, reason)
    log_n = np.log(coarse.n_cph)
    fitted = tuple(float(np.interp(math.log(n_cph), log_n, column)) for column in estimates.T)
    slope = float(np.interp(math.log(n_cph), log_n, np.gradient(misfit, log_n)))
    error = math.sqrt(float(np.sum((weight * sigma) ** 2))) / slope if slope > 0.0 else math.inf
    if error > SIGMA_MAX:
        reason = "the network hardly responds to N on the sampling days"
        return NetworkFit(math.nan, math.nan, classical, fitted, age, reason)
    return NetworkFit(n_cph, n_cph * error, classical, fitted, age)


def _age(restart: Mask) -> Integers:
    day = np.arange(restart.size)
    return np.asarray(day - np.maximum.accumulate(np.where(restart, day, 0)))
