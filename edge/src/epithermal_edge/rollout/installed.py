"""Manage the bundles on a station: a folder of bundles, and two links to those in use.

    models/rootzone-1.0.0/  rootzone-1.1.0/  current -> rootzone-1.1.0  previous -> rootzone-1.0.0

A bundle is verified before a link points to it, and a link is changed by an atomic rename after its
bundle is on disk: the station has a model at any moment, even after a power cut. `rollout` installs
new bundles.
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
from epithermal_edge.signatures.minisign import MAX_BYTES, parse

CURRENT, PREVIOUS = "current", "previous"
LOCK = ".lock"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Installed:
    """A bundle in the folder."""

    folder: str
    name: str  # name and version; empty if the bundle is damaged
    sha256: str
    uses: tuple[str, ...]  # links that point to it, and its state as a candidate
    fault: str  # why it cannot be used; empty if it can
    signed: str = ""  # key id in its signature, which was verified at the installation
    shortfalls: tuple[str, ...] = ()  # where it is not better than the inversion


def models_folder(config: Config) -> Path:
    """Return the folder with the bundles and the link that the station reads.

    Raises
    ------
    ConfigError
        `model.bundle` names a bundle instead of the link.
    """
    if config.bundle.name != CURRENT:
        raise ConfigError(
            f"{config.path}: model.bundle: {config.bundle.name} is not the link `{CURRENT}`;"
            f' set it to "models/{CURRENT}" and install a bundle'
        )
    return config.bundle.parent


def list_bundles(folder: Path) -> list[Installed]:
    """List the bundles of a folder by name; verify hashes and schema, but no golden vectors."""
    uses = {link: read_link(folder, link) for link in (CURRENT, PREVIOUS)}
    candidate = read(folder).candidate if folder.is_dir() else None
    if candidate is not None:
        uses[candidate.state] = candidate.folder
    names = {p.name for p in folder.iterdir() if _is_bundle(p)} if folder.is_dir() else set()
    if candidate is not None and (folder / candidate.folder).is_dir():
        names.add(candidate.folder)
    return [_inspect(folder, name, uses) for name in sorted(names)]


def _inspect(folder: Path, name: str, uses: dict[str, str | None]) -> Installed:
    links = tuple(use for use, where in uses.items() if where == name)
    try:
        bundle = open_bundle(folder / name)
    except BundleError as fault:
        return Installed(name, "", "", links, str(fault))
    try:
        with (folder / name / SIGNATURE).open("rb") as file:
            signed = parse(file.read(MAX_BYTES + 1)).key_id[::-1].hex().upper()
    except (OSError, BundleError):
        signed = ""
    return Installed(name, title(bundle), bundle.sha256, links, "", signed, bundle.shortfalls)


def title(bundle: Bundle) -> str:
    """Return name and version of a bundle."""
    return f"{bundle.name} {bundle.version}"


def _is_bundle(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def read_link(folder: Path, link: str) -> str | None:
    """Return the name of the folder that a link points to; None if there is no link."""
    path = folder / link
    return os.readlink(path) if path.is_symlink() else None


def verify_bundle(path: Path) -> Bundle:
    """Open a bundle and verify hashes, schema and golden vectors on the installed runtime.

    Raises
    ------
    BundleError
        One of these checks fails.
    """
    bundle = open_bundle(path)
    step = runtime.load(bundle)
    error = estimator.check_golden(bundle, step)
    log.info("bundle %s %s on %s: error %.2g", bundle.name, bundle.version, step.runtime, error)
    return bundle


def has_current(folder: Path) -> bool:
    """Return whether the bundle in use can be opened."""
    try:
        return bool(open_bundle(folder / CURRENT))
    except BundleError:
        return False


def roll_back(folder: Path, why: str = "on request") -> Bundle:
    """Use the previous bundle again; the bundle in use becomes the previous one. Twice: no change.

    Raises
    ------
    BundleError
        There is no previous bundle, or it fails its checks; nothing has changed.
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
    """Lock a folder of bundles for one change at a time.

    Raises
    ------
    BundleError
        Another change is under way.
    """
    handle = os.open(folder / LOCK, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as fault:
        raise BundleError(f"{folder}: another installation is under way: wait for it") from fault
    finally:
        os.close(handle)


def set_link(folder: Path, link: str, name: str) -> None:
    """Point a link to a bundle, atomically and durably."""
    fresh = folder / f".{link}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    match_owner(fresh, folder)
    fresh.replace(folder / link)
    sync(folder)


def find_fallback(folder: Path, fault: BundleError) -> Path:
    """Return the previous bundle, to start with if the bundle in use fails its checks.

    Raises
    ------
    BundleError
        `fault` itself: there is no previous bundle, or it fails its checks too.
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
        log.error("%s; the link is unchanged, %s is used", refusal, previous)
    return folder / previous
