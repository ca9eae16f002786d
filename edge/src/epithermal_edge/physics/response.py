"""Convert between counts and water content by the response that a site names, COSMIC by default.

One interface of three families: COSMIC, the universal transport solution (UTS) in each of its
published parameter sets, and the N0 function of Desilets. Scale and atmosphere of each are those
of the `Site`: `cosmic_n_cph` is N of COSMIC, N_D of UTS or N0 of Desilets, and the counts are
corrected to `humidity_ref_g_m3` by `response_humidity_factor`. All functions work elementwise in a
fixed number of steps, so that a single site gives the same bits as many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from epithermal_edge.physics.footprint import d86_cm, layer_weights
from epithermal_edge.physics.response_forms import RESPONSES, Response
from epithermal_edge.site import Site

Array = NDArray[np.float64]
Pair = tuple[Array, Array]

MEAN_STEPS = 12  # of the weighted mean; the change of the last one is below 1e-6 m3 m-3


def response_rate(theta: ArrayLike, site: Site) -> Array:
    """Compute the corrected count rate over a uniform soil by the response of the site.

    Parameters
    ----------
    theta : (..., n) [m3 m-3]
        Of a uniform soil, or a weighted mean such as `profile_mean`.
    site :
        Its fields are floats or (n,), `response` a name or n names.

    Returns
    -------
    (..., n) [counts h-1]

    Raises
    ------
    ValueError
        An unknown response; also as `cosmic_rate`.

    References
    ----------
    docs/equations.md, section on responses.
    """
    return _by_response(theta, site, lambda response, t, s: response.rate_and_slope(t, s)[:1])[0]


def response_slope(theta: ArrayLike, site: Site) -> Array:
    """Compute the derivative of the rate with respect to water content.

    Parameters
    ----------
    theta, site :
        As in `response_rate`.

    Returns
    -------
    (..., n) [counts h-1 per m3 m-3]
        Negative.

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    Derivative of `response_rate`.
    """
    return _by_response(theta, site, lambda response, t, s: response.rate_and_slope(t, s)[1:])[0]


def relative_slope(theta: ArrayLike, site: Site) -> Array:
    """Compute d ln N / d theta, the relative sensitivity of the counts to water.

    Parameters
    ----------
    theta, site :
        As in `response_rate`; the scale has no effect.

    Returns
    -------
    (..., n) [per m3 m-3]
        Negative.

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    Derivative of the logarithm of `response_rate`.
    """
    rate, slope = _by_response(theta, site, lambda response, t, s: response.rate_and_slope(t, s))
    return np.asarray(slope / rate)


def response_inversion(n_cph: ArrayLike, site: Site) -> Pair:
    """Compute the water content of a uniform soil and the slope of the rate there.

    Parameters
    ----------
    n_cph : (..., n) [counts h-1]
        Corrected rate.
    site :
        As in `response_rate`.

    Returns
    -------
    theta : (..., n) [m3 m-3]
        Exactly 0 or THETA_MAX for a rate outside of the possible range; NaN for NaN.
    slope : (..., n) [counts h-1 per m3 m-3]

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    Inverse of `response_rate`; COSMIC's is `cosmic_inversion`.
    """
    theta, slope = _by_response(n_cph, site, lambda response, n, s: response.inversion(n, s))
    return theta, slope


def response_theta(n_cph: ArrayLike, site: Site) -> Array:
    """Compute the water content of a uniform soil from its corrected count rate.

    Parameters
    ----------
    n_cph, site :
        As in `response_inversion`.

    Returns
    -------
    (..., n) [m3 m-3]
        As `response_inversion`.

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    As `response_inversion`.
    """
    return response_inversion(n_cph, site)[0]


def response_sigma(n_cph: ArrayLike, n_sigma_cph: ArrayLike, site: Site) -> Array:
    """Compute the standard error of the inversion that the error of a rate brings, to first order.

    Parameters
    ----------
    n_cph, n_sigma_cph : (..., n) [counts h-1]
        Corrected rate and its standard error.
    site :
        As in `response_rate`.

    Returns
    -------
    (..., n) [m3 m-3]

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    Propagation of errors to first order; `desilets_sigma` has the third.
    """
    slope = response_inversion(n_cph, site)[1]
    return np.asarray(np.asarray(n_sigma_cph, dtype=np.float64) / np.abs(slope))


def response_driest_rate(site: Site) -> Array:
    """Return the corrected count rate over a soil without water.

    Parameters
    ----------
    site :
        As in `response_rate`.

    Returns
    -------
    () or (n,) [counts h-1]

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    `response_rate` at theta = 0.
    """
    if isinstance(site.response, str):
        return response_of(site.response).driest(site)
    return response_rate(np.zeros(len(site.response)), site)


def response_humidity_factor(abs_humidity_g_m3: ArrayLike, site: Site) -> Array:
    """Compute the factor that takes the effect of air humidity out of the counts.

    Parameters
    ----------
    abs_humidity_g_m3 : (..., n) [g m-3]
    site :
        As in `response_rate`; the factor is 1 at its `humidity_ref_g_m3`.

    Returns
    -------
    (..., n) [1]
        COSMIC and Desilets: `humidity_factor`. UTS of 2021: the ratio of its intensities at
        0.3 m3 m-3 of all water. UTS of 2025: its own polynomial.

    Raises
    ------
    ValueError
        An unknown response.

    References
    ----------
    docs/equations.md, section on responses.
    """
    return _by_response(abs_humidity_g_m3, site, lambda r, h, s: (r.humidity(h, s),))[0]


def profile_mean(
    theta: ArrayLike, bottom_cm: ArrayLike, bulk_density_g_cm3: float, bound_g_g: float = 0.0
) -> Array:
    """Average a profile with the depth weights of the counts.

    Parameters
    ----------
    theta : (..., layers) [m3 m-3]
    bottom_cm : (layers,) [cm]
        Lower ends; the first layer begins at the surface, the last has no end.
    bulk_density_g_cm3, bound_g_g : [g cm-3], [g g-1]
        Of dry soil; hydrogen that is not soil water.

    Returns
    -------
    (...) [m3 m-3]

    References
    ----------
    Schroen et al. (2017), doi:10.5194/hess-21-5009-2017, W(d) = exp(-2 d / D86), integrated over
    each layer and repeated with the resulting mean.
    """
    layers = np.asarray(theta, dtype=np.float64)
    mean = layers.mean(axis=-1)
    for _ in range(MEAN_STEPS):
        depth = d86_cm(mean + bulk_density_g_cm3 * bound_g_g, bulk_density_g_cm3)
        mean = np.add.reduce(layer_weights(bottom_cm, depth) * layers, axis=-1)
    return np.asarray(mean)


def matching_scale(theta: ArrayLike, site: Site, name: str) -> Array:
    """Compute the scale of another response that gives the same rate at a water content.

    Parameters
    ----------
    theta : (..., n) [m3 m-3]
        At which both agree, such as the mean of the sampling day.
    site :
        As in `response_rate`, with the scale that is known.
    name :
        The other response.

    Returns
    -------
    (..., n) [counts h-1]

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    The rate of one over the rate of the other at scale 1.
    """
    unit = replace(site, response=name, cosmic_n_cph=1.0)
    return np.asarray(response_rate(theta, site) / response_rate(theta, unit))


def matching_scale_sigma(theta: ArrayLike, theta_sigma: ArrayLike, site: Site, name: str) -> Array:
    """Compute the relative standard error of `matching_scale`.

    Parameters
    ----------
    theta, site, name :
        As in `matching_scale`; the relative error of the known scale is `cosmic_n_sigma`.
    theta_sigma : (..., n) [m3 m-3]
        Standard error of the water content at which both agree.

    Returns
    -------
    (..., n) [1]

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    Propagation of errors to first order.
    """
    other = relative_slope(theta, replace(site, response=name))
    apart = relative_slope(theta, site) - other
    known = np.asarray(site.cosmic_n_sigma, dtype=np.float64)
    return np.asarray(np.hypot(known, apart * np.asarray(theta_sigma, dtype=np.float64)))


def converted_site(site: Site, of: str, theta: float, theta_sigma: float) -> Site:
    """Convert a scale that is known for another response to that of the site's response.

    Parameters
    ----------
    site :
        One site; `cosmic_n_cph` and `cosmic_n_sigma` are those of the response `of`.
    of :
        The response whose scale is known.
    theta, theta_sigma : [m3 m-3]
        At which both responses agree, and its standard error.

    Returns
    -------
    Site
        With the scale of its own response, and its relative standard error.

    Raises
    ------
    ValueError
        An unknown response.

    References
    ----------
    `matching_scale`, `matching_scale_sigma`.
    """
    known, name = replace(site, response=of), str(site.response)
    at = np.array([theta])
    return replace(
        site,
        cosmic_n_cph=float(matching_scale(at, known, name)[0]),
        cosmic_n_sigma=float(matching_scale_sigma(at, theta_sigma, known, name)[0]),
    )


def response_of(name: str) -> Response:
    """Return the response of a name.

    Raises
    ------
    ValueError
        The name is unknown.
    """
    if name not in RESPONSES:
        raise ValueError(f"response {name!r} is unknown: use one of {', '.join(RESPONSES)}")
    return RESPONSES[name]


def _by_response(
    values: ArrayLike, site: Site, compute: Callable[[Response, Array, Site], tuple[Array, ...]]
) -> tuple[Array, ...]:
    """Apply `compute` to the sites of each response; values (..., n)."""
    x = np.asarray(values, dtype=np.float64)
    if isinstance(site.response, str):
        return compute(response_of(site.response), x, site)
    names = np.array(site.response)
    x = np.broadcast_to(x, np.broadcast_shapes(x.shape, names.shape))
    out: list[Array] = []
    for name in dict.fromkeys(site.response):
        at = np.flatnonzero(names == name)
        results = compute(response_of(name), x[..., at], _sites_at(site, at, name))
        out = out or [np.empty(x.shape) for _ in results]
        for whole, part in zip(out, results, strict=True):
            whole[..., at] = part
    return tuple(out)


def _sites_at(site: Site, at: NDArray[np.intp], name: str) -> Site:
    """Select the sites of one response among n."""
    values = {f.name: getattr(site, f.name) for f in fields(Site)}
    arrays: dict[str, Any] = {
        k: v[at] for k, v in values.items() if isinstance(v, np.ndarray) and v.ndim
    }
    return replace(site, **arrays, response=name)
