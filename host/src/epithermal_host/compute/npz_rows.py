"""Read single rows of the arrays in an uncompressed npz file, which may be larger than the memory.

An npz file is a zip archive of npy files. `np.savez` stores them uncompressed, so the row of an
array is a range of bytes of the file.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

CHUNK_BYTES = 2**22  # read at once to verify a checksum
LOCAL_HEADER = struct.Struct("<26x2H")  # lengths of name and extra field, before the data


@dataclass(frozen=True, slots=True)
class Stored:
    """An array in the file: where it begins, and what it holds."""

    path: Path
    offset: int  # of the first value [bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def row_bytes(self) -> int:
        """Size of one row."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def read(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Read rows in any order; neighbours in the file are read at once.

        Parameters
        ----------
        rows : (R,)

        Returns
        -------
        (R, *shape[1:])

        Raises
        ------
        EOFError
            The file ends within a row.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        out = np.empty((len(wanted), *self.shape[1:]), dtype=self.dtype)
        view = out.reshape(-1).view(np.uint8).data
        size = self.row_bytes
        with self.path.open("rb", buffering=0) as file:
            for place, row, count in _runs(wanted):
                _fill(file, self.offset + row * size, view[place * size : (place + count) * size])
        return out


def open_npz(path: Path) -> dict[str, Stored]:
    """List the arrays of an npz file by name.

    Raises
    ------
    OSError, EOFError, ValueError, zipfile.BadZipFile
        The file is missing, damaged or compressed, or holds an array of objects.
    """
    found = {}
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename} is compressed")
            begin = _data_offset(file, entry)
            file.seek(begin)
            head = file.read(min(entry.file_size, 4096))
            shape, dtype, offset = _parse(io.BytesIO(head))
            stored = Stored(path, begin + offset, shape, dtype)
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            if offset + size != entry.file_size:
                raise ValueError(f"{entry.filename} has {entry.file_size} bytes")
            found[entry.filename.removesuffix(".npy")] = stored
    return found


def read_whole(arrays: Mapping[str, Stored], name: str) -> NDArray[Any]:
    """Read one array.

    Raises
    ------
    KeyError
        It is not in the file.
    """
    stored = arrays[name]
    if not stored.shape:
        row = Stored(stored.path, stored.offset, (1,), stored.dtype)
        return row.read((0,)).reshape(())
    return stored.read(range(stored.shape[0]))


def verify(path: Path) -> None:
    """Compare the checksum of each array, read in small pieces.

    Raises
    ------
    zipfile.BadZipFile
        An array differs from what was written.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with path.open("rb", buffering=0) as file:
                begin, checksum = _data_offset(file, entry), 0
                file.seek(begin)
                for size in _pieces(entry.file_size):
                    checksum = zlib.crc32(file.read(size), checksum)
            if checksum != entry.CRC:
                raise zipfile.BadZipFile(f"bad checksum of {entry.filename}")


def _pieces(size: int) -> Iterator[int]:
    for begin in range(0, size, CHUNK_BYTES):
        yield min(CHUNK_BYTES, size - begin)


def _data_offset(file: BinaryIO | io.FileIO, entry: zipfile.ZipInfo) -> int:
    file.seek(entry.header_offset)
    header = file.read(LOCAL_HEADER.size)
    name, extra = LOCAL_HEADER.unpack(header)
    return int(entry.header_offset + LOCAL_HEADER.size + name + extra)


def _parse(head: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Parse the header of an npy file; return shape, dtype and offset of the values."""
    version = npy.read_magic(head)  # type: ignore[no-untyped-call]
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(head)  # type: ignore[no-untyped-call]
    if dtype.hasobject or (fortran and len(shape) > 1):
        raise ValueError("an array of objects, or in the order of Fortran")
    return shape, dtype, head.tell()


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Split rows into (index of the first, its row, number) of ascending neighbours, by row."""
    if not rows.size:
        return
    ends = np.flatnonzero(np.diff(rows) != 1) + 1
    begins = np.concatenate(([0], ends))
    counts = np.diff(np.concatenate((begins, [rows.size])))
    order = np.argsort(rows[begins], kind="stable")
    yield from zip(
        begins[order].tolist(), rows[begins][order].tolist(), counts[order].tolist(), strict=True
    )


def _fill(file: io.FileIO, offset: int, into: memoryview) -> None:
    file.seek(offset)
    done = 0
    while done < len(into):
        count = file.readinto(into[done:])
        if not count:
            raise EOFError(f"{offset + done} bytes are fewer than the header promises")
        done += count
