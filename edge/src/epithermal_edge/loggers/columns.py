"""Plan which columns of a logger's table supply the values of a record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from epithermal_edge.errors import FrameError
from epithermal_edge.loggers import dialects
from epithermal_edge.loggers.channels import CHANNELS, Channel
from epithermal_edge.loggers.dialects import Dialect
from epithermal_edge.times import HOUR_S

NONE = -1
_LOOKS_LIKE = {
    "pressure_hpa": re.compile(r"press|baro|(^|_)(p|pa|hpa|mbar|mb)(_|\d|$)"),
    "temperature_c": re.compile(r"temp|(^|_)(t|ta|tair|airt)(_|\d|$)"),
    "relative_humidity_pct": re.compile(r"humid|(^|_)(hum|rh|hr|airrh|relhum)(_|\d|$)"),
}  # of names as words joined by _
_NOT_AIR = re.compile(r"(?i)soil|st_?\d|^sT|panel|logger|batt|vapou?r|sensor_temp")


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the logger in a station's configuration."""

    columns: tuple[str, ...] | None = None  # names in order, for a stream that sends no header
    count_columns: tuple[str, ...] | None = None  # columns to sum; None: the dialect's first tube
    interval_s: float = HOUR_S  # counting time if no column has it [s]
    utc_offset_h: float = 0.0  # the logger's clock minus UTC, if the stamp names no zone [h]
    use_inside_air: bool = False  # use the air inside the housing if there is no outside sensor
    rain_mm_per_tip: float | None = None  # None: tips of the rain gauge are not read


@dataclass(frozen=True, slots=True)
class Tube:
    """A column of counts."""

    column: int
    period_s: float  # period of the rate in the column [s]; 0: it holds a count
    duration: int  # column of its counting time, or NONE


@dataclass(frozen=True, slots=True)
class ChannelColumns:
    """Columns of an extra channel."""

    channel: Channel
    columns: tuple[int, ...]  # candidates, the most trusted first
    period_s: float  # period of the rate in the first column [s]; 0: it holds the value itself


@dataclass(frozen=True, slots=True)
class Plan:
    """Columns of each field of a record; a tuple lists candidates, the most trusted first."""

    header: tuple[str, ...]  # the names as given
    names: tuple[str, ...]  # without the empty one after a closing delimiter
    width: int  # number of names
    unnamed: bool  # whether the header has such an empty name
    time: tuple[int, ...]  # one column, or date and time of day
    clock: str  # format of the time, see `values.parse_time`
    tubes: tuple[Tube, ...]
    interval_s: float  # counting time that the counts' name implies [s]; 0: none
    pressure: tuple[int, ...]
    temperature: tuple[int, ...]
    humidity: tuple[int, ...]
    rain: tuple[int, ...]
    rain_scale: float  # mm for one unit of the column
    et0: tuple[int, ...]
    incoming: tuple[int, ...]
    battery: tuple[int, ...]
    housing: tuple[int, ...]
    first_tube: tuple[int, ...]
    number: int  # column of the running number, or NONE
    flag: tuple[int, ...] = ()  # column of the logger's or archive's own quality flag
    checksum: int = NONE  # column of the line's checksum, the last one, or NONE
    channels: tuple[ChannelColumns, ...] = ()
    conversions: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """Column to factor and offset, if its unit is not that of the field."""
    unknown_units: Mapping[int, str] = field(default_factory=dict)
    """Column to the reason why its values cannot be converted."""


def plain_name(name: str) -> str:
    """Return a column's name without case, blanks and punctuation: `P4 (mb)` gives `p4mb`."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def is_header(dialect: Dialect, cells: list[str]) -> bool:
    """Check whether a line names columns: one of its cells is the dialect's name for time."""
    return len(cells) > 1 and any(plain_name(cell) in dialect.time for cell in cells)


