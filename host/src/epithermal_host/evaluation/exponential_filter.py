"""Apply the recursive exponential filter, the reference method for a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from epithermal_host.arrays import Array

FILTER_T_D = 5.0  # the usual characteristic time [d]
PEER_T_D = (1.0, 2.0, 5.0, 10.0, 20.0)  # shown at real sites [d]
BEST_T_D = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0)


def exponential_filter(theta: Array, t_d: float) -> Array:
    """Estimate water content at depth from that near the surface by an exponential filter.

    Parameters
    ----------
    theta : (S, T) [m3 m-3]
        Daily; NaN: no observation, the last value is held and the gain increases.
    t_d : [d]
        Characteristic time T.

    Returns
    -------
    (S, T) [m3 m-3]
        NaN before the first observation.

    References
    ----------
    Wagner, Lemoine and Rott 1999; recursive form: Albergel et al. 2008, eq. 6-7:
    m_n = m_(n-1) + K_n (theta_n - m_(n-1)), K_n = K_(n-1) / (K_(n-1) + exp(-dt / T)), K_0 = 1.
    """
    out = np.full(theta.shape, np.nan)
    m, gain = np.full(len(theta), np.nan), np.ones(len(theta))
    dt = np.zeros(len(theta))
    for day in range(theta.shape[1]):
        now = theta[:, day]
        observed, first = np.isfinite(now), np.isnan(m)
        dt += 1.0
        new_gain = np.where(first, 1.0, gain / (gain + np.exp(-dt / t_d)))
        m = np.where(observed, np.where(first, now, m + new_gain * (now - m)), m)
        gain, dt = np.where(observed, new_gain, gain), np.where(observed, 0.0, dt)
        out[:, day] = m
    return out


def filter_within_pores(theta: Array, t_d: float, pore_space: float) -> Array:
    """Filter a series (T,) [m3 m-3] without the days on which it exceeds the soil's pore space.

    More water than the pores hold is not in the soil: it is snow, or water on the ground.
    """
    within = np.where(theta > pore_space, np.nan, theta)
    return np.asarray(exponential_filter(within[None], t_d)[0])


def best_t(theta: Array, cost: Callable[[Array], float]) -> float:
    """Find the T of `BEST_T_D` with the smallest cost of the filtered series [d]."""
    costs = [cost(exponential_filter(theta, t_d)) for t_d in BEST_T_D]
    return BEST_T_D[int(np.argmin(costs))]
