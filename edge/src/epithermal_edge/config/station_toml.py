"""Read station.toml into frozen dataclasses; all faults are reported at once.

`schema` defines the keys, their types and ranges. Paths in the file are relative to its folder.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from epithermal_edge.config import quality_table, weather_tables
from epithermal_edge.config.biomass import check_biomass, derive_biomass
from epithermal_edge.config.canopy import check_cover, derive_cover
from epithermal_edge.config.location import (
    check_location,
    check_muons,
    derive_beta,
    derive_cutoff,
    derive_muons,
    derive_scale,
)
from epithermal_edge.config.quality_table import derive_limits
from epithermal_edge.config.response_scale import check_scale, convert_scale
from epithermal_edge.config.schema import PAGE_LISTEN, REQUIRED, SOIL_KNOWN, TABLES
from epithermal_edge.config.snow_table import derive_snow
from epithermal_edge.config.toml_keys import check_tables
from epithermal_edge.config.water_table import check_water, derive_root_zone, derive_soil_water
from epithermal_edge.config.weather_tables import Gauge, Incoming
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.qc_limits import Limits
from epithermal_edge.inference.snow import SnowRule
from epithermal_edge.loggers import parser
from epithermal_edge.loggers.columns import Options
from epithermal_edge.physics import atmosphere
from epithermal_edge.physics.plant_water import RootZone, SoilWater
from epithermal_edge.records import NAN
from epithermal_edge.signatures import ed25519, minisign
from epithermal_edge.signatures.minisign import PublicKey
from epithermal_edge.site import Site

CREDENTIAL = "station"  # id of LoadCredential in the service unit
SILENCE_LEAST_S = 60.0
CUTOFF_NEEDED = "give it, site.longitude_deg, or {}; geomagnetic cutoff rigidity, GV"


@dataclass(frozen=True, slots=True)
class Place:
    """Name and position of the site."""

    name: str
    latitude_deg: float
    altitude_m: float
    cutoff_rigidity_gv: float | None
    longitude_deg: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The logger's port and format; `columns`, `count_columns` None: those of the dialect."""

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
    """The broker, the login and what to publish."""

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
    """Address and port of the station's page."""

    listen: str
    port: int


@dataclass(frozen=True, slots=True)
class Trust:
    """Which bundles the station accepts."""

    keys: tuple[PublicKey, ...] = ()
    unsigned: bool = False  # also bundles without a signature by these keys


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration of a station."""

    path: Path
    id: str
    state_dir: Path
    journal_max_mb: float
    place: Place
    site: Site
    soil_water: SoilWater | None  # None: the soil is not described
    snow: SnowRule | None  # None: not looked for
    root_zone: RootZone | None  # None: likewise
    source: Source
    limits: Limits
    bundle: Path
    trust: Trust
    trial_hours: int  # that a new model runs in parallel with the one in use
    mqtt: Mqtt | None
    weather_mqtt: Mqtt | None  # the broker that sends weather and incoming
    weather: tuple[Gauge, ...]
    incoming: Incoming | None
    page: Page | None


def read_config(path: Path) -> Config:
    """Read and check a configuration.

    Parameters
    ----------
    path :
        A TOML file, see docs/station.md and deploy/station.example.toml.

    Raises
    ------
    ConfigError
        The file cannot be read or has faults; lists all of them, each with key and remedy.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a station.toml") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    faults: list[str] = []
    values = check_tables(TABLES, REQUIRED, data, faults)
    _check_together(values, path.parent, faults)
    if faults:
        raise ConfigError(*(f"{path}: {fault}" for fault in faults))
    return _build(path, values)


