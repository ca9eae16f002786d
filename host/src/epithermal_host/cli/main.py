"""Run epithermal-host: one command for each step of a run, the demo, and validation."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from epithermal_edge.errors import EpithermalError
from epithermal_host import __version__
from epithermal_host.cli import (
    advice,
    evaluate,
    monitor,
    retrain,
    sampling,
    scale,
    sign,
    validate,
    weather,
)

# No heavy imports here: `--help` must be fast, and a typing error must not load TensorFlow.

EXIT_CODES = """exit status:
  0  success
  1  a result is not good enough, or a step failed
  2  the command line, run.toml or a run folder has errors; all of them are printed
  3  the model bundle is damaged or does not reproduce its golden vectors
  4  a data file cannot be read
  130  interrupted; start the same command again to resume"""

Handler = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(argv)
    _log_once()
    handler: Handler = arguments.handler
    try:
        return handler(arguments)
    except EpithermalError as error:
        for line in str(error).splitlines():
            print(f"epithermal-host: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            "epithermal-host: interrupted; start the same command again to resume", file=sys.stderr
        )
        return 130
    except OSError as error:  # disk full, no permission: the user can correct it
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"epithermal-host: {what}", file=sys.stderr)
        return 1


class _Once(logging.Filter):
    """Drops a message that was logged before: several steps of a command read the same table."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the message is new."""
        text = record.getMessage()
        is_new = text not in self._seen
        self._seen.add(text)
        return is_new


def _log_once() -> None:
    """Write warnings and notes on the input to standard error, each once."""
    handler = logging.StreamHandler()
    handler.addFilter(_Once())
    logging.basicConfig(format="epithermal-host: %(message)s", handlers=[handler])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="epithermal-host",
        description="Simulate soils and detectors; train, quantize, evaluate and release a model.",
        epilog="example:\n"
        "  epithermal-host simulate run.toml --out runs/a\n"
        "  epithermal-host dataset runs/a && epithermal-host train runs/a\n"
        "  epithermal-host quantize runs/a && epithermal-host evaluate runs/a\n"
        "  epithermal-host release runs/a --to models\n\n" + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_steps(commands)
    _add_calibrate(commands)
    _add_retrain(commands)
    p = _add(commands, "sampling", _sampling, "plan the soil samples of a calibration",
             sampling.EXAMPLE)  # fmt: skip
    sampling.add_arguments(p)
    p = _add(commands, "scale", _scale, "turn a known N0 or N_D into the scale of another response",
             scale.EXAMPLE)  # fmt: skip
    scale.add_arguments(p)
    p = _add(commands, "advice", _advice, "judge a model's advice whether to irrigate",
             advice.EXAMPLE)  # fmt: skip
    advice.add_arguments(p, _positive)
    _add_study(commands)
    _add_figures(commands)
    validate.add_parser(commands).set_defaults(handler=_validate)
    p = _add(commands, "monitor", _monitor,
             "list neutron monitors for a place, and fetch or read their counts",
             monitor.EXAMPLES)  # fmt: skip
    monitor.add_arguments(p)
    weather.add_parser(commands)
    commands.choices["weather"].set_defaults(handler=_weather)
    return parser


