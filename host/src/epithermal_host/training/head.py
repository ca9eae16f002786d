"""Compute the outputs of every kind of network from the units d of its head, as a correction.

x are the features in physical units; with d_1 = d_3 = d_4 = 0 the estimate is the inversion:

    theta_0_30 = theta_inv + r d_1;  theta_0_10, theta_30_60 likewise of d_3, d_4
    sigma = floor + r k (e + sqrt(e^2 + 1)) / 2,  e = d_2 - 1
    theta_10_30 = 1.5 theta_0_30 - 0.5 theta_0_10

By construction the layers add up to 0-30 cm. After training k is fitted separately for stations
whose N is exact and for all others; a network without the input `cosmic_n_sigma` uses the latter
for all.

References
----------
Squareplus, the rectifier of sigma: Barron 2021, eq. 1 with b = 1. It replaces softplus, whose
16-bit logarithm tflite-runtime 2.14 does not support.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

RESIDUAL = 0.05  # r: scale of corrections and errors [m3 m-3]
SIGMA_FLOOR = 0.001  # [m3 m-3]
N_KNOWN_BELOW = 0.001  # cosmic_n_sigma at and above which k is that of an uncertain N
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
        The features named `inputs`, which include theta_inv.
    d : (..., UNITS)
        Units of the head.
    sigma_scale :
        k where N is exact, and k elsewhere.
    sqrt, minimum :
        Functions of the framework of x and d.
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
