"""Every command of README and docs runs as written, or is listed here with a reason.

The commands of a page run in order, in one shell session in a copy of the repository. Placeholders
(RUN, NAME-VERSION) are filled in; a command that must fail must exit with the code given here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.contract.documented import PAGES, ROOT, commands

EXAMPLE_HAS_NO_MODEL = 3  # nor do its port and its broker exist


@dataclass(frozen=True)
class Walk:
    """Options for running a page."""

    slow: bool = False
    fill: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)  # of commands that must fail
    later: tuple[str, ...] = ()  # commands that `make test` leaves to `make test-docs`
    after: str = ""  # the page whose folder it uses


WALKS = {
    "README.md": Walk(
        codes={"epithermal-edge check station.toml": EXAMPLE_HAS_NO_MODEL},
        later=("make demo", "python3 -m venv", ". station/bin", "pip install"),
    ),
    "docs/tutorial.md": Walk(
        codes={"epithermal-edge run": 2}, later=("make demo", ". .venv/bin/activate")
    ),
    "docs/mqtt.md": Walk(),
    "docs/deploy.md": Walk(),
    "docs/training.md": Walk(
        slow=True,
        codes={
            "epithermal-host evaluate population": 1,
            "epithermal-host release runs/a --to models --force": 0,
            "epithermal-host release": 1,  # the network of 40 soils is not better
        },
    ),
    "docs/figures.md": Walk(slow=True),
    "docs/bundle.md": Walk(
        slow=True,
        after="docs/training.md",
        fill={"RUN": "runs/a", "1.0.0": "9.9.9", "--to models": "--to models --force"},
        codes={"epithermal-host release runs/a runs/a2": 2},  # the page before trains one run
    ),
}
BOOTED = "run by `make test-deb` in a Debian that has booted"
ELSEWHERE = (
    # page, command (a regular expression), why it is not run here
    ("README.md", "make test", "it is this"),
    ("CONTRIBUTING.md", ".*", "makes the environment that runs this"),
    ("docs/deploy.md", "make deb", "`make test-deb` begins with it"),
    ("docs/deploy.md", "sudo deploy/install.sh", "tests/deploy/test_booted.py runs it"),
    ("docs/deploy.md", "sudo (editor|systemctl|epithermal-edge)", "tests/deploy/test_booted.py"),
    ("docs/deploy.md", "sudo .*(mosquitto)", "tests/deploy/test_mosquitto.py runs that broker"),
    ("docs/station.md", "sudo .*(systemctl|repair)", "tests/edge/cli/test_repair.py runs it"),
    ("docs/install.md", "(ssh|scp) ", "needs the Pi"),
    ("docs/install.md", "sudo apt (update|full-upgrade|install mosquitto)", "changes the machine"),
    ("docs/install.md", "make deb", "`make test-deb` begins with it"),
    (
        "docs/install.md",
        "man |sudo editor|sudo stty|sudo timeout|ls /dev",
        "needs a person or a Pi",
    ),
    ("docs/install.md", ".*", BOOTED),
    (
        "docs/mqtt.md",
        "deploy/sign-command.sh .*mosquitto_pub",
        "tests/edge/mqtt/test_commands.py sends it",
    ),
    (
        "docs/campaign.md",
        "pip install|dask|.*--dask",
        "tests/host/compute/test_dask_cluster.py runs a cluster",
    ),
    ("docs/(campaign|weather).md", ".*weather (fit|check)", "KNMI's file is not ours to ship"),
    (
        "docs/(campaign|model).md",
        ".*evaluate population .*sites",
        "real sites are not ours to ship",
    ),
    ("docs/model.md", ".*(campaigns/rootzone|dataset|train|quantize|release)", "takes hours"),
    ("docs/evaluation.md", ".*", "a part of docs/training.md, which is run"),
    ("docs/rollout.md", ".*", "keys and passwords: tests/host/bundles/test_signing.py, tests/edge"),
    ("deploy/dashboards/.*", ".*", "`make test-dashboards` starts the real programs"),
    (
        "docs/(field|field-evaluation|snow|decisions/0018-biomass).md",
        "epithermal-host .*|(?!pytest).*",
        "real sites are not ours to ship",
    ),
    ("docs/snow.md", "pytest .*", "a test of the suite"),
    ("docs/training.md", "CUDA_VISIBLE_DEVICES.*", "needs a GPU"),
)
BY_NAME = {page.relative_to(ROOT).as_posix(): page for page in PAGES}
MADE = ("docs/commands.md", "docs/configuration.md", "docs/payloads.md")


def excuse(name, command):
    """Return the reason why a command is not run here; None if it is run."""
    for page, pattern, reason in ELSEWHERE:
        if re.fullmatch(page, name) and re.match(pattern, command, re.DOTALL):
            return reason
    return None


def test_every_documented_command_is_run_or_has_a_reason_why_not():
    forgotten, used = [], set()
    for name, page in BY_NAME.items():
        for command in commands(page) if name not in MADE else ():
            why = excuse(name, command)
            used.add(why)
            if why is None and name not in WALKS:
                forgotten.append(f"{name}: {command}")
    assert not forgotten, "\n".join(forgotten)
    here = [
        (page, why) for page, _, why in ELSEWHERE if any(re.fullmatch(page, n) for n in BY_NAME)
    ]
    assert {why for _, why in here} <= used, "a reason without a command"


def test_commands_are_cut_as_a_shell_would():
    found = commands(BY_NAME["docs/tutorial.md"])
    assert found[0] == "make demo"
    (first, *_) = (c for c in found if c.startswith("cat > station.toml"))
    assert first.endswith("\nEND") and 'id = "my-field"' in first
    assert "epithermal-edge check station.toml" in found


def copy(folder):
    """Copy the repository without untracked files, with wrappers of the programs."""
    away = shutil.ignore_patterns(
        ".git", ".venv", "build", "__pycache__", ".*_cache", ".hypothesis"
    )
    shutil.copytree(ROOT, folder, ignore=away)
    programs = folder / "build" / "bin"
    programs.mkdir(parents=True)
    paths = os.pathsep.join(str(ROOT / part / "src") for part in ("edge", "host"))
    for name in ("edge", "host"):
        program = programs / f"epithermal-{name}"
        program.write_text(
            f"#!/bin/sh\nPYTHONPATH={shlex.quote(paths)}"
            f' exec {shlex.quote(sys.executable)} -m epithermal_{name} "$@"\n'
        )
        program.chmod(0o755)
    return folder


def session(name, folder, slow):
    """Write a page's commands as one script that stops at the first unexpected exit code."""
    walk, programs = WALKS[name], folder / "build" / "bin"
    lines = ["set -uo pipefail"]
    for command in commands(BY_NAME[name]):
        if excuse(name, command) or (not slow and command.startswith(walk.later or "\0")):
            continue
        for gap, filled in walk.fill.items():
            command = command.replace(gap, filled)
        if command == "make demo":  # with the programs of this run instead of those in .venv
            command = f"make -o .venv/.ready BIN={shlex.quote(str(programs))} demo"
        if command == ". .venv/bin/activate":
            command = f"PATH={shlex.quote(str(programs))}:$PATH"
        code = next((c for begin, c in walk.codes.items() if command.startswith(begin)), 0)
        title = shlex.quote(f"### {command.splitlines()[0]}")
        lines += [f"echo {title} >&2", command, f"[ $? = {code} ] || exit 99"]
    return "\n".join(lines) + "\n"


def run(name, folder, slow):
    script = session(name, folder, slow)
    path = f"{folder / 'build' / 'bin'}:{os.environ['PATH']}"
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS")
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env={**environment, "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert script.count("### ") == done.stderr.count("### ") > 0


@pytest.mark.parametrize("name", [name for name, walk in WALKS.items() if not walk.slow])
def test_the_commands_of_a_page_run(name, tmp_path):
    run(name, copy(tmp_path / "epithermal"), slow=False)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """Return the folders of slow pages, which later pages use."""
    return tmp_path_factory.mktemp("walked"), {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [name for name, walk in WALKS.items() if walk.slow or walk.later])
def test_the_commands_of_a_slow_page_run(name, walked):
    base, folders = walked
    before = WALKS[name].after
    folders[name] = folders[before] if before else copy(base / Path(name).stem)
    run(name, folders[name], slow=True)
