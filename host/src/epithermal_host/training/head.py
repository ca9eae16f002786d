"""Compute the outputs of every kind of network from the units d of its head, as a correction.

With the features x in physical units, so that a network whose head is zero is the inversion:

    theta_0_30 = theta_inv + r d_1;  theta_0_10, theta_30_60 likewise of d_3, d_4
    sigma = floor + r k (e + sqrt(e^2 + 1)) / 2,  e = d_2 - 1
    theta_10_30 = 1.5 theta_0_30 - 0.5 theta_0_10

so that the layers add up to 0-30 cm by construction. k is fitted after training, apart for stations
whose N is known without error and for all others; a network that is not shown `cosmic_n_sigma` has
the latter for all.

References
----------
The rectifier of sigma: squareplus, Barron 2021, eq. 1 with b = 1. In place of softplus, whose
logarithm in 16 bits tflite-runtime 2.14 does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

RESIDUAL = 0.05  # r: size of a usual correction and error [m3 m-3]
SIGMA_FLOOR = 0.001  # [m3 m-3]
N_KNOWN_BELOW = 0.001  # cosmic_n_sigma from which on k is wholly that of an uncertain N
UNITS = 4  # d: theta_0_30, sigma, theta_0_10, theta_30_60


def outputs(
    x: Any,
    d: Any,
    inputs: Sequence[str],
    sigma_scale: tuple[float, float],
    sqrt: Callable[[Any], Any],
    minimum: Callable[[Any, float], Any],
) -> list[Any]:
    """Return the outputs in the order of `inference.bundle.OUTPUTS`, each (..., 1) [m3 m-3].

    Parameters
    ----------
    x : (..., F)
        The features `inputs`, theta_inv among them.
    d : (..., UNITS)
        Of the head.
    sigma_scale :
        k where N is known without error, and elsewhere.
    sqrt, minimum :
        Of the framework that x and d are of.
    """
    at = inputs.index("theta_inv")
    inverted = x[..., at : at + 1]
    theta_0_30 = inverted + RESIDUAL * d[..., 0:1]
    theta_0_10 = inverted + RESIDUAL * d[..., 2:3]
    theta_30_60 = inverted + RESIDUAL * d[..., 3:4]
    theta_10_30 = 1.5 * theta_0_30 - 0.5 * theta_0_10  # 30 cm of water = 10 cm + 20 cm
    e = d[..., 1:2] - 1.0
    squareplus = 0.5 * (e + sqrt(e * e + 1.0))
    known, scale = sigma_scale
    if "cosmic_n_sigma" in inputs:
        at = inputs.index("cosmic_n_sigma")
        share = minimum(x[..., at : at + 1] / N_KNOWN_BELOW, 1.0)
        sigma = SIGMA_FLOOR + RESIDUAL * (known + (scale - known) * share) * squareplus
    else:
        sigma = SIGMA_FLOOR + RESIDUAL * scale * squareplus
    return [theta_0_30, sigma, theta_0_10, theta_10_30, theta_30_60]
