"""Write the estimates at a real site as NetCDF, with the station's writer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from epithermal_edge.exports import methods, netcdf
from epithermal_edge.exports.variables import BLOCK, ROOT_CM, WATER_CONTENT, Block, Variable
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.physics.response import response_of
from epithermal_edge.times import DAY_S
from epithermal_host import __version__
from epithermal_host.arrays import Array
from epithermal_host.field.series import known_site
from epithermal_host.reports.field_result import Estimate, Place

PROBES, EVALUATED = "theta_probes", "evaluated"
MEANINGS = "not_evaluated evaluated"


def write(path: Path, place: Place, bundle: Bundle) -> int:
    """Write the daily series of a site: every method, the probes, the days evaluated.

    Parameters
    ----------
    path :
        The file; it appears once it is complete.

    Returns
    -------
    int
        Number of days.

    Raises
    ------
    EpithermalError
        netCDF4 is not installed.
    """
    file, series = place.site_file, place.series
    known = known_site(file, series.sampled_theta, np.array([series.cosmic_n_cph]))
    sigma = float(np.ravel(known.cosmic_n_sigma)[0])
    site = replace(file.site, cosmic_n_cph=series.cosmic_n_cph, cosmic_n_sigma=sigma)
    own = ", ".join(f"{x.inputs.label}: {x.n_cph:.8g} h-1" for x in place.network_inputs)
    response = response_of(str(site.response))
    scale = f"{response.title.partition(',')[0]}'s {response.symbol}"
    values = dict(_values(place))
    header = netcdf.Header(
        id=series.name,
        name=series.name,
        summary="Daily soil water contents estimated from the counts of a cosmic-ray neutron"
        f" sensor by {len(place.estimates)} methods, beside the mean of probes in 0-30 cm.",
        source=f"epithermal-host {__version__}; cosmic-ray neutron sensor, records format"
        f" {file.records.dialect}; model: {bundle.name} {bundle.version}, sha256 {bundle.sha256}",
        site=site,
        altitude_m=file.altitude_m,
        longitude_deg=file.longitude_deg,
        forms=tuple(forms_in_use(place, bundle)),
        variables=tuple(variable for variable, _ in values.values()),
        given={"comment": f"{scale} with which the network was run, by its inputs: {own}"},
        time_resolution="P1D",
    )
    return netcdf.write(path, header, _blocks(series.day_end_s, values))


def forms_in_use(place: Place, bundle: Bundle) -> list[str]:
    """List the forms behind the estimates, keys of exports.forms.FORMS."""
    file = place.site_file
    dated = file.biomass is not None
    forms = [*methods.biomass_forms(file.site, dated=dated), f"site.response={file.site.response}"]
    if not file.records.corrected:
        forms = methods.site_forms(file.site, file.altitude_m, file.cutoff_rigidity_gv, dated=dated)
        forms.remove("depth")  # D86 is not written
    forms += methods.network_forms(bundle)
    names = [e.method.lower() for e in place.estimates]
    return [*forms, *(["filter"] if any("filter" in name for name in names) else []), "et0"]


def name_of(text: str) -> str:
    """Return a name for a variable: lower case, words joined by _."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower().replace("+", "with")).strip("_")


def _values(place: Place) -> Iterator[tuple[str, tuple[Variable, Array]]]:
    """Yield name, description and values (T,) of each variable."""
    truth = _theta(PROBES, "mean of the probes in 0-30 cm over 24 h", "physicalMeasurement")
    yield PROBES, (truth, place.series.truth)
    flag = {"flag_values": np.array([0, 1], dtype="i1"), "flag_meanings": MEANINGS}
    what = "day with probes on which the methods are evaluated"
    evaluated = Variable(EVALUATED, what, "", "quality_flag", dtype="i1", more=flag)
    yield EVALUATED, (evaluated, place.series.judged.astype("i1"))
    for e in place.estimates:
        yield from _estimate_values(e)


def _estimate_values(e: Estimate) -> Iterator[tuple[str, tuple[Variable, Array]]]:
    """Yield the estimates of one method and, where it has one, their standard error."""
    method = f"{e.method}, {e.inputs}" if e.inputs else e.method
    name = f"theta_{name_of(method)}"
    error = f"{name}_sigma"
    ancillary = f"{error} {EVALUATED}" if e.sigma is not None else EVALUATED
    what = f"soil water content of 0-30 cm over 24 h by {method}"
    yield name, (_theta(name, what, "modelResult", ancillary), e.theta)
    if e.sigma is not None:
        standard = f"{WATER_CONTENT} standard_error"
        sigma = Variable(
            error, f"standard error of {name}", "m3 m-3", standard, content="qualityInformation"
        )
        yield error, (sigma, e.sigma)


def _theta(name: str, what: str, content: str, ancillary: str = EVALUATED) -> Variable:
    more = {"ancillary_variables": ancillary}
    return Variable(name, what, "m3 m-3", WATER_CONTENT, ROOT_CM, content=content, more=more)


def _blocks(day_end_s: Array, values: dict[str, tuple[Variable, Array]]) -> Iterator[Block]:
    for first in range(0, len(day_end_s), BLOCK):
        part = slice(first, first + BLOCK)
        end_s = day_end_s[part]
        block: dict[str, Array] = {name: series[part] for name, (_, series) in values.items()}
        yield block | {"time": end_s, "time_bnds": np.stack([end_s - DAY_S, end_s], axis=1)}
