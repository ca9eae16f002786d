"""`epithermal-edge model list | install | rollback`, for people."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.rollout import installed

Out = Callable[[str], object]


def listing(config: Config, _arguments: argparse.Namespace, out: Out) -> int:
    """The bundles that are here, how far each is, and whose they are."""
    folder = installed.models_folder(config)
    found = installed.list_bundles(folder)
    for entry in found:
        signed = f"key {entry.signed}" if entry.signed else "not signed"
        what = entry.fault or f"{entry.name}  sha256 {entry.sha256[:12]}  {signed}"
        out(f"{'FAULT' if entry.fault else 'ok   '} {' '.join(entry.uses) or '-':<8}  {what}")
    if not found:
        out(f"no bundle in {folder}")
    return 3 if any(entry.fault for entry in found) else 0


def install(config: Config, arguments: argparse.Namespace, out: Out) -> int:
    """Take one in."""
    from epithermal_edge.rollout import download, rollout

    folder, given = installed.models_folder(config), arguments.bundle
    pulled = "://" in given
    request = rollout.Request(
        trust=config.trust,
        origin=given,
        pulled=pulled,
        now=arguments.now,
        allow_downgrade=arguments.allow_downgrade,
    )
    source = Path(given)
    if pulled:
        source = download.pull(given, folder, arguments.ca, out)
    try:
        if arguments.sha256 is not None:
            download.check_sha256(source, arguments.sha256)
        bundle, use = rollout.install(folder, source, request)
    finally:
        if pulled:
            source.unlink(missing_ok=True)
    if use == installed.CURRENT:
        _told(bundle, out)
        return 0
    out(
        f"verified {installed.title(bundle)}, sha256 {bundle.sha256[:12]}: the running station"
        f" tries it on its journal and then for {config.trial_hours} h beside the one in use; see"
        " `model list`, or give --now to use it without"
    )
    return 0


def rollback(config: Config, _arguments: argparse.Namespace, out: Out) -> int:
    """Back to the one before."""
    _told(installed.roll_back(installed.models_folder(config)), out)
    return 0


def _told(bundle: Bundle, out: Out) -> None:
    out(f"current is {installed.title(bundle)}, sha256 {bundle.sha256[:12]}")
    out("a running station takes it within seconds")


VERBS: dict[str, Callable[[Config, argparse.Namespace, Out], int]] = {
    "model list": listing,
    "model install": install,
    "model rollback": rollback,
}
