"""Fit a detector's scale to sampling days: N0 of Desilets, N_D of UTS, N of COSMIC."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.physics.desilets import desilets_rate
from epithermal_edge.physics.response import (
    relative_slope,
    response_humidity_factor,
    response_rate,
    response_theta,
)
from epithermal_edge.physics.response_forms import RESPONSES
from epithermal_edge.physics.uts import uts_rate
from epithermal_edge.site import Site
from epithermal_host.arrays import Array
from epithermal_host.evaluation.methods import COSMIC, DESILETS, UTS
from epithermal_host.field.network_n import NetworkFit
from epithermal_host.field.sampled_counts import Mean
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.field.weighted_mean import FieldMean

Shape = Callable[[Array], Array]
"""Rate of a detector with scale 1 at the water contents (k,) of the sampling days."""

HISTORY_D = 400.0  # before the first sampling day; older records have no effect on the network
USUAL_HUMIDITY_G_M3 = 5.0  # in the weights, if unknown; they hardly depend on it
EXTRA_MAX_G_G = 0.3
EXTRA_DAYS = 3  # with fewer days, a fit of two parameters cannot be checked
EXTRA_GAIN = 4.0  # of chi squared: two standard errors
STEP = 1e-4  # [m3 m-3] of the numerical slope

SLOPE_OF_COSMIC, SLOPE_SIGMA = 0.65, 0.2
"""Prior of d ln N / d theta over that of COSMIC. Of the 130 calibration points of Heistermann et
al. (2024), the 74 at the 19 places with several days give 0.65 +- 0.05 with errors of 1.5 % of the
counts and 0.025 m3 m-3 of the samples (0.64 to 0.67 with others), and the place of 30 days agrees
with the rest. The standard deviation is own choice: wide enough for places where COSMIC holds."""
SLOPE_DAYS = 3  # with fewer, scale and slope leave nothing to check
SLOPE_MAX = 4.0
SUPPORTED = 4.0  # of chi squared above the least: two standard errors


@dataclass(frozen=True, slots=True)
class Day:
    """Samples and counts of one sampling day."""

    sampled: FieldMean
    counts: Mean


@dataclass(frozen=True, slots=True)
class Fit:
    """A detector's scale by one method."""

    method: str
    n_cph: float  # NaN: the method cannot be used here
    sigma_cph: float  # standard error: samples and counting, or the days' scatter if larger
    each_cph: tuple[float, ...]  # from each day alone
    each_sigma_cph: tuple[float, ...]
    chi2: float  # sum over the days of squared residuals over squared errors
    reason: str = ""  # why there is no scale


@dataclass(frozen=True, slots=True)
class ResponseFit:
    """A response with its scale and, from three sampling days on, its slope.

    With a slope k, ln N' = ln N_s + k (ln N - ln N_s) about the mean of the sampling days, s.
    """

    response: str
    fit: Fit
    apart: float  # RMS of inversion minus samples over the days [m3 m-3]
    slope: float  # k; NaN: too few days
    slope_sigma: float
    slope_prior: float
    slope_alone: float  # without the prior
    slope_alone_sigma: float
    slope_chi2: float  # of the days with k, the prior not counted
    supported: bool  # chi2 within `SUPPORTED` of the least, as the days' scatter has it


@dataclass(frozen=True, slots=True)
class Extra:
    """Fit with additional hydrogen that is neither in the samples nor in [soil]."""

    water_g_g: float  # NaN: not fitted
    sigma_g_g: float
    n_cph: float
    gain: float  # reduction of chi squared
    reason: str  # why it should not be used


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """All figures and series of a calibration."""

    site_file: SiteFile
    site: Site  # calibrated
    days: tuple[Day, ...]
    fits: tuple[Fit, ...]  # Desilets, UTS, COSMIC
    responses: tuple[ResponseFit, ...]
    extra: Extra
    extra_used: bool
    bundle: Bundle | None
    cosmic_n_cph: float  # scale of the site's response alone, with the extra hydrogen if it is used
    network: NetworkFit | None
    notes: tuple[str, ...]
    day_end_s: Array  # (T,) days of the picture, by their end
    n_cph: Array  # (T,) corrected counts
    theta: dict[str, Array]  # by method, (T,) [m3 m-3]


def fits(site: Site, days: Sequence[Day]) -> tuple[Fit, ...]:
    """Fit the scales of the three methods, each by weighted least squares over the days."""
    bound = float(site.lattice_water_g_g) + float(site.organic_water_g_g)
    density = float(site.bulk_density_g_cm3)
    humidity = np.array([d.counts.humidity_g_m3 for d in days])
    n = counts_for(site, "cosmic", days)
    humid = np.array([d.counts.n_humid_cph for d in days])
    desilets = fit(DESILETS, lambda t: desilets_rate(t, 1.0, density, bound), n, days)
    uts = fit(UTS, lambda t: uts_rate(t, humidity, 1.0, bound, density), humid, days)
    if math.isnan(uts.n_cph):
        uts = dataclasses.replace(uts, reason="air humidity missing")
    return desilets, uts, fit(COSMIC, response_shape(site, response="cosmic"), n, days)


