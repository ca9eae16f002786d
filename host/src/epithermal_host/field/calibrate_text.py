"""A calibration as lines of text, as JSON, and as the block of TOML that the station takes."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from typing import Any

from epithermal_host import __version__
from epithermal_host.field.calibration import Calibration
from epithermal_host.field.calibration_fit import Fit, scatter
from epithermal_host.rendering.text import plain

SYMBOLS = ("N0", "N_D", "N")


def table(made: Calibration) -> str:
    """The figures as lines of text."""
    lines = [
        f"{made.site_file.name}: {len(made.days)} sampling day{'s' * (len(made.days) > 1)}",
        f"{'day':11} {'samples':>7} {'profiles':>8} {'plain':>6} {'weighted':>8} {'error':>6} "
        f"{'0-30 cm':>7} {'D86 cm':>6} {'counts/h':>8} {'error':>6} {'hours':>6}",
    ]
    for day in made.days:
        s, c = day.sampled, day.counts
        lines.append(
            f"{s.day:11} {s.samples:7} {s.profiles:8} {s.plain:6.3f} {s.theta:8.3f} {s.sigma:6.3f} "
            f"{s.theta_0_30:7.3f} {s.d86_cm:6.1f} {c.n_cph:8.1f} {c.sigma_cph:6.1f} "
            f"{c.live_s / 3600.0:6.1f}"
        )
    lines.append(f"{'method':28} {'counts/h':>9} {'error':>7} {'':>6} {'days apart':>10} chi2")
    for symbol, fitted in zip(SYMBOLS, made.fits, strict=True):
        lines.append(_line(f"{fitted.method}, {symbol}", fitted))
    if made.network is not None and made.bundle is not None:
        name = f"network {made.bundle.name}-{made.bundle.version}, N"
        network = made.network
        lines.append(_line(name, Fit(name, network.n_cph, network.sigma_cph, (), (), math.nan)))
        for day, before in zip(made.days, network.classical, strict=True):
            lines.append(
                f"  {day.sampled.day}: network with COSMIC's N {before:.3f}, samples "
                f"{day.sampled.theta_0_30:.3f} m3/m3 in 0-30 cm"
            )
    return "\n".join([*lines, *_extra(made), *(f"note: {note}" for note in made.notes)])


def as_json(made: Calibration) -> dict[str, Any]:
    """Every figure; what is not a number is null."""
    bundle = made.bundle
    value: dict[str, Any] = plain(
        {
            "site": made.site_file.name,
            "epithermal": __version__,
            "station": {"cosmic_n_cph": made.site.cosmic_n_cph,
                        "cosmic_n_sigma": made.site.cosmic_n_sigma},
            "days": [
                {**dataclasses.asdict(d.sampled), "counts": _counts(d.counts)} for d in made.days
            ],
            "fits": [{**dataclasses.asdict(f), "scatter": scatter(f)} for f in made.fits],
            "extra_hydrogen": dataclasses.asdict(made.extra),
            "bundle": bundle and {"name": bundle.name, "version": bundle.version,
                                  "sha256": bundle.sha256},
            "network": made.network and dataclasses.asdict(made.network),
            "notes": list(made.notes),
        }
    )  # fmt: skip
    return value


def block(made: Calibration) -> str:
    """[site], [site.incoming] and [site.cover] of a station.toml."""
    site, file = made.site, made.site_file
    days = ", ".join(d.sampled.day for d in made.days)
    by = "COSMIC's inversion"
    if made.bundle and made.network and not made.network.reason:
        by = f"the network of {made.bundle.name}-{made.bundle.version}"
    lines = [
        f"# {file.name}: calibrated by epithermal-host {__version__} on {days}",
        f"# N by {by}; COSMIC's own: {made.cosmic_n_cph:.1f}",
        *(f"# {note}" for note in made.notes),
        "[site]",
        f'name = "{file.name}"',
        _key("latitude_deg", site.latitude_deg),
        _key("altitude_m", file.altitude_m),
        *(_key(name, getattr(site, name)) for name in _OF_SITE),
        "",
        "[site.incoming]",
        f'form = "{site.incoming_form}"',
    ]
    if site.incoming_form != "none":
        lines += [_key("ref", site.incoming_ref), _key("scale", site.incoming_scale)]
    return "\n".join([*lines, *_cover(made)]) + "\n"


_OF_SITE = (
    *("bulk_density_g_cm3", "lattice_water_g_g", "organic_water_g_g", "cosmic_n_cph"),
    *("cosmic_n_sigma", "beta_per_hpa", "pressure_ref_hpa", "humidity_ref_g_m3"),
)


def _key(name: str, value: Any) -> str:
    digits = {"cosmic_n_cph": ".2f", "cosmic_n_sigma": ".4f"}
    return f"{name} = {float(value):{digits.get(name, '')}}"


def _cover(made: Calibration) -> list[str]:
    """As the site file has it."""
    if not float(made.site.cover_known):
        return []
    cover = tomllib.loads(made.site_file.path.read_text("utf-8"))["cover"]
    canopy = ", ".join(f'"{day}" = {share}' for day, share in cover["canopy_cover"].items())
    return [
        "",
        "[site.cover]",
        f"canopy_cover = {{ {canopy} }}",
        *(f"{name} = {cover[name]}" for name in ("root_depth_cm", "evaporation_share")),
    ]


def _counts(counts: Any) -> dict[str, Any]:
    return {**dataclasses.asdict(counts), "quality": int(counts.quality)}


def _line(name: str, fitted: Fit) -> str:
    if math.isnan(fitted.n_cph):
        return f"{name:28} {'-':>9} {fitted.reason}".rstrip()
    apart = "" if len(fitted.each_cph) < 2 else f"{100 * scatter(fitted):8.1f} % {fitted.chi2:.1f}"
    percent = 100.0 * fitted.sigma_cph / fitted.n_cph
    return (
        f"{name:28} {fitted.n_cph:9.1f} {fitted.sigma_cph:7.1f} {percent:4.1f} % {apart}".rstrip()
    )


def _extra(made: Calibration) -> list[str]:
    extra = made.extra
    if math.isnan(extra.water_g_g):
        return [f"extra hydrogen: not fitted, {extra.reason}"]
    error = "" if math.isnan(extra.sigma_g_g) else f" +- {extra.sigma_g_g:.3f}"
    why = extra.reason or f"it takes {extra.gain:.1f} from chi2; --extra-hydrogen uses it"
    used = "used" if made.extra_used else f"not used: {why}"
    return [f"extra hydrogen: {extra.water_g_g:.3f}{error} g/g, N {extra.n_cph:.1f}; {used}"]
