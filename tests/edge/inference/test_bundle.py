"""A bundle is taken whole and unchanged, or not at all."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import BundleError
from epithermal_edge.inference import bundle as bundles
from epithermal_edge.inference.bundle import (
    BUNDLE_TOML,
    CARD,
    FILES,
    GOLDEN,
    MANIFEST,
    MODEL,
    Network,
    StateTensor,
    open_bundle,
)
from epithermal_edge.inference.features import FEATURES

EVERY = (*FILES, MODEL)
BUCKET = Path(__file__).resolve().parents[2] / "golden" / "bucket-0.1.0"


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(BUCKET, tmp_path / "bucket-0.1.0"))


def rewrite(folder, file, content):
    """Change a file and list it anew, as someone who makes a wrong bundle would."""
    (folder / file).write_bytes(content)
    contents = {name: (folder / name).read_bytes() for name in EVERY}
    (folder / MANIFEST).write_text(bundles.manifest_text(contents))


def refused(folder):
    """The text of the refusal: one line that names the bundle."""
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    text = str(caught.value)
    assert "\n" not in text and str(folder) in text
    return text


def test_a_bundle_tells_what_the_station_must_know():
    bundle = open_bundle(BUCKET)
    assert (bundle.name, bundle.version) == ("bucket", "0.1.0")
    assert bundle.sha256 == hashlib.sha256((BUCKET / MANIFEST).read_bytes()).hexdigest()
    assert [(f.name, f.unit) for f in bundle.features] == [
        (FEATURES[i].name, FEATURES[i].unit) for i in bundle.columns
    ]
    assert bundle.outputs == (
        "theta_0_30",
        "theta_0_30_sigma",
        "theta_0_10",
        "theta_10_30",
        "theta_30_60",
    )
    assert (bundle.step_s, bundle.phases) == (86400, 24)
    states = (StateTensor("h", (32,)), StateTensor("c", (32,)))
    assert bundle.networks == (Network(MODEL, states, kind="lstm", head_input="h"),)
    assert bundle.states == states
    assert bundle.golden_inputs.shape == (400, 21)
    assert bundle.golden_inputs.dtype == np.float32
    assert bundle.golden_outputs.shape == (400, 5)


@pytest.mark.parametrize("file", [*EVERY, MANIFEST])
def test_any_one_byte_changed_is_refused(copy, file):
    original = (copy / file).read_bytes()
    step = 1 if file == MANIFEST else max(1, len(original) // 60)
    for position in [*range(0, len(original), step), len(original) - 1]:
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(original)
            changed[position] ^= flip
            (copy / file).write_bytes(bytes(changed))
            assert (copy.name + "/" + (file if file != MANIFEST else "")) in refused(copy)


@pytest.mark.parametrize("file", [*EVERY, MANIFEST])
def test_a_missing_file_is_named(copy, file):
    (copy / file).unlink()
    assert file in refused(copy)


@pytest.mark.parametrize("file", [*EVERY, MANIFEST])
def test_an_empty_file_is_refused(copy, file):
    (copy / file).write_bytes(b"")
    assert file in refused(copy)


def test_a_truncated_list_is_refused(copy):
    text = (copy / MANIFEST).read_text()
    for lines in (text.splitlines(keepends=True)[1:], [text, text], [text, "\n"]):
        (copy / MANIFEST).write_text("".join(lines))
        assert MANIFEST in refused(copy)


def test_a_list_that_leads_out_of_the_folder_is_refused(copy):
    outside = copy.parent / "outside"
    outside.write_bytes(b"x")
    line = f"{hashlib.sha256(b'x').hexdigest()}  ../outside\n"
    (copy / MANIFEST).write_text(line + (copy / MANIFEST).read_text())
    assert MANIFEST in refused(copy)


def test_a_file_or_nothing_in_place_of_the_folder_is_refused(tmp_path):
    assert "no such folder" in refused(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    assert "no such folder" in refused(tmp_path / "file")


def test_a_network_for_other_features_is_refused(copy):
    toml = (copy / BUNDLE_TOML).read_text("utf-8")
    rewrite(copy, BUNDLE_TOML, toml.replace('"et0_known"', '"et1_known"').encode())
    text = refused(copy)
    assert BUNDLE_TOML in text and "features et1_known [1] are not known" in text
    rewrite(copy, BUNDLE_TOML, toml.replace('unit = "mm"', 'unit = "cm"').encode())
    assert "rain_mm [cm]" in refused(copy)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("schema = 1", "schema = 3", "reads 1 and 2: update epithermal-edge"),
        ("schema = 1", "schema = 2", "network"),
        ("schema = 1", "schema = [", "not TOML"),
        ("phases = 24", "phases = 7", "phases"),
        ("phases = 24", "", "phases"),
        ("phases = 24", "phases = 'many'", "many"),
        ("step_s = 86400", "step_s = 3600", "step_s"),
        ("tolerance = 0.0001", "tolerance = 0.5", "tolerance"),
        ('version = "0.1.0"', 'version = "1"', "version"),
        ('name = "theta_0_30",', 'name = "theta_0_60",', "outputs"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(copy, old, new, word):
    toml = (copy / BUNDLE_TOML).read_text("utf-8")
    assert old in toml
    rewrite(copy, BUNDLE_TOML, toml.replace(old, new, 1).encode())
    with pytest.raises(BundleError, match=word) as caught:
        open_bundle(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["short", "nan", "ragged", "words", "header", "empty"])
def test_golden_vectors_that_prove_nothing_are_refused(copy, change):
    header, *rows = (copy / GOLDEN).read_text().splitlines()
    first = rows[0].split(",")
    text = {
        "short": [header, *rows[:399]],
        "nan": [header, ",".join([*first[:-1], "nan"]), *rows],
        "ragged": [header, ",".join(first[:-1]), *rows],
        "words": [header, ",".join([*first[:-1], "wet"]), *rows],
        "header": [header.replace("rain_mm", "rain"), *rows],
        "empty": [],
    }[change]
    rewrite(copy, GOLDEN, "\n".join(text).encode())
    refused(copy)


def test_one_more_listed_file_is_verified_too(copy):
    (copy / "report.html").write_bytes(b"<p>fine</p>")
    contents = {name: (copy / name).read_bytes() for name in (*EVERY, "report.html")}
    (copy / MANIFEST).write_text(bundles.manifest_text(contents))
    open_bundle(copy)
    (copy / "report.html").write_bytes(b"<p>good</p>")
    assert "report.html" in refused(copy)


def test_the_card_is_part_of_the_proof(copy):
    assert CARD in (copy / MANIFEST).read_text()
