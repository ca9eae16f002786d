"""Run `epithermal-edge model list | install | rollback`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.rollout import installed

Out = Callable[[str], object]


def listing(config: Config, _arguments: argparse.Namespace, out: Out) -> int:
    """List the installed bundles with their use and the key that signed them."""
    folder = installed.models_folder(config)
    bundles = installed.list_bundles(folder)
    for entry in bundles:
        signed = f"key {entry.signed}" if entry.signed else "not signed"
        what = entry.fault or f"{entry.name}  sha256 {entry.sha256[:12]}  {signed}"
        out(f"{'FAULT' if entry.fault else 'ok   '} {' '.join(entry.uses) or '-':<8}  {what}")
    if not bundles:
        out(f"no bundle in {folder}")
    return 3 if any(entry.fault for entry in bundles) else 0


def install(config: Config, arguments: argparse.Namespace, out: Out) -> int:
    """Install a bundle for a trial, or for use at once with --now."""
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
        _report_current(bundle, out)
        return 0
    out(
        f"verified {installed.title(bundle)}, sha256 {bundle.sha256[:12]}: the running station"
        f" tries it on its journal, then for {config.trial_hours} h beside the bundle in use;"
        " `model list` shows the progress, --now skips the trial"
    )
    return 0


def rollback(config: Config, _arguments: argparse.Namespace, out: Out) -> int:
    """Return to the bundle that was in use before."""
    _report_current(installed.roll_back(installed.models_folder(config)), out)
    return 0


def _report_current(bundle: Bundle, out: Out) -> None:
    out(f"current is {installed.title(bundle)}, sha256 {bundle.sha256[:12]}")
    out("a running station switches to it within seconds")


VERBS: dict[str, Callable[[Config, argparse.Namespace, Out], int]] = {
    "model list": listing,
    "model install": install,
    "model rollback": rollback,
}
