"""Copy a bundle from a folder or a tar into a staging folder of plain files.

Nothing is verified yet: contents are copied within bounds and not interpreted.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import IO

from epithermal_edge.errors import BundleError
from epithermal_edge.inference import bundle
from epithermal_edge.rollout import tar_stream
from epithermal_edge.rollout.state_file import match_owner, sync
from epithermal_edge.rollout.tar_stream import MAX_BYTES

MAX_FILES = 64
PLACE, PARTIAL = ".staged", ".incoming-"
REPORT = "REPORT.md"  # of an evaluation after the release, for people; the only unlisted file


@dataclass(frozen=True, slots=True)
class Source:
    """An opened bundle: the files of a folder by name, or a tar."""

    path: Path
    files: Mapping[str, IO[bytes]] = field(default_factory=dict)
    tar: IO[bytes] | None = None


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a bundle's folder or tar with the caller's rights; do not wait for a pipe.

    Raises
    ------
    BundleError
        It cannot be opened, or is neither a folder of plain files nor a file.
    """
    with ExitStack() as opened:
        try:
            source = _open(path, opened)
        except OSError as fault:
            raise BundleError(
                f"{path}: neither a bundle's folder nor a tar ({fault.strerror})"
            ) from fault
        yield source


def _open(path: Path, opened: ExitStack) -> Source:
    """Open a tar, or every file of a folder, which must not be a link."""
    if not path.is_dir():
        return Source(path, tar=opened.enter_context(open_plain(path)))
    names = sorted(os.listdir(path))
    if len(names) > MAX_FILES:
        raise BundleError(f"{path}: more than {MAX_FILES} files: not a bundle's folder")
    files = [opened.enter_context(open_plain(path / name, os.O_NOFOLLOW)) for name in names]
    return Source(path, dict(zip(names, files, strict=True)))


def open_plain(path: Path, flags: int = 0) -> BufferedReader:
    """Open a regular file for reading.

    Raises
    ------
    OSError
        It cannot be opened.
    BundleError
        It is a folder, a pipe or a device.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BundleError(f"{path}: not a plain file: name a bundle's folder or its tar")
    return open(handle, "rb")


def stage(folder: Path, source: Source) -> Path:
    """Copy a bundle to the staging folder, whole or not at all, and return that folder.

    Parameters
    ----------
    folder :
        Folder of the station's bundles.

    Raises
    ------
    BundleError
        The source is not a bundle's folder or tar, or too large.
    """
    clear(folder)
    place = folder / PLACE
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as partial:
        staged = Path(partial, "bundle")
        staged.mkdir(mode=0o755)
        if source.tar is None:
            _copy(source, staged)
        else:
            _unpack(source.path, source.tar, staged)
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


def check_listed(staged: Path) -> None:
    """Reject a staged bundle with a file that its MANIFEST does not list.

    Raises
    ------
    BundleError
        There is such a file, or MANIFEST is damaged.
    """
    known = {*bundle.read_manifest(staged), bundle.MANIFEST, bundle.SIGNATURE, REPORT}
    foreign = sorted(path.name for path in staged.iterdir() if path.name not in known)
    if foreign:
        raise BundleError(
            f"{staged}: {', '.join(foreign)[:200]}: not listed in {bundle.MANIFEST}: remove it"
        )


def _copy(source: Source, staged: Path) -> None:
    left = MAX_BYTES
    for name, file in source.files.items():
        with (staged / name).open("xb") as target:
            while chunk := file.read(tar_stream.CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise BundleError(f"{source.path}: too large for a bundle: check the folder")
                target.write(chunk)


def _unpack(where: Path, tar: IO[bytes], staged: Path) -> None:
    try:
        tar_stream.unpack(tar, where, lambda name: (staged / name).open("xb"))
    except tar_stream.TAR_FAULTS as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise BundleError(f"{where}: neither a bundle's folder nor a tar ({reason})") from fault
