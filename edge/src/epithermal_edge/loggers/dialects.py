"""Define the loggers' text formats as data: delimiter, time format, column names, missing values.

A new logger is a new row of `DIALECTS`, not a new parser: `columns` derives a plan from a header
with these tables, and `parser` reads lines by that plan. docs/detector-formats.md describes each
format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LINE_BYTES = 512  # a longer line is noise, except in dialects with a long header
LONG_LINE_BYTES = 2048

# Column names of all known loggers, compared without case, blanks and punctuation. The names of
# RawRecord's fields come first, so that the option `columns` can use them in every dialect. If a
# header has several names of a list, the first valid value in the list's order is used.
PRESSURE = (
    *("pressurehpa", "p4mb", "p3mb", "p2mb", "p1mb", "pmbar", "barometricpressureavg"),
    *(
        "airpressure",
        "pressure2mb",
        "pres2",
        "pressuremb",
        "pressure1",
        "pressure2",
        "press2",
        "press1",
    ),
    *("press", "baropress"),
)
TEMPERATURE = (
    *("temperaturec", "tcs215", "t7c", "t7", "temperatureextc", "airtemperatureavg"),
    *("airtemperature", "externaltemperatureoc", "extem", "etem", "airt"),
)
HUMIDITY = (
    *("relativehumiditypct", "rhcs215", "h7", "rh7", "ur", "relativehumidityavg"),
    *("airhumidityrelative", "externalrh", "exrh", "erh", "airrh"),
)
INSIDE_TEMPERATURE = (
    *("t1c", "t1degc", "t1", "temperatureinc", "ptempavg", "internaltemperatureoc", "item", "tem"),
    "airtemperaturesensor2",
)
INSIDE_HUMIDITY = ("rh1", "h1", "rh", "internalrh", "irh", "airhumidityrelativesensor2")
DURATION = ("durations", "n1etsec", "n1ets", "e1", "integrationtimes")
RAIN = ("rainmm", "precipitationtot", "precipitation", "rainmmtot")
RAIN_TIPS = ("raintips", "raincount")
ET0 = ("et0mm",)
INCOMING = ("incoming", "jung", "nmcounts")
BATTERY = (
    *("batteryv", "vbat", "bv", "battv", "batteryvoltagemin", "battvmin", "battvoltmin"),
    *("battvavg", "vinvolt", "batt"),
)
HOUSING_HUMIDITY = ("housinghumiditypct", "n1rh", "rh1", "h1", "internalrh", "irh")
FIRST_TUBE = ("firsttubecounts",)
UNIX = "unixs"  # Unix time, if the configuration names such a column
NUMBER = ("record",)  # running number of the line
CLOCK = ("hhmm", "utctime")  # time of day, if it has its own column

RATE_PERIOD_S = {"mode": 3600.0, "unmo": 3600.0}
"""Period [s] of columns that hold a rate although their name does not end in cph or cps."""

Intervals = tuple[tuple[float, float], ...]
"""Closed intervals of values."""

Sentinels = Mapping[str, Intervals]
"""Field of RawRecord to the values that mean "not measured"."""

_CODES: Intervals = ((-99.0, -99.0), (-999.0, -999.0), (-9999.0, -9999.0))
_FIELDS = (
    *("duration_s", "counts", "pressure_hpa", "temperature_c", "relative_humidity_pct"),
    *("rain_mm", "et0_mm", "incoming", "battery_v", "housing_humidity_pct"),
)
ARCHIVE: Sentinels = dict.fromkeys(_FIELDS, _CODES)
COSMOZ: Sentinels = {**ARCHIVE, "pressure_hpa": (*_CODES, (0.0, 0.0))}
CAMPBELL: Sentinels = dict.fromkeys(_FIELDS, (*_CODES, (-7999.0, -7999.0), (7999.0, 7999.0)))
FINAPP: Sentinels = {**ARCHIVE, "temperature_c": (*_CODES, (-2147483.6, -2147483.6))}
QUAESTA: Sentinels = {
    **ARCHIVE,
    "duration_s": (*_CODES, (0.0, 0.0), (65535.0, 65535.0)),
    "counts": (*_CODES, (65535.0, 65535.0)),
    "pressure_hpa": (*_CODES, (0.0, 0.0)),
    "temperature_c": (*_CODES, (128.9, 128.9), (157.0, 157.0), (254.0, 257.0)),
    "relative_humidity_pct": (*_CODES, (109.0, 109.0), (119.0, 119.0), (157.0, 157.0)),
    "rain_mm": (*_CODES, (65535.0, 65535.0)),
    "incoming": (*_CODES, (0.0, 0.0)),
    "battery_v": (*_CODES, (0.0, 0.0)),
    "housing_humidity_pct": (*_CODES, (0.0, 0.0), (109.0, 109.0), (119.0, 119.0), (157.0, 157.0)),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One logger's text format."""

    name: str
    title: str  # for messages and help
    time: tuple[str, ...]  # names of the time column; one of them makes a line a header
    counts: tuple[str, ...]  # names of the moderated tube's counts, best first
    sentinels: Sentinels
    delimiter: Literal[",", "\t", " ", "comma or tab", "comma or blanks", "json"] = ","
    clock: Literal["iso", "iso_z", "month_first"] = "iso"
    comments: tuple[str, ...] = ()  # prefixes of lines without a record
    flag: str = ""  # name of the quality column; other than 0: the counts are not used
    checksum: str = ""  # name of the column with the CRC-32 of the line before it
    conversions: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Column to factor and offset, if its unit is never that of the field."""
    units: tuple[str, ...] = ()  # prefixes of the line that has the unit of each column
    columns: tuple[str, ...] = ()  # names, for a logger that never writes a header
    line_bytes: int = LINE_BYTES
    fills_unnamed: bool = False  # lines have a value under the header's closing delimiter
    timed: bool = False  # a header without a column for the counting time is damaged
    least_live_share: float = 0.0  # counting time / interval_s below which the counts are invalid


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            name="hydroinnova",
            title="Hydroinnova or Lab-C detector with Quaesta logger, text with // header",
            time=("datetimeutc", "timeutc"),
            counts=("n1cts", "n1counts", "n1c"),
            timed=True,
            delimiter="comma or tab",
            comments=("//",),
            sentinels=QUAESTA,
        ),
        Dialect(
            name="quaesta_json",
            title="Quaesta logger over MQTT, one JSON object per line",
            time=("datetimeutc",),
            counts=("n1cts",),
            timed=True,
            delimiter="json",
            sentinels=QUAESTA,
            line_bytes=LONG_LINE_BYTES,
        ),
        Dialect(
            name="portal",
            title="report of the Quaesta telemetry portal",
            time=("messagedate",),
            counts=("n1samp",),
            timed=True,
            sentinels=QUAESTA,
        ),
        Dialect(
            name="quaesta_web",
            title="table of the Quaesta web page",
            time=("utc",),
            counts=("n1cph",),
            sentinels=QUAESTA,
            fills_unnamed=True,
        ),
        Dialect(
            name="toa5",
            title="Campbell Scientific TOA5 table",
            time=("timestamp",),
            counts=("counts1tot", "n1ctstot", "n1cts"),
            comments=('"TOA5"', '"",""'),
            units=('"TS"', "TS,"),
            sentinels=CAMPBELL,
            line_bytes=LONG_LINE_BYTES,
        ),
        Dialect(
            name="finapp",
            title="Finapp probe, CSV",
            time=("datetime",),
            counts=("neutrons",),
            timed=True,
            sentinels=FINAPP,
            least_live_share=0.5,
        ),
        Dialect(
            name="cosmos_europe",
            title="COSMOS-Europe archive",
            time=("datetimeutc",),
            counts=("neutroncountepithermalcum1h",),
            sentinels=ARCHIVE,
        ),
        Dialect(
            name="cosmos",
            title="COSMOS (Arizona) level 1",
            time=("yyyymmdd",),
            counts=("mode",),
            sentinels=ARCHIVE,
            delimiter=" ",
            comments=("UTC ",),
        ),
        Dialect(
            name="cosmoz",
            title="CosmOz (Australia) download",
            time=("utctimestamp",),
            counts=("count",),
            sentinels=COSMOZ,
            delimiter="comma or blanks",
            comments=("YYYY-MM-DDTHH:MM:SSZ",),
            flag="flag",
        ),
        Dialect(
            name="rdt",
            title="RDT tube set without header",
            time=("time",),
            counts=("counts1",),
            sentinels=ARCHIVE,
            clock="month_first",
            columns=(
                *("time", "pressure_hpa", "relative_humidity_pct", "temperature_c", "-", "-"),
                *("counts_1", "counts_2", "counts_3"),
            ),
        ),
        Dialect(
            name="styx",
            title="StyX Neutronica, ENV file without header",
            time=("utcdate",),
            counts=("ncps",),
            sentinels=ARCHIVE,
            delimiter="\t",
            clock="month_first",
            columns=(
                *("-", "unix_s", "battery_v", "housing_temperature_c", "iPress_Pa"),
                *("housing_humidity_pct", "temperature_c", "pressure_hpa"),
                *("relative_humidity_pct", *("-",) * 12, "N_cps", "UTCDate", "UTCTime"),
            ),
            conversions={"ipresspa": (0.01, 0.0)},
        ),
        Dialect(
            name="records",
            title="epithermal's own records.csv",
            time=("timeutc",),
            counts=("counts",),
            timed=True,
            clock="iso_z",
            comments=("#",),
            checksum="crc32",
            sentinels={"duration_s": ((0.0, 0.0),)},
            line_bytes=LONG_LINE_BYTES,
        ),
    )
}
