"""Describe the file formats of weather services: columns and units of daily values."""

from __future__ import annotations

import re
from collections.abc import Mapping

from epithermal_edge.errors import ConfigError
from epithermal_host.tables.cells import EMPTY
from epithermal_host.weather.text_table import FIELDS, Column, Layout

MJ_PER_KWH = 3.6
MJ_D_PER_W = 0.0864  # MJ d-1 of a mean of 1 W
KNMI_TRACE = -1.0  # KNMI: less than half of the unit


def knmi(lines: list[str], columns: Mapping[str, str]) -> Layout:
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
    by_field = {
        name: Column(names.index(code), code, 0.1, trace=KNMI_TRACE if code == "RH" else None)
        for code, name in tenth.items()
        if code in names
    }
    if "UG" in names:
        by_field["relative_humidity_pct"] = Column(names.index("UG"), "UG")
    if "Q" in names:
        by_field["radiation_mj_m2"] = Column(names.index("Q"), "Q", 0.01)  # J cm-2 -> MJ m-2
    place = re.compile(r"#?\s*\d{3}:?\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s+\S")
    places = [m for m in (place.match(line) for line in lines[:header]) if m]
    return Layout(
        begin=header + 1,
        delimiter=",",
        date=names.index("YYYYMMDD"),
        columns=by_field,
        station=names.index("STN") if "STN" in names else None,
        latitude_deg=float(places[0].group(2)) if len(places) == 1 else None,
        altitude_m=float(places[0].group(3)) if len(places) == 1 else None,
        et0_name="EV24, Makkink",
    )


def kmi(lines: list[str], columns: Mapping[str, str]) -> Layout:
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
    by_field = {same[n]: Column(i, n) for i, n in enumerate(names) if same.get(n)}
    for name, factor in (
        ("short_wave_from_sky_avg", MJ_D_PER_W),
        ("short_wave_from_sky", MJ_PER_KWH),
    ):
        if name in names:
            by_field["radiation_mj_m2"] = Column(names.index(name), name, factor)
    date = next((n for n in ("timestamp", "day", "date") if n in names), None)
    if date is None:
        raise ConfigError(f"line {header + 1}: KMI: no column 'timestamp' or 'day'")
    station = next((n for n in ("code", "pixel_id") if n in names), None)
    return Layout(
        begin=header + 1,
        delimiter=delimiter,
        date=names.index(date),
        columns=by_field,
        station=None if station is None else names.index(station),
        latitude_deg=_belgian_latitude(lines, header),
        et0_name="evapotrans_ref of the KMI",
    )


def _belgian_latitude(lines: list[str], header: int) -> float | None:
    """Parse the latitude of the first station; the order of its coordinates varies by service."""
    for line in lines[header + 1 : header + 2]:
        if match := re.search(r"POINT ?\((-?\d+\.?\d*) (-?\d+\.?\d*)\)", line):
            return next((v for v in map(float, match.groups()) if 49.0 < v < 52.0), None)
    return None


def open_meteo(lines: list[str], columns: Mapping[str, str]) -> Layout:
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
    known |= {"wind_speed_10m_mean": "wind_10m_m_s", "windspeed_10m_mean": "wind_10m_m_s"}
    delimiter, names = _split_header(lines[header])
    by_field, faults = {}, []
    for i, name in enumerate(names):
        match = re.fullmatch(r"(\w+)(?: \((.*)\))?", name)
        if match is None or match.group(1) not in known:
            continue
        unit = match.group(2) or ""
        if unit not in OPEN_METEO_UNITS:
            faults.append(f"line {header + 1}: {name}: unknown unit; request SI units")
            continue
        by_field[known[match.group(1)]] = Column(i, name, *OPEN_METEO_UNITS[unit])
    if "time" not in names and "date" not in names:
        faults.append(f"line {header + 1}: Open-Meteo: no column 'time'")
    if faults:
        raise ConfigError(*faults)
    date = names.index("time" if "time" in names else "date")
    place = _open_meteo_place(lines[:header])
    return Layout(
        begin=header + 1,
        delimiter=delimiter,
        date=date,
        columns=by_field,
        station=names.index("location_id") if "location_id" in names else None,
        latitude_deg=place.get("latitude"),
        altitude_m=place.get("elevation"),
        et0_name="et0_fao_evapotranspiration, FAO-56",
        ends_blank=True,
    )


OPEN_METEO_UNITS: dict[str, tuple[float, float]] = {  # factor, offset
    "mm": (1.0, 0.0),
    "inch": (25.4, 0.0),
    "°C": (1.0, 0.0),
    "°F": (5.0 / 9.0, -32.0 * 5.0 / 9.0),
    "hPa": (1.0, 0.0),
    "%": (1.0, 0.0),
    "MJ/m²": (1.0, 0.0),
    "km/h": (1.0 / 3.6, 0.0),
    "m/s": (1.0, 0.0),
    "mp/h": (0.44704, 0.0),
    "kn": (0.514444, 0.0),
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


def plain_csv(lines: list[str], columns: Mapping[str, str]) -> Layout:
    """Describe any table with a header line, by a map of fields to columns.

    Parameters
    ----------
    lines :
        Lines of the file.
    columns :
        Column of each field, for example rain_mm = "precip_mm" or, with a factor that converts to
        the field's unit, rain_mm = "precip_m * 1000"; `date` is the column of the date. A column
        with the name of a field needs no entry.

    Raises
    ------
    ConfigError
        The header lacks a column.
    """
    head = next((i for i, line in enumerate(lines) if line.strip() and line[0] != "#"), None)
    if head is None:
        raise ConfigError("the file is empty")
    delimiter, names = _split_header(lines[head])
    wanted = {name: name for name in (*FIELDS, "date") if name in names} | dict(columns)
    by_field, faults = {}, []
    for name, text in wanted.items():
        column, _, factor = (part.strip() for part in text.partition("*"))
        if column not in names:
            have = ", ".join(names)
            faults.append(f"line {head + 1}: no column {column!r} for {name}; columns: {have}")
        elif factor and not re.fullmatch(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?", factor):
            faults.append(f"columns: {name} = {text!r}: write 'column * number'")
        else:
            by_field[name] = Column(names.index(column), column, float(factor or 1.0))
    if "date" not in wanted:
        faults.append("columns: no column for date; add date=<column>")
    if faults:
        raise ConfigError(*faults)
    date = by_field.pop("date").index
    given = by_field["et0_mm"].name if "et0_mm" in by_field else ""
    return Layout(head + 1, delimiter, date, by_field, et0_name=f"column {given}")


def _header_line(lines: list[str], word: str, fault: str) -> int:
    """Return the index of the header line: the last line with the word and a delimiter."""
    with_word = (i for i, line in enumerate(lines[:2000]) if word in line.replace('"', ""))
    headers = [i for i in with_word if re.search(r"[,;\t]", lines[i]) and "=" not in lines[i]]
    if not headers:
        raise ConfigError(f"{fault}; check the format")
    return headers[-1]


def _split_header(line: str) -> tuple[str, list[str]]:
    delimiter = max(",;\t", key=line.count)
    return delimiter, [name.strip().strip('"') for name in line.split(delimiter)]
