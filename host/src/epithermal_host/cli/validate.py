"""Run `epithermal-host validate`: compare results with reference data, case by case."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from epithermal_edge.errors import ConfigError

Write = Callable[[str], object]
"""Called with one or several lines of text, without a final newline."""

EXIT_CODES = """exit status:
  0  every case is within its tolerance
  1  a case exceeds its tolerance
  2  a file or folder is missing or damaged"""


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add `validate` with its three references to the commands of `epithermal-host`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "validate",
        help="compare soil water, neutrons and corrections with reference data",
        description="Compare with reference data; the README of each folder describes its format.",
        epilog="example:\n  epithermal-host validate hydrus1d ../shared/reference/hydrus1d\n\n"
        + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=run)
    kinds = parser.add_subparsers(title="references", metavar="REFERENCE", required=True)
    p = _add(kinds, "hydrus1d", "compare the Richards solver with HYDRUS-1D on the same grid",
             "validate hydrus1d ../shared/reference/hydrus1d")  # fmt: skip
    p.add_argument("folder", type=Path, metavar="DIR", help="folder of cases, or one case")
    p = _add(kinds, "cosmic", "compare COSMIC with test vectors of published codes",
             "validate cosmic cosmic_vectors.csv cosmic_vectors_profiles.csv")  # fmt: skip
    p.add_argument("vectors", type=Path, metavar="VECTORS.csv")
    p.add_argument("profiles", type=Path, metavar="PROFILES.csv")
    p = _add(kinds, "corrections", "compare the station's corrections with published packages",
             "validate corrections ../shared/reference/corrections")  # fmt: skip
    p.add_argument("folder", type=Path, metavar="DIR", help="folder of CSV tables")
    return parser


def _add(
    kinds: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str, example: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(
        name, help=what, description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"example:\n  epithermal-host {example}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON array")
    parser.set_defaults(reference=name)
    return parser


def run(arguments: argparse.Namespace, write: Write | None = None) -> int:
    """Compare, print one line per row, and return the exit status.

    Raises
    ------
    ConfigError
        A file is missing or damaged.
    """
    write = write or (lambda text: sys.stdout.write(f"{text}\n"))
    kinds = {"hydrus1d": _hydrus1d, "cosmic": _cosmic, "corrections": _corrections}
    return kinds[arguments.reference](arguments, write)


def _hydrus1d(arguments: argparse.Namespace, write: Write) -> int:
    from epithermal_host.validation import columns
    from epithermal_host.validation.hydrus_cases import find_cases

    folders = find_cases(arguments.folder)
    if not arguments.json:
        write(columns.HEADER)
    rows = []
    for folder in folders:
        rows.append(columns.validate_case(folder))
        if not arguments.json:
            write(columns.line(rows[-1]))
    missed = [row for row in rows if row.judged and not row.passed]
    if arguments.json:
        _json(rows, write)
    else:
        not_judged = sum(not row.judged for row in rows)
        limits = (
            f"limits: theta rmse {columns.THETA_RMSE:g}, 0-30 cm {columns.MEAN_RMSE:g}, fluxes "
            f"{100 * columns.FLUX_SHARE:g} % or {columns.FLUX_CM:g} cm, balance "
            f"{columns.BALANCE_CM_YEAR:g} cm a year; other limits are listed with their reasons"
        )
        write(f"{limits}\n{len(rows)} cases, {len(missed)} missed, {not_judged} not judged")
    return 1 if missed else 0


def _cosmic(arguments: argparse.Namespace, write: Write) -> int:
    from epithermal_host.validation import cosmic

    rows = cosmic.validate_cosmic(arguments.vectors, arguments.profiles)
    return _report(rows, cosmic.HEADER, cosmic.line, arguments, write)


def _corrections(arguments: argparse.Namespace, write: Write) -> int:
    from epithermal_host.validation import corrections

    if not arguments.folder.is_dir():
        raise ConfigError(f"{arguments.folder}: no such folder")
    rows = corrections.validate_corrections(arguments.folder)
    return _report(rows, corrections.HEADER, corrections.line, arguments, write)


def _report(
    rows: list[Any], header: str, line: Callable[[Any], str], arguments: argparse.Namespace,
    write: Write,
) -> int:  # fmt: skip
    missed = sum(not row.passed for row in rows)
    if arguments.json:
        _json(rows, write)
    else:
        write("\n".join([header, *map(line, rows), f"{len(rows)} rows, {missed} missed"]))
    return 1 if missed else 0


def _json(rows: Iterable[Any], write: Write) -> None:
    """Print rows as JSON, with null for NaN."""
    plain = [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in {**dataclasses.asdict(row), "passed": row.passed}.items()
        }
        for row in rows
    ]
    write(json.dumps(plain, indent=1, allow_nan=False))
