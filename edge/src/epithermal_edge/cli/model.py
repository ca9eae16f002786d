"""Run `epithermal-edge model list | install | rollback`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.rollout import installed
from epithermal_edge.rollout.privileges import act_as_owner

if TYPE_CHECKING:
    from epithermal_edge.rollout.rollout import Request

Out = Callable[[str], object]


def listing(config: Config, _arguments: argparse.Namespace, out: Out) -> int:
    """List the installed bundles with their use and the key that signed them."""
    folder = installed.models_folder(config)
    bundles = installed.list_bundles(folder)
    for entry in bundles:
        signed = f"key {entry.signed}" if entry.signed else "not signed"
        what = entry.fault or f"{entry.name}  sha256 {entry.sha256[:12]}  {signed}"
        out(f"{'FAULT' if entry.fault else 'ok   '} {' '.join(entry.uses) or '-':<8}  {what}")
        if entry.shortfalls:
            out(
                f"      released with --force, not better than the inversion: {entry.shortfalls[0]}"
            )
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
        replace_trial=arguments.replace_trial,
    )
    if not pulled:
        return _install(config, Path(given), arguments, request, out)
    source = download.pull(given, folder, arguments.ca, out)
    with act_as_owner(folder):
        try:
            return _install(config, source, arguments, request, out)
        finally:
            source.unlink(missing_ok=True)


def _install(
    config: Config, source: Path, arguments: argparse.Namespace, request: Request, out: Out
) -> int:
    from epithermal_edge.rollout import download, rollout

    if arguments.sha256 is not None:
        download.check_sha256(source, arguments.sha256)
    bundle, use = rollout.install(installed.models_folder(config), source, request)
    if bundle.shortfalls:
        out("released with --force: it is not better than the inversion on unseen soils")
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
    folder = installed.models_folder(config)
    with act_as_owner(folder):
        bundle = installed.roll_back(folder)
    _report_current(bundle, out)
    return 0


def _report_current(bundle: Bundle, out: Out) -> None:
    out(f"current is {installed.title(bundle)}, sha256 {bundle.sha256[:12]}")
    out("a running station switches to it within seconds")


VERBS: dict[str, Callable[[Config, argparse.Namespace, Out], int]] = {
    "model list": listing,
    "model install": install,
    "model rollback": rollback,
}
