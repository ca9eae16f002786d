"""Plan soil samples that weigh alike in the counts and suffice for a wanted error."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from epithermal_edge.physics.cosmic import cosmic_rate, cosmic_slope
from epithermal_edge.physics.footprint import (
    d86_cm,
    depth_weight,
    footprint_radius_m,
    rescaled_distance_m,
)
from epithermal_edge.site import Site
from epithermal_host.arrays import Array
from epithermal_host.rendering.plots import BLUE, GREY, new_figure, plot_style, png

DEPTHS_CM = np.arange(2.5, 30.0, 5.0)  # middles of the cores of 0-30 cm
HALF_CM = 2.5
M_PER_DEGREE = 111_195.0  # of latitude, on a sphere of 6371 km


@dataclass(frozen=True, slots=True)
class Field:
    """What a plan has to know of the field; guesses are good enough.

    `scatter` is the standard deviation of single profiles about the field mean, largest at
    intermediate water contents: Famiglietti et al. (2008), doi:10.1029/2006WR005804.
    """

    theta: float = 0.25  # [m3 m-3]
    bulk_density_g_cm3: float = 1.4
    bound_water_g_g: float = 0.05
    pressure_hpa: float = 1013.25
    humidity_g_m3: float = 8.0
    vegetation_height_m: float = 0.0
    scatter: float = 0.05  # [m3 m-3]

    def __post_init__(self) -> None:
        limits = {"theta": (0.02, 0.5), "bulk_density_g_cm3": (0.5, 2.0),
                  "bound_water_g_g": (0.0, 0.5), "pressure_hpa": (500.0, 1100.0),
                  "humidity_g_m3": (0.0, 40.0), "vegetation_height_m": (0.0, 50.0),
                  "scatter": (0.001, 0.2)}  # fmt: skip
        faults = [
            f"{name} must be within {low:g} to {high:g}"
            for name, (low, high) in limits.items()
            if not low <= getattr(self, name) <= high
        ]
        if faults:
            raise ValueError("; ".join(faults))


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Profiles on rings, each ring with the same share of the counts."""

    field: Field
    ring_m: Array  # (rings,) radius at which to sample
    border_m: Array  # (rings,) outer border of the ring that each radius stands for
    distance_m: Array  # (n,) of each profile
    azimuth_deg: Array  # (n,) clockwise from north
    weight_pct: Array  # (len(DEPTHS_CM),) of a sample in its profile, at the middle ring
    error: float  # standard error of the field mean [m3 m-3]
    error_n: float  # of the calibrated N that follows from it, relative


