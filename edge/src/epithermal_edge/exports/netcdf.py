"""Write a series as NetCDF-4 by the conventions CF-1.11 and ACDD-1.3, in blocks.

References
----------
Eaton et al. (2023): NetCDF Climate and Forecast Metadata Conventions 1.11; ESIP (2015): Attribute
Convention for Data Discovery 1.3.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import EpithermalError
from epithermal_edge.exports.files import complete_file, optional
from epithermal_edge.exports.methods import CONSTANTS, references
from epithermal_edge.exports.variables import SINCE_1970, Block, Variable
from epithermal_edge.site import Site
from epithermal_edge.times import utc

CONVENTIONS = "CF-1.11, ACDD-1.3"
STANDARD_NAMES = "CF Standard Name Table v93"
KEYWORDS = "cosmic-ray neutron sensing, soil moisture, soil water content, root zone"
CONSTANT = {"coverage_content_type": "referenceInformation"}
CHUNK = 4096  # values along time
_WORDS = """
    title summary keywords keywords_vocabulary naming_authority id license institution project
    program creator_name creator_email creator_url creator_type creator_institution publisher_name
    publisher_email publisher_url publisher_type publisher_institution contributor_name
    contributor_role acknowledgement comment product_version metadata_link instrument platform
    instrument_vocabulary platform_vocabulary
"""
GIVEN = frozenset(_WORDS.split())
"""Global attributes that only the owner of the data knows; a TOML file may give them."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says besides its series."""

    id: str  # station or site
    name: str
    summary: str
    source: str  # how the data were produced, with versions
    site: Site
    altitude_m: float
    longitude_deg: float | None
    forms: tuple[str, ...]  # keys of references.FORMS
    variables: tuple[Variable, ...]
    given: Mapping[str, str] = field(default_factory=dict)  # global attributes of the owner
    time_resolution: str = "PT1H"  # ISO 8601


def write(path: Path, header: Header, blocks: Iterable[Block]) -> int:
    """Write a file; return the number of values along time.

    The file appears under its name once it is complete. Memory does not grow with its length.

    Parameters
    ----------
    blocks :
        Values of `header.variables`, `time` and `time_bnds` [s, Unix time], in the order of time.

    Raises
    ------
    EpithermalError
        netCDF4 is not installed, or there are no values.
    """
    netcdf4 = optional("netCDF4", "export")
    with complete_file(path) as partial, netcdf4.Dataset(partial, "w", format="NETCDF4") as data:
        _define(data, header)
        count, first_s, last_s = _fill(data, header, blocks)
        if not count:
            raise EpithermalError(f"{path}: no records in these bounds; nothing was written")
        data.setncatts(_time_coverage(first_s, last_s))
    return count


def _fill(data: Any, header: Header, blocks: Iterable[Block]) -> tuple[int, float, float]:
    """Write the blocks; return the number of values, the first and the last time [s]."""
    names = ("time", "time_bnds", *(v.name for v in header.variables))
    count, first_s, last_s = 0, math.nan, math.nan
    for block in blocks:
        size = len(block["time"])
        for name in names:
            data.variables[name][count : count + size] = block[name]
        if not count:
            first_s = float(np.asarray(block["time"], dtype=float)[0])
        last_s = float(np.asarray(block["time"], dtype=float)[-1])
        count += size
    return count, first_s, last_s


def _define(data: Any, header: Header) -> None:
    """Define dimensions, coordinates, variables and attributes."""
    data.set_fill_off()
    data.createDimension("time", None)
    data.createDimension("bnds", 2)
    data.createDimension("name_strlen", max(len(header.id.encode()), 1))
    data.setncatts(_global_attributes(header))
    _define_time(data)
    _define_place(data, header)
    layers = dict.fromkeys(v.depth_cm for v in header.variables if v.depth_cm is not None)
    for layer in layers:
        _define_layer(data, layer)
    for variable in header.variables:
        _define_variable(data, variable, header)


def _define_time(data: Any) -> None:
    when = data.createVariable("time", "f8", ("time",), zlib=True, chunksizes=(CHUNK,))
    when.setncatts(
        {
            "standard_name": "time",
            "long_name": "end of the interval",
            "axis": "T",
            "bounds": "time_bnds",
            "coverage_content_type": "coordinate",
            **SINCE_1970,
        }
    )
    data.createVariable("time_bnds", "f8", ("time", "bnds"), zlib=True, chunksizes=(CHUNK, 2))


