"""Define the keys of station.toml with their types, ranges and defaults."""

from __future__ import annotations

from epithermal_edge.config import quality_table, weather_tables
from epithermal_edge.config.biomass import BIOMASS
from epithermal_edge.config.canopy import COVER
from epithermal_edge.config.location import BETA_FORM, MONITOR, MUONS, SOURCE
from epithermal_edge.config.response_scale import N_SIGMA, RESPONSES, SCALE_OF
from epithermal_edge.config.snow_table import SNOW
from epithermal_edge.config.toml_keys import Key
from epithermal_edge.config.water_table import WATER
from epithermal_edge.config.weather_tables import MONITOR_NAME
from epithermal_edge.records import NAN

INCOMING_FORMS = ("none", "plain", "hawdon2014", "mcjannet2023")
MQTT_VERSIONS = ("5", "3.1.1")
STAMPS = ("logger", "station", "unchecked")
SOIL_KNOWN = {"measured": 1.0, "texture": 0.5}  # texture: by a pedotransfer function
SOIL_WORD = {0.0: "unknown"} | {code: word for word, code in SOIL_KNOWN.items()}
TOPIC = r"[^#+\x00/][^#+\x00]*[^#+\x00/]"  # one or more levels

PAGE_LISTEN = "127.0.0.1"

