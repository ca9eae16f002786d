"""Run `epithermal-host scale`: turn a known scale of one response into that of another."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

from epithermal_edge.errors import ConfigError

EXAMPLE = """scale 2690 --theta 0.25 --bulk-density 1.16 --bound-water 0.082 --sigma 0.02
  epithermal-host scale 4243 --of uts2021_mcnp_drf --theta 0.25 --bulk-density 1.16"""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add arguments and options."""
    p.add_argument("scale", type=float, metavar="CPH", help="N0, N_D or I_D that is known")
    p.add_argument("--of", default="desilets", metavar="RESPONSE",
                   help="response that it is the scale of; default: %(default)s")  # fmt: skip
    p.add_argument("--to", default="cosmic", metavar="RESPONSE",
                   help="response whose scale is wanted; default: %(default)s")  # fmt: skip
    p.add_argument("--theta", type=float, required=True, metavar="M3_M3",
                   help="at which both agree: of the calibration, else the mean")  # fmt: skip
    p.add_argument("--bulk-density", type=float, required=True, metavar="G_CM3", help="dry soil")
    p.add_argument("--bound-water", type=float, default=0.0, metavar="G_G",
                   help="lattice water and organic matter as water; default: 0")  # fmt: skip
    p.add_argument("--humidity", type=float, default=0.0, metavar="G_M3",
                   help="reference humidity of the counts; default: 0")  # fmt: skip
    p.add_argument("--sigma", type=float, default=0.03, metavar="SHARE",
                   help="relative standard error of CPH; default: %(default)s")  # fmt: skip
    p.add_argument("--theta-sigma", type=float, default=0.03, metavar="M3_M3",
                   help="standard error of --theta; default: %(default)s")  # fmt: skip


def run(arguments: argparse.Namespace, write: Callable[[str], None]) -> int:
    """Print the keys of [site] with the other scale and its error.

    Raises
    ------
    ConfigError
        An impossible value.
    """
    a = arguments
    ranges = {
        "CPH": (a.scale, 1.0, 1e7),
        "--theta": (a.theta, 0.01, 0.8),
        "--bulk-density": (a.bulk_density, 0.5, 2.2),
        "--bound-water": (a.bound_water, 0.0, 0.8),
        "--humidity": (a.humidity, 0.0, 50.0),
        "--sigma": (a.sigma, 0.0, 0.5),
        "--theta-sigma": (a.theta_sigma, 0.0, 0.3),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise ConfigError(f"{name}: {value:g} is not within {low:g} to {high:g}")
    for line in _lines(a):
        write(line)
    return 0


def _lines(a: argparse.Namespace) -> list[str]:
    """Format the keys of [site]."""
    import numpy as np

    from epithermal_edge.physics import response as physics
    from epithermal_edge.site import Site

    try:
        of, to = physics.response_of(a.of), physics.response_of(a.to)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    known = Site(
        cosmic_n_cph=a.scale,
        bulk_density_g_cm3=a.bulk_density,
        lattice_water_g_g=a.bound_water,
        humidity_ref_g_m3=a.humidity,
        cosmic_n_sigma=a.sigma,
        response=a.of,
    )
    theta = np.array([a.theta])
    n_cph = float(physics.matching_scale(theta, known, a.to)[0])
    sigma = float(physics.matching_scale_sigma(theta, a.theta_sigma, known, a.to)[0])
    slopes = [physics.relative_slope(theta, replace(known, response=x.name)) for x in (to, of)]
    steeper = float((slopes[0] / slopes[1])[0])
    return [
        f"# {to.symbol} of {to.name}, from {of.symbol} {a.scale:g} of {of.name} "
        f"at {a.theta:g} m3/m3",
        f"# away from that water content {to.name} responds {steeper:.2f} times as strongly",
        f'response = "{to.name}"',
        f"bulk_density_g_cm3 = {a.bulk_density:g}",
        f"lattice_water_g_g = {a.bound_water:g} # with the water of organic matter",
        f"humidity_ref_g_m3 = {a.humidity:g}",
        f"cosmic_n_cph = {n_cph:.2f}",
        f"cosmic_n_sigma = {sigma:.4f}",
    ]
