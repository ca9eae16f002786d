"""Describe the file formats of weather services: columns and units of daily values."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import replace

from epithermal_edge.config.toml_keys import describe_unknown
from epithermal_edge.errors import ConfigError
from epithermal_host.tables.cells import EMPTY, parse_number
from epithermal_host.tables.description import TableFile, parse_column
from epithermal_host.tables.quantities import WEATHER
from epithermal_host.tables.rows import read_rows
from epithermal_host.weather.text_table import Layout

MJ_PER_KWH = 3.6
MJ_D_PER_W = 0.0864  # MJ d-1 of a mean of 1 W
KNMI_TRACE_MM = -0.1  # written as -1: less than half of the unit


def knmi(file: TableFile, lines: list[str], columns: Mapping[str, str]) -> Layout:
    """Describe a daily file of the KNMI (etmgeg_260.txt, or output of its script service).

    A table of stations in the header, if present, gives latitude and altitude. Pressure is
    reduced to sea level, wind is measured at 10 m, EV24 is Makkink's reference evaporation.

    Raises
    ------
    ConfigError
        No line names the columns.
    """
    header = _header_line(lines, "YYYYMMDD", "KNMI: no line '# STN,YYYYMMDD,...' with the columns")
    names = [name.strip().lstrip("# ") for name in lines[header].split(",")]
    tenth = {"RH": "rain_mm", "TN": "t_min_c", "TX": "t_max_c", "TG": "t_mean_c", "EV24": "et0_mm"}
    tenth |= {"PG": "pressure_msl_hpa", "FG": "wind_10m_m_s"}
    by_field = {name: f"{code} * 0.1" for code, name in tenth.items() if code in names}
    percent = {"UG": "relative_humidity_pct", "UN": "rh_min_pct", "UX": "rh_max_pct"}
    by_field |= {name: code for code, name in percent.items() if code in names}
    if "Q" in names:
        by_field["radiation_mj_m2"] = "Q * 0.01"  # J cm-2 -> MJ m-2
    place = re.compile(r"#?\s*\d{3}:?\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s+\S")
    places = [m for m in (place.match(line) for line in lines[:header]) if m]
    return Layout(
        replace(file, delimiter=",", header=tuple(names), skip=header + 1),
        dates=("YYYYMMDD",),
        columns=by_field,
        station="STN" if "STN" in names else None,
        trace={"rain_mm": KNMI_TRACE_MM},
        latitude_deg=float(places[0].group(2)) if len(places) == 1 else None,
        altitude_m=float(places[0].group(3)) if len(places) == 1 else None,
        et0_name="EV24, Makkink",
    )


def kmi(file: TableFile, lines: list[str], columns: Mapping[str, str]) -> Layout:
    """Describe a daily CSV file of the KMI (RMI of Belgium): stations (aws_1day) or climate grid.

    Stations: pressure at the station, mean radiation in W m-2, wind at 10 m. Grid: pressure
    reduced to sea level, radiation in kWh m-2, days from 8 h to 8 h.

    Raises
    ------
    ConfigError
        No header with `precip_quantity`.
    """
    header = _header_line(lines, "precip_quantity", "KMI: no header with 'precip_quantity'")
    delimiter, names = _split_header(lines[header].lower())
    grid = "pixel_id" in names
    same = {"precip_quantity": "rain_mm", "temp_min": "t_min_c", "temp_max": "t_max_c"}
    same |= {"temp_avg": "t_mean_c", "evapotrans_ref": "et0_mm"}
    same |= dict.fromkeys(
        ("humidity_relative", "humidity_rel_shelter_avg"), "relative_humidity_pct"
    )
    same |= {"wind_speed_10m": "wind_10m_m_s", "wind_speed": "wind_10m_m_s"}
    same["pressure"] = "pressure_msl_hpa" if grid else "pressure_hpa"
    by_field = {same[name]: name for name in names if name in same}
    for name, factor in (
        ("short_wave_from_sky_avg", MJ_D_PER_W),
        ("short_wave_from_sky", MJ_PER_KWH),
    ):
        if name in names:
            by_field["radiation_mj_m2"] = f"{name} * {factor}"
    date = next((n for n in ("timestamp", "day", "date") if n in names), None)
    if date is None:
        raise ConfigError(f"line {header + 1}: KMI: no column 'timestamp' or 'day'")
    station = next((n for n in ("code", "pixel_id") if n in names), None)
    return Layout(
        replace(file, delimiter=delimiter, header=tuple(names), skip=header + 1),
        dates=(date,),
        columns=by_field,
        station=station,
        latitude_deg=_belgian_latitude(lines, header),
        et0_name="evapotrans_ref of the KMI",
    )


def _belgian_latitude(lines: list[str], header: int) -> float | None:
    """Parse the latitude of the first station; the order of its coordinates varies by service."""
    for line in lines[header + 1 : header + 2]:
        if match := re.search(r"POINT ?\((-?\d+\.?\d*) (-?\d+\.?\d*)\)", line):
            return next((v for v in map(float, match.groups()) if 49.0 < v < 52.0), None)
    return None


def open_meteo(file: TableFile, lines: list[str], columns: Mapping[str, str]) -> Layout:
    """Describe a daily CSV file of Open-Meteo (ERA5 and others), with units in its header.

    Raises
    ------
    ConfigError
        No daily table, an unknown unit, or times in seconds.
    """
    header = _header_line(lines, "precipitation_sum", "Open-Meteo: no column precipitation_sum")
    known = {"precipitation_sum": "rain_mm", "et0_fao_evapotranspiration": "et0_mm"}
    known |= {f"temperature_2m_{k}": f"t_{k}_c" for k in ("min", "max", "mean")}
    known |= {"et0_fao_evapotranspiration_sum": "et0_mm", "surface_pressure_mean": "pressure_hpa"}
    known |= {"pressure_msl_mean": "pressure_msl_hpa", "shortwave_radiation_sum": "radiation_mj_m2"}
    known |= {"relative_humidity_2m_mean": "relative_humidity_pct"}
    known |= {f"relative_humidity_2m_{k}": f"rh_{k}_pct" for k in ("min", "max")}
    known |= {"wind_speed_10m_mean": "wind_10m_m_s", "windspeed_10m_mean": "wind_10m_m_s"}
    delimiter, names = _split_header(lines[header])
    by_field, faults = {}, []
    for name in names:
        match = re.fullmatch(r"(\w+)(?: \((.*)\))?", name)
        if match is None or match.group(1) not in known:
            continue
        unit = match.group(2) or ""
        if unit not in OPEN_METEO_UNITS:
            faults.append(f"line {header + 1}: {name}: unknown unit; request SI units")
            continue
        by_field[known[match.group(1)]] = name + OPEN_METEO_UNITS[unit]
    if "time" not in names and "date" not in names:
        faults.append(f"line {header + 1}: Open-Meteo: no column 'time'")
    if faults:
        raise ConfigError(*faults)
    end = next((i for i in range(header + 2, len(lines)) if not lines[i].strip()), 0)
    place = _open_meteo_place(lines[:header])
    return Layout(
        replace(file, delimiter=delimiter, header=tuple(names), skip=header + 1, end=end),
        dates=("time" if "time" in names else "date",),
        columns=by_field,
        station="location_id" if "location_id" in names else None,
        latitude_deg=place.get("latitude"),
        altitude_m=place.get("elevation"),
        et0_name="et0_fao_evapotranspiration, FAO-56",
    )


OPEN_METEO_UNITS = {  # conversion to the unit of the field
    "mm": "",
    "inch": " * 25.4",
    "°C": "",
    "°F": " * 5/9 - 160/9",
    "hPa": "",
    "%": "",
    "MJ/m²": "",
    "km/h": " * 1/3.6",
    "m/s": "",
    "mp/h": " * 0.44704",
    "kn": " * 0.514444",
}


def _open_meteo_place(head: list[str]) -> dict[str, float]:
    """Parse the location in the block before the table; empty for several locations."""
    rows = [line.split(",") for line in head if line.strip()]
    if len(rows) != 2 or len(rows[0]) != len(rows[1]) or "latitude" not in rows[0]:
        return {}
    place = {}
    for name, text in zip(*rows, strict=True):
        if name in ("latitude", "elevation") and text.lower() not in EMPTY:
            place[name] = float(text)
    return place


def plain_csv(file: TableFile, lines: list[str], columns: Mapping[str, str]) -> Layout:
    """Describe any table by a map of fields to columns.

    Parameters
    ----------
    file :
        The file and how it is written; an empty delimiter is guessed from the first line.
    lines :
        Lines of the file; none of a spreadsheet.
    columns :
        Column of each field, for example rain_mm = "precip_mm" or, converted to the field's unit,
        t_min_c = "t2m - 273.15"; `date` is the column of the date, or several joined by +. A
        column with the name of a field needs no entry.

    Raises
    ------
    ConfigError
        The header lacks a column, or a conversion cannot be parsed.
    """
    file = replace(file, delimiter=file.delimiter or _guess_delimiter(file, lines))
    names, _ = read_rows(file)
    wanted = {name: name for name in (*WEATHER, "date") if name in names} | dict(columns)
    if "date" not in wanted:
        raise ConfigError(f"columns: no column for date; add date=<column>{_remedy(file, names)}")
    date = wanted.pop("date")
    dates = (date,) if date in names else tuple(part.strip() for part in date.split("+"))
    faults = []
    for field, text in [*(("date", part) for part in dates), *wanted.items()]:
        try:
            parse_column(text, names)
        except ConfigError as fault:
            if fault.faults != (describe_unknown(f"column {text!r}", text, names),):
                faults += [f"columns: {field}: {line}" for line in fault.faults]
            else:
                have = f"columns: {', '.join(names)}{_remedy(file, names)}"
                faults.append(f"no column {text!r} for {field}; {have}")
    if faults:
        raise ConfigError(*faults)
    given = parse_column(wanted["et0_mm"], names).name if "et0_mm" in wanted else ""
    return Layout(file, dates, wanted, et0_name=f"column {given}")


def _guess_delimiter(file: TableFile, lines: list[str]) -> str:
    """Guess the delimiter from the first line of the table; a blank if it has no other."""
    below = (line for line in lines[file.skip :] if line.strip() and not line.startswith("#"))
    first = next(below, ",")
    marks = ";\t" if file.decimal == "," else ",;\t"
    return max(marks, key=first.count) if any(mark in first for mark in marks) else " "


def _remedy(file: TableFile, names: list[str]) -> str:
    """Suggest why the names of columns are not those expected; empty: no idea."""
    if file.header:
        return ""
    if any(parse_number(name, file.decimal) == parse_number(name, file.decimal) for name in names):
        return "; a file without a line of names? name its columns: --header NAME,NAME,..."
    if len(names) == 1:
        return "; a title above the line of names? leave it out: --skip 1; or another --delimiter?"
    return ""


def _header_line(lines: list[str], word: str, fault: str) -> int:
    """Return the index of the header line: the last line with the word and a delimiter."""
    with_word = (i for i, line in enumerate(lines[:2000]) if word in line.replace('"', ""))
    headers = [i for i in with_word if re.search(r"[,;\t]", lines[i]) and "=" not in lines[i]]
    if not headers:
        raise ConfigError(f"{fault}; check the format")
    return headers[-1]


def _split_header(line: str) -> tuple[str, list[str]]:
    delimiter = max(",;\t", key=line.count)
    return delimiter, [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
