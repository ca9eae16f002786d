"""`epithermal-host advice`: judge a model's advice whether to irrigate on simulated maize."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

EXAMPLE = "advice models/rootzone-1.0.0 --sites 20"


def add_arguments(parser: argparse.ArgumentParser, positive: Callable[[str], int]) -> None:
    """Add the arguments."""
    parser.add_argument("bundle", type=Path, help="folder of a released model")
    parser.add_argument("--sites", type=positive, default=20, metavar="N",
                        help="sites, each with one season; default %(default)s")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default %(default)s")
    parser.add_argument("--runtime", choices=("tflite", "litert"),
                        help="default: the first that works")  # fmt: skip


def run(arguments: argparse.Namespace, show: Callable[[str], None]) -> int:
    """Print false alarms and misses of the advice over 0-30 cm and over the root zone."""
    from epithermal_host.bundles.streams import open_verified
    from epithermal_host.evaluation import irrigation_advice

    model = open_verified(arguments.bundle, arguments.runtime)
    scores = irrigation_advice.judge(model.bundle, model.step, arguments.sites, arguments.seed)
    show(irrigation_advice.table(scores))
    return 0
