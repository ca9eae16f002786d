"""`validate` compares with reference data and reports damaged ones."""

from __future__ import annotations

import argparse
import json
import shutil

import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.cli import validate


def run(*words: str) -> tuple[int, str]:
    """Return exit status and text of `epithermal-host validate ...`."""
    parser = argparse.ArgumentParser()
    validate.add_parser(parser.add_subparsers())
    lines: list[str] = []
    code = validate.run(parser.parse_args(["validate", *words]), lines.append)
    return code, "\n".join(lines)


def test_cosmic_agrees_with_all_vectors(shared):
    folder = shared / "reference" / "cosmic"
    code, text = run(
        "cosmic", f"{folder}/cosmic_vectors.csv", f"{folder}/cosmic_vectors_profiles.csv"
    )
    assert code == 0
    assert text.endswith("9 rows, 0 missed")


def test_corrections_agree_with_all_columns(shared):
    code, text = run("corrections", "--json", str(shared / "reference" / "corrections"))
    assert code == 0
    assert len(json.loads(text)) > 45


def test_a_case_is_reported_in_a_line_and_in_json(shared):
    case = shared / "reference" / "hydrus1d" / "e04_drying_loam"
    code, text = run("hydrus1d", str(case))
    assert code == 0
    assert "e04_drying_loam" in text and "1 cases, 0 missed" in text
    code, text = run("hydrus1d", "--json", str(case))
    assert json.loads(text)[0]["theta_rmse"] < 8e-4


def test_a_reference_that_did_not_converge_is_not_judged(shared):
    case = shared / "reference" / "hydrus1d" / "g05_silty_clay_loam_no_airentry_1y"
    code, text = run("hydrus1d", str(case))
    assert code == 0
    assert "not judged" in text and "with_air_entry" in text


def test_a_wrong_reference_is_missed(shared, tmp_path):
    case = tmp_path / "e04"
    shutil.copytree(shared / "reference" / "hydrus1d" / "e04_drying_loam", case)
    text = (case / "case.json").read_text()
    (case / "case.json").write_text(text.replace("24.96", "12.48"))
    code, text = run("hydrus1d", str(tmp_path))
    assert code == 1
    assert "MISSED: theta_rmse" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("case.json", ""),
        ("case.json", "{}"),
        ("weather.csv", "day\n"),
        ("daily_converged.csv", "a,b\n1\n"),
        ("profiles.npz", "no archive"),
    ],
)
def test_a_damaged_case_is_named(shared, tmp_path, name, content):
    case = tmp_path / "e04"
    shutil.copytree(shared / "reference" / "hydrus1d" / "e04_drying_loam", case)
    (case / name).write_text(content)
    with pytest.raises(ConfigError, match="e04"):
        run("hydrus1d", str(tmp_path))


@pytest.mark.parametrize(
    "words", [("hydrus1d", "{}"), ("cosmic", "{}/a.csv", "{}/b.csv"), ("corrections", "{}/none")]
)
def test_missing_reference_is_named(tmp_path, words):
    with pytest.raises(ConfigError, match=str(tmp_path)):
        run(*(word.format(tmp_path) for word in words))
