"""The classical ways from counts to water content, as a user would have them calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from epithermal_edge.physics.cosmic import THETA_MAX, cosmic_rate
from epithermal_edge.physics.desilets import desilets_rate, desilets_theta
from epithermal_edge.physics.uts import uts_rate, uts_theta
from epithermal_edge.records import Floats
from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Mask
from epithermal_host.evaluation.exponential_filter import FILTER_T_D, best_t, exponential_filter
from epithermal_host.evaluation.methods import COSMIC, DESILETS, UTS, best_filtered, usual_filtered


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A method and its answers."""

    name: str
    theta: Array  # (S, T) [m3 m-3]; NaN without counts, where it is not filtered
    t_d: float | None = None  # of its filter


def inversions(theta_cosmic: Array, site: Site) -> dict[str, Array]:
    """The three inversions of the same corrected counts.

    Parameters
    ----------
    theta_cosmic : (S, T) [m3 m-3]
        Homogeneous COSMIC inversion, which holds the counts: it is undone for the others.
    site :
        Fields (S,). What is wrong with the station's N does not matter here, because N0 and N_D
        are calibrated to it.

    Returns
    -------
    Three of (S, T) [m3 m-3]
        By name. N0 of Desilets and N_D of UTS are such that both agree with COSMIC at the soil's
        median: one calibration for all. Clipped to 0 to 0.9 as COSMIC's is. UTS has the humidity
        that the counts were corrected to.
    """
    soil = _column(site)
    rate = cosmic_rate(theta_cosmic, soil)
    reference = np.nanmedian(theta_cosmic, axis=1, keepdims=True)
    at_reference = cosmic_rate(reference, soil)
    bound = np.asarray(soil.lattice_water_g_g) + np.asarray(soil.organic_water_g_g)
    density, humidity = soil.bulk_density_g_cm3, soil.humidity_ref_g_m3
    n_0 = at_reference / desilets_rate(reference, 1.0, density, bound)
    n_d = at_reference / uts_rate(reference, humidity, 1.0, bound, density)
    others = {
        DESILETS: desilets_theta(rate, n_0, density, bound),
        UTS: uts_theta(rate, humidity, n_d, bound, density),
    }
    seen = np.isfinite(theta_cosmic)
    for name, theta in others.items():
        clipped = np.clip(np.where(np.isnan(theta), THETA_MAX, theta), 0.0, THETA_MAX)
        others[name] = np.where(seen, clipped, np.nan)
    return {COSMIC: theta_cosmic, **others}


def baselines(
    theta_cosmic: Array, site: Site, truth: Array, judged: Mask, snow: Mask
) -> tuple[Baseline, ...]:
    """Each inversion bare, with the usual filter and with the best.

    Parameters
    ----------
    theta_cosmic : (S, T) [m3 m-3]
    site :
        Fields (S,).
    truth : (S, T) [m3 m-3]
    judged : (S, T)
        The best T is chosen on these very days, in the filter's favour.
    snow : (S, T)
        Days that the filters do not see, as a user would leave them out.
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


def _column(site: Site) -> Site:
    """Fields (S, 1), to go with (S, T)."""

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
