"""Describe the scale of a response, also that of another one: N0 or N_D of a paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epithermal_edge.config.toml_keys import Key
from epithermal_edge.site import Site

RESPONSES = (
    *("cosmic", "desilets"),
    *("uts2021_mcnp_drf", "uts2021_uranos_drf", "uts2021_mcnp_ewin", "uts2021_uranos_ewin"),
    *("uts2025_norm_endf8", "uts2025_gd_endf8", "uts2025_ewin_endf8", "uts2025_norm_endf7"),
)  # names of physics.response, which would load numpy here
USUAL_THETA_SIGMA = 0.03  # of a water content that was not sampled [m3 m-3]

N_SIGMA = Key(
    "cosmic_n_sigma",
    float,
    "relative standard error of cosmic_n_cph",
    default=0.03,
    low=0,
    high=0.5,
)
SCALE_OF = (
    Key(
        "scale_of",
        str,
        "response that cosmic_n_cph is the scale of, if not of `response`; it is converted",
        choices=RESPONSES,
    ),
    Key(
        "scale_theta",
        float,
        "water content at which both responses agree, m3/m3; required with scale_of",
        low=0.01,
        high=0.8,
    ),
    Key(
        "scale_theta_sigma",
        float,
        "standard error of scale_theta, m3/m3",
        default=USUAL_THETA_SIGMA,
        low=0,
        high=0.3,
    ),
)
"""Keys of a known scale, the same in a station.toml and in the host's site.toml."""


def check_scale(site: Mapping[str, Any]) -> list[str]:
    """List the faults of the checked keys of [site]."""
    of, theta = site.get("scale_of"), site.get("scale_theta")
    if of is not None and "scale_theta" in site and theta is None:
        return ["site.scale_theta: missing; the water content at which scale_of has its scale"]
    if of is not None and "cosmic_n_cph" in site and site["cosmic_n_cph"] is None:
        return ["site.cosmic_n_cph: missing; the scale of scale_of, counts/h"]
    if of is None and theta is not None and "scale_of" in site:
        return ["site.scale_of: missing; the response whose scale cosmic_n_cph is, or remove"
                " scale_theta"]  # fmt: skip
    return []


def convert_scale(keys: Mapping[str, Any], site: Site) -> Site:
    """Convert the scale of `scale_of` to that of the site's response, with its error.

    A site without `scale_of` is returned as it is.
    """
    if keys["scale_of"] is None:
        return site
    from epithermal_edge.physics.response import converted_site

    return converted_site(site, keys["scale_of"], keys["scale_theta"], keys["scale_theta_sigma"])