TABLES: dict[str, tuple[Key, ...]] = {
    "station": (
        Key(
            "id",
            str,
            "3 to 32 of a-z 0-9 -; part of every topic",
            True,
            pattern=r"[a-z0-9-]{3,32}",
        ),
        Key("state_dir", str, "folder for the journal", True),
        Key(
            "journal_max_mb", float, "size limit of the journal, MB", default=512.0, low=4, high=1e6
        ),
    ),
    "site": (
        Key("name", str, "name shown on dashboards", default=""),
        Key("latitude_deg", float, "degrees north", True, low=-90, high=90),
        Key("longitude_deg", float, "degrees east", low=-180, high=180),
        Key("altitude_m", float, "metres above sea level", True, low=-450, high=6000),
        Key("cutoff_rigidity_gv", float, "geomagnetic cutoff rigidity, GV", low=0, high=20),
        Key("bulk_density_g_cm3", float, "dry bulk density, g/cm3", True, low=0.5, high=2.2),
        Key("lattice_water_g_g", float, "lattice water, g/g", default=0.0, low=0, high=0.4),
        Key(
            "organic_water_g_g",
            float,
            "hydrogen of the organic matter, as water, g/g",
            default=0.0,
            low=0,
            high=0.8,
        ),
        Key(
            "response",
            str,
            "relation of counts to water content, for theta_classical and the network's input",
            default="cosmic",
            choices=RESPONSES,
        ),
        Key(
            "cosmic_n_cph",
            float,
            "scale of the response from calibration, counts/h: COSMIC's N, N_D or I_D of UTS, N0",
            True,
            low=1,
            high=1e7,
        ),
        N_SIGMA,
        *SCALE_OF,
        Key("alpha", float, "COSMIC's alpha, cm3/g", default=NAN, low=0.01, high=1),
        Key("l3_g_cm2", float, "COSMIC's L3, g/cm2", default=NAN, low=1, high=1000),
        Key("beta_per_hpa", float, "barometric coefficient, 1/hPa", low=0.003, high=0.015),
        BETA_FORM,
        Key("pressure_ref_hpa", float, "reference pressure, hPa", low=300, high=1100),
        Key("humidity_ref_g_m3", float, "reference humidity, g/m3", default=0.0, low=0, high=50),
        *BIOMASS,
    ),
    "site.incoming": (
        Key("form", str, "method of the correction", default="none", choices=INCOMING_FORMS),
        Key(
            "ref",
            float,
            "count rate of the monitor, or of muons per hour, at which the factor is 1",
            low=1e-6,
            high=1e9,
        ),
        Key("scale", float, "response of the site relative to the monitor", low=0, high=3),
        Key("monitor", str, "short name of the neutron monitor", pattern=MONITOR_NAME),
        *MONITOR,
        SOURCE,
        *MUONS,
    ),
    "site.soil": (
        Key("known", str, "source of the parameters", choices=tuple(SOIL_KNOWN)),
        Key("theta_r", float, "residual water content, m3/m3", low=0, high=0.4),
        Key("theta_s", float, "saturated water content, m3/m3", low=0.1, high=0.95),
        Key("alpha_per_cm", float, "van Genuchten's alpha, 1/cm", low=1e-5, high=10),
        Key("n", float, "van Genuchten's n", low=1.01, high=15),
        Key("ks_cm_d", float, "saturated hydraulic conductivity, cm/d", low=1e-4, high=1e5),
    ),
    "site.water": WATER,
    "site.cover": COVER,
    "site.snow": SNOW,
    "source": (
        Key("url", str, "serial device or URL, as /dev/serial/by-id/... or socket://host:port"),
        Key("baud", int, "bits per second", default=9600, low=300, high=4_000_000),
        Key("dialect", str, "format of the logger", True),
        Key("columns", list, "column names in order, for a logger that sends no header"),
        Key("count_columns", list, "columns of moderated counts to be summed"),
        Key(
            "interval_s",
            float,
            "nominal time between records, s",
            default=3600.0,
            low=1,
            high=86400,
        ),
        Key(
            "utc_offset_h",
            float,
            "logger's clock minus UTC, h",
            default=0.0,
            low=-14,
            high=14,
        ),
        Key("stamps", str, "source of the timestamps", default="logger", choices=STAMPS),
        Key(
            "clock_tolerance_s",
            float,
            "tolerated error of the logger's clock, s",
            default=600.0,
            low=1,
            high=43200,
        ),
        Key("rain_mm_per_tip", float, "rain per tip of the gauge, mm", low=0, high=10),
        Key(
            "silence_s",
            float,
            "seconds without a byte after which the port is reopened; default is three intervals",
            low=1,
            high=1e6,
        ),
        Key(
            "query",
            str,
            "request for missed records; strftime codes are replaced by the time of the last"
            " record",
        ),
        Key(
            "use_inside_air",
            bool,
            "use air temperature and humidity inside the housing",
            default=False,
        ),
    ),
    "quality": quality_table.KEYS,
    "model": (
        Key("bundle", str, "folder of the model bundle", True),
        Key("keys", list, "minisign public keys whose bundles are accepted"),
        Key(
            "unsigned",
            bool,
            "also accept bundles without a signature by these keys",
            default=False,
        ),
        Key(
            "trial_hours",
            int,
            "hours that a new model runs in parallel with the one in use",
            default=24,
            low=0,
            high=8760,
        ),
    ),
    "mqtt": (
        Key("host", str, "name or address of the broker", True),
        Key("port", int, "TCP port; 8883 with TLS", default=1883, low=1, high=65535),
        Key("version", str, "MQTT version", default="5", choices=MQTT_VERSIONS),
        Key("user", str, "user name at the broker; by convention the station's id"),
        Key("password_file", str, "file whose first line is the password"),
        Key("ca_file", str, "CA certificate; enables TLS"),
        Key("cert_file", str, "client certificate"),
        Key("key_file", str, "private key of the client certificate"),
        Key(
            "keepalive_s",
            int,
            "seconds without data after which the connection is tested",
            default=60,
            low=5,
            high=3600,
        ),
        Key(
            "prefix",
            str,
            "first levels of every topic",
            default="crns/v1",
            pattern=TOPIC,
        ),
        Key(
            "backlog_per_s",
            float,
            "messages per second after an outage; 0: no limit",
            default=100.0,
            low=0,
            high=10_000,
        ),
        Key("raw", bool, "also publish every raw record as obs/raw", default=False),
        Key("homeassistant", bool, "announce the station to Home Assistant", default=True),
        Key(
            "discovery_prefix",
            str,
            "first level of Home Assistant's discovery topics",
            default="homeassistant",
            pattern=TOPIC,
        ),
        Key("moisture_pct", bool, "also announce theta in % to Home Assistant", default=True),
        Key(
            "health_interval_s",
            float,
            "minimum time between two health messages, s",
            default=300.0,
            low=5,
            high=86400,
        ),
        Key("command_key_file", str, "Ed25519 public key for signed commands"),
    ),
    "page": (
        Key(
            "listen",
            str,
            "address of this machine; 0.0.0.0: also the LAN",
            default=PAGE_LISTEN,
        ),
        Key("port", int, "TCP port of the page", default=8480, low=1024, high=65535),
    ),
    **weather_tables.TABLES,
}
REQUIRED = ("station", "site", "source", "model")
