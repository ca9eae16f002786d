"""Rows of an npz file are read as NumPy reads them, and damage is reported."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from epithermal_host.compute.npz_rows import open_npz, read_whole, verify

DAYS = 70


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "a.npz"
    wide = rng.standard_normal((40, DAYS, 3)).astype(np.float32)
    np.savez(path, wide=wide, day=np.arange(40), name=np.array(["a", "bc"]), one=np.array("hash"))
    return path


@pytest.mark.parametrize("rows", [[0], [39], [5, 6, 7], [30, 2, 3, 39, 2], [], range(40)])
def test_rows_in_any_order_are_those_of_numpy(file, rows):
    with np.load(file) as expected:
        for name, stored in open_npz(file).items():
            if not stored.shape or name == "name":
                continue
            chosen = np.asarray(rows, dtype=np.int64)
            got = stored.read(chosen)
            np.testing.assert_array_equal(got, expected[name][chosen])
            assert got.dtype == expected[name].dtype


def test_whole_arrays_are_those_of_numpy_scalars_and_text_included(file):
    arrays = open_npz(file)
    with np.load(file) as expected:
        assert list(arrays) == expected.files
        for name in arrays:
            np.testing.assert_array_equal(read_whole(arrays, name), expected[name])


def test_a_changed_byte_is_found_by_its_checksum(file):
    verify(file)
    content = bytearray(file.read_bytes())
    content[open_npz(file)["wide"].offset + 1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(zipfile.BadZipFile, match=r"wide\.npy"):
        verify(file)


def test_a_file_that_ends_within_a_row_raises_instead_of_returning_less(file):
    stored = open_npz(file)["wide"]
    file.write_bytes(file.read_bytes()[: stored.offset + 10 * stored.row_bytes + 1])
    assert stored.read([9]).shape == (1, DAYS, 3)
    with pytest.raises(EOFError):
        stored.read([10])


def test_arrays_that_have_no_rows_in_the_file_are_rejected(tmp_path):
    path = tmp_path / "b.npz"
    np.savez_compressed(path, a=np.zeros(5))
    with pytest.raises(ValueError, match="compressed"):
        open_npz(path)
    np.savez(path, a=np.asfortranarray(np.zeros((5, 4))))
    with pytest.raises(ValueError, match="Fortran"):
        open_npz(path)
