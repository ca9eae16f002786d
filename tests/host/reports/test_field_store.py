"""What is computed at a site is stored at once and used again while its inputs are the same."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.host.reports import test_field
from tests.host.reports.test_field import BUNDLE, QUIET

from epithermal_edge.inference.bundle import open_bundle
from epithermal_host.field.site_toml import read_site
from epithermal_host.reports import field, field_store
from epithermal_host.reports.field_result import Fitted, LaterLine, OwnRetraining

site_toml = test_field.site_toml
judged = test_field.judged


def restored(out: Path, site_toml: Path, change: str = ""):
    """Return what is stored of a site for its present inputs."""
    site_file = read_site(site_toml)
    key = field_store.hash_inputs(site_file, open_bundle(BUNDLE), None)
    return field_store.restore(field_store.path_of(out, "made-up"), key + change, site_file)


def test_a_site_is_restored_bit_for_bit(judged, site_toml):
    report, page = judged
    place, done = report.places[0], restored(page.parent, site_toml)
    for f in dataclasses.fields(place.series):
        own, stored = (getattr(x, f.name) for x in (place.series, done.site.series))
        if f.name in ("shares", "snow"):
            own, stored = dataclasses.astuple(own), dataclasses.astuple(stored)
        np.testing.assert_array_equal(own, stored)
    networks = [e for e in place.estimates if e.sigma is not None]
    for own, stored in zip(networks, done.networks, strict=True):
        assert (own.method, own.inputs) == (stored.method, stored.inputs)
        np.testing.assert_array_equal(own.theta, stored.theta)
        np.testing.assert_array_equal(own.sigma, stored.sigma)
    for own, stored in zip(place.network_inputs, done.site.network_inputs, strict=True):
        assert own.n_cph == stored.n_cph and own.inputs.label == stored.inputs.label
        np.testing.assert_array_equal(own.inputs.features, stored.inputs.features)
    assert done.runtime == report.runtime and done.profiles == place.truth.profiles == 1


def test_a_second_run_reads_no_records_and_writes_the_same_report(
    judged, site_toml, tmp_path, monkeypatch
):
    shutil.copytree(judged[1].parent, tmp_path / "out")
    monkeypatch.delattr(field.field_calibrated, "load")  # of the records: it must not be needed
    again, page = field.run(BUNDLE, [site_toml], tmp_path / "out", QUIET)
    assert page.read_bytes() == judged[1].read_bytes()
    assert (page.parent / field.DATA).read_bytes() == (judged[1].parent / field.DATA).read_bytes()
    assert again.runtime == judged[0].runtime


@pytest.mark.parametrize("changed", ["site.toml", "days.csv", "samples.csv", "counts.csv"])
def test_a_changed_input_makes_the_stored_site_void(judged, site_toml, tmp_path, changed):
    folder = tmp_path / "site"
    shutil.copytree(site_toml.parent, folder)
    assert restored(judged[1].parent, folder / "site.toml") is not None  # wherever it lies
    with (folder / changed).open("a") as file:
        file.write("# \n")
    assert restored(judged[1].parent, folder / "site.toml") is None


def test_another_bundle_or_runtime_makes_the_stored_site_void(site_toml):
    site_file, bundle = read_site(site_toml), open_bundle(BUNDLE)
    other = dataclasses.replace(bundle, sha256="0" * 64)
    keys = [(bundle, None), (bundle, "litert"), (other, None)]
    assert len({field_store.hash_inputs(site_file, b, r) for b, r in keys}) == 3


def test_a_damaged_file_is_reported_and_computed_again(judged, site_toml, tmp_path, caplog):
    stored = field_store.path_of(judged[1].parent, "made-up").read_bytes()
    path = field_store.path_of(tmp_path, "made-up")
    path.parent.mkdir()
    for content in (b"", b"no archive", stored[: len(stored) // 2]):
        path.write_bytes(content)
        caplog.clear()
        assert restored(tmp_path, site_toml) is None
        assert "damaged" in caplog.text
    assert restored(tmp_path / "none", site_toml) is None


def test_a_retraining_is_restored_with_every_figure(judged, tmp_path, caplog):
    place, path = judged[0].places[0], tmp_path / "made-up.retrained.json"
    own = OwnRetraining("made-up", "first year", "2024-12-31", "declined", ("why",), "", (
        LaterLine("network", "", dataclasses.replace(place.lines[0].probes, coverage_90=np.nan)),
    ))  # fmt: skip
    field_store.save_fitted(path, "key", Fitted(place.estimates[-2:], (own,)))
    again = field_store.restore_fitted(path, "key")
    assert repr(again.own) == repr((own,))  # NaN among the figures
    for stored, e in zip(again.estimates, place.estimates[-2:], strict=True):
        np.testing.assert_array_equal(stored.theta, e.theta)
        np.testing.assert_array_equal(stored.sigma, e.sigma)
    assert field_store.restore_fitted(path, "other") is None and not caplog.text
    path.write_text(path.read_text()[:-40])
    assert field_store.restore_fitted(path, "key") is None and "damaged" in caplog.text


def test_each_site_has_its_own_results_as_soon_as_it_is_evaluated(judged):
    folder = judged[1].parent / field_store.FOLDER
    (whole,) = json.loads((judged[1].parent / field.DATA).read_text())["sites"]
    assert json.loads((folder / "made-up.json").read_text()) == whole
    assert (folder / "made-up.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_is_killed_loses_no_finished_site(site_toml, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(site_toml.parent, second)
    text = (second / "site.toml").read_text("utf-8").replace('"made-up"', '"second"')
    (second / "site.toml").write_text(text, "utf-8")
    pipe, out = second / "counts.csv", tmp_path / "out"
    pipe.unlink()
    os.mkfifo(pipe)  # the second site waits for its counts for ever
    command = ["evaluate", str(BUNDLE), "--field", str(site_toml), str(second / "site.toml")]
    run = subprocess.Popen(
        [sys.executable, "-m", "epithermal_host", *command, "--workers", "1", "--out", str(out)],
        stderr=subprocess.PIPE,
    )
    with pipe.open("wb"):  # returns once the second site's counts are opened
        run.send_signal(signal.SIGKILL)
        run.communicate()
    assert not (out / field.PAGE).exists()
    done = restored(out, site_toml)
    assert done is not None and done.networks
