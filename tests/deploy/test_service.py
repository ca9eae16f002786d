"""systemd accepts the service unit; unit and udev rule agree with the software."""

import re
import shutil
import subprocess

import pytest
from tests.support.rig import ROOT

from epithermal_edge.config import station_toml

UNIT = ROOT / "deploy" / "epithermal-edge.service"
RULES = ROOT / "deploy" / "70-epithermal-edge.rules"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed (apt install systemd)"
)


def ask(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@needs_systemd
def test_verify_reports_nothing(tmp_path):
    unit = tmp_path / UNIT.name
    begin = "ExecStart=epithermal-edge "
    assert begin in UNIT.read_text()
    unit.write_text(UNIT.read_text().replace(begin, f"ExecStart={shutil.which('true')} "))
    done = ask("systemd-analyze", "verify", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_verify_detects_a_fault(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("ProtectClock=true", "ProtectClock=maybe"))
    assert "Failed to parse boolean" in ask("systemd-analyze", "verify", str(unit)).stderr


@needs_systemd
def test_the_exposure_is_at_most_1_5(record_property):
    done = ask("systemd-analyze", "security", "--offline=true", "--threshold=15", str(UNIT))
    exposure = float(re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)[1])
    record_property("exposure", exposure)
    assert done.returncode == 0 and exposure <= 1.5


def test_the_unit_and_the_software_agree():
    text = UNIT.read_text()
    settings = dict(re.findall(r"^([A-Z][A-Za-z]+)=(.+)$", text, re.M))
    assert settings["Type"] == "notify" and int(settings["WatchdogSec"]) > 0
    assert settings["LoadCredential"].split(":")[0] == station_toml.CREDENTIAL
    assert settings["RestartPreventExitStatus"] == "2 3"
    assert settings["SystemCallErrorNumber"] == "EPERM"
    assert "dialout" in settings["SupplementaryGroups"]


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udev is not installed")
def test_the_udev_rule_jumps_to_existing_labels_and_uses_known_keys():
    known = {"ACTION", "SUBSYSTEM", "SUBSYSTEMS", "ENV", "ATTRS", "GROUP", "MODE", "IMPORT"}
    known |= {"SYMLINK", "GOTO", "LABEL"}
    jumps, labels = set(), set()
    for line in RULES.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        for part in re.split(r",\s*", line):
            found = re.fullmatch(r'([A-Z]+)(?:\{[^}]+\})?(==|!=|\+=|=)"([^"]*)"', part)
            assert found and found[1] in known, part
            jumps |= {found[3]} if found[1] == "GOTO" else set()
            labels |= {found[3]} if found[1] == "LABEL" else set()
    assert jumps == labels
