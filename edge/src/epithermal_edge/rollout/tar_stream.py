"""Unpack the plain files of a tar whose content nobody has verified yet.

Every size, number and name has a bound before memory or disk is used for it, and no member decides
where it is written. The standard library's reader holds whole headers and lists of members in
memory, and some of its versions never return from a negative size (CVE-2025-8194).

References
----------
IEEE Std 1003.1-2017, pax, "ustar Interchange Format" and "pax Header Block". GNU tar manual,
"Basic Tar Format". RFC 1952 (gzip).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from epithermal_edge.errors import BundleError
from epithermal_edge.inference.bundle import FILE_NAME

MAX_BYTES = 64 * 1024 * 1024  # of an unpacked tar; a network has about 100 kB
MAX_MEMBERS = 256  # headers of any kind
MAX_HEADER_BYTES = 65536  # of an extended header
XZ_MEMORY_BYTES = 80 * 1024 * 1024  # for the dictionary of `xz -9`
BLOCK, CHUNK = 512, 1 << 16
FILE_KINDS, FOLDER, GLOBAL, EXTENDED, LONG_NAME = b"0\0", b"5", b"g", b"x", b"L"
TAR_FAULTS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
"""What a damaged or foreign file raises."""

_SIZE = re.compile(rb"[0-7]{1,11}")
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([^=\n]+)=")


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


class _Xz:
    """Decompress xz with bounded memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)

    def read(self, size: int) -> bytes:
        while not self._decoder.eof:
            compressed = self._file.read(CHUNK) if self._decoder.needs_input else b""
            if not compressed and self._decoder.needs_input:
                raise EOFError("the file ends too early")
            if content := self._decoder.decompress(compressed, size):
                return content
        return b""


class _Bounded:
    """Read exact numbers of bytes, and no more than MAX_BYTES in total."""

    def __init__(self, stream: Readable, where: Path) -> None:
        self._stream, self._where, self._left = stream, where, MAX_BYTES

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes, at most CHUNK or MAX_HEADER_BYTES."""
        self._left -= size
        if self._left < 0:
            raise BundleError(f"{self._where}: too large for a bundle: check the file")
        parts = []
        while size:
            part = self._stream.read(size)
            if not part:
                raise EOFError("the file ends too early")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield the content of a member and skip its padding."""
        for begin in range(0, size, CHUNK):
            yield self.read(min(CHUNK, size - begin))
        self.read(-size % BLOCK)


def unpack(file: IO[bytes], where: Path, open_new: Callable[[str], IO[bytes]]) -> None:
    """Unpack a tar, plain or compressed with gzip, bzip2 or xz.

    Parameters
    ----------
    file :
        A regular file, at its begin.
    where :
        Its path, for messages.
    open_new :
        Opens a new file by base name for writing; called once for each name.

    Raises
    ------
    BundleError
        Too large, too many members, a member that is not a plain file of one folder, or two of one
        name.
    OSError, EOFError, ValueError, zlib.error, lzma.LZMAError
        Not a tar, or damaged: TAR_FAULTS.
    """
    stream = _Bounded(_decompressed(file), where)
    folders, names = set(), set()
    for path, size in _members(stream, where):
        folder, _, name = path.removeprefix("./").rpartition("/")
        folders.add(folder)
        if len(folders) > 1 or name in names or not FILE_NAME.fullmatch(name):
            raise BundleError(
                f"{where}: {path[:80]!r} is not a file of the one folder of a bundle: use another"
                " file"
            )
        names.add(name)
        with open_new(name) as target:
            for chunk in stream.chunks(size):
                target.write(chunk)
    if not names:
        raise ValueError("no files")


def _decompressed(file: IO[bytes]) -> Readable:
    """Select the decompressor by the first bytes."""
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file, mode="rb")
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return _Xz(file) if magic == b"\xfd7zXZ\0" else file


def _members(stream: _Bounded, where: Path) -> Iterator[tuple[str, int]]:
    """Yield path and size of each file; its content must be read before the next one."""
    long_name = ""
    for _ in range(MAX_MEMBERS):
        header = stream.read(BLOCK)
        if not header.strip(b"\0"):
            return
        kind, size = header[156:157], _checked_size(header)
        if kind in (GLOBAL, EXTENDED, LONG_NAME):
            if size > MAX_HEADER_BYTES:
                raise BundleError(f"{where}: a header of {size} bytes: use another file")
            content = b"".join(stream.chunks(size))
            if kind != GLOBAL:
                name = content.rstrip(b"\0") if kind == LONG_NAME else _pax_path(content)
                long_name = name.decode("utf-8") or long_name
            continue
        path, long_name = long_name or _short_path(header), ""
        if kind in FILE_KINDS:
            yield path, size
        elif kind != FOLDER or size:
            raise BundleError(f"{where}: {path[:80]!r} is not a plain file: use another file")
    raise BundleError(f"{where}: more than {MAX_MEMBERS} members: not the tar of a bundle")


def _checked_size(header: bytes) -> int:
    """Verify the checksum of a header and return the size of its content."""
    given = header[148:156].strip(b" \0")
    total = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    if not _SIZE.fullmatch(given) or int(given, 8) != total:
        raise ValueError("no tar header")
    size = header[124:136].strip(b" \0") or b"0"
    if not _SIZE.fullmatch(size):  # also the binary form of sizes from 8 GB, and below 0
        raise ValueError("a size that is not a number")
    return int(size, 8)


def _short_path(header: bytes) -> str:
    name, prefix = (header[a:b].partition(b"\0")[0] for a, b in ((0, 100), (345, 500)))
    posix = header[257:263] == b"ustar\0"  # GNU's headers have times there
    return (prefix + b"/" + name if prefix and posix else name).decode("utf-8")


def _pax_path(content: bytes) -> bytes:
    """Return the path in an extended header; empty without one.

    Raises
    ------
    ValueError
        A record is malformed, or it changes the size or the kind of the file.
    """
    path = b""
    while content:
        match = _RECORD.match(content)
        if match is None or not match.end() < int(match[1]) <= len(content):
            raise ValueError("a damaged extended header")
        record, content = content[: int(match[1])], content[int(match[1]) :]
        if not record.endswith(b"\n"):
            raise ValueError("a damaged extended header")
        if match[2] == b"path":
            path = record[match.end() : -1]
        elif match[2] == b"size" or match[2].startswith(b"GNU.sparse"):
            raise ValueError(f"an extended header with {match[2].decode('ascii', 'replace')}")
    return path
