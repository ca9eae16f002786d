"""Run `epithermal-host scale`: turn a known scale of one response into that of another."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from epithermal_edge.errors import ConfigError

if TYPE_CHECKING:
    from epithermal_host.neutrons.general_calibration import GeneralScale

EXAMPLE = """scale 2690 --theta 0.25 --bulk-density 1.16 --bound-water 0.082 --sigma 0.02
  epithermal-host scale 4243 --of uts2021_mcnp_drf --theta 0.25 --bulk-density 1.16
  epithermal-host scale --general 0.67 --place 53.32 13.12 66 --pressure 1006 --humidity 8 \\
      --theta 0.2 --bulk-density 1.3 --clay 10 --carbon 1.5"""
USUAL_SIGMA = 0.03


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add arguments and options."""
    p.add_argument("scale", type=float, metavar="CPH", nargs="?",
                   help="N0, N_D or I_D that is known")  # fmt: skip
    p.add_argument("--of", default="desilets", metavar="RESPONSE",
                   help="response that it is the scale of; default: %(default)s")  # fmt: skip
    p.add_argument("--to", default="cosmic", metavar="RESPONSE",
                   help="response whose scale is wanted; default: %(default)s")  # fmt: skip
    p.add_argument("--theta", type=float, required=True, metavar="M3_M3",
                   help="at which both agree: of the calibration, else the mean")  # fmt: skip
    p.add_argument("--bulk-density", type=float, required=True, metavar="G_CM3", help="dry soil")
    p.add_argument("--bound-water", type=float, default=0.0, metavar="G_G",
                   help="lattice water and organic matter as water; default: 0")  # fmt: skip
    p.add_argument("--clay", type=float, metavar="PCT",
                   help="estimate lattice water from the clay content")  # fmt: skip
    p.add_argument("--carbon", type=float, metavar="PCT",
                   help="estimate the water of organic matter from organic carbon")  # fmt: skip
    p.add_argument("--humidity", type=float, default=None, metavar="G_M3",
                   help="reference humidity of the counts; default: 0")  # fmt: skip
    p.add_argument("--sigma", type=float, metavar="SHARE",
                   help="relative standard error of CPH; default: 0.03; "
                   "with --general 0.06")  # fmt: skip
    p.add_argument("--theta-sigma", type=float, default=0.03, metavar="M3_M3",
                   help="standard error of --theta; default: %(default)s")  # fmt: skip
    general = p.add_argument_group("without any calibration (Heistermann et al. 2024)")
    general.add_argument("--general", type=float, metavar="SENSITIVITY",
                         help="in place of CPH: sensitivity of the detector relative to the "
                         "calibrator (CRS-1000 0.45, CRS-1000/B 0.67, CRS-2000 0.87, CRS-2000/B "
                         "1.15); needs --place, --pressure and --humidity")  # fmt: skip
    general.add_argument("--place", type=float, nargs=3, metavar=("LAT", "LON", "ALTITUDE_M"),
                         help="of the detector")  # fmt: skip
    general.add_argument("--pressure", type=float, metavar="HPA", help="mean pressure there")
    general.add_argument("--biomass", type=float, default=0.0, metavar="KG_M2",
                         help="dry above-ground biomass; default: 0")  # fmt: skip


def run(arguments: argparse.Namespace, write: Callable[[str], None]) -> int:
    """Print the keys of [site] with the other scale and its error.

    Raises
    ------
    ConfigError
        An impossible value.
    """
    a = arguments
    _check(a)
    general = None
    if a.general is not None:
        from epithermal_host.neutrons.general_calibration import general_n0

        latitude, longitude, altitude_m = a.place
        general = general_n0(a.general, latitude, longitude, altitude_m, a.biomass)
        a.scale, a.sigma = general.n0_cph, general.sigma if a.sigma is None else a.sigma
    a.sigma = USUAL_SIGMA if a.sigma is None else a.sigma
    a.humidity = a.humidity or 0.0
    for line in [*_lines(a, general), *_incoming(general)]:
        write(line)
    return 0


