"""Keys of a site.toml: what is asked, its type and its range."""

from __future__ import annotations

from epithermal_edge.config.canopy import COVER
from epithermal_edge.config.toml_keys import Key
from epithermal_edge.loggers.dialects import DIALECTS

INCOMING_FORMS = ("none", "plain", "hawdon2014", "mcjannet2023")
_ISO = r"(\d{4}-\d{2}-\d{2})?"
_FILE = Key("file", str, "CSV, plain or .gz", True)
_CLOCK = (
    Key("time_format", str, "as strptime; default: ISO 8601", default=""),
    Key(
        "utc_offset_h", float, "hours that its clock is ahead of UTC", default=0.0, low=-14, high=14
    ),
    Key("delimiter", str, "between the columns", default=",", pattern="."),
    Key("header", list, "names of the columns of a file that has no line of them"),
)
_TIME = (_FILE, Key("time", str, "column of the date or time", True), *_CLOCK)
_VALUE = (*_TIME, Key("column", str, "column of the value", True))

TABLES: dict[str, tuple[Key, ...]] = {
    "site": (
        Key("name", str, "3 to 64 of a-z 0-9 -", True, pattern=r"[a-z0-9-]{3,64}"),
        Key("latitude_deg", float, "degrees north", True, low=-90, high=90),
        Key("longitude_deg", float, "degrees east", True, low=-180, high=180),
        Key("altitude_m", float, "metres above sea level", True, low=-450, high=6000),
        Key("cutoff_rigidity_gv", float, "geomagnetic cutoff in GV", True, low=0, high=20),
        Key("beta_per_hpa", float, "barometric coefficient, 1/hPa", low=0.003, high=0.015),
        Key("pressure_ref_hpa", float, "reference pressure, hPa", low=300, high=1100),
        Key(
            "day_ends_utc_h",
            int,
            "hour that ends a day of the evaluation",
            default=0,
            low=0,
            high=23,
        ),
        Key("season_begins", int, "first month that is judged", default=1, low=1, high=12),
        Key("season_ends", int, "last month that is judged", default=12, low=1, high=12),
    ),
    "soil": (
        Key("texture", str, "USDA class, for the reader", default=""),
        Key("bulk_density_g_cm3", float, "dry soil, g/cm3", True, low=0.5, high=2.2),
        Key("lattice_water_g_g", float, "water in minerals, g/g", default=0.0, low=0, high=0.4),
        Key(
            "organic_water_g_g", float, "organic matter as water, g/g", default=0.0, low=0, high=0.8
        ),
    ),
    "cover": COVER,
    "records": (
        Key("files", list, "recorded files of the logger", True),
        Key("dialect", str, "the logger's format", True, choices=tuple(DIALECTS)),
        Key("columns", list, "column names where the dialect does not know the header"),
        Key("count_columns", list, "the columns with moderated counts, summed"),
        Key("interval_s", float, "seconds between records", default=3600.0, low=1, high=86400),
        Key("utc_offset_h", float, "clock ahead of UTC, hours", default=0.0, low=-14, high=14),
        Key("corrected", bool, "pressure, vapour, intensity are taken out already", default=False),
    ),
    "incoming": (
        *_VALUE,
        Key("form", str, "how intensity is corrected", True, choices=INCOMING_FORMS),
        Key("ref", float, "monitor's count where the factor is 1", True, low=1e-6, high=1e9),
        Key(
            "hold_h", float, "hours that a value may stand unchanged", default=24.0, low=1, high=240
        ),
    ),
    "rain": (
        *_TIME,
        Key("columns", list, "columns of amounts in mm, summed", True),
        Key("interval_h", float, "time that an amount stands for", default=24.0, low=0.01, high=24),
        Key(
            "end_h", float, "hours from the stamp to that time's end", default=0.0, low=-24, high=48
        ),
    ),
    "soil_temperature": (*_VALUE, Key("least_c", float, "judged above", True, low=-50, high=50)),
    "sampling": (
        _FILE,
        Key("time", str, "column of the date; without it all is of `day`", default=""),
        *_CLOCK,
        Key("value", str, "column of the water content", True),
        Key("kind", str, "what it is", True, choices=("theta", "water_g_g", "total_water_g_g")),
        Key(
            "day", str, "the one day to calibrate on; default: the first", default="", pattern=_ISO
        ),
        Key("days", list, "the days that calibrate sees; default: `day`, or all"),
        Key("depth_column", str, "column of the depth in cm", default=""),
        Key("bottom_column", str, "of the lower end; depth_column is the upper one", default=""),
        Key("distance_column", str, "column of the distance from the detector, m", default=""),
        Key("direction_column", str, "column of the direction, to tell profiles apart", default=""),
        Key("profile_column", str, "column of the profile's name", default=""),
        Key("bulk_density_column", str, "column of the sample's own density, g/cm3", default=""),
        Key("from_h", float, "counts from this hour of the day, UTC", low=-240, high=240),
        Key("to_h", float, "counts to this hour of the day, UTC", low=-240, high=240),
        Key("deepest_cm", float, "samples below are left out", default=30.0, low=1, high=300),
    ),
}
"""Keys of each table; a [[probe]] has those of PROBE."""

PROBE = (
    *_TIME,
    Key("columns", list, "columns of one depth, averaged over those that have a value", True),
    Key("depth_cm", float, "for the reader", True, low=0, high=300),
    Key("weight", float, "in the mean of 0-30 cm", True, low=0, high=1000),
)
