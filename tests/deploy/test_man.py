"""The manual page of the Debian package contains every help text and is valid roff."""

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest
from tests.support.rig import ROOT

SOURCE = ROOT / "deploy" / "debian" / "man.py"
COMMANDS = ("check", "run", "status", "tail", "replay", "export", "simulate", "selftest",
            "model list", "model install", "model rollback")  # fmt: skip


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("man", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.manual(1_700_000_000)


def test_the_page_has_a_section_with_usage_and_exit_codes_for_every_command(page):
    text = page.replace("\\-", "-")
    sections = dict(re.findall(r"^\.SS (.*)\n([^¤]*?)(?=^\.S[SH])", text, flags=re.MULTILINE))
    assert set(COMMANDS) <= set(sections)
    for command in COMMANDS:
        assert f"usage: epithermal-edge {command} " in sections[command]
        assert "exit codes:" in sections[command] and "example:" in sections[command]


def test_the_page_describes_the_program_as_its_help_does(page):
    command = [sys.executable, "-m", "epithermal_edge", "--help"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    description = page.split(".SH DESCRIPTION")[1].split(".SH COMMANDS")[0].replace("\\-", "-")
    assert shown.split("\n\n")[1] in description


@pytest.mark.skipif(shutil.which("groff") is None, reason="not installed: groff")
def test_groff_reports_no_warning(page):
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-z"],
        input=page.encode(),
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