def _check(a: argparse.Namespace) -> None:
    ranges = {
        "CPH": (a.scale, 1.0, 1e7),
        "--theta": (a.theta, 0.01, 0.8),
        "--bulk-density": (a.bulk_density, 0.5, 2.2),
        "--bound-water": (a.bound_water, 0.0, 0.8),
        "--clay": (a.clay, 0.0, 100.0),
        "--carbon": (a.carbon, 0.0, 58.0),
        "--humidity": (a.humidity, 0.0, 50.0),
        "--sigma": (a.sigma, 0.0, 0.5),
        "--theta-sigma": (a.theta_sigma, 0.0, 0.3),
        "--general": (a.general, 0.01, 100.0),
        "--pressure": (a.pressure, 300.0, 1100.0),
        "--biomass": (a.biomass, 0.0, 60.0),
    }
    for name, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:
            raise ConfigError(f"{name}: {value:g} is not within {low:g} to {high:g}")
    if (a.scale is None) == (a.general is None):
        raise ConfigError("give CPH, or --general without CPH")
    if a.bound_water and (a.clay is not None or a.carbon is not None):
        raise ConfigError("--bound-water: not with --clay or --carbon")
    if a.general is not None:
        _check_general(a)


def _check_general(a: argparse.Namespace) -> None:
    lacking = [name for name in ("place", "pressure", "humidity") if getattr(a, name) is None]
    if lacking:
        raise ConfigError(f"--general needs --{', --'.join(lacking)}")
    if a.of != "desilets":
        raise ConfigError("--of: not with --general, which gives N0 of desilets")
    for name, value, low, high in zip(
        ("latitude", "longitude", "altitude"), a.place, (-90, -180, -450), (90, 180, 6000),
        strict=True,
    ):  # fmt: skip
        if not low <= value <= high:
            raise ConfigError(f"--place: {name} {value:g} is not within {low} to {high}")


def _lines(a: argparse.Namespace, general: GeneralScale | None) -> list[str]:
    """Format the keys of [site]."""
    import numpy as np

    from epithermal_edge.physics import response as physics
    from epithermal_edge.site import Site
    from epithermal_host.soil.pedotransfer import lattice_water_g_g, organic_water_g_g

    try:
        of, to = physics.response_of(a.of), physics.response_of(a.to)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    lattice = a.bound_water if a.clay is None else lattice_water_g_g(a.clay)
    organic = 0.0 if a.carbon is None else organic_water_g_g(a.carbon)
    known = Site(
        cosmic_n_cph=a.scale,
        bulk_density_g_cm3=a.bulk_density,
        lattice_water_g_g=lattice,
        organic_water_g_g=organic,
        humidity_ref_g_m3=a.humidity,
        cosmic_n_sigma=a.sigma,
        response=a.of,
    )
    theta, wanted = np.array([a.theta]), replace(known, response=to.name)
    converted = physics.converted_site(wanted, of.name, a.theta, a.theta_sigma)
    slopes = [physics.relative_slope(theta, site) for site in (wanted, known)]
    steeper = float((slopes[0] / slopes[1])[0])
    lines = [
        f"# {to.symbol} of {to.name}, from {of.symbol} {a.scale:g} of {of.name} "
        f"at {a.theta:g} m3/m3",
        f"# away from that water content {to.name} responds {steeper:.2f} times as strongly",
        f'response = "{to.name}"',
        f"bulk_density_g_cm3 = {a.bulk_density:g}",
    ]
    if a.clay is None and a.carbon is None:
        lines.append(f"lattice_water_g_g = {lattice:g} # with the water of organic matter")
    else:
        lines += [f"lattice_water_g_g = {lattice:.4g}", f"organic_water_g_g = {organic:.4g}"]
    if general is not None:
        lines.append(f"pressure_ref_hpa = {a.pressure:g}")
    return [
        *lines,
        f"humidity_ref_g_m3 = {a.humidity:g}",
        f"cosmic_n_cph = {converted.cosmic_n_cph:.2f}",
        f"cosmic_n_sigma = {converted.cosmic_n_sigma:.4f}",
    ]


def _incoming(general: GeneralScale | None) -> list[str]:
    """Format [site.incoming] of the general calibration, with remarks."""
    if general is None:
        return []
    from epithermal_host.neutrons.general_calibration import JUNG_REF

    remarks = [
        f"# general calibration: intensity {general.intensity:.3f} relative to Marquardt, at "
        f"{general.cutoff_rigidity_gv:.2f} GV",
        f"# N0 of 75 places scatters by {100.0 * general.sigma:.1f} %: sample a day when you can",
    ]
    if general.extrapolated:
        remarks.append(
            "# extrapolated: none of the places is so high or has such a cutoff rigidity"
        )
    return [*remarks, "[site.incoming]", 'form = "plain"', 'monitor = "JUNG"', f"ref = {JUNG_REF}"]
