"""station.toml to frozen dataclasses; every fault is found and told at once.

`station_keys` describes the file: what is asked, its type and its range.
Paths in the file are relative to the file's own folder.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from epithermal_edge.config import quality_table, weather_tables
from epithermal_edge.config.canopy import check_cover, derive_cover
from epithermal_edge.config.quality_table import derive_limits
from epithermal_edge.config.schema import PAGE_LISTEN, REQUIRED, SOIL_KNOWN, TABLES
from epithermal_edge.config.toml_keys import check_tables
from epithermal_edge.config.water_table import derive_soil_water, check_water
from epithermal_edge.config.weather_tables import Gauge, Incoming
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.qc_limits import Limits
from epithermal_edge.loggers import parser
from epithermal_edge.loggers.columns import Options
from epithermal_edge.physics import atmosphere, corrections
from epithermal_edge.physics.plant_water import SoilWater
from epithermal_edge.records import NAN
from epithermal_edge.signatures import ed25519, minisign
from epithermal_edge.signatures.minisign import PublicKey
from epithermal_edge.site import Site

CREDENTIAL = "station"  # of LoadCredential in the service unit
SILENCE_LEAST_S = 60.0
CUTOFF_NEEDED = "needed for {}, unless that is given; geomagnetic cutoff rigidity in GV"


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of the place beside what the corrections need."""

    name: str
    latitude_deg: float
    altitude_m: float
    cutoff_rigidity_gv: float | None


@dataclass(frozen=True, slots=True)
class Source:
    """The logger's port and format; `columns` and `count_columns` None: as the dialect says."""

    url: str | None
    baud: int
    dialect: str
    columns: tuple[str, ...] | None
    count_columns: tuple[str, ...] | None
    interval_s: float
    utc_offset_h: float
    stamps: str
    clock_tolerance_s: float
    rain_mm_per_tip: float | None
    silence_s: float
    query: str | None
    use_inside_air: bool


@dataclass(frozen=True, slots=True)
class Mqtt:
    """The broker and how to get in."""

    host: str
    port: int
    version: str
    user: str | None
    password_file: Path | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    keepalive_s: int
    prefix: str
    backlog_per_s: float
    raw: bool
    homeassistant: bool
    discovery_prefix: str
    moisture_pct: bool
    health_interval_s: float
    command_key_file: Path | None


@dataclass(frozen=True, slots=True)
class Page:
    """Where the station's page is served."""

    listen: str
    port: int


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose bundles are taken in."""

    keys: tuple[PublicKey, ...] = ()
    unsigned: bool = False  # also those of nobody, or of somebody unknown


@dataclass(frozen=True, slots=True)
class Config:
    """A station, complete and within range."""

    path: Path
    id: str
    state_dir: Path
    journal_max_mb: float
    place: Place
    site: Site
    soil_water: SoilWater | None  # None where the soil is not described
    source: Source
    limits: Limits
    bundle: Path
    trust: Trust
    trial_hours: int  # in which a new model stands beside the one in use
    mqtt: Mqtt | None
    weather_mqtt: Mqtt | None  # the broker that tells weather and incoming
    weather: tuple[Gauge, ...]
    incoming: Incoming | None
    page: Page | None


def read_config(path: Path) -> Config:
    """The configuration in a file.

    Parameters
    ----------
    path :
        A TOML file, see docs/station.md and deploy/station.example.toml.

    Raises
    ------
    ConfigError
        The file cannot be read, or has faults: all of them, each with its key and remedy.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a station.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    faults: list[str] = []
    values = check_tables(TABLES, REQUIRED, data, faults)
    _check_together(values, path.parent, faults)
    if faults:
        raise ConfigError(*(f"{path}: {fault}" for fault in faults))
    return _build(path, values)


def resolve_file(folder: Path, name: str) -> Path:
    """A file of the configuration; under systemd what was lent to the service comes first.

    `LoadCredential=station:FOLDER` puts each file of root's folder, say `password`, before the
    service as `station_password`, readable by nobody else (systemd.exec(5)).
    """
    lent = os.environ.get("CREDENTIALS_DIRECTORY")
    if lent:
        path = Path(lent, f"{CREDENTIAL}_{Path(name).name}")
        if path.is_file():
            return path
    return folder / name


