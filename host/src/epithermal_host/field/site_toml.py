"""Read site.toml, the description of a real site and of its data files.

No code is specific to a site. Paths are relative to the folder of site.toml; `$NAME` in a path is
replaced by the environment variable. docs/field-evaluation.md describes the keys.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import os
import re
import tomllib
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from epithermal_edge.config.biomass import (
    REMEDY,
    check_biomass,
    derive_biomass,
    is_without_effect,
)
from epithermal_edge.config.canopy import check_cover, derive_cover
from epithermal_edge.config.location import (
    check_location,
    check_muons,
    derive_beta,
    derive_cutoff,
    derive_muons,
    derive_scale,
)
from epithermal_edge.config.response_scale import check_scale, convert_scale
from epithermal_edge.config.snow_table import derive_snow
from epithermal_edge.config.toml_keys import check_tables
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference import snow
from epithermal_edge.inference.snow import SnowRule
from epithermal_edge.loggers.columns import Options
from epithermal_edge.physics.atmosphere import mean_pressure
from epithermal_edge.physics.neutron_monitors import find_monitor
from epithermal_edge.records import NAN
from epithermal_edge.site import USUAL_MONITOR, IncomingForm, Site
from epithermal_host.field.schema import PROBE, TABLES
from epithermal_host.tables.description import TableFile

WaterKind = Literal["theta", "water_g_g", "total_water_g_g", "probes"]

_COPIED = (
    *("value", "depth_column", "deepest_cm", "bottom_column", "distance_column"),
    *("direction_column", "profile_column", "bulk_density_column", "crop_height_m"),
)  # keys of [sampling] that Sampling contains unchanged
_REQUIRED = ("site", "soil", "records")


@dataclass(frozen=True, slots=True)
class Records:
    """Recorded files of the detector."""

    paths: tuple[Path, ...]
    dialect: str
    options: Options
    corrected: bool  # counts are already corrected for the atmosphere


@dataclass(frozen=True, slots=True)
class Monitor:
    """File of a neutron monitor."""

    file: TableFile
    column: str  # in a download of NEST: short name of the monitor
    reference: float  # count for a factor of 1; NaN: the counts are not used for a correction
    hold_h: float  # a value that remains unchanged for longer is a fault
    name: str  # short name at NMDB


@dataclass(frozen=True, slots=True)
class Rain:
    """File of rain amounts."""

    file: TableFile
    columns: tuple[str, ...]
    interval_h: float
    end_h: float


@dataclass(frozen=True, slots=True)
class Biomass:
    """File of biomass over time [kg m-2], in the sense of the site's slope."""

    file: TableFile
    column: str


@dataclass(frozen=True, slots=True)
class SoilTemperature:
    """File of a soil temperature; days at or below `least_c` are not evaluated."""

    file: TableFile
    column: str
    least_c: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """File of soil samples, or days on which the probes stand in for samples."""

    file: TableFile
    value: str
    kind: WaterKind
    day: str  # ISO date of the one day of an evaluation; empty: the first
    depth_column: str
    deepest_cm: float
    days: tuple[str, ...] = ()  # ISO dates of a calibration; empty: all
    bottom_column: str = ""
    distance_column: str = ""
    direction_column: str = ""
    profile_column: str = ""
    bulk_density_column: str = ""
    crop_height_m: float = 0.0
    hours: tuple[float, float] | None = None  # of the day, whose counts are used [h, UTC]


@dataclass(frozen=True, slots=True)
class Probe:
    """Soil moisture probes of one depth."""

    file: TableFile
    columns: tuple[str, ...]
    depth_cm: float
    weight: float


@dataclass(frozen=True, slots=True)
class SiteFile:
    """Description of a site; None: the file has no such table."""

    path: Path
    name: str
    longitude_deg: float
    altitude_m: float
    cutoff_rigidity_gv: float | None  # given, or estimated from the position
    day_ends_utc_h: int
    season: tuple[int, int]  # first and last month, inclusive
    texture: str
    site: Site  # not calibrated: cosmic_n_cph is 1
    snow: SnowRule | None  # None: not looked for
    records: Records
    incoming: Monitor | None
    rain: Rain | None
    biomass: Biomass | None
    soil_temperature: SoilTemperature | None
    sampling: Sampling | None
    probes: tuple[Probe, ...]
    n_cph: float | None = None  # given or converted scale of the response; None: from the samples
    n_sigma: float = NAN  # relative standard error of n_cph
    truth_grade: str = ""  # A, B or C; empty: from probes and samples
    truth_reason: str = ""  # why it is given


