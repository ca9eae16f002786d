"""Bundles on a station: a folder of them, and two links that say which one is used.

    models/rootzone-1.0.0/  rootzone-1.1.0/  current -> rootzone-1.1.0  previous -> rootzone-1.0.0

A bundle is proved before a link leads to it, and a link changes by an atomic rename after its
bundle is on disk: at no moment, a power cut included, is the station without a model. `rollout`
brings new ones in.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference import estimator, runtime
from epithermal_edge.inference.bundle import SIGNATURE, Bundle, open_bundle
from epithermal_edge.rollout.state_file import match_owner, read, sync, write
from epithermal_edge.signatures.minisign import parse

CURRENT, PREVIOUS = "current", "previous"
LOCK = ".lock"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Installed:
    """One bundle in the folder."""

    folder: str
    name: str  # name and version; empty where it is damaged
    sha256: str
    uses: tuple[str, ...]  # links that lead to it, and how far it is
    fault: str  # why it cannot be used; empty where it can
    signed: str = ""  # id of the key that its signature names; it was verified when it came


def models_folder(config: Config) -> Path:
    """The folder that holds the bundles and the link that the station reads.

    Raises
    ------
    ConfigError
        `model.bundle` is a bundle itself and not the link.
    """
    if config.bundle.name != CURRENT:
        raise ConfigError(
            f"{config.path}: model.bundle: {config.bundle.name} is no link that can be switched;"
            f' set it to "models/{CURRENT}" and install a bundle'
        )
    return config.bundle.parent


def list_bundles(folder: Path) -> list[Installed]:
    """The bundles of a folder by name; hashes and schema are verified, golden vectors are not."""
    uses = {link: read_link(folder, link) for link in (CURRENT, PREVIOUS)}
    candidate = read(folder).candidate if folder.is_dir() else None
    if candidate is not None:
        uses[candidate.state] = candidate.folder
    names = {p.name for p in folder.iterdir() if _is_bundle(p)} if folder.is_dir() else set()
    if candidate is not None and (folder / candidate.folder).is_dir():
        names.add(candidate.folder)
    return [_look(folder, name, uses) for name in sorted(names)]


def _look(folder: Path, name: str, uses: dict[str, str | None]) -> Installed:
    led = tuple(use for use, where in uses.items() if where == name)
    try:
        bundle = open_bundle(folder / name)
    except BundleError as fault:
        return Installed(name, "", "", led, str(fault))
    try:
        signed = parse((folder / name / SIGNATURE).read_bytes()).key_id[::-1].hex().upper()
    except (OSError, BundleError):
        signed = ""
    return Installed(name, title(bundle), bundle.sha256, led, "", signed)


def title(bundle: Bundle) -> str:
    """Name and version."""
    return f"{bundle.name} {bundle.version}"


def _is_bundle(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def read_link(folder: Path, link: str) -> str | None:
    """Name of the folder that a link leads to."""
    path = folder / link
    return os.readlink(path) if path.is_symlink() else None


def verify_bundle(path: Path) -> Bundle:
    """The bundle, after its hashes, its schema and its golden vectors on the runtime here.

    Raises
    ------
    BundleError
        One of these does not hold.
    """
    bundle = open_bundle(path)
    step = runtime.load(bundle)
    error = estimator.check_golden(bundle, step)
    log.info("bundle %s %s on %s: error %.2g", bundle.name, bundle.version, step.runtime, error)
    return bundle


def has_current(folder: Path) -> bool:
    """Whether there is a bundle in use that can be opened."""
    try:
        return bool(open_bundle(folder / CURRENT))
    except BundleError:
        return False


def roll_back(folder: Path, why: str = "asked for") -> Bundle:
    """Use the bundle that was used before; doing it twice changes nothing.

    Raises
    ------
    BundleError
        There is none, or it does not work any more; nothing has changed.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder: install a bundle first")
    with lock(folder):
        current, previous = read_link(folder, CURRENT), read_link(folder, PREVIOUS)
        if previous is None or previous == current:
            raise BundleError(f"{folder}: no previous bundle: install one")
        bundle = verify_bundle(folder / previous)
        set_link(folder, CURRENT, previous)
        if current is not None:
            set_link(folder, PREVIOUS, current)
        record = read(folder)
        text = f"to {title(bundle)} from {current}: {why}"
        write(folder, record.with_event("model_rolled_back", text, record.candidate))
        return bundle


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """One change at a time.

    Raises
    ------
    BundleError
        Another one is under way.
    """
    handle = os.open(folder / LOCK, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as fault:
        raise BundleError(f"{folder}: another installation is under way: wait") from fault
    finally:
        os.close(handle)


def set_link(folder: Path, link: str, name: str) -> None:
    """Let a link lead to a bundle, atomically and for good."""
    fresh = folder / f".{link}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    match_owner(fresh, folder)
    fresh.replace(folder / link)
    sync(folder)


def find_fallback(folder: Path, fault: BundleError) -> Path:
    """The bundle to start with where the one in use does not work any more: the one before.

    Raises
    ------
    BundleError
        The fault given: there is no other, or that does not work either.
    """
    previous = read_link(folder, PREVIOUS)
    log.error("%s", fault)
    if previous is None:
        raise fault
    try:
        verify_bundle(folder / previous)
    except BundleError as other:
        raise fault from other
    try:
        roll_back(folder, str(fault))
    except (OSError, BundleError) as refusal:
        log.error("%s; the link stays, and %s is used", refusal, previous)
    return folder / previous
