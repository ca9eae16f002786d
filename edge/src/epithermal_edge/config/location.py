"""Describe what follows from a site's location: cutoff rigidity, beta and the monitor's scale."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, get_args

from epithermal_edge.config.toml_keys import Key
from epithermal_edge.physics.corrections import BetaForm, pressure_coefficient
from epithermal_edge.physics.cutoff import cutoff_rigidity
from epithermal_edge.physics.neutron_monitors import (
    SCALED_FORMS,
    NeutronMonitor,
    find_monitor,
    incoming_scale,
    list_monitors,
)
from epithermal_edge.site import IncomingSource, Muons

BETA_FORMS: tuple[str, ...] = get_args(BetaForm)
BETA_FORM = Key(
    "beta_form",
    str,
    "published form of the barometric coefficient, where beta_per_hpa is not given",
    default=BETA_FORMS[0],
    choices=BETA_FORMS,
)
MONITOR = (
    Key("monitor_cutoff_gv", float, "cutoff rigidity of the monitor, GV", low=0, high=20),
    Key("monitor_altitude_m", float, "altitude of the monitor, m", low=-450, high=6000),
)
"""Keys of a neutron monitor, the same in a station.toml and in the host's site.toml."""
SOURCE = Key(
    "source",
    str,
    "whose counts: a neutron monitor's, or the muon channel of the detector itself",
    default="monitor",
    choices=get_args(IncomingSource),
)
MUONS = (
    Key(
        "muon_beta_per_hpa",
        float,
        "muons: barometric coefficient, 1/hPa",
        default=Muons().beta_per_hpa,
        low=0,
        high=0.01,
    ),
    Key(
        "muon_alpha_per_k",
        float,
        "muons: relative loss of counts per kelvin of the air's temperature",
        default=Muons().alpha_per_k,
        low=-0.02,
        high=0.02,
    ),
    Key(
        "muon_temperature_ref_c",
        float,
        "muons: air temperature at which their rate is not corrected, Celsius",
        default=Muons().temperature_ref_c,
        low=-40,
        high=50,
    ),
    Key(
        "muon_smoothing_h",
        float,
        "muons: counting time over which their rate is averaged, h",
        default=Muons().smoothing_h,
        low=1,
        high=240,
    ),
)
"""Keys of the muon channel, the same in both files too."""


def derive_cutoff(site: Mapping[str, Any]) -> float | None:
    """Derive the cutoff rigidity [GV] from the keys of a site; None: neither it nor a longitude."""
    given = site["cutoff_rigidity_gv"]
    if given is not None:
        return float(given)
    if site["longitude_deg"] is None:
        return None
    return float(cutoff_rigidity(site["latitude_deg"], site["longitude_deg"]))


def derive_beta(site: Mapping[str, Any], cutoff_gv: float | None) -> float:
    """Derive the barometric coefficient [hPa-1]; the given one has priority."""
    if site["beta_per_hpa"] is not None:
        return float(site["beta_per_hpa"])
    place = site["latitude_deg"], site["altitude_m"], math.nan if cutoff_gv is None else cutoff_gv
    return float(pressure_coefficient(*place, site["beta_form"]))


def derive_muons(incoming: Mapping[str, Any]) -> Muons | None:
    """Derive how muons give the incoming intensity; None: a neutron monitor does, or nothing."""
    if incoming.get("source") != "muons":
        return None
    return Muons(**{key.name.removeprefix("muon_"): incoming[key.name] for key in MUONS})


def check_muons(table: str, incoming: Mapping[str, Any]) -> list[str]:
    """List the faults of the table of the incoming intensity where its source is muons."""
    if incoming.get("source") != "muons":
        return [
            f"{table}.{key.name}: source is not muons; delete it, or set source"
            for key in MUONS
            if incoming.get(key.name, key.default) != key.default
        ]
    form, faults = incoming.get("form", "none"), []
    if form == "none":
        faults.append(f"{table}.form: is none, but source is muons; set plain")
    if form in SCALED_FORMS and incoming.get("scale") is None:
        faults.append(
            f"{table}.form: {form} scales a neutron monitor; set plain, or give the scale of the "
            "neutrons relative to the muons"
        )
    of_monitor = ("monitor", *(key.name for key in MONITOR))
    return faults + [
        f"{table}.{name}: source is muons; delete it" for name in of_monitor if incoming.get(name)
    ]


def derive_scale(
    site: Mapping[str, Any], cutoff_gv: float | None, incoming: Mapping[str, Any], name: str
) -> float:
    """Derive the scale of f_i for a monitor by its name, after `check_location`."""
    if incoming.get("scale") is not None:
        return float(incoming["scale"])
    if incoming.get("source") == "muons":
        return 1.0
    monitor = _monitor(incoming, name)
    if incoming["form"] not in SCALED_FORMS or monitor is None or cutoff_gv is None:
        return 1.0
    place = site["latitude_deg"], site["altitude_m"], cutoff_gv
    return float(incoming_scale(incoming["form"], *place, monitor))


def check_location(
    table: str, site: Mapping[str, Any], incoming: Mapping[str, Any], name: str
) -> list[str]:
    """List the faults of a checked site and of its monitor, whose table is named `table`."""
    needed = ("latitude_deg", "altitude_m", "cutoff_rigidity_gv", "longitude_deg", "beta_per_hpa")
    if any(key not in site for key in needed) or "beta_form" not in site:
        return []  # they have faults of their own
    cutoff = derive_cutoff(site)
    faults = []
    if cutoff is not None and not math.isfinite(derive_beta(site, cutoff)):
        faults.append(f"site.beta_form: {site['beta_form']} has no value at {cutoff:g} GV")
    if incoming.get("form") not in SCALED_FORMS or incoming.get("scale") is not None:
        return faults
    if incoming.get("source") == "muons":
        return faults
    if _monitor(incoming, name) is None:
        names = [monitor.name for monitor in list_monitors()]
        near = difflib.get_close_matches(name, names, n=1)
        remedy = f"did you mean {near[0]}? or " if near else ""
        return [
            *faults,
            f"{table}.monitor: {name} is not among the known monitors; {remedy}"
            "give monitor_cutoff_gv and monitor_altitude_m",
        ]
    scale = derive_scale(site, cutoff, incoming, name)
    if not scale > 0.0:
        faults.append(
            f"{table}.monitor: form {incoming['form']} has no scale for {cutoff:g} GV and the "
            f"monitor {name}; choose another monitor or form"
        )
    return faults


def _monitor(incoming: Mapping[str, Any], name: str) -> NeutronMonitor | None:
    return find_monitor(name, incoming.get("monitor_cutoff_gv"), incoming.get("monitor_altitude_m"))
