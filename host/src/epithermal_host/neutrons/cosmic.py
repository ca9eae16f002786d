"""Compute the neutron rate over a soil profile with COSMIC, and the depth it comes from."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from epithermal_edge.physics.cosmic import cosmic_parameters
from epithermal_host.arrays import Array, Integers
from epithermal_host.neutrons import cosmic_kernel

Rule = Literal["fast", "exact"]

L1_L2_L4_G_CM2 = (162.0, 129.1, 3.16)  # Shuttleworth et al. (2013), table 1
DEPTH_CM = 300.0  # depth of the soil column in COSMIC
LAYER_CM = 0.1  # thickness of its layers in the exact rule
ANGLE_DEG = 0.5  # step of the sum over angles


@dataclass(frozen=True, slots=True)
class _Layers:
    """Profiles as flat arrays (np or 1, nl); the first layer is the water above the soil."""

    thickness_cm: Array  # (np or 1, nl)
    bulk_density: Array
    water: Array  # pore, lattice and organic water [g cm-3]
    alpha: Array
    l3: Array
    n_cph: Array  # (np)
    shape: tuple[int, ...]  # of the result
    lengths: tuple[float, float, float]  # L1, L2, L4 [g cm-2]


def node_layer_bottoms(z_cm: ArrayLike) -> Array:
    """Compute layer bottoms midway between the nodes of a column; (nz) to (nz) [cm].

    The functions of this module extend the last layer to COSMIC's 300 cm.
    """
    z = np.asarray(z_cm, dtype=np.float64)
    return np.append(0.5 * (z[1:] + z[:-1]), max(DEPTH_CM, 2.0 * z[-1]))


def neutron_rate(
    bottom_cm: ArrayLike,
    theta: ArrayLike,
    bulk_density_g_cm3: ArrayLike,
    lattice_water_m3_m3: ArrayLike = 0.0,
    n_cph: ArrayLike = 1.0,
    *,
    alpha: ArrayLike | None = None,
    l3_g_cm2: ArrayLike | None = None,
    surface_water_cm: ArrayLike = 0.0,
    l1_l2_l4_g_cm2: tuple[float, float, float] = L1_L2_L4_G_CM2,
    rule: Rule = "fast",
) -> Array:
    """Compute the fast neutron rate over a soil, corrected for pressure, humidity and intensity.

    Parameters
    ----------
    bottom_cm : (nl) [cm]
        Bottom of each layer (`node_layer_bottoms` computes it from nodes); the last layer extends
        to 300 cm.
    theta : (..., nl) [m3 m-3]
        Pore water; any number of profiles.
    bulk_density_g_cm3 : broadcasts against theta [g cm-3]
        Dry bulk density, one value or one per layer.
    lattice_water_m3_m3 : broadcasts against theta [m3 m-3]
        VOLUMETRIC water equivalent of lattice water and organic matter.
    n_cph : (...) [counts h-1]
        COSMIC's N for the site and detector.
    alpha, l3_g_cm2 : broadcast against theta [-], [g cm-2]
        None: estimated from bulk density.
    surface_water_cm : (...) [cm]
        Water of snow, litter or a pond on the soil.
    l1_l2_l4_g_cm2 : [g cm-2]
        Attenuation lengths; mHM uses unrounded values.
    rule : [-]
        "exact": 1 mm layers and 180 angles, as published. "fast": the same sum over angles from a
        table, layers integrated by Gauss' rule; within 0.02 % of the exact rule.

    Returns
    -------
    (...) [counts h-1]

    Raises
    ------
    ValueError
        Impossible shapes or parameters.

    References
    ----------
    Shuttleworth et al. (2013), eq. 1 to 6, with the numerical rule of NCAR/DART, which exceeds the
    integral over angles by 0.4 %.
    """
    layers = _layers(bottom_cm, theta, bulk_density_g_cm3, lattice_water_m3_m3, n_cph, alpha,
                     l3_g_cm2, surface_water_cm, l1_l2_l4_g_cm2)  # fmt: skip
    if rule == "exact":
        return np.asarray(_exact(layers).sum(axis=1).reshape(layers.shape))
    rates = np.empty(layers.n_cph.size)
    cosmic_kernel.rates(escape_table(), *_arguments(layers), rates)
    return np.asarray((rates * layers.n_cph).reshape(layers.shape))


def contributions(
    bottom_cm: ArrayLike,
    theta: ArrayLike,
    bulk_density_g_cm3: ArrayLike,
    lattice_water_m3_m3: ArrayLike = 0.0,
    *,
    alpha: ArrayLike | None = None,
    l3_g_cm2: ArrayLike | None = None,
    surface_water_cm: ArrayLike = 0.0,
    l1_l2_l4_g_cm2: tuple[float, float, float] = L1_L2_L4_G_CM2,
) -> Array:
    """Compute the fraction of the counted neutrons from each layer; arguments as `neutron_rate`.

    Returns
    -------
    (..., nl) [-]
        Sums to 1 without surface water; the remainder comes from that water.
    """
    layers = _layers(bottom_cm, theta, bulk_density_g_cm3, lattice_water_m3_m3, 1.0, alpha,
                     l3_g_cm2, surface_water_cm, l1_l2_l4_g_cm2)  # fmt: skip
    by_layer = np.zeros(layers.water.shape)
    cosmic_kernel.contributions(escape_table(), *_arguments(layers), by_layer)
    share = by_layer / by_layer.sum(axis=1, keepdims=True)
    return np.asarray(share[:, 1:].reshape(np.shape(theta)))


def effective_depth(
    bottom_cm: ArrayLike,
    theta: ArrayLike,
    bulk_density_g_cm3: ArrayLike,
    lattice_water_m3_m3: ArrayLike = 0.0,
    *,
    alpha: ArrayLike | None = None,
    l3_g_cm2: ArrayLike | None = None,
    surface_water_cm: ArrayLike = 0.0,
    l1_l2_l4_g_cm2: tuple[float, float, float] = L1_L2_L4_G_CM2,
    share: float = 0.86,
    rule: Rule = "fast",
) -> Array:
    """Compute the depth D86 that 86 % of the counted neutrons come from; as `neutron_rate`.

    Returns
    -------
    (...) [cm]
        Below the soil surface. "exact" returns the bottom of a 1 mm layer, as published.
    """
    layers = _layers(bottom_cm, theta, bulk_density_g_cm3, lattice_water_m3_m3, 1.0, alpha,
                     l3_g_cm2, surface_water_cm, l1_l2_l4_g_cm2)  # fmt: skip
    if rule == "exact":
        cumulated = np.cumsum(_exact(layers), axis=1)
        first = np.argmax(cumulated >= share * cumulated[:, -1:], axis=1)
        snow = _fine(layers, 0)[0].size - round(DEPTH_CM / LAYER_CM)
        return np.asarray(LAYER_CM * np.maximum(first + 1 - snow, 0.0).reshape(layers.shape))
    rates = np.empty(layers.n_cph.size)
    depths = np.empty(layers.n_cph.size)
    cosmic_kernel.rates(escape_table(), *_arguments(layers), rates)
    cosmic_kernel.depths(escape_table(), *_arguments(layers), share * rates, depths)
    below = np.maximum(depths - layers.thickness_cm[:, 0], 0.0)
    return np.asarray(below.reshape(layers.shape))


def _layers(
    bottom_cm: ArrayLike,
    theta: ArrayLike,
    bulk_density: ArrayLike,
    lattice: ArrayLike,
    n_cph: ArrayLike,
    alpha: ArrayLike | None,
    l3: ArrayLike | None,
    surface_water_cm: ArrayLike,
    lengths: tuple[float, float, float],
) -> _Layers:
    bottom = np.asarray(bottom_cm, dtype=np.float64)
    t = np.asarray(theta, dtype=np.float64)
    if bottom.ndim != 1 or t.shape[-1:] != bottom.shape or not np.all(np.diff(bottom) > 0.0):
        raise ValueError("bottom_cm must increase and have one value for each layer of theta")
    if bottom[0] <= 0.0:
        raise ValueError("bottom_cm must lie below the surface (z_cm > 0)")
    shape, nl = t.shape[:-1], bottom.size
    if alpha is None or l3 is None:
        from_density = cosmic_parameters(np.asarray(bulk_density, dtype=np.float64))
        alpha = from_density[0] if alpha is None else alpha
        l3 = from_density[1] if l3 is None else l3
    snow = np.broadcast_to(np.asarray(surface_water_cm, dtype=np.float64), shape).reshape(-1, 1)
    below = np.diff(np.append(0.0, bottom))
    below[-1] = max(DEPTH_CM - (bottom[-2] if nl > 1 else 0.0), 0.0)
    water = (t + np.asarray(lattice, dtype=np.float64)).reshape(-1, nl)
    return _Layers(
        np.hstack((snow, np.broadcast_to(below, (snow.shape[0], nl)))),
        _rows(bulk_density, t.shape, 0.0),
        np.hstack((np.ones((water.shape[0], 1)), water)),
        _rows(alpha, t.shape, 0.0),
        _rows(l3, t.shape, 1.0),
        np.broadcast_to(np.asarray(n_cph, dtype=np.float64), shape).reshape(-1),
        shape,
        lengths,
    )


def _rows(value: ArrayLike, shape: tuple[int, ...], in_snow: float) -> Array:
    """Shape a parameter as (1, nl + 1) where all profiles share it, else (np, nl + 1)."""
    v = np.asarray(value, dtype=np.float64)
    shared = v.ndim == 0 or v.shape[:-1] == (1,) * (v.ndim - 1)
    rows = np.broadcast_to(v.reshape(-1) if shared else v, shape[-1:] if shared else shape)
    flat = rows.reshape(-1, shape[-1])
    return np.hstack((np.full((flat.shape[0], 1), in_snow), flat))


def _arguments(layers: _Layers) -> tuple[Array, Array, Array, Array, Array, Array]:
    return (layers.thickness_cm, layers.bulk_density, layers.water, layers.alpha, layers.l3,
            np.asarray(layers.lengths))  # fmt: skip


def escape_sum(x: ArrayLike) -> tuple[Array, Array]:
    """Compute COSMIC's sum over angles and its derivative; x = m_s / L3 + m_w / L4, (n) [-].

    References
    ----------
    Shuttleworth et al. (2013), eq. 5, by the left rectangle rule of 0.5 degrees. The rule is
    spectrally accurate except for its first term: sum = integral + exp(-x) / 360.
    """
    cosine = np.cos(np.deg2rad(np.arange(0.0, 90.0, ANGLE_DEG)))
    weight = 2.0 / np.pi * np.deg2rad(ANGLE_DEG)
    terms = np.exp(-np.asarray(x, dtype=np.float64)[:, None] / cosine)
    return weight * terms.sum(axis=1), -weight * (terms / cosine).sum(axis=1)


@functools.cache
def escape_table() -> Array:
    """Tabulate the escape sum by cubic pieces in s = sqrt(x), where it is smooth; (cells, 4)."""
    s = np.linspace(0.0, np.sqrt(cosmic_kernel.X_MAX), cosmic_kernel.CELLS + 1)
    value, slope = escape_sum(s * s)
    ds = s[1]
    d = slope * 2.0 * s * ds  # per cell
    rise = np.diff(value)
    return np.ascontiguousarray(
        np.stack((value[:-1], d[:-1], 3.0 * rise - 2.0 * d[:-1] - d[1:],
                  d[:-1] + d[1:] - 2.0 * rise), axis=1)
    )  # fmt: skip


def _fine(layers: _Layers, row: int) -> tuple[Array, Integers]:
    """Divide one profile into 1 mm layers; return their thickness and the index of their layer."""
    thickness = layers.thickness_cm[row]
    count = int(np.ceil(thickness[0] / LAYER_CM - 1e-9))
    snow = np.full(count, thickness[0] / max(count, 1))
    z = LAYER_CM * np.arange(1, round(DEPTH_CM / LAYER_CM) + 1)
    bottom = np.cumsum(thickness[1:])
    of_soil = np.searchsorted(bottom + 1e-9, z)  # the layer whose bottom is at z
    of_layer = np.concatenate((np.zeros(count, np.int64), 1 + of_soil))
    return np.append(snow, np.full(z.size, LAYER_CM)), np.minimum(of_layer, thickness.size - 1)


def _exact(layers: _Layers) -> Array:
    """Compute the neutrons of each 1 mm layer by the published rule; (np, fine layers)."""
    l1, l2, l4 = layers.lengths
    rows = []
    widest = int(np.argmax(layers.thickness_cm[:, 0]))
    size = _fine(layers, widest)[0].size
    for row in range(layers.n_cph.size):
        dz, of = _fine(layers, row)
        pick = [a[row if a.shape[0] > 1 else 0][of] for a in
                (layers.bulk_density, layers.water, layers.alpha, layers.l3)]  # fmt: skip
        density, water, alpha, l3 = pick

        def above(mass: Array) -> Array:  # down to the layer's centre
            return np.cumsum(mass) - 0.5 * mass

        fast = above(dz * density / l3) + above(dz * water) / l4
        high = np.exp(-above(dz * density) / l1 - above(dz * water) / l2)
        flux = dz * high * (alpha * density + water) * escape_sum(fast)[0]
        rows.append(np.append(np.zeros(size - flux.size), flux) * layers.n_cph[row])
    return np.asarray(rows)
