"""The scale by which the network's own output is the samples on the sampling days."""

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
from epithermal_host.bundles.streams import answers
from epithermal_host.compute.crew import Crew, crew
from epithermal_host.field.sampled_counts import Corrected, collect, steps
from epithermal_host.field.series import from_first_counts

SPAN = 0.20  # how far from COSMIC's N it is looked for, relative
CANDIDATES = 17
NEAR = np.array([0.99, 1.0, 1.01])  # of the second look
SIGMA_MAX = 0.10  # relative; where the network hardly follows N, N is not to be had from it


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """A site's records through pipeline and network, for several N abreast."""

    n_cph: Array  # (k,)
    day_end_s: Array  # (T,) end of the window [s, UTC]
    features: Array  # (k, T, F) the station's, physical units
    inversion: Array  # (k, T) homogeneous COSMIC inversion [m3 m-3]
    theta: Array  # (k, T) 0-30 cm by the network [m3 m-3]; NaN without one
    restart: Mask  # (T,) the state is void before this window
    corrected: Corrected


@dataclass(frozen=True, slots=True)
class NetworkFit:
    """N by the network."""

    n_cph: float  # NaN: none
    sigma_cph: float  # by the error of the samples
    classical: tuple[float, ...]  # what the network says on each day with COSMIC's N [m3 m-3]
    fitted: tuple[float, ...]  # and with this one
    age_d: tuple[int, ...]  # days since its state was void
    reason: str = ""  # why there is none


def stream(
    site: Site,
    n_cph: Array,
    records: Sequence[RawRecord],
    day_ends_utc_h: int,
    bundle: Bundle | None,
    runtime_name: str | None = None,
) -> Streamed:
    """Records through the station's pipeline and the bundle, once for each N.

    Parameters
    ----------
    n_cph : (k,) [counts h-1]
        COSMIC's N of each.
    bundle :
        None: no network, the pipeline alone.
    """
    phases = 24 // math.gcd(24, day_ends_utc_h)
    sites = dataclasses.replace(site, cosmic_n_cph=n_cph)
    windows: list[Window] = []
    pairs = []
    for record, made, closed in steps(sites, records, n_cph.size, phases):
        pairs.append((record, made))
        windows += [w for w in closed if w.hour % 24 == day_ends_utc_h]
    windows = from_first_counts(windows)
    features = np.stack([w.features for w in windows], axis=1)
    restart = np.array([w.restart[0] for w in windows])
    theta = np.full(features.shape[:2], np.nan)
    if bundle is not None:
        with crew(1) as who:
            theta = said(bundle, features, restart, who, runtime_name)
    return Streamed(
        n_cph=n_cph,
        day_end_s=np.array([w.hour * HOUR_S for w in windows]),
        features=features,
        inversion=np.stack([w.theta_classical for w in windows], axis=1),
        theta=theta,
        restart=restart,
        corrected=collect(pairs),
    )


def said(
    bundle: Bundle,
    features: NDArray[Any],
    restart: Mask,
    who: Crew,
    runtime_name: str | None = None,
) -> Array:
    """The network's theta of 0-30 cm [m3 m-3], (k, T), of features (k, T, F)."""
    abreast = np.broadcast_to(restart, features.shape[:2])
    told = answers(
        bundle, features.astype(np.float32), who, restart=abreast, runtime_name=runtime_name
    )
    return told.y[..., 0]


def candidates(n_cph: float) -> Array:
    """Where the network is asked first, the classical N in the middle."""
    log = np.linspace(math.log(1.0 - SPAN), -math.log(1.0 - SPAN), CANDIDATES)
    return np.asarray(n_cph * np.exp(log))


def crossing(n_cph: Array, misfit: Array, near: float) -> float:
    """N at which the misfit (k,) is 0, by lines between neighbours; the nearest; NaN: none."""
    found = []
    for i in range(n_cph.size - 1):
        a, b = misfit[i], misfit[i + 1]
        if a == 0.0 or a * b < 0.0:
            share = 0.0 if a == b else a / (a - b)
            found.append(float(n_cph[i] * (n_cph[i + 1] / n_cph[i]) ** share))
    return min(found, key=lambda n: abs(math.log(n / near)), default=math.nan)


def network_fit(coarse: Streamed, ends_s: Array, theta: Array, sigma: Array) -> NetworkFit:
    """N by which the network says on the sampling days what the samples say, in weighted mean.

    Parameters
    ----------
    coarse :
        With the `candidates` of the classical N.
    ends_s : (k,) [s, UTC]
        Ends of the sampling days' windows.
    theta, sigma : (k,) [m3 m-3]
        Mean of 0-30 cm by the samples, and its standard error.
    """
    middle = coarse.n_cph.size // 2
    near = float(coarse.n_cph[middle])
    at = np.searchsorted(coarse.day_end_s, ends_s)
    said = coarse.theta[:, at]
    weight = sigma**-2.0 / np.sum(sigma**-2.0)
    misfit = (said - theta) @ weight
    found = crossing(coarse.n_cph, misfit, near)
    age = tuple(_age(coarse.restart)[at].tolist())
    classical = tuple(said[middle].tolist())
    if math.isnan(found):
        low, high = (said[[0, -1]] @ weight).tolist()
        reason = (
            f"between {coarse.n_cph[0]:.0f} and {coarse.n_cph[-1]:.0f} counts/h the network says "
            f"{low:.3f} to {high:.3f}, the samples {float(theta @ weight):.3f}"
        )
        return NetworkFit(math.nan, math.nan, classical, (), age, reason)
    log_n = np.log(coarse.n_cph)
    fitted = tuple(float(np.interp(math.log(found), log_n, column)) for column in said.T)
    slope = float(np.interp(math.log(found), log_n, np.gradient(misfit, log_n)))
    error = math.sqrt(float(np.sum((weight * sigma) ** 2))) / slope if slope > 0.0 else math.inf
    if error > SIGMA_MAX:
        reason = "the network hardly follows N on the sampling days"
        return NetworkFit(math.nan, math.nan, classical, fitted, age, reason)
    return NetworkFit(found, found * error, classical, fitted, age)


def _age(restart: Mask) -> Integers:
    day = np.arange(restart.size)
    return np.asarray(day - np.maximum.accumulate(np.where(restart, day, 0)))
