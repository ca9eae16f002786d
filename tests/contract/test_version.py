"""Distributions, programs, messages and the Debian package have the same version."""

import json
import runpy
import subprocess
import sys
import tomllib

import pytest
from tests.support.rig import BUNDLE, ROOT, station_toml

from epithermal_edge import __version__
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.messages import homeassistant, station
from epithermal_edge.messages.message import Identity

SOURCE = ROOT / "edge" / "src" / "epithermal_edge" / "__init__.py"


@pytest.mark.parametrize("name", ["edge", "host"])
def test_a_distribution_and_its_program_have_the_version_of_the_one_place(name):
    project = tomllib.loads((ROOT / name / "pyproject.toml").read_text())
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert (ROOT / name / project["tool"]["hatch"]["version"]["path"]).resolve() == SOURCE
    command = [sys.executable, "-m", f"epithermal_{name}", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"epithermal-{name} {__version__}\n"


def test_messages_name_the_version(tmp_path):
    me = Identity("test-1", "0123abcd", "crns/v1", 3600.0)
    config = read_config(station_toml(tmp_path, url="loop://"))
    software = json.loads(station.meta(config, me, open_bundle(BUNDLE)))["software"]
    assert software == {"name": "epithermal-edge", "version": __version__}
    device = json.loads(homeassistant.discovery(me, "homeassistant", "", False).payload)["device"]
    assert device["sw_version"] == __version__


def test_the_debian_package_has_the_version(monkeypatch):
    pytest.importorskip("packaging", reason="packaging is not installed")
    folder = ROOT / "deploy" / "debian"
    monkeypatch.syspath_prepend(str(folder))
    assert runpy.run_path(str(folder / "build.py"))["station_version"]() == __version__
