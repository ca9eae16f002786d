"""A hostile or damaged tar ends in one message, soon, in little memory, and writes nothing."""

import bz2
import gzip
import io
import lzma
import os
import resource
import subprocess
import sys
import tarfile

import pytest
from tests.support.bundles import links
from tests.support.rig import BUNDLE, edge, station_toml

from epithermal_edge.config.station_toml import Trust
from epithermal_edge.errors import BundleError
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.rollout import download, rollout, tar_stream

ANYONE = rollout.Request(Trust(unsigned=True))
LONG = "a-folder-with-a-name-" * 6  # a path of more than 100 characters
LITTLE_BYTES, SOON_S = 400 * 2**20, 20.0
LIMITED = """
import resource, sys
from pathlib import Path
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from epithermal_edge.errors import BundleError
from epithermal_edge.rollout import staging
import tempfile
folder = Path(sys.argv[1])
try:
    with staging.open_source(Path(sys.argv[2])) as source:
        staging.stage(folder, source)
except BundleError as fault:
    sys.exit(f"refused: {fault}")
"""


def header(name, size, kind=b"0", size_field=None):
    """Return a header with a valid checksum; `size_field` replaces the size."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size_field or b"%011o\0" % size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content):
    return content + bytes(-len(content) % 512)


def pax(record, kind=b"x"):
    return header("x", len(record), kind) + padded(record)


def with_length(text):
    """Return a pax record with its length before it."""
    length = len(text) + 3
    while len(f"{length} {text}\n") != length:
        length += 1
    return f"{length} {text}\n".encode()


def zeros_gz(before, count):
    """Compress a begin and many zeros without holding them."""
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1) as file:
        file.write(before)
        for _ in range(count >> 20):
            file.write(bytes(1 << 20))
    return target.getvalue()


GOOD = header("b/MANIFEST", 3) + padded(b"abc")
HOSTILE = {
    "negative_pax_size": pax(with_length("size=-512")) + GOOD,
    "negative_size": header("b/x", 0, size_field=b"\xff" * 12) + GOOD,
    "binary_size": header("b/x", 0, size_field=b"\x80" + bytes(10) + b"\x10") + GOOD,
    "nul_in_a_pax_name": pax(with_length("path=b/MANI\0FEST")) + GOOD,
    "damaged_pax_length": pax(b"99999 path=x\n") + GOOD,
    "pax_in_pax_in_pax": pax(with_length("mtime=1")) * 5000 + GOOD,
    "sparse": pax(with_length("GNU.sparse.size=1")) + GOOD,
    "old_sparse": header("b/MANIFEST", 0, b"S") + GOOD,
    "hard_link": header("b/x", 0, b"1") + GOOD,
    "link": header("b/x", 0, b"2") + GOOD,
    "device": header("b/x", 0, b"3") + GOOD,
    "pipe": header("b/x", 0, b"6") + GOOD,
    "many_folders": header("b/", 0, b"5") * 300_000,
    "many_files": b"".join(header(f"b/x{i}", 0) for i in range(1000)),
    "two_folders": GOOD + header("c/x", 0),
    "one_name_twice": GOOD + GOOD,
    "upwards": header("../x", 0),
    "hidden": header("b/.bashrc", 0),
    "folder_in_folder": GOOD + header("b/c/x", 0),
    "too_large": header("b/x", 2**26) + bytes(1 << 20),
    "cut": GOOD[:700],
    "no_end_and_more": GOOD + b"\1" * 512,
    "empty": bytes(1024),
    "long_name_of_3_gb_gz": lambda: zeros_gz(header("x", 3 * 2**30, b"L"), 64 << 20),
    "pax_of_3_gb_gz": lambda: zeros_gz(header("x", 3 * 2**30, b"x"), 64 << 20),
    "bomb_gz": lambda: zeros_gz(header("b/x", 2**31), 256 << 20),
    "bomb_xz": lambda: lzma.compress(header("b/x", 2**31) + bytes(256 << 20), preset=0),
    "bomb_bz2": lambda: bz2.compress(header("b/x", 2**31) + bytes(128 << 20), 9),
    "xz_that_wants_memory": lambda: lzma.compress(
        GOOD, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}]
    ),
    "cut_xz": lambda: lzma.compress(GOOD * 50)[:-30],
    "corrupt_xz": lambda: lzma.compress(os.urandom(4096))[:100] + b"\xff" * 500,
    "corrupt_gz": lambda: gzip.compress(os.urandom(4096))[:100] + b"\xff" * 500,
    "cut_bz2": lambda: bz2.compress(GOOD * 50)[:-9],
}


def hostile(name):
    """Return the bytes of an archive; the large ones are made only when they are needed."""
    archive = HOSTILE[name]
    return archive if isinstance(archive, bytes) else archive()


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_soon_in_little_memory_and_leaves_nothing(tmp_path, name):
    path, folder = tmp_path / "evil.tar", tmp_path / "models"
    path.write_bytes(hostile(name))
    folder.mkdir()
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, folder, path, str(LITTLE_BYTES)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.startswith("refused: ") and "evil.tar" in done.stderr, done.stderr[-2000:]
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr.count("\n") == 1
    assert end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime < SOON_S
    assert list(folder.iterdir()) == []


def pack(path, mode, format_, arcname="bucket-0.1.0"):
    with tarfile.open(path, mode, format=format_) as archive:
        archive.add(BUNDLE, arcname)
    return path


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("arcname", ["bucket-0.1.0", LONG, "."])
def test_every_common_form_is_unpacked(tmp_path, mode, format_, arcname):
    if format_ == tarfile.USTAR_FORMAT and arcname == LONG:
        arcname = f"{LONG[:60]}/{LONG[:60]}"  # divided into prefix and name
    path = pack(tmp_path / "x.tar", mode, format_, arcname)
    found = {}

    def open_new(name):
        found[name] = io.BytesIO()
        found[name].close = lambda: None
        return found[name]

    with path.open("rb") as file:
        tar_stream.unpack(file, path, open_new)
    expected = {p.name: p.read_bytes() for p in BUNDLE.iterdir()}
    assert {name: content.getvalue() for name, content in found.items()} == expected


@pytest.mark.parametrize("options", [[], ["--format=pax"], ["--format=v7"], ["-z"], ["-J"]])
def test_what_gnu_tar_writes_is_installed(tmp_path, options):
    path = tmp_path / "bucket.tar"
    command = ["tar", "-C", BUNDLE.parent, *options, "-cf", path, BUNDLE.name]
    subprocess.run(command, check=True, timeout=300)
    folder = tmp_path / "models"
    rollout.install(folder, path, ANYONE)
    assert open_bundle(folder / "current").sha256 == open_bundle(BUNDLE).sha256


def test_a_pipe_as_source_is_refused_at_once(tmp_path):
    path = tmp_path / "x.tar"
    os.mkfifo(path)
    with pytest.raises(BundleError, match="not a plain file"):
        rollout.install(tmp_path / "models", path, ANYONE)
    with pytest.raises(BundleError, match="not a plain file"):
        download.check_sha256(path, "0" * 64)


def test_the_command_reports_each_in_one_line_with_exit_3(tmp_path):
    toml = station_toml(tmp_path, bundle=tmp_path / "models" / "current", model="unsigned = true\n")
    for name in ("nul_in_a_pax_name", "corrupt_xz", "negative_pax_size"):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(hostile(name))
        done = edge("model", "install", toml, path)
        assert done.returncode == 3 and done.stderr.count("\n") == 1, done.stderr
    assert links(tmp_path / "models") == {}


def test_the_limit_of_memory_of_these_tests_is_enough_for_a_good_bundle(tmp_path):
    path, folder = pack(tmp_path / "x.tar", "w:xz", tarfile.PAX_FORMAT), tmp_path / "models"
    folder.mkdir()
    command = [sys.executable, "-c", LIMITED, folder, path, str(LITTLE_BYTES)]
    subprocess.run(command, check=True)
    assert open_bundle(folder / ".staged").version == "0.1.0"