def _check_together(values: dict[str, dict[str, Any]], folder: Path, faults: list[str]) -> None:
    """Faults that only show when keys are seen together."""
    source = values.get("source", {})
    if source.get("query") is not None:
        faults += _check_query(source["query"])
    if "dialect" in source:
        try:
            columns, counts = (tuple(source.get(k) or ()) for k in ("columns", "count_columns"))
            parser.start(source["dialect"], Options(columns or None, counts or None))
        except ConfigError as error:
            faults += error.faults
    site = values.get("site", {})
    incoming = values.get("site.incoming", {})
    form = incoming.get("form", "none")
    if form != "none" and incoming.get("ref", 0) is None:
        faults.append(f"site.incoming.ref: missing; form {form} needs the monitor's reference")
    if "cutoff_rigidity_gv" in site and site["cutoff_rigidity_gv"] is None:
        scaled = form in ("hawdon2014", "mcjannet2023") and incoming.get("scale", 0) is None
        wants = [("site.beta_per_hpa", site.get("beta_per_hpa", 0) is None)]
        wants.append(("site.incoming.scale", scaled))
        needed = " and ".join(name for name, missing in wants if missing)
        if needed:
            faults.append(f"site.cutoff_rigidity_gv: missing; {CUTOFF_NEEDED.format(needed)}")
    faults += _check_soil(values.get("site.soil", {}))
    faults += check_water("site.water", values.get("site.water", {}), values.get("site.soil", {}))
    faults += check_cover("site.cover", values.get("site.cover", {}))
    faults += _check_page(values.get("page", {}))
    faults += quality_table.faults(values.get("quality", {}))
    faults += _check_keys(values.get("model", {}).get("keys"))
    faults += _check_mqtt(values.get("mqtt", {}), folder)
    weather_tables.check(values, folder, faults)


def _check_mqtt(mqtt: dict[str, Any], folder: Path) -> list[str]:
    """Files that are not there or are no keys, and keys that need another."""
    named = [name for name in mqtt if name.endswith("_file") and mqtt[name]]
    faults = [
        f"mqtt.{name}: no file {named_file(folder, mqtt[name])}"
        for name in named
        if not resolve_file(folder, mqtt[name]).is_file()
    ]
    if mqtt.get("command_key_file") and not faults:
        try:
            ed25519.read_public_key(resolve_file(folder, mqtt["command_key_file"]))
        except ConfigError as error:
            faults += [f"mqtt.command_key_file: {fault}" for fault in error.faults]
    if mqtt and (mqtt.get("cert_file") is None) != (mqtt.get("key_file") is None):
        faults.append("mqtt: cert_file and key_file go together; give both or none")
    if mqtt.get("cert_file") and not mqtt.get("ca_file"):
        faults.append("mqtt.ca_file: missing; a client certificate needs TLS")
    if mqtt.get("password_file") and not mqtt.get("user"):
        faults.append("mqtt.user: missing; a password goes with a user")
    return faults


def _check_page(page: dict[str, Any]) -> list[str]:
    listen = page.get("listen", PAGE_LISTEN)
    try:
        ipaddress.ip_address(listen)
    except ValueError:
        return [f"page.listen: {listen!r} is not an address; 127.0.0.1, or 0.0.0.0 for the LAN"]
    return []


def _check_keys(keys: list[str] | None) -> list[str]:
    faults = []
    for key in keys or ():
        try:
            minisign.parse_public_key(key)
        except ConfigError as error:
            faults += [f"model.keys: {fault}" for fault in error.faults]
    return faults


def _check_query(query: str) -> list[str]:
    """What a logger would not take for a question."""
    if not query.isascii():
        return [f"source.query: {query!r} is not ASCII"]
    if not query.endswith(("\r", "\n")):
        return [f"source.query: {query!r} has no line end; close it with \\r\\n"]
    return []