def plan_columns(dialect: Dialect, options: Options, names: tuple[str, ...]) -> Plan:
    """Plan which columns supply the values of a record.

    Parameters
    ----------
    names :
        The columns in order, from a header or from `options.columns`; an empty last name comes
        from the header's closing delimiter.

    Raises
    ------
    FrameError
        There is no column for the time or the counts, two for a value that is needed, or the
        checksum is not in the last one.
    """
    unnamed = len(names) > 1 and not names[-1]
    named = names[:-1] if unnamed else names
    plain = [plain_name(name) for name in named]
    time = _time(dialect, options, named, plain)
    tubes = _tubes(dialect, options, named, plain)
    tips = options.rain_mm_per_tip
    rain = _find(plain, dialects.RAIN)
    if not rain and tips is not None:
        rain, scale = _find(plain, dialects.RAIN_TIPS), tips
    else:
        scale = 1.0
    number = _find(plain, dialects.NUMBER)
    plan = Plan(
        header=names,
        names=named,
        width=len(named),
        unnamed=unnamed,
        time=time,
        clock="unix" if plain[time[0]] == dialects.UNIX else dialect.clock,
        tubes=tubes,
        interval_s=HOUR_S if plain[tubes[0].column].endswith("cum1h") else 0.0,
        pressure=_find(plain, dialects.PRESSURE),
        temperature=_air(plain, dialects.TEMPERATURE, dialects.INSIDE_TEMPERATURE, options),
        humidity=_air(plain, dialects.HUMIDITY, dialects.INSIDE_HUMIDITY, options),
        rain=rain,
        rain_scale=scale,
        et0=_find(plain, dialects.ET0),
        incoming=_find(plain, dialects.INCOMING),
        battery=_find(plain, dialects.BATTERY),
        housing=_find(plain, dialects.HOUSING_HUMIDITY),
        first_tube=_find(plain, dialects.FIRST_TUBE),
        number=number[0] if number else NONE,
        flag=_find(plain, (dialect.flag,) if dialect.flag else ()),
        checksum=_checksum(dialect, plain),
        conversions={
            plain.index(name): pair for name, pair in dialect.conversions.items() if name in plain
        },
    )
    _check_once(plan, plain)
    return replace(plan, channels=_channels(plan, plain))


def _checksum(dialect: Dialect, plain: list[str]) -> int:
    if not dialect.checksum or dialect.checksum not in plain:
        return NONE
    if plain.index(dialect.checksum) < len(plain) - 1:
        raise FrameError(f"{dialect.checksum} is not the last column")
    return len(plain) - 1


def _channels(plan: Plan, plain: list[str]) -> tuple[ChannelColumns, ...]:
    """Return the extra channels: columns that no field of the record uses."""
    first = plan.tubes[0]
    used = {*plan.temperature, *plan.humidity, *plan.housing[:1], first.column, first.duration}
    found = []
    for channel in CHANNELS:
        names = (plain_name(channel.name), *channel.names)
        columns = [plain.index(name) for name in names if plain.count(name) == 1]
        columns = [column for column in columns if column not in used]
        if columns:
            found.append(ChannelColumns(channel, tuple(columns), _period(plain[columns[0]])))
    return tuple(found)


def find_clash(
    dialect: Dialect, options: Options, columns: tuple[str, ...], header: tuple[str, ...]
) -> str:
    """Return how a header contradicts the configured columns of the same number; "": not at all.

    They contradict where both name a known quantity and not the same one. A name that is unknown
    to the dialect leaves the choice to `columns`.
    """
    quantity_of = _quantities(dialect)
    quantity_of.update((plain_name(name), "counts") for name in options.count_columns or ())
    for number, (own, other) in enumerate(zip(columns, header, strict=True), start=1):
        quantities = [quantity_of.get(plain_name(name), "") for name in (own, other)]
        if all(quantities) and quantities[0] != quantities[1]:
            return (
                f"column {number}: the header names {other!r} where columns names {own!r}; "
                "correct columns"
            )
    return ""


def _quantities(dialect: Dialect) -> dict[str, str]:
    """Return the quantity of each plain name that is known; inside and outside air are the same."""
    groups = {
        "time": (*dialect.time, "timeutc", "time"),
        "clock": dialects.CLOCK,
        "counts": (*dialect.counts, "counts"),
        "duration": dialects.DURATION,
        "pressure": dialects.PRESSURE,
        "temperature": (*dialects.TEMPERATURE, *dialects.INSIDE_TEMPERATURE),
        "humidity": (
            *dialects.HUMIDITY,
            *dialects.INSIDE_HUMIDITY,
            *dialects.HOUSING_HUMIDITY,
        ),
        "rain": (*dialects.RAIN, *dialects.RAIN_TIPS),
        "et0": dialects.ET0,
        "incoming": dialects.INCOMING,
        "battery": dialects.BATTERY,
    }
    return {name: quantity for quantity, names in groups.items() for name in names}


