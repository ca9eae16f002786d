"""Test the bundles on a station: verified before use, switched atomically, rolled back."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from tests.support.bundles import links, version
from tests.support.rig import BUNDLE, edge, lines, station_toml

from epithermal_edge.config.station_toml import Trust
from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference.bundle import manifest_text, open_bundle
from epithermal_edge.rollout import installed, rollout

NOW = rollout.Request(Trust(unsigned=True), now=True, allow_downgrade=True)


def install(folder, source, request=NOW):
    """Install a bundle and use it at once."""
    return rollout.install(folder, source, request)[0]


def test_install_and_roll_back_set_the_links(tmp_path):
    folder, second = tmp_path / "models", version(tmp_path, "0.2.0")
    assert install(folder, BUNDLE).version == "0.1.0"
    assert links(folder) == {"current": "bucket-0.1.0"}
    assert install(folder, second).version == "0.2.0"
    assert links(folder) == {"current": "bucket-0.2.0", "previous": "bucket-0.1.0"}
    assert install(folder, second).version == "0.2.0"
    assert links(folder) == {"current": "bucket-0.2.0", "previous": "bucket-0.1.0"}
    assert installed.roll_back(folder).version == "0.1.0"
    assert links(folder) == {"current": "bucket-0.1.0", "previous": "bucket-0.2.0"}
    assert open_bundle(folder / "current").version == "0.1.0"
    listed = {e.folder: (e.name, e.uses, e.fault) for e in installed.list_bundles(folder)}
    assert listed["bucket-0.1.0"] == ("bucket 0.1.0", ("current",), "")
    assert listed["bucket-0.2.0"] == ("bucket 0.2.0", ("previous",), "")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz"])
def test_a_tar_is_installed_as_its_folder_is(tmp_path, suffix):
    path = tmp_path / f"bundle.{suffix}"
    with tarfile.open(path, f"w:{suffix.partition('.')[2]}") as archive:
        archive.add(BUNDLE, "bucket-0.1.0")
    folder = tmp_path / "models"
    assert install(folder, path).sha256 == open_bundle(BUNDLE).sha256
    kept = sorted(p.name for p in (folder / "current").iterdir())
    assert kept == sorted(p.name for p in BUNDLE.iterdir())


@pytest.mark.parametrize("name", ["model.tflite", "golden.csv", "bundle.toml", "MANIFEST"])
def test_a_changed_byte_is_rejected_and_nothing_changes(tmp_path, name):
    folder = tmp_path / "models"
    install(folder, BUNDLE)
    bad = version(tmp_path, "0.2.0")
    data = bytearray((bad / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bad / name).write_bytes(data)
    with pytest.raises(BundleError):
        install(folder, bad)
    assert links(folder) == {"current": "bucket-0.1.0"}
    assert sorted(p.name for p in folder.iterdir()) == [
        ".lock",
        "bucket-0.1.0",
        "current",
        "rollout.json",
    ]


def test_a_bundle_that_fails_its_golden_vectors_is_rejected(tmp_path):
    folder = tmp_path / "models"
    install(folder, BUNDLE)
    with pytest.raises(BundleError, match="golden"):
        install(folder, version(tmp_path, "0.2.0", spoil=True))
    assert links(folder) == {"current": "bucket-0.1.0"}


def test_a_hostile_tar_writes_nothing_outside(tmp_path):
    path, outside = tmp_path / "evil.tar", tmp_path / "evil.txt"
    outside.write_text("x")
    with tarfile.open(path, "w") as archive:
        archive.add(outside, "../../escaped.txt")
        archive.add(outside, "/tmp/epithermal-escaped.txt")
        link = tarfile.TarInfo("bucket/model.tflite")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(BundleError):
        install(tmp_path / "a" / "b" / "models", path)
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not os.path.exists("/tmp/epithermal-escaped.txt")


@pytest.mark.parametrize("content", [b"", b"no tar", os.urandom(20000)])
def test_an_invalid_bundle_is_an_error_of_one_line(tmp_path, content):
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"x\.tar"):
        install(tmp_path / "models", path)


def test_the_same_version_with_other_content_gets_its_own_folder(tmp_path):
    folder = tmp_path / "models"
    install(folder, BUNDLE)
    other = tmp_path / "other"
    shutil.copytree(BUNDLE, other)
    (other / "CARD.md").write_text("another card\n")
    files = {p.name: p.read_bytes() for p in other.iterdir() if p.name != "MANIFEST"}
    (other / "MANIFEST").write_text(manifest_text(files))
    sha256 = install(folder, other).sha256
    assert open_bundle(folder / "current").sha256 == sha256
    assert links(folder) == {
        "current": f"bucket-0.1.0.{sha256[:12]}",
        "previous": "bucket-0.1.0",
    }


def test_a_roll_back_without_a_previous_bundle_is_an_error(tmp_path):
    folder = tmp_path / "models"
    with pytest.raises(BundleError, match="install a bundle first"):
        installed.roll_back(folder)
    install(folder, BUNDLE)
    with pytest.raises(BundleError, match="no previous bundle"):
        installed.roll_back(folder)
    assert links(folder) == {"current": "bucket-0.1.0"}


def test_a_roll_back_to_a_damaged_bundle_is_rejected(tmp_path):
    folder = tmp_path / "models"
    install(folder, BUNDLE)
    install(folder, version(tmp_path, "0.2.0"))
    with (folder / "previous" / "model.tflite").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError):
        installed.roll_back(folder)
    assert links(folder)["current"] == "bucket-0.2.0"
    assert next(e for e in installed.list_bundles(folder) if e.uses == ("previous",)).fault


def test_a_configured_bundle_that_is_no_link_is_rejected(tmp_path):
    from epithermal_edge.config.station_toml import read_config

    with pytest.raises(ConfigError, match="models/current"):
        installed.models_folder(read_config(station_toml(tmp_path)))


SWITCHING = """
import sys, itertools
from pathlib import Path
from epithermal_edge.rollout import rollout
from epithermal_edge.config.station_toml import Trust
folder, *names = map(Path, sys.argv[1:])
now = rollout.Request(Trust(unsigned=True), now=True, allow_downgrade=True)
rollout.install(folder, names[1], now)
print("ready", flush=True)
for name in itertools.cycle(names):
    rollout.install(folder, name, now)
