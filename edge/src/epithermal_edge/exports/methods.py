"""Write the methods and references of one site: exactly the forms in use, with BibTeX."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import get_args

import numpy as np

from epithermal_edge.exports.forms import FORMS
from epithermal_edge.exports.references import REFERENCES, Reference
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.physics.corrections import BetaForm, form_of_slope, pressure_coefficient
from epithermal_edge.physics.plant_water import RootZone, SoilWater, field_capacity
from epithermal_edge.site import Muons, Site

SOFTWARE = """@software{{epithermal,
  author = {{{{the epithermal authors}}}},
  title = {{{{epithermal: from cosmic-ray neutron counts to root-zone soil water}}}},
  version = {{{version}}},
  url = {{https://github.com/epithermal/epithermal}},
}}"""


def site_forms(
    site: Site, altitude_m: float, cutoff_gv: float | None, *, dated: bool = False
) -> list[str]:
    """List the forms by which the counts of one site are corrected and inverted.

    Parameters
    ----------
    site :
        One site, not several.
    cutoff_gv : [GV]
        None: not known, so that the barometric coefficient was given.
    dated :
        The records have biomass of their own.
    """
    forms = ["pressure"]
    if cutoff_gv is not None:
        for name in get_args(BetaForm):
            beta = pressure_coefficient(float(site.latitude_deg), altitude_m, cutoff_gv, name)
            if float(site.beta_per_hpa) == float(beta):
                forms.append(f"site.beta_form={name}")
    family = str(site.response).partition("_")[0]  # each of UTS has a humidity effect of its own
    forms.append(f"humidity={family}" if f"humidity={family}" in FORMS else "humidity")
    muons = site.muons is not None
    forms.append(
        "site.incoming.source=muons" if muons else f"site.incoming.form={site.incoming_form}"
    )
    return [*forms, *biomass_forms(site, dated=dated), f"site.response={site.response}", "depth"]


def biomass_forms(site: Site, *, dated: bool = False) -> list[str]:
    """List the form by which biomass is corrected; none if there is no biomass or no slope.

    Parameters
    ----------
    dated :
        The records have biomass of their own.
    """
    slope, has = float(site.biomass_slope_per_mm), np.any(np.asarray(site.biomass_kg_m2) > 0.0)
    if not (slope > 0.0 and (dated or has)):
        return []
    name = form_of_slope(slope)
    return ["vegetation" if name is None else f"site.biomass_form={name}"]


def network_forms(bundle: Bundle) -> list[str]:
    """List the forms of a bundle's networks; `network` where a kind is not named."""
    kinds = dict.fromkeys(network.kind for network in bundle.networks)
    return ["network", *(f"network={kind}" for kind in kinds if f"network={kind}" in FORMS)]


def water_forms(
    site: Site, soil_water: SoilWater | None, crop: str | None, root: RootZone | None = None
) -> list[str]:
    """List the forms behind plant-available water; none where the soil is not described."""
    if soil_water is None:
        return []
    forms = []
    numbers = (site.soil_theta_r, site.soil_theta_s, site.soil_n, site.soil_ks_cm_d)
    theta_r, theta_s, n, ks = map(float, numbers)
    if math.isfinite(n) and soil_water.field_capacity == field_capacity(theta_r, theta_s, n, ks):
        forms += [f"site.soil.known={'measured' if site.soil_known == 1.0 else 'texture'}"]
        forms += ["water.capacity"]
    elif root is not None and root.source == "texture":
        forms += ["site.water.texture", "water.capacity"]
    forms.append("water.depletion")
    if crop is not None:
        forms.append("site.water.crop")
    if root is not None and root.adjusts:
        forms.append("root_zone.threshold")
    return [*forms, "water.days"]


def references(forms: Iterable[str]) -> list[Reference]:
    """Return the references of forms, each once, in the order of their keys."""
    keys = {key for form in forms for key in FORMS[form].references}
    return [REFERENCES[key] for key in sorted(keys, key=str.lower)]


def describe(site: Site) -> list[str]:
    """Describe the site's constants as lines of text, those that are set."""
    lines = []
    for name, unit in CONSTANTS.items():
        values = np.unique(np.asarray(getattr(site, name), dtype=np.float64))
        shown = " to ".join(f"{value:.8g}" for value in values[[0, -1][: values.size]])
        over = ", by the day of the year" if values.size > 1 else ""
        if np.isfinite(values).all():
            lines.append(f"- {name}: {shown}{f' {unit}' if unit else ''}{over}")
    if site.muons is not None:
        of_muons = {f"muon_{f.name}": float(getattr(site.muons, f.name)) for f in fields(Muons)}
        lines += [f"- {name}: {value:.8g} {MUONS[name]}" for name, value in of_muons.items()]
    return lines


CONSTANTS = {
    "cosmic_n_cph": "h-1",
    "cosmic_n_sigma": "",
    "bulk_density_g_cm3": "g cm-3",
    "lattice_water_g_g": "",
    "organic_water_g_g": "",
    "alpha": "cm3 g-1",
    "l3_g_cm2": "g cm-2",
    "beta_per_hpa": "hPa-1",
    "pressure_ref_hpa": "hPa",
    "humidity_ref_g_m3": "g m-3",
    "incoming_ref": "",
    "incoming_scale": "",
    "biomass_kg_m2": "kg m-2",
    "biomass_slope_per_mm": "m2 kg-1",
    "soil_theta_r": "m3 m-3",
    "soil_theta_s": "m3 m-3",
    "soil_alpha_per_cm": "cm-1",
    "soil_n": "",
    "soil_ks_cm_d": "cm d-1",
}
"""Constants of a site with their units, fields of `Site`; the calibration of a file."""
MUONS = {
    "muon_beta_per_hpa": "hPa-1",
    "muon_alpha_per_k": "K-1",
    "muon_temperature_ref_c": "degC",
    "muon_smoothing_h": "h",
}


def text(title: str, forms: Sequence[str], site: Site, models: Sequence[str], version: str) -> str:
    """Write the methods text in Markdown: sentences with citations, constants, BibTeX.

    Parameters
    ----------
    title :
        Name of the station or site.
    forms :
        Keys of FORMS, in the order of processing.
    models :
        Name and version of each bundle that estimated.
    version :
        Of the software.
    """
    sentences = []
    for form in dict.fromkeys(forms):
        entry = FORMS[form]
        cited = "; ".join(REFERENCES[key].short() for key in entry.references)
        sentences.append(f"- {entry.sentence}{f' {cited}.' if cited else ''}")
    used = ", ".join(models) or "none"
    entries = [reference.bibtex() for reference in references(forms)]
    parts = [
        f"# Methods of {title}",
        f"Processed with epithermal {version}; models: {used}.",
        "\n".join(sentences),
        "## Constants",
        "\n".join(describe(site)),
        "## References",
        "```bibtex\n" + "\n\n".join([*entries, SOFTWARE.format(version=version)]) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"
