"""Format a calibration as text, as JSON, and as the tables for station.toml."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from typing import Any

from epithermal_edge.physics.neutron_monitors import SCALED_FORMS
from epithermal_edge.physics.response import response_of
from epithermal_edge.site import Muons
from epithermal_host import __version__
from epithermal_host.field.calibration_fit import Calibration, Fit, scatter
from epithermal_host.field.series import biomass_by_date
from epithermal_host.rendering.text import plain

SYMBOLS = ("N0", "N_D", "N")


def table(result: Calibration) -> str:
    """Format the figures as lines of text."""
    lines = [
        f"{result.site_file.name}: {len(result.days)} sampling day{'s' * (len(result.days) > 1)}",
        f"{'day':11} {'samples':>7} {'profiles':>8} {'plain':>6} {'weighted':>8} {'error':>6} "
        f"{'0-30 cm':>7} {'D86 cm':>6} {'counts/h':>8} {'error':>6} {'hours':>6}",
    ]
    for day in result.days:
        s, c = day.sampled, day.counts
        lines.append(
            f"{s.day:11} {s.samples:7} {s.profiles:8} {s.plain:6.3f} {s.theta:8.3f} {s.sigma:6.3f} "
            f"{s.theta_0_30:7.3f} {s.d86_cm:6.1f} {c.n_cph:8.1f} {c.sigma_cph:6.1f} "
            f"{c.live_s / 3600.0:6.1f}"
        )
    lines.append(f"{'method':28} {'counts/h':>9} {'error':>7} {'':>6} {'scatter':>10} chi2")
    for symbol, fitted in zip(SYMBOLS, result.fits, strict=True):
        lines.append(_line(f"{fitted.method}, {symbol}", fitted))
    if result.network is not None and result.bundle is not None:
        name = f"network {result.bundle.name}-{result.bundle.version}, N"
        network = result.network
        lines.append(_line(name, Fit(name, network.n_cph, network.sigma_cph, (), (), math.nan)))
        for day, before in zip(result.days, network.classical, strict=True):
            lines.append(
                f"  {day.sampled.day}: network with COSMIC's N {before:.3f}, samples "
                f"{day.sampled.theta_0_30:.3f} m3/m3 in 0-30 cm"
            )
    lines += _responses(result)
    return "\n".join([*lines, *_extra(result), *(f"note: {note}" for note in result.notes)])


def as_json(result: Calibration) -> dict[str, Any]:
    """Convert every figure for JSON; NaN becomes null."""
    bundle = result.bundle
    value: dict[str, Any] = plain(
        {
            "site": result.site_file.name,
            "epithermal": __version__,
            "station": {"cosmic_n_cph": result.site.cosmic_n_cph,
                        "cosmic_n_sigma": result.site.cosmic_n_sigma},
            "days": [
                {**dataclasses.asdict(d.sampled), "counts": _counts(d.counts)} for d in result.days
            ],
            "fits": [{**dataclasses.asdict(f), "scatter": scatter(f)} for f in result.fits],
            "responses": [dataclasses.asdict(r) for r in result.responses],
            "extra_hydrogen": dataclasses.asdict(result.extra),
            "bundle": bundle and {"name": bundle.name, "version": bundle.version,
                                  "sha256": bundle.sha256},
            "network": result.network and dataclasses.asdict(result.network),
            "notes": list(result.notes),
        }
    )  # fmt: skip
    return value


def block(result: Calibration) -> str:
    """Format the tables [site], [site.incoming] and [site.cover] of a station.toml."""
    site, file = result.site, result.site_file
    days = ", ".join(d.sampled.day for d in result.days)
    own = response_of(str(site.response))
    cosmic = own.name == "cosmic"
    alone = "COSMIC" if cosmic else own.name
    source = f"{alone}'s inversion"
    if result.bundle and result.network and not result.network.reason:
        source = f"the network of {result.bundle.name}-{result.bundle.version}"
    lines = [
        f"# {file.name}: calibrated by epithermal-host {__version__} on {days}",
        f"# {own.symbol} of {source}; {own.symbol} of {alone} alone: {result.cosmic_n_cph:.1f}",
        *(f"# {note}" for note in result.notes),
        "[site]",
        f'name = "{file.name}"',
        _key("latitude_deg", site.latitude_deg),
        _key("altitude_m", file.altitude_m),
        *([] if cosmic else [f'response = "{own.name}"']),
        *(_key(name, getattr(site, name)) for name in _OF_SITE),
        *_biomass(result),
        "",
        "[site.incoming]",
        f'form = "{site.incoming_form}"',
    ]
    if site.incoming_form != "none":
        lines += [_key("ref", site.incoming_ref), _key("scale", site.incoming_scale)]
    if site.muons is not None:
        lines.append('source = "muons"')
        lines += [
            _key(f"muon_{f.name}", getattr(site.muons, f.name)) for f in dataclasses.fields(Muons)
        ]
    if file.incoming is not None and site.incoming_form in SCALED_FORMS:
        lines.append(f'monitor = "{file.incoming.name}"  # of this scale')
    return "\n".join([*lines, *_cover(result)]) + "\n"


_OF_SITE = (
    *("bulk_density_g_cm3", "lattice_water_g_g", "organic_water_g_g", "cosmic_n_cph"),
    *("cosmic_n_sigma", "beta_per_hpa", "pressure_ref_hpa", "humidity_ref_g_m3"),
)


def _key(name: str, value: Any) -> str:
    digits = {"cosmic_n_cph": ".2f", "cosmic_n_sigma": ".4f"}
    return f"{name} = {float(value):{digits.get(name, '')}}"


def _biomass(result: Calibration) -> list[str]:
    """Copy the keys of biomass from the site file; from a file of biomass write its mean year."""
    file = result.site_file
    if float(file.site.biomass_slope_per_mm) == 0.0:
        return []
    given = tomllib.loads(file.path.read_text("utf-8"))["site"]
    value, comment = given.get("biomass_kg_m2", 0.0), ""
    if file.biomass is not None:
        value, comment = biomass_by_date(file.biomass), f"  # mean of {file.biomass.file.path.name}"
    if isinstance(value, dict):
        points = ", ".join(f'"{day}" = {kg_m2}' for day, kg_m2 in value.items())
        value = f"{{ {points} }}"
    form = [f'biomass_form = "{given["biomass_form"]}"'] if "biomass_form" in given else []
    slope = [] if form else [_key("biomass_slope_per_mm", file.site.biomass_slope_per_mm)]
    return [f"biomass_kg_m2 = {value}{comment}", *form, *slope]


def _cover(result: Calibration) -> list[str]:
    """Copy the table from the site file."""
    if not float(result.site.cover_known):
        return []
    cover = tomllib.loads(result.site_file.path.read_text("utf-8"))["cover"]
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
    days = "" if len(fitted.each_cph) < 2 else f"{100 * scatter(fitted):8.1f} % {fitted.chi2:.1f}"
    percent = 100.0 * fitted.sigma_cph / fitted.n_cph
    return f"{name:28} {fitted.n_cph:9.1f} {fitted.sigma_cph:7.1f} {percent:4.1f} % {days}".rstrip()


def _responses(result: Calibration) -> list[str]:
    """Format scale, chi squared and slope of each response; the supported ones have a star."""
    several = len(result.days) > 1
    lines = [
        f"{'response':28} {'counts/h':>9} {'error':>7} {'chi2':>6} {'apart':>6} "
        f"{'slope':>5} {'error':>5} {'alone':>5} {'error':>5} chi2"
    ]
    for r in result.responses:
        chi2 = f"{r.fit.chi2:6.1f} {r.apart:6.3f}" if several else ""
        slope = ""
        if not math.isnan(r.slope):
            slope = (
                f"{r.slope:5.2f} {r.slope_sigma:5.2f} {r.slope_alone:5.2f} "
                f"{r.slope_alone_sigma:5.2f} {r.slope_chi2:.1f}"
            )
        name = f"{r.response}, {response_of(r.response).symbol}"
        star = "*" if r.supported else " "
        scale = f"{star} {name:26} {r.fit.n_cph:9.1f} {r.fit.sigma_cph:7.1f}"
        lines.append(f"{scale} {chi2} {slope}".rstrip())
    if several:
        lines.append("* supported: chi2 within two standard errors of the least")
    return lines


def _extra(result: Calibration) -> list[str]:
    extra = result.extra
    if math.isnan(extra.water_g_g):
        return [f"extra hydrogen: not fitted, {extra.reason}"]
    error = "" if math.isnan(extra.sigma_g_g) else f" +- {extra.sigma_g_g:.3f}"
    why = extra.reason or f"it reduces chi2 by {extra.gain:.1f}; --extra-hydrogen uses it"
    used = "used" if result.extra_used else f"not used: {why}"
    return [f"extra hydrogen: {extra.water_g_g:.3f}{error} g/g, N {extra.n_cph:.1f}; {used}"]