"""


def test_a_kill_at_any_moment_leaves_a_whole_current_bundle(tmp_path):
    folder, second = tmp_path / "models", version(tmp_path, "0.2.0")
    install(folder, BUNDLE)
    for kill in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", SWITCHING, folder, second, BUNDLE], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(0.005 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert open_bundle(folder / "current").version in ("0.1.0", "0.2.0")
        install(folder, BUNDLE)
        assert not [e for e in installed.list_bundles(folder) if e.fault]
        shutil.rmtree(folder / "bucket-0.2.0", ignore_errors=True)  # so that it is copied again
    assert not list(folder.glob(".incoming-*")), "the next installation deletes what a kill left"


def test_the_commands_install_list_and_roll_back(tmp_path):
    models = tmp_path / "models" / "current"
    toml = station_toml(tmp_path, bundle=models, model="unsigned = true\n")
    done = edge("model", "list", toml)
    assert done.returncode == 0 and "no bundle in" in done.stdout
    assert edge("check", toml).returncode == 3
    done = edge("model", "install", toml, BUNDLE)
    assert done.returncode == 0 and "current is bucket 0.1.0" in done.stdout
    done = edge("model", "install", toml, version(tmp_path, "0.2.0"))
    assert done.returncode == 0 and "the running station tries it" in done.stdout
    assert ["ok", "verified"] in [
        x.split()[:2] for x in edge("model", "list", toml).stdout.splitlines()
    ]
    assert edge("model", "install", toml, tmp_path / "bucket-0.2.0", "--now").returncode == 0
    listed = edge("model", "list", toml).stdout.splitlines()
    assert [x.split()[:4] for x in listed] == [
        ["ok", "previous", "bucket", "0.1.0"],
        ["ok", "current", "bucket", "0.2.0"],
    ]
    assert "current is bucket 0.1.0" in edge("model", "rollback", toml).stdout
    done = edge("model", "install", toml, tmp_path / "none")
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    stream = tmp_path / "records.csv"
    stream.write_bytes(b"".join(lines(2.0)))
    assert edge("replay", toml, stream).returncode == 0
    assert edge("model", "list", station_toml(tmp_path)).returncode == 2
