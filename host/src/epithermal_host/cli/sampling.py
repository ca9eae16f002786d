"""`epithermal-host sampling`: plan the soil samples of a calibration."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

from epithermal_edge.errors import ConfigError
from epithermal_host.compute.files import write_atomic

EXAMPLE = "sampling --theta 0.2 --error 0.01 --out build/sampling"
TABLE, PICTURE = "samples.csv", "sampling.png"
OPTIONS = {
    "theta": "water content on the day [m3/m3]",
    "bulk_density_g_cm3": "dry bulk density",
    "bound_water_g_g": "lattice and organic water",
    "pressure_hpa": "mean air pressure of the site",
    "humidity_g_m3": "absolute humidity of the air",
    "vegetation_height_m": "height of the plants",
    "scatter": "standard deviation between profiles [m3/m3]",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; defaults are those of `sampling_plan.Field`."""
    for name, text in OPTIONS.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=float, metavar="X", help=text)
    for name, text in {"clay": "lattice water from the clay content",
                       "carbon": "organic water from organic carbon"}.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=float, metavar="PCT", help=f"estimate {text}")
    parser.add_argument(
        "--error",
        type=float,
        default=0.012,
        metavar="X",
        help="wanted error of the field mean [m3/m3], default %(default)s",
    )
    parser.add_argument("--rings", type=int, default=3, metavar="N", help="default %(default)s")
    parser.add_argument(
        "--position",
        type=float,
        nargs=2,
        default=(math.nan, math.nan),
        metavar=("LAT", "LON"),
        help="of the detector: adds coordinates",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"gets {TABLE}, a sheet to fill in, and {PICTURE}",
    )


def run(arguments: argparse.Namespace, show: Callable[[str], None]) -> int:
    """Write the sheet and the picture; print the rings, the depths and the error."""
    from epithermal_host.studies import sampling_plan

    given = {name: getattr(arguments, name) for name in OPTIONS}
    try:
        if arguments.clay is not None or arguments.carbon is not None:
            given["bound_water_g_g"] = _bound_water(arguments)
        field = dataclasses.replace(
            sampling_plan.Field(), **{k: v for k, v in given.items() if v is not None}
        )
        found = sampling_plan.plan(field, arguments.error, arguments.rings)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    write_atomic(arguments.out / TABLE, sampling_plan.table(found, *arguments.position))
    write_atomic(arguments.out / PICTURE, sampling_plan.picture(found))
    show(sampling_plan.summary(found))
    show(f"sheet: {arguments.out / TABLE}, picture: {arguments.out / PICTURE}")
    return 0


def _bound_water(arguments: argparse.Namespace) -> float:
    """Estimate lattice and organic water [g g-1] from clay and organic carbon."""
    from epithermal_host.soil.pedotransfer import lattice_water_g_g, organic_water_g_g

    if arguments.bound_water_g_g is not None:
        raise ValueError("--bound-water-g-g: not with --clay or --carbon")
    return lattice_water_g_g(arguments.clay or 0.0) + organic_water_g_g(arguments.carbon or 0.0)