def read_site(path: Path) -> SiteFile:
    """Read the description of a site; do not open the files that it names.

    Raises
    ------
    ConfigError
        The file cannot be read or has errors; lists all of them, each with its key and remedy.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a site.toml") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    faults: list[str] = []
    probes = _probes(data.pop("probe", []), faults)
    present = set(data)
    values = check_tables(TABLES, _REQUIRED, data, faults)
    faults += check_biomass(values["site"])
    faults += check_cover("cover", values.get("cover", {}))
    incoming = values["incoming"] if "incoming" in present else {}
    faults += check_muons("incoming", incoming)
    faults += check_location("incoming", values["site"], incoming, _name_monitor(incoming))
    faults += check_scale(values["site"])
    for name in [name for name in TABLES if name not in present]:
        values.pop(name, None)
    builder = _Builder(path, faults)
    if not faults:
        out = builder.site_file(values, probes)
        dated = out.biomass is not None and out.site.biomass_slope_per_mm == 0.0
        if dated or is_without_effect(out.site):
            faults.append(f"site.biomass_form: missing, so that biomass has no effect; {REMEDY}")
    if faults:
        raise ConfigError(*(f"{path}: {fault}" for fault in faults))
    return out


def read_sites(paths: Sequence[Path]) -> list[SiteFile]:
    """Read several site files; their sites must have different names.

    Raises
    ------
    ConfigError
        Lists the errors of all files.
    """
    faults: list[str] = []
    sites: list[SiteFile] = []
    for path in paths:
        try:
            sites.append(read_site(path))
        except ConfigError as error:
            faults += error.faults
    names = [site.name for site in sites]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    faults += [f"{name}: two site files have this name; rename one" for name in duplicates]
    if faults:
        raise ConfigError(*faults)
    return sites


def _probes(tables: Any, faults: list[str]) -> list[dict[str, Any]]:
    if not isinstance(tables, list):
        faults.append("probe: must be a list of tables, written [[probe]]")
        return []
    probes = []
    for number, table in enumerate(tables, start=1):
        own: list[str] = []
        probes.append(check_tables({"probe": PROBE}, ("probe",), {"probe": table}, own)["probe"])
        faults += [fault.replace("probe.", f"probe {number}: ", 1) for fault in own]
    if probes and not faults and not sum(p["weight"] for p in probes) > 0.0:
        faults.append("probe: the weights add up to 0; set one above 0")
    return probes


class _Builder:
    """Builds the dataclasses from checked values; collects errors of paths."""

    def __init__(self, path: Path, faults: list[str]) -> None:
        self.path = path
        self.faults = faults

    def site_file(
        self, values: dict[str, dict[str, Any]], probes: list[dict[str, Any]]
    ) -> SiteFile:
        where = values["site"]
        site = _site(where, values["soil"], values.get("cover"), values.get("incoming"))
        n_cph, n_sigma = _known_scale(where, site)
        if bool(where["truth_grade"]) != bool(where["truth_reason"].strip()):
            self.faults.append("site.truth_grade: set it together with truth_reason, or neither")
        return SiteFile(
            path=self.path,
            name=where["name"],
            longitude_deg=where["longitude_deg"],
            altitude_m=where["altitude_m"],
            cutoff_rigidity_gv=derive_cutoff(where),
            day_ends_utc_h=where["day_ends_utc_h"],
            season=(where["season_begins"], where["season_ends"]),
            texture=values["soil"]["texture"],
            site=site,
            snow=derive_snow(values["snow"]) if "snow" in values else snow.DEFAULT,
            records=self._records(values["records"]),
            incoming=self._monitor(values.get("incoming")),
            rain=self._rain(values.get("rain")),
            biomass=self._biomass(values.get("biomass")),
            soil_temperature=self._soil_temperature(values.get("soil_temperature")),
            sampling=self._sampling(values.get("sampling"), bool(probes)),
            probes=tuple(
                Probe(self._table(p), tuple(p["columns"]), p["depth_cm"], p["weight"])
                for p in probes
            ),
            n_cph=n_cph,
            n_sigma=n_sigma,
            truth_grade=where["truth_grade"],
            truth_reason=where["truth_reason"].strip(),
        )

    def _path(self, name: str) -> Path:
        def value(match: re.Match[str]) -> str:
            variable = match[1] or match[2]
            folder = os.environ.get(variable)
            if folder is None:
                fault = f"{name}: the environment has no {variable}; set it to a folder"
                if fault not in self.faults:
                    self.faults.append(fault)
            return folder or ""

        return self.path.parent / re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, name)

    def _table(self, table: Mapping[str, Any]) -> TableFile:
        path = self._path(table["file"])
        if table["decimal"] == table["delimiter"]:
            self.faults.append(f"{table['file']}: decimal and delimiter are both a comma")
        if table["time_zone"]:
            self._check_zone(table)
        return TableFile(
            path=path,
            time=tuple(table["time"] or ()),
            time_format=table["time_format"],
            utc_offset_h=table["utc_offset_h"],
            delimiter=table["delimiter"],
            header=tuple(table["header"] or ()),
            missing=tuple(table["missing"] or ()),
            decimal=table["decimal"],
            **{key: table[key] for key in ("time_zone", "skip", "sheet")},
        )

    def _check_zone(self, table: Mapping[str, Any]) -> None:
        zone, name = table["time_zone"], f"{table['file']}: time_zone"
        if table["utc_offset_h"]:
            self.faults.append(f"{name}: set it or utc_offset_h, not both")
        if zone not in zoneinfo.available_timezones():
            known = sorted(zoneinfo.available_timezones())
            near = difflib.get_close_matches(zone, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else "use a name such as Europe/Berlin"
            self.faults.append(f"{name}: {zone!r} is unknown; {remedy}")

    def _records(self, table: dict[str, Any]) -> Records:
        columns, counts = table["columns"], table["count_columns"]
        options = Options(
            columns=tuple(columns) if columns else None,
            count_columns=tuple(counts) if counts else None,
            interval_s=table["interval_s"],
            utc_offset_h=table["utc_offset_h"],
        )
        paths = tuple(self._path(name) for name in table["files"])
        return Records(paths, table["dialect"], options, table["corrected"])

    def _monitor(self, table: dict[str, Any] | None) -> Monitor | None:
        if table is None:
            return None
        if table["source"] == "muons":
            named = [name for name in ("file", "time", "column") if table[name]]
            self.faults += [f"incoming.{name}: source is muons; delete it" for name in named]
            return None
        required = [name for name in ("file", "column") if not table[name]]
        self.faults += [f"incoming.{name}: missing; of the monitor's counts" for name in required]
        reference = NAN if table["form"] == "none" else table["ref"]
        name = _name_monitor(table)
        return Monitor(self._table(table), table["column"], reference, table["hold_h"], name)

    def _rain(self, table: dict[str, Any] | None) -> Rain | None:
        if table is None:
            return None
        columns = tuple(table["columns"])
        return Rain(self._table(table), columns, table["interval_h"], table["end_h"])

    def _biomass(self, table: dict[str, Any] | None) -> Biomass | None:
        return None if table is None else Biomass(self._table(table), table["column"])

    def _soil_temperature(self, table: dict[str, Any] | None) -> SoilTemperature | None:
        if table is None:
            return None
        return SoilTemperature(self._table(table), table["column"], table["least_c"])

    def _sampling(self, table: dict[str, Any] | None, probes: bool) -> Sampling | None:
        if table is None:
            return None
        days = tuple(table["days"] or ([table["day"]] if table["day"] else []))
        faults = [f"sampling.days: {day!r} is not a date" for day in days if not _is_date(day)]
        if table["kind"] == "probes":
            faults += _probes_as_samples(table, days, probes)
        else:
            faults += [
                f"sampling.{name}: required; {wanted}"
                for name, wanted in (
                    ("file", "a CSV"),
                    ("value", "the column of the water content"),
                )
                if not table[name]
            ]
            if not table["time"] and len(days) != 1:
                faults.append("sampling.time: missing; name the column of the date, or set day")
        hours = [hour for hour in (table["from_h"], table["to_h"]) if hour is not None]
        if len(hours) == 1 or (hours and hours[0] >= hours[1]):
            faults.append("sampling.from_h: set it together with a later to_h, or set neither")
        self.faults += faults
        return Sampling(
            file=self._table(table),
            kind=cast(WaterKind, table["kind"]),
            day=table["day"] or (days[0] if days else ""),
            days=days,
            hours=(hours[0], hours[1]) if len(hours) == 2 else None,
            **{name: table[name] for name in _COPIED},
        )


def _probes_as_samples(table: Mapping[str, Any], days: tuple[str, ...], probes: bool) -> list[str]:
    """Return the faults of a [sampling] of kind probes."""
    faults = []
    if not probes:
        faults.append("sampling.kind: there is no [[probe]]; add one, or give samples")
    if not days:
        faults.append("sampling.day: missing; name a day on which probes and counts are complete")
    of_a_file = ("file", "time", "value", *(name for name in _COPIED if name.endswith("_column")))
    named = [name for name in of_a_file if table[name]]
    faults += [f"sampling.{name}: not with kind probes; remove it" for name in named]
    return faults


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _name_monitor(incoming: Mapping[str, Any]) -> str:
    """Name the monitor: `monitor`, else a known or a possible name in `column`, else Jungfraujoch.

    A column `mxco_counts` is of MXCO; `ABCD`, in the form of NMDB's names, is of an unknown one.
    """
    if incoming.get("monitor"):
        return str(incoming["monitor"])
    column = incoming.get("column") or ""
    words = [word.upper() for word in re.split(r"[^A-Za-z0-9]+", column) if len(word) > 3]
    known = [word for word in words if find_monitor(word)]
    if known or not re.fullmatch(r"[A-Z]{3}[A-Z0-9][0-9]?", column):
        return known[0] if known else USUAL_MONITOR
    return column


def _known_scale(where: Mapping[str, Any], site: Site) -> tuple[float | None, float]:
    """Return the given scale, or that converted from `scale_of`, and its relative error."""
    if where["cosmic_n_cph"] is None:
        return None, NAN
    given = {name: where[name] for name in ("cosmic_n_cph", "cosmic_n_sigma")}
    known = convert_scale(where, dataclasses.replace(site, **given))
    return float(known.cosmic_n_cph), float(known.cosmic_n_sigma)


def _site(
    where: Mapping[str, Any],
    soil: Mapping[str, Any],
    cover: dict[str, Any] | None,
    incoming: Mapping[str, Any] | None,
) -> Site:
    """Derive the station's Site from position and soil, with the same rules as station.toml."""
    cutoff, pressure_ref = derive_cutoff(where), where["pressure_ref_hpa"]
    if pressure_ref is None:
        pressure_ref = float(mean_pressure(where["altitude_m"]))
    name = _name_monitor(incoming or {})
    return Site(
        cosmic_n_cph=1.0,
        bulk_density_g_cm3=soil["bulk_density_g_cm3"],
        lattice_water_g_g=soil["lattice_water_g_g"],
        organic_water_g_g=soil["organic_water_g_g"],
        latitude_deg=where["latitude_deg"],
        beta_per_hpa=derive_beta(where, cutoff),
        pressure_ref_hpa=pressure_ref,
        humidity_ref_g_m3=where["humidity_ref_g_m3"],
        incoming_form=cast(IncomingForm, incoming["form"]) if incoming else "none",
        incoming_ref=incoming["ref"] if incoming else NAN,
        incoming_scale=derive_scale(where, cutoff, incoming, name) if incoming else 1.0,
        muons=derive_muons(incoming or {}),
        response=where["response"],
        **derive_biomass(where),
        **derive_cover(cover or {}),
    )