def plan(field: Field, error: float = 0.012, rings: int = 3) -> Plan:
    """Place the fewest profiles on rings whose mean has a standard error of at most `error`.

    Parameters
    ----------
    field :
        The field on the day of sampling.
    error : [m3 m-3]
        Of the field mean, from the scatter between profiles.
    rings :
        Number of rings.

    Raises
    ------
    ValueError
        An impossible error or number, or an error that needs more than 500 profiles.

    References
    ----------
    Schroen et al. (2017), doi:10.5194/hess-21-5009-2017: profiles at distances of equal weight
    need no weights for distance. Radii here are the medians of rings of equal share of the counts,
    from the integral of W(r) of Koehli et al. (2015), rescaled to the pressure of the site.

    Notes
    -----
    The error assumes independent profiles. Those of the innermost ring are metres apart and share
    part of their water, so the true error is somewhat larger.
    """
    if not 0.001 <= error <= 0.1 or not 1 <= rings <= 10:
        raise ValueError("error must be within 0.001 to 0.1, rings within 1 to 10")
    needed = (field.scatter / error) ** 2
    directions = max(math.ceil(needed / rings - 1e-9), 3)
    if directions * rings > 500:
        raise ValueError(f"error {error:g} needs {math.ceil(needed)} profiles; ask for less")
    scale = 1.0 / float(
        rescaled_distance_m(1.0, field.pressure_hpa, field.theta, field.vegetation_height_m)
    )

    def radius(share: float) -> float:
        return scale * float(footprint_radius_m(field.theta, field.humidity_g_m3, share))

    ring = np.array([radius((i + 0.5) / rings) for i in range(rings)])
    step = 360.0 / directions
    azimuth = [(j + i / rings) * step for i in range(rings) for j in range(directions)]
    depth = d86_cm(field.theta, field.bulk_density_g_cm3, ring[rings // 2] / scale,
                   field.bound_water_g_g)  # fmt: skip
    weight = depth_weight(DEPTHS_CM, depth)
    reached = field.scatter / math.sqrt(rings * directions)
    site = Site(
        cosmic_n_cph=1.0,
        bulk_density_g_cm3=field.bulk_density_g_cm3,
        lattice_water_g_g=field.bound_water_g_g,
    )
    theta = np.array([field.theta])
    slope = abs(float(cosmic_slope(theta, site)[0] / cosmic_rate(theta, site)[0]))
    return Plan(
        field=field,
        ring_m=ring,
        border_m=np.array([radius((i + 1.0) / rings) for i in range(rings)]),
        distance_m=np.repeat(ring, directions),
        azimuth_deg=np.array(azimuth),
        weight_pct=100.0 * weight / weight.sum(),
        error=reached,
        error_n=slope * reached,
    )


def table(found: Plan, latitude_deg: float = math.nan, longitude_deg: float = math.nan) -> bytes:
    """Write one row for each sample, to fill in; with the detector's position also coordinates."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    placed = math.isfinite(latitude_deg) and math.isfinite(longitude_deg)
    head = ["date", "profile", "distance_m", "azimuth_deg", "east_m", "north_m"]
    head += ["latitude_deg", "longitude_deg"] if placed else []
    writer.writerow([*head, "depth_cm", "water_g_g", "density_g_cm3"])
    for i, (r, a) in enumerate(zip(found.distance_m, found.azimuth_deg, strict=True), 1):
        east, north = r * math.sin(math.radians(a)), r * math.cos(math.radians(a))
        row = ["", f"P{i:02d}", f"{r:.1f}", f"{a:.0f}", f"{east:.1f}", f"{north:.1f}"]
        if placed:
            latitude = latitude_deg + north / M_PER_DEGREE
            shrink = M_PER_DEGREE * math.cos(math.radians(latitude_deg))
            row += [f"{latitude:.6f}", f"{longitude_deg + east / shrink:.6f}"]
        for depth in DEPTHS_CM:
            writer.writerow([*row, f"{depth - HALF_CM:g}-{depth + HALF_CM:g}", "", ""])
    return text.getvalue().encode("ascii")


def summary(found: Plan) -> str:
    """Format rings, depths and errors as lines of text."""
    each = found.distance_m.size // found.ring_m.size
    lines = [f"{found.distance_m.size} profiles of {DEPTHS_CM.size} cores, {each} on each ring:"]
    inner = 0.0
    for number, (r, border) in enumerate(zip(found.ring_m, found.border_m, strict=True), 1):
        share = 100.0 / found.ring_m.size
        lines.append(f"  ring {number}: at {_metres(r)}, for {inner:.0f} to {border:.0f} m, "
                     f"{share:.0f} % of the counts")  # fmt: skip
        inner = border
    weights = ", ".join(
        f"{z - HALF_CM:g}-{z + HALF_CM:g} cm {w:.0f} %"
        for z, w in zip(DEPTHS_CM, found.weight_pct, strict=True)
    )
    lines.append(f"weight of a core in its profile: {weights}")
    lines.append(
        f"standard error of the field mean {found.error:.4f} m3/m3 for a scatter of "
        f"{found.field.scatter:g} between profiles; of N {100.0 * found.error_n:.1f} %"
    )
    return "\n".join(lines)


def _metres(distance: float) -> str:
    return f"{distance:.1f} m" if distance < 10.0 else f"{distance:.0f} m"


def picture(found: Plan) -> bytes:
    """Draw the profiles around the detector, north up, with the borders of the rings, as PNG.

    The radial axis shows the square root of the distance, so that the innermost ring can be seen.
    """
    with plot_style():
        figure = new_figure(7.0, 7.0)
        axes: Any = figure.add_subplot(projection="polar")
        axes.set_theta_zero_location("N")
        axes.set_theta_direction(-1)
        circle = np.radians(np.arange(361.0))
        for border in found.border_m[:-1]:
            axes.plot(circle, np.full(circle.size, math.sqrt(border)), c="k", lw=1.0, ls="--")
        angle, r = np.radians(found.azimuth_deg), np.sqrt(found.distance_m)
        axes.plot(angle, r, "o", c=BLUE, ms=6.0)
        for i, point in enumerate(zip(angle, r, strict=True), 1):
            axes.annotate(f"P{i:02d}", point, xytext=(5, 4), textcoords="offset points",
                          fontsize=8.0)  # fmt: skip
        axes.plot(0.0, 0.0, "k^", ms=9.0)
        axes.set_rlim(0.0, 1.12 * r[-1])
        free = 0.5 * (found.azimuth_deg[0] + found.azimuth_deg[1])
        names = [_metres(m) for m in found.ring_m]
        axes.set_rgrids(np.sqrt(found.ring_m), names, angle=free, color=GREY)
        axes.set_thetagrids((0, 90, 180, 270), ("N", "E", "S", "W"))
        axes.set_title("triangle: detector; dashed: borders of rings with equal shares of the "
                       "counts", fontsize=10.0)  # fmt: skip
        return png(figure)
