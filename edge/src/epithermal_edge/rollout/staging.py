"""Copy a bundle from a folder or a tar into a staging folder of plain files."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from epithermal_edge.errors import BundleError
from epithermal_edge.rollout.state_file import match_owner, sync

MAX_BYTES = 64 * 1024 * 1024  # of a bundle; a network has about 100 kB
MAX_FILES = 64
PLACE, PARTIAL = ".staged", ".incoming-"


def stage(folder: Path, source: Path) -> Path:
    """Copy a bundle to the staging folder, whole or not at all, and return that folder.

    Parameters
    ----------
    folder :
        Folder of the station's bundles.
    source :
        A bundle's folder, or a tar archive of one.

    Raises
    ------
    BundleError
        The source is neither of them, or too large.
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
    """Delete the staging folder and the rest of an interrupted installation."""
    for left in (folder / PLACE, *folder.glob(f"{PARTIAL}*")):
        shutil.rmtree(left, ignore_errors=True)


def _copy(source: Path, staged: Path) -> None:
    """Copy the regular files of a folder; a bundle has no subfolders."""
    files = [path for path in sorted(source.iterdir()) if path.is_file()]
    _check_size(source, len(files), sum(path.stat().st_size for path in files))
    for path in files:
        shutil.copyfile(path, staged / path.name)


def _unpack(source: Path, staged: Path) -> None:
    """Unpack the regular files of a tar by base name, so that none is written elsewhere."""
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
                raise BundleError(f"{source}: not an archive of one folder: use another file")
            for member in members:
                content = archive.extractfile(member)
                if content is not None:
                    (staged / PurePosixPath(member.name).name).write_bytes(content.read())
    except (tarfile.TarError, EOFError, OSError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise BundleError(f"{source}: neither a bundle's folder nor a tar ({reason})") from fault


def _check_size(source: Path, files: int, size: int) -> None:
    if files > MAX_FILES or size > MAX_BYTES:
        raise BundleError(f"{source}: too large for a bundle: name a bundle's folder or its tar")
