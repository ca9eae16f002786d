"""Test the rollout of a model: whose bundles are accepted, which checks they pass, which events."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.support.bundles import flip, links, list_again, nan_bundle, version
from tests.support.rig import BUNDLE, edge, station_toml
from tests.support.signing import Minisigner

from epithermal_edge.config.station_toml import Trust, read_config
from epithermal_edge.errors import BundleError, ConfigError, EpithermalError
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.rollout import installed, rollout, staging, state_file
from epithermal_edge.rollout.state_file import STAGED, VERIFIED, Candidate, precedence
from epithermal_edge.signatures import minisign

ANYONE = Trust(unsigned=True)


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Minisigner(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def folder(tmp_path):
    """Create the models folder of a station that uses bucket 0.1.0."""
    path = tmp_path / "models"
    rollout.install(path, BUNDLE, rollout.Request(ANYONE))
    return path


def trust(signer):
    return Trust((minisign.parse_public_key(signer.line),))


def kinds(folder):
    return [event.kind.removeprefix("model_") for event in state_file.read(folder).events]


def last_text(folder):
    return state_file.read(folder).events[-1].text


def test_the_first_bundle_is_used_at_once_and_the_next_waits_for_its_trial(folder, tmp_path):
    assert kinds(folder) == ["staged", "verified", "committed"]
    bundle, use = rollout.install(folder, version(tmp_path, "0.2.0"), rollout.Request(ANYONE))
    assert (bundle.version, use) == ("0.2.0", "verified")
    assert links(folder) == {"current": "bucket-0.1.0"}
    assert kinds(folder)[3:] == ["staged", "verified"]
    uses = {entry.folder: entry.uses for entry in installed.list_bundles(folder)}
    assert uses == {"bucket-0.1.0": ("current",), "bucket-0.2.0": ("verified",)}


def test_a_bundle_signed_by_a_trusted_key_is_accepted_and_the_key_reported(tmp_path, signer):
    signed = signer.sign_bundle(version(tmp_path, "0.2.0"))
    folder = tmp_path / "models"
    rollout.install(folder, signed, rollout.Request(trust(signer)))
    name = trust(signer).keys[0].name
    assert name in state_file.read(folder).events[1].text
    assert [entry.signed for entry in installed.list_bundles(folder)] == [name]


def refused(folder, source, trusted, words):
    """Check that nothing changes and that user and event get the reason."""
    before = links(folder)
    with pytest.raises(BundleError, match=words) as fault:
        rollout.install(folder, source, rollout.Request(trusted))
    assert "\n" not in str(fault.value) and staging.PLACE not in str(fault.value)
    assert links(folder) == before and state_file.read(folder).candidate is None
    assert kinds(folder)[-2:] == ["staged", "rejected"] and last_text(folder).endswith(
        str(fault.value)
    )
    assert not list(folder.glob(".incoming*")) and not (folder / ".staged").exists()


def test_an_unsigned_bundle_is_rejected_unless_the_configuration_allows_it(
    folder, tmp_path, signer
):
    unsigned = version(tmp_path, "0.2.0")
    refused(folder, unsigned, trust(signer), r"MANIFEST\.minisig: missing: sign it")
    refused(folder, unsigned, Trust(), r"model\.unsigned")
    assert rollout.install(folder, unsigned, rollout.Request(ANYONE))[1] == "verified"


def test_a_bundle_of_a_key_that_is_not_trusted_counts_as_unsigned(folder, tmp_path, signer):
    other = tmp_path / "other"
    other.mkdir()
    foreign = Minisigner(other).sign_bundle(version(tmp_path, "0.2.0"))
    refused(folder, foreign, trust(signer), r"not in model\.keys")
    request = rollout.Request(Trust(trust(signer).keys, unsigned=True))
    assert rollout.install(folder, foreign, request)[1] == "verified"
    assert "not in model.keys" in last_text(folder)


@pytest.mark.parametrize("unsigned", [False, True])
def test_a_wrong_signature_of_a_trusted_key_is_refused_whatever_is_allowed(
    folder, tmp_path, signer, unsigned
):
    signed = signer.sign_bundle(version(tmp_path, "0.2.0"))
    other = version(tmp_path / "x", "0.3.0")
    shutil.copy(signed / "MANIFEST.minisig", other)
    refused(folder, other, Trust(trust(signer).keys, unsigned), "does not fit")


FILES = ["MANIFEST", "MANIFEST.minisig", "bundle.toml", "golden.csv", "model.tflite", "CARD.md"]


@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_of_any_file_is_refused(folder, tmp_path, signer, name):
    signed = signer.sign_bundle(version(tmp_path, "0.2.0"))
    flip(signed / name)
    refused(folder, signed, trust(signer), ".")


def test_a_model_that_fails_its_golden_vectors_here_is_refused(folder, tmp_path):
    refused(folder, version(tmp_path, "0.2.0", spoil=True), ANYONE, "golden vectors fail")


def test_a_version_older_than_one_used_before_is_rejected_unless_requested(folder, tmp_path):
    rollout.install(folder, version(tmp_path, "0.3.0"), rollout.Request(ANYONE, now=True))
    installed.roll_back(folder)
    older = version(tmp_path, "0.2.9")
    refused(folder, older, ANYONE, "older than 0.3.0, which was used here")
    request = rollout.Request(ANYONE, now=True, allow_downgrade=True)
    assert rollout.install(folder, older, request)[1] == "current"
    assert state_file.read(folder).highest == {"bucket": "0.3.0"}


def test_a_version_older_than_the_one_in_use_is_rejected_though_the_state_file_is_older(
    folder, tmp_path
):
    before = state_file.read(folder)
    rollout.install(folder, version(tmp_path, "0.3.0"), rollout.Request(ANYONE, now=True))
    state_file.write(folder, before)  # restored from a backup: 0.1.0 is the highest known
    refused(folder, version(tmp_path, "0.2.0"), ANYONE, "older than 0.3.0")


def test_a_bundle_that_was_used_before_can_be_installed_again(folder, tmp_path):
    newer = version(tmp_path, "0.2.0")
    rollout.install(folder, newer, rollout.Request(ANYONE, now=True))
    installed.roll_back(folder)
    assert rollout.install(folder, newer, rollout.Request(ANYONE, now=True))[1] == "current"
    assert links(folder) == {"current": "bucket-0.2.0", "previous": "bucket-0.1.0"}
    assert not (folder / staging.PLACE).exists()


def test_the_bundle_in_use_is_not_installed_again(folder):
    before = state_file.read(folder)
    bundle, use = rollout.install(folder, BUNDLE, rollout.Request(ANYONE))
    assert (bundle.version, use) == ("0.1.0", "current")
    assert state_file.read(folder) == before and not (folder / staging.PLACE).exists()


def test_a_power_cut_leaves_no_link_to_files_that_are_not_on_the_disk(
    folder, tmp_path, monkeypatch
):
    synced, fsync = [], os.fsync

    def watch(handle):
        fsync(handle)
        place = Path(os.readlink(f"/proc/self/fd/{handle}"))
        synced.append((place, (folder / "bucket-0.2.0").is_dir(), links(folder)))

    monkeypatch.setattr(os, "fsync", watch)
    rollout.install(folder, version(tmp_path, "0.2.0"), rollout.Request(ANYONE, now=True))
    assert links(folder) == {"current": "bucket-0.2.0", "previous": "bucket-0.1.0"}
    assert (folder, True, {"current": "bucket-0.1.0"}) in synced


def cut_after_staging(folder, source):
    """Write what is on the disk when the power fails after the step `staged`."""
    with staging.open_source(source) as opened:
        staging.stage(folder, opened)
    candidate = Candidate(staging.PLACE, str(source), str(source), STAGED)
    state_file.write(folder, state_file.read(folder).with_event("model_staged", "", candidate))


def test_a_rollout_cut_after_staging_goes_on_at_the_next_start(folder, tmp_path):
    cut_after_staging(folder, version(tmp_path, "0.2.0"))
    rollout.resume(folder, ANYONE)
    assert kinds(folder)[-2:] == ["staged", "verified"]
    assert state_file.read(folder).candidate.folder == "bucket-0.2.0"
    assert (folder / "bucket-0.2.0").is_dir() and not (folder / staging.PLACE).exists()


@pytest.mark.parametrize("now", [True, False])
def test_a_rollout_cut_after_the_checks_is_committed_if_it_was_to_be_used_at_once(
    folder, tmp_path, now
):
    shutil.copytree(version(tmp_path, "0.2.0"), folder / "bucket-0.2.0")
    candidate = Candidate("bucket-0.2.0", "bucket 0.2.0", "a file", VERIFIED, now=now)
    state_file.write(folder, state_file.read(folder).with_event("model_verified", "", candidate))
    rollout.resume(folder, ANYONE)
    assert open_bundle(folder / "current").version == ("0.2.0" if now else "0.1.0")
    assert state_file.read(folder).candidate == (None if now else candidate)


def test_a_rollout_cut_between_its_link_and_its_file_is_committed_once(folder, tmp_path):
    shutil.copytree(version(tmp_path, "0.2.0"), folder / "bucket-0.2.0")
    candidate = Candidate("bucket-0.2.0", "bucket 0.2.0", "a file", VERIFIED)
    state_file.write(folder, state_file.read(folder).with_event("model_verified", "", candidate))
    installed.set_link(folder, "current", "bucket-0.2.0")
    rollout.resume(folder, ANYONE)
    assert kinds(folder)[-2:] == ["verified", "committed"] and "already" in last_text(folder)
    assert state_file.read(folder).highest == {"bucket": "0.2.0"}
    rollout.resume(folder, ANYONE)
    assert kinds(folder)[-2:] == ["verified", "committed"]


def test_a_staged_bundle_whose_files_are_missing_is_rejected(folder, tmp_path):
    cut_after_staging(folder, version(tmp_path, "0.2.0"))
    staging.clear(folder)
    rollout.resume(folder, ANYONE)
    assert state_file.read(folder).candidate is None
    assert kinds(folder)[-1] == "rejected" and "files are missing" in last_text(folder)


def test_no_trial_begins_before_the_candidate_is_verified(folder, tmp_path):
    assert rollout.begin_trial(folder, 100) is None
    cut_after_staging(folder, version(tmp_path, "0.2.0"))
    assert rollout.begin_trial(folder, 100) is None
    assert state_file.read(folder).candidate.state == STAGED


def test_a_damaged_state_file_does_not_change_the_model_in_use(folder, tmp_path):
    rollout.install(folder, version(tmp_path, "0.3.0"), rollout.Request(ANYONE, now=True))
    flip(folder / "rollout.json")
    with pytest.raises(BundleError, match=r"older than 0\.3\.0"):
        rollout.install(folder, version(tmp_path, "0.2.0"), rollout.Request(ANYONE))
    assert open_bundle(folder / "current").version == "0.3.0"


def test_a_server_may_not_change_the_name(folder, tmp_path):
    path = version(tmp_path, "0.2.0")
    text = (path / "bundle.toml").read_text().replace('name = "bucket"', 'name = "pail"')
    (path / "bundle.toml").write_text(text)
    list_again(path)
    with pytest.raises(BundleError, match="contains pail, but bucket is in use"):
        rollout.install(folder, path, rollout.Request(ANYONE, pulled=True))
    assert rollout.install(folder, path, rollout.Request(ANYONE))[1] == "verified"


def test_versions_sort_as_semver_specifies():
    versions = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11"
    versions += " 1.0.0-rc.1 1.0.0 1.0.1 1.2.0 1.10.0 2.0.0"
    shuffled = sorted(versions.split(), key=lambda version: version[::-1])
    shuffled.sort(key=precedence)
    assert shuffled == versions.split()


@pytest.mark.parametrize("options", [{}, {"now": True}])
def test_a_model_on_trial_is_not_replaced_unless_requested(folder, tmp_path, options):
    rollout.install(folder, version(tmp_path, "0.2.0"), rollout.Request(ANYONE))
    assert rollout.begin_trial(folder, 100)
    before = state_file.read(folder)
    with pytest.raises(EpithermalError, match=r"bucket 0\.2\.0 is on trial: .*--replace-trial"):
        rollout.install(folder, version(tmp_path, "0.3.0"), rollout.Request(ANYONE, **options))
    assert state_file.read(folder) == before and not (folder / ".staged").exists()
    assert links(folder) == {"current": "bucket-0.1.0"}


def test_the_same_model_again_does_not_restart_its_trial(folder, tmp_path):
    path = version(tmp_path, "0.2.0")
    rollout.install(folder, path, rollout.Request(ANYONE))
    rollout.begin_trial(folder, 100)
    before = state_file.read(folder)
    bundle, use = rollout.install(folder, path, rollout.Request(ANYONE))
    assert (bundle.version, use) == ("0.2.0", "verified") and state_file.read(folder) == before
    assert rollout.install(folder, path, rollout.Request(ANYONE, now=True))[1] == "current"
    assert links(folder) == {"current": "bucket-0.2.0", "previous": "bucket-0.1.0"}


def test_the_command_does_not_replace_a_trial_without_its_option(tmp_path):
    bundle = tmp_path / "models" / "current"
    toml = station_toml(tmp_path, bundle=bundle, model="unsigned = true\n")
    assert edge("model", "install", toml, BUNDLE).returncode == 0
    assert edge("model", "install", toml, version(tmp_path, "0.2.0")).returncode == 0
    other = version(tmp_path, "0.3.0")
    done = edge("model", "install", toml, other)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "bucket 0.2.0 is on trial" in done.stderr
    assert edge("model", "install", toml, other, "--replace-trial").returncode == 0
    assert state_file.read(bundle.parent).candidate.title == "bucket 0.3.0"


def forced(path):
    """Describe a bundle as one that was released with --force."""
    text = (path / "bundle.toml").read_text()
    line = 'shortfalls = ["network, counts alone: RMSE 0.0156 m3/m3, inversion 0.0154"]'
    (path / "bundle.toml").write_text(f"{line}\n{text}")
    return list_again(path)


def test_the_list_of_models_shows_a_forced_release(tmp_path):
    bundle = tmp_path / "models" / "current"
    toml = station_toml(tmp_path, bundle=bundle, model="unsigned = true\n")
    done = edge("model", "install", toml, forced(version(tmp_path, "0.2.0")))
    assert done.returncode == 0 and "not better than the inversion" in done.stdout
    listed = edge("model", "list", toml).stdout
    assert "released with --force, not better than the inversion: network, counts alone" in listed
    assert "released with --force" in state_file.read(bundle.parent).events[1].text


def test_a_replaced_candidate_is_reported_as_rejected(folder, tmp_path):
    rollout.install(folder, version(tmp_path, "0.2.0"), rollout.Request(ANYONE))
    request = rollout.Request(ANYONE, replace_trial=True)
    rollout.install(folder, version(tmp_path, "0.3.0"), request)
    assert kinds(folder)[3:] == ["staged", "verified", "rejected", "staged", "verified"]


def test_a_trial_that_stops_the_station_repeatedly_is_rejected(folder, tmp_path):
    rollout.install(folder, version(tmp_path, "0.2.0"), rollout.Request(ANYONE))
    for _ in range(rollout.MAX_STARTS):
        assert rollout.begin_trial(folder, 100).since_seq == 100
    assert rollout.begin_trial(folder, 100) is None
    assert kinds(folder)[-2:] == ["trial", "rejected"] and "started 8 times" in last_text(folder)


def test_a_damaged_model_in_use_is_replaced_by_the_previous_one(folder, tmp_path):
    from epithermal_edge.rollout.loading import start_engine

    rollout.install(folder, version(tmp_path, "0.2.0"), rollout.Request(ANYONE, now=True))
    flip(folder / "bucket-0.2.0" / "model.tflite")
    config = read_config(station_toml(tmp_path, bundle=folder / "current"))
    assert start_engine(config).bundle.version == "0.1.0"
    assert links(folder) == {"current": "bucket-0.1.0", "previous": "bucket-0.2.0"}
    assert kinds(folder)[-1] == "rolled_back" and "model.tflite" in last_text(folder)
    flip(folder / "bucket-0.1.0" / "model.tflite")
    with pytest.raises(BundleError, match=r"bucket-0\.1\.0"):
        start_engine(config)


def test_the_state_file_is_json_with_a_checksum(folder):
    table = json.loads((folder / "rollout.json").read_bytes())
    assert table.keys() == {"v", "crc32", "content"}


def test_keys_of_the_configuration_are_checked_when_it_is_read(tmp_path, signer):
    good = station_toml(tmp_path, model=f'keys = ["{signer.line}"]\ntrial_hours = 6\n')
    config = read_config(good)
    assert config.trust == trust(signer) and config.trial_hours == 6
    with pytest.raises(ConfigError, match=r"model\.keys: 'RWx' is no minisign public key"):
        read_config(station_toml(tmp_path, model='keys = ["RWx"]\n'))


def test_the_nan_model_of_the_tests_passes_its_golden_vectors(folder, tmp_path):
    bad = nan_bundle(tmp_path, "0.2.0")
    assert rollout.install(folder, bad, rollout.Request(ANYONE))[1] == "verified"


def test_the_command_reports_a_refusal_in_one_line_with_the_remedy(tmp_path, signer):
    bundle = tmp_path / "models" / "current"
    toml = station_toml(tmp_path, bundle=bundle, model=f'keys = ["{signer.line}"]\n')
    done = edge("model", "install", toml, BUNDLE)
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "model.keys" in done.stderr
    signed = signer.sign_bundle(version(tmp_path, "0.2.0"))
    done = edge("model", "install", toml, signed)
    assert done.returncode == 0 and "current is bucket 0.2.0" in done.stdout
    assert f"key {trust(signer).keys[0].name}" in edge("model", "list", toml).stdout