def _define_place(data: Any, header: Header) -> None:
    """Write the name of the station, its position and the constants of its site."""
    name = data.createVariable("station", "S1", ("name_strlen",))
    name.setncatts({"cf_role": "timeseries_id", "long_name": "identifier of the station"})
    encoded = header.id.encode()
    name[:] = np.frombuffer(encoded, dtype="S1")
    _scalar(data, "lat", float(header.site.latitude_deg), _coordinate("latitude", "degrees_north"))
    if header.longitude_deg is not None:
        _scalar(data, "lon", header.longitude_deg, _coordinate("longitude", "degrees_east"))
    altitude = _coordinate("altitude", "m") | {"positive": "up", "axis": "Z"}
    _scalar(data, "alt", header.altitude_m, altitude)
    for constant, unit in CONSTANTS.items():
        value = np.asarray(getattr(header.site, constant), dtype=np.float64)
        if np.isfinite(value).all():
            what = f"constant of the site: {constant.replace('_', ' ')}"
            _constant(
                data,
                f"site_{constant}",
                value,
                CONSTANT | {"long_name": what, "units": unit or "1"},
            )


def _coordinate(name: str, units: str) -> dict[str, object]:
    return {
        "standard_name": name,
        "long_name": f"{name} of the station",
        "units": units,
        "coverage_content_type": "coordinate",
    }


def _constant(
    data: Any, name: str, value: NDArray[np.float64], attributes: Mapping[str, object]
) -> None:
    """Write a constant, or one that has a value for each day of the year (366,)."""
    if not value.ndim:
        _scalar(data, name, float(value), attributes)
        return
    if "day_of_year" not in data.dimensions:
        data.createDimension("day_of_year", value.size)
    variable = data.createVariable(name, "f8", ("day_of_year",))
    variable.setncatts({**attributes, "comment": "by the day of the year; the first is 1 January"})
    variable[:] = value


def _scalar(data: Any, name: str, value: float, attributes: Mapping[str, object]) -> None:
    variable = data.createVariable(name, "f8", ())
    variable.setncatts(attributes)
    variable[...] = value


def _depth_name(layer: tuple[int, int]) -> str:
    return f"depth_{layer[0]}_{layer[1]}"


def _define_layer(data: Any, layer: tuple[int, int]) -> None:
    """Write the depth of a layer [cm] with its bounds."""
    name = _depth_name(layer)
    attributes = {
        "standard_name": "depth",
        "long_name": f"middle of the layer {layer[0]}-{layer[1]} cm",
        "units": "cm",
        "positive": "down",
        "coverage_content_type": "coordinate",
        "bounds": f"{name}_bnds",
    }
    _scalar(data, name, (layer[0] + layer[1]) / 2.0, attributes)
    data.createVariable(f"{name}_bnds", "f8", ("bnds",))[:] = np.array(layer, dtype=float)


def _define_variable(data: Any, variable: Variable, header: Header) -> None:
    is_number = variable.dtype == "f8"
    new = data.createVariable(
        variable.name,
        variable.dtype,
        ("time",),
        zlib=True,
        shuffle=True,
        chunksizes=(CHUNK,),
        fill_value=math.nan if is_number else None,
    )
    attributes = variable.attributes()
    places = ["lat", *(["lon"] if header.longitude_deg is not None else []), "alt", "station"]
    if variable.depth_cm is not None:
        places = ["lat", *places[1:-2], _depth_name(variable.depth_cm), "station"]
    new.setncatts(attributes | {"coordinates": " ".join(places)})


def _global_attributes(header: Header) -> dict[str, object]:
    """Return the global attributes; those that the owner gives replace the others."""
    now = utc(math.floor(time.time())) or ""
    latitude = float(header.site.latitude_deg)
    attributes: dict[str, object] = {
        "Conventions": CONVENTIONS,
        "title": f"Soil water content by cosmic-ray neutron sensing, {header.name or header.id}",
        "summary": header.summary,
        "keywords": KEYWORDS,
        "id": header.id,
        "cdm_data_type": "TimeSeries",
        "source": header.source,
        "history": f"{now} written by {header.source.partition(';')[0]}",
        "processing_level": "corrected counts, inversion and network estimates with quality flags",
        "standard_name_vocabulary": STANDARD_NAMES,
        "date_created": now,
        "incoming_correction": header.site.incoming_form,
        "references": "; ".join(reference.line() for reference in references(header.forms)),
        "geospatial_lat_min": latitude,
        "geospatial_lat_max": latitude,
        "geospatial_lat_units": "degrees_north",
        "geospatial_vertical_min": header.altitude_m,
        "geospatial_vertical_max": header.altitude_m,
        "geospatial_vertical_units": "m",
        "geospatial_vertical_positive": "up",
        "time_coverage_resolution": header.time_resolution,
    }
    if header.longitude_deg is not None:
        attributes |= {
            "featureType": "timeSeries",
            "geospatial_lon_min": header.longitude_deg,
            "geospatial_lon_max": header.longitude_deg,
            "geospatial_lon_units": "degrees_east",
            "geospatial_bounds": f"POINT ({latitude:g} {header.longitude_deg:g})",
            "geospatial_bounds_crs": "EPSG:4326",
        }
    return attributes | dict(header.given)


def _time_coverage(first_s: float, last_s: float) -> dict[str, object]:
    return {
        "time_coverage_start": utc(first_s) or "",
        "time_coverage_end": utc(last_s) or "",
        "time_coverage_duration": f"PT{last_s - first_s:.0f}S",
    }
