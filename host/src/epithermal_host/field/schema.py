"""Define the keys of a site.toml with their types and ranges."""

from __future__ import annotations

from epithermal_edge.config.biomass import BIOMASS
from epithermal_edge.config.canopy import COVER
from epithermal_edge.config.location import BETA_FORM, MONITOR, MUONS, SOURCE
from epithermal_edge.config.response_scale import N_SIGMA, SCALE_OF
from epithermal_edge.config.snow_table import SNOW
from epithermal_edge.config.toml_keys import Key
from epithermal_edge.loggers.dialects import DIALECTS
from epithermal_edge.physics.response_forms import RESPONSES

INCOMING_FORMS = ("none", "plain", "hawdon2014", "mcjannet2023")
_ISO = r"(\d{4}-\d{2}-\d{2})?"
_FILE = Key("file", str, "CSV, plain or .gz, or .xlsx", True)
_CLOCK = (
    Key("time_format", str, "format for strptime; default: ISO 8601", default=""),
    Key("utc_offset_h", float, "clock ahead of UTC, hours", default=0.0, low=-14, high=14),
    Key("time_zone", str, "of the clock, with summer time, such as Europe/Berlin", default=""),
    Key("skip", int, "lines above the header, or above the first row", default=0, low=0, high=1000),
    Key("sheet", str, "sheet of a spreadsheet; default: the first", default=""),
    Key("delimiter", str, "between the columns", default=",", pattern=".", blank=True),
    Key("decimal", str, "decimal mark of the numbers", default=".", choices=(".", ",")),
    Key("header", list, "column names of a file without a header line"),
    Key("missing", list, "more codes for no value, in quotes"),
)
_TIME = (
    _FILE,
    Key("time", list, "column of date and time, or a list of columns", True, single=True),
    *_CLOCK,
)
_VALUE = (*_TIME, Key("column", str, "column of the value", True))

