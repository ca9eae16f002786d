"""install.sh into a folder: install, update, uninstall and purge."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from tests.support.rig import ROOT

from epithermal_edge import __version__
from epithermal_edge.config.station_toml import read_config

SCRIPT = ROOT / "deploy" / "install.sh"
SCRIPTS = [SCRIPT, ROOT / "deploy" / "mosquitto" / "make-certs.sh"]
PACKAGE = ROOT / "edge" / "src" / "epithermal_edge"


def on_debian():
    with open("/etc/os-release") as file:
        return re.search(r"^ID=debian$", file.read(), re.M) is not None


pytestmark = pytest.mark.skipif(not on_debian(), reason="not a Debian")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Write the station's wheel as a zip file, since building it needs the network."""
    path = tmp_path_factory.mktemp("wheel") / f"epithermal_edge-{__version__}-py3-none-any.whl"
    info = f"epithermal_edge-{__version__}.dist-info"
    files = {
        f"epithermal_edge/{p.relative_to(PACKAGE)}": p.read_bytes()
        for p in PACKAGE.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: epithermal-edge\nVersion: {__version__}\n".encode()
    )
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{info}/entry_points.txt"] = (
        b"[console_scripts]\nepithermal-edge = epithermal_edge.cli.main:main\n"
    )
    record = ""
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def run(folder, *options):
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")},
        "DESTDIR": str(folder),
        "PYTHON": sys.executable,
        "PIP_OPTIONS": "--no-index --no-deps",
    }
    return subprocess.run(
        [SCRIPT, *options], env=environment, capture_output=True, text=True, check=False
    )


def test_install_a_failed_update_an_update_uninstall_and_purge(tmp_path, wheel):
    done = run(tmp_path, "--wheel", wheel)
    assert done.returncode == 0, done.stderr
    assert f"epithermal-edge {__version__}" in done.stdout and "edit /etc/epithermal" in done.stdout
    etc, opt = tmp_path / "etc" / "epithermal", tmp_path / "opt" / "epithermal"
    config = read_config(etc / "station.toml")
    assert str(config.state_dir) == "/var/lib/epithermal"
    assert str(config.bundle) == "/var/lib/epithermal/models/current"
    assert (etc / "credentials").stat().st_mode & 0o777 == 0o700
    unit = tmp_path / "etc/systemd/system/epithermal-edge.service"
    assert unit.read_text() == (ROOT / "deploy" / unit.name).read_text()
    command = tmp_path / "usr/local/bin" / re.search(r"^ExecStart=(\S+)", unit.read_text(), re.M)[1]
    program = os.readlink(command)
    assert program.startswith("/opt/epithermal/current/")
    assert (tmp_path / program.lstrip("/")).exists()
    assert (tmp_path / "etc/udev/rules.d/70-epithermal-edge.rules").exists()
    assert (tmp_path / "var/lib/epithermal").is_dir()

    first = os.readlink(opt / "current")
    bad = tmp_path / wheel.name
    bad.write_bytes(wheel.read_bytes()[:20000])
    assert run(tmp_path, "--wheel", bad).returncode != 0
    assert os.readlink(opt / "current") == first, "the old release stays current"
    assert [p.name for p in opt.glob("release-*")] == [first]
    bad.unlink()

    (opt / "release-of-long-ago").mkdir()
    (etc / "station.toml").write_text("# mine\n")
    done = run(tmp_path, "--wheel", wheel)
    assert done.returncode == 0 and "edit /etc" not in done.stdout
    assert (etc / "station.toml").read_text() == "# mine\n", "settings are never overwritten"
    assert os.readlink(opt / "previous") == first != os.readlink(opt / "current")
    releases = {p.name for p in opt.glob("release-*")}
    assert releases == {os.readlink(opt / "current"), first}

    bundle = tmp_path / "var/lib/epithermal/models/a"
    bundle.mkdir(parents=True, exist_ok=True)
    (tmp_path / "var/lib/epithermal/journal.sqlite3").write_text("records")
    done = run(tmp_path, "--uninstall")
    assert done.returncode == 0 and "are kept" in done.stdout
    remaining = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if not p.is_dir()}
    assert remaining == {"etc/epithermal/station.toml", "var/lib/epithermal/journal.sqlite3"}
    assert bundle.is_dir()
    assert run(tmp_path, "--uninstall").returncode == 0, "again without error"
    assert run(tmp_path, "--purge").returncode == 0
    assert not [p for p in tmp_path.rglob("*") if "epithermal" in p.name]


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--fly"], "unknown option --fly"), (["--wheel"], "needs a file"),
     (["--wheel", "none.whl"], "no such file")],
)  # fmt: skip
def test_a_mistake_is_one_clear_line_and_changes_nothing(tmp_path, options, words):
    done = run(tmp_path, *options)
    assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_reports_nothing(script):
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
