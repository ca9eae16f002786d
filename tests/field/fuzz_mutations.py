"""Change a site's tables as people do: units, signs, codes, separators, columns, dates.

Left out, because no program can notice it: counts times a constant (another detector: N is
proportional to them), a water content or a density times 0.7 to 1.4 (another field), a date that is
wrong by a day, two tubes exchanged (both are neutrons), a monitor's count times 0.7 to 1.4 (its
sun), single rains in another unit (other rains), temperatures times -1 or a power of ten (another
season), a clock that is wrong by a few hours, and a cutoff rigidity or a place that is wrong by a
little.
"""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.field.fuzz_sites import Case, Sheet

CODES = ("-9999", "-999", "-99", "-7999", "NaN", "NA", "", "n/a", "-", "9999", "999.9", "1e30",
         "---", "<0.01", "missing", "#DIV/0!", "-8888", "0")  # fmt: skip


class InapplicableError(Exception):
    """The mutation does not fit this site."""


@dataclass(frozen=True)
class Target:
    """A column of numbers in a file."""

    file: str
    column: int
    quantity: str


def targets(case: Case) -> list[Target]:
    """List the columns of numbers that the site's tables name."""
    t = case.tables
    named: list[tuple[str, str, str]] = []
    s = t["sampling"]
    for key, quantity in (
        ("value", "water"), ("depth_column", "depth"), ("bottom_column", "depth"),
        ("distance_column", "distance"), ("bulk_density_column", "density"),
    ):  # fmt: skip
        if key in s:
            named.append((s["file"], s[key], quantity))
    if "incoming" in t:
        named.append((t["incoming"]["file"], t["incoming"]["column"], "monitor"))
    if "rain" in t:
        named += [(t["rain"]["file"], name, "rain") for name in t["rain"]["columns"]]
    if "soil_temperature" in t:
        x = t["soil_temperature"]
        named.append((x["file"], x["column"], "soil temperature"))
    for probe in t.get("probe", ()):
        named += [(probe["file"], name, "probe") for name in probe["columns"]]
    file = t["records"]["files"][0]
    names = case.sheets[file].names
    for quantity, known in _RECORDS.items():
        named += [(file, name, quantity) for name in names if name in known]
    return [Target(f, case.sheets[f].names.index(name), q) for f, name, q in named]


_RECORDS = {
    "counts": ("counts", "N1_cts", "counts_1_Tot", "counts_2_Tot"),
    "pressure": ("pressure_hpa", "BaroPress", "barometric_pressure_Avg"),
    "temperature": ("temperature_c", "airT", "air_temperature_Avg"),
    "humidity": ("relative_humidity_pct", "airRH", "relative_humidity_Avg"),
}
UNITS: dict[str, dict[str, tuple[float, float]]] = {
    "water": {"percent": (100.0, 0.0), "g/kg": (1000.0, 0.0)},
    "depth": {"mm": (10.0, 0.0), "m": (0.01, 0.0)},
    "distance": {"km": (0.001, 0.0), "cm": (100.0, 0.0)},
    "density": {"kg/m3": (1000.0, 0.0), "lb/ft3": (62.43, 0.0)},
    "monitor": {"per minute": (60.0, 0.0), "percent": (0.6, 0.0), "per hour": (3600.0, 0.0)},
    "rain": {"inch": (1 / 25.4, 0.0), "0.1 mm": (10.0, 0.0), "m": (0.001, 0.0)},
    "soil temperature": {"degF": (1.8, 32.0), "K": (1.0, 273.15)},
    "probe": {"percent": (100.0, 0.0), "per mille": (1000.0, 0.0)},
    "counts": {"per second": (1 / 3600.0, 0.0)},
    "pressure": {"Pa": (100.0, 0.0), "kPa": (0.1, 0.0), "mmHg": (0.750062, 0.0),
                 "inHg": (0.02953, 0.0), "sea level": (1.0, 60.0)},
    "temperature": {"degF": (1.8, 32.0), "K": (1.0, 273.15)},
    "humidity": {"fraction": (0.01, 0.0)},
}  # fmt: skip


def map_cells(sheet: Sheet, column: int, change: Callable[[str], str], rows: Any = None) -> None:
    """Change the cells of a column, or of some of its rows."""
    body = sheet.body()
    for i in range(len(body)) if rows is None else rows:
        if column < len(body[i]):
            body[i][column] = change(body[i][column])