def resolve_file(folder: Path, name: str) -> Path:
    """Return the path of a named file; a systemd credential has priority over the folder.

    `LoadCredential=station:FOLDER` passes each file of root's folder, such as `password`, to the
    service as `station_password`, which only the service can read (systemd.exec(5)).
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials:
        path = Path(credentials, f"{CREDENTIAL}_{Path(name).name}")
        if path.is_file():
            return path
    return folder / name


def _check_together(values: dict[str, dict[str, Any]], folder: Path, faults: list[str]) -> None:
    """Check the conditions between keys; append one line to `faults` for each violation."""
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
        faults.append(f"site.incoming.ref: missing; form {form} needs the monitor's reference rate")
    monitor = weather_tables.name_monitor(values)
    faults += check_muons("site.incoming", incoming)
    faults += check_location("site.incoming", site, incoming, monitor)
    faults += check_scale(site)
    if site.get("cutoff_rigidity_gv", 0) is None and site.get("longitude_deg", 0) is None:
        scaled = form in ("hawdon2014", "mcjannet2023") and incoming.get("scale", 0) is None
        derived = [("site.beta_per_hpa", site.get("beta_per_hpa", 0) is None)]
        derived.append(("site.incoming.scale", scaled))
        names = " and ".join(name for name, is_derived in derived if is_derived)
        if names:
            faults.append(f"site.cutoff_rigidity_gv: missing; {CUTOFF_NEEDED.format(names)}")
    faults += _check_soil(values.get("site.soil", {}))
    faults += check_water("site.water", values.get("site.water", {}), values.get("site.soil", {}))
    faults += check_biomass(site)
    faults += check_cover("site.cover", values.get("site.cover", {}))
    faults += _check_page(values.get("page", {}))
    faults += quality_table.check_ranges(values.get("quality", {}))
    faults += _check_keys(values.get("model", {}).get("keys"))
    faults += _check_mqtt(values.get("mqtt", {}), folder)
    weather_tables.check(values, folder, faults)


def _check_mqtt(mqtt: dict[str, Any], folder: Path) -> list[str]:
    """List the named files that do not exist or are no keys, and keys that need another key."""
    named = [name for name in mqtt if name.endswith("_file") and mqtt[name]]
    faults = [
        f"mqtt.{name}: no file {resolve_file(folder, mqtt[name])}"
        for name in named
        if not resolve_file(folder, mqtt[name]).is_file()
    ]
    if mqtt.get("command_key_file") and not faults:
        try:
            ed25519.read_public_key(resolve_file(folder, mqtt["command_key_file"]))
        except ConfigError as error:
            faults += [f"mqtt.command_key_file: {fault}" for fault in error.faults]
    if (mqtt.get("cert_file") is None) != (mqtt.get("key_file") is None):
        faults.append("mqtt: cert_file and key_file belong together; give both or none")
    if mqtt.get("cert_file") and not mqtt.get("ca_file"):
        faults.append("mqtt.ca_file: missing; a client certificate needs TLS")
    if mqtt.get("password_file") and not mqtt.get("user"):
        faults.append("mqtt.user: missing; a password needs a user name")
    return faults


def _check_page(page: dict[str, Any]) -> list[str]:
    listen = page.get("listen", PAGE_LISTEN)
    try:
        ipaddress.ip_address(listen)
    except ValueError:
        return [f"page.listen: {listen!r} is not an address; use 127.0.0.1, or 0.0.0.0 for the LAN"]
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
    """List the faults of a query: a logger needs ASCII and a line end."""
    if not query.isascii():
        return [f"source.query: {query!r} is not ASCII"]
    if not query.endswith(("\r", "\n")):
        return [f"source.query: {query!r} has no line end; end it with \\r\\n"]
    return []


def _check_soil(soil: dict[str, Any]) -> list[str]:
    """List the faults of [site.soil]: all keys or none, and theta_r below theta_s."""
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
            site["name"],
            site["latitude_deg"],
            site["altitude_m"],
            derive_cutoff(site),
            site["longitude_deg"],
        ),
        site=_site(values),
        soil_water=derive_soil_water(values["site.water"], values["site.soil"]),
        snow=derive_snow(values["site.snow"]),
        root_zone=derive_root_zone(*(values[f"site.{k}"] for k in ("water", "soil", "cover"))),
        source=Source(**{**source, **lists, "silence_s": silence_s}),
        limits=derive_limits(values.get("quality", {}), site["altitude_m"]),
        bundle=folder / model["bundle"],
        trust=Trust(tuple(map(minisign.parse_public_key, model["keys"] or ())), model["unsigned"]),
        trial_hours=model["trial_hours"],
        mqtt=mqtt,
        weather_mqtt=_mqtt(values.get("weather"), folder) or mqtt,
        weather=weather_tables.build_gauges(values),
        incoming=weather_tables.build_incoming(values, folder),
        page=Page(**values["page"]) if "page" in values else None,
    )


def _mqtt(table: dict[str, Any] | None, folder: Path) -> Mqtt | None:
    """Build a broker from [mqtt] or [weather]; keys not in [weather] get the defaults of [mqtt]."""
    if table is None or not table["host"]:
        return None
    defaults = {key.name: key.default for key in TABLES["mqtt"]}
    files = {k: resolve_file(folder, v) for k, v in table.items() if k.endswith("_file") and v}
    return Mqtt(**{**defaults, **table, **files})


def _site(values: dict[str, dict[str, Any]]) -> Site:
    """Build the site; derive the parameters that are not given from its location."""
    site, incoming, soil = (values[name] for name in ("site", "site.incoming", "site.soil"))
    cutoff, reference = derive_cutoff(site), site["pressure_ref_hpa"]
    if reference is None:
        reference = float(atmosphere.mean_pressure(site["altitude_m"]))
    as_given = {f.name for f in fields(Site)} & site.keys()
    given = {name: site[name] for name in as_given if site[name] is not None}
    if soil["known"] is not None:
        given |= {f"soil_{name}": value for name, value in soil.items()}
        given["soil_known"] = SOIL_KNOWN[soil["known"]]
    given |= derive_biomass(site) | derive_cover(values["site.cover"])
    given |= {"beta_per_hpa": derive_beta(site, cutoff), "pressure_ref_hpa": reference}
    built = Site(
        **given,
        incoming_form=incoming["form"],
        incoming_ref=NAN if incoming["ref"] is None else incoming["ref"],
        incoming_scale=derive_scale(site, cutoff, incoming, weather_tables.name_monitor(values)),
        muons=derive_muons(incoming),
    )
    return convert_scale(site, built)
