"""List every published response with its rate, slope, inversion and effect of humid air.

`response` has the interface; a family is added here. All work elementwise in a fixed number of
steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.physics import cosmic, desilets, uts, uts_inverse
from epithermal_edge.physics.corrections import humidity_factor
from epithermal_edge.physics.cosmic import THETA_MAX
from epithermal_edge.physics.desilets import bound_water
from epithermal_edge.site import Site

Array = NDArray[np.float64]
Pair = tuple[Array, Array]

UTS_HUMIDITY_WATER = 0.3  # [m3 m-3 at 1.43 g cm-3] at which the humidity factor of UTS is formed


@dataclass(frozen=True, slots=True)
class Response:
    """One published relation between water content and counts."""

    name: str  # in station.toml, site.toml and run.toml
    symbol: str  # of its scale
    title: str
    rate_and_slope: Callable[[Array, Site], Pair]  # at theta
    inversion: Callable[[Array, Site], Pair]  # theta and slope at a rate
    humidity: Callable[[Array, Site], Array]  # factor f_h of an absolute humidity [g m-3]
    driest: Callable[[Site], Array]  # rate at theta 0


def _water_g_g(theta: Array, site: Site) -> Array:
    """Compute all water of a soil (..., n) [g g-1]."""
    bound = bound_water(site.lattice_water_g_g, site.organic_water_g_g)
    return np.asarray(theta / np.asarray(site.bulk_density_g_cm3) + bound)


def _theta(water_g_g: Array, site: Site) -> Array:
    """Compute theta (..., n) [m3 m-3] of all water [g g-1], within 0 to THETA_MAX."""
    bound = bound_water(site.lattice_water_g_g, site.organic_water_g_g)
    theta = (water_g_g - bound) * np.asarray(site.bulk_density_g_cm3, dtype=np.float64)
    return np.asarray(np.clip(theta, 0.0, THETA_MAX))


def _cosmic_rate_and_slope(theta: Array, site: Site) -> Pair:
    return cosmic.cosmic_rate(theta, site), cosmic.cosmic_slope(theta, site)


def _rosolem(humidity: Array, site: Site) -> Array:
    return humidity_factor(humidity, site.humidity_ref_g_m3)


def _desilets_rate_and_slope(theta: Array, site: Site) -> Pair:
    n_0 = np.asarray(site.cosmic_n_cph, dtype=np.float64)
    moist = _water_g_g(theta, site) + desilets.A_2
    slope = -n_0 * desilets.A_0 / (moist * moist * np.asarray(site.bulk_density_g_cm3))
    return np.asarray(n_0 * (desilets.A_0 / moist + desilets.A_1)), np.asarray(slope)


def _desilets_inversion(n: Array, site: Site) -> Pair:
    excess = n / np.asarray(site.cosmic_n_cph, dtype=np.float64) - desilets.A_1
    with np.errstate(divide="ignore"):
        water = desilets.A_0 / np.where(excess <= 0.0, 0.0, excess) - desilets.A_2
    theta = _theta(water, site)
    return theta, _desilets_rate_and_slope(theta, site)[1]


def _uts_rate_and_slope(parameters: uts.UtsParameters, theta: Array, site: Site) -> Pair:
    water = uts.UTS_BULK_DENSITY_G_CM3 * _water_g_g(theta, site)
    rate, slope = uts.uts_intensity(water, site.humidity_ref_g_m3, parameters)
    n_d = np.asarray(site.cosmic_n_cph, dtype=np.float64)
    per_theta = uts.UTS_BULK_DENSITY_G_CM3 / np.asarray(site.bulk_density_g_cm3)
    return np.asarray(n_d * rate), np.asarray(n_d * slope * per_theta)


def _uts_inversion(parameters: uts.UtsParameters, n: Array, site: Site) -> Pair:
    bound = np.asarray(bound_water(site.lattice_water_g_g, site.organic_water_g_g))
    most = bound + THETA_MAX / np.asarray(site.bulk_density_g_cm3, dtype=np.float64)
    intensity = n / np.asarray(site.cosmic_n_cph, dtype=np.float64)
    water = uts.uts_water(
        intensity,
        uts.UTS_BULK_DENSITY_G_CM3 * bound,
        uts.UTS_BULK_DENSITY_G_CM3 * most,
        site.humidity_ref_g_m3,
        parameters,
    )
    theta = _theta(water / uts.UTS_BULK_DENSITY_G_CM3, site)
    driest = _uts_rate_and_slope(parameters, np.zeros_like(theta), site)[0]
    wettest = _uts_rate_and_slope(parameters, np.full_like(theta, THETA_MAX), site)[0]
    theta = np.where(n <= wettest, THETA_MAX, np.where(n >= driest, 0.0, theta))
    return theta, _uts_rate_and_slope(parameters, theta, site)[1]


def _uts_humidity(parameters: uts.UtsParameters, humidity: Array, site: Site) -> Array:
    water = np.asarray(UTS_HUMIDITY_WATER)
    at_reference = uts.uts_intensity(water, site.humidity_ref_g_m3, parameters)[0]
    return np.asarray(at_reference / uts.uts_intensity(water, humidity, parameters)[0])


def _inverse_rate_and_slope(of: uts_inverse.InverseUts, theta: Array, site: Site) -> Pair:
    water = uts.UTS_BULK_DENSITY_G_CM3 * _water_g_g(theta, site)
    intensity = uts_inverse.inverse_uts_intensity(water, of)
    scale = np.asarray(site.cosmic_n_cph, dtype=np.float64)
    scale = scale / uts_inverse.inverse_uts_humidity(site.humidity_ref_g_m3, of)
    slope = 1.0 / uts_inverse.inverse_uts_water(intensity, of)[1]
    per_theta = uts.UTS_BULK_DENSITY_G_CM3 / np.asarray(site.bulk_density_g_cm3)
    return np.asarray(scale * intensity), np.asarray(scale * slope * per_theta)


def _inverse_inversion(of: uts_inverse.InverseUts, n: Array, site: Site) -> Pair:
    scale = np.asarray(site.cosmic_n_cph, dtype=np.float64)
    scale = scale / uts_inverse.inverse_uts_humidity(site.humidity_ref_g_m3, of)
    intensity = np.maximum(n / scale, uts_inverse.LEAST_INTENSITY)
    water = uts_inverse.inverse_uts_water(intensity, of)[0]
    theta = _theta(water / uts.UTS_BULK_DENSITY_G_CM3, site)
    return theta, _inverse_rate_and_slope(of, theta, site)[1]


def _inverse_humidity(of: uts_inverse.InverseUts, humidity: Array, site: Site) -> Array:
    reference = uts_inverse.inverse_uts_humidity(site.humidity_ref_g_m3, of)
    return np.asarray(uts_inverse.inverse_uts_humidity(humidity, of) / reference)


def _driest(rate_and_slope: Callable[[Array, Site], Pair], site: Site) -> Array:
    zero = np.zeros_like(np.asarray(site.bulk_density_g_cm3, dtype=np.float64))
    return rate_and_slope(zero, site)[0]


def _response_2021(parameters: uts.UtsParameters) -> Response:
    name = "uts2021_" + parameters.removeprefix("Mar21_")
    rate = partial(_uts_rate_and_slope, parameters)
    return Response(
        name,
        "N_D",
        f"UTS, Koehli et al. (2021), {parameters}",
        rate,
        partial(_uts_inversion, parameters),
        partial(_uts_humidity, parameters),
        partial(_driest, rate),
    )


def _response_2025(key: str, of: uts_inverse.InverseUts) -> Response:
    rate = partial(_inverse_rate_and_slope, of)
    return Response(
        f"uts2025_{key}",
        "I_D",
        f"inverse UTS, Koehli (2026), {of.title}",
        rate,
        partial(_inverse_inversion, of),
        partial(_inverse_humidity, of),
        partial(_driest, rate),
    )


_ALL = (
    Response(
        "cosmic",
        "N",
        "COSMIC, Shuttleworth et al. (2013)",
        _cosmic_rate_and_slope,
        cosmic.cosmic_inversion,
        _rosolem,
        cosmic.driest_rate,
    ),
    Response(
        "desilets",
        "N0",
        "Desilets et al. (2010)",
        _desilets_rate_and_slope,
        _desilets_inversion,
        _rosolem,
        partial(_driest, _desilets_rate_and_slope),
    ),
    *map(_response_2021, uts.UTS_PARAMETERS),
    *(_response_2025(key, of) for key, of in uts_inverse.INVERSE_UTS.items()),
)
RESPONSES: dict[str, Response] = {response.name: response for response in _ALL}
"""By the name in configuration files."""