TABLES: dict[str, tuple[Key, ...]] = {
    "site": (
        Key("name", str, "3 to 64 of a-z 0-9 -", True, pattern=r"[a-z0-9-]{3,64}"),
        Key("latitude_deg", float, "degrees north", True, low=-90, high=90),
        Key("longitude_deg", float, "degrees east", True, low=-180, high=180),
        Key("altitude_m", float, "metres above sea level", True, low=-450, high=6000),
        Key("cutoff_rigidity_gv", float, "geomagnetic cutoff in GV", low=0, high=20),
        Key(
            "response",
            str,
            "relation of counts to water content, as in station.toml",
            default="cosmic",
            choices=tuple(RESPONSES),
        ),
        Key(
            "cosmic_n_cph",
            float,
            "scale of the response, counts/h; without samples",
            low=1,
            high=1e7,
        ),
        N_SIGMA,
        *SCALE_OF,
        Key("beta_per_hpa", float, "barometric coefficient, 1/hPa", low=0.003, high=0.015),
        BETA_FORM,
        Key("pressure_ref_hpa", float, "reference pressure, hPa", low=300, high=1100),
        *BIOMASS,
        Key("humidity_ref_g_m3", float, "reference humidity, g/m3", default=0.0, low=0, high=50),
        Key(
            "day_ends_utc_h",
            int,
            "hour that ends a day of the evaluation",
            default=0,
            low=0,
            high=23,
        ),
        Key("season_begins", int, "first month evaluated", default=1, low=1, high=12),
        Key("season_ends", int, "last month evaluated", default=12, low=1, high=12),
        Key(
            "truth_grade",
            str,
            "A, B or C: grade of the truth, in place of the one from probes and samples",
            default="",
            pattern="[ABC]?",
        ),
        Key("truth_reason", str, "why truth_grade is given; needed with it", default=""),
    ),
    "soil": (
        Key("texture", str, "USDA class, information only", default=""),
        Key("bulk_density_g_cm3", float, "dry soil, g/cm3", True, low=0.5, high=2.2),
        Key("lattice_water_g_g", float, "water in minerals, g/g", default=0.0, low=0, high=0.4),
        Key(
            "organic_water_g_g", float, "organic matter as water, g/g", default=0.0, low=0, high=0.8
        ),
    ),
    "cover": COVER,
    "snow": SNOW,
    "records": (
        Key("files", list, "recorded files of the logger", True),
        Key("dialect", str, "the logger's format", True, choices=tuple(DIALECTS)),
        Key("columns", list, "column names, if the dialect does not know the header"),
        Key("count_columns", list, "columns with moderated counts, summed"),
        Key("interval_s", float, "seconds between records", default=3600.0, low=1, high=86400),
        Key("utc_offset_h", float, "clock ahead of UTC, hours", default=0.0, low=-14, high=14),
        Key(
            "corrected",
            bool,
            "counts are already corrected for pressure, humidity and intensity",
            default=False,
        ),
    ),
    "incoming": (
        Key("file", str, "of a monitor: CSV, plain or .gz, or .xlsx", default=""),
        Key("time", list, "column of the time; not for a download of NEST", single=True),
        *_CLOCK,
        Key("column", str, "column of the counts, or name of the monitor", default=""),
        Key("monitor", str, "short name of the monitor", default="", pattern=r"[A-Z0-9]{2,8}|"),
        *MONITOR,
        Key("form", str, "form of the intensity correction", True, choices=INCOMING_FORMS),
        Key(
            "ref",
            float,
            "count of the monitor, or muons per hour, for a factor of 1",
            True,
            low=1e-6,
            high=1e9,
        ),
        Key(
            "hold_h",
            float,
            "longest time with an unchanged value, hours",
            default=24.0,
            low=1,
            high=240,
        ),
        SOURCE,
        *MUONS,
    ),
    "rain": (
        *_TIME,
        Key("columns", list, "columns of amounts in mm, summed", True),
        Key("interval_h", float, "period of an amount, hours", default=24.0, low=0.01, high=24),
        Key(
            "end_h",
            float,
            "hours from the timestamp to the end of the period",
            default=0.0,
            low=-24,
            high=48,
        ),
    ),
    "biomass": _VALUE,
    "soil_temperature": (
        *_VALUE,
        Key("least_c", float, "days above this are evaluated", True, low=-50, high=50),
    ),
    "sampling": (
        Key("file", str, "CSV, plain or .gz, or .xlsx; not with kind probes", default=""),
        Key("time", list, "column of the date; without it all samples are of `day`", single=True),
        *_CLOCK,
        Key("value", str, "column of the water content; not with kind probes", default=""),
        Key(
            "kind",
            str,
            "quantity of the value; probes: the [[probe]] tables stand in for samples",
            True,
            choices=("theta", "water_g_g", "total_water_g_g", "probes"),
        ),
        Key(
            "day", str, "the one day of an evaluation; default: the first", default="", pattern=_ISO
        ),
        Key("days", list, "days of a calibration; default: `day`, or all"),
        Key("depth_column", str, "column of the depth in cm", default=""),
        Key(
            "bottom_column",
            str,
            "column of the lower end in cm; depth_column is then the upper end",
            default="",
        ),
        Key("distance_column", str, "column of the distance from the detector, m", default=""),
        Key("direction_column", str, "column of the direction, to separate profiles", default=""),
        Key("profile_column", str, "column of the profile's name", default=""),
        Key("bulk_density_column", str, "column of the sample's own density, g/cm3", default=""),
        Key("from_h", float, "counts from this hour of the day, UTC", low=-240, high=240),
        Key("to_h", float, "counts to this hour of the day, UTC", low=-240, high=240),
        Key("deepest_cm", float, "deeper samples are omitted", default=30.0, low=1, high=300),
        Key("crop_height_m", float, "height of the plants, m", default=0.0, low=0, high=60),
    ),
}
"""Keys of each table; those of a [[probe]] are in PROBE."""

PROBE = (
    *_TIME,
    Key("columns", list, "columns of one depth; those with a value are averaged", True),
    Key("depth_cm", float, "depth, information only", True, low=0, high=300),
    Key("weight", float, "weight in the mean of 0-30 cm", True, low=0, high=1000),
)
