"""Run `epithermal-host weather`: fit a climate to a station's file, and compare the two."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epithermal_edge.errors import ConfigError

if TYPE_CHECKING:
    from epithermal_host.weather.station_series import DailyWeather, ReadOptions

FORMATS = ("knmi", "kmi", "rmi", "openmeteo", "csv")
ET0_SOURCES = ("auto", "given", "fao56", "hargreaves")


def add_parser(subparsers: Any) -> None:
    """Add `weather` with its two commands to a parser's subcommands."""
    parser = subparsers.add_parser(
        "weather", help="fit the weather generator to a station's file, or compare the two"
    )
    commands = parser.add_subparsers(dest="weather_command", required=True)
    fit = commands.add_parser("fit", help="fit a climate (TOML) to a station's daily file")
    _add_file(fit)
    fit.add_argument("--out", type=Path, required=True, metavar="CLIMATE.toml")
    check = commands.add_parser(
        "check",
        help="compare generated with observed weather; exit status 1 if a tolerance is exceeded",
    )
    check.add_argument("climate", type=Path, metavar="CLIMATE.toml")
    _add_file(check)
    check.add_argument("--years", type=int, default=200, help="years to generate (default: 200)")
    check.add_argument("--seed", type=int, default=1)
    check.add_argument("--figure", type=Path, metavar="PNG", help="draw monthly means")


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="daily file of a weather service")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument(
        "--columns",
        metavar="MAP",
        help="csv: field=column[*factor][+offset],... (rain_mm=tp*1000,t_min_c=tn-273.15,"
        "t_max_c=tx*5/9-160/9), or a TOML with [columns]; date=year+month+day joins columns",
    )
    _add_csv(parser)
    parser.add_argument("--latitude", type=float, metavar="DEG", help="north is positive")
    parser.add_argument("--altitude", type=float, metavar="M")
    parser.add_argument(
        "--station", metavar="CODE", help="station to read from a file with several"
    )
    parser.add_argument("--first", metavar="DATE", help="omit the days before this date")
    parser.add_argument("--last", metavar="DATE", help="omit the days after this date")
    parser.add_argument(
        "--without", metavar="FIELDS", default="", help="fields to ignore, separated by commas"
    )
    parser.add_argument("--et0", choices=ET0_SOURCES, default="auto")


def _add_csv(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a csv is written, named as in the tables of site.toml."""
    parser.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="MARK",
        help="csv: between the columns; tab, blank (any number of blanks) or one character "
        "(default: guessed)",
    )
    parser.add_argument(
        "--decimal", choices=(".", ","), default=".", help="csv: decimal mark (default: .)"
    )
    parser.add_argument(
        "--header",
        metavar="NAMES",
        default="",
        help="csv: names of the columns of a file without such a line, separated by commas",
    )
    parser.add_argument(
        "--skip",
        type=_lines,
        default=0,
        metavar="N",
        help="csv: lines above the line of names, or above the first row (default: 0)",
    )
    parser.add_argument(
        "--date-format",
        default="",
        metavar="FORM",
        help="csv: for strptime, such as %%d.%%m.%%Y (default: ISO 8601)",
    )
    parser.add_argument(
        "--missing",
        metavar="CODES",
        default="",
        help="csv: cells that stand for no value, --missing=-777,trace, besides the usual codes "
        "(-99, -999, -9999, -7999; of rain and ET0 99.99; of temperature 9999.9)",
    )


def _delimiter(text: str) -> str:
    mark = {"tab": "\t", "\\t": "\t", "blank": " "}.get(text, text)
    if len(mark) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one character, tab or blank")
    return mark


def _lines(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; give a number of lines")
    return number


def run(args: argparse.Namespace, write: Callable[[str], None]) -> int:
    """Run `fit` or `check`; call `write` with each line of text.

    Returns
    -------
    int
        0; 1 if `check` finds a tolerance exceeded.

    Raises
    ------
    ConfigError
        The file, its column map or the climate has errors.
    """
    from epithermal_host.weather.station_series import complete_days

    weather = _read(args)
    span = f"{weather.date[0]} to {weather.date[-1]}"
    write(f"{weather.source}: {span}, {weather.date.size} days, ET0 {weather.et0_from or 'none'}")
    complete, days = complete_days(weather).date.size, weather.date.size
    if complete < days:
        write(f"{weather.source}: {complete} of {days} days have all values and are used")
    if args.weather_command == "fit":
        return _fit(args, weather, write)
    return _check(args, weather, write)


def column_map(text: str | None) -> dict[str, str]:
    """Parse `field=column,...`, or read section [columns] of a TOML file.

    Raises
    ------
    ConfigError
        The text is neither, or the file cannot be read.
    """
    if not text:
        return {}
    if text.endswith(".toml"):
        try:
            table = tomllib.loads(Path(text).read_text(encoding="utf-8")).get("columns")
        except (OSError, ValueError, RecursionError) as fault:
            raise ConfigError(f"--columns {text}: {fault}") from None
        if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
            raise ConfigError(f'--columns {text}: needs [columns] with field = "column"')
        return dict(table)
    pairs = [part.partition("=") for part in text.split(",")]
    if bad := ["".join(pair) for pair in pairs if not (pair[0].strip() and pair[2].strip())]:
        raise ConfigError(f"--columns: {bad[0]!r} is not field=column")
    return {field.strip(): column.strip() for field, _, column in pairs}


def _options(args: argparse.Namespace) -> ReadOptions:
    from epithermal_host.weather.station_series import ReadOptions

    return ReadOptions(
        latitude_deg=args.latitude,
        altitude_m=args.altitude,
        station=args.station,
        columns=column_map(args.columns),
        first=args.first,
        last=args.last,
        without=_names(args.without),
        et0=args.et0,
        delimiter=args.delimiter or "",
        decimal=args.decimal,
        header=tuple(name.strip() for name in args.header.split(",")) if args.header else (),
        skip=args.skip,
        date_format=args.date_format,
        missing=_names(args.missing),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _read(args: argparse.Namespace) -> DailyWeather:
    from epithermal_host.weather.station_series import read

    return read(args.file, args.format, _options(args))


def _fit(args: argparse.Namespace, weather: DailyWeather, write: Callable[[str], None]) -> int:
    from epithermal_host.weather.climate_toml import write_climate
    from epithermal_host.weather.fit import fit
    from epithermal_host.weather.observed import read_keys

    again = read_keys(args.file, args.format, _options(args), args.out)
    write_climate(args.out, fit(weather), weather, again)
    write(f"{args.out}: written; to compare: epithermal-host weather check {args.out} ...")
    return 0


def _check(args: argparse.Namespace, weather: DailyWeather, write: Callable[[str], None]) -> int:
    from epithermal_host.weather import compare
    from epithermal_host.weather.climate_toml import read_climate

    observed = compare.observed_series(weather)
    generated = compare.generated_series(read_climate(args.climate), args.years, args.seed)
    rows = compare.compare(observed, generated)
    for line in compare.table(rows):
        write(line)
    if args.figure is not None:
        compare.draw(observed, generated, args.figure, weather.source)
        write(f"{args.figure}: written")
    missed = sum(not row.ok for row in rows)
    judged = sum(row.tolerance is not None for row in rows)
    write(f"{judged - missed} of {judged} within tolerance; {args.years} years generated")
    return 1 if missed else 0
