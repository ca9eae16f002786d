"""Bundles on a station: a folder of them, and two links that say which one is used.

    models/rootzone-1.0.0/  rootzone-1.1.0/  current -> rootzone-1.1.0  previous -> rootzone-1.0.0

A bundle is proved before a link leads to it, and a link changes by an atomic rename after its
bundle is on disk: at no moment, a power cut included, is the station without a model.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from epithermal_edge import estimator, runtime
from epithermal_edge.bundle import Bundle, open_bundle
from epithermal_edge.config import Config
from epithermal_edge.errors import BundleError, ConfigError

CURRENT, PREVIOUS = "current", "previous"
LOCK, STAGED = ".lock", ".staged-"
MAX_BYTES = 64 * 1024 * 1024  # of a bundle; the network has some 100 kB
MAX_FILES = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Installed:
    """One bundle in the folder."""

    folder: str
    name: str  # name and version; empty where it is damaged
    sha256: str
    uses: tuple[str, ...]  # links that lead to it
    fault: str  # why it cannot be used; empty where it can


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


def installed(folder: Path) -> list[Installed]:
    """The bundles of a folder by name; hashes and schema are verified, golden vectors are not."""
    links = {link: _target(folder, link) for link in (CURRENT, PREVIOUS)}
    found = []
    names = sorted(p.name for p in folder.iterdir() if _is_bundle(p)) if folder.is_dir() else []
    for name in names:
        uses = tuple(link for link, target in links.items() if target == name)
        try:
            bundle = open_bundle(folder / name)
        except BundleError as fault:
            found.append(Installed(name, "", "", uses, str(fault)))
        else:
            title = f"{bundle.name} {bundle.version}"
            found.append(Installed(name, title, bundle.sha256, uses, ""))
    return found


def _is_bundle(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def _target(folder: Path, link: str) -> str | None:
    """Name of the folder that a link leads to."""
    path = folder / link
    return os.readlink(path) if path.is_symlink() else None


def install(folder: Path, source: Path) -> Bundle:
    """Prove a bundle, keep a copy of it, and make it the one that the next start uses.

    Parameters
    ----------
    folder :
        Of the station's bundles; made when it is not there.
    source :
        A bundle's folder, or a tar archive of one.

    Raises
    ------
    BundleError
        It is damaged, not for this software, or fails its golden vectors on the runtime here;
        nothing has changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder), _staging(folder) as staging:
        staged = Path(staging, "bundle")
        staged.mkdir(mode=0o755)
        if source.is_dir():
            _copy(source, staged)
        else:
            _unpack(source, staged)
        bundle = prove(staged)
        name = _keep(staged, bundle, folder)
        before = _target(folder, CURRENT)
        if before == name:
            log.info("%s is the current bundle already", name)
            return bundle
        if before is not None:
            _lead(folder, PREVIOUS, before)
        _lead(folder, CURRENT, name)
        return bundle


def roll_back(folder: Path) -> Bundle:
    """Use the bundle that was used before; doing it twice changes nothing.

    Raises
    ------
    BundleError
        There is none, or it does not work any more; nothing has changed.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder: install a bundle first")
    with _locked(folder):
        current, previous = _target(folder, CURRENT), _target(folder, PREVIOUS)
        if previous is None or previous == current:
            raise BundleError(f"{folder}: no previous bundle: install one")
        bundle = prove(folder / previous)
        _lead(folder, CURRENT, previous)
        if current is not None:
            _lead(folder, PREVIOUS, current)
        return bundle


def prove(path: Path) -> Bundle:
    """The bundle, after its hashes, its schema and its golden vectors on the runtime here.

    Raises
    ------
    BundleError
        One of these does not hold.
    """
    bundle = open_bundle(path)
    step = runtime.load(bundle.model_path)
    error = estimator.check_golden(bundle, step)
    log.info("bundle %s %s on %s: error %.2g", bundle.name, bundle.version, step.runtime, error)
    return bundle


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One change at a time."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise BundleError(f"{folder}: another installation is under way: wait") from fault
        yield


@contextmanager
def _staging(folder: Path) -> Iterator[str]:
    """A folder on the same disk; what an interrupted installation left is cleared before."""
    for left in folder.glob(f"{STAGED}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=STAGED, dir=folder) as staging:
        yield staging


def _copy(source: Path, staged: Path) -> None:
    """Regular files of a folder; a bundle has no folders in it."""
    files = [path for path in sorted(source.iterdir()) if path.is_file()]
    _check_size(source, len(files), sum(path.stat().st_size for path in files))
    for path in files:
        shutil.copyfile(path, staged / path.name)


def _unpack(source: Path, staged: Path) -> None:
    """Regular files of a tar, by their last name: nothing can be written elsewhere."""
    try:
        with tarfile.open(source) as archive:
            members: list[tarfile.TarInfo] = []
            size = 0
            for member in archive:
                size += member.size
                _check_size(source, len(members), size)
                if member.isfile():
                    members.append(member)
            if len({PurePosixPath(m.name).parent for m in members}) != 1:
                raise BundleError(f"{source}: not the archive of one folder: take another file")
            for member in members:
                content = archive.extractfile(member)
                if content is not None:
                    (staged / PurePosixPath(member.name).name).write_bytes(content.read())
    except (tarfile.TarError, EOFError, OSError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise BundleError(f"{source}: no bundle's folder and no tar ({reason})") from fault


def _check_size(source: Path, files: int, size: int) -> None:
    if files > MAX_FILES or size > MAX_BYTES:
        raise BundleError(f"{source}: too large for a bundle: give a bundle's folder or its tar")


def _keep(staged: Path, bundle: Bundle, folder: Path) -> str:
    """Put a proved bundle on disk beside the others; its folder's name."""
    plain = f"{bundle.name}-{bundle.version}"
    for name in (plain, f"{plain}.{bundle.sha256[:12]}"):
        if not (folder / name).exists():
            for path in (*staged.iterdir(), staged):
                _sync(path)
            staged.rename(folder / name)
            _sync(folder)
            return name
        try:
            if open_bundle(folder / name).sha256 == bundle.sha256:
                return name
        except BundleError as fault:
            log.warning("%s; it stays where it is", fault)
    raise BundleError(f"{folder / plain}: there and damaged: remove it and install again")


def _lead(folder: Path, link: str, name: str) -> None:
    """Let a link lead to a bundle, atomically and for good."""
    fresh = folder / f".{link}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    fresh.replace(folder / link)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