def response_shape(site: Site, extra_g_g: float = 0.0, response: str | None = None) -> Shape:
    """Return the rate at scale 1 over a uniform soil with additional hydrogen.

    It is that of the site's response, or of the one that is named.
    """
    organic = float(site.organic_water_g_g) + extra_g_g
    unit = dataclasses.replace(site, cosmic_n_cph=1.0, organic_water_g_g=organic)
    if response is not None:
        unit = dataclasses.replace(unit, response=response)
    return lambda theta: response_rate(theta, unit)


def counts_for(site: Site, response: str, days: Sequence[Day]) -> Array:
    """Return the counts of the days, corrected for humidity as a response demands.

    Parameters
    ----------
    site :
        By whose response the days' counts were corrected.
    response :
        Whose correction is wanted. Where the humidity of the air is unknown the counts are
        returned as they are.

    Returns
    -------
    (k,) [counts h-1]
    """
    n = np.array([d.counts.n_cph for d in days])
    if site.response == response:
        return n
    vapour = np.array([d.counts.humidity_g_m3 for d in days])
    named = dataclasses.replace(site, response=response)
    wanted, had = (response_humidity_factor(vapour, s) for s in (named, site))
    return np.where(np.isfinite(vapour), n * (wanted / had), n)


def response_fits(site: Site, days: Sequence[Day]) -> tuple[ResponseFit, ...]:
    """Fit scale and slope of every response, and say which the days support.

    Parameters
    ----------
    site :
        Its response is that of the days' counts; its scale has no effect.
    days :
        From `SLOPE_DAYS` on, a slope is fitted too.
    """
    out = [_response_fit(site, name, days) for name in RESPONSES]
    least = min(r.fit.chi2 for r in out)
    free = max(len(days) - 1, 1)
    limit = least + SUPPORTED * max(least / free, 1.0)
    return tuple(
        dataclasses.replace(r, supported=len(days) > 1 and r.fit.chi2 <= limit) for r in out
    )


def _response_fit(site: Site, name: str, days: Sequence[Day]) -> ResponseFit:
    """Fit one response; `supported` follows from all of them."""
    theta, sigma = _sampled(days)
    n = counts_for(site, name, days)
    scaled = fit(name, response_shape(site, response=name), n, days)
    own = dataclasses.replace(site, response=name, cosmic_n_cph=scaled.n_cph)
    apart = math.sqrt(float(np.mean((response_theta(n, own) - theta) ** 2)))
    middle = np.array([theta.mean()])
    of_cosmic = relative_slope(middle, dataclasses.replace(site, response="cosmic"))
    steeper = float((of_cosmic / relative_slope(middle, own))[0])
    prior = (SLOPE_OF_COSMIC * steeper, SLOPE_SIGMA * steeper)
    nan = (math.nan,) * 3
    with_prior, alone = nan, nan
    if len(days) >= SLOPE_DAYS:
        relative = np.array([d.counts.sigma_cph / d.counts.n_cph for d in days])
        x = np.log(response_rate(theta, own) / response_rate(middle, own))
        errors = relative, relative_slope(theta, own) * sigma
        with_prior = _fit_slope(x, np.log(n), *errors, prior)
        alone = _fit_slope(x, np.log(n), *errors, None)
    return ResponseFit(
        response=name,
        fit=scaled,
        apart=apart,
        slope=with_prior[0],
        slope_sigma=with_prior[1],
        slope_prior=prior[0],
        slope_alone=alone[0],
        slope_alone_sigma=alone[1],
        slope_chi2=with_prior[2],
        supported=False,
    )


def _fit_slope(
    x: Array, y: Array, y_sigma: Array, x_sigma: Array, prior: tuple[float, float] | None
) -> tuple[float, float, float]:
    """Fit y = a + k x with errors of both; return k, its standard error and chi squared.

    Days that disagree by more than their errors widen them by sqrt(chi2 / (K - 2)), so that they
    count less against the prior.
    """

    def chi2(k: float) -> float:
        w = 1.0 / (y_sigma**2 + (k * x_sigma) ** 2)
        left = y - k * x
        return float(np.sum(w * (left - np.sum(w * left) / np.sum(w)) ** 2))

    def total(k: float, spread: float) -> float:
        pull = 0.0 if prior is None else ((k - prior[0]) / prior[1]) ** 2
        return chi2(k) / spread + pull

    best = _least(chi2, SLOPE_MAX)
    spread = max(chi2(best) / (x.size - 2), 1.0)
    k = _least(lambda k: total(k, spread), SLOPE_MAX)
    h = 0.01
    curvature = (total(k + h, spread) - 2.0 * total(k, spread) + total(k - h, spread)) / h**2
    return k, math.sqrt(2.0 / curvature) if curvature > 0.0 else math.nan, chi2(k)


