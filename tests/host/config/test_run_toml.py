"""run.toml: all errors are reported together; a written file reads as the same run."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host import __version__
from epithermal_host.config.population import Population
from epithermal_host.config.run_toml import SECTIONS, campaign_key, from_table, read_run, write_run

GOOD = "[campaign]\nseed = 3\nsoils = 20\n"


def run_toml(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_seed_and_soils_are_enough(tmp_path):
    config = read_run(run_toml(tmp_path, GOOD))
    assert (config.campaign.seed, config.campaign.soils, config.campaign.years) == (3, 20, 3)
    assert config.population == Population()
    assert config.campaign.first_day == 11323 and config.campaign.days == 1095


def test_all_errors_are_reported_together_with_their_keys(tmp_path):
    text = """
        typo = 1
        [campaign]
        sed = 1
        soils = "many"
        [population]
        layered_share = 1.5
        nodes = 3
        [instrument]
        counting_noise = 1
        outage_max_d = nan
        [train]
        epochs = 1.5
        [polulation]
    """
    with pytest.raises(ConfigError) as caught:
        read_run(run_toml(tmp_path, text))
    message = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 10
    for part in (
        "[typo]: unknown",
        "[polulation]: unknown; did you mean population?",
        "campaign.sed: unknown; did you mean seed?",
        "campaign.seed: missing",
        "campaign.soils: 'many' is not an integer",
        "population.layered_share must be within 0 to 1",
        "population.nodes must be within 11 to 1001",
        "instrument.counting_noise: 1 is not true or false",
        "instrument.outage_max_d: nan is not a finite number",
        "train.epochs: 1.5 is not an integer",
    ):
        assert part in message
    assert all(fault.startswith(str(tmp_path)) for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('engine = "hydrus"\n', "roots_grow: HYDRUS-1D does not support growing roots"),
        ('engine = "feflow"\n', "campaign.engine: 'feflow' is none of richards, hydrus"),
        ('hydrus_exe = "/tmp/x"\n', "hydrus_exe: a file must not name a program to start"),
        ("hydrus_exe = 1\n", "hydrus_exe: a file must not name a program to start"),
        ('[population]\nclimates = ["none.toml"]\n', "none.toml: cannot be read"),
        ('[population]\nclimates = ["a.toml", "b/a.toml"]\n', "two files have the same name"),
    ],
)
def test_unusable_engines_and_climates_are_reported(tmp_path, text, part):
    with pytest.raises(ConfigError) as caught:
        read_run(run_toml(tmp_path, GOOD + text))
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "No such file"),
        ("[campaign", "not TOML"),
        ("", "[campaign] is missing"),
        ("x = " + "[" * 3000 + "]" * 3000, "not TOML"),
        ("x = " + "9" * 6000, "not TOML"),
    ],
)
def test_an_unreadable_file_gives_a_message_of_one_line(tmp_path, text, part):
    path = tmp_path / "none.toml" if text is None else run_toml(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_run(path)
    assert len(caught.value.faults) == 1 and part in str(caught.value)


def test_a_written_run_reads_as_the_same_run(tmp_path):
    text = GOOD + 'start = "1999-07-01"\n[population]\ntextures = ["loam", "clay"]\n'
    config = read_run(run_toml(tmp_path, text))
    write_run(config, tmp_path / "run", "abc")
    back = read_run(tmp_path / "run")
    assert dataclasses.replace(back, path=config.path) == config
    assert campaign_key(back) == campaign_key(config)
    written = (tmp_path / "run" / "run.toml").read_text()
    assert f'version = "{__version__}"' in written and 'data_hash = "abc"' in written


def test_the_key_depends_only_on_what_is_simulated(tmp_path):
    key = campaign_key(read_run(run_toml(tmp_path, GOOD)))
    same = GOOD.replace("20", "40") + "[instrument]\nseed = 5\n[train]\nepochs = 3\n"
    assert campaign_key(read_run(run_toml(tmp_path, same))) == key
    old = GOOD + 'hydrus_exe = ""\n'  # which 0.1.0 wrote into every run folder
    assert campaign_key(read_run(run_toml(tmp_path, old))) == key
    for other in (GOOD + "years = 2\n", GOOD + "[population]\nnodes = 31\n"):
        assert campaign_key(read_run(run_toml(tmp_path, other))) != key


def test_the_demo_s_run_is_valid():
    with resources.as_file(resources.files("epithermal_host.studies") / "demo.toml") as path:
        config = read_run(path)
    assert config.release.name == "demo" and config.campaign.soils >= 100


def test_reading_a_run_loads_no_tensorflow(tmp_path):
    path = run_toml(tmp_path, GOOD)
    code = "import sys, pathlib; from epithermal_host.config.run_toml import read_run; "
    code += "read_run(pathlib.Path(sys.argv[1])); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


def test_each_section_accepts_an_empty_table():
    faults: list[str] = []
    for name, section in SECTIONS.items():
        if name != "campaign":
            assert from_table(section, {}, name, faults) == section()
    assert faults == []


def test_the_manual_names_every_key_of_a_campaign():
    manual = (Path(__file__).parents[3] / "docs" / "campaign.md").read_text(encoding="utf-8")
    for section in ("campaign", "population", "instrument", "dataset", "release"):
        for field in dataclasses.fields(SECTIONS[section]):
            assert f"`{field.name}`" in manual, f"[{section}] {field.name}"
