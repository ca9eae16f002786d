"""Run `epithermal-host retrain`: parse its arguments and print its result."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from epithermal_host.cli import sign

EXAMPLE = """retrain site.toml --from models/rootzone-1.0.0 --out retrained
  epithermal-host retrain site.toml --from models/rootzone-1.0.0 --until 2023-12-31"""
DECLINED = 1  # exit status if the retrained model is not good enough


def add_arguments(p: argparse.ArgumentParser, number: Callable[[str], int]) -> None:
    """Add arguments and options; `number` parses a positive integer."""
    p.add_argument("site", type=Path, metavar="site.toml", help="see docs/field.md")
    p.add_argument("--from", type=Path, required=True, metavar="BUNDLE", dest="parent",
                   help="the released model")  # fmt: skip
    p.add_argument("--campaign", type=Path, metavar="RUN",
                   help="simulated soils (RUN/dataset.npz) on which accuracy must be preserved; "
                   "default: simulate a small campaign of BUNDLE's population")  # fmt: skip
    p.add_argument(
        "--cosmic-n",
        type=float,
        metavar="CPH",
        help="N of COSMIC in station.toml; default: from the site's sampling day",
    )
    p.add_argument("--until", default="", metavar="DATE",
                   help="last day used for retraining; later days are for evaluation")  # fmt: skip
    p.add_argument(
        "--believe-probes",
        action="store_true",
        help="use the probes even if the samples do not confirm that they represent the field",
    )
    p.add_argument("--name", default="", help="name of the new bundle; default: PARENT-SITE")
    p.add_argument("--version", default="", dest="model_version",
                   help="version of the new bundle; default: that of the parent")  # fmt: skip
    sign.add_secret_key(p)
    p.add_argument("--out", type=Path, metavar="DIR",
                   help="folder for bundle, report and picture; default: retrain-SITE")  # fmt: skip
    p.add_argument("--runtime", choices=("tflite", "litert"), help="default: the first that works")
    p.add_argument("--workers", type=number, metavar="N", help="default: one per processor")


def run(arguments: argparse.Namespace, write: Callable[[str], None]) -> int:
    """Retrain; return 1 if the result is declined. `write` is called with each line of text."""
    from epithermal_host.retraining import retrain, text
    from epithermal_host.retraining.result import Options

    options = Options(
        campaign=arguments.campaign,
        until=arguments.until,
        cosmic_n_cph=arguments.cosmic_n,
        believe_probes=arguments.believe_probes,
        name=arguments.name,
        version=arguments.model_version,
        key=sign.secret_key(arguments),
        runtime=arguments.runtime,
        workers=arguments.workers,
    )
    done, out, bundle = retrain.run(arguments.site, arguments.parent, arguments.out, options)
    write(text.report(done))
    write(f"written: {out / retrain.REPORT}, {out / retrain.DATA}, {out / retrain.PICTURE}")
    if bundle is None:
        return DECLINED
    write(f"{bundle}: released; next: epithermal-edge selftest {bundle}")
    return 0