def _least(function: Callable[[float], float], largest: float) -> float:
    """Return where a function is least, between 0 and `largest`."""
    from scipy.optimize import minimize_scalar  # loads for 0.3 s; one sampling day needs none

    return float(minimize_scalar(function, bounds=(0.0, largest), method="bounded").x)


def fit(method: str, shape: Shape, n_cph: Array, days: Sequence[Day]) -> Fit:
    """Fit the scale with which a method reproduces the counts of the sampling days.

    Parameters
    ----------
    shape :
        Rate at scale 1.
    n_cph : (k,) [counts h-1]
        With the corrections of this method.

    Notes
    -----
    Minimizes sum (n - N g(theta))^2 / (sigma_n^2 + (N g'(theta) sigma_theta)^2). If the days
    disagree by more than their errors, the standard error is multiplied by sqrt(chi2 / (k - 1)).
    """
    theta, sigma = _sampled(days)
    rate, slope = shape(theta), _slope(shape, theta)
    relative = np.array([d.counts.sigma_cph / d.counts.n_cph for d in days])
    if not (np.isfinite(n_cph).all() and np.isfinite(rate).all()):
        return Fit(method, *(math.nan,) * 2, *((math.nan,) * len(days),) * 2, math.nan)
    each = n_cph / rate
    each_sigma = each * np.hypot(relative, slope / rate * sigma)
    scale = float(np.average(each, weights=each_sigma**-2.0))
    for _ in range(20):
        variance = (n_cph * relative) ** 2 + (scale * slope * sigma) ** 2
        scale = float(np.sum(n_cph * rate / variance) / np.sum(rate**2 / variance))
    chi2 = float(np.sum((n_cph - scale * rate) ** 2 / variance))
    spread = math.sqrt(max(chi2 / (len(days) - 1), 1.0)) if len(days) > 1 else 1.0
    error = spread / math.sqrt(float(np.sum(rate**2 / variance)))
    return Fit(method, scale, error, tuple(each.tolist()), tuple(each_sigma.tolist()), chi2)


def extra_hydrogen(site: Site, days: Sequence[Day], own: Fit) -> Extra:
    """Fit the additional hydrogen with which the sampling days agree under the site's response.

    Parameters
    ----------
    own :
        Fit of that response without it.

    Notes
    -----
    `reason` is empty if at least `EXTRA_DAYS` days reduce chi squared by `EXTRA_GAIN`, also after
    scaling their errors to the remaining scatter. The fit also absorbs errors of the slope.
    """
    if len(days) < 2:
        return Extra(*(math.nan,) * 4, "one day cannot separate it from N")
    n = np.array([d.counts.n_cph for d in days])

    def chi2(extra: float) -> float:
        return fit(own.method, response_shape(site, extra), n, days).chi2

    best = _least(chi2, EXTRA_MAX_G_G)
    best = 0.0 if chi2(0.0) <= chi2(best) else best
    h = 0.005
    curvature = (chi2(best + h) - 2.0 * chi2(best) + chi2(max(best - h, 0.0))) / h**2
    least, gain = chi2(best), own.chi2 - chi2(best)
    sigma = math.sqrt(2.0 / curvature) if best > h and curvature > 0.0 else math.nan
    left = max(least / (len(days) - 2), 1.0) if len(days) > 2 else 1.0
    reason = ""
    if len(days) < EXTRA_DAYS:
        reason = f"{len(days)} days cannot confirm it"
    elif best >= 0.99 * EXTRA_MAX_G_G:
        reason = f"the fit is at its upper limit of {EXTRA_MAX_G_G:g} g/g"
    elif gain < EXTRA_GAIN * left:
        reason = "the days do not require it"
    scale = fit(own.method, response_shape(site, best), n, days).n_cph
    return Extra(best, sigma, scale, gain, reason)


def station_sigma(site: Site, fitted: Fit, days: Sequence[Day], profile_sigma: float) -> float:
    """Compute the relative standard error of the scale in the definition used for training.

    It combines the error of the fit and the error of the uniform profile that the fit assumes.

    Parameters
    ----------
    profile_sigma : [m3 m-3]
        Error of the profile on one day, as water content.
    """
    theta, _ = _sampled(days)
    shape = response_shape(site)
    relative = float(np.mean(np.abs(_slope(shape, theta) / shape(theta))))
    return math.hypot(
        fitted.sigma_cph / fitted.n_cph, relative * profile_sigma / math.sqrt(len(days))
    )


def scatter(fitted: Fit) -> float:
    """Compute the relative standard deviation of the days' own scales; NaN with one day."""
    each = np.array(fitted.each_cph)
    return float(each.std(ddof=1) / each.mean()) if each.size > 1 else math.nan


def _sampled(days: Sequence[Day]) -> tuple[Array, Array]:
    return (
        np.array([d.sampled.theta for d in days]),
        np.array([d.sampled.sigma for d in days]),
    )


def _slope(shape: Shape, theta: Array) -> Array:
    return (shape(theta + STEP) - shape(theta - STEP)) / (2.0 * STEP)