def _add_steps(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _add(commands, "simulate", _simulate,
             "simulate weather, soil water and neutrons of many places",
             "simulate run.toml --out runs/a --workers 2")  # fmt: skip
    p.add_argument("config", type=Path, metavar="run.toml", help="see docs/campaign.md")
    p.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder to write")
    _workers(p)
    p = _add(commands, "dataset", _dataset,
             "simulate detectors and compute features with the station's pipeline",
             "dataset runs/a")  # fmt: skip
    _run_folder(p)
    _workers(p)
    p = _add(commands, "train", _train, "train the network on RUN/dataset.npz", "train runs/a")
    _run_folder(p)
    p = _add(commands, "quantize", _quantize,
             "quantize the network with the smallest scheme that is accurate enough",
             "quantize runs/a")  # fmt: skip
    _run_folder(p)
    _add_evaluate(commands)
    _add_release(commands)
    p = _add(commands, "key", _key, "create a key pair to sign and verify bundles",
             "key --out keys/farm")  # fmt: skip
    sign.add_key_arguments(p)
    p = _add(commands, "sign", _sign, "sign an existing bundle",
             "sign models/rootzone-1.0.0 --key keys/farm.key")  # fmt: skip
    sign.add_sign_arguments(p)
    p = _add(commands, "demo", _demo, "run the whole chain in a few minutes and draw a picture",
             "demo --out build/demo")  # fmt: skip
    p.add_argument("--out", type=Path, default=Path("build/demo"), help="default: %(default)s")


def _add_release(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _add(commands, "release", _release, "write a model bundle with golden vectors",
             "release runs/a --to models --name rootzone --version 1.0.0\n"
             "  epithermal-host release runs/a runs/b runs/c --to models")  # fmt: skip
    p.add_argument("run", type=Path, nargs="+", metavar="RUN",
                   help="run folder; several of one data set become an ensemble")  # fmt: skip
    p.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder for the bundle")
    p.add_argument("--name", help="default: from run.toml")
    p.add_argument("--version", dest="model_version", help="default: from run.toml")
    p.add_argument("--notes", type=Path, metavar="FILE.md",
                   help="text for the model card: results of tests, limitations")  # fmt: skip
    p.add_argument("--force", action="store_true",
                   help="release a model that is not better than the inversion on unseen soils; "
                   "its card and the station's model list say so")  # fmt: skip
    sign.add_secret_key(p)


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _add(commands, "evaluate", _evaluate,
             "evaluate a model on unseen soils and compare it with the baselines",
             evaluate.EXAMPLES)  # fmt: skip
    evaluate.add_arguments(p, _positive)


def _add_calibrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _add(commands, "calibrate", _calibrate, "calibrate a detector from soil samples",
             "calibrate site.toml --bundle models/rootzone-1.0.0 --out calibration")  # fmt: skip
    p.add_argument("site", type=Path, metavar="site.toml", help="see docs/field.md")
    p.add_argument("--bundle", type=Path, metavar="BUNDLE",
                   help="also fit the N with which this network reproduces the samples, and write "
                   "it into the tables for station.toml")  # fmt: skip
    p.add_argument("--extra-hydrogen", action="store_true",
                   help="add the extra hydrogen fitted to several sampling days to the tables, as "
                   "organic water")  # fmt: skip
    p.add_argument("--out", type=Path, metavar="DIR", help="default: calibration-SITE")
    p.add_argument("--runtime", choices=("tflite", "litert"), help="default: the first that works")


def _add_retrain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _add(commands, "retrain", _retrain, "adapt a released model to a site",
             retrain.EXAMPLE)  # fmt: skip
    retrain.add_arguments(p, _positive)


def _add_study(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _add(commands, "study", _study,
             "train on the first years of one place and evaluate on the last ones",
             "study site.toml --out build/study")  # fmt: skip
    p.add_argument("config", type=Path, metavar="site.toml", help="see docs/evaluation.md")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")


def _add_figures(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _add(commands, "figures", _figures,
             "draw two pictures that show why counts alone are not enough",
             "figures --out build/figures")  # fmt: skip
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for PNG and CSV")
    p.add_argument("--run", type=Path, metavar="RUN", help="draw a scenario of this campaign")
    p.add_argument("--scenario", type=int, metavar="N", help="with --run; default: the first")
    p.add_argument("--seed", type=int, metavar="N",
                   help="of the weather at the built-in loam; default: 1")  # fmt: skip
    p.add_argument("--cover", choices=("bare", "grass"), help="of the built-in loam; default: bare")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    handler: Handler,
    what: str,
    example: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"example:\n  epithermal-host {example}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def _run_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder written by simulate")


def _workers(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=_positive, metavar="N", help="processes; default: one per processor"
    )
    where.add_argument(
        "--dask", metavar="ADDRESS", help="use the Dask cluster of this scheduler, tcp://host:port"
    )


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer above 0")
    return number


def _simulate(arguments: argparse.Namespace) -> int:
    from epithermal_host.config.run_toml import read_run
    from epithermal_host.simulation import campaign

    config = read_run(arguments.config)
    done = campaign.run(config, arguments.out, workers=arguments.workers, dask=arguments.dask)
    print(
        f"simulated {done.simulated} soils x {config.campaign.years} years, {done.reused} reused, "
        f"{len(done.failed)} failed"
    )
    if done.failed:
        print(f"failures: {arguments.out / campaign.FAILED}")
    print(f"next: epithermal-host dataset {arguments.out}")
    return 0


def _dataset(arguments: argparse.Namespace) -> int:
    from epithermal_host.training import dataset

    done = dataset.run(arguments.run, workers=arguments.workers, dask=arguments.dask)
    print(
        f"{done.path}: {done.soils} soils x {done.days} days; "
        f"RMSE of the inversion on days without snow: {done.rmse_classical:.4f} m3/m3"
    )
    print(f"next: epithermal-host train {arguments.run}")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from epithermal_host.config.run_toml import read_run

    config = read_run(arguments.run).train
    from epithermal_host.training import (
        train,  # imports TensorFlow, which takes seconds; errors in the file are reported before
    )

    done = train.run(arguments.run, config)
    best = done.best
    print(
        f"{done.weights_path}: epoch {done.best_epoch + 1} of {len(done.history)}; RMSE on unseen "
        f"soils {best.rmse_counts:.4f} m3/m3 from counts, {best.rmse_weather:.4f} with rain and "
        f"ET0, {best.rmse_all:.4f} also with the soil; inversion {done.rmse_inversion:.4f}"
    )
    print(f"next: epithermal-host quantize {arguments.run}")
    return 0


def _quantize(arguments: argparse.Namespace) -> int:
    from epithermal_host.config.run_toml import read_run

    config = read_run(arguments.run).quantize
    from epithermal_host.training import quantize

    done = quantize.run(arguments.run, config)
    print(f"{done.model_path}: {done.scheme}, {done.size_bytes} bytes")
    print(f"next: epithermal-host evaluate {arguments.run}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    return evaluate.run(arguments, print)


def _calibrate(arguments: argparse.Namespace) -> int:
    from epithermal_host.field import calibrate, calibrate_text

    done, out = calibrate.run(
        arguments.site,
        arguments.bundle,
        arguments.out,
        extra=arguments.extra_hydrogen,
        runtime_name=arguments.runtime,
    )
    print(calibrate_text.table(done))
    print(f"\n{calibrate_text.block(done)}")
    print(
        f"written: {out / calibrate.BLOCK} (the tables above, for station.toml), "
        f"{out / calibrate.DATA}, {out / calibrate.PICTURE}"
    )
    return 0


def _retrain(arguments: argparse.Namespace) -> int:
    return retrain.run(arguments, print)


def _sampling(arguments: argparse.Namespace) -> int:
    return sampling.run(arguments, print)


def _scale(arguments: argparse.Namespace) -> int:
    return scale.run(arguments, print)


def _advice(arguments: argparse.Namespace) -> int:
    return advice.run(arguments, print)


def _study(arguments: argparse.Namespace) -> int:
    from epithermal_host.studies import single_site

    done = single_site.run(arguments.config, arguments.out)
    print(single_site.text(done))
    picture, data = arguments.out / single_site.PICTURE, arguments.out / single_site.DATA
    print(f"picture: {picture}, figures: {data}")
    return 0


def _release(arguments: argparse.Namespace) -> int:
    from epithermal_host.config.run_toml import read_run

    first, *others = arguments.run
    wanted = read_run(first).release
    key = sign.secret_key(arguments)
    from epithermal_host.bundles import release
    from epithermal_host.evaluation import evaluate

    # scores of an ensemble are computed here; those of one network by `evaluate`
    scores = evaluate.report(evaluate.judge(arguments.run)[0]) if others else None
    done = release.run(
        first,
        arguments.to,
        others=others,
        scores=scores,
        name=arguments.name or wanted.name,
        version=arguments.model_version or wanted.version,
        notes=arguments.notes.read_text("utf-8") if arguments.notes else "",
        key=key,
        force=arguments.force,
    )
    print(f"{done.path}: released; next: epithermal-edge selftest {done.path}")
    return 0


def _key(arguments: argparse.Namespace) -> int:
    return sign.create_key(arguments, print)


def _sign(arguments: argparse.Namespace) -> int:
    return sign.sign(arguments, print)


def _demo(arguments: argparse.Namespace) -> int:
    from epithermal_host.studies import demo

    demo.run(arguments.out, print)
    return 0


def _figures(arguments: argparse.Namespace) -> int:
    from epithermal_host.studies import figures

    drawn = figures.run(
        arguments.out,
        run_folder=arguments.run,
        scenario=arguments.scenario,
        seed=arguments.seed,
        cover=arguments.cover,
    )
    for line in (*drawn.lines(), *(f"{path}: written" for path in drawn.paths)):
        print(line)
    return 0


def _monitor(arguments: argparse.Namespace) -> int:
    return monitor.run(arguments, print)


def _weather(arguments: argparse.Namespace) -> int:
    return weather.run(arguments, print)


def _validate(arguments: argparse.Namespace) -> int:
    return validate.run(arguments, print)
