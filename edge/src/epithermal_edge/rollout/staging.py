"""What a user gives as a bundle - a folder, a tar, an address - becomes a folder of plain files."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from epithermal_edge.errors import BundleError
from epithermal_edge.rollout.state_file import match_owner, sync

MAX_BYTES = 64 * 1024 * 1024  # of a bundle; the network has some 100 kB
MAX_FILES = 64
PLACE, PARTIAL = ".staged", ".incoming-"


def stage(folder: Path, source: Path) -> Path:
    """Copy a bundle to its place among those of the station, whole or not at all.

    Parameters
    ----------
    folder :
        Of the station's bundles.
    source :
        A bundle's folder, or a tar archive of one.

    Raises
    ------
    BundleError
        It is neither, or too large.
    """
    clear(folder)
    place = folder / PLACE
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as partial:
        staged = Path(partial, "bundle")
        staged.mkdir(mode=0o755)
        if source.is_dir():
            _copy(source, staged)
        else:
            _unpack(source, staged)
        for path in (*staged.iterdir(), staged):
            path.chmod(0o755 if path.is_dir() else 0o644)
            match_owner(path, folder)
            sync(path)
        staged.rename(place)
    sync(folder)
    return place


def clear(folder: Path) -> None:
    """Remove what is staged, and what an interrupted installation left."""
    for left in (folder / PLACE, *folder.glob(f"{PARTIAL}*")):
        shutil.rmtree(left, ignore_errors=True)


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
