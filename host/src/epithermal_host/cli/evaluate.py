"""Run `epithermal-host evaluate`: evaluate a run, a bundle, real sites, or a population."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from epithermal_edge.errors import ConfigError

POPULATION = "population"  # word in the place of BUNDLE
USAGE = """%(prog)s RUN
       %(prog)s BUNDLE RUN [--all] [--reference N] [--out DIR] ...
       %(prog)s BUNDLE --field SITE [SITE ...] [--campaign RUN] [--out DIR] ...
       %(prog)s population RUN [SITE ...]"""
EXAMPLES = (
    "evaluate runs/a\n"
    "  epithermal-host evaluate models/demo-0.1.0 runs/b\n"
    "  epithermal-host evaluate models/demo-0.1.0 --field site.toml\n"
    "  epithermal-host evaluate population runs/a sites/*.toml"
)
OF_A_BUNDLE = ("out", "every_soil", "runtime", "reference", "workers")
SHAPE = (
    "evaluate takes RUN, or BUNDLE RUN, or BUNDLE --field SITE ..., or population RUN [SITE ...]"
)

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What to evaluate, from the arguments of the command line."""

    run: Path | None = None
    bundle: Path | None = None
    population: bool = False
    sites: tuple[Path, ...] = ()


def add_arguments(parser: argparse.ArgumentParser, number: Callable[[str], int]) -> None:
    """Add arguments and options of `evaluate`; `number` parses a positive integer."""
    parser.usage = USAGE
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="RUN (folder written by simulate): scores of its own model; BUNDLE RUN: report of a "
        "released model; population RUN: compare memory and spread of RUN's soils with those of "
        "real sites (SITE: site.toml, docs/field.md) before training; exit status 1 if a check "
        "fails",
    )
    parser.add_argument(
        "--field",
        type=Path,
        nargs="+",
        metavar="SITE",
        default=[],
        help="evaluate BUNDLE at real sites, given by their site.toml (docs/field.md)",
    )
    parser.add_argument(
        "--campaign",
        type=Path,
        metavar="RUN",
        help="with --field: also evaluate retraining on each site's first years and on the other "
        "sites; RUN/dataset.npz: simulated soils on which accuracy must be preserved",
    )
    netcdf = "with --field: also write the estimates of each site as NetCDF by CF-1.11"
    parser.add_argument("--netcdf", action="store_true", help=netcdf)
    out = "default: RUN/report-NAME-VERSION, field-NAME-VERSION"
    parser.add_argument("--out", type=Path, metavar="DIR", help=out)
    parser.add_argument(
        "--all",
        action="store_true",
        dest="every_soil",
        help="use all soils of RUN, whose seed must differ from that of BUNDLE's campaign",
    )
    parser.add_argument(
        "--runtime", choices=("tflite", "litert"), help="default: the first that works"
    )
    parser.add_argument(
        "--reference",
        type=number,
        metavar="N",
        default=0,
        help="also run a particle filter on N soils; slow",
    )
    parser.add_argument("--workers", type=number, metavar="N", help="default: one per processor")


def run(arguments: argparse.Namespace, write: Write) -> int:
    """Run the evaluation; call `write` with each line of text.

    Returns
    -------
    int
        Exit status: 1 if a population fails a check.

    Raises
    ------
    ConfigError
        Arguments contradict each other; also the errors of the evaluations.
    """
    request = parse(arguments)
    if request.population:
        return _population(request, write)
    if request.run is None:
        return _field(request, arguments, write)
    if request.bundle is None:
        return _own(request.run, write)
    return _report(request, arguments, write)


def parse(arguments: argparse.Namespace) -> Request:
    """Interpret the arguments of the command line.

    Raises
    ------
    ConfigError
        Arguments or options contradict each other.
    """
    names = arguments.names
    options = [name for name in OF_A_BUNDLE if getattr(arguments, name)]
    if arguments.campaign and not arguments.field:
        raise ConfigError(
            "--campaign requires --field: it names the simulated soils for an evaluation of "
            "retraining"
        )
    if arguments.netcdf and not arguments.field:
        raise ConfigError("--netcdf requires --field: it writes the estimates at real sites")
    if names[0] == POPULATION:
        if len(names) < 2 or arguments.field or options:
            raise ConfigError("evaluate population takes RUN and site files, and no options")
        return Request(Path(names[1]), population=True, sites=tuple(map(Path, names[2:])))
    if arguments.field:
        if len(names) > 1 or arguments.every_soil or arguments.reference:
            raise ConfigError(
                "with --field name BUNDLE alone before it, without RUN, --all and --reference"
            )
        return Request(bundle=Path(names[0]), sites=tuple(arguments.field))
    if len(names) > 2:
        raise ConfigError(SHAPE)
    if len(names) == 2:
        return Request(Path(names[1]), bundle=Path(names[0]))
    if set(options) - {"workers"}:
        raise ConfigError(
            "name BUNDLE before RUN: --out, --all, --runtime and --reference require it"
        )
    return Request(Path(names[0]))


def _own(run_folder: Path, write: Write) -> int:
    from epithermal_host.config.run_toml import read_run

    read_run(run_folder)
    from epithermal_host.evaluation import evaluate

    done = evaluate.run(run_folder)
    write(evaluate.table(done))
    write(f"report: {done.report_path}, picture: {done.picture_path}")
    for shortfall in done.shortfalls:
        write(f"not better: {shortfall}")
    if not done.shortfalls:
        write(f"next: epithermal-host release {run_folder} --to models")
    return 0


def _report(request: Request, arguments: argparse.Namespace, write: Write) -> int:
    from epithermal_host.evaluation.result import Options
    from epithermal_host.reports import simulated, simulated_text

    options = Options(
        every_soil=arguments.every_soil,
        runtime=arguments.runtime,
        workers=arguments.workers,
        reference_soils=arguments.reference,
    )
    assert request.bundle is not None and request.run is not None
    done, page = simulated.run(request.bundle, request.run, arguments.out, options)
    write(simulated_text.table(done))
    write(f"report: {page}")
    return 0


def _field(request: Request, arguments: argparse.Namespace, write: Write) -> int:
    from epithermal_host.reports import field
    from epithermal_host.reports.field_result import Options

    assert request.bundle is not None
    options = Options(
        campaign=arguments.campaign,
        runtime=arguments.runtime,
        workers=arguments.workers,
        netcdf=arguments.netcdf,
    )
    done, page = field.run(request.bundle, request.sites, arguments.out, options)
    write(field.table(done))
    write(f"report: {page}")
    return 0


def _population(request: Request, write: Write) -> int:
    from epithermal_host.studies import population_check

    assert request.run is not None
    done = population_check.run(request.run, request.sites)
    write(population_check.table(done))
    write(f"report: {done.report_path}, picture: {done.picture_path}")
    return 0 if done.ok else 1