def linear(factor: float, offset: float) -> Callable[[str], str]:
    """Return a change of a number in a cell; other text stays."""

    def change(cell: str) -> str:
        try:
            value = float(cell)
        except ValueError:
            return cell
        return f"{value * factor + offset:.9g}" if math.isfinite(value) else cell

    return change


def _some_rows(rng: random.Random, sheet: Sheet) -> list[int]:
    """Choose all rows, a block of them, or single ones."""
    n = len(sheet.body())
    how = rng.choice(("all", "block", "few"))
    if how == "all":
        return list(range(n))
    if how == "block":
        first = rng.randrange(n)
        return list(range(first, min(first + max(n // 3, 1), n)))
    return sorted(rng.sample(range(n), max(min(n, 3), n // 50)))


def _target(rng: random.Random, case: Case, *quantities: str) -> Target:
    fitting = [t for t in targets(case) if not quantities or t.quantity in quantities]
    if not fitting:
        raise InapplicableError
    return rng.choice(fitting)


def unit(rng: random.Random, case: Case) -> str:
    """Write a column, or some of its rows, in another unit."""
    quantity = rng.choice(sorted({t.quantity for t in targets(case)}))
    name, (factor, offset) = rng.choice(sorted(UNITS[quantity].items()))
    every = [t for t in targets(case) if t.quantity == quantity]
    chosen = every if quantity in ("depth", "counts") else [rng.choice(every)]
    sheet = case.sheets[chosen[0].file]
    rows = _some_rows(rng, sheet) if rng.random() < 0.3 else None
    rows = None if quantity == "rain" else rows
    for t in chosen:
        map_cells(sheet, t.column, linear(factor, offset), rows)
    return f"{quantity} in {name}{'' if rows is None else f' in {len(rows)} rows'}"


def sign(rng: random.Random, case: Case) -> str:
    """Change the sign of a column, or of some of its rows."""
    t = _target(rng, case, *(q for q in UNITS if "temperature" not in q))
    rows = _some_rows(rng, case.sheets[t.file])
    map_cells(case.sheets[t.file], t.column, linear(-1.0, 0.0), rows)
    return f"{t.quantity} negative in {len(rows)} rows"


def code(rng: random.Random, case: Case) -> str:
    """Replace cells by a code for no value, or by a word."""
    t, word = _target(rng, case), rng.choice(CODES)
    rows = _some_rows(rng, case.sheets[t.file])
    map_cells(case.sheets[t.file], t.column, lambda _: word, rows)
    return f"{t.quantity} {word!r} in {len(rows)} rows"


def scale(rng: random.Random, case: Case) -> str:
    """Multiply a column by a power of ten."""
    t = _target(rng, case, *(q for q in UNITS if q != "counts"))
    if "temperature" in t.quantity:
        raise InapplicableError
    factor = rng.choice((0.001, 0.01, 0.1, 10.0, 100.0, 1000.0))
    map_cells(case.sheets[t.file], t.column, linear(factor, 0.0))
    return f"{t.quantity} times {factor:g}"


def _tables_of(case: Case, file: str) -> list[dict[str, Any]]:
    every = [x for v in case.tables.values() for x in (v if isinstance(v, list) else [v])]
    return [x for x in every if x.get("file") == file]


def separator(rng: random.Random, case: Case) -> str:
    """Write a file with another separator, declared or not."""
    file = rng.choice(sorted(case.sheets))
    mark = rng.choice([m for m in (";", "\t", " ", "|", ",") if m != case.sheets[file].delimiter])
    case.sheets[file].delimiter = mark
    declared = rng.random() < 0.5
    for table in _tables_of(case, file) if declared else ():
        table["delimiter"] = mark
    return f"{mark!r} between the columns, {'declared' if declared else 'not declared'}"


def decimal(rng: random.Random, case: Case) -> str:
    """Write decimal commas, with or without another separator, declared or not."""
    t = _target(rng, case)
    sheet, tables = case.sheets[t.file], _tables_of(case, t.file)
    for column in range(len(sheet.names)) if rng.random() < 0.5 else [t.column]:
        map_cells(sheet, column, lambda cell: cell.replace(".", ",") if _is_number(cell) else cell)
    how = rng.choice(("comma separated", "semicolons", "declared", "quoted"))
    if how == "quoted":
        map_cells(sheet, t.column, lambda cell: f'"{cell}"' if "," in cell else cell)
    elif how != "comma separated":
        sheet.delimiter = ";"
        for table in tables:
            table["delimiter"] = ";"
            if how == "declared":
                table["decimal"] = ","
    return f"decimal commas, {how}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def shift(rng: random.Random, case: Case) -> str:
    """Shift names against values, or the cells of some rows."""
    file = rng.choice(sorted(case.sheets))
    sheet = case.sheets[file]
    how = rng.choice(("name more", "name less", "rotated", "cell more", "cell less", "turned"))
    if how in ("name more", "name less", "rotated"):
        if not sheet.head:
            raise InapplicableError
        for row in sheet.rows[: sheet.head]:
            if how == "name more":
                row.insert(rng.randrange(len(row) + 1), "extra")
            elif how == "name less" and len(row) > 1:
                row.pop(rng.randrange(len(row)))
            elif how == "rotated":
                row.append(row.pop(0))
        return how
    body = sheet.body()
    rows = _some_rows(rng, sheet)
    for i in rows:
        if how == "cell more":
            body[i].insert(rng.randrange(len(body[i])), "")
        elif how == "cell less":
            body[i].pop(rng.randrange(len(body[i])))
        else:  # the row keeps its width
            body[i].append(body[i].pop(0))
    return f"{how} in {len(rows)} rows"


def swap(rng: random.Random, case: Case) -> str:
    """Exchange the values of two columns of a file."""
    t = _target(rng, case)
    others = [
        o for o in targets(case)
        if o.file == t.file and o.column != t.column
        and o.quantity != t.quantity
    ]  # fmt: skip
    if not others:
        raise InapplicableError
    other = rng.choice(others)
    for row in case.sheets[t.file].body():
        if max(t.column, other.column) < len(row):
            a, b = t.column, other.column
            row[a], row[b] = row[b], row[a]
    return f"{t.quantity} and {other.quantity} exchanged"


def date(rng: random.Random, case: Case) -> str:
    """Write the dates of a file in another form, with or without declaring it."""
    file = rng.choice(sorted(case.sheets))
    sheet = case.sheets[file]
    form = rng.choice(("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%y %H:%M", "%Y%m%d%H%M",
                       "%d-%b-%Y %H:%M", "%s", "excel", "%Y-%m-%dT%H:%M:%SZ"))  # fmt: skip
    at, old = _time_column(case, file)

    def change(cell: str) -> str:
        cell = cell.strip('"')
        stamp = (
            datetime.datetime.strptime(cell, old) if old else datetime.datetime.fromisoformat(cell)
        )
        stamp = stamp.replace(tzinfo=datetime.UTC)
        if form == "excel":
            return f"{stamp.timestamp() / 86400 + 25569:.5f}"
        return f"{stamp.timestamp():.0f}" if form == "%s" else stamp.strftime(form)

    map_cells(sheet, at, change)
    declared = rng.choice(("not declared", "declared", "day and month exchanged"))
    if declared != "not declared" and form[0] == "%" and form != "%s":
        told = form
        if declared == "day and month exchanged":
            told = form.replace("%d", "?").replace("%m", "%d").replace("?", "%m")
        for table in _tables_of(case, file):
            table["time_format"] = told
    return f"dates as {form}, {declared}"


def _time_column(case: Case, file: str) -> tuple[int, str]:
    names = case.sheets[file].names
    for table in _tables_of(case, file):
        if table.get("time") in names:
            return names.index(table["time"]), table.get("time_format", "")
    for name in ("time", "TIMESTAMP", "datetime_UTC"):
        if name in names:
            return names.index(name), ""
    raise InapplicableError


_NUMBERS: tuple[tuple[str, str, tuple[float, ...]], ...] = (
    ("site", "latitude_deg", (-1.0, 100.0)),
    ("site", "altitude_m", (3.281, 0.001, -1.0, 100.0)),
    ("site", "cutoff_rigidity_gv", (1000.0, 0.001, -1.0)),
    ("site", "pressure_ref_hpa", (100.0, 0.1, 0.75)),
    ("site", "beta_per_hpa", (100.0, -1.0, 0.1)),
    ("soil", "bulk_density_g_cm3", (1000.0, 0.001, 100.0, -1.0)),
    ("soil", "lattice_water_g_g", (100.0, 1000.0, -1.0)),
    ("soil", "organic_water_g_g", (100.0, 1000.0, -1.0)),
    ("records", "interval_s", (1 / 60.0, 1 / 3600.0, 1000.0, 0.25, 4.0)),
    ("incoming", "ref", (60.0, 1 / 60.0, 2.5, 0.4, -1.0)),
    ("sampling", "deepest_cm", (0.01, 10.0, -1.0)),
    ("rain", "interval_h", (60.0, 1 / 24.0)),
)


def key(rng: random.Random, case: Case) -> str:
    """Write a number of site.toml in another unit, or with another sign."""
    table, name, factors = rng.choice([x for x in _NUMBERS if x[1] in case.tables.get(x[0], {})])
    factor = rng.choice(factors)
    case.tables[table][name] = case.tables[table][name] * factor
    return f"{table}.{name} times {factor:g}"


def kind(rng: random.Random, case: Case) -> str:
    """Declare another quantity, or exchange two keys that name columns."""
    s = case.tables["sampling"]
    how = rng.choice(("kind", "corrected", "columns", "place"))
    if how == "kind":
        s["kind"] = "theta" if s["kind"] != "theta" else "water_g_g"
    elif how == "corrected":
        case.tables["records"]["corrected"] = True
    elif how == "columns":
        named = sorted(k for k in s if k.endswith("_column") or k == "value")
        if len(named) < 2:
            raise InapplicableError
        a, b = rng.sample(named, 2)
        s[a], s[b] = s[b], s[a]
        return f"sampling.{a} and {b} exchanged"
    else:
        place = case.tables["site"]
        place["latitude_deg"], place["longitude_deg"] = (
            place["longitude_deg"], place["latitude_deg"],
        )  # fmt: skip
    return f"{how} {s['kind'] if how == 'kind' else ''}".strip()


def whole(rng: random.Random, case: Case) -> str:
    """Change a file as programs do: order, copies, ends of lines, marks, cuts."""
    file = rng.choice(sorted(case.sheets))
    sheet = case.sheets[file]
    how = rng.choice(("reversed", "twice", "header again", "mark", "ends", "cut", "empty", "utf-16",
                      "upper case", "comments", "no header"))  # fmt: skip
    head, body = sheet.rows[: sheet.head], sheet.body()
    if how in ("upper case", "no header", "header again") and not sheet.head:
        raise InapplicableError
    if how == "reversed":
        sheet.rows = head + body[::-1]
    elif how == "twice":
        sheet.rows = head + body + body
    elif how == "header again":
        middle = len(body) // 2
        sheet.rows = head + body[:middle] + head + body[middle:]
    elif how == "mark":
        sheet.codec = "utf-8-sig"
    elif how == "ends":
        sheet.end = rng.choice(("\r\n", "\n\n", ",\n"))
    elif how == "cut":
        sheet.rows = head + body[: rng.randrange(len(body))]
        sheet.rows[-1] = sheet.rows[-1][: rng.randrange(1, len(sheet.rows[-1]) + 1)]
    elif how == "empty":
        sheet.rows = head
    elif how == "utf-16":
        sheet.codec = "utf-16"
    elif how == "upper case":
        sheet.rows = [[cell.upper() for cell in row] for row in head] + body
    elif how == "comments":
        sheet.rows = [*head, *([["# a note"], *body])]
    else:
        sheet.rows = body
    return f"file {how}"


KINDS: dict[str, Callable[[random.Random, Case], str]] = {
    "units": unit,
    "signs": sign,
    "codes": code,
    "scale factors": scale,
    "separators": separator,
    "decimal commas": decimal,
    "shifted columns": shift,
    "swapped columns": swap,
    "dates": date,
    "numbers of site.toml": key,
    "kinds and keys": kind,
    "whole files": whole,
}
"""Each returns what it has changed."""


def mutate(rng: random.Random, case: Case, name: str) -> tuple[Case, str]:
    """Return a changed copy of a site, and what was changed; tries until one fits."""
    while True:
        changed = case.copy()
        try:
            return changed, KINDS[name](rng, changed)
        except InapplicableError:
            continue
