"""Estimate water content from counts with the classical methods, calibrated as a user would."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from epithermal_edge.physics.cosmic import THETA_MAX
from epithermal_edge.physics.desilets import desilets_rate, desilets_theta
from epithermal_edge.physics.response import response_rate
from epithermal_edge.physics.uts import uts_rate, uts_theta
from epithermal_edge.records import Floats
from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Mask
from epithermal_host.evaluation.exponential_filter import FILTER_T_D, best_t, exponential_filter
from epithermal_host.evaluation.methods import (
    DESILETS,
    UTS,
    best_filtered,
    inversion_by,
    usual_filtered,
)


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Estimates of one method."""

    name: str
    theta: Array  # (S, T) [m3 m-3]; NaN without counts, unless filtered
    t_d: float | None = None  # time constant of its filter


def inversions(theta_cosmic: Array, site: Site) -> dict[str, Array]:
    """Compute the three inversions of the same corrected counts.

    Parameters
    ----------
    theta_cosmic : (S, T) [m3 m-3]
        Inversion by the response of the stations, COSMIC by default; the counts are recomputed
        from it.
    site :
        Fields (S,), with that response. Errors of the station's N have no effect, because N0 and
        N_D are calibrated to it.

    Returns
    -------
    Three of (S, T) [m3 m-3]
        By name, that by the response of the stations first. N0 of Desilets and N_D of UTS are set
        to agree with it at the soil's median, so that all share one calibration. Clipped to 0 to
        0.9. UTS uses the humidity to which the counts were corrected.
    """
    soil = _column(site)
    rate = _rate(theta_cosmic, site)
    reference = np.nanmedian(theta_cosmic, axis=1, keepdims=True)
    at_reference = _rate(reference, site)
    bound = np.asarray(soil.lattice_water_g_g) + np.asarray(soil.organic_water_g_g)
    density, humidity = soil.bulk_density_g_cm3, soil.humidity_ref_g_m3
    n_0 = at_reference / desilets_rate(reference, 1.0, density, bound)
    n_d = at_reference / uts_rate(reference, humidity, 1.0, bound, density)
    others = {
        DESILETS: desilets_theta(rate, n_0, density, bound),
        UTS: uts_theta(rate, humidity, n_d, bound, density),
    }
    counted = np.isfinite(theta_cosmic)
    for name, theta in others.items():
        clipped = np.clip(np.where(np.isnan(theta), THETA_MAX, theta), 0.0, THETA_MAX)
        others[name] = np.where(counted, clipped, np.nan)
    return {inversion_by(site.response): theta_cosmic, **others}


def baselines(
    theta_cosmic: Array, site: Site, truth: Array, judged: Mask, snow: Mask
) -> tuple[Baseline, ...]:
    """Compute each inversion without filter, with the usual filter and with the best filter.

    Parameters
    ----------
    theta_cosmic : (S, T) [m3 m-3]
    site :
        Fields (S,).
    truth : (S, T) [m3 m-3]
    judged : (S, T)
        Days on which the best T is chosen, which favours the filter.
    snow : (S, T)
        Days that the filters omit, as a user would.
    """
    out = []
    for name, theta in inversions(theta_cosmic, site).items():
        out.append(Baseline(name, theta))
        filtered = np.where(snow, np.nan, theta)
        usual = exponential_filter(filtered, FILTER_T_D)
        out.append(Baseline(usual_filtered(name), usual, FILTER_T_D))
        t_d = best_t(filtered, lambda f: float(np.mean((f - truth)[judged] ** 2)))
        best = exponential_filter(filtered, t_d)
        out.append(Baseline(best_filtered(name), best, t_d))
    return tuple(out)


def _rate(theta: Array, site: Site) -> Array:
    """Compute the rate (S, T) of the stations' inversion (S, T)."""
    if isinstance(site.response, str):
        return response_rate(theta, _column(site))
    return np.ascontiguousarray(response_rate(theta.T, site).T)


def _column(site: Site) -> Site:
    """Reshape the fields to (S, 1), for broadcasting with (S, T)."""

    def column(values: Floats) -> Array:
        return np.asarray(values, dtype=np.float64)[:, None]

    return replace(
        site,
        cosmic_n_cph=column(site.cosmic_n_cph),
        bulk_density_g_cm3=column(site.bulk_density_g_cm3),
        lattice_water_g_g=column(site.lattice_water_g_g),
        organic_water_g_g=column(site.organic_water_g_g),
        alpha=column(site.alpha),
        l3_g_cm2=column(site.l3_g_cm2),
        humidity_ref_g_m3=column(site.humidity_ref_g_m3),
    )
