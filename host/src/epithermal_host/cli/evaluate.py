"""`epithermal-host evaluate`: a run's model, a bundle, a bundle in the field, or a population."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from epithermal_edge.errors import ConfigError

POPULATION = "population"  # the word in BUNDLE's place
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
class Asked:
    """What the words of the command line are."""

    run: Path | None = None
    bundle: Path | None = None
    population: bool = False
    sites: tuple[Path, ...] = ()


def add_arguments(parser: argparse.ArgumentParser, number: Callable[[str], int]) -> None:
    """Words and options of `evaluate`; `number` reads a positive one."""
    parser.usage = USAGE
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="RUN: folder made by simulate, its own model's scores; BUNDLE before it: a released "
        "model, its report; `population` before it: memory and spread of RUN's soils beside those "
        "of real sites (SITE: site.toml, docs/field.md), before anything is trained; exit status "
        "1 where a check is not met",
    )
    parser.add_argument(
        "--field",
        type=Path,
        nargs="+",
        metavar="SITE",
        default=[],
        help="judge BUNDLE at real sites: their site.toml, docs/field.md",
    )
    parser.add_argument(
        "--campaign",
        type=Path,
        metavar="RUN",
        help="with --field: also what retraining does, on each site's first years and on the other "
        "sites; RUN/dataset.npz are the simulated soils that it must not forget",
    )
    out = "default: RUN/report-NAME-VERSION, field-NAME-VERSION"
    parser.add_argument("--out", type=Path, metavar="DIR", help=out)
    parser.add_argument(
        "--all",
        action="store_true",
        dest="every_soil",
        help="all soils, of a campaign with another seed than BUNDLE's",
    )
    parser.add_argument(
        "--runtime", choices=("tflite", "litert"), help="default: the first that works"
    )
    parser.add_argument(
        "--reference",
        type=number,
        metavar="N",
        default=0,
        help="also a particle filter on our own column, on N soils; slow",
    )
    parser.add_argument("--workers", type=number, metavar="N", help="default: one a processor")


def run(arguments: argparse.Namespace, write: Write) -> int:
    """Do what was asked for; lines for people go to `write`.

    Returns
    -------
    int
        Exit status: 1 where a population does not pass its checks.

    Raises
    ------
    ConfigError
        Words or options that do not go together, and what the steps raise.
    """
    asked = read(arguments)
    if asked.population:
        return _population(asked, write)
    if asked.run is None:
        return _field(asked, arguments, write)
    return _own(asked.run, write) if asked.bundle is None else _report(asked, arguments, write)


def read(arguments: argparse.Namespace) -> Asked:
    """The words of the command line by what they are.

    Raises
    ------
    ConfigError
        They do not go together, or an option does not go with them.
    """
    names = arguments.names
    options = [name for name in OF_A_BUNDLE if getattr(arguments, name)]
    if arguments.campaign and not arguments.field:
        raise ConfigError(
            "--campaign goes with --field: it tells what a retraining must not forget"
        )
    if names[0] == POPULATION:
        if len(names) < 2 or arguments.field or options:
            raise ConfigError("evaluate population takes RUN and site files, and no option")
        return Asked(Path(names[1]), population=True, sites=tuple(map(Path, names[2:])))
    if arguments.field:
        if len(names) > 1 or arguments.every_soil or arguments.reference:
            raise ConfigError(
                "with --field name BUNDLE alone, before it: no RUN, --all or --reference"
            )
        return Asked(bundle=Path(names[0]), sites=tuple(arguments.field))
    if len(names) > 2:
        raise ConfigError(SHAPE)
    if len(names) == 2:
        return Asked(Path(names[1]), bundle=Path(names[0]))
    if set(options) - {"workers"}:
        raise ConfigError("name BUNDLE before RUN: --out, --all, --runtime and --reference need it")
    return Asked(Path(names[0]))


def _own(run_folder: Path, write: Write) -> int:
    from epithermal_host.config.run_toml import read_run

    read_run(run_folder)
    from epithermal_host.evaluation import evaluate

    done = evaluate.run(run_folder)
    write(evaluate.table(done))
    write(f"report: {done.report_path}, picture: {done.picture_path}")
    write(f"next: epithermal-host release {run_folder} --to models")
    return 0


def _report(asked: Asked, arguments: argparse.Namespace, write: Write) -> int:
    from epithermal_host.evaluation.result import Options
    from epithermal_host.reports import simulated, simulated_text

    options = Options(
        every_soil=arguments.every_soil,
        runtime=arguments.runtime,
        workers=arguments.workers,
        reference_soils=arguments.reference,
    )
    assert asked.bundle is not None and asked.run is not None
    done, page = simulated.run(asked.bundle, asked.run, arguments.out, options)
    write(simulated_text.table(done))
    write(f"report: {page}")
    return 0


def _field(asked: Asked, arguments: argparse.Namespace, write: Write) -> int:
    from epithermal_host.reports import field
    from epithermal_host.reports.field_result import Options

    assert asked.bundle is not None
    options = Options(
        campaign=arguments.campaign, runtime=arguments.runtime, workers=arguments.workers
    )
    done, page = field.run(asked.bundle, asked.sites, arguments.out, options)
    write(field.table(done))
    write(f"report: {page}")
    return 0


def _population(asked: Asked, write: Write) -> int:
    from epithermal_host.studies import population_check

    assert asked.run is not None
    done = population_check.run(asked.run, asked.sites)
    write(population_check.table(done))
    write(f"report: {done.report_path}, picture: {done.picture_path}")
    return 0 if done.ok else 1