def unread_air(plan: Plan) -> tuple[str, ...]:
    """Return a warning for each column that looks like a value of the air which the plan lacks."""
    missing = {
        "pressure_hpa": plan.pressure,
        "temperature_c": plan.temperature,
        "relative_humidity_pct": plan.humidity,
    }
    out = []
    for name in plan.names:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower()
        for field_name, columns in missing.items():
            if not columns and not _known_elsewhere(name) and _LOOKS_LIKE[field_name].search(words):
                remedy = f"if it is {field_name}, set columns and call it so"
                out.append(f"column {name!r} is not read; {remedy}")
    return tuple(out)


def _known_elsewhere(name: str) -> bool:
    inside = (*dialects.INSIDE_TEMPERATURE, *dialects.INSIDE_HUMIDITY, *dialects.HOUSING_HUMIDITY)
    return plain_name(name) in inside or bool(_NOT_AIR.search(name))


def _find(plain: list[str], aliases: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(plain.index(alias) for alias in aliases if alias in plain)


def _air(
    plain: list[str], outside: tuple[str, ...], inside: tuple[str, ...], options: Options
) -> tuple[int, ...]:
    found = _find(plain, outside)
    return _find(plain, inside) if not found and options.use_inside_air else found


def _is_configured(dialect: Dialect, options: Options, names: tuple[str, ...]) -> bool:
    """Check whether the names come from the configuration or the dialect, not from a header.

    Such names may be those of RawRecord, and need no counting time.
    """
    return names in (options.columns, dialect.columns)


def _time(
    dialect: Dialect, options: Options, names: tuple[str, ...], plain: list[str]
) -> tuple[int, ...]:
    configured = _is_configured(dialect, options, names)
    names_of_time = (*dialect.time, *(("timeutc", "time", dialects.UNIX) if configured else ()))
    time = _find(plain, names_of_time)[:1]
    if not time:
        raise FrameError(f"no column for the time of {dialect.name} in: {_listed(names)}")
    return time if plain[time[0]] == dialects.UNIX else time + _find(plain, dialects.CLOCK)[:1]


def _tubes(
    dialect: Dialect, options: Options, names: tuple[str, ...], plain: list[str]
) -> tuple[Tube, ...]:
    configured = _is_configured(dialect, options, names)
    if options.count_columns is None:
        aliases = (*dialect.counts, *(("counts",) if configured else ()))
        columns = _find(plain, aliases)[:1]
        if not columns:
            raise FrameError(f"no column for counts in: {_listed(names)}; set count_columns")
    else:
        wanted = [plain_name(name) for name in options.count_columns]
        absent = [n for n, p in zip(options.count_columns, wanted, strict=True) if p not in plain]
        if absent or not wanted:
            raise FrameError(f"no count column {_listed(absent)} in: {_listed(names)}")
        if len(set(wanted)) < len(wanted):
            raise FrameError(f"count_columns names one twice: {_listed(options.count_columns)}")
        columns = tuple(plain.index(name) for name in wanted)
    tubes = tuple(Tube(i, _period(plain[i]), _duration(plain, plain[i])) for i in columns)
    if dialect.timed and tubes[0].duration == NONE and not configured:
        raise FrameError(f"no column for the counting time in: {_listed(names)}")
    return tubes


def _period(plain: str) -> float:
    if plain.endswith("cph"):
        return HOUR_S
    return 1.0 if plain.endswith("cps") else dialects.RATE_PERIOD_S.get(plain, 0.0)


def _duration(plain: list[str], tube: str) -> int:
    """Return the column of a tube's counting time: its own, else of a lower tube, else any.

    Rovers print one counting time per pair of tubes: N1ETsec, N3ETsec, ...
    """
    match = re.match(r"n([1-9])", tube)
    own = range(int(match[1]), 0, -1) if match else ()
    names = [name for k in own for name in (f"n{k}etsec", f"n{k}ets", f"e{k}")]
    found = _find(plain, (*names, *dialects.DURATION))
    return found[0] if found else NONE


def _check_once(plan: Plan, plain: list[str]) -> None:
    several = (plan.time, plan.pressure, plan.temperature, plan.humidity, plan.rain, plan.et0)
    used = {column for columns in (*several, plan.incoming, plan.flag) for column in columns}
    used.update(tube.column for tube in plan.tubes)
    used.update({plan.number, *(tube.duration for tube in plan.tubes)} - {NONE})
    twice = [plan.names[i] for i in sorted(used) if plain.count(plain[i]) > 1]
    if twice:
        raise FrameError(f"several columns are named {_listed(twice)}")


def _listed(names: tuple[str, ...] | list[str]) -> str:
    text = ", ".join(name.strip() for name in names)
    return text if len(text) <= 200 else text[:200] + " ..."