def _check_soil(soil: dict[str, Any]) -> list[str]:
    """A soil is described whole or not at all, and its pores hold more than its residue."""
    if all(value is None for value in soil.values()):
        return []
    missing = [name for name, value in soil.items() if value is None]
    faults = [f"site.soil.{name}: missing; give all of [site.soil] or none" for name in missing]
    theta_r, theta_s = soil.get("theta_r"), soil.get("theta_s")
    if theta_r is not None and theta_s is not None and theta_r >= theta_s:
        faults.append(f"site.soil.theta_r: {theta_r:g} is not less than theta_s = {theta_s:g}")
    return faults


def _build(path: Path, values: dict[str, dict[str, Any]]) -> Config:
    folder = path.parent
    station, site, source, model = (values[k] for k in ("station", "site", "source", "model"))
    lists = {k: tuple(source[k]) if source[k] else None for k in ("columns", "count_columns")}
    silence_s = source["silence_s"] or max(3.0 * source["interval_s"], SILENCE_LEAST_S)
    mqtt = _mqtt(values.get("mqtt"), folder)
    return Config(
        path=path,
        id=station["id"],
        state_dir=folder / station["state_dir"],
        journal_max_mb=station["journal_max_mb"],
        place=Place(
            site["name"], site["latitude_deg"], site["altitude_m"], site["cutoff_rigidity_gv"]
        ),
        site=_site(site, values["site.incoming"], values["site.soil"], values["site.cover"]),
        soil_water=derive_soil_water(values["site.water"], values["site.soil"]),
        source=Source(**{**source, **lists, "silence_s": silence_s}),
        limits=derive_limits(values.get("quality", {}), site["altitude_m"]),
        bundle=folder / model["bundle"],
        trust=Trust(tuple(map(minisign.parse_public_key, model["keys"] or ())), model["unsigned"]),
        trial_hours=model["trial_hours"],
        mqtt=mqtt,
        weather_mqtt=_mqtt(values.get("weather"), folder) or mqtt,
        weather=weather_tables.gauges(values),
        incoming=weather_tables.incoming(values.get("incoming"), folder),
        page=Page(**values["page"]) if "page" in values else None,
    )


def _mqtt(table: dict[str, Any] | None, folder: Path) -> Mqtt | None:
    """A broker, the paths of its files complete; what the table lacks is the default of [mqtt]."""
    if table is None or not table["host"]:
        return None
    defaults = {key.name: key.default for key in TABLES["mqtt"]}
    files = {k: resolve_file(folder, v) for k, v in table.items() if k.endswith("_file") and v}
    return Mqtt(**{**defaults, **table, **files})


def _site(
    site: dict[str, Any], incoming: dict[str, Any], soil: dict[str, Any], cover: dict[str, Any]
) -> Site:
    """The site with what was left out derived from place and altitude."""
    cutoff, altitude_m = site["cutoff_rigidity_gv"], site["altitude_m"]
    reference, beta, scale = site["pressure_ref_hpa"], site["beta_per_hpa"], incoming["scale"]
    if reference is None:
        reference = float(atmosphere.mean_pressure(altitude_m))
    if beta is None:
        beta = float(corrections.pressure_coefficient(site["latitude_deg"], altitude_m, cutoff))
    if scale is None and incoming["form"] == "hawdon2014":
        scale = float(corrections.hawdon_scale(cutoff))
    elif scale is None and incoming["form"] == "mcjannet2023":
        depth = atmosphere.atmospheric_depth(site["latitude_deg"], altitude_m)
        scale = float(corrections.mcjannet_scale(cutoff, depth))
    as_given = {f.name for f in fields(Site)} & site.keys()
    given = {name: site[name] for name in as_given if site[name] is not None}
    if soil["known"] is not None:
        given |= {f"soil_{name}": value for name, value in soil.items()}
        given["soil_known"] = SOIL_KNOWN[soil["known"]]
    given |= derive_cover(cover)
    return Site(
        **{**given, "beta_per_hpa": beta, "pressure_ref_hpa": reference},
        incoming_form=incoming["form"],
        incoming_ref=NAN if incoming["ref"] is None else incoming["ref"],
        incoming_scale=1.0 if scale is None else scale,
    )
