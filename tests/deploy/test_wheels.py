"""The Debian package contains only wheels whose content is pinned."""

import hashlib
import sys
import zipfile

import pytest
from tests.support.rig import ROOT

DEBIAN = ROOT / "deploy" / "debian"
TARGETS = [("3.11", "aarch64"), ("3.11", "x86_64"), ("3.13", "aarch64"), ("3.13", "x86_64")]
PINNED = "pyserial-3.5-py2.py3-none-any.whl"


@pytest.fixture
def build(monkeypatch):
    monkeypatch.syspath_prepend(str(DEBIAN))
    import build

    yield build
    for name in ("build", "man"):
        sys.modules.pop(name, None)


def write_wheel(folder, content):
    """Write a wheel with the name of a pinned one and another content; return its sha256."""
    path = folder / PINNED
    info = "pyserial-3.5.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("serial/__init__.py", content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pyserial\nVersion: 3.5\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("python", "machine"), TARGETS)
def test_every_dependency_of_every_target_is_pinned_by_hash(build, python, machine):
    known = build.hashes(python, machine)
    runtime = "tflite-runtime" if python == "3.11" else "ai-edge-litert"
    assert {runtime, "numpy", "pyserial", "paho-mqtt", "cryptography", "cffi"} <= set(known)
    assert all(len(sha256) == 64 for _, sha256 in known.values())
    pinned = build.pins(python, machine)
    assert all(pinned[name] == version for name, (version, _) in known.items())


def test_each_line_is_one_wheel_of_one_target_or_of_all(build):
    lines = [line.split() for line in build.HASHES.read_text().splitlines()]
    files = [file for _, file in lines]
    assert files == sorted(set(files))
    used = {(p, h) for p, machine in TARGETS for _, h in build.hashes(p, machine).values()}
    assert used == {(file.partition("/")[0], sha256) for sha256, file in lines}


def test_a_version_that_is_not_the_one_in_constraints_is_refused(build, offline, tmp_path):
    store, listed = offline
    listed.write_text(f"{write_wheel(store, 'sound = 1')}  3.11/{PINNED.replace('3.5', '3.4')}\n")
    with pytest.raises(SystemExit, match=r"pyserial-3\.4.*constraints\.txt pins 3\.5"):
        build.wheels("3.11", "aarch64", tmp_path / "out")


@pytest.fixture
def offline(build, tmp_path, monkeypatch):
    """Return the only folder that pip reads, and the list of a station with one dependency."""
    store, listed, root = (tmp_path / name for name in ("store", "wheels.sha256", "root"))
    store.mkdir()
    (root / "edge").mkdir(parents=True)
    (root / "edge" / "pyproject.toml").write_text("[project]\ndependencies = ['pyserial>=3.5']\n")
    (root / "constraints.txt").write_text("pyserial==3.5\n")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(store)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setattr(build, "HASHES", listed)
    monkeypatch.setattr(build, "ROOT", root)
    return store, listed


def test_a_wheel_with_the_pinned_content_is_taken(build, offline, tmp_path):
    store, listed = offline
    listed.write_text(f"{write_wheel(store, 'sound = 1')}  3.11/{PINNED}\n")
    (wheel,) = build.wheels("3.11", "aarch64", tmp_path / "out")
    assert wheel.name == PINNED


def test_a_wheel_of_the_pinned_version_with_other_content_is_refused(build, offline, tmp_path):
    store, listed = offline
    listed.write_text(f"{write_wheel(store, 'sound = 1')}  3.11/{PINNED}\n")
    write_wheel(store, "import os; os.system('id')")
    with pytest.raises(SystemExit, match=r"(?s)HASHES.*wheels\.sha256"):
        build.wheels("3.11", "aarch64", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.whl"))


def test_a_dependency_without_a_hash_is_refused(build, offline, tmp_path):
    _, listed = offline
    listed.write_text("")
    with pytest.raises(SystemExit, match=r"pyserial: no wheel for Python 3\.11 on aarch64"):
        build.wheels("3.11", "aarch64", tmp_path / "out")


def test_what_builds_the_station_s_own_wheel_is_pinned_by_hash():
    lines = (DEBIAN / "build-requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if not line.startswith("#")]
    assert wanted and all("==" in line and "--hash=sha256:" in line for line in wanted)
