"""The command line of epithermal-host: help, one line for each error, exit status."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from epithermal_host.cli.main import main

COMMANDS = ("simulate", "dataset", "train", "quantize", "evaluate", "release", "demo")
GOOD = '[campaign]\nseed = 4\nsoils = 4\nyears = 1\n[population]\ntextures = ["loam"]\n'


def test_help_names_every_command_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(f"    {command} " in text for command in COMMANDS)
    assert "exit status:" in text and "example:" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_an_example_in_its_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"example:\n  epithermal-host {command}" in text and "exit status:" in text


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from epithermal_host.cli.main import main\n"
        "try: main(['simulate', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'numba', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.ru_utime - began.ru_utime < 5.0  # of the processor; 0.3 s on a fast one


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["simulat"],
        ["simulate", "run.toml"],
        ["simulate", "run.toml", "--out", "x", "--workers", "0"],
        ["release", "x"],
    ],
)
def test_a_wrong_command_line_gives_exit_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "epithermal-host" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "[campaign] is missing"),
        ("[campaign", "not TOML"),
        (GOOD + "tops = 1\n", "population.tops: unknown"),
    ],
)
def test_errors_of_run_toml_are_printed_line_by_line_with_exit_status_2(
    tmp_path, capsys, text, message
):
    path = tmp_path / "run.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert main(["simulate", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert all(line.startswith("epithermal-host: ") for line in error.splitlines())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["dataset", "train", "quantize", "evaluate"])
def test_a_missing_run_gives_exit_status_2(tmp_path, capsys, command):
    assert main([command, str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "none") in error and "Traceback" not in error


def test_simulate_and_dataset_print_their_result_and_the_next_command(tmp_path, capsys):
    (tmp_path / "run.toml").write_text(GOOD, encoding="utf-8")
    run = tmp_path / "a"
    assert main(["simulate", str(tmp_path / "run.toml"), "--out", str(run), "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "simulated 4 soils x 1 years" in out and f"next: epithermal-host dataset {run}" in out
    assert main(["dataset", str(run), "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "4 soils x 365 days" in out and "next: epithermal-host train" in out
    (tmp_path / "run.toml").write_text(GOOD.replace("seed = 4", "seed = 5"), encoding="utf-8")
    assert main(["simulate", str(tmp_path / "run.toml"), "--out", str(run)]) == 2
    assert "holds another campaign" in capsys.readouterr().err


def test_a_run_folder_that_cannot_be_created_gives_exit_status_2(tmp_path, capsys):
    (tmp_path / "run.toml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    out = Path(tmp_path / "file" / "run")
    assert main(["simulate", str(tmp_path / "run.toml"), "--out", str(out)]) == 2
    assert "Not a directory" in capsys.readouterr().err
